/* An experiment in Lua: the whole input is the script. It runs in its cage, which must hold; what comes out of it is
 * used as the program uses it. */
#include "tests/fuzz/fuzz.h"

#include "base/memory.h"
#include "harness/figure.h"
#include "harness/lua_host.h"
#include "harness/registry.h"
#include "harness/run.h"

#include <string.h>
#include <time.h>

static const struct lua_host_limits limits = {.memory_bytes = (size_t)16 << 20, .seconds = 0.2};
static const double patience = 30; /* beyond the limit, on a machine that does other things too */
enum { CELLS = 8 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void use_cells(const json_t *result) {
  const json_t *cells = json_object_get(result, "cells");
  for (size_t i = 0; i < json_array_size(cells) && i < CELLS; i++) {
    struct run_config config;
    struct ffb_error error;
    MUST(run_config_begin(&config, &error));
    const json_t *object = json_object_get(json_array_get(cells, i), "config");
    if (fuzz_said_why(run_config_read(&config, object, &error), &error)) {
      json_t *full = run_config_json(&config, &error);
      fuzz_said_why(full != NULL, &error);
      json_decref(full);
    }
    run_config_end(&config);
  }
}

static void use_figures(const json_t *result) {
  const json_t *figures = json_object_get(result, "figures");
  for (size_t i = 0; i < json_array_size(figures); i++) {
    struct ffb_error error;
    char *script = figure_script(json_array_get(figures, i), &error);
    fuzz_said_why(script != NULL, &error);
    ffb_free(script);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const modes[] = {"plan", "report", "check", "describe"};
  static json_t *registry;
  struct ffb_error error;
  if (!registry)
    MUST(registry = registry_json(&error));
  json_t *input = json_pack("{s:s, s:s, s:s, s:b, s:b, s:O, s:[], s:[]}", "mode", modes[size % 4], "profile", "smoke",
                            "version", "fuzz", "draws", 1, "page", 1, "registry", registry, "set", "cells");
  const char *script = fuzz_write("script.lua", data, size);
  double start = now();
  json_t *result = lua_host_run(script, "experiments", input, &limits, &error);
  MUST(now() - start < limits.seconds + patience);
  if (fuzz_said_why(result != NULL, &error)) {
    use_cells(result);
    use_figures(result);
  } else {
    MUST(!fuzz_says(&error, "the process that ran it", data, size));
  }
  json_decref(result);
  json_decref(input);
  return 0;
}
