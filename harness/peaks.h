/* What a machine does at most, measured in a moment: the yardstick beside what it did. */
#ifndef FFBENCH_HARNESS_PEAKS_H
#define FFBENCH_HARNESS_PEAKS_H

#include "backends/backend.h"

#include <jansson.h>

/* A second; operations are two to a multiply-accumulate. 0: not known for this backend. */
struct peaks {
  double f32, s8, bytes; /* FP32 and INT8 operations; bytes of memory */
};

struct peaks peaks_measure(const struct ffb_backend *backend, int threads);
/* Null where nothing is known. */
json_t *peaks_json(const struct peaks *peaks);

#endif
