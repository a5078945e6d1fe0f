#include "harness/meters/conditions.h"

#include "base/memory.h"
#include "base/thread.h"
#include "harness/meters/sysfs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NAME = 32 };

/* One look. */
struct look {
  double megahertz, limit_megahertz, celsius;
  char zone[NAME];
  bool clocks_known, clocks_fixed;
  bool throttling_known, cooling;
  char cooling_by[NAME];
  double events; /* thermal throttlings and over-currents since the machine started */
};

struct meter_conditions_watch {
  const struct meter_system *system;
  const struct meter_card *card; /* null: none computes */
  double interval;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  pthread_t thread;
  bool thread_runs, stop;
  struct meter_conditions seen;
  double first_events;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void read_name(const struct meter_system *system, const char *folder, char name[NAME]) {
  char path[METER_SYSFS_PATH];
  if (!meter_sysfs_join(path, folder, "type") || system->read_text(system->context, path, name, NAME))
    snprintf(name, NAME, "unnamed");
}

/* Some zones give nonsense while their sensor is off. */
static void visit_zone(const struct meter_system *system, const char *path, void *to) {
  struct look *look = to;
  const double coldest = -40, hottest = 150;
  double millidegrees;
  if (!meter_sysfs_read_in(system, path, "temp", &millidegrees))
    return;
  double celsius = 1e-3 * millidegrees;
  if (celsius < coldest || celsius > hottest || celsius <= look->celsius)
    return;
  look->celsius = celsius;
  read_name(system, path, look->zone);
}

struct clocks {
  double sum, limit;
  int count, fixed;
};

static void visit_clock(const struct meter_system *system, const char *path, void *to) {
  struct clocks *clocks = to;
  double now, lowest = 0, highest = 0, limit;
  if (!meter_sysfs_read_in(system, path, "scaling_cur_freq", &now))
    return;
  clocks->sum += 1e-3 * now;
  clocks->count++;
  clocks->fixed += meter_sysfs_read_in(system, path, "scaling_min_freq", &lowest) &&
                   meter_sysfs_read_in(system, path, "scaling_max_freq", &highest) && lowest == highest;
  if (meter_sysfs_read_in(system, path, "cpuinfo_max_freq", &limit))
    clocks->limit = fmax(clocks->limit, 1e-3 * limit);
}

/* Fans cool too, and hold nothing back. */
static bool holds_back(const char *type) {
  static const char *const starts[] = {"Processor", "cpufreq", "devfreq", "thermal-cpufreq", "thermal-devfreq"};
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
    if (!strncmp(type, starts[i], strlen(starts[i])))
      return true;
  return strstr(type, "throttle") != NULL;
}

static void visit_cooling(const struct meter_system *system, const char *path, void *to) {
  struct look *look = to;
  double state;
  char type[NAME];
  read_name(system, path, type);
  if (!holds_back(type) || !meter_sysfs_read_in(system, path, "cur_state", &state))
    return;
  look->throttling_known = true;
  if (state <= 0)
    return;
  look->cooling = true;
  memcpy(look->cooling_by, type, NAME);
}

static void visit_events(const struct meter_system *system, const char *path, void *to) {
  struct look *look = to;
  long long count;
  if (meter_sysfs_number(system, path, &count))
    return;
  look->throttling_known = true;
  look->events += (double)count;
}

static void take(const struct meter_system *system, struct look *look) {
  struct clocks clocks = {0};
  *look = (struct look){.megahertz = (double)NAN, .limit_megahertz = (double)NAN, .celsius = -(double)INFINITY};
  meter_sysfs_each(system, "class/thermal/thermal_zone*", visit_zone, look);
  meter_sysfs_each(system, "devices/system/cpu/cpu[0-9]*/cpufreq", visit_clock, &clocks);
  meter_sysfs_each(system, "class/thermal/cooling_device*", visit_cooling, look);
  meter_sysfs_each(system, "devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count", visit_events, look);
  meter_sysfs_each(system, "class/hwmon/hwmon*/oc*_event_cnt", visit_events, look);
  look->clocks_known = clocks.count > 0;
  look->clocks_fixed = clocks.count > 0 && clocks.fixed == clocks.count;
  if (clocks.count)
    look->megahertz = clocks.sum / clocks.count;
  if (clocks.limit > 0)
    look->limit_megahertz = clocks.limit;
}

double meter_hottest_celsius(const struct meter_system *system, const struct meter_card *card, char zone[NAME]) {
  struct look look = {.celsius = -(double)INFINITY};
  struct meter_card_look of_card = {.celsius = (double)NAN};
  meter_sysfs_each(system, "class/thermal/thermal_zone*", visit_zone, &look);
  if (card)
    meter_card_look(card, &of_card);
  if (of_card.celsius > look.celsius) {
    look.celsius = of_card.celsius;
    snprintf(look.zone, NAME, "graphics card");
  }
  memcpy(zone, look.zone, NAME);
  return isfinite(look.celsius) ? look.celsius : (double)NAN;
}

/* nvpmodel keeps "pmode:0002" there. */
static void read_power_mode(const struct meter_system *system, char *mode, size_t size) {
  char path[METER_SYSFS_PATH];
  mode[0] = '\0';
  if (system->state && meter_sysfs_join(path, system->state, "nvpmodel/status") &&
      system->read_text(system->context, path, mode, size))
    mode[0] = '\0';
}

/* ---- adding up --------------------------------------------------------------------------------------------------- */

static void note_throttled(struct meter_conditions *seen, const char *by, const char *detail) {
  if (!seen->throttled)
    snprintf(seen->throttled_by, sizeof seen->throttled_by, "%s%s", by, detail);
  seen->throttled = true;
}

static void note_throttling(struct meter_conditions_watch *watch, const struct look *look) {
  struct meter_conditions *seen = &watch->seen;
  seen->throttling_known |= look->throttling_known;
  if (look->cooling)
    note_throttled(seen, look->cooling_by, "");
  if (look->events > watch->first_events)
    note_throttled(seen, "heat or over-current, by the kernel's count", "");
}

static void note_clock(struct meter_clocks *clocks, double megahertz, bool fixed) {
  if (isnan(megahertz))
    return;
  bool first = clocks->looks++ == 0;
  clocks->minimum = first ? megahertz : fmin(clocks->minimum, megahertz);
  clocks->maximum = first ? megahertz : fmax(clocks->maximum, megahertz);
  clocks->mean = first ? megahertz : clocks->mean + (megahertz - clocks->mean) / (double)clocks->looks;
  clocks->fixed = fixed && (first || clocks->fixed);
}

static void note_card(struct meter_conditions *seen, const struct meter_card_look *look) {
  struct meter_card_conditions *card = &seen->card;
  note_clock(&card->clocks, look->megahertz, look->fixed);
  if (seen->samples == 1)
    card->first_celsius = look->celsius;
  card->highest_celsius = fmax(card->highest_celsius, look->celsius); /* that of two which is a number */
  card->lowest_limit_watts = fmin(card->lowest_limit_watts, look->limit_watts);
  card->reasons_known |= look->reasons_known;
  seen->throttling_known |= look->reasons_known;
  for (size_t i = 0; look->reasons_known && i < METER_CARD_REASONS; i++) {
    const struct meter_card_reason *reason = &meter_card_reasons[i];
    if (!(look->reasons & reason->bit))
      continue;
    card->held[i]++;
    if (reason->throttles)
      note_throttled(seen, "graphics card: ", reason->name);
  }
}

static void note(struct meter_conditions_watch *watch, const struct look *look) {
  struct meter_conditions *seen = &watch->seen;
  if (!seen->samples) {
    seen->first_celsius = isfinite(look->celsius) ? look->celsius : (double)NAN;
    seen->clocks.limit = look->limit_megahertz;
    seen->clocks.fixed_known = look->clocks_known;
    watch->first_events = look->events;
  }
  seen->samples++;
  note_clock(&seen->clocks, look->megahertz, look->clocks_fixed);
  if (isfinite(look->celsius) && !(look->celsius <= seen->highest_celsius)) {
    seen->highest_celsius = look->celsius;
    memcpy(seen->hottest, look->zone, NAME);
  }
  note_throttling(watch, look);
}

void meter_conditions_look(struct meter_conditions_watch *watch) {
  const struct meter_card *card = watch->card;
  struct look look;
  struct meter_card_look of_card;
  take(watch->system, &look);
  if (card)
    meter_card_look(card, &of_card);
  pthread_mutex_lock(&watch->lock);
  note(watch, &look);
  if (card)
    note_card(&watch->seen, &of_card);
  pthread_mutex_unlock(&watch->lock);
}

void meter_conditions_read(struct meter_conditions_watch *watch, struct meter_conditions *conditions) {
  pthread_mutex_lock(&watch->lock);
  *conditions = watch->seen;
  pthread_mutex_unlock(&watch->lock);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* Wait, with the lock held; false when it is time to stop. */
static bool wait_interval(struct meter_conditions_watch *watch) {
  struct timespec until;
  int code = 0;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)ceil(watch->interval);
  while (!watch->stop && code != ETIMEDOUT)
    code = pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
  return !watch->stop;
}

static void *looking_thread(void *argument) {
  struct meter_conditions_watch *watch = argument;
  pthread_mutex_lock(&watch->lock);
  while (wait_interval(watch)) {
    pthread_mutex_unlock(&watch->lock);
    meter_conditions_look(watch);
    pthread_mutex_lock(&watch->lock);
  }
  pthread_mutex_unlock(&watch->lock);
  return NULL;
}

/* Before the first look nothing is known. */
static struct meter_conditions nothing_seen(const struct meter_card *card, double interval_seconds) {
  const struct meter_clocks unknown = {
      .minimum = (double)NAN, .mean = (double)NAN, .maximum = (double)NAN, .limit = (double)NAN};
  struct meter_conditions seen = {.interval_seconds = interval_seconds,
                                  .clocks = unknown,
                                  .first_celsius = (double)NAN,
                                  .highest_celsius = (double)NAN,
                                  .has_card = card,
                                  .card = {.clocks = unknown,
                                           .first_celsius = (double)NAN,
                                           .highest_celsius = (double)NAN,
                                           .lowest_limit_watts = (double)NAN}};
  if (card) {
    seen.card.facts = *meter_card_facts(card);
    seen.card.clocks.limit = seen.card.facts.limit_megahertz;
    seen.card.clocks.fixed_known = seen.card.facts.fixed_known;
  }
  return seen;
}

struct meter_conditions_watch *meter_conditions_start(const struct meter_system *system, const struct meter_card *card,
                                                      double interval_seconds, struct ffb_error *error) {
  struct meter_conditions_watch *watch = ffb_allocate(1, sizeof *watch, error);
  pthread_condattr_t monotonic;
  if (!watch)
    return NULL;
  watch->system = system;
  watch->card = card;
  watch->interval = interval_seconds;
  watch->seen = nothing_seen(card, interval_seconds);
  read_power_mode(system, watch->seen.power_mode, sizeof watch->seen.power_mode);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&watch->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&watch->lock, NULL);
  meter_conditions_look(watch);
  watch->thread_runs = interval_seconds > 0 && !ffb_thread_start(&watch->thread, looking_thread, watch);
  return watch;
}

void meter_conditions_stop(struct meter_conditions_watch *watch) {
  if (!watch)
    return;
  if (watch->thread_runs) {
    pthread_mutex_lock(&watch->lock);
    watch->stop = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
  }
  pthread_cond_destroy(&watch->changed);
  pthread_mutex_destroy(&watch->lock);
  ffb_free(watch);
}
