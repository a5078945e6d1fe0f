#include "nn/operands.h"

enum { READ = 1, WRITE = 2, OPTIONAL = 4 };

#define ANY 0x3f
#define F32 (1 << FFB_F32)
#define F64 (1 << FFB_F64)
#define S32 (1 << FFB_S32)
#define U32 (1 << FFB_U32)
#define S8  (1 << FFB_S8)
#define U8  (1 << FFB_U8)

struct description {
  size_t offset;
  int access, types;
};

#define OPERAND(member, access, types)                                                                                 \
  { offsetof(union ffb_arguments, member), access, types }

#define SGD_RULE(at, optional)                                                                                         \
  OPERAND(at.weights, READ | WRITE | (optional), F32), OPERAND(at.momentum, READ | WRITE | OPTIONAL, F32),             \
      OPERAND(at.learning_rate, READ | (optional), F32), OPERAND(at.multiplier, READ | OPTIONAL, F32)
#define ADAM_RULE(at, optional)                                                                                        \
  OPERAND(at.weights, READ | WRITE | (optional), F32), OPERAND(at.first, READ | WRITE | (optional), F32),              \
      OPERAND(at.second, READ | WRITE | (optional), F32), OPERAND(at.learning_rate, READ | (optional), F32),           \
      OPERAND(at.multiplier, READ | OPTIONAL, F32), OPERAND(at.corrections, READ | (optional), F32)
#define SCALE_OPERANDS(at)                                                                                             \
  OPERAND(at.scale, WRITE, F32), OPERAND(at.x, READ | OPTIONAL, F32 | S32), OPERAND(at.ratio, READ | OPTIONAL, F32),   \
      OPERAND(at.running, READ | WRITE | OPTIONAL, F32)

#define CONVOLVE_OPERANDS(at, out, left, right, type)                                                                  \
  OPERAND(at.out, WRITE, F32), OPERAND(at.left, READ, type), OPERAND(at.right, READ, type),                            \
      OPERAND(at.workspace, WRITE | OPTIONAL, ANY)
#define NORMALISE_OPERANDS(at)                                                                                         \
  OPERAND(at.x, READ, F32), OPERAND(at.mean, READ, F32), OPERAND(at.inverse, READ, F32), OPERAND(at.gamma, READ, F32), \
      OPERAND(at.beta, READ, F32), OPERAND(at.shortcut, READ | OPTIONAL, F32), OPERAND(at.mask, WRITE | OPTIONAL, U8)
#define NORMALISE_GRADIENT_SHARED(at)                                                                                  \
  OPERAND(at.gx, WRITE, F32), OPERAND(at.ggamma, WRITE, F32), OPERAND(at.gbeta, WRITE, F32), OPERAND(at.x, READ, F32), \
      OPERAND(at.mean, READ, F32), OPERAND(at.inverse, READ, F32), OPERAND(at.gamma, READ, F32),                       \
      OPERAND(at.beta, READ, F32)
#define NORMALISE_GRADIENT_OPERANDS(at) NORMALISE_GRADIENT_SHARED(at), OPERAND(at.gy, READ, F32)
#define UPDATE_OPERANDS(at, type)                                                                                      \
  OPERAND(at.gy, READ, type), OPERAND(at.x, READ, type), SGD_RULE(at.rule.sgd, OPTIONAL),                              \
      ADAM_RULE(at.rule.adam, OPTIONAL), OPERAND(at.workspace, WRITE | OPTIONAL, ANY)
#define UPDATE_S8_OPERANDS(at)                                                                                         \
  UPDATE_OPERANDS(at, S8), OPERAND(at.gy_scale, READ, F32), OPERAND(at.x_scale, READ, F32),                            \
      OPERAND(at.step, READ | OPTIONAL, U32), OPERAND(at.weight_scale, WRITE | OPTIONAL, F32)

static const struct description descriptions[FFB_OPERATOR_COUNT][FFB_MAX_OPERANDS] = {
    [FFB_FILL] = {OPERAND(fill.out, WRITE, ANY)},
    [FFB_COPY] = {OPERAND(copy.out, WRITE, ANY), OPERAND(copy.in, READ, ANY)},
    [FFB_CONVERT_IMAGES] = {OPERAND(convert_images.out, WRITE, F32), OPERAND(convert_images.in, READ, U8)},
    [FFB_OVERLAY_LABELS] = {OPERAND(overlay_labels.images, READ | WRITE, F32),
                            OPERAND(overlay_labels.labels, READ | OPTIONAL, S32)},
    [FFB_DRAW_NEGATIVES] = {OPERAND(draw_negatives.negatives, WRITE, S32), OPERAND(draw_negatives.labels, READ, S32),
                            OPERAND(draw_negatives.index, READ, S32), OPERAND(draw_negatives.draw, READ, U32),
                            OPERAND(draw_negatives.scores, READ | OPTIONAL, F32),
                            OPERAND(draw_negatives.kept, READ | WRITE | OPTIONAL, S32)},
    [FFB_GEMM_F32] = {OPERAND(gemm_f32.c, WRITE, F32), OPERAND(gemm_f32.a, READ, F32), OPERAND(gemm_f32.b, READ, F32)},
    [FFB_GEMM_S8] = {OPERAND(gemm_s8.c, WRITE, S32), OPERAND(gemm_s8.a, READ, S8), OPERAND(gemm_s8.b, READ, S8),
                     OPERAND(gemm_s8.workspace, WRITE | OPTIONAL, ANY)},
    [FFB_SUQ_SCALE] = {SCALE_OPERANDS(suq_scale)},
    [FFB_SUQ_QUANTISE] = {OPERAND(suq_quantise.q, WRITE, S8), OPERAND(suq_quantise.x, READ, F32),
                          OPERAND(suq_quantise.scale, READ, F32), OPERAND(suq_quantise.step, READ | OPTIONAL, U32)},
    [FFB_SUQ_SEGMENTS] = {OPERAND(suq_segments.fine, WRITE, S8), OPERAND(suq_segments.coarse, WRITE, S8),
                          OPERAND(suq_segments.fine_scale, WRITE, F32), OPERAND(suq_segments.coarse_scale, WRITE, F32),
                          OPERAND(suq_segments.x, READ, F32), OPERAND(suq_segments.exponent, READ, F32),
                          OPERAND(suq_segments.step, READ | OPTIONAL, U32)},
    [FFB_DEQUANTISE] = {OPERAND(dequantise.out, WRITE, F32), OPERAND(dequantise.x, READ, S32 | S8),
                        OPERAND(dequantise.scale_a, READ, F32), OPERAND(dequantise.scale_b, READ | OPTIONAL, F32)},
    [FFB_CLIP_SEARCH] = {OPERAND(clip_search.x, READ, F32), OPERAND(clip_search.ratio, READ | WRITE, F32),
                         OPERAND(clip_search.deviation, WRITE, F32),
                         OPERAND(clip_search.multiplier, WRITE | OPTIONAL, F32)},
    [FFB_SEGMENT_SEARCH] = {OPERAND(segment_search.x, READ, F32), OPERAND(segment_search.exponent, WRITE, F32),
                            OPERAND(segment_search.deviation, WRITE, F32)},
    [FFB_ADD_BIAS] = {OPERAND(add_bias.y, READ | WRITE, F32), OPERAND(add_bias.bias, READ, F32)},
    [FFB_BIAS_GRADIENT] = {OPERAND(bias_gradient.out, WRITE, F32), OPERAND(bias_gradient.gradient, READ, F32)},
    [FFB_ACTIVATE] = {OPERAND(activate.y, WRITE, F32), OPERAND(activate.x, READ, F32)},
    [FFB_ACTIVATE_GRADIENT] = {OPERAND(activate_gradient.gx, WRITE, F32), OPERAND(activate_gradient.gy, READ, F32),
                               OPERAND(activate_gradient.v, READ, F32)},
    [FFB_MASK_GRADIENT] = {OPERAND(mask_gradient.gx, WRITE, F32), OPERAND(mask_gradient.gy, READ, F32),
                           OPERAND(mask_gradient.mask, READ, U8)},
    [FFB_ADD_SCALED] = {OPERAND(add_scaled.out, WRITE, F32), OPERAND(add_scaled.a, READ, F32),
                        OPERAND(add_scaled.b, READ, F32), OPERAND(add_scaled.factor, READ | OPTIONAL, F32)},
    [FFB_NORMALISE] = {OPERAND(normalise.y, WRITE, F32), OPERAND(normalise.x, READ, F32),
                       OPERAND(normalise.goodness, READ | OPTIONAL, F32),
                       OPERAND(normalise.inverse, WRITE | OPTIONAL, F32)},
    [FFB_NORMALISE_S8] = {OPERAND(normalise_s8.quantise.q, WRITE, S8), OPERAND(normalise_s8.normalise.x, READ, F32),
                          OPERAND(normalise_s8.normalise.goodness, READ | OPTIONAL, F32),
                          OPERAND(normalise_s8.normalise.inverse, WRITE | OPTIONAL, F32),
                          SCALE_OPERANDS(normalise_s8.scale),
                          OPERAND(normalise_s8.quantise.step, READ | OPTIONAL, U32)},
    [FFB_NORMALISE_GRADIENT] = {OPERAND(normalise_gradient.gx, WRITE, F32), OPERAND(normalise_gradient.gy, READ, F32),
                                OPERAND(normalise_gradient.y, READ, F32),
                                OPERAND(normalise_gradient.inverse, READ, F32)},
    [FFB_SOFTMAX_CROSS_ENTROPY] = {OPERAND(softmax_cross_entropy.gradient, WRITE | OPTIONAL, F32),
                                   OPERAND(softmax_cross_entropy.logits, READ, F32),
                                   OPERAND(softmax_cross_entropy.labels, READ, S32),
                                   OPERAND(softmax_cross_entropy.statistics, READ | WRITE, F64)},
    [FFB_GOODNESS] = {OPERAND(goodness.goodness, WRITE, F32), OPERAND(goodness.y, READ, F32)},
    [FFB_GOODNESS_LOSS] = {OPERAND(goodness_loss.gradient, WRITE, F32), OPERAND(goodness_loss.goodness, READ, F32),
                           OPERAND(goodness_loss.statistics, READ | WRITE | OPTIONAL, F64)},
    [FFB_GOODNESS_GRADIENT] = {OPERAND(goodness_gradient.gy, WRITE, F32),
                               OPERAND(goodness_gradient.gradient, READ, F32), OPERAND(goodness_gradient.y, READ, F32)},
    [FFB_SGD_UPDATE] = {SGD_RULE(sgd_update.rule, 0), OPERAND(sgd_update.gradient, READ, F32)},
    [FFB_ADAM_UPDATE] = {ADAM_RULE(adam_update.rule, 0), OPERAND(adam_update.gradient, READ, F32)},
    [FFB_SUQ_TENSOR] = {SCALE_OPERANDS(suq_tensor.scale), OPERAND(suq_tensor.quantise.q, WRITE, S8),
                        OPERAND(suq_tensor.quantise.x, READ, F32),
                        OPERAND(suq_tensor.quantise.step, READ | OPTIONAL, U32)},
    [FFB_SUQ_IN_PLACE] = {SCALE_OPERANDS(suq_in_place.scale), OPERAND(suq_in_place.quantise.x, READ | WRITE, F32),
                          OPERAND(suq_in_place.quantise.q, WRITE, S8),
                          OPERAND(suq_in_place.quantise.step, READ | OPTIONAL, U32)},
    [FFB_LINEAR_F32] = {OPERAND(linear_f32.y, WRITE, F32), OPERAND(linear_f32.x, READ, F32),
                        OPERAND(linear_f32.w, READ, F32), OPERAND(linear_f32.bias, READ | OPTIONAL, F32),
                        OPERAND(linear_f32.mask, READ | OPTIONAL, F32),
                        OPERAND(linear_f32.workspace, WRITE | OPTIONAL, ANY)},
    [FFB_LINEAR_S8] = {OPERAND(linear_s8.y, WRITE, F32), OPERAND(linear_s8.x, READ, S8), OPERAND(linear_s8.w, READ, S8),
                       OPERAND(linear_s8.x_scale, READ, F32), OPERAND(linear_s8.w_scale, READ, F32),
                       OPERAND(linear_s8.bias, READ | OPTIONAL, F32), OPERAND(linear_s8.mask, READ | OPTIONAL, F32),
                       OPERAND(linear_s8.workspace, WRITE | OPTIONAL, ANY)},
    [FFB_LINEAR_UPDATE_F32] = {UPDATE_OPERANDS(linear_update_f32, F32)},
    [FFB_LINEAR_UPDATE_S8] = {UPDATE_S8_OPERANDS(linear_update_s8)},
    [FFB_CONVOLVE_F32] = {CONVOLVE_OPERANDS(convolve_f32, y, x, w, F32)},
    [FFB_CONVOLVE_S8] = {CONVOLVE_OPERANDS(convolve_s8, y, x, w, S8), OPERAND(convolve_s8.x_scale, READ, F32),
                         OPERAND(convolve_s8.w_scale, READ, F32)},
    [FFB_CONVOLVE_INPUT_F32] = {CONVOLVE_OPERANDS(convolve_input_f32, gx, gy, w, F32)},
    [FFB_CONVOLVE_INPUT_S8] = {CONVOLVE_OPERANDS(convolve_input_s8, gx, gy, w, S8),
                               OPERAND(convolve_input_s8.gy_scale, READ, F32),
                               OPERAND(convolve_input_s8.w_scale, READ, F32)},
    [FFB_CONVOLVE_WEIGHT_F32] = {CONVOLVE_OPERANDS(convolve_weight_f32, gw, gy, x, F32)},
    [FFB_CONVOLVE_WEIGHT_S8] = {CONVOLVE_OPERANDS(convolve_weight_s8, gw, gy, x, S8),
                                OPERAND(convolve_weight_s8.gy_scale, READ, F32),
                                OPERAND(convolve_weight_s8.x_scale, READ, F32)},
    [FFB_CONVOLVE_UPDATE_F32] = {UPDATE_OPERANDS(convolve_update_f32, F32)},
    [FFB_CONVOLVE_UPDATE_S8] = {UPDATE_S8_OPERANDS(convolve_update_s8)},
    [FFB_BATCH_STATISTICS] = {OPERAND(batch_statistics.mean, WRITE, F32), OPERAND(batch_statistics.inverse, WRITE, F32),
                              OPERAND(batch_statistics.x, READ | OPTIONAL, F32),
                              OPERAND(batch_statistics.running_mean, READ | WRITE | OPTIONAL, F32),
                              OPERAND(batch_statistics.running_variance, READ | WRITE | OPTIONAL, F32),
                              OPERAND(batch_statistics.extremes, WRITE | OPTIONAL, F32)},
    [FFB_BATCH_NORMALISE] = {OPERAND(batch_normalise.y, WRITE, F32), NORMALISE_OPERANDS(batch_normalise)},
    [FFB_BATCH_NORMALISE_GRADIENT] = {NORMALISE_GRADIENT_OPERANDS(batch_normalise_gradient)},
    [FFB_BATCH_NORMALISE_S8] = {OPERAND(batch_normalise_s8.quantise.q, WRITE, S8),
                                NORMALISE_OPERANDS(batch_normalise_s8.normalise),
                                OPERAND(batch_normalise_s8.extremes, READ | OPTIONAL, F32),
                                SCALE_OPERANDS(batch_normalise_s8.scale),
                                OPERAND(batch_normalise_s8.quantise.step, READ | OPTIONAL, U32)},
    [FFB_BATCH_NORMALISE_GRADIENT_S8] = {NORMALISE_GRADIENT_OPERANDS(batch_normalise_gradient_s8.gradient),
                                         OPERAND(batch_normalise_gradient_s8.quantise.q, WRITE, S8),
                                         SCALE_OPERANDS(batch_normalise_gradient_s8.scale),
                                         OPERAND(batch_normalise_gradient_s8.quantise.step, READ | OPTIONAL, U32)},
    [FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8] =
        {NORMALISE_GRADIENT_OPERANDS(batch_normalise_goodness_gradient_s8.normalise.gradient),
         OPERAND(batch_normalise_goodness_gradient_s8.normalise.quantise.q, WRITE, S8),
         SCALE_OPERANDS(batch_normalise_goodness_gradient_s8.normalise.scale),
         OPERAND(batch_normalise_goodness_gradient_s8.normalise.quantise.step, READ | OPTIONAL, U32),
         OPERAND(batch_normalise_goodness_gradient_s8.goodness, READ, F32)},
    [FFB_BATCH_NORMALISE_POOL] = {OPERAND(batch_normalise_pool.y, WRITE, F32),
                                  NORMALISE_OPERANDS(batch_normalise_pool.normalise)},
    [FFB_BATCH_NORMALISE_POOL_GRADIENT] = {NORMALISE_GRADIENT_SHARED(batch_normalise_pool_gradient.gradient),
                                           OPERAND(batch_normalise_pool_gradient.gy, READ | OPTIONAL, F32),
                                           OPERAND(batch_normalise_pool_gradient.goodness, READ | OPTIONAL, F32)},
    [FFB_MAX_POOL] = {OPERAND(max_pool.y, WRITE, F32), OPERAND(max_pool.argmax, WRITE | OPTIONAL, U8),
                      OPERAND(max_pool.x, READ, F32)},
    [FFB_MAX_POOL_GRADIENT] = {OPERAND(max_pool_gradient.gx, WRITE, F32), OPERAND(max_pool_gradient.gy, READ, F32),
                               OPERAND(max_pool_gradient.argmax, READ, U8)},
    [FFB_AVERAGE_POOL] = {OPERAND(average_pool.y, WRITE, F32), OPERAND(average_pool.x, READ, F32)},
    [FFB_AVERAGE_POOL_GRADIENT] = {OPERAND(average_pool_gradient.gx, WRITE, F32),
                                   OPERAND(average_pool_gradient.gy, READ, F32)},
    [FFB_SCALE_CHANNELS] = {OPERAND(scale_channels.y, WRITE, F32), OPERAND(scale_channels.x, READ, F32),
                            OPERAND(scale_channels.scale, READ, F32)},
    [FFB_SCALE_CHANNELS_GRADIENT] = {OPERAND(scale_channels_gradient.gx, WRITE, F32),
                                     OPERAND(scale_channels_gradient.gscale, WRITE, F32),
                                     OPERAND(scale_channels_gradient.gy, READ, F32),
                                     OPERAND(scale_channels_gradient.x, READ, F32),
                                     OPERAND(scale_channels_gradient.scale, READ, F32)},
    [FFB_DROPOUT] = {OPERAND(dropout.y, WRITE, F32), OPERAND(dropout.x, READ, F32), OPERAND(dropout.step, READ, U32)},
    [FFB_LABEL_PATTERN] = {OPERAND(label_pattern.images, READ | WRITE, F32),
                           OPERAND(label_pattern.labels, READ | OPTIONAL, S32),
                           OPERAND(label_pattern.patterns, READ, F32)},
    [FFB_NOTE_NOT_FINITE] = {OPERAND(note_not_finite.first, READ | WRITE, U32), OPERAND(note_not_finite.x, READ, F32),
                             OPERAND(note_not_finite.step, READ, U32)},
};

static struct ffb_tensor *tensor_at(const union ffb_arguments *arguments, size_t offset) {
  return *(struct ffb_tensor *const *)((const char *)arguments + offset);
}

/* WRITE alone means the call overwrites; these flags turn it into an update. */
static bool accumulates(enum ffb_operator operation, const union ffb_arguments *arguments) {
  switch (operation) {
  case FFB_GEMM_F32:
    return arguments->gemm_f32.accumulate;
  case FFB_DEQUANTISE:
    return arguments->dequantise.accumulate;
  case FFB_GOODNESS:
    return arguments->goodness.accumulate;
  case FFB_GOODNESS_GRADIENT:
    return arguments->goodness_gradient.accumulate;
  case FFB_CONVOLVE_INPUT_F32:
    return arguments->convolve_input_f32.accumulate;
  case FFB_CONVOLVE_INPUT_S8:
    return arguments->convolve_input_s8.accumulate;
  case FFB_CONVOLVE_WEIGHT_F32:
    return arguments->convolve_weight_f32.accumulate;
  case FFB_CONVOLVE_WEIGHT_S8:
    return arguments->convolve_weight_s8.accumulate;
  case FFB_AVERAGE_POOL_GRADIENT:
    return arguments->average_pool_gradient.accumulate;
  default:
    return false;
  }
}

size_t ffb_operands(enum ffb_operator operation, const union ffb_arguments *arguments,
                    struct ffb_operand operands[FFB_MAX_OPERANDS]) {
  size_t count = 0;
  const struct description *description = descriptions[operation];
  for (size_t i = 0; i < FFB_MAX_OPERANDS && description[i].access; i++) {
    struct ffb_tensor *tensor = tensor_at(arguments, description[i].offset);
    if (!tensor)
      continue;
    bool update = i == 0 && accumulates(operation, arguments);
    operands[count++] = (struct ffb_operand){
        .tensor = tensor, .read = update || description[i].access & READ, .write = description[i].access & WRITE};
  }
  return count;
}

struct ffb_tensor **ffb_operand_workspace(enum ffb_operator operation, union ffb_arguments *arguments) {
  switch (operation) {
  case FFB_GEMM_S8:
    return &arguments->gemm_s8.workspace;
  case FFB_LINEAR_F32:
    return &arguments->linear_f32.workspace;
  case FFB_LINEAR_S8:
    return &arguments->linear_s8.workspace;
  case FFB_LINEAR_UPDATE_F32:
    return &arguments->linear_update_f32.workspace;
  case FFB_LINEAR_UPDATE_S8:
    return &arguments->linear_update_s8.workspace;
  case FFB_CONVOLVE_F32:
    return &arguments->convolve_f32.workspace;
  case FFB_CONVOLVE_S8:
    return &arguments->convolve_s8.workspace;
  case FFB_CONVOLVE_INPUT_F32:
    return &arguments->convolve_input_f32.workspace;
  case FFB_CONVOLVE_INPUT_S8:
    return &arguments->convolve_input_s8.workspace;
  case FFB_CONVOLVE_WEIGHT_F32:
    return &arguments->convolve_weight_f32.workspace;
  case FFB_CONVOLVE_WEIGHT_S8:
    return &arguments->convolve_weight_s8.workspace;
  case FFB_CONVOLVE_UPDATE_F32:
    return &arguments->convolve_update_f32.workspace;
  case FFB_CONVOLVE_UPDATE_S8:
    return &arguments->convolve_update_s8.workspace;
  default:
    return NULL;
  }
}

const struct ffb_tensor *ffb_operand_scratch(enum ffb_operator operation, const union ffb_arguments *arguments) {
  union ffb_arguments copy = *arguments;
  struct ffb_tensor **scratch = ffb_operand_workspace(operation, &copy);
  return scratch ? *scratch : NULL;
}

static bool same_elements(const struct ffb_tensor *a, const struct ffb_tensor *b) {
  return !a || !b || ffb_elements(a) == ffb_elements(b);
}

/* Longest sum of INT8 products that stays below 2^31: 127 * 127 * K. */
static const int64_t longest_s8_sum = 133144;

static bool product_fits(const struct ffb_tensor *c, const struct ffb_tensor *a, const struct ffb_tensor *b,
                         bool transpose_a, bool transpose_b) {
  int64_t m = ffb_rows(c), n = ffb_columns(c);
  int64_t am = transpose_a ? ffb_columns(a) : ffb_rows(a), ak = transpose_a ? ffb_rows(a) : ffb_columns(a);
  int64_t bn = transpose_b ? ffb_rows(b) : ffb_columns(b), bk = transpose_b ? ffb_columns(b) : ffb_rows(b);
  return am == m && bn == n && ak == bk && (a->type != FFB_S8 || ak <= longest_s8_sum);
}

const struct ffb_tensor *ffb_rule_weights(const struct ffb_update_rule *rule) {
  return rule->kind == FFB_RULE_SGD ? rule->sgd.weights : rule->adam.weights;
}

static bool update_fits(const struct ffb_update_rule *rule, const struct ffb_tensor *gy, const struct ffb_tensor *x) {
  const struct ffb_tensor *weights = ffb_rule_weights(rule);
  return weights && ffb_rows(gy) == ffb_rows(x) && ffb_rows(weights) == ffb_columns(gy) &&
         ffb_columns(weights) == ffb_columns(x) && (gy->type != FFB_S8 || ffb_rows(gy) <= longest_s8_sum);
}

/* Pixels of one side of a window's output. */
static int64_t output_side(int64_t side, const struct ffb_window *window) {
  return (side + 2 * window->padding - window->kernel) / window->stride + 1;
}

static bool window_fits(const struct ffb_tensor *y, const struct ffb_tensor *x, const struct ffb_window *window) {
  return window->kernel > 0 && window->stride > 0 && window->padding >= 0 && window->padding < window->kernel &&
         x->shape[1] + 2 * window->padding >= window->kernel && x->shape[2] + 2 * window->padding >= window->kernel &&
         y->shape[0] == x->shape[0] && y->shape[1] == output_side(x->shape[1], window) &&
         y->shape[2] == output_side(x->shape[2], window);
}

static bool convolution_fits(const struct ffb_tensor *y, const struct ffb_tensor *x, const struct ffb_tensor *w,
                             const struct ffb_window *window, int groups) {
  return w && window_fits(y, x, window) && groups > 0 && x->shape[3] % groups == 0 && y->shape[3] % groups == 0 &&
         w->shape[0] == y->shape[3] && w->shape[1] == window->kernel && w->shape[2] == window->kernel &&
         w->shape[3] == x->shape[3] / groups && (w->type != FFB_S8 || ffb_columns(w) <= longest_s8_sum);
}

static bool channels_fit(const struct ffb_tensor *x, const struct ffb_tensor *a, const struct ffb_tensor *b) {
  return ffb_elements(a) == ffb_channels(x) && ffb_elements(b) == ffb_channels(x);
}

static bool extremes_fit(const struct ffb_tensor *x, const struct ffb_tensor *extremes) {
  return x && ffb_elements(extremes) == 2 * ffb_channels(x);
}

static bool normalise_fits(const struct ffb_batch_normalise *a) {
  return channels_fit(a->x, a->mean, a->inverse) && channels_fit(a->x, a->gamma, a->beta) &&
         same_elements(a->y, a->x) && same_elements(a->shortcut, a->x) &&
         (!a->mask || ffb_elements(a->mask) == (ffb_elements(a->x) + 7) / 8);
}

static bool normalise_gradient_fits(const struct ffb_batch_normalise_gradient *a) {
  return channels_fit(a->x, a->mean, a->inverse) && channels_fit(a->x, a->gamma, a->beta) &&
         channels_fit(a->x, a->ggamma, a->gbeta) && same_elements(a->gx, a->x) && same_elements(a->gy, a->x);
}

static bool normalised_pool_fits(const struct ffb_batch_normalise_pool *a) {
  return normalise_fits(&a->normalise) && !a->normalise.y && !a->normalise.shortcut && !a->normalise.mask &&
         window_fits(a->y, a->normalise.x, &a->window) && a->window.kernel <= FFB_NORMALISED_POOL_KERNEL &&
         a->y->shape[3] == a->normalise.x->shape[3];
}

static bool normalised_pool_gradient_fits(const struct ffb_batch_normalise_pool_gradient *a) {
  const struct ffb_tensor *x = a->gradient.x;
  return normalise_gradient_fits(&a->gradient) && !a->gradient.gy && !a->gy != !a->goodness &&
         a->window.kernel <= FFB_NORMALISED_POOL_KERNEL &&
         (!a->gy || (window_fits(a->gy, x, &a->window) && a->gy->shape[3] == x->shape[3])) &&
         (!a->goodness || (a->groups > 0 && ffb_elements(a->goodness) == ffb_rows(x) * a->groups));
}

static bool by_channel(const struct ffb_tensor *image, const struct ffb_tensor *vector) {
  return ffb_rows(image) == ffb_rows(vector) && ffb_columns(vector) == ffb_channels(image);
}

static bool quantise_fits(const struct ffb_suq_scale *scale, const struct ffb_suq_quantise *quantise,
                          const struct ffb_tensor *like) {
  return same_elements(quantise->q, like) && quantise->scale == scale->scale &&
         (quantise->rounding == FFB_ROUND_NEAREST || quantise->step);
}

static bool normalise_gradient_s8_fits(const struct ffb_batch_normalise_gradient_s8 *a) {
  return normalise_gradient_fits(&a->gradient) && quantise_fits(&a->scale, &a->quantise, a->gradient.x);
}

static bool normalise_goodness_gradient_fits(const struct ffb_batch_normalise_goodness_gradient_s8 *a) {
  return normalise_gradient_s8_fits(&a->normalise) && a->groups > 0 &&
         ffb_elements(a->goodness) == ffb_rows(a->normalise.gradient.x) * a->groups;
}

static bool normalise_rows_fit(const struct ffb_normalise *a) {
  int64_t groups = ffb_rows(a->x) * a->groups;
  return (!a->mean || a->kind == FFB_NORMALISE_RMS) && (!a->goodness || ffb_elements(a->goodness) == groups) &&
         (!a->inverse || ffb_elements(a->inverse) == groups);
}

static bool quantise_in_place_fits(const struct ffb_suq_in_place *a) {
  bool absmax = a->scale.range == FFB_RANGE_ABSMAX;
  return quantise_fits(&a->scale, &a->quantise, a->quantise.x) && (!absmax || a->scale.x == a->quantise.x) &&
         a->quantise.q->data == a->quantise.x->data;
}

static bool shapes_fit(enum ffb_operator operation, const union ffb_arguments *a) {
  switch (operation) {
  case FFB_COPY:
    return same_elements(a->copy.out, a->copy.in) && a->copy.out->type == a->copy.in->type;
  case FFB_CONVERT_IMAGES:
    return a->convert_images.out->shape[1] == a->convert_images.in->shape[1] &&
           a->convert_images.out->shape[2] == a->convert_images.in->shape[2] &&
           a->convert_images.out->shape[3] >= a->convert_images.in->shape[3] &&
           a->convert_images.out->shape[3] <= FFB_MAX_CHANNELS &&
           ffb_rows(a->convert_images.out) % ffb_rows(a->convert_images.in) == 0;
  case FFB_OVERLAY_LABELS:
    return a->overlay_labels.images->shape[2] >= a->overlay_labels.classes &&
           (!a->overlay_labels.labels || ffb_elements(a->overlay_labels.labels) == ffb_rows(a->overlay_labels.images));
  case FFB_DRAW_NEGATIVES:
    return same_elements(a->draw_negatives.negatives, a->draw_negatives.labels) &&
           same_elements(a->draw_negatives.labels, a->draw_negatives.index) && a->draw_negatives.classes >= 2 &&
           a->draw_negatives.classes <= FFB_MAX_CLASSES;
  case FFB_GEMM_F32:
    return product_fits(a->gemm_f32.c, a->gemm_f32.a, a->gemm_f32.b, a->gemm_f32.transpose_a, a->gemm_f32.transpose_b);
  case FFB_GEMM_S8:
    return product_fits(a->gemm_s8.c, a->gemm_s8.a, a->gemm_s8.b, a->gemm_s8.transpose_a, a->gemm_s8.transpose_b);
  case FFB_LINEAR_F32:
    return product_fits(a->linear_f32.y, a->linear_f32.x, a->linear_f32.w, false, a->linear_f32.transpose_w);
  case FFB_LINEAR_S8:
    return product_fits(a->linear_s8.y, a->linear_s8.x, a->linear_s8.w, false, a->linear_s8.transpose_w);
  case FFB_LINEAR_UPDATE_F32:
    return update_fits(&a->linear_update_f32.rule, a->linear_update_f32.gy, a->linear_update_f32.x);
  case FFB_LINEAR_UPDATE_S8:
    return (a->linear_update_s8.rounding == FFB_ROUND_NEAREST || a->linear_update_s8.step) &&
           update_fits(&a->linear_update_s8.rule, a->linear_update_s8.gy, a->linear_update_s8.x);
  case FFB_SUQ_SCALE:
    return a->suq_scale.range != FFB_RANGE_ABSMAX || a->suq_scale.x;
  case FFB_SUQ_QUANTISE:
    return same_elements(a->suq_quantise.q, a->suq_quantise.x) &&
           (a->suq_quantise.rounding == FFB_ROUND_NEAREST || a->suq_quantise.step);
  case FFB_SUQ_TENSOR:
    return same_elements(a->suq_tensor.quantise.q, a->suq_tensor.quantise.x) &&
           a->suq_tensor.quantise.scale == a->suq_tensor.scale.scale &&
           (a->suq_tensor.quantise.rounding == FFB_ROUND_NEAREST || a->suq_tensor.quantise.step);
  case FFB_SUQ_IN_PLACE:
    return quantise_in_place_fits(&a->suq_in_place);
  case FFB_SUQ_SEGMENTS:
    return same_elements(a->suq_segments.fine, a->suq_segments.x) &&
           same_elements(a->suq_segments.coarse, a->suq_segments.x);
  case FFB_DEQUANTISE:
    return same_elements(a->dequantise.out, a->dequantise.x);
  case FFB_ADD_BIAS:
    return ffb_columns(a->add_bias.y) == ffb_elements(a->add_bias.bias);
  case FFB_BIAS_GRADIENT:
    return ffb_columns(a->bias_gradient.gradient) == ffb_elements(a->bias_gradient.out);
  case FFB_ACTIVATE:
    return same_elements(a->activate.y, a->activate.x);
  case FFB_ACTIVATE_GRADIENT:
    return same_elements(a->activate_gradient.gx, a->activate_gradient.gy) &&
           same_elements(a->activate_gradient.gx, a->activate_gradient.v);
  case FFB_MASK_GRADIENT:
    return same_elements(a->mask_gradient.gx, a->mask_gradient.gy) &&
           ffb_elements(a->mask_gradient.mask) == (ffb_elements(a->mask_gradient.gx) + 7) / 8;
  case FFB_CONVOLVE_F32:
    return convolution_fits(a->convolve_f32.y, a->convolve_f32.x, a->convolve_f32.w, &a->convolve_f32.window,
                            a->convolve_f32.groups);
  case FFB_CONVOLVE_S8:
    return convolution_fits(a->convolve_s8.y, a->convolve_s8.x, a->convolve_s8.w, &a->convolve_s8.window,
                            a->convolve_s8.groups);
  case FFB_CONVOLVE_INPUT_F32:
    return convolution_fits(a->convolve_input_f32.gy, a->convolve_input_f32.gx, a->convolve_input_f32.w,
                            &a->convolve_input_f32.window, a->convolve_input_f32.groups);
  case FFB_CONVOLVE_INPUT_S8:
    return convolution_fits(a->convolve_input_s8.gy, a->convolve_input_s8.gx, a->convolve_input_s8.w,
                            &a->convolve_input_s8.window, a->convolve_input_s8.groups);
  case FFB_CONVOLVE_WEIGHT_F32:
    return convolution_fits(a->convolve_weight_f32.gy, a->convolve_weight_f32.x, a->convolve_weight_f32.gw,
                            &a->convolve_weight_f32.window, a->convolve_weight_f32.groups);
  case FFB_CONVOLVE_WEIGHT_S8:
    return convolution_fits(a->convolve_weight_s8.gy, a->convolve_weight_s8.x, a->convolve_weight_s8.gw,
                            &a->convolve_weight_s8.window, a->convolve_weight_s8.groups);
  case FFB_CONVOLVE_UPDATE_F32:
    return convolution_fits(a->convolve_update_f32.gy, a->convolve_update_f32.x,
                            ffb_rule_weights(&a->convolve_update_f32.rule), &a->convolve_update_f32.window,
                            a->convolve_update_f32.groups);
  case FFB_CONVOLVE_UPDATE_S8:
    return (a->convolve_update_s8.rounding == FFB_ROUND_NEAREST || a->convolve_update_s8.step) &&
           convolution_fits(a->convolve_update_s8.gy, a->convolve_update_s8.x,
                            ffb_rule_weights(&a->convolve_update_s8.rule), &a->convolve_update_s8.window,
                            a->convolve_update_s8.groups);
  case FFB_BATCH_STATISTICS:
    return (a->batch_statistics.x || (a->batch_statistics.running_mean && a->batch_statistics.running_variance)) &&
           same_elements(a->batch_statistics.mean, a->batch_statistics.inverse) &&
           same_elements(a->batch_statistics.mean, a->batch_statistics.running_mean) &&
           same_elements(a->batch_statistics.mean, a->batch_statistics.running_variance) &&
           (!a->batch_statistics.x || ffb_elements(a->batch_statistics.mean) == ffb_channels(a->batch_statistics.x)) &&
           (!a->batch_statistics.extremes || extremes_fit(a->batch_statistics.x, a->batch_statistics.extremes));
  case FFB_BATCH_NORMALISE:
    return normalise_fits(&a->batch_normalise);
  case FFB_BATCH_NORMALISE_GRADIENT:
    return normalise_gradient_fits(&a->batch_normalise_gradient);
  case FFB_BATCH_NORMALISE_S8:
    return normalise_fits(&a->batch_normalise_s8.normalise) &&
           (!a->batch_normalise_s8.extremes ||
            extremes_fit(a->batch_normalise_s8.normalise.x, a->batch_normalise_s8.extremes)) &&
           quantise_fits(&a->batch_normalise_s8.scale, &a->batch_normalise_s8.quantise,
                         a->batch_normalise_s8.normalise.x);
  case FFB_BATCH_NORMALISE_GRADIENT_S8:
    return normalise_gradient_s8_fits(&a->batch_normalise_gradient_s8);
  case FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8:
    return normalise_goodness_gradient_fits(&a->batch_normalise_goodness_gradient_s8);
  case FFB_BATCH_NORMALISE_POOL:
    return normalised_pool_fits(&a->batch_normalise_pool);
  case FFB_BATCH_NORMALISE_POOL_GRADIENT:
    return normalised_pool_gradient_fits(&a->batch_normalise_pool_gradient);
  case FFB_MAX_POOL:
    return window_fits(a->max_pool.y, a->max_pool.x, &a->max_pool.window) &&
           a->max_pool.y->shape[3] == a->max_pool.x->shape[3] && same_elements(a->max_pool.argmax, a->max_pool.y) &&
           a->max_pool.window.kernel < 16;
  case FFB_MAX_POOL_GRADIENT:
    return window_fits(a->max_pool_gradient.gy, a->max_pool_gradient.gx, &a->max_pool_gradient.window) &&
           a->max_pool_gradient.gy->shape[3] == a->max_pool_gradient.gx->shape[3] &&
           same_elements(a->max_pool_gradient.argmax, a->max_pool_gradient.gy);
  case FFB_AVERAGE_POOL:
    return by_channel(a->average_pool.x, a->average_pool.y);
  case FFB_AVERAGE_POOL_GRADIENT:
    return by_channel(a->average_pool_gradient.gx, a->average_pool_gradient.gy);
  case FFB_SCALE_CHANNELS:
    return same_elements(a->scale_channels.y, a->scale_channels.x) &&
           by_channel(a->scale_channels.x, a->scale_channels.scale);
  case FFB_SCALE_CHANNELS_GRADIENT:
    return same_elements(a->scale_channels_gradient.gx, a->scale_channels_gradient.gy) &&
           same_elements(a->scale_channels_gradient.gx, a->scale_channels_gradient.x) &&
           by_channel(a->scale_channels_gradient.x, a->scale_channels_gradient.scale) &&
           same_elements(a->scale_channels_gradient.gscale, a->scale_channels_gradient.scale);
  case FFB_DROPOUT:
    return same_elements(a->dropout.y, a->dropout.x) && a->dropout.rate >= 0 && a->dropout.rate < 1;
  case FFB_LABEL_PATTERN:
    return ffb_columns(a->label_pattern.patterns) ==
               a->label_pattern.images->shape[1] * a->label_pattern.images->shape[2] &&
           a->label_pattern.channel < a->label_pattern.images->shape[3] &&
           (!a->label_pattern.labels || ffb_elements(a->label_pattern.labels) == ffb_rows(a->label_pattern.images));
  case FFB_ADD_SCALED:
    return same_elements(a->add_scaled.out, a->add_scaled.a) && same_elements(a->add_scaled.out, a->add_scaled.b);
  case FFB_NORMALISE:
    return same_elements(a->normalise.y, a->normalise.x) && normalise_rows_fit(&a->normalise);
  case FFB_NORMALISE_S8:
    return normalise_rows_fit(&a->normalise_s8.normalise) &&
           quantise_fits(&a->normalise_s8.scale, &a->normalise_s8.quantise, a->normalise_s8.normalise.x);
  case FFB_NORMALISE_GRADIENT:
    return same_elements(a->normalise_gradient.gx, a->normalise_gradient.gy) &&
           same_elements(a->normalise_gradient.gx, a->normalise_gradient.y) &&
           ffb_elements(a->normalise_gradient.inverse) == ffb_rows(a->normalise_gradient.y);
  case FFB_SOFTMAX_CROSS_ENTROPY:
    return same_elements(a->softmax_cross_entropy.gradient, a->softmax_cross_entropy.logits) &&
           ffb_columns(a->softmax_cross_entropy.logits) <= FFB_MAX_CLASSES &&
           ffb_elements(a->softmax_cross_entropy.labels) == ffb_rows(a->softmax_cross_entropy.logits);
  case FFB_GOODNESS:
    return ffb_elements(a->goodness.goodness) == ffb_rows(a->goodness.y) * a->goodness.groups;
  case FFB_GOODNESS_LOSS:
    return same_elements(a->goodness_loss.gradient, a->goodness_loss.goodness) &&
           ffb_elements(a->goodness_loss.goodness) % 2 == 0;
  case FFB_GOODNESS_GRADIENT:
    return same_elements(a->goodness_gradient.gy, a->goodness_gradient.y) &&
           ffb_elements(a->goodness_gradient.gradient) ==
               ffb_rows(a->goodness_gradient.y) * a->goodness_gradient.groups;
  case FFB_SGD_UPDATE:
    return same_elements(a->sgd_update.rule.weights, a->sgd_update.gradient) &&
           same_elements(a->sgd_update.rule.weights, a->sgd_update.rule.momentum);
  case FFB_ADAM_UPDATE:
    return same_elements(a->adam_update.rule.weights, a->adam_update.gradient) &&
           same_elements(a->adam_update.rule.weights, a->adam_update.rule.first) &&
           same_elements(a->adam_update.rule.weights, a->adam_update.rule.second);
  default:
    return true;
  }
}

bool ffb_operands_check(enum ffb_operator operation, const union ffb_arguments *arguments, struct ffb_error *error) {
  const struct description *description = descriptions[operation];
  for (size_t i = 0; i < FFB_MAX_OPERANDS && description[i].access; i++) {
    const struct ffb_tensor *tensor = tensor_at(arguments, description[i].offset);
    if (!tensor && description[i].access & OPTIONAL)
      continue;
    if (!tensor)
      return ffb_fail(error, "%s: operand %zu is missing", ffb_operator_name(operation), i);
    if (!(description[i].types & 1 << tensor->type))
      return ffb_fail(error, "%s: operand %zu (%s) has the wrong type", ffb_operator_name(operation), i, tensor->name);
  }
  if (!shapes_fit(operation, arguments))
    return ffb_fail(error, "%s: the shapes of its operands do not fit", ffb_operator_name(operation));
  return true;
}
