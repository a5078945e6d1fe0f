/* Steps that took much longer than the others, and whether they came at regular distances. */
#ifndef FFBENCH_HARNESS_OUTLIERS_H
#define FFBENCH_HARNESS_OUTLIERS_H

#include "harness/meters/clock.h"

#include <stddef.h>

struct outliers {
  size_t slow;    /* steps */
  double seconds; /* that these took beyond the median, together */
  size_t period;  /* steps from one to the next of most that lie at regular distances; 0: there are none */
  size_t regular; /* how many those are */
};

/* `times` is the summary of the same durations. Without memory the period stays unknown. */
void outliers_find(const float *seconds, size_t count, const struct meter_times *times, struct outliers *outliers);

#endif
