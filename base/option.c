#include "base/option.h"

#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_BYTES = 64, LONGEST_NAME = 63, NO_DISTANCE = 1000 };

/* ---- the nearest name --------------------------------------------------------------------------------------- */

static int folded(char letter) {
  return letter == '-' ? '_' : tolower((unsigned char)letter);
}

static int least(int a, int b) {
  return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap neighbours) from a to b. */
static int edit_distance(const char *a, const char *b) {
  size_t a_length = strlen(a), b_length = strlen(b);
  if (a_length > LONGEST_NAME || b_length > LONGEST_NAME)
    return NO_DISTANCE;
  int rows[3][LONGEST_NAME + 1];
  int *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= b_length; j++)
    above[j] = (int)j;
  for (size_t i = 1; i <= a_length; i++) {
    row[0] = (int)i;
    for (size_t j = 1; j <= b_length; j++) {
      bool same = folded(a[i - 1]) == folded(b[j - 1]);
      row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + !same);
      bool swapped = i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1]);
      if (swapped)
        row[j] = least(row[j], before[j - 2] + 1);
    }
    int *spent = before;
    before = above;
    above = row;
    row = spent;
  }
  return above[b_length];
}

/* Keeps the nearer of the name found so far and another; a distance of 0 edits still is a suggestion (case). */
static void consider(const char *name, const char *candidate, const char **best, int *best_distance) {
  int distance = edit_distance(name, candidate), length = (int)strlen(name);
  int allowed = length < 3 ? length - 1 : length / 3;
  if (distance <= allowed && distance < *best_distance) {
    *best_distance = distance;
    *best = candidate;
  }
}

const char *ffb_nearest_name(const char *name, const char *const *names, size_t count) {
  const char *best = NULL;
  int distance = NO_DISTANCE;
  for (size_t i = 0; i < count; i++)
    consider(name, names[i], &best, &distance);
  return best;
}

const char *ffb_nearest_option(const struct ffb_option *table, const char *name) {
  const char *best = NULL;
  int distance = NO_DISTANCE;
  for (; table->name; table++)
    consider(name, table->name, &best, &distance);
  return best;
}

/* ---- messages ----------------------------------------------------------------------------------------------- */

/* A user's text cut to length and kept to one line. */
struct shown {
  char text[SHOWN_BYTES];
};

static struct shown shown(const char *text) {
  struct shown out;
  snprintf(out.text, sizeof out.text, "%s", text);
  for (char *at = out.text; *at; at++) {
    if (iscntrl((unsigned char)*at))
      *at = '?';
  }
  if (strlen(text) >= sizeof out.text)
    memcpy(out.text + sizeof out.text - 4, "...", 4);
  return out;
}

static void append(char *text, size_t size, const char *more) {
  size_t used = strlen(text);
  snprintf(text + used, size - used, "%s", more);
}

static void append_suggestion(char *text, size_t size, const char *nearest) {
  if (!nearest)
    return;
  append(text, size, "; did you mean '");
  append(text, size, nearest);
  append(text, size, "'?");
}

static bool fail_unknown(const struct ffb_option *table, const char *name, struct ffb_error *error) {
  char names[768] = "";
  const char *nearest = ffb_nearest_option(table, name);
  append_suggestion(names, sizeof names, nearest);
  if (!nearest) {
    append(names, sizeof names, table->name ? "; there are: " : "; there are none");
    for (const struct ffb_option *option = table; option->name; option++) {
      append(names, sizeof names, option == table ? "" : ", ");
      append(names, sizeof names, option->name);
    }
  }
  return ffb_fail_usage(error, "unknown option '%s'%s", shown(name).text, names);
}

static bool fail_value(const struct ffb_option *option, const char *text, const char *wanted, struct ffb_error *error) {
  return ffb_fail_usage(error, "option %s: '%s' is not %s", option->name, shown(text).text, wanted);
}

static bool fail_range(const struct ffb_option *option, const char *text, struct ffb_error *error) {
  return ffb_fail_usage(error, "option %s: %s is out of range, choose from %.17g to %.17g", option->name,
                        shown(text).text, option->minimum, option->maximum);
}

/* ---- values ------------------------------------------------------------------------------------------------- */

/* One parsed value, before it goes to its field. */
union value {
  bool boolean;
  int64_t integer;
  double number;
  int choice;
  const char *string; /* null for an empty text; not owned */
};

static bool parse_boolean(const struct ffb_option *option, const char *text, union value *value,
                          struct ffb_error *error) {
  static const struct {
    const char *text;
    bool value;
  } words[] = {{"true", true},   {"on", true},   {"1", true},  {"yes", true},
               {"false", false}, {"off", false}, {"0", false}, {"no", false}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (!strcmp(text, words[i].text)) {
      value->boolean = words[i].value;
      return true;
    }
  }
  return fail_value(option, text, "true or false", error);
}

/* strtoll and strtod skip white space; a value has none. */
static bool starts_number(const char *text) {
  return *text && !isspace((unsigned char)*text);
}

static bool parse_integer(const struct ffb_option *option, const char *text, union value *value,
                          struct ffb_error *error) {
  char *end = NULL;
  errno = 0;
  value->integer = strtoll(text, &end, 10);
  if (!starts_number(text) || end == text || *end)
    return fail_value(option, text, "a whole number", error);
  bool inside = (double)value->integer >= option->minimum && (double)value->integer <= option->maximum;
  return (!errno && inside) || fail_range(option, text, error);
}

static bool parse_number(const struct ffb_option *option, const char *text, union value *value,
                         struct ffb_error *error) {
  char *end = NULL;
  errno = 0;
  value->number = strtod(text, &end);
  if (!starts_number(text) || end == text || *end || isnan(value->number))
    return fail_value(option, text, "a number", error);
  bool overflow = errno == ERANGE && isinf(value->number);
  bool inside = value->number >= option->minimum && value->number <= option->maximum;
  return (!overflow && inside) || fail_range(option, text, error);
}

static bool parse_choice(const struct ffb_option *option, const char *text, union value *value,
                         struct ffb_error *error) {
  size_t count = 0;
  for (; option->choices[count]; count++) {
    if (!strcmp(text, option->choices[count])) {
      value->choice = (int)count;
      return true;
    }
  }
  char wanted[768] = "one of ";
  for (size_t i = 0; i < count; i++) {
    append(wanted, sizeof wanted, i ? " | " : "");
    append(wanted, sizeof wanted, option->choices[i]);
  }
  append_suggestion(wanted, sizeof wanted, ffb_nearest_name(text, option->choices, count));
  return fail_value(option, text, wanted, error);
}

static bool parse_string(const struct ffb_option *option, const char *text, union value *value,
                         struct ffb_error *error) {
  size_t length = strlen(text);
  if ((double)length < option->minimum)
    return ffb_fail_usage(error, "option %s: the text is empty: %s", option->name, option->help);
  if (length >= FFB_OPTION_TEXT_BYTES)
    return fail_value(option, text, "shorter than 4096 bytes", error);
  value->string = length > 0 ? text : NULL;
  return true;
}

static bool parse(const struct ffb_option *option, const char *text, union value *value, struct ffb_error *error) {
  switch (option->type) {
  case FFB_OPTION_BOOLEAN:
    return parse_boolean(option, text, value, error);
  case FFB_OPTION_INTEGER:
    return parse_integer(option, text, value, error);
  case FFB_OPTION_NUMBER:
    return parse_number(option, text, value, error);
  case FFB_OPTION_CHOICE:
    return parse_choice(option, text, value, error);
  case FFB_OPTION_STRING:
    return parse_string(option, text, value, error);
  }
  return ffb_fail(error, "option %s has no type", option->name);
}

static void *field_of(const struct ffb_option *option, void *values) {
  return (char *)values + option->offset;
}

static const void *field_read(const struct ffb_option *option, const void *values) {
  return (const char *)values + option->offset;
}

static const char *string_read(const struct ffb_option *option, const void *values) {
  return *(const char *const *)field_read(option, values);
}

static bool store_string(const char **field, const char *text, struct ffb_error *error) {
  char *copy = NULL;
  if (text && !(copy = ffb_copy_string(text, error)))
    return false;
  ffb_free((char *)*field);
  *field = copy;
  return true;
}

static bool store(const struct ffb_option *option, void *values, const union value *value, struct ffb_error *error) {
  void *field = field_of(option, values);
  switch (option->type) {
  case FFB_OPTION_BOOLEAN:
    *(bool *)field = value->boolean;
    return true;
  case FFB_OPTION_INTEGER:
    *(int64_t *)field = value->integer;
    return true;
  case FFB_OPTION_NUMBER:
    *(double *)field = value->number;
    return true;
  case FFB_OPTION_CHOICE:
    *(int *)field = value->choice;
    return true;
  case FFB_OPTION_STRING:
    return store_string(field, value->string, error);
  }
  return false;
}

static bool set(const struct ffb_option *option, void *values, const char *text, struct ffb_error *error) {
  union value value = {.integer = 0};
  return parse(option, text, &value, error) && store(option, values, &value, error);
}

static const char *default_text(const struct ffb_option *option) {
  return option->initial ? option->initial : "";
}

bool ffb_options_default(const struct ffb_option *table, void *values, struct ffb_error *error) {
  for (; table->name; table++) {
    if (!set(table, values, default_text(table), error))
      return ffb_fail_prefix(error, "default of an option: ");
  }
  return true;
}

const struct ffb_option *ffb_option_find(const struct ffb_option *table, const char *name) {
  for (; table->name; table++) {
    if (!strcmp(table->name, name))
      return table;
  }
  return NULL;
}

bool ffb_option_set(const struct ffb_option *table, void *values, const char *owner, const char *name, const char *text,
                    struct ffb_error *error) {
  const struct ffb_option *option = ffb_option_find(table, name);
  bool done = option ? set(option, values, text, error) : fail_unknown(table, name, error);
  if (!done && owner)
    ffb_fail_prefix(error, "%s: ", owner);
  return done;
}

/* Fewest digits that read back as the same number. */
static int print_number(double number, char *text, size_t size) {
  char shortest[32];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(shortest, sizeof shortest, "%.*g", digits, number);
    if (strtod(shortest, NULL) == number)
      break;
  }
  return snprintf(text, size, "%s", shortest);
}

static int print_value(const struct ffb_option *option, const void *values, char *text, size_t size) {
  const void *field = field_read(option, values);
  switch (option->type) {
  case FFB_OPTION_BOOLEAN:
    return snprintf(text, size, "%s", *(const bool *)field ? "true" : "false");
  case FFB_OPTION_INTEGER:
    return snprintf(text, size, "%" PRId64, *(const int64_t *)field);
  case FFB_OPTION_NUMBER:
    return print_number(*(const double *)field, text, size);
  case FFB_OPTION_CHOICE:
    return snprintf(text, size, "%s", option->choices[*(const int *)field]);
  case FFB_OPTION_STRING:
    return snprintf(text, size, "%s", string_read(option, values) ? string_read(option, values) : "");
  }
  return -1;
}

bool ffb_option_text(const struct ffb_option *option, const void *values, char *text, size_t size) {
  int length = print_value(option, values, text, size);
  return length >= 0 && (size_t)length < size;
}

static bool same_string(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

bool ffb_option_changed(const struct ffb_option *option, const void *values) {
  const void *field = field_read(option, values);
  union value initial = {.integer = 0};
  if (!parse(option, default_text(option), &initial, NULL))
    return true;
  switch (option->type) {
  case FFB_OPTION_BOOLEAN:
    return *(const bool *)field != initial.boolean;
  case FFB_OPTION_INTEGER:
    return *(const int64_t *)field != initial.integer;
  case FFB_OPTION_NUMBER:
    return *(const double *)field != initial.number;
  case FFB_OPTION_CHOICE:
    return *(const int *)field != initial.choice;
  case FFB_OPTION_STRING:
    return !same_string(string_read(option, values), initial.string);
  }
  return true;
}

void ffb_options_clear(const struct ffb_option *table, void *values) {
  for (; table->name; table++) {
    if (table->type == FFB_OPTION_STRING)
      store_string(field_of(table, values), NULL, NULL);
  }
}
