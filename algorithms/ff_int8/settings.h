/* Options of FF-INT8, and what they come to once the preset has filled in what was left open. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_SETTINGS_H
#define FFBENCH_ALGORITHMS_FF_INT8_SETTINGS_H

#include "algorithms/trainer.h"
#include "nn/optimiser.h"

/* Choices that begin with "preset" count from there: 0 leaves the decision to the preset. */
enum ff_preset { FF_PAPER, FF_TUNED, FF_ONE_PASS };
enum ff_goodness { FF_SUM_SQUARES = 1, FF_MEAN_SQUARES, FF_CLASS_GROUPS };
enum ff_normalize { FF_NORMALIZE_L2 = 1, FF_NORMALIZE_RMS, FF_NORMALIZE_NONE };
enum ff_lookahead { FF_LOOKAHEAD_OFF = 1, FF_LOOKAHEAD_SCALAR, FF_LOOKAHEAD_BLOCK, FF_LOOKAHEAD_CHAIN };
enum ff_lookahead_memory { FF_KEEP, FF_RECOMPUTE, FF_PREVIOUS_EPOCH };
enum ff_unit_kind { FF_UNIT_BLOCK, FF_UNIT_LAYER };
enum ff_label { FF_LABEL_OVERLAY, FF_LABEL_PLANE, FF_LABEL_PATTERN };
enum ff_schedule { FF_SIMULTANEOUS, FF_GREEDY };
enum ff_negatives { FF_UNIFORM, FF_HARD };
enum ff_drawn { FF_DRAWN_ONCE, FF_DRAWN_EPOCH, FF_DRAWN_BATCH };
enum ff_inference { FF_SKIP_FIRST = 1, FF_ALL_UNITS, FF_LAST_UNIT, FF_LINEAR_HEAD };

struct ff_options {
  int preset, unit, goodness, normalize, lookahead, lookahead_memory, schedule, negatives, negatives_drawn, label;
  int weights, inference;
  int input_rounding, gradient_rounding, optimiser, learning_rate_schedule;
  double theta, lambda_start, lambda_step, logit_scale, head_learning_rate, pattern_amplitude;
  double learning_rate, momentum, beta2, weight_decay, learning_rate_start;
};

extern const struct ffb_option ff_option_table[];

struct ff_settings {
  enum ff_unit_kind unit;
  enum ff_goodness goodness;
  enum ff_normalize normalize;
  enum ff_lookahead lookahead; /* what `block` comes to where units are blocks: scalar */
  enum ff_lookahead_memory memory;
  enum ff_schedule schedule;
  enum ff_negatives negatives;
  enum ff_drawn drawn;
  enum ff_label label;
  enum ff_inference inference;
  bool int8_weights;
  enum ffb_rounding input_rounding, gradient_rounding;
  double theta; /* 0: the unit's width */
  double lambda_start, lambda_step, logit_scale, head_learning_rate, pattern_amplitude;
  struct ffb_optimiser_options optimiser;
};

void ff_settings_resolve(const struct ff_options *options, struct ff_settings *settings);
/* The hook extra_channels: a label plane is one more channel of the images. */
int64_t ff_extra_channels(const void *options);
/* Options that contradict each other or the network: a usage error that names them. */
bool ff_settings_validate(const struct ffb_trainer_setup *setup, struct ffb_error *error);

#endif
