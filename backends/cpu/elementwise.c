/* Everything but the products. What is small or rare is the reference's plain C; the rest runs the vector kernels, on
 * all threads where that pays. The bits are those of the reference. */
#include "backends/cpu/device.h"
#include "backends/cpu/normalisation.h"
#include "backends/reduce.h"
#include "backends/reference/reference.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* This thread's share of n elements, in units that keep random blocks and cache lines whole. */
static struct ffb_cpu_span my_share(int64_t n) {
  return ffb_cpu_share(n, 64, omp_get_num_threads(), omp_get_thread_num());
}
static struct ffb_cpu_span my_rows(int64_t rows) {
  return ffb_cpu_share(rows, 1, omp_get_num_threads(), omp_get_thread_num());
}

/* ---- quantisers ----------------------------------------------------------------------------------------------- */

float ffb_cpu_scale_of(float largest) {
  float scale = largest / 127;
  return scale < FLT_MIN ? 1 : scale;
}

struct ffb_cpu_rounding ffb_cpu_rounding_of(enum ffb_rounding rounding, uint64_t seed, uint32_t purpose,
                                            const struct ffb_tensor *step) {
  struct ffb_cpu_rounding made = {.stochastic = rounding == FFB_ROUND_STOCHASTIC, .purpose = purpose};
  if (!made.stochastic)
    return made;
  made.step = *(const uint32_t *)step->data;
  uint32_t low = (uint32_t)seed, high = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++, low += 0x9E3779B9u, high += 0xBB67AE85u) {
    made.key[round][0] = low;
    made.key[round][1] = high;
  }
  return made;
}

/* Bits of max|x| over this thread's share. FP32 bits without their sign order like integers, and a NaN comes last. */
static uint32_t my_absmax(const struct ffb_cpu_kernels *kernels, const struct ffb_tensor *x) {
  struct ffb_cpu_span share = my_share(ffb_elements(x));
  if (x->type == FFB_S32)
    return kernels->absmax_s32((const int32_t *)x->data + share.begin, share.end - share.begin);
  return kernels->absmax_f32((const float *)x->data + share.begin, share.end - share.begin);
}

void ffb_cpu_set_scale(const struct ffb_suq_scale *suq, uint32_t bits) {
  float largest = 0;
  if (suq->range == FFB_RANGE_ABSMAX) {
    if (suq->x && suq->x->type == FFB_S32)
      largest = (float)bits;
    else
      memcpy(&largest, &bits, sizeof largest);
    if (suq->running) {
      float *running = suq->running->data;
      *running = *running == 0 ? largest : 0.99f * *running + 0.01f * largest;
    }
    if (suq->ratio)
      largest = ffb_cpu_scalar(suq->ratio) * largest;
  } else {
    largest = suq->range == FFB_RANGE_RUNNING ? ffb_cpu_scalar(suq->running) : suq->fixed;
  }
  *(float *)suq->scale->data = ffb_cpu_scale_of(largest);
}

void ffb_cpu_join_scale(const struct ffb_suq_scale *suq, uint32_t mine, uint32_t *bits) {
  if (suq->range == FFB_RANGE_ABSMAX) {
#pragma omp critical
    *bits = mine > *bits ? mine : *bits;
#pragma omp barrier
  }
#pragma omp single
  ffb_cpu_set_scale(suq, *bits);
}

static void my_scale(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_scale *suq, uint32_t *bits) {
  ffb_cpu_join_scale(suq, suq->range == FFB_RANGE_ABSMAX ? my_absmax(kernels, suq->x) : 0, bits);
}

bool ffb_cpu_suq_scale(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_scale *suq = &arguments->suq_scale;
  uint32_t bits = 0;
  if (suq->range == FFB_RANGE_ABSMAX) {
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(suq->x))) reduction(max : bits)
    bits = my_absmax(device->kernels, suq->x);
  }
  ffb_cpu_set_scale(suq, bits);
  return true;
}

static void my_quantise(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_quantise *suq) {
  struct ffb_cpu_rounding rounding = ffb_cpu_rounding_of(suq->rounding, suq->seed, suq->purpose, suq->step);
  struct ffb_cpu_span share = my_share(ffb_elements(suq->x));
  kernels->quantise((int8_t *)suq->q->data + share.begin, (const float *)suq->x->data + share.begin,
                    share.end - share.begin, 1 / ffb_cpu_scalar(suq->scale), &rounding, (uint64_t)share.begin);
}

bool ffb_cpu_suq_quantise(struct ffb_device *device, const union ffb_arguments *arguments) {
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(arguments->suq_quantise.x)))
  my_quantise(device->kernels, &arguments->suq_quantise);
  return true;
}

bool ffb_cpu_suq_tensor(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_tensor *suq = &arguments->suq_tensor;
  uint32_t bits = 0;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(suq->quantise.x)))
  {
    my_scale(device->kernels, &suq->scale, &bits);
    my_quantise(device->kernels, &suq->quantise);
  }
  return true;
}

/* Threads round their shares over their own elements, then the shares are moved together. */
static void my_quantise_over(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_quantise *suq) {
  enum { PIECE = 1024 };
  const struct ffb_cpu_rounding rounding = ffb_cpu_rounding_of(suq->rounding, suq->seed, suq->purpose, suq->step);
  const struct ffb_cpu_span share = my_share(ffb_elements(suq->x));
  const float *x = suq->x->data;
  int8_t *to = (int8_t *)suq->q->data + share.begin * (int64_t)sizeof *x, piece[PIECE];
  for (int64_t at = share.begin; at < share.end; at += PIECE, to += PIECE) {
    int64_t n = share.end - at < PIECE ? share.end - at : PIECE;
    kernels->quantise(piece, x + at, n, 1 / ffb_cpu_scalar(suq->scale), &rounding, (uint64_t)at);
    memcpy(to, piece, (size_t)n);
  }
#pragma omp barrier
#pragma omp single
  for (int thread = 1; thread < omp_get_num_threads(); thread++) {
    const struct ffb_cpu_span part = ffb_cpu_share(ffb_elements(suq->x), 64, omp_get_num_threads(), thread);
    memmove((int8_t *)suq->q->data + part.begin, (int8_t *)suq->q->data + part.begin * (int64_t)sizeof *x,
            (size_t)(part.end - part.begin));
  }
}

bool ffb_cpu_suq_in_place(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_in_place *suq = &arguments->suq_in_place;
  uint32_t bits = 0;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(suq->quantise.x)))
  {
    my_scale(device->kernels, &suq->scale, &bits);
    my_quantise_over(device->kernels, &suq->quantise);
  }
  return true;
}

bool ffb_cpu_suq_segments(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_suq_segments(device, arguments);
}

bool ffb_cpu_dequantise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_dequantise *dequantise = &arguments->dequantise;
  if (dequantise->x->type != FFB_S32)
    return ffb_reference_dequantise(device, arguments);
  float factor = ffb_cpu_scalar(dequantise->scale_a);
  if (dequantise->scale_b)
    factor *= ffb_cpu_scalar(dequantise->scale_b);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(dequantise->out)))
  {
    struct ffb_cpu_span share = my_share(ffb_elements(dequantise->out));
    device->kernels->dequantise_s32((float *)dequantise->out->data + share.begin,
                                    (const int32_t *)dequantise->x->data + share.begin, share.end - share.begin, factor,
                                    dequantise->accumulate);
  }
  return true;
}

/* The sums of one block of a direction deviation; blocks are handed out to threads and added in order. */
enum { DEVIATION_BLOCK = 4096, DEVIATION_ROUND = 64 };

static void clip_sums(struct ffb_device *device, const float *x, int64_t n, float inverse,
                      struct ffb_deviation_sums *sums) {
  *sums = (struct ffb_deviation_sums){0};
  for (int64_t first = 0; first < n; first += (int64_t)DEVIATION_BLOCK * DEVIATION_ROUND) {
    int64_t left = n - first, blocks = (left + DEVIATION_BLOCK - 1) / DEVIATION_BLOCK;
    blocks = blocks < DEVIATION_ROUND ? blocks : DEVIATION_ROUND;
    struct ffb_deviation_sums part[DEVIATION_ROUND];
#pragma omp parallel for num_threads(ffb_cpu_threads_for(device, left)) schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
      int64_t start = b * DEVIATION_BLOCK, length = left - start < DEVIATION_BLOCK ? left - start : DEVIATION_BLOCK;
      device->kernels->clip_sums(x + first + start, length, inverse, &part[b].xx, &part[b].xq, &part[b].qq);
    }
    for (int64_t b = 0; b < blocks; b++) {
      sums->xx += part[b].xx;
      sums->xq += part[b].xq;
      sums->qq += part[b].qq;
    }
  }
}

bool ffb_cpu_clip_search(struct ffb_device *device, const union ffb_arguments *arguments) {
  ffb_reference_clip_search_by(device, &arguments->clip_search, clip_sums);
  return true;
}

bool ffb_cpu_segment_search(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_segment_search(device, arguments);
}

/* ---- images and labels ---------------------------------------------------------------------------------------- */

/* Pixels of `given` channels become pixels of `channels`. */
static void convert_pixels(float *out, const uint8_t *in, int64_t pixels, int64_t given, int64_t channels,
                           float value[FFB_MAX_CHANNELS][256]) {
  if (given == 1 && channels == 1) {
    for (int64_t i = 0; i < pixels; i++)
      out[i] = value[0][in[i]];
    return;
  }
  for (int64_t i = 0; i < pixels; i++, out += channels, in += given) {
    for (int64_t c = 0; c < given; c++)
      out[c] = value[c][in[c]];
    for (int64_t c = given; c < channels; c++)
      out[c] = 0;
  }
}

/* A byte has 256 values, so the division is done once for each. */
bool ffb_cpu_convert_images(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convert_images *convert = &arguments->convert_images;
  int64_t records = ffb_rows(convert->in), rows = ffb_rows(convert->out);
  int64_t given = convert->in->shape[3], channels = convert->out->shape[3], pixels = ffb_columns(convert->in) / given;
  float value[FFB_MAX_CHANNELS][256];
  for (int64_t c = 0; c < given; c++) {
    for (int byte = 0; byte < 256; byte++)
      value[c][byte] = ((float)byte / 255 - convert->mean[c]) / convert->deviation[c];
  }
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(convert->out)))
  {
    struct ffb_cpu_span share = my_rows(rows);
    for (int64_t m = share.begin; m < share.end; m++)
      convert_pixels((float *)convert->out->data + m * pixels * channels,
                     (const uint8_t *)convert->in->data + m % records * pixels * given, pixels, given, channels, value);
  }
  return true;
}

bool ffb_cpu_overlay_labels(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_overlay_labels(device, arguments);
}

bool ffb_cpu_draw_negatives(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_draw_negatives(device, arguments);
}

/* ---- plain elementwise ---------------------------------------------------------------------------------------- */

bool ffb_cpu_fill(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_fill(device, arguments);
}

bool ffb_cpu_copy(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_copy(device, arguments);
}

bool ffb_cpu_add_bias(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_add_bias *add = &arguments->add_bias;
  int64_t columns = ffb_columns(add->y);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(add->y)))
  {
    struct ffb_cpu_span share = my_rows(ffb_rows(add->y));
    for (int64_t m = share.begin; m < share.end; m++) {
      float *y = (float *)add->y->data + m * columns;
      device->kernels->add_scaled(y, y, add->bias->data, columns, 1);
    }
  }
  return true;
}

/* Columns are shared, so that each is summed over its rows in order. */
bool ffb_cpu_bias_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_tensor *gradient = arguments->bias_gradient.gradient;
  int64_t rows = ffb_rows(gradient), columns = ffb_columns(gradient);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, rows *columns))
  {
    struct ffb_cpu_span share = my_share(columns);
    int64_t n = share.end - share.begin;
    float *out = (float *)arguments->bias_gradient.out->data + share.begin;
    memset(out, 0, (size_t)n * sizeof *out);
    for (int64_t m = 0; m < rows; m++)
      device->kernels->add_scaled(out, out, (const float *)gradient->data + m * columns + share.begin, n, 1);
  }
  return true;
}

bool ffb_cpu_add_scaled(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_add_scaled *add = &arguments->add_scaled;
  float factor = add->factor ? ffb_cpu_scalar(add->factor) : 1;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(add->out)))
  {
    struct ffb_cpu_span share = my_share(ffb_elements(add->out));
    device->kernels->add_scaled((float *)add->out->data + share.begin, (const float *)add->a->data + share.begin,
                                (const float *)add->b->data + share.begin, share.end - share.begin, factor);
  }
  return true;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

bool ffb_cpu_normalise_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise_gradient *normalise = &arguments->normalise_gradient;
  const float *inverse = normalise->inverse->data;
  int64_t columns = ffb_columns(normalise->y);
  float k = normalise->kind == FFB_NORMALISE_RMS ? 1 / (float)columns : 1;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(normalise->y)))
  {
    struct ffb_cpu_span share = my_rows(ffb_rows(normalise->y));
    for (int64_t m = share.begin; m < share.end; m++) {
      const float *gy = (const float *)normalise->gy->data + m * columns;
      const float *y = (const float *)normalise->y->data + m * columns;
      float along = device->kernels->dot_product(gy, y, columns) * k;
      device->kernels->normalise_gradient((float *)normalise->gx->data + m * columns, gy, y, columns, inverse[m],
                                          along);
    }
  }
  return true;
}

bool ffb_cpu_softmax_cross_entropy(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_softmax_cross_entropy(device, arguments);
}

bool ffb_cpu_goodness_loss(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_goodness_loss(device, arguments);
}

/* ---- optimisers ----------------------------------------------------------------------------------------------- */

static float rate_of(const struct ffb_tensor *learning_rate, const struct ffb_tensor *multiplier) {
  float rate = ffb_cpu_scalar(learning_rate);
  return multiplier ? rate * ffb_cpu_scalar(multiplier) : rate;
}

void ffb_cpu_sgd_of(struct ffb_cpu_update *update, const struct ffb_sgd *rule) {
  update->kind = FFB_RULE_SGD;
  update->weights = rule->weights->data;
  update->first = rule->momentum ? rule->momentum->data : NULL;
  update->rate = rate_of(rule->learning_rate, rule->multiplier);
  update->momentum = rule->momentum_factor;
  update->decay = rule->weight_decay;
}

void ffb_cpu_adam_of(struct ffb_cpu_update *update, const struct ffb_adam *rule) {
  const float *corrections = rule->corrections->data;
  update->kind = FFB_RULE_ADAM;
  update->weights = rule->weights->data;
  update->first = rule->first->data;
  update->second = rule->second->data;
  update->rate = rate_of(rule->learning_rate, rule->multiplier);
  update->decay = rule->weight_decay;
  update->beta1 = rule->beta1;
  update->beta2 = rule->beta2;
  update->complement1 = 1 - rule->beta1;
  update->complement2 = 1 - rule->beta2;
  update->correction1 = corrections[0];
  update->correction2 = corrections[1];
  update->epsilon = rule->epsilon;
}

static void update_shared(const struct ffb_device *device, const struct ffb_cpu_update *update,
                          const struct ffb_tensor *gradient) {
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(gradient)))
  {
    struct ffb_cpu_span share = my_share(ffb_elements(gradient));
    device->kernels->update(update, gradient->data, share.begin, share.end - share.begin);
  }
}

bool ffb_cpu_sgd_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  struct ffb_cpu_update update = {0};
  ffb_cpu_sgd_of(&update, &arguments->sgd_update.rule);
  update_shared(device, &update, arguments->sgd_update.gradient);
  return true;
}

bool ffb_cpu_adam_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  struct ffb_cpu_update update = {0};
  ffb_cpu_adam_of(&update, &arguments->adam_update.rule);
  update_shared(device, &update, arguments->adam_update.gradient);
  return true;
}
