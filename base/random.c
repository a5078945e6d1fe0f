#include "base/random.h"

void ffb_random_permutation(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t *order, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    order[i] = i;
  for (uint32_t i = count; i > 1; i--) {
    uint32_t j = ffb_random_below(seed, purpose, step, i, i), keep = order[i - 1];
    order[i - 1] = order[j];
    order[j] = keep;
  }
}
