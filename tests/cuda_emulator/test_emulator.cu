/* That the emulator runs kernels as a GPU would, and that what it is to show, it shows. */
#include "backends/cuda/launch.h"

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}

namespace {

enum { THREADS = 96, BLOCKS = 5, LAUNCHES = 6, ALL = THREADS * BLOCKS };

struct ffb_device device = {};

/* Every thread takes what its mirror image left. */
template <bool WAITS> __global__ void mirror(int *out) {
  __shared__ int kept[THREADS];
  kept[threadIdx.x] = (int)(blockIdx.x * THREADS + threadIdx.x);
  if (WAITS)
    __syncthreads();
  else
    __syncwarp();
  out[blockIdx.x * THREADS + threadIdx.x] = kept[THREADS - 1 - threadIdx.x];
}

template <bool WAITS> int wrong_mirrors() {
  static int out[ALL];
  int wrong = 0;
  assert_true(FFB_LAUNCH(&device, BLOCKS, THREADS, mirror<WAITS>, out));
  for (int i = 0; i < ALL; i++)
    wrong += out[i] != i / THREADS * THREADS + THREADS - 1 - i % THREADS;
  return wrong;
}

void barriers_hold_threads_together(void **) {
  for (int launch = 0; launch < LAUNCHES; launch++)
    assert_int_equal(wrong_mirrors<true>(), 0);
}

void a_missing_barrier_shows(void **) {
  int wrong = 0;
  for (int launch = 0; launch < LAUNCHES; launch++)
    wrong += wrong_mirrors<false>() > 0;
  assert_int_equal(wrong, LAUNCHES);
}

__global__ void number_threads(unsigned *count, unsigned *turn, dim3 *at) {
  unsigned mine = atomicAdd(count, 1u), number = blockIdx.y * gridDim.x + blockIdx.x;
  number = number * blockDim.x * blockDim.y + threadIdx.y * blockDim.x + threadIdx.x;
  turn[number] = mine;
  at[number] = dim3(threadIdx.x, blockIdx.x, blockIdx.y);
}

/* Each index comes once, in an order that changes from one launch to the next. */
void every_thread_runs_once_in_changing_orders(void **) {
  enum { X = 8, Y = 4, GX = 3, GY = 5, COUNT = X * Y * GX * GY };
  static unsigned turn[LAUNCHES][COUNT];
  static dim3 at[COUNT];
  int same = 0;
  for (int launch = 0; launch < LAUNCHES; launch++) {
    unsigned count = 0, *turns = turn[launch];
    bool seen[COUNT] = {};
    assert_true(FFB_LAUNCH(&device, dim3(GX, GY), dim3(X, Y), number_threads, &count, turns, static_cast<dim3 *>(at)));
    assert_int_equal(count, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
      assert_false(seen[turns[i]]);
      seen[turns[i]] = true;
      assert_int_equal(at[i].x, i % X);
      assert_int_equal(at[i].y, i / (X * Y) % GX);
      assert_int_equal(at[i].z, i / (X * Y) / GX);
    }
    for (int earlier = 0; earlier < launch; earlier++)
      same += memcmp(turn[earlier], turns, sizeof turn[0]) == 0;
  }
  assert_true(same < LAUNCHES);
}

__global__ void shuffle(float *down, double *across, int *from) {
  float mine = (float)threadIdx.x;
  down[threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, mine, 3u, 16);
  across[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, (double)mine, 5u);
  from[threadIdx.x] = __shfl_sync(0xFFFFFFFFu, (int)threadIdx.x, 7);
}

void shuffles_stay_in_their_width_and_warp(void **) {
  static float down[THREADS];
  static double across[THREADS];
  static int from[THREADS];
  for (int launch = 0; launch < LAUNCHES; launch++) {
    assert_true(FFB_LAUNCH(&device, 1, THREADS, shuffle, static_cast<float *>(down), static_cast<double *>(across),
                           static_cast<int *>(from)));
    for (int i = 0; i < THREADS; i++) {
      assert_true(down[i] == (float)(i % 16 + 3 < 16 ? i + 3 : i));
      assert_true(across[i] == (double)(i / 32 * 32 + (i % 32 ^ 5)));
      assert_int_equal(from[i], i / 32 * 32 + 7);
    }
  }
}

__global__ void look_at_shared(unsigned *found) {
  __shared__ unsigned kept;
  if (threadIdx.x == 0) {
    found[blockIdx.x] = kept;
    kept = 0;
  }
  __syncthreads();
}

void shared_memory_starts_as_garbage(void **) {
  unsigned found[BLOCKS] = {};
  assert_true(FFB_LAUNCH(&device, BLOCKS, THREADS, look_at_shared, static_cast<unsigned *>(found)));
  for (unsigned value : found)
    assert_int_equal(value, 0xFFFFFFFFu);
}

__global__ void half_of_them_wait(int *out) {
  if (threadIdx.x < THREADS / 2)
    __syncthreads();
  *out = 1;
}

void a_barrier_that_some_miss_ends_the_program(void **) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int out = 0;
    if (!freopen("/dev/null", "w", stderr))
      _exit(2);
    signal(SIGABRT, SIG_DFL);
    FFB_LAUNCH(&device, 1, THREADS, half_of_them_wait, &out);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

} // namespace

int main() {
  const struct CMUnitTest cases[] = {
      cmocka_unit_test(barriers_hold_threads_together),
      cmocka_unit_test(a_missing_barrier_shows),
      cmocka_unit_test(every_thread_runs_once_in_changing_orders),
      cmocka_unit_test(shuffles_stay_in_their_width_and_warp),
      cmocka_unit_test(shared_memory_starts_as_garbage),
      cmocka_unit_test(a_barrier_that_some_miss_ends_the_program),
  };
  return cmocka_run_group_tests(cases, nullptr, nullptr);
}
