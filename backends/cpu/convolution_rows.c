/* Convolutions and their input gradients whose tile rows are pixels, lanes the channels that are written. The words of a
 * tile's pixels are gathered (a 1x1 convolution reads them in place) and meet panels of weights:
 *   many pixels: the weights are packed once, and threads share the pixels;
 *   few pixels:  the pixels are gathered once, and threads share the channels, each packing the panels it works on. */
#include "backends/cpu/convolution.h"

#include <string.h>

enum {
  COLUMN_PANELS = 2, /* panels that a thread packs at a time */
  PIXEL_COST = 8,    /* of a pixel besides its sums, in words */
  PAD_WORDS = 16,    /* keeps gathered rows off the same cache sets; whole vectors are written */
};

/* A pass, and where the parts of its scratch memory lie. */
struct rows_pass {
  struct ffb_cpu_convolution convolution;
  struct ffb_cpu_classes classes;
  bool by_columns, in_place, padded;
  int threads;
  int64_t panel_count, panel_words; /* of all channels; words of one panel */
  int64_t row_words;                /* from one gathered pixel to the next */
  int8_t *image;                    /* INT8 source with its padding, where a row of taps is not whole words */
  int32_t *panels, *rows, *start;
};

static int64_t span_words(int64_t bytes) {
  return ffb_cpu_rounded_up(bytes, FFB_CPU_ALIGNMENT) / 4;
}

/* A copy with the padding in it, whose taps all count. */
static int64_t pad_image(struct rows_pass *pass) {
  struct ffb_cpu_convolution *convolution = &pass->convolution;
  if (!convolution->integer || convolution->backward || convolution->channels % convolution->group == 0 ||
      !convolution->window.padding)
    return 0;
  pass->padded = true;
  convolution->height += 2 * (int64_t)convolution->window.padding;
  convolution->width += 2 * (int64_t)convolution->window.padding;
  convolution->window.padding = 0;
  return span_words(convolution->images * convolution->height * convolution->width * convolution->channels);
}

static bool rows_in_place(const struct ffb_cpu_convolution *convolution) {
  bool words = !convolution->integer || (convolution->group == 4 && convolution->channels % 4 == 0);
  return words && convolution->window.kernel == 1 && convolution->window.stride == 1 && !convolution->window.padding;
}

/* Lays out the scratch memory; returns its words. */
static int64_t plan_rows(const struct ffb_cpu_convolution *convolution, struct rows_pass *pass) {
  *pass = (struct rows_pass){.convolution = *convolution};
  const int panel = convolution->kernels->panel;
  int64_t image = pad_image(pass);
  convolution = &pass->convolution;
  ffb_cpu_find_classes(convolution, &pass->classes);
  const struct ffb_cpu_classes *classes = &pass->classes;
  pass->in_place = rows_in_place(convolution);
  pass->threads = ffb_cpu_convolution_threads(convolution, (double)classes->gathered_words *
                                                               (double)(convolution->outputs * convolution->group));
  pass->panel_count = (convolution->outputs + panel - 1) / panel;
  pass->panel_words =
      panel * (convolution->backward ? classes->slot_count * ffb_cpu_channel_words(convolution)
                                     : convolution->window.kernel * ffb_cpu_tap_row_words(convolution));
  pass->row_words = pass->in_place ? convolution->channels / convolution->group
                                   : ffb_cpu_rounded_up(classes->most_words, FFB_CPU_MAX_LANES) + PAD_WORDS;
  pass->by_columns = convolution->backward && pass->panel_words * pass->panel_count > classes->gathered_words;
  int64_t pixels = convolution->images * convolution->out_height * convolution->out_width;
  int64_t panels = pass->by_columns ? pass->threads * COLUMN_PANELS : pass->panel_count;
  int64_t rows = pass->by_columns ? pixels : pass->threads * (int64_t)convolution->kernels->tile_rows;
  int64_t start = pass->threads * (pass->by_columns ? 1 : panels) * panel;
  pass->image = (int8_t *)convolution->scratch;
  pass->panels = convolution->scratch + image;
  pass->rows = pass->panels + panels * pass->panel_words;
  pass->start = pass->rows + (pass->in_place ? 0 : rows * pass->row_words + PAD_WORDS);
  return pass->start + start - convolution->scratch;
}

size_t ffb_cpu_rows_bytes(const struct ffb_cpu_convolution *convolution) {
  struct rows_pass pass;
  return (size_t)plan_rows(convolution, &pass) * 4;
}

static void fill_image(const struct rows_pass *pass, const struct ffb_cpu_convolution *original, int parts, int part) {
  const struct ffb_cpu_convolution *padded = &pass->convolution;
  int64_t row = original->width * original->channels, padded_row = padded->width * padded->channels;
  int64_t padding = original->window.padding;
  struct ffb_cpu_span share = ffb_cpu_share(padded->images * padded->height, 1, parts, part);
  for (int64_t r = share.begin; r < share.end; r++) {
    int64_t image = r / padded->height, h = r % padded->height - padding;
    int8_t *to = pass->image + r * padded_row;
    memset(to, 0, (size_t)padded_row);
    if (h >= 0 && h < original->height)
      memcpy(to + padding * padded->channels,
             (const int8_t *)original->source + (image * original->height + h) * row, (size_t)row);
  }
}

/* ---- packing the weights -------------------------------------------------------------------------------------- */

/* Lanes are rows of the weights. */
static void pack_forward(const struct rows_pass *pass, int parts, int part) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  int kernel = convolution->window.kernel;
  int64_t k = (int64_t)kernel * kernel * convolution->channels, words = pass->panel_words / kernels->panel;
  /* Rows of taps that are not whole words are padded one by one. */
  int pieces = convolution->channels % convolution->group ? kernel : 1;
  struct ffb_cpu_span share = ffb_cpu_share(words / pieces, kernels->lanes, parts, part);
  for (int64_t p = 0; p < pass->panel_count; p++) {
    int64_t first = p * kernels->panel, count = convolution->outputs - first;
    for (int piece = 0; piece < pieces; piece++) {
      int32_t *panel = pass->panels + p * pass->panel_words + piece * (words / pieces) * kernels->panel;
      const void *w = ffb_cpu_element(convolution, convolution->weights, first * k + piece * (k / pieces));
      if (convolution->integer)
        kernels->panel_rows_s8(panel, w, k, count, k / pieces, share.begin, share.end);
      else
        kernels->panel_rows_f32((float *)panel, w, k, count, share.begin, share.end);
    }
  }
}

/* Panels of `count` columns from `column` on, lanes are columns of the weights; words begin .. end-1 of each panel. */
static void pack_backward(const struct rows_pass *pass, int32_t *panels, int64_t column, int64_t count,
                          struct ffb_cpu_span words) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  int taps = convolution->window.kernel * convolution->window.kernel;
  int64_t tap_words = ffb_cpu_channel_words(convolution), stride = taps * convolution->outputs;
  for (int tap = 0; tap < taps; tap++) {
    int64_t slot = pass->classes.slots[tap], base = slot * tap_words;
    int64_t begin = words.begin > base ? words.begin - base : 0;
    int64_t end = words.end - base < tap_words ? words.end - base : tap_words;
    if (slot < 0 || begin >= end)
      continue;
    int64_t row = begin * convolution->group, rows = end * convolution->group;
    rows = (rows < convolution->channels ? rows : convolution->channels) - row;
    const void *w = ffb_cpu_element(convolution, convolution->weights,
                                    row * stride + tap * convolution->outputs + column);
    int32_t *to = panels + (base + begin) * kernels->panel;
    if (convolution->integer)
      kernels->panel_columns_s8(to, pass->panel_words, w, stride, count, rows);
    else
      kernels->panel_columns_f32((float *)to, pass->panel_words, w, stride, count, rows);
  }
}

/* ---- pixels --------------------------------------------------------------------------------------------------- */

/* A pixel of a class: image, and number among its positions down and along. */
struct pixel {
  int64_t image, down, along;
};

static struct pixel pixel_at(const struct ffb_cpu_pixel_class *class, int64_t number) {
  int64_t positions = class->down.count * class->along.count, position = number % positions;
  return (struct pixel){number / positions, position / class->along.count, position % class->along.count};
}

static void next_pixel(const struct ffb_cpu_pixel_class *class, struct pixel *pixel) {
  if (++pixel->along < class->along.count)
    return;
  pixel->along = 0;
  if (++pixel->down < class->down.count)
    return;
  pixel->down = 0;
  pixel->image++;
}

static int64_t source_of(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *class,
                         const struct pixel *pixel) {
  int64_t row = class->down.from + pixel->down * class->down.from_step;
  int64_t column = class->along.from + pixel->along * class->along.from_step;
  return ((pixel->image * convolution->height + row) * convolution->width + column) * convolution->channels;
}

static int64_t out_of(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *class,
                      const struct pixel *pixel) {
  int64_t row = class->down.first + pixel->down * class->down.step;
  int64_t column = class->along.first + pixel->along * class->along.step;
  return ((pixel->image * convolution->out_height + row) * convolution->out_width + column) * convolution->outputs;
}

static void gather(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class, int32_t *rows, int64_t number,
                   int count) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_convolution_kernels *kernels = convolution->kernels->convolution;
  struct pixel pixel = pixel_at(class, number);
  for (int r = 0; r < count; r++, rows += pass->row_words, next_pixel(class, &pixel)) {
    const void *from =
        ffb_cpu_element(convolution, convolution->source, class->runs ? source_of(convolution, class, &pixel) : 0);
    if (convolution->integer)
      kernels->gather_s8(rows, from, class->run_offsets, class->runs, class->run_length);
    else
      kernels->gather_f32((float *)rows, from, class->run_offsets, class->runs, class->run_length);
  }
}

static void out_offsets(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class, int64_t *offsets,
                        int64_t number, int count) {
  struct pixel pixel = pixel_at(class, number);
  for (int r = 0; r < count; r++, next_pixel(class, &pixel))
    offsets[r] = out_of(&pass->convolution, class, &pixel);
}

static struct ffb_cpu_tile tile_of(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class) {
  return (struct ffb_cpu_tile){.panel_step = pass->convolution.kernels->panel,
                               .row_stride = pass->row_words,
                               .row_step = 1,
                               .segments = class->segments,
                               .segment_count = class->segment_count,
                               .accumulate = pass->convolution.accumulate,
                               .scale = pass->convolution.scale};
}

/* ---- many pixels ---------------------------------------------------------------------------------------------- */

/* Which pixels of a class, whose predecessors cost `before`, fall to a part of the whole cost. */
static struct ffb_cpu_span pixels_of_part(const struct ffb_cpu_pixel_class *class, int64_t before, int64_t total,
                                          int parts, int part) {
  int64_t cost = class->words + PIXEL_COST, bound[2];
  for (int side = 0; side < 2; side++) {
    int64_t pixel = (total * (part + side) / parts - before + cost - 1) / cost;
    bound[side] = pixel < 0 ? 0 : pixel > class->pixels ? class->pixels : pixel;
  }
  return (struct ffb_cpu_span){bound[0], bound[1]};
}

static void class_by_pixels(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class,
                            struct ffb_cpu_span span, int part) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  int32_t *rows = pass->rows + part * kernels->tile_rows * pass->row_words;
  int32_t *start = pass->start + part * pass->panel_count * kernels->panel;
  struct ffb_cpu_tile tile = tile_of(pass, class);
  if (convolution->integer) {
    for (int64_t p = 0; p < pass->panel_count; p++)
      kernels->convolution->lane_sums(start + p * kernels->panel, pass->panels + p * pass->panel_words,
                                      class->segments, class->segment_count);
  }
  int64_t length = span.end - span.begin, tiles = (length + kernels->tile_rows - 1) / kernels->tile_rows;
  int64_t offsets[FFB_CPU_MAX_TILE_ROWS];
  tile.offsets = offsets;
  tile.rows = rows;
  for (int64_t t = 0; t < tiles; t++) {
    struct ffb_cpu_span some = ffb_cpu_share(length, 1, tiles, t);
    int64_t first = span.begin + some.begin;
    int count = (int)(some.end - some.begin);
    out_offsets(pass, class, offsets, first, count);
    if (pass->in_place)
      tile.rows = ffb_cpu_element(convolution, convolution->source, first * convolution->channels);
    else
      gather(pass, class, rows, first, count);
    for (int64_t p = 0; p < pass->panel_count; p++) {
      tile.panel = pass->panels + p * pass->panel_words;
      tile.start = start + p * kernels->panel;
      tile.out = convolution->out + p * kernels->panel;
      ffb_cpu_run_tile(convolution, &tile, count, convolution->outputs - p * kernels->panel);
    }
  }
}

static void run_by_pixels(const struct rows_pass *pass, int parts, int part) {
  const struct ffb_cpu_classes *classes = &pass->classes;
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  int64_t pixels = convolution->images * convolution->out_height * convolution->out_width;
  int64_t total = classes->gathered_words + pixels * PIXEL_COST, before = 0;
  for (int down = 0; down < classes->down_count; down++) {
    for (int along = 0; along < classes->along_count; along++) {
      struct ffb_cpu_pixel_class class;
      ffb_cpu_make_class(convolution, classes, down, along, &class);
      struct ffb_cpu_span span = pixels_of_part(&class, before, total, parts, part);
      if (span.begin < span.end)
        class_by_pixels(pass, &class, span, part);
      before += class.pixels * (class.words + PIXEL_COST);
    }
  }
}

/* ---- few pixels ----------------------------------------------------------------------------------------------- */

static void gather_all(const struct rows_pass *pass, int parts, int part) {
  const struct ffb_cpu_classes *classes = &pass->classes;
  int32_t *rows = pass->rows;
  for (int down = 0; down < classes->down_count; down++) {
    for (int along = 0; along < classes->along_count; along++) {
      struct ffb_cpu_pixel_class class;
      ffb_cpu_make_class(&pass->convolution, classes, down, along, &class);
      struct ffb_cpu_span share = ffb_cpu_share(class.pixels, 1, parts, part);
      gather(pass, &class, rows + share.begin * pass->row_words, share.begin, (int)(share.end - share.begin));
      rows += class.pixels * pass->row_words;
    }
  }
}

static void class_by_columns(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class, const int32_t *rows,
                             const int32_t *panel, struct ffb_cpu_span columns, int32_t *start) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  struct ffb_cpu_tile tile = tile_of(pass, class);
  int64_t tiles = (class->pixels + kernels->tile_rows - 1) / kernels->tile_rows;
  int64_t offsets[FFB_CPU_MAX_TILE_ROWS];
  if (convolution->integer)
    kernels->convolution->lane_sums(start, panel, class->segments, class->segment_count);
  tile.panel = panel;
  tile.start = start;
  tile.offsets = offsets;
  tile.out = convolution->out + columns.begin;
  for (int64_t t = 0; t < tiles; t++) {
    struct ffb_cpu_span some = ffb_cpu_share(class->pixels, 1, tiles, t);
    int count = (int)(some.end - some.begin);
    out_offsets(pass, class, offsets, some.begin, count);
    tile.rows = rows + some.begin * pass->row_words;
    ffb_cpu_run_tile(convolution, &tile, count, columns.end - columns.begin);
  }
}

static void run_by_columns(const struct rows_pass *pass, int parts, int part) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_classes *classes = &pass->classes;
  const int64_t panel = convolution->kernels->panel, block = COLUMN_PANELS * panel;
  struct ffb_cpu_span share = ffb_cpu_share(convolution->outputs, convolution->kernels->lanes, parts, part);
  int32_t *panels = pass->panels + part * COLUMN_PANELS * pass->panel_words, *start = pass->start + part * panel;
  struct ffb_cpu_span words = {0, pass->panel_words / panel};
  for (int64_t first = share.begin; first < share.end; first += block) {
    int64_t end = first + block < share.end ? first + block : share.end;
    pack_backward(pass, panels, first, end - first, words);
    for (int64_t column = first; column < end; column += panel) {
      struct ffb_cpu_span columns = {column, column + panel < end ? column + panel : end};
      const int32_t *rows = pass->in_place ? convolution->source : pass->rows;
      for (int c = 0; c < classes->down_count * classes->along_count; c++) {
        struct ffb_cpu_pixel_class class;
        ffb_cpu_make_class(convolution, classes, c / classes->along_count, c % classes->along_count, &class);
        class_by_columns(pass, &class, rows, panels + (column - first) / panel * pass->panel_words, columns, start);
        rows += class.pixels * pass->row_words;
      }
    }
  }
}

/* --------------------------------------------------------------------------------------------------------------- */

void ffb_cpu_rows_run(const struct ffb_cpu_convolution *convolution) {
  struct rows_pass pass;
  plan_rows(convolution, &pass);
  if (pass.padded)
    pass.convolution.source = pass.image;
#pragma omp parallel num_threads(pass.threads)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    if (pass.padded)
      fill_image(&pass, convolution, parts, part);
    if (pass.by_columns) {
      if (!pass.in_place)
        gather_all(&pass, parts, part);
    } else if (convolution->backward) {
      struct ffb_cpu_span words =
          ffb_cpu_share(pass.panel_words / convolution->kernels->panel, FFB_CPU_MAX_LANES, parts, part);
      pack_backward(&pass, pass.panels, 0, convolution->outputs, words);
    } else {
      pack_forward(&pass, parts, part);
    }
#pragma omp barrier
    if (pass.by_columns)
      run_by_columns(&pass, parts, part);
    else
      run_by_pixels(&pass, parts, part);
  }
}
