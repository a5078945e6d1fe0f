/* A folder of a test's own, programs that are run, and what is found in texts. */
#ifndef FFB_TESTS_SCRATCH_H
#define FFB_TESTS_SCRATCH_H

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Empty, below $TMPDIR or /tmp. 0, or -1 where there is none to be had: what cmocka's fixtures return. */
static inline int scratch_make(char *folder, size_t size) {
  const char *temporary = getenv("TMPDIR");
  int length = snprintf(folder, size, "%s/ffbench-test-XXXXXX", temporary && *temporary ? temporary : "/tmp");
  return length > 0 && (size_t)length < size && mkdtemp(folder) ? 0 : -1;
}

static inline int scratch_remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status, (void)kind, (void)place;
  return remove(path);
}

/* With all that is in it. */
static inline int scratch_remove(const char *folder) {
  return nftw(folder, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* The exit status of a program that writes to a file; 127 where it is not installed. */
static inline int run_program(const char *const *arguments, const char *to) {
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int opened = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (opened < 0 || dup2(opened, STDOUT_FILENO) < 0)
      _exit(126);
    execvp(arguments[0], (char *const *)arguments);
    _exit(127);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void assert_contains(const char *text, const char *part) {
  if (!text || !strstr(text, part))
    fail_msg("\"%s\" is not in \"%s\"", part, text ? text : "(null)");
}

static inline size_t count_of(const char *text, const char *part) {
  size_t count = 0;
  for (const char *next = text; (next = strstr(next, part)); next += strlen(part))
    count++;
  return count;
}

#endif
