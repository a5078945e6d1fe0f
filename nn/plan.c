#include "nn/plan.h"

#include "base/memory.h"
#include "nn/operands.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* A tensor with what the plan knows of it. Transient lifetimes are call numbers, both ends included. */
struct planned {
  struct ffb_tensor tensor;    /* first: a tensor pointer is a pointer to its plan entry */
  struct planned *whole;       /* for a view, what it looks into */
  int64_t view_offset;         /* elements */
  struct ffb_program *program; /* null: persistent */
  size_t first, last;
  bool used, output;
  size_t offset;
  char name[96];
};

struct call {
  enum ffb_operator operation;
  union ffb_arguments arguments;
};

struct ffb_program {
  struct ffb_plan *plan;
  char name[64];
  struct call *calls;
  size_t call_count, call_capacity;
  struct planned **tensors;
  size_t tensor_count, tensor_capacity;
  bool warm, uncapturable;     /* ran once; will not be captured */
  void *captured;              /* by the backend; null before */
  size_t extent;               /* bytes of the transient region that it needs */
  struct ffb_memory_peak peak; /* of the transient tensors alone */
};

struct ffb_plan {
  const struct ffb_backend *backend;
  struct ffb_device *device;
  struct planned **tensors; /* every tensor, owned here */
  size_t tensor_count, tensor_capacity;
  struct ffb_tensor **persistent;
  size_t persistent_count, persistent_capacity;
  struct ffb_program **programs;
  size_t program_count, program_capacity;
  char *arena;
  size_t arena_bytes, persistent_bytes;
  bool finished, unfused, poison;
  ffb_program_observer *observer;
  void *observer_to;
};

static const char *const tag_names[FFB_TAG_COUNT] = {
    [FFB_TAG_WEIGHTS] = "weights",         [FFB_TAG_GRADIENTS] = "gradients", [FFB_TAG_OPTIMISER] = "optimiser",
    [FFB_TAG_ACTIVATIONS] = "activations", [FFB_TAG_QUANTISED] = "quantised", [FFB_TAG_WORKSPACE] = "workspace",
    [FFB_TAG_DATASET] = "dataset",
};

const char *ffb_tag_name(enum ffb_tag tag) {
  return tag_names[tag];
}

size_t ffb_tensor_bytes(const struct ffb_tensor *tensor) {
  return (size_t)ffb_elements(tensor) * ffb_type_bytes(tensor->type);
}

static size_t aligned(size_t bytes) {
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool push(void *list, size_t *count, size_t *capacity, size_t size, const void *item, struct ffb_error *error) {
  void **items = list;
  if (*count == *capacity) {
    size_t wanted = *capacity ? 2 * *capacity : 16;
    void *grown = ffb_reallocate(*items, wanted, size, error);
    if (!grown)
      return false;
    *items = grown;
    *capacity = wanted;
  }
  memcpy((char *)*items + *count * size, item, size);
  ++*count;
  return true;
}

struct ffb_plan *ffb_plan_create(const struct ffb_backend *backend, struct ffb_device *device,
                                 struct ffb_error *error) {
  struct ffb_plan *plan = ffb_allocate(1, sizeof *plan, error);
  if (plan) {
    plan->backend = backend;
    plan->device = device;
  }
  return plan;
}

void ffb_plan_destroy(struct ffb_plan *plan) {
  if (!plan)
    return;
  for (size_t i = 0; i < plan->program_count; i++)
    if (plan->programs[i]->captured)
      plan->backend->forget(plan->device, plan->programs[i]->captured);
  if (plan->arena)
    plan->backend->release(plan->device, plan->arena);
  for (size_t i = 0; i < plan->program_count; i++) {
    ffb_free(plan->programs[i]->calls);
    ffb_free(plan->programs[i]->tensors);
    ffb_free(plan->programs[i]);
  }
  for (size_t i = 0; i < plan->tensor_count; i++)
    ffb_free(plan->tensors[i]);
  ffb_free(plan->tensors);
  ffb_free(plan->persistent);
  ffb_free(plan->programs);
  ffb_free(plan);
}

static struct planned *new_tensor(struct ffb_plan *plan, enum ffb_tag tag, enum ffb_type type, const char *name,
                                  const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error) {
  if (plan->finished) {
    ffb_fail(error, "tensor %s: the memory plan is finished", name);
    return NULL;
  }
  struct planned *planned = ffb_allocate(1, sizeof *planned, error);
  if (!planned)
    return NULL;
  size_t length = strlen(name) < sizeof planned->name ? strlen(name) : sizeof planned->name - 1;
  memcpy(planned->name, name, length);
  planned->tensor.type = type;
  planned->tensor.tag = tag;
  planned->tensor.name = planned->name;
  planned->tensor.id = (int)plan->tensor_count;
  memcpy(planned->tensor.shape, shape, sizeof planned->tensor.shape);
  if (!push(&plan->tensors, &plan->tensor_count, &plan->tensor_capacity, sizeof planned, &planned, error)) {
    ffb_free(planned);
    return NULL;
  }
  return planned;
}

struct ffb_tensor *ffb_plan_persistent(struct ffb_plan *plan, enum ffb_tag tag, enum ffb_type type, const char *name,
                                       const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error) {
  for (size_t i = 0; i < plan->persistent_count; i++) {
    if (strcmp(plan->persistent[i]->name, name) == 0) {
      ffb_fail(error, "tensor %s: the name is taken", name);
      return NULL;
    }
  }
  struct planned *planned = new_tensor(plan, tag, type, name, shape, error);
  if (!planned)
    return NULL;
  struct ffb_tensor *tensor = &planned->tensor;
  if (!push(&plan->persistent, &plan->persistent_count, &plan->persistent_capacity, sizeof tensor, &tensor, error))
    return NULL;
  return tensor;
}

struct ffb_tensor *ffb_plan_transient(struct ffb_program *program, enum ffb_tag tag, enum ffb_type type,
                                      const char *name, const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error) {
  struct planned *planned = new_tensor(program->plan, tag, type, name, shape, error);
  if (!planned)
    return NULL;
  planned->program = program;
  if (!push(&program->tensors, &program->tensor_count, &program->tensor_capacity, sizeof planned, &planned, error))
    return NULL;
  return &planned->tensor;
}

struct ffb_tensor *ffb_plan_view(struct ffb_plan *plan, struct ffb_tensor *whole, int64_t offset,
                                 const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error) {
  struct planned *base = (struct planned *)whole;
  struct planned *planned = new_tensor(plan, whole->tag, whole->type, whole->name, shape, error);
  if (!planned)
    return NULL;
  if (offset < 0 || offset + ffb_elements(&planned->tensor) > ffb_elements(whole)) {
    ffb_fail(error, "view of %s: outside the tensor", whole->name);
    return NULL;
  }
  planned->whole = base->whole ? base->whole : base;
  planned->view_offset = offset + (base->whole ? base->view_offset : 0);
  planned->program = base->program;
  return &planned->tensor;
}

struct ffb_tensor *ffb_plan_overlay(struct ffb_plan *plan, struct ffb_tensor *whole, enum ffb_tag tag,
                                    enum ffb_type type, const char *name, const int64_t shape[FFB_DIMENSIONS],
                                    struct ffb_error *error) {
  struct planned *base = (struct planned *)whole, *planned = new_tensor(plan, tag, type, name, shape, error);
  if (!planned)
    return NULL;
  if (base->whole || ffb_tensor_bytes(&planned->tensor) > ffb_tensor_bytes(whole)) {
    ffb_fail(error, "%s over %s: over a view, or longer", name, whole->name);
    return NULL;
  }
  planned->whole = base;
  planned->program = base->program;
  return &planned->tensor;
}

struct ffb_program *ffb_program_create(struct ffb_plan *plan, const char *name, struct ffb_error *error) {
  struct ffb_program *program = ffb_allocate(1, sizeof *program, error);
  if (!program)
    return NULL;
  program->plan = plan;
  size_t length = strlen(name) < sizeof program->name ? strlen(name) : sizeof program->name - 1;
  memcpy(program->name, name, length);
  if (!push(&plan->programs, &plan->program_count, &plan->program_capacity, sizeof program, &program, error)) {
    ffb_free(program);
    return NULL;
  }
  return program;
}

static struct planned *owner(struct ffb_tensor *tensor) {
  struct planned *planned = (struct planned *)tensor;
  return planned->whole ? planned->whole : planned;
}

static bool touch(struct ffb_program *program, const struct ffb_operand *operand, size_t call, const char *operation,
                  struct ffb_error *error) {
  struct planned *planned = owner(operand->tensor);
  if (!planned->program)
    return true;
  if (planned->program != program)
    return ffb_fail(error, "%s in program %s: %s belongs to program %s", operation, program->name, planned->name,
                    planned->program->name);
  if (!planned->used) {
    if (operand->read)
      return ffb_fail(error, "%s in program %s: %s is read before it is written", operation, program->name,
                      planned->name);
    planned->used = true;
    planned->first = call;
  }
  planned->last = call;
  return true;
}

static bool add_workspace(struct ffb_program *program, enum ffb_operator operation, union ffb_arguments *arguments,
                          struct ffb_error *error) {
  const struct ffb_backend *backend = program->plan->backend;
  struct ffb_tensor **place = ffb_operand_workspace(operation, arguments);
  if (!place || *place || !backend->workspace)
    return true;
  size_t bytes = backend->workspace(program->plan->device, operation, arguments);
  if (!bytes)
    return true;
  *place =
      ffb_plan_transient(program, FFB_TAG_WORKSPACE, FFB_U8, "workspace", (int64_t[4]){(int64_t)bytes, 1, 1, 1}, error);
  return *place != NULL;
}

bool ffb_program_add(struct ffb_program *program, enum ffb_operator operation, const union ffb_arguments *arguments,
                     struct ffb_error *error) {
  struct call call = {.operation = operation, .arguments = *arguments};
  if (program->plan->finished)
    return ffb_fail(error, "%s in program %s: the memory plan is finished", ffb_operator_name(operation),
                    program->name);
  if (!program->plan->backend->operators[operation])
    return ffb_fail(error, "backend %s has no operator %s", program->plan->backend->name, ffb_operator_name(operation));
  if (!ffb_operands_check(operation, arguments, error) || !add_workspace(program, operation, &call.arguments, error))
    return false;
  struct ffb_operand operands[FFB_MAX_OPERANDS];
  size_t count = ffb_operands(operation, &call.arguments, operands);
  /* Reads come first, so that a tensor written in place must have been written before. */
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < count; i++) {
      if (operands[i].read == (pass == 0) &&
          !touch(program, &operands[i], program->call_count, ffb_operator_name(operation), error))
        return false;
    }
  }
  return push(&program->calls, &program->call_count, &program->call_capacity, sizeof call, &call, error);
}

void ffb_program_input(struct ffb_program *program, struct ffb_tensor *tensor) {
  struct planned *planned = owner(tensor);
  planned->first = 0;
  planned->used = planned->program == program;
}

void ffb_program_output(struct ffb_program *program, struct ffb_tensor *tensor) {
  struct planned *planned = owner(tensor);
  planned->output = planned->program == program;
}

static bool lifetimes_meet(const struct planned *a, const struct planned *b) {
  return a->first <= b->last && b->first <= a->last;
}

static int by_size_descending(const void *left, const void *right) {
  const struct planned *a = *(struct planned *const *)left, *b = *(struct planned *const *)right;
  size_t x = ffb_tensor_bytes(&a->tensor), y = ffb_tensor_bytes(&b->tensor);
  if (x != y)
    return x < y ? 1 : -1;
  return a->tensor.id < b->tensor.id ? -1 : 1;
}

static int by_offset(const void *left, const void *right) {
  const struct planned *a = *(struct planned *const *)left, *b = *(struct planned *const *)right;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* The lowest gap among the placed tensors whose lifetime meets that of `tensor`. */
static size_t lowest_gap(const struct planned *tensor, struct planned **placed, size_t placed_count,
                         struct planned **scratch) {
  size_t neighbours = 0, offset = 0, bytes = aligned(ffb_tensor_bytes(&tensor->tensor));
  for (size_t i = 0; i < placed_count; i++) {
    if (lifetimes_meet(tensor, placed[i]))
      scratch[neighbours++] = placed[i];
  }
  qsort(scratch, neighbours, sizeof *scratch, by_offset);
  for (size_t i = 0; i < neighbours; i++) {
    if (offset + bytes <= scratch[i]->offset)
      break;
    size_t end = scratch[i]->offset + aligned(ffb_tensor_bytes(&scratch[i]->tensor));
    offset = end > offset ? end : offset;
  }
  return offset;
}

/* Largest first into the lowest free gap: the usual heuristic for arenas with known lifetimes. */
static bool place_transients(struct ffb_program *program, struct ffb_error *error) {
  size_t count = 0;
  struct planned **order = ffb_allocate(2 * program->tensor_count + 1, sizeof(struct planned *), error);
  if (!order)
    return false;
  for (size_t i = 0; i < program->tensor_count; i++) {
    struct planned *planned = program->tensors[i];
    if (planned->output || program->plan->poison)
      planned->last = program->call_count;
    if (program->plan->poison)
      planned->first = 0;
    if (planned->used)
      order[count++] = planned;
  }
  qsort(order, count, sizeof(struct planned *), by_size_descending);
  for (size_t i = 0; i < count; i++) {
    order[i]->offset = lowest_gap(order[i], order, i, order + program->tensor_count);
    size_t end = order[i]->offset + aligned(ffb_tensor_bytes(&order[i]->tensor));
    program->extent = end > program->extent ? end : program->extent;
  }
  ffb_free(order);
  return true;
}

/* The moment of the program at which most transient bytes are alive. */
static void measure_peak(struct ffb_program *program) {
  program->peak = (struct ffb_memory_peak){.program = program->name};
  for (size_t call = 0; call <= program->call_count; call++) {
    struct ffb_memory_peak now = {.program = program->name, .call = call};
    for (size_t i = 0; i < program->tensor_count; i++) {
      const struct planned *planned = program->tensors[i];
      if (planned->used && planned->first <= call && call <= planned->last) {
        now.by_tag[planned->tensor.tag] += ffb_tensor_bytes(&planned->tensor);
        now.peak += ffb_tensor_bytes(&planned->tensor);
      }
    }
    if (now.peak > program->peak.peak)
      program->peak = now;
  }
}

static void set_addresses(struct ffb_plan *plan) {
  for (size_t i = 0; i < plan->tensor_count; i++) {
    struct planned *planned = plan->tensors[i], *whole = planned->whole ? planned->whole : planned;
    if (whole->program && !whole->used)
      continue; /* made but never touched by a call: it has no memory */
    size_t offset = whole->offset + (whole->program ? plan->persistent_bytes : 0);
    planned->tensor.data = plan->arena + offset + (size_t)planned->view_offset * ffb_type_bytes(planned->tensor.type);
  }
}

static bool zero_persistent(struct ffb_plan *plan, struct ffb_error *error) {
  size_t longest = 1;
  for (size_t i = 0; i < plan->persistent_count; i++)
    longest = ffb_tensor_bytes(plan->persistent[i]) > longest ? ffb_tensor_bytes(plan->persistent[i]) : longest;
  void *zeros = ffb_allocate(longest, 1, error);
  bool good = zeros != NULL;
  for (size_t i = 0; good && i < plan->persistent_count; i++)
    good = ffb_tensor_write(plan, plan->persistent[i], zeros, error);
  ffb_free(zeros);
  return good;
}

bool ffb_plan_finish(struct ffb_plan *plan, struct ffb_error *error) {
  size_t extent = 0;
  for (size_t i = 0; i < plan->persistent_count; i++) {
    ((struct planned *)plan->persistent[i])->offset = plan->persistent_bytes;
    plan->persistent_bytes += aligned(ffb_tensor_bytes(plan->persistent[i]));
  }
  for (size_t i = 0; i < plan->program_count; i++) {
    if (!place_transients(plan->programs[i], error))
      return false;
    extent = plan->programs[i]->extent > extent ? plan->programs[i]->extent : extent;
    measure_peak(plan->programs[i]);
  }
  plan->arena_bytes = plan->persistent_bytes + extent;
  plan->arena = plan->backend->allocate(plan->device, plan->arena_bytes ? plan->arena_bytes : ALIGNMENT);
  if (!plan->arena)
    return ffb_fail(error, "backend %s: no room for an arena of %zu bytes: lower --batch%s%s%s", plan->backend->name,
                    plan->arena_bytes, plan->backend->memory ? " (" : "",
                    plan->backend->memory ? plan->backend->failure(plan->device) : "",
                    plan->backend->memory ? ")" : "");
  plan->finished = true;
  set_addresses(plan);
  return zero_persistent(plan, error);
}

/* Every input keeps what the host wrote; everything else is made unusable. */
static bool poison(struct ffb_program *program, struct ffb_error *error) {
  for (size_t i = 0; i < program->tensor_count; i++) {
    struct planned *planned = program->tensors[i];
    bool written_first = false;
    for (size_t call = 0; call < program->call_count && !written_first; call++) {
      struct ffb_operand operands[FFB_MAX_OPERANDS];
      size_t count = ffb_operands(program->calls[call].operation, &program->calls[call].arguments, operands);
      bool read = false;
      for (size_t k = 0; k < count; k++) {
        if (owner(operands[k].tensor) == planned) {
          read = read || operands[k].read;
          written_first = written_first || operands[k].write;
        }
      }
      if (read) { /* an input, perhaps changed in place */
        written_first = false;
        break;
      }
    }
    if (!planned->used || !written_first)
      continue;
    size_t bytes = ffb_tensor_bytes(&planned->tensor);
    void *pattern = ffb_allocate(bytes, 1, error);
    if (!pattern)
      return false;
    memset(pattern, 0xA5, bytes);
    bool good = ffb_tensor_write(program->plan, &planned->tensor, pattern, error);
    ffb_free(pattern);
    if (!good)
      return false;
  }
  return true;
}

static bool run_calls(struct ffb_program *program, struct ffb_error *error) {
  struct ffb_plan *plan = program->plan;
  for (size_t i = 0; i < program->call_count; i++) {
    const struct call *call = &program->calls[i];
    if (!plan->backend->operators[call->operation](plan->device, &call->arguments))
      return ffb_fail(error, "backend %s: %s in program %s: %s", plan->backend->name,
                      ffb_operator_name(call->operation), program->name, plan->backend->failure(plan->device));
    if (plan->observer)
      plan->observer(plan->observer_to, program, i, call->operation);
  }
  return true;
}

static bool capture(struct ffb_program *program) {
  struct ffb_plan *plan = program->plan;
  struct ffb_error ignored;
  if (!plan->backend->capture_begin(plan->device))
    return false;
  bool good = run_calls(program, &ignored);
  program->captured = plan->backend->capture_end(plan->device, good);
  return program->captured != NULL;
}

/* The first run may still choose algorithms and take memory, so the second is captured. An observer, and poisoned
 * memory, need the calls one by one. */
bool ffb_program_run(struct ffb_program *program, struct ffb_error *error) {
  struct ffb_plan *plan = program->plan;
  if (plan->poison && !poison(program, error))
    return false;
  if (!plan->backend->capture_begin || plan->observer || plan->poison || program->uncapturable)
    return run_calls(program, error);
  if (!program->warm) {
    program->warm = run_calls(program, error);
    return program->warm;
  }
  if (!program->captured && !capture(program)) {
    program->uncapturable = true;
    return run_calls(program, error);
  }
  return plan->backend->replay(plan->device, program->captured) ||
         ffb_fail(error, "backend %s: program %s: %s", plan->backend->name, program->name,
                  plan->backend->failure(plan->device));
}

void ffb_plan_observe(struct ffb_plan *plan, ffb_program_observer *observer, void *to) {
  plan->observer = observer;
  plan->observer_to = to;
}

static size_t bytes_of_rows(const struct ffb_tensor *tensor, int64_t rows) {
  return ffb_tensor_bytes(tensor) / (size_t)tensor->shape[0] * (size_t)rows;
}

bool ffb_tensor_write_rows(struct ffb_plan *plan, struct ffb_tensor *tensor, int64_t rows, const void *from,
                           struct ffb_error *error) {
  if (plan->backend->write(plan->device, tensor->data, from, bytes_of_rows(tensor, rows)))
    return true;
  return ffb_fail(error, "backend %s: writing %s: %s", plan->backend->name, tensor->name,
                  plan->backend->failure(plan->device));
}

bool ffb_tensor_read_rows(struct ffb_plan *plan, const struct ffb_tensor *tensor, int64_t rows, void *to,
                          struct ffb_error *error) {
  if (plan->backend->read(plan->device, to, tensor->data, bytes_of_rows(tensor, rows)))
    return true;
  return ffb_fail(error, "backend %s: reading %s: %s", plan->backend->name, tensor->name,
                  plan->backend->failure(plan->device));
}

bool ffb_tensor_write(struct ffb_plan *plan, struct ffb_tensor *tensor, const void *from, struct ffb_error *error) {
  return ffb_tensor_write_rows(plan, tensor, tensor->shape[0], from, error);
}

bool ffb_tensor_read(struct ffb_plan *plan, const struct ffb_tensor *tensor, void *to, struct ffb_error *error) {
  return ffb_tensor_read_rows(plan, tensor, tensor->shape[0], to, error);
}

bool ffb_plan_synchronise(struct ffb_plan *plan, struct ffb_error *error) {
  if (plan->backend->synchronise(plan->device))
    return true;
  return ffb_fail(error, "backend %s: %s", plan->backend->name, plan->backend->failure(plan->device));
}

bool ffb_plan_takes_announcements(const struct ffb_plan *plan) {
  return plan->backend->announce != NULL;
}

bool ffb_plan_announce(struct ffb_plan *plan, const struct ffb_host_bytes *pieces, size_t count,
                       struct ffb_error *error) {
  if (!plan->backend->announce || plan->backend->announce(plan->device, pieces, count))
    return true;
  return ffb_fail(error, "backend %s: announcing a batch: %s", plan->backend->name,
                  plan->backend->failure(plan->device));
}

bool ffb_plan_has(const struct ffb_plan *plan, enum ffb_operator operation) {
  return plan->backend->operators[operation] && !(plan->unfused && ffb_operator_optional(operation));
}

void ffb_plan_unfused(struct ffb_plan *plan) {
  plan->unfused = true;
}

void ffb_plan_poison(struct ffb_plan *plan) {
  plan->poison = true;
}

void ffb_plan_peak_of(const struct ffb_plan *plan, const char *prefix, struct ffb_memory_peak *peak) {
  *peak = (struct ffb_memory_peak){.program = ""};
  for (size_t i = 0; i < plan->program_count; i++) {
    const struct ffb_program *program = plan->programs[i];
    if (strncmp(program->name, prefix, strlen(prefix)) == 0 && (!*peak->program || program->peak.peak > peak->peak))
      *peak = program->peak;
  }
  for (size_t i = 0; i < plan->persistent_count; i++) {
    peak->by_tag[plan->persistent[i]->tag] += ffb_tensor_bytes(plan->persistent[i]);
    peak->peak += ffb_tensor_bytes(plan->persistent[i]);
  }
  peak->arena = plan->arena_bytes;
}

void ffb_plan_peak(const struct ffb_plan *plan, struct ffb_memory_peak *peak) {
  ffb_plan_peak_of(plan, "", peak);
}

size_t ffb_plan_persistent_count(const struct ffb_plan *plan) {
  return plan->persistent_count;
}

struct ffb_tensor *ffb_plan_persistent_at(const struct ffb_plan *plan, size_t index) {
  return plan->persistent[index];
}

size_t ffb_plan_program_count(const struct ffb_plan *plan) {
  return plan->program_count;
}

const struct ffb_program *ffb_plan_program_at(const struct ffb_plan *plan, size_t index) {
  return plan->programs[index];
}

const char *ffb_program_name(const struct ffb_program *program) {
  return program->name;
}

size_t ffb_program_calls(const struct ffb_program *program) {
  return program->call_count;
}

enum ffb_operator ffb_program_call(const struct ffb_program *program, size_t call,
                                   const union ffb_arguments **arguments) {
  if (arguments)
    *arguments = &program->calls[call].arguments;
  return program->calls[call].operation;
}
