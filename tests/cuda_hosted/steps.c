/* Trainers on the made-up runtime: what they take and when, what they ask the libraries for, and batches that come
 * ahead of their step. */
#include "backends/cuda/device.h"
#include "harness/run.h"
#include "tests/cuda_hosted/fake_runtime.h"
#include "tests/trainer_cases.h"

#define SMALL .height = 16, .width = 16, .channels = 3, .batch = 4, .records = 10

enum { ONCE = 12, MORE = 24, ROWS = 5, STEPS = 8 };

extern const struct ffb_backend ffbench_backend;

static const struct ffb_backend *const backend = &ffbench_backend;
/* Where the toolkit has no cuDNN, patches serve all convolutions. */
#ifdef FFB_CUDA_CUDNN
static const bool with_cudnn = true;
#else
static const bool with_cudnn = false;
#endif

static struct ffb_error error;
static struct records digits, images;

static void make(struct subject *s, const struct recipe *recipe) {
  struct recipe changed = *recipe;
  changed.backend = backend;
  changed.seed = 3;
  subject_make(s, &changed);
}

static const struct records *records_of(const struct recipe *recipe) {
  return recipe->model ? &images : &digits;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Steps on a whole batch and on the partial one, each with a search and without, and predictions: in their second run
 * they take nothing, nor later. */
static void nothing_is_taken_after_the_first_steps(void **state) {
  (void)state;
  static const struct recipe recipes[] = {
      {.algorithm = "bp_fp32", .bias = true},
      {.algorithm = "bp_ui8", .options = "search_period=4"},
      {.algorithm = "bp_gdai8", .options = "search_period=4 segments=2"},
      {.algorithm = "ff_int8", .options = "lambda_step=0.5"},
      {.algorithm = "ff_int8", .options = "preset=one_pass"},
      {SMALL, .algorithm = "bp_fp32", .model = "resnet18", .model_options = "width=0.0625"},
      {SMALL, .algorithm = "bp_ui8", .model = "mobilenet_v2", .model_options = "width=0.1",
       .options = "search_period=4"},
      {SMALL, .algorithm = "ff_int8", .model = "resnet18", .model_options = "width=0.1875",
       .options = "preset=one_pass"},
  };
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    const struct records *records = records_of(&recipes[i]);
    float scores[ROWS * CLASSES];
    struct subject s;
    make(&s, &recipes[i]);
    train(&s, records, 0, ONCE);
    predict(&s, records, 0, ROWS, scores);
    long taken = fake_cuda.allocations;
    train(&s, records, ONCE, MORE);
    predict(&s, records, 1, ROWS, scores);
    if (fake_cuda.allocations != taken)
      fail_msg("%s: %ld blocks of memory were taken later", recipes[i].algorithm, fake_cuda.allocations - taken);
    subject_end(&s);
    assert_int_equal(fake_cuda.alive, 0);
  }
}

/* Goodness and normalisation of images in groups of channels, for more rows than the scratch memory was made for. */
static void scratch_memory_grows_with_the_rows(void **state) {
  (void)state;
  enum { IMAGES = 24, PIXELS = 3, CHANNELS = 17, GROUPS = 4, LITTLE = 64 };
  static float x[IMAGES * PIXELS * CHANNELS], got[2][IMAGES * PIXELS * CHANNELS], sums_of[2][IMAGES * GROUPS];
  const struct ffb_backend *const backends[] = {&ffb_backend_reference, backend};
  for (int i = 0; i < IMAGES * PIXELS * CHANNELS; i++)
    x[i] = ffb_random_uniform(7, 1, 0, (uint64_t)i) - 0.5f;
  for (int b = 0; b < 2; b++) {
    struct ffb_device *device;
    char message[256] = "";
    assert_true(backends[b]->open(&device, &(struct ffb_device_request){0}, message, sizeof message));
    struct ffb_tensor in = {.type = FFB_F32, .shape = {IMAGES, 1, PIXELS, CHANNELS}}, out = in,
                      goodness = {.type = FFB_F32, .shape = {IMAGES, GROUPS, 1, 1}};
    char *arena = backends[b]->allocate(device, 3 * sizeof x);
    assert_non_null(arena);
    in.data = arena;
    out.data = arena + sizeof x;
    goodness.data = arena + 2 * sizeof x;
    if (b)
      device->scratch_bytes = LITTLE;
    union ffb_arguments sums = {.goodness = {.goodness = &goodness, .y = &in, .groups = GROUPS}};
    union ffb_arguments scaled = {.normalise = {.y = &out, .x = &in, .groups = GROUPS, .kind = FFB_NORMALISE_RMS}};
    assert_true(backends[b]->write(device, arena, x, sizeof x));
    assert_true(backends[b]->operators[FFB_GOODNESS](device, &sums));
    assert_true(backends[b]->operators[FFB_NORMALISE](device, &scaled));
    assert_true(backends[b]->read(device, got[b], out.data, sizeof x));
    assert_true(backends[b]->read(device, sums_of[b], goodness.data, sizeof sums_of[b]));
    assert_true(!b || device->scratch_bytes > LITTLE);
    backends[b]->release(device, arena);
    backends[b]->close(device);
  }
  assert_memory_equal(got[0], got[1], sizeof got[0]);
  assert_memory_equal(sums_of[0], sums_of[1], sizeof sums_of[0]);
  assert_int_equal(fake_cuda.alive, 0);
}

/* ---- batches ahead ----------------------------------------------------------------------------------------------- */

/* A batch's bytes, which are only there until the step that takes them returns. */
struct slot {
  uint8_t images[8 * 4 * 12];
  int32_t labels[8], index[8];
};

static struct ffb_batch fill(struct slot *slot, const struct ffb_batch *from, int64_t image) {
  size_t rows = (size_t)from->rows;
  memcpy(slot->images, from->images, rows * (size_t)image);
  memcpy(slot->labels, from->labels, rows * sizeof *slot->labels);
  memcpy(slot->index, from->index, rows * sizeof *slot->index);
  return (struct ffb_batch){.rows = from->rows, .images = slot->images, .labels = slot->labels, .index = slot->index};
}

static void announce(struct subject *s, const struct ffb_batch *batch, int64_t image) {
  size_t rows = (size_t)batch->rows;
  struct ffb_host_bytes pieces[] = {{batch->images, rows * (size_t)image},
                                    {batch->labels, rows * sizeof *batch->labels},
                                    {batch->index, rows * sizeof *batch->index}};
  GOOD(ffb_plan_announce(s->plan, pieces, COUNT_OF(pieces), &error), &error);
}

/* As the program's loop goes; with `waits` it waits for the device after each step. */
static void train_ahead(struct subject *s, bool waits) {
  static struct slot slots[2];
  for (int64_t step = 0; step < STEPS; step++) {
    struct slot *slot = &slots[step % 2];
    struct ffb_batch here = batch_of_step(s, &digits, step), next = batch_of_step(s, &digits, step + 1), batch;
    batch = fill(slot, &here, digits.image); /* the same bytes, where they were announced */
    GOOD(s->trainer->train_step(s->state, &batch, &error), &error);
    memset(slot, 0xEE, sizeof *slot);
    if ((step + 1) % steps_per_epoch(s) != 0) {
      next = fill(&slots[(step + 1) % 2], &next, digits.image);
      announce(s, &next, digits.image);
    } else {
      struct ffb_epoch_statistics statistics;
      GOOD(s->trainer->end_epoch(s->state, &statistics, &error), &error);
    }
    if (waits)
      GOOD(ffb_plan_synchronise(s->plan, &error), &error);
  }
}

struct facts {
  long long written, announced;
  char fp32[64], not_captured[256];
  bool patches, tf32_convolution;
};

static void note(void *to, const char *name, const char *value) {
  struct facts *facts = to;
  if (strcmp(name, "copied_ahead") == 0)
    sscanf(value, "%lld of %lld", &facts->written, &facts->announced);
  if (strcmp(name, "fp32_kernel") == 0)
    snprintf(facts->fp32, sizeof facts->fp32, "%s", value);
  if (strcmp(name, "not_captured") == 0)
    snprintf(facts->not_captured, sizeof facts->not_captured, "%s", value);
  if (strncmp(name, "fp32 convolution", 16) == 0) {
    facts->patches = facts->patches || strcmp(value, "patches") == 0;
    facts->tf32_convolution = facts->tf32_convolution || strstr(value, "TF32");
  }
}

/* Whichever of the two streams lags behind, as far as it may. */
static void announced_batches_are_those_of_their_step(void **state) {
  (void)state;
  static const struct recipe recipes[] = {{.algorithm = "bp_fp32"},
                                          {.algorithm = "bp_ui8", .options = "search_period=4"},
                                          {.algorithm = "ff_int8", .options = "lambda_step=0.5"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject plain, s;
    struct snapshot wanted;
    make(&plain, &recipes[i]);
    train(&plain, &digits, 0, STEPS);
    wanted = snapshot_take(&plain);
    subject_end(&plain);
    for (int way = 0; way < 8; way++) {
      struct facts facts = {0};
      fake_cuda.put_off = way / 2;
      make(&s, &recipes[i]);
      train_ahead(&s, way % 2);
      const char *changed = snapshot_changed(&wanted, &s);
      if (changed)
        fail_msg("%s, streams put off: %d, %s: %s differs", recipes[i].algorithm, way / 2,
                 way % 2 ? "one step at a time" : "all at once", changed);
      backend->describe(s.device, note, &facts);
      /* Six batches of three pieces; the last is not trained on, and backpropagation has no use for the third piece. */
      assert_int_equal(facts.announced, 18);
      assert_int_equal(facts.written, i == 2 ? 15 : 10);
      subject_end(&s);
      fake_cuda.put_off = 0;
      assert_int_equal(fake_cuda.alive, 0);
    }
    free(wanted.data);
  }
}

/* What was announced and then not written is no batch of a later step. */
static void forgotten_announcements_do_no_harm(void **state) {
  (void)state;
  struct recipe recipe = {.algorithm = "bp_fp32"};
  struct subject plain, s;
  static struct slot slot, other;
  make(&plain, &recipe);
  make(&s, &recipe);
  train(&plain, &digits, 0, 2);
  struct ffb_batch first = batch_of_step(&s, &digits, 0), second = batch_of_step(&s, &digits, 1), batch;
  batch = fill(&slot, &second, digits.image);
  announce(&s, &batch, digits.image);
  batch = fill(&other, &first, digits.image);
  announce(&s, &batch, digits.image);
  GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
  batch = fill(&other, &second, digits.image); /* where the first one was, which has been written */
  GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
  assert_same_state(&s, &plain, "announced twice");
  subject_end(&s);
  subject_end(&plain);
}

/* ---- arithmetic -------------------------------------------------------------------------------------------------- */

static void forget_counts(void) {
  fake_cuda.tf32_products = fake_cuda.f32_products = fake_cuda.tf32_convolutions = fake_cuda.f32_convolutions = 0;
}

static void tf32_is_used_where_it_is_asked_for(void **state) {
  (void)state;
  static const struct recipe recipes[] = {
      {.algorithm = "bp_fp32"}, {SMALL, .algorithm = "bp_fp32", .model = "resnet18", .model_options = "width=0.0625"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject subjects[2];
    for (int tf32 = 0; tf32 < 2; tf32++) {
      struct facts facts = {0};
      struct recipe recipe = recipes[i];
      recipe.tf32 = tf32;
      forget_counts();
      make(&subjects[tf32], &recipe);
      train(&subjects[tf32], records_of(&recipe), 0, 2);
      backend->describe(subjects[tf32].device, note, &facts);
      assert_int_equal(fake_cuda.tf32_products > 0, tf32);
      assert_int_equal(fake_cuda.f32_products > 0, !tf32);
      assert_int_equal(fake_cuda.tf32_convolutions > 0, with_cudnn && tf32 && i);
      assert_int_equal(fake_cuda.f32_convolutions > 0, with_cudnn && !tf32 && i);
      assert_int_equal(facts.tf32_convolution, with_cudnn && tf32 && i);
      assert_string_equal(facts.fp32, tf32 ? "cuBLASLt and cuDNN with TF32" : "cuBLASLt and cuDNN without TF32");
    }
    assert_non_null(first_difference(&subjects[0], &subjects[1]));
    for (int tf32 = 0; tf32 < 2; tf32++)
      subject_end(&subjects[tf32]);
  }
}

/* cuDNN's forecast may not hold: then patches serve the shape, from the first step on. */
static void refused_convolutions_go_by_patches(void **state) {
  (void)state;
  struct recipe recipe = {SMALL, .algorithm = "bp_fp32", .model = "resnet18", .model_options = "width=0.0625"};
  struct subject subjects[2];
  for (int refused = 0; refused < 2; refused++) {
    struct facts facts = {0};
    forget_counts();
    fake_cuda.refuse_convolutions = refused;
    make(&subjects[refused], &recipe);
    train(&subjects[refused], &images, 0, 1);
    backend->describe(subjects[refused].device, note, &facts);
    assert_int_equal(fake_cuda.f32_convolutions > 0, with_cudnn && !refused);
    assert_int_equal(facts.patches, with_cudnn && refused);
    fake_cuda.refuse_convolutions = 0;
  }
  assert_true(distance(&subjects[0], &subjects[1], "conv1.weight") < 1e-4);
  for (int refused = 0; refused < 2; refused++)
    subject_end(&subjects[refused]);
}

/* ---- a whole run ------------------------------------------------------------------------------------------------- */

static json_t *run(const char *algorithm, const char *set, const char *tf32) {
  const char *const fields[][2] = {{"model", "mlp"},
                                   {"algorithm", algorithm},
                                   {"dataset", "synthetic_digits"},
                                   {"backend", "cuda"},
                                   {"epochs", "2"},
                                   {"batch", "16"},
                                   {"synthetic_train", "60"},
                                   {"synthetic_test", "10"},
                                   {"train_limit", "40"},
                                   {"eval_limit", "10"},
                                   {"tf32", tf32}};
  struct run_control control = {.no_record = true, .quiet = true};
  struct run_config config;
  json_t *record = NULL;
  GOOD(run_config_begin(&config, &error), &error);
  for (size_t i = 0; i < COUNT_OF(fields); i++)
    GOOD(ffb_option_set(run_options, &config, "test", fields[i][0], fields[i][1], &error), &error);
  GOOD(run_config_set(&config, "model.hidden=24,20", &error), &error);
  GOOD(!set || run_config_set(&config, set, &error), &error);
  GOOD(run_execute(&config, &control, &record, &error), &error);
  run_config_end(&config);
  return record;
}

static const char *fact(const json_t *record, const char *name) {
  const char *text =
      json_string_value(json_object_get(json_object_get(json_object_get(record, "provenance"), "backend"), name));
  if (!text)
    fail_msg("the record's backend has no %s", name);
  return text;
}

/* Training, evaluation, replayed or not: every INT8 product is one on tensor cores, and an INT8 trainer has no other.
 */
static void records_count_int8_products_on_tensor_cores(void **state) {
  (void)state;
  static const char *const algorithms[][2] = {{"bp_fp32", NULL},
                                              {"bp_int8", NULL},
                                              {"bp_gdai8", "search_period=2"},
                                              {"ff_int8", NULL},
                                              {"ff_int8", "preset=one_pass"}};
  for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
    json_t *record = run(algorithms[i][0], algorithms[i][1], "false");
    long long products = atoll(fact(record, "int8_products")), others = atoll(fact(record, "fp32_products"));
    assert_string_equal(fact(record, "int8_products_on_tensor_cores"), fact(record, "int8_products"));
    assert_string_equal(fact(record, "fp32_products_on_tensor_cores"), "0");
    assert_int_equal(products > 0, i > 0);
    assert_int_equal(others > 0, i == 0);
    /* Two epochs of three batches: all but the first of each were announced. */
    long long written = 0, announced = 0;
    assert_int_equal(sscanf(fact(record, "copied_ahead"), "%lld of %lld", &written, &announced), 2);
    assert_int_equal(announced, 12);
    assert_true(written == 8 || written == 12);
    json_decref(record);
  }
}

static void tf32_stands_in_the_record(void **state) {
  (void)state;
  json_t *record = run("bp_fp32", NULL, "true");
  assert_string_equal(fact(record, "fp32_kernel"), "cuBLASLt and cuDNN with TF32");
  assert_string_equal(fact(record, "fp32_products_on_tensor_cores"), fact(record, "fp32_products"));
  assert_true(json_is_true(json_object_get(json_object_get(record, "config"), "tf32")));
  assert_non_null(strstr(json_string_value(json_object_get(record, "command")), " --tf32=true"));
  json_decref(record);
}

static int make_records(void **state) {
  (void)state;
  records_make(&digits, 21 + ROWS, 4 * 12);
  records_make(&images, 10 + ROWS, 16 * 16 * 3);
  return 0;
}

static int free_records(void **state) {
  (void)state;
  records_free(&digits);
  records_free(&images);
  return 0;
}

int main(void) {
  const struct CMUnitTest cases[] = {
      cmocka_unit_test(nothing_is_taken_after_the_first_steps),
      cmocka_unit_test(scratch_memory_grows_with_the_rows),
      cmocka_unit_test(announced_batches_are_those_of_their_step),
      cmocka_unit_test(forgotten_announcements_do_no_harm),
      cmocka_unit_test(tf32_is_used_where_it_is_asked_for),
      cmocka_unit_test(refused_convolutions_go_by_patches),
      cmocka_unit_test(records_count_int8_products_on_tensor_cores),
      cmocka_unit_test(tf32_stands_in_the_record),
  };
  return cmocka_run_group_tests(cases, make_records, free_records);
}
