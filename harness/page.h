/* The page that joins the reports of several experiments: one HTML file without anything beside it. Lua makes its text
 * (experiments/lib/page.lua) from the section that each report hands over. */
#ifndef FFBENCH_HARNESS_PAGE_H
#define FFBENCH_HARNESS_PAGE_H

#include "base/error.h"

#include <jansson.h>

/* What a report gave: its section joins `sections`, with the pictures that were drawn in <results>/plots. */
bool page_add(json_t *sections, const json_t *report, const char *results, struct ffb_error *error);

/* sections: at least one report's, and {name, missing} for experiments without a record. summary: where its verdicts go
 * as Markdown, or null. */
bool page_write(const char *path, const char *summary, const char *library, const char *profile, const json_t *sections,
                struct ffb_error *error);

#endif
