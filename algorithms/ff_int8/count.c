#include "algorithms/ff_int8/count.h"

#include "algorithms/ff_int8/programs.h"
#include "base/memory.h"

/* Multiply-accumulates of one product of a layer for one sample: the weight gradient's and the input gradient's are as
 * many as the forward one's. Every tap of a convolution counts, also on padding. */
static int64_t product(const struct ffb_network *network, const struct ffb_layer *layer) {
  if (layer->kind == FFB_LAYER_LINEAR)
    return layer->in_features * layer->out_features;
  if (layer->kind != FFB_LAYER_CONVOLUTION)
    return 0;
  return ffb_network_features(network, layer->output) * layer->window.kernel * layer->window.kernel *
         (layer->in_features / layer->groups);
}

static bool made_inside(const struct ffb_network *network, int first, int count, int node) {
  for (int i = first; i < first + count; i++) {
    if (network->layers[i].output == node)
      return true;
  }
  return false;
}

struct unit_products {
  int64_t forward; /* all products of a unit: as many for its weight gradients */
  int64_t inside;  /* input gradients of the layers that read what the unit itself made */
};

static struct unit_products products(const struct ffb_network *network, int first, int count) {
  struct unit_products sums = {0};
  for (int i = first; i < first + count; i++) {
    int64_t one = product(network, &network->layers[i]);
    sums.forward += one;
    sums.inside += made_inside(network, first, count, network->layers[i].inputs[0]) ? one : 0;
  }
  return sums;
}

/* Forward, weight gradients and input gradients inside the unit; back into earlier units the chain goes once more
 * through all of it. */
static int64_t learning_products(const struct unit_products *unit, const struct ff_settings *settings, bool linked) {
  int64_t forward = settings->memory == FF_RECOMPUTE ? 2 : 1;
  return forward * unit->forward + unit->forward + unit->inside + (linked ? unit->forward : 0);
}

bool ff_count_operations(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                         struct ffb_operation_count *predict) {
  struct ff_settings settings;
  struct ff_unit *units;
  struct ffb_error error;
  int count;
  const struct ffb_network *network = setup->network;
  const struct ffb_unit *head = ff_head_of(network);
  ff_settings_resolve(setup->options, &settings);
  if (!ff_units_make(network, settings.unit, &units, &count, &error))
    return false;
  bool groups = settings.goodness == FF_CLASS_GROUPS, with_head = ff_has_head(&settings);
  bool reads_head = settings.inference == FF_LINEAR_HEAD;
  int64_t pass_rows = groups ? rows : 2 * rows, tries = groups || reads_head ? 1 : network->classes;
  *train = *predict = (struct ffb_operation_count){0};
  for (int i = 0; i < count; i++) {
    struct unit_products unit = products(network, units[i].first_layer, units[i].layer_count);
    bool learns = settings.schedule != FF_GREEDY || i + 1 == count;
    train->mac_s8 += pass_rows * (learns ? learning_products(&unit, &settings, ff_linked(units, i, settings.lookahead))
                                         : unit.forward);
    train->mac_s8 += with_head ? rows * unit.forward : 0; /* of images with the neutral label */
    predict->mac_s8 += tries * rows * unit.forward;
  }
  if (with_head && head) {
    struct unit_products classifier = products(network, head->first_layer, head->layer_count);
    train->mac_s8 += rows * (2 * classifier.forward + classifier.inside);
    predict->mac_s8 += reads_head ? rows * classifier.forward : 0;
  }
  ffb_free(units);
  return true;
}
