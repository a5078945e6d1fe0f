#include "harness/outliers.h"

#include "base/memory.h"

/* Regular are at least so many, and so large a part of the steps at such distances. */
enum { LEAST_REGULAR = 5, MOST_TRIED = 256 };
static const double least_share = 0.8;

static bool is_slow(double seconds, const struct meter_times *times) {
  return seconds > times->median && meter_times_is_outlier(times, seconds);
}

static size_t list_slow(const float *seconds, size_t count, const struct meter_times *times, size_t *places) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++)
    if (is_slow((double)seconds[i], times))
      places[found++] = i;
  return found;
}

static size_t count_regular(const size_t *places, size_t found, size_t period, size_t remainder) {
  size_t regular = 0;
  for (size_t i = 0; i < found; i++)
    regular += places[i] % period == remainder;
  return regular;
}

/* The distance of each to the next is tried. */
static void find_period(const size_t *places, size_t found, size_t count, struct outliers *outliers) {
  for (size_t i = 0; i + 1 < found && i < MOST_TRIED; i++) {
    size_t period = places[i + 1] - places[i], remainder = places[i] % period;
    size_t regular = count_regular(places, found, period, remainder), due = (count - remainder + period - 1) / period;
    if (period < 2 || regular < LEAST_REGULAR || regular <= outliers->regular ||
        (double)regular < least_share * (double)due)
      continue;
    outliers->period = period;
    outliers->regular = regular;
  }
}

void outliers_find(const float *seconds, size_t count, const struct meter_times *times, struct outliers *outliers) {
  *outliers = (struct outliers){.slow = times->slow_outliers};
  for (size_t i = 0; i < count; i++)
    if (is_slow((double)seconds[i], times))
      outliers->seconds += (double)seconds[i] - times->median;
  size_t *places = outliers->slow ? ffb_allocate(count, sizeof *places, NULL) : NULL;
  if (places)
    find_period(places, list_slow(seconds, count, times, places), count, outliers);
  ffb_free(places);
}
