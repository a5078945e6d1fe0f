/* The weight gradient of a convolution with few input channels (a network's first): lanes are outputs, and the rows of
 * a tile are the taps and channels of one kernel row, which lie side by side in an image with its padding. K runs
 * along the rows of an image; rows that meet the same kernel row, every stride-th, lie one after another. */
#include "backends/cpu/convolution.h"

#include <string.h>

enum { CHUNK_BYTES = 192 * 1024, MAX_CHUNK = 64, MAX_CHANNELS = 8 };

struct narrow_pass {
  const struct ffb_cpu_weight *weight;
  const struct ffb_cpu_kernels *kernels;
  int64_t taps;              /* words of a pixel: those of a kernel row, and channels */
  int64_t row_step;          /* from one word of K to the next */
  int64_t row_groups;        /* words of K in a row of outputs */
  int64_t rows, image_words; /* image rows of one residue; words of a packed image */
  int64_t panel_words;       /* of one panel, and a chunk */
  int64_t chunk;             /* images */
  int32_t *images, *line, *panel;
  int32_t *start, *sums; /* sums: [panel][kernel row, tap, channel][lane] */
};

static int64_t aligned_words(int64_t words) {
  return ffb_cpu_rounded_up(words, FFB_CPU_ALIGNMENT / 4);
}

static int64_t line_words(const struct ffb_cpu_weight *weight) {
  int64_t elements = (weight->width + 2 * (int64_t)weight->window.padding) * weight->channels;
  return aligned_words(weight->integer ? (elements + 3) / 4 : elements);
}

static int64_t plan_narrow(const struct ffb_cpu_weight *weight, int32_t *scratch, int64_t outputs,
                           struct narrow_pass *pass) {
  const struct ffb_cpu_kernels *kernels = weight->kernels;
  const int64_t panel = kernels->panel, stride = weight->window.stride, kernel = weight->window.kernel;
  const int64_t panels = (outputs + panel - 1) / panel;
  *pass = (struct narrow_pass){.weight = weight, .kernels = kernels, .taps = kernel * weight->channels};
  pass->row_step = ffb_cpu_rounded_up(pass->taps, panel);
  pass->row_groups = (weight->out_width + weight->group - 1) / weight->group;
  pass->rows = weight->out_height + (kernel - 1) / stride;
  pass->image_words = stride * pass->rows * pass->row_groups * pass->row_step;
  int64_t out_words = weight->out_height * pass->row_groups * panel;
  int64_t bytes = 4 * (pass->image_words + out_words * ((weight->outputs + panel - 1) / panel));
  pass->chunk = CHUNK_BYTES / bytes > 1 ? CHUNK_BYTES / bytes : 1;
  pass->chunk = pass->chunk < MAX_CHUNK ? pass->chunk : MAX_CHUNK;
  pass->chunk = pass->chunk < weight->images ? pass->chunk : weight->images;
  pass->panel_words = out_words * pass->chunk;
  pass->images = scratch;
  pass->line = pass->images + aligned_words(pass->chunk * pass->image_words);
  pass->panel = pass->line + line_words(weight);
  pass->start = pass->panel + aligned_words(panels * pass->panel_words);
  pass->sums = pass->start + aligned_words(panels * panel);
  return pass->sums + aligned_words(panels * kernel * pass->taps * panel) - scratch;
}

bool ffb_cpu_narrow_suits(const struct ffb_cpu_weight *weight) {
  return weight->channels <= MAX_CHANNELS && weight->window.kernel > 1;
}

int64_t ffb_cpu_narrow_words(const struct ffb_cpu_weight *weight, int64_t outputs) {
  struct narrow_pass pass;
  return plan_narrow(weight, weight->scratch, outputs, &pass);
}

/* One row of an image, `row` counted with the padding, to words. */
static void pack_row(const struct narrow_pass *pass, int64_t image, int64_t row, int32_t *to) {
  const struct ffb_cpu_weight *weight = pass->weight;
  const int64_t bytes = weight->integer ? 1 : sizeof(float), padding = weight->window.padding;
  const int64_t elements = weight->width * weight->channels, step = weight->window.stride * weight->channels;
  int64_t h = row - padding;
  memset(pass->line, 0, (size_t)line_words(weight) * sizeof *pass->line);
  if (h >= 0 && h < weight->height)
    memcpy((char *)pass->line + padding * weight->channels * bytes,
           (const char *)weight->x + (image * weight->height + h) * elements * bytes, (size_t)(elements * bytes));
  if (weight->integer) {
    int32_t unused[FFB_CPU_MAX_PANEL];
    for (int64_t tap = 0; tap < pass->taps; tap += pass->kernels->panel)
      pass->kernels->broadcast_columns_s8(to + tap, pass->row_step, unused, (const int8_t *)pass->line + tap, step,
                                          pass->taps - tap, weight->out_width);
    return;
  }
  for (int64_t q = 0; q < weight->out_width; q++, to += pass->row_step)
    memcpy(to, pass->line + q * step, (size_t)pass->taps * sizeof *to);
}

static void pack_images(const struct narrow_pass *pass, int64_t first, int64_t images) {
  const int64_t stride = pass->weight->window.stride, rows = pass->rows * stride;
  for (int64_t i = 0; i < images * rows; i++) {
    int64_t image = i / rows, residue = i % rows / pass->rows, row = i % pass->rows;
    pack_row(pass, first + image, row * stride + residue, pass->images + i * pass->row_groups * pass->row_step);
  }
}

static void pack_outputs(const struct narrow_pass *pass, int64_t first, int64_t images, struct ffb_cpu_span outputs) {
  const struct ffb_cpu_weight *weight = pass->weight;
  const int64_t pixels = weight->out_width, row_words = pass->row_groups * pass->kernels->panel;
  for (int64_t row = 0; row < images * weight->out_height; row++) {
    int64_t at = (first * weight->out_height + row) * pixels * weight->outputs + outputs.begin;
    if (weight->integer)
      pass->kernels->panel_columns_s8(pass->panel + row * row_words, pass->panel_words, (const int8_t *)weight->gy + at,
                                      weight->outputs, outputs.end - outputs.begin, pixels);
    else
      pass->kernels->panel_columns_f32((float *)pass->panel + row * row_words, pass->panel_words,
                                       (const float *)weight->gy + at, weight->outputs, outputs.end - outputs.begin,
                                       pixels);
  }
}

/* Adds a chunk's part to the sums of one panel. */
static void add_tiles(const struct narrow_pass *pass, int64_t images, int64_t panel, bool accumulate) {
  const struct ffb_cpu_weight *weight = pass->weight;
  const struct ffb_cpu_kernels *kernels = pass->kernels;
  const int64_t stride = weight->window.stride, groups = weight->out_height * pass->row_groups;
  int64_t tiles = (pass->taps + kernels->tile_rows - 1) / kernels->tile_rows, offsets[FFB_CPU_MAX_TILE_ROWS];
  struct ffb_cpu_segment segments[MAX_CHUNK];
  struct ffb_cpu_tile tile = {.panel = pass->panel + panel * pass->panel_words,
                              .panel_step = kernels->panel,
                              .row_stride = 1,
                              .row_step = pass->row_step,
                              .segments = segments,
                              .segment_count = (int)images,
                              .start = pass->start + panel * kernels->panel,
                              .use = FFB_CPU_TILE_WORDS,
                              .accumulate = accumulate,
                              .offsets = offsets};
  for (int r = 0; r < kernels->tile_rows; r++)
    offsets[r] = (int64_t)r * kernels->panel;
  for (int64_t kernel_row = 0; kernel_row < weight->window.kernel; kernel_row++) {
    int64_t row = (kernel_row % stride * pass->rows + kernel_row / stride) * pass->row_groups * pass->row_step;
    for (int64_t m = 0; m < images; m++)
      segments[m] = (struct ffb_cpu_segment){m * groups * kernels->panel, m * pass->image_words + row, groups};
    if (weight->integer && !kernel_row)
      kernels->convolution->lane_sums(pass->start + panel * kernels->panel, tile.panel, segments, (int)images);
    for (int64_t t = 0; t < tiles; t++) {
      struct ffb_cpu_span some = ffb_cpu_share(pass->taps, 1, tiles, t);
      tile.rows = pass->images + some.begin;
      tile.out = pass->sums + ((panel * weight->window.kernel + kernel_row) * pass->taps + some.begin) * kernels->panel;
      if (weight->integer)
        kernels->convolution->tile_s8(&tile, (int)(some.end - some.begin), kernels->panel);
      else
        kernels->convolution->tile_f32(&tile, (int)(some.end - some.begin), kernels->panel);
    }
  }
}

void ffb_cpu_narrow_sums(const struct ffb_cpu_weight *weight, int32_t *scratch, int32_t *sums,
                         struct ffb_cpu_span images, struct ffb_cpu_span outputs) {
  const int64_t panel = weight->kernels->panel, length = outputs.end - outputs.begin;
  struct narrow_pass pass;
  plan_narrow(weight, scratch, length, &pass);
  const int64_t k = weight->window.kernel * pass.taps;
  for (int64_t first = images.begin; length > 0 && first < images.end; first += pass.chunk) {
    int64_t count = images.end - first < pass.chunk ? images.end - first : pass.chunk;
    pack_images(&pass, first, count);
    pack_outputs(&pass, first, count, outputs);
    for (int64_t p = 0; p * panel < length; p++)
      add_tiles(&pass, count, p, first > images.begin);
  }
  for (int64_t o = 0; o < length; o++) {
    const int32_t *lane = pass.sums + o / panel * k * panel + o % panel;
    for (int64_t i = 0; i < k; i++)
      sums[(outputs.begin + o) * k + i] = lane[i * panel];
  }
}
