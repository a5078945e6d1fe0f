#include "harness/meters/nvml_card.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NVML_NO_PERMISSION = 4, NVML_DRIVER_NOT_LOADED = 9, NVML_LIB_RM_VERSION_MISMATCH = 18 };

enum { UUID_BYTES = 96 };

bool nvml_card_find(const struct nvml_card *card, const char *name, void *pointer) {
  void *found = dlsym(card->object, name);
  memcpy(pointer, &found, sizeof found); /* ISO C has no cast from an object to a function */
  return found != NULL;
}

enum meter_state nvml_card_refuse(const struct nvml_card *card, const char *what, int code,
                                  struct meter_problem *problem) {
  static const struct {
    int code;
    const char *remedy;
  } remedies[] = {
      {NVML_NO_PERMISSION, "sudo chmod a+rw /dev/nvidia*"},
      {NVML_DRIVER_NOT_LOADED, "sudo modprobe nvidia"},
      {NVML_LIB_RM_VERSION_MISMATCH, "sudo reboot"},
  };
  const char *words = card->words(code);
  snprintf(problem->reason, sizeof problem->reason, "NVML: %s: %.200s", what, words ? words : "unknown error");
  for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++)
    if (remedies[i].code == code)
      snprintf(problem->remedy, sizeof problem->remedy, "%s", remedies[i].remedy);
  return METER_UNREADABLE;
}

/* What CUDA_VISIBLE_DEVICES names first. */
static void first_visible(char visible[UUID_BYTES]) {
  const char *all = getenv("CUDA_VISIBLE_DEVICES");
  snprintf(visible, UUID_BYTES, "%.*s", all ? (int)strcspn(all, ",") : 0, all ? all : "");
}

static enum meter_state find_by_uuid(struct nvml_card *card, const char *uuid, struct meter_problem *problem) {
  int (*by_uuid)(const char *uuid, nvml_device *device), (*index)(nvml_device device, unsigned *index);
  if (!nvml_card_find(card, "nvmlDeviceGetHandleByUUID", &by_uuid) ||
      !nvml_card_find(card, "nvmlDeviceGetIndex", &index)) {
    snprintf(problem->reason, sizeof problem->reason, "NVML does not know cards by the names of CUDA_VISIBLE_DEVICES");
    return METER_ABSENT;
  }
  int code = by_uuid(uuid, &card->device);
  if (code == NVML_SUCCESS)
    code = index(card->device, &card->index);
  return code == NVML_SUCCESS
             ? METER_WORKS
             : nvml_card_refuse(card, "opening the card of CUDA_VISIBLE_DEVICES, whose whole name it takes", code,
                                problem);
}

/* The first of all where CUDA_VISIBLE_DEVICES says nothing that could be a card. */
static enum meter_state find_by_index(struct nvml_card *card, const char *visible, struct meter_problem *problem) {
  int (*by_index)(unsigned index, nvml_device *device);
  if (!nvml_card_find(card, "nvmlDeviceGetHandleByIndex_v2", &by_index)) {
    snprintf(problem->reason, sizeof problem->reason, "NVML is older than handles by index: update the driver");
    return METER_ABSENT;
  }
  char *end;
  unsigned long index = strtoul(visible, &end, 10);
  card->index = end != visible && !*end && index < card->cards ? (unsigned)index : 0;
  int code = by_index(card->index, &card->device);
  return code == NVML_SUCCESS ? METER_WORKS : nvml_card_refuse(card, "opening the card", code, problem);
}

static enum meter_state find_visible(struct nvml_card *card, struct meter_problem *problem) {
  char visible[UUID_BYTES];
  first_visible(visible);
  if (!strncmp(visible, "MIG-", 4)) {
    snprintf(problem->reason, sizeof problem->reason,
             "NVML: CUDA_VISIBLE_DEVICES names a part of a card (MIG), and what is read is of a whole one");
    return METER_ABSENT;
  }
  return !strncmp(visible, "GPU-", 4) ? find_by_uuid(card, visible, problem) : find_by_index(card, visible, problem);
}

static enum meter_state find_card(struct nvml_card *card, struct meter_problem *problem) {
  int (*count)(unsigned *count), (*name)(nvml_device device, char *name, unsigned size);
  if (!nvml_card_find(card, "nvmlDeviceGetCount_v2", &count) || !nvml_card_find(card, "nvmlDeviceGetName", &name)) {
    snprintf(problem->reason, sizeof problem->reason, "NVML is too old to count cards: update the driver");
    return METER_ABSENT;
  }
  int code = count(&card->cards);
  if (code == NVML_SUCCESS && card->cards == 0) {
    snprintf(problem->reason, sizeof problem->reason, "NVML: the driver is there, and no graphics card");
    return METER_ABSENT;
  }
  if (code != NVML_SUCCESS)
    return nvml_card_refuse(card, "counting the cards", code, problem);
  enum meter_state state = find_visible(card, problem);
  if (state == METER_WORKS && name(card->device, card->name, sizeof card->name) != NVML_SUCCESS)
    snprintf(card->name, sizeof card->name, "unnamed");
  return state;
}

static enum meter_state start(struct nvml_card *card, const char *library, struct meter_problem *problem) {
  int (*init)(void);
  if (!nvml_card_find(card, "nvmlInit_v2", &init) || !nvml_card_find(card, "nvmlShutdown", &card->shutdown) ||
      !nvml_card_find(card, "nvmlErrorString", &card->words)) {
    snprintf(problem->reason, sizeof problem->reason, "%.200s is too old: update the driver", library);
    return METER_ABSENT;
  }
  int code = init();
  if (code != NVML_SUCCESS)
    return nvml_card_refuse(card, "start", code, problem);
  enum meter_state state = find_card(card, problem);
  if (state != METER_WORKS)
    card->shutdown();
  return state;
}

enum meter_state nvml_card_open(struct nvml_card *card, const char *library, struct meter_problem *problem) {
  *card = (struct nvml_card){.object = library ? dlopen(library, RTLD_NOW | RTLD_LOCAL) : NULL};
  if (!card->object) {
    snprintf(problem->reason, sizeof problem->reason, "no NVIDIA driver (%.200s is not installed)",
             library ? library : "its library");
    return METER_ABSENT;
  }
  enum meter_state state = start(card, library, problem);
  if (state != METER_WORKS)
    dlclose(card->object);
  return state;
}

void nvml_card_close(struct nvml_card *card) {
  card->shutdown();
  dlclose(card->object);
}
