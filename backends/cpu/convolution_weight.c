/* Weight gradients of convolutions, alone or with the update in one. K runs over pixels: the source is packed once, by
 * position, and in a position by image, into panels whose lanes are channels; gy likewise into rows whose words are
 * outputs. A tap's sum is then made of runs of positions, the same panels and rows for every tap, and taps that fall on
 * padding take no part. With a stride, positions of the same residue lie side by side.
 *
 * Images are taken in chunks whose packed operands stay in the second-level cache; the chunks' sums are added in order,
 * and neither depends on the number of threads. What one thread writes and another reads crosses between processors
 * slowly, so each thread packs all that it reads. Where packing matters, because pixels outnumber weights, the images
 * fall to two slices, whatever the threads, and the slices' sums are added; the threads of a slice share its outputs.
 */
#include "backends/cpu/convolution.h"

#include <math.h>
#include <string.h>

enum {
  CHUNK_BYTES = 640 * 1024, /* of packed operands */
  EXACT_TERMS = 133144,     /* of an INT32 sum (backend.h) */
  KEPT_WORDS = 640 * 1024,  /* sums of a quantised update are kept up to this many, else made twice */
  SLICES = 2,
};

struct weight_pass {
  const struct ffb_cpu_weight *weight;
  const struct ffb_cpu_kernels *kernels;
  int threads, slices;
  int64_t k, all, panel_count;          /* weights of an output, and of all; panels of the channels */
  int64_t grid_height, grid_width;      /* positions of one residue */
  int64_t positions, out_positions;     /* of the packed source, and of gy */
  int64_t chunk_groups;                 /* words of a chunk along K, before the last */
  bool narrow;                          /* the sums are those of convolution_narrow.c */
  bool wide, blocks, kept;              /* INT64 sums; sums of an update in blocks of rows; or all at once */
  int32_t *sums, *own;                  /* kept sums, of every slice; scratch of the threads */
  int64_t panels, rows, start, own_all; /* words of a thread's parts, and all */
  int64_t *wide_sums;
};

/* A tap that some pixel has, and the segments of its sum. */
struct live_tap {
  int64_t number, first_segment;
  int segment_count;
};

/* One thread: the outputs that it makes, of one slice at a time. */
struct worker {
  const struct weight_pass *pass;
  struct ffb_cpu_span outputs, images;
  int64_t row_step; /* words of a row of gy */
  int slice, tap_count;
  int32_t *panels, *rows, *start, *block;
  struct ffb_cpu_segment *segments;
  struct live_tap taps[FFB_CPU_MAX_TAPS];
};

/* ---- plan ----------------------------------------------------------------------------------------------------- */

/* Outputs whose tap meets the source, along one axis. */
static struct ffb_cpu_span outputs_of_tap(const struct ffb_window *window, int64_t source, int64_t out, int tap) {
  int64_t shift = window->padding - tap, last = source - 1 + shift;
  int64_t begin = shift > 0 ? (shift + window->stride - 1) / window->stride : 0;
  int64_t end = last < 0 ? 0 : last / window->stride + 1;
  end = end < out ? end : out;
  return (struct ffb_cpu_span){begin, end > begin ? end : begin};
}

static int64_t aligned_words(int64_t words) {
  return ffb_cpu_rounded_up(words, FFB_CPU_ALIGNMENT / 4);
}

/* Words of a row of packed outputs. Whole panels are written; the odd number of cache lines keeps rows from falling on
 * the same cache sets. */
static int64_t row_words(const struct ffb_cpu_weight *weight, int64_t outputs) {
  return ffb_cpu_rounded_up(outputs, weight->kernels->panel) + FFB_CPU_ALIGNMENT / 4;
}

/* Images of a slice, in whole words. */
static struct ffb_cpu_span slice_images(const struct weight_pass *pass, int slice) {
  return ffb_cpu_share(pass->weight->images, pass->weight->group, pass->slices, slice);
}

/* Outputs of a thread in its slice; a thread alone makes all, slice by slice. */
static struct ffb_cpu_span thread_outputs(const struct weight_pass *pass, int threads, int thread) {
  int slices = threads < pass->slices ? 1 : pass->slices;
  int beside = (threads - thread % slices + slices - 1) / slices;
  return ffb_cpu_share(pass->weight->outputs, pass->narrow ? pass->kernels->lanes : 1, beside, thread / slices);
}

static void plan_chunks(struct weight_pass *pass) {
  const struct ffb_cpu_weight *weight = pass->weight;
  struct ffb_cpu_span images = slice_images(pass, pass->slices - 1);
  int64_t groups = (images.end - images.begin + weight->group - 1) / weight->group;
  int64_t bytes = 4 * (pass->positions * pass->panel_count * pass->kernels->panel +
                       pass->out_positions * row_words(weight, weight->outputs));
  int64_t most = CHUNK_BYTES / bytes, exact = EXACT_TERMS / (pass->out_positions * weight->group);
  most = weight->integer && exact < most ? exact : most;
  most = most < 1 ? 1 : most;
  int64_t chunks = (groups + most - 1) / most;
  pass->chunk_groups = (groups + chunks - 1) / chunks;
  pass->kept = pass->slices > 1 || (chunks > 1 && (weight->integer || weight->update)) ||
               (weight->update && weight->quantise && pass->all <= KEPT_WORDS);
}

/* Sizes of one thread's scratch memory. */
static void plan_own(struct weight_pass *pass) {
  const struct ffb_cpu_weight *weight = pass->weight;
  const int64_t panel = weight->kernels->panel, taps = (int64_t)weight->window.kernel * weight->window.kernel;
  int64_t most = 0;
  for (int thread = 0; thread < pass->threads; thread++) {
    struct ffb_cpu_span outputs = thread_outputs(pass, pass->threads, thread);
    most = outputs.end - outputs.begin > most ? outputs.end - outputs.begin : most;
  }
  if (pass->narrow) {
    pass->own_all = ffb_cpu_narrow_words(weight, most);
    return;
  }
  pass->panels = aligned_words(pass->panel_count * panel * pass->positions * pass->chunk_groups);
  pass->rows = aligned_words(pass->out_positions * pass->chunk_groups * row_words(weight, most));
  pass->start = weight->integer ? aligned_words(taps * pass->panel_count * panel) : 0;
  int64_t block = pass->blocks ? aligned_words(weight->kernels->tile_rows * pass->k) : 0;
  int64_t segments = (int64_t)sizeof(struct ffb_cpu_segment) * taps * weight->out_height / 4;
  pass->own_all = pass->panels + pass->rows + pass->start + block + aligned_words(segments);
}

/* Lays out the scratch memory; returns its bytes. */
static size_t plan_weight(const struct ffb_cpu_weight *weight, struct weight_pass *pass) {
  const struct ffb_window *window = &weight->window;
  const int64_t stride = window->stride;
  *pass = (struct weight_pass){.weight = weight, .kernels = weight->kernels, .slices = 1};
  pass->k = (int64_t)window->kernel * window->kernel * weight->channels;
  pass->all = aligned_words(weight->outputs * pass->k);
  pass->panel_count = (weight->channels + weight->kernels->panel - 1) / weight->kernels->panel;
  pass->grid_height = (weight->height + stride - 1) / stride;
  pass->grid_width = (weight->width + stride - 1) / stride;
  pass->positions = stride * stride * pass->grid_height * pass->grid_width;
  pass->out_positions = weight->out_height * weight->out_width;
  int64_t pixels = weight->images * weight->height * weight->width;
  pass->wide = weight->integer && weight->images * pass->out_positions > EXACT_TERMS;
  pass->narrow = !pass->wide && ffb_cpu_narrow_suits(weight);
  if (!pass->wide && weight->images >= SLICES * weight->group &&
      pixels * weight->channels > SLICES * pass->all * weight->group)
    pass->slices = SLICES;
  plan_chunks(pass);
  double work = (double)(weight->images * pass->out_positions) * (double)(pass->k * weight->outputs);
  pass->threads = work < FFB_CPU_SHARED_WORK ? 1 : weight->threads;
  pass->kept = pass->kept || pass->narrow;
  pass->blocks = weight->update && !pass->kept;
  plan_own(pass);
  pass->sums = weight->scratch;
  pass->own = pass->sums + (pass->kept ? pass->slices * pass->all : 0);
  pass->wide_sums = (int64_t *)(void *)(pass->own + pass->threads * pass->own_all);
  return (size_t)((char *)(pass->wide_sums + (pass->wide ? pass->all : 0)) - (char *)weight->scratch);
}

size_t ffb_cpu_weight_bytes(const struct ffb_cpu_weight *weight) {
  struct weight_pass pass;
  return plan_weight(weight, &pass);
}

bool ffb_cpu_weight_suits(const struct ffb_cpu_weight *weight) {
  int64_t terms = weight->out_height * weight->out_width;
  if (!weight->integer)
    return true;
  return (weight->update ? weight->images : weight->group) * terms <= EXACT_TERMS;
}

static struct worker make_worker(const struct weight_pass *pass, int parts, int part) {
  struct worker worker = {.pass = pass, .outputs = thread_outputs(pass, parts, part)};
  worker.row_step = row_words(pass->weight, worker.outputs.end - worker.outputs.begin);
  worker.panels = pass->own + part * pass->own_all;
  worker.rows = worker.panels + pass->panels;
  worker.start = worker.rows + pass->rows;
  worker.block = worker.start + pass->start;
  worker.segments =
      (struct ffb_cpu_segment *)(void *)(worker.block +
                                         (pass->blocks ? aligned_words(pass->kernels->tile_rows * pass->k) : 0));
  return worker;
}

/* ---- packing -------------------------------------------------------------------------------------------------- */

/* One chunk's images, and their words. */
struct chunk {
  int64_t first, images, groups;
};

static struct chunk chunk_from(const struct worker *worker, int64_t first) {
  int64_t group = worker->pass->weight->group, left = worker->images.end - first;
  int64_t images = worker->pass->chunk_groups * group < left ? worker->pass->chunk_groups * group : left;
  return (struct chunk){first, images, (images + group - 1) / group};
}

static const void *element(const struct weight_pass *pass, const void *first, int64_t number) {
  return (const char *)first + number * (pass->weight->integer ? 1 : (int64_t)sizeof(float));
}

/* The source pixel of a packed position; -1 where there is none, or no tap that meets it. */
static int64_t pixel_of(const struct weight_pass *pass, int64_t position) {
  const struct ffb_cpu_weight *weight = pass->weight;
  int64_t stride = weight->window.stride, kernel = weight->window.kernel;
  int64_t grid = pass->grid_height * pass->grid_width, residue = position / grid, at = position % grid;
  int64_t h = at / pass->grid_width * stride + residue / stride, w = at % pass->grid_width * stride + residue % stride;
  bool met = (h + weight->window.padding) % stride < kernel && (w + weight->window.padding) % stride < kernel;
  return met && h < weight->height && w < weight->width ? h * weight->width + w : -1;
}

static int64_t source_panel_words(const struct weight_pass *pass) {
  return pass->positions * pass->chunk_groups * pass->kernels->panel;
}

static void pack_source(const struct worker *worker, const struct chunk *chunk) {
  const struct weight_pass *pass = worker->pass;
  const struct ffb_cpu_weight *weight = pass->weight;
  const struct ffb_cpu_kernels *kernels = pass->kernels;
  int64_t words = source_panel_words(pass), image = weight->height * weight->width * weight->channels;
  for (int64_t position = 0; position < pass->positions; position++) {
    int64_t pixel = pixel_of(pass, position);
    if (pixel < 0)
      continue;
    const void *x = element(pass, weight->x, chunk->first * image + pixel * weight->channels);
    int32_t *to = worker->panels + position * chunk->groups * kernels->panel;
    if (weight->integer)
      kernels->panel_columns_s8(to, words, x, image, weight->channels, chunk->images);
    else
      kernels->panel_columns_f32((float *)to, words, x, image, weight->channels, chunk->images);
  }
}

static void pack_gradient(const struct worker *worker, const struct chunk *chunk) {
  const struct weight_pass *pass = worker->pass;
  const struct ffb_cpu_weight *weight = pass->weight;
  int64_t image = pass->out_positions * weight->outputs, outputs = worker->outputs.end - worker->outputs.begin;
  for (int64_t position = 0; position < pass->out_positions; position++) {
    const void *gy =
        element(pass, weight->gy, chunk->first * image + position * weight->outputs + worker->outputs.begin);
    int32_t *to = worker->rows + position * chunk->groups * worker->row_step;
    if (weight->integer) {
      int32_t unused[FFB_CPU_MAX_PANEL]; /* the offset is corrected for the panel's side */
      for (int64_t o = 0; o < outputs; o += pass->kernels->panel)
        pass->kernels->broadcast_columns_s8(to + o, worker->row_step, unused, (const int8_t *)gy + o, image,
                                            outputs - o, chunk->images);
    } else {
      for (int64_t i = 0; i < chunk->images; i++)
        memcpy(to + i * worker->row_step, (const float *)gy + i * image, (size_t)outputs * sizeof(float));
    }
  }
}

/* The sums of every tap, from the packed operands of a chunk. */
static void find_segments(struct worker *worker, const struct chunk *chunk) {
  const struct weight_pass *pass = worker->pass;
  const struct ffb_cpu_weight *weight = pass->weight;
  const struct ffb_window *window = &weight->window;
  const int64_t panel = pass->kernels->panel, stride = window->stride;
  struct ffb_cpu_segment *segment = worker->segments;
  worker->tap_count = 0;
  for (int tap = 0; tap < window->kernel * window->kernel; tap++) {
    int i = tap / window->kernel, j = tap % window->kernel;
    struct ffb_cpu_span rows = outputs_of_tap(window, weight->height, weight->out_height, i);
    struct ffb_cpu_span columns = outputs_of_tap(window, weight->width, weight->out_width, j);
    if (rows.begin == rows.end || columns.begin == columns.end)
      continue;
    struct live_tap *live = &worker->taps[worker->tap_count++];
    *live = (struct live_tap){.number = tap, .first_segment = segment - worker->segments};
    for (int64_t p = rows.begin; p < rows.end; p++) {
      int64_t h = p * stride + i - window->padding, w = columns.begin * stride + j - window->padding;
      int64_t position = ((h % stride * stride + w % stride) * pass->grid_height + h / stride) * pass->grid_width;
      struct ffb_cpu_segment one = {.panel = (position + w / stride) * chunk->groups * panel,
                                    .row = (p * weight->out_width + columns.begin) * chunk->groups * worker->row_step,
                                    .groups = (columns.end - columns.begin) * chunk->groups};
      struct ffb_cpu_segment *last = segment - 1;
      if (live->segment_count && last->panel + last->groups * panel == one.panel &&
          last->row + last->groups * worker->row_step == one.row) {
        last->groups += one.groups;
        continue;
      }
      *segment++ = one;
      live->segment_count++;
    }
  }
}

static void sum_lanes(const struct worker *worker) {
  const struct weight_pass *pass = worker->pass;
  for (int64_t i = 0; i < worker->tap_count * pass->panel_count; i++) {
    const struct live_tap *tap = &worker->taps[i / pass->panel_count];
    pass->kernels->convolution->lane_sums(worker->start + i * pass->kernels->panel,
                                          worker->panels + i % pass->panel_count * source_panel_words(pass),
                                          worker->segments + tap->first_segment, tap->segment_count);
  }
}

/* ---- sums ----------------------------------------------------------------------------------------------------- */

/* Rows of the gradient, to `out` (whose first row is the first of `rows`) as the tile says. Returns the largest
 * absolute word, of integer words. */
static uint32_t gradient_rows(const struct worker *worker, struct ffb_cpu_tile tile, struct ffb_cpu_span rows) {
  const struct weight_pass *pass = worker->pass;
  const struct ffb_cpu_kernels *kernels = pass->kernels;
  const struct ffb_cpu_weight *weight = pass->weight;
  int64_t offsets[FFB_CPU_MAX_TILE_ROWS], first = rows.begin - worker->outputs.begin;
  int64_t length = rows.end - rows.begin, tiles = (length + kernels->tile_rows - 1) / kernels->tile_rows;
  uint32_t largest = 0;
  float *out = tile.out;
  tile.panel_step = kernels->panel;
  tile.row_stride = 1;
  tile.row_step = worker->row_step;
  tile.scale = weight->scale;
  tile.offsets = offsets;
  for (int64_t t = 0; t < tiles; t++) {
    struct ffb_cpu_span some = ffb_cpu_share(length, 1, tiles, t);
    int count = (int)(some.end - some.begin);
    tile.rows = worker->rows + first + some.begin;
    for (int r = 0; r < count; r++)
      offsets[r] = (some.begin + r) * pass->k;
    for (int64_t i = 0; i < worker->tap_count * pass->panel_count; i++) {
      const struct live_tap *tap = &worker->taps[i / pass->panel_count];
      int64_t panel = i % pass->panel_count, column = panel * kernels->panel;
      int columns = weight->channels - column < kernels->panel ? (int)(weight->channels - column) : kernels->panel;
      tile.panel = worker->panels + panel * source_panel_words(pass);
      tile.segments = worker->segments + tap->first_segment;
      tile.segment_count = tap->segment_count;
      tile.start = worker->start + i * kernels->panel;
      tile.out = out ? out + tap->number * weight->channels + column : NULL;
      uint32_t bits = 0;
      if (weight->integer)
        bits = kernels->convolution->tile_s8(&tile, count, columns);
      else
        kernels->convolution->tile_f32(&tile, count, columns);
      largest = bits > largest ? bits : largest;
    }
  }
  return largest;
}

/* What a tap that only falls on padding has for a gradient: 0, or a NaN where the scale of its 0 is not finite. */
static void finish_dead_taps(const struct worker *worker) {
  const struct weight_pass *pass = worker->pass;
  const struct ffb_cpu_weight *weight = pass->weight;
  const float nothing = 0.0F * (weight->integer ? weight->scale : 1);
  int taps = weight->window.kernel * weight->window.kernel;
  bool live[FFB_CPU_MAX_TAPS] = {false};
  for (int t = 0; t < worker->tap_count; t++)
    live[worker->taps[t].number] = true;
  for (int64_t o = worker->outputs.begin; o < worker->outputs.end; o++) {
    for (int tap = 0; tap < taps; tap++) {
      float *gw = weight->gw + o * pass->k + tap * weight->channels;
      if (live[tap])
        continue;
      for (int64_t c = 0; c < weight->channels; c++)
        gw[c] = weight->accumulate ? gw[c] + nothing : nothing;
    }
  }
}

/* Moves the INT32 sums of some rows to the INT64 ones. */
static void widen(const struct weight_pass *pass, struct ffb_cpu_span rows) {
  for (int64_t i = rows.begin * pass->k; i < rows.end * pass->k; i++) {
    pass->wide_sums[i] += pass->sums[i];
    pass->sums[i] = 0;
  }
}

static void finish_words(const struct weight_pass *pass, struct ffb_cpu_span rows) {
  const struct ffb_cpu_weight *weight = pass->weight;
  int64_t first = rows.begin * pass->k, n = (rows.end - rows.begin) * pass->k;
  if (!weight->integer) {
    const float *sums = (const float *)pass->sums;
    for (int64_t i = first; i < first + n; i++)
      weight->gw[i] = weight->accumulate ? weight->gw[i] + sums[i] : sums[i];
    return;
  }
  if (!pass->wide) {
    pass->kernels->dequantise_s32(weight->gw + first, pass->sums + first, n, weight->scale, weight->accumulate);
    return;
  }
  widen(pass, rows);
  for (int64_t i = first; i < first + n; i++) {
    float value = (float)pass->wide_sums[i] * weight->scale;
    weight->gw[i] = weight->accumulate ? weight->gw[i] + value : value;
  }
}

/* ---- the update ----------------------------------------------------------------------------------------------- */

static uint32_t update_kept(const struct weight_pass *pass, struct ffb_cpu_span rows) {
  return pass->kernels->convolution->update_words(pass->weight->update, pass->sums + rows.begin * pass->k,
                                                  rows.begin * pass->k, (rows.end - rows.begin) * pass->k);
}

static uint32_t update_blocks(const struct worker *worker) {
  const struct weight_pass *pass = worker->pass;
  const int64_t height = pass->kernels->tile_rows, length = worker->outputs.end - worker->outputs.begin;
  const int64_t blocks = (length + height - 1) / height;
  struct ffb_cpu_tile tile = {.use = FFB_CPU_TILE_WORDS, .out = worker->block};
  uint32_t largest = 0;
  memset(worker->block, 0, (size_t)(height * pass->k) * sizeof *worker->block);
  for (int64_t b = 0; b < blocks; b++) {
    struct ffb_cpu_span some = ffb_cpu_share(length, 1, blocks, b);
    struct ffb_cpu_span block = {worker->outputs.begin + some.begin, worker->outputs.begin + some.end};
    gradient_rows(worker, tile, block);
    uint32_t bits = pass->kernels->convolution->update_words(pass->weight->update, worker->block, block.begin * pass->k,
                                                             (block.end - block.begin) * pass->k);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/* Scale of the dequantised weight gradient, whose largest word is `word`. With a scale that is not finite the gradient
 * holds a NaN: that of its zeros. */
static void set_quantum(struct ffb_cpu_update *update, uint32_t word) {
  update->quantum = isfinite(update->scale) ? ffb_cpu_scale_of((float)word * update->scale) : NAN;
  update->reciprocal = 1 / update->quantum;
}

/* ---- the pass ------------------------------------------------------------------------------------------------- */

/* A chunk's part of the gradient, of one thread's outputs. */
static uint32_t chunk_rows(const struct worker *worker, bool first) {
  const struct weight_pass *pass = worker->pass;
  const struct ffb_cpu_weight *weight = pass->weight;
  int64_t begin = worker->outputs.begin * pass->k;
  struct ffb_cpu_tile tile = {0};
  if (pass->kept) {
    if (pass->wide && !first)
      widen(pass, worker->outputs);
    tile = (struct ffb_cpu_tile){
        .use = FFB_CPU_TILE_WORDS, .accumulate = !first, .out = pass->sums + worker->slice * pass->all + begin};
  } else if (pass->blocks) {
    if (!weight->quantise)
      return 0; /* the update makes the sums */
    tile.use = FFB_CPU_TILE_LARGEST;
  } else {
    tile = (struct ffb_cpu_tile){.accumulate = weight->accumulate || !first, .out = weight->gw + begin};
  }
  return gradient_rows(worker, tile, worker->outputs);
}

/* The sums of one slice that a thread makes. Returns their largest absolute word, of integer words. */
static uint32_t slice_sums(struct worker *worker, int slice) {
  const struct weight_pass *pass = worker->pass;
  int64_t begin = worker->outputs.begin * pass->k, n = worker->outputs.end * pass->k - begin;
  uint32_t largest = 0;
  worker->slice = slice;
  worker->images = slice_images(pass, slice);
  int32_t *sums = pass->sums + slice * pass->all;
  if (pass->narrow) {
    ffb_cpu_narrow_sums(pass->weight, worker->panels, sums, worker->images, worker->outputs);
    return pass->weight->integer ? pass->kernels->absmax_s32(sums + begin, n) : 0;
  }
  if (pass->kept)
    memset(sums + begin, 0, (size_t)n * sizeof *sums);
  if (pass->wide)
    memset(pass->wide_sums + begin, 0, (size_t)n * sizeof *pass->wide_sums);
  struct chunk chunk;
  for (int64_t first = worker->images.begin; first < worker->images.end; first += chunk.images) {
    chunk = chunk_from(worker, first);
    pack_source(worker, &chunk);
    pack_gradient(worker, &chunk);
    find_segments(worker, &chunk);
    if (pass->weight->integer)
      sum_lanes(worker);
    largest = chunk_rows(worker, first == worker->images.begin);
  }
  return largest;
}

/* Adds the second slice's sums to the first's, for some rows. */
static uint32_t add_slices(const struct weight_pass *pass, struct ffb_cpu_span rows) {
  int64_t begin = rows.begin * pass->k, n = rows.end * pass->k - begin;
  int32_t *sums = pass->sums + begin;
  const int32_t *second = sums + pass->all;
  if (!pass->weight->integer) {
    pass->kernels->add_scaled((float *)sums, (const float *)sums, (const float *)second, n, 1);
    return 0;
  }
  for (int64_t i = 0; i < n; i++)
    sums[i] += second[i];
  return pass->kernels->absmax_s32(sums, n);
}

uint32_t ffb_cpu_weight_run(const struct ffb_cpu_weight *weight) {
  struct weight_pass pass;
  plan_weight(weight, &pass);
  uint32_t largest_word = 0, largest_weight = 0;
#pragma omp parallel num_threads(pass.threads) reduction(max : largest_weight)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    struct weight_pass here = pass; /* there may be fewer threads than asked for */
    here.threads = parts;
    plan_own(&here);
    struct worker worker = make_worker(&here, parts, part);
    struct ffb_cpu_span rows = worker.outputs;
    uint32_t mine = 0;
    for (int slice = part % pass.slices; slice < pass.slices; slice += parts < pass.slices ? 1 : pass.slices)
      mine = slice_sums(&worker, slice);
    if (pass.slices > 1) {
#pragma omp barrier
      rows = ffb_cpu_share(weight->outputs, 1, parts, part);
      mine = add_slices(&pass, rows);
    }
    if (weight->update && weight->quantise) {
#pragma omp critical
      largest_word = mine > largest_word ? mine : largest_word;
#pragma omp barrier
#pragma omp single
      set_quantum(weight->update, largest_word);
    }
    if (weight->update)
      largest_weight = pass.kept ? update_kept(&pass, rows) : update_blocks(&worker);
    else if (pass.kept)
      finish_words(&pass, rows);
    else
      finish_dead_taps(&worker);
  }
  return largest_weight;
}
