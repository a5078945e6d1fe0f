/* Time: a monotonic clock, the date, and a summary of many durations that a few slow ones do not spoil. */
#ifndef FFBENCH_HARNESS_METERS_CLOCK_H
#define FFBENCH_HARNESS_METERS_CLOCK_H

#include "base/error.h"

#include <stddef.h>
#include <time.h>

enum { METER_UTC_TEXT = 32 };

/* Seconds since an arbitrary start; never goes back. */
double meter_clock_seconds(void);

/* "2024-02-29T23:59:58Z" (ISO 8601, UTC). For the present, pass time(NULL). */
void meter_clock_utc(time_t when, char text[METER_UTC_TEXT]);

struct meter_times {
  size_t count;
  double mean, median, minimum, maximum;
  double p10, p90;      /* percentiles, linear between neighbours */
  double deviation;     /* median absolute deviation from the median */
  size_t outliers;      /* further than 14.826 deviations (ten robust standard deviations) from the median */
  size_t slow_outliers; /* those of them above the median */
};

bool meter_times_is_outlier(const struct meter_times *times, double duration);

/* All in the unit of the input. No durations, or no memory for a sorted copy, is an error. */
bool meter_times_summary(const double *durations, size_t count, struct meter_times *times, struct ffb_error *error);

#endif
