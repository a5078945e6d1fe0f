/* Reading published datasets: finding the files, reading them plain or gzip alike, and saying what is wrong with one.
 * Every error names the file and ends with the remedy. */
#ifndef FFBENCH_DATASETS_FILES_H
#define FFBENCH_DATASETS_FILES_H

#include "datasets/dataset.h"

#include <zlib.h>

enum { FFB_DATA_PATH_BYTES = FFB_DATASET_SOURCE_BYTES };

/* A dataset file being read in order. Whether it is compressed is seen from its content, not from its name. */
struct ffb_data_file {
  char path[FFB_DATA_PATH_BYTES];
  const char *fallback; /* dataset to suggest instead */
  gzFile stream;
  uint64_t capacity; /* no more decoded bytes than this can be in it */
};

/* Where a missing file is looked for: null-terminated lists. */
struct ffb_data_search {
  const char *const *folders; /* under the data directory; "" is the directory itself */
  const char *const *names;   /* spellings; each is tried plain, then with .gz */
};

/* The data directory: `directory`, else $FFBENCH_DATA, else ./data. */
const char *ffb_data_directory(const char *directory);

/* Path of the first of the search's files that exists. */
bool ffb_data_find(char path[FFB_DATA_PATH_BYTES], const struct ffb_data_search *search,
                   const struct ffb_dataset_kind *kind, const char *directory, struct ffb_error *error);

bool ffb_data_open(struct ffb_data_file *file, const char *path, const char *fallback, struct ffb_error *error);
/* Exactly `bytes` bytes; fewer are a truncated file. */
bool ffb_data_read(struct ffb_data_file *file, void *bytes, size_t count, struct ffb_error *error);
/* Whether the file ends here, and its checksum (gzip) is right. */
bool ffb_data_finish(struct ffb_data_file *file, struct ffb_error *error);
void ffb_data_close(struct ffb_data_file *file);
/* "path: what is wrong: remedy"; returns false. */
bool ffb_data_fail(const struct ffb_data_file *file, struct ffb_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The loaders of dataset.h's table. */
bool ffb_mnist_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                    const struct ffb_dataset_request *request, struct ffb_error *error);
bool ffb_cifar10_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                      const struct ffb_dataset_request *request, struct ffb_error *error);

/* The next `records` CIFAR-10 records, which must be all that the file holds: planar pixels become NHWC. */
bool ffb_cifar10_read(const char *path, const char *fallback, int64_t records, uint8_t *images, uint8_t *labels,
                      struct ffb_error *error);

#endif
