/* What the files of a figure share: figure.c reads the description and settles the ranges, figure_script.c writes the
 * script. */
#ifndef FFBENCH_HARNESS_FIGURE_PARTS_H
#define FFBENCH_HARNESS_FIGURE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { FIGURE_TEXT_MAX = 400 };

enum style { STYLE_LINE, STYLE_POINTS, STYLE_LINE_POINTS, STYLE_STEPS, STYLE_BARS };

struct axis {
  const char *title, *unit;
  double from, to, step; /* step 0: gnuplot chooses */
  bool logarithmic;
};

struct point {
  double x, y, low, high; /* low and high are NaN without a band */
};

struct series {
  const char *title;
  struct point *points;
  size_t count;
  enum style style;
  int colour;
  bool paper;
};

struct panel {
  const char *title;
  struct axis x, y;
  struct series *series;
  size_t count;
  double edge; /* where values that are not finite are drawn; NaN where there are none */
};

struct figure {
  const char *name, *title, *footer;
  struct panel *panels;
  size_t count;
  bool not_finite;
};

/* The ranges of every axis must be settled. */
void figure_put_script(FILE *to, const struct figure *figure);

#endif
