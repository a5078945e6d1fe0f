/* A command line of `ffbench train`, one argument a line. What is read without complaint can be written down as JSON
 * and as a command, and that command, read as a shell reads it, says the same. */
#include "tests/fuzz/fuzz.h"

#include "base/memory.h"
#include "harness/command_line.h"
#include "harness/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS = 64 };

static bool add_set(void *to, const char *text, struct ffb_error *error) {
  return run_config_set(to, text, error);
}

static enum command_outcome read_line(struct run_config *config, int count, char **arguments, struct ffb_error *error) {
  const struct command_table tables[] = {{"What to run", run_options, config}, {0}};
  const struct command_repeated repeated[] = {{"set", "NAME=VALUE", "an option", add_set, config}, {0}};
  const struct command command = {.verb = "train", .summary = "Train.", .tables = tables, .repeated = repeated};
  const char *operand;
  MUST(run_config_begin(config, error));
  enum command_outcome outcome = command_line_read(&command, count, arguments, &operand, error);
  if (outcome == COMMAND_HELP) {
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    MUST(to);
    command_line_help(to, &command);
    fclose(to);
    free(text);
  }
  return outcome;
}

/* Splits in place, as a shell does with words, single quotes and \'. */
static int split_words(char *text, char **words) {
  int count = 0;
  char *to = text;
  for (char *from = text; *from;) {
    bool quoted = false;
    while (*from == ' ')
      from++;
    MUST(count < ARGUMENTS - 1);
    words[count++] = to;
    for (; *from && (quoted || *from != ' '); from++) {
      if (*from == '\'')
        quoted = !quoted;
      else if (!quoted && *from == '\\')
        *to++ = *++from;
      else
        *to++ = *from;
    }
    MUST(!quoted);
    bool end = !*from;
    *to++ = '\0';
    if (end)
      break;
    from++;
  }
  return count;
}

static void repeat(const struct run_config *config, const json_t *object) {
  struct run_config again;
  struct ffb_error error;
  char *command = run_config_command(config, &error), *words[ARGUMENTS];
  MUST(command);
  char *shown = strdup(command);
  int count = split_words(command, words);
  MUST(count >= 2 && strcmp(words[0], "ffbench") == 0 && strcmp(words[1], "train") == 0);
  enum command_outcome outcome = read_line(&again, count - 1, words + 1, &error);
  json_t *other = outcome == COMMAND_READ ? run_config_json(&again, &error) : NULL;
  if (!json_equal(object, other)) {
    fprintf(stderr, "%s\n%s\n", shown, other ? "says something else" : error.message);
    MUST(!"the command does not repeat the run");
  }
  json_decref(other);
  run_config_end(&again);
  ffb_free(command);
  free(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char verb[] = "train";
  char *text = malloc(size + 1), *arguments[ARGUMENTS] = {verb};
  int count = 1;
  MUST(text);
  memcpy(text, data, size);
  text[size] = '\0';
  if (size > 0)
    for (char *rest = text, *at; count < ARGUMENTS / 4 && (at = strsep(&rest, "\n"));)
      arguments[count++] = at;
  struct run_config config;
  struct ffb_error error;
  enum command_outcome outcome = read_line(&config, count, arguments, &error);
  if (outcome == COMMAND_WRONG)
    fuzz_said_why(false, &error);
  if (outcome == COMMAND_READ) {
    json_t *object = run_config_json(&config, &error);
    if (fuzz_said_why(object != NULL, &error))
      repeat(&config, object);
    json_decref(object);
  }
  run_config_end(&config);
  free(text);
  return 0;
}
