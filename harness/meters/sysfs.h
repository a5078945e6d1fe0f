/* Numbers from small text files, shared by the meters that read them. */
#ifndef FFBENCH_HARNESS_METERS_SYSFS_H
#define FFBENCH_HARNESS_METERS_SYSFS_H

#include "harness/meters/meter.h"

enum { METER_SYSFS_PATH = 512 };

/* The start of a file, without trailing white space. 0, or the errno of what failed. The file is opened anew each time,
 * so that one that vanishes is noticed and one that comes back is read again. */
int meter_sysfs_read_file(const char *path, char *text, size_t size);

/* One decimal integer, alone in its file: 0, the errno of the reading, or EBADMSG when the text is anything else. */
int meter_sysfs_number(const struct meter_system *system, const char *path, long long *number);

/* One number of a folder's; false where it cannot be read. */
bool meter_sysfs_read_in(const struct meter_system *system, const char *folder, const char *name, double *value);

/* Each folder or file below system->sysfs that a pattern of glob finds. */
typedef void meter_sysfs_visit(const struct meter_system *system, const char *path, void *to);
void meter_sysfs_each(const struct meter_system *system, const char *pattern, meter_sysfs_visit *visit, void *to);

/* Join two parts of a path; false where it does not fit. */
bool meter_sysfs_join(char path[METER_SYSFS_PATH], const char *folder, const char *name);
/* `path` without its last part, to name a file's neighbours. */
void meter_sysfs_folder(const char *path, char folder[METER_SYSFS_PATH]);

/* "permission denied": a code of the functions above in words, the same on every libc. */
const char *meter_sysfs_words(int code);

#endif
