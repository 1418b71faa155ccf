/* The watchdog of a worker. */
#include "watchdog.h"
#include "log.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool is_watched(uint64_t slot)
{
    enum callback callback = trace_callback(slot);

    return callback >= CALLBACK_on_open || callback == CALLBACK_stop ||
           callback == CALLBACK_loop_stop;
}

enum watch_event watch_step(const struct watch *watch, uint64_t slot, uint64_t elapsed,
                            uint64_t limit, struct watch *next)
{
    *next = (struct watch){ .slot = slot };
    if (slot != watch->slot)
        return watch->reported ? WATCH_RETURNED : WATCH_NOTHING;
    if (!is_watched(slot))
        return WATCH_NOTHING;
    next->ms = watch->ms + elapsed;
    next->reported = next->ms >= WATCHDOG_MS;
    if (next->reported && !watch->reported)
        return WATCH_STUCK;
    return limit != 0 && next->ms >= limit ? WATCH_OVER : WATCH_NOTHING;
}

static void tell(const struct watchdog *dog, bool returned, uint64_t slot, uint64_t ms)
{
    int index = trace_service(slot);

    if (index < 0 || (size_t)index >= dog->config->service_count)
        return; /* somebody wrote where he should not */
    const struct service_config *service = &dog->config->services[index];
    log_event(returned ? ENCHUFE_LOG_INFO : ENCHUFE_LOG_WARNING,
              returned ? "stuck loop goes on" : "loop is stuck", LOG_STR("service", service->name),
              LOG_STR("plugin", service->plugin),
              LOG_STR("callback", callback_name(trace_callback(slot))),
              LOG_DURATION(returned ? "took" : "for", ms));
}

/* While nothing runs, the loops are asked to ring before they do something. What a loop did before it
 * could see the request is seen by one more look; only then is it safe to wait for the bell. soon: how long
 * until the next look, which is no later than when a limit is reached. */
static void plan(struct watchdog *dog, bool quiet, uint64_t soon, uint64_t now)
{
    bool asked = atomic_load_explicit(&dog->watcher.resting, memory_order_relaxed);

    dog->last = now;
    dog->next = quiet && asked ? TIMER_NEVER : now + soon;
    if (asked != quiet)
        atomic_store_explicit(&dog->watcher.resting, quiet, memory_order_relaxed);
}

int watchdog_look(struct watchdog *dog, uint64_t now)
{
    uint64_t limit = dog->config->server.stall_limit, elapsed = now - dog->last, times;
    uint64_t soon = WATCHDOG_MS;
    int over = -1;

    /* Who rang does something, be it without a callback: asked again at once, it would ring in every turn. */
    bool quiet = read(dog->watcher.bell, &times, sizeof times) < 0;
    /* After a longer break it was this process that stood still, with all its loops. */
    if (elapsed > 2 * WATCHDOG_MS)
        elapsed = 2 * WATCHDOG_MS;
    for (size_t i = 0; i < dog->count; i++) {
        struct watch *watch = &dog->watches[i], next;
        uint64_t slot =
            atomic_load_explicit(&dog->trace->slots[dog->first + i].now, memory_order_relaxed);
        enum watch_event event = watch_step(watch, slot, elapsed, limit, &next);
        if (event == WATCH_STUCK)
            tell(dog, false, slot, next.ms);
        else if (event == WATCH_RETURNED)
            tell(dog, true, watch->slot, watch->ms + elapsed);
        else if (event == WATCH_OVER)
            over = (int)i;
        quiet = quiet && slot == watch->slot && trace_callback(slot) == CALLBACK_NONE;
        *watch = next;
        if (limit != 0 && next.ms < limit && limit - next.ms < soon)
            soon = limit - next.ms;
    }
    plan(dog, quiet, soon, now);
    return over;
}

int watchdog_init(struct watchdog *dog, const struct config *config, struct trace *trace,
                  size_t first, size_t count)
{
    *dog = (struct watchdog){ .watcher = { .bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) },
                              .config = config,
                              .trace = trace,
                              .watches = calloc(count, sizeof *dog->watches),
                              .first = first,
                              .count = count,
                              .last = clock_ms() };
    dog->next = dog->last + WATCHDOG_MS;
    return dog->watcher.bell < 0 ? -errno : dog->watches == NULL ? -ENOMEM : 0;
}

void watchdog_free(struct watchdog *dog)
{
    if (dog->watcher.bell >= 0)
        close(dog->watcher.bell);
    free(dog->watches);
    *dog = (struct watchdog)WATCHDOG_NONE;
}

/* The bell, which no loop rings here, only cuts the wait short: a look takes the ring away. */
static void *look_on(void *arg)
{
    struct watchdog_thread *watchdog = arg;
    struct watchdog *dog = &watchdog->dog;
    struct pollfd bell = { .fd = dog->watcher.bell, .events = POLLIN };

    for (;;) {
        poll(&bell, 1, WATCHDOG_MS);
        if (atomic_load(&watchdog->over))
            return NULL;
        if (watchdog_look(dog, clock_ms()) >= 0)
            trace_end_stuck(watchdog->watched, dog->watches[0].slot, dog->watches[0].ms);
    }
}

void watchdog_thread_start(struct watchdog_thread *watchdog, const struct config *config,
                           struct trace *trace, size_t slot)
{
    watchdog->watched = pthread_self();
    watchdog->over = false;
    watchdog->running = watchdog_init(&watchdog->dog, config, trace, slot, 1) == 0 &&
                        pthread_create(&watchdog->thread, NULL, look_on, watchdog) == 0;
}

void watchdog_thread_end(struct watchdog_thread *watchdog)
{
    if (watchdog->running) {
        atomic_store(&watchdog->over, true);
        (void)!write(watchdog->dog.watcher.bell, &(uint64_t){ 1 }, sizeof(uint64_t));
        pthread_join(watchdog->thread, NULL);
    }
    watchdog_free(&watchdog->dog);
}
