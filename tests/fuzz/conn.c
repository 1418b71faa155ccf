/* Fuzzer of connections (conn*.c, buffer.c, timer.c, loop.c): a plugin that does at each callback what the
 * input says, sockets that give and take as it says, and clients likewise. Beside the promises in
 * connections.h: bytes arrive in order on both ways, an answer arrives whole unless the reason says why not,
 * timers are never early, and each event runs exactly once or is destroyed. */
#include "connections.h"

static struct input acts;
static enchufe_ref *refs[CLIENTS];
static size_t posted, ran; /* events */
static const enchufe_framing framings[] = {
    { .type = ENCHUFE_FRAMING_LINE, .max = 40 },
    { .type = ENCHUFE_FRAMING_DELIMITER, .max = 40, .delimiter = "\r\n\r\n", .delimiter_len = 4 },
    { .type = ENCHUFE_FRAMING_LENGTH, .max = 300, .length_size = 2 },
    { .type = ENCHUFE_FRAMING_FIXED, .max = 7 },
    { .type = ENCHUFE_FRAMING_NETSTRING, .max = 200 },
};

/* Which byte stands where in a stream: it repeats too late to hide a mistake. */
static unsigned char pattern(size_t at)
{
    return (unsigned char)(at ^ at >> 8 ^ at >> 16);
}

static const unsigned char *make_pattern(size_t from, size_t len)
{
    static unsigned char bytes[1 << 18];

    CHECK(len <= sizeof bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(from + i);
    return bytes;
}

/* ---- what a plugin can do ---- */

static void act_write(struct enchufe_conn *conn, unsigned how)
{
    static const size_t sizes[] = { 1, 0, 100, 4096, 20000, 65536, 70000, 200000 };
    struct client *client = client_of(conn);
    size_t len = sizes[how & 7], first = how & 8 ? len / 3 : len;
    const unsigned char *bytes = make_pattern(client->written, len);
    struct iovec parts[] = { { .iov_base = (void *)bytes, .iov_len = first },
                             { .iov_base = (void *)(bytes + first), .iov_len = len - first } };
    bool open = conn->phase == CONN_OPEN;
    int status = enchufe_writev(conn, parts, 2);

    CHECK(open || status < 0 || len == 0);
    if (status >= 0)
        client->written += len;
    else if (open)
        CHECK(conn->phase == CONN_DEAD);
}

static void event_destroyed(void *data)
{
    CHECK(data == &posted);
    ran++;
}

static void act_post(size_t client)
{
    if (refs[client] == NULL)
        return;
    int status = enchufe_post(refs[client], 7, &posted, event_destroyed);
    CHECK(status == 0 || status == -ENOTCONN);
    posted += status == 0;
}

static void act_timer(struct enchufe_conn *conn, unsigned how)
{
    struct client *client = client_of(conn);
    uint64_t delay = how & 1 ? how : how * 100;

    enchufe_timer_set(conn, delay);
    if (conn->phase == CONN_OPEN)
        client->timer = fake.now + delay;
}

static void act(struct enchufe_conn *conn, struct input *in)
{
    unsigned what = input_byte(in);
    size_t client = (size_t)(client_of(conn) - world.clients);

    switch (what & 15) {
    case 1:
    case 2:
    case 3:
        act_write(conn, what >> 4);
        break;
    case 4:
        enchufe_close(conn);
        break;
    case 5:
        enchufe_abort(conn);
        break;
    case 6:
        enchufe_pause(conn);
        break;
    case 7:
    case 8:
        enchufe_resume(conn);
        break;
    case 9:
        act_timer(conn, what >> 4);
        break;
    case 10:
        enchufe_timer_cancel(conn);
        world.clients[client].timer = 0;
        break;
    case 11:
        if (refs[client] == NULL)
            refs[client] = enchufe_ref_get(conn);
        break;
    case 12:
        act_post(client);
        break;
    case 13:
        act_post(what >> 4 & 3);
        break;
    case 14: /* another one, as a chat does */
        if (world.clients[what >> 4 & 3].conn != NULL)
            act_write(world.clients[what >> 4 & 3].conn, what >> 6);
        break;
    default:
        break;
    }
}

static void act_some(struct enchufe_conn *conn)
{
    for (unsigned n = input_byte(&acts) & 3; n > 0; n--)
        act(conn, &acts);
}

/* ---- the plugin ---- */

static size_t fuzz_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct client *client = client_of(conn);
    const unsigned char *bytes = data;
    unsigned how = input_byte(&acts);
    size_t used = how & 3 ? len : how & 4 ? 0 : how & 8 ? len / 2 : len != 0;

    if (acts.len == 0)
        used = len;
    for (size_t i = 0; i < len; i++)
        CHECK(bytes[i] == pattern(client->taken + i));
    act_some(conn);
    client->taken += used;
    return used;
}

static void fuzz_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    (void)data, (void)len;
    act_some(conn);
}

static void fuzz_on_event(enchufe_conn *conn, uint64_t tag, void *data)
{
    CHECK(tag == 7 && data == &posted);
    ran++;
    act_some(conn);
}

static void fuzz_on_timer(enchufe_conn *conn)
{
    struct client *client = client_of(conn);

    CHECK(client->timer != 0 && fake.now >= client->timer);
    client->timer = 0;
    act_some(conn);
}

static void fuzz_on_eof(enchufe_conn *conn)
{
    act_some(conn);
    if (!(input_byte(&acts) & 1))
        enchufe_close(conn);
}

static void fuzz_on_close(enchufe_conn *conn, int reason)
{
    struct client *client = client_of(conn);
    size_t written = client->written;

    (void)reason;
    CHECK(enchufe_ref_get(conn) == NULL);
    act_some(conn); /* harmless */
    CHECK(client->written == written);
}

/* ---- clients and the world's steps ---- */

static void client_received(struct client *client, const unsigned char *data, size_t len)
{
    CHECK(client->received + len <= client->written);
    for (size_t i = 0; i < len; i++)
        CHECK(data[i] == pattern(client->received + i));
}

static void say(struct client *client, size_t len)
{
    struct input said = input_part(&world.ops, world.real.framing != NULL ? len : 0);

    if (world.real.framing != NULL)
        client_send(client, said.data, said.len);
    else
        client_send(client, make_pattern(client->sent, len), len);
}

static bool step(void)
{
    static const size_t sizes[] = { 1, 3, 60, 1000, 5000, 66000, 130000, 16 };
    static const uint64_t times[] = { 1, 50, 101, 1000, 2001, 5000, 60000, 600000 };
    unsigned op = input_byte(&world.ops);
    struct client *client = &world.clients[op >> 3 & 3];
    unsigned how = op >> 5;

    switch (op & 7) {
    case 0:
        client_open();
        break;
    case 1:
    case 2:
        say(client, sizes[how]);
        break;
    case 3:
        client_receive(client, sizes[how]);
        break;
    case 4:
        if (client->fd >= 0 && how < 3)
            shutdown(client->fd, SHUT_WR);
        if (how >= 6) {
            client->given_up = true;
            client_close(client);
        }
        break;
    case 5:
        fake_advance(times[how]);
        break;
    case 6:
        if (client->conn != NULL && how < 3)
            act(client->conn, &world.ops);
        if (how == 3)
            act_post((size_t)(client - world.clients));
        break;
    case 7:
        if (how == 7)
            for (struct enchufe_conn *conn = world.at.conns; conn != NULL; conn = conn->next)
                conn_drain(conn);
        break;
    }
    return world.ops.len != 0;
}

/* What was written before the end by these reasons is promised to arrive. */
static void check_answers(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct client *client = &world.clients[i];
        bool flushed = client->reason == ENCHUFE_CLOSED_BY_CLIENT ||
                       client->reason == ENCHUFE_CLOSED_BY_PLUGIN ||
                       (client->reason >= ENCHUFE_CLOSED_INPUT_FULL &&
                        client->reason <= ENCHUFE_CLOSED_CUT_SHORT);
        CHECK(!client->used || client->reason != 0);
        if (client->used && flushed && !client->given_up)
            CHECK(client->received == client->written);
    }
}

static void make_service(struct input *in)
{
    static const uint64_t outputs[] = { 1 << 20, 100000, 1000, 1 }, inputs[] = { 65536, 100, 1 };
    unsigned how = input_byte(in), framed = input_byte(in) % 12;
    enchufe_plugin *v = &world.service.plugin.v;

    world.config = (struct service_config){ .name = "fuzz" };
    world.config.limits.max_output = outputs[how >> 2 & 3];
    world.service =
        (struct enchufe_service){ .name = "fuzz",
                                  .config = &world.config,
                                  .counters = world.service.counters,
                                  .timeouts = { .idle = how & 1 ? 3000 : 0,
                                                .write = how & 2 ? 5000 : 0 },
                                  .max_output = world.config.limits.max_output,
                                  .max_input = inputs[how >> 4 & 1 ? how >> 5 & 2 : 0] };
    *v = (enchufe_plugin){ .name = "fuzz",
                           .conn_size = how & 0x80 ? 40 : 0,
                           .on_data = fuzz_on_data,
                           .on_event = fuzz_on_event,
                           .on_timer = fuzz_on_timer,
                           .on_drained = act_some,
                           .on_drain = act_some,
                           .on_open = act_some,
                           .on_close = fuzz_on_close };
    v->on_eof = how & 0x40 ? fuzz_on_eof : NULL;
    if (framed < sizeof framings / sizeof *framings) {
        v->framing = &framings[framed];
        v->on_data = NULL;
        v->on_message = fuzz_on_message;
        world.service.max_message = v->framing->max;
        world.service.max_input = framing_overhead(v->framing);
    }
    wrap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };

    if (world.service.counters == NULL)
        world.service.counters = stats_create(2, 1);
    log_setup(ENCHUFE_LOG_ERROR, 0);
    make_service(&in);
    fake.now = 1000000;
    fake.faults = input_part(&in, input_byte(&in));
    acts = input_part(&in, input_number(&in) & 0x3ff);
    world.ops = in;
    posted = ran = 0;
    run_world();
    check_answers();
    for (size_t i = 0; i < CLIENTS; i++) {
        act_post(i);
        enchufe_ref_release(refs[i]);
        refs[i] = NULL;
    }
    CHECK(posted == ran);
    loop_drop(world.at.loop);
    return 0;
}
