#include "harness/agreement.h"

#include "harness/value.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 512, PATH_BYTES = 160, PATHS = 7, VALUE_DIGITS = 15 };

struct hearer {
  agreement_visit *visit;
  void *to;
  bool good;
};

static void say(struct hearer *hearer, const char *part, enum agreement agreement, const char *text) {
  if (agreement == AGREEMENT_BROKEN)
    hearer->good = false;
  hearer->visit(hearer->to, part, agreement, text);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* A record may come from anywhere: most of what is not printable becomes a JSON escape. */
static char *value_as_text(const json_t *value) {
  return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(VALUE_DIGITS));
}

/* Keys as they stand, and the delete character, which jansson leaves. */
static void make_printable(char *text) {
  for (; *text; text++)
    if (!isprint((unsigned char)*text))
      *text = '?';
}

static void describe(const char *path, const json_t *there, const json_t *here, char text[TEXT_BYTES]) {
  char *one = value_as_text(there), *other = here ? value_as_text(here) : NULL;
  snprintf(text, TEXT_BYTES, "%s%s%.120s there, %.120s here", path, *path ? ": " : "", one ? one : "?",
           other ? other : "nothing");
  make_printable(text);
  free(one);
  free(other);
}

static bool is_among(const char *name, const char *const *names) {
  for (; names && *names; names++)
    if (strcmp(name, *names) == 0)
      return true;
  return false;
}

static bool same(const json_t *there, const json_t *here, const char *const *ignored, const char *path,
                 char text[TEXT_BYTES]);

static bool same_members(const json_t *there, const json_t *here, const char *const *ignored, const char *path,
                         char text[TEXT_BYTES]) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)there, key, value) {
    char longer[PATH_BYTES];
    if (is_among(key, ignored))
      continue;
    snprintf(longer, sizeof longer, "%s%s%s", path, *path ? "." : "", key);
    if (!same(value, json_object_get(here, key), ignored, longer, text))
      return false;
  }
  return true;
}

static bool same_elements(const json_t *there, const json_t *here, const char *const *ignored, const char *path,
                          char text[TEXT_BYTES]) {
  size_t index;
  json_t *value;
  json_array_foreach(there, index, value) {
    char longer[PATH_BYTES];
    snprintf(longer, sizeof longer, "%s[%zu]", path, index);
    if (!same(value, json_array_get(here, index), ignored, longer, text))
      return false;
  }
  return true;
}

/* Whether everything in `there` is the same in `here`; if not, the text names the first difference. */
static bool same(const json_t *there, const json_t *here, const char *const *ignored, const char *path,
                 char text[TEXT_BYTES]) {
  if (json_is_object(there) && json_is_object(here))
    return same_members(there, here, ignored, path, text);
  if (json_is_array(there) && json_is_array(here) && json_array_size(there) == json_array_size(here))
    return same_elements(there, here, ignored, path, text);
  if (json_equal(there, here))
    return true;
  describe(path, there, here, text);
  return false;
}

/* ---- program and machine ----------------------------------------------------------------------------------------- */

bool agreement_circumstances(const json_t *there, const json_t *here, agreement_visit *visit, void *to) {
  static const struct {
    const char *name, *path;
    bool decides; /* the bits */
  } facts[] = {
      {"commit", "provenance.commit", false},
      {"changes", "provenance.dirty", false},
      {"compiler", "provenance.compiler", true},
      {"flags", "provenance.flags", true},
      {"trainer", "provenance.trainer.sha256", false},
      {"backend object", "provenance.backend_object.sha256", false},
      {"processor", "provenance.machine.processor", false},
      {"instructions", "provenance.machine.instructions", true},
      {"backend", "provenance.backend", true},
      {"threads", "provenance.threads", true},
      {"C library", "provenance.libraries.libc", true},
      {"environment", "provenance.environment", false},
  };
  bool due = true;
  for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
    char text[TEXT_BYTES];
    const json_t *said = value_at(there, facts[i].path);
    if (!said || same(said, value_at(here, facts[i].path), NULL, "", text))
      continue;
    due = due && !facts[i].decides;
    visit(to, facts[i].name, AGREEMENT_OPEN, text);
  }
  return due;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

struct part {
  const char *name;
  const char *paths[PATHS];
  const char *const *ignored; /* names at any depth */
  const char *shown;          /* said where the part agrees; or null */
  bool required;              /* a record without it agrees with nothing */
  bool always;                /* due on any backend and any number of threads */
  bool of_program;            /* how it computes, which another commit may change without changing results */
};

static const char *const places[] = {"data", "plugin", "backend", "threads", "load_weights", NULL};
static const char *const measured[] = {"seconds", "joules", NULL};
static const char *const words[] = {"executed_reason", NULL};

static const struct part parts[] = {
    {.name = "options", .paths = {"config"}, .ignored = places, .required = true, .always = true},
    {.name = "dataset",
     .paths = {"dataset.name", "dataset.sha256", "dataset.train_records", "dataset.validation_records",
               "dataset.test_records"},
     .shown = "dataset.sha256",
     .required = true,
     .always = true},
    {.name = "network",
     .paths = {"model", "loaded_weights.sha256"},
     .shown = "model.parameters",
     .required = true,
     .always = true},
    {.name = "outcome", .paths = {"status"}, .shown = "status", .required = true, .always = true},
    {.name = "weights", .paths = {"weights_sha256"}, .shown = "weights_sha256", .required = true},
    {.name = "accuracy", .paths = {"accuracy.test", "accuracy.validation"}, .shown = "accuracy.test", .required = true},
    {.name = "epochs",
     .paths = {"epochs", "diverged", "time.steps"},
     .ignored = measured,
     .shown = "time.steps",
     .required = true},
    {.name = "gradients", .paths = {"gradients"}, .ignored = measured},
    {.name = "operations", .paths = {"operations"}, .ignored = words, .required = true, .of_program = true},
    {.name = "memory",
     .paths = {"memory.peak_bytes", "memory.peak_bytes_by_tag", "memory.prediction_peak_bytes", "memory.arena_bytes",
               "memory.peak_program", "memory.peak_call"},
     .shown = "memory.peak_bytes",
     .required = true,
     .of_program = true},
};

/* Percentage points that two runs of one kind may lie apart by the chance of which records they meet: three standard
 * errors of the difference of two shares. One record more on each side, so that 0 and 100 % are allowed some too. */
static double chance(double percent, double records) {
  double share = (percent / 100 * records + 1) / (records + 2);
  return 100 * 3 * sqrt(2 * share * (1 - share) / records);
}

static enum agreement judge_accuracy(const json_t *there, const json_t *here, char text[TEXT_BYTES]) {
  static const char *const read[][2] = {{"accuracy.test", "dataset.test_records"},
                                        {"accuracy.validation", "dataset.validation_records"}};
  size_t used = 0;
  enum agreement agreement = AGREEMENT_TOLERANCE;
  text[0] = '\0';
  for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
    const json_t *one = value_at(there, read[i][0]), *other = value_at(here, read[i][0]);
    if (!one || (json_is_null(one) && json_is_null(other)))
      continue;
    double apart = fabs(json_number_value(one) - json_number_value(other));
    double allowed = chance(json_number_value(one), json_number_value(value_at(there, read[i][1])));
    if (!json_is_number(one) || !json_is_number(other) || !(apart <= allowed))
      agreement = AGREEMENT_BROKEN;
    used += (size_t)snprintf(text + used, TEXT_BYTES - used, "%s%s: %.2f there, %.2f here, %.2f points apart of %.2f",
                             used ? "; " : "", read[i][0], json_number_value(one), json_number_value(other), apart,
                             allowed);
    if (used >= TEXT_BYTES)
      break;
  }
  return agreement;
}

/* The largest difference of two losses of an epoch as a share of the one there; NaN where there is none to compare. */
static double losses_apart(const json_t *there, const json_t *here) {
  double most = (double)NAN;
  size_t index;
  json_t *epoch;
  json_array_foreach(json_object_get(there, "epochs"), index, epoch) {
    double one = value_number_read(json_object_get(epoch, "loss"));
    double other = value_number_read(json_object_get(json_array_get(json_object_get(here, "epochs"), index), "loss"));
    double apart = fabs(other / one - 1);
    if (isfinite(apart) && !(apart <= most))
      most = apart;
  }
  return most;
}

static void add_losses(const json_t *there, const json_t *here, char text[TEXT_BYTES]) {
  double apart = losses_apart(there, here);
  size_t used = strlen(text);
  if (!isnan(apart))
    snprintf(text + used, TEXT_BYTES - used, "; losses of an epoch within %.3g %% of each other", 100 * apart);
}

static void show(const json_t *record, const struct part *part, char text[TEXT_BYTES]) {
  const json_t *value = part->shown ? value_at(record, part->shown) : NULL;
  char *shown = value ? value_as_text(value) : NULL;
  text[0] = '\0';
  if (shown)
    snprintf(text, TEXT_BYTES, "%s %.120s", part->shown, shown);
  make_printable(text);
  free(shown);
}

/* How many of its values the record has; *equal: whether they are the same here, else the text names the first that is
 * not. */
static int compare(const struct part *part, const json_t *there, const json_t *here, bool *equal,
                   char text[TEXT_BYTES]) {
  int said = 0;
  *equal = true;
  for (int i = 0; i < PATHS && part->paths[i]; i++) {
    const json_t *value = value_at(there, part->paths[i]);
    said += value && !json_is_null(value);
    if (value && *equal)
      *equal = same(value, value_at(here, part->paths[i]), part->ignored, part->paths[i], text);
  }
  return said;
}

static bool is_same_commit(const json_t *there, const json_t *here) {
  const json_t *commit = value_at(there, "provenance.commit");
  return !commit || json_equal(commit, value_at(here, "provenance.commit"));
}

static void judge_part(const struct part *part, const json_t *there, const json_t *here, bool bits_due,
                       struct hearer *hearer) {
  char text[TEXT_BYTES];
  bool equal;
  int said = compare(part, there, here, &equal, text);
  if (said == 0 && part->required) {
    snprintf(text, sizeof text, "the record has no %s", part->paths[0]);
    say(hearer, part->name, AGREEMENT_BROKEN, text);
    return;
  }
  if (said == 0 && equal)
    return;
  bool due = part->always || (bits_due && (!part->of_program || is_same_commit(there, here)));
  enum agreement agreement = due ? AGREEMENT_BROKEN : AGREEMENT_OPEN;
  if (equal) {
    agreement = AGREEMENT_BITS;
    show(there, part, text);
  } else if (agreement == AGREEMENT_OPEN && strcmp(part->name, "accuracy") == 0) {
    agreement = judge_accuracy(there, here, text);
  } else if (strcmp(part->name, "epochs") == 0) {
    add_losses(there, here, text);
  }
  say(hearer, part->name, agreement, text);
}

static void tell_costs(const json_t *there, const json_t *here, struct hearer *hearer) {
  static const struct {
    const char *name, *path, *unit;
  } costs[] = {{"training time", "time.train_seconds", "s"},
               {"median step", "time.step_median_seconds", "s"},
               {"energy", "energy.joules", "J"},
               {"resident peak", "memory.resident_peak_bytes", "bytes"}};
  for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
    char text[TEXT_BYTES];
    const json_t *one = value_at(there, costs[i].path), *other = value_at(here, costs[i].path);
    double before = json_number_value(one), now = json_number_value(other);
    if (json_is_number(one) && json_is_number(other) && before > 0)
      snprintf(text, sizeof text, "%.3f times the record's %.4g %s", now / before, before, costs[i].unit);
    else
      snprintf(text, sizeof text, "not measured %s", json_is_number(one) ? "here" : "there");
    say(hearer, costs[i].name, AGREEMENT_OPEN, text);
  }
}

bool agreement_judge(const json_t *there, const json_t *here, bool bits_due, agreement_visit *visit, void *to) {
  struct hearer hearer = {.visit = visit, .to = to, .good = true};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    judge_part(&parts[i], there, here, bits_due, &hearer);
  tell_costs(there, here, &hearer);
  return hearer.good;
}
