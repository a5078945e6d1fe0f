#include "harness/record.h"

#include "base/memory.h"
#include "harness/file.h"
#include "harness/outliers.h"
#include "harness/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

const char record_remedy[] = "name a place for it with --record FILE";

/* 0.05 stays 0.05, and no measurement is finer. All digits where an option needs them to be read back as it was. */
enum { REAL_DIGITS = 15, ALL_DIGITS = 17 };

/* ---- the object ------------------------------------------------------------------------------------------------- */

/* A record may be published: where somebody keeps the data is nobody's business. */
static const char *last_folder(const char *source) {
  const char *slash = strrchr(source, '/');
  return *source == '/' && slash[1] ? slash + 1 : source;
}

static json_t *list_channels(const struct assembly *assembly, const float *values) {
  json_t *list = json_array();
  for (int64_t channel = 0; channel < assembly->data->train.channels; channel++)
    json_array_append_new(list, json_real((double)values[channel]));
  return list;
}

static json_t *make_dataset(const struct assembly *assembly) {
  const struct ffb_dataset *train = &assembly->data->train;
  const struct ffb_dataset_split *split = &assembly->loader.split;
  return json_pack("{s:s, s:s, s:b, s:b, s:s, s:I, s:I, s:I, s:o, s:o}", "name", train->name, "sha256",
                   assembly->data->sha256, "official", assembly->data->official, "synthetic", train->synthetic,
                   "source", last_folder(train->source), "train_records", (json_int_t)split->train_count,
                   "validation_records", (json_int_t)split->validation_count, "test_records",
                   (json_int_t)split->test_count, "mean", list_channels(assembly, assembly->setup.mean), "deviation",
                   list_channels(assembly, assembly->setup.deviation));
}

static json_t *make_accuracy(const struct record_facts *facts) {
  const json_t *epochs = facts->ledger->epochs;
  const json_t *last = json_array_get(epochs, json_array_size(epochs) - 1);
  json_t *validation = json_object_get(last, "validation_accuracy");
  return json_pack("{s:o, s:o}", "test", value_known(facts->test_accuracy), "validation",
                   validation ? json_incref(validation) : value_known(facts->validation_accuracy));
}

static json_t *list_epoch_seconds(const json_t *epochs) {
  json_t *list = json_array(), *epoch;
  size_t index;
  json_array_foreach((json_t *)epochs, index, epoch) json_array_append(list, json_object_get(epoch, "seconds"));
  return list;
}

/* Null where there were too few steps. */
static json_t *make_step_times(const struct ledger *ledger, const struct meter_times *times) {
  struct outliers outliers;
  if (times->count == 0)
    return json_null();
  outliers_find(ledger->step_seconds + LEDGER_WARM_UP, times->count, times, &outliers);
  return json_pack("{s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:o, s:I}", "mean", times->mean, "minimum", times->minimum,
                   "p10", times->p10, "p90", times->p90, "maximum", times->maximum, "outliers",
                   (json_int_t)times->outliers, "slow_outliers", (json_int_t)outliers.slow, "slow_outlier_seconds",
                   outliers.seconds, "outlier_period",
                   outliers.period ? json_integer((json_int_t)outliers.period) : json_null(), "regular_outliers",
                   (json_int_t)outliers.regular);
}

static json_t *make_time(const struct record_facts *facts, const char *steps_file, struct ffb_error *error) {
  struct meter_times times;
  if (!ledger_step_times(facts->ledger, &times, error))
    return NULL;
  return json_pack("{s:f, s:f, s:o, s:o, s:o, s:f, s:I, s:i, s:I, s:s}", "train_seconds", facts->ledger->train_seconds,
                   "data_wait_seconds", facts->ledger->data_wait_seconds, "step_median_seconds",
                   times.count ? json_real(times.median) : json_null(), "step_seconds",
                   make_step_times(facts->ledger, &times), "epoch_seconds", list_epoch_seconds(facts->ledger->epochs),
                   "evaluation_seconds", facts->ledger->evaluation_seconds, "steps", (json_int_t)facts->ledger->steps,
                   "warm_up_steps", LEDGER_WARM_UP, "resumes", (json_int_t)facts->ledger->resumes, "steps_file",
                   file_name(steps_file));
}

static json_t *memory_value(const struct meter_memory_value *value) {
  return value->known ? json_integer((json_int_t)value->bytes) : json_null();
}

/* Of a GPU, all programs together; null where tensors lie in the processor's memory and nowhere else. */
static json_t *make_device_memory(const struct assembly *assembly) {
  struct ffb_device_memory memory;
  if (!assembly->parts.backend->memory || !assembly->parts.backend->memory(assembly->device, &memory))
    return json_null();
  return json_pack("{s:I, s:I, s:I, s:b}", "total_bytes", (json_int_t)memory.total, "used_when_opened_bytes",
                   (json_int_t)memory.used_first, "used_peak_bytes", (json_int_t)memory.used_peak,
                   "shared_with_processor", memory.shared);
}

static json_t *make_memory(const struct record_facts *facts) {
  struct ffb_memory_peak peak, prediction;
  ffb_plan_peak_of(facts->assembly->plan, "train", &peak);
  ffb_plan_peak_of(facts->assembly->plan, "predict", &prediction);
  json_t *by_tag = json_object();
  for (int tag = 0; tag < FFB_TAG_COUNT; tag++)
    json_object_set_new(by_tag, ffb_tag_name((enum ffb_tag)tag), json_integer((json_int_t)peak.by_tag[tag]));
  const struct meter_memory *memory = &facts->memory;
  return json_pack(
      "{s:I, s:o, s:I, s:I, s:s?, s:I, s:o, s:b, s:s?, s:o, s:s?, s:o}", "peak_bytes", (json_int_t)peak.peak,
      "peak_bytes_by_tag", by_tag, "prediction_peak_bytes", (json_int_t)prediction.peak, "arena_bytes",
      (json_int_t)peak.arena, "peak_program", peak.program, "peak_call", (json_int_t)peak.call, "resident_peak_bytes",
      memory_value(&memory->resident_peak), "resident_peak_of_this_run", facts->memory_reset.peak_reset,
      "resident_reason", memory->resident_peak.known ? NULL : memory->resident_peak.reason, "cgroup_peak_bytes",
      memory_value(&memory->cgroup_peak), "cgroup_reason",
      memory->cgroup_peak.known ? NULL : memory->cgroup_peak.reason, "device", make_device_memory(facts->assembly));
}

static json_t *make_count(const struct ffb_operation_count *count) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "mac_f32", (json_int_t)count->mac_f32, "mac_s8",
                   (json_int_t)count->mac_s8, "forward", (json_int_t)count->forward, "input_gradient",
                   (json_int_t)count->input_gradient, "weight_gradient", (json_int_t)count->weight_gradient, "padding",
                   (json_int_t)count->padding, "quantised_elements", (json_int_t)count->quantised_elements,
                   "added_elements", (json_int_t)count->added_elements, "compared_elements",
                   (json_int_t)count->compared_elements);
}

static json_t *make_executed_program(const struct executed_program *program) {
  const struct ffb_executed *total = &program->total;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "runs", (json_int_t)program->runs, "mac_f32",
                   (json_int_t)total->mac_f32, "mac_s8", (json_int_t)total->mac_s8, "forward",
                   (json_int_t)program->macs[FFB_PRODUCT_FORWARD], "input_gradient",
                   (json_int_t)program->macs[FFB_PRODUCT_INPUT_GRADIENT], "weight_gradient",
                   (json_int_t)program->macs[FFB_PRODUCT_WEIGHT_GRADIENT], "quantised_elements",
                   (json_int_t)total->quantised_elements, "added_elements", (json_int_t)total->added_elements,
                   "compared_elements", (json_int_t)total->compared_elements, "searched_elements",
                   (json_int_t)total->searched_elements);
}

/* Those programs that ran; null where the backend does not count. */
static json_t *make_executed(const struct executed *executed) {
  if (!executed->programs)
    return json_null();
  const struct ffb_plan *plan = executed->assembly->plan;
  json_t *programs = json_object();
  for (size_t i = 0; i < ffb_plan_program_count(plan); i++) {
    if (executed->programs[i].runs)
      json_object_set_new(programs, ffb_program_name(ffb_plan_program_at(plan, i)),
                          make_executed_program(&executed->programs[i]));
  }
  return programs;
}

/* What the trainers' formulas cover. */
static json_t *make_macs(const struct ffb_operation_count *count) {
  return json_pack("{s:I, s:I}", "mac_f32", (json_int_t)count->mac_f32, "mac_s8", (json_int_t)count->mac_s8);
}

static json_t *make_operations(const struct assembly *assembly, const struct executed *executed) {
  json_t *programs = json_object();
  for (size_t i = 0; i < ffb_plan_program_count(assembly->plan); i++) {
    const struct ffb_program *program = ffb_plan_program_at(assembly->plan, i);
    struct ffb_operation_count count = {0};
    ffb_program_count(program, &count);
    json_object_set_new(programs, ffb_program_name(program), make_count(&count));
  }
  json_t *operations =
      json_pack("{s:o, s:o, s:s?}", "programs", programs, "executed", make_executed(executed), "executed_reason",
                executed->programs ? NULL : "only --backend reference counts while it runs");
  struct ffb_operation_count train = {0}, predict = {0};
  const struct ffb_trainer *trainer = assembly->parts.trainer;
  if (trainer->count_operations &&
      trainer->count_operations(&assembly->setup, assembly->setup.batch, &train, &predict)) {
    json_object_set_new(operations, "train_step", make_macs(&train));
    json_object_set_new(operations, "predict_batch", make_macs(&predict));
  }
  return operations;
}

static json_t *make_model(const struct ffb_network *network) {
  return json_pack("{s:s, s:I, s:I, s:i, s:i}", "name", network->model, "parameters",
                   (json_int_t)ffb_network_parameters(network, true), "parameters_without_head",
                   (json_int_t)ffb_network_parameters(network, false), "units", network->unit_count, "layers",
                   network->layer_count);
}

/* Null where the weights were drawn. */
static json_t *make_loaded(const struct run_config *config, const struct record_facts *facts) {
  if (!config->load_weights)
    return json_null();
  return json_pack("{s:s, s:s?}", "file", file_name(config->load_weights), "sha256", facts->loaded_sha256);
}

static const char steps_suffix[] = ".steps.gz", readings_suffix[] = ".readings.gz";

/* A file beside the record: x.json -> x.steps.gz. */
static void find_beside(const char *path, const char *new_suffix, char beside[PATH_MAX]) {
  size_t length = strlen(path), suffix = strlen(".json");
  if (length > suffix && strcmp(path + length - suffix, ".json") == 0)
    length -= suffix;
  snprintf(beside, PATH_MAX, "%.*s%s", (int)length, path, new_suffix);
}

/* With the name of the file that every reading is in. */
static json_t *make_energy(const struct record_facts *facts, const char *path) {
  const struct ledger *ledger = facts->ledger;
  char readings[PATH_MAX];
  json_t *energy = json_deep_copy(ledger->energy);
  bool measured = json_is_number(json_object_get(energy, "joules"));
  const char *reason = !measured               ? "nothing was measured"
                       : ledger->readings.full ? "there was no memory for all readings"
                                               : NULL;
  find_beside(path, readings_suffix, readings);
  json_object_set_new(energy, "readings_file", reason ? json_null() : json_string(file_name(readings)));
  json_object_set_new(energy, "readings_reason", reason ? json_string(reason) : json_null());
  json_object_set(energy, "idle", facts->idle);
  return energy;
}

/* The parts that read the configuration or the device and so can fail; all are null when one did. */
struct costly {
  json_t *config, *time;
  char *command;
  char weights_sha256[FFB_SHA256_TEXT];
};

static bool make_costly(struct costly *costly, const struct run_config *config, const struct record_facts *facts,
                        const char *path, struct ffb_error *error) {
  char steps[PATH_MAX];
  find_beside(path, steps_suffix, steps);
  *costly = (struct costly){0};
  if ((costly->config = run_config_json(config, error)) && (costly->command = run_config_command(config, error)) &&
      (costly->time = make_time(facts, steps, error)) &&
      assembly_weights_sha256(facts->assembly, costly->weights_sha256, error))
    return true;
  json_decref(costly->config);
  json_decref(costly->time);
  ffb_free(costly->command);
  return false;
}

json_t *record_make(const struct run_config *config, const struct run_control *control,
                    const struct record_facts *facts, const char *path, struct ffb_error *error) {
  struct costly costly;
  const struct ledger *ledger = facts->ledger;
  unsigned long refused = ffb_refused_allocations();
  if (!make_costly(&costly, config, facts, path, error)) {
    value_is_whole(refused, "the record", error);
    return NULL;
  }
  json_t *record = json_pack(
      "{s:i, s:s, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:O, s:O?, s:O?, s:o, s:o, s:o?, s:o, s:s, s:s, s:o, s:o}",
      "schema", RECORD_SCHEMA, "status", facts->status, "profile", control->profile, "experiment", control->experiment,
      "config", costly.config, "dataset", make_dataset(facts->assembly), "model", make_model(&facts->assembly->network),
      "loaded_weights", make_loaded(config, facts), "accuracy", make_accuracy(facts), "epochs", ledger->epochs,
      "gradients", ledger->gradients, "diverged", ledger->diverged, "time", costly.time, "memory", make_memory(facts),
      "energy", make_energy(facts, path), "operations", make_operations(facts->assembly, facts->executed),
      "weights_sha256", costly.weights_sha256, "command", costly.command, "provenance",
      provenance_json(facts->provenance, facts->assembly, ledger), "cool_down", baseline_heat_json(facts->heat));
  ffb_free(costly.command);
  bool whole = value_is_whole(refused, "the record", error);
  if (!record && whole)
    ffb_fail(error, "cannot make the record: a name in it is not UTF-8 text: give another to its file");
  if (whole)
    return record;
  json_decref(record);
  return NULL;
}

/* ---- the files -------------------------------------------------------------------------------------------------- */

bool record_path(const struct run_control *control, const char *name, char *path, size_t size,
                 struct ffb_error *error) {
  int length = control->record
                   ? snprintf(path, size, "%s", control->record)
                   : snprintf(path, size, "%s/records/%s.json", control->results ? control->results : "results", name);
  return (length >= 0 && (size_t)length < size) ||
         ffb_fail_usage(error, "the record's file name is too long: give a shorter one with --record");
}

bool record_probe(const char *path, const char *remedy, struct ffb_error *error) {
  char steps[PATH_MAX];
  find_beside(path, steps_suffix, steps);
  return file_probe(path, remedy, error) && file_probe(steps, remedy, error);
}

/* A gzip file without a date, so that the same times give the same bytes. */
static void *deflate_whole(const void *data, size_t size, size_t *bytes, struct ffb_error *error) {
  z_stream stream = {.next_in = (Bytef *)data, .avail_in = (uInt)size};
  enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
    ffb_fail(error, "out of memory for the files beside the record: close other programs");
    return NULL;
  }
  uLong room = deflateBound(&stream, stream.avail_in);
  void *content = ffb_allocate(room, 1, error);
  if (content) {
    stream.next_out = content;
    stream.avail_out = (uInt)room;
    deflate(&stream, Z_FINISH);
    *bytes = stream.total_out;
  }
  deflateEnd(&stream);
  return content;
}

static bool write_steps(const char *path, const struct ledger *ledger, const char *remedy, struct ffb_error *error) {
  char steps[PATH_MAX];
  size_t bytes = 0;
  find_beside(path, steps_suffix, steps);
  void *content = deflate_whole(ledger->step_seconds, ledger->steps * sizeof *ledger->step_seconds, &bytes, error);
  bool ok = content && file_replace(steps, content, bytes, remedy, error);
  ffb_free(content);
  return ok;
}

/* Every reading of the meter, or no file where there is none to trust. */
static bool write_readings(const char *path, const json_t *record, const struct ledger *ledger, const char *remedy,
                           struct ffb_error *error) {
  const json_t *energy = json_object_get(record, "energy");
  char readings[PATH_MAX], heading[512];
  size_t length, bytes = 0;
  find_beside(path, readings_suffix, readings);
  if (!json_is_string(json_object_get(energy, "readings_file"))) {
    unlink(readings);
    return true;
  }
  snprintf(heading, sizeof heading,
           "# %s, %s, read every %g s: seconds of training, then watts, or joules since the good reading before\n",
           json_string_value(json_object_get(energy, "source")), json_string_value(json_object_get(energy, "rail")),
           json_number_value(json_object_get(energy, "interval_seconds")));
  char *text = meter_log_text(&ledger->readings, heading, &length, error);
  void *content = text ? deflate_whole(text, length, &bytes, error) : NULL;
  bool ok = content && file_replace(readings, content, bytes, remedy, error);
  ffb_free(content);
  ffb_free(text);
  return ok;
}

/* The record in another place; the error that brought us here stays, and says where. */
static void rescue(const char *path, const char *text, struct ffb_error *error) {
  const char *folder = getenv("TMPDIR");
  char place[PATH_MAX];
  struct ffb_error ignored;
  if (snprintf(place, sizeof place, "%s/%s", folder && *folder ? folder : "/tmp", file_name(path)) < PATH_MAX &&
      strcmp(place, path) != 0 && file_replace(place, text, strlen(text), "", &ignored))
    ffb_fail_prefix(error, "the record was kept as %s: ", place);
}

static bool survives(double number) {
  char text[32];
  snprintf(text, sizeof text, "%.*g", REAL_DIGITS, number);
  return strtod(text, NULL) == number;
}

/* Whether every option reads back as the same number from REAL_DIGITS. */
static bool options_survive(const json_t *options) {
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)options, name, value) {
    if (json_is_object(value) ? !options_survive(value) : json_is_real(value) && !survives(json_real_value(value)))
      return false;
  }
  return true;
}

/* Without memory jansson may write a text that lacks a key, and say nothing. */
static char *record_text(const json_t *record, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  bool short_enough = options_survive(json_object_get(record, "config"));
  char *text = json_dumps(record, JSON_INDENT(2) | JSON_REAL_PRECISION(short_enough ? REAL_DIGITS : ALL_DIGITS));
  if (value_is_whole(refused, "the record", error))
    return text;
  free(text);
  return NULL;
}

json_t *record_as_read(const json_t *record, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  char *text = record_text(record, error);
  json_t *read = text ? json_loads(text, 0, NULL) : NULL;
  free(text);
  if (value_is_whole(refused, "the record", error))
    return read;
  json_decref(read);
  return NULL;
}

bool record_write(const char *path, const json_t *record, const struct ledger *ledger, const char *remedy,
                  struct ffb_error *error) {
  char *text = record_text(record, error);
  if (!text)
    return false;
  bool ok = write_steps(path, ledger, remedy, error) && write_readings(path, record, ledger, remedy, error) &&
            file_replace(path, text, strlen(text), remedy, error);
  if (!ok)
    rescue(path, text, error);
  free(text);
  return ok;
}

bool record_says_finished(const json_t *record) {
  const char *status = json_string_value(json_object_get(record, "status"));
  return status && strcmp(status, "interrupted") != 0;
}

bool record_is_finished(const char *path) {
  unsigned long refused = ffb_refused_allocations();
  json_t *record = json_load_file(path, 0, NULL);
  bool finished = record_says_finished(record) || ffb_refused_allocations() != refused;
  json_decref(record);
  return finished;
}
