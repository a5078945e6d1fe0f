/* MNIST: IDX files (big-endian header: magic, number of records, then for images height and width). */
#include "datasets/files.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { MAGIC_LABELS = 0x801, MAGIC_IMAGES = 0x803 };

static const char *const folders[] = {"mnist", "MNIST/raw", "", NULL};

/* The spelling of the original site, and the one that unpackers with dots made of it. */
static const struct ffb_data_search train_images = {
    .folders = folders, .names = (const char *const[]){"train-images-idx3-ubyte", "train-images.idx3-ubyte", NULL}};
static const struct ffb_data_search train_labels = {
    .folders = folders, .names = (const char *const[]){"train-labels-idx1-ubyte", "train-labels.idx1-ubyte", NULL}};
static const struct ffb_data_search test_images = {
    .folders = folders, .names = (const char *const[]){"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", NULL}};
static const struct ffb_data_search test_labels = {
    .folders = folders, .names = (const char *const[]){"t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte", NULL}};

static bool read_number(struct ffb_data_file *file, uint32_t *number, struct ffb_error *error) {
  uint8_t bytes[4];
  if (!ffb_data_read(file, bytes, sizeof bytes, error))
    return false;
  *number = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
  return true;
}

/* Magic and number of records, which nothing is allocated from until it is known to be possible. */
static bool read_header(struct ffb_data_file *file, uint32_t magic, size_t record_bytes, int64_t *count,
                        struct ffb_error *error) {
  uint32_t seen, records;
  if (!read_number(file, &seen, error))
    return false;
  if (seen != magic)
    return ffb_data_fail(file, error, "not an IDX file of %s (magic 0x%08x instead of 0x%08x)",
                         magic == MAGIC_IMAGES ? "images" : "labels", seen, magic);
  if (!read_number(file, &records, error))
    return false;
  if (records < FFB_DATASET_SMALLEST || records > FFB_DATASET_LARGEST)
    return ffb_data_fail(file, error, "its header claims %u records (%d to %d are possible)", records,
                         FFB_DATASET_SMALLEST, FFB_DATASET_LARGEST);
  if (records * (uint64_t)record_bytes > file->capacity)
    return ffb_data_fail(file, error, "truncated, its header claims %u records, more than it can hold", records);
  *count = records;
  return true;
}

static bool read_images(struct ffb_data_file *file, struct ffb_dataset *part, struct ffb_error *error) {
  size_t record_bytes = (size_t)(part->height * part->width);
  uint32_t height, width;
  if (!read_header(file, MAGIC_IMAGES, record_bytes, &part->count, error) || !read_number(file, &height, error) ||
      !read_number(file, &width, error))
    return false;
  if (height != part->height || width != part->width)
    return ffb_data_fail(file, error, "its header claims images of %u x %u (%d x %d expected)", height, width,
                         (int)part->height, (int)part->width);
  size_t bytes = (size_t)part->count * record_bytes;
  part->images = ffb_allocate(bytes, 1, error);
  return part->images && ffb_data_read(file, part->images, bytes, error) && ffb_data_finish(file, error);
}

static bool read_labels(struct ffb_data_file *file, struct ffb_dataset *part, struct ffb_error *error) {
  int64_t count = 0;
  if (!read_header(file, MAGIC_LABELS, 1, &count, error))
    return false;
  if (count != part->count)
    return ffb_data_fail(file, error, "%lld labels for %lld images", (long long)count, (long long)part->count);
  part->labels = ffb_allocate((size_t)count, 1, error);
  if (!part->labels || !ffb_data_read(file, part->labels, (size_t)count, error) || !ffb_data_finish(file, error))
    return false;
  for (int64_t i = 0; i < count; i++)
    if (part->labels[i] >= part->classes)
      return ffb_data_fail(file, error, "record %lld has label %d (0 to %d are possible)", (long long)i,
                           part->labels[i], (int)part->classes - 1);
  return true;
}

typedef bool read_part(struct ffb_data_file *file, struct ffb_dataset *part, struct ffb_error *error);

static bool read_file(struct ffb_dataset *part, read_part *read, const struct ffb_data_search *search,
                      const struct ffb_dataset_kind *kind, const char *directory, struct ffb_error *error) {
  char path[FFB_DATA_PATH_BYTES];
  struct ffb_data_file file;
  if (!ffb_data_find(path, search, kind, directory, error) || !ffb_data_open(&file, path, kind->fallback, error))
    return false;
  bool done = read(&file, part, error);
  ffb_data_close(&file);
  snprintf(part->source, sizeof part->source, "%.*s", (int)(strrchr(path, '/') - path), path);
  return done;
}

bool ffb_mnist_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                    const struct ffb_dataset_request *request, struct ffb_error *error) {
  const char *directory = request->directory;
  return read_file(&pair->train, read_images, &train_images, kind, directory, error) &&
         read_file(&pair->train, read_labels, &train_labels, kind, directory, error) &&
         read_file(&pair->test, read_images, &test_images, kind, directory, error) &&
         read_file(&pair->test, read_labels, &test_labels, kind, directory, error);
}
