/* ffbench list: what there is to choose from. */
#include "backends/backend.h"
#include "datasets/dataset.h"
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/file.h"
#include "harness/meters/meter.h"
#include "harness/plugin.h"
#include "models/models.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 512 };

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

static bool list_backends(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_backend_at(i); i++)
    print_entry(ffb_backend_at(i)->name, ffb_backend_at(i)->description);
  return true;
}

static bool list_meters(struct ffb_error *error) {
  (void)error;
  for (const struct meter *const *meter = meter_list(); *meter; meter++)
    print_entry((*meter)->name, (*meter)->description);
  return true;
}

/* A script that makes an experiment is one; others hold data that experiments share. Its first comment line, up to the
 * end of the first sentence, says what it is. */
static void print_experiment(const char *folder, const char *name) {
  char path[PATH_MAX + NAME_MAX + 2], line[LINE_BYTES], summary[LINE_BYTES] = "";
  bool experiment = false;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "re");
  while (file && !experiment && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    if (!summary[0])
      snprintf(summary, sizeof summary, "%s", line + strspn(line, "- "));
    experiment = strstr(line, "return experiment") == line;
  }
  if (file)
    fclose(file);
  char *end = strstr(summary, ". ");
  if (end)
    *end = '\0';
  if (experiment)
    print_entry(name, summary);
}

static int is_script(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > 4 && strcmp(entry->d_name + length - 4, ".lua") == 0;
}

static bool print_folder(const char *folder) {
  struct dirent **entries;
  int count = scandir(folder, &entries, is_script, alphasort);
  if (count < 0)
    return false;
  for (int i = 0; i < count; i++) {
    print_experiment(folder, entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  return true;
}

/* Those of the folder one is in, else those that lie beside the program's. */
static bool list_experiments(struct ffb_error *error) {
  char program[PATH_MAX], beside[PATH_MAX], folder[PATH_MAX + 32];
  if (print_folder("experiments"))
    return true;
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length > 0) {
    program[length] = '\0';
    file_folder(program, beside);
    snprintf(folder, sizeof folder, "%s/../experiments", beside);
    if (print_folder(folder))
      return true;
  }
  return ffb_fail(error, "there is no folder \"experiments\" here: go to where ffbench was cloned");
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
  struct ffb_error error;
  const char *subject;
  switch (command_line_read(&command, argc, argv, &subject, &error)) {
  case COMMAND_READ:
    return subject ? list_one(subject) : list_all();
  case COMMAND_HELP:
    command_line_help(stdout, &command);
    return 0;
  default:
    return command_line_fail(&error);
  }
}
