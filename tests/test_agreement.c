/* Runs that are run again: which numbers of two records agree and how closely, worked out here, and the program's verb
 * on small generated data, with records that were altered. */
#include "base/memory.h"
#include "harness/agreement.h"
#include "harness/file.h"
#include "harness/machine.h"
#include "harness/record.h"
#include "tests/folder.h"

#include <jansson.h>
#include <limits.h>
#include <unistd.h>

enum { TEXT_BYTES = 512, PARTS = 48, ARGUMENTS = 32 };

#define PROGRAM  FFB_BUILD_DIRECTORY "/ffbench"
#define COUNTING (FFB_BUILD_DIRECTORY "/tests/plugins/counting.so")

/* ---- records ------------------------------------------------------------------------------------------------------
 */

static json_t *parse(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
  if (!value)
    fail_msg("no JSON: %s", text);
  return value;
}

static json_t *make_record(void) {
  return parse("{\"schema\": 1, \"status\": \"done\", \"config\": {\"seed\": 1, \"threads\": 0, \"data\": \"/there\"},"
               " \"dataset\": {\"name\": \"mnist\", \"sha256\": \"aa\", \"train_records\": 900, \"source\": \"there\","
               "   \"validation_records\": 100, \"test_records\": 100},"
               " \"model\": {\"name\": \"mlp\", \"parameters\": 10}, \"loaded_weights\": null,"
               " \"accuracy\": {\"test\": 50.0, \"validation\": 60.0},"
               " \"epochs\": [{\"epoch\": 1, \"loss\": 2.0, \"seconds\": 0.5, \"not_finite\": 0},"
               "   {\"epoch\": 2, \"loss\": 1.0, \"seconds\": 0.5, \"not_finite\": 0}], \"diverged\": null,"
               " \"gradients\": null, \"weights_sha256\": \"bb\","
               " \"time\": {\"steps\": 20, \"train_seconds\": 2.0, \"step_median_seconds\": 0.1},"
               " \"memory\": {\"peak_bytes\": 100, \"peak_bytes_by_tag\": {\"weights\": 100}, \"peak_call\": 3,"
               "   \"resident_peak_bytes\": 1000},"
               " \"energy\": {\"joules\": null}, \"operations\": {\"programs\": {\"train\": {\"mac_f32\": 7}}},"
               " \"provenance\": {\"commit\": \"c\", \"dirty\": false, \"compiler\": \"gcc\", \"threads\": 2,"
               "   \"backend\": {\"name\": \"cpu\"}, \"backend_object\": {\"sha256\": \"dd\"}, \"machine\": "
               "{\"processor\": \"P\"}}}");
}

/* Put a value at a path such as epochs.1.loss. */
static void alter(json_t *record, const char *path, const char *value) {
  char copy[128], *rest = copy;
  snprintf(copy, sizeof copy, "%s", path);
  char *key = strtok_r(copy, ".", &rest);
  for (char *next; (next = strtok_r(NULL, ".", &rest)); key = next)
    record = json_is_array(record) ? json_array_get(record, strtoul(key, NULL, 10)) : json_object_get(record, key);
  assert_true(json_is_object(record));
  if (value)
    json_object_set_new(record, key, parse(value));
  else
    assert_int_equal(json_object_del(record, key), 0);
}

/* What was said of each part. */
struct heard {
  struct {
    char part[32], text[TEXT_BYTES];
    enum agreement agreement;
  } of[PARTS];
  int count;
  bool result;
};

static void hear(void *to, const char *part, enum agreement agreement, const char *text) {
  struct heard *heard = to;
  assert_true(heard->count < PARTS);
  snprintf(heard->of[heard->count].part, sizeof heard->of[0].part, "%s", part);
  snprintf(heard->of[heard->count].text, TEXT_BYTES, "%s", text);
  heard->of[heard->count++].agreement = agreement;
}

static int find_part(const struct heard *heard, const char *part) {
  for (int i = 0; i < heard->count; i++)
    if (strcmp(heard->of[i].part, part) == 0)
      return i;
  return -1;
}

static void assert_part(const struct heard *heard, const char *part, enum agreement agreement, const char *says) {
  int i = find_part(heard, part);
  if (i < 0 || heard->of[i].agreement != agreement || !strstr(heard->of[i].text, says))
    fail_msg("%s should be %d with \"%s\", is %d: %s", part, (int)agreement, says,
             i < 0 ? -1 : (int)heard->of[i].agreement, i < 0 ? "not said" : heard->of[i].text);
}

/* A record against one that has another value in one place. */
static struct heard judge(const char *path, const char *value, bool bits_due) {
  struct heard heard = {.count = 0};
  json_t *there = make_record(), *here = make_record();
  if (path)
    alter(here, path, value);
  heard.result = agreement_judge(there, here, bits_due, hear, &heard);
  json_decref(there);
  json_decref(here);
  return heard;
}

static int count_broken(const struct heard *heard) {
  int broken = 0;
  for (int i = 0; i < heard->count; i++)
    broken += heard->of[i].agreement == AGREEMENT_BROKEN;
  return broken;
}

/* ---- agreement ----------------------------------------------------------------------------------------------------
 */

static void same_records_agree(void **state) {
  static const char *const parts[] = {"options",  "dataset", "network",    "outcome", "weights",
                                      "accuracy", "epochs",  "operations", "memory"};
  (void)state;
  for (int due = 0; due < 2; due++) {
    struct heard heard = judge(NULL, NULL, due);
    assert_true(heard.result);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
      assert_part(&heard, parts[i], AGREEMENT_BITS, "");
    /* Nobody measured them, so nothing is said. */
    assert_int_equal(find_part(&heard, "gradients"), -1);
    assert_part(&heard, "energy", AGREEMENT_OPEN, "not measured there");
  }
}

static void every_altered_number_is_found(void **state) {
  static const struct {
    const char *path, *value, *part, *says;
  } cases[] = {
      {"weights_sha256", "\"bc\"", "weights", "\"bb\" there, \"bc\" here"},
      {"accuracy.test", "50.01", "accuracy", "accuracy.test: 50.0 there, 50.01 here"},
      {"accuracy.validation", "null", "accuracy", "null here"},
      {"epochs.1.loss", "1.02", "epochs", "epochs[1].loss: 1.0 there, 1.02 here; losses of an epoch within 2 %"},
      {"epochs.0.not_finite", "1", "epochs", "epochs[0].not_finite"},
      {"epochs.1.loss", "\"inf\"", "epochs", "\"inf\" here"},
      {"diverged", "{\"epoch\": 2}", "epochs", "diverged: null there"},
      {"time.steps", "21", "epochs", "20 there, 21 here"},
      {"operations.programs.train.mac_f32", "8", "operations", "7 there, 8 here"},
      {"operations.programs.train", NULL, "operations", "nothing here"},
      {"memory.peak_bytes", "101", "memory", "100 there, 101 here"},
      {"memory.peak_bytes_by_tag.weights", "99", "memory", "by_tag.weights"},
      {"memory.peak_call", "4", "memory", "peak_call"},
      {"status", "\"diverged\"", "outcome", "diverged"},
      {"model.parameters", "11", "network", "parameters"},
      {"dataset.sha256", "\"ab\"", "dataset", "sha256"},
      {"dataset.test_records", "99", "dataset", "test_records"},
      {"config.seed", "2", "options", "seed: 1 there, 2 here"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct heard heard = judge(cases[i].path, cases[i].value, true);
    assert_false(heard.result);
    assert_part(&heard, cases[i].part, AGREEMENT_BROKEN, cases[i].says);
    assert_int_equal(count_broken(&heard), 1);
  }
}

/* Where things lie, how long it took, and what only the later program writes down. */
static void costs_and_places_have_no_verdict(void **state) {
  static const struct {
    const char *path, *value;
  } cases[] = {{"epochs.1.seconds", "9.0"},     {"config.data", "\"/here\""},        {"config.threads", "2"},
               {"dataset.source", "\"here\""},  {"memory.resident_peak_bytes", "9"}, {"memory.new", "1"},
               {"epochs.0.new", "1"},           {"time.train_seconds", "3.0"},       {"energy.joules", "5.0"},
               {"operations.new", "{\"a\": 1}"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_true(judge(cases[i].path, cases[i].value, true).result);
  struct heard heard = judge("time.train_seconds", "3.0", true);
  assert_part(&heard, "training time", AGREEMENT_OPEN, "1.500 times the record's 2 s");
}

/* What is not there cannot agree. */
static void record_without_numbers_agrees_with_nothing(void **state) {
  static const char *const paths[][2] = {{"weights_sha256", "weights"}, {"accuracy", "accuracy"},
                                         {"epochs", "epochs"},          {"operations", "operations"},
                                         {"memory", "memory"},          {"dataset", "dataset"}};
  (void)state;
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    struct heard heard = {.count = 0};
    json_t *there = make_record(), *here = make_record();
    alter(there, paths[i][0], NULL);
    if (strcmp(paths[i][0], "epochs") == 0) {
      alter(there, "time.steps", NULL);
      alter(there, "diverged", NULL);
    }
    assert_false(agreement_judge(there, here, true, hear, &heard));
    assert_part(&heard, paths[i][1], AGREEMENT_BROKEN, "the record has no ");
    json_decref(there);
    json_decref(here);
  }
}

/* Half of 100 records: three standard errors of a difference are 300 sqrt(2 / 4 / 100) = 21.21 points; 60 % of 100,
 * one more on each side: 61 / 102, so 20.80. */
static void other_machines_may_differ_by_chance(void **state) {
  (void)state;
  struct heard heard = judge("accuracy.test", "71.0", false);
  assert_true(heard.result);
  assert_part(&heard, "accuracy", AGREEMENT_TOLERANCE, "21.00 points apart of 21.21");
  heard = judge("accuracy.validation", "39.3", false);
  assert_true(heard.result);
  assert_part(&heard, "accuracy", AGREEMENT_TOLERANCE, "20.70 points apart of 20.80");
  assert_false(judge("accuracy.test", "72.0", false).result);
  assert_false(judge("accuracy.test", "null", false).result);
  heard = judge("weights_sha256", "\"bc\"", false);
  assert_true(heard.result);
  assert_part(&heard, "weights", AGREEMENT_OPEN, "\"bc\" here");
  heard = judge("epochs.0.loss", "1.5", false);
  assert_part(&heard, "epochs", AGREEMENT_OPEN, "within 25 %");
  /* What depends on no rounding is due anywhere. */
  assert_false(judge("dataset.sha256", "\"ab\"", false).result);
  assert_false(judge("model.parameters", "11", false).result);
  assert_false(judge("status", "\"diverged\"", false).result);
}

static void circumstances_say_what_is_due(void **state) {
  static const struct {
    const char *path, *value, *part;
    bool due;
  } cases[] = {{"provenance.commit", "\"d\"", "commit", true},
               {"provenance.dirty", "true", "changes", true},
               {"provenance.machine.processor", "\"Q\"", "processor", true},
               {"provenance.backend_object.sha256", "\"de\"", "backend object", true},
               {"provenance.compiler", "\"clang\"", "compiler", false},
               {"provenance.threads", "1", "threads", false},
               {"provenance.backend.name", "\"reference\"", "backend", false}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct heard heard = {.count = 0};
    json_t *there = make_record(), *here = make_record();
    assert_true(agreement_circumstances(there, here, hear, &heard));
    assert_int_equal(heard.count, 0);
    alter(here, cases[i].path, cases[i].value);
    assert_int_equal(agreement_circumstances(there, here, hear, &heard), cases[i].due);
    assert_int_equal(heard.count, 1);
    assert_part(&heard, cases[i].part, AGREEMENT_OPEN, " there, ");
    json_decref(there);
    json_decref(here);
  }
}

/* A later commit may plan its memory otherwise, but not train to other weights: that takes another result version. */
static void another_commit_plans_otherwise(void **state) {
  static const struct {
    const char *path, *value, *part;
    bool due;
  } cases[] = {{"memory.peak_bytes", "99", "memory", false},
               {"operations.programs.train.mac_f32", "8", "operations", false},
               {"weights_sha256", "\"bc\"", "weights", true},
               {"epochs.0.loss", "1.9", "epochs", true}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct heard heard = {.count = 0};
    json_t *there = make_record(), *here = make_record();
    alter(here, "provenance.commit", "\"d\"");
    alter(here, cases[i].path, cases[i].value);
    assert_int_equal(agreement_judge(there, here, true, hear, &heard), !cases[i].due);
    assert_part(&heard, cases[i].part, cases[i].due ? AGREEMENT_BROKEN : AGREEMENT_OPEN, " there, ");
    json_decref(there);
    json_decref(here);
  }
}

/* A record may come from anywhere, and its texts end on a terminal. */
static void texts_of_a_record_are_escaped(void **state) {
  (void)state;
  struct heard heard = judge("weights_sha256", "\"\\u001b[2J\\n\\u00e9\"", true);
  assert_part(&heard, "weights", AGREEMENT_BROKEN, "\\u001B[2J\\n\\u00E9");
  heard = (struct heard){.count = 0};
  json_t *there = make_record(), *here = make_record();
  alter(there, "status", "\"do\177ne\"");
  agreement_judge(there, there, true, hear, &heard);
  assert_part(&heard, "outcome", AGREEMENT_BITS, "do?ne");
  heard = (struct heard){.count = 0};
  alter(there, "model.\033[2J\n\302\233", "1");
  assert_false(agreement_judge(there, here, true, hear, &heard));
  assert_part(&heard, "network", AGREEMENT_BROKEN, "model.?[2J???: 1 there, nothing here");
  json_decref(there);
  json_decref(here);
}

/* An option that needs all of its digits has them in the file; others stay as short as they are. */
static void options_are_read_back_exactly(void **state) {
  (void)state;
  static const double third = 1.0 / 3;
  struct ffb_error error;
  json_t *record =
      json_pack("{s:{s:f, s:{s:f}}, s:f}", "config", "a", 0.05, "options", "learning_rate", third, "x", 0.1);
  json_t *read = record_as_read(record, &error);
  assert_true(json_equal(read, record));
  json_decref(read);
  json_object_set_new(json_object_get(json_object_get(record, "config"), "options"), "learning_rate", json_real(0.3));
  json_object_set_new(record, "x", json_real(third));
  read = record_as_read(record, &error);
  assert_true(json_equal(json_object_get(read, "config"), json_object_get(record, "config")));
  assert_float_equal(json_number_value(json_object_get(read, "x")), 0.333333333333333, 0);
  json_decref(read);
  json_decref(record);
}

/* ---- the GPU ------------------------------------------------------------------------------------------------------
 */

static void write_file(const char *name, const void *content, size_t bytes) {
  struct ffb_error error;
  if (!file_replace(in(name), content, bytes, "", &error))
    fail_msg("%s", error.message);
}

static void assert_gpu(const char *driver, const char *board, const char *expected) {
  json_t *found = machine_gpu_json(driver, board), *wanted = parse(expected);
  assert_true(json_equal(found, wanted));
  json_decref(found);
  json_decref(wanted);
}

static void gpus_are_named_with_their_driver(void **state) {
  static const char version[] = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.1  Thu Oct 19\nGCC version: 12\n";
  static const char model[] = "Model: \t\t NVIDIA H100\nIRQ:   \t\t 1\n",
                    release[] = "# R36 (release), REVISION: 2.0\n";
  (void)state;
  assert_gpu(in("nothing"), in("nothing"), "null");
  write_file("board", release, sizeof release - 1);
  assert_gpu(in("nothing"), in("board"), "{\"name\": null, \"driver\": \"# R36 (release), REVISION: 2.0\"}");
  write_file("nvidia/version", version, sizeof version - 1);
  write_file("nvidia/gpus/0000:01:00.0/information", model, sizeof model - 1);
  write_file("nvidia/gpus/0000:02:00.0/information", model, sizeof model - 1);
  assert_gpu(in("nvidia"), in("board"),
             "{\"name\": \"NVIDIA H100, NVIDIA H100\","
             " \"driver\": \"NVIDIA UNIX x86_64 Kernel Module  535.1  Thu Oct 19\"}");
}

/* ---- the tree -----------------------------------------------------------------------------------------------------
 */

/* What a build in the test's folder would say of itself after a command there. */
static bool builds_dirty(const char *command) {
  char here[PATH_MAX], line[3 * PATH_MAX];
  assert_non_null(getcwd(here, sizeof here));
  snprintf(line, sizeof line, "cd '%s' && (%s) >&2 && '%s/scripts/build-info' cc flags", folder, command, here);
  assert_int_equal(run_program((const char *const[]){"sh", "-c", line, NULL}, in("info")), 0);
  FILE *file = fopen(in("info"), "r");
  char text[4096];
  assert_non_null(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  bool dirty = strstr(text, "#define FFB_DIRTY 1\n");
  assert_true(dirty || strstr(text, "#define FFB_DIRTY 0\n"));
  return dirty;
}

/* A source that was never committed is built like any other. */
static void uncommitted_sources_make_a_build_dirty(void **state) {
  (void)state;
  if (run_program((const char *const[]){"git", "--version", NULL}, in("version")) != 0)
    skip();
  assert_false(builds_dirty("git init -q . && echo 'int a;' > a.c && git add a.c &&"
                            " git -c user.name=t -c user.email=t@t.t commit -q -m t"));
  assert_false(builds_dirty("touch notes.txt"));
  assert_true(builds_dirty("touch b.c"));
  assert_false(builds_dirty("rm b.c"));
  assert_true(builds_dirty("echo 'int b;' >> a.c"));
}

/* ---- the verb -----------------------------------------------------------------------------------------------------
 */

struct result {
  int status;
  char output[16384], errors[4096];
};

static void read_text(const char *name, char *text, size_t size) {
  FILE *file = fopen(in(name), "r");
  assert_non_null(file);
  text[fread(text, 1, size - 1, file)] = '\0';
  fclose(file);
}

static struct result run(const char *const *arguments) {
  static struct result result;
  char *argv[ARGUMENTS] = {PROGRAM};
  int status, errors;
  for (int i = 0; arguments[i]; i++) {
    assert_true(i + 2 < ARGUMENTS);
    argv[i + 1] = (char *)arguments[i];
  }
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int output = open(in("output"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    errors = open(in("errors"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0)
      _exit(126);
    execv(PROGRAM, argv);
    _exit(127);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  read_text("output", result.output, sizeof result.output);
  read_text("errors", result.errors, sizeof result.errors);
  return result;
}

#define RUN(...)    run((const char *const[]){__VA_ARGS__, NULL})
#define REPLAY(...) RUN("replay", "--quiet", __VA_ARGS__)
#define SMALL                                                                                                          \
  "--dataset", "synthetic_digits", "--synthetic-train", "310", "--synthetic-test", "40", "--batch", "30", "--epochs",  \
      "2", "--threads", "1", "--quiet"

static void assert_status(struct result result, int status, const char *says) {
  if (result.status != status || !strstr(status == 1 && *result.errors ? result.errors : result.output, says))
    fail_msg("expected %d with \"%s\", got %d:\n%s%s", status, says, result.status, result.output, result.errors);
}

/* The line of a part, its columns told apart by single spaces. */
static void assert_line(const struct result *result, const char *line) {
  char squeezed[sizeof result->output];
  size_t length = 0;
  for (const char *c = result->output; *c; c++)
    if (*c != ' ' || (length > 0 && squeezed[length - 1] != ' '))
      squeezed[length++] = *c;
  squeezed[length] = '\0';
  if (!strstr(squeezed, line))
    fail_msg("no \"%s\" in:\n%s", line, squeezed);
}

static void train(const char *algorithm) {
  assert_status(RUN("train", "--algorithm", algorithm, SMALL, "--set", "model.hidden=24,16", "--set",
                    "learning_rate=0.0333333333333333333", "--record", in("r.json")),
                0, "status       done");
}

static json_t *load(const char *name) {
  json_t *record = json_load_file(in(name), 0, NULL);
  assert_non_null(record);
  return record;
}

/* The record as r.json, but for one value, as altered.json. */
static const char *altered(const char *path, const char *value) {
  json_t *record = load("r.json");
  alter(record, path, value);
  assert_int_equal(json_dump_file(record, in("altered.json"), JSON_REAL_PRECISION(17)), 0);
  json_decref(record);
  return in("altered.json");
}

static void replay_agrees_bit_for_bit(void **state) {
  static const char *const algorithms[] = {"bp_fp32", "ff_int8"};
  static const char *const lines[] = {"\nweights bit for bit weights_sha256 ",
                                      "\naccuracy bit for bit accuracy.test ",
                                      "\nepochs bit for bit time.steps 20\n",
                                      "\noperations bit for bit",
                                      "\nmemory bit for bit memory.peak_bytes ",
                                      "\ntraining time not judged ",
                                      "\nreplay agrees bit for bit\n"};
  (void)state;
  for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
    train(algorithms[i]);
    char *before = NULL, *after = NULL;
    size_t bytes;
    struct ffb_error error;
    assert_non_null(before = file_read(in("r.json"), &bytes, &error));
    struct result result = REPLAY(in("r.json"));
    assert_status(result, 0, "agrees");
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
      assert_line(&result, lines[k]);
    assert_string_equal(result.errors, "");
    assert_non_null(after = file_read(in("r.json"), &bytes, &error));
    assert_string_equal(before, after);
    ffb_free(before);
    ffb_free(after);
  }
}

/* Only where it is asked for, and never in place of the one that is replayed. */
static void replay_writes_a_record_when_asked(void **state) {
  (void)state;
  train("bp_int8");
  assert_status(REPLAY(in("r.json"), "--record", in("r.json")), 2, "");
  assert_status(REPLAY(in("r.json")), 0, "agrees");
  assert_int_equal(access(in("again.json"), F_OK), -1);
  assert_status(REPLAY(in("r.json"), "--record", in("again.json")), 0, "agrees");
  json_t *first = load("r.json"), *again = load("again.json");
  assert_true(json_equal(json_object_get(first, "weights_sha256"), json_object_get(again, "weights_sha256")));
  assert_true(json_equal(json_object_get(first, "config"), json_object_get(again, "config")));
  json_decref(first);
  json_decref(again);
  assert_status(REPLAY(in("again.json")), 0, "agrees");
}

static void replay_finds_what_was_altered(void **state) {
  static const struct {
    const char *path, *value, *line;
  } cases[] = {{"weights_sha256", "\"00\"", "\nweights DIFFERS "},
               {"epochs.1.loss", "0.5", "\nepochs DIFFERS epochs[1].loss: 0.5 there, "},
               {"memory.peak_bytes", "1", "\nmemory DIFFERS memory.peak_bytes: 1 there, "},
               {"config.seed", "2", "\nweights DIFFERS "},
               {"config.options.learning_rate", "0.03", "\nweights DIFFERS "}};
  (void)state;
  train("bp_fp32");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct result result = REPLAY(altered(cases[i].path, cases[i].value));
    assert_int_equal(result.status, 1);
    assert_line(&result, cases[i].line);
    assert_line(&result, "\nreplay DIFFERS ");
    assert_line(&result, "\nnetwork bit for bit ");
  }
}

static void replay_refuses_what_it_cannot_repeat(void **state) {
  static const struct {
    const char *path, *value, *says;
  } cases[] = {{"schema", "2", "replay it with the program that wrote it"},
               {"status", "\"interrupted\"", "came to its end"},
               {"config", "3", "no record of schema"},
               {"config.epoch", "3", "did you mean epochs?"},
               {"config.options.momentun", "3", "did you mean momentum?"},
               {"config.algorithm", "\"mine\"", "--plugin FILE"},
               {"config.plugin", "\"/nowhere/mine.so\"", "--plugin FILE"},
               {"config.load_weights", "\"/nowhere/w.safetensors\"", "--load-weights FILE"},
               {"config.backend", "\"cup\"", "no backend"},
               {"provenance.result_version.trainer", "77", "git checkout"},
               {"provenance.result_version.engine", "77", "of the engine"},
               {"dataset.sha256", "\"00\"", "--data DIR"}};
  (void)state;
  train("bp_fp32");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct result result = REPLAY(altered(cases[i].path, cases[i].value));
    assert_status(result, 1, cases[i].says);
    assert_string_equal(result.output, "");
  }
  assert_status(REPLAY(in("absent.json")), 1, "give the .json file of a record");
  write_file("broken.json", "{\"schema\": 1, ", 14);
  assert_status(REPLAY(in("broken.json")), 1, "line 1");
  assert_int_equal(RUN("replay").status, 2);
  assert_int_equal(REPLAY(in("r.json"), "--thread", "1").status, 2);
  assert_status(RUN("replay", "--help"), 0, "--load-weights TEXT");
}

/* Another way to compute is named, and other numbers are held to what they can be held to. */
static void replay_says_what_was_overridden(void **state) {
  (void)state;
  train("bp_int8");
  struct result result = REPLAY(in("r.json"), "--backend", "reference");
  assert_status(result, 0, "as far as another way to compute can");
  assert_line(&result, "\nbackend other ");
  assert_line(&result, "\nnetwork bit for bit ");
  result = REPLAY(in("r.json"), "--threads", "2");
  assert_status(result, 0, "as far as another way to compute can");
  assert_line(&result, "\nthreads other 1 there, 2 here\n");
  /* Data that were asked for by name are taken, and told. */
  result = REPLAY(altered("dataset.sha256", "\"00\""), "--data", folder);
  assert_int_equal(result.status, 1);
  assert_line(&result, "\ndataset DIFFERS dataset.sha256: \"00\" there, ");
}

static void replay_finds_a_moved_plugin(void **state) {
  (void)state;
  struct ffb_error error;
  size_t bytes;
  char *object = file_read(COUNTING, &bytes, &error);
  assert_non_null(object);
  write_file("mine.so", object, bytes);
  ffb_free(object);
  assert_status(RUN("train", "--plugin", in("mine.so"), SMALL, "--record", in("r.json")), 0, "done");
  json_t *record = load("r.json");
  const json_t *trainer = json_object_get(json_object_get(record, "provenance"), "trainer");
  char hash[FFB_SHA256_TEXT];
  assert_true(file_sha256(COUNTING, hash, &error));
  assert_string_equal(json_string_value(json_object_get(trainer, "file")), "mine.so");
  assert_string_equal(json_string_value(json_object_get(trainer, "sha256")), hash);
  json_decref(record);
  assert_status(REPLAY(in("r.json")), 0, "agrees");
  assert_int_equal(unlink(in("mine.so")), 0);
  assert_status(REPLAY(in("r.json")), 1, "say where it lies with --plugin FILE");
  assert_status(REPLAY(in("r.json"), "--plugin", COUNTING), 0, "agrees");
}

/* ---- all ----------------------------------------------------------------------------------------------------------
 */

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
  setenv("OMP_WAIT_POLICY", "passive", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_records_agree),
      cmocka_unit_test(every_altered_number_is_found),
      cmocka_unit_test(costs_and_places_have_no_verdict),
      cmocka_unit_test(record_without_numbers_agrees_with_nothing),
      cmocka_unit_test(other_machines_may_differ_by_chance),
      cmocka_unit_test(circumstances_say_what_is_due),
      cmocka_unit_test(another_commit_plans_otherwise),
      cmocka_unit_test(texts_of_a_record_are_escaped),
      cmocka_unit_test(options_are_read_back_exactly),
      CASE(gpus_are_named_with_their_driver),
      CASE(uncommitted_sources_make_a_build_dirty),
      CASE(replay_agrees_bit_for_bit),
      CASE(replay_writes_a_record_when_asked),
      CASE(replay_finds_what_was_altered),
      CASE(replay_refuses_what_it_cannot_repeat),
      CASE(replay_says_what_was_overridden),
      CASE(replay_finds_a_moved_plugin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
