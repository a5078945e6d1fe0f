#include "nn/pass_parts.h"

#include "base/memory.h"
#include "base/random.h"

#include <string.h>

uint32_t ffb_pass_purpose(const struct ffb_pass *pass, enum ffb_stream_kind kind, int number) {
  return FFB_PURPOSE_TENSOR + (uint32_t)pass->stream * 65536u + (uint32_t)(number * FFB_STREAM_KINDS) + (uint32_t)kind;
}

const struct ffb_layer *ffb_pass_layer(const struct ffb_pass *pass, int number) {
  return &pass->parameters->network->layers[number];
}

struct ffb_layer_parameters *ffb_pass_own(const struct ffb_pass *pass, int number) {
  return &pass->parameters->layers[number];
}

bool ffb_pass_has(const struct ffb_pass *pass, enum ffb_operator operation) {
  return ffb_plan_has(pass->parameters->plan, operation);
}

bool ffb_pass_searches(const struct ffb_pass *pass) {
  return pass->search && pass->parameters->precision.clip_search;
}

/* ---- begin and end -------------------------------------------------------------------------------------------- */

static bool multiplies(const struct ffb_layer *layer) {
  return layer->kind == FFB_LAYER_LINEAR || layer->kind == FFB_LAYER_CONVOLUTION;
}

static void count_consumers(struct ffb_pass *pass) {
  const struct ffb_network *network = pass->parameters->network;
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    for (int k = 0; k < layer->input_count; k++) {
      pass->consumers[layer->inputs[k]]++;
      pass->float_consumers[layer->inputs[k]] += !(pass->parameters->precision.int8 && multiplies(layer));
    }
  }
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
                            .keep_weights = network->layer_count,
                            .error = error};
  bool made = (pass->nodes = ffb_allocate(nodes, sizeof(struct ffb_tensor *), error)) &&
              (pass->gradients = ffb_allocate(nodes, sizeof(struct ffb_tensor *), error)) &&
              (pass->inputs = ffb_allocate(nodes, sizeof *pass->inputs, error)) &&
              (pass->pending = ffb_allocate(nodes, sizeof *pass->pending, error)) &&
              (pass->masks = ffb_allocate(nodes, sizeof(struct ffb_tensor *), error)) &&
              (pass->traces = ffb_allocate(layers, sizeof *pass->traces, error)) &&
              (pass->consumers = ffb_allocate(nodes, sizeof *pass->consumers, error)) &&
              (pass->float_consumers = ffb_allocate(nodes, sizeof *pass->float_consumers, error)) &&
              (pass->updates = ffb_allocate(layers, sizeof *pass->updates, error));
  if (made)
    count_consumers(pass);
  else
    ffb_pass_end(pass);
  return made;
}

void ffb_pass_end(struct ffb_pass *pass) {
  ffb_free(pass->nodes);
  ffb_free(pass->gradients);
  ffb_free(pass->inputs);
  ffb_free(pass->pending);
  ffb_free(pass->masks);
  ffb_free(pass->traces);
  ffb_free(pass->consumers);
  ffb_free(pass->float_consumers);
  ffb_free(pass->updates);
  pass->nodes = pass->gradients = pass->masks = NULL;
  pass->inputs = NULL;
  pass->pending = NULL;
  pass->traces = NULL;
  pass->consumers = pass->float_consumers = NULL;
  pass->updates = NULL;
}

/* ---- calls and tensors ---------------------------------------------------------------------------------------- */

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

struct ffb_tensor *ffb_emit_input(struct ffb_pass *pass, enum ffb_type type, const char *name,
                                  const int64_t shape[FFB_DIMENSIONS]) {
  struct ffb_tensor *tensor = ffb_emit_tensor(pass, FFB_TAG_DATASET, type, name, shape);
  if (tensor)
    ffb_program_input(pass->program, tensor);
  return tensor;
}

struct ffb_tensor *ffb_emit_view(struct ffb_pass *pass, struct ffb_tensor *whole, int64_t offset,
                                 const int64_t shape[FFB_DIMENSIONS]) {
  if (pass->failed)
    return NULL;
  struct ffb_tensor *view = ffb_plan_view(pass->parameters->plan, whole, offset, shape, pass->error);
  pass->failed = !view;
  return view;
}

struct ffb_tensor *ffb_emit_images(struct ffb_pass *pass, struct ffb_tensor *bytes, int64_t rows,
                                   const float mean[FFB_MAX_CHANNELS], const float deviation[FFB_MAX_CHANNELS]) {
  const struct ffb_network *network = pass->parameters->network;
  const int64_t shape[4] = {rows, network->height, network->width, network->channels};
  struct ffb_tensor *images = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "input", shape);
  union ffb_arguments convert = {.convert_images = {.out = images, .in = bytes}};
  memcpy(convert.convert_images.mean, mean, sizeof convert.convert_images.mean);
  memcpy(convert.convert_images.deviation, deviation, sizeof convert.convert_images.deviation);
  ffb_emit(pass, FFB_CONVERT_IMAGES, &convert);
  return images;
}

/* The shape of a node's tensor: [rows][H][W][C]; a vector of features is an image of one pixel. */
static void node_shape(const struct ffb_pass *pass, int node, int64_t shape[FFB_DIMENSIONS]) {
  shape[0] = pass->rows;
  memcpy(shape + 1, pass->parameters->network->nodes[node], 3 * sizeof *shape);
}

struct ffb_tensor *ffb_emit_node(struct ffb_pass *pass, enum ffb_tag tag, int node) {
  int64_t shape[FFB_DIMENSIONS];
  node_shape(pass, node, shape);
  return ffb_emit_tensor(pass, tag, FFB_F32, tag == FFB_TAG_GRADIENTS ? "gradient" : "activation", shape);
}

/* ---- INT8 copies ---------------------------------------------------------------------------------------------- */

struct ffb_quantiser ffb_pass_quantiser(struct ffb_pass *pass, struct ffb_suq_scale range,
                                        const int64_t shape[FFB_DIMENSIONS], enum ffb_rounding rounding,
                                        uint32_t stream) {
  range.scale = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_F32, "scale", (int64_t[4]){1, 1, 1, 1});
  return (struct ffb_quantiser){.scale = range,
                                .quantise = {.q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, "quantised", shape),
                                             .scale = range.scale,
                                             .step = pass->parameters->step.step,
                                             .rounding = rounding,
                                             .purpose = stream,
                                             .seed = pass->parameters->seed}};
}

struct ffb_quantised ffb_emit_quantised(struct ffb_pass *pass, const struct ffb_quantiser *quantiser,
                                        struct ffb_tensor *x) {
  struct ffb_suq_scale scale = quantiser->scale;
  struct ffb_suq_quantise quantise = quantiser->quantise;
  scale.x = scale.range == FFB_RANGE_ABSMAX ? x : NULL;
  quantise.x = x;
  /* Measured (BP-GDAI8, one thread): no difference to a step that stands out; it is one call in place of two. */
  if (ffb_pass_has(pass, FFB_SUQ_TENSOR)) {
    ffb_emit(pass, FFB_SUQ_TENSOR, &(union ffb_arguments){.suq_tensor = {.scale = scale, .quantise = quantise}});
  } else {
    ffb_emit(pass, FFB_SUQ_SCALE, &(union ffb_arguments){.suq_scale = scale});
    ffb_emit(pass, FFB_SUQ_QUANTISE, &(union ffb_arguments){.suq_quantise = quantise});
  }
  return (struct ffb_quantised){.q = quantise.q, .scale = quantise.scale};
}

struct ffb_quantised ffb_emit_quantised_over(struct ffb_pass *pass, struct ffb_quantiser *quantiser,
                                             struct ffb_tensor *x) {
  struct ffb_suq_scale *scale = &quantiser->scale;
  struct ffb_suq_quantise *quantise = &quantiser->quantise;
  /* Measured (ResNet-18, BP-GDAI8, one thread): a step without it 1 % longer. */
  if (pass->failed || !ffb_pass_has(pass, FFB_SUQ_IN_PLACE))
    return ffb_emit_quantised(pass, quantiser, x);
  quantise->q =
      ffb_plan_overlay(pass->parameters->plan, x, FFB_TAG_QUANTISED, FFB_S8, "quantised", x->shape, pass->error);
  pass->failed = !quantise->q;
  quantise->x = x;
  scale->x = scale->range == FFB_RANGE_ABSMAX ? x : NULL;
  FFB_EMIT(pass, SUQ_IN_PLACE, suq_in_place, .scale = *scale, .quantise = *quantise);
  return (struct ffb_quantised){.q = quantise->q, .scale = quantise->scale};
}

/* How `layer` rounds the node that it reads. */
static struct ffb_quantiser input_quantiser(struct ffb_pass *pass, int layer) {
  int node = ffb_pass_layer(pass, layer)->inputs[0];
  struct ffb_tensor *running = ffb_pass_own(pass, layer)->running;
  struct ffb_suq_scale range = {.running = running, .range = FFB_RANGE_RUNNING};
  if (pass->training)
    range = (struct ffb_suq_scale){.running = pass->recompute ? NULL : running, .range = FFB_RANGE_ABSMAX};
  int64_t shape[FFB_DIMENSIONS];
  node_shape(pass, node, shape);
  return ffb_pass_quantiser(pass, range, shape,
                            pass->training ? pass->parameters->precision.input_rounding : FFB_ROUND_NEAREST,
                            ffb_pass_purpose(pass, FFB_STREAM_INPUT, node));
}

struct ffb_quantised ffb_pass_weight_q(struct ffb_pass *pass, int layer) {
  struct ffb_layer_parameters *own = ffb_pass_own(pass, layer);
  struct ffb_quantised *weight = &pass->traces[layer].weight;
  if (own->weight_q)
    return (struct ffb_quantised){.q = own->weight_q, .scale = own->weight_scale};
  if (!weight->q) {
    *weight = (struct ffb_quantised){
        .q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, "weight_q", own->weight ? own->weight->shape : NULL),
        .scale = own->weight_scale};
    FFB_EMIT(pass, SUQ_QUANTISE, suq_quantise, .q = weight->q, .x = own->weight, .scale = own->weight_scale);
  }
  return *weight;
}

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

void ffb_pass_enter(struct ffb_pass *pass, int node, struct ffb_tensor *values) {
  pass->nodes[node] = values;
  pass->inputs[node] = (struct ffb_quantised){0};
  pass->pending[node] = (struct ffb_pending){0};
  pass->masks[node] = NULL;
}

void ffb_pass_hand_over(struct ffb_pass *pass, int node, int layer, bool over) {
  if (over && pass->nodes[node] && !pass->inputs[node].q) {
    struct ffb_quantiser quantiser = input_quantiser(pass, layer);
    pass->inputs[node] = ffb_emit_quantised_over(pass, &quantiser, pass->nodes[node]);
  }
  ffb_pass_input_q(pass, layer);
  pass->nodes[node] = NULL;
}

bool ffb_pass_hand_over_normalised(struct ffb_pass *pass, int node, int layer, const struct ffb_normalise *normalise) {
  /* Measured (one-pass, two threads): EfficientNet-B0's step without it 2 % longer; the others' no different. */
  if (pass->failed || !ffb_pass_has(pass, FFB_NORMALISE_S8))
    return false;
  struct ffb_quantiser quantiser = input_quantiser(pass, layer);
  FFB_EMIT(pass, NORMALISE_S8, normalise_s8, .normalise = *normalise, .scale = quantiser.scale,
           .quantise = quantiser.quantise);
  ffb_pass_enter(pass, node, NULL);
  pass->inputs[node] = (struct ffb_quantised){.q = quantiser.quantise.q, .scale = quantiser.quantise.scale};
  return true;
}

void ffb_pass_compact(struct ffb_pass *pass, int node) {
  struct ffb_quantised *copy = &pass->inputs[node];
  if (pass->failed || !copy->q || !ffb_pass_has(pass, FFB_SUQ_IN_PLACE))
    return;
  struct ffb_tensor *q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, "quantised", copy->q->shape);
  FFB_EMIT(pass, COPY, copy, .out = q, .in = copy->q);
  copy->q = q;
}

void ffb_pass_forget(struct ffb_pass *pass, int first, int count) {
  for (int i = first; i < first + count; i++) {
    ffb_pass_enter(pass, ffb_pass_layer(pass, i)->output, NULL);
    pass->traces[i] = (struct ffb_layer_trace){0};
  }
}

/* A ReLU behind an addition: where it lets gradients pass is kept as bits, its values are not needed for that. */
static struct ffb_tensor *emit_mask(struct ffb_pass *pass, int node) {
  const struct ffb_pending *pending = &pass->pending[node];
  bool relu = pending->activation == FFB_ACTIVATION_RELU || pending->activation == FFB_ACTIVATION_RELU6;
  if (!pass->training || pending->shortcut < 0 || !relu)
    return NULL;
  int64_t elements = pass->rows * ffb_network_features(pass->parameters->network, node);
  return ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_U8, "mask", (int64_t[4]){(elements + 7) / 8, 1, 1, 1});
}

struct ffb_batch_normalise ffb_pass_normalisation(struct ffb_pass *pass, int node) {
  const struct ffb_pending *pending = &pass->pending[node];
  const struct ffb_layer_trace *trace = &pass->traces[pending->norm];
  struct ffb_layer_parameters *own = ffb_pass_own(pass, pending->norm);
  return (struct ffb_batch_normalise){.x = pass->nodes[ffb_pass_layer(pass, pending->norm)->inputs[0]],
                                      .mean = trace->mean,
                                      .inverse = trace->inverse,
                                      .gamma = own->weight,
                                      .beta = own->bias,
                                      .shortcut =
                                          pending->shortcut < 0 ? NULL : ffb_pass_values(pass, pending->shortcut),
                                      .mask = pass->masks[node] = emit_mask(pass, node),
                                      .activation = pending->activation};
}

struct ffb_tensor *ffb_pass_values(struct ffb_pass *pass, int node) {
  if (pass->failed || pass->nodes[node])
    return pass->nodes[node];
  if (pass->pending[node].waits) {
    struct ffb_batch_normalise normalise = ffb_pass_normalisation(pass, node);
    normalise.y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, node);
    ffb_emit(pass, FFB_BATCH_NORMALISE, &(union ffb_arguments){.batch_normalise = normalise});
    pass->nodes[node] = normalise.y;
    pass->pending[node].waits = false;
    return normalise.y;
  }
  struct ffb_tensor *values = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, node);
  FFB_EMIT(pass, DEQUANTISE, dequantise, .out = values, .x = pass->inputs[node].q, .scale_a = pass->inputs[node].scale);
  return values;
}

struct ffb_quantised ffb_pass_input_q(struct ffb_pass *pass, int layer) {
  int node = ffb_pass_layer(pass, layer)->inputs[0];
  if (pass->failed || pass->inputs[node].q)
    return pass->inputs[node];
  bool fused = pass->pending[node].waits && !pass->float_consumers[node] && ffb_pass_has(pass, FFB_BATCH_NORMALISE_S8);
  if (!fused) {
    struct ffb_tensor *values = ffb_pass_values(pass, node);
    struct ffb_quantiser quantiser = input_quantiser(pass, layer);
    return pass->inputs[node] = ffb_emit_quantised(pass, &quantiser, values);
  }
  struct ffb_batch_normalise normalise = ffb_pass_normalisation(pass, node);
  struct ffb_quantiser quantiser = input_quantiser(pass, layer);
  FFB_EMIT(pass, BATCH_NORMALISE_S8, batch_normalise_s8, .normalise = normalise,
           .extremes = pass->traces[pass->pending[node].norm].extremes, .scale = quantiser.scale,
           .quantise = quantiser.quantise);
  pass->pending[node].waits = false;
  return pass->inputs[node] = (struct ffb_quantised){.q = quantiser.quantise.q, .scale = quantiser.quantise.scale};
}
