/* Products and what follows them: the sums are finished where they lie, in one launch, and a weight gradient goes into
 * the weights without being stored as FP32 in between. The products themselves are other operators of this backend. */
#include "backends/cuda/sources.cuh"
#include "backends/cuda/update.cuh"

namespace {

/* ---- linear layers -------------------------------------------------------------------------------------------- */

/* y = relu?(sum * scales + bias), 0 where the mask stops it. Sums are y itself: FP32, or S32 in its place. */
struct finish_linear {
  float *y;
  const float *scale_a, *scale_b, *bias, *mask;
  struct ffb_divider columns;
  bool integer, relu;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N], stops[N] = {}, scale = integer ? *scale_a * *scale_b : 1;
    int64_t n = columns.remainder(i);
    ffb_load<N, VECTOR>(value, y + i);
    if (mask)
      ffb_load<N, VECTOR>(stops, mask + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      if (integer)
        value[k] = (float)(int32_t)__float_as_uint(value[k]) * scale;
      if (bias)
        value[k] += bias[n + k];
      if (relu)
        value[k] = value[k] < 0 ? 0 : value[k];
      if (mask)
        value[k] = stops[k] > 0 ? value[k] : 0;
    }
    ffb_store<N, VECTOR>(y + i, value);
  }
};

bool finish(struct ffb_device *device, const char *name, const struct ffb_tensor *y, finish_linear body) {
  body.y = ffb_data<float>(y);
  body.columns = ffb_divide_by(ffb_columns(y));
  return ffb_for_each(device, name, ffb_elements(y), ffb_columns(y) % 4 == 0 && ffb_aligned({body.y, body.mask}, 16),
                      body);
}

union ffb_arguments product_of(const struct ffb_linear_f32 *call) {
  union ffb_arguments product = {};
  product.gemm_f32.c = call->y;
  product.gemm_f32.a = call->x;
  product.gemm_f32.b = call->w;
  product.gemm_f32.transpose_b = call->transpose_w;
  return product;
}

/* The sums go where y does, which `sums` is to describe. */
union ffb_arguments product_of(const struct ffb_linear_s8 *call, struct ffb_tensor *sums) {
  union ffb_arguments product = {};
  *sums = *call->y;
  sums->type = FFB_S32;
  product.gemm_s8.c = sums;
  product.gemm_s8.a = call->x;
  product.gemm_s8.b = call->w;
  product.gemm_s8.transpose_b = call->transpose_w;
  product.gemm_s8.workspace = call->workspace;
  return product;
}

/* ---- updates -------------------------------------------------------------------------------------------------- */

/* A weight gradient: sums of a product, or values. */
struct gradient_sums {
  const int32_t *sums;
  const float *scale_a, *scale_b;
  int64_t n;
  __device__ __forceinline__ void values(float (&v)[FFB_DRAWS], int64_t i) const {
    float scale = *scale_a * *scale_b;
    if (i + FFB_DRAWS <= n) {
#pragma unroll
      for (int k = 0; k < FFB_DRAWS; k += 4) {
        int4 four = *reinterpret_cast<const int4 *>(sums + i + k);
        v[k] = (float)four.x * scale;
        v[k + 1] = (float)four.y * scale;
        v[k + 2] = (float)four.z * scale;
        v[k + 3] = (float)four.w * scale;
      }
      return;
    }
    for (int k = 0; k < FFB_DRAWS; k++)
      v[k] = i + k < n ? (float)sums[i + k] * scale : 0;
  }
};

/* How the gradient is rounded, and what the new weights' scale goes by; either may be asked for or not. */
struct rounding {
  const float *scale;
  struct ffb_rounder rounder;
  struct ffb_scale_rule weights;
};

template <class Source, class Rule>
__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    update(Source source, Rule rule, struct rounding rounding, bool vector, uint32_t *of_block) {
  float g[FFB_DRAWS], w[FFB_DRAWS] = {};
  int64_t i = ffb_make_eight(g, source, nullptr, false);
  if (i < source.n && rounding.scale) {
    float scale = *rounding.scale, inverse = 1 / scale;
    int8_t q[FFB_DRAWS];
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++)
      g[k] *= inverse;
    rounding.rounder.round(q, g, i / FFB_DRAWS);
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++)
      g[k] = (float)q[k] * scale;
  }
  if (vector && i + FFB_DRAWS <= source.n) {
    rule.template step<FFB_DRAWS, true>(w, g, i);
  } else {
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++) {
      float one_w[1], one_g[1] = {g[k]};
      if (i + k >= source.n)
        break;
      rule.template step<1, false>(one_w, one_g, i + k);
      w[k] = one_w[0];
    }
  }
  if (!rounding.weights.scale)
    return;
  uint32_t largest = ffb_largest_of(w, i, source.n);
  if (ffb_grid_largest(&largest, of_block, &ffb_source_tickets) && threadIdx.x == 0)
    rounding.weights.apply(__uint_as_float(largest));
}

/* What LINEAR_UPDATE_S8 and CONVOLVE_UPDATE_S8 say about an update. */
struct update_call {
  const struct ffb_update_rule *rule;
  const struct ffb_tensor *step, *weight_scale;
  bool quantise;
  enum ffb_rounding rounding;
  uint32_t purpose;
  uint64_t seed;
};

enum { SCALE_BYTES = 256 }; /* of the scratch space: the gradient's scale; then a word for each block */

template <class Source> bool launch_update(struct ffb_device *device, const Source &source, const update_call &call) {
  float *scale = static_cast<float *>(device->scratch);
  uint32_t *of_block = reinterpret_cast<uint32_t *>(static_cast<char *>(device->scratch) + SCALE_BYTES);
  struct ffb_scale_rule found = {scale, nullptr, nullptr, 0, FFB_RANGE_ABSMAX};
  struct rounding rounding = {call.quantise ? scale : nullptr,
                              ffb_make_rounder(call.rounding, call.seed, call.purpose, call.step, 127),
                              {ffb_data<float>(call.weight_scale), nullptr, nullptr, 0, FFB_RANGE_ABSMAX}};
  unsigned blocks = ffb_source_blocks(source.n);
  if (!ffb_cuda_fits(device, SCALE_BYTES + (int64_t)blocks * (int64_t)sizeof *of_block, "update") ||
      (call.quantise && !ffb_launch_scale(device, "update", source, nullptr, found, of_block)))
    return false;
  if (call.rule->kind == FFB_RULE_ADAM) {
    struct ffb_adam_step rule = ffb_adam_step_of(&call.rule->adam);
    return FFB_LAUNCH(device, blocks, FFB_RANGE_THREADS, (update<Source, struct ffb_adam_step>), source, rule, rounding,
                      ffb_step_aligned(rule), of_block);
  }
  struct ffb_sgd_step rule = ffb_sgd_step_of(&call.rule->sgd);
  return FFB_LAUNCH(device, blocks, FFB_RANGE_THREADS, (update<Source, struct ffb_sgd_step>), source, rule, rounding,
                    ffb_step_aligned(rule), of_block);
}

const struct ffb_tensor *weights_of(const struct ffb_update_rule *rule) {
  return rule->kind == FFB_RULE_ADAM ? rule->adam.weights : rule->sgd.weights;
}

/* A workspace holds the gradient, then what the product wants. */
struct parts {
  struct ffb_tensor gradient, rest;
};

size_t gradient_bytes(const struct ffb_update_rule *rule) {
  return ((size_t)ffb_elements(weights_of(rule)) * sizeof(float) + 255) / 256 * 256;
}

bool split(struct ffb_device *device, const struct ffb_tensor *workspace, const struct ffb_update_rule *rule,
           enum ffb_type type, struct parts *parts) {
  int64_t bytes = workspace ? ffb_elements(workspace) * (int64_t)ffb_type_bytes(workspace->type) : 0;
  int64_t first = (int64_t)gradient_bytes(rule);
  if (bytes < first || !ffb_aligned({workspace->data}, 16)) {
    snprintf(device->failure, sizeof device->failure, "update: the workspace has %lld bytes, %lld are needed",
             (long long)bytes, (long long)first);
    return false;
  }
  *parts = {};
  parts->gradient = *weights_of(rule);
  parts->gradient.data = workspace->data;
  parts->gradient.type = type;
  parts->rest.data = ffb_data<char>(workspace) + first;
  parts->rest.type = FFB_U8;
  parts->rest.shape[0] = bytes - first;
  parts->rest.shape[1] = parts->rest.shape[2] = parts->rest.shape[3] = 1;
  return true;
}

/* The products that updates begin with; with parts null, for their shapes alone. */
union ffb_arguments product_of(const struct ffb_linear_update_s8 *call, struct ffb_tensor *sums,
                               struct ffb_tensor *rest) {
  union ffb_arguments product = {};
  product.gemm_s8.c = sums;
  product.gemm_s8.a = call->gy;
  product.gemm_s8.b = call->x;
  product.gemm_s8.transpose_a = true;
  product.gemm_s8.workspace = rest;
  return product;
}

union ffb_arguments product_of(const struct ffb_convolve_update_s8 *call, struct ffb_tensor *gradient,
                               struct ffb_tensor *rest) {
  union ffb_arguments product = {};
  product.convolve_weight_s8.gw = gradient;
  product.convolve_weight_s8.gy = call->gy;
  product.convolve_weight_s8.x = call->x;
  product.convolve_weight_s8.gy_scale = call->gy_scale;
  product.convolve_weight_s8.x_scale = call->x_scale;
  product.convolve_weight_s8.window = call->window;
  product.convolve_weight_s8.groups = call->groups;
  product.convolve_weight_s8.workspace = rest;
  return product;
}

struct ffb_tensor *null_if_empty(struct ffb_tensor *tensor) {
  return tensor->shape[0] > 0 ? tensor : nullptr;
}

} // namespace

bool ffb_cuda_linear_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_f32 *call = &arguments->linear_f32;
  union ffb_arguments product = product_of(call);
  finish_linear body = {};
  body.bias = ffb_data<float>(call->bias);
  body.mask = ffb_data<float>(call->mask);
  body.relu = call->relu;
  return ffb_cuda_gemm_f32(device, &product) &&
         (!(body.bias || body.mask || body.relu) || finish(device, "linear_f32", call->y, body));
}

bool ffb_cuda_linear_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_s8 *call = &arguments->linear_s8;
  struct ffb_tensor sums;
  union ffb_arguments product = product_of(call, &sums);
  finish_linear body = {};
  body.scale_a = ffb_data<float>(call->x_scale);
  body.scale_b = ffb_data<float>(call->w_scale);
  body.bias = ffb_data<float>(call->bias);
  body.mask = ffb_data<float>(call->mask);
  body.integer = true;
  body.relu = call->relu;
  return ffb_cuda_gemm_s8(device, &product) && finish(device, "linear_s8", call->y, body);
}

bool ffb_cuda_linear_update_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_update_s8 *call = &arguments->linear_update_s8;
  struct parts parts;
  if (!split(device, call->workspace, &call->rule, FFB_S32, &parts))
    return false;
  union ffb_arguments product = product_of(call, &parts.gradient, null_if_empty(&parts.rest));
  gradient_sums source = {ffb_data<int32_t>(&parts.gradient), ffb_data<float>(call->gy_scale),
                          ffb_data<float>(call->x_scale), ffb_elements(&parts.gradient)};
  return ffb_cuda_gemm_s8(device, &product) &&
         launch_update(device, source,
                       {&call->rule, call->step, call->weight_scale, call->quantise_gradient, call->rounding,
                        call->purpose, call->seed});
}

bool ffb_cuda_convolve_update_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convolve_update_s8 *call = &arguments->convolve_update_s8;
  struct parts parts;
  if (!split(device, call->workspace, &call->rule, FFB_F32, &parts))
    return false;
  union ffb_arguments product = product_of(call, &parts.gradient, null_if_empty(&parts.rest));
  struct ffb_stored source = {ffb_data<float>(&parts.gradient), ffb_elements(&parts.gradient), true};
  return ffb_cuda_convolve_weight_s8(device, &product) &&
         launch_update(device, source,
                       {&call->rule, call->step, call->weight_scale, call->quantise_gradient, call->rounding,
                        call->purpose, call->seed});
}

size_t ffb_cuda_fused_workspace(struct ffb_device *device, enum ffb_operator operation,
                                const union ffb_arguments *arguments, ffb_cuda_workspace_function *of_product) {
  struct ffb_tensor like;
  union ffb_arguments product;
  switch (operation) {
  case FFB_LINEAR_S8:
    product = product_of(&arguments->linear_s8, &like);
    return of_product(device, FFB_GEMM_S8, &product);
  case FFB_LINEAR_UPDATE_S8:
    like = *weights_of(&arguments->linear_update_s8.rule);
    like.type = FFB_S32;
    product = product_of(&arguments->linear_update_s8, &like, nullptr);
    return gradient_bytes(&arguments->linear_update_s8.rule) + of_product(device, FFB_GEMM_S8, &product);
  case FFB_CONVOLVE_UPDATE_S8:
    like = *weights_of(&arguments->convolve_update_s8.rule);
    product = product_of(&arguments->convolve_update_s8, &like, nullptr);
    return gradient_bytes(&arguments->convolve_update_s8.rule) + of_product(device, FFB_CONVOLVE_WEIGHT_S8, &product);
  default:
    return 0;
  }
}
