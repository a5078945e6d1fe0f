/* An activation and its derivative at one point, as backend.h gives them. */
#ifndef FFBENCH_BACKENDS_REFERENCE_ACTIVATION_H
#define FFBENCH_BACKENDS_REFERENCE_ACTIVATION_H

#include "backends/backend.h"
#include "backends/exponential.h"
#include "base/qualifier.h"

static inline FFB_DEVICE float ffb_activation(enum ffb_activation kind, float x) {
  switch (kind) {
  case FFB_ACTIVATION_RELU:
    return x < 0 ? 0 : x;
  case FFB_ACTIVATION_RELU6:
    return x < 0 ? 0 : x > 6 ? 6 : x;
  case FFB_ACTIVATION_SILU:
    return x * ffb_sigmoid(x);
  case FFB_ACTIVATION_SIGMOID:
    return ffb_sigmoid(x);
  case FFB_ACTIVATION_NONE:
    break;
  }
  return x;
}

/* Whether a ReLU that took x, or gave it, lets a gradient pass. */
static inline FFB_DEVICE bool ffb_activation_passes(enum ffb_activation kind, float x) {
  if (kind == FFB_ACTIVATION_RELU)
    return x > 0;
  return kind != FFB_ACTIVATION_RELU6 || (x > 0 && x < 6);
}

/* g * activation'; v is what ACTIVATE_GRADIENT takes: the input of a SiLU, else the output. */
static inline FFB_DEVICE float ffb_activation_gradient(enum ffb_activation kind, float g, float v) {
  if (kind == FFB_ACTIVATION_SILU) {
    float s = ffb_sigmoid(v);
    return g * (s * (1 + v * (1 - s)));
  }
  if (kind == FFB_ACTIVATION_SIGMOID)
    return g * (v * (1 - v));
  return ffb_activation_passes(kind, v) ? g : 0;
}

#endif
