/* How many records a trainer classifies rightly. */
#ifndef FFBENCH_HARNESS_EVALUATION_H
#define FFBENCH_HARNESS_EVALUATION_H

#include "harness/file.h"
#include "harness/loader.h"

/* Accuracy in percent over the records of `part` that `list` names. The prediction is the first class with the highest
 * score, and a NaN is never higher: a row of NaN scores counts as class 0. `file` (or null) gets a line for each
 * record: its number in `part`, its label, and each class's score with all its digits. */
bool evaluation_accuracy(const struct ffb_trainer *trainer, struct ffb_trainer_state *state, struct loader *loader,
                         const struct ffb_dataset *part, const uint32_t *list, int64_t count, double *accuracy,
                         struct file *file, struct ffb_error *error);

#endif
