/* A group of channels of one row: a range of a matrix's columns, of an image those channels at every pixel. */
#ifndef FFBENCH_BACKENDS_REFERENCE_GROUP_H
#define FFBENCH_BACKENDS_REFERENCE_GROUP_H

#include "backends/backend.h"
#include "backends/reduce.h"

struct ffb_group {
  int64_t pixels, channels; /* of the row */
  int64_t start, width;     /* channels of the group */
};

static inline struct ffb_group ffb_group_of(const struct ffb_tensor *x, int groups, int g) {
  int64_t columns = ffb_columns(x);
  /* One group is the whole row, in one sequence. */
  int64_t channels = groups == 1 ? columns : ffb_channels(x);
  int64_t start = ffb_group_start(channels, groups, g);
  return (struct ffb_group){columns / channels, channels, start, ffb_group_start(channels, groups, g + 1) - start};
}

static inline int64_t ffb_group_size(const struct ffb_group *group) {
  return group->pixels * group->width;
}

/* Column of the group's element j. */
static inline int64_t ffb_group_element(const struct ffb_group *group, int64_t j) {
  return j / group->width * group->channels + group->start + j % group->width;
}

/* In the order that backend.h gives for NORMALISE. */
static inline float ffb_group_sum_squares(const float *row, const struct ffb_group *group) {
  float lane[FFB_REDUCE_LANES] = {0};
  for (int64_t c = 0; c < group->width; c++) {
    float sum = 0;
    for (int64_t p = 0; p < group->pixels; p++) {
      float x = row[p * group->channels + group->start + c];
      sum += x * x;
    }
    lane[c % FFB_REDUCE_LANES] += sum;
  }
  return ffb_reduce_lanes(lane);
}

#endif
