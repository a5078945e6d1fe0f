/* Training images shifted and mirrored at random, anew in each epoch: the usual augmentation for CIFAR-10. */
#ifndef FFBENCH_HARNESS_AUGMENT_H
#define FFBENCH_HARNESS_AUGMENT_H

#include "datasets/dataset.h"

struct augmentation {
  int64_t crop_padding; /* pixels of 0 that are put around an image before one of its own size is cut out; 0: no crop */
  bool flip;            /* mirror every other image, left to right */
  uint64_t seed;
};

/* Image number `record` of a part as `epoch` sees it, a function of these and the seed alone. Crop, then mirror. */
void augment_image(const struct augmentation *augmentation, const struct ffb_dataset *part, uint32_t record,
                   uint32_t epoch, uint8_t *to);

#endif
