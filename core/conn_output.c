/* Output of a connection: a queue that is flushed once a batch of input, and again when the system is
 * ready for more. */
#include "conn.h"
#include "system_call.h"
#include <errno.h>

/* The seam to the socket; with TLS the bytes will go through it. */
static ssize_t transport_send(struct enchufe_conn *conn, const void *data, size_t len)
{
    return system_send(conn->source.fd, data, len);
}

static bool is_input(const struct loop *loop, const void *data)
{
    return (uintptr_t)data - (uintptr_t)loop->input < LOOP_INPUT_SIZE;
}

/* What a plugin sends back of what it was just given leaves from there, without a copy: the input memory
 * stays as it is until the flush, which comes first when the callbacks have returned. */
static inline bool lend_input(struct enchufe_conn *conn, const void *data, size_t len)
{
    struct buffer *out = &conn->out;

    if (!is_input(conn->at->loop, data))
        return false;
    if (out->data == NULL) {
        buffer_lend(out, (void *)data, len);
        out->len = (uint32_t)len;
        return true;
    }
    if (!out->lent || buffer_head(out) + out->len != data || !is_input(conn->at->loop, out->data))
        return false;
    out->len += (uint32_t)len;
    out->cap = out->start + out->len;
    return true;
}

/* The loop's output memory takes what does not leave from the input, and what waits there already. */
static __attribute__((noinline)) int leave_input(struct enchufe_conn *conn)
{
    struct buffer before = conn->out;

    conn->out = (struct buffer){ .data = NULL };
    buffer_lend(&conn->out, conn->at->loop->output, LOOP_OUTPUT_SIZE);
    return buffer_append(&conn->out, buffer_head(&before), before.len);
}

/* In its own callback a connection writes into lent memory, which is flushed right after; only what is left
 * then gets memory of its own. */
static int append_copy(struct enchufe_conn *conn, const void *data, size_t len)
{
    struct buffer *out = &conn->out;
    int err = 0;

    if (out->data == NULL && conn->busy)
        buffer_lend(out, conn->at->loop->output, LOOP_OUTPUT_SIZE);
    else if (out->lent && is_input(conn->at->loop, out->data))
        err = leave_input(conn);
    if (err == 0)
        err = buffer_append(out, data, len);
    if (err != 0)
        conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
    return err;
}

static inline int append(struct enchufe_conn *conn, const void *data, size_t len)
{
    return conn->busy && lend_input(conn, data, len) ? 0 : append_copy(conn, data, len);
}

/* Whether so many bytes more may be queued: 0 or a negative errno. */
static int admit(struct enchufe_conn *conn, size_t len)
{
    if (conn->phase != CONN_OPEN)
        return -ENOTCONN;
    if (len <= conn->at->service->max_output - conn->out.len)
        return 0;
    conn_close(conn, ENCHUFE_CLOSED_SLOW_READER);
    return -ENOBUFS;
}

/* Something was queued. Returns 1 where the plugin should wait for on_drained. */
static int queued(struct enchufe_conn *conn)
{
    if (!conn->busy)
        conn_later(conn);
    if (conn->out.len < CONN_HIGH_WATER)
        return 0;
    conn->above = true;
    return 1;
}

int enchufe_write(enchufe_conn *conn, const void *data, size_t len)
{
    int err = admit(conn, len);

    if (err != 0 || len == 0)
        return err;
    err = append(conn, data, len);
    return err != 0 ? err : queued(conn);
}

int enchufe_writev(enchufe_conn *conn, const struct iovec *parts, int count)
{
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    int err = admit(conn, total);
    for (int i = 0; i < count && err == 0; i++)
        err = append(conn, parts[i].iov_base, parts[i].iov_len);
    return err != 0 || total == 0 ? err : queued(conn);
}

/* A client has write_timeout to take something; each time it does, the time starts again. */
static void expect_progress(struct enchufe_conn *conn)
{
    uint64_t timeout = conn->at->service->timeouts.write;

    conn->write_deadline =
        timeout == 0 ? TIMER_NEVER : loop_now(conn->at->loop) + timeout + LOOP_TICK_MS;
    conn_schedule(conn);
}

static void send_failed(struct enchufe_conn *conn, int err)
{
    if (err == EAGAIN || err == EWOULDBLOCK || err == EINTR) {
        conn->blocked = true;
        if (conn->write_deadline == TIMER_NEVER)
            expect_progress(conn);
    } else if (err == EPIPE || err == ECONNRESET || err == ETIMEDOUT) {
        conn_close(conn, ENCHUFE_CLOSED_RESET);
    } else if (err == ENOBUFS || err == ENOMEM) {
        conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
    } else {
        conn_close(conn, ENCHUFE_CLOSED_IO_ERROR);
    }
}

void conn_send(struct enchufe_conn *conn)
{
    struct enchufe_loop *at = conn->at;
    ssize_t n = transport_send(conn, buffer_head(&conn->out), conn->out.len);
    if (n < 0) {
        send_failed(conn, errno);
        return;
    }
    conn->bytes_out += (uint64_t)n;
    stats_add(&at->stats->bytes_out, (uint64_t)n);
    conn_active(conn, at);
    buffer_consume(&conn->out, (size_t)n);
    if (conn->out.len != 0) {
        conn->blocked = true;
        expect_progress(conn);
    } else {
        conn->write_deadline = TIMER_NEVER;
    }
}
