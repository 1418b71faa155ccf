/* Addresses by value: to text, and from and to what the socket calls want. */
#include "address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

const char *enchufe_address_format(const enchufe_address *address, char *text, size_t size)
{
    char ip[INET6_ADDRSTRLEN];

    switch (address->family) {
    case ENCHUFE_FAMILY_IPV4:
        inet_ntop(AF_INET, address->ip, ip, sizeof ip);
        snprintf(text, size, "%s:%u", ip, address->port);
        break;
    case ENCHUFE_FAMILY_IPV6:
        inet_ntop(AF_INET6, address->ip, ip, sizeof ip);
        if (address->scope)
            snprintf(text, size, "[%s%%%u]:%u", ip, address->scope, address->port);
        else
            snprintf(text, size, "[%s]:%u", ip, address->port);
        break;
    default:
        snprintf(text, size, "unix");
    }
    return text;
}

void address_from_other(enchufe_address *out, const struct sockaddr *in)
{
    struct sockaddr_in6 v6;

    *out = (enchufe_address){ .family = ENCHUFE_FAMILY_NONE };
    if (in->sa_family == AF_INET6) {
        memcpy(&v6, in, sizeof v6);
        out->port = ntohs(v6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            out->family = ENCHUFE_FAMILY_IPV4;
            memcpy(out->ip, v6.sin6_addr.s6_addr + 12, 4);
        } else {
            out->family = ENCHUFE_FAMILY_IPV6;
            out->scope = v6.sin6_scope_id;
            memcpy(out->ip, &v6.sin6_addr, 16);
        }
    }
}

static socklen_t ipv6_to_sockaddr(const enchufe_address *address, struct sockaddr_storage *out)
{
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(address->port),
        .sin6_scope_id = address->scope,
    };

    if (address->family == ENCHUFE_FAMILY_IPV4) {
        v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(v6.sin6_addr.s6_addr + 12, address->ip, 4);
    } else {
        memcpy(&v6.sin6_addr, address->ip, 16);
    }
    memcpy(out, &v6, sizeof v6);
    return sizeof v6;
}

socklen_t address_to_sockaddr(const enchufe_address *address, bool as_ipv6,
                              struct sockaddr_storage *out)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(address->port) };

    out->ss_family = AF_UNSPEC;
    if (address->family == ENCHUFE_FAMILY_NONE)
        return 0;
    if (as_ipv6 || address->family == ENCHUFE_FAMILY_IPV6)
        return ipv6_to_sockaddr(address, out);
    memcpy(&v4.sin_addr, address->ip, 4);
    memcpy(out, &v4, sizeof v4);
    return sizeof v4;
}
