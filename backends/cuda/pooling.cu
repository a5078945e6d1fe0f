/* Pooling, and scaling by channel. */
#include "backends/cuda/each.cuh"
#include "backends/cuda/ordered.cuh"

namespace {

/* ---- maxima --------------------------------------------------------------------------------------------------- */

/* An element's place in an image tensor. */
struct place {
  int64_t m, h, w, c;
};

struct places {
  struct ffb_divider height, width, channels;
  __device__ __forceinline__ place of(int64_t i) const {
    int64_t pixel = channels.quotient(i), row = width.quotient(pixel), m = height.quotient(row);
    return {m, row - m * height.divisor, pixel - row * width.divisor, i - pixel * channels.divisor};
  }
  __device__ __forceinline__ int64_t at(int64_t m, int64_t h, int64_t w, int64_t c) const {
    return ((m * height.divisor + h) * width.divisor + w) * channels.divisor + c;
  }
};

places places_of(const struct ffb_tensor *x) {
  return {ffb_divide_by(x->shape[1]), ffb_divide_by(x->shape[2]), ffb_divide_by(x->shape[3])};
}

struct max_pool {
  float *y;
  uint8_t *argmax;
  const float *x;
  places out, in;
  struct ffb_window window;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    place at = out.of(i);
    float largest = -INFINITY;
    int best = -1;
    for (int tap_h = 0; tap_h < window.kernel; tap_h++) {
      int64_t h = at.h * window.stride + tap_h - window.padding;
      for (int tap_w = 0; tap_w < window.kernel; tap_w++) {
        int64_t w = at.w * window.stride + tap_w - window.padding;
        if (h < 0 || h >= in.height.divisor || w < 0 || w >= in.width.divisor)
          continue;
        float value = x[in.at(at.m, h, w, at.c)];
        if (best < 0 || value > largest || (isnan(value) && !isnan(largest))) {
          largest = value;
          best = tap_h * window.kernel + tap_w;
        }
      }
    }
    y[i] = largest;
    if (argmax)
      argmax[i] = (uint8_t)best;
  }
};

/* An input pixel gathers from the windows that reach it, in their order. */
struct max_pool_gradient {
  float *gx;
  const float *gy;
  const uint8_t *argmax;
  places out, in;
  struct ffb_window window;

  __device__ __forceinline__ int64_t first(int64_t h) const {
    int64_t from = h + window.padding - window.kernel + 1;
    return from <= 0 ? 0 : (from + window.stride - 1) / window.stride;
  }
  __device__ __forceinline__ int64_t last(int64_t h, int64_t size) const {
    int64_t p = (h + window.padding) / window.stride;
    return p < size ? p : size - 1;
  }
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    place at = in.of(i);
    float sum = 0;
    for (int64_t p = first(at.h); p <= last(at.h, out.height.divisor); p++) {
      for (int64_t q = first(at.w); q <= last(at.w, out.width.divisor); q++) {
        int64_t from = out.at(at.m, p, q, at.c);
        int64_t tap =
            (at.h + window.padding - p * window.stride) * window.kernel + at.w + window.padding - q * window.stride;
        if (argmax[from] == tap)
          sum += gy[from];
      }
    }
    gx[i] = sum;
  }
};

/* ---- means and scales ----------------------------------------------------------------------------------------- */

struct pixel_value {
  const float *x;
  int64_t channels;
  __device__ float operator()(int64_t p, int64_t c) const {
    return x[p * channels + c];
  }
};

struct pixel_product {
  const float *a, *b;
  int64_t channels;
  __device__ float operator()(int64_t p, int64_t c) const {
    return a[p * channels + c] * b[p * channels + c];
  }
};

/* Block (c, m): 32 channels of image m, summed over its pixels; then divided. */
__global__ void __launch_bounds__(FFB_SUM_THREADS) image_sums(float *out, const float *x, const float *by, int64_t rows,
                                                              int64_t pixels, int64_t channels, float over) {
  __shared__ float tile[FFB_SUM_TILE];
  int64_t first = (int64_t)blockIdx.x * FFB_SUM_COLUMNS, columns = pixels * channels;
  for (int64_t m = blockIdx.y; m < rows; m += gridDim.y) {
    float sum = 0;
    if (by)
      sum = ffb_column_sum(pixel_product{x + m * columns, by + m * columns, channels}, pixels, first, channels, tile);
    else
      sum = ffb_column_sum(pixel_value{x + m * columns, channels}, pixels, first, channels, tile) / over;
    if (threadIdx.x < FFB_SUM_COLUMNS && first + threadIdx.x < channels)
      out[m * channels + first + threadIdx.x] = sum;
  }
}

bool sum_images(struct ffb_device *device, float *out, const struct ffb_tensor *x, const float *by) {
  int64_t rows = ffb_rows(x), channels = ffb_channels(x), pixels = ffb_columns(x) / channels;
  dim3 grid(ffb_cuda_blocks(channels, FFB_SUM_COLUMNS), ffb_cuda_rows(rows));
  return FFB_LAUNCH(device, grid, FFB_SUM_THREADS, image_sums, out, ffb_data<float>(x), by, rows, pixels, channels,
                    (float)pixels);
}

/* Of element i in an image tensor: its image's channel, for N elements that lie in one pixel. */
struct image_channels {
  struct ffb_divider columns, channels;
  __device__ __forceinline__ int64_t at(int64_t i) const {
    int64_t m = columns.quotient(i);
    return m * channels.divisor + channels.remainder(i - m * columns.divisor);
  }
};

image_channels image_channels_of(const struct ffb_tensor *x) {
  return {ffb_divide_by(ffb_columns(x)), ffb_divide_by(ffb_channels(x))};
}

struct spread {
  float *gx;
  const float *gy;
  image_channels by;
  float pixels;
  bool accumulate;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N], before[N] = {};
    int64_t from = by.at(i);
    if (accumulate)
      ffb_load<N, VECTOR>(before, gx + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      value[k] = gy[from + k] / pixels;
      if (accumulate)
        value[k] = before[k] + value[k];
    }
    ffb_store<N, VECTOR>(gx + i, value);
  }
};

struct scale {
  float *y;
  const float *x, *scales;
  image_channels by;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N];
    int64_t from = by.at(i);
    ffb_load<N, VECTOR>(value, x + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      value[k] = value[k] * scales[from + k];
    ffb_store<N, VECTOR>(y + i, value);
  }
};

bool launch_scale(struct ffb_device *device, const char *name, const struct ffb_tensor *y, const struct ffb_tensor *x,
                  const struct ffb_tensor *scales) {
  scale body = {ffb_data<float>(y), ffb_data<float>(x), ffb_data<float>(scales), image_channels_of(x)};
  return ffb_for_each(device, name, ffb_elements(x), ffb_channels(x) % 4 == 0 && ffb_aligned({body.y, body.x}, 16),
                      body);
}

} // namespace

bool ffb_cuda_max_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_max_pool *call = &arguments->max_pool;
  max_pool body = {ffb_data<float>(call->y), ffb_data<uint8_t>(call->argmax),
                   ffb_data<float>(call->x), places_of(call->y),
                   places_of(call->x),       call->window};
  return ffb_for_each(device, "max_pool", ffb_elements(call->y), false, body);
}

bool ffb_cuda_max_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_max_pool_gradient *call = &arguments->max_pool_gradient;
  max_pool_gradient body = {ffb_data<float>(call->gx), ffb_data<float>(call->gy), ffb_data<uint8_t>(call->argmax),
                            places_of(call->gy),       places_of(call->gx),       call->window};
  return ffb_for_each(device, "max_pool_gradient", ffb_elements(call->gx), false, body);
}

bool ffb_cuda_average_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_average_pool *call = &arguments->average_pool;
  return sum_images(device, ffb_data<float>(call->y), call->x, nullptr);
}

bool ffb_cuda_average_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_average_pool_gradient *call = &arguments->average_pool_gradient;
  int64_t channels = ffb_channels(call->gx);
  spread body = {ffb_data<float>(call->gx), ffb_data<float>(call->gy), image_channels_of(call->gx),
                 (float)(ffb_columns(call->gx) / channels), call->accumulate};
  return ffb_for_each(device, "average_pool_gradient", ffb_elements(call->gx),
                      channels % 4 == 0 && ffb_aligned({body.gx}, 16), body);
}

bool ffb_cuda_scale_channels(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_scale_channels *call = &arguments->scale_channels;
  return launch_scale(device, "scale_channels", call->y, call->x, call->scale);
}

bool ffb_cuda_scale_channels_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_scale_channels_gradient *call = &arguments->scale_channels_gradient;
  return sum_images(device, ffb_data<float>(call->gscale), call->gy, ffb_data<float>(call->x)) &&
         launch_scale(device, "scale_channels_gradient", call->gx, call->gy, call->scale);
}
