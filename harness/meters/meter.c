#include "harness/meters/meter.h"

#include "base/memory.h"
#include "harness/meters/clock.h"
#include "harness/meters/sysfs.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A whole module is what a user pays for, so it comes before the processor or a card alone. */
static const struct meter *const meters[] = {&meter_ina3221, &meter_nvml, &meter_rapl, NULL};

const struct meter *const *meter_list(void) {
  return meters;
}

const char *meter_scope_name(enum meter_scope scope) {
  static const char *const names[] = {[METER_MODULE] = "module", [METER_PROCESSOR] = "processor", [METER_GPU] = "gpu"};
  return names[scope];
}

static double real_now(void *context) {
  (void)context;
  return meter_clock_seconds();
}

static int real_read_text(void *context, const char *path, char *text, size_t size) {
  (void)context;
  return meter_sysfs_read_file(path, text, size);
}

static int real_open_event(void *context, unsigned unit, unsigned long long event, int processor) {
  const pid_t every_process = -1;
  const int no_group = -1;
  struct perf_event_attr attributes = {.type = unit, .size = sizeof attributes, .config = event};
  (void)context;
  return (int)syscall(SYS_perf_event_open, &attributes, every_process, processor, no_group, PERF_FLAG_FD_CLOEXEC);
}

static int real_read_event(void *context, int descriptor, unsigned long long *count) {
  (void)context;
  ssize_t got = read(descriptor, count, sizeof *count);
  return got == (ssize_t)sizeof *count ? 0 : got < 0 ? errno : EIO;
}

struct meter_system meter_system_default(const char *sysfs) {
  return (struct meter_system){.sysfs = sysfs ? sysfs : "/sys",
                               .state = sysfs ? NULL : "/var/lib",
                               .nvml = sysfs ? NULL : "libnvidia-ml.so.1",
                               .now = real_now,
                               .read_text = real_read_text,
                               .open_event = sysfs ? NULL : real_open_event,
                               .read_event = real_read_event};
}

static double processor_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double median(const double *values, size_t count) {
  struct meter_times times;
  return meter_times_summary(values, count, &times, NULL) ? times.median : 0;
}

void meter_examine(const struct meter *meter, const struct meter_system *system, struct meter_report *report) {
  enum { READINGS = 7 };
  void *handle = NULL;
  *report = (struct meter_report){0};
  report->state = meter->open(system, &handle, &report->properties, &report->problem);
  if (report->state != METER_WORKS)
    return;
  double waited[READINGS], worked[READINGS];
  for (int i = 0; i < READINGS; i++) {
    struct meter_reading reading = {0};
    double start = system->now(system->context), processor = processor_now();
    meter->read(handle, &reading, NULL);
    worked[i] = processor_now() - processor;
    waited[i] = system->now(system->context) - start;
  }
  meter->close(handle);
  report->read_seconds = median(waited, READINGS);
  report->processor_seconds = median(worked, READINGS);
}

static void add_reason(struct meter_session *session, const struct meter_problem *problem) {
  size_t used = strlen(session->reason);
  snprintf(session->reason + used, sizeof session->reason - used, "%s%s%s%s", used ? "; " : "", problem->reason,
           problem->remedy[0] ? ": " : "", problem->remedy);
}

static bool sees(const struct meter *meter, enum meter_scope device) {
  return meter->scope == METER_MODULE || meter->scope == device;
}

static struct meter_session *make_session(const struct meter_system *system, struct ffb_error *error) {
  struct meter_session *session = ffb_allocate(1, sizeof *session, error);
  if (!session)
    return NULL;
  session->system = *system;
  pthread_mutex_init(&session->reading, NULL);
  return session;
}

static bool take_meter(struct meter_session *session, const struct meter *meter) {
  struct meter_problem problem = {0};
  if (meter->open(&session->system, &session->handle, &session->properties, &problem) == METER_WORKS)
    session->meter = meter;
  else
    add_reason(session, &problem);
  return session->meter;
}

struct meter_session *meter_session_open(const struct meter_system *system, enum meter_scope device,
                                         struct ffb_error *error) {
  struct meter_session *session = make_session(system, error);
  for (size_t i = 0; session && meters[i] && !session->meter; i++)
    if (sees(meters[i], device) && take_meter(session, meters[i]))
      session->reason[0] = '\0';
  return session;
}

/* Another way to the same rail, and not the first again. */
static bool is_second(const struct meter_session *first, const struct meter_session *second,
                      struct meter_problem *problem) {
  const struct meter_properties *one = &first->properties, *other = &second->properties;
  *problem = (struct meter_problem){0};
  if (!strcmp(one->source, other->source))
    snprintf(problem->reason, sizeof problem->reason, "%s is the first reader itself", other->source);
  else if (strcmp(one->rail, other->rail) != 0)
    snprintf(problem->reason, sizeof problem->reason, "%s reads %s, and not %s", other->source, other->rail, one->rail);
  return !problem->reason[0];
}

struct meter_session *meter_session_open_second(const struct meter_session *first, struct ffb_error *error) {
  struct meter_session *session = make_session(&first->system, error);
  const struct meter *const *seconds = first->meter ? first->meter->seconds : NULL;
  for (; session && seconds && *seconds && !session->meter; seconds++) {
    struct meter_problem problem;
    if (!take_meter(session, *seconds) || is_second(first, session, &problem))
      continue;
    session->meter->close(session->handle);
    session->meter = NULL;
    add_reason(session, &problem);
  }
  if (session && session->meter)
    session->reason[0] = '\0';
  else if (session && !session->reason[0])
    snprintf(session->reason, sizeof session->reason, "%s",
             first->meter ? "there is one way only to read this power" : "nothing is measured");
  return session;
}

bool meter_session_read(struct meter_session *session, double *seconds, struct meter_reading *reading,
                        struct ffb_error *error) {
  const struct meter_system *system = &session->system;
  *reading = (struct meter_reading){0};
  pthread_mutex_lock(&session->reading);
  double before = system->now(system->context);
  bool good = session->meter->read(session->handle, reading, error);
  *seconds = 0.5 * (before + system->now(system->context));
  pthread_mutex_unlock(&session->reading);
  return good;
}

void meter_session_close(struct meter_session *session) {
  if (!session)
    return;
  if (session->meter)
    session->meter->close(session->handle);
  pthread_mutex_destroy(&session->reading);
  ffb_free(session);
}
