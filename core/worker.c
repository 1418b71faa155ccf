/* The worker process: starts services and loops, and then waits for orders. */
#include "worker.h"
#include "channel.h"
#include "log.h"
#include "log_sink.h"
#include "sandbox.h"
#include "slice.h"
#include "watchdog.h"
#include "worker_loop.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* How long the loops may take to end at once; then a plugin is stuck in one. */
#define QUIT_MS 1000

enum phase { STARTING, PREPARED, OPENING, SERVING, DRAINING, QUITTING };

struct worker {
    const struct worker_setup *setup;
    struct enchufe_service *services;
    size_t service_count; /* initialised */
    size_t started;       /* of them, start() was called */
    struct worker_loop *loops;
    size_t loop_count;
    struct watchdog watchdog;
    int steps_fd;
    int spare; /* a descriptor to give up when one comes along from the master and none is left */
    uint64_t steps; /* of the current phase that loops have done */
    enum phase phase;
    bool deaf;         /* the master was told that nothing new is accepted */
    uint64_t deadline; /* of DRAINING and QUITTING; 0: none */
    int status;        /* the exit status */
};

/* Tells the master why this worker fails; only the first reason counts. Returns -EINVAL. */
static int failed(struct worker *worker, const char *text)
{
    if (worker->status == 0)
        channel_send(worker->setup->channel, CHANNEL_FAILED, text, -1);
    worker->status = 1;
    return -EINVAL;
}

/* Nothing but the master's channel tells a worker what to do: signals that a service manager sends to all
 * are the master's to handle. In a group of its own a worker is in the terminal's background, where SIGTTOU
 * would stop it at the first line of its log. */
static void detach_signals(void)
{
    static const int ignored[] = { SIGINT,  SIGQUIT, SIGTERM, SIGHUP,
                                   SIGUSR1, SIGUSR2, SIGPIPE, SIGTTOU };
    sigset_t none;

    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Others' floods are to be the scheduler's affair, which is quick only with short slices. */
static bool is_isolated(const struct worker_setup *setup)
{
    return setup->service_count == 1 && setup->config->services[setup->services[0]].limits.isolate;
}

/* In a process of its own only, and before any plugin code and any thread. The death signal comes after
 * the change of user, which clears it; the channel's end would tell the same, but not to a worker whose
 * main thread is stuck in a plugin. */
static int become_worker(struct worker *worker)
{
    const struct worker_setup *setup = worker->setup;
    const struct rlimits_setup limits = { .config = setup->config,
                                          .services = setup->services,
                                          .service_count = setup->service_count,
                                          .loops = setup->loops,
                                          .tasks = setup->tasks };
    char error[SANDBOX_TEXT];

    setpgid(0, 0); /* what a plugin forks goes with it */
    detach_signals();
    if (is_isolated(setup))
        slice_shorten();
    if (sandbox_enter(&limits, setup->identity, error) != 0)
        return failed(worker, error);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "enchufe-worker");
    if (getppid() != setup->master)
        _exit(1);
    return 0;
}

/* ---- services ---- */

static int init_services(struct worker *worker)
{
    const struct worker_setup *setup = worker->setup;
    struct report report = { .lines = NULL };
    int err = 0;

    worker->services = calloc(setup->service_count + 1, sizeof *worker->services);
    if (worker->services == NULL)
        return failed(worker, "no memory");
    for (size_t i = 0; i < setup->service_count && err == 0; i++) {
        size_t index = setup->services[i];
        struct enchufe_service *service = &worker->services[i];
        /* --debug opens the file itself, which debuggers can find the symbols of. */
        err = service_init(service, &setup->config->services[index], (uint32_t)index,
                           setup->files[index], setup->signals >= 0, &report);
        service->counters = setup->counters;
        service->server_max_connections = setup->config->server.max_connections;
        worker->service_count++;
        if (err == 0)
            err = service_guard(service);
    }
    if (err != 0)
        failed(worker, report.count != 0 ? report.lines[0].text : strerror(-err));
    report_free(&report);
    return err;
}

static int start_services(struct worker *worker)
{
    for (size_t i = 0; i < worker->service_count; i++) {
        struct enchufe_service *service = &worker->services[i];
        int err = service_start(service);
        if (err != 0) {
            char text[256];
            snprintf(text, sizeof text, "[%s] start of plugin %s failed: %s", service->name,
                     service->plugin.v.name, strerror(-err));
            return failed(worker, text);
        }
        worker->started++;
    }
    return 0;
}

static void stop_services(struct worker *worker)
{
    const struct worker_setup *setup = worker->setup;
    struct watchdog_thread watchdog;

    if (setup->signals < 0)
        watchdog_thread_start(&watchdog, setup->config, setup->trace, setup->loops);
    while (worker->started > 0)
        service_stop(&worker->services[--worker->started]);
    if (setup->signals < 0)
        watchdog_thread_end(&watchdog);
}

static void end_services(struct worker *worker)
{
    if (worker->started > 0)
        stop_services(worker);
    while (worker->service_count > 0)
        service_free(&worker->services[--worker->service_count]);
    free(worker->services);
}

/* ---- loops ---- */

static int start_loops(struct worker *worker)
{
    const struct worker_setup *setup = worker->setup;

    worker->loops = calloc(setup->loops, sizeof *worker->loops);
    worker->steps_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->loops == NULL || worker->steps_fd < 0)
        return failed(worker, "no memory for the loops");
    /* Not under a debugger's eyes: who stops there is not stuck. */
    if (setup->signals < 0 &&
        watchdog_init(&worker->watchdog, setup->config, setup->trace, 0, setup->loops) != 0)
        return failed(worker, "no memory for the watchdog");
    for (size_t i = 0; i < setup->loops; i++) {
        worker->loops[i] = (struct worker_loop){
            .setup = setup, .services = worker->services, .index = i, .notify = worker->steps_fd
        };
        if (setup->signals < 0)
            worker->loops[i].watcher = &worker->watchdog.watcher;
        int err = worker_loop_start(&worker->loops[i]);
        if (err != 0) {
            worker_loop_end(&worker->loops[i]);
            return failed(worker, strerror(-err));
        }
        worker->loop_count++;
    }
    return 0;
}

static void order_all(struct worker *worker, void (*order)(struct worker_loop *wl))
{
    for (size_t i = 0; i < worker->loop_count; i++)
        order(&worker->loops[i]);
}

static void enter_quit(struct worker *worker)
{
    if (worker->phase == QUITTING)
        return;
    worker->phase = QUITTING;
    worker->deadline = clock_ms() + QUIT_MS;
    order_all(worker, worker_loop_quit);
}

static void enter_drain(struct worker *worker)
{
    uint64_t timeout = worker->setup->config->server.drain_timeout;

    if (worker->phase < SERVING)
        enter_quit(worker); /* nobody was served yet */
    if (worker->phase != SERVING)
        return;
    worker->phase = DRAINING;
    worker->deadline = timeout != 0 ? clock_ms() + timeout : 0;
    order_all(worker, worker_loop_drain);
}

static void enter_opening(struct worker *worker)
{
    if (worker->phase != PREPARED)
        return;
    worker->phase = OPENING;
    order_all(worker, worker_loop_listen);
}

/* Every loop has done the step of this phase. */
static void next_phase(struct worker *worker)
{
    worker->steps = 0;
    if (worker->phase == STARTING) {
        worker->phase = PREPARED;
        if (worker->setup->signals >= 0)
            enter_opening(worker);
        else
            channel_send(worker->setup->channel, CHANNEL_PREPARED, NULL, -1);
    } else if (worker->phase == OPENING) {
        worker->phase = SERVING;
        if (worker->setup->ready != NULL)
            worker->setup->ready(worker->setup->context);
        else
            channel_send(worker->setup->channel, CHANNEL_READY, NULL, -1);
    }
}

static void count_steps(struct worker *worker)
{
    uint64_t done = 0;

    if (read(worker->steps_fd, &done, sizeof done) == sizeof done)
        worker->steps += done;
    for (size_t i = 0; i < worker->loop_count && worker->status == 0; i++) {
        const struct worker_loop *wl = &worker->loops[i];
        if (wl->failure != 0)
            failed(worker, *wl->error != '\0' ? wl->error : strerror(-wl->failure));
    }
    if (worker->status != 0)
        enter_quit(worker);
}

/* A loop without connections may be at its end already. */
static bool all_deaf(const struct worker *worker)
{
    for (size_t i = 0; i < worker->loop_count; i++)
        if (!worker->loops[i].deaf && !worker->loops[i].ended)
            return false;
    return true;
}

static bool all_ended(const struct worker *worker)
{
    for (size_t i = 0; i < worker->loop_count; i++)
        if (!worker->loops[i].ended)
            return false;
    return true;
}

/* ---- orders ---- */

static void take_order(struct worker *worker, const struct channel_packet *packet)
{
    if (packet->type == CHANNEL_ACCEPT)
        enter_opening(worker);
    else if (packet->type == CHANNEL_DRAIN)
        enter_drain(worker);
    else if (packet->type == CHANNEL_QUIT)
        enter_quit(worker);
    else if (packet->type == CHANNEL_LOG && packet->fd >= 0)
        log_sink_take(packet->fd);
    if (packet->fd >= 0)
        close(packet->fd);
}

static void take_signal(struct worker *worker)
{
    struct signalfd_siginfo info;

    if (read(worker->setup->signals, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGTERM && worker->phase != DRAINING)
        enter_drain(worker);
    else if (info.ssi_signo == SIGTERM)
        enter_quit(worker); /* the second time is impatience */
    else if (info.ssi_signo == SIGINT || info.ssi_signo == SIGQUIT)
        enter_quit(worker);
}

static int wait_ms(const struct worker *worker)
{
    uint64_t now = clock_ms(), next = worker->watchdog.next;

    if (worker->deadline != 0 && worker->deadline < next)
        next = worker->deadline;
    if (next == TIMER_NEVER)
        return -1;
    return next <= now ? 0 : next - now < INT_MAX ? (int)(next - now) : INT_MAX;
}

static void watch(struct worker *worker, bool rung)
{
    uint64_t now = clock_ms();

    if (!rung && now < worker->watchdog.next)
        return;
    int stuck = watchdog_look(&worker->watchdog, now);
    if (stuck >= 0)
        trace_end_stuck(worker->loops[stuck].thread, worker->watchdog.watches[stuck].slot,
                        worker->watchdog.watches[stuck].ms);
}

/* Returns 0 when every loop has ended, or a negative errno. */
static int serve(struct worker *worker)
{
    const struct worker_setup *setup = worker->setup;
    struct pollfd fds[] = { { .fd = setup->channel, .events = POLLIN },
                            { .fd = worker->steps_fd, .events = POLLIN },
                            { .fd = setup->signals, .events = POLLIN },
                            { .fd = worker->watchdog.watcher.bell, .events = POLLIN } };
    struct channel_packet packet;

    for (;;) {
        bool over = all_ended(worker); /* asked first: the last step may be why it failed */
        count_steps(worker);
        if (over)
            return 0;
        if (worker->steps >= setup->loops)
            next_phase(worker);
        if (worker->phase == DRAINING && !worker->deaf && all_deaf(worker)) {
            worker->deaf = true;
            channel_send(setup->channel, CHANNEL_DEAF, NULL, -1);
        }
        int n = poll(fds, 4, wait_ms(worker));
        if (n < 0 && errno != EINTR)
            return -errno;
        watch(worker, n > 0 && fds[3].revents != 0);
        bool late = worker->deadline != 0 && clock_ms() >= worker->deadline;
        if (late && worker->phase == QUITTING)
            return -ETIMEDOUT; /* a plugin does not return */
        if (late && worker->phase == DRAINING)
            enter_quit(worker);
        if (n <= 0)
            continue;
        if (fds[0].revents != 0) {
            close(worker->spare);
            int got = channel_receive(setup->channel, &packet);
            if (got == 0)
                return -ECONNRESET; /* the master is gone */
            if (got > 0)
                take_order(worker, &packet);
            worker->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
        if (fds[2].revents != 0)
            take_signal(worker);
    }
}

int worker_run(const struct worker_setup *setup)
{
    struct worker worker = { .setup = setup,
                             .steps_fd = -1,
                             .watchdog = WATCHDOG_NONE,
                             .spare = open("/dev/null", O_RDONLY | O_CLOEXEC) };

    if (setup->signals < 0 && become_worker(&worker) != 0)
        return 1;
    trace_thread(&setup->trace->slots[setup->loops]);
    if (trace_thread_stack() != 0)
        return 1;
    trace_install(setup->trace);
    if (init_services(&worker) == 0 && start_services(&worker) == 0 && start_loops(&worker) != 0)
        enter_quit(&worker);
    if (worker.loop_count != 0 && serve(&worker) != 0)
        _exit(1); /* a loop is stuck in a plugin: nothing can be freed */
    for (size_t i = 0; i < worker.loop_count; i++)
        worker_loop_end(&worker.loops[i]);
    free(worker.loops);
    watchdog_free(&worker.watchdog);
    end_services(&worker);
    if (worker.steps_fd >= 0)
        close(worker.steps_fd);
    close(worker.spare);
    setup->trace->finished = worker.status == 0;
    trace_uninstall();
    trace_thread(NULL);
    trace_thread_end();
    return worker.status;
}
