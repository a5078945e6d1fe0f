/* A trainer of another version of the interface. */
#include "tests/plugins/fake.h"

const struct ffb_trainer ffbench_trainer = {.magic = FFB_TRAINER_MAGIC,
                                            .version = FFB_TRAINER_VERSION + 98,
                                            .size = sizeof(struct ffb_trainer),
                                            FAKE_TEXT,
                                            FAKE_HOOKS};
