#include "datasets/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 17, DEFLATE_RATIO = 1032 /* deflate packs at most so many bytes into one */ };

const char *ffb_data_directory(const char *directory) {
  if (directory)
    return directory;
  const char *environment = getenv("FFBENCH_DATA");
  return environment && *environment ? environment : "data";
}

static bool fail_missing(const struct ffb_data_search *search, const struct ffb_dataset_kind *kind, const char *root,
                         struct ffb_error *error) {
  struct stat status;
  if (stat(root, &status) != 0 || !S_ISDIR(status.st_mode))
    return ffb_fail(error,
                    "%s: no data directory %.400s: run make data, name the right one with --data, or use "
                    "--dataset %s",
                    kind->name, root, kind->fallback);
  char folders[128] = "";
  for (int i = 0; search->folders[i]; i++) {
    size_t used = strlen(folders);
    snprintf(folders + used, sizeof folders - used, "%s%s", i ? ", " : "",
             *search->folders[i] ? search->folders[i] : ".");
  }
  return ffb_fail(error,
                  "%s: no %s or %s.gz in %.400s (looked in %s): run make data, name the right directory with --data, "
                  "or use --dataset %s",
                  kind->name, search->names[0], search->names[0], root, folders, kind->fallback);
}

bool ffb_data_find(char path[FFB_DATA_PATH_BYTES], const struct ffb_data_search *search,
                   const struct ffb_dataset_kind *kind, const char *directory, struct ffb_error *error) {
  static const char *const endings[] = {"", ".gz"};
  const char *root = ffb_data_directory(directory);
  for (int f = 0; search->folders[f]; f++)
    for (int n = 0; search->names[n]; n++)
      for (int e = 0; e < 2; e++) {
        const char *folder = search->folders[f];
        int length = snprintf(path, FFB_DATA_PATH_BYTES, "%s/%s%s%s%s", root, folder, *folder ? "/" : "",
                              search->names[n], endings[e]);
        if (length >= FFB_DATA_PATH_BYTES)
          return ffb_fail_usage(error, "%s: the path %.100s... is too long: name a shorter directory with --data",
                                kind->name, root);
        if (access(path, F_OK) == 0)
          return true;
      }
  return fail_missing(search, kind, root, error);
}

bool ffb_data_fail(const struct ffb_data_file *file, struct ffb_error *error, const char *format, ...) {
  char what[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return ffb_fail(error, "%s: %s: replace it (make data), or use --dataset %s", file->path, what, file->fallback);
}

bool ffb_data_open(struct ffb_data_file *file, const char *path, const char *fallback, struct ffb_error *error) {
  *file = (struct ffb_data_file){.fallback = fallback};
  snprintf(file->path, sizeof file->path, "%s", path);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ffb_fail(error, "%s: cannot be read (%s): mend its permissions, or use --dataset %s", path,
             descriptor < 0 ? strerror(errno) : "not a regular file", fallback);
    if (descriptor >= 0)
      close(descriptor);
    return false;
  }
  file->stream = gzdopen(descriptor, "rb");
  if (!file->stream) {
    close(descriptor);
    return ffb_fail(error, "%s: out of memory: close other programs", path);
  }
  gzbuffer(file->stream, BUFFER_BYTES);
  uint64_t size = (uint64_t)status.st_size;
  file->capacity = gzdirect(file->stream) ? size : size * DEFLATE_RATIO;
  return true;
}

/* What stopped a read short of what was asked for. */
static bool fail_read(struct ffb_data_file *file, struct ffb_error *error) {
  int code = Z_OK;
  const char *message = gzerror(file->stream, &code);
  if (code == Z_OK)
    return ffb_data_fail(file, error, "truncated, the file ends too early");
  if (code == Z_BUF_ERROR)
    return ffb_data_fail(file, error, "truncated, the gzip stream ends too early");
  if (code == Z_ERRNO)
    return ffb_data_fail(file, error, "cannot be read (%s)", strerror(errno));
  const char *reason = strrchr(message, ':'); /* zlib puts the path in front */
  return ffb_data_fail(file, error, "corrupt gzip data (%s)", reason ? reason + 2 : message);
}

bool ffb_data_read(struct ffb_data_file *file, void *bytes, size_t count, struct ffb_error *error) {
  uint8_t *to = bytes;
  while (count) {
    unsigned part = count < 1u << 30 ? (unsigned)count : 1u << 30;
    int got = gzread(file->stream, to, part);
    if (got <= 0)
      return fail_read(file, error);
    to += got;
    count -= (size_t)got;
  }
  return true;
}

bool ffb_data_finish(struct ffb_data_file *file, struct ffb_error *error) {
  uint8_t beyond;
  int code = Z_OK;
  if (gzread(file->stream, &beyond, 1) == 1)
    return ffb_data_fail(file, error, "oversized, there are bytes after the last record");
  gzerror(file->stream, &code);
  return code == Z_OK || fail_read(file, error);
}

void ffb_data_close(struct ffb_data_file *file) {
  if (file->stream)
    gzclose(file->stream);
  file->stream = NULL;
}
