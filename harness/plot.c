#include "harness/plot.h"

#include "base/memory.h"
#include "harness/figure.h"
#include "harness/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS_MAX = 60, OUTPUT_BYTES = 512 };

static const char program[] = "gnuplot";
static const char *const endings[] = {"svg", "png"};

/* The full path, so that a folder in the PATH that is not absolute means what it means here. */
static bool find_program(char path[PATH_MAX]) {
  const char *list = getenv("PATH");
  for (const char *at = list; at && *at;) {
    size_t length = strcspn(at, ":");
    struct stat status;
    if (length > 0 && at[0] == '/' && snprintf(path, PATH_MAX, "%.*s/%s", (int)length, at, program) < PATH_MAX &&
        access(path, X_OK) == 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode))
      return true;
    at += length + (at[length] == ':');
  }
  return false;
}

bool plot_available(void) {
  char path[PATH_MAX];
  return find_program(path);
}

/* In the child: gnuplot in its folder, with nothing to read and its complaints in a pipe. */
static void become_gnuplot(const char *path, const char *folder, const char *script, int complaints) {
  static char name[] = "gnuplot", plain[] = "-d"; /* -d: without anybody's settings */
  char *arguments[] = {name, plain, (char *)script, NULL};
  int nothing = open("/dev/null", O_RDWR);
  if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
      dup2(complaints, STDERR_FILENO) < 0 || chdir(folder) != 0)
    _exit(126);
  alarm(SECONDS_MAX);
  execv(path, arguments);
  _exit(127);
}

/* The first of it; the rest is read and dropped, so that the writer never waits. */
static void read_complaints(int from, char text[OUTPUT_BYTES]) {
  char part[OUTPUT_BYTES];
  size_t used = 0;
  for (;;) {
    ssize_t got = read(from, part, sizeof part);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    size_t kept = (size_t)got < OUTPUT_BYTES - 1 - used ? (size_t)got : OUTPUT_BYTES - 1 - used;
    memcpy(text + used, part, kept);
    used += kept;
  }
  text[used] = '\0';
  for (char *c = text; *c; c++)
    if (*c == '\n' || *c == '\r' || *c == '\t')
      *c = ' ';
}

static bool run_gnuplot(const char *folder, const char *script, struct ffb_error *error) {
  char path[PATH_MAX], complaints[OUTPUT_BYTES] = "";
  int ends[2], status = 0;
  if (!find_program(path))
    return ffb_fail(error, "%s is gone: install gnuplot-nox", program);
  if (pipe2(ends, O_CLOEXEC) != 0)
    return ffb_fail(error, "cannot make a pipe to %s: %s", path, strerror(errno));
  pid_t child = fork();
  if (child == 0)
    become_gnuplot(path, folder, script, ends[1]);
  close(ends[1]);
  if (child > 0)
    read_complaints(ends[0], complaints);
  close(ends[0]);
  if (child < 0)
    return ffb_fail(error, "cannot start %s: %s", path, strerror(errno));
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    return ffb_fail(error, "%s was killed by signal %d (%s)", path, WTERMSIG(status), strsignal(WTERMSIG(status)));
  return WEXITSTATUS(status) == 0 ||
         ffb_fail(error, "%s ended with status %d: %.300s", path, WEXITSTATUS(status), complaints);
}

static bool path_of(char path[PATH_MAX], const char *folder, const char *name, const char *ending, const char *remedy,
                    struct ffb_error *error) {
  return snprintf(path, PATH_MAX, "%s/%s.%s", folder, name, ending) < PATH_MAX ||
         ffb_fail(error, "the folder name %.60s... is too long: %s", folder, remedy);
}

/* gnuplot does not look whether its writes went through. */
static bool is_whole(const char *path) {
  enum { TAIL = 32 };
  static const char *const last[] = {"</svg>", "IEND"};
  char tail[TAIL + 1];
  FILE *file = fopen(path, "rbe");
  if (!file)
    return false;
  size_t got = fseek(file, -TAIL, SEEK_END) ? 0 : fread(tail, 1, TAIL, file);
  fclose(file);
  bool found = false;
  for (size_t i = 0; i < sizeof last / sizeof *last; i++)
    found = found || memmem(tail, got, last[i], strlen(last[i]));
  return found;
}

/* From the scratch folder to where they belong. */
static bool move_pictures(const char *scratch, const char *folder, const char *name, const char *remedy,
                          struct ffb_error *error) {
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    char from[PATH_MAX], to[PATH_MAX];
    struct stat status;
    if (!path_of(from, scratch, name, endings[i], remedy, error) ||
        !path_of(to, folder, name, endings[i], remedy, error))
      return false;
    if (stat(from, &status) || status.st_size == 0)
      return ffb_fail(error, "%s drew no %s.%s: a terminal for it may be missing; install gnuplot-nox", program, name,
                      endings[i]);
    if (!is_whole(from))
      return ffb_fail(error, "cannot write %s: %s drew a part of it only: free some space, or %s", to, program, remedy);
    if (rename(from, to))
      return ffb_fail(error, "cannot write %s: %s: %s", to, strerror(errno), remedy);
  }
  return true;
}

static void remove_pictures(const char *folder, const char *name) {
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    char path[PATH_MAX];
    if (path_of(path, folder, name, endings[i], "", NULL))
      unlink(path);
  }
}

static bool draw(const char *folder, const char *name, const char *remedy, struct ffb_error *error) {
  char scratch[PATH_MAX], script[sizeof "../.gp" + 64];
  if (snprintf(scratch, sizeof scratch, "%s/.drawing-XXXXXX", folder) >= PATH_MAX)
    return ffb_fail(error, "the folder name %.60s... is too long: %s", folder, remedy);
  if (!mkdtemp(scratch))
    return ffb_fail(error, "cannot make a folder in %s: %s: %s", folder, strerror(errno), remedy);
  snprintf(script, sizeof script, "../%.64s.gp", name);
  bool ok = run_gnuplot(scratch, script, error) && move_pictures(scratch, folder, name, remedy, error);
  remove_pictures(scratch, name);
  rmdir(scratch);
  return ok || ffb_fail_prefix(error, "figure %s: ", name);
}

bool plot_figure(const json_t *figure, const char *folder, const char *remedy, struct ffb_error *error) {
  char path[PATH_MAX], *script = figure_script(figure, error);
  const char *name = figure_name(figure);
  bool ok = script && path_of(path, folder, name, "gp", remedy, error) &&
            file_replace(path, script, strlen(script), remedy, error);
  ffb_free(script);
  if (!ok)
    return false;
  remove_pictures(folder, name);
  return !plot_available() || draw(folder, name, remedy, error);
}
