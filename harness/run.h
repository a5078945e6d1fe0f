/* One run, from configuration to record. */
#ifndef FFBENCH_HARNESS_RUN_H
#define FFBENCH_HARNESS_RUN_H

#include "base/error.h"
#include "base/option.h"

#include <jansson.h>
#include <stdbool.h>

/* What to run: everything that `ffbench train` and a run of a Lua experiment can say. The option table run_options
 * (config.c) covers every field but set. */
struct run_config {
  const char *model, *algorithm, *dataset;
  const char *data;    /* directory, or null: FFBENCH_DATA, then ./data */
  const char *backend; /* null: the best there is */
  const char *plugin;  /* path of a trainer object, or null: looked up beside the program by algorithm */
  bool tf32;           /* FP32 products may round their operands to TF32 */
  int64_t epochs, batch, seed, threads;
  int64_t train_limit, eval_limit;         /* records; 0 = all */
  int64_t synthetic_train, synthetic_test; /* records that a synthetic dataset generates; 0 = its default */
  bool skip_test;                          /* leave the test set alone */
  bool test_by_epoch;                      /* read it after every epoch too */
  bool standardise;                        /* inputs to mean 0 and deviation 1; else 0..1 */
  int64_t crop_padding;                    /* pixels; random crops of training images where above 0 */
  bool flip;                               /* mirror every other training image */
  int64_t gradient_statistics;             /* records that weight gradients are taken over after each epoch; 0: none */
  const char *gradient_layers;             /* first, all, or names with commas between them */
  double histogram_range;                  /* half the width of their histogram; 0: the largest absolute value */
  bool measure_peaks;                      /* what the machine does at most, after training */
  const char *load_weights;                /* path of a weight file to start from, or null */
  json_t *set; /* object {"ff_int8 or model option": "text"}: --set name=value; model options as model.name */
};

extern const struct ffb_option run_options[];

bool run_config_begin(struct run_config *config, struct ffb_error *error);
void run_config_end(struct run_config *config);
/* Keys as in run_options plus "options" (object of trainer options) and "model_options"; unknown keys and wrong types
 * are usage errors with "did you mean". */
bool run_config_read(struct run_config *config, const json_t *object, struct ffb_error *error);
/* One "name=value" of --set. The name is checked when the trainer and the model are looked up. */
bool run_config_set(struct run_config *config, const char *assignment, struct ffb_error *error);
/* In full, defaults filled in, trainer and model options included. */
json_t *run_config_json(const struct run_config *config, struct ffb_error *error);
/* The one-line command that repeats the run; differing options only. Freed by ffb_free. */
char *run_config_command(const struct run_config *config, struct ffb_error *error);

struct progress_others;

/* What is usual for run_control.idle_seconds. */
#define RUN_IDLE_SECONDS 2

/* Where and how, without influence on the result. */
struct run_control {
  const char *results;                  /* directory for records; null: results */
  const char *record;                   /* path of the record; null: named by record_name() under results/records */
  bool no_record;                       /* write none, whatever the two above say */
  const char *save_weights;             /* path or null */
  const char *save_scores;              /* of the test set; path or null */
  const char *checkpoint;               /* directory or null: none is written; with `run` each cell has one */
  double checkpoint_seconds;            /* at most this long between two checkpoints; 0: 60 */
  double cool_to;                       /* degrees Celsius: wait until no thermal zone is hotter; 0: do not */
  double idle_seconds;                  /* rest so long under the meter, where there is one, before training; 0: none */
  bool resume;                          /* go on from the checkpoint if there is one */
  bool quiet;                           /* no progress */
  const char *profile;                  /* smoke, quick, paper or null: recorded */
  const char *experiment;               /* file name or null: recorded */
  int cell, cells;                      /* "[3/15]" in front of the progress */
  const struct progress_others *others; /* the runs around this one, for the progress; null where there are none */
};

/* Path of the record that this configuration makes (its name hashes the options that differ from their defaults, the
 * dataset's hash and the result versions). Loads the dataset to know its hash. */
bool run_record_path(const struct run_config *config, const struct run_control *control, char *path, size_t size,
                     struct ffb_error *error);

/* Train, evaluate, measure, and write the record (temporary name, then rename). *record receives it. A diverged run is
 * no error: its record says so. SIGINT, SIGTERM: FFB_ERROR_INTERRUPTED after the step, with a checkpoint where one was
 * asked for, and a record of status "interrupted" unless a finished one is there already. */
bool run_execute(const struct run_config *config, const struct run_control *control, json_t **record,
                 struct ffb_error *error);

#endif
