/* The vector kernels of convolutions: the tiles of kernels.h, with sums that are put together from segments of K, so
 * that a tap which falls on padding costs nothing.
 *
 * Panels are packed by kernels.h, whose bytes are offset by 128 where the dot product takes unsigned by signed bytes.
 * Here both operands are turned around on their way into the registers (panel signed, broadcast word offset), which
 * takes no time of its own, so the correction is one vector for a panel (lane_sums) instead of one number for each row
 * of pixels. */
#ifndef FFBENCH_BACKENDS_CPU_CONVOLUTION_KERNELS_H
#define FFBENCH_BACKENDS_CPU_CONVOLUTION_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

struct ffb_cpu_update;

/* `groups` words of the sum: word g of lane l is panel[panel + g * panel_step][l], that of row r is rows[row + r *
 * row_stride + g * row_step]. */
struct ffb_cpu_segment {
  int64_t panel, row, groups;
};

enum ffb_cpu_tile_use {
  FFB_CPU_TILE_STORE,  /* F32: sums, times scale where they are integers */
  FFB_CPU_TILE_WORDS,  /* the sums themselves */
  FFB_CPU_TILE_LARGEST /* nothing is stored */
};

struct ffb_cpu_tile {
  const int32_t *panel, *rows; /* rows at any address */
  int64_t panel_step, row_stride, row_step;
  const struct ffb_cpu_segment *segments;
  int segment_count;
  const int32_t *start; /* INT8: lane_sums of the panel over the segments */
  enum ffb_cpu_tile_use use;
  bool accumulate;
  float scale;
  void *out;
  const int64_t *offsets; /* of each row in out */
};

struct ffb_cpu_convolution_kernels {
  /* A tile of `rows` rows and `columns` columns, of a panel's. _s8 returns the largest absolute sum where it is not
   * stored as F32. */
  void (*tile_f32)(const struct ffb_cpu_tile *tile, int rows, int columns);
  uint32_t (*tile_s8)(const struct ffb_cpu_tile *tile, int rows, int columns);
  /* What INT8 sums over a panel start from. */
  void (*lane_sums)(int32_t *start, const int32_t *panel, const struct ffb_cpu_segment *segments, int segment_count);
  /* Runs of n elements, one after another, each as whole words; words are written in whole vectors. */
  void (*gather_f32)(float *words, const float *x, const int64_t *offsets, int runs, int64_t n);
  void (*gather_s8)(int32_t *words, const int8_t *x, const int64_t *offsets, int runs, int64_t n);
  /* The update over n elements from `begin` on, from their gradient's words (S32 or F32, as the update says). Returns
   * the bits of the largest absolute new weight. */
  uint32_t (*update_words)(const struct ffb_cpu_update *update, const int32_t *words, int64_t begin, int64_t n);
};

#endif
