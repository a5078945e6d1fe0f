/* A trainer for testing the harness: its weights are a digest of every batch it was given, in order, kept partly
 * outside the plan; it can be slow, fail, diverge or ask for more channels on demand. */
#include "algorithms/trainer.h"
#include "base/memory.h"

#include <math.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

enum { DIGITS = 4 };

struct options {
  int64_t microseconds, fail_step, diverge_epoch, diverge_step, extra_channels;
};

static const struct ffb_option options[] = {{.name = "microseconds",
                                             .type = FFB_OPTION_INTEGER,
                                             .offset = offsetof(struct options, microseconds),
                                             .initial = "0",
                                             .maximum = 1e6,
                                             .help = "how long each step sleeps"},
                                            {.name = "fail_step",
                                             .type = FFB_OPTION_INTEGER,
                                             .offset = offsetof(struct options, fail_step),
                                             .initial = "0",
                                             .maximum = 1e6,
                                             .help = "the step that fails, from 1; 0: none"},
                                            {.name = "diverge_epoch",
                                             .type = FFB_OPTION_INTEGER,
                                             .offset = offsetof(struct options, diverge_epoch),
                                             .initial = "0",
                                             .maximum = 1e6,
                                             .help = "the epoch whose loss is infinite, from 1; 0: none"},
                                            {.name = "diverge_step",
                                             .type = FFB_OPTION_INTEGER,
                                             .offset = offsetof(struct options, diverge_step),
                                             .initial = "0",
                                             .maximum = 1e6,
                                             .help = "the step from which the weights count as infinite; 0: none"},
                                            {.name = "extra_channels",
                                             .type = FFB_OPTION_INTEGER,
                                             .offset = offsetof(struct options, extra_channels),
                                             .initial = "0",
                                             .maximum = 9,
                                             .help = "channels that the network has beside those of the images"},
                                            {.name = NULL}};

/* What a checkpoint gets from the save hook. */
struct progress {
  uint64_t digest;
  int64_t step, epoch;
};

struct ffb_trainer_state {
  struct options options;
  struct progress progress;
  struct ffb_plan *plan;
  struct ffb_program *program;
  struct ffb_tensor *weights;
  size_t image_bytes;
  int64_t classes;
};

static void destroy(struct ffb_trainer_state *state) {
  ffb_plan_destroy(state->plan);
  ffb_free(state);
}

static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct ffb_network *network = setup->network;
  struct ffb_trainer_state *made = ffb_allocate(1, sizeof *made, error);
  if (!made)
    return false;
  made->options = *(const struct options *)setup->options;
  made->image_bytes = (size_t)(network->height * network->width * (network->channels - made->options.extra_channels));
  made->classes = network->classes;
  made->progress.digest = setup->seed;
  made->plan = ffb_plan_create(setup->backend, setup->device, error);
  const int64_t shape[4] = {DIGITS, 1, 1, 1};
  struct ffb_tensor *scratch = NULL;
  if (made->plan) {
    made->weights = ffb_plan_persistent(made->plan, FFB_TAG_WEIGHTS, FFB_F32, "digest.weight", shape, error);
    made->program = ffb_program_create(made->plan, "train", error);
  }
  if (made->program)
    scratch = ffb_plan_transient(made->program, FFB_TAG_WORKSPACE, FFB_F32, "scratch", shape, error);
  union ffb_arguments fill = {.fill = {.out = scratch, .value = 1}};
  if (made->weights && scratch && ffb_program_add(made->program, FFB_FILL, &fill, error) &&
      ffb_plan_finish(made->plan, error)) {
    *state = made;
    return true;
  }
  destroy(made);
  return false;
}

/* FNV-1a. */
static void mix(uint64_t *digest, const void *data, size_t bytes) {
  const uint8_t *from = data;
  for (size_t i = 0; i < bytes; i++)
    *digest = (*digest ^ from[i]) * 0x100000001b3u;
}

static bool train_step(struct ffb_trainer_state *state, const struct ffb_batch *batch, struct ffb_error *error) {
  float weights[DIGITS];
  size_t rows = (size_t)batch->rows;
  struct timespec pause = {.tv_nsec = state->options.microseconds * 1000};
  nanosleep(&pause, NULL);
  if (++state->progress.step == state->options.fail_step)
    return ffb_fail(error, "the step failed as it was told to");
  mix(&state->progress.digest, batch->images, rows * state->image_bytes);
  mix(&state->progress.digest, batch->labels, rows * sizeof *batch->labels);
  mix(&state->progress.digest, batch->index, rows * sizeof *batch->index);
  /* The weights carry half of the digest's bits from step to step, so that both ways of saving are needed. */
  if (!ffb_tensor_read(state->plan, state->weights, weights, error))
    return false;
  mix(&state->progress.digest, weights, sizeof weights);
  for (int i = 0; i < DIGITS; i++)
    weights[i] = (float)(state->progress.digest >> 16 * i & 0xffff);
  return ffb_tensor_write(state->plan, state->weights, weights, error) && ffb_program_run(state->program, error);
}

static bool end_epoch(struct ffb_trainer_state *state, struct ffb_epoch_statistics *statistics,
                      struct ffb_error *error) {
  (void)error;
  bool diverges = ++state->progress.epoch == state->options.diverge_epoch;
  int64_t step = state->options.diverge_step;
  *statistics = (struct ffb_epoch_statistics){.loss = diverges ? (double)INFINITY : 1.0 / (double)state->progress.epoch,
                                              .train_accuracy = 50,
                                              .not_finite = diverges,
                                              .not_finite_step = diverges ? state->progress.step : -1,
                                              .not_finite_where = "digest"};
  /* The loss stays finite: only the layer was not. */
  if (step && state->progress.step >= step)
    statistics->not_finite_step = step;
  return true;
}

/* Always class 0: accuracy is the share of that class. */
static bool predict(struct ffb_trainer_state *state, const struct ffb_batch *batch, float *scores,
                    struct ffb_error *error) {
  (void)error;
  memset(scores, 0, (size_t)(batch->rows * state->classes) * sizeof *scores);
  return true;
}

static struct ffb_plan *plan(struct ffb_trainer_state *state) {
  return state->plan;
}

static size_t save(const struct ffb_trainer_state *state, void *to) {
  if (to)
    memcpy(to, &state->progress, sizeof state->progress);
  return sizeof state->progress;
}

static bool load(struct ffb_trainer_state *state, const void *from, size_t bytes, struct ffb_error *error) {
  if (bytes != sizeof state->progress)
    return ffb_fail(error, "the trainer's part has a wrong size");
  memcpy(&state->progress, from, bytes);
  return true;
}

static int64_t extra_channels(const void *values) {
  return ((const struct options *)values)->extra_channels;
}

static bool diverged(struct ffb_trainer_state *state, bool *yes, struct ffb_error *error) {
  (void)error;
  *yes = state->options.diverge_step && state->progress.step >= state->options.diverge_step;
  return true;
}

/* Weights from a file begin a new digest. */
static bool weights_loaded(struct ffb_trainer_state *state, struct ffb_error *error) {
  (void)error;
  state->progress.digest = 1;
  return true;
}

extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {.magic = FFB_TRAINER_MAGIC,
                                            .version = FFB_TRAINER_VERSION,
                                            .size = sizeof(struct ffb_trainer),
                                            .name = "counting",
                                            .description = "a digest of the batches, for tests of the harness",
                                            .options = options,
                                            .options_size = sizeof(struct options),
                                            .result_version = 1,
                                            .create = create,
                                            .destroy = destroy,
                                            .train_step = train_step,
                                            .end_epoch = end_epoch,
                                            .predict = predict,
                                            .plan = plan,
                                            .save = save,
                                            .load = load,
                                            .extra_channels = extra_channels,
                                            .weights_loaded = weights_loaded,
                                            .diverged = diverged};
