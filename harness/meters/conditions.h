/* What time and energy depend on beside the program: clocks, heat, throttling, power mode. A thread looks once a
 * second.
 *
 * clocks      /sys/devices/system/cpu: the mean over the processors
 * heat        the hottest of /sys/class/thermal
 * throttling  processors throttled for heat (x86), cooling devices that hold a clock down, over-current events (Orin)
 * power mode  nvpmodel's, and whether the clocks are fixed as jetson_clocks does */
#ifndef FFBENCH_HARNESS_METERS_CONDITIONS_H
#define FFBENCH_HARNESS_METERS_CONDITIONS_H

#include "harness/meters/meter.h"

#include <stdint.h>

/* What was seen since the start. A number is NaN where nothing tells. */
struct meter_conditions {
  uint64_t samples;
  double interval_seconds;
  double minimum_megahertz, mean_megahertz, maximum_megahertz;
  double limit_megahertz; /* the fastest that the processors can */
  double first_celsius, highest_celsius;
  char hottest[32]; /* the zone of the highest */
  bool throttling_known, throttled;
  char throttled_by[64];
  bool clocks_known, clocks_fixed;
  char power_mode[64]; /* empty where there is none */
};

/* The hottest zone now; NaN where no zone can be read. */
double meter_hottest_celsius(const struct meter_system *system, char zone[32]);

struct meter_conditions_watch;

/* Looks at once, and then every interval in a thread of its own; an interval of 0 starts none. The system must outlive
 * the watch. Null when memory runs out. */
struct meter_conditions_watch *meter_conditions_start(const struct meter_system *system, double interval_seconds,
                                                      struct ffb_error *error);
/* Look now, without waiting for the thread. */
void meter_conditions_look(struct meter_conditions_watch *watch);
void meter_conditions_read(struct meter_conditions_watch *watch, struct meter_conditions *conditions);
/* Null is allowed. */
void meter_conditions_stop(struct meter_conditions_watch *watch);

#endif
