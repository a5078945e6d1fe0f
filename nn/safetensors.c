#include "nn/safetensors.h"

#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const type_names[] = {
    [FFB_F32] = "F32", [FFB_F64] = "F64", [FFB_S32] = "I32", [FFB_U32] = "U32", [FFB_S8] = "I8", [FFB_U8] = "U8"};

static bool is_weight(const struct ffb_tensor *tensor) {
  return tensor->tag == FFB_TAG_WEIGHTS;
}

/* Trailing dimensions of 1 are the plan's padding; a vector is written as one dimension. */
static void write_shape(FILE *to, const struct ffb_tensor *tensor) {
  int dimensions = FFB_DIMENSIONS;
  while (dimensions > 1 && tensor->shape[dimensions - 1] == 1)
    dimensions--;
  for (int i = 0; i < dimensions; i++)
    fprintf(to, "%s%" PRId64, i ? "," : "", tensor->shape[i]);
}

static char *make_header(struct ffb_plan *plan, size_t *length, struct ffb_error *error) {
  char *header = NULL;
  FILE *to = open_memstream(&header, length);
  if (!to) {
    ffb_fail(error, "out of memory for a weight file's header");
    return NULL;
  }
  size_t offset = 0;
  fputs("{\"__metadata__\":{\"format\":\"pt\"}", to);
  for (size_t i = 0; i < ffb_plan_persistent_count(plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
    if (!is_weight(tensor))
      continue;
    fprintf(to, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name, type_names[tensor->type]);
    write_shape(to, tensor);
    fprintf(to, "],\"data_offsets\":[%zu,%zu]}", offset, offset + ffb_tensor_bytes(tensor));
    offset += ffb_tensor_bytes(tensor);
  }
  fputc('}', to);
  while ((ftell(to) + 8) % 8)
    fputc(' ', to);
  fclose(to);
  return header;
}

static bool write_tensor(FILE *to, struct ffb_plan *plan, const struct ffb_tensor *tensor, struct ffb_error *error) {
  size_t bytes = ffb_tensor_bytes(tensor);
  void *host = ffb_allocate(bytes, 1, error);
  bool good = host && ffb_tensor_read(plan, tensor, host, error);
  if (good && fwrite(host, 1, bytes, to) != bytes)
    good = ffb_fail(error, "%s", strerror(errno));
  ffb_free(host);
  return good;
}

static bool write_file(FILE *to, struct ffb_plan *plan, struct ffb_error *error) {
  size_t length = 0;
  char *header = make_header(plan, &length, error);
  if (!header)
    return false;
  uint8_t prefix[8];
  for (int i = 0; i < 8; i++)
    prefix[i] = (uint8_t)((uint64_t)length >> 8 * i);
  bool good = fwrite(prefix, 1, 8, to) == 8 && fwrite(header, 1, length, to) == length;
  free(header);
  if (!good)
    return ffb_fail(error, "%s", strerror(errno));
  for (size_t i = 0; good && i < ffb_plan_persistent_count(plan); i++) {
    if (is_weight(ffb_plan_persistent_at(plan, i)))
      good = write_tensor(to, plan, ffb_plan_persistent_at(plan, i), error);
  }
  return good;
}

bool ffb_weights_save(const char *path, struct ffb_plan *plan, struct ffb_error *error) {
  char temporary[4096];
  if ((size_t)snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid()) >= sizeof temporary)
    return ffb_fail(error, "%s: the path is too long", path);
  FILE *to = fopen(temporary, "wb");
  if (!to)
    return ffb_fail(error, "%s: cannot be written: %s", path, strerror(errno));
  bool good = write_file(to, plan, error);
  if (good && (fflush(to) || fsync(fileno(to))))
    good = ffb_fail(error, "%s", strerror(errno));
  if (fclose(to) && good)
    good = ffb_fail(error, "%s", strerror(errno));
  if (good && rename(temporary, path))
    good = ffb_fail(error, "%s", strerror(errno));
  if (!good) {
    unlink(temporary);
    return ffb_fail_prefix(error, "%s: weights were not saved (is the disk full or read-only?): ", path);
  }
  return true;
}
