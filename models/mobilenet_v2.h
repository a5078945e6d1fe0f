#ifndef FFBENCH_MODELS_MOBILENET_V2_H
#define FFBENCH_MODELS_MOBILENET_V2_H

#include "models/models.h"

extern const struct ffb_model ffb_model_mobilenet_v2;

#endif
