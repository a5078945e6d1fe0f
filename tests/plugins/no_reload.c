/* A trainer in INT8 that cannot make its scales again from other weights. */
#include "tests/plugins/fake.h"

const struct ffb_trainer ffbench_trainer = {FAKE_HEAD, FAKE_TEXT, FAKE_HOOKS, .flags = FFB_TRAINER_INT8};
