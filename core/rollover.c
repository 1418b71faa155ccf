/* Generations that follow each other. */
#include "rollover.h"
#include "container.h"
#include "log.h"
#include "rollover_state.h"
#include "waiters.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Never more than two generations have workers. */
static bool waits(const struct rollover *rollover)
{
    return rollover->next != NULL && rollover->next->supervisor == NULL;
}

static bool comes_up(const struct rollover *rollover)
{
    return rollover->next != NULL && rollover->next->supervisor != NULL;
}

static void end_era(struct rollover *rollover, struct era **place)
{
    struct era *era = *place;
    /* One that never came up has no past. */
    bool served = place == &rollover->serving || place == &rollover->draining;

    *place = NULL;
    if (served && era->generation.counters != NULL)
        history_add(&rollover->history, &era->generation);
    era_free(era);
}

/* ---- how a reload ends ---- */

static void start_next(struct rollover *rollover);

/* The next reload may begin. */
static void go_on(struct rollover *rollover)
{
    start_next(rollover);
    if (rollover->wanted && !rollover->leaving)
        loop_defer(rollover->setup.loop, &rollover->begin);
}

/* NULL: the last reload was right. */
static void note_failure(struct rollover *rollover, const struct report *report)
{
    free(rollover->failure);
    rollover->failure = report != NULL && report->count != 0 ? strdup(report->lines[0].text) : NULL;
    rollover->failed_at = clock_ms();
}

static void reload_failed(struct rollover *rollover, struct era **place)
{
    struct era *era = *place;

    /* First, because what is logged goes where the generation that serves wants it. */
    rollover->setup.serving(rollover->setup.context, &rollover->serving->generation);
    for (size_t i = 0; i < era->report.count; i++)
        log_event(ENCHUFE_LOG_ERROR, "reload failed", LOG_STR("error", era->report.lines[i].text));
    note_failure(rollover, &era->report);
    era_answer(era, false, "", &era->report);
    end_era(rollover, place);
    go_on(rollover);
}

/* ---- what supervisors tell ---- */

static void era_prepared(void *context)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    /* The point of no return: from here on the sockets are the new generation's as well. */
    if (sockets_open(&era->generation.sockets, era->generation.config, &era->report) == 0) {
        supervisor_accept(era->supervisor);
    } else if (era == rollover->next) {
        supervisor_leave(era->supervisor, true);
    } else {
        report_print(&era->report, stderr);
        rollover->setup.failed(rollover->setup.context, &era->report);
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
    note_failure(rollover, NULL);
    log_setup(era->generation.config->server.log_level,
              (enum log_format)era->generation.config->server.log_format);
    for (size_t i = 0; i < era->notes.count; i++)
        log_event(ENCHUFE_LOG_WARNING, "not reloaded", LOG_STR("what", era->notes.lines[i].text));
    sockets_retire(&rollover->draining->generation.sockets, false);
    sockets_keep_out(&rollover->draining->generation.sockets);
    supervisor_leave(rollover->draining->supervisor, false);
    rollover->setup.serving(rollover->setup.context, &era->generation);
    go_on(rollover);
}

/* Told only now: whoever connects after the answer gets the new generation, and never the old one. */
static void era_deaf(void *context)
{
    const struct era *era = context;
    struct rollover *rollover = era->rollover;
    struct era *serving = rollover->serving;
    char text[64];

    if (rollover->given && era == serving)
        rollover->setup.handed_over(rollover->setup.context);
    /* Leaving, the one that serves may be gone by now. */
    if (era != rollover->draining || rollover->leaving)
        return;
    snprintf(text, sizeof text, "generation %u serves\n", serving->generation.number);
    era_answer(serving, true, text, &serving->notes);
}

static void era_failed(void *context, const char *text)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    report_add(&era->report, NULL, "the new workers do not start: %s", text);
    if (era == rollover->serving) {
        rollover->setup.failed(rollover->setup.context, &era->report);
        return;
    }
    supervisor_leave(era->supervisor, true);
}

static void era_gone(void *context)
{
    struct era *era = context;
    struct rollover *rollover = era->rollover;

    if (era == rollover->next && !rollover->leaving) {
        reload_failed(rollover, &rollover->next);
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

/* When its turn has come. While a candidate is on trial its verdict comes first, as it may take the place. */
static void start_next(struct rollover *rollover)
{
    struct era *next = rollover->next;

    if (!waits(rollover) || rollover->draining != NULL || rollover->candidate != NULL)
        return;
    if (generation_bind_late(&next->generation, &next->report) == 0)
        rollover->setup.starting(rollover->setup.context, &next->generation, &next->report,
                                 &next->notes);
    if (next->report.count == 0 && start_era(next) != 0)
        report_add(&next->report, NULL, "no memory for the new workers");
    if (next->report.count != 0)
        reload_failed(rollover, &rollover->next);
}

/* What waited ends: the file is read anew, and its waiters get what that comes to. */
static void supersede(struct rollover *rollover, struct reload_waiter **waiters)
{
    waiters_append(waiters, &rollover->next->waiters);
    end_era(rollover, &rollover->next);
}

static void tried(void *context)
{
    struct rollover *rollover = context;
    struct era *era = rollover->candidate;
    const struct sockets_before before = {
        .serving = &rollover->serving->generation.sockets,
        .waiting = rollover->next != NULL ? &rollover->next->generation.sockets : NULL,
        .draining = rollover->draining != NULL ? &rollover->draining->generation.sockets : NULL
    };

    /* Bound also where something is wrong already, so that one go tells everything. */
    generation_bind(&era->generation, &before, &era->report);
    generation_check_log(&era->generation, &era->report);
    if (era->report.count != 0) {
        reload_failed(rollover, &rollover->candidate);
        return;
    }
    if (rollover->next != NULL) {
        log_event(ENCHUFE_LOG_INFO, "a newer reload takes the place of one that waits",
                  LOG_NUM("generation", rollover->next->generation.number));
        supersede(rollover, &era->waiters);
    }
    rollover->next = era;
    rollover->candidate = NULL;
    era->started_at = clock_ms();
    if (rollover->draining != NULL)
        log_event(ENCHUFE_LOG_INFO, "reload waits until the last generation has drained",
                  LOG_NUM("generation", era->generation.number),
                  LOG_NUM("draining", rollover->draining->generation.number));
    go_on(rollover);
}

static void has_read(void *context)
{
    const struct rollover *rollover = context;

    rollover->setup.read(rollover->setup.context, &rollover->candidate->generation);
}

static void begin(struct loop_task *task)
{
    struct rollover *rollover = CONTAINER_OF(task, struct rollover, begin);
    if (rollover->leaving || rollover->held || !rollover->started || rollover->candidate != NULL ||
        comes_up(rollover))
        return; /* again when that is over */
    rollover->wanted = false;
    struct era *era = era_create(rollover, rollover->last_number + 1);
    if (era == NULL) {
        waiters_answer(&rollover->later, false, "no memory\n");
        return;
    }
    rollover->last_number++;
    waiters_append(&era->waiters, &rollover->later);
    rollover->candidate = era;
    rollover->setup.reloading(rollover->setup.context);
    log_event(ENCHUFE_LOG_INFO, "reloading", LOG_STR("file", rollover->setup.file),
              LOG_NUM("generation", era->generation.number));
    trial_begin(&rollover->trial, &era->generation, &era->report);
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
    if (rollover->held)
        log_event(ENCHUFE_LOG_INFO, "reload waits until the upgrade is over");
    go_on(rollover);
}

void rollover_forget(struct rollover *rollover, struct reload_waiter *waiter)
{
    struct era *all[] = { rollover->serving, rollover->candidate, rollover->next };
    bool found = waiters_forget(&rollover->later, waiter);

    for (size_t i = 0; i < sizeof all / sizeof *all && !found; i++)
        found = all[i] != NULL && waiters_forget(&all[i]->waiters, waiter);
}

/* ---- the rest ---- */

/* From here on there are no reloads; what has no workers yet is over at once. */
static void end_reloads(struct rollover *rollover, const char *text)
{
    struct era *all[] = { rollover->serving, rollover->candidate, rollover->next };

    rollover->leaving = true;
    waiters_answer(&rollover->later, false, text);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != NULL)
            waiters_answer(&all[i]->waiters, false, text);
    trial_abandon(&rollover->trial);
    if (rollover->candidate != NULL)
        end_era(rollover, &rollover->candidate);
    if (waits(rollover))
        end_era(rollover, &rollover->next);
}

/* The file may have said `none` when it came up; the server's end is bounded by what it says now. */
static void hurry_draining(struct rollover *rollover)
{
    uint64_t limit = rollover->serving->generation.config->server.drain_timeout;

    if (rollover->draining != NULL && limit != 0)
        supervisor_hurry(rollover->draining->supervisor, clock_ms() + limit);
}

void rollover_leave(struct rollover *rollover, bool at_once)
{
    end_reloads(rollover, "the server is leaving\n");
    struct era *all[] = { rollover->serving, rollover->next, rollover->draining };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i] == NULL)
            continue;
        if (!rollover->given)
            sockets_retire(&all[i]->generation.sockets, true);
        if (rollover->started)
            sockets_keep_out(&all[i]->generation.sockets);
        if (all[i] != rollover->draining || at_once)
            supervisor_leave(all[i]->supervisor, at_once || all[i] == rollover->next);
    }
    if (!at_once)
        hurry_draining(rollover);
}

bool rollover_is_reloading(const struct rollover *rollover)
{
    return rollover->candidate != NULL || comes_up(rollover);
}

void rollover_hold(struct rollover *rollover, bool hold)
{
    rollover->held = hold;
    /* Its sockets are in the way of the other server, which reads the same file. */
    if (hold && waits(rollover)) {
        log_event(ENCHUFE_LOG_INFO, "reload waits until the upgrade is over");
        supersede(rollover, &rollover->later);
        rollover->wanted = true;
    }
    go_on(rollover);
}

bool rollover_hand_over(struct rollover *rollover, const char *unwanted)
{
    struct sockets *sockets = &rollover->serving->generation.sockets;

    rollover->given = true;
    end_reloads(rollover, "a new server has taken over, and reloads\n");
    sockets_retire_list(sockets, unwanted);
    sockets_keep_out(sockets);
    sockets_give(sockets);
    supervisor_leave(rollover->serving->supervisor, false);
    hurry_draining(rollover);
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

struct rollover *rollover_start(const struct rollover_setup *setup, struct generation *first)
{
    struct rollover *rollover = calloc(1, sizeof *rollover);
    struct era *era = era_create(rollover, 1);

    if (rollover == NULL || era == NULL) {
        free(rollover);
        free(era);
        generation_free(first);
        return NULL;
    }
    rollover->setup = *setup;
    rollover->begin.run = begin;
    rollover->trial = (struct trial){ .loop = setup->loop,
                                      .file = setup->file,
                                      .plugin_dir = setup->plugin_dir,
                                      .read = has_read,
                                      .done = tried,
                                      .context = rollover };
    rollover->last_number = 1;
    rollover->serving = era;
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
    struct era **all[] = { &rollover->serving, &rollover->candidate, &rollover->next,
                           &rollover->draining };

    trial_abandon(&rollover->trial);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i] != NULL)
            end_era(rollover, all[i]);
    history_free(&rollover->history);
    free(rollover->failure);
    free(rollover);
}
