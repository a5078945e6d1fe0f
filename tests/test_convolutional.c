/* Backpropagation through convolutional networks: the same bits on every backend, checkpointing and accumulation,
 * operator traces and counts, prediction, and what a run says that diverges. */
#include "tests/variants.h"

#include "backends/reference/reference.h"

static struct ffb_error error;

#define SMALL        .height = 16, .width = 16, .channels = 3, .batch = 4, .records = 10
#define RESNET       SMALL, .model = "resnet18", .model_options = "width=0.125"
#define NARROW       SMALL, .model = "resnet18", .model_options = "width=0.0625"
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
    /* A narrow ResNet-18 peaks at its last weights, whatever else is kept. */
    if (strcmp(plain[i].model, "resnet18") != 0)
      assert_true(small.peak < kept.peak);
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

/* ---- dropout against finite differences -------------------------------------------------------------------------- */

enum { SMOOTH_HEIGHT = 4, SMOOTH_WIDTH = 12, SMOOTH_ROWS = 8, SMOOTH_CHANNELS = 8 };

static int smooth_convolution(struct ffb_network *n, const char *name, int node, struct ffb_window window, int groups,
                              bool activated) {
  char norm[FFB_NAME_BYTES], silu[FFB_NAME_BYTES];
  snprintf(norm, sizeof norm, "%s.norm", name);
  snprintf(silu, sizeof silu, "%s.silu", name);
  node = ffb_network_convolution(n, name, node, SMOOTH_CHANNELS, window, groups, &error);
  node = ffb_network_batch_norm(n, norm, node, 0.1f, 1e-5f, &error);
  return activated ? ffb_network_activation(n, silu, node, FFB_ACTIVATION_SILU, &error) : node;
}

/* Two residual blocks whose main paths whole samples drop, one of them with squeeze-and-excitation, and a dropout
 * before the classifier. No kinks, so that differences tell slopes. */
static void build_smooth_network(struct subject *s) {
  struct ffb_network *n = &s->network;
  const struct ffb_window wide = {.kernel = 3, .stride = 1, .padding = 1}, point = {.kernel = 1, .stride = 1};
  ffb_network_destroy(n);
  GOOD(ffb_network_create(n, "smooth", SMOOTH_HEIGHT, SMOOTH_WIDTH, 1, CLASSES, &error), &error);
  GOOD(ffb_network_unit(n, "stem", false, &error), &error);
  int node = smooth_convolution(n, "stem", 0, wide, 1, true), shortcut = node;
  GOOD(ffb_network_unit(n, "squeezed", false, &error), &error);
  int deep = smooth_convolution(n, "deep", node, wide, SMOOTH_CHANNELS, true);
  node = ffb_network_average_pool(n, "squeeze", deep, &error);
  node = ffb_network_linear(n, "fc1", node, 4, true, &error);
  node = ffb_network_activation(n, "fc1.silu", node, FFB_ACTIVATION_SILU, &error);
  node = ffb_network_linear(n, "fc2", node, SMOOTH_CHANNELS, true, &error);
  node = ffb_network_activation(n, "fc2.sigmoid", node, FFB_ACTIVATION_SIGMOID, &error);
  node = ffb_network_scale(n, "excite", deep, node, &error);
  node = smooth_convolution(n, "point", node, point, 1, false);
  node = ffb_network_dropout(n, "squeezed.depth", node, 0.4f, true, &error);
  shortcut = node = ffb_network_add(n, "squeezed.add", node, shortcut, &error);
  GOOD(ffb_network_unit(n, "plain", false, &error), &error);
  node = smooth_convolution(n, "plain", node, wide, 1, false);
  node = ffb_network_dropout(n, "plain.depth", node, 0.3f, true, &error);
  node = ffb_network_add(n, "plain.add", node, shortcut, &error);
  GOOD(ffb_network_unit(n, "head", true, &error), &error);
  node = ffb_network_average_pool(n, "pool", node, &error);
  node = ffb_network_dropout(n, "dropout", node, 0.4f, false, &error);
  GOOD(ffb_network_linear(n, "fc", node, CLASSES, true, &error) >= 0, &error);
}

/* A trainer before its first step, to come back to. */
struct start {
  struct subject s;
  struct snapshot tensors;
  uint8_t state[64];
  size_t bytes;
  const struct records *records;
};

static void start_make(struct start *start, const struct recipe *recipe, const struct variant *variant, bool drops,
                       const struct records *records) {
  struct recipe changed = *recipe;
  changed.backend = variant->backend;
  changed.threads = variant->threads;
  subject_begin(&start->s, &changed);
  build_smooth_network(&start->s);
  for (int i = 0; i < start->s.network.layer_count && !drops; i++)
    start->s.network.layers[i].rate = 0;
  plan_unfused = variant->unfused;
  GOOD(subject_create(&start->s, &error), &error);
  plan_unfused = false;
  start->tensors = snapshot_take(&start->s);
  start->bytes = start->s.trainer->save(start->s.state, NULL);
  assert_in_range(start->bytes, 1, sizeof start->state);
  start->s.trainer->save(start->s.state, start->state);
  start->records = records;
}

static void start_free(struct start *start) {
  free(start->tensors.data);
  subject_end(&start->s);
}

/* The loss of the first step, or of the one after it, with `changed` holding other values; weights are left as the step
 * makes them. The same step drops the same again. */
static double loss_of_step(struct start *start, int64_t step, const struct ffb_tensor *changed, const float *values) {
  struct subject *s = &start->s;
  struct ffb_epoch_statistics statistics;
  const char *at = start->tensors.data;
  GOOD(s->trainer->load(s->state, start->state, start->bytes, &error), &error);
  if (step)
    train(s, start->records, 0, 1);
  for (size_t i = 0; i < ffb_plan_persistent_count(s->plan); i++) {
    struct ffb_tensor *tensor = ffb_plan_persistent_at(s->plan, i);
    GOOD(ffb_tensor_write(s->plan, tensor, tensor == changed ? (const void *)values : at, &error), &error);
    at += ffb_tensor_bytes(tensor);
  }
  struct ffb_batch batch = batch_of_step(s, start->records, 0);
  GOOD(s->trainer->train_step(s->state, &batch, &error), &error);
  GOOD(s->trainer->end_epoch(s->state, &statistics, &error), &error);
  return statistics.loss;
}

/* How the loss changes along the gradient of one half of a tensor's elements, then of the other. */
static void check_slopes(struct start *start, const struct ffb_tensor *tensor, const float *before, const float *after,
                         const char *what) {
  enum { MOST = 1024 };
  float moved[2][MOST];
  int64_t count = ffb_elements(tensor);
  assert_in_range(count, 1, MOST);
  for (uint32_t half = 0; half < 2; half++) {
    double squares = 0;
    for (int64_t i = 0; i < count; i++)
      squares += ffb_random_bits(3, 1, 1, (uint64_t)i) % 2 == half ? pow((double)before[i] - (double)after[i], 2) : 0;
    double h = squares > 0 ? fmin(4e-3 / squares, 2e-2 / sqrt(squares)) : 0;
    for (int64_t i = 0; i < count; i++) {
      double step = ffb_random_bits(3, 1, 1, (uint64_t)i) % 2 == half ? h * ((double)before[i] - (double)after[i]) : 0;
      moved[0][i] = (float)((double)before[i] + step);
      moved[1][i] = (float)((double)before[i] - step);
    }
    double slope = loss_of_step(start, 0, tensor, moved[0]) - loss_of_step(start, 0, tensor, moved[1]);
    if (!(fabs(slope - 2 * h * squares) <= 0.005 * 2 * h * squares + 1e-6))
      fail_msg("%s: %s: the loss changes by %g, by its gradient it should by %g", what, tensor->name, slope,
               2 * h * squares);
  }
}

static void check_dropped_gradients(struct start *start, const char *what) {
  size_t at = 0;
  loss_of_step(start, 0, NULL, NULL);
  struct snapshot stepped = snapshot_take(&start->s);
  for (size_t i = 0; i < ffb_plan_persistent_count(start->s.plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(start->s.plan, i);
    const char *before = start->tensors.data + at, *after = stepped.data + at;
    at += ffb_tensor_bytes(tensor);
    if (tensor->tag == FFB_TAG_WEIGHTS && !strstr(tensor->name, "running"))
      check_slopes(start, tensor, (const float *)(const void *)before, (const float *)(const void *)after, what);
  }
  free(stepped.data);
}

static void gradients_pass_what_was_dropped(void **state) {
  (void)state;
#define PLAIN_STEP "momentum=0 weight_decay=0 learning_rate=1 learning_rate_schedule=constant "
  static const char *const options[] = {PLAIN_STEP, PLAIN_STEP "update=separate", PLAIN_STEP "checkpointing=unit",
                                        PLAIN_STEP "accumulation=2"};
#undef PLAIN_STEP
  struct records records;
  records_make(&records, SMOOTH_ROWS, (int64_t)SMOOTH_HEIGHT * SMOOTH_WIDTH);
  for (size_t i = 0; i < COUNT_OF(options) * 3; i++) {
    const struct variant *variant = &variants[i % 3 * 2];
    const struct recipe recipe = {
        .algorithm = "bp_fp32", .options = options[i / 3], .batch = SMOOTH_ROWS, .records = SMOOTH_ROWS, .seed = 4};
    struct start start, whole;
    char what[320];
    snprintf(what, sizeof what, "%s, %s", recipe.options, variant->name);
    start_make(&start, &recipe, variant, true, &records);
    start_make(&whole, &recipe, variant, false, &records);
    double loss = loss_of_step(&start, 0, NULL, NULL);
    assert_true(fabs(loss - loss_of_step(&start, 1, NULL, NULL)) > 1e-3); /* another step drops others */
    assert_true(fabs(loss - loss_of_step(&whole, 0, NULL, NULL)) > 1e-3);
    check_dropped_gradients(&start, what);
    start_free(&start);
    start_free(&whole);
  }
  records_free(&records);
}

/* ---- traces and counts ------------------------------------------------------------------------------------------- */

/* The INT8 trainers on every network; then what changes a program's products, each on one of them. */
static const struct recipe traced[] = {
    {NARROW, .algorithm = "bp_int8"},
    {NARROW, .algorithm = "bp_ui8", .options = "search_period=2"},
    {NARROW, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {MOBILENET, .algorithm = "bp_int8"},
    {MOBILENET, .algorithm = "bp_ui8", .options = "search_period=2"},
    {MOBILENET, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {EFFICIENTNET, .algorithm = "bp_int8"},
    {EFFICIENTNET, .algorithm = "bp_ui8", .options = "search_period=2"},
    {EFFICIENTNET, .algorithm = "bp_gdai8", .options = "search_period=2"},
    {EFFICIENTNET, .algorithm = "bp_gdai8", .options = "search_period=2 segments=2"},
    {MOBILENET, .algorithm = "bp_ui8", .options = "search_period=2 checkpointing=unit"},
    {EFFICIENTNET, .algorithm = "bp_int8", .options = "accumulation=3 update=separate"},
    {NARROW, .algorithm = "bp_gdai8", .options = "search_period=2 segments=2 checkpointing=unit accumulation=2"},
    {MOBILENET, .algorithm = "bp_int8", .options = "weights=int8"},
};

/* Calls and multiply-accumulates by what they are for. */
struct products {
  int64_t calls[FFB_PRODUCT_COUNT], macs[FFB_PRODUCT_COUNT];
};

/* Every product of a program has INT8 operands. */
static struct products products_of(const struct ffb_program *program, const char *what) {
  struct products products = {0};
  for (size_t i = 0; i < ffb_program_calls(program); i++) {
    const union ffb_arguments *arguments = NULL;
    enum ffb_operator operation = ffb_program_call(program, i, &arguments);
    struct ffb_operation_count count = count_call(program, i);
    if (count.mac_f32)
      fail_msg("%s: %s: %s", what, ffb_program_name(program), ffb_operator_name(operation));
    products.calls[ffb_call_product(operation, arguments)] += count.mac_s8 > 0;
    products.macs[ffb_call_product(operation, arguments)] += count.mac_s8;
  }
  return products;
}

/* What a program of `rows` rows needs: each layer's product forward, once more where it is recomputed, and in training
 * its two gradients, once for each segment; all that for every part of the batch. */
static struct products products_wanted(const struct subject *s, const struct recipe *recipe, int64_t rows,
                                       bool training) {
  struct products wanted = {0};
  const char *options = recipe->options ? recipe->options : "", *accumulation = strstr(options, "accumulation=");
  int64_t parts = accumulation && training ? strtoll(accumulation + strlen("accumulation="), NULL, 10) : 1;
  int64_t segments = strstr(options, "segments=2") ? 2 : 1;
  parts = parts < rows ? parts : rows;
  for (int i = 0; i < s->network.layer_count; i++) {
    const struct ffb_layer *layer = &s->network.layers[i];
    int64_t macs = rows * ffb_layer_macs(&s->network, i);
    bool again = training && strstr(options, "checkpointing") && layer->unit + 1 < s->network.unit_count;
    const int64_t times[FFB_PRODUCT_COUNT] = {[FFB_PRODUCT_FORWARD] = 1 + again,
                                              [FFB_PRODUCT_INPUT_GRADIENT] =
                                                  training && layer->inputs[0] > 0 ? segments : 0,
                                              [FFB_PRODUCT_WEIGHT_GRADIENT] = training ? segments : 0};
    for (int k = 0; k < FFB_PRODUCT_COUNT && macs > 0; k++) {
      wanted.calls[k] += parts * times[k];
      wanted.macs[k] += macs * times[k];
    }
  }
  return wanted;
}

static bool is_step(const struct ffb_program *program) {
  return strncmp(ffb_program_name(program), "train", 5) == 0;
}

static bool is_prediction(const struct ffb_program *program) {
  return strcmp(ffb_program_name(program), "predict") == 0;
}

/* How many programs of a plan train or predict; the others prepare weights, and multiply nothing. */
static int working_programs(const struct ffb_plan *plan) {
  int count = 0;
  for (size_t p = 0; p < ffb_plan_program_count(plan); p++)
    count += is_step(ffb_plan_program_at(plan, p)) || is_prediction(ffb_plan_program_at(plan, p));
  return count;
}

static void assert_products(const struct subject *s, const struct recipe *recipe, const struct ffb_program *program) {
  const char *name = ffb_program_name(program);
  int64_t rows = strstr(name, "partial") ? recipe->records % recipe->batch : recipe->batch;
  struct products got = products_of(program, mode_name(recipe)), wanted = {0};
  if (is_step(program) || is_prediction(program))
    wanted = products_wanted(s, recipe, rows, is_step(program));
  for (int k = 0; k < FFB_PRODUCT_COUNT; k++) {
    if (got.calls[k] != wanted.calls[k] || got.macs[k] != wanted.macs[k])
      fail_msg("%s: %s: kind %d: %lld products of %lld, want %lld of %lld", mode_name(recipe), name, k,
               (long long)got.calls[k], (long long)got.macs[k], (long long)wanted.calls[k], (long long)wanted.macs[k]);
  }
}

static int64_t layers_of(const struct subject *s, enum ffb_layer_kind kind) {
  int64_t count = 0;
  for (int i = 0; i < s->network.layer_count; i++)
    count += s->network.layers[i].kind == kind;
  return count;
}

static void int8_trainers_multiply_int8_only(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(traced); i++) {
    for (size_t v = 0; v < COUNT_OF(variants); v += 2) {
      struct subject s;
      bool searches = strstr(traced[i].algorithm, "bp_int8") == NULL,
           squeezes = strstr(traced[i].model, "efficientnet") != NULL;
      make_variant(&s, &traced[i], &variants[v]);
      assert_true(layers_of(&s, FFB_LAYER_CONVOLUTION) > 10);
      assert_int_equal(layers_of(&s, FFB_LAYER_LINEAR), squeezes ? 1 + 2 * 16 : 1);
      /* full and partial batch, each also with a search; prediction */
      assert_int_equal(working_programs(s.plan), searches ? 5 : 3);
      for (size_t p = 0; p < ffb_plan_program_count(s.plan); p++)
        assert_products(&s, &traced[i], ffb_plan_program_at(s.plan, p));
      subject_end(&s);
    }
  }
}

/* What the reference operators counted inside themselves while every program ran. */
struct execution {
  const struct ffb_program *programs[8];
  int count;
  int64_t wanted; /* by shapes, without taps on padding */
};

static void see_program(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct execution *execution = to;
  struct ffb_operation_count shapes = count_call(program, call);
  int known = 0;
  (void)operation;
  while (known < execution->count && execution->programs[known] != program)
    known++;
  assert_in_range(known, 0, COUNT_OF(execution->programs) - 1);
  if (known == execution->count)
    execution->programs[execution->count++] = program;
  execution->wanted += shapes.mac_s8 - shapes.padding;
}

static void int8_trainers_execute_int8_products_only(void **state) {
  for (size_t i = 0; i < COUNT_OF(traced); i++) {
    struct subject s;
    struct execution execution = {0};
    struct ffb_executed before, after;
    float scores[PREDICTED * CLASSES];
    make_variant(&s, &traced[i], &variants[0]);
    ffb_plan_observe(s.plan, see_program, &execution);
    ffb_reference_executed(s.device, &before);
    train(&s, *state, 0, 6); /* two epochs: both kinds of batch, with a search and without */
    predict(&s, *state, 0, PREDICTED, scores);
    ffb_reference_executed(s.device, &after);
    assert_int_equal(execution.count, working_programs(s.plan));
    assert_int_equal(after.mac_f32, before.mac_f32);
    assert_int_equal(after.mac_s8 - before.mac_s8, execution.wanted);
    assert_true(execution.wanted > 0);
    subject_end(&s);
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

/* A layer whose weights are spoilt, and the first one that looks at what comes of it. */
static const struct {
  struct recipe recipe;
  const char *layer, *named;
} spoilt[] = {
    {{RESNET, .algorithm = "bp_fp32"}, "layer2.0.conv1", "layer2.0.bn1"},
    {{RESNET, .algorithm = "bp_gdai8"}, "layer4.1.conv2", "layer4.1.bn2"},
    {{MOBILENET, .algorithm = "bp_fp32"}, "features.5.conv.1.0", "features.5.conv.1.1"}, /* depthwise */
    {{MOBILENET, .algorithm = "bp_ui8"}, "features.16.conv.2", "features.16.conv.3"},
    {{MOBILENET, .algorithm = "bp_int8", .options = "checkpointing=unit"}, "features.0.0", "features.0.1"},
    {{EFFICIENTNET, .algorithm = "bp_fp32"}, "features.2.1.block.2.fc1", "features.2.1.block.2.fc1"},
    {{EFFICIENTNET, .algorithm = "bp_gdai8"}, "features.4.0.block.2.fc2", "features.4.0.block.2.fc2"},
    {{EFFICIENTNET, .algorithm = "bp_int8"}, "classifier.1", "classifier.1"},
};

/* The first weight of a layer; and where weights have a scale, the scale of weights that hold an infinity. */
static void spoil_layer(struct subject *s, const char *layer) {
  char name[FFB_NAME_BYTES + 16];
  bool int8 = s->trainer->flags & FFB_TRAINER_INT8;
  snprintf(name, sizeof name, "%s.weight", layer);
  struct ffb_tensor *weight = tensor_named(s->plan, name);
  float *values = content(s->plan, weight);
  values[0] = int8 ? INFINITY : NAN;
  GOOD(ffb_tensor_write(s->plan, weight, values, &error), &error);
  snprintf(name, sizeof name, "%s.weight_scale", layer);
  if (int8)
    GOOD(ffb_tensor_write(s->plan, tensor_named(s->plan, name), values, &error), &error);
  free(values);
}

static void a_nan_is_traced_to_its_layer_and_step(void **state) {
  for (size_t i = 0; i < COUNT_OF(spoilt); i++) {
    struct subject s;
    int64_t step = (int64_t)i % 2; /* before the epoch's last, so that its end is ours */
    bool diverged = true;
    make_variant(&s, &spoilt[i].recipe, &variants[2]);
    train(&s, *state, 0, step);
    GOOD(s.trainer->diverged(s.state, &diverged, &error), &error);
    assert_false(diverged);
    spoil_layer(&s, spoilt[i].layer);
    assert_diverges(&s, *state, step, spoilt[i].named);
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
      cmocka_unit_test(gradients_pass_what_was_dropped),
      cmocka_unit_test(int8_trainers_multiply_int8_only),
      cmocka_unit_test(int8_trainers_execute_int8_products_only),
      cmocka_unit_test(formulas_count_what_programs_do),
      cmocka_unit_test(prediction_looks_at_one_sample_at_a_time),
      cmocka_unit_test(a_nan_is_traced_to_its_layer_and_step),
  };
  return cmocka_run_group_tests(tests, small_images_make, small_images_free);
}
