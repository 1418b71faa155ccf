/* The slices of a worker's threads. */
#include "slice.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In nanoseconds. The first is the least that the system takes. A slice that is nearly over is not interrupted
 * by one that would be over later, and its end may be noticed some milliseconds late: with the usual 1.4 to 3 ms
 * one of 20 who wake up would wait for that. */
#define SHORT_SLICE 100000
#define LONG_SLICE 10000000

#define POLICY_NORMAL 0

/* sched_setattr(2), first version. Its header in the system does not go along with <pthread.h>. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* Less than that tells nothing. */
#define LEAST_LOOK_MS 50

/* thread: 0 for the calling one. */
static void set_slice(pid_t thread, uint64_t ns)
{
    struct attributes attr = { .size = sizeof attr };

    if (syscall(SYS_sched_getattr, thread, &attr, sizeof attr, 0) != 0 ||
        attr.policy != POLICY_NORMAL)
        return;
    attr.runtime = ns;
    (void)syscall(SYS_sched_setattr, thread, &attr, 0);
}

void slice_shorten(void)
{
    set_slice(0, SHORT_SLICE);
}

void slice_begin(struct slice *slice)
{
    if (pthread_getcpuclockid(pthread_self(), &slice->clock) == 0)
        atomic_store_explicit(&slice->thread, gettid(), memory_order_release);
}

/* Two bounds, so that a thread in between is not changed at every look. */
bool slice_is_busy(bool before, uint64_t used, uint64_t passed)
{
    return used >= passed / (before ? 8 : 4);
}

void slice_adapt(struct slice *slice, uint64_t now)
{
    pid_t thread = atomic_load_explicit(&slice->thread, memory_order_acquire);
    uint64_t passed = now - slice->looked;
    struct timespec t;

    if (thread == 0 || passed < LEAST_LOOK_MS || clock_gettime(slice->clock, &t) != 0)
        return;
    uint64_t used = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    bool busy = slice_is_busy(slice->busy, used - slice->used, passed * 1000000);
    if (busy != slice->busy)
        set_slice(thread, busy ? LONG_SLICE : SHORT_SLICE);
    slice->busy = busy;
    slice->looked = now;
    slice->used = used;
}
