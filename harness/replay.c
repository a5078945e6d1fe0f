/* ffbench replay: a record's configuration run again, and which of its numbers came out the same. */
#include "base/memory.h"
#include "harness/agreement.h"
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/data.h"
#include "harness/file.h"
#include "harness/identity.h"
#include "harness/parts.h"
#include "harness/plugin.h"
#include "harness/record.h"
#include "harness/run.h"
#include "harness/value.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the command line says in place of the record. */
struct places {
  const char *data, *backend, *plugin, *load_weights, *record;
  int64_t threads;
  bool quiet;
};

#define PLACE(name) offsetof(struct places, name)

static const struct ffb_option place_options[] = {
    {.name = "data",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(data),
     .help = "folder with the data files; else the record's, FFBENCH_DATA or ./data, which must hold the same data"},
    {.name = "backend",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(backend),
     .help = "what computes; else what the record names"},
    {.name = "threads",
     .type = FFB_OPTION_INTEGER,
     .offset = PLACE(threads),
     .initial = "0",
     .minimum = 0,
     .maximum = 1024,
     .help = "processor threads; 0: as many as the record names"},
    {.name = "plugin",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(plugin),
     .help = "path of the trainer (.so) where it no longer lies where the record says"},
    {.name = "load_weights",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(load_weights),
     .help = "path of the weights to start from where they no longer lie where the record says"},
    {.name = "record",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(record),
     .help = "file for a record of this run; else none is written"},
    {.name = "quiet",
     .type = FFB_OPTION_BOOLEAN,
     .offset = PLACE(quiet),
     .initial = "false",
     .help = "show no progress"},
    {.name = NULL},
};

struct replay {
  const char *path;
  const struct places *places;
  struct run_config config;
  json_t *there, *here;
};

/* ---- the record -------------------------------------------------------------------------------------------------- */

static bool read_record(struct replay *replay, struct ffb_error *error) {
  json_error_t problem;
  unsigned long refused = ffb_refused_allocations();
  replay->there = json_load_file(replay->path, JSON_REJECT_DUPLICATES, &problem);
  if (!value_is_whole(refused, "the record", error))
    return false;
  if (!replay->there && problem.line > 0)
    return ffb_fail(error, "%.400s: line %d: %s: give the .json file of a record", replay->path, problem.line,
                    problem.text);
  if (!replay->there)
    return ffb_fail(error, "%s: give the .json file of a record", problem.text);
  if (json_integer_value(json_object_get(replay->there, "schema")) != RECORD_SCHEMA ||
      !json_is_object(json_object_get(replay->there, "config")))
    return ffb_fail(error, "%.400s: no record of schema %d: replay it with the program that wrote it", replay->path,
                    RECORD_SCHEMA);
  return record_says_finished(replay->there) ||
         ffb_fail(error, "%.400s: of a run that was interrupted: replay the record of one that came to its end",
                  replay->path);
}

/* The record that is replayed stays what it is. */
static bool spare_record(const struct replay *replay, struct ffb_error *error) {
  struct stat there, here;
  const char *path = replay->places->record;
  return !path || stat(path, &here) || stat(replay->path, &there) || here.st_ino != there.st_ino ||
         here.st_dev != there.st_dev ||
         ffb_fail_usage(error, "--record %.400s is the record that is replayed: name another file", path);
}

/* ---- the configuration --------------------------------------------------------------------------------------------
 */

static void put(json_t *config, const char *key, const char *text) {
  if (text)
    json_object_set_new(config, key, json_string(text));
}

/* The record's, and what stands above it. Sums have an order for each number of threads, so it is the one that was used
 * that counts, not "as many as there are". */
static json_t *make_config(const struct replay *replay) {
  const struct places *places = replay->places;
  json_t *config = json_deep_copy(json_object_get(replay->there, "config"));
  const json_t *threads = value_at(replay->there, "provenance.threads");
  const char *data = json_string_value(json_object_get(config, "data"));
  if (data && access(data, R_OK))
    json_object_set_new(config, "data", json_null());
  put(config, "data", places->data);
  put(config, "backend", places->backend);
  put(config, "plugin", places->plugin);
  put(config, "load_weights", places->load_weights);
  if (places->threads)
    json_object_set_new(config, "threads", json_integer(places->threads));
  else if (json_is_integer(threads))
    json_object_set(config, "threads", (json_t *)threads);
  return config;
}

/* Whether the trainer can be had, before its options are read through it. */
static bool check_plugin(const struct replay *replay, const json_t *config, struct ffb_error *error) {
  const char *plugin = json_string_value(json_object_get(config, "plugin"));
  const char *algorithm = json_string_value(json_object_get(config, "algorithm"));
  struct ffb_error problem;
  if (plugin && access(plugin, R_OK))
    return ffb_fail(error, "%.300s: its trainer is not at %.300s: say where it lies with --plugin FILE", replay->path,
                    plugin);
  return plugin || (algorithm && plugin_find(algorithm, &problem)) ||
         ffb_fail(error, "%.300s: this program has no algorithm %.60s: say where its trainer lies with --plugin FILE",
                  replay->path, algorithm ? algorithm : "(none is named)");
}

static bool read_config(struct replay *replay, struct ffb_error *error) {
  json_t *config = make_config(replay);
  bool ok = config ? check_plugin(replay, config, error)
                   : ffb_fail(error, "out of memory for the configuration: close other programs");
  if (ok && !run_config_read(&replay->config, config, error)) {
    ok = ffb_fail_prefix(error, "%.300s: ", replay->path);
    error->kind = FFB_ERROR_FAILURE; /* it is the record that asks for it */
  }
  json_decref(config);
  return ok;
}

/* ---- what has to be there -----------------------------------------------------------------------------------------
 */

static bool check_version(const struct replay *replay, const char *what, const char *key, json_int_t here,
                          struct ffb_error *error) {
  const json_t *there = json_object_get(value_at(replay->there, "provenance.result_version"), key);
  const char *commit = value_text_at(replay->there, "provenance.commit");
  if (!there || json_integer_value(there) == here)
    return true;
  return ffb_fail(
      error,
      "%.300s: made with result version %lld of %.60s, and this program has %lld, which gives other numbers: "
      "replay it with the program of its commit (git checkout %.60s, then make)",
      replay->path, (long long)json_integer_value(there), what, (long long)here, *commit ? commit : "unknown");
}

static bool check_versions(const struct replay *replay, struct ffb_error *error) {
  const struct ffb_trainer *trainer = parts_trainer(&replay->config, error);
  return trainer && check_version(replay, trainer->name, "trainer", (json_int_t)trainer->result_version, error) &&
         check_version(replay, "the engine", "engine", IDENTITY_ENGINE_VERSION, error);
}

static bool check_weights(const struct replay *replay, struct ffb_error *error) {
  const char *there = value_text_at(replay->there, "loaded_weights.sha256"), *path = replay->config.load_weights;
  char here[FFB_SHA256_TEXT];
  if (!path)
    return true;
  if (access(path, R_OK))
    return ffb_fail(error,
                    "%.300s: the weights that it starts from are not at %.300s: say where they lie with "
                    "--load-weights FILE",
                    replay->path, path);
  return file_sha256(path, here, error) &&
         (strcmp(there, here) == 0 ||
          ffb_fail(error,
                   "%.300s: it starts from other weights (SHA-256 %.12s) than %.300s holds (%.12s): name the "
                   "file with --load-weights FILE",
                   replay->path, there, path, here));
}

/* Other data are taken where they were asked for by name. */
static bool check_data(const struct replay *replay, struct ffb_error *error) {
  const char *there = value_text_at(replay->there, "dataset.sha256");
  const struct ffb_dataset_pair *pair = data_get(&replay->config, error);
  if (!pair || replay->places->data || strcmp(there, pair->sha256) == 0)
    return pair != NULL;
  return ffb_fail(error,
                  "%.300s: trained on other data (SHA-256 %.12s) than %.60s holds here (%.12s): say where they "
                  "lie with --data DIR",
                  replay->path, there, replay->config.dataset, pair->sha256);
}

/* ---- what came out ------------------------------------------------------------------------------------------------
 */

static void print_part(void *to, const char *part, enum agreement agreement, const char *text) {
  static const char *const verdicts[] = {[AGREEMENT_BITS] = "bit for bit",
                                         [AGREEMENT_TOLERANCE] = "within chance",
                                         [AGREEMENT_OPEN] = "not judged",
                                         [AGREEMENT_BROKEN] = "DIFFERS"};
  (void)to;
  printf("%-14s %-14s %s\n", part, verdicts[agreement], text);
}

static void print_circumstance(void *to, const char *part, enum agreement agreement, const char *text) {
  (void)to, (void)agreement;
  printf("%-14s other         %s\n", part, text);
}

static void print_origin(const struct replay *replay) {
  printf("record         %s\n", replay->path);
  if (json_is_true(value_at(replay->there, "provenance.dirty")))
    puts("               its program was built from a changed tree: the commit does not say all of it");
  if (!json_is_true(value_at(replay->there, "dataset.official")) &&
      !json_is_true(value_at(replay->there, "dataset.synthetic")))
    puts("               its data are not the published ones");
}

/* Whether all that must agree does. */
static bool compare(const struct replay *replay) {
  print_origin(replay);
  bool due = agreement_circumstances(replay->there, replay->here, print_circumstance, NULL);
  if (!due)
    puts("               so rounding may differ: accuracies are held to what chance allows, other numbers shown");
  bool good = agreement_judge(replay->there, replay->here, due, print_part, NULL);
  if (!good)
    puts("replay         DIFFERS        see the lines above");
  else
    printf("replay         agrees         %s\n", due ? "bit for bit" : "as far as another way to compute can");
  return good;
}

static bool run_again(struct replay *replay, struct ffb_error *error) {
  const struct places *places = replay->places;
  struct run_control control = {.record = places->record,
                                .no_record = !places->record,
                                .quiet = places->quiet,
                                .profile = json_string_value(json_object_get(replay->there, "profile")),
                                .experiment = json_string_value(json_object_get(replay->there, "experiment"))};
  json_t *record = NULL;
  if (run_execute(&replay->config, &control, &record, error)) {
    replay->here = record_as_read(record, error);
    json_decref(record);
  } else if (error->kind == FFB_ERROR_INTERRUPTED) {
    ffb_fail(error, "stopped by a signal before the end: nothing was compared; start it again");
    error->kind = FFB_ERROR_INTERRUPTED;
  }
  return replay->here != NULL;
}

static int execute(struct replay *replay) {
  struct ffb_error error;
  bool ok = run_config_begin(&replay->config, &error) && read_record(replay, &error) && spare_record(replay, &error) &&
            read_config(replay, &error) && check_versions(replay, &error) && check_weights(replay, &error) &&
            check_data(replay, &error) && run_again(replay, &error);
  int status = ok ? !compare(replay) : command_line_fail(&error);
  json_decref(replay->here);
  json_decref(replay->there);
  run_config_end(&replay->config);
  return status;
}

int replay_command(int argc, char **argv) {
  struct places places = {0};
  struct replay replay = {.places = &places};
  struct ffb_error error;
  int status;
  const struct command_table tables[] = {{"In place of what the record says", place_options, &places}, {0}};
  const struct command command = {
      .verb = "replay",
      .summary =
          "Run a record's configuration again and say which of its numbers came out the same, part by part. Exit "
          "status 1 where one that must agree does not.",
      .operand = "RECORD.json",
      .operand_required = true,
      .tables = tables};
  if (!ffb_options_default(place_options, &places, &error))
    return command_line_fail(&error);
  if (command_line_take(&command, argc, argv, &replay.path, &status))
    status = execute(&replay);
  ffb_options_clear(place_options, &places);
  return status;
}
