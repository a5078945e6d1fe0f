/* MobileNet-V2 (Sandler et al., CVPR 2018) in torchvision's layout: 2,236,682 parameters with 10 classes. */
#include "models/mobilenet_v2.h"

#include "models/blocks.h"

struct mobilenet_options {
  int stem;
  double width, dropout;
};

static const struct ffb_option options[] = {
    {"stem", FFB_OPTION_CHOICE, offsetof(struct mobilenet_options, stem), "imagenet", 0, 0, ffb_stem_names,
     "stride of the first convolution: imagenet 2, cifar 1"},
    {"width", FFB_OPTION_NUMBER, offsetof(struct mobilenet_options, width), "1", 0.05, 4, NULL,
     "multiplier of every layer's channels, rounded to multiples of 8"},
    {"dropout", FFB_OPTION_NUMBER, offsetof(struct mobilenet_options, dropout), "0.2", 0, 0.99, NULL,
     "share of the features that training drops before the classifier"},
    {0}};

static const struct {
  int expansion, channels, blocks, stride;
} stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
              {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

enum { STAGES = sizeof stages / sizeof *stages, STEM_CHANNELS = 32, LAST_CHANNELS = 1280 };

struct block {
  int number; /* of features */
  int64_t in_channels, out_channels;
  int expansion, stride;
};

static void build_block(struct ffb_builder *b, const struct block *block) {
  int input = b->node, number = block->number, at = 0;
  struct ffb_convolution_norm options = {.channels = block->in_channels * block->expansion,
                                         .kernel = 1,
                                         .stride = 1,
                                         .groups = 1,
                                         .activation = FFB_ACTIVATION_RELU6};
  char convolution[FFB_BUILD_NAME], norm[FFB_BUILD_NAME], add[FFB_BUILD_NAME];
  ffb_build_unit(b, false, "features.%d", number);
  if (block->expansion != 1) {
    ffb_build_part(b, "features.%d.conv.%d", number, at);
    ffb_build_sequence(b, &options, "features.%d.conv.%d", number, at++);
  }
  options.kernel = 3;
  options.stride = block->stride;
  options.groups = (int)options.channels;
  ffb_build_part(b, "features.%d.conv.%d", number, at);
  ffb_build_sequence(b, &options, "features.%d.conv.%d", number, at++);
  ffb_build_name(convolution, "features.%d.conv.%d", number, at);
  ffb_build_name(norm, "features.%d.conv.%d", number, at + 1);
  ffb_build_name(add, "features.%d.add", number);
  ffb_build_part(b, "%s", convolution);
  ffb_build_convolution_norm(
      b, convolution, norm,
      &(struct ffb_convolution_norm){.channels = block->out_channels, .kernel = 1, .stride = 1, .groups = 1});
  if (block->stride == 1 && block->in_channels == block->out_channels)
    b->node = ffb_network_add(b->network, add, b->node, input, b->error);
}

static int build_blocks(struct ffb_builder *b, int64_t in_channels, double width) {
  struct block block = {.number = 1, .in_channels = in_channels};
  for (int stage = 0; stage < STAGES; stage++) {
    block.expansion = stages[stage].expansion;
    block.out_channels = ffb_divisible_channels(stages[stage].channels * width);
    for (int i = 0; i < stages[stage].blocks; i++) {
      block.stride = i == 0 ? stages[stage].stride : 1;
      build_block(b, &block);
      block.in_channels = block.out_channels;
      block.number++;
    }
  }
  return block.number;
}

static bool build(struct ffb_network *network, const struct ffb_model_input *input, const void *values,
                  struct ffb_error *error) {
  const struct mobilenet_options *chosen = values;
  struct ffb_builder b = {.network = network, .error = error};
  if (!ffb_network_create(network, "mobilenet_v2", input->height, input->width, input->channels, input->classes, error))
    return false;
  struct ffb_convolution_norm stem = {.channels = ffb_divisible_channels(STEM_CHANNELS * chosen->width),
                                      .kernel = 3,
                                      .stride = chosen->stem == FFB_STEM_CIFAR ? 1 : 2,
                                      .groups = 1,
                                      .activation = FFB_ACTIVATION_RELU6},
                              last = {.channels = ffb_divisible_channels(LAST_CHANNELS *
                                                                         (chosen->width > 1 ? chosen->width : 1)),
                                      .kernel = 1,
                                      .stride = 1,
                                      .groups = 1,
                                      .activation = FFB_ACTIVATION_RELU6};
  ffb_build_unit(&b, false, "stem");
  ffb_build_sequence(&b, &stem, "features.0");
  int number = build_blocks(&b, stem.channels, chosen->width);
  ffb_build_unit(&b, false, "last");
  ffb_build_sequence(&b, &last, "features.%d", number);
  ffb_build_head(&b, "classifier.0", chosen->dropout, "classifier.1");
  ffb_build_initial(&b, (struct ffb_initial){.kind = FFB_INITIAL_NORMAL, .spread = 0.01});
  return b.node >= 0;
}

const struct ffb_model ffb_model_mobilenet_v2 = {.name = "mobilenet_v2",
                                                 .description = "MobileNet-V2, torchvision's layout",
                                                 .options = options,
                                                 .options_size = sizeof(struct mobilenet_options),
                                                 .build = build};
