/* Meters replayed against a known truth: sound ones, and every fault that could be thought of. Joules are held to the
 * truth of the time that was seen, coverage to that time, and the fault to its name; what each case gave is the table
 * in docs/measurement.md. The clock is the test's own: no result depends on how busy this machine is. */
#include "base/memory.h"
#include "harness/file.h"
#include "tests/fake_machine.h"
#include "tests/plugins/fake_nvml.h"

#include <dlfcn.h>
#include <errno.h>

#define NVML_LIBRARY FFB_BUILD_DIRECTORY "/tests/plugins/fake_nvml.so"
#define DOCUMENT     "docs/measurement.md"
#define TABLE        FFB_BUILD_DIRECTORY "/tests/faults.md"

enum { FAULTS = 2, TABLE_BYTES = 32768, ROW_BYTES = 1024 };

/* ---- the truth -------------------------------------------------------------------------------------------------- */

struct shape {
  const char *name;
  double (*watts)(double now), (*joules)(double now); /* joules: the integral from 0, by hand */
};

static double constant_watts(double now) {
  (void)now;
  return 7.52;
}
static double constant_joules(double now) {
  return 7.52 * now;
}
static double ramp_watts(double now) {
  return 5 + 0.75 * now;
}
static double ramp_joules(double now) {
  return 5 * now + 0.375 * now * now;
}
static double square_watts(double now) {
  return fmod(now, 0.5) < 0.2 ? 15 : 4;
}
static double square_joules(double now) {
  double whole = floor(now / 0.5), rest = now - 0.5 * whole;
  return whole * (0.2 * 15 + 0.3 * 4) + (rest < 0.2 ? 15 * rest : 3 + 4 * (rest - 0.2));
}

static const struct shape constant = {"constant", constant_watts, constant_joules};
static const struct shape ramp = {"ramp", ramp_watts, ramp_joules};
static const struct shape square = {"square wave", square_watts, square_joules};

/* ---- the machine ------------------------------------------------------------------------------------------------ */

/* Where something stops or nobody looks. Until 0: to the end. */
struct span {
  double from, until;
};

static bool within(const struct span *span, double now) {
  return span->from > 0 && now >= span->from && (span->until <= 0 || now < span->until);
}

/* What the files and the library give follows from this. */
static struct {
  const struct shape *shape;
  struct span frozen; /* the first rail, or the last package */
  struct world *world;
} scene;

static double thaw(double now) {
  return within(&scene.frozen, now) ? scene.frozen.from : now;
}

/* In steps of the converter. Noise of two steps, random by the time, keeps the mean true and the last bit moving. */
static long long convert(double value, double step, double now) {
  return llround(step * floor(value / step + 2 * fmod(now * 12345.6789, 1) - 0.5));
}

static long long rail_milliamperes(double now, double volts, double share) {
  return convert(1e3 * share * scene.shape->watts(now) / volts, 8, now);
}
static long long module_milliamperes(double now) {
  return rail_milliamperes(thaw(now), 5, 1);
}
static long long module_milliwatts(double now) {
  return convert(1e3 * scene.shape->watts(thaw(now)), 40, thaw(now));
}
static long long gpu_milliamperes(double now) {
  return rail_milliamperes(thaw(now), 19, 0.5);
}
static long long cpu_milliamperes(double now) {
  return rail_milliamperes(now, 19, 0.2);
}
static long long system_milliamperes(double now) {
  return rail_milliamperes(now, 5, 0.3);
}

static void build_orin(struct world *world) {
  write_orin_nano(world);
  add_override(world, (struct override){.suffix = "/curr1_input", .value = module_milliamperes});
}

static void build_agx(struct world *world) {
  write_hwmon(world, HWMON0, 1, "VDD_GPU_SOC", 19000, 0);
  write_hwmon(world, HWMON0, 2, "VDD_CPU_CV", 19000, 0);
  write_hwmon(world, HWMON0, 3, "VIN_SYS_5V0", 5000, 0);
  write_hwmon(world, HWMON1, 1, "NC", 30000, 9999);
  add_override(world, (struct override){.suffix = "hwmon3/curr1_input", .value = gpu_milliamperes});
  add_override(world, (struct override){.suffix = "hwmon3/curr2_input", .value = cpu_milliamperes});
  add_override(world, (struct override){.suffix = "hwmon3/curr3_input", .value = system_milliamperes});
}

static void build_agx_without_a_rail(struct world *world) {
  write_hwmon(world, HWMON0, 1, "VDD_GPU_SOC", 19000, 400);
  write_hwmon(world, HWMON0, 3, "VIN_SYS_5V0", 5000, 1000);
}

static void build_renamed(struct world *world) {
  write_hwmon(world, HWMON0, 1, "VDD_INPUT", 5000, 1504);
  write_hwmon(world, HWMON0, 2, "VDD_SOC", 5000, 304);
}

static void build_nano(struct world *world) {
  write_file(world, IIO "/rail_name_0", "POM_5V_IN");
  write_number(world, IIO, "in_voltage", 0, "_input", 5000);
  write_number(world, IIO, "in_current", 0, "_input", 600);
  write_number(world, IIO, "in_power", 0, "_input", 3000);
  add_override(world, (struct override){.suffix = "/in_power0_input", .value = module_milliwatts});
}

enum { RANGE = 262143328 }; /* microjoules: at 1 kW, which a package could draw, it wraps within 0.27 s */
static const long long wide_range = 262143328850;

static long long package0(double now) {
  return (RANGE - 50000000 + llround(0.6e6 * scene.shape->joules(now))) % RANGE;
}
static long long package1(double now) {
  return (RANGE - 20000000 + llround(0.4e6 * scene.shape->joules(thaw(now)))) % RANGE;
}
static long long wide_package(double now) {
  return llround(1e6 * scene.shape->joules(thaw(now)));
}
static long long restarted_package(double now) {
  return now < 8 ? wide_range / 2 + wide_package(now) : wide_package(now) - wide_package(8);
}

static void build_packages(struct world *world) {
  write_zone(world, RAPL ":0", "package-0", 1, RANGE);
  write_zone(world, RAPL ":0:0", "core", 1, RANGE);
  write_zone(world, RAPL ":0:1", "dram", 1, RANGE);
  write_zone(world, RAPL ":1", "package-1", 1, RANGE);
  write_zone(world, RAPL ":2", "psys", 1, RANGE);
  add_override(world, (struct override){.suffix = "intel-rapl:0/energy_uj", .value = package0});
  add_override(world, (struct override){.suffix = "intel-rapl:1/energy_uj", .value = package1});
}

static void build_wide_package(struct world *world) {
  write_zone(world, RAPL ":0", "package-0", 1, wide_range);
  add_override(world, (struct override){.suffix = "/energy_uj", .value = wide_package});
}

static void build_restarted_package(struct world *world) {
  write_zone(world, RAPL ":0", "package-0", 1, wide_range);
  add_override(world, (struct override){.suffix = "/energy_uj", .value = restarted_package});
}

static struct fake_nvml *fake;

/* Refreshed every 20 ms. */
static unsigned long long card_millijoules(unsigned card) {
  double now = floor(thaw(scene.world->now) * 50 + 1e-6) / 50;
  return card ? 0 : 1000000 + (unsigned long long)llround(1e3 * scene.shape->joules(now));
}

static void build_card(struct world *world) {
  world->device = METER_GPU;
  world->system.nvml = NVML_LIBRARY;
  *fake = (struct fake_nvml){.cards = 2, .millijoules = card_millijoules, .opened = fake->opened};
}
static void build_jetson_card(struct world *world) {
  build_card(world);
  fake->energy_code = 3;
}
static void build_mismatched_card(struct world *world) {
  build_card(world);
  fake->init_code = 18;
}

/* ---- the cases -------------------------------------------------------------------------------------------------- */

struct scenario {
  const char *meter, *what;
  void (*build)(struct world *world);
  const struct shape *shape;
  double step;                    /* seconds between readings */
  struct override faults[FAULTS]; /* before what the machine gives */
  struct span frozen, starved, card_lost;
  struct span lost; /* of twenty seconds: what no reading could tell */
  bool bridged;     /* interpolated, and so in the joules */
  const char *said;
};

static const double window_seconds = 20;

#define ORIN  "INA3221 hwmon", .build = build_orin, .step = 0.010
#define AGX   "INA3221 hwmon, sum of rails", .build = build_agx, .step = 0.010
#define NANO  "INA3221 iio", .build = build_nano, .step = 0.010
#define RAPL2 "RAPL, two packages", .build = build_packages, .step = 0.05
#define RAPL1 "RAPL", .build = build_wide_package, .step = 0.5
#define CARD  "NVML", .build = build_card, .step = 0.5

static const struct scenario measured[] = {
    {ORIN, .what = "constant", .shape = &constant},
    {ORIN, .what = "ramp", .shape = &ramp},
    {ORIN, .what = "square wave", .shape = &square},
    {AGX, .what = "constant", .shape = &constant},
    {AGX, .what = "ramp", .shape = &ramp},
    {AGX, .what = "square wave", .shape = &square},
    {NANO, .what = "constant", .shape = &constant},
    {NANO, .what = "ramp", .shape = &ramp},
    {NANO, .what = "square wave", .shape = &square},
    {RAPL2, .what = "constant; each counter wraps at its own time", .shape = &constant},
    {RAPL2, .what = "ramp; each counter wraps at its own time", .shape = &ramp},
    {RAPL2, .what = "square wave; each counter wraps at its own time", .shape = &square},
    {CARD, .what = "constant", .shape = &constant},
    {CARD, .what = "ramp", .shape = &ramp},
    {CARD, .what = "square wave", .shape = &square},

    {ORIN, .what = "EACCES for 20 ms", .shape = &ramp,
     .faults = {{"/curr1_input", .code = EACCES, .from = 6, .until = 6.02}}, .lost = {6, 6.03}, .bridged = true,
     .said = "VDD_IN curr1_input: permission denied"},
    {ORIN, .what = "ENODATA for 20 ms", .shape = &ramp,
     .faults = {{"/in1_input", .code = ENODATA, .from = 6, .until = 6.02}}, .lost = {6, 6.03}, .bridged = true,
     .said = "VDD_IN in1_input: no data, the channel is off"},
    {ORIN, .what = "ETIMEDOUT for 20 ms", .shape = &ramp,
     .faults = {{"/curr1_input", .code = ETIMEDOUT, .from = 6, .until = 6.02}}, .lost = {6, 6.03}, .bridged = true,
     .said = "VDD_IN curr1_input: timed out"},
    {ORIN, .what = "ETIMEDOUT for 4 s", .shape = &ramp,
     .faults = {{"/curr1_input", .code = ETIMEDOUT, .from = 6, .until = 10}}, .lost = {6, 10},
     .said = "VDD_IN curr1_input: timed out"},
    {ORIN, .what = "text that is no number for 4 s", .shape = &ramp,
     .faults = {{"/curr1_input", .text = "12x", .from = 6, .until = 10}}, .lost = {6, 10},
     .said = "VDD_IN curr1_input: not a number"},
    {ORIN, .what = "1.8 kW for 4 s", .shape = &ramp,
     .faults = {{"/curr1_input", .text = "360000", .from = 6, .until = 10}}, .lost = {6, 10},
     .said = "power outside its range"},
    {ORIN, .what = "the register stops for 8 s", .shape = &ramp, .frozen = {6, 14}, .lost = {6, 14},
     .said = "VDD_IN: the register has stopped"},
    {AGX, .what = "the register of one rail stops at 6 s", .shape = &ramp, .frozen = {6, 0}, .lost = {6, 20},
     .said = "VDD_GPU_SOC: the register has stopped"},
    {NANO, .what = "the register stops at 6 s", .shape = &ramp, .frozen = {6, 0}, .lost = {6, 20},
     .said = "POM_5V_IN: the register has stopped"},
    {ORIN, .what = "the driver vanishes at 6 s", .shape = &ramp, .faults = {{"1_input", .code = ENOENT, .from = 6}},
     .lost = {6, 20}, .said = "VDD_IN in1_input: the file is gone"},
    {ORIN, .what = "the driver vanishes for 4 s", .shape = &ramp,
     .faults = {{"1_input", .code = ENODEV, .from = 6, .until = 10}}, .lost = {6, 10},
     .said = "VDD_IN in1_input: the device is gone"},
    {AGX, .what = "one rail vanishes at 6 s", .shape = &ramp,
     .faults = {{"hwmon3/curr2_input", .code = ENOENT, .from = 6}}, .lost = {6, 20},
     .said = "VDD_CPU_CV curr2_input: the file is gone"},
    {ORIN, .what = "the sampling thread does not run for 4 s", .shape = &ramp, .starved = {6, 10}, .lost = {6, 10},
     .said = "gap between readings, not bridged"},
    {RAPL2, .what = "EIO for 0.1 s", .shape = &ramp,
     .faults = {{"rapl:1/energy_uj", .code = EIO, .from = 6, .until = 6.1}},
     .said = "package-1 energy_uj: input/output error"},
    {RAPL2, .what = "ETIMEDOUT for 4 s, longer than a wrap could take", .shape = &ramp,
     .faults = {{"rapl:1/energy_uj", .code = ETIMEDOUT, .from = 6, .until = 10}}, .lost = {6, 10},
     .said = "gap in which the counter may have wrapped unseen"},
    {RAPL1, .what = "ETIMEDOUT for 4 s, shorter than a wrap could take", .shape = &ramp,
     .faults = {{"/energy_uj", .code = ETIMEDOUT, .from = 6, .until = 10}}, .said = "package-0 energy_uj: timed out"},
    {RAPL2, .what = "the counter of one package stops for 8 s", .shape = &ramp, .frozen = {6, 14}, .lost = {6, 14},
     .said = "package-1 energy_uj: the counter has stopped"},
    {RAPL1, .what = "the counter stops at 6 s", .shape = &ramp, .frozen = {6, 0}, .lost = {6, 20},
     .said = "package-0 energy_uj: the counter has stopped"},
    {"RAPL", .build = build_restarted_package, .step = 0.05, .what = "the counter starts again from zero",
     .shape = &ramp, .lost = {8, 8.05}, .said = "1 x the counter jumped"},
    {RAPL2, .what = "the driver vanishes at 6 s", .shape = &ramp, .faults = {{"/energy_uj", .code = ENOENT, .from = 6}},
     .lost = {6, 20}, .said = "package-0 energy_uj: the file is gone"},
    {RAPL2, .what = "the sampling thread does not run for 4 s", .shape = &ramp, .starved = {6, 10}, .lost = {6, 10},
     .said = "gap in which the counter may have wrapped unseen"},
    {CARD, .what = "the counter stops at 6 s", .shape = &ramp, .frozen = {6, 0}, .lost = {6, 20},
     .said = "NVML: the counter has stopped"},
    {CARD, .what = "the card is lost at 6 s", .shape = &ramp, .card_lost = {6.01, 0}, .lost = {6, 20},
     .said = "NVML: GPU is lost"},
};
enum { MEASURED = sizeof measured / sizeof *measured };

/* Where there is nothing to read from the start, or nothing comes of it. */
static const struct scenario refused[] = {
    {"INA3221 hwmon", .what = "the rail has another name", .build = build_renamed, .said = "it has VDD_INPUT, VDD_SOC"},
    {"INA3221 hwmon, sum of rails", .what = "one rail is missing", .build = build_agx_without_a_rail,
     .said = "it has VDD_GPU_SOC, VIN_SYS_5V0"},
    {ORIN, .what = "EACCES", .faults = {{"/curr1_input", .code = EACCES}}, .said = "sudo chmod a+r "},
    {ORIN, .what = "ENODATA", .faults = {{"/in1_input", .code = ENODATA}}, .said = "echo 1 | sudo tee "},
    {ORIN, .what = "ETIMEDOUT", .faults = {{"/curr1_input", .code = ETIMEDOUT}},
     .said = "VDD_IN: curr1_input: timed out"},
    {NANO, .what = "EACCES", .faults = {{"/in_power0_input", .code = EACCES}}, .said = "sudo chmod a+r "},
    {RAPL2, .what = "EACCES", .faults = {{"/energy_uj", .code = EACCES}}, .said = "sudo chmod a+r "},
    {RAPL2, .what = "no range to undo wraps by", .faults = {{"rapl:1/max_energy_range_uj", .text = "many"}},
     .said = "package-1 has no max_energy_range_uj"},
    {"NVML", .what = "a Jetson: the reading is refused", .build = build_jetson_card, .said = "has no energy counter"},
    {"NVML", .what = "library and driver of different versions", .build = build_mismatched_card, .said = "sudo reboot"},
};
enum { REFUSED = sizeof refused / sizeof *refused };

static void set_scene(struct world *world, const struct scenario *scenario) {
  scene.shape = scenario->shape ? scenario->shape : &constant;
  scene.frozen = scenario->frozen;
  scene.world = world;
  for (int i = 0; i < FAULTS && scenario->faults[i].suffix; i++)
    add_override(world, scenario->faults[i]);
  scenario->build(world);
}

static void live_through(struct world *world, const struct scenario *scenario, struct meter_window *window) {
  for (int i = 0; world->now + 1.5 * scenario->step < window_seconds; i++) {
    world->now += i % 3 ? scenario->step : 1.5 * scenario->step;
    fake->energy_code = within(&scenario->card_lost, world->now) ? 15 : 0;
    if (!within(&scenario->starved, world->now))
      meter_window_sample(window);
  }
  world->now = window_seconds;
}

/* ---- computing it again ------------------------------------------------------------------------------------------ */

/* From the text alone, by what the document says of it. */
static double joules_of_text(const char *text, const struct meter_session *session, double *covered) {
  const struct meter_properties *properties = &session->properties;
  bool power = session->meter->kind == METER_POWER, has_last = false;
  double joules = 0, last_time = 0, last_value = 0;
  *covered = 0;
  for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
    char *end, *stop;
    double time = strtod(line, &end), value = strtod(end, &stop), gap = time - last_time;
    if (strncmp(line, "pause", 5) == 0 || strncmp(end, " lost", 5) == 0)
      has_last = false;
    if (*line == '#' || stop == end)
      continue;
    bool usable = has_last && (power ? gap <= 5 * properties->interval_seconds + 1e-9
                                     : gap < properties->wrap_seconds && value <= properties->limit_watts * (gap + 1));
    if (usable)
      joules += power ? 0.5 * gap * (value + last_value) : value;
    if (usable)
      *covered += gap;
    has_last = true;
    last_time = time;
    last_value = value;
  }
  return joules;
}

static void compute_again(const struct meter_session *session, const struct meter_log *log,
                          const struct meter_result *result) {
  size_t bytes;
  double covered;
  char *text = meter_log_text(log, "# heading\n", &bytes, NULL);
  assert_non_null(text);
  assert_int_equal(strlen(text), bytes);
  assert_near(joules_of_text(text, session, &covered), result->joules, 1e-5);
  assert_near(covered, (result->coverage + result->bridged) * result->seconds, 1e-5);
  ffb_free(text);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static char table[TABLE_BYTES];

static void add_row(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void add_row(const char *format, ...) {
  size_t used = strlen(table);
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(table + used, sizeof table - used, format, arguments);
  va_end(arguments);
  assert_true(length > 0 && (size_t)length < sizeof table - used);
}

/* The made-up root reads as /sys. */
static void shown(const struct world *world, const char *text, char *to, size_t size) {
  size_t used = 0, root = strlen(world->root);
  while (*text && used + 5 < size) {
    bool here = strncmp(text, world->root, root) == 0;
    if (*text == '|')
      to[used++] = '\\';
    used += here ? (size_t)snprintf(to + used, size - used, "/sys") : 1;
    if (!here)
      to[used - 1] = *text;
    text += here ? root : 1;
  }
  to[used] = '\0';
}

static void try_measured(struct world *world, const struct scenario *scenario) {
  struct meter_result result;
  struct meter_log log = {0};
  set_scene(world, scenario);
  struct meter_session *session = open_session(world);
  struct meter_window_options options = {.caller_samples = true, .log = &log};
  struct meter_window *window = meter_window_create(session, &options, NULL);
  assert_non_null(window);
  meter_window_begin(window);
  live_through(world, scenario, window);
  meter_window_end(window, &result);
  if (!result.measured)
    fail_msg("%s, %s: %s", scenario->meter, scenario->what, result.reason);

  const struct span *lost = &scenario->lost;
  double lost_joules = scene.shape->joules(lost->until) - scene.shape->joules(lost->from);
  double truth = lost->until == window_seconds ? scene.shape->joules(result.coverage * window_seconds)
                                               : scene.shape->joules(window_seconds) - lost_joules;
  if (scenario->bridged)
    truth += lost_joules;
  double unseen = (lost->until - lost->from) / window_seconds;
  bool sound = !scenario->said, strict = sound && scene.shape == &constant;
  double error = result.joules / truth - 1;
  /* What a step between two readings can hide lies at both ends of what was lost. */
  double slack = 3 * scenario->step / window_seconds;
  if (fabs(error) > (strict ? 0.001 : 0.01) || fabs(1 - unseen - result.coverage) > (sound ? 1e-6 : slack))
    fail_msg("%s, %s: %g J where %g are true, coverage %g where %g is true", scenario->meter, scenario->what,
             result.joules, truth, result.coverage, 1 - unseen);
  assert_int_equal(result.faults > 0, !sound);
  if (!sound)
    assert_contains(result.fault_text, scenario->said);
  assert_int_equal(result.bridged > 0, scenario->bridged);
  compute_again(session, &log, &result);
  add_row("| %s | %s | %.2f %% | %.3f | %.3f | %s |\n", scenario->meter, scenario->what, 100 * fabs(error),
          result.coverage, result.bridged, sound ? "" : result.fault_text);
  meter_window_destroy(window);
  meter_session_close(session);
  meter_log_free(&log);
}

static const struct meter *meter_named(const char *name) {
  return strncmp(name, "INA", 3) == 0 ? &meter_ina3221 : *name == 'R' ? &meter_rapl : &meter_nvml;
}

static void try_refused(struct world *world, const struct scenario *scenario) {
  struct meter_report report;
  char reason[ROW_BYTES], remedy[ROW_BYTES];
  set_scene(world, scenario);
  meter_examine(meter_named(scenario->meter), &world->system, &report);
  assert_int_not_equal(report.state, METER_WORKS);
  struct meter_session *session = open_session(world);
  assert_null(session->meter);
  assert_contains(session->reason, scenario->said);
  meter_session_close(session);
  shown(world, report.problem.reason, reason, sizeof reason);
  shown(world, report.problem.remedy, remedy, sizeof remedy);
  add_row("| %s | %s | - | - | - | not measured: %s%s%s%s |\n", scenario->meter, scenario->what, reason,
          *remedy ? "; `" : "", remedy, *remedy ? "`" : "");
}

static void try_all(const struct scenario *scenarios, size_t count,
                    void (*try)(struct world *world, const struct scenario *scenario)) {
  for (size_t i = 0; i < count; i++) {
    void *state = NULL;
    assert_int_equal(setup(&state), 0);
    try(state, &scenarios[i]);
    assert_int_equal(teardown(&state), 0);
    assert_int_equal(fake->opened, 0);
  }
}

static void sums_are_true_or_say_what_they_lack(void **state) {
  (void)state;
  try_all(measured, MEASURED, try_measured);
}

static void what_cannot_be_read_is_not_measured(void **state) {
  (void)state;
  try_all(refused, REFUSED, try_refused);
}

static void chosen(struct world *world, enum meter_scope device, const struct meter *meter, const char *rail) {
  world->device = device;
  struct meter_session *session = open_session(world);
  assert_ptr_equal(session->meter, meter);
  if (meter)
    assert_string_equal(session->properties.rail, rail);
  meter_session_close(session);
  assert_int_equal(fake->opened, 0);
}

static struct world *world_with_card(void **made) {
  assert_int_equal(setup(made), 0);
  scene.shape = &constant;
  scene.frozen = (struct span){0};
  scene.world = *made;
  build_card(scene.world);
  return scene.world;
}

/* A card's joules are not those of a run on the processor, nor the other way round; a module has both. */
static void scopes_are_not_mixed(void **state) {
  (void)state;
  void *made = NULL;
  struct world *world = world_with_card(&made);
  unsetenv("CUDA_VISIBLE_DEVICES");
  chosen(world, METER_PROCESSOR, NULL, NULL);
  chosen(world, METER_GPU, &meter_nvml, "graphics card 0 of 2 (Made-up card 0)");
  assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "1,0", 1), 0);
  chosen(world, METER_GPU, &meter_nvml, "graphics card 1 of 2 (Made-up card 1)");
  assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "GPU-made-up-1,GPU-made-up-0", 1), 0);
  chosen(world, METER_GPU, &meter_nvml, "graphics card 1 of 2 (Made-up card 1)");
  /* A name that NVML does not know, or a part of a card: not another card's joules. */
  assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "GPU-made", 1), 0);
  chosen(world, METER_GPU, NULL, NULL);
  assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "MIG-made-up-0", 1), 0);
  chosen(world, METER_GPU, NULL, NULL);
  assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "7", 1), 0);
  chosen(world, METER_GPU, &meter_nvml, "graphics card 0 of 2 (Made-up card 0)");
  unsetenv("CUDA_VISIBLE_DEVICES");
  build_packages(world);
  chosen(world, METER_PROCESSOR, &meter_rapl, "package-0 + package-1");
  chosen(world, METER_GPU, &meter_nvml, "graphics card 0 of 2 (Made-up card 0)");
  fake->energy_code = 3; /* a Jetson's */
  chosen(world, METER_GPU, NULL, NULL);
  build_orin(world);
  chosen(world, METER_GPU, &meter_ina3221, "VDD_IN");
  chosen(world, METER_PROCESSOR, &meter_ina3221, "VDD_IN");
  assert_int_equal(teardown(&made), 0);
}

/* The counter is refreshed at its own pace: between two refreshes it says nothing. */
static void too_short_for_a_card(void **state) {
  (void)state;
  void *made = NULL;
  struct world *world = world_with_card(&made);
  world->now = 1;
  struct meter_result result = measure(world, 0.01, 0.002);
  assert_false(result.measured);
  assert_contains(result.reason, "NVML stood at zero for the whole window of 0.01 s");
  assert_int_equal(teardown(&made), 0);
}

static void the_document_has_the_table(void **state) {
  (void)state;
  struct ffb_error error = {0};
  size_t bytes;
  assert_true(file_replace(TABLE, table, strlen(table), "", &error));
  char *document = file_read(DOCUMENT, &bytes, &error);
  assert_non_null(document);
  bool same = strstr(document, table) != NULL;
  ffb_free(document);
  if (!same)
    fail_msg("%s does not say what the faults did: put %s in the place of its table", DOCUMENT, TABLE);
}

static int open_library(void **state) {
  (void)state;
  void *library = dlopen(NVML_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  fake = library ? dlsym(library, "fake_nvml") : NULL;
  return fake ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_are_true_or_say_what_they_lack),
      cmocka_unit_test(what_cannot_be_read_is_not_measured),
      cmocka_unit_test(scopes_are_not_mixed),
      cmocka_unit_test(too_short_for_a_card),
      cmocka_unit_test(the_document_has_the_table),
  };
  strcpy(table, "| meter | what happens | error of the joules | coverage | bridged | what the record says |\n"
                "|---|---|---|---|---|---|\n");
  return cmocka_run_group_tests_name("replay", tests, open_library, NULL);
}
