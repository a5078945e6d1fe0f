/* What a backend is: a table of operators over tensors that lie in one device arena.
 *
 * A program (nn/plan.h) is a list of operator calls with fixed operands. The harness runs it step after step; what
 * changes between steps (learning rate, lambda, step number) lies in device memory and is an operand too, so that a
 * device may capture the list once and replay it. A backend never sees a layer, and never allocates inside a call.
 *
 * Required operators must be filled by every backend. Optional ones (marked so) are fused forms; nn/ asks
 * whether the slot is filled and otherwise emits the composition that stands beside it. */
#ifndef FFBENCH_BACKENDS_BACKEND_H
#define FFBENCH_BACKENDS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ffb_type { FFB_F32, FFB_F64, FFB_S32, FFB_U32, FFB_S8, FFB_U8 };

/* What a tensor is for; memory is reported by tag. */
enum ffb_tag {
  FFB_TAG_WEIGHTS,
  FFB_TAG_GRADIENTS,
  FFB_TAG_OPTIMISER,
  FFB_TAG_ACTIVATIONS,
  FFB_TAG_QUANTISED,
  FFB_TAG_WORKSPACE,
  FFB_TAG_DATASET,
  FFB_TAG_COUNT
};

enum { FFB_DIMENSIONS = 4, FFB_MAX_CHANNELS = 4, FFB_MAX_CLASSES = 64 };

/* A dense row-major tensor. Images are N, H, W, C; a matrix is [rows][columns] with the last two dimensions 1.
 * Linear weights are [out][in] as in PyTorch; those of a convolution are [out][kernel][kernel][in / groups] (PyTorch's
 * have the last dimension second: weight files are converted). */
struct ffb_tensor {
  void *data; /* device address; set once the memory plan is made, and fixed from then on. A view may start at any
               * element; workspaces are aligned to 64 bytes */
  enum ffb_type type;
  enum ffb_tag tag;
  int64_t shape[FFB_DIMENSIONS];
  int id; /* number of the tensor in its plan */
  const char *name;
  int dimensions; /* of the tensor in a weight file: 1, 2, or 4 (here O, H, W, I; there O, I, H, W); 0: without its
                   * trailing ones */
};

static inline int64_t ffb_elements(const struct ffb_tensor *tensor) {
  return tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}
/* Rows = the first dimension; columns = everything else. */
static inline int64_t ffb_rows(const struct ffb_tensor *tensor) {
  return tensor->shape[0];
}
static inline int64_t ffb_columns(const struct ffb_tensor *tensor) {
  return tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}
/* Channels = the last dimension of images, the columns of a matrix; pixels = rows of channels. */
static inline int64_t ffb_channels(const struct ffb_tensor *tensor) {
  return tensor->shape[2] == 1 && tensor->shape[3] == 1 ? tensor->shape[1] : tensor->shape[3];
}
static inline int64_t ffb_pixels(const struct ffb_tensor *tensor) {
  return ffb_elements(tensor) / ffb_channels(tensor);
}
static inline size_t ffb_type_bytes(enum ffb_type type) {
  static const size_t bytes[] = {4, 8, 4, 4, 1, 1};
  return bytes[type];
}

/* ---- operators ---------------------------------------------------------------------------------------------- */

/* X(NAME, name, optional): enumerator, member of the argument union and of the name table. */
#define FFB_OPERATORS(X)                                                                                               \
  X(FILL, fill, 0)                                                                                                     \
  X(COPY, copy, 0)                                                                                                     \
  X(CONVERT_IMAGES, convert_images, 0)                                                                                 \
  X(OVERLAY_LABELS, overlay_labels, 0)                                                                                 \
  X(DRAW_NEGATIVES, draw_negatives, 0)                                                                                 \
  X(GEMM_F32, gemm_f32, 0)                                                                                             \
  X(GEMM_S8, gemm_s8, 0)                                                                                               \
  X(SUQ_SCALE, suq_scale, 0)                                                                                           \
  X(SUQ_QUANTISE, suq_quantise, 0)                                                                                     \
  X(SUQ_SEGMENTS, suq_segments, 0)                                                                                     \
  X(DEQUANTISE, dequantise, 0)                                                                                         \
  X(CLIP_SEARCH, clip_search, 0)                                                                                       \
  X(SEGMENT_SEARCH, segment_search, 0)                                                                                 \
  X(ADD_BIAS, add_bias, 0)                                                                                             \
  X(BIAS_GRADIENT, bias_gradient, 0)                                                                                   \
  X(ACTIVATE, activate, 0)                                                                                             \
  X(ACTIVATE_GRADIENT, activate_gradient, 0)                                                                           \
  X(MASK_GRADIENT, mask_gradient, 0)                                                                                   \
  X(ADD_SCALED, add_scaled, 0)                                                                                         \
  X(NORMALISE, normalise, 0)                                                                                           \
  X(NORMALISE_GRADIENT, normalise_gradient, 0)                                                                         \
  X(SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, 0)                                                                   \
  X(GOODNESS, goodness, 0)                                                                                             \
  X(GOODNESS_LOSS, goodness_loss, 0)                                                                                   \
  X(GOODNESS_GRADIENT, goodness_gradient, 0)                                                                           \
  X(SGD_UPDATE, sgd_update, 0)                                                                                         \
  X(ADAM_UPDATE, adam_update, 0)                                                                                       \
  X(CONVOLVE_F32, convolve_f32, 0)                                                                                     \
  X(CONVOLVE_S8, convolve_s8, 0)                                                                                       \
  X(CONVOLVE_INPUT_F32, convolve_input_f32, 0)                                                                         \
  X(CONVOLVE_INPUT_S8, convolve_input_s8, 0)                                                                           \
  X(CONVOLVE_WEIGHT_F32, convolve_weight_f32, 0)                                                                       \
  X(CONVOLVE_WEIGHT_S8, convolve_weight_s8, 0)                                                                         \
  X(BATCH_STATISTICS, batch_statistics, 0)                                                                             \
  X(BATCH_NORMALISE, batch_normalise, 0)                                                                               \
  X(BATCH_NORMALISE_GRADIENT, batch_normalise_gradient, 0)                                                             \
  X(MAX_POOL, max_pool, 0)                                                                                             \
  X(MAX_POOL_GRADIENT, max_pool_gradient, 0)                                                                           \
  X(AVERAGE_POOL, average_pool, 0)                                                                                     \
  X(AVERAGE_POOL_GRADIENT, average_pool_gradient, 0)                                                                   \
  X(SCALE_CHANNELS, scale_channels, 0)                                                                                 \
  X(SCALE_CHANNELS_GRADIENT, scale_channels_gradient, 0)                                                               \
  X(DROPOUT, dropout, 0)                                                                                               \
  X(LABEL_PATTERN, label_pattern, 0)                                                                                   \
  X(NOTE_NOT_FINITE, note_not_finite, 0)                                                                               \
  X(SUQ_TENSOR, suq_tensor, 1)                                                                                         \
  X(LINEAR_F32, linear_f32, 1)                                                                                         \
  X(LINEAR_S8, linear_s8, 1)                                                                                           \
  X(LINEAR_UPDATE_F32, linear_update_f32, 1)                                                                           \
  X(LINEAR_UPDATE_S8, linear_update_s8, 1)                                                                             \
  X(CONVOLVE_UPDATE_F32, convolve_update_f32, 1)                                                                       \
  X(CONVOLVE_UPDATE_S8, convolve_update_s8, 1)                                                                         \
  X(BATCH_NORMALISE_S8, batch_normalise_s8, 1)                                                                         \
  X(BATCH_NORMALISE_GRADIENT_S8, batch_normalise_gradient_s8, 1)                                                       \
  X(BATCH_NORMALISE_GOODNESS_GRADIENT_S8, batch_normalise_goodness_gradient_s8, 1)                                     \
  X(BATCH_NORMALISE_POOL, batch_normalise_pool, 1)                                                                     \
  X(BATCH_NORMALISE_POOL_GRADIENT, batch_normalise_pool_gradient, 1)                                                   \
  X(SUQ_IN_PLACE, suq_in_place, 1)                                                                                     \
  X(NORMALISE_S8, normalise_s8, 1)

enum ffb_operator {
#define FFB_ENUMERATOR(NAME, name, optional) FFB_##NAME,
  FFB_OPERATORS(FFB_ENUMERATOR)
#undef FFB_ENUMERATOR
      FFB_OPERATOR_COUNT
};

/* In the structs below an operand is read unless its comment says "out" (written) or "in/out". Shapes are in
 * brackets; M is the rows of a batch. Operands marked "optional" may be null. Scalars are tensors of one element. */

/* out[...] = value. */
struct ffb_fill {
  struct ffb_tensor *out; /* out, any type; value is converted as C does, and has to fit */
  float value;
};

/* out = in, same bytes. */
struct ffb_copy {
  struct ffb_tensor *out; /* out */
  struct ffb_tensor *in;
};

/* out = (in / 255 - mean[c]) / deviation[c], in FP32 with two divisions; the batch is repeated when out has more rows
 * than in (row m reads row m % rows(in)). Channels of out beyond those of in become 0. */
struct ffb_convert_images {
  struct ffb_tensor *out; /* out F32 [R x M][H][W][C or more] */
  struct ffb_tensor *in;  /* U8 [M][H][W][C] */
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];
};

/* Writes a label into an image (Hinton, "The forward-forward algorithm", 2022): the first `classes` pixels of the
 * first row, all channels, become off, and the label's pixel becomes on. A label of -1 is the neutral one: every pixel
 * becomes off + (on - off) / classes. A null `labels` writes `constant` into every row. Images are at least `classes`
 * pixels wide. */
struct ffb_overlay_labels {
  struct ffb_tensor *images; /* in/out F32 [M][H][W][C] */
  struct ffb_tensor *labels; /* optional S32 [M] */
  int constant, classes;
  float on, off;
};

/* A wrong label for each sample, never the true one.
 * Uniform (scores null): true + 1 + random_below(seed, FFB_PURPOSE_NEGATIVE, draw, index[m], classes - 1), modulo
 * classes. Hard: drawn from softmax(scores[m]) with the true class masked, by the uniform number of (seed, purpose,
 * draw, index[m]): the first wrong class c, in order, with uniform * sum of all < sum up to c, in FP64 over exp(score -
 * largest wrong score); where the scores hold a NaN or +infinity, as uniform. With `kept`, a label drawn once for a
 * training record is kept in kept[index[m]] (-1: not drawn yet) and used again, whatever `draw` and the scores say. */
struct ffb_draw_negatives {
  struct ffb_tensor *negatives; /* out S32 [M] */
  struct ffb_tensor *labels;    /* S32 [M] */
  struct ffb_tensor *index;     /* S32 [M], the record's number in the training set */
  struct ffb_tensor *draw;      /* U32 [1], the number of the draw */
  struct ffb_tensor *scores;    /* optional F32 [M][classes] */
  struct ffb_tensor *kept;      /* optional in/out S32 [records] */
  int classes;
  uint64_t seed;
};

/* c = op(a) op(b), or c += with accumulate. op is transposition where asked for. Shapes of c decide M and N. Order and
 * precision of the sums are the backend's own; the reference sums in FP64 and rounds once. */
struct ffb_gemm_f32 {
  struct ffb_tensor *c; /* out (in/out with accumulate) F32 [M][N] */
  struct ffb_tensor *a; /* F32 [M][K], or [K][M] if transpose_a */
  struct ffb_tensor *b; /* F32 [K][N], or [N][K] if transpose_b */
  bool transpose_a, transpose_b, accumulate;
};

/* The same in integers, exact: S8 x S8 summed in S32. The caller guarantees 127 * 127 * K < 2^31 (K <= 133,144). -128
 * never occurs. */
struct ffb_gemm_s8 {
  struct ffb_tensor *c; /* out S32 [M][N] */
  struct ffb_tensor *a; /* S8 */
  struct ffb_tensor *b; /* S8 */
  bool transpose_a, transpose_b;
  struct ffb_tensor *workspace; /* out, scratch; optional (see ffb_backend.workspace) */
};

enum ffb_range {
  FFB_RANGE_ABSMAX,  /* s = (ratio * max|x|) / 127, or max|x| / 127 without a ratio */
  FFB_RANGE_RUNNING, /* s = running maximum / 127: evaluation, nothing depends on the batch */
  FFB_RANGE_FIXED,   /* s = fixed / 127 */
};

/* Scale of the symmetric uniform quantiser (SUQ), per tensor. With FFB_RANGE_ABSMAX and `running`, the running maximum
 * is moved: it becomes max|x| where it was 0, else 0.99 * running + 0.01 * max|x|. In every range a scale below FLT_MIN
 * (a zero tensor, or one whose reciprocal scale would overflow) becomes 1. A tensor that holds a NaN gives a NaN scale,
 * and a NaN in `running`; an infinite one gives an infinite scale. max|x| of S32 is taken in integers, then converted.
 */
struct ffb_suq_scale {
  struct ffb_tensor *scale;   /* out F32 [1] */
  struct ffb_tensor *x;       /* F32 or S32, any shape; null with FFB_RANGE_RUNNING or FIXED */
  struct ffb_tensor *ratio;   /* optional F32 [1] */
  struct ffb_tensor *running; /* optional in/out F32 [1] */
  enum ffb_range range;
  float fixed;
};

enum ffb_rounding {
  FFB_ROUND_NEAREST,    /* nearest, ties to even */
  FFB_ROUND_STOCHASTIC, /* floor(v + u), u = ffb_random_rounding(seed, purpose, step, element index) */
};

/* q = clamp(round(x / s), -127, 127). v = x * (1 / s) computed in FP32 in exactly this form (reciprocal first), so that
 * every backend rounds the same number. An infinite v is clamped, a NaN becomes 0. */
struct ffb_suq_quantise {
  struct ffb_tensor *q;     /* out S8, elements as x */
  struct ffb_tensor *x;     /* F32 */
  struct ffb_tensor *scale; /* F32 [1] */
  struct ffb_tensor *step;  /* U32 [1]; needed for stochastic rounding only */
  enum ffb_rounding rounding;
  uint32_t purpose; /* FFB_PURPOSE_TENSOR + id */
  uint64_t seed;
};

/* Scale, and quantise, in one call (optional slot; composition: SUQ_SCALE, SUQ_QUANTISE). */
struct ffb_suq_tensor {
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise;
};

/* The same where q lies over the first bytes of x. What the rest of x holds afterwards is open. */
struct ffb_suq_in_place {
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise;
};

/* Two-segment quantiser (BP-GDAI8, segments = 2): coarse scale s2 = max|x| / 63, fine scale s1 = s2 / 2^k, threshold 63
 * * s1. Elements within the threshold go to `fine` with s1, the others to `coarse` with s2; the other operand holds 0
 * there. Stochastic or nearest rounding as above, clamped to -63 .. 63. In FP32: s1 = ldexp(s2, -k); either scale
 * becomes 1 where it is below FLT_MIN; |x| <= 63 * s1 is within. */
struct ffb_suq_segments {
  struct ffb_tensor *fine, *coarse;             /* out S8 */
  struct ffb_tensor *fine_scale, *coarse_scale; /* out F32 [1] */
  struct ffb_tensor *x;                         /* F32 */
  struct ffb_tensor *exponent;                  /* F32 [1]: k, a whole number 0..7 */
  struct ffb_tensor *step;                      /* U32 [1] */
  enum ffb_rounding rounding;
  uint32_t purpose;
  uint64_t seed;
};

/* out = x * scale_a * scale_b (+ out with accumulate). FP32: (float)x * (scale_a * scale_b), or (float)x * scale_a. */
struct ffb_dequantise {
  struct ffb_tensor *out;     /* out (in/out with accumulate) F32 */
  struct ffb_tensor *x;       /* S32 or S8, elements as out */
  struct ffb_tensor *scale_a; /* F32 [1] */
  struct ffb_tensor *scale_b; /* optional F32 [1] */
  bool accumulate;
};

/* Direction-sensitive gradient clipping (Zhu et al., CVPR 2020): finds r = c / max|x| in [0.05, 1] that minimises
 * d = 1 - cos(x, dequantised(quantised(clip(x, -c, c)))) with nearest rounding, by 20 steps of golden section; r = 1
 * unless that is worse. The scale cancels, so d = 1 - sum(x q) / sqrt(sum(x x) sum(q q)), q as SUQ_QUANTISE gives it
 * for s = (r * max|x|) / 127; the clamp is the clip. Sums are in FP64 over blocks of 4096 elements in order, inside a
 * block sixteen lanes and a tree as in reduce.h, so the result does not depend on threads. ratio = r on the first call
 * (*ratio 0), else tracking * ratio + (1 - tracking) * r. With gaussian_test: if P(|x| > standard deviation) > 0.3 the
 * tensor counts as Gaussian and r = 1. deviation = d at the ratio that is in force; multiplier = max(exp(-alpha * d),
 * beta) there (deviation-counteractive learning-rate scaling). A zero tensor has r = 1, d = 0; one that is not finite
 * has r = 1, d = 1. reference.h offers the search over a backend's own sums. */
struct ffb_clip_search {
  struct ffb_tensor *x;          /* F32 */
  struct ffb_tensor *ratio;      /* in/out F32 [1]; 0 before the first search */
  struct ffb_tensor *deviation;  /* out F32 [1] */
  struct ffb_tensor *multiplier; /* optional out F32 [1] */
  float alpha, beta, tracking;
  bool gaussian_test;
};

/* k in 0..7 of the two-segment quantiser with the least d (nearest rounding), the smallest of equals. A zero tensor has
 * k = 0, d = 0; one that is not finite has k = 0, d = 1. */
struct ffb_segment_search {
  struct ffb_tensor *x;         /* F32 */
  struct ffb_tensor *exponent;  /* out F32 [1] */
  struct ffb_tensor *deviation; /* out F32 [1] */
};

/* y[m][n] += bias[n]. */
struct ffb_add_bias {
  struct ffb_tensor *y;    /* in/out F32 [M][N] */
  struct ffb_tensor *bias; /* F32 [N] */
};

/* out[n] = sum_m gradient[m][n], rows in order, in FP32 from 0. */
struct ffb_bias_gradient {
  struct ffb_tensor *out;      /* out F32 [N] */
  struct ffb_tensor *gradient; /* F32 [M][N] */
};

enum ffb_activation {
  FFB_ACTIVATION_NONE,
  FFB_ACTIVATION_RELU,    /* max(x, 0) */
  FFB_ACTIVATION_RELU6,   /* min(max(x, 0), 6) */
  FFB_ACTIVATION_SILU,    /* x * sigmoid(x) */
  FFB_ACTIVATION_SIGMOID, /* 1 / (1 + exp(-x)) */
};

/* y = activation(x); in place where y == x. A NaN stays a NaN; the sign of a zero is open. The exponential is that of
 * exponential.h, so every backend has the same bits. */
struct ffb_activate {
  struct ffb_tensor *y; /* out F32 */
  struct ffb_tensor *x; /* F32 */
  enum ffb_activation kind;
};

/* gx = gy * activation'; in place where gx == gy. `v` is what the forward pass gave (relu: v > 0; relu6: 0 < v < 6;
 * sigmoid: v * (1 - v)), but for silu what it took: s * (1 + v * (1 - s)), s = sigmoid(v). A gradient that relu or
 * relu6 stops is 0. */
struct ffb_activate_gradient {
  struct ffb_tensor *gx; /* out F32 */
  struct ffb_tensor *gy; /* F32 */
  struct ffb_tensor *v;  /* F32 */
  enum ffb_activation kind;
};

/* gx = gy where the element's bit is set, else 0: a ReLU's gradient without its output. Element e has bit e % 8 of byte
 * e / 8. */
struct ffb_mask_gradient {
  struct ffb_tensor *gx;   /* out F32; may be gy */
  struct ffb_tensor *gy;   /* F32 */
  struct ffb_tensor *mask; /* U8 [(elements + 7) / 8] */
};

/* out = a + factor * b, factor 1 without a tensor; in place where out == a. */
struct ffb_add_scaled {
  struct ffb_tensor *out;    /* out F32 */
  struct ffb_tensor *a, *b;  /* F32 */
  struct ffb_tensor *factor; /* optional F32 [1] */
};

enum ffb_normalisation {
  FFB_NORMALISE_L2,  /* y = x / (||x|| + 1e-8) per group */
  FFB_NORMALISE_RMS, /* y = x / (sqrt(mean x^2) + 1e-8) per group */
};

/* Row-wise normalisation in `groups` groups of channels (1: the whole row), sizes as ffb_group_start; a group of an
 * image is its channels at every pixel. FP32: inverse = 1 / (sqrt(sum) + 1e-8), or of sum / size; y = x * inverse. Sums
 * here, below and in GOODNESS are in the order of reduce.h: a whole row as one sequence; a group of an image first over
 * the pixels in order for each channel (each product and sum rounded by itself), then over its channels. */
struct ffb_normalise {
  struct ffb_tensor *y;        /* out F32 [M][F]; may be x */
  struct ffb_tensor *x;        /* F32 [M][F] */
  struct ffb_tensor *goodness; /* optional F32 [M][groups]: GOODNESS of x in the same groups, in place of the sums */
  struct ffb_tensor *inverse;  /* optional out F32 [M][groups]: what x was multiplied by */
  enum ffb_normalisation kind;
  int groups;
  bool mean; /* of the goodness; then kind is rms */
};

/* Normalised and quantised in one: y never lies in memory. Composition: NORMALISE, SUQ_SCALE, SUQ_QUANTISE over its y.
 * `normalise.y`, `scale.x` and `quantise.x` are null. */
struct ffb_normalise_s8 {
  struct ffb_normalise normalise;
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise;
};

/* gx = inverse * (gy - y * (sum(gy * y) * k)), k = 1 (l2) or 1/F (rms), per row; groups = 1 only. */
struct ffb_normalise_gradient {
  struct ffb_tensor *gx;      /* out F32 [M][F]; may be gy */
  struct ffb_tensor *gy;      /* F32 [M][F] */
  struct ffb_tensor *y;       /* F32 [M][F] */
  struct ffb_tensor *inverse; /* F32 [M][1] */
  enum ffb_normalisation kind;
};

/* Running totals of a training run in FP64; never read by the device. */
enum ffb_statistic {
  FFB_STATISTIC_LOSS,    /* sum over samples */
  FFB_STATISTIC_CORRECT, /* samples classified rightly, or pairs told apart */
  FFB_STATISTIC_SAMPLES,
  FFB_STATISTIC_NOT_FINITE, /* samples whose loss is a NaN or infinite */
  FFB_STATISTIC_COUNT
};

/* Mean softmax cross-entropy over the batch. gradient = (softmax(logit_scale * logits) - onehot) * logit_scale / M,
 * with `total_rows` (a batch in several parts) in place of M where that is not 0, in FP32 from left to right;
 * exponentials are of z - max z, summed in order. A sample is correct where the first of the largest logits is its
 * label and no logit is a NaN. */
struct ffb_softmax_cross_entropy {
  struct ffb_tensor *gradient;   /* optional out F32 [M][classes]; may be logits */
  struct ffb_tensor *logits;     /* F32 [M][classes] */
  struct ffb_tensor *labels;     /* S32 [M] */
  struct ffb_tensor *statistics; /* in/out F64 [FFB_STATISTIC_COUNT] */
  float logit_scale;
  int64_t total_rows;
};

/* Goodness of each row in `groups` groups of channels, as in NORMALISE: sum of squares (or mean of squares). With
 * accumulate it is added to what is there. */
struct ffb_goodness {
  struct ffb_tensor *goodness; /* out (in/out) F32 [M][groups] */
  struct ffb_tensor *y;        /* F32 [M][F] */
  int groups;
  bool mean, accumulate;
};

/* FF-INT8 Eq. 1 and 2. Rows 0..M-1 are positive, M..2M-1 negative. L = softplus(theta - G) and softplus(G - theta),
 * mean over the 2M rows... times 2: the mean over positives plus the mean over negatives. gradient[m] = dL/dG:
 * -sigmoid(theta - G)/M and +sigmoid(G - theta)/M. FP32; softplus(z) = max(z, 0) + log1p(exp(-|z|)). Statistics: loss
 * per pair, correct where G_positive > G_negative, samples = M. */
struct ffb_goodness_loss {
  struct ffb_tensor *gradient;   /* out F32 [2M][1] */
  struct ffb_tensor *goodness;   /* F32 [2M][1] */
  struct ffb_tensor *statistics; /* optional in/out F64 [FFB_STATISTIC_COUNT] */
  float theta;
};

/* gy[m][f] = (gradient[m][group of f] * 2) * y[m][f]; with mean ((gradient * 2) / size of the group) * y. */
struct ffb_goodness_gradient {
  struct ffb_tensor *gy;       /* out F32 [M][F]; may be y */
  struct ffb_tensor *gradient; /* F32 [M][groups] */
  struct ffb_tensor *y;        /* F32 [M][F] */
  int groups;
  bool mean;
  bool accumulate; /* in/out gy += */
};

/* Optimiser state (momentum, moments) below this magnitude becomes 0: on its way to denormal numbers, which processors
 * handle slowly, it is far too small to change a weight. */
#define FFB_SMALLEST_STATE 1e-30f

/* PyTorch's SGD: g += weight_decay * w; m = momentum * m + g; w -= learning_rate * multiplier * m. Without momentum
 * (null) w -= ... * g. FP32: w - (learning_rate * multiplier) * m. */
struct ffb_sgd {
  struct ffb_tensor *weights;       /* in/out F32 */
  struct ffb_tensor *momentum;      /* optional in/out F32 */
  struct ffb_tensor *learning_rate; /* F32 [1] */
  struct ffb_tensor *multiplier;    /* optional F32 [1] */
  float momentum_factor, weight_decay;
};
struct ffb_sgd_update {
  struct ffb_sgd rule;
  struct ffb_tensor *gradient; /* F32 */
};

/* PyTorch's Adam: g += weight_decay * w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
 * w -= learning_rate * multiplier * (m * correction1) / (sqrt(v * correction2) + epsilon), corrections = 1 / (1 - b^t).
 * FP32: (1 - b2) * (g * g); ((learning_rate * multiplier) * (m * correction1)) / (sqrt(...) + epsilon). */
struct ffb_adam {
  struct ffb_tensor *weights;       /* in/out F32 */
  struct ffb_tensor *first;         /* in/out F32 */
  struct ffb_tensor *second;        /* in/out F32 */
  struct ffb_tensor *learning_rate; /* F32 [1] */
  struct ffb_tensor *multiplier;    /* optional F32 [1] */
  struct ffb_tensor *corrections;   /* F32 [2] */
  float beta1, beta2, epsilon, weight_decay;
};
struct ffb_adam_update {
  struct ffb_adam rule;
  struct ffb_tensor *gradient; /* F32 */
};

/* y = relu?(x w^T + bias). Composition: GEMM_F32, ADD_BIAS, ACTIVATE. */
struct ffb_linear_f32 {
  struct ffb_tensor *y;    /* out F32 [M][N] */
  struct ffb_tensor *x;    /* F32 [M][K] */
  struct ffb_tensor *w;    /* F32 [N][K]; [K][N] unless transpose_w, which makes this the input gradient gx = gy w */
  struct ffb_tensor *bias; /* optional F32 [N] */
  struct ffb_tensor *mask; /* optional F32 [M][N]: y is 0 where mask is not > 0 (ReLU gradient of the layer below) */
  bool transpose_w, relu;
  struct ffb_tensor *workspace; /* optional out, scratch */
};

/* The same over INT8 operands: y = relu?((xq wq^T) * (x_scale * w_scale) + bias). Composition: GEMM_S8, DEQUANTISE,
 * ADD_BIAS, ACTIVATE (or ACTIVATE_GRADIENT for mask). */
struct ffb_linear_s8 {
  struct ffb_tensor *y;                 /* out F32 [M][N] */
  struct ffb_tensor *x, *w;             /* S8 */
  struct ffb_tensor *x_scale, *w_scale; /* F32 [1] */
  struct ffb_tensor *bias;              /* optional F32 [N] */
  struct ffb_tensor *mask;              /* optional F32 [M][N] */
  bool transpose_w, relu;
  struct ffb_tensor *workspace; /* optional out, scratch */
};

/* The optimiser's rule, for the fused updates. */
enum ffb_rule { FFB_RULE_SGD, FFB_RULE_ADAM };
struct ffb_update_rule {
  enum ffb_rule kind;
  struct ffb_sgd sgd;
  struct ffb_adam adam;
};

/* Weight gradient gy^T x and update in one: the gradient never lies in memory. Composition: GEMM_F32 (transpose_a),
 * then the update. */
struct ffb_linear_update_f32 {
  struct ffb_tensor *gy;       /* F32 [M][N] */
  struct ffb_tensor *x;        /* F32 [M][K] */
  struct ffb_update_rule rule; /* weights [N][K] */
  struct ffb_tensor *workspace;
};

/* The same over INT8 operands. Composition: GEMM_S8 (transpose_a), DEQUANTISE to gw; with quantise_gradient: SUQ_SCALE
 * and SUQ_QUANTISE of gw, DEQUANTISE; then the update. `weight_scale`, where given, becomes the SUQ scale of the new
 * weights (as SUQ_SCALE over them would give). */
struct ffb_linear_update_s8 {
  struct ffb_tensor *gy, *x;             /* S8 [M][N], [M][K] */
  struct ffb_tensor *gy_scale, *x_scale; /* F32 [1] */
  bool quantise_gradient;
  enum ffb_rounding rounding; /* of the weight gradient */
  struct ffb_tensor *step;    /* U32 [1] */
  uint32_t purpose;
  uint64_t seed;
  struct ffb_tensor *weight_scale; /* optional out F32 [1] */
  struct ffb_update_rule rule;     /* weights [N][K] */
  struct ffb_tensor *workspace;    /* optional out, scratch */
};

/* ---- convolutional networks --------------------------------------------------------------------------------- */

/* A square window over an image; an output has (size + 2 * padding - kernel) / stride + 1 pixels a side. Padding holds
 * zeros (nothing, for a maximum). */
struct ffb_window {
  int kernel, stride, padding;
};

/* 2-d convolution, y[m][p][q][o] = sum over i, j, c of x[m][p * stride + i - padding][q * stride + j - padding][first
 * channel of o's group + c] * w[o][i][j][c]. Output channels fall into `groups` equal groups, as do the input
 * channels; a depthwise convolution has as many groups as channels. Order and precision of the FP32 sums are the
 * backend's own; the reference sums in FP64 and rounds once. */
struct ffb_convolve_f32 {
  struct ffb_tensor *y; /* out F32 [M][P][Q][O] */
  struct ffb_tensor *x; /* F32 [M][H][W][C] */
  struct ffb_tensor *w; /* F32 [O][kernel][kernel][C / groups] */
  struct ffb_window window;
  int groups;
  struct ffb_tensor *workspace; /* optional out, scratch (see ffb_backend.workspace); so are those below */
};

/* The same over INT8 operands with exact sums: y = (float)sum * (x_scale * w_scale). The caller guarantees K <= 133,144
 * terms. */
struct ffb_convolve_s8 {
  struct ffb_tensor *y;                 /* out F32 */
  struct ffb_tensor *x, *w;             /* S8 */
  struct ffb_tensor *x_scale, *w_scale; /* F32 [1] */
  struct ffb_window window;
  int groups;
  struct ffb_tensor *workspace;
};

/* Gradient of a convolution's input: gx[m][h][w][c] = sum over the outputs that the pixel reached of gy * w; 0 where it
 * reached none. With accumulate gx += it. */
struct ffb_convolve_input_f32 {
  struct ffb_tensor *gx; /* out (in/out with accumulate) F32 [M][H][W][C] */
  struct ffb_tensor *gy; /* F32 [M][P][Q][O] */
  struct ffb_tensor *w;  /* F32 [O][kernel][kernel][C / groups] */
  struct ffb_window window;
  int groups;
  bool accumulate;
  struct ffb_tensor *workspace;
};
struct ffb_convolve_input_s8 {
  struct ffb_tensor *gx;                 /* out (in/out with accumulate) F32: (float)sum * (gy_scale * w_scale) */
  struct ffb_tensor *gy, *w;             /* S8 */
  struct ffb_tensor *gy_scale, *w_scale; /* F32 [1] */
  struct ffb_window window;
  int groups;
  bool accumulate;
  struct ffb_tensor *workspace;
};

/* Gradient of a convolution's weights: gw[o][i][j][c] = sum over m, p, q of gy[m][p][q][o] * x at the tap; 0 for a tap
 * that only ever falls on padding. With accumulate gw += it. INT8: the sum is exact however long it is (INT32 sums of
 * at most 133,144 terms, added in INT64): gw = (float)sum * (gy_scale * x_scale). */
struct ffb_convolve_weight_f32 {
  struct ffb_tensor *gw; /* out (in/out with accumulate) F32 [O][kernel][kernel][C / groups] */
  struct ffb_tensor *gy; /* F32 [M][P][Q][O] */
  struct ffb_tensor *x;  /* F32 [M][H][W][C] */
  struct ffb_window window;
  int groups;
  bool accumulate;
  struct ffb_tensor *workspace;
};
struct ffb_convolve_weight_s8 {
  struct ffb_tensor *gw;                 /* out (in/out with accumulate) F32 */
  struct ffb_tensor *gy, *x;             /* S8 */
  struct ffb_tensor *gy_scale, *x_scale; /* F32 [1] */
  struct ffb_window window;
  int groups;
  bool accumulate;
  struct ffb_tensor *workspace;
};

/* Weight gradient and update in one, as LINEAR_UPDATE_*. Composition: CONVOLVE_WEIGHT_*, then as there. */
struct ffb_convolve_update_f32 {
  struct ffb_tensor *gy, *x; /* F32 */
  struct ffb_window window;
  int groups;
  struct ffb_update_rule rule; /* weights [O][kernel][kernel][C / groups] */
  struct ffb_tensor *workspace;
};
struct ffb_convolve_update_s8 {
  struct ffb_tensor *gy, *x;             /* S8 */
  struct ffb_tensor *gy_scale, *x_scale; /* F32 [1] */
  struct ffb_window window;
  int groups;
  bool quantise_gradient;
  enum ffb_rounding rounding; /* of the weight gradient */
  struct ffb_tensor *step;    /* U32 [1] */
  uint32_t purpose;
  uint64_t seed;
  struct ffb_tensor *weight_scale; /* optional out F32 [1] */
  struct ffb_update_rule rule;
  struct ffb_tensor *workspace;
};

/* Mean and inverse deviation of each channel (batch normalisation, Ioffe and Szegedy 2015). Over a batch of n pixels:
 * with k = x of the first pixel, S1 = sum(x - k), S2 = sum((x - k)^2): mean = k + S1 / n, variance = (S2 - S1^2 / n) /
 * n (not below 0), inverse = 1 / sqrt(variance + epsilon), in FP64 and then rounded. Sums over pixels here and in
 * BATCH_NORMALISE_GRADIENT: blocks of FFB_PIXEL_BLOCK pixels; inside one, in FP32, pixel p goes to partial sum p % 4 in
 * order, then (0 + 1) + (2 + 3); blocks are added in FP64 in order. Running statistics, where given, move as PyTorch's:
 * r = (1 - momentum) * r + momentum * (mean, or variance * n / (n - 1)), in FP32. Without x: mean and inverse come from
 * the running statistics, which stay. */
enum { FFB_PIXEL_BLOCK = 64 };
struct ffb_batch_statistics {
  struct ffb_tensor *mean, *inverse;                  /* out F32 [C] */
  struct ffb_tensor *x;                               /* optional F32 [M][H][W][C] */
  struct ffb_tensor *running_mean, *running_variance; /* optional in/out F32 [C] */
  struct ffb_tensor *extremes;                        /* optional out F32 [2][C], with x: its lowest and highest */
  float momentum, epsilon;
};

/* y = activation((x - mean) * (inverse * gamma) + beta + shortcut). FP32, each operation rounded by itself. */
struct ffb_batch_normalise {
  struct ffb_tensor *y;              /* out F32; may be x */
  struct ffb_tensor *x;              /* F32 [M][H][W][C] */
  struct ffb_tensor *mean, *inverse; /* F32 [C] */
  struct ffb_tensor *gamma, *beta;   /* F32 [C] */
  struct ffb_tensor *shortcut;       /* optional F32, elements as x */
  struct ffb_tensor *mask;           /* optional out U8: where relu or relu6 let a gradient pass, as MASK_GRADIENT */
  enum ffb_activation activation;
};

/* Gradients of a batch normalisation and its activation, from what the normalisation took. z = (x - mean) * (inverse *
 * gamma) + beta; g = gy * activation'(z) (relu: z > 0; relu6: 0 < z < 6); h = (x - mean) * inverse; gbeta = sum(g),
 * ggamma = sum(g * h) over the n pixels, in FP64 as above, then rounded; gx = (inverse * gamma) * ((g - gbeta / n) - h
 * * (ggamma / n)). */
struct ffb_batch_normalise_gradient {
  struct ffb_tensor *gx;                            /* out F32; may be gy or x */
  struct ffb_tensor *ggamma, *gbeta;                /* out F32 [C] */
  struct ffb_tensor *gy;                            /* F32 */
  struct ffb_tensor *x;                             /* F32 [M][H][W][C] */
  struct ffb_tensor *mean, *inverse, *gamma, *beta; /* F32 [C] */
  enum ffb_activation activation;
};

/* Normalised and quantised in one: y never lies in memory. Composition: BATCH_NORMALISE, SUQ_SCALE, SUQ_QUANTISE over
 * its y. `normalise.y` and `scale.x` are null. Where BATCH_STATISTICS left the extremes of x, and nothing is added to
 * it, the range can be told from them. */
struct ffb_batch_normalise_s8 {
  struct ffb_batch_normalise normalise;
  struct ffb_tensor *extremes; /* optional F32 [2][C] */
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise; /* x is null */
};

/* The same for the gradient: gx in INT8. Composition: BATCH_NORMALISE_GRADIENT, SUQ_SCALE, SUQ_QUANTISE over its gx.
 * gx is scratch: what it holds afterwards is open. `scale.x` and `quantise.x` are null. */
struct ffb_batch_normalise_gradient_s8 {
  struct ffb_batch_normalise_gradient gradient;
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise;
};

/* The same from the gradient of the goodness of y, of which `normalise.gradient.gy` has the values. Composition:
 * GOODNESS_GRADIENT over y, BATCH_NORMALISE_GRADIENT_S8 from what it gives. */
struct ffb_batch_normalise_goodness_gradient_s8 {
  struct ffb_batch_normalise_gradient_s8 normalise;
  struct ffb_tensor *goodness; /* dL/dG F32 [M][groups] */
  int groups;
  bool mean; /* as in GOODNESS_GRADIENT */
};

/* Largest value of each window, and which tap it was (i * kernel + j, the first of equals; a NaN wins). */
struct ffb_max_pool {
  struct ffb_tensor *y;      /* out F32 [M][P][Q][C] */
  struct ffb_tensor *argmax; /* optional out U8, elements as y */
  struct ffb_tensor *x;      /* F32 [M][H][W][C] */
  struct ffb_window window;
};
/* gx = sum of the gradients of the windows whose tap this pixel was, in the order of the windows. */
struct ffb_max_pool_gradient {
  struct ffb_tensor *gx;     /* out F32 [M][H][W][C] */
  struct ffb_tensor *gy;     /* F32 [M][P][Q][C] */
  struct ffb_tensor *argmax; /* U8 [M][P][Q][C] */
  struct ffb_window window;
};

/* Normalised and pooled in one: only x and the pooled map lie in memory. Composition: BATCH_NORMALISE, MAX_POOL over
 * its y. `normalise` has no y, shortcut or mask. Windows of at most FFB_NORMALISED_POOL_KERNEL pixels a side. */
enum { FFB_NORMALISED_POOL_KERNEL = 11 };
struct ffb_batch_normalise_pool {
  struct ffb_tensor *y; /* out F32 [M][P][Q][C] */
  struct ffb_batch_normalise normalise;
  struct ffb_window window;
};

/* Its gradient, from the gradient of the pooled map, or from that of the pooled map's goodness. What was largest is
 * found again from x. Composition: BATCH_NORMALISE, MAX_POOL with argmax, GOODNESS_GRADIENT over its y,
 * MAX_POOL_GRADIENT, BATCH_NORMALISE_GRADIENT. */
struct ffb_batch_normalise_pool_gradient {
  struct ffb_batch_normalise_gradient gradient; /* gy is null; gx may be x */
  struct ffb_tensor *gy;                        /* F32 [M][P][Q][C]; null with goodness */
  struct ffb_tensor *goodness;                  /* dL/dG F32 [M][groups]; null with gy */
  int groups;
  bool mean; /* as in GOODNESS_GRADIENT */
  struct ffb_window window;
};

/* Mean over all pixels of an image: FP32, pixels in order, then divided. */
struct ffb_average_pool {
  struct ffb_tensor *y; /* out F32 [M][C] */
  struct ffb_tensor *x; /* F32 [M][H][W][C] */
};
/* gx = gy / pixels; with accumulate gx += it. */
struct ffb_average_pool_gradient {
  struct ffb_tensor *gx; /* out (in/out) F32 [M][H][W][C] */
  struct ffb_tensor *gy; /* F32 [M][C] */
  bool accumulate;
};

/* y[m][p][c] = x[m][p][c] * scale[m][c] (squeeze-and-excitation). */
struct ffb_scale_channels {
  struct ffb_tensor *y;     /* out F32; may be x */
  struct ffb_tensor *x;     /* F32 [M][H][W][C] */
  struct ffb_tensor *scale; /* F32 [M][C] */
};
/* gscale[m][c] = sum over pixels of gy * x, FP32, pixels in order; gx = gy * scale. */
struct ffb_scale_channels_gradient {
  struct ffb_tensor *gx;     /* out F32; may be gy */
  struct ffb_tensor *gscale; /* out F32 [M][C] */
  struct ffb_tensor *gy, *x; /* F32 [M][H][W][C] */
  struct ffb_tensor *scale;  /* F32 [M][C] */
};

/* y = x / (1 - rate) where ffb_random_uniform(seed, purpose, step, index) >= rate, else 0. index is the element's, or
 * with by_row the row's (stochastic depth). The gradient is the same call over gy. */
struct ffb_dropout {
  struct ffb_tensor *y;    /* out F32; may be x */
  struct ffb_tensor *x;    /* F32 */
  struct ffb_tensor *step; /* U32 [1] */
  float rate;              /* 0 <= rate < 1 */
  bool by_row;
  uint32_t purpose;
  uint64_t seed;
};

/* Writes a label all over an image (Scodellaro et al., "Training convolutional neural networks with the forward-forward
 * algorithm", 2023): adds patterns[label] to every channel, or with `channel` >= 0 stores it in that channel. A label
 * of -1 is the neutral one and takes the last pattern. A null `labels` writes `constant` into every row. */
struct ffb_label_pattern {
  struct ffb_tensor *images;   /* in/out F32 [M][H][W][C] */
  struct ffb_tensor *labels;   /* optional S32 [M] */
  struct ffb_tensor *patterns; /* F32 [classes + 1][H][W] */
  int constant, channel;
};

/* first = step + 1 where first was 0 and x holds a NaN or an infinity: where and when a run diverged. */
struct ffb_note_not_finite {
  struct ffb_tensor *first; /* in/out U32 [1] */
  struct ffb_tensor *x;     /* F32, few elements */
  struct ffb_tensor *step;  /* U32 [1] */
};

union ffb_arguments {
#define FFB_MEMBER(NAME, name, optional) struct ffb_##name name;
  FFB_OPERATORS(FFB_MEMBER)
#undef FFB_MEMBER
};

/* First column of group g of `groups` over `columns`: sizes differ by at most one, larger ones first. */
static inline int64_t ffb_group_start(int64_t columns, int groups, int g) {
  int64_t size = columns / groups, extra = columns % groups;
  return g * size + (g < extra ? g : extra);
}

/* ---- the backend -------------------------------------------------------------------------------------------- */

struct ffb_device; /* a backend's own state: threads, handles, last failure */

struct ffb_device_request {
  int threads; /* 0: as many as the machine offers */
  bool tf32;   /* operands of FP32 products may be rounded to TF32; refused where there is none */
};

/* Bytes in the processor's memory, and how many pieces of them an announcement has at most. */
struct ffb_host_bytes {
  const void *from;
  size_t bytes;
};
enum { FFB_MAX_ANNOUNCED = 4 };

/* Facts for the record, as name and value: library versions, the INT8 kernel chosen and why, threads. */
typedef void ffb_describe_function(void *to, const char *name, const char *value);

/* What all programs together use of a device's memory. */
struct ffb_device_memory {
  size_t total, used_first, used_peak; /* bytes; when the device was opened, and at most since */
  bool shared;                         /* with the processor: the same bytes are in the resident peak */
};

enum { FFB_BACKEND_MAGIC = 0x46464242, FFB_BACKEND_VERSION = 3 };

struct ffb_backend {
  uint32_t magic, version;
  size_t size; /* of this struct */
  const char *name, *description;

  /* Optional: whether a device is there, at little cost; else one line in message (size bytes). */
  bool (*available)(char *message, size_t size);
  /* False with one line in message (size bytes) when the device is not there. */
  bool (*open)(struct ffb_device **device, const struct ffb_device_request *request, char *message, size_t size);
  void (*close)(struct ffb_device *device);
  void (*describe)(struct ffb_device *device, ffb_describe_function *say, void *to);
  /* Optional: null where a device's memory is the processor's and nothing else. False where it cannot be read. */
  bool (*memory)(struct ffb_device *device, struct ffb_device_memory *memory);

  /* The arena: one zeroed block, aligned to 64 bytes at least; null when it cannot be had. */
  void *(*allocate)(struct ffb_device *device, size_t bytes);
  void (*release)(struct ffb_device *device, void *memory);
  /* Host to device and back, ordered with the operators; read waits for what it reads. */
  bool (*write)(struct ffb_device *device, void *to, const void *from, size_t bytes);
  bool (*read)(struct ffb_device *device, void *to, const void *from, size_t bytes);
  /* Wait until everything asked for is done. */
  bool (*synchronise)(struct ffb_device *device);
  /* Scratch bytes that a call wants as its `workspace` operand; null: none ever. Depends on shapes only. */
  size_t (*workspace)(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments);
  /* Why the last operation failed, one line. */
  const char *(*failure)(struct ffb_device *device);

  /* Optional, all four or none. Operators called between begin and end are recorded, not run; replay runs what was
   * recorded, over the same addresses. End is called after every begin that succeeded; without keep, or where the
   * device cannot replay what was called, it gives null, and the calls are made one by one as before. */
  bool (*capture_begin)(struct ffb_device *device);
  void *(*capture_end)(struct ffb_device *device, bool keep);
  bool (*replay)(struct ffb_device *device, void *captured);
  void (*forget)(struct ffb_device *device, void *captured);

  /* Optional: what will be written before long, a piece by a call of write, and will not change until then. A device
   * may bring it closer while it still computes. What was announced before is forgotten. */
  bool (*announce)(struct ffb_device *device, const struct ffb_host_bytes *pieces, size_t count);

  /* Null where an optional slot is not filled. Return false on failure (out of memory, launch error). */
  bool (*operators[FFB_OPERATOR_COUNT])(struct ffb_device *device, const union ffb_arguments *arguments);
};

extern const struct ffb_backend ffb_backend_reference;
extern const struct ffb_backend ffb_backend_cpu;

const char *ffb_operator_name(enum ffb_operator operation);
bool ffb_operator_optional(enum ffb_operator operation);
/* Backends by name or by number: those that are built in, then those whose object lies beside the engine and can be
 * opened (backends/cuda.so). Null when there is none. */
const struct ffb_backend *ffb_backend_find(const char *name);
const struct ffb_backend *ffb_backend_at(size_t index);
/* The best that has a device here: what computes where nothing else is asked for. */
const struct ffb_backend *ffb_backend_default(void);
/* Backends that are objects of their own, by number, whether they can be opened or not; null when there is none. */
const char *ffb_backend_loadable(size_t index);
/* Why one of them cannot be opened, one line; null where it can be, or where there is none of that name. */
const char *ffb_backend_problem(const char *name);

#endif
