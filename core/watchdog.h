/* The watch over a worker's loops, on its thread for orders: every 100 ms, one look at what each is running. One
 * that is in the same callback for 100 ms is reported, and for stall_limit, given to be ended. The loops
 * pay nothing for it: no clock, no lock. While all of them are idle there is no look either.
 *
 * While the main thread runs `stop`, at the worker's end, a thread of its own looks on.
 *
 * Not watched are start and loop_start, for which the master has start_timeout. */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "config.h"
#include "loop.h"
#include "trace.h"

#define WATCHDOG_MS 100

/* One loop, as it was seen last. */
struct watch {
    uint64_t slot;
    uint64_t
        ms; /* since the running callback was seen first; its start is up to one look earlier */
    bool reported;
};

struct watchdog {
    struct loop_watcher watcher; /* the loops' side; its bell is to be polled */
    const struct config *config;
    struct trace *trace;
    struct watch *watches;
    size_t first, count; /* slots of the trace */
    uint64_t last;       /* look */
    uint64_t next;       /* look that is due; TIMER_NEVER: when the bell rings */
};

/* One that never looks. */
#define WATCHDOG_NONE                                                                              \
    {                                                                                              \
        .watcher = { .bell = -1 }, .next = TIMER_NEVER                                             \
    }

/* For `count` slots of the trace from `first` on. Returns 0 or -errno; watchdog_free() is due in both
 * cases. */
int watchdog_init(struct watchdog *dog, const struct config *config, struct trace *trace,
                  size_t first, size_t count);
void watchdog_free(struct watchdog *dog);

/* A look, when next is due or the bell rang. Returns the loop that is to be ended, or -1. */
int watchdog_look(struct watchdog *dog, uint64_t now);

/* A thread that looks at one slot, its owner being about to run callbacks that nobody else watches, and that
 * ends the process where one does not return. */
struct watchdog_thread {
    struct watchdog dog;
    pthread_t thread, watched;
    bool running; /* without memory there is none */
    _Atomic bool over;
};

/* slot is the calling thread's. */
void watchdog_thread_start(struct watchdog_thread *watchdog, const struct config *config,
                           struct trace *trace, size_t slot);
void watchdog_thread_end(struct watchdog_thread *watchdog);

enum watch_event { WATCH_NOTHING, WATCH_STUCK, WATCH_OVER, WATCH_RETURNED };

/* What a look at one loop tells. elapsed: ms since the last look; limit: 0 for none. WATCH_OVER comes at
 * every look from the limit on; after WATCH_RETURNED, *watch still tells what has returned. */
enum watch_event watch_step(const struct watch *watch, uint64_t slot, uint64_t elapsed,
                            uint64_t limit, struct watch *next);

#endif
