/* GEMM_F32 and GEMM_S8: row-major operands as they come, or brought into the one form that INT8 tensor cores take. */
#include "backends/cuda/gather.h"
#include "backends/cuda/product.h"

bool ffb_cuda_gemm_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_gemm_f32 *gemm = &arguments->gemm_f32;
  int64_t rows = ffb_rows(gemm->c), columns = ffb_columns(gemm->c);
  int64_t depth = gemm->transpose_a ? ffb_rows(gemm->a) : ffb_columns(gemm->a);
  struct ffb_cuda_product product = {.transpose_a = gemm->transpose_a,
                                     .transpose_b = gemm->transpose_b,
                                     .accumulate = gemm->accumulate,
                                     .rows = rows,
                                     .columns = columns,
                                     .depth = depth,
                                     .a = gemm->a->data,
                                     .b = gemm->b->data,
                                     .c = gemm->c->data,
                                     .a_stride = gemm->transpose_a ? rows : depth,
                                     .b_stride = gemm->transpose_b ? depth : columns,
                                     .c_stride = columns};
  return ffb_cuda_multiply(device, &product);
}

/* ---- INT8 ------------------------------------------------------------------------------------------------------ */

struct plan_s8 {
  int64_t rows, columns, depth, to_rows, to_columns, to_depth;
  bool pack_a, pack_b, unpad;
};

/* With null addresses, what the shapes alone ask for. */
static struct plan_s8 plan_s8(const struct ffb_gemm_s8 *gemm) {
  struct plan_s8 plan = {.rows = ffb_rows(gemm->c),
                         .columns = ffb_columns(gemm->c),
                         .depth = gemm->transpose_a ? ffb_rows(gemm->a) : ffb_columns(gemm->a)};
  plan.to_rows = ffb_cuda_s8_rows(plan.rows);
  plan.to_columns = ffb_cuda_rounded_up(plan.columns, FFB_CUDA_S8_UNIT);
  plan.to_depth = ffb_cuda_rounded_up(plan.depth, FFB_CUDA_S8_UNIT);
  bool odd_depth = plan.to_depth != plan.depth, odd_rows = plan.to_rows != plan.rows,
       odd_columns = plan.to_columns != plan.columns;
  plan.pack_a = gemm->transpose_a || odd_depth || odd_rows || !ffb_cuda_is_aligned(gemm->a->data);
  plan.pack_b = !gemm->transpose_b || odd_depth || odd_columns || !ffb_cuda_is_aligned(gemm->b->data);
  plan.unpad = odd_rows || odd_columns || !ffb_cuda_is_aligned(gemm->c->data);
  return plan;
}

static size_t bytes_a(const struct plan_s8 *plan) {
  return plan->pack_a ? ffb_cuda_part(plan->to_rows * plan->to_depth, 1) : 0;
}
static size_t bytes_b(const struct plan_s8 *plan) {
  return plan->pack_b ? ffb_cuda_part(plan->to_columns * plan->to_depth, 1) : 0;
}
static size_t bytes_c(const struct plan_s8 *plan) {
  return plan->unpad ? ffb_cuda_part(plan->to_rows * plan->to_columns, sizeof(int32_t)) : 0;
}

/* An operand [rows][depth], or [depth][rows] where it is transposed, to [to_rows][to_depth]. */
static bool pack(struct ffb_device *device, const struct ffb_tensor *from, void *to, bool transposed, int64_t rows,
                 int64_t to_rows, const struct plan_s8 *plan) {
  struct ffb_cuda_pack pack = {.from = from->data,
                               .to = to,
                               .rows = rows,
                               .depth = plan->depth,
                               .to_rows = to_rows,
                               .to_depth = plan->to_depth,
                               .row_stride = transposed ? 1 : plan->depth,
                               .inner = plan->depth,
                               .inner_stride = transposed ? rows : 1};
  return ffb_cuda_pack_s8(device, &pack);
}

bool ffb_cuda_gemm_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_gemm_s8 *gemm = &arguments->gemm_s8;
  struct plan_s8 plan = plan_s8(gemm);
  char *scratch = ffb_cuda_scratch(device, gemm->workspace, bytes_a(&plan) + bytes_b(&plan) + bytes_c(&plan));
  if (!scratch)
    return false;
  char *b = scratch + bytes_a(&plan), *c = b + bytes_b(&plan);
  struct ffb_cuda_product product = {.integer = true,
                                     .transpose_b = true,
                                     .rows = plan.to_rows,
                                     .columns = plan.to_columns,
                                     .depth = plan.to_depth,
                                     .a = plan.pack_a ? scratch : gemm->a->data,
                                     .b = plan.pack_b ? b : gemm->b->data,
                                     .c = plan.unpad ? c : gemm->c->data,
                                     .a_stride = plan.to_depth,
                                     .b_stride = plan.to_depth,
                                     .c_stride = plan.to_columns};
  return (!plan.pack_a || pack(device, gemm->a, scratch, gemm->transpose_a, plan.rows, plan.to_rows, &plan)) &&
         (!plan.pack_b || pack(device, gemm->b, b, !gemm->transpose_b, plan.columns, plan.to_columns, &plan)) &&
         ffb_cuda_multiply(device, &product) &&
         (!plan.unpad || ffb_cuda_unpad_sums(device, gemm->c->data, (const int32_t *)product.c, plan.rows, plan.columns,
                                             plan.to_columns));
}

size_t ffb_cuda_product_workspace(struct ffb_device *device, enum ffb_operator operation,
                                  const union ffb_arguments *arguments) {
  (void)device;
  if (operation != FFB_GEMM_S8)
    return 0;
  /* Addresses are not given yet: a tensor that turns out misaligned takes the device's own memory. */
  struct ffb_gemm_s8 gemm = arguments->gemm_s8;
  struct ffb_tensor a = *gemm.a, b = *gemm.b, c = *gemm.c;
  a.data = b.data = c.data = NULL;
  gemm.a = &a;
  gemm.b = &b;
  gemm.c = &c;
  struct plan_s8 plan = plan_s8(&gemm);
  return bytes_a(&plan) + bytes_b(&plan) + bytes_c(&plan);
}
