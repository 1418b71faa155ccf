/* How long the scheduler lets a loop run at a time, its slice, while others want the processor.
 *
 * A thread that wakes up interrupts one whose slice is longer and would be over later, and waits for any other, up to
 * some milliseconds. So the less a loop does the shorter is its slice: one that is busy, which would make others
 * wait, has the longest. Its share of the processor does not depend on its slice. Where the system does not know
 * slices of a thread's own (before Linux 6.12), or the operator chose another policy, nothing changes. */
#ifndef SLICE_H
#define SLICE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* The slice of one thread. Zeroed: of none yet, which keeps what it has. */
struct slice {
    _Atomic pid_t thread; /* 0 until all else is known */
    clockid_t clock;      /* its processor time */

    /* of whoever adapts it */
    uint64_t length; /* in ns; 0: it could not be set */
    uint64_t looked; /* last, in ms */
    uint64_t used;   /* processor time up to then, in ns */
};

/* The calling thread's, from now on: the shortest. Threads that it starts inherit what it has then. */
void slice_begin(struct slice *slice);

/* A look at how busy the thread was since the last one, to be repeated every 100 ms while it does something; now is
 * clock_ms(). One other thread of the same process, always the same. Nothing where the thread has not begun, or has
 * ended. */
void slice_adapt(struct slice *slice, uint64_t now);

/* What becomes of a slice of `length` where the thread used so much processor time of the time that passed (100 or
 * more); all in ns. */
uint64_t slice_length(uint64_t length, uint64_t used, uint64_t passed);

#endif
