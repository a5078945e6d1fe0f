#include "harness/ledger.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static const json_int_t most_resumes = 1000000000;

bool ledger_begin(struct ledger *ledger, struct ffb_error *error) {
  *ledger = (struct ledger){.epochs = json_array()};
  return ledger->epochs || ffb_fail(error, "out of memory for the run's history: close other programs");
}

void ledger_end(struct ledger *ledger) {
  json_decref(ledger->epochs);
  json_decref(ledger->gradients);
  json_decref(ledger->energy);
  json_decref(ledger->executed);
  json_decref(ledger->diverged);
  ffb_free(ledger->step_seconds);
  meter_log_free(&ledger->readings);
  *ledger = (struct ledger){0};
}

static bool make_room(struct ledger *ledger, size_t count, struct ffb_error *error) {
  if (count <= ledger->step_room)
    return true;
  size_t room = count < 4096 ? 4096 : 2 * count;
  float *grown = ffb_reallocate(ledger->step_seconds, room, sizeof *grown, error);
  if (!grown)
    return false;
  ledger->step_seconds = grown;
  ledger->step_room = room;
  return true;
}

bool ledger_step(struct ledger *ledger, double seconds, struct ffb_error *error) {
  if (!make_room(ledger, ledger->steps + 1, error))
    return false;
  ledger->step_seconds[ledger->steps++] = (float)seconds;
  ledger->batch++;
  return true;
}

bool ledger_step_times(const struct ledger *ledger, struct meter_times *times, struct ffb_error *error) {
  *times = (struct meter_times){0};
  if (ledger->steps <= LEDGER_WARM_UP)
    return true;
  size_t count = ledger->steps - LEDGER_WARM_UP;
  double *durations = ffb_allocate(count, sizeof *durations, error);
  if (!durations)
    return false;
  for (size_t i = 0; i < count; i++)
    durations[i] = (double)ledger->step_seconds[LEDGER_WARM_UP + i];
  bool ok = meter_times_summary(durations, count, times, error);
  ffb_free(durations);
  return ok;
}

void ledger_divergence(const json_t *diverged, char *text, size_t size) {
  const json_t *step = json_object_get(diverged, "step");
  const char *where = json_string_value(json_object_get(diverged, "where"));
  char at[64] = "";
  if (json_is_integer(step))
    snprintf(at, sizeof at, " at step %lld", (long long)json_integer_value(step));
  snprintf(text, size, "the %s%s was not finite%s (epoch %lld)", where ? "output of " : "loss", where ? where : "", at,
           (long long)json_integer_value(json_object_get(diverged, "epoch")));
}

json_t *ledger_json(const struct ledger *ledger) {
  return json_pack("{s:I, s:I, s:O, s:O?, s:f, s:f, s:f, s:f, s:O?, s:f, s:f, s:I, s:O?, s:O?, s:b, s:b}", "epoch",
                   (json_int_t)ledger->epoch, "batch", (json_int_t)ledger->batch, "epochs", ledger->epochs, "gradients",
                   ledger->gradients, "train_seconds", ledger->train_seconds, "epoch_seconds", ledger->epoch_seconds,
                   "evaluation_seconds", ledger->evaluation_seconds, "data_wait_seconds", ledger->data_wait_seconds,
                   "energy", ledger->energy, "other_seconds", ledger->other_seconds, "capacity_seconds",
                   ledger->capacity_seconds, "resumes", (json_int_t)ledger->resumes, "diverged", ledger->diverged,
                   "executed", ledger->executed, "readings_full", ledger->readings.full, "throttled",
                   ledger->throttled);
}

static json_t *value_or_null(json_t *value) {
  return json_is_null(value) ? NULL : json_incref(value);
}

static bool is_list_of_objects(const json_t *list) {
  size_t index;
  json_t *item;
  json_array_foreach((json_t *)list, index, item) if (!json_is_object(item)) return false;
  return json_is_array(list);
}

static bool is_object_or_null(const json_t *value) {
  return json_is_object(value) || json_is_null(value);
}

static bool is_history(const json_t *epochs, const json_t *gradients, const json_t *energy, const json_t *diverged) {
  return is_list_of_objects(epochs) && (!gradients || json_is_null(gradients) || is_list_of_objects(gradients)) &&
         is_object_or_null(energy) && is_object_or_null(diverged);
}

bool ledger_read(struct ledger *ledger, const json_t *object) {
  json_int_t epoch, batch, resumes;
  int full = 0, throttled = 0;
  json_t *epochs, *gradients = NULL, *energy, *diverged, *executed = NULL;
  if (json_unpack(
          (json_t *)object, "{s:I, s:I, s:o, s?:o, s:F, s:F, s:F, s?:F, s:o, s:F, s:F, s:I, s:o, s?:o, s?:b, s?:b}",
          "epoch", &epoch, "batch", &batch, "epochs", &epochs, "gradients", &gradients, "train_seconds",
          &ledger->train_seconds, "epoch_seconds", &ledger->epoch_seconds, "evaluation_seconds",
          &ledger->evaluation_seconds, "data_wait_seconds", &ledger->data_wait_seconds, "energy", &energy,
          "other_seconds", &ledger->other_seconds, "capacity_seconds", &ledger->capacity_seconds, "resumes", &resumes,
          "diverged", &diverged, "executed", &executed, "readings_full", &full, "throttled", &throttled) ||
      !is_history(epochs, gradients, energy, diverged) || json_array_size(epochs) != (size_t)epoch || epoch < 0 ||
      batch < 0 || resumes < 0 || resumes > most_resumes)
    return false;
  ledger->epoch = epoch;
  ledger->batch = batch;
  ledger->resumes = resumes;
  ledger->readings.full = full;
  ledger->throttled = throttled;
  json_decref(ledger->epochs);
  ledger->epochs = json_incref(epochs);
  ledger->gradients = value_or_null(gradients);
  ledger->energy = value_or_null(energy);
  ledger->diverged = value_or_null(diverged);
  ledger->executed = value_or_null(executed);
  return true;
}

bool ledger_set_steps(struct ledger *ledger, const float *seconds, size_t count, struct ffb_error *error) {
  if (!make_room(ledger, count, error))
    return false;
  if (count > 0)
    memcpy(ledger->step_seconds, seconds, count * sizeof *seconds);
  ledger->steps = count;
  return true;
}

void ledger_set_readings(struct ledger *ledger, const struct meter_entry *entries, size_t count) {
  bool full = ledger->readings.full;
  ledger->readings.full = false;
  for (size_t i = 0; i < count; i++)
    meter_log_add(&ledger->readings, entries[i]);
  ledger->readings.full |= full;
}
