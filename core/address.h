/* enchufe_address, the contract's address by value, from and to the system's socket addresses. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <enchufe/plugin.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Any other family than IPv4 and IPv6 becomes ENCHUFE_FAMILY_NONE; an IPv4 address in IPv6
 * (::ffff:1.2.3.4) becomes IPv4. */
static inline void address_from_sockaddr(enchufe_address *out, const struct sockaddr *in);

/* The same for all but IPv4; address_from_sockaddr() calls it. */
void address_from_other(enchufe_address *out, const struct sockaddr *in);

/* The socket address for `address`; with as_ipv6, an IPv4 address becomes ::ffff:1.2.3.4, as a socket
 * of both families wants it. Returns its length, 0 for ENCHUFE_FAMILY_NONE; nothing is written behind it. */
socklen_t address_to_sockaddr(const enchufe_address *address, bool as_ipv6,
                              struct sockaddr_storage *out);

/* Asked for every datagram. */
static inline void address_from_sockaddr(enchufe_address *out, const struct sockaddr *in)
{
    struct sockaddr_in v4;

    if (in->sa_family != AF_INET) {
        address_from_other(out, in);
        return;
    }
    memcpy(&v4, in, sizeof v4);
    *out = (enchufe_address){ .family = ENCHUFE_FAMILY_IPV4, .port = ntohs(v4.sin_port) };
    memcpy(out->ip, &v4.sin_addr, sizeof v4.sin_addr);
}

#endif
