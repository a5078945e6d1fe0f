/* What two records of one configuration have in common, part by part: every bit, within a tolerance, or not. */
#ifndef FFBENCH_HARNESS_AGREEMENT_H
#define FFBENCH_HARNESS_AGREEMENT_H

#include <jansson.h>
#include <stdbool.h>

enum agreement {
  AGREEMENT_BITS,      /* everything that the one says, the other says too */
  AGREEMENT_TOLERANCE, /* other numbers, no further apart than the text says they may be */
  AGREEMENT_OPEN,      /* no verdict: costs, and what may differ where the same bits are not due */
  AGREEMENT_BROKEN,    /* has to agree and does not, or is not in the record at all */
};

/* Told of each part; the text has neither control characters nor line ends. */
typedef void agreement_visit(void *to, const char *part, enum agreement agreement, const char *text);

/* Visits what differs of program and machine. Returns whether the same bits are due all the same: compiler, flags,
 * instruction sets, C library, backend and its number of threads are what `there` says. */
bool agreement_circumstances(const json_t *there, const json_t *here, agreement_visit *visit, void *to);

/* Visits each part that `there` has; what only `here` has does not count. Where the same bits are not due, accuracies
 * have to agree within what chance allows, and of all that is made of sums and roundings nothing is asked. Operations
 * and planned memory are due from the same commit only. Returns whether no part is broken. */
bool agreement_judge(const json_t *there, const json_t *here, bool bits_due, agreement_visit *visit, void *to);

#endif
