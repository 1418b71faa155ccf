/* Orders of the master, and the watch over the loops. */
#include "worker_orders.h"
#include "channel.h"
#include "descriptors.h"
#include "log_sink.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* How long the loops may take to end at once, with a callback for each connection. A single one that does not return
 * is ended after stall_limit, if that is less. */
#define QUIT_MS 5000

/* How often the main thread looks whether that of the orders is over, where it could not be told. */
#define LOOK_MS 100

int worker_orders_fail(struct worker_orders *orders, const char *text)
{
    if (orders->status == 0)
        channel_send(orders->setup->channel, CHANNEL_FAILED, text, -1);
    orders->status = 1;
    return -EINVAL;
}

/* ---- phases ---- */

static void order_all(struct worker_orders *orders, void (*order)(struct worker_loop *wl))
{
    for (size_t i = 0; i < orders->loop_count; i++)
        order(&orders->loops[i]);
}

static void quit(struct worker_orders *orders)
{
    if (orders->phase == QUITTING)
        return;
    orders->phase = QUITTING;
    orders->deadline = clock_ms() + QUIT_MS;
    order_all(orders, worker_loop_quit);
}

static void enter_drain(struct worker_orders *orders)
{
    uint64_t timeout = orders->setup->config->server.drain_timeout;

    if (orders->phase < OPENING)
        quit(orders); /* nobody was served yet */
    orders->leaves = true;
    if (orders->phase != SERVING)
        return;
    orders->phase = DRAINING;
    orders->deadline = timeout != 0 ? clock_ms() + timeout : 0;
    order_all(orders, worker_loop_drain);
}

static void enter_opening(struct worker_orders *orders)
{
    if (orders->phase != PREPARED)
        return;
    orders->phase = OPENING;
    order_all(orders, worker_loop_listen);
}

/* Every loop has done the step of this phase. */
static void next_phase(struct worker_orders *orders)
{
    orders->steps = 0;
    if (orders->phase == STARTING) {
        orders->phase = PREPARED;
        if (orders->setup->signals >= 0)
            enter_opening(orders);
        else
            channel_send(orders->setup->channel, CHANNEL_PREPARED, NULL, -1);
    } else if (orders->phase == OPENING) {
        orders->phase = SERVING;
        if (orders->setup->ready != NULL)
            orders->setup->ready(orders->setup->context);
        else
            channel_send(orders->setup->channel, CHANNEL_READY, NULL, -1);
        if (orders->leaves)
            enter_drain(orders);
    }
}

static void count_steps(struct worker_orders *orders)
{
    uint64_t done = 0;

    if (read(orders->steps_fd, &done, sizeof done) == sizeof done)
        orders->steps += done;
    for (size_t i = 0; i < orders->loop_count && orders->status == 0; i++) {
        const struct worker_loop *wl = &orders->loops[i];
        if (wl->failure != 0)
            worker_orders_fail(orders, *wl->error != '\0' ? wl->error : strerror(-wl->failure));
    }
    if (orders->status != 0)
        quit(orders);
}

/* A loop without connections may be at its end already. */
static bool all_deaf(const struct worker_orders *orders)
{
    for (size_t i = 0; i < orders->loop_count; i++)
        if (!orders->loops[i].deaf && !orders->loops[i].ended)
            return false;
    return true;
}

/* Before the plugins stop, which may take its time: a reload waits for this. */
static void tell_deaf(struct worker_orders *orders)
{
    if (orders->phase != DRAINING || orders->deaf || !all_deaf(orders))
        return;
    orders->deaf = true;
    channel_send(orders->setup->channel, CHANNEL_DEAF, NULL, -1);
}

static bool all_ended(const struct worker_orders *orders)
{
    for (size_t i = 0; i < orders->loop_count; i++)
        if (!orders->loops[i].ended)
            return false;
    return true;
}

/* ---- orders ---- */

/* Of two tables of descriptors, each needs the new one. */
static void take_log(struct worker_orders *orders, int fd)
{
    channel_send(orders->log_ends[0], CHANNEL_LOG, NULL, fd);
    if (orders->own_table)
        log_sink_follow(fd);
}

static void take_order(struct worker_orders *orders, const struct channel_packet *packet)
{
    if (packet->type == CHANNEL_ACCEPT)
        enter_opening(orders);
    else if (packet->type == CHANNEL_DRAIN)
        enter_drain(orders);
    else if (packet->type == CHANNEL_QUIT)
        quit(orders);
    else if (packet->type == CHANNEL_LOG && packet->fd >= 0)
        take_log(orders, packet->fd);
    if (packet->fd >= 0)
        close(packet->fd);
}

static void take_signal(struct worker_orders *orders)
{
    struct signalfd_siginfo info;

    if (read(orders->setup->signals, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGTERM && orders->phase != DRAINING)
        enter_drain(orders);
    else if (info.ssi_signo == SIGTERM)
        quit(orders); /* the second time is impatience */
    else if (info.ssi_signo == SIGINT || info.ssi_signo == SIGQUIT)
        quit(orders);
}

static int wait_ms(const struct worker_orders *orders)
{
    uint64_t now = clock_ms(), next = orders->watchdog.next;

    if (orders->deadline != 0 && orders->deadline < next)
        next = orders->deadline;
    if (next == TIMER_NEVER)
        return -1;
    return next <= now ? 0 : next - now < INT_MAX ? (int)(next - now) : INT_MAX;
}

/* ---- the loops ---- */

static void watch(struct worker_orders *orders, bool rung)
{
    uint64_t now = clock_ms();

    if (!rung && now < orders->watchdog.next)
        return;
    int stuck = watchdog_look(&orders->watchdog, now);
    for (size_t i = 0; i < orders->loop_count; i++) {
        struct worker_loop *wl = &orders->loops[i];
        if (wl->ended)
            continue;
        /* A loop that is held up cannot see by itself that its time is old. */
        loop_forget_time(wl->loop);
        worker_loop_adapt(wl, now);
    }
    if (stuck >= 0)
        trace_end_stuck(orders->loops[stuck].thread, orders->watchdog.watches[stuck].slot,
                        orders->watchdog.watches[stuck].ms);
}

/* Returns 0 when every loop has ended, or a negative errno. */
static int serve(struct worker_orders *orders)
{
    const struct worker_setup *setup = orders->setup;
    struct pollfd fds[] = { { .fd = setup->channel, .events = POLLIN },
                            { .fd = orders->steps_fd, .events = POLLIN },
                            { .fd = setup->signals, .events = POLLIN },
                            { .fd = orders->watchdog.watcher.bell, .events = POLLIN } };
    struct channel_packet packet;

    for (;;) {
        bool over = all_ended(orders); /* asked first: the last step may be why it failed */
        count_steps(orders);
        if (!over && orders->steps >= setup->loops)
            next_phase(orders);
        tell_deaf(orders);
        if (over)
            return 0;
        int n = poll(fds, 4, wait_ms(orders));
        if (n < 0 && errno != EINTR)
            return -errno;
        watch(orders, n > 0 && fds[3].revents != 0);
        bool late = orders->deadline != 0 && clock_ms() >= orders->deadline;
        if (late && orders->phase == QUITTING)
            return -ETIMEDOUT; /* a plugin does not return */
        if (late && orders->phase == DRAINING)
            quit(orders);
        if (n <= 0)
            continue;
        if (fds[0].revents != 0) {
            if (orders->spare >= 0)
                close(orders->spare);
            int got = channel_receive(setup->channel, &packet);
            if (got == 0)
                return -ECONNRESET; /* the master is gone */
            if (got > 0)
                take_order(orders, &packet);
            orders->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
        if (fds[2].revents != 0)
            take_signal(orders);
    }
}

/* ---- the thread ---- */

/* ThreadSanitizer knows one table of descriptors in a process. */
#ifdef __SANITIZE_THREAD__
#define OWN_TABLE false
#else
#define OWN_TABLE true
#endif

/* What stayed open here would not be closed when a loop closes it. Where the system refuses a table of its own, the
 * thread shares the loops'. */
static void own_descriptors(struct worker_orders *orders)
{
    struct descriptors kept = { .fds = NULL };

    if (!OWN_TABLE || orders->setup->signals >= 0 || log_sink_fd() <= STDERR_FILENO)
        return;
    descriptors_keep(&kept, orders->setup->channel);
    descriptors_keep(&kept, orders->steps_fd);
    descriptors_keep(&kept, orders->log_ends[0]);
    descriptors_keep(&kept, orders->watchdog.watcher.bell);
    for (size_t i = 0; i < orders->loop_count; i++)
        descriptors_keep(&kept, loop_bell(orders->loops[i].loop));
    orders->own_table =
        !kept.failed && close_range(INT_MAX, INT_MAX, 0) == 0 && unshare(CLONE_FILES) == 0;
    if (orders->own_table)
        descriptors_close_others(&kept);
    else
        free(kept.fds);
}

static void *run(void *arg)
{
    struct worker_orders *orders = arg;

    pthread_setname_np(pthread_self(), "orders");
    own_descriptors(orders);
    orders->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    /* Else a loop is stuck in a plugin, or the master is gone: nothing can be freed. */
    if (serve(orders) != 0)
        _exit(1);
    if (orders->spare >= 0)
        close(orders->spare);
    orders->spare = -1;
    orders->over = true;
    channel_send(orders->log_ends[0], CHANNEL_QUIT, NULL,
                 -1); /* cuts the wait of take_logs() short */
    return NULL;
}

int worker_orders_start(struct worker_orders *orders)
{
    int err = pthread_create(&orders->thread, NULL, run, orders);

    orders->running = err == 0;
    return -err;
}

/* The first loop, which took them, has ended; others may go on. */
static void take_logs(const struct worker_orders *orders)
{
    struct pollfd pollfd = { .fd = orders->log_ends[1], .events = POLLIN };

    while (!orders->over)
        if (poll(&pollfd, 1, LOOK_MS) > 0)
            worker_loop_take_log(pollfd.fd, &orders->loops[0].spare);
}

void worker_orders_join(struct worker_orders *orders)
{
    if (!orders->running)
        return;
    take_logs(orders);
    pthread_join(orders->thread, NULL);
    orders->running = false;
}

/* What the thread passed on at last, and what came when it was over. */
void worker_orders_take_log(struct worker_orders *orders)
{
    while (worker_loop_take_log(orders->log_ends[1], &orders->spare))
        continue;
    while (worker_loop_take_log(orders->setup->channel, &orders->spare))
        continue;
}

int worker_orders_init(struct worker_orders *orders, const struct worker_setup *setup)
{
    *orders = (struct worker_orders){ .setup = setup,
                                      .watchdog = WATCHDOG_NONE,
                                      .steps_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                      .log_ends = { -1, -1 },
                                      .spare = -1 };
    if (orders->steps_fd < 0)
        return -errno;
    log_sink_number();
    int err = channel_create(orders->log_ends);
    /* Not under a debugger's eyes: who stops there is not stuck. */
    if (err == 0 && setup->signals < 0)
        err = watchdog_init(&orders->watchdog, setup->config, setup->trace, 0, setup->loops);
    return err;
}

void worker_orders_free(struct worker_orders *orders)
{
    watchdog_free(&orders->watchdog);
    if (orders->spare >= 0)
        close(orders->spare);
    for (size_t i = 0; i < 2; i++)
        if (orders->log_ends[i] >= 0)
            close(orders->log_ends[i]);
    if (orders->steps_fd >= 0)
        close(orders->steps_fd);
}
