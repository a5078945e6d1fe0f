/* ffbench train: one run from the command line. */
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/energy.h"
#include "harness/ledger.h"
#include "harness/parts.h"
#include "harness/profile.h"
#include "harness/progress.h"
#include "harness/run.h"
#include "harness/value.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

/* What the command line can say about where and how. */
struct places {
  const char *record, *save_weights, *save_scores, *checkpoint;
  double checkpoint_seconds, cool_to, idle_seconds;
  bool resume, quiet;
  int64_t profile_steps;
  int profile_by;
};

#define PLACE(name) offsetof(struct places, name)

static const struct ffb_option place_options[] = {
    {.name = "record",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(record),
     .help = "file for the record; else results/records/, named after the options"},
    {.name = "save_weights",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(save_weights),
     .help = "file for the final weights in the safetensors format"},
    {.name = "save_scores",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(save_scores),
     .help =
         "file for the test set's scores: a line for each record with its number, its label and each class's score"},
    {.name = "checkpoint",
     .type = FFB_OPTION_STRING,
     .offset = PLACE(checkpoint),
     .help = "folder for a checkpoint, from which --resume goes on; it is removed when the run is done"},
    {.name = "checkpoint_seconds",
     .type = FFB_OPTION_NUMBER,
     .offset = PLACE(checkpoint_seconds),
     .initial = "60",
     .minimum = 0.001,
     .maximum = 1e6,
     .help = "longest time between two checkpoints, in seconds"},
    {.name = "resume",
     .type = FFB_OPTION_BOOLEAN,
     .offset = PLACE(resume),
     .initial = "false",
     .help = "go on from the checkpoint, where there is one, to the same weights as without the stop"},
    {.name = "cool_to",
     .type = FFB_OPTION_NUMBER,
     .offset = PLACE(cool_to),
     .initial = "0",
     .minimum = 0,
     .maximum = 150,
     .help = "before training, wait until no thermal zone is hotter than so many degrees Celsius; 0: do not wait"},
    {.name = "idle_seconds",
     .type = FFB_OPTION_NUMBER,
     .offset = PLACE(idle_seconds),
     .initial = "2",
     .minimum = 0,
     .maximum = 600,
     .help = "before training, where a meter works, measure the power at rest for so long"},
    {.name = "quiet",
     .type = FFB_OPTION_BOOLEAN,
     .offset = PLACE(quiet),
     .initial = "false",
     .help = "show no progress"},
    {.name = "profile_steps",
     .type = FFB_OPTION_INTEGER,
     .offset = PLACE(profile_steps),
     .initial = "0",
     .minimum = 0,
     .maximum = 1e6,
     .help = "instead of training: time every operator call in so many steps, say 50, and show where the time goes"},
    {.name = "profile_by",
     .type = FFB_OPTION_CHOICE,
     .offset = PLACE(profile_by),
     .initial = "operator",
     .choices = profile_by_names,
     .help = "a line of that table is an operator, or each of its calls"},
    {.name = NULL},
};

struct train {
  struct run_config config;
  struct places places;
};

static bool add_set(void *to, const char *text, struct ffb_error *error) {
  return run_config_set(to, text, error);
}

static void print_owner(const char *owner, const struct ffb_option *table, const char *how) {
  if (!table)
    return;
  printf("\nOptions of %s, as --set %s:\n", owner, how);
  command_line_options(stdout, table, false);
}

/* The general help, and the options of the trainer and the model that the rest of the line names. */
static int help(const struct command *command, const struct run_config *config) {
  struct ffb_error error;
  command_line_help(stdout, command);
  const struct ffb_model *model = parts_model(config, &error);
  if (!model)
    return command_line_fail(&error);
  print_owner(model->name, model->options, "model.NAME=VALUE");
  if (!config->algorithm && !config->plugin) {
    puts("\nThe options of an algorithm: ffbench train --algorithm NAME --help");
    return 0;
  }
  const struct ffb_trainer *trainer = parts_trainer(config, &error);
  if (!trainer)
    return command_line_fail(&error);
  print_owner(trainer->name, trainer->options, "NAME=VALUE");
  return 0;
}

static void print_status(const json_t *record) {
  const json_t *diverged = json_object_get(record, "diverged");
  char how[256];
  if (json_is_object(diverged)) {
    ledger_divergence(diverged, how, sizeof how);
    printf("status       diverged: %s; training ended there\n", how);
  } else {
    printf("status       %s\n", json_string_value(json_object_get(record, "status")));
  }
}

static void print_data(const json_t *record) {
  const json_t *dataset = json_object_get(record, "dataset");
  const char *kind = json_is_true(json_object_get(dataset, "synthetic"))  ? "generated, not real data"
                     : json_is_true(json_object_get(dataset, "official")) ? "the official data"
                                                                          : "not the official data";
  printf("data         %s: %s\n", value_text_at(record, "dataset.name"), kind);
}

static void print_changes(const json_t *record) {
  if (json_is_true(value_at(record, "provenance.dirty")))
    puts("program      built from a changed tree: tables made of this record say so");
}

static void print_energy(const json_t *record) {
  const json_t *joules = value_at(record, "energy.joules");
  if (json_is_number(joules))
    printf("energy       %.4g J of training (%s, %s)\n", json_number_value(joules),
           value_text_at(record, "energy.source"), value_text_at(record, "energy.rail"));
  else
    puts("energy       not measured: \"ffbench doctor\" says what is missing");
  double off = energy_disagreement(json_object_get(record, "energy"));
  if (off != 0)
    printf("             %s reads %.0f %% %s of the same power: one of them is wrong\n",
           value_text_at(record, "energy.second.source"), 100 * fabs(off), off > 0 ? "more" : "less");
}

/* Only where there is something to warn of. */
static void print_machine(const json_t *record) {
  const json_t *provenance = json_object_get(record, "provenance");
  bool shared = json_is_false(json_object_get(provenance, "own_machine"));
  const char *by = json_string_value(json_object_get(json_object_get(provenance, "conditions"), "throttled_by"));
  if (shared)
    printf("machine      other programs used %.0f %% of it meanwhile: time and energy are not this run's own\n",
           100 * value_number_at(record, "provenance.other_processes_share"));
  if (json_is_true(json_object_get(provenance, "throttled")))
    printf("machine      was throttled meanwhile (%s): where heat did it, let it cool, see --cool-to\n",
           by ? by : "heat");
}

/* As hyperfine does, where they cost something. */
static void print_outliers(const json_t *record) {
  const double worth_telling = 0.01;
  double slow = value_number_at(record, "time.step_seconds.slow_outliers");
  double regular = value_number_at(record, "time.step_seconds.regular_outliers");
  double share =
      value_number_at(record, "time.step_seconds.slow_outlier_seconds") / value_number_at(record, "time.train_seconds");
  if (!(share >= worth_telling))
    return;
  printf("             %.0f steps took much longer than the others, %.0f %% of the time", slow, 100 * share);
  if (regular > 0)
    printf("; %.0f of them come every %.0f steps, so they are the trainer's own", regular,
           value_number_at(record, "time.step_seconds.outlier_period"));
  puts(slow > regular ? "; of the others the cause is not known: is the machine idle?" : "");
}

static void print_summary(const json_t *record, const char *path) {
  char duration[64];
  progress_duration(value_number_at(record, "time.train_seconds"), duration, sizeof duration);
  print_status(record);
  print_data(record);
  print_changes(record);
  if (json_is_number(value_at(record, "accuracy.test")))
    printf("accuracy     test %.2f %%, validation %.2f %%\n", value_number_at(record, "accuracy.test"),
           value_number_at(record, "accuracy.validation"));
  else
    printf("accuracy     validation %.2f %%, test set not read\n", value_number_at(record, "accuracy.validation"));
  printf("time         %s of training", duration);
  if (json_is_number(value_at(record, "time.step_median_seconds")))
    printf(", median step %.4g ms", 1e3 * value_number_at(record, "time.step_median_seconds"));
  puts("");
  print_outliers(record);
  printf("memory       %.2f MiB planned, resident peak %.1f MiB\n",
         value_number_at(record, "memory.peak_bytes") / 0x1p20,
         value_number_at(record, "memory.resident_peak_bytes") / 0x1p20);
  print_energy(record);
  print_machine(record);
  printf("weights      sha256 %s\n", json_string_value(json_object_get(record, "weights_sha256")));
  printf("record       %s\n", path);
}

static int profile(const struct train *train) {
  struct ffb_error error;
  bool ok = profile_run(&train->config, train->places.profile_steps, (enum profile_by)train->places.profile_by, stdout,
                        &error);
  return ok ? 0 : command_line_fail(&error);
}

static int execute(const struct train *train) {
  struct run_control control = {.record = train->places.record,
                                .save_weights = train->places.save_weights,
                                .save_scores = train->places.save_scores,
                                .checkpoint = train->places.checkpoint,
                                .checkpoint_seconds = train->places.checkpoint_seconds,
                                .cool_to = train->places.cool_to,
                                .idle_seconds = train->places.idle_seconds,
                                .resume = train->places.resume,
                                .quiet = train->places.quiet};
  struct ffb_error error;
  json_t *record;
  char path[PATH_MAX];
  if (train->places.profile_steps > 0)
    return profile(train);
  if (!run_execute(&train->config, &control, &record, &error))
    return command_line_fail(&error);
  bool ok = run_record_path(&train->config, &control, path, sizeof path, &error);
  if (ok)
    print_summary(record, path);
  json_decref(record);
  return ok ? 0 : command_line_fail(&error);
}

int train_command(int argc, char **argv) {
  struct train train = {0};
  struct ffb_error error;
  const char *operand;
  if (!run_config_begin(&train.config, &error))
    return command_line_fail(&error);
  const struct command_table tables[] = {
      {"What to run", run_options, &train.config}, {"Where and how", place_options, &train.places}, {0}};
  const struct command_repeated repeated[] = {
      {"set", "NAME=VALUE", "an option of the algorithm, or of the model as model.NAME=VALUE", add_set, &train.config},
      {0}};
  const struct command command = {.verb = "train",
                                  .summary = "Train one network, measure what it costs, and write a record.",
                                  .tables = tables,
                                  .repeated = repeated};
  int status;
  if (!ffb_options_default(place_options, &train.places, &error)) {
    status = command_line_fail(&error);
  } else {
    switch (command_line_read(&command, argc, argv, &operand, &error)) {
    case COMMAND_READ:
      status = execute(&train);
      break;
    case COMMAND_HELP:
      status = help(&command, &train.config);
      break;
    default:
      status = command_line_fail(&error);
    }
  }
  ffb_options_clear(place_options, &train.places);
  run_config_end(&train.config);
  return status;
}
