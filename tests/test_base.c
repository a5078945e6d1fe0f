/* base/: errors, allocation, random numbers, SHA-256. */
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/sha256.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void error_is_recorded_and_prefixed(void **state) {
  (void)state;
  struct ffb_error error = {0};
  assert_false(ffb_fail(&error, "%s is empty", "train.idx"));
  assert_int_equal(error.kind, FFB_ERROR_FAILURE);
  assert_string_equal(error.message, "train.idx is empty");
  assert_false(ffb_fail_usage(&error, "no such file"));
  assert_false(ffb_fail_prefix(&error, "%s:%d: ", "table5.lua", 7));
  assert_int_equal(error.kind, FFB_ERROR_USAGE);
  assert_string_equal(error.message, "table5.lua:7: no such file");
}

/* Names and texts from files go into messages as they are. */
static void error_is_one_printable_line(void **state) {
  (void)state;
  struct ffb_error error = {0};
  assert_false(ffb_fail(&error, "%s", "a\nb\r\tc\033[2J\177 \303\251"));
  assert_string_equal(error.message, "a b  c?[2J? \303\251");
  assert_false(ffb_fail_prefix(&error, "%s: ", "x\ny\a"));
  assert_string_equal(error.message, "x y?: a b  c?[2J? \303\251");
}

static void error_may_be_null(void **state) {
  (void)state;
  assert_false(ffb_fail(NULL, "lost"));
  assert_false(ffb_fail_usage(NULL, "lost"));
  assert_false(ffb_fail_prefix(NULL, "lost"));
}

static void error_is_cut_to_its_length(void **state) {
  (void)state;
  struct ffb_error error = {0};
  char text[sizeof error.message];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  ffb_fail(&error, "%s%s", text, text);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  ffb_fail_prefix(&error, "in front: ");
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  assert_memory_equal(error.message, "in front: xxx", 13);
}

static void allocation_is_zeroed_and_grows(void **state) {
  (void)state;
  struct ffb_error error = {0};
  unsigned char *bytes = ffb_allocate(100, 3, &error);
  assert_non_null(bytes);
  for (int i = 0; i < 300; i++)
    assert_int_equal(bytes[i], 0);
  bytes[299] = 42;
  unsigned char *grown = ffb_reallocate(bytes, 1000, 3, &error);
  assert_non_null(grown);
  assert_int_equal(grown[299], 42);
  ffb_free(grown);
  char *copy = ffb_copy_string("goodness", &error);
  assert_string_equal(copy, "goodness");
  ffb_free(copy);
  assert_int_equal(error.kind, FFB_ERROR_NONE);
}

static void chosen_allocation_fails(void **state) {
  (void)state;
  struct ffb_error error = {0};
  ffb_fail_allocation(2);
  void *first = ffb_allocate(1, 1, &error);
  void *second = ffb_allocate(7, 1, &error);
  void *third = ffb_allocate(1, 1, NULL);
  assert_non_null(first);
  assert_null(second);
  assert_non_null(third);
  assert_int_equal(error.kind, FFB_ERROR_FAILURE);
  assert_non_null(strstr(error.message, "out of memory"));
  ffb_fail_allocation(1);
  assert_null(ffb_reallocate(first, 10, 10, &error));
  *(char *)first = 1; /* still ours */
  ffb_fail_allocation(1);
  assert_null(ffb_copy_string("text", &error));
  ffb_fail_allocation(0);
  ffb_free(first);
  ffb_free(third);
}

static void impossible_size_is_refused(void **state) {
  (void)state;
  struct ffb_error error = {0};
  assert_null(ffb_allocate(SIZE_MAX / 2, 3, &error));
  assert_int_equal(error.kind, FFB_ERROR_FAILURE);
  char *block = ffb_allocate(1, 1, NULL);
  assert_null(ffb_reallocate(block, SIZE_MAX / 2, 3, &error));
  ffb_free(block);
}

/* Known answers published with Random123 1.14 (kat_vectors, philox4x32 10). */
static void philox_gives_known_answers(void **state) {
  (void)state;
  static const struct {
    uint64_t block, seed;
    uint32_t purpose, step, words[4];
  } known[] = {
      {0, 0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x85a308d3243f6a88,
       0x299f31d0a4093822,
       0x13198a2e,
       0x03707344,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    uint32_t words[4];
    ffb_philox(known[i].seed, known[i].purpose, known[i].step, known[i].block, words);
    assert_memory_equal(words, known[i].words, sizeof words);
  }
}

static void random_element_is_a_word_of_its_block(void **state) {
  (void)state;
  for (uint64_t index = 0; index < 40; index++) {
    uint32_t words[4];
    ffb_philox(5, 6, 7, index / 4, words);
    assert_int_equal(ffb_random_bits(5, 6, 7, index), words[index % 4]);
    float uniform = ffb_random_uniform(5, 6, 7, index);
    assert_true(uniform == (float)(words[index % 4] >> 8) / 16777216.0f);
  }
}

static void rounding_draw_is_a_half_of_a_word_of_its_block(void **state) {
  (void)state;
  double sum = 0;
  for (uint64_t index = 0; index < 100000; index++) {
    uint32_t words[4];
    ffb_philox(5, 6, 7, index / 8, words);
    uint32_t half = words[index % 8 / 2] >> (index % 2 ? 16 : 0) & 0xFFFF;
    float draw = ffb_random_rounding(5, 6, 7, index);
    assert_true((double)draw == (half + 0.5) / 65536);
    sum += (double)draw;
  }
  assert_true(fabs(sum / 100000 - 0.5) < 4 * sqrt(1.0 / 12 / 100000));
}

static void uniform_covers_the_unit_interval(void **state) {
  (void)state;
  enum { COUNT = 100000 };
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < COUNT; i++) {
    double u = (double)ffb_random_uniform(11, 12, 13, i);
    assert_true(u >= 0 && u < 1);
    sum += u;
    squares += u * u;
  }
  double mean = sum / COUNT, variance = squares / COUNT - mean * mean;
  assert_true(fabs(mean - 0.5) < 4 * sqrt(1.0 / 12 / COUNT));
  assert_true(fabs(variance - 1.0 / 12) < 0.001);
}

static void bounded_numbers_are_uniform(void **state) {
  (void)state;
  enum { BOUND = 9, COUNT = 90000 };
  double seen[BOUND] = {0}, chi_square = 0;
  for (uint64_t i = 0; i < COUNT; i++) {
    uint32_t value = ffb_random_below(3, 4, 5, i, BOUND);
    assert_true(value < BOUND);
    seen[value]++;
  }
  for (int i = 0; i < BOUND; i++)
    chi_square += (seen[i] - COUNT / BOUND) * (seen[i] - COUNT / BOUND) / (COUNT / BOUND);
  assert_true(chi_square < 27.9); /* 8 degrees of freedom, 0.05 % */
}

static void permutation_holds_every_number_once(void **state) {
  (void)state;
  enum { MOST = 1000 };
  static const uint32_t counts[] = {0, 1, 2, 3, 10, MOST};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    uint32_t order[MOST], count = counts[c];
    bool seen[MOST] = {false};
    ffb_random_permutation(1, FFB_PURPOSE_SHUFFLE, 2, order, count);
    for (uint32_t i = 0; i < count; i++) {
      assert_true(order[i] < count);
      assert_false(seen[order[i]]);
      seen[order[i]] = true;
    }
  }
}

static void permutation_depends_on_every_key(void **state) {
  (void)state;
  enum { COUNT = 100 };
  uint32_t first[COUNT], same[COUNT], other[COUNT];
  ffb_random_permutation(1, 2, 3, first, COUNT);
  ffb_random_permutation(1, 2, 3, same, COUNT);
  assert_memory_equal(first, same, sizeof first);
  ffb_random_permutation(9, 2, 3, other, COUNT);
  assert_memory_not_equal(first, other, sizeof first);
  ffb_random_permutation(1, 9, 3, other, COUNT);
  assert_memory_not_equal(first, other, sizeof first);
  ffb_random_permutation(1, 2, 9, other, COUNT);
  assert_memory_not_equal(first, other, sizeof first);
}

/* Every order of three elements is as likely as any other. */
static void permutation_is_fair(void **state) {
  (void)state;
  enum { COUNT = 60000 };
  double seen[27] = {0}, chi_square = 0;
  for (uint32_t step = 0; step < COUNT; step++) {
    uint32_t order[3];
    ffb_random_permutation(17, FFB_PURPOSE_SHUFFLE, step, order, 3);
    seen[order[0] * 9 + order[1] * 3 + order[2]]++;
  }
  for (int i = 0; i < 27; i++) {
    if (seen[i] > 0)
      chi_square += (seen[i] - COUNT / 6.0) * (seen[i] - COUNT / 6.0) / (COUNT / 6.0);
  }
  assert_true(chi_square < 22.1); /* 5 degrees of freedom, 0.05 % */
}

static void sha256_gives_known_answers(void **state) {
  (void)state;
  /* FIPS 180-4 examples, and lengths around the padding's edge as sha256sum prints them. */
  static const struct {
    const char *piece;
    int times;
    const char *digest;
  } known[] = {
      {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
      {"x", 55, "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072"},
      {"x", 56, "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e"},
      {"x", 64, "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c"},
      {"x", 119, "000b48d4edf0fa7bee3c6236ecd2785baa5db4eeb8bb54341b029e0d9fa5fb0c"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct ffb_sha256 hash;
    char text[FFB_SHA256_TEXT];
    ffb_sha256_begin(&hash);
    for (int n = 0; n < known[i].times; n++)
      ffb_sha256_add(&hash, known[i].piece, strlen(known[i].piece));
    ffb_sha256_text(&hash, text);
    assert_string_equal(text, known[i].digest);
  }
}

static void sha256_does_not_depend_on_the_pieces(void **state) {
  (void)state;
  uint8_t data[1000], whole[FFB_SHA256_BYTES], pieces[FFB_SHA256_BYTES];
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (uint8_t)(i * 37 + i / 251);
  struct ffb_sha256 hash;
  ffb_sha256_begin(&hash);
  ffb_sha256_add(&hash, data, sizeof data);
  ffb_sha256_end(&hash, whole);
  for (size_t step = 1; step < 200; step += 7) {
    ffb_sha256_begin(&hash);
    for (size_t at = 0; at < sizeof data; at += step)
      ffb_sha256_add(&hash, data + at, at + step < sizeof data ? step : sizeof data - at);
    ffb_sha256_end(&hash, pieces);
    assert_memory_equal(whole, pieces, sizeof whole);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(error_is_recorded_and_prefixed),
      cmocka_unit_test(error_is_one_printable_line),
      cmocka_unit_test(error_may_be_null),
      cmocka_unit_test(error_is_cut_to_its_length),
      cmocka_unit_test(allocation_is_zeroed_and_grows),
      cmocka_unit_test(chosen_allocation_fails),
      cmocka_unit_test(impossible_size_is_refused),
      cmocka_unit_test(philox_gives_known_answers),
      cmocka_unit_test(random_element_is_a_word_of_its_block),
      cmocka_unit_test(rounding_draw_is_a_half_of_a_word_of_its_block),
      cmocka_unit_test(uniform_covers_the_unit_interval),
      cmocka_unit_test(bounded_numbers_are_uniform),
      cmocka_unit_test(permutation_holds_every_number_once),
      cmocka_unit_test(permutation_depends_on_every_key),
      cmocka_unit_test(permutation_is_fair),
      cmocka_unit_test(sha256_gives_known_answers),
      cmocka_unit_test(sha256_does_not_depend_on_the_pieces),
  };
  return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
