#include "harness/meters/memory.h"

#include "harness/meters/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *proc_of(const struct meter_memory_roots *roots) {
  return roots && roots->proc ? roots->proc : "/proc";
}

static const char *sysfs_of(const struct meter_memory_roots *roots) {
  return roots && roots->sysfs ? roots->sysfs : "/sys";
}

static struct meter_memory_value unknown(const char *file, const char *why) {
  struct meter_memory_value value = {0};
  snprintf(value.reason, sizeof value.reason, "%.180s: %s", file, why);
  return value;
}

/* A count at the start of the text; returns what follows it, or null where there is none. */
static const char *parse_count(const char *text, uint64_t *count) {
  char *rest;
  errno = 0;
  *count = strtoull(text, &rest, 10);
  return rest != text && !errno ? rest : NULL;
}

/* "VmHWM:     1716 kB" in the text of a status file. */
static struct meter_memory_value status_field(const char *path, const char *text, const char *field) {
  const char *line = strstr(text, field), *unit = NULL;
  uint64_t kilobytes = 0;
  if (line)
    unit = parse_count(line + strlen(field), &kilobytes);
  if (!unit || strcspn(unit, "\n") != 3 || strncmp(unit, " kB", 3) != 0)
    return unknown(path, "the kernel does not tell");
  return (struct meter_memory_value){.known = true, .bytes = kilobytes * 1024};
}

static void read_status(const struct meter_memory_roots *roots, struct meter_memory *memory) {
  char path[METER_SYSFS_PATH], text[4096];
  snprintf(path, sizeof path, "%.400s/self/status", proc_of(roots));
  int code = meter_sysfs_read_file(path, text, sizeof text);
  if (code) {
    memory->resident_now = memory->resident_peak = unknown(path, meter_sysfs_words(code));
    return;
  }
  memory->resident_now = status_field(path, text, "\nVmRSS:");
  memory->resident_peak = status_field(path, text, "\nVmHWM:");
}

/* The path of this process in the version-2 hierarchy: the line "0::/path". */
static bool own_cgroup(const char *proc, char *group, size_t size) {
  char path[METER_SYSFS_PATH], line[METER_SYSFS_PATH];
  bool found = false;
  snprintf(path, sizeof path, "%.400s/self/cgroup", proc);
  FILE *file = fopen(path, "re");
  if (!file)
    return false;
  while (!found && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    found = !strncmp(line, "0::/", 4) && strlen(line + 3) < size;
    if (found)
      memcpy(group, line + 3, strlen(line + 3) + 1);
  }
  fclose(file);
  return found;
}

static struct meter_memory_value read_cgroup(const struct meter_memory_roots *roots) {
  /* Where version 1 is in use too, version 2 is mounted one level down. */
  static const char *const mounts[] = {"fs/cgroup", "fs/cgroup/unified"};
  char group[METER_SYSFS_PATH - 128], path[METER_SYSFS_PATH], text[64];
  if (!own_cgroup(proc_of(roots), group, sizeof group))
    return unknown("cgroup", "this process is in no version-2 control group");
  const char *inner = strcmp(group, "/") ? group : "";
  int code = ENOENT;
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts && code == ENOENT; i++) {
    int length = snprintf(path, sizeof path, "%s/%s%s/memory.peak", sysfs_of(roots), mounts[i], inner);
    code = length > 0 && (size_t)length < sizeof path ? meter_sysfs_read_file(path, text, sizeof text) : ENAMETOOLONG;
  }
  if (code == ENOENT)
    return unknown("cgroup memory.peak",
                   "not there (it needs Linux 5.19, the memory controller, and a group below the root)");
  uint64_t bytes = 0;
  const char *rest = code ? NULL : parse_count(text, &bytes);
  if (!code && (!rest || *rest))
    code = EBADMSG;
  if (code)
    return unknown("cgroup memory.peak", meter_sysfs_words(code));
  return (struct meter_memory_value){.known = true, .bytes = bytes};
}

void meter_memory_read(const struct meter_memory_roots *roots, struct meter_memory *memory) {
  *memory = (struct meter_memory){0};
  read_status(roots, memory);
  memory->cgroup_peak = read_cgroup(roots);
}

static int write_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0)
    return errno;
  int code = write(file, text, strlen(text)) < 0 ? errno : 0;
  close(file);
  return code;
}

void meter_memory_reset(const struct meter_memory_roots *roots, struct meter_memory_reset *reset) {
  const uint64_t slack = 4 << 20; /* pages may come and go between the write and the reading */
  char path[METER_SYSFS_PATH];
  struct meter_memory after = {0};
  *reset = (struct meter_memory_reset){0};
  snprintf(path, sizeof path, "%.400s/self/clear_refs", proc_of(roots));
  int code = write_text(path, "5");
  if (code) {
    snprintf(reset->reason, sizeof reset->reason, "%.180s: %s", path, meter_sysfs_words(code));
    return;
  }
  read_status(roots, &after);
  reset->peak_reset = after.resident_peak.known && after.resident_now.known &&
                      after.resident_peak.bytes <= after.resident_now.bytes + slack;
  if (!reset->peak_reset)
    snprintf(reset->reason, sizeof reset->reason, "%.180s: the kernel took the request and did not act on it", path);
}
