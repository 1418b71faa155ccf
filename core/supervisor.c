/* Starting, watching and restarting workers. */
#include "supervisor.h"
#include "backoff.h"
#include "channel.h"
#include "container.h"
#include "descriptors.h"
#include "log.h"
#include "obituary.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

/* A worker that was told to leave has its time, and this. */
#define GRACE_MS 500
#define QUIT_MS 1500

/* One worker's place: processes come and go in it. */
struct post {
    struct supervisor *supervisor;
    struct post *next;
    struct group group;
    struct trace *trace;
    struct log_kept *log; /* lines that the worker has not written yet, for each loop */
    pid_t pid;            /* 0: none runs */
    struct loop_source channel;
    struct timer restart;
    struct timer patience; /* until it serves */
    uint64_t started_at;
    struct backoff backoff;
    uint64_t sent_before; /* what its services had sent when it was started */
    unsigned restarts;
    bool prepared, ready;
    bool settled;     /* dies again and again: nobody waits until it is ready */
    bool deaf;        /* leaves, and accepts no more */
    bool told;        /* why it fails is in last_crash already */
    int blamed;       /* then: the service that kept it from starting, or -1 */
    bool quarantined; /* one service, which crashed its worker before */
    char last_crash[OBITUARY_TEXT];
};

struct supervisor {
    struct generation *generation;
    struct loop *loop;
    struct supervisor_events events;
    bool was_prepared, was_ready; /* all at once, for the first time */
    bool open;                    /* workers may accept */
    bool failed;
    bool leaving;
    bool was_deaf;
    uint64_t deadline;
    struct timer kill;
    struct timer hurry;     /* the deadline, where it is not the workers' own */
    struct loop_task check; /* whether all are prepared, ready or gone */
    struct post *posts, **last_post;
};

static const char *post_name(const struct post *post)
{
    const struct service_config *first =
        &post->supervisor->generation->config->services[post->group.services[0]];

    return first->limits.isolate || post->quarantined ? first->name : "main";
}

/* ---- starting ---- */

struct worker_setup supervisor_setup(struct generation *generation, const struct group *group,
                                     struct trace *trace)
{
    return (struct worker_setup){
        .config = generation->config,
        .services = group->services,
        .service_count = group->service_count,
        .loops = group->loops,
        .pins = generation->pinned ? &generation->cpus : NULL,
        .sockets = &generation->sockets,
        .files = generation->files,
        .counters = generation->counters,
        .trace = trace,
        .identity = &generation->identity,
        .master = getpid(),
        .channel = -1,
        .signals = -1,
    };
}

/* A worker ends without the exit handlers of plugins, which know nothing of threads that still run; only
 * the leak checker needs them. */
static _Noreturn void end_process(int status)
{
#ifdef __SANITIZE_ADDRESS__
    exit(status);
#else
    _exit(status);
#endif
}

static void after_failure(struct post *post, const char *text);
static void hear(struct loop_source *source, uint32_t events);

/* What the services of a post have sent: whoever answers is alive. */
static uint64_t sent(const struct post *post)
{
    uint64_t total = 0;

    for (size_t i = 0; i < post->group.service_count; i++) {
        struct stats sum;
        stats_sum(post->supervisor->generation->counters, post->group.services[i], &sum);
        total += sum.bytes_out + sum.datagrams_out;
    }
    return total;
}

/* In the worker. Of its generation too it keeps only what its own services need, so that an endpoint that is
 * gone does not live on in others. */
static void close_others(const struct worker_setup *setup)
{
    struct descriptors kept = { .fds = NULL };

    descriptors_keep(&kept, setup->channel);
    for (size_t i = 0; i < setup->service_count; i++) {
        size_t service = setup->services[i];
        descriptors_keep(&kept, setup->files[service]->fd);
        sockets_keep(setup->sockets, service, &kept);
    }
    descriptors_close_others(&kept);
}

/* For the steps that are the worker's own: while it waits for the others it is not to blame. */
static void have_patience(struct post *post)
{
    uint64_t limit = post->supervisor->generation->config->server.start_timeout;

    if (limit != 0)
        loop_timer(post->supervisor->loop, &post->patience, clock_ms() + limit);
}

static void let_accept(struct post *post)
{
    channel_send(post->channel.fd, CHANNEL_ACCEPT, NULL, -1);
    have_patience(post);
}

static void cannot_start(struct post *post, const char *text)
{
    post->told = true;
    snprintf(post->last_crash, sizeof post->last_crash, "%.150s", text);
    log_event(ENCHUFE_LOG_ERROR, "worker cannot start", LOG_STR("worker", post_name(post)),
              LOG_STR("error", text));
}

static void start_worker(struct post *post)
{
    struct supervisor *supervisor = post->supervisor;
    struct worker_setup setup = supervisor_setup(supervisor->generation, &post->group, post->trace);
    int ends[2];

    setup.log = post->log;
    if (post->quarantined)
        setup.pins = NULL; /* the others have them already */
    post->prepared = post->ready = post->deaf = post->told = false;
    post->blamed = -1;
    post->started_at = clock_ms();
    post->sent_before = sent(post);
    trace_reset(post->trace);
    int err = channel_create(ends);
    if (err != 0) {
        cannot_start(post, strerror(-err));
        after_failure(post, post->last_crash);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        setup.channel = ends[1];
        close_others(&setup);
        end_process(worker_run(&setup));
    }
    err = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        cannot_start(post, strerror(err));
        after_failure(post, post->last_crash);
        return;
    }
    post->pid = pid;
    have_patience(post);
    post->channel.fd = ends[0];
    if ((err = loop_watch(supervisor->loop, &post->channel, EPOLLIN)) != 0) {
        /* Nobody would hear what it says: it is started again, like one that failed by itself. */
        cannot_start(post, strerror(-err));
        kill(pid, SIGKILL);
    }
    log_event(ENCHUFE_LOG_INFO, "worker started", LOG_STR("worker", post_name(post)),
              LOG_INT("pid", pid), LOG_NUM("generation", supervisor->generation->number),
              LOG_NUM("loops", post->group.loops));
}

static struct obituary obituary(const struct post *post)
{
    return (struct obituary){ .config = post->supervisor->generation->config,
                              .trace = post->trace,
                              .worker = post_name(post),
                              .pid = post->pid };
}

/* A plugin that does not return from start or loop_start is in no loop's watch yet. */
static void too_late(struct timer *timer)
{
    struct post *post = CONTAINER_OF(timer, struct post, patience);
    struct obituary about = obituary(post);

    post->blamed = obituary_killed(&about, "does not start", post->last_crash);
    post->told = true;
    kill(post->pid, SIGKILL);
}

static void restart(struct timer *timer)
{
    struct post *post = CONTAINER_OF(timer, struct post, restart);

    post->restarts++;
    start_worker(post);
}

static void first_start(struct timer *timer)
{
    struct post *post = CONTAINER_OF(timer, struct post, restart);

    timer->fire = restart;
    start_worker(post);
}

/* Until the sockets are open, the first failure is the generation's end. From then on they are served
 * by nobody else, and the worker is started again. */
static void after_failure(struct post *post, const char *text)
{
    struct supervisor *supervisor = post->supervisor;
    uint64_t now = clock_ms();

    loop_defer(supervisor->loop, &supervisor->check);
    if (supervisor->leaving)
        return;
    if (!supervisor->open) {
        if (!supervisor->failed)
            supervisor->events.failed(supervisor->events.context, text);
        supervisor->failed = true;
        return;
    }
    uint64_t delay =
        backoff_next(&post->backoff, now - post->started_at, sent(post) != post->sent_before);
    post->settled = post->settled || delay != 0;
    if (delay != 0)
        log_event(ENCHUFE_LOG_INFO, "worker starts again", LOG_STR("worker", post_name(post)),
                  LOG_DURATION("in", delay));
    loop_timer(supervisor->loop, &post->restart, now + delay);
}

static void free_post(struct post *post)
{
    free(post->group.services);
    trace_destroy(post->trace);
    log_kept_destroy(post->log, post->group.loops);
    free(post);
}

static struct post *add_post(struct supervisor *supervisor, const size_t *services, size_t count,
                             size_t loops)
{
    struct post *post = calloc(1, sizeof *post);

    if (post == NULL)
        return NULL;
    *post = (struct post){ .supervisor = supervisor,
                           .group = { .services = calloc(count, sizeof *services),
                                      .service_count = count,
                                      .loops = loops },
                           .trace = trace_create(loops),
                           .log = log_kept_create(loops),
                           .channel = { .fd = -1, .ready = hear },
                           .patience = { .fire = too_late },
                           .restart = { .fire = first_start } };
    if (post->group.services == NULL || post->trace == NULL || post->log == NULL ||
        loop_timer(supervisor->loop, &post->restart, 0) != 0) {
        free_post(post);
        return NULL;
    }
    memcpy(post->group.services, services, count * sizeof *services);
    *supervisor->last_post = post;
    supervisor->last_post = &post->next;
    return post;
}

/* ---- what a worker says ---- */

static void check(struct loop_task *task)
{
    struct supervisor *supervisor = CONTAINER_OF(task, struct supervisor, check);
    bool prepared = true, ready = true, deaf = true, alive = false;

    for (const struct post *post = supervisor->posts; post != NULL; post = post->next) {
        prepared = prepared && post->prepared;
        ready = ready && (post->ready || post->settled);
        deaf = deaf && (post->deaf || post->pid == 0);
        alive = alive || post->pid != 0;
    }
    if (supervisor->leaving) {
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

static void take_word(struct post *post, const struct channel_packet *packet)
{
    struct supervisor *supervisor = post->supervisor;

    if (packet->type == CHANNEL_PREPARED) {
        post->prepared = true;
        timer_cancel(&supervisor->loop->timers, &post->patience);
        if (supervisor->open)
            let_accept(post);
    } else if (packet->type == CHANNEL_READY) {
        post->ready = true;
        timer_cancel(&supervisor->loop->timers, &post->patience);
    } else if (packet->type == CHANNEL_DEAF) {
        post->deaf = true;
    } else if (packet->type == CHANNEL_FAILED) {
        cannot_start(post, packet->text);
    }
    loop_defer(supervisor->loop, &supervisor->check);
}

/* Takes what is in a worker's channel; its end is told by SIGCHLD. */
static void hear(struct loop_source *source, uint32_t events)
{
    struct post *post = CONTAINER_OF(source, struct post, channel);
    struct channel_packet packet;
    int got;

    (void)events;
    while ((got = channel_receive(source->fd, &packet)) > 0) {
        if (packet.fd >= 0)
            close(packet.fd);
        take_word(post, &packet);
    }
    /* An error (no memory) is no end: what was said is still there, and comes again. */
    if (got == 0)
        loop_watch(post->supervisor->loop, source, 0);
}

/* ---- the end of a worker ---- */

/* Moves the service that crashed its worker to one of its own, so that a second crash costs the others
 * nothing. Forgotten with the next generation, whose plugin may be mended. */
static void quarantine(struct post *post, size_t service)
{
    struct group *group = &post->group;
    struct post *own = add_post(post->supervisor, &service, 1, group->loops);
    size_t kept = 0;

    if (own == NULL)
        return; /* then together, as before */
    own->quarantined = true;
    own->backoff.failures = 1;
    own->restarts = 1;
    memcpy(own->last_crash, post->last_crash, sizeof own->last_crash);
    for (size_t i = 0; i < group->service_count; i++)
        if (group->services[i] != service)
            group->services[kept++] = group->services[i];
    group->service_count = kept;
    post->backoff.failures = 0;
    log_event(ENCHUFE_LOG_WARNING, "service gets a worker of its own",
              LOG_STR("service", post->supervisor->generation->config->services[service].name));
}

static bool serves(const struct post *post, size_t service)
{
    for (size_t i = 0; i < post->group.service_count; i++)
        if (post->group.services[i] == service)
            return true;
    return false;
}

static void worker_ended(struct post *post, int status)
{
    struct supervisor *supervisor = post->supervisor;
    struct obituary about = obituary(post);

    hear(&post->channel, EPOLLIN); /* its last words */
    loop_watch(supervisor->loop, &post->channel, 0);
    close(post->channel.fd);
    post->channel.fd = -1;
    log_kept_rescue(post->log, post->group.loops);
    if (!post->trace->finished && !post->told)
        post->blamed = obituary_write(&about, status, post->last_crash);
    for (size_t i = 0; i < post->group.service_count; i++)
        stats_forget_connections(supervisor->generation->counters, post->group.services[i]);
    timer_cancel(&supervisor->loop->timers, &post->patience);
    post->pid = 0;
    post->prepared = post->ready = false;
    if (post->blamed >= 0 && serves(post, (size_t)post->blamed) && post->group.service_count > 1 &&
        supervisor->open && !supervisor->leaving)
        quarantine(post, (size_t)post->blamed);
    after_failure(post, post->last_crash);
}

void supervisor_reap(struct supervisor *supervisor)
{
    for (struct post *post = supervisor->posts; post != NULL; post = post->next) {
        int status;
        if (post->pid != 0 && waitpid(post->pid, &status, WNOHANG) == post->pid)
            worker_ended(post, status);
    }
}

/* ---- orders ---- */

void supervisor_accept(struct supervisor *supervisor)
{
    supervisor->open = true;
    for (struct post *post = supervisor->posts; post != NULL; post = post->next)
        if (post->prepared)
            let_accept(post);
}

static void kill_all(struct timer *timer)
{
    struct supervisor *supervisor = CONTAINER_OF(timer, struct supervisor, kill);

    for (struct post *post = supervisor->posts; post != NULL; post = post->next) {
        if (post->pid == 0)
            continue;
        struct obituary about = obituary(post);
        obituary_killed(&about, "does not leave", post->last_crash);
        kill(post->pid, SIGKILL);
    }
}

void supervisor_leave(struct supervisor *supervisor, bool at_once)
{
    uint64_t now = clock_ms(), drain = supervisor->generation->config->server.drain_timeout;

    supervisor->leaving = true;
    for (struct post *post = supervisor->posts; post != NULL; post = post->next) {
        timer_cancel(&supervisor->loop->timers, &post->restart);
        if (post->pid != 0)
            channel_send(post->channel.fd, at_once ? CHANNEL_QUIT : CHANNEL_DRAIN, NULL, -1);
    }
    supervisor->deadline = at_once ? now : drain != 0 ? now + drain : 0;
    if (at_once || drain != 0)
        loop_timer(supervisor->loop, &supervisor->kill,
                   supervisor->deadline + (at_once ? QUIT_MS : GRACE_MS));
    loop_defer(supervisor->loop, &supervisor->check);
}

static void hurry(struct timer *timer)
{
    supervisor_leave(CONTAINER_OF(timer, struct supervisor, hurry), true);
}

void supervisor_hurry(struct supervisor *supervisor, uint64_t deadline)
{
    if (supervisor->deadline != 0 && supervisor->deadline <= deadline)
        return;
    if (loop_timer(supervisor->loop, &supervisor->hurry, deadline) == 0)
        supervisor->deadline = deadline;
}

void supervisor_send_log(struct supervisor *supervisor, int fd)
{
    for (struct post *post = supervisor->posts; post != NULL; post = post->next)
        if (post->pid != 0)
            channel_send(post->channel.fd, CHANNEL_LOG, NULL, fd);
}

uint64_t supervisor_deadline(const struct supervisor *supervisor)
{
    return supervisor->leaving ? supervisor->deadline : 0;
}

void supervisor_each(const struct supervisor *supervisor,
                     void (*see)(void *context, const struct worker_view *view), void *context)
{
    uint64_t now = clock_ms();

    for (const struct post *post = supervisor->posts; post != NULL; post = post->next) {
        bool waits = timer_running(&post->restart) && post->restart.deadline > now;
        struct worker_view view = { .name = post_name(post),
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
    *supervisor = (struct supervisor){ .generation = generation,
                                       .loop = loop,
                                       .events = *events,
                                       .kill = { .fire = kill_all },
                                       .hurry = { .fire = hurry },
                                       .check = { .run = check } };
    supervisor->last_post = &supervisor->posts;
    for (size_t i = 0; i < generation->group_count; i++) {
        const struct group *group = &generation->groups[i];
        if (add_post(supervisor, group->services, group->service_count, group->loops) == NULL) {
            supervisor_free(supervisor);
            return NULL;
        }
    }
    return supervisor;
}

void supervisor_free(struct supervisor *supervisor)
{
    struct post *next;

    if (supervisor == NULL)
        return;
    timer_cancel(&supervisor->loop->timers, &supervisor->kill);
    timer_cancel(&supervisor->loop->timers, &supervisor->hurry);
    for (struct post *post = supervisor->posts; post != NULL; post = next) {
        next = post->next;
        timer_cancel(&supervisor->loop->timers, &post->restart);
        timer_cancel(&supervisor->loop->timers, &post->patience);
        free_post(post);
    }
    free(supervisor);
}
