#include "backends/reference/reference.h"
#include "base/random.h"

#include <math.h>

bool ffb_reference_convert_images(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_convert_images *convert = &arguments->convert_images;
  float *out = convert->out->data;
  const uint8_t *in = convert->in->data;
  int64_t pixels = convert->out->shape[1] * convert->out->shape[2];
  int64_t from_pixels = ffb_rows(convert->in) * pixels, to_pixels = ffb_rows(convert->out) * pixels;
  int64_t given = convert->in->shape[3], channels = convert->out->shape[3];
  for (int64_t p = 0; p < to_pixels; p++) {
    const uint8_t *from = in + p % from_pixels * given;
    for (int64_t c = 0; c < channels; c++)
      out[p * channels + c] = c < given ? ((float)from[c] / 255 - convert->mean[c]) / convert->deviation[c] : 0;
  }
  return true;
}

bool ffb_reference_overlay_labels(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_overlay_labels *overlay = &arguments->overlay_labels;
  float *images = overlay->images->data;
  const int32_t *labels = overlay->labels ? overlay->labels->data : NULL;
  int64_t rows = ffb_rows(overlay->images), columns = ffb_columns(overlay->images);
  int64_t channels = overlay->images->shape[3];
  float neutral = overlay->off + (overlay->on - overlay->off) / (float)overlay->classes;
  for (int64_t m = 0; m < rows; m++) {
    int label = labels ? labels[m] : overlay->constant;
    for (int pixel = 0; pixel < overlay->classes; pixel++) {
      float value = label < 0 ? neutral : pixel == label ? overlay->on : overlay->off;
      for (int64_t c = 0; c < channels; c++)
        images[m * columns + pixel * channels + c] = value;
    }
  }
  return true;
}

/* Drawn from softmax(scores) with the true class masked; -1 where the scores give no distribution. */
static int draw_hard(const float *scores, int classes, int truth, float uniform) {
  float largest = -INFINITY;
  for (int c = 0; c < classes; c++) {
    if (c != truth && scores[c] > largest)
      largest = scores[c];
  }
  double total = 0, passed = 0;
  for (int c = 0; c < classes; c++) {
    if (c != truth)
      total += exp((double)scores[c] - (double)largest);
  }
  if (!isfinite(total))
    return -1;
  int last = -1;
  for (int c = 0; c < classes; c++) {
    if (c == truth)
      continue;
    double weight = exp((double)scores[c] - (double)largest);
    passed += weight;
    if ((double)uniform * total < passed)
      return c;
    if (weight > 0)
      last = c;
  }
  return last;
}

static int draw_negative(const struct ffb_draw_negatives *draw, const float *scores, int truth, uint32_t record) {
  uint32_t number = *(const uint32_t *)draw->draw->data;
  if (scores) {
    int hard =
        draw_hard(scores, draw->classes, truth, ffb_random_uniform(draw->seed, FFB_PURPOSE_NEGATIVE, number, record));
    if (hard >= 0)
      return hard;
  }
  uint32_t others = (uint32_t)draw->classes - 1;
  uint32_t shift = 1 + ffb_random_below(draw->seed, FFB_PURPOSE_NEGATIVE, number, record, others);
  return (int)(((uint32_t)truth + shift) % (uint32_t)draw->classes);
}

bool ffb_reference_draw_negatives(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_draw_negatives *draw = &arguments->draw_negatives;
  int32_t *negatives = draw->negatives->data, *kept = draw->kept ? draw->kept->data : NULL;
  const int32_t *labels = draw->labels->data, *index = draw->index->data;
  const float *scores = draw->scores ? draw->scores->data : NULL;
  int64_t rows = ffb_rows(draw->labels);
  for (int64_t m = 0; m < rows; m++) {
    if (kept && kept[index[m]] >= 0) {
      negatives[m] = kept[index[m]];
      continue;
    }
    negatives[m] = draw_negative(draw, scores ? scores + m * draw->classes : NULL, labels[m], (uint32_t)index[m]);
    if (kept)
      kept[index[m]] = negatives[m];
  }
  return true;
}

/* Adds the pattern to every channel of an image, or stores it in one. */
static void write_pattern(float *image, const float *pattern, int64_t pixels, int64_t channels, int only) {
  for (int64_t p = 0; p < pixels; p++) {
    for (int64_t c = 0; c < channels; c++) {
      float *to = &image[p * channels + c];
      if (only < 0)
        *to += pattern[p];
      else if (c == only)
        *to = pattern[p];
    }
  }
}

bool ffb_reference_label_pattern(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_label_pattern *label = &arguments->label_pattern;
  float *images = label->images->data;
  const float *patterns = label->patterns->data;
  const int32_t *labels = label->labels ? label->labels->data : NULL;
  int64_t columns = ffb_columns(label->images), channels = label->images->shape[3], pixels = columns / channels;
  int64_t neutral = ffb_rows(label->patterns) - 1;
  for (int64_t m = 0; m < ffb_rows(label->images); m++) {
    int64_t which = labels ? labels[m] : label->constant;
    const float *pattern = patterns + (which < 0 ? neutral : which) * pixels;
    write_pattern(images + m * columns, pattern, pixels, channels, label->channel);
  }
  return true;
}
