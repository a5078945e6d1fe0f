/* Matrix products on the device, and the memory that a call may use for them. */
#ifndef FFBENCH_BACKENDS_CUDA_PRODUCT_H
#define FFBENCH_BACKENDS_CUDA_PRODUCT_H

#include "backends/backend.h"
#include "backends/cuda/device.h"

enum {
  /* INT8 tensor cores take operands whose depth, strides and addresses are multiples of this many bytes; zeros fill the
   * rest. */
  FFB_CUDA_S8_UNIT = 16,
  /* Fewer rows than this are filled up too: the library has no kernels for them. */
  FFB_CUDA_S8_ROWS = 32,
};

/* c = op(a) op(b), or c += with accumulate; all row-major, strides in elements. F32, or S8 summed in S32. An S8 product
 * has a [rows][depth] and b [columns][depth] (transpose_b alone), rows of FFB_CUDA_S8_ROWS at least, and depth,
 * columns, strides and addresses that are multiples of FFB_CUDA_S8_UNIT. */
struct ffb_cuda_product {
  bool integer, transpose_a, transpose_b, accumulate;
  int64_t rows, columns, depth;
  const void *a, *b;
  void *c;
  int64_t a_stride, b_stride, c_stride;
};
bool ffb_cuda_multiply(struct ffb_device *device, const struct ffb_cuda_product *product);

/* Memory for one call: the workspace that it was given where that has so many bytes, else the device's own, which grows
 * where it has to. Null with the device's failure set when there is none. */
void *ffb_cuda_scratch(struct ffb_device *device, const struct ffb_tensor *workspace, size_t bytes);

static inline int64_t ffb_cuda_rounded_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}
/* Bytes of a part of the scratch memory, so that the next part is aligned as the first. */
static inline size_t ffb_cuda_part(int64_t elements, size_t size) {
  return ((size_t)elements * size + 255) / 256 * 256;
}
static inline bool ffb_cuda_is_aligned(const void *address) {
  return (uintptr_t)address % FFB_CUDA_S8_UNIT == 0;
}
static inline int64_t ffb_cuda_s8_rows(int64_t rows) {
  return rows < FFB_CUDA_S8_ROWS ? FFB_CUDA_S8_ROWS : rows;
}

/* products.c, convolutions.c; bytes of the workspace that each wants. */
bool ffb_cuda_gemm_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_gemm_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_input_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_input_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_weight_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments);
size_t ffb_cuda_product_workspace(struct ffb_device *device, enum ffb_operator operation,
                                  const union ffb_arguments *arguments);
size_t ffb_cuda_convolution_workspace(struct ffb_device *device, enum ffb_operator operation,
                                      const union ffb_arguments *arguments);

/* workspace.c: of any operator, as struct ffb_backend has it. */
size_t ffb_cuda_workspace(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments);

#endif
