#include "harness/checkpoint.h"

#include "base/memory.h"
#include "harness/file.h"
#include "harness/identity.h"
#include "harness/value.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = "ffbckpt1";
const char checkpoint_remedy[] = "name another folder with --checkpoint";

enum { LENGTH_BYTES = 8, START_BYTES = sizeof magic + LENGTH_BYTES };

bool checkpoint_path(const char *folder, char path[PATH_MAX], struct ffb_error *error) {
  return snprintf(path, PATH_MAX, "%s/ffbench.checkpoint", folder) < PATH_MAX ||
         ffb_fail_usage(error, "the name of the checkpoint folder is too long: %s", checkpoint_remedy);
}

bool checkpoint_exists(const char *path) {
  return access(path, F_OK) == 0;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

struct writer {
  struct file file;
  struct ffb_sha256 hash;
};

static bool add(struct writer *writer, const void *data, size_t bytes, struct ffb_error *error) {
  ffb_sha256_add(&writer->hash, data, bytes);
  return file_add(&writer->file, data, bytes, error);
}

static json_t *list_tensors(const struct ffb_plan *plan) {
  json_t *list = json_array();
  for (size_t i = 0; i < ffb_plan_persistent_count(plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
    json_array_append_new(list,
                          json_pack("{s:s, s:I}", "name", tensor->name, "bytes", (json_int_t)ffb_tensor_bytes(tensor)));
  }
  return list;
}

static bool add_header(struct writer *writer, const json_t *identity, const struct assembly *assembly,
                       const struct ledger *ledger, size_t trainer_bytes, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  json_t *header = json_pack("{s:O, s:o, s:o, s:I, s:I, s:I}", "identity", identity, "ledger", ledger_json(ledger),
                             "tensors", list_tensors(assembly->plan), "trainer_bytes", (json_int_t)trainer_bytes,
                             "steps", (json_int_t)ledger->steps, "readings", (json_int_t)ledger->readings.count);
  char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
  bool whole = value_is_whole(refused, "the checkpoint's header", error), ok = false;
  if (!text && whole)
    ffb_fail(error, "cannot make the checkpoint: a name in it is not UTF-8 text: rename the file");
  if (text && whole) {
    uint8_t length[LENGTH_BYTES];
    for (size_t i = 0; i < sizeof length; i++)
      length[i] = (uint8_t)((uint64_t)strlen(text) >> 8 * i);
    ok = add(writer, magic, sizeof magic, error) && add(writer, length, sizeof length, error) &&
         add(writer, text, strlen(text), error);
  }
  free(text);
  json_decref(header);
  return ok;
}

static bool add_tensors(struct writer *writer, struct ffb_plan *plan, struct ffb_error *error) {
  for (size_t i = 0; i < ffb_plan_persistent_count(plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
    size_t bytes = ffb_tensor_bytes(tensor);
    void *content = ffb_allocate(bytes, 1, error);
    bool ok = content && ffb_tensor_read(plan, tensor, content, error) && add(writer, content, bytes, error);
    ffb_free(content);
    if (!ok)
      return false;
  }
  return true;
}

static bool add_trainer(struct writer *writer, const struct assembly *assembly, size_t bytes, struct ffb_error *error) {
  if (bytes == 0)
    return true;
  void *content = ffb_allocate(bytes, 1, error);
  if (content)
    assembly->parts.trainer->save(assembly->state, content);
  bool ok = content && add(writer, content, bytes, error);
  ffb_free(content);
  return ok;
}

static bool add_digest(struct writer *writer, struct ffb_error *error) {
  uint8_t digest[FFB_SHA256_BYTES];
  ffb_sha256_end(&writer->hash, digest);
  return file_add(&writer->file, digest, sizeof digest, error);
}

bool checkpoint_save(const char *path, const json_t *identity, const struct assembly *assembly,
                     const struct ledger *ledger, const char *remedy, struct ffb_error *error) {
  struct writer writer;
  size_t trainer_bytes = assembly->parts.trainer->save(assembly->state, NULL);
  ffb_sha256_begin(&writer.hash);
  bool ok = file_begin(&writer.file, path, remedy, error) &&
            add_header(&writer, identity, assembly, ledger, trainer_bytes, error) &&
            add_tensors(&writer, assembly->plan, error) && add_trainer(&writer, assembly, trainer_bytes, error) &&
            add(&writer, ledger->step_seconds, ledger->steps * sizeof *ledger->step_seconds, error) &&
            add(&writer, ledger->readings.entries, ledger->readings.count * sizeof *ledger->readings.entries, error) &&
            add_digest(&writer, error) && file_commit(&writer.file, error);
  file_abandon(&writer.file);
  return ok;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

struct reader {
  const char *path, *remedy;
  uint8_t *content;
  size_t bytes, at; /* without the digest; where the data start */
  json_t *header;
  const json_t *identity, *ledger, *tensors;
  size_t trainer_bytes, steps, readings;
};

static bool damaged(const struct reader *reader, const char *what, struct ffb_error *error) {
  return ffb_fail(error, "checkpoint %s is damaged (%s): remove it to start anew, or restore it from a copy",
                  reader->path, what);
}

static bool check_content(struct reader *reader, struct ffb_error *error) {
  uint8_t digest[FFB_SHA256_BYTES];
  struct ffb_sha256 hash;
  if (reader->bytes < START_BYTES + sizeof digest)
    return damaged(reader, "it is too short", error);
  if (memcmp(reader->content, magic, sizeof magic) != 0)
    return ffb_fail(error, "checkpoint %s is none that this ffbench reads: remove it to start anew", reader->path);
  reader->bytes -= sizeof digest;
  ffb_sha256_begin(&hash);
  ffb_sha256_add(&hash, reader->content, reader->bytes);
  ffb_sha256_end(&hash, digest);
  return memcmp(digest, reader->content + reader->bytes, sizeof digest) == 0 ||
         damaged(reader, "its checksum is wrong", error);
}

static bool read_header(struct reader *reader, struct ffb_error *error) {
  uint64_t length = 0;
  json_int_t trainer_bytes, steps, readings = 0;
  for (int i = 0; i < LENGTH_BYTES; i++)
    length |= (uint64_t)reader->content[sizeof magic + (size_t)i] << 8 * i;
  if (length > reader->bytes - START_BYTES)
    return damaged(reader, "its header is too long", error);
  reader->header = json_loadb((const char *)reader->content + START_BYTES, (size_t)length, 0, NULL);
  reader->at = START_BYTES + (size_t)length;
  if (!reader->header || json_unpack(reader->header, "{s:o, s:o, s:o, s:I, s:I, s?:I}", "identity", &reader->identity,
                                     "ledger", &reader->ledger, "tensors", &reader->tensors, "trainer_bytes",
                                     &trainer_bytes, "steps", &steps, "readings", &readings))
    return damaged(reader, "its header cannot be read", error);
  size_t room = reader->bytes - reader->at;
  if (trainer_bytes < 0 || (uint64_t)trainer_bytes > room || steps < 0 || (uint64_t)steps > room / sizeof(float) ||
      readings < 0 || (uint64_t)readings > room / sizeof(struct meter_entry))
    return damaged(reader, "its header claims more than it holds", error);
  reader->trainer_bytes = (size_t)trainer_bytes;
  reader->steps = (size_t)steps;
  reader->readings = (size_t)readings;
  return true;
}

static bool check_identity(const struct reader *reader, const json_t *identity, struct ffb_error *error) {
  char difference[512];
  return identity_same(reader->identity, identity, difference, sizeof difference) ||
         ffb_fail(error, "checkpoint %s is of another run (%s): give the same options, or %s", reader->path, difference,
                  reader->remedy);
}

static bool check_tensors(const struct reader *reader, const struct assembly *assembly, struct ffb_error *error) {
  json_t *mine = list_tensors(assembly->plan);
  size_t bytes = reader->at + reader->trainer_bytes + reader->steps * sizeof(float) +
                 reader->readings * sizeof(struct meter_entry);
  bool same = json_equal(mine, reader->tensors);
  json_decref(mine);
  if (!same)
    return ffb_fail(error,
                    "checkpoint %s is of another build (its tensors differ from this one's): remove it to start anew",
                    reader->path);
  for (size_t i = 0; i < ffb_plan_persistent_count(assembly->plan); i++)
    bytes += ffb_tensor_bytes(ffb_plan_persistent_at(assembly->plan, i));
  return bytes == reader->bytes || damaged(reader, "its size is wrong", error);
}

/* They follow data of any length, so they may lie at an odd address. */
static bool restore_readings(const struct reader *reader, struct ledger *ledger, const uint8_t *at,
                             struct ffb_error *error) {
  struct meter_entry *entries = ffb_allocate(reader->readings, sizeof *entries, error);
  if (!entries)
    return false;
  memcpy(entries, at, reader->readings * sizeof *entries);
  ledger_set_readings(ledger, entries, reader->readings);
  ffb_free(entries);
  return true;
}

static bool restore(struct reader *reader, struct assembly *assembly, struct ledger *ledger, struct ffb_error *error) {
  const uint8_t *at = reader->content + reader->at;
  if (!ledger_read(ledger, reader->ledger))
    return damaged(reader, "its history cannot be read", error);
  for (size_t i = 0; i < ffb_plan_persistent_count(assembly->plan); i++) {
    struct ffb_tensor *tensor = ffb_plan_persistent_at(assembly->plan, i);
    if (!ffb_tensor_write(assembly->plan, tensor, at, error))
      return false;
    at += ffb_tensor_bytes(tensor);
  }
  if (!assembly->parts.trainer->load(assembly->state, at, reader->trainer_bytes, error))
    return ffb_fail_prefix(error, "checkpoint %s: ", reader->path);
  at += reader->trainer_bytes;
  /* The times follow data of any length, so they may lie at an odd address. */
  float *steps = ffb_allocate(reader->steps, sizeof *steps, error);
  if (steps)
    memcpy(steps, at, reader->steps * sizeof *steps);
  bool ok = steps && ledger_set_steps(ledger, steps, reader->steps, error) &&
            restore_readings(reader, ledger, at + reader->steps * sizeof *steps, error) &&
            ffb_plan_synchronise(assembly->plan, error);
  ffb_free(steps);
  return ok;
}

bool checkpoint_load(const char *path, const json_t *identity, struct assembly *assembly, struct ledger *ledger,
                     const char *remedy, struct ffb_error *error) {
  struct reader reader = {.path = path, .remedy = remedy};
  unsigned long refused = ffb_refused_allocations();
  reader.content = file_read(path, &reader.bytes, error);
  bool ok = reader.content && check_content(&reader, error) && read_header(&reader, error) &&
            check_identity(&reader, identity, error) && check_tensors(&reader, assembly, error) &&
            restore(&reader, assembly, ledger, error);
  json_decref(reader.header);
  ffb_free(reader.content);
  /* Whatever was found wrong then, the file may be good, and is not to be removed. */
  return value_is_whole(refused, "reading the checkpoint", error) && ok;
}
