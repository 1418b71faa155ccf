/* How long the scheduler lets a worker run before others of the processor have their turn.
 *
 * A thread that wakes up interrupts one with a longer slice at once, and waits for any other, up to some milliseconds.
 * So a loop that has little to do asks for the shortest slice, and one that is busy, which would make others wait, for
 * a long one. Its share of the processor does not depend on its slice. Where the system does not know slices of a
 * thread's own (before Linux 6.12), or the operator chose another policy, nothing changes. */
#ifndef SLICE_H
#define SLICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Asks for the shortest slice, for the calling process and all that it starts. */
void slice_shorten(void);

/* The slice of one thread, which has the shortest one. Zeroed: of none yet. */
struct slice {
    _Atomic pid_t thread;
    clockid_t clock; /* its processor time; written before `thread` */

    /* of whoever adapts it */
    uint64_t looked; /* last, in ms */
    uint64_t used;   /* processor time up to then, in ns */
    bool busy;       /* and has a long slice */
};

/* The calling thread's, from now on. */
void slice_begin(struct slice *slice);

/* A look at how busy the thread was since the last one, to be repeated every 100 ms while it does something; now is
 * clock_ms(). One other thread of the same process, always the same. Nothing where the thread has not begun, or has
 * ended. */
void slice_adapt(struct slice *slice, uint64_t now);

/* Whether a thread is busy now that used so much processor time of the time that passed, in ns, and was busy
 * before. */
bool slice_is_busy(bool before, uint64_t used, uint64_t passed);

#endif
