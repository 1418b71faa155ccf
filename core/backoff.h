/* How long to wait before a worker that died is started again: nothing, then 0.1 s, doubled each time, and
 * from 5 s on at once to 30 s: at most ten starts in ten seconds, and then two a minute. (Without this,
 * one that crashes as it starts is started 6,000 times a second.) */
#ifndef BACKOFF_H
#define BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff {
    unsigned failures; /* in a row */
};

/* A worker died that had lived for lived_ms. Health makes earlier failures forgotten: after 60 s of it
 * wholly; one that had answered somebody is in no loop of crashes, and comes back 0.1 s after its own start,
 * which is at once where it lived longer. Returns how long to wait, in milliseconds. */
uint64_t backoff_next(struct backoff *backoff, uint64_t lived_ms, bool answered);

#endif
