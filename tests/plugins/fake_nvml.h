/* What the made-up NVML answers; a test finds it by dlsym and sets it. */
#ifndef FFBENCH_TESTS_PLUGINS_FAKE_NVML_H
#define FFBENCH_TESTS_PLUGINS_FAKE_NVML_H

struct fake_nvml {
  int init_code, energy_code; /* 0: success */
  unsigned cards;
  unsigned (*milliwatts)(unsigned card);
  unsigned long long (*millijoules)(unsigned card);
  unsigned opened; /* how often it was started and not shut down */
  /* Of every card. */
  int conditions_code; /* 0: success */
  unsigned megahertz, highest_megahertz, celsius, limit_milliwatts;
  unsigned long long reasons;
};

#endif
