#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong calls_until_failure;

static bool must_fail(void) {
  unsigned long left = atomic_load(&calls_until_failure);
  while (left) {
    if (atomic_compare_exchange_weak(&calls_until_failure, &left, left - 1))
      return left == 1;
  }
  return false;
}

void ffb_fail_allocation(unsigned long n) {
  atomic_store(&calls_until_failure, n);
}

void *ffb_allocate(size_t count, size_t size, struct ffb_error *error) {
  bool overflow = size && count > SIZE_MAX / size; /* asked here: a sanitizer aborts where calloc finds out */
  void *pointer = overflow || must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
  if (!pointer)
    ffb_fail(error, "out of memory asking for %zu x %zu bytes: lower --batch or close other programs", count, size);
  return pointer;
}

void *ffb_reallocate(void *pointer, size_t count, size_t size, struct ffb_error *error) {
  bool overflow = size && count > SIZE_MAX / size;
  void *grown = overflow || must_fail() ? NULL : realloc(pointer, count && size ? count * size : 1);
  if (!grown)
    ffb_fail(error, "out of memory asking for %zu x %zu bytes: lower --batch or close other programs", count, size);
  return grown;
}

char *ffb_copy_string(const char *text, struct ffb_error *error) {
  size_t length = strlen(text) + 1;
  char *copy = ffb_allocate(length, 1, error);
  if (copy)
    memcpy(copy, text, length);
  return copy;
}

void ffb_free(void *pointer) {
  free(pointer);
}
