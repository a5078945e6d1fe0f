/* A gzip file, the whole input: what is in it is read in pieces to its end, or to what is wrong with it. */
#include "tests/fuzz/fuzz.h"

#include "datasets/files.h"

enum { MOST = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static uint8_t piece[4096];
  struct ffb_data_file file;
  struct ffb_error error;
  uint64_t got = 0;
  size_t ask = 1 + size * 37 % sizeof piece;
  MUST(ffb_data_open(&file, fuzz_file(data, size), "synthetic_digits", &error));
  while (got < MOST && fuzz_said_why(ffb_data_read(&file, piece, ask, &error), &error)) {
    got += ask;
    MUST(got <= file.capacity); /* what allocations are held against */
  }
  fuzz_said_why(ffb_data_finish(&file, &error), &error);
  ffb_data_close(&file);
  return 0;
}
