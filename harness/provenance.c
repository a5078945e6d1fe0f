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

/* Plugins need not come from this commit: the file's content says which one it was. */
static json_t *describe_trainer(const struct assembly *assembly) {
  const struct plugin_file *file = plugin_file(assembly->parts.trainer);
  return file ? json_pack("{s:s, s:s}", "file", file->name, "sha256", file->sha256) : json_null();
}

static json_t *list_environment(void) {
  static const char *const names[] = {
      "OMP_NUM_THREADS",     "OMP_PROC_BIND",       "OPENBLAS_NUM_THREADS",      "OPENBLAS_CORETYPE",
      "ONEDNN_MAX_CPU_ISA",  "FFBENCH_SYSFS",       "FFBENCH_CPU_ISA",           "OMP_WAIT_POLICY",
      "GOMP_SPINCOUNT",      "FFBENCH_CUDA_SEARCH", "FFBENCH_CUDA_CONVOLUTIONS", "CUDA_VISIBLE_DEVICES",
      "NVIDIA_TF32_OVERRIDE"};
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

static json_t *throttled(const struct provenance *provenance) {
  struct machine now;
  machine_read(&now);
  if (now.throttle_count < 0 && !provenance->conditions.throttling_known)
    return json_null();
  return json_boolean(now.throttle_count > provenance->watch.throttle_count || provenance->conditions.throttled);
}

static json_t *conditions_json(const struct meter_conditions *seen) {
  return json_pack("{s:I, s:f, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:{s:o, s:o, s:o}, s:o}", "looks",
                   (json_int_t)seen->samples, "interval_seconds", seen->interval_seconds, "clock_megahertz", "minimum",
                   value_known(seen->minimum_megahertz), "mean", value_known(seen->mean_megahertz), "maximum",
                   value_known(seen->maximum_megahertz), "limit", value_known(seen->limit_megahertz), "clocks_fixed",
                   seen->clocks_known ? json_boolean(seen->clocks_fixed) : json_null(), "power_mode",
                   value_text(seen->power_mode), "celsius", "first", value_known(seen->first_celsius), "highest",
                   value_known(seen->highest_celsius), "zone", value_text(seen->hottest), "throttled_by",
                   value_text(seen->throttled_by));
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
      "own_machine", own_machine(ledger), "other_processes_share", share, "throttled", throttled(provenance),
      "libraries", "jansson", jansson_version_str(), "zlib", zlibVersion(), "libc", gnu_get_libc_version(),
      "conditions", conditions_json(&provenance->conditions));
}

json_t *provenance_json(const struct provenance *provenance, const struct assembly *assembly,
                        const struct ledger *ledger) {
  const struct ffb_trainer *trainer = assembly->parts.trainer;
  json_t *object = of_program_and_machine(provenance, assembly, ledger);
  json_object_set_new(object, "gpu", machine_gpu_json("/proc/driver/nvidia", "/etc/nv_tegra_release"));
  json_object_set_new(object, "trainer", describe_trainer(assembly));
  json_object_set_new(
      object, "result_version",
      json_pack("{s:i, s:I}", "engine", IDENTITY_ENGINE_VERSION, "trainer", (json_int_t)trainer->result_version));
  return object;
}
