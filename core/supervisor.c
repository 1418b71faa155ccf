/* What the workers of a generation do together: they are prepared, serve, are told to leave, and are gone. */
#include "supervisor.h"
#include "channel.h"
#include "container.h"
#include "worker_post.h"
#include <stdlib.h>

/* A worker that was told to leave has its time, and this: it ends its connections then, for which it takes
 * 5 s at most (worker_orders.c). */
#define GRACE_MS 5500

struct supervisor {
    struct worker_posts posts;
    struct supervisor_events events;
    bool was_prepared, was_ready; /* all at once, for the first time */
    bool failed;
    bool was_deaf;
    uint64_t deadline;
    struct timer kill;
    struct timer hurry;     /* the deadline, where it is not the workers' own */
    struct loop_task check; /* whether all are prepared, ready or gone */
};

/* ---- what becomes of the workers ---- */

static void check(struct loop_task *task)
{
    struct supervisor *supervisor = CONTAINER_OF(task, struct supervisor, check);
    bool prepared = true, ready = true, deaf = true, alive = false;

    for (const struct worker_post *post = supervisor->posts.first; post != NULL;
         post = post->next) {
        prepared = prepared && post->prepared;
        ready = ready && (post->ready || post->settled);
        deaf = deaf && (post->deaf || post->pid == 0);
        alive = alive || post->pid != 0;
    }
    if (supervisor->posts.leaving) {
        if (deaf && !supervisor->was_deaf) {
            supervisor->was_deaf = true;
            supervisor->events.deaf(supervisor->events.context);
        }
        if (!alive)
            supervisor->events.gone(supervisor->events.context);
    } else if (prepared && !supervisor->was_prepared) {
        supervisor->was_prepared = true;
        supervisor->events.prepared(supervisor->events.context);
    } else if (ready && !supervisor->was_ready) {
        supervisor->was_ready = true;
        supervisor->events.ready(supervisor->events.context);
    }
}

static void post_changed(struct worker_posts *posts)
{
    struct supervisor *supervisor = CONTAINER_OF(posts, struct supervisor, posts);

    loop_defer(posts->loop, &supervisor->check);
}

static void post_failed(struct worker_posts *posts, const char *text)
{
    struct supervisor *supervisor = CONTAINER_OF(posts, struct supervisor, posts);

    if (!supervisor->failed)
        supervisor->events.failed(supervisor->events.context, text);
    supervisor->failed = true;
}

/* ---- orders ---- */

void supervisor_reap(struct supervisor *supervisor)
{
    for (struct worker_post *post = supervisor->posts.first; post != NULL; post = post->next)
        worker_post_reap(post);
}

void supervisor_accept(struct supervisor *supervisor)
{
    supervisor->posts.open = true;
    for (struct worker_post *post = supervisor->posts.first; post != NULL; post = post->next)
        if (post->prepared)
            worker_post_accept(post);
}

static void kill_all(struct timer *timer)
{
    struct supervisor *supervisor = CONTAINER_OF(timer, struct supervisor, kill);

    for (struct worker_post *post = supervisor->posts.first; post != NULL; post = post->next)
        if (post->pid != 0)
            worker_post_kill(post);
}

void supervisor_leave(struct supervisor *supervisor, bool at_once)
{
    uint64_t now = clock_ms(), drain = supervisor->posts.generation->config->server.drain_timeout;

    supervisor->posts.leaving = true;
    for (struct worker_post *post = supervisor->posts.first; post != NULL; post = post->next) {
        timer_cancel(&supervisor->posts.loop->timers, &post->restart);
        if (post->pid != 0)
            channel_send(post->channel.fd, at_once ? CHANNEL_QUIT : CHANNEL_DRAIN, NULL, -1);
    }
    supervisor->deadline = at_once ? now : drain != 0 ? now + drain : 0;
    if (at_once || drain != 0)
        loop_timer(supervisor->posts.loop, &supervisor->kill, supervisor->deadline + GRACE_MS);
    loop_defer(supervisor->posts.loop, &supervisor->check);
}

static void hurry(struct timer *timer)
{
    supervisor_leave(CONTAINER_OF(timer, struct supervisor, hurry), true);
}

void supervisor_hurry(struct supervisor *supervisor, uint64_t deadline)
{
    if (supervisor->deadline != 0 && supervisor->deadline <= deadline)
        return;
    if (loop_timer(supervisor->posts.loop, &supervisor->hurry, deadline) == 0)
        supervisor->deadline = deadline;
}

void supervisor_send_log(struct supervisor *supervisor, int fd)
{
    for (struct worker_post *post = supervisor->posts.first; post != NULL; post = post->next)
        if (post->pid != 0)
            channel_send(post->channel.fd, CHANNEL_LOG, NULL, fd);
}

uint64_t supervisor_deadline(const struct supervisor *supervisor)
{
    return supervisor->posts.leaving ? supervisor->deadline : 0;
}

void supervisor_each(const struct supervisor *supervisor,
                     void (*see)(void *context, const struct worker_view *view), void *context)
{
    uint64_t now = clock_ms();

    for (const struct worker_post *post = supervisor->posts.first; post != NULL;
         post = post->next) {
        bool waits = timer_running(&post->restart) && post->restart.deadline > now;
        struct worker_view view = { .name = worker_post_name(post),
                                    .pid = post->pid,
                                    .age_ms = post->pid != 0 ? now - post->started_at : 0,
                                    .wait_ms = waits ? post->restart.deadline - now : 0,
                                    .restarts = post->restarts,
                                    .quarantined = post->quarantined,
                                    .ready = post->ready,
                                    .last_crash = post->last_crash,
                                    .group = &post->group };
        see(context, &view);
    }
}

/* ---- life ---- */

struct supervisor *supervisor_start(struct generation *generation, struct loop *loop,
                                    const struct supervisor_events *events)
{
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);

    if (supervisor == NULL)
        return NULL;
    *supervisor = (struct supervisor){ .posts = { .generation = generation,
                                                  .loop = loop,
                                                  .changed = post_changed,
                                                  .failed = post_failed },
                                       .events = *events,
                                       .kill = { .fire = kill_all },
                                       .hurry = { .fire = hurry },
                                       .check = { .run = check } };
    supervisor->posts.last = &supervisor->posts.first;
    for (size_t i = 0; i < generation->group_count; i++) {
        const struct group *group = &generation->groups[i];
        if (worker_post_add(&supervisor->posts, group->services, group->service_count,
                            group->loops) == NULL) {
            supervisor_free(supervisor);
            return NULL;
        }
    }
    return supervisor;
}

void supervisor_free(struct supervisor *supervisor)
{
    struct worker_post *next;

    if (supervisor == NULL)
        return;
    timer_cancel(&supervisor->posts.loop->timers, &supervisor->kill);
    timer_cancel(&supervisor->posts.loop->timers, &supervisor->hurry);
    for (struct worker_post *post = supervisor->posts.first; post != NULL; post = next) {
        next = post->next;
        worker_post_free(post);
    }
    free(supervisor);
}
