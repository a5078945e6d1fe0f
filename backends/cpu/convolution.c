/* Convolutions: which driver does what. */
#include "backends/cpu/convolution.h"
#include "backends/cpu/depthwise.h"
#include "backends/reference/reference.h"

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
    return (struct operands){
        .source = a->x, .weights = a->w, .out = a->y, .workspace = a->workspace, .window = a->window, .groups = a->groups};
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

bool ffb_cpu_convolve_weight_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_convolve_weight_f32(device, arguments);
}

bool ffb_cpu_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_convolve_weight_s8(device, arguments);
}

size_t ffb_cpu_convolution_workspace(struct ffb_device *device, enum ffb_operator operation,
                                     const union ffb_arguments *arguments) {
  if (operation != FFB_CONVOLVE_F32 && operation != FFB_CONVOLVE_S8 && operation != FFB_CONVOLVE_INPUT_F32 &&
      operation != FFB_CONVOLVE_INPUT_S8)
    return 0;
  struct operands operands = operands_of(operation, arguments);
  if (!has_driver(&operands.window, operands.groups))
    return 0;
  struct ffb_cpu_convolution convolution = make_convolution(device, &operands);
  return pass_bytes(&convolution);
}
