/* The images of a batch, and how they carry labels. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_LABELS_H
#define FFBENCH_ALGORITHMS_FF_INT8_LABELS_H

#include "algorithms/ff_int8/programs.h"

/* Levels of label pixels; the patterns' tensor where label=plane or label=pattern. Before ffb_plan_finish. */
bool ff_labels_make(struct ffb_trainer_state *s, struct ffb_error *error);
/* The patterns' values. After ffb_plan_finish.
 * plane: each class has a vertical stripe of the image, on where the label is, else 0. pattern: a wave for each class,
 * pattern_amplitude * cos(2 pi (u x / W + v y / H) + phase), classes apart in direction, length and phase. The last
 * one, for the neutral label, is the mean of all. */
bool ff_labels_write(struct ffb_trainer_state *s, struct ffb_error *error);

/* Write labels into images; null labels: `constant` into all, -1 the neutral label. */
void ff_emit_labels(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *images,
                    struct ffb_tensor *labels, int constant);
/* Positives in the first half of the rows, negatives in the second, so that both see the same quantiser ranges and
 * batch statistics. `scores` draws hard negatives, null uniform ones. */
struct ffb_tensor *ff_emit_pairs(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                                 struct ffb_tensor *scores);

#endif
