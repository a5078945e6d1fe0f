/* CIFAR-10: six files without a header, each 10,000 records of a label's byte and 3,072 pixel bytes, plane by plane. */
#include "datasets/files.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 32, CHANNELS = 3, PLANE = SIDE * SIDE, PIXELS = PLANE * CHANNELS, CLASSES = 10, BATCHES = 5 };
enum { RECORDS = 10000 };

static const char *const folders[] = {"cifar-10-batches-bin", "", NULL};

static bool read_records(struct ffb_data_file *file, int64_t records, uint8_t *images, uint8_t *labels,
                         struct ffb_error *error) {
  uint8_t record[1 + PIXELS];
  for (int64_t i = 0; i < records; i++) {
    if (!ffb_data_read(file, record, sizeof record, error))
      return false;
    if (record[0] >= CLASSES)
      return ffb_data_fail(file, error, "record %lld has label %d (0 to %d are possible)", (long long)i, record[0],
                           CLASSES - 1);
    labels[i] = record[0];
    uint8_t *image = images + i * PIXELS;
    for (int c = 0; c < CHANNELS; c++)
      for (int p = 0; p < PLANE; p++)
        image[p * CHANNELS + c] = record[1 + c * PLANE + p];
  }
  return ffb_data_finish(file, error);
}

bool ffb_cifar10_read(const char *path, const char *fallback, int64_t records, uint8_t *images, uint8_t *labels,
                      struct ffb_error *error) {
  struct ffb_data_file file;
  if (!ffb_data_open(&file, path, fallback, error))
    return false;
  bool done = read_records(&file, records, images, labels, error);
  ffb_data_close(&file);
  return done;
}

static bool read_batch(struct ffb_dataset *part, const char *name, int64_t first, const struct ffb_dataset_kind *kind,
                       const char *directory, struct ffb_error *error) {
  const struct ffb_data_search search = {.folders = folders, .names = (const char *const[]){name, NULL}};
  char path[FFB_DATA_PATH_BYTES];
  if (!ffb_data_find(path, &search, kind, directory, error))
    return false;
  snprintf(part->source, sizeof part->source, "%.*s", (int)(strrchr(path, '/') - path), path);
  return ffb_cifar10_read(path, kind->fallback, RECORDS, part->images + first * PIXELS, part->labels + first, error);
}

static bool allocate(struct ffb_dataset *part, int64_t count, struct ffb_error *error) {
  part->count = count;
  part->images = ffb_allocate((size_t)count, PIXELS, error);
  part->labels = ffb_allocate((size_t)count, 1, error);
  return part->images && part->labels;
}

bool ffb_cifar10_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                      const struct ffb_dataset_request *request, struct ffb_error *error) {
  if (!allocate(&pair->train, (int64_t)BATCHES * RECORDS, error) || !allocate(&pair->test, RECORDS, error))
    return false;
  for (int i = 0; i < BATCHES; i++) {
    char name[32];
    snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
    if (!read_batch(&pair->train, name, (int64_t)i * RECORDS, kind, request->directory, error))
      return false;
  }
  return read_batch(&pair->test, "test_batch.bin", 0, kind, request->directory, error);
}
