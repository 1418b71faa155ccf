/* Prefixes of addresses (`10.0.0.0/8`, `2001:db8::/32`): from text, and lists of who is allowed and who is
 * denied, compiled so that a look-up does not depend on how many prefixes match. */
#ifndef CIDR_H
#define CIDR_H

#include <enchufe/plugin.h>

/* An address of either family as one number: IPv4 as ::ffff:1.2.3.4. */
struct ip {
    uint64_t high, low;
};

/* The address, for any family but ENCHUFE_FAMILY_NONE. */
struct ip ip_of(const enchufe_address *address);

/* Its first `bits` bits (0 to 128), the others 0. */
static inline struct ip ip_prefix(struct ip ip, unsigned bits)
{
    uint64_t high = bits >= 64 ? UINT64_MAX : bits == 0 ? 0 : UINT64_MAX << (64 - bits);
    uint64_t low = bits >= 128 ? UINT64_MAX : bits <= 64 ? 0 : UINT64_MAX << (128 - bits);

    return (struct ip){ .high = ip.high & high, .low = ip.low & low };
}

static inline bool ip_equal(struct ip a, struct ip b)
{
    return a.high == b.high && a.low == b.low;
}

/* How many bits an IPv4 prefix has more as part of ::ffff:0:0/96. */
#define CIDR_IPV4 96

struct cidr {
    struct ip first; /* the bits beyond the prefix are 0 */
    unsigned bits;   /* 0 to 128; of IPv4 CIDR_IPV4 to 128 */
};

/* An address or ADDRESS/BITS, strictly: no host names, no zones, no bits beyond the prefix. Returns 0, or
 * -EINVAL with a sentence in error that says what would be right. */
#define CIDR_ERROR 256
int cidr_parse(const char *text, struct cidr *out, char error[CIDR_ERROR]);

/* Who is allowed and who is denied. The longest prefix that matches decides; of two equal ones deny. What
 * matches none is allowed where allow_count is 0. `::/0` says nothing of IPv4. One block of memory, to be
 * freed with free(); NULL without memory. */
struct cidr_list *cidr_compile(const struct cidr *allow, size_t allow_count,
                               const struct cidr *deny, size_t deny_count);

/* A binary search. Any thread. Addresses of no family are allowed: a Unix socket's file has permissions. */
bool cidr_allows(const struct cidr_list *list, const enchufe_address *address);

#endif
