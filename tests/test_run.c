/* The parts of a run, inside this process: configuration, files, locks, batches, checkpoints' identity, records,
 * plugins. What needs a whole program is in test_program.c. */
#include "base/memory.h"
#include "harness/command_line.h"
#include "harness/data.h"
#include "harness/energy.h"
#include "harness/file.h"
#include "harness/identity.h"
#include "harness/ledger.h"
#include "harness/loader.h"
#include "harness/lock.h"
#include "harness/outliers.h"
#include "harness/parts.h"
#include "harness/plugin.h"
#include "harness/progress.h"
#include "harness/record.h"
#include "harness/registry.h"
#include "harness/run.h"
#include "harness/value.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PLUGIN(name) FFB_BUILD_DIRECTORY "/tests/plugins/" name ".so"

enum { PATH_BYTES = 256 };

/* ---- a folder for each test ----------------------------------------------------------------------------------------
 */

static int make_folder(void **state) {
  char *folder = test_malloc(PATH_BYTES);
  *state = folder;
  return scratch_make(folder, PATH_BYTES);
}

static int remove_folder(void **state) {
  int result = scratch_remove(*state);
  test_free(*state);
  return result;
}

static const char *in(void *const *state, const char *name, char path[PATH_BYTES]) {
  snprintf(path, PATH_BYTES, "%s/%s", (const char *)*state, name);
  return path;
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static void assert_says(const struct ffb_error *error, enum ffb_error_kind kind, const char *part) {
  if (error->kind != kind || !strstr(error->message, part))
    fail_msg("expected kind %d and \"%s\", got %d: %s", (int)kind, part, (int)error->kind, error->message);
  assert_null(strchr(error->message, '\n'));
}

/* ---- configuration -------------------------------------------------------------------------------------------------
 */

static struct run_config begin(void) {
  struct run_config config;
  struct ffb_error error;
  assert_true(run_config_begin(&config, &error));
  return config;
}

static json_t *parse(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
  assert_non_null(value);
  return value;
}

static void refuses(const char *text, const char *part) {
  struct run_config config = begin();
  struct ffb_error error = {0};
  json_t *object = parse(text);
  assert_false(run_config_read(&config, object, &error));
  assert_says(&error, FFB_ERROR_USAGE, part);
  json_decref(object);
  run_config_end(&config);
}

static void config_refuses_what_does_not_exist(void **state) {
  (void)state;
  refuses("{\"epoch\": 3}", "did you mean epochs?");
  refuses("{\"epochs\": \"3\"}", "epochs takes a whole number");
  refuses("{\"epochs\": 1.5}", "epochs takes a whole number");
  refuses("{\"epochs\": -1}", "epochs");
  refuses("{\"crop_padding\": 17}", "crop_padding");
  refuses("{\"flip\": 1}", "flip takes true or false");
  refuses("{\"standardise\": 1}", "standardise takes true or false");
  refuses("{\"model\": true}", "model takes a text");
  refuses("{\"algorithm\": \"bp_fp23\", \"options\": {}}", "did you mean bp_fp32?");
  refuses("{\"algorithm\": \"bp_fp32\", \"options\": {\"momentun\": 1}}", "did you mean momentum?");
  refuses("{\"algorithm\": \"bp_fp32\", \"options\": {\"momentum\": true}}", "momentum takes a number");
  refuses("{\"algorithm\": \"bp_fp32\", \"options\": {\"momentum\": 7}}", "out of range");
  refuses("{\"algorithm\": \"bp_fp32\", \"options\": {\"optimiser\": 1}}", "optimiser takes one of its names");
  refuses("{\"algorithm\": \"bp_fp32\", \"options\": 3}", "options takes a table");
  refuses("{\"model\": \"mpl\", \"model_options\": {\"hidden\": 5}}", "did you mean mlp?");
  refuses("{\"algorithm\": \"bp_fp32\", \"model_options\": {\"hiden\": 5}}", "did you mean hidden?");
}

static void config_comes_back_from_its_own_json(void **state) {
  (void)state;
  struct run_config config = begin(), again = begin();
  struct ffb_error error;
  json_t *object = parse("{\"algorithm\": \"bp_fp32\", \"epochs\": 3, \"seed\": 5.0, \"standardise\": true,"
                         " \"options\": {\"learning_rate\": 0.1, \"optimiser\": \"adam\"},"
                         " \"model_options\": {\"hidden\": [20, 10]}}");
  assert_true(run_config_read(&config, object, &error));
  json_t *first = run_config_json(&config, &error);
  assert_non_null(first);
  assert_int_equal(json_integer_value(json_object_get(first, "seed")), 5);
  assert_string_equal(json_string_value(json_object_get(json_object_get(first, "model_options"), "hidden")), "20,10");
  /* Defaults are filled in. */
  assert_int_equal(json_integer_value(json_object_get(first, "batch")), 32);
  assert_true(json_is_number(json_object_get(json_object_get(first, "options"), "momentum")));
  assert_true(run_config_read(&again, first, &error));
  json_t *second = run_config_json(&again, &error);
  assert_true(json_equal(first, second));
  json_decref(object);
  json_decref(first);
  json_decref(second);
  run_config_end(&config);
  run_config_end(&again);
}

static void command_names_what_differs(void **state) {
  (void)state;
  struct run_config config = begin();
  struct ffb_error error;
  json_t *object = parse("{\"algorithm\": \"bp_fp32\", \"epochs\": 3, \"data\": \"/a b\", \"batch\": 32,"
                         " \"standardise\": true, \"options\": {\"learning_rate\": 0.25}}");
  assert_true(run_config_read(&config, object, &error));
  assert_true(run_config_set(&config, "model.hidden=20,10", &error));
  char *command = run_config_command(&config, &error);
  assert_non_null(command);
  assert_string_equal(command, "ffbench train --model mlp --algorithm bp_fp32 --dataset mnist --data '/a b' --epochs 3"
                               " --standardise=true --set learning_rate=0.25 --set model.hidden=20,10");
  ffb_free(command);
  json_decref(object);
  run_config_end(&config);
}

static void set_needs_a_name_and_a_value(void **state) {
  (void)state;
  struct run_config config = begin();
  struct ffb_error error;
  assert_false(run_config_set(&config, "theta", &error));
  assert_says(&error, FFB_ERROR_USAGE, "NAME=VALUE");
  assert_false(run_config_set(&config, "=2", &error));
  assert_true(run_config_set(&config, "no-such=2", &error));
  struct parts parts;
  json_t *object = parse("{\"algorithm\": \"bp_fp32\"}");
  assert_true(run_config_read(&config, object, &error));
  assert_false(parts_find(&parts, &config, &error));
  assert_says(&error, FFB_ERROR_USAGE, "no_such");
  json_decref(object);
  run_config_end(&config);
}

/* ---- the command line ----------------------------------------------------------------------------------------------
 */

struct values {
  int64_t many;
  bool flag;
  const char *text;
};

static const struct ffb_option value_table[] = {
    {.name = "how_many",
     .type = FFB_OPTION_INTEGER,
     .offset = offsetof(struct values, many),
     .initial = "1",
     .maximum = 9,
     .help = "how many"},
    {.name = "flag",
     .type = FFB_OPTION_BOOLEAN,
     .offset = offsetof(struct values, flag),
     .initial = "false",
     .help = "whether"},
    {.name = "text", .type = FFB_OPTION_STRING, .offset = offsetof(struct values, text), .help = "what"},
    {.name = NULL}};

static bool count_set(void *to, const char *text, struct ffb_error *error) {
  *(int *)to += 1;
  return strcmp(text, "bad") != 0 || ffb_fail_usage(error, "bad");
}

struct line {
  struct values values;
  int sets;
  const char *operand;
  struct ffb_error error;
};

static enum command_outcome read_line(struct line *line, const char *const *arguments) {
  struct ffb_error error;
  *line = (struct line){.sets = 0};
  const struct command_table tables[] = {{"Values", value_table, &line->values}, {0}};
  const struct command_repeated repeated[] = {{"set", "NAME=VALUE", "set", count_set, &line->sets}, {0}};
  const struct command command = {
      .verb = "verb", .summary = "A verb.", .operand = "FILE", .tables = tables, .repeated = repeated};
  char *copy[16] = {"verb"};
  int count = 1;
  for (; arguments[count - 1]; count++)
    copy[count] = (char *)arguments[count - 1];
  assert_true(ffb_options_default(value_table, &line->values, &error));
  return command_line_read(&command, count, copy, &line->operand, &line->error);
}

#define READ(line, ...) read_line(line, (const char *const[]){__VA_ARGS__, NULL})

static void clear_line(struct line *line) {
  ffb_options_clear(value_table, &line->values);
}

static void command_line_takes_every_spelling(void **state) {
  (void)state;
  struct line line;
  assert_int_equal(READ(&line, "--how-many", "3", "file", "--flag", "--text=a=b", "--set", "x=1", "--set=y=2"),
                   COMMAND_READ);
  assert_int_equal(line.values.many, 3);
  assert_true(line.values.flag);
  assert_string_equal(line.values.text, "a=b");
  assert_int_equal(line.sets, 2);
  assert_string_equal(line.operand, "file");
  clear_line(&line);
  assert_int_equal(READ(&line, "--how_many=4", "--flag=false", "--", "--text"), COMMAND_READ);
  assert_int_equal(line.values.many, 4);
  assert_false(line.values.flag);
  assert_string_equal(line.operand, "--text");
  clear_line(&line);
}

static void command_line_refuses(void **state) {
  static const struct {
    const char *arguments[4], *says;
  } cases[] = {{{"--how-mny", "3"}, "did you mean --how-many?"},
               {{"--how-many", "10"}, "how_many"},
               {{"--how-many"}, "needs a value"},
               {{"--text"}, "needs a value"},
               {{"-n"}, "long names"},
               {{"--set", "bad"}, "bad"},
               {{"one", "two"}, "takes one FILE"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct line line;
    assert_int_equal(read_line(&line, cases[i].arguments), COMMAND_WRONG);
    assert_says(&line.error, FFB_ERROR_USAGE, cases[i].says);
    clear_line(&line);
  }
  struct line line;
  assert_int_equal(READ(&line, "--how-mny", "--text", "x", "--help"), COMMAND_HELP);
  clear_line(&line);
}

static void help_comes_from_the_table(void **state) {
  (void)state;
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  command_line_options(stream, value_table, true);
  assert_int_equal(fclose(stream), 0);
  assert_non_null(strstr(text, "--how-many N"));
  assert_non_null(strstr(text, "how many (0 to 9; default 1)"));
  assert_non_null(strstr(text, "--flag "));
  free(text);
}

/* ---- files and locks -----------------------------------------------------------------------------------------------
 */

static void file_appears_whole_or_not_at_all(void **state) {
  char path[PATH_BYTES], temporary[PATH_BYTES];
  struct ffb_error error;
  struct file file;
  in(state, "deep/er/file", path);
  in(state, "deep/er/file.tmp", temporary);
  assert_true(file_replace(path, "one", 3, "go elsewhere", &error));
  assert_true(file_begin(&file, path, "go elsewhere", &error));
  assert_true(file_add(&file, "two", 3, &error));
  size_t bytes;
  char *content = file_read(path, &bytes, &error);
  assert_string_equal(content, "one");
  ffb_free(content);
  file_abandon(&file);
  assert_false(exists(temporary));
  assert_true(file_replace(path, "three", 5, "go elsewhere", &error));
  content = file_read(path, &bytes, &error);
  assert_string_equal(content, "three");
  assert_int_equal(bytes, 5);
  ffb_free(content);
  assert_false(exists(temporary));
}

static void file_says_why_it_cannot_be_written(void **state) {
  char path[PATH_BYTES];
  struct ffb_error error;
  in(state, "plain", path);
  write_text(path, "x");
  in(state, "plain/below", path);
  assert_false(file_replace(path, "x", 1, "go elsewhere", &error));
  assert_says(&error, FFB_ERROR_FAILURE, "go elsewhere");
  assert_false(file_probe("/proc/no-such-place/file", "go elsewhere", &error));
  assert_says(&error, FFB_ERROR_FAILURE, "go elsewhere");
  assert_false(file_probe(*state, "go elsewhere", &error));
  assert_says(&error, FFB_ERROR_FAILURE, "Is a directory");
}

static void lock_admits_one(void **state) {
  char path[PATH_BYTES], lock_path[PATH_BYTES];
  struct lock first, second;
  struct ffb_error error;
  in(state, "record.json", path);
  in(state, "record.json.lock", lock_path);
  assert_true(lock_take(&first, path, "go elsewhere", &error));
  assert_false(lock_take(&second, path, "go elsewhere", &error));
  assert_says(&error, FFB_ERROR_FAILURE, "another process");
  lock_release(&second);
  assert_true(exists(lock_path));
  lock_release(&first);
  assert_false(exists(lock_path));
  assert_true(lock_take(&second, path, "go elsewhere", &error));
  lock_release(&second);
}

/* What a killed process leaves does not stop the next. */
static void lock_file_without_holder_is_taken(void **state) {
  char path[PATH_BYTES];
  struct lock lock;
  struct ffb_error error;
  write_text(in(state, "record.json.lock", path), "");
  in(state, "record.json", path);
  assert_true(lock_take(&lock, path, "go elsewhere", &error));
  lock_release(&lock);
}

/* ---- batches -------------------------------------------------------------------------------------------------------
 */

static const struct ffb_dataset_pair *synthetic(int64_t train, int64_t test) {
  struct run_config config = begin();
  struct ffb_error error;
  assert_true(ffb_option_set(run_options, &config, "test", "dataset", "synthetic_digits", &error));
  config.synthetic_train = train;
  config.synthetic_test = test;
  const struct ffb_dataset_pair *pair = data_get(&config, &error);
  assert_non_null(pair);
  /* The last one is kept, not loaded again. */
  assert_ptr_equal(data_get(&config, &error), pair);
  run_config_end(&config);
  return pair;
}

static void epoch_holds_every_record_once(void **state) {
  (void)state;
  const struct ffb_dataset_pair *pair = synthetic(100, 20);
  struct loader loader;
  struct ffb_error error;
  assert_true(loader_open(&loader, pair, 32, 7, 0, 0, &error));
  assert_int_equal(loader.split.train_count, 90);
  assert_int_equal(loader_batches(&loader), 3);
  int seen[90] = {0};
  loader_shuffle(&loader, 0);
  for (int64_t number = 0; number < 3; number++) {
    struct ffb_batch batch;
    loader_train(&loader, number, &batch);
    assert_int_equal(batch.rows, number < 2 ? 32 : 26);
    for (int64_t row = 0; row < batch.rows; row++) {
      uint32_t record = loader.split.train[batch.index[row]];
      seen[batch.index[row]]++;
      assert_int_equal(batch.labels[row], pair->train.labels[record]);
      assert_memory_equal(batch.images + row * 784, pair->train.images + (size_t)record * 784, 784);
    }
  }
  for (int i = 0; i < 90; i++)
    assert_int_equal(seen[i], 1);
  loader_close(&loader);
}

static void shuffle_depends_on_seed_and_epoch_alone(void **state) {
  (void)state;
  const struct ffb_dataset_pair *pair = synthetic(100, 20);
  struct loader one, two;
  struct ffb_error error;
  assert_true(loader_open(&one, pair, 32, 7, 0, 0, &error) && loader_open(&two, pair, 8, 7, 0, 0, &error));
  size_t bytes = 90 * sizeof *one.order;
  loader_shuffle(&one, 3);
  loader_shuffle(&two, 2);
  assert_memory_not_equal(one.order, two.order, bytes);
  loader_shuffle(&two, 3);
  assert_memory_equal(one.order, two.order, bytes);
  loader_close(&two);
  assert_true(loader_open(&two, pair, 32, 8, 0, 0, &error));
  loader_shuffle(&two, 3);
  assert_memory_not_equal(one.order, two.order, bytes);
  loader_close(&one);
  loader_close(&two);
}

static void standardised_inputs_have_mean_0_and_deviation_1(void **state) {
  (void)state;
  const struct ffb_dataset_pair *pair = synthetic(100, 20);
  struct loader loader;
  struct ffb_error error;
  float mean[FFB_MAX_CHANNELS] = {0}, deviation[FFB_MAX_CHANNELS] = {0};
  assert_true(loader_open(&loader, pair, 32, 7, 0, 0, &error));
  loader_standard(&loader, mean, deviation);
  double sum = 0, squares = 0, count = 90 * 784;
  for (int i = 0; i < 90; i++)
    for (int k = 0; k < 784; k++) {
      double value = (pair->train.images[(size_t)loader.split.train[i] * 784 + (size_t)k] / 255.0 - (double)mean[0]) /
                     (double)deviation[0];
      sum += value;
      squares += value * value;
    }
  assert_true(fabs(sum / count) < 1e-5);
  assert_true(fabs(squares / count - 1) < 1e-5);
  loader_close(&loader);
}

/* ---- what accumulates ----------------------------------------------------------------------------------------------
 */

static void ledger_survives_a_checkpoint(void **state) {
  (void)state;
  struct ledger ledger, again;
  struct ffb_error error;
  struct meter_times times;
  assert_true(ledger_begin(&ledger, &error) && ledger_begin(&again, &error));
  assert_true(ledger_step_times(&ledger, &times, &error) && times.count == 0);
  /* Ten slow steps at the start are left out; of the others the median is 3. */
  for (int i = 0; i < 13; i++)
    assert_true(ledger_step(&ledger, i < 10 ? 100 : i - 8, &error));
  assert_true(ledger_step_times(&ledger, &times, &error));
  assert_float_equal(times.median, 3, 1e-6);
  json_array_append_new(ledger.epochs, json_pack("{s:f}", "seconds", 1.5));
  ledger.epoch = 1;
  ledger.train_seconds = 0.1;
  ledger.data_wait_seconds = 0.05;
  json_t *text = ledger_json(&ledger);
  assert_true(ledger_read(&again, text));
  assert_true(ledger_set_steps(&again, ledger.step_seconds, ledger.steps, &error));
  json_t *second = ledger_json(&again);
  assert_true(json_equal(text, second));
  assert_int_equal(again.batch, 13);
  assert_memory_equal(again.step_seconds, ledger.step_seconds, 13 * sizeof(float));
  assert_float_equal(again.data_wait_seconds, 0.05, 0);
  json_object_del(text, "epochs");
  assert_false(ledger_read(&again, text));
  json_decref(text);
  json_decref(second);
  ledger_end(&ledger);
  ledger_end(&again);
}

/* A checkpoint with a right checksum may still be of anybody's making. */
static void ledger_refuses_what_makes_no_sense(void **state) {
  static const struct {
    const char *key, *value;
  } cases[] = {{"epoch", "-1"},
               {"epoch", "2"},
               {"batch", "-1"},
               {"resumes", "-1"},
               {"resumes", "9223372036854775807"},
               {"epochs", "[1]"},
               {"epochs", "{}"},
               {"gradients", "5"},
               {"gradients", "[null]"},
               {"energy", "\"much\""},
               {"diverged", "[]"},
               {"train_seconds", "\"long\""}};
  struct ffb_error error;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ledger ledger, again;
    assert_true(ledger_begin(&ledger, &error) && ledger_begin(&again, &error));
    json_t *object = ledger_json(&ledger), *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_int_equal(json_object_set_new(object, cases[i].key, value), 0);
    if (ledger_read(&again, object))
      fail_msg("%s %s was read", cases[i].key, cases[i].value);
    json_decref(object);
    ledger_end(&ledger);
    ledger_end(&again);
  }
}

static void divergence_reads_well(void **state) {
  static const struct {
    const char *object, *text;
  } cases[] = {
      {"{\"epoch\": 2, \"step\": 41, \"where\": \"fc1\", \"samples\": 3}",
       "the output of fc1 was not finite at step 41 (epoch 2)"},
      {"{\"epoch\": 1, \"step\": null, \"where\": null, \"samples\": 3}", "the loss was not finite (epoch 1)"},
      {"{\"epoch\": 1, \"step\": 0, \"where\": null, \"samples\": 3}", "the loss was not finite at step 0 (epoch 1)"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[256];
    json_t *object = parse(cases[i].object);
    ledger_divergence(object, text, sizeof text);
    assert_string_equal(text, cases[i].text);
    json_decref(object);
  }
}

/* Steps of 1 ms, those at `first`, `first` + `period`, ... of 5 ms, and some of `odd` ms elsewhere. */
static struct outliers outliers_of(size_t first, size_t period, float odd) {
  enum { STEPS = 1000 };
  static const size_t odd_places[] = {3, 77, 78, 391, 640};
  float seconds[STEPS];
  double durations[STEPS];
  struct meter_times times;
  struct outliers outliers;
  struct ffb_error error;
  for (size_t i = 0; i < STEPS; i++)
    seconds[i] = period && i >= first && (i - first) % period == 0 ? 5e-3F : 1e-3F + 1e-6F * (float)(i % 7);
  for (size_t i = 0; i < sizeof odd_places / sizeof *odd_places; i++)
    if (odd > 0)
      seconds[odd_places[i]] = 1e-3F * odd;
  for (size_t i = 0; i < STEPS; i++)
    durations[i] = (double)seconds[i];
  assert_true(meter_times_summary(durations, STEPS, &times, &error));
  outliers_find(seconds, STEPS, &times, &outliers);
  return outliers;
}

static void slow_steps_have_a_cause_or_none(void **state) {
  (void)state;
  struct outliers none = outliers_of(0, 0, 0), searches = outliers_of(49, 50, 0), both = outliers_of(0, 100, 9),
                  chance = outliers_of(0, 0, 9), few = outliers_of(0, 250, 0);
  assert_int_equal(none.slow, 0);
  assert_float_equal(none.seconds, 0, 0);
  assert_int_equal(searches.slow, 20);
  assert_int_equal(searches.period, 50);
  assert_int_equal(searches.regular, 20);
  assert_float_equal(searches.seconds, 20 * 4e-3, 20 * 4e-6);
  assert_int_equal(both.slow, 15);
  assert_int_equal(both.period, 100);
  assert_int_equal(both.regular, 10);
  assert_int_equal(chance.slow, 5);
  assert_int_equal(chance.period, 0);
  assert_int_equal(few.slow, 4); /* too few to tell */
  assert_int_equal(few.period, 0);
}

static void energy_of_two_parts_adds_up(void **state) {
  (void)state;
  struct meter_result result = {.measured = true,
                                .joules = 10,
                                .seconds = 4,
                                .coverage = 1,
                                .mean_watts = 2.5,
                                .source = "A",
                                .rail = "B",
                                .samples = 5};
  json_t *before = energy_json(&result);
  result.joules = 5;
  result.seconds = 4;
  result.coverage = 0.5;
  json_t *now = energy_json(&result);
  json_t *sum = energy_add(before, now);
  assert_float_equal(json_number_value(json_object_get(sum, "joules")), 15, 1e-12);
  assert_float_equal(json_number_value(json_object_get(sum, "seconds")), 8, 1e-12);
  assert_float_equal(json_number_value(json_object_get(sum, "coverage")), 0.75, 1e-12);
  assert_float_equal(json_number_value(json_object_get(sum, "mean_watts")), 2.5, 1e-12);
  assert_int_equal(json_integer_value(json_object_get(sum, "samples")), 10);
  json_decref(sum);
  /* A part that nothing measured makes the sum unknown. */
  struct meter_result nothing = {.seconds = 1, .reason = "no meter"};
  json_t *unknown = energy_json(&nothing);
  sum = energy_add(unknown, now);
  assert_true(json_is_null(json_object_get(sum, "joules")));
  assert_string_equal(json_string_value(json_object_get(sum, "reason")), "no meter");
  json_decref(sum);
  json_object_set_new(before, "rail", json_string("C"));
  sum = energy_add(before, now);
  assert_true(json_is_null(json_object_get(sum, "joules")));
  assert_non_null(strstr(json_string_value(json_object_get(sum, "reason")), "different meters"));
  json_decref(sum);
  json_decref(before);
  json_decref(now);
  json_decref(unknown);
}

/* 10 J in the first epoch and 5 J after it; also where the run was resumed in between. */
static void energy_of_an_epoch_is_what_came_since(void **state) {
  (void)state;
  static const struct {
    const char *so_far, *epochs;
    double joules; /* -1: not known */
  } cases[] = {{"{\"joules\": 10}", "[]", 10},
               {"{\"joules\": 15}", "[{\"joules\": 10}]", 5},
               {"{\"joules\": 15}", "[{\"joules\": 4.5}, {\"joules\": 5.5}]", 5},
               {"{\"joules\": null}", "[{\"joules\": 10}]", -1},
               {"{\"joules\": 15}", "[{\"joules\": null}]", -1},
               {"{\"joules\": 15}", "[{}]", -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *so_far = parse(cases[i].so_far), *epochs = parse(cases[i].epochs);
    json_t *joules = energy_of_epoch(so_far, epochs);
    if (cases[i].joules < 0)
      assert_true(json_is_null(joules));
    else
      assert_float_equal(json_number_value(joules), cases[i].joules, 1e-12);
    json_decref(joules);
    json_decref(so_far);
    json_decref(epochs);
  }
}

static void numbers_that_json_lacks_are_strings(void **state) {
  (void)state;
  static const double numbers[] = {0.05, -3, (double)INFINITY, -(double)INFINITY};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    json_t *value = value_number(numbers[i]);
    assert_true(value_number_read(value) == numbers[i]);
    assert_int_equal(json_is_string(value), !isfinite(numbers[i]));
    json_decref(value);
  }
  json_t *value = value_number((double)NAN);
  assert_string_equal(json_string_value(value), "nan");
  assert_true(isnan(value_number_read(value)));
  json_decref(value);
}

static void durations_read_well(void **state) {
  static const struct {
    double seconds;
    const char *text;
  } cases[] = {{0.04, "0.0 s"}, {9.94, "9.9 s"}, {59.4, "59 s"}, {200, "3 min 20 s"}, {7265, "2 h 01 min"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[64];
    progress_duration(cases[i].seconds, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
}

/* ---- names ----------------------------------------------------------------------------------------------------------
 */

static void name_of(const char *settings, char *name, size_t size) {
  struct run_config config = begin();
  struct ffb_error error;
  struct parts parts;
  json_t *object = parse(settings);
  if (!run_config_read(&config, object, &error) || !parts_find(&parts, &config, &error))
    fail_msg("%s", error.message);
  const struct ffb_dataset_pair *pair = data_get(&config, &error);
  assert_non_null(pair);
  assert_true(identity_name(&config, &parts, pair, name, size, &error));
  parts_release(&parts);
  json_decref(object);
  run_config_end(&config);
}

#define NAMED                                                                                                          \
  "\"algorithm\": \"bp_fp32\", \"dataset\": \"synthetic_digits\", \"synthetic_train\": 50, \"synthetic_test\": 20"

static void record_name_changes_with_what_differs(void **state) {
  static const char *const others[] = {"{" NAMED ", \"epochs\": 11}",
                                       "{" NAMED ", \"batch\": 33}",
                                       "{" NAMED ", \"seed\": 2}",
                                       "{" NAMED ", \"crop_padding\": 4}",
                                       "{" NAMED ", \"flip\": true}",
                                       "{" NAMED ", \"backend\": \"reference\"}",
                                       "{" NAMED ", \"options\": {\"momentum\": 0.5}}",
                                       "{" NAMED ", \"model_options\": {\"hidden\": 9}}",
                                       "{\"algorithm\": \"bp_fp32\", \"dataset\": \"synthetic_digits\","
                                       " \"synthetic_train\": 51, \"synthetic_test\": 20}"};
  (void)state;
  char name[256], other[256];
  name_of("{" NAMED "}", name, sizeof name);
  assert_memory_equal(name, "mlp-bp_fp32-synthetic_digits-s1-", strlen("mlp-bp_fp32-synthetic_digits-s1-"));
  assert_int_equal(strlen(name), strlen("mlp-bp_fp32-synthetic_digits-s1-") + 12);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    name_of(others[i], other, sizeof other);
    assert_string_not_equal(name, other);
  }
  /* Defaults said aloud, and where the data lie, make no difference. */
  name_of("{" NAMED ", \"epochs\": 10, \"data\": \"/elsewhere\", \"options\": {\"momentum\": 0.9}}", other,
          sizeof other);
  assert_string_equal(name, other);
}

/* A weight file counts by its content, not by its name. */
static void record_name_changes_with_the_weights_to_start_from(void **state) {
  char one[PATH_BYTES], copy[PATH_BYTES], other[PATH_BYTES], settings[4 * PATH_BYTES], names[4][256];
  const char *const files[] = {in(state, "one", one), in(state, "copy", copy), in(state, "other", other)};
  write_text(one, "weights");
  write_text(copy, "weights");
  write_text(other, "weight!");
  for (size_t i = 0; i < 3; i++) {
    snprintf(settings, sizeof settings, "{" NAMED ", \"load_weights\": \"%s\"}", files[i]);
    name_of(settings, names[i], sizeof names[i]);
  }
  name_of("{" NAMED "}", names[3], sizeof names[3]);
  assert_string_equal(names[0], names[1]);
  assert_string_not_equal(names[0], names[2]);
  assert_string_not_equal(names[0], names[3]);
}

static void weights_that_are_not_there_have_no_identity(void **state) {
  char path[PATH_BYTES], name[256];
  struct run_config config = begin();
  struct ffb_error error = {0};
  struct parts parts;
  json_t *object = parse("{" NAMED "}");
  assert_true(run_config_read(&config, object, &error));
  assert_true(ffb_option_set(run_options, &config, "test", "load_weights", in(state, "absent", path), &error));
  assert_true(parts_find(&parts, &config, &error));
  const struct ffb_dataset_pair *pair = data_get(&config, &error);
  assert_non_null(pair);
  assert_false(identity_name(&config, &parts, pair, name, sizeof name, &error));
  assert_says(&error, FFB_ERROR_FAILURE, path);
  assert_null(identity_json(&config, &parts, pair, 1, &error));
  assert_says(&error, FFB_ERROR_FAILURE, path);
  parts_release(&parts);
  json_decref(object);
  run_config_end(&config);
}

/* With weights from a file, or as they were drawn. */
static void int8_is_not_evaluated_before_it_trained(void **state) {
  static const char *const refused[] = {"bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
  char path[PATH_BYTES], settings[512];
  (void)state;
  for (size_t i = 0; i <= sizeof refused / sizeof *refused; i++) {
    bool last = i == sizeof refused / sizeof *refused;
    struct run_config config = begin();
    struct run_control control = {.record = in(state, "record.json", path), .quiet = true};
    struct ffb_error error = {0};
    json_t *record;
    snprintf(
        settings, sizeof settings,
        "{\"algorithm\": \"%s\", \"dataset\": \"synthetic_digits\", \"synthetic_train\": 50, \"synthetic_test\": 20,"
        " \"epochs\": 0, \"model_options\": {\"hidden\": 8}}",
        last ? "bp_fp32" : refused[i]);
    json_t *object = parse(settings);
    assert_true(run_config_read(&config, object, &error));
    assert_int_equal(run_execute(&config, &control, &record, &error), last);
    if (!last)
      assert_says(&error, FFB_ERROR_USAGE, "--epochs 1");
    assert_int_equal(exists(path), last);
    json_decref(record);
    json_decref(object);
    run_config_end(&config);
  }
}

/* Experiments train, and are told so; the command line may evaluate only. */
static void experiments_are_offered_one_epoch_at_least(void **state) {
  (void)state;
  struct ffb_error error;
  json_t *registry = registry_json(&error), *option;
  size_t i;
  int found = 0;
  assert_non_null(registry);
  json_array_foreach(json_object_get(registry, "run"), i, option) {
    if (strcmp(json_string_value(json_object_get(option, "name")), "epochs") != 0)
      continue;
    assert_float_equal(json_number_value(json_object_get(option, "minimum")), 1, 0);
    found++;
  }
  assert_int_equal(found, 1);
  json_decref(registry);
}

static void identity_names_the_first_difference(void **state) {
  (void)state;
  json_t *there = parse("{\"batch\": 32, \"options\": {\"theta\": 2}}");
  json_t *here = parse("{\"batch\": 32, \"options\": {\"theta\": 3}}");
  char text[256];
  assert_true(identity_same(there, there, text, sizeof text));
  assert_false(identity_same(there, here, text, sizeof text));
  assert_string_equal(text, "options.theta is 2 there and 3 here");
  json_decref(there);
  json_decref(here);
  /* An option that is there alone hides nothing behind it. */
  there = parse("{\"options\": {\"theta\": 2, \"kappa\": 1}, \"trainer_version\": 1}");
  here = parse("{\"options\": {\"theta\": 2}, \"trainer_version\": 2}");
  assert_false(identity_same(there, here, text, sizeof text));
  assert_string_equal(text, "options.kappa is 1 there and absent here");
  json_decref(there);
  json_decref(here);
}

/* ---- records --------------------------------------------------------------------------------------------------------
 */

static void record_is_kept_when_its_place_is_lost(void **state) {
  char path[PATH_BYTES], rescued[PATH_BYTES];
  struct ledger ledger;
  struct ffb_error error;
  json_t *record = parse("{\"status\": \"done\"}");
  assert_true(ledger_begin(&ledger, &error));
  write_text(in(state, "plain", path), "a file where a folder should be");
  setenv("TMPDIR", *state, 1);
  assert_false(record_write(in(state, "plain/lost.json", path), record, &ledger, record_remedy, &error));
  unsetenv("TMPDIR");
  assert_says(&error, FFB_ERROR_FAILURE, "--record");
  assert_non_null(strstr(error.message, in(state, "lost.json", rescued)));
  assert_true(record_is_finished(rescued));
  assert_true(record_write(in(state, "kept.json", path), record, &ledger, record_remedy, &error));
  assert_true(record_is_finished(path));
  assert_true(exists(in(state, "kept.steps.gz", path)));
  json_object_set_new(record, "status", json_string("interrupted"));
  assert_true(record_write(in(state, "kept.json", path), record, &ledger, record_remedy, &error));
  assert_false(record_is_finished(path));
  assert_false(record_is_finished(in(state, "absent.json", path)));
  json_decref(record);
  ledger_end(&ledger);
}

/* A sound one, with a member replaced. */
static void assert_shape(const char *object, const char *key, const char *value, const char *says) {
  static const char sound[] =
      "{\"status\": \"done\", \"config\": {\"seed\": 1}, \"dataset\": {}, \"model\": {}, \"accuracy\": {\"test\": "
      "\"nan\"}, "
      "\"epochs\": [{\"loss\": \"inf\", \"joules\": null}], \"gradients\": [{\"epoch\": 0, \"layers\": [{\"layer\": "
      "\"fc1\", "
      "\"histogram\": {\"limit\": 1, \"counts\": [1, 2]}}]}], \"diverged\": null, \"time\": {}, \"memory\": {}, "
      "\"operations\": {\"programs\": {\"train\": {\"mac_f32\": 1}}}, \"provenance\": {\"machine\": {}}}";
  char wrong[256];
  json_t *record = parse(sound), *in = *object ? json_object_get(record, object) : record;
  assert_true(record_is_sound(record, wrong, sizeof wrong));
  assert_int_equal(json_object_set_new(in, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
  assert_int_equal(record_is_sound(record, wrong, sizeof wrong), !*says);
  assert_true(!*says || strstr(wrong, says));
  json_decref(record);
}

static void record_of_another_shape_is_not_sound(void **state) {
  char wrong[256];
  (void)state;
  assert_false(record_is_sound(NULL, wrong, sizeof wrong));
  assert_shape("", "more", "[1]", "");
  assert_shape("", "status", "null", "status");
  assert_shape("", "epochs", "5", "epochs");
  assert_shape("", "epochs", "[{}, null]", "epochs[]");
  assert_shape("", "epochs", "[{\"loss\": []}]", "epochs[].{}");
  assert_shape("", "time", "\"long\"", "time");
  assert_shape("", "diverged", "7", "diverged");
  assert_shape("", "gradients", "[{\"epoch\": 0, \"layers\": [1]}]", "gradients[].layers[]");
  assert_shape("operations", "programs", "{\"train\": 1}", "operations.programs.{}");
  assert_shape("operations", "programs", "{\"train\": {\"mac_f32\": {}}}", "operations.programs.{}.{}");
  assert_shape("provenance", "machine", "false", "provenance.machine");
  assert_shape("accuracy", "test", "{}", "accuracy.{}");
  assert_shape("memory", "cgroup_reason", "[]", "memory.cgroup_reason");
  assert_shape("memory", "device", "{\"used_peak_bytes\": 5}", "");
  assert_shape("", "energy", "{\"joules\": null, \"reason\": {}}", "energy.reason");
  assert_shape("provenance", "conditions", "{\"power_mode\": null, \"gpu\": null}", "");
  assert_shape("provenance", "conditions", "{\"throttled_by\": 7}", "provenance.conditions.throttled_by");
}

/* ---- plugins --------------------------------------------------------------------------------------------------------
 */

static void plugins_that_do_not_fit_are_refused(void **state) {
  static const struct {
    const char *path, *says;
  } cases[] = {{PLUGIN("wrong_magic"), "magic"},
               {PLUGIN("wrong_version"), "version 99 of the trainer interface"},
               {PLUGIN("wrong_size"), "bytes, this ffbench's has"},
               {PLUGIN("wrong_name"), "name"},
               {PLUGIN("no_hook"), "hook predict is missing"},
               {PLUGIN("no_symbol"), "exports no ffbench_trainer"},
               {PLUGIN("no_such_file"), "No such file"},
               {"Makefile", "cannot be opened"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ffb_error error = {0};
    assert_null(plugin_open(cases[i].path, &error));
    assert_says(&error, FFB_ERROR_FAILURE, cases[i].says);
    assert_non_null(strstr(error.message, cases[i].path));
  }
}

static void plugins_that_fit_are_found(void **state) {
  (void)state;
  struct ffb_error error;
  const struct ffb_trainer *trainer = plugin_open(PLUGIN("counting"), &error);
  assert_non_null(trainer);
  assert_string_equal(trainer->name, "counting");
  assert_ptr_equal(plugin_open(PLUGIN("counting"), &error), trainer);
  trainer = plugin_find("ff_int8", &error);
  assert_non_null(trainer);
  assert_string_equal(trainer->name, "ff_int8");
  assert_null(plugin_find("ff_in8", &error));
  assert_says(&error, FFB_ERROR_USAGE, "did you mean ff_int8?");
  assert_null(plugin_find("../trainers/ff_int8", &error));
  assert_says(&error, FFB_ERROR_USAGE, "no algorithm");
}

static int forget_data(void **state) {
  (void)state;
  data_forget();
  return 0;
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(config_refuses_what_does_not_exist),
      cmocka_unit_test(config_comes_back_from_its_own_json),
      cmocka_unit_test(command_names_what_differs),
      cmocka_unit_test(set_needs_a_name_and_a_value),
      cmocka_unit_test(command_line_takes_every_spelling),
      cmocka_unit_test(command_line_refuses),
      cmocka_unit_test(help_comes_from_the_table),
      IN_FOLDER(file_appears_whole_or_not_at_all),
      IN_FOLDER(file_says_why_it_cannot_be_written),
      IN_FOLDER(lock_admits_one),
      IN_FOLDER(lock_file_without_holder_is_taken),
      cmocka_unit_test(epoch_holds_every_record_once),
      cmocka_unit_test(shuffle_depends_on_seed_and_epoch_alone),
      cmocka_unit_test(standardised_inputs_have_mean_0_and_deviation_1),
      cmocka_unit_test(ledger_survives_a_checkpoint),
      cmocka_unit_test(ledger_refuses_what_makes_no_sense),
      cmocka_unit_test(divergence_reads_well),
      cmocka_unit_test(slow_steps_have_a_cause_or_none),
      cmocka_unit_test(energy_of_two_parts_adds_up),
      cmocka_unit_test(energy_of_an_epoch_is_what_came_since),
      cmocka_unit_test(numbers_that_json_lacks_are_strings),
      cmocka_unit_test(durations_read_well),
      cmocka_unit_test(record_name_changes_with_what_differs),
      IN_FOLDER(record_name_changes_with_the_weights_to_start_from),
      IN_FOLDER(weights_that_are_not_there_have_no_identity),
      IN_FOLDER(int8_is_not_evaluated_before_it_trained),
      cmocka_unit_test(experiments_are_offered_one_epoch_at_least),
      cmocka_unit_test(identity_names_the_first_difference),
      IN_FOLDER(record_is_kept_when_its_place_is_lost),
      cmocka_unit_test(record_of_another_shape_is_not_sound),
      cmocka_unit_test(plugins_that_do_not_fit_are_refused),
      cmocka_unit_test(plugins_that_fit_are_found),
  };
  return cmocka_run_group_tests(tests, NULL, forget_data);
}
