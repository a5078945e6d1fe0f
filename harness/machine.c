#include "harness/machine.h"

#include "harness/meters/clock.h"
#include "harness/value.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LINE_BYTES = 8192 };

static const char board_file[] = "/proc/device-tree/model"; /* of boards, not of PCs */

/* The first line of a small file; empty where there is none. */
static void first_line(const char *path, char *text, size_t size) {
  text[0] = '\0';
  FILE *file = fopen(path, "re");
  if (!file)
    return;
  if (!fgets(text, (int)size, file))
    text[0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  fclose(file);
}

static double first_number(const char *path) {
  char text[MACHINE_TEXT], *end;
  first_line(path, text, sizeof text);
  double value = strtod(text, &end);
  return end == text ? -1 : value;
}

/* The value behind "key : value" or key="value" on the first line that has the key. */
static void find_value(const char *path, const char *key, char separator, char *value, size_t size) {
  char line[LINE_BYTES];
  value[0] = '\0';
  FILE *file = fopen(path, "re");
  if (!file)
    return;
  while (!value[0] && fgets(line, sizeof line, file)) {
    char *at = strchr(line, separator);
    if (!at || strncmp(line, key, strlen(key)) != 0)
      continue;
    at += 1 + strspn(at + 1, " \t\"");
    at[strcspn(at, "\"\n")] = '\0';
    snprintf(value, size, "%s", at);
  }
  fclose(file);
}

static void read_instructions(char *text, size_t size) {
  static const char *const wanted[] = {"avx2",     "fma",   "avx512f", "avx512_vnni", "avx_vnni",
                                       "amx_int8", "asimd", "asimddp", "i8mm",        "sve"};
  char flags[LINE_BYTES], *rest = flags;
  find_value("/proc/cpuinfo", "flags", ':', flags, sizeof flags);
  if (!flags[0])
    find_value("/proc/cpuinfo", "Features", ':', flags, sizeof flags);
  text[0] = '\0';
  for (char *word = strtok_r(flags, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
      if (strcmp(word, wanted[i]) == 0) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", used ? " " : "", word);
      }
}

static double throttle_count(void) {
  double sum = -1;
  for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
    char path[MACHINE_TEXT];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/thermal_throttle/core_throttle_count", cpu);
    double count = first_number(path);
    if (count >= 0)
      sum = (sum < 0 ? 0 : sum) + count;
  }
  return sum;
}

void machine_read(struct machine *machine) {
  struct utsname name;
  char megahertz[MACHINE_TEXT];
  *machine = (struct machine){.processors_online = (int)sysconf(_SC_NPROCESSORS_ONLN),
                              .memory_bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE),
                              .load_average = first_number("/proc/loadavg"),
                              .throttle_count = throttle_count()};
  find_value("/proc/cpuinfo", "model name", ':', machine->processor, sizeof machine->processor);
  if (!machine->processor[0])
    first_line(board_file, machine->processor, sizeof machine->processor);
  read_instructions(machine->instructions, sizeof machine->instructions);
  find_value("/etc/os-release", "PRETTY_NAME", '=', machine->system, sizeof machine->system);
  if (uname(&name) == 0)
    snprintf(machine->kernel, sizeof machine->kernel, "%s %s %s", name.sysname, name.release, name.machine);
  first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", machine->governor, sizeof machine->governor);
  double kilohertz = first_number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq");
  find_value("/proc/cpuinfo", "cpu MHz", ':', megahertz, sizeof megahertz);
  machine->megahertz = kilohertz > 0 ? kilohertz / 1000 : strtod(megahertz, NULL);
}

bool machine_is_jetson(void) {
  char model[MACHINE_TEXT];
  first_line(board_file, model, sizeof model);
  return strstr(model, "Jetson");
}

json_t *machine_json(const struct machine *machine) {
  return json_pack("{s:o, s:o, s:i, s:I, s:o, s:o, s:o, s:o, s:o}", "processor", value_text(machine->processor),
                   "instructions", value_text(machine->instructions), "processors", machine->processors_online,
                   "memory_bytes", (json_int_t)machine->memory_bytes, "system", value_text(machine->system), "kernel",
                   value_text(machine->kernel), "clock_governor", value_text(machine->governor), "clock_megahertz",
                   machine->megahertz > 0 ? json_real(machine->megahertz) : json_null(), "load_average",
                   machine->load_average >= 0 ? json_real(machine->load_average) : json_null());
}

static int is_visible(const struct dirent *entry) {
  return entry->d_name[0] != '.';
}

/* "NVIDIA H100, NVIDIA H100": the model that the driver gives for each device. */
static void list_gpus(const char *driver, char *names, size_t size) {
  char folder[MACHINE_TEXT];
  struct dirent **devices;
  names[0] = '\0';
  snprintf(folder, sizeof folder, "%s/gpus", driver);
  int count = scandir(folder, &devices, is_visible, alphasort);
  for (int i = 0; i < count; i++) {
    char path[3 * MACHINE_TEXT], model[MACHINE_TEXT];
    size_t used = strlen(names);
    snprintf(path, sizeof path, "%s/%s/information", folder, devices[i]->d_name);
    find_value(path, "Model", ':', model, sizeof model);
    snprintf(names + used, size - used, "%s%s", used && model[0] ? ", " : "", model);
    free(devices[i]);
  }
  if (count >= 0)
    free(devices);
}

json_t *machine_gpu_json(const char *driver, const char *board) {
  char path[MACHINE_TEXT], version[MACHINE_TEXT], names[2 * MACHINE_TEXT];
  snprintf(path, sizeof path, "%s/version", driver);
  find_value(path, "NVRM version", ':', version, sizeof version);
  if (!version[0])
    first_line(board, version, sizeof version);
  list_gpus(driver, names, sizeof names);
  if (!version[0] && !names[0])
    return json_null();
  return json_pack("{s:o, s:o}", "name", value_text(names), "driver", value_text(version));
}

/* Seconds that all processors were busy since start-up: all columns of /proc/stat but idle and waiting for disks. */
static double busy_seconds(void) {
  char line[MACHINE_TEXT], *at = line;
  double busy = 0;
  first_line("/proc/stat", line, sizeof line);
  if (strncmp(line, "cpu ", 4) != 0)
    return -1;
  at += 4;
  /* user nice system idle iowait irq softirq steal; guest time is part of user time already. */
  for (int column = 0; column < 8; column++) {
    double ticks = strtod(at, &at);
    if (column != 3 && column != 4)
      busy += ticks;
  }
  return busy / (double)sysconf(_SC_CLK_TCK);
}

static double seconds(struct timeval time) {
  return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static double own_seconds(void) {
  struct rusage self;
  getrusage(RUSAGE_SELF, &self);
  return seconds(self.ru_utime) + seconds(self.ru_stime);
}

void machine_watch_start(struct machine_watch *watch) {
  *watch = (struct machine_watch){
      .wall = meter_clock_seconds(), .busy = busy_seconds(), .own = own_seconds(), .throttle_count = throttle_count()};
}

bool machine_watch_read(const struct machine_watch *watch, struct machine_usage *usage) {
  double busy = busy_seconds();
  *usage = (struct machine_usage){.own = own_seconds() - watch->own};
  usage->capacity = (meter_clock_seconds() - watch->wall) * (double)sysconf(_SC_NPROCESSORS_ONLN);
  if (busy < 0 || watch->busy < 0)
    return false;
  usage->other = busy - watch->busy - usage->own;
  if (usage->other < 0)
    usage->other = 0;
  return true;
}
