/* A network: units of layers with named inputs. It says what is computed, not how: trainers turn it into programs.
 *
 * A node is the output of a layer (node 0 is the network's input). A layer reads one or more earlier nodes, so
 * residual and squeeze-and-excitation paths are ordinary layers (addition, scaling) with two inputs. A unit is what
 * the forward-forward trainer trains by itself: one block or one layer. */
#ifndef FFBENCH_NN_NETWORK_H
#define FFBENCH_NN_NETWORK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ffb_layer_kind { FFB_LAYER_LINEAR, FFB_LAYER_RELU };

enum { FFB_LAYER_INPUTS = 2, FFB_NAME_BYTES = 64 };

struct ffb_layer {
  enum ffb_layer_kind kind;
  char name[FFB_NAME_BYTES]; /* "fc1": parameters are fc1.weight and fc1.bias */
  int inputs[FFB_LAYER_INPUTS], input_count;
  int output; /* node */
  int unit;
  int64_t in_features, out_features; /* linear */
  bool bias;
};

struct ffb_unit {
  char name[FFB_NAME_BYTES];
  int first_layer, layer_count;
  int input, output; /* nodes */
  bool head;         /* the classifier: not a unit of its own for forward-forward */
};

struct ffb_network {
  const char *model;
  int64_t height, width, channels, classes; /* of the input */
  struct ffb_layer *layers;
  int layer_count;
  struct ffb_unit *units;
  int unit_count;
  int64_t (*nodes)[3]; /* H, W, C of each node; a flat feature vector is 1, 1, F */
  int node_count;
};

bool ffb_network_create(struct ffb_network *network, const char *model, int64_t height, int64_t width, int64_t channels,
                        int64_t classes, struct ffb_error *error);
void ffb_network_destroy(struct ffb_network *network);

/* Open a unit; layers added from here on belong to it. */
bool ffb_network_unit(struct ffb_network *network, const char *name, bool head, struct ffb_error *error);
/* Add a layer and return its output node, or -1 with an error. */
int ffb_network_linear(struct ffb_network *network, const char *name, int input, int64_t out_features, bool bias,
                       struct ffb_error *error);
int ffb_network_relu(struct ffb_network *network, const char *name, int input, struct ffb_error *error);

int64_t ffb_network_features(const struct ffb_network *network, int node);
/* Number of weights and biases; with_head: the classifier counted too. */
int64_t ffb_network_parameters(const struct ffb_network *network, bool with_head);

#endif
