/* One process for each record: a lock file beside it, which the kernel releases however the process ends. */
#ifndef FFBENCH_HARNESS_LOCK_H
#define FFBENCH_HARNESS_LOCK_H

#include "base/error.h"

#include <limits.h>

struct lock {
  char path[PATH_MAX];
  int descriptor; /* -1: not held */
};

/* Take the lock on `record`; fails at once when another process has it. */
bool lock_take(struct lock *lock, const char *record, struct ffb_error *error);
/* Give it back and remove the lock file. Allowed when it is not held. */
void lock_release(struct lock *lock);

#endif
