/* The parts of a run put together: data split, network built, device open, trainer made. */
#ifndef FFBENCH_HARNESS_ASSEMBLY_H
#define FFBENCH_HARNESS_ASSEMBLY_H

#include "base/sha256.h"
#include "harness/loader.h"
#include "harness/parts.h"
#include "harness/run.h"

struct assembly {
  struct parts parts;
  const struct ffb_dataset_pair *data;
  struct loader loader;
  struct ffb_network network;
  struct ffb_device *device;
  struct ffb_trainer_setup setup;
  bool *gradient_layers; /* by layer: whose gradients are recorded; null where none are */
  struct ffb_trainer_state *state;
  struct ffb_plan *plan; /* the trainer's */
  int threads;           /* asked of the backend: the configuration's, or all that this process may use */
};

/* On failure nothing is held. */
bool assembly_make(struct assembly *assembly, const struct run_config *config, struct ffb_error *error);
void assembly_free(struct assembly *assembly);

/* SHA-256 over all tensors tagged as weights, in the plan's order: each name with its final 0 byte, then its bytes. */
bool assembly_weights_sha256(const struct assembly *assembly, char text[FFB_SHA256_TEXT], struct ffb_error *error);

/* Processors that this process may run on. */
int assembly_processors(void);

#endif
