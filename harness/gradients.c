#include "harness/gradients.h"

#include "base/memory.h"
#include "harness/distribution.h"
#include "harness/meters/clock.h"
#include "harness/value.h"

#include <math.h>
#include <string.h>

/* ---- layers ----------------------------------------------------------------------------------------------------- */

static size_t weights_of(const struct ffb_network *network, int layer) {
  return (size_t)ffb_layer_weights(&network->layers[layer]);
}

static bool choose_by_name(struct assembly *assembly, const char *name, struct ffb_error *error) {
  const struct ffb_network *network = &assembly->network;
  const char **names = ffb_allocate((size_t)network->layer_count, sizeof *names, error);
  if (!names)
    return false;
  size_t count = 0;
  bool found = false;
  for (int i = 0; i < network->layer_count && !found; i++) {
    if (!weights_of(network, i))
      continue;
    names[count++] = network->layers[i].name;
    found = strcmp(network->layers[i].name, name) == 0;
    assembly->gradient_layers[i] |= found;
  }
  const char *nearest = found ? NULL : ffb_nearest_name(name, names, count);
  if (!found)
    ffb_fail_usage(error, "gradient_layers: %s has no weights called \"%.100s\"%s%s%s", network->model, name,
                   nearest ? ": did you mean " : ": take first, all, or names such as ", nearest ? nearest : names[0],
                   nearest ? "?" : "");
  ffb_free(names);
  return found;
}

static bool choose_by_names(struct assembly *assembly, const char *names, struct ffb_error *error) {
  char *copy = ffb_copy_string(names, error), *rest = copy;
  bool ok = copy != NULL;
  for (const char *name = ok ? strtok_r(copy, ",", &rest) : NULL; ok && name; name = strtok_r(NULL, ",", &rest))
    ok = choose_by_name(assembly, name, error);
  ffb_free(copy);
  return ok;
}

static void choose_first(struct assembly *assembly, bool all) {
  bool chosen = false;
  for (int i = 0; i < assembly->network.layer_count && (all || !chosen); i++)
    chosen |= assembly->gradient_layers[i] = weights_of(&assembly->network, i) > 0;
}

bool gradients_choose(struct assembly *assembly, const struct run_config *config, struct ffb_error *error) {
  const char *layers = config->gradient_layers;
  int64_t records = assembly->loader.split.train_count;
  bool all = strcmp(layers, "all") == 0;
  if (config->gradient_statistics == 0)
    return true;
  if (!assembly->parts.trainer->gradient)
    return ffb_fail_usage(error,
                          "%s cannot give the gradients of its weights (it has no hook gradient): leave "
                          "--gradient-statistics out, or take --algorithm bp_fp32",
                          assembly->parts.trainer->name);
  assembly->gradient_layers = ffb_allocate((size_t)assembly->network.layer_count, sizeof(bool), error);
  if (!assembly->gradient_layers)
    return false;
  if (all || strcmp(layers, "first") == 0)
    choose_first(assembly, all);
  else if (!choose_by_names(assembly, layers, error))
    return false;
  assembly->setup.gradient_layers = assembly->gradient_layers;
  assembly->setup.gradient_records = config->gradient_statistics < records ? config->gradient_statistics : records;
  return true;
}

/* ---- the gradient ----------------------------------------------------------------------------------------------- */

/* By layer, null where it is not asked for. */
struct sums {
  float **batch;  /* of one batch */
  double **total; /* over all records, each weighing the same */
};

static void free_sums(struct sums *sums, int layers) {
  for (int i = 0; i < layers; i++) {
    if (sums->batch)
      ffb_free(sums->batch[i]);
    if (sums->total)
      ffb_free(sums->total[i]);
  }
  ffb_free(sums->batch);
  ffb_free(sums->total);
}

static bool make_sums(struct sums *sums, const struct assembly *assembly, struct ffb_error *error) {
  const struct ffb_network *network = &assembly->network;
  *sums = (struct sums){.batch = ffb_allocate((size_t)network->layer_count, sizeof(float *), error),
                        .total = ffb_allocate((size_t)network->layer_count, sizeof(double *), error)};
  bool ok = sums->batch && sums->total;
  for (int i = 0; ok && i < network->layer_count; i++) {
    if (!assembly->gradient_layers[i])
      continue;
    sums->batch[i] = ffb_allocate(weights_of(network, i), sizeof(float), error);
    sums->total[i] = ffb_allocate(weights_of(network, i), sizeof(double), error);
    ok = sums->batch[i] && sums->total[i];
  }
  return ok;
}

static bool add_batch(struct assembly *assembly, const struct sums *sums, int64_t first, struct ffb_error *error) {
  const struct ffb_network *network = &assembly->network;
  struct loader *loader = &assembly->loader;
  struct ffb_batch batch;
  const int32_t *labels;
  loader_predict(loader, &assembly->data->train, loader->split.train, assembly->setup.gradient_records, first, &batch,
                 &labels);
  batch.labels = labels;
  if (!assembly->parts.trainer->gradient(assembly->state, &batch, sums->batch, error))
    return false;
  for (int i = 0; i < network->layer_count; i++)
    for (size_t k = 0; sums->batch[i] && k < weights_of(network, i); k++)
      sums->total[i][k] += (double)sums->batch[i][k] * (double)batch.rows;
  return true;
}

/* The gradient of the mean loss over all records, in the place of the last batch's. */
static bool take_gradient(struct assembly *assembly, struct sums *sums, struct ffb_error *error) {
  const struct ffb_network *network = &assembly->network;
  int64_t records = assembly->setup.gradient_records;
  bool ok = make_sums(sums, assembly, error);
  for (int64_t first = 0; ok && first < records; first += assembly->setup.batch)
    ok = add_batch(assembly, sums, first, error);
  for (int i = 0; ok && i < network->layer_count; i++)
    for (size_t k = 0; sums->batch[i] && k < weights_of(network, i); k++)
      sums->batch[i][k] = (float)(sums->total[i][k] / (double)records);
  return ok;
}

/* ---- the record's entry ----------------------------------------------------------------------------------------- */

static json_t *histogram_json(const struct distribution *d) {
  json_t *counts = json_array();
  for (size_t i = 0; i < DISTRIBUTION_BINS; i++)
    json_array_append_new(counts, json_integer((json_int_t)d->bins[i]));
  return json_pack("{s:o, s:I, s:o}", "limit", value_number(d->limit), "outside", (json_int_t)d->outside, "counts",
                   counts);
}

static json_t *layer_json(const char *name, const struct distribution *d) {
  size_t others = d->values - d->zeros;
  bool known = !d->not_finite && others > 0;
  double share = known ? (double)d->rounded_to_zero / (double)others : (double)NAN;
  return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "layer", name, "values",
                   (json_int_t)d->values, "zeros", (json_int_t)d->zeros, "not_finite", (json_int_t)d->not_finite,
                   "mean", value_number(d->mean), "deviation", value_number(d->deviation), "minimum",
                   value_number(d->minimum), "maximum", value_number(d->maximum), "median_absolute",
                   value_number(d->median_absolute), "kurtosis", value_number(d->kurtosis), "largest_over_median",
                   value_number(d->largest_over_median), "int8_zero_share", value_number(share), "histogram",
                   histogram_json(d));
}

static json_t *layers_json(const struct assembly *assembly, const struct sums *sums, double limit,
                           struct ffb_error *error) {
  const struct ffb_network *network = &assembly->network;
  json_t *layers = json_array();
  if (!layers)
    ffb_fail(error, "out of memory for the statistics of gradients: close other programs");
  for (int i = 0; layers && i < network->layer_count; i++) {
    struct distribution distribution;
    if (!sums->batch[i])
      continue;
    if (!distribution_of(sums->batch[i], weights_of(network, i), limit, &distribution, error)) {
      json_decref(layers);
      return NULL;
    }
    json_array_append_new(layers, layer_json(network->layers[i].name, &distribution));
  }
  return layers;
}

json_t *gradients_measure(struct assembly *assembly, const struct run_config *config, int64_t epoch,
                          struct ffb_error *error) {
  struct sums sums;
  double start = meter_clock_seconds();
  bool ok = take_gradient(assembly, &sums, error);
  json_t *layers = ok ? layers_json(assembly, &sums, config->histogram_range, error) : NULL, *entry = NULL;
  free_sums(&sums, assembly->network.layer_count);
  if (layers)
    entry = json_pack("{s:I, s:I, s:f, s:o}", "epoch", (json_int_t)epoch, "records",
                      (json_int_t)assembly->setup.gradient_records, "seconds", meter_clock_seconds() - start, "layers",
                      layers);
  if (layers && !entry)
    ffb_fail(error, "out of memory for the statistics of gradients: close other programs");
  return entry;
}
