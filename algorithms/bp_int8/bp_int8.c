/* BP-INT8: "direct quantisation". A, W, g_Y and g_W are each rounded per tensor by the symmetric uniform quantiser; all
 * three products are INT8 x INT8 -> INT32. The paper does not say how gradients are rounded, over which range, or how
 * weights are stored: these are options. */
#include "algorithms/backprop/int8_options.h"

struct options {
  struct ffb_int8_options int8;
  double gradient_range;
};

static const struct ffb_option options[] = {FFB_INT8_OPTIONS(struct options, int8, "0.05", "nearest"),
                                            {"gradient_range", FFB_OPTION_NUMBER,
                                             offsetof(struct options, gradient_range), "0", 0, 1e6, NULL,
                                             "fixed range of every gradient; 0: the tensor's largest absolute value"},
                                            {0}};

static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct options *chosen = setup->options;
  struct ffb_backprop_policy policy = ffb_int8_policy(&chosen->int8);
  policy.precision.gradient_range = (float)chosen->gradient_range;
  return ffb_backprop_create(state, setup, &policy, error);
}

extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {FFB_INT8_TRAINER, .name = "bp_int8",
                                            .description = "backpropagation, everything quantised directly to INT8",
                                            .count_operations = ffb_int8_count_operations};
