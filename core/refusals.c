/* The few lines that the log has of refused clients and dropped datagrams. */
#include "refusals.h"
#include "container.h"
#include "log.h"

#define SECOND_MS 1000

static void say_count(const char *service, uint64_t count)
{
    if (count != 0)
        log_event(ENCHUFE_LOG_INFO, "further refusals", LOG_STR("service", service),
                  LOG_NUM("count", count));
}

/* Takes the count along, so that it is said once. */
static void stop_timer(struct refusals *refusals)
{
    pthread_mutex_lock(&refusals->lock);
    uint64_t count = refusals->unsaid;
    refusals->unsaid = 0;
    refusals->loop = NULL;
    pthread_mutex_unlock(&refusals->lock);
    say_count(refusals->service, count);
}

static void fire(struct timer *timer)
{
    stop_timer(CONTAINER_OF(timer, struct refusals, timer));
}

void refusals_init(struct refusals *refusals, const char *service)
{
    *refusals = (struct refusals){ .service = service, .timer.fire = fire };
    pthread_mutex_init(&refusals->lock, NULL);
}

void refusals_free(struct refusals *refusals)
{
    pthread_mutex_destroy(&refusals->lock);
}

/* Whether line i is less than a second old. Two loops may be here in another order than they read the clock. */
static bool is_fresh(const struct refusals *refusals, unsigned i, uint64_t now)
{
    return refusals->lines[i].at != 0 && now < refusals->lines[i].at + SECOND_MS;
}

static bool is_said(const struct refusals *refusals, struct ip source, uint64_t now)
{
    if (is_fresh(refusals, refusals->oldest, now))
        return true; /* as many lines as a second may have */
    for (unsigned i = 0; i < REFUSALS_LINES; i++)
        if (is_fresh(refusals, i, now) && ip_equal(refusals->lines[i].source, source))
            return true;
    return false;
}

/* Without memory for the timer the count waits for the next refusal. */
static void count(struct refusals *refusals, struct loop *loop, uint64_t now)
{
    refusals->unsaid++;
    if (refusals->loop == NULL && loop_timer(loop, &refusals->timer, now + SECOND_MS) == 0)
        refusals->loop = loop;
}

bool refusals_may_say(struct refusals *refusals, struct loop *loop, struct ip source)
{
    if (!enchufe_log_enabled(ENCHUFE_LOG_INFO))
        return false;
    uint64_t now = clock_ms();
    pthread_mutex_lock(&refusals->lock);
    bool say = !is_said(refusals, source, now);
    if (say) {
        refusals->lines[refusals->oldest].source = source;
        refusals->lines[refusals->oldest].at = now;
        refusals->oldest = (refusals->oldest + 1) % REFUSALS_LINES;
    } else {
        count(refusals, loop, now);
    }
    pthread_mutex_unlock(&refusals->lock);
    return say;
}

void refusals_end(struct refusals *refusals, struct loop *loop)
{
    pthread_mutex_lock(&refusals->lock);
    bool mine = refusals->loop == loop;
    if (mine)
        timer_cancel(&loop->timers, &refusals->timer);
    pthread_mutex_unlock(&refusals->lock);
    if (mine)
        stop_timer(refusals);
}
