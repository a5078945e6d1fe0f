/* Where the time of a training step goes: every operator call timed, beside the least that this machine could take. */
#ifndef FFBENCH_HARNESS_PROFILE_H
#define FFBENCH_HARNESS_PROFILE_H

#include "harness/run.h"

#include <stdio.h>

enum profile_by { PROFILE_BY_OPERATOR, PROFILE_BY_CALL };

/* For the option table. */
extern const char *const profile_by_names[];

/* Warm up, take `steps` training steps on full batches and print the table; trains on a copy that is thrown away and
 * writes no record. */
bool profile_run(const struct run_config *config, int64_t steps, enum profile_by by, FILE *to, struct ffb_error *error);

#endif
