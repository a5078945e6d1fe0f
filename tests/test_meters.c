/* The meters one by one, on a made-up machine; tests/test_meter_faults.c tries every fault. */
#include "base/memory.h"
#include "harness/meters/clock.h"
#include "harness/meters/memory.h"
#include "harness/meters/meter.h"
#include "harness/meters/window.h"
#include "tests/fake_machine.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- INA3221 ---- */

static void constant_power(void **state) {
  struct world *world = *state;
  write_orin_nano(world);
  struct meter_result result = measure(world, 60, 0.010);
  assert_true(result.measured);
  assert_near(result.joules, 7.52 * 60, 0.001);
  assert_near(result.mean_watts, 7.52, 0.001);
  assert_near(result.seconds, 60, 1e-9);
  assert_near(result.coverage, 1, 1e-9);
  assert_string_equal(result.source, "INA3221 hwmon");
  assert_string_equal(result.rail, "VDD_IN"); /* the module's total: its parts are not added */
  assert_near(result.interval_seconds, 0.010, 1e-12);
  assert_near(result.resolution, 5.0 * 0.008 + 1.504 * 0.008, 0.01);
  assert_true(result.samples > 5000);
  assert_int_equal(result.faults, 0);
  assert_string_equal(result.fault_text, "");
}

static long long ramp_milliamperes(double now) {
  return llround(1000 + 1000 * now);
}

static void ramp(void **state) {
  struct world *world = *state;
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/curr1_input", .value = ramp_milliamperes});
  struct meter_result result = measure(world, 10, 0.010);
  assert_near(result.joules, 5.0 * (1.0 * 10 + 1.0 * 10 * 10 / 2), 1e-4); /* trapezoids follow a line */
  assert_near(result.coverage, 1, 1e-9);
}

static long long square_milliamperes(double now) {
  return fmod(now, 0.5) < 0.2 ? 3000 : 800;
}

static void square_wave(void **state) {
  struct world *world = *state;
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/curr1_input", .value = square_milliamperes});
  struct meter_result result = measure(world, 20, 0.010);
  assert_near(result.joules, 20 * 5.0 * (0.4 * 3.0 + 0.6 * 0.8), 0.01);
}

static void module_is_a_sum_of_rails(void **state) {
  struct world *world = *state;
  write_hwmon(world, HWMON0, 1, "VDD_GPU_SOC", 19000, 400);
  write_hwmon(world, HWMON0, 2, "VDD_CPU_CV", 19000, 200);
  write_hwmon(world, HWMON0, 3, "VIN_SYS_5V0", 5000, 1000);
  write_hwmon(world, HWMON1, 1, "NC", 30000, 9999);
  write_hwmon(world, HWMON1, 2, "VDDQ_VDD2_1V8AO", 5000, 300); /* fed by VIN_SYS_5V0 */
  struct meter_result result = measure(world, 5, 0.010);
  assert_near(result.mean_watts, 19 * 0.4 + 19 * 0.2 + 5, 0.001);
  assert_string_equal(result.rail, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0");
}

static void old_driver(void **state) {
  struct world *world = *state;
  static const char *const labels[] = {"POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"};
  for (int i = 0; i < 3; i++) {
    char name[PATH];
    snprintf(name, sizeof name, IIO "/rail_name_%d", i);
    write_file(world, name, labels[i]);
    write_number(world, IIO, "in_voltage", i, "_input", 5000);
    write_number(world, IIO, "in_current", i, "_input", 600);
    write_number(world, IIO, "in_power", i, "_input", 2960 - 1000 * i);
  }
  struct meter_result result = measure(world, 5, 0.010);
  assert_near(result.joules, 2.96 * 5, 0.001);
  assert_string_equal(result.source, "INA3221 iio");
  assert_string_equal(result.rail, "POM_5V_IN");
}

static void renamed_rail(void **state) {
  struct world *world = *state;
  write_hwmon(world, HWMON0, 1, "VDD_OTHER", 5000, 1000);
  write_hwmon(world, HWMON0, 2, "NC", 5000, 1000);
  struct meter_result result = measure(world, 1, 0.010);
  assert_false(result.measured);
  assert_contains(result.reason, "VDD_OTHER, NC");
  assert_contains(result.reason, "VDD_IN");
}

/* Two of three rails must not pass for the module. */
static void missing_rail(void **state) {
  struct world *world = *state;
  write_hwmon(world, HWMON0, 1, "VDD_GPU_SOC", 19000, 400);
  write_hwmon(world, HWMON0, 3, "VIN_SYS_5V0", 5000, 1000);
  assert_false(measure(world, 1, 0.010).measured);
}

static void unreadable_rail(void **state) {
  struct world *world = *state;
  struct meter_report report;
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/curr1_input", .code = EACCES});
  meter_examine(&meter_ina3221, &world->system, &report);
  assert_int_equal(report.state, METER_UNREADABLE);
  assert_contains(report.problem.reason, "VDD_IN: curr1_input: permission denied");
  assert_contains(report.problem.remedy, "sudo chmod a+r ");
  assert_contains(report.problem.remedy, HWMON0 "/*_input");
}

static void channel_switched_off(void **state) {
  struct world *world = *state;
  struct meter_report report;
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/in1_input", .code = ENODATA});
  meter_examine(&meter_ina3221, &world->system, &report);
  assert_int_equal(report.state, METER_UNREADABLE);
  assert_contains(report.problem.remedy, "echo 1 | sudo tee ");
  assert_contains(report.problem.remedy, HWMON0 "/in1_enable");
}

/* Short faults of every kind: the sum reaches across them and stays right, and each is counted and named. */
static void short_faults(void **state) {
  struct world *world = *state;
  write_orin_nano(world);
  static const struct override faults[] = {
      {.suffix = "/curr1_input", .code = ETIMEDOUT, .from = 2, .until = 2.02},
      {.suffix = "/in1_input", .code = EIO, .from = 3, .until = 3.02},
      {.suffix = "/in1_input", .code = ENODATA, .from = 4, .until = 4.02},
      {.suffix = "/in1_input", .code = EACCES, .from = 5, .until = 5.02},
      {.suffix = "/curr1_input", .text = "12x", .from = 6, .until = 6.02},
      {.suffix = "/curr1_input", .text = "", .from = 7, .until = 7.02},
      {.suffix = "/curr1_input", .text = "99999999999999999999", .from = 8, .until = 8.02},
      {.suffix = "/curr1_input", .text = "9000000", .from = 9, .until = 9.02},
      {.suffix = "/curr1_input", .text = "-400", .from = 9.5, .until = 9.52},
  };
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    add_override(world, faults[i]);
  struct meter_result result = measure(world, 10, 0.010);
  assert_true(result.measured);
  assert_near(result.joules, 75.2, 0.001);
  assert_true(result.faults >= 9 && result.faults < 30);
  assert_true(result.coverage > 0.9 && result.coverage < 0.985);
  assert_near(result.coverage + result.bridged, 1, 1e-9);
  assert_contains(result.fault_text, "VDD_IN curr1_input: timed out");
  assert_contains(result.fault_text, "VDD_IN in1_input: input/output error");
  assert_contains(result.fault_text, "VDD_IN in1_input: no data");
  assert_contains(result.fault_text, "VDD_IN in1_input: permission denied");
  assert_contains(result.fault_text, "VDD_IN curr1_input: not a number");
  assert_contains(result.fault_text, "power outside its range");
}

static void long_fault_is_not_bridged(void **state) {
  struct world *world = *state;
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/curr1_input", .code = ETIMEDOUT, .from = 4, .until = 6});
  struct meter_result result = measure(world, 10, 0.010);
  assert_true(result.measured);
  assert_near(result.coverage, 0.8, 0.01);
  assert_near(result.joules, 7.52 * 8, 0.01); /* of what was seen, not of ten seconds */
  assert_near(result.mean_watts, 7.52, 0.001);
  assert_contains(result.fault_text, "1 x gap between readings, not bridged");
}

/* The reader is fine but does not get to run: no faulty reading, and still a hole. */
static void starved_sampler(void **state) {
  struct world *world = *state;
  struct meter_result result;
  write_orin_nano(world);
  struct meter_session *session = open_session(world);
  struct meter_window *window = open_window(session);
  meter_window_begin(window);
  run_for(world, window, 1, 0.010);
  world->now += 3;
  meter_window_sample(window);
  run_for(world, window, 1, 0.010);
  meter_window_end(window, &result);
  assert_near(result.coverage, 0.4, 0.02);
  assert_near(result.joules, 7.52 * 2, 0.02);
  assert_int_equal(result.faults, 1);
  meter_window_destroy(window);
  meter_session_close(session);
}

static void ina3221_vanishes(void **state) {
  struct world *world = *state;
  struct meter_result result;
  char path[PATH];
  write_orin_nano(world);
  struct meter_session *session = open_session(world);
  struct meter_window *window = open_window(session);
  meter_window_begin(window);
  run_for(world, window, 5, 0.010);
  snprintf(path, sizeof path, "%s/" HWMON0 "/in1_input", world->root);
  assert_int_equal(remove(path), 0);
  run_for(world, window, 5, 0.010);
  meter_window_end(window, &result);
  assert_true(result.measured);
  assert_near(result.coverage, 0.5, 0.01);
  assert_near(result.joules, 7.52 * 5, 0.01);
  assert_true(result.faults > 100);
  assert_contains(result.fault_text, "VDD_IN in1_input: the file is gone");

  /* A window in which it never came back has no number at all. */
  meter_window_begin(window);
  run_for(world, window, 1, 0.010);
  meter_window_end(window, &result);
  assert_false(result.measured);
  assert_contains(result.reason, "the file is gone");
  meter_window_destroy(window);
  meter_session_close(session);
}

/* Evaluation draws 50 W here and must not be seen. */
static long long training_milliamperes(double now) {
  return now > 2 && now < 5 ? 10000 : 1000;
}

static void pause_is_excluded(void **state) {
  struct world *world = *state;
  struct meter_result result;
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/curr1_input", .value = training_milliamperes});
  struct meter_session *session = open_session(world);
  struct meter_window *window = open_window(session);
  meter_window_begin(window);
  meter_window_resume(window); /* runs already: no effect */
  run_for(world, window, 2, 0.010);
  meter_window_pause(window);
  meter_window_pause(window);
  meter_window_result(window, &result);
  assert_near(result.joules, 10, 0.001);
  uint64_t samples = result.samples;
  run_for(world, window, 3, 0.010);
  meter_window_result(window, &result);
  assert_int_equal(result.samples, samples);
  meter_window_resume(window);
  run_for(world, window, 4, 0.010);
  meter_window_end(window, &result);
  assert_near(result.seconds, 6, 1e-9);
  assert_near(result.joules, 30, 0.001);
  assert_near(result.coverage, 1, 1e-9);
  assert_int_equal(result.faults, 0); /* a pause is no gap */
  meter_window_destroy(window);
  meter_session_close(session);
}

/* ---- RAPL ---- */

enum { RANGE = 262143328 }; /* microjoules; wraps after 262 s at 1 W */

static long long package0(double now) {
  return (RANGE - 50000000 + llround(20e6 * now)) % RANGE;
}

static long long package1(double now) {
  return llround(10e6 * now) % RANGE;
}

static void write_packages(struct world *world) {
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  write_zone(world, RAPL ":1", "package-1", 1, RANGE);
  add_override(world, (struct override){.suffix = "intel-rapl:0/energy_uj", .value = package0});
  add_override(world, (struct override){.suffix = "intel-rapl:1/energy_uj", .value = package1});
}

/* Package 0 wraps twice and package 1 once, each at its own time. Reading every 0.1 s, well within the shortest wrap.
 */
static void counters_wrap(void **state) {
  struct world *world = *state;
  write_packages(world);
  struct meter_result result = measure(world, 27, 0.1);
  assert_true(result.measured);
  assert_near(result.joules, 30 * 27, 1e-6);
  assert_near(result.mean_watts, 30, 1e-6);
  assert_near(result.coverage, 1, 1e-9);
  assert_int_equal(result.faults, 0);
  assert_string_equal(result.source, "RAPL powercap");
  assert_string_equal(result.rail, "package-0 + package-1");
}

static long long ten_watts(double now) {
  return llround(10e6 * now);
}

static void nothing_is_counted_twice(void **state) {
  struct world *world = *state;
  static const char *const others[][2] = {
      {RAPL ":0:0", "core"},    {RAPL ":0:1", "uncore"}, {RAPL ":0:2", "dram"},
      {RAPL ":2", "package-0"}, {RAPL ":1", "psys"},     {RAPL "-mmio:0", "package-0"},
  };
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    write_zone(world, others[i][0], others[i][1], 1, RANGE);
  add_override(world, (struct override){.suffix = "/energy_uj", .value = ten_watts});
  struct meter_result result = measure(world, 10, 0.05);
  assert_near(result.joules, 100, 1e-6);
  assert_string_equal(result.rail, "package-0");
}

static void counter_pauses(void **state) {
  struct world *world = *state;
  struct meter_result result;
  write_packages(world);
  struct meter_session *session = open_session(world);
  struct meter_window *window = open_window(session);
  meter_window_begin(window);
  run_for(world, window, 2, 0.05);
  meter_window_pause(window);
  world->now += 100; /* unread, through many wraps */
  meter_window_resume(window);
  run_for(world, window, 3, 0.05);
  meter_window_end(window, &result);
  assert_near(result.joules, 30 * 5, 1e-6);
  assert_near(result.seconds, 5, 1e-9);
  assert_near(result.coverage, 1, 1e-9);
  assert_int_equal(result.faults, 0);

  meter_window_begin(window); /* the same window again starts from nothing */
  run_for(world, window, 1, 0.05);
  meter_window_end(window, &result);
  assert_near(result.joules, 30, 1e-6);
  meter_window_destroy(window);
  meter_session_close(session);
}

static void mmio_serves_alone(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL "-mmio:0", "package-0", 1, RANGE);
  add_override(world, (struct override){.suffix = "/energy_uj", .value = ten_watts});
  assert_near(measure(world, 10, 0.05).joules, 100, 1e-6);
}

static void root_only_counter(void **state) {
  struct world *world = *state;
  struct meter_report report;
  char remedy[PATH];
  write_packages(world);
  world->overrides[0] = (struct override){.suffix = "/energy_uj", .code = EACCES};
  meter_examine(&meter_rapl, &world->system, &report);
  assert_int_equal(report.state, METER_UNREADABLE);
  assert_string_equal(report.problem.reason, "RAPL energy_uj is readable by root only");
  snprintf(remedy, sizeof remedy, "sudo chmod a+r %s/" RAPL ":*/energy_uj", world->root);
  assert_string_equal(report.problem.remedy, remedy);

  struct meter_result result = measure(world, 1, 0.05);
  assert_false(result.measured);
  assert_contains(result.reason, "no INA3221 at ");
  assert_contains(result.reason, remedy);
}

static void counter_without_range(void **state) {
  struct world *world = *state;
  write_packages(world);
  write_file(world, RAPL ":1/max_energy_range_uj", "many");
  struct meter_result result = measure(world, 1, 0.05);
  assert_false(result.measured);
  assert_contains(result.reason, "package-1 has no max_energy_range_uj");
}

/* A counter goes on by itself while it cannot be read, so a short failure costs nothing but is named. */
static void counter_bridges_short_faults(void **state) {
  struct world *world = *state;
  write_packages(world);
  add_override(world, (struct override){.suffix = "intel-rapl:9/energy_uj", .code = EIO});
  world->overrides[2] = world->overrides[1];
  world->overrides[1] = (struct override){.suffix = "intel-rapl:1/energy_uj", .code = EIO, .from = 2, .until = 2.1};
  struct meter_result result = measure(world, 5, 0.02);
  assert_near(result.joules, 30 * 5, 1e-6);
  assert_near(result.coverage, 1, 1e-9);
  assert_true(result.faults >= 1);
  assert_contains(result.fault_text, "package-1 energy_uj: input/output error");
}

static void rapl_vanishes(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  add_override(world, (struct override){.suffix = "/energy_uj", .code = ENOENT, .from = 4});
  add_override(world, (struct override){.suffix = "/energy_uj", .value = ten_watts});
  struct meter_result result = measure(world, 10, 0.05);
  assert_true(result.measured);
  assert_near(result.coverage, 0.4, 0.02);
  assert_near(result.joules, 40, 0.02);
  assert_contains(result.fault_text, "package-0 energy_uj: the file is gone");
}

/* Unread for longer than a wrap may take: how often it wrapped is unknown, so that span is left out. */
static void counter_gap_beyond_wrap(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  add_override(world, (struct override){.suffix = "/energy_uj", .code = EIO, .from = 4, .until = 6});
  add_override(world, (struct override){.suffix = "/energy_uj", .value = ten_watts});
  struct meter_result result = measure(world, 10, 0.05);
  assert_near(result.coverage, 0.8, 0.02);
  assert_near(result.joules, 80, 0.02);
  assert_contains(result.fault_text, "may have wrapped unseen");
}

static long long restarted_counter(double now) {
  const long long range = 65536000000; /* as on servers */
  return now < 5 ? range / 2 + llround(10e6 * now) : llround(10e6 * (now - 5));
}

/* A driver loaded anew starts from zero: that looks like a wrap worth 32 kJ and is none. */
static void counter_restart_is_no_wrap(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL ":0", "package-0", 1, 65536000000);
  add_override(world, (struct override){.suffix = "/energy_uj", .value = restarted_counter});
  struct meter_result result = measure(world, 10, 0.5);
  assert_true(result.joules > 85 && result.joules < 100);
  assert_true(result.coverage < 1);
  assert_contains(result.fault_text, "1 x the counter jumped");
}

static void counter_that_stands_still(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL ":0", "package-0", 12345, RANGE);
  struct meter_result result = measure(world, 0.3, 0.05); /* too soon to tell */
  assert_false(result.measured);
  assert_contains(result.reason, "stood at zero");
  result = measure(world, 10, 0.05);
  assert_false(result.measured);
  assert_contains(result.reason, "package-0 energy_uj: the counter has stopped");
}

static void counter_beyond_its_range(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL ":0", "package-0", 1LL + RANGE, RANGE);
  struct meter_result result = measure(world, 1, 0.05);
  assert_false(result.measured);
  assert_contains(result.reason, "outside its range");
}

/* ---- choosing a meter ---- */

static void nothing_there(void **state) {
  struct world *world = *state;
  struct meter_result result = measure(world, 2, 0.010);
  assert_false(result.measured);
  assert_near(result.seconds, 2, 1e-9); /* time is known all the same */
  assert_contains(result.reason, "no INA3221 at ");
  assert_contains(result.reason, "no RAPL package at ");
  assert_contains(result.reason, world->root);
  for (size_t i = 0; meter_list()[i]; i++) {
    struct meter_report report;
    meter_examine(meter_list()[i], &world->system, &report);
    assert_int_equal(report.state, METER_ABSENT);
    assert_true(report.problem.reason[0]);
  }
}

static void module_before_processor(void **state) {
  struct world *world = *state;
  write_packages(world);
  struct meter_session *session = open_session(world);
  assert_ptr_equal(session->meter, &meter_rapl);
  assert_string_equal(session->reason, "");
  meter_session_close(session);
  write_orin_nano(world);
  session = open_session(world);
  assert_ptr_equal(session->meter, &meter_ina3221);
  assert_string_equal(session->reason, "");
  meter_session_close(session);
}

static void cost_of_a_reading(void **state) {
  struct world *world = *state;
  struct meter_report report;
  write_orin_nano(world);
  struct meter_system system = meter_system_default(world->root);
  meter_examine(&meter_ina3221, &system, &report);
  assert_int_equal(report.state, METER_WORKS);
  assert_string_equal(report.properties.rail, "VDD_IN");
  assert_true(report.read_seconds > 0 && report.read_seconds < 0.1);
}

static void out_of_memory(void **state) {
  struct world *world = *state;
  struct ffb_error error = {0};
  write_orin_nano(world);
  ffb_fail_allocation(1);
  assert_null(meter_session_open(&world->system, METER_PROCESSOR, &error));
  assert_contains(error.message, "out of memory");
  ffb_fail_allocation(2); /* the meter's own */
  struct meter_session *session = open_session(world);
  assert_null(session->meter);
  assert_contains(session->reason, "INA3221: out of memory");
  ffb_fail_allocation(1);
  assert_null(meter_window_create(session, NULL, &error));
  ffb_fail_allocation(0);
  meter_session_close(session);
}

/* ---- the sampling thread, on real files and the real clock ---- */

/* What a stopped register gave cannot be struck out without the readings: then no sum is better than a wrong one. */
static void stopped_register_without_memory(void **state) {
  struct world *world = *state;
  write_orin_nano(world);
  for (int full = 0; full < 2; full++) {
    struct meter_result result;
    struct meter_session *session = open_session(world);
    struct meter_window *window = open_window(session);
    world->at_rest = false;
    meter_window_begin(window);
    if (full)
      ffb_fail_allocations(1);
    run_for(world, window, 12, 0.01);
    ffb_fail_allocation(0);
    world->at_rest = true;
    run_for(world, window, 8, 0.01);
    meter_window_end(window, &result);
    assert_int_equal(result.measured, !full);
    if (full)
      assert_contains(result.reason, "VDD_IN: the register has stopped, and there was no memory");
    else
      assert_near(result.joules, 7.52 * 12, 0.01);
    meter_window_destroy(window);
    meter_session_close(session);
  }
}

static void sleep_for(double seconds) {
  struct timespec time = {.tv_nsec = (long)(seconds * 1e9)};
  nanosleep(&time, NULL);
}

static void thread_samples(void **state) {
  struct world *world = *state;
  struct meter_result result, later;
  write_orin_nano(world);
  world->system = meter_system_default(world->root);
  struct meter_session *session = open_session(world);
  struct meter_window *window = meter_window_create(session, NULL, NULL);
  assert_non_null(window);
  meter_window_begin(window);
  sleep_for(0.15);
  meter_window_pause(window);
  meter_window_result(window, &result);
  assert_true(result.measured);
  assert_true(result.samples > 2); /* more than the two edges */
  assert_true(result.seconds >= 0.15 && result.seconds < 2);
  assert_near(result.mean_watts, 7.52, 0.001);
  assert_near(result.joules, 7.52 * result.seconds * (result.coverage + result.bridged), 0.001);
  sleep_for(0.05);
  meter_window_result(window, &later);
  assert_int_equal(later.samples, result.samples);
  assert_true(later.seconds == result.seconds);
  for (int i = 0; i < 20; i++) { /* edges that race with the thread */
    meter_window_resume(window);
    sleep_for(0.0005 * i);
    meter_window_pause(window);
  }
  meter_window_end(window, &later);
  assert_true(later.joules > result.joules);
  assert_near(later.mean_watts, 7.52, 0.001);
  assert_true(later.coverage <= 1);
  meter_window_resume(window);
  meter_window_destroy(window); /* while it runs */
  meter_session_close(session);
}

/* ---- memory ---- */

static void resident_peak_follows_use(void **state) {
  (void)state;
  const size_t bytes = 32u << 20, slack = 8u << 20;
  struct meter_memory before, peak, after;
  struct meter_memory_reset reset;
  meter_memory_read(NULL, &before);
  if (!before.resident_peak.known)
    skip();
  void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(block != MAP_FAILED);
  memset(block, 1, bytes);
  meter_memory_read(NULL, &peak);
  munmap(block, bytes);
  assert_true(peak.resident_now.bytes + slack >= before.resident_now.bytes + bytes);
  assert_true(peak.resident_peak.bytes >= peak.resident_now.bytes);
  meter_memory_read(NULL, &after);
  assert_true(after.resident_peak.bytes + slack >= peak.resident_peak.bytes); /* outlives the block */
  meter_memory_reset(NULL, &reset);
  if (!reset.peak_reset) {
    assert_true(reset.reason[0]);
    skip();
  }
  meter_memory_read(NULL, &after);
  assert_true(after.resident_peak.bytes + bytes / 2 < peak.resident_peak.bytes);
}

static void fake_process(const struct world *world, const char *status, const char *cgroup) {
  write_file(world, "proc/self/status", status);
  write_file(world, "proc/self/cgroup", cgroup);
}

static void memory_of_a_fake_process(void **state) {
  struct world *world = *state;
  char proc[PATH];
  struct meter_memory memory;
  struct meter_memory_reset reset;
  snprintf(proc, sizeof proc, "%s/proc", world->root);
  struct meter_memory_roots roots = {.proc = proc, .sysfs = world->root};

  meter_memory_read(&roots, &memory);
  assert_false(memory.resident_now.known || memory.resident_peak.known || memory.cgroup_peak.known);
  assert_contains(memory.resident_peak.reason, "self/status: the file is gone");
  assert_contains(memory.cgroup_peak.reason, "no version-2 control group");
  meter_memory_reset(&roots, &reset);
  assert_false(reset.peak_reset);
  assert_contains(reset.reason, "clear_refs");

  fake_process(world, "Name:\tx\nVmHWM:\t  90000 kB\nVmRSS:\t  1716 kB", "4:memory:/old\n0::/user/job");
  meter_memory_read(&roots, &memory);
  assert_int_equal(memory.resident_peak.bytes, 90000 * 1024);
  assert_int_equal(memory.resident_now.bytes, 1716 * 1024);
  assert_false(memory.cgroup_peak.known);
  assert_contains(memory.cgroup_peak.reason, "memory.peak");

  write_file(world, "proc/self/clear_refs", "");
  meter_memory_reset(&roots, &reset); /* taken, but the fake kernel's peak stays */
  assert_false(reset.peak_reset);
  assert_contains(reset.reason, "did not act on it");
  fake_process(world, "Name:\tx\nVmHWM:\t  1720 kB\nVmRSS:\t  1716 kB", "0::/user/job");
  meter_memory_reset(&roots, &reset);
  assert_true(reset.peak_reset);

  write_file(world, "fs/cgroup/unified/user/job/memory.peak", "777");
  meter_memory_read(&roots, &memory);
  assert_int_equal(memory.cgroup_peak.bytes, 777);
  write_file(world, "fs/cgroup/user/job/memory.peak", "123456789");
  meter_memory_read(&roots, &memory);
  assert_true(memory.cgroup_peak.known);
  assert_int_equal(memory.cgroup_peak.bytes, 123456789);
  write_file(world, "fs/cgroup/user/job/memory.peak", "12 max");
  meter_memory_read(&roots, &memory);
  assert_false(memory.cgroup_peak.known);
  assert_contains(memory.cgroup_peak.reason, "not a number");
}

/* ---- clock ---- */

static void dates(void **state) {
  (void)state;
  char text[METER_UTC_TEXT];
  meter_clock_utc(1709251198, text);
  assert_string_equal(text, "2024-02-29T23:59:58Z");
  double earlier = meter_clock_seconds();
  assert_true(meter_clock_seconds() >= earlier);
}

static void summary_of_times(void **state) {
  (void)state;
  struct meter_times times;
  struct ffb_error error = {0};
  const double few[] = {5, 1, 3, 2, 4};
  assert_true(meter_times_summary(few, 5, &times, &error));
  assert_int_equal(times.count, 5);
  assert_near(times.median, 3, 1e-12);
  assert_near(times.mean, 3, 1e-12);
  assert_near(times.minimum, 1, 1e-12);
  assert_near(times.maximum, 5, 1e-12);
  assert_near(times.p10, 1.4, 1e-12);
  assert_near(times.p90, 4.6, 1e-12);
  assert_near(times.deviation, 1, 1e-12);
  assert_int_equal(times.outliers, 0);

  double steps[101];
  for (int i = 0; i < 101; i++)
    steps[i] = 0.010 + 1e-5 * (i % 11 - 5);
  steps[40] = 0.5;
  steps[41] = 0.02;
  steps[70] = 0.0001;
  assert_true(meter_times_summary(steps, 101, &times, &error));
  assert_int_equal(times.outliers, 3);
  assert_int_equal(times.slow_outliers, 2);
  assert_near(times.median, 0.010, 0.01);
  assert_near(steps[40], 0.5, 0); /* the input keeps its order */

  const double near[] = {1, 2, 3, 4, 17}, far[] = {1, 2, 3, 4, 18};
  assert_true(meter_times_summary(near, 5, &times, &error)); /* 14 and 15 deviations of 1 from the median */
  assert_int_equal(times.outliers, 0);
  assert_true(meter_times_summary(far, 5, &times, &error));
  assert_int_equal(times.outliers, 1);

  const double one[] = {2}, same[] = {2, 2, 2, 2};
  assert_true(meter_times_summary(one, 1, &times, &error));
  assert_near(times.p90, 2, 0);
  assert_true(meter_times_summary(same, 4, &times, &error));
  assert_int_equal(times.outliers, 0);
  assert_false(meter_times_summary(one, 0, &times, &error));
  ffb_fail_allocation(1);
  assert_false(meter_times_summary(few, 5, &times, &error));
}

#define ON_FAKE_TREE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ON_FAKE_TREE(constant_power),
      ON_FAKE_TREE(ramp),
      ON_FAKE_TREE(square_wave),
      ON_FAKE_TREE(module_is_a_sum_of_rails),
      ON_FAKE_TREE(old_driver),
      ON_FAKE_TREE(renamed_rail),
      ON_FAKE_TREE(missing_rail),
      ON_FAKE_TREE(unreadable_rail),
      ON_FAKE_TREE(channel_switched_off),
      ON_FAKE_TREE(short_faults),
      ON_FAKE_TREE(long_fault_is_not_bridged),
      ON_FAKE_TREE(starved_sampler),
      ON_FAKE_TREE(ina3221_vanishes),
      ON_FAKE_TREE(pause_is_excluded),
      ON_FAKE_TREE(counters_wrap),
      ON_FAKE_TREE(nothing_is_counted_twice),
      ON_FAKE_TREE(counter_pauses),
      ON_FAKE_TREE(mmio_serves_alone),
      ON_FAKE_TREE(root_only_counter),
      ON_FAKE_TREE(counter_without_range),
      ON_FAKE_TREE(counter_bridges_short_faults),
      ON_FAKE_TREE(rapl_vanishes),
      ON_FAKE_TREE(counter_gap_beyond_wrap),
      ON_FAKE_TREE(counter_restart_is_no_wrap),
      ON_FAKE_TREE(counter_that_stands_still),
      ON_FAKE_TREE(counter_beyond_its_range),
      ON_FAKE_TREE(nothing_there),
      ON_FAKE_TREE(module_before_processor),
      ON_FAKE_TREE(cost_of_a_reading),
      ON_FAKE_TREE(out_of_memory),
      ON_FAKE_TREE(stopped_register_without_memory),
      ON_FAKE_TREE(thread_samples),
      cmocka_unit_test(resident_peak_follows_use),
      ON_FAKE_TREE(memory_of_a_fake_process),
      cmocka_unit_test(dates),
      cmocka_unit_test(summary_of_times),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
