/* The log of the master, for as long as it serves: where it goes, that it can be moved, and that what was lost is told. */
#ifndef MASTER_LOG_H
#define MASTER_LOG_H

#include "log_sink.h"
#include "loop.h"

struct master_log {
    struct loop *loop;
    struct loop_source bell; /* lines were lost, in whichever process */
    struct timer retell;     /* runs while there are lost lines that were not told */
    char *target;            /* as server_config.log says; owned */
};

/* The log goes to `target` already (log_sink_open()); the loop is the caller's, and not running yet. */
void master_log_begin(struct master_log *log, struct loop *loop, const char *target);
void master_log_end(struct master_log *log);

/* The log goes on where a configuration says; workers that run already stay where they are. Returns 0 or -errno. */
int master_log_take(struct master_log *log, const char *target);

/* Whoever rotates logs moved the file away: opens it anew. The descriptor's number stays. Returns another descriptor of
 * it, for the workers, which is the caller's; or -1: there is no file, or it cannot be opened, and that was logged. */
int master_log_reopen(struct master_log *log);

/* For when a process has ended, which may have lost lines and not come to ring the bell. */
void master_log_look(struct master_log *log);

#endif
