/* The master's log. */
#include "master_log.h"
#include "container.h"
#include "log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* How long to wait before a try to tell what was lost, which the next line may do sooner. */
#define RETELL_MS 1000
/* No more are taken at once. */
#define MOST_RINGS 64

int master_log_take(struct master_log *log, const char *target)
{
    if (target != NULL && log->target != NULL ? strcmp(target, log->target) == 0
                                              : target == log->target)
        return 0;
    char *copy = target != NULL ? strdup(target) : NULL;
    if (target != NULL && copy == NULL)
        return -ENOMEM;
    log_event(ENCHUFE_LOG_INFO, "the log goes on elsewhere",
              LOG_STR("path", target != NULL ? target : "stderr"));
    int err = log_sink_open(target);
    if (err != 0) {
        free(copy);
        return err;
    }
    free(log->target);
    log->target = copy;
    return 0;
}

int master_log_reopen(struct master_log *log)
{
    if (log->target == NULL || log_sink_is_syslog())
        return -1;
    int fd = log_sink_open_file(log->target);
    if (fd < 0) {
        log_event(ENCHUFE_LOG_ERROR, "cannot reopen the log", LOG_STR("path", log->target),
                  LOG_STR("error", strerror(-fd)));
        return -1;
    }
    log_sink_take(fd);
    return fd;
}

/* ---- what was lost ---- */

/* Until then the bell is not heard: no plugin can wake the master up with it all the time. */
static void retell_later(struct master_log *log)
{
    if (!timer_running(&log->retell) &&
        loop_timer(log->loop, &log->retell, clock_ms() + RETELL_MS) == 0)
        loop_watch(log->loop, &log->bell, 0);
}

/* More than MOST_RINGS are left, and heard again a second later. */
static void bell_rung(struct loop_source *source, uint32_t events)
{
    (void)events;
    for (int i = 0; i < MOST_RINGS && log_sink_take_ring(); i++)
        continue;
    retell_later(CONTAINER_OF(source, struct master_log, bell));
}

static void retell(struct timer *timer)
{
    struct master_log *log = CONTAINER_OF(timer, struct master_log, retell);

    log_report_lost();
    if (log_sink_in_trouble() || loop_watch(log->loop, &log->bell, EPOLLIN) != 0)
        retell_later(log);
}

void master_log_look(struct master_log *log)
{
    if (log_sink_in_trouble())
        retell_later(log);
}

/* ---- from the start to the end ---- */

void master_log_begin(struct master_log *log, struct loop *loop, const char *target)
{
    *log = (struct master_log){ .loop = loop,
                                .bell = { .fd = log_sink_bell(), .ready = bell_rung },
                                .retell = { .fire = retell },
                                .target = target != NULL ? strdup(target) : NULL };
    if (log->bell.fd >= 0)
        loop_watch(loop, &log->bell, EPOLLIN);
}

void master_log_end(struct master_log *log)
{
    log_report_lost();
    loop_watch(log->loop, &log->bell, 0);
    timer_cancel(&log->loop->timers, &log->retell);
    free(log->target);
}
