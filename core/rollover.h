/* How one generation follows another: the one that serves, the one that comes up, the one that drains.
 *
 * A reload reads the file, probes the plugins and binds the sockets at once, whatever else goes on, so that
 * an error is told at once. Then it starts the workers of a next generation; when all are prepared the
 * sockets are handed over and the one before drains. Whatever fails on the way, the one that serves goes on
 * undisturbed. Never more than two generations have workers: one that was found right waits until the one
 * that drains has gone, which is at most its drain_timeout. A reload that comes meanwhile takes its place,
 * with those who wait for it, if it is right too. Those that come while one is read, or comes up, are joined
 * and read after that. */
#ifndef ROLLOVER_H
#define ROLLOVER_H

#include "era.h"

struct rollover;

struct rollover_setup {
    struct loop *loop;
    const char *file;       /* what a reload reads; borrowed */
    const char *plugin_dir; /* of the command line, or NULL; borrowed */
    /* Told with context: a reload begins; it has read this, and nothing is known yet of
     * what is wrong with it; its workers are about to be started, and what forbids that, or
     * takes a restart of the server, is to be added; a generation serves (the first, each that follows, and after a
     * reload that failed the one that goes on); the first failed to; all is over after leaving. */
    void (*reloading)(void *context);
    void (*read)(void *context, const struct generation *attempt);
    void (*starting)(void *context, const struct generation *generation, struct report *errors,
                     struct report *notes);
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

/* Whether a reload is under way; one that only waits for the generation that drains is not. */
bool rollover_is_reloading(const struct rollover *rollover);

/* While another server is started no reload begins: it would change the sockets that the other one got. One
 * that waits begins anew afterwards. */
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

/* For the status: every generation with workers, the serving one first, and one that waits to have some. */
void rollover_each(const struct rollover *rollover,
                   void (*see)(void *context, const struct generation_view *view), void *context);

/* For the status: what a reload reads, and the last one that failed, until one succeeds. */
struct reload_view {
    const char *file;
    const char *error;   /* the first of that one's; NULL: none failed */
    uint64_t failed_ago; /* in ms */
};
void rollover_reloads(const struct rollover *rollover, struct reload_view *view);

/* What a service (by name) did in generations that are gone. Returns zeros for one that is unknown. */
void rollover_history(const struct rollover *rollover, const char *service, struct stats *sum);

void rollover_free(struct rollover *rollover);

#endif
