#include "harness/meters/card.h"

#include "base/memory.h"
#include "harness/meters/nvml_card.h"
#include "harness/meters/sysfs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of nvml.h. */
enum { NVML_CLOCK_SM = 1, NVML_TEMPERATURE_GPU = 0 };

const struct meter_card_reason meter_card_reasons[METER_CARD_REASONS] = {
    {0x1, "idle", false},
    {0x2, "application clocks", false},
    {0x4, "power limit", true},
    {0x8, "hardware slowdown", true},
    {0x10, "sync boost", false},
    {0x20, "heat, by the driver", true},
    {0x40, "heat, by the hardware", true},
    {0x80, "power brake", true},
    {0x100, "display clock", false},
};

/* A library that lacks one of them has it null. */
struct functions {
  int (*clock)(nvml_device device, int type, unsigned *megahertz);
  int (*highest_clock)(nvml_device device, int type, unsigned *megahertz);
  int (*temperature)(nvml_device device, int sensor, unsigned *celsius);
  int (*power_limit)(nvml_device device, unsigned *milliwatts);
  int (*reasons)(nvml_device device, unsigned long long *reasons);
};

struct meter_card {
  const struct meter_system *system;
  struct meter_card_facts facts;
  char folder[METER_SYSFS_PATH]; /* of devfreq; empty: NVML */
  bool opened;                   /* NVML */
  struct nvml_card nvml;
  struct functions functions;
};

/* ---- devfreq ----------------------------------------------------------------------------------------------------- */

/* 17000000.gpu, or the chip's name before JetPack 6: 17000000.ga10b. */
static bool is_graphics(const char *path) {
  static const char *const names[] = {"gpu", "ga10b", "gv11b", "gp10b", "gm20b"};
  const char *slash = strrchr(path, '/'), *dot = slash ? strrchr(slash, '.') : NULL;
  for (size_t i = 0; dot && i < sizeof names / sizeof *names; i++)
    if (!strcmp(dot + 1, names[i]))
      return true;
  return false;
}

static double read_megahertz(const struct meter_system *system, const char *folder, const char *name) {
  double hertz;
  return meter_sysfs_read_in(system, folder, name, &hertz) ? 1e-6 * hertz : (double)NAN;
}

/* Of "306000000 408000000 ... 624750000". */
static double highest_megahertz(const struct meter_system *system, const char *folder) {
  char path[METER_SYSFS_PATH], text[1024], *at = text, *end;
  double highest = 0, hertz;
  if (!meter_sysfs_join(path, folder, "available_frequencies") ||
      system->read_text(system->context, path, text, sizeof text))
    return (double)NAN;
  while (hertz = strtod(at, &end), end != at) {
    highest = fmax(highest, hertz);
    at = end;
  }
  return highest > 0 ? 1e-6 * highest : (double)NAN;
}

static void visit_device(const struct meter_system *system, const char *path, void *to) {
  struct meter_card *card = to;
  if (card->folder[0] || !is_graphics(path) || isnan(read_megahertz(system, path, "cur_freq")))
    return;
  struct meter_card_facts *facts = &card->facts;
  snprintf(card->folder, sizeof card->folder, "%s", path);
  snprintf(facts->source, sizeof facts->source, "devfreq");
  snprintf(facts->name, sizeof facts->name, "%s", strrchr(path, '/') + 1);
  facts->limit_megahertz = highest_megahertz(system, path);
  facts->fixed_known = !isnan(read_megahertz(system, path, "min_freq"));
}

static void look_at_device(const struct meter_card *card, struct meter_card_look *look) {
  look->megahertz = read_megahertz(card->system, card->folder, "cur_freq");
  look->fixed =
      read_megahertz(card->system, card->folder, "min_freq") == read_megahertz(card->system, card->folder, "max_freq");
}

/* ---- NVML -------------------------------------------------------------------------------------------------------- */

static double number_of(int code, const unsigned *value) {
  return code == NVML_SUCCESS ? (double)*value : (double)NAN;
}

static void open_nvml(struct meter_card *card) {
  struct functions *functions = &card->functions;
  struct meter_card_facts *facts = &card->facts;
  unsigned highest = 0;
  if (nvml_card_open(&card->nvml, card->system->nvml, &facts->problem) != METER_WORKS)
    return;
  card->opened = true;
  nvml_card_find(&card->nvml, "nvmlDeviceGetClockInfo", &functions->clock);
  nvml_card_find(&card->nvml, "nvmlDeviceGetMaxClockInfo", &functions->highest_clock);
  nvml_card_find(&card->nvml, "nvmlDeviceGetTemperature", &functions->temperature);
  nvml_card_find(&card->nvml, "nvmlDeviceGetEnforcedPowerLimit", &functions->power_limit);
  /* The later name came with driver 535. */
  if (!nvml_card_find(&card->nvml, "nvmlDeviceGetCurrentClocksEventReasons", &functions->reasons))
    nvml_card_find(&card->nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", &functions->reasons);
  snprintf(facts->source, sizeof facts->source, "NVML");
  snprintf(facts->name, sizeof facts->name, "%s", card->nvml.name);
  if (functions->highest_clock)
    facts->limit_megahertz = number_of(functions->highest_clock(card->nvml.device, NVML_CLOCK_SM, &highest), &highest);
}

static void look_through_nvml(const struct meter_card *card, struct meter_card_look *look) {
  const struct functions *functions = &card->functions;
  nvml_device device = card->nvml.device;
  unsigned value = 0;
  if (functions->clock)
    look->megahertz = number_of(functions->clock(device, NVML_CLOCK_SM, &value), &value);
  if (functions->temperature)
    look->celsius = number_of(functions->temperature(device, NVML_TEMPERATURE_GPU, &value), &value);
  if (functions->power_limit)
    look->limit_watts = 1e-3 * number_of(functions->power_limit(device, &value), &value);
  look->reasons_known = functions->reasons && functions->reasons(device, &look->reasons) == NVML_SUCCESS;
}

/* ---- either ------------------------------------------------------------------------------------------------------ */

struct meter_card *meter_card_open(const struct meter_system *system, struct ffb_error *error) {
  struct meter_card *card = ffb_allocate(1, sizeof *card, error);
  if (!card)
    return NULL;
  card->system = system;
  card->facts.limit_megahertz = (double)NAN;
  meter_sysfs_each(system, "class/devfreq/*", visit_device, card);
  if (!card->folder[0])
    open_nvml(card);
  return card;
}

const struct meter_card_facts *meter_card_facts(const struct meter_card *card) {
  return &card->facts;
}

void meter_card_look(const struct meter_card *card, struct meter_card_look *look) {
  *look = (struct meter_card_look){.megahertz = (double)NAN, .celsius = (double)NAN, .limit_watts = (double)NAN};
  if (card->folder[0])
    look_at_device(card, look);
  else if (card->opened)
    look_through_nvml(card, look);
}

void meter_card_close(struct meter_card *card) {
  if (card && card->opened)
    nvml_card_close(&card->nvml);
  ffb_free(card);
}
