/* How long the scheduler lets a loop run at a time, its slice, while others want the processor.
 *
 * A thread that wakes up interrupts one whose slice is longer and would be over later, and waits for any other, up to
 * some milliseconds. So the less a loop does the shorter is its slice: one that is busy, which would make others
 * wait, has the longest. Its share of the processor does not depend on its slice. Where the system does not know
 * slices of a thread's own (before Linux 6.12), or the operator chose another policy, nothing changes. */
#ifndef SLICE_H
#define SLICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* The slice of one thread. Zeroed: of none yet, which keeps what it has. */
struct slice {
    _Atomic bool begun;
    clockid_t clock;         /* the thread's processor time */
    _Atomic uint64_t length; /* in ns, as last set; 0: not set, or refused */
    _Atomic uint64_t wanted; /* what slice_take() shall take; 0: nothing */

    /* of whoever adapts it */
    uint64_t looked; /* last, in ms */
    uint64_t used;   /* processor time up to then, in ns */
};

/* The calling thread's, from now on: the shortest. Threads that it starts inherit what it has then. */
void slice_begin(struct slice *slice);

/* A look at how busy the thread was since the last one, to be repeated every 100 ms while it does something; now is
 * clock_ms(). One other thread of the same process, always the same. Nothing where the thread has not begun, or has
 * ended. Returns whether the thread shall call slice_take(), which takes what was found fit last. */
bool slice_adapt(struct slice *slice, uint64_t now);

/* Takes the slice that slice_adapt() found fit. The thread itself: a filter of system calls lets nobody change
 * another's. */
void slice_take(struct slice *slice);

/* What becomes of a slice of `length`, or of 0, where the thread used so much processor time of the time that passed (100 or
 * more); all in ns. */
uint64_t slice_length(uint64_t length, uint64_t used, uint64_t passed);

#endif
