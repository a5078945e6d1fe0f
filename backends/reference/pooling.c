/* Pooling, and scaling by channel. */
#include "backends/reference/reference.h"

#include <math.h>
#include <string.h>

/* First element of the pixel under a tap of output pixel (m, p, q); -1 on padding. */
static int64_t element_under(const struct ffb_tensor *x, const struct ffb_window *window, int64_t m, int64_t p,
                             int64_t q, int tap) {
  int64_t h = p * window->stride + tap / window->kernel - window->padding;
  int64_t w = q * window->stride + tap % window->kernel - window->padding;
  if (h < 0 || h >= x->shape[1] || w < 0 || w >= x->shape[2])
    return -1;
  return ((m * x->shape[1] + h) * x->shape[2] + w) * x->shape[3];
}

bool ffb_reference_max_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_max_pool *pool = &arguments->max_pool;
  const float *x = pool->x->data;
  float *y = pool->y->data;
  uint8_t *argmax = pool->argmax ? pool->argmax->data : NULL;
  const int64_t *out = pool->y->shape;
  int taps = pool->window.kernel * pool->window.kernel;
  for (int64_t i = 0; i < ffb_elements(pool->y); i++) {
    int64_t c = i % out[3], q = i / out[3] % out[2], p = i / out[3] / out[2] % out[1], m = i / ffb_columns(pool->y);
    float largest = -INFINITY;
    int best = -1;
    for (int tap = 0; tap < taps; tap++) {
      int64_t at = element_under(pool->x, &pool->window, m, p, q, tap);
      if (at < 0)
        continue;
      float value = x[at + c];
      if (best < 0 || value > largest || (isnan(value) && !isnan(largest))) {
        largest = value;
        best = tap;
      }
    }
    y[i] = largest;
    if (argmax)
      argmax[i] = (uint8_t)best;
  }
  return true;
}

bool ffb_reference_max_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_max_pool_gradient *pool = &arguments->max_pool_gradient;
  float *gx = pool->gx->data;
  const float *gy = pool->gy->data;
  const uint8_t *argmax = pool->argmax->data;
  const int64_t *out = pool->gy->shape;
  memset(gx, 0, (size_t)ffb_elements(pool->gx) * sizeof *gx);
  for (int64_t i = 0; i < ffb_elements(pool->gy); i++) {
    int64_t c = i % out[3], q = i / out[3] % out[2], p = i / out[3] / out[2] % out[1], m = i / ffb_columns(pool->gy);
    gx[element_under(pool->gx, &pool->window, m, p, q, argmax[i]) + c] += gy[i];
  }
  return true;
}

bool ffb_reference_average_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_average_pool *pool = &arguments->average_pool;
  const float *x = pool->x->data;
  float *y = pool->y->data;
  int64_t rows = ffb_rows(pool->x), channels = ffb_channels(pool->x), pixels = ffb_columns(pool->x) / channels;
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t c = 0; c < channels; c++) {
      float sum = 0;
      for (int64_t p = 0; p < pixels; p++)
        sum += x[(m * pixels + p) * channels + c];
      y[m * channels + c] = sum / (float)pixels;
    }
  }
  return true;
}

bool ffb_reference_average_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_average_pool_gradient *pool = &arguments->average_pool_gradient;
  float *gx = pool->gx->data;
  const float *gy = pool->gy->data;
  int64_t columns = ffb_columns(pool->gx), channels = ffb_channels(pool->gx), pixels = columns / channels;
  for (int64_t i = 0; i < ffb_elements(pool->gx); i++) {
    float value = gy[i / columns * channels + i % channels] / (float)pixels;
    gx[i] = pool->accumulate ? gx[i] + value : value;
  }
  return true;
}

bool ffb_reference_scale_channels(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_scale_channels *a = &arguments->scale_channels;
  float *y = a->y->data;
  const float *x = a->x->data, *scale = a->scale->data;
  int64_t columns = ffb_columns(a->x), channels = ffb_channels(a->x);
  for (int64_t i = 0; i < ffb_elements(a->x); i++)
    y[i] = x[i] * scale[i / columns * channels + i % channels];
  return true;
}

bool ffb_reference_scale_channels_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_scale_channels_gradient *a = &arguments->scale_channels_gradient;
  float *gx = a->gx->data, *gscale = a->gscale->data;
  const float *gy = a->gy->data, *x = a->x->data, *scale = a->scale->data;
  int64_t rows = ffb_rows(a->x), channels = ffb_channels(a->x), columns = ffb_columns(a->x);
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t c = 0; c < channels; c++) {
      float sum = 0;
      for (int64_t i = m * columns + c; i < (m + 1) * columns; i += channels) {
        sum += gy[i] * x[i];
        gx[i] = gy[i] * scale[m * channels + c];
      }
      gscale[m * channels + c] = sum;
    }
  }
  return true;
}
