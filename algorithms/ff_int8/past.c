#include "algorithms/ff_int8/past.h"

#include "base/memory.h"

bool ff_past_make(struct ffb_trainer_state *s, int64_t records, struct ffb_error *error) {
  if (s->settings.memory != FF_PREVIOUS_EPOCH)
    return true;
  const int64_t halves = ff_class_groups(s) ? 1 : 2, shape[4] = {records, halves, s->unit_count, ff_groups(s)};
  s->past = ffb_plan_persistent(s->plan, FFB_TAG_DATASET, FFB_F32, "previous_epoch", shape, error);
  /* Room for a batch's numbers, and for one record's. */
  s->numbers = ffb_allocate((size_t)((s->batch + 1) * halves * shape[2] * shape[3]), sizeof *s->numbers, error);
  return s->past && s->numbers;
}

/* Between one record's numbers and the batch's, which lie [units][halves][rows][groups]. A number is a derivative of
 * the mean over a batch: in the table it is that of the sum, so that it fits a batch of any size. */
static void exchange(const struct ffb_trainer_state *s, int64_t rows, int64_t row, float *record, bool hear) {
  int64_t halves = s->past->shape[1], units = s->past->shape[2], groups = s->past->shape[3];
  for (int64_t half = 0; half < halves; half++) {
    for (int64_t unit = 0; unit < units; unit++) {
      for (int64_t g = 0; g < groups; g++) {
        float *one = &record[(half * units + unit) * groups + g];
        float *all = &s->numbers[((unit * halves + half) * rows + row) * groups + g];
        if (hear)
          *all = *one / (float)rows;
        else
          *one = *all * (float)rows;
      }
    }
  }
}

static bool move_rows(struct ffb_trainer_state *s, const struct ffb_batch *batch, bool hear, struct ffb_error *error) {
  size_t columns = (size_t)ffb_columns(s->past), bytes = columns * sizeof(float);
  float *record = s->numbers + (size_t)s->batch * columns;
  bool good = true;
  for (int64_t row = 0; row < batch->rows && good; row++) {
    char *at = (char *)s->past->data + (size_t)batch->index[row] * bytes;
    if (hear)
      good = s->backend->read(s->device, record, at, bytes);
    exchange(s, batch->rows, row, record, hear);
    if (!hear)
      good = s->backend->write(s->device, at, record, bytes);
  }
  return good || ffb_fail(error, "%s: %s", s->past->name, s->backend->failure(s->device));
}

bool ff_past_hear(struct ffb_trainer_state *s, const struct ff_stage *stage, const struct ffb_batch *batch,
                  struct ffb_error *error) {
  return !s->past || (move_rows(s, batch, true, error) && ffb_tensor_write(s->plan, stage->heard, s->numbers, error));
}

bool ff_past_say(struct ffb_trainer_state *s, const struct ff_stage *stage, const struct ffb_batch *batch,
                 struct ffb_error *error) {
  return !s->past || (ffb_tensor_read(s->plan, stage->said, s->numbers, error) && move_rows(s, batch, false, error));
}
