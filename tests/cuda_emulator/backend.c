/* The backend cuda_emulated: the CUDA backend's kernels on the emulator, the way that its products and convolutions
 * take to the library, and plain loops in the library's place. Linked into a conformance program, it is the one backend
 * that the program finds. */
#include "backends/cuda/device.h"
#include "backends/cuda/kernels.h"
#include "backends/cuda/product.h"
#include "backends/host.h"
#include "base/memory.h"
#include "tests/cuda_emulator/libraries.h"

#include <stdio.h>
#include <string.h>

/* A device that is asked for two threads has little scratch space, so that calls take several rounds. */
enum { SCRATCH_BYTES = 8 << 20, LITTLE_BYTES = 1 << 16, POISON = 0xFF };

static const struct ffb_backend cuda_emulated;

const struct ffb_backend *ffb_backend_at(size_t index) {
  return index == 0 ? &cuda_emulated : NULL;
}

const struct ffb_backend *ffb_backend_find(const char *name) {
  return strcmp(name, cuda_emulated.name) == 0 ? &cuda_emulated : NULL;
}

const struct ffb_backend *ffb_backend_default(void) {
  return &cuda_emulated;
}

const char *ffb_backend_loadable(size_t index) {
  (void)index;
  return NULL;
}

const char *ffb_backend_problem(const char *name) {
  (void)name;
  return NULL;
}

bool ffb_cuda_check(struct ffb_device *device, cudaError_t status, const char *what) {
  if (status == cudaSuccess)
    return true;
  snprintf(device->failure, sizeof device->failure, "%s failed", what);
  return false;
}

bool ffb_cuda_reserve(struct ffb_device *device, size_t bytes) {
  if (bytes <= device->scratch_bytes)
    return true;
  ffb_host_release(device, device->scratch);
  device->scratch = ffb_host_allocate(bytes, 256);
  device->scratch_bytes = device->scratch ? bytes : 0;
  return device->scratch != NULL;
}

static void emulated_close(struct ffb_device *device) {
  if (!device)
    return;
  emulated_libraries_close();
  ffb_host_release(device, device->scratch);
  ffb_free(device);
}

static bool emulated_open(struct ffb_device **device, const struct ffb_device_request *request, char *message,
                          size_t size) {
  *device = ffb_allocate(1, sizeof **device, NULL);
  if (*device)
    (*device)->scratch = ffb_host_allocate(SCRATCH_BYTES, 256);
  if (*device && (*device)->scratch) {
    (*device)->scratch_bytes = request->threads == 2 ? LITTLE_BYTES : SCRATCH_BYTES;
    return true;
  }
  snprintf(message, size, "backend cuda_emulated: out of memory");
  emulated_close(*device);
  *device = NULL;
  return false;
}

static void emulated_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  (void)device;
  say(to, "kernels", "those of backends/cuda, every thread on one processor");
}

static void *emulated_allocate(struct ffb_device *device, size_t bytes) {
  (void)device;
  return ffb_host_allocate(bytes, 256);
}

static const char *emulated_failure(struct ffb_device *device) {
  return device->failure;
}

/* What an earlier call left in the scratch space is not for the next to find. */
static bool poisoned(struct ffb_device *device) {
  memset(device->scratch, POISON, LITTLE_BYTES);
  return true;
}

#define FFB_POISONED(NAME, name)                                                                                       \
  static bool poisoned_##name(struct ffb_device *device, const union ffb_arguments *arguments) {                       \
    return poisoned(device) && ffb_cuda_##name(device, arguments);                                                     \
  }
FFB_CUDA_KERNELS(FFB_POISONED)

#define FFB_PRODUCTS(X)                                                                                                \
  X(GEMM_F32, gemm_f32)                                                                                                \
  X(GEMM_S8, gemm_s8)                                                                                                  \
  FFB_CUDA_DEPTHWISE(X)
FFB_PRODUCTS(FFB_POISONED)

#define FFB_ENTRY(NAME, name) [FFB_##NAME] = poisoned_##name,

static const struct ffb_backend cuda_emulated = {
    .magic = FFB_BACKEND_MAGIC,
    .version = FFB_BACKEND_VERSION,
    .size = sizeof(struct ffb_backend),
    .name = "cuda_emulated",
    .description = "the CUDA backend's kernels without a GPU: for tests",
    .open = emulated_open,
    .close = emulated_close,
    .describe = emulated_describe,
    .allocate = emulated_allocate,
    .release = ffb_host_release,
    .write = ffb_host_transfer,
    .read = ffb_host_transfer,
    .synchronise = ffb_host_synchronise,
    .workspace = ffb_cuda_workspace,
    .failure = emulated_failure,
    .operators = {FFB_CUDA_KERNELS(FFB_ENTRY) FFB_PRODUCTS(FFB_ENTRY)},
};
