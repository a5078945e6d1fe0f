#include "harness/experiment_parts.h"

#include "base/memory.h"
#include "base/random.h"
#include "datasets/dataset.h"
#include "harness/catalogue.h"
#include "harness/checkpoint.h"
#include "harness/command_line.h"
#include "harness/data.h"
#include "harness/file.h"
#include "harness/lock.h"
#include "harness/lua_host.h"
#include "harness/machine.h"
#include "harness/meters/clock.h"
#include "harness/plot.h"
#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/record.h"
#include "harness/registry.h"
#include "harness/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char experiment_remedy[] = "name another folder with --results DIR";

/* ---- the script ------------------------------------------------------------------------------------------------ */

const char *experiment_profile(const struct experiment *experiment) {
  const char *environment = getenv("FFBENCH_PROFILE");
  if (experiment->places.profile)
    return experiment->places.profile;
  if (environment && *environment)
    return environment;
  return machine_is_jetson() ? "paper" : "quick";
}

json_t *experiment_ask(const struct experiment *experiment, const char *mode, bool records, bool filtered,
                       struct ffb_error *error) {
  char version[512];
  unsigned long refused = ffb_refused_allocations();
  provenance_version(version, sizeof version);
  json_t *input =
      json_pack("{s:s, s:s, s:s, s:b, s:b, s:O, s:O, s:O?, s:o*}", "mode", mode, "profile",
                experiment_profile(experiment), "version", version, "draws", plot_available(), "page",
                experiment->places.page != NULL, "registry", experiment->registry, "set", experiment->set, "only",
                filtered ? experiment->only : NULL, "cells", records ? experiment_found(experiment) : NULL);
  json_t *result = NULL;
  if (value_is_whole(refused, "the records at hand", error)) {
    if (input)
      result = lua_host_run(experiment->file, experiment->library, input, &lua_host_limits_default, error);
    else
      ffb_fail_usage(error, "%s: the profile's name is not UTF-8 text", experiment->file);
  }
  json_decref(input);
  return result;
}

/* ---- the plan ------------------------------------------------------------------------------------------------- */

static const char *cell_text(const struct cell *cell, const char *key) {
  const char *text = json_string_value(json_object_get(cell->plan, key));
  return text ? text : "";
}

static const char *planned_dataset(const struct cell *cell) {
  return json_string_value(json_object_get(json_object_get(cell->plan, "config"), "dataset"));
}

static bool is_substituted(const struct cell *cell) {
  const char *planned = planned_dataset(cell);
  return planned && strcmp(planned, cell->config.dataset) != 0;
}

/* The datasets' own message for files that are not there, as opposed to files that are damaged. */
static bool says_missing(const struct ffb_error *error, const char *dataset) {
  size_t length = strlen(dataset);
  return strncmp(error->message, dataset, length) == 0 && strncmp(error->message + length, ": no ", 5) == 0;
}

/* Take the synthetic dataset of the same shape where the planned one is not there. */
static bool settle_dataset(struct cell *cell, const struct places *places, struct ffb_error *error) {
  const struct ffb_dataset_kind *kind = ffb_dataset_find(cell->config.dataset);
  if (data_get(&cell->config, error))
    return true;
  if (!kind || !kind->fallback || places->data || !says_missing(error, kind->name))
    return false;
  json_t *object = json_pack("{s:s}", "dataset", kind->fallback);
  bool ok = run_config_read(&cell->config, object, error);
  json_decref(object);
  return ok;
}

static struct run_control control_of(const struct experiment *experiment) {
  return (struct run_control){.results = experiment->places.results,
                              .quiet = experiment->places.quiet,
                              .cool_to = experiment->places.cool_to,
                              .idle_seconds = RUN_IDLE_SECONDS,
                              .profile = experiment_profile(experiment),
                              .experiment = experiment->file};
}

static bool is_to_train(const struct cell *cell) {
  return cell->selected && !cell->finished;
}

static bool read_cell(struct cell *cell, const struct experiment *experiment, struct ffb_error *error) {
  const struct places *places = &experiment->places;
  struct run_control control = control_of(experiment);
  unsigned long refused = ffb_refused_allocations();
  json_t *config = json_deep_copy(json_object_get(cell->plan, "config"));
  cell->selected = json_is_true(json_object_get(cell->plan, "selected"));
  if (places->data)
    json_object_set_new(config, "data", json_string(places->data));
  if (places->backend)
    json_object_set_new(config, "backend", json_string(places->backend));
  json_object_set_new(config, "threads", json_integer(places->threads));
  bool ok = run_config_begin(&cell->config, error) && run_config_read(&cell->config, config, error) &&
            settle_dataset(cell, places, error) &&
            run_record_path(&cell->config, &control, cell->path, sizeof cell->path, error);
  json_decref(config);
  cell->finished = ok && record_is_finished(cell->path);
  if (ok && experiment->forecast && is_to_train(cell))
    ok = forecast_add(experiment->forecast, &cell->config, cell->path, &cell->run, error);
  ok = value_is_whole(refused, "the plan", error) && ok;
  return ok || ffb_fail_prefix(error, "%s: %s: ", experiment->file, cell_text(cell, "id"));
}

bool experiment_prepare(struct experiment *experiment, struct ffb_error *error) {
  return experiment->registry || (catalogue_library(experiment->file, experiment->library, error) &&
                                  (experiment->registry = registry_json(error)));
}

bool experiment_plan(struct experiment *experiment, struct ffb_error *error) {
  if (!experiment_prepare(experiment, error) ||
      !(experiment->plan = experiment_ask(experiment, "plan", false, true, error)))
    return false;
  const json_t *cells = json_object_get(experiment->plan, "cells");
  size_t count = json_array_size(cells);
  if (!(experiment->cells = ffb_allocate(count, sizeof *experiment->cells, error)))
    return false;
  for (size_t i = 0; i < count; i++) {
    experiment->cells[i].plan = json_array_get(cells, i);
    experiment->count = i + 1;
    if (!read_cell(&experiment->cells[i], experiment, error))
      return false;
  }
  return true;
}

static void print_substitutions(const struct experiment *experiment) {
  const char *said = "";
  for (size_t i = 0; i < experiment->count; i++) {
    const struct cell *cell = &experiment->cells[i];
    if (!is_substituted(cell) || strcmp(said, planned_dataset(cell)) == 0)
      continue;
    said = planned_dataset(cell);
    printf("SYNTHETIC DATA: %s stands in for %s, which was not found: \"make data\" fetches it, --data DIR names its "
           "folder.\n",
           cell->config.dataset, said);
  }
}

static void print_forecast(double seconds, enum forecast_source source) {
  static const char *const sources[] = {[FORECAST_RECORDS] = "by records",
                                        [FORECAST_CALIBRATION] = "by calibration",
                                        [FORECAST_BUSY_RECORDS] = "by records of a busy machine",
                                        [FORECAST_LIKE] = "like others of this network"};
  char duration[64];
  if (isnan(seconds)) {
    printf(", time unknown");
    return;
  }
  progress_duration(seconds, duration, sizeof duration);
  printf(", about %s %s", duration, sources[source]);
}

/* Adds to what all runs should take, or to the number of those of which it is not known. */
static void forecast_cell(const struct experiment *experiment, const struct cell *cell, double *sum, size_t *unknown) {
  enum forecast_source source;
  if (!experiment->places.dry_run || experiment->places.calibrate)
    forecast_calibrate(experiment->forecast, &cell->config, &cell->run);
  double seconds = forecast_seconds(experiment->forecast, &cell->run, &source);
  print_forecast(seconds, source);
  *unknown += isnan(seconds);
  *sum += isnan(seconds) ? 0 : seconds;
}

static void print_sum(const struct experiment *experiment, double seconds, size_t unknown) {
  char duration[64];
  progress_duration(seconds, duration, sizeof duration);
  printf("To train: %s%s on this machine", seconds > 0 ? "about " : "time unknown", seconds > 0 ? duration : "");
  if (seconds > 0 && unknown > 0)
    printf(", and %zu run%s of unknown time", unknown, unknown == 1 ? "" : "s");
  if (unknown > 0)
    printf("%s", experiment->places.dry_run && !experiment->places.calibrate
                     ? " (no records of such a run here: --calibrate takes a few steps)"
                     : " (too short to be measured first)");
  printf("\n");
}

/* Line by line, because a calibration may take seconds. */
void experiment_print_plan(const struct experiment *experiment) {
  size_t selected = 0, finished = 0, number = 0, unknown = 0;
  double seconds = 0;
  for (size_t i = 0; i < experiment->count; i++) {
    selected += experiment->cells[i].selected;
    finished += experiment->cells[i].selected && experiment->cells[i].finished;
  }
  print_substitutions(experiment);
  printf("%s, profile %s: %zu run%s, %zu done, %zu to train\n", experiment->file, experiment_profile(experiment),
         selected, selected == 1 ? "" : "s", finished, selected - finished);
  for (size_t i = 0; i < experiment->count; i++) {
    const struct cell *cell = &experiment->cells[i];
    if (!cell->selected)
      continue;
    printf("%4zu  %-5s  %-32s  %s, %lld epoch%s of batch %lld%s", ++number, cell->finished ? "done" : "train",
           cell_text(cell, "id"), cell->config.dataset, (long long)cell->config.epochs,
           cell->config.epochs == 1 ? "" : "s", (long long)cell->config.batch,
           cell->config.train_limit > 0 ? ", limited" : "");
    fflush(stdout);
    if (!cell->finished)
      forecast_cell(experiment, cell, &seconds, &unknown);
    printf("\n");
  }
  if (selected > finished)
    print_sum(experiment, seconds, unknown);
  fflush(stdout);
}

void experiment_forget_plan(struct experiment *experiment) {
  for (size_t i = 0; i < experiment->count; i++)
    run_config_end(&experiment->cells[i].config);
  ffb_free(experiment->cells);
  json_decref(experiment->plan);
  json_decref(experiment->registry);
}

/* ---- training ------------------------------------------------------------------------------------------------- */

/* results/checkpoints/<name of the record>; one run of the plan stops and goes on there. */
static bool checkpoint_folder(const struct experiment *experiment, const struct cell *cell, char folder[PATH_MAX],
                              struct ffb_error *error) {
  const char *name = file_name(cell->path);
  int length = (int)strlen(name) - (int)strlen(".json");
  return snprintf(folder, PATH_MAX, "%s/checkpoints/%.*s", experiment->places.results, length > 0 ? length : 0, name) <
             PATH_MAX ||
         ffb_fail_usage(error, "the name of the results folder is too long: %s", experiment_remedy);
}

static bool is_same_round(const struct cell *a, const struct cell *b) {
  return strcmp(cell_text(a, "model"), cell_text(b, "model")) == 0 && a->config.seed == b->config.seed;
}

/* One seed after the other, and in each the algorithms in another order: what the machine does meanwhile, from warming
 * up to other programs, is to fall on all of them alike. The order is the same each time, so that an experiment that
 * was stopped goes on in it. */
static struct cell **take_turns(const struct experiment *experiment, struct ffb_error *error) {
  struct cell *cells = experiment->cells, **turns = ffb_allocate(experiment->count, sizeof *turns, error);
  uint32_t *order = turns ? ffb_allocate(experiment->count, sizeof *order, error) : NULL;
  uint32_t round = 0;
  for (size_t begin = 0, end; order && begin < experiment->count; begin = end, round++) {
    end = begin + 1;
    while (end < experiment->count && is_same_round(&cells[begin], &cells[end]))
      end++;
    ffb_random_permutation(0, FFB_PURPOSE_SHUFFLE, round, order, (uint32_t)(end - begin));
    for (size_t i = begin; i < end; i++)
      turns[i] = &cells[begin + order[i - begin]];
  }
  if (!order) {
    ffb_free(turns);
    return NULL;
  }
  ffb_free(order);
  return turns;
}

/* What is around a cell as its run begins. */
static struct progress_others others_of(const struct experiment *experiment, struct cell *const *turn,
                                        struct cell *const *end, double before) {
  enum forecast_source source;
  double own = forecast_seconds(experiment->forecast, &(*turn)->run, &source);
  struct progress_others others = {
      .before = before, .forecast = isnan(own) ? 0 : own, .corrected = forecast_has_learnt(experiment->forecast)};
  while (++turn < end) {
    if (!is_to_train(*turn))
      continue;
    double seconds = forecast_corrected(experiment->forecast, &(*turn)->run);
    others.open = others.open || isnan(seconds);
    others.later += isnan(seconds) ? 0 : seconds;
  }
  return others;
}

static bool train_cell(const struct experiment *experiment, struct cell *cell, struct run_control control,
                       struct ffb_error *error) {
  char folder[PATH_MAX];
  json_t *record = NULL;
  double begun = meter_clock_seconds();
  if (!checkpoint_folder(experiment, cell, folder, error))
    return false;
  control.checkpoint = folder;
  control.resume = true;
  if (*cell_text(cell, "profile"))
    control.profile = cell_text(cell, "profile");
  bool ok = run_execute(&cell->config, &control, &record, error);
  if (ok)
    forecast_learn(experiment->forecast, &cell->run, meter_clock_seconds() - begun, record);
  json_decref(record);
  cell->finished = ok;
  if (ok)
    rmdir(folder); /* stays where something is in it */
  return ok;
}

/* A process that was killed once the record was written left its locks, and a checkpoint that no run would go on from.
 */
static void tidy_up(const struct experiment *experiment, const struct cell *cell) {
  static const char *const endings[] = {"", ".tmp", ".lock"};
  char folder[PATH_MAX], path[PATH_MAX], left[PATH_MAX + sizeof ".lock"];
  struct lock lock;
  snprintf(left, sizeof left, "%s.lock", cell->path);
  if (!checkpoint_folder(experiment, cell, folder, NULL) || !checkpoint_path(folder, path, NULL) ||
      (access(left, F_OK) != 0 && access(folder, F_OK) != 0) || !lock_take(&lock, cell->path, "", NULL))
    return;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    snprintf(left, sizeof left, "%s%s", path, endings[i]);
    unlink(left);
  }
  rmdir(folder);
  lock_release(&lock);
}

static int train_in_turn(struct experiment *experiment, struct cell *const *turns) {
  int status = 0;
  double begun = meter_clock_seconds();
  struct run_control control = control_of(experiment);
  struct cell *const *end = turns + experiment->count;
  for (struct cell *const *turn = turns; turn < end; turn++)
    control.cells += (*turn)->selected;
  for (struct cell *const *turn = turns; turn < end; turn++) {
    struct cell *cell = *turn;
    struct ffb_error error = {0};
    control.cell += cell->selected;
    if (cell->finished)
      tidy_up(experiment, cell);
    if (!is_to_train(cell))
      continue;
    struct progress_others others = others_of(experiment, turn, end, meter_clock_seconds() - begun);
    control.others = &others;
    if (train_cell(experiment, cell, control, &error))
      continue;
    status = command_line_fail(&error);
    if (error.kind == FFB_ERROR_INTERRUPTED) {
      fprintf(stderr, "ffbench: the same command goes on from here\n");
      return status;
    }
    snprintf(cell->failure, sizeof cell->failure, "failed: %.400s", error.message);
  }
  return status;
}

int experiment_train(struct experiment *experiment) {
  struct ffb_error error;
  struct cell **turns = take_turns(experiment, &error);
  int status = turns ? train_in_turn(experiment, turns) : command_line_fail(&error);
  ffb_free(turns);
  return status;
}
