/* A meter's result as it stands in a record, and how the parts of a run that was resumed add up. */
#ifndef FFBENCH_HARNESS_ENERGY_H
#define FFBENCH_HARNESS_ENERGY_H

#include "harness/meters/window.h"

#include <jansson.h>

/* The record's "energy" object: joules is null, with a reason, where nothing was measured. */
json_t *energy_json(const struct meter_result *result);
/* The sum of two such objects, `before` null or from an earlier part of the run. Joules stay null where a part was not
 * measured, or by another source. Borrows both. */
json_t *energy_add(const json_t *before, const json_t *now);

/* What an epoch that just ended took: the run's joules up to now less those of the epochs before it. Null where one of
 * them is not known. Borrows both. */
json_t *energy_of_epoch(const json_t *so_far, const json_t *epochs);

#endif
