/* Fuzzer of the control socket: what a client sends, however it is cut, is one order or none, answered with `ok`
 * or `failed`; and the same bytes are the same order. */
#include "fuzz.h"

#include "../../core/control.c"

static unsigned orders; /* of one client */
static const char *ordered;

static void order(const char *what)
{
    orders++;
    ordered = what;
}

/* In place of what the orders are for. */

void rollover_reload(struct rollover *rollover, struct reload_waiter *waiter)
{
    (void)rollover;
    order("reload");
    CHECK(waiter != NULL);
    waiter->done(waiter, true, "generation 2 serves\n");
}

void rollover_forget(struct rollover *rollover, struct reload_waiter *waiter)
{
    (void)rollover, (void)waiter;
}

void status_print(FILE *out, const struct rollover *rollover, const struct predecessor *predecessor,
                  uint64_t up_ms)
{
    (void)rollover, (void)predecessor, (void)up_ms;
    order("status");
    fputs("well\n", out);
}

void status_print_json(FILE *out, const struct rollover *rollover,
                       const struct predecessor *predecessor, uint64_t up_ms)
{
    (void)rollover, (void)predecessor, (void)up_ms;
    order("status json");
    fputs("{}\n", out);
}

static void stop(void *context, bool at_once)
{
    (void)context;
    CHECK(!at_once);
    order("stop");
}

static void upgrade(void *context, struct reload_waiter *waiter)
{
    (void)context;
    order("upgrade");
    waiter->done(waiter, false, "not now\n");
}

static void forget_upgrade(void *context, struct reload_waiter *waiter)
{
    (void)context, (void)waiter;
}

static struct control control = {
    .source = { .fd = -1 },
    .orders = { .stop = stop, .upgrade = upgrade, .forget_upgrade = forget_upgrade },
};

static struct client *welcome(int fd)
{
    struct client *client = calloc(1, sizeof *client);

    CHECK(client != NULL);
    client->source = (struct loop_source){ .fd = fd, .ready = client_ready };
    client->control = &control;
    client->end.run = client_free;
    control.clients = client;
    control.client_count = 1;
    CHECK(loop_watch(control.loop, &client->source, EPOLLIN) == 0);
    return client;
}

/* Sends the bytes in pieces; each is read at once. Returns the order, "" for none, and the whole answer. */
static const char *talk(const struct input *said, struct input cuts, char answer[256])
{
    int ends[2];
    struct input left = *said;

    control.loop = loop_create();
    CHECK(control.loop != NULL);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    struct client *client = welcome(ends[0]);
    orders = 0;
    ordered = "";
    while (left.len != 0 && client->answer == NULL && !client->end.queued) {
        struct input part = input_part(&left, cuts.len != 0 ? 1 + input_byte(&cuts) : left.len);
        CHECK(send(ends[1], part.data, part.len, MSG_NOSIGNAL) == (ssize_t)part.len);
        for (int pending = 1;
             pending > 0 && client->source.events & EPOLLIN && !client->end.queued;) {
            unsigned char byte;
            client_ready(&client->source, EPOLLIN);
            pending = (int)recv(ends[0], &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        }
    }
    bool answered = client->answer != NULL;
    CHECK(client->line_len < sizeof client->line);
    client_free(&client->end);
    ssize_t len = recv(ends[1], answer, 255, MSG_DONTWAIT);
    answer[len > 0 ? len : 0] = '\0';
    close(ends[1]);
    loop_drop(control.loop); /* with the end of the client, which is freed, still queued */
    CHECK(orders <= 1);
    CHECK(answered == (strncmp(answer, "ok\n", 3) == 0 || strncmp(answer, "failed\n", 7) == 0));
    CHECK(orders == 1 || !answered || strncmp(answer, "failed\nunknown command", 22) == 0);
    return ordered;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    struct input cuts = input_part(&in, input_byte(&in));
    char whole[256], parts[256];

    const char *at_once = talk(&in, (struct input){ .len = 0 }, whole);
    const char *in_parts = talk(&in, cuts, parts);
    CHECK(at_once == in_parts && strcmp(whole, parts) == 0);
    CHECK(control.client_count == 0 && control.clients == NULL);
    return 0;
}
