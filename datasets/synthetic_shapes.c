/* Ten shapes, one to an image: place, size, tilt and colour vary, over a mottled, darker background. Colour says
 * nothing about the class and no pixel says much, so a linear classifier falls short where a convolutional network does
 * not. */
#include "datasets/synthetic.h"

#include <math.h>
#include <stdbool.h>

enum { SIDE = 32, CHANNELS = 3, PATCHES = 5, SAMPLES = 2 };

static bool disc(float u, float v) {
  return u * u + v * v < 0.85f;
}

static bool ring(float u, float v) {
  float r = u * u + v * v;
  return r > 0.3f && r < 0.95f;
}

static bool square(float u, float v) {
  return fmaxf(fabsf(u), fabsf(v)) < 0.8f;
}

static bool diamond(float u, float v) {
  return fabsf(u) + fabsf(v) < 1.1f;
}

static bool triangle(float u, float v) {
  return v < 0.75f && v > 2.0f * fabsf(u) - 1.0f;
}

static bool cross(float u, float v) {
  return fminf(fabsf(u), fabsf(v)) < 0.27f && fmaxf(fabsf(u), fabsf(v)) < 0.95f;
}

static bool star(float u, float v) {
  return sqrtf(fabsf(u)) + sqrtf(fabsf(v)) < 1.1f;
}

static bool bars(float u, float v) {
  return fmaxf(fabsf(u), fabsf(v)) < 0.9f && (int)((v + 0.9f) / 0.36f) % 2 == 0;
}

static bool checker(float u, float v) {
  return fmaxf(fabsf(u), fabsf(v)) < 0.9f && ((int)((u + 0.9f) / 0.45f) + (int)((v + 0.9f) / 0.45f)) % 2 == 0;
}

static bool crescent(float u, float v) {
  float away = u - 0.45f;
  return u * u + v * v < 0.95f && away * away + v * v > 0.5f;
}

/* Whether a point of the shape's own square, u to the right and v down in -1 .. 1, is covered. */
static bool (*const shapes[])(float u, float v) = {disc,  ring, square, diamond, triangle,
                                                   cross, star, bars,   checker, crescent};

static void background(struct ffb_stream *stream, const float base[CHANNELS], float pixels[SIDE][SIDE][CHANNELS]) {
  float corners[PATCHES][PATCHES];
  for (int i = 0; i < PATCHES * PATCHES; i++)
    corners[i / PATCHES][i % PATCHES] = ffb_stream_between(stream, -28.0f, 28.0f);
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++) {
      float fx = (float)x * (PATCHES - 1) / SIDE, fy = (float)y * (PATCHES - 1) / SIDE;
      int i = (int)fx, j = (int)fy;
      fx -= (float)i;
      fy -= (float)j;
      float above = corners[j][i] + fx * (corners[j][i + 1] - corners[j][i]);
      float below = corners[j + 1][i] + fx * (corners[j + 1][i + 1] - corners[j + 1][i]);
      for (int c = 0; c < CHANNELS; c++)
        pixels[y][x][c] = base[c] + above + fy * (below - above);
    }
}

/* From a pixel's place to the shape's own square. */
struct frame {
  float centre_x, centre_y;
  struct ffb_linear_map map;
};

static struct frame place(struct ffb_stream *stream) {
  /* One draw to a declarator: C leaves the order of arguments open, and the order of draws must not be. */
  float radius = ffb_stream_between(stream, 8.0f, 12.0f), stretch = ffb_stream_between(stream, 0.85f, 1.15f);
  float tilt = ffb_stream_between(stream, -0.12f, 0.12f);
  float right = ffb_stream_between(stream, -4.0f, 4.0f), down = ffb_stream_between(stream, -4.0f, 4.0f);
  return (struct frame){
      .centre_x = 0.5f * SIDE + right,
      .centre_y = 0.5f * SIDE + down,
      .map = ffb_linear_map_make(tilt, 1.0f / radius, stretch / radius, 0.0f),
  };
}

/* The share of a pixel that the shape covers, from SAMPLES x SAMPLES points. */
static float coverage(bool (*shape)(float, float), const struct frame *frame, int x, int y) {
  int hits = 0;
  for (int i = 0; i < SAMPLES; i++)
    for (int j = 0; j < SAMPLES; j++) {
      float dx = (float)x + ((float)j + 0.5f) / SAMPLES - frame->centre_x;
      float dy = (float)y + ((float)i + 0.5f) / SAMPLES - frame->centre_y;
      hits += shape(frame->map.xx * dx + frame->map.xy * dy, frame->map.yx * dx + frame->map.yy * dy);
    }
  return (float)hits / (SAMPLES * SAMPLES);
}

static void draw_shape(struct ffb_stream *stream, int label, uint8_t *image) {
  float behind[CHANNELS], front[CHANNELS], pixels[SIDE][SIDE][CHANNELS];
  for (int c = 0; c < CHANNELS; c++) {
    behind[c] = ffb_stream_between(stream, 0.0f, 120.0f);
    front[c] = behind[c] + ffb_stream_between(stream, 60.0f, 135.0f);
  }
  background(stream, behind, pixels);
  struct frame frame = place(stream);
  for (int i = 0; i < SIDE * SIDE; i++) {
    const float *under = pixels[i / SIDE][i % SIDE];
    float covered = coverage(shapes[label], &frame, i % SIDE, i / SIDE);
    uint32_t bits = ffb_stream_bits(stream);
    for (int c = 0; c < CHANNELS; c++) {
      float noise = (float)(bits >> 8 * c & 31) - 15.5f;
      image[i * CHANNELS + c] = ffb_pixel(under[c] + covered * (front[c] - under[c]) + noise);
    }
  }
}

bool ffb_synthetic_shapes_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                               const struct ffb_dataset_request *request, struct ffb_error *error) {
  return ffb_synthetic_fill(pair, kind, request, 1, draw_shape, error);
}
