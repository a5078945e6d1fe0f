/* The CUDA backend's device: what every operator may use. Host code is C, kernels are CUDA C++, so both read this. */
#ifndef FFBENCH_BACKENDS_CUDA_DEVICE_H
#define FFBENCH_BACKENDS_CUDA_DEVICE_H

#include <cuda_runtime.h>

#include <stdbool.h>
#include <stddef.h>

struct ffb_cuda_host; /* libraries, memory, choices: host.h */

struct ffb_device {
  cudaStream_t stream;
  /* Device memory that the kernels of one call may use, FFB_CUDA_SCRATCH_BYTES at least; aligned to 256 bytes. */
  void *scratch;
  size_t scratch_bytes;
  char failure[256];
  struct ffb_cuda_host *host;
};

enum { FFB_CUDA_SCRATCH_BYTES = 8 << 20 };

#ifdef __cplusplus
extern "C" {
#endif

/* True when all is well; else one line in the device's failure. */
bool ffb_cuda_check(struct ffb_device *device, cudaError_t status, const char *what);
/* Scratch memory of so many bytes, for a call that asks before it uses any; else one line in the device's failure. */
bool ffb_cuda_reserve(struct ffb_device *device, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
