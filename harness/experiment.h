/* The verbs run, report and check: a Lua experiment becomes runs, and their records become tables and verdicts.
 *
 * run     plan -> train every cell without a finished record -> report
 * report  tables to the terminal and to <results>, figures to <results>/plots, from the records at hand; gaps show
 * check   gates and verdicts; exit status 1 on a failed gate
 *
 * The profile is --profile, else the environment's FFBENCH_PROFILE, else quick (paper on a Jetson). A dataset that is
 * not there is replaced by the synthetic one of its shape, unless --data named the folder, and everything that comes of
 * it says so. */
#ifndef FFBENCH_HARNESS_EXPERIMENT_H
#define FFBENCH_HARNESS_EXPERIMENT_H

/* argv[0] is the verb; returns the exit status: 0, 1 for a failure or a failed gate, 2 for wrong usage, 130 when
 * interrupted. */
int experiment_command(int argc, char **argv);

#endif
