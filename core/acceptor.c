/* Accepting connections. */
#include "acceptor.h"
#include "conn.h"
#include "container.h"
#include "log.h"
#include "sockets.h"
#include "system_call.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

/* So many at once, then the other sources of the loop have their turn. */
#define BATCH 64

/* And of a service that crowds the loop, whose own turn is told by the number of its events. */
#define CROWDING_BATCH 4

/* As many as the longest backlog holds: a leaving worker serves its queue, and no flood behind it. */
#define DRAIN_BATCHES (65536 / BATCH)

/* Out of descriptors or memory, the connection stays queued and the listener stays readable: asking again
 * at once would take a whole processor (2.45 million times a second were measured). */
#define PAUSE_MS 100
#define LOG_EVERY_MS 1000

/* Connections after which it is looked whether they come evenly. */
#define UNEVEN_WINDOW 256

static void log_pause(struct enchufe_loop *at, int err)
{
    /* For the process: the want of descriptors is everybody's at once. */
    static _Atomic uint64_t last;
    uint64_t now = clock_ms(), before = atomic_load(&last);

    if ((before != 0 && now - before < LOG_EVERY_MS) ||
        !atomic_compare_exchange_strong(&last, &before, now))
        return;
    log_event(ENCHUFE_LOG_WARNING, "accepting paused", LOG_STR("service", at->service->name),
              LOG_STR("error", strerror(err)));
}

static void resume(struct timer *timer)
{
    struct acceptor *acceptor = CONTAINER_OF(timer, struct acceptor, pause);

    if (loop_watch(acceptor->at->loop, &acceptor->source, acceptor->events) != 0)
        loop_timer(acceptor->at->loop, timer, clock_ms() + PAUSE_MS);
}

static void pause_accepting(struct acceptor *acceptor, int err)
{
    struct enchufe_loop *at = acceptor->at;

    log_pause(at, err);
    stats_add(&at->stats->accept_pauses, 1);
    if (loop_timer(at->loop, &acceptor->pause, clock_ms() + PAUSE_MS) == 0)
        loop_watch(at->loop, &acceptor->source, 0);
}

/* Takes a place among the connections, or returns false. Taken first and counted then, because other loops
 * do the same at this moment. */
static bool admit(const struct enchufe_loop *at)
{
    const struct enchufe_service *service = at->service;
    int64_t max = service->config->limits.max_connections;
    int64_t server_max = service->server_max_connections;

    stats_connection_began(service->counters, service->index);
    if ((max == 0 || stats_connections(service->counters, service->index) <= max) &&
        (server_max == 0 || stats_connections_all(service->counters) <= server_max))
        return true;
    stats_connection_ended(service->counters, service->index);
    return false;
}

/* Returns 0, or the enum enchufe_reason why this client is refused. The limits of its own come first, so that
 * who passes them takes no place from others. */
static int judge(const struct acceptor *acceptor, const enchufe_address *peer)
{
    const struct guard *guard = &acceptor->at->service->streams;

    if (acceptor->guarded) {
        int reason = guard_enter(guard, peer, clock_ms());
        if (reason != 0)
            return reason;
    }
    if (admit(acceptor->at))
        return 0;
    guard_undo(guard, peer);
    return ENCHUFE_CLOSED_LIMIT;
}

/* ---- which loop a connection comes to ---- */

/* The system chooses among an endpoint's sockets by the client's address; but where one of them prefers the
 * processor that the packet arrived on, that one. */
static void prefer(int fd, int cpu)
{
    setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, sizeof cpu);
}

static uint64_t accepted_by_all(const struct enchufe_loop *at)
{
    struct stats sum;

    stats_sum(at->service->counters, at->service->index, &sum);
    return sum.opened;
}

/* A network card with one queue interrupts one processor, whose loop would get every connection. A loop
 * that gets more than half as much again as its share leaves the choice to the address. */
static void look_for_unevenness(struct acceptor *acceptor)
{
    const struct enchufe_service *service = acceptor->at->service;
    uint64_t all = accepted_by_all(acceptor->at), share = all - acceptor->accepted_all;

    if ((uint64_t)acceptor->accepted * acceptor->on.loops * 2 > share * 3) {
        acceptor->prefers = false;
        prefer(acceptor->source.fd, -1);
        log_event(ENCHUFE_LOG_INFO, "connections arrive unevenly, and are spread over all loops",
                  LOG_STR("service", service->name));
    }
    acceptor->accepted = 0;
    acceptor->accepted_all = all;
}

/* ---- accepting ---- */

/* Returns 0, or the errno value that ended the batch. */
static int accept_one(struct acceptor *acceptor)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    enchufe_address peer = { .family = ENCHUFE_FAMILY_NONE };
    int fd = system_accept(acceptor->source.fd, (struct sockaddr *)&from, &len);

    if (fd < 0)
        return errno;
    if (acceptor->on.is_ip)
        address_from_sockaddr(&peer, (const struct sockaddr *)&from);
    int reason = judge(acceptor, &peer);
    if (reason != 0) {
        conn_refuse(acceptor->at, fd, &peer, reason);
        return 0;
    }
    conn_open(acceptor->at, fd, &peer);
    acceptor->accepted++;
    return 0;
}

/* Errors of the one connection that was queued (accept(2) lists them) do not end the batch. */
static bool about_one(int err)
{
    return err == ECONNABORTED || err == EINTR || err == EPROTO || err == ENETDOWN ||
           err == ENOPROTOOPT || err == EHOSTDOWN || err == ENONET || err == EHOSTUNREACH ||
           err == EOPNOTSUPP || err == ENETUNREACH || err == EPERM;
}

static int accept_batch(struct acceptor *acceptor, int count)
{
    int err = 0;

    for (int i = 0; i < count && (err == 0 || about_one(err)); i++) {
        err = accept_one(acceptor);
        if (acceptor->prefers && acceptor->accepted >= UNEVEN_WINDOW)
            look_for_unevenness(acceptor);
    }
    return about_one(err) ? 0 : err;
}

/* Where connections come one at a time, looking for a second is a system call for nothing: only if there are
 * some in the next turn as well, twice as many are taken. */
static void ready(struct loop_source *source, uint32_t events)
{
    struct acceptor *acceptor = CONTAINER_OF(source, struct acceptor, source);
    unsigned turn = acceptor->at->loop->turns;
    int most = acceptor->at->share.crowds ? CROWDING_BATCH : BATCH;

    (void)events;
    acceptor->batch = turn == acceptor->turn + 1 ? acceptor->batch * 2 : 1;
    if (acceptor->batch > most)
        acceptor->batch = most;
    acceptor->turn = turn;
    int err = accept_batch(acceptor, acceptor->batch);
    if (err == EAGAIN)
        acceptor->batch = 1;
    else if (err != 0)
        pause_accepting(acceptor, err);
}

int acceptor_start(struct acceptor *acceptor, struct enchufe_loop *at, const struct listening *on)
{
    *acceptor = (struct acceptor){
        .source = { .fd = on->fd, .ready = ready, .set = share_set(&at->share) },
        .at = at,
        .pause = { .fire = resume },
        .events = EPOLLIN | (on->shared ? (uint32_t)EPOLLEXCLUSIVE : 0),
        .on = *on,
        .guarded = on->is_ip && at->service->streams.on,
        .prefers = on->cpu >= 0,
        .accepted_all = on->cpu >= 0 ? accepted_by_all(at) : 0,
    };
    if (on->is_ip && !on->shared)
        prefer(on->fd, on->cpu); /* none, too: a generation before us may have set one */
    return loop_watch(at->loop, &acceptor->source, acceptor->events);
}

void acceptor_stop(struct acceptor *acceptor)
{
    timer_cancel(&acceptor->at->loop->timers, &acceptor->pause);
    loop_watch(acceptor->at->loop, &acceptor->source, 0);
}

bool acceptor_has_newcomers(const struct acceptor *acceptor)
{
    return acceptor->on.is_ip && *acceptor->on.gone == SOCKETS_REMOVED;
}

void acceptor_drain(struct acceptor *acceptor)
{
    bool gone = *acceptor->on.gone;

    for (int i = 0; gone && i < DRAIN_BATCHES && accept_batch(acceptor, BATCH) == 0; i++)
        continue;
    acceptor_stop(acceptor);
    if (gone)
        shutdown(acceptor->source.fd, SHUT_RDWR);
}
