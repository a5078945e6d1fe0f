/* FF-INT8's programs: what one training step and one prediction do, as operator calls. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_PROGRAMS_H
#define FFBENCH_ALGORITHMS_FF_INT8_PROGRAMS_H

#include "algorithms/ff_int8/settings.h"
#include "nn/parameters.h"

/* A program for one number of rows, with where its batch enters. */
struct ff_stage {
  struct ffb_program *program;
  int64_t rows;
  struct ffb_tensor *images, *labels, *index, *scores;
};

struct ffb_trainer_state {
  struct ff_settings settings;
  struct ffb_plan *plan;
  struct ffb_parameters parameters;
  const struct ffb_network *network;
  int unit_count;                 /* trained units: those before the head */
  struct ffb_tensor *statistics;  /* F64 [units + 1][FFB_STATISTIC_COUNT], the last row is the head's */
  struct ffb_tensor *kept;        /* S32 [records], hard negatives that were drawn once; or null */
  struct ffb_tensor *head_factor; /* F32 [1], the head's learning rate over the units'; or null */
  struct ff_stage (*train)[2];    /* [unit being trained, or 0 when simultaneous][full, partial batch] */
  int train_count;
  struct ff_stage predict;
  uint8_t *padded; /* images of a prediction that does not fill its batch */
  float *scores;   /* one prediction, as the program leaves it */
  int64_t batch, step, steps, steps_per_epoch, epochs;
  uint64_t seed;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];
  float on, off; /* a label pixel that is set, and one that is not, after conversion */
};

bool ff_has_head(const struct ff_settings *settings);
/* Make every program; `partial` is the size of an epoch's last batch, 0 when it is full. */
bool ff_build_programs(struct ffb_trainer_state *state, int64_t partial, struct ffb_error *error);

#endif
