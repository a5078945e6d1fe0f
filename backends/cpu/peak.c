#include "backends/cpu/peak.h"
#include "backends/cpu/device.h"

enum { RUNS = 41, ROUNDS = 100000 };

/* Every thread takes its own best, so that a moment's disturbance of one does not count against all. */
static double peak(int threads, bool integer) {
  const struct ffb_cpu_kernels *kernels = ffb_cpu_kernels_here();
  double operations = 2.0 * ROUNDS * FFB_CPU_PEAK_SUMS * kernels->lanes * (integer ? kernels->group : 1), total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    for (int run = 0; run < RUNS; run++) {
#pragma omp barrier
      double start = omp_get_wtime();
      kernels->peak(ROUNDS, integer);
      double speed = operations / (omp_get_wtime() - start);
      total = speed > total ? speed : total;
    }
  }
  return total;
}

double ffb_cpu_peak_f32(int threads) {
  return peak(threads, false);
}

double ffb_cpu_peak_s8(int threads) {
  return peak(threads, true);
}
