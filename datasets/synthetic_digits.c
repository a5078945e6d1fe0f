/* Ten digits as pen strokes: control points on a small grid, wobbled, mapped by a random affine map and inked with a
 * random width, over a noisy background. The ranges are chosen so that a linear classifier stays below 90 % and a
 * multilayer perceptron does not. */
#include "datasets/synthetic.h"

#include <math.h>
#include <string.h>

enum { SIDE = 28, POINTS = 12, STROKES = 2, GLYPHS = 14 };

struct point {
  float x, y;
};

struct glyph {
  int label;
  int counts[STROKES];       /* points of each stroke */
  int8_t points[2 * POINTS]; /* x, y of all of them, in tenths: x in -20 .. 20, y in -30 (top) .. 30 */
};

/* Some digits are written in more than one way. */
static const struct glyph glyphs[GLYPHS] = {
    {0, {9}, {0, -30, -15, -20, -20, 0, -15, 20, 0, 30, 15, 20, 20, 0, 15, -20, 0, -30}},
    {1, {2}, {0, -30, 0, 30}},
    {1, {3, 2}, {-13, -16, 2, -30, 2, 30, -12, 30, 15, 30}},
    {2, {8}, {-18, -18, -10, -28, 4, -30, 17, -21, 15, -6, -3, 13, -19, 30, 20, 30}},
    {3, {11}, {-17, -24, -3, -30, 13, -24, 14, -10, 3, -2, -4, -1, 5, 1, 18, 10, 15, 24, 0, 30, -18, 23}},
    {4, {3, 2}, {6, -30, -20, 10, 20, 10, 9, -10, 8, 30}},
    {4, {3, 2}, {-16, -30, -18, 3, 18, 3, 14, -26, 13, 30}},
    {5, {9}, {18, -30, -13, -30, -15, -4, 0, -8, 15, 0, 18, 14, 9, 27, -6, 30, -18, 23}},
    {6, {11}, {12, -29, -6, -22, -16, -4, -19, 14, -10, 28, 5, 30, 17, 21, 16, 7, 5, -1, -9, 3, -18, 14}},
    {7, {3}, {-19, -30, 19, -30, -5, 30}},
    {7, {3, 2}, {-19, -29, 18, -30, -2, 30, -8, 1, 17, 0}},
    {8, {12}, {0, -2, -14, -12, -11, -26, 3, -30, 15, -22, 11, -9, -8, 4, -18, 17, -6, 30, 12, 28, 18, 13, 0, -2}},
    {9, {11}, {17, -13, 8, -1, -6, 1, -17, -9, -15, -24, -2, -30, 13, -26, 18, -13, 17, 6, 12, 22, -4, 30}},
    {9, {10}, {16, -16, 5, -4, -10, -5, -17, -17, -8, -28, 6, -29, 16, -19, 16, 0, 15, 16, 14, 30}},
};

static const struct glyph *choose(struct ffb_stream *stream, int label) {
  const struct glyph *found[GLYPHS];
  uint32_t count = 0;
  for (int i = 0; i < GLYPHS; i++)
    if (glyphs[i].label == label)
      found[count++] = &glyphs[i];
  return found[ffb_stream_below(stream, count)];
}

static float clamp(float value, float low, float high) {
  return value < low ? low : value > high ? high : value;
}

/* Ink the capsule of radius `half` around the segment p-q, one pixel of soft edge; ink keeps the brightest. */
static void segment(float ink[SIDE][SIDE], struct point p, struct point q, float half) {
  float reach = half + 1.0f, dx = q.x - p.x, dy = q.y - p.y, length = dx * dx + dy * dy;
  int left = (int)clamp((p.x < q.x ? p.x : q.x) - reach, 0, SIDE - 1);
  int right = (int)clamp((p.x < q.x ? q.x : p.x) + reach, 0, SIDE - 1);
  int top = (int)clamp((p.y < q.y ? p.y : q.y) - reach, 0, SIDE - 1);
  int bottom = (int)clamp((p.y < q.y ? q.y : p.y) + reach, 0, SIDE - 1);
  for (int y = top; y <= bottom; y++)
    for (int x = left; x <= right; x++) {
      float ex = (float)x - p.x, ey = (float)y - p.y;
      float along = length > 0.0f ? clamp((ex * dx + ey * dy) / length, 0.0f, 1.0f) : 0.0f;
      float ox = ex - along * dx, oy = ey - along * dy;
      float distance = sqrtf(ox * ox + oy * oy);
      float value = clamp(half + 0.5f - distance, 0.0f, 1.0f);
      if (value > ink[y][x])
        ink[y][x] = value;
    }
}

/* Map the glyph's box into the image and wobble each point by itself. */
static void strokes(struct ffb_stream *stream, const struct glyph *glyph, float ink[SIDE][SIDE]) {
  /* One draw to a declarator: C leaves the order of arguments open, and the order of draws must not be. */
  float tilt = ffb_stream_between(stream, -0.12f, 0.12f), shear = ffb_stream_between(stream, -0.3f, 0.3f);
  float scale_x = ffb_stream_between(stream, 2.1f, 3.2f), scale_y = ffb_stream_between(stream, 2.1f, 3.2f);
  struct ffb_linear_map map = ffb_linear_map_make(tilt, scale_x, scale_y, shear);
  float centre_x = 0.5f * (SIDE - 1) + ffb_stream_between(stream, -2.8f, 2.8f);
  float centre_y = 0.5f * (SIDE - 1) + ffb_stream_between(stream, -2.8f, 2.8f);
  float half = ffb_stream_between(stream, 0.7f, 1.5f);
  const int8_t *point = glyph->points;
  for (int s = 0; s < STROKES; s++) {
    struct point last = {0, 0};
    for (int i = 0; i < glyph->counts[s]; i++, point += 2) {
      float x = 0.1f * (float)point[0] + ffb_stream_between(stream, -0.25f, 0.25f);
      float y = 0.1f * (float)point[1] + ffb_stream_between(stream, -0.25f, 0.25f);
      struct point here = {map.xx * x + map.xy * y + centre_x, map.yx * x + map.yy * y + centre_y};
      if (i)
        segment(ink, last, here, half);
      last = here;
    }
  }
}

static void draw_digit(struct ffb_stream *stream, int label, uint8_t *image) {
  float ink[SIDE][SIDE];
  memset(ink, 0, sizeof ink);
  strokes(stream, choose(stream, label), ink);
  float brightness = ffb_stream_between(stream, 150.0f, 255.0f);
  for (int i = 0; i < SIDE * SIDE; i++) {
    uint32_t bits = ffb_stream_bits(stream);
    /* The sum of four uniform bytes is bell-shaped: mean 510, standard deviation 148; that of the noise is 24. */
    int bell = (int)((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24)) - 510;
    image[i] = ffb_pixel(brightness * ink[i / SIDE][i % SIDE] + 24.0f / 148.0f * (float)bell);
  }
}

bool ffb_synthetic_digits_load(struct ffb_dataset_pair *pair, const struct ffb_dataset_kind *kind,
                               const struct ffb_dataset_request *request, struct ffb_error *error) {
  return ffb_synthetic_fill(pair, kind, request, 0, draw_digit, error);
}
