/* The weights of a network in a plan, with all that belongs to them: optimiser state, INT8 scales, gradient ranges. */
#ifndef FFBENCH_NN_PARAMETERS_H
#define FFBENCH_NN_PARAMETERS_H

#include "nn/network.h"
#include "nn/optimiser.h"

/* How a trainer computes: which products are INT8, and how each kind of tensor is quantised. */
struct ffb_precision {
  bool int8; /* every product has INT8 operands */
  enum ffb_rounding
      input_rounding; /* of A in training; weights are rounded to nearest, and so is everything in prediction */
  enum ffb_rounding gradient_rounding;        /* of g_Y */
  enum ffb_rounding weight_gradient_rounding; /* of g_W, where it is quantised */
  float gradient_range;                       /* clip g_Y and g_W at this value; 0: largest absolute value */
  bool quantise_weight_gradient;
  bool int8_weights; /* weights are stored in INT8 only, the update rounded stochastically; else an FP32 master copy */
  bool separate_update; /* keep every gradient until the backward pass is done, then update */
  bool segments;        /* g_Y in two segments of different scale, two products each */
  bool clip_search;     /* direction-sensitive clipping, searched in programs made with `search` */
  float alpha, beta;    /* deviation-counteractive learning rate: max(exp(-alpha d), beta); alpha 0: off */
  float tracking;       /* share of the old clipping ratio that a search keeps */
  bool gaussian_test;   /* search only where the gradient is heavy-tailed */
};

/* A layer's tensors. Null where its kind or the precision does not need them. Only the weights of linear layers and
 * convolutions are ever INT8. */
struct ffb_layer_parameters {
  struct ffb_tensor *weight;                                    /* F32 [out][in], [out][k][k][in / groups], gamma [C] */
  struct ffb_tensor *weight_q;                                  /* S8, with int8_weights only */
  struct ffb_tensor *weight_scale;                              /* F32 [1], always that of the weights as they are */
  struct ffb_tensor *bias;                                      /* F32 [out], beta [C] */
  struct ffb_tensor *running_mean, *running_variance;           /* F32 [C], batch norm */
  struct ffb_tensor *not_finite;                                /* U32 [1], see NOTE_NOT_FINITE; a view */
  struct ffb_tensor *running;                                   /* F32 [1], running maximum of |input| */
  struct ffb_tensor *ratio, *deviation, *multiplier, *exponent; /* F32 [1], gradient range found by search */
  struct ffb_update_rule rule, bias_rule;
};

struct ffb_parameters {
  const struct ffb_network *network;
  struct ffb_plan *plan;
  struct ffb_precision precision;
  struct ffb_optimiser_options optimiser;
  struct ffb_step_scalars step;
  uint64_t seed;
  struct ffb_layer_parameters *layers; /* one for each layer of the network */
  struct ffb_tensor *not_finite;       /* U32 [layers]: the step (from 1) at which each first was not finite, or 0 */
  struct ffb_program **prepare; /* by layer: scales of its initial weights; one each, so that they share their memory */
  struct ffb_tensor **initial;  /* with int8_weights: where the initial weights enter */
};

/* Make tensors for every layer; those of a head only with_head. The optimiser state of each is made too. */
bool ffb_parameters_create(struct ffb_parameters *parameters, struct ffb_plan *plan, const struct ffb_network *network,
                           const struct ffb_precision *precision, const struct ffb_optimiser_options *optimiser,
                           uint64_t seed, bool with_head, struct ffb_error *error);
void ffb_parameters_destroy(struct ffb_parameters *parameters);

/* After ffb_plan_finish: as each layer's initial values say, by Philox; gamma and running variance 1, beta and running
 * mean 0; then the scales. */
bool ffb_parameters_initialise(struct ffb_parameters *parameters, struct ffb_error *error);
/* After weights were loaded: the scales again. Weights that are stored in INT8 only came with theirs. */
bool ffb_parameters_prepare(struct ffb_parameters *parameters, struct ffb_error *error);
/* The layer that was not finite first, in the order of the network among those of the same step, and that step (from
 * 0); -1 and the step untouched when none was. */
bool ffb_parameters_not_finite(struct ffb_parameters *parameters, int *layer, int64_t *step, struct ffb_error *error);

#endif
