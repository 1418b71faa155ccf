/* A peer: echo as libuv's guide writes it, a buffer for each read and a request for each write. With the argument
 * `try` it asks uv_try_write first, and makes a request only of what that did not take. */
#include "peer.h"

#include <stdlib.h>
#include <uv.h>

struct client {
    uv_tcp_t tcp;
    unsigned char matched;
};

struct write {
    uv_write_t request;
    char *data; /* freed with the request */
};

static bool tries; /* uv_try_write first */

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    buffer->base = malloc(suggested);
    buffer->len = buffer->base == NULL ? 0 : suggested;
}

static void closed(uv_handle_t *handle)
{
    free(handle);
}

static void written(uv_write_t *request, int status)
{
    struct write *write = (struct write *)request;

    (void)status;
    free(write->data);
    free(write);
}

/* `data` belongs to the request from here on. */
static void write_later(uv_stream_t *stream, char *data, size_t from, size_t len)
{
    struct write *write = zeroed(1, sizeof *write);
    uv_buf_t buffer = uv_buf_init(data + from, (unsigned)(len - from));

    write->data = data;
    uv_write(&write->request, stream, &buffer, 1, written);
}

/* The answer of echo is the buffer that was read; any other is copied into it. */
static void answer(uv_stream_t *stream, char *buffer, const char *data, size_t len)
{
    int sent = 0;

    if (tries) {
        uv_buf_t first = uv_buf_init((char *)data, (unsigned)len);
        sent = uv_try_write(stream, &first, 1);
        if (sent < 0)
            sent = 0;
    }
    if ((size_t)sent == len) {
        free(buffer);
        return;
    }
    if (data != buffer) {
        buffer = realloc(buffer, len);
        if (buffer == NULL)
            die("no memory");
        memcpy(buffer, data, len);
    }
    write_later(stream, buffer, (size_t)sent, len);
}

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct client *client = (struct client *)stream;
    size_t len;

    if (n > 0) {
        const char *data = reply_make(&peer_reply, buffer->base, (size_t)n, &client->matched, &len);
        if (data != NULL && len != 0) {
            answer(stream, buffer->base, data, len);
            return;
        }
        if (data == NULL)
            uv_close((uv_handle_t *)stream, closed);
    } else if (n < 0) {
        uv_close((uv_handle_t *)stream, closed);
    }
    free(buffer->base);
}

static void connected(uv_stream_t *listener, int status)
{
    struct client *client = zeroed(1, sizeof *client);

    if (status != 0)
        die("accept");
    uv_tcp_init(listener->loop, &client->tcp);
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) == 0)
        uv_read_start((uv_stream_t *)&client->tcp, give_buffer, received);
    else
        uv_close((uv_handle_t *)&client->tcp, closed);
}

static void got_datagram(uv_udp_t *socket, ssize_t n, const uv_buf_t *buffer,
                         const struct sockaddr *from, unsigned flags)
{
    (void)flags;
    if (n > 0 && from != NULL) {
        uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)n);
        uv_udp_try_send(socket, &answer, 1, from);
    }
    free(buffer->base);
}

int main(int argc, char **argv)
{
    int fd = peer_socket(argc, argv);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_udp_t socket;

    tries = argc > 2 && strcmp(argv[2], "try") == 0;
    if (peer_is_udp(argc, argv)) {
        uv_udp_init(loop, &socket);
        uv_udp_open(&socket, fd);
        uv_udp_recv_start(&socket, give_buffer, got_datagram);
    } else {
        uv_tcp_init(loop, &listener);
        uv_tcp_open(&listener, fd);
        uv_listen((uv_stream_t *)&listener, 4096, connected);
    }
    return uv_run(loop, UV_RUN_DEFAULT);
}
