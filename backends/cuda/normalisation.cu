/* Batch normalisation and its gradient; both also quantised in one. */
#include "backends/cuda/normalisation.cuh"
#include "backends/cuda/sources.cuh"
#include "backends/cuda/statistics.cuh"

namespace {

/* ---- statistics ----------------------------------------------------------------------------------------------- */

struct shifted {
  const float *x;
  typedef float channel; /* k, the first pixel's value */
  __device__ float at(int64_t c) const {
    return x[c];
  }
  __device__ void terms(float k, int64_t i, float *first, float *second, float *value) const {
    float difference = x[i] - k;
    *value = x[i];
    *first = difference;
    *second = difference * difference;
  }
};

struct finish_statistics {
  float *mean, *inverse, *running_mean, *running_variance, *extremes;
  const float *x;
  int64_t pixels, channels;
  float momentum, epsilon;

  __device__ void move(float *running, int64_t c, double value) const {
    if (running)
      running[c] = (1 - momentum) * running[c] + momentum * (float)value;
  }
  __device__ void put(int64_t c, double center, double variance) const {
    mean[c] = (float)center;
    inverse[c] = (float)(1 / sqrt(variance + (double)epsilon));
  }
  __device__ void finish(int64_t c, const struct ffb_block_sums &sums) const {
    double n = (double)pixels, center = (double)x[c] + sums.first / n;
    double variance = (sums.second - sums.first * sums.first / n) / n;
    variance = variance < 0 ? 0 : variance;
    if (extremes) {
      /* Where the first pixel is a NaN, so are both. */
      extremes[c] = isnan(x[c]) ? x[c] : sums.lowest;
      extremes[channels + c] = isnan(x[c]) ? x[c] : sums.highest;
    }
    move(running_mean, c, center);
    /* One pixel has no spread to estimate; its variance is 0. */
    move(running_variance, c, pixels > 1 ? variance * n / (n - 1) : variance);
    put(c, center, variance);
  }
};

__global__ void statistics_of_evaluation(struct finish_statistics to, int64_t channels) {
  int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (c < channels)
    to.put(c, (double)to.running_mean[c], (double)to.running_variance[c]);
}

/* ---- forwards ------------------------------------------------------------------------------------------------- */

/* What BATCH_NORMALISE gives, by eight elements: as many as a byte of its mask, and a block of draws. */
struct normalised {
  const float *x, *shortcut;
  uint8_t *mask;
  struct ffb_channels channels;
  struct ffb_divider by;
  int64_t n;
  enum ffb_activation activation;
  bool vector; /* every eight lie in one pixel, and all of it is aligned */

  __device__ __forceinline__ void values(float (&v)[FFB_DRAWS], int64_t i) const {
    float added[FFB_DRAWS] = {};
    struct ffb_channel channel[FFB_DRAWS];
    int64_t c = by.remainder(i);
    unsigned passes = 0;
    ffb_load_draws(v, x, i, n, vector);
    if (shortcut)
      ffb_load_draws(added, shortcut, i, n, vector);
    if (vector) {
      ffb_channels_at<FFB_DRAWS, true>(channel, channels, c);
    } else {
#pragma unroll
      for (int k = 0; k < FFB_DRAWS; k++) {
        channel[k] = ffb_channel_at(channels, c);
        c = c + 1 == by.divisor ? 0 : c + 1;
      }
    }
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++) {
      float z = ffb_normalised(channel[k], v[k]);
      if (shortcut)
        z += added[k];
      passes |= (unsigned)(i + k < n && ffb_activation_passes(activation, z)) << k;
      v[k] = ffb_activation(activation, z);
    }
    if (mask)
      mask[i / FFB_DRAWS] = (uint8_t)passes;
  }
};

normalised normalised_of(const struct ffb_batch_normalise *call) {
  normalised source = {ffb_data<float>(call->x),
                       ffb_data<float>(call->shortcut),
                       ffb_data<uint8_t>(call->mask),
                       {ffb_data<float>(call->mean), ffb_data<float>(call->inverse), ffb_data<float>(call->gamma),
                        ffb_data<float>(call->beta)},
                       ffb_divide_by(ffb_channels(call->x)),
                       ffb_elements(call->x),
                       call->activation,
                       false};
  source.vector = source.by.divisor % FFB_DRAWS == 0 && ffb_aligned({source.x, source.shortcut}, 16) &&
                  ffb_channels_aligned(source.channels);
  return source;
}

/* ---- backwards ------------------------------------------------------------------------------------------------ */

struct inner {
  const float *x, *gy;
  struct ffb_channels channels;
  enum ffb_activation activation;
  typedef struct ffb_channel channel;
  __device__ struct ffb_channel at(int64_t c) const {
    return ffb_channel_at(channels, c);
  }
  __device__ void terms(const struct ffb_channel &with, int64_t i, float *first, float *second, float *value) const {
    float g = ffb_inner_gradient(with, activation, x[i], gy[i]), h = (x[i] - with.mean) * with.inverse;
    *value = 0;
    *first = g;
    *second = g * h;
  }
};

struct finish_gradient {
  float *ggamma, *gbeta;
  __device__ void finish(int64_t c, const struct ffb_block_sums &sums) const {
    gbeta[c] = (float)sums.first;
    ggamma[c] = (float)sums.second;
  }
};

/* gx, from the sums. */
struct outer_gradient {
  inner source;
  const float *ggamma, *gbeta;
  struct ffb_divider by;
  int64_t n;
  float pixels;
  bool vector;

  __device__ __forceinline__ float value(const struct ffb_channel &with, float x, float gy, float gbeta_c,
                                         float ggamma_c) const {
    float g = ffb_inner_gradient(with, source.activation, x, gy), h = (x - with.mean) * with.inverse;
    return with.scale * ((g - gbeta_c / pixels) - h * (ggamma_c / pixels));
  }

  __device__ __forceinline__ void values(float (&v)[FFB_DRAWS], int64_t i) const {
    float gradient[FFB_DRAWS], beta[FFB_DRAWS], gamma[FFB_DRAWS];
    struct ffb_channel channel[FFB_DRAWS];
    int64_t c = by.remainder(i);
    ffb_load_draws(v, source.x, i, n, vector);
    ffb_load_draws(gradient, source.gy, i, n, vector);
    if (vector) {
      ffb_channels_at<FFB_DRAWS, true>(channel, source.channels, c);
      ffb_load<FFB_DRAWS, true>(beta, gbeta + c);
      ffb_load<FFB_DRAWS, true>(gamma, ggamma + c);
    } else {
#pragma unroll
      for (int k = 0; k < FFB_DRAWS; k++) {
        channel[k] = ffb_channel_at(source.channels, c);
        beta[k] = gbeta[c];
        gamma[k] = ggamma[c];
        c = c + 1 == by.divisor ? 0 : c + 1;
      }
    }
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++)
      v[k] = value(channel[k], v[k], gradient[k], beta[k], gamma[k]);
  }
};

inner inner_of(const struct ffb_batch_normalise_gradient *call) {
  return {ffb_data<float>(call->x),
          ffb_data<float>(call->gy),
          {ffb_data<float>(call->mean), ffb_data<float>(call->inverse), ffb_data<float>(call->gamma),
           ffb_data<float>(call->beta)},
          call->activation};
}

outer_gradient outer_of(const struct ffb_batch_normalise_gradient *call) {
  outer_gradient source = {inner_of(call),
                           ffb_data<float>(call->ggamma),
                           ffb_data<float>(call->gbeta),
                           ffb_divide_by(ffb_channels(call->x)),
                           ffb_elements(call->x),
                           (float)ffb_pixels(call->x),
                           false};
  source.vector = source.by.divisor % FFB_DRAWS == 0 &&
                  ffb_aligned({source.source.x, source.source.gy, source.ggamma, source.gbeta}, 16) &&
                  ffb_channels_aligned(source.source.channels);
  return source;
}

bool sum_gradient(struct ffb_device *device, const struct ffb_batch_normalise_gradient *call) {
  finish_gradient finish = {ffb_data<float>(call->ggamma), ffb_data<float>(call->gbeta)};
  return ffb_sum_pixels(device, "batch_normalise_gradient", ffb_pixels(call->x), ffb_channels(call->x), inner_of(call),
                        finish);
}

/* ---- the range ------------------------------------------------------------------------------------------------ */

/* The largest magnitude that a channel's lowest or highest value becomes. */
__device__ __forceinline__ uint32_t extreme_of(const normalised &source, const float *extremes, int64_t c) {
  struct ffb_channel channel = ffb_channel_at(source.channels, c);
  uint32_t low = ffb_magnitude(ffb_activation(source.activation, ffb_normalised(channel, extremes[c])));
  float highest = extremes[source.by.divisor + c];
  uint32_t high = ffb_magnitude(ffb_activation(source.activation, ffb_normalised(channel, highest)));
  return low > high ? low : high;
}

__device__ __forceinline__ uint32_t largest_extreme(const normalised &source, const float *extremes) {
  uint32_t largest = 0;
  for (int64_t c = threadIdx.x; c < source.by.divisor; c += FFB_RANGE_THREADS) {
    uint32_t size = extreme_of(source, extremes, c);
    largest = size > largest ? size : largest;
  }
  return ffb_block_largest(largest);
}

/* Where every step from x to y keeps the order of values, the extremes tell the range: each block finds it for itself,
 * sooner than a launch that did would be over. */
__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    quantise_by_extremes(normalised source, const float *extremes, struct ffb_scale_rule rule, int8_t *q, bool vector,
                         struct ffb_rounder rounder) {
  float largest = __uint_as_float(largest_extreme(source, extremes));
  ffb_quantise_eight(source, q, vector, rule.scale_of(largest), rounder);
  if (blockIdx.x == 0 && threadIdx.x == 0)
    rule.apply(largest);
}

bool launch_by_extremes(struct ffb_device *device, const normalised &source, const float *extremes,
                        const struct ffb_scale_rule &rule, const struct ffb_suq_quantise *suq) {
  return FFB_LAUNCH(device, ffb_source_blocks(source.n), FFB_RANGE_THREADS, quantise_by_extremes, source, extremes,
                    rule, ffb_data<int8_t>(suq->q), ffb_aligned({suq->q->data}, FFB_DRAWS), ffb_rounder_of(suq));
}

/* SiLU keeps the order above 0, but for its rounding, and is larger than 0.3 nowhere below: channels whose extremes
 * come close to the largest are looked through, or all of x where that is too small. */
struct suspects {
  uint32_t largest;
  bool all;
  unsigned count; /* of the channels that are named behind this */
};

__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    suspect_channels(normalised source, const float *extremes, suspects *found, int32_t *named) {
  uint32_t largest = largest_extreme(source, extremes);
  float most = __uint_as_float(largest);
  if (threadIdx.x == 0)
    *found = {largest, !(most >= 0.3f && most < INFINITY), 0};
  __syncthreads();
  for (int64_t c = threadIdx.x; c < source.by.divisor; c += FFB_RANGE_THREADS) {
    if (!(__uint_as_float(extreme_of(source, extremes, c)) < most * 0.9999f))
      named[atomicAdd(&found->count, 1u)] = (int32_t)c;
  }
}

__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    look_through(normalised source, const suspects *found, const int32_t *named, struct ffb_scale_rule rule,
                 uint32_t *of_block) {
  int64_t stride = (int64_t)gridDim.x * FFB_RANGE_THREADS, at = (int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x;
  uint32_t largest = found->largest;
  for (int64_t i = at * FFB_DRAWS; found->all && i < source.n; i += stride * FFB_DRAWS) {
    float v[FFB_DRAWS];
    source.values(v, i);
    uint32_t size = ffb_largest_of(v, i, source.n);
    largest = size > largest ? size : largest;
  }
  for (unsigned k = 0; !found->all && k < found->count; k++) {
    int64_t c = named[k], channels = source.by.divisor;
    struct ffb_channel channel = ffb_channel_at(source.channels, c);
    for (int64_t i = at * channels + c; i < source.n; i += stride * channels) {
      uint32_t size = ffb_magnitude(ffb_activation(source.activation, ffb_normalised(channel, source.x[i])));
      largest = size > largest ? size : largest;
    }
  }
  if (ffb_grid_largest(&largest, of_block, &ffb_source_tickets) && threadIdx.x == 0)
    rule.apply(__uint_as_float(largest));
}

bool launch_look_through(struct ffb_device *device, const normalised &source, const float *extremes,
                         const struct ffb_scale_rule &rule) {
  const unsigned most = 512;
  enum { FOUND_BYTES = 256 };
  static_assert(sizeof(suspects) <= FOUND_BYTES, "the channels that are named come behind it");
  char *scratch = static_cast<char *>(device->scratch);
  suspects *found = reinterpret_cast<suspects *>(scratch);
  int32_t *named = reinterpret_cast<int32_t *>(scratch + FOUND_BYTES);
  uint32_t *of_block = reinterpret_cast<uint32_t *>(named + source.by.divisor);
  unsigned blocks = ffb_source_blocks(source.n);
  return ffb_cuda_fits(device, (char *)(of_block + most) - scratch, "batch_normalise_s8") &&
         FFB_LAUNCH(device, 1, FFB_RANGE_THREADS, suspect_channels, source, extremes, found, named) &&
         FFB_LAUNCH(device, blocks < most ? blocks : most, FFB_RANGE_THREADS, look_through, source, found, named, rule,
                    of_block);
}

/* How the extremes help: NOT where something is added to the normalised values, or where few pixels are quickly read.
 */
enum extremes_use { NOT, ALONE, ALMOST };

enum extremes_use use_of(const struct ffb_batch_normalise_s8 *call) {
  enum { WORTHWHILE = 256 };
  if (!call->extremes || call->normalise.shortcut || call->scale.range != FFB_RANGE_ABSMAX)
    return NOT;
  switch (call->normalise.activation) {
  case FFB_ACTIVATION_NONE:
  case FFB_ACTIVATION_RELU:
  case FFB_ACTIVATION_RELU6:
    return ALONE;
  case FFB_ACTIVATION_SILU:
    return ffb_pixels(call->normalise.x) >= WORTHWHILE ? ALMOST : NOT;
  case FFB_ACTIVATION_SIGMOID:
    break;
  }
  return NOT;
}

} // namespace

bool ffb_cuda_batch_statistics(struct ffb_device *device, const union ffb_arguments *arguments) {
  enum { THREADS = 128 };
  const struct ffb_batch_statistics *call = &arguments->batch_statistics;
  int64_t channels = ffb_elements(call->mean);
  finish_statistics finish = {ffb_data<float>(call->mean),
                              ffb_data<float>(call->inverse),
                              ffb_data<float>(call->running_mean),
                              ffb_data<float>(call->running_variance),
                              ffb_data<float>(call->extremes),
                              ffb_data<float>(call->x),
                              call->x ? ffb_elements(call->x) / channels : 0,
                              channels,
                              call->momentum,
                              call->epsilon};
  if (!call->x)
    return FFB_LAUNCH(device, ffb_cuda_blocks(channels, THREADS), THREADS, statistics_of_evaluation, finish, channels);
  return ffb_sum_pixels(device, "batch_statistics", finish.pixels, channels, shifted{finish.x}, finish);
}

bool ffb_cuda_batch_normalise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise *call = &arguments->batch_normalise;
  return ffb_launch_store(device, "batch_normalise", normalised_of(call), ffb_data<float>(call->y));
}

bool ffb_cuda_batch_normalise_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_gradient *call = &arguments->batch_normalise_gradient;
  return sum_gradient(device, call) &&
         ffb_launch_store(device, "batch_normalise_gradient", outer_of(call), ffb_data<float>(call->gx));
}

bool ffb_cuda_batch_normalise_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_s8 *call = &arguments->batch_normalise_s8;
  const float *extremes = ffb_data<float>(call->extremes);
  normalised source = normalised_of(&call->normalise);
  struct ffb_scale_rule rule = ffb_scale_rule_of(&call->scale);
  bool scaled = false;
  if (use_of(call) == ALONE)
    return launch_by_extremes(device, source, extremes, rule, &call->quantise);
  if (use_of(call) == ALMOST)
    scaled = launch_look_through(device, source, extremes, rule);
  else if (call->scale.range == FFB_RANGE_ABSMAX)
    scaled =
        ffb_launch_scale(device, "batch_normalise_s8", source, nullptr, rule, static_cast<uint32_t *>(device->scratch));
  else
    scaled = ffb_launch_given_scale(device, rule);
  return scaled && ffb_launch_quantise(device, "batch_normalise_s8", source, &call->quantise);
}

bool ffb_cuda_batch_normalise_gradient_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_batch_normalise_gradient_s8 *call = &arguments->batch_normalise_gradient_s8;
  outer_gradient source = outer_of(&call->gradient);
  float *gx = ffb_data<float>(call->gradient.gx);
  if (!sum_gradient(device, &call->gradient))
    return false;
  if (call->scale.range != FFB_RANGE_ABSMAX)
    return ffb_launch_given_scale(device, ffb_scale_rule_of(&call->scale)) &&
           ffb_launch_quantise(device, "batch_normalise_gradient_s8", source, &call->quantise);
  return ffb_launch_scale(device, "batch_normalise_gradient_s8", source, gx, ffb_scale_rule_of(&call->scale),
                          static_cast<uint32_t *>(device->scratch)) &&
         ffb_launch_quantise(device, "batch_normalise_gradient_s8", ffb_stored{gx, source.n, ffb_aligned({gx}, 16)},
                             &call->quantise);
}
