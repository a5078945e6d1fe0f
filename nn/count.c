/* Operations of a program, counted from the shapes of its calls. */
#include "nn/plan.h"

static int64_t product(const struct ffb_tensor *c, int64_t k) {
  return ffb_elements(c) * k;
}

static void count_call(enum ffb_operator operation, const union ffb_arguments *a, struct ffb_operation_count *count) {
  switch (operation) {
  case FFB_GEMM_F32:
    count->mac_f32 +=
        product(a->gemm_f32.c, a->gemm_f32.transpose_a ? ffb_rows(a->gemm_f32.a) : ffb_columns(a->gemm_f32.a));
    break;
  case FFB_LINEAR_F32:
    count->mac_f32 += product(a->linear_f32.y, ffb_columns(a->linear_f32.x));
    break;
  case FFB_LINEAR_UPDATE_F32:
    count->mac_f32 += product(a->linear_update_f32.gy, ffb_columns(a->linear_update_f32.x));
    break;
  case FFB_GEMM_S8:
    count->mac_s8 += product(a->gemm_s8.c, a->gemm_s8.transpose_a ? ffb_rows(a->gemm_s8.a) : ffb_columns(a->gemm_s8.a));
    break;
  case FFB_LINEAR_S8:
    count->mac_s8 += product(a->linear_s8.y, ffb_columns(a->linear_s8.x));
    break;
  case FFB_LINEAR_UPDATE_S8: {
    int64_t weights = ffb_columns(a->linear_update_s8.gy) * ffb_columns(a->linear_update_s8.x);
    count->mac_s8 += product(a->linear_update_s8.gy, ffb_columns(a->linear_update_s8.x));
    count->quantised_elements += a->linear_update_s8.quantise_gradient ? weights : 0;
    count->compared_elements += a->linear_update_s8.quantise_gradient ? weights : 0;
    count->compared_elements += a->linear_update_s8.weight_scale ? weights : 0;
    break;
  }
  case FFB_SUQ_SCALE:
    count->compared_elements += a->suq_scale.range == FFB_RANGE_ABSMAX ? ffb_elements(a->suq_scale.x) : 0;
    break;
  case FFB_SUQ_QUANTISE:
    count->quantised_elements += ffb_elements(a->suq_quantise.x);
    break;
  case FFB_SUQ_TENSOR:
    count->quantised_elements += ffb_elements(a->suq_tensor.quantise.x);
    count->compared_elements +=
        a->suq_tensor.scale.range == FFB_RANGE_ABSMAX ? ffb_elements(a->suq_tensor.quantise.x) : 0;
    break;
  case FFB_SUQ_SEGMENTS:
    count->quantised_elements += ffb_elements(a->suq_segments.x);
    count->compared_elements += ffb_elements(a->suq_segments.x);
    break;
  default:
    break;
  }
}

void ffb_program_count(const struct ffb_program *program, struct ffb_operation_count *count) {
  *count = (struct ffb_operation_count){0};
  for (size_t i = 0; i < ffb_program_calls(program); i++) {
    const union ffb_arguments *arguments = NULL;
    enum ffb_operator operation = ffb_program_call(program, i, &arguments);
    count_call(operation, arguments, count);
  }
}
