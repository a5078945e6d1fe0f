/* What an operator of the CUDA backend needs of its device. */
#ifndef FFBENCH_BACKENDS_CUDA_DEVICE_H
#define FFBENCH_BACKENDS_CUDA_DEVICE_H

#include <cuda_runtime.h>
#include <stdbool.h>
#include <stddef.h>

struct ffb_device {
  cudaStream_t stream;
  void *scratch; /* on the device, at least 8 MiB, aligned to 256 bytes: any one call may use it */
  size_t scratch_bytes;
  char failure[256];
};

#ifdef __cplusplus
extern "C" {
#endif
/* False where a CUDA call failed: what and why is then in device->failure. */
bool ffb_cuda_check(struct ffb_device *device, cudaError_t status, const char *what);
#ifdef __cplusplus
}
#endif

#endif
