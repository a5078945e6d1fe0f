/* Vector kernels of batch normalisation, activations and per-channel sums (normalisation.inc), and what their drivers
 * share. A kernel works on one thread's share. Elementwise ones walk a tensor's elements as they lie: what belongs to a
 * channel comes as an array of `period` elements, the channels repeated until whole vectors fill it, so that images of
 * any number of channels are handled alike. */
#ifndef FFBENCH_BACKENDS_CPU_NORMALISATION_H
#define FFBENCH_BACKENDS_CPU_NORMALISATION_H

#include "backends/backend.h"

#include <stdbool.h>
#include <stdint.h>

struct ffb_cpu_rounding;
struct ffb_device;

/* Elements that every kernel handles at a time: shares start at multiples of it, so that bytes of a mask and blocks of
 * random numbers stay whole. */
enum { FFB_CPU_CHUNK = 16 };

/* What becomes of a value. */
enum ffb_cpu_sink {
  FFB_CPU_STORE,   /* FP32 */
  FFB_CPU_LARGEST, /* nothing: only the largest absolute value is wanted */
  FFB_CPU_NEAREST, /* INT8, rounded to nearest */
};

struct ffb_cpu_normalise {
  const float *x, *shortcut;         /* shortcut may be null */
  const float *mean, *scale, *shift; /* by channel: (x - mean) * scale + shift; scale = inverse * gamma, shift = beta */
  int64_t period;
  uint8_t *mask; /* may be null; not written by FFB_CPU_LARGEST */
  enum ffb_activation activation;
  float reciprocal; /* of the INT8 scale */
};

struct ffb_cpu_normalise_gradient {
  const float *gy, *x;
  const float *factors;                        /* null, or `period` for each image: gy is multiplied by them */
  int64_t image, columns;                      /* with factors: pixels of an image, a multiple of 4, and elements */
  const float *mean, *inverse, *scale, *shift; /* by channel, as above */
  const float *mean_gradient, *slope;          /* gbeta / n, ggamma / n */
  int64_t period;
  enum ffb_activation activation;
  float *stored; /* where `sums` puts gy * activation', to be used in place of gy; may be null, may be gy */
  float reciprocal;
};

struct ffb_cpu_block_sums {
  const float *sums; /* [blocks][2][channels] */
  int64_t blocks, channels;
};

struct ffb_cpu_normalisation_kernels {
  void (*activate)(enum ffb_activation kind, float *y, const float *x, int64_t n);
  void (*activate_gradient)(enum ffb_activation kind, float *gx, const float *gy, const float *v, int64_t n);
  void (*mask_gradient)(float *gx, const float *gy, const uint8_t *mask, int64_t n);
  /* `index` is the first element's number in the tensor, a multiple of 4. */
  void (*dropout)(float *y, const float *x, int64_t n, float rate, const struct ffb_cpu_rounding *rounding,
                  uint64_t index);
  void (*divide)(float *y, const float *x, int64_t n, float divisor);

  /* Elements begin .. end-1; `out` is where the first goes. FFB_CPU_LARGEST returns the bits of the largest absolute
   * value, FFB_CPU_STORE too for a gradient, the only one that takes factors. */
  uint32_t (*normalise)(const struct ffb_cpu_normalise *with, enum ffb_cpu_sink sink, void *out, int64_t begin,
                        int64_t end);
  /* FFB_CPU_LARGEST over some channels of `pixels` pixels from `pixel`. */
  uint32_t (*columns_largest)(const struct ffb_cpu_normalise *with, int64_t stride, int64_t pixel, int64_t pixels,
                              int64_t channel, int64_t channels);
  uint32_t (*normalise_gradient)(const struct ffb_cpu_normalise_gradient *with, enum ffb_cpu_sink sink, void *out,
                                 int64_t begin, int64_t end);

  /* Sums over the pixels of one block (at most FFB_PIXEL_BLOCK) for some channels; `stride` is all channels. x points
   * to the first pixel's first channel, sums to the same channel of [2][stride]. */
  void (*statistics)(float *sums, const float *x, const float *origin, int64_t stride, int64_t channels,
                     int64_t pixels);
  /* The same, with the lowest and highest value of each channel, [2][stride]. */
  void (*statistics_extremes)(float *sums, float *extremes, const float *x, const float *origin, int64_t stride,
                              int64_t channels, int64_t pixels);
  void (*gradient_sums)(const struct ffb_cpu_normalise_gradient *with, float *sums, int64_t stride, int64_t pixel,
                        int64_t pixels, int64_t channel, int64_t channels);
  /* Channels begin .. end-1 (at most FFB_CPU_CHANNELS) of the blocks' sums, added in FP64. */
  void (*totals)(double *first, double *second, const struct ffb_cpu_block_sums *blocks, int64_t begin, int64_t end);
  void (*moments)(double *mean, double *variance, double *inverse, const double *sums, const double *squares,
                  const float *origin, int64_t channels, double pixels, double epsilon);

  /* Sums of squares of each channel, [images][channels], over the pixels of an image in order. */
  void (*channel_squares)(float *sums, const float *x, int64_t channels, int64_t pixels, int64_t images);
  /* The largest absolute value of each channel; a NaN where there is one. */
  void (*channel_largest)(float *largest, const float *x, int64_t channels, int64_t pixels);
  /* y = x * factor of the channel (+ y). */
  void (*scale_channels)(float *y, const float *x, const float *factor, int64_t channels, int64_t pixels,
                         bool accumulate);
  /* q = x * factor of the channel * reciprocal, rounded to nearest. */
  void (*scale_channels_nearest)(int8_t *q, const float *x, const float *factor, int64_t channels, int64_t pixels,
                                 float reciprocal);
};

/* Images whose channels channel_squares sums side by side. */
enum { FFB_CPU_IMAGES = 4 };
/* Channels that are summed together: a share of work of these sums is one block of pixels and this many channels. */
enum { FFB_CPU_CHANNELS = 64 };

/* ---- drivers, shared with normalised_pool.c ------------------------------------------------------------------- */

/* Sums over blocks of pixels: statistics of x, or with `gradient` those of its gradient. */
struct ffb_cpu_sums_job {
  const struct ffb_cpu_normalisation_kernels *kernels;
  const struct ffb_cpu_normalise_gradient *gradient;
  const float *x;
  float *sums;     /* [blocks][2][channels] */
  float *extremes; /* of x, as the sums, or null */
  int64_t blocks, channels, pixels;
};

struct ffb_cpu_gradient_job {
  const struct ffb_batch_normalise_gradient *batch;
  struct ffb_cpu_sums_job sums;
  struct ffb_cpu_normalise_gradient with;
  float *mean_gradient, *slope; /* with's, to be filled */
};

/* What the kernels take, with `more` words of scratch. Where gy is null the caller makes it. */
bool ffb_cpu_prepare_normalise(struct ffb_device *device, const struct ffb_batch_normalise *batch, int64_t more,
                               struct ffb_cpu_normalise *with, float **rest);
bool ffb_cpu_prepare_gradient(struct ffb_device *device, const struct ffb_batch_normalise_gradient *batch, int64_t more,
                              struct ffb_cpu_gradient_job *job, float **rest);
/* Run by all threads once every block's sums are made: ggamma, gbeta, and what the second pass needs of them. */
void ffb_cpu_channel_gradients(struct ffb_cpu_gradient_job *job);

/* What each channel of an image is multiplied by to give GOODNESS_GRADIENT, from dL/dG of the image's groups; `mean_of`
 * is the image's pixels where goodness is a mean, else 0. */
void ffb_cpu_goodness_factors(float *factors, const float *gradient, int groups, int64_t channels, int64_t mean_of);

/* Scale and running maximum of a quantiser. Run by all threads, each with the bits of max|x| over its own elements (an
 * integer where x is S32); `bits`, which they share, starts at 0. Returns the scale: in the tensor it is when all
 * threads are done. */
float ffb_cpu_join_scale(const struct ffb_suq_scale *suq, uint32_t mine, uint32_t *bits);

#endif
