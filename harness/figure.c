#include "harness/figure.h"

#include "base/memory.h"
#include "harness/value.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  PANELS_MAX = 8,
  SERIES_MAX = 24,
  POINTS_MAX = 100000,
  TEXT_MAX = 400,
  WHERE_BYTES = 160,
};

static const double largest = 1e100;

enum style { STYLE_LINE, STYLE_POINTS, STYLE_LINE_POINTS, STYLE_STEPS, STYLE_BARS };

static const char *const style_names[] = {"line", "points", "line_points", "steps", "bars"};

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
  return strlen(*text) <= TEXT_MAX || ffb_fail(error, "%s: %s is longer than %d bytes", where, key, TEXT_MAX);
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

/* ---- the page: a column of a two-column paper, measured in pixels of the SVG ------------------------------------ */

enum {
  PAGE_WIDTH = 326, /* 3.4 inches of 96 */
  PIXELS_OF_PNG = 4,
  LEFT = 40,
  RIGHT = 18,
  TITLE_LINE = 14,
  PANEL_TITLE = 22, /* and the y axis's title, on one line above the panel */
  PANEL_HEIGHT = 140,
  PANEL_BELOW = 36, /* numbers and title of the x axis */
  LEGEND_LINE = 13,
  LEGEND_SPACE = 6,
  FOOTER_LINE = 10,
  TITLE_COLUMNS = 44,
  FOOTER_COLUMNS = 58,
  LEGEND_COLUMNS = 24, /* the longest title with two columns of them */
};

static const char without_points[] = " (no record)";

struct page {
  int height, title_lines, footer_lines, legend_rows, legend_entries;
};

static size_t columns_of(const char *text) {
  size_t columns = 0;
  for (; *text; text++)
    columns += ((unsigned char)*text & 0xc0) != 0x80;
  return columns;
}

/* The length of the next line of at most `columns` characters, and where the one after it begins. */
static size_t next_line(const char *text, size_t columns, const char **rest) {
  size_t used = 0, length = 0, space = 0;
  for (; text[length]; length++) {
    used += ((unsigned char)text[length] & 0xc0) != 0x80;
    if (text[length] == ' ' && used <= columns + 1)
      space = length;
    if (used > columns)
      break;
  }
  if (text[length] && space > 0)
    length = space;
  while (text[length] && ((unsigned char)text[length] & 0xc0) == 0x80)
    length++;
  *rest = text + length;
  while (**rest == ' ')
    (*rest)++;
  return length;
}

static int lines_of(const char *text, size_t columns) {
  int lines = 0;
  for (const char *rest = text; *rest; lines++)
    next_line(rest, columns, &rest);
  return lines;
}

/* Series of other panels with the same title look the same: one entry. */
static bool is_first_of_its_title(const struct figure *figure, size_t panel, size_t series) {
  const char *title = figure->panels[panel].series[series].title;
  for (size_t i = 0; i <= panel; i++)
    for (size_t k = 0; k < (i == panel ? series : figure->panels[i].count); k++)
      if (strcmp(figure->panels[i].series[k].title, title) == 0)
        return false;
  return *title != '\0';
}

static struct page page_of(const struct figure *figure) {
  struct page page = {.title_lines = lines_of(figure->title, TITLE_COLUMNS),
                      .footer_lines = lines_of(figure->footer, FOOTER_COLUMNS),
                      .legend_entries = figure->not_finite};
  size_t longest = 0;
  for (size_t i = 0; i < figure->count; i++)
    for (size_t k = 0; k < figure->panels[i].count; k++)
      if (is_first_of_its_title(figure, i, k)) {
        const struct series *series = &figure->panels[i].series[k];
        size_t columns = columns_of(series->title) + (series->count ? 0 : sizeof without_points - 1);
        longest = columns > longest ? columns : longest;
        page.legend_entries++;
      }
  page.legend_rows = longest <= LEGEND_COLUMNS ? (page.legend_entries + 1) / 2 : page.legend_entries;
  page.height = 6 + page.title_lines * TITLE_LINE + (int)figure->count * (PANEL_TITLE + PANEL_HEIGHT + PANEL_BELOW) +
                LEGEND_SPACE + page.legend_rows * LEGEND_LINE + LEGEND_SPACE + page.footer_lines * FOOTER_LINE + 4;
  return page;
}

static double across(double pixels) {
  return pixels / PAGE_WIDTH;
}

/* gnuplot measures from below. */
static double up(const struct page *page, double pixels_from_top) {
  return 1 - pixels_from_top / page->height;
}

/* ---- the script ------------------------------------------------------------------------------------------------ */

/* Okabe and Ito's palette without its yellow, which is too pale for a line on white. */
static const uint32_t palette[] = {0x8c8c8c, 0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x000000};
static const int markers[] = {7, 7, 5, 9, 13, 11, 15, 7}; /* filled shapes */

/* Nothing is special between single quotes but the quote itself. It becomes an apostrophe: doubled, as gnuplot wants
 * it, it is misread at the start of a text. */
static void put_text(FILE *to, const char *text, size_t length) {
  fputc('\'', to);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '\'')
      fputs("\u2019", to);
    else
      fputc(c < 0x20 || c == 0x7f ? ' ' : c, to);
  }
  fputc('\'', to);
}

static void put_whole(FILE *to, const char *text) {
  put_text(to, text, strlen(text));
}

static uint32_t colour_of(const struct series *series) {
  uint32_t colour = palette[series->colour], pale = 0;
  if (!series->paper)
    return colour;
  for (int shift = 0; shift < 24; shift += 8)
    pale |= (((colour >> shift & 0xff) + 0xff) / 2) << shift;
  return pale;
}

static void put_number(FILE *to, bool known, double value) {
  if (known)
    fprintf(to, " %.10g", value);
  else
    fputs(" nan", to);
}

enum { COLUMN_LINE = 2, COLUMN_LOW, COLUMN_HIGH, COLUMN_FINITE, COLUMN_NOT_FINITE };

static void put_data(FILE *to, const struct panel *panel, const struct series *series, size_t p, size_t s) {
  fprintf(to, "$p%zus%zu << EOD\n", p, s);
  for (size_t i = 0; i < series->count; i++) {
    const struct point *point = &series->points[i];
    bool finite = isfinite(point->y), band = finite && isfinite(point->low) && isfinite(point->high);
    fprintf(to, "%.10g", point->x);
    put_number(to, true, finite ? point->y : panel->edge);
    put_number(to, band, point->low);
    put_number(to, band, point->high);
    put_number(to, finite, point->y);
    put_number(to, !finite, panel->edge);
    fputc('\n', to);
  }
  fprintf(to, "EOD\n");
}

static bool has_band(const struct series *series) {
  for (size_t i = 0; i < series->count; i++)
    if (isfinite(series->points[i].low) && series->points[i].low < series->points[i].high)
      return true;
  return false;
}

/* Few points are marked, so that one epoch is not an empty picture. */
static enum style style_of(const struct series *series) {
  return series->style == STYLE_LINE && series->count <= 12 ? STYLE_LINE_POINTS : series->style;
}

static void put_look(FILE *to, const struct series *series, enum style style) {
  static const char *const with[] = {"lines", "points", "linespoints", "histeps", "boxes"};
  fprintf(to, " with %s lc rgb '#%06x'", with[style], (unsigned)colour_of(series));
  fprintf(to, series->paper ? " lw 1 dt (7,4)" : " lw 1.8");
  if (style == STYLE_POINTS || style == STYLE_LINE_POINTS)
    fprintf(to, " pt %d ps %g", markers[series->colour], series->paper ? 0.25 : 0.4);
  if (style == STYLE_BARS)
    fprintf(to, " fs solid 0.5");
}

static void put_curve(FILE *to, const struct series *series, enum style style, int column, size_t p, size_t s) {
  fprintf(to, "$p%zus%zu using 1:%d", p, s, column);
  put_look(to, series, style);
  fprintf(to, " notitle, ");
}

static void put_not_finite(FILE *to, uint32_t colour) {
  fprintf(to, " with points pt 9 ps 0.8 lc rgb '#%06x'", (unsigned)colour);
}

static void put_bands(FILE *to, const struct panel *panel, size_t p) {
  for (size_t i = 0; i < panel->count; i++)
    if (has_band(&panel->series[i]))
      fprintf(to,
              "$p%zus%zu using 1:%d:%d with filledcurves fc rgb '#%06x' fs transparent solid 0.2 noborder notitle, ", p,
              i, COLUMN_LOW, COLUMN_HIGH, (unsigned)colour_of(&panel->series[i]));
}

/* The paper's first, so that they lie behind ours. A line goes on to the edge where values are not finite. */
static void put_curves(FILE *to, const struct panel *panel, size_t p, bool paper) {
  for (size_t i = 0; i < panel->count; i++) {
    const struct series *series = &panel->series[i];
    enum style style = style_of(series);
    if (series->count == 0 || series->paper != paper)
      continue;
    if (style == STYLE_LINE || style == STYLE_LINE_POINTS)
      put_curve(to, series, STYLE_LINE, COLUMN_LINE, p, i);
    if (style != STYLE_LINE)
      put_curve(to, series, style == STYLE_LINE_POINTS ? STYLE_POINTS : style, COLUMN_FINITE, p, i);
    if (!isnan(panel->edge)) {
      fprintf(to, "$p%zus%zu using 1:%d", p, i, COLUMN_NOT_FINITE);
      put_not_finite(to, colour_of(series));
      fprintf(to, " notitle, ");
    }
  }
}

static void put_range(FILE *to, char name, const struct axis *axis, double top) {
  fprintf(to, "  set %crange [%.10g:%.10g]\n", name, axis->from, isnan(top) ? axis->to : top);
  if (axis->logarithmic)
    fprintf(to, "  set logscale %c\n  set format %c '%%g'\n  set %ctics nomirror autofreq\n", name, name, name);
  else
    fprintf(to, "  unset logscale %c\n  set format %c '%%g'\n  set %ctics nomirror %.10g,%.10g,%.10g\n", name, name,
            name, axis->step * ceil(axis->from / axis->step - 1e-9) + 0.0, axis->step, axis->to + axis->step * 1e-6);
  if (!isnan(top))
    fprintf(to, "  set %ctics add ('∞' %.10g)\n", name, top);
}

static void put_axis_title(FILE *to, const struct axis *axis) {
  char text[2 * TEXT_MAX + 8];
  snprintf(text, sizeof text, *axis->unit ? "%s (%s)" : "%s%s", axis->title, axis->unit);
  put_whole(to, text);
}

static void put_panel(FILE *to, const struct figure *figure, size_t p, const struct page *page) {
  const struct panel *panel = &figure->panels[p];
  double top =
      6 + page->title_lines * TITLE_LINE + (double)p * (PANEL_TITLE + PANEL_HEIGHT + PANEL_BELOW) + PANEL_TITLE;
  fprintf(to, "  set tmargin at screen %.6f\n  set bmargin at screen %.6f\n", up(page, top),
          up(page, top + PANEL_HEIGHT));
  fprintf(to, "  unset label\n  set label 1 ");
  put_axis_title(to, &panel->y);
  fprintf(to, " at screen %.6f,%.6f left font ',9'\n", across(6), up(page, top - 13));
  if (*panel->title) {
    fprintf(to, "  set label 2 ");
    put_whole(to, panel->title);
    fprintf(to, " at screen %.6f,%.6f right font ',9'\n", across(PAGE_WIDTH - RIGHT), up(page, top - 13));
  }
  fprintf(to, "  set label 3 ");
  put_axis_title(to, &panel->x);
  fprintf(to, " at screen %.6f,%.6f center font ',9'\n", across((LEFT + PAGE_WIDTH - RIGHT) / 2.0),
          up(page, top + PANEL_HEIGHT + 29));
  put_range(to, 'x', &panel->x, (double)NAN);
  put_range(to, 'y', &panel->y, panel->edge);
  fprintf(to, "  plot ");
  put_bands(to, panel, p);
  put_curves(to, panel, p, true);
  put_curves(to, panel, p, false);
  fprintf(to, "NaN notitle\n"); /* closes the list, also an empty one */
}

static void put_lines(FILE *to, const char *text, size_t columns, double top, int pitch, const char *look,
                      const struct page *page) {
  for (const char *rest = text; *rest;) {
    const char *line = rest;
    fprintf(to, "  set label ");
    put_text(to, line, next_line(line, columns, &rest));
    fprintf(to, " at screen %.6f,%.6f left %s\n", across(6), up(page, top), look);
    top += pitch;
  }
}

static void put_entry(FILE *to, const struct series *series) {
  char title[TEXT_MAX + 32];
  snprintf(title, sizeof title, series->count ? "%s" : "%s%s", series->title, without_points);
  fputc('2', to); /* above everything that is shown */
  put_look(to, series, style_of(series));
  fprintf(to, " title ");
  put_whole(to, title);
  fprintf(to, ", ");
}

/* Entries from `first` on, as many as there are rows. */
static void put_legend(FILE *to, const struct figure *figure, const struct page *page, int first, double top) {
  int entry = 0, end = first + page->legend_rows;
  fprintf(to, "  set key at screen %.6f,%.6f left top Left reverse samplen 2.2 spacing 1 font ',9' maxcols 1\n  plot ",
          across(first == 0 ? -2 : PAGE_WIDTH / 2.0 - 10), up(page, top));
  for (size_t i = 0; i < figure->count; i++)
    for (size_t k = 0; k < figure->panels[i].count; k++) {
      if (!is_first_of_its_title(figure, i, k))
        continue;
      if (entry >= first && entry < end)
        put_entry(to, &figure->panels[i].series[k]);
      entry++;
    }
  if (figure->not_finite && entry >= first && entry < end) {
    fputc('2', to);
    put_not_finite(to, 0);
    fprintf(to, " title 'not finite', ");
  }
  fprintf(to, "NaN notitle\n");
}

/* Title, legend and footer, in a plot over the whole page that shows nothing else. */
static void put_frame(FILE *to, const struct figure *figure, const struct page *page) {
  double footer = page->height - 4 - page->footer_lines * FOOTER_LINE;
  double legend = footer - LEGEND_SPACE - page->legend_rows * LEGEND_LINE;
  fprintf(to, "  set lmargin at screen 0\n  set rmargin at screen 1\n  set tmargin at screen 1\n"
              "  set bmargin at screen 0\n  unset border\n  unset tics\n  unset label\n  unset grid\n"
              "  unset logscale\n  set xrange [0:1]\n  set yrange [0:1]\n");
  put_lines(to, figure->title, TITLE_COLUMNS, 12, TITLE_LINE, "font ',10'", page);
  put_lines(to, figure->footer, FOOTER_COLUMNS, footer + FOOTER_LINE / 2.0, FOOTER_LINE,
            "font ',7' textcolor rgb '#555555'", page);
  put_legend(to, figure, page, 0, legend);
  fprintf(to, "  unset label\n");
  if (page->legend_rows < page->legend_entries)
    put_legend(to, figure, page, page->legend_rows, legend);
  fprintf(
      to,
      "  unset key\n  set lmargin at screen %.6f\n  set rmargin at screen %.6f\n"
      "  set border 3 lw 0.7 lc rgb '#666666'\n  set tics nomirror out scale 0.5 font ',9' textcolor rgb '#333333'\n"
      "  set grid ytics lt 1 lw 0.5 lc rgb '#e4e4e4'\n",
      across(LEFT), across(PAGE_WIDTH - RIGHT));
}

static void put_script(FILE *to, const struct figure *figure) {
  struct page page = page_of(figure);
  fprintf(to, "# gnuplot %s.gp draws %s.svg and %s.png. Written by ffbench from its records.\n", figure->name,
          figure->name, figure->name);
  fprintf(to, "set encoding utf8\n");
  for (size_t i = 0; i < figure->count; i++)
    for (size_t k = 0; k < figure->panels[i].count; k++)
      put_data(to, &figure->panels[i], &figure->panels[i].series[k], i, k);
  fprintf(
      to,
      "do for [format in 'svg png'] {\n"
      "  if (format eq 'svg') {\n"
      "    set terminal svg noenhanced size %d,%d font 'DejaVu Sans,Arial,Helvetica,sans-serif,9' background 'white'\n"
      "  } else {\n"
      "    set terminal pngcairo noenhanced size %d,%d font 'DejaVu Sans,9' fontscale %d linewidth %d pointscale %d "
      "background 'white'\n"
      "  }\n"
      "  set output '%s.'.format\n"
      "  set multiplot\n",
      PAGE_WIDTH, page.height, PAGE_WIDTH * PIXELS_OF_PNG, page.height * PIXELS_OF_PNG, PIXELS_OF_PNG, PIXELS_OF_PNG,
      PIXELS_OF_PNG, figure->name);
  put_frame(to, figure, &page);
  for (size_t i = 0; i < figure->count; i++)
    put_panel(to, figure, i, &page);
  fprintf(to, "  unset multiplot\n  unset output\n}\n");
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
      put_script(stream, &figure);
    if (stream && fclose(stream) == 0)
      script = ffb_copy_string(text, error);
    else
      ffb_fail(error, "out of memory for the figure %s: close other programs", figure.name);
    free(text);
  }
  release(&figure);
  return script;
}
