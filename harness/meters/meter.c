#include "harness/meters/meter.h"

#include "base/memory.h"
#include "harness/meters/clock.h"
#include "harness/meters/sysfs.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

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

struct meter_system meter_system_default(const char *sysfs) {
  return (struct meter_system){.sysfs = sysfs ? sysfs : "/sys",
                               .state = sysfs ? NULL : "/var/lib",
                               .nvml = sysfs ? NULL : "libnvidia-ml.so.1",
                               .now = real_now,
                               .read_text = real_read_text};
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

struct meter_session *meter_session_open(const struct meter_system *system, enum meter_scope device,
                                         struct ffb_error *error) {
  struct meter_session *session = ffb_allocate(1, sizeof *session, error);
  if (!session)
    return NULL;
  session->system = *system;
  pthread_mutex_init(&session->reading, NULL);
  for (size_t i = 0; meters[i] && !session->meter; i++) {
    struct meter_problem problem = {0};
    if (!sees(meters[i], device))
      continue;
    if (meters[i]->open(system, &session->handle, &session->properties, &problem) == METER_WORKS)
      session->meter = meters[i];
    else
      add_reason(session, &problem);
  }
  if (session->meter)
    session->reason[0] = '\0';
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
