/* Pooling, and scaling by channel. The bits are those of the reference: each sum runs over pixels, or windows, in
 * order. */
#include "backends/cpu/pooling.h"
#include "backends/cpu/device.h"
#include "backends/reference/reference.h"

static struct ffb_cpu_span my_share(int64_t n) {
  return ffb_cpu_share(n, 1, omp_get_num_threads(), omp_get_thread_num());
}

/* ---- maximum --------------------------------------------------------------------------------------------------- */

static int64_t output_side(int64_t side, const struct ffb_window *window) {
  return (side + 2 * window->padding - window->kernel) / window->stride + 1;
}

struct ffb_cpu_pool ffb_cpu_pool_of(const struct ffb_device *device, const struct ffb_tensor *x,
                                    const struct ffb_window *window) {
  return (struct ffb_cpu_pool){.kernels = device->kernels->depthwise,
                               .window = *window,
                               .height = x->shape[1],
                               .width = x->shape[2],
                               .rows = output_side(x->shape[1], window),
                               .columns = output_side(x->shape[2], window),
                               .channels = x->shape[3]};
}

/* Taps of a window that starts at `start` and lie on 0 .. lines-1. */
static struct ffb_cpu_span taps_inside(int64_t start, int64_t kernel, int64_t lines) {
  return (struct ffb_cpu_span){start < 0 ? -start : 0, start + kernel > lines ? lines - start : kernel};
}

void ffb_cpu_pool_pixel(const struct ffb_cpu_pool *pool, float *y, uint8_t *argmax, const float *image, int64_t row,
                        int64_t column) {
  const int64_t kernel = pool->window.kernel;
  const int64_t top = row * pool->window.stride - pool->window.padding;
  const int64_t left = column * pool->window.stride - pool->window.padding;
  const struct ffb_cpu_span down = taps_inside(top, kernel, pool->height);
  const struct ffb_cpu_span across = taps_inside(left, kernel, pool->width);
  const struct ffb_cpu_taps taps = {.rows = down.end - down.begin,
                                    .columns = across.end - across.begin,
                                    .row_step = pool->width * pool->channels,
                                    .first = (int)(down.begin * kernel + across.begin),
                                    .row_tap = (int)kernel,
                                    .column_tap = 1};
  pool->kernels->keep_largest(y, argmax,
                              image + ((top + down.begin) * pool->width + left + across.begin) * pool->channels,
                              pool->channels, &taps);
}

bool ffb_cpu_max_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_max_pool *a = &arguments->max_pool;
  const struct ffb_cpu_pool pool = ffb_cpu_pool_of(device, a->x, &a->window);
  if (a->window.kernel > FFB_CPU_POOL_KERNEL || a->window.padding >= a->window.kernel)
    return ffb_reference_max_pool(device, arguments);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->x)))
  {
    struct ffb_cpu_span rows = my_share(ffb_rows(a->y) * pool.rows);
    for (int64_t at = rows.begin * pool.columns; at < rows.end * pool.columns; at++) {
      int64_t image = at / pool.columns / pool.rows;
      ffb_cpu_pool_pixel(&pool, (float *)a->y->data + at * pool.channels,
                         a->argmax ? (uint8_t *)a->argmax->data + at * pool.channels : NULL,
                         (const float *)a->x->data + image * pool.height * pool.width * pool.channels,
                         at / pool.columns % pool.rows, at % pool.columns);
    }
  }
  return true;
}

/* Windows along one side that reach a line. */
static struct ffb_cpu_span windows_over(const struct ffb_window *window, int64_t line, int64_t windows) {
  int64_t below = line + window->padding, first = below - window->kernel + window->stride;
  int64_t end = below / window->stride + 1;
  return (struct ffb_cpu_span){first < 0 ? 0 : first / window->stride, end < windows ? end : windows};
}

void ffb_cpu_unpool_pixel(const struct ffb_cpu_pool *pool, float *gx, const float *gy, const uint8_t *argmax, int64_t h,
                          int64_t w) {
  const struct ffb_window *window = &pool->window;
  const struct ffb_cpu_span down = windows_over(window, h, pool->rows), across = windows_over(window, w, pool->columns);
  const int64_t i = h + window->padding - down.begin * window->stride;
  const int64_t j = w + window->padding - across.begin * window->stride;
  const int64_t at = (down.begin * pool->columns + across.begin) * pool->channels;
  const struct ffb_cpu_taps taps = {.rows = down.end - down.begin,
                                    .columns = across.end - across.begin,
                                    .row_step = pool->columns * pool->channels,
                                    .first = (int)(i * window->kernel + j),
                                    .row_tap = -window->stride * window->kernel,
                                    .column_tap = -window->stride};
  pool->kernels->add_kept(gx, gy + at, argmax + at, pool->channels, &taps);
}

bool ffb_cpu_max_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_max_pool_gradient *a = &arguments->max_pool_gradient;
  const struct ffb_cpu_pool pool = ffb_cpu_pool_of(device, a->gx, &a->window);
  if (a->window.kernel > FFB_CPU_POOL_KERNEL || a->window.padding >= a->window.kernel)
    return ffb_reference_max_pool_gradient(device, arguments);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->gx)))
  {
    struct ffb_cpu_span rows = my_share(ffb_rows(a->gx) * pool.height);
    for (int64_t at = rows.begin * pool.width; at < rows.end * pool.width; at++) {
      int64_t image = at / pool.width / pool.height * pool.rows * pool.columns * pool.channels;
      ffb_cpu_unpool_pixel(&pool, (float *)a->gx->data + at * pool.channels, (const float *)a->gy->data + image,
                           (const uint8_t *)a->argmax->data + image, at / pool.width % pool.height, at % pool.width);
    }
  }
  return true;
}

/* ---- mean, and scaling ----------------------------------------------------------------------------------------- */

/* Images x[rows][pixels][channels], as they lie beside [rows][channels]. */
struct images {
  int64_t rows, pixels, channels, elements;
};

static struct images images_of(const struct ffb_tensor *x) {
  int64_t channels = ffb_channels(x);
  return (struct images){ffb_rows(x), ffb_columns(x) / channels, channels, ffb_columns(x)};
}

bool ffb_cpu_average_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_average_pool *a = &arguments->average_pool;
  const struct images images = images_of(a->x);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->x)))
  {
    struct ffb_cpu_span share = my_share(images.rows);
    for (int64_t m = share.begin; m < share.end; m++)
      device->kernels->depthwise->average_pixels((float *)a->y->data + m * images.channels,
                                                 (const float *)a->x->data + m * images.elements, images.channels,
                                                 images.pixels);
  }
  return true;
}

bool ffb_cpu_average_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_average_pool_gradient *a = &arguments->average_pool_gradient;
  const struct images images = images_of(a->gx);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->gx)))
  {
    struct ffb_cpu_span share = my_share(images.rows);
    for (int64_t m = share.begin; m < share.end; m++)
      device->kernels->depthwise->average_gradient((float *)a->gx->data + m * images.elements,
                                                   (const float *)a->gy->data + m * images.channels, images.channels,
                                                   images.pixels, a->accumulate);
  }
  return true;
}

bool ffb_cpu_scale_channels(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_scale_channels *a = &arguments->scale_channels;
  const struct images images = images_of(a->x);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->x)))
  {
    struct ffb_cpu_span share = my_share(images.rows);
    for (int64_t m = share.begin; m < share.end; m++)
      device->kernels->depthwise->multiply_pixels(
          (float *)a->y->data + m * images.elements, (const float *)a->x->data + m * images.elements,
          (const float *)a->scale->data + m * images.channels, images.channels, images.pixels);
  }
  return true;
}

bool ffb_cpu_scale_channels_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_scale_channels_gradient *a = &arguments->scale_channels_gradient;
  const struct images images = images_of(a->x);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(a->x)))
  {
    struct ffb_cpu_span share = my_share(images.rows);
    for (int64_t m = share.begin; m < share.end; m++)
      device->kernels->depthwise->multiply_gradient(
          (float *)a->gx->data + m * images.elements, (float *)a->gscale->data + m * images.channels,
          (const float *)a->gy->data + m * images.elements, (const float *)a->x->data + m * images.elements,
          (const float *)a->scale->data + m * images.channels, images.channels, images.pixels);
  }
  return true;
}
