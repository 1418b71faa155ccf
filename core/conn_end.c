/* The end of a connection: the last callback, the log's line, the counters, the memory. */
#include "conn.h"
#include "conn_ref.h"
#include "log.h"
#include "system_call.h"
#include <stdlib.h>
#include <unistd.h>

static void log_closed(const struct enchufe_conn *conn, uint64_t duration)
{
    char peer[ENCHUFE_ADDRESS_TEXT];

    log_event(ENCHUFE_LOG_INFO, "closed", LOG_STR("service", conn->at->service->name),
              LOG_STR("peer", enchufe_address_format(&conn->peer, peer, sizeof peer)),
              LOG_NUM("in", conn->bytes_in), LOG_NUM("out", conn->bytes_out),
              LOG_DURATION("duration", duration),
              LOG_STR("reason", enchufe_reason_name(conn->reason)));
}

/* Frees at once what the system holds for the client: for who does not read that would be megabytes, for
 * minutes. */
static void reset_on_close(int fd)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* Output that is given up must not look to the client as if the answer ended there. */
static bool ends_with_reset(const struct enchufe_conn *conn)
{
    return conn->reason == ENCHUFE_CLOSED_ABORTED || conn->reason == ENCHUFE_CLOSED_SLOW_READER ||
           conn->out.len != 0;
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

    if (ends_with_reset(conn))
        reset_on_close(conn->source.fd);
    /* Not left to close(): a process that a plugin forked may hold the socket open, and epoll would go on
     * to report a connection that is freed. */
    loop_watch(at->loop, &conn->source, 0);
    system_close(conn->source.fd);
    stats_add(&at->stats->closed, 1);
    stats_add(&at->stats->reasons[conn->reason], 1);
    conn_give_back(at, &conn->peer);
    if (enchufe_log_enabled(ENCHUFE_LOG_INFO))
        log_closed(conn, clock_ms() - conn->opened_at);
    buffer_free(&conn->in);
    buffer_free(&conn->out);
    free(conn);
    if (--at->conn_count == 0 && at->emptied != NULL)
        at->emptied(at);
}

void conn_give_back(struct enchufe_loop *at, const enchufe_address *peer)
{
    guard_leave(&at->service->streams, peer);
    stats_connection_ended(at->service->counters, at->service->index);
}

/* Whose refusal it is, for the log. */
static struct ip source(const struct enchufe_service *service, const enchufe_address *peer)
{
    return peer->family != ENCHUFE_FAMILY_NONE ? source_of(&service->streams.prefix, peer)
                                               : (struct ip){ .high = 0 };
}

void conn_refuse(struct enchufe_loop *at, int fd, const enchufe_address *peer, int reason)
{
    char text[ENCHUFE_ADDRESS_TEXT];

    /* A client that comes too often must not leave a socket in TIME_WAIT each time. */
    if (reason == ENCHUFE_CLOSED_DENIED || reason == ENCHUFE_CLOSED_SOURCE_LIMIT ||
        reason == ENCHUFE_CLOSED_SOURCE_RATE)
        reset_on_close(fd);
    system_close(fd);
    stats_add(&at->stats->reasons[reason], 1);
    if (!refusals_may_say(&at->service->refusals, at->loop, source(at->service, peer)))
        return;
    log_event(ENCHUFE_LOG_INFO, "closed", LOG_STR("service", at->service->name),
              LOG_STR("peer", enchufe_address_format(peer, text, sizeof text)), LOG_NUM("in", 0),
              LOG_NUM("out", 0), LOG_DURATION("duration", 0),
              LOG_STR("reason", enchufe_reason_name(reason)));
}
