#include "algorithms/backprop/backprop.h"

#include "base/memory.h"
#include "nn/pass.h"

#include <math.h>
#include <string.h>

const char *const ffb_rounding_names[] = {"nearest", "stochastic", NULL};
const char *const ffb_weight_names[] = {"fp32_master", "int8", NULL};
const char *const ffb_update_names[] = {"fused", "separate", NULL};

/* A program for one number of rows, with where its batch enters. */
struct stage {
  struct ffb_program *program;
  int64_t rows;
  struct ffb_tensor *images, *labels, *scores;
};

struct ffb_trainer_state {
  struct ffb_plan *plan;
  struct ffb_parameters parameters;
  struct ffb_tensor *statistics;
  struct stage train[2][2]; /* [full, partial batch][plain, with search] */
  struct stage predict;
  uint8_t *padded; /* images of a prediction that does not fill its batch */
  float *padded_scores;
  struct ffb_optimiser_options optimiser;
  int64_t batch, channels, step, steps, steps_per_epoch, search_period, classes;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];
};

static struct ffb_tensor *emit_input(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  const int64_t shape[4] = {stage->rows, network->height, network->width, network->channels};
  stage->images = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_U8, "images", shape);
  stage->labels = ffb_emit_tensor(pass, FFB_TAG_DATASET, FFB_S32, "labels", (int64_t[4]){stage->rows, 1, 1, 1});
  if (!stage->images || !stage->labels)
    return NULL;
  ffb_program_input(stage->program, stage->images);
  ffb_program_input(stage->program, stage->labels);
  struct ffb_tensor *input = ffb_emit_tensor(pass, FFB_TAG_ACTIVATIONS, FFB_F32, "input", shape);
  union ffb_arguments convert = {.convert_images = {.out = input, .in = stage->images}};
  memcpy(convert.convert_images.mean, s->mean, sizeof s->mean);
  memcpy(convert.convert_images.deviation, s->deviation, sizeof s->deviation);
  ffb_emit(pass, FFB_CONVERT_IMAGES, &convert);
  return input;
}

static void emit_training(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  int output = network->layers[network->layer_count - 1].output;
  ffb_pass_forward(pass, 0, network->layer_count);
  struct ffb_tensor *logits = pass->nodes[output];
  FFB_EMIT(pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = logits, .logits = logits,
           .labels = stage->labels, .statistics = s->statistics, .logit_scale = 1);
  pass->gradients[output] = logits;
  ffb_pass_backward(pass, 0, network->layer_count, true, false);
  ffb_pass_update_all(pass);
}

static void emit_prediction(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  ffb_pass_forward(pass, 0, network->layer_count);
  stage->scores = pass->nodes[network->layers[network->layer_count - 1].output];
  if (stage->scores)
    ffb_program_output(stage->program, stage->scores);
}

static bool build_stage(struct ffb_trainer_state *s, struct stage *stage, const char *name, int64_t rows, bool training,
                        bool search, struct ffb_error *error) {
  struct ffb_pass pass;
  stage->rows = rows;
  stage->program = ffb_program_create(s->plan, name, error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, rows, training, search, error))
    return false;
  pass.nodes[0] = emit_input(s, &pass, stage);
  if (training)
    emit_training(s, &pass, stage);
  else
    emit_prediction(s, &pass, stage);
  ffb_pass_end(&pass);
  return !pass.failed;
}

static bool build_stages(struct ffb_trainer_state *s, int64_t partial, struct ffb_error *error) {
  static const char *const names[2][2] = {{"train", "train, search"},
                                          {"train, partial batch", "train, partial batch, search"}};
  const int64_t rows[2] = {s->batch, partial};
  for (int i = 0; i < 2; i++) {
    if (!rows[i])
      continue;
    for (int search = 0; search <= (s->search_period > 0); search++) {
      if (!build_stage(s, &s->train[i][search], names[i][search], rows[i], true, search, error))
        return false;
    }
  }
  return build_stage(s, &s->predict, "predict", s->batch, false, false, error);
}

bool ffb_backprop_create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup,
                         const struct ffb_backprop_policy *policy, struct ffb_error *error) {
  struct ffb_trainer_state *s = ffb_allocate(1, sizeof *s, error);
  if (!s)
    return false;
  int64_t batches = (setup->train_records + setup->batch - 1) / setup->batch;
  s->optimiser = policy->optimiser;
  s->batch = setup->batch;
  s->channels = setup->network->channels;
  s->classes = setup->network->classes;
  s->steps_per_epoch = batches;
  s->steps = batches * setup->epochs;
  s->search_period = policy->search_period;
  memcpy(s->mean, setup->mean, sizeof s->mean);
  memcpy(s->deviation, setup->deviation, sizeof s->deviation);
  int64_t image = setup->network->height * setup->network->width * setup->network->channels;
  s->padded = ffb_allocate((size_t)(s->batch * image), 1, error);
  s->padded_scores = ffb_allocate((size_t)(s->batch * s->classes), sizeof *s->padded_scores, error);
  s->plan = ffb_plan_create(setup->backend, setup->device, error);
  bool good = s->padded && s->padded_scores && s->plan &&
              ffb_parameters_create(&s->parameters, s->plan, setup->network, &policy->precision, &policy->optimiser,
                                    setup->seed, true, error);
  if (good)
    s->statistics = ffb_plan_persistent(s->plan, FFB_TAG_WORKSPACE, FFB_F64, "statistics",
                                        (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1}, error);
  good = good && s->statistics && build_stages(s, setup->train_records % setup->batch, error) &&
         ffb_plan_finish(s->plan, error) && ffb_parameters_initialise(&s->parameters, error);
  if (!good) {
    ffb_backprop_destroy(s);
    return false;
  }
  *state = s;
  return true;
}

void ffb_backprop_destroy(struct ffb_trainer_state *state) {
  if (!state)
    return;
  ffb_free(state->padded);
  ffb_free(state->padded_scores);
  ffb_parameters_destroy(&state->parameters);
  ffb_plan_destroy(state->plan);
  ffb_free(state);
}

bool ffb_backprop_train_step(struct ffb_trainer_state *s, const struct ffb_batch *batch, struct ffb_error *error) {
  bool search = s->search_period > 0 && s->step % s->search_period == 0;
  struct stage *stage = &s->train[batch->rows != s->batch][search];
  if (!stage->program || batch->rows != stage->rows)
    return ffb_fail(error, "a batch of %lld rows was not planned for", (long long)batch->rows);
  double rate = ffb_schedule_rate(&s->optimiser, s->step, s->steps, s->steps_per_epoch);
  bool good = ffb_step_scalars_write(&s->parameters.step, s->plan, &s->optimiser, rate, 0, s->step, 0, error) &&
              ffb_tensor_write(s->plan, stage->images, batch->images, error) &&
              ffb_tensor_write(s->plan, stage->labels, batch->labels, error) && ffb_program_run(stage->program, error);
  s->step += good;
  return good;
}

bool ffb_backprop_end_epoch(struct ffb_trainer_state *s, struct ffb_epoch_statistics *statistics,
                            struct ffb_error *error) {
  static const double zeros[FFB_STATISTIC_COUNT];
  double totals[FFB_STATISTIC_COUNT];
  if (!ffb_tensor_read(s->plan, s->statistics, totals, error) ||
      !ffb_tensor_write(s->plan, s->statistics, zeros, error))
    return false;
  double samples = totals[FFB_STATISTIC_SAMPLES];
  *statistics =
      (struct ffb_epoch_statistics){.loss = samples > 0 ? totals[FFB_STATISTIC_LOSS] / samples : NAN,
                                    .train_accuracy = samples > 0 ? 100 * totals[FFB_STATISTIC_CORRECT] / samples : NAN,
                                    .not_finite = (int64_t)totals[FFB_STATISTIC_NOT_FINITE],
                                    .not_finite_step = -1,
                                    .not_finite_where = "cross-entropy"};
  return true;
}

static bool predict_rows(struct ffb_trainer_state *s, const uint8_t *images, float *scores, struct ffb_error *error) {
  return ffb_tensor_write(s->plan, s->predict.images, images, error) && ffb_program_run(s->predict.program, error) &&
         ffb_tensor_read(s->plan, s->predict.scores, scores, error);
}

bool ffb_backprop_predict(struct ffb_trainer_state *s, const struct ffb_batch *batch, float *scores,
                          struct ffb_error *error) {
  size_t image = (size_t)(s->parameters.network->height * s->parameters.network->width * s->channels);
  int64_t full = batch->rows / s->batch * s->batch, rest = batch->rows - full;
  for (int64_t row = 0; row < full; row += s->batch) {
    if (!predict_rows(s, batch->images + (size_t)row * image, scores + row * s->classes, error))
      return false;
  }
  if (!rest)
    return true;
  memcpy(s->padded, batch->images + (size_t)full * image, (size_t)rest * image);
  if (!predict_rows(s, s->padded, s->padded_scores, error))
    return false;
  memcpy(scores + full * s->classes, s->padded_scores, (size_t)(rest * s->classes) * sizeof *scores);
  return true;
}

struct ffb_plan *ffb_backprop_plan(struct ffb_trainer_state *state) {
  return state->plan;
}

size_t ffb_backprop_save(const struct ffb_trainer_state *state, void *to) {
  if (to)
    memcpy(to, &state->step, sizeof state->step);
  return sizeof state->step;
}

bool ffb_backprop_load(struct ffb_trainer_state *state, const void *from, size_t bytes, struct ffb_error *error) {
  if (bytes != sizeof state->step)
    return ffb_fail(error, "the trainer's part of the checkpoint has %zu bytes, not %zu", bytes, sizeof state->step);
  memcpy(&state->step, from, bytes);
  return true;
}

static int64_t macs(const struct ffb_network *network, int64_t rows, bool backward) {
  int64_t total = 0;
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    if (layer->kind != FFB_LAYER_LINEAR)
      continue;
    int64_t product = rows * layer->in_features * layer->out_features;
    total += product * (!backward ? 1 : layer->inputs[0] == 0 ? 2 : 3);
  }
  return total;
}

bool ffb_backprop_count_fp32(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                             struct ffb_operation_count *predict) {
  *train = (struct ffb_operation_count){.mac_f32 = macs(setup->network, rows, true)};
  *predict = (struct ffb_operation_count){.mac_f32 = macs(setup->network, rows, false)};
  return true;
}

bool ffb_backprop_count_int8(const struct ffb_trainer_setup *setup, int64_t rows, struct ffb_operation_count *train,
                             struct ffb_operation_count *predict) {
  *train = (struct ffb_operation_count){.mac_s8 = macs(setup->network, rows, true)};
  *predict = (struct ffb_operation_count){.mac_s8 = macs(setup->network, rows, false)};
  return true;
}
