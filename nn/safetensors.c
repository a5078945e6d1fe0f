#include "nn/safetensors.h"

#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LENGTH_BYTES = 8, LONGEST_HEADER = 100000000 /* the format's own limit */ };

static const char *const type_names[] = {
    [FFB_F32] = "F32", [FFB_F64] = "F64", [FFB_S32] = "I32", [FFB_U32] = "U32", [FFB_S8] = "I8", [FFB_U8] = "U8"};

static bool is_weight(const struct ffb_tensor *tensor) {
  return tensor->tag == FFB_TAG_WEIGHTS;
}

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

/* Kernels lie as O, H, W, I here and as O, I, H, W in a file; a linear layer that a file calls a convolution does not
 * differ. */
static bool is_permuted(const struct ffb_tensor *tensor) {
  return tensor->dimensions == 4 && (tensor->shape[2] != 1 || tensor->shape[3] != 1);
}

/* The shape in a file; returns its number of dimensions. */
static int file_shape(const struct ffb_tensor *tensor, int64_t shape[FFB_DIMENSIONS]) {
  int dimensions = tensor->dimensions ? tensor->dimensions : FFB_DIMENSIONS;
  memcpy(shape, tensor->shape, sizeof tensor->shape);
  while (!tensor->dimensions && dimensions > 1 && shape[dimensions - 1] == 1)
    dimensions--;
  if (is_permuted(tensor)) {
    shape[1] = tensor->shape[3];
    shape[2] = tensor->shape[1];
    shape[3] = tensor->shape[2];
  }
  return dimensions;
}

static void print_shape(char *text, size_t size, const int64_t *shape, int dimensions) {
  size_t length = 0;
  for (int i = 0; i < dimensions && length < size; i++)
    length += (size_t)snprintf(text + length, size - length, "%s%" PRId64, i ? "," : "", shape[i]);
  if (dimensions == 0)
    *text = 0;
}

/* From O, H, W, I to O, I, H, W, or back. */
static void permute(char *to, const char *from, const struct ffb_tensor *tensor, bool to_file) {
  size_t bytes = ffb_type_bytes(tensor->type), kernel = (size_t)(tensor->shape[1] * tensor->shape[2]),
         channels = (size_t)tensor->shape[3];
  for (size_t o = 0; o < (size_t)tensor->shape[0]; o++) {
    for (size_t tap = 0; tap < kernel; tap++) {
      for (size_t c = 0; c < channels; c++) {
        size_t here = ((o * kernel + tap) * channels + c) * bytes, there = ((o * channels + c) * kernel + tap) * bytes;
        memcpy(to + (to_file ? there : here), from + (to_file ? here : there), bytes);
      }
    }
  }
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

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
    char shape_text[128];
    int64_t shape[FFB_DIMENSIONS];
    if (!is_weight(tensor))
      continue;
    int dimensions = file_shape(tensor, shape);
    print_shape(shape_text, sizeof shape_text, shape, dimensions);
    fprintf(to, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", tensor->name,
            type_names[tensor->type], shape_text, offset, offset + ffb_tensor_bytes(tensor));
    offset += ffb_tensor_bytes(tensor);
  }
  fputc('}', to);
  while (ftell(to) % LENGTH_BYTES)
    fputc(' ', to);
  bool good = !ferror(to);
  if (!fclose(to) && good)
    return header;
  free(header);
  ffb_fail(error, "out of memory for a weight file's header");
  return NULL;
}

static bool write_tensor(FILE *to, struct ffb_plan *plan, const struct ffb_tensor *tensor, struct ffb_error *error) {
  size_t bytes = ffb_tensor_bytes(tensor);
  char *host = ffb_allocate(bytes, 2, error), *content = host;
  bool good = host && ffb_tensor_read(plan, tensor, host, error);
  if (good && is_permuted(tensor)) {
    content = host + bytes;
    permute(content, host, tensor, true);
  }
  if (good && fwrite(content, 1, bytes, to) != bytes)
    good = ffb_fail(error, "%s", strerror(errno));
  ffb_free(host);
  return good;
}

static bool write_file(FILE *to, struct ffb_plan *plan, struct ffb_error *error) {
  size_t length = 0;
  char *header = make_header(plan, &length, error);
  if (!header)
    return false;
  uint8_t prefix[LENGTH_BYTES];
  for (int i = 0; i < LENGTH_BYTES; i++)
    prefix[i] = (uint8_t)((uint64_t)length >> 8 * i);
  bool good = fwrite(prefix, 1, sizeof prefix, to) == sizeof prefix && fwrite(header, 1, length, to) == length;
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
    return ffb_fail(error, "cannot write the weights to %s: %s: name another file", path, strerror(errno));
  bool good = write_file(to, plan, error);
  if (good && (fflush(to) || fsync(fileno(to))))
    good = ffb_fail(error, "%s", strerror(errno));
  if (fclose(to) && good)
    good = ffb_fail(error, "%s", strerror(errno));
  if (good && rename(temporary, path))
    good = ffb_fail(error, "%s", strerror(errno));
  if (!good) {
    unlink(temporary);
    return ffb_fail_prefix(error, "cannot write the weights to %s; free some space, or name another file: ", path);
  }
  return true;
}

/* ---- reading: the header ---------------------------------------------------------------------------------------- */

struct reader {
  FILE *from;
  uint64_t data_start, data_bytes;
  json_t *header;
};

/* A tensor as the file describes it. */
struct entry {
  const char *type;
  int64_t shape[FFB_DIMENSIONS];
  size_t dimensions; /* may be more than the shape holds */
  uint64_t begin, end;
};

static bool read_at(FILE *from, uint64_t offset, void *to, size_t bytes) {
  return fseeko(from, (off_t)offset, SEEK_SET) == 0 && fread(to, 1, bytes, from) == bytes;
}

static bool open_file(struct reader *reader, const char *path, uint64_t *bytes, struct ffb_error *error) {
  struct stat facts;
  if (stat(path, &facts))
    return ffb_fail(error, "%s", strerror(errno));
  if (!S_ISREG(facts.st_mode))
    return ffb_fail(error, "not a regular file: name a weight file");
  reader->from = fopen(path, "rb");
  if (!reader->from)
    return ffb_fail(error, "%s", strerror(errno));
  *bytes = (uint64_t)facts.st_size;
  return true;
}

static bool read_header(struct reader *reader, uint64_t bytes, struct ffb_error *error) {
  uint8_t prefix[LENGTH_BYTES];
  uint64_t length = 0;
  if (bytes < LENGTH_BYTES || !read_at(reader->from, 0, prefix, sizeof prefix))
    return ffb_fail(error, "%" PRIu64 " bytes are no safetensors file: save the weights again", bytes);
  for (int i = 0; i < LENGTH_BYTES; i++)
    length |= (uint64_t)prefix[i] << 8 * i;
  if (length > bytes - LENGTH_BYTES || length > LONGEST_HEADER)
    return ffb_fail(error,
                    "a header of %" PRIu64 " bytes in a file of %" PRIu64
                    ": the file is cut short or no safetensors file: save the weights again",
                    length, bytes);
  char *text = ffb_allocate((size_t)length + 1, 1, error);
  if (!text)
    return false;
  json_error_t reason;
  unsigned long refused = ffb_refused_allocations();
  bool good = read_at(reader->from, LENGTH_BYTES, text, (size_t)length);
  reader->header = good ? json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &reason) : NULL;
  ffb_free(text);
  if (ffb_refused_allocations() != refused)
    return ffb_fail(error, "out of memory for its header: close other programs");
  if (!json_is_object(reader->header))
    return ffb_fail(error, "its header is not a JSON object: the file is damaged or no safetensors file: save the "
                           "weights again");
  reader->data_start = LENGTH_BYTES + length;
  reader->data_bytes = bytes - reader->data_start;
  return true;
}

static uint64_t type_bytes(const char *type) {
  for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
    if (strcmp(type, type_names[i]) == 0)
      return ffb_type_bytes((enum ffb_type)i);
  }
  return 0;
}

/* What is wrong with the entry, or null. Types that are not ours are not measured: their tensors are skipped. */
static const char *parse_entry(const json_t *item, uint64_t data_bytes, struct entry *entry) {
  const json_t *shape = json_object_get(item, "shape"), *offsets = json_object_get(item, "data_offsets"),
               *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  entry->type = json_string_value(json_object_get(item, "dtype"));
  entry->dimensions = json_array_size(shape);
  if (!entry->type || !json_is_array(shape) || json_array_size(offsets) != 2 || !json_is_integer(begin) ||
      !json_is_integer(end))
    return "lacks dtype, shape or data_offsets";
  uint64_t bytes = type_bytes(entry->type);
  bool measured = bytes > 0;
  for (size_t i = 0; i < entry->dimensions; i++) {
    const json_t *side = json_array_get(shape, i);
    if (!json_is_integer(side) || json_integer_value(side) < 0 ||
        __builtin_mul_overflow(bytes, (uint64_t)json_integer_value(side), &bytes))
      return "has an impossible shape";
    if (i < FFB_DIMENSIONS)
      entry->shape[i] = json_integer_value(side);
  }
  if (json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin) ||
      (uint64_t)json_integer_value(end) > data_bytes)
    return "lies outside the file, which may be cut short";
  entry->begin = (uint64_t)json_integer_value(begin);
  entry->end = (uint64_t)json_integer_value(end);
  return measured && entry->end - entry->begin != bytes ? "has more or fewer bytes than its shape" : NULL;
}

/* A name from a file may hold anything; a message is one line. */
static void printable(char to[64], const char *from) {
  size_t i = 0;
  for (; i < 63 && from[i]; i++)
    to[i] = (char)(from[i] >= ' ' && from[i] <= '~' ? from[i] : '?');
  to[i] = 0;
}

static int by_begin(const void *left, const void *right) {
  const struct entry *a = left, *b = right;
  if (a->begin != b->begin)
    return a->begin < b->begin ? -1 : 1;
  return a->end < b->end ? -1 : a->end > b->end;
}

/* Every entry makes sense by itself, and no two overlap. */
static bool check_entries(const struct reader *reader, struct ffb_error *error) {
  struct entry *entries = ffb_allocate(json_object_size(reader->header) + 1, sizeof *entries, error);
  if (!entries)
    return false;
  const char *name;
  json_t *item;
  size_t count = 0;
  bool good = true;
  json_object_foreach(reader->header, name, item) {
    if (strcmp(name, "__metadata__") == 0)
      continue;
    const char *wrong = parse_entry(item, reader->data_bytes, &entries[count++]);
    if (wrong) {
      char shown[64];
      printable(shown, name);
      good = ffb_fail(error, "tensor %s %s: save the weights again", shown, wrong);
      break;
    }
  }
  if (good)
    qsort(entries, count, sizeof *entries, by_begin);
  for (size_t i = 1; good && i < count; i++) {
    if (entries[i].begin < entries[i - 1].end)
      good = ffb_fail(error, "two of its tensors overlap: the file is damaged: save the weights again");
  }
  ffb_free(entries);
  return good;
}

/* ---- reading: the tensors --------------------------------------------------------------------------------------- */

static bool find_entry(const struct reader *reader, const struct ffb_tensor *tensor, struct entry *entry,
                       struct ffb_error *error) {
  const json_t *item = json_object_get(reader->header, tensor->name);
  int64_t shape[FFB_DIMENSIONS];
  int dimensions = file_shape(tensor, shape);
  if (!item || parse_entry(item, reader->data_bytes, entry))
    return ffb_fail(error, "it has no tensor %s: the file must come from the same model with the same options",
                    tensor->name);
  if (strcmp(entry->type, type_names[tensor->type]) != 0) {
    char shown[64];
    printable(shown, entry->type);
    return ffb_fail(error, "tensor %s is %s, not %s: %s", tensor->name, shown, type_names[tensor->type],
                    tensor->type == FFB_S8 ? "a run that stores weights in INT8 reads the file of such a run"
                                           : "convert it to 32-bit floating point before it is saved");
  }
  if (entry->dimensions == (size_t)dimensions && memcmp(entry->shape, shape, (size_t)dimensions * sizeof *shape) == 0)
    return true;
  char has[128] = "", wants[128];
  print_shape(wants, sizeof wants, shape, dimensions);
  print_shape(has, sizeof has, entry->shape,
              entry->dimensions < FFB_DIMENSIONS ? (int)entry->dimensions : FFB_DIMENSIONS);
  return ffb_fail(error,
                  "tensor %s has the shape [%s%s], not [%s]: the file must come from the same model with the same "
                  "options and number of classes",
                  tensor->name, has, entry->dimensions > FFB_DIMENSIONS ? ",..." : "", wants);
}

static bool load_tensor(const struct reader *reader, struct ffb_plan *plan, struct ffb_tensor *tensor,
                        struct ffb_error *error) {
  struct entry entry = {0};
  size_t bytes = ffb_tensor_bytes(tensor);
  if (!find_entry(reader, tensor, &entry, error))
    return false;
  char *host = ffb_allocate(bytes, 2, error), *content = host;
  bool good = host != NULL;
  if (good && !read_at(reader->from, reader->data_start + entry.begin, host, bytes))
    good = ffb_fail(error, "tensor %s cannot be read: %s", tensor->name,
                    ferror(reader->from) ? strerror(errno) : "end of file");
  if (good && tensor->type == FFB_S8 && memchr(host, INT8_MIN, bytes))
    good = ffb_fail(error, "tensor %s holds -128, which a symmetric quantiser never makes: save the weights again",
                    tensor->name);
  if (good && is_permuted(tensor)) {
    content = host + bytes;
    permute(content, host, tensor, false);
  }
  good = good && ffb_tensor_write(plan, tensor, content, error);
  ffb_free(host);
  return good;
}

static bool load_tensors(const struct reader *reader, struct ffb_plan *plan, struct ffb_error *error) {
  struct entry entry = {0};
  bool good = true;
  for (int pass = 0; good && pass < 2; pass++) {
    for (size_t i = 0; good && i < ffb_plan_persistent_count(plan); i++) {
      struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
      if (is_weight(tensor))
        good = pass == 0 ? find_entry(reader, tensor, &entry, error) : load_tensor(reader, plan, tensor, error);
    }
  }
  return good;
}

bool ffb_weights_load(const char *path, struct ffb_plan *plan, struct ffb_error *error) {
  struct reader reader = {0};
  uint64_t bytes = 0;
  bool good = open_file(&reader, path, &bytes, error) && read_header(&reader, bytes, error) &&
              check_entries(&reader, error) && load_tensors(&reader, plan, error);
  json_decref(reader.header);
  if (reader.from)
    fclose(reader.from);
  return good || ffb_fail_prefix(error, "%s: the weights were not loaded: ", path);
}
