/* The program from outside: exit statuses and one-line errors, the same bits from the same seed, runs that are killed,
 * interrupted and resumed, checkpoints and places that must be refused. All on small generated data. */
#include "base/memory.h"
#include "base/sha256.h"
#include "harness/file.h"
#include "tests/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { ARGUMENTS = 48, OUTPUT_BYTES = 32768 };

#define PROGRAM   FFB_BUILD_DIRECTORY "/ffbench"
#define COUNTING  (FFB_BUILD_DIRECTORY "/tests/plugins/counting.so")
#define NO_RELOAD (FFB_BUILD_DIRECTORY "/tests/plugins/no_reload.so")
/* Two epochs of ten steps, the last one with fewer rows: 310 records less the validation tenth, batch 30. */
#define SMALL   "--dataset", "synthetic_digits", "--synthetic-train", "310", "--synthetic-test", "40", "--batch", "30"
#define EPOCHS  "--epochs", "2"
#define NETWORK "--set", "model.hidden=24,16"

/* ---- spawning ------------------------------------------------------------------------------------------------------
 */

struct result {
  int status; /* exit status, or minus the signal that ended it */
  char output[OUTPUT_BYTES], errors[OUTPUT_BYTES];
};

static void redirect(const char *path, int descriptor) {
  int opened = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (opened < 0 || dup2(opened, descriptor) < 0)
    _exit(126);
}

/* Largest file that the next program may write; 0: no limit. */
static rlim_t file_limit;

static pid_t start(const char *program, const char *const *arguments) {
  char *argv[ARGUMENTS] = {(char *)program};
  for (int i = 0; arguments[i]; i++) {
    assert_true(i + 2 < ARGUMENTS);
    argv[i + 1] = (char *)arguments[i];
  }
  pid_t child = fork();
  assert_true(child >= 0);
  if (child > 0)
    return child;
  redirect(in("output"), STDOUT_FILENO);
  redirect(in("errors"), STDERR_FILENO);
  /* A test run in the background of a script has it ignored. */
  signal(SIGINT, SIG_DFL);
  if (file_limit) {
    struct rlimit limit = {file_limit, file_limit};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  execvp(program, argv);
  _exit(127);
}

static void read_text(const char *path, char *text) {
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  text[fread(text, 1, OUTPUT_BYTES - 1, file)] = '\0';
  fclose(file);
}

static struct result wait_for(pid_t child) {
  struct result result;
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  read_text(in("output"), result.output);
  read_text(in("errors"), result.errors);
  return result;
}

#define LIST(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define START(...) start(PROGRAM, LIST(__VA_ARGS__))
#define RUN(...)   wait_for(start(PROGRAM, LIST(__VA_ARGS__)))

static void assert_succeeds(struct result result) {
  if (result.status != 0)
    fail_msg("status %d: %s", result.status, result.errors);
}

/* One line on stderr that opens with the program's name and says `part`. */
static void assert_fails(struct result result, int status, const char *part) {
  const char *newline = strchr(result.errors, '\n');
  if (result.status != status || strncmp(result.errors, "ffbench: ", 9) != 0 || !newline || newline[1] ||
      !strstr(result.errors, part))
    fail_msg("expected status %d and one line with \"%s\", got %d: %s", status, part, result.status, result.errors);
}

static void pause_milliseconds(long milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

/* ---- what a run leaves ----------------------------------------------------------------------------------------------
 */

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static json_t *load(const char *path) {
  json_error_t problem;
  json_t *record = json_load_file(path, 0, &problem);
  if (!record)
    fail_msg("%s: %s", path, problem.text);
  return record;
}

static const json_t *field(const json_t *record, const char *path) {
  char copy[256], *rest = copy;
  snprintf(copy, sizeof copy, "%s", path);
  for (const char *key = strtok_r(copy, ".", &rest); key; key = strtok_r(NULL, ".", &rest))
    record = json_object_get(record, key);
  return record;
}

/* The weights' hash in a record, which must be a finished one. */
static void weights_of(const char *path, char text[FFB_SHA256_TEXT]) {
  json_t *record = load(path);
  assert_string_equal(json_string_value(field(record, "status")), "done");
  snprintf(text, FFB_SHA256_TEXT, "%s", json_string_value(field(record, "weights_sha256")));
  assert_int_equal(strlen(text), FFB_SHA256_TEXT - 1);
  json_decref(record);
}

/* ---- usage ----------------------------------------------------------------------------------------------------------
 */

static void wrong_usage_ends_with_2(void **state) {
  static const struct {
    const char *arguments[8], *says;
  } cases[] = {{{"trian"}, "did you mean train?"},
               {{"train", "--epoch", "3"}, "did you mean --epochs?"},
               {{"train", "--epochs", "-1"}, "epochs"},
               {{"train", "--epochs", "many"}, "epochs"},
               {{"train", "--epochs"}, "needs a value"},
               {{"train", "mlp"}, "does not take"},
               {{"train"}, "--algorithm"},
               {{"train", "--algorithm", "ff_int9"}, "did you mean ff_int8?"},
               {{"train", "--algorithm", "bp_fp32", "--model", "mlpp"}, "did you mean mlp?"},
               {{"train", "--algorithm", "bp_fp32", "--dataset", "mnits"}, "did you mean mnist?"},
               {{"train", "--algorithm", "bp_fp32", "--backend", "cup"}, "no backend"},
               {{"train", "--algorithm", "bp_fp32", "--set", "learning-rat=1"}, "learning_rate"},
               {{"train", "--algorithm", "bp_fp32", "--set", "learning_rate=-1"}, "range"},
               {{"train", "--algorithm", "bp_fp32", "--set", "model.hidde=1"}, "hidden"},
               {{"train", "--algorithm", "bp_fp32", "--set", "momentum"}, "NAME=VALUE"},
               {{"train", "--algorithm", "bp_fp32", "--plugin", COUNTING}, "holds the algorithm counting"},
               {{"train", "--algorithm", "bp_fp32", "--model", ""}, "model: the text is empty"},
               {{"train", "--algorithm", "bp_fp32", "--dataset="}, "dataset: the text is empty"},
               {{"train", "--algorithm", "bp_fp32", "--gradient-layers", ""}, "gradient_layers: the text is empty"},
               {{"report", "--results", ""}, "results: the text is empty"},
               {{"train", "--algorithm", "bp_fp32", "--model", "a\nb\033[2J"}, "no model \"a b?[2J\""},
               {{"list", "algoritms"}, "did you mean algorithms?"},
               {{"doctor", "--dat", "x"}, "did you mean --data?"},
               {{"help", "tarin"}, "did you mean train?"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(wait_for(start(PROGRAM, cases[i].arguments)), 2, cases[i].says);
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--resume", "--record", in("x.json")), 2, "--checkpoint");
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", in("caf\351.json")), 2, "not UTF-8");
}

static void help_tells_the_options(void **state) {
  (void)state;
  struct result result = RUN("train", "--algorithm", "ff_int8", "--help");
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "--train-limit N"));
  assert_non_null(strstr(result.output, "theta=X"));
  assert_non_null(strstr(result.output, "hidden=TEXT"));
  result = RUN("help", "list");
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "usage: ffbench list"));
  assert_succeeds(RUN("--help"));
  result = RUN("--version");
  assert_succeeds(result);
  assert_memory_equal(result.output, "ffbench ", 8);
}

static void list_shows_everything(void **state) {
  static const char *const names[] = {"bp_fp32", "bp_int8",          "bp_ui8",    "bp_gdai8", "ff_int8", "mlp",
                                      "mnist",   "synthetic_digits", "reference", "ina3221",  "rapl",    "nvml"};
  (void)state;
  struct result result = RUN("list");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    assert_non_null(strstr(result.output, names[i]));
}

static void doctor_concludes(void **state) {
  (void)state;
  struct result result = RUN("doctor", "--data", in("no-data-here"));
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "int8_kernel"));
  assert_non_null(strstr(result.output, "at most          FP32 "));
  assert_non_null(strstr(result.output, "ff_int8"));
  assert_non_null(strstr(result.output, "summary"));
}

/* What times depend on: here a Jetson that is hot, with its clocks loose. */
static void doctor_looks_at_clocks_and_heat(void **state) {
  (void)state;
  char command[2 * PATH_MAX];
  snprintf(command, sizeof command,
           "cd %s && clock=devices/system/cpu/cpu0/cpufreq heat=class/thermal && mkdir -p $clock $heat/thermal_zone0"
           " $heat/cooling_device0 && echo 115200 > $clock/scaling_min_freq && echo 1510400 > $clock/scaling_max_freq"
           " && echo 729600 > $clock/scaling_cur_freq && echo 1984000 > $clock/cpuinfo_max_freq &&"
           " echo tj-thermal > $heat/thermal_zone0/type && echo 93250 > $heat/thermal_zone0/temp &&"
           " echo cpu-throttle-alert > $heat/cooling_device0/type && echo 1 > $heat/cooling_device0/cur_state",
           folder);
  assert_succeeds(wait_for(start("/bin/sh", LIST("-c", command))));
  assert_int_equal(setenv("FFBENCH_SYSFS", folder, 1), 0);
  struct result result = RUN("doctor", "--data", in("no-data-here"));
  unsetenv("FFBENCH_SYSFS");
  assert_succeeds(result);
  assert_contains(result.output, "730 MHz of at most 1984, not fixed");
  assert_contains(result.output, "93 degrees Celsius, tj-thermal");
  assert_contains(result.output, "now: cpu-throttle-alert");
}

static void output_that_is_not_read_is_a_failure(void **state) {
  (void)state;
  struct result result = wait_for(start("/bin/sh", LIST("-c", PROGRAM " list models > /dev/full")));
  assert_fails(result, 1, "standard output");
}

/* ---- records --------------------------------------------------------------------------------------------------------
 */

/* Of a file, by another program. */
static void sha256_of(const char *path, char text[65]) {
  char command[PATH_MAX + 32];
  snprintf(command, sizeof command, "sha256sum %s", path);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  text[fread(text, 1, 64, pipe)] = '\0';
  assert_int_equal(pclose(pipe), 0);
}

/* A trainer is code: which file it was stands in the record. */
static void assert_names_trainer(const json_t *record, const char *path) {
  char sha256[65];
  sha256_of(path, sha256);
  assert_string_equal(json_string_value(field(record, "provenance.trainer.file")), strrchr(path, '/') + 1);
  assert_string_equal(json_string_value(field(record, "provenance.trainer.sha256")), sha256);
}

static void record_holds_what_it_must(void **state) {
  static const char *const numbers[] = {"accuracy.test",
                                        "accuracy.validation",
                                        "time.train_seconds",
                                        "time.step_median_seconds",
                                        "time.data_wait_seconds",
                                        "memory.peak_bytes",
                                        "memory.peak_bytes_by_tag.weights",
                                        "memory.resident_peak_bytes",
                                        "operations.programs.train.mac_f32",
                                        "config.options.learning_rate",
                                        "config.epochs",
                                        "provenance.threads",
                                        "schema"};
  static const char *const texts[] = {"status",
                                      "weights_sha256",
                                      "command",
                                      "dataset.sha256",
                                      "provenance.commit",
                                      "provenance.compiler",
                                      "provenance.flags",
                                      "provenance.machine.kernel",
                                      "provenance.backend.name",
                                      "provenance.trainer.sha256"};
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--record", in("r.json")));
  json_t *record = load(in("r.json"));
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (!json_is_number(field(record, numbers[i])))
      fail_msg("%s is no number", numbers[i]);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (!json_is_string(field(record, texts[i])))
      fail_msg("%s is no text", texts[i]);
  assert_true(json_is_true(field(record, "dataset.synthetic")));
  assert_int_equal(json_array_size(field(record, "epochs")), 2);
  const json_t *last = json_array_get(field(record, "epochs"), 1);
  assert_true(json_is_number(json_object_get(last, "validation_accuracy")));
  double waited = json_number_value(field(record, "time.data_wait_seconds"));
  assert_true(waited > 0 && waited < json_number_value(field(record, "time.train_seconds")));
  /* What became of the bytes, for each channel. */
  assert_int_equal(json_array_size(field(record, "dataset.mean")), 1);
  assert_float_equal(json_number_value(json_array_get(field(record, "dataset.mean"), 0)), 0, 0);
  assert_float_equal(json_number_value(json_array_get(field(record, "dataset.deviation"), 0)), 1, 0);
  assert_true(json_is_null(field(record, "loaded_weights")));
  assert_names_trainer(record, FFB_BUILD_DIRECTORY "/trainers/bp_fp32.so");
  /* Energy is a number with its source, or null with a reason. */
  bool measured = json_is_number(field(record, "energy.joules"));
  assert_true(json_is_string(field(record, measured ? "energy.source" : "energy.reason")));
  /* The tags at the peak add up to it. */
  const char *tag;
  json_t *bytes;
  json_int_t sum = 0;
  json_object_foreach((json_t *)field(record, "memory.peak_bytes_by_tag"), tag, bytes) sum += json_integer_value(bytes);
  assert_int_equal(sum, json_integer_value(field(record, "memory.peak_bytes")));
  json_decref(record);
  assert_nothing_temporary();
}

/* What the machine does at most: more than the run did, and nothing that the run's weights hang on. */
static void peaks_are_measured_when_asked(void **state) {
  static const char *const names[] = {"provenance.peaks.fp32_operations_per_second",
                                      "provenance.peaks.int8_operations_per_second"};
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--backend", "cpu", "--measure-peaks",
                      "--record", in("r.json")));
  json_t *record = load(in("r.json"));
  double operations = 2 * json_number_value(field(record, "operations.programs.train.mac_f32"));
  double speed = operations / json_number_value(field(record, "time.step_median_seconds"));
  for (int i = 0; i < 2; i++)
    assert_true(json_number_value(field(record, names[i])) > speed);
  double bandwidth = json_number_value(field(record, "provenance.peaks.memory_bytes_per_second"));
  assert_true(bandwidth > 1e8 && bandwidth < 1e13);
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--backend", "cpu", "--record",
                      in("without.json")));
  json_t *without = load(in("without.json"));
  assert_true(json_is_null(field(without, "provenance.peaks")));
  assert_string_equal(json_string_value(field(without, "weights_sha256")),
                      json_string_value(field(record, "weights_sha256")));
  json_decref(without);
  json_decref(record);
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--backend", "reference",
                      "--measure-peaks", "--record", in("reference.json")));
  record = load(in("reference.json"));
  assert_true(json_is_null(field(record, "provenance.peaks")));
  json_decref(record);
}

/* 279 records in batches of 30: ten steps an epoch, the last one smaller. */
static void every_step_is_timed(void **state) {
  (void)state;
  float seconds[64];
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--record", in("r.json")));
  json_t *record = load(in("r.json"));
  assert_int_equal(json_integer_value(field(record, "time.steps")), 20);
  assert_string_equal(json_string_value(field(record, "time.steps_file")), "r.steps.gz");
  gzFile file = gzopen(in("r.steps.gz"), "rb");
  assert_int_equal(gzread(file, seconds, sizeof seconds), 20 * sizeof *seconds);
  gzclose(file);
  double sum = 0;
  for (int i = 0; i < 20; i++) {
    assert_true(seconds[i] > 0);
    sum += (double)seconds[i];
  }
  assert_true(sum <= json_number_value(field(record, "time.train_seconds")) + 1e-4);
  json_decref(record);
}

static void command_of_a_record_repeats_it(void **state) {
  (void)state;
  char first[FFB_SHA256_TEXT], second[FFB_SHA256_TEXT], line[4096];
  assert_succeeds(RUN("train", "--algorithm", "bp_ui8", SMALL, EPOCHS, NETWORK, "--seed", "5", "--set", "alpha=10",
                      "--record", in("r.json")));
  json_t *record = load(in("r.json"));
  const char *command = json_string_value(field(record, "command"));
  assert_memory_equal(command, "ffbench ", 8);
  snprintf(line, sizeof line, PROGRAM "%s --record %s", command + 7, in("again.json"));
  json_decref(record);
  assert_succeeds(wait_for(start("/bin/sh", LIST("-c", line))));
  weights_of(in("r.json"), first);
  weights_of(in("again.json"), second);
  assert_string_equal(first, second);
}

static void places_that_cannot_be_written_are_refused(void **state) {
  (void)state;
  FILE *plain = fopen(in("plain"), "w");
  assert_non_null(plain);
  fclose(plain);
  mkdir(in("is-a-folder.json"), 0777);
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", "/proc/ffbench/r.json"), 1, "--record");
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", in("plain/r.json")), 1, "--record");
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", in("is-a-folder.json")), 1, "--record");
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", in("r.json"), "--checkpoint", in("plain")), 1,
               "--checkpoint");
  assert_fails(
      RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", in("r.json"), "--save-weights", in("plain/weights")), 1,
      "--save-weights");
  assert_fails(
      RUN("train", "--algorithm", "bp_fp32", SMALL, "--record", in("r.json"), "--save-scores", in("plain/scores")), 1,
      "--save-scores");
  assert_nothing_temporary();
}

/* A disk that is full is played by a limit on the size of files. */
static void full_disk_costs_no_earlier_record(void **state) {
  (void)state;
  char before[FFB_SHA256_TEXT], after[FFB_SHA256_TEXT];
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--record", in("r.json")));
  weights_of(in("r.json"), before);
  file_limit = 5000; /* what is tried before the run is smaller */
  struct result result = RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--seed", "2", "--quiet",
                             "--record", in("r.json"));
  file_limit = 0;
  assert_fails(result, 1, "--record");
  weights_of(in("r.json"), after);
  assert_string_equal(before, after);
  assert_nothing_temporary();
}

/* A checkpoint that does not fit is no reason to lose the run. */
static void run_goes_on_without_room_for_checkpoints(void **state) {
  (void)state;
  file_limit = 60000;
  struct result result = RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--quiet", "--record",
                             in("r.json"), "--checkpoint", in("checkpoint"));
  file_limit = 0;
  assert_succeeds(result);
  assert_non_null(strstr(result.errors, "goes on without a new checkpoint"));
  assert_nothing_temporary();
}

static void one_record_is_made_by_one_process(void **state) {
  (void)state;
  pid_t slow =
      START("train", "--plugin", COUNTING, SMALL, EPOCHS, "--set", "microseconds=40000", "--record", in("r.json"));
  int status;
  while (!exists(in("r.json.lock"))) {
    assert_int_equal(waitpid(slow, &status, WNOHANG), 0);
    pause_milliseconds(5);
  }
  pid_t second = START("train", "--plugin", COUNTING, SMALL, EPOCHS, "--record", in("r.json"));
  assert_fails(wait_for(second), 1, "another process");
  assert_int_equal(waitpid(slow, &status, 0), slow);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void diverged_run_says_so(void **state) {
  (void)state;
  struct result result =
      RUN("train", "--plugin", COUNTING, SMALL, "--epochs", "4", "--set", "diverge_epoch=2", "--record", in("r.json"));
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "diverged"));
  json_t *record = load(in("r.json"));
  assert_string_equal(json_string_value(field(record, "status")), "diverged");
  assert_int_equal(json_array_size(field(record, "epochs")), 2);
  const json_t *last = json_array_get(field(record, "epochs"), 1);
  assert_string_equal(json_string_value(json_object_get(last, "loss")), "inf");
  assert_int_equal(json_integer_value(field(record, "diverged.epoch")), 2);
  assert_int_equal(json_integer_value(field(record, "diverged.step")), 20);
  assert_string_equal(json_string_value(field(record, "diverged.where")), "digest");
  json_decref(record);
}

/* The trainer is asked every 200 steps; the loss of the epoch is finite. */
static void divergence_ends_an_epoch(void **state) {
  (void)state;
  struct result result = RUN("train", "--plugin", COUNTING, SMALL, "--batch", "1", "--epochs", "4", "--set",
                             "diverge_step=300", "--record", in("r.json"));
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "diverged: the output of digest was not finite at step 300 (epoch 2)"));
  assert_non_null(strstr(result.errors, "diverged: the output of digest was not finite at step 300 (epoch 2)"));
  json_t *record = load(in("r.json"));
  assert_string_equal(json_string_value(field(record, "status")), "diverged");
  assert_int_equal(json_array_size(field(record, "epochs")), 2);
  /* 279 steps of the first epoch and 200 of the second. */
  assert_int_equal(json_integer_value(field(record, "time.steps")), 479);
  assert_int_equal(json_integer_value(field(record, "diverged.step")), 300);
  assert_true(json_is_number(field(record, "accuracy.test")));
  json_decref(record);
}

static json_int_t number_in(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  assert_true(json_is_integer(value));
  return json_integer_value(value);
}

/* What a program executed against what its shapes say, taps on padding left out. Returns its runs. */
static json_int_t assert_counts_agree(const json_t *record, const char *program) {
  static const char *const same[] = {"quantised_elements", "added_elements", "compared_elements"};
  const json_t *executed = json_object_get(field(record, "operations.executed"), program);
  const json_t *shapes = json_object_get(field(record, "operations.programs"), program);
  assert_true(executed && shapes);
  json_int_t runs = number_in(executed, "runs");
  json_int_t macs = number_in(executed, "mac_f32") + number_in(executed, "mac_s8");
  assert_true(runs > 0 && macs > 0);
  assert_int_equal(macs,
                   runs * (number_in(shapes, "mac_f32") + number_in(shapes, "mac_s8") - number_in(shapes, "padding")));
  assert_int_equal(macs, number_in(executed, "forward") + number_in(executed, "input_gradient") +
                             number_in(executed, "weight_gradient"));
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    assert_int_equal(number_in(executed, same[i]), runs * number_in(shapes, same[i]));
  return runs;
}

static void record_has_what_was_executed(void **state) {
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "ff_int8", SMALL, EPOCHS, NETWORK, "--backend", "reference", "--record",
                      in("r.json")));
  json_t *record = load(in("r.json"));
  /* nine full batches in each of two epochs, and then one of nine rows */
  assert_int_equal(assert_counts_agree(record, "train all units"), 18);
  assert_int_equal(assert_counts_agree(record, "train all units, partial batch"), 2);
  assert_counts_agree(record, "predict");
  assert_true(json_is_null(field(record, "operations.executed_reason")));
  json_decref(record);
  assert_succeeds(RUN("train", "--model", "resnet18", "--set", "model.width=0.0625", "--algorithm", "bp_int8",
                      "--dataset", "synthetic_shapes", "--synthetic-train", "20", "--synthetic-test", "10", "--batch",
                      "4", "--epochs", "1", "--backend", "reference", "--record", in("again.json")));
  record = load(in("again.json"));
  assert_counts_agree(record, "train");
  assert_counts_agree(record, "predict");
  assert_true(number_in(json_object_get(field(record, "operations.programs"), "train"), "padding") > 0);
  json_decref(record);
  assert_succeeds(
      RUN("train", "--algorithm", "ff_int8", SMALL, EPOCHS, NETWORK, "--backend", "cpu", "--record", in("whole.json")));
  record = load(in("whole.json"));
  assert_true(json_is_null(field(record, "operations.executed")));
  assert_non_null(strstr(json_string_value(field(record, "operations.executed_reason")), "reference"));
  json_decref(record);
}

/* Table IV from its records: three counts of one number side by side, each with its record in the CSV. */
static void table4_counts_twice(void **state) {
  static const char *const lines[] = {
      "8,970,000 |      5,050,000 |       8,970,000 |    22,990,000 | 22,990,000 | 22,990,000 | 898,200,000",
      "17,840,000 |              0 |      17,840,000 |    35,680,000 | 35,680,000 | 35,680,000 |  23,800,000",
      "89,200,000 | 89,200,000 | 89,200,000 |             10",
      "957,680 |          957,680 |   957,680 | 32,400 |        65,680 |  65,680 | 165,900 |       2.9", "35,880,000"};
  (void)state;
  char text[OUTPUT_BYTES];
  const char *const only = "model=mlp_3x500,algorithm=bp_gdai8,algorithm=ff_int8";
  assert_succeeds(RUN("run", "experiments/table4.lua", "--profile", "smoke", "--only", only, "--set",
                      "dataset=synthetic_digits", "--results", in("results"), "--quiet"));
  read_text(in("results/table4.md"), text);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    if (!strstr(text, lines[i]))
      fail_msg("no \"%s\" in:\n%s", lines[i], text);
  read_text(in("results/table4.csv"), text);
  assert_non_null(strstr(text, ",macs_running,operations,1,35680000,,1,,,,mlp-ff_int8-synthetic_digits-s1-"));
  struct result check = RUN("check", "experiments/table4.lua", "--profile", "smoke", "--only", only, "--set",
                            "dataset=synthetic_digits", "--results", in("results"));
  assert_succeeds(check);
  assert_non_null(strstr(check.output, "35680000"));
  assert_succeeds(RUN("run", "experiments/table4.lua", "--profile", "smoke", "--only", only, "--set",
                      "dataset=synthetic_digits", "--results", in("results"), "--quiet", "--backend", "cpu"));
  read_text(in("results/table4.md"), text);
  assert_non_null(strstr(text, "only --backend reference counts while it runs"));
  assert_non_null(strstr(text, "35,680,000"));
}

/* Buffers and all that is held in the record of BP-GDAI8 as it is by default, or of FF-INT8. */
struct held {
  double buffers, all;
  char file[PATH_MAX];
};

static struct held held_by(const char *algorithm) {
  static const char *const tags[] = {"activations", "gradients", "quantised", "workspace"};
  struct held held = {0};
  DIR *records = opendir(in("memory/records"));
  assert_non_null(records);
  for (struct dirent *entry; (entry = readdir(records));) {
    char path[PATH_MAX];
    size_t length = strlen(entry->d_name);
    if (length < 6 || strcmp(entry->d_name + length - 5, ".json") != 0)
      continue;
    snprintf(path, sizeof path, "%s/%s", in("memory/records"), entry->d_name);
    json_t *record = load(path);
    const json_t *options = field(record, "config.options"), *update = json_object_get(options, "update");
    bool plain =
        !update || (strcmp(json_string_value(update), "fused") == 0 && number_in(options, "accumulation") == 1 &&
                    strcmp(json_string_value(json_object_get(options, "checkpointing")), "none") == 0);
    if (plain && strcmp(json_string_value(field(record, "config.algorithm")), algorithm) == 0) {
      assert_int_equal(number_in(field(record, "time"), "steps"), 2); /* 40 records: the second is a partial batch */
      assert_float_equal(held.all, 0, 0);
      for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        held.buffers += (double)number_in(field(record, "memory.peak_bytes_by_tag"), tags[i]);
      held.all = (double)number_in(field(record, "memory"), "peak_bytes");
      snprintf(held.file, sizeof held.file, "%s", path);
    }
    json_decref(record);
  }
  closedir(records);
  assert_true(held.all > held.buffers && held.buffers > 0);
  return held;
}

/* Bytes of a footnote mark at this place; 0 where there is none. */
static size_t mark_length(const char *at) {
  static const char *const digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  for (size_t i = 0; i < sizeof digits / sizeof *digits; i++)
    if (strncmp(at, digits[i], strlen(digits[i])) == 0)
      return strlen(digits[i]);
  return 0;
}

/* A table whose lines are told apart by their first column, without the marks there: a program that was built from a
 * changed tree says so at every line. */
static void read_table(const char *path, char *text) {
  read_text(path, text);
  char *to = text;
  bool first = true;
  for (const char *from = text; *from; from++) {
    size_t mark = first ? mark_length(from) : 0;
    if (mark) {
      from += mark - 1;
      continue;
    }
    first = *from == '\n' || (first && *from != '|');
    *to++ = *from;
  }
  *to = '\0';
}

/* The line that opens with that title, without its spaces. */
static void assert_line(const char *text, const char *title, const char *columns) {
  const char *line = strstr(text, title);
  assert_non_null(line);
  char squeezed[256];
  size_t length = 0;
  for (const char *at = line + 1; *at && *at != '\n' && length + 1 < sizeof squeezed; at++)
    if (*at != ' ')
      squeezed[length++] = *at;
  squeezed[length] = '\0';
  if (!strstr(squeezed, columns))
    fail_msg("no %s in: %s", columns, squeezed);
}

/* The table's numbers from the records, worked out here; no ratio without the record of what they are held against. */
static void memory_is_told_from_records(void **state) {
  (void)state;
  char text[OUTPUT_BYTES], columns[128];
  const char *const only = "model=mobilenet_v2,algorithm=bp_gdai8,algorithm=ff_int8_one_pass";
  assert_succeeds(
      RUN("run", "experiments/memory.lua", "--profile", "smoke", "--only", only, "--results", in("memory"), "--quiet"));
  struct held bp = held_by("bp_gdai8"), ff = held_by("ff_int8");
  read_table(in("memory/memory.md"), text);
  snprintf(columns, sizeof columns, "|%.2f|1.000|%.2f|1.000", bp.buffers / 0x1p20, bp.all / 0x1p20);
  assert_line(text, "\nBP-GDAI8 ", columns);
  snprintf(columns, sizeof columns, "|%.2f|%.3f|%.2f|%.3f", ff.buffers / 0x1p20, ff.buffers / bp.buffers,
           ff.all / 0x1p20, ff.all / bp.all);
  assert_line(text, "\nFF-INT8, one-pass", columns);
  const char *averages = strstr(text, "## Beside the paper");
  assert_non_null(averages);
  /* No mean of one network in three; the paper's, such as 437.0 of 578.9. */
  snprintf(columns, sizeof columns, "one-pass|%.3f|-¹|-¹|-", ff.all / bp.all);
  assert_line(averages, "\nFF-INT8, one-pass", columns);
  assert_line(averages, "\npaper", "|0.755|0.730|0.763|0.749");
  assert_non_null(strstr(averages, "With its MLP (0.771) the paper's average is 0.755."));
  assert_int_equal(remove(bp.file), 0);
  assert_succeeds(
      RUN("report", "experiments/memory.lua", "--profile", "smoke", "--only", only, "--results", in("memory")));
  read_table(in("memory/memory.md"), text);
  snprintf(columns, sizeof columns, "|%.2f|-", ff.buffers / 0x1p20);
  assert_line(text, "\nFF-INT8, one-pass", columns);
  assert_non_null(strstr(text, "not run"));
}

/* Two readings of look-ahead on one label, trained for real; the rest of the table stays open. */
static void readings_of_lookahead_are_trained(void **state) {
  (void)state;
  char text[OUTPUT_BYTES];
  assert_succeeds(RUN("run", "experiments/lookahead.lua", "--profile", "smoke", "--only",
                      "algorithm=ff_int8_layer_pattern_block,algorithm=ff_int8_layer_pattern_off", "--set",
                      "dataset=synthetic_shapes", "--set", "train_limit=64", "--set", "eval_limit=10", "--results",
                      in("results"), "--quiet"));
  read_table(in("results/lookahead.md"), text);
  static const char *const lines[][2] = {{"layer | pattern | off  ", " |      2 |           - | "},
                                         {"layer | pattern | block", " |      2 |         0.5 | "}};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    char line[256];
    const char *at = strstr(text, lines[i][0]);
    snprintf(line, sizeof line, "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
    if (!strstr(line, lines[i][1]) || strstr(line, "-¹"))
      fail_msg("\"%s\" has no \"%s\" in:\n%s", lines[i][0], lines[i][1], text);
  }
  assert_non_null(strstr(text, "not run"));
}

/* A learning rate that no network survives, then a sensible one. */
static void experiment_goes_on_after_a_diverged_run(void **state) {
  (void)state;
  FILE *file = fopen(in("two.lua"), "w");
  assert_non_null(file);
  fputs("return experiment {\n"
        "  name = 'two', title = 'Two',\n"
        "  models = { mlp = { dataset = 'synthetic_digits', options = { hidden = '24' } } },\n"
        "  algorithms = { { 'bp_fp32', name = 'wild', learning_rate = 1000, weight_decay = 10 },\n"
        "    { 'bp_fp32', name = 'tame' } },\n"
        "  profiles = { smoke = { epochs = 2, train_limit = 300, eval_limit = 50 } },\n"
        "}\n",
        file);
  fclose(file);
  struct result result = RUN("run", in("two.lua"), "--profile", "smoke", "--results", in("results"));
  assert_non_null(strstr(result.errors, "was not finite"));
  int diverged = 0, done = 0;
  DIR *records = opendir(in("results/records"));
  assert_non_null(records);
  for (struct dirent *entry; (entry = readdir(records));) {
    char path[PATH_MAX];
    size_t length = strlen(entry->d_name);
    if (length < 6 || strcmp(entry->d_name + length - 5, ".json") != 0)
      continue;
    snprintf(path, sizeof path, "%s/%s", in("results/records"), entry->d_name);
    json_t *record = load(path);
    const char *status = json_string_value(field(record, "status"));
    diverged += strcmp(status, "diverged") == 0;
    done += strcmp(status, "done") == 0;
    json_decref(record);
  }
  closedir(records);
  assert_int_equal(diverged, 1);
  assert_int_equal(done, 1);
}

static void failing_step_leaves_no_record(void **state) {
  (void)state;
  assert_fails(RUN("train", "--plugin", COUNTING, SMALL, "--set", "fail_step=7", "--quiet", "--record", in("r.json")),
               1, "the step failed");
  assert_false(exists(in("r.json")));
  assert_nothing_temporary();
}

/* ---- the same bits --------------------------------------------------------------------------------------------------
 */

static void train_to(const char *algorithm, const char *seed, const char *record, char weights[FFB_SHA256_TEXT]) {
  assert_succeeds(
      RUN("train", "--algorithm", algorithm, SMALL, EPOCHS, NETWORK, "--seed", seed, "--record", in(record)));
  weights_of(in(record), weights);
}

static void same_seed_gives_the_same_weights(void **state) {
  static const char *const algorithms[] = {"bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
  (void)state;
  for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
    char first[FFB_SHA256_TEXT], second[FFB_SHA256_TEXT], other[FFB_SHA256_TEXT];
    train_to(algorithms[i], "1", "first.json", first);
    train_to(algorithms[i], "1", "second.json", second);
    train_to(algorithms[i], "2", "other.json", other);
    assert_string_equal(first, second);
    assert_string_not_equal(first, other);
  }
}

static void empty_text_is_no_hidden_layer(void **state) {
  char named[FFB_SHA256_TEXT], empty[FFB_SHA256_TEXT];
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, "--set", "model.hidden=none", "--record",
                      in("first.json")));
  assert_succeeds(
      RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, "--set", "model.hidden=", "--record", in("second.json")));
  weights_of(in("first.json"), named);
  weights_of(in("second.json"), empty);
  assert_string_equal(named, empty);
  json_t *record = load(in("second.json"));
  assert_int_equal(json_integer_value(field(record, "model.parameters")), 784 * 10);
  json_decref(record);
}

/* The test set by epoch: its last number is the one at the end, and looking at it changes nothing. */
static void test_accuracy_by_epoch_when_asked(void **state) {
  static const char *const algorithms[] = {"bp_int8", "ff_int8"};
  (void)state;
  for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
    char without[FFB_SHA256_TEXT], with[FFB_SHA256_TEXT];
    train_to(algorithms[i], "1", "first.json", without);
    assert_succeeds(RUN("train", "--algorithm", algorithms[i], SMALL, EPOCHS, NETWORK, "--seed", "1", "--test-by-epoch",
                        "--record", in("second.json")));
    weights_of(in("second.json"), with);
    assert_string_equal(with, without);
    json_t *first = load(in("first.json")), *second = load(in("second.json"));
    assert_null(json_object_get(json_array_get(field(first, "epochs"), 1), "test_accuracy"));
    const json_t *last = json_object_get(json_array_get(field(second, "epochs"), 1), "test_accuracy");
    assert_true(json_is_number(last) && json_equal(last, field(second, "accuracy.test")));
    assert_true(json_is_number(json_object_get(json_array_get(field(second, "epochs"), 0), "test_accuracy")));
    json_decref(first);
    json_decref(second);
  }
}

/* ---- killed and resumed ---------------------------------------------------------------------------------------------
 */

/* Kill again and again, after times that spread over start, training and writing, until the run gets through. */
static void kill_until_done(const char *const *arguments, unsigned seed) {
  int killed = 0;
  for (int attempt = 0; attempt < 40; attempt++) {
    pid_t child = start(PROGRAM, arguments);
    pause_milliseconds(10 + (long)(rand_r(&seed) % 40) + 8 * attempt);
    kill(child, SIGKILL);
    struct result result = wait_for(child);
    if (result.status == 0) {
      assert_true(killed > 0);
      return;
    }
    assert_int_equal(result.status, -SIGKILL);
    killed++;
  }
  assert_succeeds(wait_for(start(PROGRAM, arguments)));
}

#define KILLED(...)                                                                                                    \
  LIST("train", __VA_ARGS__, SMALL, NETWORK, "--record", in("killed.json"), "--checkpoint", in("checkpoint"),          \
       "--checkpoint-seconds", "0.01", "--resume", "--quiet")
#define WHOLE(...) LIST("train", __VA_ARGS__, SMALL, NETWORK, "--record", in("whole.json"), "--quiet")

static void compare_killed(const char *const *whole, const char *const *killed, unsigned seed) {
  char one[FFB_SHA256_TEXT], other[FFB_SHA256_TEXT];
  assert_succeeds(wait_for(start(PROGRAM, whole)));
  kill_until_done(killed, seed);
  weights_of(in("whole.json"), one);
  weights_of(in("killed.json"), other);
  assert_string_equal(one, other);
  json_t *first = load(in("whole.json")), *second = load(in("killed.json"));
  /* Not only the weights: the history too. */
  size_t epochs = json_array_size(field(first, "epochs"));
  assert_int_equal(json_array_size(field(second, "epochs")), epochs);
  for (size_t i = 0; i < epochs; i++) {
    static const char *const keys[] = {"loss", "train_accuracy", "validation_accuracy"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
      assert_true(json_equal(json_object_get(json_array_get(field(first, "epochs"), i), keys[k]),
                             json_object_get(json_array_get(field(second, "epochs"), i), keys[k])));
  }
  assert_true(json_equal(field(first, "time.steps"), field(second, "time.steps")));
  assert_true(json_equal(field(first, "accuracy"), field(second, "accuracy")));
  json_decref(first);
  json_decref(second);
  assert_false(exists(in("checkpoint/ffbench.checkpoint")));
  assert_nothing_temporary();
}

static void killed_run_ends_with_the_same_weights(void **state) {
  (void)state;
  compare_killed(WHOLE("--plugin", COUNTING, "--epochs", "3", "--set", "microseconds=8000"),
                 KILLED("--plugin", COUNTING, "--epochs", "3", "--set", "microseconds=8000"), 1);
}

/* The weights are a digest of every byte of every batch. */
static void killed_augmented_run_saw_the_same_batches(void **state) {
  (void)state;
  char plain[FFB_SHA256_TEXT], augmented[FFB_SHA256_TEXT];
  compare_killed(
      WHOLE("--plugin", COUNTING, "--epochs", "3", "--set", "microseconds=8000", "--crop-padding", "4", "--flip"),
      KILLED("--plugin", COUNTING, "--epochs", "3", "--set", "microseconds=8000", "--crop-padding", "4", "--flip"), 4);
  weights_of(in("whole.json"), augmented);
  assert_succeeds(wait_for(start(PROGRAM, WHOLE("--plugin", COUNTING, "--epochs", "3"))));
  weights_of(in("whole.json"), plain);
  assert_string_not_equal(plain, augmented);
}

static void killed_bp_ui8_ends_with_the_same_weights(void **state) {
  (void)state;
  compare_killed(WHOLE("--algorithm", "bp_ui8", "--epochs", "80", "--set", "search_period=7"),
                 KILLED("--algorithm", "bp_ui8", "--epochs", "80", "--set", "search_period=7"), 2);
}

static void killed_ff_int8_ends_with_the_same_weights(void **state) {
  (void)state;
  compare_killed(WHOLE("--algorithm", "ff_int8", "--epochs", "60", "--set", "negatives_drawn=once"),
                 KILLED("--algorithm", "ff_int8", "--epochs", "60", "--set", "negatives_drawn=once"), 3);
}

/* ---- energy --------------------------------------------------------------------------------------------------------
 */

/* A folder of sysfs with what shell commands put into it, for the programs that are started from now on. */
static void make_in_sysfs(const char *folder, const char *commands) {
  char command[2 * PATH_MAX];
  snprintf(command, sizeof command, "mkdir -p %s/%s && cd %s/%s && %s", in("sys"), folder, in("sys"), folder, commands);
  assert_succeeds(wait_for(start("/bin/sh", LIST("-c", command))));
  assert_int_equal(setenv("FFBENCH_SYSFS", in("sys"), 1), 0);
}

/* A Jetson module that draws 7.52 W. */
static void make_module(void) {
  make_in_sysfs("bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0",
                "echo VDD_IN > in1_label && echo 5000 > in1_input && echo 1504 > curr1_input");
}

/* Trapezoids between good readings of a span that lie no more than five intervals apart, as docs/record.md says. */
static double joules_of_readings(const char *path, double interval, int *pauses) {
  char line[128];
  bool has_last = false;
  double joules = 0, last_time = 0, last_watts = 0, time, watts;
  gzFile file = gzopen(path, "r");
  assert_non_null(file);
  *pauses = 0;
  while (gzgets(file, line, sizeof line)) {
    bool pause = strcmp(line, "pause\n") == 0;
    *pauses += pause;
    has_last = has_last && !pause;
    if (*line == '#' || sscanf(line, "%lf %lf", &time, &watts) != 2)
      continue;
    if (has_last && time - last_time <= 5 * interval + 1e-9)
      joules += 0.5 * (time - last_time) * (watts + last_watts);
    has_last = true;
    last_time = time;
    last_watts = watts;
  }
  gzclose(file);
  return joules;
}

static void compute_energy_again(const char *record_path, const char *readings_path, int least_pauses) {
  int pauses;
  json_t *record = load(record_path);
  const json_t *energy = field(record, "energy");
  if (!json_is_number(field(energy, "joules")))
    fail_msg("%s", json_string_value(field(energy, "reason")));
  double joules = json_number_value(field(energy, "joules"));
  assert_string_equal(json_string_value(field(energy, "readings_file")), strrchr(readings_path, '/') + 1);
  assert_string_equal(json_string_value(field(energy, "rail")), "VDD_IN");
  assert_string_equal(json_string_value(field(energy, "scope")), "module");
  double again = joules_of_readings(readings_path, json_number_value(field(energy, "interval_seconds")), &pauses);
  assert_float_equal(again / joules, 1, 1e-4);
  assert_float_equal(json_number_value(field(energy, "mean_watts")), 7.52, 1e-4);
  assert_true(pauses >= least_pauses);
  json_decref(record);
}

static void energy_can_be_computed_again(void **state) {
  (void)state;
  make_module();
  assert_succeeds(RUN("train", "--plugin", COUNTING, SMALL, NETWORK, EPOCHS, "--set", "microseconds=4000",
                      "--idle-seconds", "0.2", "--record", in("joules.json"), "--quiet"));
  unsetenv("FFBENCH_SYSFS");
  compute_energy_again(in("joules.json"), in("joules.readings.gz"), 1);
  json_t *record = load(in("joules.json"));
  assert_float_equal(json_number_value(field(record, "energy.idle.watts")), 7.52, 1e-4);
  assert_true(json_number_value(field(record, "energy.idle.seconds")) >= 0.2);
  assert_true(json_is_null(field(record, "cool_down")));
  assert_true(json_number_value(field(record, "provenance.conditions.looks")) >= 1);
  json_decref(record);
  /* The same run where nothing measures leaves no readings of another. */
  assert_int_equal(setenv("FFBENCH_SYSFS", in("nothing-here"), 1), 0);
  assert_succeeds(RUN("train", "--plugin", COUNTING, SMALL, NETWORK, EPOCHS, "--cool-to", "40", "--record",
                      in("joules.json"), "--quiet"));
  unsetenv("FFBENCH_SYSFS");
  record = load(in("joules.json"));
  assert_true(json_is_null(field(record, "energy.joules")));
  assert_true(json_is_null(field(record, "energy.readings_file")));
  assert_true(json_is_null(field(record, "energy.idle")));
  assert_true(json_is_false(field(record, "cool_down.reached")));
  assert_true(json_number_value(field(record, "cool_down.waited_seconds")) < 60); /* no zone: nothing to wait for */
  json_decref(record);
  assert_false(exists(in("joules.readings.gz")));
}

/* What was trained twice counts once, in the readings too. */
static void energy_of_a_killed_run_can_be_computed_again(void **state) {
  (void)state;
  make_module();
  kill_until_done(KILLED("--plugin", COUNTING, "--epochs", "3", "--set", "microseconds=8000", "--idle-seconds", "0"),
                  5);
  unsetenv("FFBENCH_SYSFS");
  compute_energy_again(in("killed.json"), in("killed.readings.gz"), 3);
}

/* A package of 20 W whose other counter says twice as much. */
enum { COUNTERS = 2 };
static struct {
  char counters[COUNTERS][PATH_MAX];
  atomic_bool stop;
} package;

static void *count_joules(void *unused) {
  const struct timespec moment = {.tv_nsec = 5000000};
  (void)unused;
  for (long long microjoules = 100000; !atomic_load(&package.stop); microjoules += 100000) {
    for (int i = 0; i < COUNTERS; i++) {
      char fresh[PATH_MAX + 8];
      snprintf(fresh, sizeof fresh, "%s.new", package.counters[i]);
      FILE *file = fopen(fresh, "w");
      if (file) {
        fprintf(file, "%lld\n", (i + 1) * microjoules);
        fclose(file);
        rename(fresh, package.counters[i]);
      }
    }
    nanosleep(&moment, NULL);
  }
  return NULL;
}

static void two_readers_that_disagree_are_told(void **state) {
  char command[2 * PATH_MAX];
  pthread_t thread;
  (void)state;
  snprintf(command, sizeof command,
           "cd %s && for zone in intel-rapl:0 intel-rapl-mmio:0; do mkdir -p sys/class/powercap/$zone &&"
           " echo package-0 > sys/class/powercap/$zone/name &&"
           " echo 262143328850 > sys/class/powercap/$zone/max_energy_range_uj || exit; done",
           folder);
  assert_succeeds(wait_for(start("/bin/sh", LIST("-c", command))));
  snprintf(package.counters[0], PATH_MAX, "%s/sys/class/powercap/intel-rapl:0/energy_uj", folder);
  snprintf(package.counters[1], PATH_MAX, "%s/sys/class/powercap/intel-rapl-mmio:0/energy_uj", folder);
  atomic_store(&package.stop, false);
  assert_int_equal(pthread_create(&thread, NULL, count_joules, NULL), 0);
  while (!exists(package.counters[1]))
    usleep(1000);
  assert_int_equal(setenv("FFBENCH_SYSFS", in("sys"), 1), 0);
  struct result result = RUN("train", "--plugin", COUNTING, SMALL, NETWORK, EPOCHS, "--set", "microseconds=20000",
                             "--idle-seconds", "0", "--record", in("joules.json"));
  unsetenv("FFBENCH_SYSFS");
  atomic_store(&package.stop, true);
  pthread_join(thread, NULL);
  assert_succeeds(result);
  assert_contains(result.output, "RAPL powercap MMIO reads ");
  assert_contains(result.output, " % more of the same power: one of them is wrong");
  json_t *record = load(in("joules.json"));
  assert_string_equal(json_string_value(field(record, "energy.source")), "RAPL powercap");
  assert_string_equal(json_string_value(field(record, "energy.second.rail")), "package-0");
  double ratio = json_number_value(field(record, "energy.second.ratio"));
  assert_true(ratio > 1.5 && ratio < 2.5); /* two counts of 0.1 J at each edge */
  assert_float_equal(ratio,
                     json_number_value(field(record, "energy.second.mean_watts")) /
                         json_number_value(field(record, "energy.mean_watts")),
                     1e-9);
  json_decref(record);
}

/* ---- gradients -----------------------------------------------------------------------------------------------------
 */

#define GRADIENTS "--gradient-statistics", "50", "--gradient-layers", "all"

static void gradients_change_no_weight(void **state) {
  (void)state;
  static const char *const options[] = {"momentum=0.9", "checkpointing=unit"};
  for (size_t i = 0; i < 2; i++) {
    char with[FFB_SHA256_TEXT], without[FFB_SHA256_TEXT];
    assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--set", options[i], GRADIENTS,
                        "--record", in("with.json"), "--quiet"));
    assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--set", options[i], "--record",
                        in("without.json"), "--quiet"));
    weights_of(in("with.json"), with);
    weights_of(in("without.json"), without);
    assert_string_equal(with, without);
    json_t *first = load(in("with.json")), *second = load(in("without.json"));
    assert_true(json_is_null(field(second, "gradients")));
    assert_true(json_equal(field(first, "accuracy"), field(second, "accuracy")));
    assert_true(json_equal(field(first, "memory.peak_bytes"), field(second, "memory.peak_bytes")));
    json_decref(first);
    json_decref(second);
  }
}

static double number_of(const json_t *object, const char *key) {
  assert_true(json_is_number(json_object_get(object, key)));
  return json_number_value(json_object_get(object, key));
}

/* 784-24-16-10 without biases. */
static void check_layer(const json_t *layer, int number) {
  static const json_int_t weights[] = {784 * 24, 24 * 16, 16 * 10};
  char name[16];
  snprintf(name, sizeof name, "fc%d", number + 1);
  assert_string_equal(json_string_value(json_object_get(layer, "layer")), name);
  assert_int_equal(number_of(layer, "values"), weights[number]);
  double smallest = number_of(layer, "minimum"), mean = number_of(layer, "mean"), largest = number_of(layer, "maximum");
  assert_true(smallest < 0 && largest > 0 && smallest < mean && mean < largest);
  assert_true(number_of(layer, "deviation") > 0 && number_of(layer, "deviation") < largest - smallest);
  assert_true(number_of(layer, "int8_zero_share") > 0 && number_of(layer, "int8_zero_share") < 1);
  const json_t *counts = field(layer, "histogram.counts");
  json_int_t sum = (json_int_t)number_of(layer, "zeros"),
             outside = json_integer_value(field(layer, "histogram.outside"));
  size_t index;
  json_t *count;
  assert_int_equal(json_array_size(counts), 129);
  json_array_foreach((json_t *)counts, index, count) sum += json_integer_value(count);
  assert_int_equal(sum + outside, weights[number]);
}

static void gradients_are_in_the_record(void **state) {
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, GRADIENTS, "--histogram-range",
                      "0.001", "--record", in("r.json"), "--quiet"));
  json_t *record = load(in("r.json"));
  assert_int_equal(json_array_size(field(record, "gradients")), 3); /* before training, after two epochs */
  for (size_t i = 0; i < 3; i++) {
    const json_t *entry = json_array_get(field(record, "gradients"), i), *layers = json_object_get(entry, "layers");
    assert_int_equal(number_of(entry, "epoch"), i);
    assert_int_equal(number_of(entry, "records"), 50);
    assert_int_equal(json_array_size(layers), 3);
    for (int l = 0; l < 3; l++)
      check_layer(json_array_get(layers, (size_t)l), l);
    const json_t *first = json_array_get(layers, 0);
    assert_float_equal(json_number_value(field(first, "histogram.limit")), 0.001, 0);
    assert_true(json_integer_value(field(first, "histogram.outside")) > 0);
  }
  json_decref(record);
  /* More records than there are: all of them. The first layer, unless others are asked for. */
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "0", NETWORK, "--gradient-statistics",
                      "1000000", "--record", in("r.json"), "--quiet"));
  record = load(in("r.json"));
  const json_t *entry = json_array_get(field(record, "gradients"), 0), *layers = json_object_get(entry, "layers");
  assert_int_equal(json_array_size(field(record, "gradients")), 1);
  assert_int_equal(number_of(entry, "records"), 279);
  assert_int_equal(json_array_size(layers), 1);
  check_layer(json_array_get(layers, 0), 0);
  json_decref(record);
}

/* The layers' statistics before training. */
static json_t *gradients_before(const char *name, const char *const *more) {
  const char *arguments[ARGUMENTS] = {"train", "--algorithm",       "bp_fp32", SMALL,      NETWORK,  "--epochs",
                                      "0",     "--gradient-layers", "all",     "--record", in(name), "--quiet"};
  int count = 0;
  while (arguments[count])
    count++;
  while (*more)
    arguments[count++] = *more++;
  assert_succeeds(wait_for(start(PROGRAM, arguments)));
  json_t *record = load(in(name));
  json_t *layers = json_incref(json_object_get(json_array_get(field(record, "gradients"), 0), "layers"));
  json_decref(record);
  assert_int_equal(json_array_size(layers), 3);
  return layers;
}

/* Of 279 training records the first 50: those that --train-limit keeps, as they lie in the data, and each weighs the
 * same whether they come in one batch or in batches of 30 and 20. */
static void gradients_are_those_of_the_first_records(void **state) {
  static const char *const measures[] = {"mean", "deviation", "minimum", "maximum", "median_absolute", "kurtosis"};
  (void)state;
  json_t *found = gradients_before("r.json", LIST("--gradient-statistics", "50"));
  json_t *limited = gradients_before("limited.json", LIST("--train-limit", "50", "--gradient-statistics", "1000"));
  json_t *augmented =
      gradients_before("augmented.json", LIST("--gradient-statistics", "50", "--crop-padding", "4", "--flip"));
  json_t *at_once = gradients_before("at_once.json", LIST("--gradient-statistics", "50", "--batch", "50"));
  json_t *others = gradients_before("others.json", LIST("--gradient-statistics", "49"));
  assert_true(json_equal(found, limited));
  assert_true(json_equal(found, augmented));
  assert_false(json_equal(found, others));
  for (size_t l = 0; l < 3; l++)
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
      double one = number_of(json_array_get(found, l), measures[i]);
      double other = number_of(json_array_get(at_once, l), measures[i]);
      if (fabs(other - one) > 1e-5 * fabs(one) + 1e-9)
        fail_msg("%s: %.9g in two batches, %.9g in one", measures[i], one, other);
    }
  json_decref(found);
  json_decref(limited);
  json_decref(augmented);
  json_decref(at_once);
  json_decref(others);
}

static void gradients_that_cannot_be_had_are_refused(void **state) {
  static const struct {
    const char *algorithm, *layers, *says;
  } cases[] = {{"ff_int8", "first", "ff_int8 cannot give the gradients of its weights"},
               {"bp_int8", "first", "take --algorithm bp_fp32"},
               {"bp_fp32", "fc11", "did you mean fc1?"},
               {"bp_fp32", "fc1,relu1", "no weights called \"relu1\""}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(RUN("train", "--algorithm", cases[i].algorithm, SMALL, NETWORK, "--gradient-statistics", "50",
                     "--gradient-layers", cases[i].layers, "--record", in("r.json")),
                 2, cases[i].says);
}

static void killed_run_keeps_its_gradients(void **state) {
  (void)state;
  compare_killed(WHOLE("--algorithm", "bp_fp32", "--epochs", "60", GRADIENTS),
                 KILLED("--algorithm", "bp_fp32", "--epochs", "60", GRADIENTS), 5);
  json_t *first = load(in("whole.json")), *second = load(in("killed.json"));
  const json_t *whole = field(first, "gradients"), *killed = field(second, "gradients");
  assert_int_equal(json_array_size(whole), 61);
  assert_int_equal(json_array_size(killed), 61);
  for (size_t i = 0; i < 61; i++) {
    const json_t *one = json_array_get(whole, i), *other = json_array_get(killed, i);
    assert_int_equal(number_of(other, "epoch"), i);
    assert_true(json_equal(json_object_get(one, "layers"), json_object_get(other, "layers")));
  }
  json_decref(first);
  json_decref(second);
}

/* ---- interrupted ----------------------------------------------------------------------------------------------------
 */

#define SLOW "--plugin", COUNTING, SMALL, "--epochs", "3", "--set", "microseconds=20000"

static struct result interrupt(int signal_number, const char *record) {
  pid_t child = START("train", SLOW, "--record", in(record), "--checkpoint", in("checkpoint"), "--resume", "--quiet");
  while (!exists(in("checkpoint/ffbench.checkpoint.lock")))
    pause_milliseconds(5);
  pause_milliseconds(120);
  kill(child, signal_number);
  return wait_for(child);
}

static void interrupted_run_leaves_a_checkpoint(void **state) {
  (void)state;
  char one[FFB_SHA256_TEXT], other[FFB_SHA256_TEXT];
  assert_succeeds(RUN("train", SLOW, "--record", in("whole.json")));
  static const int signals[] = {SIGINT, SIGTERM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    assert_fails(interrupt(signals[i], "r.json"), 130, "--resume");
    assert_true(exists(in("checkpoint/ffbench.checkpoint")));
    assert_nothing_temporary();
    json_t *record = load(in("r.json"));
    assert_string_equal(json_string_value(field(record, "status")), "interrupted");
    assert_true(json_is_null(field(record, "accuracy.test")));
    json_decref(record);
  }
  assert_succeeds(RUN("train", SLOW, "--record", in("r.json"), "--checkpoint", in("checkpoint"), "--resume"));
  weights_of(in("whole.json"), one);
  weights_of(in("r.json"), other);
  assert_string_equal(one, other);
  json_t *record = load(in("r.json"));
  assert_int_equal(json_integer_value(field(record, "time.resumes")), 2);
  json_decref(record);
  assert_false(exists(in("checkpoint/ffbench.checkpoint")));
}

static void interruption_spares_a_finished_record(void **state) {
  (void)state;
  char one[FFB_SHA256_TEXT], other[FFB_SHA256_TEXT];
  assert_succeeds(RUN("train", SLOW, "--record", in("r.json")));
  weights_of(in("r.json"), one);
  assert_int_equal(interrupt(SIGINT, "r.json").status, 130);
  weights_of(in("r.json"), other);
  assert_string_equal(one, other);
}

/* What held a clock down before a run was interrupted is not forgotten after. */
static void throttling_is_remembered(void **state) {
  (void)state;
  make_in_sysfs("class/thermal/cooling_device0", "echo cpu-throttle-alert > type && echo 1 > cur_state");
  assert_int_equal(interrupt(SIGINT, "r.json").status, 130);
  json_t *record = load(in("r.json"));
  assert_true(json_is_true(field(record, "provenance.throttled")));
  assert_string_equal(json_string_value(field(record, "provenance.conditions.throttled_by")), "cpu-throttle-alert");
  json_decref(record);
  make_in_sysfs("class/thermal/cooling_device0", "echo 0 > cur_state");
  assert_succeeds(RUN("train", SLOW, "--record", in("r.json"), "--checkpoint", in("checkpoint"), "--resume"));
  assert_succeeds(RUN("train", SLOW, "--record", in("calm.json")));
  unsetenv("FFBENCH_SYSFS");
  record = load(in("r.json"));
  assert_int_equal(json_integer_value(field(record, "time.resumes")), 1);
  assert_true(json_is_true(field(record, "provenance.throttled")));
  json_decref(record);
  record = load(in("calm.json"));
  assert_false(json_is_true(field(record, "provenance.throttled")));
  json_decref(record);
}

/* ---- checkpoints that must be refused
 * --------------------------------------------------------------------------------- */

#define CHECKPOINT "--checkpoint", in("checkpoint"), "--resume", "--record", in("r.json"), "--quiet"

static void make_checkpoint(void) {
  pid_t child =
      START("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "100000", "--set", "model.hidden=8", CHECKPOINT);
  while (!exists(in("checkpoint/ffbench.checkpoint")))
    pause_milliseconds(5);
  kill(child, SIGTERM);
  assert_int_equal(wait_for(child).status, 130);
}

static void change_byte(const char *path, long offset, int whence) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, offset, whence), 0);
  int byte = fgetc(file);
  assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
  fputc(byte ^ 1, file);
  fclose(file);
}

#define RESUME(...) RUN("train", SMALL, "--epochs", "100000", CHECKPOINT, __VA_ARGS__)
#define SAME        "--algorithm", "bp_fp32", "--set", "model.hidden=8"

static void checkpoint_of_another_run_is_refused(void **state) {
  (void)state;
  make_checkpoint();
  const char *path = in("checkpoint/ffbench.checkpoint");
  struct stat before, after;
  assert_int_equal(stat(path, &before), 0);
  assert_fails(RESUME("--algorithm", "bp_fp32", "--set", "model.hidden=9"), 1, "model_options.hidden is \"8\" there");
  assert_fails(RESUME(SAME, "--seed", "2"), 1, "seed is 1 there and 2 here");
  assert_fails(RESUME(SAME, "--set", "momentum=0.5"), 1, "options.momentum");
  assert_fails(RESUME("--algorithm", "bp_int8", "--set", "model.hidden=8"), 1, "another run");
  assert_fails(RUN("train", SAME, SMALL, "--epochs", "5", CHECKPOINT), 1, "epochs is 100000 there and 5 here");
  assert_fails(RUN("train", SAME, SMALL, "--checkpoint", in("checkpoint"), "--record", in("r.json"), "--quiet"), 1,
               "--resume");
  /* Nothing was lost meanwhile. */
  assert_int_equal(stat(path, &after), 0);
  assert_int_equal(before.st_ino, after.st_ino);
}

static void damaged_checkpoint_is_refused(void **state) {
  (void)state;
  make_checkpoint();
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s", in("checkpoint/ffbench.checkpoint"));
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  static const struct {
    long offset;
    int whence;
  } places[] = {{12, SEEK_SET}, {100, SEEK_SET}, {-1000, SEEK_END}, {-1, SEEK_END}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    change_byte(path, places[i].offset, places[i].whence);
    struct result result = RESUME(SAME);
    assert_fails(result, 1, "damaged");
    assert_non_null(strstr(result.errors, path));
    change_byte(path, places[i].offset, places[i].whence);
  }
  assert_int_equal(truncate(path, status.st_size - 500), 0);
  assert_fails(RESUME(SAME), 1, "damaged");
  assert_int_equal(truncate(path, 5), 0);
  assert_fails(RESUME(SAME), 1, "too short");
  FILE *file = fopen(path, "w");
  for (int i = 0; i < 100; i++)
    fputs("no checkpoint", file);
  fclose(file);
  assert_fails(RESUME(SAME), 1, "is none that this ffbench reads");
}

/* Replace the last occurrence of a text in the header, and put length and checksum right. */
static void forge(const char *path, const char *to, const char *from, const char *by) {
  struct ffb_error error;
  struct ffb_sha256 hash;
  uint8_t digest[FFB_SHA256_BYTES];
  size_t bytes;
  char *content = file_read(path, &bytes, &error), *found = NULL;
  assert_non_null(content);
  uint64_t length;
  memcpy(&length, content + 8, sizeof length); /* both ends are little-endian */
  size_t end = 16 + (size_t)length, cut = strlen(from), added = strlen(by);
  for (char *at = content + 16; at + cut <= content + end; at++)
    if (memcmp(at, from, cut) == 0)
      found = at;
  assert_non_null(found);
  char *forged = malloc(bytes + added);
  size_t before = (size_t)(found - content), after = bytes - sizeof digest - before - cut;
  memcpy(forged, content, before);
  memcpy(forged + before, by, added);
  memcpy(forged + before + added, found + cut, after);
  length += added - cut;
  memcpy(forged + 8, &length, sizeof length);
  ffb_sha256_begin(&hash);
  ffb_sha256_add(&hash, forged, before + added + after);
  ffb_sha256_end(&hash, digest);
  memcpy(forged + before + added + after, digest, sizeof digest);
  assert_true(file_replace(to, forged, before + added + after + sizeof digest, "", &error));
  free(forged);
  ffb_free(content);
}

/* Its checksum is right, its claims are not. */
static void forged_checkpoint_is_refused(void **state) {
  static const struct {
    const char *from, *by, *says;
  } cases[] = {{"\"trainer_bytes\":", "\"trainer_bytes\":-1", "claims more than it holds"},
               {"\"trainer_bytes\":", "\"trainer_bytes\":900000000", "claims more than it holds"},
               {"\"steps\":", "\"steps\":-1", "claims more than it holds"},
               {"\"steps\":", "\"steps\":900000000", "claims more than it holds"},
               {"\"readings\":", "\"readings\":-1", "claims more than it holds"},
               {"\"readings\":", "\"readings\":230584300921369395", "claims more than it holds"},
               {"\"resumes\":", "\"resumes\":9999999999", "its history cannot be read"},
               {"\"epochs\":[", "\"epochs\":[7,", "its history cannot be read"},
               {"\"batch\":", "\"batch\":9999999", "it claims epoch"},
               {"\"tensors\":[", "\"tensors\":[1,", "another build"},
               {"\"options\":{", "\"options\":{\"extra\":1,", "options.extra is 1 there and absent here"}};
  char path[PATH_MAX], kept[PATH_MAX];
  (void)state;
  make_checkpoint();
  snprintf(path, sizeof path, "%s", in("checkpoint/ffbench.checkpoint"));
  snprintf(kept, sizeof kept, "%s", in("kept"));
  assert_int_equal(rename(path, kept), 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    forge(kept, path, cases[i].from, cases[i].by);
    assert_fails(RESUME(SAME), 1, cases[i].says);
  }
}

/* ---- plugins and weights
 * --------------------------------------------------------------------------------------------- */

static void template_trainer_builds_elsewhere_and_runs(void **state) {
  (void)state;
  char command[4 * PATH_MAX], here[PATH_MAX];
  assert_non_null(getcwd(here, sizeof here));
  /* A sanitized object needs the flags of the program that opens it. */
#if defined __SANITIZE_ADDRESS__
  static const char flags[] = " -fsanitize=address,undefined";
#elif defined __SANITIZE_THREAD__
  static const char flags[] = " -fsanitize=thread";
#else
  static const char flags[] = "";
#endif
  snprintf(command, sizeof command,
           "cp -r docs/template-trainer %s/mine && make -s -C %s/mine FFBENCH=%s FFBENCH_BUILD=%s/" FFB_BUILD_DIRECTORY
           " CFLAGS='-O1 -Wall -Wextra -Wpedantic -Werror%s' && " PROGRAM
           " train --plugin %s/mine/feedback_alignment.so --dataset synthetic_digits --synthetic-train 1200"
           " --synthetic-test 400 --epochs 4 --set model.hidden=64 --set learning_rate=0.2 --record %s",
           folder, folder, here, here, flags, folder, in("r.json"));
  assert_succeeds(wait_for(start("/bin/sh", LIST("-c", command))));
  json_t *record = load(in("r.json"));
  assert_string_equal(json_string_value(field(record, "config.algorithm")), "feedback_alignment");
  assert_true(json_number_value(field(record, "accuracy.test")) > 40);
  json_decref(record);
}

static void weights_are_saved_when_asked(void **state) {
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--record", in("r.json"),
                      "--save-weights", in("weights.safetensors")));
  struct stat status;
  assert_int_equal(stat(in("weights.safetensors"), &status), 0);
  /* 784 x 24, 24 x 16 and 16 x 10 floats, and a header. */
  assert_true(status.st_size > 4 * (784 * 24 + 24 * 16 + 16 * 10));
  assert_nothing_temporary();
}

/* Weights that were saved, loaded and evaluated: the same weights, the same accuracy, not one step. */
/* A line for each test record: what the accuracy in the record was counted from. */
static void scores_are_saved_when_asked(void **state) {
  (void)state;
  enum { RECORDS = 40, CLASSES = 10 };
  char text[OUTPUT_BYTES], *rest, *line;
  bool seen[RECORDS] = {false};
  int lines = 0, right = 0;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--record", in("r.json"),
                      "--save-scores", in("scores.csv")));
  read_text(in("scores.csv"), text);
  for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char *at = line;
    lines++;
    long record = strtol(at, &at, 10), label = strtol(at + 1, &at, 10), best = 0;
    double scores[CLASSES];
    assert_true(record >= 0 && record < RECORDS && !seen[record]);
    seen[record] = true;
    for (int c = 0; c < CLASSES; c++) {
      assert_int_equal(*at, ',');
      scores[c] = strtod(at + 1, &at);
      best = scores[c] > scores[best] ? c : best;
    }
    assert_int_equal(*at, '\0');
    right += best == label;
  }
  assert_int_equal(lines, RECORDS);
  json_t *record = load(in("r.json"));
  assert_float_equal(json_number_value(field(record, "accuracy.test")), 100.0 * right / RECORDS, 1e-9);
  json_decref(record);
  assert_nothing_temporary();
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--skip-test", "--save-scores", in("scores.csv")), 2,
               "--skip-test");
}

static void loaded_weights_are_evaluated(void **state) {
  static const char *const same[] = {"weights_sha256", "accuracy.test", "accuracy.validation"};
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "4", NETWORK, "--record", in("r.json"),
                      "--save-weights", in("weights.safetensors")));
  struct result result = RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "0", "--seed", "1", NETWORK,
                             "--load-weights", in("weights.safetensors"), "--record", in("again.json"));
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "evaluated"));
  json_t *trained = load(in("r.json")), *loaded = load(in("again.json"));
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    assert_true(json_equal(field(trained, same[i]), field(loaded, same[i])));
  assert_string_equal(json_string_value(field(loaded, "status")), "evaluated");
  assert_int_equal(json_array_size(field(loaded, "epochs")), 0);
  assert_int_equal(json_integer_value(field(loaded, "time.steps")), 0);
  assert_string_equal(json_string_value(field(loaded, "loaded_weights.file")), "weights.safetensors");
  assert_int_equal(strlen(json_string_value(field(loaded, "loaded_weights.sha256"))), FFB_SHA256_TEXT - 1);
  json_decref(trained);
  json_decref(loaded);
  /* Drawn weights are others. */
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "0", NETWORK, "--record", in("r.json")));
  json_t *drawn = load(in("r.json"));
  loaded = load(in("again.json"));
  assert_false(json_equal(field(drawn, "weights_sha256"), field(loaded, "weights_sha256")));
  json_decref(drawn);
  json_decref(loaded);
}

static void training_goes_on_from_loaded_weights(void **state) {
  char fresh[FFB_SHA256_TEXT], one[FFB_SHA256_TEXT], two[FFB_SHA256_TEXT];
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "2", NETWORK, "--record", in("r.json"),
                      "--save-weights", in("weights.safetensors")));
  weights_of(in("r.json"), fresh);
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "2", NETWORK, "--load-weights",
                      in("weights.safetensors"), "--record", in("one.json")));
  weights_of(in("one.json"), one);
  compare_killed(WHOLE("--algorithm", "bp_fp32", "--epochs", "60", "--load-weights", in("weights.safetensors")),
                 KILLED("--algorithm", "bp_fp32", "--epochs", "60", "--load-weights", in("weights.safetensors")), 5);
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "2", NETWORK, "--load-weights",
                      in("weights.safetensors"), "--record", in("two.json")));
  weights_of(in("two.json"), two);
  assert_string_equal(one, two);
  assert_string_not_equal(one, fresh);
}

static void weights_that_do_not_fit_are_refused(void **state) {
  (void)state;
  assert_succeeds(RUN("train", "--algorithm", "bp_fp32", SMALL, EPOCHS, NETWORK, "--record", in("r.json"),
                      "--save-weights", in("weights.safetensors")));
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "0", "--set", "model.hidden=24,17",
                   "--load-weights", in("weights.safetensors"), "--record", in("x.json")),
               1, "weights.safetensors");
  assert_fails(RUN("train", "--algorithm", "bp_fp32", SMALL, "--epochs", "0", "--load-weights", in("absent"),
                   "--record", in("x.json")),
               1, in("absent"));
  assert_fails(
      RUN("train", "--plugin", NO_RELOAD, SMALL, "--load-weights", in("weights.safetensors"), "--record", in("x.json")),
      2, "weights_loaded");
  assert_false(exists(in("x.json")));
}

/* Its own channels stand beside those of the images, up to what a backend can take. */
static void trainer_may_add_channels(void **state) {
  (void)state;
  json_int_t parameters[2];
  for (int extra = 0; extra < 2; extra++) {
    assert_succeeds(RUN("train", "--plugin", COUNTING, SMALL, "--epochs", "1", NETWORK, "--record", in("r.json"),
                        "--set", extra ? "extra_channels=1" : "extra_channels=0"));
    json_t *record = load(in("r.json"));
    parameters[extra] = json_integer_value(field(record, "model.parameters"));
    json_decref(record);
  }
  assert_int_equal(parameters[1] - parameters[0], 784 * 24);
  assert_fails(
      RUN("train", "--plugin", COUNTING, SMALL, "--set", "extra_channels=4", "--record", in("x.json"), "--quiet"), 1,
      "at most 4");
}

/* ---- profiles -------------------------------------------------------------------------------------------------------
 */

/* The number in a column of the line that starts with `label`; columns count from 0 after the label. */
static double column(const char *table, const char *label, int number) {
  char start[64];
  snprintf(start, sizeof start, "\n%s ", label);
  const char *line = strstr(table, start);
  if (!line)
    fail_msg("no line %s in %s", label, table);
  line += strlen(start);
  char copy[256], *rest = copy;
  snprintf(copy, sizeof copy, "%.*s", (int)strcspn(line, "\n"), line);
  char *word = strtok_r(copy, " %", &rest);
  while (number-- > 0)
    word = strtok_r(NULL, " %", &rest);
  assert_non_null(word);
  return strtod(word, NULL);
}

enum { CALLS, MILLISECONDS, SHARE, FLOOR, RATIO };

static void profile_accounts_for_a_step(void **state) {
  (void)state;
  struct result result = RUN("train", "--algorithm", "bp_fp32", SMALL, "--profile-steps", "5", "--set",
                             "model.hidden=200,100", "--set", "update=separate", "--record", in("r.json"));
  assert_succeeds(result);
  const char *table = result.output;
  /* Two hidden layers and a classifier: a weight gradient and an update each. */
  assert_float_equal(column(table, "sgd_update", CALLS), 3, 0);
  assert_float_equal(column(table, "convert_images", CALLS), 1, 0);
  double all = column(table, "all calls", MILLISECONDS), rest = column(table, "outside of the calls", MILLISECONDS);
  double step = column(table, "step", MILLISECONDS);
  assert_true(all > 0 && rest >= 0);
  assert_float_equal(all + rest, step, 2e-4);
  assert_float_equal(column(table, "step", SHARE), 100, 0.1);
  assert_true(column(table, "sgd_update", FLOOR) > 0);
  /* Momentum and weights are read and written, gradients read: five floats for each of 99,400 weights. */
  double bandwidth = 5 * 4 * 0.1778e6 / (column(table, "sgd_update", FLOOR) / 1e3);
  assert_true(bandwidth > 1e8 && bandwidth < 1e13);
  assert_false(exists(in("r.json")));
  assert_nothing_temporary();
}

static void profile_shows_every_call(void **state) {
  (void)state;
  struct result result =
      RUN("train", "--algorithm", "ff_int8", SMALL, NETWORK, "--profile-steps", "2", "--profile-by", "call");
  assert_succeeds(result);
  assert_non_null(strstr(result.output, "\nconvert_images input 60x28x28 "));
  assert_non_null(strstr(result.output, "linear_update_s8 "));
  result = RUN("train", "--plugin", COUNTING, SMALL, "--backend", "reference", "--profile-steps", "2");
  assert_succeeds(result);
  assert_float_equal(column(result.output, "fill", CALLS), 1, 0);
  assert_non_null(strstr(result.output, "for the backend cpu only"));
}

/* The number behind `words` in a text. */
static double number_after(const char *text, const char *words) {
  const char *found = strstr(text, words);
  if (!found)
    fail_msg("no \"%s\" in %s", words, text);
  return strtod(found + strlen(words), NULL);
}

/* The last maps have one pixel, which a 3x3 kernel meets with one tap of nine: weights 512x512 that are read,
 * multiplied and written, without momentum nothing else, and 32 rows of either side. */
static void floors_leave_padding_out(void **state) {
  (void)state;
  struct result result = RUN("train", "--algorithm", "bp_fp32", "--model", "resnet18", "--dataset", "synthetic_shapes",
                             "--synthetic-train", "200", "--synthetic-test", "20", "--batch", "32", "--set",
                             "momentum=0", "--profile-steps", "1", "--profile-by", "call");
  assert_succeeds(result);
  const char *table = result.output;
  double operations = 2.0 * 32 * 512 * 512 / (number_after(table, "(FP32 ") * 1e9);
  double bytes = 4.0 * (2 * 512 * 512 + 2 * 32 * 512) / (number_after(table, "measured speed (") * 1e9);
  double expected = 1e3 * (operations > bytes ? operations : bytes);
  double floor_ms = column(table, "convolve_update_f32 layer4.1.conv2.weight 512x3x3x512", FLOOR);
  assert_float_equal(floor_ms / expected, 1, 0.03); /* peaks and floors are printed rounded */
}

/* ---- documents with tables from reports ------------------------------------------------------------------------ */

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

#define EMBED(...) wait_for(start("scripts/embed", LIST(__VA_ARGS__)))

/* Another number in the report is noticed, and put into the document; what stands around it stays. */
static void reports_are_embedded_in_documents(void **state) {
  (void)state;
  char text[3 * PATH_MAX], after[OUTPUT_BYTES];
  const char *document = in("document.md"), *report = in("report.md");
  snprintf(text, sizeof text, "# Mine\n\n<!-- embed %s -->\n<!-- end of %s -->\n\nThe end.\n", report, report);
  write_text(document, text);
  assert_int_equal(EMBED(document).status, 1); /* no report */
  read_text(document, after);
  assert_string_equal(after, text);
  write_text(report, "# Title\n\n## Part\n\na | 1\n");
  assert_int_equal(EMBED("--check", document).status, 1);
  read_text(document, after);
  assert_string_equal(after, text);
  assert_succeeds(EMBED(document));
  assert_succeeds(EMBED("--check", document));
  read_text(document, after);
  snprintf(text, sizeof text, "# Mine\n\n<!-- embed %s -->\n\n### Part\n\na | 1\n<!-- end of %s -->\n\nThe end.\n",
           report, report);
  assert_string_equal(after, text);
  write_text(report, "# Title\n\n## Part\n\na | 2\n");
  struct result result = EMBED("--check", document);
  assert_int_equal(result.status, 1);
  assert_non_null(strstr(result.errors, "not what its reports say"));
  write_text(document, "<!-- embed x -->\n");
  assert_int_equal(EMBED(document).status, 1);
}

/* A picture beside the report is found from the document, an address stays. */
static void embedded_links_lead_to_their_files(void **state) {
  (void)state;
  char text[4 * PATH_MAX], expected[PATH_MAX], after[OUTPUT_BYTES];
  const char *document = in("document.md"), *report = in("report.md");
  snprintf(text, sizeof text, "<!-- embed %s -->\n<!-- end of %s -->\n", report, report);
  write_text(document, text);
  write_text(report, "![a](plots/a.svg) [b](plots/b.png), [c](https://c.org/) [d](#d) (e)\n");
  assert_succeeds(EMBED(document));
  read_text(document, after);
  snprintf(expected, sizeof expected, "![a](%s/plots/a.svg) [b](%s/plots/b.png), [c](https://c.org/) [d](#d) (e)\n",
           folder, folder);
  assert_non_null(strstr(after, expected));
}

static void documents_say_what_their_reports_say(void **state) {
  (void)state;
  assert_succeeds(EMBED("--check", "docs/readings.md", "docs/results.md"));
}

/* ---- set-up
 * ---------------------------------------------------------------------------------------------------------- */

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
  /* Threads that spin while they wait would take the processors from each other. */
  setenv("OMP_WAIT_POLICY", "passive", 1);
  const struct CMUnitTest tests[] = {
      CASE(wrong_usage_ends_with_2),
      CASE(help_tells_the_options),
      CASE(list_shows_everything),
      CASE(doctor_concludes),
      CASE(doctor_looks_at_clocks_and_heat),
      CASE(output_that_is_not_read_is_a_failure),
      CASE(record_holds_what_it_must),
      CASE(peaks_are_measured_when_asked),
      CASE(every_step_is_timed),
      CASE(record_has_what_was_executed),
      CASE(table4_counts_twice),
      CASE(memory_is_told_from_records),
      CASE(command_of_a_record_repeats_it),
      CASE(places_that_cannot_be_written_are_refused),
      CASE(full_disk_costs_no_earlier_record),
      CASE(run_goes_on_without_room_for_checkpoints),
      CASE(one_record_is_made_by_one_process),
      CASE(diverged_run_says_so),
      CASE(divergence_ends_an_epoch),
      CASE(readings_of_lookahead_are_trained),
      CASE(experiment_goes_on_after_a_diverged_run),
      CASE(failing_step_leaves_no_record),
      CASE(same_seed_gives_the_same_weights),
      CASE(empty_text_is_no_hidden_layer),
      CASE(test_accuracy_by_epoch_when_asked),
      CASE(killed_run_ends_with_the_same_weights),
      CASE(killed_augmented_run_saw_the_same_batches),
      CASE(killed_bp_ui8_ends_with_the_same_weights),
      CASE(killed_ff_int8_ends_with_the_same_weights),
      CASE(gradients_change_no_weight),
      CASE(gradients_are_in_the_record),
      CASE(gradients_are_those_of_the_first_records),
      CASE(gradients_that_cannot_be_had_are_refused),
      CASE(killed_run_keeps_its_gradients),
      CASE(interrupted_run_leaves_a_checkpoint),
      CASE(interruption_spares_a_finished_record),
      CASE(throttling_is_remembered),
      CASE(checkpoint_of_another_run_is_refused),
      CASE(damaged_checkpoint_is_refused),
      CASE(forged_checkpoint_is_refused),
      CASE(template_trainer_builds_elsewhere_and_runs),
      CASE(weights_are_saved_when_asked),
      CASE(scores_are_saved_when_asked),
      CASE(loaded_weights_are_evaluated),
      CASE(training_goes_on_from_loaded_weights),
      CASE(weights_that_do_not_fit_are_refused),
      CASE(trainer_may_add_channels),
      CASE(profile_accounts_for_a_step),
      CASE(profile_shows_every_call),
      CASE(floors_leave_padding_out),
      CASE(reports_are_embedded_in_documents),
      CASE(embedded_links_lead_to_their_files),
      CASE(energy_can_be_computed_again),
      CASE(energy_of_a_killed_run_can_be_computed_again),
      CASE(two_readers_that_disagree_are_told),
      CASE(documents_say_what_their_reports_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
