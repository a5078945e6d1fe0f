#include "harness/figure.h"

#include "base/memory.h"
#include "harness/figure_parts.h"
#include "harness/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  PANELS_MAX = 8,
  SERIES_MAX = 24,
  POINTS_MAX = 100000,
  WHERE_BYTES = 160,
};

static const double largest = 1e100;

static const char *const style_names[] = {"line", "points", "line_points", "steps", "bars"};

/* ---- reading --------------------------------------------------------------------------------------------------- */

static bool refuse(struct ffb_error *error, const char *where, const char *problem) {
  ffb_fail(error, "%s: %s", where, problem);
  return false;
}

static bool read_text(const json_t *object, const char *key, const char **text, const char *where,
                      struct ffb_error *error) {
  const json_t *value = json_object_get(object, key);
  *text = value ? json_string_value(value) : "";
  if (!*text)
    return ffb_fail(error, "%s: %s must be a text", where, key);
  return strlen(*text) <= FIGURE_TEXT_MAX ||
         ffb_fail(error, "%s: %s is longer than %d bytes", where, key, FIGURE_TEXT_MAX);
}

/* NaN where there is none. */
static bool read_bound(const json_t *object, const char *key, double *bound, const char *where,
                       struct ffb_error *error) {
  const json_t *value = json_object_get(object, key);
  *bound = value ? json_number_value(value) : (double)NAN;
  return !value || (json_is_number(value) && fabs(*bound) <= largest) ||
         ffb_fail(error, "%s: %s must be a finite number", where, key);
}

static bool read_axis(const json_t *panel, const char *key, struct axis *axis, const char *panel_where,
                      struct ffb_error *error) {
  const json_t *object = json_object_get(panel, key);
  const char *scale;
  char where[WHERE_BYTES];
  snprintf(where, sizeof where, "%s, axis %s", panel_where, key);
  if (!json_is_object(object))
    return refuse(error, where, "there is none: write a table with a title");
  if (!read_text(object, "title", &axis->title, where, error) ||
      !read_text(object, "unit", &axis->unit, where, error) || !read_text(object, "scale", &scale, where, error) ||
      !read_bound(object, "from", &axis->from, where, error) || !read_bound(object, "to", &axis->to, where, error))
    return false;
  axis->logarithmic = strcmp(scale, "log") == 0;
  if (*scale && !axis->logarithmic && strcmp(scale, "linear") != 0)
    return refuse(error, where, "scale must be linear or log");
  if (axis->from >= axis->to)
    return refuse(error, where, "from must be less than to");
  if (axis->logarithmic && (axis->from <= 0 || axis->to <= 0))
    return refuse(error, where, "a log scale has no room for zero and below");
  return true;
}

static bool is_number(const json_t *value) {
  const char *text = json_string_value(value);
  return json_is_number(value) ||
         (text && (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0 || strcmp(text, "nan") == 0));
}

static bool read_point(const json_t *value, const struct panel *panel, struct point *point) {
  size_t size = json_array_size(value);
  if (size != 2 && size != 4)
    return false;
  for (size_t i = 0; i < size; i++)
    if (!is_number(json_array_get(value, i)))
      return false;
  *point = (struct point){.x = value_number_read(json_array_get(value, 0)),
                          .y = value_number_read(json_array_get(value, 1)),
                          .low = size == 4 ? value_number_read(json_array_get(value, 2)) : (double)NAN,
                          .high = size == 4 ? value_number_read(json_array_get(value, 3)) : (double)NAN};
  if (fabs(point->y) > largest) /* as good as infinite, and ranges must not overflow */
    point->y = (double)INFINITY;
  return fabs(point->x) <= largest && (!panel->x.logarithmic || point->x > 0);
}

static bool read_points(const json_t *object, const struct panel *panel, struct series *series, const char *where,
                        struct ffb_error *error) {
  const json_t *list = json_object_get(object, "points");
  size_t count = json_array_size(list);
  bool empty = json_is_object(list) && json_object_size(list) == 0; /* how Lua writes an empty table */
  if (!json_is_array(list) && !empty)
    return refuse(error, where, "points must be a list of {x, y} or {x, y, low, high}");
  if (count > POINTS_MAX)
    return ffb_fail(error, "%s: %zu points are more than %d: draw fewer", where, count, POINTS_MAX);
  if (!(series->points = ffb_allocate(count + 1, sizeof *series->points, error)))
    return false;
  for (size_t i = 0; i < count; i++)
    if (!read_point(json_array_get(list, i), panel, &series->points[i]))
      return ffb_fail(error,
                      "%s: point %zu must be {x, y} or {x, y, low, high} of numbers, with an x that its axis has room "
                      "for",
                      where, i + 1);
  series->count = count;
  return true;
}

static bool read_style(const json_t *object, struct series *series, const char *where, struct ffb_error *error) {
  const char *style;
  if (!read_text(object, "style", &style, where, error))
    return false;
  for (size_t i = 0; i < sizeof style_names / sizeof *style_names; i++)
    if (strcmp(style, style_names[i]) == 0 || (!*style && i == STYLE_LINE)) {
      series->style = (enum style)i;
      return true;
    }
  return ffb_fail(error, "%s: style must be line, points, line_points, steps or bars, not %.40s", where, style);
}

static bool read_series(const json_t *object, const struct panel *panel, struct series *series, const char *where,
                        struct ffb_error *error) {
  const json_t *colour = json_object_get(object, "colour");
  series->paper = json_is_true(json_object_get(object, "paper"));
  series->colour = (int)json_integer_value(colour);
  if (!json_is_object(object))
    return refuse(error, where, "it must be a table");
  if ((colour && !json_is_integer(colour)) || json_integer_value(colour) < 0 || json_integer_value(colour) > 7)
    return refuse(error, where, "colour must be a whole number from 1 to 7, or 0 for grey");
  return read_text(object, "title", &series->title, where, error) && read_style(object, series, where, error) &&
         read_points(object, panel, series, where, error);
}

static bool read_panel(const json_t *object, struct panel *panel, const char *where, struct ffb_error *error) {
  const json_t *list = json_object_get(object, "series");
  size_t count = json_array_size(list);
  if (!json_is_object(object) || count == 0)
    return refuse(error, where, "it has no series");
  if (count > SERIES_MAX)
    return ffb_fail(error, "%s: %zu series are more than %d: nobody could tell them apart", where, count, SERIES_MAX);
  if (!read_text(object, "title", &panel->title, where, error) || !read_axis(object, "x", &panel->x, where, error) ||
      !read_axis(object, "y", &panel->y, where, error) ||
      !(panel->series = ffb_allocate(count, sizeof *panel->series, error)))
    return false;
  panel->count = count;
  for (size_t i = 0; i < count; i++) {
    char here[WHERE_BYTES + 32];
    snprintf(here, sizeof here, "%s, series %zu", where, i + 1);
    if (!read_series(json_array_get(list, i), panel, &panel->series[i], here, error))
      return false;
  }
  return true;
}

static bool is_plain_name(const char *name) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return name && *name && strlen(name) <= 64 && strspn(name, plain) == strlen(name);
}

static bool read_figure(const json_t *description, struct figure *figure, struct ffb_error *error) {
  const json_t *list = json_object_get(description, "panels");
  size_t count = json_array_size(list);
  char where[WHERE_BYTES];
  figure->name = figure_name(description);
  if (!is_plain_name(figure->name))
    return refuse(error, "a figure", "its name becomes a file name: letters, digits, _ and - only, 64 at most");
  snprintf(where, sizeof where, "figure %s", figure->name);
  if (!read_text(description, "title", &figure->title, where, error) ||
      !read_text(description, "footer", &figure->footer, where, error))
    return false;
  if (count == 0 || count > PANELS_MAX)
    return ffb_fail(error, "%s: it has %zu panels; 1 to %d can be drawn", where, count, PANELS_MAX);
  if (!(figure->panels = ffb_allocate(count, sizeof *figure->panels, error)))
    return false;
  figure->count = count;
  for (size_t i = 0; i < count; i++) {
    char here[WHERE_BYTES];
    snprintf(here, sizeof here, "figure %s, panel %zu", figure->name, i + 1);
    if (!read_panel(json_array_get(list, i), &figure->panels[i], here, error))
      return false;
  }
  return true;
}

static void release(struct figure *figure) {
  for (size_t i = 0; i < figure->count; i++) {
    for (size_t k = 0; k < figure->panels[i].count; k++)
      ffb_free(figure->panels[i].series[k].points);
    ffb_free(figure->panels[i].series);
  }
  ffb_free(figure->panels);
}

/* ---- ranges ---------------------------------------------------------------------------------------------------- */

struct extent {
  double low, high;
  bool whole; /* every value is a whole number */
};

static void widen(struct extent *extent, double value, bool positive_only) {
  if (!(fabs(value) <= largest) || (positive_only && value <= 0))
    return;
  extent->low = fmin(extent->low, value);
  extent->high = fmax(extent->high, value);
  extent->whole = extent->whole && value == floor(value);
}

static struct extent extent_of(const struct panel *panel, bool of_x) {
  struct extent extent = {INFINITY, -INFINITY, true};
  bool positive = of_x ? panel->x.logarithmic : panel->y.logarithmic;
  for (size_t i = 0; i < panel->count; i++)
    for (size_t k = 0; k < panel->series[i].count; k++) {
      const struct point *point = &panel->series[i].points[k];
      widen(&extent, of_x ? point->x : point->y, positive);
      if (!of_x) {
        widen(&extent, point->low, positive);
        widen(&extent, point->high, positive);
      }
    }
  if (extent.low > extent.high)
    extent.low = positive ? 1 : 0, extent.high = positive ? 10 : 1;
  return extent;
}

/* 1, 2 or 5 times a power of ten, so that about `parts` steps fill the width. */
static double nice_step(double width, double parts) {
  double power = pow(10, floor(log10(width / parts))), part = width / parts / power;
  return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static void settle_logarithmic(struct axis *axis, const struct extent *extent) {
  axis->from = isnan(axis->from) ? pow(10, floor(log10(extent->low))) : axis->from;
  axis->to = isnan(axis->to) ? pow(10, ceil(log10(extent->high))) : axis->to;
  if (axis->to <= axis->from)
    axis->to = axis->from * 10;
}

/* The bounds that the author left open; those of y are rounded out to a step. */
static void settle_linear(struct axis *axis, const struct extent *extent, bool round_out) {
  double from = isnan(axis->from) ? extent->low : axis->from, to = isnan(axis->to) ? extent->high : axis->to;
  if (to <= from)
    to = from + fmax(1, 0.1 * fabs(from));
  axis->step = nice_step(to - from, 5);
  if (extent->whole && axis->step < 1 && !round_out)
    axis->step = 1;
  if (round_out && isnan(axis->from))
    from = axis->step * floor(from / axis->step + 1e-9);
  if (round_out && isnan(axis->to))
    to = axis->step * ceil(to / axis->step - 1e-9);
  axis->from = from;
  axis->to = to;
}

static void settle_axis(struct axis *axis, const struct extent *extent, bool round_out) {
  if (axis->logarithmic)
    settle_logarithmic(axis, extent);
  else
    settle_linear(axis, extent, round_out);
}

static bool has_not_finite(const struct panel *panel) {
  for (size_t i = 0; i < panel->count; i++)
    for (size_t k = 0; k < panel->series[i].count; k++)
      if (!isfinite(panel->series[i].points[k].y))
        return true;
  return false;
}

static void settle_ranges(struct figure *figure) {
  for (size_t i = 0; i < figure->count; i++) {
    struct panel *panel = &figure->panels[i];
    struct extent x = extent_of(panel, true), y = extent_of(panel, false);
    settle_axis(&panel->x, &x, false);
    settle_axis(&panel->y, &y, true);
    panel->edge = (double)NAN;
    if (!has_not_finite(panel))
      continue;
    figure->not_finite = true;
    panel->edge = panel->y.logarithmic ? panel->y.to * pow(panel->y.to / panel->y.from, 0.1)
                                       : panel->y.to + 0.1 * (panel->y.to - panel->y.from);
  }
}

const char *figure_name(const json_t *description) {
  return json_string_value(json_object_get(description, "name"));
}

char *figure_script(const json_t *description, struct ffb_error *error) {
  struct figure figure = {.title = "", .footer = ""};
  char *text = NULL, *script = NULL;
  size_t size;
  if (read_figure(description, &figure, error)) {
    settle_ranges(&figure);
    FILE *stream = open_memstream(&text, &size);
    if (stream)
      figure_put_script(stream, &figure);
    if (stream && fclose(stream) == 0)
      script = ffb_copy_string(text, error);
    else
      ffb_fail(error, "out of memory for the figure %s: close other programs", figure.name);
    free(text);
  }
  release(&figure);
  return script;
}
