/* SipHash-2-4 (Aumasson and Bernstein, 2012): a hash that nobody can choose collisions of without its key. */
#ifndef SIPHASH_H
#define SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t k0, k1; /* the key's bytes 0 to 7 and 8 to 15, least significant first */
};

uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);

#endif
