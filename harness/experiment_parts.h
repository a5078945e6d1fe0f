/* What the files of the experiments' verbs share: experiment.c (command line), experiment_plan.c (from the script to
 * trained runs), experiment_report.c (from records to tables, figures and pages). */
#ifndef FFBENCH_HARNESS_EXPERIMENT_PARTS_H
#define FFBENCH_HARNESS_EXPERIMENT_PARTS_H

#include "harness/forecast.h"
#include "harness/run.h"

#include <jansson.h>
#include <limits.h>

enum { REASON_BYTES = 512 };

/* Closes messages about the results folder. */
extern const char experiment_remedy[];

struct places {
  const char *profile, *data, *results, *backend, *junit, *page;
  int64_t threads;
  double cool_to;
  bool dry_run, calibrate, quiet;
};

/* One run of the plan. */
struct cell {
  const json_t *plan; /* {id, title, selected, config...}, held by the experiment's plan */
  struct run_config config;
  char path[PATH_MAX]; /* of its record */
  char failure[REASON_BYTES];
  bool selected, finished;
  struct forecast_run run; /* of a cell to train */
};

struct experiment {
  const char *file;
  struct places places;
  json_t *only, *set; /* [{key, value}], [{name, text}] */
  char library[PATH_MAX];
  json_t *registry, *plan;
  struct forecast *forecast; /* null where nothing is trained */
  struct cell *cells;
  size_t count;
};

const char *experiment_profile(const struct experiment *experiment);

/* Run the script in a mode of lib/experiment.lua. `records`: whether it gets what was found for each cell; `filtered`:
 * whether --only applies. */
json_t *experiment_ask(const struct experiment *experiment, const char *mode, bool records, bool filtered,
                       struct ffb_error *error);

/* What experiment_ask needs; experiment_plan sees to it itself. */
bool experiment_prepare(struct experiment *experiment, struct ffb_error *error);
/* The cells, each with its record's path and what is known of it. */
bool experiment_plan(struct experiment *experiment, struct ffb_error *error);
void experiment_print_plan(const struct experiment *experiment);
/* What belongs to one experiment, as opposed to the command line. */
void experiment_forget_plan(struct experiment *experiment);
/* A run that fails does not stop the others. Returns the exit status. */
int experiment_train(struct experiment *experiment);

/* The records of all cells, for experiment_ask. */
json_t *experiment_found(const struct experiment *experiment);
/* sections: where the page takes up this report, or null. */
bool experiment_report(const struct experiment *experiment, bool filtered, json_t *sections, struct ffb_error *error);
/* summary: where the verdicts go as Markdown, or null. */
bool experiment_write_page(const struct experiment *experiment, const char *library, const json_t *sections,
                           const char *summary, struct ffb_error *error);
/* Those of every experiment with a record, and their page; `experiment` has no file. Returns the exit status. */
int experiment_report_all(struct experiment *experiment);

#endif
