/* Vector types for kernels.inc, from LANES. GCC's vector extension does the arithmetic; only what it has no operator
 * for is written for each instruction set. */
#ifndef FFBENCH_BACKENDS_CPU_VECTORS_H
#define FFBENCH_BACKENDS_CPU_VECTORS_H

#include "backends/cpu/kernels.h"
#include "backends/reduce.h"

#include <stdint.h>
#include <string.h>

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint64_t vq __attribute__((vector_size(4 * LANES)));
typedef double vd __attribute__((vector_size(8 * LANES)));
typedef float vf_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
/* A word of any kind, anywhere. */
typedef int32_t any_word __attribute__((may_alias, aligned(1)));
typedef int32_t vi_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

#if defined(__aarch64__)
#define OPAQUE(v) __asm__ volatile("" : "+w"(v))
#elif defined(__SSE2__)
#define OPAQUE(v) __asm__ volatile("" : "+v"(v))
#else
#define OPAQUE(v) __asm__ volatile("" : "+m"(v))
#endif

/* Forgets what is known of a pointer: what it points to is loaded where it is used, instead of being kept in a register
 * that a sum needs. */
#define RELOAD(pointer) __asm__ volatile("" : "+r"(pointer))

static inline vf splat_f(float value) {
  return value - (vf){0};
}
static inline vi splat_i(int32_t value) {
  return value - (vi){0};
}
static inline vq splat_q(uint64_t value) {
  return value - (vq){0};
}

/* Counters of random blocks: even lanes count one run of blocks, odd lanes another. */
static inline vq block_numbers(uint64_t even, uint64_t odd) {
  vq number = {0}, others = {0};
  for (int lane = 0; lane < LANES / 2; lane++) {
    number[lane] = (uint64_t)(lane / 2);
    others[lane] = lane % 2 ? ~UINT64_C(0) : 0;
  }
  return number + even + (others & splat_q(odd - even));
}

#endif
