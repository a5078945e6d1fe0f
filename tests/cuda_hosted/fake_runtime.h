/* The calls of CUDA's runtime and of cuBLASLt that the backend's host side makes, answered on the processor: device
 * memory is the host's, streams do everything at once, products are plain loops over what the library was told. Built
 * against the toolkit's own headers. Any call can be made to fail. */
#ifndef FFB_TESTS_CUDA_HOSTED_FAKE_RUNTIME_H
#define FFB_TESTS_CUDA_HOSTED_FAKE_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

struct fake_cuda {
  long fail_in; /* the n-th call from now that can fail does; 0: none */
  long alive;   /* streams, events, blocks of memory, handles and descriptions */
  long calls;
  int no_driver, no_gpu, old_gpu; /* 1: so it is */
};
extern struct fake_cuda fake_cuda;

/* Counts a call; whether it has to fail. */
bool fake_cuda_fails(void);

/* Between cudaStreamBeginCapture and cudaStreamEndCapture: keeps a copy of a node and says true. Then, and then only,
 * waiting, copying and allocating are errors that spoil the capture. */
bool fake_cuda_record(void (*run)(const void *node), const void *node, size_t bytes);
bool fake_cuda_is_capturing(void);

#endif
