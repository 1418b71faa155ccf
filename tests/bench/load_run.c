/* The window of a measure: when it begins and ends, and what the clocks say at both. */
#include "common.h"
#include "load.h"
#include "processes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct run_clocks {
    uint64_t wall, server, helper, own;
    struct core_times core;
};

static uint64_t processes_time(const pid_t *list)
{
    uint64_t sum = 0;

    for (int i = 0; i < LOAD_PROCESSES && list[i] != 0; i++)
        sum += process_tree_time(list[i]);
    return sum;
}

static uint64_t own_time(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void read_clocks(const struct load_options *options, struct run_clocks *clocks)
{
    clocks->server = processes_time(options->servers);
    clocks->helper = processes_time(options->helpers);
    clocks->core = core_times(options->core < 0 ? 0 : options->core);
    clocks->own = own_time();
    clocks->wall = now_ns();
}

void run_start(struct run *run, const struct load_options *options)
{
    uint64_t now = now_ns();

    *run = (struct run){ .options = options,
                         .begins = now + options->warmup_ns,
                         .clocks = zeroed(2, sizeof *run->clocks) };
}

static void begin(struct run *run)
{
    read_clocks(run->options, &run->clocks[0]);
    run->counting = true;
    run->begins = run->clocks[0].wall;
    run->ends = run->begins + run->options->window_ns;
    run->done = run->lost = run->bytes = 0;
    memset(&run->latencies, 0, sizeof run->latencies);
}

bool run_goes_on(struct run *run)
{
    uint64_t wanted = run->options->requests;
    uint64_t now = now_ns();

    if (!run->counting) {
        if (now >= run->begins)
            begin(run);
        return true;
    }
    if (wanted != 0 ? run->done < wanted : now < run->ends)
        return true;
    read_clocks(run->options, &run->clocks[1]);
    return false;
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

void run_report(const struct run *run)
{
    const struct run_clocks *from = &run->clocks[0], *to = &run->clocks[1];
    const struct histogram *latencies = &run->latencies;
    double seconds = (double)(to->wall - from->wall) / 1e9;
    double requests = (double)(run->done != 0 ? run->done : 1);

    printf("{\"requests\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"seconds\": %.6f, ",
           run->done, run->lost, run->bytes, seconds);
    printf("\"per_second\": %.1f, \"cpu_ns\": %.2f, ", (double)run->done / seconds,
           (double)(to->server - from->server) / requests);
    printf("\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f, ",
           (double)histogram_quantile(latencies, 0.5) / 1e3,
           (double)histogram_quantile(latencies, 0.99) / 1e3,
           (double)histogram_quantile(latencies, 0.999) / 1e3, (double)latencies->max / 1e3);
    printf("\"wall_ms\": %.3f, \"server_ms\": %.3f, \"helper_ms\": %.3f, \"load_ms\": %.3f, ",
           ms(to->wall - from->wall), ms(to->server - from->server), ms(to->helper - from->helper),
           ms(to->own - from->own));
    printf("\"idle_ms\": %.3f, \"stolen_ms\": %.3f}\n", ms(to->core.idle - from->core.idle),
           ms(to->core.stolen - from->core.stolen));
}
