/* The reference backend: every required operator of backend.h in plain C on one thread, written to be obviously right.
 * It fills no optional slot, so it also runs every fused form as its composition.
 *
 * The operators ignore their device argument (null will do) and keep no state: another backend may put them into its
 * own table where speed does not matter. Compile with -ffp-contract=off, or the bits differ. */
#ifndef FFBENCH_BACKENDS_REFERENCE_REFERENCE_H
#define FFBENCH_BACKENDS_REFERENCE_REFERENCE_H

#include "backends/backend.h"
#include "backends/reference/executed.h"

/* bool ffb_reference_<name>(device, arguments) for every required operator; none of them can fail. */
#define FFB_REFERENCE_DECLARE_0(name)                                                                                  \
  bool ffb_reference_##name(struct ffb_device *device, const union ffb_arguments *arguments);
#define FFB_REFERENCE_DECLARE_1(name)
#define FFB_REFERENCE_DECLARE(NAME, name, optional) FFB_REFERENCE_DECLARE_##optional(name)
FFB_OPERATORS(FFB_REFERENCE_DECLARE)
#undef FFB_REFERENCE_DECLARE
#undef FFB_REFERENCE_DECLARE_0
#undef FFB_REFERENCE_DECLARE_1

/* Those among them that multiply, round or search count what they execute, one increment for each pass through an inner
 * loop: bool ffb_counted_<name>(executed, arguments). The backend's own table adds to its device. */
#define FFB_REFERENCE_COUNTED(X)                                                                                       \
  X(gemm_f32)                                                                                                          \
  X(gemm_s8)                                                                                                           \
  X(suq_scale)                                                                                                         \
  X(suq_quantise)                                                                                                      \
  X(suq_segments)                                                                                                      \
  X(clip_search)                                                                                                       \
  X(segment_search)                                                                                                    \
  X(convolve_f32)                                                                                                      \
  X(convolve_s8)                                                                                                       \
  X(convolve_input_f32)                                                                                                \
  X(convolve_input_s8)                                                                                                 \
  X(convolve_weight_f32)                                                                                               \
  X(convolve_weight_s8)
#define FFB_COUNTED_DECLARE(name)                                                                                      \
  bool ffb_counted_##name(struct ffb_executed *executed, const union ffb_arguments *arguments);
FFB_REFERENCE_COUNTED(FFB_COUNTED_DECLARE)
#undef FFB_COUNTED_DECLARE

/* What a device of this backend has executed since it was opened. */
void ffb_reference_executed(const struct ffb_device *device, struct ffb_executed *executed);

/* What the direction deviation d = 1 - cos(x, q) is made of. */
struct ffb_deviation_sums {
  double xx, xq, qq;
};

/* The passes of CLIP_SEARCH over x[0 .. n-1]; sums in the order that backend.h gives for it. A backend that has threads
 * brings its own. */
struct ffb_clip_passes {
  /* Of x and q = clamp(nearest(x * inverse), -127, 127). */
  void (*sums)(struct ffb_device *device, const float *x, int64_t n, float inverse, struct ffb_deviation_sums *sums);
  /* Largest absolute value; infinite where any element is not finite. */
  float (*largest)(struct ffb_device *device, const float *x, int64_t n);
  void (*moments)(struct ffb_device *device, const float *x, int64_t n, double *sum, double *squares);
  /* How many |x| are larger. */
  int64_t (*beyond)(struct ffb_device *device, const float *x, int64_t n, double limit);
};
void ffb_reference_clip_search_by(struct ffb_device *device, const struct ffb_clip_search *search,
                                  const struct ffb_clip_passes *passes);

#endif
