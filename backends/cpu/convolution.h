/* Dense convolutions on the CPU: what the drivers (convolution_rows.c, convolution_images.c, convolution_weight.c)
 * share. `source` is what a pass reads pixel by pixel, x or for the input gradient gy; `out` is what it writes.
 *
 * An output pixel sums over its taps that do not fall on padding. Pixels with the same taps form a class: a rectangle
 * of positions (for the gradient of a strided convolution, of every stride-th position), in every image. */
#ifndef FFBENCH_BACKENDS_CPU_CONVOLUTION_H
#define FFBENCH_BACKENDS_CPU_CONVOLUTION_H

#include "backends/cpu/convolution_kernels.h"
#include "backends/cpu/device.h"

enum {
  FFB_CPU_MAX_KERNEL = 7,
  FFB_CPU_MAX_STRIDE = 4,
  FFB_CPU_MAX_TAPS = FFB_CPU_MAX_KERNEL * FFB_CPU_MAX_KERNEL,
  FFB_CPU_AXIS_CLASSES = 32,
};

struct ffb_cpu_convolution {
  const struct ffb_cpu_kernels *kernels;
  bool integer, backward; /* backward: the gradient of the input */
  int threads;
  int64_t images;
  int64_t height, width, channels;        /* of the source */
  int64_t out_height, out_width, outputs; /* of out */
  struct ffb_window window;
  int64_t group; /* elements of a word */
  const void *source, *weights;
  float *out;
  float scale; /* of an integer sum */
  bool accumulate;
  int32_t *scratch;
};

/* Positions first, first + step ... of an axis, and their taps tap, tap + tap_step ...; the first tap of the first
 * position is at `from` in the source, that of the next position from_step further, the next tap tap_from_step. */
struct ffb_cpu_axis_class {
  int64_t first, step, count;
  int tap, tap_step, taps;
  int64_t from, from_step, tap_from_step;
};

/* How the sums of a class's pixels are put together: `runs` pieces of run_length elements of the source, which
 * gathered one after another are the words that meet the panel's in `segments`. */
struct ffb_cpu_pixel_class {
  struct ffb_cpu_axis_class down, along;
  int64_t pixels, words; /* in all images; of one sum */
  int runs, segment_count;
  int64_t run_length, run_offsets[FFB_CPU_MAX_TAPS];
  struct ffb_cpu_segment segments[FFB_CPU_MAX_TAPS];
};

struct ffb_cpu_classes {
  struct ffb_cpu_axis_class down[FFB_CPU_AXIS_CLASSES], along[FFB_CPU_AXIS_CLASSES];
  int down_count, along_count;
  /* Where the words of a tap lie among a panel's; -1: no pixel has the tap. */
  int slots[FFB_CPU_MAX_TAPS], slot_count;
  int64_t most_words, gathered_words; /* of one pixel; of all */
};

static inline int64_t ffb_cpu_rounded_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}
static inline const void *ffb_cpu_element(const struct ffb_cpu_convolution *convolution, const void *first,
                                          int64_t number) {
  return (const char *)first + number * (convolution->integer ? 1 : (int64_t)sizeof(float));
}
/* Words of the channels of one source pixel, and of a row of taps as it lies in forward panels. */
static inline int64_t ffb_cpu_channel_words(const struct ffb_cpu_convolution *convolution) {
  return (convolution->channels + convolution->group - 1) / convolution->group;
}
static inline int64_t ffb_cpu_tap_row_words(const struct ffb_cpu_convolution *convolution) {
  return (convolution->window.kernel * convolution->channels + convolution->group - 1) / convolution->group;
}
static inline int ffb_cpu_convolution_threads(const struct ffb_cpu_convolution *convolution, double work) {
  return work < FFB_CPU_SHARED_WORK ? 1 : convolution->threads;
}
static inline void ffb_cpu_run_tile(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_tile *tile,
                                    int rows, int64_t columns) {
  const struct ffb_cpu_convolution_kernels *kernels = convolution->kernels->convolution;
  int width = columns < convolution->kernels->panel ? (int)columns : convolution->kernels->panel;
  if (convolution->integer)
    kernels->tile_s8(tile, rows, width);
  else
    kernels->tile_f32(tile, rows, width);
}

void ffb_cpu_find_classes(const struct ffb_cpu_convolution *convolution, struct ffb_cpu_classes *classes);
void ffb_cpu_make_class(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_classes *classes, int down,
                        int along, struct ffb_cpu_pixel_class *pixels);

/* Each driver: bytes of scratch, and the pass itself. */
size_t ffb_cpu_rows_bytes(const struct ffb_cpu_convolution *convolution);
void ffb_cpu_rows_run(const struct ffb_cpu_convolution *convolution);
bool ffb_cpu_images_suits(const struct ffb_cpu_convolution *convolution);
size_t ffb_cpu_images_bytes(const struct ffb_cpu_convolution *convolution);
void ffb_cpu_images_run(const struct ffb_cpu_convolution *convolution);

size_t ffb_cpu_convolution_workspace(struct ffb_device *device, enum ffb_operator operation,
                                     const union ffb_arguments *arguments);

#endif
