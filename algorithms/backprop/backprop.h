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
};

extern const char *const ffb_rounding_names[]; /* nearest, stochastic */
extern const char *const ffb_weight_names[];   /* fp32_master, int8 */
extern const char *const ffb_update_names[];   /* fused, separate */

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
/* Multiply-accumulates from formulas per layer: forward, weight gradient, and input gradient for all but the first. */
bool ffb_backprop_count_fp32(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                             struct ffb_operation_count *predict);
bool ffb_backprop_count_int8(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                             struct ffb_operation_count *predict);

#endif
