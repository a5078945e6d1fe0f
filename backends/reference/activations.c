/* Activations, masks and dropout. */
#include "backends/reference/activation.h"
#include "backends/reference/reference.h"
#include "base/random.h"

bool ffb_reference_activate(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_activate *activate = &arguments->activate;
  float *y = activate->y->data;
  const float *x = activate->x->data;
  int64_t n = ffb_elements(activate->y);
  for (int64_t i = 0; i < n; i++)
    y[i] = ffb_activation(activate->kind, x[i]);
  return true;
}

bool ffb_reference_activate_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_activate_gradient *activate = &arguments->activate_gradient;
  float *gx = activate->gx->data;
  const float *gy = activate->gy->data, *v = activate->v->data;
  int64_t n = ffb_elements(activate->gx);
  for (int64_t i = 0; i < n; i++)
    gx[i] = ffb_activation_gradient(activate->kind, gy[i], v[i]);
  return true;
}

bool ffb_reference_mask_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_mask_gradient *masked = &arguments->mask_gradient;
  float *gx = masked->gx->data;
  const float *gy = masked->gy->data;
  const uint8_t *mask = masked->mask->data;
  int64_t n = ffb_elements(masked->gx);
  for (int64_t i = 0; i < n; i++)
    gx[i] = mask[i / 8] >> i % 8 & 1 ? gy[i] : 0;
  return true;
}

bool ffb_reference_dropout(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_dropout *dropout = &arguments->dropout;
  float *y = dropout->y->data, kept = 1 - dropout->rate;
  const float *x = dropout->x->data;
  uint32_t step = *(const uint32_t *)dropout->step->data;
  int64_t n = ffb_elements(dropout->y), columns = ffb_columns(dropout->y);
  for (int64_t i = 0; i < n; i++) {
    uint64_t index = (uint64_t)(dropout->by_row ? i / columns : i);
    bool keeps = ffb_random_uniform(dropout->seed, dropout->purpose, step, index) >= dropout->rate;
    y[i] = keeps ? x[i] / kept : 0;
  }
  return true;
}
