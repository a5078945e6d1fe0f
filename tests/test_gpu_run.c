/* scripts/gpu-run without a GPU: what it packs, how parts of a bundle come together again, what it does in which order
 * and when it does not go on. Programs of a bundle are stood in for by one script that writes down how it was called.
 */
#include "tests/folder.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef FFB_BUILD_DIRECTORY
#define FFB_BUILD_DIRECTORY "build"
#endif

static char here[512], output[1 << 16], calls[1 << 16];

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Exit status of a command in the case's folder; what it says is in `output`. */
static int shell(const char *format, ...) {
  char command[4096], line[8192];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(command, sizeof command, format, arguments);
  va_end(arguments);
  snprintf(line, sizeof line, "cd '%s' && { %s; } 2>&1", folder, command);
  FILE *pipe = popen(line, "r");
  assert_non_null(pipe);
  output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
  int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void must(int status) {
  if (status)
    fail_msg("status %d: %s", status, output);
}

static void assert_says(const char *part) {
  if (!strstr(output, part))
    fail_msg("\"%s\" is not in: %s", part, output);
}

/* ---- a made-up bundle -------------------------------------------------------------------------------------------- */

/* Under whichever name it is called. */
static const char stub[] = "#!/bin/sh\n"
                           "name=$(basename \"$0\")\n"
                           "[ \"$name $1\" = 'python3 -c' ] || echo \"$name $*\" >>\"$CALLS\"\n"
                           "case \"$name $1\" in\n"
                           "test_*) [ \"$name\" != \"$FAILS\" ] || exit \"$WITH\" ;;\n"
                           "'ffbench run')\n"
                           "  while [ $# -gt 0 ]; do [ \"$1\" = --results ] && to=$2; shift; done\n"
                           "  mkdir -p \"$to/records\" && cp \"$RECORD\" \"$to/records/one.json\" ;;\n"
                           "'python3 bench/pytorch_cuda.py') echo \"$2 eager 1 ms; best so far: eager, 1 ms\" ;;\n"
                           "esac\n";

static void write_text(const char *name, const char *text) {
  FILE *file = fopen(in(name), "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void write_record(long long products, long long on_tensor_cores, long long fp32, bool tf32) {
  char text[512];
  snprintf(text, sizeof text,
           "{\n  \"config\": {\n    \"algorithm\": \"ff_int8\",\n    \"tf32\": %s\n  },\n  \"backend\": {\n"
           "    \"int8_products\": \"%lld\",\n    \"int8_products_on_tensor_cores\": \"%lld\",\n"
           "    \"fp32_products_on_tensor_cores\": \"%lld\"\n  }\n}\n",
           tf32 ? "true" : "false", products, on_tensor_cores, fp32);
  write_text("record.json", text);
}

static void make_bundle(void) {
  write_text("stub", stub);
  write_record(1234, 1234, 0, false);
  must(shell("chmod +x stub && mkdir -p bundle bin tree/build/tests tree/build/bench tree/build/backends data/mnist "
             "data/cifar-10-batches-bin && echo 1 >data/mnist/one && echo 2 >tree/build/backends/cuda.so"));
  must(shell("for name in test_backends test_convolution test_normalisation test_device; do cp stub "
             "tree/build/tests/$name; done; cp stub tree/build/bench/steps; cp stub tree/build/bench/int8_products; cp "
             "stub tree/build/ffbench; for name in nvidia-smi compute-sanitizer python3; do cp stub bin/$name; done"));
  must(shell("cp '%s/scripts/gpu-run' bundle && tar -C tree -czf bundle/program.tgz . && tar -C data -cf - mnist "
             "cifar-10-batches-bin | gzip | split -b 100 -d -a 3 - bundle/data. && test -e bundle/data.001",
             here));
}

/* Exit status of `gpu-run arguments`; what was called is in `calls`. */
static int gpu_run(const char *script, const char *environment, const char *arguments) {
  must(shell(": >calls"));
  int status = shell("env -u FFBENCH_DATA PATH=\"$PWD/bin:$PATH\" CALLS=\"$PWD/calls\" RECORD=\"$PWD/record.json\" "
                     "FFBENCH_GPU_HOME=\"$PWD/home\" OUT=\"$PWD/out\" %s %s %s",
                     environment, script, arguments);
  FILE *file = fopen(in("calls"), "r");
  assert_non_null(file);
  calls[fread(calls, 1, sizeof calls - 1, file)] = '\0';
  fclose(file);
  return status;
}

static bool is_called(const char *part) {
  return strstr(calls, part) != NULL;
}

static void assert_called_in_order(const char *const *parts, size_t count) {
  const char *at = calls;
  for (size_t i = 0; i < count; i++) {
    const char *found = strstr(at, parts[i]);
    if (!found)
      fail_msg("\"%s\" is not called, or too early: %s", parts[i], calls);
    at = found + 1;
  }
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void goes_from_conformance_to_cells(void **state) {
  (void)state;
  static const char *const order[] = {
      "nvidia-smi",
      "ffbench doctor",
      "test_backends cuda",
      "test_convolution cuda",
      "test_normalisation cuda",
      "test_device cuda",
      "steps --model mlp --backend cuda",
      "python3 bench/pytorch_cuda.py mlp",
      "steps --model resnet18 --backend cuda",
      "python3 bench/pytorch_cuda.py resnet18",
      "int8_products cuda",
      "compute-sanitizer --tool memcheck --error-exitcode 9 build/tests/test_backends cuda",
      "ffbench train --backend cuda --model mlp --algorithm ff_int8",
      "experiments/table5.lua --only model=mlp,seed=1\n",
      "experiments/fig2.lua --only seed=1\n",
      "experiments/table5.lua --only model=mlp\n",
      "experiments/fig6.lua --only model=resnet18,seed=1\n",
      "experiments/table5.lua\n"};
  make_bundle();
  must(gpu_run("bundle/gpu-run", "", "go 300"));
  assert_called_in_order(order, sizeof order / sizeof *order);
  assert_says("1 records of the backend cuda: every INT8 product ran on tensor cores");
  must(shell("tar -tzf out/results.tgz | grep records/one.json && test -s out/tensor_cores.txt && test -e "
             "home/data/mnist/one"));
  /* Once more: what was conform and timed stays so, and cells go on. */
  must(gpu_run("bundle/gpu-run", "", "go 300"));
  assert_false(is_called("test_") || is_called("steps") || is_called("pytorch_cuda"));
  assert_true(is_called("experiments/table5.lua --only model=mlp,seed=1\n"));
  /* Another program has to show again what it can do. */
  must(shell("echo 3 >tree/build/backends/cuda.so && tar -C tree -czf bundle/program.tgz ."));
  must(gpu_run("bundle/gpu-run", "", "go 300"));
  assert_true(is_called("test_device cuda") && is_called("steps --model mlp"));
}

static void parts_come_one_by_one(void **state) {
  (void)state;
  make_bundle();
  must(shell("mkdir alone && cp bundle/gpu-run alone"));
  assert_int_equal(gpu_run("alone/gpu-run", "", "go 300"), 1);
  assert_says("there is no program.tgz");
  must(gpu_run("alone/gpu-run", "", "keep bundle/program.tgz"));
  must(shell("cd bundle; for part in data.*; do FFBENCH_GPU_HOME=../home ../alone/gpu-run keep $part; done"));
  must(gpu_run("alone/gpu-run", "", "go 300"));
  assert_true(is_called("test_device cuda") && is_called("ffbench run"));
  /* A fresh machine, with the records of the one before. */
  must(shell("rm -r home && mkdir later && mv out/results.tgz later"));
  must(gpu_run("bundle/gpu-run", "", "keep later/results.tgz"));
  assert_int_equal(gpu_run("bundle/gpu-run", "", "go 1"), 1); /* nothing in so little time */
  must(shell("test -e home/results/records/one.json"));
}

static void does_not_go_on_where_the_backend_is_not_conform(void **state) {
  (void)state;
  make_bundle();
  assert_int_equal(gpu_run("bundle/gpu-run", "FAILS=test_normalisation WITH=1", "go 300"), 1);
  assert_says("not conform: nothing is timed or trained");
  assert_true(is_called("test_device cuda"));
  assert_false(is_called("steps") || is_called("int8_products") || is_called("ffbench run") ||
               is_called("ffbench train"));
  must(gpu_run("bundle/gpu-run", "", "go 300"));
  assert_true(is_called("test_normalisation cuda") && !is_called("test_backends cuda\n") && is_called("ffbench run"));
}

static void without_a_device_nothing_is_cudas(void **state) {
  (void)state;
  make_bundle();
  assert_int_equal(gpu_run("bundle/gpu-run", "FAILS=test_backends WITH=77", "go 300"), 77);
  assert_says("no device: nothing below would be CUDA's");
  assert_false(is_called("test_convolution") || is_called("steps") || is_called("ffbench run"));
}

/* Records whose counts do not say what is claimed. */
static void counts_are_held_against_each_other(void **state) {
  (void)state;
  make_bundle();
  write_record(1234, 1200, 0, false);
  assert_int_equal(gpu_run("bundle/gpu-run", "", "go 300"), 1);
  assert_says("one.json: 1200 of 1234 INT8 products ran on tensor cores");
  must(shell("mkdir -p some/records"));
  static const struct {
    long long products, on_tensor_cores, fp32;
    bool tf32;
    const char *says;
  } cases[] = {{10, 10, 0, false, "1 records"},
               {0, 0, 0, false, "one.json: no INT8 product ran"},
               {10, 9, 0, false, "9 of 10 INT8"},
               {10, 10, 5, false, "5 FP32 products ran on tensor cores, without --tf32"},
               {10, 10, 5, true, "1 records"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_record(cases[i].products, cases[i].on_tensor_cores, cases[i].fp32, cases[i].tf32);
    must(shell("cp record.json some/records/one.json"));
    assert_int_equal(gpu_run("bundle/gpu-run", "", "counts some"), strcmp(cases[i].says, "1 records") != 0);
    assert_says(cases[i].says);
  }
}

/* This tree's own bundle: whole, and its real programs say that there is no device. */
static void packs_what_a_bare_machine_needs(void **state) {
  (void)state;
  static const char *const needed[] = {
      "build/ffbench",           "build/libffbench.so", "build/backends/cuda.so",    "build/trainers/ff_int8.so",
      "build/tests/test_device", "build/bench/steps",   "build/bench/int8_products", "experiments/table5.lua",
      "bench/pytorch_cuda.py",   "scripts/gpu-run"};
  if (strcmp(FFB_BUILD_DIRECTORY, "build") != 0 || access("build/backends/cuda.so", R_OK) ||
      access("build/bench/steps", X_OK) || access("build/bench/int8_products", X_OK) ||
      access("build/tests/test_device", X_OK))
    skip(); /* no toolkit, or not all of it is built */
  make_bundle();
  must(shell("cp stub bin/make")); /* it is built */
  must(shell("CALLS=\"$PWD/calls\" PATH=\"$PWD/bin:$PATH\" FFBENCH_DATA=\"$PWD/data\" '%s/scripts/gpu-run' pack "
             "\"$PWD/packed\"",
             here));
  must(shell("ls packed/data.000 packed/gpu-run && tar -tzf packed/program.tgz"));
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
    assert_says(needed[i]);
  must(shell("rm -r bin"));
  assert_int_equal(gpu_run("packed/gpu-run", "CUDA_VISIBLE_DEVICES=", "go 60"), 77);
  assert_says("no device");
}

int main(void) {
  const struct CMUnitTest cases[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
      CASE(goes_from_conformance_to_cells),
      CASE(parts_come_one_by_one),
      CASE(does_not_go_on_where_the_backend_is_not_conform),
      CASE(without_a_device_nothing_is_cudas),
      CASE(counts_are_held_against_each_other),
      CASE(packs_what_a_bare_machine_needs),
  };
  if (!getcwd(here, sizeof here))
    return 1;
  if (access("scripts/gpu-run", X_OK)) {
    print_message("ok - scripts/gpu-run # SKIP it is not here: run this from the repository\n");
    return 0;
  }
  return cmocka_run_group_tests(cases, NULL, NULL);
}
