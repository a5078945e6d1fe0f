/* lookahead_memory=previous_epoch: what later units said of a record, dL/dG, kept until the record comes again.
 *
 * The table has a row for each training record: its positive, then its negative (with class groups the record alone),
 * unit by unit. Rows lie apart, so they are read and written one by one, before and after a step. */
#ifndef FFBENCH_ALGORITHMS_FF_INT8_PAST_H
#define FFBENCH_ALGORITHMS_FF_INT8_PAST_H

#include "algorithms/ff_int8/programs.h"

/* Nothing without the option, and these below do nothing then. */
bool ff_past_make(struct ffb_trainer_state *s, int64_t records, struct ffb_error *error);
/* Before a step: the numbers of the batch's records into stage->heard. */
bool ff_past_hear(struct ffb_trainer_state *s, const struct ff_stage *stage, const struct ffb_batch *batch,
                  struct ffb_error *error);
/* After it: stage->said into the table. */
bool ff_past_say(struct ffb_trainer_state *s, const struct ff_stage *stage, const struct ffb_batch *batch,
                 struct ffb_error *error);

#endif
