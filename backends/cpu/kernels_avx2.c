#if defined(__x86_64__) && defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#define LANES     8
#define TILE_ROWS 6
#define GROUP     2
#define OFFSET    0u
#define ISA_NAME  "avx2"
#define ISA_DOT   "vpmaddwd on elements widened to 16 bits"

#include "backends/cpu/vectors.h"

static inline vf multiply_add(vf sum, vf a, vf b) {
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
}
static inline vi dot(vi sum, vi a, vi b) {
  return sum + (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}
static inline vi larger(vi a, vi b) {
  return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b);
}
static inline vi absolute_word(vi v) {
  return (vi)_mm256_abs_epi32((__m256i)v);
}
static inline vf minimum(vf a, vf b) {
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
static inline vf maximum(vf a, vf b) {
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
static inline vf square_root(vf v) {
  return (vf)_mm256_sqrt_ps((__m256)v);
}
static inline vi nearest(vf v) {
  return (vi)_mm256_cvtps_epi32((__m256)v);
}
static inline vi whole_below(vf v) {
  return (vi)_mm256_cvtps_epi32(_mm256_floor_ps((__m256)v));
}
static inline vq multiply_low_words(vq a, vq b) {
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
static inline vi deal_low(vq a, vq b) {
  return (vi)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b);
}
static inline vi deal_high(vq a, vq b) {
  return (vi)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
}
static inline vu halves_low(vu words) {
  return (vu)_mm256_cvtepu16_epi32(_mm256_castsi256_si128((__m256i)words));
}
static inline vu halves_high(vu words) {
  return (vu)_mm256_cvtepu16_epi32(_mm256_extracti128_si256((__m256i)words, 1));
}
static inline vi first_lanes(int n) {
  return (vi){0, 1, 2, 3, 4, 5, 6, 7} < n;
}
static inline vf load_part(const float *p, int n) {
  return (vf)_mm256_maskload_ps(p, (__m256i)first_lanes(n));
}
static inline void store_part(float *p, vf v, int n) {
  _mm256_maskstore_ps(p, (__m256i)first_lanes(n), (__m256)v);
}
static inline vi load_bytes(const int8_t *p, int64_t n) {
  int64_t bytes = 0;
  if (n >= LANES)
    memcpy(&bytes, p, LANES);
  else
    memcpy(&bytes, p, (size_t)n);
  return (vi)_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytes));
}
static inline void store_bytes(int8_t *p, vi v, int64_t n) {
  __m128i half = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(half, half));
  if (n >= LANES)
    memcpy(p, &bytes, LANES);
  else
    memcpy(p, &bytes, (size_t)n);
}
static inline vi words_of_row(const int8_t *p, int64_t n) {
  if (n >= 16)
    return (vi)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
  int8_t bytes[16] = {0};
  memcpy(bytes, p, (size_t)n);
  return (vi)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

#include "backends/cpu/kernels.inc"

const struct ffb_cpu_kernels *ffb_cpu_kernels_avx2(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels : NULL;
}

#else

#include "backends/cpu/kernels.h"

#include <stddef.h>

const struct ffb_cpu_kernels *ffb_cpu_kernels_avx2(void) {
  return NULL;
}

#endif
