/* Host bytes that will be written soon, on their way to the device while it computes: a second stream brings them from
 * pinned memory to a place of their own on the device, and writing them becomes a copy within the device. */
#include "backends/cuda/host.h"

#include <string.h>

bool ffb_cuda_ahead_open(struct ffb_device *device) {
  struct ffb_cuda_ahead *ahead = &device->host->ahead;
  return ffb_cuda_check(device, cudaStreamCreateWithFlags(&ahead->stream, cudaStreamNonBlocking), "making a stream") &&
         ffb_cuda_check(device, cudaEventCreateWithFlags(&ahead->arrived, cudaEventDisableTiming), "an event") &&
         ffb_cuda_check(device, cudaEventCreateWithFlags(&ahead->taken, cudaEventDisableTiming), "an event");
}

static void free_room(struct ffb_cuda_ahead *ahead) {
  if (ahead->pinned)
    cudaFreeHost(ahead->pinned);
  cudaFree(ahead->place);
  ahead->pinned = ahead->place = NULL;
  ahead->room = 0;
}

void ffb_cuda_ahead_close(struct ffb_device *device) {
  struct ffb_cuda_ahead *ahead = &device->host->ahead;
  if (ahead->stream)
    cudaStreamSynchronize(ahead->stream);
  free_room(ahead);
  if (ahead->taken)
    cudaEventDestroy(ahead->taken);
  if (ahead->arrived)
    cudaEventDestroy(ahead->arrived);
  if (ahead->stream)
    cudaStreamDestroy(ahead->stream);
}

/* For the largest announcement so far; nothing is taken once a whole batch has come by. */
static bool make_room(struct ffb_device *device, size_t bytes) {
  struct ffb_cuda_ahead *ahead = &device->host->ahead;
  if (bytes <= ahead->room)
    return true;
  if (!ffb_cuda_check(device, cudaStreamSynchronize(ahead->stream), "waiting for a batch on its way") ||
      !ffb_cuda_synchronise(device))
    return false;
  free_room(ahead);
  ahead->place = ffb_cuda_take(device, bytes, "the next batch");
  if (!ahead->place ||
      !ffb_cuda_check(device, cudaMallocHost((void **)&ahead->pinned, bytes), "pinned memory for the next batch"))
    return false;
  ahead->room = bytes;
  return true;
}

/* Gives the bytes of all of them, each from an aligned place on. */
static size_t lay_out(struct ffb_cuda_ahead *ahead, const struct ffb_host_bytes *pieces, size_t count) {
  const size_t unit = 256;
  size_t bytes = 0;
  ahead->count = count < FFB_MAX_ANNOUNCED ? count : FFB_MAX_ANNOUNCED;
  for (size_t i = 0; i < ahead->count; i++) {
    ahead->pieces[i] = pieces[i];
    ahead->offsets[i] = bytes;
    bytes += (pieces[i].bytes + unit - 1) / unit * unit;
  }
  return bytes;
}

/* Pinned memory is free once the copy before has arrived; its place on the device, once that was copied on. */
static bool send(struct ffb_device *device, size_t bytes) {
  struct ffb_cuda_ahead *ahead = &device->host->ahead;
  if (ahead->sent && !ffb_cuda_check(device, cudaEventSynchronize(ahead->arrived), "waiting for a batch on its way"))
    return false;
  for (size_t i = 0; i < ahead->count; i++)
    memcpy(ahead->pinned + ahead->offsets[i], ahead->pieces[i].from, ahead->pieces[i].bytes);
  ahead->sent = true;
  return (!ahead->written ||
          ffb_cuda_check(device, cudaStreamWaitEvent(ahead->stream, ahead->taken, 0), "ordering two streams")) &&
         ffb_cuda_check(device,
                        cudaMemcpyAsync(ahead->place, ahead->pinned, bytes, cudaMemcpyHostToDevice, ahead->stream),
                        "copying the next batch") &&
         ffb_cuda_check(device, cudaEventRecord(ahead->arrived, ahead->stream), "recording an event");
}

bool ffb_cuda_announce(struct ffb_device *device, const struct ffb_host_bytes *pieces, size_t count) {
  struct ffb_cuda_ahead *ahead = &device->host->ahead;
  size_t bytes = lay_out(ahead, pieces, count);
  ahead->announced += (int64_t)ahead->count;
  if (make_room(device, bytes) && send(device, bytes))
    return true;
  ahead->count = 0;
  return false;
}

/* What was announced is written once: afterwards the same address may hold something else. */
bool ffb_cuda_write_announced(struct ffb_device *device, void *to, const void *from, size_t bytes, bool *found) {
  struct ffb_cuda_ahead *ahead = &device->host->ahead;
  size_t i = 0;
  while (i < ahead->count && (ahead->pieces[i].from != from || ahead->pieces[i].bytes != bytes))
    i++;
  *found = i < ahead->count;
  if (!*found)
    return true;
  ahead->pieces[i].from = NULL;
  ahead->written++;
  return ffb_cuda_check(device, cudaStreamWaitEvent(device->stream, ahead->arrived, 0), "ordering two streams") &&
         ffb_cuda_check(
             device,
             cudaMemcpyAsync(to, ahead->place + ahead->offsets[i], bytes, cudaMemcpyDeviceToDevice, device->stream),
             "copying within the device") &&
         ffb_cuda_check(device, cudaEventRecord(ahead->taken, device->stream), "recording an event");
}
