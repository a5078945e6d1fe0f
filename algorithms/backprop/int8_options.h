/* Options that the three INT8 backpropagation trainers share. */
#ifndef FFBENCH_ALGORITHMS_BACKPROP_INT8_OPTIONS_H
#define FFBENCH_ALGORITHMS_BACKPROP_INT8_OPTIONS_H

#include "algorithms/backprop/backprop.h"

struct ffb_int8_options {
  struct ffb_optimiser_options optimiser;
  struct ffb_backprop_options backprop;
  int weights, gradient_rounding, weight_gradient_rounding;
  bool quantise_weight_gradient;
};

/* clang-format off */
#define FFB_INT8_OPTIONS(type, member, rate, rounding_default)                                                                             \
  FFB_OPTIMISER_OPTIONS(type, member.optimiser, rate, "0", "sgd", "cosine"),                                                              \
  FFB_BACKPROP_OPTIONS(type, member.backprop),                                                                                            \
  {"weights", FFB_OPTION_CHOICE, offsetof(type, member.weights), "fp32_master", 0, 0, ffb_weight_names,                                   \
   "what is stored: an FP32 master copy, or INT8 only with stochastic rounding of the update"},                                           \
  {"gradient_rounding", FFB_OPTION_CHOICE, offsetof(type, member.gradient_rounding), rounding_default, 0, 0, ffb_rounding_names,           \
   "rounding of g_Y"},                                                                                                                    \
  {"weight_gradient_rounding", FFB_OPTION_CHOICE, offsetof(type, member.weight_gradient_rounding), "nearest", 0, 0, ffb_rounding_names,   \
   "rounding of g_W"},                                                                                                                    \
  {"quantise_weight_gradient", FFB_OPTION_BOOLEAN, offsetof(type, member.quantise_weight_gradient), "true", 0, 0, NULL,                   \
   "round the weight gradient to INT8 as well"}
/* clang-format on */

/* The policy of direct quantisation with these options; a trainer adds its own to it. */
static inline struct ffb_backprop_policy ffb_int8_policy(const struct ffb_int8_options *chosen) {
  return (struct ffb_backprop_policy){
      .optimiser = chosen->optimiser,
      .precision = {.int8 = true,
                    .input_rounding = FFB_ROUND_NEAREST,
                    .gradient_rounding = (enum ffb_rounding)chosen->gradient_rounding,
                    .weight_gradient_rounding = (enum ffb_rounding)chosen->weight_gradient_rounding,
                    .quantise_weight_gradient = chosen->quantise_weight_gradient,
                    .int8_weights = chosen->weights,
                    .separate_update = chosen->backprop.update},
      .checkpointing = chosen->backprop.checkpointing,
      .accumulation = chosen->backprop.accumulation};
}

/* `segments` products for each one of a backward pass. */
static inline void ffb_int8_count(const struct ffb_trainer_setup *setup, const struct ffb_int8_options *chosen,
                                  int64_t segments, int64_t rows, struct ffb_operation_count *train,
                                  struct ffb_operation_count *predict) {
  struct ffb_operation_count once;
  ffb_backprop_count(setup, rows, true, false, train, predict);
  ffb_backprop_count(setup, rows, true, chosen->backprop.checkpointing, &once, predict);
  int64_t again = once.mac_s8 - train->mac_s8;
  train->mac_s8 = predict->mac_s8 + (train->mac_s8 - predict->mac_s8) * segments + again;
}

/* For trainers with one product for each, whose options begin with the shared ones. */
static inline bool ffb_int8_count_operations(const struct ffb_trainer_setup *setup, int64_t rows,
                                             struct ffb_operation_count *train, struct ffb_operation_count *predict) {
  ffb_int8_count(setup, setup->options, 1, rows, train, predict);
  return true;
}

/* The hooks that are the same in all three. */
#define FFB_INT8_TRAINER                                                                                               \
  .magic = FFB_TRAINER_MAGIC, .version = FFB_TRAINER_VERSION, .size = sizeof(struct ffb_trainer), .options = options,  \
  .options_size = sizeof(struct options), .result_version = 2, .flags = FFB_TRAINER_INT8, .create = create,            \
  .destroy = ffb_backprop_destroy, .train_step = ffb_backprop_train_step, .end_epoch = ffb_backprop_end_epoch,         \
  .predict = ffb_backprop_predict, .plan = ffb_backprop_plan, .save = ffb_backprop_save, .load = ffb_backprop_load,    \
  .diverged = ffb_backprop_diverged, .weights_loaded = ffb_backprop_weights_loaded

#endif
