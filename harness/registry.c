#include "harness/registry.h"

#include "base/memory.h"
#include "datasets/dataset.h"
#include "harness/plugin.h"
#include "harness/run.h"
#include "harness/value.h"
#include "models/models.h"

#include <math.h>
#include <string.h>

static json_t *option_json(const struct ffb_option *option) {
  static const char *const types[] = {
      [FFB_OPTION_BOOLEAN] = "boolean", [FFB_OPTION_INTEGER] = "integer", [FFB_OPTION_NUMBER] = "number",
      [FFB_OPTION_CHOICE] = "choice",   [FFB_OPTION_STRING] = "string",
  };
  json_t *object = json_pack("{s:s, s:s, s:s?, s:s?}", "name", option->name, "type", types[option->type], "default",
                             option->initial, "help", option->help);
  if (option->type == FFB_OPTION_INTEGER || option->type == FFB_OPTION_NUMBER) {
    if (isfinite(option->minimum))
      json_object_set_new(object, "minimum", json_real(option->minimum));
    if (isfinite(option->maximum))
      json_object_set_new(object, "maximum", json_real(option->maximum));
  }
  if (option->type == FFB_OPTION_CHOICE) {
    json_t *choices = json_array();
    for (const char *const *choice = option->choices; choice && *choice; choice++)
      json_array_append_new(choices, json_string(*choice));
    json_object_set_new(object, "choices", choices);
  }
  return object;
}

static json_t *options_json(const struct ffb_option *table) {
  json_t *options = json_array();
  for (; table && table->name; table++)
    json_array_append_new(options, option_json(table));
  return options;
}

/* The options of a run. An experiment trains: --epochs 0, which only evaluates, is for the command line. */
static json_t *run_options_json(void) {
  json_t *options = options_json(run_options), *option;
  size_t i;
  json_array_foreach(options, i, option) {
    const char *name = json_string_value(json_object_get(option, "name"));
    if (name && strcmp(name, "epochs") == 0)
      json_object_set_new(option, "minimum", json_real(1));
  }
  return options;
}

static void add_trainer(void *to, const char *path, const struct ffb_trainer *trainer, const char *problem) {
  (void)path;
  (void)problem;
  if (trainer)
    json_array_append_new(to, json_pack("{s:s, s:s?, s:o}", "name", trainer->name, "description", trainer->description,
                                        "options", options_json(trainer->options)));
}

json_t *registry_json(struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  json_t *algorithms = json_array(), *models = json_array(), *datasets = json_array();
  if (!plugin_each(add_trainer, algorithms, error)) {
    json_decref(algorithms);
    json_decref(models);
    json_decref(datasets);
    return NULL;
  }
  const struct ffb_model *model;
  for (size_t i = 0; (model = ffb_model_at(i)); i++)
    json_array_append_new(models, json_pack("{s:s, s:s?, s:o}", "name", model->name, "description", model->description,
                                            "options", options_json(model->options)));
  const struct ffb_dataset_kind *dataset;
  for (size_t i = 0; (dataset = ffb_dataset_at(i)); i++)
    json_array_append_new(datasets, json_pack("{s:s, s:s?, s:b, s:s?}", "name", dataset->name, "description",
                                              dataset->description, "synthetic", dataset->synthetic, "fallback",
                                              dataset->fallback));
  json_t *registry = json_pack("{s:o, s:o, s:o, s:o}", "algorithms", algorithms, "models", models, "datasets", datasets,
                               "run", run_options_json());
  if (value_is_whole(refused, "the list of options", error))
    return registry;
  json_decref(registry);
  return NULL;
}
