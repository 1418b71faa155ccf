/* A trial: a configuration is read and its plugins are opened, while whoever asked has other things to do.
 * What may take long or crash is done by disposable children. */
#ifndef TRIAL_H
#define TRIAL_H

#include "generation.h"
#include "loop.h"
#include "names.h"
#include <sys/types.h>

struct trial {
    /* filled by the owner */
    struct loop *loop;
    const char *file;
    const char *plugin_dir; /* NULL: not said */
    /* The generation is read, and will be probed. */
    void (*read)(void *context);
    /* The generation is read and probed, or its report says why not. */
    void (*done)(void *context);
    void *context;
    /* the trial's own, zeroed */
    struct generation *generation;
    struct report *report;
    struct names names;
    pid_t child; /* 0: none */
    struct loop_source source;
    struct timer limit;
};

/* Reads and probes into a generation, of which only the number is kept; both are borrowed until done is
 * called, once, or the trial abandoned. done may be called before this returns. */
void trial_begin(struct trial *trial, struct generation *generation, struct report *report);

/* Ends one that is under way, without a word. */
void trial_abandon(struct trial *trial);

#endif
