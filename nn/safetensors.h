/* Weight files in the safetensors format: 8 bytes of header length (little-endian), a JSON header, the data. PyTorch
 * loads and writes them with safetensors.torch.load_file and save_file. */
#ifndef FFBENCH_NN_SAFETENSORS_H
#define FFBENCH_NN_SAFETENSORS_H

#include "nn/plan.h"

/* Write every persistent tensor that is tagged as weights, in plan order, under its own name and with PyTorch's shape.
 * The file appears whole or not at all (temporary name, then rename). */
bool ffb_weights_save(const char *path, struct ffb_plan *plan, struct ffb_error *error);

/* Fill every such tensor from a file, after ffb_plan_finish; tensors of the file that the plan does not know are
 * skipped. Nothing is written unless all are there with the right type and shape. What depends on the weights is the
 * caller's to make again (ffb_parameters_prepare). */
bool ffb_weights_load(const char *path, struct ffb_plan *plan, struct ffb_error *error);

#endif
