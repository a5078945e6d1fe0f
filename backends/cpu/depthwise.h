/* Depthwise convolutions: as many groups as input channels and as output channels. Vectors run along the channels, so
 * no product crosses lanes. */
#ifndef FFBENCH_BACKENDS_CPU_DEPTHWISE_H
#define FFBENCH_BACKENDS_CPU_DEPTHWISE_H

#include "backends/backend.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One operator's geometry and operands, as the kernels take them. A pixel holds `channels` elements. */
struct ffb_cpu_depthwise {
  int64_t channels;
  int64_t height, width; /* of the image that is read: x, or gy for the input gradient */
  int64_t rows, columns; /* of the image that is written; of gy for the weight gradient */
  int kernel, stride, padding;
  bool input;          /* the input gradient */
  bool accumulate;     /* add to what is there */
  float scale;         /* with INT8: what a sum is multiplied by */
  const void *from;    /* F32 or S8: x, or gy for the input gradient */
  const void *gy;      /* F32 or S8: for the weight gradient */
  const void *weights; /* F32 or S8 [channels][kernel][kernel] */
  float *to;
};

/* What one call of a kernel does: output rows row0 .. row1-1 (not of a weight gradient, which takes all) of images
 * image0 .. image1-1. row0 is a multiple of FFB_CPU_DEPTHWISE_BAND, row1 too or the end. */
struct ffb_cpu_depthwise_share {
  int64_t image0, image1, row0, row1;
};
enum { FFB_CPU_DEPTHWISE_BAND = 4 };

/* Pixels that a window, or a pixel below it, meets: rows and columns of them, `row_step` elements from one row to the
 * next; the numbers of the taps that they meet at, below 128, go on by row_tap and column_tap. */
struct ffb_cpu_taps {
  int64_t rows, columns, row_step;
  int first, row_tap, column_tap;
};

/* Kernels of one instruction set (depthwise.inc). A call works on one vector of channels, from `channel` on. Packed
 * weights and buffers are aligned to 64 bytes. */
struct ffb_cpu_depthwise_kernels {
  /* Words of a channel vector's packed weights; of the buffer of an INT8 convolution and of an INT8 weight gradient. */
  int64_t (*packed_words)(const struct ffb_cpu_depthwise *depthwise);
  int64_t (*band_words)(const struct ffb_cpu_depthwise *depthwise);
  int64_t (*weight_words)(const struct ffb_cpu_depthwise *depthwise);
  void (*pack_f32)(const struct ffb_cpu_depthwise *depthwise, int32_t *packed, int64_t channel);
  void (*pack_s8)(const struct ffb_cpu_depthwise *depthwise, int32_t *packed, int64_t channel);
  void (*convolve_f32)(const struct ffb_cpu_depthwise *depthwise, const int32_t *packed, int32_t *buffer,
                       int64_t channel, const struct ffb_cpu_depthwise_share *share);
  void (*convolve_s8)(const struct ffb_cpu_depthwise *depthwise, const int32_t *packed, int32_t *buffer,
                      int64_t channel, const struct ffb_cpu_depthwise_share *share);
  /* Sums of a weight gradient: [taps][lanes] words, F32 in the order of the pixels, or S32 (of at most 133,144 terms,
   * or they wrap). */
  void (*weight_f32)(const struct ffb_cpu_depthwise *depthwise, int32_t *sums, int32_t *buffer, int64_t channel,
                     const struct ffb_cpu_depthwise_share *share);
  void (*weight_s8)(const struct ffb_cpu_depthwise *depthwise, int32_t *sums, int32_t *buffer, int64_t channel,
                    const struct ffb_cpu_depthwise_share *share);
  /* Images of one pixel, channels begin .. end-1 of all of them: one factor for each channel, and sums of x * gy (F32
   * in order, or S32). */
  void (*one_pixel_f32)(const struct ffb_cpu_depthwise *depthwise, const float *factors, int64_t images, int64_t begin,
                        int64_t end);
  void (*one_pixel_s8)(const struct ffb_cpu_depthwise *depthwise, const float *factors, int64_t images, int64_t begin,
                       int64_t end);
  void (*one_pixel_weight_f32)(const struct ffb_cpu_depthwise *depthwise, int32_t *sums, int64_t images, int64_t begin,
                               int64_t end);
  void (*one_pixel_weight_s8)(const struct ffb_cpu_depthwise *depthwise, int32_t *sums, int64_t images, int64_t begin,
                              int64_t end);

  /* Pixels of one image, `channels` elements each; sums run over them in order. */
  void (*multiply_pixels)(float *y, const float *x, const float *factor, int64_t channels, int64_t pixels);
  void (*multiply_gradient)(float *gx, float *gfactor, const float *gy, const float *x, const float *factor,
                            int64_t channels, int64_t pixels);
  void (*average_pixels)(float *y, const float *x, int64_t channels, int64_t pixels);
  void (*average_gradient)(float *gx, const float *gy, int64_t channels, int64_t pixels, bool accumulate);
  /* One pixel: y becomes the largest of the pixels of x, `taps` (may be null) the number of the tap that it came from.
   */
  void (*keep_largest)(float *y, uint8_t *taps, const float *x, int64_t channels, const struct ffb_cpu_taps *over);
  /* One pixel: the sum of gy where the pixel's tap is the one that was kept. */
  void (*add_kept)(float *sum, const float *gy, const uint8_t *taps, int64_t channels, const struct ffb_cpu_taps *over);
};

/* The operators for depthwise convolutions, called by those of convolution.c. */
bool ffb_cpu_depthwise_convolve_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_input_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_input_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_weight_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_update_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cpu_depthwise_convolve_update_s8(struct ffb_device *device, const union ffb_arguments *arguments);
/* Scratch bytes that the operator wants as its workspace (FFB_CONVOLVE_F32, FFB_CONVOLVE_UPDATE_S8, ...). */
size_t ffb_cpu_depthwise_workspace(const struct ffb_device *device, enum ffb_operator operation,
                                   const union ffb_arguments *arguments);

#endif
