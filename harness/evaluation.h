/* How many records a trainer classifies rightly. */
#ifndef FFBENCH_HARNESS_EVALUATION_H
#define FFBENCH_HARNESS_EVALUATION_H

#include "harness/loader.h"

/* Accuracy in percent over the records of `part` that `list` names. The prediction is the first class with the highest
 * score, and a NaN is never higher: a row of NaN scores counts as class 0. */
bool evaluation_accuracy(const struct ffb_trainer *trainer, struct ffb_trainer_state *state, struct loader *loader,
                         const struct ffb_dataset *part, const uint32_t *list, int64_t count, double *accuracy,
                         struct ffb_error *error);

#endif
