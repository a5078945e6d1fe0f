/* What jansson leaves open: numbers that JSON does not have, and option values. */
#ifndef FFBENCH_HARNESS_VALUE_H
#define FFBENCH_HARNESS_VALUE_H

#include "base/option.h"

#include <jansson.h>
#include <stddef.h>

/* A number; "inf", "-inf" or "nan" as a string where it is none. */
json_t *value_number(double value);
/* Back again: NaN where the value is neither. */
double value_number_read(const json_t *value);
/* A number; null where it is none, which says that nobody knows it. */
json_t *value_known(double value);
/* A text; null where it is empty. */
json_t *value_text(const char *text);

/* What lies in an object at a path such as time.train_seconds; null where there is nothing. */
const json_t *value_at(const json_t *object, const char *path);
/* The same as a number, 0 where it is none; as a text, empty where it is none. */
double value_number_at(const json_t *object, const char *path);
const char *value_text_at(const json_t *object, const char *path);

/* Whether no allocation was refused since ffb_refused_allocations gave `refused`: else what was built meanwhile may
 * lack parts, and the error says that memory ran out for `what`. */
bool value_is_whole(unsigned long refused, const char *what, struct ffb_error *error);

/* A table as an object, each value with its type: null for a string option that is not set. An empty object for a null
 * table. */
json_t *value_options(const struct ffb_option *table, const void *values);

/* A JSON value as the text that ffb_option_set reads. A string option also takes a whole number or an array of them
 * (model.hidden = {500, 500}). A value of the wrong type is a usage error that opens with owner. */
bool value_option_text(const struct ffb_option *option, const json_t *value, const char *owner, char *text, size_t size,
                       struct ffb_error *error);

#endif
