#include "algorithms/ff_int8/programs.h"

#include "algorithms/ff_int8/labels.h"
#include "base/memory.h"

#include <stdio.h>

bool ff_has_head(const struct ff_settings *settings) {
  return settings->inference == FF_LINEAR_HEAD || settings->negatives == FF_HARD;
}

/* ---- input ---- */

static void emit_batch(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage, bool training) {
  const int64_t shape[4] = {stage->rows, s->network->height, s->network->width, s->channels};
  const int64_t vector[4] = {stage->rows, 1, 1, 1};
  stage->images = ffb_emit_input(pass, FFB_U8, "images", shape);
  if (!training)
    return;
  stage->labels = ffb_emit_input(pass, FFB_S32, "labels", vector);
  stage->index = ffb_emit_input(pass, FFB_S32, "index", vector);
  if (!s->past)
    return;
  const int64_t numbers[4] = {s->unit_count, pass->rows, ff_groups(s), 1};
  stage->heard = ffb_emit_input(pass, FFB_F32, "heard", numbers);
  stage->said = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "said", numbers);
  if (stage->said)
    ffb_program_output(stage->program, stage->said);
}

/* ---- the linear head ---- */

/* Logits of the network's own classifier on the last unit's normalised output, for images with the neutral label. */
static struct ffb_tensor *emit_head_forward(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                            bool training) {
  struct ffb_tensor *x = ffb_emit_images(pass, stage->images, stage->rows, s->mean, s->deviation);
  ff_emit_labels(s, pass, x, NULL, -1);
  pass->training = false;
  ff_enter_images(s, pass, x, true);
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++) {
    struct ffb_tensor *y = ff_forward(s, pass, unit);
    pass->training = training && unit + 1 == s->unit_count;
    ff_enter_output(s, pass, unit, y);
  }
  ffb_pass_forward(pass, s->head->first_layer, s->head->layer_count);
  return pass->nodes[s->head->output];
}

/* Trains the head; returns logits that stay valid for the hard negatives. */
static struct ffb_tensor *emit_head(struct ffb_trainer_state *s, struct ff_stage *stage, struct ffb_error *error,
                                    bool *failed) {
  struct ffb_pass pass;
  *failed = !ffb_pass_begin(&pass, &s->parameters, stage->program, stage->rows, true, false, error);
  if (*failed)
    return NULL;
  pass.stream = FF_STREAM_NEUTRAL;
  struct ffb_tensor *logits = emit_head_forward(s, &pass, stage, true);
  struct ffb_tensor *gradient =
      ffb_emit_matrix(&pass, FFB_TAG_GRADIENTS, "head_gradient", stage->rows, s->network->classes);
  struct ffb_tensor *statistics = ffb_emit_view(&pass, s->statistics, (int64_t)s->unit_count * FFB_STATISTIC_COUNT,
                                                (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1});
  FFB_EMIT(&pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = gradient, .logits = logits,
           .labels = stage->labels, .statistics = statistics, .logit_scale = 1);
  pass.gradients[s->head->output] = gradient;
  ffb_pass_backward(&pass, s->head->first_layer, s->head->layer_count, true, false);
  *failed = pass.failed;
  ffb_pass_end(&pass);
  return logits;
}

/* ---- whole programs ---- */

static bool build_training(struct ffb_trainer_state *s, struct ff_stage *stage, const char *name, int64_t rows,
                           int unit, struct ffb_error *error) {
  struct ffb_pass pass;
  int64_t pass_rows = ff_class_groups(s) ? rows : 2 * rows;
  stage->rows = rows;
  stage->program = ffb_program_create(s->plan, name, error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, pass_rows, true, false, error))
    return false;
  struct ffb_tensor *logits = NULL;
  emit_batch(s, &pass, stage, true);
  if (ff_has_head(&s->settings) && !pass.failed)
    logits = emit_head(s, stage, error, &pass.failed);
  struct ffb_tensor *scores = s->settings.negatives == FF_HARD ? logits : NULL;
  struct ffb_tensor *x = ff_class_groups(s) ? ffb_emit_images(&pass, stage->images, rows, s->mean, s->deviation)
                                            : ff_emit_pairs(s, &pass, stage, scores);
  if (!pass.failed)
    ff_emit_step(s, &pass, stage, x, unit);
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

/* The weights' INT8 copies stay. */
static void forget_nodes(struct ffb_trainer_state *s, struct ffb_pass *pass) {
  for (int node = 0; node < s->network->node_count; node++)
    ffb_pass_enter(pass, node, NULL);
}

static void emit_goodness_sum(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *scores) {
  bool added = false;
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++) {
    struct ffb_tensor *y = ff_forward(s, pass, unit);
    if (unit_counts(s, unit)) {
      FFB_EMIT(pass, GOODNESS, goodness, .goodness = scores, .y = y, .groups = ff_groups(s),
               .mean = ff_goodness_is_mean(s), .accumulate = added);
      added = true;
    }
    if (unit + 1 < s->unit_count)
      ff_enter_output(s, pass, unit, y);
  }
}

/* Every label is tried: scores[label][row]. A pattern is added to clean images each time, other labels are written over
 * the one before. */
static void emit_all_labels(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage) {
  bool clean = s->settings.label == FF_LABEL_PATTERN;
  struct ffb_tensor *images = NULL;
  for (int label = 0; label < (int)s->network->classes && !pass->failed; label++) {
    if (!images || clean)
      images = ffb_emit_images(pass, stage->images, stage->rows, s->mean, s->deviation);
    forget_nodes(s, pass);
    ff_emit_labels(s, pass, images, NULL, label);
    ff_enter_images(s, pass, images, clean);
    emit_goodness_sum(s, pass,
                      ffb_emit_view(pass, stage->scores, label * stage->rows, (int64_t[4]){stage->rows, 1, 1, 1}));
  }
}

static void emit_prediction(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage) {
  if (s->settings.inference == FF_LINEAR_HEAD) {
    stage->scores = emit_head_forward(s, pass, stage, false);
    return;
  }
  bool groups = ff_class_groups(s);
  stage->scores = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "scores", groups ? stage->rows : s->network->classes,
                                  groups ? s->network->classes : stage->rows);
  if (!groups) {
    emit_all_labels(s, pass, stage);
    return;
  }
  ff_enter_images(s, pass, ffb_emit_images(pass, stage->images, stage->rows, s->mean, s->deviation), true);
  emit_goodness_sum(s, pass, stage->scores);
}

static bool build_prediction(struct ffb_trainer_state *s, struct ffb_error *error) {
  struct ffb_pass pass;
  struct ff_stage *stage = &s->predict;
  stage->rows = s->batch;
  stage->program = ffb_program_create(s->plan, "predict", error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, s->batch, false, false, error))
    return false;
  emit_batch(s, &pass, stage, false);
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
      snprintf(name, sizeof name, "train %s%s", s->train_count > 1 ? s->units[i].name : "all units",
               k ? ", partial batch" : "");
      if (rows[k] && !build_training(s, &s->train[i][k], name, rows[k], i, error))
        return false;
    }
  }
  return build_prediction(s, error);
}
