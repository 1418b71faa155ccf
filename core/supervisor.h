/* The workers of one generation, seen from the master: started, restarted when they die, told to leave. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "generation.h"
#include "loop.h"
#include "worker.h"

struct supervisor;

/* What the owner is told, each with context. */
struct supervisor_events {
    void (*prepared)(void *context); /* every worker waits to accept; once */
    void (*ready)(void *context);    /* every worker accepts, or has died over it twice; once */
    void (*failed)(void *context,
                   const char *text); /* a worker did not come up before that; once */
    void (*deaf)(void *context);      /* after leaving: no worker accepts any more; once */
    void (*gone)(void *context);      /* the last worker ended, after leaving */
    void *context;
};

/* One worker, for the status. */
struct worker_view {
    const char *name; /* `main`, or the one service's */
    pid_t pid;        /* 0: it waits for its next start */
    uint64_t age_ms, wait_ms;
    unsigned restarts;
    bool quarantined;
    bool ready;
    const char *last_crash; /* "" for none */
    const struct group *group;
};

/* Starts a worker for each group. Events come from the loop, never from within this call. Returns NULL
 * without memory. */
struct supervisor *supervisor_start(struct generation *generation, struct loop *loop,
                                    const struct supervisor_events *events);

/* The sockets are open: every worker may accept, those that are started later too. */
void supervisor_accept(struct supervisor *supervisor);

/* Looks for workers that ended: due after each SIGCHLD. */
void supervisor_reap(struct supervisor *supervisor);

/* Tells the workers to drain, or to end at once; from then on none is started again. Those that stay
 * beyond their time are killed. */
void supervisor_leave(struct supervisor *supervisor, bool at_once);

/* Those that drain have until then at most, by clock_ms(), whatever their own configuration says. */
void supervisor_hurry(struct supervisor *supervisor, uint64_t deadline);

/* Hands the workers another descriptor to log to; fd stays the caller's. */
void supervisor_send_log(struct supervisor *supervisor, int fd);

/* When the last worker must have ended, by clock_ms(); 0: no limit, or not leaving. */
uint64_t supervisor_deadline(const struct supervisor *supervisor);

/* Calls see for each worker. */
void supervisor_each(const struct supervisor *supervisor,
                     void (*see)(void *context, const struct worker_view *view), void *context);

/* For one whose workers are gone. */
void supervisor_free(struct supervisor *supervisor);

#endif
