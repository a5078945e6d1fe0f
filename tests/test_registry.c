/* Backends that are objects of their own: found beside the engine, checked, and named with the reason where they cannot
 * be used. Each case runs the program in a folder that holds it, the engine, and what stands there for CUDA. */
#include "tests/scratch.h"

#include <jansson.h>

#ifndef FFB_BUILD_DIRECTORY
#define FFB_BUILD_DIRECTORY "build"
#endif

static char folder[256], output[65536];

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A command that has to succeed, in the folder. */
static void shell(const char *format, ...) {
  char command[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(command, sizeof command, format, arguments);
  va_end(arguments);
  if (system(command))
    fail_msg("%s failed", command);
}

/* Exit status of the folder's program; what it says is in `output`. */
static int ffbench(const char *environment, const char *arguments) {
  char command[2048];
  snprintf(command, sizeof command, "cd %s && env -u FFB_FAKE OMP_WAIT_POLICY=passive %s ./ffbench %s 2>&1", folder,
           environment, arguments);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  size_t length = fread(output, 1, sizeof output - 1, pipe);
  output[length] = '\0';
  int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char train[] = "train --algorithm bp_fp32 --dataset synthetic_digits --train-limit 64 --eval-limit 20 "
                            "--epochs 1 --quiet --idle-seconds 0 --set model.hidden=16 ";

static int trains(const char *environment, const char *more) {
  char arguments[512];
  snprintf(arguments, sizeof arguments, "%s %s", train, more);
  return ffbench(environment, arguments);
}

static void assert_one_line(void) {
  if (count_of(output, "\n") != 1)
    fail_msg("\"%s\" is not one line", output);
}

static json_t *record(void) {
  char path[512];
  json_error_t error;
  snprintf(path, sizeof path, "%s/record.json", folder);
  json_t *object = json_load_file(path, 0, &error);
  if (!object)
    fail_msg("%s: %s", path, error.text);
  return object;
}

static const json_t *card_of(const json_t *object) {
  return json_object_get(json_object_get(json_object_get(object, "provenance"), "conditions"), "gpu");
}

/* A backend that is opened is code: which file it was stands in the record. */
static void assert_names_object(const json_t *object) {
  const json_t *said = json_object_get(json_object_get(object, "provenance"), "backend_object");
  char command[512], sha256[65] = "";
  snprintf(command, sizeof command, "sha256sum %s/backends/cuda.so", folder);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  assert_int_equal(fread(sha256, 1, sizeof sha256 - 1, pipe), sizeof sha256 - 1);
  assert_int_equal(pclose(pipe), 0);
  assert_string_equal(json_string_value(json_object_get(said, "file")), "cuda.so");
  assert_string_equal(json_string_value(json_object_get(said, "sha256")), sha256);
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void missing_object_is_said(void **state) {
  (void)state;
  shell("rm -rf %s/backends", folder);
  assert_int_equal(ffbench("", "list backends"), 0);
  assert_contains(output, "cuda               (not usable) it is not in this build");
  assert_int_equal(trains("", "--backend cuda"), 1);
  assert_contains(output, "the backend cuda cannot be used here: it is not in this build");
  assert_one_line();
  assert_int_equal(trains("", "--backend cudda"), 2);
  assert_contains(output, "no backend \"cudda\"");
  assert_int_equal(trains("", ""), 0); /* nothing else needs it */
}

static void broken_object_is_said(void **state) {
  (void)state;
  shell("mkdir -p %s/backends && echo nonsense > %s/backends/cuda.so", folder, folder);
  assert_int_equal(trains("", "--backend cuda"), 1);
  assert_contains(output, "backends/cuda.so: ");
  assert_one_line();
  assert_int_equal(trains("", ""), 0);
  shell("cp %s/tests/plugins/no_symbol.so %s/backends/cuda.so", FFB_BUILD_DIRECTORY, folder);
  assert_int_equal(trains("", "--backend cuda"), 1);
  assert_contains(output, "exports no ffbench_backend");
  shell("cp %s/tests/plugins/backend_fake.so %s/backends/cuda.so", FFB_BUILD_DIRECTORY, folder);
  static const char *const wrongs[][2] = {{"magic", "holds no backend"},
                                          {"version", "is of another version"},
                                          {"size", "is of another version"},
                                          {"name", "holds a backend of another name"}};
  for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
    char environment[64];
    snprintf(environment, sizeof environment, "FFB_FAKE=%s", wrongs[i][0]);
    assert_int_equal(trains(environment, "--backend cuda"), 1);
    assert_contains(output, wrongs[i][1]);
    assert_one_line();
  }
}

/* A record says tf32 where it was used, and nowhere else. */
static void tf32_is_refused_where_there_is_none(void **state) {
  (void)state;
  static const char *const backends[] = {"cpu", "reference"};
  for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
    char arguments[64];
    snprintf(arguments, sizeof arguments, "--backend %s --tf32", backends[i]);
    assert_int_equal(trains("", arguments), 1);
    assert_contains(output, "it has no TF32: leave out --tf32");
    assert_one_line();
  }
}

static void missing_device_is_no_error_until_asked_for(void **state) {
  (void)state;
  shell("mkdir -p %s/backends && cp %s/tests/plugins/backend_fake.so %s/backends/cuda.so", folder, FFB_BUILD_DIRECTORY,
        folder);
  assert_int_equal(ffbench("FFB_FAKE=device", "list backends"), 0);
  assert_contains(output, "made up for a test");
  assert_contains(output, "(not usable) the made-up device is gone");
  assert_int_equal(trains("FFB_FAKE=device", "--backend cuda"), 1);
  assert_contains(output, "the made-up device is gone");
  assert_one_line();
  assert_int_equal(trains("FFB_FAKE=device", "--record record.json"), 0);
  json_t *object = record();
  const char *name =
      json_string_value(json_object_get(json_object_get(json_object_get(object, "provenance"), "backend"), "name"));
  assert_string_equal(name, "cpu");
  assert_true(json_is_null(json_object_get(json_object_get(object, "memory"), "device")));
  assert_true(json_is_null(json_object_get(json_object_get(object, "provenance"), "backend_object")));
  assert_true(json_is_null(card_of(object)));
  json_decref(object);
  shell("rm %s/record.json*", folder);
}

static double number_at(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  assert_true(json_is_number(value));
  return json_number_value(value);
}

/* A made-up card that is too hot, by NVML. */
static void follows_the_card(void) {
  shell("cp %s/tests/plugins/fake_nvml.so %s/driver/libnvidia-ml.so.1", FFB_BUILD_DIRECTORY, folder);
  assert_int_equal(trains("LD_LIBRARY_PATH=driver", "--record record.json"), 0);
  json_t *object = record();
  const json_t *provenance = json_object_get(object, "provenance"), *card = card_of(object);
  const json_t *clock = json_object_get(card, "clock_megahertz");
  assert_string_equal(json_string_value(json_object_get(card, "source")), "NVML");
  assert_string_equal(json_string_value(json_object_get(card, "name")), "Made-up card 0");
  assert_true(number_at(card, "looks") >= 1);
  assert_float_equal(number_at(clock, "minimum"), 1755, 0);
  assert_float_equal(number_at(clock, "mean"), 1755, 1e-9);
  assert_float_equal(number_at(clock, "maximum"), 1755, 0);
  assert_float_equal(number_at(clock, "limit"), 1980, 0);
  assert_true(json_is_null(json_object_get(card, "clocks_fixed")));
  assert_float_equal(number_at(json_object_get(card, "celsius"), "highest"), 87, 0);
  assert_float_equal(number_at(card, "power_limit_watts"), 700, 1e-9);
  assert_float_equal(number_at(json_object_get(card, "held_down"), "heat, by the driver"), number_at(card, "looks"), 0);
  assert_true(json_is_true(json_object_get(provenance, "throttled")));
  assert_string_equal(json_string_value(json_object_get(json_object_get(provenance, "conditions"), "throttled_by")),
                      "graphics card: heat, by the driver");
  json_decref(object);
  assert_contains(output, "was throttled meanwhile (graphics card: heat, by the driver)");
  assert_int_equal(ffbench("LD_LIBRARY_PATH=driver", "doctor"), 0);
  assert_contains(output, "Made-up card 0, by NVML");
  assert_contains(output, "1755 MHz of at most 1980");
  assert_contains(output, "now: graphics card: heat, by the driver");
  shell("rm %s/record.json* %s/driver/libnvidia-ml.so.1", folder, folder);
}

/* The default where there is a driver and a device. Any object will do for the driver here: it is only looked for. */
static void device_is_the_default(void **state) {
  (void)state;
  shell("mkdir -p %s/backends %s/driver && cp %s/tests/plugins/backend_fake.so %s/backends/cuda.so && "
        "cp %s/tests/plugins/no_symbol.so %s/driver/libcuda.so.1",
        folder, folder, FFB_BUILD_DIRECTORY, folder, FFB_BUILD_DIRECTORY, folder);
  assert_int_equal(trains("LD_LIBRARY_PATH=driver", "--record record.json"), 0);
  json_t *object = record(), *memory = json_object_get(json_object_get(object, "memory"), "device");
  const char *name =
      json_string_value(json_object_get(json_object_get(json_object_get(object, "provenance"), "backend"), "name"));
  assert_string_equal(name, "cuda");
  assert_int_equal(json_integer_value(json_object_get(memory, "total_bytes")), 4000);
  assert_int_equal(json_integer_value(json_object_get(memory, "used_when_opened_bytes")), 1000);
  assert_int_equal(json_integer_value(json_object_get(memory, "used_peak_bytes")), 3000);
  assert_true(json_is_true(json_object_get(memory, "shared_with_processor")));
  assert_names_object(object);
  assert_true(json_is_object(card_of(object))); /* or why nothing tells of one */
  json_decref(object);
  shell("rm %s/record.json*", folder);
  follows_the_card();
  /* Without the device, with the driver. */
  assert_int_equal(trains("LD_LIBRARY_PATH=driver FFB_FAKE=device", ""), 0);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static int make_folder(void **state) {
  (void)state;
  if (scratch_make(folder, sizeof folder))
    return -1;
  shell("cp -r %s/ffbench %s/libffbench.so %s/trainers %s", FFB_BUILD_DIRECTORY, FFB_BUILD_DIRECTORY,
        FFB_BUILD_DIRECTORY, folder);
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  return scratch_remove(folder);
}

int main(void) {
  const struct CMUnitTest cases[] = {
      cmocka_unit_test(missing_object_is_said),
      cmocka_unit_test(broken_object_is_said),
      cmocka_unit_test(tf32_is_refused_where_there_is_none),
      cmocka_unit_test(missing_device_is_no_error_until_asked_for),
      cmocka_unit_test(device_is_the_default),
  };
  return cmocka_run_group_tests(cases, make_folder, remove_folder);
}
