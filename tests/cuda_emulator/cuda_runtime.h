/* Stands in for CUDA's own header where no GPU is: the kernels are compiled as C++, device memory is the host's, and a
 * launch runs every thread of every block on one processor.
 *
 * Threads of a block that never wait for each other run one after the other; else they are fibers that change places
 * where one waits. Blocks, warps and threads run in an order that differs from launch to launch, each warp as far as it
 * gets without the others, and shared memory starts as garbage, so that a missing barrier or initialisation shows. A
 * barrier that not every thread reaches ends the program with a message. What it cannot show: blocks run one after the
 * other, so that nothing here depends on fences between them. */
#ifndef FFB_TESTS_CUDA_RUNTIME_H
#define FFB_TESTS_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum { cudaSuccess = 0 } cudaError_t;
typedef struct ffb_emulated_stream *cudaStream_t;

#ifdef __cplusplus

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static __attribute__((section("ffb_shared")))

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(4) char4 {
  signed char x, y, z, w;
};

/* ---- waiting for each other ----------------------------------------------------------------------------------- */

void __syncthreads();
void __syncwarp(unsigned mask = 0xFFFFFFFFu);
/* Where the calling thread leaves a value of up to 8 bytes, and where another of its warp left one. */
void *ffb_emulated_slot();
const void *ffb_emulated_slot_of(unsigned lane);
unsigned ffb_emulated_lane();

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most eight bytes");
  unsigned lane = ffb_emulated_lane(), first = lane / (unsigned)width * (unsigned)width;
  memcpy(ffb_emulated_slot(), &value, sizeof value);
  __syncwarp(mask);
  memcpy(&value, ffb_emulated_slot_of(first + (unsigned)source % (unsigned)width), sizeof value);
  __syncwarp(mask);
  return value;
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  unsigned at = ffb_emulated_lane() % (unsigned)width, from = at + distance;
  return __shfl_sync(mask, value, (int)(from < (unsigned)width ? from : at), width);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, unsigned bits, int width = 32) {
  return __shfl_sync(mask, value, (int)(ffb_emulated_lane() % (unsigned)width ^ bits), width);
}

inline void __threadfence() {}

/* ---- atomics: one thread runs at a time ----------------------------------------------------------------------- */

template <class T> T atomicAdd(T *to, T value) {
  T before = *to;
  *to = before + value;
  return before;
}
template <class T> T atomicMax(T *to, T value) {
  T before = *to;
  *to = before > value ? before : value;
  return before;
}

/* ---- arithmetic ----------------------------------------------------------------------------------------------- */

template <class T> T __ldg(const T *from) {
  return *from;
}
template <class T> T __ldcg(const T *from) {
  return *from;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return (unsigned)((uint64_t)a * b >> 32);
}

/* ---- the host's side ------------------------------------------------------------------------------------------ */

/* Calls body(of) as every thread of every block. */
void ffb_emulated_run(const char *name, dim3 blocks, dim3 threads, void (*body)(const void *of), const void *of);

/* Takes a launch in place of running it, where something records and says true. */
struct ffb_emulated_launch {
  const char *name;
  dim3 blocks, threads;
  void (*body)(const void *of);
};
extern bool (*ffb_emulated_recorder)(const ffb_emulated_launch &launch, const void *of, size_t bytes);

inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
#endif

#endif
