#include "datasets/synthetic.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>

uint32_t ffb_stream_bits(struct ffb_stream *stream) {
  if (stream->used == FFB_STREAM_WORDS) {
    ffb_philox(stream->seed, FFB_PURPOSE_SYNTHETIC, stream->step, stream->block++, stream->words);
    stream->used = 0;
  }
  return stream->words[stream->used++];
}

float ffb_stream_between(struct ffb_stream *stream, float low, float high) {
  return low + (high - low) * ((float)(ffb_stream_bits(stream) >> 8) * 0x1p-24f);
}

uint32_t ffb_stream_below(struct ffb_stream *stream, uint32_t bound) {
  return (uint32_t)(((uint64_t)ffb_stream_bits(stream) * bound) >> 32);
}

struct ffb_linear_map ffb_linear_map_make(float half_angle_tangent, float scale_x, float scale_y, float shear) {
  float t = half_angle_tangent, cosine = (1.0f - t * t) / (1.0f + t * t), sine = 2.0f * t / (1.0f + t * t);
  return (struct ffb_linear_map){
      .xx = cosine * scale_x,
      .xy = (cosine * shear - sine) * scale_y,
      .yx = sine * scale_x,
      .yy = (sine * shear + cosine) * scale_y,
  };
}

uint8_t ffb_pixel(float value) {
  if (value <= 0.0f)
    return 0;
  return value >= 255.0f ? 255 : (uint8_t)floorf(value + 0.5f);
}

static bool fill_part(struct ffb_dataset *part, int64_t count, uint64_t seed, uint32_t step, ffb_draw *draw,
                      struct ffb_error *error) {
  size_t bytes = (size_t)(part->channels * part->height * part->width);
  part->count = count;
  part->images = ffb_allocate((size_t)count, bytes, error);
  part->labels = ffb_allocate((size_t)count, 1, error);
  if (!part->images || !part->labels)
    return false;
  for (int64_t i = 0; i < count; i++) {
    struct ffb_stream stream = {
        .seed = seed, .step = step, .block = (uint64_t)i * FFB_STREAM_BLOCKS, .used = FFB_STREAM_WORDS};
    part->labels[i] = (uint8_t)(i % part->classes);
    draw(&stream, part->labels[i], part->images + (size_t)i * bytes);
  }
  snprintf(part->source, sizeof part->source, "generated with seed %llu", (unsigned long long)seed);
  return true;
}

static bool check_size(const struct ffb_dataset_kind *kind, const char *part, int64_t count, struct ffb_error *error) {
  if (count >= FFB_DATASET_SMALLEST && count <= FFB_DATASET_LARGEST)
    return true;
  return ffb_fail_usage(error, "%s: %lld %s records asked for: choose %d to %d", kind->name, (long long)count, part,
                        FFB_DATASET_SMALLEST, FFB_DATASET_LARGEST);
}

bool ffb_synthetic_fill(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                        const struct ffb_dataset_request *request, uint32_t generator, ffb_draw *draw,
                        struct ffb_error *error) {
  int64_t train = request->synthetic_train ? request->synthetic_train : kind->synthetic_train;
  int64_t test = request->synthetic_test ? request->synthetic_test : kind->synthetic_test;
  return check_size(kind, "training", train, error) && check_size(kind, "test", test, error) &&
         fill_part(&pair->train, train, request->seed, 2 * generator, draw, error) &&
         fill_part(&pair->test, test, request->seed, 2 * generator + 1, draw, error);
}
