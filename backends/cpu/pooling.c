/* Pooling, and scaling by channel. */
#include "backends/cpu/device.h"
#include "backends/reference/reference.h"

bool ffb_cpu_max_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_max_pool(device, arguments);
}

bool ffb_cpu_max_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_max_pool_gradient(device, arguments);
}

bool ffb_cpu_average_pool(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_average_pool(device, arguments);
}

bool ffb_cpu_average_pool_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_average_pool_gradient(device, arguments);
}

bool ffb_cpu_scale_channels(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_scale_channels(device, arguments);
}

bool ffb_cpu_scale_channels_gradient(struct ffb_device *device, const union ffb_arguments *arguments) {
  return ffb_reference_scale_channels_gradient(device, arguments);
}
