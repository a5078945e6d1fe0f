/* ffbench list: what there is to choose from. */
#include "backends/backend.h"
#include "datasets/dataset.h"
#include "harness/command_line.h"
#include "harness/commands.h"
#include "harness/folders.h"
#include "harness/meters/meter.h"
#include "harness/plugin.h"
#include "models/models.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 512 };

static void print_entry(const char *name, const char *description) {
  printf("  %-18s %s\n", name, description);
}

static void print_trainer(void *to, const char *path, const struct ffb_trainer *trainer, const char *problem) {
  (void)to, (void)path;
  if (trainer)
    print_entry(trainer->name, trainer->description);
  else
    printf("  %-18s %s\n", "(not usable)", problem);
}

static bool list_algorithms(struct ffb_error *error) {
  return plugin_each(print_trainer, NULL, error);
}

static bool list_models(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_model_at(i); i++)
    print_entry(ffb_model_at(i)->name, ffb_model_at(i)->description);
  return true;
}

static bool list_datasets(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_dataset_at(i); i++)
    print_entry(ffb_dataset_at(i)->name, ffb_dataset_at(i)->description);
  return true;
}

static bool list_backends(struct ffb_error *error) {
  (void)error;
  for (size_t i = 0; ffb_backend_at(i); i++)
    print_entry(ffb_backend_at(i)->name, ffb_backend_at(i)->description);
  return true;
}

static bool list_meters(struct ffb_error *error) {
  (void)error;
  for (const struct meter *const *meter = meter_list(); *meter; meter++)
    print_entry((*meter)->name, (*meter)->description);
  return true;
}
