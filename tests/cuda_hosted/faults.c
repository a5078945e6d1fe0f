/* Every call to CUDA fails once: the backend says so in one line, and gives everything back. */
#include "backends/backend.h"
#include "tests/cuda_hosted/fake_runtime.h"

#include <cuda_runtime_api.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 40, COLUMNS = 48, DEPTH = 64, BYTES = 1 << 16, LARGE = 3 << 20, BATCH = 1000 };

extern const struct ffb_backend ffbench_backend;

static const struct ffb_backend *const backend = &ffbench_backend;

static void assert_one_line(const char *text) {
  if (!text[0] || strchr(text, '\n'))
    fail_msg("\"%s\" is not one line", text);
}

static struct ffb_tensor tensor(enum ffb_type type, char *data, int64_t rows, int64_t columns) {
  return (struct ffb_tensor){.type = type, .data = data, .shape = {rows, columns, 1, 1}};
}

/* Three products in an arena, the first of INT8; `c` is where the sums go. */
static bool multiply(struct ffb_device *device, char *arena) {
  struct ffb_tensor a = tensor(FFB_S8, arena, ROWS, DEPTH), b = tensor(FFB_S8, arena + 8192, COLUMNS, DEPTH);
  struct ffb_tensor odd = tensor(FFB_S8, arena + 16384, DEPTH - 1, COLUMNS);
  struct ffb_tensor cut = tensor(FFB_S8, arena, ROWS, DEPTH - 1);
  struct ffb_tensor c = tensor(FFB_S32, arena + 24576, ROWS, COLUMNS);
  struct ffb_tensor x = tensor(FFB_F32, arena + 32768, 16, 16), y = tensor(FFB_F32, arena + 40960, 16, 16);
  union ffb_arguments s8 = {.gemm_s8 = {.c = &c, .a = &a, .b = &b, .transpose_b = true}};
  union ffb_arguments odd_s8 = {.gemm_s8 = {.c = &c, .a = &cut, .b = &odd}};
  union ffb_arguments f32 = {.gemm_f32 = {.c = &y, .a = &x, .b = &x}};
  return backend->operators[FFB_GEMM_S8](device, &s8) && backend->operators[FFB_GEMM_S8](device, &odd_s8) &&
         backend->operators[FFB_GEMM_F32](device, &f32);
}

static void ignore(void *to, const char *name, const char *value) {
  (void)to, (void)name, (void)value;
}

/* A convolution of 3 x 3 images, by whichever way is open. */
static bool convolve(struct ffb_device *device, char *arena) {
  struct ffb_tensor x = {.type = FFB_F32, .data = arena, .shape = {2, 3, 3, 4}}, y = x, w = x;
  y.data = arena + 8192;
  w.data = arena + 16384;
  w.shape[0] = 4;
  union ffb_arguments call = {
      .convolve_f32 = {.y = &y, .x = &x, .w = &w, .window = {.kernel = 3, .stride = 1, .padding = 1}, .groups = 1}};
  return backend->operators[FFB_CONVOLVE_F32](device, &call);
}

static bool write_ahead(struct ffb_device *device, char *arena, const char *host) {
  struct ffb_host_bytes pieces[] = {{host, BATCH}, {host + BATCH, 4}};
  return backend->announce(device, pieces, 2) && backend->write(device, arena, host, BATCH);
}

static bool work(struct ffb_device *device, const char *failure) {
  static char host[LARGE];
  struct ffb_device_memory memory;
  char *arena = backend->allocate(device, LARGE);
  if (!arena)
    return false;
  bool good = backend->write(device, arena, host, LARGE) && write_ahead(device, arena, host) &&
              multiply(device, arena) && convolve(device, arena) && write_ahead(device, arena, host) &&
              backend->read(device, host, arena, BYTES) && backend->synchronise(device);
  backend->describe(device, ignore, NULL);
  assert_true(backend->memory(device, &memory));
  backend->release(device, arena);
  if (!good)
    assert_one_line(failure);
  return good;
}

/* What the library calls a status is said. */
static bool names_a_status(const char *text) {
  return strstr(text, "told to fail (CUBLAS_STATUS_ALLOC_FAILED)") != NULL;
}

static void any_call_may_fail(void **state) {
  (void)state;
  long failed = 0, named = 0;
  bool done = false;
  for (long n = 1; !done; n++) {
    struct ffb_device *device = NULL;
    char message[256] = "";
    memset(&fake_cuda, 0, sizeof fake_cuda);
    fake_cuda.fail_in = n;
    bool opened = backend->open(&device, &(struct ffb_device_request){0}, message, sizeof message);
    if (!opened) {
      assert_null(device);
      assert_one_line(message);
      assert_non_null(strstr(message, "backend cuda: "));
    }
    bool good = opened && work(device, backend->failure(device));
    failed += !good;
    named += !good && names_a_status(opened ? backend->failure(device) : message);
    if (opened)
      backend->close(device);
    assert_int_equal(fake_cuda.alive, 0);
    done = fake_cuda.fail_in > 0; /* there was no n-th call */
  }
  assert_true(failed > 75); /* those of the search for an algorithm may fail without harm */
#if CUDART_VERSION >= 11060
  assert_true(named > 5);
#endif
}

static void assert_unavailable(const char *why) {
  struct ffb_device *device;
  char message[256] = "", opened[256] = "";
  assert_false(backend->available(message, sizeof message));
  assert_one_line(message);
  if (!strstr(message, why))
    fail_msg("\"%s\" does not say \"%s\"", message, why);
  assert_false(backend->open(&device, &(struct ffb_device_request){0}, opened, sizeof opened));
  assert_non_null(strstr(opened, message));
  assert_null(device);
  assert_int_equal(fake_cuda.alive, 0);
}

static void missing_and_old_devices_are_named(void **state) {
  (void)state;
  char message[256] = "";
  fake_cuda = (struct fake_cuda){.no_driver = 1};
  assert_unavailable("there is no NVIDIA driver");
  fake_cuda = (struct fake_cuda){.no_gpu = 1};
  assert_unavailable("no device: ");
  fake_cuda = (struct fake_cuda){.old_gpu = 1};
  assert_unavailable("compute capability 7.5, INT8 tensor cores as used here need 8.0");
  fake_cuda = (struct fake_cuda){0};
  assert_true(backend->available(message, sizeof message));
}

static void memory_that_is_not_there_is_asked_for(void **state) {
  (void)state;
  struct ffb_device *device;
  char message[256] = "";
  memset(&fake_cuda, 0, sizeof fake_cuda);
  assert_true(backend->open(&device, &(struct ffb_device_request){0}, message, sizeof message));
  assert_null(backend->allocate(device, (size_t)3 << 30));
  assert_non_null(strstr(backend->failure(device), "no room for 3072.0 MiB of the arena"));
  assert_non_null(strstr(backend->failure(device), "512.0 of 1024.0 MiB are free: lower --batch"));
  backend->close(device);
  assert_int_equal(fake_cuda.alive, 0);
}

struct facts {
  char products[32], on_tensor_cores[32];
  int shapes;
};

static void note(void *to, const char *name, const char *value) {
  struct facts *facts = to;
  if (strcmp(name, "int8_products") == 0)
    snprintf(facts->products, sizeof facts->products, "%s", value);
  if (strcmp(name, "int8_products_on_tensor_cores") == 0)
    snprintf(facts->on_tensor_cores, sizeof facts->on_tensor_cores, "%s", value);
  facts->shapes += strstr(name, "40x48x64") != NULL || strstr(name, "16x16x16") != NULL;
}

/* Algorithms are chosen once per shape, products are counted each time. */
static void products_are_counted_and_shapes_remembered(void **state) {
  (void)state;
  struct ffb_device *device;
  struct facts facts = {0};
  char message[256] = "";
  memset(&fake_cuda, 0, sizeof fake_cuda);
  assert_true(backend->open(&device, &(struct ffb_device_request){0}, message, sizeof message));
  char *arena = backend->allocate(device, BYTES);
  assert_non_null(arena);
  assert_true(multiply(device, arena));
  long first = fake_cuda.calls;
  assert_true(multiply(device, arena));
  long second = fake_cuda.calls - first;
  assert_true(multiply(device, arena));
  assert_int_equal(fake_cuda.calls - first - second, second);
  assert_true(second < first);
  backend->describe(device, note, &facts);
  assert_string_equal(facts.products, "6");
  assert_string_equal(facts.on_tensor_cores, "6");
  assert_int_equal(facts.shapes, 2); /* the odd product is filled up to the shape of the other */
  backend->release(device, arena);
  backend->close(device);
}

int main(void) {
  const struct CMUnitTest cases[] = {
      cmocka_unit_test(any_call_may_fail),
      cmocka_unit_test(missing_and_old_devices_are_named),
      cmocka_unit_test(memory_that_is_not_there_is_asked_for),
      cmocka_unit_test(products_are_counted_and_shapes_remembered),
  };
  return cmocka_run_group_tests(cases, NULL, NULL);
}
