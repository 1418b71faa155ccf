/* One loop of a worker: its thread, and what the services have on it. */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

#include "acceptor.h"
#include "datagram.h"
#include "service.h"
#include "slice.h"
#include "worker_setup.h"
#include <pthread.h>

/* An order on its way to the thread. Part of the loop's struct, because a worker that lacks memory must
 * still be told to end. */
struct worker_loop_order {
    struct loop_message message;
    struct worker_loop *wl;
    void (*carry_out)(struct worker_loop *wl);
};

struct worker_loop {
    const struct worker_setup *setup;
    struct enchufe_service *services; /* the worker's, setup->service_count of them */
    size_t index;
    struct loop *loop;
    pthread_t thread;             /* that runs it */
    struct slice slice;           /* its, adapted by the thread for orders */
    bool running;                 /* it is the loop's own, to be joined */
    struct loop_watcher *watcher; /* NULL: none */
    int log_channel;     /* on which comes what to log to from now on; -1: another loop is told */
    int notify;          /* an eventfd, written when a step is done: started, listening, ended */
    _Atomic int failure; /* 0, or the negative errno of what failed first */
    char error[256];     /* and in words; written before failure */
    _Atomic bool deaf;   /* it leaves, and accepts no more */
    _Atomic bool ended;  /* the thread is at its end */
    struct worker_loop_order orders[3]; /* listen, drain, quit: each once */
    struct worker_loop_order slice_order;

    /* the thread's own */
    struct enchufe_loop *places; /* one for each service; service NULL: not on this loop */
    struct acceptor *acceptors;
    size_t acceptor_count;
    struct datagram_socket *datagrams;
    size_t datagram_count;
    struct datagram_batch *batch;
    struct log_batch log;
    struct timer log_flush;
    struct loop_source log_order;
    int spare; /* a descriptor to give up when that brings one and none is left; -1: none. Outlives the run */
    struct timer leave; /* once nobody is on the way to an endpoint that is gone */
    bool draining;
};

/* Makes what the loop needs; the calling thread is taken to run it, unless it gets one of its own. Returns 0 or -errno;
 * worker_loop_end() is due in both cases. */
int worker_loop_create(struct worker_loop *wl);

/* Runs the loop on this thread until its end; or starts a thread that does. It calls loop_start of the services: a
 * step. Where the thread cannot be started, the loop has failed and is at its end. */
void worker_loop_run(struct worker_loop *wl);
void worker_loop_start(struct worker_loop *wl);

/* Orders, from another thread: accept (a step follows); serve what is there and end (a step follows once
 * nothing new is accepted); end. The thread's end is a step too. An order that comes after the end does
 * nothing. */
void worker_loop_listen(struct worker_loop *wl);
void worker_loop_drain(struct worker_loop *wl);
void worker_loop_quit(struct worker_loop *wl);

/* A look at how busy the thread is, which may be told to take another slice (slice_adapt). The thread for orders. */
void worker_loop_adapt(struct worker_loop *wl, uint64_t now);

/* Logs to what the next message on a channel brings, if it brings anything, for all threads with this table of
 * descriptors. *spare (-1: none) is given up for it, and had again. Never blocks. Returns whether there was a
 * message. */
bool worker_loop_take_log(int channel, int *spare);

/* Joins a thread of the loop's own that has ended or will, and frees what it had. */
void worker_loop_end(struct worker_loop *wl);

#endif
