/* The hash that names a dataset's content in whatever order its records stand. */
#ifndef FFBENCH_DATASETS_FINGERPRINT_H
#define FFBENCH_DATASETS_FINGERPRINT_H

#include "datasets/dataset.h"

/* Fill part->sha256 as dataset.h defines it. Fails only for want of memory. */
bool ffb_dataset_fingerprint(struct ffb_dataset *part, struct ffb_error *error);

#endif
