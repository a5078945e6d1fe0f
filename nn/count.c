/* Operations of a program, counted from the shapes of its calls. */
#include "nn/plan.h"

static int64_t product(const struct ffb_tensor *c, int64_t k) {
  return ffb_elements(c) * k;
}

/* Weights [out][terms of one output], so that a convolution is counted like a product: taps on padding are counted too.
 */
static int64_t taps(const struct ffb_tensor *y, const struct ffb_tensor *weights) {
  return product(y, ffb_columns(weights));
}

static const struct ffb_tensor *rule_weights(const struct ffb_update_rule *rule) {
  return rule->kind == FFB_RULE_ADAM ? rule->adam.weights : rule->sgd.weights;
}

/* A weight gradient that is quantised in between, and the scale of the new weights. */
static void count_update(const struct ffb_update_rule *rule, bool quantised, bool scaled,
                         struct ffb_operation_count *count) {
  int64_t weights = ffb_elements(rule_weights(rule));
  count->quantised_elements += quantised ? weights : 0;
  count->compared_elements += quantised ? weights : 0;
  count->compared_elements += scaled ? weights : 0;
}

static void count_quantised(enum ffb_range range, const struct ffb_tensor *x, struct ffb_operation_count *count) {
  count->quantised_elements += ffb_elements(x);
  count->compared_elements += range == FFB_RANGE_ABSMAX ? ffb_elements(x) : 0;
}

void ffb_call_count(enum ffb_operator operation, const union ffb_arguments *a, struct ffb_operation_count *count) {
  switch (operation) {
  case FFB_GEMM_F32:
    count->mac_f32 +=
        product(a->gemm_f32.c, a->gemm_f32.transpose_a ? ffb_rows(a->gemm_f32.a) : ffb_columns(a->gemm_f32.a));
    break;
  case FFB_LINEAR_F32:
    count->mac_f32 += product(a->linear_f32.y, ffb_columns(a->linear_f32.x));
    break;
  case FFB_LINEAR_UPDATE_F32:
    count->mac_f32 += product(a->linear_update_f32.gy, ffb_columns(a->linear_update_f32.x));
    break;
  case FFB_GEMM_S8:
    count->mac_s8 += product(a->gemm_s8.c, a->gemm_s8.transpose_a ? ffb_rows(a->gemm_s8.a) : ffb_columns(a->gemm_s8.a));
    break;
  case FFB_LINEAR_S8:
    count->mac_s8 += product(a->linear_s8.y, ffb_columns(a->linear_s8.x));
    break;
  case FFB_LINEAR_UPDATE_S8:
    count->mac_s8 += product(a->linear_update_s8.gy, ffb_columns(a->linear_update_s8.x));
    count_update(&a->linear_update_s8.rule, a->linear_update_s8.quantise_gradient, a->linear_update_s8.weight_scale,
                 count);
    break;
  case FFB_CONVOLVE_F32:
    count->mac_f32 += taps(a->convolve_f32.y, a->convolve_f32.w);
    break;
  case FFB_CONVOLVE_INPUT_F32:
    count->mac_f32 += taps(a->convolve_input_f32.gy, a->convolve_input_f32.w);
    break;
  case FFB_CONVOLVE_WEIGHT_F32:
    count->mac_f32 += taps(a->convolve_weight_f32.gy, a->convolve_weight_f32.gw);
    break;
  case FFB_CONVOLVE_UPDATE_F32:
    count->mac_f32 += taps(a->convolve_update_f32.gy, rule_weights(&a->convolve_update_f32.rule));
    break;
  case FFB_CONVOLVE_S8:
    count->mac_s8 += taps(a->convolve_s8.y, a->convolve_s8.w);
    break;
  case FFB_CONVOLVE_INPUT_S8:
    count->mac_s8 += taps(a->convolve_input_s8.gy, a->convolve_input_s8.w);
    break;
  case FFB_CONVOLVE_WEIGHT_S8:
    count->mac_s8 += taps(a->convolve_weight_s8.gy, a->convolve_weight_s8.gw);
    break;
  case FFB_CONVOLVE_UPDATE_S8:
    count->mac_s8 += taps(a->convolve_update_s8.gy, rule_weights(&a->convolve_update_s8.rule));
    count_update(&a->convolve_update_s8.rule, a->convolve_update_s8.quantise_gradient,
                 a->convolve_update_s8.weight_scale, count);
    break;
  case FFB_SUQ_SCALE:
    count->compared_elements += a->suq_scale.range == FFB_RANGE_ABSMAX ? ffb_elements(a->suq_scale.x) : 0;
    break;
  case FFB_SUQ_QUANTISE:
    count->quantised_elements += ffb_elements(a->suq_quantise.x);
    break;
  case FFB_SUQ_TENSOR:
    count_quantised(a->suq_tensor.scale.range, a->suq_tensor.quantise.x, count);
    break;
  case FFB_BATCH_NORMALISE_S8:
    count_quantised(a->batch_normalise_s8.scale.range, a->batch_normalise_s8.normalise.x, count);
    break;
  case FFB_BATCH_NORMALISE_GRADIENT_S8:
    count_quantised(a->batch_normalise_gradient_s8.scale.range, a->batch_normalise_gradient_s8.gradient.x, count);
    break;
  case FFB_SUQ_SEGMENTS:
    count->quantised_elements += ffb_elements(a->suq_segments.x);
    count->compared_elements += ffb_elements(a->suq_segments.x);
    break;
  default:
    break;
  }
}

void ffb_program_count(const struct ffb_program *program, struct ffb_operation_count *count) {
  *count = (struct ffb_operation_count){0};
  for (size_t i = 0; i < ffb_program_calls(program); i++) {
    const union ffb_arguments *arguments = NULL;
    enum ffb_operator operation = ffb_program_call(program, i, &arguments);
    ffb_call_count(operation, arguments, count);
  }
}
