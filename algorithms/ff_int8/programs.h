/* FF-INT8's programs: what one training step and one prediction do, as operator calls. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_PROGRAMS_H
#define FFBENCH_ALGORITHMS_FF_INT8_PROGRAMS_H

#include "algorithms/ff_int8/units.h"
#include "nn/pass.h"

/* A program for one number of rows, with where its batch enters. */
struct ff_stage {
  struct ffb_program *program;
  int64_t rows;
  struct ffb_tensor *images, *labels, *index, *scores;
  /* With lookahead_memory=previous_epoch, else null. F32 [units][rows of the pass][groups]: dL/dG of the batch's
   * records in the previous epoch, and in this step. */
  struct ffb_tensor *heard, *said;
};

struct ffb_trainer_state {
  struct ff_settings settings;
  const struct ffb_backend *backend;
  struct ffb_device *device;
  struct ffb_plan *plan;
  struct ffb_parameters parameters;
  const struct ffb_network *network;
  struct ff_unit *units;
  int unit_count;
  const struct ffb_unit *head;    /* the network's classifier; or null */
  struct ffb_tensor *statistics;  /* F64 [units + 1][FFB_STATISTIC_COUNT], the last row is the head's */
  struct ffb_tensor *kept;        /* S32 [records], hard negatives that were drawn once; or null */
  struct ffb_tensor *head_factor; /* F32 [1], the head's learning rate over the units'; or null */
  struct ffb_tensor *patterns;    /* F32 [classes + 1][H][W], see labels.h; or null */
  struct ffb_tensor *past;        /* F32 [records][halves][units][groups], see past.h; or null */
  struct ff_stage (*train)[2];    /* [unit being trained, or 0 when simultaneous][full, partial batch] */
  int train_count;
  struct ff_stage predict;
  float *scores;    /* one prediction, as the program leaves it */
  float *numbers;   /* a step's dL/dG, with `past` */
  int64_t channels; /* of the images; the network may have one more */
  int64_t batch, step, steps, steps_per_epoch, epochs;
  uint64_t seed;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];
  float on, off; /* a label pixel that is set, and one that is not, after conversion */
};

/* Random streams of a step's passes. */
enum ff_stream { FF_STREAM_MAIN, FF_STREAM_NEUTRAL, FF_STREAM_CHAIN };

bool ff_has_head(const struct ff_settings *settings);
static inline bool ff_class_groups(const struct ffb_trainer_state *s) {
  return s->settings.goodness == FF_CLASS_GROUPS;
}
static inline int ff_groups(const struct ffb_trainer_state *s) {
  return ff_class_groups(s) ? (int)s->network->classes : 1;
}
static inline bool ff_goodness_is_mean(const struct ffb_trainer_state *s) {
  return s->settings.goodness != FF_SUM_SQUARES;
}

/* Make every program; `partial` is the size of an epoch's last batch, 0 when it is full. */
bool ff_build_programs(struct ffb_trainer_state *state, int64_t partial, struct ffb_error *error);

/* forward.c: a unit's values. */

/* What a node holds for those that read it: values in FP32, or an INT8 copy, or both. */
struct ff_entered {
  struct ffb_tensor *values;
  struct ffb_quantised copy;
};

/* What is entered into a node: x, normalised in groups. */
struct ff_entry {
  int node, groups;
  struct ffb_tensor *x;
  struct ffb_tensor *goodness;   /* of x in the same groups, or null */
  struct ffb_tensor *normalised; /* where the FP32 form goes: x itself, or null for a new tensor */
  struct ffb_tensor **inverse;   /* set to what x was multiplied by; may be null */
  bool over;                     /* the INT8 form lies over the FP32 form (ffb_pass_hand_over) */
};

/* Returns the FP32 form; null where nothing needs it, without `inverse` only. Where a linear layer or a convolution
 * reads the node first, it is handed over in INT8. */
struct ffb_tensor *ff_enter(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct ff_entry *entry);
/* A unit's output into the node that it is. */
struct ffb_tensor *ff_enter_output(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit, struct ffb_tensor *y);
/* The images into node 0, which has no groups. In place where nothing else reads x. */
void ff_enter_images(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *x, bool in_place);
/* Forward through a unit from what was entered; its output in FP32. */
struct ffb_tensor *ff_forward(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit);

/* step.c: the units' part of a training step. `trained` is the one unit that learns with schedule=greedy. */
void ff_emit_step(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage, struct ffb_tensor *images,
                  int trained);

#endif
