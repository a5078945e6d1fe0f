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
  int64_t size, larger; /* channels of a group; so many of the first groups have one more */
  float *scratch;       /* a number for each channel of FFB_CPU_IMAGES rows, for each thread; null for one group */
};

/* `more` floats of scratch follow the channels', where `rest` is given. */
static bool make_groups(struct ffb_device *device, const struct ffb_tensor *x, int count, struct groups *groups,
                        int64_t more, float **rest) {
  int64_t columns = ffb_columns(x), channels = count == 1 ? columns : ffb_channels(x);
  *groups = (struct groups){.kernels = device->kernels,
                            .columns = columns,
                            .channels = channels,
                            .pixels = columns / channels,
                            .count = count,
                            .size = channels / count,
                            .larger = channels % count};
  int64_t own = count == 1 ? 0 : device->threads * FFB_CPU_IMAGES * channels;
  if (own + more == 0)
    return true;
  float *scratch = ffb_cpu_scratch(device, NULL, (size_t)(own + more) * sizeof(float));
  groups->scratch = count == 1 ? NULL : scratch;
  if (rest && scratch)
    *rest = scratch + own;
  return scratch != NULL;
}

static float *my_channels(const struct groups *groups) {
  return groups->scratch ? groups->scratch + omp_get_thread_num() * FFB_CPU_IMAGES * groups->channels : NULL;
}

/* As ffb_group_start, without its divisions: groups are many and small. */
static struct ffb_cpu_span group_channels(const struct groups *groups, int g) {
  int64_t begin = g * groups->size + (g < groups->larger ? g : groups->larger);
  return (struct ffb_cpu_span){begin, begin + groups->size + (g < groups->larger)};
}

static float group_size(const struct groups *groups, int g) {
  struct ffb_cpu_span span = group_channels(groups, g);
  return (float)((span.end - span.begin) * groups->pixels);
}

/* Before the groups of some rows are summed, at most FFB_CPU_IMAGES: sums of each of their channels. */
static void sum_channels(const struct groups *groups, const float *x, int64_t rows) {
  if (groups->scratch)
    groups->kernels->normalisation->channel_squares(my_channels(groups), x, groups->channels, groups->pixels, rows);
}

/* As reduce.h adds them; sums that are not there are 0 and need not be added. */
static float sum_of(const float *sums, int64_t n) {
  float lane[FFB_REDUCE_LANES] = {0};
  if (n > FFB_REDUCE_LANES) {
    const int64_t whole = n - n % FFB_REDUCE_LANES;
    for (int64_t c = 0; c < whole; c += FFB_REDUCE_LANES) {
      for (int i = 0; i < FFB_REDUCE_LANES; i++)
        lane[i] += sums[c + i];
    }
    for (int64_t c = whole; c < n; c++)
      lane[c - whole] += sums[c];
    return ffb_reduce_lanes(lane);
  }
  memcpy(lane, sums, (size_t)n * sizeof *lane);
  for (int64_t width = FFB_REDUCE_LANES / 2; width; width /= 2) {
    for (int64_t i = 0; i + width < n; i++)
      lane[i] += lane[i + width];
    n = width < n ? width : n;
  }
  return lane[0];
}

/* Of row r of those that were summed; x is the first of them. */
static float group_squares(const struct groups *groups, const float *x, int64_t r, int g) {
  struct ffb_cpu_span span = group_channels(groups, g);
  const float *row = x + r * groups->columns;
  if (!groups->scratch)
    return groups->kernels->dot_product(row + span.begin, row + span.begin, span.end - span.begin);
  return sum_of(my_channels(groups) + r * groups->channels + span.begin, span.end - span.begin);
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

static int64_t some_rows(int64_t m, int64_t end) {
  return end - m < FFB_CPU_IMAGES ? end - m : FFB_CPU_IMAGES;
}

/* What the groups of this thread's rows are multiplied by. */
static void my_factors(const struct groups *groups, const struct ffb_normalise *normalise, struct ffb_cpu_span rows,
                       float *factors) {
  const float *known = normalise->goodness ? normalise->goodness->data : NULL;
  for (int64_t m = rows.begin, some = 0; m < rows.end; m += some) {
    const float *x = (const float *)normalise->x->data + m * groups->columns;
    some = some_rows(m, rows.end);
    if (!known)
      sum_channels(groups, x, some);
    for (int64_t i = 0; i < some * groups->count; i++) {
      int64_t at = m * groups->count + i;
      int g = (int)(i % groups->count);
      float squares = known ? known[at] : group_squares(groups, x, i / groups->count, g);
      if (normalise->kind == FFB_NORMALISE_RMS && !(known && normalise->mean))
        squares /= group_size(groups, g);
      factors[at] = 1 / (sqrtf(squares) + 1e-8f);
    }
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
    my_factors(&groups, normalise, share, factors);
    for (int64_t m = share.begin; m < share.end; m++) {
      const int64_t at = m * groups.columns;
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

/* Of this thread's rows: a product grows with its factor, so that the largest value has the largest product. */
static uint32_t largest_normalised(const struct normalised *from, struct ffb_cpu_span rows) {
  const struct groups *groups = from->groups;
  float *sizes = my_channels(groups);
  uint32_t largest = 0;
  for (int64_t m = rows.begin; m < rows.end; m++) {
    const float *x = from->x + m * groups->columns;
    if (sizes)
      groups->kernels->normalisation->channel_largest(sizes, x, groups->channels, groups->pixels);
    for (int g = 0; g < groups->count; g++) {
      struct ffb_cpu_span span = group_channels(groups, g);
      uint32_t bits = groups->kernels->absmax_f32((sizes ? sizes : x) + span.begin, span.end - span.begin);
      float size;
      memcpy(&size, &bits, sizeof size);
      size *= from->factors[m * groups->count + g];
      memcpy(&bits, &size, sizeof bits);
      bits &= INT32_MAX; /* of a NaN the sign is open */
      largest = bits > largest ? bits : largest;
    }
  }
  return largest;
}

/* Elements that stay in the nearest cache; a multiple of what the quantiser takes at once. */
enum { PIECE = 1024 };

/* Elements begin .. end - 1 of the tensor, whatever rows they lie in. */
static void quantise_part(struct normalised *from, const struct ffb_suq_quantise *suq,
                          const struct ffb_cpu_rounding *rounding, float reciprocal, struct ffb_cpu_span share) {
  float piece[PIECE];
  for (int64_t at = share.begin; at < share.end; at += PIECE) {
    int64_t n = share.end - at < PIECE ? share.end - at : PIECE;
    scale_piece(from, piece, at, at + n);
    from->groups->kernels->quantise((int8_t *)suq->q->data + at, piece, n, reciprocal, rounding, (uint64_t)at);
  }
}

/* Rows as they lie, where no random numbers are to be drawn in blocks. */
static void quantise_rows(struct normalised *from, const struct ffb_suq_quantise *suq, float reciprocal,
                          struct ffb_cpu_span rows) {
  const struct groups *groups = from->groups;
  for (int64_t m = rows.begin; m < rows.end; m++) {
    spread_factors(from, m);
    groups->kernels->normalisation->scale_channels_nearest((int8_t *)suq->q->data + m * groups->columns,
                                                           from->x + m * groups->columns, my_channels(groups),
                                                           groups->channels, groups->pixels, reciprocal);
  }
}

bool ffb_cpu_normalise_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_normalise_s8 *both = &arguments->normalise_s8;
  const struct ffb_suq_quantise *suq = &both->quantise;
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
    struct ffb_cpu_rounding rounding = ffb_cpu_rounding_of(suq->rounding, suq->seed, suq->purpose, suq->step);
    struct normalised from = {.groups = &groups, .x = x->data, .factors = factors, .row = -1};
    my_factors(&groups, &both->normalise, rows, factors);
    float scale = ffb_cpu_join_scale(
        &both->scale, both->scale.range == FFB_RANGE_ABSMAX ? largest_normalised(&from, rows) : 0, &largest);
    if (groups.scratch && !rounding.stochastic)
      quantise_rows(&from, suq, 1 / scale, rows);
    else
      quantise_part(&from, suq, &rounding, 1 / scale, share);
  }
  return true;
}

/* ---- goodness ------------------------------------------------------------------------------------------------- */

typedef void rows_function(const struct groups *groups, const union ffb_arguments *arguments, struct ffb_cpu_span rows);

/* Threads share whole rows of y. */
static bool for_rows(struct ffb_device *device, const struct ffb_tensor *y, int count, rows_function *function,
                     const union ffb_arguments *arguments) {
  struct groups groups;
  if (!make_groups(device, y, count, &groups, 0, NULL))
    return false;
#pragma omp parallel num_threads(ffb_cpu_threads_for(device, ffb_elements(y)))
  function(&groups, arguments, my_rows(ffb_rows(y)));
  return true;
}

static void goodness_rows(const struct groups *groups, const union ffb_arguments *arguments, struct ffb_cpu_span rows) {
  const struct ffb_goodness *goodness = &arguments->goodness;
  for (int64_t m = rows.begin, some = 0; m < rows.end; m += some) {
    const float *y = (const float *)goodness->y->data + m * groups->columns;
    float *out = (float *)goodness->goodness->data + m * groups->count;
    some = some_rows(m, rows.end);
    sum_channels(groups, y, some);
    for (int64_t i = 0; i < some * groups->count; i++) {
      int g = (int)(i % groups->count);
      float value = group_squares(groups, y, i / groups->count, g);
      if (goodness->mean)
        value /= group_size(groups, g);
      out[i] = goodness->accumulate ? out[i] + value : value;
    }
  }
}

bool ffb_cpu_goodness(struct ffb_device *device, const union ffb_arguments *arguments) {
  return for_rows(device, arguments->goodness.y, arguments->goodness.groups, goodness_rows, arguments);
}

static void goodness_gradient_rows(const struct groups *groups, const union ffb_arguments *arguments,
                                   struct ffb_cpu_span rows) {
  const struct ffb_goodness_gradient *goodness = &arguments->goodness_gradient;
  for (int64_t m = rows.begin; m < rows.end; m++) {
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
}

bool ffb_cpu_goodness_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  return for_rows(device, arguments->goodness_gradient.y, arguments->goodness_gradient.groups, goodness_gradient_rows,
                  arguments);
}
