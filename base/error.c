#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* One line that a terminal shows as it is, whatever a file or a script put into it. */
static void make_printable(char *text) {
  for (; *text; text++) {
    if (*text == '\n' || *text == '\r' || *text == '\t')
      *text = ' ';
    else if ((unsigned char)*text < ' ' || *text == 0x7f)
      *text = '?';
  }
}

static bool fail(struct ffb_error *error, enum ffb_error_kind kind, const char *format, va_list arguments) {
  if (error) {
    error->kind = kind;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    make_printable(error->message);
  }
  return false;
}

bool ffb_fail(struct ffb_error *error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fail(error, FFB_ERROR_FAILURE, format, arguments);
  va_end(arguments);
  return false;
}

bool ffb_fail_usage(struct ffb_error *error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fail(error, FFB_ERROR_USAGE, format, arguments);
  va_end(arguments);
  return false;
}

bool ffb_fail_prefix(struct ffb_error *error, const char *format, ...) {
  if (!error)
    return false;
  char tail[sizeof error->message];
  memcpy(tail, error->message, sizeof tail);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->message, sizeof error->message, format, arguments);
  va_end(arguments);
  make_printable(error->message);
  size_t used = strlen(error->message);
  snprintf(error->message + used, sizeof error->message - used, "%s", tail);
  return false;
}
