/* The symmetric uniform quantiser and its inverse. */
#include "backends/cuda/sources.cuh"

namespace {

const unsigned MOST_BLOCKS = 1024;
enum { PER_BLOCK = 4096 };

/* ---- the largest magnitude ------------------------------------------------------------------------------------ */

__device__ uint32_t largest_of(const float *x, int64_t n) {
  int64_t stride = (int64_t)gridDim.x * FFB_RANGE_THREADS, at = (int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x;
  uint32_t largest = 0;
#pragma unroll 8
  for (int64_t i = at; i < n; i += stride) {
    uint32_t size = ffb_magnitude(x[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

__device__ uint32_t largest_of(const int32_t *x, int64_t n) {
  int64_t stride = (int64_t)gridDim.x * FFB_RANGE_THREADS, at = (int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x;
  uint32_t largest = 0;
#pragma unroll 8
  for (int64_t i = at; i < n; i += stride) {
    uint32_t size = x[i] < 0 ? 0u - (uint32_t)x[i] : (uint32_t)x[i];
    largest = size > largest ? size : largest;
  }
  return largest;
}

__device__ __forceinline__ float as_largest(uint32_t bits, const float *) {
  return __uint_as_float(bits);
}
__device__ __forceinline__ float as_largest(uint32_t size, const int32_t *) {
  return (float)size;
}

template <class T>
__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    find_scale(const T *x, int64_t n, struct ffb_scale_rule rule, uint32_t *of_block) {
  uint32_t largest = largest_of(x, n);
  if (ffb_grid_largest(&largest, of_block, &ffb_source_tickets) && threadIdx.x == 0)
    rule.apply(as_largest(largest, x));
}

unsigned blocks_for(int64_t n) {
  unsigned blocks = ffb_cuda_blocks(n, PER_BLOCK);
  return blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS;
}

bool launch_scale(struct ffb_device *device, const struct ffb_suq_scale *suq) {
  struct ffb_scale_rule rule = ffb_scale_rule_of(suq);
  uint32_t *of_block = static_cast<uint32_t *>(device->scratch);
  if (suq->range != FFB_RANGE_ABSMAX)
    return ffb_launch_given_scale(device, rule);
  int64_t n = ffb_elements(suq->x);
  if (suq->x->type == FFB_S32)
    return FFB_LAUNCH(device, blocks_for(n), FFB_RANGE_THREADS, find_scale<int32_t>, ffb_data<int32_t>(suq->x), n, rule,
                      of_block);
  return FFB_LAUNCH(device, blocks_for(n), FFB_RANGE_THREADS, find_scale<float>, ffb_data<float>(suq->x), n, rule,
                    of_block);
}

/* ---- rounding ------------------------------------------------------------------------------------------------- */

__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    quantise(int8_t *q, const float *x, int64_t n, const float *scale, struct ffb_rounder rounder, bool vector) {
  int64_t group = (int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x, i = group * FFB_DRAWS;
  if (i >= n)
    return;
  float v[FFB_DRAWS], inverse = 1 / *scale;
  int8_t rounded[FFB_DRAWS];
  ffb_load_draws(v, x, i, n, vector);
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++)
    v[k] *= inverse;
  rounder.round(rounded, v, group);
  ffb_store_draws(q, rounded, i, n, vector);
}

bool launch_quantise(struct ffb_device *device, const struct ffb_suq_quantise *suq) {
  int64_t n = ffb_elements(suq->x);
  bool vector = ffb_aligned({suq->q->data}, FFB_DRAWS) && ffb_aligned({suq->x->data}, 16);
  return FFB_LAUNCH(device, ffb_cuda_blocks(n, FFB_RANGE_THREADS * FFB_DRAWS), FFB_RANGE_THREADS, quantise,
                    ffb_data<int8_t>(suq->q), ffb_data<float>(suq->x), n, ffb_data<float>(suq->scale),
                    ffb_rounder_of(suq), vector);
}

/* A tensor that one block can hold: its range and its values in one launch. */
enum { SMALL_THREADS = 1024, SMALL_TURNS = 4, SMALL = SMALL_THREADS * SMALL_TURNS * FFB_DRAWS };

template <int TURNS>
__global__ void __launch_bounds__(SMALL_THREADS)
    quantise_small(int8_t *q, const float *x, int64_t n, struct ffb_scale_rule rule, struct ffb_rounder rounder,
                   bool vector) {
  float v[TURNS][FFB_DRAWS];
  uint32_t largest = 0;
#pragma unroll
  for (int turn = 0; turn < TURNS; turn++) {
    int64_t i = ((int64_t)turn * SMALL_THREADS + threadIdx.x) * FFB_DRAWS;
    ffb_load_draws(v[turn], x, i, n, vector);
    uint32_t size = ffb_largest_of(v[turn], i, n);
    largest = size > largest ? size : largest;
  }
  largest = ffb_block_largest<SMALL_THREADS>(largest);
  if (threadIdx.x == 0)
    rule.apply(__uint_as_float(largest));
  __syncthreads();
  float inverse = 1 / *rule.scale;
#pragma unroll
  for (int turn = 0; turn < TURNS; turn++) {
    int64_t group = (int64_t)turn * SMALL_THREADS + threadIdx.x;
    int8_t rounded[FFB_DRAWS];
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++)
      v[turn][k] *= inverse;
    rounder.round(rounded, v[turn], group);
    ffb_store_draws(q, rounded, group * FFB_DRAWS, n, vector);
  }
}

/* ---- two segments --------------------------------------------------------------------------------------------- */

struct segments {
  int8_t *fine, *coarse;
  float *fine_scale, *coarse_scale;
  const float *x, *exponent;
  int64_t n;
};

__global__ void __launch_bounds__(FFB_RANGE_THREADS) find_segments(struct segments s, uint32_t *of_block) {
  uint32_t largest = largest_of(s.x, s.n);
  if (ffb_grid_largest(&largest, of_block, &ffb_source_tickets) && threadIdx.x == 0) {
    float coarse = ffb_usable_scale(__uint_as_float(largest) / 63);
    *s.coarse_scale = coarse;
    *s.fine_scale = ffb_usable_scale(ldexpf(coarse, -(int)*s.exponent));
  }
}

__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    quantise_segments(struct segments s, struct ffb_rounder rounder, bool vector) {
  int64_t group = (int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x, i = group * FFB_DRAWS;
  if (i >= s.n)
    return;
  float fine_inverse = 1 / *s.fine_scale, coarse_inverse = 1 / *s.coarse_scale, threshold = 63 * *s.fine_scale;
  float v[FFB_DRAWS];
  int8_t rounded[FFB_DRAWS], fine[FFB_DRAWS], coarse[FFB_DRAWS];
  unsigned small = 0;
  ffb_load_draws(v, s.x, i, s.n, vector);
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++) {
    bool within = fabsf(v[k]) <= threshold;
    small |= (unsigned)within << k;
    v[k] *= within ? fine_inverse : coarse_inverse;
  }
  rounder.round(rounded, v, group);
#pragma unroll
  for (int k = 0; k < FFB_DRAWS; k++) {
    fine[k] = small >> k & 1 ? rounded[k] : (int8_t)0;
    coarse[k] = small >> k & 1 ? (int8_t)0 : rounded[k];
  }
  ffb_store_draws(s.fine, fine, i, s.n, vector);
  ffb_store_draws(s.coarse, coarse, i, s.n, vector);
}

/* ---- back ----------------------------------------------------------------------------------------------------- */

template <class T> struct dequantise {
  float *out;
  const T *x;
  const float *scale_a, *scale_b;
  bool accumulate;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N], before[N] = {}, scale = *scale_a;
    T whole[N];
    if (scale_b)
      scale *= *scale_b;
    if constexpr (VECTOR && sizeof(T) == 4) {
      int4 four = *reinterpret_cast<const int4 *>(x + i);
      whole[0] = (T)four.x, whole[1] = (T)four.y, whole[2] = (T)four.z, whole[3] = (T)four.w;
    } else if constexpr (VECTOR) {
      char4 four = *reinterpret_cast<const char4 *>(x + i);
      whole[0] = four.x, whole[1] = four.y, whole[2] = four.z, whole[3] = four.w;
    } else {
      whole[0] = x[i];
    }
    if (accumulate)
      ffb_load<N, VECTOR>(before, out + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      value[k] = (float)whole[k] * scale;
      if (accumulate)
        value[k] = value[k] + before[k];
    }
    ffb_store<N, VECTOR>(out + i, value);
  }
};

template <class T> bool launch_dequantise(struct ffb_device *device, const struct ffb_dequantise *call) {
  dequantise<T> body = {ffb_data<float>(call->out), ffb_data<T>(call->x), ffb_data<float>(call->scale_a),
                        ffb_data<float>(call->scale_b), call->accumulate};
  bool vector = ffb_aligned({body.out}, 16) && ffb_aligned({body.x}, 4 * sizeof(T));
  return ffb_for_each(device, "dequantise", ffb_elements(call->out), vector, body);
}

} // namespace

bool ffb_cuda_suq_scale(struct ffb_device *device, const union ffb_arguments *arguments) {
  return launch_scale(device, &arguments->suq_scale);
}

bool ffb_cuda_suq_quantise(struct ffb_device *device, const union ffb_arguments *arguments) {
  return launch_quantise(device, &arguments->suq_quantise);
}

bool ffb_cuda_suq_tensor(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_tensor *suq = &arguments->suq_tensor;
  const struct ffb_tensor *x = suq->quantise.x;
  int64_t n = ffb_elements(x);
  if (n > SMALL || (suq->scale.x && (suq->scale.x->type != FFB_F32 || suq->scale.x->data != x->data)))
    return launch_scale(device, &suq->scale) && launch_quantise(device, &suq->quantise);
  bool vector = ffb_aligned({suq->quantise.q->data}, FFB_DRAWS) && ffb_aligned({x->data}, 16);
  return FFB_LAUNCH(device, 1, SMALL_THREADS, n > SMALL / SMALL_TURNS ? quantise_small<SMALL_TURNS> : quantise_small<1>,
                    ffb_data<int8_t>(suq->quantise.q), ffb_data<float>(x), n, ffb_scale_rule_of(&suq->scale),
                    ffb_rounder_of(&suq->quantise), vector);
}

bool ffb_cuda_suq_segments(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_suq_segments *suq = &arguments->suq_segments;
  struct segments s = {ffb_data<int8_t>(suq->fine),
                       ffb_data<int8_t>(suq->coarse),
                       ffb_data<float>(suq->fine_scale),
                       ffb_data<float>(suq->coarse_scale),
                       ffb_data<float>(suq->x),
                       ffb_data<float>(suq->exponent),
                       ffb_elements(suq->x)};
  bool vector = ffb_aligned({s.fine, s.coarse}, FFB_DRAWS) && ffb_aligned({s.x}, 16);
  struct ffb_rounder rounder = ffb_make_rounder(suq->rounding, suq->seed, suq->purpose, suq->step, 63);
  return FFB_LAUNCH(device, blocks_for(s.n), FFB_RANGE_THREADS, find_segments, s,
                    static_cast<uint32_t *>(device->scratch)) &&
         FFB_LAUNCH(device, ffb_cuda_blocks(s.n, FFB_RANGE_THREADS * FFB_DRAWS), FFB_RANGE_THREADS, quantise_segments,
                    s, rounder, vector);
}

bool ffb_cuda_dequantise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_dequantise *call = &arguments->dequantise;
  return call->x->type == FFB_S8 ? launch_dequantise<int8_t>(device, call) : launch_dequantise<int32_t>(device, call);
}
