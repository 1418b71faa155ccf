/* Clients that come, misbehave and go, one after the other in each place. */
#include "abuse.h"
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* ---- ends its side at once, and wants all of the answer ---- */

static void take_answer(struct client *client)
{
    ssize_t n = abuse_receive(client);

    if (n == 0)
        abuse_end(client, client->got == abuse.size ? &abuse.done : &abuse.cut, false);
}

/* Returns false after an error. */
static bool send_and_end(struct client *client, size_t max)
{
    if (!abuse_send(client, max)) {
        abuse_failed(client);
        return false;
    }
    if (client->sent == abuse.size) {
        shutdown(client->fd, SHUT_WR);
        abuse_watch(client, EPOLLIN);
    }
    return true;
}

static void halfclose_ready(struct client *client, uint32_t events)
{
    if (events & EPOLLOUT && client->sent < abuse.size && !send_and_end(client, SIZE_MAX))
        return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        take_answer(client);
}

/* ---- resets while the server writes ---- */

static void reset_ready(struct client *client, uint32_t events)
{
    if (events & EPOLLOUT && client->sent < abuse.size && !abuse_send(client, SIZE_MAX))
        abuse_failed(client);
    /* Each client at another point; half of them read until then. */
    else if (client->sent >= (client->id % 16 + 1) * abuse.size / 16)
        abuse_end(client, &abuse.done, true);
    else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && client->id % 2 == 0)
        abuse_receive(client);
}

/* ---- each byte by itself, and an end that is no other than it should be ---- */

static void fragments_ready(struct client *client, uint32_t events)
{
    int on = 1;

    if (client->sent == 0)
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (events & EPOLLOUT && client->sent < abuse.size && !send_and_end(client, 1))
        return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        take_answer(client);
}

#define BOTH (EPOLLIN | EPOLLOUT)

const struct mode mode_halfclose = { .name = "halfclose",
                                     .events = BOTH,
                                     .default_size = 100000,
                                     .comes_and_goes = true,
                                     .ready = halfclose_ready };
const struct mode mode_reset = { .name = "reset",
                                 .events = BOTH,
                                 .default_size = 400000,
                                 .comes_and_goes = true,
                                 .ready = reset_ready };
const struct mode mode_fragments = { .name = "fragments",
                                     .events = BOTH,
                                     .default_size = 100,
                                     .comes_and_goes = true,
                                     .ready = fragments_ready };
