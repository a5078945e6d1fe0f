#include "harness/profile.h"

#include "base/memory.h"
#include "harness/assembly.h"
#include "harness/meters/clock.h"
#include "harness/peaks.h"
#include "nn/operands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 10, LABEL_BYTES = 160 };

const char *const profile_by_names[] = {"operator", "call", NULL};

/* One call of one program, or all calls of one operator added up. */
struct line {
  char label[LABEL_BYTES];
  enum ffb_operator operation;
  double calls, seconds; /* all steps together */
  double floor;          /* seconds; of one call until lines are added up */
};

struct profile {
  struct assembly assembly;
  struct peaks peaks;
  struct line *lines; /* of every call of every program, in order */
  size_t count;
  size_t *first; /* line of each program's first call */
  bool timed;    /* past the warm-up */
  double last;   /* clock, when the call before ended */
  double seconds;
  bool failed; /* while a call was waited for */
  struct ffb_error *error;
};

/* ---- floors ----------------------------------------------------------------------------------------------------- */

/* The longer of computing at the peak and moving the operands at memory's speed. Taps on padding are not computed. */
static double floor_of(enum ffb_operator operation, const union ffb_arguments *arguments, const struct peaks *peaks) {
  struct ffb_operation_count count = {0};
  if (peaks->bytes <= 0)
    return 0;
  ffb_call_count(operation, arguments, &count);
  int64_t f32 = count.mac_f32 ? count.mac_f32 - count.padding : 0, s8 = count.mac_s8 ? count.mac_s8 - count.padding : 0;
  double compute = 2 * (double)f32 / peaks->f32 + 2 * (double)s8 / peaks->s8;
  return fmax(compute, (double)ffb_call_bytes(operation, arguments) / peaks->bytes);
}

/* ---- measuring -------------------------------------------------------------------------------------------------- */

/* The largest tensor that a call writes, scratch excluded; null when it writes none. */
static const struct ffb_tensor *main_output(enum ffb_operator operation, const union ffb_arguments *arguments) {
  struct ffb_operand operands[FFB_MAX_OPERANDS];
  size_t count = ffb_operands(operation, arguments, operands);
  const struct ffb_tensor *scratch = ffb_operand_scratch(operation, arguments), *largest = NULL;
  for (size_t i = 0; i < count; i++) {
    const struct ffb_tensor *tensor = operands[i].tensor;
    if (operands[i].write && tensor != scratch && (!largest || ffb_tensor_bytes(tensor) > ffb_tensor_bytes(largest)))
      largest = tensor;
  }
  return largest;
}

/* "gemm_f32 fc1.y 32x1000" */
static void label_call(struct line *line, const union ffb_arguments *arguments) {
  const struct ffb_tensor *tensor = main_output(line->operation, arguments);
  size_t size = sizeof line->label;
  int at = snprintf(line->label, size, "%s", ffb_operator_name(line->operation)), dimensions = FFB_DIMENSIONS;
  if (!tensor || at < 0)
    return;
  at += snprintf(line->label + at, size - (size_t)at, " %.60s ", tensor->name ? tensor->name : "?");
  while (dimensions > 1 && tensor->shape[dimensions - 1] == 1)
    dimensions--;
  for (int i = 0; i < dimensions && at > 0 && (size_t)at < size; i++)
    at += snprintf(line->label + at, size - (size_t)at, "%s%lld", i ? "x" : "", (long long)tensor->shape[i]);
}

static bool make_lines(struct profile *profile, struct ffb_error *error) {
  const struct ffb_plan *plan = profile->assembly.plan;
  size_t programs = ffb_plan_program_count(plan), calls = 0;
  for (size_t i = 0; i < programs; i++)
    calls += ffb_program_calls(ffb_plan_program_at(plan, i));
  if (!(profile->first = ffb_allocate(programs, sizeof *profile->first, error)) ||
      !(profile->lines = ffb_allocate(calls, sizeof *profile->lines, error)))
    return false;
  for (size_t i = 0; i < programs; i++) {
    const struct ffb_program *program = ffb_plan_program_at(plan, i);
    profile->first[i] = profile->count;
    for (size_t call = 0; call < ffb_program_calls(program); call++) {
      struct line *line = &profile->lines[profile->count++];
      const union ffb_arguments *arguments = NULL;
      line->operation = ffb_program_call(program, call, &arguments);
      line->floor = floor_of(line->operation, arguments, &profile->peaks);
      label_call(line, arguments);
    }
  }
  return true;
}

static struct line *find_line(const struct profile *profile, const struct ffb_program *program, size_t call) {
  size_t number = 0;
  while (ffb_plan_program_at(profile->assembly.plan, number) != program)
    number++;
  return &profile->lines[profile->first[number] + call];
}

/* Its own time falls between the calls, and so to neither of them. */
static void observe(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct profile *profile = to;
  (void)operation;
  if (!ffb_plan_synchronise(profile->assembly.plan, profile->error))
    profile->failed = true;
  double now = meter_clock_seconds();
  struct line *line = find_line(profile, program, call);
  if (profile->timed) {
    line->seconds += now - profile->last;
    line->calls++;
  }
  profile->last = meter_clock_seconds();
}

static bool take_steps(struct profile *profile, int64_t steps, struct ffb_error *error) {
  struct assembly *assembly = &profile->assembly;
  struct loader *loader = &assembly->loader;
  int64_t full = loader->split.train_count / loader->batch, batches = full > 0 ? full : 1;
  loader_shuffle(loader, 0);
  for (int64_t step = 0; step < WARM_UP + steps; step++) {
    struct ffb_batch batch;
    loader_train(loader, step % batches, &batch);
    profile->timed = step >= WARM_UP;
    double start = profile->last = meter_clock_seconds();
    if (!assembly->parts.trainer->train_step(assembly->state, &batch, error) ||
        !ffb_plan_synchronise(assembly->plan, error) || profile->failed)
      return false;
    profile->seconds += profile->timed ? meter_clock_seconds() - start : 0;
  }
  return true;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

/* Floors become those of all steps, and calls that never ran go. */
static void keep_what_ran(struct profile *profile) {
  size_t kept = 0;
  for (size_t i = 0; i < profile->count; i++) {
    if (profile->lines[i].calls <= 0)
      continue;
    profile->lines[kept] = profile->lines[i];
    profile->lines[kept].floor *= profile->lines[kept].calls;
    kept++;
  }
  profile->count = kept;
}

static int slower_first(const void *left, const void *right) {
  double a = ((const struct line *)left)->seconds, b = ((const struct line *)right)->seconds;
  return (a < b) - (a > b);
}

static void add_to(struct line *sum, const struct line *line) {
  sum->calls += line->calls;
  sum->seconds += line->seconds;
  sum->floor += line->floor;
}

/* One line for each operator, the slowest first. */
static void add_up(struct profile *profile) {
  size_t kept = 0;
  for (size_t i = 0; i < profile->count; i++) {
    size_t k = 0;
    while (k < kept && profile->lines[k].operation != profile->lines[i].operation)
      k++;
    if (k < kept) {
      add_to(&profile->lines[k], &profile->lines[i]);
      continue;
    }
    profile->lines[kept] = profile->lines[i];
    snprintf(profile->lines[kept].label, LABEL_BYTES, "%s", ffb_operator_name(profile->lines[kept].operation));
    kept++;
  }
  profile->count = kept;
  qsort(profile->lines, kept, sizeof *profile->lines, slower_first);
}

static void print_line(FILE *to, const struct line *line, int width, double steps, double step_seconds) {
  fprintf(to, "%-*s %10.4g %10.4f %6.1f %%", width, line->label, line->calls / steps, 1e3 * line->seconds / steps,
          100 * line->seconds / steps / step_seconds);
  if (line->floor > 0)
    fprintf(to, " %10.4f %9.2f\n", 1e3 * line->floor / steps, line->seconds / line->floor);
  else
    fprintf(to, " %10s %9s\n", "-", "-");
}

static void print_notes(FILE *to, const struct profile *profile) {
  const struct peaks *peaks = &profile->peaks;
  if (peaks->bytes > 0)
    fprintf(to,
            "\nfloor: the longer of computing at the measured peak (FP32 %.0f GFLOP/s, INT8 %.0f GOP/s) and moving the "
            "call's operands\nonce at memory's measured speed (%.1f GB/s), padding left out; what lies in a cache can "
            "be faster.\n",
            peaks->f32 / 1e9, peaks->s8 / 1e9, peaks->bytes / 1e9);
  else
    fputs("\nfloor: peaks are measured for the backend cpu only.\n", to);
  fputs("The first call of a step includes handing over the batch. Preparing batches is in no line.\n", to);
}

static void print_table(FILE *to, const struct profile *profile, int64_t steps) {
  const struct assembly *assembly = &profile->assembly;
  double count = (double)steps, step_seconds = profile->seconds / count;
  struct line sum = {.label = "all calls"};
  int width = (int)strlen("outside of the calls");
  for (size_t i = 0; i < profile->count; i++) {
    add_to(&sum, &profile->lines[i]);
    int length = (int)strlen(profile->lines[i].label);
    width = length > width ? length : width;
  }
  struct line rest = {.label = "outside of the calls", .seconds = profile->seconds - sum.seconds};
  struct line step = {.label = "step", .calls = sum.calls, .seconds = profile->seconds, .floor = sum.floor};
  fprintf(to, "%s %s, batch %lld, backend %s, %d threads: mean of %lld steps after %d\n\n", assembly->parts.model->name,
          assembly->parts.trainer->name, (long long)assembly->setup.batch, assembly->parts.backend->name,
          assembly->threads, (long long)steps, WARM_UP);
  fprintf(to, "%-*s %10s %10s %8s %10s %9s\n", width, "", "calls/step", "ms/step", "share", "floor ms", "/ floor");
  for (size_t i = 0; i < profile->count; i++)
    print_line(to, &profile->lines[i], width, count, step_seconds);
  fputc('\n', to);
  print_line(to, &sum, width, count, step_seconds);
  print_line(to, &rest, width, count, step_seconds);
  print_line(to, &step, width, count, step_seconds);
  print_notes(to, profile);
}

bool profile_run(const struct run_config *config, int64_t steps, enum profile_by by, FILE *to,
                 struct ffb_error *error) {
  struct profile profile = {.error = error};
  if (!assembly_make(&profile.assembly, config, error))
    return false;
  profile.peaks = peaks_measure(profile.assembly.parts.backend, profile.assembly.threads);
  bool ok = make_lines(&profile, error);
  if (ok) {
    ffb_plan_observe(profile.assembly.plan, observe, &profile);
    ok = take_steps(&profile, steps, error);
  }
  if (ok) {
    keep_what_ran(&profile);
    if (by == PROFILE_BY_OPERATOR)
      add_up(&profile);
    print_table(to, &profile, steps);
  }
  ffb_free(profile.lines);
  ffb_free(profile.first);
  assembly_free(&profile.assembly);
  return ok;
}
