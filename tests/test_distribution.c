/* Statistics of a list of numbers against closed forms, hand-made lists and the backends' own rounding. */
#include "backends/backend.h"
#include "base/random.h"
#include "harness/distribution.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(list) (sizeof(list) / sizeof *(list))
#define CLOSE(got, wanted, tolerance)                                                                                  \
  do {                                                                                                                 \
    double got_ = (got), wanted_ = (wanted);                                                                           \
    if (!(fabs(got_ - wanted_) <= (tolerance)))                                                                        \
      fail_msg("%s is %.17g, want %.17g", #got, got_, wanted_);                                                        \
  } while (0)

static struct distribution describe(const float *values, size_t count, double limit) {
  struct distribution d;
  struct ffb_error error;
  if (!distribution_of(values, count, limit, &d, &error))
    fail_msg("%s", error.message);
  size_t inside = 0;
  for (size_t i = 0; i < DISTRIBUTION_BINS; i++)
    inside += d.bins[i];
  if (!d.not_finite)
    assert_int_equal(inside + d.outside + d.zeros, count);
  return d;
}

static void small_list_by_hand(void **state) {
  (void)state;
  /* mean 1; deviations -3 -1 0 1 3 and their squares 9 1 0 1 9, fourth powers 81 1 0 1 81. */
  static const float values[] = {-2, 0, 1, 2, 4};
  struct distribution d = describe(values, COUNT_OF(values), 0);
  assert_int_equal(d.values, 5);
  assert_int_equal(d.zeros, 1);
  assert_int_equal(d.not_finite, 0);
  CLOSE(d.mean, 1, 0);
  CLOSE(d.deviation, 2, 1e-15); /* 20 / 5 */
  CLOSE(d.kurtosis, 164.0 / 5 / 16 - 3, 1e-15);
  CLOSE(d.minimum, -2, 0);
  CLOSE(d.maximum, 4, 0);
  CLOSE(d.median_absolute, 2, 0); /* of 1 2 2 4 */
  CLOSE(d.largest_over_median, 2, 0);
  CLOSE(d.limit, 4, 0);
}

static void median_lies_between_the_middle_two(void **state) {
  (void)state;
  static const float even[] = {-8, 0, 1, -3, 0, 5}, odd[] = {1e-30f, -7, 0.5f}, one[] = {-3}, denormal[] = {1e-45f, 2};
  CLOSE(describe(even, COUNT_OF(even), 0).median_absolute, 4, 0); /* of 1 3 5 8 */
  CLOSE(describe(odd, COUNT_OF(odd), 0).median_absolute, 0.5, 0);
  CLOSE(describe(one, COUNT_OF(one), 0).median_absolute, 3, 0);
  CLOSE(describe(denormal, COUNT_OF(denormal), 0).median_absolute, ((double)1e-45f + 2) / 2, 0);
}

static int by_size(const void *left, const void *right) {
  float a = fabsf(*(const float *)left), b = fabsf(*(const float *)right);
  return a < b ? -1 : a > b;
}

/* Values over many powers of two, against a sorted copy. */
static void median_is_that_of_a_sorted_list(void **state) {
  (void)state;
  static float values[5001], sorted[5001];
  for (size_t count = 5000; count <= 5001; count++) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
      float size = ldexpf(ffb_random_uniform(7, 1, 0, i), (int)(ffb_random_bits(7, 2, 0, i) % 60) - 50);
      values[i] = i % 7 == 0 ? 0 : i % 2 ? size : -size;
      if (values[i] != 0)
        sorted[kept++] = values[i];
    }
    qsort(sorted, kept, sizeof *sorted, by_size);
    double wanted = (fabs((double)sorted[(kept - 1) / 2]) + fabs((double)sorted[kept / 2])) / 2;
    CLOSE(describe(values, count, 0).median_absolute, wanted, 0);
  }
}

/* Quantiles of known distributions at equal steps, whose moments converge to the closed forms. */
static void shapes_have_their_known_kurtosis(void **state) {
  (void)state;
  enum { COUNT = 1000001 };
  float *values = malloc(COUNT * sizeof *values);
  assert_non_null(values);
  for (int i = 0; i < COUNT; i++)
    values[i] = (float)((2.0 * i + 1) / COUNT - 1);
  struct distribution uniform = describe(values, COUNT, 1);
  CLOSE(uniform.kurtosis, -1.2, 1e-4);
  CLOSE(uniform.deviation, 1 / sqrt(3), 1e-5);
  CLOSE(uniform.median_absolute, 0.5, 1e-5);
  for (int i = 0; i < DISTRIBUTION_BINS; i++)
    CLOSE((double)uniform.bins[i], (double)COUNT / DISTRIBUTION_BINS, 2);
  for (int i = 0; i < COUNT; i++) {
    double u = (2.0 * i + 1) / COUNT - 1;
    values[i] = (float)(u < 0 ? log1p(u) : -log1p(-u)); /* Laplace: excess kurtosis 3, deviation sqrt 2, median ln 2 */
  }
  struct distribution laplace = describe(values, COUNT, 0);
  CLOSE(laplace.kurtosis, 3, 0.01);
  CLOSE(laplace.deviation, sqrt(2), 1e-4);
  CLOSE(laplace.median_absolute, log(2), 1e-5);
  CLOSE(laplace.mean, 0, 1e-6);
  free(values);
}

static void equal_and_empty_lists_have_no_shape(void **state) {
  (void)state;
  static const float equal[] = {3, 3, 3}, zeros[] = {0, -0.0f};
  struct distribution d = describe(equal, COUNT_OF(equal), 0);
  assert_true(isnan(d.kurtosis));
  CLOSE(d.deviation, 0, 0);
  CLOSE(d.largest_over_median, 1, 0);
  d = describe(zeros, COUNT_OF(zeros), 0);
  assert_int_equal(d.zeros, 2);
  assert_int_equal(d.rounded_to_zero, 0);
  assert_true(isnan(d.median_absolute) && isnan(d.largest_over_median));
  assert_true(isnan(describe(NULL, 0, 0).mean));
}

static void what_is_not_finite_is_counted(void **state) {
  (void)state;
  static const float values[] = {1, NAN, 0, INFINITY, -INFINITY};
  struct distribution d = describe(values, COUNT_OF(values), 2);
  assert_int_equal(d.not_finite, 3);
  assert_int_equal(d.zeros, 1);
  assert_int_equal(d.rounded_to_zero, 0);
  assert_true(isnan(d.mean) && isnan(d.deviation) && isnan(d.kurtosis) && isnan(d.median_absolute));
  assert_true(isnan(d.minimum) && isnan(d.maximum) && isnan(d.largest_over_median));
}

/* 129 bins from -129 to 129 are two wide each: the middle one from -1 to 1. */
static void histogram_has_its_edges_where_they_belong(void **state) {
  (void)state;
  static const float values[] = {-129, -127.5f, -126.5f, -1.5f, -0.5f, 0, 0.5f, 0.75f, 1.5f, 128, 129, 129.5f, -400};
  struct distribution d = describe(values, COUNT_OF(values), 129);
  assert_int_equal(d.bins[0], 2);
  assert_int_equal(d.bins[1], 1);
  assert_int_equal(d.bins[63], 1);
  assert_int_equal(d.bins[64], 3); /* not the zero */
  assert_int_equal(d.bins[65], 1);
  assert_int_equal(d.bins[128], 2); /* the limit itself belongs to the last */
  assert_int_equal(d.outside, 2);
}

/* With the largest at 127 the scale is 1, and a half goes to the even 0. */
static void int8_rounds_small_values_to_zero(void **state) {
  (void)state;
  static const float values[] = {127, 0.25f, -0.5f, 0.50001f, 0, -1, 0.49f, 1e-40f};
  assert_int_equal(describe(values, COUNT_OF(values), 0).rounded_to_zero, 4);
  /* A scale below what has a reciprocal counts as 1, as in the backends. */
  static const float tiny[] = {1e-40f, -1e-41f};
  assert_int_equal(describe(tiny, COUNT_OF(tiny), 0).rounded_to_zero, 2);
}

/* The same count as from the operators that training uses. */
static void int8_rounds_as_the_backends_do(void **state) {
  (void)state;
  enum { COUNT = 40000 };
  static float values[COUNT];
  static int8_t rounded[COUNT];
  float scale = 0;
  for (size_t i = 0; i < COUNT; i++)
    values[i] = powf(ffb_random_uniform(3, 1, 0, i), 6) * (i % 2 ? 0.013f : -0.017f) * (i % 5 != 0);
  struct ffb_tensor x = {.data = values, .type = FFB_F32, .shape = {COUNT, 1, 1, 1}};
  struct ffb_tensor q = {.data = rounded, .type = FFB_S8, .shape = {COUNT, 1, 1, 1}};
  struct ffb_tensor s = {.data = &scale, .type = FFB_F32, .shape = {1, 1, 1, 1}};
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t b = 0; b < COUNT_OF(backends); b++) {
    struct ffb_device *device;
    char message[256];
    size_t wanted = 0;
    assert_true(backends[b]->open(&device, &(struct ffb_device_request){.threads = 1}, message, sizeof message));
    union ffb_arguments range = {.suq_scale = {.scale = &s, .x = &x, .range = FFB_RANGE_ABSMAX}};
    union ffb_arguments quantise = {.suq_quantise = {.q = &q, .x = &x, .scale = &s, .rounding = FFB_ROUND_NEAREST}};
    assert_true(backends[b]->operators[FFB_SUQ_SCALE](device, &range));
    assert_true(backends[b]->operators[FFB_SUQ_QUANTISE](device, &quantise));
    for (size_t i = 0; i < COUNT; i++)
      wanted += values[i] != 0 && rounded[i] == 0;
    assert_true(wanted > COUNT / 10 && wanted < COUNT);
    assert_int_equal(describe(values, COUNT, 0).rounded_to_zero, wanted);
    backends[b]->close(device);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_list_by_hand),
      cmocka_unit_test(median_lies_between_the_middle_two),
      cmocka_unit_test(median_is_that_of_a_sorted_list),
      cmocka_unit_test(shapes_have_their_known_kurtosis),
      cmocka_unit_test(equal_and_empty_lists_have_no_shape),
      cmocka_unit_test(what_is_not_finite_is_counted),
      cmocka_unit_test(histogram_has_its_edges_where_they_belong),
      cmocka_unit_test(int8_rounds_small_values_to_zero),
      cmocka_unit_test(int8_rounds_as_the_backends_do),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
