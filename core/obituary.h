/* Of what a worker died, and who is to blame: read from what it left in shared memory. */
#ifndef OBITUARY_H
#define OBITUARY_H

#include "config.h"
#include "trace.h"
#include <sys/types.h>

#define OBITUARY_TEXT 160

struct obituary {
    const struct config *config;
    const struct trace *trace;
    const char *worker; /* its name */
    pid_t pid;
};

/* Logs the death with its backtrace. status is waitpid()'s; summary gets the line that `status` shows.
 * Returns the service to blame (an index in the configuration), or -1. */
int obituary_write(const struct obituary *obituary, int status, char summary[OBITUARY_TEXT]);

/* Logs that a worker is about to be killed, and in which callback it is. why: `does not start`. summary
 * and what is returned are as above. */
int obituary_killed(const struct obituary *obituary, const char *why, char summary[OBITUARY_TEXT]);

#endif
