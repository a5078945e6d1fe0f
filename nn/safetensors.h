/* Weight files in the safetensors format: 8 bytes of header length (little-endian), a JSON header, the data. PyTorch
 * loads them with safetensors.torch.load_file. */
#ifndef FFBENCH_NN_SAFETENSORS_H
#define FFBENCH_NN_SAFETENSORS_H

#include "nn/plan.h"

/* Write every persistent tensor that is tagged as weights, in plan order, under its own name. The file appears whole
 * or not at all (temporary name, then rename). */
bool ffb_weights_save(const char *path, struct ffb_plan *plan, struct ffb_error *error);

#endif
