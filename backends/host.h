/* Memory hooks of backends whose device is the host itself. */
#ifndef FFBENCH_BACKENDS_HOST_H
#define FFBENCH_BACKENDS_HOST_H

#include "backends/backend.h"

/* Zeroed memory at a multiple of `alignment`, a power of two and at least a pointer's size; null when there is none. */
void *ffb_host_allocate(size_t bytes, size_t alignment);
void ffb_host_release(struct ffb_device *device, void *memory);
bool ffb_host_transfer(struct ffb_device *device, void *to, const void *from, size_t bytes);
bool ffb_host_synchronise(struct ffb_device *device);

#endif
