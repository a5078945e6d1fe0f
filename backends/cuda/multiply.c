/* Matrix products by cuBLASLt: INT8 on tensor cores, FP32 without TF32 unless it is asked for.
 *
 * An algorithm is chosen once per shape. INT8 sums are exact whatever computes them, so the library's candidates are
 * timed. FP32 sums depend on the algorithm: the first that the library proposes is taken, so that equal runs give equal
 * bits, and candidates are timed only where FFBENCH_CUDA_SEARCH=1 asks for it. */
#include "backends/cuda/gather.h"
#include "backends/cuda/host.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { REPEATS = 5, ROUNDS = 3, FILLS = 40 };
static const size_t hopper_workspace = (size_t)32 << 20, other_workspace = (size_t)4 << 20;

static bool check(struct ffb_device *device, cublasStatus_t status, const char *what) {
  if (status == CUBLAS_STATUS_SUCCESS)
    return true;
#if CUDART_VERSION >= 11060 /* JetPack 5's 11.4 may not know names */
  return ffb_cuda_fail(device, "cuBLASLt: %s: %s (%s)", what, cublasLtGetStatusString(status),
                       cublasLtGetStatusName(status));
#else
  return ffb_cuda_fail(device, "cuBLASLt: %s: status %d", what, (int)status);
#endif
}

bool ffb_cuda_multiply_open(struct ffb_device *device) {
  struct ffb_cuda_host *host = device->host;
  host->blas_workspace_bytes = host->major >= 9 ? hopper_workspace : other_workspace;
  host->blas_workspace = ffb_cuda_take(device, host->blas_workspace_bytes, "cuBLASLt's workspace");
  return host->blas_workspace && check(device, cublasLtCreate(&host->blas), "cublasLtCreate");
}

void ffb_cuda_multiply_close(struct ffb_device *device) {
  struct ffb_cuda_host *host = device->host;
  if (host->blas)
    cublasLtDestroy(host->blas);
  cudaFree(host->blas_workspace);
  ffb_free(host->choices);
}

/* ---- descriptions ----------------------------------------------------------------------------------------------- */

/* The library's matrices are column-major, so that c = op(a) op(b) is computed as its transpose, op(b)' op(a)'. */
struct descriptions {
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c; /* a describes the library's first operand, which is our b */
  cublasLtMatmulPreference_t preference;
};

static void forget(struct descriptions *d) {
  if (d->preference)
    cublasLtMatmulPreferenceDestroy(d->preference);
  if (d->c)
    cublasLtMatrixLayoutDestroy(d->c);
  if (d->b)
    cublasLtMatrixLayoutDestroy(d->b);
  if (d->a)
    cublasLtMatrixLayoutDestroy(d->a);
  if (d->operation)
    cublasLtMatmulDescDestroy(d->operation);
}

static cublasStatus_t describe_matrix(cublasLtMatrixLayout_t *layout, cudaDataType_t type, bool transposed,
                                      int64_t rows, int64_t columns, int64_t stride) {
  return cublasLtMatrixLayoutCreate(layout, type, (uint64_t)(transposed ? columns : rows),
                                    (uint64_t)(transposed ? rows : columns), stride);
}

static bool describe_product(struct ffb_device *device, const struct ffb_cuda_product *product,
                             struct descriptions *d) {
  cudaDataType_t in = product->integer ? CUDA_R_8I : CUDA_R_32F, out = product->integer ? CUDA_R_32I : CUDA_R_32F;
  cublasComputeType_t compute = product->integer     ? CUBLAS_COMPUTE_32I
                                : device->host->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                     : CUBLAS_COMPUTE_32F;
  cublasOperation_t first = product->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                    second = product->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  *d = (struct descriptions){0};
  return check(device, cublasLtMatmulDescCreate(&d->operation, compute, out), "cublasLtMatmulDescCreate") &&
         check(device, cublasLtMatmulDescSetAttribute(d->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first),
               "transposition") &&
         check(device,
               cublasLtMatmulDescSetAttribute(d->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second),
               "transposition") &&
         check(device,
               describe_matrix(&d->a, in, product->transpose_b, product->columns, product->depth, product->b_stride),
               "the layout of b") &&
         check(device,
               describe_matrix(&d->b, in, product->transpose_a, product->depth, product->rows, product->a_stride),
               "the layout of a") &&
         check(device, describe_matrix(&d->c, out, false, product->columns, product->rows, product->c_stride),
               "the layout of c");
}

static cublasStatus_t prefer(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                             uint32_t value) {
  return cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value);
}

/* Only algorithms that work on these addresses and, with `mask`, whose arithmetic it allows. */
static bool describe_preference(struct ffb_device *device, const struct ffb_cuda_product_key *key, uint64_t mask,
                                cublasLtMatmulPreference_t preference) {
  size_t workspace = device->host->blas_workspace_bytes;
  return check(device,
               cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                                    sizeof workspace),
               "the workspace's size") &&
         check(device,
               cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_IMPL_MASK, &mask, sizeof mask),
               "the kind of arithmetic") &&
         check(device, prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key->b_alignment), "alignment") &&
         check(device, prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->a_alignment), "alignment") &&
         check(device, prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->c_alignment), "alignment") &&
         check(device, prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->c_alignment), "alignment");
}

/* ---- the choice ------------------------------------------------------------------------------------------------- */

static uint32_t alignment_of(const void *address) {
  uintptr_t bits = (uintptr_t)address;
  uint32_t alignment = 256;
  while (bits % alignment)
    alignment /= 2;
  return alignment;
}

static struct ffb_cuda_product_key key_of(const struct ffb_cuda_product *product) {
  struct ffb_cuda_product_key key;
  memset(&key, 0, sizeof key);
  key.rows = product->rows;
  key.columns = product->columns;
  key.depth = product->depth;
  key.a_stride = product->a_stride;
  key.b_stride = product->b_stride;
  key.c_stride = product->c_stride;
  key.integer = product->integer;
  key.transpose_a = product->transpose_a;
  key.transpose_b = product->transpose_b;
  key.accumulate = product->accumulate;
  key.a_alignment = alignment_of(product->a);
  key.b_alignment = alignment_of(product->b);
  key.c_alignment = alignment_of(product->c);
  return key;
}

/* Whether tensor cores do the algorithm's arithmetic. FP32 on them is TF32. */
static bool on_tensor_cores(const cublasLtMatmulAlgo_t *algorithm) {
  uint64_t flags = 0;
  size_t written = 0;
  return cublasLtMatmulAlgoCapGetAttribute(algorithm, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, &flags, sizeof flags,
                                           &written) == CUBLAS_STATUS_SUCCESS &&
         (flags & CUBLASLT_NUMERICAL_IMPL_FLAGS_TENSOR_OP_MASK) != 0;
}

static cublasStatus_t run(struct ffb_device *device, const struct ffb_cuda_product *product,
                          const struct descriptions *d, const cublasLtMatmulAlgo_t *algorithm) {
  const struct ffb_cuda_host *host = device->host;
  const int32_t one = 1, more = product->accumulate;
  const float one_f32 = 1, more_f32 = product->accumulate;
  const void *alpha = product->integer ? (const void *)&one : &one_f32;
  const void *beta = product->integer ? (const void *)&more : &more_f32;
  return cublasLtMatmul(host->blas, d->operation, alpha, product->b, d->a, product->a, d->b, beta, product->c, d->c,
                        product->c, d->c, algorithm, host->blas_workspace, host->blas_workspace_bytes, device->stream);
}

/* Keeps the device busy while calls are queued behind it. */
static bool hold(struct ffb_device *device) {
  const struct ffb_cuda_host *host = device->host;
  bool good = true;
  for (int i = 0; good && i < FILLS; i++)
    good = cudaMemsetAsync(host->blas_workspace, 0, host->blas_workspace_bytes, device->stream) == cudaSuccess;
  return good;
}

/* Milliseconds of a few calls; negative where it does not run. */
static float time_calls(struct ffb_device *device, const struct ffb_cuda_product *product, const struct descriptions *d,
                        const cublasLtMatmulAlgo_t *algorithm, const cudaEvent_t events[2], bool held) {
  float milliseconds = -1;
  bool good = run(device, product, d, algorithm) == CUBLAS_STATUS_SUCCESS && (!held || hold(device)) &&
              cudaEventRecord(events[0], device->stream) == cudaSuccess;
  for (int i = 0; good && i < REPEATS; i++)
    good = run(device, product, d, algorithm) == CUBLAS_STATUS_SUCCESS;
  good = good && cudaEventRecord(events[1], device->stream) == cudaSuccess &&
         cudaEventSynchronize(events[1]) == cudaSuccess &&
         cudaEventElapsedTime(&milliseconds, events[0], events[1]) == cudaSuccess;
  return good ? milliseconds / REPEATS : -1;
}

static float time_candidate(struct ffb_device *device, const struct ffb_cuda_product *product,
                            const struct descriptions *d, const cublasLtMatmulAlgo_t *algorithm,
                            const cudaEvent_t events[2]) {
  const float brief = 0.05f; /* that asking for it may take longer */
  float milliseconds = time_calls(device, product, d, algorithm, events, false);
  return milliseconds >= 0 && milliseconds < brief ? time_calls(device, product, d, algorithm, events, true)
                                                   : milliseconds;
}

/* Number of the fastest candidate; 0 where no clock runs. Writes c over and over, so c must not be accumulated to. */
static int search(struct ffb_device *device, const struct ffb_cuda_product *product, const struct descriptions *d,
                  const cublasLtMatmulHeuristicResult_t *candidates, int count, float *best) {
  cudaEvent_t events[2] = {NULL, NULL};
  int fastest = 0;
  *best = -1;
  bool clock = cudaEventCreate(&events[0]) == cudaSuccess && cudaEventCreate(&events[1]) == cudaSuccess;
  for (int i = 0; clock && i < ROUNDS * count; i++) {
    float time = time_candidate(device, product, d, &candidates[i % count].algo, events);
    if (time >= 0 && (*best < 0 || time < *best)) {
      *best = time;
      fastest = i % count;
    }
  }
  for (int i = 0; i < 2; i++)
    if (events[i])
      cudaEventDestroy(events[i]);
  cudaGetLastError(); /* of a candidate that could not run */
  return fastest;
}

static int config(const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  int32_t value = 0;
  size_t written = 0;
  cublasLtMatmulAlgoConfigGetAttribute(algorithm, attribute, &value, sizeof value, &written);
  return value;
}

static void say_choice(struct ffb_cuda_product_choice *choice, float milliseconds, int of) {
  const cublasLtMatmulAlgo_t *algorithm = &choice->algorithm;
  char how[48];
  snprintf(how, sizeof how, "first of %d", of);
  if (milliseconds >= 0)
    snprintf(how, sizeof how, "%.1f us, best of %d", 1e3 * (double)milliseconds, of);
  snprintf(choice->text, sizeof choice->text, "algorithm %d, tile %d, split %d, %s%s",
           config(algorithm, CUBLASLT_ALGO_CONFIG_ID), config(algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID),
           config(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
           choice->tensor_cores && !choice->key.integer ? "TF32, " : "", how);
}

/* The library's candidates whose arithmetic is allowed; how many, or -1 after an error. */
static int list(struct ffb_device *device, const struct ffb_cuda_product_key *key, const struct descriptions *d,
                uint64_t mask, cublasLtMatmulHeuristicResult_t candidates[FFB_CUDA_CANDIDATES]) {
  int found = 0, count = 0;
  bool tensor_cores = key->integer || device->host->tf32;
  if (!describe_preference(device, key, mask, d->preference))
    return -1;
  cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(device->host->blas, d->operation, d->a, d->b, d->c, d->c,
                                                         d->preference, FFB_CUDA_CANDIDATES, candidates, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED)
    return 0;
  if (!check(device, status, "cublasLtMatmulAlgoGetHeuristic"))
    return -1;
  for (int i = 0; i < found; i++)
    if (candidates[i].state == CUBLAS_STATUS_SUCCESS && (tensor_cores || !on_tensor_cores(&candidates[i].algo)))
      candidates[count++] = candidates[i];
  return count;
}

static bool choose(struct ffb_device *device, const struct ffb_cuda_product *product, struct descriptions *d,
                   struct ffb_cuda_product_choice *choice) {
  cublasLtMatmulHeuristicResult_t candidates[FFB_CUDA_CANDIDATES];
  const struct ffb_cuda_host *host = device->host;
  uint64_t kind =
      product->integer || host->tf32 ? CUBLASLT_NUMERICAL_IMPL_FLAGS_TENSOR_OP_MASK : CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA;
  float milliseconds = -1;
  if (!check(device, cublasLtMatmulPreferenceCreate(&d->preference), "cublasLtMatmulPreferenceCreate"))
    return false;
  int count = list(device, &choice->key, d, ~(uint64_t)CUBLASLT_NUMERICAL_IMPL_FLAGS_OP_TYPE_MASK | kind, candidates);
  if (count == 0) /* what the library does not classify is classified here */
    count = list(device, &choice->key, d, UINT64_MAX, candidates);
  if (count < 0)
    return false;
  choice->found = count > 0;
  if (!count) {
    snprintf(choice->text, sizeof choice->text, "none in cuBLASLt: a plain kernel");
    return product->integer ||
           ffb_cuda_fail(device, "cuBLASLt has no FP32 product of %lld x %lld x %lld", (long long)product->rows,
                         (long long)product->columns, (long long)product->depth);
  }
  int best = 0;
  if ((product->integer || host->search) && !product->accumulate && !host->capturing)
    best = search(device, product, d, candidates, count, &milliseconds);
  choice->algorithm = candidates[best].algo;
  choice->tensor_cores = on_tensor_cores(&choice->algorithm);
  say_choice(choice, milliseconds, count);
  return true;
}

static struct ffb_cuda_product_choice *find_choice(struct ffb_cuda_host *host, const struct ffb_cuda_product_key *key) {
  for (size_t i = 0; i < host->choice_count; i++)
    if (memcmp(&host->choices[i].key, key, sizeof *key) == 0)
      return &host->choices[i];
  return NULL;
}

static struct ffb_cuda_product_choice *new_choice(struct ffb_device *device, const struct ffb_cuda_product_key *key) {
  struct ffb_cuda_host *host = device->host;
  if (host->choice_count == host->choice_capacity) {
    size_t capacity = host->choice_capacity ? 2 * host->choice_capacity : 64;
    void *grown = ffb_reallocate(host->choices, capacity, sizeof *host->choices, NULL);
    if (!grown) {
      ffb_cuda_fail(device, "out of memory for the algorithms chosen: close other programs");
      return NULL;
    }
    host->choices = grown;
    host->choice_capacity = capacity;
  }
  struct ffb_cuda_product_choice *choice = &host->choices[host->choice_count];
  memset(choice, 0, sizeof *choice);
  choice->key = *key;
  return choice;
}

/* ---- the product ------------------------------------------------------------------------------------------------ */

static bool multiply_plain(struct ffb_device *device, const struct ffb_cuda_product *product) {
  struct ffb_cuda_plain_product plain = {.a = product->a,
                                         .b = product->b,
                                         .c = product->c,
                                         .rows = product->rows,
                                         .columns = product->columns,
                                         .depth = product->depth,
                                         .a_stride = product->a_stride,
                                         .b_stride = product->b_stride,
                                         .c_stride = product->c_stride,
                                         .accumulate = product->accumulate};
  return ffb_cuda_multiply_plain_s8(device, &plain);
}

static bool multiply(struct ffb_device *device, const struct ffb_cuda_product *product, struct descriptions *d) {
  struct ffb_cuda_host *host = device->host;
  struct ffb_cuda_product_key key = key_of(product);
  struct ffb_cuda_product_choice *choice = find_choice(host, &key);
  if (!choice) {
    choice = new_choice(device, &key);
    if (!choice || !choose(device, product, d, choice))
      return false;
    host->choice_count++;
  }
  if (product->integer) {
    host->counts.s8_products++;
    host->counts.s8_on_tensor_cores += choice->tensor_cores;
  } else {
    host->counts.f32_products++;
    host->counts.f32_on_tensor_cores += choice->tensor_cores;
  }
  return choice->found ? check(device, run(device, product, d, &choice->algorithm), "cublasLtMatmul")
                       : multiply_plain(device, product);
}

bool ffb_cuda_multiply(struct ffb_device *device, const struct ffb_cuda_product *product) {
  struct descriptions d;
  bool good = describe_product(device, product, &d) && multiply(device, product, &d);
  forget(&d);
  return good;
}

static void say_count(ffb_describe_function *say, void *to, const char *name, int64_t count) {
  char value[32];
  snprintf(value, sizeof value, "%lld", (long long)count);
  say(to, name, value);
}

void ffb_cuda_multiply_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  const struct ffb_cuda_host *host = device->host;
  char name[160];
  say_count(say, to, "int8_products", host->counts.s8_products);
  say_count(say, to, "int8_products_on_tensor_cores", host->counts.s8_on_tensor_cores);
  say_count(say, to, "fp32_products", host->counts.f32_products);
  say_count(say, to, "fp32_products_on_tensor_cores", host->counts.f32_on_tensor_cores);
  for (size_t i = 0; i < host->choice_count; i++) {
    const struct ffb_cuda_product_key *key = &host->choices[i].key;
    snprintf(name, sizeof name, "%s %lldx%lldx%lld%s%s%s aligned %u %u %u", key->integer ? "int8" : "fp32",
             (long long)key->rows, (long long)key->columns, (long long)key->depth, key->transpose_a ? " a'" : "",
             key->transpose_b ? " b'" : "", key->accumulate ? " +=" : "", key->a_alignment, key->b_alignment,
             key->c_alignment);
    say(to, name, host->choices[i].text);
  }
}
