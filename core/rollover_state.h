/* What rollover.c and rollover_view.c know of the generations, and nobody else. */
#ifndef ROLLOVER_STATE_H
#define ROLLOVER_STATE_H

#include "history.h"
#include "rollover.h"
#include "trial.h"

struct rollover {
    struct rollover_setup setup;
    struct era *serving;   /* the first one already as it comes up */
    struct era *candidate; /* is read and probed */
    struct era *next;      /* was found right: waits until none drains, and comes up */
    struct era *draining;
    unsigned last_number;
    bool wanted;  /* a reload is due when nothing is in its way */
    bool started; /* the first generation serves */
    bool held;    /* an upgrade is under way: none begins */
    bool given;   /* to another server: the sockets are not ours to shut */
    bool leaving;
    struct loop_task begin;      /* the reload that is wanted */
    struct reload_waiter *later; /* who waits for that */
    struct trial trial;          /* the candidate's */
    struct history history;
    char *failure; /* what was wrong with the last reload; NULL: it was right */
    uint64_t failed_at;
};

#endif
