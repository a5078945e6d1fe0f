/* A figure of a report: from its description, as experiments/lib/figures.lua makes it, to a gnuplot script.
 *
 * Only texts and numbers are taken from the description, and texts are quoted: gnuplot can run programs and write
 * files, so nothing that an experiment says may reach it as a command. The same description gives the same script.
 *
 *   {name, title, footer, panels: [{title, x: axis, y: axis, series: [series...]}...]}
 *   axis    {title, unit, from, to, scale: "linear" | "log"}; all but title optional
 *   series  {title, style: "line" | "points" | "line_points" | "steps" | "bars", colour: 1 to 7 or 0 for grey, paper,
 *            points: [[x, y] or [x, y, low, high]...]}; y may be "inf", "-inf" or "nan" */
#ifndef FFBENCH_HARNESS_FIGURE_H
#define FFBENCH_HARNESS_FIGURE_H

#include "base/error.h"

#include <jansson.h>

/* The script draws <name>.svg and <name>.png in the folder where gnuplot runs. Null with an error that names the part
 * of the description that cannot be drawn; freed by ffb_free. */
char *figure_script(const json_t *description, struct ffb_error *error);

/* The name of a description whose script was made. */
const char *figure_name(const json_t *description);

#endif
