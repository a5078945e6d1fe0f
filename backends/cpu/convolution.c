/* Convolutions: which driver does what. */
#include "backends/cpu/convolution.h"
#include "backends/cpu/depthwise.h"
#include "backends/reference/reference.h"

#include <string.h>

typedef bool operator_function(struct ffb_device *device, const union ffb_arguments *arguments);

/* What the operators have in common. */
struct operands {
  const struct ffb_tensor *source, *weights, *out, *scale_a, *scale_b, *workspace;
  struct ffb_window window;
  int groups;
  bool integer, backward, accumulate;
};

static struct operands operands_of(enum ffb_operator operation, const union ffb_arguments *arguments) {
  if (operation == FFB_CONVOLVE_F32) {
    const struct ffb_convolve_f32 *a = &arguments->convolve_f32;
    return (struct operands){.source = a->x,
                             .weights = a->w,
                             .out = a->y,
                             .workspace = a->workspace,
                             .window = a->window,
                             .groups = a->groups};
  }
  if (operation == FFB_CONVOLVE_S8) {
    const struct ffb_convolve_s8 *a = &arguments->convolve_s8;
    return (struct operands){.source = a->x,
                             .weights = a->w,
                             .out = a->y,
                             .scale_a = a->x_scale,
                             .scale_b = a->w_scale,
                             .workspace = a->workspace,
                             .window = a->window,
                             .groups = a->groups,
                             .integer = true};
  }
  if (operation == FFB_CONVOLVE_INPUT_F32) {
    const struct ffb_convolve_input_f32 *a = &arguments->convolve_input_f32;
    return (struct operands){.source = a->gy,
                             .weights = a->w,
                             .out = a->gx,
                             .workspace = a->workspace,
                             .window = a->window,
                             .groups = a->groups,
                             .backward = true,
                             .accumulate = a->accumulate};
  }
  const struct ffb_convolve_input_s8 *a = &arguments->convolve_input_s8;
  return (struct operands){.source = a->gy,
                           .weights = a->w,
                           .out = a->gx,
                           .scale_a = a->gy_scale,
                           .scale_b = a->w_scale,
                           .workspace = a->workspace,
                           .window = a->window,
                           .groups = a->groups,
                           .integer = true,
                           .backward = true,
                           .accumulate = a->accumulate};
}

/* Windows that the drivers have room for; others are the reference's. */
static bool has_driver(const struct ffb_window *window, int groups) {
  return groups == 1 && window->kernel <= FFB_CPU_MAX_KERNEL && window->stride <= FFB_CPU_MAX_STRIDE;
}

static bool is_depthwise(int groups, const struct ffb_tensor *x, const struct ffb_tensor *y) {
  return groups > 1 && groups == x->shape[3] && groups == y->shape[3];
}

static struct ffb_cpu_convolution make_convolution(const struct ffb_device *device, const struct operands *operands) {
  struct ffb_cpu_convolution convolution = {.kernels = device->kernels,
                                            .integer = operands->integer,
                                            .backward = operands->backward,
                                            .threads = device->threads,
                                            .images = operands->source->shape[0],
                                            .height = operands->source->shape[1],
                                            .width = operands->source->shape[2],
                                            .channels = operands->source->shape[3],
                                            .out_height = operands->out->shape[1],
                                            .out_width = operands->out->shape[2],
                                            .outputs = operands->out->shape[3],
                                            .window = operands->window,
                                            .group = operands->integer ? device->kernels->group : 1,
                                            .source = operands->source->data,
                                            .weights = operands->weights->data,
                                            .out = operands->out->data,
                                            .accumulate = operands->accumulate,
                                            .scale = 1};
  /* Every pixel is an image of its own to a 1x1 convolution. */
  if (operands->window.kernel == 1 && operands->window.stride == 1 && !operands->window.padding) {
    convolution.images *= convolution.height * convolution.width;
    convolution.height = convolution.width = convolution.out_height = convolution.out_width = 1;
  }
  return convolution;
}

static size_t pass_bytes(const struct ffb_cpu_convolution *convolution) {
  return ffb_cpu_images_suits(convolution) ? ffb_cpu_images_bytes(convolution) : ffb_cpu_rows_bytes(convolution);
}

static bool run_pass(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments,
                     operator_function *depthwise, operator_function *reference) {
  struct operands operands = operands_of(operation, arguments);
  if (is_depthwise(operands.groups, operands.source, operands.out))
    return depthwise(device, arguments);
  if (!has_driver(&operands.window, operands.groups))
    return reference(device, arguments);
  struct ffb_cpu_convolution convolution = make_convolution(device, &operands);
  if (operands.integer)
    convolution.scale = ffb_cpu_scalar(operands.scale_a) * ffb_cpu_scalar(operands.scale_b);
  convolution.scratch = ffb_cpu_scratch(device, operands.workspace, pass_bytes(&convolution));
  if (!convolution.scratch)
    return false;
  if (ffb_cpu_images_suits(&convolution))
    ffb_cpu_images_run(&convolution);
  else
    ffb_cpu_rows_run(&convolution);
  return true;
}

bool ffb_cpu_convolve_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  return run_pass(device, FFB_CONVOLVE_F32, arguments, ffb_cpu_depthwise_convolve_f32, ffb_reference_convolve_f32);
}

bool ffb_cpu_convolve_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  return run_pass(device, FFB_CONVOLVE_S8, arguments, ffb_cpu_depthwise_convolve_s8, ffb_reference_convolve_s8);
}

bool ffb_cpu_convolve_input_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  return run_pass(device, FFB_CONVOLVE_INPUT_F32, arguments, ffb_cpu_depthwise_convolve_input_f32,
                  ffb_reference_convolve_input_f32);
}

bool ffb_cpu_convolve_input_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  return run_pass(device, FFB_CONVOLVE_INPUT_S8, arguments, ffb_cpu_depthwise_convolve_input_s8,
                  ffb_reference_convolve_input_s8);
}

/* ---- weight gradients ----------------------------------------------------------------------------------------- */

static struct ffb_cpu_weight make_weight(const struct ffb_device *device, bool integer, const struct ffb_tensor *gy,
                                         const struct ffb_tensor *x, const struct ffb_window *window) {
  struct ffb_cpu_weight weight = {.kernels = device->kernels,
                                  .integer = integer,
                                  .threads = device->threads,
                                  .images = x->shape[0],
                                  .height = x->shape[1],
                                  .width = x->shape[2],
                                  .channels = x->shape[3],
                                  .out_height = gy->shape[1],
                                  .out_width = gy->shape[2],
                                  .outputs = gy->shape[3],
                                  .window = *window,
                                  .group = integer ? device->kernels->group : 1,
                                  .x = x->data,
                                  .gy = gy->data,
                                  .scale = 1};
  if (window->kernel == 1 && window->stride == 1 && !window->padding) {
    weight.images *= weight.height * weight.width;
    weight.height = weight.width = weight.out_height = weight.out_width = 1;
  }
  return weight;
}

/* `scale`, where given, becomes that of the updated weights. */
static bool run_weight(struct ffb_device *device, struct ffb_cpu_weight *weight, const struct ffb_tensor *workspace,
                       const struct ffb_tensor *scale) {
  weight->scratch = ffb_cpu_scratch(device, workspace, ffb_cpu_weight_bytes(weight));
  if (!weight->scratch)
    return false;
  uint32_t bits = ffb_cpu_weight_run(weight);
  if (scale) {
    float largest = 0;
    memcpy(&largest, &bits, sizeof largest);
    *(float *)scale->data = ffb_cpu_scale_of(largest);
  }
  return true;
}

bool ffb_cpu_convolve_weight_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_f32 *a = &arguments->convolve_weight_f32;
  if (is_depthwise(a->groups, a->x, a->gy))
    return ffb_cpu_depthwise_convolve_weight_f32(device, arguments);
  struct ffb_cpu_weight weight = make_weight(device, false, a->gy, a->x, &a->window);
  if (!has_driver(&a->window, a->groups))
    return ffb_reference_convolve_weight_f32(device, arguments);
  weight.gw = a->gw->data;
  weight.accumulate = a->accumulate;
  return run_weight(device, &weight, a->workspace, NULL);
}

bool ffb_cpu_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_s8 *a = &arguments->convolve_weight_s8;
  if (is_depthwise(a->groups, a->x, a->gy))
    return ffb_cpu_depthwise_convolve_weight_s8(device, arguments);
  struct ffb_cpu_weight weight = make_weight(device, true, a->gy, a->x, &a->window);
  if (!has_driver(&a->window, a->groups) || !ffb_cpu_weight_suits(&weight))
    return ffb_reference_convolve_weight_s8(device, arguments);
  weight.gw = a->gw->data;
  weight.accumulate = a->accumulate;
  weight.scale = ffb_cpu_scalar(a->gy_scale) * ffb_cpu_scalar(a->x_scale);
  return run_weight(device, &weight, a->workspace, NULL);
}

/* ---- weight gradient and update ------------------------------------------------------------------------------- */

static void set_rule(struct ffb_cpu_update *update, const struct ffb_update_rule *rule, int64_t k) {
  update->stride = k;
  if (rule->kind == FFB_RULE_ADAM)
    ffb_cpu_adam_of(update, &rule->adam);
  else
    ffb_cpu_sgd_of(update, &rule->sgd);
}

/* The fused driver's operands; `update` stays empty where only shapes count. */
static struct ffb_cpu_weight weight_of_f32(const struct ffb_device *device, const struct ffb_convolve_update_f32 *a,
                                           struct ffb_cpu_update *update) {
  struct ffb_cpu_weight weight = make_weight(device, false, a->gy, a->x, &a->window);
  weight.update = update;
  return weight;
}
static struct ffb_cpu_weight weight_of_s8(const struct ffb_device *device, const struct ffb_convolve_update_s8 *a,
                                          struct ffb_cpu_update *update) {
  struct ffb_cpu_weight weight = make_weight(device, true, a->gy, a->x, &a->window);
  weight.update = update;
  weight.quantise = a->quantise_gradient;
  return weight;
}

static bool has_fused_driver(const struct ffb_cpu_weight *weight, int groups) {
  return has_driver(&weight->window, groups) && ffb_cpu_weight_suits(weight);
}

bool ffb_cpu_convolve_update_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_f32 *a = &arguments->convolve_update_f32;
  if (is_depthwise(a->groups, a->x, a->gy))
    return ffb_cpu_depthwise_convolve_update_f32(device, arguments);
  struct ffb_cpu_update update = {0};
  struct ffb_cpu_weight weight = weight_of_f32(device, a, &update);
  if (!has_fused_driver(&weight, a->groups))
    return ffb_cpu_compose_update_f32(device, arguments);
  set_rule(&update, &a->rule, (int64_t)a->window.kernel * a->window.kernel * weight.channels);
  return run_weight(device, &weight, a->workspace, NULL);
}

bool ffb_cpu_convolve_update_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_s8 *a = &arguments->convolve_update_s8;
  if (is_depthwise(a->groups, a->x, a->gy))
    return ffb_cpu_depthwise_convolve_update_s8(device, arguments);
  struct ffb_cpu_update update = {.integer = true, .quantise = a->quantise_gradient};
  struct ffb_cpu_weight weight = weight_of_s8(device, a, &update);
  if (!has_fused_driver(&weight, a->groups))
    return ffb_cpu_compose_update_s8(device, arguments);
  weight.scale = update.scale = ffb_cpu_scalar(a->gy_scale) * ffb_cpu_scalar(a->x_scale);
  update.rounding = ffb_cpu_rounding_of(a->rounding, a->seed, a->purpose, a->step);
  set_rule(&update, &a->rule, (int64_t)a->window.kernel * a->window.kernel * weight.channels);
  return run_weight(device, &weight, a->workspace, a->weight_scale);
}

/* ---- workspace ------------------------------------------------------------------------------------------------ */

static size_t weight_bytes(const struct ffb_device *device, bool integer, const struct ffb_tensor *gy,
                           const struct ffb_tensor *x, const struct ffb_window *window, int groups) {
  struct ffb_cpu_weight weight = make_weight(device, integer, gy, x, window);
  return has_fused_driver(&weight, groups) ? ffb_cpu_weight_bytes(&weight) : 0;
}

static size_t update_bytes(struct ffb_device *device, enum ffb_operator operation,
                           const union ffb_arguments *arguments) {
  struct ffb_cpu_update update = {0};
  bool integer = operation == FFB_CONVOLVE_UPDATE_S8;
  const struct ffb_convolve_update_f32 *f32 = &arguments->convolve_update_f32;
  const struct ffb_convolve_update_s8 *s8 = &arguments->convolve_update_s8;
  struct ffb_cpu_weight weight = integer ? weight_of_s8(device, s8, &update) : weight_of_f32(device, f32, &update);
  return has_fused_driver(&weight, integer ? s8->groups : f32->groups)
             ? ffb_cpu_weight_bytes(&weight)
             : ffb_cpu_compose_bytes(device, operation, arguments);
}

/* Whether a convolution is the depthwise ones'. */
static bool goes_depthwise(enum ffb_operator operation, const union ffb_arguments *arguments) {
  switch (operation) {
  case FFB_CONVOLVE_WEIGHT_F32:
    return is_depthwise(arguments->convolve_weight_f32.groups, arguments->convolve_weight_f32.x,
                        arguments->convolve_weight_f32.gy);
  case FFB_CONVOLVE_WEIGHT_S8:
    return is_depthwise(arguments->convolve_weight_s8.groups, arguments->convolve_weight_s8.x,
                        arguments->convolve_weight_s8.gy);
  case FFB_CONVOLVE_UPDATE_F32:
    return is_depthwise(arguments->convolve_update_f32.groups, arguments->convolve_update_f32.x,
                        arguments->convolve_update_f32.gy);
  case FFB_CONVOLVE_UPDATE_S8:
    return is_depthwise(arguments->convolve_update_s8.groups, arguments->convolve_update_s8.x,
                        arguments->convolve_update_s8.gy);
  default: {
    struct operands operands = operands_of(operation, arguments);
    return is_depthwise(operands.groups, operands.source, operands.out);
  }
  }
}

size_t ffb_cpu_convolution_workspace(struct ffb_device *device, enum ffb_operator operation,
                                     const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_f32 *f32 = &arguments->convolve_weight_f32;
  const struct ffb_convolve_weight_s8 *s8 = &arguments->convolve_weight_s8;
  if (operation < FFB_CONVOLVE_F32 || (operation > FFB_CONVOLVE_WEIGHT_S8 && operation != FFB_CONVOLVE_UPDATE_F32 &&
                                       operation != FFB_CONVOLVE_UPDATE_S8))
    return 0;
  if (goes_depthwise(operation, arguments))
    return ffb_cpu_depthwise_workspace(device, operation, arguments);
  if (operation == FFB_CONVOLVE_WEIGHT_F32)
    return weight_bytes(device, false, f32->gy, f32->x, &f32->window, f32->groups);
  if (operation == FFB_CONVOLVE_WEIGHT_S8)
    return weight_bytes(device, true, s8->gy, s8->x, &s8->window, s8->groups);
  if (operation == FFB_CONVOLVE_UPDATE_F32 || operation == FFB_CONVOLVE_UPDATE_S8)
    return update_bytes(device, operation, arguments);
  struct operands operands = operands_of(operation, arguments);
  if (!has_driver(&operands.window, operands.groups))
    return 0;
  struct ffb_cpu_convolution convolution = make_convolution(device, &operands);
  return pass_bytes(&convolution);
}
