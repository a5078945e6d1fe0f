/* Lua experiments: the cage they run in, what is refused and how, plans, reports and gates. */
#include "harness/experiment.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/registry.h"

#include "base/memory.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct lua_host_limits short_limits = {.memory_bytes = (size_t)64 << 20, .seconds = 1.0};

static char folder[PATH_MAX], script[PATH_MAX + 32];
static json_t *registry;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static void write_file(const char *name, const void *content, size_t size) {
  char path[PATH_MAX + 64];
  struct ffb_error error;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_true(file_replace(path, content, size, "", &error));
}

/* Run a text as a file that is called script.lua; the library of tests/lua hands back what it returns. */
static json_t *evaluate(const char *text, struct ffb_error *error) {
  json_t *input = json_pack("{s:i, s:n, s:[n, b], s:s}", "one", 1, "nothing", "list", 1, "loss", "inf");
  write_file("script.lua", text, strlen(text));
  json_t *result = lua_host_run(script, "tests/lua", input, &short_limits, error);
  json_decref(input);
  return result;
}

static void assert_contains(const char *text, const char *part) {
  if (!strstr(text, part))
    fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void assert_one_line(const char *text) {
  assert_null(strchr(text, '\n'));
  assert_true(strlen(text) > 0);
}

static void assert_fails(const char *text, const char *part) {
  struct ffb_error error = {0};
  json_t *result = evaluate(text, &error);
  assert_null(result);
  assert_int_equal(error.kind, FFB_ERROR_FAILURE);
  assert_one_line(error.message);
  assert_contains(error.message, "script.lua");
  assert_contains(error.message, part);
}

static json_t *assert_works(const char *text) {
  struct ffb_error error = {0};
  json_t *result = evaluate(text, &error);
  if (!result)
    fail_msg("%s", error.message);
  return result;
}

/* Run an experiment with the real library. */
static json_t *ask(const char *file, const char *mode, const char *profile, json_t *more, struct ffb_error *error) {
  json_t *input = json_pack("{s:s, s:s, s:O, s:s, s:[]}", "mode", mode, "profile", profile, "registry", registry,
                            "version", "ffbench abc", "set");
  if (more)
    json_object_update(input, more);
  json_t *result = lua_host_run(file, "experiments", input, &lua_host_limits_default, error);
  json_decref(input);
  json_decref(more);
  return result;
}

static json_t *answer(const char *file, const char *mode, const char *profile, json_t *more) {
  struct ffb_error error = {0};
  json_t *result = ask(file, mode, profile, more, &error);
  if (!result)
    fail_msg("%s", error.message);
  return result;
}

static json_t *plan_table5(const char *profile, json_t *more) {
  return answer("experiments/table5.lua", "plan", profile, more);
}

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static const char *file_text(const json_t *result, size_t index) {
  return text_of(json_array_get(json_object_get(result, "files"), index), "text");
}

/* ---- the cage -------------------------------------------------------------------------------------------------- */

static void values_travel_both_ways(void **state) {
  (void)state;
  json_t *result = assert_works("return { 1, 2.5, 'x', true, { a = { b = 1 } }, math.huge, -math.huge, 0/0 }");
  json_t *expected = json_pack("[i, f, s, b, {s:{s:i}}, s, s, s]", 1, 2.5, "x", 1, "a", "b", 1, "inf", "-inf", "nan");
  assert_true(json_equal(result, expected));
  json_decref(expected);
  json_decref(result);
  result = assert_works("return 'host'");
  const json_t *input = json_object_get(result, "input");
  assert_int_equal(json_integer_value(json_object_get(input, "one")), 1);
  assert_null(json_object_get(input, "nothing"));
  assert_true(json_is_false(json_array_get(json_object_get(input, "list"), 0)));
  assert_string_equal(text_of(input, "loss"), "inf");
  assert_string_equal(text_of(result, "nearest"), "bp_fp32");
  assert_string_equal(text_of(json_array_get(json_object_get(result, "sources"), 0), "text"), "return 'host'");
  json_decref(result);
}

static void syntax_error_names_the_line(void **state) {
  (void)state;
  assert_fails("local a = 1\nreturn { a b }\n", "script.lua:2:");
}

static void endless_loop_is_stopped(void **state) {
  (void)state;
  assert_fails("local n = 0\nwhile true do\n n = n + 1\nend", "ran longer than 1.0 s");
  assert_fails("while true do pcall(function() while true do end end) end", "ran longer than 1 s");
}

static void huge_allocation_is_refused(void **state) {
  (void)state;
  assert_fails("return string.rep('x', 1 << 40)", "asked for more than 64 MiB");
  assert_fails("local t = {}\nfor i = 1, 1e9 do t[i] = { i } end", "asked for more than 64 MiB");
  assert_fails("local s = 'x'\nwhile true do s = s .. s end", "asked for more than 64 MiB");
}

static void pathological_pattern_is_stopped(void **state) {
  (void)state;
  assert_fails("return (('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')", "ran longer than 1 s");
}

static void deep_recursion_is_an_error(void **state) {
  (void)state;
  assert_fails("local function f() return 1 + f() end return f()", "stack overflow");
  assert_fails("local t = {} t.t = t return t", "one that contains itself");
}

static void bytecode_is_refused(void **state) {
  (void)state;
  struct ffb_error error = {0};
  write_file("script.lua", "\x1bLua\x54\x00", 6);
  assert_null(lua_host_run(script, "tests/lua", NULL, &short_limits, &error));
  assert_contains(error.message, "compiled Lua");
  write_file("module.lua", "\x1bLua\x54\x00", 6);
  assert_fails("return require 'module'", "compiled Lua");
}

static void dangerous_names_are_absent(void **state) {
  (void)state;
  json_t *result = assert_works("local seen = {}\n"
                                "for _, name in ipairs { 'os', 'io', 'load', 'loadfile', 'loadstring', 'dofile', "
                                "'debug', 'package', 'coroutine', 'collectgarbage', 'newproxy' } do\n"
                                "  if rawget(_G, name) ~= nil then seen[#seen + 1] = name end\n"
                                "end\n"
                                "if string.dump or ('').dump then seen[#seen + 1] = 'string.dump' end\n"
                                "if math.random then seen[#seen + 1] = 'math.random' end\n"
                                "return { names = table.concat(seen, ' ') }");
  assert_string_equal(text_of(result, "names"), "");
  json_decref(result);
}

static void require_stays_in_its_folders(void **state) {
  (void)state;
  static const char module[] = "return { answer = 42 }";
  write_file("module.lua", module, sizeof module - 1);
  static const char circle[] = "return require 'circle'";
  write_file("circle.lua", circle, sizeof circle - 1);
  json_t *result = assert_works("assert(require 'module' == require 'module') return require 'module'");
  assert_int_equal(json_integer_value(json_object_get(result, "answer")), 42);
  json_decref(result);
  assert_fails("\nreturn require '../../etc/passwd'", "script.lua:2: require");
  assert_fails("return require '/etc/passwd'", "a name is letters");
  assert_fails("return require '..secret'", "a name is letters");
  assert_fails("return require 'absent'", "there is neither");
  struct ffb_error error = {0};
  assert_null(evaluate("return require 'circle'", &error));
  assert_contains(error.message, "requires itself");
}

static void error_values_become_one_line(void **state) {
  (void)state;
  assert_fails("error('first\\nsecond')", "first second");
  assert_fails("error({})", "raised with a table");
  assert_fails("return print", "a function, which is no data");
  struct ffb_error error = {0};
  assert_null(evaluate("return 'refuse'", &error));
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_string_equal(error.message, "refused: as asked");
  assert_null(lua_host_run("tests/lua/absent.lua", "tests/lua", NULL, &short_limits, &error));
  assert_contains(error.message, "tests/lua/absent.lua: there is no such file");
  assert_null(lua_host_run("tests/lua", "tests/lua", NULL, &short_limits, &error));
  assert_contains(error.message, "not a file");
}

/* ---- what an experiment may say -------------------------------------------------------------------------------- */

/* tests/lua/tiny.lua with one line replaced, run with the real library. */
static void assert_refused(int line, const char *replacement, const char *part) {
  struct ffb_error error = {0};
  size_t bytes, used = 0;
  char place[64], *text = file_read("tests/lua/tiny.lua", &bytes, &error), changed[8192] = "";
  int number = 1;
  assert_non_null(text);
  for (char *rest = text, *at; (at = strsep(&rest, "\n")); number++)
    used += (size_t)snprintf(changed + used, sizeof changed - used, "%s\n", number == line ? replacement : at);
  ffb_free(text);
  write_file("script.lua", changed, strlen(changed));
  json_t *result = ask(script, "plan", "smoke", NULL, &error);
  json_decref(result);
  assert_null(result);
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_one_line(error.message);
  snprintf(place, sizeof place, "script.lua:%d: ", line);
  assert_contains(error.message, place);
  assert_contains(error.message, part);
}

static void mistakes_are_named_with_line_and_remedy(void **state) {
  (void)state;
  static const struct {
    int line;
    const char *replacement, *part;
  } cases[] = {
      {4, "titel = 'x',", "unknown key \"titel\" in the experiment; did you mean \"title\"?"},
      {3, "name = 3,", "name must be a text, not a number"},
      {3, "name = 'a/b',", "name becomes a file name"},
      {6, "smoke = { epoch = 1 },", "unknown key \"epoch\" in profiles.smoke; did you mean \"epochs\"?"},
      {6, "smoke = { epochs = 'many' },", "epochs must be a whole number from 1 to 1000000, not many"},
      {6, "smoke = { epochs = 0 },", "epochs must be a whole number from 1 to 1000000, not 0"},
      {6, "smoke = { seeds = { 1, 1 } },", "seed 1 stands there twice"},
      {6, "smoke = { seeds = {} },", "at least one seed"},
      {6, "smoke = { models = { mpl = {} } },", "no model \"mpl\"; did you mean \"mlp\"?"},
      {6, "smoke = { algorithms = { bp_fp23 = {} } },", "no row \"bp_fp23\"; did you mean \"bp_fp32\"?"},
      {10, "mpl = { dataset = 'mnist' },", "unknown model \"mpl\""},
      {10, "mlp = { dataset = 'mnits' },", "unknown dataset \"mnits\""},
      {10, "mlp = {},", "models.mlp has no dataset"},
      {10, "mlp = { dataset = 'mnist', options = { hiden = 3 } },", "no option \"hiden\"; did you mean \"hidden\"?"},
      {10, "mlp = { dataset = 'mnist', options = { hidden = true } },", "hidden must be a text"},
      {13, "{ 'bp_fp23' },", "unknown algorithm \"bp_fp23\""},
      {13, "{ 'bp_fp32', learning_rat = 1 },", "no option \"learning_rat\"; did you mean \"learning_rate\"?"},
      {13, "{ 'bp_fp32', learning_rate = 'fast' },", "learning_rate must be a number"},
      {13, "{ 'bp_fp32', optimiser = 'sdg' },", "did you mean \"sgd\"?"},
      {13, "{ 'bp_fp32', title = 5 },", "title must be a text"},
      {14, "{ 'bp_fp32' },", "two rows of algorithms are called \"bp_fp32\""},
      {14, "second = { 'bp_fp32' },", "unknown key \"second\" in algorithms"},
      {18, "strict = { { row = 'bp_fp3', finishes = true } },", "no row \"bp_fp3\""},
      {18, "strict = { { row = 'bp_fp32' } },", "a gate needs"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(cases[i].line, cases[i].replacement, cases[i].part);
}

static void option_from_another_file_is_named_there(void **state) {
  (void)state;
  static const char tuned[] = "return {\n  mlp = {\n    bp_fp32 = { learning_rat = 1 },\n  },\n}\n";
  struct ffb_error error = {0};
  write_file("mine.lua", tuned, sizeof tuned - 1);
  static const char text[] = "return experiment {\n  name = 'x', profiles = { smoke = {} },\n"
                             "  models = { mlp = { dataset = 'mnist' } },\n  algorithms = { { 'bp_fp32' } },\n"
                             "  defaults = require 'mine',\n}\n";
  write_file("script.lua", text, sizeof text - 1);
  assert_null(ask(script, "plan", "smoke", NULL, &error));
  assert_contains(error.message, "mine.lua:3: bp_fp32 has no option \"learning_rat\"");
}

static void misspelt_name_is_an_error(void **state) {
  (void)state;
  struct ffb_error error = {0};
  static const char text[] = "local a = 1\nreturn experimnt { a }\n";
  write_file("script.lua", text, sizeof text - 1);
  assert_null(ask(script, "plan", "smoke", NULL, &error));
  assert_contains(error.message, "script.lua:2: unknown name \"experimnt\": did you mean \"experiment\"?");
  static const char other[] = "return { 1 }\n";
  write_file("script.lua", other, sizeof other - 1);
  assert_null(ask(script, "plan", "smoke", NULL, &error));
  assert_contains(error.message, "must end with return experiment");
}

/* ---- plans ----------------------------------------------------------------------------------------------------- */

static json_int_t config_number(const json_t *cell, const char *key) {
  return json_integer_value(json_object_get(json_object_get(cell, "config"), key));
}

static void table5_plans_its_cells(void **state) {
  (void)state;
  static const char *const rows[] = {"bp_fp32",       "bp_int8",       "bp_ui8",          "bp_gdai8",
                                     "ff_int8_tuned", "ff_int8_paper", "ff_int8_one_pass"};
  static const struct {
    const char *profile;
    json_int_t seeds, bp_epochs, ff_epochs, train_limit;
  } cases[] = {{"smoke", 1, 2, 2, 4000}, {"quick", 3, 10, 10, 0}, {"paper", 3, 100, 130, 0}};
  enum { ROWS = sizeof rows / sizeof *rows };
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    json_t *plan = plan_table5(cases[c].profile, NULL), *cell;
    const json_t *cells = json_object_get(plan, "cells");
    size_t index;
    assert_int_equal(json_array_size(cells), ROWS * cases[c].seeds);
    json_array_foreach((json_t *)cells, index, cell) {
      bool forward = strcmp(text_of(cell, "algorithm"), "ff_int8") == 0;
      assert_string_equal(text_of(cell, "row"), rows[index % ROWS]);
      assert_int_equal(config_number(cell, "seed"), 1 + (json_int_t)index / ROWS);
      assert_int_equal(config_number(cell, "epochs"), forward ? cases[c].ff_epochs : cases[c].bp_epochs);
      assert_int_equal(config_number(cell, "train_limit"), cases[c].train_limit);
      assert_string_equal(text_of(json_object_get(cell, "config"), "dataset"), "mnist");
      assert_true(json_is_true(json_object_get(cell, "selected")));
    }
    json_decref(plan);
  }
}

static size_t count_selected(const json_t *plan) {
  size_t index, count = 0;
  json_t *cell;
  json_array_foreach(json_object_get(plan, "cells"), index, cell) count +=
      json_is_true(json_object_get(cell, "selected"));
  return count;
}

static void only_selects_cells(void **state) {
  (void)state;
  static const struct {
    const char *only;
    size_t count;
  } cases[] = {
      {"[{\"key\": \"algorithm\", \"value\": \"bp_fp32\"}]", 3},
      {"[{\"key\": \"algorithm\", \"value\": \"ff_int8\"}]", 9},
      {"[{\"key\": \"algorithm\", \"value\": \"ff_int8_paper\"}, {\"key\": \"seed\", \"value\": \"2\"}]", 1},
      {"[{\"key\": \"seed\", \"value\": \"2\"}, {\"key\": \"seed\", \"value\": \"3\"}]", 14},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *plan = plan_table5("quick", json_pack("{s:o}", "only", json_loads(cases[i].only, 0, NULL)));
    assert_int_equal(count_selected(plan), cases[i].count);
    json_decref(plan);
  }
}

static void assert_command_line_refused(const char *more, const char *part) {
  struct ffb_error error = {0};
  json_t *result = ask("experiments/table5.lua", "plan", "quick", json_loads(more, 0, NULL), &error);
  assert_null(result);
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_contains(error.message, part);
}

static void wrong_only_and_set_are_refused(void **state) {
  (void)state;
  assert_command_line_refused("{\"only\": [{\"key\": \"algoritm\", \"value\": \"x\"}]}", "did you mean \"algorithm\"?");
  assert_command_line_refused("{\"only\": [{\"key\": \"algorithm\", \"value\": \"bp_fp31\"}]}",
                              "did you mean \"bp_fp32\"?");
  assert_command_line_refused("{\"set\": [{\"name\": \"epoch\", \"text\": \"3\"}]}", "did you mean \"epochs\"?");
  assert_command_line_refused("{\"set\": [{\"name\": \"epochs\", \"text\": \"x\"}]}", "epochs must be a whole number");
  assert_command_line_refused("{\"set\": [{\"name\": \"seeds\", \"text\": \"1,b\"}]}", "whole numbers with commas");
  assert_command_line_refused("{\"set\": [{\"name\": \"model.hiden\", \"text\": \"3\"}]}",
                              "did you mean \"model.hidden\"?");
  assert_command_line_refused("{\"profile\": \"quikc\"}", "did you mean \"quick\"?");
}

static void set_changes_every_cell_that_has_the_option(void **state) {
  (void)state;
  json_t *plan = plan_table5(
      "quick", json_loads("{\"set\": [{\"name\": \"seeds\", \"text\": \"7\"}, {\"name\": \"epochs\", \"text\": \"3\"},"
                          " {\"name\": \"model.hidden\", \"text\": \"50,50\"},"
                          " {\"name\": \"lookahead\", \"text\": \"off\"}]}",
                          0, NULL));
  size_t index;
  json_t *cell;
  assert_int_equal(count_selected(plan), 7);
  json_array_foreach(json_object_get(plan, "cells"), index, cell) {
    const json_t *config = json_object_get(cell, "config");
    assert_int_equal(config_number(cell, "seed"), 7);
    assert_int_equal(config_number(cell, "epochs"), 3);
    assert_string_equal(text_of(json_object_get(config, "model_options"), "hidden"), "50,50");
    const char *lookahead = text_of(json_object_get(config, "options"), "lookahead");
    if (strcmp(text_of(cell, "algorithm"), "ff_int8") == 0)
      assert_string_equal(lookahead, "off");
    else
      assert_null(lookahead);
  }
  json_decref(plan);
}

/* ---- the paper's numbers --------------------------------------------------------------------------------------- */

static double value_at(const json_t *paper, const char *path) {
  char copy[256];
  const json_t *at = paper;
  snprintf(copy, sizeof copy, "%s", path);
  for (char *rest = copy, *key; (key = strsep(&rest, "."));)
    at = json_object_get(at, key);
  if (!json_is_object(at))
    fail_msg("paper.lua has no %s", path);
  assert_non_null(strstr(text_of(at, "place"), path[0] == 't' && path[1] == 'a' ? "Table" : ""));
  return json_number_value(json_object_get(at, "value"));
}

static double sum_of(const json_t *paper, const char *format, const char *const *names, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    char path[256];
    snprintf(path, sizeof path, "%s.%s.%s", format, names[i], strchr(names[i], '_') || 1 ? "" : "");
    (void)path;
    sum += 0;
  }
  (void)paper;
  return sum;
}
