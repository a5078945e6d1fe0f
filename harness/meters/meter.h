/* Energy meters: what one is, which there are, and how to get hold of the best one that works here.
 *
 * A meter reads either power in watts (METER_POWER: the window integrates it) or a growing count of joules
 * (METER_COUNTER: the window takes differences). Scope differs between meters - a whole module, the processor packages,
 * one graphics card - so every number travels with its source and rail. harness/meters/window.h measures with one.
 *
 * To add a meter: fill a constant struct meter, declare it here and list it in meter.c. A meter that needs a library
 * opens it in `open` and says METER_ABSENT when it is not installed; one whose probe lies must take a trial reading. */
#ifndef FFBENCH_HARNESS_METERS_METER_H
#define FFBENCH_HARNESS_METERS_METER_H

#include "base/error.h"

#include <pthread.h>
#include <stddef.h>

enum meter_kind {
  METER_POWER,   /* a reading is watts now */
  METER_COUNTER, /* a reading is joules since an arbitrary start; wraps are undone by the meter */
};

/* What a meter sees. Numbers of different scopes are never added, nor does one stand for another. */
enum meter_scope {
  METER_MODULE,    /* a whole board: whatever works on it is in it */
  METER_PROCESSOR, /* the processor packages */
  METER_GPU,       /* one graphics card */
};
/* "module", "processor", "gpu" */
const char *meter_scope_name(enum meter_scope scope);

enum meter_state {
  METER_WORKS,
  METER_ABSENT,     /* no such device, driver or rail on this machine */
  METER_UNREADABLE, /* it is there, but reading fails; the problem names the cause and, if there is one, the cure */
};

/* The world as meters see it; tests replace any part. meter_system_default gives the real one. */
struct meter_system {
  const char *sysfs;            /* where sysfs is mounted: "/sys", or the root of a fake tree; must outlive its users */
  const char *state;            /* where programs keep their state: "/var/lib"; null: not looked for */
  const char *nvml;             /* NVIDIA's library, for dlopen; null: none is looked for */
  void *context;                /* handed to the functions below */
  double (*now)(void *context); /* seconds, monotonic */
  /* The content of a small file without trailing white space; 0 or an errno. Called from several threads. */
  int (*read_text)(void *context, const char *path, char *text, size_t size);
  /* perf's counter of an event of the whole machine, by the number of the unit that counts it: a descriptor, or less
   * than 0 with errno; null: none is looked for. */
  int (*open_event)(void *context, unsigned unit, unsigned long long event, int processor);
  int (*read_event)(void *context, int descriptor, unsigned long long *count); /* 0 or an errno */
};

struct meter_properties {
  char source[32];         /* the interface: "INA3221 hwmon", "RAPL powercap" */
  char rail[128];          /* the scope: "VDD_IN", "package-0 + package-1" */
  double interval_seconds; /* how often a window reads it unless told otherwise */
  double resolution;       /* smallest step of a reading: W for power, J for a counter */
  double wrap_seconds; /* counter: the shortest time in which it could wrap; INFINITY where it cannot. Power: unused */
  double limit_watts;  /* no true reading is above this: what is above is a fault */
};

struct meter_problem {
  char reason[384]; /* what is missing or fails, one line without a full stop */
  char remedy[384]; /* the exact command that mends it; empty where there is none */
};

struct meter_reading {
  double value; /* W or J, where the reading is good */
  /* Where it is not: whether the register gives the same number for so long that it must have stopped, and how many
   * good readings before this one came from it then. A counter's next good reading says nothing of that time. */
  bool stopped;
  size_t doubtful;
};

/* All hooks are required. */
struct meter {
  const char *name; /* as in `ffbench list meters` */
  const char *description;
  enum meter_kind kind;
  enum meter_scope scope;
  const struct meter *const *seconds; /* other ways to the same power, the preferred first; null: there is none */
  /* Find the device and take a trial reading. METER_WORKS sets *handle and the properties; otherwise the problem. */
  enum meter_state (*open)(const struct meter_system *system, void **handle, struct meter_properties *properties,
                           struct meter_problem *problem);
  /* One reading, in W or J. A fault is false with a short text that is the same each time the same thing fails,
   * because a window counts faults by their text. Calls are serialised by the session. */
  bool (*read)(void *handle, struct meter_reading *reading, struct ffb_error *error);
  void (*close)(void *handle);
};

extern const struct meter meter_ina3221;
extern const struct meter meter_rapl;
extern const struct meter meter_nvml;
extern const struct meter meter_rapl_perf; /* a second reader of meter_rapl's packages */

/* Every meter in the program, the preferred first; a null pointer ends the list. Second readers are not in it. */
const struct meter *const *meter_list(void);

/* The real clock and files. A null sysfs means "/sys", with the machine's own NVML; the program passes $FFBENCH_SYSFS.
 */
struct meter_system meter_system_default(const char *sysfs);

/* What `ffbench list meters` and `ffbench doctor` say about one meter. */
struct meter_report {
  enum meter_state state;
  struct meter_properties properties;     /* where it works */
  struct meter_problem problem;           /* where it does not */
  double read_seconds, processor_seconds; /* of one reading, medians of a few: how long it took, and of a processor */
};
void meter_examine(const struct meter *meter, const struct meter_system *system, struct meter_report *report);

/* The meter in use. Read-only for its users. */
struct meter_session {
  struct meter_system system;
  const struct meter *meter; /* null where nothing measures energy here */
  struct meter_properties properties;
  char reason[1024]; /* why there is none: each meter's reason and remedy, separated by "; " */
  void *handle;
  pthread_mutex_t reading;
};

/* Open the first meter of the list that works and sees the device that will be at work (METER_PROCESSOR or METER_GPU).
 * No meter is not an error: the session then gives its reason, and windows made from it give results that are not
 * measured. Null only when memory runs out. */
struct meter_session *meter_session_open(const struct meter_system *system, enum meter_scope device,
                                         struct ffb_error *error);
/* A second reader of the same power, to hold the first against: the first of its meter's `seconds` that works and reads
 * the same rail another way. None is not an error either. */
struct meter_session *meter_session_open_second(const struct meter_session *first, struct ffb_error *error);
/* One reading with its time (the middle of the call). Safe from several threads. Requires session->meter. */
bool meter_session_read(struct meter_session *session, double *seconds, struct meter_reading *reading,
                        struct ffb_error *error);
void meter_session_close(struct meter_session *session);

#endif
