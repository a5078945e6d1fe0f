/* The memory plan: lifetimes, the planned peak against an observed one, refused programs, failures that leak nothing.
 *
 * Most cases run on a watching backend: it forwards to a real one, paints the arena before the first call, and knows
 * afterwards which bytes each operator changed and how many were alive at once. */
#include "tests/trainer_cases.h"

#include "nn/operands.h"
#include "nn/safetensors.h"

#include <dlfcn.h>

/* ---- allocations that are alive --------------------------------------------------------------------------------- */

static long alive; /* blocks from base/memory.h that were not freed yet */

/* These take the place of the engine's own, so that every block is counted. */
static void *next_symbol(const char *name) {
  void *symbol = dlsym(RTLD_NEXT, name);
  if (!symbol)
    abort();
  return symbol;
}

void *ffb_allocate(size_t count, size_t size, struct ffb_error *error) {
  void *(*allocate)(size_t, size_t, struct ffb_error *);
  *(void **)&allocate = next_symbol("ffb_allocate");
  void *block = allocate(count, size, error);
  alive += block != NULL;
  return block;
}

void *ffb_reallocate(void *pointer, size_t count, size_t size, struct ffb_error *error) {
  void *(*reallocate)(void *, size_t, size_t, struct ffb_error *);
  *(void **)&reallocate = next_symbol("ffb_reallocate");
  void *block = reallocate(pointer, count, size, error);
  alive += block != NULL && pointer == NULL;
  return block;
}

void ffb_free(void *pointer) {
  void (*release)(void *);
  *(void **)&release = next_symbol("ffb_free");
  alive -= pointer != NULL;
  release(pointer);
}

/* ---- the watching backend --------------------------------------------------------------------------------------- */

enum { CANARY = 0xC7, GUARD_BYTES = 4096, NO_CALL = -1 };

static struct {
  const struct ffb_backend *base;
  unsigned char *arena, *shadow; /* shadow: what the arena held after the last operator or transfer */
  size_t bytes;
  int arenas_taken, arenas_alive;
  char *changed;        /* bytes that something was seen to change */
  char *persistent;     /* bytes that are not the transient region's */
  int32_t *born, *used; /* calls between which a byte is alive; NO_CALL */
  long *change_of_live; /* by call: bytes that come alive then, less those that died before */
  int32_t call, calls;  /* of the step being traced */
  size_t observed_peak; /* of all traced steps */
  const char *stray;    /* an operator that changed something other than what it writes */
  bool refuse_arena;
  long fail_in;     /* the n-th call of an operator or transfer from now fails; 0: none */
  size_t workspace; /* what each product asks for */
} watch;

static bool must_fail(void) {
  return watch.fail_in > 0 && --watch.fail_in == 0;
}

/* Operand ranges in the arena. */
static size_t offset_of(const struct ffb_tensor *tensor) {
  return (size_t)((const unsigned char *)tensor->data - watch.arena);
}

static void byte_dies(size_t at) {
  if (watch.born[at] == NO_CALL)
    return;
  watch.change_of_live[watch.born[at]]++;
  watch.change_of_live[watch.used[at] + 1]--;
  watch.born[at] = NO_CALL;
}

static void byte_is_written(size_t at, int32_t call) {
  byte_dies(at);
  watch.born[at] = watch.used[at] = call;
}

static void trace_operands(const struct ffb_operand *operands, size_t count) {
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < count; i++) {
      bool read = operands[i].read, also_read = read;
      for (size_t k = 0; k < count; k++)
        also_read = also_read || (operands[k].read && operands[k].tensor->data == operands[i].tensor->data);
      if (read != (pass == 0))
        continue;
      size_t start = offset_of(operands[i].tensor), end = start + ffb_tensor_bytes(operands[i].tensor);
      for (size_t at = start; at < end; at++) {
        if (watch.persistent[at])
          continue;
        if (also_read && watch.born[at] != NO_CALL)
          watch.used[at] = watch.call;
        else
          byte_is_written(at, watch.call);
      }
    }
  }
}

/* Bytes that differ from the shadow must lie in an operand that the call writes. */
static void note_changes(const char *operation, const struct ffb_operand *operands, size_t count) {
  if (memcmp(watch.arena, watch.shadow, watch.bytes) == 0)
    return;
  char *allowed = calloc(watch.bytes, 1);
  assert_non_null(allowed);
  for (size_t i = 0; i < count; i++) {
    if (operands[i].write)
      memset(allowed + offset_of(operands[i].tensor), 1, ffb_tensor_bytes(operands[i].tensor));
  }
  for (size_t at = 0; at < watch.bytes; at++) {
    if (watch.arena[at] == watch.shadow[at])
      continue;
    watch.changed[at] = 1;
    if (!allowed[at])
      watch.stray = operation;
  }
  memcpy(watch.shadow, watch.arena, watch.bytes);
  free(allowed);
}

static bool watched(enum ffb_operator operation, struct ffb_device *device, const union ffb_arguments *arguments) {
  if (must_fail())
    return false;
  bool good = watch.base->operators[operation](device, arguments);
  struct ffb_operand operands[FFB_MAX_OPERANDS];
  size_t count = ffb_operands(operation, arguments, operands);
  note_changes(ffb_operator_name(operation), operands, count);
  if (watch.change_of_live) {
    trace_operands(operands, count);
    watch.call++;
  }
  return good;
}

#define WATCHED(NAME, name, optional)                                                                                  \
  static bool watched_##name(struct ffb_device *device, const union ffb_arguments *arguments) {                        \
    return watched(FFB_##NAME, device, arguments);                                                                     \
  }
FFB_OPERATORS(WATCHED)
#undef WATCHED

static void *watched_allocate(struct ffb_device *device, size_t bytes) {
  if (watch.refuse_arena)
    return NULL;
  watch.arena = watch.base->allocate(device, bytes + GUARD_BYTES);
  if (!watch.arena)
    return NULL;
  watch.bytes = bytes;
  watch.shadow = malloc(bytes);
  watch.changed = calloc(bytes, 1);
  assert_true(watch.shadow && watch.changed);
  memset(watch.arena, CANARY, bytes + GUARD_BYTES);
  memset(watch.shadow, CANARY, bytes);
  watch.arenas_taken++;
  watch.arenas_alive++;
  return watch.arena;
}

static void watched_release(struct ffb_device *device, void *memory) {
  watch.base->release(device, memory);
  free(watch.shadow);
  free(watch.changed);
  watch.shadow = NULL;
  watch.changed = NULL;
  watch.arenas_alive--;
}

static bool watched_write(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  if (must_fail())
    return false;
  bool good = watch.base->write(device, to, from, bytes);
  size_t start = (size_t)((unsigned char *)to - watch.arena);
  assert_true(start + bytes <= watch.bytes);
  memset(watch.changed + start, 1, bytes);
  memcpy(watch.shadow + start, to, bytes);
  for (size_t at = start; watch.change_of_live && at < start + bytes; at++) {
    if (!watch.persistent[at])
      byte_is_written(at, 0);
  }
  return good;
}

static bool watched_read(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  if (must_fail())
    return false;
  size_t start = (size_t)((const unsigned char *)from - watch.arena);
  for (size_t at = start; watch.change_of_live && at < start + bytes; at++) {
    if (!watch.persistent[at])
      watch.used[at] = watch.call;
  }
  return watch.base->read(device, to, from, bytes);
}

static size_t watched_workspace(struct ffb_device *device, enum ffb_operator operation,
                                const union ffb_arguments *arguments) {
  if (watch.workspace)
    return operation == FFB_GEMM_S8 ? watch.workspace : 0;
  return watch.base->workspace ? watch.base->workspace(device, operation, arguments) : 0;
}

static const char *watched_failure(struct ffb_device *device) {
  (void)device;
  return "told to fail";
}

static const struct ffb_backend *watching(const struct ffb_backend *base) {
  static struct ffb_backend backend;
  static bool (*const operators[FFB_OPERATOR_COUNT])(struct ffb_device *, const union ffb_arguments *) = {
#define ENTRY(NAME, name, optional) [FFB_##NAME] = watched_##name,
      FFB_OPERATORS(ENTRY)
#undef ENTRY
  };
  backend = *base;
  backend.name = "watching";
  backend.allocate = watched_allocate;
  backend.release = watched_release;
  backend.write = watched_write;
  backend.read = watched_read;
  backend.workspace = watched_workspace;
  backend.failure = watched_failure;
  for (int i = 0; i < FFB_OPERATOR_COUNT; i++)
    backend.operators[i] = base->operators[i] ? operators[i] : NULL;
  memset(&watch, 0, sizeof watch);
  watch.base = base;
  return &backend;
}

static void assert_guard(void) {
  for (size_t i = 0; i < GUARD_BYTES; i++)
    assert_int_equal(watch.arena[watch.bytes + i], CANARY);
}

/* ---- small plans ------------------------------------------------------------------------------------------------ */

static struct ffb_error error;
static struct ffb_device *device;

#define SHAPE(rows, columns) ((const int64_t[4]){rows, columns, 1, 1})
#define ADD(program, NAME, name, ...)                                                                                  \
  ffb_program_add(program, FFB_##NAME, &(union ffb_arguments){.name = {__VA_ARGS__}}, &error)

static struct ffb_plan *make_plan(const struct ffb_backend *backend) {
  error = (struct ffb_error){0};
  struct ffb_plan *plan = ffb_plan_create(backend, device, &error);
  assert_non_null(plan);
  return plan;
}

static struct ffb_program *make_program(struct ffb_plan *plan, const char *name) {
  struct ffb_program *program = ffb_program_create(plan, name, &error);
  assert_non_null(program);
  return program;
}

static struct ffb_tensor *transient(struct ffb_program *program, enum ffb_tag tag, const char *name, int64_t rows) {
  struct ffb_tensor *tensor = ffb_plan_transient(program, tag, FFB_F32, name, SHAPE(rows, 16), &error);
  assert_non_null(tensor);
  return tensor;
}

static struct ffb_tensor *persistent(struct ffb_plan *plan, enum ffb_tag tag, enum ffb_type type, const char *name,
                                     int64_t rows, int64_t columns) {
  struct ffb_tensor *tensor = ffb_plan_persistent(plan, tag, type, name, SHAPE(rows, columns), &error);
  assert_non_null(tensor);
  return tensor;
}

static bool overlap(const struct ffb_tensor *a, const struct ffb_tensor *b) {
  const char *x = a->data, *y = b->data;
  return x < y + ffb_tensor_bytes(b) && y < x + ffb_tensor_bytes(a);
}

/* x -> a -> b -> c -> y, each of 64 bytes times its rows. */
struct chain {
  struct ffb_plan *plan;
  struct ffb_program *program;
  struct ffb_tensor *x, *a, *b, *c, *y;
};

static struct chain make_chain(const struct ffb_backend *backend, bool poison, int64_t rows) {
  struct chain chain = {.plan = make_plan(backend)};
  if (poison)
    ffb_plan_poison(chain.plan);
  chain.program = make_program(chain.plan, "chain");
  chain.x = transient(chain.program, FFB_TAG_DATASET, "x", rows);
  chain.a = transient(chain.program, FFB_TAG_ACTIVATIONS, "a", rows);
  chain.b = transient(chain.program, FFB_TAG_ACTIVATIONS, "b", rows);
  chain.c = transient(chain.program, FFB_TAG_GRADIENTS, "c", rows);
  chain.y = transient(chain.program, FFB_TAG_GRADIENTS, "y", rows);
  ffb_program_input(chain.program, chain.x);
  GOOD(ADD(chain.program, ADD_SCALED, add_scaled, .out = chain.a, .a = chain.x, .b = chain.x), &error);
  GOOD(ADD(chain.program, ADD_SCALED, add_scaled, .out = chain.b, .a = chain.a, .b = chain.a), &error);
  GOOD(ADD(chain.program, ACTIVATE, activate, .y = chain.c, .x = chain.b, .kind = FFB_ACTIVATION_RELU), &error);
  GOOD(ADD(chain.program, ADD_SCALED, add_scaled, .out = chain.y, .a = chain.c, .b = chain.c), &error);
  ffb_program_output(chain.program, chain.y);
  return chain;
}

static void run_chain(struct chain *chain, int64_t rows) {
  float *in = malloc((size_t)rows * 64), *out = malloc((size_t)rows * 64);
  assert_true(in && out);
  for (int64_t i = 0; i < rows * 16; i++)
    in[i] = (float)(i % 7) - 3;
  GOOD(ffb_tensor_write(chain->plan, chain->x, in, &error), &error);
  GOOD(ffb_program_run(chain->program, &error), &error);
  GOOD(ffb_tensor_read(chain->plan, chain->y, out, &error), &error);
  for (int64_t i = 0; i < rows * 16; i++)
    assert_true(out[i] == (in[i] > 0 ? 8 * in[i] : 0));
  free(in);
  free(out);
}

static void lifetimes_that_do_not_meet_share_memory(void **state) {
  (void)state;
  struct chain chain = make_chain(&ffb_backend_reference, false, 5);
  GOOD(ffb_plan_finish(chain.plan, &error), &error);
  struct ffb_memory_peak peak;
  ffb_plan_peak(chain.plan, &peak);
  assert_int_equal(peak.arena, 2 * 5 * 64); /* two of the five are alive at any time */
  assert_int_equal(peak.peak, 2 * 5 * 64);
  assert_true(overlap(chain.x, chain.b) && overlap(chain.a, chain.c) && overlap(chain.b, chain.y));
  assert_false(overlap(chain.x, chain.a) || overlap(chain.a, chain.b) || overlap(chain.b, chain.c) ||
               overlap(chain.c, chain.y));
  run_chain(&chain, 5);
  ffb_plan_destroy(chain.plan);
}

static void peak_names_tags_program_and_call(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  persistent(plan, FFB_TAG_WEIGHTS, FFB_S8, "weights", 3, 1); /* takes 64 bytes of the arena, counts 3 */
  persistent(plan, FFB_TAG_OPTIMISER, FFB_F64, "state", 3, 1);
  struct ffb_program *small = make_program(plan, "small"), *large = make_program(plan, "large");
  struct ffb_tensor *one = transient(small, FFB_TAG_ACTIVATIONS, "one", 1);
  GOOD(ADD(small, FILL, fill, .out = one), &error);
  struct ffb_tensor *x = transient(large, FFB_TAG_ACTIVATIONS, "x", 2),
                    *y = transient(large, FFB_TAG_GRADIENTS, "y", 2);
  struct ffb_tensor *z = transient(large, FFB_TAG_QUANTISED, "z", 2),
                    *unused = transient(large, FFB_TAG_DATASET, "-", 99);
  GOOD(ADD(large, FILL, fill, .out = x), &error);
  GOOD(ADD(large, ACTIVATE, activate, .y = y, .x = x, .kind = FFB_ACTIVATION_RELU), &error);
  GOOD(ADD(large, ADD_SCALED, add_scaled, .out = z, .a = x, .b = y), &error);
  GOOD(ADD(large, ACTIVATE, activate, .y = z, .x = z, .kind = FFB_ACTIVATION_RELU), &error);
  GOOD(ffb_plan_finish(plan, &error), &error);
  struct ffb_memory_peak peak;
  ffb_plan_peak(plan, &peak);
  assert_string_equal(peak.program, "large");
  assert_int_equal(peak.call, 2);
  assert_int_equal(peak.by_tag[FFB_TAG_WEIGHTS], 3);
  assert_int_equal(peak.by_tag[FFB_TAG_OPTIMISER], 24);
  assert_int_equal(peak.by_tag[FFB_TAG_ACTIVATIONS], 128);
  assert_int_equal(peak.by_tag[FFB_TAG_GRADIENTS], 128);
  assert_int_equal(peak.by_tag[FFB_TAG_QUANTISED], 128);
  assert_int_equal(peak.by_tag[FFB_TAG_DATASET], 0);
  assert_int_equal(peak.peak, 3 + 24 + 3 * 128);
  assert_int_equal(peak.arena, 2 * 64 + 3 * 128);
  assert_null(unused->data);
  assert_ptr_equal(one->data, x->data); /* programs never run at once */
  ffb_plan_peak_of(plan, "sm", &peak);
  assert_string_equal(peak.program, "small");
  assert_int_equal(peak.peak, 3 + 24 + 64);
  assert_int_equal(peak.arena, 2 * 64 + 3 * 128);
  ffb_plan_peak_of(plan, "none", &peak);
  assert_int_equal(peak.peak, 3 + 24);
  ffb_plan_destroy(plan);
}

/* An input is there before the first call and an output after the last, whatever touches them when. */
static void inputs_and_outputs_outlive_their_calls(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *in = transient(program, FFB_TAG_DATASET, "in", 1), *early = transient(program, 0, "early", 1);
  struct ffb_tensor *out = transient(program, 0, "out", 1), *late = transient(program, 0, "late", 1);
  ffb_program_input(program, in);
  GOOD(ADD(program, FILL, fill, .out = early, .value = 1), &error);
  GOOD(ADD(program, ACTIVATE, activate, .y = out, .x = early, .kind = FFB_ACTIVATION_RELU), &error);
  GOOD(ADD(program, ACTIVATE, activate, .y = late, .x = in, .kind = FFB_ACTIVATION_RELU), &error);
  ffb_program_output(program, out);
  GOOD(ffb_plan_finish(plan, &error), &error);
  assert_false(overlap(in, early) || overlap(in, out) || overlap(out, late));
  assert_true(overlap(early, late));
  ffb_plan_destroy(plan);
}

static void persistent_tensors_start_at_zero_and_stay(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(watching(&ffb_backend_reference));
  struct ffb_tensor *total = persistent(plan, FFB_TAG_WORKSPACE, FFB_F32, "total", 1, 16);
  struct ffb_program *program = make_program(plan, "count");
  struct ffb_tensor *one = transient(program, 0, "one", 1);
  GOOD(ADD(program, FILL, fill, .out = one, .value = 1), &error);
  GOOD(ADD(program, ADD_SCALED, add_scaled, .out = total, .a = total, .b = one), &error);
  GOOD(ffb_plan_finish(plan, &error), &error); /* the watching backend's arena is painted, not zeroed */
  for (int i = 0; i < 3; i++)
    GOOD(ffb_program_run(program, &error), &error);
  float values[16];
  GOOD(ffb_tensor_read(plan, total, values, &error), &error);
  for (int i = 0; i < 16; i++)
    assert_true(values[i] == 3);
  assert_int_equal((uintptr_t)total->data % 64, 0);
  assert_int_equal((uintptr_t)one->data % 64, 0);
  ffb_plan_destroy(plan);
  assert_int_equal(watch.arenas_alive, 0);
}

/* ---- views ------------------------------------------------------------------------------------------------------ */

static void views_look_into_the_same_memory(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *whole = transient(program, FFB_TAG_GRADIENTS, "whole", 4);
  struct ffb_tensor *half = ffb_plan_view(plan, whole, 32, SHAPE(2, 16), &error);
  assert_non_null(half);
  struct ffb_tensor *row = ffb_plan_view(plan, half, 16, SHAPE(1, 16), &error);
  assert_non_null(row);
  struct ffb_tensor *between = transient(program, 0, "between", 4), *out = transient(program, 0, "out", 1);
  GOOD(ADD(program, FILL, fill, .out = whole, .value = 1), &error);
  GOOD(ADD(program, FILL, fill, .out = half, .value = 2), &error);
  GOOD(ADD(program, FILL, fill, .out = between, .value = 9), &error); /* the view keeps the whole alive across this */
  GOOD(ADD(program, ACTIVATE, activate, .y = out, .x = row, .kind = FFB_ACTIVATION_RELU), &error);
  ffb_program_output(program, out);
  GOOD(ffb_plan_finish(plan, &error), &error);
  assert_ptr_equal(half->data, (float *)whole->data + 32);
  assert_ptr_equal(row->data, (float *)whole->data + 48);
  assert_int_equal(row->tag, FFB_TAG_GRADIENTS);
  GOOD(ffb_program_run(program, &error), &error);
  assert_true(((const float *)out->data)[0] == 2 && ((const float *)out->data)[15] == 2);
  ffb_plan_destroy(plan);
}

static void view_outside_its_tensor_is_refused(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_tensor *whole = persistent(plan, FFB_TAG_WEIGHTS, FFB_F32, "whole", 4, 16);
  assert_null(ffb_plan_view(plan, whole, 33, SHAPE(2, 16), &error));
  assert_mentions(&error, "whole");
  assert_null(ffb_plan_view(plan, whole, -1, SHAPE(1, 1), &error));
  struct ffb_tensor *half = ffb_plan_view(plan, whole, 32, SHAPE(2, 16), &error);
  assert_non_null(half);
  assert_null(ffb_plan_view(plan, half, 17, SHAPE(1, 16), &error)); /* inside the whole, outside the view */
  ffb_plan_destroy(plan);
}

/* INT8 values over the first bytes of FP32 ones. */
static void an_overlay_shares_memory_and_lifetime(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *whole = transient(program, FFB_TAG_GRADIENTS, "whole", 4);
  struct ffb_tensor *over = ffb_plan_overlay(plan, whole, FFB_TAG_QUANTISED, FFB_S8, "over", SHAPE(4, 16), &error);
  assert_non_null(over);
  assert_null(ffb_plan_overlay(plan, over, FFB_TAG_QUANTISED, FFB_S8, "twice", SHAPE(1, 16), &error));
  assert_null(ffb_plan_overlay(plan, whole, FFB_TAG_QUANTISED, FFB_S8, "longer", SHAPE(17, 16), &error));
  assert_mentions(&error, "longer over whole");
  struct ffb_tensor *between = transient(program, 0, "between", 4);
  struct ffb_tensor *copy = ffb_plan_transient(program, 0, FFB_S8, "copy", SHAPE(4, 16), &error);
  GOOD(ADD(program, FILL, fill, .out = whole, .value = 1), &error);
  GOOD(ADD(program, FILL, fill, .out = over, .value = 7), &error);
  GOOD(ADD(program, FILL, fill, .out = between, .value = 9),
       &error); /* the overlay keeps the whole alive across this */
  GOOD(ADD(program, COPY, copy, .out = copy, .in = over), &error);
  ffb_program_output(program, copy);
  GOOD(ffb_plan_finish(plan, &error), &error);
  assert_ptr_equal(over->data, whole->data);
  GOOD(ffb_program_run(program, &error), &error);
  assert_true(((const int8_t *)copy->data)[0] == 7 && ((const int8_t *)copy->data)[63] == 7);
  assert_true(((const float *)whole->data)[16] == 1);
  ffb_plan_destroy(plan);
}

/* ---- what is refused -------------------------------------------------------------------------------------------- */

static void reading_before_writing_is_an_error(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "forward");
  struct ffb_tensor *stale = transient(program, 0, "stale", 1), *y = transient(program, 0, "y", 1);
  assert_false(ADD(program, ACTIVATE, activate, .y = y, .x = stale, .kind = FFB_ACTIVATION_RELU));
  assert_mentions(&error, "stale");
  assert_mentions(&error, "forward");
  assert_mentions(&error, "activate");
  assert_false(ADD(program, ACTIVATE, activate, .y = stale, .x = stale,
                   .kind = FFB_ACTIVATION_RELU)); /* in place is a read too */
  struct ffb_tensor *bias = persistent(plan, FFB_TAG_WEIGHTS, FFB_F32, "bias", 16, 1);
  assert_false(ADD(program, ADD_BIAS, add_bias, .y = stale, .bias = bias));
  GOOD(ADD(program, FILL, fill, .out = stale), &error);
  GOOD(ADD(program, ADD_BIAS, add_bias, .y = stale, .bias = bias), &error);
  ffb_plan_destroy(plan);
}

/* The calls that can add to what is there are updates only when they are asked to. */
static void accumulating_needs_something_to_add_to(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "sums");
  struct ffb_tensor *square = persistent(plan, FFB_TAG_WEIGHTS, FFB_F32, "square", 16, 16);
  struct ffb_tensor *scale = persistent(plan, FFB_TAG_QUANTISED, FFB_F32, "scale", 1, 1);
  struct ffb_tensor *q = persistent(plan, FFB_TAG_QUANTISED, FFB_S8, "q", 16, 16);
  struct ffb_tensor *goodness = persistent(plan, 0, FFB_F32, "goodness", 16, 1);
  struct ffb_tensor *sums[4];
  for (int i = 0; i < 4; i++)
    sums[i] = transient(program, 0, "sum", 16);
  sums[2] = ffb_plan_transient(program, 0, FFB_F32, "sum", SHAPE(16, 1), &error);
  for (int accumulate = 1; accumulate >= 0; accumulate--) {
    bool added[] = {
        ADD(program, GEMM_F32, gemm_f32, .c = sums[0], .a = square, .b = square, .accumulate = accumulate),
        ADD(program, DEQUANTISE, dequantise, .out = sums[1], .x = q, .scale_a = scale, .accumulate = accumulate),
        ADD(program, GOODNESS, goodness, .goodness = sums[2], .y = square, .groups = 1, .accumulate = accumulate),
        ADD(program, GOODNESS_GRADIENT, goodness_gradient, .gy = sums[3], .gradient = goodness, .y = square,
            .groups = 1, .accumulate = accumulate)};
    for (int i = 0; i < 4; i++)
      assert_int_equal(added[i], !accumulate);
  }
  ffb_plan_destroy(plan);
}

static void taken_name_is_an_error(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  persistent(plan, FFB_TAG_WEIGHTS, FFB_F32, "fc1.weight", 1, 1);
  assert_null(ffb_plan_persistent(plan, FFB_TAG_WEIGHTS, FFB_F32, "fc1.weight", SHAPE(2, 2), &error));
  assert_mentions(&error, "fc1.weight");
  assert_int_equal(ffb_plan_persistent_count(plan), 1);
  ffb_plan_destroy(plan);
}

static void transient_of_another_program_is_refused(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *train = make_program(plan, "train"), *test = make_program(plan, "predict");
  struct ffb_tensor *x = transient(train, 0, "hidden", 2), *y = transient(test, 0, "y", 1);
  GOOD(ADD(train, FILL, fill, .out = x), &error);
  struct ffb_tensor *view = ffb_plan_view(plan, x, 0, SHAPE(1, 16), &error);
  assert_false(ADD(test, ACTIVATE, activate, .y = y, .x = view, .kind = FFB_ACTIVATION_RELU));
  assert_mentions(&error, "hidden");
  assert_mentions(&error, "train");
  assert_mentions(&error, "predict");
  ffb_plan_destroy(plan);
}

static void wrong_operands_are_errors(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *f = persistent(plan, 0, FFB_F32, "f", 4, 16), *s8 = persistent(plan, 0, FFB_S8, "s8", 4, 16);
  struct ffb_tensor *s32 = persistent(plan, 0, FFB_S32, "s32", 4, 16), *w8 = persistent(plan, 0, FFB_S8, "w8", 4, 16);
  struct ffb_tensor *square = persistent(plan, 0, FFB_S32, "square", 4, 4),
                    *one = persistent(plan, 0, FFB_F32, "1", 1, 1);
  struct ffb_tensor *step = persistent(plan, 0, FFB_U32, "step", 1, 1),
                    *labels = persistent(plan, 0, FFB_S32, "l", 3, 1);
  struct ffb_tensor *statistics = persistent(plan, 0, FFB_F64, "statistics", FFB_STATISTIC_COUNT, 1);
  assert_false(ADD(program, ACTIVATE, activate, .y = f, .x = s8, .kind = FFB_ACTIVATION_RELU));
  assert_mentions(&error, "activate");
  assert_mentions(&error, "s8");
  assert_false(ADD(program, ACTIVATE, activate, .y = f, .kind = FFB_ACTIVATION_RELU));
  assert_false(ADD(program, ACTIVATE, activate, .y = f, .x = one, .kind = FFB_ACTIVATION_RELU));
  assert_mentions(&error, "shapes");
  assert_false(ADD(program, GEMM_S8, gemm_s8, .c = square, .a = s8, .b = w8)); /* neither transposed */
  assert_false(ADD(program, GEMM_S8, gemm_s8, .c = s32, .a = s8, .b = w8, .transpose_b = true));
  assert_false(ADD(program, GEMM_S8, gemm_s8, .c = s32, .a = s8, .b = f, .transpose_b = true));
  GOOD(ADD(program, GEMM_S8, gemm_s8, .c = square, .a = s8, .b = w8, .transpose_b = true), &error);
  assert_false(ADD(program, SUQ_QUANTISE, suq_quantise, .q = s8, .x = f, .scale = one,
                   .rounding = FFB_ROUND_STOCHASTIC)); /* no step */
  GOOD(ADD(program, SUQ_QUANTISE, suq_quantise, .q = s8, .x = f, .scale = one, .rounding = FFB_ROUND_STOCHASTIC,
           .step = step),
       &error);
  assert_false(ADD(program, SUQ_SCALE, suq_scale, .scale = one, .range = FFB_RANGE_ABSMAX)); /* of nothing */
  assert_false(ADD(program, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .logits = f, .labels = labels,
                   .statistics = statistics));
  assert_false(ADD(program, COPY, copy, .out = s32, .in = f));
  assert_int_equal(ffb_program_calls(program), 2);
  ffb_plan_destroy(plan);
}

/* 127 * 127 * K must stay below 2^31. */
static void too_long_int8_sums_are_refused(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "program");
  for (int64_t k = 133144; k <= 133145; k++) {
    char a[16], b[16], c[16];
    snprintf(a, sizeof a, "a%d", (int)k);
    snprintf(b, sizeof b, "b%d", (int)k);
    snprintf(c, sizeof c, "c%d", (int)k);
    struct ffb_tensor *x = persistent(plan, 0, FFB_S8, a, 1, k), *w = persistent(plan, 0, FFB_S8, b, 1, k);
    struct ffb_tensor *sum = persistent(plan, 0, FFB_S32, c, 1, 1);
    assert_int_equal(ADD(program, GEMM_S8, gemm_s8, .c = sum, .a = x, .b = w, .transpose_b = true), k == 133144);
    assert_true((int64_t)127 * 127 * k < (int64_t)INT32_MAX || k == 133145);
  }
  ffb_plan_destroy(plan);
}

static void operator_that_the_backend_lacks_is_named(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *x = persistent(plan, 0, FFB_F32, "x", 16, 16);
  assert_false(ffb_plan_has(plan, FFB_LINEAR_F32));
  assert_true(ffb_plan_has(plan, FFB_GEMM_F32));
  assert_false(ADD(program, LINEAR_F32, linear_f32, .y = x, .x = x, .w = x));
  assert_mentions(&error, "linear_f32");
  assert_mentions(&error, "reference");
  ffb_plan_destroy(plan);
  plan = make_plan(&ffb_backend_cpu);
  assert_true(ffb_plan_has(plan, FFB_LINEAR_F32));
  ffb_plan_unfused(plan);
  assert_false(ffb_plan_has(plan, FFB_LINEAR_F32));
  assert_true(ffb_plan_has(plan, FFB_GEMM_F32));
  ffb_plan_destroy(plan);
}

static void finished_plan_takes_no_tensor(void **state) {
  (void)state;
  struct chain chain = make_chain(&ffb_backend_reference, false, 1);
  GOOD(ffb_plan_finish(chain.plan, &error), &error);
  assert_null(ffb_plan_persistent(chain.plan, 0, FFB_F32, "late", SHAPE(1, 1), &error));
  assert_mentions(&error, "late");
  assert_null(ffb_plan_transient(chain.program, 0, FFB_F32, "late", SHAPE(1, 1), &error));
  ffb_plan_destroy(chain.plan);
}

/* ---- poison ----------------------------------------------------------------------------------------------------- */

static void poison_gives_the_same_result_in_more_memory(void **state) {
  (void)state;
  struct chain chain = make_chain(&ffb_backend_reference, true, 5);
  GOOD(ffb_plan_finish(chain.plan, &error), &error);
  struct ffb_memory_peak peak;
  ffb_plan_peak(chain.plan, &peak);
  assert_int_equal(peak.arena, 5 * 5 * 64);
  run_chain(&chain, 5);
  run_chain(&chain, 5);
  ffb_plan_destroy(chain.plan);
}

/* A program that writes half a tensor and reads all of it finds poison in the other half. */
static void poison_shows_a_stale_read(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  ffb_plan_poison(plan);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *whole = transient(program, 0, "whole", 2), *out = transient(program, 0, "out", 2);
  struct ffb_tensor *half = ffb_plan_view(plan, whole, 0, SHAPE(1, 16), &error);
  GOOD(ADD(program, FILL, fill, .out = half, .value = 1), &error);
  GOOD(ADD(program, COPY, copy, .out = out, .in = whole), &error);
  ffb_program_output(program, out);
  GOOD(ffb_plan_finish(plan, &error), &error);
  GOOD(ffb_program_run(program, &error), &error);
  const unsigned char *bytes = out->data;
  assert_true(((const float *)out->data)[15] == 1);
  for (int i = 64; i < 128; i++)
    assert_int_equal(bytes[i], 0xA5);
  ffb_plan_destroy(plan);
}

/* What the host writes stays, even where the first call changes it in place. */
static void poison_leaves_inputs(void **state) {
  (void)state;
  struct ffb_plan *plan = make_plan(&ffb_backend_reference);
  ffb_plan_poison(plan);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *x = transient(program, 0, "x", 1), *bias = persistent(plan, 0, FFB_F32, "bias", 16, 1);
  ffb_program_input(program, x);
  GOOD(ADD(program, ADD_BIAS, add_bias, .y = x, .bias = bias), &error);
  GOOD(ADD(program, ACTIVATE, activate, .y = x, .x = x, .kind = FFB_ACTIVATION_RELU), &error);
  ffb_program_output(program, x);
  GOOD(ffb_plan_finish(plan, &error), &error);
  float in[16], out[16];
  for (int i = 0; i < 16; i++)
    in[i] = (float)i;
  GOOD(ffb_tensor_write(plan, x, in, &error), &error);
  GOOD(ffb_program_run(program, &error), &error);
  GOOD(ffb_tensor_read(plan, x, out, &error), &error);
  assert_memory_equal(in, out, sizeof in);
  ffb_plan_destroy(plan);
}

/* ---- workspace and observer -------------------------------------------------------------------------------------- */

static void workspace_is_planned(void **state) {
  (void)state;
  const struct ffb_backend *backend = watching(&ffb_backend_reference);
  watch.workspace = 1000;
  struct ffb_plan *plan = make_plan(backend);
  struct ffb_program *program = make_program(plan, "program");
  struct ffb_tensor *a = persistent(plan, 0, FFB_S8, "a", 4, 4);
  struct ffb_tensor *c[2];
  for (int i = 0; i < 2; i++) {
    c[i] = ffb_plan_transient(program, FFB_TAG_ACTIVATIONS, FFB_S32, "c", SHAPE(4, 4), &error);
    GOOD(ADD(program, GEMM_S8, gemm_s8, .c = c[i], .a = a, .b = a), &error);
  }
  ffb_program_output(program, c[0]);
  GOOD(ffb_plan_finish(plan, &error), &error);
  const union ffb_arguments *first, *second;
  assert_int_equal(ffb_program_call(program, 0, &first), FFB_GEMM_S8);
  assert_int_equal(ffb_program_call(program, 1, &second), FFB_GEMM_S8);
  assert_int_equal(ffb_tensor_bytes(first->gemm_s8.workspace), 1000);
  assert_int_equal(first->gemm_s8.workspace->tag, FFB_TAG_WORKSPACE);
  assert_true(overlap(first->gemm_s8.workspace, second->gemm_s8.workspace)); /* one call after the other */
  assert_false(overlap(first->gemm_s8.workspace, c[0]) || overlap(second->gemm_s8.workspace, c[0]) ||
               overlap(second->gemm_s8.workspace, c[1]));
  struct ffb_memory_peak peak;
  ffb_plan_peak(plan, &peak);
  assert_int_equal(peak.by_tag[FFB_TAG_WORKSPACE], 1000);
  assert_int_equal(peak.peak, 16 + 1000 + 2 * 64);
  ffb_plan_destroy(plan);
}

static size_t seen[8], seen_count;

static void see(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  assert_ptr_equal(to, &seen_count);
  assert_string_equal(ffb_program_name(program), "chain");
  assert_int_equal(ffb_program_call(program, call, NULL), operation);
  seen[seen_count++] = call;
}

static void observer_sees_every_call_in_order(void **state) {
  (void)state;
  struct chain chain = make_chain(&ffb_backend_reference, false, 1);
  GOOD(ffb_plan_finish(chain.plan, &error), &error);
  seen_count = 0;
  ffb_plan_observe(chain.plan, see, &seen_count);
  run_chain(&chain, 1);
  assert_int_equal(seen_count, 4);
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(seen[i], i);
  ffb_plan_observe(chain.plan, NULL, NULL);
  run_chain(&chain, 1);
  assert_int_equal(seen_count, 4);
  ffb_plan_destroy(chain.plan);
}

/* ---- planned against observed ------------------------------------------------------------------------------------ */

static void trace_begin(struct subject *s) {
  watch.persistent = calloc(watch.bytes, 1);
  watch.born = malloc(watch.bytes * sizeof *watch.born);
  watch.used = malloc(watch.bytes * sizeof *watch.used);
  watch.calls = 4096;
  watch.change_of_live = calloc((size_t)watch.calls, sizeof *watch.change_of_live);
  assert_true(watch.persistent && watch.born && watch.used && watch.change_of_live);
  memset(watch.born, 0xff, watch.bytes * sizeof *watch.born);
  watch.call = 0;
  for (size_t i = 0; i < ffb_plan_persistent_count(s->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(s->plan, i);
    memset(watch.persistent + offset_of(tensor), 1, ffb_tensor_bytes(tensor));
  }
}

static void trace_end(void) {
  long live = 0;
  assert_true(watch.call + 2 < watch.calls);
  for (size_t at = 0; at < watch.bytes; at++) {
    live += watch.persistent[at];
    byte_dies(at);
  }
  for (int32_t call = 0; call <= watch.call; call++) {
    live += watch.change_of_live[call];
    watch.observed_peak = (size_t)live > watch.observed_peak ? (size_t)live : watch.observed_peak;
  }
  free(watch.persistent);
  free(watch.born);
  free(watch.used);
  free(watch.change_of_live);
  watch.change_of_live = NULL;
}

static void assert_peak(const struct recipe *recipe, const struct ffb_memory_peak *peak, size_t slack) {
  size_t by_tag = 0;
  for (int i = 0; i < FFB_TAG_COUNT; i++)
    by_tag += peak->by_tag[i];
  assert_int_equal(by_tag, peak->peak);
  assert_int_equal(peak->arena, watch.bytes);
  if (peak->peak < watch.observed_peak || peak->peak > watch.observed_peak + slack)
    fail_msg("%s: planned peak %zu (program %s, call %zu), observed %zu", recipe_name(recipe), peak->peak,
             peak->program, peak->call, watch.observed_peak);
}

/* All epochs of training (every program of a greedy schedule runs then), and a prediction. */
static void assert_peaks(struct subject *s, const struct recipe *recipe, const struct records *records) {
  struct ffb_memory_peak peak;
  float scores[8 * CLASSES];
  for (int64_t step = 0; step < s->setup.epochs * steps_per_epoch(s); step++) {
    struct ffb_batch batch = batch_of_step(s, records, step);
    trace_begin(s);
    GOOD(s->trainer->train_step(s->state, &batch, &error), &error);
    trace_end();
  }
  ffb_plan_peak_of(s->plan, "train", &peak);
  /* What the units said in the previous epoch, and say now, is planned as a whole, and comes and goes unit by unit. */
  bool by_unit = recipe->options && strstr(recipe->options, "previous_epoch");
  size_t numbers = (size_t)(s->network.unit_count * 2 * s->setup.batch) * sizeof(float),
         slack = by_unit ? 2 * numbers : 0;
  assert_peak(recipe, &peak, slack);
  trace_begin(s);
  predict(s, records, 0, s->setup.batch, scores);
  trace_end();
  ffb_plan_peak(s->plan, &peak);
  /* Scores of a label-by-label prediction are written part by part, and planned as a whole. */
  assert_peak(recipe, &peak, strcmp(peak.program, "predict") == 0 ? sizeof scores : slack);
}

static void assert_planned_is_observed(const struct recipe *recipe, const struct records *records) {
  struct recipe watched_recipe = *recipe;
  struct subject s;
  watched_recipe.backend = watching(recipe->backend);
  watched_recipe.threads = 2;
  subject_make(&s, &watched_recipe);
  assert_peaks(&s, recipe, records);
  if (watch.stray)
    fail_msg("%s: %s changed memory that it does not say it writes", recipe_name(recipe), watch.stray);
  size_t end = watch.bytes;
  while (end && !watch.changed[end - 1])
    end--;
  assert_int_equal((end + 63) / 64 * 64, watch.bytes); /* to the last line of the arena, and not beyond */
  assert_int_equal(watch.arenas_taken, 1);
  assert_guard();
  subject_end(&s);
  assert_int_equal(watch.arenas_alive, 0);
}

static void planned_peak_is_the_observed_one(void **state) {
  struct records *records = *state;
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t b = 0; b < COUNT_OF(backends); b++) {
    for (size_t i = 0; i < MLP_RECIPES; i++) {
      struct recipe recipe = *mlp_recipe(i);
      recipe.backend = backends[b];
      assert_planned_is_observed(&recipe, records);
    }
  }
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static bool build_chain(struct ffb_plan **plan) {
  *plan = ffb_plan_create(&ffb_backend_reference, device, &error);
  if (!*plan)
    return false;
  struct ffb_program *program = ffb_program_create(*plan, "chain", &error);
  struct ffb_tensor *last = NULL;
  for (int i = 0; program && i < 40; i++) {
    char name[16];
    snprintf(name, sizeof name, "t%d", i);
    struct ffb_tensor *kept = ffb_plan_persistent(*plan, 0, FFB_F32, name, SHAPE(1, 16), &error);
    struct ffb_tensor *next = kept ? ffb_plan_transient(program, 0, FFB_F32, name, SHAPE(1, 16), &error) : NULL;
    struct ffb_tensor *view = next ? ffb_plan_view(*plan, next, 0, SHAPE(16, 1), &error) : NULL;
    if (!view || !(last ? ADD(program, ACTIVATE, activate, .y = next, .x = last, .kind = FFB_ACTIVATION_RELU)
                        : ADD(program, FILL, fill, .out = view)))
      return false;
    last = next;
  }
  return program && ffb_plan_finish(*plan, &error);
}

static void plan_without_memory_fails_cleanly(void **state) {
  (void)state;
  long before = alive;
  unsigned long n = 0;
  for (bool made = false; !made;) {
    struct ffb_plan *plan = NULL;
    error = (struct ffb_error){0};
    ffb_fail_allocation(++n);
    made = build_chain(&plan);
    ffb_fail_allocation(0);
    if (!made)
      assert_one_line(&error);
    ffb_plan_destroy(plan);
    assert_int_equal(alive, before);
  }
  assert_in_range(n, 100, 1000); /* it did fail on the way */
}

static void trainer_without_memory_fails_cleanly(void **state) {
  (void)state;
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < 2 * MLP_RECIPES; i++) {
    size_t k = i / 2;
    struct recipe recipe = *mlp_recipe(k);
    recipe.backend = backends[i % 2];
    struct subject s;
    subject_begin(&s, &recipe);
    long before = alive;
    unsigned long n = 0;
    for (bool made = false; !made;) {
      error = (struct ffb_error){0};
      ffb_fail_allocation(++n);
      made = subject_create(&s, &error);
      ffb_fail_allocation(0);
      if (made)
        break;
      assert_one_line(&error);
      if (alive != before)
        fail_msg("%s: allocation %lu failed and %ld blocks leaked", recipe_name(&recipe), n, alive - before);
    }
    assert_in_range(n, 30, 5000);
    s.trainer->destroy(s.state);
    s.state = NULL;
    assert_int_equal(alive, before);
    subject_end(&s);
  }
}

/* An allocation that was told to fail is still to come: nothing was allocated. */
static bool nothing_was_allocated(void) {
  void *block = ffb_allocate(1, 1, NULL);
  ffb_fail_allocation(0);
  ffb_free(block);
  return block == NULL;
}

static void steps_and_predictions_do_not_allocate(void **state) {
  struct records *records = *state;
  static float scores[21 * CLASSES];
  for (size_t i = 0; i < COUNT_OF(int8_recipes); i++) {
    struct recipe recipe = int8_recipes[i];
    recipe.backend = &ffb_backend_cpu;
    struct subject s;
    subject_make(&s, &recipe);
    for (int64_t step = 0; step < 3; step++) {
      struct ffb_batch batch = batch_of_step(&s, records, step);
      ffb_fail_allocation(1);
      bool good = s.trainer->train_step(s.state, &batch, &error);
      assert_true(nothing_was_allocated());
      GOOD(good, &error);
    }
    ffb_fail_allocation(1);
    predict(&s, records, 0, 21, scores);
    assert_true(nothing_was_allocated());
    subject_end(&s);
  }
}

static void epoch_without_memory_fails_cleanly(void **state) {
  struct records *records = *state;
  struct subject s;
  subject_make(&s, &(struct recipe){.algorithm = "ff_int8"});
  long before = alive;
  struct ffb_epoch_statistics statistics;
  train(&s, records, 0, 2);
  for (unsigned long n = 1; n <= 2; n++) {
    ffb_fail_allocation(n);
    assert_false(s.trainer->end_epoch(s.state, &statistics, &error));
    ffb_fail_allocation(0);
    assert_mentions(&error, "out of memory");
    assert_int_equal(alive, before);
  }
  GOOD(s.trainer->end_epoch(s.state, &statistics, &error), &error); /* the totals are still there */
  assert_true(isfinite(statistics.loss));
  subject_end(&s);
}

static void arena_that_does_not_fit_is_named(void **state) {
  (void)state;
  static const char *const algorithms[] = {"bp_fp32", "bp_int8", "ff_int8"};
  for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
    struct subject s;
    subject_begin(&s, &(struct recipe){.algorithm = algorithms[i], .backend = watching(&ffb_backend_reference)});
    long before = alive;
    watch.refuse_arena = true;
    error = (struct ffb_error){0};
    assert_false(subject_create(&s, &error));
    assert_mentions(&error, "--batch");
    assert_mentions(&error, "watching");
    assert_int_equal(alive, before);
    subject_end(&s);
  }
}

static int64_t step_number(const struct subject *s) {
  int64_t step = -1;
  assert_int_equal(s->trainer->save(s->state, NULL), sizeof step);
  s->trainer->save(s->state, &step);
  return step;
}

/* Whatever fails on the device, in a step or in a prediction, comes back as one line that names the backend. */
static void failing_device_is_reported(void **state) {
  struct records *records = *state;
  static const char *const algorithms[] = {"bp_fp32", "bp_ui8", "ff_int8"};
  static float scores[8 * CLASSES];
  for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
    struct subject s;
    subject_make(&s, &(struct recipe){.algorithm = algorithms[i], .backend = watching(&ffb_backend_reference)});
    struct ffb_batch batch = batch_of(records, 0, 8);
    bool step_done = false, predicted = false;
    for (long n = 1; !step_done || !predicted; n++) {
      error = (struct ffb_error){0};
      int64_t before = step_number(&s);
      watch.fail_in = step_done ? 0 : n;
      step_done = s.trainer->train_step(s.state, &batch, &error);
      assert_int_equal(step_number(&s), before + step_done);
      if (!step_done)
        assert_mentions(&error, "backend watching: ");
      watch.fail_in = predicted ? 0 : n;
      predicted = s.trainer->predict(s.state, &batch, scores, &error);
      if (!predicted)
        assert_mentions(&error, "told to fail");
      watch.fail_in = 0;
    }
    subject_end(&s);
  }
}

static void failed_operator_is_named(void **state) {
  (void)state;
  struct chain chain = make_chain(watching(&ffb_backend_reference), false, 1);
  GOOD(ffb_plan_finish(chain.plan, &error), &error);
  watch.fail_in = 3;
  assert_false(ffb_program_run(chain.program, &error));
  assert_mentions(&error, "activate in program chain: told to fail");
  ffb_plan_destroy(chain.plan);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
  static struct records records;
  char message[64];
  struct ffb_device_request request = {.threads = 1};
  records_make(&records, 64, 48);
  *state = &records;
  return !ffb_backend_reference.open(&device, &request, message, sizeof message);
}

static int tear_down(void **state) {
  records_free(*state);
  ffb_backend_reference.close(device);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lifetimes_that_do_not_meet_share_memory),
      cmocka_unit_test(peak_names_tags_program_and_call),
      cmocka_unit_test(inputs_and_outputs_outlive_their_calls),
      cmocka_unit_test(persistent_tensors_start_at_zero_and_stay),
      cmocka_unit_test(views_look_into_the_same_memory),
      cmocka_unit_test(view_outside_its_tensor_is_refused),
      cmocka_unit_test(an_overlay_shares_memory_and_lifetime),
      cmocka_unit_test(reading_before_writing_is_an_error),
      cmocka_unit_test(accumulating_needs_something_to_add_to),
      cmocka_unit_test(taken_name_is_an_error),
      cmocka_unit_test(transient_of_another_program_is_refused),
      cmocka_unit_test(wrong_operands_are_errors),
      cmocka_unit_test(too_long_int8_sums_are_refused),
      cmocka_unit_test(operator_that_the_backend_lacks_is_named),
      cmocka_unit_test(finished_plan_takes_no_tensor),
      cmocka_unit_test(poison_gives_the_same_result_in_more_memory),
      cmocka_unit_test(poison_shows_a_stale_read),
      cmocka_unit_test(poison_leaves_inputs),
      cmocka_unit_test(workspace_is_planned),
      cmocka_unit_test(observer_sees_every_call_in_order),
      cmocka_unit_test(planned_peak_is_the_observed_one),
      cmocka_unit_test(plan_without_memory_fails_cleanly),
      cmocka_unit_test(trainer_without_memory_fails_cleanly),
      cmocka_unit_test(steps_and_predictions_do_not_allocate),
      cmocka_unit_test(epoch_without_memory_fails_cleanly),
      cmocka_unit_test(arena_that_does_not_fit_is_named),
      cmocka_unit_test(failing_device_is_reported),
      cmocka_unit_test(failed_operator_is_named),
  };
  return cmocka_run_group_tests_name("plan", tests, set_up, tear_down);
}
