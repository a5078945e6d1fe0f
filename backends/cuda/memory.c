/* Memory of the device: the arena, the scratch that calls share, and the way of host data through pinned memory. */
#include "backends/cuda/host.h"

#include <string.h>

static const double mebibyte = 1 << 20;

/* What all programs on the device use together, at its highest; looked at where this one takes memory, and at the end.
 */
void ffb_cuda_look_at_memory(struct ffb_device *device) {
  size_t free_bytes = 0, total = 0;
  struct ffb_cuda_host *host = device->host;
  if (host->capturing)
    return;
  if (cudaMemGetInfo(&free_bytes, &total) != cudaSuccess) {
    cudaGetLastError(); /* else the next check would find it */
    return;
  }
  host->memory_bytes = total;
  if (!host->memory_used_first)
    host->memory_used_first = total - free_bytes;
  if (total - free_bytes > host->memory_used_peak)
    host->memory_used_peak = total - free_bytes;
}

void *ffb_cuda_take(struct ffb_device *device, size_t bytes, const char *what) {
  void *memory = NULL;
  size_t free_bytes = 0, total = 0;
  if (device->host->capturing) {
    ffb_cuda_fail(device, "%zu more bytes for %s while a program is captured", bytes, what);
    return NULL;
  }
  cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaSuccess) {
    ffb_cuda_look_at_memory(device);
    return memory;
  }
  cudaGetLastError(); /* else the next check would find it */
  if (status == cudaErrorMemoryAllocation && cudaMemGetInfo(&free_bytes, &total) == cudaSuccess)
    ffb_cuda_fail(device,
                  "no room for %.1f MiB of %s: %.1f of %.1f MiB are free: lower --batch, or stop other programs",
                  (double)bytes / mebibyte, what, (double)free_bytes / mebibyte, (double)total / mebibyte);
  else
    ffb_cuda_check(device, status, what);
  return NULL;
}

/* ---- scratch ---------------------------------------------------------------------------------------------------- */

/* The old block stays until the end: captured programs know its address. */
static bool grow_scratch(struct ffb_device *device, size_t bytes) {
  struct ffb_cuda_host *host = device->host;
  size_t wanted = 2 * device->scratch_bytes > bytes ? 2 * device->scratch_bytes : bytes;
  if (host->retired_count == FFB_CUDA_RETIRED)
    return ffb_cuda_fail(device, "scratch memory grew %d times: lower --batch", FFB_CUDA_RETIRED);
  void *grown = ffb_cuda_take(device, wanted, "scratch");
  if (!grown)
    return false;
  host->retired[host->retired_count++] = device->scratch;
  device->scratch = grown;
  device->scratch_bytes = wanted;
  return true;
}

void *ffb_cuda_scratch(struct ffb_device *device, const struct ffb_tensor *workspace, size_t bytes) {
  if (workspace && (size_t)ffb_elements(workspace) * ffb_type_bytes(workspace->type) >= bytes && bytes)
    return workspace->data;
  return ffb_cuda_reserve(device, bytes) ? device->scratch : NULL;
}

bool ffb_cuda_reserve(struct ffb_device *device, size_t bytes) {
  return bytes <= device->scratch_bytes || grow_scratch(device, bytes);
}

bool ffb_cuda_memory_open(struct ffb_device *device) {
  struct ffb_cuda_host *host = device->host;
  device->scratch = ffb_cuda_take(device, FFB_CUDA_SCRATCH_BYTES, "scratch");
  if (!device->scratch)
    return false;
  device->scratch_bytes = FFB_CUDA_SCRATCH_BYTES;
  for (int i = 0; i < FFB_CUDA_STAGES; i++) {
    struct ffb_cuda_stage *stage = &host->stages[i];
    if (!ffb_cuda_check(device, cudaMallocHost(&stage->memory, FFB_CUDA_STAGE_BYTES), "pinned memory") ||
        !ffb_cuda_check(device, cudaEventCreateWithFlags(&stage->free, cudaEventDisableTiming), "an event"))
      return false;
  }
  return true;
}

void ffb_cuda_memory_close(struct ffb_device *device) {
  struct ffb_cuda_host *host = device->host;
  for (int i = 0; i < FFB_CUDA_STAGES; i++) {
    if (host->stages[i].free)
      cudaEventDestroy(host->stages[i].free);
    if (host->stages[i].memory)
      cudaFreeHost(host->stages[i].memory);
  }
  for (int i = 0; i < host->retired_count; i++)
    cudaFree(host->retired[i]);
  cudaFree(device->scratch);
}

/* ---- the arena -------------------------------------------------------------------------------------------------- */

void *ffb_cuda_allocate(struct ffb_device *device, size_t bytes) {
  void *memory = ffb_cuda_take(device, bytes, "the arena");
  if (!memory)
    return NULL;
  if (ffb_cuda_check(device, cudaMemsetAsync(memory, 0, bytes, device->stream), "clearing the arena"))
    return memory;
  cudaFree(memory);
  return NULL;
}

void ffb_cuda_release(struct ffb_device *device, void *memory) {
  if (!memory)
    return;
  cudaStreamSynchronize(device->stream);
  cudaFree(memory);
}

/* ---- transfers -------------------------------------------------------------------------------------------------- */

static bool write_piece(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  struct ffb_cuda_host *host = device->host;
  struct ffb_cuda_stage *stage = &host->stages[host->next_stage];
  host->next_stage = (host->next_stage + 1) % FFB_CUDA_STAGES;
  if (stage->used && !ffb_cuda_check(device, cudaEventSynchronize(stage->free), "waiting for pinned memory"))
    return false;
  memcpy(stage->memory, from, bytes);
  stage->used = true;
  return ffb_cuda_check(device, cudaMemcpyAsync(to, stage->memory, bytes, cudaMemcpyHostToDevice, device->stream),
                        "copying to the device") &&
         ffb_cuda_check(device, cudaEventRecord(stage->free, device->stream), "recording an event");
}

/* Returns before the copy is done, unless all pinned memory is on its way. */
bool ffb_cuda_write(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  bool announced;
  if (!ffb_cuda_write_announced(device, to, from, bytes, &announced))
    return false;
  if (announced)
    return true;
  for (size_t done = 0; done < bytes;) {
    size_t piece = bytes - done < FFB_CUDA_STAGE_BYTES ? bytes - done : FFB_CUDA_STAGE_BYTES;
    if (!write_piece(device, (char *)to + done, (const char *)from + done, piece))
      return false;
    done += piece;
  }
  return true;
}

bool ffb_cuda_read(struct ffb_device *device, void *to, const void *from, size_t bytes) {
  return !bytes || (ffb_cuda_check(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, device->stream),
                                   "copying from the device") &&
                    ffb_cuda_synchronise(device));
}

bool ffb_cuda_synchronise(struct ffb_device *device) {
  return ffb_cuda_check(device, cudaStreamSynchronize(device->stream), "waiting for the device");
}
