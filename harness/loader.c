#include "harness/loader.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/thread.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

/* One is in use, one is ready, one is being made. */
enum { SLOTS = 3 };

/* Batches are numbered from the first of epoch 0 on. */
struct loader_ahead {
  const struct loader *loader; /* the thread reads what does not change: dataset, split, augmentation */
  struct loader_rows slots[SLOTS];
  struct loader_rows own; /* for a batch that the training loop has to make itself */
  uint32_t *order;        /* of the thread, shuffled for `epoch` */
  int64_t epoch;
  int64_t end; /* number after the last batch */
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t room;
  int64_t made, taken, released; /* numbers of the next batch to make, to take, and to release */
  bool stop, ended;              /* ended: the thread came to its end of its own accord */
  bool joined;                   /* of the training loop */
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

/* The next batch to make, once there is room for it; the number after the last one when the thread is to end. */
static int64_t wait_for_room(struct loader_ahead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  while (!ahead->stop && ahead->made - ahead->released == SLOTS)
    pthread_cond_wait(&ahead->room, &ahead->lock);
  /* What the training loop made itself is behind. */
  if (ahead->made < ahead->taken)
    ahead->made = ahead->taken;
  int64_t number = ahead->stop ? ahead->end : ahead->made;
  pthread_mutex_unlock(&ahead->lock);
  return number;
}

static void hand_over(struct loader_ahead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  ahead->made++;
  pthread_mutex_unlock(&ahead->lock);
}

static void *prepare(void *argument) {
  struct loader_ahead *ahead = argument;
  const struct loader *loader = ahead->loader;
  int64_t batches = loader_batches(loader), number;
  /* Woken up, it takes no processor from a thread that computes; where it may not ask for this, it does without. */
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
  while ((number = wait_for_room(ahead)) < ahead->end) {
    int64_t epoch = number / batches;
    if (epoch != ahead->epoch)
      shuffle(loader, (uint32_t)epoch, ahead->order);
    ahead->epoch = epoch;
    gather(loader, ahead->order, (uint32_t)epoch, number % batches, &ahead->slots[number % SLOTS]);
    hand_over(ahead);
  }
  pthread_mutex_lock(&ahead->lock);
  ahead->ended = true;
  pthread_mutex_unlock(&ahead->lock);
  return NULL;
}

/* Whether the thread is no more, with batches still to make. */
static bool has_died(struct loader_ahead *ahead) {
  ahead->joined = ahead->joined || pthread_tryjoin_np(ahead->thread, NULL) == 0;
  if (!ahead->joined)
    return false;
  pthread_mutex_lock(&ahead->lock);
  bool died = !ahead->ended;
  pthread_mutex_unlock(&ahead->lock);
  return died;
}

static bool make_ahead(struct loader_ahead *ahead, struct ffb_error *error) {
  for (int i = 0; i < SLOTS; i++)
    if (!make_rows(&ahead->slots[i], ahead->loader, error))
      return false;
  return make_rows(&ahead->own, ahead->loader, error) && (ahead->order = make_order(ahead->loader, error));
}

static void free_ahead(struct loader_ahead *ahead) {
  for (int i = 0; i < SLOTS; i++)
    free_rows(&ahead->slots[i]);
  free_rows(&ahead->own);
  ffb_free(ahead->order);
  pthread_cond_destroy(&ahead->room);
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
  if (!ahead->joined)
    pthread_join(ahead->thread, NULL);
  free_ahead(ahead);
  loader->ahead = NULL;
}

static bool start_thread(struct loader_ahead *ahead, struct ffb_error *error) {
  int code = ffb_thread_start(&ahead->thread, prepare, ahead);
  return !code || ffb_fail(error, "the thread that prepares batches cannot be started: %s: close other programs",
                           strerror(code));
}

bool loader_start(struct loader *loader, int64_t epoch, int64_t number, int64_t epochs, struct ffb_error *error) {
  stop(loader);
  struct loader_ahead *ahead = ffb_allocate(1, sizeof *ahead, error);
  if (!ahead)
    return false;
  ahead->loader = loader;
  ahead->epoch = -1;
  ahead->end = epochs * loader_batches(loader);
  ahead->made = ahead->taken = ahead->released = epoch * loader_batches(loader) + number;
  pthread_mutex_init(&ahead->lock, NULL);
  pthread_cond_init(&ahead->room, NULL);
  if (!make_ahead(ahead, error) || !start_thread(ahead, error)) {
    free_ahead(ahead);
    return false;
  }
  loader->ahead = ahead;
  return true;
}

/* Releases the batch taken before. False where the thread is behind: the next batch is the caller's to make. */
static bool take(struct loader_ahead *ahead, int64_t *number) {
  pthread_mutex_lock(&ahead->lock);
  ahead->released = ahead->taken;
  *number = ahead->taken;
  bool ready = ahead->made > ahead->taken;
  ahead->taken += *number < ahead->end;
  pthread_cond_signal(&ahead->room);
  pthread_mutex_unlock(&ahead->lock);
  return ready;
}

bool loader_next(struct loader *loader, struct ffb_batch *batch, struct ffb_error *error) {
  struct loader_ahead *ahead = loader->ahead;
  int64_t number, batches = loader_batches(loader);
  if (!ahead)
    return ffb_fail(error, "batches were asked for before loader_start");
  bool ready = take(ahead, &number);
  if (number >= ahead->end)
    return ffb_fail(error, "a batch was asked for after the last one of the last epoch");
  if (!ready && has_died(ahead))
    return ffb_fail(error,
                    "the thread that prepares batches has died: start the run again; with --resume it goes on from "
                    "its last checkpoint");
  if (!ready) {
    if (loader->epoch != number / batches)
      loader_shuffle(loader, (uint32_t)(number / batches));
    gather(loader, loader->order, (uint32_t)loader->epoch, number % batches, &ahead->own);
  }
  *batch = as_batch(ready ? &ahead->slots[number % SLOTS] : &ahead->own);
  return true;
}

/* ---- the loader ------------------------------------------------------------------------------------------------- */

bool loader_open(struct loader *loader, const struct ffb_dataset_pair *pair, int64_t batch, uint64_t seed,
                 int64_t train_limit, int64_t eval_limit, struct ffb_error *error) {
  const struct ffb_dataset *train = &pair->train;
  *loader = (struct loader){.pair = pair,
                            .batch = batch,
                            .seed = seed,
                            .epoch = -1,
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
  gather(loader, loader->order, (uint32_t)loader->epoch, number, &loader->rows);
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
