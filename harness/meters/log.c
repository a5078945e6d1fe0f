#include "harness/meters/log.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BRIDGED_INTERVALS = 5, FIRST_ROOM = 1024, LINE_BYTES = 40 };

void meter_log_add(struct meter_log *log, struct meter_entry entry) {
  if (log->full)
    return;
  if (log->count == log->room) {
    size_t room = log->room ? 2 * log->room : FIRST_ROOM;
    struct meter_entry *grown = ffb_reallocate(log->entries, room, sizeof *grown, NULL);
    if (!grown) {
      log->full = true;
      return;
    }
    log->entries = grown;
    log->room = room;
  }
  log->entries[log->count++] = entry;
}

void meter_log_free(struct meter_log *log) {
  ffb_free(log->entries);
  *log = (struct meter_log){0};
}

static enum meter_step add_power(struct meter_integral *integral, const struct meter_rule *rule, double watts) {
  double seconds = integral->since_last;
  if (seconds > BRIDGED_INTERVALS * rule->interval_seconds)
    return METER_STEP_GAP;
  integral->joules += 0.5 * (integral->last_value + watts) * seconds;
  if (integral->failed_since_last)
    integral->bridged += seconds;
  else
    integral->covered += seconds;
  return METER_STEP_GOOD;
}

/* A second of slack: a counter is refreshed at its own pace, so a short step may carry the energy of a longer one. */
static bool believable(const struct meter_rule *rule, double joules, double seconds) {
  return joules >= 0 && joules <= rule->limit_watts * (seconds + 1);
}

static enum meter_step add_count(struct meter_integral *integral, const struct meter_rule *rule, double joules) {
  if (integral->since_last >= rule->wrap_seconds)
    return METER_STEP_WRAPPED;
  if (!believable(rule, joules, integral->since_last))
    return METER_STEP_JUMPED;
  integral->joules += joules;
  integral->covered += integral->since_last;
  return METER_STEP_GOOD;
}

enum meter_step meter_integral_add(struct meter_integral *integral, const struct meter_rule *rule,
                                   struct meter_entry entry) {
  enum meter_step step = METER_STEP_NONE;
  if (entry.microseconds == METER_SPAN_STARTS)
    integral->has_last = integral->failed_since_last = false;
  else
    integral->since_last += 1e-6 * entry.microseconds;
  if (!isfinite(entry.value)) {
    integral->failed_since_last = true;
    integral->has_last = integral->has_last && !isinf(entry.value);
    return step;
  }
  double value = (double)entry.value;
  if (integral->has_last && integral->since_last > 0)
    step = rule->kind == METER_POWER ? add_power(integral, rule, value) : add_count(integral, rule, value);
  integral->samples++;
  integral->has_last = true;
  integral->failed_since_last = false;
  integral->since_last = 0;
  integral->last_value = value;
  return step;
}

static int write_entry(char *line, struct meter_entry entry, double seconds) {
  if (isinf(entry.value))
    return snprintf(line, LINE_BYTES, "%.6f lost\n", seconds);
  if (isnan(entry.value))
    return snprintf(line, LINE_BYTES, "%.6f -\n", seconds);
  return snprintf(line, LINE_BYTES, "%.6f %.9g\n", seconds, (double)entry.value);
}

char *meter_log_text(const struct meter_log *log, const char *heading, size_t *bytes, struct ffb_error *error) {
  static const char pause[] = "pause\n";
  size_t used = strlen(heading);
  char *text = ffb_allocate(used + log->count * (LINE_BYTES + sizeof pause) + 1, 1, error);
  if (!text)
    return NULL;
  memcpy(text, heading, used);
  uint64_t microseconds = 0;
  for (size_t i = 0; i < log->count; i++) {
    struct meter_entry entry = log->entries[i];
    if (entry.microseconds != METER_SPAN_STARTS)
      microseconds += entry.microseconds;
    else if (i)
      used += (size_t)snprintf(text + used, sizeof pause, "%s", pause);
    used += (size_t)write_entry(text + used, entry, 1e-6 * (double)microseconds);
  }
  *bytes = used;
  return text;
}
