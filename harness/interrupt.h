/* Stopping at a clean place: Ctrl-C, SIGTERM and SIGHUP only raise a flag that the training loop looks at after each
 * step. The second signal of a kind ends the program at once. */
#ifndef FFBENCH_HARNESS_INTERRUPT_H
#define FFBENCH_HARNESS_INTERRUPT_H

#include <stdbool.h>

/* Catch the signals from now on, where they are not ignored (nohup). May be called again. */
void interrupt_watch(void);
/* The number of the signal that asked to stop, or 0. */
int interrupt_asked(void);

#endif
