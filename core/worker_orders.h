/* The thread of a worker that runs no plugin: it takes the master's orders, hands them to the loops, looks whether
 * they go on and how busy they are, and tells the master how far they are.
 *
 * It has a table of descriptors of its own. Where two threads share one, the system counts every use of a descriptor
 * in memory that is shared, in each receive, send and wait; a worker with one loop is spared that. */
#ifndef WORKER_ORDERS_H
#define WORKER_ORDERS_H

#include "watchdog.h"
#include "worker_loop.h"

enum worker_phase { STARTING, PREPARED, OPENING, SERVING, DRAINING, QUITTING };

struct worker_orders {
    const struct worker_setup *setup;
    struct worker_loop *loops;
    size_t loop_count;
    struct watchdog watchdog;
    pthread_t thread;
    bool running;      /* there is a thread to join */
    bool own_table;    /* of descriptors */
    _Atomic bool over; /* and it does nothing any more */
    int steps_fd;      /* an eventfd: loops have done steps */
    int log_ends[2]; /* a channel to the first loop, which alone can change what the loops log to */
    int spare; /* a descriptor to give up when one comes along from the master and none is left; -1: none. The thread's,
                * and after its end the main thread's */
    uint64_t steps; /* of the current phase that loops have done */
    enum worker_phase phase;
    bool leaves;       /* it was told to drain, maybe before all loops had opened */
    bool deaf;         /* the master was told that nothing new is accepted */
    uint64_t deadline; /* of DRAINING and QUITTING; 0: none */
    int status;        /* the exit status */
};

/* For the worker's main thread, before there are loops. Returns 0 or -errno; worker_orders_free() is due in both
 * cases. */
int worker_orders_init(struct worker_orders *orders, const struct worker_setup *setup);
void worker_orders_free(struct worker_orders *orders);

/* Tells the master why this worker fails; only the first reason counts. For the main thread before
 * worker_orders_start(), or where that failed. Returns -EINVAL. */
int worker_orders_fail(struct worker_orders *orders, const char *text);

/* Starts the thread, before any loop runs. It ends when every loop has; where one does not, because a plugin
 * does not return, or where the master is gone, it ends the process. Returns 0 or -errno. */
int worker_orders_start(struct worker_orders *orders);

/* Waits for that end. */
void worker_orders_join(struct worker_orders *orders);

/* After that, for the main thread: logs to where the master has moved the log meanwhile. Never blocks. */
void worker_orders_take_log(struct worker_orders *orders);

#endif
