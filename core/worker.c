/* The worker process: starts services and loops, runs the first loop itself, and ends what it started. */
#include "worker.h"
#include "log.h"
#include "log_sink.h"
#include "sandbox.h"
#include "watchdog.h"
#include "worker_orders.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct worker {
    const struct worker_setup *setup;
    struct enchufe_service *services;
    size_t service_count; /* initialised */
    size_t started;       /* of them, start() was called */
    struct worker_orders orders;
    struct worker_loop *loops;
    size_t loop_count;
};

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
    if (sandbox_enter(&limits, setup->identity, error) != 0)
        return worker_orders_fail(&worker->orders, error);
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
        return worker_orders_fail(&worker->orders, "no memory");
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
        worker_orders_fail(&worker->orders,
                           report.count != 0 ? report.lines[0].text : strerror(-err));
    report_free(&report);
    return err;
}

static int start_services(struct worker *worker)
{
    for (size_t i = 0; i < worker->service_count; i++) {
        struct enchufe_service *service = &worker->services[i];
        int err = service_start(service);
        if (err != 0) {
            const struct place *place = &service->config->plugin_place;
            char text[512];
            snprintf(text, sizeof text, "[%s] start of plugin %s failed: %s (%s:%u)", service->name,
                     service->plugin.v.name, strerror(-err), place->file, place->line);
            return worker_orders_fail(&worker->orders, text);
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
    while (worker->started > 0) {
        worker_orders_take_log(&worker->orders);
        service_stop(&worker->services[--worker->started]);
    }
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

static int create_loop(struct worker *worker, size_t index)
{
    struct worker_loop *wl = &worker->loops[index];

    *wl = (struct worker_loop){
        .setup = worker->setup,
        .services = worker->services,
        .index = index,
        .notify = worker->orders.steps_fd,
        .log_channel = index == 0 ? worker->orders.log_ends[1] : -1,
        .spare = -1,
    };
    if (worker->setup->signals < 0)
        wl->watcher = &worker->orders.watchdog.watcher;
    int err = worker_loop_create(wl);
    if (err != 0)
        worker_loop_end(wl);
    else
        worker->loop_count++;
    return err;
}

static int create_loops(struct worker *worker)
{
    int err = 0;

    worker->loops = calloc(worker->setup->loops, sizeof *worker->loops);
    if (worker->loops == NULL)
        return worker_orders_fail(&worker->orders, "no memory for the loops");
    for (size_t i = 0; i < worker->setup->loops && err == 0; i++)
        err = create_loop(worker, i);
    worker->orders.loops = worker->loops;
    worker->orders.loop_count = worker->loop_count;
    if (err != 0)
        worker_orders_fail(&worker->orders, strerror(-err));
    return err;
}

/* The first loop runs here, so that whoever looks at the process from outside (`ss`, `lsof`, a debugger) looks at that;
 * each other one has a thread. No plugin's loop begins before the thread is there that ends one which does not return. */
static void run_loops(struct worker *worker)
{
    const struct worker_setup *setup = worker->setup;
    char text[128];
    int err = worker_orders_start(&worker->orders);

    if (err != 0) {
        snprintf(text, sizeof text, "cannot start the thread for orders: %s", strerror(-err));
        worker_orders_fail(&worker->orders, text);
        return;
    }
    for (size_t i = 1; i < worker->loop_count; i++)
        worker_loop_start(&worker->loops[i]);
    worker_loop_run(&worker->loops[0]);
    trace_thread(&setup->trace->slots[setup->loops]);
    worker_orders_join(&worker->orders);
}

static void end_loops(struct worker *worker)
{
    for (size_t i = 0; i < worker->loop_count; i++)
        worker_loop_end(&worker->loops[i]);
    free(worker->loops);
}

int worker_run(const struct worker_setup *setup)
{
    struct worker worker = { .setup = setup, .orders = { .setup = setup } };

    if (setup->signals < 0 && become_worker(&worker) != 0)
        return 1;
    trace_thread(&setup->trace->slots[setup->loops]);
    if (trace_thread_stack() != 0) {
        worker_orders_fail(&worker.orders, "no memory for the stack of the crash handler");
        return 1;
    }
    trace_install(setup->trace);
    int err = worker_orders_init(&worker.orders, setup);
    if (err != 0)
        worker_orders_fail(&worker.orders, strerror(-err));
    else if (init_services(&worker) == 0 && start_services(&worker) == 0 &&
             create_loops(&worker) == 0)
        run_loops(&worker);
    end_loops(&worker);
    end_services(&worker);
    worker_orders_free(&worker.orders);
    int status = worker.orders.status;
    setup->trace->finished = status == 0;
    trace_uninstall();
    trace_thread(NULL);
    trace_thread_end();
    return status;
}
