/* Before a run: let the machine cool down, and see what it draws, and who works on it, while this program rests. */
#ifndef FFBENCH_HARNESS_BASELINE_H
#define FFBENCH_HARNESS_BASELINE_H

#include "harness/meters/card.h"

#include <jansson.h>

/* What a run waits for at most. */
extern const double baseline_longest_wait;

struct baseline_heat {
  double limit_celsius;           /* 0: none was asked for */
  double waited_seconds, celsius; /* how warm it was then; NaN where nothing tells */
  bool reached;
  char zone[32];
};

/* Wait until no thermal zone, nor the card where one computes, is hotter than limit_celsius, or for longest_seconds, or
 * until interrupted. A limit of 0, or a machine that tells no heat: no wait. */
void baseline_cool(const struct meter_system *system, const struct meter_card *card, double limit_celsius,
                   double longest_seconds, struct baseline_heat *heat);
json_t *baseline_heat_json(const struct baseline_heat *heat);

/* Mean power at rest over so many seconds, and the share of the machine that other processes used; the record's
 * "energy.idle". Null where the meter does not work or the time is 0. */
json_t *baseline_idle(struct meter_session *session, double seconds, struct ffb_error *error);

#endif
