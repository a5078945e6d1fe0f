/* Batches out of a dataset: which records belong to which batch, and their bytes side by side. */
#ifndef FFBENCH_HARNESS_LOADER_H
#define FFBENCH_HARNESS_LOADER_H

#include "algorithms/trainer.h"
#include "datasets/dataset.h"

struct loader {
  const struct ffb_dataset_pair *pair;
  struct ffb_dataset_split split;
  int64_t batch;   /* rows of a full batch */
  uint64_t seed;   /* of split and shuffling */
  uint32_t *order; /* of the training records in the epoch at hand: indices into split.train */
  size_t image_bytes;
  uint8_t *images;         /* [batch][H][W][C] */
  int32_t *labels, *index; /* [batch] */
};

bool loader_open(struct loader *loader, const struct ffb_dataset_pair *pair, int64_t batch, uint64_t seed,
                 int64_t train_limit, int64_t eval_limit, struct ffb_error *error);
void loader_close(struct loader *loader);

/* Shuffle for an epoch, counted from 0; a function of seed and epoch alone. */
void loader_shuffle(struct loader *loader, uint32_t epoch);
/* Number of batches in an epoch; the last one may be smaller. */
int64_t loader_batches(const struct loader *loader);
/* Batch number `number` of the shuffled epoch. Valid until the next call. */
void loader_train(struct loader *loader, int64_t number, struct ffb_batch *batch);
/* Records first .. of a list of indices into `part`, at most a batch of them; true labels go to labels (when not null)
 * and not into the batch. */
void loader_predict(struct loader *loader, const struct ffb_dataset *part, const uint32_t *list, int64_t count,
                    int64_t first, struct ffb_batch *batch, const int32_t **labels);

/* Mean and deviation of byte / 255 per channel over the training records; a deviation of 0 is given as 1. */
void loader_standard(const struct loader *loader, float mean[FFB_MAX_CHANNELS], float deviation[FFB_MAX_CHANNELS]);

#endif
