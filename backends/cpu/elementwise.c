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

static float largest_of(const struct ffb_suq_scale *suq, uint32_t bits) {
  float largest = 0;
  if (suq->range != FFB_RANGE_ABSMAX)
    return suq->range == FFB_RANGE_RUNNING ? ffb_cpu_scalar(suq->running) : suq->fixed;
  if (suq->x && suq->x->type == FFB_S32)
    return (float)bits;
  memcpy(&largest, &bits, sizeof largest);
  return largest;
}

static float scale_from(const struct ffb_suq_scale *suq, float largest) {
  return ffb_cpu_scale_of(suq->range == FFB_RANGE_ABSMAX && suq->ratio ? ffb_cpu_scalar(suq->ratio) * largest
                                                                       : largest);
}

static void set_scale(const struct ffb_suq_scale *suq, float largest) {
  if (suq->range == FFB_RANGE_ABSMAX && suq->running) {
    float *running = suq->running->data;
    *running = *running == 0 ? largest : 0.99f * *running + 0.01f * largest;
  }
  *(float *)suq->scale->data = scale_from(suq, largest);
}

float ffb_cpu_join_scale(const struct ffb_suq_scale *suq, uint32_t mine, uint32_t *bits) {
  if (suq->range == FFB_RANGE_ABSMAX) {
#pragma omp critical
    *bits = mine > *bits ? mine : *bits;
#pragma omp barrier
  }
  float largest = largest_of(suq, *bits);
#pragma omp master
  set_scale(suq, largest);
  return scale_from(suq, largest);
}

static float my_scale(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_scale *suq, uint32_t *bits) {
  return ffb_cpu_join_scale(suq, suq->range == FFB_RANGE_ABSMAX ? my_absmax(kernels, suq->x) : 0, bits);
}

bool ffb_cpu_suq_scale(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_scale *suq = &arguments->suq_scale;
  uint32_t bits = 0;
  FFB_CPU_RUN(suq->range == FFB_RANGE_ABSMAX ? ffb_cpu_threads_for(device, ffb_elements(suq->x)) : 1,
              my_scale(device->kernels, suq, &bits));
  return true;
}

static void my_quantise(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_quantise *suq, float scale) {
  struct ffb_cpu_rounding rounding = ffb_cpu_rounding_of(suq->rounding, suq->seed, suq->purpose, suq->step);
  struct ffb_cpu_span share = my_share(ffb_elements(suq->x));
  kernels->quantise((int8_t *)suq->q->data + share.begin, (const float *)suq->x->data + share.begin,
                    share.end - share.begin, 1 / scale, &rounding, (uint64_t)share.begin);
}

bool ffb_cpu_suq_quantise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_quantise *suq = &arguments->suq_quantise;
  FFB_CPU_RUN(ffb_cpu_threads_for(device, ffb_elements(suq->x)),
              my_quantise(device->kernels, suq, ffb_cpu_scalar(suq->scale)));
  return true;
}

static void my_tensor(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_tensor *suq, uint32_t *bits) {
  my_quantise(kernels, &suq->quantise, my_scale(kernels, &suq->scale, bits));
}

bool ffb_cpu_suq_tensor(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_tensor *suq = &arguments->suq_tensor;
  uint32_t bits = 0;
  FFB_CPU_RUN(ffb_cpu_threads_for(device, ffb_elements(suq->quantise.x)), my_tensor(device->kernels, suq, &bits));
  return true;
}

/* Threads round their shares over their own elements, then the shares are moved together. */
static void my_quantise_over(const struct ffb_cpu_kernels *kernels, const struct ffb_suq_quantise *suq, float scale) {
  enum { PIECE = 1024 };
  const struct ffb_cpu_rounding rounding = ffb_cpu_rounding_of(suq->rounding, suq->seed, suq->purpose, suq->step);
  const struct ffb_cpu_span share = my_share(ffb_elements(suq->x));
  const float *x = suq->x->data;
  int8_t *to = (int8_t *)suq->q->data + share.begin * (int64_t)sizeof *x, piece[PIECE];
  for (int64_t at = share.begin; at < share.end; at += PIECE, to += PIECE) {
    int64_t n = share.end - at < PIECE ? share.end - at : PIECE;
    kernels->quantise(piece, x + at, n, 1 / scale, &rounding, (uint64_t)at);
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
  my_quantise_over(device->kernels, &suq->quantise, my_scale(device->kernels, &suq->scale, &bits));
  return true;
}

bool ffb_cpu_suq_segments(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_suq_segments(device, arguments);
}

static void my_dequantise(const struct ffb_cpu_kernels *kernels, const struct ffb_dequantise *dequantise,
                          float factor) {
  struct ffb_cpu_span share = my_share(ffb_elements(dequantise->out));
  float *out = (float *)dequantise->out->data + share.begin;
  int64_t n = share.end - share.begin;
  if (dequantise->x->type == FFB_S32)
    kernels->dequantise_s32(out, (const int32_t *)dequantise->x->data + share.begin, n, factor, dequantise->accumulate);
  else
    kernels->dequantise_s8(out, (const int8_t *)dequantise->x->data + share.begin, n, factor, dequantise->accumulate);
}

bool ffb_cpu_dequantise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_dequantise *dequantise = &arguments->dequantise;
  float factor = ffb_cpu_scalar(dequantise->scale_a);
  if (dequantise->scale_b)
    factor *= ffb_cpu_scalar(dequantise->scale_b);
  FFB_CPU_RUN(ffb_cpu_threads_for(device, ffb_elements(dequantise->out)),
              my_dequantise(device->kernels, dequantise, factor));
  return true;
}

/* ---- search of a clip ------------------------------------------------------------------------------------------ */

enum { CLIP_BLOCK = 4096, CLIP_ROUND = 64, CLIP_SUMS = 3 };

/* One pass: kernel over blocks, which are handed out to threads and added in order. */
struct clip_pass {
  ffb_cpu_clip_kernel *kernel;
  const float *x;
  int64_t n;
  float parameter;
};

static void my_clip_blocks(const struct clip_pass *pass, int64_t first, int64_t blocks,
                           double part[CLIP_ROUND][CLIP_SUMS]) {
  struct ffb_cpu_span share = ffb_cpu_share(blocks, 1, omp_get_num_threads(), omp_get_thread_num());
  for (int64_t b = share.begin; b < share.end; b++) {
    int64_t start = first + b * CLIP_BLOCK, n = pass->n - start < CLIP_BLOCK ? pass->n - start : CLIP_BLOCK;
    pass->kernel(pass->x + start, n, pass->parameter, part[b]);
  }
}

static void run_clip_pass(struct ffb_device *device, const struct clip_pass *pass, double total[CLIP_SUMS]) {
  memset(total, 0, CLIP_SUMS * sizeof *total);
  for (int64_t first = 0; first < pass->n; first += (int64_t)CLIP_BLOCK * CLIP_ROUND) {
    int64_t blocks = (pass->n - first + CLIP_BLOCK - 1) / CLIP_BLOCK;
    blocks = blocks < CLIP_ROUND ? blocks : CLIP_ROUND;
    double part[CLIP_ROUND][CLIP_SUMS] = {0};
    FFB_CPU_RUN(ffb_cpu_threads_for(device, pass->n - first), my_clip_blocks(pass, first, blocks, part));
    for (int64_t b = 0; b < blocks; b++) {
      for (int i = 0; i < CLIP_SUMS; i++)
        total[i] += part[b][i];
    }
  }
}

static void clip_sums(struct ffb_device *device, const float *x, int64_t n, float inverse,
                      struct ffb_deviation_sums *sums) {
  const struct clip_pass pass = {.kernel = device->kernels->clip_sums, .x = x, .n = n, .parameter = inverse};
  double total[CLIP_SUMS];
  run_clip_pass(device, &pass, total);
  *sums = (struct ffb_deviation_sums){total[0], total[1], total[2]};
}

static void clip_moments(struct ffb_device *device, const float *x, int64_t n, double *sum, double *squares) {
  const struct clip_pass pass = {.kernel = device->kernels->clip_moments, .x = x, .n = n};
  double total[CLIP_SUMS];
  run_clip_pass(device, &pass, total);
  *sum = total[0];
  *squares = total[1];
}

/* A float is larger than the limit where it is larger than the largest float that is not. */
static int64_t clip_beyond(struct ffb_device *device, const float *x, int64_t n, double limit) {
  const float above = (float)limit;
  const struct clip_pass pass = {.kernel = device->kernels->clip_beyond,
                                 .x = x,
                                 .n = n,
                                 .parameter = (double)above > limit ? nextafterf(above, 0) : above};
  double total[CLIP_SUMS];
  run_clip_pass(device, &pass, total);
  return (int64_t)total[0];
}

static float clip_largest(struct ffb_device *device, const float *x, int64_t n) {
  uint32_t bits = device->kernels->absmax_f32(x, n);
  float largest;
  memcpy(&largest, &bits, sizeof largest);
  return isfinite(largest) ? largest : INFINITY;
}

bool ffb_cpu_clip_search(struct ffb_device *device, const union ffb_arguments *arguments) {
  static const struct ffb_clip_passes passes = {clip_sums, clip_largest, clip_moments, clip_beyond};
  ffb_reference_clip_search_by(device, &arguments->clip_search, &passes);
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

static void my_sum(const struct ffb_cpu_kernels *kernels, const struct ffb_add_scaled *add, float factor) {
  struct ffb_cpu_span share = my_share(ffb_elements(add->out));
  kernels->add_scaled((float *)add->out->data + share.begin, (const float *)add->a->data + share.begin,
                      (const float *)add->b->data + share.begin, share.end - share.begin, factor);
}

bool ffb_cpu_add_scaled(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_add_scaled *add = &arguments->add_scaled;
  float factor = add->factor ? ffb_cpu_scalar(add->factor) : 1;
  FFB_CPU_RUN(ffb_cpu_threads_for(device, ffb_elements(add->out)), my_sum(device->kernels, add, factor));
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

static void my_update(const struct ffb_cpu_kernels *kernels, const struct ffb_cpu_update *update,
                      const struct ffb_tensor *gradient) {
  struct ffb_cpu_span share = my_share(ffb_elements(gradient));
  kernels->update(update, gradient->data, share.begin, share.end - share.begin);
}

static void update_shared(const struct ffb_device *device, const struct ffb_cpu_update *update,
                          const struct ffb_tensor *gradient) {
  FFB_CPU_RUN(ffb_cpu_threads_for(device, ffb_elements(gradient)), my_update(device->kernels, update, gradient));
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
