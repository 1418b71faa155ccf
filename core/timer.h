/* Timers of one loop: a heap by deadline. Nothing here reads a clock or makes a system call. */
#ifndef TIMER_H
#define TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of the struct it belongs to, zeroed. */
struct timer {
    uint64_t deadline; /* milliseconds of the monotonic clock */
    uint32_t slot;     /* its place in the heap + 1; 0: not running */
    void (*fire)(struct timer *timer);
};

struct timers {
    struct timer **heap; /* count timers; the last `late` of them stand outside the order */
    uint32_t count, cap;
    uint32_t late; /* set in a call to a deadline that this run has passed: left to the next */
    bool running;  /* timers_run() is under way, */
    uint64_t now;  /* at this time */
};

#define TIMER_NEVER UINT64_MAX

/* Starts or moves a timer (timer->fire is set). Returns 0, or -ENOMEM with the timer not running.
 * Moving a running timer never fails. */
int timer_set(struct timers *timers, struct timer *timer, uint64_t deadline);
void timer_cancel(struct timers *timers, struct timer *timer);
static inline bool timer_running(const struct timer *timer)
{
    return timer->slot != 0;
}

/* The earliest deadline, or TIMER_NEVER. Not for use in a call from timers_run(). */
static inline uint64_t timers_next(const struct timers *timers)
{
    return timers->count ? timers->heap[0]->deadline : TIMER_NEVER;
}

/* Fires every timer with deadline <= now, earliest first; each is stopped before its call, and may be
 * set again in it. A timer that is set to a deadline <= now in a call fires at the next run. */
void timers_run(struct timers *timers, uint64_t now);

void timers_free(struct timers *timers);

#endif
