/* A trainer whose name cannot be one. */
#include "tests/plugins/fake.h"

const struct ffb_trainer ffbench_trainer = {FAKE_HEAD, .name = "../fake", .description = "opened, never run",
                                            FAKE_HOOKS};
