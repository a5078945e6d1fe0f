/* A folder that each case of a test program has to itself. */
#ifndef FFB_TESTS_FOLDER_H
#define FFB_TESTS_FOLDER_H

#include "tests/scratch.h"

#include <limits.h>

static char folder[256];

/* A path in the folder. The same name gives the same text, so that lists of arguments stay good. */
static inline const char *in(const char *name) {
  enum { NAMES = 64, NAME_BYTES = 160 };
  static struct { char name[NAME_BYTES], path[PATH_MAX]; } known[NAMES];
  int i = 0;
  while (i < NAMES && known[i].name[0] && strcmp(known[i].name, name) != 0)
    i++;
  assert_true(i < NAMES && strlen(name) < NAME_BYTES);
  snprintf(known[i].name, NAME_BYTES, "%s", name);
  snprintf(known[i].path, PATH_MAX, "%s/%s", folder, name);
  return known[i].path;
}

static inline int make_folder(void **state) {
  (void)state;
  return scratch_make(folder, sizeof folder);
}

static inline int remove_folder(void **state) {
  (void)state;
  return scratch_remove(folder);
}

static inline int find_temporary(const char *path, const struct stat *status, int kind, struct FTW *walk) {
  (void)status, (void)kind, (void)walk;
  size_t length = strlen(path);
  bool left = length > 5 && (strcmp(path + length - 4, ".tmp") == 0 || strcmp(path + length - 5, ".lock") == 0);
  if (left)
    print_error("left behind: %s\n", path);
  return left;
}

/* Neither half-written files nor locks. */
static inline void assert_nothing_temporary(void) {
  assert_int_equal(nftw(folder, find_temporary, 8, FTW_PHYS), 0);
}

#endif
