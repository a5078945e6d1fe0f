/* Fused weight gradients and updates as their compositions, for the convolutions that have no fused form. */
#include "backends/cpu/convolution.h"

/* Parts of the scratch memory: the gradient, the same quantised, a scale, and the gradient's own workspace. */
struct parts {
  struct ffb_tensor gradient, quantised, scale, workspace;
};

static int64_t aligned(int64_t bytes) {
  return ffb_cpu_rounded_up(bytes, FFB_CPU_ALIGNMENT);
}

static const struct ffb_tensor *weights_of(const struct ffb_update_rule *rule) {
  return rule->kind == FFB_RULE_ADAM ? rule->adam.weights : rule->sgd.weights;
}

/* The arguments of the gradient. */
static union ffb_arguments gradient_f32(const struct ffb_convolve_update_f32 *update, struct parts *parts) {
  return (union ffb_arguments){.convolve_weight_f32 = {.gw = &parts->gradient,
                                                       .gy = update->gy,
                                                       .x = update->x,
                                                       .window = update->window,
                                                       .groups = update->groups,
                                                       .workspace = &parts->workspace}};
}
static union ffb_arguments gradient_s8(const struct ffb_convolve_update_s8 *update, struct parts *parts) {
  return (union ffb_arguments){.convolve_weight_s8 = {.gw = &parts->gradient,
                                                      .gy = update->gy,
                                                      .x = update->x,
                                                      .gy_scale = update->gy_scale,
                                                      .x_scale = update->x_scale,
                                                      .window = update->window,
                                                      .groups = update->groups,
                                                      .workspace = &parts->workspace}};
}

/* Lays the parts out from `scratch` on, which may be null; returns their bytes. */
static int64_t lay_out(struct parts *parts, char *scratch, const struct ffb_tensor *weights, int64_t workspace) {
  int64_t elements = ffb_elements(weights), gradient = aligned(elements * (int64_t)sizeof(float));
  *parts =
      (struct parts){.gradient = *weights, .quantised = *weights, .scale = {.type = FFB_F32, .shape = {1, 1, 1, 1}}};
  parts->quantised.type = FFB_S8;
  parts->workspace = (struct ffb_tensor){.type = FFB_U8, .shape = {workspace, 1, 1, 1}};
  if (scratch) {
    parts->gradient.data = scratch;
    parts->quantised.data = scratch + gradient;
    parts->scale.data = scratch + gradient + aligned(elements);
    parts->workspace.data = scratch + gradient + aligned(elements) + FFB_CPU_ALIGNMENT;
  }
  return gradient + aligned(elements) + FFB_CPU_ALIGNMENT + workspace;
}

static bool update_weights(struct ffb_device *device, const struct ffb_update_rule *rule, struct ffb_tensor *gradient) {
  if (rule->kind == FFB_RULE_ADAM)
    return ffb_cpu_adam_update(device, &(union ffb_arguments){.adam_update = {rule->adam, gradient}});
  return ffb_cpu_sgd_update(device, &(union ffb_arguments){.sgd_update = {rule->sgd, gradient}});
}

size_t ffb_cpu_compose_bytes(struct ffb_device *device, enum ffb_operator operation,
                             const union ffb_arguments *arguments) {
  struct parts parts = {0};
  if (operation == FFB_CONVOLVE_UPDATE_F32) {
    const struct ffb_convolve_update_f32 *update = &arguments->convolve_update_f32;
    parts.gradient = *weights_of(&update->rule);
    union ffb_arguments gradient = gradient_f32(update, &parts);
    size_t workspace = ffb_cpu_workspace(device, FFB_CONVOLVE_WEIGHT_F32, &gradient);
    return (size_t)lay_out(&parts, NULL, weights_of(&update->rule), (int64_t)workspace);
  }
  const struct ffb_convolve_update_s8 *update = &arguments->convolve_update_s8;
  parts.gradient = *weights_of(&update->rule);
  union ffb_arguments gradient = gradient_s8(update, &parts);
  size_t workspace = ffb_cpu_workspace(device, FFB_CONVOLVE_WEIGHT_S8, &gradient);
  return (size_t)lay_out(&parts, NULL, weights_of(&update->rule), (int64_t)workspace);
}

bool ffb_cpu_compose_update_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_f32 *update = &arguments->convolve_update_f32;
  size_t bytes = ffb_cpu_compose_bytes(device, FFB_CONVOLVE_UPDATE_F32, arguments);
  char *scratch = ffb_cpu_scratch(device, update->workspace, bytes);
  struct parts parts;
  if (!scratch)
    return false;
  int64_t rest = (int64_t)bytes - lay_out(&parts, scratch, weights_of(&update->rule), 0);
  lay_out(&parts, scratch, weights_of(&update->rule), rest);
  union ffb_arguments gradient = gradient_f32(update, &parts);
  return ffb_cpu_convolve_weight_f32(device, &gradient) && update_weights(device, &update->rule, &parts.gradient);
}

static bool quantise_gradient(struct ffb_device *device, const struct ffb_convolve_update_s8 *update,
                              struct parts *parts) {
  union ffb_arguments scale = {.suq_scale = {.scale = &parts->scale, .x = &parts->gradient}};
  union ffb_arguments quantise = {.suq_quantise = {.q = &parts->quantised,
                                                   .x = &parts->gradient,
                                                   .scale = &parts->scale,
                                                   .step = update->step,
                                                   .rounding = update->rounding,
                                                   .purpose = update->purpose,
                                                   .seed = update->seed}};
  union ffb_arguments dequantise = {
      .dequantise = {.out = &parts->gradient, .x = &parts->quantised, .scale_a = &parts->scale}};
  return ffb_cpu_suq_scale(device, &scale) && ffb_cpu_suq_quantise(device, &quantise) &&
         ffb_cpu_dequantise(device, &dequantise);
}

bool ffb_cpu_compose_update_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_s8 *update = &arguments->convolve_update_s8;
  size_t bytes = ffb_cpu_compose_bytes(device, FFB_CONVOLVE_UPDATE_S8, arguments);
  char *scratch = ffb_cpu_scratch(device, update->workspace, bytes);
  struct parts parts;
  if (!scratch)
    return false;
  struct ffb_tensor weights = *weights_of(&update->rule);
  int64_t rest = (int64_t)bytes - lay_out(&parts, scratch, &weights, 0);
  lay_out(&parts, scratch, &weights, rest);
  union ffb_arguments gradient = gradient_s8(update, &parts);
  union ffb_arguments scale = {.suq_scale = {.scale = update->weight_scale, .x = &weights}};
  return ffb_cpu_convolve_weight_s8(device, &gradient) &&
         (!update->quantise_gradient || quantise_gradient(device, update, &parts)) &&
         update_weights(device, &update->rule, &parts.gradient) &&
         (!update->weight_scale || ffb_cpu_suq_scale(device, &scale));
}
