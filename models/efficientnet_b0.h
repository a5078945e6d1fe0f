#ifndef FFBENCH_MODELS_EFFICIENTNET_B0_H
#define FFBENCH_MODELS_EFFICIENTNET_B0_H

#include "models/models.h"

extern const struct ffb_model ffb_model_efficientnet_b0;

#endif
