/* The models: builders that turn a description into a network. */
#ifndef FFBENCH_MODELS_MODELS_H
#define FFBENCH_MODELS_MODELS_H

#include "base/option.h"
#include "nn/network.h"

struct ffb_model_input {
  int64_t height, width, channels, classes;
};

struct ffb_model {
  const char *name, *description;
  const struct ffb_option *options; /* --set model.hidden=1000,1000 */
  size_t options_size;
  bool (*build)(struct ffb_network *network, const struct ffb_model_input *input, const void *options,
                struct ffb_error *error);
};

const struct ffb_model *ffb_model_find(const char *name);
const struct ffb_model *ffb_model_at(size_t index);

#endif
