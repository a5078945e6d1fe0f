#include "backends/reference/reference.h"

#include <string.h>

bool ffb_reference_fill(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_fill *fill = &arguments->fill;
  int64_t n = ffb_elements(fill->out);
  for (int64_t i = 0; i < n; i++) {
    switch (fill->out->type) {
    case FFB_F32:
      ((float *)fill->out->data)[i] = fill->value;
      break;
    case FFB_F64:
      ((double *)fill->out->data)[i] = fill->value;
      break;
    case FFB_S32:
      ((int32_t *)fill->out->data)[i] = (int32_t)fill->value;
      break;
    case FFB_U32:
      ((uint32_t *)fill->out->data)[i] = (uint32_t)fill->value;
      break;
    case FFB_S8:
      ((int8_t *)fill->out->data)[i] = (int8_t)fill->value;
      break;
    case FFB_U8:
      ((uint8_t *)fill->out->data)[i] = (uint8_t)fill->value;
      break;
    }
  }
  return true;
}

bool ffb_reference_copy(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_tensor *in = arguments->copy.in;
  memmove(arguments->copy.out->data, in->data, (size_t)ffb_elements(in) * ffb_type_bytes(in->type));
  return true;
}

bool ffb_reference_add_bias(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_add_bias *add = &arguments->add_bias;
  float *y = add->y->data;
  const float *bias = add->bias->data;
  int64_t rows = ffb_rows(add->y), columns = ffb_columns(add->y);
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t n = 0; n < columns; n++)
      y[m * columns + n] += bias[n];
  }
  return true;
}

bool ffb_reference_bias_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  float *out = arguments->bias_gradient.out->data;
  const float *gradient = arguments->bias_gradient.gradient->data;
  int64_t rows = ffb_rows(arguments->bias_gradient.gradient), columns = ffb_columns(arguments->bias_gradient.gradient);
  for (int64_t n = 0; n < columns; n++)
    out[n] = 0;
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t n = 0; n < columns; n++)
      out[n] += gradient[m * columns + n];
  }
  return true;
}

bool ffb_reference_add_scaled(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_add_scaled *add = &arguments->add_scaled;
  float *out = add->out->data;
  const float *a = add->a->data, *b = add->b->data;
  float factor = add->factor ? *(const float *)add->factor->data : 1;
  int64_t n = ffb_elements(add->out);
  for (int64_t i = 0; i < n; i++)
    out[i] = a[i] + factor * b[i];
  return true;
}
