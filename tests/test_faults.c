/* The program when the world does not play along: killed at any moment, a disk that is full or may not be written,
 * memory that is refused, a thread that dies. Commands run in forks of this process, which has its own doors to files,
 * memory and the engine, so that every single call can be made to fail. What each case gave is the table in
 * docs/measurement.md. */
#include "base/memory.h"
#include "base/random.h"
#include "harness/commands.h"
#include "harness/data.h"
#include "harness/experiment.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/record.h"
#include "harness/registry.h"
#include "tests/folder.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
enum { SANITIZED = 1 };
static bool has_leaks(void) {
  return __lsan_do_recoverable_leak_check() != 0;
}
#else
enum { SANITIZED = 0 };
static bool has_leaks(void) {
  return false;
}
#endif

enum { ARGUMENTS = 48, TEXT_BYTES = 1 << 16, LEAKED = 99, PLACE_BYTES = 160, KILLED = -SIGKILL };

static const unsigned long never = 1000000000;

/* ---- disturbances ---------------------------------------------------------------------------------------------- */

/* What goes wrong in one fork. */
struct disturbance {
  unsigned long allocation; /* the one that is refused, from 1; 0: none */
  bool lasting;             /* and all after it */
  const char *place;        /* what is done to files whose path has this in it counts */
  unsigned long file_call;  /* the one that goes wrong, from 1; 0: none */
  int code;                 /* errno of it and of all after it; 0: it is the last, by SIGKILL */
  long microseconds;        /* until SIGKILL; 0: none */
  int64_t fatal_epoch;      /* the first that the thread that prepares batches does not survive; 0: none */
  bool plain;               /* as a user for whom permissions hold */
};

/* What a fork tells. */
struct told {
  unsigned long left;    /* allocations until the refused one */
  unsigned long refused; /* allocations */
  char place[PATH_MAX];  /* where a file call went wrong */
};

static struct told *told;
static struct disturbance now;
static unsigned long file_calls;

/* Whether this call is to go wrong. */
static bool goes_wrong(const char *path) {
  if (!now.file_call || !path || !strstr(path, now.place) || ++file_calls < now.file_call)
    return false;
  if (file_calls == now.file_call)
    snprintf(told->place, sizeof told->place, "%s", path);
  return true;
}

static void strike(void) {
  if (!now.code)
    kill(getpid(), SIGKILL);
  errno = now.code;
}

#define FIND_REAL(name)                                                                                                \
  static __typeof__(name) *real;                                                                                       \
  if (!real) {                                                                                                         \
    void *found = dlsym(RTLD_NEXT, #name);                                                                             \
    memcpy(&real, &found, sizeof real);                                                                                \
  }

static const char *path_of(int descriptor, char path[PATH_MAX]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = now.file_call && descriptor > STDERR_FILENO ? readlink(link, path, PATH_MAX - 1) : -1;
  if (length < 0)
    return NULL;
  path[length] = '\0';
  return path;
}

FILE *fopen(const char *path, const char *mode) {
  FIND_REAL(fopen)
  if (mode[0] == 'w' && goes_wrong(path)) {
    strike();
    return NULL;
  }
  return real(path, mode);
}

int open(const char *path, int flags, ...) {
  FIND_REAL(open)
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (flags & O_CREAT && goes_wrong(path)) {
    strike();
    return -1;
  }
  return real(path, flags, mode);
}

/* The half of it gets through. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
  FIND_REAL(fwrite)
  char path[PATH_MAX];
  if (!goes_wrong(path_of(fileno(stream), path)))
    return real(data, size, count, stream);
  size_t half = real(data, 1, size * count / 2, stream);
  fflush_unlocked(stream);
  strike();
  return half / size;
}

int fflush(FILE *stream) {
  FIND_REAL(fflush)
  char path[PATH_MAX];
  if (!stream || !goes_wrong(path_of(fileno(stream), path)))
    return real(stream);
  strike();
  return EOF;
}

/* Only a machine that stops needs the real one, which may take long. */
int fsync(int descriptor) {
  char path[PATH_MAX];
  if (!goes_wrong(path_of(descriptor, path)))
    return 0;
  strike();
  return -1;
}

int rename(const char *from, const char *to) {
  FIND_REAL(rename)
  if (!goes_wrong(to))
    return real(from, to);
  strike();
  return -1;
}

int mkdir(const char *path, mode_t mode) {
  FIND_REAL(mkdir)
  if (access(path, F_OK) == 0 || !goes_wrong(path))
    return real(path, mode);
  strike();
  return -1;
}

/* On a full disk files can be removed. */
int unlink(const char *path) {
  FIND_REAL(unlink)
  if (!now.code && goes_wrong(path))
    strike();
  return real(path);
}

/* The engine's, in whose place this one is called. */
void ffb_random_permutation(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t *order, uint32_t count) {
  FIND_REAL(ffb_random_permutation)
  if (now.fatal_epoch && step >= now.fatal_epoch && purpose == FFB_PURPOSE_SHUFFLE && gettid() != getpid())
    pthread_exit(NULL);
  real(seed, purpose, step, order, count);
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static char *read_text(const char *path, char text[TEXT_BYTES]) {
  FILE *file = fopen(path, "r");
  if (!file)
    fail_msg("%s is not there", path);
  size_t got = fread(text, 1, TEXT_BYTES, file);
  assert_true(got < TEXT_BYTES);
  text[got] = '\0';
  fclose(file);
  return text;
}

static int execute(const char *const *arguments) {
  char *argv[ARGUMENTS] = {NULL};
  int argc = 0;
  for (; arguments[argc]; argc++)
    argv[argc] = (char *)arguments[argc];
  if (strcmp(argv[0], "train") == 0)
    return train_command(argc, argv);
  return strcmp(argv[0], "list") == 0 ? list_command(argc, argv) : experiment_command(argc, argv);
}

/* Root may write what it has no permission for. */
static bool become_plain(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
  return syscall(SYS_capset, &header, sets) == 0;
}

static _Noreturn void be_disturbed(const char *const *arguments, const struct disturbance *disturbance) {
  int out = open(in("output"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  int err = open(in("errors"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0 || (disturbance->plain && !become_plain()))
    _exit(126);
  unsigned long refused = ffb_refused_allocations();
  now = *disturbance;
  (now.lasting ? ffb_fail_allocations : ffb_fail_allocation)(now.allocation);
  int status = execute(arguments);
  now.file_call = 0;
  told->left = ffb_fail_allocation(0);
  told->refused = ffb_refused_allocations() - refused;
  data_forget();
  fflush(stdout);
  _exit(has_leaks() ? LEAKED : status);
}

static char errors[TEXT_BYTES];

/* The exit status, or minus the signal that ended it. */
static int run(const char *const *arguments, const struct disturbance *disturbance) {
  int status;
  fflush(NULL);
  *told = (struct told){.left = 0};
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    be_disturbed(arguments, disturbance);
  if (disturbance->microseconds) {
    struct timespec pause = {.tv_sec = disturbance->microseconds / 1000000,
                             .tv_nsec = disturbance->microseconds % 1000000 * 1000};
    nanosleep(&pause, NULL);
    kill(child, SIGKILL);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  read_text(in("errors"), errors);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const struct disturbance nothing = {.allocation = 0};

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void run_well(const char *const *arguments) {
  int status = run(arguments, &nothing);
  if (status != 0)
    fail_msg("%s ended with %d: %s", arguments[0], status, errors);
}

/* The last line on stderr, which is the error; those before are notes. */
static const char *last_line(void) {
  size_t length = strlen(errors);
  if (length > 0 && errors[length - 1] == '\n')
    errors[length - 1] = '\0';
  const char *newline = strrchr(errors, '\n');
  return newline ? newline + 1 : errors;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

#define DOCUMENT "docs/measurement.md"
#define TABLE    FFB_BUILD_DIRECTORY "/tests/program_faults.md"

enum { ROWS = 24, ROW_BYTES = 1024, SAID_BYTES = 640 };

static char rows[ROWS][ROW_BYTES];
static int row_count;

/* The error as it stands in the table: without the test's own folder. */
static const char *said(void) {
  static char text[SAID_BYTES];
  size_t used = 0, length = strlen(folder);
  const char *line = last_line();
  while (*line && used + 1 < sizeof text)
    if (strncmp(line, folder, length) == 0 && line[length] == '/')
      line += length + 1;
    else
      text[used++] = *line++;
  text[used] = '\0';
  return text;
}

/* After what it says was found true. */
static void add_row(const char *fault, const char *error, const char *left) {
  assert_true(row_count < ROWS);
  int length = snprintf(rows[row_count++], ROW_BYTES, "| %s | %s%s%s | %s |\n", fault, *error ? "`" : "", error,
                        *error ? "`" : "", left);
  assert_in_range(length, 1, ROW_BYTES - 1);
}

/* Where a case is skipped, its row is not held to. */
static void the_document_has_the_table(void **state) {
  (void)state;
  struct ffb_error error = {0};
  size_t bytes;
  FILE *table = fopen(TABLE, "w");
  assert_non_null(table);
  fputs("| what goes wrong | what is said | what is left |\n|---|---|---|\n", table);
  for (int i = 0; i < row_count; i++)
    fputs(rows[i], table);
  fclose(table);
  char *document = file_read(DOCUMENT, &bytes, &error);
  assert_non_null(document);
  for (int i = 0; i < row_count; i++)
    if (!strstr(document, rows[i]))
      fail_msg("%s does not say what the faults did: put %s in the place of its table: %s", DOCUMENT, TABLE, rows[i]);
  ffb_free(document);
}

/* ---- what is left ----------------------------------------------------------------------------------------------- */

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static json_t *load(const char *path) {
  json_error_t problem;
  json_t *record = json_load_file(path, 0, &problem);
  if (!record)
    fail_msg("%s is damaged: %s", path, problem.text);
  return record;
}

/* Differs from run to run, in value and whether it is known, but not in what is told. */
static bool is_volatile(const char *key) {
  static const char *const keys[] = {"time", "energy", "provenance", "memory", "seconds", "joules"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (strcmp(keys[i], key) == 0)
      return true;
  return false;
}

static bool is_same(const json_t *one, const json_t *other, bool loose, char *place);

static bool is_same_below(const char *key, const json_t *one, const json_t *other, bool loose, char *place) {
  bool same = other && is_same(one, other, loose || is_volatile(key), place);
  if (!same) {
    char rest[128];
    snprintf(rest, sizeof rest, "%.100s", place);
    snprintf(place, PLACE_BYTES, "%.20s.%s", key, rest);
  }
  return same;
}

/* Everything that one has is in the other, and the same but for what times and places make of it. */
static bool is_same(const json_t *one, const json_t *other, bool loose, char *place) {
  const char *key;
  json_t *value;
  size_t index;
  bool same = true;
  if (json_is_object(one)) {
    json_object_foreach((json_t *)one, key, value) {
      same = same && is_same_below(key, value, json_object_get(other, key), loose, place);
    }
    return same;
  }
  if (json_is_array(one)) {
    same = json_is_array(other) && json_array_size(one) == json_array_size(other);
    json_array_foreach((json_t *)one, index, value) {
      same = same && is_same_below("[]", value, json_array_get(other, index), loose, place);
    }
    return same;
  }
  return loose ? !json_is_object(other) && !json_is_array(other) : json_equal(one, other);
}

/* A record under its final name is a whole one. */
static void assert_whole(const char *path, const json_t *whole) {
  if (!exists(path))
    return;
  json_t *record = load(path);
  char place[PLACE_BYTES] = "";
  if (!is_same(whole, record, false, place) || !is_same(record, whole, false, place))
    fail_msg("%s is not whole: %s: %s", path, place, errors);
  json_decref(record);
}

static void remove_folder_of(const char *path) {
  if (exists(path))
    assert_int_equal(scratch_remove(path), 0);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

#define TINY                                                                                                           \
  "--dataset", "synthetic_digits", "--synthetic-train", "40", "--synthetic-test", "10", "--batch", "20", "--backend",  \
      "reference", "--epochs", "2", "--set", "model.hidden=6", "--quiet"
#define PLACES                                                                                                         \
  "--record", in("out/r.json"), "--checkpoint", in("out/checkpoint"), "--save-weights", in("out/weights"),             \
      "--save-scores", in("out/scores.csv"), "--resume"

/* Every call up to one, then some of them; all of them, which takes minutes, where FFBENCH_EVERY_FAULT is set. */
struct sweep {
  unsigned long every, step;
  unsigned seed;
};

static unsigned long next_call(struct sweep *sweep, unsigned long n) {
  return n < sweep->every || getenv("FFBENCH_EVERY_FAULT") ? n + 1
                                                           : n + 1 + (unsigned long)rand_r(&sweep->seed) % sweep->step;
}

/* How many allocations a command makes. */
static unsigned long count_allocations(const char *const *arguments) {
  const struct disturbance disturbance = {.allocation = never};
  int status = run(arguments, &disturbance);
  if (status != 0)
    fail_msg("%s ended with %d: %s", arguments[0], status, errors);
  return never - told->left;
}

/* A clean end: all is well, or the last line, after notes of checkpoints, says that memory ran out. */
static void assert_clean(int status, unsigned long n) {
  if (status == 0)
    return;
  const char *line = last_line();
  if ((status != 1 && status != 2) || strncmp(line, "ffbench: ", 9) != 0 ||
      !(strstr(line, "out of memory") || strstr(line, "no room for an arena")))
    fail_msg("without allocation %lu: status %d: %s", n, status, errors);
}

static void starve_training(const char *const *arguments, struct sweep sweep) {
  run_well(arguments);
  json_t *whole = load(in("out/r.json"));
  remove_folder_of(in("out"));
  unsigned long total = count_allocations(arguments);
  sweep.step = total / (SANITIZED ? 10 : 40);
  char row[ROW_BYTES] = "";
  for (unsigned long n = 1; n <= total; n = next_call(&sweep, n)) {
    const struct disturbance disturbance = {.allocation = n, .lasting = n % 2};
    remove_folder_of(in("out"));
    int status = run(arguments, &disturbance);
    assert_clean(status, n);
    assert_whole(in("out/r.json"), whole);
    assert_nothing_temporary();
    assert_true(status != 0 || exists(in("out/r.json")));
    if (status == 1 && !*row)
      snprintf(row, sizeof row, "%s", said());
    if (status == 0 || n % 8)
      continue;
    /* What lies there after the failure is no obstacle. */
    run_well(arguments);
    assert_whole(in("out/r.json"), whole);
  }
  json_decref(whole);
  char fault[128];
  snprintf(fault, sizeof fault, "memory is refused to `%s --algorithm %s`, once or from then on", arguments[0],
           arguments[2]);
  add_row(fault, row, "no record or a whole one; the same command, with memory, makes the same record");
}

static void training_without_memory_ends_cleanly(void **state) {
  (void)state;
  starve_training(LIST("train", "--algorithm", "bp_fp32", TINY, PLACES, "--gradient-statistics", "10"),
                  (struct sweep){.every = SANITIZED ? 30 : 250, .seed = 1});
}

static void forward_forward_without_memory_ends_cleanly(void **state) {
  (void)state;
  starve_training(LIST("train", "--algorithm", "ff_int8", TINY, PLACES), (struct sweep){.every = 20, .seed = 2});
}

static const char experiment_text[] =
    "local figures, tables = require 'lib.figures', require 'lib.tables'\n"
    "return experiment {\n"
    "  name = 'two', title = 'Two',\n"
    "  models = { mlp = { dataset = 'synthetic_digits', backend = 'reference', options = { hidden = '6' } } },\n"
    "  algorithms = { { 'bp_fp32' }, { 'ff_int8' } },\n"
    "  profiles = { smoke = { epochs = 6, batch = 10, synthetic_train = 60, synthetic_test = 20,\n"
    "                         seeds = { 1, 2, 3, 4 } } },\n"
    "  report = function(results)\n"
    "    local list, series = tables.new { 'Row', 'Test', 'Validation', 'Memory', 'Epochs' }, {}\n"
    "    for i, row in ipairs(results.models[1].rows) do\n"
    "      list:add(row.title, row:text('accuracy'), row:text('validation'), row:text('memory'), row:text('epochs'))\n"
    "      series[i] = { title = row.title, points = figures.by_epoch(row, 'loss') }\n"
    "    end\n"
    "    return { list, figures.new { name = 'curve', title = 'Loss', x = { title = 'Epoch' }, y = { title = 'Loss' "
    "},\n"
    "                                 series = series } }\n"
    "  end,\n"
    "}\n";

#define EXPERIMENT(verb, results, ...)                                                                                 \
  LIST(verb, in("two.lua"), "--profile", "smoke", "--results", in(results), __VA_ARGS__)
#define FEW "--set", "seeds=1", "--set", "epochs=2"

static void write_experiment(void) {
  struct ffb_error error;
  assert_true(file_replace(in("two.lua"), experiment_text, strlen(experiment_text), "", &error));
}

static void starve_report(const char *const *arguments, struct sweep sweep, int samples) {
  static char table[TEXT_BYTES], again[TEXT_BYTES];
  run_well(arguments);
  read_text(in("out/two.md"), table);
  unsigned long total = count_allocations(arguments);
  sweep.step = 2 * total / (unsigned long)samples + 1;
  char fault[128], row[ROW_BYTES] = "";
  for (unsigned long n = 1; n <= total; n = next_call(&sweep, n)) {
    const struct disturbance disturbance = {.allocation = n, .lasting = n % 2};
    int status = run(arguments, &disturbance);
    assert_clean(status, n);
    if (status == 1 && !*row)
      snprintf(row, sizeof row, "%s", said());
    assert_string_equal(read_text(in("out/two.md"), again), table);
    assert_nothing_temporary();
  }
  snprintf(fault, sizeof fault, "memory is refused to `%s`, once or from then on", arguments[0]);
  if (*row)
    add_row(fault, row, "the tables and records from before");
}

static void reports_without_memory_end_cleanly(void **state) {
  (void)state;
  write_experiment();
  run_well(EXPERIMENT("run", "out", FEW, "--quiet"));
  starve_report(EXPERIMENT("report", "out", FEW, "--page", in("out/page.html")),
                (struct sweep){.every = SANITIZED ? 20 : 200, .seed = 3}, SANITIZED ? 8 : 20);
  starve_report(EXPERIMENT("check", "out", FEW, "--junit", in("out/junit.xml")), (struct sweep){.every = 5, .seed = 4},
                SANITIZED ? 6 : 14);
  starve_report(EXPERIMENT("run", "out", FEW), (struct sweep){.every = 5, .seed = 5}, SANITIZED ? 6 : 14);
  starve_report(LIST("list"), (struct sweep){.every = 50, .seed = 6}, 10);
}

/* Of so many calls that a random choice comes further and further apart. */
static unsigned long next_of_many(unsigned long n) {
  struct sweep sweep = {.every = 20, .step = n / (SANITIZED ? 1 : 2) + 1, .seed = (unsigned)n};
  return next_call(&sweep, n);
}

/* Lua's allocations are those of a process of its own, which begins where this one stands. */
static void scripts_without_memory_end_cleanly(void **state) {
  (void)state;
  struct ffb_error error;
  write_experiment();
  json_t *registry = registry_json(&error);
  json_t *input = json_pack("{s:s, s:s, s:s, s:b, s:b, s:o, s:[], s:n}", "mode", "describe", "profile", "smoke",
                            "version", "ffbench", "draws", 0, "page", 0, "registry", registry, "set", "only");
  assert_non_null(input);
  unsigned refused = 0, made = 0;
  char problem[ROW_BYTES] = "";
  unsigned long end = 3000000; /* until where it is known: the first call from which on refusals change nothing */
  for (int lasting = 1; lasting >= 0; lasting--)
    for (unsigned long n = 1; n < end; n = next_of_many(n)) {
      error = (struct ffb_error){.kind = FFB_ERROR_NONE};
      (lasting ? ffb_fail_allocations : ffb_fail_allocation)(n);
      json_t *result = lua_host_run(in("two.lua"), "experiments", input, &lua_host_limits_default, &error);
      ffb_fail_allocation(0);
      if (!result && !*problem)
        snprintf(problem, sizeof problem, "%s", error.message);
      if (!result && !strstr(error.message, "out of memory"))
        fail_msg("without allocation %lu%s: %s", n, lasting ? " and all after it" : "", error.message);
      refused += !result;
      made += result != NULL;
      end = result && lasting ? n : end;
      json_decref(result);
    }
  assert_true(refused > 20 && made > 5);
  json_decref(input);
  snprintf(errors, sizeof errors, "ffbench: %s", problem);
  add_row("memory is refused to Lua, once or from then on", said(), "nothing was trained or written");
}

/* jansson goes on where a key does not fit into its buffer. */
static void records_are_whole_or_none(void **state) {
  (void)state;
  enum { KEYS = 200, CALLS = 60 };
  struct ffb_error error;
  struct ledger ledger;
  json_t *record = json_object();
  assert_true(ledger_begin(&ledger, &error));
  for (int i = 0; i < KEYS; i++) {
    char key[64];
    snprintf(key, sizeof key, "a_key_that_takes_some_room_%d", i);
    json_object_set_new(record, key, json_null());
  }
  int refused = 0;
  for (unsigned long n = 1; n <= CALLS; n++) {
    ffb_fail_allocation(n);
    bool written = record_write(in("whole.json"), record, &ledger, "", &error);
    ffb_fail_allocation(0);
    refused += !written;
    json_t *read = exists(in("whole.json")) ? load(in("whole.json")) : NULL;
    if (read && !json_equal(read, record))
      fail_msg("without allocation %lu the record is another", n);
    json_decref(read);
    remove(in("whole.json"));
  }
  assert_in_range(refused, 5, CALLS - 1);
  ledger_end(&ledger);
  json_decref(record);
}

static bool spares_children;

static void spare_child(void) {
  if (spares_children)
    ffb_fail_allocation(0);
}

/* jansson reads on where its buffer cannot grow, with a letter less. */
static void answers_of_scripts_are_whole_or_none(void **state) {
  (void)state;
  enum { ANSWER = 80 };
  static const char script[] =
      "return experiment { name = 'long', title = ('A long title, '):rep(40),\n"
      "  models = { mlp = { dataset = 'synthetic_digits' } }, algorithms = { { 'bp_fp32' } },\n"
      "  profiles = { smoke = { seeds = { 1 } } } }\n";
  struct ffb_error error;
  assert_true(file_replace(in("long.lua"), script, strlen(script), "", &error));
  json_t *registry = registry_json(&error);
  json_t *input = json_pack("{s:s, s:s, s:s, s:b, s:b, s:o, s:[], s:n}", "mode", "describe", "profile", "smoke",
                            "version", "ffbench", "draws", 0, "page", 0, "registry", registry, "set", "only");
  json_t *whole = lua_host_run(in("long.lua"), "experiments", input, &lua_host_limits_default, &error);
  assert_non_null(whole);
  assert_int_equal(pthread_atfork(NULL, NULL, spare_child), 0);
  spares_children = true;
  int refused = 0;
  for (unsigned long n = 1; n <= ANSWER; n++) {
    ffb_fail_allocation(n);
    json_t *result = lua_host_run(in("long.lua"), "experiments", input, &lua_host_limits_default, &error);
    ffb_fail_allocation(0);
    if (result && !json_equal(result, whole))
      fail_msg("without allocation %lu the answer is another", n);
    refused += !result;
    json_decref(result);
  }
  spares_children = false;
  assert_in_range(refused, 10, ANSWER - 1);
  json_decref(whole);
  json_decref(input);
}

/* ---- disks ------------------------------------------------------------------------------------------------------ */

/* The error names a file and what to do. */
static void assert_names_remedy(int status, const char *cause) {
  const char *line = last_line();
  if (status != 1 || strncmp(line, "ffbench: ", 9) != 0 || !strstr(line, in("out")) || !strstr(line, cause) ||
      !strstr(line, "name a"))
    fail_msg("status %d: %s", status, errors);
}

/* From the n-th write on there is no room. */
static void full_disk_spares_what_is_there(void **state) {
  (void)state;
  static char before[TEXT_BYTES], after[TEXT_BYTES];
  const char *const first[] = {"train", "--algorithm", "bp_fp32", TINY, PLACES, "--seed", "1", NULL};
  const char *const second[] = {"train", "--algorithm", "bp_fp32", TINY, PLACES, "--seed", "2", NULL};
  struct sweep sweep = {.every = SANITIZED ? 10 : 1000, .step = 12, .seed = 7};
  run_well(second);
  json_t *whole = load(in("out/r.json"));
  run_well(first);
  read_text(in("out/r.json"), before);
  int status = 1;
  char row[ROW_BYTES] = "";
  setenv("TMPDIR", in("rescue"), 1);
  for (unsigned long n = 1; status != 0; n = next_call(&sweep, n)) {
    const struct disturbance disturbance = {.place = in("out"), .file_call = n, .code = ENOSPC};
    assert_true(n < 1000);
    status = run(second, &disturbance);
    if (status == 0)
      break;
    assert_names_remedy(status, "No space left on device");
    bool rescued = strstr(errors, "was kept as") != NULL;
    assert_int_equal(exists(in("rescue/r.json")), rescued);
    if (rescued && !*row)
      snprintf(row, sizeof row, "%s", said());
    assert_whole(in("rescue/r.json"), whole);
    remove_folder_of(in("rescue"));
    read_text(in("out/r.json"), after);
    if (strcmp(before, after) != 0)
      assert_whole(in("out/r.json"), whole);
    assert_nothing_temporary();
    remove_folder_of(in("out/checkpoint"));
    struct ffb_error error;
    assert_true(file_replace(in("out/r.json"), before, strlen(before), "", &error));
  }
  assert_whole(in("out/r.json"), whole);
  json_decref(whole);
  add_row("from its n-th write on the disk is full, in a training, for each n", row,
          "the record from before, or the new one whole, there or in `$TMPDIR`");
}

static void full_disk_spares_tables(void **state) {
  (void)state;
  static char before[TEXT_BYTES], after[TEXT_BYTES];
  struct sweep sweep = {.every = SANITIZED ? 1 : 100, .step = 4};
  int status = 1;
  write_experiment();
  run_well(EXPERIMENT("run", "out", FEW, "--quiet"));
  read_text(in("out/two.md"), before);
  for (unsigned long n = 1; status != 0; n = next_call(&sweep, n)) {
    const struct disturbance disturbance = {.place = in("out"), .file_call = n, .code = ENOSPC};
    assert_true(n < 100);
    status = run(EXPERIMENT("report", "out", FEW, "--page", in("out/page.html")), &disturbance);
    if (status != 0)
      assert_names_remedy(status, "No space left on device");
    assert_string_equal(read_text(in("out/two.md"), after), before);
    assert_nothing_temporary();
  }
  const struct disturbance disturbance = {.place = in("out"), .file_call = 1, .code = ENOSPC};
  assert_names_remedy(run(EXPERIMENT("check", "out", FEW, "--junit", in("out/junit.xml")), &disturbance),
                      "No space left on device");
  add_row("the same in `report` and `check`", said(), "the tables from before");
}

/* Each place that a command writes to, in a folder that may not be written. */
static void refuse_places(const char *cause, bool plain) {
  const struct disturbance disturbance = {.plain = plain};
  const char *const places[][2] = {{"--record", in("out/r.json")},
                                   {"--save-weights", in("out/weights")},
                                   {"--save-scores", in("out/scores.csv")},
                                   {"--checkpoint", in("out/checkpoint")}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    int status = run(
        LIST("train", "--algorithm", "bp_fp32", TINY, "--record", in("elsewhere/r.json"), places[i][0], places[i][1]),
        &disturbance);
    assert_names_remedy(status, cause);
    assert_non_null(strstr(last_line(), places[i][0]));
    assert_false(exists(in("elsewhere/r.json")));
  }
  assert_names_remedy(run(EXPERIMENT("report", "out", FEW), &disturbance), cause);
  assert_names_remedy(run(EXPERIMENT("report", "out", FEW, "--page", in("out/page.html")), &disturbance), cause);
  assert_names_remedy(run(EXPERIMENT("check", "out", FEW, "--junit", in("out/junit.xml")), &disturbance), cause);
  assert_names_remedy(run(EXPERIMENT("run", "out", FEW, "--set", "seeds=7"), &disturbance), cause);
  /* Not the option of another command. */
  assert_null(strstr(errors, "--record"));
  assert_non_null(strstr(errors, "--results"));
  add_row(plain ? "the folder of records, tables, weights, scores or checkpoints may not be written to"
                : "its disk is read-only",
          said(), "what was there; nothing is trained");
}

static void read_only_folder_is_named(void **state) {
  (void)state;
  static const char *const parts[] = {"out", "out/records", "out/plots", "out/checkpoints"};
  write_experiment();
  run_well(EXPERIMENT("run", "out", FEW, "--quiet"));
  mkdir(in("out/checkpoints"), 0777);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    assert_int_equal(chmod(in(parts[i]), 0555), 0);
  refuse_places("Permission denied", true);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    assert_int_equal(chmod(in(parts[i]), 0755), 0);
}

/* ---- disks of our own ------------------------------------------------------------------------------------------- */

static bool own_mounts;

static bool write_line(const char *path, const char *format, unsigned id) {
  FILE *file = fopen(path, "w");
  if (!file)
    return false;
  fprintf(file, format, id);
  return fclose(file) == 0;
}

/* Mounts that nobody else sees and that end with this process. */
static bool take_own_mounts(void) {
  unsigned user = (unsigned)geteuid(), group = (unsigned)getegid();
  if (unshare(user ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS))
    return false;
  if (user && !(write_line("/proc/self/setgroups", "deny%.0u", 0) && write_line("/proc/self/uid_map", "0 %u 1", user) &&
                write_line("/proc/self/gid_map", "0 %u 1", group)))
    return false;
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void mount_disk(const char *options) {
  mkdir(in("out"), 0777);
  assert_int_equal(mount("tmpfs", in("out"), "tmpfs", 0, options), 0);
}

/* All but so many bytes, which end in a hole of whole pages. */
static void fill_disk(long left) {
  static char zeros[4096];
  FILE *file = fopen(in("out/filler"), "w");
  assert_non_null(file);
  setvbuf(file, NULL, _IONBF, 0);
  long size = 0;
  while (fwrite(zeros, sizeof zeros, 1, file) == 1)
    size += (long)sizeof zeros;
  fclose(file);
  assert_true(size > left);
  assert_int_equal(truncate(in("out/filler"), size - left), 0);
}

/* With less and less room; what does not fit is said, and what was there stays. */
static void small_disk_fills_up(void **state) {
  (void)state;
  static char before[TEXT_BYTES], after[TEXT_BYTES];
  if (!own_mounts)
    skip();
  const char *const second[] = {"train", "--algorithm", "bp_fp32", TINY, PLACES, "--seed", "2", NULL};
  write_experiment();
  mount_disk("size=512k");
  run_well(LIST("train", "--algorithm", "bp_fp32", TINY, PLACES, "--seed", "2"));
  json_t *whole = load(in("out/r.json"));
  run_well(LIST("train", "--algorithm", "bp_fp32", TINY, PLACES, "--seed", "1"));
  run_well(EXPERIMENT("run", "out", FEW, "--quiet"));
  setenv("TMPDIR", in("rescue"), 1);
  int failed = 0;
  char row[ROW_BYTES] = "";
  for (long left = 0; left <= 160 << 10; left += 8 << 10) {
    read_text(in("out/r.json"), before);
    fill_disk(left);
    int status = run(second, &nothing);
    failed += status != 0;
    if (status != 0)
      assert_names_remedy(status, "No space left on device");
    if (status != 0 && !*row)
      snprintf(row, sizeof row, "%s", said());
    read_text(in("out/r.json"), after);
    if (strcmp(before, after) != 0)
      assert_whole(in("out/r.json"), whole);
    remove_folder_of(in("out/checkpoint"));
    assert_nothing_temporary();
    assert_int_equal(unlink(in("out/filler")), 0);
  }
  assert_in_range(failed, 2, 19);
  json_decref(whole);
  add_row("a disk of 512 KiB has 0 to 160 KiB left (tmpfs)", row,
          "the record from before or the new one whole; no temporary file");
  assert_int_equal(umount(in("out")), 0);
}

/* gnuplot says nothing of a disk that fills up under it. */
static void pictures_are_whole_or_not_there(void **state) {
  (void)state;
  static const char *const pictures[] = {"out/plots/curve.svg", "out/plots/curve.png"};
  setenv("PATH", getenv("FFB_PATH"), 1);
  if (!own_mounts || run_program(LIST("gnuplot", "--version"), in("version")) != 0)
    skip();
  write_experiment();
  mount_disk("size=512k");
  run_well(EXPERIMENT("run", "out", FEW, "--quiet"));
  off_t whole[2];
  struct stat status;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(stat(in(pictures[i]), &status), 0);
    whole[i] = status.st_size;
  }
  int failed = 0;
  char row[ROW_BYTES] = "";
  for (long left = 0; left <= 128 << 10; left += 16 << 10) {
    for (int i = 0; i < 2; i++)
      unlink(in(pictures[i]));
    fill_disk(left);
    int ended = run(EXPERIMENT("report", "out", FEW), &nothing);
    failed += ended != 0;
    assert_true(ended == 0 || (ended == 1 && strstr(last_line(), in("out"))));
    if (ended == 1 && !*row)
      snprintf(row, sizeof row, "%s", said());
    for (int i = 0; i < 2; i++)
      if (!stat(in(pictures[i]), &status))
        assert_int_equal(status.st_size, whole[i]);
      else
        assert_int_equal(ended, 1);
    assert_nothing_temporary();
    assert_int_equal(unlink(in("out/filler")), 0);
  }
  assert_in_range(failed, 1, 8);
  add_row("the same while gnuplot draws", row, "whole pictures or none");
  assert_int_equal(umount(in("out")), 0);
}

static void read_only_disk_is_named(void **state) {
  (void)state;
  if (!own_mounts)
    skip();
  write_experiment();
  mount_disk("size=512k");
  run_well(EXPERIMENT("run", "out", FEW, "--quiet"));
  assert_int_equal(mount(NULL, in("out"), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
  refuse_places("Read-only file system", false);
  assert_int_equal(umount(in("out")), 0);
}

/* ---- killed ----------------------------------------------------------------------------------------------------- */

/* What is left of the CSV without times, which differ. */
static void leave_times_out(char *text) {
  static const char *const metrics[] = {",time,", ",energy,", ",step,", ",resident,", ",time_per_epoch,"};
  char *to = text;
  for (char *line = text; *line;) {
    size_t length = strcspn(line, "\n") + 1;
    bool keep = true;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
      const char *at = strstr(line, metrics[i]);
      keep = keep && !(at && at < line + length);
    }
    if (keep)
      memmove(to, line, length);
    to += keep ? length : 0;
    line += length;
  }
  *to = '\0';
}

static void assert_same_tables(void) {
  static const char *const names[][2] = {
      {"whole/two.md", "out/two.md"}, {"whole/two.csv", "out/two.csv"}, {"whole/plots/curve.gp", "out/plots/curve.gp"}};
  static char one[TEXT_BYTES], other[TEXT_BYTES];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    leave_times_out(read_text(in(names[i][0]), one));
    leave_times_out(read_text(in(names[i][1]), other));
    assert_true(strlen(one) > 100);
    assert_string_equal(one, other);
  }
}

/* The record of another folder with the same name says the same. Returns their number. */
static int assert_same_records(void) {
  int count = 0;
  DIR *records = opendir(in("whole/records"));
  assert_non_null(records);
  for (struct dirent *entry; (entry = readdir(records));) {
    char path[2 * PATH_MAX];
    size_t length = strlen(entry->d_name);
    if (length < 6 || strcmp(entry->d_name + length - 5, ".json") != 0)
      continue;
    snprintf(path, sizeof path, "%s/%s", in("whole/records"), entry->d_name);
    json_t *whole = load(path);
    snprintf(path, sizeof path, "%s/%s", in("out/records"), entry->d_name);
    assert_true(exists(path));
    assert_whole(path, whole);
    json_decref(whole);
    count++;
  }
  closedir(records);
  return count;
}

/* Something to train where all was done before twenty moments were. */
static void delete_one_record(unsigned number) {
  unsigned count = 0;
  char path[2 * PATH_MAX] = "";
  DIR *records = opendir(in("out/records"));
  for (struct dirent *entry; records && (entry = readdir(records));) {
    size_t length = strlen(entry->d_name);
    if (length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0 && count++ <= number % 8)
      snprintf(path, sizeof path, "%s/%s", in("out/records"), entry->d_name);
  }
  if (records)
    closedir(records);
  if (*path)
    assert_int_equal(unlink(path), 0);
}

/* By the clock, in the midst of a checkpoint or a record, and once all are there in that of a table. */
static struct disturbance next_moment(int number, unsigned *seed) {
  unsigned long random = (unsigned long)rand_r(seed);
  if (number >= 17)
    return (struct disturbance){.place = number == 18 ? "out/plots" : "out/two", .file_call = 1 + random % 4};
  if (number % 3 == 0)
    return (struct disturbance){.microseconds = 1000 + (long)(random % 120000)};
  if (number % 3 == 1)
    return (struct disturbance){.place = "out/checkpoints", .file_call = 1 + random % 60};
  return (struct disturbance){.place = "out/records", .file_call = 1 + random % 14};
}

static void killed_at_twenty_moments_it_makes_the_same_tables(void **state) {
  (void)state;
  enum { MOMENTS = 20 };
  static const char *const kinds[] = {".checkpoint.tmp", ".json", ".steps.gz", "two."};
  int killed = 0, hits[sizeof kinds / sizeof *kinds] = {0};
  unsigned seed = 11;
  write_experiment();
  run_well(EXPERIMENT("run", "whole", "--quiet"));
  for (int attempt = 0; killed < MOMENTS; attempt++) {
    assert_true(attempt < 4 * MOMENTS);
    struct disturbance moment = next_moment(killed, &seed);
    int status = run(EXPERIMENT("run", "out", "--quiet"), &moment);
    if (status != KILLED && status != 0)
      fail_msg("moment %d ended with %d: %s", killed, status, errors);
    killed += status == KILLED;
    if (status == 0)
      delete_one_record((unsigned)rand_r(&seed));
    for (size_t i = 0; status == KILLED && i < sizeof kinds / sizeof *kinds; i++)
      hits[i] += strstr(told->place, kinds[i]) != NULL;
  }
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (hits[i] == 0)
      fail_msg("no moment was in the midst of %s", kinds[i]);
  run_well(EXPERIMENT("run", "out", "--quiet"));
  assert_same_tables();
  assert_int_equal(assert_same_records(), 8);
  assert_nothing_temporary();
  assert_int_not_equal(rmdir(in("out/checkpoints")), -1); /* empty: no checkpoint stays */
  add_row("SIGKILL at twenty moments of an experiment: by the clock, in checkpoints, records, step times and tables",
          "", "started again it goes on: the same tables and records as undisturbed, times aside; no temporary file");
}

/* ---- the thread that prepares batches ---------------------------------------------------------------------------- */

static void a_data_thread_that_dies_is_told(void **state) {
  (void)state;
  struct stat before, after;
  const char *const long_run[] = {"train", "--algorithm", "bp_fp32", TINY, PLACES, "--epochs", "400", NULL};
  run_well(long_run);
  json_t *whole = load(in("out/r.json"));
  for (int64_t epoch = 1; epoch < 200; epoch += 60) {
    const struct disturbance disturbance = {.fatal_epoch = epoch};
    assert_int_equal(stat(in("out/r.json"), &before), 0);
    int status = run(long_run, &disturbance);
    if (status != 1 || !strstr(last_line(), "the thread that prepares batches has died"))
      fail_msg("epoch %lld: status %d: %s", (long long)epoch, status, errors);
    assert_int_equal(stat(in("out/r.json"), &after), 0);
    assert_int_equal(after.st_ino, before.st_ino); /* a new record is a new file */
    assert_true(exists(in("out/checkpoint/ffbench.checkpoint")));
    if (epoch == 1)
      add_row("the thread that prepares batches dies", said(),
              "the record from before and the checkpoint of the last epoch; with `--resume` the run ends with the same "
              "record");
    run_well(long_run);
    assert_whole(in("out/r.json"), whole);
  }
  json_decref(whole);
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */

static int set_up_case(void **state) {
  unsetenv("TMPDIR");
  setenv("PATH", "", 1); /* no gnuplot, unless a test is about it */
  return make_folder(state);
}

static int tear_down_case(void **state) {
  umount2(in("out"), MNT_DETACH); /* where a test failed */
  return remove_folder(state);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up_case, tear_down_case)

int main(int argc, char **argv) {
  struct ffb_error error;
  const char *path = getenv("PATH"), *taken = getenv("FFB_OWN_MOUNTS");
  (void)argc;
  if (!taken) {
    setenv("FFB_OWN_MOUNTS", take_own_mounts() ? "1" : "0", 1);
    /* Started again among its own mounts: in a chroot, a program from outside of them finds no path to itself. */
    execv(argv[0], argv);
    perror(argv[0]);
    return 127;
  }
  told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  own_mounts = *taken == '1';
  setenv("FFB_PATH", path ? path : "", 1);
  setenv("FFBENCH_SYSFS", "/nonexistent", 1);
  unsetenv("FFBENCH_DATA");
  unsetenv("FFBENCH_PROFILE");
  /* The trainers are opened once, and every fork has them. */
  json_decref(registry_json(&error));
  const struct CMUnitTest tests[] = {
      CASE(killed_at_twenty_moments_it_makes_the_same_tables),
      CASE(a_data_thread_that_dies_is_told),
      CASE(full_disk_spares_what_is_there),
      CASE(full_disk_spares_tables),
      CASE(read_only_folder_is_named),
      CASE(small_disk_fills_up),
      CASE(pictures_are_whole_or_not_there),
      CASE(read_only_disk_is_named),
      CASE(training_without_memory_ends_cleanly),
      CASE(forward_forward_without_memory_ends_cleanly),
      CASE(reports_without_memory_end_cleanly),
      CASE(scripts_without_memory_end_cleanly),
      CASE(answers_of_scripts_are_whole_or_none),
      CASE(records_are_whole_or_none),
      cmocka_unit_test(the_document_has_the_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
