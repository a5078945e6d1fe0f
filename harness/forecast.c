#include "harness/forecast.h"

#include "base/memory.h"
#include "harness/assembly.h"
#include "harness/data.h"
#include "harness/interrupt.h"
#include "harness/machine.h"
#include "harness/meters/clock.h"
#include "harness/value.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Calibration may take this share of the runs that it is for, and goes on for no longer than so many seconds. */
static const double calibration_share = 0.04, calibration_seconds = 1.0;
/* Steps that a calibration takes at least: one to warm up, one to time. */
enum { CALIBRATION_STEPS = 2 };

/* Seconds of: what comes before the first step, a training step, a record evaluated, a record whose gradient is
 * taken. */
struct cost {
  double start, step, evaluated, gradient;
};

/* Of all records of a kind together. */
struct seen {
  double train_seconds, steps, evaluation_seconds, evaluated, gradient_seconds, gradient_records;
};

struct kind {
  json_t *key, *family;     /* what decides the cost; the same without the algorithm */
  int64_t steps, evaluated; /* of all runs to come */
  struct seen seen;
  struct cost cost;
  enum forecast_source source;
  double took, predicted; /* runs that have ended: how long they took, and were to take */
};

/* A record of the folder. */
struct past {
  json_t *key;
  struct seen seen;
  bool busy; /* other programs used the machine */
};

struct forecast {
  struct kind *kinds;
  struct past *past;
  size_t count, past_count;
  char processor[MACHINE_TEXT];
  double took, predicted; /* as those of a kind, of all */
};

/* ---- kinds ------------------------------------------------------------------------------------------------------- */

/* Of a configuration in full, what decides how long a step takes, on which processor and how many threads. */
static json_t *make_key(const json_t *config, const char *processor, json_int_t threads) {
  static const char *const without[] = {"data",
                                        "plugin",
                                        "load_weights",
                                        "epochs",
                                        "seed",
                                        "threads",
                                        "train_limit",
                                        "eval_limit",
                                        "skip_test",
                                        "test_by_epoch",
                                        "gradient_statistics",
                                        "gradient_layers",
                                        "histogram_range",
                                        "measure_peaks",
                                        "synthetic_train",
                                        "synthetic_test"};
  static const char *const option_without[] = {"learning_rate", "weight_decay"};
  json_t *key = json_deep_copy(config), *options = json_object_get(key, "options");
  for (size_t i = 0; i < sizeof without / sizeof *without; i++)
    json_object_del(key, without[i]);
  for (size_t i = 0; i < sizeof option_without / sizeof *option_without; i++)
    json_object_del(options, option_without[i]);
  if (!json_is_true(json_object_get(key, "tf32"))) /* records from before there was the option stay good */
    json_object_del(key, "tf32");
  json_object_set_new(key, "processor", json_string(processor));
  json_object_set_new(key, "threads", json_integer(threads));
  return key;
}

static json_t *make_family(const json_t *key) {
  json_t *family = json_copy((json_t *)key);
  json_object_del(family, "algorithm");
  json_object_del(family, "options");
  return family;
}

/* How often a run reads the test set. */
static int64_t test_readings(bool skipped, bool by_epoch, int64_t epochs) {
  return skipped ? 0 : by_epoch ? epochs + 1 : 1;
}

static struct seen read_seen(const json_t *record) {
  const json_t *config = json_object_get(record, "config"), *gradients = json_object_get(record, "gradients"), *entry;
  int64_t epochs = (int64_t)json_array_size(json_object_get(record, "epochs"));
  int64_t readings = test_readings(json_is_true(json_object_get(config, "skip_test")),
                                   json_is_true(json_object_get(config, "test_by_epoch")), epochs);
  struct seen seen = {.train_seconds = value_number_at(record, "time.train_seconds"),
                      .steps = value_number_at(record, "time.steps"),
                      .evaluation_seconds = value_number_at(record, "time.evaluation_seconds"),
                      .evaluated = (double)epochs * value_number_at(record, "dataset.validation_records") +
                                   (double)readings * value_number_at(record, "dataset.test_records")};
  size_t index;
  json_array_foreach((json_t *)gradients, index, entry) {
    seen.gradient_seconds += json_number_value(json_object_get(entry, "seconds"));
    seen.gradient_records += json_number_value(json_object_get(entry, "records"));
  }
  return seen;
}

static void add_seen(struct seen *sum, const struct seen *seen) {
  sum->train_seconds += seen->train_seconds;
  sum->steps += seen->steps;
  sum->evaluation_seconds += seen->evaluation_seconds;
  sum->evaluated += seen->evaluated;
  sum->gradient_seconds += seen->gradient_seconds;
  sum->gradient_records += seen->gradient_records;
}

static double ratio(double seconds, double count, double otherwise) {
  return count > 0 ? seconds / count : otherwise;
}

/* A gradient is taken as a training step takes it. */
static bool settle_by_records(struct kind *kind, double batch, enum forecast_source source) {
  const struct seen *seen = &kind->seen;
  if (seen->steps <= 0)
    return false;
  kind->cost.step = seen->train_seconds / seen->steps;
  kind->cost.evaluated = ratio(seen->evaluation_seconds, seen->evaluated, kind->cost.step / batch);
  kind->cost.gradient = ratio(seen->gradient_seconds, seen->gradient_records, kind->cost.step / batch);
  kind->source = source;
  return true;
}

static double kind_batch(const struct kind *kind) {
  json_int_t batch = json_integer_value(json_object_get(kind->key, "batch"));
  return batch > 0 ? (double)batch : 1;
}

/* ---- records at hand --------------------------------------------------------------------------------------------- */

static bool is_of_use(const json_t *record) {
  const char *status = json_string_value(json_object_get(record, "status"));
  return status && (strcmp(status, "done") == 0 || strcmp(status, "diverged") == 0);
}

static bool take_record(struct forecast *forecast, const json_t *record, struct ffb_error *error) {
  const json_t *provenance = json_object_get(record, "provenance");
  const char *processor = json_string_value(json_object_get(json_object_get(provenance, "machine"), "processor"));
  if (!is_of_use(record) || !processor || strcmp(processor, forecast->processor) != 0)
    return true;
  struct past *past = ffb_reallocate(forecast->past, forecast->past_count + 1, sizeof *past, error);
  if (!past)
    return false;
  json_int_t threads = json_integer_value(json_object_get(provenance, "threads"));
  forecast->past = past;
  past[forecast->past_count++] = (struct past){.key = make_key(json_object_get(record, "config"), processor, threads),
                                               .seen = read_seen(record),
                                               .busy = json_is_false(json_object_get(provenance, "own_machine"))};
  return true;
}

static bool take_records(struct forecast *forecast, const char *results, struct ffb_error *error) {
  char folder[PATH_MAX], path[PATH_MAX];
  bool ok = true;
  DIR *directory = snprintf(folder, sizeof folder, "%s/records", results) < PATH_MAX ? opendir(folder) : NULL;
  for (struct dirent *entry; ok && directory && (entry = readdir(directory));) {
    size_t length = strlen(entry->d_name);
    if (length <= 5 || strcmp(entry->d_name + length - 5, ".json") != 0 ||
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= PATH_MAX)
      continue;
    json_t *record = json_load_file(path, 0, NULL);
    ok = take_record(forecast, record, error);
    json_decref(record);
  }
  if (directory)
    closedir(directory);
  return ok;
}

static bool find_records(const struct forecast *forecast, struct kind *kind, bool busy) {
  for (size_t i = 0; i < forecast->past_count; i++)
    if (forecast->past[i].busy == busy && json_equal(forecast->past[i].key, kind->key))
      add_seen(&kind->seen, &forecast->past[i].seen);
  return settle_by_records(kind, kind_batch(kind), busy ? FORECAST_BUSY_RECORDS : FORECAST_RECORDS);
}

struct forecast *forecast_open(const char *results, struct ffb_error *error) {
  struct forecast *forecast = ffb_allocate(1, sizeof *forecast, error);
  struct machine machine;
  if (!forecast)
    return NULL;
  machine_read(&machine);
  snprintf(forecast->processor, sizeof forecast->processor, "%s", machine.processor);
  unsigned long refused = ffb_refused_allocations();
  if (take_records(forecast, results, error) && value_is_whole(refused, "the records at hand", error))
    return forecast;
  forecast_close(forecast);
  return NULL;
}

void forecast_close(struct forecast *forecast) {
  if (!forecast)
    return;
  for (size_t i = 0; i < forecast->count; i++) {
    json_decref(forecast->kinds[i].key);
    json_decref(forecast->kinds[i].family);
  }
  for (size_t i = 0; i < forecast->past_count; i++)
    json_decref(forecast->past[i].key);
  ffb_free(forecast->kinds);
  ffb_free(forecast->past);
  ffb_free(forecast);
}

/* ---- runs to come ------------------------------------------------------------------------------------------------ */

/* Takes the key over. */
static bool find_kind(struct forecast *forecast, json_t *key, size_t *kind, struct ffb_error *error) {
  for (*kind = 0; *kind < forecast->count; ++*kind) {
    if (json_equal(forecast->kinds[*kind].key, key)) {
      json_decref(key);
      return true;
    }
  }
  struct kind *kinds = ffb_reallocate(forecast->kinds, forecast->count + 1, sizeof *kinds, error);
  if (!kinds) {
    json_decref(key);
    return false;
  }
  forecast->kinds = kinds;
  kinds[forecast->count] = (struct kind){.key = key, .family = make_family(key)};
  if (!find_records(forecast, &kinds[forecast->count], false))
    find_records(forecast, &kinds[forecast->count], true);
  forecast->count++;
  return true;
}

/* Steps of the whole run, and the records that it evaluates. */
static bool measure_length(const struct run_config *config, struct forecast_run *run, struct ffb_error *error) {
  const struct ffb_dataset_pair *data = data_get(config, error);
  struct ffb_dataset_split split = {0};
  if (!data || !ffb_dataset_split(&split, data, (uint64_t)config->seed, config->train_limit, config->eval_limit, error))
    return false;
  int64_t passes = config->epochs > 0 ? config->epochs : 1;
  int64_t tests = test_readings(config->skip_test, config->test_by_epoch, config->epochs);
  int64_t gradient = config->gradient_statistics;
  run->steps = config->epochs * ((split.train_count + config->batch - 1) / config->batch);
  run->evaluated = passes * split.validation_count + tests * split.test_count;
  run->gradient_records = (config->epochs + 1) * (gradient < split.train_count ? gradient : split.train_count);
  ffb_dataset_split_free(&split);
  return true;
}

/* The record of an interrupted run tells how far it came. */
static double share_left(const char *path, int64_t steps) {
  json_t *record = json_load_file(path, 0, NULL);
  const char *status = json_string_value(json_object_get(record, "status"));
  double done = status && strcmp(status, "interrupted") == 0 ? value_number_at(record, "time.steps") : 0;
  json_decref(record);
  return steps > 0 && done < (double)steps ? 1 - done / (double)steps : 1;
}

bool forecast_add(struct forecast *forecast, const struct run_config *config, const char *record,
                  struct forecast_run *run, struct ffb_error *error) {
  json_t *full = run_config_json(config, error);
  if (!full)
    return false;
  *run = (struct forecast_run){.left = 1};
  int threads = config->threads ? (int)config->threads : assembly_processors();
  bool ok = find_kind(forecast, make_key(full, forecast->processor, threads), &run->kind, error) &&
            measure_length(config, run, error);
  json_decref(full);
  if (ok) {
    run->left = share_left(record, run->steps);
    forecast->kinds[run->kind].steps += run->steps;
    forecast->kinds[run->kind].evaluated += run->evaluated;
  }
  return ok;
}

/* ---- calibration ------------------------------------------------------------------------------------------------- */

/* The least that is needed of something, else a share of what is to come. */
static int64_t sample(int64_t least, int64_t of) {
  int64_t share = (int64_t)(calibration_share * (double)of);
  return share > least ? share : least;
}

static bool is_time_up(double begun, double room) {
  return interrupt_asked() || meter_clock_seconds() - begun > room;
}

/* Seconds of a step, the first left out; negative where one failed. */
static double time_steps(struct assembly *assembly, int64_t most) {
  struct loader *loader = &assembly->loader;
  int64_t full = loader->split.train_count / loader->batch, batches = full > 0 ? full : 1, step = 0;
  struct ffb_error ignored;
  double begun = meter_clock_seconds();
  loader_shuffle(loader, 0);
  for (; step < CALIBRATION_STEPS || (step < most && !is_time_up(begun, calibration_seconds)); step++) {
    struct ffb_batch batch;
    if (step == 1)
      begun = meter_clock_seconds();
    loader_train(loader, step % batches, &batch);
    if (!assembly->parts.trainer->train_step(assembly->state, &batch, &ignored) ||
        !ffb_plan_synchronise(assembly->plan, &ignored))
      return -1;
  }
  return (meter_clock_seconds() - begun) / (double)(step - 1);
}

/* Seconds of predicting one record, from whole batches; negative where that failed. */
static double time_evaluation(struct assembly *assembly, int64_t most) {
  struct loader *loader = &assembly->loader;
  const struct ffb_dataset_split *split = &loader->split;
  struct ffb_error ignored;
  float *scores = ffb_allocate((size_t)(loader->batch * assembly->data->train.classes), sizeof *scores, &ignored);
  double begun = meter_clock_seconds();
  int64_t rows = 0, count = most < split->validation_count ? most : split->validation_count;
  bool ok = scores != NULL;
  while (ok && (rows == 0 || (rows < count && !is_time_up(begun, calibration_seconds / 4)))) {
    struct ffb_batch batch;
    const int32_t *labels;
    loader_predict(loader, &assembly->data->train, split->validation, split->validation_count, rows, &batch, &labels);
    ok = assembly->parts.trainer->predict(assembly->state, &batch, scores, &ignored);
    rows += batch.rows;
  }
  ffb_free(scores);
  return ok ? (meter_clock_seconds() - begun) / (double)rows : -1;
}

static bool take_steps(struct assembly *assembly, struct kind *kind) {
  struct cost *cost = &kind->cost;
  cost->step = time_steps(assembly, sample(CALIBRATION_STEPS, kind->steps));
  if (cost->step < 0)
    return false;
  cost->evaluated = time_evaluation(assembly, sample(1, kind->evaluated));
  cost->gradient = cost->step / kind_batch(kind);
  return cost->evaluated >= 0;
}

/* A kind of the same network on the same data whose cost is known, the best known of several. */
static const struct kind *find_like(const struct forecast *forecast, const struct kind *kind) {
  static const int rank[] = {
      [FORECAST_CALIBRATION] = 3, [FORECAST_RECORDS] = 2, [FORECAST_BUSY_RECORDS] = 1, [FORECAST_LIKE] = 0};
  const struct kind *like = NULL;
  for (size_t i = 0; i < forecast->count; i++) {
    const struct kind *other = &forecast->kinds[i];
    if (rank[other->source] > (like ? rank[like->source] : 0) && json_equal(other->family, kind->family))
      like = other;
  }
  return like;
}

/* The first of a family stands for all of it; another one has to be worth what the first took. */
static bool is_worth_it(const struct forecast *forecast, const struct kind *kind, const struct kind *like) {
  double steps = 0;
  for (size_t i = 0; i < forecast->count && !like; i++)
    if (json_equal(forecast->kinds[i].family, kind->family))
      steps += (double)forecast->kinds[i].steps;
  if (!like)
    return calibration_share * steps >= CALIBRATION_STEPS;
  double room = calibration_share * (double)kind->steps * like->cost.step;
  return room >= like->cost.start + CALIBRATION_STEPS * like->cost.step;
}

static bool calibrate(struct kind *kind, const struct run_config *config) {
  struct assembly assembly;
  struct ffb_error ignored;
  /* Loaded first: runs that follow each other find it loaded. */
  if (!data_get(config, &ignored))
    return false;
  double begun = meter_clock_seconds();
  if (!assembly_make(&assembly, config, &ignored))
    return false;
  kind->cost.start = meter_clock_seconds() - begun;
  bool ok = take_steps(&assembly, kind);
  assembly_free(&assembly);
  return ok;
}

void forecast_calibrate(struct forecast *forecast, const struct run_config *config, const struct forecast_run *run) {
  struct kind *kind = &forecast->kinds[run->kind];
  const struct kind *like = find_like(forecast, kind);
  bool busy = kind->source == FORECAST_BUSY_RECORDS;
  if ((kind->source != FORECAST_UNKNOWN && !busy) || run->steps == 0 || interrupt_asked())
    return;
  struct cost known = busy ? kind->cost : like ? like->cost : (struct cost){0};
  if (is_worth_it(forecast, kind, like) && calibrate(kind, config)) {
    kind->source = FORECAST_CALIBRATION;
  } else if (like) {
    kind->cost = known;
    kind->source = busy ? FORECAST_BUSY_RECORDS : FORECAST_LIKE;
  }
}

/* ---- seconds ----------------------------------------------------------------------------------------------------- */

double forecast_seconds(const struct forecast *forecast, const struct forecast_run *run, enum forecast_source *source) {
  const struct kind *kind = &forecast->kinds[run->kind];
  const struct cost *cost = &kind->cost;
  *source = kind->source;
  if (kind->source == FORECAST_UNKNOWN)
    return (double)NAN;
  return cost->start + run->left * ((double)run->steps * cost->step + (double)run->evaluated * cost->evaluated +
                                    (double)run->gradient_records * cost->gradient);
}

bool forecast_has_learnt(const struct forecast *forecast) {
  return forecast->predicted > 0;
}

double forecast_corrected(const struct forecast *forecast, const struct forecast_run *run) {
  const struct kind *kind = &forecast->kinds[run->kind];
  enum forecast_source source;
  double seconds = forecast_seconds(forecast, run, &source);
  if (kind->predicted > 0)
    return seconds * kind->took / kind->predicted;
  return forecast_has_learnt(forecast) ? seconds * forecast->took / forecast->predicted : seconds;
}

/* From now on by what its own run took, from start to end. */
static void adopt(struct kind *kind, const struct forecast_run *run, double seconds, const struct seen *seen) {
  add_seen(&kind->seen, seen);
  kind->cost.start = 0;
  settle_by_records(kind, kind_batch(kind), FORECAST_RECORDS);
  double inside = seen->train_seconds + seen->evaluation_seconds + seen->gradient_seconds;
  if (run->left >= 1 && seconds > inside)
    kind->cost.start = seconds - inside;
}

void forecast_learn(struct forecast *forecast, const struct forecast_run *run, double seconds, const json_t *record) {
  struct kind *kind = &forecast->kinds[run->kind];
  enum forecast_source source;
  double predicted = forecast_seconds(forecast, run, &source);
  struct seen seen = read_seen(record);
  if (source == FORECAST_UNKNOWN || source == FORECAST_LIKE) {
    adopt(kind, run, seconds, &seen);
    return;
  }
  /* A run that ends early, diverged, says nothing about the pace. */
  if (seen.steps < (double)run->steps)
    return;
  kind->took += seconds;
  kind->predicted += predicted;
  forecast->took += seconds;
  forecast->predicted += predicted;
}
