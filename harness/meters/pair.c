#include "harness/meters/pair.h"

bool meter_pair_open(struct meter_pair *pair, const struct meter_system *system, enum meter_scope device,
                     struct meter_log *log, struct ffb_error *error) {
  const struct meter_window_options first = {.log = log};
  struct meter_session **sessions = pair->sessions;
  struct meter_window **windows = pair->windows;
  return (sessions[METER_FIRST] = meter_session_open(system, device, error)) &&
         (sessions[METER_SECOND] = meter_session_open_second(sessions[METER_FIRST], error)) &&
         (windows[METER_FIRST] = meter_window_create(sessions[METER_FIRST], &first, error)) &&
         (windows[METER_SECOND] = meter_window_create(sessions[METER_SECOND], NULL, error));
}

void meter_pair_begin(struct meter_pair *pair) {
  meter_window_begin(pair->windows[METER_SECOND]);
  meter_window_begin(pair->windows[METER_FIRST]);
}

void meter_pair_resume(struct meter_pair *pair) {
  meter_window_resume(pair->windows[METER_SECOND]);
  meter_window_resume(pair->windows[METER_FIRST]);
}

void meter_pair_pause(struct meter_pair *pair) {
  meter_window_pause(pair->windows[METER_FIRST]);
  meter_window_pause(pair->windows[METER_SECOND]);
}

void meter_pair_results(struct meter_pair *pair, struct meter_result results[METER_READERS]) {
  for (int i = 0; i < METER_READERS; i++)
    meter_window_result(pair->windows[i], &results[i]);
}

void meter_pair_close(struct meter_pair *pair) {
  for (int i = 0; i < METER_READERS; i++) {
    meter_window_destroy(pair->windows[i]);
    meter_session_close(pair->sessions[i]);
  }
  *pair = (struct meter_pair){0};
}
