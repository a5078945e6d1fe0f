/* Threads beside the program's first. */
#ifndef FFBENCH_BASE_THREAD_H
#define FFBENCH_BASE_THREAD_H

#include <pthread.h>

/* As pthread_create. All signals are blocked in it: they are for the program's first thread. */
int ffb_thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument);

#endif
