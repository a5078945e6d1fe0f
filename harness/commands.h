/* The verbs of the command line that live in the harness itself (run, report and check: harness/experiment.h).
 *
 * argv[0] is the verb. Each prints results to stdout, progress and a one-line error to stderr, and returns the exit
 * status: 0, 1 for a failure, 2 for wrong usage, 130 when interrupted. */
#ifndef FFBENCH_HARNESS_COMMANDS_H
#define FFBENCH_HARNESS_COMMANDS_H

int train_command(int argc, char **argv);
int replay_command(int argc, char **argv);
int list_command(int argc, char **argv);
int doctor_command(int argc, char **argv);

#endif
