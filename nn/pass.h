/* Forward and backward passes: turns layers of a network into operator calls of a program.
 *
 * A pass knows the tensor that holds each node, each node's gradient, and the INT8 copies made so far. Backpropagation
 * is one pass over all layers; the forward-forward trainer makes a pass and goes forward and backward unit by unit.
 * A batch normalisation, the addition behind it and the activation behind that are one call, made when its result is
 * asked for: in FP32, in INT8 (then the FP32 form never lies in memory), or both. The backward pass takes what it needs
 * from the convolution's output, and writes gradients over tensors that nothing reads any more.
 * Failures are sticky: after the first one every call does nothing, and `failed` says so. */
#ifndef FFBENCH_NN_PASS_H
#define FFBENCH_NN_PASS_H

#include "nn/parameters.h"

struct ffb_quantised {
  struct ffb_tensor *q, *scale;
};

/* The INT8 form of a layer's output gradient, one or two segments; count 0: none was made. */
struct ffb_quantised_gradient {
  struct ffb_quantised parts[2];
  int count;
};

/* A node whose values are not made yet: normalised by layer `norm`, plus shortcut, activated. */
struct ffb_pending {
  bool waits;
  int norm;
  int shortcut; /* node, or -1 */
  enum ffb_activation activation;
};

/* What a layer leaves for its backward pass. */
struct ffb_layer_trace {
  struct ffb_quantised weight;              /* INT8 weights */
  struct ffb_quantised_gradient gradient_q; /* made by the normalisation behind the layer */
  struct ffb_tensor *mean, *inverse;        /* batch norm */
  struct ffb_tensor *extremes;              /* batch norm whose output is rounded to INT8, or null */
  struct ffb_tensor *argmax;                /* max pool */
  uint32_t purpose;                         /* dropout: of its random numbers */
  bool fused;                               /* part of the call of the normalisation before it */
  int pool;                                 /* batch norm: the max pool in the same call, or 0 */
};

/* Gradients that several passes of one step add up in (gradient accumulation), by layer. */
struct ffb_gradient_total {
  struct ffb_tensor *weight, *bias;
};

/* dL/dG of a goodness (GOODNESS_GRADIENT). */
struct ffb_goodness_source {
  struct ffb_tensor *gradient;
  struct ffb_tensor *y; /* its values, where gradients[] hold them: ffb_pass_multiplies_goodness; else null */
  bool spent;           /* nothing needs y afterwards */
  int groups;
  bool mean;
};

struct ffb_pass {
  struct ffb_parameters *parameters;
  struct ffb_program *program;
  int64_t rows;
  bool training;    /* ranges from the batch, stochastic rounding as the precision says, running maxima move */
  bool search;      /* this program searches gradient ranges */
  bool recompute;   /* layers went forward before in this step: running values do not move again */
  bool lean;        /* fewer bytes alive at once, where that costs a pass over them */
  int keep_weights; /* the first layer whose INT8 weights stay for a backward pass that is near; no layer: none do */
  bool preserve;    /* a later backward pass goes through the same layers: do not overwrite what it needs */
  int stream;       /* keeps the random numbers of several passes of one step apart */
  struct ffb_tensor **nodes, **gradients; /* F32, by node; null where not made, or not needed any more */
  struct ffb_goodness_source goodness;    /* see ffb_pass_learns_from_goodness */
  struct ffb_quantised *inputs;           /* INT8 copy of a node */
  struct ffb_pending *pending;            /* by node */
  struct ffb_tensor **masks;              /* by node: where its activation let gradients pass, or null */
  struct ffb_layer_trace *traces;         /* by layer */
  int *consumers, *float_consumers;       /* layers that read a node; those that read it in FP32 */
  struct ffb_pass_update *updates;        /* what ffb_pass_update_all has to do */
  int update_count;
  struct ffb_gradient_total *totals; /* with gradient accumulation: by layer, else null */
  bool totals_filled;                /* an earlier pass left gradients there */
  bool totals_complete;              /* this pass is the last that adds to them */
  bool failed;
  struct ffb_error *error;
};

bool ffb_pass_begin(struct ffb_pass *pass, struct ffb_parameters *parameters, struct ffb_program *program, int64_t rows,
                    bool training, bool search, struct ffb_error *error);
void ffb_pass_end(struct ffb_pass *pass);

/* Add one call; the arguments as a designated initialiser: FFB_EMIT(pass, FILL, fill, .out = out). */
void ffb_emit(struct ffb_pass *pass, enum ffb_operator operation, const union ffb_arguments *arguments);
#define FFB_EMIT(pass, NAME, member, ...) ffb_emit(pass, FFB_##NAME, &(union ffb_arguments){.member = {__VA_ARGS__}})
/* A transient F32 matrix [rows][columns], null after a failure. */
struct ffb_tensor *ffb_emit_matrix(struct ffb_pass *pass, enum ffb_tag tag, const char *name, int64_t rows,
                                   int64_t columns);
struct ffb_tensor *ffb_emit_tensor(struct ffb_pass *pass, enum ffb_tag tag, enum ffb_type type, const char *name,
                                   const int64_t shape[FFB_DIMENSIONS]);
/* What the host writes before each run of the program: a batch, and what goes with it. */
struct ffb_tensor *ffb_emit_input(struct ffb_pass *pass, enum ffb_type type, const char *name,
                                  const int64_t shape[FFB_DIMENSIONS]);
struct ffb_tensor *ffb_emit_view(struct ffb_pass *pass, struct ffb_tensor *whole, int64_t offset,
                                 const int64_t shape[FFB_DIMENSIONS]);
/* The network's input in FP32 from bytes [M][H][W][C]: [rows][height][width][channels] of the network. */
struct ffb_tensor *ffb_emit_images(struct ffb_pass *pass, struct ffb_tensor *bytes, int64_t rows,
                                   const float mean[FFB_MAX_CHANNELS], const float deviation[FFB_MAX_CHANNELS]);

/* Give a node its values; INT8 copies of earlier ones are forgotten. */
void ffb_pass_enter(struct ffb_pass *pass, int node, struct ffb_tensor *values);
/* Turn a node into INT8 with the range of the linear layer or convolution `layer` that reads it, and let the FP32
 * values go: whoever asks for them later (a shortcut) gets the INT8 values. With `over` they lie over the FP32 values
 * where the backend can do that: these are lost, and ffb_pass_compact moves the INT8 copy to memory of its own size.
 * INT8 precision only. */
void ffb_pass_hand_over(struct ffb_pass *pass, int node, int layer, bool over);
void ffb_pass_compact(struct ffb_pass *pass, int node);
/* Normalise (`normalise` without y), enter the node and hand it over in one call: the normalised values never lie in
 * memory in FP32. False: the backend has no NORMALISE_S8, and nothing was done. */
bool ffb_pass_hand_over_normalised(struct ffb_pass *pass, int node, int layer, const struct ffb_normalise *normalise);
/* A node in FP32: made now where it still waits. */
struct ffb_tensor *ffb_pass_values(struct ffb_pass *pass, int node);
/* Forget what layers first .. first + count - 1 made, so that they can go forward again. */
void ffb_pass_forget(struct ffb_pass *pass, int first, int count);

/* Forward through layers first .. first + count - 1. Their inputs must have values (nodes, ffb_pass_enter); the output
 * of the last layer is made in FP32. */
void ffb_pass_forward(struct ffb_pass *pass, int first, int count);

/* Backward through the same layers from gradients[output of the last]. With `update` the weights learn; with
 * input_gradient the gradient of the first layer's input is made too. A layer's input gradient uses its weights as they
 * were. gradients[] of the nodes inside are spent. */
void ffb_pass_backward(struct ffb_pass *pass, int first, int count, bool update, bool input_gradient);
/* Whether the backward pass from the output of `layer`, gone forward, needs neither its values nor its gradient where
 * `goodness` is set instead. */
bool ffb_pass_learns_from_goodness(const struct ffb_pass *pass, int layer);
/* Whether all that the backward pass over layers first .. first + count - 1 does with the gradient of `node` can be
 * done from the node's values and dL/dG: then `goodness` is set and gradients[node] are the values. */
bool ffb_pass_multiplies_goodness(const struct ffb_pass *pass, int first, int count, int node);
/* With separate_update or accumulated gradients: the updates that the backward pass left to do (after the last pass of
 * a step, where gradients are accumulated). */
void ffb_pass_update_all(struct ffb_pass *pass);

#endif
