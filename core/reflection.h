/* Whom a datagram may not be answered: two services that answer each other do so for ever, and one
 * datagram with a forged sender is enough to begin it (VU#417980; 870,000 datagrams in 3 s were measured
 * between two echo services). */
#ifndef REFLECTION_H
#define REFLECTION_H

#include "sockets.h"

/* The server's own UDP endpoints. */
struct reflection {
    const struct sockets *sockets;
    unsigned char ports[65536 / 8]; /* a bit for each port of theirs */
};

/* sockets is borrowed. */
void reflection_init(struct reflection *reflection, const struct sockets *sockets);

/* Whether the peer of a route is likely a service itself: a source port below 1024, or an endpoint of this
 * server. */
bool reflection_suspects(const struct reflection *reflection, const enchufe_route *route);

#endif
