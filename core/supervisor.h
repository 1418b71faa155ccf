/* The workers of a generation, seen from the master: started, restarted when they die, told to leave. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "generation.h"
#include "loop.h"
#include "worker.h"

struct supervisor;

/* What the master is told, each with context. */
struct supervisor_events {
    void (*ready)(void *context);  /* every worker accepts; once */
    void (*failed)(void *context); /* a worker could not start before all were ready */
    void (*gone)(void *context);   /* the last worker ended, after supervisor_leave() */
    void *context;
};

/* Starts a worker for each group. Events come from the loop, never from within this call. Returns NULL
 * without memory. */
struct supervisor *supervisor_start(struct generation *generation, struct loop *loop,
                                    const struct supervisor_events *events);

/* Looks for workers that ended: due after each SIGCHLD. */
void supervisor_reap(struct supervisor *supervisor);

/* Tells the workers to drain, or to end at once; from then on none is started again. */
void supervisor_leave(struct supervisor *supervisor, bool at_once);

/* Kills those that are left. */
void supervisor_kill(struct supervisor *supervisor);

/* Hands the workers another descriptor to log to; fd stays the caller's. */
void supervisor_send_log(struct supervisor *supervisor, int fd);

/* For an ended supervisor. */
void supervisor_free(struct supervisor *supervisor);

/* What a worker for that group would be told, but for its channel. */
struct worker_setup supervisor_setup(struct generation *generation, const struct group *group,
                                     struct trace *trace);

#endif
