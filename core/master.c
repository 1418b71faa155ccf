/* The master process: signals, the control socket, the log's file, and the end of the server. Its
 * generations are in rollover.c. */
#include "master.h"
#include "container.h"
#include "control.h"
#include "debug.h"
#include "init.h"
#include "log.h"
#include "master_log.h"
#include "notify.h"
#include "predecessor.h"
#include "rollover.h"
#include "upgrade.h"
#include "watch.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct master {
    const struct master_setup *setup;
    struct loop *loop;
    struct rollover *rollover;
    struct control *control; /* NULL: there is none */
    struct watch *watch;     /* NULL: nobody asked for it */
    unsigned watched;        /* the generation that served last, whose files are watched */
    struct upgrade upgrade;
    struct reload_waiter *upgrade_waiter;
    struct predecessor predecessor;
    struct loop_source signals;
    struct master_log log;
    bool up;       /* a generation has served */
    bool replaced; /* by another server */
    bool leaving;
    int status; /* the exit status */
};

/* ---- a new binary ---- */

static void answer_upgrade(struct master *master, bool good, const char *text)
{
    struct reload_waiter *waiter = master->upgrade_waiter;

    master->upgrade_waiter = NULL;
    if (waiter != NULL)
        waiter->done(waiter, good, text);
}

static void upgraded(void *context, bool good, pid_t pid, const char *text)
{
    struct master *master = context;

    if (!good) {
        char line[2048]; /* without the newline that ends it for people */
        size_t len = strlen(text);

        snprintf(line, sizeof line, "%.*s", (int)(len - (len != 0 && text[len - 1] == '\n')), text);
        log_event(ENCHUFE_LOG_ERROR, "upgrade failed", LOG_STR("error", line));
        answer_upgrade(master, false, text);
        rollover_hold(master->rollover, false);
        return;
    }
    log_event(ENCHUFE_LOG_INFO, "a new server has taken over", LOG_INT("pid", pid));
    notify_main_pid(pid);
    notify_watchdog_stop(master->loop);
    control_give(master->control);
    master->leaving = master->replaced = true;
    init_replaced();
    if (rollover_hand_over(master->rollover, text))
        kill(pid, SIGHUP);
}

/* Told only now: a client that connects after the answer never meets the old server. */
static void rollover_is_handed_over(void *context)
{
    answer_upgrade(context, true, "the new server serves\n");
}

/* One change at a time: each of them decides about the same sockets. And no third server: those that drain
 * would pile up. Returns whether one may begin, or says why not. */
static bool may_upgrade(const struct master *master, char *why, size_t size)
{
    pid_t before = master->predecessor.pid;
    const char *wrong = master->leaving                           ? "the server is leaving"
                        : !master->up                             ? "the server is not up yet"
                        : master->upgrade.pid != 0                ? "an upgrade is under way"
                        : rollover_is_reloading(master->rollover) ? "a reload is under way"
                                                                  : NULL;

    if (wrong != NULL)
        snprintf(why, size, "%s", wrong);
    else if (before != 0)
        snprintf(
            why, size,
            "the server before, pid %d, still drains; upgrade when it has gone (`kill -INT %d` "
            "ends it with its connections)",
            (int)before, (int)before);
    return wrong == NULL && before == 0;
}

/* Returns 0 or -errno. */
static int begin_upgrade(struct master *master)
{
    const struct generation *serving = rollover_serving(master->rollover);

    /* First, so that no socket of a reload that waits is in the new server's way. */
    rollover_hold(master->rollover, true);
    int err = upgrade_begin(&master->upgrade, &serving->sockets, serving->config,
                            control_fd(master->control));
    if (err != 0)
        rollover_hold(master->rollover, false);
    return err;
}

static void upgrade(void *context, struct reload_waiter *waiter)
{
    struct master *master = context;
    char why[256];
    int err = 0;

    if (may_upgrade(master, why, sizeof why - 1) && (err = begin_upgrade(master)) == 0) {
        log_event(ENCHUFE_LOG_INFO, "upgrading", LOG_STR("program", master->setup->program));
        master->upgrade_waiter = waiter;
        return;
    }
    if (err != 0)
        snprintf(why, sizeof why - 1, "%s", strerror(-err));
    log_event(ENCHUFE_LOG_ERROR, "no upgrade", LOG_STR("error", why));
    if (waiter != NULL)
        waiter->done(waiter, false, strcat(why, "\n"));
}

static void forget_upgrade(void *context, struct reload_waiter *waiter)
{
    struct master *master = context;

    if (master->upgrade_waiter == waiter)
        master->upgrade_waiter = NULL;
}

/* ---- the end ---- */

static void leave(void *context, bool at_once)
{
    struct master *master = context;

    /* The second order to drain is impatience; and before anybody was served, sockets may be another
     * server's still, which those who drain would shut. */
    at_once = at_once || master->leaving || !master->up;
    master->leaving = true;
    log_event(ENCHUFE_LOG_INFO, at_once ? "ending" : "draining", LOG_NUM("pid", getpid()));
    if (!master->replaced) {
        notify_stopping();
        upgrade_abandon(&master->upgrade);
        answer_upgrade(master, false, "the server is leaving\n");
    }
    rollover_leave(master->rollover, at_once);
}

/* ---- signals ---- */

static void reopen_log(struct master *master)
{
    int fd = master_log_reopen(&master->log);

    if (fd < 0)
        return;
    rollover_send_log(master->rollover, fd);
    close(fd);
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct master *master = CONTAINER_OF(source, struct master, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(source->fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            rollover_reap(master->rollover);
            master_log_look(&master->log);
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
            rollover_reload(master->rollover, NULL);
            break;
        case SIGUSR2:
            upgrade(master, NULL);
            break;
        default:
            break;
        }
    }
}

static int open_signals(void)
{
    static const int handled[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGHUP, SIGUSR2 };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* ---- with workers ---- */

static void reload_begins(void *context)
{
    (void)context;
    notify_reloading();
}

/* What an attempt names is watched from here on, also where it fails: whoever mends it waits for that. */
static void reload_has_read(void *context, const struct generation *attempt)
{
    const struct master *master = context;

    if (master->watch != NULL)
        watch_generations(master->watch, rollover_serving(master->rollover), attempt);
}

/* The control socket cannot move: who talks to it would not find it. */
static void note_control(const struct master *master, const struct server_config *server,
                         struct report *notes)
{
    const char *is = control_path(master->control);
    const char *wanted = server->control != NULL ? server->control : control_default_path();

    if (is != NULL && strcmp(is, wanted) != 0)
        report_add(notes, &server->control_place,
                   "the control socket stays at %s until the server is started again", is);
    else if (is == NULL && server->control != NULL)
        report_add(notes, &server->control_place,
                   "there is no control socket until the server is started again");
}

static void generation_starts(void *context, const struct generation *generation,
                              struct report *errors, struct report *notes)
{
    struct master *master = context;
    const struct server_config *server = &generation->config->server;
    int err = master_log_take(&master->log, server->log);

    if (err != 0)
        report_add(errors, &server->log_place, "cannot open %s: %s",
                   server->log != NULL ? server->log : "stderr", strerror(-err));
    note_control(master, server, notes);
}

static void files_changed(void *context)
{
    struct master *master = context;

    rollover_reload(master->rollover, NULL);
}

static void watch_files(struct master *master, const struct generation *generation)
{
    bool wanted = generation->config->server.watch;

    if (wanted && master->watch == NULL)
        master->watch = watch_create(master->loop, files_changed, master);
    if (wanted && master->watch == NULL)
        log_event(ENCHUFE_LOG_WARNING, "cannot watch files", LOG_STR("error", strerror(errno)));
    if (wanted && master->watch != NULL)
        watch_generations(master->watch, generation, NULL);
    if (!wanted) {
        watch_free(master->watch);
        master->watch = NULL;
    }
}

static void generation_serves(void *context, const struct generation *generation)
{
    struct master *master = context;
    /* Where a reload failed, back to where it was. */
    int err = master_log_take(&master->log, generation->config->server.log);

    if (err != 0)
        log_event(ENCHUFE_LOG_WARNING, "cannot go back to the log",
                  LOG_STR("error", strerror(-err)));
    if (generation->number != master->watched)
        watch_files(master, generation);
    master->watched = generation->number;
    if (!master->up) {
        master->up = true;
        predecessor_drains(&master->predecessor);
        handover_end(master->setup->handover, true);
        control_take(master->control);
    }
    notify_ready();
}

static void rollover_has_failed(void *context, struct report *report)
{
    struct master *master = context;

    handover_fail(master->setup->handover, report);
    master->status = 1;
    leave(master, true);
}

static void rollover_is_gone(void *context)
{
    struct master *master = context;

    if (master->replaced)
        rollover_is_handed_over(master);
    loop_stop(master->loop);
}

static int run_workers(struct master *master, struct generation *generation)
{
    const struct rollover_setup setup = { .loop = master->loop,
                                          .file = master->setup->file,
                                          .plugin_dir = master->setup->plugin_dir,
                                          .reloading = reload_begins,
                                          .read = reload_has_read,
                                          .starting = generation_starts,
                                          .serving = generation_serves,
                                          .failed = rollover_has_failed,
                                          .gone = rollover_is_gone,
                                          .handed_over = rollover_is_handed_over,
                                          .context = master };
    const struct control_orders orders = { .stop = leave,
                                           .upgrade = upgrade,
                                           .forget_upgrade = forget_upgrade,
                                           .context = master,
                                           .predecessor = &master->predecessor };
    const char *path = generation->config->server.control;
    const char *log = generation->config->server.log;

    master_log_begin(&master->log, master->loop, log);
    master->control = control_open(path, master->setup->handover->control, master->loop, &orders);
    master->upgrade = (struct upgrade){ .loop = master->loop,
                                        .program = master->setup->program,
                                        .argv = master->setup->argv,
                                        .done = upgraded,
                                        .context = master };
    predecessor_watch(&master->predecessor, master->loop, master->setup->handover->before);
    int err = path != NULL && master->control == NULL
                  ? 1 /* which was said already */
                  : loop_watch(master->loop, &master->signals, EPOLLIN);
    if (err == 0) {
        /* Before it is ready: from then on people change files. */
        watch_files(master, generation);
        master->rollover = rollover_start(&setup, generation);
        err = master->rollover != NULL ? 0 : -ENOMEM;
    }
    if (err == 0) {
        control_serve(master->control, master->rollover);
        notify_watchdog(master->loop);
        err = loop_run(master->loop);
    }
    notify_watchdog_stop(master->loop);
    upgrade_abandon(&master->upgrade);
    predecessor_end(&master->predecessor);
    watch_free(master->watch);
    control_close(master->control);
    if (master->rollover != NULL)
        rollover_free(master->rollover);
    master_log_end(&master->log);
    return err;
}

int master_run(const struct master_setup *setup, struct generation *generation)
{
    struct master master = { .setup = setup,
                             .signals = { .fd = open_signals(), .ready = signal_ready },
                             .loop = loop_create() };
    int err = 0;

    if (master.loop == NULL || master.signals.fd < 0) {
        log_line(ENCHUFE_LOG_ERROR, "cannot start: %s", strerror(errno));
        return 1;
    }
    if (setup->debug)
        master.status = debug_run(generation, setup->handover, master.signals.fd);
    else
        err = run_workers(&master, generation);
    if (err < 0)
        log_line(ENCHUFE_LOG_ERROR, "cannot go on: %s", strerror(-err));
    log_event(ENCHUFE_LOG_INFO, "ended", LOG_NUM("pid", getpid()));
    loop_drop(master.loop);
    close(master.signals.fd);
    return err != 0 ? 1 : master.status;
}
