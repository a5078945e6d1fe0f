/* What operators have executed, counted inside them as they run: nothing here is worked out from shapes. */
#ifndef FFBENCH_BACKENDS_REFERENCE_EXECUTED_H
#define FFBENCH_BACKENDS_REFERENCE_EXECUTED_H

#include <stdint.h>

struct ffb_executed {
  int64_t mac_f32, mac_s8;    /* multiply-accumulates by the type of their operands; a tap on padding is none */
  int64_t quantised_elements; /* rounded to INT8 */
  int64_t added_elements;     /* to which stochastic rounding added a random number first */
  int64_t compared_elements;  /* read in search of the largest */
  int64_t searched_elements;  /* read by a search for a quantiser's parameters, once for each pass over them */
};

#endif
