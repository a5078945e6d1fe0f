/* Memory of this process as the kernel counts it, beside the peak that the memory plan knows exactly.
 *
 * resident_now   pages in memory at the moment of reading
 * resident_peak  the most there were since meter_memory_reset, or since the process started where peak_reset is false
 * cgroup_peak    the most that the whole control group used since it was made, page cache and other processes included;
 *                never reset */
#ifndef FFBENCH_HARNESS_METERS_MEMORY_H
#define FFBENCH_HARNESS_METERS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Where to look; tests point it at a fake tree. A null member means "/proc" or "/sys". */
struct meter_memory_roots {
  const char *proc, *sysfs;
};

struct meter_memory_value {
  bool known;
  uint64_t bytes;
  char reason[256]; /* where not known */
};

struct meter_memory {
  struct meter_memory_value resident_now, resident_peak, cgroup_peak;
};

struct meter_memory_reset {
  bool peak_reset;
  char reason[256]; /* where the kernel does not allow it: the peak then covers the process's whole life */
};

/* Make the resident peak start from what is resident now (writes "5" to clear_refs, and checks the effect). Null roots
 * are the real ones. */
void meter_memory_reset(const struct meter_memory_roots *roots, struct meter_memory_reset *reset);
void meter_memory_read(const struct meter_memory_roots *roots, struct meter_memory *memory);

#endif
