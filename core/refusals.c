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

static bool is_said(const struct refusals *refusals, struct ip source)
{
    for (unsigned i = 0; i < refusals->said; i++)
        if (ip_equal(refusals->sources[i], source))
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
    /* Two loops may be here in the other order than they read the clock. */
    if (now >= refusals->since + SECOND_MS) {
        refusals->since = now;
        refusals->said = 0;
    }
    bool say = refusals->said < REFUSALS_LINES && !is_said(refusals, source);
    if (say)
        refusals->sources[refusals->said++] = source;
    else
        count(refusals, loop, now);
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
