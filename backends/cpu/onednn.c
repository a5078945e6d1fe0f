/* oneDNN's INT8 product, and the test that decides whether it may be used. */
#include "backends/cpu/device.h"

#ifdef FFB_HAVE_ONEDNN

#include <dnnl.h>
#include <stdio.h>

bool ffb_cpu_onednn_gemm_s8(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const int8_t *a,
                            const int8_t *b, int32_t *c) {
  const int32_t offset = 0;
  return dnnl_gemm_s8s8s32(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', 'F', m, n, k, 1, a, transpose_a ? m : k, 0,
                           b, transpose_b ? k : n, 0, 0, c, n, &offset) == dnnl_success;
}

const char *ffb_cpu_onednn_version(void) {
  static char text[32];
  const dnnl_version_t *version = dnnl_version();
  snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
  return text;
}

#else

bool ffb_cpu_onednn_gemm_s8(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const int8_t *a,
                            const int8_t *b, int32_t *c) {
  (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k, (void)a, (void)b, (void)c;
  return false;
}

const char *ffb_cpu_onednn_version(void) {
  return NULL;
}

#endif
