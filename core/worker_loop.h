/* One loop of a worker: its thread, and what the services have on it. */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

#include "acceptor.h"
#include "datagram.h"
#include "service.h"
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
    pthread_t thread;
    bool running;                 /* there is a thread to join */
    struct loop_watcher *watcher; /* NULL: none */
    int notify;          /* an eventfd, written when a step is done: started, listening, ended */
    _Atomic int failure; /* 0, or the negative errno of what failed first */
    char error[256];     /* and in words; written before failure */
    _Atomic bool deaf;   /* it leaves, and accepts no more */
    _Atomic bool ended;  /* the thread is at its end */
    struct worker_loop_order orders[3]; /* listen, drain, quit: each once */

    /* the thread's own */
    struct enchufe_loop *places; /* one for each service; service NULL: not on this loop */
    struct acceptor *acceptors;
    size_t acceptor_count;
    struct datagram_socket *datagrams;
    size_t datagram_count;
    struct datagram_batch *batch;
    struct log_batch log;
    struct timer log_flush;
    struct timer leave; /* once nobody is on the way to an endpoint that is gone */
    bool draining;
};

/* Starts the thread, which calls loop_start of the services: a step. Returns 0 or -errno;
 * worker_loop_end() is due in both cases. */
int worker_loop_start(struct worker_loop *wl);

/* Orders, from the worker's main thread: accept (a step follows); serve what is there and end (a
 * step follows once nothing new is accepted); end. The thread's end is a step too. An order that comes after the end does nothing. */
void worker_loop_listen(struct worker_loop *wl);
void worker_loop_drain(struct worker_loop *wl);
void worker_loop_quit(struct worker_loop *wl);

/* Joins a thread that has ended or will, and frees what it had. */
void worker_loop_end(struct worker_loop *wl);

#endif
