/* FF-INT8 (Ma, Panda, Reda, DAC 2025): the forward-forward algorithm with INT8 products and a look-ahead loss.
 * settings.c has the options and their readings, step.c what a training step does, programs.c the programs around it;
 * this file is the trainer. */
#include "algorithms/ff_int8/count.h"
#include "algorithms/ff_int8/labels.h"
#include "algorithms/ff_int8/past.h"
#include "algorithms/ff_int8/programs.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static void destroy(struct ffb_trainer_state *s) {
  if (!s)
    return;
  ffb_parameters_destroy(&s->parameters);
  ffb_plan_destroy(s->plan);
  ffb_free(s->train);
  ffb_free(s->scores);
  ffb_free(s->numbers);
  ffb_free(s->units);
  ffb_free(s);
}

static bool make_tensors(struct ffb_trainer_state *s, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  struct ffb_precision precision = {.int8 = true,
                                    .input_rounding = s->settings.input_rounding,
                                    .gradient_rounding = s->settings.gradient_rounding,
                                    .int8_weights = s->settings.int8_weights};
  bool head = ff_has_head(&s->settings);
  if (!ffb_parameters_create(&s->parameters, s->plan, setup->network, &precision, &s->settings.optimiser, setup->seed,
                             head, error))
    return false;
  s->statistics = ffb_plan_persistent(s->plan, FFB_TAG_WORKSPACE, FFB_F64, "statistics",
                                      (int64_t[4]){s->unit_count + 1, FFB_STATISTIC_COUNT, 1, 1}, error);
  if (head) {
    const struct ffb_unit *unit = s->head;
    s->head_factor =
        ffb_plan_persistent(s->plan, FFB_TAG_OPTIMISER, FFB_F32, "head_factor", (int64_t[4]){1, 1, 1, 1}, error);
    for (int i = unit->first_layer; i < unit->first_layer + unit->layer_count; i++) {
      struct ffb_layer_parameters *layer = &s->parameters.layers[i];
      layer->rule.sgd.multiplier = layer->rule.adam.multiplier = s->head_factor;
      layer->bias_rule.sgd.multiplier = layer->bias_rule.adam.multiplier = s->head_factor;
    }
  }
  bool keep = s->settings.negatives == FF_HARD && s->settings.drawn == FF_DRAWN_ONCE;
  if (keep)
    s->kept = ffb_plan_persistent(s->plan, FFB_TAG_DATASET, FFB_S32, "negatives",
                                  (int64_t[4]){setup->train_records, 1, 1, 1}, error);
  return s->statistics && (!head || s->head_factor) && (!keep || s->kept) && ff_labels_make(s, error) &&
         ff_past_make(s, setup->train_records, error);
}

static bool initialise(struct ffb_trainer_state *s, int64_t train_records, struct ffb_error *error) {
  if (s->head_factor) {
    double rate = s->settings.optimiser.learning_rate;
    float factor = rate > 0 ? (float)(s->settings.head_learning_rate / rate) : 0;
    if (!ffb_tensor_write(s->plan, s->head_factor, &factor, error))
      return false;
  }
  if (s->kept) {
    int32_t *none = ffb_allocate((size_t)train_records, sizeof *none, error);
    if (!none)
      return false;
    memset(none, 0xff, (size_t)train_records * sizeof *none);
    bool good = ffb_tensor_write(s->plan, s->kept, none, error);
    ffb_free(none);
    if (!good)
      return false;
  }
  return ff_labels_write(s, error) && ffb_parameters_initialise(&s->parameters, error);
}

static void take_setup(struct ffb_trainer_state *s, const struct ffb_trainer_setup *setup) {
  ff_settings_resolve(setup->options, &s->settings);
  s->backend = setup->backend;
  s->device = setup->device;
  s->network = setup->network;
  s->head = ff_head_of(setup->network);
  s->channels = setup->network->channels - ff_extra_channels(setup->options);
  s->batch = setup->batch;
  s->steps_per_epoch = (setup->train_records + setup->batch - 1) / setup->batch;
  s->steps = s->steps_per_epoch * setup->epochs;
  s->epochs = setup->epochs;
  s->seed = setup->seed;
  memcpy(s->mean, setup->mean, sizeof s->mean);
  memcpy(s->deviation, setup->deviation, sizeof s->deviation);
}

static size_t image_bytes(const struct ffb_trainer_state *s) {
  return (size_t)(s->network->height * s->network->width * s->channels);
}

static bool create(struct ffb_trainer_state **state, const struct ffb_trainer_setup *setup, struct ffb_error *error) {
  if (!ff_settings_validate(setup, error))
    return false;
  struct ffb_trainer_state *s = ffb_allocate(1, sizeof *s, error);
  if (!s)
    return false;
  take_setup(s, setup);
  s->scores = ffb_allocate((size_t)(s->batch * s->network->classes), sizeof *s->scores, error);
  s->plan = ffb_plan_create(setup->backend, setup->device, error);
  if (!s->scores || !s->plan || !ff_units_make(s->network, s->settings.unit, &s->units, &s->unit_count, error) ||
      !make_tensors(s, setup, error) || !ff_build_programs(s, setup->train_records % setup->batch, error) ||
      !ffb_plan_finish(s->plan, error) || !initialise(s, setup->train_records, error)) {
    destroy(s);
    return false;
  }
  *state = s;
  return true;
}

/* Greedy: equal epochs for each unit, earlier ones take what is left over. The learning-rate schedule spans the run. */
static int unit_in_training(const struct ffb_trainer_state *s, int64_t epoch) {
  if (s->settings.schedule != FF_GREEDY)
    return 0;
  int64_t unit = epoch * s->unit_count / s->epochs;
  return (int)(unit < s->unit_count ? unit : s->unit_count - 1);
}

static uint32_t draw_number(const struct ffb_trainer_state *s, int64_t epoch) {
  if (s->settings.drawn == FF_DRAWN_ONCE)
    return 0;
  return (uint32_t)(s->settings.drawn == FF_DRAWN_EPOCH ? epoch + 1 : s->step + 1);
}

static bool train_step(struct ffb_trainer_state *s, const struct ffb_batch *batch, struct ffb_error *error) {
  int64_t epoch = s->step / s->steps_per_epoch;
  struct ff_stage *stage = &s->train[unit_in_training(s, epoch)][batch->rows != s->batch];
  if (!stage->program || batch->rows != stage->rows)
    return ffb_fail(error, "a batch of %lld rows was not planned for", (long long)batch->rows);
  const struct ffb_optimiser_options *optimiser = &s->settings.optimiser;
  double rate = ffb_schedule_rate(optimiser, s->step, s->steps, s->steps_per_epoch);
  double lambda = s->settings.lambda_start + s->settings.lambda_step * (double)epoch;
  bool good = ffb_step_scalars_write(&s->parameters.step, s->plan, optimiser, rate, lambda, s->step,
                                     draw_number(s, epoch), error) &&
              ffb_tensor_write(s->plan, stage->images, batch->images, error) &&
              ffb_tensor_write(s->plan, stage->labels, batch->labels, error) &&
              ffb_tensor_write(s->plan, stage->index, batch->index, error) && ff_past_hear(s, stage, batch, error) &&
              ffb_program_run(stage->program, error) && ff_past_say(s, stage, batch, error);
  s->step += good;
  return good;
}

static const char *unit_name(const struct ffb_trainer_state *s, int unit) {
  return unit < s->unit_count ? s->units[unit].name : s->head->name;
}

/* The last row of the totals is the head's: it has no part in loss and accuracy. */
static void sum_up(const struct ffb_trainer_state *s, const double *totals, struct ffb_epoch_statistics *statistics) {
  double samples = 0, loss = 0;
  for (int unit = 0; unit <= s->unit_count; unit++) {
    const double *own = totals + (size_t)unit * FFB_STATISTIC_COUNT;
    if (own[FFB_STATISTIC_NOT_FINITE] > 0 && !statistics->not_finite)
      memcpy(statistics->not_finite_where, unit_name(s, unit), FFB_NAME_BYTES);
    if (unit == s->unit_count) {
      statistics->not_finite += own[FFB_STATISTIC_NOT_FINITE] > 0;
      break;
    }
    statistics->not_finite += (int64_t)own[FFB_STATISTIC_NOT_FINITE];
    samples += own[FFB_STATISTIC_SAMPLES];
    loss += own[FFB_STATISTIC_LOSS];
    if (own[FFB_STATISTIC_SAMPLES] > 0)
      statistics->train_accuracy = 100 * own[FFB_STATISTIC_CORRECT] / own[FFB_STATISTIC_SAMPLES];
  }
  statistics->loss = samples > 0 ? loss / samples : NAN;
}

/* The layer that was not finite first, where one was noted: it says more than the unit whose loss was not. */
static bool first_not_finite(struct ffb_trainer_state *s, struct ffb_epoch_statistics *statistics,
                             struct ffb_error *error) {
  int layer;
  if (!ffb_parameters_not_finite(&s->parameters, &layer, &statistics->not_finite_step, error))
    return false;
  if (layer >= 0)
    memcpy(statistics->not_finite_where, s->network->layers[layer].name, FFB_NAME_BYTES);
  return true;
}

static bool end_epoch(struct ffb_trainer_state *s, struct ffb_epoch_statistics *statistics, struct ffb_error *error) {
  size_t count = ffb_tensor_bytes(s->statistics) / sizeof(double);
  double *totals = ffb_allocate(count, sizeof *totals, error), *zeros = ffb_allocate(count, sizeof *zeros, error);
  *statistics = (struct ffb_epoch_statistics){.train_accuracy = NAN, .not_finite_step = -1};
  bool good = totals && zeros && ffb_tensor_read(s->plan, s->statistics, totals, error) &&
              ffb_tensor_write(s->plan, s->statistics, zeros, error);
  if (good)
    sum_up(s, totals, statistics);
  ffb_free(totals);
  ffb_free(zeros);
  return good && first_not_finite(s, statistics, error);
}

static bool diverged(struct ffb_trainer_state *s, bool *diverged, struct ffb_error *error) {
  int layer;
  int64_t step;
  bool good = ffb_parameters_not_finite(&s->parameters, &layer, &step, error);
  *diverged = good && layer >= 0;
  return good;
}

static bool weights_loaded(struct ffb_trainer_state *s, struct ffb_error *error) {
  return ffb_parameters_prepare(&s->parameters, error);
}

/* The program has a full batch of rows. Where there are fewer, the others hold whatever lay there. */
static bool predict_batch(struct ffb_trainer_state *s, const uint8_t *images, int64_t rows, float *scores,
                          struct ffb_error *error) {
  int64_t classes = s->network->classes;
  bool by_label = s->settings.goodness != FF_CLASS_GROUPS && s->settings.inference != FF_LINEAR_HEAD;
  if (!ffb_tensor_write_rows(s->plan, s->predict.images, rows, images, error) ||
      !ffb_program_run(s->predict.program, error) || !ffb_tensor_read(s->plan, s->predict.scores, s->scores, error))
    return false;
  for (int64_t row = 0; row < rows; row++) {
    for (int64_t c = 0; c < classes; c++)
      scores[row * classes + c] = by_label ? s->scores[c * s->batch + row] : s->scores[row * classes + c];
  }
  return true;
}

static bool predict(struct ffb_trainer_state *s, const struct ffb_batch *batch, float *scores,
                    struct ffb_error *error) {
  size_t image = image_bytes(s);
  for (int64_t row = 0; row < batch->rows; row += s->batch) {
    int64_t rows = batch->rows - row < s->batch ? batch->rows - row : s->batch;
    if (!predict_batch(s, batch->images + (size_t)row * image, rows, scores + row * s->network->classes, error))
      return false;
  }
  return true;
}

static struct ffb_plan *plan(struct ffb_trainer_state *s) {
  return s->plan;
}

static size_t save(const struct ffb_trainer_state *s, void *to) {
  if (to)
    memcpy(to, &s->step, sizeof s->step);
  return sizeof s->step;
}

static bool load(struct ffb_trainer_state *s, const void *from, size_t bytes, struct ffb_error *error) {
  if (bytes != sizeof s->step)
    return ffb_fail(error, "the trainer's part of the checkpoint has %zu bytes, not %zu", bytes, sizeof s->step);
  memcpy(&s->step, from, bytes);
  return true;
}

extern const struct ffb_trainer ffbench_trainer;
const struct ffb_trainer ffbench_trainer = {.magic = FFB_TRAINER_MAGIC,
                                            .version = FFB_TRAINER_VERSION,
                                            .size = sizeof(struct ffb_trainer),
                                            .name = "ff_int8",
                                            .description = "forward-forward in INT8 with a look-ahead loss",
                                            .options = ff_option_table,
                                            .options_size = sizeof(struct ff_options),
                                            .result_version = 2,
                                            .flags = FFB_TRAINER_INT8 | FFB_TRAINER_FORWARD_FORWARD,
                                            .create = create,
                                            .destroy = destroy,
                                            .train_step = train_step,
                                            .end_epoch = end_epoch,
                                            .predict = predict,
                                            .plan = plan,
                                            .save = save,
                                            .load = load,
                                            .count_operations = ff_count_operations,
                                            .validate = ff_settings_validate,
                                            .extra_channels = ff_extra_channels,
                                            .weights_loaded = weights_loaded,
                                            .diverged = diverged};
