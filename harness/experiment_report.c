#include "harness/experiment_parts.h"

#include "base/memory.h"
#include "harness/catalogue.h"
#include "harness/command_line.h"
#include "harness/figure.h"
#include "harness/file.h"
#include "harness/page.h"
#include "harness/plot.h"
#include "harness/record.h"
#include "harness/value.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- reading records ------------------------------------------------------------------------------------------ */

static json_t *read_record(const struct cell *cell, char reason[REASON_BYTES]) {
  json_error_t problem = {.line = 0};
  if (cell->failure[0]) {
    snprintf(reason, REASON_BYTES, "%s", cell->failure);
    return NULL;
  }
  json_t *record = access(cell->path, F_OK) == 0 ? json_load_file(cell->path, 0, &problem) : NULL;
  char wrong[REASON_BYTES / 4];
  bool sound = record_is_sound(record, wrong, sizeof wrong);
  if (sound && record_says_finished(record))
    return record;
  if (record && !sound)
    snprintf(reason, REASON_BYTES, "its record is damaged (%s): delete %.300s and run again", wrong, cell->path);
  else if (record)
    snprintf(reason, REASON_BYTES, "stopped before its end");
  else if (access(cell->path, F_OK) == 0)
    snprintf(reason, REASON_BYTES, "its record is damaged (line %d): delete %.300s and run again", problem.line,
             cell->path);
  else
    snprintf(reason, REASON_BYTES, "not run");
  json_decref(record);
  return NULL;
}

json_t *experiment_found(const struct experiment *experiment) {
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
      return ffb_fail_usage(error, "the name of the results folder is too long: %s", experiment_remedy);
    if (!file_replace(path, text, strlen(text), experiment_remedy, error))
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
    return ffb_fail_usage(error, "the name of the results folder is too long: %s", experiment_remedy);
  json_array_foreach((json_t *)figures, index, figure) {
    if (!plot_figure(figure, folder, experiment_remedy, error))
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

bool experiment_report(const struct experiment *experiment, bool filtered, json_t *sections, struct ffb_error *error) {
  json_t *result = experiment_ask(experiment, "report", true, filtered, error);
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

/* ---- pages ----------------------------------------------------------------------------------------------------- */

bool experiment_write_page(const struct experiment *experiment, const char *library, const json_t *sections,
                           const char *summary, struct ffb_error *error) {
  if (!page_write(experiment->places.page, summary, library, experiment_profile(experiment), sections, error))
    return false;
  printf("page: %s%s%s\n", experiment->places.page, summary ? ", verdicts: " : "", summary ? summary : "");
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
  json_t *description = experiment_ask(experiment, "describe", false, false, error), *name;
  bool found = false;
  size_t index;
  json_array_foreach(json_object_get(description, "profiles"), index, name) {
    const char *text = json_string_value(name); /* null where a script changed what tostring does */
    found = found || (text && strcmp(text, experiment_profile(experiment)) == 0);
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
  if (!experiment_prepare(experiment, error))
    return false;
  snprintf(reports->library, sizeof reports->library, "%s", experiment->library);
  if (!has_profile(experiment, error))
    return error->kind == FFB_ERROR_NONE;
  if (!experiment_plan(experiment, error))
    return false;
  if (has_record(experiment))
    return experiment_report(experiment, true, reports->sections, error);
  unsigned long refused = ffb_refused_allocations();
  json_array_append_new(reports->sections,
                        json_pack("{s:O, s:O, s:s, s:b}", "name", json_object_get(experiment->plan, "name"), "title",
                                  json_object_get(experiment->plan, "title"), "file", experiment->file, "missing", 1));
  return value_is_whole(refused, "the page", error);
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
  experiment_forget_plan(&experiment);
}

static bool report_each(struct reports *reports, struct ffb_error *error) {
  char summary[PATH_MAX];
  if (snprintf(summary, sizeof summary, "%s/verdicts.md", reports->command->places.results) >= PATH_MAX)
    return ffb_fail_usage(error, "the name of the results folder is too long: %s", experiment_remedy);
  if (!catalogue_each(visit_report, reports, error))
    return false;
  if (json_array_size(reports->sections) > 0)
    return experiment_write_page(reports->command, reports->library, reports->sections, summary, error);
  return reports->status != 0 ||
         ffb_fail_usage(error, "report: no experiment here has a profile \"%s\": choose smoke, quick or paper",
                        experiment_profile(reports->command));
}

int experiment_report_all(struct experiment *experiment) {
  char page[PATH_MAX];
  struct ffb_error error = {0};
  struct reports reports = {.command = experiment, .sections = json_array()};
  bool named = experiment->places.page != NULL;
  snprintf(page, sizeof page, "%s/report.html", experiment->places.results);
  if (!named)
    experiment->places.page = page;
  if (!reports.sections)
    ffb_fail(&error, "out of memory for the page: close other programs");
  if (!reports.sections || !report_each(&reports, &error))
    reports.status = command_line_fail(&error);
  if (!named)
    experiment->places.page = NULL;
  json_decref(reports.sections);
  return reports.status;
}
