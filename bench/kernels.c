/* Times every operator call of three training steps of the MLP 784-1000-1000-10 on the CPU backend, in the order of a
 * step (so with the caches as a step leaves them): BP-FP32, BP-INT8, FF-INT8. Products are held against this machine's
 * peaks.
 *
 *   kernels [threads [batch [steps]]] */
#include "backends/backend.h"
#include "backends/cpu/peak.h"
#include "harness/meters/clock.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, MAX_CALLS = 64, MAX_TENSORS = 256 };
static const int64_t width[LAYERS + 1] = {784, 1000, 1000, 10};

struct call {
  enum ffb_operator operation;
  union ffb_arguments arguments;
  const char *what;
  double operations; /* multiply-accumulates times two; 0: not a product */
  bool integer;
  double *seconds;
};

struct bench {
  const struct ffb_backend *backend;
  struct ffb_device *device;
  int threads, steps;
  int64_t batch;
  double peak_f32, peak_s8;
  struct ffb_tensor tensors[MAX_TENSORS];
  int tensor_count;
  struct call calls[MAX_CALLS];
  int call_count;
  double *seconds; /* one time for each call and step */
};

static void must(bool done, const char *what) {
  if (!done) {
    fprintf(stderr, "kernels: %s\n", what);
    exit(1);
  }
}

static struct ffb_tensor *make(struct bench *bench, enum ffb_type type, int64_t rows, int64_t columns) {
  must(bench->tensor_count < MAX_TENSORS, "too many tensors");
  struct ffb_tensor *tensor = &bench->tensors[bench->tensor_count++];
  *tensor = (struct ffb_tensor){.type = type, .shape = {rows, columns, 1, 1}, .id = bench->tensor_count};
  tensor->data = bench->backend->allocate(bench->device, (size_t)(rows * columns) * ffb_type_bytes(type));
  must(tensor->data != NULL, "out of memory");
  return tensor;
}

static struct ffb_tensor *scalar(struct bench *bench, float value) {
  struct ffb_tensor *tensor = make(bench, FFB_F32, 1, 1);
  *(float *)tensor->data = value;
  return tensor;
}

/* A plain generator: timing needs numbers of the right size, no more. */
static struct ffb_tensor *noise(struct bench *bench, int64_t rows, int64_t columns, float size) {
  struct ffb_tensor *tensor = make(bench, FFB_F32, rows, columns);
  uint32_t state = 12345;
  for (int64_t i = 0; i < rows * columns; i++) {
    state = state * 1664525u + 1013904223u;
    ((float *)tensor->data)[i] = size * ((float)(state >> 8) / (float)(1 << 23) - 1);
  }
  return tensor;
}

static void give_workspace(struct bench *bench, struct call *call, struct ffb_tensor **slot) {
  size_t bytes = bench->backend->workspace(bench->device, call->operation, &call->arguments);
  if (bytes)
    *slot = make(bench, FFB_U8, 1, (int64_t)bytes);
}

static struct call *add(struct bench *bench, enum ffb_operator operation, const char *what) {
  must(bench->call_count < MAX_CALLS, "too many calls");
  struct call *call = &bench->calls[bench->call_count++];
  *call = (struct call){.operation = operation, .what = what};
  call->seconds = bench->seconds + (size_t)(bench->call_count - 1) * (size_t)bench->steps;
  return call;
}

/* ---- the three steps ------------------------------------------------------------------------------------------ */

struct layer {
  struct ffb_tensor *w, *momentum, *x, *y, *gy; /* FP32; x of the first layer is the batch */
  struct ffb_tensor *wq, *xq, *gq;              /* INT8 */
  struct ffb_tensor *w_scale, *x_scale, *gy_scale;
};

static void make_layers(struct bench *bench, struct layer layer[LAYERS], int count, int64_t rows, bool integer) {
  struct ffb_tensor *x = noise(bench, rows, width[0], 1);
  for (int l = 0; l < count; l++) {
    layer[l].w = noise(bench, width[l + 1], width[l], 0.03f);
    layer[l].momentum = make(bench, FFB_F32, width[l + 1], width[l]);
    layer[l].x = x;
    layer[l].y = x = make(bench, FFB_F32, rows, width[l + 1]);
    layer[l].gy = noise(bench, rows, width[l + 1], 1e-3f);
    if (!integer)
      continue;
    layer[l].wq = make(bench, FFB_S8, width[l + 1], width[l]);
    layer[l].xq = make(bench, FFB_S8, rows, width[l]);
    layer[l].gq = make(bench, FFB_S8, rows, width[l + 1]);
    layer[l].w_scale = scalar(bench, 0.03f / 127);
    layer[l].x_scale = scalar(bench, 1);
    layer[l].gy_scale = scalar(bench, 1);
  }
}

static struct ffb_update_rule rule_of(const struct layer *layer, struct ffb_tensor *learning_rate) {
  return (struct ffb_update_rule){.kind = FFB_RULE_SGD,
                                  .sgd = {.weights = layer->w,
                                          .momentum = layer->momentum,
                                          .learning_rate = learning_rate,
                                          .momentum_factor = 0.9f,
                                          .weight_decay = 5e-4f}};
}

static void add_convert(struct bench *bench, struct ffb_tensor *out, int64_t records) {
  struct call *call = add(bench, FFB_CONVERT_IMAGES, "convert images");
  struct ffb_tensor *in = make(bench, FFB_U8, records, 1);
  in->shape[1] = in->shape[2] = 28;
  in->data = bench->backend->allocate(bench->device, (size_t)records * 784);
  must(in->data != NULL, "out of memory");
  call->arguments.convert_images = (struct ffb_convert_images){.out = out, .in = in, .deviation = {1, 1, 1, 1}};
}

static void add_softmax(struct bench *bench, struct layer *last) {
  struct call *call = add(bench, FFB_SOFTMAX_CROSS_ENTROPY, "softmax cross-entropy");
  call->arguments.softmax_cross_entropy =
      (struct ffb_softmax_cross_entropy){.gradient = last->gy,
                                         .logits = last->y,
                                         .labels = make(bench, FFB_S32, ffb_rows(last->y), 1),
                                         .statistics = make(bench, FFB_F64, FFB_STATISTIC_COUNT, 1),
                                         .logit_scale = 1};
}

static double product_operations(const struct layer *layer) {
  return 2.0 * (double)ffb_rows(layer->x) * (double)ffb_elements(layer->w);
}

static void bp_f32_step(struct bench *bench, struct layer layer[LAYERS]) {
  static const char *const forward[] = {"forward 1", "forward 2", "forward 3"};
  static const char *const backward[] = {"", "input gradient 2", "input gradient 3"};
  static const char *const update[] = {"gradient + update 1", "gradient + update 2", "gradient + update 3"};
  struct ffb_tensor *learning_rate = scalar(bench, 1e-4f);
  add_convert(bench, layer[0].x, bench->batch);
  for (int l = 0; l < LAYERS; l++) {
    struct call *call = add(bench, FFB_LINEAR_F32, forward[l]);
    struct ffb_linear_f32 *linear = &call->arguments.linear_f32;
    *linear = (struct ffb_linear_f32){
        .y = layer[l].y, .x = layer[l].x, .w = layer[l].w, .transpose_w = true, .relu = l + 1 < LAYERS};
    call->operations = product_operations(&layer[l]);
    give_workspace(bench, call, &linear->workspace);
  }
  add_softmax(bench, &layer[LAYERS - 1]);
  for (int l = LAYERS - 1; l >= 0; l--) {
    if (l) {
      struct call *call = add(bench, FFB_LINEAR_F32, backward[l]);
      struct ffb_linear_f32 *linear = &call->arguments.linear_f32;
      *linear = (struct ffb_linear_f32){.y = layer[l - 1].gy, .x = layer[l].gy, .w = layer[l].w, .mask = layer[l].x};
      call->operations = product_operations(&layer[l]);
      give_workspace(bench, call, &linear->workspace);
    }
    struct call *call = add(bench, FFB_LINEAR_UPDATE_F32, update[l]);
    struct ffb_linear_update_f32 *linear = &call->arguments.linear_update_f32;
    *linear =
        (struct ffb_linear_update_f32){.gy = layer[l].gy, .x = layer[l].x, .rule = rule_of(&layer[l], learning_rate)};
    call->operations = product_operations(&layer[l]);
    give_workspace(bench, call, &linear->workspace);
  }
}

static void add_quantise(struct bench *bench, const char *what, struct ffb_tensor *q, struct ffb_tensor *x,
                         struct ffb_tensor *scale, enum ffb_rounding rounding) {
  struct call *call = add(bench, FFB_SUQ_TENSOR, what);
  call->arguments.suq_tensor.scale = (struct ffb_suq_scale){.scale = scale, .x = x};
  call->arguments.suq_tensor.quantise = (struct ffb_suq_quantise){
      .q = q, .x = x, .scale = scale, .step = make(bench, FFB_U32, 1, 1), .rounding = rounding, .purpose = 1024};
}

static void add_forward_s8(struct bench *bench, struct layer *layer, const char *what, bool relu) {
  add_quantise(bench, "quantise activations", layer->xq, layer->x, layer->x_scale, FFB_ROUND_NEAREST);
  struct call *call = add(bench, FFB_SUQ_QUANTISE, "quantise weights");
  call->arguments.suq_quantise = (struct ffb_suq_quantise){.q = layer->wq, .x = layer->w, .scale = layer->w_scale};
  call = add(bench, FFB_LINEAR_S8, what);
  struct ffb_linear_s8 *linear = &call->arguments.linear_s8;
  *linear = (struct ffb_linear_s8){.y = layer->y,
                                   .x = layer->xq,
                                   .w = layer->wq,
                                   .x_scale = layer->x_scale,
                                   .w_scale = layer->w_scale,
                                   .transpose_w = true,
                                   .relu = relu};
  call->operations = product_operations(layer);
  call->integer = true;
  give_workspace(bench, call, &linear->workspace);
}

static void add_update_s8(struct bench *bench, struct layer *layer, const char *what, bool quantise,
                          enum ffb_rounding rounding, struct ffb_tensor *learning_rate) {
  struct call *call = add(bench, FFB_LINEAR_UPDATE_S8, what);
  struct ffb_linear_update_s8 *linear = &call->arguments.linear_update_s8;
  *linear = (struct ffb_linear_update_s8){.gy = layer->gq,
                                          .x = layer->xq,
                                          .gy_scale = layer->gy_scale,
                                          .x_scale = layer->x_scale,
                                          .quantise_gradient = quantise,
                                          .rounding = rounding,
                                          .step = make(bench, FFB_U32, 1, 1),
                                          .purpose = 1025,
                                          .weight_scale = layer->w_scale,
                                          .rule = rule_of(layer, learning_rate)};
  call->operations = product_operations(layer);
  call->integer = true;
  give_workspace(bench, call, &linear->workspace);
}

static void bp_s8_step(struct bench *bench, struct layer layer[LAYERS], enum ffb_rounding rounding) {
  static const char *const forward[] = {"forward 1", "forward 2", "forward 3"};
  static const char *const backward[] = {"", "input gradient 2", "input gradient 3"};
  static const char *const update[] = {"gradient + update 1", "gradient + update 2", "gradient + update 3"};
  struct ffb_tensor *learning_rate = scalar(bench, 1e-4f);
  add_convert(bench, layer[0].x, bench->batch);
  for (int l = 0; l < LAYERS; l++)
    add_forward_s8(bench, &layer[l], forward[l], l + 1 < LAYERS);
  add_softmax(bench, &layer[LAYERS - 1]);
  for (int l = LAYERS - 1; l >= 0; l--) {
    add_quantise(bench, "quantise gradient", layer[l].gq, layer[l].gy, layer[l].gy_scale, rounding);
    if (l) {
      struct call *call = add(bench, FFB_LINEAR_S8, backward[l]);
      struct ffb_linear_s8 *linear = &call->arguments.linear_s8;
      *linear = (struct ffb_linear_s8){.y = layer[l - 1].gy,
                                       .x = layer[l].gq,
                                       .w = layer[l].wq,
                                       .x_scale = layer[l].gy_scale,
                                       .w_scale = layer[l].w_scale,
                                       .mask = layer[l].x};
      call->operations = product_operations(&layer[l]);
      call->integer = true;
      give_workspace(bench, call, &linear->workspace);
    }
    add_update_s8(bench, &layer[l], update[l], true, rounding, learning_rate);
  }
}

/* Positive and negative samples in one batch of twice the size; both hidden layers are trained, no head. */
static void ff_s8_step(struct bench *bench, struct layer layer[LAYERS]) {
  static const char *const forward[] = {"forward 1", "forward 2"};
  static const char *const update[] = {"gradient + update 1", "gradient + update 2"};
  struct ffb_tensor *learning_rate = scalar(bench, 1e-4f);
  int64_t rows = 2 * bench->batch;
  add_convert(bench, layer[0].x, bench->batch);
  for (int l = 0; l < 2; l++) {
    struct call *call = add(bench, FFB_NORMALISE, "normalise");
    call->arguments.normalise = (struct ffb_normalise){.y = layer[l].x, .x = layer[l].x, .groups = 1};
    add_forward_s8(bench, &layer[l], forward[l], true);
    struct ffb_tensor *goodness = make(bench, FFB_F32, rows, 1), *gradient = make(bench, FFB_F32, rows, 1);
    call = add(bench, FFB_GOODNESS, "goodness");
    call->arguments.goodness = (struct ffb_goodness){.goodness = goodness, .y = layer[l].y, .groups = 1};
    call = add(bench, FFB_GOODNESS_LOSS, "goodness loss");
    call->arguments.goodness_loss = (struct ffb_goodness_loss){.gradient = gradient, .goodness = goodness, .theta = 2};
    call = add(bench, FFB_GOODNESS_GRADIENT, "goodness gradient");
    call->arguments.goodness_gradient =
        (struct ffb_goodness_gradient){.gy = layer[l].gy, .gradient = gradient, .y = layer[l].y, .groups = 1};
    add_quantise(bench, "quantise gradient", layer[l].gq, layer[l].gy, layer[l].gy_scale, FFB_ROUND_STOCHASTIC);
    add_update_s8(bench, &layer[l], update[l], false, FFB_ROUND_NEAREST, learning_rate);
  }
}

/* ---- timing --------------------------------------------------------------------------------------------------- */

static struct meter_times summary(const double *seconds, int count) {
  struct meter_times times;
  struct ffb_error error;
  must(meter_times_summary(seconds, (size_t)count, &times, &error), "out of memory");
  return times;
}

static double run_step(struct bench *bench, int step) {
  double start = omp_get_wtime(), before = start;
  for (int c = 0; c < bench->call_count; c++) {
    struct call *call = &bench->calls[c];
    must(bench->backend->operators[call->operation](bench->device, &call->arguments), "an operator failed");
    double now = omp_get_wtime();
    call->seconds[step] = now - before;
    before = now;
  }
  return before - start;
}

static void report(struct bench *bench, const char *title) {
  double *steps = calloc((size_t)bench->steps, sizeof *steps), operations = 0, ideal = 0;
  must(steps != NULL, "out of memory");
  for (int step = 0; step < bench->steps; step++)
    steps[step] = run_step(bench, step);
  printf("\n%s\n  %-24s %10s %10s %10s %8s\n", title, "call", "median us", "least us", "Gop/s", "of peak");
  for (int c = 0; c < bench->call_count; c++) {
    struct call *call = &bench->calls[c];
    struct meter_times times = summary(call->seconds, bench->steps);
    printf("  %-24s %10.1f %10.1f", call->what, times.median * 1e6, times.minimum * 1e6);
    if (call->operations > 0) {
      double peak = call->integer ? bench->peak_s8 : bench->peak_f32;
      printf(" %10.1f %7.1f%%", call->operations / times.median * 1e-9, 100 * call->operations / times.median / peak);
      operations += call->operations;
      ideal += call->operations / peak;
    }
    printf("\n");
  }
  struct meter_times whole = summary(steps, bench->steps);
  printf("  %-24s %10.1f %10.1f %10.1f %7.1f%%\n", "step", whole.median * 1e6, whole.minimum * 1e6,
         operations / whole.median * 1e-9, 100 * ideal / whole.median);
  free(steps);
  bench->call_count = 0;
}

static void say(void *to, const char *name, const char *value) {
  (void)to;
  printf("%s: %s\n", name, value);
}

static long argument(int argc, char **argv, int number, long otherwise) {
  char *end = "";
  long value = argc > number ? strtol(argv[number], &end, 10) : otherwise;
  must(!*end && value > 0 && value <= 1 << 20, "usage: kernels [threads [batch [steps]]]");
  return value;
}

int main(int argc, char **argv) {
  static struct bench bench = {.backend = &ffb_backend_cpu};
  bench.threads = (int)argument(argc, argv, 1, omp_get_max_threads());
  bench.batch = argument(argc, argv, 2, 32);
  bench.steps = (int)argument(argc, argv, 3, 400);
  bench.seconds = calloc((size_t)bench.steps * MAX_CALLS, sizeof *bench.seconds);
  must(bench.seconds != NULL, "out of memory");
  struct ffb_device_request request = {.threads = bench.threads};
  char message[256] = "";
  must(bench.backend->open(&bench.device, &request, message, sizeof message), message);
  bench.backend->describe(bench.device, say, NULL);
  bench.peak_f32 = ffb_cpu_peak_f32(bench.threads);
  bench.peak_s8 = ffb_cpu_peak_s8(bench.threads);
  printf("peak: FP32 %.1f Gop/s, INT8 %.1f Gop/s\n", bench.peak_f32 * 1e-9, bench.peak_s8 * 1e-9);
  struct layer f32[LAYERS], s8[LAYERS], stochastic[LAYERS], forward[LAYERS];
  make_layers(&bench, f32, LAYERS, bench.batch, false);
  bp_f32_step(&bench, f32);
  report(&bench, "BP-FP32");
  make_layers(&bench, s8, LAYERS, bench.batch, true);
  bp_s8_step(&bench, s8, FFB_ROUND_NEAREST);
  report(&bench, "BP-INT8, nearest rounding");
  make_layers(&bench, stochastic, LAYERS, bench.batch, true);
  bp_s8_step(&bench, stochastic, FFB_ROUND_STOCHASTIC);
  report(&bench, "BP-INT8, stochastic rounding of gradients");
  make_layers(&bench, forward, 2, 2 * bench.batch, true);
  ff_s8_step(&bench, forward);
  report(&bench, "FF-INT8, positive and negative samples in one batch");
  for (int t = 0; t < bench.tensor_count; t++)
    bench.backend->release(bench.device, bench.tensors[t].data);
  bench.backend->close(bench.device);
  free(bench.seconds);
  return 0;
}
