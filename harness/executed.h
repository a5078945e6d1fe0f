/* What each program of a run has executed, where the backend counts while it runs. */
#ifndef FFBENCH_HARNESS_EXECUTED_H
#define FFBENCH_HARNESS_EXECUTED_H

#include "backends/reference/executed.h"
#include "harness/assembly.h"

#include <jansson.h>

struct executed_program {
  int64_t runs;
  struct ffb_executed total;       /* of all runs */
  int64_t macs[FFB_PRODUCT_COUNT]; /* its multiply-accumulates by what they are for */
};

struct executed {
  const struct assembly *assembly;
  struct executed_program *programs; /* in the plan's order; null where the backend does not count */
  struct ffb_executed before;        /* the device's totals at the end of the last call */
};

/* Watches every call from now on; there is one watcher of a plan. Holds nothing on failure, nor where the backend does
 * not count. The assembly must outlive it. */
bool executed_begin(struct executed *executed, const struct assembly *assembly, struct ffb_error *error);
void executed_end(struct executed *executed);

/* For a checkpoint: what was executed so far, null where nothing is counted; and back into a watcher of the same plan.
 */
json_t *executed_json(const struct executed *executed);
void executed_read(struct executed *executed, const json_t *numbers);

#endif
