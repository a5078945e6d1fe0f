#include "harness/baseline.h"

#include "harness/interrupt.h"
#include "harness/machine.h"
#include "harness/meters/clock.h"
#include "harness/meters/conditions.h"
#include "harness/meters/window.h"
#include "harness/value.h"

#include <math.h>
#include <time.h>

const double baseline_longest_wait = 600;

/* Until then, or a signal. */
static void rest_until(double end) {
  const struct timespec moment = {.tv_nsec = 20000000};
  while (meter_clock_seconds() < end && !interrupt_asked())
    nanosleep(&moment, NULL);
}

void baseline_cool(const struct meter_system *system, const struct meter_card *card, double limit_celsius,
                   double longest_seconds, struct baseline_heat *heat) {
  const double between_looks = 0.2;
  double start = meter_clock_seconds();
  *heat = (struct baseline_heat){.limit_celsius = limit_celsius, .celsius = (double)NAN};
  if (limit_celsius <= 0)
    return;
  for (;;) {
    heat->celsius = meter_hottest_celsius(system, card, heat->zone);
    heat->waited_seconds = meter_clock_seconds() - start;
    heat->reached = heat->celsius <= limit_celsius;
    if (heat->reached || isnan(heat->celsius) || heat->waited_seconds >= longest_seconds || interrupt_asked())
      return;
    rest_until(fmin(meter_clock_seconds() + between_looks, start + longest_seconds));
  }
}

json_t *baseline_heat_json(const struct baseline_heat *heat) {
  if (heat->limit_celsius <= 0)
    return json_null();
  return json_pack("{s:f, s:f, s:o, s:b}", "limit_celsius", heat->limit_celsius, "waited_seconds", heat->waited_seconds,
                   "celsius", value_known(heat->celsius), "reached", heat->reached);
}

json_t *baseline_idle(struct meter_session *session, double seconds, struct ffb_error *error) {
  struct machine_watch watch;
  struct machine_usage usage;
  struct meter_result result;
  if (!session->meter || seconds <= 0)
    return json_null();
  struct meter_window *window = meter_window_create(session, NULL, error);
  if (!window)
    return NULL;
  machine_watch_start(&watch);
  meter_window_begin(window);
  rest_until(meter_clock_seconds() + seconds);
  meter_window_end(window, &result);
  meter_window_destroy(window);
  bool known = machine_watch_read(&watch, &usage) && usage.capacity > 0;
  return json_pack("{s:o, s:f, s:f, s:s?, s:o}", "watts", result.measured ? json_real(result.mean_watts) : json_null(),
                   "seconds", result.seconds, "coverage", result.coverage, "reason",
                   result.measured ? NULL : result.reason, "other_processes_share",
                   known ? json_real(usage.other / usage.capacity) : json_null());
}
