/* Telling services from clients by their addresses. */
#include "reflection.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* The kernel's name; the C library calls the same bit MSG_PROXY. */
#ifndef MSG_PROBE
#define MSG_PROBE 0x10
#endif

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

/* Whether an address is this machine's now, which has more than any list of ours would know (IPv6 changes
 * them daily): the system refuses to send from one that is not. MSG_PROBE keeps it from sending at all. */
static bool is_of_this_machine(const enchufe_address *address, int fd, bool as_ipv6)
{
    struct sockaddr_storage name;
    union {
        struct cmsghdr align;
        unsigned char room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control = { .room = { 0 } };
    struct msghdr header = { .msg_name = &name, .msg_control = &control };

    header.msg_namelen = address_to_sockaddr(address, as_ipv6, &name);
    if (as_ipv6) {
        struct in6_pktinfo from = { .ipi6_addr = ((struct sockaddr_in6 *)&name)->sin6_addr,
                                    .ipi6_ifindex = address->scope };
        control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof from),
                                          .cmsg_level = IPPROTO_IPV6,
                                          .cmsg_type = IPV6_PKTINFO };
        memcpy(CMSG_DATA(&control.align), &from, sizeof from);
        header.msg_controllen = CMSG_SPACE(sizeof from);
    } else {
        struct in_pktinfo from = { .ipi_spec_dst = ((struct sockaddr_in *)&name)->sin_addr };
        control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof from),
                                          .cmsg_level = IPPROTO_IP,
                                          .cmsg_type = IP_PKTINFO };
        memcpy(CMSG_DATA(&control.align), &from, sizeof from);
        header.msg_controllen = CMSG_SPACE(sizeof from);
    }
    return sendmsg(fd, &header, MSG_CONFIRM | MSG_PROBE | MSG_NOSIGNAL) == 0;
}

static bool is_wildcard(const struct endpoint *endpoint)
{
    static const uint8_t zero[16];

    return endpoint->any || memcmp(endpoint->address.ip, zero, sizeof zero) == 0;
}

/* A peer elsewhere may use the same port as we do; only one at our own addresses is us. */
bool reflection_is_own(const struct reflection *reflection, const enchufe_route *route, int fd,
                       bool as_ipv6)
{
    for (size_t i = 0; i < reflection->sockets->count; i++) {
        const struct endpoint *endpoint = &reflection->sockets->items[i].listener->endpoint;
        if (endpoint->kind != ENCHUFE_UDP || endpoint->address.port != route->peer.port)
            continue;
        if (is_wildcard(endpoint) ? is_of_this_machine(&route->peer, fd, as_ipv6)
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
