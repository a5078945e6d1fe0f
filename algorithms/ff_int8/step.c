/* What units do in a training step: goodness, losses, and the readings of the look-ahead. */
#include "algorithms/ff_int8/programs.h"
#include "base/memory.h"

#include <string.h>

/* What a unit's forward pass leaves for its backward pass. */
struct trace {
  struct ffb_tensor *y;             /* output, before it was normalised */
  struct ffb_tensor *mask;          /* of the output's activation, or null */
  struct ffb_tensor *goodness;      /* [rows][1], or [rows][classes] with class groups */
  struct ffb_tensor *loss_gradient; /* dL/dG, of the same shape */
  struct ffb_tensor *normalised, *inverse;
};

static float theta_of(const struct ffb_trainer_state *s, int unit) {
  if (s->settings.theta > 0)
    return (float)s->settings.theta;
  return ff_goodness_is_mean(s) ? 1 : (float)ffb_network_features(s->network, s->units[unit].output);
}

/* Where dL/dG goes: a tensor of its own, or where the host reads it after the step. */
static struct ffb_tensor *number_tensor(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *all,
                                        int unit) {
  int64_t groups = ff_groups(s);
  if (!all)
    return ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "goodness", pass->rows, groups);
  return ffb_emit_view(pass, all, unit * pass->rows * groups, (int64_t[4]){pass->rows, groups, 1, 1});
}

/* From the trace's y: its goodness and dL/dG. */
static void emit_loss(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage, int unit,
                      struct trace *trace) {
  struct ffb_tensor *goodness = ffb_emit_matrix(pass, FFB_TAG_ACTIVATIONS, "goodness", pass->rows, ff_groups(s));
  struct ffb_tensor *gradient = number_tensor(s, pass, stage->said, unit);
  struct ffb_tensor *statistics = ffb_emit_view(pass, s->statistics, (int64_t)unit * FFB_STATISTIC_COUNT,
                                                (int64_t[4]){FFB_STATISTIC_COUNT, 1, 1, 1});
  FFB_EMIT(pass, GOODNESS, goodness, .goodness = goodness, .y = trace->y, .groups = ff_groups(s),
           .mean = ff_goodness_is_mean(s));
  if (ff_class_groups(s))
    FFB_EMIT(pass, SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy, .gradient = gradient, .logits = goodness,
             .labels = stage->labels, .statistics = statistics, .logit_scale = (float)s->settings.logit_scale);
  else
    FFB_EMIT(pass, GOODNESS_LOSS, goodness_loss, .gradient = gradient, .goodness = goodness, .statistics = statistics,
             .theta = theta_of(s, unit));
  trace->goodness = goodness;
  trace->loss_gradient = gradient;
}

/* ---- one unit's gradient ---------------------------------------------------------------------------------------- */

/* Whether the backward pass looks at the unit's output: then no gradient may lie over it. */
static bool output_is_read(const struct ffb_trainer_state *s, const struct ffb_pass *pass, const struct ff_unit *unit) {
  int last = unit->first_layer + unit->layer_count - 1;
  const struct ffb_layer *layer = &s->network->layers[last];
  return !unit->ends_in_relu && layer->kind == FFB_LAYER_ACTIVATION && !pass->traces[last].fused;
}

/* dL/dy from dL/dG; over y where nothing needs y any more. */
static struct ffb_tensor *emit_output_gradient(struct ffb_trainer_state *s, struct ffb_pass *pass,
                                               struct ffb_tensor *loss_gradient, struct ffb_tensor *y, bool over_y) {
  struct ffb_tensor *gy =
      over_y || !y ? y : ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "output_gradient", y->shape);
  FFB_EMIT(pass, GOODNESS_GRADIENT, goodness_gradient, .gy = gy, .gradient = loss_gradient, .y = y,
           .groups = ff_groups(s), .mean = ff_goodness_is_mean(s));
  return gy;
}

/* The node that the gradient of a unit's output belongs to, and how many layers it goes back through: a ReLU at the
 * unit's end has masked it already. */
static int gradient_node(const struct ffb_trainer_state *s, const struct ff_unit *unit, int *count) {
  *count = unit->layer_count - unit->ends_in_relu;
  return unit->ends_in_relu ? s->network->layers[unit->first_layer + *count].inputs[0] : unit->output;
}

/* Back through a unit from the gradient of its output, which a ReLU at its end has masked already. */
static void emit_backward(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit, struct ffb_tensor *gy,
                          bool update, bool input_gradient) {
  const struct ff_unit *own = &s->units[unit];
  int count, node = gradient_node(s, own, &count);
  pass->gradients[own->output] = NULL;
  pass->gradients[node] = gy;
  ffb_pass_backward(pass, own->first_layer, count, update, input_gradient);
}

/* Whether the unit's backward pass needs nothing of its output but dL/dG. */
static bool learns_from_goodness(const struct ffb_trainer_state *s, const struct ffb_pass *pass, int unit) {
  const struct ff_unit *own = &s->units[unit];
  return ffb_pass_learns_from_goodness(pass, own->first_layer + own->layer_count - 1);
}

/* Whether the output's values and dL/dG do in place of its gradient. */
static bool multiplies_goodness(const struct ffb_trainer_state *s, const struct ffb_pass *pass, int unit) {
  int count, node = gradient_node(s, &s->units[unit], &count);
  return ffb_pass_multiplies_goodness(pass, s->units[unit].first_layer, count, node);
}

/* Learn from the unit's own goodness alone, each sample weighted by `number`. With `over_y` no later unit reads y. */
static void emit_learn(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit, struct ffb_tensor *number,
                       struct ffb_tensor *y, bool over_y) {
  memset(pass->gradients, 0, (size_t)s->network->node_count * sizeof *pass->gradients);
  over_y = over_y && !output_is_read(s, pass, &s->units[unit]);
  bool from_goodness = learns_from_goodness(s, pass, unit),
       multiplies = !from_goodness && multiplies_goodness(s, pass, unit);
  pass->goodness = (struct ffb_goodness_source){.gradient = number,
                                                .y = multiplies ? y : NULL,
                                                .spent = over_y,
                                                .groups = ff_groups(s),
                                                .mean = ff_goodness_is_mean(s)};
  struct ffb_tensor *gy = from_goodness ? NULL : multiplies ? y : emit_output_gradient(s, pass, number, y, over_y);
  emit_backward(s, pass, unit, gy, true, false);
  pass->goodness = (struct ffb_goodness_source){0};
}

/* ---- unit by unit ----------------------------------------------------------------------------------------------- */

/* The next unit's input is made first, so that the gradient may lie over this unit's output; but while this unit goes
 * backward, the node between them is its own. */
static void emit_learn_and_pass_on(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit, int last,
                                   struct ffb_tensor *number, const struct trace *trace) {
  int node = s->units[unit].output;
  struct ffb_tensor *mask = pass->masks[node], *y = trace->y;
  struct ff_entered next = {0};
  bool spent = learns_from_goodness(s, pass, unit);
  if (unit < last) {
    ff_enter(s, pass,
             &(struct ff_entry){.node = node,
                                .groups = ff_groups(s),
                                .x = y,
                                .goodness = trace->goodness,
                                .normalised = spent ? y : NULL,
                                .over = spent});
    next = (struct ff_entered){.values = pass->nodes[node], .copy = pass->inputs[node]};
    ffb_pass_enter(pass, node, y);
    pass->masks[node] = mask;
  }
  emit_learn(s, pass, unit, number, y, next.values != y);
  ffb_pass_enter(pass, node, next.values);
  pass->inputs[node] = next.copy;
  if (spent)
    ffb_pass_compact(pass, node);
}

/* a + lambda * b, in a tensor of its own. */
static struct ffb_tensor *emit_lookahead_sum(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *a,
                                             struct ffb_tensor *b) {
  struct ffb_tensor *sum = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "lookahead", a ? a->shape : NULL);
  FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = sum, .a = a, .b = b, .factor = s->parameters.step.lambda);
  return sum;
}

static struct ffb_tensor *emit_sum(struct ffb_pass *pass, struct ffb_tensor *a, struct ffb_tensor *b) {
  struct ffb_tensor *sum = ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "later", a ? a->shape : NULL);
  FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = sum, .a = a, .b = b);
  return sum;
}

/* Sums over the units behind each, of what was heard of them in the previous epoch; null: nothing is heard. */
static void emit_heard(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                       struct ffb_tensor **later) {
  for (int unit = s->unit_count - 2; stage->heard && unit >= 0; unit--) {
    later[unit] = number_tensor(s, pass, stage->heard, unit + 1);
    if (unit + 2 < s->unit_count)
      later[unit] = emit_sum(pass, later[unit], later[unit + 1]);
  }
}

/* Units that are not trained in this program behave as in prediction. */
static void emit_one_by_one(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage, int first,
                            int last) {
  struct ffb_tensor **later = ffb_allocate((size_t)s->unit_count, sizeof(struct ffb_tensor *), pass->error);
  pass->failed = pass->failed || !later;
  if (!pass->failed)
    emit_heard(s, pass, stage, later);
  pass->keep_weights = 0;
  for (int unit = 0; unit <= last && !pass->failed; unit++) {
    pass->training = unit >= first;
    struct trace trace = {.y = ff_forward(s, pass, unit)};
    if (!pass->training) {
      pass->training = unit + 1 >= first;
      ff_enter_output(s, pass, unit, trace.y);
      continue;
    }
    emit_loss(s, pass, stage, unit, &trace);
    struct ffb_tensor *number = trace.loss_gradient;
    if (later[unit])
      number = emit_lookahead_sum(s, pass, number, later[unit]);
    emit_learn_and_pass_on(s, pass, unit, last, number, &trace);
  }
  ffb_free(later);
}

/* ---- look-ahead from the activities of the same step --------------------------------------------------------------
 */

static void emit_forward_all(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage,
                             struct trace *traces) {
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++) {
    struct trace *trace = &traces[unit];
    int node = s->units[unit].output;
    bool link = unit + 1 < s->unit_count && ff_linked(s->units, unit + 1, s->settings.lookahead);
    trace->y = ff_forward(s, pass, unit);
    trace->mask = pass->masks[node];
    emit_loss(s, pass, stage, unit, trace);
    if (unit + 1 < s->unit_count)
      trace->normalised = ff_enter(s, pass,
                                   &(struct ff_entry){.node = node,
                                                      .groups = ff_groups(s),
                                                      .x = trace->y,
                                                      .goodness = trace->goodness,
                                                      .inverse = link ? &trace->inverse : NULL});
  }
}

/* Numbers that the units' goodness is weighted with: own + lambda * sum over the later units that speak by numbers. */
static void emit_numbers(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct trace *traces,
                         struct ffb_tensor **numbers) {
  struct ffb_tensor *block = NULL, *later = NULL; /* sums: over units of this block so far, over later blocks */
  bool by_block = s->settings.lookahead == FF_LOOKAHEAD_BLOCK;
  for (int unit = s->unit_count - 1; unit >= 0; unit--) {
    struct ffb_tensor *own = numbers[unit] = traces[unit].loss_gradient;
    if (later)
      numbers[unit] = emit_lookahead_sum(s, pass, own, later);
    block = block ? emit_sum(pass, own, block) : own;
    if (unit == 0 || (by_block && s->units[unit - 1].block == s->units[unit].block))
      continue;
    later = later ? emit_sum(pass, block, later) : block;
    block = NULL;
  }
}

static void emit_scalar(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct trace *traces,
                        struct ffb_tensor *const *numbers) {
  for (int unit = s->unit_count - 1; unit >= 0 && !pass->failed; unit--) {
    int node = s->units[unit].output;
    ffb_pass_enter(pass, node, traces[unit].y);
    pass->masks[node] = traces[unit].mask;
    emit_learn(s, pass, unit, numbers[unit], traces[unit].y, true);
  }
}

/* The gradient of later losses with respect to this unit's output, from that of what was made of it; or null. */
static struct ffb_tensor *take_later(struct ffb_trainer_state *s, struct ffb_pass *pass, int unit,
                                     const struct trace *trace) {
  const struct ff_unit *own = &s->units[unit];
  struct ffb_tensor *gradient = pass->gradients[own->output];
  pass->gradients[own->output] = NULL;
  if (unit + 1 == s->unit_count || !ff_linked(s->units, unit + 1, s->settings.lookahead))
    return NULL;
  if (trace->inverse) {
    struct ffb_tensor *through =
        ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "through", gradient ? gradient->shape : NULL);
    FFB_EMIT(pass, NORMALISE_GRADIENT, normalise_gradient, .gx = through, .gy = gradient, .y = trace->normalised,
             .inverse = trace->inverse,
             .kind = s->settings.normalize == FF_NORMALIZE_L2 ? FFB_NORMALISE_L2 : FFB_NORMALISE_RMS);
    gradient = through;
  }
  if (own->ends_in_relu)
    FFB_EMIT(pass, ACTIVATE_GRADIENT, activate_gradient, .gx = gradient, .gy = gradient, .v = trace->y,
             .kind = FFB_ACTIVATION_RELU);
  return gradient;
}

/* Backward twice through a unit: for the units before it from the plain sum of the losses, which must leave everything
 * as it was, then for its own weights from the sum weighted with lambda. */
static void emit_chain(struct ffb_trainer_state *s, struct ffb_pass *pass, const struct trace *traces,
                       struct ffb_tensor *const *numbers) {
  memset(pass->gradients, 0, (size_t)s->network->node_count * sizeof *pass->gradients);
  for (int unit = s->unit_count - 1; unit >= 0 && !pass->failed; unit--) {
    const struct trace *trace = &traces[unit];
    struct ffb_tensor *later = take_later(s, pass, unit, trace);
    struct ffb_tensor *own = emit_output_gradient(s, pass, numbers[unit], trace->y, false), *total = own;
    if (later)
      total = emit_lookahead_sum(s, pass, own, later);
    ffb_pass_enter(pass, s->units[unit].output, trace->y);
    pass->masks[s->units[unit].output] = trace->mask;
    if (ff_linked(s->units, unit, s->settings.lookahead)) {
      if (numbers[unit] != trace->loss_gradient)
        own = emit_output_gradient(s, pass, trace->loss_gradient, trace->y, false);
      struct ffb_tensor *through =
          ffb_emit_tensor(pass, FFB_TAG_GRADIENTS, FFB_F32, "through", own ? own->shape : NULL);
      if (later)
        FFB_EMIT(pass, ADD_SCALED, add_scaled, .out = through, .a = own, .b = later);
      else
        FFB_EMIT(pass, COPY, copy, .out = through, .in = own);
      pass->stream = FF_STREAM_CHAIN;
      pass->preserve = true;
      emit_backward(s, pass, unit, through, false, true);
      pass->preserve = false;
      pass->stream = FF_STREAM_MAIN;
    }
    emit_backward(s, pass, unit, total, true, false);
  }
}

/* The second forward pass: every unit learns at once. */
static void emit_again(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ffb_tensor *const *numbers) {
  pass->recompute = true;
  pass->keep_weights = 0;
  for (int unit = 0; unit < s->unit_count; unit++)
    ffb_pass_forget(pass, s->units[unit].first_layer, s->units[unit].layer_count);
  for (int unit = 0; unit < s->unit_count && !pass->failed; unit++)
    emit_learn_and_pass_on(s, pass, unit, s->unit_count - 1, numbers[unit],
                           &(struct trace){.y = ff_forward(s, pass, unit)});
  pass->recompute = false;
}

static void emit_lookahead(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage) {
  struct trace *traces = ffb_allocate((size_t)s->unit_count, sizeof *traces, pass->error);
  struct ffb_tensor **numbers = ffb_allocate((size_t)s->unit_count, sizeof(struct ffb_tensor *), pass->error);
  pass->failed = pass->failed || !traces || !numbers;
  if (!pass->failed)
    emit_forward_all(s, pass, stage, traces);
  if (!pass->failed && s->settings.lookahead != FF_LOOKAHEAD_CHAIN)
    emit_numbers(s, pass, traces, numbers);
  for (int unit = 0; !pass->failed && s->settings.lookahead == FF_LOOKAHEAD_CHAIN && unit < s->unit_count; unit++)
    numbers[unit] = traces[unit].loss_gradient;
  if (!pass->failed && s->settings.lookahead != FF_LOOKAHEAD_SCALAR)
    emit_chain(s, pass, traces, numbers);
  else if (!pass->failed && s->settings.memory == FF_RECOMPUTE)
    emit_again(s, pass, numbers);
  else if (!pass->failed)
    emit_scalar(s, pass, traces, numbers);
  ffb_free(traces);
  ffb_free(numbers);
}

void ff_emit_step(struct ffb_trainer_state *s, struct ffb_pass *pass, struct ff_stage *stage, struct ffb_tensor *images,
                  int trained) {
  bool greedy = s->settings.schedule == FF_GREEDY;
  pass->training = !greedy || trained == 0;
  ff_enter_images(s, pass, images, true);
  /* Two samples for each record are alive: the units' buffers decide what a step takes. */
  pass->lean = s->settings.goodness != FF_CLASS_GROUPS;
  if (greedy || s->settings.lookahead == FF_LOOKAHEAD_OFF || s->settings.memory == FF_PREVIOUS_EPOCH)
    emit_one_by_one(s, pass, stage, greedy ? trained : 0, greedy ? trained : s->unit_count - 1);
  else
    emit_lookahead(s, pass, stage);
}
