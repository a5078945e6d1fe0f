/* Plain loops in the place of cuBLASLt, with all that the library asks of its operands asked here too. */
#include "tests/cuda_emulator/libraries.h"

#include "backends/cuda/convolution.h"
#include "backends/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POISON = 0xFF };

/* What calls took beyond their workspace. */
static struct {
  void *memory;
  size_t bytes;
} grown;

void emulated_libraries_close(void) {
  ffb_host_release(NULL, grown.memory);
  grown.memory = NULL;
  grown.bytes = 0;
}

void *ffb_cuda_scratch(struct ffb_device *device, const struct ffb_tensor *workspace, size_t bytes) {
  if (workspace && bytes && (size_t)ffb_elements(workspace) >= bytes) {
    memset(workspace->data, POISON, bytes);
    return workspace->data;
  }
  if (bytes <= device->scratch_bytes)
    return device->scratch;
  if (bytes > grown.bytes) {
    emulated_libraries_close();
    grown.memory = ffb_host_allocate(bytes, 256);
    grown.bytes = grown.memory ? bytes : 0;
  }
  return grown.memory;
}

static bool refuse(struct ffb_device *device, const char *why) {
  snprintf(device->failure, sizeof device->failure, "the library would refuse: %s", why);
  return false;
}

static bool multiple(int64_t n) {
  return n % FFB_CUDA_S8_UNIT == 0;
}

/* An operand's element, row-major or the other way round. */
static int64_t at(bool transposed, int64_t stride, int64_t row, int64_t column) {
  return transposed ? column * stride + row : row * stride + column;
}

static bool multiply_s8(struct ffb_device *device, const struct ffb_cuda_product *p) {
  const int8_t *a = p->a, *b = p->b;
  int32_t *c = p->c;
  if (p->transpose_a || !p->transpose_b)
    return refuse(device, "INT8 operands that do not lie along the depth");
  if (!multiple(p->depth) || !multiple(p->columns) || !multiple(p->a_stride) || !multiple(p->b_stride) ||
      !multiple(p->c_stride) || p->rows < FFB_CUDA_S8_ROWS)
    return refuse(device, "an odd shape");
  if (!ffb_cuda_is_aligned(a) || !ffb_cuda_is_aligned(b) || !ffb_cuda_is_aligned(c))
    return refuse(device, "an odd address");
  for (int64_t r = 0; r < p->rows; r++) {
    for (int64_t n = 0; n < p->columns; n++) {
      int64_t sum = p->accumulate ? c[r * p->c_stride + n] : 0;
      for (int64_t k = 0; k < p->depth; k++)
        sum += a[r * p->a_stride + k] * b[n * p->b_stride + k];
      if (sum != (int32_t)sum)
        return refuse(device, "a sum that S32 does not hold");
      c[r * p->c_stride + n] = (int32_t)sum;
    }
  }
  return true;
}

bool ffb_cuda_multiply(struct ffb_device *device, const struct ffb_cuda_product *p) {
  const float *a = p->a, *b = p->b;
  float *c = p->c;
  if (p->integer)
    return multiply_s8(device, p);
  for (int64_t r = 0; r < p->rows; r++) {
    for (int64_t n = 0; n < p->columns; n++) {
      double sum = 0;
      for (int64_t k = 0; k < p->depth; k++)
        sum += (double)a[at(p->transpose_a, p->a_stride, r, k)] * (double)b[at(p->transpose_b, p->b_stride, k, n)];
      float *out = &c[r * p->c_stride + n];
      *out = p->accumulate ? *out + (float)sum : (float)sum;
    }
  }
  return true;
}

bool ffb_cuda_dnn_takes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  (void)device, (void)convolution;
  return false;
}

bool ffb_cuda_dnn_convolve(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  (void)convolution;
  return refuse(device, "a convolution that nobody asked about");
}

size_t ffb_cuda_dnn_bytes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  (void)device, (void)convolution;
  return 0;
}
