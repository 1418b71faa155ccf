/* From the limits of a section to what is asked of each connection and datagram. */
#include "guard.h"

#include <errno.h>

/* Datagrams' senders are forged easily within a network, so that a network is what counts. */
static const struct source_prefix of_streams = { .ipv4 = 32, .ipv6 = 64 };
static const struct source_prefix of_datagrams = { .ipv4 = 24, .ipv6 = 56 };

static int set_up(struct guard *guard, const struct service_limits *limits,
                  const struct source_limits *by_source, size_t count)
{
    *guard = (struct guard){ .access = limits->access, .prefix = by_source->prefix };
    if (by_source->rate.count != 0 || by_source->max_connections != 0) {
        guard->sources = sources_create(by_source, count);
        if (guard->sources == NULL)
            return -errno;
    }
    guard->on = guard->access != NULL || guard->sources != NULL;
    return 0;
}

static struct source_prefix prefix_of(const struct service_limits *limits,
                                      struct source_prefix otherwise)
{
    return limits->source_prefix.ipv4 != 0 ? limits->source_prefix : otherwise;
}

int guard_streams(struct guard *guard, const struct service_limits *limits, size_t most)
{
    const struct source_limits by_source = {
        .prefix = prefix_of(limits, of_streams),
        .rate = limits->rate_per_source,
        .max_connections = (uint64_t)limits->max_connections_per_source,
    };

    return set_up(guard, limits, &by_source, by_source.max_connections != 0 ? 2 * most : 0);
}

int guard_datagrams(struct guard *guard, const struct service_limits *limits)
{
    const struct source_limits by_source = { .prefix = prefix_of(limits, of_datagrams),
                                             .rate = limits->rate_per_source };

    return set_up(guard, limits, &by_source, 0);
}

void guard_free(struct guard *guard)
{
    sources_free(guard->sources);
    *guard = (struct guard){ .on = false };
}

int guard_enter(const struct guard *guard, const enchufe_address *peer, uint64_t now)
{
    if (guard->access != NULL && !cidr_allows(guard->access, peer))
        return ENCHUFE_CLOSED_DENIED;
    return guard->sources != NULL ? sources_enter(guard->sources, peer, now) : 0;
}
