/* What the forward-forward trainer trains by itself: the blocks of a network, or its single layers. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_UNITS_H
#define FFBENCH_ALGORITHMS_FF_INT8_UNITS_H

#include "algorithms/ff_int8/settings.h"

struct ff_unit {
  const char *name; /* the network's */
  int first_layer, layer_count;
  int input, output; /* nodes; a unit may read other earlier nodes too, as a shortcut does */
  int block;
  bool ends_in_relu; /* goodness gives no gradient where it is zero, so that its own gradient changes nothing */
};

/* Every unit before the head; freed with ffb_free. */
bool ff_units_make(const struct ffb_network *network, enum ff_unit_kind kind, struct ff_unit **units, int *count,
                   struct ffb_error *error);
/* The classifier, or null. */
const struct ffb_unit *ff_head_of(const struct ffb_network *network);
/* Whether a gradient flows from unit `unit` into the one before it. */
bool ff_linked(const struct ff_unit *units, int unit, enum ff_lookahead lookahead);

#endif
