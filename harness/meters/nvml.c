/* The energy counter of an NVIDIA graphics card, by NVIDIA's management library (docs.nvidia.com/deploy/nvml-api),
 * which is loaded where it is installed and not needed otherwise. The counter gives millijoules since the driver was
 * loaded and is refreshed every 10 to 100 ms. The card's power, integrated, is the second reader. On Jetson the library
 * opens and the reading is refused: only a reading tells whether it works. One card is read, never a sum with cards
 * that do something else. */
#include "base/memory.h"
#include "harness/meters/meter.h"
#include "harness/meters/still.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of nvml.h, which is not needed to build. */
enum {
  NVML_SUCCESS = 0,
  NVML_NOT_SUPPORTED = 3,
  NVML_NO_PERMISSION = 4,
  NVML_DRIVER_NOT_LOADED = 9,
  NVML_LIB_RM_VERSION_MISMATCH = 18,
};
enum { CARD_NAME = 96 };

typedef struct nvml_device *nvml_device;

struct library {
  void *object;
  int (*init)(void);
  int (*shutdown)(void);
  const char *(*words)(int code);
  int (*count)(unsigned *count);
  int (*device)(unsigned index, nvml_device *device);
  int (*name)(nvml_device device, char *name, unsigned size);
  int (*energy)(nvml_device device, unsigned long long *millijoules);
  int (*power)(nvml_device device, unsigned *milliwatts);
};

struct nvml {
  struct meter_system system;
  struct library library;
  nvml_device device;
  char name[CARD_NAME];
  unsigned index, cards;
  unsigned long long last;
  struct meter_still still;
};

/* No card draws less than a watt, and none is refreshed so seldom. */
static const struct meter_still_rule still_rule = {.seconds = 2, .readings = 2, .unseen_seconds = INFINITY};

static bool find_functions(struct library *library) {
  const struct {
    const char *name;
    void *to;
  } functions[] = {
      {"nvmlInit_v2", &library->init},
      {"nvmlShutdown", &library->shutdown},
      {"nvmlErrorString", &library->words},
      {"nvmlDeviceGetCount_v2", &library->count},
      {"nvmlDeviceGetHandleByIndex_v2", &library->device},
      {"nvmlDeviceGetName", &library->name},
      {"nvmlDeviceGetTotalEnergyConsumption", &library->energy},
      {"nvmlDeviceGetPowerUsage", &library->power},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *found = dlsym(library->object, functions[i].name);
    if (!found)
      return false;
    memcpy(functions[i].to, &found, sizeof found); /* ISO C has no cast from an object to a function */
  }
  return true;
}

static enum meter_state refuse(const struct nvml *nvml, const char *what, int code, struct meter_problem *problem) {
  static const struct {
    int code;
    const char *remedy;
  } remedies[] = {
      {NVML_NO_PERMISSION, "sudo chmod a+rw /dev/nvidia*"},
      {NVML_DRIVER_NOT_LOADED, "sudo modprobe nvidia"},
      {NVML_LIB_RM_VERSION_MISMATCH, "sudo reboot"},
  };
  const char *words = nvml->library.words(code);
  snprintf(problem->reason, sizeof problem->reason, "NVML: %s: %.200s", what, words ? words : "unknown error");
  for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++)
    if (remedies[i].code == code)
      snprintf(problem->remedy, sizeof problem->remedy, "%s", remedies[i].remedy);
  return METER_UNREADABLE;
}

/* The first card that programs may see; the first of all where CUDA_VISIBLE_DEVICES names it otherwise. */
static unsigned visible_card(unsigned cards) {
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  char *end;
  unsigned long index = visible ? strtoul(visible, &end, 10) : 0;
  bool number = visible && end != visible && (*end == '\0' || *end == ',');
  return number && index < cards ? (unsigned)index : 0;
}

static void describe(const struct nvml *nvml, struct meter_properties *properties) {
  *properties = (struct meter_properties){
      .interval_seconds = 0.5,
      .resolution = 1e-3,
      .wrap_seconds = INFINITY, /* 64 bits of millijoules */
      .limit_watts = 2000,
  };
  snprintf(properties->source, sizeof properties->source, "NVML");
  snprintf(properties->rail, sizeof properties->rail, "graphics card %u of %u (%.80s)", nvml->index, nvml->cards,
           nvml->name);
}

static enum meter_state find_card(struct nvml *nvml, struct meter_problem *problem) {
  int code = nvml->library.count(&nvml->cards);
  if (code == NVML_SUCCESS && nvml->cards == 0) {
    snprintf(problem->reason, sizeof problem->reason, "NVML: the driver is there, and no graphics card");
    return METER_ABSENT;
  }
  if (code != NVML_SUCCESS)
    return refuse(nvml, "counting the cards", code, problem);
  nvml->index = visible_card(nvml->cards);
  code = nvml->library.device(nvml->index, &nvml->device);
  if (code != NVML_SUCCESS)
    return refuse(nvml, "opening the card", code, problem);
  if (nvml->library.name(nvml->device, nvml->name, sizeof nvml->name) != NVML_SUCCESS)
    snprintf(nvml->name, sizeof nvml->name, "unnamed");
  code = nvml->library.energy(nvml->device, &nvml->last);
  if (code == NVML_NOT_SUPPORTED) {
    snprintf(problem->reason, sizeof problem->reason,
             "NVML: %s has no energy counter (Jetson's and those before Volta have none)", nvml->name);
    return METER_ABSENT;
  }
  return code == NVML_SUCCESS ? METER_WORKS : refuse(nvml, "reading the energy", code, problem);
}

static enum meter_state nvml_try(struct nvml *nvml, struct meter_problem *problem) {
  const char *name = nvml->system.nvml;
  struct library *library = &nvml->library;
  library->object = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library->object) {
    snprintf(problem->reason, sizeof problem->reason, "no NVIDIA driver (%.200s is not installed)",
             name ? name : "its library");
    return METER_ABSENT;
  }
  if (!find_functions(library)) {
    snprintf(problem->reason, sizeof problem->reason, "%.200s is older than energy counters: update the driver", name);
    return METER_ABSENT;
  }
  int code = library->init();
  if (code != NVML_SUCCESS)
    return refuse(nvml, "start", code, problem);
  enum meter_state state = find_card(nvml, problem);
  if (state != METER_WORKS)
    library->shutdown();
  return state;
}

static void nvml_close(void *handle) {
  struct nvml *nvml = handle;
  nvml->library.shutdown();
  dlclose(nvml->library.object);
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
  if (nvml->library.object)
    dlclose(nvml->library.object);
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
  int code = nvml->library.power(nvml->device, &milliwatts);
  if (code != NVML_SUCCESS) {
    state = refuse(nvml, "reading the power", code, problem);
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
  int code = nvml->library.energy(nvml->device, &now);
  if (code != NVML_SUCCESS)
    return ffb_fail(error, "NVML: %.60s", nvml->library.words(code));
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
  int code = nvml->library.power(nvml->device, &milliwatts);
  if (code != NVML_SUCCESS)
    return ffb_fail(error, "NVML power: %.60s", nvml->library.words(code));
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
