/* The configuration of a run: its option table, and its forms as JSON and as a command. */
#include "harness/run.h"

#include "base/memory.h"
#include "harness/parts.h"
#include "harness/value.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_FIELD(name) offsetof(struct run_config, name)

const struct ffb_option run_options[] = {
    {.name = "model",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(model),
     .initial = "mlp",
     .minimum = 1,
     .help = "network to train (\"ffbench list models\")"},
    {.name = "algorithm",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(algorithm),
     .help = "training algorithm (\"ffbench list algorithms\")"},
    {.name = "dataset",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(dataset),
     .initial = "mnist",
     .minimum = 1,
     .help = "data to train on (\"ffbench list datasets\")"},
    {.name = "data",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(data),
     .help = "folder with the data files; else the environment's FFBENCH_DATA, else ./data"},
    {.name = "backend",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(backend),
     .help = "what computes (\"ffbench list backends\"); else the best there is"},
    {.name = "tf32",
     .type = FFB_OPTION_BOOLEAN,
     .offset = RUN_FIELD(tf32),
     .initial = "false",
     .help = "let FP32 products and convolutions of the backend cuda round their operands to TF32, for tensor cores"},
    {.name = "plugin",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(plugin),
     .help = "path of a trainer of your own (.so); else the algorithm's, beside the program"},
    {.name = "epochs",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(epochs),
     .initial = "10",
     .minimum = 0,
     .maximum = 1e6,
     .help = "passes over the training records; 0: evaluate the weights as they are"},
    {.name = "batch",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(batch),
     .initial = "32",
     .minimum = 1,
     .maximum = 65536,
     .help = "records in a training step; the last one of an epoch may have fewer"},
    {.name = "seed",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(seed),
     .initial = "1",
     .minimum = 0,
     .maximum = 0x1p53,
     .help = "of split, shuffling, initial weights and rounding; the same seed gives the same bits"},
    {.name = "threads",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(threads),
     .initial = "0",
     .minimum = 0,
     .maximum = 1024,
     .help = "processor threads; 0: as many as this machine offers"},
    {.name = "train_limit",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(train_limit),
     .initial = "0",
     .minimum = 0,
     .maximum = 1e9,
     .help = "training records to use; 0: all"},
    {.name = "eval_limit",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(eval_limit),
     .initial = "0",
     .minimum = 0,
     .maximum = 1e9,
     .help = "validation records, and test records, to use; 0: all"},
    {.name = "synthetic_train",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(synthetic_train),
     .initial = "0",
     .minimum = 0,
     .maximum = FFB_DATASET_LARGEST,
     .help = "training records that a synthetic dataset generates; 0: its own number"},
    {.name = "synthetic_test",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(synthetic_test),
     .initial = "0",
     .minimum = 0,
     .maximum = FFB_DATASET_LARGEST,
     .help = "test records that a synthetic dataset generates; 0: its own number"},
    {.name = "standardise",
     .type = FFB_OPTION_BOOLEAN,
     .offset = RUN_FIELD(standardise),
     .initial = "false",
     .help = "bring inputs to mean 0 and deviation 1 per channel over the training records; else they lie in 0..1"},
    {.name = "crop_padding",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(crop_padding),
     .initial = "0",
     .minimum = 0,
     .maximum = 16,
     .help =
         "random crops of training images from a frame of so many pixels of 0 around them; 4 is usual for CIFAR-10"},
    {.name = "flip",
     .type = FFB_OPTION_BOOLEAN,
     .offset = RUN_FIELD(flip),
     .initial = "false",
     .help = "mirror training images, left to right, every other one at random"},
    {.name = "gradient_statistics",
     .type = FFB_OPTION_INTEGER,
     .offset = RUN_FIELD(gradient_statistics),
     .initial = "0",
     .minimum = 0,
     .maximum = 1e9,
     .help = "before training and after each epoch, record what the weights' gradient over so many training records "
             "looks like; 0: do not"},
    {.name = "gradient_layers",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(gradient_layers),
     .initial = "first",
     .minimum = 1,
     .help = "of which layers: first, all, or names such as fc1,fc2"},
    {.name = "histogram_range",
     .type = FFB_OPTION_NUMBER,
     .offset = RUN_FIELD(histogram_range),
     .initial = "0",
     .minimum = 0,
     .maximum = 1e30,
     .help = "the histogram of that gradient goes from minus this to this; 0: to the largest absolute value"},
    {.name = "measure_peaks",
     .type = FFB_OPTION_BOOLEAN,
     .offset = RUN_FIELD(measure_peaks),
     .initial = "false",
     .help = "after training, measure what this machine does at most: FP32 and INT8 operations and bytes of memory a "
             "second"},
    {.name = "load_weights",
     .type = FFB_OPTION_STRING,
     .offset = RUN_FIELD(load_weights),
     .help = "safetensors file with the weights to start from; else they are drawn by the seed"},
    {.name = "skip_test",
     .type = FFB_OPTION_BOOLEAN,
     .offset = RUN_FIELD(skip_test),
     .initial = "false",
     .help = "do not read the test set at the end: while options are being chosen"},
    {.name = "test_by_epoch",
     .type = FFB_OPTION_BOOLEAN,
     .offset = RUN_FIELD(test_by_epoch),
     .initial = "false",
     .help = "read the test set after every epoch too, for figures that show it so; nothing is chosen by it"},
    {.name = NULL},
};

bool run_config_begin(struct run_config *config, struct ffb_error *error) {
  *config = (struct run_config){0};
  config->set = json_object();
  if (!config->set)
    return ffb_fail(error, "out of memory for the configuration: close other programs");
  if (ffb_options_default(run_options, config, error))
    return true;
  run_config_end(config);
  return false;
}

void run_config_end(struct run_config *config) {
  ffb_options_clear(run_options, config);
  json_decref(config->set);
  config->set = NULL;
}

static bool keep(struct run_config *config, const char *name, const char *text, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  if (!json_object_set_new(config->set, name, json_string(text)))
    return true;
  return value_is_whole(refused, "the configuration", error) &&
         ffb_fail_usage(error, "--set %s: the value is not UTF-8 text: correct it", name);
}

bool run_config_set(struct run_config *config, const char *assignment, struct ffb_error *error) {
  const char *equals = strchr(assignment, '=');
  char name[FFB_NAME_BYTES];
  size_t length = equals ? (size_t)(equals - assignment) : 0;
  if (length == 0 || length >= sizeof name)
    return ffb_fail_usage(error, "--set %.100s: write NAME=VALUE, as in --set theta=2.0", assignment);
  snprintf(name, sizeof name, "%.*s", (int)length, assignment);
  for (char *c = name; *c; c++)
    if (*c == '-')
      *c = '_';
  return keep(config, name, equals + 1, error);
}

/* "no option "epoch": did you mean epochs?" */
static bool unknown_key(const struct ffb_option *table, const char *owner, const char *key, struct ffb_error *error) {
  const char *nearest = table ? ffb_nearest_option(table, key) : NULL;
  return ffb_fail_usage(error, "%s: no option \"%s\"%s%s%s", owner, key, nearest ? ": did you mean " : "",
                        nearest ? nearest : ": \"ffbench train --algorithm NAME --help\" lists them",
                        nearest ? "?" : "");
}

/* Check an object of trainer or model options against their table, and keep them as --set would. */
static bool read_set(struct run_config *config, const json_t *object, const char *key, const char *owner,
                     const struct ffb_option *table, const char *prefix, struct ffb_error *error) {
  const char *name;
  json_t *value;
  if (!json_is_object(object))
    return ffb_fail_usage(error, "%s takes a table of options, as in %s = {name = value}", key, key);
  json_object_foreach((json_t *)object, name, value) {
    const struct ffb_option *option = table ? ffb_option_find(table, name) : NULL;
    char text[FFB_OPTION_TEXT_BYTES], full[FFB_NAME_BYTES + sizeof "model."];
    if (!option)
      return unknown_key(table, owner, name, error);
    if (json_is_null(value))
      continue;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (!value_option_text(option, value, owner, text, sizeof text, error) || !keep(config, full, text, error))
      return false;
  }
  return true;
}

static bool read_field(struct run_config *config, const char *name, const json_t *value, struct ffb_error *error) {
  const struct ffb_option *option = ffb_option_find(run_options, name);
  char text[FFB_OPTION_TEXT_BYTES];
  if (!option)
    return unknown_key(run_options, "run", name, error);
  if (json_is_null(value))
    return true;
  return value_option_text(option, value, "run", text, sizeof text, error) &&
         ffb_option_set(run_options, config, "run", name, text, error);
}

static bool read_parts_options(struct run_config *config, const json_t *options, const json_t *model_options,
                               struct ffb_error *error) {
  if (options) {
    const struct ffb_trainer *trainer = parts_trainer(config, error);
    if (!trainer || !read_set(config, options, "options", trainer->name, trainer->options, "", error))
      return false;
  }
  if (model_options) {
    const struct ffb_model *model = parts_model(config, error);
    if (!model ||
        !read_set(config, model_options, "model_options", model->name, model->options, parts_model_prefix, error))
      return false;
  }
  /* Ranges and choices are checked where the value structs are filled. */
  struct parts parts;
  if ((options || model_options) && !parts_find(&parts, config, error))
    return false;
  if (options || model_options)
    parts_release(&parts);
  return true;
}

bool run_config_read(struct run_config *config, const json_t *object, struct ffb_error *error) {
  const json_t *options = NULL, *model_options = NULL;
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)object, name, value) {
    if (strcmp(name, "options") == 0)
      options = value;
    else if (strcmp(name, "model_options") == 0)
      model_options = value;
    else if (!read_field(config, name, value, error))
      return false;
  }
  /* Last, because they belong to the algorithm and the model that the other keys name. */
  return read_parts_options(config, options, model_options, error);
}

json_t *run_config_json(const struct run_config *config, struct ffb_error *error) {
  struct parts parts;
  unsigned long refused = ffb_refused_allocations();
  if (!parts_find(&parts, config, error))
    return NULL;
  json_t *object = value_options(run_options, config);
  bool ok = object && !json_object_set_new(object, "algorithm", json_string(parts.trainer->name)) &&
            !json_object_set_new(object, "backend", json_string(parts.backend->name)) &&
            !json_object_set_new(object, "options", value_options(parts.trainer->options, parts.trainer_options)) &&
            !json_object_set_new(object, "model_options", value_options(parts.model->options, parts.model_options));
  parts_release(&parts);
  if (ok)
    return object;
  json_decref(object);
  if (value_is_whole(refused, "the configuration", error))
    ffb_fail(error, "cannot write the configuration down: a text in it is not UTF-8: rename the file");
  return NULL;
}

/* A word that a shell reads back as it is. */
static void print_word(FILE *to, const char *word) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/%@";
  if (*word && strspn(word, plain) == strlen(word)) {
    fputs(word, to);
    return;
  }
  fputc('\'', to);
  for (const char *c = word; *c; c++)
    if (*c == '\'')
      fputs("'\\''", to);
    else
      fputc(*c, to);
  fputc('\'', to);
}

static void print_option(FILE *to, const struct ffb_option *option, const void *values) {
  char text[FFB_OPTION_TEXT_BYTES], dashed[FFB_NAME_BYTES];
  if (!ffb_option_text(option, values, text, sizeof text))
    return;
  snprintf(dashed, sizeof dashed, "%s", option->name);
  for (char *c = dashed; *c; c++)
    if (*c == '_')
      *c = '-';
  fprintf(to, " --%s%s", dashed, option->type == FFB_OPTION_BOOLEAN ? "=" : " ");
  print_word(to, text);
}

static void print_set(FILE *to, const struct ffb_option *table, const void *values, const char *prefix) {
  for (const struct ffb_option *option = table; option && option->name; option++) {
    char text[FFB_OPTION_TEXT_BYTES], assignment[FFB_OPTION_TEXT_BYTES + 2 * FFB_NAME_BYTES];
    if (!ffb_option_changed(option, values) || !ffb_option_text(option, values, text, sizeof text))
      continue;
    snprintf(assignment, sizeof assignment, "%s%s=%s", prefix, option->name, text);
    fputs(" --set ", to);
    print_word(to, assignment);
  }
}

static void print_command(FILE *to, const struct run_config *config, const struct parts *parts) {
  fprintf(to, "ffbench train --model %s --algorithm %s --dataset %s", parts->model->name, parts->trainer->name,
          parts->dataset->name);
  for (const struct ffb_option *option = run_options; option->name; option++) {
    bool named = option->offset == RUN_FIELD(model) || option->offset == RUN_FIELD(algorithm) ||
                 option->offset == RUN_FIELD(dataset);
    if (!named && ffb_option_changed(option, config))
      print_option(to, option, config);
  }
  print_set(to, parts->trainer->options, parts->trainer_options, "");
  print_set(to, parts->model->options, parts->model_options, parts_model_prefix);
}

char *run_config_command(const struct run_config *config, struct ffb_error *error) {
  struct parts parts;
  char *text = NULL, *command = NULL;
  size_t size;
  if (!parts_find(&parts, config, error))
    return NULL;
  FILE *stream = open_memstream(&text, &size);
  if (stream)
    print_command(stream, config, &parts);
  if (stream && fclose(stream) == 0)
    command = ffb_copy_string(text, error);
  else
    ffb_fail(error, "out of memory for the command: close other programs");
  free(text);
  parts_release(&parts);
  return command;
}
