/* Trainers as loadable objects: where they are, and whether one fits this program.
 *
 * Objects are opened with local symbols and never closed, because a library that a trainer uses may have threads that
 * outlive a close. Opening the same file twice gives the same trainer. */
#ifndef FFBENCH_HARNESS_PLUGIN_H
#define FFBENCH_HARNESS_PLUGIN_H

#include "algorithms/trainer.h"
#include "base/error.h"
#include "base/sha256.h"

#include <limits.h>

/* Open one object and check magic, version, size, name and required hooks; an error names what is wrong and the
 * remedy. */
const struct ffb_trainer *plugin_open(const char *path, struct ffb_error *error);

/* The object that a trainer or a backend came from: its name without the folder, and the SHA-256 of its bytes when it
 * was opened. Null for what came from none that is remembered. */
struct plugin_file {
  char name[NAME_MAX + 1], sha256[FFB_SHA256_TEXT];
};
const struct plugin_file *plugin_file(const void *of);

/* Remember the object of a backend. One that is part of the program has none, and that is no error. */
bool plugin_remember_backend(const struct ffb_backend *backend, struct ffb_error *error);

/* The trainer of that name among those that come with the program. An unknown one is a usage error with "did you mean".
 */
const struct ffb_trainer *plugin_find(const char *algorithm, struct ffb_error *error);

/* Every object that comes with the program, in order of name; trainer is null and problem says why where one cannot be
 * used. */
typedef void plugin_visit(void *to, const char *path, const struct ffb_trainer *trainer, const char *problem);
bool plugin_each(plugin_visit *visit, void *to, struct ffb_error *error);

#endif
