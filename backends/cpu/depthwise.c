/* Depthwise convolutions: how the kernels of depthwise.h are laid over a batch and shared among threads.
 *
 * Work is cut into chunks of images, or of rows of an image, that fit the second-level cache, and a chunk into vectors
 * of channels. A thread takes consecutive vectors of consecutive chunks, so that it reads whole images while their
 * lines are at hand, and small images are shared by their channels. */
#include "backends/cpu/depthwise.h"
#include "backends/cpu/device.h"
#include "backends/reference/reference.h"

#include <string.h>

/* INT8 weight gradients multiply several images at a time. */
enum { CHUNK_BYTES = 1 << 19, EXACT_TERMS = 133144, IMAGES_TOGETHER = 4 };

static int64_t ceiling(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit;
}

/* What every operator here is: a geometry, its type, and how it is cut. */
struct work {
  const struct ffb_cpu_depthwise_kernels *kernels;
  struct ffb_cpu_depthwise depthwise;
  bool integer;
  int64_t images, taps, lanes;
  int64_t vectors;              /* of channels */
  int64_t chunk_images, strips; /* images of a chunk; or chunks of an image */
  int64_t strip_rows, chunks;
  int threads;
};

/* Images of one pixel, which a single tap meets. */
static bool one_pixel(const struct work *work) {
  const struct ffb_cpu_depthwise *depthwise = &work->depthwise;
  return depthwise->height == 1 && depthwise->width == 1 && depthwise->rows == 1 && depthwise->columns == 1 &&
         depthwise->padding < depthwise->kernel && work->images <= EXACT_TERMS;
}
static int64_t only_tap(const struct work *work) {
  return work->depthwise.padding * (work->depthwise.kernel + 1);
}

static struct work work_of(const struct ffb_device *device, const struct ffb_tensor *from, const struct ffb_tensor *to,
                           const struct ffb_window *window, bool integer) {
  const int64_t element = integer ? 1 : 4;
  struct work work = {.kernels = device->kernels->depthwise, .integer = integer};
  work.depthwise = (struct ffb_cpu_depthwise){.channels = from->shape[3],
                                              .height = from->shape[1],
                                              .width = from->shape[2],
                                              .rows = to->shape[1],
                                              .columns = to->shape[2],
                                              .kernel = window->kernel,
                                              .stride = window->stride,
                                              .padding = window->padding,
                                              .from = from->data};
  work.images = from->shape[0];
  work.taps = (int64_t)window->kernel * window->kernel;
  work.lanes = device->kernels->lanes;
  work.vectors = ceiling(work.depthwise.channels, work.lanes);
  int64_t bytes = ffb_columns(from) * element + ffb_columns(to) * (int64_t)ffb_type_bytes(to->type);
  work.chunk_images = bytes < CHUNK_BYTES ? CHUNK_BYTES / bytes : 1;
  work.strips = ceiling(bytes, CHUNK_BYTES);
  work.strip_rows = ceiling(ceiling(work.depthwise.rows, work.strips), FFB_CPU_DEPTHWISE_BAND) * FFB_CPU_DEPTHWISE_BAND;
  work.strips = work.chunk_images > 1 ? 1 : ceiling(work.depthwise.rows, work.strip_rows);
  work.chunks = ceiling(work.images, work.chunk_images) * work.strips;
  int64_t outputs = work.depthwise.rows * work.depthwise.columns * work.depthwise.channels * work.images;
  work.threads = outputs * (one_pixel(&work) ? 1 : work.taps) < FFB_CPU_SHARED_WORK ? 1 : device->threads;
  return work;
}

static int64_t cache_lines(int64_t words) {
  return ceiling(words, FFB_CPU_MAX_LANES) * FFB_CPU_MAX_LANES;
}

/* ---- outputs and input gradients ------------------------------------------------------------------------------- */

/* Words of each thread: packed weights of every channel vector, and the kernel's buffer. */
static int64_t convolve_words(const struct work *work) {
  int64_t buffer = work->integer ? work->kernels->band_words(&work->depthwise) : 0;
  return cache_lines(work->vectors * work->kernels->packed_words(&work->depthwise)) + cache_lines(buffer);
}

static size_t convolve_bytes(const struct ffb_device *device, const struct work *work) {
  return (size_t)(convolve_words(work) * device->threads) * 4;
}

static void my_vectors(const struct work *work, int32_t *packed, int32_t *buffer, struct ffb_cpu_span units) {
  const struct ffb_cpu_depthwise_kernels *kernels = work->kernels;
  const int64_t words = kernels->packed_words(&work->depthwise);
  for (int64_t unit = units.begin; unit < units.end; unit++) {
    int64_t chunk = unit / work->vectors, vector = unit % work->vectors, channel = vector * work->lanes;
    int64_t image = chunk / work->strips * work->chunk_images, row = chunk % work->strips * work->strip_rows;
    struct ffb_cpu_depthwise_share share = {image, image + work->chunk_images, row, row + work->strip_rows};
    if (share.image1 > work->images)
      share.image1 = work->images;
    if (share.row1 > work->depthwise.rows || work->strips == 1)
      share.row1 = work->depthwise.rows;
    bool first = unit - units.begin < work->vectors;
    if (work->integer) {
      if (first)
        kernels->pack_s8(&work->depthwise, packed + vector * words, channel);
      kernels->convolve_s8(&work->depthwise, packed + vector * words, buffer, channel, &share);
    } else {
      if (first)
        kernels->pack_f32(&work->depthwise, packed + vector * words, channel);
      kernels->convolve_f32(&work->depthwise, packed + vector * words, buffer, channel, &share);
    }
  }
}

static void my_pixels(const struct work *work, float *factors, struct ffb_cpu_span channels) {
  const int64_t taps = work->taps, tap = only_tap(work);
  const struct ffb_cpu_depthwise *depthwise = &work->depthwise;
  for (int64_t c = channels.begin; c < channels.end; c++)
    factors[c] = work->integer ? ((const int8_t *)depthwise->weights)[c * taps + tap]
                               : ((const float *)depthwise->weights)[c * taps + tap];
  if (work->integer)
    work->kernels->one_pixel_s8(depthwise, factors, work->images, channels.begin, channels.end);
  else
    work->kernels->one_pixel_f32(depthwise, factors, work->images, channels.begin, channels.end);
}

static bool convolve(struct ffb_device *device, const struct work *work, const struct ffb_tensor *workspace) {
  int32_t *scratch = ffb_cpu_scratch(device, workspace, convolve_bytes(device, work));
  if (!scratch)
    return false;
#pragma omp parallel num_threads(work->threads)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    int32_t *packed = scratch + part * convolve_words(work);
    int32_t *buffer = packed + cache_lines(work->vectors * work->kernels->packed_words(&work->depthwise));
    if (one_pixel(work))
      my_pixels(work, (float *)scratch, ffb_cpu_share(work->depthwise.channels, FFB_CPU_MAX_LANES, parts, part));
    else
      my_vectors(work, packed, buffer, ffb_cpu_share(work->chunks * work->vectors, 1, parts, part));
  }
  return true;
}

static struct work forward_work(const struct ffb_device *device, const struct ffb_tensor *y, const struct ffb_tensor *x,
                                const struct ffb_tensor *w, const struct ffb_window *window, bool integer) {
  struct work work = work_of(device, x, y, window, integer);
  work.depthwise.weights = w->data;
  work.depthwise.to = y->data;
  return work;
}

static struct work input_work(const struct ffb_device *device, const struct ffb_tensor *gx, const struct ffb_tensor *gy,
                              const struct ffb_tensor *w, const struct ffb_window *window, bool integer) {
  struct work work = forward_work(device, gx, gy, w, window, integer);
  work.depthwise.input = true;
  return work;
}

bool ffb_cpu_depthwise_convolve_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_f32 *a = &arguments->convolve_f32;
  struct work work = forward_work(device, a->y, a->x, a->w, &a->window, false);
  return convolve(device, &work, a->workspace);
}

bool ffb_cpu_depthwise_convolve_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_s8 *a = &arguments->convolve_s8;
  struct work work = forward_work(device, a->y, a->x, a->w, &a->window, true);
  work.depthwise.scale = ffb_cpu_scalar(a->x_scale) * ffb_cpu_scalar(a->w_scale);
  return convolve(device, &work, a->workspace);
}

bool ffb_cpu_depthwise_convolve_input_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_input_f32 *a = &arguments->convolve_input_f32;
  struct work work = input_work(device, a->gx, a->gy, a->w, &a->window, false);
  work.depthwise.accumulate = a->accumulate;
  return convolve(device, &work, a->workspace);
}

bool ffb_cpu_depthwise_convolve_input_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_input_s8 *a = &arguments->convolve_input_s8;
  struct work work = input_work(device, a->gx, a->gy, a->w, &a->window, true);
  work.depthwise.accumulate = a->accumulate;
  work.depthwise.scale = ffb_cpu_scalar(a->gy_scale) * ffb_cpu_scalar(a->w_scale);
  return convolve(device, &work, a->workspace);
}

/* ---- gradients of the weights ---------------------------------------------------------------------------------- */

/* Each chunk of images has sums of its own, [chunk][vector][tap][lane]; they are added in the order of the chunks,
 * which depend on shapes only. */
static struct work weight_work(const struct ffb_device *device, const struct ffb_tensor *gy, const struct ffb_tensor *x,
                               const struct ffb_window *window, bool integer) {
  struct work work = work_of(device, x, gy, window, integer);
  int64_t pixels = work.depthwise.rows * work.depthwise.columns;
  work.depthwise.gy = gy->data;
  if (integer)
    work.chunk_images = ceiling(work.chunk_images, IMAGES_TOGETHER) * IMAGES_TOGETHER;
  if (integer && work.chunk_images * pixels > EXACT_TERMS)
    work.chunk_images = pixels < EXACT_TERMS ? EXACT_TERMS / pixels : 1;
  work.strips = 1;
  work.chunks = ceiling(work.images, work.chunk_images);
  return work;
}

static int64_t sum_words(const struct work *work) {
  return work->chunks * work->vectors * work->taps * work->lanes;
}
static int64_t weight_buffer_words(const struct work *work) {
  return work->integer ? cache_lines(work->kernels->weight_words(&work->depthwise)) : 0;
}
static size_t weight_bytes(const struct ffb_device *device, const struct work *work) {
  return (size_t)(cache_lines(sum_words(work)) + weight_buffer_words(work) * device->threads) * 4;
}

static void my_sums(const struct work *work, int32_t *sums, int32_t *buffer, struct ffb_cpu_span units) {
  for (int64_t unit = units.begin; unit < units.end; unit++) {
    int64_t image = unit / work->vectors * work->chunk_images, channel = unit % work->vectors * work->lanes;
    struct ffb_cpu_depthwise_share share = {.image0 = image, .image1 = image + work->chunk_images};
    if (share.image1 > work->images)
      share.image1 = work->images;
    if (work->integer)
      work->kernels->weight_s8(&work->depthwise, sums + unit * work->taps * work->lanes, buffer, channel, &share);
    else
      work->kernels->weight_f32(&work->depthwise, sums + unit * work->taps * work->lanes, buffer, channel, &share);
  }
}

/* Adds the chunks' sums of one channel vector into the first chunk's, as FP32 numbers; `next` words from chunk to
 * chunk. */
static void add_chunks(const struct work *work, int32_t *sums, int64_t next, int64_t n) {
  for (int64_t i = 0; i < n && work->integer; i++) {
    int64_t total = 0;
    for (int64_t chunk = 0; chunk < work->chunks; chunk++)
      total += sums[chunk * next + i];
    float value = (float)total;
    memcpy(sums + i, &value, sizeof value);
  }
  for (int64_t chunk = 1; chunk < work->chunks && !work->integer; chunk++) {
    float *to = (float *)sums;
    const float *from = (const float *)(sums + chunk * next);
    for (int64_t i = 0; i < n; i++)
      to[i] += from[i];
  }
}

static void my_weights(const struct work *work, int32_t *sums, float *gw, bool accumulate,
                       struct ffb_cpu_span vectors) {
  int64_t n = work->taps * work->lanes, channels = work->depthwise.channels;
  for (int64_t vector = vectors.begin; vector < vectors.end; vector++) {
    add_chunks(work, sums + vector * n, work->vectors * n, n);
    const float *total = (const float *)(sums + vector * n);
    for (int64_t l = 0; l < work->lanes && vector * work->lanes + l < channels; l++) {
      float *to = gw + (vector * work->lanes + l) * work->taps;
      for (int64_t tap = 0; tap < work->taps; tap++) {
        float value =
            work->integer ? total[tap * work->lanes + l] * work->depthwise.scale : total[tap * work->lanes + l];
        to[tap] = accumulate ? to[tap] + value : value;
      }
    }
  }
}

static void my_pixel_weights(const struct work *work, int32_t *sums, float *gw, bool accumulate,
                             struct ffb_cpu_span channels) {
  if (work->integer)
    work->kernels->one_pixel_weight_s8(&work->depthwise, sums, work->images, channels.begin, channels.end);
  else
    work->kernels->one_pixel_weight_f32(&work->depthwise, sums, work->images, channels.begin, channels.end);
  const float scale = work->integer ? work->depthwise.scale : 1, none = 0 * scale;
  for (int64_t c = channels.begin; c < channels.end; c++) {
    float *to = gw + c * work->taps, sum = work->integer ? (float)sums[c] : ((const float *)sums)[c];
    float before = to[only_tap(work)];
    for (int64_t tap = 0; tap < work->taps; tap++)
      to[tap] = accumulate ? to[tap] + none : none;
    to[only_tap(work)] = accumulate ? before + sum * scale : sum * scale;
  }
}

/* `extra` bytes of the scratch memory, at its end, are the caller's. */
static void *weight_scratch(struct ffb_device *device, const struct work *work, const struct ffb_tensor *workspace,
                            size_t extra) {
  return ffb_cpu_scratch(device, workspace, weight_bytes(device, work) + extra);
}

static void weigh(const struct work *work, int32_t *scratch, float *gw, bool accumulate) {
#pragma omp parallel num_threads(work->threads)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    if (one_pixel(work)) {
      my_pixel_weights(work, scratch, gw, accumulate,
                       ffb_cpu_share(work->depthwise.channels, FFB_CPU_MAX_LANES, parts, part));
    } else {
      int32_t *buffer = scratch + cache_lines(sum_words(work)) + part * weight_buffer_words(work);
      my_sums(work, scratch, buffer, ffb_cpu_share(work->chunks * work->vectors, 1, parts, part));
#pragma omp barrier
      my_weights(work, scratch, gw, accumulate, ffb_cpu_share(work->vectors, 1, parts, part));
    }
  }
}

bool ffb_cpu_depthwise_convolve_weight_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_f32 *a = &arguments->convolve_weight_f32;
  struct work work = weight_work(device, a->gy, a->x, &a->window, false);
  int32_t *scratch = weight_scratch(device, &work, a->workspace, 0);
  if (scratch)
    weigh(&work, scratch, a->gw->data, a->accumulate);
  return scratch;
}

/* Images so large that the sums of one are not exact in 32 bits. */
static bool too_large(const struct ffb_tensor *gy) {
  return gy->shape[1] * gy->shape[2] > EXACT_TERMS;
}

bool ffb_cpu_depthwise_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_s8 *a = &arguments->convolve_weight_s8;
  if (too_large(a->gy))
    return ffb_reference_convolve_weight_s8(device, arguments);
  struct work work = weight_work(device, a->gy, a->x, &a->window, true);
  work.depthwise.scale = ffb_cpu_scalar(a->gy_scale) * ffb_cpu_scalar(a->x_scale);
  int32_t *scratch = weight_scratch(device, &work, a->workspace, 0);
  if (scratch)
    weigh(&work, scratch, a->gw->data, a->accumulate);
  return scratch;
}

/* ---- updates: their compositions, over a gradient in scratch memory ------------------------------------------------
 */

static struct ffb_tensor *weights_of(const struct ffb_update_rule *rule) {
  return rule->kind == FFB_RULE_ADAM ? rule->adam.weights : rule->sgd.weights;
}

static size_t gradient_bytes(const struct ffb_update_rule *rule) {
  return (size_t)cache_lines(ffb_elements(weights_of(rule))) * sizeof(float);
}

static bool apply(struct ffb_device *device, const struct ffb_update_rule *rule, struct ffb_tensor *gradient) {
  union ffb_arguments arguments = {0};
  if (rule->kind == FFB_RULE_ADAM) {
    arguments.adam_update = (struct ffb_adam_update){rule->adam, gradient};
    return ffb_cpu_adam_update(device, &arguments);
  }
  arguments.sgd_update = (struct ffb_sgd_update){rule->sgd, gradient};
  return ffb_cpu_sgd_update(device, &arguments);
}

bool ffb_cpu_depthwise_convolve_update_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_f32 *a = &arguments->convolve_update_f32;
  struct work work = weight_work(device, a->gy, a->x, &a->window, false);
  char *scratch = weight_scratch(device, &work, a->workspace, gradient_bytes(&a->rule));
  if (!scratch)
    return false;
  struct ffb_tensor gradient = *weights_of(&a->rule);
  gradient.data = scratch + weight_bytes(device, &work);
  weigh(&work, (int32_t *)(void *)scratch, gradient.data, false);
  return apply(device, &a->rule, &gradient);
}

/* The gradient to INT8 and back, in place. */
static bool quantise(struct ffb_device *device, const struct ffb_convolve_update_s8 *update,
                     struct ffb_tensor *gradient, void *bytes) {
  float quantum = 0;
  struct ffb_tensor scale = {.data = &quantum, .type = FFB_F32, .shape = {1, 1, 1, 1}}, quantised = *gradient;
  quantised.type = FFB_S8;
  quantised.data = bytes;
  union ffb_arguments arguments = {.suq_tensor = {.scale = {.scale = &scale, .x = gradient},
                                                  .quantise = {.q = &quantised,
                                                               .x = gradient,
                                                               .scale = &scale,
                                                               .step = update->step,
                                                               .rounding = update->rounding,
                                                               .purpose = update->purpose,
                                                               .seed = update->seed}}};
  if (!ffb_cpu_suq_tensor(device, &arguments))
    return false;
  arguments = (union ffb_arguments){.dequantise = {.out = gradient, .x = &quantised, .scale_a = &scale}};
  return ffb_cpu_dequantise(device, &arguments);
}

bool ffb_cpu_depthwise_convolve_update_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_s8 *a = &arguments->convolve_update_s8;
  struct work work = weight_work(device, a->gy, a->x, &a->window, true);
  const size_t size = gradient_bytes(&a->rule);
  char *scratch = weight_scratch(device, &work, a->workspace, 2 * size);
  if (!scratch)
    return false;
  struct ffb_tensor gradient = *weights_of(&a->rule);
  gradient.data = scratch + weight_bytes(device, &work);
  union ffb_arguments weight = {.convolve_weight_s8 = {.gw = &gradient,
                                                       .gy = a->gy,
                                                       .x = a->x,
                                                       .gy_scale = a->gy_scale,
                                                       .x_scale = a->x_scale,
                                                       .window = a->window,
                                                       .groups = a->groups}};
  bool done = true;
  work.depthwise.scale = ffb_cpu_scalar(a->gy_scale) * ffb_cpu_scalar(a->x_scale);
  if (too_large(a->gy))
    done = ffb_reference_convolve_weight_s8(device, &weight);
  else
    weigh(&work, (int32_t *)(void *)scratch, gradient.data, false);
  if (done && a->quantise_gradient)
    done = quantise(device, a, &gradient, scratch + weight_bytes(device, &work) + size);
  done = done && apply(device, &a->rule, &gradient);
  if (!done || !a->weight_scale)
    return done;
  union ffb_arguments scale = {.suq_scale = {.scale = a->weight_scale, .x = weights_of(&a->rule)}};
  return ffb_cpu_suq_scale(device, &scale);
}

/* ---- scratch --------------------------------------------------------------------------------------------------- */

static size_t update_workspace(const struct ffb_device *device, const struct ffb_tensor *gy, const struct ffb_tensor *x,
                               const struct ffb_window *window, const struct ffb_update_rule *rule, bool integer) {
  struct work work = weight_work(device, gy, x, window, integer);
  return weight_bytes(device, &work) + gradient_bytes(rule) * (integer ? 2 : 1);
}

size_t ffb_cpu_depthwise_workspace(const struct ffb_device *device, enum ffb_operator operation,
                                   const union ffb_arguments *arguments) {
  struct work work = {0};
  switch ((int)operation) {
  case FFB_CONVOLVE_F32: {
    const struct ffb_convolve_f32 *a = &arguments->convolve_f32;
    work = forward_work(device, a->y, a->x, a->w, &a->window, false);
    return convolve_bytes(device, &work);
  }
  case FFB_CONVOLVE_S8: {
    const struct ffb_convolve_s8 *a = &arguments->convolve_s8;
    work = forward_work(device, a->y, a->x, a->w, &a->window, true);
    return convolve_bytes(device, &work);
  }
  case FFB_CONVOLVE_INPUT_F32: {
    const struct ffb_convolve_input_f32 *a = &arguments->convolve_input_f32;
    work = input_work(device, a->gx, a->gy, a->w, &a->window, false);
    return convolve_bytes(device, &work);
  }
  case FFB_CONVOLVE_INPUT_S8: {
    const struct ffb_convolve_input_s8 *a = &arguments->convolve_input_s8;
    work = input_work(device, a->gx, a->gy, a->w, &a->window, true);
    return convolve_bytes(device, &work);
  }
  case FFB_CONVOLVE_WEIGHT_F32: {
    const struct ffb_convolve_weight_f32 *a = &arguments->convolve_weight_f32;
    work = weight_work(device, a->gy, a->x, &a->window, false);
    return weight_bytes(device, &work);
  }
  case FFB_CONVOLVE_WEIGHT_S8: {
    const struct ffb_convolve_weight_s8 *a = &arguments->convolve_weight_s8;
    work = weight_work(device, a->gy, a->x, &a->window, true);
    return weight_bytes(device, &work);
  }
  case FFB_CONVOLVE_UPDATE_F32: {
    const struct ffb_convolve_update_f32 *a = &arguments->convolve_update_f32;
    return update_workspace(device, a->gy, a->x, &a->window, &a->rule, false);
  }
  case FFB_CONVOLVE_UPDATE_S8: {
    const struct ffb_convolve_update_s8 *a = &arguments->convolve_update_s8;
    return update_workspace(device, a->gy, a->x, &a->window, &a->rule, true);
  }
  default:
    return 0;
  }
}
