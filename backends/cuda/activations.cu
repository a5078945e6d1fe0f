/* Activations, masks and dropout. */
#include "backends/cuda/each.cuh"
#include "backends/reference/activation.h"
#include "base/random.h"

namespace {

struct activate {
  float *y;
  const float *x;
  enum ffb_activation kind;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N];
    ffb_load<N, VECTOR>(value, x + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      value[k] = ffb_activation(kind, value[k]);
    ffb_store<N, VECTOR>(y + i, value);
  }
};

struct activate_gradient {
  float *gx;
  const float *gy, *v;
  enum ffb_activation kind;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float gradient[N], at[N];
    ffb_load<N, VECTOR>(gradient, gy + i);
    ffb_load<N, VECTOR>(at, v + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      gradient[k] = ffb_activation_gradient(kind, gradient[k], at[k]);
    ffb_store<N, VECTOR>(gx + i, gradient);
  }
};

struct mask_gradient {
  float *gx;
  const float *gy;
  const uint8_t *mask;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float gradient[N];
    unsigned bits = (unsigned)mask[i / 8] >> (i % 8);
    ffb_load<N, VECTOR>(gradient, gy + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      gradient[k] = bits >> k & 1 ? gradient[k] : 0;
    ffb_store<N, VECTOR>(gx + i, gradient);
  }
};

/* Four elements, or rows, have their draws from one block of the generator. */
struct dropout {
  float *y;
  const float *x;
  const uint32_t *step;
  float rate;
  bool by_row;
  struct ffb_divider columns;
  uint32_t purpose;
  uint64_t seed;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N], kept = 1 - rate;
    uint32_t words[4], now = *step;
    if (N == 4 && !by_row)
      ffb_philox(seed, purpose, now, (uint64_t)i / 4, words);
    ffb_load<N, VECTOR>(value, x + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      float uniform = 0;
      if (N == 4 && !by_row)
        uniform = (float)(words[k % 4] >> 8) * 0x1p-24f;
      else
        uniform = ffb_random_uniform(seed, purpose, now, (uint64_t)(by_row ? columns.quotient(i + k) : i + k));
      value[k] = uniform >= rate ? value[k] / kept : 0;
    }
    ffb_store<N, VECTOR>(y + i, value);
  }
};

} // namespace

bool ffb_cuda_activate(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_activate *call = &arguments->activate;
  activate body = {ffb_data<float>(call->y), ffb_data<float>(call->x), call->kind};
  return ffb_for_each(device, "activate", ffb_elements(call->y), ffb_aligned({body.y, body.x}, 16), body);
}

bool ffb_cuda_activate_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_activate_gradient *call = &arguments->activate_gradient;
  activate_gradient body = {ffb_data<float>(call->gx), ffb_data<float>(call->gy), ffb_data<float>(call->v), call->kind};
  return ffb_for_each(device, "activate_gradient", ffb_elements(call->gx), ffb_aligned({body.gx, body.gy, body.v}, 16),
                      body);
}

bool ffb_cuda_mask_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_mask_gradient *call = &arguments->mask_gradient;
  mask_gradient body = {ffb_data<float>(call->gx), ffb_data<float>(call->gy), ffb_data<uint8_t>(call->mask)};
  return ffb_for_each(device, "mask_gradient", ffb_elements(call->gx), ffb_aligned({body.gx, body.gy}, 16), body);
}

bool ffb_cuda_dropout(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_dropout *call = &arguments->dropout;
  dropout body = {ffb_data<float>(call->y),
                  ffb_data<float>(call->x),
                  ffb_data<uint32_t>(call->step),
                  call->rate,
                  call->by_row,
                  ffb_divide_by(ffb_columns(call->y)),
                  call->purpose,
                  call->seed};
  return ffb_for_each(device, "dropout", ffb_elements(call->y), ffb_aligned({body.y, body.x}, 16), body);
}
