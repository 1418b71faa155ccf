/* Clients that stay until the server has enough of them. */
#include "abuse.h"
#include <sys/epoll.h>

#define DRIP_MS 1000

/* The server's end is what these clients wait for, by a reset too: how long it took since their first byte. */
static void closed(struct client *client)
{
    uint64_t took = abuse_now() - client->began;

    if (abuse.done == 0 || took < abuse.earliest_ms)
        abuse.earliest_ms = took;
    if (took > abuse.latest_ms)
        abuse.latest_ms = took;
    abuse_end(client, &abuse.done, false);
}

/* ---- one byte a second ---- */

static void drip_ready(struct client *client, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        closed(client);
}

static void drip_tick(struct client *client, uint64_t now)
{
    if (now < client->next)
        return;
    if (client->next == 0)
        client->began = now;
    client->next = now + DRIP_MS;
    /* A reset that comes in answer to this is seen by epoll, and counted there. */
    (void)!send(client->fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

const struct mode mode_drip = {
    .name = "drip", .events = EPOLLIN, .ready = drip_ready, .tick = drip_tick
};

/* ---- sends and never reads ---- */

static void deaf_ready(struct client *client, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        closed(client);
    else if (events & EPOLLOUT && !abuse_send(client, SIZE_MAX))
        closed(client);
}

const struct mode mode_deaf = {
    .name = "deaf", .events = EPOLLOUT, .default_size = UINT64_MAX, .ready = deaf_ready
};
