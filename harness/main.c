/* ffbench: trains networks with interchangeable algorithms, measures what each run costs, and keeps a record of it. */
#include "base/option.h"
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/data.h"
#include "harness/experiment.h"
#include "harness/provenance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct verb {
  const char *name;
  int (*execute)(int argc, char **argv);
  const char *summary;
};

static int help_command(int argc, char **argv);

static const struct verb verbs[] = {
    {"train", train_command, "train one network and write a record"},
    {"run", experiment_command, "train what an experiment lists, and write its tables and figures"},
    {"report", experiment_command, "tables and figures from the records at hand"},
    {"check", experiment_command, "compare the records with the paper; exit status 1 on a failed gate"},
    {"replay", replay_command, "run a record's configuration again; exit status 1 where the numbers differ"},
    {"list", list_command, "algorithms, models, datasets, backends, meters, experiments"},
    {"doctor", doctor_command, "what this machine can and cannot measure, and what to do about it"},
    {"help", help_command, "this text, or that of a verb"},
};

enum { VERBS = sizeof verbs / sizeof *verbs };

static const struct verb *find_verb(const char *name, struct ffb_error *error) {
  const char *names[VERBS];
  for (size_t i = 0; i < VERBS; i++) {
    names[i] = verbs[i].name;
    if (strcmp(name, verbs[i].name) == 0)
      return &verbs[i];
  }
  const char *nearest = ffb_nearest_name(name, names, VERBS);
  ffb_fail_usage(error, "no verb \"%s\": %s%s%s\"ffbench help\" lists them", name, nearest ? "did you mean " : "",
                 nearest ? nearest : "", nearest ? "? " : "");
  return NULL;
}

static void print_help(FILE *to) {
  fputs("usage: ffbench VERB [options]\n\n"
        "Trains networks with interchangeable algorithms and measures what each costs.\n\n",
        to);
  for (size_t i = 0; i < VERBS; i++)
    fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
  fputs("\n\"ffbench VERB --help\" says more. --version tells which build this is.\n", to);
}

static int help_command(int argc, char **argv) {
  struct ffb_error error;
  if (argc < 2 || argv[1][0] == '-') {
    print_help(stdout);
    return 0;
  }
  const struct verb *verb = find_verb(argv[1], &error);
  if (!verb)
    return command_line_fail(&error);
  char help[] = "--help";
  char *arguments[] = {argv[1], help, NULL};
  return verb->execute(2, arguments);
}

static int print_version(void) {
  char version[512];
  provenance_version(version, sizeof version);
  puts(version);
  return 0;
}

static int execute(int argc, char **argv) {
  struct ffb_error error;
  if (argc < 2) {
    print_help(stderr);
    return 2;
  }
  if (strcmp(argv[1], "--version") == 0)
    return print_version();
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return help_command(0, NULL);
  const struct verb *verb = find_verb(argv[1], &error);
  return verb ? verb->execute(argc - 1, argv + 1) : command_line_fail(&error);
}

/* An OpenMP thread that waits spins first. The default, milliseconds, lets two programs on one processor hold each
 * other up a hundredfold; a tenth of a millisecond bridges every gap within a step. libgomp reads this before main,
 * hence the second start; it goes on as it is where that is not possible. */
static void bound_spinning(char **argv) {
  if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || setenv("GOMP_SPINCOUNT", "10000", 0))
    return;
  execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
  bound_spinning(argv);
  int status = execute(argc, argv);
  data_forget();
  /* Results that did not reach their reader are a failure. */
  if (fflush(stdout) && status == 0) {
    fprintf(stderr, "ffbench: cannot write to standard output: %s\n", strerror(errno));
    status = 1;
  }
  return status;
}
