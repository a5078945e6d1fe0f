/* What this machine can do at most: multiply-accumulates from registers only, two operations each, on `threads` threads
 * with the kernels' own instructions. Operations per second, the best of a few short runs. */
#ifndef FFBENCH_BACKENDS_CPU_PEAK_H
#define FFBENCH_BACKENDS_CPU_PEAK_H

double ffb_cpu_peak_f32(int threads);
double ffb_cpu_peak_s8(int threads);

#endif
