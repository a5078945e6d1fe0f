#include "base/memory.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong calls_until_failure, refused;
static atomic_bool lasting;

static bool must_fail(void) {
  unsigned long left = atomic_load(&calls_until_failure);
  while (left) {
    bool now = left == 1;
    if ((now && atomic_load(&lasting)) || atomic_compare_exchange_weak(&calls_until_failure, &left, left - 1))
      return now;
  }
  return false;
}

unsigned long ffb_fail_allocation(unsigned long n) {
  atomic_store(&lasting, false);
  return atomic_exchange(&calls_until_failure, n);
}

unsigned long ffb_fail_allocations(unsigned long n) {
  atomic_store(&lasting, true);
  return atomic_exchange(&calls_until_failure, n);
}

unsigned long ffb_refused_allocations(void) {
  return atomic_load(&refused);
}

static void *counted(void *pointer) {
  if (!pointer)
    atomic_fetch_add(&refused, 1);
  return pointer;
}

static void *allocate_for_jansson(size_t bytes) {
  return counted(must_fail() ? NULL : malloc(bytes));
}

/* Before main, because jansson's values must not be older than its allocator. */
__attribute__((constructor)) static void serve_jansson(void) {
  json_set_alloc_funcs(allocate_for_jansson, free);
}

void *ffb_allocate(size_t count, size_t size, struct ffb_error *error) {
  bool overflow = size && count > SIZE_MAX / size; /* asked here: a sanitizer aborts where calloc finds out */
  void *pointer = counted(overflow || must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1));
  if (!pointer)
    ffb_fail(error, "out of memory asking for %zu x %zu bytes: lower --batch or close other programs", count, size);
  return pointer;
}

void *ffb_reallocate(void *pointer, size_t count, size_t size, struct ffb_error *error) {
  bool overflow = size && count > SIZE_MAX / size;
  void *grown = counted(overflow || must_fail() ? NULL : realloc(pointer, count && size ? count * size : 1));
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
