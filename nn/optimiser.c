#include "nn/optimiser.h"

#include <math.h>
#include <stdio.h>

const char *const ffb_optimiser_names[] = {"sgd", "adam", NULL};
const char *const ffb_schedule_names[] = {"constant", "step", "cosine", "linear", NULL};

static const double pi = 3.14159265358979323846;

double ffb_schedule_rate(const struct ffb_optimiser_options *options, int64_t step, int64_t steps,
                         int64_t steps_per_epoch) {
  double done = steps > 0 ? (double)step / (double)steps : 0;
  switch ((enum ffb_schedule_kind)options->schedule) {
  case FFB_SCHEDULE_STEP:
    return options->learning_rate *
           pow(options->schedule_factor, (double)(step / steps_per_epoch / options->schedule_epochs));
  case FFB_SCHEDULE_COSINE:
    return options->learning_rate * 0.5 * (1 + cos(pi * done));
  case FFB_SCHEDULE_LINEAR:
    if (done <= options->schedule_start || options->schedule_start >= 1)
      return options->learning_rate;
    return options->learning_rate * (1 - done) / (1 - options->schedule_start);
  case FFB_SCHEDULE_CONSTANT:
    break;
  }
  return options->learning_rate;
}

bool ffb_step_scalars_create(struct ffb_step_scalars *step, struct ffb_plan *plan, struct ffb_error *error) {
  static const int64_t one[4] = {1, 1, 1, 1}, two[4] = {2, 1, 1, 1};
  *step = (struct ffb_step_scalars){0};
  step->scalars = ffb_plan_persistent(plan, FFB_TAG_OPTIMISER, FFB_F32, "step.scalars",
                                      (int64_t[4]){FFB_SCALAR_COUNT, 1, 1, 1}, error);
  step->counters = ffb_plan_persistent(plan, FFB_TAG_OPTIMISER, FFB_U32, "step.counters",
                                       (int64_t[4]){FFB_COUNTER_COUNT, 1, 1, 1}, error);
  if (!step->scalars || !step->counters)
    return false;
  step->learning_rate = ffb_plan_view(plan, step->scalars, FFB_SCALAR_LEARNING_RATE, one, error);
  step->lambda = ffb_plan_view(plan, step->scalars, FFB_SCALAR_LAMBDA, one, error);
  step->corrections = ffb_plan_view(plan, step->scalars, FFB_SCALAR_CORRECTION1, two, error);
  step->step = ffb_plan_view(plan, step->counters, FFB_COUNTER_STEP, one, error);
  step->draw = ffb_plan_view(plan, step->counters, FFB_COUNTER_DRAW, one, error);
  return step->learning_rate && step->lambda && step->corrections && step->step && step->draw;
}

bool ffb_step_scalars_write(const struct ffb_step_scalars *step, struct ffb_plan *plan,
                            const struct ffb_optimiser_options *options, double rate, double lambda, int64_t number,
                            uint32_t draw, struct ffb_error *error) {
  double t = (double)(number + 1);
  float scalars[FFB_SCALAR_COUNT] = {
      [FFB_SCALAR_LEARNING_RATE] = (float)rate,
      [FFB_SCALAR_LAMBDA] = (float)lambda,
      [FFB_SCALAR_CORRECTION1] = (float)(1 / (1 - pow(options->momentum, t))),
      [FFB_SCALAR_CORRECTION2] = (float)(1 / (1 - pow(options->beta2, t))),
  };
  uint32_t counters[FFB_COUNTER_COUNT] = {[FFB_COUNTER_STEP] = (uint32_t)number, [FFB_COUNTER_DRAW] = draw};
  return ffb_tensor_write(plan, step->scalars, scalars, error) &&
         ffb_tensor_write(plan, step->counters, counters, error);
}

static struct ffb_tensor *state(struct ffb_plan *plan, const struct ffb_tensor *weights, const char *what,
                                struct ffb_error *error) {
  char name[2 * 64];
  snprintf(name, sizeof name, "%s.%s", weights->name, what);
  return ffb_plan_persistent(plan, FFB_TAG_OPTIMISER, FFB_F32, name, weights->shape, error);
}

bool ffb_update_rule_create(struct ffb_update_rule *rule, struct ffb_plan *plan,
                            const struct ffb_optimiser_options *options, const struct ffb_step_scalars *step,
                            struct ffb_tensor *weights, struct ffb_error *error) {
  *rule = (struct ffb_update_rule){.kind = (enum ffb_rule)options->optimiser};
  if (rule->kind == FFB_RULE_SGD) {
    rule->sgd = (struct ffb_sgd){.weights = weights,
                                 .learning_rate = step->learning_rate,
                                 .momentum_factor = (float)options->momentum,
                                 .weight_decay = (float)options->weight_decay};
    if (options->momentum > 0)
      rule->sgd.momentum = state(plan, weights, "momentum", error);
    return options->momentum <= 0 || rule->sgd.momentum;
  }
  rule->adam = (struct ffb_adam){.weights = weights,
                                 .first = state(plan, weights, "first", error),
                                 .second = state(plan, weights, "second", error),
                                 .learning_rate = step->learning_rate,
                                 .corrections = step->corrections,
                                 .beta1 = (float)options->momentum,
                                 .beta2 = (float)options->beta2,
                                 .epsilon = 1e-8f,
                                 .weight_decay = (float)options->weight_decay};
  return rule->adam.first && rule->adam.second;
}
