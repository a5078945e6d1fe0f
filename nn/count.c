/* Operations of a program, counted from the shapes of its calls. */
#include "nn/operands.h"
#include "nn/plan.h"

static int64_t product(const struct ffb_tensor *c, int64_t k) {
  return ffb_elements(c) * k;
}

/* Pairs of an output and a tap, along one side, whose pixel lies in the image. */
static int64_t pairs_inside(int64_t size, int64_t outputs, const struct ffb_window *window) {
  int64_t pairs = 0;
  for (int tap = 0; tap < window->kernel; tap++) {
    int64_t before = window->padding - tap; /* output p reads pixel p * stride - before */
    int64_t first = before > 0 ? (before + window->stride - 1) / window->stride : 0;
    int64_t last = size - 1 + before < 0 ? -1 : (size - 1 + before) / window->stride;
    last = last < outputs - 1 ? last : outputs - 1;
    pairs += last >= first ? last - first + 1 : 0;
  }
  return pairs;
}

/* Weights [out][terms of one output], so that a convolution is counted like a product: taps on padding are counted too.
 */
static int64_t taps(const struct ffb_tensor *x, const struct ffb_tensor *y, const struct ffb_tensor *weights,
                    const struct ffb_window *window, struct ffb_operation_count *count) {
  int64_t all = product(y, ffb_columns(weights));
  int64_t inside = pairs_inside(x->shape[1], y->shape[1], window) * pairs_inside(x->shape[2], y->shape[2], window);
  count->padding += all - y->shape[0] * y->shape[3] * inside * weights->shape[3];
  return all;
}

static void count_rounded(enum ffb_rounding rounding, int64_t elements, struct ffb_operation_count *count) {
  count->quantised_elements += elements;
  count->added_elements += rounding == FFB_ROUND_STOCHASTIC ? elements : 0;
}

/* A weight gradient that is quantised in between, and the scale of the new weights. */
static void count_update(const struct ffb_update_rule *rule, enum ffb_rounding rounding, bool quantised, bool scaled,
                         struct ffb_operation_count *count) {
  int64_t weights = ffb_elements(ffb_rule_weights(rule));
  count_rounded(rounding, quantised ? weights : 0, count);
  count->compared_elements += quantised ? weights : 0;
  count->compared_elements += scaled ? weights : 0;
}

/* x is what is rounded. A fused form counts as its composition does, also where it finds the range in a shorter way. */
static void count_quantised(const struct ffb_suq_scale *scale, const struct ffb_suq_quantise *quantise,
                            const struct ffb_tensor *x, struct ffb_operation_count *count) {
  count_rounded(quantise->rounding, ffb_elements(x), count);
  count->compared_elements += scale->range == FFB_RANGE_ABSMAX ? ffb_elements(x) : 0;
}

static void count_call(enum ffb_operator operation, const union ffb_arguments *a, struct ffb_operation_count *count) {
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
    count_update(&a->linear_update_s8.rule, a->linear_update_s8.rounding, a->linear_update_s8.quantise_gradient,
                 a->linear_update_s8.weight_scale, count);
    break;
  case FFB_CONVOLVE_F32:
    count->mac_f32 += taps(a->convolve_f32.x, a->convolve_f32.y, a->convolve_f32.w, &a->convolve_f32.window, count);
    break;
  case FFB_CONVOLVE_INPUT_F32:
    count->mac_f32 += taps(a->convolve_input_f32.gx, a->convolve_input_f32.gy, a->convolve_input_f32.w,
                           &a->convolve_input_f32.window, count);
    break;
  case FFB_CONVOLVE_WEIGHT_F32:
    count->mac_f32 += taps(a->convolve_weight_f32.x, a->convolve_weight_f32.gy, a->convolve_weight_f32.gw,
                           &a->convolve_weight_f32.window, count);
    break;
  case FFB_CONVOLVE_UPDATE_F32:
    count->mac_f32 += taps(a->convolve_update_f32.x, a->convolve_update_f32.gy,
                           ffb_rule_weights(&a->convolve_update_f32.rule), &a->convolve_update_f32.window, count);
    break;
  case FFB_CONVOLVE_S8:
    count->mac_s8 += taps(a->convolve_s8.x, a->convolve_s8.y, a->convolve_s8.w, &a->convolve_s8.window, count);
    break;
  case FFB_CONVOLVE_INPUT_S8:
    count->mac_s8 += taps(a->convolve_input_s8.gx, a->convolve_input_s8.gy, a->convolve_input_s8.w,
                          &a->convolve_input_s8.window, count);
    break;
  case FFB_CONVOLVE_WEIGHT_S8:
    count->mac_s8 += taps(a->convolve_weight_s8.x, a->convolve_weight_s8.gy, a->convolve_weight_s8.gw,
                          &a->convolve_weight_s8.window, count);
    break;
  case FFB_CONVOLVE_UPDATE_S8:
    count->mac_s8 += taps(a->convolve_update_s8.x, a->convolve_update_s8.gy,
                          ffb_rule_weights(&a->convolve_update_s8.rule), &a->convolve_update_s8.window, count);
    count_update(&a->convolve_update_s8.rule, a->convolve_update_s8.rounding, a->convolve_update_s8.quantise_gradient,
                 a->convolve_update_s8.weight_scale, count);
    break;
  case FFB_SUQ_SCALE:
    count->compared_elements += a->suq_scale.range == FFB_RANGE_ABSMAX ? ffb_elements(a->suq_scale.x) : 0;
    break;
  case FFB_SUQ_QUANTISE:
    count_rounded(a->suq_quantise.rounding, ffb_elements(a->suq_quantise.x), count);
    break;
  case FFB_SUQ_TENSOR:
    count_quantised(&a->suq_tensor.scale, &a->suq_tensor.quantise, a->suq_tensor.quantise.x, count);
    break;
  case FFB_SUQ_IN_PLACE:
    count_quantised(&a->suq_in_place.scale, &a->suq_in_place.quantise, a->suq_in_place.quantise.x, count);
    break;
  case FFB_NORMALISE_S8:
    count_quantised(&a->normalise_s8.scale, &a->normalise_s8.quantise, a->normalise_s8.normalise.x, count);
    break;
  case FFB_BATCH_NORMALISE_S8:
    count_quantised(&a->batch_normalise_s8.scale, &a->batch_normalise_s8.quantise, a->batch_normalise_s8.normalise.x,
                    count);
    break;
  case FFB_BATCH_NORMALISE_GRADIENT_S8:
    count_quantised(&a->batch_normalise_gradient_s8.scale, &a->batch_normalise_gradient_s8.quantise,
                    a->batch_normalise_gradient_s8.gradient.x, count);
    break;
  case FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8: {
    const struct ffb_batch_normalise_gradient_s8 *normalise = &a->batch_normalise_goodness_gradient_s8.normalise;
    count_quantised(&normalise->scale, &normalise->quantise, normalise->gradient.x, count);
    break;
  }
  case FFB_SUQ_SEGMENTS:
    count_rounded(a->suq_segments.rounding, ffb_elements(a->suq_segments.x), count);
    count->compared_elements += ffb_elements(a->suq_segments.x);
    break;
  case FFB_CLIP_SEARCH:
    count->compared_elements += ffb_elements(a->clip_search.x);
    break;
  case FFB_SEGMENT_SEARCH:
    count->compared_elements += ffb_elements(a->segment_search.x);
    break;
  default:
    break;
  }
}

static enum ffb_product gemm_product(bool transpose_a, bool transpose_b) {
  return transpose_a ? FFB_PRODUCT_WEIGHT_GRADIENT : transpose_b ? FFB_PRODUCT_FORWARD : FFB_PRODUCT_INPUT_GRADIENT;
}

/* Weights are [out][in], so which operand of a matrix product is transposed tells what it is for. */
enum ffb_product ffb_call_product(enum ffb_operator operation, const union ffb_arguments *a) {
  switch (operation) {
  case FFB_GEMM_F32:
    return gemm_product(a->gemm_f32.transpose_a, a->gemm_f32.transpose_b);
  case FFB_GEMM_S8:
    return gemm_product(a->gemm_s8.transpose_a, a->gemm_s8.transpose_b);
  case FFB_LINEAR_F32:
    return gemm_product(false, a->linear_f32.transpose_w);
  case FFB_LINEAR_S8:
    return gemm_product(false, a->linear_s8.transpose_w);
  case FFB_CONVOLVE_F32:
  case FFB_CONVOLVE_S8:
    return FFB_PRODUCT_FORWARD;
  case FFB_CONVOLVE_INPUT_F32:
  case FFB_CONVOLVE_INPUT_S8:
    return FFB_PRODUCT_INPUT_GRADIENT;
  case FFB_LINEAR_UPDATE_F32:
  case FFB_LINEAR_UPDATE_S8:
  case FFB_CONVOLVE_WEIGHT_F32:
  case FFB_CONVOLVE_WEIGHT_S8:
  case FFB_CONVOLVE_UPDATE_F32:
  case FFB_CONVOLVE_UPDATE_S8:
    return FFB_PRODUCT_WEIGHT_GRADIENT;
  default:
    return FFB_PRODUCT_NONE;
  }
}

void ffb_call_count(enum ffb_operator operation, const union ffb_arguments *a, struct ffb_operation_count *count) {
  int64_t before = count->mac_f32 + count->mac_s8, unused = 0;
  int64_t *const parts[FFB_PRODUCT_COUNT] = {&unused, &count->forward, &count->input_gradient, &count->weight_gradient};
  count_call(operation, a, count);
  *parts[ffb_call_product(operation, a)] += count->mac_f32 + count->mac_s8 - before;
}

void ffb_program_count(const struct ffb_program *program, struct ffb_operation_count *count) {
  *count = (struct ffb_operation_count){0};
  for (size_t i = 0; i < ffb_program_calls(program); i++) {
    const union ffb_arguments *arguments = NULL;
    enum ffb_operator operation = ffb_program_call(program, i, &arguments);
    ffb_call_count(operation, arguments, count);
  }
}
