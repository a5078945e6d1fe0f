#include "harness/catalogue.h"

#include "harness/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 512 };

static const char library_file[] = "lib/experiment.lua";

static bool is_experiment(const char *path, char summary[LINE_BYTES]) {
  char line[LINE_BYTES];
  bool experiment = false;
  FILE *file = fopen(path, "re");
  summary[0] = '\0';
  while (file && !experiment && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    if (!summary[0])
      snprintf(summary, LINE_BYTES, "%s", line + strspn(line, "- "));
    experiment = strstr(line, "return experiment") == line;
  }
  if (file)
    fclose(file);
  char *end = strstr(summary, ". ");
  if (end)
    *end = '\0';
  return experiment;
}

static int is_script(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > 4 && strcmp(entry->d_name + length - 4, ".lua") == 0;
}

static bool visit_folder(const char *folder, catalogue_visit *visit, void *to) {
  struct dirent **entries;
  int count = scandir(folder, &entries, is_script, alphasort);
  if (count < 0)
    return false;
  for (int i = 0; i < count; i++) {
    char path[PATH_MAX + NAME_MAX + 2], summary[LINE_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
    if (is_experiment(path, summary))
      visit(to, path, summary);
    free(entries[i]);
  }
  free(entries);
  return true;
}

static bool is_library(const char *folder) {
  char path[PATH_MAX];
  return snprintf(path, sizeof path, "%s/%s", folder, library_file) < PATH_MAX && access(path, R_OK) == 0;
}

static bool find_near_program(char folder[PATH_MAX]) {
  static const char *const places[] = {"../experiments", "experiments", "../../experiments", "../../../experiments",
                                       "../share/ffbench/experiments"};
  char beside[PATH_MAX];
  if (!file_program_folder(beside, NULL))
    return false;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (snprintf(folder, PATH_MAX, "%s/%s", beside, places[i]) < PATH_MAX && is_library(folder))
      return true;
  return false;
}

bool catalogue_each(catalogue_visit *visit, void *to, struct ffb_error *error) {
  char folder[PATH_MAX];
  return visit_folder("experiments", visit, to) || (find_near_program(folder) && visit_folder(folder, visit, to)) ||
         ffb_fail(error, "there is no folder \"experiments\" here: go to where ffbench was cloned");
}

bool catalogue_library(const char *file, char library[PATH_MAX], struct ffb_error *error) {
  file_folder(file, library);
  return is_library(library) || find_near_program(library) ||
         ffb_fail(error, "%s: there is no %s beside it or in experiments/ near the program: put the experiment there",
                  file, library_file);
}
