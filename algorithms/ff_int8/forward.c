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

struct ffb_tensor *ff_enter(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct ff_entry *entry) {
  int reader = first_reader(s->network, entry->node);
  struct ffb_tensor *y = entry->x;
  if (s->settings.normalize != FF_NORMALIZE_NONE && y) {
    bool l2 = s->settings.normalize == FF_NORMALIZE_L2, mean = ff_goodness_is_mean(s);
    struct ffb_normalise normalise = {.x = y,
                                      .goodness = l2 && mean ? NULL : entry->goodness,
                                      .groups = entry->groups,
                                      .kind = l2 ? FFB_NORMALISE_L2 : FFB_NORMALISE_RMS,
                                      .mean = !l2 && mean};
    if (reader >= 0 && !entry->inverse && !entry->over &&
        ffb_pass_hand_over_normalised(pass, entry->node, reader, &normalise))
      return NULL;
    if (entry->inverse)
      normalise.inverse = *entry->inverse =
          ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "inverse", pass->rows, entry->groups);
    normalise.y = y = entry->normalised ? entry->normalised
                                        : ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "normalised", y->shape);
    ffb_emit(pass, FFB_NORMALISE, &(union ffb_arguments){.normalise = normalise});
  }
  ffb_pass_enter(pass, entry->node, y);
  if (reader >= 0 && !pass->failed)
    ffb_pass_hand_over(pass, entry->node, reader, entry->over);
  return y;
}

void ff_enter_images(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *x, bool in_place) {
  ff_enter(s, pass, &(struct ff_entry){.node = 0, .groups = 1, .x = x, .normalised = in_place ? x : NULL});
}

struct ffb_tensor *ff_enter_output(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit, struct ffb_tensor *y) {
  return ff_enter(s, pass, &(struct ff_entry){.node = s->units[unit].output, .groups = ff_groups(s), .x = y});
}

struct ffb_tensor *ff_forward(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit) {
  const struct ff_unit *own = &s->units[unit];
  ffb_pass_forward(pass, own->first_layer, own->layer_count);
  return pass->nodes[own->output];
}
