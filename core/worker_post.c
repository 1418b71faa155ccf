/* Starting a worker, hearing what it says, and starting it again when it died. */
#include "worker_post.h"
#include "channel.h"
#include "container.h"
#include "descriptors.h"
#include "log.h"
#include "namespaces.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

const char *worker_post_name(const struct worker_post *post)
{
    const struct service_config *first =
        &post->posts->generation->config->services[post->group.services[0]];

    return first->limits.isolate || post->quarantined ? first->name : "main";
}

/* ---- starting ---- */

struct worker_setup worker_post_setup(struct generation *generation, const struct group *group,
                                      struct trace *trace)
{
    return (struct worker_setup){
        .config = generation->config,
        .services = group->services,
        .service_count = group->service_count,
        .loops = group->loops,
        .tasks = generation->tasks,
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

static void after_failure(struct worker_post *post, const char *text);
static void hear(struct loop_source *source, uint32_t events);

/* What the services of a post have sent: whoever answers is alive. */
static uint64_t sent(const struct worker_post *post)
{
    uint64_t total = 0;

    for (size_t i = 0; i < post->group.service_count; i++) {
        struct stats sum;
        stats_sum(post->posts->generation->counters, post->group.services[i], &sum);
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
    namespaces_keep(&kept);
    for (size_t i = 0; i < setup->service_count; i++) {
        size_t service = setup->services[i];
        descriptors_keep(&kept, setup->files[service]->fd);
        sockets_keep(setup->sockets, service, &kept);
    }
    descriptors_close_others(&kept);
}

/* For the steps that are the worker's own: while it waits for the others it is not to blame. */
static void have_patience(struct worker_post *post)
{
    uint64_t limit = post->posts->generation->config->server.start_timeout;

    if (limit != 0)
        loop_timer(post->posts->loop, &post->patience, clock_ms() + limit);
}

void worker_post_accept(struct worker_post *post)
{
    channel_send(post->channel.fd, CHANNEL_ACCEPT, NULL, -1);
    have_patience(post);
}

static void cannot_start(struct worker_post *post, const char *text)
{
    post->told = true;
    snprintf(post->last_crash, sizeof post->last_crash, "%.150s", text);
    log_event(ENCHUFE_LOG_ERROR, "worker cannot start", LOG_STR("worker", worker_post_name(post)),
              LOG_STR("error", text));
}

static void start_worker(struct worker_post *post)
{
    struct worker_posts *posts = post->posts;
    struct worker_setup setup = worker_post_setup(posts->generation, &post->group, post->trace);
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
    channel_refuse_descriptors(ends[0]);
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
    if ((err = loop_watch(posts->loop, &post->channel, EPOLLIN)) != 0) {
        /* Nobody would hear what it says: it is started again, like one that failed by itself. */
        cannot_start(post, strerror(-err));
        kill(pid, SIGKILL);
    }
    log_event(ENCHUFE_LOG_INFO, "worker started", LOG_STR("worker", worker_post_name(post)),
              LOG_INT("pid", pid), LOG_NUM("generation", posts->generation->number),
              LOG_NUM("loops", post->group.loops));
}

static struct obituary obituary(const struct worker_post *post)
{
    return (struct obituary){ .config = post->posts->generation->config,
                              .trace = post->trace,
                              .worker = worker_post_name(post),
                              .pid = post->pid };
}

/* A plugin that does not return from start or loop_start is in no loop's watch yet. */
static void too_late(struct timer *timer)
{
    struct worker_post *post = CONTAINER_OF(timer, struct worker_post, patience);
    struct obituary about = obituary(post);

    post->blamed = obituary_killed(&about, "does not start", post->last_crash);
    post->told = true;
    kill(post->pid, SIGKILL);
}

/* Its watchdog stands still with it. */
static void stopped_too_long(struct timer *timer)
{
    struct worker_post *post = CONTAINER_OF(timer, struct worker_post, stall);

    post->trace->stuck_ms = clock_ms() - post->stopped_at;
    kill(post->pid, SIGKILL);
}

static void restart(struct timer *timer)
{
    struct worker_post *post = CONTAINER_OF(timer, struct worker_post, restart);

    post->restarts++;
    start_worker(post);
}

static void first_start(struct timer *timer)
{
    struct worker_post *post = CONTAINER_OF(timer, struct worker_post, restart);

    timer->fire = restart;
    start_worker(post);
}

/* Until the sockets are open, the first failure is the generation's end. From then on they are served
 * by nobody else, and the worker is started again. */
static void after_failure(struct worker_post *post, const char *text)
{
    struct worker_posts *posts = post->posts;
    uint64_t now = clock_ms();

    posts->changed(posts);
    if (posts->leaving)
        return;
    if (!posts->open) {
        posts->failed(posts, text);
        return;
    }
    uint64_t delay =
        backoff_next(&post->backoff, now - post->started_at, sent(post) != post->sent_before);
    post->settled = post->settled || post->backoff.failures > 1;
    if (delay != 0)
        log_event(ENCHUFE_LOG_INFO, "worker starts again",
                  LOG_STR("worker", worker_post_name(post)), LOG_DURATION("in", delay));
    loop_timer(posts->loop, &post->restart, now + delay);
}

void worker_post_free(struct worker_post *post)
{
    timer_cancel(&post->posts->loop->timers, &post->restart);
    timer_cancel(&post->posts->loop->timers, &post->patience);
    timer_cancel(&post->posts->loop->timers, &post->stall);
    free(post->group.services);
    trace_destroy(post->trace);
    log_kept_destroy(post->log, post->group.loops);
    free(post);
}

struct worker_post *worker_post_add(struct worker_posts *posts, const size_t *services,
                                    size_t count, size_t loops)
{
    struct worker_post *post = calloc(1, sizeof *post);

    if (post == NULL)
        return NULL;
    *post = (struct worker_post){ .posts = posts,
                                  .group = { .services = calloc(count, sizeof *services),
                                             .service_count = count,
                                             .loops = loops },
                                  .trace = trace_create(loops),
                                  .log = log_kept_create(loops),
                                  .channel = { .fd = -1, .ready = hear },
                                  .patience = { .fire = too_late },
                                  .stall = { .fire = stopped_too_long },
                                  .restart = { .fire = first_start } };
    if (post->group.services == NULL || post->trace == NULL || post->log == NULL ||
        loop_timer(posts->loop, &post->restart, 0) != 0) {
        worker_post_free(post);
        return NULL;
    }
    memcpy(post->group.services, services, count * sizeof *services);
    *posts->last = post;
    posts->last = &post->next;
    return post;
}

/* ---- what it says ---- */

static void take_word(struct worker_post *post, const struct channel_packet *packet)
{
    struct worker_posts *posts = post->posts;

    if (packet->type == CHANNEL_PREPARED) {
        post->prepared = true;
        timer_cancel(&posts->loop->timers, &post->patience);
        if (posts->open)
            worker_post_accept(post);
    } else if (packet->type == CHANNEL_READY) {
        post->ready = true;
        timer_cancel(&posts->loop->timers, &post->patience);
    } else if (packet->type == CHANNEL_DEAF) {
        post->deaf = true;
    } else if (packet->type == CHANNEL_FAILED) {
        cannot_start(post, packet->text);
    }
    posts->changed(posts);
}

/* Takes what is in a worker's channel; its end is told by SIGCHLD. */
static void hear(struct loop_source *source, uint32_t events)
{
    struct worker_post *post = CONTAINER_OF(source, struct worker_post, channel);
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
        loop_watch(post->posts->loop, source, 0);
}

/* ---- its end ---- */

/* Moves the service that crashed its worker to one of its own, so that a second crash costs the others
 * nothing. Forgotten with the next generation, whose plugin may be mended. */
static void quarantine(struct worker_post *post, size_t service)
{
    struct group *group = &post->group;
    struct worker_post *own = worker_post_add(post->posts, &service, 1, group->loops);
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
              LOG_STR("service", post->posts->generation->config->services[service].name));
}

static bool serves(const struct worker_post *post, size_t service)
{
    for (size_t i = 0; i < post->group.service_count; i++)
        if (post->group.services[i] == service)
            return true;
    return false;
}

static void worker_ended(struct worker_post *post, int status)
{
    struct worker_posts *posts = post->posts;
    struct obituary about = obituary(post);

    hear(&post->channel, EPOLLIN); /* its last words */
    loop_watch(posts->loop, &post->channel, 0);
    close(post->channel.fd);
    post->channel.fd = -1;
    log_kept_rescue(post->log, post->group.loops);
    if (!post->trace->finished && !post->told)
        post->blamed = obituary_write(&about, status, post->last_crash);
    for (size_t i = 0; i < post->group.service_count; i++)
        stats_forget_connections(posts->generation->counters, post->group.services[i]);
    timer_cancel(&posts->loop->timers, &post->patience);
    timer_cancel(&posts->loop->timers, &post->stall);
    post->pid = 0;
    post->prepared = post->ready = false;
    if (post->blamed >= 0 && serves(post, (size_t)post->blamed) && post->group.service_count > 1 &&
        posts->open && !posts->leaving)
        quarantine(post, (size_t)post->blamed);
    after_failure(post, post->last_crash);
}

/* What a plugin forked goes with its worker: before the worker is reaped, since until then nobody else can
 * have its number. */
static bool reap(const struct worker_post *post, int *status)
{
    siginfo_t info = { .si_pid = 0 };

    if (waitid(P_PID, (id_t)post->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return false;
    kill(-post->pid, SIGKILL);
    pid_t reaped;
    while ((reaped = waitpid(post->pid, status, 0)) < 0 && errno == EINTR)
        continue;
    return reaped == post->pid;
}

/* A plugin may send SIGSTOP, or read from the terminal. Of what a debugger stops the system tells only the
 * debugger. */
static void see_stop(struct worker_post *post)
{
    struct worker_posts *posts = post->posts;
    uint64_t limit = posts->generation->config->server.stall_limit;
    siginfo_t info = { .si_pid = 0 };

    if (waitid(P_PID, (id_t)post->pid, &info, WSTOPPED | WCONTINUED | WNOHANG) != 0 ||
        info.si_pid == 0)
        return;
    bool stopped = info.si_code == CLD_STOPPED;
    log_event(stopped ? ENCHUFE_LOG_WARNING : ENCHUFE_LOG_INFO,
              stopped ? "worker is stopped" : "stopped worker goes on",
              LOG_STR("worker", worker_post_name(post)), LOG_INT("pid", post->pid),
              LOG_STR("signal", stopped ? trace_signal_name(info.si_status) : NULL));
    timer_cancel(&posts->loop->timers, &post->stall);
    post->stopped_at = clock_ms();
    if (stopped && limit != 0)
        loop_timer(posts->loop, &post->stall, post->stopped_at + limit);
}

void worker_post_reap(struct worker_post *post)
{
    int status;

    if (post->pid != 0 && reap(post, &status))
        worker_ended(post, status);
    else if (post->pid != 0)
        see_stop(post);
}

void worker_post_kill(struct worker_post *post)
{
    struct obituary about = obituary(post);

    obituary_killed(&about, "does not leave", post->last_crash);
    kill(post->pid, SIGKILL);
}
