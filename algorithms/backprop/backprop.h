/* The backpropagation core that BP-FP32, BP-INT8, BP-UI8 and BP-GDAI8 share. A trainer is an option table, and a
 * function that turns its options into a precision (nn/parameters.h): what is INT8, and how gradients are quantised. */
#ifndef FFBENCH_ALGORITHMS_BACKPROP_BACKPROP_H
#define FFBENCH_ALGORITHMS_BACKPROP_BACKPROP_H

#include "algorithms/trainer.h"
#include "nn/parameters.h"

/* What a BP trainer decides. */
struct ffb_backprop_policy {
  struct ffb_precision precision;
  struct ffb_optimiser_options optimiser;
  int64_t search_period; /* steps between searches of gradient ranges; 0: none */
  bool checkpointing;    /* keep only what enters each unit, and go forward through it once more (Chen et al. 2016) */
  int64_t accumulation;  /* parts that a batch is cut into; their gradients are added up before the update */
};

extern const char *const ffb_rounding_names[];      /* nearest, stochastic */
extern const char *const ffb_weight_names[];        /* fp32_master, int8 */
extern const char *const ffb_update_names[];        /* fused, separate */
extern const char *const ffb_checkpointing_names[]; /* none, unit */

/* clang-format off */
#define FFB_BACKPROP_OPTIONS(type, member)                                                                                                   \
  {"update", FFB_OPTION_CHOICE, offsetof(type, member.update), "fused", 0, 0, ffb_update_names,                                             \
   "fused: a layer learns as soon as its gradient is known, so no gradient is stored; separate: all gradients first"},                      \
  {"checkpointing", FFB_OPTION_CHOICE, offsetof(type, member.checkpointing), "none", 0, 0, ffb_checkpointing_names,                          \
   "unit: keep only what enters each unit, and go forward through it once more before its backward pass"},                                  \
  {"accumulation", FFB_OPTION_INTEGER, offsetof(type, member.accumulation), "1", 1, 1000, NULL,                                               \
   "parts that a batch is cut into; their gradients are added up before the update (batch normalisation sees a part)"}
/* clang-format on */

/* Values of the options that every BP trainer has. */
struct ffb_backprop_options {
  int update, checkpointing;
  int64_t accumulation;
};

/* Trainer hooks: create takes the policy, the others fit struct ffb_trainer as they are. */
bool ffb_backprop_create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup,
                         const struct ffb_backprop_policy *policy, struct ffb_error *error);
void ffb_backprop_destroy(struct ffb_trainer_state *state);
bool ffb_backprop_train_step(struct ffb_trainer_state *state, const struct ffb_batch *batch, struct ffb_error *error);
bool ffb_backprop_end_epoch(struct ffb_trainer_state *state, struct ffb_epoch_statistics *statistics,
                            struct ffb_error *error);
bool ffb_backprop_predict(struct ffb_trainer_state *state, const struct ffb_batch *batch, float *scores,
                          struct ffb_error *error);
struct ffb_plan *ffb_backprop_plan(struct ffb_trainer_state *state);
size_t ffb_backprop_save(const struct ffb_trainer_state *state, void *to);
bool ffb_backprop_load(struct ffb_trainer_state *state, const void *from, size_t bytes, struct ffb_error *error);
bool ffb_backprop_diverged(struct ffb_trainer_state *state, bool *diverged, struct ffb_error *error);
bool ffb_backprop_weights_loaded(struct ffb_trainer_state *state, struct ffb_error *error);
bool ffb_backprop_gradient(struct ffb_trainer_state *state, const struct ffb_batch *batch, float *const *to,
                           struct ffb_error *error);
/* Multiply-accumulates from formulas per layer, for products over FP32 or INT8 operands. */
void ffb_backprop_count(const struct ffb_trainer_setup *setup, int64_t rows, bool int8, bool checkpointing,
                        struct ffb_operation_count *train, struct ffb_operation_count *predict);

#endif
