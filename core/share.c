/* Turns of services that crowd a loop. */
#include "share.h"
#include "container.h"
#include "system_call.h"
#include <poll.h>
#include <time.h>
#include <unistd.h>

/* A service is calm again after so many turns in a row with fewer events than that. A move costs two
 * system calls, so one that comes and goes must not cause many. */
#define CALM_TURNS 64
#define CALM_EVENTS 4

static uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* To the other set first: without memory for that the source stays where it is. */
static bool move(struct loop_source *source, struct loop_set *to)
{
    struct epoll_event event = { .events = source->events, .data.ptr = source };

    if (epoll_ctl(to->epoll, EPOLL_CTL_ADD, source->fd, &event) != 0)
        return false;
    epoll_ctl(source->set->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    source->set = to;
    return true;
}

/* ---- a service's turn ---- */

/* The clock is read twice a turn, not for each event, so the time of one tells the size of the next. What the
 * service left to be done at the end of the loop's turn is not in it. */
static void adapt(struct share *share, uint64_t us)
{
    if (us > SHARE_MOST_US)
        share->events = share->events > 1 ? share->events / 2 : 1;
    else if (share->handled == share->events && us < SHARE_MOST_US / 2 &&
             share->events < SHARE_MOST_EVENTS)
        share->events *= 2;
}

/* poll() looks without moving anybody to the end of the queue, as epoll_wait() does. */
static bool is_ready(const struct share *share)
{
    struct pollfd own = { .fd = share->own.epoll, .events = POLLIN };

    return poll(&own, 1, 0) == 1;
}

/* A turn that took all it might, and might take few, does not tell whether there were more. */
static void look_for_calm(struct share *share)
{
    bool few = share->handled < CALM_EVENTS && (share->handled < share->events || !is_ready(share));

    share->calm = few ? share->calm + 1 : 0;
    if (share->calm >= CALM_TURNS)
        share->crowds = false;
}

static void ready(struct loop_source *own, uint32_t events)
{
    struct share *share = CONTAINER_OF(own, struct share, source);
    struct epoll_event batch[SHARE_MOST_EVENTS];

    uint64_t began = clock_us();
    int n = system_epoll_wait(share->own.epoll, batch, (int)share->events, 0);

    (void)events;
    if (n < 0)
        return;
    share->handled = (unsigned)n;
    for (int i = 0; i < n; i++) {
        struct loop_source *source = batch[i].data.ptr;
        if (source->events == 0)
            continue; /* unwatched by one before it */
        if (!share->crowds)
            move(source, &share->common);
        source->ready(source, batch[i].events);
    }
    look_for_calm(share);
    adapt(share, clock_us() - began);
}

/* ---- who crowds ---- */

static struct share *share_of(const struct epoll_event *event)
{
    const struct loop_source *source = event->data.ptr;

    return source->set != NULL ? source->set->share : NULL;
}

/* Returns how many services there are in the batch. */
static unsigned count_events(struct loop *loop, const struct epoll_event *events, int count)
{
    unsigned services = 0;

    for (int i = 0; i < count; i++) {
        struct share *share = share_of(&events[i]);
        if (share == NULL)
            continue;
        if (share->turn != loop->turns) {
            share->turn = loop->turns;
            share->seen = 0;
            services++;
        }
        share->seen++;
    }
    return services;
}

static bool open_own(struct share *share)
{
    if (share->own.epoll >= 0)
        return true;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return false;
    share->source = (struct loop_source){ .fd = epoll, .ready = ready };
    if (loop_watch(share->loop, &share->source, EPOLLIN) != 0) {
        close(epoll);
        return false;
    }
    share->source.set = &share->common; /* counts as the service's, and stays where it is */
    share->own.epoll = epoll;
    return true;
}

static bool crowds(struct share *share, unsigned services)
{
    if (!share->crowds && services > 1 && share->seen >= SHARE_MANY) {
        share->crowds = open_own(share);
        share->seen = 0; /* asked once a turn */
        share->calm = 0;
        share->events = SHARE_MANY;
    }
    return share->crowds;
}

/* Moves what belongs to crowding services to their own sets, which report it again. */
static int sort(struct loop *loop, struct epoll_event *events, int count)
{
    if (count < SHARE_MANY)
        return count;
    unsigned services = count_events(loop, events, count);
    int kept = 0;

    for (int i = 0; i < count; i++) {
        struct share *share = share_of(&events[i]);
        struct loop_source *source = events[i].data.ptr;
        if (share == NULL || source == &share->source || !crowds(share, services) ||
            !move(source, &share->own))
            events[kept++] = events[i];
    }
    return kept;
}

/* ---- from the start to the end ---- */

void share_init(struct share *share, struct loop *loop)
{
    *share = (struct share){
        .loop = loop,
        .common = { .epoll = loop->epoll, .share = share },
        .own = { .epoll = -1, .share = share },
    };
    if (++loop->shares > 1)
        loop->sort = sort;
}

void share_end(struct share *share)
{
    if (--share->loop->shares <= 1)
        share->loop->sort = NULL;
    if (share->own.epoll < 0)
        return;
    loop_watch(share->loop, &share->source, 0);
    close(share->own.epoll);
    share->own.epoll = -1;
}
