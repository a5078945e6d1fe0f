/* Lua experiments: the cage they run in, what is refused and how, plans, reports and gates. */
#include "harness/experiment.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/registry.h"

#include "base/memory.h"
#include "tests/scratch.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Seconds enough for a loaded machine where time is not what is tested. */
static struct lua_host_limits limits = {.memory_bytes = (size_t)64 << 20, .seconds = 30};

static char folder[PATH_MAX], script[PATH_MAX + 32];
static json_t *registry;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static void write_file(const char *name, const void *content, size_t size) {
  char path[PATH_MAX + 64];
  struct ffb_error error;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_true(file_replace(path, content, size, "", &error));
}

/* Run a text as a file that is called script.lua; the library of tests/lua/bare hands back what it returns. */
static json_t *evaluate(const char *text, struct ffb_error *error) {
  json_t *input = json_pack("{s:i, s:n, s:[n, b], s:s}", "one", 1, "nothing", "list", 1, "loss", "inf");
  write_file("script.lua", text, strlen(text));
  json_t *result = lua_host_run(script, "tests/lua/bare", input, &limits, error);
  json_decref(input);
  return result;
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

static void assert_takes_too_long(const char *text) {
  double seconds = limits.seconds;
  limits.seconds = 1;
  assert_fails(text, "ran longer than 1 s");
  limits.seconds = seconds;
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
  assert_takes_too_long("local n = 0\nwhile true do\n n = n + 1\nend");
  assert_takes_too_long("while true do pcall(function() while true do end end) end");
}

static void huge_allocation_is_refused(void **state) {
  (void)state;
  assert_fails("return string.rep('x', 1 << 30)", "asked for more than 64 MiB");
  assert_fails("local t = {}\nfor i = 1, 1e9 do t[i] = { i } end", "asked for more than 64 MiB");
  assert_fails("local s = 'x'\nwhile true do s = s .. s end", "asked for more than 64 MiB");
}

static void pathological_pattern_is_stopped(void **state) {
  (void)state;
  assert_takes_too_long("return (('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')");
}

/* With a limit of a tenth of a second: what it says, and that it ends soon after. */
static void assert_stopped(const char *text) {
  static const struct lua_host_limits limits = {.memory_bytes = (size_t)64 << 20, .seconds = 0.1};
  struct ffb_error error = {0};
  struct timespec start, end;
  write_file("script.lua", text, strlen(text));
  clock_gettime(CLOCK_MONOTONIC, &start);
  assert_null(lua_host_run(script, "tests/lua/bare", NULL, &limits, &error));
  clock_gettime(CLOCK_MONOTONIC, &end);
  assert_one_line(error.message);
  if (!strstr(error.message, "ran longer than 0.1 s"))
    fail_msg("%s: %s", text, error.message);
  assert_true(end.tv_sec - start.tv_sec <= 3);
}

/* Where no instruction of the script is counted: in C, in finalisers, behind handlers. */
static void no_loop_outlives_its_time(void **state) {
  (void)state;
  static const char *const loops[] = {
      "return ('').rep('', math.maxinteger)",
      "return table.move({}, 1, math.maxinteger - 1, 2)",
      "return (('a'):rep(1e5)):gsub('.-.-.-.-b', '')",
      "return (('a'):rep(1e5)):match('.*.*.*.*b')",
      "for _ in (('a'):rep(1e5)):gmatch('.-.-.-.-b') do end",
      "return (('('):rep(1e6)):find('%b()%b()', 1) or (('a'):rep(1e5)):find('a-a-a-a-a-%f[b]')",
      "for i = 1, 1e7 do setmetatable({}, { __gc = function() while true do end end }) end",
      "local x <close> = setmetatable({}, { __close = function() while true do end end })",
      "return setmetatable({}, { __index = function() while true do end end }).x",
      "return setmetatable({}, { __concat = function() while true do end end }) .. 'x'",
      "return tostring(setmetatable({}, { __tostring = function() while true do end end }))",
      "table.sort({ 1, 2, 3, 4 }, function() while true do end end)",
      "return xpcall(error, function() while true do end end)",
      "while true do pcall(string.rep, 'x', 1 << 30) end",
      "while true do pcall(error, 'x') end",
      "local t = setmetatable({}, { __newindex = function(t, k) t[k] = k end }) while true do pcall(rawset, t, 1, 2) "
      "end",
      "::again:: goto again",
      "local function f() return f() end return f()",
  };
  for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
    assert_stopped(loops[i]);
}

static void no_way_to_more_memory(void **state) {
  (void)state;
  static const char *const bombs[] = {
      "return (('x'):rep(1e4)):gsub('x', ('y'):rep(1e5))",
      "return table.concat({ ('x'):rep(4e7), ('x'):rep(4e7) })",
      "return ('%s%s%s%s'):format(('x'):rep(2e7), ('x'):rep(2e7), ('x'):rep(2e7), ('x'):rep(2e7))",
      "local t = {} while true do t[#t + 1] = function() return t end end",
      "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
      "return ('x'):rep(1e3, ('y'):rep(1e6))",
      "return string.pack('s8s8', ('x'):rep(3e7), ('x'):rep(3e7))",
      "return (('x'):rep(5e7)):upper():lower():reverse()",
      "local t = setmetatable({}, { __gc = function(t) while true do t[#t + 1] = {} end end }) t = nil\n"
      "local keep = {} for i = 1, 1e7 do keep[i] = {} end",
  };
  /* Time enough on a machine that does other things too. */
  static const struct lua_host_limits limits = {.memory_bytes = (size_t)64 << 20, .seconds = 30};
  for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
    struct ffb_error error = {0};
    write_file("script.lua", bombs[i], strlen(bombs[i]));
    assert_null(lua_host_run(script, "tests/lua/bare", NULL, &limits, &error));
    if (!strstr(error.message, "asked for more than 64 MiB"))
      fail_msg("%s: %s", bombs[i], error.message);
  }
}

/* JSON is made outside of Lua's memory. */
static void endless_result_is_refused(void **state) {
  (void)state;
  assert_fails("local t = {} for i = 1, 60 do t = { t, t } end return t", "the result takes more than 64 MiB");
  assert_fails("local t, s = {}, ('x'):rep(1e6) for i = 1, 1000 do t[i] = s end return t",
               "the result takes more than 64 MiB");
  assert_fails("local t, s = {}, ('x'):rep(1e6) for i = 1, 1000 do t[i] = { [s] = 1 } end return t",
               "the result takes more than 64 MiB");
  json_t *result = assert_works("local t, s = {}, ('x'):rep(1e5) for i = 1, 50 do t[i] = s end return t");
  assert_int_equal(json_array_size(result), 50);
  json_decref(result);
}

static void messages_are_plain_text(void **state) {
  (void)state;
  assert_fails("error('\\xff\\27[2J\\0rest')", "script.lua:1: ??[2J");
  assert_fails("error(('\\u{e9}'):rep(5000))", "script.lua:1: ");
  assert_fails("return '\\xff'", "not UTF-8");
  assert_fails("return { ['\\xff'] = 1 }", "not UTF-8");
  assert_fails("return 'a\\0b'", "a text with a zero byte");
  assert_fails("return { ['a\\0b'] = 1 }", "a key with a zero byte");
  assert_fails("error(setmetatable({}, { __index = function() error('x') end }))", "raised with a table");
  assert_fails("local t = {} pcall(function() while true do t[#t + 1] = ('x'):rep(100) .. #t end end) error({ a = 1 })",
               "script.lua");
  struct ffb_error error = {0};
  assert_null(evaluate("error({ refused = '\\xff\\r' })", &error));
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_string_equal(error.message, "? ");
}

static void deep_recursion_is_an_error(void **state) {
  (void)state;
  assert_fails("local function f() return 1 + f() end return f()", "script.lua");
  assert_fails("local t = {} t.t = t return t", "one that contains itself");
  assert_fails("local function f(...) return pcall(f, ...) or error('deep') end return f() and f", "script.lua");
  assert_fails("local s = ('('):rep(1e5) return s:find(s)", "script.lua");
  assert_fails("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "script.lua");
  assert_fails("local function f() return tostring(setmetatable({}, { __tostring = f })) end return f()", "script.lua");
  assert_fails("local function f(s) return (s:gsub('.', f)) end return f('x')", "script.lua");
}

static void bytecode_is_refused(void **state) {
  (void)state;
  struct ffb_error error = {0};
  write_file("script.lua", "\x1bLua\x54\x00", 6);
  assert_null(lua_host_run(script, "tests/lua/bare", NULL, &limits, &error));
  assert_contains(error.message, "compiled Lua");
  write_file("module.lua", "\x1bLua\x54\x00", 6);
  error.message[0] = '\0';
  assert_null(evaluate("return require 'module'", &error));
  assert_contains(error.message, "module.lua: this is compiled Lua");
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
  assert_null(lua_host_run("tests/lua/absent.lua", "tests/lua/bare", NULL, &limits, &error));
  assert_contains(error.message, "tests/lua/absent.lua: there is no such file");
  assert_null(lua_host_run("tests/lua/bare", "tests/lua/bare", NULL, &limits, &error));
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
      {6, "smoke = { models = { mlp = 'stritc' } },", "no profile \"stritc\" with runs of its own; did you mean"},
      {6, "smoke = { models = { mpl = 'strict' } },", "no model \"mpl\"; did you mean \"mlp\"?"},
      {6, "smoke = 'smoke',", "no profile \"smoke\" with runs of its own"},
      {6, "smoke = { algorithms = { bp_fp23 = {} } },", "no row \"bp_fp23\"; did you mean \"bp_fp32\"?"},
      {6, "smoke = { algorithms = { bp_fp32 = { learning_rat = 1 } } },", "did you mean \"learning_rate\"?"},
      {6, "smoke = { algorithms = { bp_fp32 = { learning_rate = 'fast' } } },", "learning_rate must be a number"},
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
      {13, "{ 'bp_fp32', models = 'mlp' },", "models must be a table, not a text"},
      {13, "{ 'bp_fp32', models = { 'mpl' } },", "unknown model of this experiment \"mpl\""},
      {14, "{ 'bp_fp32' },", "two rows of algorithms are called \"bp_fp32\""},
      {14, "second = { 'bp_fp32' },", "unknown key \"second\" in algorithms"},
      {18, "strict = { { row = 'bp_fp3', finishes = true } },", "no row \"bp_fp3\""},
      {18, "strict = { { row = 'bp_fp32' } },", "a gate needs"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(cases[i].line, cases[i].replacement, cases[i].part);
}

/* A row's key is an option of the run or of its algorithm; one of both would never reach the algorithm. */
static void no_algorithm_has_an_option_of_the_run(void **state) {
  (void)state;
  const json_t *algorithm, *option, *of_run;
  size_t i, k, n, compared = 0;
  json_array_foreach(json_object_get(registry, "algorithms"), i, algorithm)
      json_array_foreach(json_object_get(algorithm, "options"), k, option)
          json_array_foreach(json_object_get(registry, "run"), n, of_run) {
    assert_string_not_equal(text_of(option, "name"), text_of(of_run, "name"));
    compared++;
  }
  assert_true(compared > 100);
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

static const char *const table5_rows[] = {"bp_fp32",       "bp_int8",       "bp_ui8",          "bp_gdai8",
                                          "ff_int8_tuned", "ff_int8_paper", "ff_int8_one_pass"};
enum { ROWS = sizeof table5_rows / sizeof *table5_rows };

struct planned {
  json_int_t seeds, bp_epochs, ff_epochs, train_limit;
};

/* The cells of one model, from `first` on. */
static void check_cells(const json_t *cells, size_t first, const char *model, const struct planned *planned) {
  bool digits = strcmp(model, "mlp") == 0;
  for (size_t i = 0; i < ROWS * (size_t)planned->seeds; i++) {
    const json_t *cell = json_array_get(cells, first + i), *config = json_object_get(cell, "config");
    bool forward = strcmp(text_of(cell, "algorithm"), "ff_int8") == 0;
    assert_string_equal(text_of(cell, "model"), model);
    assert_string_equal(text_of(cell, "row"), table5_rows[i % ROWS]);
    assert_int_equal(config_number(cell, "seed"), 1 + (json_int_t)i / ROWS);
    assert_int_equal(config_number(cell, "epochs"), forward ? planned->ff_epochs : planned->bp_epochs);
    assert_int_equal(config_number(cell, "train_limit"), planned->train_limit);
    assert_int_equal(config_number(cell, "crop_padding"), digits ? 0 : 4);
    assert_int_equal(json_is_true(json_object_get(config, "flip")), !digits);
    assert_string_equal(text_of(config, "dataset"), digits ? "mnist" : "cifar10");
    assert_true(json_is_true(json_object_get(cell, "selected")));
  }
}

static void table5_plans_its_cells(void **state) {
  (void)state;
  static const char *const others[] = {"mobilenet_v2", "efficientnet_b0", "resnet18"};
  static const struct {
    const char *profile;
    struct planned mlp, other;
  } cases[] = {{"smoke", {1, 3, 3, 4000}, {1, 1, 1, 640}},
               {"quick", {3, 10, 10, 0}, {1, 3, 3, 16000}},
               {"paper", {3, 100, 130, 0}, {3, 100, 500, 0}}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    json_t *plan = plan_table5(cases[c].profile, NULL);
    const json_t *cells = json_object_get(plan, "cells");
    size_t mlp = ROWS * (size_t)cases[c].mlp.seeds, other = ROWS * (size_t)cases[c].other.seeds;
    assert_int_equal(json_array_size(cells), mlp + 3 * other);
    check_cells(cells, 0, "mlp", &cases[c].mlp);
    for (size_t i = 0; i < 3; i++)
      check_cells(cells, mlp + i * other, others[i], &cases[c].other);
    json_decref(plan);
  }
}

/* The more special word wins; --set seeds stands above a model's own seeds. */
static void a_profile_speaks_of_models_and_rows(void **state) {
  (void)state;
  static const char text[] =
      "return experiment { name = 'x',\n"
      "  profiles = { smoke = { epochs = 9, seeds = { 1, 2 }, algorithms = { bp_int8 = { epochs = 8 } },\n"
      "    models = { deep = { epochs = 7, seeds = { 5 }, algorithms = { bp_int8 = { epochs = 6 } } } } } },\n"
      "  models = { { 'mlp', name = 'flat', dataset = 'mnist' }, { 'mlp', name = 'deep', dataset = 'mnist' } },\n"
      "  algorithms = { { 'bp_fp32' }, { 'bp_int8' } } }\n";
  static const struct {
    const char *model;
    json_int_t seed, epochs;
  } expected[] = {{"flat", 1, 9}, {"flat", 1, 8}, {"flat", 2, 9}, {"flat", 2, 8}, {"deep", 5, 7}, {"deep", 5, 6}};
  enum { CELLS = sizeof expected / sizeof *expected };
  write_file("script.lua", text, sizeof text - 1);
  json_t *plan = answer(script, "plan", "smoke", NULL);
  assert_int_equal(json_array_size(json_object_get(plan, "cells")), CELLS);
  for (size_t i = 0; i < CELLS; i++) {
    const json_t *cell = json_array_get(json_object_get(plan, "cells"), i);
    assert_string_equal(text_of(cell, "model"), expected[i].model);
    assert_int_equal(config_number(cell, "seed"), expected[i].seed);
    assert_int_equal(config_number(cell, "epochs"), expected[i].epochs);
  }
  json_decref(plan);
  plan = answer(script, "plan", "smoke", json_pack("{s:[{s:s, s:s}]}", "set", "name", "seeds", "text", "3"));
  assert_int_equal(json_array_size(json_object_get(plan, "cells")), 4);
  assert_int_equal(config_number(json_array_get(json_object_get(plan, "cells"), 3), "seed"), 3);
  json_decref(plan);
}

/* Table V's MLP as paper and its other networks as quick, in the same cells as those profiles': one record serves both.
 */
static void a_profile_takes_models_from_others(void **state) {
  (void)state;
  json_t *reference = plan_table5("reference", NULL), *cell;
  json_t *sources[] = {plan_table5("paper", NULL), plan_table5("quick", NULL)};
  size_t index, next[2] = {0, 0}, compared[2] = {0, 0};
  json_array_foreach(json_object_get(reference, "cells"), index, cell) {
    size_t source = strcmp(text_of(cell, "model"), "mlp") != 0;
    const json_t *cells = json_object_get(sources[source], "cells"), *same = NULL;
    while (next[source] < json_array_size(cells)) {
      same = json_array_get(cells, next[source]++);
      if (strcmp(text_of(same, "model"), text_of(cell, "model")) == 0)
        break;
    }
    assert_string_equal(text_of(cell, "profile"), source ? "quick" : "paper");
    assert_true(json_equal(json_object_get(cell, "config"), json_object_get(same, "config")));
    compared[source]++;
  }
  assert_int_equal(compared[0], 3 * ROWS);
  assert_int_equal(compared[1], 3 * ROWS);
  json_decref(reference);
  json_decref(sources[0]);
  json_decref(sources[1]);
}

/* profiles = { whole = "quick" }: all as quick, under its name. */
static void a_profile_may_be_another_ones_name(void **state) {
  (void)state;
  static const char text[] =
      "return experiment { name = 'x', profiles = { quick = { epochs = 7, seeds = { 4, 5 } }, whole = 'quick' },\n"
      "  models = { mlp = { dataset = 'mnist' } }, algorithms = { { 'bp_fp32' } } }\n";
  write_file("script.lua", text, sizeof text - 1);
  json_t *whole = answer(script, "plan", "whole", NULL), *quick = answer(script, "plan", "quick", NULL);
  assert_int_equal(json_array_size(json_object_get(whole, "cells")), 2);
  assert_true(json_equal(json_object_get(whole, "cells"), json_object_get(quick, "cells")));
  json_decref(whole);
  json_decref(quick);
}

/* Of an algorithm's own options as well: the row's word, the profile's on the algorithm, on the row, there on a model.
 */
static void a_profile_sets_options_of_algorithms(void **state) {
  (void)state;
  static const char text[] =
      "return experiment { name = 'x',\n"
      "  profiles = { smoke = { algorithms = { bp_ui8 = { beta = 0.2, momentum = 0.3 },\n"
      "      mine = { momentum = 0.4, quantise_weight_gradient = false } },\n"
      "    models = { deep = { algorithms = { mine = { momentum = 0.5 } } } } } },\n"
      "  models = { { 'mlp', name = 'flat', dataset = 'mnist' }, { 'mlp', name = 'deep', dataset = 'mnist' } },\n"
      "  algorithms = { { 'bp_ui8', momentum = 0.1 }, { 'bp_ui8', name = 'mine', quantise_weight_gradient = true } } "
      "}\n";
  static const double momenta[] = {0.3, 0.4, 0.3, 0.5};
  write_file("script.lua", text, sizeof text - 1);
  json_t *plan = answer(script, "plan", "smoke", NULL);
  for (size_t i = 0; i < sizeof momenta / sizeof *momenta; i++) {
    const json_t *cell = json_array_get(json_object_get(plan, "cells"), i);
    const json_t *options = json_object_get(json_object_get(cell, "config"), "options");
    assert_float_equal(json_number_value(json_object_get(options, "momentum")), momenta[i], 0);
    assert_float_equal(json_number_value(json_object_get(options, "beta")), 0.2, 0);
    assert_int_equal(json_is_false(json_object_get(options, "quantise_weight_gradient")), i % 2);
  }
  json_decref(plan);
}

/* BP-FP32 on both networks, BP-INT8 on the deep one only. */
static void a_row_may_name_its_models(void **state) {
  (void)state;
  static const char text[] =
      "return experiment { name = 'x', profiles = { smoke = { seeds = { 1, 2 } } },\n"
      "  models = { { 'mlp', name = 'flat', dataset = 'mnist' }, { 'mlp', name = 'deep', dataset = 'mnist' } },\n"
      "  algorithms = { { 'bp_fp32' }, { 'bp_int8', models = { 'deep' } } } }\n";
  static const char *const expected[] = {"flat bp_fp32 seed 1", "flat bp_fp32 seed 2", "deep bp_fp32 seed 1",
                                         "deep bp_int8 seed 1", "deep bp_fp32 seed 2", "deep bp_int8 seed 2"};
  enum { CELLS = sizeof expected / sizeof *expected };
  write_file("script.lua", text, sizeof text - 1);
  json_t *plan = answer(script, "plan", "smoke", NULL), *cells = json_object_get(plan, "cells");
  assert_int_equal(json_array_size(cells), CELLS);
  for (size_t i = 0; i < CELLS; i++)
    assert_string_equal(text_of(json_array_get(cells, i), "id"), expected[i]);
  json_decref(plan);
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
      {"[{\"key\": \"algorithm\", \"value\": \"bp_fp32\"}]", 6},
      {"[{\"key\": \"algorithm\", \"value\": \"ff_int8\"}, {\"key\": \"model\", \"value\": \"mlp\"}]", 9},
      {"[{\"key\": \"dataset\", \"value\": \"cifar10\"}]", 21},
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
  assert_int_equal(count_selected(plan), 28);
  json_array_foreach(json_object_get(plan, "cells"), index, cell) {
    const json_t *config = json_object_get(cell, "config");
    assert_int_equal(config_number(cell, "seed"), 7);
    assert_int_equal(config_number(cell, "epochs"), 3);
    const char *hidden = text_of(json_object_get(config, "model_options"), "hidden");
    if (strcmp(text_of(cell, "model"), "mlp") == 0)
      assert_string_equal(hidden, "50,50");
    else
      assert_null(hidden);
    const char *lookahead = text_of(json_object_get(config, "options"), "lookahead");
    if (strcmp(text_of(cell, "algorithm"), "ff_int8") == 0)
      assert_string_equal(lookahead, "off");
    else
      assert_null(lookahead);
  }
  json_decref(plan);
}

/* ---- the paper's numbers --------------------------------------------------------------------------------------- */

static const char *const networks[] = {"mlp", "mobilenet_v2", "efficientnet_b0", "resnet18"};
static const char *const metrics[] = {"accuracy", "time", "energy", "memory"};
enum { NETWORKS = 4, METRICS = 4 };

/* The value at "table5.mlp.ff_int8.accuracy"; each has its place. */
static double printed(const json_t *paper, const char *format, ...) {
  char path[256];
  const json_t *at = paper;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(path, sizeof path, format, arguments);
  va_end(arguments);
  for (char *rest = path, *key; (key = strsep(&rest, "."));)
    at = json_object_get(at, key);
  assert_true(json_is_number(json_object_get(at, "value")));
  assert_non_null(text_of(at, "place"));
  return json_number_value(json_object_get(at, "value"));
}

static void assert_near(double value, double expected, double tolerance) {
  if (!(value >= expected - tolerance && value <= expected + tolerance))
    fail_msg("%g is not within %g of %g", value, tolerance, expected);
}

static json_t *read_paper(void) {
  struct ffb_error error = {0};
  json_t *paper = lua_host_run("experiments/paper.lua", "tests/lua/bare", NULL, &lua_host_limits_default, &error);
  if (!paper)
    fail_msg("%s", error.message);
  return paper;
}

static void table1_adds_up(void **state) {
  (void)state;
  json_t *paper = read_paper();
  double fp32 = 0, int8 = 0;
  for (int hidden = 0; hidden < 4; hidden++) {
    double a = printed(paper, "table1.hidden%d.bp_fp32", hidden), b = printed(paper, "table1.hidden%d.bp_int8", hidden);
    assert_near(b - a, printed(paper, "table1.hidden%d.difference", hidden), 0.051);
    fp32 += a;
    int8 += b;
  }
  assert_near(fp32, 371.7, 1e-9);
  assert_near(int8, 290.1, 1e-9);
  json_decref(paper);
}

/* The changes in brackets behind FF-INT8 follow from the numbers, so both were typed rightly. */
static void table5_agrees_with_its_changes(void **state) {
  (void)state;
  static const char *const bases[] = {"bp_fp32", "bp_gdai8"};
  json_t *paper = read_paper();
  for (int n = 0; n < NETWORKS; n++)
    for (int b = 0; b < 2; b++)
      for (int m = 0; m < METRICS; m++) {
        double ours = printed(paper, "table5.%s.ff_int8.%s", networks[n], metrics[m]);
        double base = printed(paper, "table5.%s.%s.%s", networks[n], bases[b], metrics[m]);
        double change = printed(paper, "table5_changes.%s.%s.%s", networks[n], bases[b], metrics[m]);
        assert_near(m == 0 ? ours - base : 100 * (ours / base - 1), change, 0.101); /* some are cut, one is 0.1 off */
      }
  double accuracy = 0, memory = 0;
  for (int n = 0; n < NETWORKS; n++) {
    accuracy += printed(paper, "table5.%s.ff_int8.accuracy", networks[n]);
    memory += printed(paper, "table5.%s.ff_int8.memory", networks[n]);
  }
  assert_near(accuracy, 94.3 + 91.1 + 88.6 + 93.1, 1e-9);
  assert_near(memory, 140.7 + 437.0 + 505.2 + 682.3, 1e-9);
  json_decref(paper);
}

/* All printed averages check but one: memory against BP-GDAI8, which is EfficientNet-B0's row. */
static void table5_averages_check_but_one(void **state) {
  (void)state;
  static const char *const bases[] = {"bp_fp32", "bp_gdai8"};
  json_t *paper = read_paper();
  for (int b = 0; b < 2; b++)
    for (int m = 0; m < METRICS; m++) {
      double sum = 0, average = printed(paper, "table5_averages.%s.%s", bases[b], metrics[m]);
      for (int n = 0; n < NETWORKS; n++)
        sum += printed(paper, "table5_changes.%s.%s.%s", networks[n], bases[b], metrics[m]);
      if (b == 1 && m == 3) {
        assert_near(sum / NETWORKS, -24.5, 0.051);
        assert_near(average, printed(paper, "table5_changes.efficientnet_b0.bp_gdai8.memory"), 0);
      } else {
        assert_near(sum / NETWORKS, average, 0.1);
      }
    }
  json_decref(paper);
}

static void other_tables_are_there(void **state) {
  (void)state;
  json_t *paper = read_paper();
  static const double parameters[] = {1.79, 2.24, 3.39, 11.19};
  for (int n = 0; n < NETWORKS; n++)
    assert_near(printed(paper, "table2.%s.parameters", networks[n]), parameters[n], 0);
  assert_near(printed(paper, "table4.ff_int8.multiply_s8") / printed(paper, "table4.bp_gdai8.multiply_s8"), 0.026,
              5e-4);
  assert_near(printed(paper, "table4.bp_fp32.mac_add_f32"), 898.2e6, 0);
  assert_near(printed(paper, "table4.ff_int8.compare_f32") + printed(paper, "table4.ff_int8.add_f32"), 198.3e3, 1e-6);
  const json_t *figure6 = json_object_get(json_object_get(paper, "figure6"), "resnet18");
  const json_t *curve = json_object_get(json_object_get(figure6, "lookahead"), "accuracy");
  assert_int_equal(json_array_size(curve), 20);
  assert_near(json_number_value(json_array_get(json_array_get(curve, 19), 0)), 1000, 0);
  json_decref(paper);
}

/* ---- reports and gates ----------------------------------------------------------------------------------------- */

/* FF-INT8 paper's had to share the machine. */
static json_t *make_record(const json_t *cell, double accuracy) {
  const char *algorithm = text_of(cell, "algorithm");
  double seconds = strcmp(algorithm, "bp_fp32") == 0 ? 20 : 15;
  json_t *record = json_pack(
      "{s:s, s:{s:f}, s:[{}, {}], s:{s:f, s:f}, s:{s:i, s:i}, s:{s:n, s:s}, s:{s:s, s:b, s:b, s:i, s:i}}", "status",
      "done", "accuracy", "test", accuracy, "epochs", "time", "train_seconds", seconds, "step_median_seconds", 0.001,
      "memory", "peak_bytes", strcmp(algorithm, "ff_int8") == 0 ? 14000000 : 25000000, "resident_peak_bytes", 99000000,
      "energy", "joules", "reason", "no meter here", "dataset", "name", "mnist", "official", 1, "synthetic", 0,
      "train_records", 55000, "test_records", 10000);
  json_object_set_new(record, "provenance",
                      json_pack("{s:s, s:b, s:s, s:i, s:b, s:{s:s}, s:{s:s}}", "commit", "fedcba987654", "dirty", 0,
                                "finished", "2026-01-02T03:04:05Z", "threads", 2, "own_machine",
                                strcmp(text_of(cell, "row"), "ff_int8_paper") != 0, "machine", "processor", "Test CPU",
                                "backend", "name", "cpu"));
  json_object_set(record, "config", json_object_get(cell, "config"));
  json_object_set_new(json_object_get(record, "config"), "batch", json_integer(32));
  return record;
}

/* Records for all cells of a plan but one of BP-UI8 and all of one-pass FF-INT8; BP-INT8's seed 2 diverged. */
static json_t *hand_made_cells(const json_t *plan, const char *dataset) {
  json_t *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(json_object_get(plan, "cells"), index, cell) {
    const char *row = text_of(cell, "row");
    json_int_t seed = config_number(cell, "seed");
    char file[64];
    snprintf(file, sizeof file, "record-%s-%d.json", row, (int)seed);
    json_t *found = json_pack("{s:s, s:s, s:s}", "file", file, "dataset", dataset, "reason", "not run");
    bool missing = strcmp(row, "ff_int8_one_pass") == 0 || (strcmp(row, "bp_ui8") == 0 && seed == 3);
    if (!missing)
      json_object_set_new(found, "record", make_record(cell, 97.0 + (double)seed / 10));
    if (strcmp(row, "bp_int8") == 0 && seed == 2) {
      json_t *record = json_object_get(found, "record");
      json_object_set_new(record, "status", json_string("diverged"));
      json_object_set_new(record, "diverged", json_pack("{s:i, s:s}", "epoch", 3, "where", "fc2"));
      json_object_set_new(record, "accuracy", json_pack("{s:n}", "test"));
    }
    json_array_append_new(cells, found);
  }
  return cells;
}

/* The part that is selected by `only`. */
static json_t *report_part(const char *mode, const char *profile, const char *dataset, const char *only) {
  json_t *plan = plan_table5(profile, json_pack("{s:o}", "only", json_loads(only, 0, NULL)));
  json_t *more = json_pack("{s:o, s:o}", "only", json_loads(only, 0, NULL), "cells", hand_made_cells(plan, dataset));
  json_t *result = answer("experiments/table5.lua", mode, profile, more);
  json_decref(plan);
  return result;
}

static json_t *report_table5(const char *mode, const char *dataset) {
  return report_part(mode, "quick", dataset, "[{\"key\": \"model\", \"value\": \"mlp\"}]");
}

static void report_shows_gaps_and_reasons(void **state) {
  (void)state;
  json_t *result = report_table5("report", "mnist");
  const char *markdown = file_text(result, 0), *terminal = text_of(result, "terminal");
  assert_string_equal(text_of(json_array_get(json_object_get(result, "files"), 0), "name"), "table5.md");
  assert_contains(markdown, "Profile quick. mnist (official files, trained on 55000 records, tested on 10000)");
  assert_contains(markdown, "Commit fedcba987654. Records of 2026-01-02.");
  assert_contains(markdown, "Records made by another commit than this program's: fedcba987654");
  assert_contains(markdown, "97.20 ±0.10");
  assert_contains(markdown, "- ¹ no meter here");
  assert_contains(markdown, "seed 3: not run");
  assert_contains(markdown, "seed 2: seed 2 diverged in epoch 3, in fc2");
  assert_contains(markdown, "FF-INT8 one-pass");
  assert_contains(markdown, "memory of FF-INT8 tuned against BP-FP32");
  assert_contains(markdown, "97.2 ±1.27 % (2 of 3)"); /* of BP-INT8, whose second seed diverged: 97.1 and 97.3 */
  assert_contains(markdown, "-44.0 %");
  assert_contains(markdown, "the paper contradicts itself");
  assert_contains(terminal, "BP-GDAI8");
  assert_contains(markdown, "other programs used more than 5 % of the machine meanwhile");
  assert_contains(markdown,
                  "not measured (other programs used the machine meanwhile): time per epoch of FF-INT8 paper");
  assert_null(strstr(markdown, "SYNTHETIC"));
  json_decref(result);
}

/* A meter that saw a part of the time, and a machine that was too hot: the numbers stand, and say so. */
static void report_marks_joules_and_seconds_that_lack_something(void **state) {
  (void)state;
  json_t *only = json_pack("[{s:s, s:s}]", "key", "model", "value", "mlp");
  json_t *plan = plan_table5("quick", json_pack("{s:O}", "only", only));
  json_t *cells = hand_made_cells(plan, "mnist"), *cell;
  size_t index;
  json_array_foreach(cells, index, cell) {
    json_t *record = json_object_get(cell, "record");
    bool odd = index == 3;
    json_object_set_new(record, "energy",
                        json_pack("{s:f, s:f, s:f, s:s, s:s}", "joules", odd ? 12345.0 : 70.0, "coverage",
                                  index ? 0.995 : 0.62, "bridged", 0.001, "source", odd ? "RAPL powercap" : "INA3221",
                                  "rail", odd ? "package-0" : "VDD_IN"));
    json_object_set_new(json_object_get(record, "energy"), "second",
                        json_pack("{s:s, s:f}", "source", "RAPL perf", "ratio", index == 2 ? 0.8 : 1.04));
    if (index)
      json_object_set_new(json_object_get(record, "provenance"), "throttled", json_true());
    json_object_set_new(json_object_get(record, "provenance"), "conditions",
                        json_pack("{s:s, s:s?}", "power_mode", odd ? "7W" : "15W", "throttled_by",
                                  index == 2 ? "graphics card: power limit" : NULL));
    json_object_set_new(json_object_get(record, "time"), "step_median_seconds", json_real(0.125));
  }
  json_t *result =
      answer("experiments/table5.lua", "report", "quick", json_pack("{s:o, s:o}", "only", only, "cells", cells));
  const char *markdown = file_text(result, 0);
  assert_contains(markdown, "Power modes");
  const char *detail = strstr(markdown, "\nIn detail"), *step = detail ? strstr(detail, "125.0") : NULL;
  assert_non_null(step);
  assert_memory_not_equal(step + 5, " |", 2); /* a mark: it was throttled */
  assert_contains(markdown, "the meter saw only 62 % of the time, and the joules are of that");
  assert_contains(markdown, " the machine was throttled meanwhile\n");
  assert_contains(markdown, " the machine was throttled meanwhile (graphics card: power limit)\n");
  assert_contains(markdown, "another reader of the same power, RAPL perf, says 0.80 times that");
  assert_null(strstr(markdown, "1.04 times"));
  assert_null(strstr(markdown, "99 % of the time"));
  assert_contains(markdown, "measured by RAPL powercap (package-0), the others by INA3221 (VDD_IN): not comparable");
  assert_null(strstr(markdown, "12345"));
  assert_null(strstr(markdown, "4161.7")); /* the mean of three seeds with it */
  json_decref(result);
  json_decref(plan);
}

/* Planned, resident, of the control group, of the device: each has its number where a record knows it, and its meaning.
 */
static void each_memory_is_told_apart(void **state) {
  (void)state;
  static const char *const meanings[] = {
      "Memory is the planned peak of all buffers; resident memory is the whole process at its largest",
      "That of the control group is the most that all its processes used since it was made",
      "That of the device is the most in use on the GPU meanwhile, by all programs",
      "the processor's memory too: the same bytes are in the resident peak", "no control group here"};
  for (int known = 0; known < 2; known++) {
    json_t *only = json_pack("[{s:s, s:s}]", "key", "model", "value", "mlp");
    json_t *plan = plan_table5("quick", json_pack("{s:O}", "only", only));
    json_t *cells = hand_made_cells(plan, "mnist"), *cell;
    size_t index;
    json_array_foreach(cells, index, cell) {
      json_t *memory = json_object_get(json_object_get(cell, "record"), "memory");
      if (!known || !memory)
        continue;
      json_object_set_new(memory, "cgroup_peak_bytes", index ? json_null() : json_integer(123600000));
      json_object_set_new(memory, "cgroup_reason", index ? json_string("no control group here") : json_null());
      json_object_set_new(
          memory, "device",
          json_pack("{s:I, s:b}", "used_peak_bytes", (json_int_t)777660000, "shared_with_processor", 1));
    }
    json_t *result =
        answer("experiments/table5.lua", "report", "quick", json_pack("{s:o, s:o}", "only", only, "cells", cells));
    char *markdown = strdup(file_text(result, 0));
    for (char *at = markdown; (at = strchr(at, '\n'));)
      *at = ' ';
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
      assert_int_equal(strstr(markdown, meanings[i]) != NULL, known || i == 0);
    assert_int_equal(strstr(markdown, "records have the peak of the control group and of the device") != NULL, !known);
    assert_int_equal(strstr(markdown, " 123.6") != NULL, known);
    assert_int_equal(strstr(markdown, " 777.7") != NULL, known);
    free(markdown);
    json_decref(result);
    json_decref(plan);
  }
}

/* Each network has its own verdicts; quick says nothing of what convolutional networks learn, but of what they cost. */
static void verdicts_name_their_network(void **state) {
  (void)state;
  json_t *result = report_part("report", "quick", "cifar10",
                               "[{\"key\": \"dataset\", \"value\": \"cifar10\"}, {\"key\": \"algorithm\", \"value\":"
                               " \"bp_fp32\"}, {\"key\": \"algorithm\", \"value\": \"ff_int8_tuned\"}]");
  const char *markdown = file_text(result, 0);
  assert_contains(markdown, "## MobileNet-V2");
  assert_contains(markdown, "\nMobileNet-V2  ");
  assert_contains(markdown, "\nResNet-18  ");
  assert_contains(markdown, "too small to judge by): accuracy of BP-FP32;");
  assert_contains(markdown, "\ntime per epoch of FF-INT8 tuned against BP-FP32");
  assert_null(strstr(markdown, "\naccuracy of"));
  /* Not all of the networks that the paper's averages are over. */
  assert_null(strstr(markdown, "against BP-FP32 on average"));
  json_decref(result);
}

/* Networks of different profiles in one table: what is trained less says so wherever it is named, and is judged as its
 * own profile is. */
static void mixed_profiles_are_marked(void **state) {
  (void)state;
  static const char two_rows[] = "[{\"key\": \"algorithm\", \"value\": \"bp_fp32\"},"
                                 " {\"key\": \"algorithm\", \"value\": \"ff_int8_tuned\"}]";
  json_t *result = report_part("report", "reference", "mnist", two_rows);
  const char *markdown = file_text(result, 0), *csv = file_text(result, 1);
  assert_contains(markdown, "Profile paper (MLP 784-1000-1000-10), profile quick (MobileNet-V2, EfficientNet-B0,");
  assert_contains(markdown, "## MLP 784-1000-1000-10 (profile paper)\n");
  assert_contains(markdown, "## ResNet-18 (profile quick)\n");
  assert_contains(markdown, "\nResNet-18 (profile quick)  "); /* its verdicts */
  assert_contains(markdown, "\nmemory of FF-INT8 tuned against BP-FP32 on average, profiles paper and quick ");
  assert_contains(csv, "table5,paper,mlp,");
  assert_contains(csv, "table5,quick,resnet18,");
  assert_null(strstr(csv, "reference"));
  json_decref(result);
  result = report_part("check", "reference", "mnist", two_rows);
  const char *terminal = text_of(result, "terminal");
  assert_contains(terminal, "MLP 784-1000-1000-10 (profile paper), BP-FP32, every run finishes: done");
  assert_contains(terminal, "ResNet-18 (profile quick), BP-FP32, every run finishes: done");
  assert_null(strstr(terminal, "at least 98 %")); /* quick's gate on the MLP */
  const json_t *entry;
  size_t index, judged = 0, small = 0;
  json_array_foreach(json_object_get(result, "verdicts"), index, entry) {
    bool mlp = strncmp(text_of(entry, "id"), "table5.mlp.", 11) == 0;
    const char *reason = text_of(entry, "reason");
    judged += mlp && strstr(text_of(entry, "id"), "more_epochs") && !(reason && strstr(reason, "too small"));
    small += !mlp && reason && strcmp(reason, "profile quick is too small to judge by") == 0;
    assert_false(mlp && reason && strstr(reason, "too small"));
  }
  assert_true(judged > 0 && small > 0);
  json_decref(result);
  result = answer("experiments/fig6.lua", "report", "reference", NULL);
  const json_t *figures = json_object_get(result, "figures");
  assert_string_equal(text_of(json_array_get(figures, 0), "footer"), "ffbench, profile paper; no run yet");
  assert_string_equal(text_of(json_array_get(figures, 1), "footer"), "ffbench, profile quick; no run yet");
  assert_contains(text_of(json_array_get(figures, 1), "title"), "ResNet-18 (profile quick)");
  json_decref(result);
}

/* BP-FP32 takes 20 s and 25 MB in each hand-made record, FF-INT8 15 s and 14 MB. */
static void averages_are_over_the_networks(void **state) {
  (void)state;
  static const char two_rows[] = "[{\"key\": \"algorithm\", \"value\": \"bp_fp32\"},"
                                 " {\"key\": \"algorithm\", \"value\": \"ff_int8_tuned\"}]";
  json_t *result = report_part("report", "quick", "mnist", two_rows);
  const char *line = strstr(file_text(result, 0), "\nmemory of FF-INT8 tuned against BP-FP32 on average");
  assert_non_null(line);
  assert_contains(line, "| -38.7 % | -44.0 % | not reproduced");
  line = strstr(file_text(result, 0), "\ntime per epoch of FF-INT8 tuned against BP-FP32 on average");
  assert_non_null(line);
  /* One seed of the convolutional networks: the bytes are what they are, the seconds have no interval. */
  assert_contains(line, "| -28.6 % | -25.0 % | underpowered: 2 seeds");
  json_decref(result);
  result = report_part("report", "paper", "mnist", two_rows);
  line = strstr(file_text(result, 0), "\ntime per epoch of FF-INT8 tuned against BP-FP32 on average");
  assert_non_null(line);
  assert_contains(line, "| -28.6 % | -25.0 % | reproduced");
  json_decref(result);
}

/* The line that opens with this title, from `from` on; it must have a mark behind the title, or none. Returns what
 * comes after it, or null where there is no more such line. */
static const char *next_line(const char *from, const char *title, const char *mark) {
  char start[64];
  size_t length = (size_t)snprintf(start, sizeof start, "\n%s", title);
  const char *line = strstr(from, start);
  if (line && (strncmp(line + length, mark, strlen(mark)) != 0 || line[length + strlen(mark)] != ' '))
    fail_msg("\"%s\" should be followed by \"%s\": %.60s", title, mark, line + 1);
  return line ? line + length : NULL;
}

static void assert_marked(const char *markdown, const char *title, const char *mark, int least) {
  int lines = 0;
  for (const char *at = markdown; (at = next_line(at, title, mark)); lines++) {
  }
  if (lines < least)
    fail_msg("%s stands in %d tables", title, lines);
}

/* What stands before a footnote: "- ¹ not run". */
static void mark_of(const char *markdown, const char *note, char mark[16]) {
  const char *at = strstr(markdown, note);
  if (!at)
    fail_msg("no footnote \"%s\" in: %s", note, markdown);
  const char *start = at - 1;
  while (start > markdown && start[-1] != ' ')
    start--;
  snprintf(mark, 16, "%.*s", (int)(at - 1 - start), start);
}

/* The tables' rows whose records come from a changed tree, from no known commit or from other data, and no others. */
static void doubtful_records_are_marked_in_every_table(void **state) {
  (void)state;
  static const char only[] = "[{\"key\": \"model\", \"value\": \"mlp\"}]";
  json_t *plan = plan_table5("quick", json_pack("{s:o}", "only", json_loads(only, 0, NULL)));
  json_t *cells = hand_made_cells(plan, "mnist"), *cell;
  size_t index;
  json_array_foreach(cells, index, cell) {
    json_t *record = json_object_get(cell, "record"), *provenance = json_object_get(record, "provenance");
    const json_t *config = json_object_get(record, "config");
    const char *row = text_of(json_array_get(json_object_get(plan, "cells"), index), "row");
    json_int_t seed = json_integer_value(json_object_get(config, "seed"));
    json_object_set_new(json_object_get(record, "memory"), "peak_bytes_by_tag", json_pack("{s:i}", "weights", 7));
    if (strcmp(row, "bp_gdai8") == 0 && seed == 2)
      json_object_set_new(provenance, "dirty", json_true());
    if (strcmp(row, "ff_int8_tuned") == 0) {
      json_object_set_new(provenance, "commit", json_string("unknown"));
      json_object_set_new(json_object_get(record, "dataset"), "official", json_false());
      json_object_set_new(json_object_get(record, "dataset"), "sha256", json_string("0123456789abcdef"));
    }
  }
  json_t *more = json_pack("{s:o, s:O, s:b}", "only", json_loads(only, 0, NULL), "cells", cells, "page", 1);
  json_t *result = answer("experiments/table5.lua", "report", "quick", more);
  const char *markdown = file_text(result, 0), *csv = file_text(result, 1);
  char changed[16], unknown[16], other[16], both[32];
  mark_of(markdown, "made by a program with uncommitted changes to fedcba987654\n", changed);
  mark_of(markdown, "made by a program of unknown commit\n", unknown);
  mark_of(markdown, "made with data that are not the published mnist (SHA-256 0123456789ab)\n", other);
  snprintf(both, sizeof both, "%s,%s", unknown, other);
  /* Absolute, against BP-FP32, cost, in detail, bytes by tag. */
  assert_marked(markdown, "BP-GDAI8", changed, 5);
  assert_marked(markdown, "FF-INT8 tuned", both, 5);
  assert_marked(markdown, "BP-UI8", "", 5);
  assert_marked(markdown, "memory of FF-INT8 tuned against BP-FP32", both, 1);
  assert_contains(text_of(result, "terminal"), "uncommitted changes to fedcba987654");
  assert_contains(csv, ",gap,records,doubts\n");
  assert_contains(csv, "record-bp_gdai8-3.json,made by a program with uncommitted changes to fedcba987654\n");
  assert_contains(csv, "record-bp_ui8-2.json,\n");
  json_t *section = json_object_get(result, "section");
  assert_int_equal(json_array_size(json_object_get(section, "records")), 3 * 4 + 2 + 3);
  char *page = json_dumps(section, JSON_COMPACT);
  assert_contains(page, "made by a program of unknown commit");
  free(page);
  json_decref(plan);
  json_decref(cells);
  json_decref(result);
}

/* 12 values: 2 of them 0, 6 in the middle of three bins, 1 on each side, 2 outside; with `wide` all but those in bins.
 * After the last of two epochs, one seed has something that is not finite. */
static json_t *make_gradients(json_int_t seed, bool wide) {
  json_t *list = json_array();
  for (int epoch = 0; epoch <= 2; epoch++) {
    bool finite = epoch < 2 || seed != 2;
    json_t *layer = json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:{s:f, s:i, s:[i, i, i]}}", "layer", "fc1",
                              "values", 12, "zeros", 2, "minimum", -0.004, "maximum", 0.002, "largest_over_median",
                              epoch < 2 ? 40.0 : 4.3e8, "int8_zero_share", 0.25, "histogram", "limit", 0.003, "outside",
                              wide ? 0 : 2, "counts", 1, wide ? 8 : 6, 1);
    json_object_set_new(layer, "kurtosis", finite ? json_real(10.0 * epoch + (double)seed) : json_string("nan"));
    json_array_append_new(list, json_pack("{s:i, s:i, s:[o]}", "epoch", epoch, "records", 32, "layers", layer));
  }
  return list;
}

static void assert_point(const json_t *series, size_t index, double x, double y) {
  const json_t *point = json_array_get(json_object_get(series, "points"), index);
  assert_near(json_number_value(json_array_get(point, 0)), x, 1e-12);
  assert_near(json_number_value(json_array_get(point, 1)), y, 1e-12);
}

/* Records for all but the deepest network, with standardised inputs wide ones. */
static void gradients_are_told_by_depth(void **state) {
  (void)state;
  json_t *plan = answer("experiments/fig3.lua", "plan", "quick", NULL), *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(json_object_get(plan, "cells"), index, cell) {
    json_int_t seed = config_number(cell, "seed");
    json_t *found = json_pack("{s:s, s:s, s:s}", "file", "r.json", "dataset", "mnist", "reason", "not run");
    assert_int_equal(config_number(cell, "gradient_statistics"), 32);
    if (strcmp(text_of(cell, "model"), "hidden3") != 0) {
      json_t *record = make_record(cell, 97);
      json_object_set_new(record, "gradients", make_gradients(seed, strcmp(text_of(cell, "row"), "standardised") == 0));
      json_object_set_new(found, "record", record);
    }
    json_array_append_new(cells, found);
  }
  assert_int_equal(json_array_size(cells), 4 * 2 * 3);
  json_t *result = answer("experiments/fig3.lua", "report", "quick", json_pack("{s:o}", "cells", cells));
  const char *markdown = file_text(result, 0), *standardised = strstr(markdown, "## standardised inputs");
  assert_contains(markdown, "excess kurtosis          | 2.0 ±1.0 | 2.0 ±1.0 | 2.0 ±1.0 |");
  assert_contains(markdown, "excess kurtosis          | 12.0 ±1.0 | 12.0 ±1.0 | 12.0 ±1.0 |");
  assert_contains(markdown, "largest over median      |       40 |");
  assert_contains(markdown, "largest over median      |  4.3e+08 |");
  assert_contains(markdown, "no gradient (%)          |     16.7 |     16.7 |     16.7 |");
  assert_contains(markdown, "largest (10⁻³)           |      4.0 |");
  assert_contains(markdown, "turned to 0 by INT8 (%)  |     25.0 |");
  assert_contains(markdown, "highest bin (%)          |     60.0 |     60.0 |     60.0 |       -¹ | 4.1, 6.7, 26");
  assert_contains(markdown, "99 % lie within ± (10⁻³) |       -² |");
  assert_contains(markdown, "excess kurtosis          |      nan |");
  assert_contains(markdown, "- ¹ not run\n- ² beyond the histogram");
  assert_non_null(standardised);
  assert_contains(standardised, "99 % lie within ± (10⁻³) |     3.00 |");
  assert_contains(standardised, "highest bin (%)          |     80.0 |");
  const json_t *drawn = json_object_get(result, "figures"), *panel, *series;
  assert_int_equal(json_array_size(drawn), 4);
  panel = json_array_get(json_object_get(json_array_get(drawn, 0), "panels"), 1);
  series = json_object_get(panel, "series");
  assert_int_equal(json_array_size(series), 4);
  assert_point(json_array_get(series, 0), 0, -2, 10);
  assert_point(json_array_get(series, 0), 1, 0, 60);
  assert_point(json_array_get(series, 0), 2, 2, 10);
  assert_int_equal(json_array_size(json_object_get(json_array_get(series, 3), "points")), 0);
  panel = json_array_get(json_object_get(json_array_get(drawn, 1), "panels"), 0);
  assert_point(json_array_get(json_object_get(panel, "series"), 0), 0, 0, 2);
  assert_point(json_array_get(json_object_get(panel, "series"), 0), 1, 1, 12);
  json_decref(result);
  json_decref(plan);
}

/* Three epochs to 90 % with look-ahead, six without; a plateau is the mean of the last three of twelve. */
static void add_curve(json_t *record, int rise) {
  json_t *epochs = json_array();
  for (int epoch = 1; epoch <= 12; epoch++)
    json_array_append_new(epochs, json_pack("{s:f}", "validation_accuracy", epoch < rise ? 50.0 : 90.0));
  json_object_set_new(record, "epochs", epochs);
}

/* FP32 has 95 % at every depth. A fixed range of 1 collapses as in the paper, one of 0.1 with three hidden layers only,
 * one of 0.01 without a hidden layer too. */
static json_t *record_of_reading(const json_t *cell) {
  const char *row = text_of(cell, "row"), *model = text_of(cell, "model");
  char depth = model[strlen(model) - 1];
  double accuracy = 95;
  if (strcmp(row, "int8_range_1") == 0)
    accuracy = depth == '0' ? 94 : 70;
  else if (strcmp(row, "int8_range_01") == 0)
    accuracy = depth == '3' ? 70 : 95;
  else if (strcmp(row, "int8_range_001") == 0)
    accuracy = 10;
  else if (strcmp(row, "ff_hard") == 0)
    accuracy = 96;
  json_t *record = make_record(cell, accuracy);
  add_curve(record, strcmp(row, "tuned_scalar") == 0 ? 3 : 6);
  return record;
}

static json_t *report_readings(const char *profile, bool with_records) {
  json_t *plan = answer("experiments/readings.lua", "plan", profile, NULL), *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(json_object_get(plan, "cells"), index, cell) {
    json_t *found = json_pack("{s:s, s:s, s:s}", "file", "r.json", "dataset", "mnist", "reason", "not run");
    assert_int_equal(strcmp(text_of(cell, "algorithm"), "ff_int8") == 0, strcmp(text_of(cell, "model"), "mlp") == 0);
    if (with_records)
      json_object_set_new(found, "record", record_of_reading(cell));
    json_array_append_new(cells, found);
  }
  json_decref(plan);
  return answer("experiments/readings.lua", "report", profile, json_pack("{s:o}", "cells", cells));
}

/* The columns of the row of that title in the first table that has it, without spaces around. */
static void assert_row(const char *markdown, const char *title, const char *columns) {
  char line[1024], squeezed[1024] = "";
  const char *at = strstr(markdown, title);
  assert_non_null(at);
  snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
  for (char *rest = line, *word; (word = strsep(&rest, " "));)
    if (*word)
      snprintf(squeezed + strlen(squeezed), sizeof squeezed - strlen(squeezed), "%s%s", *squeezed ? " " : "", word);
  if (!strstr(squeezed, columns))
    fail_msg("\"%s\" is not in \"%s\"", columns, squeezed);
}

static void readings_have_verdicts(void **state) {
  (void)state;
  json_t *result = report_readings("quick", true);
  const char *markdown = file_text(result, 0);
  assert_string_equal(text_of(json_array_get(json_object_get(result, "files"), 0), "name"), "readings.md");
  assert_row(markdown, "paper: INT8", "| 88.7 | 73.8 | 62.4 | 65.2 |");
  assert_row(markdown, "INT8: each tensor", "| 95.00 | 95.00 | 95.00 | 95.00 | - | not reproduced |");
  assert_row(markdown, "fixed range: 1 ", "| 94.00 | 70.00 | 70.00 | 70.00 | 1, 2, 3 | reproduced | 1.25 | 25.0");
  assert_row(markdown, "fixed range: 0.1", "| 95.00 | 95.00 | 95.00 | 70.00 | 3 | not reproduced |");
  assert_row(markdown, "fixed range: 0.01", "| 1, 2, 3 | not reproduced |");
  const char *tuned = strstr(markdown, "preset tuned"), *paper = strstr(markdown, "preset paper");
  assert_non_null(tuned);
  assert_non_null(paper);
  assert_row(tuned, "no look-ahead", "| 95.00 | 90.00 | 6.0 | - | - | - |");
  assert_row(tuned, "scalar (default)", "| 3.0 | -3.00 epochs: reproduced | +0.00 points: reproduced |");
  assert_row(paper, "scalar (default)", "| 6.0 | +0.00 epochs: not reproduced |");
  assert_row(markdown, "negatives: hard", "| 96.00 | +1.00 ±0.00 |");
  json_decref(result);
}

static void readings_are_swept_at_every_size(void **state) {
  (void)state;
  static const char *const profiles[] = {"smoke", "quick", "paper"};
  for (size_t i = 0; i < 2 * sizeof profiles / sizeof *profiles; i++) {
    json_t *result = report_readings(profiles[i / 2], i % 2);
    const char *markdown = file_text(result, 0);
    assert_int_equal(strstr(markdown, "not run") != NULL, i % 2 == 0);
    if (i / 2 == 0 && i % 2)
      assert_contains(markdown, "profile smoke is too small to judge by");
    json_decref(result);
  }
}

/* ---- look-ahead on a convolutional network ---------------------------------------------------------------------- */

static const json_t *option_of(const json_t *cell, const char *name) {
  return json_object_get(json_object_get(json_object_get(cell, "config"), "options"), name);
}

/* The options of a cell without those of look-ahead. */
static json_t *without_lookahead(const json_t *cell) {
  json_t *config = json_deep_copy(json_object_get(cell, "config")), *options = json_object_get(config, "options");
  json_object_del(options, "lookahead");
  json_object_del(options, "lambda_step");
  return config;
}

static bool same_option(const json_t *a, const json_t *b, const char *name) {
  return json_equal(option_of(a, name), option_of(b, name));
}

/* What stands under one unit and label differs in look-ahead only, each reading once; the rate is the best of
 * results/search/search_convolutional.md. */
static void lookahead_rows_are_comparable(void **state) {
  (void)state;
  static const char *const profiles[] = {"smoke", "quick", "paper"};
  static const double steps[] = {0.5, 0.2, 0}; /* quick: 5 epochs for the paper's 1,000 of 0.001 */
  for (size_t p = 0; p < sizeof profiles / sizeof *profiles; p++) {
    json_t *plan = answer("experiments/lookahead.lua", "plan", profiles[p], NULL);
    const json_t *cells = json_object_get(plan, "cells"), *a, *b;
    size_t i, k, compared = 0;
    json_array_foreach(cells, i, a) {
      const char *reading = json_string_value(option_of(a, "lookahead"));
      if (!reading)
        continue;
      assert_float_equal(json_number_value(option_of(a, "learning_rate")), 0.1, 0);
      assert_float_equal(json_number_value(option_of(a, "lambda_step")), strcmp(reading, "off") == 0 ? 0 : steps[p], 0);
      json_array_foreach(cells, k, b) {
        bool together = i != k && config_number(a, "seed") == config_number(b, "seed") && option_of(b, "lookahead") &&
                        same_option(a, b, "unit") && same_option(a, b, "label");
        if (!together)
          continue;
        json_t *left = without_lookahead(a), *right = without_lookahead(b);
        assert_true(json_equal(left, right));
        assert_false(same_option(a, b, "lookahead"));
        json_decref(left);
        json_decref(right);
        compared++;
      }
    }
    size_t seeds = p == 2 ? 3 : 1;
    assert_int_equal(compared,
                     seeds * 3 * (3 * 2 + 4 * 3)); /* ordered pairs of three and of four readings of a label */
    assert_int_equal(json_array_size(cells), seeds * (3 * (3 + 4) + 2));
    json_decref(plan);
  }
}

static void lookahead_is_reported(void **state) {
  (void)state;
  json_t *plan = answer("experiments/lookahead.lua", "plan", "quick", NULL), *cells = json_array(), *cell;
  size_t i;
  json_array_foreach(json_object_get(plan, "cells"), i, cell) {
    json_t *found = json_pack("{s:s, s:s, s:s}", "file", "r.json", "dataset", "cifar10", "reason", "not run");
    if (i > 0)
      json_object_set_new(found, "record", make_record(cell, 40.0 + (double)i));
    json_array_append_new(cells, found);
  }
  json_decref(plan);
  json_t *result = answer("experiments/lookahead.lua", "report", "quick", json_pack("{s:o}", "cells", cells));
  const char *markdown = file_text(result, 0);
  assert_row(markdown, "block | overlay | off", "block | overlay | off | -¹ | -¹ | - | - | -¹ | -¹");
  assert_row(markdown, "block | overlay | scalar, block", "| 41.00 | -² | 2 | 0.2 | 15.0 | 14.0"); /* epochs: 0, 0.2 */
  assert_row(markdown, "layer | pattern | block", "| 59.00 | -² | 2 | 0.2 |");
  assert_row(markdown, "layer | pattern | off", "| 57.00 | -² | 2 | - |");
  assert_row(markdown, "layer | none    | one-pass", "| 62.00 |");
  assert_contains(markdown, "not run");
  json_decref(result);
}

/* What docs/edit-an-experiment.md shows: a report of the author's own. */
static void author_writes_a_report(void **state) {
  (void)state;
  static const char text[] =
      "local tables = require 'lib.tables'\n"
      "local function report(results)\n"
      "  local list = tables.new { { title = 'Row', align = 'left' }, { title = 'Seconds', align = 'right' } }\n"
      "  for _, row in ipairs(results.models[1].rows) do list:add(row.title, row:text('time')) end\n"
      "  return { { heading = 'Mine' }, list, 'That was it.' }\n"
      "end\n"
      "return experiment {\n"
      "  name = 'mine', profiles = { quick = { epochs = 3 } },\n"
      "  models = { { 'mlp', name = 'deep', dataset = 'mnist', options = { hidden = { 50, 50, 50 } } },\n"
      "             { 'mlp', name = 'flat', dataset = 'mnist', options = { hidden = '' } } },\n"
      "  algorithms = { { 'bp_fp32' } }, report = report,\n"
      "}\n";
  write_file("script.lua", text, sizeof text - 1);
  json_t *plan = answer(script, "plan", "quick", NULL);
  const json_t *cells = json_object_get(plan, "cells");
  assert_int_equal(json_array_size(cells), 2);
  assert_string_equal(text_of(json_array_get(cells, 0), "model"), "deep");
  json_t *result = answer(script, "report", "quick", json_pack("{s:o}", "cells", hand_made_cells(plan, "mnist")));
  assert_string_equal(text_of(json_array_get(json_object_get(result, "files"), 0), "name"), "mine.md");
  assert_contains(file_text(result, 0), "## Mine\n\nRow     | Seconds\n------- | ------:\nbp_fp32 |    20.0\n");
  assert_contains(file_text(result, 0), "That was it.");
  json_decref(result);
  json_decref(plan);
}

/* No line of the terminal's text is wider than a hundred columns. */
static void report_fits_a_terminal(void **state) {
  (void)state;
  json_t *result = report_table5("report", "mnist"), *check = report_table5("check", "synthetic_digits");
  const char *texts[] = {text_of(result, "terminal"), text_of(check, "terminal")};
  for (size_t i = 0; i < 2; i++) {
    size_t columns = 0;
    for (const char *c = texts[i]; *c; c++) {
      columns = *c == '\n' ? 0 : columns + ((*c & 0xc0) != 0x80);
      assert_true(columns <= 100);
    }
  }
  json_decref(result);
  json_decref(check);
}

static void report_is_the_same_every_time(void **state) {
  (void)state;
  json_t *first = report_table5("report", "mnist"), *second = report_table5("report", "mnist");
  assert_true(json_equal(first, second));
  json_decref(first);
  json_decref(second);
}

static void synthetic_data_is_announced_everywhere(void **state) {
  (void)state;
  json_t *result = report_table5("report", "synthetic_digits");
  static const char banner[] = "SYNTHETIC DATA: synthetic_digits stands in for mnist";
  assert_contains(file_text(result, 0), banner);
  assert_contains(file_text(result, 1), "SYNTHETIC DATA: synthetic_digits instead of mnist");
  assert_contains(text_of(result, "terminal"), banner);
  assert_contains(file_text(result, 0), "not measured (synthetic_digits stands in for mnist): accuracy of BP-FP32");
  json_decref(result);
}

/* One CSV field, quotes removed; returns what follows it. */
static const char *next_field(const char *at, char *field, size_t size) {
  bool quoted = *at == '"';
  size_t used = 0;
  for (at += quoted; *at && *at != '\n' && (quoted || *at != ','); at++) {
    if (quoted && *at == '"' && at[1] != '"') {
      at++;
      break;
    }
    at += quoted && *at == '"';
    if (used + 1 < size)
      field[used++] = *at;
  }
  field[used] = '\0';
  return *at == ',' ? at + 1 : at;
}

static void every_number_names_its_records(void **state) {
  (void)state;
  enum { METRIC = 7, N = 9, MEAN = 10, GAP = 15, RECORDS = 16, FIELDS = 17 };
  json_t *result = report_table5("report", "mnist");
  size_t lines = 0, numbers = 0;
  for (const char *at = strchr(file_text(result, 1), '\n') + 1; *at; at++, lines++) {
    char fields[FIELDS][512];
    for (int i = 0; i < FIELDS; i++)
      at = next_field(at, fields[i], sizeof fields[i]);
    assert_int_equal(*at, '\n');
    int n = atoi(fields[N]), named = 0;
    for (const char *name = fields[RECORDS]; (name = strstr(name, "record-")); name++)
      named++;
    assert_int_equal(named, n);
    assert_int_equal(strcmp(fields[MEAN], "-") == 0, n == 0);
    assert_true(n == 3 || fields[GAP][0] != '\0');
    numbers += n > 0;
  }
  /* Rows times metrics, with epochs, energy per epoch, what it takes to 94.3 %, and memory by its seven tags; and what
   * claims compare of the forward-forward rows with one base and with two: plateaus, and multiply-accumulates in all.
   */
  assert_int_equal(lines, 7 * (9 + 4 + 7) + 3 + 4);
  /* Six rows have records, and no record has energy or validation accuracy. */
  assert_int_equal(numbers, 6 * 7);
  json_decref(result);
}

static void gates_decide(void **state) {
  (void)state;
  json_t *result = report_table5("check", "mnist");
  /* BP-FP32's 97.2 is below 98.0, one-pass FF-INT8 was not run, nor was one BP-UI8; FF-INT8 is as good as BP-GDAI8. */
  assert_int_equal(json_integer_value(json_object_get(result, "failed")), 4);
  const json_t *gates = json_object_get(result, "gates");
  assert_int_equal(json_array_size(gates), 3 + ROWS);
  assert_string_equal(text_of(json_array_get(gates, 0), "status"), "failed");
  assert_string_equal(text_of(json_array_get(gates, 1), "status"), "failed");
  assert_contains(text_of(json_array_get(gates, 1), "found"), "not run");
  assert_string_equal(text_of(json_array_get(gates, 2), "status"), "passed");
  /* BP-INT8 may diverge. */
  const json_t *last = json_array_get(gates, 3 + ROWS - 1);
  assert_string_equal(text_of(last, "subject"), "BP-INT8");
  assert_string_equal(text_of(last, "found"), "diverged");
  assert_string_equal(text_of(last, "status"), "passed");
  json_decref(result);
  result = report_table5("check", "synthetic_digits");
  assert_string_equal(text_of(json_array_get(json_object_get(result, "gates"), 0), "status"), "skipped");
  json_decref(result);
}

/* The names behind EXPERIMENTS in the Makefile: what `make reproduce` and `make check` go through. */
static int read_experiments(char names[][64], int most) {
  struct ffb_error error;
  size_t bytes;
  int count = 0;
  char *text = file_read("Makefile", &bytes, &error), *line = text ? strstr(text, "\nEXPERIMENTS ?=") : NULL;
  assert_non_null(line);
  line += strlen("\nEXPERIMENTS ?=");
  line[strcspn(line, "\n")] = '\0';
  for (char *word = strtok(line, " "); word && count < most; word = strtok(NULL, " "))
    snprintf(names[count++], 64, "%s", word);
  ffb_free(text);
  return count;
}

/* Each insists on something in each profile, and nothing of that passes before anything was run. */
static void every_profile_has_gates(void **state) {
  static const char *const profiles[] = {"smoke", "quick", "paper"};
  char names[16][64];
  (void)state;
  int count = read_experiments(names, 16);
  assert_true(count >= 8);
  for (int i = 0; i < count; i++)
    for (size_t p = 0; p < sizeof profiles / sizeof *profiles; p++) {
      char file[128];
      snprintf(file, sizeof file, "experiments/%.63s.lua", names[i]);
      json_t *result = answer(file, "check", profiles[p], NULL), *gate;
      const json_t *gates = json_object_get(result, "gates");
      size_t index;
      assert_true(json_array_size(gates) > 0);
      assert_int_equal(json_integer_value(json_object_get(result, "failed")), json_array_size(gates));
      json_array_foreach(gates, index, gate) assert_string_equal(text_of(gate, "status"), "failed");
      json_decref(result);
    }
}

/* ---- the verbs ------------------------------------------------------------------------------------------------- */

/* Run a verb with its output in a file, and return the exit status. */
static int command(char *output, size_t size, const char *verb, const char *more) {
  char log[PATH_MAX + 16], results[PATH_MAX + 16], copy[512],
      *arguments[32] = {(char *)verb, (char *)"--results", results};
  int count = 3;
  snprintf(log, sizeof log, "%s/log", folder);
  snprintf(results, sizeof results, "%s/results", folder);
  snprintf(copy, sizeof copy, "%s", more);
  for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
    arguments[count++] = word;
  fflush(NULL);
  int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), to = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(to, STDOUT_FILENO);
  dup2(to, STDERR_FILENO);
  int status = experiment_command(count, arguments);
  fflush(NULL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  ssize_t got = pread(to, output, size - 1, 0);
  output[got > 0 ? got : 0] = '\0';
  close(out), close(err), close(to);
  return status;
}

enum { OUTPUT_BYTES = 1 << 16 };
static char output[OUTPUT_BYTES];

static void assert_command(int status, const char *verb, const char *more, const char *part) {
  int got = command(output, sizeof output, verb, more);
  if (got != status)
    fail_msg("%s %s ended with %d: %s", verb, more, got, output);
  assert_contains(output, part);
}

static void wrong_usage_has_status_2(void **state) {
  (void)state;
  assert_command(2, "run", "", "EXPERIMENT.lua");
  assert_command(2, "run", "tests/lua/tiny.lua --profle smoke", "did you mean --profile");
  assert_command(2, "run", "tests/lua/tiny.lua --profile smok", "did you mean \"smoke\"?");
  assert_command(2, "run", "tests/lua/tiny.lua --profile smoke --only algorithm", "write KEY=VALUE");
  assert_command(2, "report", "tests/lua/tiny.lua --profile smoke --set learning_rate=fast", "must be a number");
  assert_command(1, "report", "tests/lua/absent.lua", "there is no such file");
  assert_command(0, "run", "--help", "--dry-run");
}

static char *read_table(const char *name) {
  char path[PATH_MAX + 64];
  struct ffb_error error;
  size_t bytes;
  snprintf(path, sizeof path, "%s/results/%s", folder, name);
  char *text = file_read(path, &bytes, &error);
  assert_non_null(text);
  return text;
}

static void experiment_runs_continues_and_reports(void **state) {
  (void)state;
  assert_command(1, "check", "tests/lua/tiny.lua --profile smoke", "A gate failed.");
  assert_command(0, "run", "tests/lua/tiny.lua --profile smoke --dry-run", "4 runs, 0 done, 4 to train");
  assert_command(0, "run", "tests/lua/tiny.lua --profile smoke --quiet --only algorithm=bp_fp32", "2 to train");
  char *table = read_table("tiny.md");
  assert_contains(table, "not run"); /* the row that --only left out is a gap */
  ffb_free(table);
  assert_command(0, "run", "tests/lua/tiny.lua --profile smoke --quiet", "4 runs, 2 done, 2 to train");
  assert_command(0, "run", "tests/lua/tiny.lua --profile smoke --quiet", "4 runs, 4 done, 0 to train");
  assert_command(0, "check", "tests/lua/tiny.lua --profile smoke", "No gate failed.");
  assert_command(1, "check", "tests/lua/tiny.lua --profile strict", "A gate failed.");
}

/* One failed gate: status 1, and a file that says so. */
static void check_writes_junit(void **state) {
  (void)state;
  char more[2 * PATH_MAX], path[PATH_MAX + 64];
  struct ffb_error error;
  size_t bytes;
  snprintf(path, sizeof path, "%s/junit.xml", folder);
  snprintf(more, sizeof more, "tests/lua/tiny.lua --profile strict --junit %s", path);
  assert_command(1, "check", more, "A gate failed.");
  char *text = file_read(path, &bytes, &error);
  assert_non_null(text);
  assert_contains(text, "<testsuites name=\"ffbench tiny.strict\" tests=\"1\" failures=\"1\">");
  assert_contains(text, "<failure message=");
  ffb_free(text);
  snprintf(more, sizeof more, "tests/lua/tiny.lua --profile strict --junit %s/x.xml", path);
  assert_command(1, "check", more, "name another file with --junit FILE");
  assert_command(2, "report", "tests/lua/tiny.lua --profile strict --junit x.xml", "--junit");
}

static void tables_are_made_again_byte_for_byte(void **state) {
  (void)state;
  static const char *const names[] = {"tiny.md", "tiny.csv"};
  assert_command(0, "run", "tests/lua/tiny.lua --profile smoke --quiet", "tiny.md");
  for (size_t i = 0; i < 2; i++) {
    char path[PATH_MAX + 64], *before = read_table(names[i]);
    snprintf(path, sizeof path, "%s/results/%s", folder, names[i]);
    assert_int_equal(unlink(path), 0);
    assert_command(0, "report", "tests/lua/tiny.lua --profile smoke", "A tiny experiment");
    char *after = read_table(names[i]);
    assert_string_equal(before, after);
    ffb_free(before);
    ffb_free(after);
  }
}

/* Each record that the CSV names is there and has the number. */
static void records_named_in_the_table_exist(void **state) {
  (void)state;
  assert_command(0, "run", "tests/lua/tiny.lua --profile smoke --quiet", "tiny.csv");
  char *table = read_table("tiny.csv"), *at = table;
  size_t found = 0;
  while ((at = strstr(at, "mlp-bp_"))) {
    char path[2 * PATH_MAX], *end = strstr(at, ".json");
    assert_non_null(end);
    snprintf(path, sizeof path, "%s/results/records/%.*s", folder, (int)(end + 5 - at), at);
    json_t *record = json_load_file(path, 0, NULL);
    assert_string_equal(text_of(record, "status"), "done");
    json_decref(record);
    found++;
    at = end;
  }
  assert_true(found >= 4);
  ffb_free(table);
}

/* ---- set-up ---------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  (void)state;
  struct ffb_error error;
  if (scratch_make(folder, sizeof folder))
    return -1;
  snprintf(script, sizeof script, "%s/script.lua", folder);
  registry = registry_json(&error);
  if (!registry)
    fprintf(stderr, "%s\n", error.message);
  return !registry;
}

static int tear_down(void **state) {
  (void)state;
  json_decref(registry);
  return scratch_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_travel_both_ways),
      cmocka_unit_test(syntax_error_names_the_line),
      cmocka_unit_test(endless_loop_is_stopped),
      cmocka_unit_test(huge_allocation_is_refused),
      cmocka_unit_test(pathological_pattern_is_stopped),
      cmocka_unit_test(no_loop_outlives_its_time),
      cmocka_unit_test(no_way_to_more_memory),
      cmocka_unit_test(endless_result_is_refused),
      cmocka_unit_test(messages_are_plain_text),
      cmocka_unit_test(deep_recursion_is_an_error),
      cmocka_unit_test(bytecode_is_refused),
      cmocka_unit_test(dangerous_names_are_absent),
      cmocka_unit_test(require_stays_in_its_folders),
      cmocka_unit_test(error_values_become_one_line),
      cmocka_unit_test(mistakes_are_named_with_line_and_remedy),
      cmocka_unit_test(no_algorithm_has_an_option_of_the_run),
      cmocka_unit_test(option_from_another_file_is_named_there),
      cmocka_unit_test(misspelt_name_is_an_error),
      cmocka_unit_test(table5_plans_its_cells),
      cmocka_unit_test(a_profile_speaks_of_models_and_rows),
      cmocka_unit_test(a_profile_takes_models_from_others),
      cmocka_unit_test(a_profile_may_be_another_ones_name),
      cmocka_unit_test(a_profile_sets_options_of_algorithms),
      cmocka_unit_test(a_row_may_name_its_models),
      cmocka_unit_test(only_selects_cells),
      cmocka_unit_test(wrong_only_and_set_are_refused),
      cmocka_unit_test(set_changes_every_cell_that_has_the_option),
      cmocka_unit_test(table1_adds_up),
      cmocka_unit_test(table5_agrees_with_its_changes),
      cmocka_unit_test(table5_averages_check_but_one),
      cmocka_unit_test(other_tables_are_there),
      cmocka_unit_test(report_shows_gaps_and_reasons),
      cmocka_unit_test(report_marks_joules_and_seconds_that_lack_something),
      cmocka_unit_test(each_memory_is_told_apart),
      cmocka_unit_test(verdicts_name_their_network),
      cmocka_unit_test(mixed_profiles_are_marked),
      cmocka_unit_test(averages_are_over_the_networks),
      cmocka_unit_test(doubtful_records_are_marked_in_every_table),
      cmocka_unit_test(gradients_are_told_by_depth),
      cmocka_unit_test(readings_have_verdicts),
      cmocka_unit_test(readings_are_swept_at_every_size),
      cmocka_unit_test(lookahead_rows_are_comparable),
      cmocka_unit_test(lookahead_is_reported),
      cmocka_unit_test(author_writes_a_report),
      cmocka_unit_test(report_fits_a_terminal),
      cmocka_unit_test(report_is_the_same_every_time),
      cmocka_unit_test(synthetic_data_is_announced_everywhere),
      cmocka_unit_test(every_number_names_its_records),
      cmocka_unit_test(gates_decide),
      cmocka_unit_test(every_profile_has_gates),
      cmocka_unit_test(wrong_usage_has_status_2),
      cmocka_unit_test(experiment_runs_continues_and_reports),
      cmocka_unit_test(check_writes_junit),
      cmocka_unit_test(tables_are_made_again_byte_for_byte),
      cmocka_unit_test(records_named_in_the_table_exist),
  };
  return cmocka_run_group_tests_name("lua", tests, set_up, tear_down);
}
