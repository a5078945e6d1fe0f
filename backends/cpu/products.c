/* Matrix products: how the tiles of kernels.h are laid over the operands and shared among threads.
 *
 * The operand that fills vector lanes is packed into panels; which one that is depends on the form, so that the large
 * operand (the weights) is read once and in order:
 *   across:  y = x w^T.  Lanes are rows of x, packed once by all threads; rows of w are broadcast from where they lie
 *            (INT8: by way of a small buffer), and the tile is transposed on its way out.
 *   down:    y = x w.    Lanes are columns of w; each thread packs the panel it works on.
 *   outer:   y = a^T x.  K is short (the batch), so x is packed whole; rows of the result are columns of a. */
#include "backends/cpu/convolution.h"
#include "backends/cpu/device.h"

#include <math.h>
#include <string.h>

enum { ALIGNMENT = FFB_CPU_ALIGNMENT, BLOCK_PANELS = 2 };

static int64_t rounded_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

/* One product. `rows` is the operand that is broadcast, `lanes` the one that is packed; both F32, or both S8. */
struct product {
  const struct ffb_cpu_kernels *kernels;
  bool integer;
  int64_t m, n, k; /* of the result and the sum */
  int64_t groups;  /* words of a sum */
  const void *a, *b;
  bool transpose_b; /* outer only: b is [n][k] */
  void *scratch;
  struct ffb_cpu_finish finish;
};

static struct product make_product(const struct ffb_device *device, bool integer, int64_t m, int64_t n, int64_t k,
                                   const struct ffb_tensor *a, const struct ffb_tensor *b) {
  int64_t group = integer ? device->kernels->group : 1;
  return (struct product){.kernels = device->kernels,
                          .integer = integer,
                          .m = m,
                          .n = n,
                          .k = k,
                          .groups = (k + group - 1) / group,
                          .a = a->data,
                          .b = b->data};
}

/* Threads for this many multiply-accumulates. */
static int threads_for(const struct ffb_device *device, const struct product *product) {
  return (double)product->m * (double)product->n * (double)product->k < FFB_CPU_SHARED_WORK ? 1 : device->threads;
}

static int64_t panel_words(const struct product *product) {
  return product->groups * product->kernels->panel;
}
/* Words of a broadcast row that is copied out; whole vectors are written. */
static int64_t row_words(const struct product *product) {
  return rounded_up(product->groups, FFB_CPU_MAX_LANES);
}
static int64_t panel_count(const struct product *product, int64_t columns) {
  return (columns + product->kernels->panel - 1) / product->kernels->panel;
}

static void run_tile(const struct product *product, int rows, void *tile, const void *panel, const void *left,
                     int64_t row_stride, int64_t row_step, const int32_t *start) {
  if (product->integer)
    product->kernels->tile_s8(rows, tile, panel, left, row_stride, row_step, product->groups, start);
  else
    product->kernels->tile_f32(rows, tile, panel, product->kernels->panel, left, row_stride, row_step, product->groups);
}

/* Panels of columns of b, from the first of `panels` on. */
static void pack_columns(const struct product *product, int32_t *panels, struct ffb_cpu_span columns) {
  int64_t count = columns.end - columns.begin;
  if (product->integer)
    product->kernels->panel_columns_s8(panels, panel_words(product), (const int8_t *)product->b + columns.begin,
                                       product->n, count, product->k);
  else
    product->kernels->panel_columns_f32((float *)panels, panel_words(product),
                                        (const float *)product->b + columns.begin, product->n, count, product->k);
}

/* ---- across: y[m][n] = a[m][k] b[n][k]^T ------------------------------------------------------------------------ */

static size_t across_bytes(const struct product *product, int threads) {
  int64_t words = panel_count(product, product->m) * panel_words(product);
  if (product->integer)
    words += threads * FFB_CPU_MAX_TILE_ROWS * row_words(product);
  return (size_t)rounded_up(words * 4, ALIGNMENT);
}

static void across_pack(const struct product *product, int parts, int part) {
  const struct ffb_cpu_kernels *kernels = product->kernels;
  struct ffb_cpu_span share = ffb_cpu_share(product->groups, kernels->lanes, parts, part);
  for (int64_t p = 0; p < panel_count(product, product->m); p++) {
    int64_t first = p * kernels->panel, count = product->m - first;
    void *panel = (int32_t *)product->scratch + p * panel_words(product);
    if (product->integer)
      kernels->panel_rows_s8(panel, (const int8_t *)product->a + first * product->k, product->k, count, product->k,
                             share.begin, share.end);
    else
      kernels->panel_rows_f32(panel, (const float *)product->a + first * product->k, product->k, count, share.begin,
                              share.end);
  }
}

/* Rows of b for one tile: where they are broadcast from. */
struct across_rows {
  const void *words;
  int64_t stride;
  int32_t start[FFB_CPU_MAX_TILE_ROWS];
};

static struct across_rows across_rows(const struct product *product, int32_t *copy, int64_t first, int count) {
  struct across_rows rows = {.words = product->b, .stride = product->k};
  if (!product->integer) {
    rows.words = (const float *)product->b + first * product->k;
    return rows;
  }
  const int8_t *b = (const int8_t *)product->b + first * product->k;
  bool in_place = product->kernels->group == 4 && product->k % 4 == 0;
  rows.words = in_place ? (const void *)b : copy;
  rows.stride = in_place ? product->groups : row_words(product);
  for (int r = 0; r < count; r++)
    rows.start[r] =
        product->kernels->broadcast_row_s8(in_place ? NULL : copy + r * rows.stride, b + r * product->k, product->k);
  return rows;
}

static void across_tiles(const struct product *product, int parts, int part) {
  const struct ffb_cpu_kernels *kernels = product->kernels;
  int64_t panels = panel_count(product, product->m), width = kernels->panel;
  int32_t *copy =
      (int32_t *)product->scratch + panels * panel_words(product) + part * FFB_CPU_MAX_TILE_ROWS * row_words(product);
  struct ffb_cpu_span share = ffb_cpu_share(product->n, 1, parts, part);
  int64_t length = share.end - share.begin, tiles = (length + kernels->tile_rows - 1) / kernels->tile_rows;
  _Alignas(ALIGNMENT) int32_t tile[FFB_CPU_MAX_TILE_ROWS * FFB_CPU_MAX_PANEL];
  for (int64_t t = 0; t < tiles; t++) {
    struct ffb_cpu_span span = ffb_cpu_share(length, 1, tiles, t);
    int64_t first = share.begin + span.begin;
    int count = (int)(span.end - span.begin);
    struct across_rows rows = across_rows(product, copy, first, count);
    for (int64_t p = 0; p < panels; p++) {
      int64_t row0 = p * width, valid = product->m - row0 < width ? product->m - row0 : width;
      run_tile(product, count, tile, (const int32_t *)product->scratch + p * panel_words(product), rows.words,
               rows.stride, 1, rows.start);
      kernels->finish_columns(&product->finish, tile, count, first, row0, valid);
    }
  }
}

static void across(const struct ffb_device *device, const struct product *product) {
#pragma omp parallel num_threads(threads_for(device, product))
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    across_pack(product, parts, part);
#pragma omp barrier
    across_tiles(product, parts, part);
  }
}

/* ---- down: y[m][n] = a[m][k] b[k][n] ---------------------------------------------------------------------------- */

/* Words of panels that one thread packs at a time. F32 is used where it lies, but for columns that fill no panel. */
static int64_t down_block(const struct product *product) {
  return product->integer                       ? BLOCK_PANELS * panel_words(product)
         : product->n % product->kernels->panel ? panel_words(product)
                                                : 0;
}

static size_t down_bytes(const struct product *product, int threads) {
  int64_t words = threads * down_block(product);
  if (product->integer)
    words += product->m * row_words(product) + rounded_up(product->m, FFB_CPU_MAX_LANES);
  return (size_t)rounded_up(words * 4, ALIGNMENT);
}

/* Where the parts of the scratch memory lie. */
struct down_scratch {
  int32_t *panels, *rows, *start;
};
static struct down_scratch down_scratch(const struct product *product, int threads) {
  int32_t *panels = product->scratch, *rows = panels + threads * down_block(product);
  return (struct down_scratch){panels, rows, rows + product->m * row_words(product)};
}

/* A panel of one block: packed, or, if it is F32 and whole, where it lies. */
static void down_tile(const struct product *product, const struct down_scratch *scratch, int32_t *tile,
                      const int32_t *panel, struct ffb_cpu_span rows, int64_t column) {
  const struct ffb_cpu_kernels *kernels = product->kernels;
  int count = (int)(rows.end - rows.begin);
  if (product->integer) {
    kernels->tile_s8(count, tile, panel, scratch->rows + rows.begin * row_words(product), row_words(product), 1,
                     product->groups, scratch->start + rows.begin);
    return;
  }
  const float *left = (const float *)product->a + rows.begin * product->k;
  if (column + kernels->panel <= product->n)
    kernels->tile_f32(count, (float *)tile, (const float *)product->b + column, product->n, left, product->k, 1,
                      product->groups);
  else
    kernels->tile_f32(count, (float *)tile, (const float *)panel, kernels->panel, left, product->k, 1, product->groups);
}

static void down_columns(const struct product *product, const struct down_scratch *scratch, int part,
                         struct ffb_cpu_span columns) {
  const struct ffb_cpu_kernels *kernels = product->kernels;
  int32_t *panels = scratch->panels + part * down_block(product);
  int64_t tiles = (product->m + kernels->tile_rows - 1) / kernels->tile_rows, width = kernels->panel;
  _Alignas(ALIGNMENT) int32_t tile[FFB_CPU_MAX_TILE_ROWS * FFB_CPU_MAX_PANEL];
  if (product->integer || columns.end - columns.begin < width)
    pack_columns(product, panels, columns);
  for (int64_t column = columns.begin; column < columns.end; column += width) {
    int64_t valid = columns.end - column < width ? columns.end - column : width;
    for (int64_t t = 0; t < tiles; t++) {
      struct ffb_cpu_span rows = ffb_cpu_share(product->m, 1, tiles, t);
      down_tile(product, scratch, tile, panels + (column - columns.begin) * product->groups, rows, column);
      kernels->finish_rows(&product->finish, tile, (int)(rows.end - rows.begin), rows.begin, column, valid);
    }
  }
}

static void down(const struct ffb_device *device, const struct product *product) {
  struct down_scratch scratch = down_scratch(product, device->threads);
  const struct ffb_cpu_kernels *kernels = product->kernels;
#pragma omp parallel num_threads(threads_for(device, product))
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    if (product->integer) {
      struct ffb_cpu_span share = ffb_cpu_share(product->m, 1, parts, part);
      for (int64_t m = share.begin; m < share.end; m++)
        scratch.start[m] = kernels->broadcast_row_s8(scratch.rows + m * row_words(product),
                                                     (const int8_t *)product->a + m * product->k, product->k);
    }
#pragma omp barrier
    struct ffb_cpu_span share = ffb_cpu_share(product->n, kernels->panel, parts, part);
    int64_t block = (product->integer ? (int64_t)BLOCK_PANELS : 1) * kernels->panel;
    for (int64_t first = share.begin; first < share.end; first += block) {
      struct ffb_cpu_span columns = {first, first + block < share.end ? first + block : share.end};
      down_columns(product, &scratch, part, columns);
    }
  }
}

/* ---- outer: y[m][n] = a[k][m]^T b[k][n] ------------------------------------------------------------------------- */

/* Whole panels are written; the odd number of cache lines keeps groups from falling on the same cache sets. */
static int64_t outer_stride(const struct product *product) {
  return rounded_up(product->m, product->kernels->panel) + ALIGNMENT / 4;
}

static size_t outer_bytes(const struct product *product) {
  int64_t words = panel_count(product, product->n) * panel_words(product);
  if (product->integer)
    words += outer_stride(product) * (product->groups + 1);
  return (size_t)rounded_up(words * 4, ALIGNMENT);
}

struct outer_scratch {
  int32_t *panels, *rows, *start;
  int64_t stride; /* words between groups of rows */
};
static struct outer_scratch outer_scratch(const struct product *product) {
  int64_t stride = outer_stride(product);
  int32_t *panels = product->scratch, *rows = panels + panel_count(product, product->n) * panel_words(product);
  return (struct outer_scratch){panels, rows, rows + product->groups * stride, stride};
}

static void outer_pack(const struct product *product, const struct outer_scratch *scratch, int parts, int part) {
  const struct ffb_cpu_kernels *kernels = product->kernels;
  int64_t width = kernels->panel;
  struct ffb_cpu_span share = ffb_cpu_share(product->n, width, parts, part);
  if (product->transpose_b) {
    for (int64_t first = share.begin; first < share.end; first += width)
      kernels->panel_rows_s8(scratch->panels + first * product->groups, (const int8_t *)product->b + first * product->k,
                             product->k, product->n - first, product->k, 0, product->groups);
  } else {
    pack_columns(product, scratch->panels + share.begin * product->groups, share);
  }
  if (!product->integer)
    return;
  share = ffb_cpu_share(product->m, width, parts, part);
  for (int64_t first = share.begin; first < share.end; first += width)
    kernels->broadcast_columns_s8(scratch->rows + first, scratch->stride, scratch->start + first,
                                  (const int8_t *)product->a + first, product->m, product->m - first, product->k);
}

static void outer_finish(const struct product *product, const struct outer_scratch *scratch, int parts, int part) {
  const struct ffb_cpu_kernels *kernels = product->kernels;
  struct ffb_cpu_span share = ffb_cpu_share(product->m, 1, parts, part);
  int64_t length = share.end - share.begin, tiles = (length + kernels->tile_rows - 1) / kernels->tile_rows;
  _Alignas(ALIGNMENT) int32_t tile[FFB_CPU_MAX_TILE_ROWS * FFB_CPU_MAX_PANEL];
  for (int64_t t = 0; t < tiles; t++) {
    struct ffb_cpu_span rows = ffb_cpu_share(length, 1, tiles, t);
    int64_t first = share.begin + rows.begin;
    int count = (int)(rows.end - rows.begin);
    for (int64_t column = 0; column < product->n; column += kernels->panel) {
      int64_t valid = product->n - column < kernels->panel ? product->n - column : kernels->panel;
      kernels->tile_s8(count, tile, scratch->panels + column * product->groups, scratch->rows + first, 1,
                       scratch->stride, product->groups, scratch->start + first);
      kernels->finish_rows(&product->finish, tile, count, first, column, valid);
    }
  }
}

static void outer(const struct ffb_device *device, const struct product *product) {
  struct outer_scratch scratch = outer_scratch(product);
#pragma omp parallel num_threads(threads_for(device, product))
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    outer_pack(product, &scratch, parts, part);
#pragma omp barrier
    outer_finish(product, &scratch, parts, part);
  }
}

/* Scale of the dequantised weight gradient, whose largest word is `word`. With a scale that is not finite the gradient
 * holds a NaN: that of its zeros. */
static float gradient_quantum(uint32_t word, float word_scale) {
  return isfinite(word_scale) ? ffb_cpu_scale_of((float)word * word_scale) : NAN;
}

/* The weight gradient goes into the update as it leaves the registers. Its quantiser needs the maximum first: the
 * product is made twice, which is faster than keeping it (4 bytes an element through the cache). Returns the bits of
 * the new weights' maximum. */
static uint32_t outer_update(const struct ffb_device *device, const struct product *product,
                             struct ffb_cpu_update *update) {
  struct outer_scratch scratch = outer_scratch(product);
  const struct ffb_cpu_outer operands = {.integer = product->integer,
                                         .columns = product->n,
                                         .groups = product->groups,
                                         .row_step = product->integer ? scratch.stride : product->m,
                                         .panels = scratch.panels,
                                         .rows = product->integer ? scratch.rows : product->a,
                                         .start = scratch.start};
  uint32_t largest_word = 0, largest_weight = 0;
#pragma omp parallel num_threads(threads_for(device, product)) reduction(max : largest_weight)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    struct ffb_cpu_span rows = ffb_cpu_share(product->m, 1, parts, part);
    outer_pack(product, &scratch, parts, part);
#pragma omp barrier
    if (update->quantise) {
      uint32_t mine = product->kernels->outer_update(&operands, update, true, rows.begin, rows.end);
#pragma omp critical
      largest_word = mine > largest_word ? mine : largest_word;
#pragma omp barrier
#pragma omp single
      {
        update->quantum = gradient_quantum(largest_word, update->scale);
        update->reciprocal = 1 / update->quantum;
      }
    }
    largest_weight = product->kernels->outer_update(&operands, update, false, rows.begin, rows.end);
  }
  return largest_weight;
}

/* ---- operators ------------------------------------------------------------------------------------------------ */

static struct product linear_product(const struct ffb_device *device, bool integer, bool transpose_w,
                                     const struct ffb_tensor *x, const struct ffb_tensor *w) {
  int64_t n = transpose_w ? ffb_rows(w) : ffb_columns(w);
  return make_product(device, integer, ffb_rows(x), n, ffb_columns(x), x, w);
}

static size_t linear_bytes(const struct ffb_device *device, const struct product *product, bool transpose_w) {
  return transpose_w ? across_bytes(product, device->threads) : down_bytes(product, device->threads);
}

static void run_linear(const struct ffb_device *device, const struct product *product, bool transpose_w) {
  if (transpose_w)
    across(device, product);
  else
    down(device, product);
}

bool ffb_cpu_linear_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_f32 *linear = &arguments->linear_f32;
  struct product product = linear_product(device, false, linear->transpose_w, linear->x, linear->w);
  product.finish = (struct ffb_cpu_finish){.y = linear->y->data,
                                           .stride = product.n,
                                           .bias = linear->bias ? linear->bias->data : NULL,
                                           .mask = linear->mask ? linear->mask->data : NULL,
                                           .relu = linear->relu};
  product.scratch = ffb_cpu_scratch(device, linear->workspace, linear_bytes(device, &product, linear->transpose_w));
  if (!product.scratch)
    return false;
  run_linear(device, &product, linear->transpose_w);
  return true;
}

bool ffb_cpu_linear_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_s8 *linear = &arguments->linear_s8;
  struct product product = linear_product(device, true, linear->transpose_w, linear->x, linear->w);
  product.finish = (struct ffb_cpu_finish){.y = linear->y->data,
                                           .stride = product.n,
                                           .integer = true,
                                           .scale = ffb_cpu_scalar(linear->x_scale) * ffb_cpu_scalar(linear->w_scale),
                                           .bias = linear->bias ? linear->bias->data : NULL,
                                           .mask = linear->mask ? linear->mask->data : NULL,
                                           .relu = linear->relu};
  product.scratch = ffb_cpu_scratch(device, linear->workspace, linear_bytes(device, &product, linear->transpose_w));
  if (!product.scratch)
    return false;
  run_linear(device, &product, linear->transpose_w);
  return true;
}

static void update_rule(struct ffb_cpu_update *update, const struct ffb_update_rule *rule) {
  if (rule->kind == FFB_RULE_ADAM)
    ffb_cpu_adam_of(update, &rule->adam);
  else
    ffb_cpu_sgd_of(update, &rule->sgd);
}

static struct product update_product(const struct ffb_device *device, bool integer, const struct ffb_tensor *gy,
                                     const struct ffb_tensor *x) {
  return make_product(device, integer, ffb_columns(gy), ffb_columns(x), ffb_rows(x), gy, x);
}

bool ffb_cpu_linear_update_f32(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_update_f32 *linear = &arguments->linear_update_f32;
  struct product product = update_product(device, false, linear->gy, linear->x);
  struct ffb_cpu_update update = {.stride = product.n};
  update_rule(&update, &linear->rule);
  product.scratch = ffb_cpu_scratch(device, linear->workspace, outer_bytes(&product));
  if (!product.scratch)
    return false;
  outer_update(device, &product, &update);
  return true;
}

bool ffb_cpu_linear_update_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_linear_update_s8 *linear = &arguments->linear_update_s8;
  struct product product = update_product(device, true, linear->gy, linear->x);
  struct ffb_cpu_update update = {.stride = product.n,
                                  .integer = true,
                                  .scale = ffb_cpu_scalar(linear->gy_scale) * ffb_cpu_scalar(linear->x_scale),
                                  .quantise = linear->quantise_gradient};
  update.rounding = ffb_cpu_rounding_of(linear->rounding, linear->seed, linear->purpose, linear->step);
  update_rule(&update, &linear->rule);
  product.scratch = ffb_cpu_scratch(device, linear->workspace, outer_bytes(&product));
  if (!product.scratch)
    return false;
  uint32_t bits = outer_update(device, &product, &update);
  if (linear->weight_scale) {
    float largest = 0;
    memcpy(&largest, &bits, sizeof largest);
    *(float *)linear->weight_scale->data = ffb_cpu_scale_of(largest);
  }
  return true;
}

static struct product gemm_s8_product(const struct ffb_device *device, const struct ffb_gemm_s8 *gemm) {
  int64_t k = gemm->transpose_a ? ffb_rows(gemm->a) : ffb_columns(gemm->a);
  struct product product = make_product(device, true, ffb_rows(gemm->c), ffb_columns(gemm->c), k, gemm->a, gemm->b);
  product.transpose_b = gemm->transpose_b;
  product.finish = (struct ffb_cpu_finish){.y = gemm->c->data, .stride = product.n, .integer = true, .raw = true};
  return product;
}

static size_t gemm_s8_bytes(const struct ffb_device *device, const struct ffb_gemm_s8 *gemm) {
  struct product product = gemm_s8_product(device, gemm);
  return gemm->transpose_a ? outer_bytes(&product) : linear_bytes(device, &product, gemm->transpose_b);
}

bool ffb_cpu_gemm_s8(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_gemm_s8 *gemm = &arguments->gemm_s8;
  struct product product = gemm_s8_product(device, gemm);
  product.scratch = ffb_cpu_scratch(device, gemm->workspace, gemm_s8_bytes(device, gemm));
  if (!product.scratch)
    return false;
  if (gemm->transpose_a)
    outer(device, &product);
  else
    run_linear(device, &product, gemm->transpose_b);
  return true;
}

size_t ffb_cpu_workspace(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments) {
  if (operation == FFB_GEMM_S8)
    return gemm_s8_bytes(device, &arguments->gemm_s8);
  if (operation == FFB_LINEAR_F32 || operation == FFB_LINEAR_S8) {
    bool integer = operation == FFB_LINEAR_S8;
    bool transpose_w = integer ? arguments->linear_s8.transpose_w : arguments->linear_f32.transpose_w;
    struct product product =
        linear_product(device, integer, transpose_w, integer ? arguments->linear_s8.x : arguments->linear_f32.x,
                       integer ? arguments->linear_s8.w : arguments->linear_f32.w);
    return linear_bytes(device, &product, transpose_w);
  }
  struct product product = {0};
  if (operation == FFB_LINEAR_UPDATE_F32)
    product = update_product(device, false, arguments->linear_update_f32.gy, arguments->linear_update_f32.x);
  else if (operation == FFB_LINEAR_UPDATE_S8)
    product = update_product(device, true, arguments->linear_update_s8.gy, arguments->linear_update_s8.x);
  else
    return ffb_cpu_convolution_workspace(device, operation, arguments);
  return outer_bytes(&product);
}
