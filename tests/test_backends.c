/* The conformance program of all backends: test_backends [name...] runs the same cases on each backend that is built in
 * (or named), against the reference backend and against facts that need no backend.
 *
 * Integers, quantisation, elementwise operators and row sums have to give the reference's bits. FP32 products may sum
 * in any order: an element may be off by (4 + 2 sqrt(K)) 2^-24 sum|a||b|. Losses hold to 1e-6 of a long double result.
 */
#include "tests/backend_cases.h"

#include "backends/backend.h"
#include "base/random.h"

#include <float.h>
#include <limits.h>
#include <stdio.h>

/* ---- fill, copy, images, labels ------------------------------------------------------------------------------- */

static void fill_converts_to_every_type(void **state) {
  struct scene *scene = *state;
  static const enum ffb_type types[] = {FFB_F32, FFB_F64, FFB_S32, FFB_U32, FFB_S8, FFB_U8};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    struct ffb_tensor *out = operand(scene, types[t], 33, 7);
    RUN_BOTH(scene, FILL, fill, .out = out, .value = 3);
    assert_same(out, "fill");
    struct ffb_tensor *same = operand(scene, types[t], 33, 7);
    memcpy(operand_of(same)->before, after(out, SUBJECT), operand_of(out)->bytes);
    struct ffb_tensor *copied = operand(scene, types[t], 33, 7);
    RUN_SUBJECT(scene, COPY, copy, .out = copied, .in = same);
    assert_memory_equal(after(copied, SUBJECT), operand_of(same)->before, operand_of(same)->bytes);
    scene_clear(scene);
  }
  struct ffb_tensor *half = operand(scene, FFB_F32, 5, 1), *minus = operand(scene, FFB_S32, 5, 1);
  RUN_SUBJECT(scene, FILL, fill, .out = half, .value = 0.5f);
  RUN_SUBJECT(scene, FILL, fill, .out = minus, .value = -1);
  assert_int_equal(s32_after(minus)[4], -1);
}

static void images_are_converted_and_repeated(void **state) {
  struct scene *scene = *state;
  static const int64_t shapes[][5] = {{3, 28, 28, 1, 1}, {5, 7, 3, 3, 3}, {1, 1, 1, 4, 4},
                                      {2, 32, 32, 3, 3}, {3, 5, 9, 3, 4}, {4, 6, 5, 1, 3}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    const int64_t *d = shapes[s], given = d[3], channels = d[4];
    for (int64_t repeat = 1; repeat <= 2; repeat++) {
      struct ffb_tensor *in = image_operand(scene, FFB_U8, d[0], d[1], d[2], given);
      struct ffb_tensor *out = image_operand(scene, FFB_F32, d[0] * repeat, d[1], d[2], channels);
      uint8_t *bytes = operand_of(in)->before;
      int64_t pixels = d[0] * d[1] * d[2];
      for (int64_t i = 0; i < pixels * given; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 11);
      const float mean[] = {0.1307f, 0.4914f, 0.2f, 0}, deviation[] = {0.3081f, 0.247f, 0.5f, 1};
      RUN_BOTH(scene, CONVERT_IMAGES, convert_images, .out = out, .in = in,
               .mean = {mean[0], mean[1], mean[2], mean[3]},
               .deviation = {deviation[0], deviation[1], deviation[2], deviation[3]});
      assert_same(out, "convert_images");
      for (int64_t i = 0; i < pixels * channels * repeat; i++) {
        int64_t c = i % channels, pixel = i / channels % pixels;
        double wanted = c < given ? (bytes[pixel * given + c] / 255.0 - (double)mean[c]) / (double)deviation[c] : 0;
        assert_near((double)f32_after(out)[i], wanted, c < given ? 1e-5 : 0, "convert_images", i);
      }
      scene_clear(scene);
    }
  }
}

static void labels_are_written_into_the_first_pixels(void **state) {
  struct scene *scene = *state;
  enum { ROWS = 13, H = 3, W = 12, CLASSES = 10 };
  for (int64_t channels = 1; channels <= 3; channels += 2) {
    for (int constant = -2; constant < CLASSES; constant += 3) { /* -2 stands for labels from a tensor */
      struct ffb_tensor *images = image_operand(scene, FFB_F32, ROWS, H, W, channels);
      struct ffb_tensor *labels = operand(scene, FFB_S32, ROWS, 1);
      int64_t columns = ffb_columns(images);
      for (int64_t i = 0; i < ROWS * columns; i++)
        f32(images)[i] = noise(1, i);
      for (int m = 0; m < ROWS; m++)
        s32(labels)[m] = m - 1 < CLASSES ? m - 1 : m % CLASSES;
      RUN_BOTH(scene, OVERLAY_LABELS, overlay_labels, .images = images, .labels = constant == -2 ? labels : NULL,
               .constant = constant, .classes = CLASSES, .on = 2.5f, .off = -0.5f);
      assert_same(images, "overlay_labels");
      for (int64_t i = 0; i < ROWS * columns; i++) {
        int label = constant == -2 ? s32(labels)[i / columns] : constant;
        int64_t pixel = i % columns / channels;
        double wanted = pixel >= CLASSES ? (double)f32(images)[i] : label < 0 ? -0.2 : pixel == label ? 2.5 : -0.5;
        assert_near((double)f32_after(images)[i], wanted, 1e-6, "overlay_labels", i);
      }
      scene_clear(scene);
    }
  }
}

static void patterns_are_written_all_over_the_image(void **state) {
  struct scene *scene = *state;
  enum { ROWS = 13, H = 5, W = 7, CLASSES = 10 };
  for (int channels = 1; channels <= 4; channels += 3) {
    for (int constant = -2; constant < CLASSES; constant += 3) { /* -2 stands for labels from a tensor */
      for (int channel = -1; channel < channels; channel++) {
        struct ffb_tensor *images = random_image(scene, ROWS, H, W, channels, 1);
        struct ffb_tensor *patterns = random_image(scene, CLASSES + 1, H, W, 1, 2);
        struct ffb_tensor *labels = operand(scene, FFB_S32, ROWS, 1);
        for (int m = 0; m < ROWS; m++)
          s32(labels)[m] = m - 1 < CLASSES ? m - 1 : m % CLASSES;
        RUN_BOTH(scene, LABEL_PATTERN, label_pattern, .images = images, .labels = constant == -2 ? labels : NULL,
                 .patterns = patterns, .constant = constant, .channel = channel);
        assert_same(images, "label_pattern");
        for (int64_t i = 0; i < ffb_elements(images); i++) {
          int64_t m = i / ffb_columns(images), c = i % channels, pixel = i / channels % (H * W);
          int64_t label = constant == -2 ? s32(labels)[m] : constant;
          float pattern = f32(patterns)[(label < 0 ? CLASSES : label) * H * W + pixel], before = f32(images)[i];
          assert_true(f32_after(images)[i] == (channel < 0 ? before + pattern : c == channel ? pattern : before));
        }
        scene_clear(scene);
      }
    }
  }
}

/* ---- negatives ------------------------------------------------------------------------------------------------ */

enum { DRAWS = 18000, CLASSES = 10 };

struct negatives {
  struct ffb_tensor *negatives, *labels, *index, *draw, *scores, *kept;
};

static struct negatives make_negatives(struct scene *scene, int true_label, bool hard) {
  struct negatives n = {.negatives = operand(scene, FFB_S32, DRAWS, 1),
                        .labels = operand(scene, FFB_S32, DRAWS, 1),
                        .index = operand(scene, FFB_S32, DRAWS, 1),
                        .draw = scalar_u32(scene, 3)};
  for (int m = 0; m < DRAWS; m++) {
    s32(n.labels)[m] = true_label < 0 ? m % CLASSES : true_label;
    s32(n.index)[m] = (m * 7) % DRAWS;
  }
  if (hard) {
    n.scores = operand(scene, FFB_F32, DRAWS, CLASSES);
    for (int64_t i = 0; i < (int64_t)DRAWS * CLASSES; i++)
      f32(n.scores)[i] = 2 * noise(8, i % CLASSES);
  }
  return n;
}

static void draw(struct scene *scene, const struct negatives *n, uint64_t seed) {
  RUN_BOTH(scene, DRAW_NEGATIVES, draw_negatives, .negatives = n->negatives, .labels = n->labels, .index = n->index,
           .draw = n->draw, .scores = n->scores, .kept = n->kept, .classes = CLASSES, .seed = seed);
  assert_same(n->negatives, "draw_negatives");
  for (int m = 0; m < DRAWS; m++) {
    assert_in_range(s32_after(n->negatives)[m], 0, CLASSES - 1);
    assert_int_not_equal(s32_after(n->negatives)[m], s32(n->labels)[m]);
  }
}

/* Chi-square of what was drawn for one true label against expected shares; 8 degrees of freedom, 0.05 %: 27.9. */
static double chi_square(const struct negatives *n, int true_label, const double share[CLASSES]) {
  double seen[CLASSES] = {0}, count = 0, sum = 0;
  for (int m = 0; m < DRAWS; m++) {
    if (s32(n->labels)[m] == true_label) {
      seen[s32_after(n->negatives)[m]]++;
      count++;
    }
  }
  for (int c = 0; c < CLASSES; c++) {
    if (c != true_label)
      sum += (seen[c] - count * share[c]) * (seen[c] - count * share[c]) / (count * share[c]);
  }
  return sum;
}

/* The formula of the header for sample m. */
static int uniform_negative(const struct negatives *n, int m, uint64_t seed) {
  uint32_t record = (uint32_t)s32(n->index)[m];
  uint32_t shift = 1 + ffb_random_below(seed, FFB_PURPOSE_NEGATIVE, u32(n->draw)[0], record, CLASSES - 1);
  return (s32(n->labels)[m] + (int)shift) % CLASSES;
}

static void uniform_negatives_are_wrong_and_uniform(void **state) {
  struct scene *scene = *state;
  double share[CLASSES];
  for (int c = 0; c < CLASSES; c++)
    share[c] = 1.0 / (CLASSES - 1);
  struct negatives n = make_negatives(scene, -1, false);
  draw(scene, &n, 11);
  for (int label = 0; label < CLASSES; label++)
    assert_true(chi_square(&n, label, share) < 27.9);
  for (int m = 0; m < DRAWS; m++)
    assert_int_equal(s32_after(n.negatives)[m], uniform_negative(&n, m, 11));
}

static void hard_negatives_follow_the_masked_softmax(void **state) {
  struct scene *scene = *state;
  for (int label = 0; label < CLASSES; label += 3) {
    double share[CLASSES], total = 0;
    struct negatives n = make_negatives(scene, label, true);
    for (int c = 0; c < CLASSES; c++) {
      share[c] = c == label ? 0 : exp((double)f32(n.scores)[c]);
      total += share[c];
    }
    for (int c = 0; c < CLASSES; c++)
      share[c] /= total;
    draw(scene, &n, 12);
    assert_true(chi_square(&n, label, share) < 27.9);
    scene_clear(scene);
  }
}

static void hard_negatives_survive_bad_scores(void **state) {
  struct scene *scene = *state;
  static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0};
  for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
    struct negatives n = make_negatives(scene, -1, true);
    for (int64_t i = 0; i < (int64_t)DRAWS * CLASSES; i++) {
      if (i % 3 == 0 || i / CLASSES % 5 == 0)
        f32(n.scores)[i] = bad[b];
    }
    draw(scene, &n, 13);
    int every = bad[b] == -INFINITY ? 5 : 1; /* a few -infinities leave the other classes to draw from */
    for (int m = 0; m < DRAWS && !isfinite(bad[b]); m += every)
      assert_int_equal(s32_after(n.negatives)[m], uniform_negative(&n, m, 13));
    scene_clear(scene);
  }
}

static void kept_negatives_are_used_again(void **state) {
  struct scene *scene = *state;
  for (int hard = 0; hard < 2; hard++) {
    struct negatives n = make_negatives(scene, -1, hard);
    n.kept = operand(scene, FFB_S32, DRAWS + 1, 1);
    for (int i = 0; i < DRAWS; i += 2)
      s32(n.kept)[i] = (s32(n.labels)[0] + 1) % CLASSES; /* replaced below where that is the true label */
    for (int m = 0; m < DRAWS; m++) {
      if (s32(n.kept)[s32(n.index)[m]] >= 0)
        s32(n.kept)[s32(n.index)[m]] = (s32(n.labels)[m] + 4) % CLASSES;
    }
    draw(scene, &n, 14);
    assert_same(n.kept, "kept");
    int fresh = 0;
    for (int m = 0; m < DRAWS; m++) {
      int before = s32(n.kept)[s32(n.index)[m]];
      fresh += before < 0;
      if (before >= 0)
        assert_int_equal(s32_after(n.negatives)[m], before);
      assert_int_equal(s32_after(n.kept)[s32(n.index)[m]], s32_after(n.negatives)[m]);
    }
    assert_int_equal(fresh, DRAWS / 2);
    assert_int_equal(s32_after(n.kept)[DRAWS], -1);
    scene_clear(scene);
  }
}

static void negatives_depend_on_draw_and_seed(void **state) {
  struct scene *scene = *state;
  int differ_by_draw = 0, differ_by_seed = 0;
  struct negatives n = make_negatives(scene, -1, false);
  struct negatives later = n;
  later.negatives = operand(scene, FFB_S32, DRAWS, 1);
  later.draw = scalar_u32(scene, 4);
  struct negatives other = n;
  other.negatives = operand(scene, FFB_S32, DRAWS, 1);
  int32_t *first = operand_of(n.negatives)->before;
  draw(scene, &n, 15);
  memcpy(first, after(n.negatives, SUBJECT), operand_of(n.negatives)->bytes);
  draw(scene, &later, 15);
  for (int m = 0; m < DRAWS; m++)
    differ_by_draw += s32_after(later.negatives)[m] != first[m];
  draw(scene, &other, 16);
  for (int m = 0; m < DRAWS; m++)
    differ_by_seed += s32_after(other.negatives)[m] != first[m];
  assert_true(differ_by_draw > DRAWS / 2 && differ_by_seed > DRAWS / 2);
}

/* ---- products ------------------------------------------------------------------------------------------------- */

/* M, N, K: odd sizes, sizes around vector and tile widths, and the layers of the MLP in its three passes. */
static const int64_t sizes[][3] = {
    {1, 1, 1},    {3, 17, 33},   {17, 3, 127}, {33, 127, 1}, {127, 33, 17},   {1, 10, 1000},   {64, 64, 64},
    {16, 32, 48}, {2, 255, 129}, {31, 65, 63}, {5, 1, 3},    {32, 1000, 784}, {1000, 784, 32}, {32, 10, 1000},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

struct product {
  struct ffb_tensor *a, *b, *c;
};

static struct product make_f32_product(struct scene *scene, const int64_t size[3], bool transpose_a, bool transpose_b) {
  int64_t m = size[0], n = size[1], k = size[2];
  return (struct product){.a = random_f32(scene, transpose_a ? k : m, transpose_a ? m : k, 1),
                          .b = random_f32(scene, transpose_b ? n : k, transpose_b ? k : n, 2),
                          .c = random_f32(scene, m, n, 3)};
}

/* What an element of op(a) op(b) may be off by; malloc'd. */
static double *product_tolerance(const float *a, const float *b, bool transpose_a, bool transpose_b, int64_t m,
                                 int64_t n, int64_t k) {
  double *tolerance = calloc((size_t)(m * n), sizeof *tolerance);
  assert_non_null(tolerance);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t p = 0; p < k; p++) {
      double left = fabs((double)(transpose_a ? a[p * m + i] : a[i * k + p]));
      for (int64_t j = 0; j < n; j++)
        tolerance[i * n + j] += left * fabs((double)(transpose_b ? b[j * k + p] : b[p * n + j]));
    }
  }
  for (int64_t i = 0; i < m * n; i++)
    tolerance[i] *= (4 + 2 * sqrt((double)k)) * 0x1p-24;
  return tolerance;
}

static void f32_products_are_near(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SIZES; s++) {
    int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
    for (int form = 0; form < 8; form++) {
      bool ta = form & 1, tb = form & 2, accumulate = form & 4;
      if (m * n * k > 1000000 && form != s % 8 && form != 2) /* every form where it is cheap */
        continue;
      struct product p = make_f32_product(scene, sizes[s], ta, tb);
      if (!accumulate)
        memset(f32(p.c), GARBAGE, operand_of(p.c)->bytes);
      double *tolerance = product_tolerance(f32(p.a), f32(p.b), ta, tb, m, n, k);
      for (int64_t i = 0; accumulate && i < m * n; i++)
        tolerance[i] += 0x1p-23 * (1 + (double)k);
      RUN_BOTH(scene, GEMM_F32, gemm_f32, .c = p.c, .a = p.a, .b = p.b, .transpose_a = ta, .transpose_b = tb,
               .accumulate = accumulate);
      assert_both_near(p.c, tolerance, 1, "gemm_f32");
      free(tolerance);
      scene_clear(scene);
    }
  }
}

static void f32_products_of_small_integers_are_exact(void **state) {
  struct scene *scene = *state;
  enum { M = 19, N = 37, K = 101 };
  for (int form = 0; form < 8; form++) {
    bool ta = form & 1, tb = form & 2, accumulate = form & 4;
    struct product p = make_f32_product(scene, (int64_t[]){M, N, K}, ta, tb);
    for (int64_t i = 0; i < ffb_elements(p.a); i++)
      f32(p.a)[i] = (float)(i * 5 % 13 - 6);
    for (int64_t i = 0; i < ffb_elements(p.b); i++)
      f32(p.b)[i] = (float)(i * 7 % 11 - 5);
    for (int64_t i = 0; i < M * N; i++)
      f32(p.c)[i] = (float)(i % 17);
    RUN_SUBJECT(scene, GEMM_F32, gemm_f32, .c = p.c, .a = p.a, .b = p.b, .transpose_a = ta, .transpose_b = tb,
                .accumulate = accumulate);
    for (int i = 0; i < M * N; i++) {
      float sum = accumulate ? f32(p.c)[i] : 0;
      for (int k = 0; k < K; k++)
        sum += f32(p.a)[ta ? k * M + i / N : i / N * K + k] * f32(p.b)[tb ? i % N * K + k : k * N + i % N];
      assert_true(f32_after(p.c)[i] == sum);
    }
    scene_clear(scene);
  }
}

static void f32_product_passes_a_nan_on(void **state) {
  struct scene *scene = *state;
  struct product p = make_f32_product(scene, (int64_t[]){5, 40, 21}, false, false);
  f32(p.a)[2 * 21 + 20] = NAN;
  RUN_SUBJECT(scene, GEMM_F32, gemm_f32, .c = p.c, .a = p.a, .b = p.b);
  for (int64_t i = 0; i < 5 * 40; i++)
    assert_int_equal(isnan(f32_after(p.c)[i]) != 0, i / 40 == 2);
}

static void run_s8_product(struct scene *scene, const int64_t size[3], bool ta, bool tb, enum content content) {
  int64_t m = size[0], n = size[1], k = size[2];
  struct ffb_tensor *a = random_s8(scene, ta ? k : m, ta ? m : k, 4), *b = random_s8(scene, tb ? n : k, tb ? k : n, 5);
  struct ffb_tensor *c = operand(scene, FFB_S32, m, n);
  set_content(a, content, 0);
  set_content(b, content == ALL_MINUS_127 ? ALL_127 : content, 1);
  union ffb_arguments arguments = {.gemm_s8 = {.c = c, .a = a, .b = b, .transpose_a = ta, .transpose_b = tb}};
  give_workspace(scene, FFB_GEMM_S8, &arguments, &arguments.gemm_s8.workspace);
  run_both(scene, FFB_GEMM_S8, &arguments);
  assert_same(c, "gemm_s8");
  for (int64_t i = 0; i < m * n; i += 1 + m * n / 7) {
    int64_t sum = 0;
    for (int64_t p = 0; p < k; p++)
      sum += s8(a)[ta ? p * m + i / n : i / n * k + p] * s8(b)[tb ? i % n * k + p : p * n + i % n];
    assert_int_equal(s32_after(c)[i], sum);
  }
  if (content == ALL_127)
    assert_int_equal(s32_after(c)[m * n - 1], 16129 * k);
  if (content == ALL_MINUS_127)
    assert_int_equal(s32_after(c)[m * n - 1], -16129 * k);
  scene_clear(scene);
}

static void s8_products_are_exact(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SIZES; s++) {
    for (int form = 0; form < 4; form++) {
      for (int content = 0; content < CONTENTS; content++) {
        bool large = sizes[s][0] * sizes[s][1] * sizes[s][2] > 1000000;
        if (!large || (form + s) % 2 == 0)
          run_s8_product(scene, sizes[s], form & 1, form & 2, (enum content)content);
      }
    }
  }
}

static void s8_products_are_exact_at_the_longest_sum(void **state) {
  struct scene *scene = *state;
  for (int form = 0; form < 4; form++) {
    run_s8_product(scene, (int64_t[]){3, 5, 133144}, form & 1, form & 2, ALL_127);
    run_s8_product(scene, (int64_t[]){3, 5, 133144}, form & 1, form & 2, ALL_MINUS_127);
    run_s8_product(scene, (int64_t[]){3, 5, 70001}, form & 1, form & 2, RANDOM); /* above 2^24, not a round number */
  }
}

/* ---- quantisation --------------------------------------------------------------------------------------------- */

static const int64_t lengths[] = {1, 3, 15, 16, 17, 33, 127, 1000, 4095, 4097, 100003};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void scale_is_the_maximum_over_127(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    for (int64_t place = 0; place < 3; place++) {
      int64_t at = place * (lengths[l] - 1) / 2; /* first, middle, last */
      struct ffb_tensor *x = random_f32(scene, lengths[l], 1, 6), *scale = operand(scene, FFB_F32, 1, 1);
      f32(x)[at] = place % 2 ? 2.54f : -2.54f;
      RUN_BOTH(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x);
      assert_same(scale, "suq_scale");
      assert_true(f32_after(scale)[0] == 2.54f / 127);
      struct ffb_tensor *integers = operand(scene, FFB_S32, lengths[l], 1), *ratio = scalar_f32(scene, 0.7f);
      for (int64_t i = 0; i < lengths[l]; i++)
        s32(integers)[i] = (int32_t)(i * 1000 % 77777) * (i % 2 ? -1 : 1);
      s32(integers)[at] = place % 2 ? 16777217 : INT_MIN;
      RUN_BOTH(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = integers, .ratio = ratio);
      assert_same(scale, "suq_scale of S32");
      assert_true(f32_after(scale)[0] == 0.7f * (place % 2 ? 16777216.0f : 2147483648.0f) / 127);
      f32(x)[at] = NAN;
      RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x);
      assert_true(isnan(f32_after(scale)[0]));
      f32(x)[at] = -INFINITY;
      RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x);
      assert_true(isinf(f32_after(scale)[0]) && f32_after(scale)[0] > 0);
      scene_clear(scene);
    }
  }
}

static void scale_of_nothing_is_one(void **state) {
  struct scene *scene = *state;
  static const float tiny[] = {0, -0.0f, 1e-44f, 127 * FLT_MIN / 2};
  struct ffb_tensor *x = operand(scene, FFB_F32, 35, 1), *scale = operand(scene, FFB_F32, 1, 1);
  for (size_t t = 0; t < sizeof tiny / sizeof *tiny; t++) {
    for (int i = 0; i < 35; i++)
      f32(x)[i] = tiny[t];
    RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x);
    assert_true(f32_after(scale)[0] == 1);
  }
  f32(x)[20] = 127 * FLT_MIN;
  RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x);
  assert_true(f32_after(scale)[0] == FLT_MIN);
  struct ffb_tensor *integers = zeroed(operand(scene, FFB_S32, 35, 1)),
                    *running = zeroed(operand(scene, FFB_F32, 1, 1));
  RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = integers);
  assert_true(f32_after(scale)[0] == 1);
  RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .running = running, .range = FFB_RANGE_RUNNING);
  assert_true(f32_after(scale)[0] == 1);
}

static void scale_follows_its_range(void **state) {
  struct scene *scene = *state;
  struct ffb_tensor *x = random_f32(scene, 50, 3, 7), *scale = operand(scene, FFB_F32, 1, 1);
  struct ffb_tensor *running = scalar_f32(scene, 0);
  f32(x)[77] = -4;
  RUN_BOTH(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x, .running = running);
  assert_same(running, "running maximum");
  assert_true(f32_after(running)[0] == 4 && f32_after(scale)[0] == 4.0f / 127);
  f32(running)[0] = 2;
  RUN_BOTH(scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x, .running = running);
  assert_same(running, "running maximum");
  assert_near((double)f32_after(running)[0], 0.99 * 2 + 0.01 * 4, 1e-6, "running maximum", 0);
  assert_true(f32_after(scale)[0] == 4.0f / 127);
  RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .running = running, .range = FFB_RANGE_RUNNING);
  assert_true(f32_after(scale)[0] == 2.0f / 127 && f32_after(running)[0] == 2);
  RUN_SUBJECT(scene, SUQ_SCALE, suq_scale, .scale = scale, .range = FFB_RANGE_FIXED, .fixed = 6.5f);
  assert_true(f32_after(scale)[0] == 6.5f / 127);
}

static void quantise_both(struct scene *scene, struct ffb_tensor *q, struct ffb_tensor *x, struct ffb_tensor *scale,
                          struct ffb_tensor *step, uint64_t seed) {
  RUN_BOTH(scene, SUQ_QUANTISE, suq_quantise, .q = q, .x = x, .scale = scale, .step = step,
           .rounding = step ? FFB_ROUND_STOCHASTIC : FFB_ROUND_NEAREST, .purpose = FFB_PURPOSE_TENSOR + 5,
           .seed = seed);
  assert_same(q, step ? "suq_quantise stochastic" : "suq_quantise nearest");
}

static void quantisation_gives_the_same_bits(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    struct ffb_tensor *x = random_f32(scene, lengths[l], 1, 8), *q = operand(scene, FFB_S8, lengths[l], 1);
    struct ffb_tensor *scale = scalar_f32(scene, 0.0071f), *step = scalar_u32(scene, 1234567);
    quantise_both(scene, q, x, scale, NULL, 0);
    quantise_both(scene, q, x, scale, step, 0xfedcba9876543210u);
    for (int64_t i = 0; i < lengths[l]; i++) { /* the formula of the header */
      float u = ffb_random_rounding(0xfedcba9876543210u, FFB_PURPOSE_TENSOR + 5, 1234567, (uint64_t)i);
      float v = f32(x)[i] * (1 / 0.0071f), whole = floorf(v + u);
      assert_int_equal(s8_after(q)[i], (int)(whole > 127 ? 127 : whole < -127 ? -127 : whole));
    }
    scene_clear(scene);
  }
}

static void rounding_has_edges(void **state) {
  struct scene *scene = *state;
  static const struct {
    float x;
    int nearest;
  } edges[] = {{0.5f, 0},       {1.5f, 2},         {2.5f, 2},        {-0.5f, 0},     {-1.5f, -2}, {126.5f, 126},
               {127.5f, 127},   {-127.5f, -127},   {1e30f, 127},     {-1e30f, -127}, {3e9f, 127}, {-3e9f, -127},
               {INFINITY, 127}, {-INFINITY, -127}, {NAN, 0},         {-NAN, 0},      {1e-42f, 0}, {127, 127},
               {-127, -127},    {-128, -127},      {0.49999997f, 0}, {-0.0f, 0},     {300, 127},  {-129, -127}};
  enum { EDGES = sizeof edges / sizeof *edges };
  struct ffb_tensor *x = operand(scene, FFB_F32, 3 * EDGES, 1), *q = operand(scene, FFB_S8, 3 * EDGES, 1);
  struct ffb_tensor *scale = scalar_f32(scene, 1), *step = scalar_u32(scene, 9);
  for (int i = 0; i < 3 * EDGES; i++)
    f32(x)[i] = edges[i % EDGES].x;
  quantise_both(scene, q, x, scale, NULL, 0);
  for (int i = 0; i < 3 * EDGES; i++)
    assert_int_equal(s8_after(q)[i], edges[i % EDGES].nearest);
  quantise_both(scene, q, x, scale, step, 1);
  for (int i = 0; i < 3 * EDGES; i++)
    assert_true(isnan(f32(x)[i]) ? s8_after(q)[i] == 0 : s8_after(q)[i] >= -127);
  static const float scales[] = {NAN, INFINITY, 0x1p-126f};
  for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
    f32(scale)[0] = scales[s];
    quantise_both(scene, q, x, scale, NULL, 0);
    quantise_both(scene, q, x, scale, step, 1);
  }
}

/* Mean and spread of the rounding of base + f, over whole numbers base, fractions f and seeds. */
static void stochastic_rounding_is_unbiased(void **state) {
  struct scene *scene = *state;
  enum { COUNT = 40000, FRACTIONS = 18, SEEDS = 3 };
  static const int bases[] = {0, -1, 5, -100, 90};
  for (int f = 0; f < FRACTIONS; f++) {
    double fraction = f < 16 ? f / 16.0 : f == 16 ? 0x1p-10 : 1 - 0x1p-10;
    for (size_t b = 0; b < sizeof bases / sizeof *bases; b++) {
      for (uint32_t seed = 0; seed < SEEDS; seed++) {
        struct ffb_tensor *x = operand(scene, FFB_F32, COUNT, 1), *q = operand(scene, FFB_S8, COUNT, 1);
        struct ffb_tensor *scale = scalar_f32(scene, 1), *step = scalar_u32(scene, (uint32_t)f);
        for (int i = 0; i < COUNT; i++)
          f32(x)[i] = (float)(bases[b] + fraction);
        RUN_SUBJECT(scene, SUQ_QUANTISE, suq_quantise, .q = q, .x = x, .scale = scale, .step = step,
                    .rounding = FFB_ROUND_STOCHASTIC, .purpose = FFB_PURPOSE_TENSOR + (uint32_t)b, .seed = seed);
        double up = 0;
        for (int i = 0; i < COUNT; i++) {
          assert_in_range(s8_after(q)[i] - bases[b], 0, 1);
          up += s8_after(q)[i] - bases[b];
        }
        /* FP32 rounds v + u up to a whole number where u is within an ulp of it: at most 2^-18 of bias for |v| < 128.
         */
        double bound = 4 * sqrt(fraction * (1 - fraction) / COUNT) + 0x1p-18;
        assert_near(up / COUNT, fraction, bound, "stochastic rounding", f);
        scene_clear(scene);
      }
    }
  }
}

static void segments_split_small_and_large(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    for (int k = 0; k < 8; k += 1 + (l > 3)) {
      for (int stochastic = 0; stochastic < 2; stochastic++) {
        int64_t n = lengths[l];
        struct ffb_tensor *x = operand(scene, FFB_F32, n, 1), *fine = operand(scene, FFB_S8, n, 1);
        struct ffb_tensor *coarse = operand(scene, FFB_S8, n, 1), *fine_scale = operand(scene, FFB_F32, 1, 1);
        struct ffb_tensor *coarse_scale = operand(scene, FFB_F32, 1, 1), *exponent = scalar_f32(scene, (float)k);
        struct ffb_tensor *step = scalar_u32(scene, 77);
        for (int64_t i = 0; i < n; i++)
          f32(x)[i] = (float)(normal(9, i) * exp(2 * normal(10, i)));
        RUN_BOTH(scene, SUQ_SEGMENTS, suq_segments, .fine = fine, .coarse = coarse, .fine_scale = fine_scale,
                 .coarse_scale = coarse_scale, .x = x, .exponent = exponent, .step = step,
                 .rounding = stochastic ? FFB_ROUND_STOCHASTIC : FFB_ROUND_NEAREST, .purpose = FFB_PURPOSE_TENSOR,
                 .seed = 3);
        assert_same(fine, "fine");
        assert_same(coarse, "coarse");
        assert_same(fine_scale, "fine scale");
        assert_same(coarse_scale, "coarse scale");
        float s1 = f32_after(fine_scale)[0], s2 = f32_after(coarse_scale)[0];
        assert_true(s2 == ldexpf(s1, k));
        for (int64_t i = 0; i < n; i++) {
          int low = s8_after(fine)[i], high = s8_after(coarse)[i];
          double size = fabs((double)f32(x)[i]), unit = size <= 63 * (double)s1 ? (double)s1 : (double)s2;
          assert_true(abs(low) <= 63 && abs(high) <= 63 && (!low || !high));
          assert_true(unit == (double)s1 ? !high : !low || s1 == s2);
          assert_near(low * (double)s1 + high * (double)s2, (double)f32(x)[i], unit * (stochastic ? 1.0001 : 0.5001),
                      "segments", i);
        }
        scene_clear(scene);
      }
    }
  }
}

/* The largest element's level is 63 but for roundings. Here they leave it above, and it meets the largest draw, one in
 * 2^16: that must not lift it beyond its range. */
static void segments_stay_in_their_range(void **state) {
  struct scene *scene = *state;
  enum { N = 19, PLACE = 17 };
  for (int k = 0; k < 8; k += 7) {
    struct ffb_tensor *x = operand(scene, FFB_F32, N, 1), *fine = operand(scene, FFB_S8, N, 1);
    struct ffb_tensor *coarse = operand(scene, FFB_S8, N, 1), *fine_scale = operand(scene, FFB_F32, 1, 1);
    struct ffb_tensor *coarse_scale = operand(scene, FFB_F32, 1, 1), *exponent = scalar_f32(scene, (float)k);
    float largest = 1;
    while (largest * (1 / (largest / 63)) <= 63)
      largest = nextafterf(largest, 2);
    uint32_t step = 0;
    while (ffb_random_rounding(3, FFB_PURPOSE_TENSOR, step, PLACE) < 1 - 0x1p-17f)
      step++;
    for (int i = 0; i < N; i++)
      f32(x)[i] = largest;
    struct ffb_tensor *draw = scalar_u32(scene, step);
    RUN_BOTH(scene, SUQ_SEGMENTS, suq_segments, .fine = fine, .coarse = coarse, .fine_scale = fine_scale,
             .coarse_scale = coarse_scale, .x = x, .exponent = exponent, .step = draw, .rounding = FFB_ROUND_STOCHASTIC,
             .purpose = FFB_PURPOSE_TENSOR, .seed = 3);
    assert_same(fine, "fine");
    assert_same(coarse, "coarse");
    assert_int_equal(s8_after(fine)[PLACE] + s8_after(coarse)[PLACE], 63);
    scene_clear(scene);
  }
}

static void segments_of_odd_tensors(void **state) {
  struct scene *scene = *state;
  static const float contents[] = {0, NAN, INFINITY, 1e-44f, 1e-37f};
  for (size_t c = 0; c < sizeof contents / sizeof *contents; c++) {
    struct ffb_tensor *x = random_f32(scene, 37, 1, 11), *fine = operand(scene, FFB_S8, 37, 1);
    struct ffb_tensor *coarse = operand(scene, FFB_S8, 37, 1), *fine_scale = operand(scene, FFB_F32, 1, 1);
    struct ffb_tensor *coarse_scale = operand(scene, FFB_F32, 1, 1), *exponent = scalar_f32(scene, 5);
    for (int i = 0; i < 37; i++)
      f32(x)[i] = isfinite(contents[c]) || i == 30 ? contents[c] : f32(x)[i];
    RUN_BOTH(scene, SUQ_SEGMENTS, suq_segments, .fine = fine, .coarse = coarse, .fine_scale = fine_scale,
             .coarse_scale = coarse_scale, .x = x, .exponent = exponent);
    assert_same(fine, "fine");
    assert_same(coarse, "coarse");
    assert_same(fine_scale, "fine scale");
    assert_same(coarse_scale, "coarse scale");
    scene_clear(scene);
  }
}

static void dequantisation_gives_the_same_bits(void **state) {
  struct scene *scene = *state;
  for (int l = 0; l < LENGTHS; l++) {
    for (int form = 0; form < 8; form++) {
      bool bytes = form & 1, two = form & 2, accumulate = form & 4;
      int64_t n = lengths[l];
      struct ffb_tensor *x = bytes ? random_s8(scene, n, 1, 12) : operand(scene, FFB_S32, n, 1);
      struct ffb_tensor *out = accumulate ? random_f32(scene, n, 1, 13) : operand(scene, FFB_F32, n, 1);
      struct ffb_tensor *a = scalar_f32(scene, 0.0123f), *b = scalar_f32(scene, 0.077f);
      for (int64_t i = 0; !bytes && i < n; i++)
        s32(x)[i] = (int32_t)ffb_random_bits(14, 1, 2, (uint64_t)i);
      RUN_BOTH(scene, DEQUANTISE, dequantise, .out = out, .x = x, .scale_a = a, .scale_b = two ? b : NULL,
               .accumulate = accumulate);
      assert_same(out, "dequantise");
      float scale = two ? 0.0123f * 0.077f : 0.0123f;
      float first = scale * (bytes ? (float)s8(x)[0] : (float)s32(x)[0]);
      assert_true(f32_after(out)[0] == (accumulate ? first + f32(out)[0] : first));
      scene_clear(scene);
    }
  }
}

/* ---- searches ------------------------------------------------------------------------------------------------- */

enum distribution { NORMAL, LAPLACE, LOG_NORMAL, UNIFORM, OUTLIER, DISTRIBUTIONS };

static void draw_distribution(struct ffb_tensor *x, enum distribution distribution, uint64_t seed) {
  for (int64_t i = 0; i < ffb_elements(x); i++) {
    double z = normal(seed, i), u = (double)noise(seed, i);
    double value[DISTRIBUTIONS] = {[NORMAL] = z,
                                   [LAPLACE] = u < 0 ? log(1 + u + 1e-9) : -log(1 - u),
                                   [LOG_NORMAL] = exp(2 * z) * (u < 0 ? -1 : 1),
                                   [UNIFORM] = u,
                                   [OUTLIER] = i == 5 ? 60 : z};
    f32(x)[i] = (float)(1e-3 * value[distribution]);
  }
}

/* d at a clip of ratio * max|x|, in long double by the definition: clip, quantise, dequantise, cosine. */
static double clip_deviation(const float *x, int64_t n, float ratio) {
  float largest = 0;
  for (int64_t i = 0; i < n; i++)
    largest = fmaxf(largest, fabsf(x[i]));
  float clip = ratio * largest, scale = clip / 127;
  long double xx = 0, xy = 0, yy = 0;
  for (int64_t i = 0; i < n; i++) {
    float clipped = fmaxf(-clip, fminf(clip, x[i])), q = rintf(clipped * (1 / scale));
    long double y = (long double)scale * (long double)fmaxf(-127, fminf(127, q)), value = (long double)x[i];
    xx += value * value;
    xy += value * y;
    yy += y * y;
  }
  return (double)(1 - xy / sqrtl(xx * yy));
}

struct clip {
  struct ffb_tensor *x, *ratio, *deviation, *multiplier;
};

static struct clip make_clip(struct scene *scene, int64_t n, float ratio) {
  return (struct clip){.x = operand(scene, FFB_F32, n, 1),
                       .ratio = scalar_f32(scene, ratio),
                       .deviation = operand(scene, FFB_F32, 1, 1),
                       .multiplier = operand(scene, FFB_F32, 1, 1)};
}

static void search_clip(struct scene *scene, const struct clip *c, bool gaussian_test) {
  RUN_BOTH(scene, CLIP_SEARCH, clip_search, .x = c->x, .ratio = c->ratio, .deviation = c->deviation,
           .multiplier = c->multiplier, .alpha = 20, .beta = 0.1f, .tracking = 0.75f, .gaussian_test = gaussian_test);
  assert_same(c->ratio, "clip ratio");
  assert_same(c->deviation, "clip deviation");
  assert_same(c->multiplier, "clip multiplier");
  double wanted = fmax(exp(-20 * (double)f32_after(c->deviation)[0]), 0.1);
  assert_near((double)f32_after(c->multiplier)[0], wanted, 1e-5, "clip multiplier", 0);
}

/* Compares the search with a scan of [0.05, 1] in steps of `step`; returns the ratio found. */
static float check_clip_search(struct scene *scene, int64_t n, enum distribution distribution, double step) {
  struct clip c = make_clip(scene, n, 0);
  draw_distribution(c.x, distribution, 21);
  double least = clip_deviation(f32(c.x), n, 1);
  for (double ratio = 0.05; ratio < 1; ratio += step)
    least = fmin(least, clip_deviation(f32(c.x), n, (float)ratio));
  search_clip(scene, &c, false);
  float ratio = f32_after(c.ratio)[0];
  double found = clip_deviation(f32(c.x), n, ratio);
  assert_true(ratio >= 0.05f && ratio <= 1);
  assert_near((double)f32_after(c.deviation)[0], found, 1e-7 + 1e-4 * found, "clip deviation", distribution);
  assert_true(found <= 1.01 * least); /* the curve has ripples, where levels jump */
  assert_true(found <= clip_deviation(f32(c.x), n, 1) + 1e-12);
  scene_clear(scene);
  return ratio;
}

static void clip_search_finds_the_least_deviation(void **state) {
  struct scene *scene = *state;
  static const int64_t counts[] = {100, 4096, 9001};
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
    for (int d = 0; d < DISTRIBUTIONS; d++)
      check_clip_search(scene, counts[n], (enum distribution)d, 0.0025);
  }
  /* One outlier among many: clipping it to two thirds pays. */
  float ratio = check_clip_search(scene, 100003, OUTLIER, 0.01);
  assert_true(ratio > 0.5f && ratio < 0.8f);
}

static void clip_ratio_is_tracked(void **state) {
  struct scene *scene = *state;
  enum { N = 300007 };
  struct clip fresh = make_clip(scene, N, 0);
  draw_distribution(fresh.x, LOG_NORMAL, 22);
  search_clip(scene, &fresh, false);
  float found = f32_after(fresh.ratio)[0];
  f32(fresh.ratio)[0] = 0.9f;
  search_clip(scene, &fresh, false);
  assert_near((double)f32_after(fresh.ratio)[0], 0.75 * 0.9 + 0.25 * (double)found, 1e-6, "tracked ratio", 0);
  double wanted = clip_deviation(f32(fresh.x), N, f32_after(fresh.ratio)[0]);
  assert_near((double)f32_after(fresh.deviation)[0], wanted, 1e-7, "deviation in force", 0);
}

static void gaussian_tensor_is_not_clipped(void **state) {
  struct scene *scene = *state;
  static const bool gaussian[DISTRIBUTIONS] = {[NORMAL] = true, [UNIFORM] = true};
  for (int d = 0; d < OUTLIER; d++) {
    struct clip c = make_clip(scene, 20000, 0);
    draw_distribution(c.x, (enum distribution)d, 23);
    search_clip(scene, &c, true);
    assert_int_equal(f32_after(c.ratio)[0] == 1, gaussian[d]);
    assert_near((double)f32_after(c.deviation)[0], clip_deviation(f32(c.x), 20000, f32_after(c.ratio)[0]), 1e-7,
                "deviation", d);
    scene_clear(scene);
  }
}

static void searches_of_odd_tensors(void **state) {
  struct scene *scene = *state;
  static const float contents[] = {0, 1e-44f, NAN, INFINITY, -INFINITY};
  for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
    for (int gaussian_test = 0; gaussian_test < 2; gaussian_test++) {
      struct clip c = make_clip(scene, 40, 0);
      struct ffb_tensor *exponent = operand(scene, FFB_F32, 1, 1), *deviation = operand(scene, FFB_F32, 1, 1);
      for (int e = 0; e < 40; e++)
        f32(c.x)[e] = isfinite(contents[i]) || e == 33 ? contents[i] : noise(1, e);
      float wanted = isfinite(contents[i]) ? 0 : 1;
      search_clip(scene, &c, gaussian_test);
      assert_true(f32_after(c.ratio)[0] == 1 && f32_after(c.deviation)[0] == wanted);
      RUN_BOTH(scene, SEGMENT_SEARCH, segment_search, .x = c.x, .exponent = exponent, .deviation = deviation);
      assert_same(exponent, "exponent");
      assert_true(f32_after(exponent)[0] == 0 && f32_after(deviation)[0] == wanted);
      scene_clear(scene);
    }
  }
}

/* d of what SUQ_SEGMENTS on the reference makes of x. */
static double segments_deviation(struct scene *scene, struct ffb_tensor *x, int k) {
  int64_t n = ffb_elements(x);
  struct ffb_tensor *fine = operand(scene, FFB_S8, n, 1), *coarse = operand(scene, FFB_S8, n, 1);
  struct ffb_tensor *fine_scale = operand(scene, FFB_F32, 1, 1), *coarse_scale = operand(scene, FFB_F32, 1, 1);
  struct ffb_tensor *exponent = scalar_f32(scene, (float)k);
  run_side(scene, ORACLE, FFB_SUQ_SEGMENTS,
           ARGUMENTS(suq_segments, .fine = fine, .coarse = coarse, .fine_scale = fine_scale,
                     .coarse_scale = coarse_scale, .x = x, .exponent = exponent));
  const int8_t *low = after(fine, ORACLE), *high = after(coarse, ORACLE);
  long double s1 = (long double)*(const float *)after(fine_scale, ORACLE), xx = 0, xy = 0, yy = 0;
  long double s2 = (long double)*(const float *)after(coarse_scale, ORACLE);
  for (int64_t i = 0; i < n; i++) {
    long double value = (long double)f32(x)[i], y = low[i] * s1 + high[i] * s2;
    xx += value * value;
    xy += value * y;
    yy += y * y;
  }
  return (double)(1 - xy / sqrtl(xx * yy));
}

static void segment_search_finds_the_least_deviation(void **state) {
  struct scene *scene = *state;
  for (int d = 0; d < DISTRIBUTIONS; d++) {
    double deviations[8];
    int best = 0;
    for (int k = 0; k < 8; k++) {
      struct ffb_tensor *x = operand(scene, FFB_F32, 9001, 1);
      draw_distribution(x, (enum distribution)d, 24);
      deviations[k] = segments_deviation(scene, x, k);
      best = deviations[k] < deviations[best] ? k : best;
      scene_clear(scene);
    }
    struct ffb_tensor *x = operand(scene, FFB_F32, 9001, 1), *exponent = operand(scene, FFB_F32, 1, 1);
    struct ffb_tensor *deviation = operand(scene, FFB_F32, 1, 1);
    draw_distribution(x, (enum distribution)d, 24);
    RUN_BOTH(scene, SEGMENT_SEARCH, segment_search, .x = x, .exponent = exponent, .deviation = deviation);
    assert_same(exponent, "exponent");
    assert_same(deviation, "segment deviation");
    assert_int_equal((int)f32_after(exponent)[0], best);
    assert_near((double)f32_after(deviation)[0], deviations[best], 1e-8 + 1e-4 * deviations[best], "segments", d);
    scene_clear(scene);
  }
}

/* ---- elementwise ---------------------------------------------------------------------------------------------- */

static const int64_t matrices[][2] = {{1, 1}, {3, 17}, {17, 3}, {33, 127}, {64, 1000}, {128, 10}, {1, 4097}, {2, 16}};
enum { MATRICES = sizeof matrices / sizeof *matrices };

static void bias_is_added_and_its_gradient_summed(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < MATRICES; s++) {
    int64_t rows = matrices[s][0], columns = matrices[s][1];
    struct ffb_tensor *y = random_f32(scene, rows, columns, 31), *bias = random_f32(scene, columns, 1, 32);
    struct ffb_tensor *gradient = random_f32(scene, rows, columns, 33), *out = operand(scene, FFB_F32, columns, 1);
    RUN_BOTH(scene, ADD_BIAS, add_bias, .y = y, .bias = bias);
    assert_same(y, "add_bias");
    for (int64_t i = 0; i < rows * columns; i++)
      assert_true(f32_after(y)[i] == f32(y)[i] + f32(bias)[i % columns]);
    RUN_BOTH(scene, BIAS_GRADIENT, bias_gradient, .out = out, .gradient = gradient);
    assert_same(out, "bias_gradient");
    double sum = 0;
    for (int64_t m = 0; m < rows; m++)
      sum += (double)f32(gradient)[m * columns + columns - 1];
    assert_near((double)f32_after(out)[columns - 1], sum, 1e-5, "bias_gradient", columns - 1);
    scene_clear(scene);
  }
}

static void relu_and_its_gradient(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < MATRICES; s++) {
    for (int in_place = 0; in_place < 2; in_place++) {
      int64_t rows = matrices[s][0], columns = matrices[s][1], n = rows * columns;
      struct ffb_tensor *x = random_f32(scene, rows, columns, 34), *gy = random_f32(scene, rows, columns, 35);
      struct ffb_tensor *y = in_place ? x : operand(scene, FFB_F32, rows, columns);
      struct ffb_tensor *gx = in_place ? gy : operand(scene, FFB_F32, rows, columns);
      struct ffb_tensor *output = random_f32(scene, rows, columns, 36);
      f32(x)[n - 1] = NAN;
      f32(x)[0] = s % 2 ? INFINITY : -INFINITY;
      f32(x)[n / 2] = -0.0f;
      f32(output)[0] = 0;
      f32(output)[n / 2] = NAN;
      RUN_BOTH(scene, ACTIVATE, activate, .y = y, .x = x, .kind = FFB_ACTIVATION_RELU);
      assert_same(y, "relu");
      for (int64_t i = 0; i < n; i++)
        assert_true(isnan(f32(x)[i]) ? isnan(f32_after(y)[i]) : f32_after(y)[i] == (f32(x)[i] > 0 ? f32(x)[i] : 0));
      RUN_BOTH(scene, ACTIVATE_GRADIENT, activate_gradient, .gx = gx, .gy = gy, .v = output,
               .kind = FFB_ACTIVATION_RELU);
      assert_same(gx, "relu gradient");
      for (int64_t i = 0; i < n; i++)
        assert_true(f32_after(gx)[i] == (f32(output)[i] > 0 ? f32(gy)[i] : 0));
      scene_clear(scene);
    }
  }
}

static void scaled_sums(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < MATRICES; s++) {
    for (int form = 0; form < 4; form++) {
      int64_t rows = matrices[s][0], columns = matrices[s][1];
      struct ffb_tensor *a = random_f32(scene, rows, columns, 37), *b = random_f32(scene, rows, columns, 38);
      struct ffb_tensor *factor = form & 1 ? scalar_f32(scene, 0.37f) : NULL;
      struct ffb_tensor *out = form & 2 ? a : operand(scene, FFB_F32, rows, columns);
      RUN_BOTH(scene, ADD_SCALED, add_scaled, .out = out, .a = a, .b = b, .factor = factor);
      assert_same(out, "add_scaled");
      for (int64_t i = 0; i < rows * columns; i++) {
        float product = (factor ? 0.37f : 1.0f) * f32(b)[i];
        assert_true(f32_after(out)[i] == f32(a)[i] + product);
      }
      scene_clear(scene);
    }
  }
}

/* ---- normalisation -------------------------------------------------------------------------------------------- */

static void groups_cover_every_column_once(void **state) {
  (void)state;
  for (int64_t columns = 10; columns < 40; columns++) {
    int64_t least = columns, most = 0;
    assert_int_equal(ffb_group_start(columns, 10, 0), 0);
    assert_int_equal(ffb_group_start(columns, 10, 10), columns);
    for (int g = 0; g < 10; g++) {
      int64_t size = ffb_group_start(columns, 10, g + 1) - ffb_group_start(columns, 10, g);
      least = size < least ? size : least;
      assert_true(g == 0 || size <= most);
      most = size;
    }
    assert_true(columns / 10 == least);
  }
}

/* Which group of channels a column of a row is in: channels lie innermost. One group is the whole row. */
static int group_of(int64_t column, int64_t channels, int groups) {
  int g = groups - 1;
  while (g > 0 && column % channels < ffb_group_start(channels, groups, g))
    g--;
  return g;
}

/* In double: sums of squares of the groups of one row, and how many elements each has. */
static void group_squares(const double *x, int64_t columns, int64_t channels, int groups, double *squares,
                          double *counts) {
  for (int g = 0; g < groups; g++)
    squares[g] = counts[g] = 0;
  for (int64_t f = 0; f < columns; f++) {
    int g = group_of(f, channels, groups);
    squares[g] += x[f] * x[f];
    counts[g]++;
  }
}

enum { MOST_GROUPS = 16 };

/* In double: y of one row in groups. */
static void normalise_row(const double *x, double *y, int64_t columns, int64_t channels, int groups,
                          enum ffb_normalisation kind) {
  double squares[MOST_GROUPS], counts[MOST_GROUPS];
  group_squares(x, columns, channels, groups, squares, counts);
  for (int64_t f = 0; f < columns; f++) {
    int g = group_of(f, channels, groups);
    y[f] = x[f] / (sqrt(kind == FFB_NORMALISE_RMS ? squares[g] / counts[g] : squares[g]) + 1e-8);
  }
}

/* Rows, height, width, channels, groups. Matrices have their columns in the second place. */
static const int64_t grouped[][5] = {{1, 1, 1, 1, 1},     {3, 17, 1, 1, 1},   {5, 33, 1, 1, 4},    {2, 127, 1, 1, 10},
                                     {64, 1000, 1, 1, 1}, {32, 784, 1, 1, 1}, {7, 1000, 1, 1, 10}, {9, 16, 1, 1, 16},
                                     {1, 4097, 1, 1, 3},  {33, 31, 1, 1, 10}, {3, 4, 5, 16, 1},    {5, 4, 4, 16, 10},
                                     {2, 8, 8, 64, 10},   {4, 3, 5, 33, 10},  {3, 1, 1, 40, 10},   {2, 7, 7, 512, 10},
                                     {3, 2, 2, 10, 10},   {2, 9, 3, 25, 2},   {1, 5, 1, 7, 3},     {2, 6, 6, 3, 1},
                                     {2, 9001, 1, 1, 1},  {2, 20, 20, 5, 2}};
enum { GROUPED = sizeof grouped / sizeof *grouped };

/* Goodness made before takes the place of the sums, bit for bit. */
static void normalise_with_goodness(struct scene *scene, struct ffb_tensor *x, enum ffb_normalisation kind,
                                    int groups) {
  const int64_t *d = x->shape;
  for (int mean = 0; mean <= (kind == FFB_NORMALISE_RMS); mean++) {
    struct ffb_tensor *goodness = operand(scene, FFB_F32, ffb_rows(x), groups);
    struct ffb_tensor *y[2] = {image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]),
                               image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3])};
    side_begin(scene, SUBJECT);
    CALL(scene, GOODNESS, goodness, .goodness = goodness, .y = x, .groups = groups, .mean = mean);
    CALL(scene, NORMALISE, normalise, .y = y[0], .x = x, .kind = kind, .groups = groups);
    CALL(scene, NORMALISE, normalise, .y = y[1], .x = x, .goodness = goodness, .kind = kind, .groups = groups,
         .mean = mean);
    side_end(scene);
    assert_memory_equal(after(y[0], SUBJECT), after(y[1], SUBJECT), (size_t)ffb_elements(x) * sizeof(float));
  }
}

static void rows_are_normalised(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < GROUPED; s++) {
    for (int form = 0; form < 8; form++) {
      enum ffb_normalisation kind = form & 1 ? FFB_NORMALISE_RMS : FFB_NORMALISE_L2;
      const int64_t *d = grouped[s];
      int groups = (int)d[4];
      struct ffb_tensor *x = random_image(scene, d[0], d[1], d[2], d[3], 41);
      struct ffb_tensor *y = form & 2 ? x : image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
      struct ffb_tensor *inverse = form & 4 ? operand(scene, FFB_F32, d[0], groups) : NULL;
      int64_t rows = ffb_rows(x), columns = ffb_columns(x);
      if (rows > 2)
        memset(f32(x) + columns, 0, (size_t)columns * sizeof(float)); /* a row of a dead layer */
      RUN_BOTH(scene, NORMALISE, normalise, .y = y, .x = x, .inverse = inverse, .kind = kind, .groups = groups);
      assert_same(y, "normalise");
      if (inverse)
        assert_same(inverse, "inverse");
      double *in = calloc((size_t)columns, sizeof *in), *out = calloc((size_t)columns, sizeof *out);
      assert_true(in && out);
      for (int64_t m = 0; m < rows; m++) {
        for (int64_t f = 0; f < columns; f++)
          in[f] = (double)f32(x)[m * columns + f];
        normalise_row(in, out, columns, ffb_channels(x), groups, kind);
        for (int64_t f = 0; f < columns; f++)
          assert_near((double)f32_after(y)[m * columns + f], out[f], 2e-6 * (1 + fabs(out[f])), "normalise", f);
      }
      free(in);
      free(out);
      normalise_with_goodness(scene, x, kind, groups);
      scene_clear(scene);
    }
  }
}

/* Gradient of sum(gy * normalise(x)) against central differences of the same in double. */
static void normalise_gradient_matches_differences(void **state) {
  struct scene *scene = *state;
  enum { ROWS = 4, MOST = 5000 };
  static const int64_t widths[] = {1, 3, 17, 129, MOST};
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
    for (int form = 0; form < 4; form++) {
      enum ffb_normalisation kind = form & 1 ? FFB_NORMALISE_RMS : FFB_NORMALISE_L2;
      int64_t columns = widths[w];
      struct ffb_tensor *gy = random_f32(scene, ROWS, columns, 42), *y = operand(scene, FFB_F32, ROWS, columns);
      struct ffb_tensor *gx = form & 2 ? gy : operand(scene, FFB_F32, ROWS, columns);
      struct ffb_tensor *inverse = operand(scene, FFB_F32, ROWS, 1), *x = random_f32(scene, ROWS, columns, 43);
      for (int side = 0; side < SIDES; side++) {
        side_begin(scene, (enum side)side);
        CALL(scene, NORMALISE, normalise, .y = y, .x = x, .inverse = inverse, .kind = kind, .groups = 1);
        CALL(scene, NORMALISE_GRADIENT, normalise_gradient, .gx = gx, .gy = gy, .y = y, .inverse = inverse,
             .kind = kind);
        side_end(scene);
      }
      assert_same(gx, "normalise_gradient");
      for (int64_t m = 0; m < ROWS; m++) {
        for (int64_t f = 0; f < columns; f += 1 + columns / 150) {
          double in[MOST], out[MOST], sum[2] = {0}, step = 1e-5;
          for (int sign = 0; sign < 2; sign++) {
            for (int64_t j = 0; j < columns; j++)
              in[j] = (double)f32(x)[m * columns + j] + (j == f ? (sign ? step : -step) : 0);
            normalise_row(in, out, columns, columns, 1, kind);
            for (int64_t j = 0; j < columns; j++)
              sum[sign] += (double)f32(gy)[m * columns + j] * out[j];
          }
          double factor = (double)f32_after(inverse)[m];
          assert_near((double)f32_after(gx)[m * columns + f], (sum[1] - sum[0]) / (2 * step), 2e-6 * (1 + factor),
                      "normalise_gradient", f);
        }
      }
      scene_clear(scene);
    }
  }
}

/* ---- losses --------------------------------------------------------------------------------------------------- */

static long double cross_entropy(const long double *z, int64_t classes, int label) {
  long double largest = z[0], sum = 0;
  for (int64_t c = 1; c < classes; c++)
    largest = fmaxl(largest, z[c]);
  for (int64_t c = 0; c < classes; c++)
    sum += expl(z[c] - largest);
  return logl(sum) + largest - z[label];
}

struct softmax {
  struct ffb_tensor *gradient, *logits, *labels, *statistics;
};

static struct softmax make_softmax(struct scene *scene, int64_t rows, int64_t classes, float spread) {
  struct softmax s = {.gradient = operand(scene, FFB_F32, rows, classes),
                      .logits = random_f32(scene, rows, classes, 51),
                      .labels = operand(scene, FFB_S32, rows, 1),
                      .statistics = operand(scene, FFB_F64, FFB_STATISTIC_COUNT, 1)};
  for (int64_t i = 0; i < rows * classes; i++)
    f32(s.logits)[i] *= spread;
  for (int64_t m = 0; m < rows; m++)
    s32(s.labels)[m] = (int32_t)(m * 3 % classes);
  for (int i = 0; i < FFB_STATISTIC_COUNT; i++)
    f64(s.statistics)[i] = 10 * (i + 1); /* totals go on from what is there */
  return s;
}

static void run_softmax(struct scene *scene, const struct softmax *s, float logit_scale) {
  RUN_BOTH(scene, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = s->gradient, .logits = s->logits,
           .labels = s->labels, .statistics = s->statistics, .logit_scale = logit_scale);
}

static void softmax_matches_long_double(void **state) {
  struct scene *scene = *state;
  static const int64_t shapes[][2] = {{1, 2}, {3, 10}, {17, 33}, {32, 10}, {127, 64}, {300, 3}};
  static const float spreads[] = {0.01f, 3, 80};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    for (int form = 0; form < 12; form++) {
      int64_t rows = shapes[i][0], classes = shapes[i][1];
      float scale = form & 1 ? 1 : 0.25f;
      struct softmax s = make_softmax(scene, rows, classes, spreads[form / 4]);
      if (form & 2)
        s.gradient = s.logits; /* in place */
      run_softmax(scene, &s, scale);
      long double loss = 10;
      double correct = 20;
      for (int64_t m = 0; m < rows; m++) {
        long double z[FFB_MAX_CLASSES] = {0}, row = 0;
        int label = s32(s.labels)[m], best = 0;
        for (int64_t c = 0; c < classes; c++) {
          z[c] = (long double)scale * (long double)f32(s.logits)[m * classes + c];
          best = z[c] > z[best] ? (int)c : best;
        }
        row = cross_entropy(z, classes, label);
        loss += row;
        correct += best == label;
        for (int64_t c = 0; c < classes; c++) {
          long double probability = expl(-cross_entropy(z, classes, (int)c));
          double wanted = (double)((probability - (c == label)) * (long double)scale / (long double)rows);
          assert_near((double)f32_after(s.gradient)[m * classes + c], wanted, 2e-6 / (double)rows, "softmax", c);
        }
      }
      const double *totals = f64_after(s.statistics);
      assert_near(totals[FFB_STATISTIC_LOSS], (double)loss, 1e-6 * (double)(rows + fabsl(loss)), "softmax loss", 0);
      assert_true(totals[FFB_STATISTIC_CORRECT] == correct);
      assert_true(totals[FFB_STATISTIC_SAMPLES] == 30 + (double)rows);
      assert_true(totals[FFB_STATISTIC_NOT_FINITE] == 40);
      scene_clear(scene);
    }
  }
}

static void softmax_gradient_matches_differences(void **state) {
  struct scene *scene = *state;
  enum { ROWS = 5, WIDTH = 10 };
  struct softmax s = make_softmax(scene, ROWS, WIDTH, 3);
  run_softmax(scene, &s, 1.5f);
  for (int m = 0; m < ROWS; m++) {
    for (int c = 0; c < WIDTH; c++) {
      long double loss[2], step = 1e-6L;
      for (int sign = 0; sign < 2; sign++) {
        long double z[WIDTH];
        for (int j = 0; j < WIDTH; j++)
          z[j] = 1.5L * ((long double)f32(s.logits)[m * WIDTH + j] + (j == c ? (sign ? step : -step) : 0));
        loss[sign] = cross_entropy(z, WIDTH, s32(s.labels)[m]) / ROWS;
      }
      assert_near((double)f32_after(s.gradient)[m * WIDTH + c], (double)((loss[1] - loss[0]) / (2 * step)), 1e-6,
                  "softmax gradient", c);
    }
  }
}

/* A batch in two parts: the gradients of the parts are those of the whole, where each is told its size. */
static void softmax_of_a_part_counts_all_rows(void **state) {
  struct scene *scene = *state;
  enum { ROWS = 4, WIDTH = 10, WHOLE = 12 };
  struct softmax s = make_softmax(scene, ROWS, WIDTH, 3);
  float part[ROWS * WIDTH];
  RUN_BOTH(scene, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = s.gradient, .logits = s.logits,
           .labels = s.labels, .statistics = s.statistics, .logit_scale = 1, .total_rows = WHOLE);
  assert_true(f64_after(s.statistics)[FFB_STATISTIC_SAMPLES] == 30 + ROWS);
  memcpy(part, f32_after(s.gradient), sizeof part);
  run_softmax(scene, &s, 1);
  for (int i = 0; i < ROWS * WIDTH; i++)
    assert_near((double)part[i], (double)f32_after(s.gradient)[i] * ROWS / WHOLE, 1e-7, "part of a batch", i);
}

static void softmax_of_odd_logits(void **state) {
  struct scene *scene = *state;
  static const struct {
    float logit;
    double not_finite, correct;
  } odd[] = {{NAN, 41, 20}, {INFINITY, 41, 21}, {-INFINITY, 41, 20}, {3e38f, 40, 21}};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    struct softmax s = make_softmax(scene, 1, 10, 1);
    s.gradient = NULL;
    s32(s.labels)[0] = 4;
    f32(s.logits)[4] = odd[i].logit;
    run_softmax(scene, &s, 1);
    assert_true(f64_after(s.statistics)[FFB_STATISTIC_NOT_FINITE] == odd[i].not_finite);
    assert_true(f64_after(s.statistics)[FFB_STATISTIC_CORRECT] == odd[i].correct);
    scene_clear(scene);
  }
  for (int place = 0; place < 10; place += 3) { /* a NaN beside the largest logit makes the sample wrong */
    struct softmax s = make_softmax(scene, 1, 10, 1);
    s32(s.labels)[0] = 4;
    f32(s.logits)[4] = 50;
    f32(s.logits)[place] = NAN;
    run_softmax(scene, &s, 1);
    assert_true(f64_after(s.statistics)[FFB_STATISTIC_NOT_FINITE] == 41);
    assert_true(f64_after(s.statistics)[FFB_STATISTIC_CORRECT] == 20);
    scene_clear(scene);
  }
  struct softmax ties = make_softmax(scene, 2, 10, 0);
  s32(ties.labels)[0] = s32(ties.labels)[1] = 0; /* the first of equals is the prediction */
  run_softmax(scene, &ties, 1);
  assert_true(f64_after(ties.statistics)[FFB_STATISTIC_CORRECT] == 22);
  assert_near(f64_after(ties.statistics)[FFB_STATISTIC_LOSS], 10 + 2 * log(10), 1e-6, "softmax loss", 0);
}

static void goodness_sums_squares(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < GROUPED; s++) {
    for (int form = 0; form < 4; form++) {
      bool mean = form & 1, accumulate = form & 2;
      const int64_t *d = grouped[s];
      int groups = (int)d[4];
      struct ffb_tensor *y = random_image(scene, d[0], d[1], d[2], d[3], 61);
      struct ffb_tensor *goodness =
          accumulate ? random_f32(scene, d[0], groups, 62) : operand(scene, FFB_F32, d[0], groups);
      RUN_BOTH(scene, GOODNESS, goodness, .goodness = goodness, .y = y, .groups = groups, .mean = mean,
               .accumulate = accumulate);
      assert_same(goodness, "goodness");
      int64_t columns = ffb_columns(y);
      double *row = calloc((size_t)columns, sizeof *row), squares[MOST_GROUPS], counts[MOST_GROUPS];
      assert_non_null(row);
      for (int64_t m = 0; m < d[0]; m++) {
        for (int64_t f = 0; f < columns; f++)
          row[f] = (double)f32(y)[m * columns + f];
        group_squares(row, columns, ffb_channels(y), groups, squares, counts);
        for (int g = 0; g < groups; g++) {
          double sum = mean ? squares[g] / counts[g] : squares[g];
          sum += accumulate ? (double)f32(goodness)[m * groups + g] : 0;
          assert_near((double)f32_after(goodness)[m * groups + g], sum, 3e-6 * (1 + sum), "goodness", g);
        }
      }
      free(row);
      scene_clear(scene);
    }
  }
}

/* gy of sum over groups of a[g] * G[g](y), against differences: G is quadratic, so they are exact up to rounding. */
static void goodness_gradient_matches_differences(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < GROUPED; s++) {
    for (int form = 0; form < 6; form++) {
      bool mean = form & 1, accumulate = form & 2, in_place = form & 4;
      const int64_t *d = grouped[s];
      int groups = (int)d[4];
      struct ffb_tensor *y = random_image(scene, d[0], d[1], d[2], d[3], 63);
      struct ffb_tensor *gradient = random_f32(scene, d[0], groups, 64);
      struct ffb_tensor *gy = in_place     ? y
                              : accumulate ? random_image(scene, d[0], d[1], d[2], d[3], 65)
                                           : image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
      RUN_BOTH(scene, GOODNESS_GRADIENT, goodness_gradient, .gy = gy, .gradient = gradient, .y = y, .groups = groups,
               .mean = mean, .accumulate = accumulate);
      assert_same(gy, "goodness_gradient");
      int64_t columns = ffb_columns(y), channels = ffb_channels(y);
      for (int64_t i = 0; i < ffb_elements(y); i++) {
        int g = group_of(i % columns, channels, groups);
        int64_t width = ffb_group_start(channels, groups, g + 1) - ffb_group_start(channels, groups, g);
        double value = (double)f32(y)[i], step = 1e-3;
        double slope = ((value + step) * (value + step) - (value - step) * (value - step)) / (2 * step);
        double wanted = (double)f32(gradient)[i / columns * groups + g] * slope;
        wanted /= mean ? (double)(width * (columns / channels)) : 1;
        wanted += accumulate ? (double)f32(gy)[i] : 0;
        assert_near((double)f32_after(gy)[i], wanted, 1e-6, "goodness_gradient", i);
      }
      scene_clear(scene);
    }
  }
}

static double softplus(double z) {
  return fmax(z, 0) + log1p(exp(-fabs(z)));
}

static double pair_loss(const double *goodness, int64_t pairs, double theta) {
  double loss = 0;
  for (int64_t m = 0; m < pairs; m++)
    loss += softplus(theta - goodness[m]) + softplus(goodness[pairs + m] - theta);
  return loss;
}

static void goodness_loss_and_its_gradient(void **state) {
  struct scene *scene = *state;
  enum { MOST = 33 };
  static const int64_t counts[] = {1, 3, 17, MOST};
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
    int64_t pairs = counts[n];
    struct ffb_tensor *goodness = random_f32(scene, 2 * pairs, 1, 66),
                      *gradient = operand(scene, FFB_F32, 2 * pairs, 1);
    struct ffb_tensor *statistics = zeroed(operand(scene, FFB_F64, FFB_STATISTIC_COUNT, 1));
    double value[2 * MOST], correct = 0, theta = 2.5;
    for (int64_t i = 0; i < 2 * pairs; i++) {
      f32(goodness)[i] = 2.5f + 6 * f32(goodness)[i];
      value[i] = (double)f32(goodness)[i];
    }
    RUN_BOTH(scene, GOODNESS_LOSS, goodness_loss, .gradient = gradient, .goodness = goodness, .statistics = statistics,
             .theta = 2.5f);
    for (int64_t m = 0; m < pairs; m++)
      correct += value[m] > value[pairs + m];
    const double *totals = f64_after(statistics);
    assert_near(totals[FFB_STATISTIC_LOSS], pair_loss(value, pairs, theta), 1e-6 * (double)pairs * 8, "loss", 0);
    assert_true(totals[FFB_STATISTIC_CORRECT] == correct && totals[FFB_STATISTIC_SAMPLES] == (double)pairs);
    assert_true(totals[FFB_STATISTIC_NOT_FINITE] == 0);
    for (int64_t i = 0; i < 2 * pairs; i++) {
      double keep = value[i], step = 1e-5;
      value[i] = keep + step;
      double above = pair_loss(value, pairs, theta);
      value[i] = keep - step;
      double below = pair_loss(value, pairs, theta);
      value[i] = keep;
      assert_near((double)f32_after(gradient)[i], (above - below) / (2 * step) / (double)pairs, 1e-6, "gradient", i);
    }
    scene_clear(scene);
  }
}

static void goodness_loss_at_the_ends(void **state) {
  struct scene *scene = *state;
  static const float ends[] = {1e30f, -1e30f, INFINITY, NAN, 1000};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    struct ffb_tensor *goodness = operand(scene, FFB_F32, 2, 1), *gradient = operand(scene, FFB_F32, 2, 1);
    struct ffb_tensor *statistics = zeroed(operand(scene, FFB_F64, FFB_STATISTIC_COUNT, 1));
    f32(goodness)[0] = 3;
    f32(goodness)[1] = ends[i];
    RUN_BOTH(scene, GOODNESS_LOSS, goodness_loss, .gradient = gradient, .goodness = goodness, .statistics = statistics,
             .theta = 2);
    double not_finite = f64_after(statistics)[FFB_STATISTIC_NOT_FINITE];
    assert_true(not_finite == (isfinite(ends[i]) ? 0 : 1));
    assert_true(isnan(ends[i]) ? isnan(f32_after(gradient)[1]) : f32_after(gradient)[1] == (ends[i] > 0 ? 1 : 0));
    assert_near((double)f32_after(gradient)[0], -1 / (1 + exp(1)), 1e-6, "gradient", 0);
    RUN_SUBJECT(scene, GOODNESS_LOSS, goodness_loss, .gradient = gradient, .goodness = goodness, .theta = 2);
    scene_clear(scene);
  }
}

static void first_number_that_is_not_finite_is_noted(void **state) {
  struct scene *scene = *state;
  static const struct {
    float odd;
    uint32_t before, wanted; /* at step 41 */
  } notes[] = {{1, 0, 0}, {NAN, 0, 42}, {INFINITY, 0, 42}, {-INFINITY, 0, 42}, {3e38f, 0, 0}, {NAN, 7, 7}, {1, 7, 7}};
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
    for (int64_t n = 1; n < 40; n += 19) {
      for (int64_t place = 0; place < n; place += 19) {
        struct ffb_tensor *first = scalar_u32(scene, notes[i].before), *step = scalar_u32(scene, 41);
        struct ffb_tensor *x = random_f32(scene, n, 1, 67);
        f32(x)[place] = notes[i].odd;
        RUN_BOTH(scene, NOTE_NOT_FINITE, note_not_finite, .first = first, .x = x, .step = step);
        assert_same(first, "note_not_finite");
        assert_int_equal(*(const uint32_t *)after(first, SUBJECT), notes[i].wanted);
        scene_clear(scene);
      }
    }
  }
}

/* ---- optimisers ----------------------------------------------------------------------------------------------- */

enum { HAND_WEIGHTS = 4, HAND_STEPS = 3 };
static const float hand_weights[HAND_WEIGHTS] = {1, -0.5f, 0.25f, 2};
static const float hand_gradients[HAND_STEPS][HAND_WEIGHTS] = {
    {0.5f, -1, 0, 0.25f}, {0.25f, 0.5f, -0.125f, -1}, {-2, 0.0625f, 1, 0.75f}};

static void assert_hand(const struct ffb_tensor *tensor, const double *wanted, const char *what) {
  for (int i = 0; i < HAND_WEIGHTS; i++)
    assert_near((double)f32_after(tensor)[i], wanted[i], 3e-7 * (1 + fabs(wanted[i])), what, i);
}

/* The wanted numbers of the next two cases were made with a few lines of Python floats (IEEE double) that follow
 * PyTorch's documentation of torch.optim.SGD and torch.optim.Adam; they share no code with this program. */
static void sgd_takes_known_steps(void **state) {
  struct scene *scene = *state;
  static const double weights[HAND_STEPS][HAND_WEIGHTS] = {{0.949, -0.3995, 0.24975, 1.973},
                                                           {0.877151, -0.3586505, 0.26177525, 2.046727},
                                                           {1.011609749, -0.3277772995, 0.17233619975, 2.036034573}};
  static const double momenta[HAND_STEPS][HAND_WEIGHTS] = {{0.51, -1.005, 0.0025, 0.27},
                                                           {0.71849, -0.408495, -0.1202525, -0.73727},
                                                           {-1.34458749, -0.308732005, 0.8943905025, 0.10692427}};
  static const double plain[HAND_WEIGHTS] = {0.975, -0.45, 0.25, 1.9875};
  struct ffb_tensor *w = operand(scene, FFB_F32, 2, 2), *momentum = zeroed(operand(scene, FFB_F32, 2, 2));
  struct ffb_tensor *gradient = operand(scene, FFB_F32, 2, 2), *rate = scalar_f32(scene, 0.1f);
  struct ffb_tensor *multiplier = scalar_f32(scene, 0.5f);
  memcpy(f32(w), hand_weights, sizeof hand_weights);
  for (int step = 0; step < HAND_STEPS; step++) {
    memcpy(f32(gradient), hand_gradients[step], sizeof hand_gradients[step]);
    RUN_BOTH(scene, SGD_UPDATE, sgd_update,
             .rule = {.weights = w,
                      .momentum = momentum,
                      .learning_rate = rate,
                      .momentum_factor = 0.9f,
                      .weight_decay = 0.01f},
             .gradient = gradient);
    assert_hand(w, weights[step], "sgd weights");
    assert_hand(momentum, momenta[step], "sgd momentum");
    memcpy(f32(w), f32_after(w), sizeof hand_weights);
    memcpy(f32(momentum), f32_after(momentum), sizeof hand_weights);
  }
  memcpy(f32(w), hand_weights, sizeof hand_weights);
  memcpy(f32(gradient), hand_gradients[0], sizeof hand_weights);
  RUN_BOTH(scene, SGD_UPDATE, sgd_update, .rule = {.weights = w, .learning_rate = rate, .multiplier = multiplier},
           .gradient = gradient);
  assert_hand(w, plain, "sgd without momentum");
}

static void adam_takes_known_steps(void **state) {
  struct scene *scene = *state;
  static const double weights[HAND_STEPS][HAND_WEIGHTS] = {
      {0.9900000001960785, -0.4900000000995025, 0.24000003999984, 1.9900000003703704},
      {0.9806504665194824, -0.4872796312392453, 0.2473033239559098, 1.9953956049751056},
      {0.9847941408850561, -0.4855080111556539, 0.2416475265283595, 1.994861620579906}};
  static const double first[HAND_WEIGHTS] = {-0.13431834953330404, -0.031083279631328783, 0.08941580335995575,
                                             0.010656395605308455};
  static const double second[HAND_WEIGHTS] = {0.0042879306709639915, 0.0012562057406188697, 0.0010199741490207915,
                                              0.0016252187813194105};
  struct ffb_tensor *w = operand(scene, FFB_F32, 4, 1), *m = zeroed(operand(scene, FFB_F32, 4, 1));
  struct ffb_tensor *v = zeroed(operand(scene, FFB_F32, 4, 1)), *gradient = operand(scene, FFB_F32, 4, 1);
  struct ffb_tensor *rate = scalar_f32(scene, 0.01f), *corrections = operand(scene, FFB_F32, 2, 1);
  memcpy(f32(w), hand_weights, sizeof hand_weights);
  for (int step = 0; step < HAND_STEPS; step++) {
    f32(corrections)[0] = (float)(1 / (1 - pow(0.9, step + 1)));
    f32(corrections)[1] = (float)(1 / (1 - pow(0.999, step + 1)));
    memcpy(f32(gradient), hand_gradients[step], sizeof hand_weights);
    RUN_BOTH(scene, ADAM_UPDATE, adam_update,
             .rule = {.weights = w,
                      .first = m,
                      .second = v,
                      .learning_rate = rate,
                      .corrections = corrections,
                      .beta1 = 0.9f,
                      .beta2 = 0.999f,
                      .epsilon = 1e-8f,
                      .weight_decay = 0.01f},
             .gradient = gradient);
    assert_hand(w, weights[step], "adam weights");
    memcpy(f32(w), f32_after(w), sizeof hand_weights);
    memcpy(f32(m), f32_after(m), sizeof hand_weights);
    memcpy(f32(v), f32_after(v), sizeof hand_weights);
  }
  assert_hand(m, first, "adam first moment");
  assert_hand(v, second, "adam second moment");
}

static void updates_give_the_same_bits(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < MATRICES; s++) {
    for (int r = 0; r < RULES; r++) {
      struct ffb_update_rule rule = make_rule(scene, &rule_cases[r], (int64_t[]){matrices[s][0], matrices[s][1], 1, 1});
      struct ffb_tensor *gradient = random_f32(scene, matrices[s][0], matrices[s][1], 74);
      for (int side = 0; side < SIDES; side++) {
        side_begin(scene, (enum side)side);
        call_update(scene, &rule, gradient);
        call_update(scene, &rule, gradient);
        side_end(scene);
      }
      assert_same_rule(&rule, "update");
      scene_clear(scene);
    }
  }
}

/* ---- fused slots against their compositions on the reference ------------------------------------------------- */

static void suq_tensor_is_scale_and_quantise(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_SUQ_TENSOR);
  for (int l = 0; l < LENGTHS; l++) {
    for (int form = 0; form < 16; form++) {
      bool stochastic = form & 1, ratio = form & 2, running = form & 4, nan = form & 8;
      int64_t n = lengths[l];
      struct ffb_tensor *x = random_f32(scene, n, 1, 81), *q = operand(scene, FFB_S8, n, 1);
      struct ffb_tensor *scale = operand(scene, FFB_F32, 1, 1), *step = scalar_u32(scene, 321);
      if (nan)
        f32(x)[n / 2] = NAN;
      union ffb_arguments fused = {
          .suq_tensor = {.scale = {.scale = scale,
                                   .x = x,
                                   .ratio = ratio ? scalar_f32(scene, 0.6f) : NULL,
                                   .running = running ? scalar_f32(scene, 0.5f) : NULL},
                         .quantise = {.q = q,
                                      .x = x,
                                      .scale = scale,
                                      .step = stochastic ? step : NULL,
                                      .rounding = stochastic ? FFB_ROUND_STOCHASTIC : FFB_ROUND_NEAREST,
                                      .purpose = FFB_PURPOSE_TENSOR + 81,
                                      .seed = 82}}};
      side_begin(scene, ORACLE);
      call_operator(scene, FFB_SUQ_SCALE, &(union ffb_arguments){.suq_scale = fused.suq_tensor.scale});
      call_operator(scene, FFB_SUQ_QUANTISE, &(union ffb_arguments){.suq_quantise = fused.suq_tensor.quantise});
      side_end(scene);
      run_side(scene, SUBJECT, FFB_SUQ_TENSOR, &fused);
      assert_same(q, "suq_tensor");
      assert_same(scale, "suq_tensor scale");
      if (running)
        assert_same(fused.suq_tensor.scale.running, "suq_tensor running maximum");
      scene_clear(scene);
    }
  }
}

static void suq_tensor_takes_a_given_range(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_SUQ_TENSOR);
  for (int fixed = 0; fixed < 2; fixed++) {
    struct ffb_tensor *x = random_f32(scene, 333, 3, 83), *q = operand(scene, FFB_S8, 333, 3);
    struct ffb_tensor *scale = operand(scene, FFB_F32, 1, 1), *running = scalar_f32(scene, 0.6f);
    struct ffb_suq_scale range = {.scale = scale,
                                  .running = fixed ? NULL : running,
                                  .range = fixed ? FFB_RANGE_FIXED : FFB_RANGE_RUNNING,
                                  .fixed = 0.4f};
    struct ffb_suq_quantise quantise = {.q = q, .x = x, .scale = scale};
    side_begin(scene, ORACLE);
    call_operator(scene, FFB_SUQ_SCALE, &(union ffb_arguments){.suq_scale = range});
    call_operator(scene, FFB_SUQ_QUANTISE, &(union ffb_arguments){.suq_quantise = quantise});
    side_end(scene);
    RUN_SUBJECT(scene, SUQ_TENSOR, suq_tensor, .scale = range, .quantise = quantise);
    assert_same(q, "suq_tensor");
    assert_same(scale, "suq_tensor scale");
    scene_clear(scene);
  }
}

/* The optional operands of a linear layer. */
struct finish {
  bool transpose_w, bias, mask, relu;
};

static struct finish finish_of(int form) {
  return (struct finish){.transpose_w = form & 1, .bias = form & 2, .mask = form & 4, .relu = form & 8};
}

/* With zeros and NaNs, neither of which is greater than 0. */
static struct ffb_tensor *random_mask(struct scene *scene, int64_t rows, int64_t columns, uint64_t seed) {
  struct ffb_tensor *mask = random_f32(scene, rows, columns, seed);
  for (int64_t i = 0; i < rows * columns; i += 5)
    f32(mask)[i] = i % 2 ? NAN : 0;
  return mask;
}

static void call_finish(struct scene *scene, struct ffb_tensor *y, struct ffb_tensor *bias, struct ffb_tensor *mask,
                        bool relu) {
  if (bias)
    CALL(scene, ADD_BIAS, add_bias, .y = y, .bias = bias);
  if (relu)
    CALL(scene, ACTIVATE, activate, .y = y, .x = y, .kind = FFB_ACTIVATION_RELU);
  if (mask)
    CALL(scene, ACTIVATE_GRADIENT, activate_gradient, .gx = y, .gy = y, .v = mask, .kind = FFB_ACTIVATION_RELU);
}

/* Large layers take a few forms only: forward with bias and ReLU, gradient with mask. */
static bool runs_form(const int64_t size[3], int form) {
  return size[0] * size[1] * size[2] < 1000000 || form == (1 | 2 | 8) || form == 4;
}

static void linear_f32_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_LINEAR_F32);
  for (int s = 0; s < SIZES; s++) {
    for (int form = 0; form < 16; form++) {
      if (!runs_form(sizes[s], form))
        continue;
      struct finish f = finish_of(form);
      int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
      struct ffb_tensor *x = random_f32(scene, m, k, 84), *y = operand(scene, FFB_F32, m, n);
      struct ffb_tensor *w = random_f32(scene, f.transpose_w ? n : k, f.transpose_w ? k : n, 85);
      struct ffb_tensor *bias = f.bias ? random_f32(scene, n, 1, 86) : NULL;
      struct ffb_tensor *mask = f.mask ? random_mask(scene, m, n, 87) : NULL;
      union ffb_arguments fused = {
          .linear_f32 = {
              .y = y, .x = x, .w = w, .bias = bias, .mask = mask, .transpose_w = f.transpose_w, .relu = f.relu}};
      give_workspace(scene, FFB_LINEAR_F32, &fused, &fused.linear_f32.workspace);
      side_begin(scene, ORACLE);
      CALL(scene, GEMM_F32, gemm_f32, .c = y, .a = x, .b = w, .transpose_b = f.transpose_w);
      call_finish(scene, y, bias, mask, f.relu);
      side_end(scene);
      run_side(scene, SUBJECT, FFB_LINEAR_F32, &fused);
      double *tolerance = product_tolerance(f32(x), f32(w), false, f.transpose_w, m, n, k);
      for (int64_t i = 0; i < m * n; i++) {
        tolerance[i] += 0x1p-23;
        if (mask && !(f32(mask)[i] > 0))
          assert_true(f32_after(y)[i] == 0);
      }
      assert_both_near(y, tolerance, 1, "linear_f32");
      free(tolerance);
      scene_clear(scene);
    }
  }
}

struct linear_s8 {
  struct ffb_linear_s8 arguments;
  struct ffb_tensor *sum; /* S32, for the composition */
};

static struct linear_s8 make_linear_s8(struct scene *scene, const int64_t size[3], struct finish f) {
  int64_t m = size[0], n = size[1], k = size[2];
  struct linear_s8 l = {.arguments = {.y = operand(scene, FFB_F32, m, n),
                                      .x = random_s8(scene, m, k, 88),
                                      .w = random_s8(scene, f.transpose_w ? n : k, f.transpose_w ? k : n, 89),
                                      .x_scale = scalar_f32(scene, 0.0123f),
                                      .w_scale = scalar_f32(scene, 0.00077f),
                                      .bias = f.bias ? random_f32(scene, n, 1, 90) : NULL,
                                      .mask = f.mask ? random_mask(scene, m, n, 91) : NULL,
                                      .transpose_w = f.transpose_w,
                                      .relu = f.relu},
                        .sum = operand(scene, FFB_S32, m, n)};
  union ffb_arguments arguments = {.linear_s8 = l.arguments};
  give_workspace(scene, FFB_LINEAR_S8, &arguments, &l.arguments.workspace);
  return l;
}

static void compare_linear_s8(struct scene *scene, const struct linear_s8 *l) {
  const struct ffb_linear_s8 *a = &l->arguments;
  side_begin(scene, ORACLE);
  CALL(scene, GEMM_S8, gemm_s8, .c = l->sum, .a = a->x, .b = a->w, .transpose_b = a->transpose_w);
  CALL(scene, DEQUANTISE, dequantise, .out = a->y, .x = l->sum, .scale_a = a->x_scale, .scale_b = a->w_scale);
  call_finish(scene, a->y, a->bias, a->mask, a->relu);
  side_end(scene);
  run_side(scene, SUBJECT, FFB_LINEAR_S8, &(union ffb_arguments){.linear_s8 = *a});
  assert_same(a->y, "linear_s8");
}

static void linear_s8_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_LINEAR_S8);
  for (int s = 0; s < SIZES; s++) {
    for (int form = 0; form < 16; form++) {
      if (!runs_form(sizes[s], form))
        continue;
      struct linear_s8 l = make_linear_s8(scene, sizes[s], finish_of(form));
      set_content(l.arguments.w, s % 3 ? RANDOM : MIXED_SIGNS, 0);
      compare_linear_s8(scene, &l);
      scene_clear(scene);
    }
  }
}

/* M, N, K: gy [M][N], x [M][K], weights [N][K]. */
static const int64_t update_sizes[][3] = {{1, 1, 1},    {3, 17, 33},     {33, 3, 127},   {127, 33, 17}, {32, 10, 1000},
                                          {64, 64, 64}, {32, 1000, 784}, {64, 1000, 17}, {31, 65, 63}};
enum { UPDATE_SIZES = sizeof update_sizes / sizeof *update_sizes };

static void linear_update_f32_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_LINEAR_UPDATE_F32);
  for (int s = 0; s < UPDATE_SIZES; s++) {
    for (int r = 0; r < RULES; r++) {
      int64_t m = update_sizes[s][0], n = update_sizes[s][1], k = update_sizes[s][2];
      if (m * n * k > 2000000 && r != 2 && r != 4)
        continue;
      struct ffb_tensor *gy = random_f32(scene, m, n, 92), *x = random_f32(scene, m, k, 93);
      struct ffb_tensor *gradient = operand(scene, FFB_F32, n, k);
      struct ffb_update_rule rule = make_rule(scene, &rule_cases[r], (int64_t[]){n, k, 1, 1});
      union ffb_arguments fused = {.linear_update_f32 = {.gy = gy, .x = x, .rule = rule}};
      give_workspace(scene, FFB_LINEAR_UPDATE_F32, &fused, &fused.linear_update_f32.workspace);
      side_begin(scene, ORACLE);
      CALL(scene, GEMM_F32, gemm_f32, .c = gradient, .a = gy, .b = x, .transpose_a = true);
      call_update(scene, &rule, gradient);
      side_end(scene);
      run_side(scene, SUBJECT, FFB_LINEAR_UPDATE_F32, &fused);
      double *tolerance = product_tolerance(f32(gy), f32(x), true, false, n, k, m);
      for (int64_t i = 0; i < n * k; i++)
        tolerance[i] += 4e-6;
      assert_both_near(rule_weights(&rule), tolerance, 0.1, "linear_update_f32 weights"); /* rate 0.037 */
      if (rule.kind == FFB_RULE_ADAM) {
        assert_both_near(rule.adam.first, tolerance, 1, "linear_update_f32 first moment");
        assert_both_near(rule.adam.second, tolerance, 1, "linear_update_f32 second moment");
      } else if (rule.sgd.momentum) {
        assert_both_near(rule.sgd.momentum, tolerance, 1, "linear_update_f32 momentum");
      }
      free(tolerance);
      scene_clear(scene);
    }
  }
}

struct update_s8 {
  struct ffb_linear_update_s8 arguments;
  struct ffb_tensor *sum, *gradient, *quantised, *scale; /* for the composition */
};

static struct update_s8 make_update_s8(struct scene *scene, const int64_t size[3], const struct rule_case *rule,
                                       enum gradient_form form, bool weight_scale) {
  int64_t m = size[0], n = size[1], k = size[2];
  struct update_s8 u = {.arguments = {.gy = random_s8(scene, m, n, 94),
                                      .x = random_s8(scene, m, k, 95),
                                      .gy_scale = scalar_f32(scene, 0.00031f),
                                      .x_scale = scalar_f32(scene, 0.0079f),
                                      .quantise_gradient = form != EXACT,
                                      .rounding = form == STOCHASTIC ? FFB_ROUND_STOCHASTIC : FFB_ROUND_NEAREST,
                                      .step = form == STOCHASTIC ? scalar_u32(scene, 55) : NULL,
                                      .purpose = FFB_PURPOSE_TENSOR + 96,
                                      .seed = 0x123456789u,
                                      .weight_scale = weight_scale ? operand(scene, FFB_F32, 1, 1) : NULL,
                                      .rule = make_rule(scene, rule, (int64_t[]){n, k, 1, 1})},
                        .sum = operand(scene, FFB_S32, n, k),
                        .gradient = operand(scene, FFB_F32, n, k),
                        .quantised = operand(scene, FFB_S8, n, k),
                        .scale = operand(scene, FFB_F32, 1, 1)};
  union ffb_arguments arguments = {.linear_update_s8 = u.arguments};
  give_workspace(scene, FFB_LINEAR_UPDATE_S8, &arguments, &u.arguments.workspace);
  return u;
}

static void call_update_s8_composition(struct scene *scene, const struct update_s8 *u) {
  const struct ffb_linear_update_s8 *a = &u->arguments;
  CALL(scene, GEMM_S8, gemm_s8, .c = u->sum, .a = a->gy, .b = a->x, .transpose_a = true);
  CALL(scene, DEQUANTISE, dequantise, .out = u->gradient, .x = u->sum, .scale_a = a->gy_scale, .scale_b = a->x_scale);
  if (a->quantise_gradient) {
    CALL(scene, SUQ_SCALE, suq_scale, .scale = u->scale, .x = u->gradient);
    CALL(scene, SUQ_QUANTISE, suq_quantise, .q = u->quantised, .x = u->gradient, .scale = u->scale, .step = a->step,
         .rounding = a->rounding, .purpose = a->purpose, .seed = a->seed);
    CALL(scene, DEQUANTISE, dequantise, .out = u->gradient, .x = u->quantised, .scale_a = u->scale);
  }
  call_update(scene, &a->rule, u->gradient);
  if (a->weight_scale)
    CALL(scene, SUQ_SCALE, suq_scale, .scale = a->weight_scale, .x = rule_weights(&a->rule));
}

static void compare_update_s8(struct scene *scene, const struct update_s8 *u, const char *what) {
  side_begin(scene, ORACLE);
  call_update_s8_composition(scene, u);
  side_end(scene);
  run_side(scene, SUBJECT, FFB_LINEAR_UPDATE_S8, &(union ffb_arguments){.linear_update_s8 = u->arguments});
  assert_same_rule(&u->arguments.rule, what);
  if (u->arguments.weight_scale)
    assert_same(u->arguments.weight_scale, what);
}

static void linear_update_s8_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_LINEAR_UPDATE_S8);
  for (int s = 0; s < UPDATE_SIZES; s++) {
    for (int r = 0; r < RULES; r++) {
      for (int form = 0; form < 2 * GRADIENT_FORMS; form++) {
        bool large = update_sizes[s][0] * update_sizes[s][1] * update_sizes[s][2] > 1000000;
        if (large && (form + r) % 5) /* a few forms of the large layers */
          continue;
        struct update_s8 u = make_update_s8(scene, update_sizes[s], &rule_cases[r],
                                            (enum gradient_form)(form % GRADIENT_FORMS), form >= GRADIENT_FORMS);
        compare_update_s8(scene, &u, "linear_update_s8");
        scene_clear(scene);
      }
    }
  }
}

static void linear_update_s8_of_extremes(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_LINEAR_UPDATE_S8);
  for (int form = 0; form < GRADIENT_FORMS; form++) {
    for (int zero = 0; zero < 2; zero++) {
      struct update_s8 u =
          make_update_s8(scene, (int64_t[]){2049, 9, 37}, &rule_cases[1], (enum gradient_form)form, true);
      set_content(u.arguments.gy, MIXED_SIGNS, 0);
      set_content(u.arguments.x, ALL_127, 0);
      if (zero)
        zeroed(u.arguments.gy); /* a gradient of nothing has scale 1 */
      compare_update_s8(scene, &u, "linear_update_s8 of extremes");
      scene_clear(scene);
    }
  }
}

/* A step that went wrong has to stay visible: a NaN or an infinity in a scale comes out as the composition gives it. */
static void fused_slots_pass_bad_scales_on(void **state) {
  struct scene *scene = *state;
  static const float bad[] = {NAN, INFINITY, 0};
  for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
    for (int form = 0; form < 16 && subject->operators[FFB_LINEAR_S8]; form += 3) {
      struct linear_s8 l = make_linear_s8(scene, (int64_t[]){5, 35, 17}, finish_of(form));
      f32(form % 2 ? l.arguments.x_scale : l.arguments.w_scale)[0] = bad[b];
      compare_linear_s8(scene, &l);
      scene_clear(scene);
    }
    for (int form = 0; form < GRADIENT_FORMS * RULES && subject->operators[FFB_LINEAR_UPDATE_S8]; form++) {
      struct update_s8 u = make_update_s8(scene, (int64_t[]){17, 9, 35}, &rule_cases[form % RULES],
                                          (enum gradient_form)(form / RULES), true);
      f32(form % 2 ? u.arguments.x_scale : u.arguments.gy_scale)[0] = bad[b];
      compare_update_s8(scene, &u, "linear_update_s8 of a bad scale");
      scene_clear(scene);
    }
  }
}

/* ---- threads, repetition, transfers ------------------------------------------------------------------------- */

/* The subject with one thread plays the oracle, the subject with two or three the subject. */
static void threads_do_not_change_integers(void **state) {
  (void)state;
  for (int threads = 2; threads <= 3; threads++) {
    struct scene scene = {.backends = {subject, subject},
                          .devices = {open_device(subject, 1), open_device(subject, threads)}};
    for (int s = 0; s < SIZES; s++) {
      run_s8_product(&scene, sizes[s], s & 1, s & 2, RANDOM);
      int64_t n = sizes[s][0] * sizes[s][1];
      struct ffb_tensor *x = random_f32(&scene, n, 1, 97), *q = operand(&scene, FFB_S8, n, 1);
      struct ffb_tensor *scale = operand(&scene, FFB_F32, 1, 1), *step = scalar_u32(&scene, 98);
      RUN_BOTH(&scene, SUQ_SCALE, suq_scale, .scale = scale, .x = x);
      assert_same(scale, "scale with threads");
      f32(scale)[0] = f32_after(scale)[0];
      quantise_both(&scene, q, x, scale, NULL, 0);
      quantise_both(&scene, q, x, scale, step, 99);
      scene_clear(&scene);
    }
    for (int s = 0; s < SIZES && subject->operators[FFB_LINEAR_S8]; s++) {
      struct linear_s8 l = make_linear_s8(&scene, sizes[s], (struct finish){.transpose_w = true, .bias = true});
      run_both(&scene, FFB_LINEAR_S8, &(union ffb_arguments){.linear_s8 = l.arguments});
      assert_same(l.arguments.y, "linear_s8 with threads");
      scene_clear(&scene);
    }
    for (int s = 0; s < UPDATE_SIZES && subject->operators[FFB_LINEAR_UPDATE_S8]; s++) {
      struct update_s8 u = make_update_s8(&scene, update_sizes[s], &rule_cases[s % RULES], STOCHASTIC, true);
      run_both(&scene, FFB_LINEAR_UPDATE_S8, &(union ffb_arguments){.linear_update_s8 = u.arguments});
      assert_same_rule(&u.arguments.rule, "linear_update_s8 with threads");
      assert_same(u.arguments.weight_scale, "linear_update_s8 with threads");
      scene_clear(&scene);
    }
    struct clip c = make_clip(&scene, 100003, 0);
    draw_distribution(c.x, LAPLACE, 100);
    search_clip(&scene, &c, false);
    scene_clear(&scene);
    for (int side = 0; side < SIDES; side++)
      subject->close(scene.devices[side]);
  }
}

static void f32_products_repeat_bit_for_bit(void **state) {
  struct scene *outer = *state;
  struct scene scene = {.backends = {subject, subject}, .devices = {outer->devices[SUBJECT], outer->devices[SUBJECT]}};
  for (int s = 0; s < SIZES; s++) {
    struct product p = make_f32_product(&scene, sizes[s], s & 1, s & 2);
    RUN_BOTH(&scene, GEMM_F32, gemm_f32, .c = p.c, .a = p.a, .b = p.b, .transpose_a = s & 1, .transpose_b = s & 2);
    assert_same(p.c, "gemm_f32 again");
    scene_clear(&scene);
  }
}

/* A view may start at any element of another tensor. */
static void operands_need_no_alignment(void **state) {
  struct scene *scene = *state;
  scene->misaligned = true;
  f32_products_of_small_integers_are_exact(state);
  s8_products_are_exact_at_the_longest_sum(state);
  scale_is_the_maximum_over_127(state);
  quantisation_gives_the_same_bits(state);
  dequantisation_gives_the_same_bits(state);
  bias_is_added_and_its_gradient_summed(state);
  relu_and_its_gradient(state);
  scaled_sums(state);
  goodness_sums_squares(state);
  normalise_gradient_matches_differences(state);
  updates_give_the_same_bits(state);
  fused_slots_pass_bad_scales_on(state);
}

static void memory_is_zeroed_and_carries_bytes(void **state) {
  struct scene *scene = *state;
  struct ffb_device *device = scene->devices[SUBJECT];
  enum { BYTES = 100001 };
  char *memory = subject->allocate(device, BYTES);
  unsigned char *host = malloc(BYTES), *back = malloc(BYTES);
  assert_true(memory && host && back);
  assert_int_equal((uintptr_t)memory % ALIGNMENT, 0);
  assert_true(subject->read(device, back, memory, BYTES));
  for (int i = 0; i < BYTES; i++) {
    assert_int_equal(back[i], 0);
    host[i] = (unsigned char)(i * 31 + i / 256);
  }
  assert_true(subject->write(device, memory, host, BYTES));
  assert_true(subject->write(device, memory + 7, host, 0));
  assert_true(subject->write(device, memory + 3, host + 1000, 5));
  assert_true(subject->synchronise(device));
  assert_true(subject->read(device, back, memory, BYTES));
  memmove(host + 3, host + 1000, 5);
  assert_memory_equal(back, host, BYTES);
  subject->release(device, memory);
  subject->release(device, NULL);
  assert_null(subject->allocate(device, SIZE_MAX - 8));
  assert_non_null(subject->failure(device));
  free(host);
  free(back);
}

/* ---- the tables of backends and operators -------------------------------------------------------------------- */

static void operators_are_named_once(void **state) {
  (void)state;
  assert_string_equal(ffb_operator_name(FFB_GEMM_S8), "gemm_s8");
  assert_false(ffb_operator_optional(FFB_ADAM_UPDATE));
  assert_true(ffb_operator_optional(FFB_SUQ_TENSOR));
  for (int a = 0; a < FFB_OPERATOR_COUNT; a++) {
    assert_non_null(ffb_operator_name((enum ffb_operator)a));
    for (int b = 0; b < a; b++)
      assert_string_not_equal(ffb_operator_name((enum ffb_operator)a), ffb_operator_name((enum ffb_operator)b));
  }
}

static void backend_fills_its_table(void **state) {
  (void)state;
  assert_int_equal(subject->magic, FFB_BACKEND_MAGIC);
  assert_int_equal(subject->version, FFB_BACKEND_VERSION);
  assert_int_equal(subject->size, sizeof *subject);
  assert_ptr_equal(ffb_backend_find(subject->name), subject);
  assert_null(ffb_backend_find("no such backend"));
  for (int o = 0; o < FFB_OPERATOR_COUNT; o++)
    assert_true(subject->operators[o] || ffb_operator_optional((enum ffb_operator)o));
}

/* ---- the program ---------------------------------------------------------------------------------------------- */

static int run_cases(const char *title) {
  const struct CMUnitTest cases[] = {
      CASE(operators_are_named_once),
      CASE(backend_fills_its_table),
      CASE(memory_is_zeroed_and_carries_bytes),
      CASE(fill_converts_to_every_type),
      CASE(images_are_converted_and_repeated),
      CASE(labels_are_written_into_the_first_pixels),
      CASE(patterns_are_written_all_over_the_image),
      CASE(uniform_negatives_are_wrong_and_uniform),
      CASE(hard_negatives_follow_the_masked_softmax),
      CASE(hard_negatives_survive_bad_scores),
      CASE(kept_negatives_are_used_again),
      CASE(negatives_depend_on_draw_and_seed),
      CASE(f32_products_are_near),
      CASE(f32_products_of_small_integers_are_exact),
      CASE(f32_product_passes_a_nan_on),
      CASE(s8_products_are_exact),
      CASE(s8_products_are_exact_at_the_longest_sum),
      CASE(scale_is_the_maximum_over_127),
      CASE(scale_of_nothing_is_one),
      CASE(scale_follows_its_range),
      CASE(quantisation_gives_the_same_bits),
      CASE(rounding_has_edges),
      CASE(stochastic_rounding_is_unbiased),
      CASE(segments_split_small_and_large),
      CASE(segments_stay_in_their_range),
      CASE(segments_of_odd_tensors),
      CASE(dequantisation_gives_the_same_bits),
      CASE(clip_search_finds_the_least_deviation),
      CASE(clip_ratio_is_tracked),
      CASE(gaussian_tensor_is_not_clipped),
      CASE(searches_of_odd_tensors),
      CASE(segment_search_finds_the_least_deviation),
      CASE(bias_is_added_and_its_gradient_summed),
      CASE(relu_and_its_gradient),
      CASE(scaled_sums),
      CASE(groups_cover_every_column_once),
      CASE(rows_are_normalised),
      CASE(normalise_gradient_matches_differences),
      CASE(softmax_matches_long_double),
      CASE(softmax_gradient_matches_differences),
      CASE(softmax_of_a_part_counts_all_rows),
      CASE(softmax_of_odd_logits),
      CASE(goodness_sums_squares),
      CASE(goodness_gradient_matches_differences),
      CASE(goodness_loss_and_its_gradient),
      CASE(goodness_loss_at_the_ends),
      CASE(first_number_that_is_not_finite_is_noted),
      CASE(sgd_takes_known_steps),
      CASE(adam_takes_known_steps),
      CASE(updates_give_the_same_bits),
      CASE(suq_tensor_is_scale_and_quantise),
      CASE(suq_tensor_takes_a_given_range),
      CASE(linear_f32_is_its_composition),
      CASE(linear_s8_is_its_composition),
      CASE(linear_update_f32_is_its_composition),
      CASE(linear_update_s8_is_its_composition),
      CASE(linear_update_s8_of_extremes),
      CASE(fused_slots_pass_bad_scales_on),
      CASE(threads_do_not_change_integers),
      CASE(f32_products_repeat_bit_for_bit),
      CASE(operands_need_no_alignment),
  };
  return cmocka_run_group_tests_name(title, cases, NULL, NULL);
}

int main(int count, char **names) {
  return test_every_backend(count, names, (int[]){0}, 1, run_cases);
}
