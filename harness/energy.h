/* A meter's result as it stands in a record, and how the parts of a run that was resumed add up. */
#ifndef FFBENCH_HARNESS_ENERGY_H
#define FFBENCH_HARNESS_ENERGY_H

#include "harness/meters/pair.h"

#include <jansson.h>

/* The record's "energy" object: joules is null, with a reason, where nothing was measured. */
json_t *energy_json(const struct meter_result *result);
/* The same with "second", what a second reader of the same power says, and their ratio. */
json_t *energy_of_readers(const struct meter_result results[METER_READERS]);
/* By how much of the first the second reader is off, where that is more than different ways to read explain; else 0. */
double energy_disagreement(const json_t *energy);
/* The sum of two such objects, `before` null or from an earlier part of the run. Joules stay null where a part was not
 * measured, or by another source. Borrows both. */
json_t *energy_add(const json_t *before, const json_t *now);

/* What an epoch that just ended took: the run's joules up to now less those of the epochs before it. Null where one of
 * them is not known. Borrows both. */
json_t *energy_of_epoch(const json_t *so_far, const json_t *epochs);

#endif
