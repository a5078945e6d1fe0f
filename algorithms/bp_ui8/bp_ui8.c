/* BP-UI8: unified INT8 training (Zhu et al., CVPR 2020, arXiv 1912.12607). As BP-INT8, with stochastic rounding of
 * gradients, direction-sensitive gradient clipping (the clip c that minimises d_c = 1 - cos(g, g^), searched every
 * search_period steps in each layer and kept as a ratio to the current maximum) and deviation-counteractive
 * learning-rate scaling max(exp(-alpha d_c), beta). */
#include "algorithms/backprop/int8_options.h"

struct options {
  struct ffb_int8_options int8;
  int64_t search_period;
  double alpha, beta;
};

static const struct ffb_option options[] = {
    FFB_INT8_OPTIONS(struct options, int8, "0.05", "stochastic"),
    {"search_period", FFB_OPTION_INTEGER, offsetof(struct options, search_period), "100", 1, 1000000000, NULL,
     "steps between searches of the clipping ratio"},
    {"alpha", FFB_OPTION_NUMBER, offsetof(struct options, alpha), "20", 0, 1000, NULL,
     "learning-rate scaling: decay with the direction deviation; 0 turns it off"},
    {"beta", FFB_OPTION_NUMBER, offsetof(struct options, beta), "0.1", 0, 1, NULL,
     "learning-rate scaling: its lower bound"},
    {0}};

static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct options *chosen = setup->options;
  struct ffb_backprop_policy policy = ffb_int8_policy(&chosen->int8);
  policy.precision.clip_search = true;
  policy.precision.alpha = (float)chosen->alpha;
  policy.precision.beta = (float)chosen->beta;
  policy.search_period = chosen->search_period;
  return ffb_backprop_create(state, setup, &policy, error);
}

extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {FFB_INT8_TRAINER, .name = "bp_ui8",
                                            .description = "unified INT8 training: clipping by direction, scaled rate",
                                            .count_operations = ffb_int8_count_operations};
