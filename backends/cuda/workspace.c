/* The backend's workspace hook: fused operators ask for what their product wants besides their own. */
#include "backends/cuda/kernels.h"
#include "backends/cuda/product.h"

static size_t of_product(struct ffb_device *device, enum ffb_operator operation, const union ffb_arguments *arguments) {
  size_t bytes = ffb_cuda_product_workspace(device, operation, arguments);
  return bytes ? bytes : ffb_cuda_convolution_workspace(device, operation, arguments);
}

size_t ffb_cuda_workspace(struct ffb_device *device, enum ffb_operator operation,
                          const union ffb_arguments *arguments) {
  size_t bytes = ffb_cuda_fused_workspace(device, operation, arguments, of_product);
  return bytes ? bytes : of_product(device, operation, arguments);
}
