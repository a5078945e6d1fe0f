/* NVIDIA's management library as far as the meter uses it, on a machine without NVIDIA. */
#include "tests/plugins/fake_nvml.h"

#include <stdio.h>

enum { INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };

struct fake_nvml fake_nvml = {.cards = 1};

static unsigned numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

int nvmlInit_v2(void) {
  fake_nvml.opened += fake_nvml.init_code == 0;
  return fake_nvml.init_code;
}

int nvmlShutdown(void) {
  fake_nvml.opened--;
  return 0;
}

const char *nvmlErrorString(int code) {
  return code == 3 ? "Not Supported" : code == 15 ? "GPU is lost" : code == 18 ? "Version Mismatch" : "Unknown Error";
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = fake_nvml.cards;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = &numbers[index];
  return index < fake_nvml.cards ? 0 : INVALID_ARGUMENT;
}

int nvmlDeviceGetName(void *device, char *name, unsigned size) {
  snprintf(name, size, "Made-up card %u", *(const unsigned *)device);
  return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  *millijoules = fake_nvml.millijoules ? fake_nvml.millijoules(*(const unsigned *)device) : 0;
  return fake_nvml.energy_code;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
  *milliwatts = fake_nvml.milliwatts ? fake_nvml.milliwatts(*(const unsigned *)device) : 0;
  return fake_nvml.milliwatts ? fake_nvml.energy_code : NOT_SUPPORTED;
}
