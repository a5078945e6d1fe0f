/* Times the dense convolutions of the three networks at 3 x 32 x 32 on the CPU backend: forward, input gradient, weight
 * gradient, and weight gradient with update, in FP32 and INT8. Beside each time: the share of this machine's peak, over
 * the multiply-accumulates that do not fall on padding.
 *
 *   convolutions [threads [batch [first shape]]] */
#include "backends/backend.h"
#include "backends/cpu/peak.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 9, PASSES = 4 };
static const double round_seconds = 2e-3;

static const struct shape {
  int size, channels, outputs, kernel, stride, padding;
} shapes[] = {
    /* ResNet-18 */
    {32, 3, 64, 7, 2, 3},
    {8, 64, 64, 3, 1, 1},
    {8, 64, 128, 3, 2, 1},
    {8, 64, 128, 1, 2, 0},
    {4, 128, 128, 3, 1, 1},
    {4, 128, 256, 3, 2, 1},
    {2, 256, 256, 3, 1, 1},
    {2, 256, 512, 3, 2, 1},
    {1, 512, 512, 3, 1, 1},
    /* MobileNet-V2 and EfficientNet-B0 */
    {32, 3, 32, 3, 2, 1},
    {16, 32, 16, 1, 1, 0},
    {16, 16, 96, 1, 1, 0},
    {8, 96, 24, 1, 1, 0},
    {8, 24, 144, 1, 1, 0},
    {4, 144, 40, 1, 1, 0},
    {4, 32, 192, 1, 1, 0},
    {2, 192, 64, 1, 1, 0},
    {2, 64, 384, 1, 1, 0},
    {2, 576, 96, 1, 1, 0},
    {1, 576, 160, 1, 1, 0},
    {1, 160, 960, 1, 1, 0},
    {1, 320, 1280, 1, 1, 0},
    /* with the stem for small images */
    {32, 64, 64, 3, 1, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct bench {
  const struct ffb_backend *backend;
  struct ffb_device *device;
  double peak[2]; /* FP32, INT8 */
  int64_t batch;
};

static void must(bool done, const char *what) {
  if (!done) {
    fprintf(stderr, "convolutions: %s\n", what);
    exit(1);
  }
}

/* A plain generator: timing needs numbers of the right size, no more. */
static struct ffb_tensor make(const struct bench *bench, enum ffb_type type, int64_t rows, int64_t height,
                              int64_t width, int64_t channels) {
  struct ffb_tensor tensor = {.type = type, .shape = {rows, height, width, channels}};
  int64_t elements = ffb_elements(&tensor);
  tensor.data = bench->backend->allocate(bench->device, (size_t)elements * ffb_type_bytes(type));
  must(tensor.data != NULL, "out of memory");
  uint32_t state = 12345;
  for (int64_t i = 0; i < elements; i++) {
    state = state * 1664525u + 1013904223u;
    if (type == FFB_F32)
      ((float *)tensor.data)[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
    else if (type == FFB_S8)
      ((int8_t *)tensor.data)[i] = (int8_t)((int)(state >> 8) % 127);
  }
  return tensor;
}

/* One shape's operands in one type. */
struct operands {
  struct ffb_tensor x, w, y, gy, gx, gw, weights, momentum, learning_rate, scale, step;
};

static struct operands make_operands(const struct bench *bench, const struct shape *shape, enum ffb_type type) {
  int64_t out = (shape->size + 2 * shape->padding - shape->kernel) / shape->stride + 1, m = bench->batch;
  int64_t kernel = shape->kernel, c = shape->channels, o = shape->outputs, size = shape->size;
  struct operands operands = {.x = make(bench, type, m, size, size, c),
                              .w = make(bench, type, o, kernel, kernel, c),
                              .y = make(bench, FFB_F32, m, out, out, o),
                              .gy = make(bench, type, m, out, out, o),
                              .gx = make(bench, FFB_F32, m, size, size, c),
                              .gw = make(bench, FFB_F32, o, kernel, kernel, c),
                              .weights = make(bench, FFB_F32, o, kernel, kernel, c),
                              .momentum = make(bench, FFB_F32, o, kernel, kernel, c),
                              .learning_rate = make(bench, FFB_F32, 1, 1, 1, 1),
                              .scale = make(bench, FFB_F32, 1, 1, 1, 1),
                              .step = make(bench, FFB_U32, 1, 1, 1, 1)};
  *(float *)operands.learning_rate.data = 1e-6f;
  *(float *)operands.scale.data = 1e-3f;
  return operands;
}

static void release(const struct bench *bench, struct operands *operands) {
  struct ffb_tensor *tensors[] = {&operands->x,       &operands->w,        &operands->y,
                                  &operands->gy,      &operands->gx,       &operands->gw,
                                  &operands->weights, &operands->momentum, &operands->learning_rate,
                                  &operands->scale,   &operands->step};
  for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++)
    bench->backend->release(bench->device, tensors[t]->data);
}

static struct ffb_update_rule rule_of(struct operands *operands) {
  return (struct ffb_update_rule){.kind = FFB_RULE_SGD,
                                  .sgd = {.weights = &operands->weights,
                                          .momentum = &operands->momentum,
                                          .learning_rate = &operands->learning_rate,
                                          .momentum_factor = 0.9f,
                                          .weight_decay = 5e-4f}};
}

/* The four passes of one shape, and where each keeps its workspace. */
static void passes_f32(struct operands *o, struct ffb_window window, enum ffb_operator operation[PASSES],
                       union ffb_arguments arguments[PASSES], struct ffb_tensor **workspace[PASSES]) {
  operation[0] = FFB_CONVOLVE_F32;
  arguments[0].convolve_f32 =
      (struct ffb_convolve_f32){.y = &o->y, .x = &o->x, .w = &o->w, .window = window, .groups = 1};
  workspace[0] = &arguments[0].convolve_f32.workspace;
  operation[1] = FFB_CONVOLVE_INPUT_F32;
  arguments[1].convolve_input_f32 =
      (struct ffb_convolve_input_f32){.gx = &o->gx, .gy = &o->gy, .w = &o->w, .window = window, .groups = 1};
  workspace[1] = &arguments[1].convolve_input_f32.workspace;
  operation[2] = FFB_CONVOLVE_WEIGHT_F32;
  arguments[2].convolve_weight_f32 =
      (struct ffb_convolve_weight_f32){.gw = &o->gw, .gy = &o->gy, .x = &o->x, .window = window, .groups = 1};
  workspace[2] = &arguments[2].convolve_weight_f32.workspace;
  operation[3] = FFB_CONVOLVE_UPDATE_F32;
  arguments[3].convolve_update_f32 =
      (struct ffb_convolve_update_f32){.gy = &o->gy, .x = &o->x, .window = window, .groups = 1, .rule = rule_of(o)};
  workspace[3] = &arguments[3].convolve_update_f32.workspace;
}

static void passes_s8(struct operands *o, struct ffb_window window, enum ffb_operator operation[PASSES],
                      union ffb_arguments arguments[PASSES], struct ffb_tensor **workspace[PASSES]) {
  operation[0] = FFB_CONVOLVE_S8;
  arguments[0].convolve_s8 = (struct ffb_convolve_s8){
      .y = &o->y, .x = &o->x, .w = &o->w, .x_scale = &o->scale, .w_scale = &o->scale, .window = window, .groups = 1};
  workspace[0] = &arguments[0].convolve_s8.workspace;
  operation[1] = FFB_CONVOLVE_INPUT_S8;
  arguments[1].convolve_input_s8 = (struct ffb_convolve_input_s8){.gx = &o->gx,
                                                                  .gy = &o->gy,
                                                                  .w = &o->w,
                                                                  .gy_scale = &o->scale,
                                                                  .w_scale = &o->scale,
                                                                  .window = window,
                                                                  .groups = 1};
  workspace[1] = &arguments[1].convolve_input_s8.workspace;
  operation[2] = FFB_CONVOLVE_WEIGHT_S8;
  arguments[2].convolve_weight_s8 = (struct ffb_convolve_weight_s8){.gw = &o->gw,
                                                                    .gy = &o->gy,
                                                                    .x = &o->x,
                                                                    .gy_scale = &o->scale,
                                                                    .x_scale = &o->scale,
                                                                    .window = window,
                                                                    .groups = 1};
  workspace[2] = &arguments[2].convolve_weight_s8.workspace;
  operation[3] = FFB_CONVOLVE_UPDATE_S8;
  arguments[3].convolve_update_s8 = (struct ffb_convolve_update_s8){.gy = &o->gy,
                                                                    .x = &o->x,
                                                                    .gy_scale = &o->scale,
                                                                    .x_scale = &o->scale,
                                                                    .window = window,
                                                                    .groups = 1,
                                                                    .quantise_gradient = true,
                                                                    .step = &o->step,
                                                                    .rule = rule_of(o)};
  workspace[3] = &arguments[3].convolve_update_s8.workspace;
}

/* The least of some rounds' mean seconds. */
static double seconds_of(const struct bench *bench, enum ffb_operator operation, const union ffb_arguments *arguments) {
  double least = 1;
  for (int round = 0; round < ROUNDS; round++) {
    double start = omp_get_wtime(), spent = 0;
    int calls = 0;
    for (; spent < round_seconds; calls++) {
      must(bench->backend->operators[operation](bench->device, arguments), "an operator failed");
      spent = omp_get_wtime() - start;
    }
    least = spent / calls < least ? spent / calls : least;
  }
  return least;
}

static double operations_of(const struct bench *bench, const struct shape *shape) {
  int out = (shape->size + 2 * shape->padding - shape->kernel) / shape->stride + 1;
  double taps = 0; /* along one axis */
  for (int p = 0; p < out; p++) {
    for (int i = 0; i < shape->kernel; i++) {
      int at = p * shape->stride + i - shape->padding;
      taps += at >= 0 && at < shape->size;
    }
  }
  return 2 * (double)bench->batch * taps * taps * shape->channels * shape->outputs;
}

static void time_shape(const struct bench *bench, const struct shape *shape) {
  struct ffb_window window = {shape->kernel, shape->stride, shape->padding};
  double operations = operations_of(bench, shape), seconds[2][PASSES];
  for (int integer = 0; integer < 2; integer++) {
    enum ffb_operator operation[PASSES];
    union ffb_arguments arguments[PASSES];
    struct ffb_tensor **workspace[PASSES];
    struct operands operands = make_operands(bench, shape, integer ? FFB_S8 : FFB_F32);
    if (integer)
      passes_s8(&operands, window, operation, arguments, workspace);
    else
      passes_f32(&operands, window, operation, arguments, workspace);
    for (int pass = 0; pass < PASSES; pass++) {
      size_t bytes = bench->backend->workspace(bench->device, operation[pass], &arguments[pass]);
      struct ffb_tensor scratch = make(bench, FFB_U8, (int64_t)(bytes ? bytes : 1), 1, 1, 1);
      *workspace[pass] = &scratch;
      seconds[integer][pass] = seconds_of(bench, operation[pass], &arguments[pass]);
      bench->backend->release(bench->device, scratch.data);
    }
    release(bench, &operands);
  }
  printf("%2d %4d->%4d k%d s%d", shape->size, shape->channels, shape->outputs, shape->kernel, shape->stride);
  for (int pass = 0; pass < PASSES; pass++) {
    for (int integer = 0; integer < 2; integer++)
      printf(" %9.1f %3.0f%%", seconds[integer][pass] * 1e6,
             100 * operations / seconds[integer][pass] / bench->peak[integer]);
    printf(" |");
  }
  printf("\n");
  fflush(stdout);
}

static long argument(int argc, char **argv, int number, long otherwise) {
  char *end = "";
  long value = argc > number ? strtol(argv[number], &end, 10) : otherwise;
  must(!*end && value > 0 && value <= 1 << 20, "usage: convolutions [threads [batch [first shape]]]");
  return value;
}

int main(int argc, char **argv) {
  struct bench bench = {.backend = &ffb_backend_cpu};
  int threads = (int)argument(argc, argv, 1, omp_get_max_threads());
  bench.batch = argument(argc, argv, 2, 32);
  struct ffb_device_request request = {.threads = threads};
  char message[256] = "";
  must(bench.backend->open(&bench.device, &request, message, sizeof message), message);
  bench.peak[0] = ffb_cpu_peak_f32(threads);
  bench.peak[1] = ffb_cpu_peak_s8(threads);
  printf("peak: FP32 %.1f Gop/s, INT8 %.1f Gop/s; least us, and %% of peak, FP32 and INT8\n", bench.peak[0] * 1e-9,
         bench.peak[1] * 1e-9);
  printf("%-18s %29s | %28s | %28s | %28s\n", "size C->O", "forward", "input gradient", "weight gradient",
         "gradient + update");
  for (long shape = argument(argc, argv, 3, 1) - 1; shape < SHAPES; shape++)
    time_shape(&bench, &shapes[shape]);
  bench.backend->close(bench.device);
  return 0;
}
