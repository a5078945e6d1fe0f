/* What the harness costs on top of the steps that it measures. --help lists the options.
 *
 * In turns of one random order after another: the bare steps of a trainer, from batches that lie in memory; the same
 * steps from batches that a thread shuffles and copies together, as every training needs; and a whole run of the
 * program's own (run_execute) over as many: besides those batches step times, the live line on a terminal, the meter's
 * thread at its usual interval, the watch over clocks and heat, the record; that once more without a meter. A machine
 * without one gets a made-up INA3221, which is read most often of all, from files in memory. Each turn puts its network
 * and trainer together anew, so that no side keeps the luckier addresses.
 *
 * The ratio is taken within a round; the table has the median over the rounds with its 95 % interval, from order
 * statistics. What the harness does by itself is the difference of two sides for a trainer that hardly computes
 * (tests/plugins/counting.c), where no threads get into each other's way. */
#include "base/memory.h"
#include "harness/assembly.h"
#include "harness/command_line.h"
#include "harness/machine.h"
#include "harness/meters/clock.h"
#include "harness/meters/meter.h"
#include "harness/run.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 32, MOST_ROUNDS = 999, PATH_BYTES = 256, LONG_PATH_BYTES = 512 };

struct request {
  const char *algorithm, *plugin;
  int64_t rounds, steps, threads;
};

#define REQUEST(name) offsetof(struct request, name)

static const struct ffb_option options[] = {
    {.name = "algorithm",
     .type = FFB_OPTION_STRING,
     .offset = REQUEST(algorithm),
     .initial = "ff_int8",
     .help = "whose step is the fastest of the MLP's"},
    {.name = "rounds",
     .type = FFB_OPTION_INTEGER,
     .offset = REQUEST(rounds),
     .initial = "40",
     .minimum = 6,
     .maximum = MOST_ROUNDS,
     .help = "each has a turn of every side"},
    {.name = "steps",
     .type = FFB_OPTION_INTEGER,
     .offset = REQUEST(steps),
     .initial = "1000",
     .minimum = 100,
     .maximum = 100000,
     .help = "in a turn"},
    {.name = "threads",
     .type = FFB_OPTION_INTEGER,
     .offset = REQUEST(threads),
     .initial = "2",
     .minimum = 1,
     .maximum = 1024,
     .help = "processor threads that compute"},
    {.name = "plugin",
     .type = FFB_OPTION_STRING,
     .offset = REQUEST(plugin),
     .help = "trainer (.so) that hardly computes, for what the harness does by itself"},
    {.name = NULL},
};

/* Seconds of a turn, and what they hold. */
struct turn {
  double training; /* of all steps */
  double rest;     /* of a run: before and after the steps, evaluation excluded */
};

enum side { BARE, FED, UNMETERED, RUN, SIDES };

struct bench {
  const struct request *request;
  char folder[PATH_BYTES];
  char sysfs[LONG_PATH_BYTES]; /* where the meter is; empty: the machine's own */
  char meter[64];
  struct turn turns[SIDES][MOST_ROUNDS];
};

/* ---- places ------------------------------------------------------------------------------------------------------ */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status, (void)kind, (void)place;
  return remove(path);
}

static bool make_folder(struct bench *bench, struct ffb_error *error) {
  bool in_memory = access("/dev/shm", W_OK) == 0;
  snprintf(bench->folder, sizeof bench->folder, "%s/ffbench-harness-XXXXXX", in_memory ? "/dev/shm" : "/tmp");
  return mkdtemp(bench->folder) || ffb_fail(error, "%s: cannot be made", bench->folder);
}

static bool write_file(const struct bench *bench, const char *name, const char *text) {
  char path[LONG_PATH_BYTES];
  snprintf(path, sizeof path, "%s/%s", bench->folder, name);
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  bool written = file && fputs(text, file) >= 0;
  return file && fclose(file) == 0 && written;
}

#define MODULE "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/"

/* A meter of this machine's own, else a made-up module. */
static bool find_meter(struct bench *bench, struct ffb_error *error) {
  struct meter_system system = meter_system_default(NULL);
  struct meter_session *session = meter_session_open(&system, METER_PROCESSOR, error);
  if (!session)
    return false;
  bool here = session->meter;
  snprintf(bench->meter, sizeof bench->meter, "%s every %g s",
           here ? session->properties.source : "a made-up INA3221 (this machine has no meter)",
           here ? session->properties.interval_seconds : 0.01);
  meter_session_close(session);
  if (here)
    return true;
  snprintf(bench->sysfs, sizeof bench->sysfs, "%s/sys", bench->folder);
  return (write_file(bench, MODULE "in1_label", "VDD_IN\n") && write_file(bench, MODULE "in1_input", "5000\n") &&
          write_file(bench, MODULE "curr1_input", "1504\n")) ||
         ffb_fail(error, "%s: cannot be written to", bench->folder);
}

/* Without, there is nothing where the meter would be. */
static void give_meter(const struct bench *bench, bool metered) {
  char nothing[LONG_PATH_BYTES];
  snprintf(nothing, sizeof nothing, "%s/no-sys", bench->folder);
  if (metered && !bench->sysfs[0])
    unsetenv("FFBENCH_SYSFS");
  else
    setenv("FFBENCH_SYSFS", metered ? bench->sysfs : nothing, 1);
}

/* ---- a terminal -------------------------------------------------------------------------------------------------- */

/* What a terminal shows is not looked at. */
static void *swallow(void *terminal) {
  char text[4096];
  while (read(*(const int *)terminal, text, sizeof text) > 0)
    ;
  return NULL;
}

struct terminal {
  int master, errors;
  pthread_t reader;
};

/* Standard error becomes a terminal, so that the live line is drawn. */
static bool terminal_open(struct terminal *terminal, struct ffb_error *error) {
  terminal->errors = dup(STDERR_FILENO);
  terminal->master = posix_openpt(O_RDWR | O_NOCTTY);
  int slave = -1;
  if (terminal->master >= 0 && !grantpt(terminal->master) && !unlockpt(terminal->master))
    slave = open(ptsname(terminal->master), O_RDWR | O_NOCTTY);
  bool open = slave >= 0 && dup2(slave, STDERR_FILENO) >= 0 && setenv("TERM", "xterm", 1) == 0 &&
              !pthread_create(&terminal->reader, NULL, swallow, &terminal->master);
  if (slave >= 0)
    close(slave);
  return open || ffb_fail(error, "no terminal to draw the live line on");
}

static void terminal_close(struct terminal *terminal) {
  fflush(stderr);
  dup2(terminal->errors, STDERR_FILENO); /* the last end of the slave: the reader's read fails */
  close(terminal->errors);
  pthread_join(terminal->reader, NULL);
  close(terminal->master);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* A tenth of the records is for validation. */
static bool configure(struct run_config *config, const struct request *request, const char *plugin,
                      struct ffb_error *error) {
  if (!run_config_begin(config, error) ||
      !ffb_option_set(run_options, config, "harness", "dataset", "synthetic_digits", error) ||
      !ffb_option_set(run_options, config, "harness", plugin ? "plugin" : "algorithm",
                      plugin ? plugin : request->algorithm, error))
    return false;
  config->batch = BATCH;
  config->epochs = 1;
  config->threads = request->threads;
  config->synthetic_train = (request->steps * BATCH * 10 + 8) / 9;
  config->synthetic_test = BATCH;
  config->eval_limit = BATCH;
  config->train_limit = request->steps * BATCH;
  return true;
}

static bool take_step(struct assembly *assembly, const struct ffb_batch *batch, struct ffb_error *error) {
  return assembly->parts.trainer->train_step(assembly->state, batch, error) &&
         ffb_plan_synchronise(assembly->plan, error);
}

/* From records in order. */
static bool take_bare_steps(struct assembly *assembly, int64_t steps, struct turn *turn, struct ffb_error *error) {
  const struct ffb_dataset *train = &assembly->data->train;
  size_t image = (size_t)(train->height * train->width * train->channels);
  int32_t *index = ffb_allocate((size_t)(steps * BATCH), sizeof *index, error), *labels = NULL;
  bool good = index && (labels = ffb_allocate((size_t)(steps * BATCH), sizeof *labels, error));
  for (int64_t i = 0; good && i < steps * BATCH; i++) {
    index[i] = (int32_t)i;
    labels[i] = train->labels[i];
  }
  double start = meter_clock_seconds();
  for (int64_t step = 0; good && step < steps; step++) {
    int64_t first = step * BATCH;
    struct ffb_batch batch = {.rows = BATCH,
                              .images = train->images + (size_t)first * image,
                              .labels = labels + first,
                              .index = index + first};
    good = take_step(assembly, &batch, error);
  }
  turn->training = meter_clock_seconds() - start;
  ffb_free(labels);
  ffb_free(index);
  return good;
}

static bool take_fed_steps(struct assembly *assembly, int64_t steps, struct turn *turn, struct ffb_error *error) {
  bool good = loader_start(&assembly->loader, 0, 0, 1, error);
  double start = meter_clock_seconds();
  for (int64_t step = 0; good && step < steps; step++) {
    struct ffb_batch batch;
    good = loader_next(&assembly->loader, &batch, error) && take_step(assembly, &batch, error);
  }
  turn->training = meter_clock_seconds() - start;
  return good;
}

static bool play_steps(const struct bench *bench, const char *plugin, bool fed, struct turn *turn,
                       struct ffb_error *error) {
  struct run_config config;
  struct assembly assembly;
  bool good = configure(&config, bench->request, plugin, error) && assembly_make(&assembly, &config, error);
  if (good) {
    good = (fed ? take_fed_steps : take_bare_steps)(&assembly, bench->request->steps, turn, error);
    assembly_free(&assembly);
  }
  run_config_end(&config);
  return good;
}

static double seconds_in(const json_t *record, const char *key) {
  return json_number_value(json_object_get(json_object_get(record, "time"), key));
}

static bool play_run(const struct bench *bench, const char *plugin, struct turn *turn, struct ffb_error *error) {
  struct run_config config;
  struct terminal terminal;
  char path[LONG_PATH_BYTES];
  json_t *record = NULL;
  snprintf(path, sizeof path, "%s/run.json", bench->folder);
  const struct run_control control = {.record = path};
  bool good = configure(&config, bench->request, plugin, error) && terminal_open(&terminal, error);
  if (good) {
    double start = meter_clock_seconds();
    good = run_execute(&config, &control, &record, error);
    double whole = meter_clock_seconds() - start;
    terminal_close(&terminal);
    turn->training = seconds_in(record, "train_seconds");
    turn->rest = whole - turn->training - seconds_in(record, "evaluation_seconds");
    int64_t steps = json_integer_value(json_object_get(json_object_get(record, "time"), "steps"));
    if (good && steps != bench->request->steps)
      good = ffb_fail(error, "the run took %lld steps", (long long)steps);
  }
  json_decref(record);
  run_config_end(&config);
  return good;
}

static bool play(struct bench *bench, const char *plugin, enum side side, int64_t round, struct ffb_error *error) {
  struct turn *turn = &bench->turns[side][round];
  if (side == BARE || side == FED)
    return play_steps(bench, plugin, side == FED, turn, error);
  give_meter(bench, side == RUN);
  return play_run(bench, plugin, turn, error);
}

static void shuffle(enum side order[SIDES], unsigned *seed) {
  for (int i = SIDES - 1; i > 0; i--) {
    int other = rand_r(seed) % (i + 1);
    enum side side = order[i];
    order[i] = order[other];
    order[other] = side;
  }
}

static bool play_rounds(struct bench *bench, const char *plugin, struct ffb_error *error) {
  unsigned seed = 1;
  for (int64_t round = 0; round < bench->request->rounds; round++) {
    enum side order[SIDES] = {BARE, FED, UNMETERED, RUN};
    shuffle(order, &seed);
    for (int i = 0; i < SIDES; i++)
      if (!play(bench, plugin, order[i], round, error))
        return false;
  }
  return true;
}

/* ---- the table ----------------------------------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* How many of the lowest of n values lie outside the 95 % interval of their median: a value is below the median as a
 * coin shows heads. */
static int64_t values_outside(int64_t n) {
  const double tail = 0.025;
  double chance = pow(0.5, (double)n), sum = 0; /* of k heads */
  int64_t k = 0;
  for (;; k++) {
    sum += chance;
    if (sum > tail)
      return k;
    chance *= (double)(n - k) / (double)(k + 1);
  }
}

struct middle {
  double median, low, high; /* the 95 % interval */
};

static struct middle middle_of(const struct bench *bench, double *values) {
  int64_t n = bench->request->rounds, outside = values_outside(n);
  qsort(values, (size_t)n, sizeof *values, by_value);
  return (struct middle){
      .median = 0.5 * (values[(n - 1) / 2] + values[n / 2]), .low = values[outside - 1], .high = values[n - outside]};
}

static double step_seconds(const struct bench *bench, enum side side) {
  double values[MOST_ROUNDS];
  for (int64_t i = 0; i < bench->request->rounds; i++)
    values[i] = bench->turns[side][i].training / (double)bench->request->steps;
  return middle_of(bench, values).median;
}

static double rest_seconds(const struct bench *bench) {
  double values[MOST_ROUNDS];
  for (int64_t i = 0; i < bench->request->rounds; i++)
    values[i] = bench->turns[RUN][i].rest;
  return middle_of(bench, values).median;
}

static struct middle ratio_of(const struct bench *bench, enum side side, enum side base) {
  double values[MOST_ROUNDS];
  for (int64_t i = 0; i < bench->request->rounds; i++)
    values[i] = bench->turns[side][i].training / bench->turns[base][i].training;
  return middle_of(bench, values);
}

/* In microseconds a step. */
static struct middle difference_of(const struct bench *bench, enum side side, enum side base) {
  double values[MOST_ROUNDS], unit = 1e6 / (double)bench->request->steps;
  for (int64_t i = 0; i < bench->request->rounds; i++)
    values[i] = unit * (bench->turns[side][i].training - bench->turns[base][i].training);
  return middle_of(bench, values);
}

static void print_ratio(const char *label, struct middle ratio) {
  printf("%s%.4f [%.4f, %.4f], 95 %% interval\n", label, ratio.median, ratio.low, ratio.high);
}

static void print_table(const struct bench *bench, const struct machine_watch *watch) {
  const struct request *request = bench->request;
  struct machine_usage usage;
  printf("%s, MLP, batch %d, %lld threads: %lld rounds of %lld steps; %s\n", request->algorithm, BATCH,
         (long long)request->threads, (long long)request->rounds, (long long)request->steps, bench->meter);
  if (machine_watch_read(watch, &usage) && usage.capacity > 0)
    printf("other processes       %.1f %% of the machine meanwhile\n", 100 * usage.other / usage.capacity);
  printf("bare step             %.1f us, its batches in memory\n", 1e6 * step_seconds(bench, BARE));
  printf("fed step              %.1f us, its batches prepared by a thread\n", 1e6 * step_seconds(bench, FED));
  printf("step in a run         %.1f us, %.1f us without the meter\n", 1e6 * step_seconds(bench, RUN),
         1e6 * step_seconds(bench, UNMETERED));
  print_ratio("fed / bare            ", ratio_of(bench, FED, BARE));
  print_ratio("run / fed             ", ratio_of(bench, RUN, FED));
  printf("once in a run         %.0f ms: network, trainer, data split, record and the files beside it\n",
         1e3 * rest_seconds(bench));
}

static void print_alone(const char *label, struct middle alone, double bare) {
  printf("%s%.2f us a step [%.2f, %.2f], %.2f %% of the bare step\n", label, alone.median, alone.low, alone.high,
         alone.median / (1e4 * bare));
}

static bool measure(const struct request *request, struct ffb_error *error) {
  static struct bench bench;
  struct machine_watch watch;
  bench.request = request;
  if (!make_folder(&bench, error))
    return false;
  machine_watch_start(&watch);
  bool good = find_meter(&bench, error) && play_rounds(&bench, NULL, error);
  if (good)
    print_table(&bench, &watch);
  double bare = good ? step_seconds(&bench, BARE) : 1;
  if (good && request->plugin && (good = play_rounds(&bench, request->plugin, error))) {
    print_alone("batches by themselves ", difference_of(&bench, FED, BARE), bare);
    print_alone("harness by itself     ", difference_of(&bench, RUN, FED), bare);
    print_alone("of it the meter       ", difference_of(&bench, RUN, UNMETERED), bare);
  }
  nftw(bench.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  return good;
}

int main(int argc, char **argv) {
  struct ffb_error error = {0};
  struct request request = {0};
  const char *operand;
  const struct command_table tables[] = {{"What to time", options, &request}, {0}};
  const struct command command = {
      .verb = "harness", .summary = "What the harness costs on top of a training step.", .tables = tables};
  int status = 0;
  if (!ffb_options_default(options, &request, &error) ||
      (command_line_take(&command, argc, argv, &operand, &status) && !measure(&request, &error)))
    status = command_line_fail(&error);
  ffb_options_clear(options, &request);
  return status;
}
