/* Generations that follow each other. */
#include "rollover.h"
#include "container.h"
#include "history.h"
#include "log.h"
#include "probe.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A generation with its workers. */
struct era {
    struct rollover *rollover;
    struct generation generation;
    struct supervisor *supervisor;
    uint64_t started_at;
};

struct rollover {
    struct rollover_setup setup;
    struct era *serving; /* the first one already as it comes up */
    struct era *next;    /* comes up */
    struct era *draining;
    unsigned last_number;
    bool wanted;  /* a reload is due when nothing is in its way */
    bool started; /* the first generation serves */
    bool held;    /* an upgrade is under way: none begins */
    bool given;   /* to another server: the sockets are not ours to shut */
    bool leaving;
    struct loop_task begin; /* the reload that is wanted */
    /* of the reload under way */
    pid_t probe;
    struct loop_source probe_source;
    struct report report;
    struct reload_waiter *waiters; /* for it */
    struct reload_waiter *later;   /* for the one after it */
    struct history history;
};

static bool under_way(const struct rollover *rollover)
{
    return rollover->next != NULL;
}

static void end_era(struct rollover *rollover, struct era **place)
{
    struct era *era = *place;

    *place = NULL;
    supervisor_free(era->supervisor);
    /* One that never came up has no past. */
    if (place != &rollover->next && era->generation.counters != NULL)
        history_add(&rollover->history, &era->generation);
    generation_free(&era->generation);
    free(era);
}

/* ---- how a reload ends ---- */

static void answer(struct rollover *rollover, bool good, const char *text)
{
    struct reload_waiter *waiter = rollover->waiters;

    rollover->waiters = NULL;
    while (waiter != NULL) {
        struct reload_waiter *next = waiter->next;
        waiter->done(waiter, good, text);
        waiter = next;
    }
}

/* The next reload may begin. */
static void go_on(struct rollover *rollover)
{
    if (rollover->wanted && !rollover->leaving)
        loop_defer(rollover->setup.loop, &rollover->begin);
}

static void reload_failed(struct rollover *rollover)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out != NULL) {
        report_print(&rollover->report, out);
        fclose(out);
    }
    for (size_t i = 0; i < rollover->report.count; i++)
        log_event(ENCHUFE_LOG_ERROR, "reload failed",
                  LOG_STR("error", rollover->report.lines[i].text));
    report_free(&rollover->report);
    answer(rollover, false, text != NULL ? text : "no memory\n");
    free(text);
    end_era(rollover, &rollover->next);
    rollover->setup.serving(rollover->setup.context, &rollover->serving->generation);
    go_on(rollover);
}

/* ---- what supervisors tell ---- */

static void era_prepared(void *context)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    /* The point of no return: from here on the sockets are the new generation's as well. */
    if (sockets_open(&era->generation.sockets, era->generation.config, &rollover->report) == 0) {
        supervisor_accept(era->supervisor);
    } else if (era == rollover->next) {
        supervisor_leave(era->supervisor, true);
    } else {
        report_print(&rollover->report, stderr);
        rollover->setup.failed(rollover->setup.context, &rollover->report);
    }
}

static void era_ready(void *context)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    generation_log_ready(&era->generation);
    if (era == rollover->serving) {
        rollover->started = true;
        rollover->setup.serving(rollover->setup.context, &era->generation);
        go_on(rollover);
        return;
    }
    rollover->draining = rollover->serving;
    rollover->serving = era;
    rollover->next = NULL;
    log_setup(era->generation.config->server.log_level,
              (enum log_format)era->generation.config->server.log_format);
    sockets_retire(&rollover->draining->generation.sockets, false);
    supervisor_leave(rollover->draining->supervisor, false);
    report_free(&rollover->report);
    rollover->setup.serving(rollover->setup.context, &era->generation);
}

/* Told only now: whoever connects after the answer gets the new generation, and never the old one. */
static void era_deaf(void *context)
{
    const struct era *era = context;
    struct rollover *rollover = era->rollover;
    char text[64];

    if (rollover->given && era == rollover->serving)
        rollover->setup.handed_over(rollover->setup.context);
    /* Leaving, the one that serves may be gone by now. */
    if (era != rollover->draining || rollover->leaving)
        return;
    snprintf(text, sizeof text, "generation %u serves\n", rollover->serving->generation.number);
    answer(rollover, true, text);
}

static void era_failed(void *context, const char *text)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    report_add(&rollover->report, NULL, "the new workers do not start: %s", text);
    if (era == rollover->serving) {
        rollover->setup.failed(rollover->setup.context, &rollover->report);
        return;
    }
    supervisor_leave(era->supervisor, true);
}

static void era_gone(void *context)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    if (era == rollover->next && !rollover->leaving) {
        reload_failed(rollover);
        return;
    }
    if (era != rollover->next)
        generation_log_served(&era->generation);
    if (era == rollover->draining) {
        log_event(ENCHUFE_LOG_INFO, "drained", LOG_NUM("generation", era->generation.number));
        end_era(rollover, &rollover->draining);
        go_on(rollover);
    } else {
        end_era(rollover, era == rollover->next ? &rollover->next : &rollover->serving);
    }
    if (rollover->leaving && rollover->serving == NULL && rollover->next == NULL &&
        rollover->draining == NULL)
        rollover->setup.gone(rollover->setup.context);
}

static int start_era(struct era *era)
{
    const struct supervisor_events events = { .prepared = era_prepared,
                                              .ready = era_ready,
                                              .failed = era_failed,
                                              .deaf = era_deaf,
                                              .gone = era_gone,
                                              .context = era };

    era->started_at = clock_ms();
    era->supervisor = supervisor_start(&era->generation, era->rollover->setup.loop, &events);
    return era->supervisor != NULL ? 0 : -ENOMEM;
}

/* ---- a reload ---- */

static void probed(struct loop_source *source, uint32_t events)
{
    struct rollover *rollover = CONTAINER_OF(source, struct rollover, probe_source);
    struct era *next = rollover->next;

    (void)events;
    loop_watch(rollover->setup.loop, source, 0);
    if (!probe_continue(rollover->probe, source->fd, &rollover->report)) {
        loop_watch(rollover->setup.loop, source, EPOLLIN);
        return;
    }
    rollover->probe = 0;
    /* Bound also where something is wrong already, so that one go tells everything. */
    generation_bind(&next->generation, &rollover->serving->generation.sockets, &rollover->report);
    if (rollover->report.count == 0 && start_era(next) != 0)
        report_add(&rollover->report, NULL, "no memory for the new workers");
    if (rollover->report.count != 0)
        reload_failed(rollover);
}

static void begin(struct loop_task *task)
{
    struct rollover *rollover = CONTAINER_OF(task, struct rollover, begin);
    struct era *era;

    if (rollover->leaving || rollover->held || !rollover->started || under_way(rollover) ||
        rollover->draining != NULL)
        return; /* again when that is over */
    rollover->wanted = false;
    rollover->waiters = rollover->later;
    rollover->later = NULL;
    era = calloc(1, sizeof *era);
    if (era == NULL) {
        answer(rollover, false, "no memory\n");
        return;
    }
    era->rollover = rollover;
    rollover->next = era;
    generation_read(&era->generation, rollover->setup.file, rollover->setup.plugin_dir,
                    &rollover->report);
    era->generation.number = ++rollover->last_number;
    rollover->setup.reloading(rollover->setup.context, &era->generation);
    log_event(ENCHUFE_LOG_INFO, "reloading", LOG_STR("file", rollover->setup.file),
              LOG_NUM("generation", era->generation.number));
    if (era->generation.files != NULL)
        rollover->probe = probe_begin(era->generation.config, era->generation.files,
                                      &era->generation.identity, &rollover->probe_source.fd);
    if (era->generation.files == NULL || rollover->probe < 0 ||
        loop_watch(rollover->setup.loop, &rollover->probe_source, EPOLLIN) != 0) {
        report_add(&rollover->report, NULL, "cannot probe the plugins");
        reload_failed(rollover);
    }
}

/* A reload that has no workers yet is over at once. */
static void abandon(struct rollover *rollover)
{
    if (rollover->next == NULL || rollover->next->supervisor != NULL)
        return;
    if (rollover->probe > 0) {
        loop_watch(rollover->setup.loop, &rollover->probe_source, 0);
        probe_abandon(rollover->probe, rollover->probe_source.fd);
        rollover->probe = 0;
    }
    end_era(rollover, &rollover->next);
}

void rollover_reload(struct rollover *rollover, struct reload_waiter *waiter)
{
    if (rollover->leaving) {
        if (waiter != NULL)
            waiter->done(waiter, false, "the server is leaving\n");
        return;
    }
    if (waiter != NULL) {
        waiter->next = rollover->later;
        rollover->later = waiter;
    }
    rollover->wanted = true;
    if (rollover->draining != NULL)
        log_event(ENCHUFE_LOG_INFO, "reload waits until the last generation has drained",
                  LOG_NUM("generation", rollover->draining->generation.number));
    if (rollover->held)
        log_event(ENCHUFE_LOG_INFO, "reload waits until the upgrade is over");
    go_on(rollover);
}

void rollover_forget(struct rollover *rollover, struct reload_waiter *waiter)
{
    struct reload_waiter **lists[] = { &rollover->waiters, &rollover->later };

    for (size_t i = 0; i < 2; i++)
        for (struct reload_waiter **link = lists[i]; *link != NULL; link = &(*link)->next)
            if (*link == waiter) {
                *link = waiter->next;
                return;
            }
}

/* ---- the rest ---- */

static void refuse_waiters(struct rollover *rollover, const char *text)
{
    rollover->leaving = true;
    answer(rollover, false, text);
    rollover->waiters = rollover->later;
    rollover->later = NULL;
    answer(rollover, false, text);
}

void rollover_leave(struct rollover *rollover, bool at_once)
{
    abandon(rollover);
    struct era *all[] = { rollover->serving, rollover->next, rollover->draining };

    refuse_waiters(rollover, "the server is leaving\n");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i] == NULL || all[i]->supervisor == NULL)
            continue;
        if (!rollover->given)
            sockets_retire(&all[i]->generation.sockets, true);
        if (all[i] != rollover->draining || at_once)
            supervisor_leave(all[i]->supervisor, at_once || all[i] == rollover->next);
    }
}

bool rollover_is_reloading(const struct rollover *rollover)
{
    return under_way(rollover);
}

void rollover_hold(struct rollover *rollover, bool hold)
{
    rollover->held = hold;
    go_on(rollover);
}

bool rollover_hand_over(struct rollover *rollover, const char *unwanted)
{
    struct sockets *sockets = &rollover->serving->generation.sockets;

    rollover->given = true;
    refuse_waiters(rollover, "a new server has taken over, and reloads\n");
    sockets_retire_list(sockets, unwanted);
    sockets_give(sockets);
    supervisor_leave(rollover->serving->supervisor, false);
    return rollover->wanted;
}

void rollover_reap(struct rollover *rollover)
{
    struct era *all[] = { rollover->serving, rollover->next, rollover->draining };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != NULL && all[i]->supervisor != NULL)
            supervisor_reap(all[i]->supervisor);
}

void rollover_send_log(struct rollover *rollover, int fd)
{
    struct era *all[] = { rollover->serving, rollover->next, rollover->draining };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != NULL && all[i]->supervisor != NULL)
            supervisor_send_log(all[i]->supervisor, fd);
}

const struct generation *rollover_serving(const struct rollover *rollover)
{
    return rollover->serving != NULL ? &rollover->serving->generation : NULL;
}

void rollover_history(const struct rollover *rollover, const char *service, struct stats *sum)
{
    history_of(&rollover->history, service, sum);
}

void rollover_each(const struct rollover *rollover,
                   void (*see)(void *context, const struct generation_view *view), void *context)
{
    const struct era *all[] = { rollover->serving, rollover->draining, rollover->next };
    static const char *const states[] = { "serving", "draining", "starting" };
    uint64_t now = clock_ms();

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i] == NULL || all[i]->supervisor == NULL)
            continue;
        uint64_t deadline = supervisor_deadline(all[i]->supervisor);
        struct generation_view view = { .generation = &all[i]->generation,
                                        .supervisor = all[i]->supervisor,
                                        .state = states[i],
                                        .age_ms = now - all[i]->started_at,
                                        .left_ms = deadline == 0    ? -1
                                                   : deadline > now ? (int64_t)(deadline - now)
                                                                    : 0 };
        see(context, &view);
    }
}

struct rollover *rollover_start(const struct rollover_setup *setup, struct generation *first)
{
    struct rollover *rollover = calloc(1, sizeof *rollover);
    struct era *era = calloc(1, sizeof *era);

    if (rollover == NULL || era == NULL) {
        free(rollover);
        free(era);
        generation_free(first);
        return NULL;
    }
    rollover->setup = *setup;
    rollover->begin.run = begin;
    rollover->probe_source = (struct loop_source){ .fd = -1, .ready = probed };
    rollover->last_number = 1;
    rollover->serving = era;
    era->rollover = rollover;
    era->generation = *first;
    era->generation.number = 1;
    *first = (struct generation){ .config = NULL };
    if (start_era(era) == 0)
        return rollover;
    rollover_free(rollover);
    return NULL;
}

void rollover_free(struct rollover *rollover)
{
    struct era **all[] = { &rollover->serving, &rollover->next, &rollover->draining };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i] != NULL)
            end_era(rollover, all[i]);
    history_free(&rollover->history);
    report_free(&rollover->report);
    free(rollover);
}
