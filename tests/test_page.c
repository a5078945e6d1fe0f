/* The page of all reports: its markup, where its numbers come from, and what a browser shows of it. */
#include "base/memory.h"
#include "harness/file.h"
#include "harness/plot.h"
#include "tests/scratch.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS = 24, DEPTH = 32, NAME_BYTES = 32, FILES = 8, SECONDS_MAX = 60 };

static char folder[256], program[PATH_MAX], page_path[PATH_MAX], records[PATH_MAX];
static const char trace[] = "\xee\x80\x80"; /* opens what the reports put behind a number */
static char *page;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static char *read_whole(const char *path) {
  struct ffb_error error = {0};
  size_t bytes;
  char *text = file_read(path, &bytes, &error);
  if (!text)
    fail_msg("%s", error.message);
  return text;
}

static void copy(const char *from, const char *to) {
  struct ffb_error error = {0};
  char path[PATH_MAX + 64], *text = read_whole(from);
  snprintf(path, sizeof path, "%s/%s", folder, to);
  if (!file_replace(path, text, strlen(text), "", &error))
    fail_msg("%s", error.message);
  ffb_free(text);
}

/* In the test's folder; stdout goes to <folder>/output. Returns the exit status. */
static int run(const char *const *arguments) {
  char *argv[ARGUMENTS] = {NULL};
  for (int i = 0; arguments[i]; i++) {
    assert_true(i + 1 < ARGUMENTS);
    argv[i] = (char *)arguments[i];
  }
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int output = chdir(folder) ? -1 : open("output", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int errors = open("errors", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (output < 0 || errors < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0)
      _exit(126);
    execvp(argv[0], argv);
    _exit(127);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void assert_runs(int status) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/errors", folder);
  if (status != 0)
    fail_msg("status %d: %s", status, read_whole(path));
}

static void make_report(void) {
  assert_runs(RUN(program, "report", "--profile", "smoke", "--results", "results", "--threads", "1"));
  ffb_free(page);
  page = read_whole(page_path);
}

static void assert_shown(const char *part) {
  if (!strstr(page, part))
    fail_msg("the page does not have: %s", part);
}

static void assert_absent(const char *part) {
  const char *at = strstr(page, part);
  if (at)
    fail_msg("the page has \"%s\": %.80s", part, at);
}

static int count(const char *part) {
  int found = 0;
  for (const char *at = page; (at = strstr(at, part)); at++)
    found++;
  return found;
}

/* Records of one algorithm, or of all: their names, and the mean of their accuracies. */
struct runs {
  char names[FILES][NAME_MAX + 1];
  int count;
  double accuracy;
};

static void read_runs(const char *algorithm, struct runs *runs) {
  struct dirent **entries;
  int entry_count = scandir(records, &entries, NULL, alphasort);
  *runs = (struct runs){0};
  for (int i = 0; i < entry_count; i++) {
    char path[PATH_MAX + NAME_MAX + 2];
    size_t length = strlen(entries[i]->d_name);
    snprintf(path, sizeof path, "%s/%s", records, entries[i]->d_name);
    json_t *record =
        length > 5 && strcmp(entries[i]->d_name + length - 5, ".json") == 0 ? json_load_file(path, 0, NULL) : NULL;
    const char *of = json_string_value(json_object_get(json_object_get(record, "config"), "algorithm"));
    if (of && (!algorithm || strcmp(of, algorithm) == 0)) {
      assert_true(runs->count < FILES);
      snprintf(runs->names[runs->count++], sizeof runs->names[0], "%s", entries[i]->d_name);
      runs->accuracy += json_number_value(json_object_get(json_object_get(record, "accuracy"), "test"));
    }
    json_decref(record);
    free(entries[i]);
  }
  free(entries);
  runs->accuracy /= runs->count > 0 ? runs->count : 1;
}

/* ---- markup ---------------------------------------------------------------------------------------------------- */

struct markup {
  const char *at;
  char open[DEPTH][NAME_BYTES];
  int depth;
};

static void assert_entity(const char *at) {
  static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strncmp(at, known[i], strlen(known[i])) == 0)
      return;
  fail_msg("a bare & at: %.40s", at);
}

static void assert_attributes(const char *from, const char *end) {
  while (from < end) {
    from += strspn(from, " ");
    const char *equals = memchr(from, '=', (size_t)(end - from));
    if (from >= end)
      return;
    if (!equals || equals[1] != '"')
      fail_msg("an attribute without quotes: %.40s", from);
    const char *close = memchr(equals + 2, '"', (size_t)(end - equals - 2));
    assert_non_null(close);
    from = close + 1;
  }
}

/* From < to >; values in quotes hold neither, because they are escaped. */
static void read_tag(struct markup *markup) {
  const char *end = strchr(markup->at, '>');
  char name[NAME_BYTES];
  assert_non_null(end);
  bool closes = markup->at[1] == '/', alone = end[-1] == '/';
  const char *start = markup->at + 1 + closes;
  size_t length = strcspn(start, " />");
  assert_true(length > 0 && length < sizeof name);
  snprintf(name, sizeof name, "%.*s", (int)length, start);
  if (closes) {
    if (markup->depth == 0 || strcmp(markup->open[markup->depth - 1], name) != 0)
      fail_msg("</%s> closes <%s> at: %.60s", name, markup->depth ? markup->open[markup->depth - 1] : "", markup->at);
    markup->depth--;
  } else {
    assert_attributes(start + length, end - alone);
    assert_true(alone || markup->depth + 1 < DEPTH);
    if (!alone)
      memcpy(markup->open[markup->depth++], name, sizeof name);
  }
  markup->at = end + 1;
}

static void markup_is_well_formed(void **state) {
  static const char doctype[] = "<!DOCTYPE html>\n";
  (void)state;
  assert_int_equal(strncmp(page, doctype, sizeof doctype - 1), 0);
  struct markup markup = {.at = page + sizeof doctype - 1};
  while (*markup.at) {
    if (*markup.at == '<') {
      read_tag(&markup);
      continue;
    }
    if (*markup.at == '&')
      assert_entity(markup.at);
    assert_true(*markup.at == '\n' || !iscntrl((unsigned char)*markup.at));
    markup.at++;
  }
  assert_int_equal(markup.depth, 0);
}

static void texts_are_escaped(void **state) {
  (void)state;
  assert_absent("<script");
  assert_absent("alert(\"x\")");
  static const char escaped[] = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;quoted&#39;";
  static const char *const before[] = {
      "<title>",  "<h1>", "<h2>Alpha ", "Network ", "Table ",    "memory of INT8 ", "1 is 2 ",       "It is not. ",
      "Heading ", "Row ", "FP32 ",      "Words ",   "<li>Item ", "Caption ",        "alt=\"Figure ", "a note "};
  for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
    char part[256];
    bool is_title = strcmp(before[i], "<title>") == 0 || strcmp(before[i], "<h1>") == 0;
    if (strncmp(before[i], "alt=", 4) == 0 && !plot_available())
      continue;
    snprintf(part, sizeof part, "%s%s", before[i], is_title ? "FF-INT8: tables" : escaped);
    assert_shown(part);
  }
  assert_shown("<code>code</code>");
  assert_absent(trace);
}

/* A record may come from somebody else. */
static void record_is_escaped_too(void **state) {
  struct runs runs;
  char path[PATH_MAX + NAME_MAX + 2];
  (void)state;
  read_runs("bp_int8", &runs);
  snprintf(path, sizeof path, "%s/%s", records, runs.names[0]);
  char *kept = read_whole(path);
  json_t *record = json_loads(kept, 0, NULL);
  json_object_set_new(record, "command", json_string("</code><script>1</script>"));
  json_object_set_new(json_object_get(record, "provenance"), "compiler", json_string("cc <b onclick=\"x\">"));
  assert_int_equal(json_dump_file(record, path, 0), 0);
  json_decref(record);
  make_report();
  assert_absent("<script");
  assert_absent("<b ");
  assert_shown("&lt;/code&gt;&lt;script&gt;1");
  assert_shown("cc &lt;b onclick=&quot;x&quot;&gt;");
  struct ffb_error error = {0};
  assert_true(file_replace(path, kept, strlen(kept), "", &error));
  ffb_free(kept);
  make_report();
}

/* Whether its numbers can be traced to a commit and to the published data. */
static void put_origin(json_t *record, bool dirty, const char *commit, bool official) {
  json_t *provenance = json_object_get(record, "provenance"), *dataset = json_object_get(record, "dataset");
  json_object_set_new(provenance, "dirty", json_boolean(dirty));
  json_object_set_new(provenance, "commit", json_string(commit));
  json_object_set_new(dataset, "synthetic", json_false());
  json_object_set_new(dataset, "official", json_boolean(official));
}

static void doubtful_records_are_named_first(void **state) {
  struct runs runs;
  char path[PATH_MAX + NAME_MAX + 2], *kept[FILES];
  (void)state;
  read_runs(NULL, &runs);
  for (int i = 0; i < runs.count; i++) {
    snprintf(path, sizeof path, "%s/%s", records, runs.names[i]);
    kept[i] = read_whole(path);
    json_t *record = json_loads(kept[i], 0, NULL);
    put_origin(record, i == 0, "0123456789abcdef", i != 1);
    assert_int_equal(json_dump_file(record, path, 0), 0);
    json_decref(record);
  }
  make_report();
  char text[256];
  snprintf(text, sizeof text, "<p class=\"banner\">1 of %d records made by a program with uncommitted changes to ",
           runs.count);
  assert_shown(text);
  assert_true(strstr(page, text) < strstr(page, "<section id=\"verdicts\">"));
  snprintf(text, sizeof text, "<p class=\"banner\">1 of %d records made with data that are not the published ",
           runs.count);
  assert_shown(text);
  assert_shown(", not the official files <code>");
  assert_int_equal(count("</code> with changes"), 2); /* of its commit, and in the list of records */
  for (int i = 0; i < runs.count; i++) {
    struct ffb_error error = {0};
    snprintf(path, sizeof path, "%s/%s", records, runs.names[i]);
    assert_true(file_replace(path, kept[i], strlen(kept[i]), "", &error));
    ffb_free(kept[i]);
  }
  make_report();
}

static void nothing_lies_elsewhere(void **state) {
  static const char *const loads[] = {"http://", "https://", "<link",   "<iframe",
                                      "@import", "url(",     "src=\"/", "javascript:"};
  (void)state;
  for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
    if (strncmp(loads[i], "http", 4) != 0) {
      assert_absent(loads[i]);
      continue;
    }
    /* An SVG names its language by an address that nobody fetches. */
    assert_int_equal(count(loads[i]), count("xmlns%3D%22http://") * (i == 0) + count("xmlns=%22http://") * (i == 0) +
                                          count("xlink=%22http://") * (i == 0));
  }
  assert_int_equal(count(" src=\""), count(" src=\"data:image/svg+xml,"));
  assert_int_equal(count("<img "), plot_available() ? 1 : 0);
}

/* ---- content --------------------------------------------------------------------------------------------------- */

static void verdicts_come_first(void **state) {
  (void)state;
  const char *first = strstr(page, "<section "), *totals = strstr(page, "<ul class=\"totals\">");
  assert_non_null(first);
  assert_int_equal(strncmp(first, "<section id=\"verdicts\">", 23), 0);
  assert_true(totals && totals < strstr(page, "<table>"));
  assert_shown("<strong>1</strong> reproduced</li>");
  assert_shown("<strong>1</strong> not reproduced</li>");
  assert_shown("<strong>1</strong> the paper contradicts itself</li>");
}

/* Claims with a place among the headlines, in its order, above the others; and all of it as Markdown, too. */
static void headlines_come_before_all_claims(void **state) {
  char path[PATH_MAX];
  (void)state;
  const char *heading = strstr(page, "<h3>What a reader asks first</h3>"), *all = strstr(page, "<h3>All claims</h3>");
  assert_true(heading && all);
  const char *first = strstr(heading, " takes none"), *second = strstr(heading, "memory of INT8");
  assert_true(heading < first && first < second && second < all);
  assert_true(all < strstr(all, " takes none")); /* once more, among all */
  snprintf(path, sizeof path, "%s/results/verdicts.md", folder);
  char *text = read_whole(path);
  const char *const parts[] = {"# Verdicts\n\nOf profile smoke. ",
                               "4 of 4 |          1 |              1 | ",
                               "none |          - | ",
                               "## What a reader asks first\n",
                               " takes none",
                               "memory of INT8"};
  const char *at = text;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    at = strstr(at, parts[i]);
    if (!at)
      fail_msg("verdicts.md lacks, or has in another order: %s", parts[i]);
  }
  ffb_free(text);
}

/* What was not run is listed as such; what has no such profile is not. */
static void every_experiment_has_its_place(void **state) {
  (void)state;
  assert_shown("<section id=\"experiment-alpha\">");
  assert_shown("<section id=\"experiment-beta\">");
  assert_shown("No run of it has a record yet.");
  assert_shown("<td class=\"number\">4 of 4</td>");
  assert_absent("amma");
  assert_absent("shared");
  assert_shown("make reproduce-alpha PROFILE=smoke");
  static const char *const sections[] = {"machine", "repeat", "records"};
  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
    char part[64];
    snprintf(part, sizeof part, "<section id=\"%s\">", sections[i]);
    assert_shown(part);
  }
}

/* The accuracy of a row is the mean of its records, and names just these. */
static void numbers_lead_to_their_records(void **state) {
  static const char *const algorithms[] = {"bp_fp32", "bp_int8"};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct runs runs;
    char part[2 * NAME_MAX + 128];
    read_runs(algorithms[i], &runs);
    assert_int_equal(runs.count, 2);
    snprintf(part, sizeof part, "<a href=\"#record-%.*s\" title=\"%s %s\">%.2f", (int)strlen(runs.names[0]) - 5,
             runs.names[0], runs.names[0], runs.names[1], runs.accuracy);
    assert_shown(part);
  }
}

static void every_record_is_listed_once(void **state) {
  struct runs runs;
  (void)state;
  read_runs(NULL, &runs);
  assert_int_equal(runs.count, 4);
  assert_int_equal(count("<tr id=\"record-"), runs.count);
  for (int i = 0; i < runs.count; i++) {
    char part[NAME_MAX + 64], path[PATH_MAX + NAME_MAX + 2];
    snprintf(part, sizeof part, "<code>%s</code>", runs.names[i]);
    assert_int_equal(count(part), 1);
    snprintf(path, sizeof path, "%s/%s", records, runs.names[i]);
    json_t *record = json_load_file(path, 0, NULL);
    assert_shown(json_string_value(json_object_get(json_object_get(record, "dataset"), "sha256")));
    const json_t *provenance = json_object_get(record, "provenance");
    assert_shown(json_string_value(json_object_get(provenance, "commit")));
    assert_shown(json_string_value(json_object_get(provenance, "finished")));
    json_decref(record);
  }
}

/* Every link of a number names records that are there. */
static void no_link_is_dead(void **state) {
  int links = 0;
  (void)state;
  for (const char *at = page; (at = strstr(at, "<a href=\"#")); links++) {
    char target[NAME_MAX + 16], id[NAME_MAX + 32];
    at += strlen("<a href=\"#");
    snprintf(target, sizeof target, "%.*s", (int)strcspn(at, "\""), at);
    snprintf(id, sizeof id, " id=\"%s\"", target);
    assert_int_equal(count(id), 1);
    if (strncmp(target, "record-", 7) == 0) {
      const char *title = strstr(at, "title=\"");
      assert_true(title && strncmp(title + 7, target + 7, strlen(target) - 7) == 0);
    }
  }
  assert_true(links >= 8);
}

static void same_records_give_the_same_bytes(void **state) {
  (void)state;
  char *before = read_whole(page_path);
  assert_int_equal(unlink(page_path), 0);
  make_report();
  assert_string_equal(page, before);
  ffb_free(before);
}

static void one_experiment_makes_a_page_where_asked(void **state) {
  char path[PATH_MAX];
  (void)state;
  assert_runs(RUN(program, "report", "experiments/alpha.lua", "--profile", "smoke", "--results", "results", "--threads",
                  "1", "--page", "one.html"));
  snprintf(path, sizeof path, "%s/one.html", folder);
  char *text = read_whole(path);
  assert_non_null(strstr(text, "<title>Alpha &lt;script"));
  assert_null(strstr(text, "experiment-beta"));
  ffb_free(text);
}

/* What is on the page already stays. */
static void unknown_profile_makes_no_page(void **state) {
  (void)state;
  char *before = read_whole(page_path);
  assert_int_equal(RUN(program, "report", "--profile", "smok", "--results", "results", "--threads", "1"), 2);
  char *after = read_whole(page_path);
  assert_string_equal(after, before);
  ffb_free(before);
  ffb_free(after);
}

/* Numbers carry their way to the records only into the page. */
static void other_forms_have_no_marks(void **state) {
  static const char *const names[] = {"results/alpha.csv", "output"};
  (void)state;
  make_report();
  for (size_t i = 0; i < 2; i++) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    char *text = read_whole(path);
    /* All but the author's own, which is no record's. */
    for (const char *at = text; (at = strstr(at, trace)); at++)
      assert_int_equal(strncmp(at + strlen(trace), "999", 3), 0);
    ffb_free(text);
  }
}

/* ---- in a browser ---------------------------------------------------------------------------------------------- */

static const char *find_browser(void) {
  static const char *const places[] = {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (access(places[i], X_OK) == 0)
      return places[i];
  return NULL;
}

/* What tests/lua/page/probe.html wrote down, or a failure. */
static json_t *probe(const char *browser, const char *scheme) {
  char address[PATH_MAX + 16], profile[PATH_MAX + 32], limit[16], *output;
  snprintf(address, sizeof address, "file://%s/results/probe.html", folder);
  snprintf(profile, sizeof profile, "--user-data-dir=%s/browser", folder);
  snprintf(limit, sizeof limit, "%d", SECONDS_MAX);
  assert_runs(RUN("timeout", "-k", "5", limit, browser, "--headless", "--no-sandbox", "--disable-gpu",
                  "--disable-dev-shm-usage", "--hide-scrollbars", "--allow-file-access-from-files", profile, scheme,
                  "--window-size=500,900", "--virtual-time-budget=5000", "--dump-dom", address));
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/output", folder);
  output = read_whole(path);
  char *hex = strstr(output, "<pre id=\"found\">");
  assert_non_null(hex);
  hex += strlen("<pre id=\"found\">");
  size_t length = strspn(hex, "0123456789abcdef") / 2;
  for (size_t i = 0; i < length; i++) {
    unsigned byte;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
    output[i] = (char)byte;
  }
  json_t *found = json_loadb(output, length, 0, NULL);
  ffb_free(output);
  assert_non_null(found);
  return found;
}

static double number(const json_t *found, const char *key) {
  const json_t *value = json_object_get(found, key);
  if (!json_is_number(value))
    fail_msg("the browser found no %s", key);
  return json_number_value(value);
}

static void assert_reader_sees(const json_t *found) {
  struct runs runs;
  char part[64];
  const char *text = json_string_value(json_object_get(found, "text"));
  read_runs("bp_fp32", &runs);
  snprintf(part, sizeof part, "%.2f", runs.accuracy);
  const char *const parts[] = {part, "Verdicts", "1 not reproduced", "How to repeat it", "alert(\"x\")", runs.names[1]};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strstr(text, parts[i]))
      fail_msg("the browser does not show: %s", parts[i]);
}

static void assert_readable(const json_t *found) {
  assert_true(number(found, "width") <= 390);
  assert_true(number(found, "scrolling") >= 1);
  assert_true(number(found, "totals_bottom") <= 800);
  assert_string_equal(json_string_value(json_object_get(found, "first_section")), "verdicts");
  assert_true(json_is_true(json_object_get(found, "closed")) && json_is_true(json_object_get(found, "opened")));
  assert_int_equal((int)number(found, "images"), plot_available() ? 1 : 0);
  assert_int_equal((int)number(found, "images_broken"), 0);
  assert_int_equal((int)number(found, "dead_links"), 0);
  assert_int_equal((int)number(found, "loaded"), 0);
  assert_int_equal((int)number(found, "scripts"), 0);
  /* WCAG 2, level AA. */
  assert_true(number(found, "contrast") >= 4.5);
  assert_true(number(found, "image_behind") > 0.9);
}

static void telephone_shows_it(void **state) {
  static const struct {
    const char *option;
    double least, most;
  } schemes[] = {{"--blink-settings=preferredColorScheme=1", 0.9, 1},
                 {"--blink-settings=preferredColorScheme=0", 0, 0.05}};
  const char *browser = find_browser();
  (void)state;
  if (!browser) {
    print_message("no chromium here: the page was not looked at\n");
    skip();
  }
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    json_t *found = probe(browser, schemes[i].option);
    double brightness = number(found, "brightness");
    assert_true(brightness >= schemes[i].least && brightness <= schemes[i].most);
    assert_readable(found);
    assert_reader_sees(found);
    json_decref(found);
  }
}

/* ---- set-up ---------------------------------------------------------------------------------------------------- */

static int prepare(void **state) {
  static const char *const scripts[] = {"alpha.lua", "beta.lua", "gamma.lua"};
  (void)state;
  if (scratch_make(folder, sizeof folder) || !realpath(FFB_BUILD_DIRECTORY "/ffbench", program))
    return -1;
  snprintf(page_path, sizeof page_path, "%s/results/report.html", folder);
  snprintf(records, sizeof records, "%s/results/records", folder);
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    char from[64], to[64];
    snprintf(from, sizeof from, "tests/lua/page/%s", scripts[i]);
    snprintf(to, sizeof to, "experiments/%s", scripts[i]);
    copy(from, to);
  }
  copy("tests/lua/page/probe.html", "results/probe.html");
  copy("experiments/tuned.lua", "experiments/shared.lua");
  assert_runs(RUN(program, "run", "experiments/alpha.lua", "--profile", "smoke", "--results", "results", "--threads",
                  "1", "--quiet"));
  make_report();
  return 0;
}

static int clean(void **state) {
  (void)state;
  ffb_free(page);
  return scratch_remove(folder);
}

int main(void) {
  setenv("OMP_WAIT_POLICY", "passive", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(markup_is_well_formed),
      cmocka_unit_test(texts_are_escaped),
      cmocka_unit_test(record_is_escaped_too),
      cmocka_unit_test(doubtful_records_are_named_first),
      cmocka_unit_test(nothing_lies_elsewhere),
      cmocka_unit_test(verdicts_come_first),
      cmocka_unit_test(headlines_come_before_all_claims),
      cmocka_unit_test(every_experiment_has_its_place),
      cmocka_unit_test(numbers_lead_to_their_records),
      cmocka_unit_test(every_record_is_listed_once),
      cmocka_unit_test(no_link_is_dead),
      cmocka_unit_test(same_records_give_the_same_bytes),
      cmocka_unit_test(one_experiment_makes_a_page_where_asked),
      cmocka_unit_test(unknown_profile_makes_no_page),
      cmocka_unit_test(other_forms_have_no_marks),
      cmocka_unit_test(telephone_shows_it),
  };
  return cmocka_run_group_tests(tests, prepare, clean);
}
