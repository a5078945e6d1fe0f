/* What time and energy depend on beside the program: clocks, heat, throttling, power mode. A thread looks once a
 * second; at a graphics card too where one computes (harness/meters/card.h).
 *
 * clocks      /sys/devices/system/cpu: the mean over the processors
 * heat        the hottest of /sys/class/thermal
 * throttling  processors throttled for heat (x86), cooling devices that hold a clock down, over-current events (Orin)
 * power mode  nvpmodel's, and whether the clocks are fixed as jetson_clocks does */
#ifndef FFBENCH_HARNESS_METERS_CONDITIONS_H
#define FFBENCH_HARNESS_METERS_CONDITIONS_H

#include "harness/meters/card.h"
#include "harness/meters/meter.h"

#include <stdint.h>

/* Megahertz at the looks; NaN where nothing tells. */
struct meter_clocks {
  uint64_t looks; /* that told it */
  double minimum, mean, maximum;
  double limit; /* the fastest that it can */
  bool fixed_known, fixed;
};

struct meter_card_conditions {
  struct meter_card_facts facts;
  struct meter_clocks clocks;
  double first_celsius, highest_celsius;
  double lowest_limit_watts;
  bool reasons_known;
  uint64_t held[METER_CARD_REASONS]; /* looks at which that held the clock down */
};

/* What was seen since the start. A number is NaN where nothing tells. */
struct meter_conditions {
  uint64_t samples;
  double interval_seconds;
  struct meter_clocks clocks; /* the mean over the processors */
  double first_celsius, highest_celsius;
  char hottest[32]; /* the zone of the highest */
  bool throttling_known, throttled;
  char throttled_by[64];
  char power_mode[64]; /* empty where there is none */
  bool has_card;       /* one computes */
  struct meter_card_conditions card;
};

/* The hottest zone now, or the card, where there is one; NaN where nothing can be read. */
double meter_hottest_celsius(const struct meter_system *system, const struct meter_card *card, char zone[32]);

struct meter_conditions_watch;

/* Looks at once, and then every interval in a thread of its own; an interval of 0 starts none. The card is null where
 * none computes; it and the system must outlive the watch. Null when memory runs out. */
struct meter_conditions_watch *meter_conditions_start(const struct meter_system *system, const struct meter_card *card,
                                                      double interval_seconds, struct ffb_error *error);
/* Look now, without waiting for the thread. */
void meter_conditions_look(struct meter_conditions_watch *watch);
void meter_conditions_read(struct meter_conditions_watch *watch, struct meter_conditions *conditions);
/* Null is allowed. */
void meter_conditions_stop(struct meter_conditions_watch *watch);

#endif
