/* Whether a register still lives: one that gives the same number for too long has stopped, however sound the number. */
#ifndef FFBENCH_HARNESS_METERS_STILL_H
#define FFBENCH_HARNESS_METERS_STILL_H

#include <stdbool.h>
#include <stddef.h>

struct meter_still_rule {
  double seconds;        /* no true reading stays the same for so long */
  size_t readings;       /* and for so many */
  double unseen_seconds; /* unread for longer, it starts anew: it may have moved and come back */
};

/* Begins as all zeros. */
struct meter_still {
  bool begun;
  double since, last; /* seconds on the meter's clock: of the first reading of the same number, of the last */
  size_t repeats;     /* readings of it after the first that were not yet said to be doubtful */
  size_t seen;
};

/* Note a reading at `now`; `same` is whether it gave what the one before gave. True when the register has stopped: the
 * last *doubtful readings before this one are then in doubt. */
bool meter_still_note(struct meter_still *still, const struct meter_still_rule *rule, bool same, double now,
                      size_t *doubtful);

#endif
