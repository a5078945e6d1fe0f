/* Units in the forward direction: what they are given, and what they make of it. */
#include "algorithms/ff_int8/programs.h"

/* The linear layer or convolution that reads a node before any other layer, or -1. */
static int first_reader(const struct ffb_network *network, int node) {
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    for (int k = 0; k < layer->input_count; k++) {
      if (layer->inputs[k] == node)
        return k == 0 && (layer->kind == FFB_LAYER_LINEAR || layer->kind == FFB_LAYER_CONVOLUTION) ? i : -1;
    }
  }
  return -1;
}

struct ffb_tensor *ff_enter(struct ffb_trainer_state *s, struct ffb_pass *pass, int node, struct ffb_tensor *x,
                            int groups, struct ffb_tensor *normalised, struct ffb_tensor **inverse, bool over) {
  struct ffb_tensor *y = x;
  if (s->settings.normalize != FF_NORMALIZE_NONE && x) {
    y = normalised ? normalised : ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "normalised", x->shape);
    if (inverse)
      *inverse = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "inverse", pass->rows, groups);
    FFB_EMIT(pass, NORMALISE, normalise, .y = y, .x = x, .inverse = inverse ? *inverse : NULL, .groups = groups,
             .kind = s->settings.normalize == FF_NORMALIZE_L2 ? FFB_NORMALISE_L2 : FFB_NORMALISE_RMS);
  }
  ffb_pass_enter(pass, node, y);
  int reader = first_reader(s->network, node);
  if (reader >= 0 && !pass->failed)
    ffb_pass_hand_over(pass, node, reader, over);
  return y;
}

void ff_enter_images(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *x, bool in_place) {
  ff_enter(s, pass, 0, x, 1, in_place ? x : NULL, NULL, false);
}

struct ffb_tensor *ff_forward(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit) {
  const struct ff_unit *own = &s->units[unit];
  ffb_pass_forward(pass, own->first_layer, own->layer_count);
  return pass->nodes[own->output];
}
