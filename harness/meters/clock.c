#include "harness/meters/clock.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double meter_clock_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void meter_clock_utc(time_t when, char text[METER_UTC_TEXT]) {
  struct tm parts;
  text[0] = '\0';
  if (gmtime_r(&when, &parts))
    strftime(text, METER_UTC_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t count, double share) {
  double position = share * (double)(count - 1);
  size_t below = (size_t)position;
  size_t above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (position - (double)below) * (sorted[above] - sorted[below]);
}

bool meter_times_is_outlier(const struct meter_times *times, double duration) {
  const double outlier_score = 14.826, clock_step = 1e-9;
  return fabs(duration - times->median) / fmax(times->deviation, clock_step) > outlier_score;
}

bool meter_times_summary(const double *durations, size_t count, struct meter_times *times, struct ffb_error *error) {
  *times = (struct meter_times){.count = count};
  if (!count)
    return ffb_fail(error, "no durations to summarise");
  double *sorted = ffb_allocate(count, sizeof *sorted, error);
  if (!sorted)
    return false;
  memcpy(sorted, durations, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, by_value);
  for (size_t i = 0; i < count; i++)
    times->mean += sorted[i] / (double)count;
  times->minimum = sorted[0];
  times->maximum = sorted[count - 1];
  times->median = percentile(sorted, count, 0.5);
  times->p10 = percentile(sorted, count, 0.1);
  times->p90 = percentile(sorted, count, 0.9);

  for (size_t i = 0; i < count; i++)
    sorted[i] = fabs(durations[i] - times->median);
  qsort(sorted, count, sizeof *sorted, by_value);
  times->deviation = percentile(sorted, count, 0.5);
  for (size_t i = 0; i < count; i++) {
    bool outlier = meter_times_is_outlier(times, durations[i]);
    times->outliers += outlier;
    times->slow_outliers += outlier && durations[i] > times->median;
  }
  ffb_free(sorted);
  return true;
}
