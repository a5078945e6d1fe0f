/* What a run shows while it goes on, all on stderr: one live line on a terminal, one line for each epoch elsewhere. */
#ifndef FFBENCH_HARNESS_PROGRESS_H
#define FFBENCH_HARNESS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What comes beside a run, where it is one of many. */
struct progress_others {
  double before;   /* seconds, since the first of them began */
  double forecast; /* seconds that this run should take */
  double later;    /* seconds that those after it should take; negative: there are none */
  bool open;       /* of some it is not known */
  bool corrected;  /* by the pace of earlier runs; else this run's pace tells */
};

struct progress {
  bool quiet, live;
  char title[256]; /* "[3/15] mlp ff_int8 mnist seed 1" */
  int64_t epochs, batches;
  double started;       /* clock, when this process's first step began */
  int64_t steps_before; /* steps that an earlier process took */
  struct progress_others others;
  double shown;            /* clock, when the live line was written last */
  double loss, validation; /* of the epoch before; NaN at first */
};

void progress_begin(struct progress *progress, const char *title, bool quiet, int64_t epochs, int64_t batches,
                    int64_t steps_before);
/* From now on lines say how far all runs are. */
void progress_among(struct progress *progress, const struct progress_others *others);
/* After each step; epoch counts from 0. */
void progress_step(struct progress *progress, int64_t epoch, int64_t batch);
/* After each epoch; seconds of training in it. */
void progress_epoch(struct progress *progress, int64_t epoch, double loss, double train_accuracy, double validation,
                    double seconds);
/* A line that stays, in a quiet run too. */
void progress_note(struct progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Wipe the live line. */
void progress_end(struct progress *progress);

/* What lines end with: "12 s left", or "12 s left; of all 37 %, 41 min 03 s left", or without the first part. */
void progress_left(const struct progress_others *others, double elapsed, double left, char *text, size_t size);

/* "3 min 20 s" */
void progress_duration(double seconds, char *text, size_t size);

#endif
