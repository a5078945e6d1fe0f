/* The vector kernels of the CPU backend: one table per instruction set, all made from the same source (kernels.inc).
 * A kernel works on one thread's share; the drivers (products.c, elementwise.c) split the work and join it again.
 *
 * Products. Every product is made of tiles out[r][l] = sum over g of rows[r][g] * panel[g][l], r < tile_rows,
 * l < panel = 2 * lanes. A `word` is 4 bytes: one FP32 number, or `group` consecutive INT8 elements along K (4 signed
 * bytes, or 2 elements widened to 16 bits, as the instruction set multiplies them). The panel is the operand that
 * fills vector lanes; each word of `rows` is broadcast. Every output is one sum over g in order, whatever the tiling,
 * so results do not depend on the number of threads.
 *
 * On x86 the dot product takes unsigned by signed bytes: a panel holds x + 128, and a tile starts from
 * -128 * (sum of its row), which `start` carries; it is 0 where the instruction takes signed bytes. */
#ifndef FFBENCH_BACKENDS_CPU_KERNELS_H
#define FFBENCH_BACKENDS_CPU_KERNELS_H

#include "backends/backend.h"

#include <stdbool.h>
#include <stdint.h>

enum { FFB_CPU_MAX_LANES = 16, FFB_CPU_MAX_PANEL = 2 * FFB_CPU_MAX_LANES, FFB_CPU_MAX_TILE_ROWS = 12 };
/* Independent sums of the peak loop: enough to hide the latency, few enough for 16 registers. */
enum { FFB_CPU_PEAK_SUMS = 12 };

/* How stochastic rounding draws; stochastic false rounds to nearest even. */
struct ffb_cpu_rounding {
  bool stochastic;
  uint32_t purpose, step;
  uint64_t key[10][2]; /* of each round of Philox, from the seed */
};

/* What happens to a finished tile of a forward product or an input gradient. */
struct ffb_cpu_finish {
  void *y; /* F32, or S32 with raw */
  int64_t stride;
  bool integer;      /* the tile holds S32 */
  bool raw;          /* store the tile's words as they are */
  float scale;       /* with integer: what a word is multiplied by */
  const float *bias; /* by column of y */
  const float *mask; /* elements as y */
  bool relu, accumulate;
};

/* A weight gradient's operands, ready to be multiplied: panels one after another, the word of row r and group g at
 * rows[g * row_step + r]. F32 words are reached as 32-bit words too. */
struct ffb_cpu_outer {
  bool integer;
  int64_t columns, groups, row_step;
  const int32_t *panels, *rows, *start;
};

/* What happens to a weight gradient. Element i of it is element i of the weights. */
struct ffb_cpu_update {
  enum ffb_rule kind;
  float *weights, *first, *second; /* first: momentum of SGD (null without), or Adam's first moment */
  int64_t stride;                  /* elements of a row */
  float rate;                      /* learning_rate * multiplier */
  float decay, momentum;
  float beta1, beta2, complement1, complement2, correction1, correction2, epsilon; /* complement = 1 - beta */
  bool integer;                                                                    /* the gradient's words are S32 */
  float scale;                                                                     /* of an S32 word */
  bool quantise; /* round the gradient to INT8 and back */
  float quantum, reciprocal;
  struct ffb_cpu_rounding rounding;
};

typedef void ffb_cpu_clip_kernel(const float *x, int64_t n, float parameter, double sums[3]);

struct ffb_cpu_kernels {
  const char *name;
  int lanes, panel, tile_rows, group;
  const char *dot; /* how INT8 is multiplied, for describe */

  /* Pack panels. k = elements along K, stride between rows of x. _rows: words g0 .. g1-1 of one panel; lane l is row l
   * of x (`count` valid rows, the rest zero), words run along the row. _columns: as many panels as `count` columns
   * need, panel_words apart; lane l is column l, words run down the columns. */
  void (*panel_rows_f32)(float *panel, const float *x, int64_t stride, int64_t count, int64_t g0, int64_t g1);
  void (*panel_columns_f32)(float *panel, int64_t panel_words, const float *x, int64_t stride, int64_t count,
                            int64_t k);
  void (*panel_rows_s8)(int32_t *panel, const int8_t *x, int64_t stride, int64_t count, int64_t k, int64_t g0,
                        int64_t g1);
  void (*panel_columns_s8)(int32_t *panel, int64_t panel_words, const int8_t *x, int64_t stride, int64_t count,
                           int64_t k);
  /* The broadcast operand. _row: one row of k elements as words, zero-padded (not written where words is null: whole
   * words of 4 bytes can be broadcast from where they lie); returns `start`. _columns: `panel` columns
   * (count valid) as words[g][stride_words]; start[l] for each. */
  int32_t (*broadcast_row_s8)(int32_t *words, const int8_t *x, int64_t k);
  void (*broadcast_columns_s8)(int32_t *words, int64_t stride_words, int32_t *start, const int8_t *x, int64_t stride,
                               int64_t count, int64_t k);

  /* One tile; word g of row r is rows[r * row_stride + g * row_step]. out is [rows][panel]. An F32 panel
   * may be a row-major matrix in place, panel_step words from row to row. tile_s8 without out only
   * returns the largest absolute sum. */
  void (*tile_f32)(int count, float *out, const float *panel, int64_t panel_step, const float *rows, int64_t row_stride,
                   int64_t row_step, int64_t groups);
  uint32_t (*tile_s8)(int count, int32_t *out, const int32_t *panel, const int32_t *rows, int64_t row_stride,
                      int64_t row_step, int64_t groups, const int32_t *start);
  /* Finish a tile: its rows are rows of y (from row0, column0; `count` valid columns), or, transposed, columns of y. */
  void (*finish_rows)(const struct ffb_cpu_finish *finish, const void *tile, int rows, int64_t row0, int64_t column0,
                      int64_t count);
  void (*finish_columns)(const struct ffb_cpu_finish *finish, const void *tile, int columns, int64_t column0,
                         int64_t row0, int64_t count);
  /* Rows begin .. end-1 of a weight gradient: with absmax, the largest absolute word of an INT8 product, else the
   * update, which returns the bits of the largest absolute new weight. */
  uint32_t (*outer_update)(const struct ffb_cpu_outer *outer, const struct ffb_cpu_update *update, bool absmax,
                           int64_t begin, int64_t end);

  /* Elementwise, over n elements. absmax: the bits of max|x| (of a NaN where there is one). */
  uint32_t (*absmax_f32)(const float *x, int64_t n);
  uint32_t (*absmax_s32)(const int32_t *x, int64_t n);
  /* `index` is the first element's number in the tensor, a multiple of 8. */
  void (*quantise)(int8_t *q, const float *x, int64_t n, float reciprocal, const struct ffb_cpu_rounding *rounding,
                   uint64_t index);
  /* One block of the passes of struct ffb_clip_passes (backends/reference): FP64, lane i % 16, then the tree. */
  ffb_cpu_clip_kernel *clip_sums;    /* by the inverse of a scale: xx, xq, qq */
  ffb_cpu_clip_kernel *clip_moments; /* sum, squares */
  ffb_cpu_clip_kernel *clip_beyond;  /* by a limit: how many are beyond */
  void (*dequantise_s8)(float *out, const int8_t *x, int64_t n, float scale, bool accumulate);
  void (*dequantise_s32)(float *out, const int32_t *x, int64_t n, float scale, bool accumulate);
  void (*add_scaled)(float *out, const float *a, const float *b, int64_t n, float factor);
  void (*update)(const struct ffb_cpu_update *update, const float *gradient, int64_t begin, int64_t n);
  /* One row or group of columns, summed as backends/reduce.h says. */
  float (*dot_product)(const float *x, const float *y, int64_t n);
  void (*scale)(float *y, const float *x, int64_t n, float factor, bool accumulate);
  void (*normalise_gradient)(float *gx, const float *gy, const float *y, int64_t n, float inverse, float projection);
  /* `rounds` times FFB_CPU_PEAK_SUMS multiply-accumulates of whole vectors, from registers. */
  void (*peak)(int64_t rounds, bool integer);
  const struct ffb_cpu_normalisation_kernels *normalisation;
  const struct ffb_cpu_convolution_kernels *convolution;
  const struct ffb_cpu_depthwise_kernels *depthwise;
};

/* Null when this build or this processor has no such kernels. */
const struct ffb_cpu_kernels *ffb_cpu_kernels_avx512(void);
const struct ffb_cpu_kernels *ffb_cpu_kernels_avx2(void);
const struct ffb_cpu_kernels *ffb_cpu_kernels_neon(void);
const struct ffb_cpu_kernels *ffb_cpu_kernels_portable(void);
/* The best that this processor has and FFBENCH_CPU_ISA (avx512, avx2, neon, portable) allows. */
const struct ffb_cpu_kernels *ffb_cpu_kernels_here(void);

#endif
