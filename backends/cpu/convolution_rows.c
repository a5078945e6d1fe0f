/* Convolutions and their input gradients whose tile rows are pixels, lanes the channels that are written:
 *   many pixels: the weights are packed once, and threads share the images (or, with few, the pixels);
 *   few pixels:  threads share the channels, each packing the panels it works on.
 * The words of a tile's pixels are read in place where they lie evenly apart: beside one another, or in one image after
 * the other; else they are gathered. What one thread writes and another reads crosses between processors slowly, so of
 * the source each thread only copies what it reads itself. */
#include "backends/cpu/convolution.h"

#include <string.h>

enum {
  COLUMN_PANELS = 2,  /* panels that a thread packs at a time */
  PIXEL_COST = 8,     /* of a pixel besides its sums, in words */
  PAD_WORDS = 16,     /* keeps gathered rows off the same cache sets; whole vectors are written */
  LEAST_ALONG = 6,    /* fewer pixels beside one another are not worth a tile */
  LEAST_IMAGES = 8,   /* likewise images */
  COPY_ADVANTAGE = 4, /* words that a copy of the source has to save, for each of its own */
  IMAGES_EACH = 4,    /* of a thread, for threads to share images that they cannot share evenly */
};

/* A pass, and where the parts of its scratch memory lie. */
struct rows_pass {
  struct ffb_cpu_convolution convolution;
  struct ffb_cpu_classes classes;
  bool by_columns, by_images, placeable, padded, copied;
  int threads;
  int64_t weight_channels;          /* before padding */
  int64_t panel_count, panel_words; /* of all channels; words of one panel */
  int64_t row_words;                /* from one gathered pixel to the next */
  int64_t image_step;               /* elements from one image of the source to the next */
  int64_t image_words;              /* of a copy of the source */
  int32_t *image;                   /* the copy, if there is one; by columns: a copy for each thread */
  int32_t *panels, *rows, *start;
};

/* An INT8 source whose pixels are not whole words gets channels of zeros, and its padding with them. */
static void pad_source(struct rows_pass *pass) {
  struct ffb_cpu_convolution *convolution = &pass->convolution;
  if (!convolution->integer || convolution->backward || convolution->channels % convolution->group == 0)
    return;
  pass->padded = true;
  convolution->channels = ffb_cpu_rounded_up(convolution->channels, convolution->group);
  convolution->height += 2 * (int64_t)convolution->window.padding;
  convolution->width += 2 * (int64_t)convolution->window.padding;
  convolution->window.padding = 0;
}

/* Whether words can be broadcast from the source as it lies. */
static bool is_placeable(const struct ffb_cpu_convolution *convolution) {
  return !convolution->integer || (convolution->group == 4 && convolution->channels % 4 == 0);
}

static bool in_place(const struct rows_pass *pass) {
  const struct ffb_window *window = &pass->convolution.window;
  return pass->placeable && window->kernel == 1 && window->stride == 1 && !window->padding;
}

/* Whether no class has pixels enough beside one another. */
static bool is_narrow(const struct ffb_cpu_classes *classes) {
  for (int c = 0; c < classes->along_count; c++) {
    if (classes->along[c].count >= LEAST_ALONG)
      return false;
  }
  return true;
}

/* Decides whether the source is copied, and returns the words of all copies. Images that lie a power of two apart fall
 * on the same cache sets, so those of a copy are an odd number of cache lines apart. */
static int64_t plan_source(struct rows_pass *pass) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const int64_t bytes = convolution->integer ? 1 : sizeof(float);
  pass->image_step = convolution->height * convolution->width * convolution->channels;
  if (pass->padded)
    return (ffb_cpu_rounded_up(convolution->images * pass->image_step * bytes, FFB_CPU_ALIGNMENT) + FFB_CPU_ALIGNMENT) /
           4;
  int64_t words = convolution->images * pass->image_step / convolution->group;
  bool saves = pass->by_columns || (pass->by_images && pass->classes.gathered_words > COPY_ADVANTAGE * words);
  pass->copied = saves && pass->placeable && !in_place(pass) && convolution->images >= LEAST_IMAGES * pass->threads &&
                 is_narrow(&pass->classes);
  if (!pass->copied)
    return 0;
  int64_t lines = (pass->image_step * bytes + FFB_CPU_ALIGNMENT - 1) / FFB_CPU_ALIGNMENT | 1;
  pass->image_step = lines * FFB_CPU_ALIGNMENT / bytes;
  pass->image_words = convolution->images * lines * (FFB_CPU_ALIGNMENT / 4);
  return pass->image_words * (pass->by_columns ? pass->threads : 1);
}

/* Lays out the scratch memory; returns its words. */
static int64_t plan_rows(const struct ffb_cpu_convolution *convolution, struct rows_pass *pass) {
  *pass = (struct rows_pass){.convolution = *convolution, .weight_channels = convolution->channels};
  const int panel = convolution->kernels->panel;
  pad_source(pass);
  convolution = &pass->convolution;
  pass->placeable = is_placeable(convolution);
  /* The pixels of a 1x1 convolution lie beside one another. */
  if (in_place(pass)) {
    pass->convolution.width = pass->convolution.out_width =
        convolution->images * convolution->height * convolution->width;
    pass->convolution.images = pass->convolution.height = pass->convolution.out_height = 1;
  }
  ffb_cpu_find_classes(convolution, &pass->classes);
  const struct ffb_cpu_classes *classes = &pass->classes;
  pass->threads = ffb_cpu_convolution_threads(convolution, (double)classes->gathered_words *
                                                               (double)(convolution->outputs * convolution->group));
  pass->panel_count = (convolution->outputs + panel - 1) / panel;
  pass->panel_words = panel * ffb_cpu_channel_words(convolution) * classes->slot_count;
  pass->row_words = ffb_cpu_rounded_up(classes->most_words, FFB_CPU_MAX_LANES) + PAD_WORDS;
  pass->by_columns = convolution->backward && pass->panel_words * pass->panel_count > classes->gathered_words;
  pass->by_images = !pass->by_columns &&
                    (convolution->images % pass->threads == 0 || convolution->images >= IMAGES_EACH * pass->threads);
  int64_t image = plan_source(pass);
  int64_t panels = pass->by_columns ? pass->threads * COLUMN_PANELS : pass->panel_count;
  pass->image = convolution->scratch;
  pass->panels = convolution->scratch + image;
  pass->rows = pass->panels + panels * pass->panel_words;
  pass->start = pass->rows + pass->threads * convolution->kernels->tile_rows * pass->row_words + PAD_WORDS;
  return pass->start + pass->threads * (pass->by_columns ? COLUMN_PANELS : panels) * panel - convolution->scratch;
}

size_t ffb_cpu_rows_bytes(const struct ffb_cpu_convolution *convolution) {
  struct rows_pass pass;
  return (size_t)plan_rows(convolution, &pass) * 4;
}

/* Pixels with their channels of zeros; `to` holds zeros. */
static void widen_pixels(int8_t *to, int64_t to_channels, const int8_t *from, int64_t channels, int64_t pixels) {
  int64_t w = 0;
  if (channels == 3 && to_channels == 4) {
    for (; w + 1 < pixels; w++) {
      memcpy(to + w * 4, from + w * 3, 4);
      to[w * 4 + 3] = 0;
    }
  }
  for (; w < pixels; w++) {
    for (int64_t c = 0; c < channels; c++)
      to[w * to_channels + c] = from[w * channels + c];
  }
}

static void fill_padded(const struct rows_pass *pass, const struct ffb_cpu_convolution *original, int parts, int part) {
  const int64_t padding = original->window.padding, channels = pass->convolution.channels;
  const int64_t height = original->height + 2 * padding, row = (original->width + 2 * padding) * channels;
  struct ffb_cpu_span share = ffb_cpu_share(original->images * height, 1, parts, part);
  for (int64_t r = share.begin; r < share.end; r++) {
    int64_t image = r / height, h = r % height - padding;
    int8_t *to = (int8_t *)(void *)pass->image + r * row;
    memset(to, 0, (size_t)row);
    if (h >= 0 && h < original->height)
      widen_pixels(to + padding * channels, channels,
                   (const int8_t *)original->source +
                       (image * original->height + h) * original->width * original->channels,
                   original->channels, original->width);
  }
}

/* Some images to a copy. */
static void copy_source(const struct rows_pass *pass, const char *source, int32_t *copy, struct ffb_cpu_span images) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const int64_t bytes = convolution->integer ? 1 : sizeof(float);
  int64_t image = convolution->height * convolution->width * convolution->channels * bytes;
  for (int64_t m = images.begin; m < images.end; m++)
    memcpy((char *)copy + m * pass->image_step * bytes, source + m * image, (size_t)image);
}

/* ---- packing the weights -------------------------------------------------------------------------------------- */

/* Lanes are rows of the weights. */
static void pack_forward(const struct rows_pass *pass, int parts, int part) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  int64_t taps = (int64_t)convolution->window.kernel * convolution->window.kernel, k = taps * pass->weight_channels;
  /* Tap by tap where channels are not whole words, which are padded, or where some taps only fall on padding. */
  bool by_tap = pass->padded || pass->classes.slot_count < taps;
  int64_t pieces = by_tap ? taps : 1, words = ffb_cpu_channel_words(convolution) * (by_tap ? 1 : taps);
  struct ffb_cpu_span share = ffb_cpu_share(words, kernels->lanes, parts, part);
  for (int64_t p = 0; p < pass->panel_count; p++) {
    int64_t first = p * kernels->panel, count = convolution->outputs - first;
    for (int64_t piece = 0; piece < pieces; piece++) {
      int slot = by_tap ? pass->classes.slots[piece] : 0;
      if (slot < 0)
        continue;
      int32_t *panel = pass->panels + p * pass->panel_words + slot * words * kernels->panel;
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
    const void *w =
        ffb_cpu_element(convolution, convolution->weights, row * stride + tap * convolution->outputs + column);
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

/* The first element that a pixel's sum reads. */
static const void *source_of(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class, const void *source,
                             const struct pixel *pixel) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  int64_t row = class->down.from + pixel->down * class->down.from_step;
  int64_t column = class->along.from + pixel->along * class->along.from_step;
  int64_t at = pixel->image * pass->image_step + (row * convolution->width + column) * convolution->channels;
  return ffb_cpu_element(convolution, source, class->runs ? at : 0);
}

static int64_t out_of(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *class,
                      const struct pixel *pixel) {
  int64_t row = class->down.first + pixel->down * class->down.step;
  int64_t column = class->along.first + pixel->along * class->along.step;
  return ((pixel->image * convolution->out_height + row) * convolution->out_width + column) * convolution->outputs;
}

/* ---- tiles ---------------------------------------------------------------------------------------------------- */

/* Where the rows of a class's tiles come from. Rows that are not gathered lie evenly apart, and so do their outputs;
 * tiles then end with the pixels beside one another, or with the images. */
enum rows_from { GATHERED, ALONG, BY_IMAGE };

/* What a thread works on: pixels of some images, and the channels that its panels hold. */
struct share {
  const struct rows_pass *pass;
  const void *source;
  const int32_t *panels;
  int32_t *rows, *start; /* scratch */
  struct ffb_cpu_span images, columns;
};

static enum rows_from rows_from(const struct rows_pass *pass, const struct ffb_cpu_pixel_class *class) {
  if (!pass->placeable || !class->runs)
    return GATHERED;
  if (pass->copied)
    return BY_IMAGE;
  return class->along.count >= LEAST_ALONG || in_place(pass) ? ALONG : GATHERED;
}

/* Gathers a tile's pixels, from number `first` on, and finds their outputs. */
static void gather(const struct share *share, const struct ffb_cpu_pixel_class *class, int64_t *offsets, int64_t first,
                   int count) {
  const struct rows_pass *pass = share->pass;
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_convolution_kernels *kernels = convolution->kernels->convolution;
  struct pixel pixel = pixel_at(class, first);
  int32_t *rows = share->rows;
  for (int r = 0; r < count; r++, rows += pass->row_words, next_pixel(class, &pixel)) {
    const void *from = source_of(pass, class, share->source, &pixel);
    offsets[r] = out_of(convolution, class, &pixel);
    if (convolution->integer)
      kernels->gather_s8(rows, from, class->run_offsets, class->runs, class->run_length);
    else
      kernels->gather_f32((float *)rows, from, class->run_offsets, class->runs, class->run_length);
  }
}

/* Whatever panels there are, over the same rows. */
static void panel_tiles(const struct share *share, struct ffb_cpu_tile *tile, float *out, int count) {
  const struct ffb_cpu_convolution *convolution = &share->pass->convolution;
  int64_t panel = convolution->kernels->panel;
  tile->panel = share->panels;
  tile->start = share->start;
  for (int64_t column = share->columns.begin; column < share->columns.end; column += panel) {
    tile->out = out + column;
    ffb_cpu_run_tile(convolution, tile, count, share->columns.end - column);
    tile->panel += share->pass->panel_words;
    tile->start += panel;
  }
}

/* Pixels of a class, by number: image by image, or for BY_IMAGE position by position and in it through the images. */
static void class_tiles(const struct share *share, const struct ffb_cpu_pixel_class *class, struct ffb_cpu_span span) {
  const struct rows_pass *pass = share->pass;
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  const enum rows_from from = rows_from(pass, class);
  const int64_t images = share->images.end - share->images.begin;
  struct ffb_cpu_segment segments[FFB_CPU_MAX_TAPS];
  int64_t offsets[FFB_CPU_MAX_TILE_ROWS], out_stride = 0, beside = class->pixels;
  struct ffb_cpu_tile tile = {.rows = share->rows,
                              .panel_step = kernels->panel,
                              .row_stride = pass->row_words,
                              .row_step = 1,
                              .segments = segments,
                              .accumulate = convolution->accumulate,
                              .scale = convolution->scale,
                              .offsets = offsets};
  if (from == ALONG) {
    tile.row_stride = class->along.from_step * convolution->channels / convolution->group;
    out_stride = class->along.step * convolution->outputs;
    beside = class->along.count;
  } else if (from == BY_IMAGE) {
    tile.row_stride = pass->image_step / convolution->group;
    out_stride = convolution->out_height * convolution->out_width * convolution->outputs;
    beside = images;
  }
  for (int r = 0; r < kernels->tile_rows; r++)
    offsets[r] = r * out_stride;
  tile.segment_count = from == GATHERED ? ffb_cpu_gathered_segments(convolution, class, segments)
                                        : ffb_cpu_placed_segments(convolution, class, segments);
  for (int64_t p = 0; convolution->integer && p * kernels->panel < share->columns.end - share->columns.begin; p++)
    kernels->convolution->lane_sums(share->start + p * kernels->panel, share->panels + p * pass->panel_words, segments,
                                    tile.segment_count);
  for (int64_t first = span.begin, end; first < span.end; first = end) {
    end = first - first % beside + beside < span.end ? first - first % beside + beside : span.end;
    int64_t tiles = (end - first + kernels->tile_rows - 1) / kernels->tile_rows;
    for (int64_t t = 0; t < tiles; t++) {
      struct ffb_cpu_span some = ffb_cpu_share(end - first, 1, tiles, t);
      int64_t number = first + some.begin, out = 0;
      int count = (int)(some.end - some.begin);
      if (from == GATHERED) {
        gather(share, class, offsets, number, count);
      } else {
        struct pixel pixel = pixel_at(class, from == BY_IMAGE ? number / images : number);
        if (from == BY_IMAGE)
          pixel.image = share->images.begin + number % images;
        tile.rows = source_of(pass, class, share->source, &pixel);
        out = out_of(convolution, class, &pixel);
      }
      panel_tiles(share, &tile, convolution->out + out, count);
    }
  }
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

static void run_by_pixels(const struct rows_pass *pass, const struct share *share, int parts, int part) {
  const struct ffb_cpu_classes *classes = &pass->classes;
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  int64_t pixels = convolution->images * convolution->out_height * convolution->out_width;
  int64_t total = classes->gathered_words + pixels * PIXEL_COST, before = 0;
  for (int c = 0; c < classes->down_count * classes->along_count; c++) {
    struct ffb_cpu_pixel_class class;
    ffb_cpu_make_class(convolution, classes, c / classes->along_count, c % classes->along_count, &class);
    struct ffb_cpu_span span = pixels_of_part(&class, before, total, parts, part);
    if (pass->by_images) {
      int64_t positions = class.down.count * class.along.count;
      span = (struct ffb_cpu_span){share->images.begin * positions, share->images.end * positions};
      if (rows_from(pass, &class) == BY_IMAGE)
        span = (struct ffb_cpu_span){0, span.end - span.begin};
    }
    if (span.begin < span.end)
      class_tiles(share, &class, span);
    before += class.pixels * (class.words + PIXEL_COST);
  }
}

/* ---- few pixels ----------------------------------------------------------------------------------------------- */

static void run_by_columns(const struct rows_pass *pass, struct share *share, int parts, int part) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  const struct ffb_cpu_classes *classes = &pass->classes;
  const int64_t panel = convolution->kernels->panel, block = COLUMN_PANELS * panel;
  struct ffb_cpu_span own = ffb_cpu_share(convolution->outputs, convolution->kernels->lanes, parts, part);
  struct ffb_cpu_span words = {0, pass->panel_words / panel};
  int32_t *panels = pass->panels + part * COLUMN_PANELS * pass->panel_words;
  share->panels = panels;
  for (int64_t first = own.begin; first < own.end; first += block) {
    share->columns = (struct ffb_cpu_span){first, first + block < own.end ? first + block : own.end};
    pack_backward(pass, panels, first, share->columns.end - first, words);
    for (int c = 0; c < classes->down_count * classes->along_count; c++) {
      struct ffb_cpu_pixel_class class;
      ffb_cpu_make_class(convolution, classes, c / classes->along_count, c % classes->along_count, &class);
      class_tiles(share, &class, (struct ffb_cpu_span){0, class.pixels});
    }
  }
}

/* --------------------------------------------------------------------------------------------------------------- */

static void pack_weights(const struct rows_pass *pass, int parts, int part) {
  const struct ffb_cpu_convolution *convolution = &pass->convolution;
  if (convolution->backward)
    pack_backward(pass, pass->panels, 0, convolution->outputs,
                  ffb_cpu_share(pass->panel_words / convolution->kernels->panel, FFB_CPU_MAX_LANES, parts, part));
  else
    pack_forward(pass, parts, part);
}

void ffb_cpu_rows_run(const struct ffb_cpu_convolution *convolution) {
  struct rows_pass pass;
  plan_rows(convolution, &pass);
#pragma omp parallel num_threads(pass.threads)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    int32_t *copy = pass.image + (pass.by_columns ? part * pass.image_words : 0);
    struct share share = {.pass = &pass,
                          .source = pass.padded || pass.copied ? copy : convolution->source,
                          .panels = pass.panels,
                          .rows = pass.rows + part * convolution->kernels->tile_rows * pass.row_words,
                          .images = {0, pass.convolution.images},
                          .columns = {0, convolution->outputs}};
    share.start =
        pass.start + part * (pass.by_columns ? COLUMN_PANELS : pass.panel_count) * convolution->kernels->panel;
    if (pass.by_images)
      share.images = ffb_cpu_share(pass.convolution.images, 1, parts, part);
    if (pass.padded)
      fill_padded(&pass, convolution, parts, part);
    if (pass.copied)
      copy_source(&pass, convolution->source, copy, share.images);
    if (pass.by_columns) {
      run_by_columns(&pass, &share, parts, part);
    } else {
      pack_weights(&pass, parts, part);
#pragma omp barrier
      run_by_pixels(&pass, &share, parts, part);
    }
  }
}
