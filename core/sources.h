/* The sources of one service in one worker: how many connections each has open, and how fast it comes. A
 * source is an address up to a prefix. Shared by the worker's loops.
 *
 * The table is as large as it was made; nothing that arrives makes it grow. A source lives in one set of a
 * few places, which a keyed hash chooses, so that every call looks at one set and nobody can aim at one.
 *
 *   - A source without connections whose bucket is full is as good as unknown: its place is free.
 *   - Where no place of a set is free, the source without connections whose bucket is nearest to full goes: it
 *     loses least. Whoever floods is the last to go.
 *   - A source with open connections keeps its place. Where all places of a set are such, who comes new
 *     shares the set's last place, the crowd, and is held to the limits of one source together with the others
 *     there, until a place is free. The table has room for twice as many sources as there can be connections,
 *     so that few ever do. */
#ifndef SOURCES_H
#define SOURCES_H

#include "cidr.h"
#include "rate.h"
#include <stddef.h>

/* The bits of an address that make a source. */
struct source_prefix {
    uint8_t ipv4, ipv6; /* 1 to 32, 1 to 128; both 0: not said */
};

/* The source that an address belongs to. */
struct ip source_of(const struct source_prefix *prefix, const enchufe_address *address);

struct source_limits {
    struct source_prefix prefix;
    struct rate rate;         /* count 0: any */
    uint64_t max_connections; /* open at once; 0: any */
};

struct sources;

/* A table for `count` sources, within bounds that sources.c names. Its memory is the system's to give as it is
 * used. Returns NULL with errno set. */
struct sources *sources_create(const struct source_limits *limits, size_t count);
void sources_free(struct sources *sources);

/* One more from this source. Returns 0, or the enum enchufe_reason why not: ENCHUFE_CLOSED_SOURCE_LIMIT or
 * ENCHUFE_CLOSED_SOURCE_RATE; then nothing changed. Where there is a max_connections, each 0 is to be followed
 * by one sources_leave() with the same address. now: clock_ms(). Any thread. */
int sources_enter(struct sources *sources, const enchufe_address *address, uint64_t now);
void sources_leave(struct sources *sources, const enchufe_address *address);

/* In place of sources_leave(), right after a sources_enter() that returned 0: as if it had not been. */
void sources_undo(struct sources *sources, const enchufe_address *address);

#endif
