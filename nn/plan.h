/* The memory plan: every tensor of a run, its lifetime, and its place in one arena.
 *
 * Persistent tensors (weights, optimiser state, running maxima, step scalars) live from first to last step.
 * Transient ones belong to a program and live from the call that first writes them to the call that last reads
 * them; two tensors whose lifetimes do not meet may share an address. Programs of one plan (full batch,
 * partial batch, prediction) never run at once, so their transient parts share one region. After ffb_plan_finish every
 * address is fixed and no step allocates. */
#ifndef FFBENCH_NN_PLAN_H
#define FFBENCH_NN_PLAN_H

#include "backends/backend.h"
#include "base/error.h"

struct ffb_plan;
struct ffb_program;

struct ffb_plan *ffb_plan_create(const struct ffb_backend *backend, struct ffb_device *device, struct ffb_error *error);
void ffb_plan_destroy(struct ffb_plan *plan);

/* A tensor that keeps its content between steps. Names are unique; a checkpoint stores persistent tensors by
 * name. Zeroed at ffb_plan_finish. Null with an error when memory runs out or the name is taken. */
struct ffb_tensor *ffb_plan_persistent(struct ffb_plan *plan, enum ffb_tag tag, enum ffb_type type, const char *name,
                                       const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error);
/* A tensor whose content counts only within one run of the program. */
struct ffb_tensor *ffb_plan_transient(struct ffb_program *program, enum ffb_tag tag, enum ffb_type type,
                                      const char *name, const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error);
/* Elements offset .. of another tensor, under another shape: same memory, same lifetime. */
struct ffb_tensor *ffb_plan_view(struct ffb_plan *plan, struct ffb_tensor *whole, int64_t offset,
                                 const int64_t shape[FFB_DIMENSIONS], struct ffb_error *error);
/* The first bytes of another tensor, as a tensor of another type. */
struct ffb_tensor *ffb_plan_overlay(struct ffb_plan *plan, struct ffb_tensor *whole, enum ffb_tag tag,
                                    enum ffb_type type, const char *name, const int64_t shape[FFB_DIMENSIONS],
                                    struct ffb_error *error);

/* A list of operator calls. Every program is made, and filled, before ffb_plan_finish. */
struct ffb_program *ffb_program_create(struct ffb_plan *plan, const char *name, struct ffb_error *error);
/* Add one call. Operand types and shapes are checked here, once, so that operators need not. */
bool ffb_program_add(struct ffb_program *program, enum ffb_operator operation, const union ffb_arguments *arguments,
                     struct ffb_error *error);
/* Mark a transient as written by the host before a run (an input), or read after it (an output): it lives from the
 * first call or to the last. */
void ffb_program_input(struct ffb_program *program, struct ffb_tensor *tensor);
void ffb_program_output(struct ffb_program *program, struct ffb_tensor *tensor);

/* Give every tensor its address and take the arena from the device. */
bool ffb_plan_finish(struct ffb_plan *plan, struct ffb_error *error);

/* Run every call in order. Called after each operator with its index when set: traces, profiles. */
typedef void ffb_program_observer(void *to, const struct ffb_program *program, size_t call,
                                  enum ffb_operator operation);
bool ffb_program_run(struct ffb_program *program, struct ffb_error *error);
void ffb_plan_observe(struct ffb_plan *plan, ffb_program_observer *observer, void *to);

/* Host access to tensors, ordered with the programs. Bytes are the tensor's own. */
bool ffb_tensor_write(struct ffb_plan *plan, struct ffb_tensor *tensor, const void *from, struct ffb_error *error);
bool ffb_tensor_read(struct ffb_plan *plan, const struct ffb_tensor *tensor, void *to, struct ffb_error *error);
/* The first rows of a tensor; the others keep what they hold. */
bool ffb_tensor_write_rows(struct ffb_plan *plan, struct ffb_tensor *tensor, int64_t rows, const void *from,
                           struct ffb_error *error);
bool ffb_tensor_read_rows(struct ffb_plan *plan, const struct ffb_tensor *tensor, int64_t rows, void *to,
                          struct ffb_error *error);
bool ffb_plan_synchronise(struct ffb_plan *plan, struct ffb_error *error);
/* What will be written to tensors before long and will not change until then, at most FFB_MAX_ANNOUNCED pieces: a
 * device that takes announcements copies it beside the programs that still run. Nothing happens on one that does not.
 */
bool ffb_plan_takes_announcements(const struct ffb_plan *plan);
bool ffb_plan_announce(struct ffb_plan *plan, const struct ffb_host_bytes *pieces, size_t count,
                       struct ffb_error *error);
size_t ffb_tensor_bytes(const struct ffb_tensor *tensor);

/* Whether the backend fills an optional slot (and fused slots are not switched off, see ffb_plan_unfused). */
bool ffb_plan_has(const struct ffb_plan *plan, enum ffb_operator operation);
/* Tests: emit compositions only. Before the first program. */
void ffb_plan_unfused(struct ffb_plan *plan);
/* Tests: give every transient memory of its own, and fill it with 0xA5 before each run: a result that depends on a
 * stale buffer changes. Before ffb_plan_finish. */
void ffb_plan_poison(struct ffb_plan *plan);

/* Bytes of the arena, exact before the first step, and the share of each tag at the moment of the peak. */
struct ffb_memory_peak {
  size_t arena;                 /* what is taken from the device */
  size_t peak;                  /* most bytes alive at once, persistent ones included (alignment gaps excluded) */
  size_t by_tag[FFB_TAG_COUNT]; /* what was alive then; sums to peak */
  const char *program;          /* in which program */
  size_t call;                  /* at which of its calls */
};
void ffb_plan_peak(const struct ffb_plan *plan, struct ffb_memory_peak *peak);
/* The same over the programs whose names begin with `prefix`: "train" is what a training step needs. */
void ffb_plan_peak_of(const struct ffb_plan *plan, const char *prefix, struct ffb_memory_peak *peak);
const char *ffb_tag_name(enum ffb_tag tag);

/* Iterate: persistent tensors (for checkpoints), programs, calls (for counting operations and traces). */
size_t ffb_plan_persistent_count(const struct ffb_plan *plan);
struct ffb_tensor *ffb_plan_persistent_at(const struct ffb_plan *plan, size_t index);
size_t ffb_plan_program_count(const struct ffb_plan *plan);
const struct ffb_program *ffb_plan_program_at(const struct ffb_plan *plan, size_t index);
const char *ffb_program_name(const struct ffb_program *program);
size_t ffb_program_calls(const struct ffb_program *program);
enum ffb_operator ffb_program_call(const struct ffb_program *program, size_t call,
                                   const union ffb_arguments **arguments);

/* What one run of the program does, worked out from the shapes of its calls. Multiply-accumulates by the type of the
 * operands; those of a convolution are output pixels times taps, as the usual formula has it: taps that fall on padding
 * count too, and are told. The passes of a search for a quantiser's parameters depend on the values, so they are not
 * here. */
struct ffb_operation_count {
  int64_t mac_f32, mac_s8;
  int64_t forward, input_gradient, weight_gradient; /* the same products by what they are for */
  int64_t padding;                                  /* those of them whose tap falls on padding */
  int64_t quantised_elements;                       /* elements rounded to INT8 */
  int64_t added_elements;                           /* those to which stochastic rounding adds a random number first */
  int64_t compared_elements;                        /* elements read in search of the largest */
};
void ffb_program_count(const struct ffb_program *program, struct ffb_operation_count *count);
/* Adds those of one call. */
void ffb_call_count(enum ffb_operator operation, const union ffb_arguments *arguments,
                    struct ffb_operation_count *count);

/* Bytes that a call has to read and write whatever computes it: each operand once, without scratch, and of pixels,
 * outputs and taps only those that meet another in a window. Without weight decay the update of a tap on padding is
 * nothing, as its momentum has always been 0. 0 for calls that touch little of their operands. */
int64_t ffb_call_bytes(enum ffb_operator operation, const union ffb_arguments *arguments);

/* What a call's product is for. */
enum ffb_product {
  FFB_PRODUCT_NONE,
  FFB_PRODUCT_FORWARD,
  FFB_PRODUCT_INPUT_GRADIENT,
  FFB_PRODUCT_WEIGHT_GRADIENT,
  FFB_PRODUCT_COUNT
};
enum ffb_product ffb_call_product(enum ffb_operator operation, const union ffb_arguments *arguments);

#endif
