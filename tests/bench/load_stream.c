/* Load on streams: N connections, each with D requests in flight. */
#include "common.h"
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS 1024

struct connection {
    int fd;
    bool waits_to_send;
    uint64_t seed;           /* where in the script it begins */
    uint64_t asked, allowed; /* bytes that were sent, and that may be */
    uint64_t answered;       /* bytes that came */
    uint64_t completed, granted;
    uint64_t *sent_at; /* of each request in flight, by its number modulo depth */
};

struct stream {
    struct run *run;
    const struct load_options *options;
    struct script script;
    struct connection *connections;
    int epoll, ticker;
    unsigned next_paced;
};

static void watch(struct stream *stream, struct connection *c, bool output)
{
    struct epoll_event event = { .events = EPOLLIN | (output ? (uint32_t)EPOLLOUT : 0),
                                 .data.ptr = c };

    if (epoll_ctl(stream->epoll, EPOLL_CTL_MOD, c->fd, &event) != 0)
        die("epoll_ctl");
    c->waits_to_send = output;
}

static void push(struct stream *stream, struct connection *c)
{
    const struct script *script = &stream->script;
    bool full = false;

    while (c->asked < c->allowed && !full) {
        uint64_t left = c->allowed - c->asked;
        size_t part = left < SCRIPT_SLICE ? (size_t)left : SCRIPT_SLICE;
        const char *from = script->ask + (c->seed + c->asked) % script->ask_period;
        ssize_t n = send(c->fd, from, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            c->asked += (uint64_t)n;
        else if (errno == EAGAIN)
            full = true;
        else
            die("send");
    }
    if (full != c->waits_to_send)
        watch(stream, c, full);
}

static void grant(struct stream *stream, struct connection *c, uint64_t now)
{
    c->sent_at[c->granted++ % stream->options->depth] = now;
    c->allowed += stream->script.ask_size;
}

static void check(const struct stream *stream, const struct connection *c, const char *data,
                  size_t n)
{
    const struct script *script = &stream->script;
    const char *expected = script->answer + (c->seed + c->answered) % script->answer_period;

    errno = 0;
    if (c->answered + n > c->granted * script->answer_size)
        die("more was answered than was asked");
    if (memcmp(data, expected, n) != 0)
        die("a wrong byte among %zu behind byte %llu", n, (unsigned long long)c->answered);
}

static void receive(struct stream *stream, struct connection *c)
{
    static char input[SCRIPT_SLICE];
    ssize_t n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);

    if (n == 0)
        errno = 0;
    if (n == 0 || (n < 0 && errno != EAGAIN))
        die("the server closed a connection");
    if (n < 0)
        return;
    check(stream, c, input, (size_t)n);
    c->answered += (uint64_t)n;
    uint64_t now = now_ns();
    while (c->answered >= (c->completed + 1) * stream->script.answer_size) {
        uint64_t sent = c->sent_at[c->completed++ % stream->options->depth];
        run_answered(stream->run, now - sent, stream->script.answer_size);
        if (stream->options->pace_ns == 0)
            grant(stream, c, now);
    }
    push(stream, c);
}

/* A request on the next connection that has room; those that have none yet are passed over. */
static void tick(struct stream *stream)
{
    uint64_t ticks;

    if (read(stream->ticker, &ticks, sizeof ticks) != sizeof ticks)
        return;
    struct connection *c = &stream->connections[stream->next_paced];
    stream->next_paced = (stream->next_paced + 1) % stream->options->connections;
    if (c->granted - c->completed >= stream->options->depth)
        return;
    grant(stream, c, now_ns());
    push(stream, c);
}

static void add(struct stream *stream, int fd, void *source)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

    if (epoll_ctl(stream->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

/* Every 64 connections the server gets time to accept, so that no backlog is ever full. */
static void open_all(struct stream *stream)
{
    const struct load_options *options = stream->options;

    stream->connections = zeroed(options->connections, sizeof *stream->connections);
    for (unsigned i = 0; i < options->connections; i++) {
        struct connection *c = &stream->connections[i];
        c->fd = load_connect(options, i);
        c->sent_at = zeroed(options->depth, sizeof *c->sent_at);
        c->seed = stream->script.seeded ? i * UINT64_C(7919) : 0;
        add(stream, c->fd, c);
        if (i % 64 == 63)
            usleep(1000);
    }
}

static void start_pace(struct stream *stream)
{
    uint64_t pace = stream->options->pace_ns;
    struct timespec each = { .tv_sec = (time_t)(pace / 1000000000u),
                             .tv_nsec = (long)(pace % 1000000000u) };
    struct itimerspec timer = { .it_interval = each, .it_value = each };

    stream->ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (stream->ticker < 0 || timerfd_settime(stream->ticker, 0, &timer, NULL) != 0)
        die("timerfd");
    add(stream, stream->ticker, NULL);
}

/* A reset leaves no TIME_WAIT behind, of which the next round would run out of ports. */
static void close_all(struct stream *stream)
{
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };

    for (unsigned i = 0; i < stream->options->connections; i++) {
        setsockopt(stream->connections[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(stream->connections[i].fd);
        free(stream->connections[i].sent_at);
    }
    free(stream->connections);
}

static void begin_all(struct stream *stream)
{
    if (stream->options->pace_ns != 0) {
        start_pace(stream);
        return;
    }
    for (unsigned i = 0; i < stream->options->connections; i++) {
        uint64_t now = now_ns();
        for (unsigned k = 0; k < stream->options->depth; k++)
            grant(stream, &stream->connections[i], now);
        push(stream, &stream->connections[i]);
    }
}

void load_stream(struct run *run)
{
    const struct load_options *options = run->options;
    struct stream stream = { .run = run,
                             .options = options,
                             .script = script_make(options->protocol, options->size),
                             .epoll = epoll_create1(EPOLL_CLOEXEC) };
    struct epoll_event events[EVENTS];

    open_all(&stream);
    run_start(run, options);
    begin_all(&stream);
    do {
        errno = 0;
        int n = epoll_wait(stream.epoll, events, EVENTS, LOAD_PATIENCE_MS);
        if (n == 0)
            die("no answer for %d ms", LOAD_PATIENCE_MS);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                tick(&stream);
                continue;
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                receive(&stream, c);
            else
                push(&stream, c);
        }
    } while (run_goes_on(run));
    close_all(&stream);
}
