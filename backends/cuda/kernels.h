/* The operators of the CUDA backend that are kernels of its own: bool ffb_cuda_<name>(device, arguments).
 *
 * No call allocates or waits; all goes to device->stream, and what changes from step to step is read on the device, so
 * that any of them can be captured in a graph. What backend.h gives bits for has those bits: compile without
 * contraction (-fmad=false) and without fast math. Other FP32 sums have a fixed order, whatever the launch. */
#ifndef FFBENCH_BACKENDS_CUDA_KERNELS_H
#define FFBENCH_BACKENDS_CUDA_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif
#include "backends/backend.h"

/* X(NAME, name): slots that these functions fill. */
#define FFB_CUDA_KERNELS(X)                                                                                            \
  X(FILL, fill)                                                                                                        \
  X(COPY, copy)                                                                                                        \
  X(CONVERT_IMAGES, convert_images)                                                                                    \
  X(OVERLAY_LABELS, overlay_labels)                                                                                    \
  X(DRAW_NEGATIVES, draw_negatives)                                                                                    \
  X(SUQ_SCALE, suq_scale)                                                                                              \
  X(SUQ_QUANTISE, suq_quantise)                                                                                        \
  X(SUQ_SEGMENTS, suq_segments)                                                                                        \
  X(DEQUANTISE, dequantise)                                                                                            \
  X(CLIP_SEARCH, clip_search)                                                                                          \
  X(SEGMENT_SEARCH, segment_search)                                                                                    \
  X(ADD_BIAS, add_bias)                                                                                                \
  X(BIAS_GRADIENT, bias_gradient)                                                                                      \
  X(ACTIVATE, activate)                                                                                                \
  X(ACTIVATE_GRADIENT, activate_gradient)                                                                              \
  X(MASK_GRADIENT, mask_gradient)                                                                                      \
  X(ADD_SCALED, add_scaled)                                                                                            \
  X(NORMALISE, normalise)                                                                                              \
  X(NORMALISE_GRADIENT, normalise_gradient)                                                                            \
  X(SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy)                                                                      \
  X(GOODNESS, goodness)                                                                                                \
  X(GOODNESS_LOSS, goodness_loss)                                                                                      \
  X(GOODNESS_GRADIENT, goodness_gradient)                                                                              \
  X(SGD_UPDATE, sgd_update)                                                                                            \
  X(ADAM_UPDATE, adam_update)                                                                                          \
  X(BATCH_STATISTICS, batch_statistics)                                                                                \
  X(BATCH_NORMALISE, batch_normalise)                                                                                  \
  X(BATCH_NORMALISE_GRADIENT, batch_normalise_gradient)                                                                \
  X(MAX_POOL, max_pool)                                                                                                \
  X(MAX_POOL_GRADIENT, max_pool_gradient)                                                                              \
  X(AVERAGE_POOL, average_pool)                                                                                        \
  X(AVERAGE_POOL_GRADIENT, average_pool_gradient)                                                                      \
  X(SCALE_CHANNELS, scale_channels)                                                                                    \
  X(SCALE_CHANNELS_GRADIENT, scale_channels_gradient)                                                                  \
  X(DROPOUT, dropout)                                                                                                  \
  X(LABEL_PATTERN, label_pattern)                                                                                      \
  X(NOTE_NOT_FINITE, note_not_finite)                                                                                  \
  X(SUQ_TENSOR, suq_tensor)                                                                                            \
  X(BATCH_NORMALISE_S8, batch_normalise_s8)                                                                            \
  X(BATCH_NORMALISE_GRADIENT_S8, batch_normalise_gradient_s8)                                                          \
  X(LINEAR_F32, linear_f32)                                                                                            \
  X(LINEAR_S8, linear_s8)                                                                                              \
  X(LINEAR_UPDATE_S8, linear_update_s8)                                                                                \
  X(CONVOLVE_UPDATE_S8, convolve_update_s8)                                                                            \
  X(NORMALISE_S8, normalise_s8)

/* Convolutions with one channel a group, in and out; ffb_cuda_depthwise_<name> takes the arguments of <name>. */
#define FFB_CUDA_DEPTHWISE(X)                                                                                          \
  X(CONVOLVE_F32, convolve_f32)                                                                                        \
  X(CONVOLVE_S8, convolve_s8)                                                                                          \
  X(CONVOLVE_INPUT_F32, convolve_input_f32)                                                                            \
  X(CONVOLVE_INPUT_S8, convolve_input_s8)                                                                              \
  X(CONVOLVE_WEIGHT_F32, convolve_weight_f32)                                                                          \
  X(CONVOLVE_WEIGHT_S8, convolve_weight_s8)

#define FFB_CUDA_DECLARE(NAME, name)                                                                                   \
  bool ffb_cuda_##name(struct ffb_device *device, const union ffb_arguments *arguments);
FFB_CUDA_KERNELS(FFB_CUDA_DECLARE)
#undef FFB_CUDA_DECLARE
#define FFB_CUDA_DECLARE(NAME, name)                                                                                   \
  bool ffb_cuda_depthwise_##name(struct ffb_device *device, const union ffb_arguments *arguments);
FFB_CUDA_DEPTHWISE(FFB_CUDA_DECLARE)
#undef FFB_CUDA_DECLARE

/* Operators that some of these begin with and that libraries serve: to be found elsewhere in the backend. */
bool ffb_cuda_gemm_f32(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_gemm_s8(struct ffb_device *device, const union ffb_arguments *arguments);
bool ffb_cuda_convolve_weight_s8(struct ffb_device *device, const union ffb_arguments *arguments);

/* Bytes of the workspace that one of FFB_CUDA_KERNELS wants, given what other operators do. */
typedef size_t ffb_cuda_workspace_function(struct ffb_device *device, enum ffb_operator operation,
                                           const union ffb_arguments *arguments);
size_t ffb_cuda_fused_workspace(struct ffb_device *device, enum ffb_operator operation,
                                const union ffb_arguments *arguments, ffb_cuda_workspace_function *of_product);

static inline bool ffb_cuda_is_depthwise(int groups, const struct ffb_tensor *x, const struct ffb_tensor *y) {
  return groups == x->shape[3] && groups == y->shape[3];
}

#ifdef __cplusplus
}
#endif

#endif
