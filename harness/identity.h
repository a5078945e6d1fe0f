/* What makes two runs the same run: for the name of a record, and for whether a checkpoint may be resumed. */
#ifndef FFBENCH_HARNESS_IDENTITY_H
#define FFBENCH_HARNESS_IDENTITY_H

#include "datasets/dataset.h"
#include "harness/parts.h"
#include "harness/run.h"

#include <limits.h>

/* Raised by hand when results change for a reason outside the trainers (they have a number of their own). Records of
 * another number are not reused. */
enum { IDENTITY_ENGINE_VERSION = 1 };

/* "<model>-<algorithm>-<dataset>-s<seed>-<12 hex digits>": a hash of the options that differ from their defaults, of
 * the dataset's content, of the weight file to start from, and of the result versions. Fails where that file cannot be
 * read. */
bool identity_name(const struct run_config *config, const struct parts *parts, const struct ffb_dataset_pair *data,
                   char *name, size_t size, struct ffb_error *error);

/* Everything that decides the bits of a result: the configuration in full but for paths, threads, hashes, versions. */
json_t *identity_json(const struct run_config *config, const struct parts *parts, const struct ffb_dataset_pair *data,
                      int threads, struct ffb_error *error);

/* Where it holds the hash of the weight file that a run starts from. */
extern const char identity_loaded_key[];

/* Whether two identities agree; if not, text names the first difference: "batch is 32 there and 64 here". */
bool identity_same(const json_t *there, const json_t *here, char *text, size_t size);

#endif
