/* Losses, and what they count. One block walks over a batch, so that a total has one order whatever the device. */
#include "backends/cuda/launch.h"

namespace {

enum { THREADS = 256 };

/* What a sample adds to the statistics. */
struct sample {
  float loss;
  bool correct;
};

/* Adds the samples of the first `count` threads, in their order. Every thread of the block calls it. */
__device__ void count_samples(double *statistics, const sample &mine, int count) {
  __shared__ float losses[THREADS];
  __shared__ bool correct[THREADS];
  losses[threadIdx.x] = mine.loss;
  correct[threadIdx.x] = mine.correct;
  __syncthreads();
  if (threadIdx.x == 0) {
    double loss = statistics[FFB_STATISTIC_LOSS];
    int right = 0, not_finite = 0;
    for (int i = 0; i < count; i++) {
      loss += (double)losses[i];
      right += correct[i];
      not_finite += !isfinite(losses[i]);
    }
    statistics[FFB_STATISTIC_LOSS] = loss;
    statistics[FFB_STATISTIC_CORRECT] += right;
    statistics[FFB_STATISTIC_SAMPLES] += count;
    statistics[FFB_STATISTIC_NOT_FINITE] += not_finite;
  }
  __syncthreads();
}

/* First class of the largest logit; -1 where a logit is a NaN. */
__device__ int predicted(const float *logits, int classes) {
  int best = 0;
  for (int c = 0; c < classes; c++) {
    if (isnan(logits[c]))
      return -1;
    if (logits[c] > logits[best])
      best = c;
  }
  return best;
}

__device__ sample softmax_row(float *gradient, const float *logits, int label, int classes, float scale, float batch) {
  int best = predicted(logits, classes);
  float largest = scale * logits[0], sum = 0;
  for (int c = 1; c < classes; c++)
    largest = fmaxf(largest, scale * logits[c]);
  for (int c = 0; c < classes; c++)
    sum += expf(scale * logits[c] - largest);
  sample mine = {logf(sum) - (scale * logits[label] - largest), best == label};
  for (int c = 0; gradient && c < classes; c++)
    gradient[c] = (expf(scale * logits[c] - largest) / sum - (c == label ? 1.0f : 0.0f)) * scale / batch;
  return mine;
}

__global__ void __launch_bounds__(THREADS)
    softmax_cross_entropy(float *gradient, const float *logits, const int32_t *labels, double *statistics, int64_t rows,
                          int classes, float scale, float batch) {
  for (int64_t start = 0; start < rows; start += THREADS) {
    int64_t m = start + threadIdx.x;
    sample mine = {0, false};
    if (m < rows)
      mine = softmax_row(gradient ? gradient + m * classes : nullptr, logits + m * classes, labels[m], classes, scale,
                         batch);
    count_samples(statistics, mine, rows - start < THREADS ? (int)(rows - start) : THREADS);
  }
}

__device__ float softplus(float z) {
  return (z > 0 ? z : 0) + log1pf(expf(-fabsf(z)));
}

__device__ float sigmoid(float z) {
  return 1 / (1 + expf(-z));
}

__global__ void __launch_bounds__(THREADS)
    goodness_loss(float *gradient, const float *goodness, double *statistics, int64_t pairs, float theta) {
  for (int64_t start = 0; start < pairs; start += THREADS) {
    int64_t m = start + threadIdx.x;
    sample mine = {0, false};
    if (m < pairs) {
      float positive = goodness[m], negative = goodness[pairs + m];
      mine = {softplus(theta - positive) + softplus(negative - theta), positive > negative};
      gradient[m] = -sigmoid(theta - positive) / (float)pairs;
      gradient[pairs + m] = sigmoid(negative - theta) / (float)pairs;
    }
    if (statistics)
      count_samples(statistics, mine, pairs - start < THREADS ? (int)(pairs - start) : THREADS);
  }
}

__global__ void __launch_bounds__(THREADS)
    note_not_finite(uint32_t *first, const float *x, const uint32_t *step, int64_t n) {
  __shared__ bool found;
  if (threadIdx.x == 0)
    found = false;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n; i += THREADS) {
    if (!isfinite(x[i]))
      found = true;
  }
  __syncthreads();
  if (threadIdx.x == 0 && found && *first == 0)
    *first = *step + 1;
}

} // namespace

bool ffb_cuda_softmax_cross_entropy(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_softmax_cross_entropy *call = &arguments->softmax_cross_entropy;
  int64_t rows = ffb_rows(call->logits);
  return FFB_LAUNCH(device, 1, THREADS, softmax_cross_entropy, ffb_data<float>(call->gradient),
                    ffb_data<float>(call->logits), ffb_data<int32_t>(call->labels), ffb_data<double>(call->statistics),
                    rows, (int)ffb_columns(call->logits), call->logit_scale,
                    (float)(call->total_rows ? call->total_rows : rows));
}

bool ffb_cuda_goodness_loss(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_goodness_loss *call = &arguments->goodness_loss;
  return FFB_LAUNCH(device, 1, THREADS, goodness_loss, ffb_data<float>(call->gradient), ffb_data<float>(call->goodness),
                    ffb_data<double>(call->statistics), ffb_rows(call->goodness) / 2, call->theta);
}

bool ffb_cuda_note_not_finite(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_note_not_finite *call = &arguments->note_not_finite;
  return FFB_LAUNCH(device, 1, THREADS, note_not_finite, ffb_data<uint32_t>(call->first), ffb_data<float>(call->x),
                    ffb_data<uint32_t>(call->step), ffb_elements(call->x));
}
