/* Clocks, heat, throttling and power mode of a made-up machine. */
#include "harness/meters/conditions.h"
#include "tests/fake_machine.h"

#define ZONE    "class/thermal/thermal_zone"
#define COOLING "class/thermal/cooling_device"
#define CPU     "devices/system/cpu/cpu"

static void write_clock(const struct world *world, int cpu, long long now, long long lowest, long long highest) {
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/scaling_cur_freq", now);
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/scaling_min_freq", lowest);
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/scaling_max_freq", highest);
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/cpuinfo_max_freq", 1510000);
}

static struct meter_conditions_watch *start(struct world *world) {
  struct ffb_error error = {0};
  struct meter_conditions_watch *watch = meter_conditions_start(&world->system, 0, &error);
  assert_non_null(watch);
  return watch;
}

static void a_bare_machine_says_nothing(void **state) {
  struct meter_conditions seen;
  struct meter_conditions_watch *watch = start(*state);
  meter_conditions_look(watch);
  meter_conditions_read(watch, &seen);
  assert_int_equal(seen.samples, 2);
  assert_true(isnan(seen.mean_megahertz) && isnan(seen.minimum_megahertz) && isnan(seen.highest_celsius));
  assert_false(seen.throttling_known || seen.throttled || seen.clocks_known);
  assert_string_equal(seen.power_mode, "");
  meter_conditions_stop(watch);
}

static void clocks_and_heat_are_followed(void **state) {
  struct world *world = *state;
  struct meter_conditions seen;
  char zone[32];
  assert_true(isnan(meter_hottest_celsius(&world->system, zone)));
  write_file(world, ZONE "0/type", "cpu-thermal");
  write_file(world, ZONE "0/temp", "48500");
  write_file(world, ZONE "1/type", "gpu-thermal");
  write_file(world, ZONE "1/temp", "51000");
  write_file(world, ZONE "2/type", "PMIC-Die");
  write_file(world, ZONE "2/temp", "-256000"); /* its sensor is off */
  write_clock(world, 0, 1000000, 115200, 1510000);
  write_clock(world, 1, 1400000, 115200, 1510000);
  write_file(world, "nvpmodel/status", "pmode:0002");
  world->system.state = world->root;
  assert_near(meter_hottest_celsius(&world->system, zone), 51, 1e-12);
  assert_string_equal(zone, "gpu-thermal");
  struct meter_conditions_watch *watch = start(world);
  write_file(world, ZONE "0/temp", "71250");
  write_clock(world, 0, 600000, 115200, 1510000);
  write_clock(world, 1, 1000000, 115200, 1510000);
  meter_conditions_look(watch);
  write_file(world, ZONE "0/temp", "60000");
  meter_conditions_look(watch);
  meter_conditions_read(watch, &seen);
  assert_int_equal(seen.samples, 3);
  assert_near(seen.minimum_megahertz, 800, 1e-12);
  assert_near(seen.maximum_megahertz, 1200, 1e-12);
  assert_near(seen.mean_megahertz, (1200 + 800 + 800) / 3.0, 1e-12);
  assert_near(seen.limit_megahertz, 1510, 1e-12);
  assert_near(seen.first_celsius, 51, 1e-12);
  assert_near(seen.highest_celsius, 71.25, 1e-12);
  assert_string_equal(seen.hottest, "cpu-thermal");
  assert_true(seen.clocks_known && !seen.clocks_fixed);
  assert_string_equal(seen.power_mode, "pmode:0002");
  meter_conditions_stop(watch);
}

static void fixed_clocks_are_told(void **state) {
  struct world *world = *state;
  struct meter_conditions seen;
  write_clock(world, 0, 1510000, 1510000, 1510000);
  write_clock(world, 1, 1510000, 1510000, 1510000);
  struct meter_conditions_watch *watch = start(world);
  meter_conditions_read(watch, &seen);
  assert_true(seen.clocks_fixed);
  write_clock(world, 1, 1510000, 115200, 1510000); /* somebody let them loose */
  meter_conditions_look(watch);
  meter_conditions_read(watch, &seen);
  assert_false(seen.clocks_fixed);
  meter_conditions_stop(watch);
}

static void throttling_is_flagged(void **state) {
  struct world *world = *state;
  static const struct {
    const char *type, *type_text, *file, *before, *during, *said;
    bool throttled;
  } cases[] = {
      {COOLING "0/type", "pwm-fan", COOLING "0/cur_state", "0", "3", "", false},
      {COOLING "0/type", "cpu-throttle-alert", COOLING "0/cur_state", "0", "1", "cpu-throttle-alert", true},
      {COOLING "0/type", "Processor", COOLING "0/cur_state", "0", "2", "Processor", true},
      {"class/hwmon/hwmon2/name", "soctherm_oc", "class/hwmon/hwmon2/oc3_event_cnt", "7", "7", "", false},
      {"class/hwmon/hwmon2/name", "soctherm_oc", "class/hwmon/hwmon2/oc3_event_cnt", "7", "9", "over-current", true},
      {CPU "0/online", "1", CPU "0/thermal_throttle/core_throttle_count", "40", "41", "heat", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct meter_conditions seen;
    write_file(world, cases[i].type, cases[i].type_text);
    write_file(world, cases[i].file, cases[i].before);
    struct meter_conditions_watch *watch = start(world);
    meter_conditions_read(watch, &seen);
    assert_false(seen.throttled);
    write_file(world, cases[i].file, cases[i].during);
    meter_conditions_look(watch);
    write_file(world, cases[i].file, cases[i].before); /* over, and not forgotten */
    meter_conditions_look(watch);
    meter_conditions_read(watch, &seen);
    assert_int_equal(seen.throttled, cases[i].throttled);
    assert_contains(seen.throttled_by, cases[i].said);
    meter_conditions_stop(watch);
  }
}

static void the_thread_starts_and_stops(void **state) {
  struct world *world = *state;
  struct meter_conditions seen;
  struct ffb_error error;
  struct meter_conditions_watch *watch = meter_conditions_start(&world->system, 1, &error);
  assert_non_null(watch);
  meter_conditions_read(watch, &seen);
  assert_true(seen.samples >= 1);
  meter_conditions_stop(watch); /* at once, not at the end of the second */
  meter_conditions_stop(NULL);
}

#define ON_FAKE_TREE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ON_FAKE_TREE(a_bare_machine_says_nothing), ON_FAKE_TREE(clocks_and_heat_are_followed),
      ON_FAKE_TREE(fixed_clocks_are_told),       ON_FAKE_TREE(throttling_is_flagged),
      ON_FAKE_TREE(the_thread_starts_and_stops),
  };
  return cmocka_run_group_tests_name("conditions", tests, NULL, NULL);
}
