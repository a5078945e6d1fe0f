/* Backpropagation through convolutional networks: the same bits on every backend, checkpointing and accumulation,
 * operator traces and counts, prediction, and what a run says that diverges. */
#include "tests/variants.h"

static struct ffb_error error;

#define SMALL        .height = 16, .width = 16, .channels = 3, .batch = 4, .records = 10
#define RESNET       SMALL, .model = "resnet18", .model_options = "width=0.125"
#define RESNET_CIFAR SMALL, .model = "resnet18", .model_options = "width=0.0625 stem=cifar"
#define MOBILENET    SMALL, .model = "mobilenet_v2", .model_options = "width=0.1"
#define EFFICIENTNET                                                                                                   \
  SMALL, .model = "efficientnet_b0", .model_options = "width=0.1 squeeze_excitation=true stochastic_depth=0.3"

static const struct recipe int8_modes[] = {
    {RESNET, .algorithm = "bp_int8"},
    {RESNET, .algorithm = "bp_int8", .options = "weights=int8"},
    {RESNET, .algorithm = "bp_int8", .options = "update=separate gradient_range=0.01"},
    {RESNET, .algorithm = "bp_ui8", .options = "search_period=2"},
    {RESNET, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {RESNET, .algorithm = "bp_gdai8", .options = "search_period=2 segments=2"},
    {RESNET, .algorithm = "bp_gdai8", .options = "search_period=2 checkpointing=unit accumulation=2"},
    {RESNET_CIFAR, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {MOBILENET, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {MOBILENET, .algorithm = "bp_int8", .options = "weight_gradient_rounding=stochastic checkpointing=unit"},
    {EFFICIENTNET, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {EFFICIENTNET, .algorithm = "bp_ui8", .options = "search_period=2 accumulation=2 optimiser=adam"},
};

static const struct recipe fp32_modes[] = {{RESNET, .algorithm = "bp_fp32"},
                                           {RESNET_CIFAR, .algorithm = "bp_fp32", .options = "update=separate"},
                                           {RESNET, .algorithm = "bp_fp32", .options = "checkpointing=unit"}};

static const char *mode_name(const struct recipe *recipe) {
  static char name[512];
  snprintf(name, sizeof name, "%s %s (%s): %s", recipe->model, recipe->model_options ? recipe->model_options : "",
           recipe->algorithm, recipe->options ? recipe->options : "");
  return name;
}

/* ---- the same bits everywhere ----------------------------------------------------------------------------------- */

enum { STEPS = 5, PREDICTED = 7 };

static void int8_bits_do_not_depend_on_the_backend(void **state) {
  for (size_t i = 0; i < COUNT_OF(int8_modes); i++)
    assert_same_bits(&int8_modes[i], mode_name(&int8_modes[i]), *state, STEPS, PREDICTED);
}

/* Distance between two trainers' tensors of a name, relative to the first. */
static double distance(struct subject *a, struct subject *b, const char *name) {
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

/* One step: over several, batch normalisation of a few samples drives rounding errors apart; the deeper networks do
 * so in one (tests/test_golden.c holds it against PyTorch on larger maps). */
static void fp32_backends_agree(void **state) {
  for (size_t i = 0; i < COUNT_OF(fp32_modes); i++) {
    struct subject oracle;
    make_variant(&oracle, &fp32_modes[i], &variants[0]);
    train(&oracle, *state, 0, 1);
    for (size_t v = 1; v < COUNT_OF(variants); v++) {
      struct subject s;
      make_variant(&s, &fp32_modes[i], &variants[v]);
      train(&s, *state, 0, 1);
      for (size_t t = 0; t < ffb_plan_persistent_count(oracle.plan); t++) {
        const struct ffb_tensor *tensor = ffb_plan_persistent_at(oracle.plan, t);
        if (tensor->tag == FFB_TAG_WEIGHTS && distance(&oracle, &s, tensor->name) > 2e-4)
          fail_msg("%s, %s: %s is %g away", mode_name(&fp32_modes[i]), variants[v].name, tensor->name,
                   distance(&oracle, &s, tensor->name));
      }
      if (variants[v].poison && s.setup.backend == &ffb_backend_reference)
        assert_same_state(&s, &oracle, variants[v].name);
      subject_end(&s);
    }
    subject_end(&oracle);
  }
}

/* ---- memory for time --------------------------------------------------------------------------------------------- */

static void checkpointing_changes_no_bit(void **state) {
  static const struct recipe plain[] = {{RESNET, .algorithm = "bp_fp32", .options = ""},
                                        {MOBILENET, .algorithm = "bp_fp32", .options = ""},
                                        {EFFICIENTNET, .algorithm = "bp_fp32", .options = ""},
                                        {RESNET, .algorithm = "bp_gdai8", .options = "search_period=2"},
                                        {EFFICIENTNET, .algorithm = "bp_ui8", .options = "search_period=2"}};
  for (size_t i = 0; i < COUNT_OF(plain); i++) {
    struct recipe checkpointed = plain[i];
    char options[128];
    struct subject a, b;
    struct ffb_memory_peak kept, small;
    snprintf(options, sizeof options, "%s checkpointing=unit", plain[i].options);
    checkpointed.options = options;
    make_variant(&a, &plain[i], &variants[2]);
    make_variant(&b, &checkpointed, &variants[2]);
    train(&a, *state, 0, STEPS);
    train(&b, *state, 0, STEPS);
    assert_same_state(&b, &a, mode_name(&checkpointed));
    ffb_plan_peak_of(a.plan, "train", &kept);
    ffb_plan_peak_of(b.plan, "train", &small);
    assert_true(small.by_tag[FFB_TAG_ACTIVATIONS] < kept.by_tag[FFB_TAG_ACTIVATIONS]);
    subject_end(&a);
    subject_end(&b);
  }
}

/* Without batch normalisation the parts of a batch add up to the whole. */
static void accumulated_gradients_are_those_of_the_batch(void **state) {
  (void)state;
  static const char *const names[] = {"fc1.weight", "fc2.weight", "fc3.weight", "fc3.bias"};
  struct records records;
  records_make(&records, 21, 48);
  for (int update = 0; update < 2; update++) {
    struct recipe whole = {.algorithm = "bp_fp32", .bias = true, .options = update ? "update=separate" : ""};
    struct recipe parts = whole;
    parts.options = update ? "accumulation=3 update=separate" : "accumulation=3";
    struct subject a, b;
    make_variant(&a, &whole, &variants[0]);
    make_variant(&b, &parts, &variants[0]);
    train(&a, &records, 0, 6);
    train(&b, &records, 0, 6);
    for (size_t i = 0; i < COUNT_OF(names); i++)
      assert_true(distance(&a, &b, names[i]) < 1e-5);
    subject_end(&a);
    subject_end(&b);
  }
  records_free(&records);
}

/* ---- gradients ----------------------------------------------------------------------------------------------------
 */

/* The stem's gradient is what a step at rate 1 subtracts; running statistics and all else stay as they were. */
static void check_gradient(const struct recipe *recipe, const struct records *records) {
  struct subject s;
  struct ffb_error error = {0};
  bool wanted[256] = {true}; /* the first layer is a convolution in all of them */
  static float gradient[4096], before[4096], after[4096], *to[256] = {gradient};
  subject_begin(&s, recipe);
  assert_true(s.network.layer_count <= 256);
  s.setup.gradient_records = s.setup.batch;
  s.setup.gradient_layers = wanted;
  GOOD(subject_create(&s, &error), &error);
  struct ffb_batch batch = batch_of_step(&s, records, 0);
  struct snapshot taken = snapshot_take(&s);
  GOOD(s.trainer->gradient(s.state, &batch, to, &error), &error);
  assert_null(snapshot_changed(&taken, &s));
  free(taken.data);
  char name[FFB_NAME_BYTES + 8];
  snprintf(name, sizeof name, "%s.weight", s.network.layers[0].name);
  int64_t count = ffb_elements(tensor_named(s.plan, name));
  assert_true(count <= 4096);
  read_floats(&s, name, before);
  GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
  read_floats(&s, name, after);
  double largest = 0;
  for (int64_t i = 0; i < count; i++) {
    largest = fmax(largest, fabs((double)gradient[i]));
    assert_float_equal(gradient[i], before[i] - after[i], 1e-6);
  }
  assert_true(largest > 1e-4);
  subject_end(&s);
}

static void gradients_leave_running_statistics_alone(void **state) {
  static const char options[] = "momentum=0 learning_rate=1 learning_rate_schedule=constant";
  static const struct recipe recipes[] = {{RESNET, .algorithm = "bp_fp32", .options = options},
                                          {MOBILENET, .algorithm = "bp_fp32", .options = options},
                                          {EFFICIENTNET, .algorithm = "bp_fp32", .options = options}};
  for (size_t i = 0; i < 2 * COUNT_OF(recipes); i++) {
    struct recipe recipe = recipes[i / 2];
    recipe.backend = i % 2 ? &ffb_backend_cpu : &ffb_backend_reference;
    check_gradient(&recipe, *state);
  }
}

/* ---- traces and counts ------------------------------------------------------------------------------------------- */

struct products {
  int f32, s8_forward, s8_input, s8_weight;
};

static void count_products(struct ffb_plan *plan, const char *name, struct products *products) {
  *products = (struct products){0};
  for (size_t p = 0; p < ffb_plan_program_count(plan); p++) {
    const struct ffb_program *program = ffb_plan_program_at(plan, p);
    for (size_t i = 0; strcmp(ffb_program_name(program), name) == 0 && i < ffb_program_calls(program); i++) {
      enum ffb_operator operation = ffb_program_call(program, i, NULL);
      products->f32 += is_f32_product(operation);
      products->s8_forward += operation == FFB_CONVOLVE_S8;
      products->s8_input += operation == FFB_CONVOLVE_INPUT_S8;
      products->s8_weight += operation == FFB_CONVOLVE_WEIGHT_S8 || operation == FFB_CONVOLVE_UPDATE_S8;
    }
  }
}

static void int8_trainers_multiply_int8_only(void **state) {
  (void)state;
  static const struct recipe recipes[] = {
      {RESNET, .algorithm = "bp_int8"}, {MOBILENET, .algorithm = "bp_ui8"}, {EFFICIENTNET, .algorithm = "bp_gdai8"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    for (size_t v = 0; v < COUNT_OF(variants); v += 2) {
      struct subject s;
      struct products products;
      int convolutions = 0;
      make_variant(&s, &recipes[i], &variants[v]);
      for (int l = 0; l < s.network.layer_count; l++)
        convolutions += s.network.layers[l].kind == FFB_LAYER_CONVOLUTION;
      count_products(s.plan, "train", &products);
      assert_true(convolutions > 10);
      assert_int_equal(products.f32, 0);
      assert_int_equal(products.s8_forward, convolutions);
      assert_int_equal(products.s8_weight, convolutions);
      assert_int_equal(products.s8_input, convolutions - 1);
      subject_end(&s);
    }
  }
}

static void formulas_count_what_programs_do(void **state) {
  (void)state;
  static const struct recipe recipes[] = {{RESNET, .algorithm = "bp_fp32"},
                                          {RESNET, .algorithm = "bp_fp32", .options = "checkpointing=unit"},
                                          {MOBILENET, .algorithm = "bp_int8", .options = "accumulation=2"},
                                          {EFFICIENTNET, .algorithm = "bp_gdai8", .options = "segments=2"},
                                          {EFFICIENTNET, .algorithm = "bp_ui8", .options = "checkpointing=unit"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject s;
    struct ffb_operation_count training, prediction, counted;
    make_variant(&s, &recipes[i], &variants[0]);
    GOOD(s.trainer->count_operations(&s.setup, 4, &training, &prediction), &error);
    for (size_t p = 0; p < ffb_plan_program_count(s.plan); p++) {
      const struct ffb_program *program = ffb_plan_program_at(s.plan, p);
      bool predicts = strcmp(ffb_program_name(program), "predict") == 0;
      if (!predicts && strcmp(ffb_program_name(program), "train") != 0)
        continue;
      ffb_program_count(program, &counted);
      assert_int_equal(counted.mac_f32, predicts ? prediction.mac_f32 : training.mac_f32);
      assert_int_equal(counted.mac_s8, predicts ? prediction.mac_s8 : training.mac_s8);
    }
    subject_end(&s);
  }
}

/* ---- prediction -------------------------------------------------------------------------------------------------- */

static void prediction_looks_at_one_sample_at_a_time(void **state) {
  static const struct recipe recipes[] = {
      {RESNET, .algorithm = "bp_fp32"}, {MOBILENET, .algorithm = "bp_gdai8"}, {EFFICIENTNET, .algorithm = "bp_int8"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject s;
    float together[PREDICTED * CLASSES], alone[CLASSES];
    make_variant(&s, &recipes[i], &variants[2]);
    train(&s, *state, 0, STEPS);
    predict(&s, *state, 0, PREDICTED, together);
    for (int row = 0; row < PREDICTED; row++) {
      predict(&s, *state, row, 1, alone);
      assert_memory_equal(alone, together + row * CLASSES, sizeof alone);
    }
    subject_end(&s);
  }
}

/* ---- divergence -------------------------------------------------------------------------------------------------- */

static void a_nan_is_traced_to_its_layer_and_step(void **state) {
  static const char *const layers[] = {"layer2.0.conv1", "layer4.1.conv2"};
  static const char *const norms[] = {"layer2.0.bn1", "layer4.1.bn2"};
  for (size_t i = 0; i < COUNT_OF(layers); i++) {
    struct recipe recipe = {RESNET, .algorithm = i ? "bp_gdai8" : "bp_fp32"};
    struct subject s;
    char name[64];
    bool diverged = true;
    make_variant(&s, &recipe, &variants[2]);
    train(&s, *state, 0, 1);
    GOOD(s.trainer->diverged(s.state, &diverged, &error), &error);
    assert_false(diverged);
    snprintf(name, sizeof name, "%s.weight", layers[i]);
    struct ffb_tensor *weight = tensor_named(s.plan, name);
    float *values = content(s.plan, weight);
    values[0] = i ? INFINITY : NAN;
    GOOD(ffb_tensor_write(s.plan, weight, values, &error), &error);
    snprintf(name, sizeof name, "%s.weight_scale", layers[i]);
    if (i) /* the scale of weights that hold an infinity */
      GOOD(ffb_tensor_write(s.plan, tensor_named(s.plan, name), values, &error), &error);
    free(values);
    assert_diverges(&s, *state, 1, norms[i]);
    subject_end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(int8_bits_do_not_depend_on_the_backend),
      cmocka_unit_test(fp32_backends_agree),
      cmocka_unit_test(checkpointing_changes_no_bit),
      cmocka_unit_test(accumulated_gradients_are_those_of_the_batch),
      cmocka_unit_test(gradients_leave_running_statistics_alone),
      cmocka_unit_test(int8_trainers_multiply_int8_only),
      cmocka_unit_test(formulas_count_what_programs_do),
      cmocka_unit_test(prediction_looks_at_one_sample_at_a_time),
      cmocka_unit_test(a_nan_is_traced_to_its_layer_and_step),
  };
  return cmocka_run_group_tests(tests, small_images_make, small_images_free);
}
