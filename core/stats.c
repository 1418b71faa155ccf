/* Counters in shared memory: one mapping with a struct stats for each service and loop, and behind
 * them what there is once a service. Shared and anonymous, so that workers inherit it over fork and
 * what they counted stays readable when they crash. */
#include "stats.h"

#include <assert.h>
#include <sys/mman.h>

#define STATS_WORDS (sizeof(struct stats) / sizeof(uint64_t))

/* What there is once for each service, however many loops it has. */
struct service_stats {
    _Atomic int64_t connections; /* open now; every loop counts here */
    char names[STATS_PLUGIN_COUNTERS][STATS_COUNTER_NAME];
    char plugin[STATS_PLUGIN_NAME], version[STATS_PLUGIN_NAME];
} __attribute__((aligned(64)));

struct stats_table {
    size_t size; /* of the mapping */
    size_t services, loops;
    struct service_stats *per_service; /* after the last of stats */
    _Atomic int64_t connections;       /* of all services */
    /* Aligned to a cache line, because two loops that count in one would slow each other. */
    struct stats stats[];
};

struct stats_table *stats_create(size_t services, size_t loops)
{
    size_t cells, stats_size, service_size, size;
    struct stats_table *table;

    if (__builtin_mul_overflow(services, loops, &cells) ||
        __builtin_mul_overflow(cells, sizeof(struct stats), &stats_size) ||
        __builtin_mul_overflow(services, sizeof(struct service_stats), &service_size) ||
        __builtin_add_overflow(stats_size, service_size, &size) ||
        __builtin_add_overflow(size, sizeof *table, &size))
        return NULL;
    table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        return NULL;
    table->size = size;
    table->services = services;
    table->loops = loops;
    table->per_service = (struct service_stats *)(void *)(table->stats + cells);
    return table;
}

void stats_destroy(struct stats_table *table)
{
    if (table)
        munmap(table, table->size);
}

struct stats *stats_at(struct stats_table *table, size_t service, size_t loop)
{
    assert(service < table->services && loop < table->loops);
    return &table->stats[service * table->loops + loop];
}

void stats_sum(struct stats_table *table, size_t service, struct stats *out)
{
    _Atomic uint64_t *sum = (_Atomic uint64_t *)(void *)out;

    /* A struct stats is counters and nothing else, so that it can be summed as an array. */
    for (size_t i = 0; i < STATS_WORDS; i++) {
        uint64_t total = 0;

        for (size_t loop = 0; loop < table->loops; loop++) {
            const struct stats *stats = stats_at(table, service, loop);

            total += atomic_load_explicit((const _Atomic uint64_t *)(const void *)stats + i,
                                          memory_order_relaxed);
        }
        atomic_store_explicit(sum + i, total, memory_order_relaxed);
    }
}

void stats_merge(struct stats *sum, const struct stats *more)
{
    _Atomic uint64_t *to = (_Atomic uint64_t *)(void *)sum;
    const _Atomic uint64_t *from = (const _Atomic uint64_t *)(const void *)more;

    for (size_t i = 0; i < STATS_WORDS; i++)
        stats_add(to + i, atomic_load_explicit(from + i, memory_order_relaxed));
}

uint64_t stats_refused(const struct stats *stats)
{
    return stats->reasons[ENCHUFE_CLOSED_LIMIT] + stats->reasons[ENCHUFE_CLOSED_DENIED] +
           stats->reasons[ENCHUFE_CLOSED_SOURCE_LIMIT] + stats->reasons[ENCHUFE_CLOSED_SOURCE_RATE];
}

static void count_connections(struct stats_table *table, size_t service, int64_t n)
{
    assert(service < table->services);
    atomic_fetch_add_explicit(&table->per_service[service].connections, n, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->connections, n, memory_order_relaxed);
}

void stats_connection_began(struct stats_table *table, size_t service)
{
    count_connections(table, service, 1);
}

void stats_connection_ended(struct stats_table *table, size_t service)
{
    count_connections(table, service, -1);
}

int64_t stats_connections(const struct stats_table *table, size_t service)
{
    assert(service < table->services);
    return atomic_load_explicit(&table->per_service[service].connections, memory_order_relaxed);
}

int64_t stats_connections_all(const struct stats_table *table)
{
    return atomic_load_explicit(&table->connections, memory_order_relaxed);
}

void stats_forget_connections(struct stats_table *table, size_t service)
{
    int64_t n = stats_connections(table, service);
    struct stats *stats = stats_at(table, service, 0);

    /* The worker is gone, so that its counters have no other writer now. */
    count_connections(table, service, -n);
    if (n <= 0)
        return;
    stats_add(&stats->closed, (uint64_t)n);
    stats_add(&stats->reasons[ENCHUFE_CLOSED_WORKER_DIED], (uint64_t)n);
}

char *stats_counter_name(struct stats_table *table, size_t service, size_t counter)
{
    assert(service < table->services && counter < STATS_PLUGIN_COUNTERS);
    return table->per_service[service].names[counter];
}

char *stats_plugin_name(struct stats_table *table, size_t service)
{
    assert(service < table->services);
    return table->per_service[service].plugin;
}

char *stats_plugin_version(struct stats_table *table, size_t service)
{
    assert(service < table->services);
    return table->per_service[service].version;
}
