/* The post of one worker, in the master: processes come and go in it. */
#ifndef WORKER_POST_H
#define WORKER_POST_H

#include "backoff.h"
#include "generation.h"
#include "loop.h"
#include "obituary.h"
#include "worker.h"

/* What the posts of one generation have in common; the supervisor's. */
struct worker_posts {
    struct generation *generation;
    struct loop *loop;
    struct worker_post *first, **last;
    bool open;    /* the sockets are: workers may accept, and one that dies is started again */
    bool leaving; /* none is started any more */
    /* A worker is prepared, ready, deaf or gone. */
    void (*changed)(struct worker_posts *posts);
    /* One died or could not be started before the sockets were open. */
    void (*failed)(struct worker_posts *posts, const char *text);
};

struct worker_post {
    struct worker_posts *posts;
    struct worker_post *next;
    struct group group;
    struct trace *trace;
    struct log_kept *log; /* lines that the worker has not written yet, for each loop */
    pid_t pid;            /* 0: none runs */
    struct loop_source channel;
    struct timer restart;
    struct timer patience; /* until it serves */
    struct timer stall;    /* while a signal has stopped it */
    uint64_t started_at, stopped_at;
    struct backoff backoff;
    uint64_t sent_before; /* what its services had sent when it was started */
    unsigned restarts;
    bool prepared, ready;
    bool settled;     /* dies again and again: nobody waits until it is ready */
    bool deaf;        /* leaves, and accepts no more */
    bool told;        /* why it fails is in last_crash already */
    int blamed;       /* then: the service that kept it from starting, or -1 */
    bool quarantined; /* one service, which crashed its worker before */
    char last_crash[OBITUARY_TEXT];
};

/* Adds a post, whose worker is started by the loop, soon. Copies the services' indexes. Returns NULL
 * without memory. */
struct worker_post *worker_post_add(struct worker_posts *posts, const size_t *services,
                                    size_t count, size_t loops);

/* For one whose worker is gone. */
void worker_post_free(struct worker_post *post);

/* `main`, or the one service's name. */
const char *worker_post_name(const struct worker_post *post);

/* Its worker is prepared, and may accept. */
void worker_post_accept(struct worker_post *post);

/* Looks whether its worker has ended, was stopped or goes on. May add a post for the service that is to blame. */
void worker_post_reap(struct worker_post *post);

/* Kills a worker that did not leave in time, and logs what it is in. */
void worker_post_kill(struct worker_post *post);

/* What a worker for that group would be told, but for its channel. */
struct worker_setup worker_post_setup(struct generation *generation, const struct group *group,
                                      struct trace *trace);

#endif
