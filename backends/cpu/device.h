/* The CPU backend's own state, and how its operators share work among threads. */
#ifndef FFBENCH_BACKENDS_CPU_DEVICE_H
#define FFBENCH_BACKENDS_CPU_DEVICE_H

#include "backends/backend.h"
#include "backends/cpu/kernels.h"

#include <omp.h>

enum {
  FFB_CPU_GEMM_DEPTH = 1024, /* GEMM_F32 sums K in blocks of this many */
  FFB_CPU_ALIGNMENT = 64,
};

struct ffb_device {
  const struct ffb_cpu_kernels *kernels;
  const char *refused; /* kernels that failed the self-test, if any */
  int threads;
  void *panel_block;
  float *panels;       /* GEMM_F32: one panel of FFB_CPU_GEMM_DEPTH words for each thread */
  void *scratch_block; /* for calls whose caller gave no workspace */
  size_t scratch_bytes;
  char failure[256];
};

static inline void *ffb_cpu_aligned(void *pointer, size_t alignment) {
  return (char *)pointer + (alignment - (uintptr_t)pointer % alignment) % alignment;
}

/* Scratch for one call: the workspace that the caller gave, or memory of the device's own, which stays. Null with the
 * device's failure set when there is none. */
void *ffb_cpu_scratch(struct ffb_device *device, const struct ffb_tensor *workspace, size_t bytes);

/* Whether the device's kernels multiply INT8 exactly, in every form. */
bool ffb_cpu_self_test(struct ffb_device *device);

/* Fewer elements or multiply-accumulates than this are not worth waking the other threads for (about a microsecond). */
enum { FFB_CPU_SHARED_ELEMENTS = 1 << 14, FFB_CPU_SHARED_WORK = 1 << 16 };

static inline int ffb_cpu_threads_for(const struct ffb_device *device, int64_t elements) {
  return elements < FFB_CPU_SHARED_ELEMENTS ? 1 : device->threads;
}

/* Has so many threads run a call. One alone makes it without a parallel region: that would take a team of its own, and
 * leave the next region of several to make theirs anew. A step has some 200 such calls of 0.4 us. */
#define FFB_CPU_RUN(count, call)                                                                                       \
  do {                                                                                                                 \
    const int threads_ = (count);                                                                                      \
    if (threads_ == 1) {                                                                                               \
      call;                                                                                                            \
    } else {                                                                                                           \
      _Pragma("omp parallel num_threads(threads_)") call;                                                              \
    }                                                                                                                  \
  } while (0)

/* Part `part` of `parts` of 0 .. n-1, in whole units; the last unit may be cut off. */
struct ffb_cpu_span {
  int64_t begin, end;
};
static inline struct ffb_cpu_span ffb_cpu_share(int64_t n, int64_t unit, int64_t parts, int64_t part) {
  int64_t units = (n + unit - 1) / unit;
  struct ffb_cpu_span span = {units * part / parts * unit, units * (part + 1) / parts * unit};
  if (span.begin > n)
    span.begin = n;
  if (span.end > n)
    span.end = n;
  return span;
}

static inline float ffb_cpu_scalar(const struct ffb_tensor *tensor) {
  return *(const float *)tensor->data;
}

/* Scale of a quantiser with the largest level 127, from a maximum; a zero tensor's is 1. */
float ffb_cpu_scale_of(float largest);
struct ffb_cpu_rounding ffb_cpu_rounding_of(enum ffb_rounding rounding, uint64_t seed, uint32_t purpose,
                                            const struct ffb_tensor *step);
void ffb_cpu_sgd_of(struct ffb_cpu_update *update, const struct ffb_sgd *rule);
void ffb_cpu_adam_of(struct ffb_cpu_update *update, const struct ffb_adam *rule);

/* OpenBLAS serves the FP32 product where there are no kernels of ours for the processor (blas.c). */
bool ffb_cpu_uses_blas(const struct ffb_device *device);
/* OpenBLAS with its version and how it was built: another one may sum in another order. */
const char *ffb_cpu_blas_name(void);
void ffb_cpu_blas_gemm(const struct ffb_device *device, const struct ffb_gemm_f32 *gemm);

/* The operators, in elementwise.c, products.c and gemm_f32.c. */
#define FFB_CPU_DECLARE(NAME, name, optional)                                                                          \
  bool ffb_cpu_##name(struct ffb_device *device, const union ffb_arguments *arguments);
FFB_OPERATORS(FFB_CPU_DECLARE)
#undef FFB_CPU_DECLARE

size_t ffb_cpu_workspace(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments);

#endif
