/* One run: put together, trained under meters, evaluated, recorded. */
#include "harness/run.h"

#include "base/memory.h"
#include "harness/assembly.h"
#include "harness/baseline.h"
#include "harness/checkpoint.h"
#include "harness/data.h"
#include "harness/energy.h"
#include "harness/evaluation.h"
#include "harness/executed.h"
#include "harness/file.h"
#include "harness/gradients.h"
#include "harness/identity.h"
#include "harness/interrupt.h"
#include "harness/ledger.h"
#include "harness/lock.h"
#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/record.h"
#include "harness/value.h"
#include "nn/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 256, STEPS_BETWEEN_CHECKS = 200 };

static const double default_checkpoint_seconds = 60;

struct run {
  const struct run_config *config;
  const struct run_control *control;
  struct assembly assembly;
  struct ledger ledger;
  struct executed executed;
  struct provenance provenance;
  struct progress progress;
  json_t *identity;
  unsigned long refused; /* allocations, before the run: one more, and its history may lack something */
  struct lock record_lock, checkpoint_lock;
  char record[PATH_MAX], checkpoint[PATH_MAX]; /* checkpoint is empty where none is asked for */
  double last_checkpoint;                      /* clock */
  struct meter_system system;
  struct meter_pair meters;
  bool meters_begun;
  struct ffb_batch next; /* of this epoch, announced to the device */
  bool has_next;
  json_t *energy_before; /* of the parts before a resume; null without one */
  double working_since;  /* clock, while training steps are timed */
  double validation;     /* percent, of weights that were not trained; else NaN */
  struct meter_memory_reset memory_reset;
  json_t *idle; /* power at rest before training; null: not measured */
  struct baseline_heat heat;
  struct meter_card *card; /* null where the processor computes */
  struct meter_conditions_watch *conditions;
};

static const char scores_remedy[] = "name another file with --save-scores";

/* An experiment's runs have all their places in one folder. */
static const char *remedy_of(const struct run *run, const char *alone) {
  return run->control->results ? "name another folder with --results DIR" : alone;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

bool run_record_path(const struct run_config *config, const struct run_control *control, char *path, size_t size,
                     struct ffb_error *error) {
  struct parts parts;
  char name[NAME_BYTES] = "";
  if (!parts_find(&parts, config, error))
    return false;
  const struct ffb_dataset_pair *data = data_get(config, error);
  bool ok = data && identity_name(config, &parts, data, name, sizeof name, error);
  parts_release(&parts);
  return ok && record_path(control, name, path, size, error);
}

static void make_title(const struct run *run, char *title, size_t size) {
  const struct run_control *control = run->control;
  char cell[64] = "";
  if (control->cells > 0)
    snprintf(cell, sizeof cell, "[%d/%d] ", control->cell, control->cells);
  snprintf(title, size, "%s%s %s %s seed %lld", cell, run->assembly.parts.model->name,
           run->assembly.parts.trainer->name, run->assembly.parts.dataset->name, (long long)run->config->seed);
}

/* ---- time and energy of training -------------------------------------------------------------------------------- */

static void work_begin(struct run *run) {
  if (run->meters_begun)
    meter_pair_resume(&run->meters);
  else
    meter_pair_begin(&run->meters);
  run->meters_begun = true;
  run->working_since = meter_clock_seconds();
}

static void work_pause(struct run *run) {
  double seconds = meter_clock_seconds() - run->working_since;
  meter_pair_pause(&run->meters);
  run->ledger.train_seconds += seconds;
  run->ledger.epoch_seconds += seconds;
}

/* The ledger's energy up to now; only while paused. */
static void settle_energy(struct run *run) {
  struct meter_result results[METER_READERS];
  meter_pair_results(&run->meters, results);
  json_t *now = energy_of_readers(results);
  json_decref(run->ledger.energy);
  bool nothing_new = run->energy_before && !run->meters_begun;
  run->ledger.energy = nothing_new ? json_deep_copy(run->energy_before) : energy_add(run->energy_before, now);
  json_decref(now);
}

/* Bring the ledger up to date; only while paused. */
static void settle(struct run *run) {
  settle_energy(run);
  json_decref(run->ledger.executed);
  run->ledger.executed = executed_json(&run->executed);
  provenance_count(&run->provenance, &run->ledger);
  struct meter_conditions seen;
  meter_conditions_read(run->conditions, &seen);
  provenance_note(&run->provenance, &seen, &run->ledger);
}

/* ---- checkpoints and stopping ------------------------------------------------------------------------------------ */

static bool save_checkpoint(struct run *run, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  if (!run->checkpoint[0])
    return true;
  settle(run);
  run->last_checkpoint = meter_clock_seconds();
  return value_is_whole(refused, "the checkpoint", error) &&
         checkpoint_save(run->checkpoint, run->identity, &run->assembly, &run->ledger,
                         remedy_of(run, checkpoint_remedy), error);
}

/* A checkpoint that cannot be written is no reason to lose the run: the one before stays. */
static void try_checkpoint(struct run *run) {
  struct ffb_error error;
  unsigned long refused = ffb_refused_allocations();
  if (!save_checkpoint(run, &error))
    progress_note(&run->progress, "goes on without a new checkpoint: %s", error.message);
  run->refused += ffb_refused_allocations() - refused; /* the history does not lack them */
}

static bool checkpoint_is_due(const struct run *run) {
  double interval =
      run->control->checkpoint_seconds > 0 ? run->control->checkpoint_seconds : default_checkpoint_seconds;
  return run->checkpoint[0] && meter_clock_seconds() - run->last_checkpoint >= interval;
}

static bool make_record(struct run *run, const char *status, double test_accuracy, json_t **record,
                        struct ffb_error *error) {
  struct record_facts facts = {.assembly = &run->assembly,
                               .ledger = &run->ledger,
                               .executed = &run->executed,
                               .provenance = &run->provenance,
                               .status = status,
                               .test_accuracy = test_accuracy,
                               .validation_accuracy = run->validation,
                               .loaded_sha256 = json_string_value(json_object_get(run->identity, identity_loaded_key)),
                               .memory_reset = run->memory_reset,
                               .idle = run->idle,
                               .heat = &run->heat};
  meter_memory_read(NULL, &facts.memory);
  settle(run);
  /* Last: it takes processors and memory of its own. */
  if (run->config->measure_peaks)
    run->provenance.peaks = peaks_measure(run->assembly.parts.backend, run->assembly.threads);
  if (!value_is_whole(run->refused, "the run's history", error))
    return false;
  *record = record_make(run->config, run->control, &facts, run->record, error);
  return *record != NULL;
}

/* The record of an unfinished run never takes the place of a finished one. */
static void record_interruption(struct run *run) {
  json_t *record = NULL;
  struct ffb_error error;
  if (run->control->no_record || record_is_finished(run->record))
    return;
  if (!make_record(run, "interrupted", (double)NAN, &record, &error) ||
      !record_write(run->record, record, &run->ledger, remedy_of(run, record_remedy), &error))
    progress_note(&run->progress, "%s", error.message);
  json_decref(record);
}

static bool stop(struct run *run, struct ffb_error *error) {
  bool saved = save_checkpoint(run, error);
  record_interruption(run);
  if (!saved)
    ffb_fail_prefix(error, "stopped by %s without a checkpoint: ", strsignal(interrupt_asked()));
  else if (run->checkpoint[0])
    ffb_fail(error, "stopped by signal %d (%s) in epoch %lld after step %lld: --resume goes on from %s",
             interrupt_asked(), strsignal(interrupt_asked()), (long long)run->ledger.epoch + 1,
             (long long)run->ledger.batch, run->checkpoint);
  else
    ffb_fail(error,
             "stopped by signal %d (%s) in epoch %lld after step %lld: with --checkpoint FOLDER a run can be "
             "resumed",
             interrupt_asked(), strsignal(interrupt_asked()), (long long)run->ledger.epoch + 1,
             (long long)run->ledger.batch);
  error->kind = FFB_ERROR_INTERRUPTED;
  return false;
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

static bool take_batch(struct run *run, struct ffb_batch *batch, struct ffb_error *error) {
  double start = meter_clock_seconds();
  bool ok = loader_next(&run->assembly.loader, batch, error);
  run->ledger.data_wait_seconds += meter_clock_seconds() - start;
  return ok;
}

/* While the device computes, the epoch's next batch may be on its way to it. */
static bool announce_next(struct run *run, struct ffb_error *error) {
  const struct assembly *assembly = &run->assembly;
  struct ffb_batch *next = &run->next;
  if (!ffb_plan_takes_announcements(assembly->plan) || run->ledger.batch + 1 >= loader_batches(&assembly->loader))
    return true;
  if (!take_batch(run, next, error))
    return false;
  run->has_next = true;
  size_t rows = (size_t)next->rows;
  struct ffb_host_bytes pieces[] = {{next->images, rows * assembly->loader.image_bytes},
                                    {next->labels, rows * sizeof *next->labels},
                                    {next->index, rows * sizeof *next->index}};
  return ffb_plan_announce(assembly->plan, pieces, sizeof pieces / sizeof *pieces, error);
}

static bool train_one(struct run *run, struct ffb_error *error) {
  struct assembly *assembly = &run->assembly;
  struct ffb_batch batch = run->next;
  double start = meter_clock_seconds();
  bool ok = run->has_next || take_batch(run, &batch, error);
  run->has_next = false;
  return ok && assembly->parts.trainer->train_step(assembly->state, &batch, error) && announce_next(run, error) &&
         ffb_plan_synchronise(assembly->plan, error) && ledger_step(&run->ledger, meter_clock_seconds() - start, error);
}

/* After the same steps whether a run was resumed or not. */
static bool check_divergence(const struct run *run, bool *diverged, struct ffb_error *error) {
  const struct ffb_trainer *trainer = run->assembly.parts.trainer;
  if (!trainer->diverged || run->ledger.batch % STEPS_BETWEEN_CHECKS)
    return true;
  return trainer->diverged(run->assembly.state, diverged, error);
}

/* The steps that are left of the epoch, or fewer where *diverged becomes true. Returns with the clock stopped. */
static bool train_steps(struct run *run, bool *diverged, struct ffb_error *error) {
  int64_t batches = loader_batches(&run->assembly.loader);
  work_begin(run);
  while (run->ledger.batch < batches && !*diverged) {
    bool ok = train_one(run, error) && check_divergence(run, diverged, error);
    if (ok && (*diverged || (!interrupt_asked() && !checkpoint_is_due(run)))) {
      progress_step(&run->progress, run->ledger.epoch, run->ledger.batch);
      continue;
    }
    work_pause(run);
    if (!ok)
      return false;
    if (interrupt_asked())
      return stop(run, error);
    try_checkpoint(run);
    work_begin(run);
  }
  work_pause(run);
  return true;
}

static bool end_epoch(struct run *run, struct ffb_epoch_statistics *statistics, struct ffb_error *error) {
  *statistics = (struct ffb_epoch_statistics){.not_finite_step = -1};
  work_begin(run);
  bool ok = run->assembly.parts.trainer->end_epoch(run->assembly.state, statistics, error) &&
            ffb_plan_synchronise(run->assembly.plan, error);
  work_pause(run);
  return ok;
}

static bool evaluate(struct run *run, const struct ffb_dataset *part, const uint32_t *list, int64_t count,
                     double *accuracy, struct file *scores, struct ffb_error *error) {
  struct assembly *assembly = &run->assembly;
  double start = meter_clock_seconds();
  bool ok = evaluation_accuracy(assembly->parts.trainer, assembly->state, &assembly->loader, part, list, count,
                                accuracy, scores, error);
  run->ledger.evaluation_seconds += meter_clock_seconds() - start;
  return ok;
}

/* Gradients as the weights are after so many epochs. */
static bool record_gradients(struct run *run, int64_t epoch, struct ffb_error *error) {
  struct ledger *ledger = &run->ledger;
  if (!run->config->gradient_statistics)
    return true;
  json_t *entry = gradients_measure(&run->assembly, run->config, epoch, error);
  if (!entry)
    return false;
  if (!ledger->gradients)
    ledger->gradients = json_array();
  return !json_array_append_new(ledger->gradients, entry) ||
         ffb_fail(error, "out of memory for the run's history: close other programs");
}

static void note_divergence(struct run *run, const struct ffb_epoch_statistics *statistics) {
  char text[NAME_BYTES];
  run->ledger.diverged =
      json_pack("{s:I, s:o, s:s?, s:I}", "epoch", (json_int_t)run->ledger.epoch + 1, "step",
                statistics->not_finite_step >= 0 ? json_integer(statistics->not_finite_step) : json_null(), "where",
                statistics->not_finite_where[0] ? statistics->not_finite_where : NULL, "samples",
                (json_int_t)statistics->not_finite);
  ledger_divergence(run->ledger.diverged, text, sizeof text);
  if (!run->control->quiet)
    progress_note(&run->progress, "diverged: %s", text);
}

/* Percent; test only where it is read by epoch. */
struct accuracies {
  double validation, test;
};

static bool reads_test_by_epoch(const struct run *run) {
  return run->config->test_by_epoch && !run->config->skip_test;
}

static bool evaluate_epoch(struct run *run, struct accuracies *accuracies, struct ffb_error *error) {
  const struct ffb_dataset_split *split = &run->assembly.loader.split;
  return evaluate(run, &run->assembly.data->train, split->validation, split->validation_count, &accuracies->validation,
                  NULL, error) &&
         (!reads_test_by_epoch(run) ||
          evaluate(run, &run->assembly.data->test, split->test, split->test_count, &accuracies->test, NULL, error));
}

/* Enter the epoch into the history and move on to the next. */
static bool close_epoch(struct run *run, const struct ffb_epoch_statistics *statistics, bool diverged,
                        const struct accuracies *accuracies, struct ffb_error *error) {
  struct ledger *ledger = &run->ledger;
  settle_energy(run);
  json_t *epoch =
      json_pack("{s:I, s:o, s:o, s:o, s:f, s:o, s:I}", "epoch", (json_int_t)ledger->epoch + 1, "loss",
                value_number(statistics->loss), "train_accuracy", value_number(statistics->train_accuracy),
                "validation_accuracy", value_number(accuracies->validation), "seconds", ledger->epoch_seconds, "joules",
                energy_of_epoch(ledger->energy, ledger->epochs), "not_finite", (json_int_t)statistics->not_finite);
  if (reads_test_by_epoch(run))
    json_object_set_new(epoch, "test_accuracy", value_number(accuracies->test));
  if (json_array_append_new(ledger->epochs, epoch))
    return ffb_fail(error, "out of memory for the run's history: close other programs");
  progress_epoch(&run->progress, ledger->epoch, statistics->loss, statistics->train_accuracy, accuracies->validation,
                 ledger->epoch_seconds);
  /* A layer may hold a NaN that quantisation hides from the loss. */
  if (diverged || !isfinite(statistics->loss) || statistics->not_finite > 0 || statistics->not_finite_step >= 0)
    note_divergence(run, statistics);
  ledger->epoch++;
  ledger->batch = 0;
  ledger->epoch_seconds = 0;
  return value_is_whole(run->refused, "the run's history", error);
}

static bool train_epoch(struct run *run, struct ffb_error *error) {
  struct ffb_epoch_statistics statistics;
  struct accuracies accuracies;
  bool diverged = false;
  if (!train_steps(run, &diverged, error) || !end_epoch(run, &statistics, error) ||
      !evaluate_epoch(run, &accuracies, error) || !record_gradients(run, run->ledger.epoch + 1, error) ||
      !close_epoch(run, &statistics, diverged, &accuracies, error))
    return false;
  if (interrupt_asked())
    return stop(run, error);
  try_checkpoint(run);
  return true;
}

static bool train(struct run *run, struct ffb_error *error) {
  const struct ledger *ledger = &run->ledger;
  bool done = ledger->epoch >= run->config->epochs || ledger->diverged;
  if (!done && !loader_start(&run->assembly.loader, ledger->epoch, ledger->batch, run->config->epochs, error))
    return false;
  if (!ledger->gradients && !record_gradients(run, 0, error))
    return false;
  while (run->ledger.epoch < run->config->epochs && !run->ledger.diverged)
    if (!train_epoch(run, error))
      return false;
  return true;
}

/* ---- before and after -------------------------------------------------------------------------------------------- */

/* After the last step of an epoch, before it is closed, all its steps are done. */
static bool is_place_of_run(const struct run *run) {
  int64_t epochs = run->config->epochs, batches = loader_batches(&run->assembly.loader);
  return run->ledger.epoch < epochs ? run->ledger.batch <= batches
                                    : run->ledger.epoch == epochs && run->ledger.batch == 0;
}

static bool resume(struct run *run, struct ffb_error *error) {
  if (!checkpoint_load(run->checkpoint, run->identity, &run->assembly, &run->ledger, remedy_of(run, checkpoint_remedy),
                       error))
    return false;
  if (!is_place_of_run(run))
    return ffb_fail(error, "checkpoint %s is damaged (it claims epoch %lld, step %lld): remove it to start anew",
                    run->checkpoint, (long long)run->ledger.epoch + 1, (long long)run->ledger.batch);
  run->ledger.resumes++;
  executed_read(&run->executed, run->ledger.executed);
  run->energy_before = run->ledger.energy;
  run->ledger.energy = NULL;
  return true;
}

static bool prepare_checkpoint(struct run *run, struct ffb_error *error) {
  const struct run_control *control = run->control;
  const char *remedy = remedy_of(run, checkpoint_remedy);
  if (!control->checkpoint)
    return !control->resume ||
           ffb_fail_usage(error, "--resume goes on from a checkpoint: say where it lies with --checkpoint FOLDER");
  if (!checkpoint_path(control->checkpoint, run->checkpoint, error) ||
      !lock_take(&run->checkpoint_lock, run->checkpoint, remedy, error) || !file_probe(run->checkpoint, remedy, error))
    return false;
  run->last_checkpoint = meter_clock_seconds();
  if (!checkpoint_exists(run->checkpoint))
    return true;
  if (!control->resume)
    return ffb_fail(error, "%s is there already: go on from it with --resume, or remove it to start anew",
                    run->checkpoint);
  return resume(run, error);
}

static bool is_utf8(const char *text) {
  json_t *value = text ? json_string(text) : json_null();
  bool valid = value != NULL;
  json_decref(value);
  return valid;
}

/* What a record will say besides the configuration: better known now than after hours. */
static bool check_texts(const struct run *run, struct ffb_error *error) {
  const char *source = run->assembly.data->train.source;
  unsigned long refused = ffb_refused_allocations();
  if (is_utf8(file_name(run->record)) && is_utf8(run->control->experiment) && is_utf8(run->control->profile) &&
      is_utf8(*source == '/' ? file_name(source) : source))
    return true;
  return value_is_whole(refused, "the record", error) &&
         ffb_fail_usage(error, "the name of the record, the experiment or the data folder is not UTF-8, which a record "
                               "has to be: rename it");
}

static bool prepare_record(struct run *run, struct ffb_error *error) {
  char name[NAME_BYTES];
  const struct run_control *control = run->control;
  const char *remedy = remedy_of(run, record_remedy);
  if (control->save_scores && run->config->skip_test)
    return ffb_fail_usage(error, "--save-scores are those of the test set, which --skip-test leaves unread: drop one");
  return identity_name(run->config, &run->assembly.parts, run->assembly.data, name, sizeof name, error) &&
         record_path(control, name, run->record, sizeof run->record, error) && check_texts(run, error) &&
         (control->no_record ||
          (lock_take(&run->record_lock, run->record, remedy, error) && record_probe(run->record, remedy, error))) &&
         (!control->save_weights ||
          file_probe(control->save_weights, "name another file with --save-weights", error)) &&
         (!control->save_scores || file_probe(control->save_scores, scores_remedy, error));
}

static bool prepare_meters(struct run *run, struct ffb_error *error) {
  bool on_gpu = strcmp(run->assembly.parts.backend->name, "cuda") == 0;
  run->system = meter_system_default(getenv("FFBENCH_SYSFS"));
  if (on_gpu && !(run->card = meter_card_open(&run->system, error)))
    return false;
  return meter_pair_open(&run->meters, &run->system, on_gpu ? METER_GPU : METER_PROCESSOR, &run->ledger.readings,
                         error);
}

static void prepare_progress(struct run *run) {
  char title[NAME_BYTES];
  const struct ledger *ledger = &run->ledger;
  int64_t batches = loader_batches(&run->assembly.loader);
  make_title(run, title, sizeof title);
  progress_begin(&run->progress, title, run->control->quiet, run->config->epochs, batches,
                 ledger->epoch * batches + ledger->batch);
  if (run->control->others)
    progress_among(&run->progress, run->control->others);
  if (ledger->resumes && !run->control->quiet)
    progress_note(&run->progress, "resumed in epoch %lld after step %lld", (long long)ledger->epoch + 1,
                  (long long)ledger->batch);
}

/* Ranges of INT8 activations come from training steps and are in no weight file. */
static bool can_evaluate(const struct run *run, struct ffb_error *error) {
  const struct ffb_trainer *trainer = run->assembly.parts.trainer;
  return run->config->epochs > 0 || !(trainer->flags & FFB_TRAINER_INT8) ||
         ffb_fail_usage(error,
                        "%s cannot evaluate before it has trained: the ranges of its INT8 activations come from "
                        "training steps; train with --epochs 1 at least, or evaluate FP32 weights with --algorithm "
                        "bp_fp32",
                        trainer->name);
}

/* Cool down, and measure the power at rest; from here on clocks and heat are followed. */
static bool rest(struct run *run, struct ffb_error *error) {
  const double look_seconds = 1;
  const struct run_control *control = run->control;
  struct baseline_heat *heat = &run->heat;
  if (control->cool_to > 0 && !control->quiet)
    progress_note(&run->progress, "waits until the machine is no hotter than %g degrees Celsius", control->cool_to);
  baseline_cool(&run->system, run->card, control->cool_to, baseline_longest_wait, heat);
  if (control->cool_to > 0 && isnan(heat->celsius))
    progress_note(&run->progress, "does not wait: nothing here tells how hot the machine is");
  else if (control->cool_to > 0 && !heat->reached)
    progress_note(&run->progress, "begins at %.0f degrees Celsius (%s): it did not get cooler", heat->celsius,
                  heat->zone);
  run->idle = baseline_idle(run->meters.sessions[METER_FIRST], control->idle_seconds, error);
  if (!run->idle)
    return false;
  double others = json_number_value(json_object_get(run->idle, "other_processes_share"));
  if (others > provenance_own_share && !control->quiet)
    progress_note(&run->progress,
                  "other programs use %.0f %% of this machine: stop them, or time and energy are theirs too",
                  100 * others);
  run->conditions = meter_conditions_start(&run->system, run->card, look_seconds, error);
  return run->conditions != NULL;
}

static bool prepare(struct run *run, struct ffb_error *error) {
  interrupt_watch();
  if (interrupt_asked()) {
    ffb_fail(error, "stopped by signal %d (%s) before the run began: start it again", interrupt_asked(),
             strsignal(interrupt_asked()));
    error->kind = FFB_ERROR_INTERRUPTED;
    return false;
  }
  provenance_start(&run->provenance);
  bool ok = assembly_make(&run->assembly, run->config, error) && can_evaluate(run, error) &&
            prepare_record(run, error) &&
            (run->identity =
                 identity_json(run->config, &run->assembly.parts, run->assembly.data, run->assembly.threads, error)) &&
            ledger_begin(&run->ledger, error) && executed_begin(&run->executed, &run->assembly, error) &&
            prepare_checkpoint(run, error) && prepare_meters(run, error);
  if (!ok)
    return false;
  prepare_progress(run);
  if (!rest(run, error))
    return false;
  /* Last, so that the peak is that of training and not of reading the data. */
  meter_memory_reset(NULL, &run->memory_reset);
  return true;
}

static bool read_test(struct run *run, double *accuracy, struct ffb_error *error) {
  const struct ffb_dataset_split *split = &run->assembly.loader.split;
  const char *path = run->control->save_scores;
  struct file file = {0};
  bool ok =
      (!path || file_begin(&file, path, scores_remedy, error)) &&
      evaluate(run, &run->assembly.data->test, split->test, split->test_count, accuracy, path ? &file : NULL, error) &&
      (!path || file_commit(&file, error));
  file_abandon(&file);
  return ok;
}

/* The test set is read here, once, with the weights of the last epoch, and nowhere else unless asked for by epoch. */
static bool finish(struct run *run, json_t **record, struct ffb_error *error) {
  const struct ffb_dataset_split *split = &run->assembly.loader.split;
  double test = (double)NAN;
  bool read = !run->config->skip_test, trained = run->config->epochs > 0;
  const char *status = run->ledger.diverged ? "diverged" : trained ? "done" : "evaluated";
  if (!trained && !evaluate(run, &run->assembly.data->train, split->validation, split->validation_count,
                            &run->validation, NULL, error))
    return false;
  if ((read && !read_test(run, &test, error)) || !make_record(run, status, test, record, error) ||
      (!run->control->no_record &&
       !record_write(run->record, *record, &run->ledger, remedy_of(run, record_remedy), error)))
    return false;
  if (run->control->save_weights && !ffb_weights_save(run->control->save_weights, run->assembly.plan, error))
    return false;
  if (run->checkpoint[0])
    unlink(run->checkpoint);
  return true;
}

static void release(struct run *run) {
  progress_end(&run->progress);
  meter_pair_close(&run->meters);
  lock_release(&run->record_lock);
  lock_release(&run->checkpoint_lock);
  ledger_end(&run->ledger);
  meter_conditions_stop(run->conditions);
  meter_card_close(run->card);
  json_decref(run->idle);
  json_decref(run->energy_before);
  json_decref(run->identity);
  executed_end(&run->executed);
  assembly_free(&run->assembly);
}

bool run_execute(const struct run_config *config, const struct run_control *control, json_t **record,
                 struct ffb_error *error) {
  struct run run = {.config = config,
                    .control = control,
                    .refused = ffb_refused_allocations(),
                    .record_lock.descriptor = -1,
                    .checkpoint_lock.descriptor = -1,
                    .validation = (double)NAN};
  *record = NULL;
  bool ok = prepare(&run, error) && train(&run, error) && finish(&run, record, error);
  release(&run);
  if (!ok) {
    json_decref(*record);
    *record = NULL;
  }
  return ok;
}
