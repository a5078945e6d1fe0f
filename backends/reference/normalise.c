#include "backends/reduce.h"
#include "backends/reference/group.h"
#include "backends/reference/reference.h"

#include <math.h>

static const float smallest = 1e-8f;

bool ffb_reference_normalise(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_normalise *normalise = &arguments->normalise;
  float *y = normalise->y->data, *inverse = normalise->inverse ? normalise->inverse->data : NULL;
  const float *x = normalise->x->data, *known = normalise->goodness ? normalise->goodness->data : NULL;
  int64_t rows = ffb_rows(normalise->x), columns = ffb_columns(normalise->x);
  int groups = normalise->groups;
  for (int64_t m = 0; m < rows; m++) {
    for (int g = 0; g < groups; g++) {
      struct ffb_group group = ffb_group_of(normalise->x, groups, g);
      float squares = known ? known[m * groups + g] : ffb_group_sum_squares(x + m * columns, &group);
      if (normalise->kind == FFB_NORMALISE_RMS && !(known && normalise->mean))
        squares /= (float)ffb_group_size(&group);
      float factor = 1 / (sqrtf(squares) + smallest);
      for (int64_t j = 0; j < ffb_group_size(&group); j++) {
        int64_t i = m * columns + ffb_group_element(&group, j);
        y[i] = x[i] * factor;
      }
      if (inverse)
        inverse[m * groups + g] = factor;
    }
  }
  return true;
}

bool ffb_reference_normalise_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  (void)device;
  const struct ffb_normalise_gradient *normalise = &arguments->normalise_gradient;
  float *gx = normalise->gx->data;
  const float *gy = normalise->gy->data, *y = normalise->y->data, *inverse = normalise->inverse->data;
  int64_t rows = ffb_rows(normalise->y), columns = ffb_columns(normalise->y);
  float k = normalise->kind == FFB_NORMALISE_RMS ? 1 / (float)columns : 1;
  for (int64_t m = 0; m < rows; m++) {
    int64_t row = m * columns;
    float along = ffb_reduce_dot(gy + row, y + row, columns) * k;
    for (int64_t i = row; i < row + columns; i++)
      gx[i] = inverse[m] * (gy[i] - y[i] * along);
  }
  return true;
}
