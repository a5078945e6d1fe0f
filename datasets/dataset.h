/* Datasets: labelled images as bytes, read from files or generated, with a hash that names their content.
 *
 *   struct ffb_dataset_pair pair = {0};
 *   struct ffb_dataset_request request = {.name = "mnist", .directory = NULL};
 *   if (!ffb_dataset_load(&pair, &request, error)) ...
 *   struct ffb_dataset_split split = {0};
 *   if (!ffb_dataset_split(&split, &pair, seed, 0, 0, error)) ...
 *
 * Images are NHWC bytes, 0 .. 255; whoever builds a batch converts them. Labels are 0 .. classes - 1, checked here. */
#ifndef FFBENCH_DATASETS_DATASET_H
#define FFBENCH_DATASETS_DATASET_H

#include "base/error.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  FFB_DATASET_SOURCE_BYTES = 512,
  FFB_DATASET_VALIDATION = 5000, /* most records that a split sets aside */
  FFB_DATASET_SMALLEST = 10,     /* fewest records of a part, so that a split has something on each side */
  FFB_DATASET_LARGEST = 1000000, /* most records of a part */
};

/* One part, training or test. */
struct ffb_dataset {
  const char *name; /* "mnist" */
  bool synthetic;
  int64_t count, channels, height, width, classes;
  uint8_t *images; /* [count][height][width][channels] */
  uint8_t *labels; /* [count] */
  /* SHA-256 of the records sorted bytewise, a record being the label's byte and the pixels plane by plane: the same
   * for the same records in any order, plain or compressed. */
  char sha256[FFB_SHA256_TEXT];
  bool official;                         /* the hash is that of the published data */
  char source[FFB_DATASET_SOURCE_BYTES]; /* the folder read, or how it was generated */
};

struct ffb_dataset_pair {
  struct ffb_dataset train, test;
  char sha256[FFB_SHA256_TEXT]; /* of the text of the two hashes, training first: names the pair in a record */
  bool official;                /* both parts are */
};

struct ffb_dataset_request {
  const char *name;
  const char *directory;                   /* where files are looked for; null: $FFBENCH_DATA, else ./data */
  int64_t synthetic_train, synthetic_test; /* records to generate, FFB_DATASET_SMALLEST .. _LARGEST; 0: the default */
  uint64_t seed;                           /* of a synthetic dataset */
};

/* What can be asked for by name. */
struct ffb_dataset_kind {
  const char *name;
  int64_t channels, height, width, classes;
  bool synthetic;
  const char *description;
  const char *fallback;                       /* the synthetic dataset of the same shape, for the remedy in an error */
  const char *train_sha256, *test_sha256;     /* of the published records; null for a synthetic dataset */
  int64_t synthetic_train, synthetic_test;    /* default sizes */
  bool (*load)(struct ffb_dataset_pair *pair, /* fills images, labels, count and source of both parts */
               const struct ffb_dataset_kind *kind, const struct ffb_dataset_request *request, struct ffb_error *error);
};

/* Null when there is none. */
const struct ffb_dataset_kind *ffb_dataset_find(const char *name);
const struct ffb_dataset_kind *ffb_dataset_at(size_t index);

/* Load both parts. An unknown name or a size out of range is a usage error; a file that is missing, truncated, too
 * long, corrupt or inconsistent is a failure that names the file and the remedy. On failure nothing is held. */
bool ffb_dataset_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_request *request,
                      struct ffb_error *error);
void ffb_dataset_free(struct ffb_dataset_pair *pair);

/* Indices of records. Training and validation are disjoint parts of the training set: the validation records are the
 * last FFB_DATASET_VALIDATION of a shuffle by the seed, or the last tenth where that is fewer. The test set is shuffled
 * too, so that a limit takes a fair sample. */
struct ffb_dataset_split {
  uint32_t *train, *validation, *test;
  int64_t train_count, validation_count, test_count;
};

/* train_limit keeps the first so many of the training indices, eval_limit of the validation and of the test indices;
 * 0 keeps all, as does a limit above what there is. Freed by ffb_dataset_split_free. */
bool ffb_dataset_split(struct ffb_dataset_split *split, const struct ffb_dataset_pair *pair, uint64_t seed,
                       int64_t train_limit, int64_t eval_limit, struct ffb_error *error);
void ffb_dataset_split_free(struct ffb_dataset_split *split);

#endif
