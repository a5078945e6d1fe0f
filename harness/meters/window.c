#include "harness/meters/window.h"

#include "base/memory.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FAULT_KINDS = 8, FAULT_TEXT = 96, BRIDGED_INTERVALS = 5 };

struct fault {
  char text[FAULT_TEXT];
  uint64_t count;
};

struct reading {
  bool good;
  double time;
  double value;
  char fault[FAULT_TEXT];
};

struct totals {
  double joules;
  double seconds, covered, bridged; /* seconds holds closed spans only */
  uint64_t samples, faults;
  struct fault kinds[FAULT_KINDS];
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
  bool has_last, failed_since_last;
  double last_time, last_value;
  struct totals totals;
};

static double now(const struct meter_window *window) {
  const struct meter_system *system = &window->session->system;
  return system->now(system->context);
}

static void note_fault(struct totals *totals, const char *text) {
  totals->faults++;
  size_t i = 0;
  while (i < FAULT_KINDS - 1 && totals->kinds[i].count && strcmp(totals->kinds[i].text, text) != 0)
    i++;
  if (i == FAULT_KINDS - 1)
    text = "other faults";
  if (!totals->kinds[i].count)
    snprintf(totals->kinds[i].text, FAULT_TEXT, "%s", text);
  totals->kinds[i].count++;
}

static void take(struct meter_window *window, struct reading *reading) {
  struct ffb_error error;
  reading->good = meter_session_read(window->session, &reading->time, &reading->value, &error);
  reading->fault[0] = '\0';
  if (!reading->good)
    snprintf(reading->fault, FAULT_TEXT, "%.*s", FAULT_TEXT - 1, error.message);
}

static bool believable_power(const struct meter_window *window, double watts) {
  return watts >= 0 && watts <= window->session->properties.limit_watts;
}

/* A second of slack: a counter is refreshed at its own pace, so a short step may carry the energy of a longer one. */
static bool believable_step(const struct meter_window *window, double joules, double seconds) {
  return joules >= 0 && joules <= window->session->properties.limit_watts * (seconds + 1);
}

static void add_power_step(struct meter_window *window, double seconds, double watts) {
  if (seconds > BRIDGED_INTERVALS * window->interval) {
    note_fault(&window->totals, "gap between readings, not bridged");
    return;
  }
  window->totals.joules += 0.5 * (window->last_value + watts) * seconds;
  if (window->failed_since_last)
    window->totals.bridged += seconds;
  else
    window->totals.covered += seconds;
}

static void add_counter_step(struct meter_window *window, double seconds, double joules) {
  double step = joules - window->last_value;
  if (seconds >= window->session->properties.wrap_seconds)
    note_fault(&window->totals, "gap in which the counter may have wrapped unseen");
  else if (!believable_step(window, step, seconds))
    note_fault(&window->totals, "the counter jumped");
  else {
    window->totals.joules += step;
    window->totals.covered += seconds;
  }
}

static void push(struct meter_window *window, const struct reading *reading) {
  bool power = window->session->meter->kind == METER_POWER;
  const char *fault = reading->good ? NULL : reading->fault;
  if (!fault && power && !believable_power(window, reading->value))
    fault = "power outside its range";
  if (fault) {
    note_fault(&window->totals, fault);
    window->failed_since_last = true;
    return;
  }
  window->totals.samples++;
  double seconds = reading->time - window->last_time;
  if (window->has_last && seconds > 0) {
    if (power)
      add_power_step(window, seconds, reading->value);
    else
      add_counter_step(window, seconds, reading->value);
  }
  window->has_last = true;
  window->failed_since_last = false;
  window->last_time = reading->time;
  window->last_value = reading->value;
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

/* Signals are for the program's own threads: the sampler blocks them all. */
static bool start_thread(struct meter_window *window) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = !pthread_create(&window->thread, NULL, sampling_thread, window);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return started;
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
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&window->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&window->lock, NULL);
  if (session->meter && !window->caller_samples)
    window->thread_runs = start_thread(window);
  return window;
}

void meter_window_begin(struct meter_window *window) {
  pthread_mutex_lock(&window->lock);
  window->running = false;
  window->totals = (struct totals){0};
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
  window->has_last = false;
  window->failed_since_last = false;
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
  result->samples = totals->samples;
  result->faults = totals->faults;
  write_faults(totals, result->fault_text, sizeof result->fault_text);
  double known = totals->covered + totals->bridged;
  if (known > 0 && totals->joules > 0) {
    result->measured = true;
    result->joules = totals->joules;
    result->mean_watts = totals->joules / known;
    result->coverage = result->seconds > 0 ? fmin(1, totals->covered / result->seconds) : 0;
    result->bridged = result->seconds > 0 ? fmin(1 - result->coverage, totals->bridged / result->seconds) : 0;
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
  ffb_free(window);
}
