/* An object that exports something else under the trainer's name. */
#include "tests/plugins/fake.h"

const struct ffb_trainer ffbench_trainer = {
    .magic = 1, .version = FFB_TRAINER_VERSION, .size = sizeof(struct ffb_trainer), FAKE_TEXT, FAKE_HOOKS};
