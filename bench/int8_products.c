/* INT8 products together with the quantisation of both operands, as a training step makes them, on any backend: forward
 * products of the networks' layers at batch 32, a convolution's patches already gathered. Where the backend's library
 * says how long its fastest candidate takes for a shape (provenance.backend of the CUDA backend), the share of that
 * which a quantised product reaches: 1 would be a quantisation for nothing.
 *
 *   int8_products [backend [rounds]] */
#include "backends/backend.h"
#include "harness/meters/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 20, TENSORS = 8, MOST_ROUNDS = 1000, WARM_UP = 3 };

/* y [rows][columns] = x [rows][depth] w [columns][depth]'. */
static const struct shape {
  const char *what;
  int64_t rows, columns, depth;
} shapes[] = {
    {"MLP, first hidden layer", 32, 1000, 784},  {"MLP, second hidden layer", 32, 1000, 1000},
    {"MLP, both samples of FF", 64, 1000, 1000}, {"ResNet-18, stage 1, 3x3", 2048, 64, 576},
    {"ResNet-18, stage 2, 3x3", 512, 128, 1152}, {"ResNet-18, stage 3, 3x3", 128, 256, 2304},
    {"ResNet-18, stage 4, 3x3", 32, 512, 4608},  {"MobileNet-V2, expansion", 2048, 144, 24},
    {"MobileNet-V2, projection", 128, 96, 576},  {"EfficientNet-B0, expansion", 512, 240, 40},
    {"EfficientNet-B0, last", 32, 1280, 320},    {"larger: batch 1024, MLP", 1024, 1000, 1000},
};

struct bench {
  const struct ffb_backend *backend;
  struct ffb_device *device;
  struct ffb_tensor tensors[TENSORS];
  int tensor_count;
  double best; /* microseconds that the library names for the shape; 0: none */
  char name[96];
};

static void must(bool done, const char *what) {
  if (!done) {
    fprintf(stderr, "int8_products: %s\n", what);
    exit(1);
  }
}

static void must_run(struct bench *bench, bool done) {
  must(done, bench->backend->failure(bench->device));
}

/* Numbers of the right size, no more. */
static void fill(struct bench *bench, const struct ffb_tensor *tensor) {
  int64_t n = ffb_elements(tensor);
  float *values = malloc((size_t)n * sizeof *values);
  must(values != NULL, "out of memory");
  uint32_t state = 12345;
  for (int64_t i = 0; i < n; i++) {
    state = state * 1664525u + 1013904223u;
    values[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
  }
  must_run(bench, bench->backend->write(bench->device, tensor->data, values, (size_t)n * sizeof *values) &&
                      bench->backend->synchronise(bench->device));
  free(values);
}

static struct ffb_tensor *make(struct bench *bench, enum ffb_type type, int64_t rows, int64_t columns) {
  struct ffb_tensor *tensor = &bench->tensors[bench->tensor_count++];
  *tensor = (struct ffb_tensor){.type = type, .shape = {rows, columns, 1, 1}, .id = bench->tensor_count};
  tensor->data = bench->backend->allocate(bench->device, (size_t)(rows * columns) * ffb_type_bytes(type));
  must_run(bench, tensor->data != NULL);
  if (type == FFB_F32)
    fill(bench, tensor);
  return tensor;
}

struct calls {
  union ffb_arguments scale[2], quantise[2], both[2], product;
  bool fused; /* scale and quantise in one */
};

static void call(struct bench *bench, enum ffb_operator operation, const union ffb_arguments *arguments) {
  must_run(bench, bench->backend->operators[operation](bench->device, arguments));
}

static void prepare(struct bench *bench, const struct shape *shape, struct calls *calls) {
  struct ffb_tensor *q[2];
  calls->fused = bench->backend->operators[FFB_SUQ_TENSOR] != NULL;
  for (int i = 0; i < 2; i++) {
    int64_t rows = i ? shape->columns : shape->rows;
    struct ffb_tensor *x = make(bench, FFB_F32, rows, shape->depth), *scale = make(bench, FFB_F32, 1, 1);
    q[i] = make(bench, FFB_S8, rows, shape->depth);
    calls->scale[i].suq_scale = (struct ffb_suq_scale){.scale = scale, .x = x, .range = FFB_RANGE_ABSMAX};
    calls->quantise[i].suq_quantise = (struct ffb_suq_quantise){.q = q[i], .x = x, .scale = scale};
    calls->both[i].suq_tensor =
        (struct ffb_suq_tensor){.scale = calls->scale[i].suq_scale, .quantise = calls->quantise[i].suq_quantise};
  }
  struct ffb_gemm_s8 *product = &calls->product.gemm_s8;
  *product = (struct ffb_gemm_s8){
      .c = make(bench, FFB_S32, shape->rows, shape->columns), .a = q[0], .b = q[1], .transpose_b = true};
  size_t bytes = bench->backend->workspace ? bench->backend->workspace(bench->device, FFB_GEMM_S8, &calls->product) : 0;
  if (bytes)
    product->workspace = make(bench, FFB_U8, 1, (int64_t)bytes);
}

static void run(struct bench *bench, const struct calls *calls, bool quantise) {
  for (int i = 0; quantise && i < 2; i++) {
    if (calls->fused) {
      call(bench, FFB_SUQ_TENSOR, &calls->both[i]);
      continue;
    }
    call(bench, FFB_SUQ_SCALE, &calls->scale[i]);
    call(bench, FFB_SUQ_QUANTISE, &calls->quantise[i]);
  }
  call(bench, FFB_GEMM_S8, &calls->product);
}

static void repeat(struct bench *bench, const struct calls *calls, bool quantise) {
  for (int i = 0; i < REPEATS; i++)
    run(bench, calls, quantise);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median microseconds of one; captured and replayed where the backend can, as a training step is. */
static double microseconds(struct bench *bench, const struct calls *calls, bool quantise, int rounds) {
  static double times[MOST_ROUNDS];
  const struct ffb_backend *backend = bench->backend;
  void *program = NULL;
  repeat(bench, calls, quantise); /* algorithms are chosen */
  if (backend->capture_begin && backend->capture_begin(bench->device)) {
    repeat(bench, calls, quantise);
    program = backend->capture_end(bench->device, true);
  }
  for (int round = -WARM_UP; round < rounds; round++) {
    double start = meter_clock_seconds();
    if (program)
      must_run(bench, backend->replay(bench->device, program));
    else
      repeat(bench, calls, quantise);
    must_run(bench, backend->synchronise(bench->device));
    if (round >= 0)
      times[round] = 1e6 * (meter_clock_seconds() - start) / REPEATS;
  }
  if (program)
    backend->forget(bench->device, program);
  qsort(times, (size_t)rounds, sizeof *times, by_value);
  return times[rounds / 2];
}

/* "int8 ROWSxCOLUMNSxDEPTH ...", with "... 12.3 us, best of 8". Filled up to whole vectors, a shape is named as such.
 */
static void find_best(void *to, const char *name, const char *value) {
  struct bench *bench = to;
  const char *best = strstr(value, " us, best of");
  if (!best || strncmp(name, bench->name, strlen(bench->name)) != 0)
    return;
  while (best > value && best[-1] != ' ')
    best--;
  double time = strtod(best, NULL);
  bench->best = bench->best > 0 && bench->best < time ? bench->best : time;
}

static int64_t filled(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

static double library_best(struct bench *bench, const struct shape *shape) {
  int64_t rows = shape->rows < 32 ? 32 : shape->rows;
  bench->best = 0;
  snprintf(bench->name, sizeof bench->name, "int8 %lldx%lldx%lld", (long long)rows, (long long)shape->columns,
           (long long)filled(shape->depth, 16));
  bench->backend->describe(bench->device, find_best, bench);
  return bench->best;
}

static void give_back(struct bench *bench) {
  for (int i = 0; i < bench->tensor_count; i++)
    bench->backend->release(bench->device, bench->tensors[i].data);
  bench->tensor_count = 0;
}

static void measure(struct bench *bench, const struct shape *shape, int rounds) {
  struct calls calls = {.fused = false};
  prepare(bench, shape, &calls);
  double whole = microseconds(bench, &calls, true, rounds), bare = microseconds(bench, &calls, false, rounds);
  double best = library_best(bench, shape);
  printf("%-28s %5lldx%4lldx%4lld %10.1f %10.1f", shape->what, (long long)shape->rows, (long long)shape->columns,
         (long long)shape->depth, whole, bare);
  if (best > 0)
    printf(" %10.1f %9.2f\n", best, best / whole);
  else
    printf(" %10s %9s\n", "-", "-");
  fflush(stdout);
  give_back(bench);
}

int main(int argc, char **argv) {
  struct bench bench = {.backend = argc > 1 ? ffb_backend_find(argv[1]) : ffb_backend_default()};
  struct ffb_device_request request = {0};
  char message[256] = "there is no such backend: int8_products [backend [rounds]]";
  long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 50;
  must(rounds > 0 && rounds <= MOST_ROUNDS, "1 to 1000 rounds");
  must(bench.backend && bench.backend->open(&bench.device, &request, message, sizeof message), message);
  printf("backend %s, median of %ld rounds of %d, microseconds\n", bench.backend->name, rounds, REPEATS);
  printf("%-28s %15s %10s %10s %10s %9s\n", "product", "shape", "quantised", "alone", "library", "reached");
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    measure(&bench, &shapes[i], (int)rounds);
  bench.backend->close(bench.device);
  return 0;
}
