#include "harness/meters/sysfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int meter_sysfs_read_file(const char *path, char *text, size_t size) {
  text[0] = '\0';
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return errno;
  ssize_t got;
  do
    got = read(file, text, size - 1);
  while (got < 0 && errno == EINTR);
  int code = got < 0 ? errno : 0;
  close(file);
  size_t length = got > 0 ? (size_t)got : 0;
  while (length && isspace((unsigned char)text[length - 1]))
    length--;
  text[length] = '\0';
  return code;
}

int meter_sysfs_number(const struct meter_system *system, const char *path, long long *number) {
  char text[64], *end;
  int code = system->read_text(system->context, path, text, sizeof text);
  if (code)
    return code;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end || errno)
    return EBADMSG;
  *number = value;
  return 0;
}

bool meter_sysfs_read_in(const struct meter_system *system, const char *folder, const char *name, double *value) {
  char path[METER_SYSFS_PATH];
  long long number;
  if (!meter_sysfs_join(path, folder, name) || meter_sysfs_number(system, path, &number))
    return false;
  *value = (double)number;
  return true;
}

void meter_sysfs_each(const struct meter_system *system, const char *pattern, meter_sysfs_visit *visit, void *to) {
  char path[METER_SYSFS_PATH];
  glob_t found = {0};
  if (meter_sysfs_join(path, system->sysfs, pattern) && !glob(path, 0, NULL, &found))
    for (size_t i = 0; i < found.gl_pathc; i++)
      visit(system, found.gl_pathv[i], to);
  globfree(&found);
}

bool meter_sysfs_join(char path[METER_SYSFS_PATH], const char *folder, const char *name) {
  int length = snprintf(path, METER_SYSFS_PATH, "%s/%s", folder, name);
  return length >= 0 && length < METER_SYSFS_PATH;
}

void meter_sysfs_folder(const char *path, char folder[METER_SYSFS_PATH]) {
  const char *slash = strrchr(path, '/');
  int length = slash ? (int)(slash - path) : 0;
  snprintf(folder, METER_SYSFS_PATH, "%.*s", length, path);
}

const char *meter_sysfs_words(int code) {
  static const struct {
    int code;
    const char *words;
  } table[] = {
      {EACCES, "permission denied"},
      {EPERM, "operation not permitted"},
      {ENODATA, "no data, the channel is off"},
      {ETIMEDOUT, "timed out"},
      {EIO, "input/output error"},
      {ENOENT, "the file is gone"},
      {ENODEV, "the device is gone"},
      {ENXIO, "the device is gone"},
      {EBADMSG, "not a number"},
      {ERANGE, "outside its range"},
      {EAGAIN, "busy"},
      {EBUSY, "busy"},
      {EREMOTEIO, "remote I/O error"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].code == code)
      return table[i].words;
  return "unexpected error";
}
