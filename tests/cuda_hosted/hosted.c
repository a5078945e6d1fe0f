/* The CUDA backend whole, linked into a test program over the emulator and the made-up runtime: the one backend that
 * the program finds. */
#include "backends/backend.h"

#include <string.h>

extern const struct ffb_backend ffbench_backend;

const struct ffb_backend *ffb_backend_at(size_t index) {
  return index == 0 ? &ffbench_backend : NULL;
}

const struct ffb_backend *ffb_backend_find(const char *name) {
  return strcmp(name, ffbench_backend.name) == 0 ? &ffbench_backend : NULL;
}

const struct ffb_backend *ffb_backend_default(void) {
  return &ffbench_backend;
}

const char *ffb_backend_loadable(size_t index) {
  return index == 0 ? ffbench_backend.name : NULL;
}

const char *ffb_backend_problem(const char *name) {
  (void)name;
  return NULL;
}
