/* The six convolutions: depthwise ones are kernels of their own, dense FP32 is cuDNN's, all else goes by patches. */
#include "backends/cuda/convolution.h"
#include "backends/cuda/kernels.h"

#define FORWARD(a)                                                                                                     \
  {                                                                                                                    \
    .pass = FFB_CUDA_FORWARD, .x = (a)->x, .y = (a)->y, .w = (a)->w, .workspace = (a)->workspace,                      \
    .window = (a)->window, .groups = (a)->groups                                                                       \
  }
#define INPUT_GRADIENT(a)                                                                                              \
  {                                                                                                                    \
    .pass = FFB_CUDA_INPUT_GRADIENT, .accumulate = (a)->accumulate, .x = (a)->gx, .y = (a)->gy, .w = (a)->w,           \
    .workspace = (a)->workspace, .window = (a)->window, .groups = (a)->groups                                          \
  }
#define WEIGHT_GRADIENT(a)                                                                                             \
  {                                                                                                                    \
    .pass = FFB_CUDA_WEIGHT_GRADIENT, .accumulate = (a)->accumulate, .x = (a)->x, .y = (a)->gy, .w = (a)->gw,          \
    .workspace = (a)->workspace, .window = (a)->window, .groups = (a)->groups                                          \
  }

static void set_scales(struct ffb_cuda_convolution *convolution, const struct ffb_tensor *a,
                       const struct ffb_tensor *b) {
  convolution->integer = true;
  convolution->scale_a = a;
  convolution->scale_b = b;
}

bool ffb_cuda_convolution_of(struct ffb_cuda_convolution *convolution, enum ffb_operator operation,
                             const union ffb_arguments *arguments) {
  switch (operation) {
  case FFB_CONVOLVE_F32:
    *convolution = (struct ffb_cuda_convolution)FORWARD(&arguments->convolve_f32);
    return true;
  case FFB_CONVOLVE_S8:
    *convolution = (struct ffb_cuda_convolution)FORWARD(&arguments->convolve_s8);
    set_scales(convolution, arguments->convolve_s8.x_scale, arguments->convolve_s8.w_scale);
    return true;
  case FFB_CONVOLVE_INPUT_F32:
    *convolution = (struct ffb_cuda_convolution)INPUT_GRADIENT(&arguments->convolve_input_f32);
    return true;
  case FFB_CONVOLVE_INPUT_S8:
    *convolution = (struct ffb_cuda_convolution)INPUT_GRADIENT(&arguments->convolve_input_s8);
    set_scales(convolution, arguments->convolve_input_s8.gy_scale, arguments->convolve_input_s8.w_scale);
    return true;
  case FFB_CONVOLVE_WEIGHT_F32:
    *convolution = (struct ffb_cuda_convolution)WEIGHT_GRADIENT(&arguments->convolve_weight_f32);
    return true;
  case FFB_CONVOLVE_WEIGHT_S8:
    *convolution = (struct ffb_cuda_convolution)WEIGHT_GRADIENT(&arguments->convolve_weight_s8);
    set_scales(convolution, arguments->convolve_weight_s8.gy_scale, arguments->convolve_weight_s8.x_scale);
    return true;
  default:
    return false;
  }
}

static bool is_depthwise(const struct ffb_cuda_convolution *convolution) {
  return convolution->groups > 1 && ffb_cuda_is_depthwise(convolution->groups, convolution->x, convolution->y);
}

static bool run(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments,
                bool (*depthwise)(struct ffb_device *device, const union ffb_arguments *arguments)) {
  struct ffb_cuda_convolution convolution;
  ffb_cuda_convolution_of(&convolution, operation, arguments);
  if (is_depthwise(&convolution))
    return depthwise(device, arguments);
  if (!convolution.integer && ffb_cuda_dnn_takes(device, &convolution))
    return ffb_cuda_dnn_convolve(device, &convolution);
  return ffb_cuda_convolve_patches(device, &convolution);
}

#define CONVOLUTION(NAME, name)                                                                                        \
  bool ffb_cuda_##name(struct ffb_device *device, const union ffb_arguments *arguments) {                              \
    return run(device, FFB_##NAME, arguments, ffb_cuda_depthwise_##name);                                              \
  }
CONVOLUTION(CONVOLVE_F32, convolve_f32)
CONVOLUTION(CONVOLVE_S8, convolve_s8)
CONVOLUTION(CONVOLVE_INPUT_F32, convolve_input_f32)
CONVOLUTION(CONVOLVE_INPUT_S8, convolve_input_s8)
CONVOLUTION(CONVOLVE_WEIGHT_F32, convolve_weight_f32)
CONVOLUTION(CONVOLVE_WEIGHT_S8, convolve_weight_s8)

size_t ffb_cuda_convolution_workspace(struct ffb_device *device, enum ffb_operator operation,
                                      const union ffb_arguments *arguments) {
  struct ffb_cuda_convolution convolution;
  if (!ffb_cuda_convolution_of(&convolution, operation, arguments) || is_depthwise(&convolution))
    return 0;
  if (!convolution.integer && ffb_cuda_dnn_takes(device, &convolution))
    return ffb_cuda_dnn_bytes(device, &convolution);
  return ffb_cuda_patches_bytes(&convolution);
}
