/* The watch over a worker's loops, on its main thread: every 100 ms, one look at what each is running. One
 * that is in the same callback for 100 ms is reported, and for stall_limit, given to be ended. The loops
 * pay nothing for it: no clock, no lock. While all of them are idle there is no look either.
 *
 * Of the callbacks, those are watched that clients wait for: not loop_start and loop_stop. */
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
    size_t loops;
    uint64_t last; /* look */
    uint64_t next; /* look that is due; TIMER_NEVER: when the bell rings */
};

/* One that never looks. */
#define WATCHDOG_NONE                                                                              \
    {                                                                                              \
        .watcher = { .bell = -1 }, .next = TIMER_NEVER                                             \
    }

/* Returns 0 or -errno; watchdog_free() is due in both cases. */
int watchdog_init(struct watchdog *dog, const struct config *config, struct trace *trace,
                  size_t loops);
void watchdog_free(struct watchdog *dog);

/* A look, when next is due or the bell rang. Returns the loop that is to be ended, or -1. */
int watchdog_look(struct watchdog *dog, uint64_t now);

enum watch_event { WATCH_NOTHING, WATCH_STUCK, WATCH_OVER, WATCH_RETURNED };

/* What a look at one loop tells. elapsed: ms since the last look; limit: 0 for none. WATCH_OVER comes at
 * every look from the limit on; after WATCH_RETURNED, *watch still tells what has returned. */
enum watch_event watch_step(const struct watch *watch, uint64_t slot, uint64_t elapsed,
                            uint64_t limit, struct watch *next);

#endif
