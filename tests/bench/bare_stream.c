/* The limit for streams: level-triggered epoll, one recv, one send, TCP_NODELAY from the listener, 64 KiB of
 * input memory, no memory for a connection but one row of a table. */
#include "bare.h"
#include "common.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define FDS 1048576

/* Of a connection; the index is the descriptor, so that no thread shares a row with another. */
struct row {
    char *queued; /* what the system did not take; while there is some, nothing is received */
    uint32_t queued_from, queued_len;
    unsigned char matched;
};

struct looper {
    int epoll, listener, core;
    const struct reply *reply;
    char input[REPLY_INPUT];
};

static struct row *rows;

static void watch(struct looper *looper, int fd, int how, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.fd = fd };

    if (epoll_ctl(looper->epoll, how, fd, &event) != 0)
        die("epoll_ctl");
}

static void end(int fd)
{
    free(rows[fd].queued);
    rows[fd] = (struct row){ .queued = NULL };
    close(fd);
}

static void accept_some(struct looper *looper)
{
    for (int i = 0; i < EVENTS; i++) {
        int fd = accept4(looper->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        watch(looper, fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void queue(struct looper *looper, int fd, const char *data, size_t len)
{
    rows[fd].queued = malloc(len);
    if (rows[fd].queued == NULL)
        die("no memory");
    memcpy(rows[fd].queued, data, len);
    rows[fd].queued_from = 0;
    rows[fd].queued_len = (uint32_t)len;
    watch(looper, fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void send_queued(struct looper *looper, int fd)
{
    struct row *row = &rows[fd];
    ssize_t n = send(fd, row->queued + row->queued_from, row->queued_len, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        end(fd);
    } else if (n == (ssize_t)row->queued_len) {
        free(row->queued);
        row->queued = NULL;
        watch(looper, fd, EPOLL_CTL_MOD, EPOLLIN);
    } else if (n > 0) {
        row->queued_from += (uint32_t)n;
        row->queued_len -= (uint32_t)n;
    }
}

static void answer(struct looper *looper, int fd, size_t len)
{
    const char *data = reply_make(looper->reply, looper->input, len, &rows[fd].matched, &len);

    if (data == NULL) {
        end(fd);
        return;
    }
    if (len == 0)
        return;
    ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
    if (sent == (ssize_t)len)
        return;
    if (sent < 0 && errno != EAGAIN)
        end(fd);
    else
        queue(looper, fd, data + (sent < 0 ? 0 : sent), len - (sent < 0 ? 0 : (size_t)sent));
}

static void ready(struct looper *looper, int fd)
{
    if (rows[fd].queued != NULL) {
        send_queued(looper, fd);
        return;
    }
    ssize_t n = recv(fd, looper->input, sizeof looper->input, 0);
    if (n > 0)
        answer(looper, fd, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        end(fd);
}

static void *serve(void *arg)
{
    struct looper *looper = arg;
    struct epoll_event events[EVENTS];

    if (looper->core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)looper->core, &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0)
            die("core %d", looper->core);
    }
    for (;;) {
        int n = epoll_wait(looper->epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == looper->listener)
                accept_some(looper);
            else
                ready(looper, events[i].data.fd);
        }
    }
    return NULL;
}

/* Each thread has a listener that prefers the connections which arrive on its core. */
static int listen_at(uint16_t port, int core)
{
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (core >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &core, sizeof core);
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

/* The core that this process may use as its n-th. */
static int nth_core(unsigned n)
{
    cpu_set_t set;

    sched_getaffinity(0, sizeof set, &set);
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, &set) && n-- == 0)
            return core;
    errno = 0;
    die("more threads than cores");
}

void bare_stream(unsigned threads, bool hola)
{
    struct reply *reply = zeroed(1, sizeof *reply);
    struct looper *loopers = zeroed(threads, sizeof *loopers);
    uint16_t port = 0;

    reply_init(reply, hola);
    rows = zeroed(FDS, sizeof *rows);
    for (unsigned i = 0; i < threads; i++) {
        struct looper *looper = &loopers[i];
        looper->core = threads > 1 ? nth_core(i) : -1;
        looper->reply = reply;
        looper->epoll = epoll_create1(EPOLL_CLOEXEC);
        looper->listener = listen_at(port, looper->core);
        port = port_of(looper->listener);
        watch(looper, looper->listener, EPOLL_CTL_ADD, EPOLLIN);
    }
    for (unsigned i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, &loopers[i]) != 0)
            die("pthread_create");
    }
    bare_listens(port);
    serve(&loopers[0]);
    abort();
}
