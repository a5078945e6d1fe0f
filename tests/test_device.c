/* Whole trainers on a GPU, held against the CPU: test_device [backend]. Without a device all of it is skipped.
 *
 * Losses take exponentials from the device's own library, so a trainer's weights are near the CPU's and not always the
 * same bits. What is of integers is, call by call, given the same inputs; operators alone are compared bit by bit in
 * test_backends and its siblings. */
#include "nn/operands.h"
#include "tests/trainer_cases.h"

#define SMALL .height = 16, .width = 16, .channels = 3, .batch = 4, .records = 10

enum { STEPS = 9, SKIPPED_STATUS = 77 };

static const struct ffb_backend *device;

static const struct recipe perceptrons[] = {
    {.algorithm = "bp_fp32", .bias = true},
    {.algorithm = "bp_int8", .bias = true},
    {.algorithm = "bp_int8", .options = "weights=int8"},
    {.algorithm = "bp_ui8", .options = "search_period=2"},
    {.algorithm = "bp_gdai8", .options = "search_period=2 segments=2"},
    {.algorithm = "ff_int8", .options = "lambda_step=0.5"},
    {.algorithm = "ff_int8", .options = "lookahead=chain weights=int8"},
    {.algorithm = "ff_int8", .options = "negatives=hard preset=paper"},
    {.algorithm = "ff_int8", .options = "preset=one_pass"},
};
static const struct recipe convolutional[] = {
    {SMALL, .algorithm = "bp_fp32", .model = "resnet18", .model_options = "width=0.125"},
    {SMALL, .algorithm = "bp_int8", .model = "resnet18", .model_options = "width=0.125 stem=cifar"},
    {SMALL, .algorithm = "ff_int8", .model = "resnet18", .model_options = "width=0.0625"},
    {SMALL, .algorithm = "bp_fp32", .model = "mobilenet_v2", .model_options = "width=0.1"},
    {SMALL, .algorithm = "bp_ui8", .model = "mobilenet_v2", .model_options = "width=0.1", .options = "search_period=2"},
    {SMALL, .algorithm = "ff_int8", .model = "mobilenet_v2", .model_options = "width=0.1"},
    {SMALL, .algorithm = "bp_gdai8", .model = "efficientnet_b0",
     .model_options = "width=0.1 squeeze_excitation=true stochastic_depth=0.3", .options = "search_period=2"},
    {SMALL, .algorithm = "ff_int8", .model = "efficientnet_b0",
     .model_options = "width=0.1 squeeze_excitation=true stochastic_depth=0.3"},
};
enum { RECIPES = COUNT_OF(perceptrons) + COUNT_OF(convolutional) };

static struct records digits, images;

static const struct recipe *recipe_at(size_t index, const struct records **records) {
  bool perceptron = index < COUNT_OF(perceptrons);
  *records = perceptron ? &digits : &images;
  return perceptron ? &perceptrons[index] : &convolutional[index - COUNT_OF(perceptrons)];
}

static const char *name_of(const struct recipe *recipe) {
  static char name[512];
  snprintf(name, sizeof name, "%s %s: %s", recipe->model ? recipe->model : "mlp", recipe->algorithm,
           recipe->options ? recipe->options : "");
  return name;
}

static void make_on(struct subject *s, const struct recipe *recipe, const struct ffb_backend *backend) {
  struct recipe changed = *recipe;
  changed.backend = backend;
  changed.seed = 3;
  subject_make(s, &changed);
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

/* Batch normalisation of a few samples drives rounding errors apart in the deeper networks, in one step already. */
static bool is_deep(const struct recipe *recipe) {
  return recipe->model && strcmp(recipe->model, "resnet18") != 0;
}

/* One step: over several, rounding to the other of two INT8 values drives trainers apart. */
static void one_step_is_near_the_cpus(void **state) {
  (void)state;
  for (size_t i = 0; i < RECIPES; i++) {
    const struct records *records;
    const struct recipe *recipe = recipe_at(i, &records);
    struct subject wanted, got;
    if (is_deep(recipe))
      continue;
    make_on(&wanted, recipe, &ffb_backend_cpu);
    make_on(&got, recipe, device);
    train(&wanted, records, 0, 1);
    train(&got, records, 0, 1);
    for (size_t t = 0; t < ffb_plan_persistent_count(wanted.plan); t++) {
      const struct ffb_tensor *tensor = ffb_plan_persistent_at(wanted.plan, t);
      if (tensor->tag != FFB_TAG_WEIGHTS || tensor->type != FFB_F32)
        continue;
      double away = distance(&wanted, &got, tensor->name);
      if (!(away < 2e-3))
        fail_msg("%s: %s is %g away", name_of(recipe), tensor->name, away);
    }
    subject_end(&wanted);
    subject_end(&got);
  }
}

/* ---- step by step with the CPU ----------------------------------------------------------------------------------- */

/* A backend that computes as the device does. Before each call the CPU makes the same one, on a copy of the device's
 * memory as it is then: so both have the same FP32 inputs, whatever came of earlier calls. */
static struct {
  struct ffb_backend backend;
  struct ffb_device *cpu;
  char *arena, *mirror, *after; /* the device's; a copy from before a call, then with what the CPU made of it; ... */
  size_t bytes;
  bool tamper;                /* the CPU's INT8 results are not left as they are */
  int64_t operands, products; /* INT8 operands and results of INT8 products that were compared */
  char differs[256];          /* the first that did */
} lockstep;

static void *lockstep_allocate(struct ffb_device *of, size_t bytes) {
  lockstep.arena = device->allocate(of, bytes);
  lockstep.bytes = bytes;
  lockstep.mirror = aligned_alloc(256, (bytes + 255) / 256 * 256);
  lockstep.after = malloc(bytes);
  assert_true(lockstep.mirror && lockstep.after);
  return lockstep.arena;
}

static void lockstep_release(struct ffb_device *of, void *memory) {
  free(lockstep.mirror);
  free(lockstep.after);
  device->release(of, memory);
}

static size_t offset_of(const struct ffb_tensor *tensor) {
  size_t offset = (size_t)((const char *)tensor->data - lockstep.arena);
  assert_true(offset + ffb_tensor_bytes(tensor) <= lockstep.bytes);
  return offset;
}

/* The call on the CPU, over the copy, with scratch memory of its own. */
static void call_cpu(enum ffb_operator operation, const union ffb_arguments *arguments,
                     const struct ffb_operand *operands, size_t count) {
  union ffb_arguments own = *arguments;
  struct ffb_tensor workspace = {.type = FFB_U8, .shape = {0, 1, 1, 1}}, **place;
  void *device_data[FFB_MAX_OPERANDS];
  if (!ffb_backend_cpu.operators[operation])
    fail_msg("the CPU has no %s to compare with", ffb_operator_name(operation));
  place = ffb_operand_workspace(operation, &own);
  if (place) {
    workspace.shape[0] = (int64_t)ffb_backend_cpu.workspace(lockstep.cpu, operation, &own);
    workspace.data = aligned_alloc(64, (size_t)(workspace.shape[0] + 64) / 64 * 64);
    *place = workspace.shape[0] ? &workspace : NULL;
  }
  for (size_t i = 0; i < count; i++)
    device_data[i] = operands[i].tensor->data;
  for (size_t i = 0; i < count; i++)
    operands[i].tensor->data = lockstep.mirror + ((char *)device_data[i] - lockstep.arena);
  bool done = ffb_backend_cpu.operators[operation](lockstep.cpu, &own);
  for (size_t i = 0; i < count; i++)
    operands[i].tensor->data = device_data[i];
  free(workspace.data);
  assert_true(done);
}

/* Operators over INT8: what they give is fixed to the last bit, FP32 too. */
static bool is_of_integers(enum ffb_operator operation) {
  const char *name = ffb_operator_name(operation);
  return strstr(name, "s8") || strncmp(name, "suq", 3) == 0 || operation == FFB_DEQUANTISE;
}

static void compare(enum ffb_operator operation, const union ffb_arguments *arguments,
                    const struct ffb_tensor *tensor) {
  size_t at = offset_of(tensor), bytes = ffb_tensor_bytes(tensor);
  bool integer = tensor->type != FFB_F32 && tensor->type != FFB_F64,
       product = strstr(ffb_operator_name(operation), "s8");
  /* Scratch, and what is left over where a gradient lay. */
  if (tensor == ffb_operand_scratch(operation, arguments) || !(integer || is_of_integers(operation)) ||
      (operation == FFB_BATCH_NORMALISE_GRADIENT_S8 && tensor == arguments->batch_normalise_gradient_s8.gradient.gx))
    return;
  lockstep.operands += tensor->type == FFB_S8;
  lockstep.products += product && tensor->type != FFB_S8;
  if (lockstep.tamper && tensor->type == FFB_S8)
    lockstep.mirror[at] ^= 1;
  if (memcmp(lockstep.mirror + at, lockstep.after + at, bytes) != 0 && !*lockstep.differs)
    snprintf(lockstep.differs, sizeof lockstep.differs, "%s of %s", tensor->name, ffb_operator_name(operation));
}

static bool call_both(struct ffb_device *of, enum ffb_operator operation, const union ffb_arguments *arguments) {
  struct ffb_operand operands[FFB_MAX_OPERANDS];
  size_t count = ffb_operands(operation, arguments, operands);
  assert_true(device->read(of, lockstep.mirror, lockstep.arena, lockstep.bytes));
  call_cpu(operation, arguments, operands, count);
  bool done = device->operators[operation](of, arguments);
  assert_true(device->read(of, lockstep.after, lockstep.arena, lockstep.bytes));
  for (size_t i = 0; i < count; i++)
    if (operands[i].write)
      compare(operation, arguments, operands[i].tensor);
  return done;
}

#define BOTH(NAME, name, optional)                                                                                     \
  static bool both_##name(struct ffb_device *of, const union ffb_arguments *arguments) {                               \
    return call_both(of, FFB_##NAME, arguments);                                                                       \
  }
FFB_OPERATORS(BOTH)
#undef BOTH

static void step_with_cpu(const struct recipe *recipe, const struct records *records, bool tamper) {
  static bool (*const operators[FFB_OPERATOR_COUNT])(struct ffb_device *, const union ffb_arguments *) = {
#define ENTRY(NAME, name, optional) [FFB_##NAME] = both_##name,
      FFB_OPERATORS(ENTRY)
#undef ENTRY
  };
  struct subject s;
  char message[256] = "";
  memset(&lockstep, 0, sizeof lockstep);
  lockstep.backend = *device;
  lockstep.backend.allocate = lockstep_allocate;
  lockstep.backend.release = lockstep_release;
  lockstep.backend.capture_begin = NULL;
  for (int i = 0; i < FFB_OPERATOR_COUNT; i++)
    lockstep.backend.operators[i] = device->operators[i] ? operators[i] : NULL;
  lockstep.tamper = tamper;
  assert_true(ffb_backend_cpu.open(&lockstep.cpu, &(struct ffb_device_request){.threads = 1}, message, sizeof message));
  make_on(&s, recipe, &lockstep.backend);
  train(&s, records, 0, 3); /* whole batches, and the partial one */
  subject_end(&s);
  ffb_backend_cpu.close(lockstep.cpu);
}

static void integer_operands_and_products_are_the_cpus(void **state) {
  (void)state;
  for (size_t i = 0; i < RECIPES; i++) {
    const struct records *records;
    const struct recipe *recipe = recipe_at(i, &records);
    step_with_cpu(recipe, records, false);
    if (*lockstep.differs)
      fail_msg("%s: %s", name_of(recipe), lockstep.differs);
    bool integer = strcmp(recipe->algorithm, "bp_fp32") != 0;
    assert_int_equal(lockstep.operands > 0, integer);
    assert_int_equal(lockstep.products > 0, integer);
  }
  step_with_cpu(&perceptrons[1], &digits, true);
  assert_true(*lockstep.differs); /* a bit that is not the same is seen */
}

/* ---- replay, counts, memory -------------------------------------------------------------------------------------- */

static void ignore_call(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  (void)to, (void)program, (void)call, (void)operation;
}

/* Replayed programs, the same again, and the calls one by one, which an observer makes of them. */
static void replay_gives_the_same_bits(void **state) {
  (void)state;
  for (size_t i = 0; i < RECIPES; i++) {
    const struct records *records;
    const struct recipe *recipe = recipe_at(i, &records);
    struct subject subjects[3];
    for (int k = 0; k < 3; k++) {
      make_on(&subjects[k], recipe, device);
      if (k == 2)
        ffb_plan_observe(subjects[k].plan, ignore_call, NULL);
      train(&subjects[k], records, 0, STEPS);
      if (k > 0)
        assert_same_state(&subjects[k], &subjects[0], name_of(recipe));
    }
    for (int k = 0; k < 3; k++)
      subject_end(&subjects[k]);
  }
}

struct facts {
  long long products, on_tensor_cores;
  bool refused;
  long long captured, replayed;
};

static void note_fact(void *to, const char *name, const char *value) {
  struct facts *facts = to;
  if (strcmp(name, "int8_products") == 0)
    facts->products = atoll(value);
  if (strcmp(name, "int8_products_on_tensor_cores") == 0)
    facts->on_tensor_cores = atoll(value);
  if (strcmp(name, "programs") == 0)
    sscanf(value, "%lld captured, replayed %lld times", &facts->captured, &facts->replayed);
  facts->refused = facts->refused || strcmp(name, "not_captured") == 0;
}

static void int8_products_run_on_tensor_cores(void **state) {
  (void)state;
  for (size_t i = 0; i < RECIPES; i++) {
    const struct records *records;
    const struct recipe *recipe = recipe_at(i, &records);
    struct facts after_some = {0}, after_more = {0};
    struct subject s;
    make_on(&s, recipe, device);
    train(&s, records, 0, STEPS);
    device->describe(s.device, note_fact, &after_some);
    train(&s, records, STEPS, STEPS);
    device->describe(s.device, note_fact, &after_more);
    if (after_some.products != after_some.on_tensor_cores)
      fail_msg("%s: %lld of %lld INT8 products ran on tensor cores", name_of(recipe), after_some.on_tensor_cores,
               after_some.products);
    assert_int_equal(after_some.products > 0, strcmp(recipe->algorithm, "bp_fp32") != 0);
    /* Replayed steps count as those that were called. */
    assert_int_equal(after_more.products, 2 * after_some.products);
    assert_true(after_some.captured > 0 && after_some.replayed > 0);
    assert_true(after_more.replayed > after_some.replayed);
    if (after_more.refused)
      fail_msg("%s: a program could not be captured", name_of(recipe));
    subject_end(&s);
  }
}

static void no_room_is_an_error_that_says_so(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct ffb_device_memory memory;
  struct subject s;
  struct recipe recipe = {.algorithm = "bp_fp32", .hidden = "60000,60000", .batch = 4000000, .backend = device};
  subject_begin(&s, &recipe);
  assert_true(device->memory(s.device, &memory));
  assert_true(memory.used_first > 0 && memory.used_first <= memory.used_peak && memory.used_peak <= memory.total);
  assert_false(subject_create(&s, &error));
  assert_mentions(&error, "--batch");
  assert_mentions(&error, "MiB are free");
  subject_end(&s);
}

static int make_records(void **state) {
  (void)state;
  records_make(&digits, 21, 4 * 12);
  records_make(&images, 10, 16 * 16 * 3);
  return 0;
}

static int free_records(void **state) {
  (void)state;
  records_free(&digits);
  records_free(&images);
  return 0;
}

int main(int count, char **names) {
  const char *name = count > 1 ? names[1] : ffb_backend_loadable(0), *why = ffb_backend_problem(name);
  char message[512];
  device = ffb_backend_find(name);
  if (device && device->available && !device->available(message, sizeof message))
    why = message;
  if (!device && !why)
    why = "there is no backend of that name";
  if (why) {
    print_message("ok - trainers on backend %s # SKIP %s\n", name, why);
    return count > 1 ? SKIPPED_STATUS : 0;
  }
  const struct CMUnitTest cases[] = {
      cmocka_unit_test(one_step_is_near_the_cpus),        cmocka_unit_test(integer_operands_and_products_are_the_cpus),
      cmocka_unit_test(replay_gives_the_same_bits),       cmocka_unit_test(int8_products_run_on_tensor_cores),
      cmocka_unit_test(no_room_is_an_error_that_says_so),
  };
  return cmocka_run_group_tests_name(name, cases, make_records, free_records);
}
