#include "nn/network.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static bool name_copy(char to[FFB_NAME_BYTES], const char *from, struct ffb_error *error) {
  if (strlen(from) >= FFB_NAME_BYTES)
    return ffb_fail(error, "name %s is longer than %d characters", from, FFB_NAME_BYTES - 1);
  snprintf(to, FFB_NAME_BYTES, "%s", from);
  return true;
}

static int new_node(struct ffb_network *network, int64_t height, int64_t width, int64_t channels,
                    struct ffb_error *error) {
  int64_t(*nodes)[3] = ffb_reallocate(network->nodes, (size_t)network->node_count + 1, sizeof *nodes, error);
  if (!nodes)
    return -1;
  network->nodes = nodes;
  nodes[network->node_count][0] = height;
  nodes[network->node_count][1] = width;
  nodes[network->node_count][2] = channels;
  return network->node_count++;
}

bool ffb_network_create(struct ffb_network *network, const char *model, int64_t height, int64_t width, int64_t channels,
                        int64_t classes, struct ffb_error *error) {
  *network =
      (struct ffb_network){.model = model, .height = height, .width = width, .channels = channels, .classes = classes};
  return new_node(network, height, width, channels, error) == 0;
}

void ffb_network_destroy(struct ffb_network *network) {
  ffb_free(network->layers);
  ffb_free(network->units);
  ffb_free(network->nodes);
  *network = (struct ffb_network){0};
}

bool ffb_network_unit(struct ffb_network *network, const char *name, bool head, struct ffb_error *error) {
  struct ffb_unit *units = ffb_reallocate(network->units, (size_t)network->unit_count + 1, sizeof *units, error);
  if (!units)
    return false;
  network->units = units;
  struct ffb_unit *unit = &units[network->unit_count];
  *unit = (struct ffb_unit){.first_layer = network->layer_count, .head = head, .input = -1, .output = -1};
  if (!name_copy(unit->name, name, error))
    return false;
  network->unit_count++;
  return true;
}

static int add_layer(struct ffb_network *network, const struct ffb_layer *layer, const char *name, int64_t height,
                     int64_t width, int64_t channels, struct ffb_error *error) {
  if (network->unit_count == 0) {
    ffb_fail(error, "layer %s: open a unit first", name);
    return -1;
  }
  struct ffb_layer *layers = ffb_reallocate(network->layers, (size_t)network->layer_count + 1, sizeof *layers, error);
  if (!layers)
    return -1;
  network->layers = layers;
  struct ffb_layer *added = &layers[network->layer_count];
  *added = *layer;
  if (!name_copy(added->name, name, error))
    return -1;
  added->unit = network->unit_count - 1;
  added->output = new_node(network, height, width, channels, error);
  if (added->output < 0)
    return -1;
  struct ffb_unit *unit = &network->units[added->unit];
  if (unit->layer_count == 0)
    unit->input = added->inputs[0];
  unit->output = added->output;
  unit->layer_count++;
  network->layer_count++;
  return added->output;
}

int64_t ffb_network_features(const struct ffb_network *network, int node) {
  return network->nodes[node][0] * network->nodes[node][1] * network->nodes[node][2];
}

int ffb_network_linear(struct ffb_network *network, const char *name, int input, int64_t out_features, bool bias,
                       struct ffb_error *error) {
  struct ffb_layer layer = {.kind = FFB_LAYER_LINEAR,
                            .inputs = {input},
                            .input_count = 1,
                            .in_features = ffb_network_features(network, input),
                            .out_features = out_features,
                            .bias = bias};
  return add_layer(network, &layer, name, 1, 1, out_features, error);
}

int ffb_network_relu(struct ffb_network *network, const char *name, int input, struct ffb_error *error) {
  struct ffb_layer layer = {.kind = FFB_LAYER_RELU, .inputs = {input}, .input_count = 1};
  const int64_t *shape = network->nodes[input];
  return add_layer(network, &layer, name, shape[0], shape[1], shape[2], error);
}

int64_t ffb_network_parameters(const struct ffb_network *network, bool with_head) {
  int64_t count = 0;
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    if (layer->kind == FFB_LAYER_LINEAR && (with_head || !network->units[layer->unit].head))
      count += layer->in_features * layer->out_features + (layer->bias ? layer->out_features : 0);
  }
  return count;
}
