/* A record: the whole input is the JSON file. The forecast takes it in, a report in Lua reads it, in the cage, and
 * replay reads its configuration and compares it. */
#include "tests/fuzz/fuzz.h"

#include "harness/agreement.h"
#include "harness/forecast.h"
#include "harness/lua_host.h"
#include "harness/machine.h"
#include "harness/record.h"
#include "harness/registry.h"
#include "harness/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct lua_host_limits limits = {.memory_bytes = (size_t)64 << 20, .seconds = 5};
enum { REPORT_EVERY = 8 }; /* each starts a process */

/* The report of tests/lua/tiny.lua, with this record in the place of its first run's. */
static void report(json_t *record, const char *mode, const uint8_t *data, size_t size) {
  static json_t *registry;
  struct ffb_error error;
  if (!registry)
    MUST(registry = registry_json(&error));
  json_t *input = json_pack("{s:s, s:s, s:s, s:b, s:b, s:O, s:[], s:[{s:O, s:s, s:s, s:s}]}", "mode", mode, "profile",
                            "smoke", "version", "fuzz", "draws", 1, "page", 1, "registry", registry, "set", "cells",
                            "record", record, "reason", "", "file", "x.json", "dataset", "synthetic_digits");
  MUST(input);
  json_t *result = lua_host_run("tests/lua/tiny.lua", "experiments", input, &limits, &error);
  if (!fuzz_said_why(result != NULL, &error)) {
    MUST(!fuzz_says(&error, "the process that ran it", data, size));
    MUST(!fuzz_says(&error, "ran longer", data, size));
    /* A record of another shape is refused before Lua sees it. */
    if (fuzz_says(&error, "attempt to", data, size)) {
      fprintf(stderr, "%s\n", error.message);
      MUST(!"a record that passed as sound stops the report");
    }
  }
  json_decref(result);
  json_decref(input);
}

static void take_in(const uint8_t *data, size_t size) {
  static bool ready;
  char folder[4096];
  struct ffb_error error;
  if (!ready) {
    snprintf(folder, sizeof folder, "%s/records", fuzz_folder());
    MUST(mkdir(folder, 0700) == 0);
    ready = true;
  }
  fuzz_write("records/x.json", data, size);
  struct forecast *forecast = forecast_open(fuzz_folder(), &error);
  fuzz_said_why(forecast != NULL, &error);
  forecast_close(forecast);
}

static void hear(void *to, const char *part, enum agreement agreement, const char *text) {
  (void)to, (void)agreement;
  MUST(*part);
  for (; *text; text++)
    MUST((unsigned char)*text >= ' ' && *text != 0x7f);
}

/* Against itself, in which nothing differs, and against another record. */
static void compare(const json_t *record) {
  static json_t *other;
  if (!other)
    MUST(other = json_load_file("tests/fuzz/corpus/record/done", 0, NULL));
  MUST(agreement_circumstances(record, record, hear, NULL));
  agreement_judge(record, record, true, hear, NULL);
  agreement_judge(record, other, agreement_circumstances(record, other, hear, NULL), hear, NULL);
  agreement_judge(other, record, false, hear, NULL);
}

static void configure(const json_t *record) {
  struct run_config config;
  struct ffb_error error;
  MUST(run_config_begin(&config, &error));
  fuzz_said_why(run_config_read(&config, json_object_get(record, "config"), &error), &error);
  run_config_end(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static unsigned sound;
  char wrong[256];
  const char *path = fuzz_file(data, size);
  json_t *record = json_load_file(path, 0, NULL);
  MUST(record_is_finished(path) == record_says_finished(record));
  take_in(data, size);
  if (record)
    compare(record);
  if (json_is_object(json_object_get(record, "config"))) /* as replay asks first */
    configure(record);
  if (record_says_finished(record) && record_is_sound(record, wrong, sizeof wrong) && sound++ % REPORT_EVERY == 0) {
    report(record, "report", data, size);
    report(record, "check", data, size);
  }
  json_decref(record);
  return 0;
}
