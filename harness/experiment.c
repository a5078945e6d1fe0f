#include "harness/experiment.h"

#include "base/memory.h"
#include "harness/command_line.h"
#include "harness/experiment_parts.h"
#include "harness/file.h"
#include "harness/interrupt.h"
#include "harness/value.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 64 };

/* ---- the command line ----------------------------------------------------------------------------------------- */

#define PLACE(name) offsetof(struct places, name)

static const struct ffb_option place_options[] = {
    {.name = "profile",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(profile),
     .help =
         "size of the experiment: smoke, quick, paper or reference (the MLP as paper, the others as quick); else the "
         "environment's FFBENCH_PROFILE, else quick (paper on a Jetson)"},
    {.name = "data",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(data),
     .help = "folder with the data files; else the environment's FFBENCH_DATA, else ./data"},
    {.name = "results",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(results),
     .initial = "results",
     .minimum = 1,
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
    {.name = "cool_to",
     .type = FFB_OPTION_NUMBER,
     .offset = PLACE(cool_to),
     .initial = "0",
     .minimum = 0,
     .maximum = 150,
     .help = "before each run, wait until no thermal zone is hotter than so many degrees Celsius; 0: do not wait"},
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
  unsigned long refused = ffb_refused_allocations();
  json_t *value = json_stringn(equals + 1, length - (size_t)(equals + 1 - text));
  json_t *pair = value ? json_pack("{s:s, s:o}", first, key, second, value) : NULL;
  if (pair && !json_array_append_new(list, pair))
    return true;
  return value_is_whole(refused, "the command line", error) &&
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

/* ---- the verbs ------------------------------------------------------------------------------------------------ */

static int run_verb(struct experiment *experiment) {
  struct ffb_error error = {0};
  if (!(experiment->forecast = forecast_open(experiment->places.results, &error)) ||
      !experiment_plan(experiment, &error))
    return command_line_fail(&error);
  interrupt_watch();
  experiment_print_plan(experiment);
  if (experiment->places.dry_run)
    return 0;
  int status = experiment_train(experiment);
  /* The table shows every row of the experiment, whatever --only picked for training. */
  if (status != 130 && !experiment_report(experiment, false, NULL, &error))
    return command_line_fail(&error);
  return status;
}

static int report_verb(struct experiment *experiment) {
  struct ffb_error error = {0};
  if (!experiment->file)
    return experiment_report_all(experiment);
  json_t *sections = experiment->places.page ? json_array() : NULL;
  if (experiment->places.page && !sections)
    ffb_fail(&error, "out of memory for the page: close other programs");
  bool ok = (sections || !experiment->places.page) && experiment_plan(experiment, &error) &&
            experiment_report(experiment, true, sections, &error) &&
            (!sections || experiment_write_page(experiment, experiment->library, sections, NULL, &error));
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
  json_t *result = experiment_plan(experiment, &error) ? experiment_ask(experiment, "check", true, true, &error) : NULL;
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
  experiment_forget_plan(experiment);
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
