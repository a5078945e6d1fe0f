/* Programs that a backend captures: recorded in their second run, replayed from then on, with the same results as calls
 * made one by one, and without anything that would stop a device from running ahead of the host.
 *
 * The recording backend computes as the reference does. Between capture_begin and capture_end it keeps the calls in
 * place of making them, which is what a device's graph does. */
#include "tests/trainer_cases.h"

enum { MOST_CALLS = 2048, STEPS = 7, LONG = 48, ROWS = 6 };

struct recorded {
  enum ffb_operator operation;
  union ffb_arguments arguments;
};

struct recording {
  size_t count;
  struct recorded calls[MOST_CALLS];
};

static struct {
  bool capturing, refuse_begin, refuse_end, refuse_replay;
  enum ffb_operator refuse_call; /* while capturing; FFB_OPERATOR_COUNT: none */
  struct recording *now;
  int begun, captured, replayed, forgotten, interrupted, direct;
} capture;

static bool call_through(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments) {
  if (!capture.capturing) {
    capture.direct++;
    return ffb_backend_reference.operators[operation](device, arguments);
  }
  if (operation == capture.refuse_call)
    return false;
  assert_true(capture.now->count < MOST_CALLS);
  capture.now->calls[capture.now->count++] = (struct recorded){operation, *arguments};
  return true;
}

#define RECORDING(NAME, name, optional)                                                                                \
  static bool recording_##name(struct ffb_device *device, const union ffb_arguments *arguments) {                      \
    return call_through(device, FFB_##NAME, arguments);                                                                \
  }
FFB_OPERATORS(RECORDING)
#undef RECORDING

static bool begin(struct ffb_device *device) {
  (void)device;
  capture.begun++;
  if (capture.refuse_begin)
    return false;
  assert_false(capture.capturing);
  capture.now = calloc(1, sizeof *capture.now);
  assert_non_null(capture.now);
  capture.capturing = true;
  return true;
}

static void *end(struct ffb_device *device, bool keep) {
  (void)device;
  assert_true(capture.capturing);
  capture.capturing = false;
  if (!keep || capture.refuse_end) {
    free(capture.now);
    return NULL;
  }
  capture.captured++;
  return capture.now;
}

static bool replay(struct ffb_device *device, void *captured) {
  const struct recording *recording = captured;
  assert_false(capture.capturing);
  capture.replayed++;
  for (size_t i = 0; i < recording->count; i++)
    if (!ffb_backend_reference.operators[recording->calls[i].operation](device, &recording->calls[i].arguments))
      return false;
  return !capture.refuse_replay;
}

static void forget(struct ffb_device *device, void *captured) {
  (void)device;
  capture.forgotten++;
  free(captured);
}

static bool write(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  capture.interrupted += capture.capturing;
  return ffb_backend_reference.write(device, to, from, bytes);
}

static bool read(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  capture.interrupted += capture.capturing;
  return ffb_backend_reference.read(device, to, from, bytes);
}

static bool synchronise(struct ffb_device *device) {
  capture.interrupted += capture.capturing;
  return ffb_backend_reference.synchronise(device);
}

static const char *failure(struct ffb_device *device) {
  (void)device;
  return "told to fail";
}

static const struct ffb_backend *recording_backend(void) {
  static struct ffb_backend backend;
  static bool (*const operators[FFB_OPERATOR_COUNT])(struct ffb_device *, const union ffb_arguments *) = {
#define ENTRY(NAME, name, optional) [FFB_##NAME] = recording_##name,
      FFB_OPERATORS(ENTRY)
#undef ENTRY
  };
  backend = ffb_backend_reference;
  backend.name = "recording";
  backend.write = write;
  backend.read = read;
  backend.synchronise = synchronise;
  backend.failure = failure;
  backend.capture_begin = begin;
  backend.capture_end = end;
  backend.replay = replay;
  backend.forget = forget;
  for (int i = 0; i < FFB_OPERATOR_COUNT; i++)
    backend.operators[i] = ffb_backend_reference.operators[i] ? operators[i] : NULL;
  memset(&capture, 0, sizeof capture);
  capture.refuse_call = FFB_OPERATOR_COUNT;
  return &backend;
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static const char *const algorithms[] = {"bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
static const int64_t epochs_of_records = 21; /* two batches of 8 and one of 5 */

static void run(struct subject *s, const struct recipe *recipe, const struct records *records, float *scores) {
  subject_make(s, recipe);
  train(s, records, 0, STEPS);
  for (int i = 0; i < 3; i++)
    predict(s, records, i, ROWS, scores);
}

/* The same training and prediction by the reference. */
static void assert_as_reference(struct subject *s, const struct recipe *recipe, const struct records *records,
                                const float *scores) {
  struct recipe plain = *recipe;
  static float wanted[ROWS * CLASSES];
  struct subject oracle;
  plain.backend = &ffb_backend_reference;
  run(&oracle, &plain, records, wanted);
  assert_same_state(s, &oracle, recipe->algorithm);
  assert_memory_equal(scores, wanted, sizeof wanted);
  subject_end(&oracle);
}

static int programs_of(const struct subject *s) {
  return (int)ffb_plan_program_count(s->plan);
}

static void program_is_captured_once_and_replayed(void **state) {
  const struct records *records = *state;
  static float scores[ROWS * CLASSES];
  for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
    bool searches = strcmp(algorithms[i], "bp_ui8") == 0 || strcmp(algorithms[i], "bp_gdai8") == 0;
    struct recipe recipe = {.algorithm = algorithms[i],
                            .options = searches ? "search_period=4" : NULL,
                            .seed = 5,
                            .records = epochs_of_records,
                            .backend = recording_backend()};
    struct subject s;
    run(&s, &recipe, records, scores);
    assert_true(capture.captured >= 2 && capture.captured <= programs_of(&s));
    assert_int_equal(capture.begun, capture.captured);
    assert_true(capture.replayed > capture.captured);
    assert_int_equal(capture.interrupted, 0);
    assert_as_reference(&s, &recipe, records, scores);
    /* A search, in a whole batch or in the partial one, has a program of its own; then nothing is new. */
    train(&s, records, STEPS, LONG);
    int direct = capture.direct, captured = capture.captured, replayed = capture.replayed;
    train(&s, records, STEPS + LONG, LONG);
    assert_int_equal(capture.direct, direct);
    assert_int_equal(capture.captured, captured);
    assert_int_equal(capture.replayed, replayed + LONG);
    subject_end(&s);
    assert_int_equal(capture.forgotten, captured);
  }
}

/* A device that begins no capture, one that cannot keep what was captured, and an operator that cannot be captured. */
static void refused_capture_changes_nothing(void **state) {
  const struct records *records = *state;
  static float scores[ROWS * CLASSES];
  for (int way = 0; way < 3; way++) {
    struct recipe recipe = {.algorithm = "ff_int8", .seed = 6, .records = epochs_of_records};
    struct subject s;
    recipe.backend = recording_backend();
    capture.refuse_begin = way == 0;
    capture.refuse_end = way == 1;
    capture.refuse_call = way == 2 ? FFB_SUQ_QUANTISE : FFB_OPERATOR_COUNT;
    run(&s, &recipe, records, scores);
    assert_true(capture.begun >= 3 && capture.begun <= programs_of(&s)); /* it is tried once */
    if (way < 2)
      assert_int_equal(capture.replayed, 0);
    assert_false(capture.capturing);
    assert_as_reference(&s, &recipe, records, scores);
    subject_end(&s);
    assert_int_equal(capture.forgotten, capture.captured);
  }
}

static void note_call(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  (void)program, (void)call, (void)operation;
  ++*(int *)to;
}

static void observer_sees_every_call(void **state) {
  const struct records *records = *state;
  int seen = 0;
  struct recipe recipe = {.algorithm = "bp_int8", .seed = 7, .records = 16, .backend = recording_backend()};
  struct subject s;
  subject_make(&s, &recipe);
  train(&s, records, 0, 3);
  assert_true(capture.replayed > 0);
  int replayed = capture.replayed, direct = capture.direct;
  ffb_plan_observe(s.plan, note_call, &seen);
  train(&s, records, 3, 2);
  assert_int_equal(capture.replayed, replayed);
  assert_true(seen > 0);
  assert_int_equal(capture.direct, direct + seen);
  subject_end(&s);
}

static void failing_replay_is_reported(void **state) {
  const struct records *records = *state;
  struct ffb_error error = {0};
  struct recipe recipe = {.algorithm = "bp_fp32", .seed = 8, .records = 16, .backend = recording_backend()};
  struct subject s;
  subject_make(&s, &recipe);
  train(&s, records, 0, 3);
  capture.refuse_replay = true;
  struct ffb_batch batch = batch_of(records, 0, 8);
  assert_false(s.trainer->train_step(s.state, &batch, &error));
  assert_mentions(&error, "backend recording: program ");
  assert_mentions(&error, "told to fail");
  subject_end(&s);
}

/* A first run that fails does not count: the next is direct again. */
static void program_that_never_ran_is_not_captured(void **state) {
  const struct records *records = *state;
  struct recipe recipe = {.algorithm = "bp_fp32", .seed = 9, .records = 16, .backend = recording_backend()};
  struct subject s;
  subject_make(&s, &recipe);
  int begun = capture.begun;
  train(&s, records, 0, 1);
  assert_int_equal(capture.begun, begun);
  train(&s, records, 1, 1);
  assert_int_equal(capture.begun, begun + 1);
  subject_end(&s);
}

static int make_records(void **state) {
  static struct records records;
  records_make(&records, epochs_of_records + 3, 4 * 12);
  *state = &records;
  return 0;
}

static int free_records(void **state) {
  records_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest cases[] = {
      cmocka_unit_test(program_is_captured_once_and_replayed),
      cmocka_unit_test(refused_capture_changes_nothing),
      cmocka_unit_test(observer_sees_every_call),
      cmocka_unit_test(failing_replay_is_reported),
      cmocka_unit_test(program_that_never_ran_is_not_captured),
  };
  return cmocka_run_group_tests(cases, make_records, free_records);
}
