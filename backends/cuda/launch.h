/* How the kernels of this backend are launched: on the device's stream, checked, and under the emulator of the tests
 * (FFB_CUDA_EMULATED, whose cuda_runtime.h comes first in the include path) as plain C++. */
#ifndef FFBENCH_BACKENDS_CUDA_LAUNCH_H
#define FFBENCH_BACKENDS_CUDA_LAUNCH_H

#include "backends/cuda/device.h"
#include "backends/cuda/kernels.h"

#include <stdio.h>

#ifdef FFB_CUDA_EMULATED
#include <tuple>
#include <type_traits>

template <class... Parameters> struct ffb_cuda_call {
  void (*kernel)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> arguments;

  static void run(const void *of) {
    const ffb_cuda_call *call = static_cast<const ffb_cuda_call *>(of);
    std::apply(call->kernel, call->arguments);
  }
};

template <class... Parameters, class... Arguments>
bool ffb_cuda_launch(struct ffb_device *device, const char *name, dim3 blocks, dim3 threads,
                     void (*kernel)(Parameters...), Arguments... arguments) {
  ffb_cuda_call<Parameters...> call = {kernel, {arguments...}};
  ffb_emulated_launch launch = {name, blocks, threads, ffb_cuda_call<Parameters...>::run};
  if (!ffb_emulated_recorder || !ffb_emulated_recorder(launch, &call, sizeof call))
    ffb_emulated_run(name, blocks, threads, ffb_cuda_call<Parameters...>::run, &call);
  return ffb_cuda_check(device, cudaGetLastError(), name);
}
#else
template <class... Parameters, class... Arguments>
bool ffb_cuda_launch(struct ffb_device *device, const char *name, dim3 blocks, dim3 threads,
                     void (*kernel)(Parameters...), Arguments... arguments) {
  kernel<<<blocks, threads, 0, device->stream>>>(static_cast<Parameters>(arguments)...);
  return ffb_cuda_check(device, cudaGetLastError(), name);
}
#endif

/* FFB_LAUNCH(device, blocks, threads, kernel, arguments...): true, or false with device->failure said. A kernel with
 * more than one template argument goes into parentheses. */
#define FFB_LAUNCH(device, blocks, threads, kernel, ...)                                                               \
  ffb_cuda_launch(device, #kernel, blocks, threads, kernel, __VA_ARGS__)

/* Blocks that cover n elements; at least one, as no launch may be empty. */
static inline unsigned ffb_cuda_blocks(int64_t n, int64_t per_block) {
  return n > per_block ? (unsigned)((n + per_block - 1) / per_block) : 1;
}

/* Rows that blocks share between them: no launch has more blocks than this in its second dimension. */
static inline unsigned ffb_cuda_rows(int64_t rows) {
  const int64_t most = 32768;
  return (unsigned)(rows < most ? rows : most);
}

template <class T> static inline T *ffb_data(const struct ffb_tensor *tensor) {
  return tensor ? static_cast<T *>(tensor->data) : nullptr;
}

/* Whether a call's scratch space suffices: a word for thousands of elements does. Who keeps more there reserves it. */
static inline bool ffb_cuda_fits(struct ffb_device *device, int64_t bytes, const char *what) {
  if (bytes <= (int64_t)device->scratch_bytes)
    return true;
  snprintf(device->failure, sizeof device->failure,
           "%s: needs %lld bytes of scratch space, there are %zu: lower --batch", what, (long long)bytes,
           device->scratch_bytes);
  return false;
}

#endif
