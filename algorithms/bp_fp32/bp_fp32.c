/* BP-FP32: backpropagation, cross-entropy and SGD in FP32, the paper's baseline. */
#include "algorithms/backprop/backprop.h"

struct options {
  struct ffb_optimiser_options optimiser;
  struct ffb_backprop_options backprop;
};

static const struct ffb_option options[] = {
    FFB_OPTIMISER_OPTIONS(struct options, optimiser, "0.05", "0", "sgd", "cosine"),
    FFB_BACKPROP_OPTIONS(struct options, backprop),
    {0}};

static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct options *chosen = setup->options;
  struct ffb_backprop_policy policy = {.optimiser = chosen->optimiser,
                                       .precision = {.separate_update = chosen->backprop.update},
                                       .checkpointing = chosen->backprop.checkpointing,
                                       .accumulation = chosen->backprop.accumulation};
  return ffb_backprop_create(state, setup, &policy, error);
}

static bool count_operations(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                             struct ffb_operation_count *predict) {
  const struct options *chosen = setup->options;
  ffb_backprop_count(setup, rows, false, chosen->backprop.checkpointing, train, predict);
  return true;
}

extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {.magic = FFB_TRAINER_MAGIC,
                                            .version = FFB_TRAINER_VERSION,
                                            .size = sizeof(struct ffb_trainer),
                                            .name = "bp_fp32",
                                            .description = "backpropagation in FP32",
                                            .options = options,
                                            .options_size = sizeof(struct options),
                                            .result_version = 1,
                                            .create = create,
                                            .destroy = ffb_backprop_destroy,
                                            .train_step = ffb_backprop_train_step,
                                            .end_epoch = ffb_backprop_end_epoch,
                                            .predict = ffb_backprop_predict,
                                            .plan = ffb_backprop_plan,
                                            .save = ffb_backprop_save,
                                            .load = ffb_backprop_load,
                                            .diverged = ffb_backprop_diverged,
                                            .weights_loaded = ffb_backprop_weights_loaded,
                                            .gradient = ffb_backprop_gradient,
                                            .count_operations = count_operations};
