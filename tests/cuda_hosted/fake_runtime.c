#include "tests/cuda_hosted/fake_runtime.h"

#include "backends/host.h"

#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t total_bytes = (size_t)1 << 30;

struct fake_cuda fake_cuda;

bool fake_cuda_fails(void) {
  fake_cuda.calls++;
  return fake_cuda.fail_in > 0 && --fake_cuda.fail_in == 0;
}

/* ---- graphs ----------------------------------------------------------------------------------------------------- */

struct node {
  struct node *next;
  void (*run)(const void *node);
  size_t bytes;
  _Alignas(16) char content[];
};

struct graph {
  struct node *first, **last;
};

static struct {
  struct graph *graph; /* null: nothing is captured */
  bool spoilt;
} capture;

bool fake_cuda_is_capturing(void) {
  return capture.graph != NULL;
}

bool fake_cuda_record(void (*run)(const void *node), const void *node, size_t bytes) {
  if (!capture.graph)
    return false;
  struct node *kept = malloc(sizeof *kept + bytes);
  *kept = (struct node){.run = run, .bytes = bytes};
  memcpy(kept->content, node, bytes);
  *capture.graph->last = kept;
  capture.graph->last = &kept->next;
  return true;
}

/* What a capture does not allow. */
static bool spoils(void) {
  capture.spoilt = capture.spoilt || capture.graph;
  return capture.graph != NULL;
}

static void free_graph(struct graph *graph) {
  for (struct node *node = graph ? graph->first : NULL, *next; node; node = next) {
    next = node->next;
    free(node);
  }
  free(graph);
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* Until it is asked for, as the runtime keeps it. */
static cudaError_t last_error;

static cudaError_t said(cudaError_t status) {
  last_error = status;
  return status;
}

static cudaError_t answer(void) {
  return fake_cuda_fails() ? said(cudaErrorUnknown) : cudaSuccess;
}

/* Something that has to be given back. */
static cudaError_t make(void **thing) {
  if (fake_cuda_fails())
    return said(cudaErrorUnknown);
  *thing = ffb_host_allocate(1, 64);
  fake_cuda.alive++;
  return cudaSuccess;
}

static cudaError_t give_back(void *thing) {
  fake_cuda.alive -= thing != NULL;
  ffb_host_release(NULL, thing);
  return cudaSuccess;
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count) {
  if (fake_cuda.no_driver)
    return said(cudaErrorInsufficientDriver);
  if (fake_cuda.no_gpu || fake_cuda_fails())
    return said(cudaErrorNoDevice); /* and the count is left alone */
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return device ? said(cudaErrorInvalidDevice) : answer();
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  (void)device;
  *value = fake_cuda.old_gpu ? 7 : 9;
  if (attribute != cudaDevAttrComputeCapabilityMajor)
    *value = fake_cuda.old_gpu ? 5 : 0;
  return answer();
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
  (void)device;
  memset(properties, 0, sizeof *properties);
  snprintf(properties->name, sizeof properties->name, "made-up GPU");
  properties->major = 9;
  return answer();
}

cudaError_t cudaDriverGetVersion(int *version) {
  *version = fake_cuda.no_driver ? 0 : CUDART_VERSION;
  return answer();
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = CUDART_VERSION;
  return answer();
}

cudaError_t cudaGetLastError(void) {
  cudaError_t status = last_error;
  last_error = cudaSuccess;
  return status;
}

const char *cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : "told to fail";
}

const char *cudaGetErrorName(cudaError_t status) {
  return status == cudaSuccess ? "cudaSuccess" : "cudaErrorUnknown";
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *total = total_bytes;
  *free_bytes = total_bytes / 2;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  if (fake_cuda_fails() || bytes > total_bytes)
    return said(cudaErrorMemoryAllocation);
  *memory = ffb_host_allocate(bytes, 256);
  memset(*memory, 0xA5, bytes);
  fake_cuda.alive++;
  return cudaSuccess;
}

cudaError_t cudaFree(void *memory) {
  return give_back(memory);
}

cudaError_t cudaMallocHost(void **memory, size_t bytes) {
  return cudaMalloc(memory, bytes);
}

cudaError_t cudaFreeHost(void *memory) {
  return give_back(memory);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
  (void)stream;
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  memset(memory, value, bytes);
  return answer();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
  (void)kind, (void)stream;
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  memcpy(to, from, bytes);
  return answer();
}

/* ---- streams, events, captures ---------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  (void)flags;
  return make((void **)stream);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return give_back(stream);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  (void)stream;
  return spoils() ? said(cudaErrorStreamCaptureUnsupported) : answer();
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  return make((void **)event);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  (void)flags;
  return make((void **)event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return give_back(event);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  (void)event, (void)stream;
  return answer();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  (void)event;
  return spoils() ? said(cudaErrorStreamCaptureUnsupported) : answer();
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
  (void)from, (void)to;
  *milliseconds = 1;
  return answer();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
  (void)stream, (void)mode;
  if (fake_cuda_fails() || capture.graph)
    return said(cudaErrorIllegalState);
  capture.graph = calloc(1, sizeof *capture.graph);
  capture.graph->last = &capture.graph->first;
  capture.spoilt = false;
  fake_cuda.alive++;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  struct graph *captured = capture.graph;
  (void)stream;
  capture.graph = NULL;
  if (!capture.spoilt && !fake_cuda_fails()) {
    *graph = (cudaGraph_t)(void *)captured;
    return cudaSuccess;
  }
  free_graph(captured);
  fake_cuda.alive--;
  *graph = NULL;
  return said(cudaErrorStreamCaptureInvalidated);
}

/* The program takes the nodes over; the graph is left without. */
#if CUDART_VERSION >= 12000
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *program, cudaGraph_t graph, unsigned long long flags) {
  (void)flags;
#else
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *program, cudaGraph_t graph, cudaGraphNode_t *node, char *log,
                                 size_t size) {
  (void)node, (void)log, (void)size;
#endif
  struct graph *from = (struct graph *)(void *)graph, *to;
  if (fake_cuda_fails())
    return said(cudaErrorUnknown);
  to = calloc(1, sizeof *to);
  to->first = from->first;
  from->first = NULL;
  *program = (cudaGraphExec_t)(void *)to;
  fake_cuda.alive++;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  free_graph((struct graph *)(void *)graph);
  fake_cuda.alive--;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t program, cudaStream_t stream) {
  (void)stream;
  if (fake_cuda_fails() || capture.graph)
    return said(cudaErrorUnknown);
  for (const struct node *node = ((const struct graph *)(const void *)program)->first; node; node = node->next)
    node->run(node->content);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t program) {
  free_graph((struct graph *)(void *)program);
  fake_cuda.alive--;
  return cudaSuccess;
}
