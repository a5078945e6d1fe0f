#include "harness/lock.h"

#include "harness/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The holder removes the file before it lets go, so a lock may have been won on a file that is gone. */
static bool still_there(const struct lock *lock) {
  struct stat held, named;
  return fstat(lock->descriptor, &held) == 0 && stat(lock->path, &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

bool lock_take(struct lock *lock, const char *path, const char *remedy, struct ffb_error *error) {
  *lock = (struct lock){.descriptor = -1};
  if ((size_t)snprintf(lock->path, sizeof lock->path, "%s.lock", path) >= sizeof lock->path)
    return ffb_fail_usage(error, "the file name %.60s... is too long: give a shorter one", path);
  char folder[PATH_MAX];
  file_folder(lock->path, folder);
  if (!file_make_folder(folder, remedy, error))
    return false;
  for (;;) {
    lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->descriptor < 0)
      return ffb_fail(error, "cannot write %s: %s: %s", lock->path, strerror(errno), remedy);
    if (flock(lock->descriptor, LOCK_EX | LOCK_NB)) {
      close(lock->descriptor);
      lock->descriptor = -1;
      return ffb_fail(error, "another process is at work on %s: wait for it, or %s", path, remedy);
    }
    if (still_there(lock))
      return true;
    close(lock->descriptor);
  }
}

void lock_release(struct lock *lock) {
  if (lock->descriptor < 0)
    return;
  unlink(lock->path);
  close(lock->descriptor);
  lock->descriptor = -1;
}
