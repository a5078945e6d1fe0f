/* The forward half of a pass. */
#include "nn/pass_parts.h"

/* Linear outputs up to this size are looked through for what is not finite. */
enum { SMALL_OUTPUT = 4096 };

static void note_not_finite(struct ffb_pass *pass, int number, struct ffb_tensor *x) {
  struct ffb_tensor *first = ffb_pass_own(pass, number)->not_finite;
  if (pass->training && !pass->recompute && first && x)
    FFB_EMIT(pass, NOTE_NOT_FINITE, note_not_finite, .first = first, .x = x, .step = pass->parameters->step.step);
}

/* ---- linear layers -------------------------------------------------------------------------------------------- */

static void emit_product(struct ffb_pass *pass, const struct ffb_linear_call *call) {
  if (!call->xq.q) {
    FFB_EMIT(pass, GEMM_F32, gemm_f32, .c = call->y, .a = call->x, .b = call->w, .transpose_b = call->transpose_w);
    return;
  }
  int64_t rows = call->y ? ffb_rows(call->y) : 0, columns = call->y ? ffb_columns(call->y) : 0;
  struct ffb_tensor *sum = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_S32, "sum", (int64_t[4]){rows, columns, 1, 1});
  FFB_EMIT(pass, GEMM_S8, gemm_s8, .c = sum, .a = call->xq.q, .b = call->wq.q, .transpose_b = call->transpose_w);
  FFB_EMIT(pass, DEQUANTISE, dequantise, .out = call->y, .x = sum, .scale_a = call->xq.scale, .scale_b = call->wq.scale,
           .accumulate = call->accumulate);
}

void ffb_emit_linear(struct ffb_pass *pass, const struct ffb_linear_call *call) {
  /* Measured (MLP, two threads): BP-GDAI8's step without it as long; but its INT32 sums would lie in memory. */
  if (call->xq.q && ffb_pass_has(pass, FFB_LINEAR_S8) && !call->accumulate) {
    FFB_EMIT(pass, LINEAR_S8, linear_s8, .y = call->y, .x = call->xq.q, .w = call->wq.q, .x_scale = call->xq.scale,
             .w_scale = call->wq.scale, .bias = call->bias, .mask = call->mask, .transpose_w = call->transpose_w,
             .relu = call->relu);
    return;
  }
  /* Measured (MLP, two threads): BP-FP32's step without it 12 % longer. */
  if (!call->xq.q && ffb_pass_has(pass, FFB_LINEAR_F32)) {
    FFB_EMIT(pass, LINEAR_F32, linear_f32, .y = call->y, .x = call->x, .w = call->w, .bias = call->bias,
             .mask = call->mask, .transpose_w = call->transpose_w, .relu = call->relu);
    return;
  }
  emit_product(pass, call);
  if (call->bias)
    FFB_EMIT(pass, ADD_BIAS, add_bias, .y = call->y, .bias = call->bias);
  if (call->relu)
    FFB_EMIT(pass, ACTIVATE, activate, .y = call->y, .x = call->y, .kind = FFB_ACTIVATION_RELU);
  if (call->mask)
    FFB_EMIT(pass, ACTIVATE_GRADIENT, activate_gradient, .gx = call->y, .gy = call->y, .v = call->mask,
             .kind = FFB_ACTIVATION_RELU);
}

/* Whether layer i is a linear layer whose only reader is the ReLU that follows within the range. */
static bool fuses_relu(const struct ffb_pass *pass, int layer, int end) {
  const struct ffb_layer *layers = pass->parameters->network->layers;
  return layers[layer].kind == FFB_LAYER_LINEAR && layer + 1 < end && layers[layer + 1].kind == FFB_LAYER_ACTIVATION &&
         layers[layer + 1].activation == FFB_ACTIVATION_RELU && layers[layer + 1].inputs[0] == layers[layer].output &&
         pass->consumers[layers[layer].output] == 1;
}

static void forward_linear(struct ffb_pass *pass, int number, bool relu) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  int output = relu ? ffb_pass_layer(pass, number + 1)->output : layer->output;
  struct ffb_linear_call call = {.w = own->weight, .bias = own->bias, .transpose_w = true, .relu = relu};
  if (pass->parameters->precision.int8) {
    call.xq = ffb_pass_input_q(pass, number);
    call.wq = ffb_pass_weight_q(pass, number);
  } else {
    call.x = ffb_pass_values(pass, layer->inputs[0]);
  }
  call.y = pass->nodes[output] = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, output);
  ffb_emit_linear(pass, &call);
  if (call.y && ffb_elements(call.y) <= SMALL_OUTPUT)
    note_not_finite(pass, number, call.y);
}

static void forward_plain_linear(struct ffb_pass *pass, int number) {
  forward_linear(pass, number, false);
}

/* ---- convolutions and what follows them ----------------------------------------------------------------------- */

static void forward_convolution(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  struct ffb_tensor *y = NULL;
  if (pass->parameters->precision.int8) {
    struct ffb_quantised x = ffb_pass_input_q(pass, number), w = ffb_pass_weight_q(pass, number);
    y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
    FFB_EMIT(pass, CONVOLVE_S8, convolve_s8, .y = y, .x = x.q, .w = w.q, .x_scale = x.scale, .w_scale = w.scale,
             .window = layer->window, .groups = layer->groups);
    /* A backward pass that is far away rounds the weights once more: 1 byte less for each of them. */
    if (pass->training && !own->weight_q && number < pass->keep_weights)
      pass->traces[number].weight = (struct ffb_quantised){0};
  } else {
    struct ffb_tensor *x = ffb_pass_values(pass, layer->inputs[0]);
    y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
    FFB_EMIT(pass, CONVOLVE_F32, convolve_f32, .y = y, .x = x, .w = own->weight, .window = layer->window,
             .groups = layer->groups);
  }
  pass->nodes[layer->output] = y;
}

static void forward_batch_norm(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  struct ffb_layer_trace *trace = &pass->traces[number];
  const int64_t shape[4] = {pass->parameters->network->nodes[layer->output][2], 1, 1, 1};
  struct ffb_tensor *x = ffb_pass_values(pass, layer->inputs[0]);
  bool moves = !pass->training || !pass->recompute;
  trace->mean = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "mean", shape);
  trace->inverse = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "inverse", shape);
  /* Measured (BP-GDAI8, batch 32, one thread): a step without it 3 % longer on MobileNet-V2, the same on ResNet-18. */
  if (pass->training && pass->parameters->precision.int8 && ffb_pass_has(pass, FFB_BATCH_NORMALISE_S8))
    trace->extremes = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "extremes", (int64_t[4]){2, shape[0], 1, 1});
  FFB_EMIT(pass, BATCH_STATISTICS, batch_statistics, .mean = trace->mean, .inverse = trace->inverse,
           .extremes = trace->extremes, .x = pass->training ? x : NULL,
           .running_mean = moves ? own->running_mean : NULL, .running_variance = moves ? own->running_variance : NULL,
           .momentum = layer->momentum, .epsilon = layer->epsilon);
  note_not_finite(pass, number, trace->inverse);
  pass->pending[layer->output] = (struct ffb_pending){.waits = true, .norm = number, .shortcut = -1};
}

/* Whether a node still waits for a call of its own and this layer is its only reader. */
static bool joins(const struct ffb_pass *pass, int node) {
  return pass->pending[node].waits && pass->consumers[node] == 1;
}

static void forward_activation(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  int input = layer->inputs[0];
  if (joins(pass, input) && pass->pending[input].activation == FFB_ACTIVATION_NONE) {
    pass->pending[layer->output] = pass->pending[input];
    pass->pending[layer->output].activation = layer->activation;
    pass->pending[input].waits = false;
    pass->traces[number].fused = true;
    return;
  }
  struct ffb_tensor *x = ffb_pass_values(pass, input), *y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  FFB_EMIT(pass, ACTIVATE, activate, .y = y, .x = x, .kind = layer->activation);
  pass->nodes[layer->output] = y;
}

static void forward_add(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  int input = layer->inputs[0], shortcut = layer->inputs[1];
  if (joins(pass, input) && pass->pending[input].activation == FFB_ACTIVATION_NONE &&
      pass->pending[input].shortcut < 0) {
    pass->pending[layer->output] = pass->pending[input];
    pass->pending[layer->output].shortcut = shortcut;
    pass->pending[input].waits = false;
    pass->traces[number].fused = true;
    return;
  }
  struct ffb_tensor *a = ffb_pass_values(pass, input), *b = ffb_pass_values(pass, shortcut);
  struct ffb_tensor *y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = y, .a = a, .b = b);
  pass->nodes[layer->output] = y;
}

/* Where nothing else reads the normalised map, it never lies in memory. Measured on ResNet-18: for 1 to 2 % of
 * BP-GDAI8's step, 95.4 MB in place of 99.6 planned for FF-INT8 with look-ahead off. */
static bool forward_normalised_pool(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  int input = layer->inputs[0];
  struct ffb_pending *pending = &pass->pending[input];
  if (!joins(pass, input) || pending->shortcut >= 0 || layer->window.kernel > FFB_NORMALISED_POOL_KERNEL ||
      !ffb_pass_has(pass, FFB_BATCH_NORMALISE_POOL) || !ffb_pass_has(pass, FFB_BATCH_NORMALISE_POOL_GRADIENT))
    return false;
  struct ffb_batch_normalise normalise = ffb_pass_normalisation(pass, input);
  struct ffb_tensor *y = pass->nodes[layer->output] = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  FFB_EMIT(pass, BATCH_NORMALISE_POOL, batch_normalise_pool, .y = y, .normalise = normalise, .window = layer->window);
  pass->traces[pending->norm].pool = number;
  pass->traces[number].fused = true;
  pending->waits = false;
  return true;
}

static void forward_max_pool(struct ffb_pass *pass, int number) {
  if (forward_normalised_pool(pass, number))
    return;
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_tensor *x = ffb_pass_values(pass, layer->inputs[0]);
  struct ffb_tensor *y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  if (pass->training && y)
    pass->traces[number].argmax = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_U8, "argmax", y->shape);
  FFB_EMIT(pass, MAX_POOL, max_pool, .y = y, .argmax = pass->traces[number].argmax, .x = x, .window = layer->window);
  pass->nodes[layer->output] = y;
}

static void forward_average_pool(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_tensor *x = ffb_pass_values(pass, layer->inputs[0]);
  struct ffb_tensor *y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  FFB_EMIT(pass, AVERAGE_POOL, average_pool, .y = y, .x = x);
  pass->nodes[layer->output] = y;
}

static void forward_scale(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_tensor *x = ffb_pass_values(pass, layer->inputs[0]), *scale = ffb_pass_values(pass, layer->inputs[1]);
  struct ffb_tensor *y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  FFB_EMIT(pass, SCALE_CHANNELS, scale_channels, .y = y, .x = x, .scale = scale);
  pass->nodes[layer->output] = y;
}

static void forward_dropout(struct ffb_pass *pass, int number) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_tensor *x = ffb_pass_values(pass, layer->inputs[0]);
  pass->nodes[layer->output] = x;
  if (!pass->training || layer->rate <= 0)
    return;
  struct ffb_tensor *y = ffb_emit_node(pass, FFB_TAG_ACTIVATIONS, layer->output);
  pass->traces[number].purpose = ffb_pass_purpose(pass, FFB_STREAM_DROPOUT, number);
  FFB_EMIT(pass, DROPOUT, dropout, .y = y, .x = x, .step = pass->parameters->step.step, .rate = layer->rate,
           .by_row = layer->by_row, .purpose = pass->traces[number].purpose, .seed = pass->parameters->seed);
  pass->nodes[layer->output] = y;
}

typedef void forward_layer(struct ffb_pass *pass, int number);
static forward_layer *const forward[] = {[FFB_LAYER_LINEAR] = forward_plain_linear,
                                         [FFB_LAYER_CONVOLUTION] = forward_convolution,
                                         [FFB_LAYER_BATCH_NORM] = forward_batch_norm,
                                         [FFB_LAYER_ACTIVATION] = forward_activation,
                                         [FFB_LAYER_ADD] = forward_add,
                                         [FFB_LAYER_MAX_POOL] = forward_max_pool,
                                         [FFB_LAYER_AVERAGE_POOL] = forward_average_pool,
                                         [FFB_LAYER_SCALE] = forward_scale,
                                         [FFB_LAYER_DROPOUT] = forward_dropout};

void ffb_pass_forward(struct ffb_pass *pass, int first, int count) {
  for (int i = first; i < first + count && !pass->failed; i++) {
    bool relu = fuses_relu(pass, i, first + count);
    if (relu)
      forward_linear(pass, i, true);
    else
      forward[ffb_pass_layer(pass, i)->kind](pass, i);
    i += relu;
  }
  if (!pass->failed && count > 0)
    ffb_pass_values(pass, ffb_pass_layer(pass, first + count - 1)->output);
}
