/* Bytes that a call has to move, worked out from the shapes of its operands. */
#include "nn/operands.h"
#include "nn/plan.h"

/* `part` of every `of` elements. */
struct share {
  int64_t part, of;
};

/* An operand of which a call may leave something alone. */
struct exception {
  const struct ffb_tensor *tensor;
  struct share read, write;
};

struct exceptions {
  struct exception list[5];
  size_t count;
};

static const struct share all = {1, 1}, none = {0, 1};

static void except(struct exceptions *exceptions, const struct ffb_tensor *tensor, struct share read,
                   struct share write) {
  if (tensor)
    exceptions->list[exceptions->count++] = (struct exception){tensor, read, write};
}

/* ---- windows ---------------------------------------------------------------------------------------------------- */

/* What of pixels, outputs and taps meets another in a window: a pixel that no window covers, an output or a tap that
 * lies on padding only has nothing to give. */
struct reach {
  struct share pixels, outputs, taps;
};

/* Along one side output p has tap i on pixel p * stride + i - padding. */
static bool pixel_met(int64_t pixel, int64_t outputs, const struct ffb_window *window) {
  int64_t place = pixel + window->padding, last = place / window->stride;
  last = last < outputs - 1 ? last : outputs - 1;
  return place - last * window->stride < window->kernel;
}

static bool output_met(int64_t output, int64_t size, const struct ffb_window *window) {
  int64_t first = output * window->stride - window->padding;
  return first < size && first + window->kernel > 0;
}

static bool tap_met(int64_t tap, int64_t size, int64_t outputs, const struct ffb_window *window) {
  for (int64_t p = 0; p < outputs; p++) {
    int64_t pixel = p * window->stride + tap - window->padding;
    if (pixel >= 0 && pixel < size)
      return true;
  }
  return false;
}

static struct reach reach_along(int64_t size, int64_t outputs, const struct ffb_window *window) {
  struct reach reach = {{0, size}, {0, outputs}, {0, window->kernel}};
  for (int64_t i = 0; i < size; i++)
    reach.pixels.part += pixel_met(i, outputs, window);
  for (int64_t i = 0; i < outputs; i++)
    reach.outputs.part += output_met(i, size, window);
  for (int64_t i = 0; i < window->kernel; i++)
    reach.taps.part += tap_met(i, size, outputs, window);
  return reach;
}

static struct share product(struct share a, struct share b) {
  return (struct share){a.part * b.part, a.of * b.of};
}

static struct reach reach_of(const struct ffb_tensor *x, const struct ffb_tensor *y, const struct ffb_window *window) {
  struct reach down = reach_along(x->shape[1], y->shape[1], window);
  struct reach across = reach_along(x->shape[2], y->shape[2], window);
  return (struct reach){product(down.pixels, across.pixels), product(down.outputs, across.outputs),
                        product(down.taps, across.taps)};
}

/* ---- what calls leave alone ------------------------------------------------------------------------------------- */

static void except_forward(struct exceptions *to, const struct ffb_tensor *y, const struct ffb_tensor *x,
                           const struct ffb_tensor *w, const struct ffb_window *window) {
  struct reach reach = reach_of(x, y, window);
  except(to, x, reach.pixels, none);
  except(to, w, reach.taps, none);
}

/* Without accumulation zeros have to be written where nothing arrives; so too for weights. */
static void except_input(struct exceptions *to, const struct ffb_tensor *gx, const struct ffb_tensor *gy,
                         const struct ffb_tensor *w, const struct ffb_window *window, bool accumulate) {
  struct reach reach = reach_of(gx, gy, window);
  except(to, gx, reach.pixels, accumulate ? reach.pixels : all);
  except(to, gy, reach.outputs, none);
  except(to, w, reach.taps, none);
}

static void except_weight(struct exceptions *to, const struct ffb_tensor *gw, const struct ffb_tensor *gy,
                          const struct ffb_tensor *x, const struct ffb_window *window, bool accumulate) {
  struct reach reach = reach_of(x, gy, window);
  except(to, gw, reach.taps, accumulate ? reach.taps : all);
  except(to, gy, reach.outputs, none);
  except(to, x, reach.pixels, none);
}

/* A weight that only ever meets padding has no gradient: without decay it stays, and its momentum stays 0. */
static void except_update(struct exceptions *to, const struct ffb_update_rule *rule, const struct ffb_tensor *gy,
                          const struct ffb_tensor *x, const struct ffb_window *window, bool scaled) {
  struct reach reach = reach_of(x, gy, window);
  bool adam = rule->kind == FFB_RULE_ADAM;
  except(to, gy, reach.outputs, none);
  except(to, x, reach.pixels, none);
  if ((adam ? rule->adam.weight_decay : rule->sgd.weight_decay) != 0)
    return;
  except(to, ffb_rule_weights(rule), scaled ? all : reach.taps, reach.taps);
  except(to, adam ? rule->adam.first : rule->sgd.momentum, reach.taps, reach.taps);
  except(to, adam ? rule->adam.second : NULL, reach.taps, reach.taps);
}

static void except_convolution(struct exceptions *to, enum ffb_operator operation, const union ffb_arguments *a) {
  switch (operation) {
  case FFB_CONVOLVE_F32:
    except_forward(to, a->convolve_f32.y, a->convolve_f32.x, a->convolve_f32.w, &a->convolve_f32.window);
    break;
  case FFB_CONVOLVE_S8:
    except_forward(to, a->convolve_s8.y, a->convolve_s8.x, a->convolve_s8.w, &a->convolve_s8.window);
    break;
  case FFB_CONVOLVE_INPUT_F32:
    except_input(to, a->convolve_input_f32.gx, a->convolve_input_f32.gy, a->convolve_input_f32.w,
                 &a->convolve_input_f32.window, a->convolve_input_f32.accumulate);
    break;
  case FFB_CONVOLVE_INPUT_S8:
    except_input(to, a->convolve_input_s8.gx, a->convolve_input_s8.gy, a->convolve_input_s8.w,
                 &a->convolve_input_s8.window, a->convolve_input_s8.accumulate);
    break;
  case FFB_CONVOLVE_WEIGHT_F32:
    except_weight(to, a->convolve_weight_f32.gw, a->convolve_weight_f32.gy, a->convolve_weight_f32.x,
                  &a->convolve_weight_f32.window, a->convolve_weight_f32.accumulate);
    break;
  case FFB_CONVOLVE_WEIGHT_S8:
    except_weight(to, a->convolve_weight_s8.gw, a->convolve_weight_s8.gy, a->convolve_weight_s8.x,
                  &a->convolve_weight_s8.window, a->convolve_weight_s8.accumulate);
    break;
  case FFB_CONVOLVE_UPDATE_F32:
    except_update(to, &a->convolve_update_f32.rule, a->convolve_update_f32.gy, a->convolve_update_f32.x,
                  &a->convolve_update_f32.window, false);
    break;
  case FFB_CONVOLVE_UPDATE_S8:
    except_update(to, &a->convolve_update_s8.rule, a->convolve_update_s8.gy, a->convolve_update_s8.x,
                  &a->convolve_update_s8.window, a->convolve_update_s8.weight_scale);
    break;
  default:
    break;
  }
}

static struct exceptions exceptions_of(enum ffb_operator operation, const union ffb_arguments *a) {
  struct exceptions found = {.count = 0};
  switch (operation) {
  case FFB_MAX_POOL:
    except(&found, a->max_pool.x, reach_of(a->max_pool.x, a->max_pool.y, &a->max_pool.window).pixels, none);
    break;
  case FFB_BATCH_NORMALISE_POOL: {
    const struct ffb_batch_normalise_pool *pool = &a->batch_normalise_pool;
    except(&found, pool->normalise.x, reach_of(pool->normalise.x, pool->y, &pool->window).pixels, none);
    break;
  }
  case FFB_BATCH_NORMALISE_GRADIENT_S8: /* gx is scratch */
    except(&found, a->batch_normalise_gradient_s8.gradient.gx, all, none);
    break;
  case FFB_BATCH_NORMALISE_GOODNESS_GRADIENT_S8:
    except(&found, a->batch_normalise_goodness_gradient_s8.normalise.gradient.gx, all, none);
    break;
  case FFB_SUQ_IN_PLACE: /* what q does not cover may stay */
    except(&found, a->suq_in_place.quantise.x, all, none);
    break;
  case FFB_LABEL_PATTERN: /* one label may be that of all rows */
    except(&found, a->label_pattern.patterns, (struct share){1, ffb_rows(a->label_pattern.patterns)}, none);
    break;
  case FFB_DROPOUT: /* all rows may be dropped */
    except(&found, a->dropout.by_row ? a->dropout.x : NULL, none, all);
    break;
  default:
    except_convolution(&found, operation, a);
    break;
  }
  return found;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

/* Calls of which neither shapes nor the whole of an operand tell what they touch. */
static bool touches_few(enum ffb_operator operation, const union ffb_arguments *arguments) {
  return operation == FFB_OVERLAY_LABELS || operation == FFB_DRAW_NEGATIVES ||
         (operation == FFB_LABEL_PATTERN && arguments->label_pattern.channel >= 0);
}

static int64_t bytes_of(const struct ffb_tensor *tensor, struct share share) {
  return (int64_t)ffb_type_bytes(tensor->type) * (ffb_elements(tensor) * share.part / share.of);
}

/* A tensor may be several operands. */
static int64_t moved_bytes(const struct ffb_tensor *tensor, const struct ffb_operand *operands, size_t count,
                           const struct exceptions *exceptions) {
  struct share read = none, write = none;
  for (size_t i = 0; i < count; i++) {
    read = operands[i].tensor == tensor && operands[i].read ? all : read;
    write = operands[i].tensor == tensor && operands[i].write ? all : write;
  }
  for (size_t i = 0; i < exceptions->count; i++) {
    if (exceptions->list[i].tensor == tensor) {
      read = product(read, exceptions->list[i].read);
      write = product(write, exceptions->list[i].write);
    }
  }
  return bytes_of(tensor, read) + bytes_of(tensor, write);
}

int64_t ffb_call_bytes(enum ffb_operator operation, const union ffb_arguments *arguments) {
  if (touches_few(operation, arguments))
    return 0;
  const struct ffb_tensor *scratch = ffb_operand_scratch(operation, arguments);
  struct exceptions exceptions = exceptions_of(operation, arguments);
  struct ffb_operand operands[FFB_MAX_OPERANDS];
  size_t count = ffb_operands(operation, arguments, operands);
  int64_t bytes = 0;
  for (size_t i = 0; i < count; i++) {
    bool seen = operands[i].tensor == scratch;
    for (size_t k = 0; k < i && !seen; k++)
      seen = operands[k].tensor == operands[i].tensor;
    bytes += seen ? 0 : moved_bytes(operands[i].tensor, operands, count, &exceptions);
  }
  return bytes;
}
