/* Facts about the machine that numbers depend on, and how much of it others used meanwhile. */
#ifndef FFBENCH_HARNESS_MACHINE_H
#define FFBENCH_HARNESS_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { MACHINE_TEXT = 256 };

struct machine {
  char processor[MACHINE_TEXT];    /* "AMD EPYC 7B13", or the board's name */
  char instructions[MACHINE_TEXT]; /* those of INT8 and FP32 products: "avx2 avx512f avx512_vnni" */
  int processors_online;
  double memory_bytes;
  char system[MACHINE_TEXT], kernel[MACHINE_TEXT]; /* "Debian GNU/Linux 12 (bookworm)", "Linux 6.1.0 x86_64" */
  char governor[MACHINE_TEXT];                     /* of the first processor's clock; empty where unknown */
  double megahertz;                                /* of the first processor now; 0 where unknown */
  double load_average;                             /* over one minute; negative where unknown */
  double throttle_count;                           /* thermal, all processors, since start-up; negative where unknown */
};

void machine_read(struct machine *machine);
/* Whether this is one of the paper's boards. */
bool machine_is_jetson(void);
json_t *machine_json(const struct machine *machine);
/* {name, driver} of the GPUs that are there, used or not; null without one. `driver` is the folder of NVIDIA's kernel
 * module, `board` the file that names the release of a Jetson's drivers. */
json_t *machine_gpu_json(const char *driver, const char *board);

/* Processor seconds between two moments. */
struct machine_usage {
  double own, other, capacity; /* this process; all others; wall time times processors */
};

struct machine_watch {
  double wall, busy, own, throttle_count;
};

void machine_watch_start(struct machine_watch *watch);
/* Since the start. False where /proc/stat cannot be read. */
bool machine_watch_read(const struct machine_watch *watch, struct machine_usage *usage);

#endif
