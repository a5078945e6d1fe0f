/* One step of the optimisers, element by element. A rule has
 *   template <int N, bool VECTOR> __device__ void step(float (&w)[N], float (&g)[N], int64_t i) const
 * which takes the gradients of N weights from i on and leaves their new values in w as well as in memory. */
#ifndef FFBENCH_BACKENDS_CUDA_UPDATE_CUH
#define FFBENCH_BACKENDS_CUDA_UPDATE_CUH

#include "backends/cuda/each.cuh"

__device__ __forceinline__ float ffb_rate_of(const float *learning_rate, const float *multiplier) {
  return multiplier ? *learning_rate * *multiplier : *learning_rate;
}

/* See FFB_SMALLEST_STATE. A NaN stays. */
__device__ __forceinline__ float ffb_settled(float state) {
  return fabsf(state) < FFB_SMALLEST_STATE ? 0 : state;
}

struct ffb_sgd_step {
  float *weights, *momentum;
  const float *learning_rate, *multiplier;
  float momentum_factor, weight_decay;

  template <int N, bool VECTOR> __device__ __forceinline__ void step(float (&w)[N], float (&g)[N], int64_t i) const {
    float m[N] = {}, rate = ffb_rate_of(learning_rate, multiplier);
    ffb_load<N, VECTOR>(w, weights + i);
    if (momentum)
      ffb_load<N, VECTOR>(m, momentum + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      g[k] = g[k] + weight_decay * w[k];
      if (momentum)
        m[k] = g[k] = ffb_settled(momentum_factor * m[k] + g[k]);
      w[k] -= rate * g[k];
    }
    if (momentum)
      ffb_store<N, VECTOR>(momentum + i, m);
    ffb_store<N, VECTOR>(weights + i, w);
  }
};

struct ffb_adam_step {
  float *weights, *first, *second;
  const float *learning_rate, *multiplier, *corrections;
  float beta1, beta2, epsilon, weight_decay;

  template <int N, bool VECTOR> __device__ __forceinline__ void step(float (&w)[N], float (&g)[N], int64_t i) const {
    float m[N], v[N], rate = ffb_rate_of(learning_rate, multiplier);
    float correction1 = corrections[0], correction2 = corrections[1];
    ffb_load<N, VECTOR>(w, weights + i);
    ffb_load<N, VECTOR>(m, first + i);
    ffb_load<N, VECTOR>(v, second + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      g[k] = g[k] + weight_decay * w[k];
      m[k] = ffb_settled(beta1 * m[k] + (1 - beta1) * g[k]);
      v[k] = ffb_settled(beta2 * v[k] + (1 - beta2) * (g[k] * g[k]));
      w[k] -= rate * (m[k] * correction1) / (sqrtf(v[k] * correction2) + epsilon);
    }
    ffb_store<N, VECTOR>(first + i, m);
    ffb_store<N, VECTOR>(second + i, v);
    ffb_store<N, VECTOR>(weights + i, w);
  }
};

static inline struct ffb_sgd_step ffb_sgd_step_of(const struct ffb_sgd *rule) {
  return {ffb_data<float>(rule->weights),    ffb_data<float>(rule->momentum), ffb_data<float>(rule->learning_rate),
          ffb_data<float>(rule->multiplier), rule->momentum_factor,           rule->weight_decay};
}

static inline struct ffb_adam_step ffb_adam_step_of(const struct ffb_adam *rule) {
  return {ffb_data<float>(rule->weights),
          ffb_data<float>(rule->first),
          ffb_data<float>(rule->second),
          ffb_data<float>(rule->learning_rate),
          ffb_data<float>(rule->multiplier),
          ffb_data<float>(rule->corrections),
          rule->beta1,
          rule->beta2,
          rule->epsilon,
          rule->weight_decay};
}

static inline bool ffb_step_aligned(const struct ffb_sgd_step &rule) {
  return ffb_aligned({rule.weights, rule.momentum}, 16);
}
static inline bool ffb_step_aligned(const struct ffb_adam_step &rule) {
  return ffb_aligned({rule.weights, rule.first, rule.second}, 16);
}

#endif
