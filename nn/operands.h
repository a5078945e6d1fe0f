/* Which tensors an operator call reads and writes, and whether their types and shapes fit. */
#ifndef FFBENCH_NN_OPERANDS_H
#define FFBENCH_NN_OPERANDS_H

#include "backends/backend.h"
#include "base/error.h"

enum { FFB_MAX_OPERANDS = 20 };

struct ffb_operand {
  struct ffb_tensor *tensor;
  bool read, write;
};

/* The operands of a call that are not null, in declaration order; returns their number. */
size_t ffb_operands(enum ffb_operator operation, const union ffb_arguments *arguments,
                    struct ffb_operand operands[FFB_MAX_OPERANDS]);

/* What a rule updates. */
const struct ffb_tensor *ffb_rule_weights(const struct ffb_update_rule *rule);

/* A call whose operands do not fit is a programming error that is caught when the program is made. */
bool ffb_operands_check(enum ffb_operator operation, const union ffb_arguments *arguments, struct ffb_error *error);

/* Where the call's scratch operand stands, or null when the operator has none. */
struct ffb_tensor **ffb_operand_workspace(enum ffb_operator operation, union ffb_arguments *arguments);
/* What stands there, or null. */
const struct ffb_tensor *ffb_operand_scratch(enum ffb_operator operation, const union ffb_arguments *arguments);

#endif
