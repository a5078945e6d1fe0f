/* Updates of weights from a gradient that lies in memory. */
#include "backends/cuda/update.cuh"

namespace {

template <class Rule> struct update {
  Rule rule;
  const float *gradient;
  template <int N, bool VECTOR> __device__ void run(int64_t i) const {
    float g[N], w[N];
    ffb_load<N, VECTOR>(g, gradient + i);
    rule.template step<N, VECTOR>(w, g, i);
  }
};

template <class Rule>
bool launch(struct ffb_device *device, const char *name, const Rule &rule, const struct ffb_tensor *gradient) {
  update<Rule> body = {rule, ffb_data<float>(gradient)};
  return ffb_for_each(device, name, ffb_elements(gradient), ffb_step_aligned(rule) && ffb_aligned({body.gradient}, 16),
                      body);
}

} // namespace

bool ffb_cuda_sgd_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_sgd_update *call = &arguments->sgd_update;
  return launch(device, "sgd_update", ffb_sgd_step_of(&call->rule), call->gradient);
}

bool ffb_cuda_adam_update(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_adam_update *call = &arguments->adam_update;
  return launch(device, "adam_update", ffb_adam_step_of(&call->rule), call->gradient);
}
