#include "harness/command_line.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { NAME_BYTES = 64, NAMES = 64, HELP_COLUMN = 28 };

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

static void describe_value(const struct ffb_option *option, char *text, size_t size) {
  static const char *const types[] = {[FFB_OPTION_BOOLEAN] = "", [FFB_OPTION_INTEGER] = "N", [FFB_OPTION_NUMBER] = "X",
                                      [FFB_OPTION_CHOICE] = "NAME", [FFB_OPTION_STRING] = "TEXT"};
  snprintf(text, size, "%s", types[option->type]);
}

static void print_limits(FILE *to, const struct ffb_option *option) {
  if (option->type == FFB_OPTION_CHOICE) {
    fputs(" One of", to);
    for (const char *const *choice = option->choices; *choice; choice++)
      fprintf(to, "%s %s", choice == option->choices ? "" : ",", *choice);
    fputc('.', to);
  } else if (option->type == FFB_OPTION_INTEGER || option->type == FFB_OPTION_NUMBER) {
    bool low = isfinite(option->minimum) && fabs(option->minimum) < 1e15;
    bool high = isfinite(option->maximum) && fabs(option->maximum) < 1e15;
    if (low && high)
      fprintf(to, " From %.10g to %.10g.", option->minimum, option->maximum);
    else if (low)
      fprintf(to, " At least %.10g.", option->minimum);
    else if (high)
      fprintf(to, " At most %.10g.", option->maximum);
  }
  if (option->initial && option->type != FFB_OPTION_BOOLEAN)
    fprintf(to, " Default %s.", option->initial);
  else if (option->type == FFB_OPTION_BOOLEAN && option->initial && strcmp(option->initial, "true") == 0)
    fputs(" On unless =false.", to);
}

static void print_entry(FILE *to, const char *left, const char *help) {
  if (strlen(left) < HELP_COLUMN - 3)
    fprintf(to, "  %-*s%s", HELP_COLUMN - 2, left, help);
  else
    fprintf(to, "  %s\n%*s%s", left, HELP_COLUMN, "", help);
}

void command_line_options(FILE *to, const struct ffb_option *table, bool dashes) {
  for (const struct ffb_option *option = table; option && option->name; option++) {
    char name[NAME_BYTES], value[NAME_BYTES], left[2 * NAME_BYTES + 4];
    snprintf(name, sizeof name, "%s", option->name);
    if (dashes)
      dashed(option->name, name);
    describe_value(option, value, sizeof value);
    snprintf(left, sizeof left, "%s%s%s%s", dashes ? "--" : "", name, *value ? dashes ? " " : "=" : "", value);
    print_entry(to, left, option->help);
    print_limits(to, option);
    fputc('\n', to);
  }
}

void command_line_help(FILE *to, const struct command *command) {
  fprintf(to, "usage: ffbench %s%s%s [options]\n\n%s\n", command->verb, command->operand ? " " : "",
          command->operand ? command->operand : "", command->summary);
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
    fputc('\n', to);
  }
}

int command_line_fail(const struct ffb_error *error) {
  static const int status[] = {[FFB_ERROR_NONE] = 1, [FFB_ERROR_USAGE] = 2, [FFB_ERROR_FAILURE] = 1,
                               [FFB_ERROR_INTERRUPTED] = 130};
  fprintf(stderr, "ffbench: %s\n", error->message);
  return status[error->kind];
}
