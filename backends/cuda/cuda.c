/* The CUDA backend: the device, and the table of its operators. Built as an object of its own that is opened at run
 * time, so that a program built with it runs where there is no CUDA. */
#include "backends/cuda/host.h"
#include "backends/cuda/kernels.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* INT8 tensor cores of the kind that cuBLASLt's row-major products use. */
enum { LEAST_MAJOR = 8 };

bool ffb_cuda_fail(struct ffb_device *device, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(device->failure, sizeof device->failure, format, arguments);
  va_end(arguments);
  return false;
}

bool ffb_cuda_check(struct ffb_device *device, cudaError_t status, const char *what) {
  if (status == cudaSuccess)
    return true;
  cudaGetLastError(); /* said here, and not by the next launch again */
  return ffb_cuda_fail(device, "%s: %s (%s)", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

/* ---- is there a device ------------------------------------------------------------------------------------------ */

static bool cuda_available(char *message, size_t size) {
  int count = 0, major = 0, minor = 0; /* cudaGetDeviceCount leaves its argument alone where it fails */
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    snprintf(message, size,
             driver ? "the NVIDIA driver serves CUDA up to %d.%d, this build needs %d.%d: update the driver"
                    : "there is no NVIDIA driver: install one",
             driver ? driver / 1000 : 0, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  } else if (status != cudaSuccess) {
    snprintf(message, size, "no device: %s (%s)", cudaGetErrorString(status), cudaGetErrorName(status));
  } else if (count < 1) {
    snprintf(message, size, "there is no NVIDIA GPU that this program may use (see CUDA_VISIBLE_DEVICES)");
  } else if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess ||
             cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) != cudaSuccess) {
    snprintf(message, size, "the GPU does not tell its compute capability");
  } else if (major < LEAST_MAJOR) {
    snprintf(message, size,
             "the GPU has compute capability %d.%d, INT8 tensor cores as used here need %d.0 (Ampere) or later", major,
             minor, LEAST_MAJOR);
  } else {
    return true;
  }
  cudaGetLastError();
  return false;
}

/* ---- the device ------------------------------------------------------------------------------------------------- */

static void cuda_close(struct ffb_device *device) {
  if (!device)
    return;
  if (device->host) {
    if (device->stream)
      cudaStreamSynchronize(device->stream);
    ffb_cuda_ahead_close(device);
    ffb_cuda_dnn_close(device);
    ffb_cuda_multiply_close(device);
    ffb_cuda_memory_close(device);
  }
  if (device->stream)
    cudaStreamDestroy(device->stream);
  ffb_free(device->host);
  ffb_free(device);
}

static bool read_properties(struct ffb_device *device) {
  struct ffb_cuda_host *host = device->host;
  struct cudaDeviceProp properties;
  if (!ffb_cuda_check(device, cudaSetDevice(0), "choosing the GPU") ||
      !ffb_cuda_check(device, cudaGetDeviceProperties(&properties, 0), "reading the GPU's properties"))
    return false;
  snprintf(host->name, sizeof host->name, "%s", properties.name);
  host->major = properties.major;
  host->minor = properties.minor;
  host->integrated = properties.integrated;
  return ffb_cuda_check(device, cudaDriverGetVersion(&host->driver), "reading the driver's version") &&
         ffb_cuda_check(device, cudaRuntimeGetVersion(&host->runtime), "reading the runtime's version");
}

static bool start(struct ffb_device *device, const struct ffb_device_request *request) {
  const char *search = getenv("FFBENCH_CUDA_SEARCH");
  device->host->search = search && strcmp(search, "1") == 0;
  device->host->tf32 = request->tf32;
  if (!read_properties(device) ||
      !ffb_cuda_check(device, cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), "making a stream"))
    return false;
  ffb_cuda_look_at_memory(device);
  if (!ffb_cuda_memory_open(device) || !ffb_cuda_ahead_open(device) || !ffb_cuda_multiply_open(device))
    return false;
  ffb_cuda_dnn_open(device);
  return true;
}

static bool cuda_open(struct ffb_device **opened, const struct ffb_device_request *request, char *message,
                      size_t size) {
  struct ffb_error error = {0};
  char problem[256];
  *opened = NULL;
  if (!cuda_available(problem, sizeof problem)) {
    snprintf(message, size, "backend cuda: %s", problem);
    return false;
  }
  struct ffb_device *device = ffb_allocate(1, sizeof *device, &error);
  if (device)
    device->host = ffb_allocate(1, sizeof *device->host, &error);
  if (!device || !device->host || !start(device, request)) {
    snprintf(message, size, "backend cuda: %s", device && device->host ? device->failure : error.message);
    cuda_close(device);
    return false;
  }
  *opened = device;
  return true;
}

static void say_version(ffb_describe_function *say, void *to, const char *name, size_t version) {
  char text[32];
  snprintf(text, sizeof text, "%zu.%zu", version / 1000, version % 1000 / 10);
  say(to, name, text);
}

static void say_bytes(ffb_describe_function *say, void *to, const char *name, size_t bytes) {
  char text[32];
  snprintf(text, sizeof text, "%zu", bytes);
  say(to, name, text);
}

static void cuda_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  const struct ffb_cuda_host *host = device->host;
  char text[96];
  say(to, "gpu", host->name);
  snprintf(text, sizeof text, "%d.%d", host->major, host->minor);
  say(to, "compute_capability", text);
  say_version(say, to, "cuda_driver", (size_t)host->driver);
  say_version(say, to, "cuda_runtime", (size_t)host->runtime);
  say_bytes(say, to, "cublaslt", cublasLtGetVersion());
  say(to, "memory", host->integrated ? "shared with the processor" : "the GPU's own");
  ffb_cuda_look_at_memory(device);
  say_bytes(say, to, "memory_bytes", host->memory_bytes);
  say_bytes(say, to, "memory_used_when_opened_bytes", host->memory_used_first);
  say_bytes(say, to, "memory_used_peak_bytes", host->memory_used_peak);
  say(to, "fp32_kernel", host->tf32 ? "cuBLASLt and cuDNN with TF32" : "cuBLASLt and cuDNN without TF32");
  say(to, "int8_kernel", "cuBLASLt on tensor cores, sums in INT32");
  say(to, "fp32_algorithms",
      host->search ? "the fastest of the library's candidates" : "the library's first candidate");
  snprintf(text, sizeof text, "%lld captured, replayed %lld times", (long long)host->captures,
           (long long)host->replays);
  say(to, "programs", text);
  if (*host->capture_problem)
    say(to, "not_captured", host->capture_problem);
  snprintf(text, sizeof text, "%lld of %lld pieces of batches announced", (long long)host->ahead.written,
           (long long)host->ahead.announced);
  say(to, "copied_ahead", text);
  ffb_cuda_dnn_describe(device, say, to);
  ffb_cuda_multiply_describe(device, say, to);
}

static const char *cuda_failure(struct ffb_device *device) {
  return device->failure;
}

static bool cuda_memory(struct ffb_device *device, struct ffb_device_memory *memory) {
  ffb_cuda_look_at_memory(device);
  *memory = (struct ffb_device_memory){.total = device->host->memory_bytes,
                                       .used_first = device->host->memory_used_first,
                                       .used_peak = device->host->memory_used_peak,
                                       .shared = device->host->integrated};
  return memory->total > 0;
}

/* ---- table ------------------------------------------------------------------------------------------------------ */

/* Only this symbol is exported (scripts/backend.map). */
extern const struct ffb_backend ffbench_backend;

#define FFB_CUDA_ENTRY(NAME, name) [FFB_##NAME] = ffb_cuda_##name,

const struct ffb_backend ffbench_backend = {
    .magic = FFB_BACKEND_MAGIC,
    .version = FFB_BACKEND_VERSION,
    .size = sizeof(struct ffb_backend),
    .name = "cuda",
    .description = "NVIDIA GPUs from Ampere on: cuBLASLt, cuDNN and kernels of its own, steps replayed as CUDA graphs",
    .available = cuda_available,
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .memory = cuda_memory,
    .allocate = ffb_cuda_allocate,
    .release = ffb_cuda_release,
    .write = ffb_cuda_write,
    .read = ffb_cuda_read,
    .synchronise = ffb_cuda_synchronise,
    .workspace = ffb_cuda_workspace,
    .failure = cuda_failure,
    .capture_begin = ffb_cuda_capture_begin,
    .capture_end = ffb_cuda_capture_end,
    .replay = ffb_cuda_replay,
    .forget = ffb_cuda_forget,
    .announce = ffb_cuda_announce,
    .operators =
        {FFB_CUDA_KERNELS(FFB_CUDA_ENTRY)[FFB_GEMM_F32] = ffb_cuda_gemm_f32, [FFB_GEMM_S8] = ffb_cuda_gemm_s8,
         [FFB_CONVOLVE_F32] = ffb_cuda_convolve_f32, [FFB_CONVOLVE_S8] = ffb_cuda_convolve_s8,
         [FFB_CONVOLVE_INPUT_F32] = ffb_cuda_convolve_input_f32, [FFB_CONVOLVE_INPUT_S8] = ffb_cuda_convolve_input_s8,
         [FFB_CONVOLVE_WEIGHT_F32] = ffb_cuda_convolve_weight_f32,
         [FFB_CONVOLVE_WEIGHT_S8] = ffb_cuda_convolve_weight_s8},
};
