/* A trainer whose struct has another size. */
#include "tests/plugins/fake.h"

const struct ffb_trainer ffbench_trainer = {.magic = FFB_TRAINER_MAGIC,
                                            .version = FFB_TRAINER_VERSION,
                                            .size = sizeof(struct ffb_trainer) - 8,
                                            FAKE_TEXT,
                                            FAKE_HOOKS};
