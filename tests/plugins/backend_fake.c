/* A backend that calls itself cuda and computes as the reference does. FFB_FAKE says what is wrong with it: "magic",
 * "version", "size", "name", or "device" (there is none). */
#include "backends/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ffb_backend ffbench_backend;

static bool is_wrong(const char *what) {
  const char *wrong = getenv("FFB_FAKE");
  return wrong && strcmp(wrong, what) == 0;
}

static bool available(char *message, size_t size) {
  snprintf(message, size, "the made-up device is gone");
  return !is_wrong("device");
}

static bool open_fake(struct ffb_device **device, const struct ffb_device_request *request, char *message,
                      size_t size) {
  if (!available(message, size))
    return false;
  return ffb_backend_reference.open(device, request, message, size);
}

static bool memory(struct ffb_device *device, struct ffb_device_memory *of) {
  (void)device;
  *of = (struct ffb_device_memory){.total = 4000, .used_first = 1000, .used_peak = 3000, .shared = true};
  return true;
}

__attribute__((constructor)) static void fill_in(void) {
  ffbench_backend = ffb_backend_reference;
  ffbench_backend.name = is_wrong("name") ? "somebody" : "cuda";
  ffbench_backend.description = "made up for a test";
  ffbench_backend.available = available;
  ffbench_backend.open = open_fake;
  ffbench_backend.memory = memory;
  ffbench_backend.magic += is_wrong("magic");
  ffbench_backend.version -= is_wrong("version");
  ffbench_backend.size -= is_wrong("size");
}
