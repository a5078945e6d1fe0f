/* Energy of a run: the meter that counts, and a second reader of the same power where there is one. Both see the same
 * spans; the second's readings at the edges lie outside the first's span. */
#ifndef FFBENCH_HARNESS_METERS_PAIR_H
#define FFBENCH_HARNESS_METERS_PAIR_H

#include "harness/meters/window.h"

enum { METER_FIRST, METER_SECOND, METER_READERS };

/* Begins as all zeros. */
struct meter_pair {
  struct meter_session *sessions[METER_READERS];
  struct meter_window *windows[METER_READERS];
};

/* As meter_session_open; the first's readings are added to the log. After a failure it is to be closed all the same. */
bool meter_pair_open(struct meter_pair *pair, const struct meter_system *system, enum meter_scope device,
                     struct meter_log *log, struct ffb_error *error);
/* The edges of harness/meters/window.h. */
void meter_pair_begin(struct meter_pair *pair);
void meter_pair_pause(struct meter_pair *pair);
void meter_pair_resume(struct meter_pair *pair);
void meter_pair_results(struct meter_pair *pair, struct meter_result results[METER_READERS]);
void meter_pair_close(struct meter_pair *pair);

#endif
