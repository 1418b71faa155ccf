/* What drives a connection: its opening, its events, its timers, the server's leaving.
 *
 * Every way in (an event of the socket, the end of the turn, a timer, a posted event) runs some callbacks
 * and then goes through settle(), which flushes, continues what was held back, and sets what is watched:
 * one place for the order of things. */
#include "conn.h"
#include "container.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static void watch(struct enchufe_conn *conn)
{
    uint32_t events = 0;
    bool reads = conn->phase == CONN_LINGERING || (conn_takes_input(conn) && !conn->eof);

    if (reads)
        events |= EPOLLIN;
    if (conn->blocked)
        events |= EPOLLOUT;
    /* With nothing to wait for, the socket stays registered for its end, which edge triggering reports
     * once. EPOLLRDHUP is no end: the client may still read. */
    if (events != 0)
        conn->hung_up = false;
    else if (!conn->hung_up)
        events = EPOLLET;
    int err = loop_watch(conn->at->loop, &conn->source, events);
    if (err != 0)
        conn_close(conn, err == -ENOMEM ? ENCHUFE_CLOSED_NO_MEMORY : ENCHUFE_CLOSED_IO_ERROR);
}

/* ---- settling ---- */

/* The output is sent: our side ends. A client that has ended its own can be let go at once; any other
 * gets time to read (CONN_LINGER_MS). */
static void end_output(struct enchufe_conn *conn)
{
    if (conn->eof || shutdown(conn->source.fd, SHUT_WR) != 0) {
        conn_close(conn, conn->reason);
        return;
    }
    conn->phase = CONN_LINGERING;
    conn->write_deadline = clock_ms() + CONN_LINGER_MS;
    conn_schedule(conn);
}

/* Whether nothing is left to do for a connection but to wait for input, as it did before: of all that
 * settle_rest() looks at, nothing is there. */
static bool is_settled(const struct enchufe_conn *conn)
{
    return conn->unusual == 0 && conn->out.data == NULL && conn->source.events == EPOLLIN &&
           !conn->at->service->awaits;
}

static __attribute__((noinline)) void settle_rest(struct enchufe_conn *conn)
{
    if (conn->above && conn->out.len <= CONN_LOW_WATER) {
        conn->above = false;
        if (conn->phase == CONN_OPEN)
            service_call(conn->at->service, on_drained, conn);
    }
    if (conn->held || (conn->eof && !conn->eof_told))
        conn_feed_held(conn);
    if (conn->phase == CONN_FLUSHING && conn->out.len == 0)
        end_output(conn);
    if (conn->at->service->awaits)
        conn_await(conn);

    if (buffer_own(&conn->out) != 0)
        conn_close(conn, ENCHUFE_CLOSED_NO_MEMORY);
    conn->busy = false;
    if (conn->phase == CONN_DEAD)
        return;
    /* What these callbacks wrote leaves after the others had their turn. */
    if (conn->out.len != 0 && !conn->blocked)
        conn_later(conn);
    watch(conn);
}

static inline void settle(struct enchufe_conn *conn)
{
    conn_flush(conn);
    if (is_settled(conn))
        conn->busy = false;
    else
        settle_rest(conn);
}

static void run_task(struct loop_task *task)
{
    struct enchufe_conn *conn = CONTAINER_OF(task, struct enchufe_conn, task);

    conn->busy = true;
    if (conn->phase != CONN_DEAD)
        settle(conn);
    else
        conn_end(conn);
}

/* ---- events ---- */

/* Thrown away in bounded time, not size: the client may be in the middle of a long upload. */
static void linger(struct enchufe_conn *conn)
{
    ssize_t n = recv(conn->source.fd, conn->at->loop->input, LOOP_INPUT_SIZE, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(conn, conn->reason);
}

/* An error or a hang-up while nothing is to be read: an error ends the connection; a client that is
 * just gone may have left input that the plugin will ask for later. */
static __attribute__((noinline)) void hangup(struct enchufe_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof error;

    getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0 || conn->eof || conn->out.len != 0)
        conn_close(conn, conn->phase == CONN_FLUSHING && conn->out.len == 0 ? conn->reason
                                                                            : ENCHUFE_CLOSED_RESET);
    else
        conn->hung_up = true;
}

/* After a second receive that brought nothing, how often none is tried. */
#define RECEIVES_SPARED 15

/* A receive that filled the memory has probably left more behind. That is received at once, which takes a seventh of the
 * time off bulk; a third receive gained nothing. Not where the loop has other services, which would wait: it may be a thousand
 * requests. And rarely of a client that has exactly as much on its way. */
static __attribute__((noinline)) void receive_again(struct enchufe_conn *conn)
{
    if (conn->at->loop->shares > 1 || !conn_takes_input(conn))
        return;
    if (conn->receives_spared != 0) {
        conn->receives_spared--;
        return;
    }
    uint64_t before = conn->bytes_in;
    conn->busy = true;
    conn_receive(conn);
    if (conn->bytes_in == before)
        conn->receives_spared = RECEIVES_SPARED;
    settle(conn);
}

static void ready(struct loop_source *source, uint32_t events)
{
    struct enchufe_conn *conn = CONTAINER_OF(source, struct enchufe_conn, source);
    bool more = false;

    if (conn->phase == CONN_DEAD)
        return;
    conn->busy = true;
    if (conn->phase == CONN_LINGERING) {
        linger(conn);
    } else {
        if (events & EPOLLOUT)
            conn->blocked = false;
        if (source->events & EPOLLIN && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            more = conn_receive(conn);
        else if (events & (EPOLLERR | EPOLLHUP))
            hangup(conn);
    }
    settle(conn);
    if (more)
        receive_again(conn);
}

/* ---- timers ---- */

static void expire(struct timer *timer)
{
    struct enchufe_conn *conn = CONTAINER_OF(timer, struct enchufe_conn, timer);

    if (conn->phase == CONN_DEAD)
        return;
    conn->busy = true;
    conn_expire(conn);
    settle(conn);
}

/* ---- from outside ---- */

bool conn_event(struct enchufe_conn *conn, uint64_t tag, void *data)
{
    if (conn->phase != CONN_OPEN || conn->at->service->plugin.v.on_event == NULL)
        return false;
    conn->busy = true;
    service_call(conn->at->service, on_event, conn, tag, data);
    settle(conn);
    return true;
}

void conn_drain(struct enchufe_conn *conn)
{
    if (conn->phase != CONN_OPEN || conn->draining)
        return;
    conn->draining = true;
    conn->busy = true;
    service_call(conn->at->service, on_drain, conn);
    settle(conn);
}

static struct enchufe_conn *create(struct enchufe_loop *at, int fd, const enchufe_address *peer)
{
    struct enchufe_conn *conn = calloc(1, sizeof *conn + at->service->plugin.v.conn_size);

    if (conn == NULL)
        return NULL;
    conn->source = (struct loop_source){ .fd = fd, .ready = ready, .set = share_set(&at->share) };
    conn->at = at;
    conn->task.run = run_task;
    conn->timer.fire = expire;
    conn->plugin_deadline = TIMER_NEVER;
    conn->write_deadline = TIMER_NEVER;
    conn->peer = *peer;
    conn->next = at->conns;
    conn->link = &at->conns;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    at->conns = conn;
    at->conn_count++;
    return conn;
}

void conn_open(struct enchufe_loop *at, int fd, const enchufe_address *peer)
{
    struct enchufe_conn *conn = create(at, fd, peer);

    if (conn == NULL) {
        conn_give_back(at, peer);
        conn_refuse(at, fd, peer, ENCHUFE_CLOSED_NO_MEMORY);
        return;
    }
    stats_add(&at->stats->opened, 1);
    conn->opened_at = clock_ms();
    conn->active_at = conn->opened_at;
    conn->busy = true;
    service_call(at->service, on_open, conn);
    conn_schedule(conn);
    settle(conn);
}
