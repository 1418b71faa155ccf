/* The deadlines of a connection, and the one timer that stands for all of them.
 *
 * Two run whatever a connection waits for: idle_timeout and session_timeout. Three run only while the server
 * waits for the client: first_byte_timeout and message_timeout while input is owed, write_timeout while
 * output is not taken. A plugin that pauses, or output above the high-water mark, stops the wait for input:
 * what a client may have sent meanwhile is not read. */
#include "conn.h"

/* How long the client may take for what it owes; 0: for ever, or it owes nothing. It owes the first byte,
 * and the rest of a message (without a framing: whatever makes the plugin take what is kept). */
static uint64_t owed_within(const struct enchufe_conn *conn)
{
    const struct timeouts *timeouts = &conn->at->service->timeouts;

    if (!conn_takes_input(conn) || conn->eof)
        return 0;
    if (conn->bytes_in == 0)
        return timeouts->first_byte;
    return conn->in.len != 0 ? timeouts->message : 0;
}

void conn_await(struct enchufe_conn *conn)
{
    uint64_t now;

    if (owed_within(conn) == 0) {
        conn->awaited = 0;
    } else if (conn->awaited == 0) {
        now = loop_now(conn->at->loop);
        /* The loop's time may be from before the connection. */
        conn->awaited =
            now < conn->opened_at ? 1 : (uint32_t)((now - conn->opened_at) / LOOP_TICK_MS + 1);
        conn_schedule(conn);
    }
}

static void consider(struct conn_due *due, uint64_t at, int reason)
{
    if (at < due->at)
        *due = (struct conn_due){ .at = at, .reason = reason };
}

/* A millisecond or a tick more than the timeout where the start was rounded down by as much: none is early. */
struct conn_due conn_due(const struct enchufe_conn *conn)
{
    const struct timeouts *timeouts = &conn->at->service->timeouts;
    struct conn_due due = { .at = TIMER_NEVER };
    uint64_t owed = owed_within(conn);

    /* What lingers has been sent all: there is only the wait for the client's end. */
    if (conn->phase == CONN_LINGERING) {
        consider(&due, conn->write_deadline, conn->reason);
        return due;
    }
    consider(&due, conn->write_deadline, ENCHUFE_CLOSED_SLOW_READER);
    if (conn->awaited != 0 && owed != 0)
        consider(&due, conn->opened_at + ((uint64_t)conn->awaited + 1) * LOOP_TICK_MS + owed,
                 conn->bytes_in == 0 ? ENCHUFE_CLOSED_FIRST_BYTE : ENCHUFE_CLOSED_MESSAGE);
    if (timeouts->idle != 0)
        consider(&due, conn->active_at + timeouts->idle + LOOP_TICK_MS, ENCHUFE_CLOSED_IDLE);
    if (timeouts->session != 0)
        consider(&due, conn->opened_at + timeouts->session + 1, ENCHUFE_CLOSED_SESSION);
    return due;
}

/* A deadline that moved back is left to the timer's early call: most do, with each batch of bytes. */
void conn_schedule(struct enchufe_conn *conn)
{
    uint64_t next = conn_due(conn).at;

    if (conn->plugin_deadline < next)
        next = conn->plugin_deadline;
    if (next == TIMER_NEVER || (timer_running(&conn->timer) && conn->timer.deadline <= next))
        return;
    if (loop_timer(conn->at->loop, &conn->timer, next) != 0)
        conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
}

/* The loop may have been held up, or the whole machine: what the client did in time counts, although we see
 * it only now. */
static void look_once_more(struct enchufe_conn *conn)
{
    if (conn->blocked) {
        conn->blocked = false;
        conn_flush(conn);
    }
    if (conn_takes_input(conn) && !conn->eof)
        conn_receive(conn);
}

void conn_expire(struct enchufe_conn *conn)
{
    uint64_t now = conn->at->loop->now;
    struct conn_due due = conn_due(conn);

    if (due.at <= now && conn->phase != CONN_LINGERING && due.reason != ENCHUFE_CLOSED_SESSION) {
        look_once_more(conn);
        due = conn_due(conn);
    }
    if (due.at <= now) {
        conn_close(conn, due.reason);
    } else if (conn->plugin_deadline <= now) {
        conn->plugin_deadline = TIMER_NEVER;
        if (conn->phase == CONN_OPEN)
            service_call(conn->at->service, on_timer, conn);
    }
    if (conn->phase != CONN_DEAD)
        conn_schedule(conn);
}
