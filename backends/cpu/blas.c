#include "backends/cpu/device.h"

#include <cblas.h>

bool ffb_cpu_uses_blas(const struct ffb_device *device) {
  return device->kernels == ffb_cpu_kernels_portable();
}

const char *ffb_cpu_blas_name(void) {
  return openblas_get_config();
}

void ffb_cpu_blas_gemm(const struct ffb_device *device, const struct ffb_gemm_f32 *gemm) {
  openblas_set_num_threads(device->threads);
  blasint m = (blasint)ffb_rows(gemm->c), n = (blasint)ffb_columns(gemm->c);
  blasint k = (blasint)(gemm->transpose_a ? ffb_rows(gemm->a) : ffb_columns(gemm->a));
  cblas_sgemm(CblasRowMajor, gemm->transpose_a ? CblasTrans : CblasNoTrans,
              gemm->transpose_b ? CblasTrans : CblasNoTrans, m, n, k, 1, gemm->a->data, gemm->transpose_a ? m : k,
              gemm->b->data, gemm->transpose_b ? k : n, gemm->accumulate ? 1.0f : 0.0f, gemm->c->data, n);
}
