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

static void append(struct graph *graph, void (*run)(const void *node), const void *node, size_t bytes) {
  struct node *kept = malloc(sizeof *kept + bytes);
  *kept = (struct node){.run = run, .bytes = bytes};
  memcpy(kept->content, node, bytes);
  *graph->last = kept;
  graph->last = &kept->next;
}

/* ---- streams ---------------------------------------------------------------------------------------------------- */

/* What is put off, in order, and how many things were asked for and done so far. */
struct stream {
  struct graph queue;
  long asked, done;
  bool puts_off;
};

/* A point of a stream. */
struct event {
  struct stream *stream;
  long point;
};

/* A device's first one is that of its kernels; here only where it puts things off. */
static struct stream *of_kernels;
static int streams;

static void run_until(struct stream *stream, long point) {
  while (stream && stream->done < point) {
    struct node *node = stream->queue.first;
    stream->queue.first = node->next;
    if (!node->next)
      stream->queue.last = &stream->queue.first;
    stream->done++;
    node->run(node->content);
    free(node);
  }
}

static void ask(struct stream *stream, void (*run)(const void *node), const void *node, size_t bytes) {
  if (!stream || !stream->puts_off) {
    run(node);
    return;
  }
  stream->asked++;
  append(&stream->queue, run, node, bytes);
}

bool fake_cuda_record(void (*run)(const void *node), const void *node, size_t bytes) {
  if (!capture.graph && !of_kernels)
    return false;
  if (capture.graph)
    append(capture.graph, run, node, bytes);
  else
    ask(of_kernels, run, node, bytes);
  return true;
}

static void run_wait(const void *node) {
  const struct event *event = node;
  run_until(event->stream, event->point);
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
  *thing = ffb_host_allocate(64, 64);
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
  fake_cuda.allocations++;
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

/* A copy, or where nothing is copied from a fill. */
struct transfer {
  void *to;
  const void *from;
  int value;
  size_t bytes;
};

static void run_transfer(const void *node) {
  const struct transfer *transfer = node;
  if (transfer->from)
    memcpy(transfer->to, transfer->from, transfer->bytes);
  else
    memset(transfer->to, transfer->value, transfer->bytes);
}

static cudaError_t ask_transfer(cudaStream_t stream, const struct transfer *transfer) {
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  ask((struct stream *)(void *)stream, run_transfer, transfer, sizeof *transfer);
  return answer();
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
  return ask_transfer(stream, &(struct transfer){.to = memory, .value = value, .bytes = bytes});
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
  (void)kind;
  return ask_transfer(stream, &(struct transfer){.to = to, .from = from, .bytes = bytes});
}

/* ---- streams, events, captures ---------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *made, unsigned flags) {
  (void)flags;
  cudaError_t status = make((void **)made);
  struct stream *stream = status == cudaSuccess ? (struct stream *)(void *)*made : NULL;
  if (stream) {
    *stream = (struct stream){.puts_off = fake_cuda.put_off >> streams & 1};
    stream->queue.last = &stream->queue.first;
    of_kernels = stream->puts_off && streams == 0 ? stream : of_kernels;
    streams++;
  }
  return status;
}

cudaError_t cudaStreamDestroy(cudaStream_t given) {
  struct stream *stream = (struct stream *)(void *)given;
  run_until(stream, stream->asked);
  of_kernels = of_kernels == stream ? NULL : of_kernels;
  streams--;
  return give_back(stream);
}

cudaError_t cudaStreamSynchronize(cudaStream_t given) {
  struct stream *stream = (struct stream *)(void *)given;
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  run_until(stream, stream->asked);
  return answer();
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *made, unsigned flags) {
  (void)flags;
  cudaError_t status = make((void **)made);
  if (status == cudaSuccess)
    *(struct event *)(void *)*made = (struct event){0};
  return status;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return give_back(event);
}

cudaError_t cudaEventRecord(cudaEvent_t given, cudaStream_t of) {
  struct event *event = (struct event *)(void *)given;
  struct stream *stream = (struct stream *)(void *)of;
  *event = (struct event){stream, stream->asked};
  return answer();
}

cudaError_t cudaEventSynchronize(cudaEvent_t given) {
  const struct event *event = (const struct event *)(const void *)given;
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  run_until(event->stream, event->point);
  return answer();
}

/* The point is that of now, whatever the event is recorded for later. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  (void)flags;
  if (spoils())
    return said(cudaErrorStreamCaptureUnsupported);
  ask((struct stream *)(void *)stream, run_wait, (const void *)event, sizeof(struct event));
  return answer();
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

static void run_graph(const void *of) {
  cudaGraphExec_t program;
  memcpy(&program, of, sizeof program);
  for (const struct node *node = ((const struct graph *)(const void *)program)->first; node; node = node->next)
    node->run(node->content);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t program, cudaStream_t stream) {
  if (fake_cuda_fails() || capture.graph)
    return said(cudaErrorUnknown);
  ask((struct stream *)(void *)stream, run_graph, (const void *)&program, sizeof(cudaGraphExec_t));
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t program) {
  free_graph((struct graph *)(void *)program);
  fake_cuda.alive--;
  return cudaSuccess;
}
