/* Step times of the trainers on the paper's MLP, 784-1000-1000-10, batch 32:
 *   steps                        every algorithm in turn, round by round: median step time, multiply-accumulates a
 * second, and the ratio to this machine's peak for the type of its products steps --serve ALGORITHM[:option=value,...]
 *                                reads a number of steps from each line of input, runs them and prints their median in
 *                                milliseconds: the other half of bench/pytorch_pairs.py */
#include "backends/cpu/peak.h"
#include "harness/assembly.h"
#include "harness/loader.h"
#include "harness/meters/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, RECORDS = 6400, ROUNDS = 9, STEPS = 60, WARM_UP = 20, THREADS = 2 };

static const char *const standard[] = {"bp_fp32",  "bp_int8", "bp_ui8",
                                       "bp_gdai8", "ff_int8", "ff_int8:preset=one_pass"};
enum { STANDARD = sizeof standard / sizeof *standard };

struct contestant {
  const char *title;
  struct run_config config;
  struct assembly assembly;
  struct ffb_operation_count count;
  uint8_t *images;
  int32_t *labels, *index;
  int64_t next;
  double medians[ROUNDS];
};

static bool set_options(struct run_config *config, const char *title, struct ffb_error *error) {
  char text[512];
  snprintf(text, sizeof text, "%s", title);
  char *options = strchr(text, ':');
  if (options)
    *options++ = '\0';
  const char *const fields[][2] = {{"algorithm", text}, {"dataset", "synthetic_digits"}, {"train_limit", "6400"}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    if (!ffb_option_set(run_options, config, "bench", fields[i][0], fields[i][1], error))
      return false;
  }
  config->threads = THREADS;
  for (char *part = options ? strtok(options, ",") : NULL; part; part = strtok(NULL, ",")) {
    char *value = strchr(part, '=');
    if (!value)
      return ffb_fail_usage(error, "%s: write options as name=value", part);
    *value++ = '\0';
    json_object_set_new(config->set, part, json_string(value));
  }
  return true;
}

static bool open_contestant(struct contestant *c, const char *title, struct ffb_error *error) {
  c->title = title;
  if (!run_config_begin(&c->config, error) || !set_options(&c->config, title, error) ||
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
  size_t image = (size_t)(train->height * train->width * train->channels);
  c->images = malloc(RECORDS * image);
  c->labels = malloc(RECORDS * sizeof *c->labels);
  c->index = malloc(RECORDS * sizeof *c->index);
  if (!c->images || !c->labels || !c->index)
    return ffb_fail(error, "out of memory");
  memcpy(c->images, train->images, RECORDS * image);
  for (int i = 0; i < RECORDS; i++) {
    c->labels[i] = train->labels[i];
    c->index[i] = i;
  }
  return true;
}

static void close_contestant(struct contestant *c) {
  free(c->images);
  free(c->labels);
  free(c->index);
  if (c->assembly.state)
    assembly_free(&c->assembly);
  run_config_end(&c->config);
}

/* Median milliseconds of `steps` steps. */
static bool time_steps(struct contestant *c, int steps, double *median, struct ffb_error *error) {
  const struct ffb_dataset *train = &c->assembly.data->train;
  size_t image = (size_t)(train->height * train->width * train->channels);
  double *times = malloc((size_t)steps * sizeof *times);
  bool good = times != NULL;
  for (int i = 0; good && i < steps; i++) {
    int64_t at = c->next % (RECORDS / BATCH) * BATCH;
    struct ffb_batch batch = {
        .rows = BATCH, .images = c->images + (size_t)at * image, .labels = c->labels + at, .index = c->index + at};
    double start = meter_clock_seconds();
    good = c->assembly.parts.trainer->train_step(c->assembly.state, &batch, error) &&
           ffb_plan_synchronise(c->assembly.plan, error);
    times[i] = 1e3 * (meter_clock_seconds() - start);
    c->next++;
  }
  struct meter_times summary;
  good = good && meter_times_summary(times, (size_t)steps, &summary, error);
  if (good)
    *median = summary.median;
  free(times);
  return good;
}

static bool serve(const char *title, struct ffb_error *error) {
  struct contestant c = {0};
  double median = 0;
  char line[64];
  bool good = open_contestant(&c, title, error) && time_steps(&c, WARM_UP, &median, error);
  if (good)
    puts("ready");
  fflush(stdout);
  while (good && fgets(line, sizeof line, stdin)) {
    long steps = strtol(line, NULL, 10);
    good = steps > 0 && time_steps(&c, (int)steps, &median, error);
    if (good)
      printf("%.6f\n", median);
    fflush(stdout);
  }
  close_contestant(&c);
  return good;
}

static void print_row(const struct contestant *c, double baseline, double peak_f32, double peak_s8) {
  struct meter_times times;
  struct ffb_error error;
  if (!meter_times_summary(c->medians, ROUNDS, &times, &error))
    return;
  int64_t macs = c->count.mac_f32 + c->count.mac_s8;
  double rate = (double)macs / (times.median / 1e3), peak = c->count.mac_s8 ? peak_s8 : peak_f32;
  printf("%-26s %8.3f %8.3f %9.1f %9.1f %8.1f %%   %s %8.2f\n", c->title, times.median, times.minimum,
         (double)macs / 1e6, rate / 1e9, 100 * 2 * rate / peak, c->count.mac_s8 ? "INT8" : "FP32",
         times.median / baseline);
}

static bool compare(struct ffb_error *error) {
  static struct contestant contestants[STANDARD];
  bool good = true;
  double warm = 0;
  for (int i = 0; good && i < STANDARD; i++)
    good = open_contestant(&contestants[i], standard[i], error) && time_steps(&contestants[i], WARM_UP, &warm, error);
  for (int round = 0; good && round < ROUNDS; round++) {
    for (int i = 0; good && i < STANDARD; i++)
      good = time_steps(&contestants[i], STEPS, &contestants[i].medians[round], error);
  }
  if (good) {
    double peak_f32 = ffb_cpu_peak_f32(THREADS), peak_s8 = ffb_cpu_peak_s8(THREADS);
    struct meter_times first;
    good = meter_times_summary(contestants[0].medians, ROUNDS, &first, error);
    printf("MLP 784-1000-1000-10, batch %d, %d threads; peak FP32 %.0f GFLOP/s, INT8 %.0f GOP/s (measured)\n", BATCH,
           THREADS, peak_f32 / 1e9, peak_s8 / 1e9);
    printf("%-26s %8s %8s %9s %9s %10s %6s %8s\n", "algorithm", "ms/step", "fastest", "MMAC/step", "GMAC/s", "of peak",
           "type", "/bp_fp32");
    for (int i = 0; good && i < STANDARD; i++)
      print_row(&contestants[i], first.median, peak_f32, peak_s8);
  }
  for (int i = 0; i < STANDARD; i++)
    close_contestant(&contestants[i]);
  return good;
}

int main(int argc, char **argv) {
  struct ffb_error error = {0};
  bool served = argc == 3 && strcmp(argv[1], "--serve") == 0;
  if (argc != 1 && !served) {
    fputs("usage: steps [--serve ALGORITHM[:option=value,...]]\n", stderr);
    return 2;
  }
  if (served ? serve(argv[2], &error) : compare(&error))
    return 0;
  fprintf(stderr, "steps: %s\n", error.message);
  return 1;
}
