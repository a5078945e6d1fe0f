#include "backends/reference/reference.h"

/* Columns of the result that are summed side by side: only speed, the order of each sum is k = 0, 1, 2 ... */
enum { BLOCK = 64 };

/* Element (i, k) of an operand is data[i * outer + k * inner]. */
struct strides {
  int64_t outer, inner;
};

static struct strides strides_of(bool contiguous_in_k, int64_t length, int64_t k) {
  return contiguous_in_k ? (struct strides){k, 1} : (struct strides){1, length};
}

static int64_t depth(const struct ffb_tensor *a, bool transpose_a) {
  return transpose_a ? ffb_rows(a) : ffb_columns(a);
}

bool ffb_counted_gemm_f32(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_gemm_f32 *gemm = &arguments->gemm_f32;
  float *c = gemm->c->data;
  const float *a = gemm->a->data, *b = gemm->b->data;
  int64_t rows = ffb_rows(gemm->c), columns = ffb_columns(gemm->c), k_end = depth(gemm->a, gemm->transpose_a);
  struct strides sa = strides_of(!gemm->transpose_a, rows, k_end), sb = strides_of(gemm->transpose_b, columns, k_end);
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t start = 0; start < columns; start += BLOCK) {
      int64_t width = columns - start < BLOCK ? columns - start : BLOCK;
      double sum[BLOCK] = {0};
      for (int64_t k = 0; k < k_end; k++) {
        double left = a[m * sa.outer + k * sa.inner];
        for (int64_t n = 0; n < width; n++)
          sum[n] += left * (double)b[(start + n) * sb.outer + k * sb.inner];
        executed->mac_f32 += width;
      }
      float *out = c + m * columns + start;
      for (int64_t n = 0; n < width; n++)
        out[n] = gemm->accumulate ? out[n] + (float)sum[n] : (float)sum[n];
    }
  }
  return true;
}

bool ffb_counted_gemm_s8(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_gemm_s8 *gemm = &arguments->gemm_s8;
  int32_t *c = gemm->c->data;
  const int8_t *a = gemm->a->data, *b = gemm->b->data;
  int64_t rows = ffb_rows(gemm->c), columns = ffb_columns(gemm->c), k_end = depth(gemm->a, gemm->transpose_a);
  struct strides sa = strides_of(!gemm->transpose_a, rows, k_end), sb = strides_of(gemm->transpose_b, columns, k_end);
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t start = 0; start < columns; start += BLOCK) {
      int64_t width = columns - start < BLOCK ? columns - start : BLOCK;
      int32_t sum[BLOCK] = {0};
      for (int64_t k = 0; k < k_end; k++) {
        int32_t left = a[m * sa.outer + k * sa.inner];
        for (int64_t n = 0; n < width; n++)
          sum[n] += left * b[(start + n) * sb.outer + k * sb.inner];
        executed->mac_s8 += width;
      }
      for (int64_t n = 0; n < width; n++)
        c[m * columns + start + n] = sum[n];
    }
  }
  return true;
}
