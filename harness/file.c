#include "harness/file.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROBE_BYTES = 4096 };

static bool fail(const struct file *file, int code, struct ffb_error *error) {
  const char *cause = code == ENOSPC || code == EDQUOT ? ": free some space, or " : ": ";
  return ffb_fail(error, "cannot write %s: %s%s%s", file->path, strerror(code), cause, file->remedy);
}

void file_folder(const char *path, char folder[PATH_MAX]) {
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  if (slash && length == 0)
    snprintf(folder, PATH_MAX, "/");
  else if (!slash)
    snprintf(folder, PATH_MAX, ".");
  else
    snprintf(folder, PATH_MAX, "%.*s", (int)length, path);
}

const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

bool file_program_folder(char folder[PATH_MAX], struct ffb_error *error) {
  char program[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0)
    return ffb_fail(error, "cannot find the program's own folder through /proc/self/exe: %s: mount /proc",
                    strerror(errno));
  program[length] = '\0';
  file_folder(program, folder);
  return true;
}

bool file_make_folder(const char *path, const char *remedy, struct ffb_error *error) {
  char part[PATH_MAX];
  if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
    return ffb_fail(error, "the folder name %.60s... is too long: %s", path, remedy);
  for (char *end = part + 1;; end++) {
    char keep = *end;
    if (keep != '/' && keep != '\0')
      continue;
    *end = '\0';
    struct stat status;
    int code = mkdir(part, 0777) ? errno : 0;
    if (code && code != EEXIST && stat(part, &status))
      return ffb_fail(error, "cannot make the folder %s: %s: %s", part, strerror(code), remedy);
    if (keep == '\0')
      break;
    *end = keep;
  }
  struct stat status;
  if (stat(path, &status) || !S_ISDIR(status.st_mode))
    return ffb_fail(error, "%s is in the way, it is no folder: %s", path, remedy);
  return true;
}

bool file_begin(struct file *file, const char *path, const char *remedy, struct ffb_error *error) {
  *file = (struct file){.remedy = remedy};
  if ((size_t)snprintf(file->path, sizeof file->path, "%s", path) + sizeof ".tmp" > sizeof file->path)
    return ffb_fail(error, "the file name %.60s... is too long: %s", path, remedy);
  char folder[PATH_MAX];
  file_folder(path, folder);
  if (!file_make_folder(folder, remedy, error))
    return false;
  snprintf(file->temporary, sizeof file->temporary, "%s.tmp", path);
  file->stream = fopen(file->temporary, "wbe");
  return file->stream || fail(file, errno, error);
}

bool file_add(struct file *file, const void *data, size_t bytes, struct ffb_error *error) {
  errno = 0;
  if (bytes == 0 || fwrite(data, 1, bytes, file->stream) == bytes)
    return true;
  return fail(file, errno ? errno : EIO, error);
}

static void sync_folder(const char *path) {
  char folder[PATH_MAX];
  file_folder(path, folder);
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return;
  fsync(descriptor);
  close(descriptor);
}

bool file_commit(struct file *file, struct ffb_error *error) {
  int code = 0;
  if (fflush(file->stream) || fsync(fileno(file->stream)))
    code = errno;
  if (fclose(file->stream) && !code)
    code = errno;
  file->stream = NULL;
  if (!code && rename(file->temporary, file->path))
    code = errno;
  if (code) {
    unlink(file->temporary);
    return fail(file, code, error);
  }
  sync_folder(file->path);
  return true;
}

void file_abandon(struct file *file) {
  if (!file->stream)
    return;
  fclose(file->stream);
  file->stream = NULL;
  unlink(file->temporary);
}

bool file_replace(const char *path, const void *data, size_t bytes, const char *remedy, struct ffb_error *error) {
  struct file file;
  bool ok = file_begin(&file, path, remedy, error) && file_add(&file, data, bytes, error) && file_commit(&file, error);
  file_abandon(&file);
  return ok;
}

bool file_probe(const char *path, const char *remedy, struct ffb_error *error) {
  static const char zeros[PROBE_BYTES];
  struct file file;
  bool ok = file_begin(&file, path, remedy, error) && file_add(&file, zeros, sizeof zeros, error);
  if (ok && fflush(file.stream))
    ok = fail(&file, errno, error);
  file_abandon(&file);
  struct stat status;
  if (ok && !stat(path, &status) && S_ISDIR(status.st_mode))
    ok = fail(&file, EISDIR, error);
  return ok;
}

void *file_read(const char *path, size_t *bytes, struct ffb_error *error) {
  FILE *stream = fopen(path, "rbe");
  struct stat status;
  char *content = NULL;
  bool ok = false;
  if (!stream || fstat(fileno(stream), &status))
    ffb_fail(error, "cannot read %s: %s", path, strerror(errno));
  else if (!S_ISREG(status.st_mode))
    ffb_fail(error, "cannot read %s: it is no ordinary file", path);
  else
    content = ffb_allocate((size_t)status.st_size + 1, 1, error);
  if (content) {
    *bytes = fread(content, 1, (size_t)status.st_size, stream);
    ok = *bytes == (size_t)status.st_size || ffb_fail(error, "cannot read %s: it ends too early", path);
  }
  if (stream)
    fclose(stream);
  if (!ok) {
    ffb_free(content);
    return NULL;
  }
  return content;
}

bool file_sha256(const char *path, char text[FFB_SHA256_TEXT], struct ffb_error *error) {
  struct ffb_sha256 hash;
  size_t bytes;
  void *content = file_read(path, &bytes, error);
  if (!content)
    return false;
  ffb_sha256_begin(&hash);
  ffb_sha256_add(&hash, content, bytes);
  ffb_sha256_text(&hash, text);
  ffb_free(content);
  return true;
}
