/* Goodness, and normalisation by it, of groups of channels in each row. */
#include "backends/cpu/device.h"
#include "backends/cpu/normalisation.h"
#include "backends/reduce.h"

#include <math.h>
#include <string.h>

static struct ffb_cpu_span my_rows(int64_t rows) {
  return ffb_cpu_share(rows, 1, omp_get_num_threads(), omp_get_thread_num());
}

/* Groups of channels of a row: ranges of a matrix's columns, of an image those channels at every pixel. */
struct groups {
  const struct ffb_cpu_kernels *kernels;
  int64_t columns, channels, pixels; /* of a row; one group is the whole row, in one sequence */
  int count;
  float *scratch; /* a number for each channel, for each thread; null for one group */
};

/* `more` floats of scratch follow the channels', where `rest` is given. */
static bool make_groups(struct ffb_device *device, const struct ffb_tensor *x, int count, struct groups *groups,
                        int64_t more, float **rest) {
  int64_t columns = ffb_columns(x), channels = count == 1 ? columns : ffb_channels(x);
  *groups = (struct groups){device->kernels, columns, channels, columns / channels, count, NULL};
  int64_t own = count == 1 ? 0 : device->threads * channels;
  if (own + more == 0)
    return true;
  float *scratch = ffb_cpu_scratch(device, NULL, (size_t)(own + more) * sizeof(float));
  groups->scratch = count == 1 ? NULL : scratch;
  if (rest && scratch)
    *rest = scratch + own;
  return scratch != NULL;
}

static float *my_channels(const struct groups *groups) {
  return groups->scratch ? groups->scratch + omp_get_thread_num() * groups->channels : NULL;
}

static struct ffb_cpu_span group_channels(const struct groups *groups, int g) {
  return (struct ffb_cpu_span){ffb_group_start(groups->channels, groups->count, g),
                               ffb_group_start(groups->channels, groups->count, g + 1)};
}

static float group_size(const struct groups *groups, int g) {
  struct ffb_cpu_span span = group_channels(groups, g);
  return (float)((span.end - span.begin) * groups->pixels);
}

/* Before the groups of a row are summed: sums of each of its channels. */
static void sum_channels(const struct groups *groups, const float *row) {
  if (groups->scratch)
    groups->kernels->normalisation->channel_squares(my_channels(groups), row, groups->channels, groups->pixels);
}

static float group_squares(const struct groups *groups, const float *row, int g) {
  struct ffb_cpu_span span = group_channels(groups, g);
  if (!groups->scratch)
    return groups->kernels->dot_product(row + span.begin, row + span.begin, span.end - span.begin);
  const float *sums = my_channels(groups) + span.begin;
  const int64_t n = span.end - span.begin, whole = n - n % FFB_REDUCE_LANES;
  float lane[FFB_REDUCE_LANES] = {0};
  for (int64_t c = 0; c < whole; c += FFB_REDUCE_LANES) {
    for (int i = 0; i < FFB_REDUCE_LANES; i++)
      lane[i] += sums[c + i];
  }
  for (int64_t c = whole; c < n; c++)
    lane[c - whole] += sums[c];
  return ffb_reduce_lanes(lane);
}

/* out = row * factor of the group (+ out), once the last group's factor has come. */
static void scale_group(const struct groups *groups, float *out, const float *row, int g, float factor,
                        bool accumulate) {
  struct ffb_cpu_span span = group_channels(groups, g);
  if (!groups->scratch) {
    groups->kernels->scale(out + span.begin, row + span.begin, span.end - span.begin, factor, accumulate);
    return;
  }
  float *factors = my_channels(groups);
  for (int64_t c = span.begin; c < span.end; c++)
    factors[c] = factor;
  if (g == groups->count - 1)
    groups->kernels->normalisation->scale_channels(out, row, factors, groups->channels, groups->pixels, accumulate);
}

/* What the groups of row m are multiplied by. */
static void row_factors(const struct groups *groups, const struct ffb_normalise *normalise, int64_t m, float *factors) {
  const float *x = (const float *)normalise->x->data + m * groups->columns;
  const float *known = normalise->goodness ? (const float *)normalise->goodness->data + m * groups->count : NULL;
  if (!known)
    sum_channels(groups, x);
  for (int g = 0; g < groups->count; g++) {
    float squares = known ? known[g] : group_squares(groups, x, g);
    if (normalise->kind == FFB_NORMALISE_RMS && !(known && normalise->mean))
      squares /= group_size(groups, g);
    factors[g] = 1 / (sqrtf(squares) + 1e-8f);
  }
}

/* The factors of all rows: where they are asked for, else in scratch. */
static bool make_factors(struct ffb_device *device, const struct ffb_normalise *normalise, struct groups *groups,
                         float **factors) {
  int64_t count = ffb_rows(normalise->x) * normalise->groups;
  if (!make_groups(device, normalise->x, normalise->groups, groups, normalise->inverse ? 0 : count, factors))
    return false;
  if (normalise->inverse)
    *factors = normalise->inverse->data;
  return *factors != NULL;
}

bool ffb_cpu_normalise(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise *normalise = &arguments->normalise;
  struct groups groups;
  float *factors = NULL;
  if (!make_factors(device, normalise, &groups, &factors))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(normalise->x)))
  {
    struct ffb_cpu_span share = my_rows(ffb_rows(normalise->x));
    for (int64_t m = share.begin; m < share.end; m++) {
      const int64_t at = m * groups.columns;
      row_factors(&groups, normalise, m, factors + m * groups.count);
      for (int g = 0; g < groups.count; g++)
        scale_group(&groups, (float *)normalise->y->data + at, (const float *)normalise->x->data + at, g,
                    factors[m * groups.count + g], false);
    }
  }
  return true;
}

/* ---- normalised and quantised in one -------------------------------------------------------------------------- */

/* Normalised elements of a tensor, some at a time. */
struct normalised {
  const struct groups *groups;
  const float *x, *factors; /* [M][F], [M][groups] */
  int64_t row;              /* whose factors this thread has spread over the channels, or -1 */
};

static void spread_factors(struct normalised *from, int64_t row) {
  if (from->row == row)
    return;
  const struct groups *groups = from->groups;
  float *to = my_channels(groups);
  for (int g = 0; g < groups->count; g++) {
    struct ffb_cpu_span span = group_channels(groups, g);
    for (int64_t c = span.begin; c < span.end; c++)
      to[c] = from->factors[row * groups->count + g];
  }
  from->row = row;
}

/* Elements begin .. end - 1, which lie in one row. */
static void scale_part(struct normalised *from, float *out, int64_t begin, int64_t end) {
  const struct groups *groups = from->groups;
  const int64_t channels = groups->channels, row = begin / groups->columns;
  if (!groups->scratch) {
    groups->kernels->scale(out, from->x + begin, end - begin, from->factors[row], false);
    return;
  }
  spread_factors(from, row);
  for (int64_t at = begin, next = 0; at < end; at = next) {
    int64_t c = at % channels, pixels = c ? 0 : (end - at) / channels;
    next = pixels ? at + pixels * channels : at + channels - c < end ? at + channels - c : end;
    groups->kernels->normalisation->scale_channels(out + (at - begin), from->x + at, my_channels(groups) + c,
                                                   pixels ? channels : next - at, pixels ? pixels : 1, false);
  }
}

static void scale_piece(struct normalised *from, float *piece, int64_t begin, int64_t end) {
  const int64_t columns = from->groups->columns;
  for (int64_t at = begin, next = 0; at < end; at = next) {
    next = at - at % columns + columns < end ? at - at % columns + columns : end;
    scale_part(from, piece + (at - begin), at, next);
  }
}

/* Elements that stay in the nearest cache; a multiple of what the quantiser takes at once. */
enum { PIECE = 1024 };

static uint32_t largest_normalised(struct normalised from, struct ffb_cpu_span share) {
  uint32_t largest = 0;
  float piece[PIECE];
  for (int64_t at = share.begin; at < share.end; at += PIECE) {
    int64_t n = share.end - at < PIECE ? share.end - at : PIECE;
    scale_piece(&from, piece, at, at + n);
    uint32_t bits = from.groups->kernels->absmax_f32(piece, n);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

static void quantise_normalised(struct normalised from, const struct ffb_suq_quantise *suq, struct ffb_cpu_span share) {
  const struct ffb_cpu_rounding rounding = ffb_cpu_rounding_of(suq->rounding, suq->seed, suq->purpose, suq->step);
  const float reciprocal = 1 / ffb_cpu_scalar(suq->scale);
  float piece[PIECE];
  for (int64_t at = share.begin; at < share.end; at += PIECE) {
    int64_t n = share.end - at < PIECE ? share.end - at : PIECE;
    scale_piece(&from, piece, at, at + n);
    from.groups->kernels->quantise((int8_t *)suq->q->data + at, piece, n, reciprocal, &rounding, (uint64_t)at);
  }
}

bool ffb_cpu_normalise_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise_s8 *both = &arguments->normalise_s8;
  const struct ffb_tensor *x = both->normalise.x;
  struct groups groups;
  float *factors = NULL;
  uint32_t largest = 0;
  if (!make_factors(device, &both->normalise, &groups, &factors))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(x)))
  {
    struct ffb_cpu_span rows = my_rows(ffb_rows(x));
    struct ffb_cpu_span share =
        ffb_cpu_share(ffb_elements(x), FFB_CPU_CHUNK, omp_get_num_threads(), omp_get_thread_num());
    for (int64_t m = rows.begin; m < rows.end; m++)
      row_factors(&groups, &both->normalise, m, factors + m * groups.count);
#pragma omp barrier
    struct normalised from = {.groups = &groups, .x = x->data, .factors = factors, .row = -1};
    ffb_cpu_join_scale(&both->scale, both->scale.range == FFB_RANGE_ABSMAX ? largest_normalised(from, share) : 0,
                       &largest);
    quantise_normalised(from, &both->quantise, share);
  }
  return true;
}

/* ---- goodness ------------------------------------------------------------------------------------------------- */

typedef void row_function(const struct groups *groups, const union ffb_arguments *arguments, int64_t m);

/* Threads share whole rows of y. */
static bool for_rows(struct ffb_device *device, const struct ffb_tensor *y, int count, row_function *function,
                     const union ffb_arguments *arguments) {
  struct groups groups;
  if (!make_groups(device, y, count, &groups, 0, NULL))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(y)))
  {
    struct ffb_cpu_span share = my_rows(ffb_rows(y));
    for (int64_t m = share.begin; m < share.end; m++)
      function(&groups, arguments, m);
  }
  return true;
}

static void goodness_row(const struct groups *groups, const union ffb_arguments *arguments, int64_t m) {
  const struct ffb_goodness *goodness = &arguments->goodness;
  const float *y = (const float *)goodness->y->data + m * groups->columns;
  float *out = (float *)goodness->goodness->data + m * groups->count;
  sum_channels(groups, y);
  for (int g = 0; g < groups->count; g++) {
    float value = group_squares(groups, y, g);
    if (goodness->mean)
      value /= group_size(groups, g);
    out[g] = goodness->accumulate ? out[g] + value : value;
  }
}

bool ffb_cpu_goodness(struct ffb_device *device, const union ffb_arguments *arguments) {
  return for_rows(device, arguments->goodness.y, arguments->goodness.groups, goodness_row, arguments);
}

static void goodness_gradient_row(const struct groups *groups, const union ffb_arguments *arguments, int64_t m) {
  const struct ffb_goodness_gradient *goodness = &arguments->goodness_gradient;
  const float *gradient = (const float *)goodness->gradient->data + m * groups->count;
  int64_t at = m * groups->columns;
  for (int g = 0; g < groups->count; g++) {
    float factor = gradient[g] * 2;
    if (goodness->mean)
      factor /= group_size(groups, g);
    scale_group(groups, (float *)goodness->gy->data + at, (const float *)goodness->y->data + at, g, factor,
                goodness->accumulate);
  }
}

bool ffb_cpu_goodness_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  return for_rows(device, arguments->goodness_gradient.y, arguments->goodness_gradient.groups, goodness_gradient_row,
                  arguments);
}
