/* Activations, masks and dropout; labels and checks are the reference's. */
#include "backends/cpu/device.h"
#include "backends/cpu/normalisation.h"
#include "backends/reference/reference.h"
#include "base/random.h"

#include <string.h>

/* This thread's share of n elements, in units that keep bytes of a mask, random blocks and cache lines whole. */
static struct ffb_cpu_span my_share(int64_t n) {
  return ffb_cpu_share(n, 64, omp_get_num_threads(), omp_get_thread_num());
}

bool ffb_cpu_activate(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_activate *activate = &arguments->activate;
  int64_t n = ffb_elements(activate->y);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, n))
  {
    struct ffb_cpu_span share = my_share(n);
    device->kernels->normalisation->activate(activate->kind, (float *)activate->y->data + share.begin,
                                             (const float *)activate->x->data + share.begin, share.end - share.begin);
  }
  return true;
}

bool ffb_cpu_activate_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_activate_gradient *activate = &arguments->activate_gradient;
  int64_t n = ffb_elements(activate->gx);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, n))
  {
    struct ffb_cpu_span share = my_share(n);
    device->kernels->normalisation->activate_gradient(
        activate->kind, (float *)activate->gx->data + share.begin, (const float *)activate->gy->data + share.begin,
        (const float *)activate->v->data + share.begin, share.end - share.begin);
  }
  return true;
}

bool ffb_cpu_mask_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_mask_gradient *masked = &arguments->mask_gradient;
  int64_t n = ffb_elements(masked->gx);
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, n))
  {
    struct ffb_cpu_span share = my_share(n);
    device->kernels->normalisation->mask_gradient(
        (float *)masked->gx->data + share.begin, (const float *)masked->gy->data + share.begin,
        (const uint8_t *)masked->mask->data + share.begin / 8, share.end - share.begin);
  }
  return true;
}

/* This thread's rows, each kept or dropped whole. */
static void drop_rows(const struct ffb_cpu_normalisation_kernels *kernels, const struct ffb_dropout *dropout) {
  int64_t columns = ffb_columns(dropout->y);
  struct ffb_cpu_span share = ffb_cpu_share(ffb_rows(dropout->y), 1, omp_get_num_threads(), omp_get_thread_num());
  for (int64_t m = share.begin; m < share.end; m++) {
    float *y = (float *)dropout->y->data + m * columns;
    uint32_t step = *(const uint32_t *)dropout->step->data;
    if (ffb_random_uniform(dropout->seed, dropout->purpose, step, (uint64_t)m) >= dropout->rate)
      kernels->divide(y, (const float *)dropout->x->data + m * columns, columns, 1 - dropout->rate);
    else
      memset(y, 0, (size_t)columns * sizeof *y);
  }
}

static void drop_elements(const struct ffb_cpu_normalisation_kernels *kernels, const struct ffb_dropout *dropout) {
  struct ffb_cpu_rounding draws =
      ffb_cpu_rounding_of(FFB_ROUND_STOCHASTIC, dropout->seed, dropout->purpose, dropout->step);
  struct ffb_cpu_span share = my_share(ffb_elements(dropout->y));
  kernels->dropout((float *)dropout->y->data + share.begin, (const float *)dropout->x->data + share.begin,
                   share.end - share.begin, dropout->rate, &draws, (uint64_t)share.begin);
}

bool ffb_cpu_dropout(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_dropout *dropout = &arguments->dropout;
  int64_t n = ffb_elements(dropout->y);
  if (dropout->rate == 0) {
    if (dropout->y->data != dropout->x->data)
      memcpy(dropout->y->data, dropout->x->data, (size_t)n * sizeof(float));
    return true;
  }
  FFB_CPU_RUN(ffb_cpu_threads_for(device, n),
              (dropout->by_row ? drop_rows : drop_elements)(device->kernels->normalisation, dropout));
  return true;
}

bool ffb_cpu_label_pattern(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_label_pattern(device, arguments);
}

bool ffb_cpu_note_not_finite(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_note_not_finite(device, arguments);
}
