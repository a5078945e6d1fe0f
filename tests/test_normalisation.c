/* Batch normalisation, activations and dropout on every backend: test_normalisation [name...], with one thread and with
 * two. Everything has to give the reference's bits; what the reference gives is held against numbers in double, against
 * PyTorch's and against differences. */
#include "tests/backend_cases.h"

#include "backends/backend.h"
#include "backends/exponential.h"
#include "nn/operands.h"

#include <float.h>
#include <stdio.h>

static const enum ffb_activation activations[] = {FFB_ACTIVATION_NONE, FFB_ACTIVATION_RELU, FFB_ACTIVATION_RELU6,
                                                  FFB_ACTIVATION_SILU, FFB_ACTIVATION_SIGMOID};
static const char *const activation_names[] = {"none", "relu", "relu6", "silu", "sigmoid"};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

static double activated(enum ffb_activation kind, double x) {
  switch (kind) {
  case FFB_ACTIVATION_RELU:
    return fmax(x, 0);
  case FFB_ACTIVATION_RELU6:
    return fmin(fmax(x, 0), 6);
  case FFB_ACTIVATION_SILU:
    return x / (1 + exp(-x));
  case FFB_ACTIVATION_SIGMOID:
    return 1 / (1 + exp(-x));
  default:
    return x;
  }
}

static float float_of(uint32_t bits) {
  float value = 0;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* ---- the exponential ------------------------------------------------------------------------------------------ */

static void exponential_is_accurate(void **state) {
  (void)state;
  double worst = 0;
  for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 1013) {
    float x = float_of((uint32_t)bits), value = ffb_exponential(x);
    double wanted = exp((double)x);
    if (isnan(x))
      assert_true(isnan(value));
    else if (wanted < (double)FLT_MIN * (1 + 0x1p-17))
      assert_true(value == 0 || fabs((double)value - wanted) < 0x1p-126 * 0x1p-17);
    else if (wanted > (double)FLT_MAX)
      assert_true(isinf(value) && value > 0);
    else
      worst = fmax(worst, fabs((double)value - wanted) / wanted);
  }
  assert_true(worst > 0 && worst < 0x1p-23);
}

static void exponential_has_edges(void **state) {
  (void)state;
  static const float none[] = {-INFINITY, -FLT_MAX, -104, -87.33655f}, whole[] = {INFINITY, FLT_MAX, 89, 88.72284f};
  for (int i = 0; i < 4; i++) {
    assert_true(ffb_exponential(none[i]) == 0);
    assert_true(isinf(ffb_exponential(whole[i])) && ffb_exponential(whole[i]) > 0);
  }
  assert_true(ffb_exponential(0) == 1 && ffb_exponential(-0.0f) == 1 && ffb_exponential(1e-30f) == 1);
  assert_true(ffb_exponential(88.7228f) < FLT_MAX && ffb_exponential(-87.336f) > FLT_MIN);
  assert_true(isnan(ffb_exponential(NAN)) && isnan(ffb_exponential(-NAN)));
  /* A NaN whose bits would come out as a number if they were shifted. */
  assert_true(isnan(ffb_exponential(float_of(0x7fc00001))) && isnan(ffb_exponential(float_of(0xff800001))));
  assert_true(ffb_sigmoid(0) == 0.5f && ffb_sigmoid(-200) == 0 && ffb_sigmoid(200) == 1 && isnan(ffb_sigmoid(NAN)));
}

/* ---- activations ---------------------------------------------------------------------------------------------- */

static const int64_t lengths[] = {1, 3, 15, 16, 17, 33, 127, 1000, 4097, 70001};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static const float odd_values[] = {0,       -0.0f, NAN,    INFINITY, -INFINITY, 6,     5.9999995f, 6.0000005f, 1e-40f,
                                   -1e-40f, 88.8f, -88.8f, 90,       -90,       87.4f, -87.4f,     1e30f,      -1e30f};
enum { ODD_VALUES = sizeof odd_values / sizeof *odd_values };

/* Noise up to `size`, with odd values here and there. */
static struct ffb_tensor *odd_noise(struct scene *scene, int64_t n, float size, uint64_t seed) {
  struct ffb_tensor *x = random_f32(scene, n, 1, seed);
  for (int64_t i = 0; i < n; i++)
    f32(x)[i] = i % 7 == 5 ? odd_values[i / 7 % ODD_VALUES] : size * f32(x)[i];
  return x;
}

static void activations_give_the_same_bits(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    for (int form = 0; form < 2 * ACTIVATIONS; form++) {
      enum ffb_activation kind = activations[form / 2];
      int64_t n = lengths[l];
      struct ffb_tensor *x = odd_noise(scene, n, 12, 1), *y = form % 2 ? x : operand(scene, FFB_F32, n, 1);
      RUN_BOTH(scene, ACTIVATE, activate, .y = y, .x = x, .kind = kind);
      assert_same(y, activation_names[form / 2]);
      for (int64_t i = 0; i < n; i++) {
        double value = (double)f32(x)[i], wanted = activated(kind, value);
        if (isnan(value))
          assert_true(isnan(f32_after(y)[i]));
        else if (isfinite(value))
          assert_near((double)f32_after(y)[i], wanted, 4e-7 * fabs(wanted) + 1e-36, activation_names[form / 2], i);
        /* assert_same takes 0 for -0; weights and their digests do not. */
        if (!isnan(value))
          assert_int_equal(!signbit(f32_after(y)[i]), !signbit(((const float *)after(y, ORACLE))[i]));
      }
      scene_clear(scene);
    }
  }
}

static void activation_gradients_match_differences(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    for (int form = 0; form < 2 * ACTIVATIONS; form++) {
      enum ffb_activation kind = activations[form / 2];
      int64_t n = lengths[l];
      struct ffb_tensor *gy = random_f32(scene, n, 1, 2), *gx = form % 2 ? gy : operand(scene, FFB_F32, n, 1);
      struct ffb_tensor *v = random_f32(scene, n, 1, 3);
      double *x = calloc((size_t)n, sizeof *x), step = 1e-6;
      assert_non_null(x);
      for (int64_t i = 0; i < n; i++) {
        x[i] = 9 * (double)f32(v)[i];
        f32(v)[i] = kind == FFB_ACTIVATION_SILU ? (float)x[i] : (float)activated(kind, x[i]);
      }
      RUN_BOTH(scene, ACTIVATE_GRADIENT, activate_gradient, .gx = gx, .gy = gy, .v = v, .kind = kind);
      assert_same(gx, activation_names[form / 2]);
      for (int64_t i = 0; i < n; i++) {
        double slope = (activated(kind, x[i] + step) - activated(kind, x[i] - step)) / (2 * step);
        assert_near((double)f32_after(gx)[i], slope * (double)f32(gy)[i], 1e-6, activation_names[form / 2], i);
      }
      free(x);
      scene_clear(scene);
    }
  }
}

static void activation_gradients_of_odd_values(void **state) {
  struct scene *scene = *state;
  for (int k = 0; k < ACTIVATIONS; k++) {
    struct ffb_tensor *v = odd_noise(scene, 1001, 3, 4), *gy = odd_noise(scene, 1001, 1, 5);
    struct ffb_tensor *gx = operand(scene, FFB_F32, 1001, 1);
    memmove(f32(gy), f32(gy) + 1, 1000 * sizeof(float)); /* odd gradients beside ordinary values */
    RUN_BOTH(scene, ACTIVATE_GRADIENT, activate_gradient, .gx = gx, .gy = gy, .v = v, .kind = activations[k]);
    assert_same(gx, activation_names[k]);
    for (int64_t i = 0; i < 1001; i++) {
      float value = f32(v)[i];
      bool stops = (activations[k] == FFB_ACTIVATION_RELU && !(value > 0)) ||
                   (activations[k] == FFB_ACTIVATION_RELU6 && !(value > 0 && value < 6));
      assert_true(!stops || f32_after(gx)[i] == 0);
    }
    scene_clear(scene);
  }
}

static bool bit_of(const uint8_t *mask, int64_t i) {
  return mask[i / 8] >> i % 8 & 1;
}

static void masks_stop_gradients(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    for (int in_place = 0; in_place < 2; in_place++) {
      int64_t n = lengths[l];
      struct ffb_tensor *gy = odd_noise(scene, n, 1, 6), *gx = in_place ? gy : operand(scene, FFB_F32, n, 1);
      struct ffb_tensor *mask = operand(scene, FFB_U8, (n + 7) / 8, 1);
      uint8_t *bits = operand_of(mask)->before;
      for (int64_t i = 0; i < (n + 7) / 8; i++)
        bits[i] = (uint8_t)ffb_random_bits(7, 1, 2, (uint64_t)i);
      RUN_BOTH(scene, MASK_GRADIENT, mask_gradient, .gx = gx, .gy = gy, .mask = mask);
      assert_same(gx, "mask_gradient");
      for (int64_t i = 0; i < n; i++) {
        float wanted = bit_of(bits, i) ? f32(gy)[i] : 0, value = f32_after(gx)[i];
        assert_true(value == wanted || (isnan(value) && isnan(wanted)));
      }
      scene_clear(scene);
    }
  }
}

static void dropout_keeps_by_its_draw(void **state) {
  struct scene *scene = *state;
  static const float rates[] = {0, 0.2f, 0.5f, 0.9f};
  static const int64_t sizes[][2] = {{1, 1}, {3, 17}, {64, 33}, {5, 4097}, {200, 40}};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    for (int form = 0; form < 16; form++) {
      bool in_place = form & 1, by_row = form & 2;
      float rate = rates[form / 4];
      int64_t rows = sizes[s][0], columns = sizes[s][1];
      struct ffb_tensor *x = random_f32(scene, rows, columns, 8);
      struct ffb_tensor *y = in_place ? x : operand(scene, FFB_F32, rows, columns), *step = scalar_u32(scene, 77);
      f32(x)[rows * columns / 2] = NAN;
      RUN_BOTH(scene, DROPOUT, dropout, .y = y, .x = x, .step = step, .rate = rate, .by_row = by_row,
               .purpose = FFB_PURPOSE_TENSOR + 3, .seed = 0xabcdef0123456789u);
      assert_same(y, "dropout");
      for (int64_t i = 0; i < rows * columns; i++) {
        uint64_t index = (uint64_t)(by_row ? i / columns : i);
        float u = ffb_random_uniform(0xabcdef0123456789u, FFB_PURPOSE_TENSOR + 3, 77, index);
        float wanted = u >= rate ? f32(x)[i] / (1 - rate) : 0, value = f32_after(y)[i];
        assert_true(value == wanted || (isnan(value) && isnan(wanted)));
      }
      scene_clear(scene);
    }
  }
}

/* ---- batch normalisation -------------------------------------------------------------------------------------- */

/* Images and matrices: pixel counts around a block of 64, channel counts around a vector. */
static const int64_t batches[][4] = {{5, 8, 8, 16},   {3, 4, 4, 40}, {5, 1, 1, 33},  {3, 2, 2, 96},    {2, 7, 9, 3},
                                     {1, 13, 5, 10},  {1, 8, 8, 24}, {3, 3, 7, 17},  {1, 1, 1, 10},    {2, 1, 1, 144},
                                     {64, 33, 1, 1},  {1, 16, 1, 1}, {129, 1, 1, 5}, {3, 16, 16, 144}, {1, 32, 31, 16},
                                     {20, 16, 16, 7}, {9, 31, 32, 5}};
enum { BATCHES = sizeof batches / sizeof *batches };

struct batch {
  struct ffb_tensor *x, *mean, *inverse, *running_mean, *running_variance, *extremes;
  int64_t channels, pixels;
};

static struct batch make_batch(struct scene *scene, const int64_t shape[4], bool running) {
  struct batch b = {.x = random_image(scene, shape[0], shape[1], shape[2], shape[3], 9)};
  b.channels = ffb_channels(b.x);
  b.pixels = ffb_pixels(b.x);
  for (int64_t i = 0; i < ffb_elements(b.x); i++)
    f32(b.x)[i] = f32(b.x)[i] * (float)(1 + i % b.channels % 5) + (float)(i % b.channels % 3);
  b.mean = operand(scene, FFB_F32, b.channels, 1);
  b.inverse = operand(scene, FFB_F32, b.channels, 1);
  b.running_mean = running ? random_f32(scene, b.channels, 1, 10) : NULL;
  b.running_variance = running ? random_f32(scene, b.channels, 1, 11) : NULL;
  for (int64_t c = 0; running && c < b.channels; c++)
    f32(b.running_variance)[c] = 1.5f + f32(b.running_variance)[c];
  return b;
}

static void run_statistics(struct scene *scene, const struct batch *b, bool from_x, float momentum, float epsilon) {
  union ffb_arguments arguments = {.batch_statistics = {.mean = b->mean,
                                                        .inverse = b->inverse,
                                                        .x = from_x ? b->x : NULL,
                                                        .running_mean = b->running_mean,
                                                        .running_variance = b->running_variance,
                                                        .extremes = b->extremes,
                                                        .momentum = momentum,
                                                        .epsilon = epsilon}};
  struct ffb_error error = {0};
  if (!ffb_operands_check(FFB_BATCH_STATISTICS, &arguments, &error))
    fail_msg("%s", error.message);
  run_both(scene, FFB_BATCH_STATISTICS, &arguments);
  assert_same(b->mean, "mean");
  assert_same(b->inverse, "inverse");
  if (b->running_mean)
    assert_same(b->running_mean, "running mean");
  if (b->running_variance)
    assert_same(b->running_variance, "running variance");
  if (b->extremes)
    assert_same(b->extremes, "extremes");
}

static void channel_extremes(const struct batch *b, int64_t c, float *lowest, float *highest) {
  *lowest = INFINITY;
  *highest = -INFINITY;
  for (int64_t p = 0; p < b->pixels; p++) {
    *lowest = fminf(*lowest, f32(b->x)[p * b->channels + c]);
    *highest = fmaxf(*highest, f32(b->x)[p * b->channels + c]);
  }
}

/* Two passes over a channel in double. */
static void channel_moments(const float *x, int64_t pixels, int64_t channels, int64_t c, double *mean,
                            double *variance) {
  double sum = 0, squares = 0;
  for (int64_t p = 0; p < pixels; p++)
    sum += (double)x[p * channels + c];
  *mean = sum / (double)pixels;
  for (int64_t p = 0; p < pixels; p++) {
    double difference = (double)x[p * channels + c] - *mean;
    squares += difference * difference;
  }
  *variance = squares / (double)pixels;
}

static void statistics_are_those_of_the_batch(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < BATCHES; s++) {
    for (int form = 0; form < 3; form++) { /* ordinary, without running statistics, far from zero */
      struct batch b = make_batch(scene, batches[s], form != 1);
      for (int64_t i = 0; form == 2 && i < ffb_elements(b.x); i++)
        f32(b.x)[i] = 1000 + 0.01f * f32(b.x)[i];
      b.extremes = form ? operand(scene, FFB_F32, 2, b.channels) : NULL;
      run_statistics(scene, &b, true, 0.1f, 1e-5f);
      for (int64_t c = 0; c < b.channels; c++) {
        float lowest = 0, highest = 0;
        channel_extremes(&b, c, &lowest, &highest);
        if (form)
          assert_true(f32_after(b.extremes)[c] == lowest && f32_after(b.extremes)[b.channels + c] == highest);
        double mean = 0, variance = 0;
        channel_moments(f32(b.x), b.pixels, b.channels, c, &mean, &variance);
        double inverse = 1 / sqrt(variance + (double)1e-5f);
        assert_near((double)f32_after(b.mean)[c], mean, 1e-6 + 1e-7 * fabs(mean), "mean", c);
        assert_near((double)f32_after(b.inverse)[c], inverse, 2e-6 * inverse, "inverse", c);
        if (!b.running_mean)
          continue;
        double unbiased = b.pixels > 1 ? variance * (double)b.pixels / (double)(b.pixels - 1) : 0;
        assert_near((double)f32_after(b.running_mean)[c], 0.9 * (double)f32(b.running_mean)[c] + 0.1 * mean,
                    1e-6 + 2e-7 * fabs(mean), "running mean", c);
        assert_near((double)f32_after(b.running_variance)[c], 0.9 * (double)f32(b.running_variance)[c] + 0.1 * unbiased,
                    2e-6 * (1 + unbiased), "running variance", c);
      }
      scene_clear(scene);
    }
  }
}

static void statistics_of_evaluation_are_the_running_ones(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < BATCHES; s++) {
    struct batch b = make_batch(scene, batches[s], true);
    run_statistics(scene, &b, false, 0.1f, 1e-3f);
    for (int64_t c = 0; c < b.channels; c++) {
      double inverse = 1 / sqrt((double)f32(b.running_variance)[c] + (double)1e-3f);
      assert_true(f32_after(b.mean)[c] == f32(b.running_mean)[c]);
      assert_near((double)f32_after(b.inverse)[c], inverse, 1e-7 * inverse, "inverse", c);
      assert_true(f32_after(b.running_mean)[c] == f32(b.running_mean)[c]);
      assert_true(f32_after(b.running_variance)[c] == f32(b.running_variance)[c]);
    }
    scene_clear(scene);
  }
}

static void statistics_of_odd_channels(void **state) {
  struct scene *scene = *state;
  enum { CHANNELS = 24, PIXELS = 5 * 3 * 7 };
  static const int64_t shape[] = {5, 3, 7, CHANNELS};
  struct batch b = make_batch(scene, shape, true);
  for (int64_t p = 0; p < PIXELS; p++) {
    f32(b.x)[p * CHANNELS + 3] = 0.1f; /* constant */
    f32(b.x)[p * CHANNELS + 17] = 0;
  }
  f32(b.x)[50 * CHANNELS + 5] = NAN;
  f32(b.x)[104 * CHANNELS + 20] = INFINITY;
  run_statistics(scene, &b, true, 0.1f, 1e-5f);
  for (int c = 0; c < CHANNELS; c++) {
    bool bad = c == 5 || c == 20;
    assert_int_equal(isfinite(f32_after(b.mean)[c]) != 0, !bad);
    assert_int_equal(isfinite(f32_after(b.inverse)[c]) != 0, !bad);
    assert_int_equal(isfinite(f32_after(b.running_mean)[c]) != 0, !bad);
  }
  assert_true(f32_after(b.mean)[3] == 0.1f && f32_after(b.mean)[17] == 0);
  assert_true(f32_after(b.inverse)[3] == (float)(1 / sqrt((double)1e-5f)));
  assert_true(f32_after(b.inverse)[17] == f32_after(b.inverse)[3]);
}

/* A batch with what its normalisation takes and gives. */
struct normalised {
  struct batch batch;
  struct ffb_tensor *gamma, *beta, *y, *shortcut, *mask, *gy, *gx, *ggamma, *gbeta;
};

static struct ffb_tensor *like(struct scene *scene, enum ffb_type type, const struct ffb_tensor *x) {
  return image_operand(scene, type, x->shape[0], x->shape[1], x->shape[2], x->shape[3]);
}

static struct ffb_tensor *noise_like(struct scene *scene, const struct ffb_tensor *x, uint64_t seed) {
  return random_image(scene, x->shape[0], x->shape[1], x->shape[2], x->shape[3], seed);
}

/* Mean and inverse are what the batch has; gamma and beta send z through all of relu6. */
static struct normalised make_normalised(struct scene *scene, const int64_t shape[4]) {
  struct normalised n = {.batch = make_batch(scene, shape, false)};
  struct batch *b = &n.batch;
  n.gamma = random_f32(scene, b->channels, 1, 12);
  n.beta = random_f32(scene, b->channels, 1, 13);
  for (int64_t c = 0; c < b->channels; c++) {
    double mean = 0, variance = 0;
    channel_moments(f32(b->x), b->pixels, b->channels, c, &mean, &variance);
    f32(b->mean)[c] = (float)mean;
    f32(b->inverse)[c] = (float)(1 / sqrt(variance + 1e-5));
    f32(n.gamma)[c] = 2 * f32(n.gamma)[c] + (c % 2 ? 2.5f : -2.5f);
    f32(n.beta)[c] = 2 + 2 * f32(n.beta)[c];
  }
  return n;
}

static union ffb_arguments normalise_arguments(const struct normalised *n, enum ffb_activation activation) {
  return (union ffb_arguments){.batch_normalise = {.y = n->y,
                                                   .x = n->batch.x,
                                                   .mean = n->batch.mean,
                                                   .inverse = n->batch.inverse,
                                                   .gamma = n->gamma,
                                                   .beta = n->beta,
                                                   .shortcut = n->shortcut,
                                                   .mask = n->mask,
                                                   .activation = activation}};
}

static bool stops_at_zero(enum ffb_activation kind) {
  return kind == FFB_ACTIVATION_RELU || kind == FFB_ACTIVATION_RELU6;
}

static void assert_same_mask(const struct ffb_tensor *mask, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if (bit_of(after(mask, ORACLE), i) != bit_of(after(mask, SUBJECT), i))
      fail_msg("bit %lld of a mask differs", (long long)i);
  }
}

/* The form of a normalisation: which activation, and bits. */
enum { IN_PLACE = 1, SHORTCUT = 2, MASK = 4, FORMS = 8 };

static void check_normalised(const struct normalised *n, enum ffb_activation kind, const char *what) {
  for (int64_t i = 0; i < ffb_elements(n->batch.x); i++) {
    int64_t c = i % n->batch.channels;
    double z = ((double)f32(n->batch.x)[i] - (double)f32(n->batch.mean)[c]) * (double)f32(n->batch.inverse)[c];
    z = z * (double)f32(n->gamma)[c] + (double)f32(n->beta)[c];
    z += n->shortcut ? (double)f32(n->shortcut)[i] : 0;
    assert_near((double)f32_after(n->y)[i], activated(kind, z), 1e-5, what, i);
    if (n->mask && fabs(z) > 1e-5 && fabs(z - 6) > 1e-5)
      assert_int_equal(bit_of(after(n->mask, SUBJECT), i), z > 0 && (kind == FFB_ACTIVATION_RELU || z < 6));
  }
}

static void batches_are_normalised(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < BATCHES; s++) {
    for (int form = 0; form < FORMS * ACTIVATIONS; form++) {
      enum ffb_activation kind = activations[form / FORMS];
      if (form & MASK && !stops_at_zero(kind))
        continue;
      struct normalised n = make_normalised(scene, batches[s]);
      int64_t elements = ffb_elements(n.batch.x);
      n.y = form & IN_PLACE ? n.batch.x : like(scene, FFB_F32, n.batch.x);
      n.shortcut = form & SHORTCUT ? noise_like(scene, n.batch.x, 14) : NULL;
      n.mask = form & MASK ? operand(scene, FFB_U8, (elements + 7) / 8, 1) : NULL;
      union ffb_arguments arguments = normalise_arguments(&n, kind);
      struct ffb_error error = {0};
      if (!ffb_operands_check(FFB_BATCH_NORMALISE, &arguments, &error))
        fail_msg("%s", error.message);
      run_both(scene, FFB_BATCH_NORMALISE, &arguments);
      assert_same(n.y, activation_names[form / FORMS]);
      if (n.mask)
        assert_same_mask(n.mask, elements);
      check_normalised(&n, kind, activation_names[form / FORMS]);
      scene_clear(scene);
    }
  }
}

static void normalisation_passes_a_nan_on(void **state) {
  struct scene *scene = *state;
  for (int k = 0; k < ACTIVATIONS; k++) {
    struct normalised n = make_normalised(scene, batches[1]);
    n.y = like(scene, FFB_F32, n.batch.x);
    f32(n.batch.x)[77] = NAN;
    f32(n.batch.mean)[7] = NAN;
    f32(n.gamma)[11] = INFINITY;
    union ffb_arguments arguments = normalise_arguments(&n, activations[k]);
    run_both(scene, FFB_BATCH_NORMALISE, &arguments);
    assert_same(n.y, activation_names[k]);
    assert_true(isnan(f32_after(n.y)[77]) && isnan(f32_after(n.y)[7]));
    scene_clear(scene);
  }
}

/* gy * the activation's derivative is the same whether its output, or its mask, or what it took tells where it passed.
 */
static void masks_are_those_of_the_activation(void **state) {
  struct scene *scene = *state;
  for (int k = 0; k < ACTIVATIONS; k++) {
    if (!stops_at_zero(activations[k]))
      continue;
    struct normalised n = make_normalised(scene, batches[3]);
    int64_t elements = ffb_elements(n.batch.x);
    n.y = like(scene, FFB_F32, n.batch.x);
    n.mask = operand(scene, FFB_U8, (elements + 7) / 8, 1);
    struct ffb_tensor *gy = noise_like(scene, n.batch.x, 15), *by_mask = like(scene, FFB_F32, gy);
    struct ffb_tensor *by_output = like(scene, FFB_F32, gy);
    union ffb_arguments arguments = normalise_arguments(&n, activations[k]);
    side_begin(scene, SUBJECT);
    call_operator(scene, FFB_BATCH_NORMALISE, &arguments);
    CALL(scene, MASK_GRADIENT, mask_gradient, .gx = by_mask, .gy = gy, .mask = n.mask);
    CALL(scene, ACTIVATE_GRADIENT, activate_gradient, .gx = by_output, .gy = gy, .v = n.y, .kind = activations[k]);
    side_end(scene);
    for (int64_t i = 0; i < elements; i++)
      assert_true(f32_after(by_mask)[i] == f32_after(by_output)[i]);
    scene_clear(scene);
  }
}

/* From PyTorch: BatchNorm2d(2, eps=1e-3, momentum=0.2) in double, then ReLU, and their backward. N, H, W, C; x[i] =
 * (7 i mod 11 - 5) / 4, gy[i] = 3 i mod 7 - 3. */
static void normalisation_matches_pytorch(void **state) {
  struct scene *scene = *state;
  enum { ELEMENTS = 24 };
  static const double y[ELEMENTS] = {0.0,
                                     0.5536142991485595,
                                     0.0,
                                     0.0,
                                     0.8880377734567151,
                                     1.7710298469252153,
                                     2.239176587835641,
                                     1.0405805182592218,
                                     0.0,
                                     0.3101311895932283,
                                     0.0,
                                     2.2579960660358775,
                                     1.3384173782496904,
                                     1.5275467373698841,
                                     2.6895561926286167,
                                     0.7970974087038907,
                                     0.0,
                                     0.06664808003789713,
                                     0.43765816866373974,
                                     2.0145129564805466,
                                     1.7887969830426658,
                                     1.284063627814553,
                                     0.0,
                                     0.5536142991485595};
  static const double gx[ELEMENTS] = {
      -0.7445971763608779,   0.09381886592510733,  -0.3554891201522252, 0.5129585842265533,  3.636655774400231,
      1.3431175451986799,    2.2242454114369816,   2.736189701721451,   -0.6148944909579936, -2.688265209305051,
      -0.22578643474934093,  -2.832038686554249,   -3.4397152168844913, -1.438966530031479,  -4.85212557984774,
      -0.045894373508707995, -0.48519180555510943, 1.3471777830140628,  3.5069530889973466,  1.2034043057648645,
      2.0945427260340974,    2.5964764622876357,   -0.7445971763608779, -2.8279784487388664};
  static const double known[][2] = {{-0.10416666666666667, 0.041666666666666664}, /* mean */
                                    {1.2010122794479345, 1.2985765842950996},     /* inverse */
                                    {0.3791666666666667, -0.7916666666666667},    /* running mean */
                                    {1.7510416666666668, 0.3291666666666667},     /* running variance */
                                    {-2.877425252844009, 5.302521052538323},      /* ggamma */
                                    {1.0, -2.0}};                                 /* gbeta */
  struct normalised n = {.batch = make_batch(scene, (int64_t[]){3, 2, 2, 2}, true)};
  n.gamma = operand(scene, FFB_F32, 2, 1);
  n.beta = operand(scene, FFB_F32, 2, 1);
  n.ggamma = operand(scene, FFB_F32, 2, 1);
  n.gbeta = operand(scene, FFB_F32, 2, 1);
  n.y = like(scene, FFB_F32, n.batch.x);
  n.gy = like(scene, FFB_F32, n.batch.x);
  n.gx = like(scene, FFB_F32, n.batch.x);
  for (int i = 0; i < ELEMENTS; i++) {
    f32(n.batch.x)[i] = (float)(i * 7 % 11 - 5) / 4;
    f32(n.gy)[i] = (float)(i * 3 % 7 - 3);
  }
  memcpy(f32(n.batch.running_mean), (float[]){0.5f, -1}, 2 * sizeof(float));
  memcpy(f32(n.batch.running_variance), (float[]){2, 0.25f}, 2 * sizeof(float));
  memcpy(f32(n.gamma), (float[]){1.5f, -0.75f}, 2 * sizeof(float));
  memcpy(f32(n.beta), (float[]){0.25f, 1}, 2 * sizeof(float));
  union ffb_arguments forward = normalise_arguments(&n, FFB_ACTIVATION_RELU);
  side_begin(scene, SUBJECT);
  CALL(scene, BATCH_STATISTICS, batch_statistics, .mean = n.batch.mean, .inverse = n.batch.inverse, .x = n.batch.x,
       .running_mean = n.batch.running_mean, .running_variance = n.batch.running_variance, .momentum = 0.2f,
       .epsilon = 1e-3f);
  call_operator(scene, FFB_BATCH_NORMALISE, &forward);
  CALL(scene, BATCH_NORMALISE_GRADIENT, batch_normalise_gradient, .gx = n.gx, .ggamma = n.ggamma, .gbeta = n.gbeta,
       .gy = n.gy, .x = n.batch.x, .mean = n.batch.mean, .inverse = n.batch.inverse, .gamma = n.gamma, .beta = n.beta,
       .activation = FFB_ACTIVATION_RELU);
  side_end(scene);
  const struct ffb_tensor *by_channel[] = {
      n.batch.mean, n.batch.inverse, n.batch.running_mean, n.batch.running_variance, n.ggamma, n.gbeta};
  for (int i = 0; i < 12; i++)
    assert_near((double)f32_after(by_channel[i / 2])[i % 2], known[i / 2][i % 2], 2e-6, "batch norm by channel", i);
  for (int i = 0; i < ELEMENTS; i++) {
    assert_near((double)f32_after(n.y)[i], y[i], 1e-6, "batch norm", i);
    assert_near((double)f32_after(n.gx)[i], gx[i], 5e-6, "batch norm gradient", i);
  }
}

/* ---- its gradient --------------------------------------------------------------------------------------------- */

static void add_gradient_operands(struct scene *scene, struct normalised *n) {
  n->gy = noise_like(scene, n->batch.x, 16);
  n->ggamma = operand(scene, FFB_F32, n->batch.channels, 1);
  n->gbeta = operand(scene, FFB_F32, n->batch.channels, 1);
}

static struct ffb_batch_normalise_gradient gradient_of(const struct normalised *n, enum ffb_activation activation) {
  return (struct ffb_batch_normalise_gradient){.gx = n->gx,
                                               .ggamma = n->ggamma,
                                               .gbeta = n->gbeta,
                                               .gy = n->gy,
                                               .x = n->batch.x,
                                               .mean = n->batch.mean,
                                               .inverse = n->batch.inverse,
                                               .gamma = n->gamma,
                                               .beta = n->beta,
                                               .activation = activation};
}

static void normalisation_gradients_give_the_same_bits(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < BATCHES; s++) {
    for (int form = 0; form < 3 * ACTIVATIONS; form++) { /* gx apart, on gy, on x */
      struct normalised n = make_normalised(scene, batches[s]);
      add_gradient_operands(scene, &n);
      n.gx = form % 3 == 0 ? like(scene, FFB_F32, n.batch.x) : form % 3 == 1 ? n.gy : n.batch.x;
      if (s % 4 == 1)
        f32(n.batch.x)[ffb_elements(n.batch.x) / 2] = NAN;
      if (s % 4 == 2)
        f32(n.gy)[ffb_elements(n.batch.x) - 1] = INFINITY;
      union ffb_arguments arguments = {.batch_normalise_gradient = gradient_of(&n, activations[form / 3])};
      struct ffb_error error = {0};
      if (!ffb_operands_check(FFB_BATCH_NORMALISE_GRADIENT, &arguments, &error))
        fail_msg("%s", error.message);
      run_both(scene, FFB_BATCH_NORMALISE_GRADIENT, &arguments);
      assert_same(n.gx, activation_names[form / 3]);
      assert_same(n.ggamma, activation_names[form / 3]);
      assert_same(n.gbeta, activation_names[form / 3]);
      scene_clear(scene);
    }
  }
}

/* One channel: sum(gy * activation(batch norm of x)) in double. */
static double channel_loss(const double *x, const double *gy, int64_t pixels, double gamma, double beta,
                           enum ffb_activation kind) {
  double mean = 0, variance = 0, loss = 0;
  for (int64_t p = 0; p < pixels; p++)
    mean += x[p] / (double)pixels;
  for (int64_t p = 0; p < pixels; p++)
    variance += (x[p] - mean) * (x[p] - mean) / (double)pixels;
  for (int64_t p = 0; p < pixels; p++)
    loss += gy[p] * activated(kind, (x[p] - mean) / sqrt(variance + 1e-5) * gamma + beta);
  return loss;
}

static void check_channel_gradient(const struct normalised *n, int64_t c, enum ffb_activation kind, const char *what) {
  enum { MOST = 65 };
  int64_t pixels = n->batch.pixels, channels = n->batch.channels;
  double x[MOST], gy[MOST], gamma = (double)f32(n->gamma)[c], beta = (double)f32(n->beta)[c], step = 1e-6;
  assert_true(pixels <= MOST);
  for (int64_t p = 0; p < pixels; p++) {
    x[p] = (double)f32(n->batch.x)[p * channels + c];
    gy[p] = (double)f32(n->gy)[p * channels + c];
  }
  double ggamma =
      channel_loss(x, gy, pixels, gamma + step, beta, kind) - channel_loss(x, gy, pixels, gamma - step, beta, kind);
  double gbeta =
      channel_loss(x, gy, pixels, gamma, beta + step, kind) - channel_loss(x, gy, pixels, gamma, beta - step, kind);
  assert_near((double)f32_after(n->ggamma)[c], ggamma / (2 * step), 5e-5, what, c);
  assert_near((double)f32_after(n->gbeta)[c], gbeta / (2 * step), 5e-5, what, c);
  for (int64_t p = 0; p < pixels; p++) {
    double keep = x[p], loss[2];
    for (int sign = 0; sign < 2; sign++) {
      x[p] = keep + (sign ? step : -step);
      loss[sign] = channel_loss(x, gy, pixels, gamma, beta, kind);
    }
    x[p] = keep;
    assert_near((double)f32_after(n->gx)[p * channels + c], (loss[1] - loss[0]) / (2 * step), 5e-5, what, p);
  }
}

static void normalisation_gradients_match_differences(void **state) {
  struct scene *scene = *state;
  static const int64_t small[][4] = {{3, 2, 4, 17}, {1, 13, 5, 10}, {5, 1, 1, 3}, {20, 6, 1, 1}};
  for (size_t s = 0; s < sizeof small / sizeof *small; s++) {
    for (int k = 0; k < ACTIVATIONS; k++) {
      struct normalised n = make_normalised(scene, small[s]);
      add_gradient_operands(scene, &n);
      n.gx = like(scene, FFB_F32, n.batch.x);
      union ffb_arguments arguments = {.batch_normalise_gradient = gradient_of(&n, activations[k])};
      run_side(scene, SUBJECT, FFB_BATCH_NORMALISE_GRADIENT, &arguments);
      for (int64_t c = 0; c < n.batch.channels; c++)
        check_channel_gradient(&n, c, activations[k], activation_names[k]);
      scene_clear(scene);
    }
  }
}

/* ---- normalised and quantised in one -------------------------------------------------------------------------- */

/* Every way to set a scale, and to round. */
struct quantiser {
  struct ffb_suq_scale scale;
  struct ffb_suq_quantise quantise;
};
enum { QUANTISERS = 10 };

static struct quantiser make_quantiser(struct scene *scene, int form, const struct ffb_tensor *x) {
  struct ffb_tensor *scale = operand(scene, FFB_F32, 1, 1), *running = scalar_f32(scene, 2.5f);
  bool draws = form % 2;
  struct quantiser q = {.scale = {.scale = scale},
                        .quantise = {.q = like(scene, FFB_S8, x),
                                     .scale = scale,
                                     .step = draws ? scalar_u32(scene, 321) : NULL,
                                     .rounding = draws ? FFB_ROUND_STOCHASTIC : FFB_ROUND_NEAREST,
                                     .purpose = FFB_PURPOSE_TENSOR + 17,
                                     .seed = 18}};
  switch (form / 2) {
  case 1:
    q.scale.ratio = scalar_f32(scene, 0.6f);
    break;
  case 2:
    q.scale.running = running;
    break;
  case 3:
    q.scale.running = running;
    q.scale.range = FFB_RANGE_RUNNING;
    break;
  case 4:
    q.scale.range = FFB_RANGE_FIXED;
    q.scale.fixed = 6;
    break;
  default:
    break;
  }
  return q;
}

static void call_quantiser(struct scene *scene, const struct quantiser *q, struct ffb_tensor *x) {
  union ffb_arguments scale = {.suq_scale = q->scale}, quantise = {.suq_quantise = q->quantise};
  scale.suq_scale.x = q->scale.range == FFB_RANGE_ABSMAX ? x : NULL;
  quantise.suq_quantise.x = x;
  call_operator(scene, FFB_SUQ_SCALE, &scale);
  call_operator(scene, FFB_SUQ_QUANTISE, &quantise);
}

static void assert_same_quantised(const struct quantiser *q, const char *what) {
  assert_same(q->scale.scale, what);
  assert_same(q->quantise.q, what);
  if (q->scale.running)
    assert_same(q->scale.running, what);
}

static void compare_normalise_s8(struct scene *scene, const struct normalised *n, const struct quantiser *q,
                                 enum ffb_activation kind) {
  union ffb_arguments composed = normalise_arguments(n, kind);
  union ffb_arguments fused = {.batch_normalise_s8 = {.normalise = composed.batch_normalise,
                                                      .extremes = n->batch.extremes,
                                                      .scale = q->scale,
                                                      .quantise = q->quantise}};
  fused.batch_normalise_s8.normalise.y = NULL;
  struct ffb_error error = {0};
  if (!ffb_operands_check(FFB_BATCH_NORMALISE_S8, &fused, &error))
    fail_msg("%s", error.message);
  side_begin(scene, ORACLE);
  call_operator(scene, FFB_BATCH_NORMALISE, &composed);
  call_quantiser(scene, q, n->y);
  side_end(scene);
  run_side(scene, SUBJECT, FFB_BATCH_NORMALISE_S8, &fused);
  assert_same_quantised(q, "batch_normalise_s8");
  if (n->mask)
    assert_same_mask(n->mask, ffb_elements(n->y));
}

/* As BATCH_STATISTICS leaves them. With `close` all channels nearly reach the same largest value. */
static void give_extremes(struct scene *scene, struct normalised *n, bool close) {
  struct batch *b = &n->batch;
  b->extremes = operand(scene, FFB_F32, 2, b->channels);
  for (int64_t c = 0; c < b->channels; c++) {
    float *x = f32(b->x) + c, slope = f32(b->inverse)[c] * f32(n->gamma)[c];
    for (int64_t p = 0; close && p < b->pixels; p += 7)
      x[p * b->channels] = f32(b->mean)[c] + (4 + 1e-6f * (float)(p % 5) - f32(n->beta)[c]) / slope;
    channel_extremes(b, c, f32(b->extremes) + c, f32(b->extremes) + b->channels + c);
  }
}

static void batch_normalise_s8_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_BATCH_NORMALISE_S8);
  for (int s = 0; s < BATCHES; s++) {
    for (int form = 0; form < QUANTISERS * ACTIVATIONS; form++) {
      enum ffb_activation kind = activations[form / QUANTISERS];
      struct normalised n = make_normalised(scene, batches[s]);
      struct quantiser q = make_quantiser(scene, form % QUANTISERS, n.batch.x);
      n.y = like(scene, FFB_F32, n.batch.x);
      n.shortcut = (form + s) % 3 == 0 ? noise_like(scene, n.batch.x, 19) : NULL;
      if (stops_at_zero(kind) && form % 4 < 2)
        n.mask = operand(scene, FFB_U8, (ffb_elements(n.y) + 7) / 8, 1);
      bool odd = (form + s) % 11 == 10;
      if (odd)
        f32(n.batch.x)[ffb_elements(n.y) / 2] = form % 4 < 2 ? NAN : INFINITY;
      if (!odd && (form + s) % 2)
        give_extremes(scene, &n, (form + s) % 4 == 1);
      compare_normalise_s8(scene, &n, &q, kind);
      scene_clear(scene);
    }
  }
}

static void batch_normalise_gradient_s8_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_BATCH_NORMALISE_GRADIENT_S8);
  for (int s = 0; s < BATCHES; s++) {
    for (int form = 0; form < QUANTISERS * ACTIVATIONS; form++) {
      struct normalised n = make_normalised(scene, batches[s]);
      struct quantiser q = make_quantiser(scene, form % QUANTISERS, n.batch.x);
      add_gradient_operands(scene, &n);
      int place = (form + s) % 3;
      n.gx = place == 0 ? like(scene, FFB_F32, n.batch.x) : place == 1 ? n.gy : n.batch.x;
      if ((form + s) % 11 == 10)
        f32(n.batch.x)[ffb_elements(n.gx) / 2] = form % 4 < 2 ? NAN : INFINITY;
      struct ffb_batch_normalise_gradient gradient = gradient_of(&n, activations[form / QUANTISERS]);
      union ffb_arguments composed = {.batch_normalise_gradient = gradient};
      union ffb_arguments fused = {
          .batch_normalise_gradient_s8 = {.gradient = gradient, .scale = q.scale, .quantise = q.quantise}};
      struct ffb_error error = {0};
      if (!ffb_operands_check(FFB_BATCH_NORMALISE_GRADIENT_S8, &fused, &error))
        fail_msg("%s", error.message);
      side_begin(scene, ORACLE);
      call_operator(scene, FFB_BATCH_NORMALISE_GRADIENT, &composed);
      call_quantiser(scene, &q, n.gx);
      side_end(scene);
      run_side(scene, SUBJECT, FFB_BATCH_NORMALISE_GRADIENT_S8, &fused);
      assert_same_quantised(&q, "batch_normalise_gradient_s8");
      assert_same(n.ggamma, "batch_normalise_gradient_s8 ggamma");
      assert_same(n.gbeta, "batch_normalise_gradient_s8 gbeta");
      scene_clear(scene);
    }
  }
}

/* Images of one pixel, of fours and of others, whose channels fill vectors or do not, in one batch or many blocks. */
static const int64_t goodness_shapes[][4] = {{3, 1, 1, 40},  {9, 2, 2, 16},  {5, 4, 4, 24},  {33, 2, 6, 10},
                                             {7, 3, 3, 20},  {2, 16, 8, 17}, {70, 2, 2, 13}, {4, 8, 8, 96},
                                             {1, 4, 1, 130}, {6, 5, 4, 32},  {3, 32, 32, 11}};

static void compare_goodness_gradient(struct scene *scene, const struct normalised *n, const struct quantiser *q,
                                      int groups, bool mean, enum ffb_activation kind) {
  struct ffb_batch_normalise_gradient gradient = gradient_of(n, kind);
  struct ffb_tensor *goodness = random_f32(scene, n->batch.x->shape[0], groups, 22);
  struct ffb_tensor *gy = like(scene, FFB_F32, n->batch.x);
  union ffb_arguments fused = {.batch_normalise_goodness_gradient_s8 = {
                                   .normalise = {.gradient = gradient, .scale = q->scale, .quantise = q->quantise},
                                   .goodness = goodness,
                                   .groups = groups,
                                   .mean = mean}};
  struct ffb_error error = {0};
  if (!ffb_operands_check(FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8, &fused, &error))
    fail_msg("%s", error.message);
  union ffb_arguments composed = {.batch_normalise_gradient = gradient};
  composed.batch_normalise_gradient.gy = gy;
  side_begin(scene, ORACLE);
  CALL(scene, GOODNESS_GRADIENT, goodness_gradient, .gy = gy, .gradient = goodness, .y = n->gy, .groups = groups,
       .mean = mean);
  call_operator(scene, FFB_BATCH_NORMALISE_GRADIENT, &composed);
  call_quantiser(scene, q, n->gx);
  side_end(scene);
  run_side(scene, SUBJECT, FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8, &fused);
  assert_same_quantised(q, "batch_normalise_goodness_gradient_s8");
  assert_same(n->ggamma, "batch_normalise_goodness_gradient_s8 ggamma");
  assert_same(n->gbeta, "batch_normalise_goodness_gradient_s8 gbeta");
}

static void batch_normalise_goodness_gradient_s8_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8);
  for (size_t s = 0; s < sizeof goodness_shapes / sizeof *goodness_shapes; s++) {
    for (size_t form = 0; form < QUANTISERS * ACTIVATIONS; form++) {
      struct normalised n = make_normalised(scene, goodness_shapes[s]);
      struct quantiser q = make_quantiser(scene, (int)form % QUANTISERS, n.batch.x);
      add_gradient_operands(scene, &n);
      size_t place = (form + s) % 3;
      n.gx = place == 0 ? like(scene, FFB_F32, n.batch.x) : place == 1 ? n.gy : n.batch.x;
      if ((form + s) % 11 == 10)
        f32(n.batch.x)[ffb_elements(n.gx) / 2] = form % 4 < 2 ? NAN : INFINITY;
      compare_goodness_gradient(scene, &n, &q, form % 2 ? 10 : 1 + (int)s % 3, form % 3 == 0,
                                activations[form / QUANTISERS]);
      scene_clear(scene);
    }
  }
}

/* The INT8 values lie over x's first bytes, as SUQ_SCALE and SUQ_QUANTISE would have given them elsewhere. */
static void quantising_in_place_changes_no_value(void **state) {
  struct scene *scene = *state;
  static const int64_t more[] = {1 << 14, 100003};
  need_slot(FFB_SUQ_IN_PLACE);
  for (int l = 0; l < LENGTHS + 2; l++) {
    for (int form = 0; form < QUANTISERS; form++) {
      int64_t n = l < LENGTHS ? lengths[l] : more[l - LENGTHS];
      struct ffb_tensor *x = random_f32(scene, n, 1, 20);
      struct quantiser q = make_quantiser(scene, form, x);
      struct ffb_tensor over = *x;
      over.type = FFB_S8;
      side_begin(scene, ORACLE);
      call_quantiser(scene, &q, x);
      side_end(scene);
      union ffb_arguments arguments = {.suq_in_place = {.scale = q.scale, .quantise = q.quantise}};
      arguments.suq_in_place.scale.x = q.scale.range == FFB_RANGE_ABSMAX ? x : NULL;
      arguments.suq_in_place.quantise.x = x;
      arguments.suq_in_place.quantise.q = &over;
      struct ffb_error error = {0};
      side_begin(scene, SUBJECT);
      over.data = x->data;
      if (!ffb_operands_check(FFB_SUQ_IN_PLACE, &arguments, &error))
        fail_msg("%s", error.message);
      call_operator(scene, FFB_SUQ_IN_PLACE, &arguments);
      side_end(scene);
      assert_same(q.scale.scale, "suq_in_place scale");
      if (q.scale.running)
        assert_same(q.scale.running, "suq_in_place running");
      assert_memory_equal(after(x, SUBJECT), after(q.quantise.q, ORACLE), (size_t)n);
      scene_clear(scene);
    }
  }
}

/* Rows in groups of channels; some share vectors and pieces with their neighbours. */
static const int64_t grouped[][5] = {{32, 784, 1, 1, 1},  {7, 1000, 1, 1, 10}, {1, 4097, 1, 1, 3}, {33, 31, 1, 1, 10},
                                     {3, 4, 5, 16, 1},    {32, 4, 4, 16, 10},  {4, 3, 5, 33, 10},  {3, 1, 1, 40, 10},
                                     {2, 7, 7, 1280, 10}, {2, 9, 3, 25, 2},    {3, 5000, 1, 1, 1}};

static void compare_rows_s8(struct scene *scene, const struct ffb_normalise *normalise, const struct quantiser *q) {
  union ffb_arguments composed = {.normalise = *normalise};
  union ffb_arguments fused = {.normalise_s8 = {.normalise = *normalise, .scale = q->scale, .quantise = q->quantise}};
  fused.normalise_s8.normalise.y = NULL;
  struct ffb_error error = {0};
  if (!ffb_operands_check(FFB_NORMALISE_S8, &fused, &error))
    fail_msg("%s", error.message);
  side_begin(scene, ORACLE);
  call_operator(scene, FFB_NORMALISE, &composed);
  call_quantiser(scene, q, normalise->y);
  side_end(scene);
  run_side(scene, SUBJECT, FFB_NORMALISE_S8, &fused);
  assert_same_quantised(q, "normalise_s8");
  if (normalise->inverse)
    assert_same(normalise->inverse, "inverse");
}

static void rows_normalised_s8_are_their_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_NORMALISE_S8);
  for (size_t s = 0; s < sizeof grouped / sizeof *grouped; s++) {
    for (int form = 0; form < 2 * QUANTISERS; form++) {
      const int64_t *d = grouped[s];
      struct ffb_tensor *x = random_image(scene, d[0], d[1], d[2], d[3], 41);
      struct quantiser q = make_quantiser(scene, form % QUANTISERS, x);
      struct ffb_normalise normalise = {.y = like(scene, FFB_F32, x),
                                        .x = x,
                                        .kind = form % 3 ? FFB_NORMALISE_RMS : FFB_NORMALISE_L2,
                                        .groups = (int)d[4]};
      normalise.mean = normalise.kind == FFB_NORMALISE_RMS && form % 4 < 2;
      normalise.inverse = form < QUANTISERS ? NULL : operand(scene, FFB_F32, d[0], d[4]);
      if (normalise.mean || form % 5 == 0) {
        normalise.goodness = operand(scene, FFB_F32, d[0], d[4]);
        for (int64_t i = 0; i < d[0] * d[4]; i++)
          f32(normalise.goodness)[i] = 0.1f + (float)(i % 13);
      }
      if (form % 7 == 6)
        f32(x)[ffb_elements(x) / 2] = form % 2 ? NAN : INFINITY;
      compare_rows_s8(scene, &normalise, &q);
      scene_clear(scene);
    }
  }
}

/* ---- normalised and pooled in one ----------------------------------------------------------------------------- */

/* Images whose pixels fill whole blocks, and images that share blocks with others; enough of them for two threads. */
static const struct pooled_shape {
  int64_t m, h, w, c;
  struct ffb_window window;
} pooled_shapes[] = {{3, 8, 8, 16, {3, 2, 1}},  {2, 9, 7, 33, {3, 2, 1}},   {19, 16, 16, 64, {3, 2, 1}},
                     {40, 7, 9, 10, {2, 2, 0}}, {17, 6, 4, 48, {3, 1, 1}},  {5, 5, 6, 8, {1, 2, 0}},
                     {70, 3, 5, 24, {5, 2, 2}}, {2, 17, 16, 5, {11, 1, 5}}, {1, 1, 1, 3, {3, 2, 1}}};
enum { POOLED_SHAPES = sizeof pooled_shapes / sizeof *pooled_shapes };

struct pooled {
  struct normalised n;
  struct ffb_window window;
  struct ffb_tensor *y, *argmax, *gy, *gathered, *goodness;
};

static struct pooled make_pooled(struct scene *scene, const struct pooled_shape *s) {
  struct pooled p = {.n = make_normalised(scene, (int64_t[]){s->m, s->h, s->w, s->c}), .window = s->window};
  int64_t rows = (s->h + 2 * s->window.padding - s->window.kernel) / s->window.stride + 1;
  int64_t columns = (s->w + 2 * s->window.padding - s->window.kernel) / s->window.stride + 1;
  p.n.y = like(scene, FFB_F32, p.n.batch.x);
  p.y = image_operand(scene, FFB_F32, s->m, rows, columns, s->c);
  p.argmax = image_operand(scene, FFB_U8, s->m, rows, columns, s->c);
  return p;
}

/* Values that are often equal, so that windows have several largest ones. */
static void make_ties(const struct pooled *p, bool odd) {
  float *x = f32(p->n.batch.x);
  for (int64_t i = 0; i < ffb_elements(p->n.batch.x); i++)
    x[i] = floorf(2 * x[i]) / 2;
  if (odd)
    x[ffb_elements(p->n.batch.x) / 3] = NAN;
}

static void normalised_pooling_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_BATCH_NORMALISE_POOL);
  for (int s = 0; s < POOLED_SHAPES; s++) {
    for (int k = 0; k < ACTIVATIONS; k++) {
      struct pooled p = make_pooled(scene, &pooled_shapes[s]);
      if ((s + k) % 2)
        make_ties(&p, k == 1);
      union ffb_arguments composed = normalise_arguments(&p.n, activations[k]);
      union ffb_arguments fused = {
          .batch_normalise_pool = {.y = p.y, .normalise = composed.batch_normalise, .window = p.window}};
      fused.batch_normalise_pool.normalise.y = NULL;
      struct ffb_error error = {0};
      if (!ffb_operands_check(FFB_BATCH_NORMALISE_POOL, &fused, &error))
        fail_msg("%s", error.message);
      side_begin(scene, ORACLE);
      call_operator(scene, FFB_BATCH_NORMALISE, &composed);
      CALL(scene, MAX_POOL, max_pool, .y = p.y, .x = p.n.y, .window = p.window);
      side_end(scene);
      run_side(scene, SUBJECT, FFB_BATCH_NORMALISE_POOL, &fused);
      assert_same(p.y, activation_names[k]);
      scene_clear(scene);
    }
  }
}

/* From the pooled map's gradient, and from its goodness in one group or several. */
static void compose_pool_gradient(struct scene *scene, const struct pooled *p,
                                  const struct ffb_batch_normalise_pool_gradient *fused) {
  union ffb_arguments normalise = normalise_arguments(&p->n, fused->gradient.activation);
  union ffb_arguments gradient = {.batch_normalise_gradient = fused->gradient};
  gradient.batch_normalise_gradient.gy = p->gathered;
  side_begin(scene, ORACLE);
  call_operator(scene, FFB_BATCH_NORMALISE, &normalise);
  CALL(scene, MAX_POOL, max_pool, .y = p->y, .argmax = p->argmax, .x = p->n.y, .window = p->window);
  if (fused->goodness)
    CALL(scene, GOODNESS_GRADIENT, goodness_gradient, .gy = p->gy, .gradient = fused->goodness, .y = p->y,
         .groups = fused->groups, .mean = fused->mean);
  CALL(scene, MAX_POOL_GRADIENT, max_pool_gradient, .gx = p->gathered, .gy = p->gy, .argmax = p->argmax,
       .window = p->window);
  call_operator(scene, FFB_BATCH_NORMALISE_GRADIENT, &gradient);
  side_end(scene);
}

static void normalised_pooling_gradient_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_BATCH_NORMALISE_POOL_GRADIENT);
  for (int s = 0; s < POOLED_SHAPES; s++) {
    for (int form = 0; form < 8 * ACTIVATIONS; form++) {
      int k = form / 8, groups = form & 2 ? (int)pooled_shapes[s].c / 3 : 1;
      struct pooled p = make_pooled(scene, &pooled_shapes[s]);
      p.gy = noise_like(scene, p.y, 21);
      p.gathered = like(scene, FFB_F32, p.n.batch.x);
      p.n.ggamma = operand(scene, FFB_F32, p.n.batch.channels, 1);
      p.n.gbeta = operand(scene, FFB_F32, p.n.batch.channels, 1);
      p.n.gx = (form + s) % 2 ? p.n.batch.x : like(scene, FFB_F32, p.n.batch.x);
      if ((s + form) % 3 == 0)
        make_ties(&p, form % 8 == 5);
      union ffb_arguments fused = {.batch_normalise_pool_gradient = {.gradient = gradient_of(&p.n, activations[k]),
                                                                     .gy = form & 4 ? NULL : p.gy,
                                                                     .groups = groups,
                                                                     .mean = form & 1,
                                                                     .window = p.window}};
      fused.batch_normalise_pool_gradient.gradient.gy = NULL;
      if (form & 4)
        fused.batch_normalise_pool_gradient.goodness = random_f32(scene, pooled_shapes[s].m, groups, 22);
      struct ffb_error error = {0};
      if (!ffb_operands_check(FFB_BATCH_NORMALISE_POOL_GRADIENT, &fused, &error))
        fail_msg("%s", error.message);
      compose_pool_gradient(scene, &p, &fused.batch_normalise_pool_gradient);
      run_side(scene, SUBJECT, FFB_BATCH_NORMALISE_POOL_GRADIENT, &fused);
      assert_same(p.n.gx, activation_names[k]);
      assert_same(p.n.ggamma, activation_names[k]);
      assert_same(p.n.gbeta, activation_names[k]);
      scene_clear(scene);
    }
  }
}

/* A view may start at any element of another tensor. */
static void operands_need_no_alignment(void **state) {
  struct scene *scene = *state;
  scene->misaligned = true;
  activations_give_the_same_bits(state);
  activation_gradients_match_differences(state);
  masks_stop_gradients(state);
  dropout_keeps_by_its_draw(state);
  statistics_are_those_of_the_batch(state);
  batches_are_normalised(state);
  normalisation_gradients_give_the_same_bits(state);
  if (subject->operators[FFB_BATCH_NORMALISE_POOL] && subject->operators[FFB_BATCH_NORMALISE_POOL_GRADIENT]) {
    normalised_pooling_is_its_composition(state);
    normalised_pooling_gradient_is_its_composition(state);
  }
}

static int run_cases(const char *title) {
  const struct CMUnitTest cases[] = {
      CASE(exponential_is_accurate),
      CASE(exponential_has_edges),
      CASE(activations_give_the_same_bits),
      CASE(activation_gradients_match_differences),
      CASE(activation_gradients_of_odd_values),
      CASE(masks_stop_gradients),
      CASE(dropout_keeps_by_its_draw),
      CASE(statistics_are_those_of_the_batch),
      CASE(statistics_of_evaluation_are_the_running_ones),
      CASE(statistics_of_odd_channels),
      CASE(batches_are_normalised),
      CASE(normalisation_passes_a_nan_on),
      CASE(masks_are_those_of_the_activation),
      CASE(normalisation_matches_pytorch),
      CASE(normalisation_gradients_give_the_same_bits),
      CASE(normalisation_gradients_match_differences),
      CASE(batch_normalise_s8_is_its_composition),
      CASE(rows_normalised_s8_are_their_composition),
      CASE(batch_normalise_gradient_s8_is_its_composition),
      CASE(batch_normalise_goodness_gradient_s8_is_its_composition),
      CASE(quantising_in_place_changes_no_value),
      CASE(normalised_pooling_is_its_composition),
      CASE(normalised_pooling_gradient_is_its_composition),
      CASE(operands_need_no_alignment),
  };
  return cmocka_run_group_tests_name(title, cases, NULL, NULL);
}

int main(int count, char **names) {
  return test_every_backend(count, names, (int[]){1, 2}, 2, run_cases);
}
