/* ffbench list: what there is to choose from. */
#include "backends/backend.h"
#include "datasets/dataset.h"
#include "harness/catalogue.h"
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/file.h"
#include "harness/meters/meter.h"
#include "harness/plugin.h"
#include "models/models.h"

#include <string.h>

static void print_entry(const char *name, const char *description) {
  printf("  %-18s %s\n", name, description);
}

static void print_trainer(void *to, const char *path, const struct ffb_trainer *trainer, const char *problem) {
  (void)to, (void)path;
  if (trainer)
    print_entry(trainer->name, trainer->description);
  else
    printf("  %-18s %s\n", "(not usable)", problem);
}

static bool list_algorithms(struct ffb_error *error) {
  return plugin_each(print_trainer, NULL, error);
}

static bool list_models(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_model_at(i); i++)
    print_entry(ffb_model_at(i)->name, ffb_model_at(i)->description);
  return true;
}

static bool list_datasets(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_dataset_at(i); i++)
    print_entry(ffb_dataset_at(i)->name, ffb_dataset_at(i)->description);
  return true;
}

static void print_backend(const struct ffb_backend *backend) {
  char problem[256];
  print_entry(backend->name, backend->description);
  if (backend->available && !backend->available(problem, sizeof problem))
    printf("  %-18s (not usable) %s\n", "", problem);
}

static bool list_backends(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_backend_at(i); i++)
    print_backend(ffb_backend_at(i));
  for (size_t i = 0; ffb_backend_loadable(i); i++)
    if (ffb_backend_problem(ffb_backend_loadable(i)))
      printf("  %-18s (not usable) %s\n", ffb_backend_loadable(i), ffb_backend_problem(ffb_backend_loadable(i)));
  return true;
}

static bool list_meters(struct ffb_error *error) {
  (void)error;
  for (const struct meter *const *meter = meter_list(); *meter; meter++)
    print_entry((*meter)->name, (*meter)->description);
  return true;
}

static void print_experiment(void *to, const char *path, const char *summary) {
  (void)to;
  print_entry(file_name(path), summary);
}

static bool list_experiments(struct ffb_error *error) {
  return catalogue_each(print_experiment, NULL, error);
}

struct subject {
  const char *name;
  bool (*list)(struct ffb_error *error);
};

static const struct subject subjects[] = {{"algorithms", list_algorithms}, {"models", list_models},
                                          {"datasets", list_datasets},     {"backends", list_backends},
                                          {"meters", list_meters},         {"experiments", list_experiments}};

enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static int list_all(void) {
  int status = 0;
  for (size_t i = 0; i < SUBJECTS; i++) {
    struct ffb_error error;
    printf("%s%s:\n", i ? "\n" : "", subjects[i].name);
    if (!subjects[i].list(&error))
      status = command_line_fail(&error);
  }
  return status;
}

static int list_one(const char *name) {
  struct ffb_error error;
  const char *names[SUBJECTS];
  for (size_t i = 0; i < SUBJECTS; i++) {
    names[i] = subjects[i].name;
    if (strcmp(subjects[i].name, name) == 0)
      return subjects[i].list(&error) ? 0 : command_line_fail(&error);
  }
  const char *nearest = ffb_nearest_name(name, names, SUBJECTS);
  ffb_fail_usage(&error, "list: there is no list of \"%s\": %s%s%s", name, nearest ? "did you mean " : "",
                 nearest ? nearest : "choose algorithms, models, datasets, backends, meters or experiments",
                 nearest ? "?" : "");
  return command_line_fail(&error);
}

int list_command(int argc, char **argv) {
  static const struct command command = {.verb = "list",
                                         .operand = "[algorithms|models|datasets|backends|meters|experiments]",
                                         .summary = "Show what there is to choose from; without a subject, all of it."};
  const char *subject;
  int status;
  if (!command_line_take(&command, argc, argv, &subject, &status))
    return status;
  return subject ? list_one(subject) : list_all();
}
