#ifndef FFBENCH_MODELS_MLP_H
#define FFBENCH_MODELS_MLP_H

#include "models/models.h"

extern const struct ffb_model ffb_model_mlp;

#endif
