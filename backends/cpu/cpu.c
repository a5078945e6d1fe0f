/* The CPU backend: device, self-test and table. */
#include "backends/cpu/device.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const struct ffb_cpu_kernels *ffb_cpu_kernels_here(void) {
  static const struct ffb_cpu_kernels *(*const candidates[])(void) = {
      ffb_cpu_kernels_avx512, ffb_cpu_kernels_avx2, ffb_cpu_kernels_neon, ffb_cpu_kernels_portable};
  enum { COUNT = sizeof candidates / sizeof *candidates };
  static const char *const names[COUNT] = {"avx512", "avx2", "neon", "portable"};
  const char *cap = getenv("FFBENCH_CPU_ISA");
  size_t first = 0;
  for (size_t i = 0; cap && i < COUNT; i++) {
    if (strcmp(cap, names[i]) == 0)
      first = i;
  }
  for (size_t i = first; i < COUNT; i++) {
    if (candidates[i]())
      return candidates[i]();
  }
  return NULL;
}

static bool cpu_open(struct ffb_device **device, const struct ffb_device_request *request, char *message, size_t size) {
  *device = calloc(1, sizeof **device);
  if (!*device) {
    snprintf(message, size, "backend cpu: out of memory");
    return false;
  }
  (*device)->kernels = ffb_cpu_kernels_here();
  (*device)->threads = request->threads > 0 ? request->threads : omp_get_num_procs();
  openblas_set_num_threads((*device)->threads);
  return true;
}

static void cpu_close(struct ffb_device *device) {
  if (device)
    free(device->scratch);
  free(device);
}

static void cpu_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  char text[64];
  snprintf(text, sizeof text, "%d", device->threads);
  say(to, "threads", text);
  say(to, "instruction_set", device->kernels->name);
  say(to, "int8_kernel", device->kernels->dot);
}

/* Zeroed. Weights are walked in strides of a row, so a large arena asks for large pages. */
static void *cpu_allocate(struct ffb_device *device, size_t bytes) {
  (void)device;
  const size_t page = 4096, large = (size_t)1 << 21, unit = bytes < large ? page : large;
  if (bytes > SIZE_MAX - unit)
    return NULL;
  size_t whole = (bytes + unit - 1) / unit * unit;
  void *memory = aligned_alloc(unit, whole);
  if (!memory)
    return NULL;
  if (unit == large)
    madvise(memory, whole, MADV_HUGEPAGE);
  return memset(memory, 0, whole);
}

static void cpu_release(struct ffb_device *device, void *memory) {
  (void)device;
  free(memory);
}

static bool cpu_transfer(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  (void)device;
  if (bytes)
    memcpy(to, from, bytes);
  return true;
}

static bool cpu_synchronise(struct ffb_device *device) {
  (void)device;
  return true;
}

static const char *cpu_failure(struct ffb_device *device) {
  return device->failure;
}

#define FFB_CPU_ENTRY(NAME, name, optional) [FFB_##NAME] = ffb_cpu_##name,

const struct ffb_backend ffb_backend_cpu = {
    .magic = FFB_BACKEND_MAGIC,
    .version = FFB_BACKEND_VERSION,
    .size = sizeof(struct ffb_backend),
    .name = "cpu",
    .description = "vector kernels for AVX-512, AVX2, NEON or none of them, OpenBLAS, oneDNN, OpenMP",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .write = cpu_transfer,
    .read = cpu_transfer,
    .synchronise = cpu_synchronise,
    .workspace = ffb_cpu_workspace,
    .failure = cpu_failure,
    .operators = {FFB_OPERATORS(FFB_CPU_ENTRY)},
};
