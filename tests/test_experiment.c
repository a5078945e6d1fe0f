/* Whole experiments from outside, on small generated data: what they forecast, what they train again, and where each
 * number of a table comes from. */
#include "harness/progress.h"
#include "tests/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUT_BYTES = 1 << 18, FILES = 64, CELLS = 1024, TEXT = 160, KEY = 4 * TEXT, LINE = 4096 };

static char folder[PATH_MAX], home[PATH_MAX], output[OUTPUT_BYTES], errors[OUTPUT_BYTES];

#define SMALL "--profile smoke --set synthetic_train=700 --set synthetic_test=200 --set train_limit=320 "

/* ---- running ------------------------------------------------------------------------------------------------------
 */

static char *read_whole(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "r");
  if (!file)
    fail_msg("%s is not there", path);
  size_t got = fread(text, 1, size, file);
  assert_true(got < size);
  text[got] = '\0';
  fclose(file);
  return text;
}

static void redirect(const char *name, int descriptor) {
  int to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (to < 0 || dup2(to, descriptor) < 0)
    _exit(126);
}

/* `ffbench verb experiment more`, in the test's folder, where no data lies. */
static pid_t start(const char *verb, const char *experiment, const char *more) {
  char program[PATH_MAX + 32], file[2 * PATH_MAX], copy[512], *arguments[40] = {program, (char *)verb, file};
  int count = 3;
  snprintf(program, sizeof program, "%s/%s/ffbench", home, FFB_BUILD_DIRECTORY);
  if (*experiment == '/')
    snprintf(file, sizeof file, "%s", experiment);
  else
    snprintf(file, sizeof file, "%s/experiments/%s", home, experiment);
  snprintf(copy, sizeof copy, "%s", more);
  for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
    arguments[count++] = word;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child > 0)
    return child;
  unsetenv("FFBENCH_DATA");
  setenv("PATH", folder, 1); /* no gnuplot: pictures have tests of their own, and take their time */
  signal(SIGINT, SIG_DFL);
  if (chdir(folder))
    _exit(126);
  redirect("output", STDOUT_FILENO);
  redirect("errors", STDERR_FILENO);
  execv(program, arguments);
  _exit(127);
}

static int finish(pid_t child) {
  int status;
  char path[PATH_MAX + 16];
  assert_int_equal(waitpid(child, &status, 0), child);
  snprintf(path, sizeof path, "%s/output", folder);
  read_whole(path, output, sizeof output);
  snprintf(path, sizeof path, "%s/errors", folder);
  read_whole(path, errors, sizeof errors);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run(const char *verb, const char *experiment, const char *more) {
  int status = finish(start(verb, experiment, more));
  if (status != 0)
    fail_msg("%s %s ended with %d: %s", verb, experiment, status, errors);
}

static void assert_output(const char *part) {
  if (!strstr(output, part))
    fail_msg("no \"%s\" in: %s", part, output);
}

static const char *write_experiment(void) {
  static char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/two.lua", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("return experiment {\n"
        "  name = 'two', title = 'Two',\n"
        "  models = { mlp = { dataset = 'synthetic_digits', options = { hidden = '64' } } },\n"
        "  algorithms = { { 'bp_fp32' }, { 'bp_int8' } },\n"
        "  profiles = { smoke = { epochs = 3, batch = 10, synthetic_train = 700, synthetic_test = 200,\n"
        "                         seeds = { 1, 2 } } },\n"
        "}\n",
        file);
  fclose(file);
  return path;
}

/* ---- records -------------------------------------------------------------------------------------------------------
 */

struct files {
  char name[FILES][TEXT];
  struct timespec changed[FILES];
  int count;
};

static int by_name(const void *a, const void *b) {
  return strcmp(a, b);
}

static void record_path_of(const char *name, char path[2 * PATH_MAX]) {
  snprintf(path, 2 * PATH_MAX, "%s/results/records/%s", folder, name);
}

static struct files list_records(void) {
  struct files files = {.count = 0};
  char path[2 * PATH_MAX];
  record_path_of("", path);
  DIR *directory = opendir(path);
  if (!directory)
    return files;
  for (struct dirent *entry; (entry = readdir(directory));) {
    size_t length = strlen(entry->d_name);
    if (length > 5 && length < TEXT && strcmp(entry->d_name + length - 5, ".json") == 0 && files.count < FILES)
      memcpy(files.name[files.count++], entry->d_name, length + 1);
  }
  closedir(directory);
  qsort(files.name, (size_t)files.count, TEXT, by_name);
  for (int i = 0; i < files.count; i++) {
    struct stat status;
    record_path_of(files.name[i], path);
    assert_int_equal(stat(path, &status), 0);
    files.changed[i] = status.st_mtim;
  }
  return files;
}

static bool is_unchanged(const struct files *before, const struct files *now, int i) {
  return strcmp(before->name[i], now->name[i]) == 0 && before->changed[i].tv_sec == now->changed[i].tv_sec &&
         before->changed[i].tv_nsec == now->changed[i].tv_nsec;
}

static json_t *load_record(const char *name) {
  char path[2 * PATH_MAX];
  json_error_t problem;
  record_path_of(name, path);
  json_t *record = json_load_file(path, 0, &problem);
  if (!record)
    fail_msg("%s: %s", path, problem.text);
  return record;
}

/* "time.train_seconds"; NaN where there is no such number. */
static double number_at(const json_t *record, const char *path) {
  char keys[TEXT];
  snprintf(keys, sizeof keys, "%s", path);
  for (char *rest = keys, *key; (key = strsep(&rest, "."));)
    record = json_object_get(record, key);
  return json_is_number(record) ? json_number_value(record) : (double)NAN;
}

static double number_of(const json_t *record, const char *object, const char *name) {
  return json_number_value(json_object_get(json_object_get(record, object), name));
}

static void weights_of(const char *name, char text[TEXT]) {
  json_t *record = load_record(name);
  snprintf(text, TEXT, "%s", json_string_value(json_object_get(record, "weights_sha256")));
  json_decref(record);
}

/* ---- again ---------------------------------------------------------------------------------------------------------
 */

static void deleted_record_is_trained_again_alone(void **state) {
  (void)state;
  const char *two = write_experiment();
  char path[2 * PATH_MAX], before_weights[TEXT], weights[TEXT];
  run("run", two, "--profile smoke");
  struct files before = list_records();
  assert_int_equal(before.count, 4);
  weights_of(before.name[2], before_weights);
  record_path_of(before.name[2], path);
  assert_int_equal(unlink(path), 0);
  run("run", two, "--profile smoke");
  assert_output("4 runs, 3 done, 1 to train");
  struct files now = list_records();
  assert_int_equal(now.count, 4);
  for (int i = 0; i < 4; i++)
    assert_int_equal(is_unchanged(&before, &now, i), i != 2);
  weights_of(now.name[2], weights);
  assert_string_equal(weights, before_weights);
}

/* Rows in the order of their runs, seed by seed, as the lines of progress have them: "1 bp_fp32 1 bp_int8 ..." */
static void order_of_runs(char *order, size_t size) {
  size_t used = 0;
  order[0] = '\0';
  for (const char *line = errors; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n')) {
    char row[64];
    int cell, cells, seed;
    if (sscanf(line, "[%d/%d] mlp %63s synthetic_digits seed %d  epoch 1/1", &cell, &cells, row, &seed) != 4)
      continue;
    assert_int_equal(cells, 15);
    used += (size_t)snprintf(order + used, size - used, "%d %s ", seed, row);
    assert_true(used < size);
  }
}

/* What a machine does meanwhile falls on all algorithms alike: each seed has them all, in an order of its own. */
static void algorithms_take_turns_in_any_order(void **state) {
  (void)state;
  static const char *const rows[] = {"bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8"};
  char path[PATH_MAX + 16], order[1024], again[1024];
  snprintf(path, sizeof path, "%s/turns.lua", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("return experiment {\n"
        "  name = 'turns', title = 'Turns',\n"
        "  models = { mlp = { dataset = 'synthetic_digits', options = { hidden = '8' } } },\n"
        "  algorithms = { { 'bp_fp32' }, { 'bp_int8' }, { 'bp_ui8' }, { 'bp_gdai8' }, { 'ff_int8' } },\n"
        "  profiles = { smoke = { epochs = 1, batch = 50, synthetic_train = 200, synthetic_test = 50, seeds = { 1, 2, "
        "3 } } },\n"
        "}\n",
        file);
  fclose(file);
  run("run", path, "--profile smoke");
  order_of_runs(order, sizeof order);
  const char *seeds[4] = {order, strstr(order, "2 "), strstr(order, "3 "), order + strlen(order)};
  bool same_order = true;
  for (int seed = 0; seed < 3; seed++) {
    assert_non_null(seeds[seed]);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      char turn[64];
      snprintf(turn, sizeof turn, "%d %s ", seed + 1, rows[i]);
      const char *found = strstr(order, turn);
      if (!found || found < seeds[seed] || found >= seeds[seed + 1])
        fail_msg("%s is not among the runs of its seed: %s", turn, order);
      same_order = same_order && found - seeds[seed] == strstr(order, rows[i]) - 2 - order;
    }
  }
  assert_false(same_order);
  run("run", path, "--profile smoke --results elsewhere");
  order_of_runs(again, sizeof again);
  assert_string_equal(again, order);
}

static void killed_experiment_goes_on(void **state) {
  (void)state;
  const char *two = write_experiment();
  pid_t child = start("run", two, "--profile smoke --quiet --set epochs=60");
  for (int wait = 0; list_records().count == 0 && wait < 2000; wait++)
    usleep(5000);
  kill(child, SIGKILL);
  assert_int_equal(finish(child), -SIGKILL);
  struct files before = list_records();
  assert_true(before.count >= 1 && before.count < 4);
  run("run", two, "--profile smoke --quiet --set epochs=60");
  assert_null(strstr(output, "4 runs, 0 done"));
  struct files now = list_records();
  assert_int_equal(now.count, 4);
  for (int i = 0, k = 0; i < before.count; i++, k++) {
    while (k < now.count && strcmp(now.name[k], before.name[i]) != 0)
      k++;
    assert_true(k < now.count);
    assert_true(now.changed[k].tv_sec == before.changed[i].tv_sec &&
                now.changed[k].tv_nsec == before.changed[i].tv_nsec);
  }
}

/* ---- tables --------------------------------------------------------------------------------------------------------
 */

/* A cell of a Markdown table, without footnote marks. */
struct place {
  char table[TEXT], row[TEXT], column[TEXT], text[TEXT];
  int records; /* how many records it hangs on */
  int record;  /* the last of them */
};

struct page {
  struct place places[CELLS];
  int count;
};

/* Without spaces around it and without superscripts, which are footnote marks. */
static void tidy(const char *from, size_t length, char to[TEXT]) {
  size_t count = 0;
  while (length > 0 && *from == ' ')
    from++, length--;
  for (size_t i = 0; i < length && count + 1 < TEXT; i++) {
    const unsigned char *c = (const unsigned char *)from + i;
    bool two = c[0] == 0xC2 && (c[1] == 0xB9 || c[1] == 0xB2 || c[1] == 0xB3);
    bool three = c[0] == 0xE2 && c[1] == 0x81 && c[2] >= 0xB0 && c[2] <= 0xB9;
    if (two || three)
      i += two ? 1 : 2;
    else
      to[count++] = from[i];
  }
  while (count > 0 && to[count - 1] == ' ')
    count--;
  to[count] = '\0';
}

static int split_row(const char *line, size_t length, char cells[][TEXT], int most) {
  int count = 0;
  const char *end = line + length;
  while (line < end && count < most) {
    const char *bar = memchr(line, '|', (size_t)(end - line));
    const char *stop = bar ? bar : end;
    tidy(line, (size_t)(stop - line), cells[count++]);
    line = stop + 1;
  }
  return count;
}

/* By its texts, which stand on the left; numbers stand on the right. */
static void name_row(char rules[][TEXT], char cells[][TEXT], int columns, char row[TEXT]) {
  row[0] = '\0';
  for (int i = 0; i < columns; i++) {
    size_t used = strlen(row);
    if (!strchr(rules[i], ':'))
      snprintf(row + used, TEXT - used, "%s%s", i ? " " : "", cells[i]);
  }
}

static bool is_of_paper(const char *text) {
  return strncasecmp(text, "paper", 5) == 0;
}

static void read_page(const char *name, struct page *page) {
  static char text[OUTPUT_BYTES];
  char path[2 * PATH_MAX], heading[TEXT] = "", header[24][TEXT], cells[24][TEXT], rules[24][TEXT],
                           line_before[LINE] = "";
  int columns = 0;
  page->count = 0;
  snprintf(path, sizeof path, "%s/results/%s", folder, name);
  read_whole(path, text, sizeof text);
  for (char *line = text; *line; line += strcspn(line, "\n") + 1) {
    size_t length = strcspn(line, "\n");
    if (line[0] == '#')
      tidy(line, length, heading);
    if (length == 0)
      columns = 0;
    if (strncmp(line, "---", 3) == 0 && strchr(line_before, '|')) {
      columns = split_row(line_before, strlen(line_before), header, 24);
      assert_int_equal(split_row(line, length, rules, 24), columns);
    } else if (columns > 0 && split_row(line, length, cells, 24) == columns) {
      for (int i = 1; i < columns && page->count < CELLS; i++) {
        struct place *place = &page->places[page->count++];
        *place = (struct place){.records = 0};
        snprintf(place->table, TEXT, "%.70s/%.70s", heading, header[0]);
        name_row(rules, cells, columns, place->row);
        snprintf(place->column, TEXT, "%s", header[i]);
        snprintf(place->text, TEXT, "%s", cells[i]);
      }
    }
    snprintf(line_before, sizeof line_before, "%.*s", (int)length, line);
  }
  assert_true(page->count < CELLS);
}

static bool is_number(const struct place *place) {
  const char *text = place->text;
  text += *text == '+' || *text == '-';
  return *text >= '0' && *text <= '9' && !is_of_paper(place->column) && !is_of_paper(place->row);
}

static const struct place *find_place(const struct page *page, const struct place *like) {
  for (int i = 0; i < page->count; i++) {
    const struct place *place = &page->places[i];
    if (strcmp(place->table, like->table) == 0 && strcmp(place->row, like->row) == 0 &&
        strcmp(place->column, like->column) == 0)
      return place;
  }
  return NULL;
}

/* ---- the CSV -------------------------------------------------------------------------------------------------------
 */

enum { ROW = 3, METRIC = 7, UNIT = 8, N = 9, MEAN = 10, RECORDS = 16, FIELDS = 18 };

struct numbers {
  char lines[CELLS][FIELDS][KEY];
  int count;
};

static void read_numbers(const char *name, struct numbers *numbers) {
  static char text[OUTPUT_BYTES];
  char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/results/%s", folder, name);
  numbers->count = 0;
  for (char *c = read_whole(path, text, sizeof text); *c && numbers->count < CELLS; numbers->count++) {
    for (int field = 0; field < FIELDS; field++) {
      size_t count = 0;
      bool quoted = *c == '"';
      for (c += quoted; *c && (quoted ? *c != '"' : *c != ',' && *c != '\n'); c++)
        if (count + 1 < KEY)
          numbers->lines[numbers->count][field][count++] = *c;
      c += quoted;
      numbers->lines[numbers->count][field][count] = '\0';
      assert_int_equal(*c, field + 1 < FIELDS ? ',' : '\n');
      c++;
    }
  }
}

/* What a record says of a metric, in the table's unit; NaN for metrics that are not read straight from one. */
static double metric_of(const json_t *record, const char *metric) {
  static const struct {
    const char *metric, *path;
    double factor;
  } known[] = {{"accuracy", "accuracy.test", 1},
               {"validation", "accuracy.validation", 1},
               {"time", "time.train_seconds", 1},
               {"step", "time.step_median_seconds", 1e3},
               {"memory", "memory.peak_bytes", 1e-6},
               {"resident", "memory.resident_peak_bytes", 1e-6},
               {"parameters", "model.parameters", 1e-6},
               {"processors", "provenance.machine.processors", 1},
               {"machine_memory", "provenance.machine.memory_bytes", 1e-9},
               {"memory_bandwidth", "provenance.peaks.memory_bytes_per_second", 1e-9},
               {"int8_peak", "provenance.peaks.int8_operations_per_second", 1e-12},
               {"fp32_peak", "provenance.peaks.fp32_operations_per_second", 1e-12},
               {"power", "energy.mean_watts", 1}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].metric, metric) == 0)
      return known[i].factor * number_at(record, known[i].path);
  return number_at(record, metric);
}

/* A line's records are there, and the mean is that of what they say. Returns how many there were to hold. */
static int check_line(char line[FIELDS][KEY]) {
  char names[KEY];
  double sum = 0;
  int count = 0;
  snprintf(names, sizeof names, "%s", line[RECORDS]);
  if (strcmp(line[MEAN], "-") == 0) {
    assert_string_equal(names, "");
    return 0;
  }
  for (char *name = strtok(names, " "); name; name = strtok(NULL, " "), count++) {
    json_t *record = load_record(name);
    sum += metric_of(record, line[METRIC]);
    json_decref(record);
  }
  assert_true(count > 0);
  assert_int_equal(count, strtol(line[N], NULL, 10));
  if (isnan(sum))
    return 0;
  if (fabs(sum / count - strtod(line[MEAN], NULL)) > 1e-6 * fabs(sum / count))
    fail_msg("%s of %s: %s in the table, %.10g in the records", line[METRIC], line[ROW], line[MEAN], sum / count);
  return count;
}

/* ---- tracing -------------------------------------------------------------------------------------------------------
 */

/* An experiment made small: what --set and --only say, and how many numbers its page has at least. */
struct traced {
  const char *file, *set, *only;
  int least;
};

/* "<name of the experiment><ending>" */
static const char *output_of(const struct traced *of, const char *ending) {
  static char name[TEXT];
  snprintf(name, sizeof name, "%.*s%s", (int)strcspn(of->file, "."), of->file, ending);
  return name;
}

static void run_traced(const struct traced *of, const char *verb, const char *more) {
  char options[512];
  assert_true(snprintf(options, sizeof options, "%s %s %s", of->set, of->only, more) < (int)sizeof options);
  run(verb, of->file, options);
}

/* Reports without each record in turn: a number that then changes or goes hangs on that record. */
static void trace(const struct traced *of, struct page *page, const struct files *records) {
  static struct page without;
  char path[2 * PATH_MAX], aside[2 * PATH_MAX + 8];
  for (int r = 0; r < records->count; r++) {
    record_path_of(records->name[r], path);
    snprintf(aside, sizeof aside, "%s.aside", path);
    assert_int_equal(rename(path, aside), 0);
    run("report", of->file, of->set);
    read_page(output_of(of, ".md"), &without);
    assert_int_equal(rename(aside, path), 0);
    for (int i = 0; i < page->count; i++) {
      const struct place *now = find_place(&without, &page->places[i]);
      if (now && strcmp(now->text, page->places[i].text) == 0)
        continue;
      page->places[i].records++;
      page->places[i].record = r;
    }
  }
  run("report", of->file, of->set);
}

/* What the table shows is the mean that the CSV gives with this record's name, rounded. */
static void compare_with_numbers(const struct place *place, const char *record, const struct numbers *numbers) {
  static const char *const metrics[][2] = {
      {"Accuracy %", "accuracy"},     {"Time s", "time"},     {"Memory MB", "memory"}, {"Test %", "accuracy"},
      {"Validation %", "validation"}, {"FP32 %", "accuracy"}, {"INT8 %", "accuracy"}};
  const char *metric = NULL, *point = strchr(place->text, '.');
  for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
    if (strcmp(metrics[i][0], place->column) == 0)
      metric = metrics[i][1];
  for (int i = 0; metric && i < numbers->count; i++) {
    const char *mean = numbers->lines[i][MEAN];
    size_t digits = point ? strspn(point + 1, "0123456789") : 0;
    if (strcmp(numbers->lines[i][METRIC], metric) != 0 || !strstr(numbers->lines[i][RECORDS], record))
      continue;
    if (fabs(strtod(place->text, NULL) - strtod(mean, NULL)) > 0.501 * pow(10, -(double)digits))
      fail_msg("%s of %s: %s in the table, %s in the CSV", place->column, place->row, place->text, mean);
    return;
  }
  if (metric)
    fail_msg("%s of %s hangs on %s, which the CSV does not name", place->column, place->row, record);
}

static void trace_table(const struct traced *of) {
  static struct page page;
  static struct numbers numbers;
  int held = 0, traced = 0;
  read_page(output_of(of, ".md"), &page);
  read_numbers(output_of(of, ".csv"), &numbers);
  for (int i = 1; i < numbers.count; i++)
    held += check_line(numbers.lines[i]);
  struct files records = list_records();
  assert_true(held >= 4 * records.count);
  trace(of, &page, &records);
  for (int i = 0; i < page.count; i++) {
    const struct place *place = &page.places[i];
    if (!is_number(place))
      continue;
    if (place->records == 0)
      fail_msg("%s: \"%s\", %s, %s: %s comes from no record", of->file, place->table, place->row, place->column,
               place->text);
    traced++;
    if (place->records == 1)
      compare_with_numbers(place, records.name[place->record], &numbers);
  }
  assert_true(traced >= records.count);
}

/* ---- the page ------------------------------------------------------------------------------------------------------
 */

/* The next cell between *at and end without its markup, and whether it is a link to a record. */
static bool next_cell(const char **at, const char *end, char text[TEXT], bool *linked) {
  const char *cell = *at;
  while (cell < end && (strncmp(cell, "<t", 2) != 0 || !strchr("hd", cell[2]) || !strchr(" >", cell[3])))
    cell++;
  if (cell >= end)
    return false;
  const char *stop = strstr(cell, cell[2] == 'h' ? "</th>" : "</td>");
  size_t count = 0;
  bool inside = false;
  *linked = false;
  for (const char *c = cell; c < stop; c++) {
    *linked = *linked || strncmp(c, "<a href=\"#record-", 17) == 0;
    inside = inside || *c == '<';
    if (!inside && count + 1 < TEXT)
      text[count++] = *c;
    inside = inside && *c != '>';
  }
  text[count] = '\0';
  *at = stop;
  return true;
}

/* Every number outside the paper's columns links to a record. Returns how many there are. */
static int check_links(const char *table, const char *end) {
  char titles[24][TEXT], text[TEXT];
  const char *body = strstr(table, "<tbody>"), *at = table;
  int columns = 0, numbers = 0;
  bool linked, skipped = false;
  while (columns < 24 && next_cell(&at, body, titles[columns], &linked))
    columns++;
  at = body;
  for (int i = 0; next_cell(&at, end, text, &linked); i = i + 1 < columns ? i + 1 : 0) {
    const char *title = titles[i], *digits = text + (*text == '+' || *text == '-');
    if (i == 0)
      skipped = is_of_paper(text);
    if (i == 0 || skipped || *digits < '0' || *digits > '9' || is_of_paper(title))
      continue;
    if (!linked)
      fail_msg("%s, %s: %s links to no record", titles[0], title, text);
    numbers++;
  }
  return numbers;
}

static void check_page(const struct traced *of) {
  static char text[OUTPUT_BYTES];
  char path[PATH_MAX + 16];
  int numbers = 0;
  run_traced(of, "report", "--page page.html");
  snprintf(path, sizeof path, "%s/page.html", folder);
  const char *end = strstr(read_whole(path, text, sizeof text), "<section id=\"machine\"");
  assert_non_null(end);
  for (const char *at = strstr(text, "<section id=\"experiment-"); (at = strstr(at, "<table>")) && at < end; at++)
    numbers += check_links(at, strstr(at, "</table>"));
  if (numbers < of->least)
    fail_msg("%s: %d numbers on its page, want %d", of->file, numbers, of->least);
}

/* ---- every experiment ----------------------------------------------------------------------------------------------
 */

#define TINY                                                                                                           \
  "--profile smoke --set synthetic_train=100 --set synthetic_test=20 --set train_limit=32 --set eval_limit=10"
#define COUNT "--profile smoke --set synthetic_train=100 --set synthetic_test=20 --set train_limit=10"

static const struct traced every[] = {
    {"readings.lua", SMALL,
     "--only model=hidden1,model=mlp,algorithm=bp_fp32_rate,algorithm=int8_absmax,algorithm=tuned_off,"
     "algorithm=tuned_scalar,algorithm=ff_theta",
     10},
    {"search.lua", SMALL, "--only algorithm=bp_fp32_3,algorithm=bp_fp32_4,algorithm=ff_int8_tuned_3", 6},
    {"search_convolutional.lua", TINY, "--only model=resnet18,algorithm=bp_fp32_2", 3},
    {"search_depth.lua", SMALL, "--only algorithm=bp_int8_2", 3},
    {"search_long.lua", SMALL, "--only algorithm=bp_ui8_3,algorithm=ff_int8_one_pass_1", 4},
    {"table1.lua", SMALL, "--only model=hidden1,model=hidden2", 10},
    {"table2.lua", SMALL, "--only model=mlp", 4},
    {"table3.lua", SMALL "--set seeds=1", "", 6},
    {"table4.lua", COUNT, "--only model=mlp_3x500,algorithm=bp_gdai8,algorithm=ff_int8", 55},
    {"table5.lua", SMALL, "--only model=mlp", 60},
    {"fig2.lua", TINY, "", 4},
    {"fig3.lua", SMALL, "--only model=hidden0,model=hidden2", 50},
    {"fig6.lua", SMALL, "--only model=mlp,algorithm=tuned_scalar,algorithm=tuned_off,algorithm=paper_greedy", 6},
    {"mlp.lua", SMALL, "--only algorithm=bp_gdai8,algorithm=ff_int8_tuned", 6},
    {"cifar.lua", TINY, "--only model=resnet18,algorithm=bp_fp32,algorithm=ff_int8_tuned", 6},
    {"lookahead.lua", TINY,
     "--only "
     "algorithm=ff_int8_block_overlay_scalar,algorithm=ff_int8_layer_pattern_off,algorithm=ff_int8_one_pass_block",
     12},
    {"memory.lua", TINY, "--only model=resnet18,algorithm=bp_gdai8,algorithm=ff_int8_keep", 20},
};
enum { EVERY = sizeof every / sizeof *every };

static bool is_listed(const char *file) {
  for (int i = 0; i < EVERY; i++)
    if (strcmp(every[i].file, file) == 0)
      return true;
  return false;
}

/* So that a new one is traced, too. */
static void every_experiment_is_listed(void **state) {
  static char text[OUTPUT_BYTES];
  char path[PATH_MAX + NAME_MAX + 32];
  int found = 0;
  (void)state;
  snprintf(path, sizeof path, "%s/experiments", home);
  DIR *directory = opendir(path);
  assert_non_null(directory);
  for (struct dirent *entry; (entry = readdir(directory));) {
    const char *ending = strrchr(entry->d_name, '.');
    if (!ending || strcmp(ending, ".lua") != 0)
      continue;
    snprintf(path, sizeof path, "%s/experiments/%s", home, entry->d_name);
    read_whole(path, text, sizeof text);
    if (!strstr(text, "\nreturn experiment {") && !strstr(text, "\nreturn search {"))
      continue;
    if (!is_listed(entry->d_name))
      fail_msg("nothing traces the numbers of experiments/%s: add it to the list", entry->d_name);
    found++;
  }
  closedir(directory);
  assert_int_equal(found, EVERY);
}

/* Without one record that one alone is trained again, to the same weights. */
static void assert_one_is_trained_again(const struct traced *of) {
  char path[2 * PATH_MAX], weights[TEXT], weights_again[TEXT], expected[TEXT];
  struct files before = list_records();
  int gone = before.count / 2;
  weights_of(before.name[gone], weights);
  record_path_of(before.name[gone], path);
  assert_int_equal(unlink(path), 0);
  run_traced(of, "run", "--quiet");
  snprintf(expected, sizeof expected, "%d run%s, %d done, 1 to train", before.count, before.count == 1 ? "" : "s",
           before.count - 1);
  assert_output(expected);
  struct files now = list_records();
  assert_int_equal(now.count, before.count);
  for (int i = 0; i < now.count; i++)
    assert_int_equal(is_unchanged(&before, &now, i), i != gone);
  weights_of(now.name[gone], weights_again);
  assert_string_equal(weights_again, weights);
}

/* Without its tables the records give them again, byte for byte, and nothing is trained. */
static void assert_tables_come_again(const struct traced *of) {
  static const char *const endings[] = {".md", ".csv"};
  static char before[2][OUTPUT_BYTES], now[OUTPUT_BYTES];
  char path[2 * PATH_MAX];
  struct files records = list_records();
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/results/%s", folder, output_of(of, endings[i]));
    read_whole(path, before[i], OUTPUT_BYTES);
    assert_int_equal(unlink(path), 0);
  }
  run("report", of->file, of->set);
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/results/%s", folder, output_of(of, endings[i]));
    assert_string_equal(read_whole(path, now, sizeof now), before[i]);
  }
  struct files after = list_records();
  assert_int_equal(after.count, records.count);
  for (int i = 0; i < after.count; i++)
    assert_true(is_unchanged(&records, &after, i));
}

static void experiment_comes_from_its_records(void **state) {
  const struct traced *of = *state;
  run_traced(of, "run", "--quiet");
  assert_one_is_trained_again(of);
  assert_tables_come_again(of);
  trace_table(of);
  check_page(of);
}

/* Sanitizers watch C, which every experiment runs the same way: a few of them will do there. */
static bool is_traced_here(const struct traced *of) {
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
  static const char *const few[] = {"table2.lua", "table4.lua", "fig3.lua", "cifar.lua"};
  for (size_t i = 0; i < sizeof few / sizeof *few; i++)
    if (strcmp(of->file, few[i]) == 0)
      return true;
  return false;
#else
  return of->file != NULL;
#endif
}

static void skipped(void **state) {
  (void)state;
  skip();
}

/* ---- forecast ------------------------------------------------------------------------------------------------------
 */

/* "about 1 h 05 min by records" behind a cell's name, in seconds. */
static double forecast_of(const char *id, const char *source) {
  static const struct {
    const char *name;
    double seconds;
  } units[] = {{" h ", 3600}, {" min ", 60}, {" s ", 1}};
  const char *line = strstr(output, id), *about = line ? strstr(line, ", about ") : NULL;
  const char *end = about ? strchr(about, '\n') : NULL, *named = about ? strstr(about, source) : NULL;
  if (!line || !end || !named || named > end || about > strchr(line, '\n')) {
    fail_msg("no forecast \"%s\" for %s in: %s", source, id, output);
    return 0;
  }
  double seconds = 0;
  for (const char *at = about + strlen(", about "); at < named;) {
    char *unit;
    double value = strtod(at, &unit);
    size_t i = 0;
    while (i < sizeof units / sizeof *units && strncmp(unit, units[i].name, strlen(units[i].name)) != 0)
      i++;
    if (i == sizeof units / sizeof *units) {
      fail_msg("no time in \"%.40s\"", at);
      return 0;
    }
    seconds += value * units[i].seconds;
    at = unit + strlen(units[i].name);
  }
  return seconds;
}

static void dry_run_forecasts_from_records(void **state) {
  (void)state;
  const char *two = write_experiment();
  run("run", two, "--profile smoke --dry-run");
  assert_output("4 runs, 0 done, 4 to train");
  assert_output("time unknown");
  assert_output("--calibrate");
  assert_int_equal(list_records().count, 0);
  run("run", two, "--profile smoke --quiet --only algorithm=bp_fp32,seed=1");
  struct files records = list_records();
  assert_int_equal(records.count, 1);
  json_t *record = load_record(records.name[0]);
  /* 630 training records in batches of 10; 70 to validate after each epoch and 200 to test at the end. */
  double step = number_of(record, "time", "train_seconds") / number_of(record, "time", "steps");
  double evaluation = number_of(record, "time", "evaluation_seconds") / (3 * 70 + 200);
  /* As a record from before there was this option. */
  char path[2 * PATH_MAX];
  record_path_of(records.name[0], path);
  assert_int_equal(json_object_del(json_object_get(record, "config"), "tf32"), 0);
  assert_int_equal(json_dump_file(record, path, JSON_INDENT(2)), 0);
  json_decref(record);
  double expected = 5000 * (63 * step + 70 * evaluation) + 200 * evaluation;
  run("run", two, "--profile smoke --dry-run --set epochs=5000 --set seeds=7");
  double seconds = forecast_of("mlp bp_fp32 seed 7", "by records");
  assert_true(fabs(seconds - expected) <= (expected < 10 ? 0.051 : expected < 3600 ? 0.51 : 31));
  const char *other = strstr(output, "mlp bp_int8 seed 7");
  assert_non_null(other);
  assert_memory_equal(strchr(other, '\n') - strlen(", time unknown"), ", time unknown", strlen(", time unknown"));
}

/* Of a run of a thousand epochs, by what 20 of them took; other programs may slow either down, but not tenfold. */
static void assert_calibration_is_near(const char *two, double calibrated) {
  run("run", two, "--profile smoke --quiet --only algorithm=bp_fp32,seed=1 --set epochs=20");
  run("run", two, "--profile smoke --dry-run --only algorithm=bp_fp32,seed=1 --set epochs=1000");
  double recorded = forecast_of("mlp bp_fp32 seed 1", "by records");
  if (!(calibrated < 10 * recorded && recorded < 10 * calibrated))
    fail_msg("%g s by calibration, %g s by records", calibrated, recorded);
}

static void calibration_forecasts_what_has_no_record(void **state) {
  (void)state;
  const char *two = write_experiment();
  run("run", two, "--profile smoke --dry-run --calibrate --set epochs=1000");
  double fp32 = forecast_of("mlp bp_fp32 seed 1", "by calibration");
  assert_true(fp32 > 0);
  assert_true(forecast_of("mlp bp_fp32 seed 2", "by calibration") == fp32);
  assert_true(forecast_of("mlp bp_int8 seed 1", "by calibration") > 0);
  assert_output("To train: about ");
  assert_int_equal(list_records().count, 0);
  assert_calibration_is_near(two, fp32);
  /* Too short: what a calibration would take is more than it is worth. */
  run("run", two, "--profile smoke --dry-run --calibrate --only algorithm=bp_int8 --set epochs=1 --set train_limit=20");
  assert_output("time unknown");
}

/* The last line of a run of all says that all is done. */
static void progress_covers_all_runs(void **state) {
  (void)state;
  const char *two = write_experiment();
  run("run", two, "--profile smoke");
  int lines = 0;
  for (const char *at = strstr(errors, "; of all "); at; at = strstr(at + 1, "; of all "), lines++) {
    double share = strtod(at + strlen("; of all "), NULL);
    assert_true(share >= 0 && share <= 100);
  }
  assert_int_equal(lines, 8); /* two of three epochs, four runs */
  assert_true(strstr(errors, "[4/4] mlp bp_int8 synthetic_digits seed 2  epoch 3/3") ||
              strstr(errors, "[4/4] mlp bp_fp32 synthetic_digits seed 2  epoch 3/3"));
  assert_non_null(strstr(errors, "of all 100 %, 0.0 s left\n"));
}

static void progress_is_corrected_by_the_pace(void **state) {
  (void)state;
  static const struct {
    struct progress_others others;
    double elapsed, left;
    const char *says;
  } cases[] = {
      {{.later = -1}, 5, 12, "12 s left"},
      {{.later = 85, .forecast = 15, .corrected = true, .before = 100},
       5,
       10,
       "10 s left; of all 52 %, 1 min 35 s left"},
      /* The first run takes twice as long as it should: so will the others. */
      {{.later = 85, .forecast = 15}, 10, 20, "20 s left; of all 5 %, 3 min 10 s left"},
      /* Too early to tell. */
      {{.later = 85, .forecast = 15}, 1, 29, "29 s left; of all 0 %, 1 min 54 s left"},
      {{.later = 30, .open = true, .before = 5}, 5, 0, "of all 25 %, at least 30 s left"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[TEXT];
    progress_left(&cases[i].others, cases[i].elapsed, cases[i].left, text, sizeof text);
    assert_string_equal(text, cases[i].says);
  }
}

/* ---- set-up --------------------------------------------------------------------------------------------------------
 */

static int make_folder(void **state) {
  (void)state;
  return getcwd(home, sizeof home) ? scratch_make(folder, sizeof folder) : -1;
}

static int remove_folder(void **state) {
  (void)state;
  return scratch_remove(folder);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
  static const struct CMUnitTest others[] = {
      CASE(every_experiment_is_listed),     CASE(deleted_record_is_trained_again_alone),
      CASE(killed_experiment_goes_on),      CASE(algorithms_take_turns_in_any_order),
      CASE(dry_run_forecasts_from_records), CASE(calibration_forecasts_what_has_no_record),
      CASE(progress_covers_all_runs),       CASE(progress_is_corrected_by_the_pace),
  };
  enum { OTHERS = sizeof others / sizeof *others };
  struct CMUnitTest tests[OTHERS + EVERY];
  memcpy(tests, others, sizeof others);
  for (int i = 0; i < EVERY; i++)
    tests[OTHERS + i] =
        (struct CMUnitTest){every[i].file, is_traced_here(&every[i]) ? experiment_comes_from_its_records : skipped,
                            make_folder, remove_folder, (void *)&every[i]};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
