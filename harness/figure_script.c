#include "harness/figure_parts.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ---- the page: a column of a two-column paper, measured in pixels of the SVG ------------------------------------ */

enum {
  PAGE_WIDTH = 326, /* 3.4 inches of 96 */
  PIXELS_OF_PNG = 4,
  LEFT = 40, /* at least */
  LEFT_OF_NUMBERS = 2,
  RIGHT_OF_NUMBERS = 12, /* mark and space between a number and the axis */
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
  double left; /* of every panel: where the y axis is */
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

/* In DejaVu Sans at the numbers' size. */
static double width_of_number(double value) {
  char text[32];
  double width = 0;
  snprintf(text, sizeof text, "%g", value);
  for (const char *c = text; *c; c++)
    width += *c == '.' ? 3.9 : *c == '-' ? 4.4 : 7.7;
  return width;
}

/* The number at a mark of an axis, counted from its first. */
static double number_at(const struct axis *axis, int mark) {
  if (axis->logarithmic)
    return axis->from * pow(10, mark);
  double first = ceil(axis->from / axis->step - 1e-9);
  return (first + mark) * axis->step;
}

static double widest_number(const struct axis *axis) {
  double widest = 0;
  int last = axis->logarithmic ? (int)ceil(log10(axis->to / axis->from))
                               : (int)floor((axis->to - axis->from) / axis->step + 1e-6);
  for (int i = 0; i <= last; i++)
    widest = fmax(widest, width_of_number(number_at(axis, i)));
  return widest;
}

static struct page page_of(const struct figure *figure) {
  struct page page = {.left = LEFT,
                      .title_lines = lines_of(figure->title, TITLE_COLUMNS),
                      .footer_lines = lines_of(figure->footer, FOOTER_COLUMNS),
                      .legend_entries = figure->not_finite};
  size_t longest = 0;
  for (size_t i = 0; i < figure->count; i++) {
    page.left = fmax(page.left, LEFT_OF_NUMBERS + widest_number(&figure->panels[i].y) + RIGHT_OF_NUMBERS);
    for (size_t k = 0; k < figure->panels[i].count; k++)
      if (is_first_of_its_title(figure, i, k)) {
        const struct series *series = &figure->panels[i].series[k];
        size_t columns = columns_of(series->title) + (series->count ? 0 : sizeof without_points - 1);
        longest = columns > longest ? columns : longest;
        page.legend_entries++;
      }
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
  char text[2 * FIGURE_TEXT_MAX + 8];
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
  fprintf(to, " at screen %.6f,%.6f center font ',9'\n", across((page->left + PAGE_WIDTH - RIGHT) / 2),
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
  char title[FIGURE_TEXT_MAX + 32];
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
      across(page->left), across(PAGE_WIDTH - RIGHT));
}

void figure_put_script(FILE *to, const struct figure *figure) {
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
