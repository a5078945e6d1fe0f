/* Batches: crops and mirrored images, the thread that prepares them ahead, and what standardising a dataset uses. */
#include "base/memory.h"
#include "base/random.h"
#include "harness/augment.h"
#include "harness/loader.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIDE = 9, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS, HANG_SECONDS = 120 };

static struct ffb_dataset_pair digits, shapes;

static int load(void **state) {
  (void)state;
  struct ffb_error error;
  struct ffb_dataset_request request = {.name = "synthetic_digits", .synthetic_train = 250, .synthetic_test = 20};
  if (!ffb_dataset_load(&digits, &request, &error))
    return -1;
  request.name = "synthetic_shapes";
  return ffb_dataset_load(&shapes, &request, &error) ? 0 : -1;
}

static int unload(void **state) {
  (void)state;
  ffb_dataset_free(&digits);
  ffb_dataset_free(&shapes);
  return 0;
}

static void pause_microseconds(long microseconds) {
  nanosleep(&(struct timespec){.tv_nsec = 1000 * microseconds}, NULL);
}

static void open(struct loader *loader, const struct ffb_dataset_pair *pair, int64_t batch) {
  struct ffb_error error;
  assert_true(loader_open(loader, pair, batch, 7, 0, 0, &error));
}

/* ---- crops and mirrored images ---------------------------------------------------------------------------------- */

/* No two pixels of the image are alike, and none is 0. */
static void telling_image(uint8_t image[IMAGE]) {
  for (int i = 0; i < IMAGE; i++)
    image[i] = (uint8_t)(i % 255 + 1);
}

/* What PyTorch's transforms do: pad by zeros, cut out, then mirror. */
static void expect_crop(const uint8_t *image, int down, int right, bool mirrored, uint8_t out[IMAGE]) {
  for (int row = 0; row < SIDE; row++)
    for (int column = 0; column < SIDE; column++)
      for (int c = 0; c < CHANNELS; c++) {
        int y = row + down, x = (mirrored ? SIDE - 1 - column : column) + right;
        bool inside = y >= 0 && y < SIDE && x >= 0 && x < SIDE;
        out[(row * SIDE + column) * CHANNELS + c] = inside ? image[(y * SIDE + x) * CHANNELS + c] : 0;
      }
}

struct found {
  int down, right;
  bool mirrored;
};

/* The one shift, of at most `reach`, that gives this image. */
static struct found find_crop(const uint8_t *image, const uint8_t *augmented, int reach) {
  struct found found = {0};
  uint8_t expected[IMAGE];
  int count = 0;
  for (int down = -reach; down <= reach; down++)
    for (int right = -reach; right <= reach; right++)
      for (int mirrored = 0; mirrored < 2; mirrored++) {
        expect_crop(image, down, right, mirrored, expected);
        if (memcmp(expected, augmented, IMAGE) != 0)
          continue;
        found = (struct found){down, right, mirrored};
        count++;
      }
  assert_int_equal(count, 1);
  return found;
}

static void crop_shifts_and_mirrors_and_nothing_else(void **state) {
  static const struct augmentation cases[] = {{.crop_padding = 4, .flip = true, .seed = 3},
                                              {.crop_padding = 4, .seed = 3},
                                              {.flip = true, .seed = 3},
                                              {.crop_padding = 1, .seed = 3},
                                              {.crop_padding = 8, .flip = true, .seed = 3}};
  (void)state;
  uint8_t image[IMAGE], out[IMAGE];
  struct ffb_dataset part = {.height = SIDE, .width = SIDE, .channels = CHANNELS, .images = image};
  telling_image(image);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int reach = (int)cases[i].crop_padding, seen_mirrored = 0, seen_shifted = 0;
    for (uint32_t epoch = 0; epoch < 200; epoch++) {
      augment_image(&cases[i], &part, 0, epoch, out);
      struct found found = find_crop(image, out, reach);
      seen_mirrored += found.mirrored;
      seen_shifted += found.down || found.right;
    }
    assert_int_equal(seen_mirrored > 0, cases[i].flip);
    assert_int_equal(seen_shifted > 0, reach > 0);
  }
}

/* Pixels of 0 around more than the image: nothing of it may be left, and nothing beside it may be touched. */
static void padding_may_exceed_the_image(void **state) {
  (void)state;
  uint8_t image[6] = {1, 2, 3, 4, 5, 6}, out[8];
  struct ffb_dataset part = {.height = 2, .width = 3, .channels = 1, .images = image};
  struct augmentation augmentation = {.crop_padding = 16, .flip = true, .seed = 1};
  int empty = 0;
  for (uint32_t epoch = 0; epoch < 500; epoch++) {
    memset(out, 99, sizeof out);
    augment_image(&augmentation, &part, 0, epoch, out + 1);
    assert_int_equal(out[0], 99);
    assert_int_equal(out[7], 99);
    int kept = 0;
    for (int i = 1; i < 7; i++) {
      assert_in_range(out[i], 0, 6);
      kept += out[i] > 0;
    }
    empty += kept == 0;
  }
  assert_in_range(empty, 1, 499);
}

/* 9 x 9 places and two sides are equally likely: chi-squared with 161 degrees of freedom, five deviations. */
static void shifts_are_uniform_and_independent(void **state) {
  enum { REACH = 4, PLACES = 2 * REACH + 1, CELLS = 2 * PLACES * PLACES, EACH = 60 };
  (void)state;
  uint8_t image[IMAGE], out[IMAGE];
  int counts[CELLS] = {0};
  struct ffb_dataset part = {.height = SIDE, .width = SIDE, .channels = CHANNELS, .images = image};
  telling_image(image);
  /* Of many records, each with the same image: what counts is their number. */
  uint8_t *copies = malloc((size_t)CELLS * EACH / 20 * IMAGE);
  assert_non_null(copies);
  for (int i = 0; i < CELLS * EACH / 20; i++)
    memcpy(copies + (size_t)i * IMAGE, image, IMAGE);
  part.images = copies;
  struct augmentation augmentation = {.crop_padding = REACH, .flip = true, .seed = 11};
  for (uint32_t epoch = 0; epoch < 20; epoch++)
    for (uint32_t record = 0; record < CELLS * EACH / 20; record++) {
      augment_image(&augmentation, &part, record, epoch, out);
      struct found found = find_crop(image, out, REACH);
      counts[((found.down + REACH) * PLACES + found.right + REACH) * 2 + found.mirrored]++;
    }
  double square = 0;
  for (int i = 0; i < CELLS; i++)
    square += (counts[i] - EACH) * (double)(counts[i] - EACH) / EACH;
  assert_true(square < CELLS - 1 + 5 * sqrt(2.0 * (CELLS - 1)));
  free(copies);
}

static void crop_depends_on_seed_epoch_and_record_alone(void **state) {
  (void)state;
  uint8_t images[2 * IMAGE], one[IMAGE], other[IMAGE];
  struct ffb_dataset part = {.height = SIDE, .width = SIDE, .channels = CHANNELS, .images = images};
  telling_image(images);
  telling_image(images + IMAGE);
  struct augmentation augmentation = {.crop_padding = 4, .flip = true, .seed = 5};
  struct augmentation reseeded = {.crop_padding = 4, .flip = true, .seed = 6};
  int differ[3] = {0};
  for (uint32_t epoch = 0; epoch < 50; epoch++) {
    augment_image(&augmentation, &part, 1, epoch, one);
    augment_image(&augmentation, &part, 1, epoch, other);
    assert_memory_equal(one, other, IMAGE);
    augment_image(&augmentation, &part, 0, epoch, other);
    differ[0] += memcmp(one, other, IMAGE) != 0;
    augment_image(&augmentation, &part, 1, epoch + 1, other);
    differ[1] += memcmp(one, other, IMAGE) != 0;
    augment_image(&reseeded, &part, 1, epoch, other);
    differ[2] += memcmp(one, other, IMAGE) != 0;
  }
  for (int i = 0; i < 3; i++)
    assert_in_range(differ[i], 45, 50);
}

static void training_batches_alone_are_augmented(void **state) {
  (void)state;
  struct loader plain, augmented;
  struct ffb_batch one, other;
  open(&plain, &shapes, 32);
  open(&augmented, &shapes, 32);
  loader_augment(&augmented, 4, true);
  loader_shuffle(&plain, 1);
  loader_shuffle(&augmented, 1);
  loader_train(&plain, 0, &one);
  loader_train(&augmented, 0, &other);
  /* The same records, another look. */
  assert_memory_equal(one.index, other.index, 32 * sizeof *one.index);
  assert_memory_equal(one.labels, other.labels, 32 * sizeof *one.labels);
  assert_memory_not_equal(one.images, other.images, 32 * plain.image_bytes);
  loader_predict(&plain, &shapes.train, plain.split.validation, plain.split.validation_count, 0, &one, NULL);
  loader_predict(&augmented, &shapes.train, augmented.split.validation, plain.split.validation_count, 0, &other, NULL);
  assert_memory_equal(one.images, other.images, (size_t)one.rows * plain.image_bytes);
  loader_close(&plain);
  loader_close(&augmented);
}

/* ---- the thread ------------------------------------------------------------------------------------------------- */

static void assert_same_batch(const struct ffb_batch *one, const struct ffb_batch *other, size_t image_bytes) {
  assert_int_equal(one->rows, other->rows);
  size_t rows = (size_t)one->rows;
  assert_memory_equal(one->images, other->images, rows * image_bytes);
  assert_memory_equal(one->labels, other->labels, rows * sizeof *one->labels);
  assert_memory_equal(one->index, other->index, rows * sizeof *one->index);
}

/* The thread's batches from (epoch, number) on, against those made one by one. `pauses` makes the taker slow. */
static void compare(const struct ffb_dataset_pair *pair, int64_t epoch, int64_t number, int64_t epochs, bool augment,
                    long pauses) {
  struct loader ahead, direct;
  struct ffb_error error;
  open(&ahead, pair, 32);
  open(&direct, pair, 32);
  if (augment) {
    loader_augment(&ahead, 4, true);
    loader_augment(&direct, 4, true);
  }
  int64_t batches = loader_batches(&direct);
  assert_true(loader_start(&ahead, epoch, number, epochs, &error));
  for (; epoch < epochs; epoch++, number = 0) {
    loader_shuffle(&direct, (uint32_t)epoch);
    for (; number < batches; number++) {
      struct ffb_batch one, other;
      assert_true(loader_next(&ahead, &one, &error));
      /* It stays as it is while it is used, whatever the thread does meanwhile. */
      if (pauses)
        pause_microseconds(pauses * (number % 3));
      loader_train(&direct, number, &other);
      assert_same_batch(&one, &other, direct.image_bytes);
    }
  }
  struct ffb_batch none;
  assert_false(loader_next(&ahead, &none, &error));
  assert_non_null(strstr(error.message, "after the last one"));
  loader_close(&ahead);
  loader_close(&direct);
}

static void thread_gives_the_same_batches(void **state) {
  (void)state;
  alarm(HANG_SECONDS);
  compare(&digits, 0, 0, 4, false, 0);
  compare(&digits, 0, 0, 3, true, 0);
  compare(&shapes, 0, 0, 2, true, 2000);
  alarm(0);
}

static void thread_starts_where_a_run_was_left(void **state) {
  (void)state;
  struct loader loader;
  open(&loader, &digits, 32);
  int64_t batches = loader_batches(&loader);
  loader_close(&loader);
  alarm(HANG_SECONDS);
  for (int64_t number = 0; number < batches; number++)
    compare(&digits, 1, number, 3, true, 0);
  /* After the last batch of an epoch the next epoch follows, or the end. */
  compare(&digits, 1, batches, 3, true, 0);
  compare(&digits, 2, batches, 3, false, 0);
  compare(&digits, 3, 0, 3, false, 0);
  alarm(0);
}

static void thread_ends_at_any_moment(void **state) {
  (void)state;
  struct ffb_error error;
  struct ffb_batch batch;
  alarm(HANG_SECONDS);
  for (int taken = 0; taken < 12; taken++)
    for (long pause = 0; pause <= 1000; pause += 500) {
      struct loader loader;
      open(&loader, &shapes, 8);
      loader_augment(&loader, 4, true);
      assert_true(loader_start(&loader, 0, 0, 1000, &error));
      for (int i = 0; i < taken; i++)
        assert_true(loader_next(&loader, &batch, &error));
      if (pause)
        pause_microseconds(pause);
      loader_close(&loader);
    }
  alarm(0);
}

static void thread_can_start_anew(void **state) {
  (void)state;
  struct loader loader, direct;
  struct ffb_error error;
  struct ffb_batch one, other;
  open(&loader, &digits, 32);
  open(&direct, &digits, 32);
  assert_false(loader_next(&loader, &one, &error));
  assert_non_null(strstr(error.message, "loader_start"));
  alarm(HANG_SECONDS);
  assert_true(loader_start(&loader, 0, 0, 9, &error) && loader_next(&loader, &one, &error));
  assert_true(loader_start(&loader, 5, 2, 9, &error) && loader_next(&loader, &one, &error));
  alarm(0);
  loader_shuffle(&direct, 5);
  loader_train(&direct, 2, &other);
  assert_same_batch(&one, &other, direct.image_bytes);
  loader_close(&loader);
  loader_close(&direct);
}

/* Predictions go on beside the thread. */
static void evaluation_disturbs_no_training_batch(void **state) {
  (void)state;
  struct loader loader, direct;
  struct ffb_error error;
  struct ffb_batch one, other;
  open(&loader, &digits, 32);
  open(&direct, &digits, 32);
  assert_true(loader_start(&loader, 0, 0, 1, &error) && loader_next(&loader, &one, &error));
  const struct ffb_dataset_split *split = &loader.split;
  const int32_t *labels;
  loader_predict(&loader, &digits.test, split->test, split->test_count, 0, &other, &labels);
  for (int64_t row = 0; row < other.rows; row++)
    assert_int_equal(labels[row], digits.test.labels[split->test[row]]);
  loader_shuffle(&direct, 0);
  loader_train(&direct, 0, &other);
  assert_same_batch(&one, &other, direct.image_bytes);
  loader_close(&loader);
  loader_close(&direct);
}

/* From this epoch on the thread does not survive shuffling; -1: never. It need not come to each: where it is behind,
 * the training loop makes batches of its own. */
static int64_t fatal_epoch = -1;
static pthread_t main_thread;

/* The engine's, in whose place this one is called. */
void ffb_random_permutation(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t *order, uint32_t count) {
  void (*real)(uint64_t, uint32_t, uint32_t, uint32_t *, uint32_t);
  void *found = dlsym(RTLD_NEXT, "ffb_random_permutation");
  memcpy(&real, &found, sizeof real);
  if (fatal_epoch >= 0 && step >= fatal_epoch && purpose == FFB_PURPOSE_SHUFFLE &&
      !pthread_equal(pthread_self(), main_thread))
    pthread_exit(NULL);
  real(seed, purpose, step, order, count);
}

/* What it made before is good; then the run is told, and does not wait for ever. */
static void thread_that_dies_is_an_error(void **state) {
  (void)state;
  main_thread = pthread_self();
  alarm(HANG_SECONDS);
  for (int64_t epoch = 0; epoch < 3; epoch++) {
    struct loader loader;
    struct ffb_error error;
    struct ffb_batch batch;
    int64_t taken = 0;
    open(&loader, &digits, 32);
    fatal_epoch = epoch;
    assert_true(loader_start(&loader, 0, 0, 1000, &error));
    for (; loader_next(&loader, &batch, &error); taken++)
      pause_microseconds(200);
    fatal_epoch = -1;
    assert_non_null(strstr(error.message, "has died"));
    assert_true(taken >= epoch * loader_batches(&loader) && taken < 1000 * loader_batches(&loader));
    loader_close(&loader);
  }
  alarm(0);
}

static void want_of_memory_is_an_error(void **state) {
  (void)state;
  bool opened = false, started = false;
  for (unsigned long n = 1; !started; n++) {
    assert_true(n < 100);
    struct loader loader;
    struct ffb_error error = {0};
    ffb_fail_allocation(n);
    opened = loader_open(&loader, &digits, 32, 7, 0, 0, &error);
    started = opened && loader_start(&loader, 0, 0, 1, &error);
    ffb_fail_allocation(0);
    assert_int_equal(started, !error.message[0]);
    if (opened)
      loader_close(&loader);
  }
}

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* In a process that has no room for another stack. A fork inherits the stacks of its parent's threads and uses them
 * first, so one after the other is taken. */
static int start_without_room(void) {
  enum { LOADERS = 64, HEAP_PIECES = 2048, PIECE = 256 };
  static struct loader loaders[LOADERS];
  static void *pieces[HEAP_PIECES];
  struct ffb_error error = {0};
  struct rlimit limit = {1 << 20, 1 << 20};
  for (int i = 0; i < LOADERS; i++)
    open(&loaders[i], &digits, 1);
  /* Small memory is not to run out before large. */
  for (int i = 0; i < HEAP_PIECES; i++)
    pieces[i] = malloc(PIECE);
  for (int i = 0; i + 1 < HEAP_PIECES; i++)
    free(pieces[i]);
  if (setrlimit(RLIMIT_AS, &limit))
    return 2;
  for (int i = 0; i < LOADERS; i++)
    if (!loader_start(&loaders[i], 0, 0, 1, &error))
      return strstr(error.message, "cannot be started") ? 0 : 3;
  return 1;
}

static void thread_that_cannot_start_is_an_error(void **state) {
  (void)state;
  int status;
  /* A sanitizer's own memory exceeds any limit, and qemu-user keeps to none. */
  if (SANITIZED || getenv("FFBENCH_EMULATED"))
    skip();
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    _exit(start_without_room());
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- standardising ---------------------------------------------------------------------------------------------- */

/* Mean and deviation of CIFAR-10's channels as everybody has them; here of 45,000 of the 50,000 records. */
static void cifar10_is_standardised_by_the_usual_numbers(void **state) {
  static const double mean[] = {0.4914, 0.4822, 0.4465}, deviation[] = {0.2470, 0.2435, 0.2616};
  (void)state;
  struct ffb_dataset_pair pair = {0};
  struct ffb_dataset_request request = {.name = "cifar10"};
  struct ffb_error error;
  if (!getenv("FFBENCH_DATA") || !ffb_dataset_load(&pair, &request, &error))
    skip();
  struct loader loader;
  float found_mean[FFB_MAX_CHANNELS], found_deviation[FFB_MAX_CHANNELS];
  open(&loader, &pair, 32);
  assert_int_equal(loader.split.train_count, 45000);
  loader_standard(&loader, found_mean, found_deviation);
  for (int c = 0; c < 3; c++) {
    assert_float_equal(found_mean[c], mean[c], 1e-3);
    assert_float_equal(found_deviation[c], deviation[c], 1e-3);
  }
  loader_close(&loader);
  ffb_dataset_free(&pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(crop_shifts_and_mirrors_and_nothing_else),
      cmocka_unit_test(padding_may_exceed_the_image),
      cmocka_unit_test(shifts_are_uniform_and_independent),
      cmocka_unit_test(crop_depends_on_seed_epoch_and_record_alone),
      cmocka_unit_test(training_batches_alone_are_augmented),
      cmocka_unit_test(thread_gives_the_same_batches),
      cmocka_unit_test(thread_starts_where_a_run_was_left),
      cmocka_unit_test(thread_ends_at_any_moment),
      cmocka_unit_test(thread_can_start_anew),
      cmocka_unit_test(evaluation_disturbs_no_training_batch),
      cmocka_unit_test(thread_that_dies_is_an_error),
      cmocka_unit_test(want_of_memory_is_an_error),
      cmocka_unit_test(thread_that_cannot_start_is_an_error),
      cmocka_unit_test(cifar10_is_standardised_by_the_usual_numbers),
  };
  return cmocka_run_group_tests(tests, load, unload);
}
