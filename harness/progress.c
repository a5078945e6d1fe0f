#include "harness/progress.h"

#include "harness/meters/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LINE_BYTES = 1024, LEFT_BYTES = 160 };

static const double refresh_seconds = 0.1;
/* Share of a run after which its pace is believed. */
static const double least_told = 0.05;

void progress_duration(double seconds, char *text, size_t size) {
  long long whole = llround(seconds);
  if (seconds < 10)
    snprintf(text, size, "%.1f s", seconds);
  else if (whole < 60)
    snprintf(text, size, "%lld s", whole);
  else if (whole < 3600)
    snprintf(text, size, "%lld min %02lld s", whole / 60, whole % 60);
  else
    snprintf(text, size, "%lld h %02lld min", whole / 3600, whole % 3600 / 60);
}

void progress_begin(struct progress *progress, const char *title, bool quiet, int64_t epochs, int64_t batches,
                    int64_t steps_before) {
  const char *terminal = getenv("TERM");
  *progress = (struct progress){.quiet = quiet,
                                .live = !quiet && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0,
                                .epochs = epochs,
                                .batches = batches,
                                .started = meter_clock_seconds(),
                                .steps_before = steps_before,
                                .others.later = -1,
                                .loss = (double)NAN,
                                .validation = (double)NAN};
  snprintf(progress->title, sizeof progress->title, "%s", title);
}

void progress_among(struct progress *progress, const struct progress_others *others) {
  progress->others = *others;
}

static void wipe(const struct progress *progress) {
  if (progress->live)
    fputs("\r\033[K", stderr);
}

/* From the pace of this process, evaluation included. */
static double seconds_left(const struct progress *progress, int64_t steps_done) {
  double elapsed = meter_clock_seconds() - progress->started;
  int64_t own = steps_done - progress->steps_before, left = progress->epochs * progress->batches - steps_done;
  return own > 0 ? elapsed / (double)own * (double)left : 0;
}

/* Until a run has ended, the pace of the first one is what there is to go by, once it has done a part of its work. */
static double pace_correction(const struct progress_others *others, double elapsed, double left) {
  bool told = elapsed >= least_told * (elapsed + left);
  return !others->corrected && others->forecast > 0 && told ? (elapsed + left) / others->forecast : 1;
}

void progress_left(const struct progress_others *others, double elapsed, double left, char *text, size_t size) {
  char own[64], all[64];
  progress_duration(left, own, sizeof own);
  if (others->later < 0) {
    snprintf(text, size, "%s left", own);
    return;
  }
  double done = others->before + elapsed;
  double rest = left + others->later * pace_correction(others, elapsed, left);
  progress_duration(rest, all, sizeof all);
  snprintf(text, size, "%s%sof all %.0f %%, %s%s left", left > 0 ? own : "", left > 0 ? " left; " : "",
           done + rest > 0 ? floor(100 * done / (done + rest)) : 0, others->open ? "at least " : "", all);
}

static void tell_left(const struct progress *progress, int64_t steps_done, char *text, size_t size) {
  progress_left(&progress->others, meter_clock_seconds() - progress->started, seconds_left(progress, steps_done), text,
                size);
}

/* ", loss 0.123", or nothing where the number is not known. */
static void known(char *text, size_t size, const char *format, double value) {
  text[0] = '\0';
  if (isnan(value))
    return;
  char number[32];
  snprintf(number, sizeof number, "%.4g", value);
  snprintf(text, size, format, number);
}

/* A line that is wider than the terminal would wrap and stay. */
static int columns(void) {
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : LINE_BYTES;
}

void progress_step(struct progress *progress, int64_t epoch, int64_t batch) {
  double now = meter_clock_seconds();
  if (!progress->live || now - progress->shown < refresh_seconds)
    return;
  char loss[64], validation[64], left[LEFT_BYTES];
  int64_t done = epoch * progress->batches + batch;
  double pace = (double)(done - progress->steps_before) / (now - progress->started);
  known(loss, sizeof loss, "  loss %s", progress->loss);
  known(validation, sizeof validation, "  validation %s %%", progress->validation);
  tell_left(progress, done, left, sizeof left);
  char line[LINE_BYTES];
  snprintf(line, sizeof line, "%s  epoch %lld/%lld  step %lld/%lld%s%s  %.0f steps/s  %s", progress->title,
           (long long)epoch + 1, (long long)progress->epochs, (long long)batch, (long long)progress->batches, loss,
           validation, pace, left);
  wipe(progress);
  fprintf(stderr, "%.*s", columns() - 1, line);
  progress->shown = now;
}

void progress_epoch(struct progress *progress, int64_t epoch, double loss, double train_accuracy, double validation,
                    double seconds) {
  progress->loss = loss;
  progress->validation = validation;
  if (progress->quiet || progress->live)
    return;
  fprintf(stderr, "%s  epoch %lld/%lld  loss %.4f  train %.2f %%  validation %.2f %%  %.2f s", progress->title,
          (long long)epoch + 1, (long long)progress->epochs, loss, train_accuracy, validation, seconds);
  char left[LEFT_BYTES];
  tell_left(progress, (epoch + 1) * progress->batches, left, sizeof left);
  if (epoch + 1 < progress->epochs || progress->others.later >= 0)
    fprintf(stderr, "  %s", left);
  fputc('\n', stderr);
}

void progress_note(struct progress *progress, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  wipe(progress);
  fprintf(stderr, "%s  ", progress->title);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

void progress_end(struct progress *progress) {
  wipe(progress);
  progress->live = false;
}
