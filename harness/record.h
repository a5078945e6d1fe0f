/* The record of a run: one JSON file, described in docs/record.md, and the raw step times beside it. */
#ifndef FFBENCH_HARNESS_RECORD_H
#define FFBENCH_HARNESS_RECORD_H

#include "harness/assembly.h"
#include "harness/baseline.h"
#include "harness/executed.h"
#include "harness/ledger.h"
#include "harness/meters/memory.h"
#include "harness/provenance.h"

enum { RECORD_SCHEMA = 1 };

/* What a record is made of, beside configuration and control. */
struct record_facts {
  const struct assembly *assembly;
  const struct ledger *ledger;
  const struct executed *executed;
  const struct provenance *provenance;
  const char *status;         /* done, diverged, interrupted, evaluated */
  double test_accuracy;       /* percent; NaN where the test set was not read */
  double validation_accuracy; /* percent, where there were no epochs */
  const char *loaded_sha256;  /* of the weight file that the run started from; null without one */
  struct meter_memory memory;
  struct meter_memory_reset memory_reset;
  json_t *idle; /* as baseline_idle gives it */
  const struct baseline_heat *heat;
};

json_t *record_make(const struct run_config *config, const struct run_control *control,
                    const struct record_facts *facts, const char *path, struct ffb_error *error);

/* The record as it would be read from its file: numbers with the digits that are written. */
json_t *record_as_read(const json_t *record, struct ffb_error *error);

/* Where a record lies: control->record, else <results>/records/<name>.json. */
bool record_path(const struct run_control *control, const char *name, char *path, size_t size, struct ffb_error *error);

/* Closes messages about the files of a record outside of experiments. */
extern const char record_remedy[];

/* Whether both files could be written, before hours are spent. */
bool record_probe(const char *path, const char *remedy, struct ffb_error *error);
/* Write step times and record. Where that fails the record goes to the folder for temporary files instead, and the
 * error says so: nothing is lost. */
bool record_write(const char *path, const json_t *record, const struct ledger *ledger, const char *remedy,
                  struct ffb_error *error);

/* Whether it is of a run that came to its end, as opposed to one that was interrupted; by its file, or as it was read.
 */
/* One that cannot be read for want of memory counts as finished, so that nothing takes its place. */
bool record_is_finished(const char *path);
bool record_says_finished(const json_t *record);
/* Whether what a report relies on is there and of its type, as docs/record.md has it; `wrong` names what is not. A null
 * record is not sound. */
bool record_is_sound(const json_t *record, char *wrong, size_t size);

#endif
