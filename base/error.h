/* Errors as values. A function that can fail returns bool and takes a struct ffb_error; only the program prints one. */
#ifndef FFBENCH_BASE_ERROR_H
#define FFBENCH_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

enum ffb_error_kind {
  FFB_ERROR_NONE = 0,
  FFB_ERROR_USAGE,       /* the caller asked for something that does not exist: exit status 2 */
  FFB_ERROR_FAILURE,     /* the world did not play along: exit status 1 */
  FFB_ERROR_INTERRUPTED, /* stopped by a signal after a clean step: exit status 130 */
};

struct ffb_error {
  enum ffb_error_kind kind;
  char message[1024]; /* one line without control characters: what, where, what to do */
};

/* Record an error and return false, so that `return ffb_fail(error, ...)` reads well. A null error is allowed. */
bool ffb_fail(struct ffb_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool ffb_fail_usage(struct ffb_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put text in front of an existing message ("experiments/table5.lua: ...") and return false. */
bool ffb_fail_prefix(struct ffb_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
