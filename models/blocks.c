#include "models/blocks.h"

#include <stdarg.h>
#include <stdio.h>

const char *const ffb_stem_names[] = {"imagenet", "cifar", NULL};

static const float momentum = 0.1f, epsilon = 1e-5f; /* PyTorch's defaults */

void ffb_build_name(char name[FFB_BUILD_NAME], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(name, FFB_BUILD_NAME, format, arguments);
  va_end(arguments);
}

void ffb_build_unit(struct ffb_builder *b, bool head, const char *format, ...) {
  char name[FFB_BUILD_NAME];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(name, FFB_BUILD_NAME, format, arguments);
  va_end(arguments);
  if (b->node >= 0 && !ffb_network_unit(b->network, name, head, b->error))
    b->node = -1;
}

void ffb_build_part(struct ffb_builder *b, const char *format, ...) {
  char name[FFB_BUILD_NAME];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(name, FFB_BUILD_NAME, format, arguments);
  va_end(arguments);
  if (b->node >= 0 && !ffb_network_part(b->network, name, b->error))
    b->node = -1;
}

void ffb_build_convolution_norm(struct ffb_builder *b, const char *convolution, const char *norm,
                                const struct ffb_convolution_norm *options) {
  const struct ffb_window window = {
      .kernel = options->kernel, .stride = options->stride, .padding = (options->kernel - 1) / 2};
  b->node =
      ffb_network_convolution(b->network, convolution, b->node, options->channels, window, options->groups, b->error);
  b->node = ffb_network_batch_norm(b->network, norm, b->node, momentum, epsilon, b->error);
  if (options->activation == FFB_ACTIVATION_NONE)
    return;
  char name[FFB_BUILD_NAME];
  ffb_build_name(name, "%s.activation", norm);
  b->node = ffb_network_activation(b->network, name, b->node, options->activation, b->error);
}

void ffb_build_sequence(struct ffb_builder *b, const struct ffb_convolution_norm *options, const char *format, ...) {
  char sequence[FFB_BUILD_NAME], convolution[FFB_BUILD_NAME], norm[FFB_BUILD_NAME];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sequence, FFB_BUILD_NAME, format, arguments);
  va_end(arguments);
  ffb_build_name(convolution, "%s.0", sequence);
  ffb_build_name(norm, "%s.1", sequence);
  ffb_build_convolution_norm(b, convolution, norm, options);
}

void ffb_build_head(struct ffb_builder *b, const char *dropout, double rate, const char *linear) {
  ffb_build_unit(b, true, "head");
  b->node = ffb_network_average_pool(b->network, "avgpool", b->node, b->error);
  if (rate > 0)
    b->node = ffb_network_dropout(b->network, dropout, b->node, (float)rate, false, b->error);
  b->node = ffb_network_linear(b->network, linear, b->node, b->network->classes, true, b->error);
}

void ffb_build_initial(struct ffb_builder *b, struct ffb_initial initial) {
  if (b->node < 0)
    return;
  ffb_network_last(b->network)->weight_initial = initial;
  ffb_network_last(b->network)->bias_initial = (struct ffb_initial){.spread = 0};
}

int64_t ffb_divisible_channels(double channels) {
  const int64_t divisor = 8;
  int64_t nearest = (int64_t)(channels + (double)divisor / 2) / divisor * divisor;
  if (nearest < divisor)
    nearest = divisor;
  return (double)nearest < 0.9 * channels ? nearest + divisor : nearest;
}
