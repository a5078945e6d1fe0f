/* The FP32 product of any form and size, from the tiles of kernels.h. K is cut into blocks whose panel fits the caches;
 * a block's sums are added to the result, in order, so the bits do not depend on the number of threads.
 *
 * Measured on two Zen 5 cores against OpenBLAS 0.3.21, which does not know them and runs its Haswell kernels: 2 to 2.5
 * times its speed over the shapes of the networks here, and 1.0 to 1.6 times that of its AVX-512 kernels when forced.
 * oneDNN's FP32 product is as fast but its bits depend on ONEDNN_MAX_CPU_ISA. A processor with none of the instruction
 * sets that kernels.h knows gets OpenBLAS, which knows more. */
#include "backends/cpu/device.h"

struct gemm {
  const struct ffb_cpu_kernels *kernels;
  const float *a, *b;
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  struct ffb_cpu_finish finish;
};

/* Columns column .. column+panel-1 of op(b), words k0 .. k1-1: where they lie if they can be used there. */
struct panel {
  const float *words;
  int64_t step;
};

static struct panel panel_of(const struct gemm *gemm, float *scratch, int64_t column, struct ffb_cpu_span block) {
  const struct ffb_cpu_kernels *kernels = gemm->kernels;
  int64_t valid = gemm->n - column;
  if (gemm->transpose_b) {
    kernels->panel_rows_f32(scratch, gemm->b + column * gemm->k + block.begin, gemm->k, valid, 0,
                            block.end - block.begin);
    return (struct panel){scratch, kernels->panel};
  }
  const float *in_place = gemm->b + block.begin * gemm->n + column;
  if (valid >= kernels->panel)
    return (struct panel){in_place, gemm->n};
  kernels->panel_columns_f32(scratch, 0, in_place, gemm->n, valid, block.end - block.begin);
  return (struct panel){scratch, kernels->panel};
}

static void part_of_gemm(const struct gemm *gemm, float *scratch, struct ffb_cpu_span rows,
                         struct ffb_cpu_span columns) {
  const struct ffb_cpu_kernels *kernels = gemm->kernels;
  int64_t length = rows.end - rows.begin, tiles = (length + kernels->tile_rows - 1) / kernels->tile_rows;
  _Alignas(64) float tile[FFB_CPU_MAX_TILE_ROWS * FFB_CPU_MAX_PANEL];
  struct ffb_cpu_finish finish = gemm->finish;
  for (int64_t k0 = 0; k0 < gemm->k; k0 += FFB_CPU_GEMM_DEPTH, finish.accumulate = true) {
    struct ffb_cpu_span block = {k0, k0 + FFB_CPU_GEMM_DEPTH < gemm->k ? k0 + FFB_CPU_GEMM_DEPTH : gemm->k};
    for (int64_t column = columns.begin; column < columns.end; column += kernels->panel) {
      struct panel panel = panel_of(gemm, scratch, column, block);
      int64_t valid = gemm->n - column < kernels->panel ? gemm->n - column : kernels->panel;
      for (int64_t t = 0; t < tiles; t++) {
        struct ffb_cpu_span some = ffb_cpu_share(length, 1, tiles, t);
        int64_t row = rows.begin + some.begin;
        int count = (int)(some.end - some.begin);
        if (gemm->transpose_a)
          kernels->tile_f32(count, tile, panel.words, panel.step, gemm->a + k0 * gemm->m + row, 1, gemm->m,
                            block.end - k0);
        else
          kernels->tile_f32(count, tile, panel.words, panel.step, gemm->a + row * gemm->k + k0, gemm->k, 1,
                            block.end - k0);
        kernels->finish_rows(&finish, tile, count, row, column, valid);
      }
    }
  }
}

static int threads_for(const struct ffb_device *device, const struct gemm *gemm) {
  return (double)gemm->m * (double)gemm->n * (double)gemm->k < FFB_CPU_SHARED_WORK ? 1 : device->threads;
}

bool ffb_cpu_gemm_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_gemm_f32 *operands = &arguments->gemm_f32;
  const struct ffb_cpu_kernels *kernels = device->kernels;
  if (ffb_cpu_uses_blas(device)) {
    ffb_cpu_blas_gemm(device, operands);
    return true;
  }
  struct gemm gemm = {.kernels = kernels,
                      .a = operands->a->data,
                      .b = operands->b->data,
                      .m = ffb_rows(operands->c),
                      .n = ffb_columns(operands->c),
                      .k = operands->transpose_a ? ffb_rows(operands->a) : ffb_columns(operands->a),
                      .transpose_a = operands->transpose_a,
                      .transpose_b = operands->transpose_b};
  gemm.finish = (struct ffb_cpu_finish){.y = operands->c->data, .stride = gemm.n, .accumulate = operands->accumulate};
#pragma omp parallel num_threads(threads_for(device, &gemm))
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    float *scratch = device->panels + (int64_t)part * FFB_CPU_GEMM_DEPTH * FFB_CPU_MAX_PANEL;
    struct ffb_cpu_span rows = {0, gemm.m}, columns = {0, gemm.n};
    /* Columns are shared where there are enough of them, so that a panel is packed once. */
    if (gemm.n >= 4 * (int64_t)kernels->panel * parts || gemm.m < gemm.n)
      columns = ffb_cpu_share(gemm.n, kernels->panel, parts, part);
    else
      rows = ffb_cpu_share(gemm.m, 1, parts, part);
    part_of_gemm(&gemm, scratch, rows, columns);
  }
  return true;
}
