/* e^x as a fixed sequence of FP32 operations, each rounded by itself (no fused multiply-add, no library), so that every
 * backend has the same bits: +, -, *, comparisons that select, and integer addition and shift on the bits of a number.
 * Vector code has to follow this sequence literally.
 *
 * x = n * ln 2 + r with |r| <= ln 2 / 2; e^x = 2^n * e^r. Relative error below 2^-23. No result is denormal: below
 * 2^-126 it is 0, above the largest number infinity. A NaN stays a NaN. */
#ifndef FFBENCH_BACKENDS_EXPONENTIAL_H
#define FFBENCH_BACKENDS_EXPONENTIAL_H

#include "base/qualifier.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln(2^-126), rounded up, and the logarithm of the largest number, rounded down. */
#define FFB_EXPONENTIAL_LOWEST  (-0x1.5d589ep+6f)
#define FFB_EXPONENTIAL_HIGHEST 0x1.62e42ep+6f
#define FFB_EXPONENTIAL_LOG2_E  0x1.715476p+0f
/* 1.5 * 2^23: added to a small number it leaves the nearest whole one (ties to even) in the lowest bits. Its own bits
 * fall off the end when they are shifted to where the exponent is. */
#define FFB_EXPONENTIAL_ROUNDER 0x1.8p+23f
/* ln 2 in two parts; the first has few enough bits that n times it is exact. */
#define FFB_EXPONENTIAL_LN2_HIGH 0x1.62e4p-1f
#define FFB_EXPONENTIAL_LN2_LOW  0x1.7f7d1cp-20f
/* (e^r - 1 - r) / r^2, least largest error of e^r. */
#define FFB_EXPONENTIAL_P0 0x1.fffffcp-2f
#define FFB_EXPONENTIAL_P1 0x1.555492p-3f
#define FFB_EXPONENTIAL_P2 0x1.5558f2p-5f
#define FFB_EXPONENTIAL_P3 0x1.1239ecp-7f
#define FFB_EXPONENTIAL_P4 0x1.6a242p-10f

static inline FFB_DEVICE float ffb_exponential(float x) {
  float shifted = x * FFB_EXPONENTIAL_LOG2_E + FFB_EXPONENTIAL_ROUNDER;
  float n = shifted - FFB_EXPONENTIAL_ROUNDER;
  float r = (x - n * FFB_EXPONENTIAL_LN2_HIGH) - n * FFB_EXPONENTIAL_LN2_LOW;
  float p = FFB_EXPONENTIAL_P4 * r + FFB_EXPONENTIAL_P3;
  p = p * r + FFB_EXPONENTIAL_P2;
  p = p * r + FFB_EXPONENTIAL_P1;
  p = p * r + FFB_EXPONENTIAL_P0;
  p = (p * (r * r) + r) + 1;
  uint32_t exponent = 0, bits = 0;
  memcpy(&exponent, &shifted, sizeof exponent);
  memcpy(&bits, &p, sizeof bits);
  bits += exponent << 23; /* p is between 0.7 and 1.42, so that p * 2^n is a normal number wherever it is kept */
  float value = 0;
  memcpy(&value, &bits, sizeof value);
  value = x >= FFB_EXPONENTIAL_LOWEST ? value : 0;
  return x <= FFB_EXPONENTIAL_HIGHEST ? value : x + INFINITY;
}

static inline FFB_DEVICE float ffb_sigmoid(float x) {
  return 1 / (1 + ffb_exponential(-x));
}

#endif
