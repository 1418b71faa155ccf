/* A peer: echo with a watcher for each descriptor, as libev's manual shows; the library waits, and the program
 * receives and sends by itself. */
#include "peer.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <unistd.h>

struct client {
    ev_io io;
    unsigned char matched;
    char *queued; /* what the system did not take */
    size_t queued_len;
};

static void end(struct ev_loop *loop, struct client *client)
{
    ev_io_stop(loop, &client->io);
    close(client->io.fd);
    free(client->queued);
    free(client);
}

static void wait_for(struct ev_loop *loop, struct client *client, int events)
{
    ev_io_stop(loop, &client->io);
    ev_io_set(&client->io, client->io.fd, events);
    ev_io_start(loop, &client->io);
}

static void send_queued(struct ev_loop *loop, struct client *client)
{
    ssize_t n = send(client->io.fd, client->queued, client->queued_len, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        end(loop, client);
    } else if (n == (ssize_t)client->queued_len) {
        free(client->queued);
        client->queued = NULL;
        wait_for(loop, client, EV_READ);
    } else if (n > 0) {
        client->queued_len -= (size_t)n;
        memmove(client->queued, client->queued + n, client->queued_len);
    }
}

static void answer(struct ev_loop *loop, struct client *client, const char *data, size_t len)
{
    ssize_t n = send(client->io.fd, data, len, MSG_NOSIGNAL);

    if (n == (ssize_t)len)
        return;
    if (n < 0 && errno != EAGAIN) {
        end(loop, client);
        return;
    }
    client->queued_len = len - (n < 0 ? 0 : (size_t)n);
    client->queued = malloc(client->queued_len);
    if (client->queued == NULL)
        die("no memory");
    memcpy(client->queued, data + (n < 0 ? 0 : n), client->queued_len);
    wait_for(loop, client, EV_WRITE);
}

static void ready(struct ev_loop *loop, ev_io *io, int events)
{
    static char input[REPLY_INPUT];
    struct client *client = (struct client *)io;
    size_t len;

    if (events & EV_WRITE) {
        send_queued(loop, client);
        return;
    }
    ssize_t n = recv(io->fd, input, sizeof input, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    const char *data =
        n <= 0 ? NULL : reply_make(&peer_reply, input, (size_t)n, &client->matched, &len);
    if (data == NULL)
        end(loop, client);
    else if (len != 0)
        answer(loop, client, data, len);
}

static void connected(struct ev_loop *loop, ev_io *io, int events)
{
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0)
        return;
    struct client *client = zeroed(1, sizeof *client);
    ev_io_init(&client->io, ready, fd, EV_READ);
    ev_io_start(loop, &client->io);
}

static void got_datagram(struct ev_loop *loop, ev_io *io, int events)
{
    static char input[REPLY_INPUT];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;

    (void)loop;
    (void)events;
    ssize_t n = recvfrom(io->fd, input, sizeof input, 0, (struct sockaddr *)&from, &from_len);
    if (n >= 0)
        sendto(io->fd, input, (size_t)n, 0, (struct sockaddr *)&from, from_len);
}

int main(int argc, char **argv)
{
    int fd = peer_socket(argc, argv);
    struct ev_loop *loop = ev_default_loop(0);
    ev_io io;

    if (peer_is_udp(argc, argv))
        ev_io_init(&io, got_datagram, fd, EV_READ);
    else
        ev_io_init(&io, connected, fd, EV_READ);
    ev_io_start(loop, &io);
    ev_run(loop, 0);
    return 0;
}
