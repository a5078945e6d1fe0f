/* How fast this machine's memory is: a[i] = b[i] + s * c[i] over arrays that no cache holds, on `threads` threads.
 * Bytes read and written per second, the best of a few runs; 0 where there is no room for the arrays. */
#ifndef FFBENCH_BACKENDS_CPU_BANDWIDTH_H
#define FFBENCH_BACKENDS_CPU_BANDWIDTH_H

double ffb_cpu_bandwidth(int threads);

#endif
