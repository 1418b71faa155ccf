/* The thread of one loop, and the orders that it takes. */
#include "worker_loop.h"
#include "channel.h"
#include "conn.h"
#include "container.h"
#include "log.h"
#include "log_sink.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* How long a handshake that had begun may take to end: where its last packet is lost, the client's first data ends it,
 * which is sent again after 0.2 and 0.6 s, or our part of it, which the system sends again after 1 s. */
#define HANDSHAKE_MS 1300

/* How long a line of the log may wait for others to be written with. */
#define LOG_KEPT_MS 100

static void step_done(struct worker_loop *wl, int err)
{
    /* Lines of a start stand before those of a stop, whatever thread they are of. */
    log_batch_flush();
    if (wl->failure == 0)
        wl->failure = err;
    (void)!write(wl->notify, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void fail(struct worker_loop *wl, const struct enchufe_service *service, const char *what,
                 int err)
{
    snprintf(wl->error, sizeof wl->error, "[%s] %s: %s", service->name, what, strerror(-err));
    step_done(wl, err);
}

/* ---- listening ---- */

/* The processor that the loop is bound to, or -1. */
static int pinned_to(const struct worker_loop *wl)
{
    const struct cpus *pins = wl->setup->pins;

    return pins != NULL ? pins->numbers[wl->index % pins->count] : -1;
}

static int add_datagram(struct worker_loop *wl, struct enchufe_loop *at, int fd,
                        const struct bound_endpoint *bound, const _Atomic unsigned char *gone)
{
    size_t number = wl->datagram_count++;

    return datagram_start(&wl->datagrams[number], at, wl->batch, fd, (uint32_t)number, bound, gone);
}

/* Which of a service's loops this one is. A service that uses fewer than there are begins at a loop of its
 * own, so that several such do not crowd on the first. */
static size_t turn_of(const struct worker_loop *wl, const struct enchufe_service *service)
{
    size_t loops = wl->setup->loops;

    return (wl->index + loops - service->index % loops) % loops;
}

/* Socket n of an endpoint belongs to the service's loop n; where there are more sockets than loops (their number only
 * grows), a loop has several. A shared one is waited for by all loops of the service. */
static int listen_one(struct worker_loop *wl, size_t item, struct enchufe_loop *at)
{
    const struct bound_endpoint *bound = &wl->setup->sockets->items[item];
    const struct listener *listener = bound->listener;
    size_t loops = config_loops(at->service->config, wl->setup->loops);
    bool is_udp = listener->endpoint.kind == ENCHUFE_UDP;
    struct listening on = { .is_ip = listener->endpoint.kind == ENCHUFE_TCP,
                            .shared = listener->shared && loops > 1,
                            .loops = loops,
                            .cpu = listener->shared ? -1 : pinned_to(wl),
                            .gone = &wl->setup->sockets->gone[item] };
    size_t first = listener->shared ? 0 : turn_of(wl, at->service);
    size_t end = listener->shared ? 1 : bound->fd_count;
    int err = 0;

    for (size_t n = first; n < end && err == 0; n += loops) {
        on.fd = listener->fds[n];
        err = is_udp ? add_datagram(wl, at, on.fd, bound, on.gone)
                     : acceptor_start(&wl->acceptors[wl->acceptor_count++], at, &on);
    }
    return err;
}

/* This loop's share of the service with that index in the configuration, or NULL. */
static struct enchufe_loop *place_of(struct worker_loop *wl, size_t service)
{
    for (size_t i = 0; i < wl->setup->service_count; i++)
        if (wl->setup->services[i] == service)
            return wl->places[i].service != NULL ? &wl->places[i] : NULL;
    return NULL;
}

static int prepare_listening(struct worker_loop *wl)
{
    const struct sockets *sockets = wl->setup->sockets;
    size_t fds = 1;

    for (size_t i = 0; i < sockets->count; i++)
        fds += sockets->items[i].listener->fd_count;
    wl->acceptors = calloc(fds, sizeof *wl->acceptors);
    wl->datagrams = calloc(fds, sizeof *wl->datagrams);
    wl->batch = datagram_batch_create(wl->loop, sockets);
    return wl->acceptors == NULL || wl->datagrams == NULL || wl->batch == NULL ? -ENOMEM : 0;
}

static void carry_out_listen(struct worker_loop *wl)
{
    const struct sockets *sockets = wl->setup->sockets;

    for (size_t i = 0; i < sockets->count; i++) {
        struct enchufe_loop *at = place_of(wl, sockets->items[i].service);
        int err = at != NULL ? listen_one(wl, i, at) : 0;
        if (err != 0) {
            fail(wl, at->service, "cannot listen", err);
            return;
        }
    }
    step_done(wl, 0);
}

/* ---- leaving ---- */

static void stop_when_empty(struct worker_loop *wl)
{
    for (size_t i = 0; i < wl->setup->service_count; i++)
        if (wl->places[i].conn_count != 0)
            return;
    loop_stop(wl->loop);
}

static void emptied(struct enchufe_loop *at)
{
    stop_when_empty(at->owner);
}

static void stop_listening(struct worker_loop *wl)
{
    for (size_t i = 0; i < wl->acceptor_count; i++)
        acceptor_drain(&wl->acceptors[i]);
    for (size_t i = 0; i < wl->datagram_count; i++)
        datagram_drain(&wl->datagrams[i]);
    wl->acceptor_count = wl->datagram_count = 0;
}

static void leave(struct timer *timer)
{
    struct worker_loop *wl = CONTAINER_OF(timer, struct worker_loop, leave);

    stop_listening(wl);
    wl->deaf = true;
    step_done(wl, 0);
    for (size_t i = 0; i < wl->setup->service_count; i++) {
        struct enchufe_loop *at = &wl->places[i];
        at->owner = wl;
        at->emptied = emptied;
        for (struct enchufe_conn *conn = at->conns; conn != NULL; conn = conn->next)
            conn_drain(conn);
    }
    stop_when_empty(wl);
}

/* Whoever is just being let in by the system at an endpoint that is gone thinks that he is in already. */
static void carry_out_drain(struct worker_loop *wl)
{
    uint64_t limit = wl->setup->config->server.drain_timeout, handshake = HANDSHAKE_MS;
    bool waits = false;

    if (wl->draining)
        return;
    wl->draining = true;
    for (size_t i = 0; i < wl->acceptor_count; i++)
        waits = acceptor_has_newcomers(&wl->acceptors[i]) || waits;
    wl->leave.fire = leave;
    /* Those that were let in need some of the time as well. */
    if (limit != 0 && limit / 2 < handshake)
        handshake = limit / 2;
    if (!waits || loop_timer(wl->loop, &wl->leave, clock_ms() + handshake) != 0)
        leave(&wl->leave);
}

static void carry_out_quit(struct worker_loop *wl)
{
    /* Before anything else: an acceptor later in this turn would open connections that nobody ends. */
    for (size_t i = 0; i < wl->acceptor_count; i++)
        acceptor_stop(&wl->acceptors[i]);
    for (size_t i = 0; i < wl->datagram_count; i++)
        loop_watch(wl->loop, &wl->datagrams[i].source, 0);
    for (size_t i = 0; i < wl->setup->service_count; i++)
        for (struct enchufe_conn *conn = wl->places[i].conns; conn != NULL; conn = conn->next)
            conn_close(conn, ENCHUFE_CLOSED_SHUTDOWN);
    loop_stop(wl->loop);
}

/* ---- the log ---- */

static void flush_log(struct timer *timer)
{
    (void)timer;
    log_report_lost();
    log_batch_flush();
}

static void log_due(struct log_batch *batch)
{
    struct worker_loop *wl = CONTAINER_OF(batch, struct worker_loop, log);

    if (loop_timer(wl->loop, &wl->log_flush, clock_ms() + LOG_KEPT_MS) != 0)
        log_batch_flush();
}

bool worker_loop_take_log(int channel, int *spare)
{
    struct channel_packet packet;

    if (*spare >= 0)
        close(*spare);
    bool any = channel_receive(channel, &packet) > 0;
    if (any && packet.fd >= 0) {
        log_sink_take(packet.fd);
        close(packet.fd);
    }
    *spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return any;
}

/* For all loops of the worker, whose table of descriptors is one. */
static void take_log(struct loop_source *source, uint32_t events)
{
    struct worker_loop *wl = CONTAINER_OF(source, struct worker_loop, log_order);

    (void)events;
    worker_loop_take_log(source->fd, &wl->spare);
}

static void begin_log(struct worker_loop *wl)
{
    wl->log_order = (struct loop_source){ .fd = wl->log_channel, .ready = take_log };
    if (wl->log_channel >= 0 && loop_watch(wl->loop, &wl->log_order, EPOLLIN) == 0)
        wl->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    wl->log = (struct log_batch){ .due = log_due };
    wl->log_flush.fire = flush_log;
    if (wl->setup->log == NULL)
        return;
    wl->log.kept = &wl->setup->log[wl->index];
    log_batch_use(&wl->log);
}

/* ---- the thread ---- */

static int start_places(struct worker_loop *wl)
{
    int err = prepare_listening(wl);

    if (err != 0) {
        fail(wl, &wl->services[0], "cannot start a loop", err);
        return err;
    }
    for (size_t i = 0; i < wl->setup->service_count; i++) {
        struct enchufe_service *service = &wl->services[i];
        if (turn_of(wl, service) >= config_loops(service->config, wl->setup->loops))
            continue;
        err = service_loop_start(service, &wl->places[i], wl->loop,
                                 stats_at(wl->setup->counters, service->index, wl->index));
        if (err != 0) {
            wl->places[i].service = NULL;
            fail(wl, service, "loop_start failed", err);
            return err;
        }
    }
    step_done(wl, 0);
    return 0;
}

/* Before the loop touches its memory, which is then near its processor. */
static void bind_thread(const struct worker_loop *wl)
{
    cpu_set_t set;

    if (wl->setup->pins == NULL)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)pinned_to(wl), &set);
    /* By 0, since the filter of system calls lets a thread change nobody but itself. */
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        log_event(ENCHUFE_LOG_WARNING, "loop cannot be bound to a processor",
                  LOG_NUM("loop", wl->index), LOG_INT("processor", pinned_to(wl)),
                  LOG_STR("error", strerror(errno)));
}

void worker_loop_run(struct worker_loop *wl)
{
    trace_thread(&wl->setup->trace->slots[wl->index]);
    begin_log(wl);
    bind_thread(wl);
    if (worker_has_neighbours(wl->setup))
        slice_begin(&wl->slice);
    int err = start_places(wl);
    if (err != 0)
        loop_stop(wl->loop); /* it still runs, to dispose of orders on their way */
    int broken = loop_run(wl->loop);
    if (err == 0)
        err = broken;
    for (size_t i = 0; i < wl->setup->service_count; i++)
        if (wl->places[i].service != NULL)
            service_loop_stop(&wl->places[i]);
    log_batch_use(NULL);
    trace_thread(NULL);
    if (wl->failure == 0)
        wl->failure = err; /* before `ended`, at which it is asked for the last time */
    wl->ended = true;
    step_done(wl, err);
}

static void *run(void *arg)
{
    struct worker_loop *wl = arg;
    char name[16];

    /* By the thread itself: to name another one is to write a file, which the sandbox denies. */
    snprintf(name, sizeof name, "loop-%zu", wl->index % 10000);
    pthread_setname_np(pthread_self(), name);
    int err = trace_thread_stack();
    if (err != 0) {
        fail(wl, &wl->services[0], "cannot start a loop", err);
        loop_stop(wl->loop);
    }
    worker_loop_run(wl);
    trace_thread_end();
    return NULL;
}

int worker_loop_create(struct worker_loop *wl)
{
    wl->places = calloc(wl->setup->service_count, sizeof *wl->places);
    wl->loop = loop_create();
    if (wl->places == NULL || wl->loop == NULL)
        return -ENOMEM;
    wl->loop->watcher = wl->watcher;
    wl->thread = pthread_self();
    return 0;
}

void worker_loop_start(struct worker_loop *wl)
{
    int err = pthread_create(&wl->thread, NULL, run, wl);

    wl->running = err == 0;
    if (wl->running)
        return;
    fail(wl, &wl->services[0], "cannot start the thread of a loop", -err);
    wl->ended = true;
}

static void carry_out(struct loop_message *message)
{
    struct worker_loop_order *order = (struct worker_loop_order *)message;

    order->carry_out(order->wl);
}

/* Not again before it was carried out. A loop that has ended needs none. */
static void give(struct worker_loop *wl, struct worker_loop_order *order,
                 void (*what)(struct worker_loop *wl))
{
    *order =
        (struct worker_loop_order){ .message = { .run = carry_out }, .wl = wl, .carry_out = what };
    loop_post(wl->loop, &order->message);
}

void worker_loop_listen(struct worker_loop *wl)
{
    give(wl, &wl->orders[0], carry_out_listen);
}

void worker_loop_drain(struct worker_loop *wl)
{
    give(wl, &wl->orders[1], carry_out_drain);
}

void worker_loop_quit(struct worker_loop *wl)
{
    give(wl, &wl->orders[2], carry_out_quit);
}

static void carry_out_slice(struct worker_loop *wl)
{
    slice_take(&wl->slice);
}

void worker_loop_adapt(struct worker_loop *wl, uint64_t now)
{
    if (slice_adapt(&wl->slice, now))
        give(wl, &wl->slice_order, carry_out_slice);
}

void worker_loop_end(struct worker_loop *wl)
{
    if (wl->running)
        pthread_join(wl->thread, NULL);
    datagram_batch_free(wl->batch);
    if (wl->spare >= 0)
        close(wl->spare);
    if (wl->loop != NULL)
        loop_drop(wl->loop);
    free(wl->places);
    free(wl->acceptors);
    free(wl->datagrams);
}
