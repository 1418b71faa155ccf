/* Load of short connections: connect, ask, read the answer, close; N of them at any time. */
#include "common.h"
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

/* Our end closes first and so waits for a minute before its port is used again: ports are taken from so many
 * addresses in turn. */
#define SOURCES 250u

struct client {
    int fd;
    size_t received;
    uint64_t began;
};

struct shorts {
    struct run *run;
    struct script script;
    int epoll;
    unsigned opened;
};

static void open_client(struct shorts *shorts, struct client *client)
{
    const struct load_options *options = shorts->run->options;
    unsigned index = shorts->opened++;
    struct sockaddr_in to = loopback((uint16_t)(options->port + index % options->ports));
    struct sockaddr_in from = loopback(0);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
    int late = 1;

    *client = (struct client){ .began = now_ns() };
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index % SOURCES);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket");
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from) != 0)
        die("bind");
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    if (send(client->fd, shorts->script.ask, shorts->script.ask_size, MSG_NOSIGNAL) !=
        (ssize_t)shorts->script.ask_size)
        die("send");
    if (epoll_ctl(shorts->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
        die("epoll_ctl");
}

static void ready(struct shorts *shorts, struct client *client)
{
    static char input[SCRIPT_SLICE];
    size_t wanted = shorts->script.answer_size;
    ssize_t n = recv(client->fd, input, sizeof input, MSG_DONTWAIT);

    if (n == 0)
        errno = 0;
    if (n == 0 || (n < 0 && errno != EAGAIN))
        die("a connection ended before its answer");
    if (n < 0)
        return;
    errno = 0;
    if ((size_t)n > wanted - client->received ||
        memcmp(input, shorts->script.answer + client->received, (size_t)n) != 0)
        die("a wrong byte in the answer");
    client->received += (size_t)n;
    if (client->received < wanted)
        return;
    run_answered(shorts->run, now_ns() - client->began, wanted);
    close(client->fd);
    open_client(shorts, client);
}

void load_short(struct run *run)
{
    const struct load_options *options = run->options;
    struct shorts shorts = { .run = run,
                             .script = script_make(options->protocol, options->size),
                             .epoll = epoll_create1(EPOLL_CLOEXEC) };
    struct client *clients = zeroed(options->connections, sizeof *clients);
    struct epoll_event events[EVENTS];

    run_start(run, options);
    for (unsigned i = 0; i < options->connections; i++)
        open_client(&shorts, &clients[i]);
    do {
        errno = 0;
        int n = epoll_wait(shorts.epoll, events, EVENTS, LOAD_PATIENCE_MS);
        if (n == 0)
            die("no answer for %d ms", LOAD_PATIENCE_MS);
        for (int i = 0; i < n; i++)
            ready(&shorts, events[i].data.ptr);
    } while (run_goes_on(run));
    for (unsigned i = 0; i < options->connections; i++)
        close(clients[i].fd);
    free(clients);
}
