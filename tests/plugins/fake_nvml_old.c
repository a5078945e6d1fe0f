/* The same before driver 535, when reasons had their older name. */
#define nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons
#include "tests/plugins/fake_nvml.c"
