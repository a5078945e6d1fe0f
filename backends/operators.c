#include "backends/backend.h"

static const struct {
  const char *name;
  bool optional;
} operators[FFB_OPERATOR_COUNT] = {
#define FFB_ENTRY(NAME, name, optional) [FFB_##NAME] = {#name, optional},
    FFB_OPERATORS(FFB_ENTRY)
#undef FFB_ENTRY
};

const char *ffb_operator_name(enum ffb_operator operation) {
  return operators[operation].name;
}

bool ffb_operator_optional(enum ffb_operator operation) {
  return operators[operation].optional;
}
