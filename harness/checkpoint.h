/* Checkpoints: a run's whole state in one file, from which it goes on to the same bits.
 *
 * File: 8 bytes of magic, the header's length (8 bytes, little-endian), the header in JSON (identity, ledger, names and
 * sizes of the tensors), the bytes of every persistent tensor of the plan, those that the trainer's save hook gives,
 * the step times as floats, and the SHA-256 of all that. It appears whole or not at all (harness/file.h). */
#ifndef FFBENCH_HARNESS_CHECKPOINT_H
#define FFBENCH_HARNESS_CHECKPOINT_H

#include "harness/assembly.h"
#include "harness/ledger.h"

#include <limits.h>

/* Closes messages about where a checkpoint lies, outside of experiments. */
extern const char checkpoint_remedy[];

/* The file in that folder. */
bool checkpoint_path(const char *folder, char path[PATH_MAX], struct ffb_error *error);
bool checkpoint_exists(const char *path);

bool checkpoint_save(const char *path, const json_t *identity, const struct assembly *assembly,
                     const struct ledger *ledger, const char *remedy, struct ffb_error *error);
/* A file that is damaged, or of a run with another identity, is refused before anything is changed. */
bool checkpoint_load(const char *path, const json_t *identity, struct assembly *assembly, struct ledger *ledger,
                     const char *remedy, struct ffb_error *error);

#endif
