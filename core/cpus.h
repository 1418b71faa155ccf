/* The processors that this process may use. */
#ifndef CPUS_H
#define CPUS_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

struct cpus {
    size_t count; /* at least 1 */
    int numbers[CPU_SETSIZE];
};

void cpus_find(struct cpus *cpus);

/* Whether a quota of the control group leaves less time than all of them have: then a thread for each does
 * not own its processor. Unified hierarchy only (cgroups(7), cpu.max). */
bool cpus_rationed(const struct cpus *cpus);

/* Whether cpu.max, `QUOTA PERIOD` or `max PERIOD`, allows less than so many processors. */
bool cpus_quota_below(const char *cpu_max, size_t count);

#endif
