/* What a list of numbers looks like: moments, extremes, median, histogram, and what INT8 would leave of it. */
#ifndef FFBENCH_HARNESS_DISTRIBUTION_H
#define FFBENCH_HARNESS_DISTRIBUTION_H

#include "base/error.h"

#include <stddef.h>

enum { DISTRIBUTION_BINS = 129 }; /* odd, so that 0 lies in the middle of one */

/* Moments and extremes are those of all values. Median, rounding and histogram leave the exact zeros out: a weight
 * whose input was 0 in every record has no gradient, and how many those are says nothing of the others. Where a value
 * is not finite, every number but values, zeros and not_finite is NaN or 0. */
struct distribution {
  size_t values, zeros, not_finite;
  double mean, deviation; /* of the values themselves, not an estimate from a sample */
  double minimum, maximum;
  double kurtosis;            /* excess: 0 for a normal distribution; NaN where all values are equal */
  double median_absolute;     /* NaN where all are 0 */
  double largest_over_median; /* of absolute values */
  size_t rounded_to_zero;     /* not 0, but 0 in INT8 with the scale largest / 127, rounded to nearest */
  double limit;               /* the histogram goes from -limit to limit */
  size_t bins[DISTRIBUTION_BINS], outside;
};

/* With a limit of 0 the histogram ends at the largest absolute value. */
bool distribution_of(const float *values, size_t count, double limit, struct distribution *distribution,
                     struct ffb_error *error);

#endif
