/* What the documents show is what the program takes: options with their values, arguments, pieces of Lua. */
#include "base/memory.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/plugin.h"
#include "harness/registry.h"
#include "models/models.h"
#include "tests/folder.h"

#include <limits.h>

enum { TEXT_BYTES = 8192, WORD = 64 };

#define PROGRAM FFB_BUILD_DIRECTORY "/ffbench"

static const char *const documents[] = {
    "README.md",     "docs/add-an-algorithm.md",   "docs/claims.md",      "docs/convolutional.md",
    "docs/data.md",  "docs/edit-an-experiment.md", "docs/measurement.md", "docs/readings.md",
    "docs/record.md"};
enum { DOCUMENTS = sizeof documents / sizeof *documents };

static json_t *registry;

static char *read_whole(const char *name) {
  struct ffb_error error = {0};
  size_t bytes;
  char *text = file_read(name, &bytes, &error);
  if (!text)
    fail_msg("%s", error.message);
  return text;
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

/* Whether a table has the option, and takes the value; with an empty value the name will do. */
static bool takes(const struct ffb_option *table, size_t size, const char *name, const char *value, bool *known) {
  struct ffb_error error = {0};
  if (!ffb_option_find(table, name))
    return false;
  *known = true;
  void *values = calloc(1, size);
  assert_non_null(values);
  bool good = ffb_options_default(table, values, &error) &&
              (!*value || ffb_option_set(table, values, "document", name, value, &error));
  ffb_options_clear(table, values);
  free(values);
  return good;
}

static bool list_has(const json_t *list, const char *name) {
  const json_t *entry;
  size_t i;
  json_array_foreach(list, i,
                     entry) if (strcmp(json_string_value(json_object_get(entry, "name")), name) == 0) return true;
  return false;
}

/* An option of some algorithm, of some network, or of every run. */
static bool is_taken(const char *name, const char *value, bool *known) {
  static const char *const algorithms[] = {"bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
  static const char *const models[] = {"mlp", "mobilenet_v2", "efficientnet_b0", "resnet18"};
  struct ffb_error error = {0};
  bool taken = false;
  for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
    const struct ffb_trainer *trainer = plugin_find(algorithms[i], &error);
    assert_non_null(trainer);
    taken |= takes(trainer->options, trainer->options_size, name, value, known);
  }
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    const struct ffb_model *model = ffb_model_find(models[i]);
    assert_non_null(model);
    taken |= takes(model->options, model->options_size, name, value, known);
  }
  bool of_run = list_has(json_object_get(registry, "run"), name) || strcmp(name, "seeds") == 0;
  *known |= of_run;
  return taken || of_run;
}

/* The word that ends at `equals`; empty where none of an option's does. */
static void name_before(const char *text, const char *equals, char name[WORD]) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
  const char *from = equals;
  while (from > text && strchr(letters, from[-1]) && equals - from < WORD - 1)
    from--;
  bool whole = from == text || strchr(" `.,\n", from[-1]);
  snprintf(name, WORD, "%.*s", whole ? (int)(equals - from) : 0, from);
}

static void value_after(const char *equals, char value[WORD]) {
  size_t length = strspn(equals + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789.,-");
  while (length > 0 && strchr(".,", equals[length]))
    length--;
  snprintf(value, WORD, "%.*s", (int)length, equals + 1);
}

/* --only takes names, and some words stand for any. */
static bool is_placeholder(const char *name) {
  static const char *const words[] = {"", "name", "key", "algorithm", "model"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(name, words[i]) == 0)
      return true;
  return false;
}

/* `name=value` wherever it stands, in prose or in a command. */
static void shown_options_are_taken(void **state) {
  (void)state;
  int found = 0;
  for (size_t d = 0; d < DOCUMENTS; d++) {
    char *text = read_whole(documents[d]), name[WORD], value[WORD];
    for (const char *at = strchr(text, '='); at; at = strchr(at + 1, '=')) {
      bool known = false;
      name_before(text, at, name);
      value_after(at, value);
      if (is_placeholder(name))
        continue;
      if (strcmp(value, "VALUE") == 0 || strcmp(value, "N") == 0)
        *value = '\0';
      if (!is_taken(name, value, &known))
        fail_msg("%s: %s=%s: %s", documents[d], name, value,
                 known ? "no option takes that" : "there is no such option");
      found++;
    }
    ffb_free(text);
  }
  assert_true(found > 80);
}

/* ---- arguments -------------------------------------------------------------------------------------------------- */

static void shown_arguments_are_taken(void **state) {
  (void)state;
  static const char *const verbs[] = {"train", "run", "report", "check", "replay", "list", "doctor"};
  static const char others[] = "\n  --help \n  --version \n  --check "; /* the last one of scripts/get-data and embed */
  static char help[8 * TEXT_BYTES];
  int found = 0;
  size_t used = (size_t)snprintf(help, sizeof help, "%s", others);
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    assert_int_equal(run_program((const char *const[]){PROGRAM, verbs[i], "--help", NULL}, in("help")), 0);
    char *text = read_whole(in("help"));
    used += (size_t)snprintf(help + used, sizeof help - used, "%s", text);
    assert_true(used < sizeof help);
    ffb_free(text);
  }
  for (size_t d = 0; d < DOCUMENTS; d++) {
    char *text = read_whole(documents[d]), line[WORD];
    for (const char *at = text; (at = strstr(at, "--")); at += strspn(at, "-")) {
      size_t length = strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-");
      if (length == 0 || at[2] == '-' || (at > text && !strchr(" `(\n[", at[-1])))
        continue;
      snprintf(line, sizeof line, "\n  %.*s ", (int)length + 2, at);
      if (!strstr(help, line))
        fail_msg("%s: %.*s: no verb has that", documents[d], (int)length + 2, at);
      found++;
    }
    ffb_free(text);
  }
  assert_true(found > 50);
}

/* ---- Lua -------------------------------------------------------------------------------------------------------- */

static void run_script(const char *document, const char *mode, const char *profile) {
  struct ffb_error error = {0};
  json_t *input = json_pack("{s:s, s:s, s:O, s:s, s:b, s:[]}", "mode", mode, "profile", profile, "registry", registry,
                            "version", "ffbench abc", "draws", 1, "set");
  json_t *result = lua_host_run(in("shown.lua"), "experiments", input, &lua_host_limits_default, &error);
  if (!result)
    fail_msg("%s: %s", document, error.message);
  json_decref(result);
  json_decref(input);
}

/* A piece in the place that it is meant for: a file, what stands before one, a row, or a field. */
static void try_piece(const char *document, const char *piece) {
  static const char format[] =
      "%s\nreturn experiment { name = 'shown', profiles = { quick = {}, smoke = {} },\n"
      "  models = { mlp = { dataset = 'mnist' } },\n"
      "  algorithms = { { 'bp_fp32' }, { 'bp_gdai8' }, { 'ff_int8', name = 'ff_int8_tuned', paper = 'ff_int8' },\n"
      "    { 'ff_int8', name = 'tuned_scalar', paper = false }, %s },\n  %s %s }\n";
  char text[TEXT_BYTES];
  struct ffb_error error;
  bool whole = strncmp(piece, "return", 6) == 0, before = strncmp(piece, "local", 5) == 0, row = *piece == '{';
  bool claims = strncmp(piece, "claims", 6) == 0, gates = strncmp(piece, "gates", 5) == 0;
  assert_true(whole || before || row || claims || gates);
  int length = whole ? snprintf(text, sizeof text, "%s", piece)
                     : snprintf(text, sizeof text, format, before ? piece : "", row ? piece : "",
                                claims || gates ? piece
                                : before        ? "report = report,"
                                                : "",
                                gates ? "claims = require 'claims'.table5" : "");
  assert_true(length > 0 && (size_t)length < sizeof text);
  assert_true(file_replace(in("shown.lua"), text, (size_t)length, "", &error));
  run_script(document, "plan", "quick");
  run_script(document, "plan", "smoke");
  run_script(document, "report", "quick");
}

static void shown_scripts_are_taken(void **state) {
  (void)state;
  static const char open[] = "```lua\n";
  int found = 0;
  for (size_t d = 0; d < DOCUMENTS; d++) {
    char *text = read_whole(documents[d]), *end;
    for (char *at = text; (at = strstr(at, open)); at = end + 1, found++) {
      at += strlen(open);
      end = strstr(at, "```");
      assert_non_null(end);
      *end = '\0';
      try_piece(documents[d], at);
    }
    ffb_free(text);
  }
  assert_true(found >= 7);
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

/* Of a link's target from a document: whether it is there. Addresses of the web are not looked up. */
static bool leads_somewhere(const char *document, const char *target, size_t length) {
  char place[TEXT_BYTES];
  const char *slash = strrchr(document, '/');
  size_t name = strcspn(target, "#)");
  if (name == 0 || strncmp(target, "https://", 8) == 0)
    return true;
  snprintf(place, sizeof place, "%.*s%.*s", slash ? (int)(slash + 1 - document) : 0, document,
           (int)(name < length ? name : length), target);
  return access(place, F_OK) == 0;
}

static void links_lead_somewhere(void **state) {
  (void)state;
  static const char *const more[] = {"docs/results.md", "docs/hostile-input.md", "results/reference/README.md",
                                     "results/search/README.md"};
  int found = 0;
  for (size_t d = 0; d < DOCUMENTS + sizeof more / sizeof *more; d++) {
    const char *document = d < DOCUMENTS ? documents[d] : more[d - DOCUMENTS];
    char *text = read_whole(document);
    for (const char *at = text; (at = strstr(at, "]("));) {
      at += 2;
      size_t length = strcspn(at, ")\n");
      if (!leads_somewhere(document, at, length))
        fail_msg("%s: %.*s: there is no such file", document, (int)length, at);
      found++;
    }
    ffb_free(text);
  }
  assert_true(found > 50);
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  struct ffb_error error;
  registry = registry_json(&error);
  return registry ? make_folder(state) : -1;
}

static int tear_down(void **state) {
  json_decref(registry);
  return remove_folder(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shown_options_are_taken),
      cmocka_unit_test(shown_arguments_are_taken),
      cmocka_unit_test(shown_scripts_are_taken),
      cmocka_unit_test(links_lead_somewhere),
  };
  return cmocka_run_group_tests_name("documents", tests, set_up, tear_down);
}
