#include "harness/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t asked;

static void remember(int signal_number) {
  asked = signal_number;
}

void interrupt_watch(void) {
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    struct sigaction old, action = {.sa_handler = remember, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    if (!sigaction(signals[i], NULL, &old) && old.sa_handler == SIG_DFL && !asked)
      sigaction(signals[i], &action, NULL);
  }
}

int interrupt_asked(void) {
  return asked;
}
