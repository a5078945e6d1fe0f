/* RAPL, the energy counters of Intel and AMD processors, through the kernel's powercap interface (Documentation/power/
 * powercap/powercap.rst).
 *
 * Only package zones are summed. A package contains its core and uncore zones, psys contains the packages, and
 * intel-rapl-mmio shows the same packages by another way, so it serves where the first is missing, and as a second
 * reader to hold the first against. Memory (dram)
 * is outside a package and is not counted: many machines do not have that zone. */
#include "harness/meters/rapl.h"
#include "base/memory.h"
#include "harness/meters/meter.h"
#include "harness/meters/sysfs.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAXIMUM_ZONES = 16, ZONE_NAME = 32 };

const double rapl_package_limit_watts = 1000;
const double rapl_resolution = 0x1p-14;

/* A counter moves every millisecond, as no package draws nothing. */
const struct meter_still_rule rapl_still_rule = {.seconds = 0.5, .readings = 1, .unseen_seconds = INFINITY};

/* Two ways to the same packages. */
static const struct path {
  const char *control_type, *source;
} paths[] = {{"intel-rapl", "RAPL powercap"}, {"intel-rapl-mmio", "RAPL powercap MMIO"}};
enum { PATHS = sizeof paths / sizeof *paths, MMIO = 1 };

struct zone {
  char name[ZONE_NAME];
  char energy[METER_SYSFS_PATH]; /* the counter, in microjoules */
  long long range;               /* the counter goes from 0 to range */
  long long last;
  double joules; /* since open, wraps undone */
  struct meter_still still;
};

struct rapl {
  struct meter_system system;
  const struct path *path;
  struct zone zones[MAXIMUM_ZONES];
  size_t zone_count;
};

static bool known_zone(const struct rapl *rapl, const char *name) {
  for (size_t i = 0; i < rapl->zone_count; i++)
    if (!strcmp(rapl->zones[i].name, name))
      return true;
  return false;
}

static void add_zone(struct rapl *rapl, const char *folder) {
  char path[METER_SYSFS_PATH], name[ZONE_NAME];
  static const char package[] = "package-";
  if (rapl->zone_count == MAXIMUM_ZONES || !meter_sysfs_join(path, folder, "name") ||
      rapl->system.read_text(rapl->system.context, path, name, sizeof name))
    return;
  if (strncmp(name, package, sizeof package - 1) != 0 || known_zone(rapl, name))
    return;
  struct zone *zone = &rapl->zones[rapl->zone_count];
  *zone = (struct zone){0};
  memcpy(zone->name, name, sizeof zone->name);
  if (!meter_sysfs_join(path, folder, "max_energy_range_uj") || !meter_sysfs_join(zone->energy, folder, "energy_uj"))
    return;
  if (meter_sysfs_number(&rapl->system, path, &zone->range) || zone->range < 0)
    zone->range = 0; /* open refuses such a zone by name */
  rapl->zone_count++;
}

static void find_zones(struct rapl *rapl, const struct path *path) {
  char pattern[METER_SYSFS_PATH];
  glob_t found = {0};
  int length = snprintf(pattern, sizeof pattern, "%s/class/powercap/%s:*", rapl->system.sysfs, path->control_type);
  rapl->path = path;
  if (length > 0 && (size_t)length < sizeof pattern && !glob(pattern, 0, NULL, &found))
    for (size_t i = 0; i < found.gl_pathc; i++)
      add_zone(rapl, found.gl_pathv[i]);
  globfree(&found);
}

static int read_zone(const struct rapl *rapl, const struct zone *zone, long long *microjoules) {
  int code = meter_sysfs_number(&rapl->system, zone->energy, microjoules);
  return code || (*microjoules >= 0 && *microjoules <= zone->range) ? code : ERANGE;
}

/* Read every zone, and only then advance any, so that a failure leaves the sum as it was. */
static int advance(struct rapl *rapl, const struct zone **failed, struct meter_reading *reading) {
  double time = rapl->system.now(rapl->system.context);
  long long now[MAXIMUM_ZONES] = {0};
  for (size_t i = 0; i < rapl->zone_count; i++) {
    int code = read_zone(rapl, &rapl->zones[i], &now[i]);
    if (code) {
      *failed = &rapl->zones[i];
      return code;
    }
  }
  for (size_t i = 0; i < rapl->zone_count; i++) {
    struct zone *zone = &rapl->zones[i];
    long long step = now[i] - zone->last;
    zone->joules += 1e-6 * (double)(step >= 0 ? step : step + zone->range);
    zone->last = now[i];
    size_t doubtful;
    if (meter_still_note(&zone->still, &rapl_still_rule, step == 0, time, &doubtful)) {
      reading->stopped = true;
      *failed = zone;
    }
    if (doubtful > reading->doubtful)
      reading->doubtful = doubtful;
  }
  return 0;
}

static void describe(const struct rapl *rapl, struct meter_properties *properties) {
  double wrap = INFINITY;
  size_t used = 0;
  *properties = (struct meter_properties){
      .resolution = rapl_resolution,
      .limit_watts = rapl_package_limit_watts * (double)rapl->zone_count,
  };
  snprintf(properties->source, sizeof properties->source, "%s", rapl->path->source);
  for (size_t i = 0; i < rapl->zone_count; i++) {
    const struct zone *zone = &rapl->zones[i];
    wrap = fmin(wrap, 1e-6 * (double)zone->range / rapl_package_limit_watts);
    if (used < sizeof properties->rail)
      used +=
          (size_t)snprintf(properties->rail + used, sizeof properties->rail - used, "%s%s", i ? " + " : "", zone->name);
  }
  properties->wrap_seconds = wrap;
  properties->interval_seconds = fmin(2.0, wrap / 4);
}

static enum meter_state refuse(const struct rapl *rapl, const struct zone *zone, int code,
                               struct meter_problem *problem) {
  if (code != EACCES) {
    snprintf(problem->reason, sizeof problem->reason, "RAPL %s: energy_uj: %s", zone->name, meter_sysfs_words(code));
    return METER_UNREADABLE;
  }
  snprintf(problem->reason, sizeof problem->reason, "RAPL energy_uj is readable by root only");
  snprintf(problem->remedy, sizeof problem->remedy, "sudo chmod a+r %.250s/class/powercap/%s:*/energy_uj",
           rapl->system.sysfs, rapl->path->control_type);
  return METER_UNREADABLE;
}

static enum meter_state rapl_try(struct rapl *rapl, size_t first_path, struct meter_properties *properties,
                                 struct meter_problem *problem) {
  for (size_t i = first_path; i < PATHS && !rapl->zone_count; i++)
    find_zones(rapl, &paths[i]);
  if (!rapl->zone_count) {
    snprintf(problem->reason, sizeof problem->reason,
             "no RAPL package at %.200s/class/powercap (a virtual machine, or on x86 the module that "
             "`sudo modprobe intel_rapl_msr` loads)",
             rapl->system.sysfs);
    return METER_ABSENT;
  }
  for (size_t i = 0; i < rapl->zone_count; i++) {
    struct zone *zone = &rapl->zones[i];
    if (!zone->range) {
      snprintf(problem->reason, sizeof problem->reason, "RAPL %s has no max_energy_range_uj: its wraps would be lost",
               zone->name);
      return METER_UNREADABLE;
    }
    int code = read_zone(rapl, zone, &zone->last);
    if (code)
      return refuse(rapl, zone, code, problem);
  }
  describe(rapl, properties);
  return METER_WORKS;
}

static enum meter_state open_by(const struct meter_system *system, size_t first_path, void **handle,
                                struct meter_properties *properties, struct meter_problem *problem) {
  struct ffb_error error;
  struct rapl *rapl = ffb_allocate(1, sizeof *rapl, &error);
  if (!rapl) {
    snprintf(problem->reason, sizeof problem->reason, "RAPL: %.300s", error.message);
    return METER_UNREADABLE;
  }
  rapl->system = *system;
  enum meter_state state = rapl_try(rapl, first_path, properties, problem);
  if (state == METER_WORKS)
    *handle = rapl;
  else
    ffb_free(rapl);
  return state;
}

static enum meter_state rapl_open(const struct meter_system *system, void **handle, struct meter_properties *properties,
                                  struct meter_problem *problem) {
  return open_by(system, 0, handle, properties, problem);
}

static enum meter_state rapl_mmio_open(const struct meter_system *system, void **handle,
                                       struct meter_properties *properties, struct meter_problem *problem) {
  enum meter_state state = open_by(system, MMIO, handle, properties, problem);
  if (state == METER_ABSENT)
    snprintf(problem->reason, sizeof problem->reason, "no intel-rapl-mmio beside intel-rapl");
  return state;
}

static bool rapl_read(void *handle, struct meter_reading *reading, struct ffb_error *error) {
  struct rapl *rapl = handle;
  const struct zone *failed = NULL;
  int code = advance(rapl, &failed, reading);
  if (code)
    return ffb_fail(error, "%s energy_uj: %s", failed->name, meter_sysfs_words(code));
  if (reading->stopped)
    return ffb_fail(error, "%s energy_uj: the counter has stopped", failed->name);
  for (size_t i = 0; i < rapl->zone_count; i++)
    reading->value += rapl->zones[i].joules;
  return true;
}

static void rapl_close(void *handle) {
  ffb_free(handle);
}

static const struct meter rapl_mmio = {
    .name = "rapl_mmio",
    .description = "energy of the processor packages, from the memory-mapped RAPL counters of Intel",
    .kind = METER_COUNTER,
    .scope = METER_PROCESSOR,
    .open = rapl_mmio_open,
    .read = rapl_read,
    .close = rapl_close,
};

static const struct meter *const seconds[] = {&meter_rapl_perf, &rapl_mmio, NULL};

const struct meter meter_rapl = {
    .name = "rapl",
    .description = "energy of the processor packages, from the RAPL counters of Intel and AMD",
    .kind = METER_COUNTER,
    .scope = METER_PROCESSOR,
    .seconds = seconds,
    .open = rapl_open,
    .read = rapl_read,
    .close = rapl_close,
};
