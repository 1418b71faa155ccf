/* Whom a datagram may not be answered. Two services that answer each other do so for ever, and one
 * datagram with a forged sender is enough to begin it (VU#417980; 870,000 datagrams in 3 s were measured
 * between two echo services). What is sent to multicast or broadcast is answered by every host that serves
 * it, which a forged sender would get all of; and a reply to such an address reaches every one. */
#ifndef REFLECTION_H
#define REFLECTION_H

#include "sockets.h"

/* The server's own UDP endpoints. */
struct reflection {
    const struct sockets *sockets;
    uint16_t lowest,
        highest; /* of their ports: most clients' are outside, which needs no look at the bits */
    unsigned char ports[65536 / 8]; /* a bit for each port of theirs */
};

/* sockets is borrowed. */
void reflection_init(struct reflection *reflection, const struct sockets *sockets);

/* Whether an address can be one host's: neither multicast, nor broadcast (as far as an address tells; those
 * of subnets it does not), nor unspecified. */
static inline bool reflection_is_host(const enchufe_address *address);

/* The same for addresses that begin as only few do; reflection_is_host() calls it. */
bool reflection_is_odd_host(const enchufe_address *address);

/* Whether the peer of a route is likely a service itself: a source port below 1024, or an endpoint of this
 * server. fd is a UDP socket of the peer's family, or an IPv6 one of both (as_ipv6), that the system can be
 * asked with; only where the port is one of ours. */
static inline bool reflection_suspects(const struct reflection *reflection,
                                       const enchufe_route *route, int fd, bool as_ipv6);

/* Whether the peer, which has the port of an endpoint of this server, is that endpoint; reflection_suspects()
 * calls it. */
bool reflection_is_own(const struct reflection *reflection, const enchufe_route *route, int fd,
                       bool as_ipv6);

/* Asked for every datagram, so the first byte decides where it can. */
static inline bool reflection_is_host(const enchufe_address *address)
{
    uint8_t first = address->ip[0];

    return (first != 0 && first < 224) || reflection_is_odd_host(address);
}

/* Services, echo and chargen among them, have ports below 1024; clients get theirs from the system, above. */
static inline bool reflection_suspects(const struct reflection *reflection,
                                       const enchufe_route *route, int fd, bool as_ipv6)
{
    unsigned port = route->peer.port;

    return port < 1024 || (port >= reflection->lowest && port <= reflection->highest &&
                           (reflection->ports[port / 8] & 1u << port % 8) != 0 &&
                           reflection_is_own(reflection, route, fd, as_ipv6));
}

#endif
