/* What this program knows by name, as data for the Lua experiments: algorithms, models and datasets with their options.
 *
 *   {"algorithms": [{"name", "description", "options": [OPTION...]}...],   an algorithm whose object cannot be used is
 *    "models":     [{"name", "description", "options": [OPTION...]}...],   left out
 *    "datasets":   [{"name", "description", "synthetic", "fallback"}...],
 *    "run":        [OPTION...]}                                            the options of every run
 *   OPTION: {"name", "type": boolean | integer | number | choice | string, "default": text or null,
 *            "minimum", "maximum" (integer and number; an infinite one is left out), "choices": [text...], "help"} */
#ifndef FFBENCH_HARNESS_REGISTRY_H
#define FFBENCH_HARNESS_REGISTRY_H

#include "base/error.h"

#include <jansson.h>

/* Owned by the caller; null with an error when the trainers cannot be found. */
json_t *registry_json(struct ffb_error *error);

#endif
