#include "harness/experiment.h"

#include "base/memory.h"
#include "datasets/dataset.h"
#include "harness/catalogue.h"
#include "harness/command_line.h"
#include "harness/data.h"
#include "harness/figure.h"
#include "harness/file.h"
#include "harness/forecast.h"
#include "harness/interrupt.h"
#include "harness/lua_host.h"
#include "harness/machine.h"
#include "harness/meters/clock.h"
#include "harness/page.h"
#include "harness/plot.h"
#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/record.h"
#include "harness/registry.h"
#include "harness/run.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REASON_BYTES = 512, KEY_BYTES = 64 };

static const char results_remedy[] = "name another folder with --results DIR";

/* ---- the command line ----------------------------------------------------------------------------------------- */

struct places {
  const char *profile, *data, *results, *backend, *junit, *page;
  int64_t threads;
  bool dry_run, calibrate, quiet;
};

#define PLACE(name) offsetof(struct places, name)

static const struct ffb_option place_options[] = {
    {.name = "profile",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(profile),
     .help = "size of the experiment: smoke, quick or paper; else the environment's FFBENCH_PROFILE, else quick (paper "
             "on a Jetson)"},
    {.name = "data",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(data),
     .help = "folder with the data files; else the environment's FFBENCH_DATA, else ./data"},
    {.name = "results",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(results),
     .initial = "results",
     .help = "folder for tables; in it records/, plots/ for figures, and checkpoints/ of runs that were stopped"},
    {.name = "backend",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(backend),
     .help = "what computes (\"ffbench list backends\"); else the best there is"},
    {.name = "threads",
     .type = FFB_OPTION_INTEGER,
     .offset = PLACE(threads),
     .initial = "0",
     .minimum = 0,
     .maximum = 1024,
     .help = "processor threads; 0: as many as this machine offers"},
    {.name = NULL},
};

static const struct ffb_option training_options[] = {
    {.name = "dry_run",
     .type = FFB_OPTION_BOOLEAN,
     .offset = PLACE(dry_run),
     .initial = "false",
     .help = "show what would be trained and how long that should take, by the records at hand, and stop"},
    {.name = "calibrate",
     .type = FFB_OPTION_BOOLEAN,
     .offset = PLACE(calibrate),
     .initial = "false",
     .help = "with --dry-run: take a few steps where no record tells how long they take, as a real run does"},
    {.name = "quiet",
     .type = FFB_OPTION_BOOLEAN,
     .offset = PLACE(quiet),
     .initial = "false",
     .help = "show no progress"},
    {.name = NULL},
};

static const struct ffb_option check_options[] = {
    {.name = "junit",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(junit),
     .help = "file for gates and claims as JUnit XML, which CI services show"},
    {.name = NULL},
};

static const struct ffb_option report_options[] = {
    {.name = "page",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(page),
     .help =
         "file for all of it as one page of HTML; else report.html in the results folder where no experiment is named"},
    {.name = NULL},
};

/* One run of the plan. */
struct cell {
  const json_t *plan; /* {id, title, selected, config...}, held by the experiment's plan */
  struct run_config config;
  char path[PATH_MAX]; /* of its record */
  char failure[REASON_BYTES];
  bool selected, finished;
  struct forecast_run run; /* of a cell to train */
};

struct experiment {
  const char *file;
  struct places places;
  json_t *only, *set; /* [{key, value}], [{name, text}] */
  char library[PATH_MAX];
  json_t *registry, *plan;
  struct forecast *forecast; /* null where nothing is trained */
  struct cell *cells;
  size_t count;
};

static const char *profile_of(const struct experiment *experiment) {
  const char *environment = getenv("FFBENCH_PROFILE");
  if (experiment->places.profile)
    return experiment->places.profile;
  if (environment && *environment)
    return environment;
  return machine_is_jetson() ? "paper" : "quick";
}

/* "key=value" into an object of two texts. */
static bool add_pair(json_t *list, const char *option, const char *text, size_t length, const char *first,
                     const char *second, struct ffb_error *error) {
  const char *equals = memchr(text, '=', length);
  char key[KEY_BYTES];
  if (!equals || equals == text || (size_t)(equals - text) >= sizeof key)
    return ffb_fail_usage(error, "--%s %.*s: write %s=VALUE", option, (int)length, text,
                          strcmp(option, "only") == 0 ? "KEY" : "NAME");
  snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
  for (char *c = key; *c; c++)
    if (*c == '-')
      *c = '_';
  json_t *value = json_stringn(equals + 1, length - (size_t)(equals + 1 - text));
  json_t *pair = value ? json_pack("{s:s, s:o}", first, key, second, value) : NULL;
  return (pair && !json_array_append_new(list, pair)) ||
         ffb_fail_usage(error, "--%s %.*s: this is not UTF-8 text", option, (int)length, text);
}

static bool add_only(void *to, const char *text, struct ffb_error *error) {
  const struct experiment *experiment = to;
  for (size_t length; *text; text += length + (text[length] == ',')) {
    length = strcspn(text, ",");
    if (!add_pair(experiment->only, "only", text, length, "key", "value", error))
      return false;
  }
  return true;
}

static bool add_set(void *to, const char *text, struct ffb_error *error) {
  const struct experiment *experiment = to;
  return add_pair(experiment->set, "set", text, strlen(text), "name", "text", error);
}

/* ---- Lua ------------------------------------------------------------------------------------------------------ */

/* json_cells: null, or what was found for each cell; `filtered`: whether --only applies. */
static json_t *ask_lua(const struct experiment *experiment, const char *mode, json_t *json_cells, bool filtered,
                       struct ffb_error *error) {
  char version[512];
  provenance_version(version, sizeof version);
  json_t *input = json_pack("{s:s, s:s, s:s, s:b, s:b, s:O, s:O, s:O?, s:o*}", "mode", mode, "profile",
                            profile_of(experiment), "version", version, "draws", plot_available(), "page",
                            experiment->places.page != NULL, "registry", experiment->registry, "set", experiment->set,
                            "only", filtered ? experiment->only : NULL, "cells", json_cells);
  if (!input) {
    ffb_fail_usage(error, "%s: the profile's name is not UTF-8 text", experiment->file);
    return NULL;
  }
  json_t *result = lua_host_run(experiment->file, experiment->library, input, &lua_host_limits_default, error);
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
                              .profile = profile_of(experiment),
                              .experiment = experiment->file};
}

static bool is_to_train(const struct cell *cell) {
  return cell->selected && !cell->finished;
}

static bool read_cell(struct cell *cell, const struct experiment *experiment, struct ffb_error *error) {
  const struct places *places = &experiment->places;
  struct run_control control = control_of(experiment);
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
  return ok || ffb_fail_prefix(error, "%s: %s: ", experiment->file, cell_text(cell, "id"));
}

static bool prepare(struct experiment *experiment, struct ffb_error *error) {
  return experiment->registry || (catalogue_library(experiment->file, experiment->library, error) &&
                                  (experiment->registry = registry_json(error)));
}

static bool make_plan(struct experiment *experiment, struct ffb_error *error) {
  if (!prepare(experiment, error) || !(experiment->plan = ask_lua(experiment, "plan", NULL, true, error)))
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
static void print_plan(const struct experiment *experiment) {
  size_t selected = 0, finished = 0, number = 0, unknown = 0;
  double seconds = 0;
  for (size_t i = 0; i < experiment->count; i++) {
    selected += experiment->cells[i].selected;
    finished += experiment->cells[i].selected && experiment->cells[i].finished;
  }
  print_substitutions(experiment);
  printf("%s, profile %s: %zu run%s, %zu done, %zu to train\n", experiment->file, profile_of(experiment), selected,
         selected == 1 ? "" : "s", finished, selected - finished);
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

/* ---- training ------------------------------------------------------------------------------------------------- */

/* results/checkpoints/<name of the record>; one run of the plan stops and goes on there. */
static bool checkpoint_folder(const struct experiment *experiment, const struct cell *cell, char folder[PATH_MAX],
                              struct ffb_error *error) {
  const char *name = file_name(cell->path);
  int length = (int)strlen(name) - (int)strlen(".json");
  return snprintf(folder, PATH_MAX, "%s/checkpoints/%.*s", experiment->places.results, length > 0 ? length : 0, name) <
             PATH_MAX ||
         ffb_fail_usage(error, "the name of the results folder is too long: %s", results_remedy);
}

/* What is around a cell as its run begins. */
static struct progress_others others_of(const struct experiment *experiment, const struct cell *cell, double before) {
  enum forecast_source source;
  double own = forecast_seconds(experiment->forecast, &cell->run, &source);
  struct progress_others others = {
      .before = before, .forecast = isnan(own) ? 0 : own, .corrected = forecast_has_learnt(experiment->forecast)};
  for (const struct cell *later = cell + 1; later < experiment->cells + experiment->count; later++) {
    if (!is_to_train(later))
      continue;
    double seconds = forecast_corrected(experiment->forecast, &later->run);
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
  bool ok = run_execute(&cell->config, &control, &record, error);
  if (ok)
    forecast_learn(experiment->forecast, &cell->run, meter_clock_seconds() - begun, record);
  json_decref(record);
  cell->finished = ok;
  if (ok)
    rmdir(folder); /* stays where something is in it */
  return ok;
}

/* A run that fails does not stop the others. Returns the exit status. */
static int train_cells(struct experiment *experiment) {
  int status = 0;
  double begun = meter_clock_seconds();
  struct run_control control = control_of(experiment);
  for (size_t i = 0; i < experiment->count; i++)
    control.cells += experiment->cells[i].selected;
  for (size_t i = 0; i < experiment->count; i++) {
    struct cell *cell = &experiment->cells[i];
    struct ffb_error error = {0};
    control.cell += cell->selected;
    if (!is_to_train(cell))
      continue;
    struct progress_others others = others_of(experiment, cell, meter_clock_seconds() - begun);
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

/* ---- reading records ------------------------------------------------------------------------------------------ */

static json_t *read_record(const struct cell *cell, char reason[REASON_BYTES]) {
  json_error_t problem = {.line = 0};
  if (cell->failure[0]) {
    snprintf(reason, REASON_BYTES, "%s", cell->failure);
    return NULL;
  }
  json_t *record = access(cell->path, F_OK) == 0 ? json_load_file(cell->path, 0, &problem) : NULL;
  if (record_says_finished(record))
    return record;
  if (record)
    snprintf(reason, REASON_BYTES, "stopped before its end");
  else if (access(cell->path, F_OK) == 0)
    snprintf(reason, REASON_BYTES, "its record is damaged (line %d): delete %.300s and run again", problem.line,
             cell->path);
  else
    snprintf(reason, REASON_BYTES, "not run");
  json_decref(record);
  return NULL;
}

static json_t *found_cells(const struct experiment *experiment) {
  json_t *list = json_array();
  for (size_t i = 0; i < experiment->count; i++) {
    const struct cell *cell = &experiment->cells[i];
    char reason[REASON_BYTES] = "";
    json_t *record = read_record(cell, reason);
    json_array_append_new(list, json_pack("{s:o*, s:s, s:s, s:s}", "record", record, "reason", reason, "file",
                                          file_name(cell->path), "dataset", cell->config.dataset));
  }
  return list;
}

static bool write_files(const struct experiment *experiment, const json_t *files, struct ffb_error *error) {
  size_t index;
  json_t *file;
  json_array_foreach((json_t *)files, index, file) {
    const char *name = json_string_value(json_object_get(file, "name"));
    const char *text = json_string_value(json_object_get(file, "text"));
    char path[PATH_MAX];
    if (!name || !text || strchr(name, '/') || name[0] == '.')
      return ffb_fail(error, "%s: the report names a file \"%s\": it must be a plain name", experiment->file,
                      name ? name : "");
    if (snprintf(path, sizeof path, "%s/%s", experiment->places.results, name) >= PATH_MAX)
      return ffb_fail_usage(error, "the name of the results folder is too long: %s", results_remedy);
    if (!file_replace(path, text, strlen(text), results_remedy, error))
      return false;
    printf("%s%s", index ? ", " : "\nwritten: ", path);
  }
  if (json_array_size(files) > 0)
    printf("\n");
  return true;
}

/* After the tables, which come whatever happens here. */
static bool draw_figures(const struct experiment *experiment, const json_t *figures, struct ffb_error *error) {
  size_t index;
  json_t *figure;
  char folder[PATH_MAX];
  if (json_array_size(figures) == 0)
    return true;
  if (snprintf(folder, sizeof folder, "%s/plots", experiment->places.results) >= PATH_MAX)
    return ffb_fail_usage(error, "the name of the results folder is too long: %s", results_remedy);
  json_array_foreach((json_t *)figures, index, figure) {
    if (!plot_figure(figure, folder, results_remedy, error))
      return ffb_fail_prefix(error, "%s: ", experiment->file);
    printf("%s%s/%s.%s",
           index              ? ", "
           : plot_available() ? "drawn: "
                              : "figures: ",
           folder, figure_name(figure), plot_available() ? "png" : "gp");
  }
  printf("%s\n", plot_available()
                     ? ", each also as .svg"
                     : "; no pictures, because gnuplot is missing: install gnuplot-nox, then report again");
  return true;
}

/* sections: where the page takes up this report, or null. */
static bool report(const struct experiment *experiment, bool filtered, json_t *sections, struct ffb_error *error) {
  json_t *result = ask_lua(experiment, "report", found_cells(experiment), filtered, error);
  if (!result)
    return false;
  const char *text = json_string_value(json_object_get(result, "terminal"));
  printf("\n%s", text ? text : "");
  bool ok = write_files(experiment, json_object_get(result, "files"), error) &&
            draw_figures(experiment, json_object_get(result, "figures"), error) &&
            (!sections || page_add(sections, result, experiment->places.results, error));
  json_decref(result);
  return ok;
}

/* ---- the verbs ------------------------------------------------------------------------------------------------ */

static int run_verb(struct experiment *experiment) {
  struct ffb_error error = {0};
  if (!(experiment->forecast = forecast_open(experiment->places.results, &error)) || !make_plan(experiment, &error))
    return command_line_fail(&error);
  interrupt_watch();
  print_plan(experiment);
  if (experiment->places.dry_run)
    return 0;
  int status = train_cells(experiment);
  /* The table shows every row of the experiment, whatever --only picked for training. */
  if (status != 130 && !report(experiment, false, NULL, &error))
    return command_line_fail(&error);
  return status;
}

/* What belongs to one experiment, as opposed to the command line. */
static void forget_plan(struct experiment *experiment) {
  for (size_t i = 0; i < experiment->count; i++)
    run_config_end(&experiment->cells[i].config);
  ffb_free(experiment->cells);
  json_decref(experiment->plan);
  json_decref(experiment->registry);
}

static bool write_page(const struct experiment *experiment, const char *library, const json_t *sections,
                       struct ffb_error *error) {
  if (!page_write(experiment->places.page, library, profile_of(experiment), sections, error))
    return false;
  printf("page: %s\n", experiment->places.page);
  return true;
}

/* The reports of every experiment with a record. */
struct reports {
  const struct experiment *command; /* without a file of its own */
  json_t *sections;
  char library[PATH_MAX];
  int status;
};

static bool has_profile(const struct experiment *experiment, struct ffb_error *error) {
  json_t *description = ask_lua(experiment, "describe", NULL, false, error), *name;
  bool found = false;
  size_t index;
  json_array_foreach(json_object_get(description, "profiles"), index, name) {
    found = found || strcmp(json_string_value(name), profile_of(experiment)) == 0;
  }
  json_decref(description);
  return found;
}

static bool has_record(const struct experiment *experiment) {
  for (size_t i = 0; i < experiment->count; i++)
    if (experiment->cells[i].selected && experiment->cells[i].finished)
      return true;
  return false;
}

static bool report_one(struct experiment *experiment, struct reports *reports, struct ffb_error *error) {
  if (!prepare(experiment, error))
    return false;
  snprintf(reports->library, sizeof reports->library, "%s", experiment->library);
  if (!has_profile(experiment, error))
    return error->kind == FFB_ERROR_NONE;
  if (!make_plan(experiment, error))
    return false;
  if (has_record(experiment))
    return report(experiment, true, reports->sections, error);
  json_array_append_new(reports->sections,
                        json_pack("{s:O, s:O, s:s, s:b}", "name", json_object_get(experiment->plan, "name"), "title",
                                  json_object_get(experiment->plan, "title"), "file", experiment->file, "missing", 1));
  return true;
}

/* One that fails does not stop the others. */
static void visit_report(void *to, const char *path, const char *summary) {
  struct reports *reports = to;
  struct ffb_error error = {0};
  (void)summary;
  struct experiment experiment = *reports->command;
  experiment.file = path;
  if (!report_one(&experiment, reports, &error))
    reports->status = command_line_fail(&error);
  forget_plan(&experiment);
}

static bool report_each(struct reports *reports, struct ffb_error *error) {
  if (!catalogue_each(visit_report, reports, error))
    return false;
  if (json_array_size(reports->sections) > 0)
    return write_page(reports->command, reports->library, reports->sections, error);
  return reports->status != 0 ||
         ffb_fail_usage(error, "report: no experiment here has a profile \"%s\": choose smoke, quick or paper",
                        profile_of(reports->command));
}

static int report_all(struct experiment *experiment) {
  char page[PATH_MAX];
  struct ffb_error error = {0};
  struct reports reports = {.command = experiment, .sections = json_array()};
  bool named = experiment->places.page != NULL;
  snprintf(page, sizeof page, "%s/report.html", experiment->places.results);
  if (!named)
    experiment->places.page = page;
  if (!report_each(&reports, &error))
    reports.status = command_line_fail(&error);
  if (!named)
    experiment->places.page = NULL;
  json_decref(reports.sections);
  return reports.status;
}

static int report_verb(struct experiment *experiment) {
  struct ffb_error error = {0};
  if (!experiment->file)
    return report_all(experiment);
  json_t *sections = experiment->places.page ? json_array() : NULL;
  bool ok = make_plan(experiment, &error) && report(experiment, true, sections, &error) &&
            (!sections || write_page(experiment, experiment->library, sections, &error));
  json_decref(sections);
  return ok ? 0 : command_line_fail(&error);
}

static bool write_junit(const struct experiment *experiment, const json_t *result, struct ffb_error *error) {
  const char *text = json_string_value(json_object_get(result, "junit")), *path = experiment->places.junit;
  return !path ||
         file_replace(path, text ? text : "", text ? strlen(text) : 0, "name another file with --junit FILE", error);
}

static int check_verb(struct experiment *experiment) {
  struct ffb_error error = {0};
  json_t *result =
      make_plan(experiment, &error) ? ask_lua(experiment, "check", found_cells(experiment), true, &error) : NULL;
  if (!result)
    return command_line_fail(&error);
  const char *text = json_string_value(json_object_get(result, "terminal"));
  json_int_t failed = json_integer_value(json_object_get(result, "failed"));
  printf("%s\n%s\n", text ? text : "", failed == 0 ? "No gate failed." : "A gate failed.");
  bool written = write_junit(experiment, result, &error);
  json_decref(result);
  if (!written)
    return command_line_fail(&error);
  return failed == 0 ? 0 : 1;
}

struct verb {
  const char *name, *summary;
  int (*execute)(struct experiment *experiment);
  const char *group; /* of options of its own */
  const struct ffb_option *options;
  bool alone; /* works without an experiment */
};

static const struct verb verbs[] = {
    {"run", "Train what an experiment lists and has no record of, then write its tables and figures.", run_verb,
     "Training", training_options, false},
    {"report",
     "Write an experiment's tables and figures from the records at hand; what is missing is shown as a gap. Without an "
     "experiment: "
     "those of all that have records, and the page that joins them.",
     report_verb, "The page", report_options, true},
    {"check", "Hold the records against the paper and the profile's gates; exit status 1 on a failed gate.", check_verb,
     "For CI", check_options, false},
};

static const struct verb *find_verb(const char *name) {
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (strcmp(verbs[i].name, name) == 0)
      return &verbs[i];
  return &verbs[0];
}

static bool begin(struct experiment *experiment, struct ffb_error *error) {
  experiment->only = json_array();
  experiment->set = json_array();
  if (!experiment->only || !experiment->set)
    return ffb_fail(error, "out of memory: close other programs");
  return ffb_options_default(place_options, &experiment->places, error) &&
         ffb_options_default(training_options, &experiment->places, error) &&
         ffb_options_default(check_options, &experiment->places, error) &&
         ffb_options_default(report_options, &experiment->places, error);
}

static void end(struct experiment *experiment) {
  forget_plan(experiment);
  forecast_close(experiment->forecast);
  json_decref(experiment->only);
  json_decref(experiment->set);
  ffb_options_clear(place_options, &experiment->places);
  ffb_options_clear(check_options, &experiment->places);
  ffb_options_clear(report_options, &experiment->places);
}

int experiment_command(int argc, char **argv) {
  struct experiment experiment = {0};
  const struct verb *verb = find_verb(argv[0]);
  struct ffb_error error = {0};
  const struct command_table tables[] = {
      {"Where and how", place_options, &experiment.places}, {verb->group, verb->options, &experiment.places}, {0}};
  const struct command_repeated repeated[] = {
      {"only", "KEY=VALUE,...", "only runs of this algorithm, model, dataset or seed", add_only, &experiment},
      {"set", "NAME=VALUE", "another value for every run that has the option: epochs, seeds=1,2, model.NAME", add_set,
       &experiment},
      {0}};
  const struct command command = {.verb = verb->name,
                                  .summary = verb->summary,
                                  .operand = verb->alone ? "[EXPERIMENT.lua]" : "EXPERIMENT.lua",
                                  .operand_required = !verb->alone,
                                  .tables = tables,
                                  .repeated = repeated};
  int status = 0;
  if (!begin(&experiment, &error))
    status = command_line_fail(&error);
  else if (command_line_take(&command, argc, argv, &experiment.file, &status))
    status = verb->execute(&experiment);
  end(&experiment);
  return status;
}
