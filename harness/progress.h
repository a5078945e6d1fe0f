/* What a run shows while it goes on, all on stderr: one live line on a terminal, one line for each epoch elsewhere. */
#ifndef FFBENCH_HARNESS_PROGRESS_H
#define FFBENCH_HARNESS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
  bool quiet, live;
  char title[256]; /* "[3/15] mlp ff_int8 mnist seed 1" */
  int64_t epochs, batches;
  double started;          /* clock, when this process's first step began */
  int64_t steps_before;    /* steps that an earlier process took */
  double shown;            /* clock, when the live line was written last */
  double loss, validation; /* of the epoch before; NaN at first */
};

void progress_begin(struct progress *progress, const char *title, bool quiet, int64_t epochs, int64_t batches,
                    int64_t steps_before);
/* After each step; epoch counts from 0. */
void progress_step(struct progress *progress, int64_t epoch, int64_t batch);
/* After each epoch; seconds of training in it. */
void progress_epoch(struct progress *progress, int64_t epoch, double loss, double train_accuracy, double validation,
                    double seconds);
/* A line that stays, in a quiet run too. */
void progress_note(struct progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Wipe the live line. */
void progress_end(struct progress *progress);

/* "3 min 20 s" */
void progress_duration(double seconds, char *text, size_t size);

#endif
