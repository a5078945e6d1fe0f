#include "backends/reference/group.h"
#include "backends/reference/reference.h"

#include <math.h>

/* First class of the largest logit; -1 where a logit is a NaN. */
static int predicted(const float *logits, int64_t classes) {
  int best = 0;
  for (int64_t c = 0; c < classes; c++) {
    if (isnan(logits[c]))
      return -1;
    if (logits[c] > logits[best])
      best = (int)c;
  }
  return best;
}

static void count_sample(double *statistics, float loss, bool correct) {
  statistics[FFB_STATISTIC_LOSS] += (double)loss;
  statistics[FFB_STATISTIC_CORRECT] += correct;
  statistics[FFB_STATISTIC_SAMPLES] += 1;
  statistics[FFB_STATISTIC_NOT_FINITE] += !isfinite(loss);
}

bool ffb_reference_softmax_cross_entropy(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_softmax_cross_entropy *softmax = &arguments->softmax_cross_entropy;
  float *gradient = softmax->gradient ? softmax->gradient->data : NULL, scale = softmax->logit_scale;
  const int32_t *labels = softmax->labels->data;
  int64_t rows = ffb_rows(softmax->logits), classes = ffb_columns(softmax->logits);
  float batch = (float)(softmax->total_rows ? softmax->total_rows : rows);
  for (int64_t m = 0; m < rows; m++) {
    const float *logits = (const float *)softmax->logits->data + m * classes;
    int best = predicted(logits, classes);
    float exponential[FFB_MAX_CLASSES], largest = scale * logits[0], sum = 0;
    for (int64_t c = 1; c < classes; c++)
      largest = fmaxf(largest, scale * logits[c]);
    for (int64_t c = 0; c < classes; c++) {
      exponential[c] = expf(scale * logits[c] - largest);
      sum += exponential[c];
    }
    float loss = logf(sum) - (scale * logits[labels[m]] - largest);
    for (int64_t c = 0; gradient && c < classes; c++)
      gradient[m * classes + c] = (exponential[c] / sum - (c == labels[m] ? 1.0f : 0.0f)) * scale / batch;
    count_sample(softmax->statistics->data, loss, best == labels[m]);
  }
  return true;
}

bool ffb_reference_goodness(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_goodness *goodness = &arguments->goodness;
  float *out = goodness->goodness->data;
  const float *y = goodness->y->data;
  int64_t rows = ffb_rows(goodness->y), columns = ffb_columns(goodness->y);
  int groups = goodness->groups;
  for (int64_t m = 0; m < rows; m++) {
    for (int g = 0; g < groups; g++) {
      struct ffb_group group = ffb_group_of(goodness->y, groups, g);
      float value = ffb_group_sum_squares(y + m * columns, &group);
      if (goodness->mean)
        value /= (float)ffb_group_size(&group);
      float *to = out + m * groups + g;
      *to = goodness->accumulate ? *to + value : value;
    }
  }
  return true;
}

static float softplus(float z) {
  return (z > 0 ? z : 0) + log1pf(expf(-fabsf(z)));
}

static float sigmoid(float z) {
  return 1 / (1 + expf(-z));
}

bool ffb_reference_goodness_loss(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_goodness_loss *loss = &arguments->goodness_loss;
  float *gradient = loss->gradient->data, theta = loss->theta;
  const float *goodness = loss->goodness->data;
  int64_t pairs = ffb_rows(loss->goodness) / 2;
  for (int64_t m = 0; m < pairs; m++) {
    float positive = goodness[m], negative = goodness[pairs + m];
    if (loss->statistics)
      count_sample(loss->statistics->data, softplus(theta - positive) + softplus(negative - theta),
                   positive > negative);
    gradient[m] = -sigmoid(theta - positive) / (float)pairs;
    gradient[pairs + m] = sigmoid(negative - theta) / (float)pairs;
  }
  return true;
}

bool ffb_reference_goodness_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_goodness_gradient *goodness = &arguments->goodness_gradient;
  float *gy = goodness->gy->data;
  const float *gradient = goodness->gradient->data, *y = goodness->y->data;
  int64_t rows = ffb_rows(goodness->y), columns = ffb_columns(goodness->y);
  int groups = goodness->groups;
  for (int64_t m = 0; m < rows; m++) {
    for (int g = 0; g < groups; g++) {
      struct ffb_group group = ffb_group_of(goodness->y, groups, g);
      float factor = gradient[m * groups + g] * 2;
      if (goodness->mean)
        factor /= (float)ffb_group_size(&group);
      for (int64_t j = 0; j < ffb_group_size(&group); j++) {
        int64_t i = m * columns + ffb_group_element(&group, j);
        gy[i] = goodness->accumulate ? gy[i] + factor * y[i] : factor * y[i];
      }
    }
  }
  return true;
}

bool ffb_reference_note_not_finite(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_note_not_finite *note = &arguments->note_not_finite;
  uint32_t *first = note->first->data;
  const float *x = note->x->data;
  for (int64_t i = 0; i < ffb_elements(note->x); i++) {
    if (*first == 0 && !isfinite(x[i]))
      *first = *(const uint32_t *)note->step->data + 1;
  }
  return true;
}
