#include "datasets/fingerprint.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* The key orders records as their bytes do, as far as it goes; records with equal keys are compared in full. */
struct entry {
  uint64_t key;
  uint32_t record;
};

static size_t pixel_bytes(const struct ffb_dataset *part) {
  return (size_t)(part->channels * part->height * part->width);
}

/* Pixels of one record plane by plane. */
static void planes(const struct ffb_dataset *part, uint32_t record, uint8_t *out) {
  size_t channels = (size_t)part->channels, plane = (size_t)(part->height * part->width);
  const uint8_t *pixels = part->images + record * pixel_bytes(part);
  if (channels == 1) {
    memcpy(out, pixels, plane);
    return;
  }
  for (size_t c = 0; c < channels; c++)
    for (size_t i = 0; i < plane; i++)
      out[c * plane + i] = pixels[i * channels + c];
}

/* Label (8 bits), how soon the first pixel that is not zero comes (16 bits), and that pixel and the next four (40
 * bits): many images open with hundreds of zeros, which a prefix alone could not tell apart. */
static uint64_t make_key(uint8_t label, const uint8_t *pixels, size_t bytes) {
  size_t zeros = 0;
  while (zeros < bytes && !pixels[zeros])
    zeros++;
  uint64_t key = (uint64_t)label << 16 | (zeros < UINT16_MAX ? UINT16_MAX - zeros : 0);
  for (size_t i = 0; i < 5; i++)
    key = key << 8 | (zeros < UINT16_MAX && zeros + i < bytes ? pixels[zeros + i] : 0);
  return key;
}

static int compare(const void *left, const void *right, void *context) {
  const struct entry *a = left, *b = right;
  const struct ffb_dataset *part = context;
  if (a->key != b->key)
    return a->key < b->key ? -1 : 1;
  size_t channels = (size_t)part->channels, plane = (size_t)(part->height * part->width);
  const uint8_t *p = part->images + a->record * pixel_bytes(part), *q = part->images + b->record * pixel_bytes(part);
  if (channels == 1)
    return memcmp(p, q, plane);
  for (size_t c = 0; c < channels; c++)
    for (size_t i = 0; i < plane; i++) {
      int difference = p[i * channels + c] - q[i * channels + c];
      if (difference)
        return difference;
    }
  return 0;
}

bool ffb_dataset_fingerprint(struct ffb_dataset *part, struct ffb_error *error) {
  size_t bytes = pixel_bytes(part), count = (size_t)part->count;
  struct entry *entries = ffb_allocate(count, sizeof *entries, error);
  uint8_t *record = ffb_allocate(1 + bytes, 1, error);
  bool done = entries && record;
  if (done) {
    for (uint32_t i = 0; i < count; i++) {
      planes(part, i, record);
      entries[i] = (struct entry){.key = make_key(part->labels[i], record, bytes), .record = i};
    }
    qsort_r(entries, count, sizeof *entries, compare, part);
    struct ffb_sha256 hash;
    ffb_sha256_begin(&hash);
    for (size_t i = 0; i < count; i++) {
      record[0] = part->labels[entries[i].record];
      planes(part, entries[i].record, record + 1);
      ffb_sha256_add(&hash, record, 1 + bytes);
    }
    ffb_sha256_text(&hash, part->sha256);
  }
  ffb_free(record);
  ffb_free(entries);
  return done;
}
