/* FP32 convolutions as the library's documentation has them: NHWC, plain loops summed in FP64. What it lists first is
 * what the backend must not take: a transform, a sum whose order changes, a status that says no. */
#include "tests/cuda_hosted/fake_runtime.h"

#include <cudnn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORKSPACE_BYTES = 384, GARBAGE = 0xA5 };

struct image {
  int n, c, h, w;
};

struct filter {
  int k, c, h, w;
};

struct convolution {
  int padding, stride, groups;
  cudnnMathType_t math;
};

/* One call, with all that describes it. */
struct work {
  int pass; /* 0: forward; 1: gradient of the input; 2: of the filter */
  struct image x, y;
  struct filter w;
  struct convolution convolution;
  float *of_x, *of_y, *of_w;
  void *workspace;
  bool add;
};

static cudnnStatus_t make(void **thing, size_t bytes) {
  if (fake_cuda_fails())
    return CUDNN_STATUS_ALLOC_FAILED;
  *thing = calloc(1, bytes);
  fake_cuda.alive++;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t give_back(void *thing) {
  fake_cuda.alive -= thing != NULL;
  free(thing);
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t answer(bool good) {
  return fake_cuda_fails() ? CUDNN_STATUS_INTERNAL_ERROR : good ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

size_t cudnnGetVersion(void) {
  return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "no error" : "told to fail";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
  return make((void **)handle, 1);
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return give_back(handle);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  (void)handle;
  return answer(stream != NULL);
}

/* ---- descriptions ----------------------------------------------------------------------------------------------- */

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *description) {
  return make((void **)description, sizeof(struct image));
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t description) {
  return give_back(description);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t description, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  *(struct image *)(void *)description = (struct image){n, c, h, w};
  return answer(format == CUDNN_TENSOR_NHWC && type == CUDNN_DATA_FLOAT && n > 0 && c > 0 && h > 0 && w > 0);
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *description) {
  return make((void **)description, sizeof(struct filter));
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t description) {
  return give_back(description);
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t description, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  *(struct filter *)(void *)description = (struct filter){k, c, h, w};
  return answer(format == CUDNN_TENSOR_NHWC && type == CUDNN_DATA_FLOAT && k > 0 && c > 0 && h > 0 && w > 0);
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *description) {
  return make((void **)description, sizeof(struct convolution));
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t description) {
  return give_back(description);
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t description, int pad_h, int pad_w,
                                              int stride_h, int stride_w, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  *(struct convolution *)(void *)description = (struct convolution){pad_h, stride_h, 1, CUDNN_DEFAULT_MATH};
  return answer(pad_h == pad_w && stride_h == stride_w && dilation_h == 1 && dilation_w == 1 &&
                mode == CUDNN_CROSS_CORRELATION && type == CUDNN_DATA_FLOAT);
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t description, int groups) {
  ((struct convolution *)(void *)description)->groups = groups;
  return answer(groups > 0);
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t description, cudnnMathType_t math) {
  ((struct convolution *)(void *)description)->math = math;
  return answer(math == CUDNN_DEFAULT_MATH || math == CUDNN_FMA_MATH);
}

static struct work describe(int pass, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                            cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y) {
  return (struct work){.pass = pass,
                       .x = *(const struct image *)(const void *)x,
                       .y = *(const struct image *)(const void *)y,
                       .w = *(const struct filter *)(const void *)w,
                       .convolution = *(const struct convolution *)(const void *)convolution};
}

static bool is_valid(const struct work *work) {
  const struct convolution *c = &work->convolution;
  return work->x.n == work->y.n && work->x.c % c->groups == 0 && work->y.c % c->groups == 0 && work->w.k == work->y.c &&
         work->w.c == work->x.c / c->groups && work->y.h == (work->x.h + 2 * c->padding - work->w.h) / c->stride + 1 &&
         work->y.w == (work->x.w + 2 * c->padding - work->w.w) / c->stride + 1;
}

/* ---- algorithms ------------------------------------------------------------------------------------------------- */

/* What the library lists: a transform, one that gives other bits each time, one that it cannot run after all, and then
 * what will do, first as the descriptor's arithmetic has it. */
#define LIST(type, transform, unordered, plain)                                                                        \
  do {                                                                                                                 \
    struct work work = describe(0, x, w, convolution, y);                                                              \
    const type found[] = {{.algo = (transform), .determinism = CUDNN_DETERMINISTIC, .mathType = CUDNN_FMA_MATH},       \
                          {.algo = (unordered), .determinism = CUDNN_NON_DETERMINISTIC, .mathType = CUDNN_FMA_MATH},   \
                          {.algo = (plain), .determinism = CUDNN_DETERMINISTIC, .status = CUDNN_STATUS_NOT_SUPPORTED}, \
                          {.algo = (plain), .determinism = CUDNN_DETERMINISTIC, .mathType = work.convolution.math},    \
                          {.algo = (plain), .determinism = CUDNN_DETERMINISTIC, .mathType = CUDNN_FMA_MATH}};          \
    (void)handle;                                                                                                      \
    *count = most < 5 ? most : 5;                                                                                      \
    memcpy(results, found, (size_t)*count * sizeof *found);                                                            \
    return answer(is_valid(&work));                                                                                    \
  } while (0)

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w,
                                                     cudnnConvolutionDescriptor_t convolution,
                                                     cudnnTensorDescriptor_t y, int most, int *count,
                                                     cudnnConvolutionFwdAlgoPerf_t *results) {
  LIST(cudnnConvolutionFwdAlgoPerf_t, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, CUDNN_CONVOLUTION_FWD_ALGO_DIRECT,
       CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t handle, cudnnFilterDescriptor_t w,
                                                          cudnnTensorDescriptor_t y,
                                                          cudnnConvolutionDescriptor_t convolution,
                                                          cudnnTensorDescriptor_t x, int most, int *count,
                                                          cudnnConvolutionBwdDataAlgoPerf_t *results) {
  LIST(cudnnConvolutionBwdDataAlgoPerf_t, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0,
       CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                            cudnnTensorDescriptor_t y,
                                                            cudnnConvolutionDescriptor_t convolution,
                                                            cudnnFilterDescriptor_t w, int most, int *count,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t *results) {
  LIST(cudnnConvolutionBwdFilterAlgoPerf_t, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
       CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
}

static cudnnStatus_t workspace(bool plain, size_t *bytes) {
  *bytes = WORKSPACE_BYTES;
  return answer(plain);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                      cudnnFilterDescriptor_t w,
                                                      cudnnConvolutionDescriptor_t convolution,
                                                      cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algorithm,
                                                      size_t *bytes) {
  (void)handle, (void)x, (void)w, (void)convolution, (void)y;
  return workspace(algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t handle, cudnnFilterDescriptor_t w,
                                                           cudnnTensorDescriptor_t y,
                                                           cudnnConvolutionDescriptor_t convolution,
                                                           cudnnTensorDescriptor_t x,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm, size_t *bytes) {
  (void)handle, (void)x, (void)w, (void)convolution, (void)y;
  return workspace(algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                             cudnnTensorDescriptor_t y,
                                                             cudnnConvolutionDescriptor_t convolution,
                                                             cudnnFilterDescriptor_t w,
                                                             cudnnConvolutionBwdFilterAlgo_t algorithm, size_t *bytes) {
  (void)handle, (void)x, (void)w, (void)convolution, (void)y;
  return workspace(algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, bytes);
}

/* ---- the convolution -------------------------------------------------------------------------------------------- */

/* TF32 reads the first ten bits of a mantissa. */
static double as_read(const struct work *work, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= work->convolution.math == CUDNN_FMA_MATH ? ~0u : ~0x1FFFu;
  memcpy(&value, &bits, sizeof bits);
  return (double)value;
}

static size_t out_elements(const struct work *work) {
  if (work->pass == 2)
    return (size_t)work->w.k * (size_t)work->w.c * (size_t)work->w.h * (size_t)work->w.w;
  const struct image *out = work->pass ? &work->x : &work->y;
  return (size_t)out->n * (size_t)out->c * (size_t)out->h * (size_t)out->w;
}

/* Every pair of an output and a tap of its window, for the sums of whichever operand is computed. */
static void add_products(const struct work *work, double *sums) {
  const struct convolution *c = &work->convolution;
  int outputs = work->y.c / c->groups;
  for (int64_t place = 0; place < (int64_t)work->y.n * work->y.h * work->y.w; place++) {
    int64_t n = place / (work->y.h * work->y.w);
    int p = (int)(place / work->y.w % work->y.h), q = (int)(place % work->y.w);
    for (int64_t tap = 0; tap < (int64_t)work->y.c * work->w.h * work->w.w * work->w.c; tap++) {
      int channel = (int)(tap % work->w.c), j = (int)(tap / work->w.c % work->w.w);
      int i = (int)(tap / work->w.c / work->w.w % work->w.h), o = (int)(tap / work->w.c / work->w.w / work->w.h);
      int row = p * c->stride + i - c->padding, column = q * c->stride + j - c->padding;
      if (row < 0 || row >= work->x.h || column < 0 || column >= work->x.w)
        continue;
      int64_t at_x = ((n * work->x.h + row) * work->x.w + column) * work->x.c + o / outputs * work->w.c + channel;
      int64_t at_y = place * work->y.c + o;
      if (work->pass == 0)
        sums[at_y] += as_read(work, work->of_x[at_x]) * as_read(work, work->of_w[tap]);
      else if (work->pass == 1)
        sums[at_x] += as_read(work, work->of_y[at_y]) * as_read(work, work->of_w[tap]);
      else
        sums[tap] += as_read(work, work->of_y[at_y]) * as_read(work, work->of_x[at_x]);
    }
  }
}

static void run_work(const void *node) {
  const struct work *work = node;
  size_t count = out_elements(work);
  float *out = work->pass == 0 ? work->of_y : work->pass == 1 ? work->of_x : work->of_w;
  double *sums = calloc(count, sizeof *sums);
  memset(work->workspace, GARBAGE, WORKSPACE_BYTES);
  add_products(work, sums);
  for (size_t i = 0; i < count; i++)
    out[i] = work->add ? out[i] + (float)sums[i] : (float)sums[i];
  free(sums);
}

static cudnnStatus_t run(struct work *work, const void *alpha, const void *beta, size_t workspace_bytes, bool plain) {
  const float *one = alpha, *more = beta;
  bool aligned = (uintptr_t)work->of_x % 16 == 0 && (uintptr_t)work->of_y % 16 == 0 && (uintptr_t)work->of_w % 16 == 0;
  if (fake_cuda_fails())
    return CUDNN_STATUS_EXECUTION_FAILED;
  if (fake_cuda.refuse_convolutions)
    return CUDNN_STATUS_NOT_SUPPORTED;
  if (!plain || !aligned || workspace_bytes < WORKSPACE_BYTES || *one != 1 || (*more != 0 && *more != 1) ||
      !is_valid(work))
    return CUDNN_STATUS_BAD_PARAM;
  work->add = *more == 1;
  fake_cuda.f32_convolutions += work->convolution.math == CUDNN_FMA_MATH;
  fake_cuda.tf32_convolutions += work->convolution.math != CUDNN_FMA_MATH;
  if (!fake_cuda_record(run_work, work, sizeof *work))
    run_work(work);
  return CUDNN_STATUS_SUCCESS;
}

/* What is only read is kept beside what is written. */
static float *as_operand(const void *operand) {
  float *address;
  memcpy(&address, &operand, sizeof address);
  return address;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t x,
                                      const void *of_x, cudnnFilterDescriptor_t w, const void *of_w,
                                      cudnnConvolutionDescriptor_t convolution, cudnnConvolutionFwdAlgo_t algorithm,
                                      void *space, size_t bytes, const void *beta, cudnnTensorDescriptor_t y,
                                      void *of_y) {
  struct work work = describe(0, x, w, convolution, y);
  (void)handle;
  work.of_x = as_operand(of_x);
  work.of_w = as_operand(of_w);
  work.of_y = of_y;
  work.workspace = space;
  return run(&work, alpha, beta, bytes, algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, cudnnFilterDescriptor_t w,
                                           const void *of_w, cudnnTensorDescriptor_t y, const void *of_y,
                                           cudnnConvolutionDescriptor_t convolution,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void *space, size_t bytes,
                                           const void *beta, cudnnTensorDescriptor_t x, void *of_x) {
  struct work work = describe(1, x, w, convolution, y);
  (void)handle;
  work.of_w = as_operand(of_w);
  work.of_y = as_operand(of_y);
  work.of_x = of_x;
  work.workspace = space;
  return run(&work, alpha, beta, bytes, algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t x,
                                             const void *of_x, cudnnTensorDescriptor_t y, const void *of_y,
                                             cudnnConvolutionDescriptor_t convolution,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void *space, size_t bytes,
                                             const void *beta, cudnnFilterDescriptor_t w, void *of_w) {
  struct work work = describe(2, x, w, convolution, y);
  (void)handle;
  work.of_x = as_operand(of_x);
  work.of_y = as_operand(of_y);
  work.of_w = of_w;
  work.workspace = space;
  return run(&work, alpha, beta, bytes, algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
}
