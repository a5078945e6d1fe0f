/* Host allocation that reports failure as an error, and that a test can make fail at the n-th call. */
#ifndef FFBENCH_BASE_MEMORY_H
#define FFBENCH_BASE_MEMORY_H

#include "base/error.h"

#include <stddef.h>

/* Zeroed memory for count items of size bytes; null with an error when it cannot be had. Freed by ffb_free. */
void *ffb_allocate(size_t count, size_t size, struct ffb_error *error);
/* Grow or shrink; the old block stays valid when this fails. */
void *ffb_reallocate(void *pointer, size_t count, size_t size, struct ffb_error *error);
char *ffb_copy_string(const char *text, struct ffb_error *error);
void ffb_free(void *pointer);

/* Tests: the n-th allocation from now (1 = the next) fails; 0 turns it off. */
void ffb_fail_allocation(unsigned long n);

#endif
