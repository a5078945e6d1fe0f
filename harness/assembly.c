#include "harness/assembly.h"

#include "base/memory.h"
#include "harness/data.h"
#include "harness/gradients.h"
#include "nn/safetensors.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

int assembly_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return CPU_COUNT(&set);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int)online : 1;
}

static bool build_network(struct assembly *assembly, struct ffb_error *error) {
  const struct ffb_dataset *train = &assembly->data->train;
  const struct parts *parts = &assembly->parts;
  int64_t extra = parts->trainer->extra_channels ? parts->trainer->extra_channels(parts->trainer_options) : 0;
  struct ffb_model_input input = {
      .height = train->height, .width = train->width, .channels = train->channels + extra, .classes = train->classes};
  if (extra < 0 || input.channels > FFB_MAX_CHANNELS)
    return ffb_fail(error, "the trainer %s adds %lld channels to the %lld of the images: at most %d fit together",
                    parts->trainer->name, (long long)extra, (long long)train->channels, FFB_MAX_CHANNELS);
  return parts->model->build(&assembly->network, &input, parts->model_options, error);
}

static bool open_device(struct assembly *assembly, const struct run_config *config, struct ffb_error *error) {
  const struct ffb_backend *backend = assembly->parts.backend;
  char message[512] = "";
  assembly->threads = config->threads ? (int)config->threads : assembly_processors();
  struct ffb_device_request request = {.threads = assembly->threads, .tf32 = config->tf32};
  return backend->open(&assembly->device, &request, message, sizeof message) ||
         ffb_fail(error, "the backend %s cannot be used here: %s: choose another with --backend", backend->name,
                  message);
}

static void set_up(struct assembly *assembly, const struct run_config *config) {
  struct ffb_trainer_setup *setup = &assembly->setup;
  *setup = (struct ffb_trainer_setup){.network = &assembly->network,
                                      .backend = assembly->parts.backend,
                                      .device = assembly->device,
                                      .options = assembly->parts.trainer_options,
                                      .batch = config->batch,
                                      .train_records = assembly->loader.split.train_count,
                                      .epochs = config->epochs,
                                      .seed = (uint64_t)config->seed};
  for (int channel = 0; channel < FFB_MAX_CHANNELS; channel++)
    setup->deviation[channel] = 1.0f;
  if (config->standardise)
    loader_standard(&assembly->loader, setup->mean, setup->deviation);
}

static bool make_trainer(struct assembly *assembly, struct ffb_error *error) {
  const struct ffb_trainer *trainer = assembly->parts.trainer;
  if (trainer->validate && !trainer->validate(&assembly->setup, error))
    return false;
  if (!trainer->create(&assembly->state, &assembly->setup, error))
    return false;
  assembly->plan = trainer->plan(assembly->state);
  return assembly->plan ||
         ffb_fail(error, "the trainer %s has no memory plan: let its plan hook return it", trainer->name);
}

static bool can_load_weights(const struct assembly *assembly, const struct run_config *config,
                             struct ffb_error *error) {
  const struct ffb_trainer *trainer = assembly->parts.trainer;
  return !config->load_weights || trainer->weights_loaded || !(trainer->flags & FFB_TRAINER_INT8) ||
         ffb_fail_usage(error,
                        "%s cannot start from a weight file (it has no hook weights_loaded): leave "
                        "--load-weights out",
                        trainer->name);
}

static bool load_weights(struct assembly *assembly, const struct run_config *config, struct ffb_error *error) {
  const struct ffb_trainer *trainer = assembly->parts.trainer;
  return !config->load_weights || (ffb_weights_load(config->load_weights, assembly->plan, error) &&
                                   (!trainer->weights_loaded || trainer->weights_loaded(assembly->state, error)) &&
                                   ffb_plan_synchronise(assembly->plan, error));
}

bool assembly_make(struct assembly *assembly, const struct run_config *config, struct ffb_error *error) {
  *assembly = (struct assembly){0};
  bool ok = parts_find(&assembly->parts, config, error) && can_load_weights(assembly, config, error) &&
            (assembly->data = data_get(config, error)) &&
            loader_open(&assembly->loader, assembly->data, config->batch, (uint64_t)config->seed, config->train_limit,
                        config->eval_limit, error) &&
            build_network(assembly, error) && open_device(assembly, config, error);
  if (ok) {
    loader_augment(&assembly->loader, config->crop_padding, config->flip);
    set_up(assembly, config);
    ok = gradients_choose(assembly, config, error) && make_trainer(assembly, error) &&
         load_weights(assembly, config, error);
  }
  if (!ok)
    assembly_free(assembly);
  return ok;
}

void assembly_free(struct assembly *assembly) {
  if (assembly->state)
    assembly->parts.trainer->destroy(assembly->state);
  if (assembly->device)
    assembly->parts.backend->close(assembly->device);
  ffb_free(assembly->gradient_layers);
  ffb_network_destroy(&assembly->network);
  loader_close(&assembly->loader);
  parts_release(&assembly->parts);
  *assembly = (struct assembly){0};
}

static bool hash_tensor(const struct assembly *assembly, const struct ffb_tensor *tensor, struct ffb_sha256 *hash,
                        struct ffb_error *error) {
  size_t bytes = ffb_tensor_bytes(tensor);
  void *content = ffb_allocate(bytes, 1, error);
  bool ok = content && ffb_tensor_read(assembly->plan, tensor, content, error);
  if (ok) {
    ffb_sha256_add(hash, tensor->name, strlen(tensor->name) + 1);
    ffb_sha256_add(hash, content, bytes);
  }
  ffb_free(content);
  return ok;
}

bool assembly_weights_sha256(const struct assembly *assembly, char text[FFB_SHA256_TEXT], struct ffb_error *error) {
  struct ffb_sha256 hash;
  ffb_sha256_begin(&hash);
  for (size_t i = 0; i < ffb_plan_persistent_count(assembly->plan); i++) {
    const struct ffb_tensor *tensor = ffb_plan_persistent_at(assembly->plan, i);
    if (tensor->tag == FFB_TAG_WEIGHTS && !hash_tensor(assembly, tensor, &hash, error))
      return false;
  }
  ffb_sha256_text(&hash, text);
  return true;
}
