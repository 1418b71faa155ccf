/* What the master tells a worker as it forks it. */
#ifndef WORKER_SETUP_H
#define WORKER_SETUP_H

#include "config.h"
#include "cpus.h"
#include "log_batch.h"
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
    size_t tasks;            /* threads of all workers of the generation */
    const struct cpus *pins; /* loop i is bound to the i-th of these; NULL: to none */
    const struct sockets *sockets;
    struct plugin_file *const *files; /* of each service of the configuration */
    struct stats_table *counters;
    struct trace *trace;  /* slots for that many loops */
    struct log_kept *log; /* one for each loop; NULL: lines are written at once */
    const struct identity *identity;
    pid_t master;
    int channel;
    /* --debug, where the worker is the whole server: a signalfd (else -1), and what to call in place of
     * telling the master that all loops accept. */
    int signals;
    void (*ready)(void *context);
    void *context;
};

/* Whether the server has other workers, with whose loops this one's compete for the processors (slice.h). */
static inline bool worker_has_neighbours(const struct worker_setup *setup)
{
    return setup->service_count < setup->config->service_count;
}

#endif
