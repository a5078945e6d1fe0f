#ifndef FFBENCH_MODELS_RESNET18_H
#define FFBENCH_MODELS_RESNET18_H

#include "models/models.h"

extern const struct ffb_model ffb_model_resnet18;

#endif
