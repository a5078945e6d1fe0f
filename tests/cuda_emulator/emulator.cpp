/* See cuda_runtime.h here. */
#undef _FORTIFY_SOURCE
#include "cuda_runtime.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ucontext.h>

dim3 threadIdx, blockIdx, blockDim, gridDim;
bool (*ffb_emulated_recorder)(const ffb_emulated_launch &launch, const void *of, size_t bytes);

/* Bounds of the section that holds every kernel's shared memory. */
extern "C" char __start_ffb_shared[], __stop_ffb_shared[];

namespace {

enum { MOST_THREADS = 1024, WARP = 32, STACK_BYTES = 128 * 1024, GARBAGE = 0xFF };
enum state { READY, AT_BARRIER, AT_WARP, DONE };

struct fiber {
  ucontext_t context;
  jmp_buf resume;
  std::unique_ptr<char[]> stack;
  dim3 index;
  unsigned mask; /* of the lanes that it waits for */
  state at;
  bool started;
  alignas(8) char slot[8];
};

struct launch {
  const char *name;
  void (*body)(const void *of);
  const void *of;
};

fiber fibers[MOST_THREADS];
ucontext_t scheduler;
jmp_buf scheduled;
launch running;
unsigned count, current, launches;
bool as_fibers, waited;

[[noreturn]] void stop(const char *why) {
  fprintf(stderr, "%s, block (%u, %u), thread (%u, %u): %s\n", running.name, blockIdx.x, blockIdx.y, threadIdx.x,
          threadIdx.y, why);
  abort();
}

/* A fiber lives on after its thread: it then runs the same thread of the next block. */
void fiber_main() {
  for (;;) {
    running.body(running.of);
    fiber *self = &fibers[current];
    self->at = DONE;
    if (!_setjmp(self->resume))
      _longjmp(scheduled, 1);
  }
}

void wait(state at, unsigned mask) {
  if (!as_fibers)
    stop("waits for others, which this kernel's first block did not");
  waited = true;
  fiber *self = &fibers[current];
  self->at = at;
  self->mask = mask;
  if (!_setjmp(self->resume))
    _longjmp(scheduled, 1);
}

void run_fiber(unsigned number) {
  fiber *next = &fibers[number];
  current = number;
  threadIdx = next->index;
  if (_setjmp(scheduled))
    return;
  if (next->started)
    _longjmp(next->resume, 1);
  next->started = true;
  next->stack.reset(new char[STACK_BYTES]);
  getcontext(&next->context);
  next->context.uc_stack.ss_sp = next->stack.get();
  next->context.uc_stack.ss_size = STACK_BYTES;
  next->context.uc_link = nullptr;
  makecontext(&next->context, fiber_main, 0);
  swapcontext(&scheduler, &next->context);
}

/* The order of this launch: forwards, backwards, or in strides that visit everything once. */
unsigned in_order(unsigned turn, unsigned of) {
  static const unsigned strides[] = {7, 13, 29, 31};
  if (launches % 3 == 0)
    return turn;
  unsigned stride = strides[launches % 4];
  if (launches % 3 == 1 || of % stride == 0)
    return of - 1 - turn;
  return (unsigned)((uint64_t)turn * stride % of);
}

/* Lets the threads of a warp go on that wait for none but each other. */
bool release_warp(unsigned first) {
  bool released = false;
  for (unsigned lane = 0; lane < WARP && first + lane < count; lane++) {
    if (fibers[first + lane].at != AT_WARP)
      continue;
    unsigned mask = fibers[first + lane].mask;
    if (count - first < WARP)
      mask &= (1u << (count - first)) - 1;
    bool all = true;
    for (unsigned other = 0; other < WARP; other++)
      all = all && (!(mask >> other & 1) || fibers[first + other].at == AT_WARP);
    for (unsigned other = 0; all && other < WARP; other++) {
      if (mask >> other & 1)
        fibers[first + other].at = READY;
    }
    released = released || all;
  }
  return released;
}

unsigned count_in(state at) {
  unsigned found = 0;
  for (unsigned i = 0; i < count; i++)
    found += fibers[i].at == at;
  return found;
}

/* As far as a warp gets without the others. */
void run_warp(unsigned first) {
  unsigned lanes = count - first < WARP ? count - first : (unsigned)WARP;
  do {
    for (unsigned turn = 0; turn < lanes; turn++) {
      unsigned next = first + in_order(turn, lanes);
      if (fibers[next].at == READY)
        run_fiber(next);
    }
  } while (release_warp(first));
}

void open_barrier() {
  if (count_in(AT_BARRIER) != count)
    stop("not every thread reaches a barrier");
  for (unsigned i = 0; i < count; i++)
    fibers[i].at = READY;
}

dim3 index_of(unsigned number) {
  return dim3(number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y);
}

void run_block_of_fibers() {
  memset(__start_ffb_shared, GARBAGE, (size_t)(__stop_ffb_shared - __start_ffb_shared));
  for (unsigned i = 0; i < count; i++) {
    fibers[i].at = READY;
    fibers[i].index = index_of(i);
  }
  while (count_in(DONE) < count) {
    unsigned warps = (count + WARP - 1) / WARP;
    for (unsigned turn = 0; turn < warps; turn++)
      run_warp(in_order(turn, warps) * WARP);
    if (count_in(DONE) < count)
      open_barrier();
  }
}

void run_plain_block() {
  for (unsigned turn = 0; turn < count; turn++) {
    threadIdx = index_of(in_order(turn, count));
    running.body(running.of);
  }
}

} // namespace

void __syncthreads() {
  wait(AT_BARRIER, 0);
}

void __syncwarp(unsigned mask) {
  wait(AT_WARP, mask);
}

void *ffb_emulated_slot() {
  return fibers[current].slot;
}

unsigned ffb_emulated_lane() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % WARP;
}

const void *ffb_emulated_slot_of(unsigned lane) {
  unsigned number = current / WARP * WARP + lane;
  if (!as_fibers || number >= count)
    stop("reads from a thread that is not there");
  return fibers[number].slot;
}

void ffb_emulated_run(const char *name, dim3 blocks, dim3 threads, void (*body)(const void *of), const void *of) {
  running = {name, body, of};
  gridDim = blocks;
  blockDim = threads;
  count = threads.x * threads.y * threads.z;
  waited = false;
  if (!count || count > MOST_THREADS || !blocks.x || blocks.y > 65535 || blocks.z > 65535)
    stop("no device could launch this");
  uint64_t all = (uint64_t)blocks.x * blocks.y * blocks.z;
  if (all > UINT32_MAX)
    stop("too many blocks for an emulator");
  for (uint64_t turn = 0; turn < all; turn++) {
    uint64_t at = in_order((unsigned)turn, (unsigned)all);
    blockIdx =
        dim3((unsigned)(at % blocks.x), (unsigned)(at / blocks.x % blocks.y), (unsigned)(at / blocks.x / blocks.y));
    as_fibers = turn == 0 || waited;
    if (as_fibers)
      run_block_of_fibers();
    else
      run_plain_block();
  }
  launches++;
}
