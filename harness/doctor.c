/* ffbench doctor: what this machine can and cannot measure, and what to do about it. */
#include "harness/assembly.h"
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/data.h"
#include "harness/file.h"
#include "harness/machine.h"
#include "harness/meters/conditions.h"
#include "harness/meters/memory.h"
#include "harness/meters/meter.h"
#include "harness/peaks.h"
#include "harness/plugin.h"
#include "harness/run.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A little more than the checkpoints and records of a whole experiment. */
static const double enough_disk_bytes = 1e9;
/* An idle machine stays below this share of its processors. */
static const double idle_load_share = 0.2;

/* What the closing summary says, gathered on the way. */
struct findings {
  bool energy, official_data, idle, writable, trainers;
  char energy_source[128];
};

static void say(const char *title, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(const char *title, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("  %-16s ", title);
  vprintf(format, arguments);
  putchar('\n');
  va_end(arguments);
}

static void remedy(const char *text) {
  if (*text)
    printf("  %-16s -> %s\n", "", text);
}

static bool computes_on_gpu(void) {
  return strcmp(ffb_backend_default()->name, "cuda") == 0;
}

static void examine_machine(struct findings *findings) {
  struct machine machine;
  machine_read(&machine);
  puts("machine");
  say("processor", "%s", machine.processor[0] ? machine.processor : "unknown");
  say("instructions", "%s", machine.instructions[0] ? machine.instructions : "none of those that matter");
  say("processors", "%d, of which this program may use %d", machine.processors_online, assembly_processors());
  say("memory", "%.1f GiB", machine.memory_bytes / 0x1p30);
  say("system", "%s, %s", machine.system[0] ? machine.system : "unknown", machine.kernel);
  say("clock", "%.0f MHz now, governor %s", machine.megahertz, machine.governor[0] ? machine.governor : "unknown");
  if (machine.governor[0] && strcmp(machine.governor, "performance") != 0)
    remedy("for steady times: sudo cpupower frequency-set --governor performance");
  findings->idle = machine.load_average < idle_load_share * machine.processors_online;
  say("load", "%.2f over the last minute: %s", machine.load_average,
      findings->idle ? "the machine is idle" : "others are at work, so times and energy would not be its own");
  if (!findings->idle)
    remedy("stop other programs before a run whose time or energy counts");
}

static void print_fact(void *to, const char *name, const char *value) {
  (void)to;
  say(name, "%s", value);
}

static void say_peaks(const struct ffb_backend *backend) {
  struct peaks peaks = peaks_measure(backend, assembly_processors());
  if (peaks.f32 > 0)
    say("at most", "FP32 %.0f GFLOP/s, INT8 %.0f GOP/s, memory %.1f GB/s, measured just now", peaks.f32 / 1e9,
        peaks.s8 / 1e9, peaks.bytes / 1e9);
}

static void examine_backends(void) {
  for (size_t i = 0; ffb_backend_at(i); i++) {
    const struct ffb_backend *backend = ffb_backend_at(i);
    struct ffb_device_request request = {.threads = assembly_processors()};
    struct ffb_device *device;
    char message[512] = "";
    printf("\nbackend %s: %s\n", backend->name, backend->description);
    if (!backend->open(&device, &request, message, sizeof message)) {
      say("not usable", "%s", message);
      continue;
    }
    backend->describe(device, print_fact, NULL);
    backend->close(device);
    say_peaks(backend);
  }
  for (size_t i = 0; ffb_backend_loadable(i); i++) {
    const char *name = ffb_backend_loadable(i), *problem = ffb_backend_problem(name);
    if (problem) {
      printf("\nbackend %s\n", name);
      say("not usable", "%s", problem);
    }
  }
}

static void count_trainer(void *to, const char *path, const struct ffb_trainer *trainer, const char *problem) {
  struct findings *findings = to;
  (void)path;
  if (trainer) {
    say(trainer->name, "usable, result version %u", (unsigned)trainer->result_version);
    findings->trainers = true;
  } else {
    say("not usable", "%s", problem);
  }
}

static void examine_trainers(struct findings *findings) {
  struct ffb_error error;
  puts("\ntrainers");
  if (!plugin_each(count_trainer, findings, &error))
    say("none", "%s", error.message);
}

static void examine_data(const struct run_config *config, struct findings *findings) {
  puts("\ndata");
  for (size_t i = 0; ffb_dataset_at(i); i++) {
    const struct ffb_dataset_kind *kind = ffb_dataset_at(i);
    struct ffb_error error;
    struct run_config request = {.dataset = kind->name, .data = config->data};
    if (kind->synthetic) {
      say(kind->name, "generated, always there");
      continue;
    }
    const struct ffb_dataset_pair *pair = data_get(&request, &error);
    if (pair)
      say(kind->name, "%s, in %s", pair->official ? "the official data" : "not the official data", pair->train.source);
    else
      say(kind->name, "%s", error.message);
    findings->official_data = findings->official_data || (pair && pair->official);
  }
  data_forget();
}

static void describe_cost(const struct meter *meter, const struct meter_report *report) {
  const struct meter_properties *properties = &report->properties;
  double interval = properties->interval_seconds;
  say("", "read every %g s, in steps of %.3g %s", interval, properties->resolution,
      meter->kind == METER_POWER ? "W" : "J");
  say("", "one reading takes %.0f us, and %.0f us of a processor: %.2g %% of one", 1e6 * report->read_seconds,
      1e6 * report->processor_seconds, 100 * report->processor_seconds / interval);
}

static void describe_second(const struct meter *meter, const struct meter_system *system) {
  struct meter_report report;
  meter_examine(meter, system, &report);
  if (report.state != METER_WORKS) {
    say("", "no second reader: %s", report.problem.reason);
    remedy(report.problem.remedy);
    return;
  }
  say("", "a second reader holds it to account: %s, %s", report.properties.source, report.properties.rail);
  describe_cost(meter, &report);
}

static void describe_meter(const struct meter *meter, const struct meter_system *system,
                           const struct meter_report *report) {
  const struct meter *const *second = meter->seconds;
  say(meter->name, "works: %s, of the %s: %s", report->properties.source, meter_scope_name(meter->scope),
      report->properties.rail);
  describe_cost(meter, report);
  for (; second && *second; second++)
    describe_second(*second, system);
}

/* A graphics card's meter counts where work goes to it unless something else is asked for. */
static void examine_meters(struct findings *findings) {
  struct meter_system system = meter_system_default(getenv("FFBENCH_SYSFS"));
  bool on_gpu = computes_on_gpu();
  puts("\nenergy meters");
  for (const struct meter *const *meter = meter_list(); *meter; meter++) {
    struct meter_report report;
    meter_examine(*meter, &system, &report);
    if (report.state != METER_WORKS) {
      say((*meter)->name, "%s: %s", report.state == METER_ABSENT ? "not here" : "cannot be read",
          report.problem.reason);
      remedy(report.problem.remedy);
      continue;
    }
    describe_meter(*meter, &system, &report);
    if ((*meter)->scope == METER_GPU && !on_gpu)
      continue;
    if (!findings->energy)
      snprintf(findings->energy_source, sizeof findings->energy_source, "%s", report.properties.source);
    findings->energy = true;
  }
}

static void say_clock(const char *title, const struct meter_clocks *clocks) {
  char limit[48] = "";
  if (!clocks->looks) {
    say(title, "unknown: nothing here tells");
    return;
  }
  if (!isnan(clocks->limit))
    snprintf(limit, sizeof limit, " of at most %.0f", clocks->limit);
  say(title, "%.0f MHz%s%s", clocks->mean, limit,
      !clocks->fixed_known ? ""
      : clocks->fixed      ? ", fixed"
                           : ", not fixed: it follows the load");
  if (clocks->fixed_known && !clocks->fixed && machine_is_jetson())
    remedy("for steady times: sudo jetson_clocks");
}

static void say_card(const struct meter_card_conditions *card) {
  if (!card->facts.source[0]) {
    say("graphics card", "unknown: %s", card->facts.problem.reason);
    remedy(card->facts.problem.remedy);
    return;
  }
  say("graphics card", "%s, by %s", card->facts.name, card->facts.source);
  say_clock("", &card->clocks);
  if (!isnan(card->first_celsius))
    say("", "%.0f degrees Celsius", card->first_celsius);
  if (!isnan(card->lowest_limit_watts))
    say("", "%.0f W at most", card->lowest_limit_watts);
}

/* What a run is watched for, as it is now. */
static void examine_conditions(void) {
  struct ffb_error error;
  struct meter_conditions seen;
  struct meter_system system = meter_system_default(getenv("FFBENCH_SYSFS"));
  struct meter_card *card = computes_on_gpu() ? meter_card_open(&system, &error) : NULL;
  struct meter_conditions_watch *watch = meter_conditions_start(&system, card, 0, &error);
  puts("\nclocks and heat");
  if (!watch) {
    say("unknown", "%s", error.message);
  } else {
    meter_conditions_read(watch, &seen);
    say_clock("processors", &seen.clocks);
    if (isnan(seen.highest_celsius))
      say("hottest", "unknown: no thermal zone here");
    else
      say("hottest", "%.0f degrees Celsius, %s", seen.highest_celsius, seen.hottest);
    if (seen.power_mode[0])
      say("power mode", "%s", seen.power_mode);
    if (seen.has_card)
      say_card(&seen.card);
    say("throttling", "%s%s",
        seen.throttled          ? "now: "
        : seen.throttling_known ? "none now, and noticed while a run goes on"
                                : "nothing here would tell",
        seen.throttled_by);
  }
  meter_conditions_stop(watch);
  meter_card_close(card);
}

static void examine_memory_meter(void) {
  struct meter_memory_reset reset;
  struct meter_memory memory;
  meter_memory_reset(NULL, &reset);
  meter_memory_read(NULL, &memory);
  puts("\nmemory meter");
  if (memory.resident_peak.known)
    say("resident peak", "measured%s%s", reset.peak_reset ? ", for each run by itself" : " since the program started: ",
        reset.peak_reset ? "" : reset.reason);
  else
    say("resident peak", "not measured: %s", memory.resident_peak.reason);
}

static void examine_disk(struct findings *findings) {
  struct ffb_error error;
  struct statvfs disk;
  puts("\ndisk");
  const char *probe = access("results", F_OK) ? "ffbench.probe" : "results/ffbench.probe";
  findings->writable = file_probe(probe, "go to a folder that can be written to", &error);
  if (findings->writable)
    say("results", "can be written");
  else
    say("results", "%s", error.message);
  if (statvfs(".", &disk))
    return;
  double bytes = (double)disk.f_bavail * (double)disk.f_frsize;
  say("free", "%.1f GB%s", bytes / 1e9, bytes < enough_disk_bytes ? ": little; checkpoints may not fit" : "");
}

static void conclude(const struct findings *findings) {
  puts("\nsummary");
  say("accuracy", "%s",
      !findings->trainers       ? "cannot be measured: no trainer is usable, run make"
      : findings->official_data ? "can be measured on official data"
                                : "only on synthetic data, or on the files named above");
  say("time", "%s", findings->idle ? "can be measured" : "can be measured once the machine is idle");
  say("memory", "can be measured");
  if (findings->energy)
    say("energy", "can be measured by %s", findings->energy_source);
  else
    say("energy", "cannot be measured: each meter above says what is missing");
  say("records", "%s", findings->writable ? "can be written" : "cannot be written here");
}

static void examine(const struct run_config *config) {
  struct findings findings = {0};
  examine_machine(&findings);
  examine_backends();
  examine_trainers(&findings);
  examine_data(config, &findings);
  examine_meters(&findings);
  examine_memory_meter();
  examine_conditions();
  examine_disk(&findings);
  conclude(&findings);
}

#define DOCTOR_FIELD(name) offsetof(struct run_config, name)

int doctor_command(int argc, char **argv) {
  static const struct ffb_option options[] = {
      {.name = "data",
       .type = FFB_OPTION_STRING,
       .offset = DOCTOR_FIELD(data),
       .help = "folder with the data files; else the environment's FFBENCH_DATA, else ./data"},
      {.name = NULL}};
  struct run_config config = {0};
  const struct command_table tables[] = {{"Where to look", options, &config}, {0}};
  const struct command command = {.verb = "doctor",
                                  .summary = "Say what this machine can and cannot measure, and what to do about it.",
                                  .tables = tables};
  const char *operand;
  int status;
  if (command_line_take(&command, argc, argv, &operand, &status))
    examine(&config);
  ffb_options_clear(options, &config);
  return status;
}
