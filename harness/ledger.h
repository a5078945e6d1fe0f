/* What a run has done so far: its place, its history and what it cost. A checkpoint stores it, a record is made of
 * it. */
#ifndef FFBENCH_HARNESS_LEDGER_H
#define FFBENCH_HARNESS_LEDGER_H

#include "base/error.h"
#include "harness/meters/clock.h"
#include "harness/meters/log.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { LEDGER_WARM_UP = 10 }; /* steps at the start that the median leaves out */

struct ledger {
  int64_t epoch;                       /* epochs finished */
  int64_t batch;                       /* training steps done in the epoch at hand */
  json_t *epochs;                      /* one object for each finished epoch */
  json_t *gradients;                   /* statistics before training and after each epoch; null: not asked for */
  double train_seconds, epoch_seconds; /* in training steps: all, and of the epoch at hand */
  double evaluation_seconds;           /* validation and test */
  double data_wait_seconds;            /* of train_seconds: until the next batch was there */
  json_t *energy;                      /* of training, as energy_json gives it; null before anything was measured */
  json_t *executed; /* operations of the parts before, as executed_json gives it; null before a checkpoint */
  double other_seconds, capacity_seconds; /* processor seconds of other processes, and of the machine */
  bool throttled;                         /* seen at any time */
  int64_t resumes;
  json_t *diverged; /* {epoch, step, where, samples}, or null */
  float *step_seconds;
  size_t steps, step_room;
  struct meter_log readings; /* of the energy meter, raw */
};

bool ledger_begin(struct ledger *ledger, struct ffb_error *error);
void ledger_end(struct ledger *ledger);

bool ledger_step(struct ledger *ledger, double seconds, struct ffb_error *error);
/* "the output of fc1 was not finite at step 20 (epoch 2)", from the object in ledger.diverged or a record. */
void ledger_divergence(const json_t *diverged, char *text, size_t size);
/* Of the step times but the first LEDGER_WARM_UP; count is 0 where no more than those were taken. */
bool ledger_step_times(const struct ledger *ledger, struct meter_times *times, struct ffb_error *error);

/* Everything but the step times and the readings. */
json_t *ledger_json(const struct ledger *ledger);
/* Into a ledger that was begun; false where a field is missing or makes no sense. Step times and readings come
 * separately. */
bool ledger_read(struct ledger *ledger, const json_t *object);
bool ledger_set_steps(struct ledger *ledger, const float *seconds, size_t count, struct ffb_error *error);
void ledger_set_readings(struct ledger *ledger, const struct meter_entry *entries, size_t count);

#endif
