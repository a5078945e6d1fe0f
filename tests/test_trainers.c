/* The five trainers: gradients and updates against double precision, operator traces and counts, the same bits on every
 * backend, the readings of forward-forward, prediction, checkpoints and weight files. */
#include "tests/variants.h"

#include "nn/optimiser.h"
#include "nn/safetensors.h"

#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ffb_error error;

/* ---- the network in double precision ---------------------------------------------------------------------------- */

enum { MOST_LAYERS = 4, MOST_WIDTH = 64, MOST_ROWS = 16 };

struct oracle {
  int layers; /* linear ones that the trainer holds */
  int64_t in[MOST_LAYERS], out[MOST_LAYERS];
  double weight[MOST_LAYERS][MOST_WIDTH * MOST_WIDTH], bias[MOST_LAYERS][MOST_WIDTH];
};

/* Activities of a batch: [0] the input, [l + 1] the output of layer l. */
struct activities {
  double of[MOST_LAYERS + 1][MOST_ROWS * MOST_WIDTH];
};

static void oracle_read(struct oracle *o, struct subject *s) {
  *o = (struct oracle){0};
  for (int l = 0; l < MOST_LAYERS; l++) {
    char weight[32], bias[32], scale[32];
    snprintf(weight, sizeof weight, "fc%d.weight", l + 1);
    snprintf(bias, sizeof bias, "fc%d.bias", l + 1);
    snprintf(scale, sizeof scale, "fc%d.weight_scale", l + 1);
    const struct ffb_tensor *tensor = tensor_or_null(s->plan, weight);
    if (!tensor)
      return;
    o->layers = l + 1;
    o->out[l] = tensor->shape[0];
    o->in[l] = tensor->shape[1];
    void *values = content(s->plan, tensor);
    float step = 1;
    if (tensor->type == FFB_S8)
      read_floats(s, scale, &step);
    for (int64_t i = 0; i < ffb_elements(tensor); i++)
      o->weight[l][i] = tensor->type == FFB_S8 ? (double)step * ((int8_t *)values)[i] : (double)((float *)values)[i];
    free(values);
    if (tensor_or_null(s->plan, bias)) {
      float *biases = content(s->plan, tensor_named(s->plan, bias));
      for (int64_t i = 0; i < o->out[l]; i++)
        o->bias[l][i] = (double)biases[i];
      free(biases);
    }
  }
}

/* y = relu?(w x + b) of layer l. */
static void oracle_layer(const struct oracle *o, int l, const double *x, int64_t rows, bool relu, double *y) {
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t n = 0; n < o->out[l]; n++) {
      double sum = o->bias[l][n];
      for (int64_t k = 0; k < o->in[l]; k++)
        sum += o->weight[l][n * o->in[l] + k] * x[m * o->in[l] + k];
      y[m * o->out[l] + n] = relu && sum < 0 ? 0 : sum;
    }
  }
}

static void read_images(const struct subject *s, const struct ffb_batch *batch, double *x) {
  int64_t image = ffb_network_features(&s->network, 0);
  for (int64_t i = 0; i < batch->rows * image; i++)
    x[i] = (batch->images[i] / 255.0 - (double)s->setup.mean[0]) / (double)s->setup.deviation[0];
}

static const double *oracle_logits(const struct oracle *o, int64_t rows, struct activities *a) {
  for (int l = 0; l < o->layers; l++)
    oracle_layer(o, l, a->of[l], rows, l + 1 < o->layers, a->of[l + 1]);
  return a->of[o->layers];
}

static double log_sum_exp(const double *z, int64_t n) {
  double largest = z[0], sum = 0;
  for (int64_t i = 1; i < n; i++)
    largest = fmax(largest, z[i]);
  for (int64_t i = 0; i < n; i++)
    sum += exp(z[i] - largest);
  return largest + log(sum);
}

static int best_class(const double *scores) {
  int best = 0;
  for (int c = 1; c < CLASSES; c++)
    best = scores[c] > scores[best] ? c : best;
  return best;
}

static double cross_entropy(const double *logits, const int32_t *labels, int64_t rows) {
  double loss = 0;
  for (int64_t m = 0; m < rows; m++)
    loss += log_sum_exp(logits + m * CLASSES, CLASSES) - logits[m * CLASSES + labels[m]];
  return loss / (double)rows;
}

static double oracle_loss(const struct oracle *o, const struct ffb_batch *batch, struct activities *a) {
  return cross_entropy(oracle_logits(o, batch->rows, a), batch->labels, batch->rows);
}

/* Gradients of the loss by backpropagation in double precision, in the place of the parameters. */
static void oracle_gradient(const struct oracle *o, const struct ffb_batch *batch, struct activities *a,
                            struct oracle *gradient) {
  static double gy[MOST_ROWS * MOST_WIDTH], gx[MOST_ROWS * MOST_WIDTH];
  const double *logits = oracle_logits(o, batch->rows, a);
  for (int64_t m = 0; m < batch->rows; m++) {
    double total = log_sum_exp(logits + m * CLASSES, CLASSES);
    for (int64_t c = 0; c < CLASSES; c++)
      gy[m * CLASSES + c] = (exp(logits[m * CLASSES + c] - total) - (c == batch->labels[m])) / (double)batch->rows;
  }
  memset(gradient->weight, 0, sizeof gradient->weight);
  memset(gradient->bias, 0, sizeof gradient->bias);
  for (int l = o->layers - 1; l >= 0; l--) {
    int64_t in = o->in[l], out = o->out[l];
    memset(gx, 0, sizeof gx);
    for (int64_t m = 0; m < batch->rows; m++) {
      for (int64_t n = 0; n < out; n++) {
        gradient->bias[l][n] += gy[m * out + n];
        for (int64_t k = 0; k < in; k++) {
          gradient->weight[l][n * in + k] += gy[m * out + n] * a->of[l][m * in + k];
          gx[m * in + k] += a->of[l][m * in + k] > 0 ? gy[m * out + n] * o->weight[l][n * in + k] : 0;
        }
      }
    }
    memcpy(gy, gx, sizeof gy);
  }
}

static void assert_close(double got, double wanted, double absolute, double relative, const char *what, int64_t index) {
  if (!(fabs(got - wanted) <= absolute + relative * fabs(wanted)))
    fail_msg("%s: element %lld is %.9g, want %.9g", what, (long long)index, got, wanted);
}

/* ---- gradients of BP-FP32 ---------------------------------------------------------------------------------------- */

/* The trainer's step at learning rate 1 is its gradient; each parameter is moved both ways to see what the loss does.
 */
static void assert_step_is_gradient(const struct oracle *before, const struct oracle *after,
                                    const struct ffb_batch *batch, struct activities *a, bool bias) {
  static struct oracle moved, analytic;
  const double h = 1e-6;
  moved = analytic = *before;
  oracle_gradient(before, batch, a, &analytic);
  for (int l = 0; l < before->layers; l++) {
    int64_t weights = before->in[l] * before->out[l], count = weights + (bias ? before->out[l] : 0);
    for (int64_t i = 0; i < count; i++) {
      bool weight = i < weights;
      double *at = weight ? &moved.weight[l][i] : &moved.bias[l][i - weights], kept = *at;
      *at = kept + h;
      double up = oracle_loss(&moved, batch, a);
      *at = kept - h;
      double slope = (up - oracle_loss(&moved, batch, a)) / (2 * h);
      *at = kept;
      double stepped = weight ? kept - after->weight[l][i] : kept - after->bias[l][i - weights];
      assert_close(stepped, slope, 1e-6, 1e-4, "finite difference", i);
      assert_close(weight ? analytic.weight[l][i] : analytic.bias[l][i - weights], slope, 1e-8, 1e-6, "oracle", i);
    }
  }
}

static void check_gradients(const struct recipe *recipe, const struct records *records) {
  static struct oracle before, after;
  static struct activities a;
  struct subject s;
  subject_make(&s, recipe);
  double loss = 0, right = 0;
  for (int64_t step = 0; step < 3; step++) { /* the third batch is a partial one */
    struct ffb_batch batch = batch_of_step(&s, records, step);
    float scores[8 * CLASSES];
    oracle_read(&before, &s);
    read_images(&s, &batch, a.of[0]);
    loss += oracle_loss(&before, &batch, &a) * (double)batch.rows;
    for (int64_t m = 0; m < batch.rows; m++)
      right += best_class(a.of[before.layers] + m * CLASSES) == batch.labels[m];
    predict(&s, records, step * 8, batch.rows, scores);
    for (int64_t i = 0; i < batch.rows * CLASSES; i++)
      assert_close((double)scores[i], a.of[before.layers][i], 1e-5, 1e-5, "score", i);
    GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
    oracle_read(&after, &s);
    assert_step_is_gradient(&before, &after, &batch, &a, recipe->bias);
  }
  struct ffb_epoch_statistics statistics;
  GOOD(s.trainer->end_epoch(s.state, &statistics, &error), &error);
  assert_close(statistics.loss, loss / 21, 1e-6, 1e-6, "loss of the epoch", 0);
  assert_close(statistics.train_accuracy, 100 * right / 21, 1e-9, 0, "accuracy of the epoch", 0);
  assert_int_equal(statistics.not_finite, 0);
  subject_end(&s);
}

static void gradients_are_finite_differences(void **state) {
  static const char *const hidden[] = {"none", "16", "16,12", "16,12,9"};
  static const char *const options[] = {"momentum=0 learning_rate=1 learning_rate_schedule=constant update=fused",
                                        "momentum=0 learning_rate=1 learning_rate_schedule=constant update=separate"};
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < COUNT_OF(hidden) * 8; i++) {
    if (i >= 8 && i / 2 % 2 != i / 4 % 2) /* half of the combinations, but all of the smallest network */
      continue;
    check_gradients(&(struct recipe){.algorithm = "bp_fp32",
                                     .hidden = hidden[i / 8],
                                     .bias = i % 2,
                                     .options = options[i / 2 % 2],
                                     .backend = backends[i / 4 % 2],
                                     .mean = 0.25f,
                                     .deviation = 0.5f},
                    *state);
  }
}

/* What the hook hands over is the gradient in double precision, and nothing that the trainer holds changes by it. */
static void check_handed_over(const struct recipe *recipe, const struct records *records) {
  static float of_layers[2 * MOST_LAYERS][MOST_WIDTH * MOST_WIDTH];
  static struct oracle now, gradient;
  static struct activities a;
  struct subject s;
  bool wanted[2 * MOST_LAYERS] = {false};
  float *to[2 * MOST_LAYERS] = {NULL};
  subject_begin(&s, recipe);
  for (int i = 0; i < s.network.layer_count; i++)
    if ((wanted[i] = ffb_layer_macs(&s.network, i) > 0))
      to[i] = of_layers[i];
  s.setup.gradient_records = 13;
  s.setup.gradient_layers = wanted;
  GOOD(subject_create(&s, &error), &error);
  train(&s, records, 0, 4);
  for (int partial = 0; partial < 2; partial++) {
    struct ffb_batch batch = batch_of(records, partial ? 8 : 0, partial ? 5 : 8);
    struct snapshot before = snapshot_take(&s);
    oracle_read(&now, &s);
    read_images(&s, &batch, a.of[0]);
    oracle_gradient(&now, &batch, &a, &gradient);
    GOOD(s.trainer->gradient(s.state, &batch, to, &error), &error);
    for (int i = 0, l = 0; i < s.network.layer_count; i++) {
      for (int64_t k = 0; to[i] && k < now.in[l] * now.out[l]; k++)
        assert_close((double)to[i][k], gradient.weight[l][k], 1e-7, 1e-4, "gradient", k);
      l += to[i] != NULL;
    }
    assert_null(snapshot_changed(&before, &s));
    free(before.data);
  }
  struct ffb_batch other = batch_of(records, 0, 7);
  assert_false(s.trainer->gradient(s.state, &other, to, &error));
  assert_mentions(&error, "7");
  subject_end(&s);
}

static void gradients_are_handed_over(void **state) {
  static const char *const hidden[] = {"none", "16", "16,12,9"};
  static const char *const options[] = {"", "update=separate momentum=0.5", "checkpointing=unit accumulation=3"};
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < COUNT_OF(hidden) * COUNT_OF(options) * 2; i++)
    check_handed_over(&(struct recipe){.algorithm = "bp_fp32",
                                       .hidden = hidden[i / 6],
                                       .bias = (i + i / 2) % 2,
                                       .options = options[i / 2 % 3],
                                       .backend = backends[i % 2],
                                       .mean = 0.25f,
                                       .deviation = 0.5f},
                      *state);
}

/* Quantised operands bend a gradient a little, and no more: every layer's step points along the exact gradient. */
static void int8_gradients_point_along_the_exact_ones(void **state) {
  static const struct {
    const char *algorithm, *options;
  } cases[] = {{"bp_int8", ""},
               {"bp_int8", " weight_gradient_rounding=stochastic gradient_rounding=stochastic"},
               {"bp_int8", " gradient_range=0.2"},
               {"bp_int8", " update=separate"},
               {"bp_ui8", " search_period=1 alpha=0"},
               {"bp_gdai8", " search_period=1"},
               {"bp_gdai8", " search_period=1 segments=2"}};
  static struct oracle before, after, gradient;
  static struct activities a;
  const struct records *records = *state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char options[256];
    struct subject s;
    snprintf(options, sizeof options, "momentum=0 learning_rate=0.1 learning_rate_schedule=constant%s",
             cases[i].options);
    subject_make(&s, &(struct recipe){.algorithm = cases[i].algorithm, .options = options, .bias = true, .seed = 3});
    struct ffb_batch batch = batch_of_step(&s, records, 0);
    oracle_read(&before, &s);
    read_images(&s, &batch, a.of[0]);
    GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
    oracle_read(&after, &s);
    oracle_gradient(&before, &batch, &a, &gradient);
    for (int l = 0; l < before.layers; l++) {
      static double step[MOST_WIDTH * MOST_WIDTH];
      int64_t count = before.in[l] * before.out[l];
      for (int64_t k = 0; k < count; k++)
        step[k] = (before.weight[l][k] - after.weight[l][k]) / 0.1;
      double along = cosine(step, gradient.weight[l], count);
      if (!(along > 0.99))
        fail_msg("%s%s: layer %d: cosine %g", cases[i].algorithm, cases[i].options, l, along);
    }
    subject_end(&s);
  }
}

/* With a fixed range no weight gradient is larger than it, and all lie on its grid. */
static void gradient_range_holds_for_weight_gradients(void **state) {
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < COUNT_OF(backends); i++) {
    static struct oracle before, after;
    const double range = 0.005;
    struct subject s;
    subject_make(&s, &(struct recipe){
                         .algorithm = "bp_int8",
                         .options = "momentum=0 learning_rate=1 learning_rate_schedule=constant gradient_range=0.005",
                         .deviation = 0.1f, /* inputs up to 10, so that the range is reached */
                         .backend = backends[i]});
    oracle_read(&before, &s);
    train(&s, *state, 0, 1);
    oracle_read(&after, &s);
    double largest = 0;
    for (int l = 0; l < before.layers; l++) {
      for (int64_t k = 0; k < before.in[l] * before.out[l]; k++) {
        double step = (before.weight[l][k] - after.weight[l][k]) / range * 127;
        largest = fmax(largest, fabs(step));
        assert_close(step, rint(step), 1e-3, 0, "whole multiple", k);
      }
    }
    assert_close(largest, 127, 1e-3, 0, "largest", 0);
    subject_end(&s);
  }
}

/* ---- schedules and optimisers ------------------------------------------------------------------------------------ */

static void schedules_give_their_rates(void **state) {
  (void)state;
  struct ffb_optimiser_options o = {.learning_rate = 0.4, .schedule_epochs = 2, .schedule_factor = 0.1};
  o.schedule = FFB_SCHEDULE_CONSTANT;
  assert_close(ffb_schedule_rate(&o, 99, 100, 10), 0.4, 1e-15, 0, "constant", 0);
  o.schedule = FFB_SCHEDULE_STEP;
  static const double steps[] = {0.4, 0.4, 0.04, 0.04, 0.004};
  for (int64_t epoch = 0; epoch < 5; epoch++) {
    assert_close(ffb_schedule_rate(&o, epoch * 10, 100, 10), steps[epoch], 1e-15, 0, "step", epoch);
    assert_close(ffb_schedule_rate(&o, epoch * 10 + 9, 100, 10), steps[epoch], 1e-15, 0, "step", epoch);
  }
  o.schedule = FFB_SCHEDULE_COSINE;
  assert_close(ffb_schedule_rate(&o, 0, 120, 10), 0.4, 1e-15, 0, "cosine", 0);
  assert_close(ffb_schedule_rate(&o, 40, 120, 10), 0.3, 1e-15, 0, "cosine", 40); /* cos 60 degrees is a half */
  assert_close(ffb_schedule_rate(&o, 60, 120, 10), 0.2, 1e-15, 0, "cosine", 60);
  assert_close(ffb_schedule_rate(&o, 120, 120, 10), 0, 1e-15, 0, "cosine", 120);
  o.schedule = FFB_SCHEDULE_LINEAR;
  o.schedule_start = 0.5;
  static const double linear[] = {0.4, 0.4, 0.4, 0.2, 0};
  for (int64_t quarter = 0; quarter < 5; quarter++)
    assert_close(ffb_schedule_rate(&o, 25 * quarter, 100, 10), linear[quarter], 1e-15, 0, "linear", quarter);
  o.schedule_start = 1;
  assert_close(ffb_schedule_rate(&o, 100, 100, 10), 0.4, 1e-15, 0, "linear from the end", 0);
}

struct optimiser_case {
  const char *options;
  bool adam;
  double momentum, decay;
  double rate[12];
};

/* PyTorch's rules in double precision. `first` and `second` are the state, t counts from 1. */
static void move(const struct optimiser_case *c, int t, double g, double *w, double *first, double *second) {
  g += c->decay * *w;
  if (!c->adam) {
    *first = c->momentum * *first + g;
    *w -= c->rate[t - 1] * *first;
    return;
  }
  *first = c->momentum * *first + (1 - c->momentum) * g;
  *second = 0.95 * *second + (1 - 0.95) * g * g;
  *w -= c->rate[t - 1] * (*first / (1 - pow(c->momentum, t))) / (sqrt(*second / (1 - pow(0.95, t))) + 1e-8);
}

static void check_optimiser(const struct optimiser_case *c, const struct records *records) {
  static struct oracle o, got, gradient, first, second;
  static struct activities a;
  struct subject s;
  subject_make(&s, &(struct recipe){.algorithm = "bp_fp32", .options = c->options, .hidden = "16", .bias = true});
  oracle_read(&o, &s);
  first = second = (struct oracle){0};
  for (int t = 1; t <= 12; t++) {
    struct ffb_batch batch = batch_of_step(&s, records, t - 1);
    read_images(&s, &batch, a.of[0]);
    oracle_gradient(&o, &batch, &a, &gradient);
    for (int l = 0; l < o.layers; l++) {
      for (int64_t i = 0; i < o.in[l] * o.out[l]; i++)
        move(c, t, gradient.weight[l][i], &o.weight[l][i], &first.weight[l][i], &second.weight[l][i]);
      for (int64_t i = 0; i < o.out[l]; i++)
        move(c, t, gradient.bias[l][i], &o.bias[l][i], &first.bias[l][i], &second.bias[l][i]);
    }
  }
  train(&s, records, 0, 12);
  oracle_read(&got, &s);
  for (int l = 0; l < o.layers; l++) {
    for (int64_t i = 0; i < o.in[l] * o.out[l]; i++)
      assert_close(got.weight[l][i], o.weight[l][i], 2e-5, 0, c->options, i);
    for (int64_t i = 0; i < o.out[l]; i++)
      assert_close(got.bias[l][i], o.bias[l][i], 2e-5, 0, c->options, i);
  }
  subject_end(&s);
}

/* 4 epochs of 3 steps. */
static void optimisers_are_pytorchs(void **state) {
  static struct optimiser_case cases[] = {
      {"learning_rate=0.1 momentum=0 learning_rate_schedule=constant", false, 0, 0, {0}},
      {"learning_rate=0.1 momentum=0.9 weight_decay=0.05 learning_rate_schedule=constant", false, 0.9, 0.05, {0}},
      {"learning_rate=0.1 momentum=0.5 learning_rate_schedule=step learning_rate_epochs=1 learning_rate_factor=0.5",
       false,
       0.5,
       0,
       {0}},
      {"optimiser=adam learning_rate=0.1 momentum=0.8 beta2=0.95 learning_rate_schedule=cosine", true, 0.8, 0, {0}},
      {"optimiser=adam learning_rate=0.1 momentum=0.8 beta2=0.95 weight_decay=0.1 learning_rate_schedule=linear",
       true,
       0.8,
       0.1,
       {0}}};
  for (int t = 0; t < 12; t++) {
    cases[0].rate[t] = cases[1].rate[t] = 0.1;
    cases[2].rate[t] = 0.1 / (double)(1 << t / 3);
    cases[3].rate[t] = 0.05 * (1 + cos(acos(-1) * t / 12));
    cases[4].rate[t] = t <= 6 ? 0.1 : 0.1 * (12 - t) / 6;
  }
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    check_optimiser(&cases[i], *state);
}

/* ---- operator traces and counts -----------------------------------------------------------------------------------
 */

struct operator_counts {
  size_t f32_products, s8_products, fused, of[FFB_OPERATOR_COUNT];
};

static void observe_operator(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct operator_counts *counts = to;
  struct ffb_operation_count count = count_call(program, call);
  counts->f32_products += count.mac_f32 > 0;
  counts->s8_products += count.mac_s8 > 0;
  counts->fused += ffb_operator_optional(operation);
  counts->of[operation]++;
}

static struct operator_counts planned_operators(const struct ffb_plan *plan) {
  struct operator_counts counts = {0};
  for (size_t i = 0; i < ffb_plan_program_count(plan); i++) {
    const struct ffb_program *program = ffb_plan_program_at(plan, i);
    for (size_t call = 0; call < ffb_program_calls(program); call++)
      observe_operator(&counts, program, call, ffb_program_call(program, call, NULL));
  }
  return counts;
}

static struct operator_counts executed_operators(struct subject *s, const struct records *records) {
  struct operator_counts counts = {0};
  float scores[21 * CLASSES];
  ffb_plan_observe(s->plan, observe_operator, &counts);
  train(s, records, 0, s->setup.epochs * steps_per_epoch(s));
  predict(s, records, 0, 21, scores);
  ffb_plan_observe(s->plan, NULL, NULL);
  return counts;
}

static void int8_trainers_run_no_f32_product(void **state) {
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < 2 * COUNT_OF(int8_recipes); i++) {
    struct recipe recipe = int8_recipes[i / 2];
    struct subject s;
    recipe.backend = backends[i % 2];
    subject_make(&s, &recipe);
    assert_true(s.trainer->flags & FFB_TRAINER_INT8);
    struct operator_counts planned = planned_operators(s.plan), executed = executed_operators(&s, *state);
    if (planned.f32_products || executed.f32_products || !planned.s8_products || !executed.s8_products)
      fail_msg("%s: FP32 products: %zu in the programs, %zu executed; INT8: %zu, %zu", recipe_name(&recipe),
               planned.f32_products, executed.f32_products, planned.s8_products, executed.s8_products);
    assert_int_equal(planned.fused > 0, i % 2);
    subject_end(&s);
  }
}

/* The trace is able to see FP32 products, and BP-FP32 has no INT8 one. */
static void fp32_trainer_runs_f32_products(void **state) {
  struct subject s;
  subject_make(&s, &(struct recipe){.algorithm = "bp_fp32", .records = 16, .epochs = 1});
  assert_false(s.trainer->flags & FFB_TRAINER_INT8);
  struct operator_counts executed = executed_operators(&s, *state);
  assert_int_equal(executed.f32_products, 2 * (3 + 3 + 2) + 3 * 3); /* two steps, three batches predicted */
  assert_int_equal(executed.s8_products, 0);
  subject_end(&s);
}

static struct ffb_operation_count count_program(const struct ffb_plan *plan, const char *name) {
  struct ffb_operation_count count = {0};
  for (size_t i = 0; i < ffb_plan_program_count(plan); i++) {
    const struct ffb_program *program = ffb_plan_program_at(plan, i);
    if (strcmp(ffb_program_name(program), name) == 0) {
      ffb_program_count(program, &count);
      return count;
    }
  }
  fail_msg("there is no program %s", name);
  return count;
}

/* The program of a step (of the last unit, where units take turns). */
static void step_program(const struct subject *s, bool partial, char *name, size_t size) {
  const char *kind = "train all units";
  if (!(s->trainer->flags & FFB_TRAINER_FORWARD_FORWARD))
    kind = "train";
  else
    for (size_t i = 0; i < ffb_plan_program_count(s->plan); i++) {
      const char *one = ffb_program_name(ffb_plan_program_at(s->plan, i));
      if (strncmp(one, "train unit", 10) == 0 && !strchr(one, ','))
        kind = one;
    }
  snprintf(name, size, "%s%s", kind, partial ? ", partial batch" : "");
}

static void counts_are_those_of_the_programs(void **state) {
  (void)state;
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < 2 * MLP_RECIPES; i++) {
    size_t k = i / 2;
    struct recipe recipe = *mlp_recipe(k);
    struct subject s;
    recipe.backend = backends[i % 2];
    subject_make(&s, &recipe);
    for (int partial = 0; partial < 2; partial++) {
      struct ffb_operation_count train_formula, predict_formula;
      char name[96];
      assert_non_null(s.trainer->count_operations);
      assert_true(s.trainer->count_operations(&s.setup, partial ? 5 : 8, &train_formula, &predict_formula));
      step_program(&s, partial, name, sizeof name);
      struct ffb_operation_count step = count_program(s.plan, name), prediction = count_program(s.plan, "predict");
      if (step.mac_s8 != train_formula.mac_s8 || step.mac_f32 != train_formula.mac_f32)
        fail_msg("%s: %s: %lld INT8 and %lld FP32 by formula, %lld and %lld in the program", recipe_name(&recipe), name,
                 (long long)train_formula.mac_s8, (long long)train_formula.mac_f32, (long long)step.mac_s8,
                 (long long)step.mac_f32);
      if (!partial) {
        assert_int_equal(prediction.mac_s8, predict_formula.mac_s8);
        assert_int_equal(prediction.mac_f32, predict_formula.mac_f32);
      }
      assert_true(step.mac_s8 + step.mac_f32 > 0);
      assert_int_equal(step.mac_s8 > 0, s.trainer->flags & FFB_TRAINER_INT8);
    }
    subject_end(&s);
  }
}

/* Multiply-accumulates of 784-500-500-500-10 with a batch of 10, worked out by hand:
 *   hidden layers: 784 x 500 + 500 x 500 + 500 x 500 = 892,000 weights; the head 5,000.
 *   BP: forward 8,970,000; weight gradients 8,970,000; input gradients (all but the first layer) 5,050,000.
 *   FF: forward and weight gradient, positives and negatives, hidden layers only: 4 x 8,920,000. The paper's Table IV
 *   counted the standard way has 35.88 M: that is these 35.68 M and 4 x 50,000 for a head that FF does not train.
 *   FF's prediction tries ten labels. */
static void counts_by_hand(void **state) {
  (void)state;
  static const struct {
    const char *algorithm, *options;
    int64_t train, predict;
  } cases[] = {
      {"bp_fp32", "", 22990000, 8970000},
      {"bp_int8", "", 22990000, 8970000},
      {"bp_ui8", "", 22990000, 8970000},
      {"bp_gdai8", "", 22990000, 8970000},
      {"bp_gdai8", "segments=2", 8970000 + 2 * (8970000 + 5050000), 8970000},
      {"ff_int8", "lookahead=off", 35680000, 89200000},
      {"ff_int8", "lookahead=scalar", 35680000, 89200000},
      {"ff_int8", "lookahead=chain", 35680000 + 2 * 5000000, 89200000},
      {"ff_int8", "preset=one_pass", 2 * 8920000, 8920000},
      {"ff_int8", "schedule=greedy", 2 * 8920000 + 2 * 2500000, 89200000},
      {"ff_int8", "inference=linear_head", 35680000 + 8920000 + 2 * 50000, 8970000},
      {"ff_int8", "negatives=hard", 35680000 + 8920000 + 2 * 50000, 89200000},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct ffb_operation_count step, prediction;
    struct subject s;
    char name[96];
    subject_make(&s, &(struct recipe){.algorithm = cases[i].algorithm,
                                      .options = cases[i].options,
                                      .hidden = "500,500,500",
                                      .height = 28,
                                      .width = 28,
                                      .batch = 10,
                                      .records = 10});
    assert_true(s.trainer->count_operations(&s.setup, 10, &step, &prediction));
    assert_int_equal(step.mac_f32 + step.mac_s8, cases[i].train);
    assert_int_equal(prediction.mac_f32 + prediction.mac_s8, cases[i].predict);
    step_program(&s, false, name, sizeof name);
    step = count_program(s.plan, name);
    assert_int_equal(step.mac_f32 + step.mac_s8, cases[i].train);
    subject_end(&s);
  }
}

/* Elements that BP-INT8 quantises and compares in one step, by hand: 48-24-20-10, 8 rows. */
static void quantised_elements_by_hand(void **state) {
  (void)state;
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < 2; i++) {
    struct subject s;
    subject_make(&s, &(struct recipe){.algorithm = "bp_int8", .backend = backends[i]});
    struct ffb_operation_count count = count_program(s.plan, "train");
    int64_t inputs = 8 * (48 + 24 + 20), gradients = 8 * (24 + 20 + 10), weights = 48 * 24 + 24 * 20 + 20 * 10;
    assert_int_equal(count.quantised_elements, inputs + gradients + 2 * weights);
    assert_int_equal(count.compared_elements, inputs + gradients + 2 * weights);
    subject_end(&s);
  }
}

/* A search of gradient ranges every search_period steps, one for each layer. */
static void searches_come_by_period(void **state) {
  static const struct {
    const char *algorithm, *options;
    enum ffb_operator search;
  } cases[] = {{"bp_ui8", "search_period=5", FFB_CLIP_SEARCH},
               {"bp_gdai8", "search_period=5", FFB_CLIP_SEARCH},
               {"bp_gdai8", "search_period=5 segments=2", FFB_SEGMENT_SEARCH}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct operator_counts counts = {0};
    struct subject s;
    subject_make(&s, &(struct recipe){.algorithm = cases[i].algorithm, .options = cases[i].options});
    ffb_plan_observe(s.plan, observe_operator, &counts);
    for (int64_t step = 0; step < 12; step++) {
      train(&s, *state, step, 1);
      assert_int_equal(counts.of[cases[i].search], 3 * (step / 5 + 1));
    }
    subject_end(&s);
  }
}

/* UI8: the kept ratio lies in [0.05, 1] and a layer's rate is scaled by max(exp(-alpha d), beta). */
static void ui8_scales_the_rate_by_the_deviation(void **state) {
  static const double betas[] = {0.1, 0.9999};
  for (size_t i = 0; i < 2; i++) {
    char options[64];
    struct subject s;
    snprintf(options, sizeof options, "search_period=1 alpha=20 beta=%g", betas[i]);
    subject_make(&s, &(struct recipe){.algorithm = "bp_ui8", .options = options});
    train(&s, *state, 0, 3);
    for (int l = 1; l <= 3; l++) {
      char name[64];
      float ratio, deviation, multiplier;
      snprintf(name, sizeof name, "fc%d.gradient_ratio", l);
      read_floats(&s, name, &ratio);
      snprintf(name, sizeof name, "fc%d.gradient_deviation", l);
      read_floats(&s, name, &deviation);
      snprintf(name, sizeof name, "fc%d.rate_multiplier", l);
      read_floats(&s, name, &multiplier);
      assert_true(ratio >= 0.05f && ratio <= 1 && deviation > 0 && deviation < 0.1f);
      assert_close((double)multiplier, fmax(exp(-20 * (double)deviation), betas[i]), 1e-6, 0, name, 0);
    }
    subject_end(&s);
  }
}

/* The scaled rate is what the step uses: each step is the multiplier times that without scaling. */
static void ui8_multiplier_reaches_the_weights(void **state) {
  static struct oracle before, after[2];
  float multiplier[2];
  for (int i = 0; i < 2; i++) {
    struct subject s;
    char options[128];
    snprintf(options, sizeof options, "alpha=%d beta=0.5 momentum=0 learning_rate_schedule=constant learning_rate=0.5",
             i ? 1000 : 0);
    subject_make(&s, &(struct recipe){.algorithm = "bp_ui8", .options = options, .hidden = "24"});
    oracle_read(&before, &s);
    train(&s, *state, 0, 1);
    oracle_read(&after[i], &s);
    for (int l = 0; i && l < 2; l++)
      read_floats(&s, l ? "fc2.rate_multiplier" : "fc1.rate_multiplier", &multiplier[l]);
    subject_end(&s);
  }
  for (int l = 0; l < 2; l++) {
    assert_true(multiplier[l] >= 0.5f && multiplier[l] < 0.995f);
    for (int64_t k = 0; k < before.in[l] * before.out[l]; k++)
      assert_close(before.weight[l][k] - after[1].weight[l][k],
                   (double)multiplier[l] * (before.weight[l][k] - after[0].weight[l][k]), 1e-7, 0, "step", k);
  }
}

/* ---- the same bits everywhere -------------------------------------------------------------------------------------
 */

static void int8_bits_do_not_depend_on_the_backend(void **state) {
  for (size_t i = 0; i < COUNT_OF(int8_recipes); i++) {
    struct recipe recipe = int8_recipes[i];
    recipe.seed = i;
    assert_same_bits(&recipe, recipe_name(&recipe), *state, 12, 13);
  }
}

static void fused_forms_are_planned_where_there_are_any(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(int8_recipes); i++) {
    for (size_t v = 0; v < COUNT_OF(variants); v++) {
      struct subject s;
      make_variant(&s, &int8_recipes[i], &variants[v]);
      assert_int_equal(planned_operators(s.plan).fused > 0,
                       s.setup.backend == &ffb_backend_cpu && !variants[v].unfused);
      subject_end(&s);
    }
  }
}

static void fp32_backends_agree(void **state) {
  for (size_t i = 0; i < COUNT_OF(fp32_recipes); i++) {
    static struct oracle wanted, got;
    struct subject oracle;
    make_variant(&oracle, &fp32_recipes[i], &variants[0]);
    train(&oracle, *state, 0, 12);
    oracle_read(&wanted, &oracle);
    for (size_t v = 1; v < COUNT_OF(variants); v++) {
      struct subject s;
      make_variant(&s, &fp32_recipes[i], &variants[v]);
      train(&s, *state, 0, 12);
      oracle_read(&got, &s);
      for (int l = 0; l < wanted.layers; l++) {
        for (int64_t k = 0; k < wanted.in[l] * wanted.out[l]; k++)
          assert_close(got.weight[l][k], wanted.weight[l][k], 1e-5, 1e-5, variants[v].name, k);
      }
      if (variants[v].poison && s.setup.backend == &ffb_backend_reference)
        assert_same_state(&s, &oracle, variants[v].name);
      subject_end(&s);
    }
    subject_end(&oracle);
  }
}

/* Large enough for every operator to share its work. */
static void threads_and_repetitions_give_the_same_bits(void **state) {
  (void)state;
  static const struct recipe recipes[] = {{.algorithm = "bp_fp32", .bias = true},
                                          {.algorithm = "bp_int8", .bias = true},
                                          {.algorithm = "bp_ui8"},
                                          {.algorithm = "bp_gdai8"},
                                          {.algorithm = "bp_gdai8", .options = "segments=2"},
                                          {.algorithm = "ff_int8", .options = "lambda_step=0.5"},
                                          {.algorithm = "ff_int8", .options = "lookahead=chain weights=int8"},
                                          {.algorithm = "ff_int8", .options = "negatives=hard"},
                                          {.algorithm = "ff_int8", .options = "preset=one_pass"}};
  struct records records;
  records_make(&records, 70, 784);
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject subjects[4];
    for (int k = 0; k < 4; k++) { /* one thread, two, two again, two with another seed */
      struct recipe recipe = recipes[i];
      recipe.backend = &ffb_backend_cpu;
      recipe.threads = k ? 2 : 1;
      recipe.seed = k == 3 ? 2 : 1;
      recipe.hidden = "102,83";
      recipe.height = recipe.width = 28;
      recipe.batch = 32;
      recipe.records = 70;
      subject_make(&subjects[k], &recipe);
      train(&subjects[k], &records, 0, 6);
    }
    assert_same_state(&subjects[2], &subjects[1], "the same again");
    assert_same_state(&subjects[1], &subjects[0], "two threads");
    void *one = content(subjects[2].plan, tensor_named(subjects[2].plan, "fc1.weight"));
    void *two = content(subjects[3].plan, tensor_named(subjects[3].plan, "fc1.weight"));
    assert_memory_not_equal(one, two, 102 * 784);
    free(one);
    free(two);
    for (int k = 0; k < 4; k++)
      subject_end(&subjects[k]);
  }
  records_free(&records);
}

/* ---- forward-forward in double precision ---------------------------------------------------------------------------
 */

enum { NONE, L2, RMS };
enum reading { OFF, SCALAR, CHAIN };

struct ff_rule {
  bool class_groups, mean;
  int normalise;
  double theta, logit_scale; /* theta 0: the unit's width */
};

/* Of every unit: its input after normalisation, its output, its goodness by group. Rows: positives, then negatives. */
struct ff_values {
  double a[MOST_LAYERS][2 * MOST_ROWS * MOST_WIDTH], y[MOST_LAYERS][2 * MOST_ROWS * MOST_WIDTH];
  double goodness[MOST_LAYERS][2 * MOST_ROWS * CLASSES];
};

static int64_t group_size(int64_t width, int groups, int g) {
  return width / groups + (g < width % groups);
}

static void ff_normalise(const struct ff_rule *rule, const double *x, int64_t rows, int64_t width, bool image,
                         double *y) {
  int groups = rule->class_groups ? CLASSES : 1;
  for (int64_t m = 0; m < rows; m++) {
    int64_t at = m * width;
    for (int g = 0; g < (image ? 1 : groups); g++) {
      int64_t size = image ? width : group_size(width, groups, g);
      double squares = 0;
      for (int64_t k = at; k < at + size; k++)
        squares += x[k] * x[k];
      double norm = rule->normalise == NONE ? 1
                    : rule->normalise == L2 ? sqrt(squares) + 1e-8
                                            : sqrt(squares / (double)size) + 1e-8;
      for (int64_t k = at; k < at + size; k++)
        y[k] = x[k] / norm;
      at += size;
    }
  }
}

static void ff_goodness(const struct ff_rule *rule, const double *y, int64_t rows, int64_t width, double *goodness) {
  int groups = rule->class_groups ? CLASSES : 1;
  for (int64_t m = 0; m < rows; m++) {
    const double *at = y + m * width;
    for (int g = 0; g < groups; g++) {
      int64_t size = group_size(width, groups, g);
      double squares = 0;
      for (int64_t k = 0; k < size; k++)
        squares += at[k] * at[k];
      goodness[m * groups + g] = rule->mean || rule->class_groups ? squares / (double)size : squares;
      at += size;
    }
  }
}

static void ff_forward(const struct oracle *o, int units, const struct ff_rule *rule, const double *x, int64_t rows,
                       struct ff_values *v) {
  for (int u = 0; u < units; u++) {
    ff_normalise(rule, u ? v->y[u - 1] : x, rows, o->in[u], u == 0, v->a[u]);
    oracle_layer(o, u, v->a[u], rows, true, v->y[u]);
    ff_goodness(rule, v->y[u], rows, o->out[u], v->goodness[u]);
  }
}

static double softplus(double z) {
  return fmax(z, 0) + log1p(exp(-fabs(z)));
}

static double theta_of(const struct oracle *o, const struct ff_rule *rule, int unit) {
  return rule->theta > 0 ? rule->theta : (double)o->out[unit];
}

/* Loss of a unit from its goodness; with class groups `rows` records, else as many pairs. */
static double ff_loss(const struct oracle *o, const struct ff_rule *rule, int unit, const double *goodness,
                      const int32_t *labels, int64_t rows) {
  double sum = 0, theta = theta_of(o, rule, unit);
  for (int64_t m = 0; m < rows; m++) {
    if (rule->class_groups) {
      double z[CLASSES];
      for (int c = 0; c < CLASSES; c++)
        z[c] = rule->logit_scale * goodness[m * CLASSES + c];
      sum += log_sum_exp(z, CLASSES) - z[labels[m]];
    } else {
      sum += softplus(theta - goodness[m]) + softplus(goodness[rows + m] - theta);
    }
  }
  return sum / (double)rows;
}

/* dL/dG of a unit. */
static void ff_loss_gradient(const struct oracle *o, const struct ff_rule *rule, int unit, const double *goodness,
                             const int32_t *labels, int64_t rows, double *gradient) {
  double theta = theta_of(o, rule, unit), scale = rule->logit_scale;
  for (int64_t m = 0; m < rows; m++) {
    if (rule->class_groups) {
      double z[CLASSES];
      for (int c = 0; c < CLASSES; c++)
        z[c] = scale * goodness[m * CLASSES + c];
      double total = log_sum_exp(z, CLASSES);
      for (int c = 0; c < CLASSES; c++)
        gradient[m * CLASSES + c] = (exp(z[c] - total) - (c == labels[m])) * scale / (double)rows;
    } else {
      gradient[m] = -1 / (1 + exp(goodness[m] - theta)) / (double)rows;
      gradient[rows + m] = 1 / (1 + exp(theta - goodness[rows + m])) / (double)rows;
    }
  }
}

/* An image with a label written into its first pixels; -1: the neutral label. */
static void write_label(const struct subject *s, double *image, int label) {
  double on = (1 - (double)s->setup.mean[0]) / (double)s->setup.deviation[0];
  double off = -(double)s->setup.mean[0] / (double)s->setup.deviation[0];
  for (int c = 0; c < CLASSES; c++)
    image[c] = label < 0 ? off + (on - off) / CLASSES : c == label ? on : off;
}

/* backend.h's formula for a uniform wrong label. */
static int uniform_negative(const struct subject *s, const struct ffb_batch *batch, int64_t row, uint32_t draw) {
  uint32_t shift =
      1 + ffb_random_below(s->setup.seed, FFB_PURPOSE_NEGATIVE, draw, (uint64_t)batch->index[row], CLASSES - 1);
  return (batch->labels[row] + (int)shift) % CLASSES;
}

static void ff_input(const struct subject *s, const struct ff_rule *rule, const struct ffb_batch *batch, uint32_t draw,
                     double *x) {
  int64_t image = ffb_network_features(&s->network, 0);
  read_images(s, batch, x);
  if (rule->class_groups)
    return;
  memcpy(x + batch->rows * image, x, (size_t)(batch->rows * image) * sizeof *x);
  for (int64_t m = 0; m < batch->rows; m++) {
    write_label(s, x + m * image, batch->labels[m]);
    write_label(s, x + (batch->rows + m) * image, uniform_negative(s, batch, m, draw));
  }
}

struct ff_case {
  const char *name, *options, *hidden;
  struct ff_rule rule;
  double rate;
};

static const struct ff_case ff_cases[] = {
    {"tuned", "preset=tuned learning_rate=0.001", "24,20,18", {.normalise = RMS}, 0.001},
    {"paper", "preset=paper learning_rate=0.1", "24,20,18", {.normalise = L2, .theta = 2}, 0.1},
    {"mean",
     "goodness=mean_squares theta=0.3 learning_rate=0.1",
     "24,20,18",
     {.mean = true, .normalise = RMS, .theta = 0.3},
     0.1},
    {"unnormalised", "normalize=none theta=1 learning_rate=0.02", "24,20", {.normalise = NONE, .theta = 1}, 0.02},
    {"class groups",
     "goodness=class_groups logit_scale=2 learning_rate=0.1",
     "23,17",
     {.class_groups = true, .normalise = RMS, .logit_scale = 2},
     0.1},
};

static void ff_make(struct subject *s, const struct ff_case *c, enum reading reading, double lambda_start,
                    double lambda_step) {
  static const char *const readings[] = {"off", "scalar", "chain"};
  char options[512];
  snprintf(options, sizeof options,
           "%s lookahead=%s lambda_start=%g lambda_step=%g optimiser=sgd momentum=0 weight_decay=0 "
           "learning_rate_schedule=constant "
           "input_rounding=nearest gradient_rounding=nearest",
           c->options, readings[reading], lambda_start, lambda_step);
  subject_make(s, &(struct recipe){.algorithm = "ff_int8",
                                   .options = options,
                                   .hidden = c->hidden,
                                   .bias = true,
                                   .records = 8, /* an epoch is a step */
                                   .seed = 11,
                                   .mean = 0.25f,
                                   .deviation = 0.5f});
}

/* Gradient of the weights of unit u from the numbers that its goodness is weighted with: 2 c y a^T. */
static void ff_unit_gradient(const struct oracle *o, const struct ff_rule *rule, int u, const struct ff_values *v,
                             const double *coefficient, int64_t rows, double *gradient) {
  int64_t in = o->in[u], out = o->out[u];
  int groups = rule->class_groups ? CLASSES : 1;
  memset(gradient, 0, (size_t)(in * out) * sizeof *gradient);
  for (int64_t m = 0; m < rows; m++) {
    int64_t n = 0;
    for (int g = 0; g < groups; g++) {
      int64_t size = group_size(out, groups, g);
      double factor = 2 * coefficient[m * groups + g] / (rule->mean || rule->class_groups ? (double)size : 1);
      for (int64_t end = n + size; n < end; n++) {
        for (int64_t k = 0; k < in; k++)
          gradient[n * in + k] += factor * v->y[u][m * out + n] * v->a[u][m * in + k];
      }
    }
  }
}

/* Gradient of L_u + lambda sum over later units of their losses (Eq. 3) by finite differences. */
static void ff_exact_gradient(const struct oracle *o, int units, const struct ff_rule *rule, int u, double lambda,
                              const double *x, const int32_t *labels, int64_t rows, double *gradient) {
  static struct oracle moved;
  static struct ff_values v;
  const double h = 1e-6;
  moved = *o;
  for (int64_t i = 0; i < o->in[u] * o->out[u]; i++) {
    gradient[i] = 0;
    for (int side = 1; side >= -1; side -= 2) {
      moved.weight[u][i] = o->weight[u][i] + side * h;
      ff_forward(&moved, units, rule, x, rule->class_groups ? rows : 2 * rows, &v);
      for (int j = u; j < units; j++)
        gradient[i] += side * (j == u ? 1 : lambda) * ff_loss(o, rule, j, v.goodness[j], labels, rows) / (2 * h);
    }
    moved.weight[u][i] = o->weight[u][i];
  }
}

/* Numbers that the goodness of unit u is weighted with: dL_u/dG_u + lambda sum over later units of dL_j/dG_j. */
static void ff_coefficients(const struct oracle *o, int units, const struct ff_rule *rule, int u, double lambda,
                            double goodness[][2 * MOST_ROWS * CLASSES], const int32_t *labels, int64_t rows,
                            double *coefficient) {
  static double one[2 * MOST_ROWS * CLASSES];
  int64_t count = rule->class_groups ? rows * CLASSES : 2 * rows;
  memset(coefficient, 0, (size_t)count * sizeof *coefficient);
  for (int j = u; j < units; j++) {
    ff_loss_gradient(o, rule, j, goodness[j], labels, rows, one);
    for (int64_t i = 0; i < count; i++)
      coefficient[i] += (j == u ? 1 : lambda) * one[i];
  }
}

static double length(const double *x, int64_t n) {
  double squares = 0;
  for (int64_t i = 0; i < n; i++)
    squares += x[i] * x[i];
  return sqrt(squares);
}

/* One step at lambda against the exact gradient of what the reading says. */
static void check_reading(const struct ff_case *c, enum reading reading, const struct records *records) {
  static struct oracle before, after;
  static struct ff_values v;
  static double x[2 * MOST_ROWS * MOST_WIDTH], step[MOST_WIDTH * MOST_WIDTH], exact[MOST_WIDTH * MOST_WIDTH];
  static double coefficient[2 * MOST_ROWS * CLASSES];
  const double lambda = reading == OFF ? 0 : 0.7;
  struct subject s;
  ff_make(&s, c, reading, 0.3, 0.4);
  train(&s, records, 0, 1);
  oracle_read(&before, &s);
  train(&s, records, 1, 1); /* the second epoch: lambda_step more */
  oracle_read(&after, &s);
  struct ffb_batch batch = batch_of(records, 0, 8);
  int units = before.layers;
  assert_int_equal(units, s.network.unit_count - 1);
  ff_input(&s, &c->rule, &batch, 2, x);
  ff_forward(&before, units, &c->rule, x, c->rule.class_groups ? 8 : 16, &v);
  for (int u = 0; u < units; u++) {
    int64_t count = before.in[u] * before.out[u];
    for (int64_t i = 0; i < count; i++)
      step[i] = (before.weight[u][i] - after.weight[u][i]) / c->rate;
    if (reading == CHAIN || reading == OFF) {
      ff_exact_gradient(&before, units, &c->rule, u, lambda, x, batch.labels, 8, exact);
    } else {
      ff_coefficients(&before, units, &c->rule, u, lambda, v.goodness, batch.labels, 8, coefficient);
      ff_unit_gradient(&before, &c->rule, u, &v, coefficient, c->rule.class_groups ? 8 : 16, exact);
    }
    double along = cosine(step, exact, count), ratio = length(step, count) / length(exact, count);
    if (!(along > 0.99 && fabs(ratio - 1) < 0.05))
      fail_msg("%s, reading %d, unit %d: cosine %.4f, ratio of lengths %.4f", c->name, reading, u, along, ratio);
  }
  subject_end(&s);
}

static void units_follow_the_gradient_of_their_own_loss(void **state) {
  for (size_t i = 0; i < COUNT_OF(ff_cases); i++)
    check_reading(&ff_cases[i], OFF, *state);
}

static void scalar_lookahead_follows_its_formula(void **state) {
  for (size_t i = 0; i < COUNT_OF(ff_cases); i++)
    check_reading(&ff_cases[i], SCALAR, *state);
}

static void chain_lookahead_follows_the_exact_gradient(void **state) {
  for (size_t i = 0; i < COUNT_OF(ff_cases); i++)
    if (!ff_cases[i].rule.class_groups)
      check_reading(&ff_cases[i], CHAIN, *state);
}

/* Goodness of each unit and the numbers that it is weighted with, as a step computes them (last unit first). */
struct heard {
  int goodness_count, gradient_count;
  double goodness[MOST_LAYERS][2 * MOST_ROWS * CLASSES], gradient[MOST_LAYERS][2 * MOST_ROWS * CLASSES];
};

static void hear(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct heard *heard = to;
  const union ffb_arguments *arguments;
  ffb_program_call(program, call, &arguments);
  if (operation == FFB_GOODNESS) {
    const struct ffb_tensor *goodness = arguments->goodness.goodness;
    for (int64_t i = 0; i < ffb_elements(goodness); i++)
      heard->goodness[heard->goodness_count][i] = (double)((const float *)goodness->data)[i];
    heard->goodness_count++;
  } else if (operation == FFB_GOODNESS_GRADIENT) {
    const struct ffb_tensor *gradient = arguments->goodness_gradient.gradient;
    for (int64_t i = 0; i < ffb_elements(gradient); i++)
      heard->gradient[heard->gradient_count][i] = (double)((const float *)gradient->data)[i];
    heard->gradient_count++;
  }
}

/* Mean over units and samples, and pairs (or records) that the last unit tells apart. */
static void assert_statistics(const struct ffb_epoch_statistics *statistics, const struct oracle *o,
                              const struct ff_rule *rule, double goodness[][2 * MOST_ROWS * CLASSES],
                              const struct ffb_batch *batch) {
  double loss = 0, right = 0, *last = goodness[o->layers - 1];
  for (int u = 0; u < o->layers; u++)
    loss += ff_loss(o, rule, u, goodness[u], batch->labels, batch->rows) / o->layers;
  for (int64_t m = 0; m < batch->rows; m++)
    right += rule->class_groups ? best_class(last + m * CLASSES) == batch->labels[m] : last[m] > last[batch->rows + m];
  assert_close(statistics->loss, loss, 1e-6, 1e-5, "loss of the epoch", 0);
  assert_close(statistics->train_accuracy, 100 * right / (double)batch->rows, 1e-9, 0, "accuracy of the epoch", 0);
  assert_int_equal(statistics->not_finite, 0);
}

/* What no quantiser blurs: the number for each sample is that of the formula, from the goodness that the step saw. */
static void scalar_lookahead_sums_later_units_numbers(void **state) {
  for (size_t i = 0; i < COUNT_OF(ff_cases); i++) {
    static struct heard heard;
    static struct oracle o;
    static double wanted[2 * MOST_ROWS * CLASSES];
    const struct ff_case *c = &ff_cases[i];
    struct ffb_batch batch = batch_of(*state, 0, 8);
    struct subject s;
    ff_make(&s, c, SCALAR, 0, 0.7);
    oracle_read(&o, &s);
    ffb_plan_observe(s.plan, hear, &heard);
    for (int64_t step = 0; step < 3; step++) {
      struct ffb_epoch_statistics statistics;
      heard.goodness_count = heard.gradient_count = 0;
      GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
      GOOD(s.trainer->end_epoch(s.state, &statistics, &error), &error);
      assert_int_equal(heard.goodness_count, o.layers);
      assert_int_equal(heard.gradient_count, o.layers);
      assert_statistics(&statistics, &o, &c->rule, heard.goodness, &batch);
      for (int u = 0; u < o.layers; u++) {
        ff_coefficients(&o, o.layers, &c->rule, u, 0.7 * (double)step, heard.goodness, batch.labels, 8, wanted);
        for (int64_t k = 0; k < (c->rule.class_groups ? 8 * CLASSES : 16); k++)
          assert_close(heard.gradient[o.layers - 1 - u][k], wanted[k], 1e-7, 1e-5, c->name, k);
      }
    }
    subject_end(&s);
  }
}

/* In the first epoch lambda is 0 and the three readings are one; later the last unit still hears nothing. */
static void lookahead_starts_at_zero_and_spares_the_last_unit(void **state) {
  for (size_t i = 0; i < COUNT_OF(ff_cases); i++) {
    bool groups = ff_cases[i].rule.class_groups;
    struct subject s[3];
    for (int reading = OFF; reading <= (groups ? SCALAR : CHAIN); reading++) {
      ff_make(&s[reading], &ff_cases[i], reading, 0, 0.7);
      train(&s[reading], *state, 0, 1);
      if (reading == OFF)
        continue;
      struct snapshot off = snapshot_take(&s[OFF]);
      for (size_t k = 0; k < ffb_plan_persistent_count(s[OFF].plan); k++)
        assert_true(snapshot_kept(&off, &s[reading], ffb_plan_persistent_at(s[OFF].plan, k)->name));
      free(off.data);
    }
    for (int reading = OFF; reading <= (groups ? SCALAR : CHAIN); reading++)
      train(&s[reading], *state, 1, 1);
    struct snapshot off = snapshot_take(&s[OFF]);
    char last[32];
    snprintf(last, sizeof last, "fc%d.weight", s[OFF].network.unit_count - 1);
    for (int reading = SCALAR; reading <= (groups ? SCALAR : CHAIN); reading++) {
      assert_true(snapshot_kept(&off, &s[reading], last));
      assert_false(snapshot_kept(&off, &s[reading], "fc1.weight"));
    }
    free(off.data);
    for (int reading = OFF; reading <= (groups ? SCALAR : CHAIN); reading++)
      subject_end(&s[reading]);
  }
}

/* ---- schedule, head, negatives, weights -----------------------------------------------------------------------------
 */

static void greedy_trains_one_unit_at_a_time(void **state) {
  /* 7 epochs for 3 units: 3, 2 and 2 */
  static const int unit_of_epoch[] = {1, 1, 1, 2, 2, 3, 3};
  struct subject s;
  subject_make(&s, &(struct recipe){.algorithm = "ff_int8",
                                    .options = "schedule=greedy learning_rate=0.01",
                                    .hidden = "24,20,18",
                                    .bias = true,
                                    .epochs = 7});
  for (int epoch = 0; epoch < 7; epoch++) {
    struct snapshot before = snapshot_take(&s);
    train(&s, *state, epoch * 3, 3);
    for (int unit = 1; unit <= 3; unit++) {
      static const char *const parts[] = {"weight", "bias", "weight.momentum", "weight_scale", "input_maximum"};
      for (size_t i = 0; i < COUNT_OF(parts); i++) {
        char name[64];
        snprintf(name, sizeof name, "fc%d.%s", unit, parts[i]);
        if (snapshot_kept(&before, &s, name) != (unit != unit_of_epoch[epoch]))
          fail_msg("epoch %d: %s was%s changed", epoch, name, unit == unit_of_epoch[epoch] ? " not" : "");
      }
    }
    free(before.data);
  }
  subject_end(&s);
}

static void head_is_trained_where_something_reads_it(void **state) {
  static const struct {
    const char *options;
    bool head;
  } cases[] = {{"", false},
               {"inference=all", false},
               {"negatives=uniform negatives_drawn=once", false},
               {"inference=linear_head", true},
               {"negatives=hard", true},
               {"schedule=greedy inference=linear_head", true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct subject s;
    subject_make(&s, &(struct recipe){.algorithm = "ff_int8", .options = cases[i].options});
    assert_int_equal(tensor_or_null(s.plan, "fc3.weight") != NULL, cases[i].head);
    if (cases[i].head) {
      struct snapshot before = snapshot_take(&s);
      train(&s, *state, 0, 1);
      assert_false(snapshot_kept(&before, &s, "fc3.weight"));
      free(before.data);
    }
    subject_end(&s);
  }
}

/* The head's step is head_learning_rate times the gradient of its cross-entropy on images with the neutral label, and
 * no gradient of it reaches a unit. */
static void head_learns_cross_entropy_on_neutral_images(void **state) {
  static struct oracle before, after, head, gradient;
  static struct activities a;
  static struct ff_values v;
  static double x[MOST_ROWS * MOST_WIDTH], step[MOST_WIDTH * MOST_WIDTH];
  const struct ff_rule rule = {.normalise = RMS};
  struct ffb_batch batch = batch_of(*state, 0, 8);
  struct subject s[2];
  for (int i = 0; i < 2; i++)
    subject_make(&s[i], &(struct recipe){.algorithm = "ff_int8",
                                         .options = i ? "inference=linear_head head_learning_rate=0.3 momentum=0 "
                                                        "weight_decay=0 learning_rate_schedule=constant"
                                                      : "momentum=0 weight_decay=0 learning_rate_schedule=constant",
                                         .bias = true,
                                         .records = 8});
  train(&s[0], *state, 0, 5);
  train(&s[1], *state, 0, 4); /* running maxima are there */
  oracle_read(&before, &s[1]);
  train(&s[1], *state, 4, 1);
  oracle_read(&after, &s[1]);
  read_images(&s[1], &batch, x);
  for (int64_t m = 0; m < 8; m++)
    write_label(&s[1], x + m * 48, -1);
  ff_forward(&before, 2, &rule, x, 8, &v);
  head = (struct oracle){.layers = 1, .in = {20}, .out = {CLASSES}};
  memcpy(head.weight[0], before.weight[2], sizeof head.weight[0]);
  memcpy(head.bias[0], before.bias[2], sizeof head.bias[0]);
  gradient = head;
  ff_normalise(&rule, v.y[1], 8, 20, false, a.of[0]);
  oracle_gradient(&head, &batch, &a, &gradient);
  for (int64_t i = 0; i < 20 * CLASSES; i++)
    step[i] = (before.weight[2][i] - after.weight[2][i]) / 0.3;
  double along = cosine(step, gradient.weight[0], 20 * CLASSES);
  if (!(along > 0.97 && fabs(length(step, 200) / length(gradient.weight[0], 200) - 1) < 0.1))
    fail_msg("cosine %g, lengths %g %g", along, length(step, 200), length(gradient.weight[0], 200));
  for (int c = 0; c < CLASSES; c++)
    assert_close((before.bias[2][c] - after.bias[2][c]) / 0.3, gradient.bias[0][c], 0.01, 0.02, "bias of the head", c);
  static const char *const untouched[] = {"fc1.weight", "fc2.weight", "fc1.input_maximum", "fc2.input_maximum"};
  for (size_t i = 0; i < COUNT_OF(untouched); i++) {
    const struct ffb_tensor *tensor = tensor_named(s[0].plan, untouched[i]);
    void *one = content(s[0].plan, tensor), *two = content(s[1].plan, tensor_named(s[1].plan, untouched[i]));
    assert_memory_equal(one, two, ffb_tensor_bytes(tensor));
    free(one);
    free(two);
  }
  subject_end(&s[0]);
  subject_end(&s[1]);
}

/* Negative labels by record number, as the steps of an epoch draw them. */
struct drawn {
  int labels[64];
  int wrong; /* draws that were not what the header says */
  uint64_t seed;
  uint32_t draw;
  bool hard, kept;
};

/* backend.h's formula for a hard negative. */
static int hard_negative(const struct drawn *drawn, const float *scores, int truth, uint32_t record) {
  double uniform = (double)ffb_random_uniform(drawn->seed, FFB_PURPOSE_NEGATIVE, drawn->draw, record);
  double largest = -INFINITY, total = 0, sum = 0;
  for (int c = 0; c < CLASSES; c++)
    largest = c == truth ? largest : fmax(largest, (double)scores[c]);
  for (int c = 0; c < CLASSES; c++)
    total += c == truth ? 0 : exp((double)scores[c] - largest);
  for (int c = 0; c < CLASSES; c++) {
    sum += c == truth ? 0 : exp((double)scores[c] - largest);
    if (c != truth && uniform * total < sum)
      return c;
  }
  return -1;
}

static void see_negatives(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct drawn *drawn = to;
  const union ffb_arguments *arguments;
  ffb_program_call(program, call, &arguments);
  if (operation != FFB_DRAW_NEGATIVES)
    return;
  const struct ffb_draw_negatives *draw = &arguments->draw_negatives;
  for (int64_t m = 0; m < ffb_rows(draw->labels); m++) {
    int32_t got = ((const int32_t *)draw->negatives->data)[m], truth = ((const int32_t *)draw->labels->data)[m];
    uint32_t record = (uint32_t)((const int32_t *)draw->index->data)[m];
    int wanted = (truth + 1 + (int)ffb_random_below(drawn->seed, FFB_PURPOSE_NEGATIVE, drawn->draw, record, 9)) % 10;
    if (drawn->hard)
      wanted = hard_negative(drawn, (const float *)draw->scores->data + m * CLASSES, truth, record);
    if (drawn->kept && drawn->labels[record] >= 0)
      wanted = drawn->labels[record];
    drawn->wrong += got != wanted || got == truth || got < 0 || got >= CLASSES;
    drawn->labels[record] = got;
  }
}

static void negatives_are_drawn_as_often_as_asked(void **state) {
  static const char *const kinds[] = {"uniform", "hard"}, *const times[] = {"once", "epoch", "batch"};
  for (int i = 0; i < 6; i++) {
    char options[128];
    struct subject s;
    snprintf(options, sizeof options, "negatives=%s negatives_drawn=%s head_learning_rate=1", kinds[i / 3],
             times[i % 3]);
    subject_make(&s, &(struct recipe){.algorithm = "ff_int8", .options = options, .records = 60, .seed = 4});
    struct drawn drawn = {.seed = 4, .hard = i / 3, .kept = i == 3};
    int64_t epoch_steps = steps_per_epoch(&s);
    int first[64] = {0}, changed = 0;
    memset(drawn.labels, 0xff, sizeof drawn.labels);
    ffb_plan_observe(s.plan, see_negatives, &drawn);
    for (int64_t step = 0; step < 2 * epoch_steps; step++) {
      if (step == epoch_steps)
        memcpy(first, drawn.labels, sizeof first);
      drawn.draw = i % 3 == 0 ? 0 : (uint32_t)(i % 3 == 1 ? step / epoch_steps + 1 : step + 1);
      train(&s, *state, step, 1);
    }
    for (int r = 0; r < 60; r++)
      changed += first[r] != drawn.labels[r];
    assert_int_equal(drawn.wrong, 0);
    assert_in_range(changed, i % 3 == 0 ? 0 : 20, i % 3 == 0 ? 0 : 60);
    subject_end(&s);
  }
}

static bool ends_with(const char *text, const char *end) {
  size_t length_of_text = strlen(text), length_of_end = strlen(end);
  return length_of_text >= length_of_end && strcmp(text + length_of_text - length_of_end, end) == 0;
}

/* Weights that are stored in INT8 only: -128 never occurs, 127 always does, and nothing persistent holds them in FP32.
 */
static void int8_weights_stay_on_their_grid(void **state) {
  static const struct recipe recipes[] = {{.algorithm = "bp_int8", .options = "weights=int8", .bias = true},
                                          {.algorithm = "bp_ui8", .options = "weights=int8 optimiser=adam"},
                                          {.algorithm = "bp_gdai8", .options = "weights=int8 segments=2"},
                                          {.algorithm = "ff_int8", .options = "weights=int8 inference=linear_head"},
                                          {.algorithm = "ff_int8", .options = "preset=one_pass weights=int8"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject s;
    int changed = 0;
    subject_make(&s, &recipes[i]);
    struct snapshot before = snapshot_take(&s);
    train(&s, *state, 0, 12);
    for (size_t k = 0; k < ffb_plan_persistent_count(s.plan); k++) {
      const struct ffb_tensor *tensor = ffb_plan_persistent_at(s.plan, k);
      bool state_of_optimiser = tensor->tag == FFB_TAG_OPTIMISER;
      if (ffb_elements(tensor) >= 100 && !state_of_optimiser)
        assert_int_equal(tensor->type, FFB_S8);
      if (tensor->tag != FFB_TAG_WEIGHTS || ends_with(tensor->name, ".bias") ||
          ends_with(tensor->name, ".weight_scale"))
        continue;
      int8_t *values = content(s.plan, tensor);
      int largest = 0;
      for (int64_t n = 0; n < ffb_elements(tensor); n++)
        largest = abs(values[n]) > largest ? abs(values[n]) : largest;
      assert_in_range(largest, 126, 127); /* the largest may be rounded down at random, by nothing but rounding */
      changed += !snapshot_kept(&before, &s, tensor->name);
      free(values);
    }
    assert_true(changed >= 2);
    free(before.data);
    subject_end(&s);
  }
}

/* ---- scores -------------------------------------------------------------------------------------------------------
 */

/* Scores of the readings of inference in double precision. */
static void oracle_scores(const struct oracle *o, const struct subject *s, const struct ff_rule *rule,
                          const char *inference, const struct ffb_batch *batch, double *scores) {
  static double x[MOST_ROWS * MOST_WIDTH], a[MOST_ROWS * MOST_WIDTH];
  static struct ff_values v;
  int units = s->network.unit_count - 1, groups = rule->class_groups ? CLASSES : 1;
  bool head = strcmp(inference, "linear_head") == 0;
  for (int label = 0; label < (groups > 1 || head ? 1 : CLASSES); label++) {
    read_images(s, batch, x);
    for (int64_t m = 0; groups == 1 && m < batch->rows; m++)
      write_label(s, x + m * o->in[0], head ? -1 : label);
    ff_forward(o, units, rule, x, batch->rows, &v);
    for (int64_t i = 0; i < batch->rows * groups && !head; i++) {
      double *score = groups > 1 ? &scores[i] : &scores[i * CLASSES + label];
      *score = 0;
      for (int u = strcmp(inference, "skip_first") == 0 ? 1
                   : strcmp(inference, "last") == 0     ? units - 1
                                                        : 0;
           u < units; u++)
        *score += v.goodness[u][i];
    }
  }
  if (head) {
    ff_normalise(rule, v.y[units - 1], batch->rows, o->in[units], false, a);
    oracle_layer(o, units, a, batch->rows, false, scores);
  }
}

/* Scores in INT8 against double precision: the same up to the error of the quantisers. */
static void scores_are_those_of_the_reading(void **state) {
  static const struct {
    const char *options, *inference;
    struct ff_rule rule;
  } cases[] = {{"preset=tuned", "skip_first", {.normalise = RMS}},
               {"preset=paper", "all", {.normalise = L2}},
               {"preset=tuned", "last", {.normalise = RMS}},
               {"preset=tuned", "linear_head", {.normalise = RMS}},
               {"goodness=mean_squares theta=0.5", "skip_first", {.normalise = RMS, .mean = true}},
               {"preset=one_pass", "all", {.normalise = RMS, .class_groups = true}},
               {"preset=one_pass", "last", {.normalise = RMS, .class_groups = true}},
               {"preset=one_pass", "skip_first", {.normalise = RMS, .class_groups = true}}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    static struct oracle o;
    static double wanted[8 * CLASSES];
    float scores[8 * CLASSES];
    char options[256];
    struct subject s;
    snprintf(options, sizeof options, "%s inference=%s", cases[i].options, cases[i].inference);
    subject_make(&s, &(struct recipe){.algorithm = "ff_int8",
                                      .options = options,
                                      .hidden = "43,37,29",
                                      .bias = true,
                                      .mean = 0.25f,
                                      .deviation = 0.5f});
    train(&s, *state, 0, 12);
    oracle_read(&o, &s);
    struct ffb_batch batch = batch_of(*state, 0, 8);
    predict(&s, *state, 0, 8, scores);
    oracle_scores(&o, &s, &cases[i].rule, cases[i].inference, &batch, wanted);
    double mean = 0, error_of_scores = 0, spread = 0;
    for (int k = 0; k < 8 * CLASSES; k++)
      mean += wanted[k] / (8 * CLASSES);
    for (int k = 0; k < 8 * CLASSES; k++) {
      error_of_scores += pow((double)scores[k] - wanted[k], 2);
      spread += pow(wanted[k] - mean, 2);
    }
    if (!(error_of_scores < 0.35 * 0.35 * spread))
      fail_msg("%s: an error of %g where the scores spread by %g", options, sqrt(error_of_scores), sqrt(spread));
    subject_end(&s);
  }
}

/* The first values of `scores` are those of a prediction of any other number of rows, row by row. */
static void check_rows(struct subject *s, const struct records *records, const char *what) {
  float scores[21 * CLASSES], one[21 * CLASSES];
  static const int64_t rows[] = {1, 3, 8, 9, 16, 19};
  struct snapshot before = snapshot_take(s);
  predict(s, records, 0, 21, scores);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    for (int64_t first = 0; first + rows[i] <= 21; first++) {
      predict(s, records, first, rows[i], one);
      if (memcmp(one, scores + first * CLASSES, (size_t)(rows[i] * CLASSES) * sizeof *one) != 0)
        fail_msg("%s: %d rows from %d differ", what, (int)rows[i], (int)first);
    }
  }
  const char *changed = snapshot_changed(&before, s);
  if (changed)
    fail_msg("%s: predict changed %s", what, changed);
  free(before.data);
}

static void rows_are_predicted_one_by_one(void **state) {
  static const struct ffb_backend *const backends[] = {&ffb_backend_reference, &ffb_backend_cpu};
  for (size_t i = 0; i < 2 * MLP_RECIPES; i++) {
    size_t k = i / 2;
    struct recipe recipe = *mlp_recipe(k);
    struct subject s;
    recipe.backend = backends[i % 2];
    recipe.threads = 2;
    subject_make(&s, &recipe);
    train(&s, *state, 0, 4);
    check_rows(&s, *state, recipe_name(&recipe));
    subject_end(&s);
  }
}

static void copy_persistent(struct subject *to, struct subject *from) {
  for (size_t i = 0; i < ffb_plan_persistent_count(from->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(from->plan, i);
    void *bytes = content(from->plan, tensor);
    struct ffb_tensor *place = tensor_named(to->plan, tensor->name);
    assert_int_equal(ffb_tensor_bytes(place), ffb_tensor_bytes(tensor));
    GOOD(ffb_tensor_write(to->plan, place, bytes, &error), &error);
    free(bytes);
  }
}

/* The same weights in a trainer made for another batch size give the same scores. */
static void scores_do_not_depend_on_the_batch_size(void **state) {
  for (size_t i = 0; i < COUNT_OF(int8_recipes); i++) {
    float scores[2][21 * CLASSES];
    struct subject s[2];
    for (int k = 0; k < 2; k++) {
      struct recipe recipe = int8_recipes[i];
      recipe.backend = &ffb_backend_cpu;
      recipe.batch = k ? 5 : 8;
      subject_make(&s[k], &recipe);
      if (k)
        copy_persistent(&s[1], &s[0]);
      else
        train(&s[0], *state, 0, 4);
      predict(&s[k], *state, 0, 21, scores[k]);
    }
    assert_memory_equal(scores[0], scores[1], sizeof scores[0]);
    subject_end(&s[0]);
    subject_end(&s[1]);
  }
}

/* ---- refused options ------------------------------------------------------------------------------------------------
 */

static void contradictions_are_usage_errors(void **state) {
  (void)state;
  static const struct {
    const char *options, *hidden, *mentions;
    int64_t width;
  } cases[] = {{"schedule=greedy lookahead=scalar", "24", "lookahead", 0},
               {"schedule=greedy lookahead=chain", "24", "lookahead", 0},
               {"goodness=class_groups lookahead=chain", "24", "lookahead", 0},
               {"preset=one_pass lookahead=chain", "24", "lookahead", 0},
               {"goodness=class_groups negatives=hard", "24", "negatives", 0},
               {"goodness=class_groups inference=linear_head", "24", "inference", 0},
               {"goodness=class_groups", "24,9", "goodness=class_groups", 0},
               {"goodness=class_groups lookahead=block unit=layer", "24", "lookahead", 0},
               {"goodness=class_groups label=pattern", "24", "label", 0},
               {"lookahead=off lookahead_memory=recompute", "24", "lookahead_memory", 0},
               {"lookahead=chain lookahead_memory=recompute", "24", "lookahead_memory", 0},
               {"schedule=greedy lookahead_memory=recompute", "24", "lookahead_memory", 0},
               {"lookahead_memory=previous_epoch", "24", "negatives_drawn", 0},
               {"lookahead_memory=previous_epoch negatives_drawn=epoch", "24", "negatives_drawn", 0},
               {"label=plane", "24", "label", 9},
               {"", "none", "model.hidden", 0},
               {"", "24", "label", 9}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct subject s;
    subject_begin(&s, &(struct recipe){.algorithm = "ff_int8",
                                       .options = cases[i].options,
                                       .hidden = cases[i].hidden,
                                       .width = cases[i].width});
    for (int hook = 0; hook < 2; hook++) { /* create refuses too, for who does not validate */
      error = (struct ffb_error){0};
      assert_false(hook ? s.trainer->create(&s.state, &s.setup, &error) : s.trainer->validate(&s.setup, &error));
      assert_int_equal(error.kind, FFB_ERROR_USAGE);
      assert_mentions(&error, "ff_int8");
      assert_mentions(&error, cases[i].mentions);
      assert_null(s.state);
    }
    subject_end(&s);
  }
}

/* What goes together is not refused: nine pixels are no obstacle to class groups, and greedy turns a preset's
 * look-ahead off. */
static void neighbours_of_contradictions_are_accepted(void **state) {
  static const struct recipe recipes[] = {
      {.algorithm = "ff_int8", .options = "goodness=class_groups", .height = 6, .width = 8, .hidden = "24,10"},
      {.algorithm = "ff_int8", .options = "schedule=greedy lookahead=off"},
      {.algorithm = "ff_int8", .options = "label=pattern", .height = 6, .width = 8},
      {.algorithm = "ff_int8", .options = "goodness=class_groups lookahead=scalar lookahead_memory=previous_epoch"},
      {.algorithm = "ff_int8", .options = "lookahead=block lookahead_memory=recompute"},
      {.algorithm = "ff_int8", .options = "schedule=greedy preset=paper"},
      {.algorithm = "ff_int8", .options = "goodness=class_groups lookahead=scalar"},
      {.algorithm = "bp_fp32", .hidden = "none"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject s;
    subject_make(&s, &recipes[i]);
    train(&s, *state, 0, 3);
    subject_end(&s);
  }
}

/* A loss that is not finite is counted, with the place; nothing else breaks. */
static void divergence_is_counted(void **state) {
  /* The decay alone multiplies every weight by -9999 in each step. */
#define EXPLODE "learning_rate=1000 weight_decay=10 momentum=0 optimiser=sgd "
  static const struct recipe recipes[] = {{.algorithm = "bp_fp32", .options = EXPLODE},
                                          {.algorithm = "bp_int8", .options = EXPLODE, .bias = true},
                                          {.algorithm = "bp_ui8", .options = EXPLODE "search_period=1"},
                                          {.algorithm = "bp_gdai8", .options = EXPLODE "search_period=1"},
                                          {.algorithm = "bp_gdai8", .options = EXPLODE "search_period=1 segments=2"},
                                          {.algorithm = "ff_int8", .options = EXPLODE},
                                          {.algorithm = "ff_int8", .options = EXPLODE "weights=int8 lookahead=chain"},
                                          {.algorithm = "ff_int8", .options = EXPLODE "negatives=hard"},
                                          {.algorithm = "ff_int8", .options = EXPLODE "preset=one_pass"}};
#undef EXPLODE
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    struct subject s;
    float scores[8 * CLASSES];
    int64_t not_finite = 0, steps = 0;
    struct recipe recipe = recipes[i];
    recipe.epochs = 8;
    subject_make(&s, &recipe);
    for (int64_t epoch = 0; epoch < 8; epoch++) {
      struct ffb_epoch_statistics statistics;
      for (int64_t step = 0; step < 3; step++, steps++) {
        struct ffb_batch batch = batch_of_step(&s, *state, steps);
        GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
      }
      GOOD(s.trainer->end_epoch(s.state, &statistics, &error), &error);
      assert_int_equal(statistics.not_finite > 0, !isfinite(statistics.loss));
      if (statistics.not_finite)
        assert_string_not_equal(statistics.not_finite_where, "");
      not_finite += statistics.not_finite;
    }
    if (!not_finite)
      fail_msg("%s: every loss was finite", recipe_name(&recipes[i]));
    predict(&s, *state, 0, 8, scores);
    subject_end(&s);
  }
}

static void unplanned_batch_is_refused(void **state) {
  static const char *const algorithms[] = {"bp_fp32", "bp_int8", "ff_int8"};
  for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
    struct subject s;
    subject_make(&s, &(struct recipe){.algorithm = algorithms[i]});
    struct ffb_batch batch = batch_of(*state, 0, 7);
    struct snapshot before = snapshot_take(&s);
    assert_false(s.trainer->train_step(s.state, &batch, &error));
    assert_mentions(&error, "7");
    assert_null(snapshot_changed(&before, &s));
    free(before.data);
    subject_end(&s);
    subject_make(&s, &(struct recipe){.algorithm = algorithms[i], .records = 16}); /* no partial batch at all */
    batch.rows = 0;
    assert_false(s.trainer->train_step(s.state, &batch, &error));
    assert_one_line(&error);
    subject_end(&s);
  }
}

/* ---- checkpoints and weight files -----------------------------------------------------------------------------------
 */

static void copy_state(struct subject *to, struct subject *from) {
  size_t bytes = from->trainer->save(from->state, NULL);
  void *saved = malloc(bytes + 1);
  assert_non_null(saved);
  assert_int_equal(from->trainer->save(from->state, saved), bytes);
  GOOD(to->trainer->load(to->state, saved, bytes, &error), &error);
  assert_false(to->trainer->load(to->state, saved, bytes - 1, &error));
  assert_one_line(&error);
  free(saved);
  copy_persistent(to, from);
}

/* What is copied after five of twelve steps, in mid-epoch, goes on as if nothing had happened. */
static void copied_state_goes_on_with_the_same_bits(void **state) {
  for (size_t i = 0; i < MLP_RECIPES; i++) {
    struct recipe recipe = *mlp_recipe(i);
    struct subject whole, second;
    recipe.backend = &ffb_backend_cpu;
    subject_make(&whole, &recipe);
    subject_make(&second, &recipe);
    train(&whole, *state, 0, 5);
    train(&second, *state, 0, 2); /* whatever it did before is forgotten */
    copy_state(&second, &whole);
    train(&whole, *state, 5, 7);
    train(&second, *state, 5, 7);
    assert_same_state(&second, &whole, recipe_name(&recipe));
    subject_end(&whole);
    subject_end(&second);
  }
}

static char folder[64];

static void place(char path[128], const char *name) {
  snprintf(path, 128, "%s/%s", folder, name);
}

static int files_in_folder(void) {
  int count = 0;
  DIR *directory = opendir(folder);
  assert_non_null(directory);
  for (struct dirent *entry; (entry = readdir(directory));)
    count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

static void assert_entry(struct subject *s, const json_t *header, const struct ffb_tensor *tensor, const uint8_t *data,
                         size_t *expected) {
  const json_t *entry = json_object_get(header, tensor->name), *shape = json_object_get(entry, "shape");
  const json_t *offsets = json_object_get(entry, "data_offsets");
  assert_non_null(entry);
  assert_string_equal(json_string_value(json_object_get(entry, "dtype")), tensor->type == FFB_S8 ? "I8" : "F32");
  bool vector = ends_with(tensor->name, ".bias") || ends_with(tensor->name, ".weight_scale");
  assert_int_equal(json_array_size(shape), vector ? 1 : 2);
  for (size_t i = 0; i < json_array_size(shape); i++)
    assert_int_equal(json_integer_value(json_array_get(shape, i)), tensor->shape[i]);
  size_t start = (size_t)json_integer_value(json_array_get(offsets, 0));
  size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
  assert_int_equal(start, *expected);
  assert_int_equal(end - start, ffb_tensor_bytes(tensor));
  void *bytes = content(s->plan, tensor);
  assert_memory_equal(data + start, bytes, end - start);
  free(bytes);
  *expected = end;
}

static void check_weight_file(struct subject *s, const char *path) {
  FILE *from = fopen(path, "rb");
  assert_non_null(from);
  static uint8_t bytes[65536];
  size_t size = fread(bytes, 1, sizeof bytes, from), length_of_header = 0, expected = 0, weights = 0;
  fclose(from);
  assert_in_range(size, 9, sizeof bytes - 1);
  for (int i = 7; i >= 0; i--)
    length_of_header = length_of_header << 8 | bytes[i];
  assert_in_range(length_of_header, 2, size - 8);
  assert_int_equal(length_of_header % 8, 0);
  assert_int_equal(bytes[8], '{');
  json_error_t problem;
  json_t *header = json_loadb((const char *)bytes + 8, length_of_header, JSON_REJECT_DUPLICATES, &problem);
  if (!header)
    fail_msg("%s: %s", path, problem.text);
  assert_string_equal(json_string_value(json_object_get(json_object_get(header, "__metadata__"), "format")), "pt");
  for (size_t i = 0; i < ffb_plan_persistent_count(s->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(s->plan, i);
    if (tensor->tag != FFB_TAG_WEIGHTS)
      continue;
    assert_entry(s, header, tensor, bytes + 8 + length_of_header, &expected);
    weights++;
  }
  assert_int_equal(json_object_size(header), weights + 1);
  assert_int_equal(size, 8 + length_of_header + expected);
  json_decref(header);
}

static void weight_file_holds_the_weights(void **state) {
  static const struct recipe recipes[] = {{.algorithm = "bp_fp32", .bias = true},
                                          {.algorithm = "bp_int8", .options = "weights=int8", .bias = true},
                                          {.algorithm = "ff_int8"}};
  for (size_t i = 0; i < COUNT_OF(recipes); i++) {
    char path[128];
    struct subject s;
    subject_make(&s, &recipes[i]);
    train(&s, *state, 0, 2);
    place(path, "weights.safetensors");
    for (int again = 0; again < 2; again++) { /* the second one replaces the first */
      GOOD(ffb_weights_save(path, s.plan, &error), &error);
      check_weight_file(&s, path);
      assert_int_equal(files_in_folder(), 1);
    }
    assert_int_equal(unlink(path), 0);
    subject_end(&s);
  }
}

static void weight_file_that_cannot_be_written_leaves_nothing(void **state) {
  (void)state;
  char path[128], long_path[5000];
  struct subject s;
  subject_make(&s, &(struct recipe){.algorithm = "bp_fp32"});
  place(path, "missing/weights.safetensors");
  assert_false(ffb_weights_save(path, s.plan, &error));
  assert_mentions(&error, path);
  place(path, "folder");
  assert_int_equal(mkdir(path, 0777), 0);
  assert_false(ffb_weights_save(path, s.plan, &error)); /* a folder has the name */
  assert_mentions(&error, path);
  assert_int_equal(rmdir(path), 0);
  memset(long_path, 'x', sizeof long_path - 1);
  long_path[sizeof long_path - 1] = '\0';
  assert_false(ffb_weights_save(long_path, s.plan, &error));
  assert_one_line(&error);
  assert_int_equal(files_in_folder(), 0);
  subject_end(&s);
}

/* A disk that fills up on the way: an older file stays as it was. */
static void weight_file_survives_a_full_disk(void **state) {
  (void)state;
  char path[128];
  struct subject s;
  struct rlimit all, few;
  subject_make(&s, &(struct recipe){.algorithm = "bp_fp32"});
  place(path, "weights.safetensors");
  GOOD(ffb_weights_save(path, s.plan, &error), &error);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
  few = all;
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  static const rlim_t limits[] = {0, 4, 100, 2000, 7000};
  for (size_t i = 0; i < COUNT_OF(limits); i++) {
    few.rlim_cur = limits[i];
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
    error = (struct ffb_error){0};
    bool saved = ffb_weights_save(path, s.plan, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_false(saved);
    assert_mentions(&error, path);
    assert_int_equal(files_in_folder(), 1);
    check_weight_file(&s, path);
  }
  signal(SIGXFSZ, handler);
  assert_int_equal(unlink(path), 0);
  subject_end(&s);
}

/* ---- set-up -------------------------------------------------------------------------------------------------------
 */

static int set_up(void **state) {
  static struct records records;
  const char *temporary = getenv("TMPDIR");
  records_make(&records, 64, 48);
  *state = &records;
  snprintf(folder, sizeof folder, "%.40s/ffbench-XXXXXX", temporary && *temporary ? temporary : "/tmp");
  return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
  records_free(*state);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_finite_differences),
      cmocka_unit_test(gradients_are_handed_over),
      cmocka_unit_test(int8_gradients_point_along_the_exact_ones),
      cmocka_unit_test(gradient_range_holds_for_weight_gradients),
      cmocka_unit_test(schedules_give_their_rates),
      cmocka_unit_test(optimisers_are_pytorchs),
      cmocka_unit_test(int8_trainers_run_no_f32_product),
      cmocka_unit_test(fp32_trainer_runs_f32_products),
      cmocka_unit_test(counts_are_those_of_the_programs),
      cmocka_unit_test(counts_by_hand),
      cmocka_unit_test(quantised_elements_by_hand),
      cmocka_unit_test(searches_come_by_period),
      cmocka_unit_test(ui8_scales_the_rate_by_the_deviation),
      cmocka_unit_test(ui8_multiplier_reaches_the_weights),
      cmocka_unit_test(int8_bits_do_not_depend_on_the_backend),
      cmocka_unit_test(fused_forms_are_planned_where_there_are_any),
      cmocka_unit_test(fp32_backends_agree),
      cmocka_unit_test(threads_and_repetitions_give_the_same_bits),
      cmocka_unit_test(units_follow_the_gradient_of_their_own_loss),
      cmocka_unit_test(scalar_lookahead_follows_its_formula),
      cmocka_unit_test(chain_lookahead_follows_the_exact_gradient),
      cmocka_unit_test(scalar_lookahead_sums_later_units_numbers),
      cmocka_unit_test(lookahead_starts_at_zero_and_spares_the_last_unit),
      cmocka_unit_test(greedy_trains_one_unit_at_a_time),
      cmocka_unit_test(head_is_trained_where_something_reads_it),
      cmocka_unit_test(head_learns_cross_entropy_on_neutral_images),
      cmocka_unit_test(negatives_are_drawn_as_often_as_asked),
      cmocka_unit_test(int8_weights_stay_on_their_grid),
      cmocka_unit_test(scores_are_those_of_the_reading),
      cmocka_unit_test(rows_are_predicted_one_by_one),
      cmocka_unit_test(scores_do_not_depend_on_the_batch_size),
      cmocka_unit_test(contradictions_are_usage_errors),
      cmocka_unit_test(neighbours_of_contradictions_are_accepted),
      cmocka_unit_test(divergence_is_counted),
      cmocka_unit_test(unplanned_batch_is_refused),
      cmocka_unit_test(copied_state_goes_on_with_the_same_bits),
      cmocka_unit_test(weight_file_holds_the_weights),
      cmocka_unit_test(weight_file_that_cannot_be_written_leaves_nothing),
      cmocka_unit_test(weight_file_survives_a_full_disk),
  };
  return cmocka_run_group_tests_name("trainers", tests, set_up, tear_down);
}
