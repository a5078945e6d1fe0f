#if defined(__x86_64__) && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) &&                   \
    defined(__AVX512VL__) && defined(__AVX512VNNI__)

#include <immintrin.h>

#define LANES     16
#define TILE_ROWS 12
#define GROUP     4
#define OFFSET    0x80808080u
#define ISA_NAME  "avx512"
#define ISA_DOT   "vpdpbusd on bytes offset by 128"

#include "backends/cpu/vectors.h"

static inline vf multiply_add(vf sum, vf a, vf b) {
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
}
static inline vi dot(vi sum, vi unsigned_bytes, vi signed_bytes) {
  return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)unsigned_bytes, (__m512i)signed_bytes);
}
static inline vi larger(vi a, vi b) {
  return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b);
}
static inline vi absolute_word(vi v) {
  return (vi)_mm512_abs_epi32((__m512i)v);
}
static inline vf minimum(vf a, vf b) {
  return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
static inline vf maximum(vf a, vf b) {
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
static inline vf square_root(vf v) {
  return (vf)_mm512_sqrt_ps((__m512)v);
}
static inline vi nearest(vf v) {
  return (vi)_mm512_cvtps_epi32((__m512)v);
}
static inline vi whole_below(vf v) {
  return (vi)_mm512_cvt_roundps_epi32((__m512)v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
static inline vq multiply_low_words(vq a, vq b) {
  return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}
static inline vi deal_low(vq a, vq b) {
  return (vi)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b);
}
static inline vi deal_high(vq a, vq b) {
  return (vi)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
}
static inline vu halves_low(vu words) {
  return (vu)_mm512_cvtepu16_epi32(_mm512_castsi512_si256((__m512i)words));
}
static inline vu halves_high(vu words) {
  return (vu)_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64((__m512i)words, 1));
}
static inline vf load_part(const float *p, int n) {
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void store_part(float *p, vf v, int n) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
static inline vi load_bytes(const int8_t *p, int64_t n) {
  __mmask16 mask = n >= LANES ? 0xFFFF : (__mmask16)((1u << n) - 1);
  return (vi)_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, p));
}
static inline void store_bytes(int8_t *p, vi v, int64_t n) {
  __mmask16 mask = n >= LANES ? 0xFFFF : (__mmask16)((1u << n) - 1);
  _mm_mask_storeu_epi8(p, mask, _mm512_cvtepi32_epi8((__m512i)v));
}
static inline vi words_of_row(const int8_t *p, int64_t n) {
  if (n >= 64)
    return (vi)_mm512_loadu_si512(p);
  return (vi)_mm512_maskz_loadu_epi8(((__mmask64)1 << n) - 1, p);
}

/* Columns of four rows as words, 64 at a time. */
#define INTERLEAVED_PANELS 2
static inline void interleave(const int8_t *x, int64_t stride, vi words[INTERLEAVED_PANELS][2]) {
  __m512i row0 = _mm512_loadu_si512(x), row1 = _mm512_loadu_si512(x + stride);
  __m512i row2 = _mm512_loadu_si512(x + 2 * stride), row3 = _mm512_loadu_si512(x + 3 * stride);
  __m512i low01 = _mm512_unpacklo_epi8(row0, row1), high01 = _mm512_unpackhi_epi8(row0, row1);
  __m512i low23 = _mm512_unpacklo_epi8(row2, row3), high23 = _mm512_unpackhi_epi8(row2, row3);
  /* Columns 0-3, 4-7, 8-11 and 12-15 of each quarter of 16. */
  __m512i a = _mm512_unpacklo_epi16(low01, low23), b = _mm512_unpackhi_epi16(low01, low23);
  __m512i c = _mm512_unpacklo_epi16(high01, high23), d = _mm512_unpackhi_epi16(high01, high23);
  __m512i ab01 = _mm512_shuffle_i32x4(a, b, 0x44), ab23 = _mm512_shuffle_i32x4(a, b, 0xEE);
  __m512i cd01 = _mm512_shuffle_i32x4(c, d, 0x44), cd23 = _mm512_shuffle_i32x4(c, d, 0xEE);
  words[0][0] = (vi)_mm512_shuffle_i32x4(ab01, cd01, 0x88);
  words[0][1] = (vi)_mm512_shuffle_i32x4(ab01, cd01, 0xDD);
  words[1][0] = (vi)_mm512_shuffle_i32x4(ab23, cd23, 0x88);
  words[1][1] = (vi)_mm512_shuffle_i32x4(ab23, cd23, 0xDD);
}

#include "backends/cpu/kernels.inc"

const struct ffb_cpu_kernels *ffb_cpu_kernels_avx512(void) {
  __builtin_cpu_init();
  bool here = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
  return here ? &kernels : NULL;
}

#else

#include "backends/cpu/kernels.h"

#include <stddef.h>

const struct ffb_cpu_kernels *ffb_cpu_kernels_avx512(void) {
  return NULL;
}

#endif
