#include "backends/reference/reference.h"
#include "base/random.h"

#include <float.h>
#include <math.h>

static float scalar(const struct ffb_tensor *tensor) {
  return *(const float *)tensor->data;
}

/* A scale whose reciprocal would not be finite counts as that of a zero tensor; a NaN passes. */
static float usable_scale(float scale) {
  return scale < FLT_MIN ? 1 : scale;
}

/* A NaN anywhere gives a NaN. */
static float absolute_maximum(const struct ffb_tensor *x, struct ffb_executed *executed) {
  int64_t n = ffb_elements(x);
  if (x->type == FFB_S32) {
    const int32_t *value = x->data;
    int64_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
      int64_t size = value[i] < 0 ? -(int64_t)value[i] : value[i];
      largest = size > largest ? size : largest;
      executed->compared_elements++;
    }
    return (float)largest;
  }
  const float *value = x->data;
  float largest = 0;
  for (int64_t i = 0; i < n; i++) {
    executed->compared_elements++;
    if (isnan(value[i]))
      return NAN;
    largest = fabsf(value[i]) > largest ? fabsf(value[i]) : largest;
  }
  return largest;
}

bool ffb_counted_suq_scale(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_suq_scale *suq = &arguments->suq_scale;
  float scale = 0;
  if (suq->range == FFB_RANGE_ABSMAX) {
    float largest = absolute_maximum(suq->x, executed);
    scale = (suq->ratio ? scalar(suq->ratio) * largest : largest) / 127;
    if (suq->running) {
      float *running = suq->running->data;
      *running = *running == 0 ? largest : 0.99f * *running + 0.01f * largest;
    }
  } else if (suq->range == FFB_RANGE_RUNNING) {
    scale = scalar(suq->running) / 127;
  } else {
    scale = suq->fixed / 127;
  }
  *(float *)suq->scale->data = usable_scale(scale);
  return true;
}

struct rounder {
  enum ffb_rounding rounding;
  uint64_t seed;
  uint32_t purpose, step;
  float limit;
  struct ffb_executed *executed;
};

static struct rounder make_rounder(enum ffb_rounding rounding, uint64_t seed, uint32_t purpose,
                                   const struct ffb_tensor *step, float limit, struct ffb_executed *executed) {
  bool draws = rounding == FFB_ROUND_STOCHASTIC;
  return (struct rounder){rounding, seed, purpose, draws ? *(const uint32_t *)step->data : 0, limit, executed};
}

static int8_t quantised(const struct rounder *rounder, float v, int64_t index) {
  float whole = 0;
  if (rounder->rounding == FFB_ROUND_STOCHASTIC) {
    whole = floorf(v + ffb_random_rounding(rounder->seed, rounder->purpose, rounder->step, (uint64_t)index));
    rounder->executed->added_elements++;
  } else {
    whole = rintf(v);
  }
  rounder->executed->quantised_elements++;
  if (isnan(whole))
    return 0;
  return (int8_t)fmaxf(-rounder->limit, fminf(rounder->limit, whole));
}

bool ffb_counted_suq_quantise(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_suq_quantise *suq = &arguments->suq_quantise;
  struct rounder rounder = make_rounder(suq->rounding, suq->seed, suq->purpose, suq->step, 127, executed);
  int8_t *q = suq->q->data;
  const float *x = suq->x->data;
  float inverse = 1 / scalar(suq->scale);
  int64_t n = ffb_elements(suq->x);
  for (int64_t i = 0; i < n; i++)
    q[i] = quantised(&rounder, x[i] * inverse, i);
  return true;
}

bool ffb_counted_suq_segments(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_suq_segments *suq = &arguments->suq_segments;
  struct rounder rounder = make_rounder(suq->rounding, suq->seed, suq->purpose, suq->step, 63, executed);
  float coarse_scale = usable_scale(absolute_maximum(suq->x, executed) / 63);
  float fine_scale = usable_scale(ldexpf(coarse_scale, -(int)scalar(suq->exponent)));
  float threshold = 63 * fine_scale, coarse_inverse = 1 / coarse_scale, fine_inverse = 1 / fine_scale;
  int8_t *fine = suq->fine->data, *coarse = suq->coarse->data;
  const float *x = suq->x->data;
  int64_t n = ffb_elements(suq->x);
  for (int64_t i = 0; i < n; i++) {
    bool small = fabsf(x[i]) <= threshold;
    int8_t q = quantised(&rounder, x[i] * (small ? fine_inverse : coarse_inverse), i);
    fine[i] = small ? q : (int8_t)0;
    coarse[i] = small ? (int8_t)0 : q;
  }
  *(float *)suq->fine_scale->data = fine_scale;
  *(float *)suq->coarse_scale->data = coarse_scale;
  return true;
}

bool ffb_reference_dequantise(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_dequantise *dequantise = &arguments->dequantise;
  float *out = dequantise->out->data;
  const void *x = dequantise->x->data;
  float scale = scalar(dequantise->scale_a);
  if (dequantise->scale_b)
    scale *= scalar(dequantise->scale_b);
  int64_t n = ffb_elements(dequantise->out);
  for (int64_t i = 0; i < n; i++) {
    float value = dequantise->x->type == FFB_S8 ? (float)((const int8_t *)x)[i] : (float)((const int32_t *)x)[i];
    out[i] = dequantise->accumulate ? value * scale + out[i] : value * scale;
  }
  return true;
}
