/* Weight gradients and updates of a pass. */
#include "nn/pass_parts.h"

/* ---- updates -------------------------------------------------------------------------------------------------- */

static void emit_rule(struct ffb_pass *pass, const struct ffb_update_rule *rule, struct ffb_tensor *gradient) {
  if (rule->kind == FFB_RULE_SGD)
    FFB_EMIT(pass, SGD_UPDATE, sgd_update, .rule = rule->sgd, .gradient = gradient);
  else
    FFB_EMIT(pass, ADAM_UPDATE, adam_update, .rule = rule->adam, .gradient = gradient);
}

/* The optimiser's update from an FP32 gradient; INT8-only weights are widened, updated and rounded again. */
static void emit_update(struct ffb_pass *pass, int number, struct ffb_tensor *gradient) {
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  struct ffb_update_rule rule = own->rule;
  struct ffb_tensor *weights = own->weight;
  if (own->weight_q) {
    weights = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_F32, "weight", own->weight_q->shape);
    FFB_EMIT(pass, DEQUANTISE, dequantise, .out = weights, .x = own->weight_q, .scale_a = own->weight_scale);
    rule.sgd.weights = rule.adam.weights = weights;
  }
  emit_rule(pass, &rule, gradient);
  if (own->weight_scale)
    FFB_EMIT(pass, SUQ_SCALE, suq_scale, .scale = own->weight_scale, .x = weights);
  if (own->weight_q)
    FFB_EMIT(pass, SUQ_QUANTISE, suq_quantise, .q = own->weight_q, .x = weights, .scale = own->weight_scale,
             .step = pass->parameters->step.step, .rounding = FFB_ROUND_STOCHASTIC,
             .purpose = ffb_pass_purpose(pass, FFB_STREAM_WEIGHT, number), .seed = pass->parameters->seed);
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
      emit_rule(pass, &ffb_pass_own(pass, update->layer)->bias_rule, update->bias_gradient);
  }
  pass->update_count = 0;
}

static void add_update(struct ffb_pass *pass, const struct ffb_pass_update *update) {
  if (pass->failed)
    return;
  pass->updates[pass->update_count++] = *update;
  if (!pass->parameters->precision.separate_update && !pass->totals)
    ffb_pass_update_all(pass);
}

/* ---- weight gradients ----------------------------------------------------------------------------------------- */

/* One product of the weight gradient: over FP32 operands, or over INT8 ones where gq is given. */
struct weight_product {
  struct ffb_tensor *gw, *gy;
  const struct ffb_quantised *gq;
  bool accumulate;
};

static void linear_product(struct ffb_pass *pass, int number, const struct weight_product *product) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  if (!product->gq) {
    FFB_EMIT(pass, GEMM_F32, gemm_f32, .c = product->gw, .a = product->gy, .b = pass->nodes[layer->inputs[0]],
             .transpose_a = true, .accumulate = product->accumulate);
    return;
  }
  struct ffb_quantised x = ffb_pass_input_q(pass, number);
  struct ffb_tensor *sum = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_S32, "sum",
                                           (int64_t[4]){layer->out_features, layer->in_features, 1, 1});
  FFB_EMIT(pass, GEMM_S8, gemm_s8, .c = sum, .a = product->gq->q, .b = x.q, .transpose_a = true);
  FFB_EMIT(pass, DEQUANTISE, dequantise, .out = product->gw, .x = sum, .scale_a = product->gq->scale,
           .scale_b = x.scale, .accumulate = product->accumulate);
}

static void convolution_product(struct ffb_pass *pass, int number, const struct weight_product *product) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  if (!product->gq) {
    FFB_EMIT(pass, CONVOLVE_WEIGHT_F32, convolve_weight_f32, .gw = product->gw, .gy = product->gy,
             .x = pass->nodes[layer->inputs[0]], .window = layer->window, .groups = layer->groups,
             .accumulate = product->accumulate);
    return;
  }
  struct ffb_quantised x = ffb_pass_input_q(pass, number);
  FFB_EMIT(pass, CONVOLVE_WEIGHT_S8, convolve_weight_s8, .gw = product->gw, .gy = product->gq->q, .x = x.q,
           .gy_scale = product->gq->scale, .x_scale = x.scale, .window = layer->window, .groups = layer->groups,
           .accumulate = product->accumulate);
}

static void weight_shape(const struct ffb_layer_parameters *own, int64_t shape[FFB_DIMENSIONS]) {
  const struct ffb_tensor *weight = own->weight ? own->weight : own->weight_q;
  for (int i = 0; i < FFB_DIMENSIONS; i++)
    shape[i] = weight->shape[i];
}

/* Where gradients are added up, the tensor that holds the total; made by the first pass of the step. */
static struct ffb_tensor *gradient_tensor(struct ffb_pass *pass, struct ffb_tensor **total,
                                          const int64_t shape[FFB_DIMENSIONS]) {
  if (total && *total)
    return *total;
  struct ffb_tensor *gradient = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "weight_gradient", shape);
  if (total)
    *total = gradient;
  return gradient;
}

/* Weight gradient in FP32; for INT8 operands the sum of each segment's product. */
static struct ffb_tensor *weight_gradient(struct ffb_pass *pass, int number, struct ffb_tensor *gy,
                                          const struct ffb_quantised_gradient *gq) {
  int64_t shape[FFB_DIMENSIONS];
  weight_shape(ffb_pass_own(pass, number), shape);
  struct weight_product product = {
      .gw = gradient_tensor(pass, pass->totals ? &pass->totals[number].weight : NULL, shape), .gy = gy};
  for (int i = 0; i < (gq->count ? gq->count : 1); i++) {
    product.gq = gq->count ? &gq->parts[i] : NULL;
    product.accumulate = i > 0 || pass->totals_filled;
    if (ffb_pass_layer(pass, number)->kind == FFB_LAYER_LINEAR)
      linear_product(pass, number, &product);
    else
      convolution_product(pass, number, &product);
  }
  return product.gw;
}

/* Adds a small gradient to its total, where there is one. */
static struct ffb_tensor *vector_total(struct ffb_pass *pass, struct ffb_tensor **total, struct ffb_tensor *gradient) {
  if (!total)
    return gradient;
  if (!*total)
    return *total = gradient;
  FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = *total, .a = *total, .b = gradient);
  return *total;
}

static struct ffb_quantised quantised_weight_gradient(struct ffb_pass *pass, int number, struct ffb_tensor *gw) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  int64_t shape[FFB_DIMENSIONS];
  struct ffb_suq_scale range = {.range = FFB_RANGE_ABSMAX};
  if (precision->gradient_range > 0)
    range = (struct ffb_suq_scale){.range = FFB_RANGE_FIXED, .fixed = precision->gradient_range};
  weight_shape(ffb_pass_own(pass, number), shape);
  struct ffb_quantiser quantiser = ffb_pass_quantiser(pass, range, shape, precision->weight_gradient_rounding,
                                                      ffb_pass_purpose(pass, FFB_STREAM_WEIGHT_GRADIENT, number));
  return ffb_emit_quantised(pass, &quantiser, gw);
}

/* ---- weight gradient and update in one ------------------------------------------------------------------------ */

static void emit_fused_f32(struct ffb_pass *pass, int number, struct ffb_tensor *gy) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  struct ffb_tensor *x = pass->nodes[layer->inputs[0]];
  const struct ffb_update_rule *rule = &ffb_pass_own(pass, number)->rule;
  if (layer->kind == FFB_LAYER_LINEAR)
    FFB_EMIT(pass, LINEAR_UPDATE_F32, linear_update_f32, .gy = gy, .x = x, .rule = *rule);
  else
    FFB_EMIT(pass, CONVOLVE_UPDATE_F32, convolve_update_f32, .gy = gy, .x = x, .rule = *rule, .window = layer->window,
             .groups = layer->groups);
}

static void emit_fused_s8(struct ffb_pass *pass, int number, const struct ffb_quantised *gq) {
  const struct ffb_layer *layer = ffb_pass_layer(pass, number);
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  struct ffb_quantised x = ffb_pass_input_q(pass, number);
  uint32_t purpose = ffb_pass_purpose(pass, FFB_STREAM_WEIGHT_GRADIENT, number);
  if (layer->kind == FFB_LAYER_LINEAR)
    FFB_EMIT(pass, LINEAR_UPDATE_S8, linear_update_s8, .gy = gq->q, .x = x.q, .gy_scale = gq->scale, .x_scale = x.scale,
             .quantise_gradient = precision->quantise_weight_gradient, .rounding = precision->weight_gradient_rounding,
             .step = pass->parameters->step.step, .purpose = purpose, .seed = pass->parameters->seed,
             .weight_scale = own->weight_scale, .rule = own->rule);
  else
    FFB_EMIT(pass, CONVOLVE_UPDATE_S8, convolve_update_s8, .gy = gq->q, .x = x.q, .gy_scale = gq->scale,
             .x_scale = x.scale, .window = layer->window, .groups = layer->groups,
             .quantise_gradient = precision->quantise_weight_gradient, .rounding = precision->weight_gradient_rounding,
             .step = pass->parameters->step.step, .purpose = purpose, .seed = pass->parameters->seed,
             .weight_scale = own->weight_scale, .rule = own->rule);
}

static bool emit_fused_update(struct ffb_pass *pass, int number, struct ffb_tensor *gy,
                              const struct ffb_quantised_gradient *gq) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  bool linear = ffb_pass_layer(pass, number)->kind == FFB_LAYER_LINEAR;
  bool fixed_range = precision->quantise_weight_gradient && precision->gradient_range > 0; /* the slot has none */
  if (precision->separate_update || precision->int8_weights || precision->segments || fixed_range || pass->totals)
    return false;
  /* Measured (ResNet-18, BP-GDAI8, one thread): a step without it 27 % longer, 111.4 MB in place of 99.9 planned. */
  if (!ffb_pass_has(pass, precision->int8 ? (linear ? FFB_LINEAR_UPDATE_S8 : FFB_CONVOLVE_UPDATE_S8)
                                          : (linear ? FFB_LINEAR_UPDATE_F32 : FFB_CONVOLVE_UPDATE_F32)))
    return false;
  if (precision->int8)
    emit_fused_s8(pass, number, &gq->parts[0]);
  else
    emit_fused_f32(pass, number, gy);
  return true;
}

/* ---- learning ------------------------------------------------------------------------------------------------- */

void ffb_pass_learn(struct ffb_pass *pass, int number, struct ffb_tensor *gy, const struct ffb_quantised_gradient *gq) {
  const struct ffb_precision *precision = &pass->parameters->precision;
  struct ffb_layer_parameters *own = ffb_pass_own(pass, number);
  struct ffb_pass_update update = {.layer = number};
  if (own->bias) {
    struct ffb_tensor *gradient = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "bias_gradient", own->bias->shape);
    FFB_EMIT(pass, BIAS_GRADIENT, bias_gradient, .out = gradient, .gradient = gy);
    update.bias_gradient = vector_total(pass, pass->totals ? &pass->totals[number].bias : NULL, gradient);
  }
  bool fused = emit_fused_update(pass, number, gy, gq);
  if (!fused) {
    update.gradient = weight_gradient(pass, number, gy, gq);
    if (precision->int8 && precision->quantise_weight_gradient && (!pass->totals || pass->totals_complete)) {
      update.gradient_q = quantised_weight_gradient(pass, number, update.gradient);
      update.gradient = NULL;
    }
  }
  if (!fused || own->bias)
    add_update(pass, &update);
}

void ffb_pass_learn_norm(struct ffb_pass *pass, int number, struct ffb_tensor *ggamma, struct ffb_tensor *gbeta) {
  struct ffb_gradient_total *total = pass->totals ? &pass->totals[number] : NULL;
  struct ffb_pass_update update = {.layer = number,
                                   .gradient = vector_total(pass, total ? &total->weight : NULL, ggamma),
                                   .bias_gradient = vector_total(pass, total ? &total->bias : NULL, gbeta)};
  add_update(pass, &update);
}
