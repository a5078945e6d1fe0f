/* What the six convolutions have in common, and who computes them. */
#ifndef FFBENCH_BACKENDS_CUDA_CONVOLUTION_H
#define FFBENCH_BACKENDS_CUDA_CONVOLUTION_H

#include "backends/cuda/product.h"

enum ffb_cuda_pass { FFB_CUDA_FORWARD, FFB_CUDA_INPUT_GRADIENT, FFB_CUDA_WEIGHT_GRADIENT };

/* x, y and w stand for their gradients too. */
struct ffb_cuda_convolution {
  enum ffb_cuda_pass pass;
  bool integer, accumulate;
  const struct ffb_tensor *x, *y, *w;
  const struct ffb_tensor *scale_a, *scale_b; /* of an integer sum */
  const struct ffb_tensor *workspace;
  struct ffb_window window;
  int groups;
};

/* False where the operator is no convolution. */
bool ffb_cuda_convolution_of(struct ffb_cuda_convolution *convolution, enum ffb_operator operation,
                             const union ffb_arguments *arguments);

/* As products over gathered patches: every shape, FP32 and INT8. */
bool ffb_cuda_convolve_patches(struct ffb_device *device, const struct ffb_cuda_convolution *convolution);
size_t ffb_cuda_patches_bytes(const struct ffb_cuda_convolution *convolution);

/* FP32 by cuDNN, where it is there and has an algorithm for the shape that gives the same bits every time. */
bool ffb_cuda_dnn_takes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution);
bool ffb_cuda_dnn_convolve(struct ffb_device *device, const struct ffb_cuda_convolution *convolution);
size_t ffb_cuda_dnn_bytes(struct ffb_device *device, const struct ffb_cuda_convolution *convolution);

#endif
