#include "algorithms/backprop/backprop.h"

#include "base/memory.h"
#include "nn/pass.h"

#include <math.h>
#include <string.h>

const char *const ffb_rounding_names[] = {"nearest", "stochastic", NULL};
const char *const ffb_weight_names[] = {"fp32_master", "int8", NULL};
const char *const ffb_update_names[] = {"fused", "separate", NULL};
const char *const ffb_checkpointing_names[] = {"none", "unit", NULL};

/* A program for one number of rows, with where its batch enters. */
struct stage {
  struct ffb_program *program;
  int64_t rows;
  struct ffb_tensor *images, *labels, *scores;
  struct ffb_tensor *statistics;      /* of the loss */
  struct ffb_gradient_total *weights; /* of a program that is run for its gradients: by layer */
};

struct ffb_trainer_state {
  struct ffb_plan *plan;
  struct ffb_parameters parameters;
  struct ffb_tensor *statistics;
  struct stage train[2][2]; /* [full, partial batch][plain, with search] */
  struct stage predict;
  struct stage gradient[2]; /* full, partial batch; no program where gradients are not asked for */
  struct ffb_optimiser_options optimiser;
  bool checkpointing;
  int64_t accumulation; /* parts of a batch */
  int64_t batch, step, steps, steps_per_epoch, search_period, classes, image_bytes;
  float mean[FFB_MAX_CHANNELS], deviation[FFB_MAX_CHANNELS];
};

static void emit_batch(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  const int64_t shape[4] = {stage->rows, network->height, network->width,
                            s->image_bytes / network->height / network->width};
  stage->images = ffb_emit_input(pass, FFB_U8, "images", shape);
  stage->labels = ffb_emit_input(pass, FFB_S32, "labels", (int64_t[4]){stage->rows, 1, 1, 1});
}

/* Rows first .. first + pass->rows - 1 of the batch as the network's input. */
static void emit_input(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct stage *stage, int64_t first) {
  const struct ffb_network *network = s->parameters.network;
  const int64_t shape[4] = {pass->rows, network->height, network->width,
                            s->image_bytes / network->height / network->width};
  struct ffb_tensor *bytes = ffb_emit_view(pass, stage->images, first * s->image_bytes, shape);
  ffb_pass_enter(pass, 0, ffb_emit_images(pass, bytes, pass->rows, s->mean, s->deviation));
}

/* The first layer whose weights the backward pass comes back to before anything else needs the memory. */
static int last_convolution(const struct ffb_network *network) {
  int number = network->layer_count - 1;
  while (number > 0 && network->layers[number].kind != FFB_LAYER_CONVOLUTION)
    number--;
  return number;
}

/* Forward, and all that is kept is what enters each unit. */
static void emit_forward(struct ffb_trainer_state *s, struct ffb_pass *pass) {
  const struct ffb_network *network = s->parameters.network;
  pass->keep_weights = last_convolution(network);
  if (!s->checkpointing || !pass->training) {
    ffb_pass_forward(pass, 0, network->layer_count);
    return;
  }
  for (int i = 0; i < network->unit_count; i++)
    ffb_pass_forward(pass, network->units[i].first_layer, network->units[i].layer_count);
}

/* With checkpointing every unit but the last goes forward once more, with the same random numbers. */
static void emit_backward(struct ffb_trainer_state *s, struct ffb_pass *pass) {
  const struct ffb_network *network = s->parameters.network;
  if (!s->checkpointing) {
    ffb_pass_backward(pass, 0, network->layer_count, true, false);
    return;
  }
  for (int i = network->unit_count - 1; i >= 0; i--) {
    const struct ffb_unit *unit = &network->units[i];
    pass->recompute = i + 1 < network->unit_count;
    if (pass->recompute) {
      struct ffb_tensor *gradient = pass->gradients[unit->output];
      ffb_pass_forget(pass, unit->first_layer, unit->layer_count);
      ffb_pass_enter(pass, unit->input, pass->nodes[unit->input]);
      pass->keep_weights = 0;
      ffb_pass_forward(pass, unit->first_layer, unit->layer_count);
      pass->gradients[unit->output] = gradient;
    }
    ffb_pass_backward(pass, unit->first_layer, unit->layer_count, true, i > 0);
  }
}

static void emit_loss(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct stage *stage, int64_t first) {
  const struct ffb_network *network = s->parameters.network;
  int output = network->layers[network->layer_count - 1].output;
  struct ffb_tensor *logits = ffb_pass_values(pass, output);
  struct ffb_tensor *labels = ffb_emit_view(pass, stage->labels, first, (int64_t[4]){pass->rows, 1, 1, 1});
  FFB_EMIT(pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = logits, .logits = logits, .labels = labels,
           .statistics = stage->statistics, .logit_scale = 1, .total_rows = stage->rows);
  pass->gradients[output] = logits;
}

static void emit_prediction(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  emit_forward(s, pass);
  stage->scores = ffb_pass_values(pass, network->layers[network->layer_count - 1].output);
  if (stage->scores)
    ffb_program_output(stage->program, stage->scores);
}

/* Part `part` of the batch; the last part makes the updates that wait for all of them. */
static bool build_part(struct ffb_trainer_state *s, struct stage *stage, int64_t part, int64_t parts, bool search,
                       struct ffb_gradient_total *totals, struct ffb_error *error) {
  struct ffb_pass pass;
  int64_t first = stage->rows * part / parts, rows = stage->rows * (part + 1) / parts - first;
  if (!ffb_pass_begin(&pass, &s->parameters, stage->program, rows, true, search && part == 0, error))
    return false;
  pass.stream = (int)part;
  if (parts > 1) {
    pass.totals = totals;
    pass.totals_filled = part > 0;
    pass.totals_complete = part == parts - 1;
  }
  if (part == 0)
    emit_batch(s, &pass, stage);
  if (!pass.failed)
    emit_input(s, &pass, stage, first);
  emit_forward(s, &pass);
  emit_loss(s, &pass, stage, first);
  emit_backward(s, &pass);
  if (part == parts - 1)
    ffb_pass_update_all(&pass);
  ffb_pass_end(&pass);
  return !pass.failed;
}

static bool build_training(struct ffb_trainer_state *s, struct stage *stage, const char *name, int64_t rows,
                           bool search, struct ffb_error *error) {
  int64_t parts = s->accumulation < rows ? s->accumulation : rows;
  stage->rows = rows;
  stage->statistics = s->statistics;
  stage->program = ffb_program_create(s->plan, name, error);
  struct ffb_gradient_total *totals = ffb_allocate((size_t)s->parameters.network->layer_count, sizeof *totals, error);
  bool good = stage->program && totals;
  for (int64_t part = 0; good && part < parts; part++)
    good = build_part(s, stage, part, parts, search, totals, error);
  ffb_free(totals);
  return good;
}

static bool build_prediction(struct ffb_trainer_state *s, struct ffb_error *error) {
  struct ffb_pass pass;
  struct stage *stage = &s->predict;
  stage->rows = s->batch;
  stage->program = ffb_program_create(s->plan, "predict", error);
  if (!stage->program || !ffb_pass_begin(&pass, &s->parameters, stage->program, s->batch, false, false, error))
    return false;
  emit_batch(s, &pass, stage);
  if (!pass.failed)
    emit_input(s, &pass, stage, 0);
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
      if (!build_training(s, &s->train[i][search], names[i][search], rows[i], search, error))
        return false;
    }
  }
  return build_prediction(s, error);
}

/* Forward and backward as in training, but running values stay (recompute) and no update follows: gradients that wait
 * to be added up are updated by ffb_pass_update_all alone. */
static void emit_gradient(struct ffb_trainer_state *s, struct ffb_pass *pass, struct stage *stage) {
  const struct ffb_network *network = s->parameters.network;
  pass->recompute = true;
  pass->totals = stage->weights;
  emit_batch(s, pass, stage);
  stage->statistics = ffb_emit_tensor(pass, FFB_TAG_WORKSPACE, FFB_F64, "statistics", s->statistics->shape);
  if (pass->failed)
    return;
  ffb_program_input(stage->program, stage->statistics);
  emit_input(s, pass, stage, 0);
  ffb_pass_forward(pass, 0, network->layer_count);
  emit_loss(s, pass, stage, 0);
  ffb_pass_backward(pass, 0, network->layer_count, true, false);
}

static bool build_gradient(struct ffb_trainer_state *s, struct stage *stage, const char *name, int64_t rows,
                           const bool *wanted, struct ffb_error *error) {
  struct ffb_pass pass;
  int layers = s->parameters.network->layer_count;
  stage->rows = rows;
  stage->program = ffb_program_create(s->plan, name, error);
  stage->weights = ffb_allocate((size_t)layers, sizeof *stage->weights, error);
  if (!stage->program || !stage->weights ||
      !ffb_pass_begin(&pass, &s->parameters, stage->program, rows, true, false, error))
    return false;
  emit_gradient(s, &pass, stage);
  ffb_pass_end(&pass);
  for (int i = 0; i < layers && !pass.failed; i++) {
    if (!wanted[i])
      stage->weights[i].weight = NULL;
    else if (stage->weights[i].weight)
      ffb_program_output(stage->program, stage->weights[i].weight);
  }
  return !pass.failed;
}

static bool build_gradients(struct ffb_trainer_state *s, const struct ffb_trainer_setup *setup,
                            struct ffb_error *error) {
  int64_t rest = setup->gradient_records % s->batch;
  return (setup->gradient_records < s->batch ||
          build_gradient(s, &s->gradient[0], "gradient", s->batch, setup->gradient_layers, error)) &&
         (rest == 0 ||
          build_gradient(s, &s->gradient[1], "gradient, partial batch", rest, setup->gradient_layers, error));
}

bool ffb_backprop_create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup,
                         const struct ffb_backprop_policy *policy, struct ffb_error *error) {
  struct ffb_trainer_state *s = ffb_allocate(1, sizeof *s, error);
  if (!s)
    return false;
  int64_t batches = (setup->train_records + setup->batch - 1) / setup->batch;
  s->optimiser = policy->optimiser;
  s->batch = setup->batch;
  s->checkpointing = policy->checkpointing;
  s->accumulation = policy->accumulation > 1 ? policy->accumulation : 1;
  s->image_bytes = ffb_network_features(setup->network, 0);
  s->classes = setup->network->classes;
  s->steps_per_epoch = batches;
  s->steps = batches * setup->epochs;
  s->search_period = policy->search_period;
  memcpy(s->mean, setup->mean, sizeof s->mean);
  memcpy(s->deviation, setup->deviation, sizeof s->deviation);
  s->plan = ffb_plan_create(setup->backend, setup->device, error);
  bool good = s->plan && ffb_parameters_create(&s->parameters, s->plan, setup->network, &policy->precision,
                                               &policy->optimiser, setup->seed, true, error);
  if (good)
    s->statistics = ffb_plan_persistent(s->plan, FFB_TAG_WORKSPACE, FFB_F64, "statistics",
                                        (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1}, error);
  good = good && s->statistics && build_stages(s, setup->train_records % setup->batch, error) &&
         build_gradients(s, setup, error) && ffb_plan_finish(s->plan, error) &&
         ffb_parameters_initialise(&s->parameters, error);
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
  for (int i = 0; i < 2; i++)
    ffb_free(state->gradient[i].weights);
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
  int layer = -1;
  *statistics =
      (struct ffb_epoch_statistics){.loss = samples > 0 ? totals[FFB_STATISTIC_LOSS] / samples : NAN,
                                    .train_accuracy = samples > 0 ? 100 * totals[FFB_STATISTIC_CORRECT] / samples : NAN,
                                    .not_finite = (int64_t)totals[FFB_STATISTIC_NOT_FINITE],
                                    .not_finite_step = -1};
  if (!ffb_parameters_not_finite(&s->parameters, &layer, &statistics->not_finite_step, error))
    return false;
  if (layer >= 0)
    memcpy(statistics->not_finite_where, s->parameters.network->layers[layer].name, FFB_NAME_BYTES);
  statistics->not_finite += layer >= 0 && !statistics->not_finite;
  return true;
}

/* The program has a full batch of rows. Where there are fewer, the others hold whatever lay there. */
bool ffb_backprop_predict(struct ffb_trainer_state *s, const struct ffb_batch *batch, float *scores,
                          struct ffb_error *error) {
  for (int64_t row = 0; row < batch->rows; row += s->batch) {
    int64_t rows = batch->rows - row < s->batch ? batch->rows - row : s->batch;
    if (!ffb_tensor_write_rows(s->plan, s->predict.images, rows, batch->images + row * s->image_bytes, error) ||
        !ffb_program_run(s->predict.program, error) ||
        !ffb_tensor_read_rows(s->plan, s->predict.scores, rows, scores + row * s->classes, error))
      return false;
  }
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

bool ffb_backprop_diverged(struct ffb_trainer_state *state, bool *diverged, struct ffb_error *error) {
  double totals[FFB_STATISTIC_COUNT];
  int64_t step = -1;
  int layer = -1;
  if (!ffb_tensor_read(state->plan, state->statistics, totals, error) ||
      !ffb_parameters_not_finite(&state->parameters, &layer, &step, error))
    return false;
  *diverged = layer >= 0 || totals[FFB_STATISTIC_NOT_FINITE] > 0;
  return true;
}

bool ffb_backprop_weights_loaded(struct ffb_trainer_state *state, struct ffb_error *error) {
  return ffb_parameters_prepare(&state->parameters, error);
}

bool ffb_backprop_gradient(struct ffb_trainer_state *s, const struct ffb_batch *batch, float *const *to,
                           struct ffb_error *error) {
  static const double zeros[FFB_STATISTIC_COUNT];
  const struct stage *stage = &s->gradient[batch->rows != s->batch];
  if (!stage->program || batch->rows != stage->rows)
    return ffb_fail(error, "gradients of a batch of %lld rows were not planned for", (long long)batch->rows);
  bool good = ffb_tensor_write(s->plan, stage->images, batch->images, error) &&
              ffb_tensor_write(s->plan, stage->labels, batch->labels, error) &&
              ffb_tensor_write(s->plan, stage->statistics, zeros, error) && ffb_program_run(stage->program, error);
  for (int i = 0; good && i < s->parameters.network->layer_count; i++)
    good = !stage->weights[i].weight || ffb_tensor_read(s->plan, stage->weights[i].weight, to[i], error);
  return good;
}

/* Multiply-accumulates of a step, all taps of a convolution counted: forward (again for all but the last unit with
 * checkpointing), weight gradient, and input gradient for what does not read the images. */
static int64_t macs(const struct ffb_network *network, int64_t rows, bool backward, bool checkpointing) {
  int64_t total = 0;
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    int64_t product = rows * ffb_layer_macs(network, i);
    bool again = checkpointing && layer->unit + 1 < network->unit_count;
    total += product * (!backward ? 1 : (layer->inputs[0] == 0 ? 2 : 3) + again);
  }
  return total;
}

void ffb_backprop_count(const struct ffb_trainer_setup *setup, int64_t rows, bool int8, bool checkpointing,
                        struct ffb_operation_count *train, struct ffb_operation_count *predict) {
  int64_t training = macs(setup->network, rows, true, checkpointing);
  int64_t prediction = macs(setup->network, rows, false, false);
  *train = (struct ffb_operation_count){.mac_f32 = int8 ? 0 : training, .mac_s8 = int8 ? training : 0};
  *predict = (struct ffb_operation_count){.mac_f32 = int8 ? 0 : prediction, .mac_s8 = int8 ? prediction : 0};
}
