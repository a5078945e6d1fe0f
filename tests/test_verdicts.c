/* Verdicts on the paper's claims, held against intervals, quantiles and numbers of seeds that were computed elsewhere;
 * and the paper's own numbers as records, which must reproduce its claims but for those that they contradict. */
#include "base/memory.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/registry.h"
#include "tests/scratch.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_VALUES = 8, TEXT_BYTES = 8192 };

/* How long a script may take is tested elsewhere, and an emulator is slow. */
static const struct lua_host_limits limits = {.memory_bytes = (size_t)256 << 20, .seconds = 120};

static char folder[PATH_MAX], script[PATH_MAX + 32];
static json_t *registry, *paper;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static json_t *ask(const char *mode, const char *profile, json_t *cells, struct ffb_error *error) {
  json_t *input = json_pack("{s:s, s:s, s:O, s:s, s:[], s:o*}", "mode", mode, "profile", profile, "registry", registry,
                            "version", "ffbench abc", "set", "cells", cells);
  json_t *result = lua_host_run(script, "experiments", input, &limits, error);
  json_decref(input);
  return result;
}

static json_t *answer(const char *mode, const char *profile, json_t *cells) {
  struct ffb_error error = {0};
  json_t *result = ask(mode, profile, cells, &error);
  if (!result)
    fail_msg("%s", error.message);
  return result;
}

static void write_script(const char *format, ...) {
  char text[TEXT_BYTES];
  struct ffb_error error;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  assert_true(length > 0 && (size_t)length < sizeof text);
  assert_true(file_replace(script, text, (size_t)length, "", &error));
}

/* A record with what every metric of Table V reads; cost: what stands for seconds, joules and megabytes. */
static json_t *make_record(const json_t *cell, double accuracy, double seconds, double joules, double megabytes,
                           const char *processor) {
  json_t *record =
      json_pack("{s:s, s:{s:f, s:f}, s:[], s:{s:f}, s:{s:f}, s:{s:I}, s:{s:s, s:b, s:b, s:i, s:i}}", "status", "done",
                "accuracy", "test", accuracy, "validation", accuracy, "epochs", "time", "train_seconds", seconds,
                "energy", "joules", joules, "memory", "peak_bytes", (json_int_t)(megabytes * 1e6), "dataset", "name",
                "mnist", "official", 1, "synthetic", 0, "train_records", 55000, "test_records", 10000);
  json_object_set_new(
      record, "provenance",
      json_pack("{s:s, s:b, s:{s:s}}", "commit", "abc", "own_machine", 1, "machine", "processor", processor));
  json_object_set(record, "config", json_object_get(cell, "config"));
  return record;
}

static const json_t *cells_of(const json_t *plan) {
  return json_object_get(plan, "cells");
}

static json_t *found(const json_t *cell, json_t *record) {
  return json_pack("{s:o*, s:s, s:s, s:O}", "record", record, "file", "x.json", "reason", "not run", "dataset",
                   json_object_get(json_object_get(cell, "config"), "dataset"));
}

/* ---- intervals ------------------------------------------------------------------------------------------------- */

/* The numbers that an expression list of lib.statistics gives. */
static void evaluate(const char *expressions, double *values, size_t count) {
  write_script("local s = require 'lib.statistics'\n"
               "return experiment { name = 'x', profiles = { quick = {} }, models = { mlp = { dataset = 'mnist' } },\n"
               "  algorithms = { { 'bp_fp32' } }, report = function()\n"
               "    local texts = {}\n"
               "    for i, value in ipairs { %s } do texts[i] = ('%%.15g'):format(value) end\n"
               "    return { 'numbers ' .. table.concat(texts, ' ') .. ' end' }\n"
               "  end }\n",
               expressions);
  json_t *result = answer("report", "quick", json_array());
  const char *at = strstr(text_of(result, "terminal"), "numbers ");
  assert_non_null(at);
  char *rest = (char *)at + strlen("numbers ");
  for (size_t i = 0; i < count; i++)
    values[i] = strtod(rest, &rest);
  assert_memory_equal(rest + strspn(rest, " \n"), "end", 3);
  json_decref(result);
}

/* The 0.975 quantiles as SciPy 1.x's stats.t.ppf gives them. */
static void quantiles_are_those_of_students_t(void **state) {
  (void)state;
  static const double expected[] = {12.706204736174694, 4.302652729749462,  3.1824463052837078, 2.7764451051977934,
                                    2.5705818356363146, 2.364624251592784,  2.228138851986274,  2.0422724563012378,
                                    2.021075390306273,  1.9799304050824402, 1.9623390808264083};
  enum { COUNT = sizeof expected / sizeof *expected };
  double values[COUNT];
  evaluate("s.quantile(1), s.quantile(2), s.quantile(3), s.quantile(4), s.quantile(5), s.quantile(7), s.quantile(10), "
           "s.quantile(30), s.quantile(40), s.quantile(120), s.quantile(1000)",
           values, COUNT);
  for (size_t i = 0; i < COUNT; i++)
    assert_float_equal(values[i], expected[i], 1e-10 * expected[i]);
}

/* Cauchy's distribution is Student's with one degree of freedom; with two there is a closed form. */
static void chances_have_closed_forms(void **state) {
  (void)state;
  double values[4];
  evaluate("s.student(0.5, 1), s.student(3, 1), s.student(0.5, 2), s.student(3, 2)", values, 4);
  for (int i = 0; i < 2; i++) {
    double t = i ? 3 : 0.5;
    assert_float_equal(values[i], 2 / acos(-1) * atan(t), 1e-14);
    assert_float_equal(values[2 + i], t / sqrt(2 + t * t), 1e-14);
  }
}

/* By SciPy: half of stats.t.interval, and the first count whose interval is narrow enough, by trying each. */
static void intervals_and_seeds_agree(void **state) {
  (void)state;
  double values[5];
  evaluate("s.half_interval { 85.3, 91.9, 94.2 }, s.half_interval { 95.1, 94.1, 96.2, 95.3, 94.6, 95.9, 93.9 }, "
           "s.seeds_for(1, 1), s.seeds_for(4.68, 2), s.seeds_for(0.01, 1)",
           values, 5);
  static const double expected[] = {11.476429455559474, 0.8034785557983596, 7, 24, 2};
  for (size_t i = 0; i < 5; i++)
    assert_float_equal(values[i], expected[i], 1e-9);
  evaluate("s.seeds_for(100, 1) or -1, s.half_interval { 1 } or -2, s.half_interval { 3, 3, 3 }", values, 3);
  assert_float_equal(values[0], -1, 0);
  assert_float_equal(values[1], -2, 0);
  assert_float_equal(values[2], 0, 0);
}

/* ---- verdicts -------------------------------------------------------------------------------------------------- */

/* What a claim of accuracy on BP-INT8, compared with BP-FP32 where base has values, comes to. */
struct judged {
  const char *claim;
  double row[MOST_VALUES], base[MOST_VALUES];
  size_t count;
  const char *verdict, *needs, *measured;
};

static json_t *judge(const struct judged *judged) {
  char seeds[128] = "";
  for (size_t i = 0; i < judged->count; i++)
    snprintf(seeds + strlen(seeds), sizeof seeds - strlen(seeds), "%zu,", i + 1);
  write_script("return experiment { name = 'x', profiles = { quick = { seeds = { %s } } },\n"
               "  models = { mlp = { dataset = 'mnist' } }, algorithms = { { 'bp_fp32' }, { 'bp_int8' } },\n"
               "  claims = { { id = 'c', text = 'a < \"b\" & {row}', place = 'there', metric = 'accuracy',\n"
               "    model = 'mlp', %s } } }\n",
               seeds, judged->claim);
  json_t *plan = answer("plan", "quick", NULL), *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(cells_of(plan), index, cell) {
    size_t seed = (size_t)json_integer_value(json_object_get(json_object_get(cell, "config"), "seed"));
    bool base = strcmp(text_of(cell, "row"), "bp_fp32") == 0;
    double accuracy = base ? judged->base[seed - 1] : judged->row[seed - 1];
    json_array_append_new(cells, found(cell, make_record(cell, accuracy, 1, 1, 1, "CPU")));
  }
  json_decref(plan);
  return answer("check", "quick", cells);
}

static void assert_judged(const struct judged *judged) {
  json_t *result = judge(judged);
  const json_t *entry = json_array_get(json_object_get(result, "verdicts"), 0);
  const char *needs = text_of(entry, "needs");
  if (strcmp(text_of(entry, "verdict"), judged->verdict) != 0 || strcmp(needs ? needs : "", judged->needs) != 0)
    fail_msg("%s: %s (%s), not %s (%s)", judged->claim, text_of(entry, "verdict"), needs ? needs : "", judged->verdict,
             judged->needs);
  if (judged->measured)
    assert_string_equal(text_of(entry, "measured"), judged->measured);
  json_decref(result);
}

#define VALUE      "kind = 'value', row = 'bp_int8', paper = 94.3, tolerance = { quick = 2 }"
#define DIFFERENCE "kind = 'difference', row = 'bp_int8', base = 'bp_fp32', at_least = -1"
#define ORDER      "kind = 'order', rows = { 'bp_fp32', 'bp_int8' }"

/* Means, intervals (stats.t.interval, stats.ttest_rel) and counts of seeds by SciPy. */
static void verdicts_follow_from_intervals(void **state) {
  (void)state;
  static const struct judged cases[] = {
      /* 93.31 to 95.55 lies between 92.3 and 96.3 */
      {VALUE, {94.0, 94.4, 94.9}, {0}, 3, "reproduced", "", "94.4 ±1.12 %"},
      /* 95.28 to 97.78 reaches in, and is no wider than what counts */
      {VALUE, {96.0, 96.6, 97.0}, {0}, 3, "within spread", "", "96.5 ±1.25 %"},
      {VALUE, {98.4, 98.5, 98.6}, {0}, 3, "not reproduced", "", "98.5 ±0.25 %"},
      {VALUE, {85.3, 91.9, 94.2}, {0}, 3, "underpowered", "23 seeds", "90.5 ±11.5 %"},
      {VALUE, {94.3}, {0}, 1, "underpowered", "2 seeds", "94.3 %"},
      {VALUE, {94.3, 94.3}, {0}, 2, "reproduced", "", "94.3 %"},
      /* Pairs: each row alone spreads by ±2.5. */
      {DIFFERENCE, {97, 96, 98}, {97.5, 96.4, 98.6}, 3, "reproduced", "", "-0.50 ±0.25 points"},
      {DIFFERENCE, {49.3, 49.1, 48.7}, {50, 50, 50}, 3, "underpowered", "326 seeds", "-0.97 ±0.76 points"},
      {DIFFERENCE ", resolution = 1", {49.3, 49.1, 48.7}, {50, 50, 50}, 3, "reproduced", "", NULL},
      {DIFFERENCE ", resolution = 1", {48.7, 48.9, 49.3}, {50, 50, 50}, 3, "within spread", "", NULL},
      {DIFFERENCE, {49.5, 49.5, 46.5}, {50, 50, 50}, 3, "underpowered", "49 seeds", NULL},
      {DIFFERENCE ", resolution = 1", {49.5, 49.5, 46.5}, {50, 50, 50}, 3, "underpowered", "15 seeds", NULL},
      {DIFFERENCE, {47, 47.1, 47.2}, {50, 50, 50}, 3, "not reproduced", "", NULL},
      {"kind = 'change', row = 'bp_int8', base = 'bp_fp32', paper = -52.6, tolerance = { quick = 3 }",
       {50, 52, 51},
       {100, 101, 99},
       3,
       "within spread",
       "",
       "-49.0 ±2.15 %"},
      {"kind = 'share', row = 'bp_int8', base = 'bp_fp32', paper = 50, tolerance = { quick = 2 }",
       {50, 52, 51},
       {100, 101, 99},
       3,
       "underpowered",
       "4 seeds",
       "51.0 ±2.15 %"},
      {ORDER, {50.7, 50.9, 51.3}, {50, 50, 50}, 3, "reproduced", "", "bp_fp32 < bp_int8"},
      {ORDER, {49.3, 49.1, 48.7}, {50, 50, 50}, 3, "not reproduced", "", "bp_int8 < bp_fp32"},
      {ORDER, {50, 50, 50}, {50, 50, 50}, 3, "not reproduced", "", "bp_fp32 = bp_int8"},
      {ORDER, {50.5, 50.5, 53.5}, {50, 50, 50}, 3, "underpowered", "8 seeds", NULL},
      {ORDER ", resolution = 10", {50.5, 50.5, 53.5}, {50, 50, 50}, 3, "within spread", "", NULL},
      {ORDER, {51}, {50}, 1, "underpowered", "2 seeds", NULL},
      {"kind = 'value', row = 'bp_int8', at_least = 50, profiles = { 'paper' }",
       {51, 51},
       {0},
       2,
       "not measured",
       "",
       NULL},
      {"kind = 'value', row = 'ff_int8', at_least = 50", {51, 51}, {0}, 2, "not measured", "", "-"},
      {"kind = 'unmeasured', why = 'nothing does'", {51, 51}, {0}, 2, "not measured", "", "-"},
      {"kind = 'contradiction', evidence = '1 is not 2'", {51}, {0}, 1, "the paper contradicts itself", "", "-"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_judged(&cases[i]);
}

static void wrong_claims_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *claim, *part;
  } cases[] = {
      {"kind = 'valeu'", "unknown kind \"valeu\""},
      {"kind = 'value', metric = 'accuracy', model = 'mlp'", "has no row"},
      {"kind = 'value', metric = 'accuracy', model = 'mlp', row = 'bp_fp32'", "needs paper and tolerance"},
      {"kind = 'share', metric = 'accuracy', model = 'mlp', row = 'bp_fp32', at_most = 1", "needs base"},
      {"kind = 'order', metric = 'accuracy', model = 'mlp'", "needs model and rows"},
      {"kind = 'unmeasured'", "has no why"},
      {"kind = 'unmeasured', why = 'x', papre = 3", "unknown key \"papre\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ffb_error error = {0};
    write_script(
        "return experiment { name = 'x', profiles = { quick = {} }, models = { mlp = { dataset = 'mnist' } },\n"
        "  algorithms = { { 'bp_fp32' } }, claims = { { id = 'c', text = 't', place = 'p', %s } } }\n",
        cases[i].claim);
    assert_null(ask("plan", "quick", NULL, &error));
    assert_contains(error.message, cases[i].part);
  }
}

/* ---- the paper's numbers as records ---------------------------------------------------------------------------- */

static const json_t *at(const json_t *object, const char *format, ...) {
  char path[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(path, sizeof path, format, arguments);
  va_end(arguments);
  for (char *rest = path, *key; (key = strsep(&rest, "."));)
    object = json_object_get(object, key);
  return object;
}

static double printed(const char *table, const char *model, const char *row, const char *metric) {
  char path[128] = "";
  const char *const keys[] = {table, model, row, metric};
  for (size_t i = 0; i < 4 && keys[i]; i++)
    snprintf(path + strlen(path), sizeof path - strlen(path), "%s.", keys[i]);
  const json_t *value = at(paper, "%svalue", path);
  assert_true(json_is_number(value));
  return json_number_value(value);
}

typedef json_t *(*record_maker)(const json_t *cell);

/* Every verdict on a list of claims, from the records that `make` gives. */
static json_t *judge_list(const char *list, const char *models, const char *rows, record_maker make) {
  write_script("require 'lib.gradients'\nrequire 'lib.operations'\n"
               "return experiment { name = 'x', profiles = { paper = { seeds = { 1, 2, 3 } } }, models = { %s },\n"
               "  algorithms = { %s }, claims = require 'claims'.%s }\n",
               models, rows, list);
  json_t *plan = answer("plan", "paper", NULL), *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(cells_of(plan), index, cell) json_array_append_new(cells, found(cell, make(cell)));
  json_decref(plan);
  json_t *result = answer("check", "paper", cells);
  json_t *verdicts = json_incref(json_object_get(result, "verdicts"));
  json_decref(result);
  return verdicts;
}

/* All are `verdict` but those whose name ends as one of `others`, which are not, and the paper's contradictions. */
static size_t assert_all(json_t *verdicts, const char *verdict, const char *const *others) {
  size_t index, count = 0;
  json_t *entry;
  json_array_foreach(verdicts, index, entry) {
    const char *id = text_of(entry, "id"), *given = text_of(entry, "verdict");
    bool other = strcmp(given, "the paper contradicts itself") == 0;
    for (const char *const *name = others; *name && !other; name++)
      other = strlen(id) >= strlen(*name) && strcmp(id + strlen(id) - strlen(*name), *name) == 0;
    count += !other;
    if (other == (strcmp(given, verdict) == 0))
      fail_msg("%s: %s: %s, %s; %s", id, text_of(entry, "text"), given, text_of(entry, "measured"),
               text_of(entry, "reason") ? text_of(entry, "reason") : "");
  }
  json_decref(verdicts);
  return count;
}

static json_t *record_of_table1(const json_t *cell) {
  double accuracy = printed("table1", text_of(cell, "model"), text_of(cell, "row"), NULL);
  return make_record(cell, accuracy, 1, 1, 1, "CPU");
}

static void table1_reproduces_itself(void **state) {
  (void)state;
  json_t *verdicts = judge_list("table1",
                                "{ 'mlp', name = 'hidden0', dataset = 'mnist' }, { 'mlp', name = 'hidden1', dataset = "
                                "'mnist' }, { 'mlp', name = 'hidden2', dataset = 'mnist' }, { 'mlp', name = 'hidden3', "
                                "dataset = 'mnist' }",
                                "{ 'bp_fp32' }, { 'bp_int8' }", record_of_table1);
  static const char *const none[] = {NULL};
  assert_int_equal(assert_all(verdicts, "reproduced", none), 12 + 8);
}

#define NETWORKS                                                                                                       \
  "mlp = { dataset = 'mnist' }, mobilenet_v2 = { dataset = 'cifar10' }, efficientnet_b0 = { dataset = 'cifar10' }, "   \
  "resnet18 = { dataset = 'cifar10' }"

/* Operations of one step: multiply-accumulates, comparisons, additions. */
static json_t *add_counts(json_t *record, bool two_passes, double macs, double forward, double compared, double added,
                          double inputs) {
  json_object_set_new(record, "operations",
                      json_pack("{s:{s:{s:i, s:I, s:I, s:I, s:I, s:I}}}", "programs",
                                two_passes ? "train all units" : "train", "mac_f32", 0, "mac_s8", (json_int_t)macs,
                                "forward", (json_int_t)forward, "compared_elements", (json_int_t)compared,
                                "added_elements", (json_int_t)added, "input_gradient", (json_int_t)inputs));
  return record;
}

static json_t *record_of_table5(const json_t *cell) {
  const char *model = text_of(cell, "model"), *row = text_of(cell, "row");
  json_t *record = make_record(cell, printed("table5", model, row, "accuracy"), printed("table5", model, row, "time"),
                               printed("table5", model, row, "energy"), printed("table5", model, row, "memory"),
                               "NVIDIA Jetson Orin Nano");
  json_object_set_new(record, "epochs", json_array());
  json_array_append_new(json_object_get(record, "epochs"), json_pack("{s:i}", "epoch", 1));
  json_object_set_new(json_object_get(record, "time"), "steps", json_integer(100));
  bool two_passes = strcmp(row, "ff_int8") == 0;
  return add_counts(record, two_passes, two_passes ? 26e6 : 1e9, 1e6, 0, 0, 0);
}

/* Two sentences do not follow from the table, whose numbers are taken at equal epochs: that an epoch is hundreds of
 * times cheaper, and that UI8 and GDAI8 cost slightly more than plain INT8: four times they cost less. */
static void table5_reproduces_itself(void **state) {
  (void)state;
  static const char *const others[] = {"per_epoch",
                                       "more_epochs",
                                       "mobilenet_v2.bp_gdai8.slightly_more_time",
                                       "mobilenet_v2.bp_gdai8.slightly_more_energy",
                                       "mobilenet_v2.bp_ui8.slightly_more_energy",
                                       "resnet18.bp_gdai8.slightly_more_energy",
                                       NULL};
  json_t *verdicts =
      judge_list("table5", NETWORKS, "{ 'bp_fp32' }, { 'bp_int8' }, { 'bp_ui8' }, { 'bp_gdai8' }, { 'ff_int8' }",
                 record_of_table5);
  assert_int_equal(assert_all(verdicts, "reproduced", others), 4 * (20 + 8 + 5 + 17 - 2) - 4 + 8);
}

/* A printed curve at an epoch: straight lines between its points, the first from zero. */
static double on_curve(const json_t *points, int epoch) {
  double from = 0, low = 0;
  for (size_t i = 0; i < json_array_size(points); i++) {
    const json_t *point = json_array_get(points, i);
    double to = json_number_value(json_array_get(point, 0)), high = json_number_value(json_array_get(point, 1));
    if (epoch <= to)
      return low + (high - low) * (epoch - from) / (to - from);
    from = to;
    low = high;
  }
  return low;
}

static int last_epoch(const json_t *points) {
  return (int)json_number_value(json_array_get(json_array_get(points, json_array_size(points) - 1), 0));
}

static void add_epoch(json_t *record, int epoch, double accuracy, double loss) {
  json_array_append_new(json_object_get(record, "epochs"),
                        json_pack("{s:i, s:f, s:f}", "epoch", epoch, "validation_accuracy", accuracy, "loss", loss));
}

static json_t *record_of_fig6(const json_t *cell) {
  const json_t *points = at(paper, "figure6.%s.%s.accuracy", text_of(cell, "model"), text_of(cell, "row"));
  json_t *record = make_record(cell, 90, 1, 1, strcmp(text_of(cell, "row"), "off") ? 105 : 100, "CPU");
  for (int epoch = 1; epoch <= last_epoch(points); epoch++)
    add_epoch(record, epoch, on_curve(points, epoch), 1);
  return add_counts(record, true, 1e6, 5e5, 0, 0, 0);
}

/* The text says of ResNet-18 without look-ahead that it converges to 60 %, where the curve ends between 53 and 59. */
static void figure6_reproduces_itself(void **state) {
  (void)state;
  static const char *const others[] = {"resnet18.off.plateau", NULL};
  json_t *verdicts = judge_list("fig6", "mlp = { dataset = 'mnist' }, resnet18 = { dataset = 'cifar10' }",
                                "{ 'ff_int8', name = 'lookahead', paper = 'lookahead' }, "
                                "{ 'ff_int8', name = 'off', paper = 'off', lookahead = 'off' }",
                                record_of_fig6);
  assert_int_equal(assert_all(verdicts, "reproduced", others), 2 * (10 + 4) + 3 + 2);
}

/* What Table II prints, and four per cent more. */
static json_t *parameters_times(const json_t *cell, double factor) {
  double parameters = 1e6 * printed("table2", text_of(cell, "model"), "parameters", NULL);
  json_t *record = make_record(cell, 90, 1, 1, 1, "CPU");
  json_object_set_new(record, "model", json_pack("{s:f}", "parameters", factor * parameters));
  return record;
}

static json_t *record_of_table2(const json_t *cell) {
  return parameters_times(cell, 1);
}

static json_t *contrary_to_table2(const json_t *cell) {
  return parameters_times(cell, 1.04);
}

static json_t *record_of_counts(const json_t *cell, double macs, double forward, double compared, double added,
                                double inputs) {
  bool two_passes = strcmp(text_of(cell, "row"), "ff_int8") == 0;
  return add_counts(make_record(cell, 90, 1, 1, 1, "CPU"), two_passes, macs, forward, compared, added, inputs);
}

static json_t *record_of_table4(const json_t *cell) {
  const char *row = text_of(cell, "row");
  double macs = printed("table4", row, strcmp(row, "bp_fp32") ? "multiply_s8" : "mac_multiply_f32", NULL);
  if (strcmp(row, "bp_fp32") == 0)
    return record_of_counts(cell, macs, macs / 3, 0, 0, 0);
  return record_of_counts(cell, macs, macs / 3, printed("table4", row, "compare_f32", NULL),
                          printed("table4", row, "add_f32", NULL), 0);
}

/* FF-INT8 multiplies most, also for gradients of inputs, and mostly quantises, BP-GDAI8 twice as much as BP-FP32, and
 * a forward pass more than a backward pass. */
static json_t *contrary_to_table4(const json_t *cell) {
  const char *row = text_of(cell, "row");
  double macs = strcmp(row, "ff_int8") == 0 ? 900e6 : strcmp(row, "bp_gdai8") == 0 ? 48e6 : 24e6;
  return record_of_counts(cell, macs, 0.6 * macs, macs / 10, macs / 10, macs / 4);
}

/* The board, or what is called so. */
static json_t *record_of_machine(const json_t *cell, int processors, double gigabytes, double times, double watts) {
  json_t *record = make_record(cell, 90, 1, 1, 1, "NVIDIA Jetson Orin Nano Developer Kit");
  json_t *provenance = json_object_get(record, "provenance"), *machine = json_object_get(provenance, "machine");
  json_object_set_new(machine, "processors", json_integer(processors));
  json_object_set_new(machine, "memory_bytes", json_integer((json_int_t)(1e9 * gigabytes)));
  json_object_set_new(provenance, "peaks",
                      json_pack("{s:f, s:f, s:f}", "fp32_operations_per_second", 1e11, "int8_operations_per_second",
                                1e11 * times, "memory_bytes_per_second", 3e10));
  json_object_set_new(json_object_get(record, "energy"), "mean_watts", json_real(watts));
  return record;
}

static json_t *record_of_table3(const json_t *cell) {
  return record_of_machine(cell, 6, 3.7, printed("table4", "int8_speed", NULL, NULL), 5);
}

static json_t *contrary_to_table3(const json_t *cell) {
  return record_of_machine(cell, 8, 8, 1.5, 30);
}

static json_t *diverge(json_t *record, int epoch) {
  json_object_set_new(record, "status", json_string("diverged"));
  json_object_set_new(record, "diverged", json_pack("{s:i}", "epoch", epoch));
  return record;
}

/* An INT8 run ends in the epoch in which its loss becomes infinite, the eighth. */
static json_t *record_of_fig2(const json_t *cell) {
  const char *row = text_of(cell, "row");
  const json_t *accuracy = at(paper, "figure2.%s.accuracy", row), *loss = at(paper, "figure2.%s.loss", row);
  bool diverges = strcmp(row, "bp_int8") == 0;
  json_t *record = make_record(cell, on_curve(accuracy, last_epoch(accuracy)), 1, 1, 1, "CPU");
  for (int epoch = 1; epoch <= (diverges ? 8 : last_epoch(accuracy)); epoch++)
    add_epoch(record, epoch, on_curve(accuracy, epoch), epoch < 8 || !diverges ? on_curve(loss, epoch) : 1e30);
  return diverges ? diverge(record, 8) : record;
}

/* FP32 unlearns what it knew; INT8 learns little and diverges an epoch later. */
static json_t *contrary_to_fig2(const json_t *cell) {
  bool falls = strcmp(text_of(cell, "row"), "bp_fp32") == 0;
  json_t *record = make_record(cell, 30, 1, 1, 1, "CPU");
  for (int epoch = 1; epoch <= (falls ? 100 : 9); epoch++)
    add_epoch(record, epoch, falls ? 100 - on_curve(at(paper, "figure2.bp_fp32.accuracy"), epoch) : 30, 3);
  return falls ? record : diverge(record, 9);
}

/* A middle bin of the printed share, the others alike as far as the bulk reaches; the rest grows with depth. */
static json_t *record_of_depth(const json_t *cell, int depth) {
  enum { BINS = 129, VALUES = 100000 };
  const double limit = 0.01;
  char model[16];
  snprintf(model, sizeof model, "hidden%d", depth);
  int peak = (int)(VALUES / 100 * json_number_value(at(paper, "figure3.%s.peak_share", model)));
  int reach = (int)(json_number_value(at(paper, "figure3.%s.bulk", model)) / limit * BINS / 2);
  json_t *record = make_record(cell, 90, 1, 1, 1, "CPU"), *counts = json_array();
  for (int bin = 0; bin < BINS; bin++) {
    int away = abs(bin - BINS / 2);
    json_array_append_new(counts, json_integer(away == 0 ? peak : away <= reach ? (VALUES - peak) / (2 * reach) : 0));
  }
  json_t *layers =
      json_pack("[{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:{s:f, s:o}}]", "values", VALUES, "zeros", 0, "kurtosis",
                1.0 + depth, "largest_over_median", 10.0 + depth, "minimum", -0.01 - 0.002 * depth, "maximum", 0.01,
                "int8_zero_share", 0.1 + 0.1 * depth, "histogram", "limit", limit, "counts", counts);
  json_object_set_new(
      record, "gradients",
      json_pack("[{s:i, s:O}, {s:i, s:o}]", "epoch", 0, "layers", layers, "epoch", 1, "layers", layers));
  return record;
}

static int depth_of(const json_t *cell) {
  return text_of(cell, "model")[strlen("hidden")] - '0';
}

static json_t *record_of_fig3(const json_t *cell) {
  return record_of_depth(cell, depth_of(cell));
}

static json_t *contrary_to_fig3(const json_t *cell) {
  return record_of_depth(cell, (depth_of(cell) + 1) % 3);
}

static json_t *record_of_peak(const json_t *cell, double off, double lookahead) {
  const char *row = text_of(cell, "row");
  return make_record(cell, 90, 1, 1, strcmp(row, "off") == 0 ? off : strcmp(row, "keep") == 0 ? lookahead : 100, "CPU");
}

static json_t *record_of_memory(const json_t *cell) {
  return record_of_peak(cell, 50, 53);
}

static json_t *contrary_to_memory(const json_t *cell) {
  return record_of_peak(cell, 120, 150);
}

#define MEMORY_ROWS                                                                                                    \
  "{ 'bp_fp32' }, { 'ff_int8', name = 'off', paper = 'off' }, { 'ff_int8', name = 'keep', paper = 'lookahead' }"
#define ONE_MLP "{ 'mlp', name = 'mlp_3x500', dataset = 'mnist' }"
#define THREE_MLPS                                                                                                     \
  "{ 'mlp', name = 'hidden0', dataset = 'mnist' }, { 'mlp', name = 'hidden1', dataset = 'mnist' }, "                   \
  "{ 'mlp', name = 'hidden2', dataset = 'mnist' }"

/* Records that say what the paper prints reproduce each claim of a list; records that say otherwise none. */
static void lists_follow_their_records(void **state) {
  (void)state;
  static const struct {
    const char *list, *models, *rows;
    record_maker alike, contrary;
    size_t count;
  } cases[] = {
      {"table2", NETWORKS, "{ 'bp_fp32' }", record_of_table2, contrary_to_table2, 4},
      {"table3", "mlp = { dataset = 'mnist' }", "{ 'bp_int8' }", record_of_table3, contrary_to_table3, 4},
      {"table4", ONE_MLP, "{ 'bp_fp32' }, { 'bp_gdai8' }, { 'ff_int8' }", record_of_table4, contrary_to_table4, 13},
      {"fig2", "resnet18 = { dataset = 'cifar10' }", "{ 'bp_fp32' }, { 'bp_int8' }", record_of_fig2, contrary_to_fig2,
       16},
      {"fig3", THREE_MLPS, "{ 'bp_fp32' }", record_of_fig3, contrary_to_fig3, 22},
      {"memory", NETWORKS, MEMORY_ROWS, record_of_memory, contrary_to_memory, 9}};
  static const char *const unmeasured[] = {"gpu_cores", "int8_rate", "memory_bandwidth", NULL};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *alike = judge_list(cases[i].list, cases[i].models, cases[i].rows, cases[i].alike);
    json_t *contrary = judge_list(cases[i].list, cases[i].models, cases[i].rows, cases[i].contrary);
    assert_int_equal(assert_all(alike, "reproduced", unmeasured), cases[i].count);
    assert_int_equal(assert_all(contrary, "not reproduced", unmeasured), cases[i].count);
  }
}

/* The other lists are read, and say of each claim why it is not measured before anything was run. */
static json_t *no_record(const json_t *cell) {
  (void)cell;
  return NULL;
}

static void claims_without_records_say_so(void **state) {
  (void)state;
  static const struct {
    const char *list, *models, *rows;
    size_t count;
  } cases[] = {
      {"table2", NETWORKS, "{ 'bp_fp32' }", 4},
      {"table3", NETWORKS, "{ 'bp_int8' }", 7},
      {"table4", ONE_MLP, "{ 'bp_fp32' }, { 'bp_gdai8' }, { 'ff_int8' }", 13},
      {"fig2", "resnet18 = { dataset = 'cifar10' }", "{ 'bp_fp32' }, { 'bp_int8' }", 16},
      {"fig3", THREE_MLPS, "{ 'bp_fp32' }", 22},
      {"memory", NETWORKS, MEMORY_ROWS, 9},
  };
  static const char *const none[] = {NULL};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(
        assert_all(judge_list(cases[i].list, cases[i].models, cases[i].rows, no_record), "not measured", none),
        cases[i].count);
}

/* ---- where the paper contradicts itself ------------------------------------------------------------------------- */

/* The evidence of these claims is arithmetic on the paper's numbers. */
static void contradictions_are_arithmetic(void **state) {
  (void)state;
  static const char *const networks[] = {"mobilenet_v2", "efficientnet_b0", "resnet18", "mlp"};
  static const char *const rows[] = {"bp_ui8", "bp_gdai8"}, *const metrics[] = {"time", "energy"};
  int cheaper = 0;
  for (int n = 0; n < 4; n++)
    for (int r = 0; r < 2; r++)
      for (int m = 0; m < 2; m++)
        cheaper +=
            printed("table5", networks[n], rows[r], metrics[m]) < printed("table5", networks[n], "bp_int8", metrics[m]);
  assert_int_equal(cheaper, 4);
  double least = (double)INFINITY, most = 0;
  static const char *const all[] = {"bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
  for (int n = 0; n < 4; n++)
    for (int r = 0; r < 5; r++) {
      double watts = printed("table5", networks[n], all[r], "energy") / printed("table5", networks[n], all[r], "time");
      least = fmin(least, watts);
      most = fmax(most, watts);
    }
  assert_float_equal(least, 3.5, 0.05);
  assert_float_equal(most, 5.0, 0.05);
  assert_true(most < printed("table3", "power_low", NULL, NULL));
  assert_true(printed("table1", "hidden3", "bp_int8", NULL) > printed("table1", "hidden2", "bp_int8", NULL));
  assert_true(printed("table5", "efficientnet_b0", "bp_int8", "accuracy") >
              printed("table5", "mobilenet_v2", "bp_int8", "accuracy"));
  assert_true(printed("table5", "efficientnet_b0", "bp_int8", "accuracy") >
              printed("table5", "resnet18", "bp_int8", "accuracy"));
  /* 784-500-500-500-10, ten samples: the input gradient stops at the second layer. */
  const double forward = 784.0 * 500 + 2 * 500.0 * 500 + 500.0 * 10, inputs = forward - 784.0 * 500;
  assert_float_equal(10 * (2 * forward + inputs) / 1e6, 22.99, 1e-9);
  assert_float_equal(10 * 4 * forward / 1e6, 35.88, 1e-9);
}

/* ---- cost to an accuracy --------------------------------------------------------------------------------------- */

/* Epochs of 2, 3 and 4 s, 10, 20 and 30 J. */
static json_t *record_by_epoch(const json_t *cell, const double accuracies[3]) {
  json_t *record = make_record(cell, accuracies[2], 9, 60, 1, "CPU");
  for (int i = 0; i < 3; i++)
    json_array_append_new(json_object_get(record, "epochs"),
                          json_pack("{s:i, s:f, s:f, s:f}", "epoch", i + 1, "validation_accuracy", accuracies[i],
                                    "seconds", 2.0 + i, "joules", 10.0 * (i + 1)));
  return record;
}

static json_t *report_costs_of(const char *levels, const double good[3], const double bad[3]) {
  write_script(
      "return experiment { name = 'x', profiles = { quick = { seeds = { 1 } } },\n"
      "  models = { mlp = { dataset = 'mnist', title = 'Net' } }, algorithms = { { 'bp_fp32' }, { 'bp_int8' } },\n"
      "  report = require 'lib.costs'.%s }\n",
      levels);
  json_t *plan = answer("plan", "quick", NULL), *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(cells_of(plan), index, cell)
      json_array_append_new(cells, found(cell, record_by_epoch(cell, index ? bad : good)));
  json_decref(plan);
  return answer("report", "quick", cells);
}

static json_t *report_costs(const char *levels) {
  static const double good[] = {50, 80, 95.5}, bad[] = {40, 70, 62.5};
  return report_costs_of(levels, good, bad);
}

/* A sentence, wherever its lines were broken. */
static void assert_says(const char *text, const char *sentence) {
  char joined[TEXT_BYTES];
  snprintf(joined, sizeof joined, "%s", text);
  for (char *c = joined; *c; c++)
    if (*c == '\n')
      *c = ' ';
  assert_contains(joined, sentence);
}

static void costs_to_an_accuracy_add_up(void **state) {
  (void)state;
  json_t *result = report_costs("report_to({ mlp = { quick = 80 } }, 'wanted')");
  const char *text = text_of(result, "terminal");
  assert_contains(text, "\nCost     s per epoch  s in all  s to 80 %  J per epoch  J in all  J to 80 %  In epochs\n");
  assert_contains(text, "\nbp_fp32         3.00      9.00       5.00         20.0      60.0       30.0        2.0\n");
  assert_contains(text, "\nbp_int8         3.00      9.00         -¹         20.0      60.0         -¹         -¹\n");
  assert_contains(text, "- ¹ never reached 80 %: its best accuracy by epoch was 70.00 %");
  assert_says(text, "The accuracy to reach is wanted: Net 80 %.");
  json_decref(result);
  /* The worse of the two ended with 62.5, which the better one had in its second epoch. */
  result = report_costs("report");
  text = text_of(result, "terminal");
  assert_contains(text, "s to 62 %");
  assert_contains(text, "\nbp_fp32         3.00      9.00       5.00         20.0      60.0       30.0        2.0\n");
  assert_contains(text, "\nbp_int8         3.00      9.00       5.00         20.0      60.0       30.0        2.0\n");
  assert_says(text, "lowest that a run ended with, rounded down, runs below 20 % left out: Net 62 %.");
  json_decref(result);
  /* One that guesses to its end says nothing of what it costs to learn. */
  static const double good[] = {50, 80, 95.5}, guessing[] = {10, 9, 10}, blind[] = {11, 12, 10};
  result = report_costs_of("report", good, guessing);
  text = text_of(result, "terminal");
  assert_contains(text, "s to 95 %");
  assert_contains(text, "never reached 95 %: its best accuracy by epoch was 10.00 %");
  json_decref(result);
  result = report_costs_of("report", guessing, blind);
  text = text_of(result, "terminal");
  assert_contains(text, "\nCost     s per epoch  s in all  J per epoch  J in all\n");
  assert_null(strstr(text, "The accuracy to reach"));
  json_decref(result);
}

/* ---- JUnit ----------------------------------------------------------------------------------------------------- */

/* What parsers that are none of ours read in a file, by XPath and by ElementTree; one that is not installed is left
 * out, and said so. Returns how many there were. */
static int assert_query(const char *path, const char *xpath, const char *python, const char *expected) {
  static const char prologue[] = "import sys, xml.etree.ElementTree as e; r = e.parse(sys.argv[1]).getroot(); print";
  char code[512], out[PATH_MAX + 32];
  snprintf(code, sizeof code, "%s(%s)", prologue, python);
  snprintf(out, sizeof out, "%s/answer", folder);
  const char *const commands[][6] = {{"xmllint", "--xpath", xpath, path, NULL}, {"python3", "-c", code, path, NULL}};
  int parsers = 0;
  for (size_t i = 0; i < 2; i++) {
    struct ffb_error error;
    size_t bytes;
    int status = run_program(commands[i], out);
    if (status == 127) {
      print_message("# %s is not installed: it did not read the XML\n", commands[i][0]);
      continue;
    }
    parsers++;
    assert_int_equal(status, 0);
    char *answer_text = file_read(out, &bytes, &error);
    assert_non_null(answer_text);
    answer_text[strcspn(answer_text, "\n")] = '\0';
    assert_string_equal(answer_text, expected);
    ffb_free(answer_text);
  }
  return parsers;
}

/* Two gates, one of them failed, and one claim whose text wants escaping. */
static void junit_is_what_parsers_read(void **state) {
  (void)state;
  static const struct judged bad = {VALUE ", profiles = { 'quick' } } }, gates = { quick = { { claim = 'c' },"
                                          " { row = 'bp_fp32', metric = 'accuracy', at_least = 90 }",
                                    {98.4, 98.5, 98.6},
                                    {95, 95, 95},
                                    3,
                                    "not reproduced",
                                    "",
                                    NULL};
  char path[PATH_MAX + 32];
  struct ffb_error error;
  json_t *result = judge(&bad);
  const char *text = text_of(result, "junit");
  assert_int_equal(json_integer_value(json_object_get(result, "failed")), 1);
  assert_int_equal(count_of(text, "<testcase"), 3);
  assert_int_equal(count_of(text, "</testcase>"), 3);
  assert_contains(text, "<testsuites name=\"ffbench x.quick\" tests=\"3\" failures=\"1\">");
  assert_contains(text, "name=\"c: mlp, a &lt; &quot;b&quot; &amp; bp_int8\"");
  snprintf(path, sizeof path, "%s/junit.xml", folder);
  assert_true(file_replace(path, text, strlen(text), "", &error));
  if (!assert_query(path, "count(//testcase)", "len(r.findall('.//testcase'))", "3")) {
    json_decref(result);
    skip();
  }
  assert_query(path, "count(//failure)", "len(r.findall('.//failure'))", "1");
  assert_query(path, "string(//failure/@message)", "r.find('.//failure').get('message')",
               "98.5 ±0.25 % (not reproduced)");
  assert_query(path, "string(//testsuite[2]/testcase/@name)", "r[1][0].get('name')", "c: mlp, a < \"b\" & bp_int8");
  assert_query(path, "string(//testsuite[2]/testcase/skipped/@message)", "r[1][0][0].get('message')",
               "not reproduced: 98.5 ±0.25 % here, 94.3 % in the paper (there)");
  json_decref(result);
}

/* An underpowered claim is a gate all the same: its mean decides. */
static void gates_on_claims_decide(void **state) {
  (void)state;
  static const struct {
    const char *claim;
    double row[MOST_VALUES];
    json_int_t failed;
  } cases[] = {{VALUE, {94.0, 94.4, 94.9}, 0},                  /* reproduced */
               {VALUE, {96.0, 96.6, 97.0}, 0},                  /* within spread */
               {VALUE, {85.3, 91.9, 94.2}, 1},                  /* underpowered, mean 90.5 */
               {VALUE, {88.3, 94.9, 97.2}, 0},                  /* underpowered, mean 93.5 */
               {VALUE, {98.4, 98.5, 98.6}, 1},                  /* not reproduced */
               {VALUE ", machine = 'Other'", {94, 94, 94}, 0}}; /* nothing to judge by */
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char claim[512];
    struct judged judged = {claim, {0}, {0}, 3, "", "", NULL};
    snprintf(claim, sizeof claim, "%s } }, gates = { quick = { { claim = 'c' }", cases[i].claim);
    memcpy(judged.row, cases[i].row, sizeof judged.row);
    json_t *result = judge(&judged);
    assert_int_equal(json_array_size(json_object_get(result, "gates")), 1);
    assert_int_equal(json_integer_value(json_object_get(result, "failed")), cases[i].failed);
    json_decref(result);
  }
}

/* ---- single runs ----------------------------------------------------------------------------------------------- */

/* Of BP-FP32 and then BP-INT8, three seeds each; one is missing, or shared the machine with other programs. */
struct runs {
  double accuracy[2][3];
  const char *missing, *shared; /* "row seed", or null */
};

static bool is_named(const char *name, const json_t *cell, json_int_t seed) {
  char own[64];
  snprintf(own, sizeof own, "%s %d", text_of(cell, "row"), (int)seed);
  return name && strcmp(name, own) == 0;
}

static json_t *check_runs(const char *fields, const struct runs *runs) {
  write_script("return experiment { name = 'x', profiles = { quick = { seeds = { 1, 2, 3 } } },\n"
               "  models = { mlp = { dataset = 'mnist' } }, algorithms = { { 'bp_fp32' }, { 'bp_int8' } }, %s }\n",
               fields);
  json_t *plan = answer("plan", "quick", NULL), *cells = json_array(), *cell;
  size_t index;
  json_array_foreach(cells_of(plan), index, cell) {
    json_int_t seed = json_integer_value(json_object_get(json_object_get(cell, "config"), "seed"));
    double accuracy = runs->accuracy[strcmp(text_of(cell, "row"), "bp_int8") == 0][seed - 1];
    json_t *record = is_named(runs->missing, cell, seed) ? NULL : make_record(cell, accuracy, 1, 1, 1, "CPU");
    if (is_named(runs->shared, cell, seed))
      json_object_set_new(json_object_get(record, "provenance"), "own_machine", json_false());
    json_array_append_new(cells, found(cell, record));
  }
  json_decref(plan);
  return answer("check", "quick", cells);
}

/* Whichever of the two shared the machine; their accuracies compare all the same. */
static void time_is_compared_on_a_machine_of_ones_own(void **state) {
  (void)state;
  static const char *const shared[] = {"bp_fp32 2", "bp_int8 3", NULL};
  for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
    for (int time = 0; time < 2; time++) {
      struct runs runs = {.accuracy = {{90, 90, 90}, {90, 90, 90}}, .shared = shared[i]};
      char fields[512];
      snprintf(fields, sizeof fields,
               "claims = { { id = 'c', text = 't', place = 'p', kind = 'share', model = 'mlp', row = 'bp_int8',\n"
               "  base = 'bp_fp32', metric = '%s', at_most = 100 } }",
               time ? "time" : "accuracy");
      json_t *result = check_runs(fields, &runs);
      const json_t *entry = json_array_get(json_object_get(result, "verdicts"), 0);
      bool judged = !shared[i] || !time;
      assert_string_equal(text_of(entry, "verdict"), judged ? "reproduced" : "not measured");
      if (!judged)
        assert_contains(text_of(entry, "reason"), "other programs used the machine");
      json_decref(result);
    }
}

/* The mean within bounds, and no run missing. */
static void gates_hold_their_bounds(void **state) {
  (void)state;
  static const struct {
    const char *bounds;
    double first; /* of three accuracies; the others are 90 */
    const char *missing;
    json_int_t failed;
  } cases[] = {{"at_least = 90", 90, NULL, 0},
               {"at_least = 90", 89, NULL, 1},
               {"at_most = 90", 90, NULL, 0},
               {"at_most = 90", 91, NULL, 1},
               {"at_least = 80, at_most = 95", 90, NULL, 0},
               {"at_least = 80, at_most = 95", 120, NULL, 1},
               {"at_least = 80", 90, "bp_fp32 1", 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct runs runs = {.accuracy = {{cases[i].first, 90, 90}, {90, 90, 90}}, .missing = cases[i].missing};
    char fields[256];
    snprintf(fields, sizeof fields, "gates = { quick = { { row = 'bp_fp32', metric = 'accuracy', %s } } }",
             cases[i].bounds);
    json_t *result = check_runs(fields, &runs);
    assert_int_equal(json_integer_value(json_object_get(result, "failed")), cases[i].failed);
    json_decref(result);
  }
}

/* ---- set-up ---------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  (void)state;
  struct ffb_error error;
  if (scratch_make(folder, sizeof folder))
    return -1;
  snprintf(script, sizeof script, "%s/script.lua", folder);
  registry = registry_json(&error);
  paper = lua_host_run("experiments/paper.lua", "tests/lua/bare", NULL, &limits, &error);
  return !registry || !paper;
}

static int tear_down(void **state) {
  (void)state;
  json_decref(registry);
  json_decref(paper);
  return scratch_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_are_those_of_students_t),
      cmocka_unit_test(chances_have_closed_forms),
      cmocka_unit_test(intervals_and_seeds_agree),
      cmocka_unit_test(verdicts_follow_from_intervals),
      cmocka_unit_test(wrong_claims_are_refused),
      cmocka_unit_test(table1_reproduces_itself),
      cmocka_unit_test(table5_reproduces_itself),
      cmocka_unit_test(figure6_reproduces_itself),
      cmocka_unit_test(lists_follow_their_records),
      cmocka_unit_test(claims_without_records_say_so),
      cmocka_unit_test(contradictions_are_arithmetic),
      cmocka_unit_test(costs_to_an_accuracy_add_up),
      cmocka_unit_test(junit_is_what_parsers_read),
      cmocka_unit_test(gates_on_claims_decide),
      cmocka_unit_test(time_is_compared_on_a_machine_of_ones_own),
      cmocka_unit_test(gates_hold_their_bounds),
  };
  return cmocka_run_group_tests_name("verdicts", tests, set_up, tear_down);
}
