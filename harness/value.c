#include "harness/value.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *value_number(double value) {
  if (isfinite(value))
    return json_real(value);
  return json_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

double value_number_read(const json_t *value) {
  if (json_is_string(value))
    return strtod(json_string_value(value), NULL);
  return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

json_t *value_known(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

json_t *value_text(const char *text) {
  return *text ? json_string(text) : json_null();
}

const json_t *value_at(const json_t *object, const char *path) {
  for (;;) {
    char name[64];
    size_t length = strcspn(path, ".");
    snprintf(name, sizeof name, "%.*s", (int)length, path);
    object = json_object_get(object, name);
    if (!path[length])
      return object;
    path += length + 1;
  }
}

double value_number_at(const json_t *object, const char *path) {
  return json_number_value(value_at(object, path));
}

const char *value_text_at(const json_t *object, const char *path) {
  const char *text = json_string_value(value_at(object, path));
  return text ? text : "";
}

bool value_is_whole(unsigned long refused, const char *what, struct ffb_error *error) {
  return ffb_refused_allocations() == refused || ffb_fail(error, "out of memory for %s: close other programs", what);
}

static json_t *option_value(const struct ffb_option *option, const void *values) {
  const char *field = (const char *)values + option->offset;
  switch (option->type) {
  case FFB_OPTION_BOOLEAN:
    return json_boolean(*(const bool *)field);
  case FFB_OPTION_INTEGER:
    return json_integer(*(const int64_t *)(const void *)field);
  case FFB_OPTION_NUMBER:
    return value_number(*(const double *)(const void *)field);
  case FFB_OPTION_CHOICE:
    return json_string(option->choices[*(const int *)(const void *)field]);
  case FFB_OPTION_STRING: {
    const char *text = *(const char *const *)(const void *)field;
    return text ? json_string(text) : json_null();
  }
  }
  return NULL;
}

json_t *value_options(const struct ffb_option *table, const void *values) {
  json_t *object = json_object();
  for (const struct ffb_option *option = table; object && option && option->name; option++)
    if (json_object_set_new(object, option->name, option_value(option, values))) {
      json_decref(object);
      return NULL;
    }
  return object;
}

/* One element of a list: a whole number or a string. */
static bool element_text(const json_t *value, char *text, size_t size) {
  if (json_is_integer(value))
    return (size_t)snprintf(text, size, "%lld", (long long)json_integer_value(value)) < size;
  if (json_is_real(value) && json_real_value(value) == trunc(json_real_value(value)))
    return (size_t)snprintf(text, size, "%.0f", json_real_value(value)) < size;
  return json_is_string(value) && (size_t)snprintf(text, size, "%s", json_string_value(value)) < size;
}

static bool list_text(const json_t *list, char *text, size_t size) {
  size_t used = 0, index;
  json_t *value;
  text[0] = '\0';
  json_array_foreach(list, index, value) {
    if (index && used + 1 < size)
      text[used++] = ',';
    if (!element_text(value, text + used, size - used))
      return false;
    used += strlen(text + used);
  }
  return true;
}

static bool number_text(const json_t *value, char *text, size_t size) {
  if (json_is_string(value) && strstr(json_string_value(value), "inf"))
    return (size_t)snprintf(text, size, "%s", json_string_value(value)) < size;
  return json_is_number(value) && (size_t)snprintf(text, size, "%.17g", json_number_value(value)) < size;
}

bool value_option_text(const struct ffb_option *option, const json_t *value, const char *owner, char *text, size_t size,
                       struct ffb_error *error) {
  static const char *const expected[] = {[FFB_OPTION_BOOLEAN] = "true or false",
                                         [FFB_OPTION_INTEGER] = "a whole number",
                                         [FFB_OPTION_NUMBER] = "a number",
                                         [FFB_OPTION_CHOICE] = "one of its names, in quotes",
                                         [FFB_OPTION_STRING] = "a text in quotes, or a list of whole numbers"};
  bool good = false;
  switch (option->type) {
  case FFB_OPTION_BOOLEAN:
    good = json_is_boolean(value) && (size_t)snprintf(text, size, "%s", json_is_true(value) ? "true" : "false") < size;
    break;
  case FFB_OPTION_INTEGER:
    good = !json_is_string(value) && element_text(value, text, size);
    break;
  case FFB_OPTION_NUMBER:
    good = number_text(value, text, size);
    break;
  case FFB_OPTION_CHOICE:
    good = json_is_string(value) && element_text(value, text, size);
    break;
  case FFB_OPTION_STRING:
    good = json_is_array(value) ? list_text(value, text, size) : element_text(value, text, size);
    break;
  }
  return good ||
         ffb_fail_usage(error, "%s: %s takes %s: %s", owner, option->name, expected[option->type], option->help);
}
