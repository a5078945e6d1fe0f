#include "harness/command_line.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 64, NAMES = 64, HELP_COLUMN = 28, HELP_WIDTH = 110 };

/* "train-limit" as the tables spell it. */
static void table_name(const char *argument, size_t length, char name[NAME_BYTES]) {
  snprintf(name, NAME_BYTES, "%.*s", (int)length, argument);
  for (char *c = name; *c; c++)
    if (*c == '-')
      *c = '_';
}

static void dashed(const char *name, char text[NAME_BYTES]) {
  snprintf(text, NAME_BYTES, "%s", name);
  for (char *c = text; *c; c++)
    if (*c == '_')
      *c = '-';
}

static const struct ffb_option *find_option(const struct command *command, const char *name, void **values) {
  for (const struct command_table *table = command->tables; table && table->options; table++) {
    const struct ffb_option *option = ffb_option_find(table->options, name);
    if (option) {
      *values = table->values;
      return option;
    }
  }
  return NULL;
}

static const struct command_repeated *find_repeated(const struct command *command, const char *name) {
  for (const struct command_repeated *repeated = command->repeated; repeated && repeated->name; repeated++)
    if (strcmp(repeated->name, name) == 0)
      return repeated;
  return NULL;
}

static bool unknown_option(const struct command *command, const char *name, struct ffb_error *error) {
  const char *names[NAMES];
  size_t count = 0;
  for (const struct command_table *table = command->tables; table && table->options; table++)
    for (const struct ffb_option *option = table->options; option->name && count < NAMES; option++)
      names[count++] = option->name;
  for (const struct command_repeated *repeated = command->repeated; repeated && repeated->name && count < NAMES;
       repeated++)
    names[count++] = repeated->name;
  const char *nearest = ffb_nearest_name(name, names, count);
  char wrong[NAME_BYTES], right[NAME_BYTES] = "";
  dashed(name, wrong);
  if (nearest)
    dashed(nearest, right);
  return ffb_fail_usage(error, "%s: no option --%s: %s%s%s\"ffbench %s --help\" lists them", command->verb, wrong,
                        nearest ? "did you mean --" : "", right, nearest ? "? " : "", command->verb);
}

struct reading {
  const struct command *command;
  int argc;
  char **argv;
  int next; /* argument to be read */
  const char **operand;
  bool help;
};

static bool read_long(struct reading *reading, const char *argument, struct ffb_error *error) {
  const char *equals = strchr(argument, '='), *value = equals ? equals + 1 : NULL;
  char name[NAME_BYTES];
  table_name(argument, equals ? (size_t)(equals - argument) : strlen(argument), name);
  void *values = NULL;
  const struct ffb_option *option = find_option(reading->command, name, &values);
  const struct command_repeated *repeated = option ? NULL : find_repeated(reading->command, name);
  if (!option && !repeated)
    return unknown_option(reading->command, name, error);
  if (!value && option && option->type == FFB_OPTION_BOOLEAN)
    value = "true";
  if (!value && reading->next < reading->argc)
    value = reading->argv[reading->next++];
  if (!value)
    return ffb_fail_usage(error, "%s: --%s needs a value: %s", reading->command->verb, argument,
                          option ? option->help : repeated->help);
  if (repeated)
    return repeated->add(repeated->to, value, error);
  return ffb_option_set(option, values, reading->command->verb, option->name, value, error);
}

static bool read_operand(struct reading *reading, const char *argument, struct ffb_error *error) {
  if (!reading->command->operand)
    return ffb_fail_usage(error, "%s: does not take \"%s\": options start with --, as in \"ffbench %s --help\"",
                          reading->command->verb, argument, reading->command->verb);
  if (*reading->operand)
    return ffb_fail_usage(error, "%s: takes one %s, not \"%s\" and \"%s\"", reading->command->verb,
                          reading->command->operand, *reading->operand, argument);
  *reading->operand = argument;
  return true;
}

enum command_outcome command_line_read(const struct command *command, int argc, char **argv, const char **operand,
                                       struct ffb_error *error) {
  struct reading reading = {.command = command, .argc = argc, .argv = argv, .next = 1, .operand = operand};
  struct ffb_error ignored;
  bool options_end = false, ok = true;
  *operand = NULL;
  while (reading.next < argc) {
    const char *argument = argv[reading.next++];
    struct ffb_error *first = ok ? error : &ignored;
    bool good = true;
    if (!options_end && strcmp(argument, "--") == 0)
      options_end = true;
    else if (!options_end && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0))
      reading.help = true;
    else if (!options_end && strncmp(argument, "--", 2) == 0)
      good = read_long(&reading, argument + 2, first);
    else if (!options_end && argument[0] == '-' && argument[1])
      good = ffb_fail_usage(first, "%s: no option %s: options have long names, as in \"ffbench %s --help\"",
                            command->verb, argument, command->verb);
    else
      good = read_operand(&reading, argument, first);
    ok = ok && good;
  }
  if (reading.help)
    return COMMAND_HELP;
  if (ok && command->operand_required && !*operand)
    ok = ffb_fail_usage(error, "%s: %s is missing: \"ffbench %s --help\" shows how", command->verb, command->operand,
                        command->verb);
  return ok ? COMMAND_READ : COMMAND_WRONG;
}

static const char *value_name(const struct ffb_option *option) {
  static const char *const names[] = {[FFB_OPTION_BOOLEAN] = "",
                                      [FFB_OPTION_INTEGER] = "N",
                                      [FFB_OPTION_NUMBER] = "X",
                                      [FFB_OPTION_CHOICE] = "NAME",
                                      [FFB_OPTION_STRING] = "TEXT"};
  return names[option->type];
}

/* A limit that a user could run into; tables write "no limit" as a huge number. */
static bool is_limit(double value) {
  return isfinite(value) && fabs(value) < 1e15;
}

static void print_limits(FILE *to, const struct ffb_option *option) {
  if (option->type == FFB_OPTION_CHOICE) {
    for (const char *const *choice = option->choices; *choice; choice++)
      fprintf(to, "%s%s", choice == option->choices ? "" : ", ", *choice);
  } else if (option->type == FFB_OPTION_INTEGER || option->type == FFB_OPTION_NUMBER) {
    if (is_limit(option->minimum) && is_limit(option->maximum))
      fprintf(to, "%.10g to %.10g", option->minimum, option->maximum);
    else if (is_limit(option->minimum))
      fprintf(to, "at least %.10g", option->minimum);
    else if (is_limit(option->maximum))
      fprintf(to, "at most %.10g", option->maximum);
  }
}

/* "records in a training step (1 to 65536; default 32)" */
static void print_meaning(FILE *to, const struct ffb_option *option) {
  char *limits = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&limits, &size);
  if (stream) {
    print_limits(stream, option);
    fclose(stream);
  }
  const char *range = limits ? limits : "";
  fputs(option->help, to);
  if (option->initial && *option->initial)
    fprintf(to, " (%s%sdefault %s)", range, *range ? "; " : "", option->initial);
  else if (*range)
    fprintf(to, " (%s)", range);
  free(limits);
}

/* Words of `text` in a column that starts at `left`. */
static void print_wrapped(FILE *to, int left, const char *text) {
  size_t column = (size_t)left;
  for (const char *word = text; *word; word += strspn(word, " ")) {
    size_t length = strcspn(word, " ");
    bool first = word == text;
    if (!first && column + 1 + length > HELP_WIDTH) {
      fprintf(to, "\n%*s", left, "");
      column = (size_t)left;
      first = true;
    }
    column += (size_t)fprintf(to, "%s%.*s", first ? "" : " ", (int)length, word);
    word += length;
  }
  fputc('\n', to);
}

static void print_entry(FILE *to, const char *left, const char *help) {
  if (strlen(left) < HELP_COLUMN - 3)
    fprintf(to, "  %-*s", HELP_COLUMN - 2, left);
  else
    fprintf(to, "  %s\n%*s", left, HELP_COLUMN, "");
  print_wrapped(to, HELP_COLUMN, help);
}

void command_line_options(FILE *to, const struct ffb_option *table, bool dashes) {
  for (const struct ffb_option *option = table; option && option->name; option++) {
    char name[NAME_BYTES], left[2 * NAME_BYTES];
    const char *value = value_name(option), *separator = dashes ? " " : "=";
    snprintf(name, sizeof name, "%s", option->name);
    if (dashes)
      dashed(option->name, name);
    snprintf(left, sizeof left, "%s%s%s%s", dashes ? "--" : "", name, *value ? separator : "", value);
    char *meaning = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&meaning, &size);
    if (stream) {
      print_meaning(stream, option);
      fclose(stream);
    }
    print_entry(to, left, meaning ? meaning : option->help);
    free(meaning);
  }
}

void command_line_help(FILE *to, const struct command *command) {
  fprintf(to, "usage: ffbench %s%s%s%s\n\n", command->verb, command->operand ? " " : "",
          command->operand ? command->operand : "", command->tables ? " [options]" : "");
  print_wrapped(to, 0, command->summary);
  for (const struct command_table *table = command->tables; table && table->options; table++) {
    fprintf(to, "\n%s:\n", table->title);
    command_line_options(to, table->options, true);
  }
  if (command->repeated && command->repeated->name)
    fputs("\nMay be given several times:\n", to);
  for (const struct command_repeated *repeated = command->repeated; repeated && repeated->name; repeated++) {
    char left[2 * NAME_BYTES];
    snprintf(left, sizeof left, "--%s %s", repeated->name, repeated->argument);
    print_entry(to, left, repeated->help);
  }
}

int command_line_fail(const struct ffb_error *error) {
  static const int status[] = {
      [FFB_ERROR_NONE] = 1, [FFB_ERROR_USAGE] = 2, [FFB_ERROR_FAILURE] = 1, [FFB_ERROR_INTERRUPTED] = 130};
  fprintf(stderr, "ffbench: %s\n", error->message);
  return status[error->kind];
}

bool command_line_take(const struct command *command, int argc, char **argv, const char **operand, int *status) {
  struct ffb_error error;
  enum command_outcome outcome = command_line_read(command, argc, argv, operand, &error);
  if (outcome == COMMAND_HELP)
    command_line_help(stdout, command);
  *status = outcome == COMMAND_WRONG ? command_line_fail(&error) : 0;
  return outcome == COMMAND_READ;
}
