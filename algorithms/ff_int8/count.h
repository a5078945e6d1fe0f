/* Operations of a training step and of a prediction, from formulas. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_COUNT_H
#define FFBENCH_ALGORITHMS_FF_INT8_COUNT_H

#include "algorithms/trainer.h"

/* The hook count_operations. Greedy: the step that trains the last unit. */
bool ff_count_operations(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                         struct ffb_operation_count *predict);

#endif
