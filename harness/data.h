/* The dataset of a configuration. The last one stays in memory, because the runs of an experiment share it. */
#ifndef FFBENCH_HARNESS_DATA_H
#define FFBENCH_HARNESS_DATA_H

#include "datasets/dataset.h"
#include "harness/run.h"

/* Null with an error. Valid until the next call for another dataset. */
const struct ffb_dataset_pair *data_get(const struct run_config *config, struct ffb_error *error);
/* Give the memory back. */
void data_forget(void);

#endif
