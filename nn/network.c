#include "nn/network.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool name_copy(char to[FFB_NAME_BYTES], const char *from, struct ffb_error *error) {
  if (strlen(from) >= FFB_NAME_BYTES)
    return ffb_fail(error, "name %s is longer than %d characters", from, FFB_NAME_BYTES - 1);
  snprintf(to, FFB_NAME_BYTES, "%s", from);
  return true;
}

static int new_node(struct ffb_network *network, const int64_t shape[3], struct ffb_error *error) {
  int64_t(*nodes)[3] = ffb_reallocate(network->nodes, (size_t)network->node_count + 1, sizeof *nodes, error);
  if (!nodes)
    return -1;
  network->nodes = nodes;
  memcpy(nodes[network->node_count], shape, sizeof *nodes);
  return network->node_count++;
}

bool ffb_network_create(struct ffb_network *network, const char *model, int64_t height, int64_t width, int64_t channels,
                        int64_t classes, struct ffb_error *error) {
  *network =
      (struct ffb_network){.model = model, .height = height, .width = width, .channels = channels, .classes = classes};
  return new_node(network, (int64_t[3]){height, width, channels}, error) == 0;
}

void ffb_network_destroy(struct ffb_network *network) {
  ffb_free(network->layers);
  ffb_free(network->units);
  ffb_free(network->parts);
  ffb_free(network->nodes);
  *network = (struct ffb_network){0};
}

/* ---- units and parts -------------------------------------------------------------------------------------------- */

/* One more entry of a list of units, empty as yet. */
static bool open_range(struct ffb_unit **list, int *count, const struct ffb_unit *range, const char *name,
                       struct ffb_error *error) {
  struct ffb_unit *grown = ffb_reallocate(*list, (size_t)*count + 1, sizeof *grown, error);
  if (!grown)
    return false;
  *list = grown;
  grown[*count] = *range;
  if (!name_copy(grown[*count].name, name, error))
    return false;
  ++*count;
  return true;
}

static bool open_part(struct ffb_network *network, const char *name, struct ffb_error *error) {
  int unit = network->unit_count - 1;
  const struct ffb_unit part = {
      .first_layer = network->layer_count, .head = network->units[unit].head, .input = -1, .output = -1, .unit = unit};
  return open_range(&network->parts, &network->part_count, &part, name, error);
}

bool ffb_network_unit(struct ffb_network *network, const char *name, bool head, struct ffb_error *error) {
  const struct ffb_unit unit = {
      .first_layer = network->layer_count, .head = head, .input = -1, .output = -1, .unit = network->unit_count};
  return open_range(&network->units, &network->unit_count, &unit, name, error) && open_part(network, name, error);
}

bool ffb_network_part(struct ffb_network *network, const char *name, struct ffb_error *error) {
  if (network->part_count == 0)
    return ffb_fail(error, "part %s: open a unit first", name);
  struct ffb_unit *part = &network->parts[network->part_count - 1];
  if (part->layer_count == 0)
    return name_copy(part->name, name, error);
  return open_part(network, name, error);
}

static void extend_range(struct ffb_unit *range, const struct ffb_layer *layer) {
  if (range->layer_count == 0)
    range->input = layer->inputs[0];
  range->output = layer->output;
  range->layer_count++;
}

/* ---- layers ----------------------------------------------------------------------------------------------------- */

static int add_layer(struct ffb_network *network, const struct ffb_layer *layer, const char *name,
                     const int64_t shape[3], struct ffb_error *error) {
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
  added->part = network->part_count - 1;
  added->output = new_node(network, shape, error);
  if (added->output < 0)
    return -1;
  extend_range(&network->units[added->unit], added);
  extend_range(&network->parts[added->part], added);
  network->layer_count++;
  return added->output;
}

struct ffb_layer *ffb_network_last(struct ffb_network *network) {
  return network->layer_count > 0 ? &network->layers[network->layer_count - 1] : NULL;
}

int64_t ffb_network_features(const struct ffb_network *network, int node) {
  return network->nodes[node][0] * network->nodes[node][1] * network->nodes[node][2];
}

int ffb_network_linear(struct ffb_network *network, const char *name, int input, int64_t out_features, bool bias,
                       struct ffb_error *error) {
  if (input < 0)
    return -1;
  int64_t in_features = ffb_network_features(network, input);
  const struct ffb_initial initial = {.kind = FFB_INITIAL_UNIFORM, .spread = 1 / sqrt((double)in_features)};
  const struct ffb_layer layer = {.kind = FFB_LAYER_LINEAR,
                                  .inputs = {input},
                                  .input_count = 1,
                                  .in_features = in_features,
                                  .out_features = out_features,
                                  .bias = bias,
                                  .weight_initial = initial,
                                  .bias_initial = initial};
  return add_layer(network, &layer, name, (int64_t[3]){1, 1, out_features}, error);
}

/* The image that a window makes of one, with as many channels. */
static bool slide(const struct ffb_network *network, const char *name, int input, struct ffb_window window,
                  int64_t shape[3], struct ffb_error *error) {
  const int64_t *from = network->nodes[input];
  if (window.kernel < 1 || window.stride < 1 || window.padding < 0)
    return ffb_fail(error, "layer %s: a window of kernel %d, stride %d, padding %d", name, window.kernel, window.stride,
                    window.padding);
  for (int i = 0; i < 2; i++) {
    int64_t room = from[i] + 2 * window.padding - window.kernel;
    if (room < 0)
      return ffb_fail_usage(error,
                            "layer %s: an image of %lld x %lld pixels is too small for a window of %d: use a "
                            "dataset with larger images or model.stem=cifar",
                            name, (long long)from[0], (long long)from[1], window.kernel);
    shape[i] = room / window.stride + 1;
  }
  shape[2] = from[2];
  return true;
}

int ffb_network_convolution(struct ffb_network *network, const char *name, int input, int64_t out_channels,
                            struct ffb_window window, int groups, struct ffb_error *error) {
  int64_t shape[3];
  if (input < 0 || !slide(network, name, input, window, shape, error))
    return -1;
  int64_t channels = network->nodes[input][2];
  if (groups < 1 || channels % groups || out_channels % groups) {
    ffb_fail(error, "layer %s: %lld and %lld channels do not fall into %d groups", name, (long long)channels,
             (long long)out_channels, groups);
    return -1;
  }
  double fan_out = (double)out_channels * window.kernel * window.kernel;
  const struct ffb_layer layer = {.kind = FFB_LAYER_CONVOLUTION,
                                  .inputs = {input},
                                  .input_count = 1,
                                  .in_features = channels,
                                  .out_features = out_channels,
                                  .window = window,
                                  .groups = groups,
                                  .weight_initial = {.kind = FFB_INITIAL_NORMAL, .spread = sqrt(2 / fan_out)}};
  shape[2] = out_channels;
  return add_layer(network, &layer, name, shape, error);
}

/* A layer whose output has the shape of its first input. */
static int add_same(struct ffb_network *network, const struct ffb_layer *layer, const char *name,
                    struct ffb_error *error) {
  int64_t shape[3];
  memcpy(shape, network->nodes[layer->inputs[0]], sizeof shape); /* the nodes may move while one is added */
  return add_layer(network, layer, name, shape, error);
}

int ffb_network_batch_norm(struct ffb_network *network, const char *name, int input, float momentum, float epsilon,
                           struct ffb_error *error) {
  if (input < 0)
    return -1;
  int64_t channels = network->nodes[input][2];
  const struct ffb_layer layer = {.kind = FFB_LAYER_BATCH_NORM,
                                  .inputs = {input},
                                  .input_count = 1,
                                  .in_features = channels,
                                  .out_features = channels,
                                  .momentum = momentum,
                                  .epsilon = epsilon};
  return add_same(network, &layer, name, error);
}

int ffb_network_activation(struct ffb_network *network, const char *name, int input, enum ffb_activation activation,
                           struct ffb_error *error) {
  if (input < 0)
    return -1;
  const struct ffb_layer layer = {
      .kind = FFB_LAYER_ACTIVATION, .inputs = {input}, .input_count = 1, .activation = activation};
  return add_same(network, &layer, name, error);
}

int ffb_network_relu(struct ffb_network *network, const char *name, int input, struct ffb_error *error) {
  return ffb_network_activation(network, name, input, FFB_ACTIVATION_RELU, error);
}

int ffb_network_add(struct ffb_network *network, const char *name, int input, int shortcut, struct ffb_error *error) {
  if (input < 0 || shortcut < 0)
    return -1;
  if (memcmp(network->nodes[input], network->nodes[shortcut], sizeof *network->nodes) != 0) {
    ffb_fail(error, "layer %s: an addition of two different shapes", name);
    return -1;
  }
  const struct ffb_layer layer = {.kind = FFB_LAYER_ADD, .inputs = {input, shortcut}, .input_count = 2};
  return add_same(network, &layer, name, error);
}

int ffb_network_max_pool(struct ffb_network *network, const char *name, int input, struct ffb_window window,
                         struct ffb_error *error) {
  int64_t shape[3];
  if (input < 0 || !slide(network, name, input, window, shape, error))
    return -1;
  const struct ffb_layer layer = {.kind = FFB_LAYER_MAX_POOL, .inputs = {input}, .input_count = 1, .window = window};
  return add_layer(network, &layer, name, shape, error);
}

int ffb_network_average_pool(struct ffb_network *network, const char *name, int input, struct ffb_error *error) {
  if (input < 0)
    return -1;
  const struct ffb_layer layer = {.kind = FFB_LAYER_AVERAGE_POOL, .inputs = {input}, .input_count = 1};
  return add_layer(network, &layer, name, (int64_t[3]){1, 1, network->nodes[input][2]}, error);
}

int ffb_network_scale(struct ffb_network *network, const char *name, int input, int scale, struct ffb_error *error) {
  if (input < 0 || scale < 0)
    return -1;
  if (ffb_network_features(network, scale) != network->nodes[input][2]) {
    ffb_fail(error, "layer %s: %lld scales for %lld channels", name, (long long)ffb_network_features(network, scale),
             (long long)network->nodes[input][2]);
    return -1;
  }
  const struct ffb_layer layer = {.kind = FFB_LAYER_SCALE, .inputs = {input, scale}, .input_count = 2};
  return add_same(network, &layer, name, error);
}

int ffb_network_dropout(struct ffb_network *network, const char *name, int input, float rate, bool by_row,
                        struct ffb_error *error) {
  if (input < 0)
    return -1;
  const struct ffb_layer layer = {
      .kind = FFB_LAYER_DROPOUT, .inputs = {input}, .input_count = 1, .rate = rate, .by_row = by_row};
  return add_same(network, &layer, name, error);
}

/* ---- size ------------------------------------------------------------------------------------------------------- */

int64_t ffb_layer_weights(const struct ffb_layer *layer) {
  switch (layer->kind) {
  case FFB_LAYER_LINEAR:
    return layer->in_features * layer->out_features;
  case FFB_LAYER_CONVOLUTION:
    return layer->in_features / layer->groups * layer->out_features * layer->window.kernel * layer->window.kernel;
  default:
    return 0;
  }
}

static int64_t layer_parameters(const struct ffb_layer *layer) {
  if (layer->kind == FFB_LAYER_BATCH_NORM)
    return 2 * layer->out_features;
  return ffb_layer_weights(layer) + (layer->bias ? layer->out_features : 0);
}

int64_t ffb_network_parameters(const struct ffb_network *network, bool with_head) {
  int64_t count = 0;
  for (int i = 0; i < network->layer_count; i++) {
    if (with_head || !network->units[network->layers[i].unit].head)
      count += layer_parameters(&network->layers[i]);
  }
  return count;
}

int64_t ffb_layer_macs(const struct ffb_network *network, int number) {
  const struct ffb_layer *layer = &network->layers[number];
  const int64_t *output = network->nodes[layer->output];
  return output[0] * output[1] * ffb_layer_weights(layer);
}
