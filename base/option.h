/* Options are data: one table of {name, type, range, default, help} serves the command line, the trainers, the Lua
 * experiments, the help text and the recorded configuration. Values live in a plain struct; a table entry knows the
 * offset of its field. */
#ifndef FFBENCH_BASE_OPTION_H
#define FFBENCH_BASE_OPTION_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum ffb_option_type {
  FFB_OPTION_BOOLEAN, /* field: bool; text: true | false | on | off | 1 | 0 | yes | no */
  FFB_OPTION_INTEGER, /* field: int64_t; range [minimum, maximum] */
  FFB_OPTION_NUMBER,  /* field: double; range [minimum, maximum]; "1e-3" and "inf" are read, "nan" is refused */
  FFB_OPTION_CHOICE,  /* field: int; index into choices, a null-terminated list of names */
  FFB_OPTION_STRING,  /* field: const char *, owned by the struct once set (freed by ffb_options_clear); empty: null */
};

enum { FFB_OPTION_TEXT_BYTES = 4096 }; /* longest text of a value, with its end */

struct ffb_option {
  const char *name; /* null ends a table */
  enum ffb_option_type type;
  size_t offset;       /* of the field in the value struct */
  const char *initial; /* default, as text; null for a string option without one */
  double minimum;      /* integer and number: range, both ends allowed; string: fewest bytes */
  double maximum;
  const char *const *choices;
  const char *help; /* one sentence with the unit */
};

/* Set every field to its default. The struct must be zeroed before the first call. */
bool ffb_options_default(const struct ffb_option *table, void *values, struct ffb_error *error);
/* Set one option from text. An unknown name, a wrong type or a value out of range is a usage error that names the
 * option, the range or the choices, and the nearest name ("did you mean"). `owner` opens the message ("ff_int8"). */
bool ffb_option_set(const struct ffb_option *table, void *values, const char *owner, const char *name, const char *text,
                    struct ffb_error *error);
/* The value as text, in the form that ffb_option_set reads back; the default's text compares equal to itself. False
 * when it does not fit. */
bool ffb_option_text(const struct ffb_option *option, const void *values, char *text, size_t size);
/* Whether the field differs from its default. */
bool ffb_option_changed(const struct ffb_option *option, const void *values);
const struct ffb_option *ffb_option_find(const struct ffb_option *table, const char *name);
void ffb_options_clear(const struct ffb_option *table, void *values);

/* The nearest of `count` names by edit distance (a swap of neighbours counts once; case and - or _ do not count), or
 * null when none is near enough to suggest: at most one edit in three letters. */
const char *ffb_nearest_name(const char *name, const char *const *names, size_t count);
const char *ffb_nearest_option(const struct ffb_option *table, const char *name);

#endif
