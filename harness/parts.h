/* What a configuration names, looked up: trainer, model, backend and dataset kind, and the option values of the first
 * two filled from --set. */
#ifndef FFBENCH_HARNESS_PARTS_H
#define FFBENCH_HARNESS_PARTS_H

#include "algorithms/trainer.h"
#include "datasets/dataset.h"
#include "harness/run.h"
#include "models/models.h"

struct parts {
  const struct ffb_trainer *trainer;
  void *trainer_options; /* the trainer's value struct; null where it has no options */
  const struct ffb_model *model;
  void *model_options;
  const struct ffb_backend *backend;
  const struct ffb_dataset_kind *dataset;
};

/* A name that does not exist, an option that its owner does not have and a value out of range are usage errors. On
 * failure nothing is held. */
bool parts_find(struct parts *parts, const struct run_config *config, struct ffb_error *error);
void parts_release(struct parts *parts);

/* The first step of parts_find, for who needs only the one. */
const struct ffb_trainer *parts_trainer(const struct run_config *config, struct ffb_error *error);
const struct ffb_model *parts_model(const struct run_config *config, struct ffb_error *error);

/* Names in --set that start with this belong to the model. */
extern const char parts_model_prefix[];

#endif
