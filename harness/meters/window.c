#include "harness/meters/window.h"

#include "base/memory.h"
#include "base/thread.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FAULT_KINDS = 8, FAULT_TEXT = 96 };

struct fault {
  char text[FAULT_TEXT];
  uint64_t count;
};

struct reading {
  bool good;
  double time;
  struct meter_reading taken;
  char fault[FAULT_TEXT];
};

struct totals {
  double seconds; /* closed spans only */
  struct meter_integral integral;
  uint64_t faults;
  struct fault kinds[FAULT_KINDS];
  char wrong[FAULT_TEXT]; /* what spoilt the sum; empty: nothing did */
};

struct meter_window {
  struct meter_session *session;
  double interval;
  bool caller_samples;

  pthread_mutex_t lock; /* guards everything below; never held while the meter is read */
  pthread_cond_t changed;
  pthread_t thread;
  bool thread_runs, stop;

  bool running;
  uint64_t span; /* counts resumes, so that a reading that began in another span is dropped */
  double span_start;
  bool span_is_new;     /* no reading of it was entered yet */
  uint64_t span_micros; /* from its start to the last reading */
  double counter;       /* the last good reading of a counter */
  struct totals totals;
  struct meter_log own_log, *log;
  size_t log_start; /* what lies before is not of this window */
};

static double now(const struct meter_window *window) {
  const struct meter_system *system = &window->session->system;
  return system->now(system->context);
}

static void note_faults(struct totals *totals, const char *text, uint64_t count) {
  totals->faults += count;
  size_t i = 0;
  while (i < FAULT_KINDS - 1 && totals->kinds[i].count && strcmp(totals->kinds[i].text, text) != 0)
    i++;
  if (i == FAULT_KINDS - 1)
    text = "other faults";
  if (!totals->kinds[i].count)
    snprintf(totals->kinds[i].text, FAULT_TEXT, "%s", text);
  totals->kinds[i].count += count;
}

static void note_fault(struct totals *totals, const char *text) {
  note_faults(totals, text, 1);
}

static void take(struct meter_window *window, struct reading *reading) {
  struct ffb_error error;
  reading->good = meter_session_read(window->session, &reading->time, &reading->taken, &error);
  reading->fault[0] = '\0';
  if (!reading->good)
    snprintf(reading->fault, FAULT_TEXT, "%.*s", FAULT_TEXT - 1, error.message);
}

static bool believable_power(const struct meter_window *window, double watts) {
  return watts >= 0 && watts <= window->session->properties.limit_watts;
}

static struct meter_rule rule_of(const struct meter_window *window) {
  const struct meter_properties *properties = &window->session->properties;
  return (struct meter_rule){.kind = window->session->meter->kind,
                             .interval_seconds = window->interval,
                             .wrap_seconds = properties->wrap_seconds,
                             .limit_watts = properties->limit_watts};
}

/* The last readings, which looked good, came from a register that had stopped: strike them out and add up anew. */
static void strike_out(struct meter_window *window, size_t count, const char *fault) {
  struct meter_rule rule = rule_of(window);
  struct meter_log *log = window->log;
  size_t struck = 0;
  if (log->full) {
    snprintf(window->totals.wrong, FAULT_TEXT, "%s", fault);
    return;
  }
  for (size_t i = log->count; i > window->log_start && struck < count; i--)
    if (isfinite(log->entries[i - 1].value)) {
      log->entries[i - 1].value = METER_FAILED;
      struck++;
    }
  note_faults(&window->totals, fault, struck);
  window->totals.integral = (struct meter_integral){0};
  for (size_t i = window->log_start; i < log->count; i++)
    meter_integral_add(&window->totals.integral, &rule, log->entries[i]);
}

/* Microseconds are rounded from the span's start, so that their sum does not drift. */
static uint32_t micros_since_last(struct meter_window *window, double time) {
  const uint64_t longest = METER_SPAN_STARTS - 1;
  uint64_t before = window->span_micros;
  if (window->span_is_new) {
    window->span_is_new = false;
    window->span_micros = 0;
    return METER_SPAN_STARTS;
  }
  window->span_micros = (uint64_t)fmax((double)before, round(1e6 * (time - window->span_start)));
  return (uint32_t)(window->span_micros - before < longest ? window->span_micros - before : longest);
}

static void enter(struct meter_window *window, struct meter_entry entry) {
  static const char *const faults[] = {[METER_STEP_GAP] = "gap between readings, not bridged",
                                       [METER_STEP_WRAPPED] = "gap in which the counter may have wrapped unseen",
                                       [METER_STEP_JUMPED] = "the counter jumped"};
  struct meter_rule rule = rule_of(window);
  meter_log_add(window->log, entry);
  enum meter_step step = meter_integral_add(&window->totals.integral, &rule, entry);
  if (step != METER_STEP_NONE && step != METER_STEP_GOOD)
    note_fault(&window->totals, faults[step]);
}

static float value_to_enter(struct meter_window *window, const struct reading *reading) {
  double value = reading->taken.value, before = window->counter;
  if (window->session->meter->kind == METER_POWER)
    return (float)value;
  window->counter = value;
  return window->totals.integral.has_last ? (float)(value - before) : 0;
}

static void push(struct meter_window *window, const struct reading *reading) {
  bool power = window->session->meter->kind == METER_POWER;
  const char *fault = reading->good ? NULL : reading->fault;
  bool stopped = fault && reading->taken.stopped;
  if (!fault && power && !believable_power(window, reading->taken.value))
    fault = "power outside its range";
  if (stopped)
    strike_out(window, reading->taken.doubtful, fault);
  struct meter_entry entry = {.microseconds = micros_since_last(window, reading->time), .value = METER_FAILED};
  if (entry.microseconds == METER_SPAN_STARTS)
    window->totals.integral.has_last = false;
  if (!fault)
    entry.value = value_to_enter(window, reading);
  else if (stopped)
    entry.value = METER_LOST;
  if (fault)
    note_fault(&window->totals, fault);
  enter(window, entry);
}

void meter_window_sample(struct meter_window *window) {
  if (!window->session->meter)
    return;
  pthread_mutex_lock(&window->lock);
  bool running = window->running;
  uint64_t span = window->span;
  pthread_mutex_unlock(&window->lock);
  if (!running)
    return;
  struct reading reading;
  take(window, &reading);
  pthread_mutex_lock(&window->lock);
  if (window->running && window->span == span)
    push(window, &reading);
  pthread_mutex_unlock(&window->lock);
}

static struct timespec add_seconds(struct timespec time, double seconds) {
  const long second = 1000000000L;
  time.tv_sec += (time_t)seconds;
  time.tv_nsec += (long)(1e9 * (seconds - floor(seconds)));
  if (time.tv_nsec >= second) {
    time.tv_nsec -= second;
    time.tv_sec++;
  }
  return time;
}

static bool earlier(struct timespec a, struct timespec b) {
  return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/* Wait, with the lock held, until the deadline; false when the span ends before it. */
static bool wait_in_span(struct meter_window *window, uint64_t span, const struct timespec *deadline) {
  int code = 0;
  while (!window->stop && window->running && window->span == span && code != ETIMEDOUT)
    code = pthread_cond_timedwait(&window->changed, &window->lock, deadline);
  return code == ETIMEDOUT && !window->stop && window->running && window->span == span;
}

static void sample_span(struct meter_window *window, uint64_t span) {
  struct timespec deadline, present;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline = add_seconds(deadline, window->interval);
  while (wait_in_span(window, span, &deadline)) {
    pthread_mutex_unlock(&window->lock);
    meter_window_sample(window);
    pthread_mutex_lock(&window->lock);
    deadline = add_seconds(deadline, window->interval);
    clock_gettime(CLOCK_MONOTONIC, &present);
    if (earlier(deadline, present))
      deadline = add_seconds(present, window->interval);
  }
}

static void *sampling_thread(void *argument) {
  struct meter_window *window = argument;
  pthread_mutex_lock(&window->lock);
  while (!window->stop) {
    if (window->running)
      sample_span(window, window->span);
    else
      pthread_cond_wait(&window->changed, &window->lock);
  }
  pthread_mutex_unlock(&window->lock);
  return NULL;
}

struct meter_window *meter_window_create(struct meter_session *session, const struct meter_window_options *options,
                                         struct ffb_error *error) {
  struct meter_window *window = ffb_allocate(1, sizeof *window, error);
  if (!window)
    return NULL;
  window->session = session;
  window->interval =
      options && options->interval_seconds > 0 ? options->interval_seconds : session->properties.interval_seconds;
  window->caller_samples = options && options->caller_samples;
  window->log = options && options->log ? options->log : &window->own_log;
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&window->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&window->lock, NULL);
  if (session->meter && !window->caller_samples)
    window->thread_runs = !ffb_thread_start(&window->thread, sampling_thread, window);
  return window;
}

void meter_window_begin(struct meter_window *window) {
  pthread_mutex_lock(&window->lock);
  window->running = false;
  window->totals = (struct totals){0};
  window->own_log.count = 0;
  window->log_start = window->log->count;
  if (window->session->meter && !window->caller_samples && !window->thread_runs)
    note_fault(&window->totals, "the sampling thread did not start");
  pthread_mutex_unlock(&window->lock);
  meter_window_resume(window);
}

/* The edge is read first and the span starts after it, so that reading costs the span no time. */
void meter_window_resume(struct meter_window *window) {
  struct reading reading = {0};
  pthread_mutex_lock(&window->lock);
  bool running = window->running;
  pthread_mutex_unlock(&window->lock);
  if (running)
    return;
  if (window->session->meter)
    take(window, &reading);
  pthread_mutex_lock(&window->lock);
  window->span_is_new = true;
  window->running = true;
  window->span++;
  reading.time = window->span_start = now(window);
  if (window->session->meter)
    push(window, &reading);
  pthread_cond_signal(&window->changed);
  pthread_mutex_unlock(&window->lock);
}

void meter_window_pause(struct meter_window *window) {
  struct reading reading = {0};
  pthread_mutex_lock(&window->lock);
  bool running = window->running;
  double end = now(window);
  window->running = false;
  if (running)
    window->totals.seconds += end - window->span_start;
  pthread_cond_signal(&window->changed);
  pthread_mutex_unlock(&window->lock);
  if (!running || !window->session->meter)
    return;
  take(window, &reading);
  reading.time = end;
  pthread_mutex_lock(&window->lock);
  push(window, &reading);
  pthread_mutex_unlock(&window->lock);
}

static void write_faults(const struct totals *totals, char *text, size_t size) {
  text[0] = '\0';
  for (size_t i = 0; i < FAULT_KINDS && totals->kinds[i].count; i++) {
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%llu x %s", i ? "; " : "", (unsigned long long)totals->kinds[i].count,
             totals->kinds[i].text);
  }
}

static void write_measurement(const struct meter_window *window, struct meter_result *result) {
  const struct meter_session *session = window->session;
  const struct totals *totals = &window->totals;
  memcpy(result->source, session->properties.source, sizeof result->source);
  memcpy(result->rail, session->properties.rail, sizeof result->rail);
  result->interval_seconds = window->interval;
  result->resolution = session->properties.resolution;
  result->samples = totals->integral.samples;
  result->scope = session->meter->scope;
  result->faults = totals->faults;
  write_faults(totals, result->fault_text, sizeof result->fault_text);
  const struct meter_integral *integral = &totals->integral;
  double known = integral->covered + integral->bridged;
  if (totals->wrong[0]) {
    snprintf(result->reason, sizeof result->reason, "%s, and there was no memory for the readings to strike out",
             totals->wrong);
  } else if (known > 0 && integral->joules > 0) {
    result->measured = true;
    result->joules = integral->joules;
    result->mean_watts = integral->joules / known;
    result->coverage = result->seconds > 0 ? fmin(1, integral->covered / result->seconds) : 0;
    result->bridged = result->seconds > 0 ? fmin(1 - result->coverage, integral->bridged / result->seconds) : 0;
  } else if (known > 0) {
    snprintf(result->reason, sizeof result->reason,
             "%s stood at zero for the whole window of %.3g s: too short for this meter, or it is stuck",
             session->properties.source, result->seconds);
  } else {
    snprintf(result->reason, sizeof result->reason, "%s gave no two good readings in a row in %.3g s%s%s",
             session->properties.source, result->seconds, totals->faults ? ": " : "", result->fault_text);
  }
}

void meter_window_result(struct meter_window *window, struct meter_result *result) {
  *result = (struct meter_result){0};
  pthread_mutex_lock(&window->lock);
  result->seconds = window->totals.seconds + (window->running ? now(window) - window->span_start : 0);
  if (window->session->meter)
    write_measurement(window, result);
  else
    snprintf(result->reason, sizeof result->reason, "%s", window->session->reason);
  pthread_mutex_unlock(&window->lock);
}

void meter_window_end(struct meter_window *window, struct meter_result *result) {
  meter_window_pause(window);
  meter_window_result(window, result);
}

void meter_window_destroy(struct meter_window *window) {
  if (!window)
    return;
  if (window->thread_runs) {
    pthread_mutex_lock(&window->lock);
    window->stop = true;
    pthread_cond_signal(&window->changed);
    pthread_mutex_unlock(&window->lock);
    pthread_join(window->thread, NULL);
  }
  pthread_cond_destroy(&window->changed);
  pthread_mutex_destroy(&window->lock);
  meter_log_free(&window->own_log);
  ffb_free(window);
}
