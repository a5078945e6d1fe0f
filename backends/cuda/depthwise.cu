/* Depthwise convolutions: a window sum for each channel by itself, bound by memory and not worth a matrix product.
 * A block takes 32 channels, whose filters it keeps; neighbouring threads take neighbouring channels. */
#include "backends/cuda/each.cuh"

namespace {

enum {
  THREADS = 256,
  CHANNELS = 32,  /* of a block */
  MOST_TAPS = 49, /* of a filter that is kept in shared memory */
  REPEATS = 4,    /* pixels of a thread, one after the other */
  CHUNK = 128,    /* pixels that a block sums for the gradient of the weights; more where there are very many */
  LANES = THREADS / CHANNELS
};

struct geometry {
  struct ffb_divider height, width; /* of the tensor that has an element for each thread */
  int64_t from_height, from_width, channels, pixels;
  int kernel, stride, padding;
};

/* Elements and what they are summed in. */
template <class T> struct sums;
template <> struct sums<float> {
  typedef float partial;
  typedef double total;
  static __device__ __forceinline__ float add(float sum, float a, float b) {
    return fmaf(a, b, sum);
  }
};
template <> struct sums<int8_t> {
  typedef int32_t partial;
  typedef int64_t total;
  static __device__ __forceinline__ int32_t add(int32_t sum, int8_t a, int8_t b) {
    return sum + (int32_t)a * b;
  }
};

/* N neighbouring channels. */
template <int N> __device__ __forceinline__ void load(float (&to)[N], const float *from) {
  ffb_load<N, N == 4>(to, from);
}
template <int N> __device__ __forceinline__ void load(int8_t (&to)[N], const int8_t *from) {
  if constexpr (N == 4) {
    char4 four = *reinterpret_cast<const char4 *>(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
    to[0] = *from;
  }
}

__device__ __forceinline__ float scale_of(const float *a, const float *b) {
  return a ? *a * *b : 1;
}

/* A filter's tap for a channel of the block. */
template <class T> struct filters {
  const T *data;
  int channel_step, tap_step;
  __device__ __forceinline__ T at(int channel, int tap) const {
    return data[channel * channel_step + tap * tap_step];
  }
};

/* The tensor that a tap leads to, forwards: x of y; backwards: gy of gx. -1 where there is no pixel. */
template <bool BACKWARDS>
__device__ __forceinline__ int64_t under(int64_t h, int tap, const geometry &g, int64_t size) {
  if constexpr (BACKWARDS) {
    int64_t down = h + g.padding - tap;
    if (down < 0 || down % g.stride)
      return -1;
    int64_t p = down / g.stride;
    return p < size ? p : -1;
  }
  int64_t at = h * g.stride + tap - g.padding;
  return at >= 0 && at < size ? at : -1;
}

/* out, for one pixel and N channels of every thread. */
template <class T, int N, bool BACKWARDS>
__device__ __forceinline__ void window_sum(typename sums<T>::partial (&sum)[N], const T *from, const filters<T> &by,
                                           const geometry &g, int64_t pixel, int64_t first, int across) {
  int64_t row = g.width.quotient(pixel), w = pixel - row * g.width.divisor, m = g.height.quotient(row);
  int64_t h = row - m * g.height.divisor;
  for (int i = 0; i < g.kernel; i++) {
    int64_t p = under<BACKWARDS>(h, i, g, g.from_height);
    if (p < 0)
      continue;
    const T *line = from + (m * g.from_height + p) * g.from_width * g.channels + first + across;
    for (int j = 0; j < g.kernel; j++) {
      int64_t q = under<BACKWARDS>(w, j, g, g.from_width);
      if (q < 0)
        continue;
      T value[N];
      load<N>(value, line + q * g.channels);
#pragma unroll
      for (int k = 0; k < N; k++)
        sum[k] = sums<T>::add(sum[k], value[k], by.at(across + k, i * g.kernel + j));
    }
  }
}

/* Block (b, c): the 32 channels from 32 c on of THREADS * N / 32 * REPEATS pixels. */
template <class T, int N, bool BACKWARDS>
__global__ void __launch_bounds__(THREADS) windows(float *out, const T *from, const T *w, const float *scale_a,
                                                   const float *scale_b, geometry g, bool accumulate) {
  enum { ACROSS = CHANNELS / N, DOWN = THREADS / ACROSS };
  __shared__ T kept[MOST_TAPS * CHANNELS];
  int taps = g.kernel * g.kernel, across = (int)threadIdx.x % ACROSS * N, down = (int)threadIdx.x / ACROSS;
  int64_t first = (int64_t)blockIdx.y * CHANNELS;
  filters<T> by = {w + first * taps, taps, 1};
  if (taps <= MOST_TAPS) {
    for (int i = (int)threadIdx.x; i < taps * CHANNELS; i += THREADS) {
      int channel = i / taps;
      if (first + channel < g.channels)
        kept[i % taps * CHANNELS + channel] = by.data[i];
    }
    by = {kept, 1, CHANNELS};
  }
  __syncthreads();
  if (first + across >= g.channels)
    return;
  float scale = scale_of(scale_a, scale_b);
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    int64_t pixel = ((int64_t)blockIdx.x * REPEATS + repeat) * DOWN + down;
    if (pixel >= g.pixels)
      return;
    typename sums<T>::partial sum[N] = {};
    float value[N], before[N] = {}, *to = out + pixel * g.channels + first + across;
    window_sum<T, N, BACKWARDS>(sum, from, by, g, pixel, first, across);
    if (accumulate)
      ffb_load<N, N == 4>(before, to);
#pragma unroll
    for (int k = 0; k < N; k++) {
      value[k] = (float)sum[k] * scale;
      if (accumulate)
        value[k] = before[k] + value[k];
    }
    ffb_store<N, N == 4>(to, value);
  }
}

/* x is the tensor that windows slide over, y the other. */
geometry geometry_of(const struct ffb_tensor *to, const struct ffb_tensor *from, const struct ffb_window *window) {
  return {ffb_divide_by(to->shape[1]),
          ffb_divide_by(to->shape[2]),
          from->shape[1],
          from->shape[2],
          to->shape[3],
          ffb_pixels(to),
          window->kernel,
          window->stride,
          window->padding};
}

/* The three tensors of a product, and the two scales of INT8. */
struct operands {
  const struct ffb_tensor *out, *from, *w, *scale_a, *scale_b;
  const struct ffb_window *window;
  bool accumulate;
};

template <class T, int N, bool BACKWARDS> bool launch_windows(struct ffb_device *device, const operands &o) {
  enum { PIXELS = THREADS * N / CHANNELS * REPEATS };
  geometry g = geometry_of(o.out, o.from, o.window);
  dim3 grid(ffb_cuda_blocks(g.pixels, PIXELS), ffb_cuda_blocks(g.channels, CHANNELS));
  return ffb_cuda_launch(device, "depthwise", grid, THREADS, windows<T, N, BACKWARDS>, ffb_data<float>(o.out),
                         ffb_data<T>(o.from), ffb_data<T>(o.w), ffb_data<float>(o.scale_a), ffb_data<float>(o.scale_b),
                         g, o.accumulate);
}

template <class T, bool BACKWARDS> bool convolve(struct ffb_device *device, const operands &o) {
  if (o.out->shape[3] % 4 == 0 && ffb_aligned({o.out->data}, 16) && ffb_aligned({o.from->data}, 4 * sizeof(T)))
    return launch_windows<T, 4, BACKWARDS>(device, o);
  return launch_windows<T, 1, BACKWARDS>(device, o);
}

/* ---- gradient of the weights ---------------------------------------------------------------------------------- */

/* Block (b, c, t): 32 channels over `chunk` output pixels, every tap of a KERNEL that is known; else tap t alone.
 * partial is [b][tap][channel]. */
template <class T, int KERNEL>
__global__ void __launch_bounds__(THREADS)
    weight_chunks(typename sums<T>::partial *partial, const T *gy, const T *x, geometry g, int chunk) {
  typedef typename sums<T>::partial sum_type;
  enum { TAPS = KERNEL ? KERNEL * KERNEL : 1 };
  __shared__ sum_type shared[LANES][CHANNELS];
  int across = (int)threadIdx.x % CHANNELS, lane = (int)threadIdx.x / CHANNELS;
  int64_t c = (int64_t)blockIdx.y * CHANNELS + across, begin = (int64_t)blockIdx.x * chunk;
  int64_t end = begin + chunk < g.pixels ? begin + chunk : g.pixels;
  sum_type sum[TAPS] = {};
  for (int64_t pixel = begin + lane; pixel < end && c < g.channels; pixel += LANES) {
    int64_t row = g.width.quotient(pixel), q = pixel - row * g.width.divisor, m = g.height.quotient(row);
    int64_t p = row - m * g.height.divisor;
    T gradient = gy[pixel * g.channels + c];
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) {
      int i = KERNEL ? tap / (KERNEL ? KERNEL : 1) : (int)blockIdx.z / g.kernel;
      int j = KERNEL ? tap % (KERNEL ? KERNEL : 1) : (int)blockIdx.z % g.kernel;
      int64_t h = p * g.stride + i - g.padding, w = q * g.stride + j - g.padding;
      if (h >= 0 && h < g.from_height && w >= 0 && w < g.from_width)
        sum[tap] = sums<T>::add(sum[tap], gradient, x[((m * g.from_height + h) * g.from_width + w) * g.channels + c]);
    }
  }
  int taps = KERNEL ? TAPS : g.kernel * g.kernel;
#pragma unroll
  for (int tap = 0; tap < TAPS; tap++) {
    __syncthreads();
    shared[lane][across] = sum[tap];
    __syncthreads();
    if (lane || c >= g.channels)
      continue;
    sum_type all = shared[0][across];
    for (int other = 1; other < LANES; other++)
      all += shared[other][across];
    partial[((int64_t)blockIdx.x * taps + (KERNEL ? tap : (int)blockIdx.z)) * g.channels + c] = all;
  }
}

/* gw[c][tap], the chunks in order. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    weight_totals(float *gw, const typename sums<T>::partial *partial, int64_t chunks, int64_t channels, int taps,
                  const float *scale_a, const float *scale_b, bool accumulate) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  if (i >= channels * taps)
    return;
  typename sums<T>::total sum = 0;
#pragma unroll 8
  for (int64_t chunk = 0; chunk < chunks; chunk++)
    sum += partial[chunk * channels * taps + i];
  float *to = gw + i % channels * taps + i / channels, value = (float)sum * scale_of(scale_a, scale_b);
  *to = accumulate ? *to + value : value;
}

template <class T, int KERNEL>
bool launch_chunks(struct ffb_device *device, const operands &o, const geometry &g, int64_t chunks, int chunk) {
  dim3 grid((unsigned)chunks, ffb_cuda_blocks(g.channels, CHANNELS), KERNEL ? 1 : (unsigned)(g.kernel * g.kernel));
  return ffb_cuda_launch(device, "depthwise_weight", grid, THREADS, weight_chunks<T, KERNEL>,
                         static_cast<typename sums<T>::partial *>(device->scratch), ffb_data<T>(o.w),
                         ffb_data<T>(o.from), g, chunk);
}

/* Here o.w is the gradient of the outputs. */
template <class T> bool convolve_weight(struct ffb_device *device, const operands &o) {
  typedef typename sums<T>::partial sum_type;
  geometry g = geometry_of(o.w, o.from, o.window);
  int taps = g.kernel * g.kernel, chunk = CHUNK;
  const int64_t always = FFB_CUDA_SCRATCH_BYTES;
  int64_t chunks = 0, bytes = 0, room = (int64_t)device->scratch_bytes;
  /* Scratch may grow, the order of the sums must not change with it. */
  room = room < always ? room : always;
  /* An INT32 holds what a chunk of 2^16 pixels sums up to. */
  do {
    chunks = (g.pixels + chunk - 1) / chunk;
    bytes = chunks * taps * g.channels * (int64_t)sizeof(sum_type);
    chunk *= 2;
  } while (bytes > room && chunk <= 1 << 16);
  chunk /= 2;
  if (!ffb_cuda_fits(device, bytes, "depthwise_weight"))
    return false;
  bool launched = g.kernel == 3   ? launch_chunks<T, 3>(device, o, g, chunks, chunk)
                  : g.kernel == 5 ? launch_chunks<T, 5>(device, o, g, chunks, chunk)
                                  : launch_chunks<T, 0>(device, o, g, chunks, chunk);
  return launched &&
         ffb_cuda_launch(device, "depthwise_weight", ffb_cuda_blocks(g.channels * taps, THREADS), THREADS,
                         weight_totals<T>, ffb_data<float>(o.out), static_cast<sum_type *>(device->scratch), chunks,
                         g.channels, taps, ffb_data<float>(o.scale_a), ffb_data<float>(o.scale_b), o.accumulate);
}

} // namespace

bool ffb_cuda_depthwise_convolve_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_f32 *a = &arguments->convolve_f32;
  return convolve<float, false>(device, {a->y, a->x, a->w, nullptr, nullptr, &a->window, false});
}

bool ffb_cuda_depthwise_convolve_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_s8 *a = &arguments->convolve_s8;
  return convolve<int8_t, false>(device, {a->y, a->x, a->w, a->x_scale, a->w_scale, &a->window, false});
}

bool ffb_cuda_depthwise_convolve_input_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_input_f32 *a = &arguments->convolve_input_f32;
  return convolve<float, true>(device, {a->gx, a->gy, a->w, nullptr, nullptr, &a->window, a->accumulate});
}

bool ffb_cuda_depthwise_convolve_input_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_input_s8 *a = &arguments->convolve_input_s8;
  return convolve<int8_t, true>(device, {a->gx, a->gy, a->w, a->gy_scale, a->w_scale, &a->window, a->accumulate});
}

bool ffb_cuda_depthwise_convolve_weight_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_f32 *a = &arguments->convolve_weight_f32;
  return convolve_weight<float>(device, {a->gw, a->x, a->gy, nullptr, nullptr, &a->window, a->accumulate});
}

bool ffb_cuda_depthwise_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_s8 *a = &arguments->convolve_weight_s8;
  return convolve_weight<int8_t>(device, {a->gw, a->x, a->gy, a->gy_scale, a->x_scale, &a->window, a->accumulate});
}
