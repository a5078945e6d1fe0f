/* A sixth algorithm, as a template: direct feedback alignment (A. Nokland, "Direct feedback alignment provides learning
 * in deep neural networks", NeurIPS 2016).
 *
 * Backpropagation sends the error down through the transposed weights, layer by layer. Here each hidden layer gets the
 * output's error straight, through a random matrix of its own that never changes:
 *
 *   e = softmax(logits) - onehot        error of the output, [M][classes]
 *   g = (e B) * relu'(y)                what a hidden layer learns from, B [classes][width] fixed
 *   W -= learning rate * g^T x          x is the layer's input
 *
 * Copy this folder, rename the file and the names in it, and change what the functions do. Everything that a trainer
 * must have is in here, in the order in which the harness calls it; "Required" and "optional" are as in
 * algorithms/trainer.h. Build with `make FFBENCH=<where ffbench was cloned>`, run with
 * `ffbench train --plugin ./feedback_alignment.so`. */
#include "algorithms/trainer.h"
#include "base/memory.h"
#include "base/random.h"
#include "nn/pass.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- options ---------------------------------------------------------------------------------------------------- */

/* Options are data: a struct of values, and a table that says name, type, range, default and help of each. Command
 * line, Lua experiments, --help and the record all read the table; nothing else has to be written. */
struct options {
  struct ffb_optimiser_options optimiser; /* the ones that all trainers share */
  double feedback;
};

static const struct ffb_option options[] = {
    /* struct, member, then the defaults of learning rate, weight decay, update rule and schedule. */
    FFB_OPTIMISER_OPTIONS(struct options, optimiser, "0.05", "0", "sgd", "cosine"),
    {.name = "feedback",
     .type = FFB_OPTION_NUMBER,
     .offset = offsetof(struct options, feedback),
     .initial = "0.05",
     .minimum = 0,
     .maximum = 100,
     .help = "largest absolute value in the feedback matrices"},
    {.name = NULL} /* ends the table */
};

/* ---- state ------------------------------------------------------------------------------------------------------ */

/* One program for each number of rows that occurs, and the tensors through which the host talks to it. */
struct stage {
  struct ffb_program *program;
  int64_t rows;
  struct ffb_tensor *images, *labels, *scores;
};

/* The harness only ever sees a pointer to this. */
struct ffb_trainer_state {
  struct options options;
  struct ffb_plan *plan;
  struct ffb_parameters parameters; /* weights, optimiser state, step scalars */
  struct ffb_tensor **feedback;     /* for each layer, null where it needs none */
  struct ffb_tensor *statistics;
  struct stage train, train_partial, predict;
  int64_t batch, batches, epochs, step;
  size_t image_bytes;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];
  uint8_t *padded; /* a prediction on fewer rows than the program has */
  float *padded_scores;
};

/* ---- building: everything that allocates or can be wrong happens here, once -------------------------------------- */

static bool is_last(const struct ffb_network *network, int layer) {
  return network->layers[layer].output == network->layers[network->layer_count - 1].output;
}

/* A persistent tensor keeps its content between steps, and the harness puts it into checkpoints. Only those tagged
 * FFB_TAG_WEIGHTS go into weight files; these matrices are not part of the network. */
static bool make_feedback(struct ffb_trainer_state *s, const struct ffb_network *network, struct ffb_error *error) {
  s->feedback = ffb_allocate((size_t)network->layer_count, sizeof(struct ffb_tensor *), error);
  if (!s->feedback)
    return false;
  for (int i = 0; i < network->layer_count; i++) {
    char name[FFB_NAME_BYTES + 16];
    if (network->layers[i].kind != FFB_LAYER_LINEAR || is_last(network, i))
      continue;
    snprintf(name, sizeof name, "%s.feedback", network->layers[i].name);
    s->feedback[i] = ffb_plan_persistent(s->plan, FFB_TAG_OPTIMISER, FFB_F32, name,
                                         (int64_t[4]){network->classes, network->layers[i].out_features, 1, 1}, error);
    if (!s->feedback[i])
      return false;
  }
  return true;
}

/* Bytes come in, floats go on. Transient tensors exist only while their program runs and share memory where their
 * lifetimes do not meet; those that the host writes or reads must be marked as input or output. */
static void emit_input(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  const int64_t shape[4] = {stage->rows, network->height, network->width, network->channels};
  stage->images = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_U8, "images", shape);
  stage->labels = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_S32, "labels", (int64_t[4]){stage->rows, 1, 1, 1});
  if (pass->failed) /* failures are sticky: it is enough to look once before tensors are touched */
    return;
  ffb_program_input(stage->program, stage->images);
  ffb_program_input(stage->program, stage->labels);
  ffb_pass_enter(pass, 0, ffb_emit_images(pass, stage->images, stage->rows, s->mean, s->deviation));
}

/* The one place where this algorithm differs from backpropagation: a block (a linear layer and the ReLU behind it) gets
 * its gradient from the output's error, and none is asked of the block above. */
static void emit_learning(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *error_of_output) {
  const struct ffb_network *network = s->parameters.network;
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    if (layer->kind != FFB_LAYER_LINEAR)
      continue;
    bool relu = i + 1 < network->layer_count && network->layers[i + 1].kind == FFB_LAYER_ACTIVATION;
    int last = relu ? i + 1 : i;
    struct ffb_tensor *gradient = error_of_output;
    if (s->feedback[i]) {
      gradient = ffb_emit_matrix(pass, FFB_TAG_GRADIENTS, "feedback", pass->rows, layer->out_features);
      FFB_EMIT(pass, GEMM_F32, gemm_f32, .c = gradient, .a = error_of_output, .b = s->feedback[i]);
    }
    pass->gradients[network->layers[last].output] = gradient;
    ffb_pass_backward(pass, i, last - i + 1, true, false);
  }
}

static void emit_training(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  int output = network->layers[network->layer_count - 1].output;
  ffb_pass_forward(pass, 0, network->layer_count);
  struct ffb_tensor *logits = pass->nodes[output];
  FFB_EMIT(pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = logits, .logits = logits,
           .labels = stage->labels, .statistics = s->statistics, .logit_scale = 1);
  emit_learning(s, pass, logits);
}

static void emit_prediction(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  ffb_pass_forward(pass, 0, network->layer_count);
  stage->scores = pass->nodes[network->layers[network->layer_count - 1].output];
  if (!pass->failed)
    ffb_program_output(stage->program, stage->scores);
}

static bool build_stage(struct ffb_trainer_state *s, struct stage *stage, const char *name, int64_t rows, bool training,
                        struct ffb_error *error) {
  struct ffb_pass pass;
  stage->rows = rows;
  if (rows == 0) /* every batch is full */
    return true;
  stage->program = ffb_program_create(s->plan, name, error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, rows, training, false, error))
    return false;
  emit_input(s, &pass, stage);
  if (training)
    emit_training(s, &pass, stage);
  else
    emit_prediction(s, &pass, stage);
  ffb_pass_end(&pass);
  return !pass.failed;
}

/* Draws are a function of seed, purpose, step and index, so that a run can be repeated bit by bit. */
static bool fill_feedback(struct ffb_trainer_state *s, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  enum { AFTER_THE_WEIGHTS = 1 << 16 }; /* the numbers below are those of the initial weights */
  for (int i = 0; i < setup->network->layer_count; i++) {
    if (!s->feedback[i])
      continue;
    int64_t count = ffb_elements(s->feedback[i]);
    float *values = ffb_allocate((size_t)count, sizeof *values, error);
    for (int64_t k = 0; values && k < count; k++)
      values[k] = (float)s->options.feedback * (2 * ffb_random_uniform(setup->seed, FFB_PURPOSE_INITIALISE,
                                                                       AFTER_THE_WEIGHTS + (uint32_t)i, (uint64_t)k) -
                                                1);
    bool good = values && ffb_tensor_write(s->plan, s->feedback[i], values, error);
    ffb_free(values);
    if (!good)
      return false;
  }
  return true;
}

static bool build(struct ffb_trainer_state *s, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct ffb_network *network = setup->network;
  const struct ffb_precision fp32 = {.int8 = false};
  s->plan = ffb_plan_create(setup->backend, setup->device, error);
  if (!s->plan ||
      !ffb_parameters_create(&s->parameters, s->plan, network, &fp32, &s->options.optimiser, setup->seed, true, error))
    return false;
  s->statistics = ffb_plan_persistent(s->plan, FFB_TAG_WORKSPACE, FFB_F64, "statistics",
                                      (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1}, error);
  return s->statistics && make_feedback(s, network, error) &&
         build_stage(s, &s->train, "train", s->batch, true, error) &&
         build_stage(s, &s->train_partial, "train, partial batch", setup->train_records % s->batch, true, error) &&
         build_stage(s, &s->predict, "predict", s->batch, false, error) &&
         /* From here on every tensor has its address, and no step allocates. */
         ffb_plan_finish(s->plan, error) && ffb_parameters_initialise(&s->parameters, error) &&
         fill_feedback(s, setup, error);
}

/* ---- the hooks -------------------------------------------------------------------------------------------------- */

/* Required. Frees what create made, also when it was not finished. */
static void destroy(struct ffb_trainer_state *s) {
  ffb_parameters_destroy(&s->parameters);
  ffb_plan_destroy(s->plan);
  ffb_free(s->feedback);
  ffb_free(s->padded);
  ffb_free(s->padded_scores);
  ffb_free(s);
}

/* Required. The setup stays valid until destroy; its options are this trainer's struct, filled and checked. */
static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct ffb_network *network = setup->network;
  struct ffb_trainer_state *s = ffb_allocate(1, sizeof *s, error);
  if (!s)
    return false;
  s->options = *(const struct options *)setup->options;
  s->batch = setup->batch;
  s->batches = (setup->train_records + setup->batch - 1) / setup->batch;
  s->epochs = setup->epochs;
  s->image_bytes = (size_t)(network->height * network->width * network->channels);
  memcpy(s->mean, setup->mean, sizeof s->mean);
  memcpy(s->deviation, setup->deviation, sizeof s->deviation);
  s->padded = ffb_allocate((size_t)s->batch, s->image_bytes, error);
  s->padded_scores = ffb_allocate((size_t)(s->batch * network->classes), sizeof *s->padded_scores, error);
  if (!s->padded || !s->padded_scores || !build(s, setup, error)) {
    destroy(s);
    return false;
  }
  *state = s;
  return true;
}

/* Required. One batch: write what changed, run the program. What varies from step to step lies in tensors (the step
 * scalars), so that a device can capture the program once. */
static bool train_step(struct ffb_trainer_state *s, const struct ffb_batch *batch, struct ffb_error *error) {
  struct stage *stage = batch->rows == s->batch ? &s->train : &s->train_partial;
  double rate = ffb_schedule_rate(&s->options.optimiser, s->step, s->batches * s->epochs, s->batches);
  bool good = ffb_step_scalars_write(&s->parameters.step, s->plan, &s->options.optimiser, rate, 0, s->step, 0, error) &&
              ffb_tensor_write(s->plan, stage->images, batch->images, error) &&
              ffb_tensor_write(s->plan, stage->labels, batch->labels, error) && ffb_program_run(stage->program, error);
  s->step += good;
  return good;
}

/* Required. The totals since the last call. A loss that is not finite ends the run as diverged. */
static bool end_epoch(struct ffb_trainer_state *s, struct ffb_epoch_statistics *statistics, struct ffb_error *error) {
  static const double zeros[FFB_STATISTIC_COUNT];
  double totals[FFB_STATISTIC_COUNT];
  if (!ffb_tensor_read(s->plan, s->statistics, totals, error) ||
      !ffb_tensor_write(s->plan, s->statistics, zeros, error))
    return false;
  *statistics = (struct ffb_epoch_statistics){.loss = totals[FFB_STATISTIC_LOSS] / totals[FFB_STATISTIC_SAMPLES],
                                              .train_accuracy =
                                                  100 * totals[FFB_STATISTIC_CORRECT] / totals[FFB_STATISTIC_SAMPLES],
                                              .not_finite = (int64_t)totals[FFB_STATISTIC_NOT_FINITE],
                                              .not_finite_step = -1,
                                              .not_finite_where = "cross-entropy"};
  return true;
}

/* Required. Scores of at most a batch of rows, the highest is the predicted class. The program has a full batch of
 * rows, so fewer are padded; a row must not depend on the others. */
static bool predict(struct ffb_trainer_state *s, const struct ffb_batch *batch, float *scores,
                    struct ffb_error *error) {
  size_t row_bytes = (size_t)s->parameters.network->classes * sizeof *scores;
  memcpy(s->padded, batch->images, (size_t)batch->rows * s->image_bytes);
  if (!ffb_tensor_write(s->plan, s->predict.images, s->padded, error) || !ffb_program_run(s->predict.program, error) ||
      !ffb_tensor_read(s->plan, s->predict.scores, s->padded_scores, error))
    return false;
  memcpy(scores, s->padded_scores, (size_t)batch->rows * row_bytes);
  return true;
}

/* Required. Through it the harness reads memory, weights, checkpoints and operation counts. */
static struct ffb_plan *plan(struct ffb_trainer_state *s) {
  return s->plan;
}

/* Required. State that a checkpoint needs and the plan does not hold: here the number of the step. Called with null to
 * learn the size. */
static size_t save(const struct ffb_trainer_state *s, void *to) {
  if (to)
    memcpy(to, &s->step, sizeof s->step);
  return sizeof s->step;
}

/* Required. The bytes may come from another build: check what can be checked. */
static bool load(struct ffb_trainer_state *s, const void *from, size_t bytes, struct ffb_error *error) {
  if (bytes != sizeof s->step)
    return ffb_fail(error, "the trainer's part has %zu bytes, not %zu: remove the checkpoint to start anew", bytes,
                    sizeof s->step);
  memcpy(&s->step, from, bytes);
  return true;
}

/* Optional. What this trainer cannot do, and combinations of options that make no sense, are refused here, before
 * anything is built. */
static bool validate(const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  const struct options *chosen = setup->options;
  for (int i = 0; i < setup->network->layer_count; i++) {
    enum ffb_layer_kind kind = setup->network->layers[i].kind;
    if (kind != FFB_LAYER_LINEAR && kind != FFB_LAYER_ACTIVATION)
      return ffb_fail_usage(error, "feedback_alignment: layer %s is neither linear nor an activation: set model=mlp",
                            setup->network->layers[i].name);
  }
  if (chosen->feedback == 0 && setup->network->unit_count > 1)
    return ffb_fail_usage(error, "feedback_alignment: option feedback: with 0 no hidden layer learns, choose more");
  return true;
}

/* The one symbol that the object exports. A constant, so that nothing runs when it is opened. */
extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {
    .magic = FFB_TRAINER_MAGIC,
    .version = FFB_TRAINER_VERSION,
    .size = sizeof(struct ffb_trainer),
    .name = "feedback_alignment", /* lower case, digits and _ */
    .description = "direct feedback alignment in FP32: the output's error reaches each layer through a fixed matrix",
    .options = options,
    .options_size = sizeof(struct options),
    .result_version = 1, /* raise it when results change: older records are then not taken for new ones */
    .create = create,
    .destroy = destroy,
    .train_step = train_step,
    .end_epoch = end_epoch,
    .predict = predict,
    .plan = plan,
    .save = save,
    .load = load,
    .validate = validate,
};
