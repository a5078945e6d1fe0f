/* One graphics card by NVIDIA's management library (docs.nvidia.com/deploy/nvml-api), which is loaded where it is
 * installed and not needed otherwise. One card is looked at, never a sum with cards that do something else. */
#ifndef FFBENCH_HARNESS_METERS_NVML_CARD_H
#define FFBENCH_HARNESS_METERS_NVML_CARD_H

#include "harness/meters/meter.h"

/* Of nvml.h, which is not needed to build. */
enum { NVML_SUCCESS = 0, NVML_NOT_SUPPORTED = 3 };

typedef struct nvml_device *nvml_device;

struct nvml_card {
  void *object;
  int (*shutdown)(void);
  const char *(*words)(int code);
  nvml_device device;
  char name[96];
  unsigned index, cards;
};

/* The first card that programs may see. METER_WORKS: nvml_card_close is due. */
enum meter_state nvml_card_open(struct nvml_card *card, const char *library, struct meter_problem *problem);
void nvml_card_close(struct nvml_card *card);

/* The address of a function into a pointer to it; false, and the pointer null, where this library has none. */
bool nvml_card_find(const struct nvml_card *card, const char *name, void *pointer);

/* METER_UNREADABLE, with what the library says of the code and what mends it. */
enum meter_state nvml_card_refuse(const struct nvml_card *card, const char *what, int code,
                                  struct meter_problem *problem);

#endif
