/* Multilayer perceptron: linear layers with ReLU between them. The paper's (Tables II and V) has 1.79 M parameters:
 * 784-1000-1000-10 without biases has 1,794,000. */
#include "models/mlp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mlp_options {
  const char *hidden;
  bool bias;
};

static const struct ffb_option options[] = {
    {"hidden", FFB_OPTION_STRING, offsetof(struct mlp_options, hidden), "1000,1000", 0, 0, NULL,
     "widths of the hidden layers, separated by commas; none for no hidden layer"},
    {"bias", FFB_OPTION_BOOLEAN, offsetof(struct mlp_options, bias), "false", 0, 0, NULL, "biases in linear layers"},
    {0}};

enum { LONGEST = 32, WIDEST = 131072 };

static bool read_widths(const char *text, int64_t widths[LONGEST], int *count, struct ffb_error *error) {
  *count = 0;
  if (!text || strcmp(text, "none") == 0) /* an empty text is null */
    return true;
  for (const char *at = text; *count < LONGEST; at++) {
    char *end = NULL;
    long width = strtol(at, &end, 10);
    if (end == at || width < 1 || width > WIDEST || (*end && *end != ','))
      break;
    widths[(*count)++] = width;
    if (!*end)
      return true;
    at = end;
  }
  return ffb_fail_usage(error, "mlp: model.hidden=%s: give 1 to %d widths from 1 to %d, as 1000,1000, or none", text,
                        LONGEST, WIDEST);
}

static bool build(struct ffb_network *network, const struct ffb_model_input *input, const void *values,
                  struct ffb_error *error) {
  const struct mlp_options *chosen = values;
  int64_t widths[LONGEST];
  int count, node = 0;
  if (!read_widths(chosen->hidden, widths, &count, error) ||
      !ffb_network_create(network, "mlp", input->height, input->width, input->channels, input->classes, error))
    return false;
  for (int i = 0; i < count; i++) {
    char unit[32], linear[32], relu[32];
    snprintf(unit, sizeof unit, "unit%d", i + 1);
    snprintf(linear, sizeof linear, "fc%d", i + 1);
    snprintf(relu, sizeof relu, "relu%d", i + 1);
    if (!ffb_network_unit(network, unit, false, error))
      return false;
    node = ffb_network_linear(network, linear, node, widths[i], chosen->bias, error);
    if (node >= 0)
      node = ffb_network_relu(network, relu, node, error);
    if (node < 0)
      return false;
  }
  char linear[32];
  snprintf(linear, sizeof linear, "fc%d", count + 1);
  return ffb_network_unit(network, "head", true, error) &&
         ffb_network_linear(network, linear, node, input->classes, chosen->bias, error) >= 0;
}

const struct ffb_model ffb_model_mlp = {.name = "mlp",
                                        .description = "multilayer perceptron, 784-1000-1000-10 on MNIST",
                                        .options = options,
                                        .options_size = sizeof(struct mlp_options),
                                        .build = build};
