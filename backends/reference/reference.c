#include "backends/reference/reference.h"
#include "backends/host.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

/* The operators need nothing, but a device has to be something. */
struct ffb_device {
  struct ffb_device_request request;
};

static bool reference_open(struct ffb_device **device, const struct ffb_device_request *request, char *message,
                           size_t size) {
  struct ffb_error error = {0};
  *device = ffb_allocate(1, sizeof **device, &error);
  if (!*device) {
    snprintf(message, size, "backend reference: %s", error.message);
    return false;
  }
  (*device)->request = *request;
  return true;
}

static void reference_close(struct ffb_device *device) {
  ffb_free(device);
}

static void reference_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  (void)device;
  say(to, "threads", "1");
  say(to, "fp32_kernel", "plain C, sums in FP64");
  say(to, "int8_kernel", "plain C, sums in INT32");
}

static void *reference_allocate(struct ffb_device *device, size_t bytes) {
  (void)device;
  return ffb_host_allocate(bytes, 64);
}

static const char *reference_failure(struct ffb_device *device) {
  (void)device;
  return "";
}

#define FFB_ENTRY_0(NAME, name) [FFB_##NAME] = ffb_reference_##name,
#define FFB_ENTRY_1(NAME, name)
#define FFB_ENTRY(NAME, name, optional) FFB_ENTRY_##optional(NAME, name)

const struct ffb_backend ffb_backend_reference = {
    .magic = FFB_BACKEND_MAGIC,
    .version = FFB_BACKEND_VERSION,
    .size = sizeof(struct ffb_backend),
    .name = "reference",
    .description = "plain C on one thread: slow, portable, what the other backends are checked against",
    .open = reference_open,
    .close = reference_close,
    .describe = reference_describe,
    .allocate = reference_allocate,
    .release = ffb_host_release,
    .write = ffb_host_transfer,
    .read = ffb_host_transfer,
    .synchronise = ffb_host_synchronise,
    .failure = reference_failure,
    .operators = {FFB_OPERATORS(FFB_ENTRY)},
};
