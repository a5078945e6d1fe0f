/* NVIDIA's management library as far as the meter uses it, on a machine without NVIDIA. */
#include "tests/plugins/fake_nvml.h"

#include <stdio.h>
#include <string.h>

enum { INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
enum { CLOCK_SM = 1 };

/* Unless a test says otherwise: a hot card. */
struct fake_nvml fake_nvml = {.cards = 1,
                              .megahertz = 1755,
                              .highest_megahertz = 1980,
                              .celsius = 87,
                              .limit_milliwatts = 700000,
                              .reasons = 0x20};

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
  return code == 3    ? "Not Supported"
         : code == 15 ? "GPU is lost"
         : code == 18 ? "Version Mismatch"
         : code == 6  ? "Not Found"
                      : "Unknown Error";
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = fake_nvml.cards;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = &numbers[index];
  return index < fake_nvml.cards ? 0 : INVALID_ARGUMENT;
}

/* GPU-made-up-0, GPU-made-up-1 ... */
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  static const char start[] = "GPU-made-up-";
  unsigned index = strncmp(uuid, start, strlen(start)) == 0 ? (unsigned)(uuid[strlen(start)] - '0') : fake_nvml.cards;
  return index < fake_nvml.cards ? nvmlDeviceGetHandleByIndex_v2(index, device) : NOT_FOUND;
}

int nvmlDeviceGetIndex(void *device, unsigned *index) {
  *index = *(const unsigned *)device;
  return 0;
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

static int give(unsigned value, unsigned *to) {
  *to = value;
  return fake_nvml.conditions_code;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *megahertz) {
  (void)device;
  return type == CLOCK_SM ? give(fake_nvml.megahertz, megahertz) : INVALID_ARGUMENT;
}

int nvmlDeviceGetMaxClockInfo(void *device, int type, unsigned *megahertz) {
  (void)device;
  return type == CLOCK_SM ? give(fake_nvml.highest_megahertz, megahertz) : INVALID_ARGUMENT;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
  (void)device;
  return sensor == 0 ? give(fake_nvml.celsius, celsius) : INVALID_ARGUMENT;
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) {
  (void)device;
  return give(fake_nvml.limit_milliwatts, milliwatts);
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
  (void)device;
  *reasons = fake_nvml.reasons;
  return fake_nvml.conditions_code;
}
