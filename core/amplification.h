/* How much a datagram may be answered with. Its sender's address can be forged, so that whoever answers
 * with more than came helps to flood somebody else: until an address has proven itself, replies are
 * limited to a multiple of what came from it (RFC 9000, section 8.1).
 *
 * Both are counted as they are on the wire, with IP and UDP headers. The headers of further fragments are
 * not: how small the path cuts is not known here, and they are at most 3.4 % (of 1,500 bytes over IPv6). */
#ifndef AMPLIFICATION_H
#define AMPLIFICATION_H

#include <enchufe/plugin.h>

/* Where neither the section nor the plugin says another. */
#define AMPLIFICATION_RATIO 3

static inline uint64_t amplification_wire(const enchufe_address *peer, size_t len)
{
    enum { IPV4_HEADER = 20, IPV6_HEADER = 40, UDP_HEADER = 8 };

    return len + UDP_HEADER + (peer->family == ENCHUFE_FAMILY_IPV4 ? IPV4_HEADER : IPV6_HEADER);
}

/* What may be sent because of len bytes from peer. Cannot overflow: a datagram is shorter than 2^17. */
static inline uint64_t amplification_budget(uint32_t ratio, const enchufe_address *peer, size_t len)
{
    return ratio * amplification_wire(peer, len);
}

/* Takes len bytes to peer out of the budget. Returns whether there was that much left. */
static inline bool amplification_spend(uint64_t *budget, const enchufe_address *peer, size_t len)
{
    uint64_t wire = amplification_wire(peer, len);

    if (wire > *budget)
        return false;
    *budget -= wire;
    return true;
}

#endif
