/* The backward half of a pass. */
#include "nn/pass_parts.h"

/* What a backward pass over layers first .. end - 1 has to do. */
struct range {
  int first, end;
  bool update, input_gradient;
};

/* ---- gradients of nodes --------------------------------------------------------------------------------------- */

/* Whether another node holds the same gradient: then nothing may be written over it. */
static bool is_shared(const struct ffb_pass *pass, int node) {
  for (int i = 0; i < pass->parameters->network->node_count; i++) {
    if (i != node && pass->gradients[i] && pass->gradients[i] == pass->gradients[node])
      return true;
  }
  return false;
}

/* The gradient of a layer's output, which the layer takes over; `owned` where it may be written over. */
static struct ffb_tensor *take_gradient(struct ffb_pass *pass, int number, bool *owned) {
  int node = ffb_pass_layer(pass, number)->output;
  struct ffb_tensor *gradient = pass->gradients[node];
  *owned = !is_shared(pass, node);
  pass->gradients[node] = NULL;
  return gradient;
}

/* Adds to what another reader of the node left there. */
static void give_gradient(struct ffb_pass *pass, int node, struct ffb_tensor *gradient) {
  struct ffb_tensor *before = pass->gradients[node];
  if (before && !is_shared(pass, node)) {
    FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = before, .a = before, .b = gradient);
    return;
  }
  if (before) {
    struct ffb_tensor *sum = ffb_emit_node(pass, FFB_TAG_GRADIENTS, node);
    FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = sum, .a = before, .b = gradient);
    gradient = sum;
  }
  pass->gradients[node] = gradient;
}

static bool wants_gradient(const struct ffb_pass *pass, const struct range *range, int node) {
  const struct ffb_network *network = pass->parameters->network;
  if (range->input_gradient)
    return true;
  for (int i = range->first; i < range->end; i++) {
    if (network->layers[i].output == node)
      return true;
  }
  return false;
}

/* ---- linear layers and convolutions --------------------------------------------------------------------------- */

/* Of a gradient's INT8 form. */
static struct ffb_suq_scale gradient_range(const struct ffb_pass *pass, int layer, struct ffb_tensor *gy) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  if (precision->gradient_range > 0)
    return (struct ffb_suq_scale){.range = FFB_RANGE_FIXED, .fixed = precision->gradient_range};
  return (struct ffb_suq_scale){.x = gy, .ratio = ffb_pass_own(pass, layer)->ratio, .range = FFB_RANGE_ABSMAX};
}

static struct ffb_quantised_gradient quantise_segments(struct ffb_pass *pass, int number, struct ffb_tensor *gy) {
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  struct ffb_quantised_gradient result = {.count = 2};
  for (int i = 0; i < 2 && gy; i++) {
    result.parts[i].q = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_S8, i ? "coarse" : "fine", gy->shape);
    result.parts[i].scale = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_F32, "scale", (int64_t[4]){1, 1, 1, 1});
  }
  if (pass->search)
    FFB_EMIT(pass, SEGMENT_SEARCH, segment_search, .x = gy, .exponent = own->exponent, .deviation = own->deviation);
  FFB_EMIT(pass, SUQ_SEGMENTS, suq_segments, .fine = result.parts[0].q, .coarse = result.parts[1].q,
           .fine_scale = result.parts[0].scale, .coarse_scale = result.parts[1].scale, .x = gy,
           .exponent = own->exponent, .step = pass->parameters->step.step,
           .rounding = pass->parameters->precision.gradient_rounding,
           .purpose = ffb_pass_purpose(pass, FFB_STREAM_GRADIENT, number), .seed = pass->parameters->seed);
  return result;
}

static struct ffb_quantiser gradient_quantiser(struct ffb_pass *pass, int number, struct ffb_tensor *gy,
                                               const int64_t shape[FFB_DIMENSIONS]) {
  return ffb_pass_quantiser(pass, gradient_range(pass, number, gy), shape,
                            pass->parameters->precision.gradient_rounding,
                            ffb_pass_purpose(pass, FFB_STREAM_GRADIENT, number));
}

/* With `spent` nothing needs the FP32 form afterwards. */
static struct ffb_quantised_gradient quantise_gradient(struct ffb_pass *pass, int number, struct ffb_tensor *gy,
                                                       bool spent) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  if (pass->failed)
    return (struct ffb_quantised_gradient){0};
  if (precision->segments)
    return quantise_segments(pass, number, gy);
  if (ffb_pass_searches(pass))
    FFB_EMIT(pass, CLIP_SEARCH, clip_search, .x = gy, .ratio = own->ratio, .deviation = own->deviation,
             .multiplier = own->multiplier, .alpha = precision->alpha, .beta = precision->beta,
             .tracking = precision->tracking, .gaussian_test = precision->gaussian_test);
  struct ffb_quantiser quantiser = gradient_quantiser(pass, number, gy, gy->shape);
  return (struct ffb_quantised_gradient){
      .parts = {spent ? ffb_emit_quantised_over(pass, &quantiser, gy) : ffb_emit_quantised(pass, &quantiser, gy)},
      .count = 1};
}

/* Whether a linear layer alone reads the node, and a ReLU of the range made it: then the product that gives the node's
 * gradient masks it too. */
static bool relu_made(const struct ffb_pass *pass, int node, const struct range *range) {
  const struct ffb_layer *layers = pass->parameters->network->layers;
  for (int i = range->first; i < pass->parameters->network->layer_count; i++) {
    if (layers[i].inputs[0] == node && layers[i].kind != FFB_LAYER_LINEAR)
      return false;
  }
  for (int i = range->first; i < range->end; i++) {
    if (layers[i].output == node)
      return layers[i].kind == FFB_LAYER_ACTIVATION && layers[i].activation == FFB_ACTIVATION_RELU &&
             !pass->traces[i].fused && pass->consumers[node] == 1;
  }
  return false;
}

static void input_gradient_linear(struct ffb_pass *pass, int number, const struct range *range, struct ffb_tensor *gy,
                                  const struct ffb_quantised_gradient *gq) {
  int node = ffb_pass_layer(pass, number)->inputs[0];
  bool masked = relu_made(pass, node, range);
  struct ffb_linear_call call = {.x = gy, .w = ffb_pass_own(pass, number)->weight};
  call.y = ffb_emit_node(pass, FFB_TAG_GRADIENTS, node);
  for (int i = 0; i < (gq->count ? gq->count : 1); i++) {
    call.accumulate = i > 0;
    call.mask = masked && i + 1 >= gq->count ? pass->nodes[node] : NULL;
    if (gq->count) {
      call.xq = gq->parts[i];
      call.wq = ffb_pass_weight_q(pass, number);
    }
    ffb_emit_linear(pass, &call);
  }
  give_gradient(pass, node, call.y);
}

static void input_gradient_convolution(struct ffb_pass *pass, int number, struct ffb_tensor *gy,
                                       const struct ffb_quantised_gradient *gq) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  int node = layer->inputs[0];
  bool accumulate = pass->gradients[node] && !is_shared(pass, node);
  struct ffb_tensor *gx = accumulate ? pass->gradients[node] : ffb_emit_node(pass, FFB_TAG_GRADIENTS, node);
  for (int i = 0; i < (gq->count ? gq->count : 1); i++) {
    if (gq->count) {
      struct ffb_quantised w = ffb_pass_weight_q(pass, number);
      FFB_EMIT(pass, CONVOLVE_INPUT_S8, convolve_input_s8, .gx = gx, .gy = gq->parts[i].q, .w = w.q,
               .gy_scale = gq->parts[i].scale, .w_scale = w.scale, .window = layer->window, .groups = layer->groups,
               .accumulate = accumulate || i > 0);
    } else {
      FFB_EMIT(pass, CONVOLVE_INPUT_F32, convolve_input_f32, .gx = gx, .gy = gy,
               .w = ffb_pass_own(pass, number)->weight, .window = layer->window, .groups = layer->groups,
               .accumulate = accumulate);
    }
  }
  if (!accumulate)
    give_gradient(pass, node, gx);
}

/* Rounds the weights as they are, with a scale of their own: the update changes the layer's. */
static void keep_weight_q(struct ffb_pass *pass, int number) {
  struct ffb_quantised weight = ffb_pass_weight_q(pass, number);
  struct ffb_tensor *scale = ffb_emit_tensor(pass, FFB_TAG_QUANTISED, FFB_F32, "scale", (int64_t[4]){1, 1, 1, 1});
  FFB_EMIT(pass, COPY, copy, .out = scale, .in = weight.scale);
  pass->traces[number].weight.scale = scale;
}

static void backward_product(struct ffb_pass *pass, int number, const struct range *range) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  const struct ffb_precision *precision = &pass->parameters->precision;
  bool linear = layer->kind == FFB_LAYER_LINEAR, owned;
  bool input_gradient = wants_gradient(pass, range, layer->inputs[0]);
  struct ffb_quantised_gradient gq = pass->traces[number].gradient_q;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned);
  /* The FP32 bytes stay taken: an input gradient would find no room there. */
  bool spent = owned && !linear && !input_gradient && !ffb_pass_own(pass, number)->bias;
  if (precision->int8 && !gq.count)
    gq = quantise_gradient(pass, number, gy, spent);
  /* INT8 weights were rounded before the update, so the weight gradient may come first and free the layer's input. */
  bool learn_first = precision->int8 && !linear && !precision->int8_weights;
  if (learn_first && input_gradient)
    keep_weight_q(pass, number);
  if (learn_first && range->update)
    ffb_pass_learn(pass, number, gy, &gq);
  if (input_gradient && linear)
    input_gradient_linear(pass, number, range, gy, &gq);
  else if (input_gradient)
    input_gradient_convolution(pass, number, gy, &gq);
  if (!learn_first && range->update)
    ffb_pass_learn(pass, number, gy, &gq);
  pass->traces[number].gradient_q = (struct ffb_quantised_gradient){0};
}

/* ---- batch normalisation and what joined it ------------------------------------------------------------------- */

/* The activation that was made in the same call as normalisation `number`, no addition between them. */
static enum ffb_activation joined_activation(const struct ffb_pass *pass, int number) {
  const struct ffb_network *network = pass->parameters->network;
  int node = network->layers[number].output;
  for (int i = number + 1; i < network->layer_count; i++) {
    if (network->layers[i].kind == FFB_LAYER_ACTIVATION && network->layers[i].inputs[0] == node)
      return pass->traces[i].fused ? network->layers[i].activation : FFB_ACTIVATION_NONE;
  }
  return FFB_ACTIVATION_NONE;
}

/* The convolution whose output the normalisation takes, if its gradient can be rounded to INT8 in the same call.
 * Measured (BP-GDAI8, one thread): a step without it 2 % longer on MobileNet-V2, the same on ResNet-18. */
static int quantising_layer(const struct ffb_pass *pass, int number) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  int node = ffb_pass_layer(pass, number)->inputs[0];
  if (!precision->int8 || precision->segments || pass->lean || ffb_pass_searches(pass) || pass->consumers[node] != 1 ||
      !ffb_pass_has(pass, FFB_BATCH_NORMALISE_GRADIENT_S8))
    return -1;
  for (int i = number - 1; i >= 0; i--) {
    if (ffb_pass_layer(pass, i)->output == node)
      return ffb_pass_layer(pass, i)->kind == FFB_LAYER_CONVOLUTION ? i : -1;
  }
  return -1;
}

static bool is_goodness(const struct ffb_pass *pass, const struct ffb_tensor *gy) {
  return gy && gy == pass->goodness.y;
}

static void emit_norm_gradient(struct ffb_pass *pass, int number, struct ffb_batch_normalise_gradient *gradient) {
  int pool = pass->traces[number].pool, convolution = pool ? -1 : quantising_layer(pass, number);
  if (pool) {
    struct ffb_batch_normalise_pool_gradient pooled = {
        .gradient = *gradient, .gy = gradient->gy, .window = ffb_pass_layer(pass, pool)->window};
    pooled.gradient.gy = NULL;
    if (!pooled.gy) {
      pooled.goodness = pass->goodness.gradient;
      pooled.groups = pass->goodness.groups;
      pooled.mean = pass->goodness.mean;
    }
    ffb_emit(pass, FFB_BATCH_NORMALISE_POOL_GRADIENT, &(union ffb_arguments){.batch_normalise_pool_gradient = pooled});
  } else if (convolution >= 0) {
    struct ffb_quantiser quantiser = gradient_quantiser(pass, convolution, NULL, gradient->x->shape);
    struct ffb_batch_normalise_gradient_s8 quantised = {
        .gradient = *gradient, .scale = quantiser.scale, .quantise = quantiser.quantise};
    /* Measured (one-pass, two threads): a step without it 1 to 2 % longer on MobileNet-V2 and EfficientNet-B0. */
    if (is_goodness(pass, gradient->gy))
      FFB_EMIT(pass, BATCH_NORMALISE_GOODNESS_GRADIENT_S8, batch_normalise_goodness_gradient_s8, .normalise = quantised,
               .goodness = pass->goodness.gradient, .groups = pass->goodness.groups, .mean = pass->goodness.mean);
    else
      ffb_emit(pass, FFB_BATCH_NORMALISE_GRADIENT_S8, &(union ffb_arguments){.batch_normalise_gradient_s8 = quantised});
    pass->traces[convolution].gradient_q = (struct ffb_quantised_gradient){
        .parts = {{.q = quantiser.quantise.q, .scale = quantiser.quantise.scale}}, .count = 1};
    return;
  } else {
    ffb_emit(pass, FFB_BATCH_NORMALISE_GRADIENT, &(union ffb_arguments){.batch_normalise_gradient = *gradient});
  }
  give_gradient(pass, ffb_pass_layer(pass, number)->inputs[0], gradient->gx);
}

static void backward_batch_norm(struct ffb_pass *pass, int number, const struct range *range) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  const struct ffb_layer_trace *trace = &pass->traces[number];
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  bool owned;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned), *x = pass->nodes[layer->inputs[0]];
  if (pass->failed)
    return;
  owned = owned && !(is_goodness(pass, gy) && !pass->goodness.spent);
  struct ffb_batch_normalise_gradient gradient = {
      .gx = pass->preserve          ? ffb_emit_node(pass, FFB_TAG_GRADIENTS, layer->inputs[0])
            : owned && !trace->pool ? gy
                                    : x,
      .ggamma = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "gamma_gradient", own->weight->shape),
      .gbeta = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "beta_gradient", own->weight->shape),
      .gy = gy,
      .x = x,
      .mean = trace->mean,
      .inverse = trace->inverse,
      .gamma = own->weight,
      .beta = own->bias,
      .activation = joined_activation(pass, number)};
  emit_norm_gradient(pass, number, &gradient);
  if (range->update)
    ffb_pass_learn_norm(pass, number, gradient.ggamma, gradient.gbeta);
}

/* Whether the activation's gradient is part of the call that makes the normalisation's. */
static bool left_to_norm(const struct ffb_pass *pass, int number) {
  int input = ffb_pass_layer(pass, number)->inputs[0];
  for (int i = number - 1; i >= 0 && pass->traces[number].fused; i--) {
    if (ffb_pass_layer(pass, i)->output == input)
      return ffb_pass_layer(pass, i)->kind == FFB_LAYER_BATCH_NORM;
  }
  return false;
}

static void backward_activation(struct ffb_pass *pass, int number, const struct range *range) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  bool owned, masked = number + 1 < range->end && relu_made(pass, layer->output, range);
  struct ffb_tensor *gy = take_gradient(pass, number, &owned), *gx = gy;
  if (!masked && !left_to_norm(pass, number)) {
    gx = owned ? gy : ffb_emit_node(pass, FFB_TAG_GRADIENTS, layer->inputs[0]);
    if (pass->masks[layer->output])
      FFB_EMIT(pass, MASK_GRADIENT, mask_gradient, .gx = gx, .gy = gy, .mask = pass->masks[layer->output]);
    else
      FFB_EMIT(pass, ACTIVATE_GRADIENT, activate_gradient, .gx = gx, .gy = gy,
               .v = ffb_pass_values(pass, layer->activation == FFB_ACTIVATION_SILU ? layer->inputs[0] : layer->output),
               .kind = layer->activation);
  }
  give_gradient(pass, layer->inputs[0], gx);
}

/* ---- the other layers ----------------------------------------------------------------------------------------- */

static void backward_add(struct ffb_pass *pass, int number, const struct range *range) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  bool owned;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned);
  give_gradient(pass, layer->inputs[0], gy);
  if (wants_gradient(pass, range, layer->inputs[1]))
    give_gradient(pass, layer->inputs[1], gy);
}

static void backward_max_pool(struct ffb_pass *pass, int number, const struct range *range) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  bool owned;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned);
  if (!wants_gradient(pass, range, layer->inputs[0]))
    return;
  if (pass->traces[number].fused) { /* the normalisation takes the pooled map's */
    give_gradient(pass, layer->inputs[0], gy);
    return;
  }
  struct ffb_tensor *gx = ffb_emit_node(pass, FFB_TAG_GRADIENTS, layer->inputs[0]);
  FFB_EMIT(pass, MAX_POOL_GRADIENT, max_pool_gradient, .gx = gx, .gy = gy, .argmax = pass->traces[number].argmax,
           .window = layer->window);
  give_gradient(pass, layer->inputs[0], gx);
}

static void backward_average_pool(struct ffb_pass *pass, int number, const struct range *range) {
  int node = ffb_pass_layer(pass, number)->inputs[0];
  bool owned;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned);
  if (!wants_gradient(pass, range, node))
    return;
  bool accumulate = pass->gradients[node] && !is_shared(pass, node);
  struct ffb_tensor *gx = accumulate ? pass->gradients[node] : ffb_emit_node(pass, FFB_TAG_GRADIENTS, node);
  FFB_EMIT(pass, AVERAGE_POOL_GRADIENT, average_pool_gradient, .gx = gx, .gy = gy, .accumulate = accumulate);
  if (!accumulate)
    give_gradient(pass, node, gx);
}

static void backward_scale(struct ffb_pass *pass, int number, const struct range *range) {
  (void)range;
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  bool owned;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned);
  struct ffb_tensor *gx = owned ? gy : ffb_emit_node(pass, FFB_TAG_GRADIENTS, layer->inputs[0]);
  struct ffb_tensor *gscale = ffb_emit_node(pass, FFB_TAG_GRADIENTS, layer->inputs[1]);
  FFB_EMIT(pass, SCALE_CHANNELS_GRADIENT, scale_channels_gradient, .gx = gx, .gscale = gscale, .gy = gy,
           .x = ffb_pass_values(pass, layer->inputs[0]), .scale = ffb_pass_values(pass, layer->inputs[1]));
  give_gradient(pass, layer->inputs[0], gx);
  give_gradient(pass, layer->inputs[1], gscale);
}

static void backward_dropout(struct ffb_pass *pass, int number, const struct range *range) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  bool owned;
  struct ffb_tensor *gy = take_gradient(pass, number, &owned), *gx = gy;
  if (!wants_gradient(pass, range, layer->inputs[0]))
    return;
  if (pass->training && layer->rate > 0) {
    gx = owned ? gy : ffb_emit_node(pass, FFB_TAG_GRADIENTS, layer->inputs[0]);
    FFB_EMIT(pass, DROPOUT, dropout, .y = gx, .x = gy, .step = pass->parameters->step.step, .rate = layer->rate,
             .by_row = layer->by_row, .purpose = pass->traces[number].purpose, .seed = pass->parameters->seed);
  }
  give_gradient(pass, layer->inputs[0], gx);
}

bool ffb_pass_learns_from_goodness(const struct ffb_pass *pass, int layer) {
  return ffb_pass_layer(pass, layer)->kind == FFB_LAYER_MAX_POOL && pass->traces[layer].fused;
}

bool ffb_pass_multiplies_goodness(const struct ffb_pass *pass, int first, int count, int node) {
  for (int i = first; i < first + count; i++) {
    const struct ffb_layer *layer = ffb_pass_layer(pass, i);
    if (layer->output != node)
      continue;
    if (layer->kind == FFB_LAYER_BATCH_NORM)
      return !pass->traces[i].pool && quantising_layer(pass, i) >= 0 &&
             ffb_pass_has(pass, FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8);
    if (layer->kind == FFB_LAYER_ACTIVATION)
      return left_to_norm(pass, i) && ffb_pass_multiplies_goodness(pass, first, count, layer->inputs[0]);
    return layer->kind == FFB_LAYER_ADD && ffb_pass_multiplies_goodness(pass, first, count, layer->inputs[0]) &&
           ffb_pass_multiplies_goodness(pass, first, count, layer->inputs[1]);
  }
  return true; /* from outside: its gradient is not asked for */
}

typedef void backward_layer(struct ffb_pass *pass, int number, const struct range *range);
static backward_layer *const backward[] = {[FFB_LAYER_LINEAR] = backward_product,
                                           [FFB_LAYER_CONVOLUTION] = backward_product,
                                           [FFB_LAYER_BATCH_NORM] = backward_batch_norm,
                                           [FFB_LAYER_ACTIVATION] = backward_activation,
                                           [FFB_LAYER_ADD] = backward_add,
                                           [FFB_LAYER_MAX_POOL] = backward_max_pool,
                                           [FFB_LAYER_AVERAGE_POOL] = backward_average_pool,
                                           [FFB_LAYER_SCALE] = backward_scale,
                                           [FFB_LAYER_DROPOUT] = backward_dropout};

void ffb_pass_backward(struct ffb_pass *pass, int first, int count, bool update, bool input_gradient) {
  const struct range range = {.first = first, .end = first + count, .update = update, .input_gradient = input_gradient};
  for (int i = first + count - 1; i >= first && !pass->failed; i--)
    backward[ffb_pass_layer(pass, i)->kind](pass, i, &range);
}
