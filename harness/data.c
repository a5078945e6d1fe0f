#include "harness/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 4096 };

static struct {
  char key[KEY_BYTES]; /* empty: nothing is held */
  struct ffb_dataset_pair pair;
} kept;

void data_forget(void) {
  if (kept.key[0])
    ffb_dataset_free(&kept.pair);
  kept.key[0] = '\0';
}

const struct ffb_dataset_pair *data_get(const struct run_config *config, struct ffb_error *error) {
  struct ffb_dataset_request request = {.name = config->dataset,
                                        .directory = config->data,
                                        .synthetic_train = config->synthetic_train,
                                        .synthetic_test = config->synthetic_test};
  const char *environment = getenv("FFBENCH_DATA");
  char key[KEY_BYTES];
  int length = snprintf(key, sizeof key, "%s %lld %lld %s", config->dataset, (long long)config->synthetic_train,
                        (long long)config->synthetic_test,
                        config->data  ? config->data
                        : environment ? environment
                                      : "");
  if (length >= KEY_BYTES) {
    ffb_fail_usage(error, "the name of the data folder is too long: give a shorter one with --data");
    return NULL;
  }
  if (strcmp(key, kept.key) == 0)
    return &kept.pair;
  data_forget();
  if (!ffb_dataset_load(&kept.pair, &request, error))
    return NULL;
  memcpy(kept.key, key, sizeof key);
  return &kept.pair;
}
