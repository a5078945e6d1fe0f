#include "harness/loader.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <string.h>

bool loader_open(struct loader *loader, const struct ffb_dataset_pair *pair, int64_t batch, uint64_t seed,
                 int64_t train_limit, int64_t eval_limit, struct ffb_error *error) {
  const struct ffb_dataset *train = &pair->train;
  size_t rows = (size_t)batch;
  *loader = (struct loader){.pair = pair,
                            .batch = batch,
                            .seed = seed,
                            .image_bytes = (size_t)(train->height * train->width * train->channels)};
  bool ok = ffb_dataset_split(&loader->split, pair, seed, train_limit, eval_limit, error) &&
            (loader->order = ffb_allocate((size_t)loader->split.train_count, sizeof *loader->order, error)) &&
            (loader->images = ffb_allocate(rows, loader->image_bytes, error)) &&
            (loader->labels = ffb_allocate(rows, sizeof *loader->labels, error)) &&
            (loader->index = ffb_allocate(rows, sizeof *loader->index, error));
  if (!ok)
    loader_close(loader);
  return ok;
}

void loader_close(struct loader *loader) {
  ffb_dataset_split_free(&loader->split);
  ffb_free(loader->order);
  ffb_free(loader->images);
  ffb_free(loader->labels);
  ffb_free(loader->index);
  *loader = (struct loader){0};
}

void loader_shuffle(struct loader *loader, uint32_t epoch) {
  ffb_random_permutation(loader->seed, FFB_PURPOSE_SHUFFLE, epoch, loader->order, (uint32_t)loader->split.train_count);
}

int64_t loader_batches(const struct loader *loader) {
  return (loader->split.train_count + loader->batch - 1) / loader->batch;
}

static int64_t rows_from(const struct loader *loader, int64_t first, int64_t count) {
  return count - first < loader->batch ? count - first : loader->batch;
}

static void gather(struct loader *loader, const struct ffb_dataset *part, int64_t row, uint32_t record) {
  memcpy(loader->images + (size_t)row * loader->image_bytes, part->images + (size_t)record * loader->image_bytes,
         loader->image_bytes);
  loader->labels[row] = part->labels[record];
}

void loader_train(struct loader *loader, int64_t number, struct ffb_batch *batch) {
  int64_t first = number * loader->batch, rows = rows_from(loader, first, loader->split.train_count);
  for (int64_t row = 0; row < rows; row++) {
    /* A record is known by its place among the records in use, so that per-record state is as large as they are. */
    uint32_t place = loader->order[first + row];
    gather(loader, &loader->pair->train, row, loader->split.train[place]);
    loader->index[row] = (int32_t)place;
  }
  *batch = (struct ffb_batch){.rows = rows, .images = loader->images, .labels = loader->labels, .index = loader->index};
}

void loader_predict(struct loader *loader, const struct ffb_dataset *part, const uint32_t *list, int64_t count,
                    int64_t first, struct ffb_batch *batch, const int32_t **labels) {
  int64_t rows = rows_from(loader, first, count);
  for (int64_t row = 0; row < rows; row++)
    gather(loader, part, row, list[first + row]);
  *batch = (struct ffb_batch){.rows = rows, .images = loader->images};
  if (labels)
    *labels = loader->labels;
}

void loader_standard(const struct loader *loader, float mean[FFB_MAX_CHANNELS], float deviation[FFB_MAX_CHANNELS]) {
  const struct ffb_dataset *train = &loader->pair->train;
  /* Sums of bytes and of their squares are exact, so the result does not depend on any order. */
  uint64_t sum[FFB_MAX_CHANNELS] = {0}, squares[FFB_MAX_CHANNELS] = {0};
  size_t channels = (size_t)train->channels;
  for (int64_t i = 0; i < loader->split.train_count; i++) {
    const uint8_t *image = train->images + (size_t)loader->split.train[i] * loader->image_bytes;
    for (size_t at = 0; at < loader->image_bytes; at++) {
      sum[at % channels] += image[at];
      squares[at % channels] += (uint64_t)image[at] * image[at];
    }
  }
  double pixels = (double)loader->split.train_count * (double)(loader->image_bytes / channels);
  for (size_t channel = 0; channel < channels; channel++) {
    double average = (double)sum[channel] / pixels / 255;
    double variance = (double)squares[channel] / pixels / (255.0 * 255.0) - average * average;
    mean[channel] = (float)average;
    deviation[channel] = variance > 0 ? (float)sqrt(variance) : 1.0f;
  }
}
