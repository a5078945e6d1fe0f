#include "algorithms/ff_int8/programs.h"

#include "base/memory.h"
#include "nn/pass.h"

#include <stdio.h>
#include <string.h>

/* Random streams of a step's passes. */
enum { STREAM_MAIN, STREAM_NEUTRAL, STREAM_CHAIN };

bool ff_has_head(const struct ff_settings *settings) {
  return settings->inference == FF_LINEAR_HEAD || settings->negatives == FF_HARD;
}

static bool class_groups(const struct ffb_trainer_state *s) {
  return s->settings.goodness == FF_CLASS_GROUPS;
}

static int groups_of(const struct ffb_trainer_state *s) {
  return class_groups(s) ? (int)s->network->classes : 1;
}

static bool goodness_is_mean(const struct ffb_trainer_state *s) {
  return s->settings.goodness != FF_SUM_SQUARES;
}

static float theta_of(const struct ffb_trainer_state *s, int unit) {
  if (s->settings.theta > 0)
    return (float)s->settings.theta;
  return goodness_is_mean(s) ? 1 : (float)ffb_network_features(s->network, s->network->units[unit].output);
}

/* ---- input ---- */

static void emit_batch(struct ff_stage *stage, struct ffb_pass *pass, const struct ffb_network *network, bool labels) {
  const int64_t shape[4] = {stage->rows, network->height, network->width, network->channels};
  const int64_t vector[4] = {stage->rows, 1, 1, 1};
  stage->images = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_U8, "images", shape);
  if (stage->images)
    ffb_program_input(stage->program, stage->images);
  if (!labels)
    return;
  stage->labels = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_S32, "labels", vector);
  stage->index = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_S32, "index", vector);
  if (!stage->labels || !stage->index)
    return;
  ffb_program_input(stage->program, stage->labels);
  ffb_program_input(stage->program, stage->index);
}

static struct ffb_tensor *emit_images(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                      int64_t rows) {
  const int64_t shape[4] = {rows, s->network->height, s->network->width, s->network->channels};
  struct ffb_tensor *input = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "input", shape);
  union ffb_arguments convert = {.convert_images = {.out = input, .in = stage->images}};
  memcpy(convert.convert_images.mean, s->mean, sizeof s->mean);
  memcpy(convert.convert_images.deviation, s->deviation, sizeof s->deviation);
  ffb_emit(pass, FFB_CONVERT_IMAGES, &convert);
  return input;
}

static void emit_labels(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *images,
                        struct ffb_tensor *labels, int constant) {
  FFB_EMIT(pass, OVERLAY_LABELS, overlay_labels, .images = images, .labels = labels, .constant = constant,
           .classes = (int)s->network->classes, .on = s->on, .off = s->off);
}

/* Positives in the first half of the rows, negatives in the second, so that both see the same quantiser ranges. */
static struct ffb_tensor *emit_pairs(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                     struct ffb_tensor *scores) {
  int64_t rows = stage->rows;
  const int64_t half[4] = {rows, s->network->height, s->network->width, s->network->channels};
  int64_t image = half[1] * half[2] * half[3];
  struct ffb_tensor *wrong = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_S32, "negatives", (int64_t[4]){rows, 1, 1, 1});
  FFB_EMIT(pass, DRAW_NEGATIVES, draw_negatives, .negatives = wrong, .labels = stage->labels, .index = stage->index,
           .draw = s->parameters.step.draw, .scores = scores, .kept = s->kept, .classes = (int)s->network->classes,
           .seed = s->seed);
  struct ffb_tensor *input = emit_images(s, pass, stage, 2 * rows);
  if (!input)
    return NULL;
  emit_labels(s, pass, ffb_emit_view(pass, input, 0, half), stage->labels, 0);
  emit_labels(s, pass, ffb_emit_view(pass, input, rows * image, half), wrong, 0);
  return input;
}

/* ---- forward ---- */

/* A unit's input from what came before it. The image itself has no groups: it is normalised whole. */
static struct ffb_tensor *emit_normalise(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *x,
                                         int unit, struct ffb_tensor **inverse) {
  int groups = unit == 0 ? 1 : groups_of(s);
  if (s->settings.normalize == FF_NORMALIZE_NONE || !x)
    return x;
  struct ffb_tensor *y = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "normalised", x->shape);
  if (inverse)
    *inverse = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "inverse", pass->rows, groups);
  FFB_EMIT(pass, NORMALISE, normalise, .y = y, .x = x, .inverse = inverse ? *inverse : NULL, .groups = groups,
           .kind = s->settings.normalize == FF_NORMALIZE_L2 ? FFB_NORMALISE_L2 : FFB_NORMALISE_RMS);
  return y;
}

static struct ffb_tensor *emit_unit(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit,
                                    struct ffb_tensor *input) {
  const struct ffb_unit *own = &s->network->units[unit];
  pass->nodes[own->input] = input;
  ffb_pass_forward(pass, own->first_layer, own->layer_count);
  return pass->nodes[own->output];
}

/* dL/dG of a unit: [rows][1], or [rows][classes] with class groups. */
static struct ffb_tensor *emit_loss(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                    int unit, struct ffb_tensor *y) {
  struct ffb_tensor *goodness = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "goodness", pass->rows, groups_of(s));
  struct ffb_tensor *statistics = ffb_emit_view(pass, s->statistics, (int64_t)unit * FFB_STATISTIC_COUNT,
                                                (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1});
  FFB_EMIT(pass, GOODNESS, goodness, .goodness = goodness, .y = y, .groups = groups_of(s), .mean = goodness_is_mean(s));
  if (class_groups(s))
    FFB_EMIT(pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = goodness, .logits = goodness,
             .labels = stage->labels, .statistics = statistics, .logit_scale = (float)s->settings.logit_scale);
  else
    FFB_EMIT(pass, GOODNESS_LOSS, goodness_loss, .gradient = goodness, .goodness = goodness, .statistics = statistics,
             .theta = theta_of(s, unit));
  return goodness;
}

/* ---- backward within a unit ---- */

static void clear_gradients(struct ffb_trainer_state *s, struct ffb_pass *pass) {
  memset(pass->gradients, 0, (size_t)s->network->node_count * sizeof *pass->gradients);
}

/* dL/dy from dL/dG, written over y where y is not needed any more. */
static struct ffb_tensor *emit_output_gradient(struct ffb_trainer_state *s, struct ffb_pass *pass,
                                               struct ffb_tensor *loss_gradient, struct ffb_tensor *y) {
  struct ffb_tensor *gy = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "output_gradient", y ? y->shape : NULL);
  FFB_EMIT(pass, GOODNESS_GRADIENT, goodness_gradient, .gy = gy, .gradient = loss_gradient, .y = y,
           .groups = groups_of(s), .mean = goodness_is_mean(s));
  return gy;
}

static void emit_learn(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit, struct ffb_tensor *gy) {
  const struct ffb_unit *own = &s->network->units[unit];
  clear_gradients(s, pass);
  pass->gradients[own->output] = gy;
  ffb_pass_backward(pass, own->first_layer, own->layer_count, true, false);
}

/* Units that are not trained in this program behave as in prediction. */
static void emit_simultaneous_off(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                  struct ffb_tensor *x, int first_trained, int last_trained) {
  for (int unit = 0; unit <= last_trained && !pass->failed; unit++) {
    pass->training = unit >= first_trained;
    struct ffb_tensor *y = emit_unit(s, pass, unit, emit_normalise(s, pass, x, unit, NULL));
    if (pass->training)
      emit_learn(s, pass, unit, emit_output_gradient(s, pass, emit_loss(s, pass, stage, unit, y), y));
    x = y;
  }
}

struct unit_tensors {
  struct ffb_tensor *y, *loss_gradient, *input, *inverse;
};

static void emit_scalar(struct ffb_trainer_state *s, struct ffb_pass *pass, struct unit_tensors *units) {
  struct ffb_tensor *later = NULL; /* sum over later units of dL/dG, sample by sample */
  for (int unit = s->unit_count - 1; unit >= 0 && !pass->failed; unit--) {
    struct ffb_tensor *own = units[unit].loss_gradient, *total = own, *sum = own;
    if (later) {
      total = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "lookahead", own->shape);
      FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = total, .a = own, .b = later, .factor = s->parameters.step.lambda);
    }
    if (later && unit > 0) {
      sum = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "later", own->shape);
      FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = sum, .a = own, .b = later);
    }
    emit_learn(s, pass, unit, emit_output_gradient(s, pass, total, units[unit].y));
    later = sum;
  }
}

/* Gradient of the later losses with respect to the previous unit's output, through this unit and the normalisation. */
static struct ffb_tensor *emit_chain_link(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit,
                                          const struct unit_tensors *tensors, struct ffb_tensor *gy) {
  const struct ffb_unit *own = &s->network->units[unit];
  clear_gradients(s, pass);
  pass->gradients[own->output] = gy;
  pass->stream = STREAM_CHAIN;
  ffb_pass_backward(pass, own->first_layer, own->layer_count, false, true);
  pass->stream = STREAM_MAIN;
  struct ffb_tensor *gradient = pass->gradients[own->input];
  if (tensors->inverse)
    FFB_EMIT(pass, NORMALISE_GRADIENT, normalise_gradient, .gx = gradient, .gy = gradient, .y = tensors->input,
             .inverse = tensors->inverse,
             .kind = s->settings.normalize == FF_NORMALIZE_L2 ? FFB_NORMALISE_L2 : FFB_NORMALISE_RMS);
  return gradient;
}

static void emit_chain(struct ffb_trainer_state *s, struct ffb_pass *pass, struct unit_tensors *units) {
  struct ffb_tensor *later = NULL; /* gradient of all later losses with respect to this unit's output */
  for (int unit = s->unit_count - 1; unit >= 0 && !pass->failed; unit--) {
    struct ffb_tensor *own = emit_output_gradient(s, pass, units[unit].loss_gradient, units[unit].y), *total = own;
    struct ffb_tensor *through = NULL;
    if (later) {
      total = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "lookahead", own ? own->shape : NULL);
      FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = total, .a = own, .b = later, .factor = s->parameters.step.lambda);
    }
    if (unit > 0) {
      through = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "through", own ? own->shape : NULL);
      if (later)
        FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = through, .a = own, .b = later);
      else
        FFB_EMIT(pass, COPY, copy, .out = through, .in = own);
      through = emit_chain_link(s, pass, unit, &units[unit], through);
    }
    emit_learn(s, pass, unit, total);
    later = through;
  }
}

static void emit_lookahead(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                           struct ffb_tensor *x) {
  struct unit_tensors *units = ffb_allocate((size_t)s->unit_count, sizeof *units, pass->error);
  pass->failed = pass->failed || !units;
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++) {
    units[unit].input = emit_normalise(s, pass, x, unit, &units[unit].inverse);
    units[unit].y = emit_unit(s, pass, unit, units[unit].input);
    units[unit].loss_gradient = emit_loss(s, pass, stage, unit, units[unit].y);
    x = units[unit].y;
  }
  if (!pass->failed && s->settings.lookahead == FF_LOOKAHEAD_CHAIN)
    emit_chain(s, pass, units);
  else if (!pass->failed)
    emit_scalar(s, pass, units);
  ffb_free(units);
}

/* ---- the linear head ---- */

/* Logits of the network's own classifier on the last unit's normalised output, for images with the neutral label. */
static struct ffb_tensor *emit_head_forward(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                            bool training) {
  const struct ffb_unit *head = &s->network->units[s->unit_count];
  struct ffb_tensor *x = emit_images(s, pass, stage, stage->rows);
  emit_labels(s, pass, x, NULL, -1);
  pass->training = false;
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++)
    x = emit_unit(s, pass, unit, emit_normalise(s, pass, x, unit, NULL));
  pass->training = training;
  pass->nodes[head->input] = emit_normalise(s, pass, x, s->unit_count, NULL);
  ffb_pass_forward(pass, head->first_layer, head->layer_count);
  return pass->nodes[head->output];
}

/* Trains the head; returns logits that stay valid for the hard negatives. */
static struct ffb_tensor *emit_head(struct ffb_trainer_state *s, struct ff_stage *stage, struct ffb_error *error,
                                    bool *failed) {
  struct ffb_pass pass;
  const struct ffb_unit *head = &s->network->units[s->unit_count];
  *failed = !ffb_pass_begin(&pass, &s->parameters, stage->program, stage->rows, true, false, error);
  if (*failed)
    return NULL;
  pass.stream = STREAM_NEUTRAL;
  struct ffb_tensor *logits = emit_head_forward(s, &pass, stage, true);
  struct ffb_tensor *gradient =
      ffb_emit_matrix(&pass, FFB_TAG_GRADIENTS, "head_gradient", stage->rows, s->network->classes);
  struct ffb_tensor *statistics = ffb_emit_view(&pass, s->statistics, (int64_t)s->unit_count * FFB_STATISTIC_COUNT,
                                                (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1});
  FFB_EMIT(&pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = gradient, .logits = logits,
           .labels = stage->labels, .statistics = statistics, .logit_scale = 1);
  pass.gradients[head->output] = gradient;
  ffb_pass_backward(&pass, head->first_layer, head->layer_count, true, false);
  *failed = pass.failed;
  ffb_pass_end(&pass);
  return logits;
}

/* ---- whole programs ---- */

static bool build_training(struct ffb_trainer_state *s, struct ff_stage *stage, const char *name, int64_t rows,
                           int unit, struct ffb_error *error) {
  struct ffb_pass pass;
  int64_t pass_rows = class_groups(s) ? rows : 2 * rows;
  stage->rows = rows;
  stage->program = ffb_program_create(s->plan, name, error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, pass_rows, true, false, error))
    return false;
  struct ffb_tensor *logits = NULL;
  emit_batch(stage, &pass, s->network, true);
  if (ff_has_head(&s->settings) && !pass.failed)
    logits = emit_head(s, stage, error, &pass.failed);
  struct ffb_tensor *scores = s->settings.negatives == FF_HARD ? logits : NULL;
  struct ffb_tensor *x = class_groups(s) ? emit_images(s, &pass, stage, rows) : emit_pairs(s, &pass, stage, scores);
  if (s->settings.schedule == FF_GREEDY)
    emit_simultaneous_off(s, &pass, stage, x, unit, unit);
  else if (s->settings.lookahead == FF_LOOKAHEAD_OFF)
    emit_simultaneous_off(s, &pass, stage, x, 0, s->unit_count - 1);
  else
    emit_lookahead(s, &pass, stage, x);
  ffb_pass_end(&pass);
  return !pass.failed;
}

static bool unit_counts(const struct ffb_trainer_state *s, int unit) {
  switch (s->settings.inference) {
  case FF_SKIP_FIRST:
    return unit > 0 || s->unit_count == 1;
  case FF_LAST_UNIT:
    return unit == s->unit_count - 1;
  default:
    return true;
  }
}

static void forget_nodes(struct ffb_trainer_state *s, struct ffb_pass *pass) {
  memset(pass->nodes, 0, (size_t)s->network->node_count * sizeof *pass->nodes);
  memset(pass->inputs, 0, (size_t)s->network->node_count * sizeof *pass->inputs);
}

static void emit_goodness_sum(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *x,
                              struct ffb_tensor *scores) {
  bool added = false;
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++) {
    x = emit_unit(s, pass, unit, emit_normalise(s, pass, x, unit, NULL));
    if (!unit_counts(s, unit))
      continue;
    FFB_EMIT(pass, GOODNESS, goodness, .goodness = scores, .y = x, .groups = groups_of(s), .mean = goodness_is_mean(s),
             .accumulate = added);
    added = true;
  }
}

/* Scores lie as [rows][classes] with class groups or a head, and as [classes][rows] where each label is tried. */
static void emit_prediction(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage) {
  int64_t classes = s->network->classes;
  if (s->settings.inference == FF_LINEAR_HEAD) {
    stage->scores = emit_head_forward(s, pass, stage, false);
    return;
  }
  stage->scores = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "scores", stage->rows, classes);
  struct ffb_tensor *input = emit_images(s, pass, stage, stage->rows);
  if (class_groups(s)) {
    emit_goodness_sum(s, pass, input, stage->scores);
    return;
  }
  for (int label = 0; label < classes && !pass->failed; label++) {
    forget_nodes(s, pass);
    emit_labels(s, pass, input, NULL, label);
    emit_goodness_sum(s, pass, input,
                      ffb_emit_view(pass, stage->scores, label * stage->rows, (int64_t[4]){stage->rows, 1, 1, 1}));
  }
}

static bool build_prediction(struct ffb_trainer_state *s, struct ffb_error *error) {
  struct ffb_pass pass;
  struct ff_stage *stage = &s->predict;
  stage->rows = s->batch;
  stage->program = ffb_program_create(s->plan, "predict", error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, s->batch, false, false, error))
    return false;
  emit_batch(stage, &pass, s->network, false);
  emit_prediction(s, &pass, stage);
  if (!pass.failed)
    ffb_program_output(stage->program, stage->scores);
  ffb_pass_end(&pass);
  return !pass.failed;
}

bool ff_build_programs(struct ffb_trainer_state *s, int64_t partial, struct ffb_error *error) {
  s->train_count = s->settings.schedule == FF_GREEDY ? s->unit_count : 1;
  s->train = ffb_allocate((size_t)s->train_count, sizeof *s->train, error);
  if (!s->train)
    return false;
  for (int i = 0; i < s->train_count; i++) {
    const int64_t rows[2] = {s->batch, partial};
    for (int k = 0; k < 2; k++) {
      char name[2 * FFB_NAME_BYTES];
      snprintf(name, sizeof name, "train %s%s", s->train_count > 1 ? s->network->units[i].name : "all units",
               k ? ", partial batch" : "");
      if (rows[k] && !build_training(s, &s->train[i][k], name, rows[k], i, error))
        return false;
    }
  }
  return build_prediction(s, error);
}
