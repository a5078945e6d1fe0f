/* Statistics of weight gradients between epochs (--gradient-statistics). */
#ifndef FFBENCH_HARNESS_GRADIENTS_H
#define FFBENCH_HARNESS_GRADIENTS_H

#include "harness/assembly.h"

#include <jansson.h>

/* Before the trainer is made: choose layers and records for assembly->setup. An algorithm that cannot give gradients,
 * or a layer that does not exist, is a usage error. */
bool gradients_choose(struct assembly *assembly, const struct run_config *config, struct ffb_error *error);

/* One entry of a record's `gradients`: the gradient as the weights are after `epoch` epochs, over the first of the
 * training records, without crops and mirrors. Null with an error. */
json_t *gradients_measure(struct assembly *assembly, const struct run_config *config, int64_t epoch,
                          struct ffb_error *error);

#endif
