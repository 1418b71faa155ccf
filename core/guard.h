/* Who may come in at all: allow and deny, rate_per_source and max_connections_per_source of one service, for
 * its connections or for its datagrams. Decided before the plugin hears of anybody. */
#ifndef GUARD_H
#define GUARD_H

#include "config.h"
#include "sources.h"

struct guard {
    bool on;                        /* there is anything to ask */
    const struct cidr_list *access; /* the configuration's; NULL: everybody */
    struct source_prefix prefix;
    struct sources *sources; /* NULL: no limit by source */
};

/* What the limits say of connections, and of datagrams. most: connections that there can be. Return 0 or
 * -errno; guard_free() is due in both cases. */
int guard_streams(struct guard *guard, const struct service_limits *limits, size_t most);
int guard_datagrams(struct guard *guard, const struct service_limits *limits);
void guard_free(struct guard *guard);

/* Returns 0, or the enum enchufe_reason why not. now: clock_ms(). A connection that got 0 has a place among
 * its source's, which guard_leave() gives back. Any thread. */
int guard_enter(const struct guard *guard, const enchufe_address *peer, uint64_t now);

/* Undoes a guard_enter() that returned 0, for who is refused after all: it costs that source nothing. */
static inline void guard_undo(const struct guard *guard, const enchufe_address *peer)
{
    if (guard->sources != NULL && peer->family != ENCHUFE_FAMILY_NONE)
        sources_undo(guard->sources, peer);
}

static inline void guard_leave(const struct guard *guard, const enchufe_address *peer)
{
    if (guard->sources != NULL && peer->family != ENCHUFE_FAMILY_NONE)
        sources_leave(guard->sources, peer);
}

#endif
