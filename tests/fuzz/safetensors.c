/* A weight file for the plan of fuzz_plan. The first byte says whether the input is the whole file (even), or its
 * header, whose length is put in front, and zeros, as fuzz_lengthen has it (odd). What can be loaded can be saved and
 * loaded again, to the same bytes. */
#include "tests/fuzz/fuzz.h"

#include "nn/safetensors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8 };

static const char *frame(const uint8_t *data, size_t size) {
  size_t length, header = size - 2; /* of it, before the zeros */
  uint8_t *content = fuzz_lengthen(data, size, &length);
  if (!content)
    return NULL;
  uint8_t *file = malloc(LENGTH_BYTES + length);
  MUST(file);
  for (int i = 0; i < LENGTH_BYTES; i++)
    file[i] = (uint8_t)((uint64_t)header >> 8 * i);
  memcpy(file + LENGTH_BYTES, content, length);
  const char *path = fuzz_file(file, LENGTH_BYTES + length);
  free(file);
  free(content);
  return path;
}

static void load_again(struct ffb_plan *plan) {
  uint8_t before[FUZZ_PLAN_BYTES], after[FUZZ_PLAN_BYTES];
  char path[PATH_MAX];
  struct ffb_error error;
  snprintf(path, sizeof path, "%s/saved.safetensors", fuzz_folder());
  fuzz_plan_read(before);
  MUST(ffb_weights_save(path, plan, &error) && ffb_weights_load(path, plan, &error));
  fuzz_plan_read(after);
  MUST(memcmp(before, after, sizeof before) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ffb_plan *plan = fuzz_plan();
  struct ffb_error error;
  uint8_t before[FUZZ_PLAN_BYTES], after[FUZZ_PLAN_BYTES];
  if (size < 1)
    return 0;
  const char *path = data[0] % 2 ? frame(data + 1, size - 1) : fuzz_file(data + 1, size - 1);
  if (!path)
    return 0;
  fuzz_plan_fill(before);
  if (fuzz_said_why(ffb_weights_load(path, plan, &error), &error)) {
    load_again(plan);
    return 0;
  }
  fuzz_plan_read(after);
  /* Only INT8 values that no quantiser makes are found late, after tensors in front of them. */
  MUST(memcmp(before, after, sizeof before) == 0 || strstr(error.message, "-128"));
  return 0;
}
