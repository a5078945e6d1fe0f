/* Figures: from a report's Lua to a description, from that to a gnuplot script, and to pictures where gnuplot is there.
 */
#include "base/memory.h"
#include "harness/experiment.h"
#include "harness/figure.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/plot.h"
#include "harness/registry.h"
#include "tests/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUT_BYTES = 1 << 16 };

static char path_before[8192];
static json_t *registry;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static json_t *parse(const char *text) {
  json_error_t problem;
  json_t *value = json_loads(text, 0, &problem);
  if (!value)
    fail_msg("%s: %s", text, problem.text);
  return value;
}

/* One panel with these series; the axes have titles only. */
static json_t *describe(const char *series) {
  char text[4096];
  snprintf(
      text, sizeof text,
      "{\"name\": \"one\", \"title\": \"A title\", \"footer\": \"profile smoke\", \"panels\": [{\"x\": {\"title\": "
      "\"Epoch\"}, \"y\": {\"title\": \"Loss\", \"unit\": \"nats\"}, \"series\": %s}]}",
      series);
  return parse(text);
}

static char *script_of(json_t *description) {
  struct ffb_error error = {0};
  char *script = figure_script(description, &error);
  if (!script)
    fail_msg("%s", error.message);
  json_decref(description);
  return script;
}

static void use_path(const char *path) {
  assert_int_equal(setenv("PATH", path, 1), 0);
}

static bool exists(const char *name) {
  return access(in(name), F_OK) == 0;
}

static size_t files_there(void) {
  size_t count = 0;
  DIR *open = opendir(folder);
  assert_non_null(open);
  for (struct dirent *entry; (entry = readdir(open));)
    count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(open);
  return count;
}

static unsigned char *read_bytes(const char *name, size_t *bytes) {
  struct ffb_error error = {0};
  unsigned char *content = file_read(in(name), bytes, &error);
  if (!content)
    fail_msg("%s", error.message);
  return content;
}

static void write_text(const char *name, const char *text) {
  struct ffb_error error;
  assert_true(file_replace(in(name), text, strlen(text), "", &error));
}

static const char two_curves[] =
    "[{\"title\": \"ours\", \"colour\": 1, \"points\": [[1, 2, 1.5, 2.5], [2, 1.25, 1, 1.75], [3, 0.5, 0.25, 1]]}, "
    "{\"title\": \"paper\", \"colour\": 2, \"paper\": true, \"points\": [[1, 1.8], [3, 0.25]]}]";

/* ---- scripts --------------------------------------------------------------------------------------------------- */

static void script_holds_the_numbers(void **state) {
  (void)state;
  char *script = script_of(describe(two_curves));
  assert_contains(script, "$p0s0 << EOD\n1 2 1.5 2.5 2 nan\n2 1.25 1 1.75 1.25 nan\n3 0.5 0.25 1 0.5 nan\nEOD\n");
  assert_contains(script, "$p0s1 << EOD\n1 1.8 nan nan 1.8 nan\n3 0.25 nan nan 0.25 nan\nEOD\n");
  assert_contains(script, "set xrange [1:3]");
  assert_contains(script, "set yrange [0:2.5]"); /* 0.25 to 2.5, rounded out to steps of 0.5 */
  assert_contains(script, "set ytics nomirror 0,0.5,");
  assert_contains(script, "'Loss (nats)'");
  assert_contains(script, "'profile smoke'");
  /* The paper's colour is halfway to white, and its curve comes first, so that it lies behind. */
  assert_contains(script, "#0072b2");
  assert_contains(script, "#eaae7f");
  assert_null(strstr(script, "#d55e00"));
  assert_true(strstr(script, "$p0s1 using") < strstr(script, "$p0s0 using 1:2"));
  assert_null(strstr(script, "not finite"));
  ffb_free(script);
}

static void same_description_same_script(void **state) {
  (void)state;
  char *first = script_of(describe(two_curves)), *second = script_of(describe(two_curves));
  assert_string_equal(first, second);
  ffb_free(first);
  ffb_free(second);
}

static void what_is_not_finite_is_drawn_at_the_edge(void **state) {
  (void)state;
  char *script = script_of(describe("[{\"title\": \"INT8\", \"points\": [[1, 1], [2, \"inf\"], [3, \"nan\"]]}, "
                                    "{\"title\": \"FP32\", \"points\": [[1, 2], [2, 0]]}]"));
  /* Loss from 0 to 2, and the edge a tenth above. */
  assert_contains(script, "$p0s0 << EOD\n1 1 nan nan 1 nan\n2 2.2 nan nan nan 2.2\n3 2.2 nan nan nan 2.2\nEOD\n");
  assert_contains(script, "set yrange [0:2.2]");
  assert_contains(script, "set ytics add ('∞' 2.2)");
  assert_int_equal(count_of(script, "title 'not finite'"), 1);
  ffb_free(script);
}

static void missing_runs_stay_visible(void **state) {
  (void)state;
  char *script = script_of(describe("[{\"title\": \"BP-UI8\", \"points\": {}}]"));
  assert_contains(script, "title 'BP-UI8 (no record)'");
  ffb_free(script);
}

static void panels_share_a_legend(void **state) {
  (void)state;
  char *script = script_of(
      parse("{\"name\": \"two\", \"title\": \"t\", \"panels\": ["
            "{\"x\": {\"title\": \"a\"}, \"y\": {\"title\": \"b\"}, \"series\": [{\"title\": \"same\", \"points\": "
            "[[1, 2]]}]}, "
            "{\"x\": {\"title\": \"a\"}, \"y\": {\"title\": \"b\", \"scale\": \"log\", \"from\": 0.01, \"to\": 10}, "
            "\"series\": "
            "[{\"title\": \"same\", \"points\": [[1, 2]]}, {\"title\": \"other\", \"points\": [[1, 2]]}]}]}"));
  assert_int_equal(count_of(script, "title 'same'"), 1);
  assert_int_equal(count_of(script, "title 'other'"), 1);
  assert_contains(script, "set yrange [0.01:10]\n  set logscale y");
  ffb_free(script);
}

/* Where the y axis stands: a number beside it is not cut off. */
static double left_of(const char *y) {
  char text[512];
  snprintf(text, sizeof text,
           "{\"name\": \"one\", \"title\": \"t\", \"panels\": [{\"x\": {\"title\": \"a\"}, \"y\": {\"title\": \"b\", "
           "%s}, \"series\": [{\"title\": \"s\", \"points\": [[1, 20], [2, 400]]}]}]}",
           y);
  char *script = script_of(parse(text)), *last = NULL;
  for (char *at = script; (at = strstr(at, "set lmargin at screen ")); at++)
    last = at;
  assert_non_null(last);
  double left = strtod(last + strlen("set lmargin at screen "), NULL);
  ffb_free(script);
  return left;
}

static void wide_numbers_get_room(void **state) {
  (void)state;
  double narrow = left_of("\"from\": 0, \"to\": 100");
  assert_float_equal(left_of("\"scale\": \"log\", \"to\": 100"), narrow, 0);
  double wide = left_of("\"scale\": \"log\", \"to\": 1000"), wider = left_of("\"to\": 20000");
  assert_true(narrow < wide && wide < wider && wider < 0.25);
}

/* gnuplot runs what stands between backquotes outside single quotes; a text must not get out of its own. */
static void texts_cannot_become_commands(void **state) {
  (void)state;
  json_t *figure = describe(two_curves);
  json_object_set_new(figure, "title",
                      json_string("a' . system('touch ../ran') . 'b `touch ../ran`\nset output '../ran'"));
  char *script = script_of(json_incref(figure));
  assert_contains(script, "'a\u2019 . system(\u2019touch");
  assert_null(strstr(script, "\nset output"));
  ffb_free(script);
  struct ffb_error error = {0};
  bool drawn = plot_figure(figure, folder, "", &error);
  json_decref(figure);
  if (!drawn)
    fail_msg("%s", error.message);
  assert_false(exists("ran"));
  if (!plot_available())
    skip();
  assert_true(exists("one.svg"));
}

static void assert_refused(json_t *description, const char *part) {
  struct ffb_error error = {0};
  char *script = figure_script(description, &error);
  if (script)
    fail_msg("not refused: %s", part);
  assert_contains(error.message, part);
  assert_null(strchr(error.message, '\n'));
  json_decref(description);
}

static void bad_figures_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *series, *part;
  } cases[] = {
      {"[]", "figure one, panel 1: it has no series"},
      {"3", "it has no series"},
      {"[3]", "series 1: it must be a table"},
      {"[{\"title\": 3, \"points\": []}]", "figure one, panel 1, series 1: title must be a text"},
      {"[{\"title\": \"a\"}]", "points must be a list"},
      {"[{\"title\": \"a\", \"points\": [[1, 2], [3]]}]", "point 2 must be {x, y}"},
      {"[{\"title\": \"a\", \"points\": [[\"one\", 2]]}]", "point 1 must be"},
      {"[{\"title\": \"a\", \"points\": [[\"inf\", 2]]}]", "point 1 must be"},
      {"[{\"title\": \"a\", \"points\": [], \"style\": \"pie\"}]", "style must be line, points"},
      {"[{\"title\": \"a\", \"points\": [], \"colour\": 8}]", "colour must be a whole number from 1 to 7"},
      {"[{\"title\": \"a\", \"points\": [], \"colour\": \"red\"}]", "colour must be"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_refused(describe(cases[i].series), cases[i].part);
  static const struct {
    const char *figure, *part;
  } whole[] = {
      {"{}", "its name becomes a file name"},
      {"{\"name\": \"../x\"}", "its name becomes a file name"},
      {"{\"name\": \"x\"}", "figure x: it has 0 panels"},
      {"{\"name\": \"x\", \"panels\": [{\"series\": [{}]}]}", "panel 1, axis x: there is none"},
      {"{\"name\": \"x\", \"panels\": [{\"x\": {\"from\": 2, \"to\": 1}, \"series\": [{}]}]}",
       "from must be less than to"},
      {"{\"name\": \"x\", \"panels\": [{\"x\": {\"from\": \"a\"}, \"series\": [{}]}]}", "from must be a finite number"},
      {"{\"name\": \"x\", \"panels\": [{\"x\": {\"scale\": \"cube\"}, \"series\": [{}]}]}",
       "scale must be linear or log"},
      {"{\"name\": \"x\", \"panels\": [{\"x\": {\"scale\": \"log\", \"from\": 0}, \"series\": [{}]}]}",
       "no room for zero"},
  };
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    assert_refused(parse(whole[i].figure), whole[i].part);
}

/* ---- pictures -------------------------------------------------------------------------------------------------- */

static void draw(const char *series) {
  struct ffb_error error = {0};
  json_t *figure = describe(series);
  if (!plot_figure(figure, folder, "", &error))
    fail_msg("%s", error.message);
  json_decref(figure);
}

static void pictures_are_drawn_the_same_again(void **state) {
  (void)state;
  if (!plot_available())
    skip();
  static const char *const names[] = {"one.svg", "one.png"};
  unsigned char *before[2], *after;
  size_t bytes[2], again;
  draw(two_curves);
  assert_int_equal(files_there(), 3);
  for (size_t i = 0; i < 2; i++)
    before[i] = read_bytes(names[i], &bytes[i]);
  assert_contains((char *)before[0], "width=\"326\"");
  assert_contains((char *)before[0], "A title");
  assert_contains((char *)before[0], "paper");
  assert_memory_equal(before[1], "\x89PNG\r\n\x1a\n", 8);
  assert_int_equal(before[1][16] << 24 | before[1][17] << 16 | before[1][18] << 8 | before[1][19], 4 * 326);
  draw(two_curves);
  for (size_t i = 0; i < 2; i++) {
    after = read_bytes(names[i], &again);
    assert_int_equal(again, bytes[i]);
    assert_memory_equal(after, before[i], again);
    ffb_free(after);
    ffb_free(before[i]);
  }
}

static void without_gnuplot_the_script_stays(void **state) {
  (void)state;
  write_text("one.svg", "of an earlier time");
  use_path("/nonexistent");
  assert_false(plot_available());
  draw(two_curves);
  assert_true(exists("one.gp"));
  assert_false(exists("one.svg"));
  assert_false(exists("one.png"));
}

/* A program called gnuplot that complains, and one that draws nothing. */
static void failing_gnuplot_is_an_error(void **state) {
  (void)state;
  static const struct {
    const char *program, *part;
  } cases[] = {{"#!/bin/sh\necho no such terminal >&2\nexit 3\n", "ended with status 3: no such terminal"},
               {"#!/bin/sh\nexit 0\n", "drew no one.svg"},
               {"#!/bin/sh\nkill -9 $$\n", "was killed by signal 9"}};
  json_t *figure = describe(two_curves);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ffb_error error = {0};
    write_text("gnuplot", cases[i].program);
    assert_int_equal(chmod(in("gnuplot"), 0700), 0);
    use_path(folder);
    assert_false(plot_figure(figure, folder, "", &error));
    assert_contains(error.message, "figure one: ");
    assert_contains(error.message, cases[i].part);
    assert_int_equal(files_there(), 2); /* the program and the script */
  }
  json_decref(figure);
}

/* ---- Lua ------------------------------------------------------------------------------------------------------- */

static json_t *ask(const char *file, const char *mode, const char *profile, json_t *cells, struct ffb_error *error) {
  json_t *input = json_pack("{s:s, s:s, s:O, s:s, s:b, s:[], s:o*}", "mode", mode, "profile", profile, "registry",
                            registry, "version", "ffbench abc", "draws", 1, "set", "cells", cells);
  json_t *result = lua_host_run(file, "experiments", input, &lua_host_limits_default, error);
  json_decref(input);
  return result;
}

static json_t *answer(const char *file, const char *mode, const char *profile, json_t *cells) {
  struct ffb_error error = {0};
  json_t *result = ask(file, mode, profile, cells, &error);
  if (!result)
    fail_msg("%s", error.message);
  return result;
}

static const json_t *item(const json_t *value, const char *path) {
  char copy[256], *rest = copy;
  snprintf(copy, sizeof copy, "%s", path);
  for (const char *key = strtok_r(copy, ".", &rest); key; key = strtok_r(NULL, ".", &rest))
    value = json_is_array(value) ? json_array_get(value, (size_t)atoi(key)) : json_object_get(value, key);
  return value;
}

static const char *text_at(const json_t *value, const char *path) {
  const char *text = json_string_value(item(value, path));
  return text ? text : "";
}

/* Two epochs: seed s has losses s and, in the second, twice that; seed 3's second is infinite where `diverges`. */
static json_t *found_cells(const json_t *plan, bool diverges) {
  json_t *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(json_object_get(plan, "cells"), index, cell) {
    json_int_t seed = json_integer_value(item(cell, "config.seed"));
    char file[64];
    snprintf(file, sizeof file, "mlp-x-s%d-%08x1234.json", (int)seed, 0xabcdef00U + (unsigned)index);
    json_t *second = diverges && seed == 3 ? json_string("inf") : json_real(2.0 * (double)seed);
    json_t *record =
        json_pack("{s:s, s:{s:f}, s:[{s:i, s:f, s:f}, {s:i, s:o, s:f}], s:O}", "status", "done", "accuracy", "test",
                  90.0, "epochs", "epoch", 1, "loss", (double)seed, "test_accuracy", 50.0 + (double)seed, "epoch", 2,
                  "loss", second, "test_accuracy", 90.0, "config", item(cell, "config"));
    json_array_append_new(cells, json_pack("{s:o, s:s, s:O, s:s}", "record", record, "file", file, "dataset",
                                           item(cell, "config.dataset"), "reason", ""));
  }
  return cells;
}

static const char own_figure[] =
    "local figures = require 'lib.figures'\n"
    "local function report(results)\n"
    "  local points = figures.by_epoch(results:row('bp_fp32'), 'loss')\n"
    "  return { figures.new { name = 'mine', title = 'Mine', caption = 'So it is.', x = { title = 'Epoch' },\n"
    "    y = { title = 'Loss' }, series = { { title = 'ours', points = points } } }, 'That was it.' }\n"
    "end\n"
    "return experiment { name = 'mine', report = report, profiles = { quick = { seeds = { 1, 2, 3 } } },\n"
    "  models = { mlp = { dataset = 'mnist' } }, algorithms = { { 'bp_fp32' } } }\n";

static void epochs_become_points(void **state) {
  (void)state;
  write_text("mine.lua", own_figure);
  json_t *plan = answer(in("mine.lua"), "plan", "quick", NULL);
  json_t *result = answer(in("mine.lua"), "report", "quick", found_cells(plan, false));
  /* Losses 1, 2, 3 and then 2, 4, 6: mean, lowest, highest. */
  json_t *expected = parse("[[1, 2.0, 1.0, 3.0], [2, 4.0, 2.0, 6.0]]");
  assert_true(json_equal(item(result, "figures.0.panels.0.series.0.points"), expected));
  json_decref(expected);
  assert_string_equal(text_at(result, "figures.0.footer"), "ffbench, profile quick; runs abcdef00 abcdef01 abcdef02");
  assert_contains(text_at(result, "files.0.text"),
                  "![Mine](plots/mine.svg)\n\nSo it is. Also as [PNG](plots/mine.png)");
  assert_contains(text_at(result, "files.0.text"), "That was it.");
  assert_contains(text_at(result, "terminal"), "Mine: plots/mine.png");
  json_decref(result);
  result = answer(in("mine.lua"), "report", "quick", found_cells(plan, true));
  expected = parse("[2, \"inf\"]");
  assert_true(json_equal(item(result, "figures.0.panels.0.series.0.points.1"), expected));
  json_decref(expected);
  json_decref(result);
  json_decref(plan);
}

static void mistakes_in_a_figure_are_named(void **state) {
  (void)state;
  static const struct {
    const char *figure, *part;
  } cases[] = {
      {"{ title = 'x', series = {} }", "a figure has no name"},
      {"{ name = 'x', title = 'x', serie = {} }", "a figure has no key \"serie\": there are caption, name"},
      {"{ name = 'x', title = 'x', series = 3 }", "a figure: series must be a table, not a number"},
      {"{ name = 'x', title = 'x', series = {}, panels = {} }", "figure x: give it either"},
      {"{ name = 'x', title = 'x', series = {} }", "figure x has no x"},
      {"{ name = 'x', title = 'x', x = { titel = 'e' }, y = {}, series = {} }", "figure x: x has no key \"titel\""},
      {"{ name = 'x', title = 'x', x = { title = 'e' }, y = { title = 'e' }, series = { { title = 'a' } } }",
       "figure x: series 1 has no points"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[2048];
    struct ffb_error error = {0};
    snprintf(text, sizeof text,
             "local figures = require 'lib.figures'\nreturn experiment { name = 'bad',\n"
             "  report = function() return figures.new %s end, profiles = { quick = {} },\n"
             "  models = { mlp = { dataset = 'mnist' } }, algorithms = { { 'bp_fp32' } } }\n",
             cases[i].figure);
    write_text("bad.lua", text);
    json_t *plan = answer(in("bad.lua"), "plan", "quick", NULL);
    assert_null(ask(in("bad.lua"), "report", "quick", found_cells(plan, false), &error));
    assert_contains(error.message, cases[i].part);
    json_decref(plan);
  }
}

/* The figures of the paper, with the records of every cell, with none, and at every size. */
static void experiments_describe_figures_that_can_be_drawn(void **state) {
  (void)state;
  static const struct {
    const char *file;
    size_t figures;
  } cases[] = {{"experiments/fig2.lua", 1},
               {"experiments/fig6.lua", 2},
               {"experiments/table1.lua", 0},
               {"experiments/table2.lua", 0}};
  static const char *const profiles[] = {"smoke", "quick", "paper"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t k = 0; k < 2 * sizeof profiles / sizeof *profiles; k++) {
      json_t *plan = answer(cases[i].file, "plan", profiles[k / 2], NULL);
      json_t *result = answer(cases[i].file, "report", profiles[k / 2], k % 2 ? found_cells(plan, true) : NULL);
      assert_int_equal(json_array_size(json_object_get(result, "figures")), cases[i].figures);
      assert_int_equal(count_of(text_at(result, "files.0.text"), "!["), cases[i].figures);
      for (size_t n = 0; n < cases[i].figures; n++) {
        char *script = script_of(json_incref(json_array_get(json_object_get(result, "figures"), n)));
        assert_true((strstr(script, "(no record)") != NULL) == (k % 2 == 0));
        assert_contains(script, k % 2 ? "abcdef" : "no run yet");
        ffb_free(script);
      }
      json_decref(result);
      json_decref(plan);
    }
}

/* The paper's curve of Figure 6a levels off within a point of 92.375 from epoch 137.5 on, the one without look-ahead
 * within a point of 89.375 from 175 on; the text has 130 and 180. */
static void plateaus_are_found(void **state) {
  (void)state;
  write_text("level.lua",
             "local figures, curves = require 'lib.figures', require 'paper'.figure6.mlp\n"
             "local function say(points)\n"
             "  local level, epoch = figures.plateau(points)\n"
             "  return ('%.3f in epoch %s'):format(level, epoch)\n"
             "end\n"
             "return experiment { name = 'level', profiles = { quick = {} }, algorithms = { { 'bp_fp32' } },\n"
             "  models = { mlp = { dataset = 'mnist' } }, report = function()\n"
             "    assert(figures.plateau({}) == nil)\n"
             "    return { say(curves.lookahead.accuracy), say(curves.off.accuracy) } end }\n");
  json_t *result = answer(in("level.lua"), "report", "quick", NULL);
  assert_contains(text_at(result, "files.0.text"), "92.375 in epoch 137.5\n\n89.375 in epoch 175.0");
  json_decref(result);
}

/* ---- the verbs ------------------------------------------------------------------------------------------------- */

static int report(const char *file, char *output) {
  char results[PATH_MAX + 16], log[PATH_MAX + 16];
  snprintf(results, sizeof results, "%s/results", folder);
  snprintf(log, sizeof log, "%s/log", folder);
  char *arguments[] = {(char *)"report", (char *)file, (char *)"--profile", (char *)"quick", (char *)"--results",
                       results,          NULL};
  fflush(NULL);
  int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), to = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(to, STDOUT_FILENO);
  dup2(to, STDERR_FILENO);
  int status = experiment_command(6, arguments);
  fflush(NULL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  ssize_t got = pread(to, output, OUTPUT_BYTES - 1, 0);
  output[got > 0 ? got : 0] = '\0';
  close(out), close(err), close(to);
  return status;
}

static const char drawing[] =
    "local figures = require 'lib.figures'\n"
    "return experiment { name = 'drawn', profiles = { quick = { synthetic_train = 100, synthetic_test = 20 } },\n"
    "  models = { mlp = { dataset = 'synthetic_digits' } }, algorithms = { { 'bp_fp32' } },\n"
    "  report = function() return { 'A table.', figures.new { name = 'drawn', title = 'T', x = { title = 'E'%s },\n"
    "    y = { title = 'L' }, series = { { title = 'ours', points = { { 1, 2 } } } } } } end }\n";

static void report_comes_without_gnuplot(void **state) {
  static char output[OUTPUT_BYTES], text[2048];
  (void)state;
  snprintf(text, sizeof text, drawing, "");
  write_text("drawn.lua", text);
  use_path("/nonexistent");
  if (report(in("drawn.lua"), output) != 0)
    fail_msg("%s", output);
  assert_contains(output, "gnuplot is missing: install gnuplot-nox");
  assert_true(exists("results/plots/drawn.gp"));
  assert_false(exists("results/plots/drawn.png"));
  size_t bytes;
  char *table = (char *)read_bytes("results/drawn.md", &bytes);
  assert_contains(table, "A table.");
  assert_contains(table,
                  "T: not drawn, because gnuplot is missing here. Its script is [plots/drawn.gp](plots/drawn.gp).");
  assert_null(strstr(table, "!["));
  ffb_free(table);
}

static void report_draws_and_refuses(void **state) {
  static char output[OUTPUT_BYTES], text[2048];
  (void)state;
  if (!plot_available())
    skip();
  snprintf(text, sizeof text, drawing, "");
  write_text("drawn.lua", text);
  if (report(in("drawn.lua"), output) != 0)
    fail_msg("%s", output);
  assert_contains(output, "results/plots/drawn.png");
  assert_true(exists("results/plots/drawn.png") && exists("results/plots/drawn.svg"));
  /* The table is there when the figure is refused. */
  snprintf(text, sizeof text, drawing, ", from = 3, to = 2");
  write_text("drawn.lua", text);
  assert_int_equal(unlink(in("results/drawn.md")), 0);
  assert_int_equal(report(in("drawn.lua"), output), 1);
  assert_contains(output, "drawn.lua: figure drawn, panel 1, axis x: from must be less than to");
  assert_true(exists("results/drawn.md"));
}

/* ---- set-up ---------------------------------------------------------------------------------------------------- */

static int set_up_case(void **state) {
  const char *path = getenv("PATH");
  snprintf(path_before, sizeof path_before, "%s", path ? path : "");
  return make_folder(state);
}

static int tear_down_case(void **state) {
  use_path(path_before);
  return remove_folder(state);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up_case, tear_down_case)

static int set_up(void **state) {
  (void)state;
  struct ffb_error error;
  registry = registry_json(&error);
  if (!registry)
    fprintf(stderr, "%s\n", error.message);
  return !registry;
}

static int tear_down(void **state) {
  (void)state;
  json_decref(registry);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(script_holds_the_numbers),
      CASE(same_description_same_script),
      CASE(what_is_not_finite_is_drawn_at_the_edge),
      CASE(missing_runs_stay_visible),
      CASE(panels_share_a_legend),
      CASE(wide_numbers_get_room),
      CASE(texts_cannot_become_commands),
      CASE(bad_figures_are_refused),
      CASE(pictures_are_drawn_the_same_again),
      CASE(without_gnuplot_the_script_stays),
      CASE(failing_gnuplot_is_an_error),
      CASE(epochs_become_points),
      CASE(mistakes_in_a_figure_are_named),
      CASE(experiments_describe_figures_that_can_be_drawn),
      CASE(plateaus_are_found),
      CASE(report_comes_without_gnuplot),
      CASE(report_draws_and_refuses),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
