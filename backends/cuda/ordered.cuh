/* FP32 sums whose order backend.h gives. One chain of additions cannot be split among threads, but loading can: all
 * threads of a block bring the next terms while a few add up the ones before. */
#ifndef FFBENCH_BACKENDS_CUDA_ORDERED_CUH
#define FFBENCH_BACKENDS_CUDA_ORDERED_CUH

#include "backends/cuda/launch.h"
#include "backends/reduce.h"

enum {
  FFB_SUM_THREADS = 256,
  FFB_SUM_TERMS = 16,
  FFB_SUM_TILE = FFB_SUM_THREADS * FFB_SUM_TERMS,
  FFB_SUM_COLUMNS = 32
};

/* The tree of reduce.h over the partial sums in the first sixteen threads of a warp; the result is the first one's. */
__device__ __forceinline__ float ffb_tree(float lane) {
#pragma unroll
  for (int width = FFB_REDUCE_LANES / 2; width; width /= 2)
    lane += __shfl_down_sync(0xFFFFFFFFu, lane, (unsigned)width, FFB_REDUCE_LANES);
  return lane;
}

/* term(0) .. term(n - 1) summed as reduce.h sums a row; every thread of the block calls it and has the result. A thread
 * asks for each of its terms once. */
template <class Term> static __device__ float ffb_row_sum(Term &&term, int64_t n, float *tile) {
  float next[FFB_SUM_TERMS], lane = 0;
#pragma unroll
  for (int k = 0; k < FFB_SUM_TERMS; k++) {
    int64_t j = k * FFB_SUM_THREADS + (int)threadIdx.x;
    next[k] = j < n ? term(j) : 0;
  }
  for (int64_t start = 0; start < n; start += FFB_SUM_TILE) {
    __syncthreads();
#pragma unroll
    for (int k = 0; k < FFB_SUM_TERMS; k++)
      tile[k * FFB_SUM_THREADS + threadIdx.x] = next[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < FFB_SUM_TERMS; k++) {
      int64_t j = start + FFB_SUM_TILE + k * FFB_SUM_THREADS + (int)threadIdx.x;
      next[k] = j < n ? term(j) : 0;
    }
    int count = n - start < FFB_SUM_TILE ? (int)(n - start) : FFB_SUM_TILE;
    if (threadIdx.x < FFB_REDUCE_LANES) {
#pragma unroll 16
      for (int j = (int)threadIdx.x; j < count; j += FFB_REDUCE_LANES)
        lane += tile[j];
    }
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    lane = ffb_tree(lane);
    if (threadIdx.x == 0)
      tile[0] = lane;
  }
  __syncthreads();
  lane = tile[0];
  __syncthreads();
  return lane;
}

/* term(p, c) summed over p = 0 .. rows - 1 in order, for the column first + threadIdx.x in each of the first
 * FFB_SUM_COLUMNS threads; every thread of the block calls it. */
template <class Term>
static __device__ float ffb_column_sum(const Term &term, int64_t rows, int64_t first, int64_t columns, float *tile) {
  enum { DOWN = FFB_SUM_THREADS / FFB_SUM_COLUMNS, ROWS = DOWN * FFB_SUM_TERMS };
  int across = (int)threadIdx.x % FFB_SUM_COLUMNS, down = (int)threadIdx.x / FFB_SUM_COLUMNS;
  int64_t c = first + across;
  float next[FFB_SUM_TERMS], sum = 0;
#pragma unroll
  for (int k = 0; k < FFB_SUM_TERMS; k++) {
    int64_t p = k * DOWN + down;
    next[k] = p < rows && c < columns ? term(p, c) : 0;
  }
  for (int64_t start = 0; start < rows; start += ROWS) {
    __syncthreads();
#pragma unroll
    for (int k = 0; k < FFB_SUM_TERMS; k++)
      tile[k * FFB_SUM_THREADS + threadIdx.x] = next[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < FFB_SUM_TERMS; k++) {
      int64_t p = start + ROWS + k * DOWN + down;
      next[k] = p < rows && c < columns ? term(p, c) : 0;
    }
    int count = rows - start < ROWS ? (int)(rows - start) : ROWS;
    if (down == 0) {
#pragma unroll 16
      for (int p = 0; p < count; p++)
        sum += tile[p * FFB_SUM_COLUMNS + across];
    }
  }
  __syncthreads();
  return sum;
}

#endif
