/* Energy over a window: begin, any number of pauses, end.
 *
 *   struct meter_window *window = meter_window_create(session, NULL, &error);
 *   meter_window_begin(window);
 *   ... train ...  meter_window_pause(window);  ... evaluate ...  meter_window_resume(window);  ... train ...
 *   meter_window_end(window, &result);
 *   meter_window_destroy(window);
 *
 * Between begin and end, without the pauses, a thread reads the meter at an interval; the caller's thread reads it at
 * every edge, outside the timed span. Power is integrated by trapezoids, a counter by differences.
 *
 * What was not seen is not guessed. A reading that fails or cannot be true is a fault: counted, named, left out. Where
 * power readings fail for less than five intervals the trapezoid reaches across, and that time is `bridged`; what is
 * longer, an edge that could not be read, a counter that could have wrapped unseen, and what came from a register that
 * turns out to have stopped, add no joules and lower the coverage. So joules belong to (coverage + bridged) * seconds,
 * and mean_watts is taken over just that time. */
#ifndef FFBENCH_HARNESS_METERS_WINDOW_H
#define FFBENCH_HARNESS_METERS_WINDOW_H

#include "harness/meters/log.h"

#include <stdint.h>

struct meter_window_options {
  double interval_seconds; /* 0: the meter's own */
  bool caller_samples;     /* start no thread: the caller calls meter_window_sample */
  struct meter_log *log;   /* readings are added to it, to be read while the window is paused; null: its own */
};

struct meter_result {
  bool measured; /* false: joules and mean_watts mean nothing and reason says why */
  double joules;
  double seconds;  /* length of the window, pauses excluded; known even where nothing is measured */
  double coverage; /* share of seconds that lies between good, adjacent readings: 0 .. 1 */
  double bridged;  /* share of seconds that was interpolated across failed readings: 0 .. 1 */
  double mean_watts;
  char source[32];
  char rail[128];
  enum meter_scope scope;
  double interval_seconds;
  double resolution;    /* W for a power meter, J for a counter */
  uint64_t samples;     /* good readings, edges included */
  uint64_t faults;      /* bad readings and gaps */
  char fault_text[512]; /* "3 x VDD_IN curr1_input: timed out; 1 x ..."; empty without faults */
  char reason[1024];    /* where not measured */
};

/* One thread controls a window (begin, pause, resume, end); several windows may share a session. */
struct meter_window;

/* Null with an error when memory runs out. Null options mean the meter's interval and a thread. The session must
 * outlive the window. A thread that cannot start is a fault in the result, not an error here. */
struct meter_window *meter_window_create(struct meter_session *session, const struct meter_window_options *options,
                                         struct ffb_error *error);
/* Forget what was measured and start. */
void meter_window_begin(struct meter_window *window);
/* Without effect on a window that is paused already, or runs already. */
void meter_window_pause(struct meter_window *window);
void meter_window_resume(struct meter_window *window);
/* Take one reading now, if the window runs. */
void meter_window_sample(struct meter_window *window);
/* The totals so far; complete while paused, up to the last reading while running. */
void meter_window_result(struct meter_window *window, struct meter_result *result);
/* Pause, and the totals. The window can begin again. */
void meter_window_end(struct meter_window *window, struct meter_result *result);
/* Stops the thread. Null is allowed. */
void meter_window_destroy(struct meter_window *window);

#endif
