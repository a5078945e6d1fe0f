/* Forward-forward on convolutional networks: the readings of the look-ahead against finite differences, the same bits
 * on every backend, memory for time, labels, counts. */
#include "tests/variants.h"

static struct ffb_error error;

#define SMALL     .algorithm = "ff_int8", .height = 16, .width = 16, .channels = 3, .batch = 4, .records = 10
#define RESNET    SMALL, .model = "resnet18", .model_options = "width=0.0625"
#define MOBILENET SMALL, .model = "mobilenet_v2", .model_options = "width=0.1"
#define EFFICIENTNET                                                                                                   \
  SMALL, .model = "efficientnet_b0", .model_options = "width=0.1 squeeze_excitation=true stochastic_depth=0.3"

/* The narrowest with a channel for each class in every unit; most widths do not divide by ten. */
#define RESNET_12    SMALL, .model = "resnet18", .model_options = "width=0.1875"
#define MOBILENET_16 SMALL, .model = "mobilenet_v2", .model_options = "width=0.56"
#define EFFICIENTNET_16                                                                                                \
  SMALL, .model = "efficientnet_b0", .model_options = "width=0.56 squeeze_excitation=true stochastic_depth=0.3"

static const struct recipe modes[] = {
    {RESNET, .options = "lookahead=off"},
    {RESNET, .options = "lambda_step=0.5"},
    {RESNET, .options = "lambda_step=0.5 lookahead_memory=recompute unit=layer"},
    {RESNET, .options = "lambda_step=0.5 unit=layer lookahead=block preset=paper"},
    {RESNET, .options = "lambda_step=0.5 unit=layer lookahead=chain label=pattern"},
    {RESNET, .options = "lambda_step=0.5 lookahead=chain weights=int8"},
    {RESNET, .options = "label=plane inference=linear_head lookahead=off"},
    {RESNET, .options = "lambda_step=0.5 lookahead_memory=previous_epoch negatives=hard negatives_drawn=once"},
    {RESNET, .options = "schedule=greedy", .epochs = 12},
    {RESNET_12, .options = "preset=one_pass"},
    {RESNET_12, .options = "preset=one_pass unit=layer lookahead=scalar lambda_step=0.5 lookahead_memory=recompute"},
    {MOBILENET, .options = "lookahead=off unit=layer"},
    {MOBILENET, .options = "lambda_step=0.5 lookahead=chain"},
    {MOBILENET, .options = "lookahead=off normalize=none theta=1 goodness=mean_squares"},
    {EFFICIENTNET, .options = "lambda_step=0.5 lookahead=chain"},
    {EFFICIENTNET, .options = "lambda_step=0.5 lookahead_memory=recompute"},
    {MOBILENET_16, .options = "preset=one_pass"},
    {MOBILENET_16, .options = "preset=one_pass unit=layer lookahead=scalar lambda_step=0.5 lookahead_memory=recompute"},
    {EFFICIENTNET_16, .options = "preset=one_pass"},
    {EFFICIENTNET_16, .options = "preset=one_pass unit=layer weights=int8"},
};

static const char *mode_name(const struct recipe *recipe) {
  static char name[512];
  snprintf(name, sizeof name, "%s %s: %s", recipe->model, recipe->model_options, recipe->options);
  return name;
}

enum { STEPS = 5, PREDICTED = 6 };

/* ---- the same bits everywhere ----------------------------------------------------------------------------------- */

static void bits_do_not_depend_on_the_backend(void **state) {
  for (size_t i = 0; i < COUNT_OF(modes); i++)
    assert_same_bits(&modes[i], mode_name(&modes[i]), *state, STEPS, PREDICTED);
}

/* ---- readings against finite differences ------------------------------------------------------------------------ */

enum { HEIGHT = 4, WIDTH = 12, PIXELS = HEIGHT * WIDTH, WIDEST = 8, ROWS = 8, MOST_NODES = 16 };

/* A convolution as a block of its own, a residual block, a last convolution: stem | a b | last in single layers. */
static void build_network_of_blocks(struct subject *s) {
  struct ffb_network *n = &s->network;
  const struct ffb_window window = {.kernel = 3, .stride = 1, .padding = 1};
  static const char *const names[] = {"stem", "a", "b", "last"};
  ffb_network_destroy(n);
  GOOD(ffb_network_create(n, "blocks", HEIGHT, WIDTH, 1, CLASSES, &error), &error);
  int node = 0, shortcut = 0;
  for (int i = 0; i < 4; i++) {
    char norm[32], relu[32];
    snprintf(norm, sizeof norm, "%s.norm", names[i]);
    snprintf(relu, sizeof relu, "%s.relu", names[i]);
    GOOD(i == 2 ? ffb_network_part(n, names[i], &error) : ffb_network_unit(n, names[i], false, &error), &error);
    shortcut = i == 1 ? node : shortcut;
    node = ffb_network_convolution(n, names[i], node, i == 3 ? 6 : WIDEST, window, 1, &error);
    node = ffb_network_batch_norm(n, norm, node, 0.1f, 1e-5f, &error);
    if (i == 2)
      node = ffb_network_add(n, "add", node, shortcut, &error);
    node = ffb_network_relu(n, relu, node, &error);
  }
  GOOD(ffb_network_unit(n, "head", true, &error), &error);
  node = ffb_network_average_pool(n, "pool", node, &error);
  GOOD(ffb_network_linear(n, "fc", node, CLASSES, true, &error) >= 0, &error);
}

/* The network in double precision. Nodes that end a unit are normalised for those that read them. */
struct oracle {
  const struct ffb_network *network;
  const struct ffb_unit *units;
  int count;
  double *weight[MOST_NODES], *bias[MOST_NODES]; /* by layer; gamma and beta */
  double node[MOST_NODES][2 * ROWS * PIXELS * WIDEST];
  double goodness[4][2 * ROWS];
};

static double *read_doubles(struct subject *s, const char *layer, const char *what) {
  char name[96];
  snprintf(name, sizeof name, "%s.%s", layer, what);
  const struct ffb_tensor *tensor = tensor_named(s->plan, name);
  float *values = content(s->plan, tensor);
  double *doubles = malloc((size_t)ffb_elements(tensor) * sizeof *doubles);
  assert_non_null(doubles);
  for (int64_t i = 0; i < ffb_elements(tensor); i++)
    doubles[i] = (double)values[i];
  free(values);
  return doubles;
}

static void oracle_read(struct oracle *o, struct subject *s, bool layers) {
  o->network = &s->network;
  o->units = layers ? s->network.parts : s->network.units;
  o->count = (layers ? s->network.part_count : s->network.unit_count) - 1;
  for (int i = 0; i < s->network.layer_count; i++) {
    const struct ffb_layer *layer = &s->network.layers[i];
    bool norm = layer->kind == FFB_LAYER_BATCH_NORM, convolution = layer->kind == FFB_LAYER_CONVOLUTION;
    o->weight[i] = norm || convolution ? read_doubles(s, layer->name, "weight") : NULL;
    o->bias[i] = norm ? read_doubles(s, layer->name, "bias") : NULL;
  }
}

static void oracle_free(struct oracle *o) {
  for (int i = 0; i < MOST_NODES; i++) {
    free(o->weight[i]);
    free(o->bias[i]);
  }
}

static int64_t channels_of(const struct oracle *o, int node) {
  return o->network->nodes[node][2];
}

static void convolve(const struct oracle *o, int number, const double *x, double *y) {
  const struct ffb_layer *layer = &o->network->layers[number];
  int64_t in = channels_of(o, layer->inputs[0]), out = channels_of(o, layer->output);
  for (int64_t m = 0; m < 2 * ROWS * PIXELS * out; m++) {
    int64_t channel = m % out, column = m / out % WIDTH, row = m / out / WIDTH % HEIGHT, image = m / out / PIXELS;
    double sum = 0;
    for (int tap = 0; tap < 9; tap++) {
      int64_t r = row + tap / 3 - 1, c = column + tap % 3 - 1;
      for (int64_t k = 0; k < in && r >= 0 && r < HEIGHT && c >= 0 && c < WIDTH; k++)
        sum += o->weight[number][(channel * 9 + tap) * in + k] * x[(image * PIXELS + r * WIDTH + c) * in + k];
    }
    y[m] = sum;
  }
}

static void batch_normalise(const struct oracle *o, int number, const double *x, double *y) {
  const struct ffb_layer *layer = &o->network->layers[number];
  const int64_t channels = channels_of(o, layer->output), pixels = 2 * ROWS * PIXELS;
  for (int64_t c = 0; c < channels; c++) {
    double mean = 0, variance = 0;
    for (int64_t p = 0; p < pixels; p++)
      mean += x[p * channels + c] / (double)pixels;
    for (int64_t p = 0; p < pixels; p++)
      variance += pow(x[p * channels + c] - mean, 2) / (double)pixels;
    for (int64_t p = 0; p < pixels; p++)
      y[p * channels + c] =
          (x[p * channels + c] - mean) / sqrt(variance + (double)layer->epsilon) * o->weight[number][c] +
          o->bias[number][c];
  }
}

/* Root-mean-square normalisation of each sample; its goodness, the sum of squares. */
static void normalise(double *x, int64_t size, double *goodness) {
  for (int64_t m = 0; m < 2 * ROWS; m++) {
    double squares = 0;
    for (int64_t i = 0; i < size; i++)
      squares += x[m * size + i] * x[m * size + i];
    for (int64_t i = 0; i < size; i++)
      x[m * size + i] /= sqrt(squares / (double)size) + 1e-8;
    if (goodness)
      goodness[m] = squares;
  }
}

/* From unit `first` on, whose input nodes hold what earlier units made of the images. */
static void oracle_forward(struct oracle *o, int first) {
  for (int u = first; u < o->count; u++) {
    const struct ffb_unit *unit = &o->units[u];
    for (int i = unit->first_layer; i < unit->first_layer + unit->layer_count; i++) {
      const struct ffb_layer *layer = &o->network->layers[i];
      double *y = o->node[layer->output], *x = o->node[layer->inputs[0]], *z = o->node[layer->inputs[1]];
      int64_t size = 2 * ROWS * PIXELS * channels_of(o, layer->output);
      if (layer->kind == FFB_LAYER_CONVOLUTION)
        convolve(o, i, x, y);
      else if (layer->kind == FFB_LAYER_BATCH_NORM)
        batch_normalise(o, i, x, y);
      for (int64_t k = 0; k < size && layer->kind == FFB_LAYER_ADD; k++)
        y[k] = x[k] + z[k];
      for (int64_t k = 0; k < size && layer->kind == FFB_LAYER_ACTIVATION; k++)
        y[k] = fmax(x[k], 0);
    }
    normalise(o->node[unit->output], PIXELS * channels_of(o, unit->output), o->goodness[u]);
  }
}

static double theta_of(const struct oracle *o, int unit) {
  return (double)(PIXELS * channels_of(o, o->units[unit].output));
}

static double softplus(double z) {
  return fmax(z, 0) + log1p(exp(-fabs(z)));
}

static double loss_of(const struct oracle *o, int unit) {
  double loss = 0;
  for (int m = 0; m < ROWS; m++)
    loss +=
        softplus(theta_of(o, unit) - o->goodness[unit][m]) + softplus(o->goodness[unit][ROWS + m] - theta_of(o, unit));
  return loss / ROWS;
}

/* Sum over units of dL/dG of a sample: as a mean over the batch. */
static double number_of(const struct oracle *o, int unit, int m) {
  double z = theta_of(o, unit) - o->goodness[unit][m];
  return (m < ROWS ? -1 / (1 + exp(-z)) : 1 / (1 + exp(z))) / ROWS;
}

enum reading { OFF, SCALAR, BLOCK, CHAIN };

static bool flows_back(const struct oracle *o, enum reading reading, int from, int to) {
  return reading == CHAIN || (reading == BLOCK && o->units[from].unit == o->units[to].unit);
}

/* What unit u's weights lower: its loss, lambda times those whose gradient flows back, and lambda times its goodness
 * weighted with the numbers that others say. */
static double objective(const struct oracle *o, int u, enum reading reading, double lambda,
                        double numbers[4][2 * ROWS]) {
  double sum = loss_of(o, u);
  for (int j = u + 1; j < o->count && reading != OFF; j++) {
    if (flows_back(o, reading, j, u))
      sum += lambda * loss_of(o, j);
    for (int m = 0; m < 2 * ROWS && !flows_back(o, reading, j, u); m++)
      sum += lambda * numbers[j][m] * o->goodness[u][m];
  }
  return sum;
}

/* The input: positives with their labels in the first ten pixels, then negatives. */
static void oracle_input(struct oracle *o, const struct subject *s, const struct ffb_batch *batch, uint32_t draw) {
  for (int64_t m = 0; m < 2 * ROWS; m++) {
    int64_t row = m % ROWS;
    int label = batch->labels[row];
    if (m >= ROWS)
      label =
          (label + 1 +
           (int)ffb_random_below(s->setup.seed, FFB_PURPOSE_NEGATIVE, draw, (uint64_t)batch->index[row], CLASSES - 1)) %
          CLASSES;
    for (int64_t i = 0; i < PIXELS; i++)
      o->node[0][m * PIXELS + i] = i < CLASSES ? i == label : batch->images[row * PIXELS + i] / 255.0;
  }
  normalise(o->node[0], PIXELS, NULL);
}

static void check_unit(struct oracle *before, const struct oracle *after, int u, enum reading reading) {
  static double numbers[4][2 * ROWS], slope[1024], step[1024];
  const double h = 1e-5, lambda = 10, rate = 1e-3; /* large, so that later losses weigh as much as a unit's own */
  const struct ffb_unit *unit = &before->units[u];
  for (int i = unit->first_layer; i < unit->first_layer + unit->layer_count; i++) {
    const struct ffb_layer *layer = &before->network->layers[i];
    if (layer->kind != FFB_LAYER_CONVOLUTION)
      continue;
    int64_t count = layer->in_features * 9 * layer->out_features, used = 0;
    oracle_forward(before, 0);
    for (int j = 0; j < before->count; j++) {
      for (int m = 0; m < 2 * ROWS; m++)
        numbers[j][m] = number_of(before, j, m);
    }
    for (int64_t k = 0; k<count; k += count> 100 ? 17 : 3, used++) {
      double *weight = &before->weight[i][k], kept = *weight;
      slope[used] = 0;
      for (int side = 1; side >= -1; side -= 2) {
        *weight = kept + side * h;
        oracle_forward(before, u);
        slope[used] += side * objective(before, u, reading, lambda, numbers) / (2 * h);
      }
      *weight = kept;
      step[used] = (kept - after->weight[i][k]) / rate;
    }
    double along = cosine(step, slope, used), ratio = 0, size = 0;
    for (int64_t k = 0; k < used; k++) {
      ratio += step[k] * step[k];
      size += slope[k] * slope[k];
    }
    ratio = sqrt(ratio / size);
    if (!(along > 0.95 && fabs(ratio - 1) < 0.1))
      fail_msg("reading %d, %s: cosine %.4f, ratio of lengths %.4f", reading, layer->name, along, ratio);
    oracle_forward(before, 0);
  }
}

static void readings_follow_their_gradients(void **state) {
  (void)state;
  static const char *const readings[] = {"off", "scalar", "block", "chain"};
  static struct oracle before, after;
  struct records records;
  records_make(&records, ROWS, PIXELS);
  for (int i = 0; i < 8; i++) {
    char options[512];
    struct subject s;
    bool layers = i % 2;
    enum reading reading = i / 2;
    snprintf(options, sizeof options,
             "unit=%s lookahead=%s lambda_step=10 optimiser=sgd momentum=0 weight_decay=0 learning_rate=0.001 "
             "learning_rate_schedule=constant input_rounding=nearest gradient_rounding=nearest",
             layers ? "layer" : "block", readings[reading]);
    subject_begin(&s, &(struct recipe){.algorithm = "ff_int8", .options = options, .records = ROWS, .seed = 11});
    build_network_of_blocks(&s);
    GOOD(subject_create(&s, &error), &error);
    train(&s, &records, 0, 1);
    oracle_read(&before, &s, layers);
    struct ffb_batch batch = batch_of(&records, 0, ROWS);
    oracle_input(&before, &s, &batch, 2);
    oracle_forward(&before, 0);
    train(&s, &records, 1, 1); /* the second epoch: lambda is lambda_step */
    oracle_read(&after, &s, layers);
    for (int u = 0; u < before.count; u++)
      check_unit(&before, &after, u, reading == BLOCK && !layers ? SCALAR : reading);
    oracle_free(&before);
    oracle_free(&after);
    subject_end(&s);
  }
  records_free(&records);
}

/* The chain goes back through what the forward pass dropped, and through nothing else. */
static void gradients_pass_the_dropout_of_the_forward_pass(void **state) {
  (void)state;
  struct subject s;
  uint32_t purposes[64];
  int layers = 0, calls = 0, count = 0;
  make_variant(&s, &(struct recipe){EFFICIENTNET, .options = "lookahead=chain"}, &variants[0]);
  for (int i = 0; i < s.network.layer_count; i++)
    layers += s.network.layers[i].kind == FFB_LAYER_DROPOUT && !s.network.units[s.network.layers[i].unit].head;
  for (size_t p = 0; p < ffb_plan_program_count(s.plan); p++) {
    const struct ffb_program *program = ffb_plan_program_at(s.plan, p);
    for (size_t i = 0; i < ffb_program_calls(program); i++) {
      const union ffb_arguments *arguments;
      int known = 0;
      if (strcmp(ffb_program_name(program), "train all units") != 0 ||
          ffb_program_call(program, i, &arguments) != FFB_DROPOUT)
        continue;
      calls++;
      while (known < count && purposes[known] != arguments->dropout.purpose)
        known++;
      if (known == count)
        purposes[count++] = arguments->dropout.purpose;
      assert_in_range(count, 1, 63);
    }
  }
  assert_int_equal(calls, 3 * layers); /* forward, for the units before, for its own weights */
  assert_int_equal(count, layers);
  subject_end(&s);
}

/* ---- readings that come to the same ------------------------------------------------------------------------------ */

static void assert_weights_are_equal(struct subject *a, struct subject *b, const char *what) {
  struct snapshot taken = snapshot_take(a);
  for (size_t i = 0; i < ffb_plan_persistent_count(a->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(a->plan, i);
    if (tensor_or_null(b->plan, tensor->name) && !snapshot_kept(&taken, b, tensor->name))
      fail_msg("%s: %s differs", what, tensor->name);
  }
  free(taken.data);
}

/* In the first epoch lambda is 0 and all readings are one. */
static void readings_are_one_at_lambda_zero(void **state) {
  static const char *const readings[] = {
      "off", "scalar", "block", "chain", "scalar lookahead_memory=recompute", "scalar lookahead_memory=previous_epoch"};
  static const struct recipe networks[] = {{RESNET}, {MOBILENET}, {EFFICIENTNET}};
  for (size_t n = 0; n < COUNT_OF(networks); n++) {
    struct subject off;
    for (size_t i = 0; i < COUNT_OF(readings); i++) {
      char options[256];
      struct subject s;
      struct recipe recipe = networks[n];
      recipe.options = options;
      snprintf(options, sizeof options, "lambda_step=0.5 unit=layer negatives_drawn=once lookahead=%s", readings[i]);
      make_variant(i ? &s : &off, &recipe, &variants[2]);
      train(i ? &s : &off, *state, 0, 3);
      if (!i)
        continue;
      assert_weights_are_equal(&off, &s, mode_name(&recipe));
      train(&s, *state, 3, 2);
      subject_end(&s);
    }
    subject_end(&off);
  }
}

static void compare_readings(const struct recipe *recipe, const char *one, const char *other,
                             const struct records *records) {
  struct subject a, b;
  struct recipe first = *recipe, second = *recipe;
  first.options = one;
  second.options = other;
  make_variant(&a, &first, &variants[2]);
  make_variant(&b, &second, &variants[2]);
  train(&a, records, 0, 8);
  train(&b, records, 0, 8);
  assert_same_state(&b, &a, mode_name(&second));
  subject_end(&a);
  subject_end(&b);
}

static void recomputing_changes_no_bit(void **state) {
  static const struct {
    struct recipe recipe;
    const char *keep, *recompute;
  } cases[] = {{{RESNET}, "lambda_step=0.5", "lambda_step=0.5 lookahead_memory=recompute"},
               {{RESNET},
                "lambda_step=0.5 weights=int8 unit=layer",
                "lambda_step=0.5 weights=int8 unit=layer "
                "lookahead_memory=recompute"},
               {{MOBILENET}, "lambda_step=0.5 unit=layer", "lambda_step=0.5 unit=layer lookahead_memory=recompute"},
               {{EFFICIENTNET}, "lambda_step=0.5", "lambda_step=0.5 lookahead_memory=recompute"},
               {{RESNET_12},
                "preset=one_pass lookahead=scalar lambda_step=0.5",
                "preset=one_pass lookahead=scalar lambda_step=0.5 lookahead_memory=recompute"},
               {{EFFICIENTNET_16},
                "preset=one_pass lookahead=scalar lambda_step=0.5",
                "preset=one_pass lookahead=scalar lambda_step=0.5 lookahead_memory=recompute"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    compare_readings(&cases[i].recipe, cases[i].keep, cases[i].recompute, *state);
}

static void a_block_of_one_unit_is_scalar(void **state) {
  compare_readings(&(struct recipe){RESNET}, "lambda_step=0.5 lookahead=scalar", "lambda_step=0.5 lookahead=block",
                   *state);
}

/* ---- previous epoch ------------------------------------------------------------------------------------------------
 */

/* dL/dG of each unit and what its goodness is weighted with, by unit (the last steps'). */
struct heard {
  int losses, gradients;
  double loss[4][2 * ROWS], weighted[4][2 * ROWS];
};

static void hear(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct heard *heard = to;
  const union ffb_arguments *arguments;
  ffb_program_call(program, call, &arguments);
  const struct ffb_tensor *tensor = operation == FFB_GOODNESS_LOSS       ? arguments->goodness_loss.gradient
                                    : operation == FFB_GOODNESS_GRADIENT ? arguments->goodness_gradient.gradient
                                                                         : NULL;
  for (int64_t i = 0; tensor && i < ffb_elements(tensor); i++)
    (operation == FFB_GOODNESS_LOSS ? heard->loss[heard->losses] : heard->weighted[heard->gradients])[i] =
        (double)((const float *)tensor->data)[i];
  heard->losses += operation == FFB_GOODNESS_LOSS;
  heard->gradients += operation == FFB_GOODNESS_GRADIENT;
}

/* Three units, two batches an epoch, the records in another order each time and the last batch smaller: a unit hears
 * what the later ones said of the very record an epoch before. */
static void previous_epoch_is_that_of_the_record(void **state) {
  (void)state;
  enum { RECORDS = 7, BATCH = 4, UNITS = 3 };
  static double said[2][RECORDS][2][UNITS]; /* of this epoch, of the one before; as a sum over the batch */
  struct records records;
  struct subject s;
  struct heard heard;
  records_make(&records, RECORDS, 48);
  subject_make(&s, &(struct recipe){.algorithm = "ff_int8",
                                    .options = "lambda_step=0.25 lookahead_memory=previous_epoch negatives_drawn=once",
                                    .hidden = "24,20,18",
                                    .batch = BATCH,
                                    .records = RECORDS});
  ffb_plan_observe(s.plan, hear, &heard);
  for (int epoch = 0; epoch < 3; epoch++) {
    for (int first = 0; first < RECORDS; first += BATCH) {
      int rows = RECORDS - first < BATCH ? RECORDS - first : BATCH;
      uint8_t images[BATCH * 48];
      int32_t labels[BATCH], index[BATCH];
      for (int m = 0; m < rows; m++) {
        index[m] = (int32_t)((first + m) * 3 + epoch) % RECORDS;
        labels[m] = records.labels[index[m]];
        memcpy(images + m * 48, records.images + index[m] * 48, 48);
      }
      struct ffb_batch batch = {.rows = rows, .images = images, .labels = labels, .index = index};
      heard.losses = heard.gradients = 0;
      GOOD(s.trainer->train_step(s.state, &batch, &error), &error);
      assert_int_equal(heard.losses, UNITS);
      assert_int_equal(heard.gradients, UNITS);
      for (int m = 0; m < 2 * rows; m++) {
        const double *before = said[(epoch + 1) % 2][index[m % rows]][m / rows];
        for (int u = 0; u < UNITS; u++) {
          double wanted = heard.loss[u][m];
          for (int j = u + 1; j < UNITS; j++)
            wanted += 0.25 * epoch * before[j] / rows;
          if (!(fabs(heard.weighted[u][m] - wanted) < 1e-7))
            fail_msg("epoch %d, unit %d, row %d: %g, want %g", epoch, u, m, heard.weighted[u][m], wanted);
          said[epoch % 2][index[m % rows]][m / rows][u] = heard.loss[u][m] * rows;
        }
      }
    }
  }
  subject_end(&s);
  records_free(&records);
}

/* ---- labels ---------------------------------------------------------------------------------------------------------
 */

/* Images before and after a label was written into them. */
struct written {
  int calls;
  float after[20][2 * 2 * 4 * 12 * 4];
  int32_t labels[20][4];
  int64_t rows, channels;
};

static void see_labels(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct written *written = to;
  const union ffb_arguments *arguments;
  ffb_program_call(program, call, &arguments);
  if (operation != FFB_LABEL_PATTERN || written->calls >= 20)
    return;
  const struct ffb_label_pattern *label = &arguments->label_pattern;
  written->rows = label->images->shape[0];
  written->channels = label->images->shape[3];
  memcpy(written->after[written->calls], label->images->data, ffb_tensor_bytes(label->images));
  for (int64_t m = 0; m < written->rows; m++)
    written->labels[written->calls][m] = label->labels ? ((const int32_t *)label->labels->data)[m] : label->constant;
  written->calls++;
}

static void assert_near(double got, double wanted) {
  if (!(fabs(got - wanted) < 1e-5))
    fail_msg("%g, want %g", got, wanted);
}

/* What a pixel holds for a label: the image, with a stripe in the channel behind it, or with a wave on top. */
static double labelled_pixel(bool plane, const float *patterns, const struct written *w, int64_t at, int label,
                             const uint8_t *image) {
  int64_t channel = at % w->channels, pixel = at / w->channels, x = pixel % 12;
  double value = channel < 3 ? (image[pixel * 3 + channel] / 255.0 - 0.25) / 0.5 : 0;
  if (plane)
    return channel < 3 ? value : label < 0 ? 1.5 / CLASSES : x * CLASSES / 12 == label ? 1.5 : 0;
  return value + (double)patterns[(label < 0 ? CLASSES : label) * 48 + pixel];
}

static void labels_are_written_as_asked(void **state) {
  (void)state;
  struct records records;
  records_make(&records, 2, 48 * 3);
  for (int plane = 0; plane < 2; plane++) {
    static struct written written;
    struct subject s;
    float scores[2 * CLASSES], *patterns;
    written.calls = 0;
    subject_make(&s, &(struct recipe){.algorithm = "ff_int8",
                                      .options = plane ? "label=plane negatives=hard"
                                                       : "label=pattern negatives=hard "
                                                         "pattern_amplitude=0.25",
                                      .channels = 3,
                                      .batch = 2,
                                      .records = 2,
                                      .mean = 0.25f,
                                      .deviation = 0.5f});
    assert_int_equal(s.network.channels, plane ? 4 : 3);
    patterns = content(s.plan, tensor_named(s.plan, "label_patterns"));
    ffb_plan_observe(s.plan, see_labels, &written);
    train(&s, &records, 0, 1);
    assert_int_equal(written.calls, 3); /* neutral ones for the head, positives, negatives */
    predict(&s, &records, 0, 2, scores);
    assert_int_equal(written.calls, 3 + CLASSES);
    for (int call = 0; call < written.calls; call++) {
      for (int64_t m = 0; m < 2; m++) {
        int label = written.labels[call][m];
        assert_true(call == 0   ? label == -1
                    : call == 1 ? label == records.labels[m]
                    : call == 2 ? label != records.labels[m]
                                : label == call - 3);
        for (int64_t at = 0; at < 48 * written.channels; at++)
          assert_near((double)written.after[call][m * 48 * written.channels + at],
                      labelled_pixel(plane, patterns, &written, at, label, records.images + m * 144));
      }
    }
    free(patterns);
    subject_end(&s);
  }
  records_free(&records);
}

/* Waves of the height asked for, no two alike; the last pattern is their mean. */
static void patterns_are_apart(void **state) {
  (void)state;
  enum { SIDE = 16, AREA = SIDE * SIDE };
  struct subject s;
  subject_make(&s, &(struct recipe){.algorithm = "ff_int8", .options = "label=pattern", .height = SIDE, .width = SIDE});
  float *patterns = content(s.plan, tensor_named(s.plan, "label_patterns"));
  for (int a = 0; a < CLASSES; a++) {
    double one[AREA], other[AREA], largest = 0;
    for (int p = 0; p < AREA; p++) {
      one[p] = (double)patterns[a * AREA + p];
      largest = fabs(one[p]) > largest ? fabs(one[p]) : largest; /* on fmax here GCC 12 for aarch64 stumbles */
    }
    assert_true(largest > 0.45 && largest <= 0.5);
    for (int b = 0; b < a; b++) {
      for (int p = 0; p < AREA; p++)
        other[p] = (double)patterns[b * AREA + p];
      if (!(fabs(cosine(one, other, AREA)) < 0.5))
        fail_msg("patterns %d and %d: cosine %g", a, b, cosine(one, other, AREA));
    }
  }
  for (int p = 0; p < AREA; p++) {
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
      sum += (double)patterns[c * AREA + p];
    assert_near((double)patterns[CLASSES * AREA + p], sum / CLASSES);
  }
  free(patterns);
  subject_end(&s);
}

/* ---- counts, prediction, schedule ----------------------------------------------------------------------------------
 */

/* No product of any program has FP32 operands, and all but those that prepare weights have some in INT8. */
static void programs_multiply_int8_only(void **state) {
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(modes); i++) {
    struct subject s;
    make_variant(&s, &modes[i / 2], &variants[i % 2 * 2]);
    for (size_t p = 0; p < ffb_plan_program_count(s.plan); p++) {
      const struct ffb_program *program = ffb_plan_program_at(s.plan, p);
      const char *name = ffb_program_name(program);
      bool works = strncmp(name, "train", 5) == 0 || strcmp(name, "predict") == 0;
      int64_t int8 = 0;
      for (size_t call = 0; call < ffb_program_calls(program); call++) {
        struct ffb_operation_count count = count_call(program, call);
        if (count.mac_f32)
          fail_msg("%s: %s: %s", mode_name(&modes[i / 2]), name,
                   ffb_operator_name(ffb_program_call(program, call, NULL)));
        int8 += count.mac_s8;
      }
      if (works != (int8 > 0))
        fail_msg("%s: %s: %lld products", mode_name(&modes[i / 2]), name, (long long)int8);
    }
    subject_end(&s);
  }
}

/* One pass: every unit has its goodness by class, in groups that mostly cannot be of one size. */
static void classes_share_uneven_widths(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    struct subject s;
    int units = 0, goodness = 0, uneven = 0;
    bool layers = strstr(modes[i].options, "unit=layer") != NULL;
    if (!strstr(modes[i].options, "one_pass"))
      continue;
    make_variant(&s, &modes[i], &variants[0]);
    for (int u = 0; u < (layers ? s.network.part_count : s.network.unit_count); u++)
      units += !(layers ? s.network.parts : s.network.units)[u].head;
    for (size_t p = 0; p < ffb_plan_program_count(s.plan); p++) {
      const struct ffb_program *program = ffb_plan_program_at(s.plan, p);
      for (size_t call = 0; call < ffb_program_calls(program); call++) {
        const union ffb_arguments *arguments;
        if (strcmp(ffb_program_name(program), "predict") != 0 ||
            ffb_program_call(program, call, &arguments) != FFB_GOODNESS)
          continue;
        assert_int_equal(arguments->goodness.groups, CLASSES);
        goodness++;
        uneven += ffb_channels(arguments->goodness.y) % CLASSES != 0;
      }
    }
    if (goodness != units || uneven * 2 < units)
      fail_msg("%s: %d units, %d with goodness, %d of uneven groups", mode_name(&modes[i]), units, goodness, uneven);
    subject_end(&s);
  }
}

static void formulas_count_what_programs_do(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    struct subject s;
    struct ffb_operation_count training, prediction, counted;
    make_variant(&s, &modes[i], &variants[i % 2 * 2]);
    GOOD(s.trainer->count_operations(&s.setup, 4, &training, &prediction), &error);
    const char *step = modes[i].epochs ? "train last" : "train all units";
    for (int l = 0; l < s.network.unit_count; l++)
      step = modes[i].epochs && s.network.units[l].head ? s.network.units[l - 1].name : step;
    int found = 0;
    for (size_t p = 0; p < ffb_plan_program_count(s.plan); p++) {
      const struct ffb_program *program = ffb_plan_program_at(s.plan, p);
      const char *name = ffb_program_name(program);
      bool predicts = strcmp(name, "predict") == 0;
      if (!predicts && strcmp(name, step) != 0 && !(strncmp(name, "train ", 6) == 0 && strcmp(name + 6, step) == 0))
        continue;
      ffb_program_count(program, &counted);
      long long wanted = predicts ? prediction.mac_s8 : training.mac_s8;
      if (counted.mac_f32 || counted.mac_s8 != wanted)
        fail_msg("%s: %s: %lld by formula, %lld and %lld in FP32 in the program", mode_name(&modes[i]), name, wanted,
                 (long long)counted.mac_s8, (long long)counted.mac_f32);
      found++;
    }
    assert_int_equal(found, 2);
    subject_end(&s);
  }
}

static void prediction_looks_at_one_sample_at_a_time(void **state) {
  static const size_t chosen[] = {0, 6, 9, 14};
  for (size_t i = 0; i < COUNT_OF(chosen); i++) {
    struct subject s;
    float together[PREDICTED * CLASSES], alone[CLASSES];
    make_variant(&s, &modes[chosen[i]], &variants[2]);
    train(&s, *state, 0, STEPS);
    struct snapshot before = snapshot_take(&s);
    predict(&s, *state, 0, PREDICTED, together);
    for (int row = 0; row < PREDICTED; row++) {
      predict(&s, *state, row, 1, alone);
      assert_memory_equal(alone, together + row * CLASSES, sizeof alone);
    }
    assert_null(snapshot_changed(&before, &s));
    free(before.data);
    subject_end(&s);
  }
}

static void greedy_trains_one_block_at_a_time(void **state) {
  struct subject s;
  make_variant(&s, &(struct recipe){RESNET, .options = "schedule=greedy", .epochs = 9}, &variants[2]);
  for (int epoch = 0; epoch < 3; epoch++) {
    struct snapshot before = snapshot_take(&s);
    train(&s, *state, epoch * 3, 3);
    for (int i = 0; i < s.network.layer_count; i++) {
      const struct ffb_layer *layer = &s.network.layers[i];
      char name[96];
      snprintf(name, sizeof name, "%s.%s", layer->name,
               layer->kind == FFB_LAYER_CONVOLUTION ? "weight" : "running_var");
      if (tensor_or_null(s.plan, name) && snapshot_kept(&before, &s, name) != (layer->unit != epoch))
        fail_msg("epoch %d: %s", epoch, name);
    }
    free(before.data);
  }
  subject_end(&s);
}

static void loaded_weights_get_their_scales(void **state) {
  (void)state;
  struct subject s;
  float scale;
  make_variant(&s, &(struct recipe){RESNET}, &variants[2]);
  struct ffb_tensor *weight = tensor_named(s.plan, "layer1.0.conv1.weight");
  float *values = content(s.plan, weight);
  memset(values, 0, ffb_tensor_bytes(weight));
  values[5] = -254;
  GOOD(ffb_tensor_write(s.plan, weight, values, &error), &error);
  GOOD(s.trainer->weights_loaded(s.state, &error), &error);
  read_floats(&s, "layer1.0.conv1.weight_scale", &scale);
  assert_true(scale == 2);
  free(values);
  subject_end(&s);
}

static const struct {
  struct recipe recipe;
  const char *layer, *named;
} spoilt[] = {
    {{RESNET, .options = "lookahead_memory=recompute"}, "layer2.0.conv1", "layer2.0.bn1"},
    {{MOBILENET, .options = "unit=layer"}, "features.5.conv.1.0", "features.5.conv.1.1"},
    {{EFFICIENTNET, .options = "lookahead=chain"}, "features.2.1.block.2.fc1", "features.2.1.block.2.fc1"},
    {{EFFICIENTNET_16, .options = "preset=one_pass"}, "features.7.0.block.3.0", "features.7.0.block.3.1"},
};

static void a_nan_is_traced_to_its_layer_and_step(void **state) {
  for (size_t i = 0; i < COUNT_OF(spoilt); i++) {
    struct subject s;
    char name[FFB_NAME_BYTES + 16];
    bool diverged = true;
    make_variant(&s, &spoilt[i].recipe, &variants[2]);
    train(&s, *state, 0, 1);
    GOOD(s.trainer->diverged(s.state, &diverged, &error), &error);
    assert_false(diverged);
    float infinite = INFINITY;
    snprintf(name, sizeof name, "%s.weight_scale", spoilt[i].layer);
    GOOD(ffb_tensor_write(s.plan, tensor_named(s.plan, name), &infinite, &error), &error);
    assert_diverges(&s, *state, 1, spoilt[i].named);
    subject_end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bits_do_not_depend_on_the_backend),
      cmocka_unit_test(readings_follow_their_gradients),
      cmocka_unit_test(gradients_pass_the_dropout_of_the_forward_pass),
      cmocka_unit_test(readings_are_one_at_lambda_zero),
      cmocka_unit_test(recomputing_changes_no_bit),
      cmocka_unit_test(a_block_of_one_unit_is_scalar),
      cmocka_unit_test(previous_epoch_is_that_of_the_record),
      cmocka_unit_test(labels_are_written_as_asked),
      cmocka_unit_test(patterns_are_apart),
      cmocka_unit_test(programs_multiply_int8_only),
      cmocka_unit_test(classes_share_uneven_widths),
      cmocka_unit_test(formulas_count_what_programs_do),
      cmocka_unit_test(prediction_looks_at_one_sample_at_a_time),
      cmocka_unit_test(greedy_trains_one_block_at_a_time),
      cmocka_unit_test(loaded_weights_get_their_scales),
      cmocka_unit_test(a_nan_is_traced_to_its_layer_and_step),
  };
  return cmocka_run_group_tests_name("forward-forward", tests, small_images_make, small_images_free);
}
