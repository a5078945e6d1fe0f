/* A checkpoint of the plan of fuzz_plan, with a small identity and trainer. The first byte says whether the input is
 * the whole file (even), or its header and zeros, as fuzz_lengthen has it, to which magic, length and a right checksum
 * are added (odd). What can be loaded is used as a resumed run uses it, and can be saved and loaded again. */
#include "tests/fuzz/fuzz.h"

#include "base/sha256.h"
#include "harness/checkpoint.h"
#include "harness/energy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_BYTES = 16, TRAINER_BYTES = 4 };

static size_t save(const struct ffb_trainer_state *state, void *to) {
  (void)state;
  if (to)
    memcpy(to, "abcd", TRAINER_BYTES);
  return TRAINER_BYTES;
}

/* Reads all that it is offered: a trainer may have bytes of any number. */
static bool load(struct ffb_trainer_state *state, const void *from, size_t bytes, struct ffb_error *error) {
  const uint8_t *at = from;
  unsigned sum = 0;
  (void)state, (void)error;
  for (size_t i = 0; i < bytes; i++)
    sum += at[i];
  return sum > 0 || bytes == 0 || at[0] == 0;
}

static const struct ffb_trainer trainer = {.name = "fuzz", .save = save, .load = load};

static const char *frame(const uint8_t *data, size_t size) {
  size_t length, header = size - 2;
  uint8_t *content = fuzz_lengthen(data, size, &length);
  if (!content)
    return NULL;
  size_t bytes = START_BYTES + length;
  uint8_t *file = malloc(bytes + FFB_SHA256_BYTES);
  MUST(file);
  memcpy(file, "ffbckpt1", 8);
  for (int i = 0; i < 8; i++)
    file[8 + i] = (uint8_t)((uint64_t)header >> 8 * i);
  memcpy(file + START_BYTES, content, length);
  struct ffb_sha256 hash;
  ffb_sha256_begin(&hash);
  ffb_sha256_add(&hash, file, bytes);
  ffb_sha256_end(&hash, file + bytes);
  const char *path = fuzz_file(file, bytes + FFB_SHA256_BYTES);
  free(file);
  free(content);
  return path;
}

/* What the run does with it. */
static void use(struct ledger *ledger) {
  struct meter_times times;
  struct ffb_error error;
  struct meter_result nothing = {.measured = false};
  char text[256];
  fuzz_said_why(ledger_step_times(ledger, &times, &error), &error);
  if (ledger->diverged)
    ledger_divergence(ledger->diverged, text, sizeof text);
  json_t *now = energy_json(&nothing), *sum = energy_add(ledger->energy, now);
  json_t *epoch = energy_of_epoch(sum, ledger->epochs);
  json_decref(epoch);
  json_decref(sum);
  json_decref(now);
  ledger->resumes++;
}

static void load_again(const json_t *identity, struct assembly *assembly, struct ledger *ledger) {
  char path[PATH_MAX];
  struct ledger other;
  struct ffb_error error;
  snprintf(path, sizeof path, "%s/saved.checkpoint", fuzz_folder());
  MUST(ledger_begin(&other, &error));
  MUST(checkpoint_save(path, identity, assembly, ledger, "", &error));
  if (!checkpoint_load(path, identity, assembly, &other, "", &error)) {
    fprintf(stderr, "%s\n", error.message);
    MUST(!"a checkpoint that was saved cannot be loaded");
  }
  json_t *a = ledger_json(ledger), *b = ledger_json(&other);
  MUST(a && json_equal(a, b) && ledger->steps == other.steps);
  json_decref(a);
  json_decref(b);
  ledger_end(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static json_t *identity;
  struct assembly assembly = {.plan = fuzz_plan(), .parts.trainer = &trainer};
  struct ledger ledger;
  struct ffb_error error;
  uint8_t before[FUZZ_PLAN_BYTES], after[FUZZ_PLAN_BYTES];
  if (!identity)
    identity = json_pack("{s:i, s:s, s:{s:f, s:s}}", "epochs", 2, "dataset_sha256", "abc", "options", "rate", 0.5,
                         "optimiser", "sgd");
  const char *path = size < 1 ? NULL : data[0] % 2 ? frame(data + 1, size - 1) : fuzz_file(data + 1, size - 1);
  if (!path)
    return 0;
  MUST(ledger_begin(&ledger, &error));
  fuzz_plan_fill(before);
  if (fuzz_said_why(checkpoint_load(path, identity, &assembly, &ledger, "", &error), &error)) {
    use(&ledger);
    load_again(identity, &assembly, &ledger);
  } else {
    fuzz_plan_read(after);
    MUST(memcmp(before, after, sizeof before) == 0); /* refused before anything is changed */
  }
  ledger_end(&ledger);
  return 0;
}
