/* Figures as files: a gnuplot script, and the pictures that gnuplot draws from it. */
#ifndef FFBENCH_HARNESS_PLOT_H
#define FFBENCH_HARNESS_PLOT_H

#include "base/error.h"

#include <jansson.h>

/* Whether there is a gnuplot in the PATH. */
bool plot_available(void);

/* Write <folder>/<name>.gp and, where gnuplot is there, draw <name>.svg and <name>.png beside it. Without it, pictures
 * of an earlier time are removed, because they may be of other records. Pictures appear whole or not at all. */
bool plot_figure(const json_t *figure, const char *folder, const char *remedy, struct ffb_error *error);

#endif
