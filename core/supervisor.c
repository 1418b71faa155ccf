/* Starting, watching and restarting workers. */
#include "supervisor.h"
#include "channel.h"
#include "log.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between the death of a worker and its next start: nothing, then 0.1 s, doubled each time up to 30 s.
 * (Without this, one that crashes as it starts is started 6,000 times a second.) Health makes it
 * forgotten. */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define HEALTHY_MS 60000

/* One worker's place: processes come and go in it. */
struct post {
    struct supervisor *supervisor;
    const struct group *group;
    struct trace *trace;
    pid_t pid; /* 0: none runs */
    struct loop_source channel;
    struct timer restart;
    uint64_t started_at;
    unsigned failures; /* in a row */
    bool ready;
    bool told; /* it said itself why it fails */
};

struct supervisor {
    struct generation *generation;
    struct loop *loop;
    struct supervisor_events events;
    bool was_ready; /* all at once, for the first time */
    bool leaving;
    struct loop_task check; /* whether all are ready, or gone */
    size_t post_count;
    struct post posts[];
};

static const char *worker_name(const struct post *post)
{
    const struct service_config *first =
        &post->supervisor->generation->config->services[post->group->services[0]];

    return first->limits.isolate ? first->name : "main";
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

/* In a new worker: the ends of the others' channels, which would keep those open after the master. */
static void close_channels(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->post_count; i++)
        if (supervisor->posts[i].channel.fd >= 0)
            close(supervisor->posts[i].channel.fd);
}

static void after_failure(struct post *post);

static void start_worker(struct post *post)
{
    struct supervisor *supervisor = post->supervisor;
    struct worker_setup setup = supervisor_setup(supervisor->generation, post->group, post->trace);
    int ends[2];

    post->ready = post->told = false;
    post->started_at = clock_ms();
    trace_reset(post->trace);
    int err = channel_create(ends);
    if (err != 0) {
        log_event(ENCHUFE_LOG_ERROR, "cannot start a worker", LOG_STR("error", strerror(-err)));
        after_failure(post);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        setup.channel = ends[1];
        close(ends[0]);
        close_channels(supervisor);
        end_process(worker_run(&setup));
    }
    err = errno;
    close(ends[1]);
    if (pid < 0) {
        log_event(ENCHUFE_LOG_ERROR, "cannot start a worker", LOG_STR("error", strerror(err)));
        close(ends[0]);
        after_failure(post);
        return;
    }
    post->pid = pid;
    post->channel.fd = ends[0];
    loop_watch(supervisor->loop, &post->channel, EPOLLIN);
    log_event(ENCHUFE_LOG_INFO, "worker started", LOG_STR("worker", worker_name(post)),
              LOG_INT("pid", pid), LOG_NUM("loops", post->group->loops));
}

static void restart(struct timer *timer)
{
    start_worker((struct post *)((char *)timer - offsetof(struct post, restart)));
}

static void after_failure(struct post *post)
{
    struct supervisor *supervisor = post->supervisor;
    uint64_t now = clock_ms(), delay = 0;

    loop_defer(supervisor->loop, &supervisor->check);
    if (supervisor->leaving)
        return;
    if (!supervisor->was_ready) {
        supervisor->events.failed(supervisor->events.context);
        return;
    }
    if (now - post->started_at >= HEALTHY_MS)
        post->failures = 0;
    if (post->failures > 0) {
        delay = BACKOFF_FIRST_MS;
        for (unsigned i = 1; i < post->failures && delay < BACKOFF_MAX_MS; i++)
            delay *= 2;
        if (delay > BACKOFF_MAX_MS)
            delay = BACKOFF_MAX_MS;
    }
    post->failures++;
    loop_timer(supervisor->loop, &post->restart, now + delay);
}

/* ---- what a worker says ---- */

static void check(struct loop_task *task)
{
    struct supervisor *supervisor =
        (struct supervisor *)((char *)task - offsetof(struct supervisor, check));
    size_t ready = 0, alive = 0;

    for (size_t i = 0; i < supervisor->post_count; i++) {
        ready += supervisor->posts[i].ready;
        alive += supervisor->posts[i].pid != 0;
    }
    if (supervisor->leaving && alive == 0) {
        supervisor->events.gone(supervisor->events.context);
    } else if (!supervisor->leaving && !supervisor->was_ready && ready == supervisor->post_count) {
        supervisor->was_ready = true;
        supervisor->events.ready(supervisor->events.context);
    }
}

/* Returns false when nothing more is there. */
static bool take_word(struct post *post)
{
    struct supervisor *supervisor = post->supervisor;
    struct channel_packet packet;

    int got = channel_receive(post->channel.fd, &packet);
    if (got == 0)
        loop_watch(supervisor->loop, &post->channel, 0); /* its end; SIGCHLD tells the rest */
    if (got <= 0)
        return false;
    if (packet.fd >= 0)
        close(packet.fd);
    if (packet.type == CHANNEL_READY) {
        post->ready = true;
        loop_defer(supervisor->loop, &supervisor->check);
    } else if (packet.type == CHANNEL_FAILED) {
        post->told = true;
        log_event(ENCHUFE_LOG_ERROR, "worker cannot start", LOG_STR("worker", worker_name(post)),
                  LOG_STR("error", packet.text));
    }
    return true;
}

static void hear(struct loop_source *source, uint32_t events)
{
    (void)events;
    take_word((struct post *)((char *)source - offsetof(struct post, channel)));
}

/* ---- the end of a worker ---- */

static void log_death(const struct post *post, int status)
{
    const struct config *config = post->supervisor->generation->config;
    const struct trace *trace = post->trace;
    enum callback callback;
    int service = trace_blame(trace, &callback);
    const struct service_config *blamed = service >= 0 ? &config->services[service] : NULL;
    int signal = trace->signal != 0 ? trace->signal : WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    char name[32], address[32], code[16];

    snprintf(name, sizeof name, "SIG%s", signal != 0 ? sigabbrev_np(signal) : "");
    snprintf(address, sizeof address, "0x%llx", (unsigned long long)trace->address);
    snprintf(code, sizeof code, "%d", WEXITSTATUS(status));
    log_event(ENCHUFE_LOG_ERROR, signal != 0 ? "worker crashed" : "worker ended",
              LOG_STR("worker", worker_name(post)), LOG_INT("pid", post->pid),
              LOG_STR("service", blamed != NULL ? blamed->name : NULL),
              LOG_STR("plugin", blamed != NULL ? blamed->plugin : NULL),
              LOG_STR("callback", callback_name(callback)),
              LOG_STR("signal", signal != 0 ? name : NULL),
              LOG_STR("address", trace->signal != 0 ? address : NULL),
              LOG_STR("status", signal == 0 ? code : NULL));
}

static void worker_ended(struct post *post, int status)
{
    struct supervisor *supervisor = post->supervisor;

    while (take_word(post)) /* its last words */
        continue;
    loop_watch(supervisor->loop, &post->channel, 0);
    close(post->channel.fd);
    post->channel.fd = -1;
    if (!post->trace->finished && !post->told && !supervisor->leaving)
        log_death(post, status);
    for (size_t i = 0; i < post->group->service_count; i++)
        stats_forget_connections(supervisor->generation->counters, post->group->services[i]);
    post->pid = 0;
    post->ready = false;
    after_failure(post);
}

void supervisor_reap(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->post_count; i++) {
        struct post *post = &supervisor->posts[i];
        int status;
        if (post->pid != 0 && waitpid(post->pid, &status, WNOHANG) == post->pid)
            worker_ended(post, status);
    }
}

/* ---- orders ---- */

void supervisor_leave(struct supervisor *supervisor, bool at_once)
{
    supervisor->leaving = true;
    for (size_t i = 0; i < supervisor->post_count; i++) {
        struct post *post = &supervisor->posts[i];
        timer_cancel(&supervisor->loop->timers, &post->restart);
        if (post->pid != 0)
            channel_send(post->channel.fd, at_once ? CHANNEL_QUIT : CHANNEL_DRAIN, NULL, -1);
    }
    loop_defer(supervisor->loop, &supervisor->check);
}

void supervisor_kill(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->post_count; i++)
        if (supervisor->posts[i].pid != 0)
            kill(supervisor->posts[i].pid, SIGKILL);
}

void supervisor_send_log(struct supervisor *supervisor, int fd)
{
    for (size_t i = 0; i < supervisor->post_count; i++)
        if (supervisor->posts[i].pid != 0)
            channel_send(supervisor->posts[i].channel.fd, CHANNEL_LOG, NULL, fd);
}

/* ---- life ---- */

struct supervisor *supervisor_start(struct generation *generation, struct loop *loop,
                                    const struct supervisor_events *events)
{
    size_t count = generation->group_count;
    struct supervisor *supervisor =
        calloc(1, sizeof *supervisor + count * sizeof *supervisor->posts);

    if (supervisor == NULL)
        return NULL;
    *supervisor = (struct supervisor){
        .generation = generation, .loop = loop, .events = *events, .check = { .run = check }
    };
    for (size_t i = 0; i < count; i++) {
        struct post *post = &supervisor->posts[i];
        *post = (struct post){ .supervisor = supervisor,
                               .group = &generation->groups[i],
                               .trace = trace_create(generation->groups[i].loops),
                               .channel = { .fd = -1, .ready = hear },
                               .restart = { .fire = restart } };
        supervisor->post_count++;
        if (post->trace == NULL || loop_timer(loop, &post->restart, 0) != 0) {
            supervisor_free(supervisor);
            return NULL;
        }
    }
    return supervisor;
}

void supervisor_free(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->post_count; i++) {
        timer_cancel(&supervisor->loop->timers, &supervisor->posts[i].restart);
        trace_destroy(supervisor->posts[i].trace);
    }
    free(supervisor);
}
