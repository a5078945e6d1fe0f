/* Convolutions of few pixels with many weights: lanes are images, and the weights are broadcast from where they lie, so
 * that they are read once and never packed. The source is packed once, as rows of whole images; a tap is a segment of
 * its panels. */
#include "backends/cpu/convolution.h"

struct images_pass {
  const struct ffb_cpu_convolution *convolution;
  struct ffb_cpu_classes classes;
  int threads;
  bool in_place;       /* the weights are broadcast from where they lie */
  int64_t panel_count; /* of images */
  int64_t image_words, row_words;
  int32_t *panels, *rows, *start; /* start: of every position and panel */
};

static int64_t plan_images(const struct ffb_cpu_convolution *convolution, struct images_pass *pass) {
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  const int64_t panel = kernels->panel, positions = convolution->out_height * convolution->out_width;
  *pass = (struct images_pass){.convolution = convolution};
  ffb_cpu_find_classes(convolution, &pass->classes);
  pass->threads = ffb_cpu_convolution_threads(convolution, (double)pass->classes.gathered_words *
                                                               (double)(convolution->outputs * convolution->group));
  pass->in_place = !convolution->integer || kernels->group == 4;
  pass->panel_count = (convolution->images + panel - 1) / panel;
  pass->image_words = convolution->height * convolution->width * ffb_cpu_channel_words(convolution);
  pass->row_words =
      (int64_t)convolution->window.kernel * convolution->window.kernel * ffb_cpu_channel_words(convolution);
  int64_t copied = ffb_cpu_rounded_up(pass->row_words, FFB_CPU_MAX_LANES);
  pass->panels = convolution->scratch;
  pass->rows = pass->panels + pass->panel_count * pass->image_words * panel;
  pass->start = pass->rows + (pass->in_place ? 0 : pass->threads * kernels->tile_rows * copied);
  if (!pass->in_place)
    pass->row_words = copied;
  return pass->start + (convolution->integer ? positions * pass->panel_count * panel : 0) - convolution->scratch;
}

/* Where images fill lanes, and packing the weights would take longer than packing the source and turning the tiles
 * around on their way out, which takes about this many times as long for a word. */
enum { TURN_COST = 3 };
bool ffb_cpu_images_suits(const struct ffb_cpu_convolution *convolution) {
  const int64_t kernel = convolution->window.kernel, words = ffb_cpu_channel_words(convolution);
  int64_t lanes = ffb_cpu_rounded_up(convolution->images, convolution->kernels->panel);
  if (convolution->backward || convolution->channels % convolution->group || 4 * convolution->images < 3 * lanes)
    return false;
  int64_t weights = kernel * kernel * words * convolution->outputs;
  int64_t outputs = convolution->images * convolution->out_height * convolution->out_width * convolution->outputs;
  return weights > TURN_COST * outputs + convolution->images * convolution->height * convolution->width * words;
}

size_t ffb_cpu_images_bytes(const struct ffb_cpu_convolution *convolution) {
  struct images_pass pass;
  return (size_t)plan_images(convolution, &pass) * 4;
}

static void pack_images(const struct images_pass *pass, int parts, int part) {
  const struct ffb_cpu_convolution *convolution = pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  int64_t elements = convolution->height * convolution->width * convolution->channels;
  struct ffb_cpu_span share = ffb_cpu_share(pass->image_words, kernels->lanes, parts, part);
  for (int64_t p = 0; p < pass->panel_count; p++) {
    int64_t first = p * kernels->panel, count = convolution->images - first;
    const void *images = ffb_cpu_element(convolution, convolution->source, first * elements);
    int32_t *panel = pass->panels + p * pass->image_words * kernels->panel;
    if (convolution->integer)
      kernels->panel_rows_s8(panel, images, elements, count, elements, share.begin, share.end);
    else
      kernels->panel_rows_f32((float *)panel, images, elements, count, share.begin, share.end);
  }
}

/* The segments of a class, from its first tap in the weights (`row`) and in the panel; rows of the class that are whole
 * in both are one segment. */
static int image_segments(const struct images_pass *pass, const struct ffb_cpu_pixel_class *class,
                          struct ffb_cpu_segment *segments) {
  const struct ffb_cpu_convolution *convolution = pass->convolution;
  const int64_t panel = convolution->kernels->panel, words = ffb_cpu_channel_words(convolution);
  int count = 0;
  for (int a = 0; class->runs && a < class->down.taps; a++) {
    struct ffb_cpu_segment one = {
        .panel = a * convolution->width * words * panel,
        .row = ((int64_t)(class->down.tap + a) * convolution->window.kernel + class->along.tap) * words,
        .groups = class->along.taps * words};
    struct ffb_cpu_segment *last = segments + count - 1;
    if (count && last->row + last->groups == one.row && last->panel + last->groups * panel == one.panel)
      last->groups += one.groups;
    else
      segments[count++] = one;
  }
  return count;
}

typedef void position_function(const struct images_pass *pass, void *to, const struct ffb_cpu_tile *tile,
                               int64_t position, int64_t panel);

/* Calls `work` for positions begin .. end-1, in the order of the classes. */
static void for_positions(const struct images_pass *pass, struct ffb_cpu_span span, const struct ffb_cpu_tile *model,
                          position_function *work, void *to) {
  const struct ffb_cpu_convolution *convolution = pass->convolution;
  const struct ffb_cpu_classes *classes = &pass->classes;
  const int64_t panel_words = pass->image_words * convolution->kernels->panel;
  int64_t number = 0;
  for (int c = 0; c < classes->down_count * classes->along_count; c++) {
    struct ffb_cpu_pixel_class class;
    struct ffb_cpu_segment segments[FFB_CPU_MAX_KERNEL];
    struct ffb_cpu_tile tile = *model;
    ffb_cpu_make_class(convolution, classes, c / classes->along_count, c % classes->along_count, &class);
    tile.segments = segments;
    tile.segment_count = image_segments(pass, &class, segments);
    for (int64_t i = 0; i < class.down.count * class.along.count; i++, number++) {
      if (number < span.begin || number >= span.end)
        continue;
      int64_t down = i / class.along.count, along = i % class.along.count;
      int64_t from = class.runs ? (class.down.from + down * class.down.from_step) * convolution->width +
                                      class.along.from + along * class.along.from_step
                                : 0;
      int64_t position = (class.down.first + down) * convolution->out_width + class.along.first + along;
      for (int64_t p = 0; p < pass->panel_count; p++) {
        tile.panel =
            pass->panels + p * panel_words + from * ffb_cpu_channel_words(convolution) * convolution->kernels->panel;
        tile.start = pass->start + (position * pass->panel_count + p) * convolution->kernels->panel;
        work(pass, to, &tile, position, p);
      }
    }
  }
}

static void sum_lanes(const struct images_pass *pass, void *to, const struct ffb_cpu_tile *tile, int64_t position,
                      int64_t panel) {
  const struct ffb_cpu_kernels *kernels = pass->convolution->kernels;
  (void)to;
  kernels->convolution->lane_sums(pass->start + (position * pass->panel_count + panel) * kernels->panel, tile->panel,
                                  tile->segments, tile->segment_count);
}

/* The tile of one block of outputs; leaves as columns of out. */
struct output_block {
  int64_t first;
  int count;
};

static void output_tile(const struct images_pass *pass, void *to, const struct ffb_cpu_tile *tile, int64_t position,
                        int64_t panel) {
  const struct ffb_cpu_convolution *convolution = pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  const struct output_block *block = to;
  int64_t first = panel * kernels->panel, count = convolution->images - first;
  struct ffb_cpu_finish finish = {.y = convolution->out + position * convolution->outputs,
                                  .stride = convolution->out_height * convolution->out_width * convolution->outputs,
                                  .integer = convolution->integer,
                                  .scale = convolution->scale,
                                  .accumulate = convolution->accumulate};
  ffb_cpu_run_tile(convolution, tile, block->count, kernels->panel);
  kernels->finish_columns(&finish, tile->out, block->count, block->first, first,
                          count < kernels->panel ? count : kernels->panel);
}

static void output_share(const struct images_pass *pass, struct ffb_cpu_span share, int part) {
  const struct ffb_cpu_convolution *convolution = pass->convolution;
  const struct ffb_cpu_kernels *kernels = convolution->kernels;
  int64_t k = (int64_t)convolution->window.kernel * convolution->window.kernel * convolution->channels;
  int64_t length = share.end - share.begin, tiles = (length + kernels->tile_rows - 1) / kernels->tile_rows;
  int32_t *copy = pass->rows + part * kernels->tile_rows * pass->row_words;
  _Alignas(FFB_CPU_ALIGNMENT) int32_t words[FFB_CPU_MAX_TILE_ROWS * FFB_CPU_MAX_PANEL];
  int64_t offsets[FFB_CPU_MAX_TILE_ROWS];
  for (int r = 0; r < kernels->tile_rows; r++)
    offsets[r] = (int64_t)r * kernels->panel;
  struct ffb_cpu_tile tile = {.panel_step = kernels->panel,
                              .row_stride = pass->row_words,
                              .row_step = 1,
                              .use = FFB_CPU_TILE_WORDS,
                              .out = words,
                              .offsets = offsets};
  for (int64_t t = 0; t < tiles; t++) {
    struct ffb_cpu_span some = ffb_cpu_share(length, 1, tiles, t);
    struct output_block block = {share.begin + some.begin, (int)(some.end - some.begin)};
    tile.rows = ffb_cpu_element(convolution, convolution->weights, block.first * k);
    if (!pass->in_place) {
      for (int r = 0; r < block.count; r++)
        kernels->convolution->gather_s8(copy + r * pass->row_words, (const int8_t *)tile.rows + r * k, &(int64_t){0}, 1,
                                        k);
      tile.rows = copy;
    }
    for_positions(pass, (struct ffb_cpu_span){0, convolution->out_height * convolution->out_width}, &tile, output_tile,
                  &block);
  }
}

void ffb_cpu_images_run(const struct ffb_cpu_convolution *convolution) {
  struct images_pass pass;
  plan_images(convolution, &pass);
  int64_t positions = convolution->out_height * convolution->out_width;
#pragma omp parallel num_threads(pass.threads)
  {
    int parts = omp_get_num_threads(), part = omp_get_thread_num();
    pack_images(&pass, parts, part);
#pragma omp barrier
    if (convolution->integer) {
      struct ffb_cpu_tile tile = {0};
      for_positions(&pass, ffb_cpu_share(positions, 1, parts, part), &tile, sum_lanes, NULL);
#pragma omp barrier
    }
    output_share(&pass, ffb_cpu_share(convolution->outputs, 1, parts, part), part);
  }
}
