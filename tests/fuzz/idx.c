/* MNIST from four IDX files, one of which is the input: a byte that says which, then as fuzz_lengthen has it. */
#include "tests/fuzz/fuzz.h"

#include "datasets/dataset.h"

#include <stdlib.h>

enum { RECORDS = 10, PIXELS = 784, FILES = 4 };

static const char *const names[FILES] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                         "t10k-labels-idx1-ubyte"};

static void write_good(int file) {
  static uint8_t images[16 + RECORDS * PIXELS] = {0, 0, 8, 3, 0, 0, 0, RECORDS, 0, 0, 0, 28, 0, 0, 0, 28};
  static uint8_t labels[8 + RECORDS] = {0, 0, 8, 1, 0, 0, 0, RECORDS};
  if (file % 2 == 0)
    fuzz_write(names[file], images, sizeof images);
  else
    fuzz_write(names[file], labels, sizeof labels);
}

static void check_part(const struct ffb_dataset *part) {
  MUST(part->count >= FFB_DATASET_SMALLEST && part->count <= FFB_DATASET_LARGEST);
  unsigned sum = 0;
  for (int64_t i = 0; i < part->count; i++)
    MUST(part->labels[i] < 10);
  for (int64_t i = 0; i < part->count * PIXELS; i++) /* every one of them is there */
    sum += part->images[i];
  MUST(sum <= 255u * (unsigned)part->count * PIXELS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bool ready;
  for (int i = 0; !ready && i < FILES; i++)
    write_good(i);
  ready = true;
  size_t length;
  uint8_t *content = size > 0 ? fuzz_lengthen(data + 1, size - 1, &length) : NULL;
  if (!content)
    return 0;
  int file = data[0] % FILES;
  fuzz_write(names[file], content, length);
  struct ffb_dataset_pair pair;
  struct ffb_dataset_request request = {.name = "mnist", .directory = fuzz_folder()};
  struct ffb_error error;
  if (fuzz_said_why(ffb_dataset_load(&pair, &request, &error), &error)) {
    struct ffb_dataset_split split;
    check_part(&pair.train);
    check_part(&pair.test);
    MUST(ffb_dataset_split(&split, &pair, 1, 0, 0, &error) && split.train_count > 0 && split.validation_count > 0);
    ffb_dataset_split_free(&split);
    ffb_dataset_free(&pair);
  }
  write_good(file);
  free(content);
  return 0;
}
