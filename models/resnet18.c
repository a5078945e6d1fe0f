/* ResNet-18 (He et al., "Deep residual learning for image recognition", CVPR 2016) in torchvision's layout: 11,181,642
 * parameters with 10 classes; 11,173,962 with the small-image stem. */
#include "models/resnet18.h"

#include "models/blocks.h"

struct resnet_options {
  int stem;
  double width;
};

static const struct ffb_option options[] = {
    {"stem", FFB_OPTION_CHOICE, offsetof(struct resnet_options, stem), "imagenet", 0, 0, ffb_stem_names,
     "imagenet: a 7x7 convolution of stride 2 and a max pool; cifar: a 3x3 convolution of stride 1"},
    {"width", FFB_OPTION_NUMBER, offsetof(struct resnet_options, width), "1", 0.0625, 4, NULL,
     "multiplier of every layer's channels"},
    {0}};

enum { STAGES = 4, BLOCKS = 2, BASE_CHANNELS = 64 };

static void build_stem(struct ffb_builder *b, enum ffb_stem stem, int64_t channels) {
  const bool small = stem == FFB_STEM_CIFAR;
  ffb_build_unit(b, false, "stem");
  ffb_build_convolution_norm(b, "conv1", "bn1",
                             &(struct ffb_convolution_norm){.channels = channels,
                                                            .kernel = small ? 3 : 7,
                                                            .stride = small ? 1 : 2,
                                                            .groups = 1,
                                                            .activation = FFB_ACTIVATION_RELU});
  if (!small)
    b->node = ffb_network_max_pool(b->network, "maxpool", b->node,
                                   (struct ffb_window){.kernel = 3, .stride = 2, .padding = 1}, b->error);
}

/* Layers of a block, by name. */
enum { CONV1, BN1, CONV2, BN2, DOWNSAMPLE, DOWNSAMPLE_BN, ADD, RELU, NAMES };
static const char *const endings[NAMES] = {"conv1",        "bn1",          "conv2", "bn2",
                                           "downsample.0", "downsample.1", "add",   "relu"};

/* The second convolution's part ends the block: with the shortcut, the addition and the ReLU. */
static void build_block(struct ffb_builder *b, const char *name, int64_t channels, int stride, bool downsample) {
  char names[NAMES][FFB_BUILD_NAME];
  for (int i = 0; i < NAMES; i++)
    ffb_build_name(names[i], "%s.%s", name, endings[i]);
  struct ffb_convolution_norm options = {
      .channels = channels, .kernel = 3, .stride = stride, .groups = 1, .activation = FFB_ACTIVATION_RELU};
  int input = b->node;
  ffb_build_unit(b, false, "%s", name);
  ffb_build_part(b, "%s", names[CONV1]);
  ffb_build_convolution_norm(b, names[CONV1], names[BN1], &options);
  options.stride = 1;
  options.activation = FFB_ACTIVATION_NONE;
  ffb_build_part(b, "%s", names[CONV2]);
  ffb_build_convolution_norm(b, names[CONV2], names[BN2], &options);
  int main_path = b->node, shortcut = input;
  if (downsample && main_path >= 0) {
    options.kernel = 1;
    options.stride = stride;
    b->node = input;
    ffb_build_convolution_norm(b, names[DOWNSAMPLE], names[DOWNSAMPLE_BN], &options);
    shortcut = b->node;
  }
  b->node = ffb_network_add(b->network, names[ADD], main_path, shortcut, b->error);
  b->node = ffb_network_relu(b->network, names[RELU], b->node, b->error);
}

static bool build(struct ffb_network *network, const struct ffb_model_input *input, const void *values,
                  struct ffb_error *error) {
  const struct resnet_options *chosen = values;
  struct ffb_builder b = {.network = network, .error = error};
  if (!ffb_network_create(network, "resnet18", input->height, input->width, input->channels, input->classes, error))
    return false;
  int64_t base = (int64_t)(BASE_CHANNELS * chosen->width + 0.5);
  build_stem(&b, (enum ffb_stem)chosen->stem, base);
  for (int stage = 0; stage < STAGES; stage++) {
    for (int block = 0; block < BLOCKS; block++) {
      char name[FFB_BUILD_NAME];
      bool first = stage > 0 && block == 0;
      ffb_build_name(name, "layer%d.%d", stage + 1, block);
      build_block(&b, name, base << stage, first ? 2 : 1, first);
    }
  }
  ffb_build_head(&b, "", 0, "fc");
  return b.node >= 0;
}

const struct ffb_model ffb_model_resnet18 = {.name = "resnet18",
                                             .description = "ResNet-18, torchvision's layout",
                                             .options = options,
                                             .options_size = sizeof(struct resnet_options),
                                             .build = build};
