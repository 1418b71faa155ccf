/* `run --debug`: the server without workers. */
#include "debug.h"
#include "channel.h"
#include "log.h"
#include "worker_post.h"
#include <stdlib.h>
#include <unistd.h>

/* Says why the worker in this process could not start. */
static void log_start_failure(const int ends[2])
{
    struct channel_packet packet;

    if (channel_receive(ends[1], &packet) == 1 && packet.type == CHANNEL_FAILED)
        log_event(ENCHUFE_LOG_ERROR, "worker cannot start", LOG_STR("error", packet.text));
}

static void log_debug_ready(void *context)
{
    generation_log_ready(context);
}

/* The worker in this process, with every service: debuggers then need not follow a fork. */
int debug_run(struct generation *generation, struct handover *handover, int signals)
{
    size_t count = generation->config->service_count;
    struct group all = { .services = calloc(count, sizeof(size_t)), .service_count = count };
    struct report report = { .lines = NULL };
    int ends[2], status = 1;

    for (size_t i = 0; i < generation->group_count; i++)
        if (generation->groups[i].loops > all.loops)
            all.loops = generation->groups[i].loops;
    struct trace *trace = trace_create(all.loops);
    if (all.services == NULL || trace == NULL || channel_create(ends) != 0)
        goto out;
    for (size_t i = 0; i < count; i++)
        all.services[i] = i;
    struct worker_setup setup = worker_post_setup(generation, &all, trace);
    setup.channel = ends[0];
    setup.signals = signals;
    setup.ready = log_debug_ready;
    setup.context = generation;
    if (sockets_open(&generation->sockets, generation->config, &report) == 0) {
        sockets_retire(&generation->sockets, true);
        handover_end(handover, true);
        status = worker_run(&setup);
    }
    report_print(&report, stderr);
    report_free(&report);
    if (status != 0)
        log_start_failure(ends);
    close(ends[0]);
    close(ends[1]);
    generation_log_served(generation);
out:
    trace_destroy(trace);
    free(all.services);
    return status;
}
