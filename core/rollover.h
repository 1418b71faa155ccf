/* How one generation follows another: the one that serves, the one that comes up, the one that drains.
 *
 * A reload reads the file, probes the plugins, and starts the workers of a next generation; when all are
 * prepared the sockets are handed over and the one before drains. Whatever fails on the way, the one that
 * serves goes on undisturbed. Never more than two generations have workers: a reload waits until the one
 * that drains has gone, which is at most its drain_timeout, and reloads that come meanwhile are joined. */
#ifndef ROLLOVER_H
#define ROLLOVER_H

#include "supervisor.h"

struct rollover;

/* Somebody who waits for a reload; owned by the caller until done is called, once. */
struct reload_waiter {
    struct reload_waiter *next;
    /* text: `generation 2 serves`, or every error, a line each. */
    void (*done)(struct reload_waiter *waiter, bool good, const char *text);
};

struct rollover_setup {
    struct loop *loop;
    const char *file;       /* what a reload reads; borrowed */
    const char *plugin_dir; /* of the command line, or NULL; borrowed */
    /* Told with context: a reload begins, and has read this so far; a generation serves (the first, each
     * that follows, and after a reload that failed the one that goes on); the first failed to; all is over
     * after leaving. */
    void (*reloading)(void *context, const struct generation *attempt);
    void (*serving)(void *context, const struct generation *generation);
    void (*failed)(void *context, struct report *report);
    void (*gone)(void *context);
    /* After rollover_hand_over(): whoever connects from now on gets the other server. */
    void (*handed_over)(void *context);
    void *context;
};

/* Starts with a generation that was read, probed and bound; it is the rollover's from now on. Returns NULL
 * without memory, with the generation freed. */
struct rollover *rollover_start(const struct rollover_setup *setup, struct generation *first);

/* Asks for a reload; waiter may be NULL. */
void rollover_reload(struct rollover *rollover, struct reload_waiter *waiter);

/* The waiter is no longer interested (its client is gone). */
void rollover_forget(struct rollover *rollover, struct reload_waiter *waiter);

/* Ends all generations; from then on reloads are refused. */
void rollover_leave(struct rollover *rollover, bool at_once);

/* Whether a reload is under way. */
bool rollover_is_reloading(const struct rollover *rollover);

/* While another server is started no reload begins: it would change the sockets that the other one got. */
void rollover_hold(struct rollover *rollover, bool hold);

/* Another server has the sockets now, but for the list of those that it does not want: the workers drain,
 * and nothing else is shut or removed behind them. Returns whether a reload was waiting, which is the other
 * server's task then. */
bool rollover_hand_over(struct rollover *rollover, const char *unwanted);

/* After SIGCHLD. */
void rollover_reap(struct rollover *rollover);

void rollover_send_log(struct rollover *rollover, int fd);

/* The one that serves; NULL at the very end. */
const struct generation *rollover_serving(const struct rollover *rollover);

/* For the status: every generation with workers, the serving one first. */
struct generation_view {
    const struct generation *generation;
    const struct supervisor *supervisor;
    const char *state; /* `serving`, `draining`, `starting` */
    uint64_t age_ms;   /* since it was started */
    int64_t left_ms;   /* draining: until its end; -1: no limit */
};
void rollover_each(const struct rollover *rollover,
                   void (*see)(void *context, const struct generation_view *view), void *context);

/* What a service (by name) did in generations that are gone. Returns zeros for one that is unknown. */
void rollover_history(const struct rollover *rollover, const char *service, struct stats *sum);

void rollover_free(struct rollover *rollover);

#endif
