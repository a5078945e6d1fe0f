/* The calls of CUDA's runtime, of cuBLASLt and of cuDNN that the backend's host side makes, answered on the processor:
 * device memory is the host's, products and convolutions are plain loops over what the library was told. A stream does
 * what it is asked at once, or puts it off until somebody waits for it. Built against the toolkit's own headers. Any
 * call can be made to fail. */
#ifndef FFB_TESTS_CUDA_HOSTED_FAKE_RUNTIME_H
#define FFB_TESTS_CUDA_HOSTED_FAKE_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

struct fake_cuda {
  long fail_in; /* the n-th call from now that can fail does; 0: none */
  long alive;   /* streams, events, blocks of memory, handles and descriptions */
  long calls;
  long allocations;               /* of the device's memory and of pinned memory, ever */
  int no_driver, no_gpu, old_gpu; /* 1: so it is */
  int put_off;                    /* bit n: a device's n-th stream does nothing before it is waited for */
  /* What the libraries were asked for: products and convolutions of FP32 with TF32 and without; and whether cuDNN
   * refuses what it forecast. */
  long tf32_products, f32_products, tf32_convolutions, f32_convolutions;
  int refuse_convolutions;
};
extern struct fake_cuda fake_cuda;

/* Counts a call; whether it has to fail. */
bool fake_cuda_fails(void);

/* Between cudaStreamBeginCapture and cudaStreamEndCapture, or where the stream of kernels puts things off: keeps a copy
 * of a node and says true. In a capture, and then only, waiting, copying and allocating are errors that spoil it. */
bool fake_cuda_record(void (*run)(const void *node), const void *node, size_t bytes);

#endif
