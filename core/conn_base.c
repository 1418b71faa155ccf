/* What every part of a connection uses: marking it as over, and putting it off to the end of the turn. */
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
