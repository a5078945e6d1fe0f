/* Marks the small functions that a GPU's code shares with the host's. */
#ifndef FFBENCH_BASE_QUALIFIER_H
#define FFBENCH_BASE_QUALIFIER_H

#ifdef __CUDACC__
#define FFB_DEVICE __host__ __device__
#else
#define FFB_DEVICE
#endif

#endif
