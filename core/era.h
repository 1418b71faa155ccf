/* A generation in the master's hands: what it was read from, its workers from when it comes up, and who
 * waits for it. */
#ifndef ERA_H
#define ERA_H

#include "generation.h"
#include "supervisor.h"
#include "waiters.h"

struct era {
    struct rollover *rollover; /* its owner */
    struct generation generation;
    struct supervisor *supervisor; /* NULL: it has no workers yet */
    uint64_t started_at;
    struct report report; /* what is wrong with it */
    struct report notes;  /* what of it takes a restart */
    struct reload_waiter *waiters;
};

/* One generation as the status shows it. */
struct generation_view {
    const struct generation *generation;
    const struct supervisor *supervisor; /* NULL: it waits */
    const char *state;                   /* `serving`, `draining`, `starting`, `waiting` */
    uint64_t age_ms;                     /* since it was started, or found right */
    int64_t left_ms;                     /* draining: until its end; -1: no limit */
};

/* NULL without memory. */
struct era *era_create(struct rollover *rollover, unsigned number);

/* For one whose workers are gone, and whose waiters were told. */
void era_free(struct era *era);

/* Tells those who wait: the text, and a line for each of the report. */
void era_answer(struct era *era, bool good, const char *text, struct report *report);

/* state is `serving` and the like; one without workers is `waiting`. */
struct generation_view era_view(const struct era *era, const char *state, uint64_t now);

#endif
