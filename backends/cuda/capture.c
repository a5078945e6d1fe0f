/* Programs of operator calls as CUDA graphs: recorded once, launched from then on with one call. */
#include "backends/cuda/host.h"
#include "base/memory.h"

#include <stdio.h>

struct captured {
  cudaGraphExec_t program;
  struct ffb_cuda_counts counts; /* of one run */
};

bool ffb_cuda_capture_begin(struct ffb_device *device) {
  struct ffb_cuda_host *host = device->host;
  /* Thread-local: what the data loader's thread does meanwhile is no business of the capture. */
  if (!ffb_cuda_check(device, cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal),
                      "beginning a capture")) {
    snprintf(host->capture_problem, sizeof host->capture_problem, "%s", device->failure);
    return false;
  }
  host->capturing = true;
  host->counts_before = host->counts;
  return true;
}

static bool instantiate(struct ffb_device *device, cudaGraph_t graph, struct captured *captured) {
#if CUDART_VERSION >= 12000
  cudaError_t status = cudaGraphInstantiate(&captured->program, graph, 0);
#else
  cudaError_t status = cudaGraphInstantiate(&captured->program, graph, NULL, NULL, 0);
#endif
  return ffb_cuda_check(device, status, "making a graph of a program");
}

static void count(struct ffb_cuda_counts *to, const struct ffb_cuda_counts *more, int sign) {
  to->s8_products += sign * more->s8_products;
  to->s8_on_tensor_cores += sign * more->s8_on_tensor_cores;
  to->f32_products += sign * more->f32_products;
  to->f32_on_tensor_cores += sign * more->f32_on_tensor_cores;
}

/* Ends the capture in any case; what was captured did not run, so it does not count. */
void *ffb_cuda_capture_end(struct ffb_device *device, bool keep) {
  struct ffb_cuda_host *host = device->host;
  struct ffb_cuda_counts counts = host->counts;
  count(&counts, &host->counts_before, -1);
  cudaGraph_t graph = NULL;
  host->capturing = false;
  host->counts = host->counts_before;
  cudaError_t status = cudaStreamEndCapture(device->stream, &graph);
  struct captured *captured = ffb_allocate(1, sizeof *captured, NULL);
  bool good = keep && captured && ffb_cuda_check(device, status, "ending a capture") && graph &&
              instantiate(device, graph, captured);
  if (graph)
    cudaGraphDestroy(graph);
  cudaGetLastError(); /* of a capture that was given up */
  if (!good) {
    snprintf(host->capture_problem, sizeof host->capture_problem, "%s", device->failure);
    ffb_free(captured);
    return NULL;
  }
  captured->counts = counts;
  host->captures++;
  ffb_cuda_look_at_memory(device);
  return captured;
}

bool ffb_cuda_replay(struct ffb_device *device, void *program) {
  const struct captured *captured = program;
  struct ffb_cuda_host *host = device->host;
  count(&host->counts, &captured->counts, 1);
  host->replays++;
  return ffb_cuda_check(device, cudaGraphLaunch(captured->program, device->stream), "launching a captured program");
}

void ffb_cuda_forget(struct ffb_device *device, void *program) {
  struct captured *captured = program;
  cudaStreamSynchronize(device->stream);
  cudaGraphExecDestroy(captured->program);
  ffb_free(captured);
}
