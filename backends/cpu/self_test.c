/* INT8 products have to be exact, and hardware or compilers may have other ideas: saturating instructions are wrong
 * without an error. So before kernels are used, products of the largest operands are held against plain sums. */
#include "backends/cpu/device.h"
#include "base/memory.h"

#include <string.h>

/* Sizes that leave every kind of remainder, and sums long and extreme enough to overflow 16 bits and pairs of them. */
enum { ROWS = 13, COLUMNS = 37, DEPTH = 131 };

static int8_t extreme(int pattern, int i) {
  switch (pattern) {
  case 0:
    return 127;
  case 1:
    return -127;
  default:
    return (int8_t)((i * 89 + i / 7) % 255 - 127);
  }
}

struct operands {
  int8_t a[ROWS * DEPTH], b[DEPTH * COLUMNS];
  int32_t c[ROWS * COLUMNS];
};

static bool exact(const struct operands *operands, bool transpose_a, bool transpose_b) {
  for (int m = 0; m < ROWS; m++) {
    for (int n = 0; n < COLUMNS; n++) {
      int32_t sum = 0;
      for (int k = 0; k < DEPTH; k++)
        sum += operands->a[transpose_a ? k * ROWS + m : m * DEPTH + k] *
               operands->b[transpose_b ? n * DEPTH + k : k * COLUMNS + n];
      if (operands->c[m * COLUMNS + n] != sum)
        return false;
    }
  }
  return true;
}

static bool product_is_exact(struct ffb_device *device, struct operands *operands, bool transpose_a, bool transpose_b) {
  struct ffb_tensor a = {.data = operands->a, .type = FFB_S8, .shape = {ROWS, DEPTH, 1, 1}};
  struct ffb_tensor b = {.data = operands->b, .type = FFB_S8, .shape = {DEPTH, COLUMNS, 1, 1}};
  struct ffb_tensor c = {.data = operands->c, .type = FFB_S32, .shape = {ROWS, COLUMNS, 1, 1}};
  if (transpose_a)
    a.shape[0] = DEPTH, a.shape[1] = ROWS;
  if (transpose_b)
    b.shape[0] = COLUMNS, b.shape[1] = DEPTH;
  union ffb_arguments arguments = {
      .gemm_s8 = {.c = &c, .a = &a, .b = &b, .transpose_a = transpose_a, .transpose_b = transpose_b}};
  memset(operands->c, 0x5A, sizeof operands->c);
  return ffb_cpu_gemm_s8(device, &arguments) && exact(operands, transpose_a, transpose_b);
}

bool ffb_cpu_self_test(struct ffb_device *device) {
  enum { PATTERNS = 3, FORMS = 4 };
  struct operands *operands = ffb_allocate(1, sizeof *operands, NULL);
  bool passed = operands;
  for (int test = 0; passed && test < PATTERNS * PATTERNS; test++) {
    for (int i = 0; i < ROWS * DEPTH; i++)
      operands->a[i] = extreme(test % PATTERNS, i);
    for (int i = 0; i < DEPTH * COLUMNS; i++)
      operands->b[i] = extreme(test / PATTERNS, i);
    for (int form = 0; passed && form < FORMS; form++)
      passed = product_is_exact(device, operands, form & 1, form & 2);
  }
  ffb_free(operands);
  return passed;
}
