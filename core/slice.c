/* The slice of a worker that shares its processor with others.
 *
 * A loop that is flooded never sleeps, and whoever wakes up beside it may have to wait until its slice is
 * over: up to some milliseconds by default. Its share of the processor does not depend on the slice. */
#include "slice.h"
#include <linux/sched/types.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The least that the system takes, in nanoseconds. */
#define SLICE 100000

#define POLICY_NORMAL 0

void slice_shorten(void)
{
    struct sched_attr attr = { .size = sizeof attr };

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0 ||
        attr.sched_policy != POLICY_NORMAL)
        return;
    attr.sched_runtime = SLICE;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}
