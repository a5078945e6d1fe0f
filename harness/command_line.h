/* A command line read from option tables: parsing, checks, "did you mean" and --help all come from the tables.
 *
 * `--train-limit 100`, `--train-limit=100` and `--train_limit 100` are the same. A boolean takes no value unless it is
 * written with =. `--` ends the options. */
#ifndef FFBENCH_HARNESS_COMMAND_LINE_H
#define FFBENCH_HARNESS_COMMAND_LINE_H

#include "base/error.h"
#include "base/option.h"

#include <stdio.h>

/* One group of options and the struct that takes their values. */
struct command_table {
  const char *title; /* heading in --help */
  const struct ffb_option *options;
  void *values;
};

/* An option that may be given several times and is collected: --set name=value. */
struct command_repeated {
  const char *name, *argument, *help; /* "set", "NAME=VALUE", one sentence */
  bool (*add)(void *to, const char *text, struct ffb_error *error);
  void *to;
};

struct command {
  const char *verb, *summary;
  const char *operand; /* "EXPERIMENT.lua", "[SUBJECT]"; null where none is taken */
  bool operand_required;
  const struct command_table *tables;      /* ends with null options */
  const struct command_repeated *repeated; /* ends with a null name; or null */
};

enum command_outcome { COMMAND_READ, COMMAND_HELP, COMMAND_WRONG };

/* argv[0] is the verb. Values in the tables must have their defaults. *operand is null where none was given. With
 * --help anywhere the rest is read as far as it can be, and errors are forgotten: help may depend on what was chosen.
 */
enum command_outcome command_line_read(const struct command *command, int argc, char **argv, const char **operand,
                                       struct ffb_error *error);
/* The same for a command whose help is all in its tables: where this returns false help was given, or the error said,
 * and *status is the exit status. */
bool command_line_take(const struct command *command, int argc, char **argv, const char **operand, int *status);
void command_line_help(FILE *to, const struct command *command);
/* One table as help text; with `dashes` as command-line options, else as the names of --set. */
void command_line_options(FILE *to, const struct ffb_option *table, bool dashes);

/* Say the error on stderr as one line, "ffbench: ...", and return the exit status that goes with its kind. */
int command_line_fail(const struct ffb_error *error);

#endif
