#include "datasets/dataset.h"

#include "base/memory.h"
#include "base/option.h"
#include "base/random.h"
#include "datasets/files.h"
#include "datasets/fingerprint.h"
#include "datasets/synthetic.h"

#include <string.h>

static const struct ffb_dataset_kind kinds[] = {
    {
        .name = "mnist",
        .channels = 1,
        .height = 28,
        .width = 28,
        .classes = 10,
        .description = "handwritten digits, 60,000 and 10,000, IDX files",
        .fallback = "synthetic_digits",
        .train_sha256 = "da6370735bf1d490f086dde49c15f2ed0480ad05dc7c70abf5d36bf471d5e312",
        .test_sha256 = "0c7bc63f656fb2440dc2b5bea4ff3ac8632e305b73ec1dc88141a32d36204fac",
        .load = ffb_mnist_load,
    },
    {
        .name = "cifar10",
        .channels = 3,
        .height = 32,
        .width = 32,
        .classes = 10,
        .description = "photographs of ten kinds of things, 50,000 and 10,000, binary batches",
        .fallback = "synthetic_shapes",
        .train_sha256 = "72083841cd0fa633f09b24c0833cf6d6a1809caff400317117334e0aa6b0ed46",
        .test_sha256 = "f1bbb931260cda782c84c1948c82d910e2c193cb1d56756293f445027090946b",
        .load = ffb_cifar10_load,
    },
    {
        .name = "synthetic_digits",
        .channels = 1,
        .height = 28,
        .width = 28,
        .classes = 10,
        .synthetic = true,
        .description = "generated digits, drawn with a wobbly pen; needs no files",
        .fallback = "synthetic_digits",
        .synthetic_train = 10000,
        .synthetic_test = 2000,
        .load = ffb_synthetic_digits_load,
    },
    {
        .name = "synthetic_shapes",
        .channels = 3,
        .height = 32,
        .width = 32,
        .classes = 10,
        .synthetic = true,
        .description = "generated coloured shapes on mottled backgrounds; needs no files",
        .fallback = "synthetic_shapes",
        .synthetic_train = 10000,
        .synthetic_test = 2000,
        .load = ffb_synthetic_shapes_load,
    },
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

const struct ffb_dataset_kind *ffb_dataset_at(size_t index) {
  return index < KINDS ? &kinds[index] : NULL;
}

const struct ffb_dataset_kind *ffb_dataset_find(const char *name) {
  for (size_t i = 0; i < KINDS; i++)
    if (strcmp(kinds[i].name, name) == 0)
      return &kinds[i];
  return NULL;
}

static bool fail_unknown(const char *name, struct ffb_error *error) {
  const char *names[KINDS];
  for (size_t i = 0; i < KINDS; i++)
    names[i] = kinds[i].name;
  const char *nearest = ffb_nearest_name(name, names, KINDS);
  if (nearest)
    return ffb_fail_usage(error, "unknown dataset '%.200s': did you mean '%s'? (ffbench list datasets)", name, nearest);
  return ffb_fail_usage(error, "unknown dataset '%.200s': ffbench list datasets shows what there is", name);
}

static void describe(struct ffb_dataset *part, const struct ffb_dataset_kind *kind) {
  part->name = kind->name;
  part->synthetic = kind->synthetic;
  part->channels = kind->channels;
  part->height = kind->height;
  part->width = kind->width;
  part->classes = kind->classes;
}

static bool identify(struct ffb_dataset *part, const char *published, struct ffb_error *error) {
  if (!ffb_dataset_fingerprint(part, error))
    return false;
  part->official = published && strcmp(part->sha256, published) == 0;
  return true;
}

static bool load_parts(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                       const struct ffb_dataset_request *request, struct ffb_error *error) {
  if (!kind->load(pair, kind, request, error))
    return false;
  if (!identify(&pair->train, kind->train_sha256, error) || !identify(&pair->test, kind->test_sha256, error))
    return false;
  pair->official = pair->train.official && pair->test.official;
  struct ffb_sha256 hash;
  ffb_sha256_begin(&hash);
  ffb_sha256_add(&hash, pair->train.sha256, FFB_SHA256_TEXT - 1);
  ffb_sha256_add(&hash, pair->test.sha256, FFB_SHA256_TEXT - 1);
  ffb_sha256_text(&hash, pair->sha256);
  return true;
}

bool ffb_dataset_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_request *request,
                      struct ffb_error *error) {
  *pair = (struct ffb_dataset_pair){0};
  const struct ffb_dataset_kind *kind = ffb_dataset_find(request->name);
  if (!kind)
    return fail_unknown(request->name, error);
  describe(&pair->train, kind);
  describe(&pair->test, kind);
  bool loaded = load_parts(pair, kind, request, error);
  if (!loaded)
    ffb_dataset_free(pair);
  return loaded;
}

void ffb_dataset_free(struct ffb_dataset_pair *pair) {
  ffb_free(pair->train.images);
  ffb_free(pair->train.labels);
  ffb_free(pair->test.images);
  ffb_free(pair->test.labels);
  *pair = (struct ffb_dataset_pair){0};
}

static int64_t limited(int64_t count, int64_t limit) {
  return limit > 0 && limit < count ? limit : count;
}

bool ffb_dataset_split(struct ffb_dataset_split *split, const struct ffb_dataset_pair *pair, uint64_t seed,
                       int64_t train_limit, int64_t eval_limit, struct ffb_error *error) {
  enum { STEP_TRAIN, STEP_TEST };
  int64_t count = pair->train.count, validation = count / 10;
  if (validation > FFB_DATASET_VALIDATION)
    validation = FFB_DATASET_VALIDATION;
  *split = (struct ffb_dataset_split){
      .train = ffb_allocate((size_t)count, sizeof *split->train, error),
      .test = ffb_allocate((size_t)pair->test.count, sizeof *split->test, error),
      .train_count = limited(count - validation, train_limit),
      .validation_count = limited(validation, eval_limit),
      .test_count = limited(pair->test.count, eval_limit),
  };
  if (!split->train || !split->test) {
    ffb_dataset_split_free(split);
    return false;
  }
  ffb_random_permutation(seed, FFB_PURPOSE_SPLIT, STEP_TRAIN, split->train, (uint32_t)count);
  ffb_random_permutation(seed, FFB_PURPOSE_SPLIT, STEP_TEST, split->test, (uint32_t)pair->test.count);
  split->validation = split->train + (count - validation);
  return true;
}

void ffb_dataset_split_free(struct ffb_dataset_split *split) {
  ffb_free(split->train); /* validation is its tail */
  ffb_free(split->test);
  *split = (struct ffb_dataset_split){0};
}
