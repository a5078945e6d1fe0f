#include "backends/cpu/bandwidth.h"

#include "base/memory.h"

#include <omp.h>
#include <stddef.h>

enum { ELEMENTS = 1 << 24, ARRAYS = 3, RUNS = 7 };

/* The same thread touches the same part in every run, the first one included. */
static double triad(float *a, const float *b, const float *c, int threads) {
  double start = omp_get_wtime();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (size_t i = 0; i < ELEMENTS; i++)
    a[i] = b[i] + 3.0f * c[i];
  return (double)ARRAYS * ELEMENTS * sizeof *a / (omp_get_wtime() - start);
}

static void fill(float *a, float *b, float *c, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (size_t i = 0; i < ELEMENTS; i++) {
    a[i] = 0;
    b[i] = 1;
    c[i] = 2;
  }
}

double ffb_cpu_bandwidth(int threads) {
  float *all = ffb_allocate((size_t)ARRAYS * ELEMENTS, sizeof *all, NULL);
  double best = 0;
  if (all)
    fill(all, all + ELEMENTS, all + (size_t)2 * ELEMENTS, threads);
  for (int run = 0; all && run < RUNS; run++) {
    double speed = triad(all, all + ELEMENTS, all + (size_t)2 * ELEMENTS, threads);
    best = speed > best ? speed : best;
  }
  ffb_free(all);
  return best;
}
