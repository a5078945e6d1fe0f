/* The contract between the harness and a training algorithm.
 *
 * A trainer is a loadable object with one exported symbol, `ffbench_trainer`, a constant struct ffb_trainer. It
 * is linked against libffbench.so and opened with local symbols; it is never closed. docs/add-an-algorithm.md walks
 * through the commented template in docs/template-trainer/.
 *
 * The harness calls create once, then for every epoch: train_step for every batch, end_epoch; predict in between for
 * validation and once at the end for the test set. A trainer never reads a clock, a file or the command line. */
#ifndef FFBENCH_ALGORITHMS_TRAINER_H
#define FFBENCH_ALGORITHMS_TRAINER_H

#include "base/error.h"
#include "base/option.h"
#include "nn/network.h"
#include "nn/plan.h"

enum { FFB_TRAINER_MAGIC = 0x46465452, FFB_TRAINER_VERSION = 1 };

/* What a trainer is made for. Everything stays valid until destroy. */
struct ffb_trainer_setup {
  const struct ffb_network *network;
  const struct ffb_backend *backend;
  struct ffb_device *device;
  const void *options; /* the trainer's own value struct, filled through its option table */
  int64_t batch;       /* rows of a full batch; the last batch of an epoch may be smaller */
  int64_t train_records, epochs;
  uint64_t seed;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS]; /* input = (byte / 255 - mean) / deviation */
  int64_t gradient_records;    /* that hook gradient will see, in full batches and one with the rest; 0: no call */
  const bool *gradient_layers; /* by layer of the network: whether it will be asked for; null: no call */
};

/* One batch in host memory; its bytes may change once the hook that took it has returned. */
struct ffb_batch {
  int64_t rows;
  const uint8_t *images; /* [rows][H][W][C] */
  const int32_t *labels; /* [rows]; null when predicting */
  const int32_t *index;  /* [rows] number of each record in the training set; null when predicting */
};

/* Totals over the training steps of the epoch that ends. */
struct ffb_epoch_statistics {
  double loss; /* mean over samples (for forward-forward: over samples and units) */
  double
      train_accuracy; /* percent; for forward-forward: pairs whose positive has the higher goodness in the last unit */
  int64_t not_finite; /* samples whose loss was a NaN or infinite */
  int64_t not_finite_step; /* of the run, from 0: the first at which anything was not finite; -1 when none is known */
  char not_finite_where[FFB_NAME_BYTES]; /* the layer whose output was not; empty: the loss */
};

enum ffb_trainer_flags {
  FFB_TRAINER_INT8 = 1,            /* every product has INT8 operands */
  FFB_TRAINER_FORWARD_FORWARD = 2, /* no gradient crosses units by default */
};

struct ffb_trainer_state; /* the trainer's own */

struct ffb_trainer {
  uint32_t magic, version; /* FFB_TRAINER_MAGIC, FFB_TRAINER_VERSION */
  size_t size;             /* sizeof(struct ffb_trainer), as this trainer was compiled */
  const char *name, *description;
  const struct ffb_option *options; /* may be null */
  size_t options_size;
  uint32_t result_version; /* raised by hand when results change: records of another version are not reused */
  uint32_t flags;

  /* Required. */
  bool (*create)(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error);
  void (*destroy)(struct ffb_trainer_state *state);
  /* One step of the optimiser on one batch. Asynchronous: returns when the work is queued. */
  bool (*train_step)(struct ffb_trainer_state *state, const struct ffb_batch *batch, struct ffb_error *error);
  /* Close the epoch: totals since the last call, and whatever changes by epoch. */
  bool (*end_epoch)(struct ffb_trainer_state *state, struct ffb_epoch_statistics *statistics, struct ffb_error *error);
  /* scores[rows][classes], the highest is the predicted class. Changes nothing, and a row depends on no other row. */
  bool (*predict)(struct ffb_trainer_state *state, const struct ffb_batch *batch, float *scores,
                  struct ffb_error *error);
  /* The plan holds all state: weights, optimiser, running maxima, step number. The harness stores its persistent
   * tensors in checkpoints and those tagged as weights in weight files. */
  struct ffb_plan *(*plan)(struct ffb_trainer_state *state);
  /* State that lies outside the plan, as bytes: save returns its size and writes when `to` is not null. */
  size_t (*save)(const struct ffb_trainer_state *state, void *to);
  bool (*load)(struct ffb_trainer_state *state, const void *from, size_t bytes, struct ffb_error *error);

  /* Optional. */
  /* Operations of one training step on `rows` rows, and of predicting them, from formulas per layer (the harness also
   * counts the programs' calls, and the tests hold one against the other). */
  bool (*count_operations)(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                           struct ffb_operation_count *predict);
  /* Check options against each other before anything is built: a usage error names the option. */
  bool (*validate)(const struct ffb_trainer_setup *setup, struct ffb_error *error);
  /* Channels that the trainer adds to the images in front of the network, which is built for that many more:
   * network->channels is those of the images plus these. Batches hold the images as they are. */
  int64_t (*extra_channels)(const void *options);
  /* The tensors tagged as weights were replaced from a file: make again what is derived from them. Without it a trainer
   * that is flagged FFB_TRAINER_INT8 cannot start from a file. */
  bool (*weights_loaded)(struct ffb_trainer_state *state, struct ffb_error *error);
  /* Whether anything was not finite since create or load; asked for now and then within an epoch, which ends at once
   * where it says yes. It may wait for the device. */
  bool (*diverged)(struct ffb_trainer_state *state, bool *diverged, struct ffb_error *error);
  /* The gradient of the batch's mean loss by the weights of each layer in setup->gradient_layers, FP32, into to[layer]
   * in the shape of the weights. The batch has no index. Training goes on to the same bits as without the call. */
  bool (*gradient)(struct ffb_trainer_state *state, const struct ffb_batch *batch, float *const *to,
                   struct ffb_error *error);
};

#endif
