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

/* Positions first, first + step ... of an axis, and their taps tap, tap + tap_step ... in the order in which they meet
 * the source: the first tap of the first position is at `from`, the next tap beside it, that of the next position
 * from_step further. */
struct ffb_cpu_axis_class {
  int64_t first, step, count;
  int tap, tap_step, taps;
  int64_t from, from_step;
};

/* How the sums of a class's pixels are put together: `runs` pieces of the source, of run_length elements or run_words
 * words, from run_offsets on (counted from the pixel's first tap), that meet the panel's words from run_panels on. */
struct ffb_cpu_pixel_class {
  struct ffb_cpu_axis_class down, along;
  int64_t pixels, words; /* in all images; of one sum */
  int runs;
  int64_t run_length, run_words, run_offsets[FFB_CPU_MAX_TAPS], run_panels[FFB_CPU_MAX_TAPS];
};

struct ffb_cpu_classes {
  struct ffb_cpu_axis_class down[FFB_CPU_AXIS_CLASSES], along[FFB_CPU_AXIS_CLASSES];
  int down_count, along_count;
  /* Where the words of a tap lie among a panel's: those that a pixel has lie in the order in which they meet the
   * source; -1: no pixel has the tap. */
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
/* Words of the channels of one source pixel. */
static inline int64_t ffb_cpu_channel_words(const struct ffb_cpu_convolution *convolution) {
  return (convolution->channels + convolution->group - 1) / convolution->group;
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

/* The segments of a class's sums: over words that were gathered run by run, or where they lie in the source. */
int ffb_cpu_gathered_segments(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *pixels,
                              struct ffb_cpu_segment *segments);
int ffb_cpu_placed_segments(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *pixels,
                            struct ffb_cpu_segment *segments);

/* Each driver: bytes of scratch, and the pass itself. */
size_t ffb_cpu_rows_bytes(const struct ffb_cpu_convolution *convolution);
void ffb_cpu_rows_run(const struct ffb_cpu_convolution *convolution);
bool ffb_cpu_images_suits(const struct ffb_cpu_convolution *convolution);
size_t ffb_cpu_images_bytes(const struct ffb_cpu_convolution *convolution);
void ffb_cpu_images_run(const struct ffb_cpu_convolution *convolution);

/* A weight gradient: to gw, or with `update` into the weights (gw is null then). */
struct ffb_cpu_weight {
  const struct ffb_cpu_kernels *kernels;
  bool integer, accumulate;
  int threads;
  int64_t images, height, width, channels; /* of x */
  int64_t out_height, out_width, outputs;  /* of gy */
  struct ffb_window window;
  int64_t group; /* elements of a word */
  const void *x, *gy;
  float *gw;
  float scale; /* of an integer sum */
  struct ffb_cpu_update *update;
  bool quantise; /* the update's */
  int32_t *scratch;
};

size_t ffb_cpu_weight_bytes(const struct ffb_cpu_weight *weight);
/* Whether INT32 holds the sums: all of an update's, those of a few images otherwise. */
bool ffb_cpu_weight_suits(const struct ffb_cpu_weight *weight);
/* Returns the bits of the largest absolute new weight. */
uint32_t ffb_cpu_weight_run(const struct ffb_cpu_weight *weight);

/* The sums [outputs][kernel][kernel][channels] of few channels, S32 or F32, for some images and outputs (from a
 * multiple of a vector's lanes on); the words of scratch that this takes for so many outputs. */
bool ffb_cpu_narrow_suits(const struct ffb_cpu_weight *weight);
int64_t ffb_cpu_narrow_words(const struct ffb_cpu_weight *weight, int64_t outputs);
void ffb_cpu_narrow_sums(const struct ffb_cpu_weight *weight, int32_t *scratch, int32_t *sums,
                         struct ffb_cpu_span images, struct ffb_cpu_span outputs);

/* The fused updates as their compositions. */
bool ffb_cpu_compose_update_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_compose_update_s8(struct ffb_device *device, const union ffb_arguments *arguments);
size_t ffb_cpu_compose_bytes(struct ffb_device *device, enum ffb_operator operation,
                             const union ffb_arguments *arguments);

size_t ffb_cpu_convolution_workspace(struct ffb_device *device, enum ffb_operator operation,
                                     const union ffb_arguments *arguments);

#endif
