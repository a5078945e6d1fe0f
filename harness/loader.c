#include "harness/loader.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/* One is in use, one is ready, one is being made. */
enum { SLOTS = 3 };

struct loader_ahead {
  const struct loader *loader; /* the thread reads what does not change: dataset, split, augmentation */
  struct loader_rows slots[SLOTS];
  uint32_t *order;
  int64_t epoch, number, epochs; /* of the batch to make next; the thread's own */
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t room, ready;
  uint64_t made, taken, released; /* batches; those between released and made hold a slot */
  bool stop, ended;
};

/* ---- batches ---------------------------------------------------------------------------------------------------- */

static bool make_rows(struct loader_rows *rows, const struct loader *loader, struct ffb_error *error) {
  size_t count = (size_t)loader->batch;
  return (rows->images = ffb_allocate(count, loader->image_bytes, error)) &&
         (rows->labels = ffb_allocate(count, sizeof *rows->labels, error)) &&
         (rows->index = ffb_allocate(count, sizeof *rows->index, error));
}

static void free_rows(struct loader_rows *rows) {
  ffb_free(rows->images);
  ffb_free(rows->labels);
  ffb_free(rows->index);
}

static uint32_t *make_order(const struct loader *loader, struct ffb_error *error) {
  return ffb_allocate((size_t)loader->split.train_count, sizeof(uint32_t), error);
}

static void shuffle(const struct loader *loader, uint32_t epoch, uint32_t *order) {
  ffb_random_permutation(loader->seed, FFB_PURPOSE_SHUFFLE, epoch, order, (uint32_t)loader->split.train_count);
}

static int64_t rows_from(const struct loader *loader, int64_t first, int64_t count) {
  return count - first < loader->batch ? count - first : loader->batch;
}

static void copy_image(const struct loader *loader, const struct ffb_dataset *part, uint32_t record, uint8_t *to) {
  memcpy(to, part->images + (size_t)record * loader->image_bytes, loader->image_bytes);
}

static void gather(const struct loader *loader, const uint32_t *order, uint32_t epoch, int64_t number,
                   struct loader_rows *rows) {
  const struct ffb_dataset *train = &loader->pair->train;
  bool augmented = loader->augmentation.crop_padding > 0 || loader->augmentation.flip;
  int64_t first = number * loader->batch;
  rows->count = rows_from(loader, first, loader->split.train_count);
  for (int64_t row = 0; row < rows->count; row++) {
    uint32_t place = order[first + row], record = loader->split.train[place];
    uint8_t *to = rows->images + (size_t)row * loader->image_bytes;
    if (augmented)
      augment_image(&loader->augmentation, train, record, epoch, to);
    else
      copy_image(loader, train, record, to);
    rows->labels[row] = train->labels[record];
    /* A record is known by its place among the records in use, so that per-record state is as large as they are. */
    rows->index[row] = (int32_t)place;
  }
}

static struct ffb_batch as_batch(const struct loader_rows *rows) {
  return (struct ffb_batch){.rows = rows->count, .images = rows->images, .labels = rows->labels, .index = rows->index};
}

/* ---- ahead of the training loop --------------------------------------------------------------------------------- */

/* The slot for the next batch, once there is one; null when the thread is to end. */
static struct loader_rows *wait_for_room(struct loader_ahead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  while (!ahead->stop && ahead->made - ahead->released == SLOTS)
    pthread_cond_wait(&ahead->room, &ahead->lock);
  struct loader_rows *slot = ahead->stop ? NULL : &ahead->slots[ahead->made % SLOTS];
  pthread_mutex_unlock(&ahead->lock);
  return slot;
}

static void hand_over(struct loader_ahead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  ahead->made++;
  pthread_cond_signal(&ahead->ready);
  pthread_mutex_unlock(&ahead->lock);
}

static void end(struct loader_ahead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  ahead->ended = true;
  pthread_cond_signal(&ahead->ready);
  pthread_mutex_unlock(&ahead->lock);
}

static void *prepare(void *argument) {
  struct loader_ahead *ahead = argument;
  int64_t batches = loader_batches(ahead->loader);
  struct loader_rows *slot = NULL;
  for (; ahead->epoch < ahead->epochs; ahead->epoch++, ahead->number = 0) {
    shuffle(ahead->loader, (uint32_t)ahead->epoch, ahead->order);
    for (; ahead->number < batches && (slot = wait_for_room(ahead)); ahead->number++) {
      gather(ahead->loader, ahead->order, (uint32_t)ahead->epoch, ahead->number, slot);
      hand_over(ahead);
    }
    if (ahead->number < batches)
      break;
  }
  end(ahead);
  return NULL;
}

static bool make_ahead(struct loader_ahead *ahead, struct ffb_error *error) {
  for (int i = 0; i < SLOTS; i++)
    if (!make_rows(&ahead->slots[i], ahead->loader, error))
      return false;
  return (ahead->order = make_order(ahead->loader, error)) != NULL;
}

static void free_ahead(struct loader_ahead *ahead) {
  for (int i = 0; i < SLOTS; i++)
    free_rows(&ahead->slots[i]);
  ffb_free(ahead->order);
  pthread_cond_destroy(&ahead->room);
  pthread_cond_destroy(&ahead->ready);
  pthread_mutex_destroy(&ahead->lock);
  ffb_free(ahead);
}

static void stop(struct loader *loader) {
  struct loader_ahead *ahead = loader->ahead;
  if (!ahead)
    return;
  pthread_mutex_lock(&ahead->lock);
  ahead->stop = true;
  pthread_cond_signal(&ahead->room);
  pthread_mutex_unlock(&ahead->lock);
  pthread_join(ahead->thread, NULL);
  free_ahead(ahead);
  loader->ahead = NULL;
}

/* Signals are for the program's first thread: this one blocks them all. */
static bool start_thread(struct loader_ahead *ahead, struct ffb_error *error) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int code = pthread_create(&ahead->thread, NULL, prepare, ahead);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return !code || ffb_fail(error, "the thread that prepares batches cannot be started: %s: close other programs",
                           strerror(code));
}

bool loader_start(struct loader *loader, int64_t epoch, int64_t number, int64_t epochs, struct ffb_error *error) {
  stop(loader);
  struct loader_ahead *ahead = ffb_allocate(1, sizeof *ahead, error);
  if (!ahead)
    return false;
  ahead->loader = loader;
  ahead->epoch = epoch;
  ahead->number = number;
  ahead->epochs = epochs;
  pthread_mutex_init(&ahead->lock, NULL);
  pthread_cond_init(&ahead->room, NULL);
  pthread_cond_init(&ahead->ready, NULL);
  if (!make_ahead(ahead, error) || !start_thread(ahead, error)) {
    free_ahead(ahead);
    return false;
  }
  loader->ahead = ahead;
  return true;
}

bool loader_next(struct loader *loader, struct ffb_batch *batch, struct ffb_error *error) {
  struct loader_ahead *ahead = loader->ahead;
  if (!ahead)
    return ffb_fail(error, "batches were asked for before loader_start");
  pthread_mutex_lock(&ahead->lock);
  /* The batch of the call before is no longer needed. */
  ahead->released = ahead->taken;
  pthread_cond_signal(&ahead->room);
  while (ahead->made == ahead->taken && !ahead->ended)
    pthread_cond_wait(&ahead->ready, &ahead->lock);
  const struct loader_rows *slot = ahead->made > ahead->taken ? &ahead->slots[ahead->taken++ % SLOTS] : NULL;
  pthread_mutex_unlock(&ahead->lock);
  if (!slot)
    return ffb_fail(error, "a batch was asked for after the last one of the last epoch");
  *batch = as_batch(slot);
  return true;
}

/* ---- the loader ------------------------------------------------------------------------------------------------- */

bool loader_open(struct loader *loader, const struct ffb_dataset_pair *pair, int64_t batch, uint64_t seed,
                 int64_t train_limit, int64_t eval_limit, struct ffb_error *error) {
  const struct ffb_dataset *train = &pair->train;
  *loader = (struct loader){.pair = pair,
                            .batch = batch,
                            .seed = seed,
                            .image_bytes = (size_t)(train->height * train->width * train->channels)};
  bool ok = ffb_dataset_split(&loader->split, pair, seed, train_limit, eval_limit, error) &&
            (loader->order = make_order(loader, error)) && make_rows(&loader->rows, loader, error);
  if (!ok)
    loader_close(loader);
  return ok;
}

void loader_close(struct loader *loader) {
  stop(loader);
  ffb_dataset_split_free(&loader->split);
  ffb_free(loader->order);
  free_rows(&loader->rows);
  *loader = (struct loader){0};
}

void loader_augment(struct loader *loader, int64_t crop_padding, bool flip) {
  loader->augmentation = (struct augmentation){.crop_padding = crop_padding, .flip = flip, .seed = loader->seed};
}

int64_t loader_batches(const struct loader *loader) {
  return (loader->split.train_count + loader->batch - 1) / loader->batch;
}

void loader_shuffle(struct loader *loader, uint32_t epoch) {
  loader->epoch = epoch;
  shuffle(loader, epoch, loader->order);
}

void loader_train(struct loader *loader, int64_t number, struct ffb_batch *batch) {
  gather(loader, loader->order, loader->epoch, number, &loader->rows);
  *batch = as_batch(&loader->rows);
}

void loader_predict(struct loader *loader, const struct ffb_dataset *part, const uint32_t *list, int64_t count,
                    int64_t first, struct ffb_batch *batch, const int32_t **labels) {
  struct loader_rows *rows = &loader->rows;
  rows->count = rows_from(loader, first, count);
  for (int64_t row = 0; row < rows->count; row++) {
    copy_image(loader, part, list[first + row], rows->images + (size_t)row * loader->image_bytes);
    rows->labels[row] = part->labels[list[first + row]];
  }
  *batch = (struct ffb_batch){.rows = rows->count, .images = rows->images};
  if (labels)
    *labels = rows->labels;
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
