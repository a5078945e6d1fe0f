/* For any processor: GCC's vector extension, and the baseline instructions of x86-64 where they are there. Also the
 * place where the functions that kernels.inc asks of an instruction set are explained. */
#if defined(__SSE2__)
#include <emmintrin.h>
#else
#include <math.h>
#endif

#define LANES     4
#define TILE_ROWS 6
#define GROUP     2
#define OFFSET    0u
#define ISA_NAME  "portable"
#define ISA_DOT   "elements widened to 16 bits"

#include "backends/cpu/vectors.h"

/* sum + a * b; the only operation that may round once instead of twice. */
static inline vf multiply_add(vf sum, vf a, vf b) {
  return sum + a * b;
}

static inline vi larger(vi a, vi b) {
  vi mask = a > b;
  return (mask & a) | (~mask & b);
}

static inline vi absolute_word(vi v) {
  vu sign = (vu)(v >> 31);
  return (vi)(((vu)v ^ sign) - sign);
}

#if defined(__SSE2__)

/* sum + the products of a word's elements: exact. */
static inline vi dot(vi sum, vi a, vi b) {
  return sum + (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
}
/* What these give for a NaN does not matter. */
static inline vf minimum(vf a, vf b) {
  return (vf)_mm_min_ps((__m128)a, (__m128)b);
}
static inline vf maximum(vf a, vf b) {
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
}
static inline vf square_root(vf v) {
  return (vf)_mm_sqrt_ps((__m128)v);
}
/* To the nearest whole number, ties to even; |v| <= 127 or NaN (any result). */
static inline vi nearest(vf v) {
  return (vi)_mm_cvtps_epi32((__m128)v);
}
/* 64-bit products of the low 32 bits of each 64-bit lane. */
static inline vq multiply_low_words(vq a, vq b) {
  return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b);
}
/* The even (odd) 64-bit lanes of a and b, in turn. */
static inline vi deal_low(vq a, vq b) {
  return (vi)_mm_unpacklo_epi64((__m128i)a, (__m128i)b);
}
static inline vi deal_high(vq a, vq b) {
  return (vi)_mm_unpackhi_epi64((__m128i)a, (__m128i)b);
}
/* The halves of the first (second) half of the words, the low one of each word first. */
static inline vu halves_low(vu words) {
  return (vu)_mm_unpacklo_epi16((__m128i)words, _mm_setzero_si128());
}
static inline vu halves_high(vu words) {
  return (vu)_mm_unpackhi_epi16((__m128i)words, _mm_setzero_si128());
}

#else

static inline vi dot(vi sum, vi a, vi b) {
  return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
}
static inline vf minimum(vf a, vf b) {
  vi mask = a < b;
  return (vf)((mask & (vi)a) | (~mask & (vi)b));
}
static inline vf maximum(vf a, vf b) {
  vi mask = a > b;
  return (vf)((mask & (vi)a) | (~mask & (vi)b));
}
static inline vf square_root(vf v) {
  return (vf){sqrtf(v[0]), sqrtf(v[1]), sqrtf(v[2]), sqrtf(v[3])};
}
static inline vi nearest(vf v) {
  const vf shift = splat_f(0x1.8p23f);
  return (vi)(v + shift) - (vi)shift;
}
static inline vq multiply_low_words(vq a, vq b) {
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
}
static inline vi deal_low(vq a, vq b) {
  return (vi)(vq){a[0], b[0]};
}
static inline vi deal_high(vq a, vq b) {
  return (vi)(vq){a[1], b[1]};
}
static inline vu halves_low(vu words) {
  return (vu){words[0] & 0xFFFFu, words[0] >> 16, words[1] & 0xFFFFu, words[1] >> 16};
}
static inline vu halves_high(vu words) {
  return (vu){words[2] & 0xFFFFu, words[2] >> 16, words[3] & 0xFFFFu, words[3] >> 16};
}

#endif

/* The largest whole number not above v; |v| <= 127 or NaN (any result). */
static inline vi whole_below(vf v) {
  vi whole = nearest(v);
  return whole + (__builtin_convertvector(whole, vf) > v);
}

/* n < LANES elements; the missing ones are zero and are not touched. */
static inline vf load_part(const float *p, int n) {
  vf v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
}
static inline void store_part(float *p, vf v, int n) {
  memcpy(p, &v, (size_t)n * sizeof *p);
}
/* LANES bytes, or the first n, widened to and narrowed from words. */
static inline vi load_bytes(const int8_t *p, int64_t n) {
  int8_t bytes[LANES] = {0};
  if (n >= LANES)
    memcpy(bytes, p, LANES);
  else
    memcpy(bytes, p, (size_t)n);
  return (vi){bytes[0], bytes[1], bytes[2], bytes[3]};
}
static inline void store_bytes(int8_t *p, vi v, int64_t n) {
  int8_t bytes[LANES] = {(int8_t)v[0], (int8_t)v[1], (int8_t)v[2], (int8_t)v[3]};
  if (n >= LANES)
    memcpy(p, bytes, LANES);
  else
    memcpy(p, bytes, (size_t)n);
}
/* LANES words of consecutive elements; elements from n on are zero. */
static inline vi words_of_row(const int8_t *p, int64_t n) {
  typedef int8_t v8 __attribute__((vector_size(8)));
  typedef int16_t v16 __attribute__((vector_size(16)));
  v8 bytes = {0};
  if (n >= 8)
    memcpy(&bytes, p, 8);
  else
    memcpy(&bytes, p, (size_t)n);
  return (vi) __builtin_convertvector(bytes, v16);
}

#include "backends/cpu/kernels.inc"

const struct ffb_cpu_kernels *ffb_cpu_kernels_portable(void) {
  return &kernels;
}
