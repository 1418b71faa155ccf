/* Connections, one after the other in each place: sends a message, checks every byte of its echo, and ends
 * by turns: with its own end first, or with a reset once everything is there. */
#include "load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX 2048

/* Ended connections keep their port for a minute: so many addresses of this machine take turns. */
#define SOURCES 200

struct stream {
    struct watched watched;
    uint64_t id, began;
    size_t len, sent, got;
    int key;
    bool ends; /* our side first; the server's end is waited for */
    unsigned char message[MESSAGE_MAX];
};

static struct stream *streams;
static size_t stream_count, open_count;
static uint64_t last_id;

static void begin(struct stream *stream);

static bool may_begin(void)
{
    return !load.ending || (load.streams < load.streams_wanted && load.lost == 0);
}

static void end(struct stream *stream)
{
    close(stream->watched.fd);
    stream->watched.fd = -1;
    open_count--;
}

static void next(struct stream *stream)
{
    end(stream);
    if (may_begin())
        begin(stream);
}

static void failed(struct stream *stream, int err)
{
    if (err == ECONNREFUSED)
        LOST(refused, stream->id, "was refused");
    else if (err == ETIMEDOUT)
        LOST(hung, stream->id, "was not let in");
    else if (stream->got < stream->len || stream->ends)
        LOST(reset, stream->id, strerror(err));
    next(stream);
}

static void answered(struct stream *stream)
{
    load.streams++;
    load_answered(stream->key, stream->began);
    if (!stream->ends) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(stream->watched.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    next(stream);
}

/* Returns false where the stream is another one now. */
static bool send_more(struct stream *stream)
{
    while (stream->sent < stream->len) {
        ssize_t n = send(stream->watched.fd, stream->message + stream->sent,
                         stream->len - stream->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return true;
        if (n < 0) {
            failed(stream, errno);
            return false;
        }
        stream->sent += (size_t)n;
    }
    if (stream->ends)
        shutdown(stream->watched.fd, SHUT_WR);
    load_watch(&stream->watched, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

static void receive(struct stream *stream)
{
    unsigned char bytes[MESSAGE_MAX + 1];
    ssize_t n = recv(stream->watched.fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n < 0) {
        if (errno != EAGAIN)
            failed(stream, errno);
        return;
    }
    if (n == 0 && stream->got < stream->len) {
        LOST(cut, stream->id, "ended before its answer");
        next(stream);
        return;
    }
    if ((size_t)n > stream->len - stream->got ||
        !load_matches(bytes, stream->message + stream->got, (size_t)n, &stream->key)) {
        LOST(wrong, stream->id, "got other bytes");
        next(stream);
        return;
    }
    stream->got += (size_t)n;
    if (stream->got == stream->len && (n == 0 || !stream->ends))
        answered(stream);
}

static void ready(struct watched *watched, uint32_t events)
{
    struct stream *stream = (struct stream *)((char *)watched - offsetof(struct stream, watched));

    if (stream->sent < stream->len && events & EPOLLOUT && !send_more(stream))
        return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(stream);
}

static void begin(struct stream *stream)
{
    struct sockaddr_in from = { .sin_family = AF_INET };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        load_give_up("socket");
    *stream = (struct stream){ .watched = { .fd = fd, .ready = ready },
                               .id = ++last_id,
                               .began = load_now(),
                               .len = 1 + last_id * 7919 % MESSAGE_MAX,
                               .key = -1,
                               .ends = last_id % 2 == 0 };
    load_fill(stream->message, stream->len, stream->id);
    open_count++;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (uint32_t)(last_id % SOURCES));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0)
        load_give_up("bind");
    int err = connect(fd, (struct sockaddr *)&load.tcp, sizeof load.tcp) != 0 ? errno : 0;
    if (err == EADDRNOTAVAIL)
        load_give_up("no port is left");
    /* A failure is told by epoll as well, so that places do not begin each other endlessly. */
    load_watch(&stream->watched, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

void stream_start(size_t parallel)
{
    streams = calloc(parallel, sizeof *streams);
    if (streams == NULL)
        load_give_up("calloc");
    stream_count = parallel;
    for (size_t i = 0; i < parallel; i++)
        begin(&streams[i]);
}

size_t stream_open(void)
{
    return open_count;
}

void stream_check_deadlines(uint64_t now)
{
    for (size_t i = 0; i < stream_count; i++) {
        struct stream *stream = &streams[i];
        if (stream->watched.fd < 0 || now < stream->began + load.deadline_ms)
            continue;
        LOST(hung, stream->id, "was not answered");
        next(stream);
    }
}
