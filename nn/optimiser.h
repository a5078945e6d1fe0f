/* Optimisers and learning-rate schedules, as options that every trainer shares. */
#ifndef FFBENCH_NN_OPTIMISER_H
#define FFBENCH_NN_OPTIMISER_H

#include "base/option.h"
#include "nn/plan.h"

enum ffb_schedule_kind {
  FFB_SCHEDULE_CONSTANT,
  FFB_SCHEDULE_STEP,   /* times learning_rate_factor each learning_rate_epochs */
  FFB_SCHEDULE_COSINE, /* to zero over the run */
  FFB_SCHEDULE_LINEAR, /* constant until learning_rate_start of the run, then linearly to zero */
};

/* Values of the shared options; a trainer embeds this struct and FFB_OPTIMISER_OPTIONS in its table. */
struct ffb_optimiser_options {
  int optimiser; /* enum ffb_rule */
  double learning_rate, momentum, weight_decay, beta2;
  int schedule; /* enum ffb_schedule_kind */
  int64_t schedule_epochs;
  double schedule_factor, schedule_start;
};

extern const char *const ffb_optimiser_names[], *const ffb_schedule_names[];

/* clang-format off */
#define FFB_OPTIMISER_OPTIONS(type, member, rate, decay, rule, plan)                                                                                          \
  {"optimiser", FFB_OPTION_CHOICE, offsetof(type, member.optimiser), rule, 0, 0, ffb_optimiser_names, "update rule"},                                        \
  {"learning_rate", FFB_OPTION_NUMBER, offsetof(type, member.learning_rate), rate, 0, 1000, NULL, "learning rate at the start"},                             \
  {"momentum", FFB_OPTION_NUMBER, offsetof(type, member.momentum), "0.9", 0, 0.9999, NULL, "momentum of SGD, first-moment decay (beta 1) of Adam"},               \
  {"beta2", FFB_OPTION_NUMBER, offsetof(type, member.beta2), "0.999", 0, 0.999999, NULL, "second-moment decay of Adam"},                                            \
  {"weight_decay", FFB_OPTION_NUMBER, offsetof(type, member.weight_decay), decay, 0, 10, NULL, "weight decay, added to the gradient"},                       \
  {"learning_rate_schedule", FFB_OPTION_CHOICE, offsetof(type, member.schedule), plan, 0, 0, ffb_schedule_names, "learning rate over the run"},                            \
  {"learning_rate_epochs", FFB_OPTION_INTEGER, offsetof(type, member.schedule_epochs), "30", 1, 1000000, NULL, "step schedule: epochs between reductions"},        \
  {"learning_rate_factor", FFB_OPTION_NUMBER, offsetof(type, member.schedule_factor), "0.1", 0, 1, NULL, "step schedule: factor of a reduction"},                 \
  {"learning_rate_start", FFB_OPTION_NUMBER, offsetof(type, member.schedule_start), "0.5", 0, 1, NULL, "linear schedule: share of the run before the decay starts"}
/* clang-format on */

/* Learning rate of step `step` (from 0) of `steps`, `steps_per_epoch` in an epoch. */
double ffb_schedule_rate(const struct ffb_optimiser_options *options, int64_t step, int64_t steps,
                         int64_t steps_per_epoch);

/* What changes from step to step, on the device. */
enum ffb_scalar {
  FFB_SCALAR_LEARNING_RATE,
  FFB_SCALAR_LAMBDA,
  FFB_SCALAR_CORRECTION1,
  FFB_SCALAR_CORRECTION2,
  FFB_SCALAR_COUNT
};
enum ffb_counter { FFB_COUNTER_STEP, FFB_COUNTER_DRAW, FFB_COUNTER_COUNT };

struct ffb_step_scalars {
  struct ffb_tensor *scalars, *counters;                                 /* persistent; one write each before a step */
  struct ffb_tensor *learning_rate, *lambda, *corrections, *step, *draw; /* views */
};

bool ffb_step_scalars_create(struct ffb_step_scalars *step, struct ffb_plan *plan, struct ffb_error *error);
/* Before step `number` (from 0). */
bool ffb_step_scalars_write(const struct ffb_step_scalars *step, struct ffb_plan *plan,
                            const struct ffb_optimiser_options *options, double rate, double lambda, int64_t number,
                            uint32_t draw, struct ffb_error *error);

/* The rule for one parameter: its state is made here, named <name>.momentum or .first and .second. */
bool ffb_update_rule_create(struct ffb_update_rule *rule, struct ffb_plan *plan,
                            const struct ffb_optimiser_options *options, const struct ffb_step_scalars *step,
                            struct ffb_tensor *weights, struct ffb_error *error);

#endif
