/* What the ways to read RAPL have in common. */
#ifndef FFBENCH_HARNESS_METERS_RAPL_H
#define FFBENCH_HARNESS_METERS_RAPL_H

#include "harness/meters/still.h"

/* More than any processor package draws: bounds how soon a counter can wrap. */
extern const double rapl_package_limit_watts;
/* J: of the registers, usually. */
extern const double rapl_resolution;
extern const struct meter_still_rule rapl_still_rule;

#endif
