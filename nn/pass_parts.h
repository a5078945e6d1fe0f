/* What the files of a pass share: pass.c (nodes and their INT8 copies), forward.c, backward.c, learn.c. */
#ifndef FFBENCH_NN_PASS_PARTS_H
#define FFBENCH_NN_PASS_PARTS_H

#include "nn/pass.h"

/* An update that waits: the gradient in FP32, or in INT8 (then it is dequantised at the update), or null. */
struct ffb_pass_update {
  int layer;
  struct ffb_tensor *gradient;
  struct ffb_quantised gradient_q;
  struct ffb_tensor *bias_gradient;
};

/* Random streams of a pass: one for each node's INT8 copy, the others for each layer. */
enum ffb_stream_kind {
  FFB_STREAM_INPUT,
  FFB_STREAM_GRADIENT,
  FFB_STREAM_WEIGHT_GRADIENT,
  FFB_STREAM_WEIGHT,
  FFB_STREAM_KINDS,
  FFB_STREAM_DROPOUT = 1 << 15 /* of a layer: behind all others */
};
uint32_t ffb_pass_purpose(const struct ffb_pass *pass, enum ffb_stream_kind kind, int number);

bool ffb_pass_has(const struct ffb_pass *pass, enum ffb_operator operation);
const struct ffb_layer *ffb_pass_layer(const struct ffb_pass *pass, int number);
struct ffb_layer_parameters *ffb_pass_own(const struct ffb_pass *pass, int number);
struct ffb_tensor *ffb_emit_node(struct ffb_pass *pass, enum ffb_tag tag, int node);

/* Operands of a rounding to INT8 that is emitted as one call or two; q and scale are made here. */
struct ffb_quantiser {
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise;
};
struct ffb_quantiser ffb_pass_quantiser(struct ffb_pass *pass, struct ffb_suq_scale range,
                                        const int64_t shape[FFB_DIMENSIONS], enum ffb_rounding rounding,
                                        uint32_t stream);
struct ffb_quantised ffb_emit_quantised(struct ffb_pass *pass, const struct ffb_quantiser *quantiser,
                                        struct ffb_tensor *x);

/* Rounded over x itself, where the backend can. */
struct ffb_quantised ffb_emit_quantised_over(struct ffb_pass *pass, struct ffb_quantiser *quantiser,
                                             struct ffb_tensor *x);

/* What makes a node that waits; without y. */
struct ffb_batch_normalise ffb_pass_normalisation(struct ffb_pass *pass, int node);

/* The INT8 copies that a linear layer or a convolution multiplies. */
struct ffb_quantised ffb_pass_input_q(struct ffb_pass *pass, int layer);
struct ffb_quantised ffb_pass_weight_q(struct ffb_pass *pass, int layer);

/* y = relu?(x w^T + bias), or with transpose_w false y = x w where mask > 0. */
struct ffb_linear_call {
  struct ffb_tensor *y, *x, *w; /* FP32 operands */
  struct ffb_quantised xq, wq;  /* INT8 operands, used where xq.q is set */
  struct ffb_tensor *bias, *mask;
  bool transpose_w, relu, accumulate;
};
void ffb_emit_linear(struct ffb_pass *pass, const struct ffb_linear_call *call);

/* Whether this program searches the ranges of gradients before it uses them. */
bool ffb_pass_searches(const struct ffb_pass *pass);

/* Weights and bias of a linear layer or convolution learn from its output gradient; gq is its INT8 form. */
void ffb_pass_learn(struct ffb_pass *pass, int number, struct ffb_tensor *gy, const struct ffb_quantised_gradient *gq);
/* gamma and beta of a batch normalisation learn. */
void ffb_pass_learn_norm(struct ffb_pass *pass, int number, struct ffb_tensor *ggamma, struct ffb_tensor *gbeta);

#endif
