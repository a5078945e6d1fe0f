/* What is made on the way, element by element, and stored or quantised without lying in memory first. A source has
 *   int64_t n
 *   __device__ void values(float (&v)[FFB_DRAWS], int64_t i) const
 * for elements i .. i + 7, i a multiple of eight; those behind the last one are open. */
#ifndef FFBENCH_BACKENDS_CUDA_SOURCES_CUH
#define FFBENCH_BACKENDS_CUDA_SOURCES_CUH

#include "backends/cuda/quantise.cuh"

/* Devices of one process take turns: two streams at once would count together. */
static __device__ unsigned ffb_source_tickets;

/* A thread's eight elements; they are stored where `out` is. Gives the first one's number. */
template <class Source>
__device__ __forceinline__ int64_t ffb_make_eight(float (&v)[FFB_DRAWS], const Source &source, float *out,
                                                  bool vector) {
  int64_t i = ((int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x) * FFB_DRAWS;
  if (i >= source.n)
    return i;
  source.values(v, i);
  if (out && vector && i + FFB_DRAWS <= source.n) {
    ffb_store<FFB_DRAWS, true>(out + i, v);
  } else if (out) {
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++) {
      if (i + k < source.n)
        out[i + k] = v[k];
    }
  }
  return i;
}

/* Largest magnitude of those eight that are there. */
__device__ __forceinline__ uint32_t ffb_largest_of(const float (&v)[FFB_DRAWS], int64_t i, int64_t n) {
  uint32_t largest = 0;
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++) {
    if (i + k < n)
      largest = ffb_magnitude(v[k]) > largest ? ffb_magnitude(v[k]) : largest;
  }
  return largest;
}

/* The largest of all blocks of a launch of FFB_RANGE_THREADS, in every thread of the last one; false in the others. */
static __device__ __forceinline__ bool ffb_grid_largest(uint32_t *largest, uint32_t *of_block, unsigned *tickets) {
  uint32_t found = ffb_block_largest(*largest);
  if (threadIdx.x == 0)
    of_block[blockIdx.x] = found;
  if (!ffb_last_block(tickets, gridDim.x))
    return false;
  for (unsigned b = threadIdx.x; b < gridDim.x; b += FFB_RANGE_THREADS)
    found = __ldcg(of_block + b) > found ? __ldcg(of_block + b) : found;
  *largest = ffb_block_largest(found);
  return true;
}

template <class Source>
__global__ void __launch_bounds__(FFB_RANGE_THREADS) ffb_store_source(Source source, float *out, bool vector) {
  float v[FFB_DRAWS];
  ffb_make_eight(v, source, out, vector);
}

/* The scale from the largest of all values, which are kept where `out` is. */
template <class Source>
__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    ffb_scale_source(Source source, float *out, bool vector, struct ffb_scale_rule rule, uint32_t *of_block) {
  float v[FFB_DRAWS] = {};
  int64_t i = ffb_make_eight(v, source, out, vector);
  uint32_t largest = ffb_largest_of(v, i, source.n);
  if (ffb_grid_largest(&largest, of_block, &ffb_source_tickets) && threadIdx.x == 0)
    rule.apply(__uint_as_float(largest));
}

/* A thread's eight elements, rounded. */
template <class Source>
__device__ __forceinline__ void ffb_quantise_eight(const Source &source, int8_t *q, bool vector, float scale,
                                                   const struct ffb_rounder &rounder) {
  float v[FFB_DRAWS], inverse = 1 / scale;
  int8_t rounded[FFB_DRAWS];
  int64_t i = ffb_make_eight(v, source, nullptr, false);
  if (i >= source.n)
    return;
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++)
    v[k] *= inverse;
  rounder.round(rounded, v, i / FFB_DRAWS);
  ffb_store_draws(q, rounded, i, source.n, vector);
}

template <class Source>
__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    ffb_quantise_source(Source source, int8_t *q, bool vector, const float *scale, struct ffb_rounder rounder) {
  ffb_quantise_eight(source, q, vector, *scale, rounder);
}

static __global__ void ffb_given_scale(struct ffb_scale_rule rule) {
  rule.apply(0);
}

static inline unsigned ffb_source_blocks(int64_t n) {
  return ffb_cuda_blocks(n, FFB_RANGE_THREADS * FFB_DRAWS);
}

template <class Source>
static bool ffb_launch_store(struct ffb_device *device, const char *name, const Source &source, float *out) {
  return ffb_cuda_launch(device, name, ffb_source_blocks(source.n), FFB_RANGE_THREADS, ffb_store_source<Source>, source,
                         out, ffb_aligned({out}, 16));
}

/* of_block: scratch space of the call, a word for each block. */
template <class Source>
static bool ffb_launch_scale(struct ffb_device *device, const char *name, const Source &source, float *out,
                             const struct ffb_scale_rule &rule, uint32_t *of_block) {
  int64_t used = (char *)of_block - (char *)device->scratch;
  return ffb_cuda_fits(device, used + ffb_source_blocks(source.n) * (int64_t)sizeof *of_block, name) &&
         ffb_cuda_launch(device, name, ffb_source_blocks(source.n), FFB_RANGE_THREADS, ffb_scale_source<Source>, source,
                         out, ffb_aligned({out}, 16), rule, of_block);
}

static inline bool ffb_launch_given_scale(struct ffb_device *device, const struct ffb_scale_rule &rule) {
  return FFB_LAUNCH(device, 1, 1, ffb_given_scale, rule);
}

template <class Source>
static bool ffb_launch_quantise(struct ffb_device *device, const char *name, const Source &source,
                                const struct ffb_suq_quantise *suq) {
  return ffb_cuda_launch(device, name, ffb_source_blocks(source.n), FFB_RANGE_THREADS, ffb_quantise_source<Source>,
                         source, ffb_data<int8_t>(suq->q), ffb_aligned({suq->q->data}, FFB_DRAWS),
                         ffb_data<float>(suq->scale), ffb_rounder_of(suq));
}

/* Values that lie in memory already. */
struct ffb_stored {
  const float *x;
  int64_t n;
  bool vector;
  __device__ __forceinline__ void values(float (&v)[FFB_DRAWS], int64_t i) const {
    ffb_load_draws(v, x, i, n, vector);
  }
};

#endif
