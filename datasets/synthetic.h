/* What the two synthetic generators share: a random stream for each record and the loop over the records.
 *
 * Only operations that IEEE 754 defines to the last bit are used (no sine, no exponential), so a seed gives the same
 * bytes on every machine. The first records of a larger set are those of a smaller one. */
#ifndef FFBENCH_DATASETS_SYNTHETIC_H
#define FFBENCH_DATASETS_SYNTHETIC_H

#include "datasets/dataset.h"

/* The draws of one record, a pure function of (seed, generator and part, record). */
struct ffb_stream {
  uint64_t seed;
  uint32_t step;  /* which generator, training or test */
  uint64_t block; /* next Philox block; a record owns FFB_STREAM_BLOCKS of them */
  uint32_t words[4];
  int used; /* words of the current block already handed out */
};

enum { FFB_STREAM_WORDS = 4, FFB_STREAM_BLOCKS = 1 << 16 };

uint32_t ffb_stream_bits(struct ffb_stream *stream);
/* Uniform in [low, high). */
float ffb_stream_between(struct ffb_stream *stream, float low, float high);
/* Uniform in 0 .. bound - 1. */
uint32_t ffb_stream_below(struct ffb_stream *stream, uint32_t bound);

/* x' = xx x + xy y, y' = yx x + yy y. */
struct ffb_linear_map {
  float xx, xy, yx, yy;
};

/* A scale of each axis, then a shear, then a rotation by the angle whose half has the given tangent. */
struct ffb_linear_map ffb_linear_map_make(float half_angle_tangent, float scale_x, float scale_y, float shear);

/* Rounded, and cut to 0 .. 255. */
uint8_t ffb_pixel(float value);

/* Draws one record of class `label` into height x width x channels bytes. */
typedef void ffb_draw(struct ffb_stream *stream, int label, uint8_t *image);

/* Fill both parts; record i has label i % classes. `generator` keeps the streams of the generators apart. */
bool ffb_synthetic_fill(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                        const struct ffb_dataset_request *request, uint32_t generator, ffb_draw *draw,
                        struct ffb_error *error);

/* The loaders of dataset.h's table. */
bool ffb_synthetic_digits_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                               const struct ffb_dataset_request *request, struct ffb_error *error);
bool ffb_synthetic_shapes_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                               const struct ffb_dataset_request *request, struct ffb_error *error);

#endif
