/* Everything but the products. What is small or rare is the reference's plain C; the rest runs the vector kernels, on
 * all threads where that pays. The bits are those of the reference. */
#include "backends/cpu/device.h"
#include "backends/reference/reference.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* This thread's share of n elements; in units that keep random blocks and cache lines whole. */
static struct ffb_cpu_span my_share(int64_t n) {
  return ffb_cpu_share(n, 64, omp_get_num_threads(), omp_get_thread_num());
}

/* ---- quantisers ------------------------------------------------------------------------------------------------ */

float ffb_cpu_suq_scale(float largest) {
  float scale = largest / 127;
  return scale < FLT_MIN ? 1 : scale;
}

struct ffb_cpu_rounding ffb_cpu_rounding_of(enum ffb_rounding rounding, uint64_t seed, uint32_t purpose,
                                            const struct ffb_tensor *step) {
  bool stochastic = rounding == FFB_ROUND_STOCHASTIC;
  return (struct ffb_cpu_rounding){stochastic, purpose, stochastic ? *(const uint32_t *)step->data : 0, seed};
}

/* Bits of max|x| over this thread's share. FP32 bits without their sign order like integers, and a NaN comes last. */
static uint32_t my_absmax(const struct ffb_cpu_kernels *kernels, const struct ffb_tensor *x) {
  struct ffb_cpu_span share = my_share(ffb_elements(x));
  if (x->type == FFB_S32)
    return kernels->absmax_s32((const int32_t *)x->data + share.begin, share.end - share.begin);
  return kernels->absmax_f32((const float *)x->data + share.begin, share.end - share.begin);
}

static void set_scale(const struct ffb_suq_scale *suq, uint32_t bits) {
  float largest = 0;
  if (suq->range == FFB_RANGE_ABSMAX) {
    if (suq->x->type == FFB_S32)
      largest = (float)bits;
    else
      memcpy(&largest, &bits, sizeof largest);
    if (suq->running) {
      float *running = suq->running->data;
      *running = *running == 0 ? largest : 0.99f * *running + 0.01f * largest;
    }
    if (suq->ratio)
      largest = ffb_cpu_scalar(suq->ratio) * largest;
  } else {
    largest = suq->range == FFB_RANGE_RUNNING ? ffb_cpu_scalar(suq->running) : suq->fixed;
  }
  *(float *)suq->scale->data = ffb_cpu_suq_scale(largest);
}

bool ffb_cpu_suq_scale_operator(struct ffb_device *device, const struct ffb_suq_scale *suq) {
  uint32_t bits = 0;
  if (suq->range == FFB_RANGE_ABSMAX) {
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(suq->x))) reduction(max : bits)
    bits = my_absmax(device->kernels, suq->x);
  }
  set_scale(suq, bits);
  return true;
}
