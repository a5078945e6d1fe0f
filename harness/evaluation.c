#include "harness/evaluation.h"

#include "base/memory.h"

static int64_t best_class(const float *scores, int64_t classes) {
  int64_t best = 0;
  for (int64_t c = 1; c < classes; c++)
    if (scores[c] > scores[best])
      best = c;
  return best;
}

static bool add_line(struct file *file, uint32_t record, int32_t label, const float *scores, int64_t classes,
                     struct ffb_error *error) {
  char line[32 * (FFB_MAX_CLASSES + 2)];
  size_t size = sizeof line, at = (size_t)snprintf(line, size, "%u,%d", (unsigned)record, (int)label);
  for (int64_t c = 0; c < classes && at < size; c++)
    at += (size_t)snprintf(line + at, size - at, ",%.9g", (double)scores[c]);
  at += (size_t)snprintf(line + at, size - at, "\n");
  return file_add(file, line, at, error);
}

bool evaluation_accuracy(const struct ffb_trainer *trainer, struct ffb_trainer_state *state, struct loader *loader,
                         const struct ffb_dataset *part, const uint32_t *list, int64_t count, double *accuracy,
                         struct file *file, struct ffb_error *error) {
  int64_t classes = part->classes, right = 0;
  float *scores = ffb_allocate((size_t)(loader->batch * classes), sizeof *scores, error);
  bool ok = scores != NULL;
  for (int64_t first = 0; ok && first < count; first += loader->batch) {
    struct ffb_batch batch;
    const int32_t *labels;
    loader_predict(loader, part, list, count, first, &batch, &labels);
    ok = trainer->predict(state, &batch, scores, error);
    for (int64_t row = 0; ok && row < batch.rows; row++) {
      const float *own = scores + row * classes;
      right += best_class(own, classes) == labels[row];
      ok = !file || add_line(file, list[first + row], labels[row], own, classes, error);
    }
  }
  ffb_free(scores);
  if (ok)
    *accuracy = 100.0 * (double)right / (double)count;
  return ok;
}
