/* A service's share of a loop, so that a flood of one keeps the others waiting for a bounded time.
 *
 * All descriptors are in the loop's one epoll set, which reports them in the order in which they became
 * ready. A service that has many events in a batch in which others have some too is crowding: what it has
 * goes to a set of its own, which lies in the loop's as one source. When that has its turn, as many
 * events are taken from it as fit into SHARE_MOST_US, and whoever waits for the loop waits for those. */
#ifndef SHARE_H
#define SHARE_H

#include "loop.h"
#include <sys/epoll.h>

/* Events of one service in one batch that are many, beside others'. */
#define SHARE_MANY 8

/* How long a crowding service may keep a turn, in microseconds; how many events are tried at most. */
#define SHARE_MOST_US 100
#define SHARE_MOST_EVENTS 32

/* One for each service and loop. Its sources have set = share_set(share) before they are watched. */
struct share {
    struct loop *loop;
    struct loop_set common, own; /* own.epoll is -1 until it is needed */
    struct loop_source source;   /* the own set, in the common one */
    bool crowds;
    unsigned events;  /* to take in the next turn */
    unsigned handled; /* in this one */
    unsigned calm;    /* turns in a row in which there were few */
    unsigned turn;    /* of the loop, that seen is of */
    unsigned seen;    /* events in the batch */
};

/* Begins and ends with what the service has on the loop. From the second one on a loop's batches are looked through. */
void share_init(struct share *share, struct loop *loop);
void share_end(struct share *share);

/* Where a source of the service that is not watched yet goes to. It may move with any of its events. */
static inline struct loop_set *share_set(struct share *share)
{
    return share->crowds ? &share->own : &share->common;
}

#endif
