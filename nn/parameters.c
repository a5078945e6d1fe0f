#include "nn/parameters.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>

static const int64_t one[4] = {1, 1, 1, 1};

static struct ffb_tensor *make(struct ffb_parameters *p, int layer, const char *what, enum ffb_tag tag,
                               enum ffb_type type, const int64_t shape[4], struct ffb_error *error) {
  char name[FFB_NAME_BYTES + 32];
  snprintf(name, sizeof name, "%s.%s", p->network->layers[layer].name, what);
  return ffb_plan_persistent(p->plan, tag, type, name, shape, error);
}

static bool make_scalars(struct ffb_parameters *p, int layer, struct ffb_error *error) {
  const struct {
    bool wanted;
    struct ffb_tensor **place;
    const char *name;
  } scalars[] = {
      {p->precision.int8, &p->layers[layer].weight_scale, "weight_scale"},
      {p->precision.int8, &p->layers[layer].running, "input_maximum"},
      {p->precision.clip_search, &p->layers[layer].ratio, "gradient_ratio"},
      {p->precision.clip_search || p->precision.segments, &p->layers[layer].deviation, "gradient_deviation"},
      {p->precision.clip_search && p->precision.alpha > 0, &p->layers[layer].multiplier, "rate_multiplier"},
      {p->precision.segments, &p->layers[layer].exponent, "segment_exponent"},
  };
  for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
    if (scalars[i].wanted)
      *scalars[i].place = make(p, layer, scalars[i].name, FFB_TAG_QUANTISED, FFB_F32, one, error);
    if (scalars[i].wanted && !*scalars[i].place)
      return false;
  }
  /* INT8 weights mean nothing without their scale: a weight file holds both. */
  if (p->precision.int8_weights)
    p->layers[layer].weight_scale->tag = FFB_TAG_WEIGHTS;
  return true;
}

static void set_multiplier(struct ffb_update_rule *rule, struct ffb_tensor *multiplier) {
  rule->sgd.multiplier = multiplier;
  rule->adam.multiplier = multiplier;
}

/* What the optimiser changes: a tensor with its rule. */
static struct ffb_tensor *make_learnt(struct ffb_parameters *p, int layer, const char *what, enum ffb_type type,
                                      const int64_t shape[4], int dimensions, struct ffb_update_rule *rule,
                                      struct ffb_error *error) {
  struct ffb_tensor *tensor = make(p, layer, what, FFB_TAG_WEIGHTS, type, shape, error);
  if (!tensor || !ffb_update_rule_create(rule, p->plan, &p->optimiser, &p->step, tensor, error))
    return NULL;
  tensor->dimensions = dimensions;
  set_multiplier(rule, p->layers[layer].multiplier);
  return tensor;
}

/* Weights of a linear layer or a convolution, and the bias. */
static bool make_product(struct ffb_parameters *p, int number, struct ffb_error *error) {
  const struct ffb_layer *layer = &p->network->layers[number];
  struct ffb_layer_parameters *own = &p->layers[number];
  bool linear = layer->kind == FFB_LAYER_LINEAR, int8_only = p->precision.int8_weights;
  const int64_t matrix[4] = {layer->out_features, layer->in_features, 1, 1},
                kernels[4] = {layer->out_features, layer->window.kernel, layer->window.kernel,
                              linear ? 1 : layer->in_features / layer->groups},
                bias_shape[4] = {layer->out_features, 1, 1, 1};
  if (!make_scalars(p, number, error))
    return false;
  struct ffb_tensor *weights = make_learnt(p, number, "weight", int8_only ? FFB_S8 : FFB_F32, linear ? matrix : kernels,
                                           linear && !layer->convolution_file ? 2 : 4, &own->rule, error);
  if (!weights)
    return false;
  own->weight = int8_only ? NULL : weights;
  own->weight_q = int8_only ? weights : NULL;
  if (!layer->bias)
    return true;
  own->bias = make_learnt(p, number, "bias", FFB_F32, bias_shape, 1, &own->bias_rule, error);
  return own->bias != NULL;
}

static bool make_batch_norm(struct ffb_parameters *p, int number, struct ffb_error *error) {
  struct ffb_layer_parameters *own = &p->layers[number];
  const int64_t shape[4] = {p->network->layers[number].out_features, 1, 1, 1};
  own->weight = make_learnt(p, number, "weight", FFB_F32, shape, 1, &own->rule, error);
  own->bias = own->weight ? make_learnt(p, number, "bias", FFB_F32, shape, 1, &own->bias_rule, error) : NULL;
  if (!own->bias)
    return false;
  own->running_mean = make(p, number, "running_mean", FFB_TAG_WEIGHTS, FFB_F32, shape, error);
  own->running_variance = make(p, number, "running_var", FFB_TAG_WEIGHTS, FFB_F32, shape, error);
  if (!own->running_mean || !own->running_variance)
    return false;
  own->running_mean->dimensions = own->running_variance->dimensions = 1;
  return true;
}

static bool is_product(const struct ffb_layer *layer) {
  return layer->kind == FFB_LAYER_LINEAR || layer->kind == FFB_LAYER_CONVOLUTION;
}

/* The scales of the initial weights; with int8_weights also their rounding. */
static bool prepare_layer(struct ffb_parameters *p, int number, struct ffb_error *error) {
  struct ffb_layer_parameters *own = &p->layers[number];
  struct ffb_tensor *weights = own->weight;
  char name[FFB_NAME_BYTES + 16];
  if (!p->precision.int8)
    return true;
  snprintf(name, sizeof name, "prepare %s", p->network->layers[number].name);
  struct ffb_program *prepare = p->prepare[number] = ffb_program_create(p->plan, name, error);
  if (!prepare)
    return false;
  if (own->weight_q) {
    weights = ffb_plan_transient(prepare, FFB_TAG_WORKSPACE, FFB_F32, "initial", own->weight_q->shape, error);
    if (!weights)
      return false;
    ffb_program_input(prepare, weights);
    p->initial[number] = weights;
  }
  union ffb_arguments scale = {.suq_scale = {.scale = own->weight_scale, .x = weights}};
  if (!ffb_program_add(prepare, FFB_SUQ_SCALE, &scale, error))
    return false;
  if (!own->weight_q)
    return true;
  union ffb_arguments round = {.suq_quantise = {.q = own->weight_q, .x = weights, .scale = own->weight_scale}};
  return ffb_program_add(prepare, FFB_SUQ_QUANTISE, &round, error);
}

static bool make_layer(struct ffb_parameters *p, int number, struct ffb_error *error) {
  const struct ffb_layer *layer = &p->network->layers[number];
  if (is_product(layer))
    return make_product(p, number, error) && prepare_layer(p, number, error);
  return layer->kind != FFB_LAYER_BATCH_NORM || make_batch_norm(p, number, error);
}

static bool make_not_finite(struct ffb_parameters *p, struct ffb_error *error) {
  const int64_t shape[4] = {p->network->layer_count > 0 ? p->network->layer_count : 1, 1, 1, 1};
  p->not_finite = ffb_plan_persistent(p->plan, FFB_TAG_WORKSPACE, FFB_U32, "not_finite", shape, error);
  for (int i = 0; p->not_finite && i < p->network->layer_count; i++) {
    p->layers[i].not_finite = ffb_plan_view(p->plan, p->not_finite, i, one, error);
    if (!p->layers[i].not_finite)
      return false;
  }
  return p->not_finite != NULL;
}

bool ffb_parameters_create(struct ffb_parameters *p, struct ffb_plan *plan, const struct ffb_network *network,
                           const struct ffb_precision *precision, const struct ffb_optimiser_options *optimiser,
                           uint64_t seed, bool with_head, struct ffb_error *error) {
  *p = (struct ffb_parameters){
      .network = network, .plan = plan, .precision = *precision, .optimiser = *optimiser, .seed = seed};
  size_t layers = (size_t)network->layer_count;
  p->layers = ffb_allocate(layers, sizeof *p->layers, error);
  p->initial = ffb_allocate(layers, sizeof(struct ffb_tensor *), error);
  p->prepare = ffb_allocate(layers, sizeof(struct ffb_program *), error);
  if (!p->layers || !p->initial || !p->prepare || !ffb_step_scalars_create(&p->step, plan, error) ||
      !make_not_finite(p, error))
    return false;
  for (int i = 0; i < network->layer_count; i++) {
    bool wanted = with_head || !network->units[network->layers[i].unit].head;
    if (wanted && !make_layer(p, i, error))
      return false;
  }
  return true;
}

void ffb_parameters_destroy(struct ffb_parameters *parameters) {
  ffb_free(parameters->layers);
  ffb_free(parameters->initial);
  ffb_free(parameters->prepare);
  *parameters = (struct ffb_parameters){0};
}

/* ---- initial values --------------------------------------------------------------------------------------------- */

static void draw_uniform(float *values, int64_t count, double spread, uint64_t seed, uint32_t number) {
  float bound = (float)spread;
  for (int64_t i = 0; i < count; i++)
    values[i] = bound * (2 * ffb_random_uniform(seed, FFB_PURPOSE_INITIALISE, number, (uint64_t)i) - 1);
}

/* Two at a time, by Box and Muller (1958). */
static void draw_normal(float *values, int64_t count, double deviation, uint64_t seed, uint32_t number) {
  const double turn = 2 * 3.14159265358979323846;
  for (int64_t i = 0; i < count; i += 2) {
    double u = 1 - (double)ffb_random_uniform(seed, FFB_PURPOSE_INITIALISE, number, (uint64_t)i),
           angle = turn * ffb_random_uniform(seed, FFB_PURPOSE_INITIALISE, number, (uint64_t)i + 1),
           radius = deviation * sqrt(-2 * log(u));
    values[i] = (float)(radius * cos(angle));
    if (i + 1 < count)
      values[i + 1] = (float)(radius * sin(angle));
  }
}

static bool write_initial(struct ffb_parameters *p, struct ffb_tensor *tensor, const struct ffb_initial *initial,
                          uint32_t number, struct ffb_error *error) {
  int64_t count = ffb_elements(tensor);
  float *values = ffb_allocate((size_t)count, sizeof *values, error);
  if (!values)
    return false;
  if (initial->spread > 0)
    (initial->kind == FFB_INITIAL_NORMAL ? draw_normal : draw_uniform)(values, count, initial->spread, p->seed, number);
  bool good = ffb_tensor_write(p->plan, tensor, values, error);
  ffb_free(values);
  return good;
}

static bool write_constant(struct ffb_parameters *p, struct ffb_tensor *tensor, float value, struct ffb_error *error) {
  int64_t count = ffb_elements(tensor);
  float *values = ffb_allocate((size_t)count, sizeof *values, error);
  if (!values)
    return false;
  for (int64_t i = 0; i < count; i++)
    values[i] = value;
  bool good = ffb_tensor_write(p->plan, tensor, values, error);
  ffb_free(values);
  return good;
}

static bool initialise_layer(struct ffb_parameters *p, int number, struct ffb_error *error) {
  const struct ffb_layer *layer = &p->network->layers[number];
  struct ffb_layer_parameters *own = &p->layers[number];
  struct ffb_tensor *weights = p->initial[number] ? p->initial[number] : own->weight;
  if (!weights)
    return true;
  if (layer->kind == FFB_LAYER_BATCH_NORM)
    return write_constant(p, own->weight, 1, error) && write_constant(p, own->bias, 0, error) &&
           write_constant(p, own->running_mean, 0, error) && write_constant(p, own->running_variance, 1, error);
  return write_initial(p, weights, &layer->weight_initial, (uint32_t)(2 * number), error) &&
         (!own->bias || write_initial(p, own->bias, &layer->bias_initial, (uint32_t)(2 * number + 1), error)) &&
         (!p->prepare[number] || ffb_program_run(p->prepare[number], error));
}

bool ffb_parameters_initialise(struct ffb_parameters *p, struct ffb_error *error) {
  for (int i = 0; i < p->network->layer_count; i++) {
    if (!initialise_layer(p, i, error))
      return false;
  }
  return true;
}

bool ffb_parameters_prepare(struct ffb_parameters *p, struct ffb_error *error) {
  for (int i = 0; i < p->network->layer_count; i++) {
    if (p->prepare[i] && !p->initial[i] && !ffb_program_run(p->prepare[i], error))
      return false;
  }
  return true;
}

/* ---- divergence ------------------------------------------------------------------------------------------------- */

bool ffb_parameters_not_finite(struct ffb_parameters *p, int *layer, int64_t *step, struct ffb_error *error) {
  uint32_t *first = ffb_allocate((size_t)ffb_elements(p->not_finite), sizeof *first, error);
  bool good = first && ffb_tensor_read(p->plan, p->not_finite, first, error);
  *layer = -1;
  for (int i = 0; good && i < p->network->layer_count; i++) {
    if (first[i] && (*layer < 0 || first[i] < first[*layer]))
      *layer = i;
  }
  if (good && *layer >= 0)
    *step = (int64_t)first[*layer] - 1;
  ffb_free(first);
  return good;
}
