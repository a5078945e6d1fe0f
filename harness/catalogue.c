#include "harness/catalogue.h"

#include "harness/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 512 };

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

bool catalogue_each(catalogue_visit *visit, void *to, struct ffb_error *error) {
  char program[PATH_MAX], beside[PATH_MAX], folder[PATH_MAX + 32];
  if (visit_folder("experiments", visit, to))
    return true;
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length > 0) {
    program[length] = '\0';
    file_folder(program, beside);
    snprintf(folder, sizeof folder, "%s/../experiments", beside);
    if (visit_folder(folder, visit, to))
      return true;
  }
  return ffb_fail(error, "there is no folder \"experiments\" here: go to where ffbench was cloned");
}
