/* Datasets: the readers and every bad input they must name, the hash, the split, the generators, scripts/get-data. */
#include "base/memory.h"
#include "datasets/dataset.h"
#include "datasets/files.h"
#include "datasets/fingerprint.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIXELS = 28 * 28, TRAIN = 24, TEST = 12, CIFAR_RECORD = 3073, PATH_BYTES = 512 };

/* A file's content before it is written. */
struct blob {
  uint8_t *bytes;
  size_t count;
};

static char root[PATH_BYTES - 128]; /* the test's own empty directory */
static char real_data[PATH_BYTES];  /* FFBENCH_DATA as the tests were started, or "" */

static int make_root(void **state) {
  (void)state;
  return scratch_make(root, sizeof root);
}

static int remove_root(void **state) {
  (void)state;
  return scratch_remove(root);
}

static void place(char path[PATH_BYTES], const char *name) {
  snprintf(path, PATH_BYTES, "%s/%s", root, name);
}

static void make_folder(const char *name) {
  char path[PATH_BYTES];
  place(path, name);
  assert_int_equal(mkdir(path, 0777), 0);
}

static void write_plain(const char *name, struct blob blob) {
  char path[PATH_BYTES];
  place(path, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(blob.bytes, 1, blob.count, file), blob.count);
  assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *name, struct blob blob) {
  char path[PATH_BYTES];
  place(path, name);
  gzFile file = gzopen(path, "wb1");
  assert_non_null(file);
  assert_int_equal(gzwrite(file, blob.bytes, (unsigned)blob.count), (int)blob.count);
  assert_int_equal(gzclose(file), Z_OK);
}

static struct blob read_plain(const char *name) {
  char path[PATH_BYTES];
  place(path, name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  struct stat status;
  assert_int_equal(fstat(fileno(file), &status), 0);
  struct blob blob = {.bytes = malloc((size_t)status.st_size), .count = (size_t)status.st_size};
  assert_int_equal(fread(blob.bytes, 1, blob.count, file), blob.count);
  fclose(file);
  return blob;
}

static void put_number(uint8_t *to, uint32_t number) {
  for (int i = 0; i < 4; i++)
    to[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* One spare byte behind the content, for the tests that add one. */
static struct blob idx_images(uint32_t count, unsigned pattern) {
  struct blob blob = {.bytes = calloc(16 + (size_t)count * PIXELS + 1, 1), .count = 16 + (size_t)count * PIXELS};
  put_number(blob.bytes, 0x803);
  put_number(blob.bytes + 4, count);
  put_number(blob.bytes + 8, 28);
  put_number(blob.bytes + 12, 28);
  for (size_t i = 16; i < blob.count; i++)
    blob.bytes[i] = (uint8_t)((i * pattern) >> 3);
  return blob;
}

static struct blob idx_labels(uint32_t count) {
  struct blob blob = {.bytes = calloc(8 + (size_t)count + 1, 1), .count = 8 + (size_t)count};
  put_number(blob.bytes, 0x801);
  put_number(blob.bytes + 4, count);
  for (uint32_t i = 0; i < count; i++)
    blob.bytes[8 + i] = (uint8_t)(i * 7 % 10);
  return blob;
}

typedef void write_blob(const char *name, struct blob blob);

/* Four good files, named FOLDER train-images DOT idx3-ubyte ENDING. */
static void write_mnist(write_blob *write, const char *folder, const char *dot, const char *ending) {
  struct {
    const char *part, *what;
    struct blob blob;
  } files[] = {
      {"train-images", "idx3-ubyte", idx_images(TRAIN, 37)},
      {"train-labels", "idx1-ubyte", idx_labels(TRAIN)},
      {"t10k-images", "idx3-ubyte", idx_images(TEST, 41)},
      {"t10k-labels", "idx1-ubyte", idx_labels(TEST)},
  };
  for (int i = 0; i < 4; i++) {
    char name[128];
    snprintf(name, sizeof name, "%s%s%s%s%s", folder, files[i].part, dot, files[i].what, ending);
    write(name, files[i].blob);
    free(files[i].blob.bytes);
  }
}

static bool load(struct ffb_dataset_pair *pair, const char *name, const char *directory, struct ffb_error *error) {
  struct ffb_dataset_request request = {.name = name, .directory = directory};
  *error = (struct ffb_error){0};
  return ffb_dataset_load(pair, &request, error);
}

static void must_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_request *request) {
  struct ffb_error error = {0};
  if (!ffb_dataset_load(pair, request, &error))
    fail_msg("%s", error.message);
}

/* A refusal is one line that has all of the parts, and leaves nothing behind. */
static void must_refuse(const char *name, const char *directory, const char *where, const char *what) {
  struct ffb_dataset_pair pair;
  struct ffb_error error;
  assert_false(load(&pair, name, directory, &error));
  assert_int_equal(error.kind, FFB_ERROR_FAILURE);
  const char *parts[] = {where, what, strcmp(name, "mnist") ? "synthetic_shapes" : "synthetic_digits", "make data"};
  for (int i = 0; i < 4; i++)
    if (!strstr(error.message, parts[i]))
      fail_msg("'%s' is not in: %s", parts[i], error.message);
  assert_null(strchr(error.message, '\n'));
  assert_null(pair.train.images);
  assert_null(pair.test.labels);
}

/* ---- IDX ---- */

static void plain_and_gzip_are_the_same(void **state) {
  (void)state;
  static const struct {
    const char *folder, *dot, *ending;
    write_blob *write;
  } layouts[] = {
      {"", "-", "", write_plain},         {"mnist/", "-", "", write_plain}, {"mnist/", "-", ".gz", write_gzip},
      {"mnist/", ".", ".gz", write_gzip}, {"mnist/", ".", "", write_plain}, {"MNIST/raw/", "-", "", write_plain},
      {"", "-", ".gz", write_plain}, /* a name with .gz whose content was unpacked on the way */
  };
  char sha256[FFB_SHA256_TEXT] = "";
  for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
    char source[PATH_BYTES];
    remove_root(NULL);
    make_root(NULL);
    make_folder("mnist");
    make_folder("MNIST");
    make_folder("MNIST/raw");
    write_mnist(layouts[i].write, layouts[i].folder, layouts[i].dot, layouts[i].ending);
    place(source, layouts[i].folder);
    source[strlen(source) - 1] = '\0';
    struct ffb_dataset_pair pair;
    must_load(&pair, &(struct ffb_dataset_request){.name = "mnist", .directory = root});
    assert_int_equal(pair.train.count, TRAIN);
    assert_int_equal(pair.test.count, TEST);
    assert_string_equal(pair.train.source, source);
    assert_false(pair.official);
    assert_false(pair.train.synthetic);
    struct blob images = idx_images(TRAIN, 37), labels = idx_labels(TEST);
    assert_memory_equal(pair.train.images, images.bytes + 16, (size_t)TRAIN * PIXELS);
    assert_memory_equal(pair.test.labels, labels.bytes + 8, TEST);
    free(images.bytes);
    free(labels.bytes);
    if (i)
      assert_string_equal(pair.sha256, sha256);
    memcpy(sha256, pair.sha256, sizeof sha256);
    ffb_dataset_free(&pair);
  }
}

/* How a good file is spoilt before it is written. */
static void lose_a_byte(struct blob *blob) {
  blob->count--;
}
static void gain_a_byte(struct blob *blob) {
  blob->count++;
}
static void lose_all(struct blob *blob) {
  blob->count = 0;
}
static void lose_the_header(struct blob *blob) {
  blob->count = 6;
}
static void wrong_magic(struct blob *blob) {
  blob->bytes[3] ^= 2;
}
static void no_records(struct blob *blob) {
  put_number(blob->bytes + 4, 0);
}
static void endless_records(struct blob *blob) {
  put_number(blob->bytes + 4, UINT32_MAX);
}
static void more_records_than_fit(struct blob *blob) {
  put_number(blob->bytes + 4, 1000000);
}
static void fewer_records(struct blob *blob) {
  put_number(blob->bytes + 4, TRAIN - 1);
  blob->count--;
}
static void wide(struct blob *blob) {
  put_number(blob->bytes + 12, 0x7fffffff);
}
static void tall(struct blob *blob) {
  put_number(blob->bytes + 8, 29);
}
static void label_ten(struct blob *blob) {
  blob->bytes[8 + 5] = 10;
}

static const char images_name[] = "train-images-idx3-ubyte", labels_name[] = "train-labels-idx1-ubyte";

static void bad_content_is_named(void **state) {
  (void)state;
  static const struct {
    const char *file;
    void (*spoil)(struct blob *blob);
    const char *what;
  } cases[] = {
      {images_name, lose_all, "truncated"},
      {images_name, lose_the_header, "truncated"},
      {images_name, lose_a_byte, "truncated"},
      {images_name, gain_a_byte, "oversized"},
      {images_name, wrong_magic, "magic 0x00000801 instead of 0x00000803"},
      {images_name, no_records, "claims 0 records"},
      {images_name, endless_records, "claims 4294967295 records"},
      {images_name, more_records_than_fit, "claims 1000000 records, more than it can hold"},
      {images_name, wide, "28 x 2147483647"},
      {images_name, tall, "29 x 28"},
      {labels_name, lose_all, "truncated"},
      {labels_name, lose_a_byte, "truncated"},
      {labels_name, gain_a_byte, "oversized"},
      {labels_name, wrong_magic, "magic 0x00000803 instead of 0x00000801"},
      {labels_name, fewer_records, "23 labels for 24 images"},
      {labels_name, label_ten, "record 5 has label 10"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int gzip = 0; gzip < 2; gzip++) {
      char name[64], path[PATH_BYTES];
      write_mnist(gzip ? write_gzip : write_plain, "", "-", gzip ? ".gz" : "");
      struct blob blob = cases[i].file == images_name ? idx_images(TRAIN, 37) : idx_labels(TRAIN);
      cases[i].spoil(&blob);
      snprintf(name, sizeof name, "%s%s", cases[i].file, gzip ? ".gz" : "");
      (gzip ? write_gzip : write_plain)(name, blob);
      free(blob.bytes);
      place(path, name);
      must_refuse("mnist", root, path, cases[i].what);
      remove_root(NULL);
      make_root(NULL);
    }
}

static void bad_gzip_is_named(void **state) {
  (void)state;
  static const char name[] = "train-images-idx3-ubyte.gz";
  char path[PATH_BYTES];
  place(path, name);
  write_mnist(write_gzip, "", "-", ".gz");
  struct blob good = read_plain(name);
  /* Where a byte is flipped, counted from the end: checksum, length, the compressed data. */
  const size_t flips[] = {8, 4, good.count / 2};
  const char *const reasons[] = {"incorrect data check", "incorrect length check", "corrupt gzip data"};
  for (int i = 0; i < 3; i++) {
    good.bytes[good.count - flips[i]] ^= 0x55;
    write_plain(name, good);
    must_refuse("mnist", root, path, reasons[i]);
    good.bytes[good.count - flips[i]] ^= 0x55;
  }
  const size_t lengths[] = {good.count - 1, good.count - 8, good.count / 2, 12, 2};
  for (int i = 0; i < 5; i++) {
    write_plain(name, (struct blob){good.bytes, lengths[i]});
    must_refuse("mnist", root, path, "truncated");
  }
  good.bytes[0] ^= 1; /* no longer gzip, so read as it is */
  write_plain(name, good);
  must_refuse("mnist", root, path, "not an IDX file");
  free(good.bytes);
}

static void missing_files_are_named(void **state) {
  (void)state;
  char path[PATH_BYTES];
  place(path, "nowhere");
  must_refuse("mnist", path, path, "no data directory");
  must_refuse("cifar10", path, path, "no data directory");
  must_refuse("mnist", root, root, "no train-images-idx3-ubyte or train-images-idx3-ubyte.gz");
  must_refuse("mnist", root, "mnist, MNIST/raw, .", "--data");
  must_refuse("cifar10", root, "cifar-10-batches-bin, .", "no data_batch_1.bin");
  write_mnist(write_plain, "", "-", "");
  place(path, "t10k-labels-idx1-ubyte");
  assert_int_equal(remove(path), 0);
  must_refuse("mnist", root, root, "no t10k-labels-idx1-ubyte");

  struct ffb_dataset_pair pair;
  struct ffb_error error;
  make_folder("t10k-labels-idx1-ubyte");
  assert_false(load(&pair, "mnist", root, &error));
  assert_non_null(strstr(error.message, "not a regular file"));
}

static void directory_is_given_or_from_environment(void **state) {
  (void)state;
  char *keep = getenv("FFBENCH_DATA") ? strdup(getenv("FFBENCH_DATA")) : NULL;
  setenv("FFBENCH_DATA", "/of/the/environment", 1);
  assert_string_equal(ffb_data_directory("given"), "given");
  assert_string_equal(ffb_data_directory(NULL), "/of/the/environment");
  setenv("FFBENCH_DATA", "", 1);
  assert_string_equal(ffb_data_directory(NULL), "data");
  unsetenv("FFBENCH_DATA");
  assert_string_equal(ffb_data_directory(NULL), "data");
  if (keep)
    setenv("FFBENCH_DATA", keep, 1);
  free(keep);
}

/* ---- CIFAR-10 ---- */

static struct blob cifar_records(size_t count) {
  struct blob blob = {.bytes = calloc(count * CIFAR_RECORD + CIFAR_RECORD, 1), .count = count * CIFAR_RECORD};
  for (size_t i = 0; i < blob.count; i++)
    blob.bytes[i] = i % CIFAR_RECORD ? (uint8_t)(i * 11 >> 2) : (uint8_t)(i / CIFAR_RECORD % 10);
  return blob;
}

static void cifar_planes_become_channels(void **state) {
  (void)state;
  enum { RECORDS = 3 };
  struct blob blob = cifar_records(RECORDS);
  write_plain("plain", blob);
  write_gzip("packed", blob);
  for (int packed = 0; packed < 2; packed++) {
    uint8_t images[RECORDS * 3072], labels[RECORDS];
    char path[PATH_BYTES];
    struct ffb_error error;
    place(path, packed ? "packed" : "plain");
    assert_true(ffb_cifar10_read(path, "synthetic_shapes", RECORDS, images, labels, &error));
    for (int i = 0; i < RECORDS; i++) {
      assert_int_equal(labels[i], i);
      for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++)
          for (int c = 0; c < 3; c++)
            assert_int_equal(images[((i * 32 + y) * 32 + x) * 3 + c],
                             blob.bytes[i * CIFAR_RECORD + 1 + (c * 32 + y) * 32 + x]);
    }
  }
  free(blob.bytes);
}

static void bad_cifar_is_named(void **state) {
  (void)state;
  enum { RECORDS = 3 };
  static const struct {
    int more; /* bytes */
    uint8_t last_label;
    const char *what;
  } cases[] = {
      {-1, 2, "truncated"},
      {-3072, 2, "truncated"},
      {-CIFAR_RECORD, 2, "truncated"},
      {-RECORDS * CIFAR_RECORD, 2, "truncated"},
      {1, 2, "oversized"},
      {CIFAR_RECORD, 2, "oversized"},
      {0, 10, "record 2 has label 10"},
      {0, 255, "record 2 has label 255"},
  };
  struct blob blob = cifar_records(RECORDS);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int packed = 0; packed < 2; packed++) {
      uint8_t images[RECORDS * 3072], labels[RECORDS];
      char path[PATH_BYTES];
      struct ffb_error error = {0};
      blob.bytes[2 * CIFAR_RECORD] = cases[i].last_label;
      struct blob spoilt = {blob.bytes, (size_t)((int)blob.count + cases[i].more)};
      (packed ? write_gzip : write_plain)("batch.bin", spoilt);
      place(path, "batch.bin");
      assert_false(ffb_cifar10_read(path, "synthetic_shapes", RECORDS, images, labels, &error));
      assert_non_null(strstr(error.message, path));
      if (!strstr(error.message, cases[i].what))
        fail_msg("'%s' is not in: %s", cases[i].what, error.message);
    }
  free(blob.bytes);
}

static void a_batch_has_ten_thousand_records(void **state) {
  (void)state;
  char path[PATH_BYTES];
  struct blob blob = cifar_records(10000);
  make_folder("cifar-10-batches-bin");
  write_gzip("cifar-10-batches-bin/data_batch_1.bin.gz", blob);
  must_refuse("cifar10", root, "data_batch_2.bin", "no data_batch_2.bin");
  blob.count -= CIFAR_RECORD;
  write_gzip("cifar-10-batches-bin/data_batch_1.bin.gz", blob);
  place(path, "cifar-10-batches-bin/data_batch_1.bin.gz");
  must_refuse("cifar10", root, path, "truncated");
  free(blob.bytes);
}

/* ---- hash, split, table ---- */

static int compare_records(const void *left, const void *right) {
  return memcmp(*(uint8_t *const *)left, *(uint8_t *const *)right, CIFAR_RECORD);
}

/* The definition, done the long way. */
static void hash_records(uint8_t **records, size_t count, char text[FFB_SHA256_TEXT]) {
  struct ffb_sha256 hash;
  qsort(records, count, sizeof *records, compare_records);
  ffb_sha256_begin(&hash);
  for (size_t i = 0; i < count; i++)
    ffb_sha256_add(&hash, records[i], CIFAR_RECORD);
  ffb_sha256_text(&hash, text);
}

static void hash_is_that_of_the_sorted_records(void **state) {
  (void)state;
  enum { RECORDS = 200, DARK = 40 };
  struct blob blob = cifar_records(RECORDS);
  uint8_t *records[RECORDS];
  for (int i = 0; i < RECORDS; i++) {
    records[i] = blob.bytes + (size_t)i * CIFAR_RECORD;
    if (i < DARK) /* records that agree in all but a few late bytes, or in all */
      memset(records[i] + 1, 0, CIFAR_RECORD - 1 - (size_t)(i / 4));
    if (i >= DARK && i % 3 == 0) /* and records that agree in their first planes */
      memset(records[i] + 1, 9, 2048);
  }
  struct ffb_dataset part = {.count = RECORDS, .channels = 3, .height = 32, .width = 32, .classes = 10};
  struct ffb_error error;
  char path[PATH_BYTES], expected[FFB_SHA256_TEXT];
  part.images = malloc((size_t)RECORDS * 3072);
  part.labels = malloc(RECORDS);
  write_plain("batch", blob);
  place(path, "batch");
  assert_true(ffb_cifar10_read(path, "", RECORDS, part.images, part.labels, &error));
  assert_true(ffb_dataset_fingerprint(&part, &error));
  hash_records(records, RECORDS, expected);
  assert_string_equal(part.sha256, expected);

  struct blob other = {.bytes = malloc(blob.count), .count = blob.count}; /* in another order */
  for (int i = 0; i < RECORDS; i++)
    memcpy(other.bytes + (size_t)i * CIFAR_RECORD, blob.bytes + (size_t)((i * 77 + 5) % RECORDS) * CIFAR_RECORD,
           CIFAR_RECORD);
  write_plain("batch", other);
  assert_true(ffb_cifar10_read(path, "", RECORDS, part.images, part.labels, &error));
  assert_true(ffb_dataset_fingerprint(&part, &error));
  assert_string_equal(part.sha256, expected);

  part.images[1234] ^= 1;
  assert_true(ffb_dataset_fingerprint(&part, &error));
  assert_string_not_equal(part.sha256, expected);
  free(other.bytes);
  free(blob.bytes);
  free(part.images);
  free(part.labels);
}

static void must_split(struct ffb_dataset_split *split, int64_t train, int64_t test, uint64_t seed, int64_t train_limit,
                       int64_t eval_limit) {
  struct ffb_dataset_pair pair = {.train.count = train, .test.count = test};
  struct ffb_error error = {0};
  assert_true(ffb_dataset_split(split, &pair, seed, train_limit, eval_limit, &error));
}

static void split_is_disjoint_and_complete(void **state) {
  (void)state;
  static const struct {
    int64_t train, test, validation;
  } cases[] = {{60000, 10000, 5000}, {50000, 10000, 5000}, {2000, 400, 200}, {10, 10, 1}, {49999, 77, 4999}};
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    struct ffb_dataset_split split;
    must_split(&split, cases[k].train, cases[k].test, 3, 0, 0);
    assert_int_equal(split.validation_count, cases[k].validation);
    assert_int_equal(split.train_count, cases[k].train - cases[k].validation);
    assert_int_equal(split.test_count, cases[k].test);
    uint8_t *seen = calloc((size_t)cases[k].train, 1), *tested = calloc((size_t)cases[k].test, 1);
    for (int64_t i = 0; i < split.train_count; i++)
      seen[split.train[i]]++;
    for (int64_t i = 0; i < split.validation_count; i++)
      seen[split.validation[i]]++;
    for (int64_t i = 0; i < split.test_count; i++)
      tested[split.test[i]]++;
    for (int64_t i = 0; i < cases[k].train; i++)
      assert_int_equal(seen[i], 1);
    for (int64_t i = 0; i < cases[k].test; i++)
      assert_int_equal(tested[i], 1);
    free(seen);
    free(tested);
    ffb_dataset_split_free(&split);
  }
}

static void split_follows_the_seed(void **state) {
  (void)state;
  struct ffb_dataset_split a, b, c;
  must_split(&a, 6000, 1000, 7, 0, 0);
  must_split(&b, 6000, 1000, 7, 0, 0);
  must_split(&c, 6000, 1000, 8, 0, 0);
  assert_memory_equal(a.train, b.train, 6000 * sizeof *a.train);
  assert_memory_equal(a.test, b.test, 1000 * sizeof *a.test);
  assert_memory_not_equal(a.train, c.train, 6000 * sizeof *a.train);
  assert_memory_not_equal(a.validation, c.validation, 600 * sizeof *a.train);
  ffb_dataset_split_free(&b);
  /* A limit takes the first indices of the same order. */
  must_split(&b, 6000, 1000, 7, 100, 50);
  assert_int_equal(b.train_count, 100);
  assert_int_equal(b.validation_count, 50);
  assert_int_equal(b.test_count, 50);
  assert_memory_equal(a.train, b.train, 100 * sizeof *a.train);
  assert_memory_equal(a.validation, b.validation, 50 * sizeof *a.train);
  assert_memory_equal(a.test, b.test, 50 * sizeof *a.train);
  ffb_dataset_split_free(&b);
  must_split(&b, 6000, 1000, 7, 1000000, 1000000);
  assert_int_equal(b.train_count, 5400);
  assert_int_equal(b.validation_count, 600);
  assert_int_equal(b.test_count, 1000);
  ffb_dataset_split_free(&a);
  ffb_dataset_split_free(&b);
  ffb_dataset_split_free(&c);
}

static void names_are_found(void **state) {
  (void)state;
  size_t count = 0;
  for (const struct ffb_dataset_kind *kind; (kind = ffb_dataset_at(count)); count++) {
    assert_ptr_equal(ffb_dataset_find(kind->name), kind);
    assert_true(ffb_dataset_find(kind->fallback)->synthetic);
    assert_int_equal(ffb_dataset_find(kind->fallback)->channels, kind->channels);
  }
  assert_int_equal(count, 4);
  assert_null(ffb_dataset_find("mnist2"));

  struct ffb_dataset_pair pair;
  struct ffb_error error;
  assert_false(load(&pair, "synthetic_digit", NULL, &error));
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_non_null(strstr(error.message, "did you mean 'synthetic_digits'"));
}

static void want_of_memory_is_an_error(void **state) {
  (void)state;
  write_mnist(write_gzip, "", "-", ".gz");
  static const char *const names[] = {"mnist", "cifar10", "synthetic_digits"};
  for (int k = 0; k < 3; k++)
    for (unsigned long n = 1; n < 20; n++) {
      struct ffb_dataset_pair pair;
      struct ffb_error error = {0};
      struct ffb_dataset_request request = {
          .name = names[k], .directory = root, .synthetic_train = 20, .synthetic_test = 10};
      ffb_fail_allocation(n);
      bool loaded = ffb_dataset_load(&pair, &request, &error);
      ffb_fail_allocation(0);
      if (loaded || !strstr(error.message, "out of memory")) {
        assert_true(n > 4); /* at least images and labels of both parts came before */
        ffb_dataset_free(&pair);
        break;
      }
    }
  for (unsigned long n = 1; n <= 2; n++) {
    struct ffb_dataset_split split;
    struct ffb_dataset_pair pair = {.train.count = 100, .test.count = 100};
    struct ffb_error error;
    ffb_fail_allocation(n);
    assert_false(ffb_dataset_split(&split, &pair, 1, 0, 0, &error));
    ffb_fail_allocation(0);
    assert_null(split.train);
  }
}

/* ---- generators ---- */

static void synthetic_data_are_pinned(void **state) {
  (void)state;
  static const struct {
    const char *name, *sha256;
  } cases[] = {
      {"synthetic_digits", "ecb76bfdd0e50c0f1d2531063d4c2377e8508595b24bd4967a0b5c44938c191d"},
      {"synthetic_shapes", "e8b340569e92c5fa70f0695ad73020ee8c1af78ce775da68fbf4089e7e162111"},
  };
  for (int k = 0; k < 2; k++) {
    struct ffb_dataset_request request = {
        .name = cases[k].name, .synthetic_train = 300, .synthetic_test = 100, .seed = 1};
    struct ffb_dataset_pair pair, longer, other;
    must_load(&pair, &request);
    assert_string_equal(pair.sha256, cases[k].sha256);
    assert_true(pair.train.synthetic);
    assert_false(pair.official);
    size_t bytes = (size_t)(pair.test.channels * pair.test.height * pair.test.width);
    int classes[10] = {0};
    for (int i = 0; i < 300; i++)
      classes[pair.train.labels[i]]++;
    for (int i = 0; i < 10; i++)
      assert_int_equal(classes[i], 30);
    assert_memory_not_equal(pair.train.images, pair.test.images, bytes);
    request.synthetic_train = 500;
    must_load(&longer, &request);
    assert_memory_equal(pair.train.images, longer.train.images, 300 * bytes);
    request.seed = 2;
    must_load(&other, &request);
    assert_memory_not_equal(pair.train.images, other.train.images, bytes);
    ffb_dataset_free(&pair);
    ffb_dataset_free(&longer);
    ffb_dataset_free(&other);
  }
}

static void synthetic_sizes_have_a_range(void **state) {
  (void)state;
  static const int64_t sizes[] = {-1, 9, 1000001, INT64_MAX};
  for (int i = 0; i < 8; i++) {
    struct ffb_dataset_pair pair;
    struct ffb_error error = {0};
    struct ffb_dataset_request request = {.name = "synthetic_digits", .synthetic_train = 20, .synthetic_test = 20};
    *(i < 4 ? &request.synthetic_train : &request.synthetic_test) = sizes[i % 4];
    assert_false(ffb_dataset_load(&pair, &request, &error));
    assert_int_equal(error.kind, FFB_ERROR_USAGE);
    assert_non_null(strstr(error.message, "10 to 1000000"));
  }
}

/* Scores of the ten classes of a softmax classifier without a hidden layer; weights [inputs + 1][10], bias last. */
static void linear_scores(const float *weights, const float *x, size_t inputs, float score[10]) {
  memcpy(score, weights + inputs * 10, 10 * sizeof *score);
  for (size_t i = 0; i < inputs; i++)
    for (int c = 0; c < 10; c++)
      score[c] += x[i] * weights[i * 10 + (size_t)c];
}

static void linear_step(float *weights, const float *x, size_t inputs, int label, float rate) {
  float score[10], most = -INFINITY, sum = 0.0f;
  linear_scores(weights, x, inputs, score);
  for (int c = 0; c < 10; c++)
    most = fmaxf(most, score[c]);
  for (int c = 0; c < 10; c++)
    sum += score[c] = expf(score[c] - most);
  for (int c = 0; c < 10; c++)
    score[c] = rate * (score[c] / sum - (c == label ? 1.0f : 0.0f));
  for (size_t i = 0; i <= inputs; i++)
    for (int c = 0; c < 10; c++)
      weights[i * 10 + (size_t)c] -= score[c] * (i < inputs ? x[i] : 1.0f);
}

/* Test accuracy in percent of a linear classifier, trained image by image with a falling rate. */
static double linear_accuracy(const struct ffb_dataset_pair *pair, int epochs, float rate) {
  size_t inputs = (size_t)(pair->train.channels * pair->train.height * pair->train.width);
  float *weights = calloc((inputs + 1) * 10, sizeof *weights), *x = calloc(inputs, sizeof *x);
  int64_t steps = epochs * pair->train.count, right = 0;
  for (int64_t step = 0; step < steps; step++) {
    size_t record = (size_t)(step % pair->train.count);
    for (size_t i = 0; i < inputs; i++)
      x[i] = (float)pair->train.images[record * inputs + i] / 255.0f;
    linear_step(weights, x, inputs, pair->train.labels[record], rate * (1.0f - (float)step / (float)steps));
  }
  for (int64_t record = 0; record < pair->test.count; record++) {
    float score[10];
    int best = 0;
    for (size_t i = 0; i < inputs; i++)
      x[i] = (float)pair->test.images[(size_t)record * inputs + i] / 255.0f;
    linear_scores(weights, x, inputs, score);
    for (int c = 1; c < 10; c++)
      best = score[c] > score[best] ? c : best;
    right += best == pair->test.labels[record];
  }
  free(weights);
  free(x);
  return 100.0 * (double)right / (double)pair->test.count;
}

static void digits_are_between_easy_and_hard(void **state) {
  (void)state;
  struct ffb_dataset_pair pair;
  must_load(&pair, &(struct ffb_dataset_request){.name = "synthetic_digits", .seed = 1});
  double accuracy = linear_accuracy(&pair, 5, 0.01f);
  print_message("linear classifier on synthetic_digits: %.1f %%\n", accuracy);
  assert_true(accuracy >= 60.0 && accuracy <= 90.0);
  ffb_dataset_free(&pair);
}

static void shapes_are_not_linear(void **state) {
  (void)state;
  struct ffb_dataset_pair pair;
  must_load(&pair, &(struct ffb_dataset_request){
                       .name = "synthetic_shapes", .synthetic_train = 5000, .synthetic_test = 1000, .seed = 1});
  double accuracy = linear_accuracy(&pair, 3, 0.002f);
  print_message("linear classifier on synthetic_shapes: %.1f %%\n", accuracy);
  assert_true(accuracy >= 25.0 && accuracy <= 75.0);
  ffb_dataset_free(&pair);
}

/* ---- the published data ---- */

static void need_real_data(const char *folder) {
  char path[2 * PATH_BYTES];
  snprintf(path, sizeof path, "%s/%s", real_data, folder);
  if (!*real_data || access(path, R_OK) != 0) {
    print_message("FFBENCH_DATA has no %s: skipped\n", folder);
    skip();
  }
}

static void real_data_are_recognised(const char *name, int64_t train, int64_t test) {
  struct ffb_dataset_pair pair;
  must_load(&pair, &(struct ffb_dataset_request){.name = name, .directory = real_data});
  assert_int_equal(pair.train.count, train);
  assert_int_equal(pair.test.count, test);
  assert_string_equal(pair.train.sha256, ffb_dataset_find(name)->train_sha256);
  assert_string_equal(pair.test.sha256, ffb_dataset_find(name)->test_sha256);
  assert_true(pair.official);
  ffb_dataset_free(&pair);
}

static void real_mnist_is_recognised(void **state) {
  (void)state;
  need_real_data("mnist");
  real_data_are_recognised("mnist", 60000, 10000);
}

static void real_cifar10_is_recognised(void **state) {
  (void)state;
  need_real_data("cifar-10-batches-bin");
  real_data_are_recognised("cifar10", 50000, 10000);
}

/* ---- scripts/get-data ---- */

/* Run it with these mirrors; its exit status, and what it printed in `said`. */
static int get_data(const char *mirrors, const char *arguments, char said[1024]) {
  char command[4 * PATH_BYTES];
  if (access("scripts/get-data", X_OK) != 0) {
    print_message("not started in the source directory: skipped\n");
    skip();
  }
  snprintf(command, sizeof command, "FFBENCH_MIRRORS='%s' scripts/get-data %s 2>&1 >/dev/null", mirrors, arguments);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  said[fread(said, 1, 1023, pipe)] = '\0';
  int status = pclose(pipe);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void must_decline(const char *mirrors, const char *arguments, const char *what) {
  char said[1024];
  assert_int_equal(get_data(mirrors, arguments, said), 1);
  if (!strstr(said, what))
    fail_msg("'%s' is not in: %s", what, said);
  assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
}

static void get_data_declines_in_one_line(void **state) {
  (void)state;
  char arguments[PATH_BYTES], mirrors[2 * PATH_BYTES], said[1024];
  struct blob rubbish = {.bytes = (uint8_t *)"rubbish", .count = 7};
  snprintf(arguments, sizeof arguments, "--check %s", root);
  must_decline("", arguments, "train-images-idx3-ubyte is missing");
  snprintf(arguments, sizeof arguments, "%s/data", root);
  must_decline("file:///nowhere file:///elsewhere", arguments, "file:///elsewhere did not deliver");
  make_folder("mirror");
  write_plain("mirror/train-images-idx3-ubyte.gz", rubbish);
  write_plain("mirror/cifar-10-binary.tar.gz", rubbish);
  snprintf(mirrors, sizeof mirrors, "file://%s/mirror", root);
  must_decline(mirrors, arguments, "has a wrong train-images-idx3-ubyte.gz");
  snprintf(arguments, sizeof arguments, "%s/data cifar10", root);
  must_decline(mirrors, arguments, "has a wrong cifar-10-binary.tar.gz");
  assert_int_equal(get_data("", "--bogus", said), 2);
  assert_int_equal(get_data("", "one two", said), 2);
  /* Nothing half-done is left: the directory is empty. */
  snprintf(arguments, sizeof arguments, "%s/data", root);
  assert_int_equal(rmdir(arguments), 0);
}

static void get_data_fetches_and_checks(void **state) {
  (void)state;
  need_real_data("mnist");
  char arguments[PATH_BYTES], mirrors[2 * PATH_BYTES], said[1024], path[PATH_BYTES];
  snprintf(mirrors, sizeof mirrors, "file:///nowhere file://%s/mnist", real_data);
  snprintf(arguments, sizeof arguments, "%s mnist", root);
  if (get_data(mirrors, arguments, said) != 0)
    fail_msg("%s", said);
  snprintf(arguments, sizeof arguments, "--check %s mnist", root);
  assert_int_equal(get_data("", arguments, said), 0);
  struct ffb_dataset_pair pair;
  must_load(&pair, &(struct ffb_dataset_request){.name = "mnist", .directory = root});
  assert_true(pair.official);
  ffb_dataset_free(&pair);
  /* A spoilt file is seen, and fetched again. */
  place(path, "mnist/t10k-labels-idx1-ubyte.gz");
  assert_int_equal(truncate(path, 100), 0);
  must_decline("", arguments, "does not have its published content");
  snprintf(arguments, sizeof arguments, "%s mnist", root);
  assert_int_equal(get_data(mirrors, arguments, said), 0);
}

int main(void) {
  const char *directory = getenv("FFBENCH_DATA");
  if (directory && !realpath(directory, real_data))
    real_data[0] = '\0';
#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
  const struct CMUnitTest tests[] = {
      IN_ROOT(plain_and_gzip_are_the_same),
      IN_ROOT(bad_content_is_named),
      IN_ROOT(bad_gzip_is_named),
      IN_ROOT(missing_files_are_named),
      cmocka_unit_test(directory_is_given_or_from_environment),
      IN_ROOT(cifar_planes_become_channels),
      IN_ROOT(bad_cifar_is_named),
      IN_ROOT(a_batch_has_ten_thousand_records),
      IN_ROOT(hash_is_that_of_the_sorted_records),
      cmocka_unit_test(split_is_disjoint_and_complete),
      cmocka_unit_test(split_follows_the_seed),
      cmocka_unit_test(names_are_found),
      IN_ROOT(want_of_memory_is_an_error),
      cmocka_unit_test(synthetic_data_are_pinned),
      cmocka_unit_test(synthetic_sizes_have_a_range),
      cmocka_unit_test(digits_are_between_easy_and_hard),
      cmocka_unit_test(shapes_are_not_linear),
      cmocka_unit_test(real_mnist_is_recognised),
      cmocka_unit_test(real_cifar10_is_recognised),
      IN_ROOT(get_data_declines_in_one_line),
      IN_ROOT(get_data_fetches_and_checks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
