/* How many tasks, which are processes and threads, this process's user may have. */
#ifndef TASKS_H
#define TASKS_H

#include <stdint.h>

/* Lets this process start processes and threads until its user has `more` beyond twice the tasks that there
 * are now (RLIMIT_NPROC). Where that cannot be found, or is more than the limit already, all stays. It
 * starts processes that end at once: for a process with one thread, without children. Not for root, of
 * whom the kernel counts nothing. Returns 0 or -errno. */
int tasks_limit(uint64_t more);

#endif
