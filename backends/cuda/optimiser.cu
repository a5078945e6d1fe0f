#include "backends/cuda/each.cuh"

namespace {

__device__ __forceinline__ float rate_of(const float *learning_rate, const float *multiplier) {
  return multiplier ? *learning_rate * *multiplier : *learning_rate;
}

/* See FFB_SMALLEST_STATE. A NaN stays. */
__device__ __forceinline__ float settled(float state) {
  return fabsf(state) < FFB_SMALLEST_STATE ? 0 : state;
}

struct sgd {
  float *weights, *momentum;
  const float *gradient, *learning_rate, *multiplier;
  float momentum_factor, weight_decay;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float w[N], g[N], m[N] = {}, rate = rate_of(learning_rate, multiplier);
    ffb_load<N, VECTOR>(w, weights + i);
    ffb_load<N, VECTOR>(g, gradient + i);
    if (momentum)
      ffb_load<N, VECTOR>(m, momentum + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      g[k] = g[k] + weight_decay * w[k];
      if (momentum)
        m[k] = g[k] = settled(momentum_factor * m[k] + g[k]);
      w[k] -= rate * g[k];
    }
    if (momentum)
      ffb_store<N, VECTOR>(momentum + i, m);
    ffb_store<N, VECTOR>(weights + i, w);
  }
};

struct adam {
  float *weights, *first, *second;
  const float *gradient, *learning_rate, *multiplier, *corrections;
  float beta1, beta2, epsilon, weight_decay;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float w[N], g[N], m[N], v[N], rate = rate_of(learning_rate, multiplier);
    float correction1 = corrections[0], correction2 = corrections[1];
    ffb_load<N, VECTOR>(w, weights + i);
    ffb_load<N, VECTOR>(g, gradient + i);
    ffb_load<N, VECTOR>(m, first + i);
    ffb_load<N, VECTOR>(v, second + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      g[k] = g[k] + weight_decay * w[k];
      m[k] = settled(beta1 * m[k] + (1 - beta1) * g[k]);
      v[k] = settled(beta2 * v[k] + (1 - beta2) * (g[k] * g[k]));
      w[k] -= rate * (m[k] * correction1) / (sqrtf(v[k] * correction2) + epsilon);
    }
    ffb_store<N, VECTOR>(first + i, m);
    ffb_store<N, VECTOR>(second + i, v);
    ffb_store<N, VECTOR>(weights + i, w);
  }
};

} // namespace

bool ffb_cuda_sgd_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_sgd *rule = &arguments->sgd_update.rule;
  sgd body = {ffb_data<float>(rule->weights),
              ffb_data<float>(rule->momentum),
              ffb_data<float>(arguments->sgd_update.gradient),
              ffb_data<float>(rule->learning_rate),
              ffb_data<float>(rule->multiplier),
              rule->momentum_factor,
              rule->weight_decay};
  return ffb_for_each(device, "sgd_update", ffb_elements(rule->weights),
                      ffb_aligned({body.weights, body.momentum, body.gradient}, 16), body);
}

bool ffb_cuda_adam_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_adam *rule = &arguments->adam_update.rule;
  adam body = {ffb_data<float>(rule->weights),
               ffb_data<float>(rule->first),
               ffb_data<float>(rule->second),
               ffb_data<float>(arguments->adam_update.gradient),
               ffb_data<float>(rule->learning_rate),
               ffb_data<float>(rule->multiplier),
               ffb_data<float>(rule->corrections),
               rule->beta1,
               rule->beta2,
               rule->epsilon,
               rule->weight_decay};
  return ffb_for_each(device, "adam_update", ffb_elements(rule->weights),
                      ffb_aligned({body.weights, body.first, body.second, body.gradient}, 16), body);
}
