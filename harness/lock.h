/* One process for each record or checkpoint: a lock file beside it, which the kernel releases however the process
 * ends. */
#ifndef FFBENCH_HARNESS_LOCK_H
#define FFBENCH_HARNESS_LOCK_H

#include "base/error.h"

#include <limits.h>

struct lock {
  char path[PATH_MAX];
  int descriptor; /* -1: not held */
};

/* Take the lock on a file; folders above it are made. Fails at once when another process has it. */
bool lock_take(struct lock *lock, const char *path, const char *remedy, struct ffb_error *error);
/* Give it back and remove the lock file. Allowed when it is not held. */
void lock_release(struct lock *lock);

#endif
