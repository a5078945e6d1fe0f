#include "harness/parts.h"

#include "base/memory.h"
#include "harness/plugin.h"

#include <string.h>

enum { NAMES = 64 };

const char parts_model_prefix[] = "model.";

const struct ffb_trainer *parts_trainer(const struct run_config *config, struct ffb_error *error) {
  if (!config->plugin && !config->algorithm) {
    ffb_fail_usage(error, "no algorithm is named: say --algorithm NAME; \"ffbench list algorithms\" shows all");
    return NULL;
  }
  if (!config->plugin)
    return plugin_find(config->algorithm, error);
  const struct ffb_trainer *trainer = plugin_open(config->plugin, error);
  if (trainer && config->algorithm && strcmp(config->algorithm, trainer->name) != 0) {
    ffb_fail_usage(error, "plugin %s holds the algorithm %s, not %s: leave --algorithm out", config->plugin,
                   trainer->name, config->algorithm);
    return NULL;
  }
  return trainer;
}

/* "no model "mpl": did you mean mlp? ..." */
static void unknown(const char *what, const char *name, const char *const *names, size_t count,
                    struct ffb_error *error) {
  const char *nearest = ffb_nearest_name(name, names, count);
  ffb_fail_usage(error, "no %s \"%s\": %s%s%s\"ffbench list %ss\" shows all", what, name,
                 nearest ? "did you mean " : "", nearest ? nearest : "", nearest ? "? " : "", what);
}

const struct ffb_model *parts_model(const struct run_config *config, struct ffb_error *error) {
  const struct ffb_model *model = ffb_model_find(config->model);
  const char *names[NAMES];
  size_t count = 0;
  if (model)
    return model;
  while (count < NAMES && ffb_model_at(count)) {
    names[count] = ffb_model_at(count)->name;
    count++;
  }
  unknown("model", config->model, names, count, error);
  return NULL;
}

static const struct ffb_dataset_kind *find_dataset(const char *name, struct ffb_error *error) {
  const struct ffb_dataset_kind *kind = ffb_dataset_find(name);
  const char *names[NAMES];
  size_t count = 0;
  if (kind)
    return kind;
  while (count < NAMES && ffb_dataset_at(count)) {
    names[count] = ffb_dataset_at(count)->name;
    count++;
  }
  unknown("dataset", name, names, count, error);
  return NULL;
}

static const struct ffb_backend *find_backend(const char *name, struct ffb_error *error) {
  const struct ffb_backend *backend = name ? ffb_backend_find(name) : ffb_backend_default();
  const char *names[NAMES];
  size_t count = 0;
  if (backend)
    return backend;
  while (count < NAMES && ffb_backend_at(count)) {
    names[count] = ffb_backend_at(count)->name;
    count++;
  }
  if (name && ffb_backend_problem(name))
    ffb_fail(error, "the backend %s cannot be used here: %s; or choose another with --backend", name,
             ffb_backend_problem(name));
  else
    unknown("backend", name ? name : "", names, count, error);
  return NULL;
}

static bool fill(void **values, const struct ffb_option *table, size_t size, struct ffb_error *error) {
  *values = table ? ffb_allocate(1, size, error) : NULL;
  return !table || (*values && ffb_options_default(table, *values, error));
}

static bool set_one(struct parts *parts, const char *name, const char *text, struct ffb_error *error) {
  size_t prefix = strlen(parts_model_prefix);
  bool of_model = strncmp(name, parts_model_prefix, prefix) == 0;
  const char *owner = of_model ? parts->model->name : parts->trainer->name;
  const struct ffb_option *table = of_model ? parts->model->options : parts->trainer->options;
  if (!table)
    return ffb_fail_usage(error, "%s has no options: leave --set %s out", owner, name);
  return ffb_option_set(table, of_model ? parts->model_options : parts->trainer_options, owner,
                        of_model ? name + prefix : name, text, error);
}

static bool set_all(struct parts *parts, json_t *set, struct ffb_error *error) {
  const char *name;
  json_t *text;
  json_object_foreach(set, name, text) if (!set_one(parts, name, json_string_value(text), error)) return false;
  return true;
}

bool parts_find(struct parts *parts, const struct run_config *config, struct ffb_error *error) {
  *parts = (struct parts){0};
  bool ok = (parts->trainer = parts_trainer(config, error)) && (parts->model = parts_model(config, error)) &&
            (parts->backend = find_backend(config->backend, error)) && plugin_remember_backend(parts->backend, error) &&
            (parts->dataset = find_dataset(config->dataset, error)) &&
            fill(&parts->trainer_options, parts->trainer->options, parts->trainer->options_size, error) &&
            fill(&parts->model_options, parts->model->options, parts->model->options_size, error) &&
            set_all(parts, config->set, error);
  if (!ok)
    parts_release(parts);
  return ok;
}

void parts_release(struct parts *parts) {
  if (parts->trainer && parts->trainer_options)
    ffb_options_clear(parts->trainer->options, parts->trainer_options);
  if (parts->model && parts->model_options)
    ffb_options_clear(parts->model->options, parts->model_options);
  ffb_free(parts->trainer_options);
  ffb_free(parts->model_options);
  *parts = (struct parts){0};
}
