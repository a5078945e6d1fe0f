/* What stands in for cuBLASLt and for the device's own memory. */
#ifndef FFB_TESTS_CUDA_LIBRARIES_H
#define FFB_TESTS_CUDA_LIBRARIES_H

void emulated_libraries_close(void);

#endif
