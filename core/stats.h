/* Counters in memory that master and workers share. One struct for each service and loop, written by
 * that loop's thread only, so that counting is one add; they outlive a worker that crashes. */
#ifndef STATS_H
#define STATS_H

#include "reasons.h"
#include <stdatomic.h>

#define STATS_PLUGIN_COUNTERS 16
#define STATS_COUNTER_NAME 32
#define STATS_PLUGIN_NAME 64

/* COUNTER(field, what it counts) */
/* clang-format off */
#define COUNTERS(COUNTER)                                                                      \
    COUNTER(opened, "connections accepted")                                                    \
    COUNTER(closed, "connections ended")                                                       \
    COUNTER(bytes_in, "bytes received on connections")                                         \
    COUNTER(bytes_out, "bytes sent on connections")                                            \
    COUNTER(datagrams_in, "datagrams received")                                                \
    COUNTER(datagrams_out, "datagrams sent")                                                   \
    COUNTER(datagrams_unsent, "datagrams that the system did not take for sending")            \
    COUNTER(datagrams_refused, "datagrams not sent, because they went to what looks like a service")   \
    COUNTER(accept_pauses, "times that accepting paused for want of descriptors or memory")      \
    COUNTER(datagrams_to_groups, "datagrams not sent, for multicast or broadcast on either way") \
    COUNTER(datagrams_over_ratio, "datagrams not sent, because of max_reply_ratio")   \
    COUNTER(datagrams_denied, "datagrams dropped, because their address is not allowed")       \
    COUNTER(datagrams_over_rate, "datagrams dropped, because they came faster than rate_per_source")
/* clang-format on */

struct stats {
#define COUNTER(field, help) _Atomic uint64_t field;
    COUNTERS(COUNTER)
#undef COUNTER
    _Atomic uint64_t reasons[REASON_COUNT]; /* ended or refused, by reason */
    _Atomic uint64_t plugin[STATS_PLUGIN_COUNTERS];
} __attribute__((aligned(64)));

/* All counters of one generation, [service][loop]. */
struct stats_table;

/* Zeroed shared memory, inherited over fork. NULL without memory. */
struct stats_table *stats_create(size_t services, size_t loops);
void stats_destroy(struct stats_table *table);
struct stats *stats_at(struct stats_table *table, size_t service, size_t loop);

/* The sum over all loops. */
void stats_sum(struct stats_table *table, size_t service, struct stats *out);

/* Adds what `more` counts to sum; both are the caller's own. */
void stats_merge(struct stats *sum, const struct stats *more);

/* Connections that were refused before they began. */
uint64_t stats_refused(const struct stats *stats);

/* Connections open now, of a service and of the whole server, over all loops and workers. A shared count,
 * because limits need it exactly; touched twice in a connection's life. */
void stats_connection_began(struct stats_table *table, size_t service);
void stats_connection_ended(struct stats_table *table, size_t service);
int64_t stats_connections(const struct stats_table *table, size_t service);
int64_t stats_connections_all(const struct stats_table *table);

/* The connections that a worker took along as it died: counted under a reason of its own. For the master, after
 * the worker's end. */
void stats_forget_connections(struct stats_table *table, size_t service);

/* Names of a service's own counters, written by its worker as it starts; "" for none. */
char *stats_counter_name(struct stats_table *table, size_t service, size_t counter);

/* Name and version of a service's plugin, each with room for STATS_PLUGIN_NAME and cut there; written by its worker
 * as well, since nobody else has opened it. */
char *stats_plugin_name(struct stats_table *table, size_t service);
char *stats_plugin_version(struct stats_table *table, size_t service);

/* The owner's add: no other thread writes the counter, so this needs no locked instruction. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
