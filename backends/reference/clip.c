/* The two searches for the parameters of a gradient's quantiser. */
#include "backends/reference/reference.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 4096, LANES = 16, STEPS = 20 };

static double lanes_total(double lane[LANES]) {
  for (int width = LANES / 2; width; width /= 2) {
    for (int i = 0; i < width; i++)
      lane[i] += lane[i + width];
  }
  return lane[0];
}

static float clamped(float value, float limit) {
  return value > limit ? limit : value < -limit ? -limit : value;
}

static void clip_sums(struct ffb_device *device, const float *x, int64_t n, float inverse,
                      struct ffb_deviation_sums *sums) {
  (void)device;
  *sums = (struct ffb_deviation_sums){0};
  for (int64_t start = 0; start < n; start += BLOCK) {
    int64_t end = n - start < BLOCK ? n : start + BLOCK;
    double xx[LANES] = {0}, xq[LANES] = {0}, qq[LANES] = {0};
    for (int64_t i = start; i < end; i++) {
      double value = x[i], q = clamped(rintf(x[i] * inverse), 127);
      int lane = (int)((i - start) % LANES);
      xx[lane] += value * value;
      xq[lane] += value * q;
      qq[lane] += q * q;
    }
    sums->xx += lanes_total(xx);
    sums->xq += lanes_total(xq);
    sums->qq += lanes_total(qq);
  }
}

static double deviation_of(const struct ffb_deviation_sums *sums) {
  double lengths = sqrt(sums->xx) * sqrt(sums->qq);
  return lengths > 0 ? 1 - sums->xq / lengths : 1;
}

static float finite_maximum(struct ffb_device *device, const float *x, int64_t n) {
  (void)device;
  float largest = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(x[i]))
      return INFINITY;
    largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
  }
  return largest;
}

static void moments(struct ffb_device *device, const float *x, int64_t n, double *total, double *squares) {
  (void)device;
  *total = *squares = 0;
  for (int64_t start = 0; start < n; start += BLOCK) {
    int64_t end = n - start < BLOCK ? n : start + BLOCK;
    double sum[LANES] = {0}, square[LANES] = {0};
    for (int64_t i = start; i < end; i++) {
      double value = x[i];
      sum[(i - start) % LANES] += value;
      square[(i - start) % LANES] += value * value;
    }
    *total += lanes_total(sum);
    *squares += lanes_total(square);
  }
}

static int64_t beyond(struct ffb_device *device, const float *x, int64_t n, double limit) {
  (void)device;
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++)
    count += fabs((double)x[i]) > limit;
  return count;
}

/* A tensor whose deviation is asked for at one ratio after another. */
struct searched {
  struct ffb_device *device;
  const struct ffb_clip_passes *passes;
  const float *x;
  int64_t n;
  float largest;
  struct ffb_executed *executed;
};

/* About a third of a normal distribution lies beyond one standard deviation, less of a heavy-tailed one. */
static bool looks_gaussian(const struct searched *searched) {
  double total, squares, n = (double)searched->n;
  searched->passes->moments(searched->device, searched->x, searched->n, &total, &squares);
  double mean = total / n, deviation = sqrt(fmax(squares / n - mean * mean, 0));
  searched->executed->searched_elements += 2 * searched->n;
  return (double)searched->passes->beyond(searched->device, searched->x, searched->n, deviation) > 0.3 * n;
}

static double deviation_at(const struct searched *searched, double ratio) {
  float scale = (float)ratio * searched->largest / 127;
  struct ffb_deviation_sums sums;
  searched->passes->sums(searched->device, searched->x, searched->n, 1 / (scale < FLT_MIN ? 1 : scale), &sums);
  searched->executed->searched_elements += searched->n;
  return deviation_of(&sums);
}

/* Least deviation in [0.05, 1] by golden section, as FP32; 1 unless clipping is strictly better. */
static float best_ratio(const struct searched *searched, double *least) {
  const double golden = 0.6180339887498949;
  double low = 0.05, high = 1;
  double left = high - golden * (high - low), right = low + golden * (high - low);
  double at_left = deviation_at(searched, left), at_right = deviation_at(searched, right);
  for (int step = 0; step < STEPS; step++) {
    if (at_left <= at_right) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - golden * (high - low);
      at_left = deviation_at(searched, left);
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + golden * (high - low);
      at_right = deviation_at(searched, right);
    }
  }
  double clipped = at_left <= at_right ? at_left : at_right, whole = deviation_at(searched, 1);
  *least = clipped < whole ? clipped : whole;
  return clipped < whole ? (float)(at_left <= at_right ? left : right) : 1;
}

static void search_clip(struct ffb_device *device, const struct ffb_clip_search *search,
                        const struct ffb_clip_passes *passes, struct ffb_executed *executed) {
  struct searched searched = {
      .device = device, .passes = passes, .x = search->x->data, .n = ffb_elements(search->x), .executed = executed};
  searched.largest = passes->largest(device, searched.x, searched.n);
  executed->compared_elements += searched.n;
  bool zero = searched.largest / 127 < FLT_MIN, finite = isfinite(searched.largest);
  float *ratio = search->ratio->data, found = 1;
  double deviation = zero ? 0 : 1;
  bool searches = !zero && finite;
  if (searches && search->gaussian_test && looks_gaussian(&searched))
    deviation = deviation_at(&searched, 1);
  else if (searches)
    found = best_ratio(&searched, &deviation);
  float tracked = *ratio == 0 ? found : search->tracking * *ratio + (1 - search->tracking) * found;
  if (searches && tracked != found)
    deviation = deviation_at(&searched, tracked);
  *ratio = tracked;
  *(float *)search->deviation->data = (float)deviation;
  if (search->multiplier)
    *(float *)search->multiplier->data = (float)fmax(exp(-(double)search->alpha * deviation), (double)search->beta);
}

void ffb_reference_clip_search_by(struct ffb_device *device, const struct ffb_clip_search *search,
                                  const struct ffb_clip_passes *passes) {
  struct ffb_executed ignored = {0};
  search_clip(device, search, passes, &ignored);
}

bool ffb_counted_clip_search(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  static const struct ffb_clip_passes passes = {clip_sums, finite_maximum, moments, beyond};
  search_clip(NULL, &arguments->clip_search, &passes, executed);
  return true;
}

/* Deviation of the two-segment quantiser, in units of its fine scale. */
static double segments_deviation(const struct ffb_tensor *tensor, float coarse_scale, int exponent,
                                 struct ffb_executed *executed) {
  const float *x = tensor->data;
  int64_t n = ffb_elements(tensor);
  float fine_scale = ldexpf(coarse_scale, -exponent), threshold = 63 * fine_scale;
  float fine_inverse = 1 / fine_scale, coarse_inverse = 1 / coarse_scale;
  struct ffb_deviation_sums sums = {0};
  for (int64_t start = 0; start < n; start += BLOCK) {
    int64_t end = n - start < BLOCK ? n : start + BLOCK;
    double xx[LANES] = {0}, xq[LANES] = {0}, qq[LANES] = {0};
    for (int64_t i = start; i < end; i++) {
      bool small = fabsf(x[i]) <= threshold;
      double value = x[i], q = clamped(rintf(x[i] * (small ? fine_inverse : coarse_inverse)), 63);
      q = small ? q : ldexp(q, exponent);
      int lane = (int)((i - start) % LANES);
      xx[lane] += value * value;
      xq[lane] += value * q;
      qq[lane] += q * q;
    }
    sums.xx += lanes_total(xx);
    sums.xq += lanes_total(xq);
    sums.qq += lanes_total(qq);
    executed->searched_elements += end - start;
  }
  return deviation_of(&sums);
}

bool ffb_counted_segment_search(struct ffb_executed *executed, const union ffb_arguments *arguments) {
  const struct ffb_segment_search *search = &arguments->segment_search;
  float coarse_scale = finite_maximum(NULL, search->x->data, ffb_elements(search->x)) / 63;
  executed->compared_elements += ffb_elements(search->x);
  /* Below this the finest scale has no finite reciprocal, and the tensor is as good as zero. */
  bool zero = ldexpf(coarse_scale, -7) < FLT_MIN;
  int best = 0;
  double least = zero ? 0 : 1;
  if (!zero && isfinite(coarse_scale)) {
    least = segments_deviation(search->x, coarse_scale, 0, executed);
    for (int exponent = 1; exponent < 8; exponent++) {
      double deviation = segments_deviation(search->x, coarse_scale, exponent, executed);
      if (deviation < least) {
        least = deviation;
        best = exponent;
      }
    }
  }
  *(float *)search->exponent->data = (float)best;
  *(float *)search->deviation->data = (float)least;
  return true;
}
