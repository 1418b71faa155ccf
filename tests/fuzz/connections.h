/* A service on a loop, its clients, and the promises of the contract: the plugin's callbacks are wrapped in
 * ones that assert them. Whoever includes it makes the service and says what clients send. */
#ifndef FUZZ_CONNECTIONS_H
#define FUZZ_CONNECTIONS_H

#include "conn.h"
#include "conn_ref.h"
#include "container.h"
#include "framing.h"
#include "log.h"
#include "system.h"

#define CLIENTS 4

/* The client's side of a connection, and what is known of the server's. */
struct client {
    int fd;                    /* -1: closed */
    struct enchufe_conn *conn; /* NULL: over */
    bool used, eof_told, drain_told;
    bool given_up;         /* closed before everything was read */
    int reason;            /* of on_close */
    size_t sent, received; /* by the client */
    size_t taken, written; /* by the plugin */
    uint64_t timer;        /* when it is due; 0: not set */
};

static struct {
    enchufe_plugin real; /* the vtable under test */
    struct service_config config;
    struct enchufe_service service;
    struct enchufe_loop at;
    struct client clients[CLIENTS];
    struct client *opening;
    bool in_callback;
    struct loop_task driver;
    struct input ops;
    unsigned ending; /* turns since the last op */
} world;

/* The driver's next step; returns false when there is none left. */
static bool step(void);
/* Bytes that came back. */
static void client_received(struct client *client, const unsigned char *data, size_t len);

static struct client *client_of(const struct enchufe_conn *conn)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (world.clients[i].conn == conn)
            return &world.clients[i];
    CHECK(!"a callback for a connection that is over");
    return NULL;
}

/* ---- the promises ---- */

static struct client *enter(struct enchufe_conn *conn)
{
    struct client *client = client_of(conn);

    CHECK(!world.in_callback && conn->phase == CONN_OPEN);
    world.in_callback = true;
    return client;
}

static void leave(void)
{
    CHECK(world.in_callback);
    world.in_callback = false;
}

static void checked_open(enchufe_conn *conn)
{
    CHECK(!world.in_callback && world.opening != NULL);
    world.opening->conn = conn;
    world.opening = NULL;
    world.in_callback = true;
    if (world.real.on_open != NULL)
        world.real.on_open(conn);
    leave();
}

static void check_offer(struct enchufe_conn *conn, size_t len)
{
    CHECK(!conn->paused && !conn->above && len <= world.service.max_input);
    CHECK(!client_of(conn)->eof_told);
}

static size_t checked_data(enchufe_conn *conn, const void *data, size_t len)
{
    enter(conn);
    check_offer(conn, len);
    CHECK(len != 0);
    size_t used = world.real.on_data(conn, data, len);
    leave();
    return used;
}

static void checked_message(enchufe_conn *conn, const void *data, size_t len)
{
    enter(conn);
    check_offer(conn, len);
    CHECK(len <= world.service.max_message);
    CHECK(world.real.framing->type != ENCHUFE_FRAMING_LINE || ((const char *)data)[len] == '\0');
    world.real.on_message(conn, data, len);
    leave();
}

static void checked_eof(enchufe_conn *conn)
{
    struct client *client = enter(conn);

    CHECK(!client->eof_told);
    client->eof_told = true;
    world.real.on_eof(conn);
    leave();
}

static void checked_drained(enchufe_conn *conn)
{
    enter(conn);
    CHECK(conn->out.len <= CONN_LOW_WATER);
    world.real.on_drained(conn);
    leave();
}

static void checked_timer(enchufe_conn *conn)
{
    enter(conn);
    world.real.on_timer(conn);
    leave();
}

static void checked_event(enchufe_conn *conn, uint64_t tag, void *data)
{
    enter(conn);
    world.real.on_event(conn, tag, data);
    leave();
}

static void checked_drain(enchufe_conn *conn)
{
    struct client *client = enter(conn);

    CHECK(!client->drain_told);
    client->drain_told = true;
    world.real.on_drain(conn);
    leave();
}

static void checked_close(enchufe_conn *conn, int reason)
{
    struct client *client = client_of(conn);

    CHECK(!world.in_callback && strcmp(enchufe_reason_name(reason), "unknown") != 0);
    world.in_callback = true;
    if (world.real.on_close != NULL)
        world.real.on_close(conn, reason);
    leave();
    client->conn = NULL;
    client->reason = reason;
}

/* What the plugin lacks stays lacking, but for the two that count connections. */
static void wrap(void)
{
    enchufe_plugin *v = &world.service.plugin.v;

    world.real = *v;
    v->on_open = checked_open;
    v->on_close = checked_close;
#define WRAP(callback, checked) v->callback = v->callback != NULL ? (checked) : NULL
    WRAP(on_data, checked_data);
    WRAP(on_message, checked_message);
    WRAP(on_eof, checked_eof);
    WRAP(on_drained, checked_drained);
    WRAP(on_timer, checked_timer);
    WRAP(on_event, checked_event);
    WRAP(on_drain, checked_drain);
#undef WRAP
}

/* Between two steps nothing is half done, and memory is bounded. */
static void check_memory(void)
{
    size_t count = 0;

    for (struct enchufe_conn *conn = world.at.conns; conn != NULL; conn = conn->next) {
        count++;
        client_of(conn);
        CHECK(!conn->busy && !conn->out.lent && !conn->in.lent);
        CHECK(conn->out.len <= world.config.limits.max_output);
        CHECK(conn->in.len <= world.service.max_input + LOOP_INPUT_SIZE);
        CHECK((conn->out.len == 0) == (conn->out.data == NULL));
    }
    CHECK(count == world.at.conn_count && !world.in_callback);
    CHECK(stats_connections(world.service.counters, 0) == (int64_t)count);
}

/* ---- clients ---- */

static void client_open(void)
{
    static const enchufe_address nobody = { .family = ENCHUFE_FAMILY_NONE };
    struct client *client = world.clients;
    int ends[2];

    while (client < world.clients + CLIENTS && client->used)
        client++;
    if (client == world.clients + CLIENTS)
        return;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    *client = (struct client){ .fd = ends[1], .used = true };
    world.opening = client;
    stats_connection_began(world.service.counters, 0);
    conn_open(&world.at, ends[0], &nobody);
    CHECK(world.opening == NULL);
}

static void client_send(struct client *client, const void *data, size_t len)
{
    ssize_t n = client->fd < 0 ? 0
                               : syscall(SYS_sendto, client->fd, data, len,
                                         MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);

    client->sent += n > 0 ? (size_t)n : 0;
}

/* Returns whether anything came. */
static bool client_receive(struct client *client, size_t size)
{
    static unsigned char data[1 << 16];

    if (client->fd < 0)
        return false;
    ssize_t n = syscall(SYS_recvfrom, client->fd, data, size < sizeof data ? size : sizeof data,
                        MSG_DONTWAIT, NULL, NULL);
    if (n > 0)
        client_received(client, data, (size_t)n);
    client->received += n > 0 ? (size_t)n : 0;
    return n > 0;
}

static void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

/* ---- driving ---- */

/* After the last op everybody reads until nothing more comes, then leaves; time passes, and at last the
 * server ends. */
static void end_step(void)
{
    unsigned turn = world.ending++;

    fake.faults.len = 0;
    for (size_t i = 0; i < CLIENTS && turn < 10; i++)
        while (client_receive(&world.clients[i], 1 << 16))
            world.ending = 1;
    if (turn == 10)
        for (size_t i = 0; i < CLIENTS; i++)
            client_close(&world.clients[i]);
    if (turn > 10 && turn < 20)
        fake_advance(600000);
    for (struct enchufe_conn *conn = world.at.conns; conn != NULL && turn == 20; conn = conn->next)
        conn_close(conn, ENCHUFE_CLOSED_SHUTDOWN);
    if (turn < 22) {
        loop_defer(world.at.loop, &world.driver);
        return;
    }
    CHECK(world.at.conn_count == 0);
    loop_stop(world.at.loop);
}

/* A task of every turn: the others of the turn may stand behind it, so memory is looked at first thing in
 * the next. */
static void drive(struct loop_task *task)
{
    check_memory();
    if (world.ending == 0 && step())
        loop_defer(world.at.loop, task);
    else
        end_step();
}

/* Runs the service, which is started and wrapped, with clients, to its end. loop_drop() is the caller's. */
static void run_world(void)
{
    memset(world.clients, 0, sizeof world.clients);
    for (size_t i = 0; i < CLIENTS; i++)
        world.clients[i].fd = -1;
    world.ending = 0;
    struct loop *loop = loop_create();
    CHECK(loop != NULL);
    CHECK(service_loop_start(&world.service, &world.at, loop,
                             stats_at(world.service.counters, 0, 0)) == 0);
    world.driver = (struct loop_task){ .run = drive };
    loop_defer(world.at.loop, &world.driver);
    CHECK(loop_run(loop) == 0);
    service_loop_stop(&world.at);
    for (size_t i = 0; i < CLIENTS; i++) {
        CHECK(world.clients[i].conn == NULL);
        client_close(&world.clients[i]);
    }
}

#endif
