/* Input of a connection: from the socket to the plugin, whole messages where it declared a framing. */
#include "conn.h"
#include "framing.h"
#include "log.h"
#include "system_call.h"
#include <errno.h>

/* The seam to the socket; with TLS the bytes will come through it. */
static ssize_t transport_receive(struct enchufe_conn *conn, void *data, size_t size)
{
    return system_recv(conn->source.fd, data, size);
}

/* Apart from its caller, which every request passes: the line takes much of the stack. */
static __attribute__((noinline, cold)) void consumed_too_much(struct enchufe_conn *conn, size_t len,
                                                              size_t used)
{
    const struct enchufe_service *service = conn->at->service;

    log_event(ENCHUFE_LOG_ERROR, "plugin broke the contract", LOG_STR("service", service->name),
              LOG_STR("plugin", service->plugin.v.name), LOG_STR("callback", "on_data"),
              LOG_STR("error", "consumed more than it was given"), LOG_NUM("given", len),
              LOG_NUM("consumed", used));
    conn_close(conn, ENCHUFE_CLOSED_PLUGIN_ERROR);
}

static inline size_t call_on_data(struct enchufe_conn *conn, const unsigned char *data, size_t len)
{
    struct enchufe_service *service = conn->at->service;

    trace_enter(service->index, CALLBACK_on_data);
    size_t used = service->plugin.v.on_data(conn, data, len);
    trace_leave();
    if (used <= len)
        return used;
    consumed_too_much(conn, len, used);
    return len;
}

/* No more input counts; what was answered before it is sent all the same. */
static void give_up(struct enchufe_conn *conn, int reason)
{
    conn->phase = CONN_FLUSHING;
    conn->reason = (uint8_t)reason;
}

/* Returns the bytes that the first message took; 0 where there is none yet, or the connection was
 * closed for what stands there. */
static size_t feed_message(struct enchufe_conn *conn, unsigned char *data, size_t len)
{
    struct enchufe_service *service = conn->at->service;
    const enchufe_framing *framing = service->plugin.v.framing;
    struct frame frame = framing_next(framing, service->max_message, data, len, conn->scanned);

    if (frame.status == 0 && conn->eof)
        frame = framing_last(framing, data, len);
    conn->scanned = (uint32_t)frame.scanned;
    if (frame.status < 0) {
        give_up(conn,
                frame.status == -EMSGSIZE ? ENCHUFE_CLOSED_TOO_LONG : ENCHUFE_CLOSED_BAD_FRAME);
        return 0;
    }
    if (frame.status == 0)
        return 0;
    conn->scanned = 0;
    /* The byte behind a line is its ending, or our own room for this. */
    if (framing->type == ENCHUFE_FRAMING_LINE)
        data[frame.offset + frame.len] = '\0';
    service_call(service, on_message, conn, data + frame.offset, frame.len);
    return frame.size;
}

/* Apart from its caller as well: what a framing tells lies on the stack, and is guarded there. */
static __attribute__((noinline)) size_t feed_messages(struct enchufe_conn *conn,
                                                      unsigned char *data, size_t len)
{
    size_t used = 0, n = 1;

    while (used < len && n != 0 && conn_takes_input(conn)) {
        n = feed_message(conn, data + used, len - used);
        used += n;
    }
    conn->held = used < len && n != 0;
    return used;
}

static inline size_t feed_bytes(struct enchufe_conn *conn, const unsigned char *data, size_t len)
{
    size_t max = conn->at->service->max_input, used = 0, n = 1;

    while (used < len && n != 0 && conn_takes_input(conn)) {
        n = call_on_data(conn, data + used, len - used < max ? len - used : max);
        used += n;
    }
    /* Paused with nothing taken: the plugin will want it after all. */
    conn->held = used < len && (n != 0 || conn->paused);
    return used;
}

/* Gives the plugin what it takes of data; returns how much that was. Output that piles up stops it: what
 * is left is held until the output has drained. */
static inline size_t feed(struct enchufe_conn *conn, unsigned char *data, size_t len)
{
    return conn->at->service->plugin.v.framing != NULL ? feed_messages(conn, data, len)
                                                       : feed_bytes(conn, data, len);
}

/* What a plugin could have taken and did not may not pass max_input; what it was not offered yet may be
 * one receive more. */
static void check_kept(struct enchufe_conn *conn)
{
    if (conn->phase == CONN_OPEN && !conn->held && conn->in.len >= conn->at->service->max_input)
        give_up(conn, ENCHUFE_CLOSED_INPUT_FULL);
}

/* What the plugin did not take, for when more has come. */
static void keep(struct enchufe_conn *conn, const unsigned char *data, size_t len)
{
    if (conn->phase == CONN_OPEN && buffer_append(&conn->in, data, len) != 0)
        conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
}

static void feed_kept(struct enchufe_conn *conn)
{
    size_t used = feed(conn, conn->in.data + conn->in.start, conn->in.len);

    buffer_consume(&conn->in, used);
    if (used != 0)
        conn->awaited = 0;
}

/* After the last byte: what is left of a line is a line, of any other message an error. */
static void tell_eof(struct enchufe_conn *conn)
{
    struct enchufe_service *service = conn->at->service;

    conn->eof_told = true;
    if (service->plugin.v.framing != NULL && conn->in.len != 0) {
        give_up(conn, ENCHUFE_CLOSED_CUT_SHORT);
    } else if (service->plugin.v.on_eof != NULL) {
        service_call(service, on_eof, conn);
    } else {
        give_up(conn, ENCHUFE_CLOSED_BY_CLIENT);
    }
}

void conn_feed_held(struct enchufe_conn *conn)
{
    if (conn->held && conn_takes_input(conn))
        feed_kept(conn);
    if (conn->eof && !conn->eof_told && !conn->held && conn_takes_input(conn))
        tell_eof(conn);
    check_kept(conn);
}

/* More came behind what the plugin has not taken. */
static void received_more(struct enchufe_conn *conn, const unsigned char *data, size_t len)
{
    keep(conn, data, len);
    if (conn->phase == CONN_OPEN)
        feed_kept(conn);
    check_kept(conn);
}

static void received(struct enchufe_conn *conn, unsigned char *data, size_t len)
{
    struct enchufe_loop *at = conn->at;

    conn->bytes_in += len;
    stats_add(&at->stats->bytes_in, len);
    conn_active(conn, at);
    if (conn->in.len != 0) {
        received_more(conn, data, len);
        return;
    }
    /* Not the wait for the first byte any more. */
    conn->awaited = 0;
    size_t used = feed(conn, data, len);
    if (used != len) {
        keep(conn, data + used, len - used);
        check_kept(conn);
    }
}

static void received_eof(struct enchufe_conn *conn)
{
    conn->eof = true;
    /* The framing looks at what is left once more: the end of the stream ends a line. */
    if (conn->in.len != 0 && conn->at->service->plugin.v.framing != NULL) {
        /* Room for the NUL behind a last line. */
        if (buffer_append(&conn->in, "", 1) != 0) {
            conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
            return;
        }
        conn->in.len--;
        conn->held = true;
    }
    conn_feed_held(conn);
}

bool conn_receive(struct enchufe_conn *conn)
{
    unsigned char *data = conn->at->loop->input;
    ssize_t n = transport_receive(conn, data, LOOP_INPUT_SIZE);

    if (n > 0)
        received(conn, data, (size_t)n);
    else if (n == 0)
        received_eof(conn);
    else if (errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT)
        conn_close(conn, ENCHUFE_CLOSED_RESET);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        conn_close(conn, ENCHUFE_CLOSED_IO_ERROR);
    return n == LOOP_INPUT_SIZE;
}
