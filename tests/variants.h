/* One recipe on every backend, with fused forms and compositions, and with memory of its own for each tensor. A test
 * program includes this once: it takes the place of the engine's ffb_plan_create to set the plan's test switches. */
#ifndef FFB_TESTS_VARIANTS_H
#define FFB_TESTS_VARIANTS_H

#include "tests/trainer_cases.h"

#include <dlfcn.h>

static bool plan_poison, plan_unfused;

struct ffb_plan *ffb_plan_create(const struct ffb_backend *backend, struct ffb_device *device,
                                 struct ffb_error *error) {
  struct ffb_plan *(*create)(const struct ffb_backend *, struct ffb_device *, struct ffb_error *);
  *(void **)&create = dlsym(RTLD_NEXT, "ffb_plan_create");
  struct ffb_plan *plan = create(backend, device, error);
  if (plan && plan_poison)
    ffb_plan_poison(plan);
  if (plan && plan_unfused)
    ffb_plan_unfused(plan);
  return plan;
}

struct variant {
  const char *name;
  const struct ffb_backend *backend;
  int threads;
  bool unfused, poison;
};

/* The first is what the others are compared with. */
static const struct variant variants[] = {{"reference", &ffb_backend_reference, 1, false, false},
                                          {"reference, poisoned", &ffb_backend_reference, 1, false, true},
                                          {"cpu", &ffb_backend_cpu, 1, false, false},
                                          {"cpu, two threads", &ffb_backend_cpu, 2, false, false},
                                          {"cpu, compositions", &ffb_backend_cpu, 2, true, false},
                                          {"cpu, poisoned", &ffb_backend_cpu, 1, false, true}};

/* Where the program is linked with the emulator of the CUDA backend's kernels, they take the processor's place. */
static inline const struct ffb_backend *backend_of(const struct variant *variant) {
  const struct ffb_backend *emulated = ffb_backend_find("cuda_emulated");
  return emulated && variant->backend == &ffb_backend_cpu ? emulated : variant->backend;
}

static inline void make_variant(struct subject *s, const struct recipe *recipe, const struct variant *variant) {
  struct recipe changed = *recipe;
  changed.backend = backend_of(variant);
  changed.threads = variant->threads;
  plan_poison = variant->poison;
  plan_unfused = variant->unfused;
  subject_make(s, &changed);
  plan_poison = plan_unfused = false;
}

/* Every variant ends up with the same persistent tensors after `steps` steps, and predicts the same scores for `rows`
 * records from the third on. */
static inline void assert_same_bits(const struct recipe *recipe, const char *name, const struct records *records,
                                    int64_t steps, int64_t rows) {
  size_t bytes = (size_t)(rows * CLASSES) * sizeof(float);
  float *wanted = malloc(bytes), *scores = malloc(bytes);
  struct subject oracle;
  assert_true(wanted && scores);
  make_variant(&oracle, recipe, &variants[0]);
  train(&oracle, records, 0, steps);
  predict(&oracle, records, 2, rows, wanted);
  for (size_t v = 1; v < COUNT_OF(variants); v++) {
    char what[600];
    struct subject s;
    make_variant(&s, recipe, &variants[v]);
    train(&s, records, 0, steps);
    snprintf(what, sizeof what, "%s, %s", name, variants[v].name);
    assert_same_state(&s, &oracle, what);
    predict(&s, records, 2, rows, scores);
    if (memcmp(scores, wanted, bytes) != 0)
      fail_msg("%s: scores differ", what);
    subject_end(&s);
  }
  subject_end(&oracle);
  free(wanted);
  free(scores);
}

#endif
