/* The order in which a row is summed in FP32, so that every backend on a host, on every instruction set and with any
 * number of threads, gets the same bits: sixteen partial sums, element j in partial sum j % 16, elements in order, each
 * product and each sum rounded by itself (no fused multiply-add); then a pairwise tree: i + (i + 8), i + (i + 4),
 * i + (i + 2), 0 + 1. Vector code has to follow this order literally. */
#ifndef FFBENCH_BACKENDS_REDUCE_H
#define FFBENCH_BACKENDS_REDUCE_H

#include "base/qualifier.h"

#include <stdint.h>

enum { FFB_REDUCE_LANES = 16 };

/* Sum of the partial sums; lane[] is spent. */
static inline FFB_DEVICE float ffb_reduce_lanes(float lane[FFB_REDUCE_LANES]) {
  for (int width = FFB_REDUCE_LANES / 2; width; width /= 2) {
    for (int i = 0; i < width; i++)
      lane[i] += lane[i + width];
  }
  return lane[0];
}

static inline FFB_DEVICE float ffb_reduce_dot(const float *x, const float *y, int64_t n) {
  float lane[FFB_REDUCE_LANES] = {0};
  int64_t whole = n - n % FFB_REDUCE_LANES;
  for (int64_t j = 0; j < whole; j += FFB_REDUCE_LANES) {
    for (int i = 0; i < FFB_REDUCE_LANES; i++)
      lane[i] += x[j + i] * y[j + i];
  }
  for (int64_t j = whole; j < n; j++)
    lane[j - whole] += x[j] * y[j];
  return ffb_reduce_lanes(lane);
}

static inline FFB_DEVICE float ffb_reduce_sum_squares(const float *x, int64_t n) {
  return ffb_reduce_dot(x, x, n);
}

#endif
