/* What a report relies on in a record, which may be of anybody's making. */
#include "harness/record.h"

#include <stdio.h>
#include <string.h>

enum { TEXT = 1, NUMBER = 2, BOOLEAN = 4, OBJECT = 8, LIST = 16 };

/* [] stands for each element of a list, {} for each member of an object. */
static const struct shape {
  const char *path;
  int types;
  bool required;
} shapes[] = {
    {"status", TEXT, true},
    {"profile", TEXT, false},
    {"command", TEXT, false},
    {"weights_sha256", TEXT, false},
    {"config", OBJECT, true},
    {"config.options", OBJECT, false},
    {"config.model_options", OBJECT, false},
    {"config.seed", NUMBER, false},
    {"config.epochs", NUMBER, false},
    {"config.batch", NUMBER, false},
    {"config.{}", TEXT | NUMBER | BOOLEAN | OBJECT, false},
    {"dataset", OBJECT, true},
    {"dataset.{}", TEXT | NUMBER | BOOLEAN | LIST, false},
    {"model", OBJECT, true},
    {"model.{}", TEXT | NUMBER, false},
    {"accuracy", OBJECT, true},
    {"accuracy.{}", TEXT | NUMBER, false},
    {"epochs", LIST, true},
    {"epochs[]", OBJECT, true},
    {"epochs[].epoch", NUMBER, false},
    {"epochs[].{}", TEXT | NUMBER, false},
    {"gradients", LIST, false},
    {"gradients[]", OBJECT, true},
    {"gradients[].epoch", NUMBER, true},
    {"gradients[].layers", LIST, true},
    {"gradients[].layers[]", OBJECT, true},
    {"gradients[].layers[].layer", TEXT, true},
    {"gradients[].layers[].histogram", OBJECT, false},
    {"gradients[].layers[].histogram.limit", NUMBER | TEXT, false},
    {"gradients[].layers[].histogram.counts", LIST, true},
    {"gradients[].layers[].histogram.counts[]", NUMBER, true},
    {"diverged", OBJECT, false},
    {"diverged.{}", TEXT | NUMBER, false},
    {"time", OBJECT, true},
    {"time.epoch_seconds", LIST, false},
    {"time.step_seconds", OBJECT, false},
    {"memory", OBJECT, true},
    {"memory.peak_bytes_by_tag", OBJECT, false},
    {"memory.peak_bytes_by_tag.{}", NUMBER, true},
    {"memory.resident_reason", TEXT, false},
    {"memory.cgroup_reason", TEXT, false},
    {"memory.device", OBJECT, false},
    {"energy", OBJECT, false},
    {"energy.source", TEXT, false},
    {"energy.rail", TEXT, false},
    {"energy.reason", TEXT, false},
    {"energy.second", OBJECT, false},
    {"operations", OBJECT, true},
    {"operations.programs", OBJECT, false},
    {"operations.programs.{}", OBJECT, true},
    {"operations.programs.{}.{}", NUMBER, true},
    {"operations.executed", OBJECT, false},
    {"operations.executed.{}", OBJECT, true},
    {"operations.executed.{}.{}", NUMBER, true},
    {"provenance", OBJECT, true},
    {"provenance.commit", TEXT, false},
    {"provenance.started", TEXT, false},
    {"provenance.finished", TEXT, false},
    {"provenance.threads", NUMBER, false},
    {"provenance.machine", OBJECT, false},
    {"provenance.machine.processor", TEXT, false},
    {"provenance.conditions", OBJECT, false},
    {"provenance.conditions.power_mode", TEXT, false},
    {"provenance.conditions.throttled_by", TEXT, false},
    {"provenance.backend", OBJECT, false},
    {"provenance.backend.{}", TEXT, false},
};

static int type_of(const json_t *value) {
  switch (json_typeof(value)) {
  case JSON_STRING:
    return TEXT;
  case JSON_INTEGER:
  case JSON_REAL:
    return NUMBER;
  case JSON_TRUE:
  case JSON_FALSE:
    return BOOLEAN;
  case JSON_OBJECT:
    return OBJECT;
  case JSON_ARRAY:
    return LIST;
  default:
    return 0;
  }
}

static bool fits(const json_t *value, const char *path, const struct shape *shape) {
  const char *key;
  json_t *member;
  size_t index;
  bool good = true;
  if (*path == '.')
    path++;
  if (!*path)
    return !value || json_is_null(value) ? !shape->required : (type_of(value) & shape->types) != 0;
  if (strncmp(path, "[]", 2) == 0) {
    json_array_foreach((json_t *)value, index, member) good = good && fits(member, path + 2, shape);
    return good;
  }
  if (strncmp(path, "{}", 2) == 0) {
    json_object_foreach((json_t *)value, key, member) good = good && fits(member, path + 2, shape);
    return good;
  }
  size_t length = strcspn(path, ".[");
  char name[32];
  snprintf(name, sizeof name, "%.*s", (int)length, path);
  /* What is not there has no members that could be wrong. */
  return !json_is_object(value) || fits(json_object_get(value, name), path + length, shape);
}

bool record_is_sound(const json_t *record, char *wrong, size_t size) {
  snprintf(wrong, size, "it is no object");
  if (!json_is_object(record))
    return false;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    if (!fits(record, shapes[i].path, &shapes[i])) {
      snprintf(wrong, size, "%s is not what it should be", shapes[i].path);
      return false;
    }
  return true;
}
