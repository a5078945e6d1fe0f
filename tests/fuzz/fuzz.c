#include "tests/fuzz/fuzz.h"

#include "backends/backend.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What cannot be allocated is an error like any other, as it is without a sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:detect_leaks=1";
}

_Noreturn void fuzz_stop(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  abort();
}

bool fuzz_said_why(bool ok, const struct ffb_error *error) {
  if (ok)
    return true;
  MUST(error->kind != FFB_ERROR_NONE && error->message[0]);
  for (const char *at = error->message; *at; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f) {
      fprintf(stderr, "message: %s\n", error->message);
      MUST(!"a control character in a message");
    }
  return false;
}

bool fuzz_says(const struct ffb_error *error, const char *words, const uint8_t *data, size_t size) {
  return strstr(error->message, words) && !memmem(data, size, words, strlen(words));
}

static void write_all(int descriptor, const void *data, size_t size) {
  for (const char *at = data; size > 0;) {
    ssize_t written = write(descriptor, at, size);
    MUST(written > 0);
    at += written;
    size -= (size_t)written;
  }
}

const char *fuzz_file(const void *data, size_t size) {
  static int descriptor = -1;
  static char path[64];
  if (descriptor < 0) {
    descriptor = memfd_create("input", MFD_CLOEXEC);
    MUST(descriptor >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  }
  MUST(ftruncate(descriptor, 0) == 0 && lseek(descriptor, 0, SEEK_SET) == 0);
  write_all(descriptor, data, size);
  return path;
}

static char folder[PATH_MAX];
static pid_t folder_owner;

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status, (void)kind, (void)place;
  return remove(path);
}

static void remove_folder(void) {
  if (getpid() == folder_owner)
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void) {
  if (!folder[0]) {
    bool in_memory = access("/dev/shm", W_OK) == 0;
    snprintf(folder, sizeof folder, "%s/ffbench-fuzz-XXXXXX", in_memory ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(folder));
    folder_owner = getpid();
    atexit(remove_folder);
  }
  return folder;
}

const char *fuzz_write(const char *name, const void *data, size_t size) {
  static char path[PATH_MAX + 256];
  snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
  int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  MUST(descriptor >= 0);
  write_all(descriptor, data, size);
  close(descriptor);
  return path;
}

uint8_t *fuzz_lengthen(const uint8_t *data, size_t size, size_t *length) {
  if (size < 2)
    return NULL;
  size_t zeros = (size_t)data[0] << 8 | data[1];
  *length = size - 2 + zeros;
  uint8_t *content = calloc(*length + 1, 1);
  MUST(content);
  memcpy(content, data + 2, size - 2);
  return content;
}

struct ffb_plan *fuzz_plan(void) {
  static struct ffb_plan *plan;
  static const struct {
    const char *name;
    enum ffb_tag tag;
    enum ffb_type type;
    int64_t shape[FFB_DIMENSIONS];
  } tensors[] = {{"conv.weight", FFB_TAG_WEIGHTS, FFB_F32, {2, 3, 3, 2}},
                 {"fc.weight", FFB_TAG_WEIGHTS, FFB_F32, {3, 5, 1, 1}},
                 {"fc.bias", FFB_TAG_WEIGHTS, FFB_F32, {3, 1, 1, 1}},
                 {"q.weight", FFB_TAG_WEIGHTS, FFB_S8, {2, 4, 1, 1}},
                 {"fc.momentum", FFB_TAG_OPTIMISER, FFB_F32, {3, 1, 1, 1}}};
  if (plan)
    return plan;
  struct ffb_device *device;
  struct ffb_error error;
  char message[256];
  struct ffb_device_request request = {.threads = 1};
  MUST(ffb_backend_reference.open(&device, &request, message, sizeof message));
  MUST(plan = ffb_plan_create(&ffb_backend_reference, device, &error));
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
    struct ffb_tensor *tensor =
        ffb_plan_persistent(plan, tensors[i].tag, tensors[i].type, tensors[i].name, tensors[i].shape, &error);
    MUST(tensor);
    tensor->dimensions = tensors[i].shape[2] > 1 ? FFB_DIMENSIONS : 0; /* kernels lie in another order in a file */
  }
  MUST(ffb_plan_finish(plan, &error));
  return plan;
}

void fuzz_plan_fill(uint8_t content[FUZZ_PLAN_BYTES]) {
  struct ffb_plan *plan = fuzz_plan();
  struct ffb_error error;
  size_t at = 0;
  memset(content, 'x', FUZZ_PLAN_BYTES);
  for (size_t i = 0; i < ffb_plan_persistent_count(plan); i++) {
    struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
    MUST(ffb_tensor_write(plan, tensor, content + at, &error));
    at += ffb_tensor_bytes(tensor);
  }
}

void fuzz_plan_read(uint8_t content[FUZZ_PLAN_BYTES]) {
  struct ffb_plan *plan = fuzz_plan();
  struct ffb_error error;
  size_t at = 0;
  for (size_t i = 0; i < ffb_plan_persistent_count(plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(plan, i);
    MUST(at + ffb_tensor_bytes(tensor) <= FUZZ_PLAN_BYTES && ffb_tensor_read(plan, tensor, content + at, &error));
    at += ffb_tensor_bytes(tensor);
  }
  MUST(at == FUZZ_PLAN_BYTES);
}
