/* The experiments that come with the program: those of the folder one is in, else those that lie near the program.
 * A script that makes an experiment is one; others hold data that experiments share. */
#ifndef FFBENCH_HARNESS_CATALOGUE_H
#define FFBENCH_HARNESS_CATALOGUE_H

#include "base/error.h"

#include <limits.h>

/* summary: its first comment line, up to the end of the first sentence. */
typedef void catalogue_visit(void *to, const char *path, const char *summary);

/* In the order of their names. Fails where there is no folder of experiments. */
bool catalogue_each(catalogue_visit *visit, void *to, struct ffb_error *error);

/* The folder with lib/ for the experiment `file`: its own, else that of the experiments near the program. */
bool catalogue_library(const char *file, char library[PATH_MAX], struct ffb_error *error);

#endif
