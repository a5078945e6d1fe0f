/* The trainers of this tree linked in, in the place of harness/plugin.c: objects of their own would bring an engine
 * without instrumentation. */
#include "harness/plugin.h"

#include <string.h>

extern const struct ffb_trainer ffbench_trainer_bp_fp32, ffbench_trainer_bp_int8, ffbench_trainer_bp_ui8,
    ffbench_trainer_bp_gdai8, ffbench_trainer_ff_int8;

static const struct ffb_trainer *const trainers[] = {&ffbench_trainer_bp_fp32, &ffbench_trainer_bp_int8,
                                                     &ffbench_trainer_bp_ui8, &ffbench_trainer_bp_gdai8,
                                                     &ffbench_trainer_ff_int8};

enum { TRAINERS = sizeof trainers / sizeof *trainers };

const struct ffb_trainer *plugin_open(const char *path, struct ffb_error *error) {
  ffb_fail(error, "plugin %s: not opened while fuzzing", path);
  return NULL;
}

const struct ffb_trainer *plugin_find(const char *algorithm, struct ffb_error *error) {
  for (size_t i = 0; i < TRAINERS; i++)
    if (strcmp(trainers[i]->name, algorithm) == 0)
      return trainers[i];
  ffb_fail_usage(error, "no algorithm \"%s\"", algorithm);
  return NULL;
}

bool plugin_each(plugin_visit *visit, void *to, struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; i < TRAINERS; i++)
    visit(to, trainers[i]->name, trainers[i], "");
  return true;
}

const struct plugin_file *plugin_file(const void *of) {
  (void)of;
  return NULL;
}

bool plugin_remember_backend(const struct ffb_backend *backend, struct ffb_error *error) {
  (void)backend, (void)error;
  return true;
}
