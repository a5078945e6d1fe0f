/* What the host keeps of a device: libraries, memory, the algorithms chosen, counts. */
#ifndef FFBENCH_BACKENDS_CUDA_HOST_H
#define FFBENCH_BACKENDS_CUDA_HOST_H

#include "backends/cuda/convolution.h"

#include <cublasLt.h>

enum {
  FFB_CUDA_STAGES = 8,
  FFB_CUDA_STAGE_BYTES = 1 << 20,
  FFB_CUDA_RETIRED = 32,
  FFB_CUDA_CANDIDATES = 8,
};

/* What decides which algorithm serves a product. Compared byte by byte: no padding, zeroed first. */
struct ffb_cuda_product_key {
  int64_t rows, columns, depth, a_stride, b_stride, c_stride;
  int32_t integer, transpose_a, transpose_b, accumulate;
  uint32_t a_alignment, b_alignment, c_alignment, zero;
};

struct ffb_cuda_product_choice {
  struct ffb_cuda_product_key key;
  cublasLtMatmulAlgo_t algorithm;
  bool found, tensor_cores;
  char text[112];
};

struct ffb_cuda_counts {
  int64_t s8_products, s8_on_tensor_cores, f32_products, f32_on_tensor_cores;
};

/* Pinned memory on its way to the device. */
struct ffb_cuda_stage {
  void *memory;
  cudaEvent_t free; /* recorded behind the copy */
  bool used;
};

/* What was announced, on its way by a stream of its own. */
struct ffb_cuda_ahead {
  cudaStream_t stream;
  cudaEvent_t arrived, taken; /* at its place on the device; copied on from there, the last piece that was written */
  char *pinned, *place;
  size_t room; /* bytes of either */
  struct ffb_host_bytes pieces[FFB_MAX_ANNOUNCED];
  size_t offsets[FFB_MAX_ANNOUNCED], count;
  bool sent;
  int64_t announced, written; /* pieces */
};

struct ffb_cuda_dnn; /* dnn.c */

struct ffb_cuda_host {
  char name[256];
  int major, minor, driver, runtime;
  bool integrated, search, tf32; /* search: FP32 algorithms are timed too */
  /* Of the whole device, all programs together: used when it was opened, and at most since. */
  size_t memory_bytes, memory_used_first, memory_used_peak;
  cublasLtHandle_t blas;
  void *blas_workspace;
  size_t blas_workspace_bytes;
  struct ffb_cuda_dnn *dnn; /* null: not built in, or not usable */
  char dnn_problem[160];
  struct ffb_cuda_product_choice *choices;
  size_t choice_count, choice_capacity;
  struct ffb_cuda_stage stages[FFB_CUDA_STAGES];
  int next_stage;
  struct ffb_cuda_ahead ahead;
  void *retired[FFB_CUDA_RETIRED]; /* scratch that captured programs may still use */
  int retired_count;
  bool capturing;
  struct ffb_cuda_counts counts, counts_before; /* before: the capture that is under way */
  int64_t captures, replays;
  char capture_problem[256]; /* of the last program that could not be captured */
};

/* ---- memory.c --------------------------------------------------------------------------------------------------- */

bool ffb_cuda_memory_open(struct ffb_device *device);
void ffb_cuda_memory_close(struct ffb_device *device);
/* Device memory for `what`; null with the device's failure set. */
void *ffb_cuda_take(struct ffb_device *device, size_t bytes, const char *what);
void ffb_cuda_look_at_memory(struct ffb_device *device);
void *ffb_cuda_allocate(struct ffb_device *device, size_t bytes);
void ffb_cuda_release(struct ffb_device *device, void *memory);
bool ffb_cuda_write(struct ffb_device *device, void *to, const void *from, size_t bytes);
bool ffb_cuda_read(struct ffb_device *device, void *to, const void *from, size_t bytes);
bool ffb_cuda_synchronise(struct ffb_device *device);

/* ---- ahead.c ---------------------------------------------------------------------------------------------------- */

bool ffb_cuda_ahead_open(struct ffb_device *device);
void ffb_cuda_ahead_close(struct ffb_device *device);
bool ffb_cuda_announce(struct ffb_device *device, const struct ffb_host_bytes *pieces, size_t count);
/* Writes what was announced; *found is false where that was something else. */
bool ffb_cuda_write_announced(struct ffb_device *device, void *to, const void *from, size_t bytes, bool *found);

/* ---- capture.c -------------------------------------------------------------------------------------------------- */

bool ffb_cuda_capture_begin(struct ffb_device *device);
void *ffb_cuda_capture_end(struct ffb_device *device, bool keep);
bool ffb_cuda_replay(struct ffb_device *device, void *program);
void ffb_cuda_forget(struct ffb_device *device, void *program);

/* ---- multiply.c ------------------------------------------------------------------------------------------------- */

bool ffb_cuda_multiply_open(struct ffb_device *device);
void ffb_cuda_multiply_close(struct ffb_device *device);
void ffb_cuda_multiply_describe(struct ffb_device *device, ffb_describe_function *say, void *to);

/* ---- dnn.c ------------------------------------------------------------------------------------------------------ */

/* Never fails: without cuDNN, FP32 convolutions go by patches, and dnn_problem says why. */
void ffb_cuda_dnn_open(struct ffb_device *device);
void ffb_cuda_dnn_close(struct ffb_device *device);
void ffb_cuda_dnn_describe(struct ffb_device *device, ffb_describe_function *say, void *to);

/* One line in the device's failure; false. */
bool ffb_cuda_fail(struct ffb_device *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
