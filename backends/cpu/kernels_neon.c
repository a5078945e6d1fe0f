#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include <arm_neon.h>
#include <sys/auxv.h>

#define LANES     4
#define TILE_ROWS 12
#define GROUP     4
#define OFFSET    0u
#define ISA_NAME  "neon"
#define ISA_DOT   "sdot on signed bytes"

#include "backends/cpu/vectors.h"

static inline vf multiply_add(vf sum, vf a, vf b) {
  return (vf)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
}
static inline vi dot(vi sum, vi a, vi b) {
  return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b);
}
static inline vi larger(vi a, vi b) {
  return (vi)vmaxq_s32((int32x4_t)a, (int32x4_t)b);
}
static inline vi absolute_word(vi v) {
  return (vi)vabsq_s32((int32x4_t)v);
}
/* Not fmin and fmax: of 0 and -0 they give another one than the other instruction sets, which give b. */
static inline vf minimum(vf a, vf b) {
  return (vf)vbslq_f32(vcltq_f32((float32x4_t)a, (float32x4_t)b), (float32x4_t)a, (float32x4_t)b);
}
static inline vf maximum(vf a, vf b) {
  return (vf)vbslq_f32(vcgtq_f32((float32x4_t)a, (float32x4_t)b), (float32x4_t)a, (float32x4_t)b);
}
static inline vf square_root(vf v) {
  return (vf)vsqrtq_f32((float32x4_t)v);
}
static inline vi nearest(vf v) {
  return (vi)vcvtnq_s32_f32((float32x4_t)v);
}
static inline vi whole_below(vf v) {
  return (vi)vcvtmq_s32_f32((float32x4_t)v);
}
static inline vq multiply_low_words(vq a, vq b) {
  return (vq)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}
static inline vi deal_low(vq a, vq b) {
  return (vi)vtrn1q_u64((uint64x2_t)a, (uint64x2_t)b);
}
static inline vi deal_high(vq a, vq b) {
  return (vi)vtrn2q_u64((uint64x2_t)a, (uint64x2_t)b);
}
static inline vu halves_low(vu words) {
  return (vu)vmovl_u16(vget_low_u16((uint16x8_t)words));
}
static inline vu halves_high(vu words) {
  return (vu)vmovl_u16(vget_high_u16((uint16x8_t)words));
}
static inline vf load_part(const float *p, int n) {
  vf v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
}
static inline void store_part(float *p, vf v, int n) {
  memcpy(p, &v, (size_t)n * sizeof *p);
}
static inline vi load_bytes(const int8_t *p, int64_t n) {
  int8_t bytes[8] = {0};
  if (n >= LANES)
    memcpy(bytes, p, LANES);
  else
    memcpy(bytes, p, (size_t)n);
  return (vi)vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(bytes))));
}
static inline void store_bytes(int8_t *p, vi v, int64_t n) {
  int16x4_t half = vmovn_s32((int32x4_t)v);
  int8_t bytes[8];
  vst1_s8(bytes, vmovn_s16(vcombine_s16(half, half)));
  if (n >= LANES)
    memcpy(p, bytes, LANES);
  else
    memcpy(p, bytes, (size_t)n);
}
static inline vi words_of_row(const int8_t *p, int64_t n) {
  if (n >= 16)
    return (vi)vld1q_s8(p);
  int8_t bytes[16] = {0};
  memcpy(bytes, p, (size_t)n);
  return (vi)vld1q_s8(bytes);
}

#include "backends/cpu/kernels.inc"

const struct ffb_cpu_kernels *ffb_cpu_kernels_neon(void) {
  const unsigned long asimddp = 1ul << 20; /* HWCAP_ASIMDDP */
  return getauxval(AT_HWCAP) & asimddp ? &kernels : NULL;
}

#else

#include "backends/cpu/kernels.h"

#include <stddef.h>

const struct ffb_cpu_kernels *ffb_cpu_kernels_neon(void) {
  return NULL;
}

#endif
