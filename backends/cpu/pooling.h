/* Max pooling, pixel by pixel. */
#ifndef FFBENCH_BACKENDS_CPU_POOLING_H
#define FFBENCH_BACKENDS_CPU_POOLING_H

#include "backends/cpu/depthwise.h"

/* Taps are compared as signed bytes. */
enum { FFB_CPU_POOL_KERNEL = 11 };

/* An image of the input, and one of the output. */
struct ffb_cpu_pool {
  const struct ffb_cpu_depthwise_kernels *kernels;
  struct ffb_window window;
  int64_t height, width, rows, columns, channels;
};

struct ffb_cpu_pool ffb_cpu_pool_of(const struct ffb_device *device, const struct ffb_tensor *x,
                                    const struct ffb_window *window);
/* The largest values of one window; argmax may be null. */
void ffb_cpu_pool_pixel(const struct ffb_cpu_pool *pool, float *y, uint8_t *argmax, const float *image, int64_t row,
                        int64_t column);
/* The gradient of pixel (h, w), from the windows over it in order. */
void ffb_cpu_unpool_pixel(const struct ffb_cpu_pool *pool, float *gx, const float *gy, const uint8_t *argmax, int64_t h,
                          int64_t w);

#endif
