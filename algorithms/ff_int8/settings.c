#include "algorithms/ff_int8/settings.h"

static const char *const presets[] = {"paper", "tuned", "one_pass", NULL};
static const char *const goodnesses[] = {"preset", "sum_squares", "mean_squares", "class_groups", NULL};
static const char *const normalizes[] = {"preset", "l2", "rms", "none", NULL};
static const char *const lookaheads[] = {"preset", "off", "scalar", "block", "chain", NULL};
static const char *const memories[] = {"keep", "recompute", "previous_epoch", NULL};
static const char *const unit_kinds[] = {"block", "layer", NULL};
static const char *const labels[] = {"overlay", "plane", "pattern", NULL};
static const char *const schedules[] = {"simultaneous", "greedy", NULL};
static const char *const negatives[] = {"uniform", "hard", NULL};
static const char *const drawns[] = {"once", "epoch", "batch", NULL};
static const char *const weights[] = {"fp32_master", "int8", NULL};
static const char *const inferences[] = {"preset", "skip_first", "all", "last", "linear_head", NULL};
static const char *const roundings[] = {"nearest", "stochastic", NULL};
static const char *const optimisers[] = {"preset", "sgd", "adam", NULL};
static const char *const rate_schedules[] = {"preset", "constant", "cosine", "linear", NULL};

#define CHOICE(name, member, initial, list, help)                                                                      \
  { name, FFB_OPTION_CHOICE, offsetof(struct ff_options, member), initial, 0, 0, list, help }
#define NUMBER(name, member, initial, low, high, help)                                                                 \
  { name, FFB_OPTION_NUMBER, offsetof(struct ff_options, member), initial, low, high, NULL, help }

const struct ffb_option ff_option_table[] = {
    CHOICE("preset", preset, "tuned", presets,
           "paper: theta 2, L2-normalised samples; tuned: theta = width, root-mean-square normalisation; one_pass: "
           "goodness by class "
           "groups, no negative pass; all three can be changed part by part"),
    CHOICE(
        "unit", unit, "block", unit_kinds,
        "what is trained by itself: a block of the network, or one linear layer or convolution with what follows it"),
    CHOICE("goodness", goodness, "preset", goodnesses,
           "sum or mean of a unit's squared activities, or one mean for each class's group of neurons or channels (one "
           "pass)"),
    CHOICE("normalize", normalize, "preset", normalizes, "what a unit's input is divided by, sample by sample"),
    NUMBER("theta", theta, "-1", -1, 1e9,
           "goodness threshold (Eq. 1 and 2); 0: the unit's width, 1 for a mean; -1: by preset"),
    CHOICE("lookahead", lookahead, "preset", lookaheads,
           "what a unit hears of later units' losses: nothing, one number for each sample, the exact gradient of those "
           "in its block and numbers of the others (unit=layer), or the exact gradient of Eq. 3"),
    CHOICE(
        "lookahead_memory", lookahead_memory, "keep", memories,
        "lookahead=scalar: keep every unit's activities until the later units were heard, recompute them in a second "
        "forward pass, or hear the numbers of the same sample in the previous epoch (negatives_drawn=once)"),
    NUMBER("lambda_start", lambda_start, "0", 0, 100, "look-ahead weight in the first epoch"),
    NUMBER("lambda_step", lambda_step, "0.001", 0, 10, "look-ahead weight gained each epoch"),
    CHOICE("schedule", schedule, "simultaneous", schedules,
           "all units in each step (Algorithm 1), or one unit after the other, equal epochs for each"),
    CHOICE("negatives", negatives, "uniform", negatives,
           "wrong labels: uniform, or drawn from the softmax of a linear head with the true class masked"),
    CHOICE("negatives_drawn", negatives_drawn, "batch", drawns, "how often a sample's wrong label is drawn"),
    CHOICE("label", label, "overlay", labels,
           "how an image carries its label: in the first pixels of its first row, as a stripe of a channel of its own, "
           "or as a wave all over it"),
    NUMBER("pattern_amplitude", pattern_amplitude, "0.5", 0, 100, "label=pattern: height of the waves"),
    CHOICE("weights", weights, "fp32_master", weights,
           "what is stored: an FP32 master copy, or INT8 only with stochastic rounding of the update"),
    CHOICE("inference", inference, "preset", inferences,
           "which units' goodness is summed for each of the labels tried, or a linear head on the last unit"),
    CHOICE("input_rounding", input_rounding, "stochastic", roundings, "rounding of a unit's input in training"),
    CHOICE("gradient_rounding", gradient_rounding, "stochastic", roundings, "rounding of g_Y"),
    NUMBER("logit_scale", logit_scale, "5", 1e-6, 1e6, "class groups: factor on the goodness before the softmax"),
    NUMBER("head_learning_rate", head_learning_rate, "0.1", 0, 1000, "learning rate of the linear head"),
    CHOICE("optimiser", optimiser, "preset", optimisers, "update rule"),
    NUMBER("learning_rate", learning_rate, "-1", -1, 1000, "learning rate at the start; -1: by preset"),
    NUMBER("momentum", momentum, "0.9", 0, 0.9999, "momentum of SGD, first-moment decay (beta 1) of Adam"),
    NUMBER("beta2", beta2, "0.999", 0, 0.999999, "second-moment decay of Adam"),
    NUMBER("weight_decay", weight_decay, "-1", -1, 10, "weight decay, added to the gradient; -1: by preset"),
    CHOICE("learning_rate_schedule", learning_rate_schedule, "preset", rate_schedules, "learning rate over the run"),
    NUMBER("learning_rate_start", learning_rate_start, "-1", -1, 1,
           "linear schedule: share of the run before the decay starts; -1: by preset"),
    {0}};

struct bundle {
  enum ff_goodness goodness;
  enum ff_normalize normalize;
  enum ff_lookahead lookahead;
  enum ff_inference inference;
  double theta;
  int optimiser, schedule;
  double learning_rate, weight_decay, start;
};

static const struct bundle bundles[] = {
    [FF_PAPER] = {FF_SUM_SQUARES, FF_NORMALIZE_L2, FF_LOOKAHEAD_SCALAR, FF_SKIP_FIRST, 2.0, FFB_RULE_SGD,
                  FFB_SCHEDULE_LINEAR, 0.3, 0, 0.5},
    [FF_TUNED] = {FF_SUM_SQUARES, FF_NORMALIZE_RMS, FF_LOOKAHEAD_SCALAR, FF_SKIP_FIRST, 0.0, FFB_RULE_SGD,
                  FFB_SCHEDULE_LINEAR, 3e-4, 3e-4, 0.5},
    [FF_ONE_PASS] = {FF_CLASS_GROUPS, FF_NORMALIZE_RMS, FF_LOOKAHEAD_OFF, FF_ALL_UNITS, 0.0, FFB_RULE_ADAM,
                     FFB_SCHEDULE_LINEAR, 1e-3, 0, 0.0},
};

static double chosen_or(double chosen, double preset) {
  return chosen < 0 ? preset : chosen;
}

void ff_settings_resolve(const struct ff_options *options, struct ff_settings *settings) {
  /* Class groups are another objective: its bundle fits whatever the preset is called. */
  const struct bundle *bundle = &bundles[options->goodness == FF_CLASS_GROUPS ? FF_ONE_PASS : options->preset];
  static const int rate_kinds[] = {0, FFB_SCHEDULE_CONSTANT, FFB_SCHEDULE_COSINE, FFB_SCHEDULE_LINEAR};
  enum ff_lookahead lookahead = options->schedule == FF_GREEDY ? FF_LOOKAHEAD_OFF : bundle->lookahead;
  *settings = (struct ff_settings){
      .unit = (enum ff_unit_kind)options->unit,
      .goodness = options->goodness ? (enum ff_goodness)options->goodness : bundle->goodness,
      .normalize = options->normalize ? (enum ff_normalize)options->normalize : bundle->normalize,
      .lookahead = options->lookahead ? (enum ff_lookahead)options->lookahead : lookahead,
      .memory = (enum ff_lookahead_memory)options->lookahead_memory,
      .inference = options->inference ? (enum ff_inference)options->inference : bundle->inference,
      .schedule = (enum ff_schedule)options->schedule,
      .negatives = (enum ff_negatives)options->negatives,
      .drawn = (enum ff_drawn)options->negatives_drawn,
      .label = (enum ff_label)options->label,
      .int8_weights = options->weights,
      .input_rounding = (enum ffb_rounding)options->input_rounding,
      .gradient_rounding = (enum ffb_rounding)options->gradient_rounding,
      .theta = chosen_or(options->theta, bundle->theta),
      .lambda_start = options->lambda_start,
      .lambda_step = options->lambda_step,
      .logit_scale = options->logit_scale,
      .head_learning_rate = options->head_learning_rate,
      .pattern_amplitude = options->pattern_amplitude,
      .optimiser = {.optimiser = options->optimiser ? options->optimiser - 1 : bundle->optimiser,
                    .learning_rate = chosen_or(options->learning_rate, bundle->learning_rate),
                    .momentum = options->momentum,
                    .beta2 = options->beta2,
                    .weight_decay = chosen_or(options->weight_decay, bundle->weight_decay),
                    .schedule = options->learning_rate_schedule ? rate_kinds[options->learning_rate_schedule]
                                                                : bundle->schedule,
                    .schedule_start = chosen_or(options->learning_rate_start, bundle->start)}};
  if (settings->lookahead == FF_LOOKAHEAD_BLOCK && settings->unit == FF_UNIT_BLOCK)
    settings->lookahead = FF_LOOKAHEAD_SCALAR;
}

int64_t ff_extra_channels(const void *options) {
  struct ff_settings settings;
  ff_settings_resolve(options, &settings);
  return settings.label == FF_LABEL_PLANE && settings.goodness != FF_CLASS_GROUPS;
}

static const struct ffb_unit *units_of(const struct ffb_network *network, const struct ff_settings *settings,
                                       int *count) {
  *count = settings->unit == FF_UNIT_LAYER ? network->part_count : network->unit_count;
  return settings->unit == FF_UNIT_LAYER ? network->parts : network->units;
}

static int trained_units(const struct ffb_network *network, const struct ff_settings *settings) {
  int all, count = 0;
  const struct ffb_unit *units = units_of(network, settings, &all);
  for (int i = 0; i < all; i++)
    count += !units[i].head;
  return count;
}

/* The first unit whose channels are fewer than the classes, or null. */
static const struct ffb_unit *narrow_unit(const struct ffb_network *network, const struct ff_settings *settings) {
  int all;
  const struct ffb_unit *units = units_of(network, settings, &all);
  for (int i = 0; i < all; i++) {
    if (!units[i].head && network->nodes[units[i].output][2] < network->classes)
      return &units[i];
  }
  return NULL;
}

static bool class_groups_fit(const struct ffb_network *network, const struct ff_settings *settings,
                             struct ffb_error *error) {
  if (settings->lookahead > FF_LOOKAHEAD_SCALAR)
    return ffb_fail_usage(error, "ff_int8: goodness=class_groups has no chain: set lookahead=off or lookahead=scalar");
  if (settings->negatives == FF_HARD || settings->inference == FF_LINEAR_HEAD)
    return ffb_fail_usage(error, "ff_int8: goodness=class_groups has no negatives and no linear head: leave negatives "
                                 "and inference at their defaults");
  if (settings->label != FF_LABEL_OVERLAY)
    return ffb_fail_usage(error,
                          "ff_int8: goodness=class_groups writes no label into the images: leave label at its default");
  const struct ffb_unit *narrow = narrow_unit(network, settings);
  if (narrow)
    return ffb_fail_usage(
        error,
        "ff_int8: goodness=class_groups needs a neuron or channel for each of the %d classes in every "
        "unit; %s has %d",
        (int)network->classes, narrow->name, (int)network->nodes[narrow->output][2]);
  return true;
}

static bool lookahead_fits(const struct ff_settings *settings, struct ffb_error *error) {
  if (settings->schedule == FF_GREEDY && settings->lookahead != FF_LOOKAHEAD_OFF)
    return ffb_fail_usage(error, "ff_int8: schedule=greedy trains a unit before the later ones: set lookahead=off");
  if (settings->memory != FF_KEEP && settings->lookahead != FF_LOOKAHEAD_SCALAR)
    return ffb_fail_usage(error,
                          "ff_int8: lookahead_memory=%s is a way to hear one number for each sample: set "
                          "lookahead=scalar",
                          memories[settings->memory]);
  if (settings->memory == FF_PREVIOUS_EPOCH && settings->goodness != FF_CLASS_GROUPS &&
      settings->drawn != FF_DRAWN_ONCE)
    return ffb_fail_usage(error, "ff_int8: lookahead_memory=previous_epoch needs negatives that stay: set "
                                 "negatives_drawn=once");
  return true;
}

bool ff_settings_validate(const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  struct ff_settings settings;
  ff_settings_resolve(setup->options, &settings);
  const struct ffb_network *network = setup->network;
  int units = trained_units(network, &settings);
  if (units == 0)
    return ffb_fail_usage(error, "ff_int8: the network has no hidden layer: set model.hidden to at least one width");
  if (!lookahead_fits(&settings, error))
    return false;
  if (settings.schedule == FF_GREEDY && setup->epochs < units)
    return ffb_fail_usage(error, "ff_int8: schedule=greedy needs an epoch for each of the %d units: raise epochs",
                          units);
  if (settings.goodness == FF_CLASS_GROUPS)
    return class_groups_fit(network, &settings, error);
  if (settings.label != FF_LABEL_PATTERN && network->width < network->classes)
    return ffb_fail_usage(error, "ff_int8: the label does not fit into the width of the image: set label=pattern or "
                                 "goodness=class_groups");
  return true;
}
