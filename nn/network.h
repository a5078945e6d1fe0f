/* A network: units of layers with named inputs. It says what is computed, not how: trainers turn it into programs.
 *
 * A node is the output of a layer (node 0 is the network's input). A layer reads one or more earlier nodes, so
 * residual and squeeze-and-excitation paths are ordinary layers (addition, scaling) with two inputs. A unit is what
 * the forward-forward trainer trains by itself: one block or one layer. */
#ifndef FFBENCH_NN_NETWORK_H
#define FFBENCH_NN_NETWORK_H

#include "backends/backend.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ffb_layer_kind {
  FFB_LAYER_LINEAR,      /* parameters weight, bias */
  FFB_LAYER_CONVOLUTION, /* parameter weight */
  FFB_LAYER_BATCH_NORM,  /* parameters weight (gamma) and bias (beta), running_mean, running_var */
  FFB_LAYER_ACTIVATION,
  FFB_LAYER_ADD, /* of two inputs: the main path first, then the shortcut */
  FFB_LAYER_MAX_POOL,
  FFB_LAYER_AVERAGE_POOL, /* over all pixels */
  FFB_LAYER_SCALE,        /* of the first input, an image, by the second, a number for each channel */
  FFB_LAYER_DROPOUT,
};

enum { FFB_LAYER_INPUTS = 2, FFB_NAME_BYTES = 64 };

/* How a parameter starts. */
struct ffb_initial {
  enum { FFB_INITIAL_UNIFORM, FFB_INITIAL_NORMAL } kind;
  double spread; /* uniform in +-spread, or standard deviation; 0: zeros */
};

struct ffb_layer {
  enum ffb_layer_kind kind;
  char name[FFB_NAME_BYTES]; /* "layer1.0.conv1": its parameters are layer1.0.conv1.weight ... */
  int inputs[FFB_LAYER_INPUTS], input_count;
  int output; /* node */
  int unit, part;
  int64_t in_features, out_features; /* linear; convolution: channels */
  bool bias;                         /* linear */
  bool convolution_file;             /* linear: a 1x1 convolution in a weight file ([out][in][1][1]) */
  struct ffb_window window;          /* convolution, max pool */
  int groups;                        /* convolution */
  enum ffb_activation activation;
  float momentum, epsilon; /* batch norm */
  float rate;              /* dropout */
  bool by_row;             /* dropout: whole samples (stochastic depth) */
  struct ffb_initial weight_initial, bias_initial;
};

struct ffb_unit {
  char name[FFB_NAME_BYTES];
  int first_layer, layer_count;
  int input, output; /* nodes */
  bool head;         /* the classifier: not a unit of its own for forward-forward */
  int unit;          /* of a part: the unit that it belongs to */
};

struct ffb_network {
  const char *model;
  int64_t height, width, channels, classes; /* of the input */
  struct ffb_layer *layers;
  int layer_count;
  struct ffb_unit *units; /* blocks */
  int unit_count;
  struct ffb_unit *parts; /* every unit is one part, or cut into several: one convolution or linear layer each, with
                           * what follows it */
  int part_count;
  int64_t (*nodes)[3]; /* H, W, C of each node; a flat feature vector is 1, 1, F */
  int node_count;
};

bool ffb_network_create(struct ffb_network *network, const char *model, int64_t height, int64_t width, int64_t channels,
                        int64_t classes, struct ffb_error *error);
void ffb_network_destroy(struct ffb_network *network);

/* Open a unit, or a part of the unit that is open; layers added from here on belong to it. */
bool ffb_network_unit(struct ffb_network *network, const char *name, bool head, struct ffb_error *error);
bool ffb_network_part(struct ffb_network *network, const char *name, struct ffb_error *error);
/* Add a layer and return its output node, or -1 with an error. An input of -1 (what a failed call returned) fails with
 * the error untouched, so that a builder may check once at the end. Initial values are PyTorch's defaults: linear
 * uniform in +-1/sqrt(in), convolution normal by fan-out (He et al. 2015), as torchvision's networks; the layer just
 * added may be changed through ffb_network_last. */
int ffb_network_linear(struct ffb_network *network, const char *name, int input, int64_t out_features, bool bias,
                       struct ffb_error *error);
int ffb_network_convolution(struct ffb_network *network, const char *name, int input, int64_t out_channels,
                            struct ffb_window window, int groups, struct ffb_error *error);
int ffb_network_batch_norm(struct ffb_network *network, const char *name, int input, float momentum, float epsilon,
                           struct ffb_error *error);
int ffb_network_activation(struct ffb_network *network, const char *name, int input, enum ffb_activation activation,
                           struct ffb_error *error);
int ffb_network_relu(struct ffb_network *network, const char *name, int input, struct ffb_error *error);
int ffb_network_add(struct ffb_network *network, const char *name, int input, int shortcut, struct ffb_error *error);
int ffb_network_max_pool(struct ffb_network *network, const char *name, int input, struct ffb_window window,
                         struct ffb_error *error);
int ffb_network_average_pool(struct ffb_network *network, const char *name, int input, struct ffb_error *error);
int ffb_network_scale(struct ffb_network *network, const char *name, int input, int scale, struct ffb_error *error);
int ffb_network_dropout(struct ffb_network *network, const char *name, int input, float rate, bool by_row,
                        struct ffb_error *error);
struct ffb_layer *ffb_network_last(struct ffb_network *network);

int64_t ffb_network_features(const struct ffb_network *network, int node);
/* Number of weights in a layer's product, without biases; 0 for layers without one. */
int64_t ffb_layer_weights(const struct ffb_layer *layer);
/* Multiply-accumulates of a layer's product for one sample: all taps of a convolution, those on padding too; 0 for
 * layers without a product. Its weight gradient and its input gradient take as many each. */
int64_t ffb_layer_macs(const struct ffb_network *network, int number);
/* Number of weights and biases; with_head: the classifier counted too. */
int64_t ffb_network_parameters(const struct ffb_network *network, bool with_head);

#endif
