/* RAPL, the energy counters of Intel and AMD processors, through the kernel's powercap interface (Documentation/power/
 * powercap/powercap.rst).
 *
 * Only package zones are summed. A package contains its core and uncore zones, psys contains the packages, and
 * intel-rapl-mmio shows the same packages by another way, so it serves only where the first is missing. Memory (dram)
 * is outside a package and is not counted: many machines do not have that zone. */
#include "base/memory.h"
#include "harness/meters/meter.h"
#include "harness/meters/still.h"
#include "harness/meters/sysfs.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAXIMUM_ZONES = 16, ZONE_NAME = 32 };

/* More than any processor package draws: bounds how soon a counter can wrap. */
static const double package_limit_watts = 1000;

/* A counter moves every millisecond, as no package draws nothing. */
static const struct meter_still_rule still_rule = {.seconds = 0.5, .readings = 1, .unseen_seconds = INFINITY};

static const char *const control_types[] = {"intel-rapl", "intel-rapl-mmio"};
enum { CONTROL_TYPES = sizeof control_types / sizeof *control_types };

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
  const char *control_type;
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

static void find_zones(struct rapl *rapl, const char *control_type) {
  char pattern[METER_SYSFS_PATH];
  glob_t found = {0};
  int length = snprintf(pattern, sizeof pattern, "%s/class/powercap/%s:*", rapl->system.sysfs, control_type);
  rapl->control_type = control_type;
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
    if (meter_still_note(&zone->still, &still_rule, step == 0, time, &doubtful)) {
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
      .resolution = 61e-6, /* 2^-14 J, the usual unit */
      .limit_watts = package_limit_watts * (double)rapl->zone_count,
  };
  snprintf(properties->source, sizeof properties->source, "RAPL powercap");
  for (size_t i = 0; i < rapl->zone_count; i++) {
    const struct zone *zone = &rapl->zones[i];
    wrap = fmin(wrap, 1e-6 * (double)zone->range / package_limit_watts);
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
           rapl->system.sysfs, rapl->control_type);
  return METER_UNREADABLE;
}

static enum meter_state rapl_try(struct rapl *rapl, struct meter_properties *properties,
                                 struct meter_problem *problem) {
  for (size_t i = 0; i < CONTROL_TYPES && !rapl->zone_count; i++)
    find_zones(rapl, control_types[i]);
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

static enum meter_state rapl_open(const struct meter_system *system, void **handle, struct meter_properties *properties,
                                  struct meter_problem *problem) {
  struct ffb_error error;
  struct rapl *rapl = ffb_allocate(1, sizeof *rapl, &error);
  if (!rapl) {
    snprintf(problem->reason, sizeof problem->reason, "RAPL: %.300s", error.message);
    return METER_UNREADABLE;
  }
  rapl->system = *system;
  enum meter_state state = rapl_try(rapl, properties, problem);
  if (state == METER_WORKS)
    *handle = rapl;
  else
    ffb_free(rapl);
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

const struct meter meter_rapl = {
    .name = "rapl",
    .description = "energy of the processor packages, from the RAPL counters of Intel and AMD",
    .kind = METER_COUNTER,
    .scope = METER_PROCESSOR,
    .open = rapl_open,
    .read = rapl_read,
    .close = rapl_close,
};
