/* What a run does before it trains: wait for a cool machine, measure power at rest. On made-up machines, with the real
 * clock where time has to pass. */
#include "harness/baseline.h"
#include "tests/fake_machine.h"

#define ZONE "class/thermal/thermal_zone0"

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  assert_true(json_is_number(value));
  return json_number_value(value);
}

static void no_limit_no_wait(void **state) {
  struct world *world = *state;
  struct baseline_heat heat;
  write_file(world, ZONE "/temp", "90000");
  baseline_cool(&world->system, NULL, 0, 100, &heat);
  json_t *json = baseline_heat_json(&heat);
  assert_true(json_is_null(json));
  json_decref(json);
}

static void a_cool_machine_starts_at_once(void **state) {
  struct world *world = *state;
  struct baseline_heat heat;
  write_file(world, ZONE "/type", "cpu-thermal");
  write_file(world, ZONE "/temp", "44900");
  baseline_cool(&world->system, NULL, 45, 100, &heat);
  assert_true(heat.reached);
  assert_true(heat.waited_seconds < 50);
  assert_near(heat.celsius, 44.9, 1e-9);
}

static int looks;

/* Two looks too hot, then cool. */
static int cooling(void *context, const char *path, char *text, size_t size) {
  int code = fake_read(context, path, text, size);
  if (!code && ends_with(path, "/temp"))
    snprintf(text, size, "%d", ++looks > 2 ? 40000 : 60000);
  return code;
}

static void a_hot_machine_is_waited_for(void **state) {
  struct world *world = *state;
  struct baseline_heat heat;
  write_file(world, ZONE "/temp", "60000");
  world->system.read_text = cooling;
  looks = 0;
  baseline_cool(&world->system, NULL, 45, 100, &heat);
  assert_int_equal(looks, 3);
  assert_true(heat.reached);
  assert_true(heat.waited_seconds > 0.3);
  json_t *json = baseline_heat_json(&heat);
  assert_near(number(json, "celsius"), 40, 1e-9);
  assert_near(number(json, "limit_celsius"), 45, 1e-9);
  json_decref(json);
}

static void the_wait_has_an_end(void **state) {
  struct world *world = *state;
  struct baseline_heat heat;
  write_file(world, ZONE "/temp", "60000");
  baseline_cool(&world->system, NULL, 45, 0.3, &heat);
  assert_false(heat.reached);
  assert_true(heat.waited_seconds >= 0.3 && heat.waited_seconds < 50);
  assert_near(heat.celsius, 60, 1e-9);
}

static void a_machine_that_tells_no_heat_is_not_waited_for(void **state) {
  struct world *world = *state;
  struct baseline_heat heat;
  baseline_cool(&world->system, NULL, 45, 100, &heat);
  assert_false(heat.reached);
  assert_true(heat.waited_seconds < 50 && isnan(heat.celsius));
}

static void power_at_rest(void **state) {
  struct world *world = *state;
  struct ffb_error error;
  struct meter_session *nothing = open_session(world);
  json_t *idle = baseline_idle(nothing, 0.1, &error);
  assert_true(json_is_null(idle));
  meter_session_close(nothing);

  write_orin_nano(world);
  world->system = meter_system_default(world->root);
  struct meter_session *session = open_session(world);
  idle = baseline_idle(session, 0.1, &error);
  assert_near(number(idle, "watts"), 7.52, 1e-6);
  assert_true(number(idle, "seconds") >= 0.1);
  assert_true(number(idle, "other_processes_share") >= 0);
  json_decref(idle);
  idle = baseline_idle(session, 0, &error);
  assert_true(json_is_null(idle));
  meter_session_close(session);
}

#define ON_FAKE_TREE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ON_FAKE_TREE(no_limit_no_wait),
      ON_FAKE_TREE(a_cool_machine_starts_at_once),
      ON_FAKE_TREE(a_hot_machine_is_waited_for),
      ON_FAKE_TREE(the_wait_has_an_end),
      ON_FAKE_TREE(a_machine_that_tells_no_heat_is_not_waited_for),
      ON_FAKE_TREE(power_at_rest),
  };
  return cmocka_run_group_tests_name("baseline", tests, NULL, NULL);
}
