/* A trainer without one of the required hooks. */
#include "tests/plugins/fake.h"

const struct ffb_trainer ffbench_trainer = {FAKE_HEAD,
                                            FAKE_TEXT,
                                            .create = fake_create,
                                            .destroy = fake_destroy,
                                            .train_step = fake_train_step,
                                            .end_epoch = fake_end_epoch,
                                            .plan = fake_plan,
                                            .save = fake_save,
                                            .load = fake_load};
