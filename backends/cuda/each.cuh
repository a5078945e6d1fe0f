/* Work that is one thing for each element. A body has
 *   template <int N, bool VECTOR> __device__ void run(int64_t i) const
 * for elements i .. i + N - 1: N is 4 or 1, and VECTOR says that four elements may be moved as one. It loads all that
 * it reads before it stores, so that a result may lie over an operand. */
#ifndef FFBENCH_BACKENDS_CUDA_EACH_CUH
#define FFBENCH_BACKENDS_CUDA_EACH_CUH

#include "backends/cuda/launch.h"

#include <initializer_list>

enum { FFB_EACH_THREADS = 256 };

template <int N, bool VECTOR> __device__ __forceinline__ void ffb_load(float (&to)[N], const float *from) {
  if constexpr (VECTOR) {
    static_assert(N % 4 == 0, "vectors are of four");
#pragma unroll
    for (int k = 0; k < N; k += 4) {
      float4 four = *reinterpret_cast<const float4 *>(from + k);
      to[k] = four.x;
      to[k + 1] = four.y;
      to[k + 2] = four.z;
      to[k + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; k++)
      to[k] = from[k];
  }
}

template <int N, bool VECTOR> __device__ __forceinline__ void ffb_store(float *to, const float (&from)[N]) {
  if constexpr (VECTOR) {
#pragma unroll
    for (int k = 0; k < N; k += 4) {
      float4 four = {from[k], from[k + 1], from[k + 2], from[k + 3]};
      *reinterpret_cast<float4 *>(to + k) = four;
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; k++)
      to[k] = from[k];
  }
}

/* Whether all of them lie at a multiple of `bytes`. Null does. */
static inline bool ffb_aligned(std::initializer_list<const void *> addresses, uintptr_t bytes) {
  for (const void *address : addresses) {
    if (reinterpret_cast<uintptr_t>(address) % bytes)
      return false;
  }
  return true;
}

template <bool VECTOR, class Body> __global__ void __launch_bounds__(FFB_EACH_THREADS) ffb_each(int64_t n, Body body) {
  int64_t i = (int64_t)blockIdx.x * FFB_EACH_THREADS + threadIdx.x;
  if constexpr (VECTOR) {
    i *= 4;
    if (i + 4 <= n) {
      body.template run<4, true>(i);
      return;
    }
    for (; i < n; i++)
      body.template run<1, false>(i);
  } else if (i < n) {
    body.template run<1, false>(i);
  }
}

/* body over elements 0 .. n - 1; by four where `vector` says that every operand allows it. */
template <class Body>
static bool ffb_for_each(struct ffb_device *device, const char *name, int64_t n, bool vector, const Body &body) {
  if (n <= 0)
    return true;
  if (vector)
    return ffb_cuda_launch(device, name, ffb_cuda_blocks(n, 4 * FFB_EACH_THREADS), FFB_EACH_THREADS,
                           ffb_each<true, Body>, n, body);
  return ffb_cuda_launch(device, name, ffb_cuda_blocks(n, FFB_EACH_THREADS), FFB_EACH_THREADS, ffb_each<false, Body>, n,
                         body);
}

/* Division by a number that is known before the launch: a multiplication and a shift where the dividend is below
 * 2^31. */
struct ffb_divider {
  int64_t divisor;
  uint32_t magic, shift;

  __device__ __forceinline__ int64_t quotient(int64_t n) const {
    if (n >> 31 || shift > 31)
      return n / divisor;
    return (__umulhi(magic, (uint32_t)n) + (uint32_t)n) >> shift;
  }
  __device__ __forceinline__ int64_t remainder(int64_t n) const {
    return n - quotient(n) * divisor;
  }
};

/* Granlund and Montgomery, "Division by invariant integers using multiplication" (1994), figure 4.1 for 31 bits. */
static inline struct ffb_divider ffb_divide_by(int64_t divisor) {
  struct ffb_divider divider = {divisor, 0, 0};
  while ((int64_t)1 << divider.shift < divisor)
    divider.shift++;
  if (divider.shift <= 31)
    divider.magic =
        (uint32_t)((((uint64_t)1 << 32) * (((uint64_t)1 << divider.shift) - (uint64_t)divisor)) / (uint64_t)divisor +
                   1);
  return divider;
}

#endif
