/* RAPL as perf counts it (perf_event_open): the kernel's power unit sums the same registers by itself, into 64 bits
 * that do not wrap, with a scale of its own. So it holds wraps, units and zones of harness/meters/rapl.c to account.
 * One event for each package (each die where packages have several), on the processor that cpumask names for it. */
#include "base/memory.h"
#include "harness/meters/meter.h"
#include "harness/meters/rapl.h"
#include "harness/meters/sysfs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAXIMUM_PACKAGES = 16, MASK_TEXT = 128 };

#define UNIT "bus/event_source/devices/power"

struct package {
  int descriptor;
  long long processor, package, die;
  unsigned long long last;
  struct meter_still still;
};

struct rapl_perf {
  struct meter_system system;
  double scale; /* J */
  struct package packages[MAXIMUM_PACKAGES];
  size_t package_count;
};

static int read_unit(const struct rapl_perf *perf, const char *file, char *text, size_t size) {
  char path[METER_SYSFS_PATH];
  int length = snprintf(path, sizeof path, "%s/" UNIT "/%s", perf->system.sysfs, file);
  return length < 0 || length >= METER_SYSFS_PATH ? ENAMETOOLONG
                                                  : perf->system.read_text(perf->system.context, path, text, size);
}

/* Of the processor `processor`; -1 where nothing tells. */
static long long topology(const struct rapl_perf *perf, long long processor, const char *file) {
  char path[METER_SYSFS_PATH];
  long long number;
  int length =
      snprintf(path, sizeof path, "%s/devices/system/cpu/cpu%lld/topology/%s", perf->system.sysfs, processor, file);
  return length < 0 || length >= METER_SYSFS_PATH || meter_sysfs_number(&perf->system, path, &number) ? -1 : number;
}

/* "0,24-25" */
static bool read_mask(struct rapl_perf *perf) {
  char text[MASK_TEXT], *at = text;
  if (read_unit(perf, "cpumask", text, sizeof text))
    return false;
  while (*at) {
    char *end;
    long long first = strtoll(at, &end, 10), last = first;
    if (end == at || first < 0)
      return false;
    if (*end == '-')
      last = strtoll(end + 1, &end, 10);
    if (last - first >= (long long)(MAXIMUM_PACKAGES - perf->package_count) || (*end && *end != ','))
      return false;
    for (long long processor = first; processor <= last; processor++)
      perf->packages[perf->package_count++] =
          (struct package){.descriptor = -1,
                           .processor = processor,
                           .package = topology(perf, processor, "physical_package_id"),
                           .die = topology(perf, processor, "die_id")};
    at = *end ? end + 1 : end;
  }
  return perf->package_count > 0;
}

/* What to open: "event=0x02" and nothing else. */
static bool read_event(const struct rapl_perf *perf, unsigned long long *event) {
  static const char name[] = "event=";
  char text[64], *end;
  if (read_unit(perf, "events/energy-pkg", text, sizeof text) || strncmp(text, name, sizeof name - 1) != 0)
    return false;
  *event = strtoull(text + sizeof name - 1, &end, 0);
  return end != text + sizeof name - 1 && !*end;
}

static bool read_scale(struct rapl_perf *perf) {
  char text[64], unit[32], *end;
  if (read_unit(perf, "events/energy-pkg.scale", text, sizeof text) ||
      read_unit(perf, "events/energy-pkg.unit", unit, sizeof unit) || strcmp(unit, "Joules") != 0)
    return false;
  perf->scale = strtod(text, &end);
  return end != text && !*end && perf->scale > 0 && perf->scale < 1;
}

static enum meter_state refuse(int code, struct meter_problem *problem) {
  bool forbidden = code == EACCES || code == EPERM;
  snprintf(problem->reason, sizeof problem->reason, "RAPL perf: %s",
           forbidden ? "its counters are for root only" : meter_sysfs_words(code));
  if (forbidden)
    snprintf(problem->remedy, sizeof problem->remedy, "sudo sysctl kernel.perf_event_paranoid=0");
  return METER_UNREADABLE;
}

static bool has_dies(const struct rapl_perf *perf) {
  for (size_t i = 1; i < perf->package_count; i++)
    for (size_t before = 0; before < i; before++)
      if (perf->packages[before].package == perf->packages[i].package)
        return true;
  return false;
}

/* Packages by the names that powercap has for them. */
static void describe(const struct rapl_perf *perf, struct meter_properties *properties) {
  bool dies = has_dies(perf);
  size_t used = 0, size = sizeof properties->rail;
  *properties = (struct meter_properties){.interval_seconds = 2,
                                          .resolution = rapl_resolution,
                                          .wrap_seconds = INFINITY,
                                          .limit_watts = rapl_package_limit_watts * (double)perf->package_count};
  snprintf(properties->source, sizeof properties->source, "RAPL perf");
  for (size_t i = 0; i < perf->package_count && used < size; i++) {
    char die[32] = "";
    if (dies)
      snprintf(die, sizeof die, "-die-%lld", perf->packages[i].die);
    used += (size_t)snprintf(properties->rail + used, size - used, "%spackage-%lld%s", i ? " + " : "",
                             perf->packages[i].package, die);
  }
}

static enum meter_state perf_try(struct rapl_perf *perf, struct meter_properties *properties,
                                 struct meter_problem *problem) {
  const struct meter_system *system = &perf->system;
  char path[METER_SYSFS_PATH];
  unsigned long long event;
  long long unit;
  if (!system->open_event || !meter_sysfs_join(path, system->sysfs, UNIT "/type") ||
      meter_sysfs_number(system, path, &unit)) {
    snprintf(problem->reason, sizeof problem->reason, "RAPL perf: no power unit at %.200s/" UNIT, system->sysfs);
    return METER_ABSENT;
  }
  if (!read_event(perf, &event) || !read_scale(perf) || !read_mask(perf)) {
    snprintf(problem->reason, sizeof problem->reason,
             "RAPL perf: %.200s/" UNIT " has no energy-pkg that this program reads", system->sysfs);
    return METER_ABSENT;
  }
  for (size_t i = 0; i < perf->package_count; i++) {
    struct package *package = &perf->packages[i];
    package->descriptor = system->open_event(system->context, (unsigned)unit, event, (int)package->processor);
    int code =
        package->descriptor < 0 ? errno : system->read_event(system->context, package->descriptor, &package->last);
    if (code)
      return refuse(code, problem);
  }
  describe(perf, properties);
  return METER_WORKS;
}

static void perf_close(void *handle) {
  struct rapl_perf *perf = handle;
  for (size_t i = 0; i < perf->package_count; i++)
    if (perf->packages[i].descriptor >= 0)
      close(perf->packages[i].descriptor);
  ffb_free(perf);
}

static enum meter_state perf_open(const struct meter_system *system, void **handle, struct meter_properties *properties,
                                  struct meter_problem *problem) {
  struct ffb_error error;
  struct rapl_perf *perf = ffb_allocate(1, sizeof *perf, &error);
  if (!perf) {
    snprintf(problem->reason, sizeof problem->reason, "RAPL perf: %.300s", error.message);
    return METER_UNREADABLE;
  }
  perf->system = *system;
  enum meter_state state = perf_try(perf, properties, problem);
  if (state == METER_WORKS)
    *handle = perf;
  else
    perf_close(perf);
  return state;
}

static bool perf_read(void *handle, struct meter_reading *reading, struct ffb_error *error) {
  struct rapl_perf *perf = handle;
  const struct meter_system *system = &perf->system;
  double time = system->now(system->context);
  for (size_t i = 0; i < perf->package_count; i++) {
    struct package *package = &perf->packages[i];
    unsigned long long now;
    size_t doubtful;
    int code = system->read_event(system->context, package->descriptor, &now);
    if (code)
      return ffb_fail(error, "package-%lld energy-pkg: %s", package->package, meter_sysfs_words(code));
    bool same = now == package->last;
    package->last = now;
    reading->stopped |= meter_still_note(&package->still, &rapl_still_rule, same, time, &doubtful);
    if (doubtful > reading->doubtful)
      reading->doubtful = doubtful;
    reading->value += perf->scale * (double)now;
  }
  return !reading->stopped || ffb_fail(error, "energy-pkg: the counter has stopped");
}

const struct meter meter_rapl_perf = {
    .name = "rapl_perf",
    .description = "energy of the processor packages, from perf's count of the RAPL registers",
    .kind = METER_COUNTER,
    .scope = METER_PROCESSOR,
    .open = perf_open,
    .read = perf_read,
    .close = perf_close,
};
