/* Host allocation that reports failure as an error, and that a test can make fail at the n-th call. jansson allocates
 * through the same door. */
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

/* How many allocations were refused so far. jansson tells of want of memory by a null or a -1 in the midst of a large
 * value, where nobody can hand it on: whoever builds one compares this number before and after. */
unsigned long ffb_refused_allocations(void);

/* Tests: the n-th allocation from now (1 = the next) fails; 0 turns it off. Returns the calls that were left of what
 * was set before. */
unsigned long ffb_fail_allocation(unsigned long n);
/* The n-th and all that follow. */
unsigned long ffb_fail_allocations(unsigned long n);

#endif
