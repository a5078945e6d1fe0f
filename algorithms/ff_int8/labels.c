#include "algorithms/ff_int8/labels.h"

#include "base/memory.h"

#include <math.h>

static void set_levels(struct ffb_trainer_state *s) {
  s->on = -INFINITY;
  s->off = INFINITY;
  for (int64_t c = 0; c < s->channels; c++) {
    s->on = fmaxf(s->on, (1 - s->mean[c]) / s->deviation[c]);
    s->off = fminf(s->off, (0 - s->mean[c]) / s->deviation[c]);
  }
}

bool ff_labels_make(struct ffb_trainer_state *s, struct ffb_error *error) {
  set_levels(s);
  if (ff_class_groups(s) || s->settings.label == FF_LABEL_OVERLAY)
    return true;
  s->patterns =
      ffb_plan_persistent(s->plan, FFB_TAG_DATASET, FFB_F32, "label_patterns",
                          (int64_t[4]){s->network->classes + 1, s->network->height, s->network->width, 1}, error);
  return s->patterns != NULL;
}

static float stripe(const struct ffb_trainer_state *s, int64_t class, int64_t x) {
  return x * s->network->classes / s->network->width == class ? s->on : 0;
}

/* Directions are spread over half a turn, lengths go from two to four and a half waves an image. */
static float wave(const struct ffb_trainer_state *s, int64_t class, int64_t x, int64_t y) {
  const double turn = 2 * acos(-1.0), golden = 0.6180339887498949;
  double part = (double)class / (double)s->network->classes;
  double direction = turn / 2 * part, waves = 2 + 0.5 * (double)(class % 6),
         phase = turn * fmod(golden * (double)class, 1);
  double along =
      cos(direction) * (double)x / (double)s->network->width + sin(direction) * (double)y / (double)s->network->height;
  return (float)(s->settings.pattern_amplitude * cos(turn * waves * along + phase));
}

bool ff_labels_write(struct ffb_trainer_state *s, struct ffb_error *error) {
  if (!s->patterns)
    return true;
  int64_t classes = s->network->classes, pixels = s->network->height * s->network->width;
  float *values = ffb_allocate((size_t)((classes + 1) * pixels), sizeof *values, error);
  if (!values)
    return false;
  for (int64_t p = 0; p < pixels; p++) {
    double sum = 0;
    for (int64_t c = 0; c < classes; c++) {
      int64_t x = p % s->network->width, y = p / s->network->width;
      float value = s->settings.label == FF_LABEL_PLANE ? stripe(s, c, x) : wave(s, c, x, y);
      values[c * pixels + p] = value;
      sum += (double)value;
    }
    values[classes * pixels + p] = (float)(sum / (double)classes);
  }
  bool good = ffb_tensor_write(s->plan, s->patterns, values, error);
  ffb_free(values);
  return good;
}

void ff_emit_labels(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *images,
                    struct ffb_tensor *labels, int constant) {
  if (s->settings.label == FF_LABEL_OVERLAY)
    FFB_EMIT(pass, OVERLAY_LABELS, overlay_labels, .images = images, .labels = labels, .constant = constant,
             .classes = (int)s->network->classes, .on = s->on, .off = s->off);
  else
    FFB_EMIT(pass, LABEL_PATTERN, label_pattern, .images = images, .labels = labels, .patterns = s->patterns,
             .constant = constant, .channel = s->settings.label == FF_LABEL_PLANE ? (int)s->network->channels - 1 : -1);
}

struct ffb_tensor *ff_emit_pairs(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                 struct ffb_tensor *scores) {
  int64_t rows = stage->rows;
  const int64_t half[4] = {rows, s->network->height, s->network->width, s->network->channels};
  struct ffb_tensor *wrong = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_S32, "negatives", (int64_t[4]){rows, 1, 1, 1});
  FFB_EMIT(pass, DRAW_NEGATIVES, draw_negatives, .negatives = wrong, .labels = stage->labels, .index = stage->index,
           .draw = s->parameters.step.draw, .scores = scores, .kept = s->kept, .classes = (int)s->network->classes,
           .seed = s->seed);
  struct ffb_tensor *input = ffb_emit_images(pass, stage->images, 2 * rows, s->mean, s->deviation);
  if (!input)
    return NULL;
  ff_emit_labels(s, pass, ffb_emit_view(pass, input, 0, half), stage->labels, 0);
  ff_emit_labels(s, pass, ffb_emit_view(pass, input, rows * half[1] * half[2] * half[3], half), wrong, 0);
  return input;
}
