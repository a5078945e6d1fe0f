/* Goodness and normalisation of rows, whole or in groups of channels. */
#include "backends/cuda/ordered.cuh"
#include "backends/cuda/sources.cuh"

namespace {

/* A row's columns, as group.h sees them: one group is the whole row, in one sequence. */
struct rows {
  int64_t rows, columns, pixels, channels;
  int groups;
};

rows rows_of(const struct ffb_tensor *x, int groups) {
  int64_t columns = ffb_columns(x), channels = groups == 1 ? columns : ffb_channels(x);
  return {ffb_rows(x), columns, columns / channels, channels, groups};
}

__device__ int64_t group_start(const struct rows &r, int g) {
  int64_t size = r.channels / r.groups, extra = r.channels % r.groups;
  return g * size + (g < extra ? g : extra);
}

/* The group that a channel is in: the larger groups come first. */
__device__ int group_of(const struct rows &r, int64_t channel) {
  int64_t size = r.channels / r.groups, extra = r.channels % r.groups, large = extra * (size + 1);
  return (int)(channel < large ? channel / (size + 1) : extra + (channel - large) / size);
}

__device__ int64_t group_size(const struct rows &r, int g) {
  return r.pixels * (group_start(r, g + 1) - group_start(r, g));
}

struct square_of {
  const float *x;
  __device__ float operator()(int64_t j) const {
    return x[j] * x[j];
  }
};

struct square_of_pixel {
  const float *x;
  int64_t channels;
  __device__ float operator()(int64_t p, int64_t c) const {
    float value = x[p * channels + c];
    return value * value;
  }
};

struct value_of {
  const float *x;
  __device__ float operator()(int64_t j) const {
    return x[j];
  }
};

/* Block (c, m): the sums over the pixels of image m, 32 channels from 32 c on. */
__global__ void __launch_bounds__(FFB_SUM_THREADS) channel_squares(float *sums, const float *x, struct rows r) {
  __shared__ float tile[FFB_SUM_TILE];
  int64_t first = (int64_t)blockIdx.x * FFB_SUM_COLUMNS;
  for (int64_t m = blockIdx.y; m < r.rows; m += gridDim.y) {
    square_of_pixel term = {x + m * r.columns, r.channels};
    float sum = ffb_column_sum(term, r.pixels, first, r.channels, tile);
    if (threadIdx.x < FFB_SUM_COLUMNS && first + threadIdx.x < r.channels)
      sums[m * r.channels + first + threadIdx.x] = sum;
  }
}

/* What a group's sum of squares is for. */
struct goodness_out {
  float *out;
  bool mean, accumulate;
  __device__ void put(const struct rows &r, int64_t m, int g, float sum) const {
    float *to = out + m * r.groups + g, value = mean ? sum / (float)group_size(r, g) : sum;
    *to = accumulate ? *to + value : value;
  }
};

struct factor_out {
  float *out;
  bool divide;
  __device__ void put(const struct rows &r, int64_t m, int g, float sum) const {
    float squares = divide ? sum / (float)group_size(r, g) : sum;
    out[m * r.groups + g] = 1 / (sqrtf(squares) + 1e-8f);
  }
};

/* Block b: group b % groups of row b / groups, from the channels' sums (or, of a whole row, straight from x). */
template <bool SUMMED, class Out>
__global__ void __launch_bounds__(FFB_SUM_THREADS) group_squares(const float *from, struct rows r, Out out) {
  __shared__ float tile[FFB_SUM_TILE];
  int64_t m = blockIdx.x / r.groups;
  int g = (int)(blockIdx.x % r.groups);
  int64_t start = group_start(r, g), width = group_start(r, g + 1) - start;
  float sum = 0;
  if constexpr (SUMMED)
    sum = ffb_row_sum(value_of{from + m * r.channels + start}, width, tile);
  else
    sum = ffb_row_sum(square_of{from + m * r.columns + start}, width, tile);
  if (threadIdx.x == 0)
    out.put(r, m, g, sum);
}

/* Floats of the scratch space that a channel's sums take. */
int64_t sums_of(const struct rows &all) {
  return all.pixels == 1 ? 0 : all.rows * all.channels;
}

/* Sums of squares of every group; images in groups take a second launch and the channels' sums, which are reserved. */
template <class Out>
bool sum_groups(struct ffb_device *device, const struct ffb_tensor *x, const struct rows &all, const Out &out) {
  float *sums = static_cast<float *>(device->scratch);
  if (all.pixels == 1)
    return FFB_LAUNCH(device, (unsigned)(all.rows * all.groups), FFB_SUM_THREADS, (group_squares<false, Out>),
                      ffb_data<float>(x), all, out);
  return FFB_LAUNCH(device, dim3(ffb_cuda_blocks(all.channels, FFB_SUM_COLUMNS), ffb_cuda_rows(all.rows)),
                    FFB_SUM_THREADS, channel_squares, sums, ffb_data<float>(x), all) &&
         FFB_LAUNCH(device, (unsigned)(all.rows * all.groups), FFB_SUM_THREADS, (group_squares<true, Out>), sums, all,
                    out);
}

/* ---- elements ------------------------------------------------------------------------------------------------- */

/* y = x * factor of the element's row and group. */
struct scale_rows {
  float *y;
  const float *x, *factor;
  struct rows r;
  struct ffb_divider columns, channels;

  __device__ __forceinline__ int64_t factor_at(int64_t i) const {
    int64_t m = columns.quotient(i);
    return r.groups == 1 ? m : m * r.groups + group_of(r, channels.remainder(i - m * columns.divisor));
  }
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N];
    ffb_load<N, VECTOR>(value, x + i);
#pragma unroll
    for (int k = 0; k < N; k++)
      value[k] = value[k] * factor[factor_at(i + k)];
    ffb_store<N, VECTOR>(y + i, value);
  }
};

/* inverse, from a goodness that is known. */
struct factor_from {
  const float *goodness;
  struct rows r;
  factor_out out;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    out.put(r, i / r.groups, (int)(i % r.groups), goodness[i]);
  }
};

struct goodness_gradient {
  float *gy;
  const float *gradient, *y;
  struct rows r;
  struct ffb_divider columns, channels;
  bool mean, accumulate;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N], before[N] = {};
    ffb_load<N, VECTOR>(value, y + i);
    if (accumulate)
      ffb_load<N, VECTOR>(before, gy + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      int64_t m = columns.quotient(i + k);
      int g = r.groups == 1 ? 0 : group_of(r, channels.remainder(i + k - m * columns.divisor));
      float factor = gradient[m * r.groups + g] * 2;
      if (mean)
        factor /= (float)group_size(r, g);
      value[k] = accumulate ? before[k] + factor * value[k] : factor * value[k];
    }
    ffb_store<N, VECTOR>(gy + i, value);
  }
};

/* ---- quantised in one ------------------------------------------------------------------------------------------ */

/* As square_of, and what the largest of its values is. */
struct square_and_largest {
  const float *x;
  uint32_t largest;
  __device__ float operator()(int64_t j) {
    uint32_t size = ffb_magnitude(x[j]);
    largest = size > largest ? size : largest;
    return x[j] * x[j];
  }
};

/* One block for each row: its factor; the last one finds the scale of all, as the largest of a row stays the largest
 * when every value is multiplied by the same factor. */
__global__ void __launch_bounds__(FFB_SUM_THREADS)
    factors_and_scale(const float *x, struct rows r, factor_out out, struct ffb_scale_rule rule, uint32_t *of_row) {
  static_assert((int)FFB_SUM_THREADS == (int)FFB_RANGE_THREADS, "one block does both");
  __shared__ float tile[FFB_SUM_TILE];
  square_and_largest term = {x + (int64_t)blockIdx.x * r.columns, 0};
  float sum = ffb_row_sum(term, r.columns, tile);
  uint32_t largest = ffb_block_largest(term.largest);
  if (threadIdx.x == 0) {
    out.put(r, blockIdx.x, 0, sum);
    largest = ffb_magnitude(__uint_as_float(largest) * out.out[blockIdx.x]);
  } else {
    largest = 0;
  }
  if (ffb_grid_largest(&largest, of_row, &ffb_source_tickets) && threadIdx.x == 0)
    rule.apply(__uint_as_float(largest));
}

/* What NORMALISE gives, from the factors. */
struct normalised {
  scale_rows rows;
  int64_t n;
  bool vector;
  __device__ __forceinline__ void values(float (&v)[FFB_DRAWS], int64_t i) const {
    ffb_load_draws(v, rows.x, i, n, vector);
#pragma unroll
    for (int k = 0; k < FFB_DRAWS; k++) {
      if (i + k < n)
        v[k] = v[k] * rows.factor[rows.factor_at(i + k)];
    }
  }
};

struct product_of {
  const float *a, *b;
  __device__ float operator()(int64_t j) const {
    return a[j] * b[j];
  }
};

/* One block for each row: gx of the whole row, or with along[] only what its elements need of the others. */
__global__ void __launch_bounds__(FFB_SUM_THREADS)
    normalise_gradient(float *gx, const float *gy, const float *y, const float *inverse, float *along, int64_t columns,
                       float k) {
  __shared__ float tile[FFB_SUM_TILE];
  int64_t row = blockIdx.x * columns;
  float sum = ffb_row_sum(product_of{gy + row, y + row}, columns, tile) * k, by = inverse[blockIdx.x];
  if (along) {
    if (threadIdx.x == 0)
      along[blockIdx.x] = sum;
    return;
  }
  for (int64_t i = row + threadIdx.x; i < row + columns; i += FFB_SUM_THREADS)
    gx[i] = by * (gy[i] - y[i] * sum);
}

struct turn_along {
  float *gx;
  const float *gy, *y, *inverse, *along;
  struct ffb_divider columns;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float gradient[N], value[N];
    ffb_load<N, VECTOR>(gradient, gy + i);
    ffb_load<N, VECTOR>(value, y + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      int64_t m = columns.quotient(i + k);
      value[k] = inverse[m] * (gradient[k] - value[k] * along[m]);
    }
    ffb_store<N, VECTOR>(gx + i, value);
  }
};

/* The factor of every group of every row, and where the scratch space goes on behind it, for so many more words. */
struct factors {
  struct rows all;
  factor_out out;
  uint32_t *rest;
};

bool make_factors(struct ffb_device *device, const struct ffb_normalise *call, int64_t more, factors *f) {
  struct rows all = rows_of(call->x, call->groups);
  /* The channels' sums come first. */
  int64_t factors = sums_of(all), rest = factors + all.rows * all.groups;
  if (!ffb_cuda_reserve(device, (size_t)(rest + more) * sizeof(float)))
    return false;
  float *scratch = static_cast<float *>(device->scratch);
  *f = {all,
        {call->inverse ? ffb_data<float>(call->inverse) : scratch + factors,
         call->kind == FFB_NORMALISE_RMS && !(call->goodness && call->mean)},
        reinterpret_cast<uint32_t *>(scratch + rest)};
  return true;
}

bool find_factors(struct ffb_device *device, const struct ffb_normalise *call, const factors &f) {
  if (call->goodness)
    return ffb_for_each(device, "normalise", f.all.rows * f.all.groups, false,
                        factor_from{ffb_data<float>(call->goodness), f.all, f.out});
  return sum_groups(device, call->x, f.all, f.out);
}

scale_rows scaling_of(const struct ffb_normalise *call, const factors &f) {
  return {ffb_data<float>(call->y),     ffb_data<float>(call->x),     f.out.out, f.all,
          ffb_divide_by(f.all.columns), ffb_divide_by(f.all.channels)};
}

} // namespace

bool ffb_cuda_goodness(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_goodness *call = &arguments->goodness;
  goodness_out out = {ffb_data<float>(call->goodness), call->mean, call->accumulate};
  struct rows all = rows_of(call->y, call->groups);
  return ffb_cuda_reserve(device, (size_t)sums_of(all) * sizeof(float)) && sum_groups(device, call->y, all, out);
}

bool ffb_cuda_normalise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise *call = &arguments->normalise;
  factors f;
  if (!make_factors(device, call, 0, &f))
    return false;
  scale_rows scale = scaling_of(call, f);
  return find_factors(device, call, f) &&
         ffb_for_each(device, "normalise", f.all.rows * f.all.columns, ffb_aligned({scale.y, scale.x}, 16), scale);
}

bool ffb_cuda_normalise_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise_s8 *call = &arguments->normalise_s8;
  struct ffb_scale_rule rule = ffb_scale_rule_of(&call->scale);
  factors f;
  /* A word for each row, or for each block that looks for the largest value. */
  int64_t rows = ffb_rows(call->normalise.x), blocks = ffb_source_blocks(ffb_elements(call->normalise.x));
  if (!make_factors(device, &call->normalise, rows > blocks ? rows : blocks, &f))
    return false;
  normalised source = {scaling_of(&call->normalise, f), f.all.rows * f.all.columns,
                       ffb_aligned({call->normalise.x->data}, 16)};
  bool whole = f.all.groups == 1 && !call->normalise.goodness, scaled = false;
  if (call->scale.range == FFB_RANGE_ABSMAX && whole)
    scaled = FFB_LAUNCH(device, (unsigned)f.all.rows, FFB_SUM_THREADS, factors_and_scale, source.rows.x, f.all, f.out,
                        rule, f.rest);
  else if (call->scale.range == FFB_RANGE_ABSMAX)
    scaled = find_factors(device, &call->normalise, f) &&
             ffb_launch_scale(device, "normalise_s8", source, nullptr, rule, f.rest);
  else
    scaled = find_factors(device, &call->normalise, f) && ffb_launch_given_scale(device, rule);
  return scaled && ffb_launch_quantise(device, "normalise_s8", source, &call->quantise);
}

bool ffb_cuda_normalise_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise_gradient *call = &arguments->normalise_gradient;
  int64_t rows = ffb_rows(call->y), columns = ffb_columns(call->y);
  float k = call->kind == FFB_NORMALISE_RMS ? 1 / (float)columns : 1;
  /* A long row is too much for one block to write. */
  bool is_long = columns > FFB_SUM_TILE;
  if (is_long && !ffb_cuda_reserve(device, (size_t)rows * sizeof(float)))
    return false;
  float *along = is_long ? static_cast<float *>(device->scratch) : nullptr;
  turn_along body = {ffb_data<float>(call->gx),
                     ffb_data<float>(call->gy),
                     ffb_data<float>(call->y),
                     ffb_data<float>(call->inverse),
                     along,
                     ffb_divide_by(columns)};
  return FFB_LAUNCH(device, (unsigned)rows, FFB_SUM_THREADS, normalise_gradient, body.gx, body.gy, body.y, body.inverse,
                    along, columns, k) &&
         (!along || ffb_for_each(device, "normalise_gradient", rows * columns,
                                 ffb_aligned({body.gx, body.gy, body.y}, 16), body));
}

bool ffb_cuda_goodness_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_goodness_gradient *call = &arguments->goodness_gradient;
  struct rows all = rows_of(call->y, call->groups);
  goodness_gradient body = {ffb_data<float>(call->gy),
                            ffb_data<float>(call->gradient),
                            ffb_data<float>(call->y),
                            all,
                            ffb_divide_by(all.columns),
                            ffb_divide_by(all.channels),
                            call->mean,
                            call->accumulate};
  return ffb_for_each(device, "goodness_gradient", all.rows * all.columns, ffb_aligned({body.gy, body.y}, 16), body);
}
