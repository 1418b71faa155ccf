/* One thread's event loop: epoll (level-triggered), timers, work for the end of the turn, and work
 * from other threads. It knows descriptors and callbacks, not connections.
 *
 * All functions but loop_post, loop_hold, loop_drop, loop_forget_time and clock_ms belong to the loop's own thread. */
#ifndef LOOP_H
#define LOOP_H

#include "timer.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How stale loop_now() may be. Deadlines that count from it add this much, so none comes early. */
#define LOOP_TICK_MS 100

/* What one receive can bring, and the memory lent to output. Measured: 16 KiB instead of 64 costs a
 * quarter of bulk throughput. */
#define LOOP_INPUT_SIZE 65536
#define LOOP_OUTPUT_SIZE 65536

/* An epoll set that a service's descriptors may be in: see share.h. */
struct loop_set {
    int epoll;
    struct share *share;
};

/* A watched descriptor; part of the struct it belongs to. */
struct loop_source {
    int fd;
    uint32_t events; /* what is watched; 0: not registered */
    void (*ready)(struct loop_source *source, uint32_t events);
    struct loop_set *set; /* where it is watched; NULL: in the loop's own, and of no service */
};

/* Something to be done once at the end of the turn; part of the struct it belongs to, zeroed. */
struct loop_task {
    struct loop_task *next;
    void (*run)(struct loop_task *task);
    bool queued;
};

/* Work from another thread; owned by the loop from loop_post until run is called. */
struct loop_message {
    struct loop_message *next;
    void (*run)(struct loop_message *message);
};

struct epoll_event;

/* Whoever watches over loops. While it rests, a loop wakes it before doing anything. */
struct loop_watcher {
    atomic_bool resting;
    int bell; /* an eventfd */
};

struct loop {
    struct timers timers;
    uint64_t now; /* of loop_now() */
    /* now is at most LOOP_TICK_MS old. Other threads may clear it (loop_forget_time). */
    atomic_bool ticking;
    bool stopping;
    unsigned turns;  /* counts, and may wrap */
    unsigned shares; /* how many services have one: see share.h */
    /* Sees each batch before its sources do; returns how many events are left in it. NULL: nobody looks. */
    int (*sort)(struct loop *loop, struct epoll_event *events, int count);
    int epoll;
    /* Memory for whoever is in a callback: what was received (with room for a NUL behind it), and
     * output on its way. */
    unsigned char *input;
    unsigned char *output;
    struct loop_watcher *watcher; /* NULL: none; set before loop_run */
    struct loop_inner *inner;     /* what only loop.c uses */
};

/* Returns NULL with errno set. */
struct loop *loop_create(void);

/* Another owner, and one less: a loop's memory lives until the last has dropped it. Any thread. */
void loop_hold(struct loop *loop);
void loop_drop(struct loop *loop);

/* Turns until loop_stop(), and at its end runs every task and message that is left; from then on
 * loop_post() fails. Returns 0, or a negative errno where epoll itself failed. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Watches for events (EPOLLIN, EPOLLOUT ...; EPOLLERR and EPOLLHUP always come along), in place of what
 * was watched before; 0 ends it. No system call where nothing changes. Returns 0 or -errno. */
static inline int loop_watch(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_watch_other(struct loop *loop, struct loop_source *source, uint32_t events);

/* Runs the task at the end of this turn, or of the next one where the turn is ending already. A task
 * that is queued stays queued once. */
void loop_defer(struct loop *loop, struct loop_task *task);

/* Milliseconds of the monotonic clock, at most LOOP_TICK_MS old: reads the clock only where the loop
 * was idle before. */
static inline uint64_t loop_now(struct loop *loop);

/* Sets a timer and sees to it that the loop wakes for it. Returns 0 or -ENOMEM. */
int loop_timer(struct loop *loop, struct timer *timer, uint64_t deadline);

/* Hands a message to the loop. Any thread. Returns 0, or -ESHUTDOWN after the loop's end: the message
 * is then the caller's still. */
int loop_post(struct loop *loop, struct loop_message *message);

/* The descriptor that loop_post() writes to, for a thread with a table of descriptors of its own to keep. */
int loop_bell(const struct loop *loop);

/* The next loop_now() reads the clock. For whoever sees that a turn lasts, in which no timer can fire. Any
 * thread. */
void loop_forget_time(struct loop *loop);

/* The monotonic clock in milliseconds. Any thread. */
uint64_t clock_ms(void);

/* Starts the tick; loop_now() calls it. */
uint64_t loop_tick(struct loop *loop);

static inline int loop_watch(struct loop *loop, struct loop_source *source, uint32_t events)
{
    return events == source->events ? 0 : loop_watch_other(loop, source, events);
}

static inline uint64_t loop_now(struct loop *loop)
{
    return atomic_load_explicit(&loop->ticking, memory_order_relaxed) ? loop->now : loop_tick(loop);
}

#endif
