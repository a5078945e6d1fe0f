/* The energy counter of an NVIDIA graphics card, by NVIDIA's management library. The counter gives millijoules since
 * the driver was loaded and is refreshed every 10 to 100 ms. The card's power, integrated, is the second reader. On
 * Jetson the library opens and the reading is refused: only a reading tells whether it works. */
#include "harness/meters/nvml_card.h"

#include "base/memory.h"
#include "harness/meters/still.h"

#include <math.h>
#include <stdio.h>

struct nvml {
  struct meter_system system;
  struct nvml_card card;
  int (*energy)(nvml_device device, unsigned long long *millijoules);
  int (*power)(nvml_device device, unsigned *milliwatts);
  unsigned long long last;
  struct meter_still still;
};

/* No card draws less than a watt, and none is refreshed so seldom. */
static const struct meter_still_rule still_rule = {.seconds = 2, .readings = 2, .unseen_seconds = INFINITY};

static void describe(const struct nvml *nvml, struct meter_properties *properties) {
  *properties = (struct meter_properties){
      .interval_seconds = 0.5,
      .resolution = 1e-3,
      .wrap_seconds = INFINITY, /* 64 bits of millijoules */
      .limit_watts = 2000,
  };
  snprintf(properties->source, sizeof properties->source, "NVML");
  snprintf(properties->rail, sizeof properties->rail, "graphics card %u of %u (%.80s)", nvml->card.index,
           nvml->card.cards, nvml->card.name);
}

static enum meter_state try_counter(struct nvml *nvml, struct meter_problem *problem) {
  const struct nvml_card *card = &nvml->card;
  if (!nvml_card_find(card, "nvmlDeviceGetTotalEnergyConsumption", &nvml->energy) ||
      !nvml_card_find(card, "nvmlDeviceGetPowerUsage", &nvml->power)) {
    snprintf(problem->reason, sizeof problem->reason, "%.200s is older than energy counters: update the driver",
             nvml->system.nvml);
    return METER_ABSENT;
  }
  int code = nvml->energy(card->device, &nvml->last);
  if (code == NVML_NOT_SUPPORTED) {
    snprintf(problem->reason, sizeof problem->reason,
             "NVML: %s has no energy counter (Jetson's and those before Volta have none)", card->name);
    return METER_ABSENT;
  }
  return code == NVML_SUCCESS ? METER_WORKS : nvml_card_refuse(card, "reading the energy", code, problem);
}

static enum meter_state nvml_try(struct nvml *nvml, struct meter_problem *problem) {
  enum meter_state state = nvml_card_open(&nvml->card, nvml->system.nvml, problem);
  if (state != METER_WORKS)
    return state;
  state = try_counter(nvml, problem);
  if (state != METER_WORKS)
    nvml_card_close(&nvml->card);
  return state;
}

static void nvml_close(void *handle) {
  struct nvml *nvml = handle;
  nvml_card_close(&nvml->card);
  ffb_free(nvml);
}

static enum meter_state nvml_open(const struct meter_system *system, void **handle, struct meter_properties *properties,
                                  struct meter_problem *problem) {
  struct ffb_error error;
  struct nvml *nvml = ffb_allocate(1, sizeof *nvml, &error);
  if (!nvml) {
    snprintf(problem->reason, sizeof problem->reason, "NVML: %.300s", error.message);
    return METER_UNREADABLE;
  }
  nvml->system = *system;
  enum meter_state state = nvml_try(nvml, problem);
  if (state == METER_WORKS) {
    describe(nvml, properties);
    *handle = nvml;
    return state;
  }
  ffb_free(nvml);
  return state;
}

static enum meter_state power_open(const struct meter_system *system, void **handle,
                                   struct meter_properties *properties, struct meter_problem *problem) {
  const double refresh_seconds = 0.1;
  unsigned milliwatts;
  enum meter_state state = nvml_open(system, handle, properties, problem);
  if (state != METER_WORKS)
    return state;
  struct nvml *nvml = *handle;
  int code = nvml->power(nvml->card.device, &milliwatts);
  if (code != NVML_SUCCESS) {
    state = nvml_card_refuse(&nvml->card, "reading the power", code, problem);
    nvml_close(nvml);
    return state;
  }
  properties->interval_seconds = refresh_seconds;
  snprintf(properties->source, sizeof properties->source, "NVML power");
  return METER_WORKS;
}

static bool nvml_read(void *handle, struct meter_reading *reading, struct ffb_error *error) {
  struct nvml *nvml = handle;
  unsigned long long now;
  int code = nvml->energy(nvml->card.device, &now);
  if (code != NVML_SUCCESS)
    return ffb_fail(error, "NVML: %.60s", nvml->card.words(code));
  double time = nvml->system.now(nvml->system.context);
  bool same = now == nvml->last;
  nvml->last = now;
  reading->stopped = meter_still_note(&nvml->still, &still_rule, same, time, &reading->doubtful);
  reading->value = 1e-3 * (double)now;
  return !reading->stopped || ffb_fail(error, "NVML: the counter has stopped");
}

static bool power_read(void *handle, struct meter_reading *reading, struct ffb_error *error) {
  const struct nvml *nvml = handle;
  unsigned milliwatts;
  int code = nvml->power(nvml->card.device, &milliwatts);
  if (code != NVML_SUCCESS)
    return ffb_fail(error, "NVML power: %.60s", nvml->card.words(code));
  reading->value = 1e-3 * (double)milliwatts;
  return true;
}

static const struct meter nvml_power = {
    .name = "nvml_power",
    .description = "energy of an NVIDIA graphics card, from its power",
    .kind = METER_POWER,
    .scope = METER_GPU,
    .open = power_open,
    .read = power_read,
    .close = nvml_close,
};

static const struct meter *const seconds[] = {&nvml_power, NULL};

const struct meter meter_nvml = {
    .name = "nvml",
    .description = "energy of an NVIDIA graphics card, from its counter",
    .kind = METER_COUNTER,
    .scope = METER_GPU,
    .seconds = seconds,
    .open = nvml_open,
    .read = nvml_read,
    .close = nvml_close,
};
