/* Filling, copying, sums of tensors and biases. */
#include "backends/cuda/each.cuh"

namespace {

/* A value of `Word`, or of bytes read as such, in every place. */
template <class Word> struct fill {
  Word *out, value;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
#pragma unroll
    for (int k = 0; k < N; k++)
      out[i + k] = value;
  }
};

struct fill_f32 {
  float *out, value;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float values[N];
#pragma unroll
    for (int k = 0; k < N; k++)
      values[k] = value;
    ffb_store<N, VECTOR>(out + i, values);
  }
};

template <class Word> bool fill_with(struct ffb_device *device, const struct ffb_fill *call, Word value) {
  fill<Word> body = {ffb_data<Word>(call->out), value};
  return ffb_for_each(device, "fill", ffb_elements(call->out), false, body);
}

struct copy_words {
  float *out;
  const float *in;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N];
    ffb_load<N, VECTOR>(value, in + i);
    ffb_store<N, VECTOR>(out + i, value);
  }
};

struct copy_bytes {
  char *out;
  const char *in;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    out[i] = in[i];
  }
};

struct add_bias {
  float *y;
  const float *bias;
  struct ffb_divider columns;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N];
    int64_t n = columns.remainder(i);
    ffb_load<N, VECTOR>(value, y + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      value[k] += bias[n + k];
    ffb_store<N, VECTOR>(y + i, value);
  }
};

struct add_scaled {
  float *out;
  const float *a, *b, *factor;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float left[N], right[N], by = factor ? *factor : 1;
    ffb_load<N, VECTOR>(left, a + i);
    ffb_load<N, VECTOR>(right, b + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      left[k] = left[k] + by * right[k];
    ffb_store<N, VECTOR>(out + i, left);
  }
};

/* One thread for each column, rows in order. */
__global__ void sum_rows(float *out, const float *gradient, int64_t rows, int64_t columns) {
  int64_t n = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= columns)
    return;
  float sum = 0;
#pragma unroll 16
  for (int64_t m = 0; m < rows; m++)
    sum += gradient[m * columns + n];
  out[n] = sum;
}

} // namespace

bool ffb_cuda_fill(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_fill *call = &arguments->fill;
  switch (call->out->type) {
  case FFB_F32: {
    fill_f32 body = {ffb_data<float>(call->out), call->value};
    return ffb_for_each(device, "fill", ffb_elements(call->out), ffb_aligned({body.out}, 16), body);
  }
  case FFB_F64:
    return fill_with(device, call, (double)call->value);
  case FFB_S32:
    return fill_with(device, call, (int32_t)call->value);
  case FFB_U32:
    return fill_with(device, call, (uint32_t)call->value);
  case FFB_S8:
    return fill_with(device, call, (int8_t)call->value);
  case FFB_U8:
    break;
  }
  return fill_with(device, call, (uint8_t)call->value);
}

bool ffb_cuda_copy(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_tensor *in = arguments->copy.in, *out = arguments->copy.out;
  int64_t bytes = ffb_elements(in) * (int64_t)ffb_type_bytes(in->type);
  if (bytes % 4 == 0 && ffb_aligned({in->data, out->data}, 4)) {
    copy_words body = {ffb_data<float>(out), ffb_data<float>(in)};
    return ffb_for_each(device, "copy", bytes / 4, ffb_aligned({in->data, out->data}, 16), body);
  }
  copy_bytes body = {ffb_data<char>(out), ffb_data<char>(in)};
  return ffb_for_each(device, "copy", bytes, false, body);
}

bool ffb_cuda_add_bias(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_add_bias *add = &arguments->add_bias;
  int64_t columns = ffb_columns(add->y);
  add_bias body = {ffb_data<float>(add->y), ffb_data<float>(add->bias), ffb_divide_by(columns)};
  return ffb_for_each(device, "add_bias", ffb_elements(add->y), columns % 4 == 0 && ffb_aligned({body.y}, 16), body);
}

bool ffb_cuda_bias_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  enum { THREADS = 64 };
  const struct ffb_bias_gradient *bias = &arguments->bias_gradient;
  int64_t rows = ffb_rows(bias->gradient), columns = ffb_columns(bias->gradient);
  return FFB_LAUNCH(device, ffb_cuda_blocks(columns, THREADS), THREADS, sum_rows, ffb_data<float>(bias->out),
                    ffb_data<float>(bias->gradient), rows, columns);
}

bool ffb_cuda_add_scaled(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_add_scaled *add = &arguments->add_scaled;
  add_scaled body = {ffb_data<float>(add->out), ffb_data<float>(add->a), ffb_data<float>(add->b),
                     ffb_data<float>(add->factor)};
  return ffb_for_each(device, "add_scaled", ffb_elements(add->out), ffb_aligned({body.out, body.a, body.b}, 16), body);
}
