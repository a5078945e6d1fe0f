/* Batch normalisation. */
#include "backends/reference/activation.h"
#include "backends/reference/reference.h"

#include <math.h>
#include <string.h>

enum { PARTS = 4 };

static double parts_total(const float part[PARTS]) {
  return (double)((part[0] + part[1]) + (part[2] + part[3]));
}

/* S1 and S2 of a channel whose pixels lie `stride` elements apart. */
static void shifted_sums(const float *x, int64_t pixels, int64_t stride, double *first, double *second) {
  float k = x[0];
  *first = *second = 0;
  for (int64_t start = 0; start < pixels; start += FFB_PIXEL_BLOCK) {
    int64_t end = pixels - start < FFB_PIXEL_BLOCK ? pixels : start + FFB_PIXEL_BLOCK;
    float sum[PARTS] = {0}, square[PARTS] = {0};
    for (int64_t p = start; p < end; p++) {
      float difference = x[p * stride] - k;
      sum[p % PARTS] += difference;
      square[p % PARTS] += difference * difference;
    }
    *first += parts_total(sum);
    *second += parts_total(square);
  }
}

static void move_running(const struct ffb_tensor *running, int64_t c, float momentum, double value) {
  if (!running)
    return;
  float *r = (float *)running->data + c;
  *r = (1 - momentum) * *r + momentum * (float)value;
}

static void find_extremes(const struct ffb_tensor *extremes, const float *x, int64_t pixels, int64_t channels,
                          int64_t c) {
  float *lowest = (float *)extremes->data + c, *highest = lowest + channels;
  *lowest = *highest = *x;
  for (int64_t p = 1; p < pixels; p++) {
    float value = x[p * channels];
    *lowest = value < *lowest ? value : *lowest;
    *highest = value > *highest ? value : *highest;
  }
}

bool ffb_reference_batch_statistics(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_batch_statistics *batch = &arguments->batch_statistics;
  int64_t channels = ffb_elements(batch->mean), pixels = batch->x ? ffb_elements(batch->x) / channels : 0;
  for (int64_t c = 0; c < channels; c++) {
    double mean = 0, variance = 0, n = (double)pixels;
    if (batch->x) {
      const float *x = (const float *)batch->x->data + c;
      double first = 0, second = 0;
      shifted_sums(x, pixels, channels, &first, &second);
      mean = (double)*x + first / n;
      variance = (second - first * first / n) / n;
      variance = variance < 0 ? 0 : variance;
      if (batch->extremes)
        find_extremes(batch->extremes, x, pixels, channels, c);
      move_running(batch->running_mean, c, batch->momentum, mean);
      /* One pixel has no spread to estimate; its variance is 0. */
      move_running(batch->running_variance, c, batch->momentum, pixels > 1 ? variance * n / (n - 1) : variance);
    } else {
      mean = (double)((const float *)batch->running_mean->data)[c];
      variance = (double)((const float *)batch->running_variance->data)[c];
    }
    ((float *)batch->mean->data)[c] = (float)mean;
    ((float *)batch->inverse->data)[c] = (float)(1 / sqrt(variance + (double)batch->epsilon));
  }
  return true;
}

bool ffb_reference_batch_normalise(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_batch_normalise *batch = &arguments->batch_normalise;
  const float *x = batch->x->data, *mean = batch->mean->data, *inverse = batch->inverse->data;
  const float *gamma = batch->gamma->data, *beta = batch->beta->data;
  const float *shortcut = batch->shortcut ? batch->shortcut->data : NULL;
  float *y = batch->y->data;
  uint8_t *mask = batch->mask ? batch->mask->data : NULL;
  int64_t n = ffb_elements(batch->x), channels = ffb_channels(batch->x);
  if (mask)
    memset(mask, 0, (size_t)ffb_elements(batch->mask));
  for (int64_t i = 0; i < n; i++) {
    int64_t c = i % channels;
    float z = (x[i] - mean[c]) * (inverse[c] * gamma[c]) + beta[c];
    if (shortcut)
      z += shortcut[i];
    if (mask && ffb_activation_passes(batch->activation, z))
      mask[i / 8] |= (uint8_t)(1 << i % 8);
    y[i] = ffb_activation(batch->activation, z);
  }
  return true;
}

/* One channel of a batch normalisation's gradient. */
struct channel {
  float mean, inverse, gamma, beta;
  enum ffb_activation activation;
};

static struct channel channel_of(const struct ffb_batch_normalise_gradient *batch, int64_t c) {
  return (struct channel){.mean = ((const float *)batch->mean->data)[c],
                          .inverse = ((const float *)batch->inverse->data)[c],
                          .gamma = ((const float *)batch->gamma->data)[c],
                          .beta = ((const float *)batch->beta->data)[c],
                          .activation = batch->activation};
}

/* Gradient before the activation. */
static float inner_gradient(const struct channel *channel, float x, float gy) {
  float z = (x - channel->mean) * (channel->inverse * channel->gamma) + channel->beta;
  float v = channel->activation == FFB_ACTIVATION_SIGMOID ? ffb_activation(channel->activation, z) : z;
  return ffb_activation_gradient(channel->activation, gy, v);
}

static void gradient_sums(const struct channel *channel, const float *x, const float *gy, int64_t pixels,
                          int64_t stride, float *ggamma, float *gbeta) {
  double first = 0, second = 0;
  for (int64_t start = 0; start < pixels; start += FFB_PIXEL_BLOCK) {
    int64_t end = pixels - start < FFB_PIXEL_BLOCK ? pixels : start + FFB_PIXEL_BLOCK;
    float sum[PARTS] = {0}, along[PARTS] = {0};
    for (int64_t p = start; p < end; p++) {
      float g = inner_gradient(channel, x[p * stride], gy[p * stride]);
      float h = (x[p * stride] - channel->mean) * channel->inverse;
      sum[p % PARTS] += g;
      along[p % PARTS] += g * h;
    }
    first += parts_total(sum);
    second += parts_total(along);
  }
  *gbeta = (float)first;
  *ggamma = (float)second;
}

bool ffb_reference_batch_normalise_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_batch_normalise_gradient *batch = &arguments->batch_normalise_gradient;
  int64_t channels = ffb_channels(batch->x), pixels = ffb_pixels(batch->x);
  for (int64_t c = 0; c < channels; c++) {
    struct channel channel = channel_of(batch, c);
    const float *x = (const float *)batch->x->data + c, *gy = (const float *)batch->gy->data + c;
    float *gx = (float *)batch->gx->data + c, ggamma = 0, gbeta = 0;
    gradient_sums(&channel, x, gy, pixels, channels, &ggamma, &gbeta);
    ((float *)batch->ggamma->data)[c] = ggamma;
    ((float *)batch->gbeta->data)[c] = gbeta;
    float mean_g = gbeta / (float)pixels, mean_gh = ggamma / (float)pixels;
    for (int64_t i = 0; i < pixels * channels; i += channels) {
      float g = inner_gradient(&channel, x[i], gy[i]), h = (x[i] - channel.mean) * channel.inverse;
      gx[i] = (channel.inverse * channel.gamma) * ((g - mean_g) - h * mean_gh);
    }
  }
  return true;
}
