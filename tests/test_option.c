/* base/option.h: defaults, text to value and back, refusals, suggestions. */
#include "base/memory.h"
#include "base/option.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct values {
  bool augment;
  int64_t epochs;
  double learning_rate, theta;
  int goodness;
  const char *data, *note;
};

static const char *const goodness_names[] = {"sum_squares", "mean_squares", "class_groups", NULL};

static const struct ffb_option table[] = {
    {.name = "augment", .type = FFB_OPTION_BOOLEAN, .offset = offsetof(struct values, augment), .initial = "false"},
    {.name = "epochs",
     .type = FFB_OPTION_INTEGER,
     .offset = offsetof(struct values, epochs),
     .initial = "30",
     .minimum = 1,
     .maximum = 10000},
    {.name = "learning_rate",
     .type = FFB_OPTION_NUMBER,
     .offset = offsetof(struct values, learning_rate),
     .initial = "1e-3",
     .minimum = 0,
     .maximum = 10},
    {.name = "theta",
     .type = FFB_OPTION_NUMBER,
     .offset = offsetof(struct values, theta),
     .initial = "2",
     .minimum = -INFINITY,
     .maximum = INFINITY},
    {.name = "goodness",
     .type = FFB_OPTION_CHOICE,
     .offset = offsetof(struct values, goodness),
     .initial = "mean_squares",
     .choices = goodness_names},
    {.name = "data", .type = FFB_OPTION_STRING, .offset = offsetof(struct values, data), .initial = "shared"},
    {.name = "note", .type = FFB_OPTION_STRING, .offset = offsetof(struct values, note)},
    {.name = NULL},
};

static int fill_defaults(void **state) {
  static struct values values;
  memset(&values, 0, sizeof values);
  *state = &values;
  return ffb_options_default(table, &values, NULL) ? 0 : -1;
}

static int clear(void **state) {
  ffb_options_clear(table, *state);
  return 0;
}

static void set(struct values *values, const char *name, const char *text) {
  struct ffb_error error = {0};
  if (!ffb_option_set(table, values, "ff_int8", name, text, &error))
    fail_msg("%s = %s: %s", name, text, error.message);
}

/* The refusal is a usage error of one line that opens with the owner and holds every given part. */
static void refuse(struct values *values, const char *name, const char *text, const char *const *parts) {
  struct ffb_error error = {0};
  if (ffb_option_set(table, values, "ff_int8", name, text, &error))
    fail_msg("%s = %s was taken", name, text);
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_null(strchr(error.message, '\n'));
  assert_memory_equal(error.message, "ff_int8: ", 9);
  for (; *parts; parts++) {
    if (!strstr(error.message, *parts))
      fail_msg("'%s' is not in: %s", *parts, error.message);
  }
}
#define REFUSE(values, name, text, ...) refuse(values, name, text, (const char *const[]){__VA_ARGS__, NULL})

static void defaults_are_set(void **state) {
  struct values *values = *state;
  assert_false(values->augment);
  assert_int_equal(values->epochs, 30);
  assert_true(values->learning_rate == 1e-3);
  assert_int_equal(values->goodness, 1);
  assert_string_equal(values->data, "shared");
  assert_null(values->note);
  for (const struct ffb_option *option = table; option->name; option++)
    assert_false(ffb_option_changed(option, values));
}

static void bad_default_is_reported(void **state) {
  (void)state;
  static const struct ffb_option wrong[] = {
      {.name = "epochs", .type = FFB_OPTION_INTEGER, .initial = "many", .maximum = 3},
      {.name = NULL},
  };
  struct values values = {0};
  struct ffb_error error = {0};
  assert_false(ffb_options_default(wrong, &values, &error));
  assert_non_null(strstr(error.message, "epochs"));
}

static void text_becomes_a_value(void **state) {
  struct values *values = *state;
  static const char *const yes[] = {"true", "on", "1", "yes"}, *const no[] = {"false", "off", "0", "no"};
  for (int i = 0; i < 4; i++) {
    set(values, "augment", yes[i]);
    assert_true(values->augment);
    set(values, "augment", no[i]);
    assert_false(values->augment);
  }
  set(values, "epochs", "10000");
  assert_int_equal(values->epochs, 10000);
  set(values, "learning_rate", "2.5E-4");
  assert_true(values->learning_rate == 2.5e-4);
  set(values, "theta", "-inf");
  assert_true(isinf(values->theta) && values->theta < 0);
  set(values, "goodness", "class_groups");
  assert_int_equal(values->goodness, 2);
  set(values, "data", "/somewhere else");
  assert_string_equal(values->data, "/somewhere else");
  set(values, "data", "");
  assert_null(values->data);
}

static void wrong_text_is_refused_and_changes_nothing(void **state) {
  struct values *values = *state;
  REFUSE(values, "augment", "maybe", "augment", "'maybe'", "true or false");
  REFUSE(values, "augment", "", "augment");
  REFUSE(values, "epochs", "ten", "epochs", "'ten'", "whole number");
  REFUSE(values, "epochs", "1.5", "whole number");
  REFUSE(values, "epochs", "", "whole number");
  REFUSE(values, "epochs", " 3", "whole number");
  REFUSE(values, "epochs", "3 ", "whole number");
  REFUSE(values, "epochs", "0", "out of range", "1", "10000");
  REFUSE(values, "epochs", "10001", "out of range");
  REFUSE(values, "epochs", "99999999999999999999", "out of range");
  REFUSE(values, "learning_rate", "fast", "learning_rate", "number");
  REFUSE(values, "learning_rate", "nan", "number");
  REFUSE(values, "learning_rate", "inf", "out of range", "0", "10");
  REFUSE(values, "learning_rate", "-1e-9", "out of range");
  REFUSE(values, "theta", "1e999", "out of range");
  REFUSE(values, "goodness", "entropy", "sum_squares | mean_squares | class_groups");
  REFUSE(values, "goodness", "sum_square", "did you mean 'sum_squares'");
  defaults_are_set(state);
}

static void unknown_option_names_the_nearest(void **state) {
  struct values *values = *state;
  REFUSE(values, "lerning_rate", "1", "'lerning_rate'", "did you mean 'learning_rate'");
  REFUSE(values, "tehta", "1", "did you mean 'theta'");
  REFUSE(values, "Learning-Rate", "1", "did you mean 'learning_rate'");
  REFUSE(values, "temperature", "1", "augment, epochs, learning_rate, theta, goodness, data, note");
}

static void hostile_text_stays_one_short_line(void **state) {
  struct values *values = *state;
  char text[3000];
  memset(text, '\n', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  REFUSE(values, "epochs", text, "epochs", "...");
  REFUSE(values, "goodness", text, "goodness");
  REFUSE(values, text, "1", "unknown option", "augment, epochs");
}

static void string_has_its_lengths(void **state) {
  static const struct ffb_option table[] = {
      {.name = "model", .type = FFB_OPTION_STRING, .initial = "mlp", .minimum = 1, .help = "network"}, {.name = NULL}};
  const char *model = NULL;
  struct ffb_error error;
  char longest[FFB_OPTION_TEXT_BYTES + 1] = "", back[FFB_OPTION_TEXT_BYTES];
  (void)state;
  assert_true(ffb_options_default(table, &model, &error));
  assert_false(ffb_option_set(table, &model, "run", "model", "", &error));
  assert_string_equal(error.message, "run: option model: the text is empty: network");
  assert_string_equal(model, "mlp");
  memset(longest, 'x', FFB_OPTION_TEXT_BYTES);
  assert_false(ffb_option_set(table, &model, "run", "model", longest, &error));
  assert_non_null(strstr(error.message, "shorter than 4096 bytes"));
  longest[FFB_OPTION_TEXT_BYTES - 1] = '\0';
  assert_true(ffb_option_set(table, &model, "run", "model", longest, &error));
  assert_true(ffb_option_text(table, &model, back, sizeof back));
  assert_string_equal(back, longest);
  ffb_options_clear(table, &model);
}

static void text_reads_back(void **state) {
  struct values *values = *state;
  static const double numbers[] = {0, 1e-3, 0.1, 1.0 / 3, 5e-324, 1e300, -2, INFINITY, -INFINITY, 0.30000000000000004};
  const struct ffb_option *theta = ffb_option_find(table, "theta");
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    char text[64];
    values->theta = numbers[i];
    assert_true(ffb_option_text(theta, values, text, sizeof text));
    values->theta = 77;
    set(values, "theta", text);
    assert_true(values->theta == numbers[i]);
  }
  static const char *const texts[][2] = {{"augment", "true"},         {"epochs", "17"}, {"learning_rate", "0.00025"},
                                         {"goodness", "sum_squares"}, {"data", "a b"},  {"note", ""}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    char text[64];
    set(values, texts[i][0], texts[i][1]);
    assert_true(ffb_option_text(ffb_option_find(table, texts[i][0]), values, text, sizeof text));
    assert_string_equal(text, texts[i][1]);
  }
}

static void shortest_number_is_chosen(void **state) {
  struct values *values = *state;
  char text[32];
  values->theta = 0.1;
  assert_true(ffb_option_text(ffb_option_find(table, "theta"), values, text, sizeof text));
  assert_string_equal(text, "0.1");
  values->theta = 1000;
  assert_true(ffb_option_text(ffb_option_find(table, "theta"), values, text, sizeof text));
  assert_true(strtod(text, NULL) == 1000);
}

static void text_that_does_not_fit_is_reported(void **state) {
  struct values *values = *state;
  char text[4];
  set(values, "data", "abc");
  assert_true(ffb_option_text(ffb_option_find(table, "data"), values, text, sizeof text));
  set(values, "data", "abcd");
  assert_false(ffb_option_text(ffb_option_find(table, "data"), values, text, sizeof text));
}

static void change_is_seen(void **state) {
  struct values *values = *state;
  static const char *const texts[][3] = {{"augment", "on", "off"},
                                         {"epochs", "31", "30"},
                                         {"learning_rate", "0.002", ".001"},
                                         {"theta", "inf", "2.0"},
                                         {"goodness", "sum_squares", "mean_squares"},
                                         {"data", "", "shared"},
                                         {"note", "text", ""}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    const struct ffb_option *option = ffb_option_find(table, texts[i][0]);
    set(values, texts[i][0], texts[i][1]);
    assert_true(ffb_option_changed(option, values));
    set(values, texts[i][0], texts[i][2]);
    assert_false(ffb_option_changed(option, values));
  }
}

static void memory_failure_keeps_the_value(void **state) {
  struct values *values = *state;
  struct ffb_error error = {0};
  ffb_fail_allocation(1);
  assert_false(ffb_option_set(table, values, "run", "data", "elsewhere", &error));
  ffb_fail_allocation(0);
  assert_int_equal(error.kind, FFB_ERROR_FAILURE);
  assert_string_equal(values->data, "shared");
}

static void nearest_name_has_a_limit(void **state) {
  (void)state;
  static const char *const names[] = {"bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
  enum { COUNT = sizeof names / sizeof *names };
  assert_string_equal(ffb_nearest_name("ff_int", names, COUNT), "ff_int8");
  assert_string_equal(ffb_nearest_name("FF-INT8", names, COUNT), "ff_int8");
  assert_string_equal(ffb_nearest_name("bp_gadi8", names, COUNT), "bp_gdai8");
  assert_string_equal(ffb_nearest_name("bp_u8", names, COUNT), "bp_ui8");
  assert_null(ffb_nearest_name("adam", names, COUNT));
  assert_null(ffb_nearest_name("", names, COUNT));
  assert_null(ffb_nearest_name("ff_int8", names, 0));
  char endless[500];
  memset(endless, 'f', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  assert_null(ffb_nearest_name(endless, names, COUNT));
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, fill_defaults, clear)
  const struct CMUnitTest tests[] = {
      TEST(defaults_are_set),
      TEST(bad_default_is_reported),
      TEST(text_becomes_a_value),
      TEST(wrong_text_is_refused_and_changes_nothing),
      TEST(unknown_option_names_the_nearest),
      TEST(hostile_text_stays_one_short_line),
      cmocka_unit_test(string_has_its_lengths),
      TEST(text_reads_back),
      TEST(shortest_number_is_chosen),
      TEST(text_that_does_not_fit_is_reported),
      TEST(change_is_seen),
      TEST(memory_failure_keeps_the_value),
      TEST(nearest_name_has_a_limit),
  };
  return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
