/* Images as networks take them, and labels written into them. */
#include "backends/cuda/each.cuh"
#include "base/random.h"

namespace {

struct convert {
  float *out;
  const uint8_t *in;
  struct ffb_divider channels, pixels; /* of out, and of all images of in */
  int64_t given;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    int64_t pixel = channels.quotient(i), c = i - pixel * channels.divisor;
    out[i] = c < given ? ((float)in[pixels.remainder(pixel) * given + c] / 255 - mean[c]) / deviation[c] : 0;
  }
};

/* The first `classes` pixels of every row. */
struct overlay {
  float *images;
  const int32_t *labels;
  int64_t columns, channels, written; /* the last: elements of a row */
  int constant;
  float on, off, neutral;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    int64_t m = i / written, at = i % written;
    int label = labels ? labels[m] : constant;
    images[m * columns + at] = label < 0 ? neutral : at / channels == label ? on : off;
  }
};

struct pattern {
  float *images;
  const float *patterns;
  const int32_t *labels;
  struct ffb_divider columns, channels;
  int64_t pixels, neutral;
  int constant, only;

  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    int64_t m = columns.quotient(i), at = i - m * columns.divisor, p = channels.quotient(at);
    int64_t which = labels ? labels[m] : constant;
    float value = patterns[(which < 0 ? neutral : which) * pixels + p];
    if (only < 0)
      images[i] += value;
    else if (at - p * channels.divisor == only)
      images[i] = value;
  }
};

struct negatives {
  int32_t *negatives, *kept;
  const int32_t *labels, *index;
  const uint32_t *draw;
  const float *scores;
  int classes;
  uint64_t seed;

  /* Drawn from softmax(scores) with the true class masked; -1 where the scores give no distribution. */
  __device__ int hard(const float *row, int truth, float uniform) const {
    float largest = -INFINITY;
    for (int c = 0; c < classes; c++) {
      if (c != truth && row[c] > largest)
        largest = row[c];
    }
    double total = 0, passed = 0;
    for (int c = 0; c < classes; c++) {
      if (c != truth)
        total += exp((double)row[c] - (double)largest);
    }
    if (!isfinite(total))
      return -1;
    int last = -1;
    for (int c = 0; c < classes; c++) {
      if (c == truth)
        continue;
      double weight = exp((double)row[c] - (double)largest);
      passed += weight;
      if ((double)uniform * total < passed)
        return c;
      if (weight > 0)
        last = c;
    }
    return last;
  }

  __device__ int drawn(int64_t m) const {
    uint32_t number = *draw, record = (uint32_t)index[m];
    int truth = labels[m];
    if (scores) {
      float uniform = ffb_random_uniform(seed, FFB_PURPOSE_NEGATIVE, number, record);
      int found = hard(scores + m * classes, truth, uniform);
      if (found >= 0)
        return found;
    }
    uint32_t shift = 1 + ffb_random_below(seed, FFB_PURPOSE_NEGATIVE, number, record, (uint32_t)classes - 1);
    return (int)(((uint32_t)truth + shift) % (uint32_t)classes);
  }

  template <int N, bool VECTOR> __device__ void run(int64_t m) const {
    int label = kept ? kept[index[m]] : -1;
    if (label < 0) {
      label = drawn(m);
      if (kept)
        kept[index[m]] = label;
    }
    negatives[m] = label;
  }
};

} // namespace

bool ffb_cuda_convert_images(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_convert_images *call = &arguments->convert_images;
  convert body = {ffb_data<float>(call->out),
                  ffb_data<uint8_t>(call->in),
                  ffb_divide_by(call->out->shape[3]),
                  ffb_divide_by(ffb_rows(call->in) * call->out->shape[1] * call->out->shape[2]),
                  call->in->shape[3],
                  {},
                  {}};
  for (int c = 0; c < FFB_MAX_CHANNELS; c++) {
    body.mean[c] = call->mean[c];
    body.deviation[c] = call->deviation[c];
  }
  return ffb_for_each(device, "convert_images", ffb_elements(call->out), false, body);
}

bool ffb_cuda_overlay_labels(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_overlay_labels *call = &arguments->overlay_labels;
  int64_t channels = call->images->shape[3], written = call->classes * channels;
  overlay body = {ffb_data<float>(call->images),
                  ffb_data<int32_t>(call->labels),
                  ffb_columns(call->images),
                  channels,
                  written,
                  call->constant,
                  call->on,
                  call->off,
                  call->off + (call->on - call->off) / (float)call->classes};
  return ffb_for_each(device, "overlay_labels", ffb_rows(call->images) * written, false, body);
}

bool ffb_cuda_label_pattern(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_label_pattern *call = &arguments->label_pattern;
  int64_t columns = ffb_columns(call->images), channels = call->images->shape[3];
  pattern body = {ffb_data<float>(call->images),
                  ffb_data<float>(call->patterns),
                  ffb_data<int32_t>(call->labels),
                  ffb_divide_by(columns),
                  ffb_divide_by(channels),
                  columns / channels,
                  ffb_rows(call->patterns) - 1,
                  call->constant,
                  call->channel};
  return ffb_for_each(device, "label_pattern", ffb_elements(call->images), false, body);
}

bool ffb_cuda_draw_negatives(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_draw_negatives *call = &arguments->draw_negatives;
  negatives body = {ffb_data<int32_t>(call->negatives),
                    ffb_data<int32_t>(call->kept),
                    ffb_data<int32_t>(call->labels),
                    ffb_data<int32_t>(call->index),
                    ffb_data<uint32_t>(call->draw),
                    ffb_data<float>(call->scores),
                    call->classes,
                    call->seed};
  return ffb_for_each(device, "draw_negatives", ffb_rows(call->labels), false, body);
}
