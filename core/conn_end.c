/* The end of a connection: the last callback, the log's line, the counters, the memory. */
#include "conn.h"
#include "conn_ref.h"
#include "log.h"
#include "system_call.h"
#include <stdlib.h>
#include <unistd.h>

#define LOG_REFUSAL_MS 1000

static void log_closed(const struct enchufe_conn *conn, uint64_t duration)
{
    char peer[ENCHUFE_ADDRESS_TEXT];

    log_event(ENCHUFE_LOG_INFO, "closed", LOG_STR("service", conn->at->service->name),
              LOG_STR("peer", enchufe_address_format(&conn->peer, peer, sizeof peer)),
              LOG_NUM("in", conn->bytes_in), LOG_NUM("out", conn->bytes_out),
              LOG_DURATION("duration", duration),
              LOG_STR("reason", enchufe_reason_name(conn->reason)));
}

/* A client that does not read would keep its unsent megabytes in the system for minutes after a
 * close: a reset frees them. */
static void reset_on_close(int fd)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

void conn_end(struct enchufe_conn *conn)
{
    struct enchufe_loop *at = conn->at;

    service_call(at->service, on_close, conn, conn->reason);
    conn_ref_detach(conn);
    timer_cancel(&at->loop->timers, &conn->timer);
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;

    if (conn->reason == ENCHUFE_CLOSED_ABORTED || conn->reason == ENCHUFE_CLOSED_SLOW_READER)
        reset_on_close(conn->source.fd);
    /* Not left to close(): a process that a plugin forked may hold the socket open, and epoll would go on
     * to report a connection that is freed. */
    loop_watch(at->loop, &conn->source, 0);
    system_close(conn->source.fd);
    stats_add(&at->stats->closed, 1);
    stats_add(&at->stats->reasons[conn->reason], 1);
    stats_connection_ended(at->service->counters, at->service->index);
    if (enchufe_log_enabled(ENCHUFE_LOG_INFO))
        log_closed(conn, clock_ms() - conn->opened_at);
    buffer_free(&conn->in);
    buffer_free(&conn->out);
    free(conn);
    if (--at->conn_count == 0 && at->emptied != NULL)
        at->emptied(at);
}

/* Refusing costs a client nothing, so the log must not pay for each: one line a second. */
static bool may_log_refusal(void)
{
    static _Atomic uint64_t last;
    uint64_t now = clock_ms(), before = atomic_load(&last);

    return (before == 0 || now - before >= LOG_REFUSAL_MS) &&
           atomic_compare_exchange_strong(&last, &before, now);
}

void conn_refuse(struct enchufe_loop *at, int fd, const enchufe_address *peer, int reason)
{
    char text[ENCHUFE_ADDRESS_TEXT];

    close(fd);
    stats_add(&at->stats->reasons[reason], 1);
    if (!may_log_refusal())
        return;
    log_event(ENCHUFE_LOG_INFO, "closed", LOG_STR("service", at->service->name),
              LOG_STR("peer", enchufe_address_format(peer, text, sizeof text)), LOG_NUM("in", 0),
              LOG_NUM("out", 0), LOG_DURATION("duration", 0),
              LOG_STR("reason", enchufe_reason_name(reason)));
}
