/* Batch normalisation. Threads share whole blocks of pixels and leave each block's sums in scratch; the sums of a
 * channel are then added in order by one thread. */
#include "backends/cpu/normalisation.h"
#include "backends/cpu/device.h"
#include "backends/reference/reference.h"

#include <math.h>
#include <string.h>

/* Elements of a piece that stays in the nearest cache, and of one that stays in the next. */
enum { NEAR_PIECE = 1024, FAR_PIECE = 1 << 15 };

static struct ffb_cpu_span my_share(int64_t n, int64_t unit) {
  return ffb_cpu_share(n, unit, omp_get_num_threads(), omp_get_thread_num());
}

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* ---- what belongs to a channel -------------------------------------------------------------------------------- */

/* Elements after which channels and whole vectors come together again, enough of them to make a loop worthwhile. */
static int64_t period_of(const struct ffb_tensor *x) {
  enum { WORTHWHILE = 128 };
  int64_t n = ffb_elements(x), period = ffb_channels(x);
  while (period % FFB_CPU_CHUNK != 0)
    period *= 2;
  period *= (WORTHWHILE + period - 1) / period;
  return smaller(period, (n + FFB_CPU_CHUNK - 1) / FFB_CPU_CHUNK * FFB_CPU_CHUNK);
}

/* Repeats channels begin .. end-1 of the first period's first repetition through the rest of it. */
static void repeat(float *values, int64_t channels, int64_t period, int64_t begin, int64_t end) {
  for (int64_t start = channels; start + begin < period; start += channels)
    memcpy(values + start + begin, values + begin,
           (size_t)smaller(end - begin, period - start - begin) * sizeof *values);
}

static const float *repeated(float *to, const struct ffb_tensor *from, int64_t period) {
  int64_t channels = ffb_elements(from);
  memcpy(to, from->data, (size_t)channels * sizeof *to);
  repeat(to, channels, period, 0, channels);
  return to;
}

static const float *repeated_scale(float *to, const struct ffb_tensor *inverse, const struct ffb_tensor *gamma,
                                   int64_t period) {
  int64_t channels = ffb_elements(inverse);
  for (int64_t c = 0; c < channels; c++)
    to[c] = ((const float *)inverse->data)[c] * ((const float *)gamma->data)[c];
  repeat(to, channels, period, 0, channels);
  return to;
}

/* ---- sums over pixels ----------------------------------------------------------------------------------------- */

static int64_t blocks_of(int64_t pixels) {
  return (pixels + FFB_PIXEL_BLOCK - 1) / FFB_PIXEL_BLOCK;
}

/* This thread's share of all blocks' sums. */
static void my_blocks(const struct ffb_cpu_sums_job *job) {
  int64_t stride = job->channels, panels = (stride + FFB_CPU_CHANNELS - 1) / FFB_CPU_CHANNELS, panel = 0;
  struct ffb_cpu_span share = my_share(job->blocks * panels, 1);
  for (int64_t unit = share.begin; unit < share.end; unit += panel) {
    int64_t block = unit / panels, channel = unit % panels * FFB_CPU_CHANNELS, pixel = block * FFB_PIXEL_BLOCK;
    panel = smaller(panels - unit % panels, share.end - unit);
    int64_t channels = smaller(stride - channel, panel * FFB_CPU_CHANNELS);
    int64_t pixels = smaller(job->pixels - pixel, FFB_PIXEL_BLOCK);
    float *sums = job->sums + block * 2 * stride + channel;
    if (job->gradient)
      job->kernels->gradient_sums(job->gradient, sums, stride, pixel, pixels, channel, channels);
    else if (job->extremes)
      job->kernels->statistics_extremes(sums, job->extremes + block * 2 * stride + channel,
                                        job->x + pixel * stride + channel, job->x + channel, stride, channels, pixels);
    else
      job->kernels->statistics(sums, job->x + pixel * stride + channel, job->x + channel, stride, channels, pixels);
  }
}

/* ---- statistics ----------------------------------------------------------------------------------------------- */

static void move_running(const struct ffb_tensor *running, int64_t c, float momentum, double value) {
  if (!running)
    return;
  float *r = (float *)running->data + c;
  *r = (1 - momentum) * *r + momentum * (float)value;
}

static void channel_statistics(const struct ffb_batch_statistics *batch, const struct ffb_cpu_sums_job *job,
                               int64_t begin, int64_t end) {
  double first[FFB_CPU_CHANNELS], second[FFB_CPU_CHANNELS];
  double mean[FFB_CPU_CHANNELS], variance[FFB_CPU_CHANNELS], inverse[FFB_CPU_CHANNELS], n = (double)job->pixels;
  const struct ffb_cpu_block_sums blocks = {job->sums, job->blocks, job->channels};
  job->kernels->totals(first, second, &blocks, begin, end);
  job->kernels->moments(mean, variance, inverse, first, second, job->x + begin, end - begin, n, (double)batch->epsilon);
  for (int64_t c = begin; c < end; c++) {
    double spread = variance[c - begin];
    ((float *)batch->mean->data)[c] = (float)mean[c - begin];
    ((float *)batch->inverse->data)[c] = (float)inverse[c - begin];
    move_running(batch->running_mean, c, batch->momentum, mean[c - begin]);
    move_running(batch->running_variance, c, batch->momentum, job->pixels > 1 ? spread * n / (n - 1) : spread);
  }
}

/* Of all blocks; the compiler makes vectors of the loops. */
static void channel_extremes(const struct ffb_tensor *to, const struct ffb_cpu_sums_job *job, int64_t begin,
                             int64_t end) {
  const int64_t channels = job->channels;
  float *restrict lowest = to->data, *restrict highest = lowest + channels;
  memcpy(lowest + begin, job->extremes + begin, (size_t)(end - begin) * sizeof(float));
  memcpy(highest + begin, job->extremes + channels + begin, (size_t)(end - begin) * sizeof(float));
  for (int64_t b = 1; b < job->blocks; b++) {
    const float *low = job->extremes + b * 2 * channels, *high = low + channels;
    for (int64_t c = begin; c < end; c++) {
      lowest[c] = low[c] < lowest[c] ? low[c] : lowest[c];
      highest[c] = high[c] > highest[c] ? high[c] : highest[c];
    }
  }
}

bool ffb_cpu_batch_statistics(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_statistics *batch = &arguments->batch_statistics;
  if (!batch->x)
    return ffb_reference_batch_statistics(device, arguments);
  struct ffb_cpu_sums_job job = {.kernels = device->kernels->normalisation, .x = batch->x->data};
  job.channels = ffb_elements(batch->mean);
  job.pixels = ffb_elements(batch->x) / job.channels;
  job.blocks = blocks_of(job.pixels);
  int64_t words = job.blocks * 2 * job.channels;
  job.sums = ffb_cpu_scratch(device, NULL, (size_t)(batch->extremes ? 2 * words : words) * sizeof *job.sums);
  if (!job.sums)
    return false;
  job.extremes = batch->extremes ? job.sums + words : NULL;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(batch->x)))
  {
    my_blocks(&job);
#pragma omp barrier
    struct ffb_cpu_span share = my_share(job.channels, FFB_CPU_CHUNK);
    for (int64_t c = share.begin; c < share.end; c += FFB_CPU_CHANNELS)
      channel_statistics(batch, &job, c, smaller(c + FFB_CPU_CHANNELS, share.end));
    if (batch->extremes && share.begin < share.end)
      channel_extremes(batch->extremes, &job, share.begin, share.end);
  }
  return true;
}

/* ---- normalisation -------------------------------------------------------------------------------------------- */

bool ffb_cpu_prepare_normalise(struct ffb_device *device, const struct ffb_batch_normalise *batch, int64_t more,
                               struct ffb_cpu_normalise *with, float **rest) {
  int64_t period = period_of(batch->x);
  float *values = ffb_cpu_scratch(device, NULL, (size_t)(3 * period + FFB_CPU_CHUNK + more) * sizeof *values);
  if (!values)
    return false;
  *rest = values + 3 * period + FFB_CPU_CHUNK;
  *with = (struct ffb_cpu_normalise){.x = batch->x->data,
                                     .shortcut = batch->shortcut ? batch->shortcut->data : NULL,
                                     .mean = repeated(values, batch->mean, period),
                                     .scale = repeated_scale(values + period, batch->inverse, batch->gamma, period),
                                     .shift = repeated(values + 2 * period, batch->beta, period),
                                     .period = period,
                                     .mask = batch->mask ? batch->mask->data : NULL,
                                     .activation = batch->activation};
  return true;
}

static bool prepare_normalise(struct ffb_device *device, const struct ffb_batch_normalise *batch,
                              struct ffb_cpu_normalise *with) {
  float *rest;
  return ffb_cpu_prepare_normalise(device, batch, 0, with, &rest);
}

bool ffb_cpu_batch_normalise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise *batch = &arguments->batch_normalise;
  struct ffb_cpu_normalise with;
  int64_t n = ffb_elements(batch->x);
  if (!prepare_normalise(device, batch, &with))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, n))
  {
    struct ffb_cpu_span share = my_share(n, FFB_CPU_CHANNELS);
    device->kernels->normalisation->normalise(&with, FFB_CPU_STORE, (float *)batch->y->data + share.begin, share.begin,
                                              share.end);
  }
  return true;
}

/* ---- gradient ------------------------------------------------------------------------------------------------- */

enum { GRADIENT_VALUES = 6 };

/* What an exponential was needed for is kept in gx, unless x lies there. */
static float *stored_gradient(const struct ffb_batch_normalise_gradient *batch) {
  bool exponential = batch->activation == FFB_ACTIVATION_SILU || batch->activation == FFB_ACTIVATION_SIGMOID;
  return exponential && batch->gx->data != batch->x->data ? batch->gx->data : NULL;
}

bool ffb_cpu_prepare_gradient(struct ffb_device *device, const struct ffb_batch_normalise_gradient *batch, int64_t more,
                              struct ffb_cpu_gradient_job *job, float **rest) {
  int64_t period = period_of(batch->x), channels = ffb_channels(batch->x), pixels = ffb_pixels(batch->x);
  int64_t blocks = blocks_of(pixels);
  int64_t words = GRADIENT_VALUES * period + blocks * 2 * channels + FFB_CPU_CHUNK;
  float *values = ffb_cpu_scratch(device, NULL, (size_t)(words + more) * sizeof *values);
  if (!values)
    return false;
  *rest = values + words;
  *job =
      (struct ffb_cpu_gradient_job){.batch = batch, .mean_gradient = values + 4 * period, .slope = values + 5 * period};
  job->with = (struct ffb_cpu_normalise_gradient){
      .gy = batch->gy ? batch->gy->data : NULL,
      .x = batch->x->data,
      .mean = repeated(values, batch->mean, period),
      .inverse = repeated(values + period, batch->inverse, period),
      .scale = repeated_scale(values + 2 * period, batch->inverse, batch->gamma, period),
      .shift = repeated(values + 3 * period, batch->beta, period),
      .mean_gradient = job->mean_gradient,
      .slope = job->slope,
      .period = period,
      .activation = batch->activation,
      .stored = stored_gradient(batch)};
  job->sums = (struct ffb_cpu_sums_job){.kernels = device->kernels->normalisation,
                                        .gradient = &job->with,
                                        .x = batch->x->data,
                                        .sums = values + GRADIENT_VALUES * period,
                                        .blocks = blocks,
                                        .channels = channels,
                                        .pixels = pixels};
  return true;
}

static bool prepare_gradient(struct ffb_device *device, const struct ffb_batch_normalise_gradient *batch,
                             struct ffb_cpu_gradient_job *job) {
  float *rest;
  return ffb_cpu_prepare_gradient(device, batch, 0, job, &rest);
}

static void channel_gradients(struct ffb_cpu_gradient_job *job, int64_t begin, int64_t end) {
  const struct ffb_cpu_sums_job *sums = &job->sums;
  double first[FFB_CPU_CHANNELS], second[FFB_CPU_CHANNELS];
  const struct ffb_cpu_block_sums blocks = {sums->sums, sums->blocks, sums->channels};
  sums->kernels->totals(first, second, &blocks, begin, end);
  for (int64_t c = begin; c < end; c++) {
    float gbeta = (float)first[c - begin], ggamma = (float)second[c - begin];
    ((float *)job->batch->gbeta->data)[c] = gbeta;
    ((float *)job->batch->ggamma->data)[c] = ggamma;
    job->mean_gradient[c] = gbeta / (float)sums->pixels;
    job->slope[c] = ggamma / (float)sums->pixels;
  }
  repeat(job->mean_gradient, sums->channels, job->with.period, begin, end);
  repeat(job->slope, sums->channels, job->with.period, begin, end);
}

void ffb_cpu_channel_gradients(struct ffb_cpu_gradient_job *job) {
#pragma omp barrier
  struct ffb_cpu_span share = my_share(job->sums.channels, FFB_CPU_CHUNK);
  for (int64_t c = share.begin; c < share.end; c += FFB_CPU_CHANNELS)
    channel_gradients(job, c, smaller(c + FFB_CPU_CHANNELS, share.end));
#pragma omp barrier
}

/* Run by all threads: the sums, and what the second pass needs of them. */
static struct ffb_cpu_normalise_gradient summed(struct ffb_cpu_gradient_job *job) {
  my_blocks(&job->sums);
  ffb_cpu_channel_gradients(job);
  struct ffb_cpu_normalise_gradient with = job->with;
  if (with.stored) {
    with.gy = with.stored;
    with.factors = NULL;
    with.activation = FFB_ACTIVATION_NONE;
  }
  return with;
}

bool ffb_cpu_batch_normalise_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_gradient *batch = &arguments->batch_normalise_gradient;
  struct ffb_cpu_gradient_job job;
  int64_t n = ffb_elements(batch->x);
  if (!prepare_gradient(device, batch, &job))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, n))
  {
    struct ffb_cpu_normalise_gradient with = summed(&job);
    struct ffb_cpu_span share = my_share(n, FFB_CPU_CHANNELS);
    /* Backwards: what the sums read last is still in the cache. */
    for (int64_t end = share.end, begin = 0; end > share.begin; end = begin) {
      begin = end - share.begin > FAR_PIECE ? end - FAR_PIECE : share.begin;
      job.sums.kernels->normalise_gradient(&with, FFB_CPU_STORE, (float *)batch->gx->data + begin, begin, end);
    }
  }
  return true;
}

/* ---- quantised in one ----------------------------------------------------------------------------------------- */

/* What is quantised: a normalisation or its gradient. */
struct source {
  const struct ffb_cpu_kernels *kernels;
  struct ffb_cpu_normalise normalise;
  struct ffb_cpu_normalise_gradient gradient;
  bool backward;
  const float *extremes; /* of the normalisation's input, [2][channels], or null */
  int64_t channels, pixels;
  float *kept; /* where the first pass leaves the values: a gradient takes longer to compute again than to read */
};

static uint32_t produce(const struct source *source, enum ffb_cpu_sink sink, void *out, int64_t begin, int64_t end) {
  if (source->backward)
    return source->kernels->normalisation->normalise_gradient(&source->gradient, sink, out, begin, end);
  return source->kernels->normalisation->normalise(&source->normalise, sink, out, begin, end);
}

static void produce_s8(const struct source *source, const struct ffb_cpu_rounding *rounding, int8_t *q, int64_t begin,
                       int64_t end) {
  if (!rounding->stochastic) {
    produce(source, FFB_CPU_NEAREST, q + begin, begin, end);
    return;
  }
  float piece[NEAR_PIECE], reciprocal = source->normalise.reciprocal;
  for (int64_t at = begin; at < end; at += NEAR_PIECE) {
    int64_t n = smaller(end - at, NEAR_PIECE);
    produce(source, FFB_CPU_STORE, piece, at, at + n);
    source->kernels->quantise(q + at, piece, n, reciprocal, rounding, (uint64_t)at);
  }
}

static float as_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* The largest value from the extremes of each channel, normalised as two pixels: all steps but SiLU are
 * monotonic. SiLU is too above 0, but for its rounding, and larger than 0.3 nowhere below: channels whose extremes come
 * close to the largest are looked through. False: all have to be. */
static bool largest_extreme(const struct source *source, uint32_t *largest) {
  enum { WORTHWHILE = 256 };
  const struct ffb_cpu_normalisation_kernels *kernels = source->kernels->normalisation;
  const int64_t channels = source->channels;
  struct ffb_cpu_normalise with = source->normalise;
  bool exact = with.activation != FFB_ACTIVATION_SILU && with.activation != FFB_ACTIVATION_SIGMOID;
  if (!source->extremes || with.shortcut || (!exact && source->pixels < WORTHWHILE))
    return false;
  with.x = source->extremes + channels;
  *largest = kernels->normalise(&with, FFB_CPU_LARGEST, NULL, 0, channels);
  with.x = source->extremes;
  uint32_t bits = kernels->normalise(&with, FFB_CPU_LARGEST, NULL, 0, channels);
  *largest = bits > *largest ? bits : *largest;
  if (exact)
    return true;
  float most = as_float(*largest);
  if (with.activation != FFB_ACTIVATION_SILU || !(most >= 0.3f && most < INFINITY))
    return false;
  struct ffb_cpu_span share = my_share(source->pixels, FFB_PIXEL_BLOCK);
  for (int64_t c = 0; c < channels; c += FFB_CPU_CHUNK) {
    int64_t some = smaller(FFB_CPU_CHUNK, channels - c);
    if (as_float(kernels->columns_largest(&with, channels, 0, 2, c, some)) < most * 0.9999f)
      continue;
    bits = kernels->columns_largest(&source->normalise, channels, share.begin, share.end - share.begin, c, some);
    *largest = bits > *largest ? bits : *largest;
  }
  return true;
}

/* The first pass over this thread's share. Values that are kept are made from the end, where the sums were last. */
static uint32_t largest_value(const struct source *source, struct ffb_cpu_span share) {
  uint32_t largest = 0;
  if (!source->kept && largest_extreme(source, &largest))
    return largest;
  if (!source->kept)
    return produce(source, FFB_CPU_LARGEST, NULL, share.begin, share.end);
  for (int64_t end = share.end, begin = 0; end > share.begin; end = begin) {
    begin = end - share.begin > FAR_PIECE ? end - FAR_PIECE : share.begin;
    uint32_t bits = produce(source, FFB_CPU_STORE, source->kept + begin, begin, end);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/* Run by all threads: two passes, the second from where the first ended, which is still in the cache. */
static void my_quantised(struct source source, const struct ffb_suq_scale *scale,
                         const struct ffb_suq_quantise *quantise, uint32_t *largest) {
  struct ffb_cpu_rounding rounding =
      ffb_cpu_rounding_of(quantise->rounding, quantise->seed, quantise->purpose, quantise->step);
  struct ffb_cpu_span share = my_share(ffb_elements(quantise->q), FFB_CPU_CHANNELS);
  float joined =
      ffb_cpu_join_scale(scale, scale->range == FFB_RANGE_ABSMAX ? largest_value(&source, share) : 0, largest);
  source.normalise.reciprocal = source.gradient.reciprocal = 1 / joined;
  if (source.kept) {
    source.kernels->quantise((int8_t *)quantise->q->data + share.begin, source.kept + share.begin,
                             share.end - share.begin, source.normalise.reciprocal, &rounding, (uint64_t)share.begin);
    return;
  }
  for (int64_t end = share.end, begin = 0; end > share.begin; end = begin) {
    begin = end - share.begin > FAR_PIECE ? end - FAR_PIECE : share.begin;
    produce_s8(&source, &rounding, quantise->q->data, begin, end);
  }
}

bool ffb_cpu_batch_normalise_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_s8 *batch = &arguments->batch_normalise_s8;
  const struct ffb_tensor *x = batch->normalise.x;
  struct source source = {.kernels = device->kernels,
                          .extremes = batch->extremes ? batch->extremes->data : NULL,
                          .channels = ffb_channels(x),
                          .pixels = ffb_pixels(x)};
  uint32_t largest = 0;
  if (!prepare_normalise(device, &batch->normalise, &source.normalise))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(batch->normalise.x)))
  my_quantised(source, &batch->scale, &batch->quantise, &largest);
  return true;
}

/* Run by all threads. */
static void my_gradient_s8(struct ffb_device *device, const struct ffb_batch_normalise_gradient_s8 *batch,
                           struct ffb_cpu_gradient_job *job, uint32_t *largest) {
  struct source source = {.kernels = device->kernels, .backward = true, .gradient = summed(job)};
  if (batch->scale.range == FFB_RANGE_ABSMAX)
    source.kept = batch->gradient.gx->data;
  my_quantised(source, &batch->scale, &batch->quantise, largest);
}

bool ffb_cpu_batch_normalise_gradient_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_gradient_s8 *batch = &arguments->batch_normalise_gradient_s8;
  struct ffb_cpu_gradient_job job;
  uint32_t largest = 0;
  if (!prepare_gradient(device, &batch->gradient, &job))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(batch->gradient.x)))
  my_gradient_s8(device, batch, &job, &largest);
  return true;
}

/* ---- from goodness -------------------------------------------------------------------------------------------- */

void ffb_cpu_goodness_factors(float *factors, const float *gradient, int groups, int64_t channels, int64_t mean_of) {
  for (int g = 0; g < groups; g++) {
    int64_t start = ffb_group_start(channels, groups, g), end = ffb_group_start(channels, groups, g + 1);
    float factor = gradient[g] * 2;
    if (mean_of)
      factor /= (float)(mean_of * (end - start));
    for (int64_t c = start; c < end; c++)
      factors[c] = factor;
  }
}

/* Whether the kernels multiply while they read; otherwise the products are made in scratch first. Only values that are
 * kept are read by a kernel that can. */
static bool multiplied_in_kernels(const struct ffb_batch_normalise_goodness_gradient_s8 *a) {
  const struct ffb_tensor *x = a->normalise.gradient.x;
  return a->normalise.scale.range == FFB_RANGE_ABSMAX && ffb_pixels(x) / ffb_rows(x) % 4 == 0;
}

bool ffb_cpu_batch_normalise_goodness_gradient_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_goodness_gradient_s8 *a = &arguments->batch_normalise_goodness_gradient_s8;
  const struct ffb_batch_normalise_gradient *gradient = &a->normalise.gradient;
  const int64_t images = ffb_rows(gradient->x), columns = ffb_columns(gradient->x), n = images * columns;
  const int64_t period = period_of(gradient->x);
  const bool in_kernels = multiplied_in_kernels(a);
  struct ffb_cpu_gradient_job job;
  float *factors;
  uint32_t largest = 0;
  if (!ffb_cpu_prepare_gradient(device, gradient, images * period + FFB_CPU_CHUNK + (in_kernels ? 0 : n), &job,
                                &factors))
    return false;
  const float *y = gradient->gy->data;
  float *products = factors + images * period + FFB_CPU_CHUNK;
  job.with.gy = in_kernels ? y : products;
  job.with.factors = in_kernels ? factors : NULL;
  job.with.image = job.sums.pixels / images;
  job.with.columns = columns;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, n))
  {
    struct ffb_cpu_span share = my_share(images, 1);
    for (int64_t m = share.begin; m < share.end; m++) {
      ffb_cpu_goodness_factors(factors + m * period, (const float *)a->goodness->data + m * a->groups, a->groups,
                               job.sums.channels, a->mean ? job.with.image : 0);
      repeat(factors + m * period, job.sums.channels, period, 0, job.sums.channels);
      if (!in_kernels)
        job.sums.kernels->scale_channels(products + m * columns, y + m * columns, factors + m * period,
                                         job.sums.channels, job.with.image, false);
    }
#pragma omp barrier
    my_gradient_s8(device, &a->normalise, &job, &largest);
  }
  return true;
}
