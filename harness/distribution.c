#include "harness/distribution.h"

#include "base/memory.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { HALF_BITS = 16, HALVES = 1 << HALF_BITS };

/* ---- order ------------------------------------------------------------------------------------------------------ */

/* Positive floats have the order of their bits. */
static uint32_t magnitude_bits(float value) {
  uint32_t bits;
  value = fabsf(value);
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* The place in `counts` where `*rank` falls; *rank becomes the rank within it. */
static uint32_t locate(const size_t *counts, size_t *rank) {
  uint32_t place = 0;
  while (*rank >= counts[place])
    *rank -= counts[place++];
  return place;
}

/* The absolute value that `rank` others come before, found by the upper half of its bits, then the lower. */
static double ranked_magnitude(const float *values, size_t count, size_t rank, size_t *counts) {
  memset(counts, 0, HALVES * sizeof *counts);
  for (size_t i = 0; i < count; i++)
    counts[magnitude_bits(values[i]) >> HALF_BITS]++;
  uint32_t upper = locate(counts, &rank);
  memset(counts, 0, HALVES * sizeof *counts);
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = magnitude_bits(values[i]);
    if (bits >> HALF_BITS == upper)
      counts[bits % HALVES]++;
  }
  uint32_t bits = upper << HALF_BITS | locate(counts, &rank);
  float found;
  memcpy(&found, &bits, sizeof found);
  return (double)found;
}

/* Zeros come before all others. */
static bool find_median(const float *values, size_t count, size_t zeros, double *median, struct ffb_error *error) {
  size_t *counts = ffb_allocate(HALVES, sizeof *counts, error);
  if (!counts)
    return false;
  *median = (double)NAN;
  if (count > zeros)
    *median = (ranked_magnitude(values, count, zeros + (count - zeros - 1) / 2, counts) +
               ranked_magnitude(values, count, zeros + (count - zeros) / 2, counts)) /
              2;
  ffb_free(counts);
  return true;
}

/* ---- moments ---------------------------------------------------------------------------------------------------- */

static void find_extremes(const float *values, size_t count, struct distribution *d) {
  double sum = 0;
  d->minimum = d->maximum = (double)values[0];
  for (size_t i = 0; i < count; i++) {
    double value = (double)values[i];
    sum += value;
    d->minimum = fmin(d->minimum, value);
    d->maximum = fmax(d->maximum, value);
  }
  d->mean = sum / (double)count;
}

static void find_moments(const float *values, size_t count, struct distribution *d) {
  double second = 0, fourth = 0;
  for (size_t i = 0; i < count; i++) {
    double square = ((double)values[i] - d->mean) * ((double)values[i] - d->mean);
    second += square;
    fourth += square * square;
  }
  second /= (double)count;
  fourth /= (double)count;
  d->deviation = sqrt(second);
  d->kurtosis = fourth / (second * second) - 3;
}

/* ---- counts ----------------------------------------------------------------------------------------------------- */

/* In FP32 and by the reciprocal, as the backends round. */
static void count_rounded(const float *values, size_t count, float largest, struct distribution *d) {
  float scale = largest / 127, inverse = 1 / (scale < FLT_MIN ? 1 : scale);
  for (size_t i = 0; i < count; i++)
    d->rounded_to_zero += values[i] != 0 && rintf(values[i] * inverse) == 0;
}

static void count_bins(const float *values, size_t count, struct distribution *d) {
  for (size_t i = 0; i < count; i++) {
    double value = (double)values[i];
    if (value == 0)
      continue;
    if (fabs(value) > d->limit) {
      d->outside++;
      continue;
    }
    double place = (value / d->limit + 1) / 2 * DISTRIBUTION_BINS;
    d->bins[place < DISTRIBUTION_BINS ? (size_t)place : DISTRIBUTION_BINS - 1]++;
  }
}

static void forget_numbers(struct distribution *d) {
  d->mean = d->deviation = d->minimum = d->maximum = (double)NAN;
  d->median_absolute = d->kurtosis = d->largest_over_median = (double)NAN;
}

bool distribution_of(const float *values, size_t count, double limit, struct distribution *distribution,
                     struct ffb_error *error) {
  struct distribution *d = distribution;
  *d = (struct distribution){.values = count, .limit = limit};
  for (size_t i = 0; i < count; i++) {
    d->zeros += values[i] == 0;
    d->not_finite += !isfinite(values[i]);
  }
  if (d->not_finite || !count) {
    forget_numbers(d);
    return true;
  }
  find_extremes(values, count, d);
  find_moments(values, count, d);
  if (!find_median(values, count, d->zeros, &d->median_absolute, error))
    return false;
  double largest = fmax(fabs(d->minimum), fabs(d->maximum));
  d->largest_over_median = largest / d->median_absolute;
  if (limit <= 0)
    d->limit = largest;
  count_rounded(values, count, (float)largest, d);
  count_bins(values, count, d);
  return true;
}
