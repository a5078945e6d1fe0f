/* The cpu backend's start: INT8 kernels that are not exact are found out. */
#include "backends/cpu/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ffb_device *device;
static const struct ffb_cpu_kernels *good;

/* What a 16-bit accumulator makes of a tile. */
static uint32_t saturating_tile(int count, int32_t *out, const int32_t *panel, const int32_t *rows, int64_t row_stride,
                                int64_t row_step, int64_t groups, const int32_t *start) {
  uint32_t largest = good->tile_s8(count, out, panel, rows, row_stride, row_step, groups, start);
  for (int i = 0; out && i < count * good->panel; i++)
    out[i] = out[i] > INT16_MAX ? INT16_MAX : out[i] < INT16_MIN ? INT16_MIN : out[i];
  return largest;
}

static void exact_kernels_pass(void **state) {
  (void)state;
  assert_true(ffb_cpu_self_test(device));
}

static void saturating_kernels_fail(void **state) {
  (void)state;
  struct ffb_cpu_kernels saturating = *good;
  saturating.tile_s8 = saturating_tile;
  device->kernels = &saturating;
  bool passed = ffb_cpu_self_test(device);
  device->kernels = good;
  assert_false(passed);
}

static int set_up(void **state) {
  (void)state;
  char message[256];
  if (!ffb_backend_cpu.open(&device, &(struct ffb_device_request){.threads = 2}, message, sizeof message))
    return -1;
  good = device->kernels;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ffb_backend_cpu.close(device);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(exact_kernels_pass), cmocka_unit_test(saturating_kernels_fail)};
  return cmocka_run_group_tests_name("cpu", tests, set_up, tear_down);
}
