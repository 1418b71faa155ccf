/* What every part of a connection uses: marking it as over, putting it off to the end of the turn, and
 * when its timer must fire. */
#include "conn.h"

void conn_close(struct enchufe_conn *conn, int reason)
{
    if (conn->phase == CONN_DEAD)
        return;
    /* One that lingers has been sent all, and why it ends is known. */
    if (conn->phase != CONN_LINGERING)
        conn->reason = (uint8_t)reason;
    conn->phase = CONN_DEAD;
    loop_defer(conn->at->loop, &conn->task);
}

void conn_later(struct enchufe_conn *conn)
{
    loop_defer(conn->at->loop, &conn->task);
}

uint64_t conn_idle_deadline(const struct enchufe_conn *conn)
{
    uint64_t timeout = conn->at->service->config->limits.idle_timeout;

    return timeout == 0 || conn->phase != CONN_OPEN ? TIMER_NEVER
                                                    : conn->active_at + timeout + LOOP_TICK_MS;
}

static uint64_t next_deadline(const struct enchufe_conn *conn)
{
    uint64_t next = conn_idle_deadline(conn);

    if (conn->write_deadline < next)
        next = conn->write_deadline;
    return conn->plugin_deadline < next ? conn->plugin_deadline : next;
}

/* A deadline that moved back is left to the timer's early call: most do, with each batch of bytes. */
void conn_schedule(struct enchufe_conn *conn)
{
    uint64_t next = next_deadline(conn);

    if (next == TIMER_NEVER || (timer_running(&conn->timer) && conn->timer.deadline <= next))
        return;
    if (loop_timer(conn->at->loop, &conn->timer, next) != 0)
        conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
}
