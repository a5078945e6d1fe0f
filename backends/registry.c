#include "backends/backend.h"

#include <string.h>

/* The default comes first. */
enum { COUNT = 2 };
static const struct ffb_backend *const backends[COUNT] = {&ffb_backend_cpu, &ffb_backend_reference};

const struct ffb_backend *ffb_backend_at(size_t index) {
  return index < COUNT ? backends[index] : NULL;
}

const struct ffb_backend *ffb_backend_find(const char *name) {
  for (size_t i = 0; ffb_backend_at(i); i++) {
    if (!strcmp(backends[i]->name, name))
      return backends[i];
  }
  return NULL;
}
