/* A batch of CIFAR-10: a byte for the number of records that are asked for, then as fuzz_lengthen has it. */
#include "tests/fuzz/fuzz.h"

#include "datasets/files.h"

#include <stdlib.h>

enum { PLANE = 32 * 32, PIXELS = 3 * PLANE, RECORD = 1 + PIXELS, MOST = 4 };

static void check(const uint8_t *file, int64_t records, const uint8_t *images, const uint8_t *labels) {
  for (int64_t i = 0; i < records; i++) {
    MUST(labels[i] < 10 && labels[i] == file[i * RECORD]);
    for (int p = 0; p < PIXELS; p++)
      MUST(images[i * PIXELS + p] == file[i * RECORD + 1 + p % 3 * PLANE + p / 3]);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static uint8_t images[MOST * PIXELS], labels[MOST];
  size_t length;
  uint8_t *content = size > 0 ? fuzz_lengthen(data + 1, size - 1, &length) : NULL;
  if (!content)
    return 0;
  int64_t records = 1 + data[0] % MOST;
  struct ffb_error error;
  bool plain = length < 2 || content[0] != 0x1f || content[1] != 0x8b;
  bool read = ffb_cifar10_read(fuzz_file(content, length), "synthetic_shapes", records, images, labels, &error);
  if (fuzz_said_why(read, &error) && plain) {
    MUST(length == (size_t)records * RECORD);
    check(content, records, images, labels);
  }
  free(content);
  return 0;
}
