/* A channel of a batch normalisation, forwards and backwards. */
#ifndef FFBENCH_BACKENDS_CUDA_NORMALISATION_CUH
#define FFBENCH_BACKENDS_CUDA_NORMALISATION_CUH

#include "backends/cuda/each.cuh"
#include "backends/reference/activation.h"

/* The parameters of every channel. */
struct ffb_channels {
  const float *mean, *inverse, *gamma, *beta;
};

struct ffb_channel {
  float mean, inverse, scale, beta; /* scale = inverse * gamma */
};

__device__ __forceinline__ struct ffb_channel ffb_channel_at(const struct ffb_channels &all, int64_t c) {
  float inverse = all.inverse[c];
  return {all.mean[c], inverse, inverse * all.gamma[c], all.beta[c]};
}

/* N channels from c on. */
template <int N, bool VECTOR>
__device__ __forceinline__ void ffb_channels_at(struct ffb_channel (&to)[N], const struct ffb_channels &all,
                                                int64_t c) {
  float mean[N], inverse[N], gamma[N], beta[N];
  ffb_load<N, VECTOR>(mean, all.mean + c);
  ffb_load<N, VECTOR>(inverse, all.inverse + c);
  ffb_load<N, VECTOR>(gamma, all.gamma + c);
  ffb_load<N, VECTOR>(beta, all.beta + c);
#pragma unroll
  for (int k = 0; k < N; k++)
    to[k] = {mean[k], inverse[k], inverse[k] * gamma[k], beta[k]};
}

__device__ __forceinline__ float ffb_normalised(const struct ffb_channel &channel, float x) {
  return (x - channel.mean) * channel.scale + channel.beta;
}

/* Gradient before the activation. */
__device__ __forceinline__ float ffb_inner_gradient(const struct ffb_channel &channel, enum ffb_activation activation,
                                                    float x, float gy) {
  float z = ffb_normalised(channel, x);
  float v = activation == FFB_ACTIVATION_SIGMOID ? ffb_activation(activation, z) : z;
  return ffb_activation_gradient(activation, gy, v);
}

static inline bool ffb_channels_aligned(const struct ffb_channels &all) {
  return ffb_aligned({all.mean, all.inverse, all.gamma, all.beta}, 16);
}

#endif
