/* What time and energy of a graphics card depend on: its clock, its heat, its power limit, and what holds the clock
 * down.
 *
 * devfreq   /sys/class/devfreq of a Jetson: the clock; its heat is among the thermal zones, and what holds the clock
 *           down among the cooling devices
 * NVML      NVIDIA's other cards: all of it */
#ifndef FFBENCH_HARNESS_METERS_CARD_H
#define FFBENCH_HARNESS_METERS_CARD_H

#include "harness/meters/meter.h"

#include <stdint.h>

struct meter_card_reason {
  unsigned long long bit; /* of NVML's clocks event reasons */
  const char *name;
  bool throttles; /* by heat or power; the others are settings, or nothing to do */
};
enum { METER_CARD_REASONS = 9 };
extern const struct meter_card_reason meter_card_reasons[METER_CARD_REASONS];

struct meter_card_facts {
  char source[16];        /* "NVML", "devfreq"; empty: nothing tells, for `problem` */
  char name[96];          /* the card, or its folder */
  double limit_megahertz; /* the fastest that it can; NaN where unknown */
  bool fixed_known;       /* whether a look says that the clock is fixed */
  struct meter_problem problem;
};

/* One look. A number is NaN where it cannot be read. */
struct meter_card_look {
  double megahertz, celsius, limit_watts;
  bool fixed; /* the clock, as jetson_clocks does */
  bool reasons_known;
  unsigned long long reasons; /* bits of what holds the clock down */
};

struct meter_card;

/* The card that programs see first. A machine without one is no error: then nothing tells. Null only when memory runs
 * out. The system must outlive the card. */
struct meter_card *meter_card_open(const struct meter_system *system, struct ffb_error *error);
const struct meter_card_facts *meter_card_facts(const struct meter_card *card);
/* Safe from several threads. */
void meter_card_look(const struct meter_card *card, struct meter_card_look *look);
/* Null is allowed. */
void meter_card_close(struct meter_card *card);

#endif
