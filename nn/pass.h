/* Forward and backward passes: turns layers of a network into operator calls of a program.
 *
 * A pass knows the tensor that holds each node, each node's gradient, and the INT8 copies made so far. Backpropagation
 * is one pass over all layers; the forward-forward trainer makes a pass and goes forward and backward unit by unit.
 * Failures are sticky: after the first one every call does nothing, and `failed` says so. */
#ifndef FFBENCH_NN_PASS_H
#define FFBENCH_NN_PASS_H

#include "nn/parameters.h"

struct ffb_quantised {
  struct ffb_tensor *q, *scale;
};

struct ffb_pass {
  struct ffb_parameters *parameters;
  struct ffb_program *program;
  int64_t rows;
  bool training; /* ranges from the batch, stochastic rounding as the precision says, running maxima move */
  bool search;   /* this program searches gradient ranges */
  int stream;    /* keeps the random numbers of several passes of one step apart */
  struct ffb_tensor **nodes, **gradients; /* by node */
  struct ffb_quantised *inputs;           /* INT8 copy of a node */
  struct ffb_quantised *weights;          /* INT8 weights of a layer */
  int *consumers;                         /* layers that read a node */
  struct ffb_pass_update *updates;        /* with separate_update: what ffb_pass_update_all has to do */
  int update_count;
  bool failed;
  struct ffb_error *error;
};

bool ffb_pass_begin(struct ffb_pass *pass, struct ffb_parameters *parameters, struct ffb_program *program, int64_t rows,
                    bool training, bool search, struct ffb_error *error);
void ffb_pass_end(struct ffb_pass *pass);

/* Add one call; the arguments as a designated initialiser: FFB_EMIT(pass, RELU, relu, .y = y, .x = x). */
void ffb_emit(struct ffb_pass *pass, enum ffb_operator operation, const union ffb_arguments *arguments);
#define FFB_EMIT(pass, NAME, member, ...) ffb_emit(pass, FFB_##NAME, &(union ffb_arguments){.member = {__VA_ARGS__}})
/* A transient F32 matrix [rows][columns], null after a failure. */
struct ffb_tensor *ffb_emit_matrix(struct ffb_pass *pass, enum ffb_tag tag, const char *name, int64_t rows,
                                   int64_t columns);
struct ffb_tensor *ffb_emit_tensor(struct ffb_pass *pass, enum ffb_tag tag, enum ffb_type type, const char *name,
                                   const int64_t shape[FFB_DIMENSIONS]);
struct ffb_tensor *ffb_emit_view(struct ffb_pass *pass, struct ffb_tensor *whole, int64_t offset,
                                 const int64_t shape[FFB_DIMENSIONS]);

/* Forward through layers first .. first + count - 1. nodes[] of their inputs must be set; those of their outputs are
 * set (not that of a linear layer whose activation is fused into it). */
void ffb_pass_forward(struct ffb_pass *pass, int first, int count);

/* Backward through the same layers from gradients[output of the last]. With `update` the weights learn; with
 * input_gradient the gradient of the first layer's input is made too. A layer's input gradient uses its weights as they
 * were. */
void ffb_pass_backward(struct ffb_pass *pass, int first, int count, bool update, bool input_gradient);
/* With separate_update: the updates that the backward passes left to do. */
void ffb_pass_update_all(struct ffb_pass *pass);

#endif
