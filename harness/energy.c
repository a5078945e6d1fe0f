#include "harness/energy.h"

#include "harness/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

json_t *energy_json(const struct meter_result *result) {
  if (!result->measured)
    return json_pack("{s:n, s:n, s:n, s:f, s:s}", "joules", "source", "rail", "seconds", result->seconds, "reason",
                     result->reason);
  return json_pack("{s:f, s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:o, s:n}", "joules", result->joules,
                   "source", result->source, "rail", result->rail, "scope", meter_scope_name(result->scope),
                   "mean_watts", result->mean_watts, "seconds", result->seconds, "coverage", result->coverage,
                   "bridged", result->bridged, "interval_seconds", result->interval_seconds, "resolution",
                   result->resolution, "samples", (json_int_t)result->samples, "faults", (json_int_t)result->faults,
                   "fault_text", value_text(result->fault_text), "reason");
}

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

/* A file may claim any number. */
static json_int_t count(const json_t *object, const char *key) {
  double value = number(object, key);
  return value >= 0 && value < 0x1p53 ? (json_int_t)value : 0;
}

/* Where one of them saw little, the other may have seen more or less power in the time between. */
static void set_ratio(json_t *energy) {
  const double enough = 0.99;
  json_t *second = json_object_get(energy, "second");
  const json_t *const readers[METER_READERS] = {energy, second};
  bool comparable = json_is_object(second);
  for (int i = 0; i < METER_READERS && comparable; i++)
    comparable = number(readers[i], "mean_watts") > 0 &&
                 number(readers[i], "coverage") + number(readers[i], "bridged") >= enough;
  if (json_is_object(second))
    json_object_set_new(second, "ratio",
                        comparable ? json_real(number(second, "mean_watts") / number(energy, "mean_watts"))
                                   : json_null());
}

json_t *energy_of_readers(const struct meter_result results[METER_READERS]) {
  json_t *energy = energy_json(&results[METER_FIRST]);
  bool measured = results[METER_FIRST].measured;
  json_object_set_new(energy, "second", measured ? energy_json(&results[METER_SECOND]) : json_null());
  set_ratio(energy);
  return energy;
}

double energy_disagreement(const json_t *energy) {
  const double explained = 0.05;
  const json_t *ratio = json_object_get(json_object_get(energy, "second"), "ratio");
  double off = json_is_number(ratio) ? json_number_value(ratio) - 1 : 0;
  return fabs(off) > explained ? off : 0;
}

static bool same_source(const json_t *before, const json_t *now) {
  static const char *const keys[] = {"source", "rail"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (!json_equal(json_object_get(before, keys[i]), json_object_get(now, keys[i])))
      return false;
  return true;
}

static json_t *not_measured(const json_t *before, const json_t *now, double seconds) {
  const char *reason = json_string_value(json_object_get(now, "reason"));
  if (!reason)
    reason = json_string_value(json_object_get(before, "reason"));
  if (!reason)
    reason = "the parts before and after a resume were measured by different meters";
  return json_pack("{s:n, s:n, s:n, s:f, s:s}", "joules", "source", "rail", "seconds", seconds, "reason", reason);
}

/* A share of the whole, from shares of the parts. */
static void set_share(json_t *sum, const char *key, const json_t *before, const json_t *now, double seconds) {
  double part = number(before, key) * number(before, "seconds") + number(now, key) * number(now, "seconds");
  json_object_set_new(sum, key, json_real(seconds > 0 ? part / seconds : 0));
}

json_t *energy_of_epoch(const json_t *so_far, const json_t *epochs) {
  bool known = json_is_number(json_object_get(so_far, "joules"));
  double joules = number(so_far, "joules");
  size_t index;
  const json_t *epoch;
  json_array_foreach((json_t *)epochs, index, epoch) {
    known = known && json_is_number(json_object_get(epoch, "joules"));
    joules -= number(epoch, "joules");
  }
  return known ? json_real(joules) : json_null();
}

/* `sum` has the second reader of `now` already. */
static void add_second(json_t *sum, const json_t *before, const json_t *now) {
  const json_t *earlier = json_object_get(before, "second"), *later = json_object_get(now, "second");
  if (!json_is_object(later))
    return;
  double seconds = number(earlier, "seconds") + number(later, "seconds");
  json_object_set_new(sum, "second",
                      json_is_object(earlier) ? energy_add(earlier, later) : not_measured(earlier, later, seconds));
  set_ratio(sum);
}

json_t *energy_add(const json_t *before, const json_t *now) {
  if (!before)
    return json_deep_copy(now);
  double seconds = number(before, "seconds") + number(now, "seconds");
  if (!json_is_number(json_object_get(before, "joules")) || !json_is_number(json_object_get(now, "joules")) ||
      !same_source(before, now)) {
    json_t *unknown = not_measured(before, now, seconds);
    if (json_object_get(now, "second"))
      json_object_set_new(unknown, "second", json_null());
    return unknown;
  }
  json_t *sum = json_deep_copy(now);
  double joules = number(before, "joules") + number(now, "joules");
  set_share(sum, "coverage", before, now, seconds);
  set_share(sum, "bridged", before, now, seconds);
  double seen = seconds * (number(sum, "coverage") + number(sum, "bridged"));
  json_object_set_new(sum, "joules", json_real(joules));
  json_object_set_new(sum, "seconds", json_real(seconds));
  json_object_set_new(sum, "mean_watts", json_real(seen > 0 ? joules / seen : 0));
  static const char *const counts[] = {"samples", "faults"};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    json_object_set_new(sum, counts[i], json_integer(count(before, counts[i]) + count(now, counts[i])));
  add_second(sum, before, now);
  return sum;
}
