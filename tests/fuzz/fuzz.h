/* What the libFuzzer targets share. A target hands its input to a reader as a file, and ends the process where the
 * reader crashes, lets through what it promises to refuse, or refuses without saying why in one line. */
#ifndef FFB_TESTS_FUZZ_H
#define FFB_TESTS_FUZZ_H

#include "base/error.h"
#include "nn/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert it is always there. */
#define MUST(condition)                                                                                                \
  do {                                                                                                                 \
    if (!(condition))                                                                                                  \
      fuzz_stop(__FILE__, __LINE__, #condition);                                                                       \
  } while (0)
_Noreturn void fuzz_stop(const char *file, int line, const char *what);

/* A failure has said why, in one line that a terminal shows as it is. Returns ok. */
bool fuzz_said_why(bool ok, const struct ffb_error *error);

/* Whether the error says so by itself: libFuzzer finds the words that are compared with, and puts them into an input,
 * which a message may cite. */
bool fuzz_says(const struct ffb_error *error, const char *words, const uint8_t *data, size_t size);

/* An ordinary file in memory with that content; its path, until the next call. */
const char *fuzz_file(const void *data, size_t size);
/* A folder of this process's own, removed with its files at exit; and a file in it, whose path is returned. */
const char *fuzz_folder(void);
const char *fuzz_write(const char *name, const void *data, size_t size);

/* Inputs are short, files are long: an input that opens with two bytes n, big-endian, followed by the rest and n zeros.
 * Null, without a file, where it is shorter than that. Freed by free. */
uint8_t *fuzz_lengthen(const uint8_t *data, size_t size, size_t *length);

/* A finished plan of small tensors on the reference backend: kernels in the order of convolutions, a matrix, a vector,
 * weights in INT8, and a momentum, which is no weight. Made once. */
struct ffb_plan *fuzz_plan(void);
/* The content of all its persistent tensors, in order. It is filled with what no input gives, so that a change shows.
 */
enum { FUZZ_PLAN_BYTES = (2 * 3 * 3 * 2 + 3 * 5 + 3) * 4 + 8 + 3 * 4 };
void fuzz_plan_fill(uint8_t content[FUZZ_PLAN_BYTES]);
void fuzz_plan_read(uint8_t content[FUZZ_PLAN_BYTES]);

#endif
