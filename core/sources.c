/* The table of sources: sets of eight places, found by a keyed hash, each set under one of a few locks. */
#include "sources.h"
#include "siphash.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

/* Places of a set, and one more for the crowd: four cache lines together. */
#define PLACES 7

/* Sets, a power of two: 2 MiB to 64 MiB. The fewest are for services that count no connections. */
#define SETS_MIN ((size_t)1 << 13)
#define SETS_MAX ((size_t)1 << 18)

/* Loops meet at a lock once in so many times. */
#define LOCKS 64

struct source {
    struct ip ip;
    rate_bucket bucket;
    uint64_t connections;
};

struct set {
    struct source places[PLACES];
    struct source crowd; /* of those that found no place */
} __attribute__((aligned(64)));

struct lock {
    pthread_mutex_t mutex;
} __attribute__((aligned(64)));

struct sources {
    struct lock locks[LOCKS]; /* of the sets with that number, modulo LOCKS */
    struct source_limits limits;
    struct siphash_key key;
    size_t set_count;
    struct set *sets;
};

struct ip source_of(const struct source_prefix *prefix, const enchufe_address *address)
{
    return ip_prefix(ip_of(address), address->family == ENCHUFE_FAMILY_IPV4
                                         ? CIDR_IPV4 + (unsigned)prefix->ipv4
                                         : (unsigned)prefix->ipv6);
}

struct sources *sources_create(const struct source_limits *limits, size_t count)
{
    struct sources *sources = aligned_alloc(_Alignof(struct sources), sizeof *sources);

    if (sources == NULL)
        return NULL;
    *sources = (struct sources){ .limits = *limits, .set_count = SETS_MIN };
    while (sources->set_count < SETS_MAX && sources->set_count * PLACES < count)
        sources->set_count *= 2;
    /* A key that somebody could guess is no key: without randomness there is no table. */
    if (getrandom(&sources->key, sizeof sources->key, 0) != sizeof sources->key) {
        free(sources);
        return NULL;
    }
    /* Shared (with nobody), so that it does not count as the services' max_memory. */
    sources->sets = mmap(NULL, sources->set_count * sizeof *sources->sets, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sources->sets == MAP_FAILED) {
        free(sources);
        return NULL;
    }
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&sources->locks[i].mutex, NULL);
    return sources;
}

void sources_free(struct sources *sources)
{
    if (sources == NULL)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&sources->locks[i].mutex);
    munmap(sources->sets, sources->set_count * sizeof *sources->sets);
    free(sources);
}

static struct set *lock_set(struct sources *sources, const struct ip *ip, pthread_mutex_t **lock)
{
    size_t number = siphash(&sources->key, ip, sizeof *ip) & (sources->set_count - 1);

    *lock = &sources->locks[number % LOCKS].mutex;
    pthread_mutex_lock(*lock);
    return &sources->sets[number];
}

/* A place that was never used is zeroed, and so is what `::` would have there: nothing. */
static struct source *find(struct set *set, struct ip ip)
{
    for (size_t i = 0; i < PLACES; i++)
        if (ip_equal(set->places[i].ip, ip))
            return &set->places[i];
    return NULL;
}

/* The place of whoever has no connections and the fullest bucket, which is emptied; else the crowd's. */
static struct source *take_place(struct set *set, struct ip ip)
{
    struct source *best = NULL;

    for (size_t i = 0; i < PLACES; i++) {
        struct source *place = &set->places[i];
        if (place->connections == 0 && (best == NULL || place->bucket < best->bucket))
            best = place;
    }
    if (best == NULL)
        return &set->crowd;
    *best = (struct source){ .ip = ip };
    return best;
}

int sources_enter(struct sources *sources, const enchufe_address *address, uint64_t now)
{
    const struct source_limits *limits = &sources->limits;
    struct ip ip = source_of(&limits->prefix, address);
    pthread_mutex_t *lock;
    struct set *set = lock_set(sources, &ip, &lock);
    struct source *source = find(set, ip);
    int reason = 0;

    if (source == NULL)
        source = take_place(set, ip);
    /* In this order, so that who is refused pays no token. */
    if (limits->max_connections != 0 && source->connections >= limits->max_connections)
        reason = ENCHUFE_CLOSED_SOURCE_LIMIT;
    else if (limits->rate.count != 0 && !rate_take(&limits->rate, &source->bucket, now))
        reason = ENCHUFE_CLOSED_SOURCE_RATE;
    else if (limits->max_connections != 0)
        source->connections++;
    pthread_mutex_unlock(lock);
    return reason;
}

/* One connection less. A source may have got its place only after connections that began in the crowd; who
 * leaves is not asked which of them it was. The sums are right: what a source has open and its place does not
 * count, the crowd does. */
static struct source *give_back(struct set *set, struct ip ip)
{
    struct source *source = find(set, ip);

    if (source == NULL || source->connections == 0)
        source = &set->crowd;
    assert(source->connections > 0);
    source->connections--;
    return source;
}

void sources_leave(struct sources *sources, const enchufe_address *address)
{
    if (sources->limits.max_connections == 0)
        return;
    struct ip ip = source_of(&sources->limits.prefix, address);
    pthread_mutex_t *lock;
    struct set *set = lock_set(sources, &ip, &lock);

    give_back(set, ip);
    pthread_mutex_unlock(lock);
}

void sources_undo(struct sources *sources, const enchufe_address *address)
{
    const struct source_limits *limits = &sources->limits;
    struct ip ip = source_of(&limits->prefix, address);
    pthread_mutex_t *lock;
    struct set *set = lock_set(sources, &ip, &lock);
    struct source *source = limits->max_connections != 0 ? give_back(set, ip) : find(set, ip);

    if (limits->rate.count != 0 && source != NULL)
        rate_give_back(&limits->rate, &source->bucket);
    pthread_mutex_unlock(lock);
}
