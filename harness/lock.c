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

bool lock_take(struct lock *lock, const char *record, struct ffb_error *error) {
  *lock = (struct lock){.descriptor = -1};
  if ((size_t)snprintf(lock->path, sizeof lock->path, "%s.lock", record) >= sizeof lock->path)
    return ffb_fail_usage(error, "the record's name is too long: give a shorter one with --record");
  for (;;) {
    lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->descriptor < 0)
      return ffb_fail(error, "cannot make the lock file %s: %s: name another place with --record", lock->path,
                      strerror(errno));
    if (flock(lock->descriptor, LOCK_EX | LOCK_NB)) {
      close(lock->descriptor);
      lock->descriptor = -1;
      return ffb_fail(error, "another process is making %s: wait for it, or name another place with --record", record);
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
