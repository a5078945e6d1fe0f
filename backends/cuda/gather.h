/* Kernels around a product: operands are brought into the form that it takes, and its sums into the form that the
 * operator gives. */
#ifndef FFBENCH_BACKENDS_CUDA_GATHER_H
#define FFBENCH_BACKENDS_CUDA_GATHER_H

#include "backends/cuda/device.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* to[r][k], r < to_rows, k < to_depth, is from[r * row_stride + (k / inner) * outer_stride + (k % inner) *
 * inner_stride] where r < rows and k < depth, else 0. */
struct ffb_cuda_pack {
  const void *from;
  void *to;
  int64_t rows, depth;
  int64_t to_rows, to_depth; /* to_depth is the stride of `to` too */
  int64_t row_stride, inner, outer_stride, inner_stride;
};
bool ffb_cuda_pack_s8(struct ffb_device *device, const struct ffb_cuda_pack *pack);
bool ffb_cuda_pack_f32(struct ffb_device *device, const struct ffb_cuda_pack *pack);

/* Rows of a product that is a convolution. Position n of a grid [images][grid_height][grid_width] has the patch k =
 * tap * channels + c of channels `offset` .. of an image [height][width][stride of a pixel]: forward, what the window
 * at the position covers; backward, the outputs whose window covers the position. What falls outside is 0. */
struct ffb_cuda_patches {
  const void *from;
  void *to;
  int64_t first, count;      /* positions first .. first + count - 1 */
  int64_t to_rows, to_depth; /* positions and elements with the zeros behind them */
  int height, width, pixel_stride, offset, channels;
  int grid_height, grid_width;
  int kernel, stride, padding;
  bool backward;
};
/* to[n - first][k]. */
bool ffb_cuda_gather_patches_s8(struct ffb_device *device, const struct ffb_cuda_patches *patches);
bool ffb_cuda_gather_patches_f32(struct ffb_device *device, const struct ffb_cuda_patches *patches);
/* to[k][n - first]. */
bool ffb_cuda_gather_transposed_s8(struct ffb_device *device, const struct ffb_cuda_patches *patches);

/* out[r][c] = (float)sums[r][c] * (*scale_a * *scale_b), or += it; with `wide` the sums are S64. S32 sums may lie where
 * out does, element by element. */
struct ffb_cuda_scaling {
  float *out;
  const void *sums;
  bool wide, accumulate;
  int64_t rows, columns, out_stride, sums_stride;
  const float *scale_a, *scale_b;
};
bool ffb_cuda_scale_sums(struct ffb_device *device, const struct ffb_cuda_scaling *scaling);
/* out[r][c] = sums[r][c], from padded rows to dense ones. */
bool ffb_cuda_unpad_sums(struct ffb_device *device, int32_t *out, const int32_t *sums, int64_t rows, int64_t columns,
                         int64_t stride);
/* total = sums, or total += sums. */
bool ffb_cuda_add_sums(struct ffb_device *device, int64_t *total, const int32_t *sums, int64_t count, bool first);

/* The S8 product without tensor cores, for shapes that the library has nothing for: as struct ffb_cuda_product. */
struct ffb_cuda_plain_product {
  const int8_t *a, *b;
  int32_t *c;
  int64_t rows, columns, depth, a_stride, b_stride, c_stride;
  bool accumulate;
};
bool ffb_cuda_multiply_plain_s8(struct ffb_device *device, const struct ffb_cuda_plain_product *product);

#ifdef __cplusplus
}
#endif

#endif
