/* Pieces that the convolutional networks share, with torchvision's names and settings. */
#ifndef FFBENCH_MODELS_BLOCKS_H
#define FFBENCH_MODELS_BLOCKS_H

#include "models/models.h"

enum ffb_stem { FFB_STEM_IMAGENET, FFB_STEM_CIFAR };
extern const char *const ffb_stem_names[];

/* A network that grows. After a failure `node` is -1 and every further call does nothing. Names are made as by printf.
 */
struct ffb_builder {
  struct ffb_network *network;
  struct ffb_error *error;
  int node; /* what the next layer reads */
};

/* One that comes out longer than FFB_NAME_BYTES is refused by the network. */
enum { FFB_BUILD_NAME = 2 * FFB_NAME_BYTES };
void ffb_build_name(char name[FFB_BUILD_NAME], const char *format, ...) __attribute__((format(printf, 2, 3)));

void ffb_build_unit(struct ffb_builder *builder, bool head, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ffb_build_part(struct ffb_builder *builder, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A convolution without bias, its batch normalisation and its activation. An odd kernel keeps the size at stride 1. */
struct ffb_convolution_norm {
  int64_t channels;
  int kernel, stride, groups;
  enum ffb_activation activation;
};
void ffb_build_convolution_norm(struct ffb_builder *builder, const char *convolution, const char *norm,
                                const struct ffb_convolution_norm *options);
/* The same under the names of torchvision's sequence: name.0, name.1. */
void ffb_build_sequence(struct ffb_builder *builder, const struct ffb_convolution_norm *options, const char *format,
                        ...) __attribute__((format(printf, 3, 4)));

/* The unit "head": average pool, dropout where the rate is above 0, linear layer. */
void ffb_build_head(struct ffb_builder *builder, const char *dropout, double rate, const char *linear);
/* How the weights of the layer just added start; its biases start at 0. */
void ffb_build_initial(struct ffb_builder *builder, struct ffb_initial initial);

/* The multiple of 8 that is nearest to a number of channels and not below nine tenths of it. */
int64_t ffb_divisible_channels(double channels);

#endif
