/* The slices of loops. */
#include "slice.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In nanoseconds: the least that the system takes, and so much more that few who wake up meet a slice that has less
 * left than theirs is long. Such a one is not interrupted, and its end may be noticed some milliseconds late. */
#define SHORTEST_SLICE 100000
#define LONGEST_SLICE 10000000

#define POLICY_NORMAL 0
#define KEEP_POLICY 0x08

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

/* The calling thread's. */
static void set_length(struct slice *slice, uint64_t ns)
{
    struct attributes attr = { .size = sizeof attr };
    bool may =
        syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 && attr.policy == POLICY_NORMAL;

    attr.flags = KEEP_POLICY; /* which the operator may change meanwhile */
    attr.runtime = ns;
    slice->length = may && syscall(SYS_sched_setattr, 0, &attr, 0) == 0 ? ns : 0;
}

void slice_begin(struct slice *slice)
{
    set_length(slice, SHORTEST_SLICE);
    slice->begun = pthread_getcpuclockid(pthread_self(), &slice->clock) == 0;
}

/* By the square, so that a service that needs a third of the processor has a much shorter slice than the flood that
 * takes the rest. Between the two ends a slice stays where it would change by less than half, or a third: that would
 * be a system call at every look. */
uint64_t slice_length(uint64_t length, uint64_t used, uint64_t passed)
{
    uint64_t percent = used < passed ? used / (passed / 100) : 100;
    uint64_t fit = LONGEST_SLICE / 10000 * percent * percent;

    if (fit <= SHORTEST_SLICE)
        return SHORTEST_SLICE;
    if (fit > LONGEST_SLICE / 10 * 9)
        return LONGEST_SLICE;
    return fit > length + length / 2 || fit < length - length / 3 ? fit : length;
}

bool slice_adapt(struct slice *slice, uint64_t now)
{
    uint64_t passed = now - slice->looked;
    struct timespec t;

    if (!slice->begun || passed < LEAST_LOOK_MS || clock_gettime(slice->clock, &t) != 0)
        return false;
    uint64_t used = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    bool rests = (used - slice->used) / (passed * 1000000 / 100) == 0;
    uint64_t length = slice_length(slice->length, used - slice->used, passed * 1000000);
    slice->looked = now;
    slice->used = used;
    /* One that could not be set is tried again, but a thread that rests is not woken up for it. */
    if (slice->wanted == 0 && (length == slice->length || (slice->length == 0 && rests)))
        return false;
    return atomic_exchange(&slice->wanted, length) == 0;
}

void slice_take(struct slice *slice)
{
    set_length(slice, atomic_exchange(&slice->wanted, 0));
}
