#include "harness/page.h"

#include "base/memory.h"
#include "harness/figure.h"
#include "harness/file.h"
#include "harness/lua_host.h"
#include "harness/plot.h"
#include "harness/provenance.h"
#include "harness/registry.h"
#include "harness/value.h"

#include <limits.h>
#include <string.h>

enum { VERSION_BYTES = 512 };

static const char page_script[] = "lib/page.lua";

/* The SVG of one figure as a text. */
static json_t *read_picture(const char *results, const char *name, struct ffb_error *error) {
  char path[PATH_MAX];
  size_t bytes;
  if (snprintf(path, sizeof path, "%s/plots/%s.svg", results, name) >= PATH_MAX) {
    ffb_fail_usage(error, "the name of the results folder is too long: name another with --results DIR");
    return NULL;
  }
  char *text = file_read(path, &bytes, error);
  json_t *picture = text ? json_stringn(text, bytes) : NULL;
  if (text && !picture)
    ffb_fail(error, "%s is not UTF-8 text: draw it again with ffbench report", path);
  ffb_free(text);
  return picture;
}

bool page_add(json_t *sections, const json_t *report, const char *results, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  json_t *section = json_object_get(report, "section"), *pictures = json_object(), *figure;
  bool ok = section && pictures;
  size_t index;
  if (!ok)
    ffb_fail(error, "the report handed over no section for the page: %s belongs to another version", page_script);
  json_array_foreach(json_object_get(report, "figures"), index, figure) {
    json_t *picture = ok && plot_available() ? read_picture(results, figure_name(figure), error) : NULL;
    ok = ok && (!plot_available() || !json_object_set_new(pictures, figure_name(figure), picture));
  }
  ok = ok && !json_object_set(section, "pictures", pictures) && !json_array_append(sections, section);
  json_decref(pictures);
  return value_is_whole(refused, "the page", error) && ok;
}

static bool write_text(const json_t *page, const char *key, const char *path, struct ffb_error *error) {
  const char *text = json_string_value(json_object_get(page, key));
  if (page && !text)
    return ffb_fail(error, "%s gave no %s: it belongs to another version", page_script, key);
  return text && file_replace(path, text, strlen(text), "name another file with --page FILE", error);
}

bool page_write(const char *path, const char *summary, const char *library, const char *profile, const json_t *sections,
                struct ffb_error *error) {
  char script[PATH_MAX], version[VERSION_BYTES];
  provenance_version(version, sizeof version);
  if (snprintf(script, sizeof script, "%s/%s", library, page_script) >= PATH_MAX)
    return ffb_fail(error, "the name of the folder %s is too long", library);
  unsigned long refused = ffb_refused_allocations();
  json_t *registry = registry_json(error);
  json_t *input = registry ? json_pack("{s:s, s:s, s:s, s:o, s:O}", "mode", "page", "profile", profile, "version",
                                       version, "registry", registry, "sections", sections)
                           : NULL;
  bool whole = value_is_whole(refused, "the page", error);
  json_t *page = input && whole ? lua_host_run(script, library, input, &lua_host_limits_default, error) : NULL;
  bool ok = write_text(page, "text", path, error) && (!summary || write_text(page, "summary", summary, error));
  json_decref(page);
  json_decref(input);
  return ok;
}
