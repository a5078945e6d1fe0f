#include "backends/reference/reference.h"

#include <math.h>

static float rate_of(const struct ffb_tensor *learning_rate, const struct ffb_tensor *multiplier) {
  float rate = *(const float *)learning_rate->data;
  return multiplier ? rate * *(const float *)multiplier->data : rate;
}

/* See FFB_SMALLEST_STATE. A NaN stays. */
static float settled(float state) {
  return fabsf(state) < FFB_SMALLEST_STATE ? 0 : state;
}

bool ffb_reference_sgd_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_sgd *rule = &arguments->sgd_update.rule;
  const float *gradient = arguments->sgd_update.gradient->data;
  float *w = rule->weights->data, *momentum = rule->momentum ? rule->momentum->data : NULL;
  float rate = rate_of(rule->learning_rate, rule->multiplier);
  int64_t n = ffb_elements(rule->weights);
  for (int64_t i = 0; i < n; i++) {
    float g = gradient[i] + rule->weight_decay * w[i];
    if (momentum)
      momentum[i] = g = settled(rule->momentum_factor * momentum[i] + g);
    w[i] -= rate * g;
  }
  return true;
}

bool ffb_reference_adam_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_adam *rule = &arguments->adam_update.rule;
  const float *gradient = arguments->adam_update.gradient->data, *corrections = rule->corrections->data;
  float *w = rule->weights->data, *first = rule->first->data, *second = rule->second->data;
  float rate = rate_of(rule->learning_rate, rule->multiplier);
  int64_t n = ffb_elements(rule->weights);
  for (int64_t i = 0; i < n; i++) {
    float g = gradient[i] + rule->weight_decay * w[i];
    first[i] = settled(rule->beta1 * first[i] + (1 - rule->beta1) * g);
    second[i] = settled(rule->beta2 * second[i] + (1 - rule->beta2) * (g * g));
    w[i] -= rate * (first[i] * corrections[0]) / (sqrtf(second[i] * corrections[1]) + rule->epsilon);
  }
  return true;
}
