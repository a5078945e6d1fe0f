/* Reference numbers made by golden/make_golden.py, which explains them: reading the files, and the formulas for weights
 * and images. */
#ifndef FFB_TESTS_GOLDEN_H
#define FFB_TESTS_GOLDEN_H

#include "tests/trainer_cases.h"

enum { GOLDEN_MOST_ROWS = 16, GOLDEN_CLASSES = 10, GOLDEN_SIGNS = 4, GOLDEN_RECORDS = 512 };

struct golden_model {
  const char *file, *model, *options;
  int64_t parameters;
};

/* With every dropout switched off. */
static const struct golden_model golden_models[] = {
    {"resnet18", "resnet18", "", 11181642},
    {"resnet18_cifar", "resnet18", "stem=cifar", 11173962},
    {"mobilenet_v2", "mobilenet_v2", "dropout=0", 2236682},
    {"efficientnet_b0", "efficientnet_b0", "dropout=0 stochastic_depth=0", 3383818},
    {"efficientnet_b0_squeeze", "efficientnet_b0", "dropout=0 stochastic_depth=0 squeeze_excitation=true", 4020358},
};

struct golden_digest {
  double norm, products[GOLDEN_SIGNS];
};

/* A gradient, or running statistics. */
struct golden_record {
  char name[96];
  int64_t shape[4]; /* in PyTorch's order */
  int dimensions;
  bool gradient;
  struct golden_digest digest;
};

struct golden {
  int64_t side, rows;
  uint32_t seed;
  double spread[4]; /* of a batch normalisation: centre and scale of its factors, then of its shifts */
  double loss, logits[GOLDEN_MOST_ROWS][GOLDEN_CLASSES], evaluation[GOLDEN_MOST_ROWS][GOLDEN_CLASSES];
  struct golden_record records[GOLDEN_RECORDS];
  int record_count;
};

/* ---- the files ------------------------------------------------------------------------------------------------- */

static inline void golden_numbers(double *numbers, int count, char *rest) {
  for (int i = 0; i < count; i++)
    numbers[i] = strtod(rest, &rest);
}

static inline void golden_record(struct golden_record *record, char *rest) {
  char shape[64];
  int used = 0;
  assert_int_equal(sscanf(rest, "%95s %63s%n", record->name, shape, &used), 2);
  for (char *at = shape, *side; (side = strsep(&at, ","));) {
    assert_in_range(record->dimensions, 0, 3);
    record->shape[record->dimensions++] = strtoll(side, NULL, 10);
  }
  rest += used;
  record->digest.norm = strtod(rest, &rest);
  for (int k = 0; k < GOLDEN_SIGNS; k++)
    record->digest.products[k] = strtod(rest, &rest);
}

static inline void golden_read(struct golden *golden, const char *name) {
  char path[128], line[512], what[32];
  int logits = 0, evaluations = 0, used = 0;
  snprintf(path, sizeof path, "tests/golden/%s.txt", name);
  FILE *from = fopen(path, "r");
  if (!from)
    fail_msg("%s cannot be read: run this from the repository's root", path);
  memset(golden, 0, sizeof *golden);
  while (fgets(line, sizeof line, from)) {
    if (*line == '#' || sscanf(line, "%31s%n", what, &used) != 1)
      continue;
    char *rest = line + used;
    if (strcmp(what, "side") == 0)
      golden->side = strtoll(rest, NULL, 10);
    else if (strcmp(what, "rows") == 0)
      golden->rows = strtoll(rest, NULL, 10);
    else if (strcmp(what, "seed") == 0)
      golden->seed = (uint32_t)strtoul(rest, NULL, 10);
    else if (strcmp(what, "spread") == 0)
      golden_numbers(golden->spread, 4, rest);
    else if (strcmp(what, "loss") == 0)
      golden->loss = strtod(rest, NULL);
    else if (strcmp(what, "logits") == 0 && logits < GOLDEN_MOST_ROWS)
      golden_numbers(golden->logits[logits++], GOLDEN_CLASSES, rest);
    else if (strcmp(what, "evaluation") == 0 && evaluations < GOLDEN_MOST_ROWS)
      golden_numbers(golden->evaluation[evaluations++], GOLDEN_CLASSES, rest);
    else {
      assert_in_range(golden->record_count, 0, GOLDEN_RECORDS - 1);
      struct golden_record *record = &golden->records[golden->record_count++];
      record->gradient = strcmp(what, "gradient") == 0;
      golden_record(record, rest);
    }
  }
  fclose(from);
  assert_int_equal(logits, golden->rows);
  assert_int_equal(evaluations, golden->rows);
}

/* ---- the formulas ---------------------------------------------------------------------------------------------- */

static inline uint32_t golden_stream(const char *name, const char *ending, uint32_t seed) {
  uint32_t hash = 2166136261u;
  for (; *name; name++)
    hash = (hash ^ (uint8_t)*name) * 16777619u;
  for (; *ending; ending++)
    hash = (hash ^ (uint8_t)*ending) * 16777619u;
  return hash + seed * 40503u;
}

static inline uint32_t golden_bits(uint32_t stream, int64_t index) {
  uint32_t x = (uint32_t)index * 2654435761u + stream;
  x ^= x >> 16;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13;
  x *= 0xC2B2AE35u;
  return x ^ x >> 16;
}

static inline void golden_fill(float *values, const char *name, uint32_t seed, int64_t count, double scale,
                               double centre) {
  uint32_t stream = golden_stream(name, "", seed);
  for (int64_t i = 0; i < count; i++) {
    float u = (float)(golden_bits(stream, i) >> 8) * 0x1p-23f - 1;
    values[i] = (float)centre + (float)scale * u;
  }
}

static inline void golden_digest(struct golden_digest *digest, const char *name, const double *values, int64_t count) {
  uint32_t stream = golden_stream(name, "#", 0);
  double squares = 0;
  *digest = (struct golden_digest){0};
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits = golden_bits(stream, i) >> 8;
    squares += values[i] * values[i];
    for (int k = 0; k < GOLDEN_SIGNS; k++)
      digest->products[k] += bits >> k & 1 ? -values[i] : values[i];
  }
  digest->norm = sqrt(squares);
}

/* The estimated L2 distance between two tensors. */
static inline double golden_distance(const struct golden_digest *a, const struct golden_digest *b) {
  double squares = 0;
  for (int k = 0; k < GOLDEN_SIGNS; k++)
    squares += (a->products[k] - b->products[k]) * (a->products[k] - b->products[k]) / GOLDEN_SIGNS;
  double norms = fabs(a->norm - b->norm); /* never above the true distance */
  return sqrt(squares) > norms ? sqrt(squares) : norms;
}

/* ---- networks -------------------------------------------------------------------------------------------------- */

/* `options` may be null. */
static inline void model_build(struct ffb_network *network, const char *name, const char *options,
                               const struct ffb_model_input *input) {
  struct ffb_error error = {0};
  const struct ffb_model *model = ffb_model_find(name);
  assert_non_null(model);
  void *values = calloc(1, model->options_size);
  assert_non_null(values);
  GOOD(ffb_options_default(model->options, values, &error), &error);
  set_options(model->options, values, name, options);
  GOOD(model->build(network, input, values, &error), &error);
  ffb_options_clear(model->options, values);
  free(values);
}

static inline void device_open(const struct ffb_backend *backend, struct ffb_device **device) {
  char message[256] = "";
  if (!backend->open(device, &(struct ffb_device_request){.threads = 2}, message, sizeof message))
    fail_msg("%s", message);
}

/* To PyTorch's order of a convolution's weights (o, i, h, w) from ours (o, h, w, i): the place here of element `index`
 * there. */
static inline int64_t place_of(const int64_t shape[4], int64_t index) {
  int64_t w = index % shape[3], h = index / shape[3] % shape[2], i = index / (shape[3] * shape[2]) % shape[1],
          o = index / (shape[3] * shape[2] * shape[1]);
  return ((o * shape[2] + h) * shape[3] + w) * shape[1] + i;
}

#endif
