/* Step times of the trainers on one network, at batch 32 and on two threads. --help lists the options.
 *
 * Without --serve every algorithm takes its turn, round by round: median step time, multiply-accumulates a second,
 * their share of this machine's peak for the type of the products, and the ratio to bp_fp32.
 *
 * Convolutional networks train at a learning rate of 0.003 unless another is named; one that diverges is an error.
 *
 * With --serve one trainer says "ready", then reads a number of steps from each line of input, runs them and prints
 * their median in milliseconds: the other half of bench/pytorch_pairs.py. */
#include "backends/cpu/peak.h"
#include "harness/assembly.h"
#include "harness/command_line.h"
#include "harness/loader.h"
#include "harness/meters/clock.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, RECORDS = 6400, MOST_ROUNDS = 99, WARM_UP = 20, THREADS = 2 };
enum { CONVOLUTIONAL_ROUNDS = 5, CONVOLUTIONAL_STEPS = 4, CONVOLUTIONAL_WARM_UP = 2 }; /* a step takes a second or so */

static const char *const standard[] = {"bp_fp32",  "bp_int8", "bp_ui8",
                                       "bp_gdai8", "ff_int8", "ff_int8:preset=one_pass"};
enum { STANDARD = sizeof standard / sizeof *standard };

struct request {
  const char *model, *dataset, *backend, *serve;
  int64_t rounds, steps;
  bool tf32;
};

#define REQUEST(name) offsetof(struct request, name)

static const struct ffb_option options[] = {
    {.name = "model",
     .type = FFB_OPTION_STRING,
     .offset = REQUEST(model),
     .initial = "mlp",
     .help = "network (\"ffbench list models\")"},
    {.name = "dataset",
     .type = FFB_OPTION_STRING,
     .offset = REQUEST(dataset),
     .help = "data; else synthetic_digits for the MLP and synthetic_shapes for the others"},
    {.name = "backend",
     .type = FFB_OPTION_STRING,
     .offset = REQUEST(backend),
     .help = "what computes (\"ffbench list backends\"); else the best there is"},
    {.name = "tf32",
     .type = FFB_OPTION_BOOLEAN,
     .offset = REQUEST(tf32),
     .initial = "false",
     .help = "as of \"ffbench train\""},
    {.name = "rounds",
     .type = FFB_OPTION_INTEGER,
     .offset = REQUEST(rounds),
     .initial = "0",
     .maximum = MOST_ROUNDS,
     .help = "turns of each algorithm; 0: 9 for the MLP, 5 for the others"},
    {.name = "steps",
     .type = FFB_OPTION_INTEGER,
     .offset = REQUEST(steps),
     .initial = "0",
     .maximum = 1e6,
     .help = "steps in a turn; 0: 60 for the MLP, 4 for the others"},
    {.name = "serve",
     .type = FFB_OPTION_STRING,
     .offset = REQUEST(serve),
     .help =
         "[MODEL/]ALGORITHM[:option=value,...], options of the model as model.name=value: time as many steps as each "
         "line of input says"},
    {.name = NULL},
};

struct contestant {
  const char *title;
  struct run_config config;
  struct assembly assembly;
  struct ffb_operation_count count;
  int32_t *labels, *index;
  int64_t next;
  double medians[MOST_ROUNDS];
};

static bool is_mlp(const char *model) {
  return strcmp(model, "mlp") == 0;
}

/* "bp_fp32", "resnet18/ff_int8:theta=2,model.width=32" */
static bool set_options(struct run_config *config, const struct request *request, const char *title,
                        struct ffb_error *error) {
  char text[512];
  snprintf(text, sizeof text, "%s", title);
  char *values = strchr(text, ':');
  if (values)
    *values++ = '\0';
  char *slash = strchr(text, '/');
  if (slash)
    *slash = '\0';
  const char *model = slash ? text : request->model;
  const char *dataset = request->dataset ? request->dataset : is_mlp(model) ? "synthetic_digits" : "synthetic_shapes";
  const char *const fields[][2] = {{"model", model}, {"algorithm", slash ? slash + 1 : text}, {"dataset", dataset}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    if (!ffb_option_set(run_options, config, "steps", fields[i][0], fields[i][1], error))
      return false;
  }
  if (request->backend && !ffb_option_set(run_options, config, "steps", "backend", request->backend, error))
    return false;
  config->tf32 = request->tf32;
  config->batch = BATCH;
  config->threads = THREADS;
  config->train_limit = RECORDS;
  /* With the trainers' own rate backpropagation diverges on some networks; one that is named comes after this one. */
  if (!is_mlp(model) && !run_config_set(config, "learning_rate=0.003", error))
    return false;
  for (char *part = values ? strtok(values, ",") : NULL; part; part = strtok(NULL, ",")) {
    if (!run_config_set(config, part, error))
      return false;
  }
  return true;
}

static bool open_contestant(struct contestant *c, const struct request *request, const char *title,
                            struct ffb_error *error) {
  c->title = title;
  if (!run_config_begin(&c->config, error) || !set_options(&c->config, request, title, error) ||
      !assembly_make(&c->assembly, &c->config, error))
    return false;
  for (size_t i = 0; i < ffb_plan_program_count(c->assembly.plan); i++) {
    const struct ffb_program *program = ffb_plan_program_at(c->assembly.plan, i);
    if (strncmp(ffb_program_name(program), "train", 5) == 0) {
      ffb_program_count(program, &c->count);
      break;
    }
  }
  const struct ffb_dataset *train = &c->assembly.data->train;
  c->labels = malloc(RECORDS * sizeof *c->labels);
  c->index = malloc(RECORDS * sizeof *c->index);
  if (!c->labels || !c->index)
    return ffb_fail(error, "out of memory");
  for (int i = 0; i < RECORDS; i++) {
    c->labels[i] = train->labels[i];
    c->index[i] = i;
  }
  return true;
}

static void close_contestant(struct contestant *c) {
  free(c->labels);
  free(c->index);
  if (c->assembly.state)
    assembly_free(&c->assembly);
  run_config_end(&c->config);
}

/* NaNs take other ways than numbers: their steps would be timed in place of a training's. */
static bool check_divergence(const struct contestant *c, struct ffb_error *error) {
  const struct ffb_trainer *trainer = c->assembly.parts.trainer;
  bool diverged = false;
  if (trainer->diverged && !trainer->diverged(c->assembly.state, &diverged, error))
    return false;
  return !diverged || ffb_fail(error, "%s diverged after at most %lld steps: give it a smaller learning_rate", c->title,
                               (long long)c->next);
}

/* Median milliseconds of `steps` steps. Batches are copied to a device within their step, as those of PyTorch's side.
 */
static bool time_steps(struct contestant *c, int steps, double *median, struct ffb_error *error) {
  const struct ffb_dataset *train = &c->assembly.data->train;
  size_t image = (size_t)(train->height * train->width * train->channels);
  double *times = malloc((size_t)steps * sizeof *times);
  bool good = times != NULL;
  for (int i = 0; good && i < steps; i++) {
    int64_t at = c->next % (RECORDS / BATCH) * BATCH;
    struct ffb_batch batch = {
        .rows = BATCH, .images = train->images + (size_t)at * image, .labels = c->labels + at, .index = c->index + at};
    double start = meter_clock_seconds();
    good = c->assembly.parts.trainer->train_step(c->assembly.state, &batch, error) &&
           ffb_plan_synchronise(c->assembly.plan, error);
    times[i] = 1e3 * (meter_clock_seconds() - start);
    c->next++;
  }
  struct meter_times summary;
  good = good && check_divergence(c, error) && meter_times_summary(times, (size_t)steps, &summary, error);
  if (good)
    *median = summary.median;
  free(times);
  return good;
}

static int warm_up(const struct contestant *c) {
  return is_mlp(c->config.model) ? WARM_UP : CONVOLUTIONAL_WARM_UP;
}

static bool serve(const struct request *request, struct ffb_error *error) {
  struct contestant c = {0};
  double median = 0;
  char line[64];
  bool good = open_contestant(&c, request, request->serve, error) && time_steps(&c, warm_up(&c), &median, error);
  if (good)
    puts("ready");
  fflush(stdout);
  while (good && fgets(line, sizeof line, stdin)) {
    long steps = strtol(line, NULL, 10);
    if (steps <= 0)
      good = ffb_fail_usage(error, "a line of input holds a number of steps, not %.*s", (int)strcspn(line, "\n"), line);
    good = good && time_steps(&c, (int)steps, &median, error);
    if (good)
      printf("%.6f\n", median);
    fflush(stdout);
  }
  close_contestant(&c);
  return good;
}

static void print_row(const struct contestant *c, size_t rounds, double baseline, double peak_f32, double peak_s8) {
  struct meter_times times;
  struct ffb_error error;
  if (!meter_times_summary(c->medians, rounds, &times, &error))
    return;
  int64_t macs = c->count.mac_f32 + c->count.mac_s8;
  double rate = (double)macs / (times.median / 1e3), peak = c->count.mac_s8 ? peak_s8 : peak_f32;
  printf("%-26s %8.3f %8.3f %9.1f %9.1f %8.1f %%   %s %8.2f\n", c->title, times.median, times.minimum,
         (double)macs / 1e6, rate / 1e9, peak > 0 ? 100 * 2 * rate / peak : 0, c->count.mac_s8 ? "INT8" : "FP32",
         times.median / baseline);
}

static bool print_table(const struct contestant *contestants, size_t rounds, struct ffb_error *error) {
  const struct parts *parts = &contestants[0].assembly.parts;
  bool known = strcmp(parts->backend->name, "cpu") == 0;
  double peak_f32 = known ? ffb_cpu_peak_f32(THREADS) : 0, peak_s8 = known ? ffb_cpu_peak_s8(THREADS) : 0;
  struct meter_times first;
  if (!meter_times_summary(contestants[0].medians, rounds, &first, error))
    return false;
  printf("%s on %s, backend %s, batch %d, %d threads; peak FP32 %.0f GFLOP/s, INT8 %.0f GOP/s (measured)\n",
         parts->model->name, parts->dataset->name, parts->backend->name, BATCH, THREADS, peak_f32 / 1e9, peak_s8 / 1e9);
  printf("%-26s %8s %8s %9s %9s %10s %6s %8s\n", "algorithm", "ms/step", "fastest", "MMAC/step", "GMAC/s", "of peak",
         "type", "/bp_fp32");
  for (int i = 0; i < STANDARD; i++)
    print_row(&contestants[i], rounds, first.median, peak_f32, peak_s8);
  return true;
}

static bool compare(const struct request *request, struct ffb_error *error) {
  static struct contestant contestants[STANDARD];
  bool good = true, mlp = is_mlp(request->model);
  double warm = 0;
  int64_t rounds = request->rounds ? request->rounds : mlp ? 9 : CONVOLUTIONAL_ROUNDS;
  int64_t steps = request->steps ? request->steps : mlp ? 60 : CONVOLUTIONAL_STEPS;
  for (int i = 0; good && i < STANDARD; i++) {
    struct contestant *c = &contestants[i];
    good = open_contestant(c, request, standard[i], error) && time_steps(c, warm_up(c), &warm, error);
  }
  for (int64_t round = 0; good && round < rounds; round++) {
    for (int i = 0; good && i < STANDARD; i++)
      good = time_steps(&contestants[i], (int)steps, &contestants[i].medians[round], error);
  }
  good = good && print_table(contestants, (size_t)rounds, error);
  for (int i = 0; i < STANDARD; i++)
    close_contestant(&contestants[i]);
  return good;
}

int main(int argc, char **argv) {
  struct ffb_error error = {0};
  struct request request = {0};
  const char *operand;
  const struct command_table tables[] = {{"What to time", options, &request}, {0}};
  const struct command command = {.verb = "steps", .summary = "Step times of the trainers.", .tables = tables};
  int status = 0;
  if (!ffb_options_default(options, &request, &error) ||
      (command_line_take(&command, argc, argv, &operand, &status) &&
       !(request.serve ? serve(&request, &error) : compare(&request, &error))))
    status = command_line_fail(&error);
  ffb_options_clear(options, &request);
  return status;
}
