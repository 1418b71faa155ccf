/* The event loop. One turn, in order:
 *   1. wait in epoll (not at all where tasks are queued already)
 *   2. call `ready` of every source that has something, timers and other threads' work among them
 *   3. run the tasks that were queued up to now: connections flush and end here, so that no event of
 *      the same batch meets a freed one
 *   4. set the timer descriptor, where the earliest deadline has moved forward */
#include "loop.h"
#include "container.h"
#include "system_call.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256

struct loop_inner {
    struct loop *loop;
    struct loop_source clock; /* a timerfd */
    uint64_t armed;           /* the deadline it is set to; TIMER_NEVER: none */
    uint64_t tick_end;
    struct loop_task *tasks, **tasks_end;
    struct epoll_event events[BATCH];
    _Atomic unsigned owners;

    pthread_mutex_t lock; /* of what follows */
    struct loop_message *inbox, **inbox_end;
    bool closed;
    struct loop_source bell; /* an eventfd: the inbox is not empty */
};

uint64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void set_clock(struct loop_inner *in, uint64_t deadline)
{
    uint64_t ms = deadline != 0 ? deadline : 1; /* zero would disarm */
    struct itimerspec when = {
        .it_value = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 },
    };

    in->armed = deadline;
    timerfd_settime(in->clock.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static bool is_ticking(const struct loop *loop)
{
    return atomic_load_explicit(&loop->ticking, memory_order_relaxed);
}

static void set_ticking(struct loop *loop, bool ticking)
{
    atomic_store_explicit(&loop->ticking, ticking, memory_order_relaxed);
}

void loop_forget_time(struct loop *loop)
{
    set_ticking(loop, false);
}

/* The timerfd is absolute and never set later than it stands: moving a deadline back costs one early
 * wake-up at most, and no system call for each move. */
static inline void arm(struct loop *loop)
{
    struct loop_inner *in = loop->inner;
    uint64_t next = timers_next(&loop->timers);

    if (is_ticking(loop) && in->tick_end < next)
        next = in->tick_end;
    if (next < in->armed)
        set_clock(in, next);
}

uint64_t loop_tick(struct loop *loop)
{
    loop->now = clock_ms();
    set_ticking(loop, true);
    loop->inner->tick_end = loop->now + LOOP_TICK_MS;
    return loop->now;
}

static void clock_ready(struct loop_source *source, uint32_t events)
{
    struct loop_inner *in = CONTAINER_OF(source, struct loop_inner, clock);
    struct loop *loop = in->loop;
    uint64_t times;

    (void)events;
    if (read(source->fd, &times, sizeof times) < 0)
        return;
    in->armed = TIMER_NEVER;
    loop->now = clock_ms();
    timers_run(&loop->timers, loop->now);
    /* The tick ends here; whoever needs the time next starts it again. An idle loop stays asleep. */
    set_ticking(loop, false);
}

static void run_inbox(struct loop_inner *in, bool last)
{
    pthread_mutex_lock(&in->lock);
    struct loop_message *message = in->inbox;
    in->inbox = NULL;
    in->inbox_end = &in->inbox;
    in->closed = in->closed || last;
    pthread_mutex_unlock(&in->lock);

    while (message != NULL) {
        struct loop_message *next = message->next;
        message->run(message);
        message = next;
    }
}

static void bell_ready(struct loop_source *source, uint32_t events)
{
    struct loop_inner *in = CONTAINER_OF(source, struct loop_inner, bell);
    uint64_t times;

    (void)events;
    if (read(source->fd, &times, sizeof times) > 0)
        run_inbox(in, false);
}

int loop_post(struct loop *loop, struct loop_message *message)
{
    struct loop_inner *in = loop->inner;

    pthread_mutex_lock(&in->lock);
    bool closed = in->closed;
    bool first = in->inbox == NULL;
    if (!closed) {
        message->next = NULL;
        *in->inbox_end = message;
        in->inbox_end = &message->next;
        /* Rung under the lock, so that the loop cannot have ended in between. */
        if (first)
            (void)!write(in->bell.fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    }
    pthread_mutex_unlock(&in->lock);
    return closed ? -ESHUTDOWN : 0;
}

int loop_bell(const struct loop *loop)
{
    return loop->inner->bell.fd;
}

int loop_watch_other(struct loop *loop, struct loop_source *source, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = source };
    int operation = events == 0           ? EPOLL_CTL_DEL
                    : source->events == 0 ? EPOLL_CTL_ADD
                                          : EPOLL_CTL_MOD;
    if (epoll_ctl(source->set != NULL ? source->set->epoll : loop->epoll, operation, source->fd,
                  &event) < 0)
        return -errno;
    source->events = events;
    return 0;
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    struct loop_inner *in = loop->inner;

    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    *in->tasks_end = task;
    in->tasks_end = &task->next;
}

/* Only what is queued now: a task that queues itself again waits for the next turn's events first. */
static void run_tasks(struct loop_inner *in)
{
    struct loop_task *task = in->tasks;

    in->tasks = NULL;
    in->tasks_end = &in->tasks;
    while (task != NULL) {
        struct loop_task *next = task->next;
        task->queued = false;
        task->run(task);
        task = next;
    }
}

int loop_timer(struct loop *loop, struct timer *timer, uint64_t deadline)
{
    return timer_set(&loop->timers, timer, deadline);
}

/* Rings once for each rest: in an idle loop, and at most every other look of the watcher. */
static void wake_watcher(struct loop_watcher *watcher)
{
    if (atomic_exchange(&watcher->resting, false))
        (void)!write(watcher->bell, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static int turn(struct loop *loop)
{
    struct loop_inner *in = loop->inner;
    const struct epoll_event *events = in->events;
    int n = system_epoll_wait(loop->epoll, in->events, BATCH, in->tasks != NULL ? 0 : -1);

    if (n < 0 && errno != EINTR)
        return -errno;
    if (loop->watcher != NULL &&
        atomic_load_explicit(&loop->watcher->resting, memory_order_relaxed))
        wake_watcher(loop->watcher);
    loop->turns++;
    if (loop->sort != NULL)
        n = loop->sort(loop, in->events, n);
    for (int i = 0; i < n; i++) {
        struct loop_source *source = events[i].data.ptr;
        /* A source of this batch may have been unwatched by one before it. */
        if (source->events != 0)
            source->ready(source, events[i].events);
    }
    if (in->tasks != NULL)
        run_tasks(in);
    arm(loop);
    return 0;
}

int loop_run(struct loop *loop)
{
    struct loop_inner *in = loop->inner;
    int err = 0;

    arm(loop);
    while (!loop->stopping && err == 0)
        err = turn(loop);
    while (in->tasks != NULL)
        run_tasks(in);
    run_inbox(in, true);
    while (in->tasks != NULL)
        run_tasks(in);
    return err;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

void loop_hold(struct loop *loop)
{
    atomic_fetch_add_explicit(&loop->inner->owners, 1, memory_order_relaxed);
}

void loop_drop(struct loop *loop)
{
    struct loop_inner *in = loop->inner;

    if (atomic_fetch_sub_explicit(&in->owners, 1, memory_order_acq_rel) != 1)
        return;
    if (in->clock.fd >= 0)
        close(in->clock.fd);
    if (in->bell.fd >= 0)
        close(in->bell.fd);
    if (loop->epoll >= 0)
        close(loop->epoll);
    pthread_mutex_destroy(&in->lock);
    timers_free(&loop->timers);
    free(loop->input);
    free(loop->output);
    free(in);
    free(loop);
}

struct loop *loop_create(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    struct loop_inner *in = calloc(1, sizeof *in);

    if (loop == NULL || in == NULL) {
        free(loop);
        free(in);
        errno = ENOMEM;
        return NULL;
    }
    loop->inner = in;
    in->loop = loop;
    in->owners = 1;
    in->armed = TIMER_NEVER;
    in->tasks_end = &in->tasks;
    in->inbox_end = &in->inbox;
    pthread_mutex_init(&in->lock, NULL);
    loop->input = malloc(LOOP_INPUT_SIZE + 1);
    loop->output = malloc(LOOP_OUTPUT_SIZE);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    in->clock =
        (struct loop_source){ .fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
                              .ready = clock_ready };
    in->bell =
        (struct loop_source){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = bell_ready };
    if (loop->input == NULL || loop->output == NULL || loop->epoll < 0 || in->clock.fd < 0 ||
        in->bell.fd < 0 || loop_watch(loop, &in->clock, EPOLLIN) < 0 ||
        loop_watch(loop, &in->bell, EPOLLIN) < 0) {
        int err = errno;
        loop_drop(loop);
        errno = err;
        return NULL;
    }
    return loop;
}
