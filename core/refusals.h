/* What the log says of those that are let in by no means: refusing costs a flooder nothing, so the log must
 * not pay for each. At most one line for a source and second, at most REFUSALS_LINES for a service and
 * second, and then one line with the count of what was not said. */
#ifndef REFUSALS_H
#define REFUSALS_H

#include "cidr.h"
#include "loop.h"
#include <pthread.h>

#define REFUSALS_LINES 10

/* Of one service in one worker; its loops share it. */
struct refusals {
    const char *service;
    pthread_mutex_t lock; /* of what follows */
    struct {
        struct ip source;
        uint64_t at;         /* by clock_ms(); 0: never */
    } lines[REFUSALS_LINES]; /* the last ones, in a ring */
    unsigned oldest;         /* of them */
    uint64_t unsaid;
    struct loop *loop; /* on which the timer runs; NULL: it does not */
    struct timer timer;
};

void refusals_init(struct refusals *refusals, const char *service);
void refusals_free(struct refusals *refusals);

/* Whether the refusal of a source may have a line of its own now. If not, it is counted, and the count is
 * logged within about a second by the timer, on this loop. On the loop's thread. */
bool refusals_may_say(struct refusals *refusals, struct loop *loop, struct ip source);

/* The loop ends: what it has not said yet is said now. On its thread. */
void refusals_end(struct refusals *refusals, struct loop *loop);

#endif
