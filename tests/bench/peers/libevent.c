/* A peer: echo as libevent's book writes it, with an evconnlistener and a bufferevent for each connection. */
#include "peer.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <unistd.h>

static void received(struct bufferevent *stream, void *context)
{
    static char input[REPLY_INPUT];
    unsigned char *matched = context;
    size_t len;

    if (!peer_reply.hola) {
        evbuffer_add_buffer(bufferevent_get_output(stream), bufferevent_get_input(stream));
        return;
    }
    size_t n = bufferevent_read(stream, input, sizeof input);
    const char *data = reply_make(&peer_reply, input, n, matched, &len);
    if (data != NULL && len != 0)
        bufferevent_write(stream, data, len);
}

static void ended(struct bufferevent *stream, short what, void *context)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        bufferevent_free(stream);
        free(context);
    }
}

static void connected(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int len, void *context)
{
    struct bufferevent *stream =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

    (void)peer;
    (void)len;
    (void)context;
    if (stream == NULL)
        die("bufferevent_socket_new");
    bufferevent_setcb(stream, received, NULL, ended, zeroed(1, 1));
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void got_datagram(evutil_socket_t fd, short what, void *context)
{
    static char input[REPLY_INPUT];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;

    (void)what;
    (void)context;
    ssize_t n = recvfrom(fd, input, sizeof input, 0, (struct sockaddr *)&from, &from_len);
    if (n >= 0)
        sendto(fd, input, (size_t)n, 0, (struct sockaddr *)&from, from_len);
}

int main(int argc, char **argv)
{
    int fd = peer_socket(argc, argv);
    struct event_base *base = event_base_new();

    if (base == NULL)
        die("event_base_new");
    if (peer_is_udp(argc, argv))
        event_add(event_new(base, fd, EV_READ | EV_PERSIST, got_datagram, NULL), NULL);
    else
        evconnlistener_new(base, connected, NULL, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    return event_base_dispatch(base);
}
