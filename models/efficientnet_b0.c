/* EfficientNet-B0 (Tan and Le, ICML 2019) in torchvision's layout: 4,020,358 parameters with 10 classes, 3,383,818
 * without squeeze-and-excitation, whose place among the names then stays empty. */
#include "models/efficientnet_b0.h"

#include "models/blocks.h"

#include <math.h>

struct efficientnet_options {
  int stem;
  double width, dropout, stochastic_depth;
  bool squeeze_excitation;
};

static const struct ffb_option options[] = {
    {"stem", FFB_OPTION_CHOICE, offsetof(struct efficientnet_options, stem), "imagenet", 0, 0, ffb_stem_names,
     "stride of the first convolution: imagenet 2, cifar 1"},
    {"width", FFB_OPTION_NUMBER, offsetof(struct efficientnet_options, width), "1", 0.05, 4, NULL,
     "multiplier of every layer's channels, rounded to multiples of 8"},
    {"squeeze_excitation", FFB_OPTION_BOOLEAN, offsetof(struct efficientnet_options, squeeze_excitation), "false", 0, 0,
     NULL, "squeeze-and-excitation in every block"},
    {"dropout", FFB_OPTION_NUMBER, offsetof(struct efficientnet_options, dropout), "0.2", 0, 0.99, NULL,
     "share of the features that training drops before the classifier"},
    {"stochastic_depth", FFB_OPTION_NUMBER, offsetof(struct efficientnet_options, stochastic_depth), "0.2", 0, 0.99,
     NULL, "share of the samples for which training drops a residual block, growing from 0 to this over the blocks"},
    {0}};

static const struct {
  int expansion, kernel, stride, channels, blocks;
} stages[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
              {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};

enum { STAGES = sizeof stages / sizeof *stages, STEM_CHANNELS = 32, LAST_FACTOR = 4, SQUEEZE = 4 };

struct block {
  int stage, number; /* features.<stage>.<number> */
  int64_t in_channels, out_channels;
  int expansion, kernel, stride;
  bool squeeze_excitation;
  double drop; /* stochastic depth */
};

/* Squeeze-and-excitation (Hu et al., CVPR 2018): one factor for each channel, from the means of all channels. */
static void build_squeeze(struct ffb_builder *b, const char *name, int64_t squeezed) {
  char names[6][FFB_BUILD_NAME];
  static const char *const endings[] = {"avgpool", "fc1", "activation", "fc2", "scale_activation", "scale"};
  for (int i = 0; i < 6; i++)
    ffb_build_name(names[i], "%s.%s", name, endings[i]);
  if (b->node < 0)
    return;
  int input = b->node;
  int64_t channels = b->network->nodes[input][2], widths[2] = {squeezed, channels};
  b->node = ffb_network_average_pool(b->network, names[0], input, b->error);
  for (int i = 0; i < 2; i++) {
    b->node = ffb_network_linear(b->network, names[1 + 2 * i], b->node, widths[i], true, b->error);
    ffb_build_initial(b, (struct ffb_initial){.kind = FFB_INITIAL_NORMAL, .spread = sqrt(2.0 / (double)widths[i])});
    if (b->node >= 0)
      ffb_network_last(b->network)->convolution_file = true;
    b->node = ffb_network_activation(b->network, names[2 + 2 * i], b->node,
                                     i == 0 ? FFB_ACTIVATION_SILU : FFB_ACTIVATION_SIGMOID, b->error);
  }
  b->node = ffb_network_scale(b->network, names[5], input, b->node, b->error);
}

static void build_block(struct ffb_builder *b, const struct block *block) {
  char name[FFB_BUILD_NAME], squeeze[FFB_BUILD_NAME], drop[FFB_BUILD_NAME], add[FFB_BUILD_NAME];
  int input = b->node, at = 0;
  struct ffb_convolution_norm options = {.channels =
                                             ffb_divisible_channels((double)(block->in_channels * block->expansion)),
                                         .kernel = 1,
                                         .stride = 1,
                                         .groups = 1,
                                         .activation = FFB_ACTIVATION_SILU};
  ffb_build_name(name, "features.%d.%d", block->stage, block->number);
  ffb_build_name(drop, "%s.stochastic_depth", name);
  ffb_build_name(add, "%s.add", name);
  ffb_build_unit(b, false, "%s", name);
  if (options.channels != block->in_channels) {
    ffb_build_part(b, "%s.block.%d", name, at);
    ffb_build_sequence(b, &options, "%s.block.%d", name, at++);
  }
  options.kernel = block->kernel;
  options.stride = block->stride;
  options.groups = (int)options.channels;
  ffb_build_part(b, "%s.block.%d", name, at);
  ffb_build_sequence(b, &options, "%s.block.%d", name, at++);
  ffb_build_name(squeeze, "%s.block.%d", name, at++);
  if (block->squeeze_excitation)
    build_squeeze(b, squeeze, block->in_channels < SQUEEZE ? 1 : block->in_channels / SQUEEZE);
  ffb_build_part(b, "%s.block.%d", name, at);
  ffb_build_sequence(
      b, &(struct ffb_convolution_norm){.channels = block->out_channels, .kernel = 1, .stride = 1, .groups = 1},
      "%s.block.%d", name, at);
  if (block->stride != 1 || block->in_channels != block->out_channels)
    return;
  if (block->drop > 0)
    b->node = ffb_network_dropout(b->network, drop, b->node, (float)block->drop, true, b->error);
  b->node = ffb_network_add(b->network, add, b->node, input, b->error);
}

/* Returns the channels of the last block. */
static int64_t build_blocks(struct ffb_builder *b, int64_t in_channels, const struct efficientnet_options *chosen) {
  struct block block = {.in_channels = in_channels, .squeeze_excitation = chosen->squeeze_excitation};
  int total = 0, done = 0;
  for (int i = 0; i < STAGES; i++)
    total += stages[i].blocks;
  for (int i = 0; i < STAGES; i++) {
    block.stage = i + 1;
    block.expansion = stages[i].expansion;
    block.kernel = stages[i].kernel;
    block.out_channels = ffb_divisible_channels(stages[i].channels * chosen->width);
    for (block.number = 0; block.number < stages[i].blocks; block.number++) {
      block.stride = block.number == 0 ? stages[i].stride : 1;
      block.drop = chosen->stochastic_depth * done++ / total;
      build_block(b, &block);
      block.in_channels = block.out_channels;
    }
  }
  return block.in_channels;
}

static bool build(struct ffb_network *network, const struct ffb_model_input *input, const void *values,
                  struct ffb_error *error) {
  const struct efficientnet_options *chosen = values;
  struct ffb_builder b = {.network = network, .error = error};
  if (!ffb_network_create(network, "efficientnet_b0", input->height, input->width, input->channels, input->classes,
                          error))
    return false;
  struct ffb_convolution_norm options = {.channels = ffb_divisible_channels(STEM_CHANNELS * chosen->width),
                                         .kernel = 3,
                                         .stride = chosen->stem == FFB_STEM_CIFAR ? 1 : 2,
                                         .groups = 1,
                                         .activation = FFB_ACTIVATION_SILU};
  ffb_build_unit(&b, false, "stem");
  ffb_build_sequence(&b, &options, "features.0");
  options.channels = LAST_FACTOR * build_blocks(&b, options.channels, chosen);
  options.kernel = options.stride = 1;
  ffb_build_unit(&b, false, "last");
  ffb_build_sequence(&b, &options, "features.%d", STAGES + 1);
  ffb_build_head(&b, "classifier.0", chosen->dropout, "classifier.1");
  ffb_build_initial(&b, (struct ffb_initial){.kind = FFB_INITIAL_UNIFORM, .spread = 1 / sqrt((double)input->classes)});
  return b.node >= 0;
}

const struct ffb_model ffb_model_efficientnet_b0 = {.name = "efficientnet_b0",
                                                    .description = "EfficientNet-B0, torchvision's layout, by default "
                                                                   "without squeeze-and-excitation",
                                                    .options = options,
                                                    .options_size = sizeof(struct efficientnet_options),
                                                    .build = build};
