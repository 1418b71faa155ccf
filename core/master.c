/* The master process: signals, the log's file, and the end of the server. Its workers are in
 * supervisor.c. */
#include "master.h"
#include "channel.h"
#include "log.h"
#include "log_sink.h"
#include "supervisor.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LOG_CHECK_MS 1000
/* Over drain_timeout: then a worker that does not end is killed. */
#define GRACE_MS 2000

struct master {
    struct generation *generation;
    struct loop *loop;
    struct supervisor *supervisor;
    struct loop_source signals;
    struct timer kill; /* the end of patience */
    struct timer log;  /* asks whether lines were lost */
    bool leaving;
    int status; /* the exit status */
};

static void log_listening(void *context)
{
    const struct generation *generation = context;
    char text[ENDPOINT_TEXT];

    for (size_t i = 0; i < generation->sockets.count; i++) {
        const struct bound_endpoint *bound = &generation->sockets.items[i];
        log_event(ENCHUFE_LOG_INFO, "listening",
                  LOG_STR("service", generation->config->services[bound->service].name),
                  LOG_STR("endpoint", endpoint_format(&bound->endpoint, text)));
    }
    log_event(ENCHUFE_LOG_INFO, "ready", LOG_NUM("services", generation->config->service_count),
              LOG_NUM("endpoints", generation->sockets.count),
              LOG_NUM("workers", generation->group_count), LOG_NUM("pid", getpid()));
}

/* One line for each service at the end. */
static void log_served(const struct generation *generation)
{
    for (size_t i = 0; i < generation->config->service_count; i++) {
        struct stats sum;
        stats_sum(generation->counters, i, &sum);
        log_event(
            ENCHUFE_LOG_INFO, "served", LOG_STR("service", generation->config->services[i].name),
            LOG_NUM("opened", sum.opened), LOG_NUM("closed", sum.closed),
            LOG_NUM("refused", sum.reasons[ENCHUFE_CLOSED_LIMIT]),
            LOG_NUM("bytes_in", sum.bytes_in), LOG_NUM("bytes_out", sum.bytes_out),
            LOG_NUM("datagrams_in", sum.datagrams_in), LOG_NUM("datagrams_out", sum.datagrams_out),
            LOG_NUM("datagrams_unsent", sum.datagrams_unsent),
            LOG_NUM("datagrams_dropped", sockets_dropped(&generation->sockets, i)));
    }
}

/* ---- leaving ---- */

static void patience_ended(struct timer *timer)
{
    struct master *master = (struct master *)((char *)timer - offsetof(struct master, kill));

    supervisor_kill(master->supervisor);
}

static void leave(struct master *master, bool at_once)
{
    uint64_t drain = master->generation->config->server.drain_timeout;

    /* The second order to drain is impatience. */
    at_once = at_once || master->leaving;
    master->leaving = true;
    log_event(ENCHUFE_LOG_INFO, at_once ? "ending" : "draining", LOG_NUM("pid", getpid()));
    if (at_once || drain != 0)
        loop_timer(master->loop, &master->kill, clock_ms() + GRACE_MS + (at_once ? 0 : drain));
    supervisor_leave(master->supervisor, at_once);
}

/* ---- signals ---- */

/* Whoever rotates logs moved the file away: the descriptor's number stays, here and in the workers. */
static void reopen_log(struct master *master)
{
    const char *path = master->generation->config->server.log;

    if (path == NULL || log_sink_is_syslog())
        return;
    int fd = log_sink_open_file(path);
    if (fd < 0) {
        log_event(ENCHUFE_LOG_ERROR, "cannot reopen the log", LOG_STR("path", path),
                  LOG_STR("error", strerror(-fd)));
        return;
    }
    log_sink_take(fd);
    supervisor_send_log(master->supervisor, fd);
    close(fd);
}

static void check_log(struct timer *timer)
{
    struct master *master = (struct master *)((char *)timer - offsetof(struct master, log));

    log_report_lost();
    loop_timer(master->loop, timer, clock_ms() + LOG_CHECK_MS);
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct master *master = (struct master *)((char *)source - offsetof(struct master, signals));
    struct signalfd_siginfo info;

    (void)events;
    while (read(source->fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            supervisor_reap(master->supervisor);
            break;
        case SIGTERM:
            leave(master, false);
            break;
        case SIGINT:
        case SIGQUIT:
            leave(master, true);
            break;
        case SIGUSR1:
            reopen_log(master);
            break;
        case SIGHUP:
            log_line(ENCHUFE_LOG_WARNING,
                     "reload is not there yet: the configuration stays as it is");
            break;
        default:
            break;
        }
    }
}

static int open_signals(void)
{
    static const int handled[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGHUP };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* ---- what the workers tell ---- */

static void workers_ready(void *context)
{
    struct master *master = context;

    log_listening(master->generation);
}

static void workers_failed(void *context)
{
    struct master *master = context;

    master->status = 1;
    leave(master, true);
}

static void workers_gone(void *context)
{
    struct master *master = context;

    loop_stop(master->loop);
}

static int run_workers(struct master *master)
{
    const struct supervisor_events events = {
        .ready = workers_ready, .failed = workers_failed, .gone = workers_gone, .context = master
    };
    int err = loop_watch(master->loop, &master->signals, EPOLLIN);

    if (err != 0)
        return err;
    master->supervisor = supervisor_start(master->generation, master->loop, &events);
    if (master->supervisor == NULL)
        return -ENOMEM;
    check_log(&master->log);
    err = loop_run(master->loop);
    timer_cancel(&master->loop->timers, &master->log);
    supervisor_free(master->supervisor);
    return err;
}

/* Says why the worker in this process could not start. */
static void log_start_failure(const int ends[2])
{
    struct channel_packet packet;

    if (channel_receive(ends[1], &packet) == 1 && packet.type == CHANNEL_FAILED)
        log_event(ENCHUFE_LOG_ERROR, "worker cannot start", LOG_STR("error", packet.text));
}

/* The worker in this process, with every service: for debuggers, which then need not follow a fork. */
static int run_debug(struct master *master)
{
    struct generation *generation = master->generation;
    size_t count = generation->config->service_count;
    struct group all = { .services = calloc(count, sizeof(size_t)), .service_count = count };
    int ends[2], status = 1;

    for (size_t i = 0; i < generation->group_count; i++)
        if (generation->groups[i].loops > all.loops)
            all.loops = generation->groups[i].loops;
    struct trace *trace = trace_create(all.loops);
    if (all.services == NULL || trace == NULL || channel_create(ends) != 0)
        goto out;
    for (size_t i = 0; i < count; i++)
        all.services[i] = i;
    struct worker_setup setup = supervisor_setup(generation, &all, trace);
    setup.channel = ends[0];
    setup.signals = master->signals.fd;
    setup.ready = log_listening;
    setup.context = generation;
    status = worker_run(&setup);
    if (status != 0)
        log_start_failure(ends);
    close(ends[0]);
    close(ends[1]);
out:
    trace_destroy(trace);
    free(all.services);
    return status;
}

int master_run(struct generation *generation, bool debug)
{
    struct master master = { .generation = generation,
                             .signals = { .fd = open_signals(), .ready = signal_ready },
                             .kill = { .fire = patience_ended },
                             .log = { .fire = check_log },
                             .loop = loop_create() };
    int err = 0;

    if (master.loop == NULL || master.signals.fd < 0) {
        log_line(ENCHUFE_LOG_ERROR, "cannot start: %s", strerror(errno));
        return 1;
    }
    if (debug)
        master.status = run_debug(&master);
    else
        err = run_workers(&master);
    if (err != 0)
        log_line(ENCHUFE_LOG_ERROR, "cannot go on: %s", strerror(-err));
    log_served(generation);
    log_event(ENCHUFE_LOG_INFO, "ended", LOG_NUM("pid", getpid()));
    loop_drop(master.loop);
    close(master.signals.fd);
    return err != 0 ? 1 : master.status;
}
