#include "backends/reference/reference.h"
#include "backends/host.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

struct ffb_device {
  struct ffb_executed executed;
};

static bool reference_open(struct ffb_device **device, const struct ffb_device_request *request, char *message,
                           size_t size) {
  struct ffb_error error = {0};
  *device = NULL;
  if (request->tf32) {
    snprintf(message, size, "backend reference: it has no TF32: leave out --tf32");
    return false;
  }
  *device = ffb_allocate(1, sizeof **device, &error);
  if (!*device) {
    snprintf(message, size, "backend reference: %s", error.message);
    return false;
  }
  return true;
}

static void reference_close(struct ffb_device *device) {
  ffb_free(device);
}

static void reference_describe(struct ffb_device *device, ffb_describe_function *say, void *to) {
  (void)device;
  say(to, "threads", "1");
  say(to, "fp32_kernel", "plain C, sums in FP64");
  say(to, "int8_kernel", "plain C, sums in INT32");
}

static void *reference_allocate(struct ffb_device *device, size_t bytes) {
  (void)device;
  return ffb_host_allocate(bytes, 64);
}

static const char *reference_failure(struct ffb_device *device) {
  (void)device;
  return "";
}

void ffb_reference_executed(const struct ffb_device *device, struct ffb_executed *executed) {
  *executed = device->executed;
}

#define FFB_ON_DEVICE(name)                                                                                            \
  static bool counted_##name(struct ffb_device *device, const union ffb_arguments *arguments) {                        \
    return ffb_counted_##name(&device->executed, arguments);                                                           \
  }
FFB_REFERENCE_COUNTED(FFB_ON_DEVICE)

/* The table's entry is FFB_OWN_<name>'s second part where that is defined, else ffb_reference_<name>. */
#define FFB_OWN_gemm_f32            ~, counted_gemm_f32
#define FFB_OWN_gemm_s8             ~, counted_gemm_s8
#define FFB_OWN_suq_scale           ~, counted_suq_scale
#define FFB_OWN_suq_quantise        ~, counted_suq_quantise
#define FFB_OWN_suq_segments        ~, counted_suq_segments
#define FFB_OWN_clip_search         ~, counted_clip_search
#define FFB_OWN_segment_search      ~, counted_segment_search
#define FFB_OWN_convolve_f32        ~, counted_convolve_f32
#define FFB_OWN_convolve_s8         ~, counted_convolve_s8
#define FFB_OWN_convolve_input_f32  ~, counted_convolve_input_f32
#define FFB_OWN_convolve_input_s8   ~, counted_convolve_input_s8
#define FFB_OWN_convolve_weight_f32 ~, counted_convolve_weight_f32
#define FFB_OWN_convolve_weight_s8  ~, counted_convolve_weight_s8

#define FFB_SECOND(first, second, ...) second
#define FFB_CHOOSE(...)                FFB_SECOND(__VA_ARGS__)

#define FFB_ENTRY_0(NAME, name) [FFB_##NAME] = FFB_CHOOSE(FFB_OWN_##name, ffb_reference_##name, ~),
#define FFB_ENTRY_1(NAME, name)
#define FFB_ENTRY(NAME, name, optional) FFB_ENTRY_##optional(NAME, name)

const struct ffb_backend ffb_backend_reference = {
    .magic = FFB_BACKEND_MAGIC,
    .version = FFB_BACKEND_VERSION,
    .size = sizeof(struct ffb_backend),
    .name = "reference",
    .description = "plain C on one thread: slow, portable, what the other backends are checked against",
    .open = reference_open,
    .close = reference_close,
    .describe = reference_describe,
    .allocate = reference_allocate,
    .release = ffb_host_release,
    .write = ffb_host_transfer,
    .read = ffb_host_transfer,
    .synchronise = ffb_host_synchronise,
    .failure = reference_failure,
    .operators = {FFB_OPERATORS(FFB_ENTRY)},
};
