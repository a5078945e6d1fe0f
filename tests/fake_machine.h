/* A made-up machine: files in a temporary folder say what is there, and a reader put between gives values as functions
 * of a clock that the test moves, or an errno. So the truth is known and no test waits. */
#ifndef FFB_TESTS_FAKE_MACHINE_H
#define FFB_TESTS_FAKE_MACHINE_H

#include "harness/meters/meter.h"
#include "harness/meters/window.h"
#include "tests/scratch.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#define HWMON0 "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
#define HWMON1 "bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4"
#define IIO    "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
#define RAPL   "class/powercap/intel-rapl"

enum { PATH = 512, OVERRIDES = 16 };

/* What a file whose path ends in `suffix` gives instead of its content. */
struct override {
  const char *suffix;
  const char *text;               /* this, if set */
  int code;                       /* else this errno, if set */
  long long (*value)(double now); /* else this */
  double from, until;             /* only in this span of time; until 0: for ever */
};

/* What perf counts. */
struct fake_event {
  unsigned unit;
  unsigned long long event;
  int processor;
  unsigned long long (*count)(double now);
  int descriptor; /* set by the world */
};

struct world {
  char root[64];
  double now;
  struct override overrides[OVERRIDES];
  size_t override_count;
  uint64_t readings;       /* of currents and powers: their last bit is never at rest */
  bool at_rest;            /* but here it is */
  enum meter_scope device; /* that does the work */
  struct fake_event events[2];
  int open_code, event_code; /* errno of opening an event, and of reading one */
  struct meter_system system;
};

static inline double fake_now(void *context) {
  return ((struct world *)context)->now;
}

static inline bool ends_with(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length >= tail && !strcmp(text + length - tail, suffix);
}

static inline bool converted(const char *path) {
  const char *name = strrchr(path, '/') + 1;
  return !strncmp(name, "curr", 4) || !strncmp(name, "in_power", 8);
}

/* A converter's last bit, up and down in turn, so that the mean is the truth. */
static inline void add_noise(struct world *world, const char *path, char *text, size_t size) {
  enum { LAST_BIT = 8 };
  if (converted(path) && !world->at_rest)
    snprintf(text, size, "%lld", strtoll(text, NULL, 10) + (world->readings++ % 2 ? LAST_BIT : -LAST_BIT));
}

static inline int fake_read(void *context, const char *path, char *text, size_t size) {
  struct world *world = context;
  for (size_t i = 0; i < world->override_count; i++) {
    const struct override *override = &world->overrides[i];
    if (!ends_with(path, override->suffix) || world->now < override->from ||
        (override->until > 0 && world->now >= override->until))
      continue;
    if (override->text)
      snprintf(text, size, "%s", override->text);
    else if (!override->code)
      snprintf(text, size, "%lld", override->value(world->now));
    return override->text ? 0 : override->code;
  }
  struct meter_system real = meter_system_default(NULL);
  int code = real.read_text(real.context, path, text, size);
  if (!code)
    add_noise(world, path, text, size);
  return code;
}

static inline void add_override(struct world *world, struct override override) {
  assert_true(world->override_count < OVERRIDES);
  world->overrides[world->override_count++] = override;
}

static inline void write_file(const struct world *world, const char *name, const char *text) {
  char path[2 * PATH];
  snprintf(path, sizeof path, "%s/%s", world->root, name);
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(path, 0755);
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "%s\n", text);
  assert_int_equal(fclose(file), 0);
}

static inline void write_number(const struct world *world, const char *folder, const char *format_before, int channel,
                                const char *after, long long value) {
  char name[PATH], text[32];
  snprintf(name, sizeof name, "%s/%s%d%s", folder, format_before, channel, after);
  snprintf(text, sizeof text, "%lld", value);
  write_file(world, name, text);
}

static inline void write_hwmon(const struct world *world, const char *folder, int channel, const char *label,
                               long long millivolts, long long milliamperes) {
  char name[PATH];
  snprintf(name, sizeof name, "%s/in%d_label", folder, channel);
  write_file(world, name, label);
  write_number(world, folder, "in", channel, "_input", millivolts);
  write_number(world, folder, "curr", channel, "_input", milliamperes);
  write_number(world, folder, "shunt", channel, "_resistor", 5000);
}

static inline void write_orin_nano(const struct world *world) {
  write_hwmon(world, HWMON0, 1, "VDD_IN", 5000, 1504);
  write_hwmon(world, HWMON0, 2, "VDD_CPU_GPU_CV", 5000, 504);
  write_hwmon(world, HWMON0, 3, "VDD_SOC", 5000, 304);
  write_number(world, HWMON0, "in", 4, "_input", 7520); /* shunt voltage, uV */
  write_file(world, HWMON0 "/in7_label", "sum of shunt voltages");
}

static inline void write_zone(const struct world *world, const char *zone, const char *name, long long energy,
                              long long range) {
  char path[PATH], text[32];
  snprintf(path, sizeof path, "%s/name", zone);
  write_file(world, path, name);
  snprintf(path, sizeof path, "%s/energy_uj", zone);
  snprintf(text, sizeof text, "%lld", energy);
  write_file(world, path, text);
  snprintf(path, sizeof path, "%s/max_energy_range_uj", zone);
  snprintf(text, sizeof text, "%lld", range);
  write_file(world, path, text);
}

static inline int fake_open_event(void *context, unsigned unit, unsigned long long event, int processor) {
  struct world *world = context;
  errno = world->open_code ? world->open_code : ENOENT;
  for (size_t i = 0; !world->open_code && i < sizeof world->events / sizeof *world->events; i++) {
    struct fake_event *it = &world->events[i];
    if (it->count && it->unit == unit && it->event == event && it->processor == processor)
      return it->descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  return -1;
}

static inline int fake_read_event(void *context, int descriptor, unsigned long long *count) {
  struct world *world = context;
  for (size_t i = 0; i < sizeof world->events / sizeof *world->events; i++)
    if (world->events[i].count && world->events[i].descriptor == descriptor)
      *count = world->events[i].count(world->now);
  return world->event_code;
}

static inline int setup(void **state) {
  struct world *world = calloc(1, sizeof *world);
  if (!world)
    return -1;
  if (scratch_make(world->root, sizeof world->root)) {
    free(world);
    return -1;
  }
  world->device = METER_PROCESSOR;
  world->system = (struct meter_system){.sysfs = world->root,
                                        .context = world,
                                        .now = fake_now,
                                        .read_text = fake_read,
                                        .open_event = fake_open_event,
                                        .read_event = fake_read_event};
  *state = world;
  return 0;
}

static inline int teardown(void **state) {
  struct world *world = *state;
  int code = scratch_remove(world->root);
  free(world);
  return code;
}

static inline struct meter_session *open_session(struct world *world) {
  struct ffb_error error = {0};
  struct meter_session *session = meter_session_open(&world->system, world->device, &error);
  assert_non_null(session);
  return session;
}

static inline struct meter_window *open_window(struct meter_session *session) {
  struct meter_window_options options = {.caller_samples = true};
  struct meter_window *window = meter_window_create(session, &options, NULL);
  assert_non_null(window);
  return window;
}

/* Let time pass with a reading at each step; every third step is half as long again, as a busy machine's are. */
static inline void run_for(struct world *world, struct meter_window *window, double seconds, double step) {
  double end = world->now + seconds;
  for (int i = 0; world->now + 1.5 * step < end; i++) {
    world->now += i % 3 ? step : 1.5 * step;
    meter_window_sample(window);
  }
  world->now = end;
}

static inline struct meter_result measure(struct world *world, double seconds, double step) {
  struct meter_result result;
  struct meter_session *session = open_session(world);
  struct meter_window *window = open_window(session);
  meter_window_begin(window);
  run_for(world, window, seconds, step);
  meter_window_end(window, &result);
  meter_window_destroy(window);
  meter_session_close(session);
  return result;
}

static inline void assert_near(double value, double truth, double relative) {
  if (!(fabs(value - truth) <= relative * fabs(truth)))
    fail_msg("%.9g is not within %g of %.9g", value, relative, truth);
}

#endif
