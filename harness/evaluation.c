#include "harness/evaluation.h"

#include "base/memory.h"

static int64_t best_class(const float *scores, int64_t classes) {
  int64_t best = 0;
  for (int64_t c = 1; c < classes; c++)
    if (scores[c] > scores[best])
      best = c;
  return best;
}

bool evaluation_accuracy(const struct ffb_trainer *trainer, struct ffb_trainer_state *state, struct loader *loader,
                         const struct ffb_dataset *part, const uint32_t *list, int64_t count, double *accuracy,
                         struct ffb_error *error) {
  int64_t classes = part->classes, right = 0;
  float *scores = ffb_allocate((size_t)(loader->batch * classes), sizeof *scores, error);
  bool ok = scores != NULL;
  for (int64_t first = 0; ok && first < count; first += loader->batch) {
    struct ffb_batch batch;
    const int32_t *labels;
    loader_predict(loader, part, list, count, first, &batch, &labels);
    ok = trainer->predict(state, &batch, scores, error);
    for (int64_t row = 0; ok && row < batch.rows; row++)
      right += best_class(scores + row * classes, classes) == labels[row];
  }
  ffb_free(scores);
  if (ok)
    *accuracy = 100.0 * (double)right / (double)count;
  return ok;
}
