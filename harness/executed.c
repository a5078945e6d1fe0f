#include "harness/executed.h"

#include "backends/reference/reference.h"
#include "base/memory.h"

static void add(struct executed_program *to, enum ffb_product product, const struct ffb_executed *now,
                const struct ffb_executed *before) {
  int64_t f32 = now->mac_f32 - before->mac_f32, s8 = now->mac_s8 - before->mac_s8;
  to->macs[product] += f32 + s8;
  to->total.mac_f32 += f32;
  to->total.mac_s8 += s8;
  to->total.quantised_elements += now->quantised_elements - before->quantised_elements;
  to->total.added_elements += now->added_elements - before->added_elements;
  to->total.compared_elements += now->compared_elements - before->compared_elements;
  to->total.searched_elements += now->searched_elements - before->searched_elements;
}

static void observe(void *to, const struct ffb_program *program, size_t call, enum ffb_operator operation) {
  struct executed *executed = to;
  struct ffb_executed now;
  const union ffb_arguments *arguments = NULL;
  size_t number = 0;
  while (ffb_plan_program_at(executed->assembly->plan, number) != program)
    number++;
  ffb_program_call(program, call, &arguments);
  ffb_reference_executed(executed->assembly->device, &now);
  executed->programs[number].runs += call == 0;
  add(&executed->programs[number], ffb_call_product(operation, arguments), &now, &executed->before);
  executed->before = now;
}

bool executed_begin(struct executed *executed, const struct assembly *assembly, struct ffb_error *error) {
  *executed = (struct executed){.assembly = assembly};
  if (assembly->parts.backend != &ffb_backend_reference)
    return true;
  executed->programs = ffb_allocate(ffb_plan_program_count(assembly->plan), sizeof *executed->programs, error);
  if (!executed->programs)
    return false;
  ffb_reference_executed(assembly->device, &executed->before);
  ffb_plan_observe(assembly->plan, observe, executed);
  return true;
}

void executed_end(struct executed *executed) {
  if (executed->programs)
    ffb_plan_observe(executed->assembly->plan, NULL, NULL);
  ffb_free(executed->programs);
  *executed = (struct executed){0};
}

/* Its fields are whole numbers of one size. */
enum { NUMBERS = sizeof(struct executed_program) / sizeof(int64_t) };
_Static_assert(sizeof(struct executed_program) == (1 + 6 + FFB_PRODUCT_COUNT) * sizeof(int64_t), "whole numbers only");

static size_t count_numbers(const struct executed *executed) {
  return executed->programs ? NUMBERS * ffb_plan_program_count(executed->assembly->plan) : 0;
}

json_t *executed_json(const struct executed *executed) {
  const int64_t *numbers = (const int64_t *)executed->programs;
  json_t *list = numbers ? json_array() : json_null();
  for (size_t i = 0; i < count_numbers(executed); i++)
    json_array_append_new(list, json_integer(numbers[i]));
  return list;
}

void executed_read(struct executed *executed, const json_t *numbers) {
  int64_t *to = (int64_t *)executed->programs;
  if (json_array_size(numbers) != count_numbers(executed))
    return;
  for (size_t i = 0; i < count_numbers(executed); i++)
    to[i] = json_integer_value(json_array_get(numbers, i));
}
