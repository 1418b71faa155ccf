/* One stream connection.
 *
 *   conn.c         opening, events, timers, draining: what drives a connection
 *   conn_input.c   receiving, framing, the plugin's input callbacks
 *   conn_output.c  writing (as plugins call it) and flushing
 *   conn_end.c     the last callback, the log's line, the memory
 *   conn_timeouts.c   its deadlines and its timer
 *   conn_base.c    what all of these use
 *   conn_ref.c, conn_post.c   references, and events that other threads post through them
 *
 * Lifetime: conn_open allocates; conn_close only marks; the loop's end-of-turn task ends the connection,
 * calls on_close once and frees. Until then every pointer to it is good. */
#ifndef CONN_H
#define CONN_H

#include "buffer.h"
#include "service.h"
#include <stdalign.h>
#include <sys/socket.h>

/* Above the high-water mark of queued output nothing more is read from the client; at the low-water mark
 * it goes on. */
#define CONN_HIGH_WATER 65536
#define CONN_LOW_WATER 16384

/* How long a connection that we closed first is kept to let the client read and close: closing at once
 * would turn input on its way into a reset, and the reset would take our last answer along. */
#define CONN_LINGER_MS 2000

enum conn_phase {
    CONN_OPEN,
    CONN_FLUSHING,  /* no more input is delivered; ends when the output is sent */
    CONN_LINGERING, /* our side is shut; what comes is thrown away until the client closes */
    CONN_DEAD,      /* marked: ends with this turn */
};

struct enchufe_conn {
    /* What every request touches stands first, in as few cache lines as can be. */
    struct loop_source source;
    struct enchufe_loop *at;
    union {
        struct {
            uint8_t phase; /* enum conn_phase */
            bool paused;   /* by the plugin */
            bool above;    /* output passed the high-water mark and is not yet below the low one */
            bool blocked;  /* the system took no more output: waiting for EPOLLOUT */
            bool held;     /* input is kept that was not offered, because of paused or above */
            bool eof;      /* the client ended its side */
            bool eof_told; /* and the plugin knows */
            bool hung_up;  /* not watched: the client is gone, with nothing to read for now */
        };
        uint64_t unusual; /* all of them at once; 0: open, and nothing else is to be said */
    };
    bool busy;               /* in a callback or on the way to one: output is flushed right after */
    bool draining;           /* on_drain was called */
    uint8_t reason;          /* enum enchufe_reason */
    uint8_t receives_spared; /* so many full receives will not be followed by a second one */
    /* Since when the client owes input, in LOOP_TICK_MS after opened_at and one more; 0: it owes none, or it
     * is to be looked at anew. */
    uint32_t awaited;
    struct buffer out;
    uint64_t bytes_in, bytes_out;
    uint64_t write_deadline; /* while blocked or lingering */
    uint64_t active_at;      /* when bytes moved last, by loop_now() */
    struct buffer in;
    uint32_t scanned; /* by the framing, of the input that is kept */

    struct loop_task task;
    struct timer timer; /* the earliest of the deadlines (conn_due, plugin_deadline), or earlier */
    uint64_t plugin_deadline;
    uint64_t opened_at;
    enchufe_ref *ref; /* NULL until a plugin asks for one */
    enchufe_address peer;
    struct enchufe_conn *next, **link;          /* in at->conns */
    alignas(max_align_t) unsigned char state[]; /* the plugin's conn_size bytes */
};

_Static_assert(offsetof(struct enchufe_conn, hung_up) - offsetof(struct enchufe_conn, unusual) ==
                   sizeof(uint64_t) - 1,
               "unusual is all of what is unusual");

/* conn.c */

/* Takes an accepted, non-blocking socket over, which has its place in stats_connections() and among those of
 * its source, and calls on_open. Without memory the socket is closed and counted. */
void conn_open(struct enchufe_loop *at, int fd, const enchufe_address *peer);

/* Calls on_drain, once. */
void conn_drain(struct enchufe_conn *conn);

/* Calls on_event, unless the connection is closed already: then returns false. */
bool conn_event(struct enchufe_conn *conn, uint64_t tag, void *data);

/* Bytes moved: the idle time starts again. Reads no clock where nobody asks for the time. */
static inline void conn_active(struct enchufe_conn *conn, const struct enchufe_loop *at)
{
    if (at->service->timeouts.idle != 0)
        conn->active_at = loop_now(at->loop);
}

/* conn_input.c */

/* Whether the plugin may be given input now. */
static inline bool conn_takes_input(const struct enchufe_conn *conn)
{
    return conn->unusual == 0 || (conn->phase == CONN_OPEN && !conn->paused && !conn->above);
}

/* One receive, and all the callbacks it is good for. Returns whether it brought as much as it can, so that there is
 * probably more. */
bool conn_receive(struct enchufe_conn *conn);

/* Delivers what was held back, and the end of the stream after it. */
void conn_feed_held(struct enchufe_conn *conn);

/* conn_output.c */

/* Sends of what is queued, which is something, as much as the system takes at once. */
void conn_send(struct enchufe_conn *conn);

/* One send of what is queued, unless the system took no more last time. */
static inline void conn_flush(struct enchufe_conn *conn)
{
    if (conn->out.len != 0 && !conn->blocked)
        conn_send(conn);
}

/* conn_timeouts.c */

/* When a connection ends by itself, in milliseconds of the loop's time, and why. */
struct conn_due {
    uint64_t at; /* TIMER_NEVER: it does not */
    int reason;
};
struct conn_due conn_due(const struct enchufe_conn *conn);

/* Notes since when the client owes input, or that it does not. Once for each way in, and only where
 * service->awaits. */
void conn_await(struct enchufe_conn *conn);

/* Recomputes when the connection's timer must fire. */
void conn_schedule(struct enchufe_conn *conn);

/* The timer fired: closes what is due, calls on_timer where that is. */
void conn_expire(struct enchufe_conn *conn);

/* conn_end.c */

/* Ends it: on_close, the log's line, the counters, the memory. Only for the end of a turn. */
void conn_end(struct enchufe_conn *conn);

/* Gives back what an accepted connection took of the limits: once for each, whatever way it ends. */
void conn_give_back(struct enchufe_loop *at, const enchufe_address *peer);

/* A connection refused before it began: closed, counted and logged. */
void conn_refuse(struct enchufe_loop *at, int fd, const enchufe_address *peer, int reason);

/* conn_base.c */

/* Marks the connection as over: it ends with this turn. The reason stands, unless all was sent and the
 * connection only lingered: then why it ended is known already. */
void conn_close(struct enchufe_conn *conn, int reason);

/* Something changed from outside of the connection's own events (a write from another connection's
 * callback, resume): see to it at the end of the turn. */
void conn_later(struct enchufe_conn *conn);

#endif
