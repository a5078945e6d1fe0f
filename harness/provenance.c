#include "harness/provenance.h"

#include "base/memory.h"
#include "harness/identity.h"
#include "harness/plugin.h"
#include "harness/value.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

/* A run had the machine to itself when all other processes together used less than this share of it. */
const double provenance_own_share = 0.05;
/* Shorter than this, the kernel's clock ticks are too coarse to tell. */
static const double least_capacity_seconds = 2.0;

void provenance_version(char *text, size_t size) {
  snprintf(text, size, "ffbench %s%s, %s", FFB_COMMIT, FFB_DIRTY ? " (with changes)" : "", FFB_COMPILER);
}

void provenance_start(struct provenance *provenance) {
  *provenance = (struct provenance){0};
  meter_clock_utc(time(NULL), provenance->started);
  machine_read(&provenance->machine);
  machine_watch_start(&provenance->watch);
}

void provenance_count(struct provenance *provenance, struct ledger *ledger) {
  struct machine_usage usage;
  if (machine_watch_read(&provenance->watch, &usage)) {
    ledger->other_seconds += usage.other;
    ledger->capacity_seconds += usage.capacity;
  }
  double throttle_count = provenance->watch.throttle_count;
  machine_watch_start(&provenance->watch);
  provenance->watch.throttle_count = throttle_count;
}

static void say(void *to, const char *name, const char *value) {
  json_object_set_new(to, name, json_string(value));
}

static json_t *describe_backend(const struct assembly *assembly) {
  json_t *object = json_pack("{s:s}", "name", assembly->parts.backend->name);
  if (object && assembly->parts.backend->describe)
    assembly->parts.backend->describe(assembly->device, say, object);
  return object;
}

/* Objects need not come from this commit: the file's content says which one it was. */
static json_t *describe_object(const struct plugin_file *file) {
  return file ? json_pack("{s:s, s:s}", "file", file->name, "sha256", file->sha256) : json_null();
}

static json_t *list_environment(void) {
  static const char *const names[] = {
      "OMP_NUM_THREADS",    "OMP_PROC_BIND",       "OPENBLAS_NUM_THREADS",      "OPENBLAS_CORETYPE",
      "ONEDNN_MAX_CPU_ISA", "FFBENCH_SYSFS",       "FFBENCH_CPU_ISA",           "OMP_WAIT_POLICY",
      "GOMP_SPINCOUNT",     "FFBENCH_CUDA_SEARCH", "FFBENCH_CUDA_CONVOLUTIONS", "CUDA_VISIBLE_DEVICES",
      "CUDA_DEVICE_ORDER",  "NVIDIA_TF32_OVERRIDE"};
  json_t *object = json_object();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (getenv(names[i]))
      json_object_set_new(object, names[i], json_string(getenv(names[i])));
  return object;
}

static json_t *own_machine(const struct ledger *ledger) {
  if (ledger->capacity_seconds < least_capacity_seconds)
    return json_null();
  return json_boolean(ledger->other_seconds < provenance_own_share * ledger->capacity_seconds);
}

static bool throttled_now(const struct provenance *provenance, bool *known) {
  struct machine now;
  machine_read(&now);
  *known = now.throttle_count >= 0 || provenance->conditions.throttling_known;
  return now.throttle_count > provenance->watch.throttle_count || provenance->conditions.throttled;
}

void provenance_note(struct provenance *provenance, const struct meter_conditions *conditions, struct ledger *ledger) {
  bool known;
  provenance->conditions = *conditions;
  ledger->throttled = throttled_now(provenance, &known) || ledger->throttled;
}

static json_t *throttled(const struct provenance *provenance, const struct ledger *ledger) {
  bool known, now = throttled_now(provenance, &known);
  return known || ledger->throttled ? json_boolean(now || ledger->throttled) : json_null();
}

static json_t *clocks_json(const struct meter_clocks *clocks) {
  return json_pack("{s:o, s:o, s:o, s:o}", "minimum", value_known(clocks->minimum), "mean", value_known(clocks->mean),
                   "maximum", value_known(clocks->maximum), "limit", value_known(clocks->limit));
}

static json_t *fixed_json(const struct meter_clocks *clocks) {
  return clocks->fixed_known ? json_boolean(clocks->fixed) : json_null();
}

static json_t *held_json(const struct meter_card_conditions *card) {
  if (!card->reasons_known)
    return json_null();
  json_t *held = json_object();
  for (size_t i = 0; i < METER_CARD_REASONS; i++)
    if (card->held[i])
      json_object_set_new(held, meter_card_reasons[i].name, json_integer((json_int_t)card->held[i]));
  return held;
}

static json_t *card_json(const struct meter_conditions *seen) {
  const struct meter_card_conditions *card = &seen->card;
  if (!seen->has_card)
    return json_null();
  return json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:{s:o, s:o}, s:o, s:o}", "source", value_text(card->facts.source),
                   "name", value_text(card->facts.name), "reason", value_text(card->facts.problem.reason), "looks",
                   (json_int_t)card->clocks.looks, "clock_megahertz", clocks_json(&card->clocks), "clocks_fixed",
                   fixed_json(&card->clocks), "celsius", "first", value_known(card->first_celsius), "highest",
                   value_known(card->highest_celsius), "power_limit_watts", value_known(card->lowest_limit_watts),
                   "held_down", held_json(card));
}

static json_t *conditions_json(const struct meter_conditions *seen) {
  return json_pack("{s:I, s:f, s:o, s:o, s:o, s:{s:o, s:o, s:o}, s:o, s:o}", "looks", (json_int_t)seen->samples,
                   "interval_seconds", seen->interval_seconds, "clock_megahertz", clocks_json(&seen->clocks),
                   "clocks_fixed", fixed_json(&seen->clocks), "power_mode", value_text(seen->power_mode), "celsius",
                   "first", value_known(seen->first_celsius), "highest", value_known(seen->highest_celsius), "zone",
                   value_text(seen->hottest), "throttled_by", value_text(seen->throttled_by), "gpu", card_json(seen));
}

static json_t *of_program_and_machine(const struct provenance *provenance, const struct assembly *assembly,
                                      const struct ledger *ledger) {
  char finished[METER_UTC_TEXT];
  meter_clock_utc(time(NULL), finished);
  double share = ledger->capacity_seconds > 0 ? ledger->other_seconds / ledger->capacity_seconds : 0;
  return json_pack(
      "{s:s, s:b, s:s, s:s, s:s, s:s, s:o, s:n, s:o, s:o, s:i, s:o, s:o, s:f, s:o, s:{s:s, s:s, s:s}, s:o}", "commit",
      FFB_COMMIT, "dirty", FFB_DIRTY, "compiler", FFB_COMPILER, "flags", FFB_FLAGS, "started", provenance->started,
      "finished", finished, "machine", machine_json(&provenance->machine), "gpu", "backend", describe_backend(assembly),
      "peaks", peaks_json(&provenance->peaks), "threads", assembly->threads, "environment", list_environment(),
      "own_machine", own_machine(ledger), "other_processes_share", share, "throttled", throttled(provenance, ledger),
      "libraries", "jansson", jansson_version_str(), "zlib", zlibVersion(), "libc", gnu_get_libc_version(),
      "conditions", conditions_json(&provenance->conditions));
}

json_t *provenance_json(const struct provenance *provenance, const struct assembly *assembly,
                        const struct ledger *ledger) {
  const struct ffb_trainer *trainer = assembly->parts.trainer;
  json_t *object = of_program_and_machine(provenance, assembly, ledger);
  json_object_set_new(object, "gpu", machine_gpu_json("/proc/driver/nvidia", "/etc/nv_tegra_release"));
  json_object_set_new(object, "trainer", describe_object(plugin_file(trainer)));
  json_object_set_new(object, "backend_object", describe_object(plugin_file(assembly->parts.backend)));
  json_object_set_new(
      object, "result_version",
      json_pack("{s:i, s:I}", "engine", IDENTITY_ENGINE_VERSION, "trainer", (json_int_t)trainer->result_version));
  return object;
}
