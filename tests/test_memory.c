/* Memory of training steps, as planned: the forward-forward trainer's against backpropagation's, and backpropagation's
 * against what it cannot do without. */
#include "tests/trainer_cases.h"

#include "nn/plan.h"

enum { BATCH = 64 };

static void begin_rest(struct subject *s, const char *algorithm, const char *options, const char *model, int64_t batch,
                       int64_t rest) {
  subject_make(s, &(struct recipe){.algorithm = algorithm,
                                   .options = options,
                                   .model = model,
                                   .height = 32,
                                   .width = 32,
                                   .channels = 3,
                                   .batch = batch,
                                   .records = 2 * BATCH + rest,
                                   .backend = &ffb_backend_cpu,
                                   .threads = 2});
}

static void begin(struct subject *s, const char *algorithm, const char *options, const char *model, int64_t batch) {
  begin_rest(s, algorithm, options, model, batch, 0);
}

/* ---- forward-forward and backpropagation ------------------------------------------------------------------------ */

/* Bytes that grow with the batch, by record, where a training step's peak is. From BATCH on that is where activations
 * meet; with smaller batches it may be an update of the largest weights. */
static double bytes_by_record(const char *algorithm, const char *options, const char *model) {
  double peaks[2];
  for (int i = 0; i < 2; i++) {
    struct subject s;
    struct ffb_memory_peak peak;
    begin(&s, algorithm, options, model, BATCH << i);
    ffb_plan_peak_of(s.plan, "train", &peak);
    peaks[i] = (double)peak.peak;
    subject_end(&s);
  }
  return (peaks[1] - peaks[0]) / BATCH;
}

/* What training in batches of 32 records holds beside weights and optimiser state where its peak is; the last batch has
 * `rest` records. */
static double buffer_bytes(const char *algorithm, const char *options, const char *model, int64_t rest) {
  struct subject s;
  struct ffb_memory_peak peak;
  begin_rest(&s, algorithm, options, model, 32, rest);
  ffb_plan_peak_of(s.plan, "train", &peak);
  subject_end(&s);
  return (double)(peak.by_tag[FFB_TAG_ACTIVATIONS] + peak.by_tag[FFB_TAG_GRADIENTS] + peak.by_tag[FFB_TAG_QUANTISED] +
                  peak.by_tag[FFB_TAG_WORKSPACE]);
}

/* The last batch may fall to other kernels: CIFAR-10's 45,000 records leave 8; 23 images do not fill lanes. */
static void forward_forward_needs_smaller_buffers(void **state) {
  (void)state;
  static const struct {
    const char *options;
    double most; /* of BP-GDAI8's, whose gradients are never all alive */
  } modes[] = {{"preset=one_pass", 0.35}, {"lookahead=off", 0.6}, {"lookahead_memory=recompute", 0.6}};
  static const char *const models[] = {"resnet18", "mobilenet_v2", "efficientnet_b0"};
  static const int64_t rests[] = {8, 23};
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    double bp = buffer_bytes("bp_gdai8", "", models[i], 0);
    for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
      for (size_t r = 0; r < sizeof rests / sizeof *rests; r++) {
        double ratio = buffer_bytes("ff_int8", modes[k].options, models[i], rests[r]) / bp;
        print_message("# %s %s, %d left: %.3f of BP-GDAI8's %.2f MiB\n", models[i], modes[k].options, (int)rests[r],
                      ratio, bp / 0x1p20);
        if (!(ratio <= modes[k].most))
          fail_msg("%s %s, %d left: %.3f of BP-GDAI8's, want %.2f", models[i], modes[k].options, (int)rests[r], ratio,
                   modes[k].most);
      }
    }
  }
}

/* One pass keeps one block's activations of one sample for each record, the paired modes those of two samples. */
static void forward_forward_needs_less_than_backpropagation(void **state) {
  (void)state;
  static const struct {
    const char *model;
    double one_pass, off;
  } most[] = {{"resnet18", 0.35, 0.7}, {"mobilenet_v2", 0.35, 0.62}, {"efficientnet_b0", 0.35, 0.62}};
  for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
    double bp = bytes_by_record("bp_gdai8", "", most[i].model);
    double one_pass = bytes_by_record("ff_int8", "preset=one_pass", most[i].model);
    double off = bytes_by_record("ff_int8", "lookahead=off", most[i].model);
    double recompute = bytes_by_record("ff_int8", "lookahead_memory=recompute", most[i].model);
    if (!(one_pass <= most[i].one_pass * bp && off <= most[i].off * bp && recompute <= 1.01 * off))
      fail_msg("%s: bytes by record: %.0f, one pass %.0f, look-ahead off %.0f, recomputed %.0f", most[i].model, bp,
               one_pass, off, recompute);
  }
}

/* ---- backpropagation and its lower bound ------------------------------------------------------------------------ */

/* Whether a ReLU reads the node, an addition's output: then its backward pass needs to know where that was positive. */
static bool is_rectified(const struct ffb_network *network, int node) {
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    if (layer->kind == FFB_LAYER_ACTIVATION && layer->inputs[0] == node)
      return layer->activation == FFB_ACTIVATION_RELU || layer->activation == FFB_ACTIVATION_RELU6;
  }
  return false;
}

static bool is_multiplied(const struct ffb_network *network, int node) {
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    if ((layer->kind == FFB_LAYER_CONVOLUTION || layer->kind == FFB_LAYER_LINEAR) && layer->inputs[0] == node)
      return true;
  }
  return false;
}

/* What the backward pass of INT8 backpropagation needs of the forward pass, all of it alive where they meet:
 *  - every convolution's output in FP32: the gradient of the batch normalisation behind it is made from that;
 *  - one INT8 copy of every node that a convolution or a linear layer reads: weight gradients are made from it;
 *  - a bit for each element of a rectified addition;
 *  - mean and inverse deviation of every batch normalisation.
 * A max pool's choice can be found again from the convolution's output. Beside it lies what stays from step to step,
 * which is not asked of the plan either: each parameter and its momentum, and running mean and variance. */
static double lower_bound(const struct ffb_network *network, int64_t parameters, int64_t records) {
  double bytes = 2 * 4 * (double)parameters;
  for (int node = 0; node < network->node_count; node++)
    bytes += is_multiplied(network, node) ? (double)(records * ffb_network_features(network, node)) : 0;
  for (int i = 0; i < network->layer_count; i++) {
    const struct ffb_layer *layer = &network->layers[i];
    double elements = (double)(records * ffb_network_features(network, layer->output));
    if (layer->kind == FFB_LAYER_CONVOLUTION)
      bytes += 4 * elements;
    else if (layer->kind == FFB_LAYER_ADD && is_rectified(network, layer->output))
      bytes += elements / 8;
    else if (layer->kind == FFB_LAYER_BATCH_NORM)
      bytes += 4 * 4 * (double)network->nodes[layer->output][2];
  }
  return bytes;
}

static void backpropagation_needs_little_more_than_it_must(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int64_t parameters;
  } networks[] = {{"resnet18", 11181642}, {"mobilenet_v2", 2236682}, {"efficientnet_b0", 3383818}};
  const int64_t batch = 32;
  for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
    struct subject s;
    struct ffb_memory_peak peak;
    begin(&s, "bp_gdai8", "", networks[i].name, batch);
    ffb_plan_peak_of(s.plan, "train", &peak);
    double least = lower_bound(&s.network, networks[i].parameters, batch);
    print_message("# %s: peak %.2f MiB, lower bound %.2f MiB, ratio %.4f\n", networks[i].name,
                  (double)peak.peak / 0x1p20, least / 0x1p20, (double)peak.peak / least);
    if (!((double)peak.peak >= least && (double)peak.peak <= 1.1 * least))
      fail_msg("%s: %zu bytes, at least %.0f", networks[i].name, peak.peak, least);
    subject_end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(forward_forward_needs_less_than_backpropagation),
      cmocka_unit_test(forward_forward_needs_smaller_buffers),
      cmocka_unit_test(backpropagation_needs_little_more_than_it_must),
  };
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
