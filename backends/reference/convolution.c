/* Convolutions and their gradients, straight from the sums of backend.h. */
#include "backends/reference/reference.h"

/* Channels that are summed side by side: only speed. */
enum { BLOCK = 64 };

struct geometry {
  int64_t images, height, width, channels; /* of x */
  int64_t out_height, out_width, outputs;  /* of y */
  int64_t groups, group_channels, group_outputs;
  int kernel, stride, padding;
  int64_t *macs; /* grows with each tap that is not on padding */
};

/* An output pixel. */
struct place {
  int64_t m, p, q;
};

/* Channels first .. first + width - 1 of a group. */
struct channels {
  int64_t group, first, width;
};

static struct geometry geometry_of(const struct ffb_tensor *x, const struct ffb_tensor *y,
                                   const struct ffb_window *window, int groups, int64_t *macs) {
  return (struct geometry){.images = x->shape[0],
                           .height = x->shape[1],
                           .width = x->shape[2],
                           .channels = x->shape[3],
                           .out_height = y->shape[1],
                           .out_width = y->shape[2],
                           .outputs = y->shape[3],
                           .groups = groups,
                           .group_channels = x->shape[3] / groups,
                           .group_outputs = y->shape[3] / groups,
                           .kernel = window->kernel,
                           .stride = window->stride,
                           .padding = window->padding,
                           .macs = macs};
}

static float scale_of(const struct ffb_tensor *a, const struct ffb_tensor *b) {
  return *(const float *)a->data * *(const float *)b->data;
}

#define ELEMENT     float
#define SUM         double
#define NAMED(name) name##_f32
#include "backends/reference/convolution.inc"
#undef ELEMENT
#undef SUM
#undef NAMED

#define ELEMENT     int8_t
#define SUM         int64_t
#define NAMED(name) name##_s8
#include "backends/reference/convolution.inc"
#undef ELEMENT
#undef SUM
#undef NAMED

bool ffb_counted_convolve_f32(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_convolve_f32 *a = &arguments->convolve_f32;
  struct geometry geometry = geometry_of(a->x, a->y, &a->window, a->groups, &executed->mac_f32);
  convolve_f32(&geometry, a->y->data, a->x->data, a->w->data, 1);
  return true;
}

bool ffb_counted_convolve_s8(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_convolve_s8 *a = &arguments->convolve_s8;
  struct geometry geometry = geometry_of(a->x, a->y, &a->window, a->groups, &executed->mac_s8);
  convolve_s8(&geometry, a->y->data, a->x->data, a->w->data, scale_of(a->x_scale, a->w_scale));
  return true;
}

bool ffb_counted_convolve_input_f32(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_convolve_input_f32 *a = &arguments->convolve_input_f32;
  struct geometry geometry = geometry_of(a->gx, a->gy, &a->window, a->groups, &executed->mac_f32);
  convolve_input_f32(&geometry, a->gx->data, a->gy->data, a->w->data, 1, a->accumulate);
  return true;
}

bool ffb_counted_convolve_input_s8(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_convolve_input_s8 *a = &arguments->convolve_input_s8;
  struct geometry geometry = geometry_of(a->gx, a->gy, &a->window, a->groups, &executed->mac_s8);
  convolve_input_s8(&geometry, a->gx->data, a->gy->data, a->w->data, scale_of(a->gy_scale, a->w_scale), a->accumulate);
  return true;
}

bool ffb_counted_convolve_weight_f32(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_f32 *a = &arguments->convolve_weight_f32;
  struct geometry geometry = geometry_of(a->x, a->gy, &a->window, a->groups, &executed->mac_f32);
  convolve_weight_f32(&geometry, a->gw->data, a->gy->data, a->x->data, 1, a->accumulate);
  return true;
}

bool ffb_counted_convolve_weight_s8(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_convolve_weight_s8 *a = &arguments->convolve_weight_s8;
  struct geometry geometry = geometry_of(a->x, a->gy, &a->window, a->groups, &executed->mac_s8);
  convolve_weight_s8(&geometry, a->gw->data, a->gy->data, a->x->data, scale_of(a->gy_scale, a->x_scale), a->accumulate);
  return true;
}
