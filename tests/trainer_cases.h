/* Helpers for cases that make a trainer, feed it and look at what it holds.
 *
 * A recipe says what to make; subject_begin gets everything ready, subject_create makes the trainer, subject_end frees
 * all of it. Records are images of ten classes: a random picture for each class, with noise. */
#ifndef FFB_TESTS_TRAINER_CASES_H
#define FFB_TESTS_TRAINER_CASES_H

#include "algorithms/trainer.h"
#include "base/memory.h"
#include "base/random.h"
#include "harness/plugin.h"
#include "models/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CLASSES = 10 };

/* Zero stands for: a multilayer perceptron, 4 x 12 images of one channel, hidden layers of 24 and 20, batches of 8, 21
 * records, 4 epochs, one thread of the reference backend, inputs from 0 to 1. */
struct recipe {
  const char *algorithm, *options; /* "name=value name=value", or null */
  const char *hidden;
  bool bias;
  const char *model, *model_options; /* another model than the multilayer perceptron, with its options */
  int64_t height, width, channels, batch, records, epochs;
  uint64_t seed;
  const struct ffb_backend *backend;
  int threads;
  bool tf32;
  float mean, deviation;
};

struct subject {
  const struct ffb_trainer *trainer;
  const struct ffb_model *model;
  void *options, *model_options;
  struct ffb_network network;
  struct ffb_trainer_setup setup;
  struct ffb_device *device;
  struct ffb_trainer_state *state;
  struct ffb_plan *plan;
};

struct records {
  int64_t count, image;
  uint8_t *images;
  int32_t *labels, *index;
};

#define GOOD(call, error)                                                                                              \
  do {                                                                                                                 \
    if (!(call))                                                                                                       \
      fail_msg("%s", (error)->message);                                                                                \
  } while (0)

static inline void assert_one_line(const struct ffb_error *error) {
  assert_int_not_equal(error->kind, FFB_ERROR_NONE);
  assert_int_not_equal(error->message[0], '\0');
  assert_null(strchr(error->message, '\n'));
}

static inline void assert_mentions(const struct ffb_error *error, const char *part) {
  assert_one_line(error);
  if (!strstr(error->message, part))
    fail_msg("\"%s\" does not mention \"%s\"", error->message, part);
}

/* ---- records --------------------------------------------------------------------------------------------------- */

static inline void records_make(struct records *records, int64_t count, int64_t image) {
  *records = (struct records){.count = count, .image = image};
  records->images = malloc((size_t)(count * image));
  records->labels = malloc((size_t)count * sizeof *records->labels);
  records->index = malloc((size_t)count * sizeof *records->index);
  assert_true(records->images && records->labels && records->index);
  for (int64_t r = 0; r < count; r++) {
    records->labels[r] = (int32_t)(r % CLASSES);
    records->index[r] = (int32_t)r;
    for (int64_t i = 0; i < image; i++) {
      bool noise = ffb_random_uniform(5, 1, (uint32_t)r, (uint64_t)i) < 0.5f;
      uint32_t bits = noise ? ffb_random_bits(5, 2, (uint32_t)r, (uint64_t)i)
                            : ffb_random_bits(5, 3, (uint32_t)records->labels[r], (uint64_t)i);
      records->images[r * image + i] = (uint8_t)(bits >> 24);
    }
  }
}

static inline void records_free(struct records *records) {
  free(records->images);
  free(records->labels);
  free(records->index);
}

/* As cmocka's fixtures: ten colour images of 16 x 16. */
static inline int small_images_make(void **state) {
  static struct records records;
  records_make(&records, 10, 16 * 16 * 3);
  *state = &records;
  return 0;
}

static inline int small_images_free(void **state) {
  records_free(*state);
  return 0;
}

static inline struct ffb_batch batch_of(const struct records *records, int64_t first, int64_t rows) {
  return (struct ffb_batch){.rows = rows,
                            .images = records->images + first * records->image,
                            .labels = records->labels + first,
                            .index = records->index + first};
}

/* ---- subjects -------------------------------------------------------------------------------------------------- */

static inline void set_options(const struct ffb_option *table, void *values, const char *owner, const char *text) {
  struct ffb_error error = {0};
  char copy[512];
  snprintf(copy, sizeof copy, "%s", text ? text : "");
  for (char *rest = copy, *name; (name = strsep(&rest, " "));) {
    char *value = strchr(name, '=');
    if (!*name)
      continue;
    assert_non_null(value);
    *value++ = '\0';
    GOOD(ffb_option_set(table, values, owner, name, value, &error), &error);
  }
}

static inline int64_t or_default(int64_t value, int64_t otherwise) {
  return value ? value : otherwise;
}

static inline void build_network(struct subject *s, const struct recipe *recipe) {
  struct ffb_error error = {0};
  char text[256];
  struct ffb_model_input input = {or_default(recipe->height, 4), or_default(recipe->width, 12),
                                  or_default(recipe->channels, 1), CLASSES};
  if (s->trainer->extra_channels)
    input.channels += s->trainer->extra_channels(s->options);
  s->model = ffb_model_find(recipe->model ? recipe->model : "mlp");
  assert_non_null(s->model);
  s->model_options = calloc(1, s->model->options_size);
  assert_non_null(s->model_options);
  GOOD(ffb_options_default(s->model->options, s->model_options, &error), &error);
  snprintf(text, sizeof text, "hidden=%s bias=%d", recipe->hidden ? recipe->hidden : "24,20", recipe->bias);
  set_options(s->model->options, s->model_options, s->model->name, recipe->model ? recipe->model_options : text);
  GOOD(s->model->build(&s->network, &input, s->model_options, &error), &error);
}

static inline void subject_begin(struct subject *s, const struct recipe *recipe) {
  struct ffb_error error = {0};
  char message[256] = "";
  *s = (struct subject){.trainer = plugin_find(recipe->algorithm, &error)};
  GOOD(s->trainer, &error);
  s->options = calloc(1, s->trainer->options_size);
  assert_non_null(s->options);
  GOOD(ffb_options_default(s->trainer->options, s->options, &error), &error);
  set_options(s->trainer->options, s->options, recipe->algorithm, recipe->options);
  build_network(s, recipe);
  const struct ffb_backend *backend = recipe->backend ? recipe->backend : &ffb_backend_reference;
  struct ffb_device_request request = {.threads = recipe->threads ? recipe->threads : 1, .tf32 = recipe->tf32};
  if (!backend->open(&s->device, &request, message, sizeof message))
    fail_msg("%s", message);
  int64_t batch = or_default(recipe->batch, 8);
  s->setup = (struct ffb_trainer_setup){.network = &s->network,
                                        .backend = backend,
                                        .device = s->device,
                                        .options = s->options,
                                        .batch = batch,
                                        .train_records = or_default(recipe->records, 21),
                                        .epochs = or_default(recipe->epochs, 4),
                                        .seed = recipe->seed};
  for (int c = 0; c < FFB_MAX_CHANNELS; c++) {
    s->setup.mean[c] = recipe->mean;
    s->setup.deviation[c] = recipe->deviation > 0 ? recipe->deviation : 1;
  }
}

static inline bool subject_create(struct subject *s, struct ffb_error *error) {
  if (s->trainer->validate && !s->trainer->validate(&s->setup, error))
    return false;
  if (!s->trainer->create(&s->state, &s->setup, error))
    return false;
  s->plan = s->trainer->plan(s->state);
  assert_non_null(s->plan);
  return true;
}

static inline void subject_make(struct subject *s, const struct recipe *recipe) {
  struct ffb_error error = {0};
  subject_begin(s, recipe);
  GOOD(subject_create(s, &error), &error);
}

static inline void subject_end(struct subject *s) {
  if (s->state)
    s->trainer->destroy(s->state);
  s->setup.backend->close(s->device);
  ffb_options_clear(s->trainer->options, s->options);
  ffb_options_clear(s->model->options, s->model_options);
  free(s->options);
  free(s->model_options);
  ffb_network_destroy(&s->network);
}

/* ---- training -------------------------------------------------------------------------------------------------- */

static inline int64_t steps_per_epoch(const struct subject *s) {
  return (s->setup.train_records + s->setup.batch - 1) / s->setup.batch;
}

static inline struct ffb_batch batch_of_step(const struct subject *s, const struct records *records, int64_t step) {
  int64_t first = step % steps_per_epoch(s) * s->setup.batch, left = s->setup.train_records - first;
  return batch_of(records, first, left < s->setup.batch ? left : s->setup.batch);
}

/* Steps first .. first + count - 1, with the end of each epoch. */
static inline void train(struct subject *s, const struct records *records, int64_t first, int64_t count) {
  struct ffb_error error = {0};
  for (int64_t step = first; step < first + count; step++) {
    struct ffb_batch batch = batch_of_step(s, records, step);
    GOOD(s->trainer->train_step(s->state, &batch, &error), &error);
    struct ffb_epoch_statistics statistics;
    if ((step + 1) % steps_per_epoch(s) == 0)
      GOOD(s->trainer->end_epoch(s->state, &statistics, &error), &error);
  }
}

static inline void predict(struct subject *s, const struct records *records, int64_t first, int64_t rows,
                           float *scores) {
  struct ffb_error error = {0};
  struct ffb_batch batch = {.rows = rows, .images = records->images + first * records->image};
  GOOD(s->trainer->predict(s->state, &batch, scores, &error), &error);
}

/* ---- what a trainer holds -------------------------------------------------------------------------------------- */

static inline struct ffb_tensor *tensor_or_null(const struct ffb_plan *plan, const char *name) {
  for (size_t i = 0; i < ffb_plan_persistent_count(plan); i++) {
    struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
    if (strcmp(tensor->name, name) == 0)
      return tensor;
  }
  return NULL;
}

static inline struct ffb_tensor *tensor_named(const struct ffb_plan *plan, const char *name) {
  struct ffb_tensor *tensor = tensor_or_null(plan, name);
  if (!tensor)
    fail_msg("there is no tensor %s", name);
  return tensor;
}

/* A copy of a tensor's bytes, to be freed. */
static inline void *content(struct ffb_plan *plan, const struct ffb_tensor *tensor) {
  struct ffb_error error = {0};
  void *bytes = malloc(ffb_tensor_bytes(tensor) + 1);
  assert_non_null(bytes);
  GOOD(ffb_tensor_read(plan, tensor, bytes, &error), &error);
  return bytes;
}

static inline void read_floats(struct subject *s, const char *name, float *to) {
  struct ffb_error error = {0};
  GOOD(ffb_tensor_read(s->plan, tensor_named(s->plan, name), to, &error), &error);
}

/* Every persistent tensor, one after the other. */
struct snapshot {
  size_t bytes;
  char *data;
};

static inline struct snapshot snapshot_take(struct subject *s) {
  struct ffb_error error = {0};
  struct snapshot taken = {0};
  for (size_t i = 0; i < ffb_plan_persistent_count(s->plan); i++)
    taken.bytes += ffb_tensor_bytes(ffb_plan_persistent_at(s->plan, i));
  char *at = taken.data = malloc(taken.bytes + 1);
  assert_non_null(at);
  for (size_t i = 0; i < ffb_plan_persistent_count(s->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(s->plan, i);
    GOOD(ffb_tensor_read(s->plan, tensor, at, &error), &error);
    at += ffb_tensor_bytes(tensor);
  }
  return taken;
}

/* Names the first tensor that changed since, or null. */
static inline const char *snapshot_changed(const struct snapshot *taken, struct subject *s) {
  struct snapshot now = snapshot_take(s);
  const char *changed = NULL;
  size_t at = 0;
  assert_int_equal(taken->bytes, now.bytes);
  for (size_t i = 0; !changed && i < ffb_plan_persistent_count(s->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(s->plan, i);
    if (memcmp(taken->data + at, now.data + at, ffb_tensor_bytes(tensor)) != 0)
      changed = tensor->name;
    at += ffb_tensor_bytes(tensor);
  }
  free(now.data);
  return changed;
}

/* Whether tensor `name` holds the same bytes as when the snapshot was taken. */
static inline bool snapshot_kept(const struct snapshot *taken, struct subject *s, const char *name) {
  size_t at = 0;
  for (size_t i = 0; i < ffb_plan_persistent_count(s->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(s->plan, i);
    if (strcmp(tensor->name, name) == 0) {
      void *now = content(s->plan, tensor);
      bool kept = memcmp(taken->data + at, now, ffb_tensor_bytes(tensor)) == 0;
      free(now);
      return kept;
    }
    at += ffb_tensor_bytes(tensor);
  }
  fail_msg("there is no tensor %s", name);
  return false;
}

/* The first persistent tensor in which two trainers differ, or null. */
static inline const char *first_difference(struct subject *a, struct subject *b) {
  assert_int_equal(ffb_plan_persistent_count(a->plan), ffb_plan_persistent_count(b->plan));
  struct snapshot of_b = snapshot_take(b);
  const char *difference = snapshot_changed(&of_b, a);
  free(of_b.data);
  return difference;
}

static inline void assert_same_state(struct subject *a, struct subject *b, const char *what) {
  const char *difference = first_difference(a, b);
  if (difference)
    fail_msg("%s: %s differs", what, difference);
}

/* A further step, of which the trainer says that its output was the first that was not finite. */
static inline void assert_diverges(struct subject *s, const struct records *records, int64_t step, const char *where) {
  struct ffb_error error = {0};
  struct ffb_epoch_statistics statistics;
  bool diverged = false;
  train(s, records, step, 1);
  GOOD(s->trainer->diverged(s->state, &diverged, &error), &error);
  assert_true(diverged);
  GOOD(s->trainer->end_epoch(s->state, &statistics, &error), &error);
  assert_string_equal(statistics.not_finite_where, where);
  assert_int_equal(statistics.not_finite_step, step);
  assert_true(statistics.not_finite > 0);
}

/* What may run in FP32 whatever the trainer: it multiplies no matrices. An operator that is not here has to be counted,
 * so that none escapes a trace because nobody counts its products. */
static const bool multiplies_nothing[FFB_OPERATOR_COUNT] = {
    /* where data come from and go to */
    [FFB_FILL] = true,
    [FFB_COPY] = true,
    [FFB_CONVERT_IMAGES] = true,
    [FFB_OVERLAY_LABELS] = true,
    [FFB_LABEL_PATTERN] = true,
    [FFB_DRAW_NEGATIVES] = true,
    [FFB_NOTE_NOT_FINITE] = true,
    /* to INT8 and back */
    [FFB_SUQ_SCALE] = true,
    [FFB_SUQ_QUANTISE] = true,
    [FFB_SUQ_SEGMENTS] = true,
    [FFB_SUQ_TENSOR] = true,
    [FFB_SUQ_IN_PLACE] = true,
    [FFB_DEQUANTISE] = true,
    [FFB_CLIP_SEARCH] = true,
    [FFB_SEGMENT_SEARCH] = true,
    /* normalisation */
    [FFB_NORMALISE] = true,
    [FFB_NORMALISE_S8] = true,
    [FFB_NORMALISE_GRADIENT] = true,
    [FFB_BATCH_STATISTICS] = true,
    [FFB_BATCH_NORMALISE] = true,
    [FFB_BATCH_NORMALISE_S8] = true,
    [FFB_BATCH_NORMALISE_POOL] = true,
    [FFB_BATCH_NORMALISE_GRADIENT] = true,
    [FFB_BATCH_NORMALISE_GRADIENT_S8] = true,
    [FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8] = true,
    [FFB_BATCH_NORMALISE_POOL_GRADIENT] = true,
    /* element by element, or sums of elements */
    [FFB_ADD_BIAS] = true,
    [FFB_BIAS_GRADIENT] = true,
    [FFB_ACTIVATE] = true,
    [FFB_ACTIVATE_GRADIENT] = true,
    [FFB_MASK_GRADIENT] = true,
    [FFB_ADD_SCALED] = true,
    [FFB_MAX_POOL] = true,
    [FFB_MAX_POOL_GRADIENT] = true,
    [FFB_AVERAGE_POOL] = true,
    [FFB_AVERAGE_POOL_GRADIENT] = true,
    [FFB_SCALE_CHANNELS] = true,
    [FFB_SCALE_CHANNELS_GRADIENT] = true,
    [FFB_DROPOUT] = true,
    /* loss and update */
    [FFB_SOFTMAX_CROSS_ENTROPY] = true,
    [FFB_GOODNESS] = true,
    [FFB_GOODNESS_LOSS] = true,
    [FFB_GOODNESS_GRADIENT] = true,
    [FFB_SGD_UPDATE] = true,
    [FFB_ADAM_UPDATE] = true,
};

/* What one call of a program does, by its shapes. */
static inline struct ffb_operation_count count_call(const struct ffb_program *program, size_t call) {
  const union ffb_arguments *arguments = NULL;
  enum ffb_operator operation = ffb_program_call(program, call, &arguments);
  struct ffb_operation_count count = {0};
  ffb_call_count(operation, arguments, &count);
  if (multiplies_nothing[operation] != (count.mac_f32 + count.mac_s8 == 0) || (count.mac_f32 && count.mac_s8))
    fail_msg("%s: %lld products in FP32, %lld in INT8", ffb_operator_name(operation), (long long)count.mac_f32,
             (long long)count.mac_s8);
  return count;
}

static inline double cosine(const double *a, const double *b, int64_t n) {
  double ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < n; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / sqrt(aa * bb);
}

#define COUNT_OF(list) (sizeof(list) / sizeof *(list))

/* Every mode of every trainer whose products are INT8. */
static const struct recipe int8_recipes[] = {
    {.algorithm = "bp_int8"},
    {.algorithm = "bp_int8", .bias = true, .hidden = "17"},
    {.algorithm = "bp_int8", .hidden = "none", .bias = true},
    {.algorithm = "bp_int8", .options = "update=separate", .bias = true},
    {.algorithm = "bp_int8", .options = "weights=int8", .bias = true},
    {.algorithm = "bp_int8", .options = "weights=int8 update=separate"},
    {.algorithm = "bp_int8", .options = "gradient_rounding=stochastic weight_gradient_rounding=stochastic"},
    {.algorithm = "bp_int8", .options = "quantise_weight_gradient=false weight_decay=0.01"},
    {.algorithm = "bp_int8", .options = "gradient_range=0.05"},
    {.algorithm = "bp_int8", .options = "optimiser=adam learning_rate=0.01", .bias = true},
    {.algorithm = "bp_int8", .options = "optimiser=adam learning_rate=0.01 weights=int8"},
    {.algorithm = "bp_ui8", .options = "search_period=2", .bias = true},
    {.algorithm = "bp_ui8", .options = "search_period=2 alpha=0 update=separate"},
    {.algorithm = "bp_ui8", .options = "search_period=2 weights=int8"},
    {.algorithm = "bp_gdai8", .options = "search_period=2", .bias = true},
    {.algorithm = "bp_gdai8", .options = "search_period=2 segments=2", .bias = true},
    {.algorithm = "bp_gdai8", .options = "search_period=2 segments=2 update=separate", .hidden = "24,20,18"},
    {.algorithm = "bp_gdai8", .options = "search_period=2 segments=2 weights=int8 optimiser=adam"},
    {.algorithm = "ff_int8"},
    {.algorithm = "ff_int8", .options = "preset=paper", .bias = true},
    {.algorithm = "ff_int8", .options = "preset=one_pass", .hidden = "23,17", .bias = true},
    {.algorithm = "ff_int8", .options = "lookahead=off"},
    {.algorithm = "ff_int8", .options = "lambda_step=0.5", .hidden = "24,20,18", .bias = true},
    {.algorithm = "ff_int8", .options = "lookahead=chain lambda_step=0.5", .hidden = "24,20,18", .bias = true},
    {.algorithm = "ff_int8", .options = "preset=paper lookahead=chain lambda_step=0.5"},
    {.algorithm = "ff_int8", .options = "lookahead=chain lambda_step=0.5 normalize=none theta=4"},
    {.algorithm = "ff_int8", .options = "lookahead=chain lambda_step=0.5 weights=int8"},
    {.algorithm = "ff_int8", .options = "schedule=greedy"},
    {.algorithm = "ff_int8", .options = "schedule=greedy negatives=hard inference=all", .hidden = "24,20,18"},
    {.algorithm = "ff_int8", .options = "negatives=hard negatives_drawn=once", .bias = true},
    {.algorithm = "ff_int8", .options = "negatives=hard negatives_drawn=epoch"},
    {.algorithm = "ff_int8", .options = "negatives=hard inference=linear_head weights=int8"},
    {.algorithm = "ff_int8", .options = "negatives_drawn=once inference=last"},
    {.algorithm = "ff_int8", .options = "inference=linear_head", .bias = true},
    {.algorithm = "ff_int8", .options = "weights=int8", .bias = true},
    {.algorithm = "ff_int8", .options = "goodness=mean_squares theta=2 optimiser=adam learning_rate=0.03"},
    {.algorithm = "ff_int8", .options = "normalize=l2 input_rounding=nearest gradient_rounding=nearest"},
    {.algorithm = "ff_int8", .options = "goodness=class_groups lookahead=scalar lambda_step=0.5", .hidden = "23,17"},
    {.algorithm = "ff_int8", .options = "goodness=class_groups schedule=greedy logit_scale=3", .hidden = "33,11"},
    {.algorithm = "ff_int8", .options = "goodness=class_groups weights=int8 normalize=none"},
    {.algorithm = "ff_int8", .hidden = "24"},
    {.algorithm = "ff_int8", .options = "lambda_step=0.5 lookahead_memory=recompute", .hidden = "24,20,18"},
    {.algorithm = "ff_int8",
     .options = "lambda_step=0.5 lookahead_memory=previous_epoch negatives_drawn=once",
     .hidden = "24,20,18"},
    {.algorithm = "ff_int8",
     .options = "goodness=class_groups lookahead=scalar lambda_step=0.5 lookahead_memory=previous_epoch",
     .hidden = "23,17"},
    {.algorithm = "ff_int8", .options = "lookahead=block unit=layer lambda_step=0.5", .hidden = "24,20,18"},
    {.algorithm = "ff_int8", .options = "label=plane", .bias = true},
    {.algorithm = "ff_int8", .options = "label=pattern negatives=hard"},
};

static const struct recipe fp32_recipes[] = {
    {.algorithm = "bp_fp32"},
    {.algorithm = "bp_fp32", .hidden = "none", .bias = true},
    {.algorithm = "bp_fp32", .options = "update=separate weight_decay=0.01", .bias = true, .hidden = "24,20,18"},
    {.algorithm = "bp_fp32", .options = "optimiser=adam learning_rate=0.01", .bias = true},
};

enum { MLP_RECIPES = COUNT_OF(int8_recipes) + COUNT_OF(fp32_recipes) };

static inline bool is_int8_recipe(size_t number) {
  return number < COUNT_OF(int8_recipes);
}

/* All of these, the INT8 ones first. */
static inline const struct recipe *mlp_recipe(size_t number) {
  return is_int8_recipe(number) ? &int8_recipes[number] : &fp32_recipes[number - COUNT_OF(int8_recipes)];
}

/* How a failing case names its recipe. */
static inline const char *recipe_name(const struct recipe *recipe) {
  static char name[512];
  snprintf(name, sizeof name, "%s %s hidden=%s bias=%d", recipe->algorithm, recipe->options ? recipe->options : "",
           recipe->hidden ? recipe->hidden : "24,20", recipe->bias);
  return name;
}

/* Between two trainers' tensors of a name, relative to the first. */
static inline double distance(struct subject *a, struct subject *b, const char *name) {
  float *x = content(a->plan, tensor_named(a->plan, name)), *y = content(b->plan, tensor_named(b->plan, name));
  int64_t n = ffb_elements(tensor_named(a->plan, name));
  double difference = 0, size = 0;
  for (int64_t i = 0; i < n; i++) {
    difference += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    size += (double)x[i] * (double)x[i];
  }
  free(x);
  free(y);
  return sqrt(difference / (size > 0 ? size : 1));
}

#endif
