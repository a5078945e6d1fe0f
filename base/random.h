/* Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a counter-based generator.
 *
 * A draw is a pure function of (seed, purpose, step, index): what an element gets depends on its logical index,
 * never on its place in memory, the thread that computes it or the backend. */
#ifndef FFBENCH_BASE_RANDOM_H
#define FFBENCH_BASE_RANDOM_H

#include "base/qualifier.h"

#include <stdint.h>

/* What a draw is for. Tensor-specific purposes add the tensor's number: FFB_PURPOSE_TENSOR + id. */
enum ffb_purpose {
  FFB_PURPOSE_SPLIT = 1,     /* validation split */
  FFB_PURPOSE_SHUFFLE,       /* order of training records in an epoch */
  FFB_PURPOSE_SYNTHETIC,     /* synthetic data */
  FFB_PURPOSE_INITIALISE,    /* initial weights: + parameter number in the step field */
  FFB_PURPOSE_NEGATIVE,      /* negative labels */
  FFB_PURPOSE_BOOTSTRAP,     /* confidence intervals */
  FFB_PURPOSE_AUGMENT,       /* crop and flip of a training record in an epoch */
  FFB_PURPOSE_TENSOR = 1024, /* stochastic rounding of tensor id */
};

/* The four 32-bit words of block `block` of the stream (seed, purpose, step).
 * Key = the 64-bit seed; counter = {block low, block high, purpose, step}. */
static inline FFB_DEVICE void ffb_philox(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t block,
                                         uint32_t out[4]) {
  uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32), c2 = purpose, c3 = step;
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/* Word `index` of a stream: element i uses word i % 4 of block i / 4. */
static inline FFB_DEVICE uint32_t ffb_random_bits(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t index) {
  uint32_t words[4];
  ffb_philox(seed, purpose, step, index / 4, words);
  return words[index % 4];
}

/* Uniform in [0, 1) with 24 bits, so that every value is exact in FP32. */
static inline FFB_DEVICE float ffb_random_uniform(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t index) {
  return (float)(ffb_random_bits(seed, purpose, step, index) >> 8) * 0x1p-24f;
}

/* The draw of stochastic rounding, in (0, 1) and exact in FP32: element i uses half-word i % 8 of block i / 8, the low
 * half of a word first. 16 bits are enough: the mean of what is rounded is off by at most 2^-17 of a quantum. */
static inline FFB_DEVICE float ffb_random_rounding(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t index) {
  uint32_t word = ffb_random_bits(seed, purpose, step, index / 2);
  return ((float)(index % 2 ? word >> 16 : word & 0xFFFFu) + 0.5f) * 0x1p-16f;
}

/* Uniform in 0 .. bound-1 (multiply-shift; bias below 2^-32 * bound). */
static inline FFB_DEVICE uint32_t ffb_random_below(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t index,
                                                   uint32_t bound) {
  return (uint32_t)(((uint64_t)ffb_random_bits(seed, purpose, step, index) * bound) >> 32);
}

/* Fisher-Yates over 0 .. count-1, written to order. */
void ffb_random_permutation(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t *order, uint32_t count);

#endif
