/* Batch normalisation and max pooling in one. A thread normalises one image at a time, in scratch that stays in its
 * cache, and pools it there. The backward pass makes what it needs of the forward pass again, twice: for the sums over
 * pixels and for the gradient. The bits are those of the composition. */
#include "backends/cpu/device.h"
#include "backends/cpu/normalisation.h"
#include "backends/cpu/pooling.h"

static struct ffb_cpu_span my_share(int64_t n) {
  return ffb_cpu_share(n, 1, omp_get_num_threads(), omp_get_thread_num());
}

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* Words that keep a cache line of one thread apart from the next thread's. */
static int64_t padded(int64_t words) {
  const int64_t line = FFB_CPU_ALIGNMENT / (int64_t)sizeof(float);
  return (words + line - 1) / line * line;
}

/* ---- forward -------------------------------------------------------------------------------------------------- */

static void normalise_image(const struct ffb_cpu_kernels *kernels, const struct ffb_cpu_normalise *with, float *out,
                            int64_t image, int64_t elements) {
  kernels->normalisation->normalise(with, FFB_CPU_STORE, out, image * elements, (image + 1) * elements);
}

static void pool_image(const struct ffb_cpu_pool *pool, float *y, uint8_t *argmax, const float *image) {
  for (int64_t at = 0; at < pool->rows * pool->columns; at++)
    ffb_cpu_pool_pixel(pool, y + at * pool->channels, argmax ? argmax + at * pool->channels : NULL, image,
                       at / pool->columns, at % pool->columns);
}

bool ffb_cpu_batch_normalise_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_pool *a = &arguments->batch_normalise_pool;
  const struct ffb_cpu_pool pool = ffb_cpu_pool_of(device, a->normalise.x, &a->window);
  int64_t image = ffb_columns(a->normalise.x), pooled = ffb_columns(a->y), own = padded(image);
  struct ffb_cpu_normalise with;
  float *scratch;
  if (!ffb_cpu_prepare_normalise(device, &a->normalise, device->threads * own, &with, &scratch))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->normalise.x)))
  {
    struct ffb_cpu_span share = my_share(ffb_rows(a->y));
    float *map = scratch + omp_get_thread_num() * own;
    for (int64_t m = share.begin; m < share.end; m++) {
      normalise_image(device->kernels, &with, map, m, image);
      pool_image(&pool, (float *)a->y->data + m * pooled, NULL, map);
    }
  }
  return true;
}

/* ---- gradient ------------------------------------------------------------------------------------------------- */

/* Images are taken in sets of whole blocks of pixels. */
struct sets {
  const struct ffb_batch_normalise_pool_gradient *a;
  const struct ffb_cpu_kernels *kernels;
  struct ffb_cpu_pool pool;
  struct ffb_cpu_normalise normalise;
  struct ffb_cpu_gradient_job job;
  float *scratch;
  int64_t images, image, pooled;            /* of the batch; elements */
  int64_t set, set_words, map_words, words; /* images of a set; scratch of a thread: gradients, a pooled map, and all */
};

static int64_t greatest_divisor(int64_t a, int64_t b) {
  return b ? greatest_divisor(b, a % b) : a;
}

static void measure(struct sets *sets, struct ffb_device *device, const struct ffb_batch_normalise_pool_gradient *a) {
  const struct ffb_tensor *x = a->gradient.x;
  *sets = (struct sets){.a = a,
                        .kernels = device->kernels,
                        .pool = ffb_cpu_pool_of(device, x, &a->window),
                        .images = ffb_rows(x),
                        .image = ffb_columns(x)};
  sets->pooled = sets->pool.rows * sets->pool.columns * sets->pool.channels;
  int64_t whole = FFB_PIXEL_BLOCK / greatest_divisor(sets->pool.height * sets->pool.width, FFB_PIXEL_BLOCK);
  sets->set = smaller(whole, sets->images);
  sets->set_words = padded(sets->set * sets->image);
  sets->map_words = padded(sets->pooled);
  /* Behind the pooled map: its taps in bytes, and a factor for each channel. */
  sets->words = sets->set_words + 2 * sets->map_words + padded(sets->pool.channels);
}

static bool prepare(struct sets *sets, struct ffb_device *device) {
  const struct ffb_batch_normalise_gradient *gradient = &sets->a->gradient;
  if (!ffb_cpu_prepare_gradient(device, gradient, device->threads * sets->words, &sets->job, &sets->scratch))
    return false;
  sets->job.with.stored = NULL; /* the second pass makes its gradients again */
  sets->job.sums.gradient = &sets->job.with;
  sets->normalise = (struct ffb_cpu_normalise){.x = sets->job.with.x,
                                               .mean = sets->job.with.mean,
                                               .scale = sets->job.with.scale,
                                               .shift = sets->job.with.shift,
                                               .period = sets->job.with.period,
                                               .activation = gradient->activation};
  return true;
}

/* The gradient of a pooled map from that of its goodness, over the map, as GOODNESS_GRADIENT has it. */
static void goodness_gradient(const struct sets *sets, float *map, float *factors, int64_t m) {
  const struct ffb_batch_normalise_pool_gradient *a = sets->a;
  const int64_t channels = sets->pool.channels, pixels = sets->pool.rows * sets->pool.columns;
  ffb_cpu_goodness_factors(factors, (const float *)a->goodness->data + m * a->groups, a->groups, channels,
                           a->mean ? pixels : 0);
  sets->kernels->normalisation->scale_channels(map, map, factors, channels, pixels, false);
}

/* The gradient of an image's normalised map; `to` holds that map before. */
static void image_gradient(const struct sets *sets, float *to, int64_t m) {
  float *map = sets->scratch + omp_get_thread_num() * sets->words + sets->set_words;
  float *factors = map + 2 * sets->map_words;
  uint8_t *taps = (uint8_t *)(map + sets->map_words);
  const float *gy = map;
  normalise_image(sets->kernels, &sets->normalise, to, m, sets->image);
  pool_image(&sets->pool, map, taps, to);
  if (sets->a->goodness)
    goodness_gradient(sets, map, factors, m);
  else
    gy = (const float *)sets->a->gy->data + m * sets->pooled;
  for (int64_t at = 0; at < sets->pool.height * sets->pool.width; at++)
    ffb_cpu_unpool_pixel(&sets->pool, to + at * sets->pool.channels, gy, taps, at / sets->pool.width,
                         at % sets->pool.width);
}

/* What the kernels take of a set that starts with image m: its gradients are made here. */
static struct ffb_cpu_normalise_gradient set_gradient(const struct sets *sets, int64_t m, int64_t images) {
  float *gradients = sets->scratch + omp_get_thread_num() * sets->words;
  for (int64_t i = 0; i < images; i++)
    image_gradient(sets, gradients + i * sets->image, m + i);
  struct ffb_cpu_normalise_gradient with = sets->job.with;
  with.gy = gradients;
  with.x += m * sets->image;
  return with;
}

static void sum_set(const struct sets *sets, int64_t m, int64_t images) {
  const struct ffb_cpu_sums_job *sums = &sets->job.sums;
  const int64_t pixels = images * sets->pool.height * sets->pool.width, channels = sums->channels;
  struct ffb_cpu_normalise_gradient with = set_gradient(sets, m, images);
  float *to = sums->sums + m * sets->pool.height * sets->pool.width / FFB_PIXEL_BLOCK * 2 * channels;
  for (int64_t pixel = 0; pixel < pixels; pixel += FFB_PIXEL_BLOCK, to += 2 * channels)
    sums->kernels->gradient_sums(&with, to, channels, pixel, smaller(pixels - pixel, FFB_PIXEL_BLOCK), 0, channels);
}

bool ffb_cpu_batch_normalise_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  struct sets sets;
  measure(&sets, device, &arguments->batch_normalise_pool_gradient);
  if (!prepare(&sets, device))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, sets.images *sets.image))
  {
    struct ffb_cpu_span share = my_share((sets.images + sets.set - 1) / sets.set);
    for (int64_t m = share.begin * sets.set; m < smaller(share.end * sets.set, sets.images); m += sets.set)
      sum_set(&sets, m, smaller(sets.set, sets.images - m));
    ffb_cpu_channel_gradients(&sets.job);
    for (int64_t m = share.begin * sets.set; m < smaller(share.end * sets.set, sets.images); m += sets.set) {
      int64_t images = smaller(sets.set, sets.images - m);
      struct ffb_cpu_normalise_gradient with = set_gradient(&sets, m, images);
      sets.kernels->normalisation->normalise_gradient(
          &with, FFB_CPU_STORE, (float *)sets.a->gradient.gx->data + m * sets.image, 0, images * sets.image);
    }
  }
  return true;
}
