/* The symmetric uniform quantiser on the device: its range, its scale, its rounding. */
#ifndef FFBENCH_BACKENDS_CUDA_QUANTISE_CUH
#define FFBENCH_BACKENDS_CUDA_QUANTISE_CUH

#include "backends/cuda/each.cuh"
#include "base/random.h"

#include <float.h>

/* Draws of stochastic rounding that one block of the generator holds: what a thread quantises. */
enum { FFB_DRAWS = 8 };

/* A scale whose reciprocal would not be finite counts as that of a zero tensor; a NaN passes. */
__device__ __forceinline__ float ffb_usable_scale(float scale) {
  return scale < FLT_MIN ? 1 : scale;
}

/* Bits of |value|: their order is that of the values, with infinity above all numbers and NaNs above that. */
__device__ __forceinline__ uint32_t ffb_magnitude(float value) {
  return __float_as_uint(value) & 0x7FFFFFFFu;
}

/* ---- rounding ------------------------------------------------------------------------------------------------- */

struct ffb_rounder {
  bool stochastic;
  uint32_t purpose;
  uint64_t seed;
  const uint32_t *step;
  float limit;

  __device__ __forceinline__ int8_t clamped(float whole) const {
    return isnan(whole) ? (int8_t)0 : (int8_t)fmaxf(-limit, fminf(limit, whole));
  }

  /* v[k] is element 8 * group + k. */
  __device__ __forceinline__ void round(int8_t (&q)[FFB_DRAWS], const float (&v)[FFB_DRAWS], int64_t group) const {
    if (!stochastic) {
#pragma unroll
      for (int k = 0; k < FFB_DRAWS; k++)
        q[k] = clamped(rintf(v[k]));
      return;
    }
    uint32_t words[4];
    ffb_philox(seed, purpose, *step, (uint64_t)group, words);
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++) {
      uint32_t draw = k % 2 ? words[k / 2] >> 16 : words[k / 2] & 0xFFFFu;
      q[k] = clamped(floorf(v[k] + ((float)draw + 0.5f) * 0x1p-16f));
    }
  }
};

static inline struct ffb_rounder ffb_make_rounder(enum ffb_rounding rounding, uint64_t seed, uint32_t purpose,
                                                  const struct ffb_tensor *step, float limit) {
  return {rounding == FFB_ROUND_STOCHASTIC, purpose, seed, ffb_data<uint32_t>(step), limit};
}

static inline struct ffb_rounder ffb_rounder_of(const struct ffb_suq_quantise *suq) {
  return ffb_make_rounder(suq->rounding, suq->seed, suq->purpose, suq->step, 127);
}

/* `count` values from x + i on, eight where there are as many; the others are 0. */
__device__ __forceinline__ void ffb_load_draws(float (&v)[FFB_DRAWS], const float *x, int64_t i, int64_t n,
                                               bool vector) {
  if (vector && i + FFB_DRAWS <= n) {
    ffb_load<FFB_DRAWS, true>(v, x + i);
    return;
  }
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++)
    v[k] = i + k < n ? x[i + k] : 0;
}

__device__ __forceinline__ void ffb_store_draws(int8_t *q, const int8_t (&from)[FFB_DRAWS], int64_t i, int64_t n,
                                                bool vector) {
  if (vector && i + FFB_DRAWS <= n) {
    uint2 eight = {0, 0};
#pragma unroll
    for (int k = 0; k < 4; k++) {
      eight.x |= (unsigned)(uint8_t)from[k] << 8 * k;
      eight.y |= (unsigned)(uint8_t)from[4 + k] << 8 * k;
    }
    *reinterpret_cast<uint2 *>(q + i) = eight;
    return;
  }
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++) {
    if (i + k < n)
      q[i + k] = from[k];
  }
}

/* ---- range ---------------------------------------------------------------------------------------------------- */

enum { FFB_RANGE_THREADS = 256, FFB_WARP = 32 };

/* Largest value of a block's threads, in every thread. */
template <int THREADS = FFB_RANGE_THREADS>
static __device__ __forceinline__ uint32_t ffb_block_largest(uint32_t value) {
  __shared__ uint32_t of_warp[THREADS / FFB_WARP];
  for (int distance = FFB_WARP / 2; distance; distance /= 2) {
    uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, value, distance);
    value = other > value ? other : value;
  }
  __syncthreads(); /* of an earlier call */
  if (threadIdx.x % FFB_WARP == 0)
    of_warp[threadIdx.x / FFB_WARP] = value;
  __syncthreads();
  for (int w = 0; w < THREADS / FFB_WARP; w++)
    value = of_warp[w] > value ? of_warp[w] : value;
  return value;
}

/* What SUQ_SCALE does with max|x|. */
struct ffb_scale_rule {
  float *scale, *running;
  const float *ratio;
  float fixed;
  enum ffb_range range;

  /* With FFB_RANGE_ABSMAX; writes nothing. */
  __device__ float scale_of(float largest) const {
    return ffb_usable_scale((ratio ? *ratio * largest : largest) / 127);
  }
  __device__ void apply(float largest) const {
    if (range != FFB_RANGE_ABSMAX) {
      *scale = ffb_usable_scale((range == FFB_RANGE_RUNNING ? *running : fixed) / 127);
      return;
    }
    *scale = scale_of(largest);
    if (running)
      *running = *running == 0 ? largest : 0.99f * *running + 0.01f * largest;
  }
};

static inline struct ffb_scale_rule ffb_scale_rule_of(const struct ffb_suq_scale *suq) {
  return {ffb_data<float>(suq->scale), ffb_data<float>(suq->running), ffb_data<float>(suq->ratio), suq->fixed,
          suq->range};
}

/* Whether the calling block is the last of the launch to come here; what the others wrote before is then to be seen.
 * `tickets` is 0 before and afterwards. */
static __device__ __forceinline__ bool ffb_last_block(unsigned *tickets, unsigned blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(tickets, 1u) == blocks - 1;
    if (last)
      *tickets = 0;
  }
  __syncthreads();
  __threadfence();
  return last;
}

#endif
