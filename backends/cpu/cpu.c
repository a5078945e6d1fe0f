/* The CPU backend: choice of kernels, device, memory, table. */
#include "backends/cpu/device.h"
#include "backends/host.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- choice of kernels ---------------------------------------------------------------------------------------- */

/* Best first. */
static const struct candidate {
  const char *name;
  const struct ffb_cpu_kernels *(*kernels)(void);
} candidates[] = {
    {"avx512", ffb_cpu_kernels_avx512},
    {"avx2", ffb_cpu_kernels_avx2},
    {"neon", ffb_cpu_kernels_neon},
    {"portable", ffb_cpu_kernels_portable},
};
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

static const char isa_variable[] = "FFBENCH_CPU_ISA";

/* The first candidate that FFBENCH_CPU_ISA allows; CANDIDATES where it names none. */
static size_t first_allowed(void) {
  const char *cap = getenv(isa_variable);
  size_t first = 0;
  while (cap && first < CANDIDATES && strcmp(cap, candidates[first].name) != 0)
    first++;
  return first;
}

static const struct ffb_cpu_kernels *kernels_from(size_t first) {
  for (size_t i = first; i < CANDIDATES; i++) {
    const struct ffb_cpu_kernels *kernels = candidates[i].kernels();
    if (kernels)
      return kernels;
  }
  return ffb_cpu_kernels_portable();
}

const struct ffb_cpu_kernels *ffb_cpu_kernels_here(void) {
  return kernels_from(first_allowed());
}

/* The best kernels whose INT8 products are exact on this machine. */
static bool choose_kernels(struct ffb_device *device, char *message, size_t size) {
  size_t first = first_allowed();
  if (first == CANDIDATES) {
    snprintf(message, size, "backend cpu: %s is \"%s\": set it to avx512, avx2, neon or portable, or unset it",
             isa_variable, getenv(isa_variable));
    return false;
  }
  for (; first < CANDIDATES; first++) {
    device->kernels = candidates[first].kernels();
    if (device->kernels && ffb_cpu_self_test(device))
      return true;
    device->refused = device->kernels ? device->kernels->name : device->refused;
  }
  snprintf(message, size,
           "backend cpu: INT8 products are not exact with any kernels of this build: compile it again, without "
           "CFLAGS_EXTRA, or use --backend reference");
  return false;
}

/* ---- device --------------------------------------------------------------------------------------------------- */

static void cpu_close(struct ffb_device *device) {
  if (!device)
    return;
  ffb_free(device->panel_block);
  ffb_free(device->scratch_block);
  ffb_free(device);
}

static bool cpu_open(struct ffb_device **opened, const struct ffb_device_request *request, char *message, size_t size) {
  struct ffb_error error = {0};
  *opened = NULL;
  if (request->tf32) {
    snprintf(message, size, "backend cpu: it has no TF32: leave out --tf32");
    return false;
  }
  struct ffb_device *device = ffb_allocate(1, sizeof *device, &error);
  if (device) {
    device->threads = request->threads > 0 ? request->threads : omp_get_max_threads();
    device->panel_block = ffb_allocate(
        (size_t)device->threads * FFB_CPU_GEMM_DEPTH * FFB_CPU_MAX_PANEL + FFB_CPU_ALIGNMENT, sizeof(float), &error);
  }
  if (!device || !device->panel_block) {
    snprintf(message, size, "backend cpu: %s", error.message);
    cpu_close(device);
    return false;
  }
  device->panels = ffb_cpu_aligned(device->panel_block, FFB_CPU_ALIGNMENT);
  if (!choose_kernels(device, message, size)) {
    cpu_close(device);
    return false;
  }
  *opened = device;
  return true;
}

static void cpu_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  char text[160];
  snprintf(text, sizeof text, "%d", device->threads);
  say(to, "threads", text);
  say(to, "instruction_set", device->kernels->name);
  snprintf(text, sizeof text, "%d x %d tiles of %s multiply-add, sums over K in order", device->kernels->tile_rows,
           device->kernels->panel, device->kernels->name);
  say(to, "fp32_kernel", ffb_cpu_uses_blas(device) ? ffb_cpu_blas_name() : text);
  snprintf(text, sizeof text, "%s, self-test passed", device->kernels->dot);
  if (device->refused)
    snprintf(text, sizeof text, "%s, self-test passed (failed by: %s)", device->kernels->dot, device->refused);
  say(to, "int8_kernel", text);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

/* Weights are walked in strides of a row, so a large arena asks for large pages. */
static void *cpu_allocate(struct ffb_device *device, size_t bytes) {
  const size_t large = (size_t)1 << 21, alignment = bytes < large ? FFB_CPU_ALIGNMENT : large;
  void *memory = ffb_host_allocate(bytes, alignment);
  if (!memory)
    snprintf(device->failure, sizeof device->failure, "backend cpu: no memory for an arena of %zu bytes: lower --batch",
             bytes);
  else if (alignment == large)
    madvise(memory, bytes, MADV_HUGEPAGE); /* advice: a kernel that does not take it costs only time */
  return memory;
}

static const char *cpu_failure(struct ffb_device *device) {
  return device->failure;
}

void *ffb_cpu_scratch(struct ffb_device *device, const struct ffb_tensor *workspace, size_t bytes) {
  if (workspace && (size_t)ffb_elements(workspace) * ffb_type_bytes(workspace->type) >= bytes)
    return workspace->data;
  if (!bytes)
    return device->panels;
  if (device->scratch_bytes < bytes) {
    ffb_free(device->scratch_block);
    device->scratch_block = ffb_allocate(bytes + FFB_CPU_ALIGNMENT, 1, NULL);
    device->scratch_bytes = device->scratch_block ? bytes : 0;
  }
  if (device->scratch_block)
    return ffb_cpu_aligned(device->scratch_block, FFB_CPU_ALIGNMENT);
  snprintf(device->failure, sizeof device->failure, "backend cpu: no memory for %zu bytes of scratch: lower --batch",
           bytes);
  return NULL;
}

/* ---- table ---------------------------------------------------------------------------------------------------- */

#define FFB_CPU_ENTRY(NAME, name, optional) [FFB_##NAME] = ffb_cpu_##name,

const struct ffb_backend ffb_backend_cpu = {
    .magic = FFB_BACKEND_MAGIC,
    .version = FFB_BACKEND_VERSION,
    .size = sizeof(struct ffb_backend),
    .name = "cpu",
    .description = "vector kernels for AVX-512 VNNI, AVX2, NEON or any processor, on OpenMP threads",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .allocate = cpu_allocate,
    .release = ffb_host_release,
    .write = ffb_host_transfer,
    .read = ffb_host_transfer,
    .synchronise = ffb_host_synchronise,
    .workspace = ffb_cpu_workspace,
    .failure = cpu_failure,
    .operators = {FFB_OPERATORS(FFB_CPU_ENTRY)},
};
