/* FP32 convolutions by cuDNN: NHWC, FP32 arithmetic (no TF32 unless it is asked for), algorithms that give the same
 * bits every time and add up in the plain order of a product (no Winograd, no Fourier transform). */
#include "backends/cuda/host.h"

#ifdef FFB_CUDA_CUDNN

#include "base/memory.h"

#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DNN_CANDIDATES = 10 };
static const size_t most_workspace = (size_t)64 << 20;

/* What a choice depends on. Compared byte by byte: no padding. */
struct key {
  int32_t pass, groups, kernel, stride, padding, accumulate;
  int64_t x[FFB_DIMENSIONS], y[FFB_DIMENSIONS];
};

/* An algorithm, in numbers that all passes share, and its arithmetic. */
struct candidate {
  int algorithm;
  cudnnMathType_t math;
};

struct choice {
  struct key key;
  bool found;
  struct candidate by;
  size_t bytes;
};

struct ffb_cuda_dnn {
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t convolution;
  struct choice *choices;
  size_t count, capacity;
  bool off, tf32;
};

/* ---- the library ------------------------------------------------------------------------------------------------ */

static bool create(struct ffb_device *device, struct ffb_cuda_dnn *dnn) {
  cudnnStatus_t status = cudnnCreate(&dnn->handle);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnSetStream(dnn->handle, device->stream);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnCreateTensorDescriptor(&dnn->x);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnCreateTensorDescriptor(&dnn->y);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnCreateFilterDescriptor(&dnn->w);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnCreateConvolutionDescriptor(&dnn->convolution);
  if (status != CUDNN_STATUS_SUCCESS)
    snprintf(device->host->dnn_problem, sizeof device->host->dnn_problem, "cuDNN does not start: %s",
             cudnnGetErrorString(status));
  return status == CUDNN_STATUS_SUCCESS;
}

void ffb_cuda_dnn_open(struct ffb_device *device) {
  const char *wanted = getenv("FFBENCH_CUDA_CONVOLUTIONS");
  struct ffb_cuda_dnn *dnn = ffb_allocate(1, sizeof *dnn, NULL);
  device->host->dnn = dnn;
  if (!dnn)
    return;
  dnn->tf32 = device->host->tf32;
  dnn->off = wanted && strcmp(wanted, "patches") == 0;
  if (dnn->off)
    snprintf(device->host->dnn_problem, sizeof device->host->dnn_problem, "off by FFBENCH_CUDA_CONVOLUTIONS");
}

/* The first convolution asks for the library: runs without FP32 convolutions do not pay for it. */
static bool is_there(struct ffb_device *device) {
  struct ffb_cuda_dnn *dnn = device->host->dnn;
  if (!dnn || dnn->off)
    return false;
  if (!dnn->handle) {
    dnn->off = !create(device, dnn);
    ffb_cuda_look_at_memory(device);
  }
  return !dnn->off;
}

void ffb_cuda_dnn_close(struct ffb_device *device) {
  struct ffb_cuda_dnn *dnn = device->host->dnn;
  if (!dnn)
    return;
  if (dnn->convolution)
    cudnnDestroyConvolutionDescriptor(dnn->convolution);
  if (dnn->w)
    cudnnDestroyFilterDescriptor(dnn->w);
  if (dnn->y)
    cudnnDestroyTensorDescriptor(dnn->y);
  if (dnn->x)
    cudnnDestroyTensorDescriptor(dnn->x);
  if (dnn->handle)
    cudnnDestroy(dnn->handle);
  ffb_free(dnn->choices);
  ffb_free(dnn);
}

/* ---- the choice ------------------------------------------------------------------------------------------------- */

static cudnnStatus_t describe_image(cudnnTensorDescriptor_t descriptor, const struct ffb_tensor *tensor) {
  return cudnnSetTensor4dDescriptor(descriptor, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, (int)tensor->shape[0],
                                    (int)tensor->shape[3], (int)tensor->shape[1], (int)tensor->shape[2]);
}

static cudnnStatus_t describe(struct ffb_cuda_dnn *dnn, const struct ffb_cuda_convolution *convolution,
                              cudnnMathType_t math) {
  const struct ffb_window *window = &convolution->window;
  cudnnStatus_t status = describe_image(dnn->x, convolution->x);
  if (status == CUDNN_STATUS_SUCCESS)
    status = describe_image(dnn->y, convolution->y);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnSetFilter4dDescriptor(dnn->w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, (int)convolution->y->shape[3],
                                        (int)(convolution->x->shape[3] / convolution->groups), window->kernel,
                                        window->kernel);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnSetConvolution2dDescriptor(dnn->convolution, window->padding, window->padding, window->stride,
                                             window->stride, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnSetConvolutionGroupCount(dnn->convolution, convolution->groups);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnSetConvolutionMathType(dnn->convolution, math);
  return status;
}

/* Whether the library refuses a call that it could not have been known to: since version 9 it says why in one of many
 * statuses. */
static bool is_refusal(cudnnStatus_t status) {
#if CUDNN_MAJOR >= 9
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
#else
  return status == CUDNN_STATUS_NOT_SUPPORTED || status == CUDNN_STATUS_ARCH_MISMATCH ||
         status == CUDNN_STATUS_RUNTIME_PREREQUISITE_MISSING;
#endif
}

static bool is_plain(enum ffb_cuda_pass pass, int algorithm) {
  if (pass == FFB_CUDA_FORWARD)
    return algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
           algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM ||
           algorithm == CUDNN_CONVOLUTION_FWD_ALGO_GEMM;
  return pass == FFB_CUDA_INPUT_GRADIENT ? algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1
                                         : algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
}

static bool workspace_of(const struct ffb_cuda_dnn *dnn, enum ffb_cuda_pass pass, int algorithm, size_t *bytes) {
  if (pass == FFB_CUDA_FORWARD)
    return cudnnGetConvolutionForwardWorkspaceSize(dnn->handle, dnn->x, dnn->w, dnn->convolution, dnn->y,
                                                   (cudnnConvolutionFwdAlgo_t)algorithm, bytes) == CUDNN_STATUS_SUCCESS;
  if (pass == FFB_CUDA_INPUT_GRADIENT)
    return cudnnGetConvolutionBackwardDataWorkspaceSize(dnn->handle, dnn->w, dnn->y, dnn->convolution, dnn->x,
                                                        (cudnnConvolutionBwdDataAlgo_t)algorithm,
                                                        bytes) == CUDNN_STATUS_SUCCESS;
  return cudnnGetConvolutionBackwardFilterWorkspaceSize(dnn->handle, dnn->x, dnn->y, dnn->convolution, dnn->w,
                                                        (cudnnConvolutionBwdFilterAlgo_t)algorithm,
                                                        bytes) == CUDNN_STATUS_SUCCESS;
}

/* From Ampere on the library's default is TF32. */
static cudnnMathType_t math_of(const struct ffb_cuda_dnn *dnn, cudnnMathType_t listed) {
  return dnn->tf32 && listed != CUDNN_FMA_MATH ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
}

/* Candidates in the order of the library's own forecast; how many. */
#define LIST(type, call)                                                                                               \
  do {                                                                                                                 \
    type found[DNN_CANDIDATES];                                                                                        \
    if ((call) == CUDNN_STATUS_SUCCESS)                                                                                \
      for (int i = 0; i < returned; i++)                                                                               \
        if (found[i].status == CUDNN_STATUS_SUCCESS && found[i].determinism == CUDNN_DETERMINISTIC)                    \
          candidates[count++] = (struct candidate){(int)found[i].algo, math_of(dnn, found[i].mathType)};               \
  } while (0)

static int list(const struct ffb_cuda_dnn *dnn, enum ffb_cuda_pass pass, struct candidate candidates[DNN_CANDIDATES]) {
  int returned = 0, count = 0;
  if (pass == FFB_CUDA_FORWARD)
    LIST(cudnnConvolutionFwdAlgoPerf_t,
         cudnnGetConvolutionForwardAlgorithm_v7(dnn->handle, dnn->x, dnn->w, dnn->convolution, dnn->y, DNN_CANDIDATES,
                                                &returned, found));
  else if (pass == FFB_CUDA_INPUT_GRADIENT)
    LIST(cudnnConvolutionBwdDataAlgoPerf_t,
         cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn->handle, dnn->w, dnn->y, dnn->convolution, dnn->x,
                                                     DNN_CANDIDATES, &returned, found));
  else
    LIST(cudnnConvolutionBwdFilterAlgoPerf_t,
         cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn->handle, dnn->x, dnn->y, dnn->convolution, dnn->w,
                                                       DNN_CANDIDATES, &returned, found));
  return count;
}

static void choose(struct ffb_cuda_dnn *dnn, const struct ffb_cuda_convolution *convolution, struct choice *choice) {
  struct candidate candidates[DNN_CANDIDATES];
  int count = 0;
  if (describe(dnn, convolution, math_of(dnn, CUDNN_DEFAULT_MATH)) == CUDNN_STATUS_SUCCESS)
    count = list(dnn, convolution->pass, candidates);
  for (int i = 0; i < count && !choice->found; i++) {
    choice->by = candidates[i];
    choice->found = is_plain(convolution->pass, choice->by.algorithm) &&
                    cudnnSetConvolutionMathType(dnn->convolution, choice->by.math) == CUDNN_STATUS_SUCCESS &&
                    workspace_of(dnn, convolution->pass, choice->by.algorithm, &choice->bytes) &&
                    choice->bytes <= most_workspace;
  }
}

static struct key key_of(const struct ffb_cuda_convolution *convolution) {
  struct key key;
  memset(&key, 0, sizeof key);
  key.pass = (int32_t)convolution->pass;
  key.groups = convolution->groups;
  key.kernel = convolution->window.kernel;
  key.stride = convolution->window.stride;
  key.padding = convolution->window.padding;
  key.accumulate = convolution->accumulate;
  memcpy(key.x, convolution->x->shape, sizeof key.x);
  memcpy(key.y, convolution->y->shape, sizeof key.y);
  return key;
}

/* Null where memory is out. */
static struct choice *choice_of(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  struct ffb_cuda_dnn *dnn = device->host->dnn;
  struct key key = key_of(convolution);
  for (size_t i = 0; i < dnn->count; i++)
    if (memcmp(&dnn->choices[i].key, &key, sizeof key) == 0)
      return &dnn->choices[i];
  if (dnn->count == dnn->capacity) {
    size_t capacity = dnn->capacity ? 2 * dnn->capacity : 32;
    struct choice *grown = ffb_reallocate(dnn->choices, capacity, sizeof *grown, NULL);
    if (!grown) {
      ffb_cuda_fail(device, "out of memory for the algorithms chosen: close other programs");
      return NULL;
    }
    dnn->choices = grown;
    dnn->capacity = capacity;
  }
  struct choice *choice = &dnn->choices[dnn->count++];
  *choice = (struct choice){.key = key};
  choose(dnn, convolution, choice);
  return choice;
}

/* The library's kernels load whole vectors. While memory is planned there is no address yet, and 0 is aligned. */
static bool is_aligned(const struct ffb_tensor *tensor) {
  return (uintptr_t)tensor->data % 16 == 0;
}

bool ffb_cuda_dnn_takes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  if (!is_aligned(convolution->x) || !is_aligned(convolution->y) || !is_aligned(convolution->w) || !is_there(device))
    return false;
  const struct choice *choice = choice_of(device, convolution);
  return choice && choice->found;
}

size_t ffb_cuda_dnn_bytes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  const struct choice *choice = choice_of(device, convolution);
  return choice ? choice->bytes : 0;
}

/* ---- the convolution -------------------------------------------------------------------------------------------- */

static cudnnStatus_t run(const struct ffb_cuda_dnn *dnn, const struct ffb_cuda_convolution *convolution,
                         const struct choice *choice, void *scratch) {
  const float one = 1, more = convolution->accumulate;
  const void *x = convolution->x->data, *y = convolution->y->data, *w = convolution->w->data;
  if (convolution->pass == FFB_CUDA_FORWARD)
    return cudnnConvolutionForward(dnn->handle, &one, dnn->x, x, dnn->w, w, dnn->convolution,
                                   (cudnnConvolutionFwdAlgo_t)choice->by.algorithm, scratch, choice->bytes, &more,
                                   dnn->y, convolution->y->data);
  if (convolution->pass == FFB_CUDA_INPUT_GRADIENT)
    return cudnnConvolutionBackwardData(dnn->handle, &one, dnn->w, w, dnn->y, y, dnn->convolution,
                                        (cudnnConvolutionBwdDataAlgo_t)choice->by.algorithm, scratch, choice->bytes,
                                        &more, dnn->x, convolution->x->data);
  return cudnnConvolutionBackwardFilter(dnn->handle, &one, dnn->x, x, dnn->y, y, dnn->convolution,
                                        (cudnnConvolutionBwdFilterAlgo_t)choice->by.algorithm, scratch, choice->bytes,
                                        &more, dnn->w, convolution->w->data);
}

bool ffb_cuda_dnn_convolve(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  struct ffb_cuda_dnn *dnn = device->host->dnn;
  struct choice *choice = choice_of(device, convolution);
  void *scratch = choice ? ffb_cuda_scratch(device, convolution->workspace, choice->bytes) : NULL;
  if (!scratch)
    return false;
  cudnnStatus_t status = describe(dnn, convolution, choice->by.math);
  if (status == CUDNN_STATUS_SUCCESS)
    status = run(dnn, convolution, choice, scratch);
  if (status == CUDNN_STATUS_SUCCESS)
    return true;
  if (!is_refusal(status))
    return ffb_cuda_fail(device, "cuDNN: %s", cudnnGetErrorString(status));
  /* A forecast that did not hold: nothing was computed, and from now on patches serve this shape. */
  choice->found = false;
  return ffb_cuda_convolve_patches(device, convolution);
}

void ffb_cuda_dnn_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  static const char *const passes[] = {"forward", "input gradient", "weight gradient"};
  const struct ffb_cuda_dnn *dnn = device->host->dnn;
  char name[160], value[160];
  snprintf(value, sizeof value, "%zu", cudnnGetVersion());
  say(to, "cudnn", *device->host->dnn_problem ? device->host->dnn_problem : value);
  for (size_t i = 0; dnn && i < dnn->count; i++) {
    const struct choice *choice = &dnn->choices[i];
    const struct key *key = &choice->key;
    snprintf(name, sizeof name, "fp32 convolution %s %lldx%lldx%lldx%lld to %lld, kernel %d, stride %d, groups %d",
             passes[key->pass], (long long)key->x[0], (long long)key->x[1], (long long)key->x[2], (long long)key->x[3],
             (long long)key->y[3], key->kernel, key->stride, key->groups);
    snprintf(value, sizeof value, choice->found ? "cuDNN algorithm %d, %zu bytes%s" : "patches", choice->by.algorithm,
             choice->bytes, choice->by.math == CUDNN_FMA_MATH ? "" : ", TF32");
    say(to, name, value);
  }
}

#else

void ffb_cuda_dnn_open(struct ffb_device *device) {
  (void)device;
}
void ffb_cuda_dnn_close(struct ffb_device *device) {
  (void)device;
}
bool ffb_cuda_dnn_takes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  (void)device, (void)convolution;
  return false;
}
bool ffb_cuda_dnn_convolve(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  return ffb_cuda_convolve_patches(device, convolution);
}
size_t ffb_cuda_dnn_bytes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  (void)device, (void)convolution;
  return 0;
}
void ffb_cuda_dnn_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  (void)device;
  say(to, "cudnn", "not in this build: FP32 convolutions go by patches");
}

#endif
