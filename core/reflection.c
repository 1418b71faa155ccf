/* Telling services from clients by their addresses. */
#include "reflection.h"
#include <string.h>

void reflection_init(struct reflection *reflection, const struct sockets *sockets)
{
    *reflection = (struct reflection){ .sockets = sockets, .lowest = UINT16_MAX };
    for (size_t i = 0; i < sockets->count; i++) {
        const struct endpoint *endpoint = &sockets->items[i].listener->endpoint;
        uint16_t port = endpoint->address.port;
        if (endpoint->kind != ENCHUFE_UDP)
            continue;
        reflection->ports[port / 8] |= (unsigned char)(1u << port % 8);
        if (port < reflection->lowest)
            reflection->lowest = port;
        if (port > reflection->highest)
            reflection->highest = port;
    }
}

static bool same_ip(const enchufe_address *a, const enchufe_address *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static bool is_loopback(const enchufe_address *address)
{
    static const uint8_t v6[16] = { [15] = 1 };

    return address->family == ENCHUFE_FAMILY_IPV4 ? address->ip[0] == 127
                                                  : memcmp(address->ip, v6, sizeof v6) == 0;
}

static bool is_wildcard(const struct endpoint *endpoint)
{
    static const uint8_t zero[16];

    return endpoint->any || memcmp(endpoint->address.ip, zero, sizeof zero) == 0;
}

/* A peer elsewhere may use the same port as we do; only one at our own addresses is us. */
bool reflection_is_own(const struct reflection *reflection, const enchufe_route *route)
{
    for (size_t i = 0; i < reflection->sockets->count; i++) {
        const struct endpoint *endpoint = &reflection->sockets->items[i].listener->endpoint;
        if (endpoint->kind != ENCHUFE_UDP || endpoint->address.port != route->peer.port)
            continue;
        if (is_wildcard(endpoint)
                ? same_ip(&route->peer, &route->local) || is_loopback(&route->peer)
                : same_ip(&route->peer, &endpoint->address))
            return true;
    }
    return false;
}

bool reflection_is_odd_host(const enchufe_address *address)
{
    static const uint8_t unspecified[16], everybody[4] = { 255, 255, 255, 255 };
    const uint8_t *ip = address->ip;

    if (address->family == ENCHUFE_FAMILY_IPV6)
        return ip[0] != 0xff && memcmp(ip, unspecified, 16) != 0;
    return (ip[0] & 0xf0) != 0xe0 && memcmp(ip, everybody, 4) != 0 &&
           memcmp(ip, unspecified, 4) != 0;
}
