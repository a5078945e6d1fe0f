/* Launches of the emulator as nodes of the made-up runtime's graphs. */
#include "tests/cuda_emulator/cuda_runtime.h"

#include <cstdlib>
#include <cstring>

extern "C" bool fake_cuda_record(void (*run)(const void *node), const void *node, size_t bytes);

namespace {

/* What a kernel is called with follows behind. */
struct alignas(16) node {
  ffb_emulated_launch launch;
};

void run(const void *of) {
  const node *recorded = static_cast<const node *>(of);
  const ffb_emulated_launch &launch = recorded->launch;
  ffb_emulated_run(launch.name, launch.blocks, launch.threads, launch.body, recorded + 1);
}

bool record(const ffb_emulated_launch &launch, const void *of, size_t bytes) {
  char *space = static_cast<char *>(malloc(sizeof(node) + bytes));
  node head = {launch};
  memcpy(space, &head, sizeof head);
  memcpy(space + sizeof head, of, bytes);
  bool taken = fake_cuda_record(run, space, sizeof head + bytes);
  free(space);
  return taken;
}

struct installation {
  installation() {
    ffb_emulated_recorder = record;
  }
} installed;

} // namespace
