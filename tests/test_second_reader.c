/* Two ways to read the same power, held against each other on a made-up machine whose truth is known: they agree where
 * both are right, the ratio says by how much where one is wrong, and another scope is never taken for the same. */
#include "harness/energy.h"
#include "harness/meters/pair.h"
#include "tests/fake_machine.h"
#include "tests/plugins/fake_nvml.h"

#include <dlfcn.h>
#include <jansson.h>

#define NVML_LIBRARY FFB_BUILD_DIRECTORY "/tests/plugins/fake_nvml.so"
#define UNIT         "bus/event_source/devices/power"
#define MMIO         "class/powercap/intel-rapl-mmio"

enum { RANGE = 262143328 }; /* microjoules: at 1 kW, which a package could draw, it wraps within 0.27 s */

/* ---- the truth: 20 W + 2 W per second, in microjoules -------------------------------------------------------------
 */

static double joules(double now) {
  return 20 * now + now * now;
}
static const double never = 1e9;
static double off = 1; /* by what the second reader is wrong */

static long long package0(double now) {
  return (RANGE - 50000000 + llround(0.6e6 * joules(now))) % RANGE;
}
static long long package1(double now) {
  return (RANGE - 20000000 + llround(0.4e6 * joules(now))) % RANGE;
}
static long long mapped(double now) {
  return (1000 + llround(off * 1e6 * joules(now))) % RANGE;
}
static long long alone(double now) {
  return (RANGE - 50000000 + llround(1e6 * joules(now))) % RANGE;
}
static unsigned long long event0(double now) {
  return 7 + (unsigned long long)llround(off * 0.6 * 0x1p32 * joules(now));
}
static unsigned long long event1(double now) {
  return 9 + (unsigned long long)llround(off * 0.4 * 0x1p32 * joules(now));
}

static void add_zones(struct world *world) {
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  write_zone(world, RAPL ":1", "package-1", 1, RANGE);
  add_override(world, (struct override){.suffix = "intel-rapl:0/energy_uj", .value = package0});
  add_override(world, (struct override){.suffix = "intel-rapl:1/energy_uj", .value = package1});
}

static void write_topology(struct world *world, int processor, int package, int die) {
  write_number(world, "devices/system/cpu", "cpu", processor, "/topology/physical_package_id", package);
  write_number(world, "devices/system/cpu", "cpu", processor, "/topology/die_id", die);
}

static void add_events(struct world *world) {
  write_file(world, UNIT "/type", "9");
  write_file(world, UNIT "/cpumask", "0,24");
  write_file(world, UNIT "/events/energy-pkg", "event=0x02");
  write_file(world, UNIT "/events/energy-pkg.scale", "2.3283064365386962890625e-10");
  write_file(world, UNIT "/events/energy-pkg.unit", "Joules");
  write_topology(world, 0, 0, 0);
  write_topology(world, 24, 1, 0);
  world->events[0] = (struct fake_event){.unit = 9, .event = 2, .processor = 0, .count = event0};
  world->events[1] = (struct fake_event){.unit = 9, .event = 2, .processor = 24, .count = event1};
}

/* ---- two windows over the same time -------------------------------------------------------------------------------
 */

struct two {
  struct meter_session *sessions[METER_READERS];
  struct meter_result results[METER_READERS];
};

static void open_two(struct world *world, struct two *two) {
  *two = (struct two){0};
  two->sessions[METER_FIRST] = open_session(world);
  two->sessions[METER_SECOND] = meter_session_open_second(two->sessions[METER_FIRST], NULL);
  assert_non_null(two->sessions[METER_SECOND]);
}

static void close_two(struct two *two) {
  for (int i = 0; i < METER_READERS; i++)
    meter_session_close(two->sessions[i]);
}

/* For ten seconds, both read every `step`, perf failing from `broken` on; the energy as a record has it. */
static json_t *live(struct world *world, struct two *two, double step, double broken) {
  struct meter_window *windows[METER_READERS];
  for (int i = 0; i < METER_READERS; i++) {
    windows[i] = open_window(two->sessions[i]);
    meter_window_begin(windows[i]);
  }
  while (world->now + step < 10) {
    world->now += step;
    if (world->now > broken)
      world->event_code = ENODEV;
    for (int i = 0; i < METER_READERS; i++)
      meter_window_sample(windows[i]);
  }
  world->now = 10;
  for (int i = 0; i < METER_READERS; i++) {
    meter_window_end(windows[i], &two->results[i]);
    meter_window_destroy(windows[i]);
  }
  return energy_of_readers(two->results);
}

static double ratio_of(const json_t *energy) {
  const json_t *ratio = json_object_get(json_object_get(energy, "second"), "ratio");
  return json_is_number(ratio) ? json_number_value(ratio) : -1;
}

static json_t *measure_two(struct world *world, double step) {
  struct two two;
  open_two(world, &two);
  if (!two.sessions[METER_SECOND]->meter)
    fail_msg("%s", two.sessions[METER_SECOND]->reason);
  json_t *energy = live(world, &two, step, never);
  close_two(&two);
  return energy;
}

static void assert_no_second(struct world *world, const char *says) {
  struct two two;
  world->now = 0;
  open_two(world, &two);
  assert_null(two.sessions[METER_SECOND]->meter);
  assert_contains(two.sessions[METER_SECOND]->reason, says);
  json_t *energy = live(world, &two, 0.05, never);
  if (two.sessions[METER_FIRST]->meter) {
    const json_t *second = json_object_get(energy, "second");
    assert_true(json_is_null(json_object_get(second, "joules")));
    assert_true(json_is_null(json_object_get(second, "ratio")));
    assert_contains(json_string_value(json_object_get(second, "reason")), says);
  } else {
    assert_true(json_is_null(json_object_get(energy, "second")));
  }
  json_decref(energy);
  close_two(&two);
}

/* ---- RAPL ---------------------------------------------------------------------------------------------------------
 */

/* Four wraps of powercap's counters, none of perf's. */
static void perf_agrees_with_powercap(void **state) {
  struct world *world = *state;
  add_zones(world);
  add_events(world);
  json_t *energy = measure_two(world, 0.05);
  const json_t *second = json_object_get(energy, "second");
  assert_string_equal(json_string_value(json_object_get(energy, "source")), "RAPL powercap");
  assert_string_equal(json_string_value(json_object_get(second, "source")), "RAPL perf");
  assert_string_equal(json_string_value(json_object_get(second, "rail")), "package-0 + package-1");
  assert_string_equal(json_string_value(json_object_get(second, "scope")), "processor");
  assert_near(json_number_value(json_object_get(second, "joules")), joules(10), 1e-6);
  assert_near(ratio_of(energy), 1, 1e-6);
  assert_true(energy_disagreement(energy) == 0);
  json_decref(energy);
}

static void a_wrong_reader_is_noticed(void **state) {
  struct world *world = *state;
  add_zones(world);
  add_events(world);
  off = 1.2;
  json_t *energy = measure_two(world, 0.05);
  assert_near(ratio_of(energy), 1.2, 1e-6);
  assert_near(energy_disagreement(energy), 0.2, 1e-5);
  json_decref(energy);
}

static void dies_have_names_of_their_own(void **state) {
  struct world *world = *state;
  struct two two;
  add_zones(world);
  add_events(world);
  write_topology(world, 24, 0, 1);
  write_file(world, RAPL ":0/name", "package-0-die-0");
  write_file(world, RAPL ":1/name", "package-0-die-1");
  write_file(world, UNIT "/cpumask", "0,24-24");
  open_two(world, &two);
  assert_non_null(two.sessions[METER_SECOND]->meter);
  assert_string_equal(two.sessions[METER_SECOND]->properties.rail, "package-0-die-0 + package-0-die-1");
  close_two(&two);
}

static void memory_mapped_counters_serve_without_perf(void **state) {
  struct world *world = *state;
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  add_override(world, (struct override){.suffix = "intel-rapl:0/energy_uj", .value = alone});
  write_zone(world, MMIO ":0", "package-0", 1, RANGE);
  add_override(world, (struct override){.suffix = "intel-rapl-mmio:0/energy_uj", .value = mapped});
  json_t *energy = measure_two(world, 0.05);
  assert_string_equal(json_string_value(json_object_get(json_object_get(energy, "second"), "source")),
                      "RAPL powercap MMIO");
  assert_near(ratio_of(energy), 1, 1e-6);
  json_decref(energy);
}

static void a_reader_is_not_its_own_second(void **state) {
  struct world *world = *state;
  write_zone(world, MMIO ":0", "package-0", 1, RANGE);
  add_override(world, (struct override){.suffix = "intel-rapl-mmio:0/energy_uj", .value = mapped});
  assert_no_second(world, "RAPL powercap MMIO is the first reader itself");
}

static void another_scope_is_no_second(void **state) {
  struct world *world = *state;
  add_zones(world);
  add_events(world);
  write_file(world, UNIT "/cpumask", "0");
  assert_no_second(world, "RAPL perf reads package-0, and not package-0 + package-1; no intel-rapl-mmio beside");
}

static void what_perf_does_not_give_is_said(void **state) {
  static const struct {
    const char *file, *text;
  } wrong[] = {{"/events/energy-pkg", "event=0x02,umask=0x1"},
               {"/events/energy-pkg", "config=2"},
               {"/events/energy-pkg.unit", "Calories"},
               {"/events/energy-pkg.scale", "0"},
               {"/cpumask", ""},
               {"/cpumask", "0-99999999"},
               {"/cpumask", "0,x"}};
  struct world *world = *state;
  add_zones(world);
  assert_no_second(world, "no power unit at ");
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char path[PATH];
    add_events(world);
    snprintf(path, sizeof path, UNIT "%s", wrong[i].file);
    write_file(world, path, wrong[i].text);
    assert_no_second(world, "has no energy-pkg that this program reads");
  }
  add_events(world);
  world->open_code = EACCES;
  assert_no_second(world, "its counters are for root only: sudo sysctl kernel.perf_event_paranoid=0");
  world->open_code = 0;
  world->event_code = EIO;
  assert_no_second(world, "RAPL perf: input/output error");
}

/* What fails on the way is a fault of the second reader's, and no ratio of different times comes of it. */
static void a_second_that_fails_has_no_ratio(void **state) {
  struct world *world = *state;
  struct two two;
  add_zones(world);
  add_events(world);
  open_two(world, &two);
  json_t *energy = live(world, &two, 0.05, 5);
  const json_t *second = json_object_get(energy, "second");
  assert_float_equal(json_number_value(json_object_get(energy, "coverage")), 1, 1e-6);
  assert_float_equal(json_number_value(json_object_get(second, "coverage")), 0.5, 0.01);
  assert_contains(json_string_value(json_object_get(second, "fault_text")), "package-0 energy-pkg: the device is gone");
  assert_true(json_is_null(json_object_get(second, "ratio")));
  json_decref(energy);
  close_two(&two);
}

/* ---- NVML ---------------------------------------------------------------------------------------------------------
 */

static struct fake_nvml *fake;
static struct world *card_world;

static unsigned long long card_millijoules(unsigned card) {
  (void)card;
  return 5000 + (unsigned long long)llround(1e3 * joules(card_world->now));
}
static unsigned card_milliwatts(unsigned card) {
  (void)card;
  return (unsigned)llround(off * 1e3 * (20 + 2 * card_world->now));
}

static void power_of_a_card_agrees_with_its_counter(void **state) {
  struct world *world = card_world = *state;
  void *library = dlopen(NVML_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  assert_non_null(library);
  fake = dlsym(library, "fake_nvml");
  *fake = (struct fake_nvml){.cards = 1, .millijoules = card_millijoules, .milliwatts = card_milliwatts};
  world->system.nvml = NVML_LIBRARY;
  world->device = METER_GPU;
  json_t *energy = measure_two(world, 0.1);
  assert_string_equal(json_string_value(json_object_get(energy, "source")), "NVML");
  assert_string_equal(json_string_value(json_object_get(json_object_get(energy, "second"), "source")), "NVML power");
  assert_near(ratio_of(energy), 1, 1e-4);
  json_decref(energy);
  world->now = 0;
  off = 0.75;
  energy = measure_two(world, 0.1);
  assert_near(energy_disagreement(energy), -0.25, 1e-3);
  json_decref(energy);
  fake->milliwatts = NULL;
  assert_no_second(world, "NVML: reading the power: Not Supported");
  assert_int_equal(fake->opened, 0);
  dlclose(library);
}

/* ---- records ------------------------------------------------------------------------------------------------------
 */

static void one_way_is_said_to_be_one(void **state) {
  struct world *world = *state;
  assert_no_second(world, "nothing is measured");
  write_orin_nano(world);
  assert_no_second(world, "there is one way only to read this power");
}

static struct meter_result result_of(const char *source, double watts, double seconds, double coverage) {
  struct meter_result result = {.measured = true,
                                .joules = watts * seconds * coverage,
                                .seconds = seconds,
                                .coverage = coverage,
                                .mean_watts = watts,
                                .rail = "package-0"};
  snprintf(result.source, sizeof result.source, "%s", source);
  return result;
}

/* Of the joules of all parts: 100 + 300 J against 110 + 300 J. */
static void parts_of_a_resumed_run_add_up(void **state) {
  (void)state;
  struct meter_result earlier[] = {result_of("A", 10, 10, 1), result_of("B", 11, 10, 1)};
  struct meter_result later[] = {result_of("A", 30, 10, 1), result_of("B", 30, 10, 1)};
  json_t *before = energy_of_readers(earlier), *now = energy_of_readers(later), *sum = energy_add(before, now);
  assert_near(json_number_value(json_object_get(sum, "joules")), 400, 1e-12);
  assert_near(json_number_value(json_object_get(json_object_get(sum, "second"), "joules")), 410, 1e-12);
  assert_near(ratio_of(sum), 1.025, 1e-12);
  json_decref(sum);
  /* A checkpoint of a program that had no second reader. */
  json_object_del(before, "second");
  sum = energy_add(before, now);
  assert_true(json_is_number(json_object_get(sum, "joules")));
  assert_true(json_is_null(json_object_get(json_object_get(sum, "second"), "joules")));
  assert_true(ratio_of(sum) == -1);
  json_decref(sum);
  json_t *elsewhere = json_deep_copy(now);
  json_object_set_new(elsewhere, "source", json_string("C"));
  sum = energy_add(now, elsewhere);
  assert_true(json_is_null(json_object_get(sum, "joules")));
  assert_true(json_is_null(json_object_get(sum, "second")));
  json_decref(sum);
  json_decref(elsewhere);
  sum = energy_add(now, before);
  assert_true(json_is_number(json_object_get(sum, "joules")));
  assert_true(json_object_get(sum, "second") == NULL);
  json_decref(sum);
  json_decref(before);
  json_decref(now);
}

static int begin(void **state) {
  off = 1;
  return setup(state);
}

#define ON_FAKE_TREE(test) cmocka_unit_test_setup_teardown(test, begin, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ON_FAKE_TREE(perf_agrees_with_powercap),
      ON_FAKE_TREE(a_wrong_reader_is_noticed),
      ON_FAKE_TREE(dies_have_names_of_their_own),
      ON_FAKE_TREE(memory_mapped_counters_serve_without_perf),
      ON_FAKE_TREE(a_reader_is_not_its_own_second),
      ON_FAKE_TREE(another_scope_is_no_second),
      ON_FAKE_TREE(what_perf_does_not_give_is_said),
      ON_FAKE_TREE(a_second_that_fails_has_no_ratio),
      ON_FAKE_TREE(power_of_a_card_agrees_with_its_counter),
      ON_FAKE_TREE(one_way_is_said_to_be_one),
      cmocka_unit_test(parts_of_a_resumed_run_add_up),
  };
  return cmocka_run_group_tests_name("second reader", tests, NULL, NULL);
}
