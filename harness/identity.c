#include "harness/identity.h"

#include "base/sha256.h"
#include "harness/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char identity_loaded_key[] = "loaded_weights_sha256";

enum { NAME_BYTES = 160, DIGITS = 12 };

static void add_text(struct ffb_sha256 *hash, const char *text) {
  ffb_sha256_add(hash, text, strlen(text) + 1);
}

/* Paths say where things lie, and the names are part of what is hashed already. */
static bool is_place(const char *name) {
  static const char *const places[] = {"data", "plugin", "backend", "model", "algorithm", "dataset", "load_weights"};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (strcmp(name, places[i]) == 0)
      return true;
  return false;
}

static void add_changed(struct ffb_sha256 *hash, const char *prefix, const struct ffb_option *table,
                        const void *values) {
  for (const struct ffb_option *option = table; option && option->name; option++) {
    char value[FFB_OPTION_TEXT_BYTES];
    if ((table == run_options && is_place(option->name)) || !ffb_option_changed(option, values) ||
        !ffb_option_text(option, values, value, sizeof value))
      continue;
    add_text(hash, prefix);
    add_text(hash, option->name);
    add_text(hash, value);
  }
}

bool identity_name(const struct run_config *config, const struct parts *parts, const struct ffb_dataset_pair *data,
                   char *name, size_t size, struct ffb_error *error) {
  struct ffb_sha256 hash;
  char versions[64], text[FFB_SHA256_TEXT], weights[FFB_SHA256_TEXT];
  if (config->load_weights && !file_sha256(config->load_weights, weights, error))
    return false;
  snprintf(versions, sizeof versions, "%d %u", IDENTITY_ENGINE_VERSION, (unsigned)parts->trainer->result_version);
  ffb_sha256_begin(&hash);
  add_text(&hash, versions);
  add_text(&hash, parts->model->name);
  add_text(&hash, parts->trainer->name);
  add_text(&hash, parts->backend->name);
  add_text(&hash, data->sha256);
  add_changed(&hash, "run", run_options, config);
  add_changed(&hash, "trainer", parts->trainer->options, parts->trainer_options);
  add_changed(&hash, "model", parts->model->options, parts->model_options);
  if (config->load_weights)
    add_text(&hash, weights);
  ffb_sha256_text(&hash, text);
  snprintf(name, size, "%s-%s-%s-s%lld-%.*s", parts->model->name, parts->trainer->name, parts->dataset->name,
           (long long)config->seed, DIGITS, text);
  return true;
}

json_t *identity_json(const struct run_config *config, const struct parts *parts, const struct ffb_dataset_pair *data,
                      int threads, struct ffb_error *error) {
  char weights[FFB_SHA256_TEXT] = "";
  if (config->load_weights && !file_sha256(config->load_weights, weights, error))
    return NULL;
  json_t *object = run_config_json(config, error);
  if (!object)
    return NULL;
  json_object_del(object, "data");
  json_object_del(object, "plugin");
  json_object_del(object, "load_weights");
  /* The best there is, where that is not what it was when checkpoints did not say: others' bits are not its own. */
  if (!config->backend && strcmp(parts->backend->name, "cpu") != 0)
    json_object_set_new(object, "backend", json_string(parts->backend->name));
  /* They change no weights, or did not exist: checkpoints without them stay good. */
  if (!config->test_by_epoch)
    json_object_del(object, "test_by_epoch");
  if (!config->measure_peaks)
    json_object_del(object, "measure_peaks");
  if (!config->tf32)
    json_object_del(object, "tf32");
  if ((!config->load_weights || !json_object_set_new(object, identity_loaded_key, json_string(weights))) &&
      !json_object_set_new(object, "threads", json_integer(threads)) &&
      !json_object_set_new(object, "dataset_sha256", json_string(data->sha256)) &&
      !json_object_set_new(object, "engine_version", json_integer(IDENTITY_ENGINE_VERSION)) &&
      !json_object_set_new(object, "trainer_version", json_integer((json_int_t)parts->trainer->result_version)))
    return object;
  json_decref(object);
  ffb_fail(error, "out of memory for the run's identity: close other programs");
  return NULL;
}

static void describe(const char *key, const json_t *there, const json_t *here, char *text, size_t size) {
  char *mine = here ? json_dumps(here, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10)) : NULL;
  char *other = there ? json_dumps(there, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10)) : NULL;
  snprintf(text, size, "%s is %.80s there and %.80s here", key, other ? other : "absent", mine ? mine : "absent");
  free(mine);
  free(other);
}

/* Of two objects that differ in nothing that is here: what is there alone. */
static void describe_extra(const json_t *there, const json_t *here, const char *within, char *text, size_t size) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)there, key, value) {
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", within, key);
    if (!json_object_get(here, key))
      describe(name, value, NULL, text, size);
  }
}

/* `within` stands in front of the names: "options.". */
static bool same(const json_t *there, const json_t *here, const char *within, char *text, size_t size) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)here, key, value) {
    const json_t *other = json_object_get(there, key);
    if (json_equal(value, other))
      continue;
    char name[NAME_BYTES];
    bool nested = json_is_object(value) && json_is_object(other);
    snprintf(name, sizeof name, "%s%s%s", within, key, nested ? "." : "");
    if (nested && !same(other, value, name, text, size))
      return false;
    if (nested)
      describe_extra(other, value, name, text, size);
    else
      describe(name, other, value, text, size);
    return false;
  }
  return true;
}

bool identity_same(const json_t *there, const json_t *here, char *text, size_t size) {
  return same(there, here, "", text, size);
}
