/* Batches out of a dataset: which records belong to which batch, and their bytes side by side.
 *
 * Training batches come in order from a thread that prepares them ahead of the training loop (loader_start,
 * loader_next), or one by one by their number (loader_shuffle, loader_train); both ways give the same bytes. The loop
 * never waits for the thread: where that is behind, because other programs want the processors, the loop makes the
 * batch itself. */
#ifndef FFBENCH_HARNESS_LOADER_H
#define FFBENCH_HARNESS_LOADER_H

#include "algorithms/trainer.h"
#include "datasets/dataset.h"
#include "harness/augment.h"

/* Room for one batch. */
struct loader_rows {
  uint8_t *images;         /* [batch][H][W][C] */
  int32_t *labels, *index; /* [batch] */
  int64_t count;
};

struct loader_ahead; /* the thread and what it has ready */

struct loader {
  const struct ffb_dataset_pair *pair;
  struct ffb_dataset_split split;
  int64_t batch; /* rows of a full batch */
  uint64_t seed; /* of split and shuffling */
  struct augmentation augmentation;
  int64_t epoch;   /* that `order` is shuffled for; -1: none yet */
  uint32_t *order; /* of the training records in it: indices into split.train */
  size_t image_bytes;
  struct loader_rows rows; /* of loader_train and loader_predict */
  struct loader_ahead *ahead;
};

bool loader_open(struct loader *loader, const struct ffb_dataset_pair *pair, int64_t batch, uint64_t seed,
                 int64_t train_limit, int64_t eval_limit, struct ffb_error *error);
/* Stops the thread, whatever it does. */
void loader_close(struct loader *loader);
/* Training batches are augmented from here on; before loader_start. */
void loader_augment(struct loader *loader, int64_t crop_padding, bool flip);

/* Number of batches in an epoch; the last one may be smaller. */
int64_t loader_batches(const struct loader *loader);

/* Start the thread, or start it anew, at batch `number` of `epoch`, both counted from 0; it goes on to the last batch
 * of `epochs`. The loader stays where it is until loader_close. The thread takes no memory, so that nothing can fail
 * once it runs. */
bool loader_start(struct loader *loader, int64_t epoch, int64_t number, int64_t epochs, struct ffb_error *error);
/* The next batch. Valid until the next call. */
bool loader_next(struct loader *loader, struct ffb_batch *batch, struct ffb_error *error);

/* Shuffle for an epoch, counted from 0; a function of seed and epoch alone. */
void loader_shuffle(struct loader *loader, uint32_t epoch);
/* Batch number `number` of the shuffled epoch. Valid until the next call. */
void loader_train(struct loader *loader, int64_t number, struct ffb_batch *batch);
/* Records first .. of a list of indices into `part`, at most a batch of them; true labels go to labels (when not null)
 * and not into the batch. */
void loader_predict(struct loader *loader, const struct ffb_dataset *part, const uint32_t *list, int64_t count,
                    int64_t first, struct ffb_batch *batch, const int32_t **labels);

/* Mean and deviation of byte / 255 per channel over the training records; a deviation of 0 is given as 1. */
void loader_standard(const struct loader *loader, float mean[FFB_MAX_CHANNELS], float deviation[FFB_MAX_CHANNELS]);

#endif
