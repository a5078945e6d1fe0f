/* Convolutions, pooling and scaling by channel on every backend: test_convolution [name...], with one thread and with
 * two, against the reference backend and against facts that need no backend.
 *
 * INT8 convolutions, pooling and scaling have to give the reference's bits. FP32 convolutions may sum in any order: a
 * result may be off by 1e-5 of its length (the root of its squares). */
#include "tests/backend_cases.h"

#include "backends/backend.h"
#include "nn/operands.h"

#include <stdio.h>

/* Images, their size and channels, outputs, then the window. */
struct shape {
  int64_t m, h, w, c, o;
  struct ffb_window window;
  int groups;
};

static const struct shape shapes[] = {
    /* The first layers of the networks. */
    {3, 15, 15, 3, 16, {7, 2, 3}, 1},
    {1, 10, 11, 3, 33, {7, 2, 3}, 1},
    {3, 9, 8, 3, 24, {3, 2, 1}, 1},
    {5, 8, 8, 3, 16, {3, 1, 1}, 1},
    {1, 7, 6, 4, 40, {3, 1, 1}, 1},
    /* 3x3 on smaller and smaller maps. */
    {3, 8, 8, 16, 24, {3, 1, 1}, 1},
    {3, 8, 8, 16, 40, {3, 2, 1}, 1},
    {5, 4, 4, 40, 33, {3, 1, 1}, 1},
    {5, 4, 4, 33, 10, {3, 2, 1}, 1},
    {5, 2, 2, 96, 144, {3, 1, 1}, 1},
    {3, 2, 2, 96, 40, {3, 2, 1}, 1},
    {3, 1, 1, 144, 96, {3, 1, 1}, 1},
    {5, 1, 1, 96, 10, {3, 2, 1}, 1},
    {1, 17, 13, 10, 16, {3, 1, 1}, 1},
    {3, 32, 32, 16, 16, {3, 1, 1}, 1},
    {1, 2, 2, 300, 264, {3, 1, 1}, 1},
    /* 1x1. */
    {3, 8, 8, 96, 24, {1, 1, 0}, 1},
    {5, 1, 1, 144, 40, {1, 1, 0}, 1},
    {3, 8, 8, 24, 40, {1, 2, 0}, 1},
    {5, 7, 5, 33, 10, {1, 2, 0}, 1},
    {1, 1, 1, 10, 33, {1, 2, 0}, 1},
    {3, 16, 16, 16, 96, {1, 1, 0}, 1},
    {1, 3, 3, 3, 3, {1, 1, 0}, 1},
    /* Depthwise. */
    {3, 8, 8, 24, 24, {5, 1, 2}, 24},
    {3, 9, 7, 40, 40, {5, 2, 2}, 40},
    {5, 2, 2, 144, 144, {5, 1, 2}, 144},
    {1, 1, 1, 33, 33, {5, 2, 2}, 33},
    {5, 4, 4, 96, 96, {5, 2, 2}, 96},
    {3, 8, 8, 96, 96, {3, 1, 1}, 96},
    {3, 7, 9, 10, 10, {3, 2, 1}, 10},
    {3, 1, 1, 144, 144, {3, 1, 1}, 144},
    {1, 16, 17, 16, 16, {3, 1, 1}, 16},
    {1, 5, 6, 3, 3, {3, 2, 1}, 3},
    {3, 5, 5, 16, 32, {3, 1, 1}, 16}, /* two outputs a channel */
    {3, 6, 6, 40, 40, {1, 1, 0}, 40},
    /* Groups. */
    {3, 6, 5, 16, 24, {3, 1, 1}, 2},
    {5, 7, 7, 40, 10, {3, 2, 1}, 2},
    {1, 4, 4, 96, 144, {1, 1, 0}, 2},
    {3, 8, 8, 24, 40, {1, 2, 0}, 2},
    {1, 5, 5, 33, 24, {3, 1, 1}, 3},
    {3, 4, 4, 40, 40, {5, 1, 2}, 2},
    /* Windows that leave pixels out, do not overlap, or are wider than the image. */
    {3, 6, 6, 16, 10, {2, 2, 0}, 1},
    {1, 6, 6, 3, 16, {3, 2, 0}, 1},
    {3, 6, 5, 10, 3, {3, 1, 0}, 1},
    {1, 8, 8, 16, 3, {2, 3, 0}, 1},
    {1, 3, 2, 16, 10, {7, 2, 3}, 1},
    {3, 1, 9, 24, 16, {3, 1, 1}, 1},
    {3, 9, 1, 10, 24, {3, 2, 1}, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* A few of them, for cases that have many forms. */
static const struct shape update_shapes[] = {
    {3, 8, 8, 16, 24, {3, 1, 1}, 1},  {3, 9, 9, 3, 16, {7, 2, 3}, 1},   {5, 4, 4, 33, 10, {3, 2, 1}, 1},
    {3, 6, 5, 24, 40, {1, 1, 0}, 1},  {5, 1, 1, 40, 33, {1, 2, 0}, 1},  {3, 8, 8, 24, 24, {5, 1, 2}, 24},
    {3, 7, 9, 40, 40, {3, 2, 1}, 40}, {1, 1, 1, 33, 33, {3, 1, 1}, 33}, {3, 6, 5, 16, 24, {3, 1, 1}, 2}};
enum { UPDATE_SHAPES = sizeof update_shapes / sizeof *update_shapes };

/* A convolution with all its gradients. */
struct convolution {
  struct shape shape;
  struct ffb_tensor *x, *w, *gy;  /* what its products take */
  struct ffb_tensor *y, *gx, *gw; /* what they give */
  struct ffb_tensor *x_scale, *w_scale, *gy_scale;
};

static int64_t out_size(int64_t size, const struct ffb_window *window) {
  return (size + 2 * window->padding - window->kernel) / window->stride + 1;
}

static struct ffb_tensor *random_of(struct scene *scene, enum ffb_type type, int64_t n, int64_t h, int64_t w, int64_t c,
                                    uint64_t seed) {
  return type == FFB_S8 ? random_image_s8(scene, n, h, w, c, seed) : random_image(scene, n, h, w, c, seed);
}

/* Results start as garbage, or where they are to grow as noise. */
static struct convolution make_convolution(struct scene *scene, const struct shape *s, enum ffb_type type, bool grow) {
  int64_t p = out_size(s->h, &s->window), q = out_size(s->w, &s->window), k = s->window.kernel;
  struct convolution c = {.shape = *s,
                          .x = random_of(scene, type, s->m, s->h, s->w, s->c, 1),
                          .w = random_of(scene, type, s->o, k, k, s->c / s->groups, 2),
                          .gy = random_of(scene, type, s->m, p, q, s->o, 3),
                          .y = image_operand(scene, FFB_F32, s->m, p, q, s->o),
                          .gx = image_operand(scene, FFB_F32, s->m, s->h, s->w, s->c),
                          .gw = image_operand(scene, FFB_F32, s->o, k, k, s->c / s->groups)};
  if (type == FFB_S8) {
    c.x_scale = scalar_f32(scene, 0.0123f);
    c.w_scale = scalar_f32(scene, 0.00077f);
    c.gy_scale = scalar_f32(scene, 3.1e-5f);
  }
  for (int64_t i = 0; grow && i < ffb_elements(c.gx); i++)
    f32(c.gx)[i] = noise(4, i);
  for (int64_t i = 0; grow && i < ffb_elements(c.gw); i++)
    f32(c.gw)[i] = noise(5, i);
  return c;
}

enum product { FORWARD, INPUT, WEIGHT, PRODUCTS };
static const enum ffb_operator operators[2][PRODUCTS] = {
    {FFB_CONVOLVE_F32, FFB_CONVOLVE_INPUT_F32, FFB_CONVOLVE_WEIGHT_F32},
    {FFB_CONVOLVE_S8, FFB_CONVOLVE_INPUT_S8, FFB_CONVOLVE_WEIGHT_S8}};

static struct ffb_tensor *result(const struct convolution *c, enum product product) {
  return product == FORWARD ? c->y : product == INPUT ? c->gx : c->gw;
}

static enum ffb_operator operator_of(const struct convolution *c, enum product product) {
  return operators[c->x->type == FFB_S8][product];
}

static union ffb_arguments arguments_of(const struct convolution *c, enum product product, bool grow) {
  const struct ffb_window window = c->shape.window;
  int groups = c->shape.groups;
  switch (operator_of(c, product)) {
  case FFB_CONVOLVE_F32:
    return (union ffb_arguments){.convolve_f32 = {.y = c->y, .x = c->x, .w = c->w, .window = window, .groups = groups}};
  case FFB_CONVOLVE_INPUT_F32:
    return (union ffb_arguments){.convolve_input_f32 = {
                                     .gx = c->gx,
                                     .gy = c->gy,
                                     .w = c->w,
                                     .window = window,
                                     .groups = groups,
                                     .accumulate = grow,
                                 }};
  case FFB_CONVOLVE_WEIGHT_F32:
    return (union ffb_arguments){.convolve_weight_f32 = {
                                     .gw = c->gw,
                                     .gy = c->gy,
                                     .x = c->x,
                                     .window = window,
                                     .groups = groups,
                                     .accumulate = grow,
                                 }};
  case FFB_CONVOLVE_S8:
    return (union ffb_arguments){.convolve_s8 = {.y = c->y,
                                                 .x = c->x,
                                                 .w = c->w,
                                                 .x_scale = c->x_scale,
                                                 .w_scale = c->w_scale,
                                                 .window = window,
                                                 .groups = groups}};
  case FFB_CONVOLVE_INPUT_S8:
    return (union ffb_arguments){.convolve_input_s8 = {.gx = c->gx,
                                                       .gy = c->gy,
                                                       .w = c->w,
                                                       .gy_scale = c->gy_scale,
                                                       .w_scale = c->w_scale,
                                                       .window = window,
                                                       .groups = groups,
                                                       .accumulate = grow}};
  default:
    return (union ffb_arguments){.convolve_weight_s8 = {.gw = c->gw,
                                                        .gy = c->gy,
                                                        .x = c->x,
                                                        .gy_scale = c->gy_scale,
                                                        .x_scale = c->x_scale,
                                                        .window = window,
                                                        .groups = groups,
                                                        .accumulate = grow}};
  }
}

/* The call, with its scratch space; a plan would take it. */
static union ffb_arguments ready(struct scene *scene, const struct convolution *c, enum product product, bool grow) {
  union ffb_arguments arguments = arguments_of(c, product, grow);
  struct ffb_error error = {0};
  if (!ffb_operands_check(operator_of(c, product), &arguments, &error))
    fail_msg("%s", error.message);
  give_workspace(scene, operator_of(c, product), &arguments,
                 ffb_operand_workspace(operator_of(c, product), &arguments));
  return arguments;
}

static void run_subject(struct scene *scene, const struct convolution *c, enum product product, bool grow) {
  union ffb_arguments arguments = ready(scene, c, product, grow);
  run_side(scene, SUBJECT, operator_of(c, product), &arguments);
}

static void run_convolution(struct scene *scene, const struct convolution *c, enum product product, bool grow) {
  union ffb_arguments arguments = ready(scene, c, product, grow);
  run_both(scene, operator_of(c, product), &arguments);
}

/* The subject's tensor is within `share` of the oracle's, both as vectors. */
static void assert_close(const struct ffb_tensor *tensor, double share, const struct shape *s, const char *what) {
  const float *a = after(tensor, ORACLE), *b = after(tensor, SUBJECT);
  double error = 0, size = 0;
  for (int64_t i = 0; i < ffb_elements(tensor); i++) {
    error += ((double)b[i] - (double)a[i]) * ((double)b[i] - (double)a[i]);
    size += (double)a[i] * (double)a[i];
  }
  if (!(sqrt(error) <= share * sqrt(size)))
    fail_msg("%s: off by %.3g of its length; %lldx%lldx%lldx%lld to %lld, kernel %d, stride %d, padding %d, groups %d",
             what, sqrt(error / size), (long long)s->m, (long long)s->h, (long long)s->w, (long long)s->c,
             (long long)s->o, s->window.kernel, s->window.stride, s->window.padding, s->groups);
}

static double multiply_accumulates(const struct shape *s) {
  return (double)(s->m * out_size(s->h, &s->window) * out_size(s->w, &s->window) * s->o * (s->c / s->groups)) *
         s->window.kernel * s->window.kernel;
}

/* ---- against the reference ------------------------------------------------------------------------------------ */

/* The reference need not be held against itself where that takes long. */
static bool left_out(const struct shape *s) {
  return subject == &ffb_backend_reference && multiply_accumulates(s) > 3e5;
}

static void f32_convolutions_are_near(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SHAPES; s++) {
    for (int product = 0; product < PRODUCTS && !left_out(&shapes[s]); product++) {
      for (int grow = 0; grow < (product == FORWARD ? 1 : 2); grow++) {
        struct convolution c = make_convolution(scene, &shapes[s], FFB_F32, grow);
        run_convolution(scene, &c, (enum product)product, grow);
        assert_close(result(&c, (enum product)product), 1e-5, &shapes[s],
                     ffb_operator_name(operator_of(&c, (enum product)product)));
        scene_clear(scene);
      }
    }
  }
}

static void compare_s8(struct scene *scene, const struct shape *s, enum product product, bool grow,
                       enum content content) {
  struct convolution c = make_convolution(scene, s, FFB_S8, grow);
  char what[160];
  set_content(c.x, content, 0);
  set_content(c.w, content == ALL_MINUS_127 ? ALL_127 : content, 1);
  set_content(c.gy, content == ALL_MINUS_127 ? ALL_127 : content, 0);
  run_convolution(scene, &c, product, grow);
  snprintf(what, sizeof what,
           "%s, content %d, %lldx%lldx%lldx%lld to %lld, kernel %d, stride %d, padding %d, groups %d",
           ffb_operator_name(operator_of(&c, product)), (int)content, (long long)s->m, (long long)s->h, (long long)s->w,
           (long long)s->c, (long long)s->o, s->window.kernel, s->window.stride, s->window.padding, s->groups);
  assert_same(result(&c, product), what);
  scene_clear(scene);
}

static void s8_convolutions_give_the_same_bits(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SHAPES; s++) {
    for (int product = 0; product < PRODUCTS && !left_out(&shapes[s]); product++) {
      compare_s8(scene, &shapes[s], (enum product)product, false, RANDOM);
      if (product != FORWARD)
        compare_s8(scene, &shapes[s], (enum product)product, true, RANDOM);
      if (multiply_accumulates(&shapes[s]) < 1e6)
        compare_s8(scene, &shapes[s], (enum product)product, false, (enum content)(1 + (s + product) % 3));
    }
  }
}

/* More terms than INT32 holds: the largest sum here is 3 * 256 * 256 * 127 * 127 > 2^31. */
static const struct shape long_sums[] = {{3, 256, 256, 3, 2, {3, 1, 1}, 1},
                                         {3, 257, 255, 3, 5, {1, 1, 0}, 1},
                                         {3, 256, 256, 3, 3, {3, 1, 1}, 3},
                                         {3, 301, 300, 4, 4, {5, 1, 2}, 4},
                                         {1, 400, 401, 4, 2, {1, 1, 0}, 2}};
enum { LONG_SUMS = sizeof long_sums / sizeof *long_sums };

static void weight_gradients_of_long_sums(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < LONG_SUMS; s++) {
    compare_s8(scene, &long_sums[s], WEIGHT, s % 2, (enum content)(s % 2 ? ALL_MINUS_127 : ALL_127));
    if (subject == &ffb_backend_reference)
      continue;
    compare_s8(scene, &long_sums[s], WEIGHT, false, RANDOM);
    struct convolution c = make_convolution(scene, &long_sums[s], FFB_F32, false);
    run_convolution(scene, &c, WEIGHT, false);
    assert_close(c.gw, 1e-5, &long_sums[s], "convolve_weight_f32 of a long sum");
    scene_clear(scene);
  }
}

/* Every sum of a 1x1 convolution over equal operands is known. */
static void sums_beyond_32_bits_are_exact(void **state) {
  struct scene *scene = *state;
  for (int minus = 0; minus < 2; minus++) {
    struct convolution c = make_convolution(scene, &long_sums[1], FFB_S8, false);
    set_content(c.x, minus ? ALL_MINUS_127 : ALL_127, 0);
    set_content(c.gy, ALL_127, 0);
    f32(c.x_scale)[0] = f32(c.gy_scale)[0] = 1;
    run_subject(scene, &c, WEIGHT, false);
    for (int64_t i = 0; i < ffb_elements(c.gw); i++)
      assert_true(f32_after(c.gw)[i] == (float)((minus ? -16129 : 16129) * (int64_t)(3 * 257 * 255)));
    scene_clear(scene);
  }
}

/* A NaN reaches every result that it is a term of. */
static void f32_convolutions_pass_a_nan_on(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SHAPES; s += 3) {
    for (int product = 0; product < PRODUCTS && multiply_accumulates(&shapes[s]) < 1e6; product++) {
      struct convolution c = make_convolution(scene, &shapes[s], FFB_F32, false);
      f32(c.x)[ffb_elements(c.x) / 2] = f32(c.gy)[ffb_elements(c.gy) - 1] = NAN;
      run_convolution(scene, &c, (enum product)product, false);
      const float *a = after(result(&c, (enum product)product), ORACLE);
      for (int64_t i = 0; i < ffb_elements(result(&c, (enum product)product)); i++)
        assert_true(!isnan(a[i]) || isnan(f32_after(result(&c, (enum product)product))[i]));
      scene_clear(scene);
    }
  }
}

static void convolutions_pass_bad_scales_on(void **state) {
  struct scene *scene = *state;
  static const float bad[] = {NAN, INFINITY, 0};
  for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
    for (int s = 3; s < SHAPES; s += 5) {
      for (int product = 0; product < PRODUCTS && multiply_accumulates(&shapes[s]) < 3e5; product++) {
        struct convolution c = make_convolution(scene, &shapes[s], FFB_S8, false);
        f32(product == INPUT ? c.w_scale : c.x_scale)[0] = bad[b];
        run_convolution(scene, &c, (enum product)product, false);
        assert_same(result(&c, (enum product)product), "a bad scale");
        scene_clear(scene);
      }
    }
  }
}

static void f32_convolutions_repeat_bit_for_bit(void **state) {
  struct scene *outer = *state;
  struct scene scene = {.backends = {subject, subject}, .devices = {outer->devices[SUBJECT], outer->devices[SUBJECT]}};
  for (int s = 0; s < SHAPES && subject != &ffb_backend_reference; s++) {
    for (int product = 0; product < PRODUCTS; product++) {
      struct convolution c = make_convolution(&scene, &shapes[s], FFB_F32, false);
      run_convolution(&scene, &c, (enum product)product, false);
      assert_same(result(&c, (enum product)product), "the same convolution again");
      scene_clear(&scene);
    }
  }
}

/* ---- facts ---------------------------------------------------------------------------------------------------- */

/* Operands i * step % modulus - shift, results from PyTorch's conv2d and its backward in double (N, H, W, C). */
struct known {
  struct shape shape;
  const float *y, *gx, *gw;
};

static const float first_y[] = {45, 16, -28, -9, 62, -38, 64, 7};
static const float first_gx[] = {15, 0,   0,   0,   -21, 18, 3,  -2, -15, 0,  6,  1,   11, -20, -6, 10,
                                 14, -10, -19, -10, 1,   8,  -7, 12, -10, 0,  12, 2,   8,  -3,  1,  2,
                                 -5, 0,   18,  3,   -2,  8,  4,  -6, -6,  -4, 7,  -18, -1, 4,   6,  -9};
static const float first_gw[] = {-3, 4,  7, -5, -6, 8, 7, -9, -2, 8,  5, 9,  -9, 8, 8,  7,   9,  -20,
                                 0,  12, 5, -8, 0,  8, 8, -9, -7, 17, 8, -6, -9, 7, 17, -25, -6, 2};
static const float second_y[] = {-29, -31, -98, 42,  1,   -27, 30, 35, 53, -76, -97, -40, 50,  55,  8,   35, 53, 45,
                                 27,  24,  47,  -81, -32, 30,  69, 67, 26, 49,  60,  58,  -98, -94, -51, 46, 11, -50};
static const float second_gx[] = {18,  -3, -11, -32, -2, 32, 1,   -30, -9, -9,  -35, 30,
                                  -24, 5,  34,  -2,  -3, 26, -10, 45,  18, -36, 14,  -14};
static const float second_gw[] = {-7, -4, -19, 46,  -15, -8,  -7,  1,   49,  -42, 7,   7,   -1,  -1, -28, 20,  -8, -15,
                                  -1, -1, 22,  -29, 20,  -9,  -11, 3,   -36, 34,  -18, -17, -3,  -6, 48,  -20, -7, 27,
                                  -2, -5, -21, 43,  -22, -10, 13,  -16, 54,  -23, -8,  43,  -19, 24, -16, -25, 22, -8};
static const struct known known[] = {{{1, 4, 3, 4, 2, {3, 2, 1}, 2}, first_y, first_gx, first_gw},
                                     {{2, 3, 2, 2, 3, {3, 1, 1}, 1}, second_y, second_gx, second_gw}};

static void set_sequence(struct ffb_tensor *tensor, int64_t step, int64_t modulus, int64_t shift) {
  for (int64_t i = 0; i < ffb_elements(tensor); i++) {
    int64_t value = i * step % modulus - shift;
    if (tensor->type == FFB_S8)
      s8(tensor)[i] = (int8_t)value;
    else
      f32(tensor)[i] = (float)value;
  }
}

static void convolutions_match_pytorch(void **state) {
  struct scene *scene = *state;
  for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
    for (int bytes = 0; bytes < 2; bytes++) {
      const float *wanted[] = {known[k].y, known[k].gx, known[k].gw};
      for (int product = 0; product < PRODUCTS; product++) {
        struct convolution c = make_convolution(scene, &known[k].shape, bytes ? FFB_S8 : FFB_F32, false);
        set_sequence(c.x, 7, 11, 5);
        set_sequence(c.w, 5, 13, 6);
        set_sequence(c.gy, 3, 7, 3);
        if (bytes)
          f32(c.x_scale)[0] = f32(c.w_scale)[0] = f32(c.gy_scale)[0] = 0.5f;
        run_subject(scene, &c, (enum product)product, false);
        const struct ffb_tensor *out = result(&c, (enum product)product);
        for (int64_t i = 0; i < ffb_elements(out); i++)
          assert_near((double)f32_after(out)[i], (double)wanted[product][i] * (bytes ? 0.25 : 1), bytes ? 0 : 1e-4,
                      "known convolution", i);
        scene_clear(scene);
      }
    }
  }
}

/* With accumulate a gradient is added to what is there. */
static void gradients_grow_by_themselves(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < UPDATE_SHAPES; s++) {
    for (int product = INPUT; product < PRODUCTS; product++) {
      for (int bytes = 0; bytes < 2; bytes++) {
        struct convolution c = make_convolution(scene, &update_shapes[s], bytes ? FFB_S8 : FFB_F32, true);
        struct ffb_tensor *out = result(&c, (enum product)product);
        run_subject(scene, &c, (enum product)product, false);
        float *alone = malloc(operand_of(out)->bytes);
        assert_non_null(alone);
        memcpy(alone, f32_after(out), operand_of(out)->bytes);
        run_subject(scene, &c, (enum product)product, true);
        for (int64_t i = 0; i < ffb_elements(out); i++) {
          float sum = f32(out)[i] + alone[i];
          assert_near((double)f32_after(out)[i], (double)sum, bytes ? 0 : 1e-5 * (1 + fabs((double)sum)),
                      "an accumulated gradient", i);
        }
        free(alone);
        scene_clear(scene);
      }
    }
  }
}

static double element(const struct ffb_tensor *tensor, const void *data, int64_t i) {
  return tensor->type == FFB_S8 ? (double)((const int8_t *)data)[i] : (double)((const float *)data)[i];
}

/* <what the subject gave, what went in>. */
static double along(const struct ffb_tensor *given, const struct ffb_tensor *in) {
  double sum = 0;
  for (int64_t i = 0; i < ffb_elements(given); i++)
    sum += (double)f32_after(given)[i] * element(in, operand_of(in)->before, i);
  return sum;
}

/* <convolve(x, w), gy> = <x, convolve_input(gy, w)> = <w, convolve_weight(gy, x)>. INT8 sums stay below 2^24, so that
 * they are exact in FP32 and the three are equal. */
static void gradients_are_adjoint(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SHAPES; s++) {
    for (int bytes = 0; bytes < 2 && multiply_accumulates(&shapes[s]) < 1e6; bytes++) {
      struct convolution c = make_convolution(scene, &shapes[s], bytes ? FFB_S8 : FFB_F32, false);
      if (bytes) {
        f32(c.x_scale)[0] = f32(c.w_scale)[0] = f32(c.gy_scale)[0] = 1;
        set_sequence(c.x, 7, 31, 15);
        set_sequence(c.w, 5, 29, 14);
        set_sequence(c.gy, 11, 37, 18);
      }
      run_subject(scene, &c, FORWARD, false);
      double forward = along(c.y, c.gy), size = 0;
      for (int64_t i = 0; i < ffb_elements(c.y); i++)
        size += fabs((double)f32_after(c.y)[i]);
      run_subject(scene, &c, INPUT, false);
      double input = along(c.gx, c.x);
      run_subject(scene, &c, WEIGHT, false);
      double weight = along(c.gw, c.w);
      assert_near(input, forward, bytes ? 0 : 1e-6 * size, "input gradient", s);
      assert_near(weight, forward, bytes ? 0 : 1e-6 * size, "weight gradient", s);
      scene_clear(scene);
    }
  }
}

/* <convolve(x, w), gy> is linear in one element of x or w, so that its differences are its slope. */
static void gradients_match_differences(void **state) {
  struct scene *scene = *state;
  for (int s = 0; s < SHAPES; s++) {
    for (int product = INPUT; product < PRODUCTS && multiply_accumulates(&shapes[s]) < 1e5; product++) {
      struct convolution c = make_convolution(scene, &shapes[s], FFB_F32, false);
      struct ffb_tensor *moved = product == INPUT ? c.x : c.w;
      run_subject(scene, &c, (enum product)product, false);
      float *slope = malloc(operand_of(moved)->bytes);
      assert_non_null(slope);
      memcpy(slope, f32_after(result(&c, (enum product)product)), operand_of(moved)->bytes);
      union ffb_arguments forward = ready(scene, &c, FORWARD, false);
      for (int64_t i = s % 3; i < ffb_elements(moved); i += 1 + ffb_elements(moved) / 5) {
        double sums[2], keep = (double)f32(moved)[i];
        for (int sign = 0; sign < 2; sign++) {
          f32(moved)[i] = (float)(keep + (sign ? 1 : -1));
          run_side(scene, SUBJECT, FFB_CONVOLVE_F32, &forward);
          sums[sign] = along(c.y, c.gy);
        }
        f32(moved)[i] = (float)keep;
        assert_near((double)slope[i], (sums[1] - sums[0]) / 2, 1e-4, product == INPUT ? "gx" : "gw", i);
      }
      free(slope);
      scene_clear(scene);
    }
  }
}

/* ---- updates in one call -------------------------------------------------------------------------------------- */

static void convolve_update_f32_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_CONVOLVE_UPDATE_F32);
  for (int s = 0; s < UPDATE_SHAPES; s++) {
    for (int r = 0; r < RULES; r++) {
      struct convolution c = make_convolution(scene, &update_shapes[s], FFB_F32, false);
      struct ffb_update_rule rule = make_rule(scene, &rule_cases[r], c.w->shape);
      union ffb_arguments weight = arguments_of(&c, WEIGHT, false);
      union ffb_arguments fused = {
          .convolve_update_f32 = {
              .gy = c.gy, .x = c.x, .window = c.shape.window, .groups = c.shape.groups, .rule = rule}};
      give_workspace(scene, FFB_CONVOLVE_UPDATE_F32, &fused, &fused.convolve_update_f32.workspace);
      side_begin(scene, ORACLE);
      call_operator(scene, FFB_CONVOLVE_WEIGHT_F32, &weight);
      call_update(scene, &rule, c.gw);
      side_end(scene);
      run_side(scene, SUBJECT, FFB_CONVOLVE_UPDATE_F32, &fused);
      assert_close(rule_weights(&rule), 1e-5, &update_shapes[s], "convolve_update_f32 weights");
      if (rule.kind == FFB_RULE_ADAM) {
        assert_close(rule.adam.first, 1e-5, &update_shapes[s], "convolve_update_f32 first moment");
        assert_close(rule.adam.second, 1e-5, &update_shapes[s], "convolve_update_f32 second moment");
      } else if (rule.sgd.momentum) {
        assert_close(rule.sgd.momentum, 1e-5, &update_shapes[s], "convolve_update_f32 momentum");
      }
      scene_clear(scene);
    }
  }
}

struct update_s8 {
  struct convolution convolution;
  struct ffb_convolve_update_s8 arguments;
  struct ffb_tensor *quantised, *scale; /* for the composition */
};

static struct update_s8 make_update_s8(struct scene *scene, const struct shape *shape, const struct rule_case *rule,
                                       enum gradient_form form, bool weight_scale) {
  struct update_s8 u = {.convolution = make_convolution(scene, shape, FFB_S8, false)};
  const struct convolution *c = &u.convolution;
  const int64_t *w = c->w->shape;
  u.quantised = image_operand(scene, FFB_S8, w[0], w[1], w[2], w[3]);
  u.scale = operand(scene, FFB_F32, 1, 1);
  u.arguments = (struct ffb_convolve_update_s8){
      .gy = c->gy,
      .x = c->x,
      .gy_scale = c->gy_scale,
      .x_scale = c->x_scale,
      .window = shape->window,
      .groups = shape->groups,
      .quantise_gradient = form != EXACT,
      .rounding = form == STOCHASTIC ? FFB_ROUND_STOCHASTIC : FFB_ROUND_NEAREST,
      .step = form == STOCHASTIC ? scalar_u32(scene, 55) : NULL,
      .purpose = FFB_PURPOSE_TENSOR + 96,
      .seed = 0x123456789u,
      .weight_scale = weight_scale ? operand(scene, FFB_F32, 1, 1) : NULL,
      .rule = make_rule(scene, rule, w),
  };
  union ffb_arguments arguments = {.convolve_update_s8 = u.arguments};
  give_workspace(scene, FFB_CONVOLVE_UPDATE_S8, &arguments, &u.arguments.workspace);
  return u;
}

static void compare_update_s8(struct scene *scene, const struct update_s8 *u, const char *what) {
  const struct ffb_convolve_update_s8 *a = &u->arguments;
  struct ffb_tensor *gw = u->convolution.gw;
  union ffb_arguments weight = arguments_of(&u->convolution, WEIGHT, false);
  side_begin(scene, ORACLE);
  call_operator(scene, FFB_CONVOLVE_WEIGHT_S8, &weight);
  if (a->quantise_gradient) {
    CALL(scene, SUQ_SCALE, suq_scale, .scale = u->scale, .x = gw);
    CALL(scene, SUQ_QUANTISE, suq_quantise, .q = u->quantised, .x = gw, .scale = u->scale, .step = a->step,
         .rounding = a->rounding, .purpose = a->purpose, .seed = a->seed);
    CALL(scene, DEQUANTISE, dequantise, .out = gw, .x = u->quantised, .scale_a = u->scale);
  }
  call_update(scene, &a->rule, gw);
  if (a->weight_scale)
    CALL(scene, SUQ_SCALE, suq_scale, .scale = a->weight_scale, .x = rule_weights(&a->rule));
  side_end(scene);
  run_side(scene, SUBJECT, FFB_CONVOLVE_UPDATE_S8, &(union ffb_arguments){.convolve_update_s8 = *a});
  assert_same_rule(&a->rule, what);
  if (a->weight_scale)
    assert_same(a->weight_scale, what);
}

static void convolve_update_s8_is_its_composition(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_CONVOLVE_UPDATE_S8);
  for (int s = 0; s < UPDATE_SHAPES; s++) {
    for (int r = 0; r < RULES; r++) {
      for (int form = 0; form < 2 * GRADIENT_FORMS; form++) {
        struct update_s8 u = make_update_s8(scene, &update_shapes[s], &rule_cases[r],
                                            (enum gradient_form)(form % GRADIENT_FORMS), form >= GRADIENT_FORMS);
        compare_update_s8(scene, &u, "convolve_update_s8");
        scene_clear(scene);
      }
    }
  }
}

static void convolve_update_s8_of_extremes(void **state) {
  struct scene *scene = *state;
  need_slot(FFB_CONVOLVE_UPDATE_S8);
  static const float bad[] = {NAN, INFINITY, 0};
  for (int form = 0; form < GRADIENT_FORMS; form++) {
    for (int s = 0; s < LONG_SUMS; s += 2) {
      struct update_s8 u = make_update_s8(scene, &long_sums[s], &rule_cases[1], (enum gradient_form)form, true);
      set_content(u.arguments.gy, ALL_127, 0);
      set_content(u.arguments.x, s ? ALL_127 : MIXED_SIGNS, 0);
      if (form == NEAREST)
        zeroed(u.arguments.gy); /* a gradient of nothing has scale 1 */
      compare_update_s8(scene, &u, "convolve_update_s8 of extremes");
      scene_clear(scene);
    }
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
      for (int s = 0; s < UPDATE_SHAPES; s++) {
        struct update_s8 u =
            make_update_s8(scene, &update_shapes[s], &rule_cases[s % RULES], (enum gradient_form)form, true);
        f32(s % 2 ? u.arguments.x_scale : u.arguments.gy_scale)[0] = bad[b];
        compare_update_s8(scene, &u, "convolve_update_s8 of a bad scale");
        scene_clear(scene);
      }
    }
  }
}

/* ---- pooling and scaling -------------------------------------------------------------------------------------- */

static const struct shape pools[] = {{3, 8, 8, 16, 16, {3, 2, 1}, 1},   {2, 9, 7, 33, 33, {3, 2, 1}, 1},
                                     {3, 8, 8, 10, 10, {2, 2, 0}, 1},   {1, 7, 5, 3, 3, {2, 2, 0}, 1},
                                     {5, 4, 4, 40, 40, {3, 1, 1}, 1},   {2, 6, 7, 24, 24, {5, 2, 2}, 1},
                                     {3, 1, 1, 144, 144, {3, 2, 1}, 1}, {2, 2, 2, 96, 96, {3, 2, 1}, 1},
                                     {1, 17, 16, 5, 5, {15, 1, 7}, 1},  {3, 5, 6, 8, 8, {1, 2, 0}, 1}};
enum { POOLS = sizeof pools / sizeof *pools };

struct pool {
  struct ffb_tensor *x, *y, *argmax, *gy, *gx;
};

static struct pool make_pool(struct scene *scene, const struct shape *s, bool argmax) {
  int64_t p = out_size(s->h, &s->window), q = out_size(s->w, &s->window);
  return (struct pool){.x = random_image(scene, s->m, s->h, s->w, s->c, 11),
                       .y = image_operand(scene, FFB_F32, s->m, p, q, s->c),
                       .argmax = argmax ? image_operand(scene, FFB_U8, s->m, p, q, s->c) : NULL,
                       .gy = random_image(scene, s->m, p, q, s->c, 12),
                       .gx = image_operand(scene, FFB_F32, s->m, s->h, s->w, s->c)};
}

/* With ties, infinities and NaNs. */
static void set_odd_values(struct ffb_tensor *x) {
  static const float odd[] = {0.5f, -INFINITY, 0.5f, INFINITY, NAN};
  for (int64_t i = 0; i < ffb_elements(x); i += 3)
    f32(x)[i] = odd[i / 3 % 5 == 4 && i % 7 ? 0 : i / 3 % 5];
}

/* The first tap of the largest value of a window, a NaN above all: the definition, tap by tap. */
static int largest_tap(const struct shape *s, const float *x, int64_t m, int64_t p, int64_t q, int64_t c,
                       float *value) {
  int best = -1, k = s->window.kernel;
  for (int tap = k * k - 1; tap >= 0; tap--) { /* backwards, so that the first of equals stays */
    int64_t h = p * s->window.stride - s->window.padding + tap / k;
    int64_t w = q * s->window.stride - s->window.padding + tap % k;
    if (h < 0 || w < 0 || h >= s->h || w >= s->w)
      continue;
    float at = x[((m * s->h + h) * s->w + w) * s->c + c];
    if (best < 0 || isnan(at) || (!isnan(*value) && at >= *value)) {
      best = tap;
      *value = at;
    }
  }
  return best;
}

static void largest_values_are_pooled(void **state) {
  struct scene *scene = *state;
  for (int i = 0; i < POOLS; i++) {
    for (int form = 0; form < 4; form++) {
      const struct shape *s = &pools[i];
      struct pool pool = make_pool(scene, s, form & 1);
      if (form & 2)
        set_odd_values(pool.x);
      RUN_BOTH(scene, MAX_POOL, max_pool, .y = pool.y, .argmax = pool.argmax, .x = pool.x, .window = s->window);
      assert_same(pool.y, "max_pool");
      if (pool.argmax)
        assert_same(pool.argmax, "argmax");
      for (int64_t e = 0; e < ffb_elements(pool.y); e++) {
        const int64_t *out = pool.y->shape;
        float value = 0;
        int tap = largest_tap(s, f32(pool.x), e / ffb_columns(pool.y), e / out[3] / out[2] % out[1],
                              e / out[3] % out[2], e % out[3], &value);
        assert_true(f32_after(pool.y)[e] == value || (isnan(value) && isnan(f32_after(pool.y)[e])));
        if (pool.argmax)
          assert_int_equal(((const uint8_t *)after(pool.argmax, SUBJECT))[e], tap);
      }
      scene_clear(scene);
    }
  }
}

/* Values that lie further apart than a step of differences. */
static void spread(struct ffb_tensor *x) {
  for (int64_t i = 0; i < ffb_elements(x); i++)
    f32(x)[i] = (float)(i * 7919 % 100003);
}

static void max_pool_gradient_matches_differences(void **state) {
  struct scene *scene = *state;
  for (int i = 0; i < POOLS; i++) {
    const struct shape *s = &pools[i];
    struct pool pool = make_pool(scene, s, true);
    spread(pool.x);
    for (int side = 0; side < SIDES; side++) {
      side_begin(scene, (enum side)side);
      CALL(scene, MAX_POOL, max_pool, .y = pool.y, .argmax = pool.argmax, .x = pool.x, .window = s->window);
      CALL(scene, MAX_POOL_GRADIENT, max_pool_gradient, .gx = pool.gx, .gy = pool.gy, .argmax = pool.argmax,
           .window = s->window);
      side_end(scene);
    }
    assert_same(pool.gx, "max_pool_gradient");
    float *slope = malloc(operand_of(pool.gx)->bytes);
    assert_non_null(slope);
    memcpy(slope, f32_after(pool.gx), operand_of(pool.gx)->bytes);
    for (int64_t e = 0; e < ffb_elements(pool.x); e += 1 + ffb_elements(pool.x) / 40) {
      double sums[2];
      float keep = f32(pool.x)[e];
      for (int sign = 0; sign < 2; sign++) {
        f32(pool.x)[e] = keep + (sign ? 0.25f : -0.25f);
        RUN_SUBJECT(scene, MAX_POOL, max_pool, .y = pool.y, .x = pool.x, .window = s->window);
        sums[sign] = along(pool.y, pool.gy);
      }
      f32(pool.x)[e] = keep;
      assert_near((double)slope[e], (sums[1] - sums[0]) / 0.5, 1e-5, "max_pool_gradient", e);
    }
    free(slope);
    scene_clear(scene);
  }
}

/* Images of the layers that are averaged or scaled. */
static const int64_t maps[][4] = {{3, 8, 8, 16}, {5, 7, 5, 33},  {1, 1, 1, 144}, {2, 4, 4, 96}, {3, 2, 3, 3},
                                  {1, 9, 9, 10}, {2, 3, 16, 40}, {5, 1, 7, 24},  {3, 32, 32, 5}};
enum { MAPS = sizeof maps / sizeof *maps };

static void means_are_pooled(void **state) {
  struct scene *scene = *state;
  for (int i = 0; i < MAPS; i++) {
    const int64_t *d = maps[i], pixels = d[1] * d[2];
    struct ffb_tensor *x = random_image(scene, d[0], d[1], d[2], d[3], 13), *y = operand(scene, FFB_F32, d[0], d[3]);
    RUN_BOTH(scene, AVERAGE_POOL, average_pool, .y = y, .x = x);
    assert_same(y, "average_pool");
    for (int64_t e = 0; e < d[0] * d[3]; e++) {
      double sum = 0;
      for (int64_t p = 0; p < pixels; p++)
        sum += (double)f32(x)[(e / d[3] * pixels + p) * d[3] + e % d[3]];
      assert_near((double)f32_after(y)[e], sum / (double)pixels, 1e-6, "average_pool", e);
    }
    for (int grow = 0; grow < 2; grow++) {
      struct ffb_tensor *gy = random_f32(scene, d[0], d[3], 14);
      struct ffb_tensor *gx = grow ? random_image(scene, d[0], d[1], d[2], d[3], 15)
                                   : image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
      RUN_BOTH(scene, AVERAGE_POOL_GRADIENT, average_pool_gradient, .gx = gx, .gy = gy, .accumulate = grow);
      assert_same(gx, "average_pool_gradient");
      for (int64_t e = 0; e < ffb_elements(x); e++) { /* the mean is linear: its slope is known */
        double slope = (double)f32(gy)[e / (pixels * d[3]) * d[3] + e % d[3]] / (double)pixels;
        assert_near((double)f32_after(gx)[e], slope + (grow ? (double)f32(gx)[e] : 0), 1e-6, "average_pool_gradient",
                    e);
      }
    }
    scene_clear(scene);
  }
}

static void channels_are_scaled(void **state) {
  struct scene *scene = *state;
  for (int i = 0; i < MAPS; i++) {
    for (int in_place = 0; in_place < 2; in_place++) {
      const int64_t *d = maps[i], columns = d[1] * d[2] * d[3];
      struct ffb_tensor *x = random_image(scene, d[0], d[1], d[2], d[3], 16),
                        *scale = random_f32(scene, d[0], d[3], 17);
      struct ffb_tensor *y = in_place ? x : image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
      RUN_BOTH(scene, SCALE_CHANNELS, scale_channels, .y = y, .x = x, .scale = scale);
      assert_same(y, "scale_channels");
      for (int64_t e = 0; e < ffb_elements(x); e++)
        assert_true(f32_after(y)[e] == f32(x)[e] * f32(scale)[e / columns * d[3] + e % d[3]]);
      struct ffb_tensor *gy = random_image(scene, d[0], d[1], d[2], d[3], 18);
      struct ffb_tensor *gx = in_place ? gy : image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
      struct ffb_tensor *gscale = operand(scene, FFB_F32, d[0], d[3]);
      RUN_BOTH(scene, SCALE_CHANNELS_GRADIENT, scale_channels_gradient, .gx = gx, .gscale = gscale, .gy = gy, .x = x,
               .scale = scale);
      assert_same(gx, "scale_channels_gradient");
      assert_same(gscale, "scale_channels_gradient of the scale");
      /* sum(gy * y) is linear in each of x and scale: <x, gx> and <scale, gscale> are both that sum. */
      double sum = 0, by_x = 0, by_scale = 0;
      for (int64_t e = 0; e < ffb_elements(x); e++) {
        sum += (double)f32(gy)[e] * (double)f32(x)[e] * (double)f32(scale)[e / columns * d[3] + e % d[3]];
        by_x += (double)f32(x)[e] * (double)f32_after(gx)[e];
      }
      for (int64_t e = 0; e < d[0] * d[3]; e++)
        by_scale += (double)f32(scale)[e] * (double)f32_after(gscale)[e];
      assert_near(by_x, sum, 1e-5 * (double)d[0] * (double)d[3], "scale_channels_gradient", i);
      assert_near(by_scale, sum, 1e-5 * (double)d[0] * (double)d[3], "scale_channels_gradient of the scale", i);
      scene_clear(scene);
    }
  }
}

/* Moves one number of x or scale and compares the change of sum(gy * y) with the gradient. */
static void scale_channels_gradient_matches_differences(void **state) {
  struct scene *scene = *state;
  for (int i = 0; i < MAPS; i++) {
    const int64_t *d = maps[i];
    struct ffb_tensor *x = random_image(scene, d[0], d[1], d[2], d[3], 19), *scale = random_f32(scene, d[0], d[3], 20);
    struct ffb_tensor *gy = random_image(scene, d[0], d[1], d[2], d[3], 21),
                      *gscale = operand(scene, FFB_F32, d[0], d[3]);
    struct ffb_tensor *y = image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
    struct ffb_tensor *gx = image_operand(scene, FFB_F32, d[0], d[1], d[2], d[3]);
    RUN_SUBJECT(scene, SCALE_CHANNELS_GRADIENT, scale_channels_gradient, .gx = gx, .gscale = gscale, .gy = gy, .x = x,
                .scale = scale);
    float *slopes[2] = {malloc(operand_of(gx)->bytes), malloc(operand_of(gscale)->bytes)};
    assert_true(slopes[0] && slopes[1]);
    memcpy(slopes[0], f32_after(gx), operand_of(gx)->bytes);
    memcpy(slopes[1], f32_after(gscale), operand_of(gscale)->bytes);
    for (int which = 0; which < 2; which++) {
      struct ffb_tensor *moved = which ? scale : x;
      for (int64_t e = 0; e < ffb_elements(moved); e += 1 + ffb_elements(moved) / 7) {
        double sums[2];
        float keep = f32(moved)[e];
        for (int sign = 0; sign < 2; sign++) {
          f32(moved)[e] = keep + (sign ? 1.0f : -1.0f);
          RUN_SUBJECT(scene, SCALE_CHANNELS, scale_channels, .y = y, .x = x, .scale = scale);
          sums[sign] = along(y, gy);
        }
        f32(moved)[e] = keep;
        assert_near((double)slopes[which][e], (sums[1] - sums[0]) / 2, 1e-4, "scale_channels_gradient", e);
      }
      free(slopes[which]);
    }
    scene_clear(scene);
  }
}

/* A view may start at any element of another tensor. */
static void operands_need_no_alignment(void **state) {
  struct scene *scene = *state;
  scene->misaligned = true;
  convolutions_match_pytorch(state);
  gradients_are_adjoint(state);
  for (int s = 0; s < SHAPES; s++) {
    for (int product = 0; product < PRODUCTS && multiply_accumulates(&shapes[s]) < 3e5; product++)
      compare_s8(scene, &shapes[s], (enum product)product, product != FORWARD, RANDOM);
  }
  largest_values_are_pooled(state);
  max_pool_gradient_matches_differences(state);
  means_are_pooled(state);
  channels_are_scaled(state);
}

static int run_cases(const char *title) {
  const struct CMUnitTest cases[] = {
      CASE(f32_convolutions_are_near),
      CASE(s8_convolutions_give_the_same_bits),
      CASE(weight_gradients_of_long_sums),
      CASE(sums_beyond_32_bits_are_exact),
      CASE(f32_convolutions_pass_a_nan_on),
      CASE(convolutions_pass_bad_scales_on),
      CASE(f32_convolutions_repeat_bit_for_bit),
      CASE(convolutions_match_pytorch),
      CASE(gradients_grow_by_themselves),
      CASE(gradients_are_adjoint),
      CASE(gradients_match_differences),
      CASE(convolve_update_f32_is_its_composition),
      CASE(convolve_update_s8_is_its_composition),
      CASE(convolve_update_s8_of_extremes),
      CASE(largest_values_are_pooled),
      CASE(max_pool_gradient_matches_differences),
      CASE(means_are_pooled),
      CASE(channels_are_scaled),
      CASE(scale_channels_gradient_matches_differences),
      CASE(operands_need_no_alignment),
  };
  return cmocka_run_group_tests_name(title, cases, NULL, NULL);
}

int main(int count, char **names) {
  return test_every_backend(count, names, (int[]){1, 2}, 2, run_cases);
}
