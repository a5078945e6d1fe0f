#include "backends/host.h"

#include "base/memory.h"

#include <string.h>

/* The block that was allocated is kept in front of the aligned address. */
void *ffb_host_allocate(size_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX - 2 * alignment)
    return NULL;
  char *block = ffb_allocate(bytes + 2 * alignment, 1, NULL);
  if (!block)
    return NULL;
  char *memory = block + 2 * alignment - (uintptr_t)block % alignment;
  memcpy(memory - sizeof block, &block, sizeof block);
  return memory;
}

void ffb_host_release(struct ffb_device *device, void *memory) {
  (void)device;
  if (!memory)
    return;
  char *block = NULL;
  memcpy(&block, (char *)memory - sizeof block, sizeof block);
  ffb_free(block);
}

bool ffb_host_transfer(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  (void)device;
  if (bytes)
    memcpy(to, from, bytes);
  return true;
}

bool ffb_host_synchronise(struct ffb_device *device) {
  (void)device;
  return true;
}
