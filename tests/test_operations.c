/* Operations counted twice: from the shapes of the calls (nn/count.c) and inside the reference operators while they
 * run. And both against numbers worked out by hand. */
#include "tests/trainer_cases.h"

#include "backends/reference/reference.h"

static struct ffb_error error;

/* What was executed between two looks. */
static struct ffb_executed executed_since(const struct ffb_device *device, struct ffb_executed *before) {
  struct ffb_executed now, since;
  ffb_reference_executed(device, &now);
  since = (struct ffb_executed){.mac_f32 = now.mac_f32 - before->mac_f32,
                                .mac_s8 = now.mac_s8 - before->mac_s8,
                                .quantised_elements = now.quantised_elements - before->quantised_elements,
                                .added_elements = now.added_elements - before->added_elements,
                                .compared_elements = now.compared_elements - before->compared_elements,
                                .searched_elements = now.searched_elements - before->searched_elements};
  *before = now;
  return since;
}

/* ---- call by call ----------------------------------------------------------------------------------------------- */

/* Compares each call with its shapes as it ends. */
struct watch {
  const struct ffb_device *device;
  const char *name; /* of the case */
  struct ffb_executed before;
  struct ffb_operation_count shapes; /* of all calls */
  struct ffb_executed executed;
  int searches;
};

static void assert_search(const struct watch *watch, enum ffb_operator operation, const union ffb_arguments *a,
                          int64_t searched) {
  int64_t n = operation == FFB_CLIP_SEARCH      ? ffb_elements(a->clip_search.x)
              : operation == FFB_SEGMENT_SEARCH ? ffb_elements(a->segment_search.x)
                                                : 0;
  int64_t most = operation == FFB_CLIP_SEARCH ? 26 : 8;
  if (n ? searched % n || searched > most * n : searched != 0)
    fail_msg("%s: %s read %lld elements of %lld", watch->name, ffb_operator_name(operation), (long long)searched,
             (long long)n);
}

static void assert_call(const struct watch *watch, enum ffb_operator operation,
                        const struct ffb_operation_count *shapes, const struct ffb_executed *executed) {
  int64_t f32 = shapes->mac_f32 ? shapes->mac_f32 - shapes->padding : 0;
  int64_t s8 = shapes->mac_s8 ? shapes->mac_s8 - shapes->padding : 0;
  const int64_t pairs[][2] = {{f32, executed->mac_f32},
                              {s8, executed->mac_s8},
                              {shapes->quantised_elements, executed->quantised_elements},
                              {shapes->added_elements, executed->added_elements},
                              {shapes->compared_elements, executed->compared_elements}};
  static const char *const what[] = {"FP32 products", "INT8 products", "rounded", "added", "compared"};
  for (size_t i = 0; i < COUNT_OF(pairs); i++) {
    if (pairs[i][0] != pairs[i][1])
      fail_msg("%s: %s: %s: %lld by its shapes, %lld executed", watch->name, ffb_operator_name(operation), what[i],
               (long long)pairs[i][0], (long long)pairs[i][1]);
  }
}

static void see_call(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct watch *watch = to;
  const union ffb_arguments *arguments = NULL;
  struct ffb_operation_count shapes = {0};
  struct ffb_executed executed = executed_since(watch->device, &watch->before);
  ffb_program_call(program, call, &arguments);
  ffb_call_count(operation, arguments, &shapes);
  assert_call(watch, operation, &shapes, &executed);
  assert_search(watch, operation, arguments, executed.searched_elements);
  assert_int_equal(shapes.forward + shapes.input_gradient + shapes.weight_gradient, shapes.mac_f32 + shapes.mac_s8);
  ffb_call_count(operation, arguments, &watch->shapes);
  watch->executed.mac_f32 += executed.mac_f32;
  watch->executed.mac_s8 += executed.mac_s8;
  watch->searches += executed.searched_elements > 0;
}

/* Three steps (the last of a partial batch where the recipe has one) and a prediction. */
static struct watch watch_recipe(const struct recipe *recipe, const char *name) {
  enum { STEPS = 3, ROWS = 3 };
  struct subject s;
  struct records records;
  float scores[ROWS * CLASSES];
  subject_make(&s, recipe);
  int64_t image = or_default(recipe->height, 4) * or_default(recipe->width, 12) * or_default(recipe->channels, 1);
  struct watch watch = {.device = s.device, .name = name};
  records_make(&records, or_default(recipe->records, 21), image);
  ffb_reference_executed(s.device, &watch.before);
  ffb_plan_observe(s.plan, see_call, &watch);
  train(&s, &records, 0, STEPS);
  predict(&s, &records, 0, ROWS, scores);
  records_free(&records);
  subject_end(&s);
  return watch;
}

static void calls_execute_what_their_shapes_say(void **state) {
  (void)state;
  for (size_t i = 0; i < MLP_RECIPES; i++) {
    const struct recipe *recipe = mlp_recipe(i);
    bool int8 = is_int8_recipe(i), searches = strstr(recipe->algorithm, "ui8") || strstr(recipe->algorithm, "gdai8");
    struct watch watch = watch_recipe(recipe, recipe_name(recipe));
    assert_true(int8 ? watch.executed.mac_s8 > 0 && !watch.executed.mac_f32 : watch.executed.mac_f32 > 0);
    assert_int_equal(watch.shapes.padding, 0);
    assert_int_equal(watch.searches > 0, searches);
  }
}

#define SMALL     .height = 16, .width = 16, .channels = 3, .batch = 4, .records = 10
#define RESNET    SMALL, .model = "resnet18", .model_options = "width=0.125"
#define MOBILENET SMALL, .model = "mobilenet_v2", .model_options = "width=0.1"
#define EFFICIENTNET                                                                                                   \
  SMALL, .model = "efficientnet_b0", .model_options = "width=0.1 squeeze_excitation=true stochastic_depth=0.3"

static const struct recipe networks[] = {
    {RESNET, .algorithm = "bp_fp32"},
    {RESNET, .algorithm = "bp_int8", .options = "weights=int8"},
    {RESNET, .algorithm = "bp_gdai8", .options = "search_period=2 segments=2"},
    {MOBILENET, .algorithm = "bp_ui8", .options = "search_period=2 checkpointing=unit"},
    {EFFICIENTNET, .algorithm = "bp_gdai8", .options = "search_period=2 accumulation=2"},
    {RESNET, .algorithm = "ff_int8", .options = "lookahead=chain lambda_step=0.5"},
    {MOBILENET, .algorithm = "ff_int8", .options = "lambda_step=0.5 lookahead_memory=recompute"},
    {SMALL, .model = "resnet18", .model_options = "width=0.1875", .algorithm = "ff_int8",
     .options = "preset=one_pass"}};

static void calls_of_convolutional_networks_too(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(networks); i++) {
    struct watch watch = watch_recipe(&networks[i], networks[i].model);
    int64_t macs = watch.shapes.mac_f32 + watch.shapes.mac_s8,
            executed = watch.executed.mac_f32 + watch.executed.mac_s8;
    assert_true(watch.shapes.padding > 0);
    assert_int_equal(executed + watch.shapes.padding, macs);
  }
}

/* Sums over all programs of a plan. */
static struct ffb_operation_count count_plan(const struct recipe *recipe, const struct ffb_backend *backend) {
  struct recipe changed = *recipe;
  struct ffb_operation_count sum = {0};
  struct subject s;
  changed.backend = backend;
  subject_make(&s, &changed);
  for (size_t i = 0; i < ffb_plan_program_count(s.plan); i++) {
    const struct ffb_program *program = ffb_plan_program_at(s.plan, i);
    for (size_t call = 0; call < ffb_program_calls(program); call++) {
      const union ffb_arguments *arguments = NULL;
      enum ffb_operator operation = ffb_program_call(program, call, &arguments);
      ffb_call_count(operation, arguments, &sum);
    }
  }
  subject_end(&s);
  return sum;
}

/* Fused forms are counted like what they are made of, so what was counted on the reference holds elsewhere. */
static void fused_forms_count_like_compositions(void **state) {
  (void)state;
  for (size_t i = 0; i < MLP_RECIPES + COUNT_OF(networks); i++) {
    const struct recipe *recipe = i < MLP_RECIPES ? mlp_recipe(i) : &networks[i - MLP_RECIPES];
    struct ffb_operation_count reference = count_plan(recipe, &ffb_backend_reference);
    struct ffb_operation_count cpu = count_plan(recipe, &ffb_backend_cpu);
    if (memcmp(&reference, &cpu, sizeof cpu) != 0)
      fail_msg("%s %s: %lld %lld rounded, %lld %lld added, %lld %lld compared, %lld %lld padding, %lld %lld %lld %lld",
               recipe_name(recipe), recipe->model ? recipe->model : "", (long long)reference.quantised_elements,
               (long long)cpu.quantised_elements, (long long)reference.added_elements, (long long)cpu.added_elements,
               (long long)reference.compared_elements, (long long)cpu.compared_elements, (long long)reference.padding,
               (long long)cpu.padding, (long long)reference.mac_f32, (long long)cpu.mac_f32,
               (long long)reference.mac_s8, (long long)cpu.mac_s8);
  }
}

/* ---- by hand ---------------------------------------------------------------------------------------------------- */

/* 784-500-500-500-10 and a batch of 10. Weights: 392,000 + 250,000 + 250,000 + 5,000 = 897,000; without the classifier,
 * which forward-forward does not train, 892,000. Times 10 rows, in millions:
 *   backpropagation: forward 8.97, weight gradients 8.97, input gradients of all but the first layer 5.05; in
 * all 22.99. forward-forward, a positive and a negative pass: 20 x 892,000 forward and as many for the weight
 * gradients; 35.68. With the last layer of 10 a unit like the others 20 x 897,000 each: 35.88. Prediction: 8.97 for
 * backpropagation; ten labels tried, 10 x 8.92 (8.97) for forward-forward. */
struct by_hand {
  const char *algorithm, *options, *hidden;
  int64_t forward, input_gradient, weight_gradient, predict;
};

static const struct by_hand totals[] = {
    {"bp_fp32", "", "500,500,500", 8970000, 5050000, 8970000, 8970000},
    {"bp_int8", "", "500,500,500", 8970000, 5050000, 8970000, 8970000},
    {"bp_ui8", "", "500,500,500", 8970000, 5050000, 8970000, 8970000},
    {"bp_gdai8", "", "500,500,500", 8970000, 5050000, 8970000, 8970000},
    {"ff_int8", "lookahead=off", "500,500,500", 17840000, 0, 17840000, 89200000},
    {"ff_int8", "lookahead=scalar", "500,500,500", 17840000, 0, 17840000, 89200000},
    {"ff_int8", "lookahead=scalar", "500,500,500,10", 17940000, 0, 17940000, 89700000},
    {"ff_int8", "lookahead=off preset=paper", "500,500,500,10", 17940000, 0, 17940000, 89700000},
    /* The chain brings input gradients back from the second and third layer. */
    {"ff_int8", "lookahead=chain", "500,500,500", 17840000, 10000000, 17840000, 89200000},
};

struct products {
  struct subject s;
  struct ffb_executed before;
  int64_t macs[FFB_PRODUCT_COUNT];
};

static void add_product(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct products *products = to;
  const union ffb_arguments *arguments = NULL;
  struct ffb_executed executed = executed_since(products->s.device, &products->before);
  ffb_program_call(program, call, &arguments);
  products->macs[ffb_call_product(operation, arguments)] += executed.mac_f32 + executed.mac_s8;
}

static void make_paper_mlp(struct subject *s, const char *algorithm, const char *options, const char *hidden) {
  subject_make(s, &(struct recipe){.algorithm = algorithm,
                                   .options = options,
                                   .hidden = hidden,
                                   .height = 28,
                                   .width = 28,
                                   .batch = 10,
                                   .records = 10});
}

static void totals_by_hand(void **state) {
  (void)state;
  struct records records;
  records_make(&records, 10, 784);
  for (size_t i = 0; i < COUNT_OF(totals); i++) {
    const struct by_hand *by_hand = &totals[i];
    struct products products = {0};
    struct ffb_operation_count step, prediction;
    float scores[10 * CLASSES];
    make_paper_mlp(&products.s, by_hand->algorithm, by_hand->options, by_hand->hidden);
    ffb_plan_observe(products.s.plan, add_product, &products);
    train(&products.s, &records, 0, 1);
    assert_int_equal(products.macs[FFB_PRODUCT_NONE], 0);
    assert_int_equal(products.macs[FFB_PRODUCT_FORWARD], by_hand->forward);
    assert_int_equal(products.macs[FFB_PRODUCT_INPUT_GRADIENT], by_hand->input_gradient);
    assert_int_equal(products.macs[FFB_PRODUCT_WEIGHT_GRADIENT], by_hand->weight_gradient);
    predict(&products.s, &records, 0, 10, scores);
    assert_int_equal(products.macs[FFB_PRODUCT_FORWARD], by_hand->forward + by_hand->predict);
    GOOD(products.s.trainer->count_operations(&products.s.setup, 10, &step, &prediction), &error);
    assert_int_equal(step.mac_f32 + step.mac_s8, by_hand->forward + by_hand->input_gradient + by_hand->weight_gradient);
    assert_int_equal(prediction.mac_f32 + prediction.mac_s8, by_hand->predict);
    subject_end(&products.s);
  }
  records_free(&records);
  assert_int_equal(totals[0].forward + totals[0].input_gradient + totals[0].weight_gradient, 22990000);
  assert_int_equal(totals[6].forward + totals[6].weight_gradient, 35880000);
}

/* Elements of the quantisation phase, the same network and batch.
 *   backpropagation: inputs of four layers 10 x (784 + 500 + 500 + 500) = 22,840; gradients of their outputs
 *   10 x (500 + 500 + 500 + 10) = 15,100; weights and their gradients 897,000 each.
 *   forward-forward: inputs of three layers 20 x (784 + 500 + 500) = 35,680; gradients 20 x 1,500 = 30,000; weights
 *   892,000, and as many gradients of them where those are rounded.
 * A range is looked for in each of them; a random number is added where rounding is stochastic. */
static void quantisation_by_hand(void **state) {
  (void)state;
  static const struct {
    const char *algorithm, *options;
    int64_t quantised, compared, added;
  } cases[] = {
      {"bp_fp32", "", 0, 0, 0},
      {"bp_int8", "", 22840 + 15100 + 2 * 897000, 22840 + 15100 + 2 * 897000, 0},
      /* a range that is given is not looked for, in either gradient */
      {"bp_int8", "gradient_range=0.05", 22840 + 15100 + 2 * 897000, 22840 + 897000, 0},
      {"bp_int8", "quantise_weight_gradient=false", 22840 + 15100 + 897000, 22840 + 15100 + 897000, 0},
      {"bp_gdai8", "", 22840 + 15100 + 2 * 897000, 22840 + 2 * 15100 + 2 * 897000, 15100},
      {"ff_int8", "lookahead=off", 35680 + 30000 + 892000, 35680 + 30000 + 892000, 35680 + 30000},
      {"ff_int8", "lookahead=off input_rounding=nearest", 35680 + 30000 + 892000, 35680 + 30000 + 892000, 30000},
  };
  struct records records;
  records_make(&records, 10, 784);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct subject s;
    struct ffb_executed before, step;
    make_paper_mlp(&s, cases[i].algorithm, cases[i].options, "500,500,500");
    ffb_reference_executed(s.device, &before);
    train(&s, &records, 0, 1);
    step = executed_since(s.device, &before);
    if (step.quantised_elements != cases[i].quantised || step.compared_elements != cases[i].compared ||
        step.added_elements != cases[i].added)
      fail_msg("%s %s: %lld rounded, %lld compared, %lld added", cases[i].algorithm, cases[i].options,
               (long long)step.quantised_elements, (long long)step.compared_elements, (long long)step.added_elements);
    subject_end(&s);
  }
  records_free(&records);
}

/* ---- taps on padding -------------------------------------------------------------------------------------------- */

enum { MOST = 1024 };

/* Images, outputs, weights: of each a tensor for either type over memory of its own. */
struct images {
  struct ffb_tensor x, y, w, scale;
  float floats[3][MOST], one;
  int8_t bytes[3][MOST];
};

struct window_case {
  int64_t height, width, channels, outputs;
  struct ffb_window window;
  int groups;
  int64_t down, across; /* along each side, pairs of an output and a tap that meet a pixel */
};

/* Along a side of 4 the outputs of a kernel of 3 with padding 1 see 2, 3, 3 and 2 pixels; and so on. */
static const struct window_case window_cases[] = {
    {4, 4, 2, 3, {3, 1, 1}, 1, 2 + 3 + 3 + 2, 2 + 3 + 3 + 2},
    {4, 4, 2, 2, {3, 1, 1}, 2, 2 + 3 + 3 + 2, 2 + 3 + 3 + 2},
    {4, 6, 1, 2, {3, 2, 1}, 1, 2 + 3, 2 + 3 + 3},
    {1, 1, 3, 2, {3, 1, 1}, 1, 1, 1},
    {5, 3, 2, 2, {1, 2, 0}, 1, 3, 2},
    {2, 2, 1, 1, {5, 1, 2}, 1, 2 + 2, 2 + 2},
    {2, 3, 1, 1, {7, 2, 3}, 1, 2, 3 + 3},
};

static int64_t outputs_of(int64_t size, const struct ffb_window *window) {
  return (size + 2 * window->padding - window->kernel) / window->stride + 1;
}

static void make_images(struct images *images, const struct window_case *c, bool int8) {
  enum { ROWS = 2 };
  const int64_t shapes[3][4] = {{ROWS, c->height, c->width, c->channels},
                                {ROWS, outputs_of(c->height, &c->window), outputs_of(c->width, &c->window), c->outputs},
                                {c->outputs, c->window.kernel, c->window.kernel, c->channels / c->groups}};
  struct ffb_tensor *const tensors[] = {&images->x, &images->y, &images->w};
  *images = (struct images){.one = 1};
  images->scale = (struct ffb_tensor){.data = &images->one, .shape = {1, 1, 1, 1}};
  for (int i = 0; i < 3; i++) {
    *tensors[i] = (struct ffb_tensor){.data = int8 ? (void *)images->bytes[i] : (void *)images->floats[i],
                                      .type = int8 ? FFB_S8 : FFB_F32};
    memcpy(tensors[i]->shape, shapes[i], sizeof shapes[i]);
    assert_true(ffb_elements(tensors[i]) <= MOST);
  }
}

/* The result is FP32 whatever the operands are. */
static struct ffb_tensor *result(struct ffb_tensor *tensor, struct images *images, int place) {
  tensor->data = images->floats[place];
  tensor->type = FFB_F32;
  return tensor;
}

static union ffb_arguments convolution(enum ffb_operator operation, struct images *i, const struct window_case *c) {
  struct ffb_tensor *x = &i->x, *y = &i->y, *w = &i->w, *s = &i->scale;
  switch (operation) {
  case FFB_CONVOLVE_F32:
    return (union ffb_arguments){.convolve_f32 = {y, x, w, c->window, c->groups, NULL}};
  case FFB_CONVOLVE_S8:
    return (union ffb_arguments){.convolve_s8 = {result(y, i, 1), x, w, s, s, c->window, c->groups, NULL}};
  case FFB_CONVOLVE_INPUT_F32:
    return (union ffb_arguments){.convolve_input_f32 = {x, y, w, c->window, c->groups, false, NULL}};
  case FFB_CONVOLVE_INPUT_S8:
    return (union ffb_arguments){.convolve_input_s8 = {result(x, i, 0), y, w, s, s, c->window, c->groups, false, NULL}};
  case FFB_CONVOLVE_WEIGHT_F32:
    return (union ffb_arguments){.convolve_weight_f32 = {w, y, x, c->window, c->groups, false, NULL}};
  default:
    return (union ffb_arguments){
        .convolve_weight_s8 = {result(w, i, 2), y, x, s, s, c->window, c->groups, false, NULL}};
  }
}

/* The reference's device, and one that nothing runs on. */
static void open_devices(struct ffb_device *devices[2]) {
  char message[256];
  for (int i = 0; i < 2; i++)
    assert_true(
        ffb_backend_reference.open(&devices[i], &(struct ffb_device_request){.threads = 1}, message, sizeof message));
}

static void close_devices(struct ffb_device *devices[2]) {
  struct ffb_executed other;
  ffb_reference_executed(devices[1], &other);
  assert_memory_equal(&other, &(struct ffb_executed){0}, sizeof other);
  for (int i = 0; i < 2; i++)
    ffb_backend_reference.close(devices[i]);
}

static void taps_on_padding_by_hand(void **state) {
  (void)state;
  static const enum ffb_operator operators[] = {FFB_CONVOLVE_F32, FFB_CONVOLVE_INPUT_F32, FFB_CONVOLVE_WEIGHT_F32,
                                                FFB_CONVOLVE_S8,  FFB_CONVOLVE_INPUT_S8,  FFB_CONVOLVE_WEIGHT_S8};
  struct ffb_device *devices[2];
  open_devices(devices);
  for (size_t i = 0; i < COUNT_OF(window_cases) * COUNT_OF(operators); i++) {
    const struct window_case *c = &window_cases[i / COUNT_OF(operators)];
    enum ffb_operator operation = operators[i % COUNT_OF(operators)];
    bool int8 = i % COUNT_OF(operators) >= 3;
    struct images images;
    struct ffb_executed before;
    struct ffb_operation_count shapes = {0};
    make_images(&images, c, int8);
    int64_t outputs = ffb_elements(&images.y), group_channels = c->channels / c->groups;
    union ffb_arguments arguments = convolution(operation, &images, c);
    ffb_reference_executed(devices[0], &before);
    assert_true(ffb_backend_reference.operators[operation](devices[0], &arguments));
    struct ffb_executed executed = executed_since(devices[0], &before);
    ffb_call_count(operation, &arguments, &shapes);
    int64_t all = outputs * c->window.kernel * c->window.kernel * group_channels;
    int64_t inside = 2 * c->outputs * c->down * c->across * group_channels;
    assert_int_equal(int8 ? executed.mac_s8 : executed.mac_f32, inside);
    assert_int_equal(int8 ? executed.mac_f32 : executed.mac_s8, 0);
    assert_int_equal(int8 ? shapes.mac_s8 : shapes.mac_f32, all);
    assert_int_equal(shapes.padding, all - inside);
  }
  close_devices(devices);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

/* Operands are ones; one of them becomes a two. */
static void put(struct ffb_tensor *tensor, int64_t element, int value) {
  if (tensor->type == FFB_S8)
    ((int8_t *)tensor->data)[element] = (int8_t)value;
  else
    ((float *)tensor->data)[element] = (float)value;
}

/* How many elements of an operand change anything in the result. */
static int64_t elements_that_matter(struct ffb_device *device, enum ffb_operator operation,
                                    const union ffb_arguments *arguments, struct ffb_tensor *operand,
                                    const struct ffb_tensor *output) {
  static float before[MOST];
  size_t bytes = ffb_tensor_bytes(output);
  int64_t matter = 0;
  assert_true(ffb_backend_reference.operators[operation](device, arguments));
  memcpy(before, output->data, bytes);
  for (int64_t i = 0; i < ffb_elements(operand); i++) {
    put(operand, i, 2);
    assert_true(ffb_backend_reference.operators[operation](device, arguments));
    matter += memcmp(before, output->data, bytes) != 0;
    put(operand, i, 1);
  }
  return matter;
}

/* Elements whose change changes the result have to be read; and of the result every element is written. */
static void bytes_are_those_that_matter(void **state) {
  (void)state;
  static const struct {
    enum ffb_operator operation;
    int output; /* of x, y, w */
  } products[] = {{FFB_CONVOLVE_F32, 1}, {FFB_CONVOLVE_INPUT_F32, 0}, {FFB_CONVOLVE_WEIGHT_F32, 2},
                  {FFB_CONVOLVE_S8, 1},  {FFB_CONVOLVE_INPUT_S8, 0},  {FFB_CONVOLVE_WEIGHT_S8, 2}};
  struct ffb_device *devices[2];
  open_devices(devices);
  for (size_t i = 0; i < COUNT_OF(window_cases) * COUNT_OF(products); i++) {
    const struct window_case *c = &window_cases[i / COUNT_OF(products)];
    enum ffb_operator operation = products[i % COUNT_OF(products)].operation;
    bool int8 = i % COUNT_OF(products) >= 3;
    struct images images;
    make_images(&images, c, int8);
    union ffb_arguments arguments = convolution(operation, &images, c);
    struct ffb_tensor *const tensors[] = {&images.x, &images.y, &images.w};
    struct ffb_tensor *output = tensors[products[i % COUNT_OF(products)].output];
    int64_t bytes =
        (int64_t)ffb_tensor_bytes(output) + (int8 ? (int64_t)sizeof(float) : 0); /* one tensor for both scales */
    for (size_t k = 0; k < COUNT_OF(tensors); k++)
      for (int64_t e = 0; tensors[k] != output && e < ffb_elements(tensors[k]); e++)
        put(tensors[k], e, 1);
    for (size_t k = 0; k < COUNT_OF(tensors); k++) {
      if (tensors[k] != output)
        bytes += (int64_t)ffb_type_bytes(tensors[k]->type) *
                 elements_that_matter(devices[0], operation, &arguments, tensors[k], output);
    }
    if (ffb_call_bytes(operation, &arguments) != bytes)
      fail_msg("case %zu, %s: %lld bytes by its shapes, %lld matter", i / COUNT_OF(products),
               ffb_operator_name(operation), (long long)ffb_call_bytes(operation, &arguments), (long long)bytes);
  }
  for (int i = 0; i < 2; i++)
    ffb_backend_reference.close(devices[i]);
}

/* Maps of one pixel under a kernel of 3: one tap of nine. Two rows, 3 channels to 2: weights 2 x 9 x 3. */
static void bytes_of_updates_by_hand(void **state) {
  (void)state;
  enum { X = 2 * 3 * 4, Y = 2 * 2 * 4, TAP = 2 * 3 * 4, WEIGHTS = 9 * TAP, RATE = 4 };
  struct images images;
  make_images(&images, &window_cases[3], false);
  struct ffb_tensor momentum = images.w, second = images.w, rate = images.scale, corrections = images.scale;
  corrections.shape[0] = 2;
  struct ffb_convolve_update_f32 call = {.gy = &images.y,
                                         .x = &images.x,
                                         .window = window_cases[3].window,
                                         .groups = 1,
                                         .rule.sgd = {.weights = &images.w, .learning_rate = &rate}};
  struct ffb_convolve_update_f32 with_momentum = call, decayed = call, adam = call;
  with_momentum.rule.sgd.momentum = decayed.rule.sgd.momentum = &momentum;
  decayed.rule.sgd.weight_decay = 1e-4f;
  adam.rule = (struct ffb_update_rule){
      .kind = FFB_RULE_ADAM,
      .adam = {&images.w, &momentum, &second, &rate, NULL, &corrections, 0.9f, 0.999f, 1e-8f, 0}};
  const struct {
    struct ffb_convolve_update_f32 call;
    int bytes;
  } cases[] = {{call, X + Y + 2 * TAP + RATE},
               {with_momentum, X + Y + 4 * TAP + RATE},
               {decayed, X + Y + 4 * WEIGHTS + RATE},
               {adam, X + Y + 6 * TAP + 3 * RATE}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(
        ffb_call_bytes(FFB_CONVOLVE_UPDATE_F32, &(union ffb_arguments){.convolve_update_f32 = cases[i].call}),
        cases[i].bytes);
  /* The scale of the new weights is that of all of them. */
  struct ffb_tensor scale = images.scale, gy_scale = images.scale, x_scale = images.scale;
  struct ffb_convolve_update_s8 int8 = {.gy = &images.y,
                                        .x = &images.x,
                                        .gy_scale = &gy_scale,
                                        .x_scale = &x_scale,
                                        .window = call.window,
                                        .groups = 1,
                                        .weight_scale = &scale,
                                        .rule = call.rule};
  assert_int_equal(ffb_call_bytes(FFB_CONVOLVE_UPDATE_S8, &(union ffb_arguments){.convolve_update_s8 = int8}),
                   X + Y + WEIGHTS + TAP + RATE + 3 * RATE);
}

/* A window that skips pixels, scratch, and a tensor that is read under two names. */
static void bytes_of_other_calls_by_hand(void **state) {
  (void)state;
  float memory[MOST], one = 0;
  struct ffb_tensor x = {.data = memory, .type = FFB_F32, .shape = {2, 5, 5, 3}}, y = x, q = x, scale = x;
  struct ffb_tensor channels = {.data = memory, .type = FFB_F32, .shape = {3, 1, 1, 1}};
  struct ffb_tensor means[6] = {channels, channels, channels, channels, channels, channels};
  enum { PIXELS = 2 * 5 * 5, MAP = PIXELS * 3 * 4 };
  y.shape[1] = y.shape[2] = 2;
  q.type = FFB_S8;
  scale = (struct ffb_tensor){.data = &one, .type = FFB_F32, .shape = {1, 1, 1, 1}};
  union ffb_arguments pool = {.max_pool = {.y = &y, .x = &x, .window = {2, 3, 0}}};
  assert_int_equal(ffb_call_bytes(FFB_MAX_POOL, &pool), (2 * 4 * 3 + 2 * 4 * 4 * 3) * 4);
  struct ffb_suq_scale range = {.scale = &scale, .x = &x};
  struct ffb_suq_quantise quantise = {.q = &q, .x = &x, .scale = &scale};
  union ffb_arguments in_place = {.suq_in_place = {range, quantise}};
  assert_int_equal(ffb_call_bytes(FFB_SUQ_IN_PLACE, &in_place), MAP + PIXELS * 3 + 4);
  struct ffb_batch_normalise_gradient gradient = {.gx = &x,
                                                  .ggamma = &means[0],
                                                  .gbeta = &means[1],
                                                  .gy = &x,
                                                  .x = &(struct ffb_tensor){.data = memory, .shape = {2, 5, 5, 3}},
                                                  .mean = &means[2],
                                                  .inverse = &means[3],
                                                  .gamma = &means[4],
                                                  .beta = &means[5]};
  range.x = quantise.x = NULL;
  union ffb_arguments rounded = {.batch_normalise_gradient_s8 = {gradient, range, quantise}};
  assert_int_equal(
      ffb_call_bytes(FFB_BATCH_NORMALISE_GRADIENT, &(union ffb_arguments){.batch_normalise_gradient = gradient}),
      3 * MAP + 6 * 3 * 4);
  assert_int_equal(ffb_call_bytes(FFB_BATCH_NORMALISE_GRADIENT_S8, &rounded), 2 * MAP + PIXELS * 3 + 6 * 3 * 4 + 4);
  struct ffb_tensor goodness = {.data = memory, .shape = {2, 3, 1, 1}};
  union ffb_arguments from_goodness = {
      .batch_normalise_goodness_gradient_s8 = {{gradient, range, quantise}, &goodness, .groups = 3}};
  assert_int_equal(ffb_call_bytes(FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8, &from_goodness),
                   2 * MAP + PIXELS * 3 + 6 * 3 * 4 + 4 + 2 * 3 * 4);
}

/* ---- searches --------------------------------------------------------------------------------------------------- */

/* Passes over a tensor: golden section 2 + 20 and one without clipping; the test for a Gaussian 2, and then one if it
 * is one; one more at a ratio that is tracked. Segments: one for each of eight exponents. A tensor of zeros needs none.
 */
static void passes_of_searches_by_hand(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  static const struct {
    bool segments, gaussian_test, tracked;
    enum { NORMAL, HEAVY, ZERO } values;
    int passes;
  } cases[] = {{false, false, false, HEAVY, 23}, {false, false, true, HEAVY, 24}, {false, true, false, HEAVY, 25},
               {false, true, false, NORMAL, 3},  {false, true, false, ZERO, 0},   {true, false, false, HEAVY, 8},
               {true, false, false, ZERO, 0}};
  struct ffb_device *devices[2];
  static float values[COUNT];
  open_devices(devices);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    float ratio = cases[i].tracked ? 0.7f : 0, deviation = 0, exponent = 0;
    struct ffb_tensor x = {.data = values, .shape = {COUNT, 1, 1, 1}}, one = {.shape = {1, 1, 1, 1}};
    struct ffb_tensor ratios = one, deviations = one, exponents = one;
    struct ffb_executed before;
    ratios.data = &ratio;
    deviations.data = &deviation;
    exponents.data = &exponent;
    for (uint64_t k = 0; k < COUNT; k++) {
      float sum = 0; /* nearly normal; its ninth power has heavy tails */
      for (uint32_t draw = 0; draw < 12; draw++)
        sum += ffb_random_uniform(3, 1, draw, k) - 0.5f;
      values[k] = cases[i].values == ZERO ? 0 : cases[i].values == NORMAL ? sum : powf(sum, 9);
    }
    union ffb_arguments arguments = {.clip_search = {.x = &x,
                                                     .ratio = &ratios,
                                                     .deviation = &deviations,
                                                     .tracking = 0.5f,
                                                     .gaussian_test = cases[i].gaussian_test}};
    if (cases[i].segments)
      arguments = (union ffb_arguments){.segment_search = {&x, &exponents, &deviations}};
    enum ffb_operator operation = cases[i].segments ? FFB_SEGMENT_SEARCH : FFB_CLIP_SEARCH;
    ffb_reference_executed(devices[0], &before);
    assert_true(ffb_backend_reference.operators[operation](devices[0], &arguments));
    struct ffb_executed executed = executed_since(devices[0], &before);
    assert_int_equal(executed.searched_elements, (int64_t)cases[i].passes * COUNT);
    assert_int_equal(executed.compared_elements, COUNT);
  }
  close_devices(devices);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(calls_execute_what_their_shapes_say),
      cmocka_unit_test(calls_of_convolutional_networks_too),
      cmocka_unit_test(fused_forms_count_like_compositions),
      cmocka_unit_test(totals_by_hand),
      cmocka_unit_test(quantisation_by_hand),
      cmocka_unit_test(taps_on_padding_by_hand),
      cmocka_unit_test(bytes_are_those_that_matter),
      cmocka_unit_test(bytes_of_updates_by_hand),
      cmocka_unit_test(bytes_of_other_calls_by_hand),
      cmocka_unit_test(passes_of_searches_by_hand),
  };
  return cmocka_run_group_tests_name("operations", tests, NULL, NULL);
}
