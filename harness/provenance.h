/* Where a result comes from: program, machine, libraries, and whether the machine was its own. */
#ifndef FFBENCH_HARNESS_PROVENANCE_H
#define FFBENCH_HARNESS_PROVENANCE_H

#include "harness/assembly.h"
#include "harness/ledger.h"
#include "harness/machine.h"
#include "harness/meters/clock.h"
#include "harness/meters/conditions.h"
#include "harness/peaks.h"

/* The share of the machine that all other processes together may use. */
extern const double provenance_own_share;

/* What is read when a run starts. */
struct provenance {
  struct machine machine;
  struct machine_watch watch;
  struct peaks peaks; /* measured where the run asks for it */
  char started[METER_UTC_TEXT];
  struct meter_conditions conditions; /* seen meanwhile */
};

/* Commit and dirty flag, as text for --version: "ffbench 1f3a... (with changes), gcc 12.2.0". */
void provenance_version(char *text, size_t size);

void provenance_start(struct provenance *provenance);
/* Add what others used of the machine since the start, or since the last call, to the ledger. */
void provenance_count(struct provenance *provenance, struct ledger *ledger);
/* What was seen since the start; whether the machine was throttled then goes into the ledger. */
void provenance_note(struct provenance *provenance, const struct meter_conditions *conditions, struct ledger *ledger);
/* The record's "provenance" object. */
json_t *provenance_json(const struct provenance *provenance, const struct assembly *assembly,
                        const struct ledger *ledger);

#endif
