#include "backends/cpu/peak.h"
#include "backends/cpu/device.h"

enum { RUNS = 7, ROUNDS = 200000 };

static double peak(int threads, bool integer) {
  const struct ffb_cpu_kernels *kernels = ffb_cpu_kernels_here();
  double best = 0, operations = 2.0 * ROUNDS * FFB_CPU_PEAK_SUMS * kernels->lanes * (integer ? kernels->group : 1);
  for (int run = 0; run < RUNS; run++) {
    double start = omp_get_wtime();
    int working = 0;
#pragma omp parallel num_threads(threads) reduction(+ : working)
    {
      kernels->peak(ROUNDS, integer);
      working = 1;
    }
    double speed = working * operations / (omp_get_wtime() - start);
    best = speed > best ? speed : best;
  }
  return best;
}

double ffb_cpu_peak_f32(int threads) {
  return peak(threads, false);
}

double ffb_cpu_peak_s8(int threads) {
  return peak(threads, true);
}
