/* BP-GDAI8: gradient-distribution-aware INT8 training (Wang and Kang, Neurocomputing 541, 126269, 2023). Segment count,
 * thresholds, objective and period are not public, so this reading is ours:
 * - segments = 1 (default, one product for each pass): a gradient is Gaussian if P(|g| > sigma) > 0.3, else
 * heavy-tailed; the clip of a heavy-tailed one is searched for the least direction deviation every search_period steps
 * in each layer, kept as a ratio to the current maximum and tracked by a moving average between searches. g_Y is
 * rounded stochastically, everything else to nearest.
 * - segments = 2: scales max|g| / 63 and that / 2^k, k by search; each product becomes two over masked operands. */
#include "algorithms/backprop/int8_options.h"

struct options {
  struct ffb_int8_options int8;
  int64_t search_period, segments;
  double tracking;
};

static const struct ffb_option options[] = {
    FFB_INT8_OPTIONS(struct options, int8, "0.05", "stochastic"),
    {"search_period", FFB_OPTION_INTEGER, offsetof(struct options, search_period), "100", 1, 1000000000, NULL,
     "steps between searches of the gradient's range"},
    {"segments", FFB_OPTION_INTEGER, offsetof(struct options, segments), "1", 1, 2, NULL,
     "segments of the gradient quantiser; 2 is closer on heavy tails, and no timing baseline"},
    {"tracking", FFB_OPTION_NUMBER, offsetof(struct options, tracking), "0.5", 0, 0.999, NULL,
     "share of the old range that a search keeps"},
    {0}};

static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct options *chosen = setup->options;
  struct ffb_backprop_policy policy = ffb_int8_policy(&chosen->int8);
  policy.precision.segments = chosen->segments == 2;
  policy.precision.clip_search = chosen->segments == 1;
  policy.precision.gaussian_test = true;
  policy.precision.tracking = (float)chosen->tracking;
  policy.search_period = chosen->search_period;
  return ffb_backprop_create(state, setup, &policy, error);
}

/* Two segments: g_W and g_A are two products each, so 5/3 of the arithmetic. */
static bool count_operations(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                             struct ffb_operation_count *predict) {
  const struct options *chosen = setup->options;
  ffb_int8_count(setup, &chosen->int8, chosen->segments, rows, train, predict);
  return true;
}

extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {FFB_INT8_TRAINER, .name = "bp_gdai8",
                                            .description = "INT8 training aware of the gradient's distribution",
                                            .count_operations = count_operations};
