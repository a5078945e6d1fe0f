#include "harness/augment.h"

#include "base/random.h"

#include <string.h>

/* What one image gets: pixel (row, column) of the crop is (row + down, column + right) of the image. */
struct draw {
  int64_t down, right;
  bool mirrored;
};

static int64_t shift(uint32_t bits, int64_t padding) {
  uint64_t places = 2 * (uint64_t)padding + 1;
  return (int64_t)(bits * places >> 32) - padding;
}

static struct draw draw(const struct augmentation *augmentation, uint32_t record, uint32_t epoch) {
  uint32_t words[4];
  ffb_philox(augmentation->seed, FFB_PURPOSE_AUGMENT, epoch, record, words);
  return (struct draw){.down = shift(words[0], augmentation->crop_padding),
                       .right = shift(words[1], augmentation->crop_padding),
                       .mirrored = augmentation->flip && words[2] >> 31};
}

static void mirror_row(uint8_t *row, int64_t width, int64_t channels) {
  for (int64_t left = 0, right = width - 1; left < right; left++, right--) {
    for (int64_t c = 0; c < channels; c++) {
      uint8_t kept = row[left * channels + c];
      row[left * channels + c] = row[right * channels + c];
      row[right * channels + c] = kept;
    }
  }
}

static int64_t bounded(int64_t value, int64_t largest) {
  return value < 0 ? 0 : value < largest ? value : largest;
}

void augment_image(const struct augmentation *augmentation, const struct ffb_dataset *part, uint32_t record,
                   uint32_t epoch, uint8_t *to) {
  struct draw image = draw(augmentation, record, epoch);
  int64_t height = part->height, width = part->width, channels = part->channels;
  const uint8_t *from = part->images + (size_t)record * (size_t)(height * width * channels);
  /* Columns of the crop that lie within the image. */
  int64_t first = bounded(-image.right, width), end = bounded(width - image.right, width);
  for (int64_t row = 0; row < height; row++, to += width * channels) {
    int64_t source = row + image.down;
    if (source < 0 || source >= height || first >= end) {
      memset(to, 0, (size_t)(width * channels));
      continue;
    }
    memset(to, 0, (size_t)(first * channels));
    memcpy(to + first * channels, from + (source * width + first + image.right) * channels,
           (size_t)((end - first) * channels));
    memset(to + end * channels, 0, (size_t)((width - end) * channels));
    if (image.mirrored)
      mirror_row(to, width, channels);
  }
}
