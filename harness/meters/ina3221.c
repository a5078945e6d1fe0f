/* The INA3221 power monitor of NVIDIA Jetson modules (Texas Instruments SBOS576; kernel: Documentation/hwmon/
 * ina3221.rst). Three channels, one rail each. Two drivers: hwmon (JetPack 5 and 6), where power is in*_input [mV]
 * times curr*_input [mA] of channels 1 to 3 - in4 and up are shunt voltages and their sum - and iio (JetPack 4), which
 * gives in_power*_input [mW]. */
#include "base/memory.h"
#include "harness/meters/meter.h"
#include "harness/meters/still.h"
#include "harness/meters/sysfs.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

enum { MAXIMUM_RAILS = 3, CHANNELS = 3, MAXIMUM_CHANNELS = 12, LABEL = 32 };

/* The rails that together feed a whole module, by board. A rail is never added to one that contains it. */
static const char *const boards[][MAXIMUM_RAILS] = {
    {"VDD_IN"},                                   /* Orin Nano, Orin NX, Xavier NX, TX2 */
    {"POM_5V_IN"},                                /* the first Nano */
    {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}, /* AGX Orin */
};
static const char known_rails[] = "VDD_IN, POM_5V_IN, or VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0";
enum { BOARDS = sizeof boards / sizeof *boards };

/* A file of one channel: the channel's number stands between the two parts. */
struct file_name {
  const char *before, *after;
};

struct layout {
  const char *source;
  const char *devices; /* pattern of the device folders below the root of sysfs */
  int first_channel;
  struct file_name label, millivolts, milliamperes;
  struct file_name milliwatts; /* absent: power is the product of the two above */
  struct file_name shunt;      /* resistor in micro-ohm, where the driver tells */
  struct file_name enable;     /* where a channel can be switched */
  const char *refresh;         /* file that says how often the registers change, in milliseconds */
};

static const struct layout layouts[] = {
    {
        .source = "INA3221 hwmon",
        .devices = "bus/i2c/drivers/ina3221/*/hwmon/hwmon*",
        .first_channel = 1,
        .label = {"in", "_label"},
        .millivolts = {"in", "_input"},
        .milliamperes = {"curr", "_input"},
        .shunt = {"shunt", "_resistor"},
        .enable = {"in", "_enable"},
        .refresh = "update_interval",
    },
    {
        .source = "INA3221 iio",
        .devices = "bus/i2c/drivers/ina3221x/*/iio:device*",
        .first_channel = 0,
        .label = {"rail_name_", ""},
        .millivolts = {"in_voltage", "_input"},
        .milliamperes = {"in_current", "_input"},
        .milliwatts = {"in_power", "_input"},
    },
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

struct channel {
  char label[LABEL];
  char folder[METER_SYSFS_PATH];
  int number;
};

/* What was read of a rail last, in the driver's own units. */
struct registers {
  double first, second; /* mV and mA, or mW alone */
};

struct ina3221 {
  struct meter_system system;
  const struct layout *layout;
  struct channel rails[MAXIMUM_RAILS];
  struct registers last[MAXIMUM_RAILS];
  struct meter_still still[MAXIMUM_RAILS];
  struct meter_still_rule still_rule;
  size_t rail_count;
};

/* The channels of all devices of one layout. */
struct survey {
  struct channel channels[MAXIMUM_CHANNELS];
  size_t count;
  size_t devices;
  int label_code; /* errno of a label that exists but cannot be read */
};

/* Which file failed, and how; code 0 means none did. */
struct failure {
  int code;
  char file[64];
  char label[LABEL];
  char path[METER_SYSFS_PATH];
};

static int read_channel_text(const struct meter_system *system, const struct channel *channel, struct file_name name,
                             char *text, size_t size) {
  char path[METER_SYSFS_PATH], file[64];
  snprintf(file, sizeof file, "%s%d%s", name.before, channel->number, name.after);
  if (!meter_sysfs_join(path, channel->folder, file))
    return ENAMETOOLONG;
  return system->read_text(system->context, path, text, size);
}

static bool read_channel(const struct meter_system *system, const struct channel *channel, struct file_name name,
                         double *value, struct failure *failure) {
  long long number = 0;
  snprintf(failure->file, sizeof failure->file, "%s%d%s", name.before, channel->number, name.after);
  failure->code = ENAMETOOLONG;
  if (meter_sysfs_join(failure->path, channel->folder, failure->file))
    failure->code = meter_sysfs_number(system, failure->path, &number);
  if (failure->code)
    memcpy(failure->label, channel->label, LABEL);
  *value = (double)number;
  return !failure->code;
}

static bool read_rail(const struct ina3221 *ina, const struct channel *rail, double *watts, struct registers *registers,
                      struct failure *failure) {
  const struct layout *layout = ina->layout;
  *registers = (struct registers){0};
  if (layout->milliwatts.before) {
    bool good = read_channel(&ina->system, rail, layout->milliwatts, &registers->first, failure);
    *watts = registers->first * 1e-3;
    return good;
  }
  if (!read_channel(&ina->system, rail, layout->millivolts, &registers->first, failure) ||
      !read_channel(&ina->system, rail, layout->milliamperes, &registers->second, failure))
    return false;
  *watts = registers->first * registers->second * 1e-6;
  return true;
}

/* All rails or nothing: a sum that lacks one would be a wrong number. */
static bool read_module(const struct ina3221 *ina, double *watts, struct registers registers[MAXIMUM_RAILS],
                        struct failure *failure) {
  double sum = 0;
  for (size_t i = 0; i < ina->rail_count; i++) {
    double part;
    if (!read_rail(ina, &ina->rails[i], &part, &registers[i], failure))
      return false;
    sum += part;
  }
  *watts = sum;
  return true;
}

/* The rail whose registers have stopped, or null. The last bits of a living one never rest. */
static const struct channel *find_stopped(struct ina3221 *ina, const struct registers now[MAXIMUM_RAILS],
                                          size_t *doubtful) {
  const struct channel *stopped = NULL;
  double time = ina->system.now(ina->system.context);
  *doubtful = 0;
  for (size_t i = 0; i < ina->rail_count; i++) {
    size_t count;
    bool same = now[i].first == ina->last[i].first && now[i].second == ina->last[i].second;
    ina->last[i] = now[i];
    if (meter_still_note(&ina->still[i], &ina->still_rule, same, time, &count))
      stopped = &ina->rails[i];
    if (count > *doubtful)
      *doubtful = count;
  }
  return stopped;
}

/* The converter's steps, 8 mV and 40 uV over the shunt, as watts at the present operating point. */
static double resolution_of(const struct ina3221 *ina) {
  double watts = 0;
  for (size_t i = 0; i < ina->rail_count; i++) {
    struct failure failure;
    double millivolts, milliamperes, shunt = 0;
    const double usual_shunt = 5000; /* micro-ohm, on the Jetson boards */
    if (!read_channel(&ina->system, &ina->rails[i], ina->layout->millivolts, &millivolts, &failure) ||
        !read_channel(&ina->system, &ina->rails[i], ina->layout->milliamperes, &milliamperes, &failure))
      continue;
    if (!ina->layout->shunt.before ||
        !read_channel(&ina->system, &ina->rails[i], ina->layout->shunt, &shunt, &failure) || shunt <= 0)
      shunt = usual_shunt;
    watts += 1e-3 * millivolts * (40 / shunt) + 0.008 * 1e-3 * milliamperes;
  }
  return watts;
}

static void survey_device(const struct meter_system *system, const struct layout *layout, const char *folder,
                          struct survey *survey) {
  survey->devices++;
  for (int i = 0; i < CHANNELS && survey->count < MAXIMUM_CHANNELS; i++) {
    struct channel *channel = &survey->channels[survey->count];
    *channel = (struct channel){.number = layout->first_channel + i};
    snprintf(channel->folder, sizeof channel->folder, "%s", folder);
    int code = read_channel_text(system, channel, layout->label, channel->label, LABEL);
    if (!code)
      survey->count++;
    else if (code != ENOENT)
      survey->label_code = code;
  }
}

static void survey_layout(const struct meter_system *system, const struct layout *layout, struct survey *survey) {
  char pattern[METER_SYSFS_PATH];
  glob_t found = {0};
  *survey = (struct survey){0};
  if (meter_sysfs_join(pattern, system->sysfs, layout->devices) && !glob(pattern, 0, NULL, &found))
    for (size_t i = 0; i < found.gl_pathc; i++)
      survey_device(system, layout, found.gl_pathv[i], survey);
  globfree(&found);
}

static const struct channel *find_channel(const struct survey *survey, const char *label) {
  for (size_t i = 0; i < survey->count; i++)
    if (!strcmp(survey->channels[i].label, label))
      return &survey->channels[i];
  return NULL;
}

static bool match_board(const struct survey *survey, const char *const rails[MAXIMUM_RAILS], struct ina3221 *ina) {
  ina->rail_count = 0;
  for (size_t i = 0; i < MAXIMUM_RAILS && rails[i]; i++) {
    const struct channel *channel = find_channel(survey, rails[i]);
    if (!channel)
      return false;
    ina->rails[ina->rail_count++] = *channel;
  }
  return true;
}

static void describe(const struct ina3221 *ina, struct meter_properties *properties) {
  *properties = (struct meter_properties){
      .interval_seconds = 0.010, /* the converter's cycle is 6.6 ms */
      .resolution = resolution_of(ina),
      .limit_watts = 500,
  };
  snprintf(properties->source, sizeof properties->source, "%s", ina->layout->source);
  size_t used = 0;
  for (size_t i = 0; i < ina->rail_count; i++)
    used += (size_t)snprintf(properties->rail + used, sizeof properties->rail - used, "%s%s", i ? " + " : "",
                             ina->rails[i].label);
}

/* Averaging over up to 1024 conversions can make one number last for seconds. */
static struct meter_still_rule rule_of_stillness(const struct ina3221 *ina) {
  enum { LEAST_READINGS = 100 };
  const double usual_seconds = 5, refreshes = 10, unseen_seconds = 1;
  char path[METER_SYSFS_PATH];
  long long milliseconds = 0;
  if (ina->layout->refresh && meter_sysfs_join(path, ina->rails[0].folder, ina->layout->refresh) &&
      (meter_sysfs_number(&ina->system, path, &milliseconds) || milliseconds < 0))
    milliseconds = 0;
  double slow = refreshes * 1e-3 * (double)milliseconds;
  return (struct meter_still_rule){.seconds = slow > usual_seconds ? slow : usual_seconds,
                                   .readings = LEAST_READINGS,
                                   .unseen_seconds = unseen_seconds};
}

static enum meter_state no_rail(const struct survey *survey, struct meter_problem *problem) {
  char labels[128] = "";
  for (size_t i = 0; i < survey->count; i++) {
    size_t used = strlen(labels);
    snprintf(labels + used, sizeof labels - used, "%s%s", i ? ", " : "", survey->channels[i].label);
  }
  if (survey->label_code)
    snprintf(problem->reason, sizeof problem->reason,
             "an INA3221 is there, but the names of its rails cannot be read: %s",
             meter_sysfs_words(survey->label_code));
  else
    snprintf(problem->reason, sizeof problem->reason,
             "an INA3221 is there, but no rail that feeds the whole module (%s): it has %s", known_rails,
             labels[0] ? labels : "no named rail");
  return survey->label_code ? METER_UNREADABLE : METER_ABSENT;
}

static enum meter_state unreadable(const struct ina3221 *ina, const struct failure *failure,
                                   struct meter_problem *problem) {
  snprintf(problem->reason, sizeof problem->reason, "INA3221 rail %s: %s: %s", failure->label, failure->file,
           meter_sysfs_words(failure->code));
  char folder[METER_SYSFS_PATH];
  meter_sysfs_folder(failure->path, folder);
  if (failure->code == EACCES)
    snprintf(problem->remedy, sizeof problem->remedy, "sudo chmod a+r %.300s/*_input", folder);
  else if (failure->code == ENODATA && ina->layout->enable.before)
    for (size_t i = 0; i < ina->rail_count; i++)
      if (!strcmp(ina->rails[i].label, failure->label))
        snprintf(problem->remedy, sizeof problem->remedy, "echo 1 | sudo tee %.300s/%s%d%s", folder,
                 ina->layout->enable.before, ina->rails[i].number, ina->layout->enable.after);
  return METER_UNREADABLE;
}

static enum meter_state ina3221_try(struct ina3221 *ina, struct meter_properties *properties,
                                    struct meter_problem *problem) {
  struct survey survey = {0};
  struct failure failure = {0};
  struct registers registers[MAXIMUM_RAILS];
  double watts;
  for (size_t i = 0; i < LAYOUTS && !survey.devices; i++) {
    ina->layout = &layouts[i];
    survey_layout(&ina->system, ina->layout, &survey);
  }
  if (!survey.devices) {
    snprintf(problem->reason, sizeof problem->reason,
             "no INA3221 at %.200s/bus/i2c/drivers/ina3221 (Jetson modules have one)", ina->system.sysfs);
    return METER_ABSENT;
  }
  bool matched = false;
  for (size_t i = 0; i < BOARDS && !matched; i++)
    matched = match_board(&survey, boards[i], ina);
  if (!matched)
    return no_rail(&survey, problem);
  if (!read_module(ina, &watts, registers, &failure))
    return unreadable(ina, &failure, problem);
  ina->still_rule = rule_of_stillness(ina);
  describe(ina, properties);
  return METER_WORKS;
}

static enum meter_state ina3221_open(const struct meter_system *system, void **handle,
                                     struct meter_properties *properties, struct meter_problem *problem) {
  struct ffb_error error;
  struct ina3221 *ina = ffb_allocate(1, sizeof *ina, &error);
  if (!ina) {
    snprintf(problem->reason, sizeof problem->reason, "INA3221: %.300s", error.message);
    return METER_UNREADABLE;
  }
  ina->system = *system;
  enum meter_state state = ina3221_try(ina, properties, problem);
  if (state == METER_WORKS)
    *handle = ina;
  else
    ffb_free(ina);
  return state;
}

static bool ina3221_read(void *handle, struct meter_reading *reading, struct ffb_error *error) {
  struct ina3221 *ina = handle;
  struct failure failure = {0};
  struct registers registers[MAXIMUM_RAILS];
  if (!read_module(ina, &reading->value, registers, &failure))
    return ffb_fail(error, "%s %s: %s", failure.label, failure.file, meter_sysfs_words(failure.code));
  const struct channel *stopped = find_stopped(ina, registers, &reading->doubtful);
  reading->stopped = stopped != NULL;
  return !stopped || ffb_fail(error, "%s: the register has stopped", stopped->label);
}

static void ina3221_close(void *handle) {
  ffb_free(handle);
}

const struct meter meter_ina3221 = {
    .name = "ina3221",
    .description = "power of a Jetson module, from its INA3221 monitor",
    .kind = METER_POWER,
    .scope = METER_MODULE,
    .open = ina3221_open,
    .read = ina3221_read,
    .close = ina3221_close,
};
