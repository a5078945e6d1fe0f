/* The operators that count, for callers that do not: another backend, or a test, with any device. */
#include "backends/reference/reference.h"

#define FFB_UNCOUNTED(name)                                                                                            \
  bool ffb_reference_##name(struct ffb_device *device, const union ffb_arguments *arguments) {                         \
    struct ffb_executed ignored = {0};                                                                                 \
    (void)device;                                                                                                      \
    return ffb_counted_##name(&ignored, arguments);                                                                    \
  }
FFB_REFERENCE_COUNTED(FFB_UNCOUNTED)
