/* Operands on their way into a product, and sums on their way out of it (gather.h). Elements that lie side by side in
 * the source but not in the destination go through a tile in shared memory, so that reads and writes both touch whole
 * sectors. */
#include "backends/cuda/gather.h"

#include "backends/cuda/each.cuh"

namespace {

enum { TILE = 32, TILE_ROWS = 8, THREADS = 256 };

/* ---- packing --------------------------------------------------------------------------------------------------- */

__device__ int64_t pack_source(const ffb_cuda_pack &pack, int64_t r, int64_t k) {
  return r * pack.row_stride + k / pack.inner * pack.outer_stride + k % pack.inner * pack.inner_stride;
}

/* Where k runs along the source too. */
template <class T> __global__ void pack_rows(ffb_cuda_pack pack) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  if (i >= pack.to_rows * pack.to_depth)
    return;
  int64_t r = i / pack.to_depth, k = i % pack.to_depth;
  bool inside = r < pack.rows && k < pack.depth;
  static_cast<T *>(pack.to)[i] = inside ? static_cast<const T *>(pack.from)[pack_source(pack, r, k)] : T(0);
}

/* Where r does. */
template <class T> __global__ void pack_columns(ffb_cuda_pack pack) {
  __shared__ T tile[TILE][TILE + 1];
  int64_t first_k = (int64_t)blockIdx.x * TILE, first_r = (int64_t)blockIdx.y * TILE;
  for (int step = 0; step < TILE; step += TILE_ROWS) {
    int64_t r = first_r + threadIdx.x, k = first_k + threadIdx.y + step;
    bool inside = r < pack.rows && k < pack.depth;
    tile[threadIdx.y + step][threadIdx.x] = inside ? static_cast<const T *>(pack.from)[pack_source(pack, r, k)] : T(0);
  }
  __syncthreads();
  for (int step = 0; step < TILE; step += TILE_ROWS) {
    int64_t r = first_r + threadIdx.y + step, k = first_k + threadIdx.x;
    if (r < pack.to_rows && k < pack.to_depth)
      static_cast<T *>(pack.to)[r * pack.to_depth + k] = tile[threadIdx.x][threadIdx.y + step];
  }
}

template <class T> bool launch_pack(ffb_device *device, const ffb_cuda_pack &pack) {
  if (pack.row_stride != 1)
    return FFB_LAUNCH(device, ffb_cuda_blocks(pack.to_rows * pack.to_depth, THREADS), THREADS, pack_rows<T>, pack);
  dim3 blocks(ffb_cuda_blocks(pack.to_depth, TILE), ffb_cuda_blocks(pack.to_rows, TILE));
  return FFB_LAUNCH(device, blocks, dim3(TILE, TILE_ROWS), pack_columns<T>, pack);
}

/* ---- patches --------------------------------------------------------------------------------------------------- */

/* Patches, with the divisions that every thread makes prepared. */
struct grid {
  ffb_cuda_patches patches;
  ffb_divider row, line, height, channels, kernel, stride; /* row: vectors in a row of `to` */
};

grid grid_of(const ffb_cuda_patches &patches, int64_t per_row) {
  return {patches,
          ffb_divide_by(per_row),
          ffb_divide_by(patches.grid_width),
          ffb_divide_by(patches.grid_height),
          ffb_divide_by(patches.channels),
          ffb_divide_by(patches.kernel),
          ffb_divide_by(patches.stride)};
}

struct position {
  int64_t image; /* number of its first pixel */
  int h, w;      /* backward: with the padding; forward: of the window's first tap */
  bool inside;
};

__device__ position position_of(const grid &g, int64_t row) {
  const ffb_cuda_patches &p = g.patches;
  int64_t n = p.first + row, line = g.line.quotient(n), image = g.height.quotient(line);
  int h = (int)(line - image * p.grid_height), w = (int)(n - line * p.grid_width);
  position at;
  at.image = image * p.height * p.width;
  at.h = p.backward ? h + p.padding : h * p.stride - p.padding;
  at.w = p.backward ? w + p.padding : w * p.stride - p.padding;
  at.inside = row < p.count;
  return at;
}

/* Element number of channel 0 of the pixel that a tap of the position meets; -1 outside. */
__device__ int64_t pixel_of(const grid &g, const position &at, int tap) {
  const ffb_cuda_patches &p = g.patches;
  int i = (int)g.kernel.quotient(tap), j = tap - i * p.kernel;
  int h = at.h + i, w = at.w + j;
  if (p.backward) {
    int down = at.h - i, right = at.w - j;
    if (down < 0 || right < 0)
      return -1;
    h = (int)g.stride.quotient(down);
    w = (int)g.stride.quotient(right);
    if (h * p.stride != down || w * p.stride != right)
      return -1;
  }
  if (!at.inside || h < 0 || h >= p.height || w < 0 || w >= p.width)
    return -1;
  return (at.image + (int64_t)h * p.width + w) * p.pixel_stride + p.offset;
}

template <class T> __device__ T patch_element(const grid &g, const position &at, int k) {
  const ffb_cuda_patches &p = g.patches;
  int tap = (int)g.channels.quotient(k);
  if (tap >= p.kernel * p.kernel)
    return T(0);
  int64_t pixel = pixel_of(g, at, tap);
  return pixel < 0 ? T(0) : static_cast<const T *>(p.from)[pixel + (k - tap * p.channels)];
}

/* A thread moves one V, which holds elements of one tap (V is T where it holds one). */
template <class T, class V> __global__ void gather(grid g) {
  const ffb_cuda_patches &p = g.patches;
  const int width = (int)(sizeof(V) / sizeof(T));
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = g.row.quotient(i);
  if (row >= p.to_rows)
    return;
  int k = (int)(i - row * g.row.divisor) * width, tap = (int)g.channels.quotient(k);
  position at = position_of(g, row);
  V value = V();
  int64_t pixel = tap < p.kernel * p.kernel ? pixel_of(g, at, tap) : -1;
  if (pixel >= 0)
    value = *reinterpret_cast<const V *>(static_cast<const T *>(p.from) + pixel + (k - tap * p.channels));
  reinterpret_cast<V *>(p.to)[i] = value;
}

template <class T> __global__ void gather_transposed(grid g) {
  __shared__ T tile[TILE][TILE + 1];
  const ffb_cuda_patches &p = g.patches;
  int64_t first_row = (int64_t)blockIdx.x * TILE;
  int first_k = (int)blockIdx.y * TILE;
  for (int step = 0; step < TILE; step += TILE_ROWS) {
    position at = position_of(g, first_row + threadIdx.y + step);
    tile[threadIdx.y + step][threadIdx.x] = patch_element<T>(g, at, first_k + (int)threadIdx.x);
  }
  __syncthreads();
  for (int step = 0; step < TILE; step += TILE_ROWS) {
    int64_t k = first_k + (int)threadIdx.y + step, row = first_row + threadIdx.x;
    if (k < p.to_depth && row < p.to_rows)
      static_cast<T *>(p.to)[k * p.to_rows + row] = tile[threadIdx.x][threadIdx.y + step];
  }
}

/* Whether vectors of so many bytes divide every tap and lie aligned. */
bool takes_vectors(const ffb_cuda_patches &patches, int64_t element, int64_t bytes) {
  return (uintptr_t)patches.from % (uintptr_t)bytes == 0 && (uintptr_t)patches.to % (uintptr_t)bytes == 0 &&
         patches.channels * element % bytes == 0 && patches.pixel_stride * element % bytes == 0 &&
         patches.offset * element % bytes == 0 && patches.to_depth * element % bytes == 0;
}

template <class T, class V> bool launch_gather(ffb_device *device, const ffb_cuda_patches &patches) {
  int64_t per_row = patches.to_depth / (int64_t)(sizeof(V) / sizeof(T));
  return FFB_LAUNCH(device, ffb_cuda_blocks(patches.to_rows * per_row, THREADS), THREADS, (gather<T, V>),
                    grid_of(patches, per_row));
}

/* ---- sums ------------------------------------------------------------------------------------------------------ */

/* Sums without gaps; they may be out itself. */
struct scale_dense {
  float *out;
  const float *sums; /* S32 */
  const float *scale_a, *scale_b;
  bool accumulate;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float value[N], before[N] = {}, scale = *scale_a * *scale_b;
    ffb_load<N, VECTOR>(value, sums + i);
    if (accumulate)
      ffb_load<N, VECTOR>(before, out + i);
#pragma unroll
    for (int k = 0; k < N; k++) {
      value[k] = (float)(int32_t)__float_as_uint(value[k]) * scale;
      if (accumulate)
        value[k] = before[k] + value[k];
    }
    ffb_store<N, VECTOR>(out + i, value);
  }
};

template <class Sum> __global__ void scale_sums(ffb_cuda_scaling scaling, ffb_divider columns) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, r = columns.quotient(i), c = i - r * scaling.columns;
  if (r >= scaling.rows)
    return;
  float scale = *scaling.scale_a * *scaling.scale_b;
  float value = (float)static_cast<const Sum *>(scaling.sums)[r * scaling.sums_stride + c] * scale;
  float *out = scaling.out + r * scaling.out_stride + c;
  *out = scaling.accumulate ? *out + value : value;
}

__global__ void unpad_sums(int32_t *out, const int32_t *sums, int64_t rows, int64_t columns, int64_t stride) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  if (i < rows * columns)
    out[i] = sums[i / columns * stride + i % columns];
}

__global__ void add_sums(int64_t *total, const int32_t *sums, int64_t count, bool first) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  if (i < count)
    total[i] = first ? sums[i] : total[i] + sums[i];
}

__global__ void multiply_plain(ffb_cuda_plain_product product) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  if (i >= product.rows * product.columns)
    return;
  int64_t r = i / product.columns, c = i % product.columns;
  const int8_t *a = product.a + r * product.a_stride, *b = product.b + c * product.b_stride;
  int32_t sum = 0;
  for (int64_t k = 0; k < product.depth; k++)
    sum += (int32_t)a[k] * b[k];
  int32_t *out = product.c + r * product.c_stride + c;
  *out = product.accumulate ? *out + sum : sum;
}

} // namespace

bool ffb_cuda_pack_s8(ffb_device *device, const ffb_cuda_pack *pack) {
  return launch_pack<int8_t>(device, *pack);
}

bool ffb_cuda_pack_f32(ffb_device *device, const ffb_cuda_pack *pack) {
  return launch_pack<float>(device, *pack);
}

bool ffb_cuda_gather_patches_s8(ffb_device *device, const ffb_cuda_patches *patches) {
  if (takes_vectors(*patches, 1, 16))
    return launch_gather<int8_t, int4>(device, *patches);
  if (takes_vectors(*patches, 1, 4))
    return launch_gather<int8_t, int>(device, *patches);
  return launch_gather<int8_t, int8_t>(device, *patches);
}

bool ffb_cuda_gather_patches_f32(ffb_device *device, const ffb_cuda_patches *patches) {
  if (takes_vectors(*patches, sizeof(float), 16))
    return launch_gather<float, int4>(device, *patches);
  return launch_gather<float, float>(device, *patches);
}

bool ffb_cuda_gather_transposed_s8(ffb_device *device, const ffb_cuda_patches *patches) {
  dim3 blocks(ffb_cuda_blocks(patches->to_rows, TILE), ffb_cuda_blocks(patches->to_depth, TILE));
  return FFB_LAUNCH(device, blocks, dim3(TILE, TILE_ROWS), gather_transposed<int8_t>, grid_of(*patches, 1));
}

bool ffb_cuda_scale_sums(ffb_device *device, const ffb_cuda_scaling *scaling) {
  int64_t n = scaling->rows * scaling->columns;
  ffb_divider columns = ffb_divide_by(scaling->columns);
  if (scaling->wide)
    return FFB_LAUNCH(device, ffb_cuda_blocks(n, THREADS), THREADS, scale_sums<int64_t>, *scaling, columns);
  if (scaling->out_stride != scaling->columns || scaling->sums_stride != scaling->columns)
    return FFB_LAUNCH(device, ffb_cuda_blocks(n, THREADS), THREADS, scale_sums<int32_t>, *scaling, columns);
  const float *sums = static_cast<const float *>(scaling->sums);
  scale_dense body = {scaling->out, sums, scaling->scale_a, scaling->scale_b, scaling->accumulate};
  return ffb_for_each(device, "scale_sums", n, ffb_aligned({scaling->out, sums}, 16), body);
}

bool ffb_cuda_unpad_sums(ffb_device *device, int32_t *out, const int32_t *sums, int64_t rows, int64_t columns,
                         int64_t stride) {
  return FFB_LAUNCH(device, ffb_cuda_blocks(rows * columns, THREADS), THREADS, unpad_sums, out, sums, rows, columns,
                    stride);
}

bool ffb_cuda_add_sums(ffb_device *device, int64_t *total, const int32_t *sums, int64_t count, bool first) {
  return FFB_LAUNCH(device, ffb_cuda_blocks(count, THREADS), THREADS, add_sums, total, sums, count, first);
}

bool ffb_cuda_multiply_plain_s8(ffb_device *device, const ffb_cuda_plain_product *product) {
  return FFB_LAUNCH(device, ffb_cuda_blocks(product->rows * product->columns, THREADS), THREADS, multiply_plain,
                    *product);
}
