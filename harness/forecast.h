/* How long the runs of an experiment should take on this machine: from records of the same work made here, else from a
 * few steps taken now (calibration), else from records made while other programs used the machine, else from a run like
 * it; corrected by what the runs before took. */
#ifndef FFBENCH_HARNESS_FORECAST_H
#define FFBENCH_HARNESS_FORECAST_H

#include "harness/run.h"

#include <stddef.h>
#include <stdint.h>

enum forecast_source { FORECAST_UNKNOWN, FORECAST_RECORDS, FORECAST_CALIBRATION, FORECAST_BUSY_RECORDS, FORECAST_LIKE };

struct forecast; /* what is known of each kind of run: those that differ only in seed, length or learning rate */

/* One run. */
struct forecast_run {
  size_t kind;
  int64_t steps, evaluated, gradient_records; /* training steps, and records that are read, from first to last epoch */
  double left;                                /* share that is to be done: less than 1 for an interrupted run */
};

/* Takes in the records of a results folder. Null with an error only where memory is short. */
struct forecast *forecast_open(const char *results, struct ffb_error *error);
void forecast_close(struct forecast *forecast);

/* A run to come, and the path of its record. Its dataset is loaded if it is not yet. */
bool forecast_add(struct forecast *forecast, const struct run_config *config, const char *record,
                  struct forecast_run *run, struct ffb_error *error);
/* Take steps of a run where that costs little beside the runs of its kind, and where nothing better is known of them.
 * What fails here is left to the run itself to say. */
void forecast_calibrate(struct forecast *forecast, const struct run_config *config, const struct forecast_run *run);

/* What is left of a run; NaN where unknown. */
double forecast_seconds(const struct forecast *forecast, const struct forecast_run *run, enum forecast_source *source);
/* The same as the runs so far teach it. */
double forecast_corrected(const struct forecast *forecast, const struct forecast_run *run);
/* A run has ended: what it took from start to end, and its record. */
void forecast_learn(struct forecast *forecast, const struct forecast_run *run, double seconds, const json_t *record);
/* Whether a run of known length has ended since the start. */
bool forecast_has_learnt(const struct forecast *forecast);

#endif
