/* Clocks, heat, throttling and power mode of a made-up machine and of its graphics card. */
#include "harness/baseline.h"
#include "harness/meters/conditions.h"
#include "tests/fake_machine.h"
#include "tests/plugins/fake_nvml.h"

#include <dlfcn.h>

#define ZONE    "class/thermal/thermal_zone"
#define COOLING "class/thermal/cooling_device"
#define CPU     "devices/system/cpu/cpu"
#define DEVFREQ "class/devfreq/"
#define PLUGINS FFB_BUILD_DIRECTORY "/tests/plugins/"

static void write_clock(const struct world *world, int cpu, long long now, long long lowest, long long highest) {
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/scaling_cur_freq", now);
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/scaling_min_freq", lowest);
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/scaling_max_freq", highest);
  write_number(world, "devices/system/cpu", "cpu", cpu, "/cpufreq/cpuinfo_max_freq", 1510000);
}

static struct meter_conditions_watch *start_with(struct world *world, const struct meter_card *card) {
  struct ffb_error error = {0};
  struct meter_conditions_watch *watch = meter_conditions_start(&world->system, card, 0, &error);
  assert_non_null(watch);
  return watch;
}

static struct meter_conditions_watch *start(struct world *world) {
  return start_with(world, NULL);
}

static void a_bare_machine_says_nothing(void **state) {
  struct meter_conditions seen;
  struct meter_conditions_watch *watch = start(*state);
  meter_conditions_look(watch);
  meter_conditions_read(watch, &seen);
  assert_int_equal(seen.samples, 2);
  assert_true(isnan(seen.clocks.mean) && isnan(seen.clocks.minimum) && isnan(seen.highest_celsius));
  assert_false(seen.throttling_known || seen.throttled || seen.clocks.fixed_known || seen.has_card);
  assert_string_equal(seen.power_mode, "");
  meter_conditions_stop(watch);
}

static void clocks_and_heat_are_followed(void **state) {
  struct world *world = *state;
  struct meter_conditions seen;
  char zone[32];
  assert_true(isnan(meter_hottest_celsius(&world->system, NULL, zone)));
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
  assert_near(meter_hottest_celsius(&world->system, NULL, zone), 51, 1e-12);
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
  assert_near(seen.clocks.minimum, 800, 1e-12);
  assert_near(seen.clocks.maximum, 1200, 1e-12);
  assert_near(seen.clocks.mean, (1200 + 800 + 800) / 3.0, 1e-12);
  assert_near(seen.clocks.limit, 1510, 1e-12);
  assert_near(seen.first_celsius, 51, 1e-12);
  assert_near(seen.highest_celsius, 71.25, 1e-12);
  assert_string_equal(seen.hottest, "cpu-thermal");
  assert_true(seen.clocks.fixed_known && !seen.clocks.fixed);
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
  assert_true(seen.clocks.fixed);
  write_clock(world, 1, 1510000, 115200, 1510000); /* somebody let them loose */
  meter_conditions_look(watch);
  meter_conditions_read(watch, &seen);
  assert_false(seen.clocks.fixed);
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
  struct meter_conditions_watch *watch = meter_conditions_start(&world->system, NULL, 1, &error);
  assert_non_null(watch);
  meter_conditions_read(watch, &seen);
  assert_true(seen.samples >= 1);
  meter_conditions_stop(watch); /* at once, not at the end of the second */
  meter_conditions_stop(NULL);
}

/* ---- a graphics card --------------------------------------------------------------------------------------------- */

static void *library;
static struct fake_nvml *fake;

static void load(struct world *world, const char *name) {
  library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  assert_non_null(library);
  fake = dlsym(library, "fake_nvml");
  *fake = (struct fake_nvml){
      .cards = 1, .megahertz = 1980, .highest_megahertz = 1980, .celsius = 40, .limit_milliwatts = 700000};
  world->system.nvml = name;
}

static struct meter_card *open_card(struct world *world) {
  struct ffb_error error = {0};
  struct meter_card *card = meter_card_open(&world->system, &error);
  assert_non_null(card);
  return card;
}

static struct meter_conditions look_again(struct meter_conditions_watch *watch) {
  struct meter_conditions seen;
  meter_conditions_look(watch);
  meter_conditions_read(watch, &seen);
  return seen;
}

static void a_card_is_followed(void **state) {
  static const char *const libraries[] = {PLUGINS "fake_nvml.so", PLUGINS "fake_nvml_old.so"};
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    load(*state, libraries[i]);
    struct meter_card *card = open_card(*state);
    struct meter_conditions_watch *watch = start_with(*state, card);
    fake->megahertz = 1400;
    fake->celsius = 71;
    fake->reasons = 0x1; /* idle: nothing to warn of */
    struct meter_conditions seen = look_again(watch);
    assert_true(seen.throttling_known && !seen.throttled);
    fake->celsius = 65;
    fake->limit_milliwatts = 500000;
    fake->reasons = 0x4 | 0x2;
    seen = look_again(watch);
    assert_true(seen.throttled);
    assert_string_equal(seen.throttled_by, "graphics card: power limit");
    fake->reasons = 0x40; /* what comes later does not hide what came first */
    seen = look_again(watch);
    assert_string_equal(seen.throttled_by, "graphics card: power limit");
    assert_string_equal(seen.card.facts.source, "NVML");
    assert_string_equal(seen.card.facts.name, "Made-up card 0");
    assert_int_equal(seen.card.clocks.looks, 4);
    assert_near(seen.card.clocks.minimum, 1400, 1e-12);
    assert_near(seen.card.clocks.maximum, 1980, 1e-12);
    assert_near(seen.card.clocks.mean, (1980 + 3 * 1400) / 4.0, 1e-12);
    assert_near(seen.card.clocks.limit, 1980, 1e-12);
    assert_false(seen.card.clocks.fixed_known);
    assert_near(seen.card.first_celsius, 40, 1e-12);
    assert_near(seen.card.highest_celsius, 71, 1e-12);
    assert_near(seen.card.lowest_limit_watts, 500, 1e-12);
    static const uint64_t held[METER_CARD_REASONS] = {1, 1, 1, 0, 0, 0, 1, 0, 0};
    assert_memory_equal(seen.card.held, held, sizeof held);
    assert_true(isnan(seen.clocks.mean)); /* the processor's are its own */
    meter_conditions_stop(watch);
    meter_card_close(card);
    assert_int_equal(fake->opened, 0);
    dlclose(library);
  }
}

/* Each reason by itself. */
static void what_holds_a_card_down_is_named(void **state) {
  static const struct {
    unsigned long long reasons;
    const char *said;
  } cases[] = {{0x0, ""},
               {0x1, ""},
               {0x2, ""},
               {0x4, "power limit"},
               {0x8, "hardware slowdown"},
               {0x10, ""},
               {0x20, "heat, by the driver"},
               {0x40, "heat, by the hardware"},
               {0x80, "power brake"},
               {0x100, ""}};
  load(*state, PLUGINS "fake_nvml.so");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct meter_card *card = open_card(*state);
    fake->reasons = cases[i].reasons;
    struct meter_conditions_watch *watch = start_with(*state, card);
    struct meter_conditions seen = look_again(watch);
    assert_int_equal(seen.throttled, cases[i].said[0] != '\0');
    assert_contains(seen.throttled_by, cases[i].said);
    meter_conditions_stop(watch);
    meter_card_close(card);
  }
  dlclose(library);
}

/* A look that fails is not one at 0 MHz; a card that tells nothing is not one that is not throttled. */
static void a_card_that_is_lost_is_no_slow_card(void **state) {
  load(*state, PLUGINS "fake_nvml.so");
  struct meter_card *card = open_card(*state);
  struct meter_conditions_watch *watch = start_with(*state, card);
  fake->conditions_code = 15;
  fake->megahertz = fake->celsius = fake->limit_milliwatts = 0;
  fake->reasons = 0x40;
  struct meter_conditions seen = look_again(watch);
  assert_int_equal(seen.samples, 2);
  assert_int_equal(seen.card.clocks.looks, 1);
  assert_near(seen.card.clocks.minimum, 1980, 1e-12);
  assert_near(seen.card.lowest_limit_watts, 700, 1e-12);
  assert_false(seen.throttled);
  meter_conditions_stop(watch);
  meter_card_close(card);
  card = open_card(*state);
  watch = start_with(*state, card);
  seen = look_again(watch);
  assert_true(seen.has_card && !seen.throttling_known && isnan(seen.card.clocks.mean));
  assert_true(isnan(seen.card.clocks.limit) && isnan(seen.card.highest_celsius) && isnan(seen.card.first_celsius));
  meter_conditions_stop(watch);
  meter_card_close(card);
  dlclose(library);
}

static void a_machine_without_a_card_says_why(void **state) {
  struct world *world = *state;
  struct meter_card *card = open_card(world);
  struct meter_conditions_watch *watch = start_with(world, card);
  struct meter_conditions seen = look_again(watch);
  assert_true(seen.has_card);
  assert_string_equal(seen.card.facts.source, "");
  assert_contains(seen.card.facts.problem.reason, "no NVIDIA driver");
  meter_conditions_stop(watch);
  meter_card_close(card);
  load(world, PLUGINS "fake_nvml.so");
  fake->init_code = 18;
  card = open_card(world);
  assert_contains(meter_card_facts(card)->problem.reason, "Version Mismatch");
  assert_string_equal(meter_card_facts(card)->problem.remedy, "sudo reboot");
  meter_card_close(card);
  dlclose(library);
}

static void write_gpu(const struct world *world, const char *name, const char *now, const char *lowest) {
  const char *const files[][2] = {{"cur_freq", now},
                                  {"min_freq", lowest},
                                  {"max_freq", "624750000"},
                                  {"available_frequencies", "306000000 918000000 408000000 624750000"}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char path[PATH];
    snprintf(path, sizeof path, DEVFREQ "%s/%s", name, files[i][0]);
    write_file(world, path, files[i][1]);
  }
}

/* By the names of JetPack 5 and 6; NVML, which opens on a Jetson and says nothing of this, is not asked. */
static void a_jetsons_clock_is_followed(void **state) {
  static const char *const names[] = {"17000000.ga10b", "17000000.gpu"};
  struct world *world = *state;
  load(world, PLUGINS "fake_nvml.so");
  write_gpu(world, "15340000.vic", "115200000", "115200000"); /* another engine */
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    write_gpu(world, names[i], "624750000", "624750000");
    struct meter_card *card = open_card(world);
    struct meter_conditions_watch *watch = start_with(world, card);
    struct meter_conditions seen;
    meter_conditions_read(watch, &seen);
    assert_string_equal(seen.card.facts.source, "devfreq");
    assert_true(seen.card.clocks.fixed_known && seen.card.clocks.fixed);
    write_gpu(world, names[i], "306000000", "306000000"); /* jetson_clocks --restore */
    seen = look_again(watch);
    assert_string_equal(seen.card.facts.name, names[i]);
    assert_false(seen.card.clocks.fixed);
    assert_near(seen.card.clocks.minimum, 306, 1e-12);
    assert_near(seen.card.clocks.maximum, 624.75, 1e-12);
    assert_near(seen.card.clocks.limit, 918, 1e-12); /* of the hardware, above what the power mode allows */
    assert_false(seen.throttling_known || seen.card.reasons_known);
    assert_int_equal(fake->opened, 0);
    meter_conditions_stop(watch);
    meter_card_close(card);
    add_override(world, (struct override){.suffix = "17000000.ga10b/cur_freq", .code = ENOENT});
  }
  dlclose(library);
}

/* --cool-to waits for the card that computes too. */
static void a_hot_card_is_waited_for(void **state) {
  struct world *world = *state;
  struct baseline_heat heat;
  load(world, PLUGINS "fake_nvml.so");
  write_file(world, ZONE "0/type", "cpu-thermal");
  write_file(world, ZONE "0/temp", "30000");
  fake->celsius = 60;
  struct meter_card *card = open_card(world);
  baseline_cool(&world->system, card, 45, 0.3, &heat);
  assert_false(heat.reached);
  assert_near(heat.celsius, 60, 1e-12);
  assert_string_equal(heat.zone, "graphics card");
  baseline_cool(&world->system, NULL, 45, 100, &heat); /* a run on the processor does not care */
  assert_true(heat.reached);
  fake->celsius = 44;
  baseline_cool(&world->system, card, 45, 100, &heat);
  assert_true(heat.reached);
  assert_near(heat.celsius, 44, 1e-12);
  meter_card_close(card);
  dlclose(library);
}

#define ON_FAKE_TREE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ON_FAKE_TREE(a_bare_machine_says_nothing),
      ON_FAKE_TREE(clocks_and_heat_are_followed),
      ON_FAKE_TREE(fixed_clocks_are_told),
      ON_FAKE_TREE(throttling_is_flagged),
      ON_FAKE_TREE(the_thread_starts_and_stops),
      ON_FAKE_TREE(a_card_is_followed),
      ON_FAKE_TREE(what_holds_a_card_down_is_named),
      ON_FAKE_TREE(a_card_that_is_lost_is_no_slow_card),
      ON_FAKE_TREE(a_machine_without_a_card_says_why),
      ON_FAKE_TREE(a_jetsons_clock_is_followed),
      ON_FAKE_TREE(a_hot_card_is_waited_for),
  };
  return cmocka_run_group_tests_name("conditions", tests, NULL, NULL);
}
