/* Helpers for cases that run an operator on two devices and compare what comes out.
 *
 * A scene holds operands: tensors with the content that they have before the operator runs. side_begin copies all of
 * them into one arena on a device, call() runs operators there, side_end keeps what they hold afterwards. Outputs start
 * as garbage (bytes 0xFF: a NaN, -1), and guard bytes behind every operand tell when something wrote too far. */
#ifndef FFB_TESTS_BACKEND_CASES_H
#define FFB_TESTS_BACKEND_CASES_H

#include "backends/backend.h"
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum side { ORACLE, SUBJECT, SIDES };
enum { MOST_OPERANDS = 32, ALIGNMENT = 64, GUARD_BYTES = 64, GUARD = 0xA5, GARBAGE = 0xFF };

struct operand {
  struct ffb_tensor tensor; /* first, so that a tensor leads to its operand */
  size_t offset, bytes;
  void *before, *after[SIDES];
};

struct scene {
  const struct ffb_backend *backends[SIDES];
  struct ffb_device *devices[SIDES];
  struct operand operands[MOST_OPERANDS];
  size_t count, bytes;
  bool misaligned; /* operands made from now on start one element behind an aligned address */
  char *arena;     /* of the side that is running */
  enum side side;
};

static inline struct operand *operand_of(const struct ffb_tensor *tensor) {
  return (struct operand *)tensor;
}

/* ---- operands ----------------------------------------------------------------------------------------------- */

static inline struct ffb_tensor *image_operand(struct scene *scene, enum ffb_type type, int64_t n, int64_t h, int64_t w,
                                               int64_t c) {
  if (scene->count == MOST_OPERANDS)
    fail_msg("more than %d operands in a case", MOST_OPERANDS);
  struct operand *operand = &scene->operands[scene->count];
  *operand = (struct operand){.tensor = {.type = type, .shape = {n, h, w, c}, .name = "operand"}};
  operand->tensor.id = (int)scene->count++;
  operand->bytes = (size_t)ffb_elements(&operand->tensor) * ffb_type_bytes(type);
  operand->offset = scene->bytes + (scene->misaligned ? ffb_type_bytes(type) : 0);
  scene->bytes = (operand->offset + operand->bytes + GUARD_BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  operand->before = malloc(operand->bytes + 1);
  assert_non_null(operand->before);
  memset(operand->before, GARBAGE, operand->bytes);
  return &operand->tensor;
}

static inline struct ffb_tensor *operand(struct scene *scene, enum ffb_type type, int64_t rows, int64_t columns) {
  return image_operand(scene, type, rows, columns, 1, 1);
}

/* Content before the run. */
static inline float *f32(struct ffb_tensor *tensor) {
  return operand_of(tensor)->before;
}
static inline int8_t *s8(struct ffb_tensor *tensor) {
  return operand_of(tensor)->before;
}
static inline int32_t *s32(struct ffb_tensor *tensor) {
  return operand_of(tensor)->before;
}
static inline uint32_t *u32(struct ffb_tensor *tensor) {
  return operand_of(tensor)->before;
}
static inline double *f64(struct ffb_tensor *tensor) {
  return operand_of(tensor)->before;
}

/* Content after the run. */
static inline const void *after(const struct ffb_tensor *tensor, enum side side) {
  return operand_of(tensor)->after[side];
}
static inline const float *f32_after(const struct ffb_tensor *tensor) {
  return after(tensor, SUBJECT);
}
static inline const int8_t *s8_after(const struct ffb_tensor *tensor) {
  return after(tensor, SUBJECT);
}
static inline const int32_t *s32_after(const struct ffb_tensor *tensor) {
  return after(tensor, SUBJECT);
}
static inline const double *f64_after(const struct ffb_tensor *tensor) {
  return after(tensor, SUBJECT);
}

/* Uniform in [-1, 1), a function of seed and index. */
static inline float noise(uint64_t seed, int64_t index) {
  return 2 * ffb_random_uniform(seed, 1, 2, (uint64_t)index) - 1;
}
/* Roughly normal with deviation 1. */
static inline double normal(uint64_t seed, int64_t index) {
  double u = (double)ffb_random_uniform(seed, 3, 4, (uint64_t)index) + 1e-9;
  double v = (double)ffb_random_uniform(seed, 5, 6, (uint64_t)index);
  return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static inline struct ffb_tensor *random_image(struct scene *scene, int64_t n, int64_t h, int64_t w, int64_t c,
                                              uint64_t seed) {
  struct ffb_tensor *tensor = image_operand(scene, FFB_F32, n, h, w, c);
  for (int64_t i = 0; i < ffb_elements(tensor); i++)
    f32(tensor)[i] = noise(seed, i);
  return tensor;
}

static inline struct ffb_tensor *random_image_s8(struct scene *scene, int64_t n, int64_t h, int64_t w, int64_t c,
                                                 uint64_t seed) {
  struct ffb_tensor *tensor = image_operand(scene, FFB_S8, n, h, w, c);
  for (int64_t i = 0; i < ffb_elements(tensor); i++)
    s8(tensor)[i] = (int8_t)((int)ffb_random_below(seed, 1, 2, (uint64_t)i, 255) - 127);
  return tensor;
}

static inline struct ffb_tensor *random_f32(struct scene *scene, int64_t rows, int64_t columns, uint64_t seed) {
  return random_image(scene, rows, columns, 1, 1, seed);
}

static inline struct ffb_tensor *random_s8(struct scene *scene, int64_t rows, int64_t columns, uint64_t seed) {
  return random_image_s8(scene, rows, columns, 1, 1, seed);
}

enum content { RANDOM, ALL_127, ALL_MINUS_127, MIXED_SIGNS, CONTENTS };

static inline void set_content(struct ffb_tensor *tensor, enum content content, int phase) {
  for (int64_t i = 0; content != RANDOM && i < ffb_elements(tensor); i++)
    s8(tensor)[i] = content == ALL_127 ? 127 : content == ALL_MINUS_127 || (i + phase) % 2 ? -127 : 127;
}

static inline struct ffb_tensor *scalar_f32(struct scene *scene, float value) {
  struct ffb_tensor *tensor = operand(scene, FFB_F32, 1, 1);
  f32(tensor)[0] = value;
  return tensor;
}

static inline struct ffb_tensor *scalar_u32(struct scene *scene, uint32_t value) {
  struct ffb_tensor *tensor = operand(scene, FFB_U32, 1, 1);
  u32(tensor)[0] = value;
  return tensor;
}

static inline struct ffb_tensor *zeroed(struct ffb_tensor *tensor) {
  memset(operand_of(tensor)->before, 0, operand_of(tensor)->bytes);
  return tensor;
}

/* ---- runs --------------------------------------------------------------------------------------------------- */

static inline void release_arena(struct scene *scene) {
  if (scene->arena)
    scene->backends[scene->side]->release(scene->devices[scene->side], scene->arena);
  scene->arena = NULL;
}

/* Forget the operands. */
static inline void scene_clear(struct scene *scene) {
  release_arena(scene);
  for (size_t i = 0; i < scene->count; i++) {
    free(scene->operands[i].before);
    for (int side = 0; side < SIDES; side++)
      free(scene->operands[i].after[side]);
  }
  scene->count = scene->bytes = 0;
}

static inline void side_begin(struct scene *scene, enum side side) {
  const struct ffb_backend *backend = scene->backends[side];
  struct ffb_device *device = scene->devices[side];
  unsigned char guard[GUARD_BYTES];
  memset(guard, GUARD, sizeof guard);
  scene->side = side;
  scene->arena = backend->allocate(device, scene->bytes);
  assert_non_null(scene->arena);
  assert_int_equal((uintptr_t)scene->arena % ALIGNMENT, 0);
  for (size_t i = 0; i < scene->count; i++) {
    struct operand *operand = &scene->operands[i];
    operand->tensor.data = scene->arena + operand->offset;
    assert_true(backend->write(device, operand->tensor.data, operand->before, operand->bytes));
    assert_true(backend->write(device, scene->arena + operand->offset + operand->bytes, guard, sizeof guard));
  }
}

static inline void side_end(struct scene *scene) {
  const struct ffb_backend *backend = scene->backends[scene->side];
  struct ffb_device *device = scene->devices[scene->side];
  assert_true(backend->synchronise(device));
  for (size_t i = 0; i < scene->count; i++) {
    struct operand *operand = &scene->operands[i];
    unsigned char guard[GUARD_BYTES];
    free(operand->after[scene->side]);
    operand->after[scene->side] = malloc(operand->bytes + 1);
    assert_non_null(operand->after[scene->side]);
    assert_true(backend->read(device, operand->after[scene->side], operand->tensor.data, operand->bytes));
    assert_true(backend->read(device, guard, scene->arena + operand->offset + operand->bytes, sizeof guard));
    for (int b = 0; b < GUARD_BYTES; b++) {
      if (guard[b] != GUARD)
        fail_msg("operand %zu: byte %d behind its end was overwritten", i, b);
    }
  }
  release_arena(scene);
}

static inline void call_operator(struct scene *scene, enum ffb_operator operation,
                                 const union ffb_arguments *arguments) {
  const struct ffb_backend *backend = scene->backends[scene->side];
  struct ffb_device *device = scene->devices[scene->side];
  if (!backend->operators[operation])
    fail_msg("%s does not fill %s", backend->name, ffb_operator_name(operation));
  if (!backend->operators[operation](device, arguments))
    fail_msg("%s %s failed: %s", backend->name, ffb_operator_name(operation), backend->failure(device));
}

static inline void run_side(struct scene *scene, enum side side, enum ffb_operator operation,
                            const union ffb_arguments *arguments) {
  side_begin(scene, side);
  call_operator(scene, operation, arguments);
  side_end(scene);
}

static inline void run_both(struct scene *scene, enum ffb_operator operation, const union ffb_arguments *arguments) {
  run_side(scene, ORACLE, operation, arguments);
  run_side(scene, SUBJECT, operation, arguments);
}

#define ARGUMENTS(name, ...)                (&(union ffb_arguments){.name = {__VA_ARGS__}})
#define CALL(scene, NAME, name, ...)        call_operator(scene, FFB_##NAME, ARGUMENTS(name, __VA_ARGS__))
#define RUN_BOTH(scene, NAME, name, ...)    run_both(scene, FFB_##NAME, ARGUMENTS(name, __VA_ARGS__))
#define RUN_SUBJECT(scene, NAME, name, ...) run_side(scene, SUBJECT, FFB_##NAME, ARGUMENTS(name, __VA_ARGS__))

/* Gives the call the scratch space that the subject asks for; the answer depends on shapes only. */
static inline void give_workspace(struct scene *scene, enum ffb_operator operation, union ffb_arguments *arguments,
                                  struct ffb_tensor **workspace) {
  const struct ffb_backend *backend = scene->backends[SUBJECT];
  size_t bytes = backend->workspace ? backend->workspace(scene->devices[SUBJECT], operation, arguments) : 0;
  bool misaligned = scene->misaligned;
  scene->misaligned = false;
  if (bytes)
    *workspace = operand(scene, FFB_U8, (int64_t)bytes, 1);
  scene->misaligned = misaligned;
}

/* ---- comparisons -------------------------------------------------------------------------------------------- */

/* Same bytes on both sides; for FP32 NaNs are equal and so are the two zeros. */
static inline void assert_same(const struct ffb_tensor *tensor, const char *what) {
  const char *a = after(tensor, ORACLE), *b = after(tensor, SUBJECT);
  size_t size = ffb_type_bytes(tensor->type);
  for (int64_t i = 0; i < ffb_elements(tensor); i++) {
    size_t at = (size_t)i * size;
    if (!memcmp(a + at, b + at, size))
      continue;
    if (tensor->type == FFB_F32) {
      float x = ((const float *)a)[i], y = ((const float *)b)[i];
      if ((isnan(x) && isnan(y)) || x == y)
        continue;
      fail_msg("%s: element %lld is %.9g, want %.9g", what, (long long)i, (double)y, (double)x);
    }
    fail_msg("%s: element %lld differs (first bytes %d and %d)", what, (long long)i, b[at], a[at]);
  }
}

static inline void assert_near(double value, double wanted, double tolerance, const char *what, int64_t index) {
  if (!(fabs(value - wanted) <= tolerance))
    fail_msg("%s: element %lld is %.9g, want %.9g within %.3g", what, (long long)index, value, wanted, tolerance);
}

/* Both sides within tolerance[i] (times factor), or within factor alone where there is no tolerance. */
static inline void assert_both_near(const struct ffb_tensor *tensor, const double *tolerance, double factor,
                                    const char *what) {
  const float *a = after(tensor, ORACLE), *b = after(tensor, SUBJECT);
  for (int64_t i = 0; i < ffb_elements(tensor); i++)
    assert_near((double)b[i], (double)a[i], tolerance ? factor * tolerance[i] + 1e-30 : factor, what, i);
}

/* ---- update rules ------------------------------------------------------------------------------------------- */

/* Every state that a rule can have. */
struct rule_case {
  bool adam, momentum, multiplier;
};

static inline struct ffb_update_rule make_rule(struct scene *scene, const struct rule_case *c,
                                               const int64_t shape[FFB_DIMENSIONS]) {
  const int64_t *s = shape;
  struct ffb_tensor *w = random_image(scene, s[0], s[1], s[2], s[3], 71), *rate = scalar_f32(scene, 0.037f);
  struct ffb_tensor *multiplier = c->multiplier ? scalar_f32(scene, 0.61f) : NULL;
  struct ffb_tensor *first = c->adam || c->momentum ? random_image(scene, s[0], s[1], s[2], s[3], 72) : NULL;
  struct ffb_update_rule rule = {.kind = c->adam ? FFB_RULE_ADAM : FFB_RULE_SGD};
  if (!c->adam) {
    rule.sgd = (struct ffb_sgd){.weights = w,
                                .momentum = first,
                                .learning_rate = rate,
                                .multiplier = multiplier,
                                .momentum_factor = 0.9f,
                                .weight_decay = 3e-4f};
    return rule;
  }
  struct ffb_tensor *second = random_image(scene, s[0], s[1], s[2], s[3], 73);
  struct ffb_tensor *corrections = operand(scene, FFB_F32, 2, 1);
  for (int64_t i = 0; i < ffb_elements(second); i++)
    f32(second)[i] = 0.5f + f32(second)[i] * f32(second)[i];
  f32(corrections)[0] = 1 / (1 - 0.9f * 0.9f);
  f32(corrections)[1] = 1 / (1 - 0.999f * 0.999f);
  rule.adam = (struct ffb_adam){.weights = w,
                                .first = first,
                                .second = second,
                                .learning_rate = rate,
                                .multiplier = multiplier,
                                .corrections = corrections,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .epsilon = 1e-8f,
                                .weight_decay = 3e-4f};
  return rule;
}

static inline void call_update(struct scene *scene, const struct ffb_update_rule *rule, struct ffb_tensor *gradient) {
  if (rule->kind == FFB_RULE_ADAM)
    CALL(scene, ADAM_UPDATE, adam_update, .rule = rule->adam, .gradient = gradient);
  else
    CALL(scene, SGD_UPDATE, sgd_update, .rule = rule->sgd, .gradient = gradient);
}

static inline struct ffb_tensor *rule_weights(const struct ffb_update_rule *rule) {
  return rule->kind == FFB_RULE_ADAM ? rule->adam.weights : rule->sgd.weights;
}

static inline void assert_same_rule(const struct ffb_update_rule *rule, const char *what) {
  assert_same(rule_weights(rule), what);
  if (rule->kind == FFB_RULE_ADAM) {
    assert_same(rule->adam.first, what);
    assert_same(rule->adam.second, what);
  } else if (rule->sgd.momentum) {
    assert_same(rule->sgd.momentum, what);
  }
}

static const struct rule_case rule_cases[] = {
    {false, false, false}, {false, true, false}, {false, true, true}, {true, false, false}, {true, false, true}};
enum { RULES = sizeof rule_cases / sizeof *rule_cases };

/* How an update treats the weight gradient of INT8 operands. */
enum gradient_form { EXACT, NEAREST, STOCHASTIC, GRADIENT_FORMS };

/* ---- the program: the cases on every backend ---------------------------------------------------------------- */

static const struct ffb_backend *subject;
static struct ffb_device *oracle_device, *subject_device;

static inline void need_slot(enum ffb_operator operation) {
  if (!subject->operators[operation]) {
    print_message("# %s does not fill the optional slot %s\n", subject->name, ffb_operator_name(operation));
    skip();
  }
}

static inline struct ffb_device *open_device(const struct ffb_backend *backend, int threads) {
  struct ffb_device *device = NULL;
  char message[256] = "";
  if (!backend->open(&device, &(struct ffb_device_request){.threads = threads}, message, sizeof message))
    fail_msg("%s: %s", backend->name, message);
  return device;
}

static inline int start_scene(void **state) {
  static struct scene scene;
  scene_clear(&scene); /* what a failed case left */
  scene.backends[ORACLE] = &ffb_backend_reference;
  scene.backends[SUBJECT] = subject;
  scene.devices[ORACLE] = oracle_device;
  scene.devices[SUBJECT] = subject_device;
  scene.misaligned = false;
  *state = &scene;
  return 0;
}

static inline int end_scene(void **state) {
  scene_clear(*state);
  return 0;
}

static inline void say(void *to, const char *name, const char *value) {
  print_message("# %s %s: %s\n", (const char *)to, name, value);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, start_scene, end_scene)

typedef int run_cases_function(const char *title);

/* What automake and others take for "skipped": neither passed nor failed. */
enum { SKIPPED_STATUS = 77 };
static bool skipped;

/* Counted by scripts/run-tests as skipped. */
static inline void skip_backend(const char *name, const char *why) {
  print_message("ok - backend %s # SKIP %s\n", name, why);
  skipped = true;
}

/* Opens one backend and runs every case on it. One whose device is not there is skipped. */
static inline int test_backend(const struct ffb_backend *backend, int threads, run_cases_function *run_cases) {
  char message[512] = "", title[64];
  subject = backend;
  if (backend->available && !backend->available(message, sizeof message)) {
    skip_backend(backend->name, message);
    return 0;
  }
  if (!backend->open(&subject_device, &(struct ffb_device_request){.threads = threads}, message, sizeof message)) {
    print_error("not ok - backend %s: %s\n", backend->name, message);
    return 1;
  }
  backend->describe(subject_device, say, (void *)backend->name);
  snprintf(title, sizeof title, threads ? "%s, threads: %d" : "%s", backend->name, threads);
  int failed = run_cases(title);
  backend->close(subject_device);
  return failed;
}

/* With each number of threads; only the cpu has more than one. */
static inline int test_with_threads(const struct ffb_backend *backend, const int *threads, int thread_counts,
                                    run_cases_function *run_cases) {
  int failed = 0;
  for (int t = 0; t < thread_counts && (t == 0 || backend == &ffb_backend_cpu); t++)
    failed += test_backend(backend, threads[t], run_cases);
  return failed;
}

/* main() of a program `test_... [name...]`: the cases on each backend that there is (or that is named). Ends with
 * SKIPPED_STATUS where a named one could not be tested and nothing failed. */
static inline int test_every_backend(int count, char **names, const int *threads, int thread_counts,
                                     run_cases_function *run_cases) {
  char message[256] = "";
  int failed = 0;
  if (!ffb_backend_reference.open(&oracle_device, &(struct ffb_device_request){0}, message, sizeof message)) {
    print_error("%s\n", message);
    return 1;
  }
  for (int i = 1; i < count; i++) {
    const struct ffb_backend *backend = ffb_backend_find(names[i]);
    if (backend) {
      failed += test_with_threads(backend, threads, thread_counts, run_cases);
    } else if (ffb_backend_problem(names[i])) {
      skip_backend(names[i], ffb_backend_problem(names[i]));
    } else {
      print_error("%s: there is no backend of that name\n", names[i]);
      failed++;
    }
  }
  for (size_t i = 0; count < 2 && ffb_backend_at(i); i++)
    failed += test_with_threads(ffb_backend_at(i), threads, thread_counts, run_cases);
  for (size_t i = 0; count < 2 && ffb_backend_loadable(i); i++)
    if (ffb_backend_problem(ffb_backend_loadable(i)))
      skip_backend(ffb_backend_loadable(i), ffb_backend_problem(ffb_backend_loadable(i)));
  ffb_backend_reference.close(oracle_device);
  return failed ? 1 : skipped && count > 1 ? SKIPPED_STATUS : 0;
}

#endif
