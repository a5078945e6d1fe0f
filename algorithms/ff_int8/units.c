#include "algorithms/ff_int8/units.h"

#include "base/memory.h"

static bool ends_in_relu(const struct ffb_network *network, const struct ffb_unit *unit) {
  const struct ffb_layer *last = &network->layers[unit->first_layer + unit->layer_count - 1];
  return unit->layer_count > 1 && last->kind == FFB_LAYER_ACTIVATION && last->activation == FFB_ACTIVATION_RELU;
}

bool ff_units_make(const struct ffb_network *network, enum ff_unit_kind kind, struct ff_unit **units, int *count,
                   struct ffb_error *error) {
  const struct ffb_unit *from = kind == FF_UNIT_LAYER ? network->parts : network->units;
  int all = kind == FF_UNIT_LAYER ? network->part_count : network->unit_count;
  struct ff_unit *made = *units = ffb_allocate((size_t)all, sizeof *made, error);
  *count = 0;
  for (int i = 0; made && i < all; i++) {
    if (!from[i].head)
      made[(*count)++] = (struct ff_unit){.name = from[i].name,
                                          .first_layer = from[i].first_layer,
                                          .layer_count = from[i].layer_count,
                                          .input = from[i].input,
                                          .output = from[i].output,
                                          .block = from[i].unit,
                                          .ends_in_relu = ends_in_relu(network, &from[i])};
  }
  return made != NULL;
}

const struct ffb_unit *ff_head_of(const struct ffb_network *network) {
  for (int i = 0; i < network->unit_count; i++) {
    if (network->units[i].head)
      return &network->units[i];
  }
  return NULL;
}

bool ff_linked(const struct ff_unit *units, int unit, enum ff_lookahead lookahead) {
  return unit > 0 && (lookahead == FF_LOOKAHEAD_CHAIN ||
                      (lookahead == FF_LOOKAHEAD_BLOCK && units[unit - 1].block == units[unit].block));
}
