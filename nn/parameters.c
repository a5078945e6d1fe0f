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
  return true;
}

static void set_multiplier(struct ffb_update_rule *rule, struct ffb_tensor *multiplier) {
  rule->sgd.multiplier = multiplier;
  rule->adam.multiplier = multiplier;
}

static bool make_layer(struct ffb_parameters *p, int number, struct ffb_error *error) {
  const struct ffb_layer *layer = &p->network->layers[number];
  struct ffb_layer_parameters *own = &p->layers[number];
  const int64_t shape[4] = {layer->out_features, layer->in_features, 1, 1},
                bias_shape[4] = {layer->out_features, 1, 1, 1};
  bool int8_only = p->precision.int8_weights;
  struct ffb_tensor *weights = make(p, number, "weight", FFB_TAG_WEIGHTS, int8_only ? FFB_S8 : FFB_F32, shape, error);
  if (!weights || !make_scalars(p, number, error))
    return false;
  own->weight = int8_only ? NULL : weights;
  own->weight_q = int8_only ? weights : NULL;
  if (!ffb_update_rule_create(&own->rule, p->plan, &p->optimiser, &p->step, weights, error))
    return false;
  set_multiplier(&own->rule, own->multiplier);
  if (!layer->bias)
    return true;
  own->bias = make(p, number, "bias", FFB_TAG_WEIGHTS, FFB_F32, bias_shape, error);
  if (!own->bias || !ffb_update_rule_create(&own->bias_rule, p->plan, &p->optimiser, &p->step, own->bias, error))
    return false;
  set_multiplier(&own->bias_rule, own->multiplier);
  return true;
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

bool ffb_parameters_create(struct ffb_parameters *p, struct ffb_plan *plan, const struct ffb_network *network,
                           const struct ffb_precision *precision, const struct ffb_optimiser_options *optimiser,
                           uint64_t seed, bool with_head, struct ffb_error *error) {
  *p = (struct ffb_parameters){
      .network = network, .plan = plan, .precision = *precision, .optimiser = *optimiser, .seed = seed};
  size_t layers = (size_t)network->layer_count;
  p->layers = ffb_allocate(layers, sizeof *p->layers, error);
  p->initial = ffb_allocate(layers, sizeof(struct ffb_tensor *), error);
  p->prepare = ffb_allocate(layers, sizeof(struct ffb_program *), error);
  if (!p->layers || !p->initial || !p->prepare || !ffb_step_scalars_create(&p->step, plan, error))
    return false;
  for (int i = 0; i < network->layer_count; i++) {
    bool wanted =
        network->layers[i].kind == FFB_LAYER_LINEAR && (with_head || !network->units[network->layers[i].unit].head);
    if (wanted && (!make_layer(p, i, error) || !prepare_layer(p, i, error)))
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

static bool write_uniform(struct ffb_parameters *p, struct ffb_tensor *tensor, uint32_t number, float bound,
                          struct ffb_error *error) {
  int64_t count = ffb_elements(tensor);
  float *values = ffb_allocate((size_t)count, sizeof *values, error);
  if (!values)
    return false;
  for (int64_t i = 0; i < count; i++)
    values[i] = bound * (2 * ffb_random_uniform(p->seed, FFB_PURPOSE_INITIALISE, number, (uint64_t)i) - 1);
  bool good = ffb_tensor_write(p->plan, tensor, values, error);
  ffb_free(values);
  return good;
}

bool ffb_parameters_initialise(struct ffb_parameters *p, struct ffb_error *error) {
  for (int i = 0; i < p->network->layer_count; i++) {
    struct ffb_tensor *weights = p->initial[i] ? p->initial[i] : p->layers[i].weight;
    if (!weights)
      continue;
    float bound = (float)(1 / sqrt((double)p->network->layers[i].in_features));
    if (!write_uniform(p, weights, (uint32_t)(2 * i), bound, error))
      return false;
    if (p->layers[i].bias && !write_uniform(p, p->layers[i].bias, (uint32_t)(2 * i + 1), bound, error))
      return false;
    if (p->prepare[i] && !ffb_program_run(p->prepare[i], error))
      return false;
  }
  return true;
}
