#include "models/models.h"

#include "models/efficientnet_b0.h"
#include "models/mlp.h"
#include "models/mobilenet_v2.h"
#include "models/resnet18.h"

#include <string.h>

static const struct ffb_model *const models[] = {&ffb_model_mlp, &ffb_model_mobilenet_v2, &ffb_model_efficientnet_b0,
                                                 &ffb_model_resnet18};

const struct ffb_model *ffb_model_at(size_t index) {
  return index < sizeof models / sizeof *models ? models[index] : NULL;
}

const struct ffb_model *ffb_model_find(const char *name) {
  const struct ffb_model *model = NULL;
  for (size_t i = 0; (model = ffb_model_at(i)); i++) {
    if (strcmp(model->name, name) == 0)
      return model;
  }
  return NULL;
}
