/* Linked into a program of cases: only those run that hold one backend against another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

__attribute__((constructor)) static void choose_cases(void) {
  cmocka_set_test_filter("*backend*");
}
