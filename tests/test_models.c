/* The networks: sizes and names as torchvision's, units and parts, initial values, weight files in both directions. */
#include "tests/golden.h"

#include "nn/parameters.h"
#include "nn/safetensors.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct ffb_model_input small_image = {32, 32, 3, 10};
static const struct ffb_optimiser_options plain = {.optimiser = FFB_RULE_SGD, .learning_rate = 0.1};
static const char *const convolutional[] = {"resnet18", "mobilenet_v2", "efficientnet_b0"};
static char folder[64], weight_file[96];

/* A network's parameters in a plan. */
struct weights {
  struct ffb_network network;
  struct ffb_device *device;
  struct ffb_plan *plan;
  struct ffb_parameters parameters;
};

static void weights_make(struct weights *w, const struct ffb_precision *precision, uint64_t seed) {
  struct ffb_error error = {0};
  device_open(&ffb_backend_reference, &w->device);
  w->plan = ffb_plan_create(&ffb_backend_reference, w->device, &error);
  GOOD(w->plan, &error);
  GOOD(ffb_parameters_create(&w->parameters, w->plan, &w->network, precision, &plain, seed, true, &error), &error);
  GOOD(ffb_plan_finish(w->plan, &error), &error);
  GOOD(ffb_parameters_initialise(&w->parameters, &error), &error);
}

static void weights_free(struct weights *w) {
  ffb_parameters_destroy(&w->parameters);
  ffb_plan_destroy(w->plan);
  ffb_backend_reference.close(w->device);
  ffb_network_destroy(&w->network);
}

/* ---- structure -------------------------------------------------------------------------------------------------- */

static void sizes_are_torchvisions(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(golden_models); i++) {
    struct ffb_network network;
    model_build(&network, golden_models[i].model, golden_models[i].options, &small_image);
    assert_int_equal(ffb_network_parameters(&network, true), golden_models[i].parameters);
    const struct ffb_layer *last = ffb_network_last(&network);
    assert_int_equal(ffb_network_parameters(&network, false),
                     golden_models[i].parameters - (last->in_features + 1) * 10);
    assert_int_equal(ffb_network_features(&network, last->output), 10);
    ffb_network_destroy(&network);
  }
}

/* Names, shapes and number of all tensors of a weight file, against torchvision's. */
static void check_header(const json_t *header, const struct golden *golden) {
  assert_int_equal(json_object_size(header), golden->record_count + 1);
  for (int i = 0; i < golden->record_count; i++) {
    const struct golden_record *record = &golden->records[i];
    const json_t *entry = json_object_get(header, record->name), *shape = json_object_get(entry, "shape");
    if (!entry)
      fail_msg("there is no %s", record->name);
    assert_string_equal(json_string_value(json_object_get(entry, "dtype")), "F32");
    assert_int_equal(json_array_size(shape), record->dimensions);
    for (int k = 0; k < record->dimensions; k++)
      assert_int_equal(json_integer_value(json_array_get(shape, (size_t)k)), record->shape[k]);
  }
}

static void names_and_shapes_are_torchvisions(void **state) {
  (void)state;
  static struct golden golden;
  for (size_t i = 0; i < COUNT_OF(golden_models); i++) {
    struct ffb_error error = {0};
    struct weights w;
    golden_read(&golden, golden_models[i].file);
    model_build(&w.network, golden_models[i].model, golden_models[i].options, &small_image);
    weights_make(&w, &(struct ffb_precision){0}, 1);
    GOOD(ffb_weights_save(weight_file, w.plan, &error), &error);
    weights_free(&w);
    FILE *from = fopen(weight_file, "rb");
    assert_non_null(from);
    assert_int_equal(fseek(from, 8, SEEK_SET), 0);
    json_t *header = json_loadf(from, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
    fclose(from);
    check_header(header, &golden);
    json_decref(header);
    assert_int_equal(unlink(weight_file), 0);
  }
}

/* Ranges follow each other without gaps, and what crosses a unit's end is its output alone. */
static void check_ranges(const struct ffb_network *network, const struct ffb_unit *ranges, int count, bool parts) {
  int next = 0;
  for (int i = 0; i < count; i++) {
    const struct ffb_unit *range = &ranges[i];
    assert_int_equal(range->first_layer, next);
    assert_true(range->layer_count > 0);
    next += range->layer_count;
    assert_int_equal(range->input, network->layers[range->first_layer].inputs[0]);
    assert_int_equal(range->output, network->layers[next - 1].output);
    for (int k = range->first_layer; k < next; k++)
      assert_int_equal(parts ? network->layers[k].part : network->layers[k].unit, i);
    if (parts) {
      assert_int_equal(range->unit, network->layers[range->first_layer].unit);
      assert_int_equal(range->head, network->units[range->unit].head);
    } else {
      assert_int_equal(range->unit, i);
      assert_int_equal(range->head, i == count - 1);
    }
  }
  assert_int_equal(next, network->layer_count);
}

static void check_inputs(const struct ffb_network *network) {
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    const struct ffb_unit *unit = &network->units[layer->unit];
    assert_int_equal(layer->output, i + 1);
    assert_in_range(layer->input_count, 1, FFB_LAYER_INPUTS);
    for (int k = 0; k < layer->input_count; k++) {
      int input = layer->inputs[k];
      assert_true(input >= 0 && input < layer->output);
      if (input <= unit->first_layer) /* made before the unit */
        assert_int_equal(input, unit->input);
    }
    for (int k = 0; k < i; k++)
      assert_string_not_equal(network->layers[k].name, layer->name);
  }
}

static int products_in(const struct ffb_network *network, const struct ffb_unit *range) {
  int products = 0;
  for (int i = range->first_layer; i < range->first_layer + range->layer_count; i++)
    products += network->layers[i].kind == FFB_LAYER_CONVOLUTION ||
                (network->layers[i].kind == FFB_LAYER_LINEAR && !network->layers[i].convolution_file);
  return products;
}

static void units_and_parts(void **state) {
  (void)state;
  static const struct {
    const char *model, *options;
    int units, parts;
    const char *unit; /* a unit */
    int number, parts_in_it;
  } cases[] = {
      {"mlp", "hidden=20,10", 3, 3, "unit2", 1, 1},
      {"resnet18", "", 10, 18, "layer2.0", 3, 2},
      {"resnet18", "stem=cifar width=0.25", 10, 18, "layer4.1", 8, 2},
      {"mobilenet_v2", "", 20, 53, "features.1", 1, 2},
      {"mobilenet_v2", "width=0.5", 20, 53, "features.17", 17, 3},
      {"efficientnet_b0", "", 19, 50, "features.2.1", 3, 3},
      {"efficientnet_b0", "squeeze_excitation=true", 19, 50, "features.7.0", 16, 3},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct ffb_network network;
    model_build(&network, cases[i].model, cases[i].options, &small_image);
    assert_int_equal(network.unit_count, cases[i].units);
    assert_int_equal(network.part_count, cases[i].parts);
    check_ranges(&network, network.units, network.unit_count, false);
    check_ranges(&network, network.parts, network.part_count, true);
    check_inputs(&network);
    assert_string_equal(network.units[cases[i].number].name, cases[i].unit);
    int parts = 0;
    for (int k = 0; k < network.part_count; k++) {
      const struct ffb_unit *part = &network.parts[k];
      parts += part->unit == cases[i].number;
      bool second = strstr(part->name, ".conv2") != NULL; /* with the convolution of its shortcut */
      assert_in_range(products_in(&network, part), 1, second ? 2 : 1);
    }
    assert_int_equal(parts, cases[i].parts_in_it);
    ffb_network_destroy(&network);
  }
}

static const struct ffb_layer *layer_named(const struct ffb_network *network, const char *name) {
  for (int i = 0; i < network->layer_count; i++) {
    if (strcmp(network->layers[i].name, name) == 0)
      return &network->layers[i];
  }
  return NULL;
}

static void assert_layer(const struct ffb_network *network, const char *name, enum ffb_layer_kind kind,
                         const char *part) {
  const struct ffb_layer *layer = layer_named(network, name);
  if (!layer)
    fail_msg("there is no layer %s", name);
  assert_int_equal(layer->kind, kind);
  assert_string_equal(network->parts[layer->part].name, part);
}

static void what_belongs_to_which_part(void **state) {
  (void)state;
  struct ffb_network network;
  model_build(&network, "resnet18", "", &small_image);
  assert_layer(&network, "maxpool", FFB_LAYER_MAX_POOL, "stem");
  assert_layer(&network, "layer2.0.bn1.activation", FFB_LAYER_ACTIVATION, "layer2.0.conv1");
  assert_layer(&network, "layer2.0.downsample.0", FFB_LAYER_CONVOLUTION, "layer2.0.conv2");
  assert_layer(&network, "layer2.0.add", FFB_LAYER_ADD, "layer2.0.conv2");
  assert_layer(&network, "layer2.0.relu", FFB_LAYER_ACTIVATION, "layer2.0.conv2");
  assert_layer(&network, "avgpool", FFB_LAYER_AVERAGE_POOL, "head");
  assert_layer(&network, "fc", FFB_LAYER_LINEAR, "head");
  ffb_network_destroy(&network);
  model_build(&network, "mobilenet_v2", "", &small_image);
  assert_layer(&network, "features.3.conv.0.0", FFB_LAYER_CONVOLUTION, "features.3.conv.0");
  assert_layer(&network, "features.3.add", FFB_LAYER_ADD, "features.3.conv.2");
  assert_layer(&network, "features.18.1.activation", FFB_LAYER_ACTIVATION, "last");
  assert_layer(&network, "classifier.0", FFB_LAYER_DROPOUT, "head");
  ffb_network_destroy(&network);
  model_build(&network, "efficientnet_b0", "squeeze_excitation=true", &small_image);
  assert_layer(&network, "features.2.1.block.2.fc1", FFB_LAYER_LINEAR, "features.2.1.block.1");
  assert_layer(&network, "features.2.1.block.2.scale", FFB_LAYER_SCALE, "features.2.1.block.1");
  assert_layer(&network, "features.2.1.stochastic_depth", FFB_LAYER_DROPOUT, "features.2.1.block.3");
  assert_layer(&network, "features.2.1.add", FFB_LAYER_ADD, "features.2.1.block.3");
  ffb_network_destroy(&network);
}

/* Dropped are a share of the last features, and of each block's samples a share that grows with its depth. */
static void dropout_rates(void **state) {
  (void)state;
  struct ffb_network network;
  model_build(&network, "efficientnet_b0", "dropout=0.3 stochastic_depth=0.4", &small_image);
  int blocks = 0;
  for (int i = 0; i < network.layer_count; i++) {
    const struct ffb_layer *layer = &network.layers[i];
    if (layer->kind == FFB_LAYER_DROPOUT && layer->by_row) {
      assert_true(fabs(layer->rate - 0.4 * (layer->unit - 1) / 16) < 1e-6);
      blocks++;
    }
  }
  assert_int_equal(blocks, 9);
  const struct ffb_layer *last = layer_named(&network, "classifier.0");
  assert_true(last && !last->by_row && last->rate == 0.3f);
  ffb_network_destroy(&network);
  for (size_t i = 0; i < COUNT_OF(golden_models); i++) {
    model_build(&network, golden_models[i].model, golden_models[i].options, &small_image);
    for (int k = 0; k < network.layer_count; k++)
      assert_int_not_equal(network.layers[k].kind, FFB_LAYER_DROPOUT);
    ffb_network_destroy(&network);
  }
}

static void shape_of(const char *model, const char *options, const struct ffb_model_input *input, const char *layer,
                     int64_t side, int64_t channels) {
  struct ffb_network network;
  model_build(&network, model, options, input);
  const struct ffb_layer *found = layer_named(&network, layer);
  assert_non_null(found);
  const int64_t *shape = network.nodes[found->output];
  assert_int_equal(shape[0], side);
  assert_int_equal(shape[1], side);
  assert_int_equal(shape[2], channels);
  ffb_network_destroy(&network);
}

static void images_shrink_as_in_torchvision(void **state) {
  (void)state;
  const struct ffb_model_input plane = {32, 32, 4, 7}, digit = {28, 28, 1, 10};
  shape_of("resnet18", "", &small_image, "maxpool", 8, 64);
  shape_of("resnet18", "", &small_image, "layer4.1.relu", 1, 512);
  shape_of("resnet18", "stem=cifar", &small_image, "layer1.0.relu", 32, 64);
  shape_of("resnet18", "stem=cifar width=0.5", &small_image, "layer4.1.relu", 4, 256);
  shape_of("mobilenet_v2", "", &small_image, "features.1.conv.2", 16, 16);
  shape_of("mobilenet_v2", "stem=cifar", &small_image, "features.18.0", 2, 1280);
  /* torchvision's rounding: 0.35 * 32 to 16, 0.35 * 24 to 8; the last convolution never shrinks. */
  shape_of("mobilenet_v2", "width=0.35", &small_image, "features.0.0", 16, 16);
  shape_of("mobilenet_v2", "width=0.35", &small_image, "features.2.conv.2", 8, 8);
  shape_of("mobilenet_v2", "width=0.35", &small_image, "features.18.0", 1, 1280);
  shape_of("mobilenet_v2", "width=1.4", &small_image, "features.18.0", 1, 1792);
  shape_of("efficientnet_b0", "", &small_image, "features.8.0", 1, 1280);
  shape_of("efficientnet_b0", "stem=cifar", &small_image, "features.3.1.add", 8, 40);
  shape_of("efficientnet_b0", "width=1.1", &small_image, "features.8.0", 1, 1408);
  for (size_t i = 0; i < COUNT_OF(convolutional); i++) {
    struct ffb_network network;
    model_build(&network, convolutional[i], "", &plane);
    assert_int_equal(network.layers[0].in_features, 4);
    assert_int_equal(ffb_network_last(&network)->out_features, 7);
    ffb_network_destroy(&network);
    model_build(&network, convolutional[i], "", &digit);
    ffb_network_destroy(&network);
  }
}

/* ---- what a network refuses ------------------------------------------------------------------------------------- */

static void builders_hand_an_error_on(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct ffb_network network;
  GOOD(ffb_network_create(&network, "x", 8, 8, 3, 10, &error), &error);
  const struct ffb_window window = {3, 1, 1};
  assert_int_equal(ffb_network_linear(&network, "a", -1, 5, true, &error), -1);
  assert_int_equal(ffb_network_convolution(&network, "a", -1, 5, window, 1, &error), -1);
  assert_int_equal(ffb_network_batch_norm(&network, "a", -1, 0.1f, 1e-5f, &error), -1);
  assert_int_equal(ffb_network_activation(&network, "a", -1, FFB_ACTIVATION_SILU, &error), -1);
  assert_int_equal(ffb_network_relu(&network, "a", -1, &error), -1);
  assert_int_equal(ffb_network_add(&network, "a", -1, 0, &error), -1);
  assert_int_equal(ffb_network_add(&network, "a", 0, -1, &error), -1);
  assert_int_equal(ffb_network_max_pool(&network, "a", -1, window, &error), -1);
  assert_int_equal(ffb_network_average_pool(&network, "a", -1, &error), -1);
  assert_int_equal(ffb_network_scale(&network, "a", -1, 0, &error), -1);
  assert_int_equal(ffb_network_scale(&network, "a", 0, -1, &error), -1);
  assert_int_equal(ffb_network_dropout(&network, "a", -1, 0.5f, false, &error), -1);
  assert_int_equal(error.kind, FFB_ERROR_NONE);
  assert_null(ffb_network_last(&network));
  ffb_network_destroy(&network);
}

static void networks_that_do_not_fit(void **state) {
  (void)state;
  static const char long_name[] = "a-name-that-is-longer-than-any-layer-of-any-network-has-ever-been-called";
  struct ffb_error error = {0};
  struct ffb_network network;
  GOOD(ffb_network_create(&network, "x", 8, 8, 3, 10, &error), &error);
  assert_false(ffb_network_part(&network, "part", &error));
  assert_mentions(&error, "open a unit first");
  assert_int_equal(ffb_network_relu(&network, "relu", 0, &error), -1);
  assert_mentions(&error, "open a unit first");
  assert_false(ffb_network_unit(&network, long_name, false, &error));
  assert_mentions(&error, "longer than");
  error = (struct ffb_error){0};
  GOOD(ffb_network_unit(&network, "unit", false, &error), &error);
  GOOD(ffb_network_part(&network, "renamed", &error), &error);
  assert_int_equal(network.part_count, 1);
  assert_string_equal(network.parts[0].name, "renamed");
  assert_int_equal(ffb_network_relu(&network, long_name, 0, &error), -1);
  assert_mentions(&error, "longer than");
  assert_int_equal(ffb_network_convolution(&network, "c", 0, 8, (struct ffb_window){11, 1, 1}, 1, &error), -1);
  assert_mentions(&error, "too small");
  assert_int_equal(ffb_network_convolution(&network, "c", 0, 8, (struct ffb_window){3, 0, 1}, 1, &error), -1);
  assert_mentions(&error, "stride 0");
  assert_int_equal(ffb_network_convolution(&network, "c", 0, 8, (struct ffb_window){3, 1, 1}, 3, &error), -1);
  assert_mentions(&error, "3 groups");
  int pooled = ffb_network_average_pool(&network, "p", 0, &error);
  assert_int_equal(ffb_network_add(&network, "add", 0, pooled, &error), -1);
  assert_mentions(&error, "different shapes");
  int narrow = ffb_network_linear(&network, "l", pooled, 2, false, &error);
  assert_int_equal(ffb_network_scale(&network, "s", 0, narrow, &error), -1);
  assert_mentions(&error, "2 scales for 3 channels");
  ffb_network_destroy(&network);
}

/* Whichever allocation fails, the builder says so and what it made can be freed. */
static void models_survive_a_lack_of_memory(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(convolutional); i++) {
    const struct ffb_model *model = ffb_model_find(convolutional[i]);
    struct ffb_error error = {0};
    void *values = calloc(1, model->options_size);
    assert_non_null(values);
    GOOD(ffb_options_default(model->options, values, &error), &error);
    for (unsigned long n = 1; n < 160; n += n < 30 ? 1 : 13) {
      struct ffb_network network = {0};
      ffb_fail_allocation(n);
      bool built = model->build(&network, &small_image, values, &error);
      ffb_fail_allocation(0);
      assert_false(built);
      assert_mentions(&error, "memory");
      ffb_network_destroy(&network);
    }
    ffb_options_clear(model->options, values);
    free(values);
  }
}

/* ---- initial values --------------------------------------------------------------------------------------------- */

struct moments {
  double mean, deviation, largest, within; /* within: share of values nearer to 0 than one deviation */
};

static struct moments moments_of(const float *values, int64_t count) {
  struct moments m = {0};
  for (int64_t i = 0; i < count; i++) {
    m.mean += values[i] / (double)count;
    m.largest = fmax(m.largest, fabs(values[i]));
  }
  for (int64_t i = 0; i < count; i++)
    m.deviation += (values[i] - m.mean) * (values[i] - m.mean) / (double)count;
  m.deviation = sqrt(m.deviation);
  for (int64_t i = 0; i < count; i++)
    m.within += fabs(values[i]) < m.deviation ? 1.0 / (double)count : 0;
  return m;
}

/* Five standard errors. */
static void assert_distribution(struct ffb_plan *plan, struct ffb_tensor *tensor, bool normal, double deviation) {
  int64_t count = ffb_elements(tensor);
  float *values = content(plan, tensor);
  struct moments m = moments_of(values, count);
  double n = sqrt((double)count), share = normal ? 0.682689 : 1 / sqrt(3);
  if (fabs(m.mean) > 5 * deviation / n || fabs(m.deviation / deviation - 1) > 5 / (sqrt(2) * n) ||
      fabs(m.within - share) > 5 * sqrt(share * (1 - share)) / n + 1 / n)
    fail_msg("%s: mean %g, deviation %g (want %g), within one deviation %g", tensor->name, m.mean, m.deviation,
             deviation, m.within);
  if (!normal)
    assert_true(m.largest <= deviation * sqrt(3) * (1 + 1e-6));
  free(values);
}

static void assert_constant(struct ffb_plan *plan, struct ffb_tensor *tensor, float value) {
  float *values = content(plan, tensor);
  for (int64_t i = 0; i < ffb_elements(tensor); i++)
    assert_true(values[i] == value);
  free(values);
}

/* torchvision's rules, spelt out again: the head's deviation by model, convolutions by fan-out. */
static void check_initial(struct weights *w, double head_deviation, bool head_normal, bool head_bias) {
  for (int i = 0; i < w->network.layer_count; i++) {
    const struct ffb_layer *layer = &w->network.layers[i];
    const struct ffb_layer_parameters *own = &w->parameters.layers[i];
    if (layer->kind == FFB_LAYER_CONVOLUTION) {
      double fan_out = (double)layer->out_features * layer->window.kernel * layer->window.kernel;
      assert_distribution(w->plan, own->weight, true, sqrt(2 / fan_out));
    } else if (layer->kind == FFB_LAYER_LINEAR && layer->convolution_file) {
      assert_distribution(w->plan, own->weight, true, sqrt(2 / (double)layer->out_features));
      assert_constant(w->plan, own->bias, 0);
    } else if (layer->kind == FFB_LAYER_LINEAR) {
      assert_distribution(w->plan, own->weight, head_normal, head_deviation);
      if (head_bias)
        assert_distribution(w->plan, own->bias, false, head_deviation);
      else
        assert_constant(w->plan, own->bias, 0);
    } else if (layer->kind == FFB_LAYER_BATCH_NORM) {
      assert_true(layer->momentum == 0.1f && layer->epsilon == 1e-5f);
      assert_constant(w->plan, own->weight, 1);
      assert_constant(w->plan, own->bias, 0);
      assert_constant(w->plan, own->running_mean, 0);
      assert_constant(w->plan, own->running_variance, 1);
    } else {
      assert_null(own->weight);
    }
  }
}

static void initial_values_follow_torchvision(void **state) {
  (void)state;
  const double third = 1 / sqrt(3);
  const struct {
    const char *model, *options;
    double deviation;
    bool normal, bias;
  } cases[] = {
      {"resnet18", "stem=cifar", third / sqrt(512), false, true},
      {"mobilenet_v2", "", 0.01, true, false},
      {"efficientnet_b0", "squeeze_excitation=true", third / sqrt(10), false, false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct weights w;
    model_build(&w.network, cases[i].model, cases[i].options, &small_image);
    weights_make(&w, &(struct ffb_precision){0}, 3);
    check_initial(&w, cases[i].deviation, cases[i].normal, cases[i].bias);
    weights_free(&w);
  }
}

static void seeds_decide_the_initial_values(void **state) {
  (void)state;
  float *first[3];
  for (int i = 0; i < 3; i++) {
    struct weights w;
    model_build(&w.network, "mobilenet_v2", "width=0.1", &small_image);
    weights_make(&w, &(struct ffb_precision){0}, i < 2 ? 1 : 2);
    first[i] = content(w.plan, w.parameters.layers[0].weight);
    weights_free(&w);
  }
  const size_t bytes = (size_t)8 * 3 * 3 * 3 * sizeof(float);
  assert_memory_equal(first[0], first[1], bytes);
  assert_memory_not_equal(first[0], first[2], bytes);
  for (int i = 0; i < 3; i++)
    free(first[i]);
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

/* A network with every kind of parameter; the weights of small.safetensors fit it. */
static void build_small(struct ffb_network *network) {
  struct ffb_error error = {0};
  GOOD(ffb_network_create(network, "small", 4, 4, 2, 5, &error), &error);
  GOOD(ffb_network_unit(network, "all", true, &error), &error);
  int node = ffb_network_convolution(network, "conv", 0, 4, (struct ffb_window){3, 1, 1}, 2, &error);
  node = ffb_network_batch_norm(network, "bn", node, 0.1f, 1e-5f, &error);
  node = ffb_network_convolution(network, "point", node, 3, (struct ffb_window){1, 1, 0}, 1, &error);
  node = ffb_network_average_pool(network, "pool", node, &error);
  node = ffb_network_linear(network, "squeeze", node, 2, true, &error);
  GOOD(node >= 0, &error);
  ffb_network_last(network)->convolution_file = true;
  GOOD(ffb_network_linear(network, "fc", node, 5, true, &error) >= 0, &error);
}

static void only_products_are_int8(void **state) {
  (void)state;
  struct weights w;
  build_small(&w.network);
  weights_make(&w, &(struct ffb_precision){.int8 = true, .int8_weights = true}, 1);
  for (int i = 0; i < w.network.layer_count; i++) {
    const struct ffb_layer_parameters *own = &w.parameters.layers[i];
    bool product = w.network.layers[i].kind == FFB_LAYER_LINEAR || w.network.layers[i].kind == FFB_LAYER_CONVOLUTION,
         norm = w.network.layers[i].kind == FFB_LAYER_BATCH_NORM;
    assert_int_equal(own->weight_q != NULL, product);
    assert_int_equal(own->weight != NULL, norm);
    assert_int_equal(own->weight_scale != NULL, product);
    assert_int_equal(own->running_mean != NULL, norm);
    assert_non_null(own->not_finite);
    if (product) { /* the largest weight is 127 steps */
      int8_t *q = content(w.plan, own->weight_q);
      int largest = 0;
      for (int64_t k = 0; k < ffb_elements(own->weight_q); k++)
        largest = abs(q[k]) > largest ? abs(q[k]) : largest;
      assert_int_equal(largest, 127);
      free(q);
    }
  }
  weights_free(&w);
}

static void the_first_layer_that_diverged(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct weights w;
  int layer = 7;
  int64_t step = 77;
  build_small(&w.network);
  weights_make(&w, &(struct ffb_precision){0}, 1);
  GOOD(ffb_parameters_not_finite(&w.parameters, &layer, &step, &error), &error);
  assert_int_equal(layer, -1);
  assert_int_equal(step, 77);
  uint32_t first[6] = {0, 9, 0, 4, 4, 0};
  GOOD(ffb_tensor_write(w.plan, w.parameters.not_finite, first, &error), &error);
  GOOD(ffb_parameters_not_finite(&w.parameters, &layer, &step, &error), &error);
  assert_int_equal(layer, 3);
  assert_int_equal(step, 3);
  uint32_t own = 0;
  GOOD(ffb_tensor_read(w.plan, w.parameters.layers[1].not_finite, &own, &error), &error);
  assert_int_equal(own, 9);
  weights_free(&w);
}

/* ---- weight files ----------------------------------------------------------------------------------------------- */

static void assert_counted(struct weights *w, const char *name, float start, const int64_t shape[4]) {
  struct ffb_tensor *tensor = tensor_named(w->plan, name);
  float *values = content(w->plan, tensor);
  int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
  assert_int_equal(ffb_elements(tensor), count);
  for (int64_t i = 0; i < count; i++)
    assert_true(values[place_of(shape, i)] == start + (float)i);
  free(values);
}

static void check_counted(struct weights *w) {
  assert_counted(w, "conv.weight", 0, (int64_t[4]){4, 1, 3, 3});
  assert_counted(w, "bn.weight", 100, (int64_t[4]){4, 1, 1, 1});
  assert_counted(w, "bn.bias", 200, (int64_t[4]){4, 1, 1, 1});
  assert_counted(w, "bn.running_mean", 300, (int64_t[4]){4, 1, 1, 1});
  assert_counted(w, "bn.running_var", 400, (int64_t[4]){4, 1, 1, 1});
  assert_counted(w, "point.weight", 500, (int64_t[4]){3, 4, 1, 1});
  assert_counted(w, "squeeze.weight", 600, (int64_t[4]){2, 3, 1, 1});
  assert_counted(w, "squeeze.bias", 700, (int64_t[4]){2, 1, 1, 1});
  assert_counted(w, "fc.weight", 800, (int64_t[4]){5, 2, 1, 1});
  assert_counted(w, "fc.bias", 900, (int64_t[4]){5, 1, 1, 1});
}

static void weights_of_pytorch_are_read(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct weights w, again;
  build_small(&w.network);
  weights_make(&w, &(struct ffb_precision){0}, 1);
  GOOD(ffb_weights_load("tests/golden/small.safetensors", w.plan, &error), &error);
  check_counted(&w);
  GOOD(ffb_weights_save(weight_file, w.plan, &error), &error);
  weights_free(&w);
  build_small(&again.network);
  weights_make(&again, &(struct ffb_precision){0}, 2);
  GOOD(ffb_weights_load(weight_file, again.plan, &error), &error);
  check_counted(&again);
  weights_free(&again);
  assert_int_equal(unlink(weight_file), 0);
}

static void scales_are_made_again(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct weights w;
  build_small(&w.network);
  weights_make(&w, &(struct ffb_precision){.int8 = true}, 1);
  GOOD(ffb_weights_load("tests/golden/small.safetensors", w.plan, &error), &error);
  GOOD(ffb_parameters_prepare(&w.parameters, &error), &error);
  check_counted(&w);
  float scale = 0;
  GOOD(ffb_tensor_read(w.plan, tensor_named(w.plan, "fc.weight_scale"), &scale, &error), &error);
  assert_true(scale == 809.0f / 127);
  weights_free(&w);
}

static void int8_weights_keep_their_scales(void **state) {
  (void)state;
  const struct ffb_precision precision = {.int8 = true, .int8_weights = true};
  struct ffb_error error = {0};
  struct weights w[2];
  for (int i = 0; i < 2; i++) {
    build_small(&w[i].network);
    weights_make(&w[i], &precision, (uint64_t)i);
    if (i == 0)
      GOOD(ffb_weights_save(weight_file, w[i].plan, &error), &error);
    else
      GOOD(ffb_weights_load(weight_file, w[i].plan, &error), &error);
    GOOD(ffb_parameters_prepare(&w[i].parameters, &error), &error);
  }
  static const char *const names[] = {"conv.weight", "conv.weight_scale", "fc.weight", "fc.weight_scale", "fc.bias"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    const struct ffb_tensor *tensor = tensor_named(w[0].plan, names[i]);
    void *one = content(w[0].plan, tensor), *other = content(w[1].plan, tensor_named(w[1].plan, names[i]));
    assert_memory_equal(one, other, ffb_tensor_bytes(tensor));
    free(one);
    free(other);
  }
  weights_free(&w[0]);
  weights_free(&w[1]);
  assert_int_equal(unlink(weight_file), 0);
}

/* A file for a network of one linear layer, 2 -> 2, without bias. */
static void write_bytes(const void *bytes, size_t count) {
  FILE *to = fopen(weight_file, "wb");
  assert_non_null(to);
  assert_int_equal(fwrite(bytes, 1, count, to), count);
  assert_int_equal(fclose(to), 0);
}

static size_t compose(uint8_t *bytes, const char *header, size_t data) {
  size_t length = strlen(header);
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)(length >> 8 * i);
  memcpy(bytes + 8, header, length);
  memset(bytes + 8 + length, 0x3f, data);
  return 8 + length + data;
}

static void linear_make(struct weights *w, const struct ffb_precision *precision) {
  struct ffb_error error = {0};
  GOOD(ffb_network_create(&w->network, "linear", 1, 2, 1, 2, &error), &error);
  GOOD(ffb_network_unit(&w->network, "head", true, &error), &error);
  GOOD(ffb_network_linear(&w->network, "fc", 0, 2, false, &error) >= 0, &error);
  weights_make(w, precision, 1);
}

#define FC(dtype, shape, begin, end)                                                                                   \
  "\"fc.weight\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
#define OTHER(begin, end) ",\"other\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" begin "," end "]}"

static void damaged_files_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *header, *mentions;
  } cases[] = {
      {"", "JSON"},
      {"{", "JSON"},
      {"[1,2]", "JSON"},
      {"{\"a\":1,\"a\":2}", "JSON"},
      {"{} x", "JSON"},
      {"{}", "no tensor fc.weight"},
      {"{\"fc.weight\":7}", "lacks dtype"},
      {"{\"fc.weight\":{}}", "lacks dtype"},
      {"{\"fc.weight\":{\"dtype\":5,\"shape\":[2,2],\"data_offsets\":[0,16]}}", "lacks dtype"},
      {"{" FC("F32", "7", "0", "16") "}", "lacks dtype"},
      {"{" FC("F32", "[2,2]", "0", "16.5") "}", "lacks dtype"},
      {"{" FC("F32", "[2,-2]", "0", "16") "}", "impossible shape"},
      {"{" FC("F32", "[2,2.0]", "0", "16") "}", "impossible shape"},
      {"{" FC("F32", "[4611686018427387904,4]", "0", "16") "}", "impossible shape"},
      {"{" FC("F32", "[2,2]", "0", "9223372036854775808") "}", "JSON"},
      {"{" FC("F32", "[2,2]", "-16", "0") "}", "outside the file"},
      {"{" FC("F32", "[2,2]", "16", "0") "}", "outside the file"},
      {"{" FC("F32", "[2,2]", "8", "24") "}", "outside the file"},
      {"{" FC("F32", "[2,2]", "0", "15") "}", "more or fewer bytes"},
      {"{" FC("F32", "[2,2]", "0", "16") OTHER("12", "16") "}", "overlap"},
      {"{" FC("F32", "[2,2]", "0", "16") OTHER("12", "15") "}", "more or fewer bytes"},
      {"{" FC("F32", "[4]", "0", "16") "}", "has the shape [4], not [2,2]"},
      {"{" FC("F32", "[2,2,1]", "0", "16") "}", "has the shape [2,2,1], not [2,2]"},
      {"{" FC("F32", "[1,2,1,2,1]", "0", "16") "}", "has the shape [1,2,1,2,...], not [2,2]"},
      {"{" FC("F32", "[]", "0", "4") "}", "has the shape [], not [2,2]"},
      {"{" FC("F16", "[2,2]", "0", "8") "}", "is F16, not F32"},
      {"{" FC("F64", "[2,1]", "0", "16") "}", "is F64, not F32"},
      {"{\"bad\\nname\":7}", "tensor bad?name lacks"},
  };
  struct weights w;
  linear_make(&w, &(struct ffb_precision){0});
  float *before = content(w.plan, tensor_named(w.plan, "fc.weight"));
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct ffb_error error = {0};
    uint8_t bytes[512];
    write_bytes(bytes, compose(bytes, cases[i].header, 16));
    if (ffb_weights_load(weight_file, w.plan, &error))
      fail_msg("%s was loaded", cases[i].header);
    assert_mentions(&error, cases[i].mentions);
    assert_mentions(&error, weight_file);
    float *after = content(w.plan, tensor_named(w.plan, "fc.weight"));
    assert_memory_equal(before, after, 16);
    free(after);
  }
  free(before);
  weights_free(&w);
  assert_int_equal(unlink(weight_file), 0);
}

static void files_that_are_none(void **state) {
  (void)state;
  struct weights w;
  struct ffb_error error = {0};
  linear_make(&w, &(struct ffb_precision){0});
  assert_false(ffb_weights_load("no/such/file", w.plan, &error));
  assert_mentions(&error, "no/such/file");
  assert_false(ffb_weights_load(folder, w.plan, &error));
  assert_mentions(&error, "not a regular file");
  write_bytes("", 0);
  assert_false(ffb_weights_load(weight_file, w.plan, &error));
  assert_mentions(&error, "0 bytes");
  write_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
  assert_false(ffb_weights_load(weight_file, w.plan, &error));
  assert_mentions(&error, "header of 18446744073709551615 bytes");
  assert_int_equal(unlink(weight_file), 0);
  weights_free(&w);
}

static void minus_128_is_refused(void **state) {
  (void)state;
#define SCALE(begin, end) ",\"fc.weight_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" begin "," end "]}}"
  struct weights w;
  struct ffb_error error = {0};
  uint8_t bytes[512];
  linear_make(&w, &(struct ffb_precision){.int8 = true, .int8_weights = true});
  size_t count = compose(bytes, "{" FC("I8", "[2,2]", "0", "4") SCALE("4", "8"), 8);
  write_bytes(bytes, count);
  GOOD(ffb_weights_load(weight_file, w.plan, &error), &error);
  int8_t *values = content(w.plan, tensor_named(w.plan, "fc.weight"));
  assert_int_equal(values[3], 0x3f);
  free(values);
  bytes[count - 5] = 0x80;
  write_bytes(bytes, count);
  assert_false(ffb_weights_load(weight_file, w.plan, &error));
  assert_mentions(&error, "-128");
  write_bytes(bytes, compose(bytes, "{" FC("F32", "[2,2]", "0", "16") SCALE("16", "20"), 20));
  assert_false(ffb_weights_load(weight_file, w.plan, &error));
  assert_mentions(&error, "is F32, not I8");
  assert_int_equal(unlink(weight_file), 0);
  weights_free(&w);
}

/* Every prefix of a good file, and the file with any one byte of its header changed: an error of one line or, where the
 * change does not matter, success. */
static void cut_and_changed_files(void **state) {
  (void)state;
  static uint8_t good[4096], bytes[4096];
  struct weights w;
  build_small(&w.network);
  weights_make(&w, &(struct ffb_precision){0}, 1);
  FILE *from = fopen("tests/golden/small.safetensors", "rb");
  assert_non_null(from);
  size_t count = fread(good, 1, sizeof good, from), header = 8 + good[0] + (size_t)256 * good[1];
  fclose(from);
  assert_in_range(count, header + 1, sizeof good - 1);
  int refused = 0;
  for (size_t at = 0; at < count; at++) {
    struct ffb_error error = {0};
    write_bytes(good, at);
    assert_false(ffb_weights_load(weight_file, w.plan, &error));
    assert_one_line(&error);
  }
  for (size_t at = 0; at < header; at++) {
    for (int change = 0; change < 3; change++) {
      struct ffb_error error = {0};
      memcpy(bytes, good, count);
      bytes[at] ^= (uint8_t)(change == 0 ? 1 : change == 1 ? 0x10 : 0x80);
      write_bytes(bytes, count);
      if (ffb_weights_load(weight_file, w.plan, &error))
        continue;
      assert_one_line(&error);
      refused++;
    }
  }
  assert_true(refused > (int)header);
  assert_int_equal(unlink(weight_file), 0);
  weights_free(&w);
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  (void)state;
  const char *root = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%.40s/ffbench-XXXXXX", root && strlen(root) <= 40 ? root : "/tmp");
  if (!mkdtemp(folder))
    return -1;
  snprintf(weight_file, sizeof weight_file, "%s/weights.safetensors", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  unlink(weight_file);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_are_torchvisions),
      cmocka_unit_test(names_and_shapes_are_torchvisions),
      cmocka_unit_test(units_and_parts),
      cmocka_unit_test(what_belongs_to_which_part),
      cmocka_unit_test(dropout_rates),
      cmocka_unit_test(images_shrink_as_in_torchvision),
      cmocka_unit_test(builders_hand_an_error_on),
      cmocka_unit_test(networks_that_do_not_fit),
      cmocka_unit_test(models_survive_a_lack_of_memory),
      cmocka_unit_test(initial_values_follow_torchvision),
      cmocka_unit_test(seeds_decide_the_initial_values),
      cmocka_unit_test(only_products_are_int8),
      cmocka_unit_test(the_first_layer_that_diverged),
      cmocka_unit_test(weights_of_pytorch_are_read),
      cmocka_unit_test(scales_are_made_again),
      cmocka_unit_test(int8_weights_keep_their_scales),
      cmocka_unit_test(damaged_files_are_refused),
      cmocka_unit_test(files_that_are_none),
      cmocka_unit_test(minus_128_is_refused),
      cmocka_unit_test(cut_and_changed_files),
  };
  return cmocka_run_group_tests_name("models", tests, set_up, tear_down);
}
