/* The raw readings of a window, and the energy that follows from them. A window keeps both, so what it says can be
 * computed again from what it read.
 *
 * A reading of a power meter is watts. One of a counter is the joules since the good reading before it. */
#ifndef FFBENCH_HARNESS_METERS_LOG_H
#define FFBENCH_HARNESS_METERS_LOG_H

#include "harness/meters/meter.h"

#include <stdint.h>

/* The value of a reading that gives none. */
#define METER_FAILED ((float)NAN)       /* it failed; a counter went on counting meanwhile */
#define METER_LOST   (-(float)INFINITY) /* and what a counter counted up to here is not known */

/* Eight bytes, because 360,000 of them make an hour. */
struct meter_entry {
  uint32_t microseconds; /* since the entry before */
  float value;
};
/* In place of the microseconds: a span starts here, after a pause that belongs to nothing. */
#define METER_SPAN_STARTS UINT32_MAX

struct meter_log {
  struct meter_entry *entries;
  size_t count, room;
  bool full; /* there was no memory for all of them */
};

/* Without memory the log becomes full and stays as it is. */
void meter_log_add(struct meter_log *log, struct meter_entry entry);
void meter_log_free(struct meter_log *log);

/* How readings become joules. */
struct meter_rule {
  enum meter_kind kind;
  double interval_seconds, wrap_seconds, limit_watts;
};

enum meter_step {
  METER_STEP_NONE,    /* nothing to add: a span starts, or the reading failed */
  METER_STEP_GOOD,    /* joules were added */
  METER_STEP_GAP,     /* too long since the good reading before: nothing was added */
  METER_STEP_WRAPPED, /* the counter may have wrapped unseen: nothing was added */
  METER_STEP_JUMPED,  /* more than can be true: nothing was added */
};

/* Begins as all zeros. */
struct meter_integral {
  double joules;
  double covered, bridged; /* seconds */
  uint64_t samples;        /* good readings */
  bool has_last, failed_since_last;
  double since_last, last_value; /* of the last good reading */
};

enum meter_step meter_integral_add(struct meter_integral *integral, const struct meter_rule *rule,
                                   struct meter_entry entry);

/* As text, one line for each reading: "SECONDS VALUE", time counted without the pauses; "-" for a reading that failed,
 * "lost" for METER_LOST, "pause" alone between two spans. Freed by ffb_free. */
char *meter_log_text(const struct meter_log *log, const char *heading, size_t *bytes, struct ffb_error *error);

#endif
