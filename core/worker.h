/* One worker process: its services, and its loops, a thread each. It takes orders from the master's
 * channel only, and ends when the channel does. */
#ifndef WORKER_H
#define WORKER_H

#include "config.h"
#include "plugin_file.h"
#include "privileges.h"
#include "sockets.h"
#include "stats.h"
#include "trace.h"

/* What a worker is to do. Everything belongs to the master and is inherited by fork. */
struct worker_setup {
    const struct config *config;
    const size_t *services; /* which of the configuration's services */
    size_t service_count;
    size_t loops;
    const struct sockets *sockets;
    struct plugin_file *const *files; /* of each service of the configuration */
    struct stats_table *counters;
    struct trace *trace; /* slots for that many loops */
    const struct identity *identity;
    int log_fd;
    pid_t master;
    int channel;
    /* --debug, where the worker is the whole server: a signalfd (else -1), and what to call in place of
     * telling the master that all loops accept. */
    int signals;
    void (*ready)(void *context);
    void *context;
};

/* How many loops a service uses in a worker with that many. */
size_t worker_loops_of(const struct service_config *service, size_t loops);

/* Serves until it is told to end. Returns the process's exit status. */
int worker_run(const struct worker_setup *setup);

#endif
