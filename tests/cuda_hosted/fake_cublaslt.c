/* Column-major products as the library's documentation has them, with its demands on INT8 operands: the first one
 * transposed and the second not, m, k and leading dimensions multiples of 4, addresses as aligned as was promised. */
#include "tests/cuda_hosted/fake_runtime.h"

#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

struct operation {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a, b;
};

struct layout {
  cudaDataType_t type;
  int64_t rows, columns, stride;
};

struct preference {
  uint64_t mask;
  size_t workspace;
  uint32_t alignments[4];
};

static cublasStatus_t make(void **thing, const void *content, size_t bytes) {
  if (fake_cuda_fails())
    return CUBLAS_STATUS_ALLOC_FAILED;
  *thing = malloc(bytes);
  memcpy(*thing, content, bytes);
  fake_cuda.alive++;
  return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t give_back(void *thing) {
  fake_cuda.alive -= thing != NULL;
  free(thing);
  return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t answer(bool good) {
  return fake_cuda_fails() ? CUBLAS_STATUS_INTERNAL_ERROR : good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
  return status == CUBLAS_STATUS_ALLOC_FAILED ? "CUBLAS_STATUS_ALLOC_FAILED" : "CUBLAS_STATUS_OTHER";
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
  (void)status;
  return "told to fail";
}

size_t cublasLtGetVersion(void) {
  return 1;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  return make((void **)handle, "", 1);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return give_back(handle);
}

/* ---- descriptions ----------------------------------------------------------------------------------------------- */

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  struct operation operation = {compute, scale, CUBLAS_OP_N, CUBLAS_OP_N};
  return make((void **)description, &operation, sizeof operation);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  return give_back(description);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void *value,
                                              size_t bytes) {
  struct operation *operation = (struct operation *)(void *)description;
  cublasOperation_t *place = attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &operation->a : &operation->b;
  if (bytes == sizeof *place)
    memcpy(place, value, bytes);
  return answer(bytes == sizeof *place);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *description, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  struct layout layout = {type, (int64_t)rows, (int64_t)columns, stride};
  return make((void **)description, &layout, sizeof layout);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t description) {
  return give_back(description);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *description) {
  struct preference preference = {.mask = UINT64_MAX, .alignments = {256, 256, 256, 256}};
  return make((void **)description, &preference, sizeof preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t description) {
  return give_back(description);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t description,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t bytes) {
  struct preference *preference = (struct preference *)(void *)description;
  void *place = &preference->workspace;
  size_t wanted = sizeof preference->workspace;
  if (attribute == CUBLASLT_MATMUL_PREF_IMPL_MASK) {
    place = &preference->mask;
  } else if (attribute >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
             attribute <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) {
    place = &preference->alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
    wanted = sizeof preference->alignments[0];
  }
  if (bytes == wanted)
    memcpy(place, value, bytes);
  return answer(bytes == wanted);
}

/* ---- algorithms ------------------------------------------------------------------------------------------------- */

/* data[0]: kind of arithmetic; data[1 ..]: promised alignments of a, b and c. */
static bool is_valid(const struct operation *operation, const struct layout *a, const struct layout *b,
                     const struct layout *c) {
  int64_t m = operation->a == CUBLAS_OP_T ? a->columns : a->rows,
          k = operation->a == CUBLAS_OP_T ? a->rows : a->columns;
  int64_t n = operation->b == CUBLAS_OP_T ? b->rows : b->columns,
          k_b = operation->b == CUBLAS_OP_T ? b->columns : b->rows;
  return m == c->rows && n == c->columns && k == k_b && a->stride >= a->rows && b->stride >= b->rows &&
         c->stride >= c->rows;
}

static bool suits_tensor_cores(const struct operation *operation, const struct layout *a, const struct layout *b,
                               const struct layout *c) {
  return operation->compute == CUBLAS_COMPUTE_32I && operation->scale == CUDA_R_32I && a->type == CUDA_R_8I &&
         b->type == CUDA_R_8I && c->type == CUDA_R_32I && operation->a == CUBLAS_OP_T && operation->b == CUBLAS_OP_N &&
         c->rows % 4 == 0 && a->rows % 4 == 0 && a->stride % 4 == 0 && b->stride % 4 == 0 && c->stride % 4 == 0;
}

static bool suits_fp32(const struct operation *operation, const struct layout *a, const struct layout *b,
                       const struct layout *c) {
  return (operation->compute == CUBLAS_COMPUTE_32F || operation->compute == CUBLAS_COMPUTE_32F_FAST_TF32) &&
         operation->scale == CUDA_R_32F && a->type == CUDA_R_32F && b->type == CUDA_R_32F && c->type == CUDA_R_32F;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wanted, int most,
                                              cublasLtMatmulHeuristicResult_t *results, int *count) {
  const struct operation *operation = (const struct operation *)(void *)description;
  const struct preference *preference = (const struct preference *)(void *)wanted;
  const struct layout *of_a = (const struct layout *)(void *)a, *of_b = (const struct layout *)(void *)b,
                      *of_c = (const struct layout *)(void *)c;
  uint64_t kind = suits_tensor_cores(operation, of_a, of_b, of_c)      ? CUBLASLT_NUMERICAL_IMPL_FLAGS_IMMA
                  : !suits_fp32(operation, of_a, of_b, of_c)           ? 0
                  : operation->compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA
                                                                       : CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA;
  (void)handle;
  *count = 0;
  if (fake_cuda_fails() || c != d || !is_valid(operation, of_a, of_b, of_c) || !(kind & preference->mask))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  for (; *count < 2 && *count < most; ++*count) {
    cublasLtMatmulHeuristicResult_t *result = &results[*count];
    memset(result, 0, sizeof *result);
    result->state = CUBLAS_STATUS_SUCCESS;
    result->algo.data[0] = kind;
    for (int i = 0; i < 3; i++)
      result->algo.data[1 + i] = preference->alignments[i];
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCapGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                 cublasLtMatmulAlgoCapAttributes_t attribute, void *value, size_t bytes,
                                                 size_t *written) {
  if (attribute != CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS || bytes != sizeof algorithm->data[0])
    return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(value, &algorithm->data[0], bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void *value,
                                                    size_t bytes, size_t *written) {
  (void)algorithm, (void)attribute;
  memset(value, 0, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ------------------------------------------------------------------------------------------------ */

/* Number of element (row, column) of op(matrix). */
static int64_t at(const struct layout *layout, cublasOperation_t operation, int64_t row, int64_t column) {
  return operation == CUBLAS_OP_T ? column + row * layout->stride : row + column * layout->stride;
}

static void multiply_s8(const struct operation *operation, const struct layout *layouts[3], const int8_t *a,
                        const int8_t *b, int32_t *c, bool add) {
  int64_t k_end = operation->a == CUBLAS_OP_T ? layouts[0]->rows : layouts[0]->columns;
  for (int64_t n = 0; n < layouts[2]->columns; n++) {
    for (int64_t m = 0; m < layouts[2]->rows; m++) {
      int32_t *out = &c[m + n * layouts[2]->stride], sum = 0;
      for (int64_t k = 0; k < k_end; k++)
        sum += a[at(layouts[0], operation->a, m, k)] * b[at(layouts[1], operation->b, k, n)];
      *out = add ? *out + sum : sum;
    }
  }
}

/* TF32 reads the first ten bits of a mantissa. */
static double as_read(const struct operation *operation, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= operation->compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? ~0x1FFFu : ~0u;
  memcpy(&value, &bits, sizeof bits);
  return (double)value;
}

static void multiply_f32(const struct operation *operation, const struct layout *layouts[3], const float *a,
                         const float *b, float *c, bool add) {
  int64_t k_end = operation->a == CUBLAS_OP_T ? layouts[0]->rows : layouts[0]->columns;
  for (int64_t n = 0; n < layouts[2]->columns; n++) {
    for (int64_t m = 0; m < layouts[2]->rows; m++) {
      float *out = &c[m + n * layouts[2]->stride];
      double sum = 0;
      for (int64_t k = 0; k < k_end; k++)
        sum += as_read(operation, a[at(layouts[0], operation->a, m, k)]) *
               as_read(operation, b[at(layouts[1], operation->b, k, n)]);
      *out = add ? *out + (float)sum : (float)sum;
    }
  }
}

/* One product, with all that describes it. */
struct product {
  struct operation operation;
  struct layout layouts[3];
  const void *a, *b;
  void *c;
  bool add;
};

static void run_product(const void *node) {
  const struct product *product = node;
  const struct layout *layouts[3] = {&product->layouts[0], &product->layouts[1], &product->layouts[2]};
  if (product->operation.scale == CUDA_R_32I)
    multiply_s8(&product->operation, layouts, product->a, product->b, product->c, product->add);
  else
    multiply_f32(&product->operation, layouts, product->a, product->b, product->c, product->add);
}

static bool is_number(const void *value, cudaDataType_t type, int number) {
  return type == CUDA_R_32I ? *(const int32_t *)value == number : *(const float *)value == (float)number;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t of_a, const void *b, cublasLtMatrixLayout_t of_b,
                              const void *beta, const void *c, cublasLtMatrixLayout_t of_c, void *d,
                              cublasLtMatrixLayout_t of_d, const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t bytes, cudaStream_t stream) {
  struct product product = {.operation = *(const struct operation *)(void *)description,
                            .layouts = {*(const struct layout *)(void *)of_a, *(const struct layout *)(void *)of_b,
                                        *(const struct layout *)(void *)of_c},
                            .a = a,
                            .b = b,
                            .c = d};
  const void *addresses[3] = {a, b, c};
  (void)handle, (void)workspace, (void)bytes, (void)stream;
  if (fake_cuda_fails())
    return CUBLAS_STATUS_EXECUTION_FAILED;
  product.add = is_number(beta, product.operation.scale, 1);
  if (c != d || of_c != of_d || !is_number(alpha, product.operation.scale, 1) ||
      (!product.add && !is_number(beta, product.operation.scale, 0)))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (int i = 0; i < 3; i++)
    if (algorithm->data[1 + i] == 0 || (uintptr_t)addresses[i] % algorithm->data[1 + i])
      return CUBLAS_STATUS_INVALID_VALUE;
  fake_cuda.tf32_products += product.operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  fake_cuda.f32_products += product.operation.compute == CUBLAS_COMPUTE_32F;
  if (!fake_cuda_record(run_product, &product, sizeof product))
    run_product(&product);
  return CUBLAS_STATUS_SUCCESS;
}
