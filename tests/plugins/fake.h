/* Hooks for trainers that are opened, but never asked to do anything. */
#ifndef FFBENCH_TESTS_PLUGINS_FAKE_H
#define FFBENCH_TESTS_PLUGINS_FAKE_H

#include "algorithms/trainer.h"

extern const struct ffb_trainer ffbench_trainer;

static inline bool fake_create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup,
                               struct ffb_error *error) {
  (void)state, (void)setup;
  return ffb_fail(error, "a fake trainer cannot train");
}
static inline void fake_destroy(struct ffb_trainer_state *state) {
  (void)state;
}
static inline bool fake_train_step(struct ffb_trainer_state *state, const struct ffb_batch *batch,
                                   struct ffb_error *error) {
  (void)state, (void)batch;
  return ffb_fail(error, "a fake trainer cannot train");
}
static inline bool fake_end_epoch(struct ffb_trainer_state *state, struct ffb_epoch_statistics *statistics,
                                  struct ffb_error *error) {
  (void)state, (void)statistics;
  return ffb_fail(error, "a fake trainer cannot train");
}
static inline bool fake_predict(struct ffb_trainer_state *state, const struct ffb_batch *batch, float *scores,
                                struct ffb_error *error) {
  (void)state, (void)batch, (void)scores;
  return ffb_fail(error, "a fake trainer cannot train");
}
static inline struct ffb_plan *fake_plan(struct ffb_trainer_state *state) {
  (void)state;
  return NULL;
}
static inline size_t fake_save(const struct ffb_trainer_state *state, void *to) {
  (void)state, (void)to;
  return 0;
}
static inline bool fake_load(struct ffb_trainer_state *state, const void *from, size_t bytes, struct ffb_error *error) {
  (void)state, (void)from, (void)bytes;
  return ffb_fail(error, "a fake trainer cannot train");
}

#define FAKE_HEAD .magic = FFB_TRAINER_MAGIC, .version = FFB_TRAINER_VERSION, .size = sizeof(struct ffb_trainer)
#define FAKE_TEXT .name = "fake", .description = "opened, never run"
#define FAKE_HOOKS                                                                                                     \
  .create = fake_create, .destroy = fake_destroy, .train_step = fake_train_step, .end_epoch = fake_end_epoch,          \
  .predict = fake_predict, .plan = fake_plan, .save = fake_save, .load = fake_load

#endif
