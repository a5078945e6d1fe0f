#include "nn/pass.h"

#include "base/memory.h"
#include "base/random.h"

#include <string.h>

struct ffb_pass_update {
  int layer;
  struct ffb_tensor *gradient;      /* F32, or null */
  struct ffb_quantised gradient_q;  /* INT8 gradient, dequantised at the update */
  struct ffb_tensor *bias_gradient; /* or null */
};

/* Random streams of a pass: one for each node's INT8 copy and three for each layer. */
enum stream_kind { STREAM_INPUT, STREAM_GRADIENT, STREAM_WEIGHT_GRADIENT, STREAM_WEIGHT, STREAM_KINDS };

static uint32_t purpose(const struct ffb_pass *pass, enum stream_kind kind, int number) {
  return FFB_PURPOSE_TENSOR + (uint32_t)pass->stream * 65536u + (uint32_t)(number * STREAM_KINDS) + (uint32_t)kind;
}

bool ffb_pass_begin(struct ffb_pass *pass, struct ffb_parameters *parameters, struct ffb_program *program, int64_t rows,
                    bool training, bool search, struct ffb_error *error) {
  const struct ffb_network *network = parameters->network;
  size_t nodes = (size_t)network->node_count, layers = (size_t)network->layer_count;
  *pass = (struct ffb_pass){.parameters = parameters,
                            .program = program,
                            .rows = rows,
                            .training = training,
                            .search = search,
                            .error = error};
  pass->nodes = ffb_allocate(nodes, sizeof(struct ffb_tensor *), error);
  pass->gradients = ffb_allocate(nodes, sizeof(struct ffb_tensor *), error);
  pass->inputs = ffb_allocate(nodes, sizeof *pass->inputs, error);
  pass->weights = ffb_allocate(layers, sizeof *pass->weights, error);
  pass->consumers = ffb_allocate(nodes, sizeof *pass->consumers, error);
  pass->updates = ffb_allocate(layers, sizeof *pass->updates, error);
  if (!pass->nodes || !pass->gradients || !pass->inputs || !pass->weights || !pass->consumers || !pass->updates) {
    ffb_pass_end(pass);
    return false;
  }
  for (int i = 0; i < network->layer_count; i++) {
    for (int k = 0; k < network->layers[i].input_count; k++)
      pass->consumers[network->layers[i].inputs[k]]++;
  }
  return true;
}

void ffb_pass_end(struct ffb_pass *pass) {
  ffb_free(pass->nodes);
  ffb_free(pass->gradients);
  ffb_free(pass->inputs);
  ffb_free(pass->weights);
  ffb_free(pass->consumers);
  ffb_free(pass->updates);
  pass->nodes = pass->gradients = NULL;
  pass->inputs = pass->weights = NULL;
  pass->consumers = NULL;
  pass->updates = NULL;
}

void ffb_emit(struct ffb_pass *pass, enum ffb_operator operation, const union ffb_arguments *arguments) {
  if (!pass->failed)
    pass->failed = !ffb_program_add(pass->program, operation, arguments, pass->error);
}

struct ffb_tensor *ffb_emit_tensor(struct ffb_pass *pass, enum ffb_tag tag, enum ffb_type type, const char *name,
                                   const int64_t shape[FFB_DIMENSIONS]) {
  if (pass->failed)
    return NULL;
  struct ffb_tensor *tensor = ffb_plan_transient(pass->program, tag, type, name, shape, pass->error);
  pass->failed = !tensor;
  return tensor;
}

struct ffb_tensor *ffb_emit_matrix(struct ffb_pass *pass, enum ffb_tag tag, const char *name, int64_t rows,
                                   int64_t columns) {
  return ffb_emit_tensor(pass, tag, FFB_F32, name, (int64_t[4]){rows, columns, 1, 1});
}

struct ffb_tensor *ffb_emit_view(struct ffb_pass *pass, struct ffb_tensor *whole, int64_t offset,
                                 const int64_t shape[FFB_DIMENSIONS]) {
  if (pass->failed)
    return NULL;
  struct ffb_tensor *view = ffb_plan_view(pass->parameters->plan, whole, offset, shape, pass->error);
  pass->failed = !view;
  return view;
}

static bool has(const struct ffb_pass *pass, enum ffb_operator operation) {
  return ffb_plan_has(pass->parameters->plan, operation);
}

/* An INT8 copy of x: scale as `range` says, then rounding; in one call where the backend can. */
static struct ffb_quantised quantise(struct ffb_pass *pass, struct ffb_suq_scale range, struct ffb_tensor *x,
                                     enum ffb_rounding rounding, uint32_t stream) {
  struct ffb_quantised result = {
      .q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, "quantised", x ? x->shape : (int64_t[4]){0}),
      .scale = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_F32, "scale", (int64_t[4]){1, 1, 1, 1})};
  struct ffb_suq_quantise round = {.q = result.q,
                                   .x = x,
                                   .scale = result.scale,
                                   .step = pass->parameters->step.step,
                                   .rounding = rounding,
                                   .purpose = stream,
                                   .seed = pass->parameters->seed};
  range.scale = result.scale;
  if (has(pass, FFB_SUQ_TENSOR)) {
    ffb_emit(pass, FFB_SUQ_TENSOR, &(union ffb_arguments){.suq_tensor = {.scale = range, .quantise = round}});
  } else {
    ffb_emit(pass, FFB_SUQ_SCALE, &(union ffb_arguments){.suq_scale = range});
    ffb_emit(pass, FFB_SUQ_QUANTISE, &(union ffb_arguments){.suq_quantise = round});
  }
  return result;
}

static struct ffb_quantised quantised_input(struct ffb_pass *pass, int layer) {
  int node = pass->parameters->network->layers[layer].inputs[0];
  struct ffb_layer_parameters *own = &pass->parameters->layers[layer];
  struct ffb_suq_scale range = {.running = own->running, .range = FFB_RANGE_RUNNING};
  if (pass->training)
    range = (struct ffb_suq_scale){.x = pass->nodes[node], .running = own->running, .range = FFB_RANGE_ABSMAX};
  if (!pass->inputs[node].q)
    pass->inputs[node] = quantise(pass, range, pass->nodes[node],
                                  pass->training ? pass->parameters->precision.input_rounding : FFB_ROUND_NEAREST,
                                  purpose(pass, STREAM_INPUT, node));
  return pass->inputs[node];
}

static struct ffb_quantised quantised_weight(struct ffb_pass *pass, int layer) {
  struct ffb_layer_parameters *own = &pass->parameters->layers[layer];
  if (own->weight_q)
    return (struct ffb_quantised){.q = own->weight_q, .scale = own->weight_scale};
  if (!pass->weights[layer].q) {
    pass->weights[layer] =
        (struct ffb_quantised){.q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, "weight_q", own->weight->shape),
                               .scale = own->weight_scale};
    FFB_EMIT(pass, SUQ_QUANTISE, suq_quantise, .q = pass->weights[layer].q, .x = own->weight,
             .scale = own->weight_scale);
  }
  return pass->weights[layer];
}

/* y = relu?(x w^T + bias), or with transpose_w false y = x w where mask > 0. */
struct linear_call {
  struct ffb_tensor *y, *x, *w; /* FP32 operands */
  struct ffb_quantised xq, wq;  /* INT8 operands, used where xq.q is set */
  struct ffb_tensor *bias, *mask;
  bool transpose_w, relu, accumulate;
};

static void emit_product(struct ffb_pass *pass, const struct linear_call *call) {
  if (!call->xq.q) {
    FFB_EMIT(pass, GEMM_F32, gemm_f32, .c = call->y, .a = call->x, .b = call->w, .transpose_b = call->transpose_w);
    return;
  }
  struct ffb_tensor *sum =
      ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_S32, "sum", call->y ? call->y->shape : (int64_t[4]){0});
  FFB_EMIT(pass, GEMM_S8, gemm_s8, .c = sum, .a = call->xq.q, .b = call->wq.q, .transpose_b = call->transpose_w);
  FFB_EMIT(pass, DEQUANTISE, dequantise, .out = call->y, .x = sum, .scale_a = call->xq.scale, .scale_b = call->wq.scale,
           .accumulate = call->accumulate);
}

static void emit_linear(struct ffb_pass *pass, const struct linear_call *call) {
  if (call->xq.q && has(pass, FFB_LINEAR_S8) && !call->accumulate) {
    FFB_EMIT(pass, LINEAR_S8, linear_s8, .y = call->y, .x = call->xq.q, .w = call->wq.q, .x_scale = call->xq.scale,
             .w_scale = call->wq.scale, .bias = call->bias, .mask = call->mask, .transpose_w = call->transpose_w,
             .relu = call->relu);
    return;
  }
  if (!call->xq.q && has(pass, FFB_LINEAR_F32)) {
    FFB_EMIT(pass, LINEAR_F32, linear_f32, .y = call->y, .x = call->x, .w = call->w, .bias = call->bias,
             .mask = call->mask, .transpose_w = call->transpose_w, .relu = call->relu);
    return;
  }
  emit_product(pass, call);
  if (call->bias)
    FFB_EMIT(pass, ADD_BIAS, add_bias, .y = call->y, .bias = call->bias);
  if (call->relu)
    FFB_EMIT(pass, RELU, relu, .y = call->y, .x = call->y);
  if (call->mask)
    FFB_EMIT(pass, RELU_GRADIENT, relu_gradient, .gx = call->y, .gy = call->y, .y = call->mask);
}

/* Whether layer i is a linear layer whose only reader is the ReLU that follows within the range. */
static bool fuses_relu(const struct ffb_pass *pass, int layer, int end) {
  const struct ffb_layer *layers = pass->parameters->network->layers;
  return layers[layer].kind == FFB_LAYER_LINEAR && layer + 1 < end && layers[layer + 1].kind == FFB_LAYER_RELU &&
         layers[layer + 1].inputs[0] == layers[layer].output && pass->consumers[layers[layer].output] == 1;
}

static void forward_linear(struct ffb_pass *pass, int number, bool relu) {
  const struct ffb_layer *layer = &pass->parameters->network->layers[number];
  struct ffb_layer_parameters *own = &pass->parameters->layers[number];
  int output = relu ? pass->parameters->network->layers[number + 1].output : layer->output;
  struct linear_call call = {
      .x = pass->nodes[layer->inputs[0]], .w = own->weight, .bias = own->bias, .transpose_w = true, .relu = relu};
  if (pass->parameters->precision.int8) {
    call.xq = quantised_input(pass, number);
    call.wq = quantised_weight(pass, number);
  }
  call.y = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, layer->name, pass->rows, layer->out_features);
  emit_linear(pass, &call);
  pass->nodes[output] = call.y;
}

static void forward_relu(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = &pass->parameters->network->layers[number];
  int64_t columns = ffb_network_features(pass->parameters->network, layer->output);
  struct ffb_tensor *y = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, layer->name, pass->rows, columns);
  FFB_EMIT(pass, RELU, relu, .y = y, .x = pass->nodes[layer->inputs[0]]);
  pass->nodes[layer->output] = y;
}

void ffb_pass_forward(struct ffb_pass *pass, int first, int count) {
  const struct ffb_layer *layers = pass->parameters->network->layers;
  for (int i = first; i < first + count && !pass->failed; i++) {
    bool relu = fuses_relu(pass, i, first + count);
    switch (layers[i].kind) {
    case FFB_LAYER_LINEAR:
      forward_linear(pass, i, relu);
      i += relu;
      break;
    case FFB_LAYER_RELU:
      forward_relu(pass, i);
      break;
    }
  }
}

/* The INT8 form of a layer's output gradient, one or two segments. */
struct gradient_q {
  struct ffb_quantised parts[2];
  int count;
};

static struct gradient_q quantise_segments(struct ffb_pass *pass, int number, struct ffb_tensor *gy) {
  struct ffb_layer_parameters *own = &pass->parameters->layers[number];
  struct gradient_q result = {.count = 2};
  for (int i = 0; i < 2 && gy; i++) {
    result.parts[i].q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, i ? "coarse" : "fine", gy->shape);
    result.parts[i].scale = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_F32, "scale", (int64_t[4]){1, 1, 1, 1});
  }
  if (pass->search)
    FFB_EMIT(pass, SEGMENT_SEARCH, segment_search, .x = gy, .exponent = own->exponent, .deviation = own->deviation);
  FFB_EMIT(pass, SUQ_SEGMENTS, suq_segments, .fine = result.parts[0].q, .coarse = result.parts[1].q,
           .fine_scale = result.parts[0].scale, .coarse_scale = result.parts[1].scale, .x = gy,
           .exponent = own->exponent, .step = pass->parameters->step.step,
           .rounding = pass->parameters->precision.gradient_rounding, .purpose = purpose(pass, STREAM_GRADIENT, number),
           .seed = pass->parameters->seed);
  return result;
}

static struct gradient_q quantise_gradient(struct ffb_pass *pass, int number, struct ffb_tensor *gy) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_layer_parameters *own = &pass->parameters->layers[number];
  if (precision->segments)
    return quantise_segments(pass, number, gy);
  if (precision->clip_search && pass->search)
    FFB_EMIT(pass, CLIP_SEARCH, clip_search, .x = gy, .ratio = own->ratio, .deviation = own->deviation,
             .multiplier = own->multiplier, .alpha = precision->alpha, .beta = precision->beta,
             .tracking = precision->tracking, .gaussian_test = precision->gaussian_test);
  struct ffb_suq_scale range = {.x = gy, .ratio = own->ratio, .range = FFB_RANGE_ABSMAX};
  if (precision->gradient_range > 0)
    range = (struct ffb_suq_scale){.range = FFB_RANGE_FIXED, .fixed = precision->gradient_range};
  return (struct gradient_q){
      .parts = {quantise(pass, range, gy, precision->gradient_rounding, purpose(pass, STREAM_GRADIENT, number))},
      .count = 1};
}

/* The optimiser's update from an FP32 gradient; INT8-only weights are widened, updated and rounded again. */
static void emit_update(struct ffb_pass *pass, int number, struct ffb_tensor *gradient) {
  struct ffb_layer_parameters *own = &pass->parameters->layers[number];
  struct ffb_update_rule rule = own->rule;
  struct ffb_tensor *weights = own->weight;
  if (own->weight_q) {
    weights = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_F32, "weight", own->weight_q->shape);
    FFB_EMIT(pass, DEQUANTISE, dequantise, .out = weights, .x = own->weight_q, .scale_a = own->weight_scale);
    rule.sgd.weights = rule.adam.weights = weights;
  }
  if (rule.kind == FFB_RULE_SGD)
    FFB_EMIT(pass, SGD_UPDATE, sgd_update, .rule = rule.sgd, .gradient = gradient);
  else
    FFB_EMIT(pass, ADAM_UPDATE, adam_update, .rule = rule.adam, .gradient = gradient);
  if (own->weight_scale)
    FFB_EMIT(pass, SUQ_SCALE, suq_scale, .scale = own->weight_scale, .x = weights);
  if (own->weight_q)
    FFB_EMIT(pass, SUQ_QUANTISE, suq_quantise, .q = own->weight_q, .x = weights, .scale = own->weight_scale,
             .step = pass->parameters->step.step, .rounding = FFB_ROUND_STOCHASTIC,
             .purpose = purpose(pass, STREAM_WEIGHT, number), .seed = pass->parameters->seed);
}

static void emit_bias_update(struct ffb_pass *pass, int number, struct ffb_tensor *gradient) {
  const struct ffb_update_rule *rule = &pass->parameters->layers[number].bias_rule;
  if (rule->kind == FFB_RULE_SGD)
    FFB_EMIT(pass, SGD_UPDATE, sgd_update, .rule = rule->sgd, .gradient = gradient);
  else
    FFB_EMIT(pass, ADAM_UPDATE, adam_update, .rule = rule->adam, .gradient = gradient);
}

/* Weight gradient in FP32; for INT8 operands the sum of each segment's product. */
static struct ffb_tensor *weight_gradient(struct ffb_pass *pass, int number, struct ffb_tensor *gy,
                                          const struct gradient_q *gq) {
  const struct ffb_layer *layer = &pass->parameters->network->layers[number];
  struct ffb_tensor *gw =
      ffb_emit_matrix(pass, FFB_TAG_GRADIENTS, "weight_gradient", layer->out_features, layer->in_features);
  if (!gq->count) {
    FFB_EMIT(pass, GEMM_F32, gemm_f32, .c = gw, .a = gy, .b = pass->nodes[layer->inputs[0]], .transpose_a = true);
    return gw;
  }
  struct ffb_quantised x = quantised_input(pass, number);
  for (int i = 0; i < gq->count; i++) {
    struct ffb_tensor *sum = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_S32, "sum",
                                             (int64_t[4]){layer->out_features, layer->in_features, 1, 1});
    FFB_EMIT(pass, GEMM_S8, gemm_s8, .c = sum, .a = gq->parts[i].q, .b = x.q, .transpose_a = true);
    FFB_EMIT(pass, DEQUANTISE, dequantise, .out = gw, .x = sum, .scale_a = gq->parts[i].scale, .scale_b = x.scale,
             .accumulate = i > 0);
  }
  return gw;
}

static struct ffb_quantised quantised_weight_gradient(struct ffb_pass *pass, int number, struct ffb_tensor *gw) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_suq_scale range = {.x = gw, .range = FFB_RANGE_ABSMAX};
  if (precision->gradient_range > 0)
    range = (struct ffb_suq_scale){.range = FFB_RANGE_FIXED, .fixed = precision->gradient_range};
  return quantise(pass, range, gw, precision->weight_gradient_rounding, purpose(pass, STREAM_WEIGHT_GRADIENT, number));
}

static bool emit_fused_update(struct ffb_pass *pass, int number, struct ffb_tensor *gy, const struct gradient_q *gq) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_layer_parameters *own = &pass->parameters->layers[number];
  int node = pass->parameters->network->layers[number].inputs[0];
  bool fixed_range = precision->quantise_weight_gradient && precision->gradient_range > 0; /* the slot has none */
  if (precision->separate_update || precision->int8_weights || precision->segments || fixed_range)
    return false;
  if (!precision->int8 && has(pass, FFB_LINEAR_UPDATE_F32)) {
    FFB_EMIT(pass, LINEAR_UPDATE_F32, linear_update_f32, .gy = gy, .x = pass->nodes[node], .rule = own->rule);
    return true;
  }
  if (!precision->int8 || !has(pass, FFB_LINEAR_UPDATE_S8))
    return false;
  struct ffb_quantised x = quantised_input(pass, number);
  FFB_EMIT(pass, LINEAR_UPDATE_S8, linear_update_s8, .gy = gq->parts[0].q, .x = x.q, .gy_scale = gq->parts[0].scale,
           .x_scale = x.scale, .quantise_gradient = precision->quantise_weight_gradient,
           .rounding = precision->weight_gradient_rounding, .step = pass->parameters->step.step,
           .purpose = purpose(pass, STREAM_WEIGHT_GRADIENT, number), .seed = pass->parameters->seed,
           .weight_scale = own->weight_scale, .rule = own->rule);
  return true;
}

static void learn(struct ffb_pass *pass, int number, struct ffb_tensor *gy, const struct gradient_q *gq) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_layer_parameters *own = &pass->parameters->layers[number];
  struct ffb_pass_update update = {.layer = number};
  if (own->bias) {
    update.bias_gradient = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "bias_gradient", own->bias->shape);
    FFB_EMIT(pass, BIAS_GRADIENT, bias_gradient, .out = update.bias_gradient, .gradient = gy);
  }
  bool fused = emit_fused_update(pass, number, gy, gq);
  if (!fused) {
    update.gradient = weight_gradient(pass, number, gy, gq);
    if (precision->int8 && precision->quantise_weight_gradient) {
      update.gradient_q = quantised_weight_gradient(pass, number, update.gradient);
      update.gradient = NULL;
    }
  }
  if (fused && !own->bias)
    return;
  pass->updates[pass->update_count++] = update;
  if (!precision->separate_update)
    ffb_pass_update_all(pass);
}

void ffb_pass_update_all(struct ffb_pass *pass) {
  for (int i = 0; i < pass->update_count; i++) {
    struct ffb_pass_update *update = &pass->updates[i];
    struct ffb_tensor *gradient = update->gradient;
    if (update->gradient_q.q) {
      gradient = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_F32, "weight_gradient", update->gradient_q.q->shape);
      FFB_EMIT(pass, DEQUANTISE, dequantise, .out = gradient, .x = update->gradient_q.q,
               .scale_a = update->gradient_q.scale);
    }
    if (gradient)
      emit_update(pass, update->layer, gradient);
    if (update->bias_gradient)
      emit_bias_update(pass, update->layer, update->bias_gradient);
  }
  pass->update_count = 0;
}

/* Adds to what another reader of the node left there. */
static void give_gradient(struct ffb_pass *pass, int node, struct ffb_tensor *gradient) {
  if (pass->gradients[node])
    FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = gradient, .a = pass->gradients[node], .b = gradient);
  pass->gradients[node] = gradient;
}

/* Whether a linear layer alone reads the node, and a ReLU of the range made it: then the product that gives the node's
 * gradient masks it too. */
static bool relu_made(const struct ffb_pass *pass, int node, int first, int end) {
  const struct ffb_layer *layers = pass->parameters->network->layers;
  for (int i = first; i < pass->parameters->network->layer_count; i++) {
    if (layers[i].inputs[0] == node && layers[i].kind != FFB_LAYER_LINEAR)
      return false;
  }
  for (int i = first; i < end; i++) {
    if (layers[i].output == node)
      return layers[i].kind == FFB_LAYER_RELU && pass->consumers[node] == 1;
  }
  return false;
}

static void input_gradient_linear(struct ffb_pass *pass, int number, int first, struct ffb_tensor *gy,
                                  const struct gradient_q *gq) {
  const struct ffb_layer *layer = &pass->parameters->network->layers[number];
  int node = layer->inputs[0];
  bool masked = relu_made(pass, node, first, number);
  struct linear_call call = {.x = gy, .w = pass->parameters->layers[number].weight};
  call.y = ffb_emit_matrix(pass, FFB_TAG_GRADIENTS, "input_gradient", pass->rows, layer->in_features);
  for (int i = 0; i < (gq->count ? gq->count : 1); i++) {
    call.accumulate = i > 0;
    call.mask = masked && i + 1 >= gq->count ? pass->nodes[node] : NULL;
    if (gq->count) {
      call.xq = gq->parts[i];
      call.wq = quantised_weight(pass, number);
    }
    emit_linear(pass, &call);
  }
  give_gradient(pass, node, call.y);
}

static void backward_linear(struct ffb_pass *pass, int number, int first, bool update, bool input_gradient) {
  const struct ffb_layer *layer = &pass->parameters->network->layers[number];
  struct ffb_tensor *gy = pass->gradients[layer->output];
  struct gradient_q gq = {.count = 0};
  if (pass->parameters->precision.int8)
    gq = quantise_gradient(pass, number, gy);
  if (input_gradient)
    input_gradient_linear(pass, number, first, gy, &gq);
  if (update)
    learn(pass, number, gy, &gq);
}

/* The product above may have applied the mask already; a gradient from outside the range has not been masked. */
static void backward_relu(struct ffb_pass *pass, int number, bool masked) {
  const struct ffb_layer *layer = &pass->parameters->network->layers[number];
  struct ffb_tensor *gy = pass->gradients[layer->output];
  if (!masked)
    FFB_EMIT(pass, RELU_GRADIENT, relu_gradient, .gx = gy, .gy = gy, .y = pass->nodes[layer->output]);
  give_gradient(pass, layer->inputs[0], gy);
}

void ffb_pass_backward(struct ffb_pass *pass, int first, int count, bool update, bool input_gradient) {
  const struct ffb_layer *layers = pass->parameters->network->layers;
  for (int i = first + count - 1; i >= first && !pass->failed; i--) {
    switch (layers[i].kind) {
    case FFB_LAYER_LINEAR:
      backward_linear(pass, i, first, update, input_gradient || i > first);
      break;
    case FFB_LAYER_RELU:
      backward_relu(pass, i, i + 1 < first + count && relu_made(pass, layers[i].output, first, first + count));
      break;
    }
  }
}
