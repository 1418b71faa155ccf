/* Processor time of processes and of a core, in nanoseconds: what a window of the measure is told by. */
#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

#include <stdint.h>
#include <sys/types.h>

/* All threads of the process, of its living descendants, and (in steps of 10 ms) of those that ended and
 * were waited for. 0 where there is no such process. */
uint64_t process_tree_time(pid_t root);

/* How long a core was idle and how long the host took it away, both in steps of 10 ms. */
struct core_times {
    uint64_t idle, stolen;
};

struct core_times core_times(int core);

#endif
