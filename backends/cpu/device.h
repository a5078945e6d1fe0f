/* The CPU backend's own state, and how its operators share work among threads. */
#ifndef FFBENCH_BACKENDS_CPU_DEVICE_H
#define FFBENCH_BACKENDS_CPU_DEVICE_H

#include "backends/backend.h"
#include "backends/cpu/kernels.h"

#include <omp.h>

struct ffb_device {
  const struct ffb_cpu_kernels *kernels;
  int threads;
  bool library_s8;     /* GEMM_S8 by oneDNN: it passed the self-test and was asked for */
  const char *s8_fact; /* why, for describe */
  void *scratch;       /* for calls whose caller gave no workspace */
  size_t scratch_bytes;
  char failure[256];
};

/* Work of fewer elements than this is not worth waking the other threads for (about a microsecond). */
enum { FFB_CPU_SHARED_ELEMENTS = 1 << 14 };

static inline int ffb_cpu_threads_for(const struct ffb_device *device, int64_t elements) {
  return elements < FFB_CPU_SHARED_ELEMENTS ? 1 : device->threads;
}

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

/* The operators, by file: elementwise.c, products.c. */
#define FFB_CPU_DECLARE(NAME, name, optional)                                                                          \
  bool ffb_cpu_##name(struct ffb_device *device, const union ffb_arguments *arguments);
FFB_OPERATORS(FFB_CPU_DECLARE)
#undef FFB_CPU_DECLARE

size_t ffb_cpu_workspace(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments);

/* oneDNN's integer product, in onednn.c; false where it is missing or failed. Shapes as in struct ffb_gemm_s8. */
bool ffb_cpu_onednn_gemm_s8(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const int8_t *a,
                            const int8_t *b, int32_t *c);
const char *ffb_cpu_onednn_version(void);

#endif
