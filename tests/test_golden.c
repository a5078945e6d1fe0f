/* One training step of every convolutional network in FP32 against PyTorch in FP64: loss, logits, the gradient of every
 * parameter, running statistics, and logits in evaluation. See golden/make_golden.py.
 *
 * The gradient of w is (w - w') / rate after a step of plain SGD with so large a rate that w is lost beside rate * g:
 * what rounding leaves is then relative to the gradient. */
#include "tests/golden.h"

#include "nn/parameters.h"
#include "nn/pass.h"

#define RATE 0x1p40f

/* Relative L2 distance of gradients and statistics, and of logits. PyTorch's own FP32 has up to 1.3e-5 and 3e-6. */
static const double tolerance = 1e-4, logit_tolerance = 2e-5;

/* What a network computed in a way that differs from the usual one. */
enum variant { FUSED, UNFUSED, SEPARATE, VARIANTS };
static const char *const variant_names[] = {"fused", "unfused", "separate update"};

/* Images of CIFAR-10's size, which ImageNet's strides shrink to a single pixel. */
static const struct golden_model small_images[] = {
    {.file = "resnet18_32", .model = "resnet18", .options = ""},
    {.file = "mobilenet_v2_32", .model = "mobilenet_v2", .options = "dropout=0"},
    {.file = "efficientnet_b0_32", .model = "efficientnet_b0", .options = "dropout=0 stochastic_depth=0"},
    {.file = "efficientnet_b0_squeeze_32",
     .model = "efficientnet_b0",
     .options = "dropout=0 stochastic_depth=0 squeeze_excitation=true"},
};

struct run {
  struct ffb_network network;
  int64_t rows;
  struct ffb_device *device;
  struct ffb_plan *plan;
  struct ffb_parameters parameters;
  struct ffb_program *train, *predict;
  struct ffb_tensor *images[2], *labels, *logits[2], *statistics;
};

static const struct ffb_optimiser_options plain = {.optimiser = FFB_RULE_SGD};

/* ---- programs --------------------------------------------------------------------------------------------------- */

static struct ffb_tensor *emit_images(struct run *run, struct ffb_pass *pass) {
  const int64_t shape[4] = {run->rows, run->network.height, run->network.width, run->network.channels};
  struct ffb_tensor *images = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "images", shape);
  assert_non_null(images);
  ffb_program_input(pass->program, images);
  ffb_pass_enter(pass, 0, images);
  return images;
}

static void make_training(struct run *run) {
  struct ffb_error error = {0};
  struct ffb_pass pass;
  int output = ffb_network_last(&run->network)->output;
  run->train = ffb_program_create(run->plan, "train", &error);
  GOOD(run->train && ffb_pass_begin(&pass, &run->parameters, run->train, run->rows, true, false, &error), &error);
  run->images[0] = emit_images(run, &pass);
  run->labels = ffb_emit_tensor(&pass, FFB_TAG_DATASET, FFB_S32, "labels", (int64_t[4]){run->rows, 1, 1, 1});
  assert_non_null(run->labels);
  ffb_program_input(run->train, run->labels);
  ffb_pass_forward(&pass, 0, run->network.layer_count);
  run->logits[0] = ffb_pass_values(&pass, output);
  if (pass.failed)
    fail_msg("%s", error.message);
  ffb_program_output(run->train, run->logits[0]);
  struct ffb_tensor *gradient = ffb_emit_matrix(&pass, FFB_TAG_GRADIENTS, "gradient", run->rows, run->network.classes);
  FFB_EMIT(&pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = gradient, .logits = run->logits[0],
           .labels = run->labels, .statistics = run->statistics, .logit_scale = 1);
  pass.gradients[output] = gradient;
  ffb_pass_backward(&pass, 0, run->network.layer_count, true, false);
  ffb_pass_update_all(&pass);
  ffb_pass_end(&pass);
  if (pass.failed)
    fail_msg("%s", error.message);
}

static void make_prediction(struct run *run) {
  struct ffb_error error = {0};
  struct ffb_pass pass;
  run->predict = ffb_program_create(run->plan, "predict", &error);
  GOOD(run->predict && ffb_pass_begin(&pass, &run->parameters, run->predict, run->rows, false, false, &error), &error);
  run->images[1] = emit_images(run, &pass);
  ffb_pass_forward(&pass, 0, run->network.layer_count);
  run->logits[1] = ffb_pass_values(&pass, ffb_network_last(&run->network)->output);
  ffb_pass_end(&pass);
  if (pass.failed)
    fail_msg("%s", error.message);
  ffb_program_output(run->predict, run->logits[1]);
}

static void run_make(struct run *run, const struct golden_model *model, const struct golden *golden,
                     enum variant variant) {
  struct ffb_error error = {0};
  const struct ffb_model_input input = {golden->side, golden->side, 3, GOLDEN_CLASSES};
  const struct ffb_precision precision = {.separate_update = variant == SEPARATE};
  run->rows = golden->rows;
  model_build(&run->network, model->model, model->options, &input);
  device_open(&ffb_backend_cpu, &run->device);
  run->plan = ffb_plan_create(&ffb_backend_cpu, run->device, &error);
  GOOD(run->plan, &error);
  if (variant == UNFUSED)
    ffb_plan_unfused(run->plan);
  GOOD(ffb_parameters_create(&run->parameters, run->plan, &run->network, &precision, &plain, 1, true, &error), &error);
  run->statistics = ffb_plan_persistent(run->plan, FFB_TAG_WORKSPACE, FFB_F64, "statistics",
                                        (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1}, &error);
  GOOD(run->statistics, &error);
  make_training(run);
  make_prediction(run);
  GOOD(ffb_plan_finish(run->plan, &error), &error);
}

static void run_free(struct run *run) {
  ffb_parameters_destroy(&run->parameters);
  ffb_plan_destroy(run->plan);
  ffb_backend_cpu.close(run->device);
  ffb_network_destroy(&run->network);
}

/* ---- values by formula ------------------------------------------------------------------------------------------ */

static bool ends_with(const char *name, const char *ending) {
  size_t length = strlen(name), end = strlen(ending);
  return length > end && strcmp(name + length - end, ending) == 0;
}

static bool belongs_to_norm(const struct ffb_network *network, const char *name) {
  for (int i = 0; i < network->layer_count; i++) {
    size_t length = strlen(network->layers[i].name);
    if (network->layers[i].kind == FFB_LAYER_BATCH_NORM && strncmp(name, network->layers[i].name, length) == 0 &&
        name[length] == '.' && !strchr(name + length + 1, '.'))
      return true;
  }
  return false;
}

/* In PyTorch's order. */
static float *values_of(const struct ffb_network *network, const struct golden *golden,
                        const struct golden_record *record) {
  int64_t count = 1, fan_in = 1;
  for (int i = 0; i < record->dimensions; i++) {
    count *= record->shape[i];
    fan_in *= i ? record->shape[i] : 1;
  }
  double scale = 0.1, centre = 0;
  if (ends_with(record->name, ".running_var")) {
    scale = 1;
    centre = 2;
  } else if (record->dimensions > 1) {
    scale = sqrt(6.0 / (double)fan_in);
  } else if (belongs_to_norm(network, record->name) && record->gradient) {
    const double *spread = golden->spread + (ends_with(record->name, ".bias") ? 2 : 0);
    centre = spread[0];
    scale = spread[1];
  }
  float *values = malloc((size_t)count * sizeof *values);
  assert_non_null(values);
  golden_fill(values, record->name, golden->seed, count, scale, centre);
  return values;
}

static int64_t place_in(const struct golden_record *record, int64_t index) {
  return record->dimensions == 4 ? place_of(record->shape, index) : index;
}

static void write_values(struct run *run, const struct golden *golden, bool learnt_only) {
  struct ffb_error error = {0};
  for (int i = 0; i < golden->record_count; i++) {
    const struct golden_record *record = &golden->records[i];
    if (learnt_only && !record->gradient)
      continue;
    struct ffb_tensor *tensor = tensor_named(run->plan, record->name);
    float *theirs = values_of(&run->network, golden, record), *ours = malloc(ffb_tensor_bytes(tensor));
    assert_non_null(ours);
    for (int64_t k = 0; k < ffb_elements(tensor); k++)
      ours[place_in(record, k)] = theirs[k];
    GOOD(ffb_tensor_write(run->plan, tensor, ours, &error), &error);
    free(theirs);
    free(ours);
  }
}

static void write_batch(struct run *run, const struct golden *golden, int program) {
  struct ffb_error error = {0};
  const int64_t shape[4] = {golden->rows, 3, golden->side, golden->side};
  int64_t count = golden->rows * 3 * golden->side * golden->side;
  float *theirs = malloc((size_t)count * sizeof *theirs), *ours = malloc((size_t)count * sizeof *ours);
  int32_t labels[GOLDEN_MOST_ROWS];
  assert_true(theirs && ours);
  golden_fill(theirs, "images", golden->seed, count, 2, 0);
  for (int64_t k = 0; k < count; k++)
    ours[place_of(shape, k)] = theirs[k];
  for (int m = 0; m < golden->rows; m++)
    labels[m] = (7 * m + 3) % GOLDEN_CLASSES;
  GOOD(ffb_tensor_write(run->plan, run->images[program], ours, &error), &error);
  if (program == 0)
    GOOD(ffb_tensor_write(run->plan, run->labels, labels, &error), &error);
  free(theirs);
  free(ours);
}

/* ---- comparisons ------------------------------------------------------------------------------------------------ */

/* The digest of a gradient, or of statistics as they are. */
static void measure(struct run *run, const struct golden *golden, const struct golden_record *record,
                    struct golden_digest *digest) {
  struct ffb_tensor *tensor = tensor_named(run->plan, record->name);
  int64_t count = ffb_elements(tensor);
  float *before = record->gradient ? values_of(&run->network, golden, record) : NULL,
        *after = content(run->plan, tensor);
  double *values = malloc((size_t)count * sizeof *values);
  assert_non_null(values);
  for (int64_t k = 0; k < count; k++) {
    double value = after[place_in(record, k)];
    values[k] = before ? (before[k] - value) / (double)RATE : value;
  }
  golden_digest(digest, record->name, values, count);
  free(before);
  free(after);
  free(values);
}

static const struct golden_record *record_named(const struct golden *golden, const char *name) {
  for (int i = 0; i < golden->record_count; i++) {
    if (strcmp(golden->records[i].name, name) == 0)
      return &golden->records[i];
  }
  return NULL;
}

/* What the error of a tensor is measured against. */
static double size_of(const struct golden *golden, const struct golden_record *record) {
  char beside[96];
  double norm = record->digest.norm;
  if (!ends_with(record->name, ".bias"))
    return norm;
  snprintf(beside, sizeof beside, "%.*sweight", (int)(strlen(record->name) - strlen("bias")), record->name);
  const struct golden_record *weight = record_named(golden, beside);
  assert_non_null(weight);
  return fmax(norm, weight->digest.norm);
}

static void check_records(struct run *run, const struct golden *golden, const char *title) {
  double worst = 0;
  const char *where = "";
  for (int i = 0; i < golden->record_count; i++) {
    const struct golden_record *record = &golden->records[i];
    struct golden_digest digest;
    measure(run, golden, record, &digest);
    double error = golden_distance(&digest, &record->digest) / size_of(golden, record);
    if (!(error <= worst)) {
      worst = error;
      where = record->name;
    }
  }
  print_message("# %s: largest relative error %.1e, of %s\n", title, worst, where);
  if (!(worst <= tolerance))
    fail_msg("%s: relative error %.1e of %s", title, worst, where);
}

static void check_logits(struct run *run, int program, double expected[GOLDEN_MOST_ROWS][GOLDEN_CLASSES],
                         const char *title) {
  float *logits = content(run->plan, run->logits[program]);
  double squares = 0, size = 0;
  for (int i = 0; i < run->rows * GOLDEN_CLASSES; i++) {
    double want = expected[i / GOLDEN_CLASSES][i % GOLDEN_CLASSES];
    squares += (logits[i] - want) * (logits[i] - want);
    size += want * want;
  }
  free(logits);
  double error = sqrt(squares / size);
  print_message("# %s: logits in %s: relative error %.1e\n", title, program ? "evaluation" : "training", error);
  if (!(error <= logit_tolerance))
    fail_msg("%s: logits in %s: relative error %.1e", title, program ? "evaluation" : "training", error);
}

static void step_against_pytorch(const struct golden_model *model, enum variant variant) {
  static struct golden golden;
  struct ffb_error error = {0};
  struct run run = {0};
  char title[64];
  double totals[FFB_STATISTIC_COUNT];
  snprintf(title, sizeof title, "%s, %s", model->file, variant_names[variant]);
  golden_read(&golden, model->file);
  run_make(&run, model, &golden, variant);
  write_values(&run, &golden, false);
  write_batch(&run, &golden, 0);
  GOOD(ffb_step_scalars_write(&run.parameters.step, run.plan, &plain, RATE, 0, 0, 0, &error), &error);
  GOOD(ffb_program_run(run.train, &error), &error);
  check_logits(&run, 0, golden.logits, title);
  GOOD(ffb_tensor_read(run.plan, run.statistics, totals, &error), &error);
  assert_true(fabs(totals[FFB_STATISTIC_LOSS] / (double)golden.rows / golden.loss - 1) < tolerance);
  check_records(&run, &golden, title);
  write_values(&run, &golden, true);
  write_batch(&run, &golden, 1);
  GOOD(ffb_program_run(run.predict, &error), &error);
  check_logits(&run, 1, golden.evaluation, title);
  run_free(&run);
}

struct lesson {
  const struct golden_model *model;
  enum variant variant;
};

static void step_matches_pytorch(void **state) {
  const struct lesson *lesson = *state;
  step_against_pytorch(lesson->model, lesson->variant);
}

int main(void) {
  enum { LARGE = COUNT_OF(golden_models), MODELS = LARGE + COUNT_OF(small_images) };
  static struct lesson lessons[VARIANTS][MODELS];
  static char names[VARIANTS][MODELS][64];
  struct CMUnitTest tests[VARIANTS * MODELS];
  for (int variant = 0; variant < VARIANTS; variant++) {
    for (int i = 0; i < MODELS; i++) {
      const struct golden_model *model = i < LARGE ? &golden_models[i] : &small_images[i - LARGE];
      lessons[variant][i] = (struct lesson){model, (enum variant)variant};
      snprintf(names[variant][i], sizeof names[variant][i], "%s, %s", model->file, variant_names[variant]);
      tests[variant * MODELS + i] = (struct CMUnitTest){
          .name = names[variant][i], .test_func = step_matches_pytorch, .initial_state = &lessons[variant][i]};
    }
  }
  return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
