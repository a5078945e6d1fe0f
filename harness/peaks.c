#include "harness/peaks.h"

#include "backends/cpu/bandwidth.h"
#include "backends/cpu/peak.h"

struct peaks peaks_measure(const struct ffb_backend *backend, int threads) {
  if (backend != &ffb_backend_cpu)
    return (struct peaks){0};
  return (struct peaks){
      .f32 = ffb_cpu_peak_f32(threads), .s8 = ffb_cpu_peak_s8(threads), .bytes = ffb_cpu_bandwidth(threads)};
}

static json_t *known(double value) {
  return value > 0 ? json_real(value) : json_null();
}

json_t *peaks_json(const struct peaks *peaks) {
  if (peaks->f32 <= 0)
    return json_null();
  return json_pack("{s:o, s:o, s:o}", "fp32_operations_per_second", known(peaks->f32), "int8_operations_per_second",
                   known(peaks->s8), "memory_bytes_per_second", known(peaks->bytes));
}
